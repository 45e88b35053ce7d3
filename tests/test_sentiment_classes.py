import json

import numpy as np
import pytest
from published_leaders import published

from tokendyn.sentiment import LeaderClassifier, load, save
from tokendyn.sentiment.heads import Softmax
from tokendyn.sentiment.report import explained_text, write_explanation
from tokendyn.sentiment.routing import route_all
from tokendyn.sentiment.training import place
from tokendyn.sentiment.vocabulary import Ragged

TOPICS = {
    "food": ["soup", "bread", "salty", "tasty", "kitchen", "sauce", "spoon", "fried", "dessert", "menu"],
    "music": ["song", "guitar", "melody", "loud", "singer", "drums", "chorus", "concert", "violin", "tune"],
    "sport": ["goal", "match", "runner", "team", "score", "league", "referee", "sprint", "coach", "stadium"],
}
PLAIN = ("the", "a", "was", "and", "of", "it", "very", "there", "one", "some", "other", "that", "this", "we")


def corpus(seed, count, topics=TOPICS):
    """Texts of plain words, with a few of one topic and now and then one of another."""
    rng = np.random.default_rng(seed)
    names, texts, labels = list(topics), [], []
    for _ in range(count):
        label = names[rng.integers(len(names))]
        other = names[rng.integers(len(names))]
        words = [*rng.choice(PLAIN, 8), *rng.choice(topics[label], 3), rng.choice(topics[other])]
        texts.append(" ".join(rng.permutation(words)))
        labels.append(label)
    return texts, labels


@pytest.fixture(scope="module")
def model():
    return published().fit(*corpus(0, 400))


def test_three_classes_are_told_apart_by_few_leaders(model):
    texts, labels = corpus(1, 200)
    assert model.classes_.tolist() == ["food", "music", "sport"]
    assert model.score(texts, labels) > 0.95
    assert np.mean(model.leader_counts(texts)) <= 6
    probabilities = model.predict_proba(texts)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert np.array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(texts))
    assert model.decision_function([]).shape == model.predict_proba([]).shape == (0, 3)
    assert model.embedding_.shape == (len(model.words_) + 1, 4)
    np.testing.assert_allclose(model.embedding_[:, :3].sum(axis=1), 0.0, atol=1e-12)


def test_contributions_to_every_class_add_up_to_its_score(model):
    texts = [*corpus(2, 30)[0], "", "zzqx", "soup goal goal"]
    for text, scores in zip(texts, model.decision_function(texts), strict=True):
        why = model.explain(text)
        total = sum((np.array(word.by_class) for word in why.contributions), np.zeros(3)) + why.biases
        np.testing.assert_allclose(total, scores, atol=1e-9)
        np.testing.assert_allclose(why.scores, scores, atol=1e-9)
        assert why.label == model.classes_[scores.argmax()]
        assert why.logit == pytest.approx(scores.max())
        assert sum(part for _, part in why.as_list()) + why.residual + why.bias == pytest.approx(scores.max(), abs=1e-9)
        assert why.probability == pytest.approx(max(why.probabilities))
        assert json.loads(json.dumps(why.to_dict(), allow_nan=False)) == why.to_dict()


def test_the_published_forward_pass_gives_the_scores(model):
    number = {word: j for j, word in enumerate(model.words_)}
    texts = corpus(3, 20)[0]
    for text, scores in zip(texts, model.decision_function(texts), strict=True):
        z = model.embedding_[[number.get(word, len(number)) for word in text.split()]]
        for _ in range(model.layers):
            inner = z @ z.T
            led = inner >= inner.max(axis=1, keepdims=True) - 1e-12
            z = z + model.alpha / (1 + model.alpha) * (np.stack([z[row].mean(axis=0) for row in led]) - z)
        np.testing.assert_allclose(model.decoder_ @ z.mean(axis=0) + model.intercept_, scores, atol=1e-9)


def test_many_explanations_are_those_of_one_at_a_time(model):
    texts = [*corpus(4, 30)[0], ""]
    for text, verdict in zip(texts, model.explain_many(texts), strict=True):
        why = model.explain(text)
        assert (verdict.label, len(verdict.leaders)) == (why.label, len(why.leaders))
        numbers = (verdict.probability, verdict.logit, verdict.bias, verdict.residual)
        np.testing.assert_allclose(numbers, (why.probability, why.logit, why.bias, why.residual), atol=1e-12)
        for found, leader in zip(verdict.leaders, why.leaders, strict=True):
            assert (found.word, found.spans) == (leader.word, leader.spans)
            np.testing.assert_allclose(found.by_class, leader.by_class, atol=1e-12)


def test_a_model_of_several_classes_can_be_saved_and_shown(model, tmp_path):
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model")
    texts = corpus(5, 20)[0]
    assert np.array_equal(loaded.decision_function(texts), model.decision_function(texts))
    shown = explained_text(model.explain("soup and goal and soup"))
    assert shown.classes == ("not food", "food")
    write_explanation(model.explain(texts[0]), tmp_path / "why.html")
    assert (tmp_path / "why.html").stat().st_size > 1000


def test_the_gradient_agrees_with_finite_differences():
    rng = np.random.default_rng(0)
    sizes, words = [3, 2, 4], np.array([0, 2, 4, 1, 3, 0, 1, 2, 4], dtype=np.int32)
    texts = Ragged(
        np.concatenate([[0], np.cumsum(sizes)]), words, np.ones(9), np.array([1.0, 0.0, 2.0]), np.array([4.0, 2.0, 6.0])
    )
    head = Softmax(np.array([0, 2, 1]), 3, 5.0, np.array([1.0, 2.0, 0.5]))
    rows, point = np.arange(3), rng.normal(size=18)

    def shares(unknowns):
        return route_all(texts, place(head.values(unknowns), 2.0, 0.2), 1.0, 4)[0]

    def loss(unknowns):
        return float(np.mean(head.importance * head.judge(unknowns, texts, shares(unknowns), rows)[1]))

    slope = head.gradient(point, texts, shares(point), rows)
    for j in range(18):
        step = np.zeros(18)
        step[j] = 1e-6
        assert (loss(point + step) - loss(point - step)) / 2e-6 == pytest.approx(slope[j], abs=1e-6)


def test_fifteen_classes_fit_and_two_of_numbers_stay_binary():
    words = {f"class{c}": [f"w{c}x{k}" for k in range(6)] for c in range(15)}
    texts, labels = corpus(6, 600, words)
    model = published(epochs=4).fit(texts, labels)
    assert model.embedding_.shape[1] == 16
    assert model.score(texts, labels) > 0.9


def test_classes_that_repeat_one_text_each_are_learned():
    model = LeaderClassifier().fit(["good"] * 6 + ["bad"] * 6, ["pos"] * 6 + ["neg"] * 6)
    assert model.predict(["bad", "good"]).tolist() == ["neg", "pos"]
