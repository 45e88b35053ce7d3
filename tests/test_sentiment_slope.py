"""The slope of the scores of many classes: fitted to held-out texts, and no verdict changes."""

import numpy as np
import pytest
from scipy import sparse

from tokendyn.sentiment import LeaderClassifier
from tokendyn.sentiment.slope import fit_slope
from tokendyn.sentiment.values import Sample, Values, log_softmax


def held(texts, shrunk, seed):
    """Return texts whose labels are drawn from known scores, and values that have these scores times a factor."""
    rng = np.random.default_rng(seed)
    table = 3.0 * rng.standard_normal((40, 4))
    counts = sparse.csr_matrix(rng.poisson(0.3, (texts, 40)).astype(float))
    sizes = np.asarray(counts.sum(axis=1)).ravel() + 1.0
    chance = np.exp(log_softmax(counts @ table / sizes[:, None]))
    labels = np.array([rng.choice(4, p=row / row.sum()) for row in chance])
    sample = Sample(counts=counts, sizes=sizes, targets=np.eye(4)[labels], importance=np.ones(texts))
    return [(sample, Values(table=shrunk * table, biases=np.zeros(4), phantom=0.0))]


@pytest.mark.parametrize("shrunk", [0.6, 1.0, 1.5])
def test_scores_that_are_too_small_or_too_large_are_put_right(shrunk):
    assert fit_slope(held(4000, shrunk, 3)) * shrunk == pytest.approx(1.0, abs=0.08)


def test_few_texts_change_little_and_none_change_nothing():
    slopes = [abs(np.log(fit_slope(held(20, 0.6, seed)))) for seed in range(5)]
    assert max(slopes) < 0.5
    assert fit_slope([]) == 1.0


@pytest.mark.parametrize("share", [0.12, 0.5])
def test_the_mean_certainty_of_many_classes_is_the_share_of_right_verdicts(share):
    """Without the slope it is 0.56 where 0.30 are right, and 0.74 where 0.89 are."""
    rng = np.random.default_rng(5)
    words, classes = np.array([f"word{number}" for number in range(300)]), 8
    profiles = share * rng.dirichlet(np.full(300, 0.1), classes) + (1.0 - share) / 300
    labels = rng.integers(classes, size=900)
    texts = [" ".join(words[rng.choice(300, 12, p=profiles[label])]) for label in labels]
    model = LeaderClassifier(phantom=20.0, floor=0.8, marginal=0.3, prior_strength=8.0).fit(texts[:600], labels[:600])
    chance = model.predict_proba(texts[600:])
    right = model.classes_[chance.argmax(axis=1)] == labels[600:]
    assert chance.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.05)
