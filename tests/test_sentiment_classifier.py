import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from published_leaders import published
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from tokendyn.data.texts import imdb_reviews, small_reviews
from tokendyn.errors import BadInputError

GOOD = ["a fine warm film", "warm and fine acting", "fine plot", "a warm story", "fine and bright", "bright film"]
BAD = ["a dull cold film", "cold and dull acting", "dull plot", "a cold story", "dull and grey", "grey film"]


@pytest.fixture(scope="module")
def corpus():
    return small_reviews()


@pytest.fixture(scope="module")
def model(corpus):
    return published().fit(corpus.texts, corpus.labels)


def test_it_learns_words_that_separate_the_classes():
    model = published().fit(GOOD + BAD, ["yes"] * 6 + ["no"] * 6)
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.predict(["warm and bright", "grey and cold"]).tolist() == ["yes", "no"]
    assert model.score(GOOD + BAD, ["yes"] * 6 + ["no"] * 6) >= 0.9


def test_held_out_reviews_of_the_small_corpus_are_mostly_right(corpus):
    texts, labels = np.array(corpus.texts, dtype=object), np.array(corpus.labels)
    scores = cross_val_score(published(), texts, labels, cv=5)
    assert np.mean(scores) > 0.8


def test_the_same_seed_gives_the_same_model_and_another_seed_another(corpus):
    first, again, other = (published(random_state=seed).fit(corpus.texts, corpus.labels) for seed in (3, 3, 4))
    assert np.array_equal(first.embedding_, again.embedding_)
    assert first.words_ == again.words_
    assert first.explain(corpus.texts[0]).to_dict() == again.explain(corpus.texts[0]).to_dict()
    assert first.words_ != other.words_ or not np.array_equal(first.embedding_, other.embedding_)


def test_the_mean_number_of_leaders_follows_the_wish(corpus):
    counts = [
        np.mean(published(leaders=wish).fit(corpus.texts, corpus.labels).leader_counts(corpus.texts))
        for wish in (2.0, 4.0, 6.0)
    ]
    assert counts[0] < counts[1] < counts[2]
    np.testing.assert_allclose(counts, [2.0, 4.0, 6.0], rtol=0.4)


def test_parts_of_the_verdict_add_up_to_the_logit(model, corpus):
    logits = model.decision_function(corpus.texts)
    leaders = model.leader_counts(corpus.texts)
    for text, logit, count in zip(corpus.texts, logits, leaders, strict=True):
        why = model.explain(text)
        assert why.logit == pytest.approx(logit, abs=1e-9)
        assert sum(part for _, part in why.as_list()) + why.residual + why.bias == pytest.approx(logit, abs=1e-9)
        total = sum(word.contribution for word in why.contributions) + why.bias
        assert total == pytest.approx(logit, abs=1e-9)
        assert sum(word.mass for word in why.contributions) + why.neutral.mass == pytest.approx(1.0, abs=1e-12)
        assert len(why.leaders) == count


def test_an_explanation_names_words_places_and_followers(model):
    text = "<b>Excellent</b> food, excellent staff and a lovely friendly place. Not awful at all, and not boring, zzqx!"
    why = model.explain(text)
    words = {word.word: word for word in why.contributions}
    assert [text[a:b] for a, b in words["excellent"].spans] == ["Excellent", "excellent"]
    assert why.known_words + why.unknown_words == 17
    led = {follower for leader in why.leaders for follower in leader.followers} | set(why.neutral.followers)
    assert led | {leader.word for leader in why.leaders} == set(words)
    for leader in why.leaders:
        assert all(words[follower].leader == leader.word for follower in leader.followers)
        assert leader.contribution == pytest.approx(20.0 * leader.mass * leader.value)
    tokens = len(why.token_labels)
    assert why.states.shape == (model.layers + 1, tokens, 2)
    assert why.token_leaders.shape == (model.layers, tokens)
    assert why.token_labels[-1] == "neutral"
    assert sum(len(spans) for spans in why.token_spans) == np.sum(why.token_weights) == 17


def test_an_explanation_is_json(model):
    record = model.explain("Lovely place, awful soup.").to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record


@pytest.mark.parametrize(("text", "note"), [("", "no word"), ("<br/>!!", "no word"), ("zzqx qqzx", "no known word")])
def test_a_text_without_known_words_has_the_probability_of_the_bias(model, text, note):
    why = model.explain(text)
    assert note in why.note
    assert why.logit == why.bias == model.intercept_
    assert why.leaders == why.contributions == ()
    assert model.predict_proba([text])[0, 1] == pytest.approx(why.probability)
    assert model.leader_counts([text]).tolist() == [0]
    json.dumps(why.to_dict())


def test_a_megabyte_of_text_gets_a_verdict(model, corpus):
    text = " ".join(corpus.texts) * 16
    assert len(text) > 2**20
    assert model.explain(text).logit == pytest.approx(model.decision_function([text])[0], abs=1e-9)


def test_probabilities_sum_to_one_and_agree_with_the_labels(model, corpus):
    probabilities = model.predict_proba(corpus.texts)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert np.array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(corpus.texts))
    assert model.predict([]).shape == (0,)
    assert model.predict_proba([]).shape == (0, 2)


def test_without_layers_every_word_leads_itself(corpus):
    model = published(layers=0).fit(corpus.texts, corpus.labels)
    why = model.explain(corpus.texts[0])
    assert len(why.leaders) == len(why.contributions) == model.leader_counts(corpus.texts[:1])[0]
    assert why.residual == 0


def test_scikit_learn_can_clone_search_and_chain_it(corpus):
    texts, labels = np.array(corpus.texts[:200], dtype=object), np.array(corpus.labels[:200])
    assert clone(published(leaders=3.0)).get_params()["leaders"] == 3.0
    search = GridSearchCV(make_pipeline(published(epochs=1)), {"leaderclassifier__layers": [0, 4]}, cv=2)
    assert 0.5 < search.fit(texts, labels).best_score_ <= 1.0


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_texts_and_labels_may_come_in_any_sequence(kind):
    model = published().fit(kind(GOOD + BAD), kind([True] * 6 + [False] * 6))
    assert model.predict(kind(["warm"])).tolist() == [True]


@pytest.mark.parametrize(
    ("texts", "labels", "words"),
    [
        ([], [], ["empty"]),
        ("one string", [1], ["one string", "[text]"]),
        (["a", "b"], [1], ["2 texts and 1 label"]),
        (["a", float("nan"), None, 3], [1, 1, 2, 2], ["texts[1] is NaN", "texts[2] is missing", "texts[3] is int"]),
        (["a", "b"], [1, None], ["labels[1] is missing"]),
        (["a", "b"], [1, float("nan")], ["labels[1] is NaN"]),
        (["a", "b"], [1, "x"], ["mixes"]),
        (["a", "b"], ["x", "x"], ["one class only", "'x' (2)"]),
        (["a", "b", "c"], ["x", "y", "z"], ["class 'x' has 1", "3 problems"]),
        (["a"] * 32, [*range(16)] * 2, ["16 classes", "2 to 15"]),
        (["a", "b", "c"], ["x", "y", "y"], ["class 'x' has 1"]),
        (["a", "b", "c", "d"], ["x", "x", "y", "y"], ["no word tells"]),
        (["", "", "", ""], ["x", "x", "y", "y"], ["no word tells"]),
        (5, [1], ["int"]),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_unusable_texts_and_labels_are_one_error(texts, labels, words):
    model = published()
    with pytest.raises(BadInputError) as caught:
        model.fit(texts, labels)
    for word in words:
        assert word in str(caught.value)
    assert not hasattr(model, "classes_")


@pytest.mark.usefixtures("unchecked")
def test_all_bad_parameters_are_named_at_once():
    model = published(layers=-1, alpha=float("nan"), batch_size=0, word_dropout=1, validation_fraction=0)
    with pytest.raises(BadInputError, match="5 problems") as caught:
        model.fit(GOOD + BAD, [1] * 6 + [0] * 6)
    for name in ("layers=-1", "alpha=nan", "batch_size=0", "word_dropout=1", "validation_fraction=0"):
        assert name in str(caught.value)


def test_an_unfitted_classifier_says_so():
    with pytest.raises(NotFittedError):
        published().predict(["a"])


def test_progress_is_told_of_every_epoch_and_an_interrupt_leaves_nothing():
    seen = []
    published(start_epochs=2, epochs=3).fit(
        GOOD + BAD, [1] * 6 + [0] * 6, progress=lambda epoch, of, accuracy: seen.append((epoch, of, accuracy <= 1))
    )
    assert seen == [(epoch, 5, True) for epoch in range(1, 6)]

    def interrupt(epoch, of, accuracy):
        raise KeyboardInterrupt

    model = published()
    with pytest.raises(KeyboardInterrupt):
        model.fit(GOOD + BAD, [1] * 6 + [0] * 6, progress=interrupt)
    assert not hasattr(model, "embedding_")


def test_importing_the_package_loads_no_heavy_module():
    code = (
        "import sys, tokendyn.sentiment as s\n"
        "assert not {'torch', 'matplotlib', 'numba', 'sklearn'} & set(sys.modules)\n"
        "s.LeaderClassifier, s.load, s.find_words\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(
    not os.environ.get("TOKENDYN_DATA"),
    reason="set TOKENDYN_DATA to the folder that holds imdb/reviews-train.csv.gz",
)
def test_imdb_reviews_are_told_apart_by_few_leaders():
    corpus = imdb_reviews()
    texts, labels = list(corpus.texts), np.array(corpus.labels)
    model = published().fit(texts[:20_000], labels[:20_000])
    held = texts[20_000:]
    assert np.mean(model.predict(held) == labels[20_000:]) >= 0.86
    assert np.mean(model.leader_counts(held)) <= 8
    for text, logit in zip(held[:1000], model.decision_function(held[:1000]), strict=True):
        why = model.explain(text)
        assert sum(part for _, part in why.as_list()) + why.residual + why.bias == pytest.approx(logit, abs=1e-9)
