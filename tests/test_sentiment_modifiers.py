"""Negators and intensifiers: who follows them, how far they scale, and that everything downstream knows of it."""

import itertools
import json

import numpy as np
import pytest

from tokendyn.sentiment import LeaderClassifier, Modifiers, load, onnx_inputs
from tokendyn.sentiment.modifiers import INTENSIFIER_REACH, NEGATOR_REACH, followers, roles_of

GOOD, BAD, FILLER = ["warm", "kind", "bright"], ["dull", "lazy", "cold"], ["film", "plot", "cast", "the", "of", "one"]


@pytest.fixture(scope="module")
def corpus():
    """Return texts in which a negator turns half of what a word says off, and an intensifier doubles it."""
    rng = np.random.default_rng(5)
    texts, labels = [], []
    for _ in range(1200):
        words, score = [], 0.0
        for _ in range(6):
            side = rng.integers(2)
            word = rng.choice(GOOD if side else BAD)
            before, weight = [([], 1.0), (["not"], 0.2), (["very"], 2.0)][rng.integers(3)]
            words += [*before, word, rng.choice(FILLER), rng.choice(FILLER), "."]
            score += weight * (2 * side - 1)
        texts.append(" ".join(words))
        labels.append("pos" if rng.random() < 1 / (1 + np.exp(-1.5 * score)) else "neg")
    return texts, labels


@pytest.fixture(scope="module")
def model(corpus):
    return LeaderClassifier(ngrams=1).fit(*corpus)


def way_by_hand(roles, at):
    """Return how a word of a sentence of roles follows, by the rules one after the other."""

    def near(place):
        """Return the places of negators whose reach holds a place: up to four words back, and no contrast between."""
        before = range(max(0, place - NEGATOR_REACH), place)
        return [other for other in before if roles[other] == 1 and 2 not in roles[other : place + 1]]

    if near(at) and (roles[at] == 1 or not near(near(at)[-1])):
        return 1
    if roles[at] != 2 and 2 in roles[at:]:
        return 3
    if roles[at] != 2 and 2 in roles[:at]:
        return 4
    return 2 if roles[at] != 3 and 3 in roles[max(0, at - INTENSIFIER_REACH) : at] else 0


def test_followers_are_those_within_reach_in_the_sentence():
    rng = np.random.default_rng(0)
    roles = np.array([1, 2, 3, 0, 0, 0, 0, 0, 0], dtype=np.int8)
    numbers = np.append(rng.integers(-1, 9, size=600), -1)
    ways, leaders = followers(numbers, roles)
    ends = [-1, *np.flatnonzero(numbers < 0).tolist()]
    for first, last in itertools.pairwise(ends):
        sentence = roles[numbers[first + 1 : last]].tolist()
        assert ways[first + 1 : last].tolist() == [way_by_hand(sentence, at) for at in range(len(sentence))]
    assert not ways[numbers < 0].any()
    role = {0: None, 1: 1, 2: 3, 3: 2, 4: 2}
    for way, leader in zip(ways.tolist(), leaders.tolist(), strict=True):
        assert (leader == -1) if way == 0 else (roles[numbers[leader]] == role[way])
    assert set(ways.tolist()) == {0, 1, 2, 3, 4}
    assert [len(part) for part in followers(np.array([], dtype=np.int64), roles)] == [0, 0]


def test_two_negations_cancel():
    words = ["i", "can't", "say", "it", "wasn't", "good", "bad", "not", "but", "very"]
    numbers, roles = {word: number for number, word in enumerate(words)}, roles_of(words)
    modifiers = Modifiers(negator=-1.5, intensifier=1.0, before_contrast=-0.5, after_contrast=0.25)

    def weights(text):
        run = np.array([numbers[word] for word in text.split()] + [-1])
        return modifiers.weights(followers(run, roles)[0])[:-1].tolist()

    assert weights("it wasn't good") == [1.0, 1.0, -0.5]
    assert weights("i can't say it wasn't good") == [1.0, 1.0, -0.5, -0.5, -0.5, 1.0]
    assert weights("not very good") == [1.0, -0.5, -0.5]
    assert weights("bad but very good") == [0.5, 1.0, 1.25, 1.25]
    assert weights("not bad but good") == [0.5, -0.5, 1.0, 1.25]


def test_a_word_that_says_nothing_changes_not_whom_a_contrast_leads():
    roles = roles_of(["film", "but", "not"])
    rng = np.random.default_rng(3)
    for _ in range(50):
        run = np.append(rng.choice([0, 0, 0, 1, -1], size=20), -1)
        ways, _ = followers(run, roles)
        for gone in np.flatnonzero(run == 0).tolist():
            assert followers(np.delete(run, gone), roles)[0].tolist() == np.delete(ways, gone).tolist()


def test_what_modifiers_do_to_words_is_learned(model):
    assert model.modifiers_.negator == pytest.approx(-0.8, abs=0.2)
    assert model.modifiers_.intensifier == pytest.approx(1.0, abs=0.35)
    logit = dict(
        zip("abc", model.decision_function(["a kind film", "a not kind film", "a very kind film"]), strict=True)
    )
    assert logit["b"] < logit["a"] < logit["c"]


def test_texts_without_modifiers_have_none_and_their_number_is_0(corpus):
    plain = [text.replace("not ", "").replace("very ", "") for text in corpus[0]]
    assert LeaderClassifier(ngrams=1).fit(plain, corpus[1]).modifiers_ == Modifiers()
    for options in ({"modifiers": False}, {"negation": True}):
        assert LeaderClassifier(ngrams=1, **options).fit(*corpus).modifiers_.idle


def test_it_tells_these_texts_apart_better_with_modifiers(corpus):
    texts, labels = corpus
    accuracy = [
        LeaderClassifier(ngrams=1, modifiers=on).fit(texts[:900], labels[:900]).score(texts[900:], labels[900:])
        for on in (True, False)
    ]
    assert accuracy[0] > accuracy[1] + 0.01


def test_the_explanation_names_words_that_are_scaled_and_still_adds_up(model, tmp_path):
    text = "Not one warm film. A very kind, dull cast."
    why = model.explain(text)
    weights = {(text[slice(*word.span)], word.by): word.weight for word in why.modified}
    assert weights[("warm", ("not",))] == pytest.approx(1 + model.modifiers_.negator)
    assert weights[("kind", ("very",))] == pytest.approx(1 + model.modifiers_.intensifier)
    assert not any(word == "dull" for word, _ in weights)
    total = why.bias + why.residual + sum(leader.contribution for leader in why.leaders)
    assert total == pytest.approx(why.logit, abs=1e-12)
    assert why.logit == pytest.approx(model.decision_function([text])[0], abs=1e-12)
    assert "“not” weakens “warm” from " in str(why)
    why.report(tmp_path / "why.html")
    page = (tmp_path / "why.html").read_text(encoding="utf-8")
    assert "Modifiers in the text: " in page
    assert "“very” strengthens “kind” from " in page
    for word in why.modified:
        (whole,) = (each for each in why.contributions if each.word == word.word)
        assert word.contribution == pytest.approx(word.weight * whole.mass * whole.value, abs=1e-12)
    assert [row["by"] for row in json.loads(json.dumps(why.to_dict()))["modified"]] == [
        list(w.by) for w in why.modified
    ]


def test_taking_a_word_out_counts_what_modifiers_do_then(model):
    text = "A film that is not warm of the plot. A very kind film, a lazy one."
    for leader in model.explain(text).leaders:
        kept, end = "", 0
        for first, last in leader.spans:
            kept, end = kept + text[end:first], last
        lost = model.decision_function([text])[0] - model.decision_function([kept + text[end:]])[0]
        assert leader.own == pytest.approx(lost, abs=1e-12)


def test_a_saved_model_keeps_its_modifiers_and_one_without_the_entry_has_none(model, tmp_path):
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    texts = ["not warm", "a very dull film", "kind"]
    assert again.modifiers_ == model.modifiers_
    np.testing.assert_array_equal(again.decision_function(texts), model.decision_function(texts))
    record = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    del record["parameters"]["modifiers"], record["fitted"]["negator"], record["fitted"]["intensifier"]
    (tmp_path / "model" / "model.json").write_text(json.dumps(record), encoding="utf-8")
    assert load(tmp_path / "model").modifiers_.idle


def test_the_inputs_of_the_exported_graph_count_what_modifiers_say(model):
    onnxruntime = pytest.importorskip("onnxruntime")
    from tokendyn.sentiment.onnx import onnx_model

    texts = ["a film not kind", "very dull plot", "warm", ""]
    session = onnxruntime.InferenceSession(onnx_model(model).SerializeToString())
    logits = session.run(["logits"], onnx_inputs(model, texts))[0]
    np.testing.assert_allclose(logits, model.decision_function(texts), atol=1e-12)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["token_rule"])["negator"] == model.modifiers_.negator


def test_several_classes_share_the_two_numbers(corpus):
    texts, labels = corpus
    three = [
        "neg" if label == "neg" else ("kind" if "kind" in text else "pos")
        for text, label in zip(texts, labels, strict=True)
    ]
    model = LeaderClassifier(ngrams=1).fit(texts, three)
    assert -0.9 <= model.modifiers_.negator < 0
    why = model.explain("not a warm film, a very kind one")
    total = why.bias + why.residual + sum(leader.contribution for leader in why.leaders)
    assert total == pytest.approx(why.logit, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "not not warm the film", "not warm warm warm the plot", "not dull , not lazy , not cold the film of one",
        "very very warm very kind", "not very very warm film not", "not zzz warm zzz not warm . very dull",
        "not dull the film of not warm one not kind not the dull plot", "warm the film but dull plot not lazy but kind",
        "not one film of not one the plot warm kind the film of dull but lazy cast",
    ],
)  # fmt: skip
def test_a_word_that_occurs_often_goes_with_all_its_occurrences(model, text):
    why = model.explain(text)
    whole = model.decision_function([text])[0]
    assert why.leaders
    for leader in why.leaders:
        kept = text
        for first, last in reversed(leader.spans):
            kept = kept[:first] + kept[last:]
        assert leader.own == pytest.approx(whole - model.decision_function([kept])[0], abs=1e-9), leader.word
