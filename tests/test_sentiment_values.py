"""The convex fit of values, its prior and its settings, against scikit-learn and plain loops."""

import itertools
import math

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from tokendyn.sentiment import TokenRule
from tokendyn.sentiment.crops import with_crops
from tokendyn.sentiment.selection import choose_prior, held_out
from tokendyn.sentiment.tokenise import Lexicon, find_words
from tokendyn.sentiment.tokens import read_units
from tokendyn.sentiment.values import Prior, Sample, fit_values, prior_scale
from tokendyn.sentiment.vocabulary import count_words


def sample(rng, texts=60, tokens=12, columns=1):
    counts = sparse.csr_matrix(rng.poisson(0.6, size=(texts, tokens)).astype(np.float64))
    classes = rng.integers(0, 2 if columns == 1 else columns, size=texts)
    targets = classes[:, None] == 1 if columns == 1 else classes[:, None] == np.arange(columns)
    return Sample(
        counts=counts,
        sizes=np.asarray(counts.sum(axis=1)).ravel() + 3.0,
        targets=targets.astype(np.float64),
        importance=rng.uniform(0.5, 2.0, size=texts),
    )


def test_values_of_two_classes_are_those_of_a_logistic_regression_on_scaled_shares(rng):
    data, prior = sample(rng), Prior(phantom=20.0, floor=0.4, strength=2.0)
    scale = rng.uniform(0.3, 2.0, size=(12, 1))
    found = fit_values(data, scale, prior, gradient=1e-9)
    unit = 220.0 / (data.sizes + 20.0)
    features = data.counts.toarray() * unit[:, None] * scale[:, 0]
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000)
    theirs.fit(features, data.targets[:, 0], sample_weight=data.importance)
    np.testing.assert_allclose(found.table[:, 0], theirs.coef_[0] * scale[:, 0] * 220.0, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.biases, theirs.intercept_, atol=1e-5)


def test_values_of_several_classes_sum_to_nothing_and_are_the_minimum(rng):
    data, prior = sample(rng, columns=4), Prior(phantom=5.0, floor=0.4, strength=2.0)
    found = fit_values(data, np.ones((12, 4)), prior, gradient=1e-8)
    np.testing.assert_allclose(found.table.sum(axis=1), 0.0, atol=1e-8)
    unit = 205.0 / (data.sizes + 5.0)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000)
    theirs.fit(data.counts.toarray() * unit[:, None], data.targets.argmax(axis=1), sample_weight=data.importance)
    np.testing.assert_allclose(found.table, theirs.coef_.T * 205.0, rtol=1e-3, atol=1e-3)


def test_a_text_with_a_soft_target_counts_as_texts_of_both_classes(rng):
    data, prior = sample(rng), Prior(phantom=20.0, floor=0.4, strength=2.0)
    soft = Sample(data.counts, data.sizes, np.full((60, 1), 0.3), data.importance)
    both = Sample(
        sparse.vstack([data.counts, data.counts], format="csr"),
        np.tile(data.sizes, 2),
        np.repeat([[1.0], [0.0]], 60, axis=0),
        np.concatenate([0.3 * data.importance, 0.7 * data.importance]),
    )
    found, expected = (fit_values(part, np.ones((12, 1)), prior, gradient=1e-9) for part in (soft, both))
    np.testing.assert_allclose(found.table, expected.table, atol=1e-4)


@pytest.mark.parametrize("marginal", [1.0, 0.3, 0.0])
def test_the_scale_of_a_token_is_that_of_the_formula(rng, marginal):
    data = sample(rng)
    presence = (data.counts > 0).astype(np.float64)
    found = prior_scale(presence, data.targets, 0.4, marginal)[:, 0]
    there, positive = presence.toarray() > 0, data.targets[:, 0] == 1
    p = [1 + int((there[:, j] & positive).sum()) for j in range(12)]
    q = [1 + int((there[:, j] & ~positive).sum()) for j in range(12)]
    for j in range(12):
        r = math.log(p[j] / sum(p)) - math.log(q[j] / sum(q))
        least = 0.4 * (1 + math.log(60 / (p[j] + q[j] - 2))) / 5
        square = least**2 + marginal**2 * max(r**2 - 1 / p[j] - 1 / q[j], 0.0)
        assert found[j] == pytest.approx(math.sqrt(square) ** 1.3)


def test_settings_are_those_of_the_least_loss_that_was_tried(rng):
    data = sample(rng, texts=150)
    choice = choose_prior(data, None, np.empty(0, dtype=np.int64), np.arange(150), fixed={"floor": 0.4})
    assert {prior.floor for prior, _ in choice.tried} == {0.4}
    losses = dict(choice.tried)
    assert losses[choice.prior] <= min(losses.values()) + 0.2 / math.sqrt(150)  # a neighbour must be clearly better
    assert choice.completed


def test_marginal_effects_of_few_texts_are_not_trusted_and_short_texts_have_few_phantom_words(rng):
    data = sample(rng, texts=150)
    prior = choose_prior(data, None, np.empty(0, dtype=np.int64), np.arange(150), fixed={}).prior
    assert prior.marginal == 0.0
    assert 5.0 <= prior.phantom <= np.median(data.sizes)
    assert prior.floor >= 0.4


def test_every_fold_holds_texts_of_each_class(rng):
    targets = np.array([[1.0]] * 3 + [[0.0]] * 20)
    keys = rng.permutation(100)[:23]
    folds = list(held_out(targets, keys))
    assert sorted(np.concatenate(folds).tolist()) == list(range(23))
    assert all((targets[np.setdiff1d(np.arange(23), fold)] == 1).any() for fold in folds)


def test_folds_do_not_depend_on_the_order_and_equal_texts_are_in_one(rng):
    targets = rng.integers(0, 2, size=(60, 1)).astype(float)
    keys = 100 * targets[:, 0].astype(int) + rng.integers(0, 20, size=60)
    order = rng.permutation(60)
    folds = [{int(key) for key in keys[fold]} for fold in held_out(targets, keys)]
    assert folds == [{int(key) for key in keys[order][fold]} for fold in held_out(targets[order], keys[order])]
    assert not any(first & second for first, second in itertools.combinations(folds, 2))


LONG = " ".join(f"word{n % 37} and{n % 11}." for n in range(60))


def test_crops_are_pieces_of_their_texts_and_do_not_depend_on_the_order():
    texts = [LONG, "short one", LONG.replace("word3", "other"), LONG + " end"]
    found = {}
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        lexicon = Lexicon()
        given = [texts[row] for row in order]
        units, parents = with_crops(read_units(given, TokenRule(2), lexicon), given)
        names = list(lexicon.numbers)
        for crop, parent in enumerate(parents.tolist()):
            words = [names[n] for n in units.numbers[units.rows == len(texts) + crop].tolist() if n >= 0]
            whole = [word for word, _, _ in find_words(given[parent])]
            assert any(whole[at : at + len(words)] == words for at in range(len(whole)))
            assert min(5, len(whole)) <= len(words) <= 200
            found.setdefault(given[parent], []).append(words)
    assert all(crops[:2] == crops[2:] for crops in found.values())
    assert len(found) == 4


def test_crops_bring_no_token_that_the_texts_lack_and_short_texts_have_none():
    texts = [LONG, LONG.replace("word3", "other")]
    plain, cut = (count_words(texts, TokenRule(2), crops=crops) for crops in (False, True))
    assert cut.names == plain.names
    assert cut.parents.tolist() == [0, 0, 1, 1]
    assert cut.lengths[:2].tolist() == [120, 120]
    assert len(count_words(["a short text"] * 3, crops=True).parents) == 0
