"""Words that scale their neighbours, the end of a text, and words of similar neighbourhoods."""

import json
import re

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize

from tokendyn.errors import BadInputError
from tokendyn.sentiment import LeaderClassifier, load, onnx_inputs
from tokendyn.sentiment.corpus import Corpus
from tokendyn.sentiment.lookup import Lookup
from tokendyn.sentiment.modifiers import Modifiers
from tokendyn.sentiment.neighbours import Attention, Neighbours, closeness, scales
from tokendyn.sentiment.tokens import TokenRule
from tokendyn.sentiment.values import Prior, Sample, fit_values
from tokendyn.sentiment.vocabulary import count_words
from tokendyn.sentiment.word_vectors import Shared, word_vectors

GOOD, BAD = ["warm", "kind", "bright", "funny"], ["dull", "lazy", "cold", "stale"]
FILLER = ["film", "plot", "cast", "the", "of", "one", "with", "scene", "story", "actor"]


@pytest.fixture(scope="module")
def corpus():
    """Return texts in which "allegedly" silences the word behind it, and the last sentence counts three times."""
    rng = np.random.default_rng(7)
    texts, labels = [], []
    for _ in range(1600):
        sentences, score = [], 0.0
        for number in range(8):
            side = rng.integers(2)
            quoted = rng.random() < 0.4
            words = ["allegedly"] * quoted + [str(rng.choice(GOOD if side else BAD))]
            sentences.append(" ".join([str(rng.choice(FILLER)), *words, *map(str, rng.choice(FILLER, size=4))]))
            score += (0.0 if quoted else 1.0) * (3.0 if number == 7 else 1.0) * (2 * side - 1)
        texts.append(". ".join(sentences) + ".")
        labels.append("pos" if rng.random() < 1 / (1 + np.exp(-score)) else "neg")
    return texts, labels


@pytest.fixture(scope="module")
def model(corpus):
    return LeaderClassifier(ngrams=1).fit(corpus[0][:1200], corpus[1][:1200])


def test_the_weight_of_a_word_is_1_and_the_numbers_of_the_words_within_three():
    rng = np.random.default_rng(0)
    factors = rng.normal(scale=0.5, size=(6, 2))
    for _ in range(30):
        run = np.append(rng.choice([-1, 0, 1, 2, 3, 4, 5], size=rng.integers(0, 20)), -1)
        expected = []
        for at in range(len(run)):
            weight = 1.0
            for other, number in enumerate(run.tolist()):
                first, last = min(at, other), max(at, other)
                if number >= 0 and 0 < last - first <= 3 and (run[first : last + 1] >= 0).all():
                    weight += factors[number, 0 if other < at else 1]
            expected.append(min(max(weight, 0.0), 3.0))
        words = run >= 0
        np.testing.assert_allclose(scales(run, factors)[words], np.array(expected)[words], atol=1e-12)


def test_the_end_of_a_text_is_near_and_the_mean_over_its_sentences_is_0():
    numbers = np.array([0, -1, 1, 1, -1, 2, -1, -1, 3, 3, -1, 4, -1, 5, -1])
    rows = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    near = closeness(numbers, rows)
    x = (np.arange(3) + 0.5) / 3
    three = 9 * x**8 - (9 * x**8).mean()
    np.testing.assert_allclose(near[[0, 2, 3, 5]], three[[0, 1, 1, 2]], atol=1e-12)
    assert np.allclose(near[[8, 9, 11, 13]], 0.0)  # one sentence; words behind the last mark belong to it
    assert len(closeness(numbers[:0], rows[:0])) == 0


def test_what_neighbours_and_the_end_do_is_learned(model):
    of = model.neighbours_
    behind = dict(zip(of.words, of.behind.tolist(), strict=True))
    assert behind["allegedly"] < -0.5
    assert all(abs(behind[word]) < 0.3 for word in FILLER)
    assert of.closing > 0.05
    plain, quoted = model.decision_function(["the warm film of one", "the allegedly warm film of one"])
    assert quoted < 0.6 * plain


def test_these_texts_are_told_apart_better_with_neighbours(model, corpus):
    without = LeaderClassifier(ngrams=1, modifiers=False).fit(corpus[0][:1200], corpus[1][:1200])
    assert without.neighbours_.idle
    assert model.score(corpus[0][1200:], corpus[1][1200:]) > without.score(corpus[0][1200:], corpus[1][1200:]) + 0.02


def test_neighbours_that_do_nothing_are_not_kept(corpus):
    rng = np.random.default_rng(1)
    texts, labels = [], []
    for _ in range(1300):
        sides = rng.integers(2, size=6)
        words = [f"{rng.choice(FILLER)} {rng.choice(GOOD if side else BAD)} {rng.choice(FILLER)}" for side in sides]
        texts.append(" ".join(words))
        labels.append("pos" if rng.random() < 1 / (1 + np.exp(-2 * (sides - 0.5).sum())) else "neg")
    assert LeaderClassifier(ngrams=1).fit(texts, labels).neighbours_.idle


def test_few_texts_have_no_neighbours(corpus):
    assert LeaderClassifier(ngrams=1).fit(corpus[0][:1000], corpus[1][:1000]).neighbours_.idle


def test_training_and_reading_give_the_same_weights(corpus):
    texts = [*corpus[0][:50], "Not one warm film. But a very kind, allegedly dull cast! It ends", "!? warm", ""]
    rng = np.random.default_rng(2)
    names = (*FILLER, "allegedly", "warm", "a")
    neighbours = Neighbours(names, *rng.normal(scale=0.4, size=(2, len(names))), closing=0.1)
    modifiers = Modifiers(-1.5, 0.8, -0.7, 0.5)
    rule = TokenRule(ngrams=2, modifiers=True)
    counted = Corpus.of(count_words(texts, rule), np.full((len(texts), 1), 0.5), np.ones(len(texts)), 0.1)
    sample = counted.attended(Attention(modifiers, neighbours, counted.words)).sample
    number_of = {counted.names[number]: column for column, number in enumerate(counted.tokens.tolist())}
    ragged = Lookup(number_of, rule, modifiers, None, neighbours).encode(texts)
    read = sparse.csr_matrix((ragged.counts, ragged.words, ragged.indptr), shape=sample.counts.shape)
    np.testing.assert_allclose(read.toarray(), sample.counts.toarray(), atol=1e-12)
    again = counted.attended(Attention(modifiers, neighbours, counted.words)).sample
    assert (abs(again.counts - sample.counts)).max() == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "the allegedly warm film. dull. a kind, allegedly kind cast of one. warm", "warm! dull! kind!",
        "not the allegedly warm film but the dull plot. of one scene. very kind", "kind the film of dull film of kind",
    ],
)  # fmt: skip
def test_the_own_number_of_a_leader_is_what_the_text_without_it_lacks(model, text):
    why = model.explain(text)
    assert why.leaders
    total = why.bias + why.residual + sum(leader.contribution for leader in why.leaders)
    assert total == pytest.approx(why.logit, abs=1e-12)
    for leader in why.leaders:
        kept = text
        for first, last in reversed(leader.spans):
            kept = kept[:first] + kept[last:]
        lost = why.logit - model.decision_function([kept])[0]
        assert leader.own == pytest.approx(lost, abs=1e-9), leader.word


def test_an_explanation_says_how_often_a_word_counts(model, tmp_path):
    why = model.explain("the allegedly warm film. a dull plot of one. a kind scene with the cast. the story of one.")
    weights = {word.word: word.weight for word in why.contributions}
    for word in why.contributions:
        count = len(word.spans)
        mass = (22.0 - 1.0) + model.phantom_
        assert word.contribution == pytest.approx(count * word.weight * word.value / mass, rel=0.05)
    assert weights["warm"] < 0.7
    said = "y the words beside them and their place in the text: “warm” counts 0."
    assert said in str(why)
    why.report(tmp_path / "why.html")
    assert said in (tmp_path / "why.html").read_text(encoding="utf-8")
    assert "weight" in why.table()


def test_a_saved_model_keeps_its_neighbours_and_an_older_one_has_none(model, tmp_path):
    from safetensors.numpy import load_file, save_file

    model.save(tmp_path / "model")
    texts = ["the allegedly warm film. dull.", "", "kind"]
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.decision_function(texts), model.decision_function(texts))
    file = tmp_path / "model" / "model.safetensors"
    tensors = load_file(file)
    del tensors["neighbours"]
    save_file(tensors, file)
    with pytest.raises(BadInputError, match="neighbours has shape"):
        load(tmp_path / "model")
    record = (tmp_path / "model" / "model.json").read_text(encoding="utf-8")
    older = json.loads(record)
    del older["neighbours"], older["fitted"]["closing"]
    (tmp_path / "model" / "model.json").write_text(json.dumps(older), encoding="utf-8")
    assert load(tmp_path / "model").neighbours_.idle


def test_the_exported_graph_reads_the_same_weights(model):
    onnxruntime = pytest.importorskip("onnxruntime")
    from tokendyn.sentiment.onnx import onnx_model

    texts = ["the allegedly warm film. dull.", "kind", ""]
    session = onnxruntime.InferenceSession(onnx_model(model).SerializeToString())
    logits = session.run(["logits"], onnx_inputs(model, texts))[0]
    np.testing.assert_allclose(logits, model.decision_function(texts), atol=1e-12)
    assert '"allegedly": [-' in session.get_modelmeta().custom_metadata_map["token_rule"]


def test_several_classes_have_neighbours_too(corpus):
    texts, labels = corpus
    three = [
        "neg" if label == "neg" else ("kind" if "kind" in text else "pos")
        for text, label in zip(texts, labels, strict=True)
    ]
    model = LeaderClassifier(ngrams=1).fit(texts, three)
    of = model.neighbours_
    assert dict(zip(of.words, of.behind.tolist(), strict=True))["allegedly"] < -0.3
    why = model.explain("the allegedly warm film. a kind plot.")
    total = why.bias + why.residual + sum(leader.contribution for leader in why.leaders)
    assert total == pytest.approx(why.logit, abs=1e-12)


def test_words_of_equal_neighbourhoods_have_equal_vectors():
    rng = np.random.default_rng(4)
    names = [*(f"w{number}" for number in range(200)), "twin", "sister"]
    numbers = []
    for _ in range(4000):
        topic = rng.integers(4)
        words = (50 * topic + rng.integers(50, size=6)).tolist()
        if topic == 1:
            words[3] = int(rng.choice([200, 201]))
        numbers += [*words, -1]
    words, vectors = word_vectors(np.array(numbers), names)
    at = {int(word): row for row, word in enumerate(words.tolist())}
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
    twin = vectors @ vectors[at[200]]
    assert twin[at[201]] > 0.9
    assert twin[at[201]] > max(twin[at[number]] for number in range(100, 200))
    order = rng.permutation(len(names))
    place = np.empty(len(names) + 1, dtype=np.int64)
    place[order], place[-1] = np.arange(len(names)), -1
    moved, again = word_vectors(place[np.array(numbers)], [names[number] for number in order])
    back = {int(order[word]): row for row, word in enumerate(moved.tolist())}
    one, two = vectors @ vectors.T, again @ again.T
    pick = [at[number] for number in range(50)], [back[number] for number in range(50)]
    np.testing.assert_allclose(one[np.ix_(pick[0], pick[0])], two[np.ix_(pick[1], pick[1])], atol=1e-8)


def test_shared_directions_have_the_minimum_of_their_formula():
    rng = np.random.default_rng(5)
    counts = rng.poisson(0.7, size=(80, 7)).astype(float)
    sizes = counts.sum(axis=1) + 3.0
    targets = (rng.random((80, 1)) < 0.5).astype(float)
    sample = Sample(counts=sparse.csr_matrix(counts), sizes=sizes, targets=targets, importance=np.ones(80))
    scale = rng.uniform(0.3, 1.0, size=(7, 1))
    shared = Shared(tokens=np.array([1, 2, 5]), table=rng.normal(size=(3, 2)))
    prior = Prior(phantom=10.0, floor=0.4, strength=2.0)
    found = fit_values(sample, scale, prior, shared=shared, gradient=1e-9)
    table = np.zeros((7, 2))
    table[shared.tokens] = shared.table
    density = 210.0 / (sizes + 10.0)

    def objective(unknowns):
        logit = density * (counts @ (scale[:, 0] * unknowns[:7] + table @ unknowns[7:9])) + unknowns[9]
        loss = np.logaddexp(0.0, logit) - targets[:, 0] * logit
        return loss.mean() + (unknowns[:9] ** 2).sum() / 80.0

    best = minimize(objective, np.zeros(10), tol=1e-12).x
    expected = 210.0 * (scale[:, 0] * best[:7] + table @ best[7:9])
    np.testing.assert_allclose(found.table[:, 0], expected, atol=2e-3 * np.abs(expected).max())
    np.testing.assert_allclose(found.biases[0], best[9], atol=1e-3)


@pytest.mark.parametrize(
    "texts",
    [
        ["warm"] * 600 + ["dull"] * 601,  # one word each
        [f"w{number % 80}" for number in range(1201)],  # and enough words for vectors
        ["fine"] * 600 + ["one fine film"] * 600 + ["*"],  # the last is one half of the texts
    ],
)
def test_many_texts_of_one_word_or_none_can_be_learned(texts):
    labels = [0] * 600 + [1] * (len(texts) - 600)
    model = LeaderClassifier().fit(texts, labels)
    assert np.isfinite(model.decision_function([*texts[::300], "", "!"])).all()
    assert not np.abs(model.neighbours_.behind).any()


@pytest.mark.parametrize("texts", [[f"w{number}" for number in range(1100)], ["..."] * 1098 + ["warm", "dull"]])
def test_many_texts_that_share_no_word_are_refused(texts):
    with pytest.raises(BadInputError, match="no word occurs in two of the 1100 texts"):
        LeaderClassifier().fit(texts, [0, 1] * 550)


def test_the_only_word_of_a_text_takes_the_whole_sum_with_it(corpus):
    model = LeaderClassifier(ngrams=1, phantom=0.0).fit(corpus[0][:1200], corpus[1][:1200])
    why = model.explain("warm " * 1000)
    assert not model.neighbours_.idle
    assert why.leaders[0].own == pytest.approx(why.logit - why.bias, abs=1e-12)


def test_the_metadata_of_the_graph_suffice_to_count(model):
    from tokendyn.sentiment.onnx import _metadata

    rule = json.loads(_metadata(model)["token_rule"])
    tokens = json.loads(_metadata(model)["tokens"])
    texts = ["the allegedly warm film. dull! a kind cast of one... warm the story", "kind", "dull. the film. funny."]
    words, counts, _ = onnx_inputs(model, texts).values()
    for text, number, count in zip(texts, words, counts, strict=True):
        sentences = [part.split() for part in re.split(r"[.!]+", text)]
        x = (np.arange(max(len(sentences) - 1, 1)) + 0.5) / max(len(sentences) - 1, 1)
        closing = 1 + rule["closing"] * (9 * x**8 - np.mean(9 * x**8))
        expected = dict.fromkeys(tokens, 0.0)
        for place, sentence in enumerate(sentences):
            for at, word in enumerate(sentence):
                before = sentence[max(at - rule["neighbour_reach"], 0) : at]
                behind = sentence[at + 1 : at + 1 + rule["neighbour_reach"]]
                numbers = [rule["neighbours"].get(other, (0, 0))[0] for other in before]
                numbers += [rule["neighbours"].get(other, (0, 0))[1] for other in behind]
                weight = np.clip(1 + sum(numbers), *rule["neighbour_bounds"])
                if word in expected:
                    expected[word] += weight * closing[min(place, len(closing) - 1)]
        found = {tokens[n]: c for n, c in zip(number.tolist(), count.tolist(), strict=True) if c and n < len(tokens)}
        assert found == pytest.approx({word: weight for word, weight in expected.items() if weight}, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("closing", -5.0, "closing is -5.0, expected 0 or more, at most 1"),
        ("phantom", -5.0, "phantom is -5.0, expected 0 or more;"),
        ("neighbours", ["of", "of"], "a word occurs twice in neighbours"),
        ("of_classes", -1.0, "of_classes and sizes are not numbers of texts"),
    ],
)
def test_a_saved_model_with_numbers_out_of_range_is_refused(model, tmp_path, name, value, words):
    from safetensors.numpy import load_file, save_file

    model.save(tmp_path / "model")
    record = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    if name in tensors and name not in record:
        tensors[name] += value * 1e4
        save_file(tensors, tmp_path / "model" / "model.safetensors")
    else:
        (record["fitted"] if name in record["fitted"] else record)[name] = value
        (tmp_path / "model" / "model.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(BadInputError, match=words):
        load(tmp_path / "model")


def test_neighbours_are_a_short_line_and_a_table(model):
    near = model.neighbours_
    assert repr(near) == f"Neighbours({len(near.words)} words, closing={near.closing:.3g})"
    table = near.table()
    assert table["behind"].is_monotonic_decreasing
    assert table["word"].iloc[-1] == "allegedly"
    before = dict(zip(table["word"], table["before"], strict=True))
    assert before == dict(zip(near.words, near.before, strict=True))


def test_of_very_many_words_some_texts_serve(corpus, monkeypatch):
    from tokendyn.sentiment import attention_fit

    monkeypatch.setattr(attention_fit, "_MOST_TERMS", 40_000)
    texts, labels = corpus[0][:1200], corpus[1][:1200]
    model = LeaderClassifier(ngrams=1).fit(texts, labels)
    of = model.neighbours_
    assert dict(zip(of.words, of.behind.tolist(), strict=True))["allegedly"] < -0.3
    order = np.random.default_rng(0).permutation(len(texts))
    moved = LeaderClassifier(ngrams=1).fit([texts[row] for row in order], [labels[row] for row in order])
    np.testing.assert_allclose(moved.decision_function(texts[:50]), model.decision_function(texts[:50]), atol=1e-5)
