"""Measures of tokens and heads against planted answers and against SciPy."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from tokendyn.errors import BadInputError
from tokendyn.metrics.attention import (
    cold_index,
    commonest_top,
    effective_keys,
    fit_scores,
    largest_lead,
    leaders,
    permuted_lead,
    permuted_top,
    visible,
)
from tokendyn.metrics.geometry import clusters, covariance_rank, gathering, mean_cosine, standard_error
from tokendyn.models.motion import Motion
from tokendyn.models.nulls import pool_of


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_independent_tokens_do_not_gather_even_with_a_common_direction(rng):
    common = 3 * np.ones(32)
    sets = [rng.normal(size=(40, 32)) + common for _ in range(24)]
    found = gathering(sets)
    assert found.within.mean() > 0.8
    assert abs(found.mean) < 3 * found.standard_error
    assert found.standard_error < 0.01


def test_tokens_around_a_centre_of_their_own_gather(rng):
    sets = [rng.normal(size=(40, 32)) + 2 * rng.normal(size=32) for _ in range(12)]
    found = gathering(sets)
    assert found.mean > 0.7
    assert abs(found.across.mean()) < 0.1


def test_gathering_uses_the_references_that_are_given(rng):
    sets = [rng.normal(size=(9, 5)) + 1.0]
    reference = [rng.normal(size=(9, 5)) + 1.0, rng.normal(size=(4, 5)) + 1.0]
    unit = [tokens / np.linalg.norm(tokens, axis=1, keepdims=True) for tokens in (*sets, *reference)]
    by_hand = np.mean([(unit[0] @ other.T).mean() for other in unit[1:]])
    assert gathering(sets, reference).across[0] == pytest.approx(by_hand)
    with pytest.raises(BadInputError, match="two sets or more, or references"):
        gathering(sets)


def test_the_mean_cosine_is_that_of_all_pairs(rng):
    tokens = rng.normal(size=(7, 3))
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(7) for j in range(7) if i != j]
    assert mean_cosine(tokens) == pytest.approx(np.mean(pairs))
    with pytest.raises(BadInputError, match="two tokens or more"):
        mean_cosine(tokens[:1])


def test_the_effective_rank_counts_equal_directions(rng):
    corners = np.concatenate([np.eye(6), -np.eye(6)])
    assert covariance_rank(corners) == pytest.approx(6)
    tokens = rng.normal(size=(5, 40))
    values = np.linalg.svd(tokens - tokens.mean(axis=0), compute_uv=False) ** 2
    assert covariance_rank(tokens) == pytest.approx(np.exp(entropy(values[values > 1e-12 * values[0]])))
    assert covariance_rank(np.ones((4, 3))) == 0


def test_planted_clusters_are_counted(rng):
    centres = 10 * np.linalg.qr(rng.normal(size=(16, 16)))[0][:4]
    tokens = np.concatenate([centre + 0.1 * rng.normal(size=(10, 16)) for centre in centres])
    assert clusters(tokens, 0.5) == 4
    assert clusters(tokens, 0.99999) == len(tokens)
    assert clusters(np.ones((6, 3)), 0.7) == 1


@pytest.mark.parametrize("spread", [0.2, 1.0, 2.5])
def test_the_cold_index_is_the_planted_spread(rng, spread):
    tokens = 400
    scores = spread * np.sqrt(2 * np.log(tokens)) * rng.normal(size=(1, tokens, tokens))
    attention = softmax(scores, axis=-1)
    assert cold_index(attention, visible(attention))[0] == pytest.approx(spread, rel=0.02)


def test_a_uniform_head_is_warm_and_a_causal_one_too():
    uniform = np.full((2, 20, 20), 1 / 20)
    seen = visible(uniform)
    assert np.abs(cold_index(uniform, seen)).max() < 1e-12
    keys, share = effective_keys(uniform, seen)
    assert keys == pytest.approx(20)
    assert share == pytest.approx(1)
    causal = np.tril(np.ones((1, 20, 20)))
    causal /= causal.sum(axis=-1, keepdims=True)
    assert cold_index(causal, visible(causal)) == pytest.approx(0, abs=1e-12)
    assert effective_keys(causal, visible(causal))[1] == pytest.approx(1)
    few = causal[:, :4, :4]
    assert np.isnan(cold_index(few, visible(few))).all()


def test_effective_keys_are_those_of_scipy(rng):
    attention = softmax(3 * rng.normal(size=(3, 30, 30)), axis=-1)
    keys, share = effective_keys(attention, visible(attention))
    assert keys == pytest.approx(np.median(1 / (attention**2).sum(axis=-1), axis=-1))
    assert share == pytest.approx(np.median(np.exp(entropy(attention, axis=-1)) / 30, axis=-1))


def test_a_sink_and_a_content_leader_with_the_same_attention_are_told_apart():
    tokens = 30
    attention = np.full((1, tokens, tokens), 0.4 / (tokens - 2))
    attention[:, :, [0, 7]] = 0.3
    norms = np.ones((1, tokens))
    norms[0, 0] = 0.05
    found = leaders(attention, visible(attention), norms)
    assert np.flatnonzero(found.sinks[0]).tolist() == [0]
    assert np.flatnonzero(found.content[0]).tolist() == [7]
    assert found.share[0, 0] == pytest.approx(found.share[0, 7])
    assert found.lead[0, 0] == pytest.approx(0.3 * tokens)
    assert found.output_share.sum() == pytest.approx(1)
    without_values = leaders(attention, visible(attention))
    assert not without_values.sinks.any()
    assert np.flatnonzero(without_values.content[0]).tolist() == [0, 7]


def test_a_late_key_of_a_causal_head_does_not_lead():
    seen = np.tril(np.ones((40, 40), dtype=bool))
    causal = seen[None].astype(float)
    causal[0, -1] = 0
    causal[0, -1, -1] = 1
    causal /= causal.sum(axis=-1, keepdims=True)
    found = leaders(causal, seen, np.ones((1, 40)))
    assert found.lead[0, -1] > 5
    assert not found.content.any()


def test_a_head_of_known_temperature_has_slope_one_at_it(rng):
    tokens = rng.normal(size=(50, 8))
    forms = rng.normal(size=(2, 8, 8))
    scores = np.einsum("id,hde,je->hij", tokens, forms, tokens)
    attention = softmax(0.25 * scores, axis=-1)
    seen = visible(attention)
    exact = fit_scores(attention, 0.25 * scores, seen)
    assert exact.slope == pytest.approx(1)
    assert exact.r2 == pytest.approx(1)
    assert exact.same_top == pytest.approx(1)
    assert np.abs(exact.variation).max() < 1e-12
    cold = fit_scores(attention, scores, seen)
    assert cold.slope == pytest.approx(0.25)
    assert cold.r2 == pytest.approx(1)
    assert (cold.variation > 0.1).all()
    other = fit_scores(attention, rng.normal(size=scores.shape), seen)
    assert (other.r2 < 0.01).all()


def test_a_leader_of_a_local_head_is_seen_by_few_queries_and_leads():
    places = np.arange(60)
    seen = np.abs(places[:, None] - places) <= 4
    uniform = np.where(seen, 1 / seen.sum(axis=1, keepdims=True), 0.0)
    led = np.where(seen[:, [30]], np.where(places == 30, 1.0, 0.0), uniform)
    found = leaders(np.stack([uniform, led]), seen)
    # Nine queries see key 30, and each of them nine keys.
    assert largest_lead(found, seen) == pytest.approx([1.0, 9.0])
    assert found.content.sum(axis=1).tolist() == [0, 1]
    assert found.content[1, 30]


def test_the_commonest_key_is_the_null_of_leaders():
    attention = np.zeros((1, 4, 4))
    attention[0, [0, 1, 2, 3], [2, 2, 2, 0]] = 1
    assert commonest_top(attention) == pytest.approx(0.75)


def test_the_standard_error_needs_two_samples():
    assert np.isnan(standard_error(np.ones(1)))
    assert np.isnan(standard_error(np.ones((1, 3)))).all()
    assert standard_error(np.array([0.0, 2.0])) == pytest.approx(1.0)


def test_a_planted_leader_leads_and_rows_that_agree_on_no_key_do_not(rng):
    tokens = 60
    planted = rng.random((2, tokens, tokens))
    planted[0, :, 7] = 30.0  # all rows of head 0 look at token 7
    planted[1, np.arange(tokens), rng.permutation(tokens)] = 30.0  # those of head 1 each at another
    planted /= planted.sum(axis=-1, keepdims=True)
    seen = visible(planted)
    lead = largest_lead(leaders(planted, seen), seen)
    null = permuted_lead(planted, seen, rng)
    assert lead[0] > 25
    assert (null < 5).all()
    assert lead[1] < 2 * null[1]


def test_the_null_of_leads_keeps_the_weights_of_each_row_and_its_mask(rng):
    causal = np.tril(np.exp(rng.normal(size=(1, 30, 30))))
    causal /= causal.sum(axis=-1, keepdims=True)
    uniform = np.tril(np.ones((1, 30, 30)))
    uniform /= uniform.sum(axis=-1, keepdims=True)
    assert permuted_lead(uniform, visible(uniform), rng) == pytest.approx(1)
    assert 1 < permuted_lead(causal, visible(causal), rng)[0] < 2.5


def test_scores_of_other_queries_name_the_heaviest_key_by_chance(rng):
    scores = rng.normal(size=(2, 200, 200))
    attention = softmax(scores, axis=-1)
    seen = visible(attention)
    assert fit_scores(attention, scores, seen).same_top == pytest.approx(1)
    assert (permuted_top(attention, scores, seen, rng) < 0.05).all()
    common = scores + 8 * np.eye(1, 200, 5)  # every query prefers key 5: others name it too
    assert (permuted_top(softmax(common, axis=-1), common, seen, rng) > 0.9).all()


def test_mixed_texts_have_the_clusters_of_all_texts(rng):
    centres = 10 * np.linalg.qr(rng.normal(size=(16, 16)))[0][:4]
    texts = [np.stack([centre + 0.1 * rng.normal(size=(41, 16))] * 2) for centre in centres]
    pool = pool_of(texts, len(texts))
    assert pool.states.shape == (2, 160, 16)
    mixed = pool.clusters(40, (0.5, 0.7), rng)
    assert clusters(texts[0][0][1:], 0.5) == 1
    assert mixed == pytest.approx(4 / 40)
    assert np.isnan(pool.clusters(161, (0.5,), rng)).all()


def test_a_drift_of_all_tokens_survives_permutation_and_motions_of_their_own_do_not(rng):
    drift = np.broadcast_to(2 * rng.normal(size=24), (200, 24))
    own = rng.normal(size=(200, 24))
    zero = np.zeros_like(own)
    motion = Motion(parts=np.stack([own, drift, zero, zero]), heads=np.zeros((1, 200)), error=0.0)
    null = motion.permuted_shares(rng)
    assert null[1] == pytest.approx(motion.shares()[1])
    assert motion.shares()[0] > 0.15
    assert abs(null[0]) < 0.03
