import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from tokendyn.data.texts import LabelledTexts, small_reviews
from tokendyn.errors import BadInputError
from tokendyn.rivals.sentiment.contenders import (
    STRENGTHS,
    HashedEmbeddings,
    embedding_model,
    leader_model,
    linear_model,
    published_model,
)
from tokendyn.studies.sentiment.comparison import (
    MEASURES,
    Comparison,
    Outcome,
    compare_classifiers,
    folds,
    measure,
    usual_contenders,
)

SMALL = {"buckets": 2**12, "epochs": 5}


@pytest.fixture(scope="module")
def parts():
    data = small_reviews()
    return data.take(np.arange(0, 400)), data.take(np.arange(400, 600))


def test_averaged_embeddings_learn_and_repeat_to_the_bit(parts):
    training, test = parts
    model = HashedEmbeddings(random_state=3).fit(training.texts, training.labels)
    again = clone(model).fit(training.texts, training.labels)
    assert np.mean(model.predict(test.texts) == np.array(test.labels)) > 0.8
    assert np.array_equal(model.table_, again.table_)
    assert np.array_equal(model.decoder_, again.decoder_)
    assert model.learning_rate_ in model.learning_rates
    other = HashedEmbeddings(random_state=4).fit(training.texts, training.labels)
    assert not np.array_equal(model.table_, other.table_)


def test_averaged_embeddings_are_the_mean_and_a_softmax():
    texts = ["good fine film", "bad dull film", "good film", "dull film"]
    model = HashedEmbeddings(**SMALL, learning_rates=(1.0,)).fit(texts, [1, 0, 1, 0])
    indptr, tokens = model._tokens(["fine film. bad", "nothing good"])
    assert np.diff(indptr).tolist() == [4, 3]  # three words and one pair: pairs stop at the end of a sentence
    mean = model.table_[tokens[:4]].astype(np.float64).mean(axis=0)
    scores = np.exp(model.decoder_ @ mean)
    assert np.allclose(model.predict_proba(["fine film. bad"])[0], scores / scores.sum(), atol=1e-7)
    assert np.allclose(model.predict_proba(["", "!?"]), 0.5)
    assert model.predict_proba([]).shape == (0, 2)


def test_one_step_follows_the_gradient_of_the_loss():
    texts, labels = ["good film", "bad film"], [1, 0]
    model = HashedEmbeddings(buckets=2**16, ngrams=1, epochs=1, learning_rates=(1e-3,), random_state=1)
    texts, labels = texts * 2, labels * 2
    fitted = model.fit(texts, labels)
    rng = np.random.default_rng(1)
    table = (rng.random((2**16, 10), dtype=np.float32) - np.float32(0.5)) * np.float32(0.2)
    indptr, tokens = model._tokens(texts)
    # From B = 0 all probabilities are 1/2, and the first-order change of B is the sum of the texts' own steps.
    expected = np.zeros((2, 10))
    for number, row in enumerate(rng.permutation(4)):
        mean = table[tokens[indptr[row] : indptr[row + 1]]].mean(axis=0)
        step = 1e-3 * (1 - number / 4)
        expected += step * (np.arange(2) == labels[row])[:, None] * mean - step * 0.5 * mean
    assert np.allclose(fitted.decoder_, expected, atol=1e-8)


def test_averaged_embeddings_take_several_classes_and_cross_validation():
    texts = [f"{word} plain {filler}" for word in ("salty", "loud", "fast") for filler in range(12)]
    labels = np.repeat(["food", "music", "sport"], 12)
    assert cross_val_score(HashedEmbeddings(**SMALL), texts, labels, cv=3).min() > 0.9


def test_parameters_out_of_range_are_all_named():
    model = HashedEmbeddings(dim=0, ngrams=3, learning_rates=(), validation_fraction=1.0)
    with pytest.raises(BadInputError, match=r"4 problems[\s\S]*dim=0[\s\S]*ngrams=3[\s\S]*learning_rates[\s\S]*valid"):
        model.fit(["a", "b"], [0, 1])


def test_every_contender_is_measured_on_the_same_texts(parts):
    training, test = parts
    found = usual_contenders(published=True, published_epochs=1, epochs=2)
    heard = []
    result = compare_classifiers(training, test, found, seed=1, progress=lambda done, of: heard.append((done, of)))
    table = result.table()
    assert heard == [(n, 6) for n in range(1, 7)]
    assert table["classifier"].tolist() == [contender.name for contender in found]
    assert set(table.columns) == {"classifier", *MEASURES}
    assert table.loc[0, ["better", "worse", "p_value"]].tolist() == [0, 0, 1.0]
    assert (table["accuracy"].iloc[:5] > 0.75).all()
    assert ((table["low"] < table["accuracy"]) & (table["accuracy"] < table["high"])).all()
    assert table["leaders"].isna().tolist() == [False, False, True, True, True, False]
    assert (table[["cpu_seconds", "texts_a_second", "model_bytes"]] > 0).all().all()


def test_a_peer_of_a_comparison_is_the_estimator_itself(parts):
    training, test = parts
    contender = linear_model("linear", tuned=True)
    outcome = measure(contender, training, test, 0)
    model = contender.make(0).fit(list(training.texts), list(training.labels))
    assert model[1].best_params_["C"] in STRENGTHS
    assert np.array_equal(outcome.right, model.predict(list(test.texts)) == np.array(test.labels))
    vocabulary = sum(len(word.encode()) for word in model[0].vocabulary_)
    assert outcome.model_bytes > vocabulary + 16 * len(model[0].vocabulary_)


def test_intervals_and_the_sign_test_are_the_known_ones():
    first = Outcome("first", np.array([True] * 8 + [False] * 2), 2.0, 1.0, 1.0, 1)
    other = Outcome("other", np.array([True] * 5 + [False] * 3 + [True] * 2), None, 1.0, 1.0, 1)
    one, two = Comparison((first, other), 5, 10).rows()
    # Wilson: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.959964, p = .8, n = 10
    assert (round(one["low"], 4), round(one["high"], 4)) == (0.4902, 0.9433)
    assert (two["better"], two["worse"], two["p_value"]) == (2, 3, 1.0)


def test_what_makes_a_comparison_impossible_is_said_at_once(parts):
    three = LabelledTexts(("a", "b", "c"), ("x", "y", "z"))
    found = [leader_model("same"), embedding_model("same"), published_model()]
    with pytest.raises(BadInputError, match=r"3 problems[\s\S]*no test text[\s\S]*'as published' tells 2[\s\S]*'same'"):
        compare_classifiers(three, three.take([]), found)
    with pytest.raises(BadInputError, match="no labels"):
        compare_classifiers(LabelledTexts(("a",), None), three, found[:1])
    with pytest.raises(BadInputError, match="at least one"):
        compare_classifiers(three, three, [])


def test_folds_are_a_partition():
    found = list(folds(23, 5, seed=1))
    assert np.array_equal(np.sort(np.concatenate([test for _, test in found])), np.arange(23))
    assert all(not set(training) & set(test) and len(training) + len(test) == 23 for training, test in found)
