"""Token flows: the convention, every closed form of the mean-field model, and its symmetries."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import config as jaxtyping_config
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.special import ive

from tokendyn.attention import Head
from tokendyn.dynamics import TokenFlow, integrate, means_within
from tokendyn.errors import BadInputError, SingularError


@pytest.fixture(scope="module", autouse=True)
def _unchecked_hot_loops():
    """Integrations call the velocity thousands of times; its shapes are checked in the tests of the drift."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


def unit(points):
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def sphere(rng, count, dim):
    return unit(rng.normal(size=(count, dim)))


def end(flow, tokens, until, **settings):
    return integrate(flow, tokens, [0.0, until], **{"method": "adaptive", "tolerance": 1e-10, **settings}).states[-1]


def test_b_is_q_transposed_k_and_not_its_transpose(rng):
    query, key, value = rng.normal(size=(3, 2, 3, 3))[:, 0]
    tokens = sphere(rng, 7, 3)
    scores = 2.0 * (tokens @ query.T) @ (tokens @ key.T).T
    p = np.exp(scores)
    means = (p / p.sum(axis=1, keepdims=True)) @ tokens @ value.T
    expected = means - tokens * (tokens * means).sum(axis=1)[:, None]
    by_parts = TokenFlow(2.0, query=query, key=key, value=value)
    by_product = TokenFlow(2.0, interaction=query.T @ key, value=value)
    np.testing.assert_allclose(by_parts.velocity(tokens), expected, atol=1e-13)
    np.testing.assert_allclose(by_product.velocity(tokens), expected, atol=1e-13)
    np.testing.assert_allclose(by_parts.output(tokens), means, atol=1e-13)
    transposed = TokenFlow(2.0, interaction=key.T @ query, value=value)
    assert np.abs(transposed.velocity(tokens) - expected).max() > 0.1
    assert np.array_equal(replace(by_parts, inverse_temperature=3.0).interaction, query.T @ key)
    by_score = TokenFlow(2.0, score=key.T @ query, value=value)
    np.testing.assert_allclose(by_score.velocity(tokens), expected, atol=1e-13)
    assert np.array_equal(replace(by_score, inverse_temperature=3.0).interaction, by_score.interaction)
    head = Head(score=(query.T @ key).T, value=value, inverse_temperature=2.0)
    np.testing.assert_allclose(head.attend(tokens).means, means, atol=1e-13)


def test_at_zero_temperature_tokens_follow_v_b_transposed(rng):
    """The oblique case: V B^T and V B have different dominant directions."""
    V, B = rng.normal(size=(2, 3, 3))
    tokens = sphere(rng, 5, 3)
    queries = tokens @ B
    flow = TokenFlow(math.inf, interaction=B, value=V, cold_limit="full support")
    moved = (V @ (queries / np.linalg.norm(queries, axis=1)[:, None]).T).T
    expected = moved - tokens * (tokens * moved).sum(axis=1)[:, None]
    np.testing.assert_allclose(flow.velocity(tokens), expected, atol=1e-13)
    np.testing.assert_allclose(queries, (B.T @ tokens.T).T, atol=1e-13)


@pytest.mark.parametrize("beta", [0.5, 5.0, 50.0])
@pytest.mark.parametrize("dim", [2, 3])
def test_a_uniform_law_pulls_by_the_bessel_ratio(dim, beta):
    """``m_beta(x) = A_d(kappa) u(x)``, ``A_d = I_{d/2} / I_{d/2-1}``; quadrature weights make the law uniform."""
    turns = 2 * math.pi * (np.arange(128) + 0.5) / 128
    ring = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    if dim == 2:
        tokens, weights = ring, np.full(128, 1 / 128)
    else:
        heights, shares = np.polynomial.legendre.leggauss(64)
        radii = np.sqrt(1 - heights**2)
        points = [np.column_stack([r * ring, np.full(128, z)]) for r, z in zip(radii, heights, strict=True)]
        tokens, weights = np.concatenate(points), np.repeat(shares / shares.sum() / 128, 128)
    B = np.diag([2.0, 1.0, 1.5][:dim])
    norms = np.linalg.norm(tokens @ B, axis=1)
    kappa = beta * norms
    expected = (ive(dim / 2, kappa) / ive(dim / 2 - 1, kappa))[:, None] * (tokens @ B) / norms[:, None]
    found = TokenFlow(beta, interaction=B).output(unit(tokens), weights / weights.sum())
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("normalised", [True, False])
def test_equiangular_tokens_follow_their_equation(normalised):
    count, beta, start = 5, 3.0, 0.1
    gram = np.full((count, count), start) + (1 - start) * np.eye(count)
    tokens = unit(np.linalg.cholesky(gram))

    def rate(_, rho):
        mass = count if not normalised else np.exp(beta) + (count - 1) * np.exp(beta * rho)
        return 2 * np.exp(beta * rho) * (1 - rho) * ((count - 1) * rho + 1) / mass

    expected = solve_ivp(rate, (0, 0.7), [start], method="DOP853", rtol=1e-12, atol=1e-13).y[0, -1]
    final = end(TokenFlow(beta, normalised=normalised), tokens, 0.7)
    np.testing.assert_allclose((final @ final.T)[~np.eye(count, dtype=bool)], expected, atol=1e-8)


def test_two_tokens_at_infinite_temperature_meet_like_tanh():
    tokens = np.array([[1.0, 0.0], [math.cos(2.0), math.sin(2.0)]])
    final = end(TokenFlow(0.0), tokens, 1.3)
    assert final[0] @ final[1] == pytest.approx(math.tanh(1.3 + math.atanh(math.cos(2.0))), abs=1e-8)


def test_zero_temperature_with_orthogonal_b_is_a_matrix_exponential(rng):
    B = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    V = rng.normal(size=(3, 3))
    tokens = sphere(rng, 6, 3)
    flow = TokenFlow(math.inf, interaction=B, value=V, cold_limit="full support")
    np.testing.assert_allclose(end(flow, tokens, 1.5), unit(tokens @ expm(1.5 * V @ B.T).T), atol=1e-8)


@pytest.mark.parametrize("beta", [0.0, 7.0, 1e5])
def test_a_collapsed_cluster_follows_e_to_the_t_v(rng, beta):
    V, B = rng.normal(size=(2, 4, 4))
    point = sphere(rng, 1, 4)
    final = end(TokenFlow(beta, interaction=B, value=V), np.repeat(point, 5, axis=0), 1.0)
    expected = np.repeat(unit(point @ expm(V).T), 5, axis=0)
    np.testing.assert_allclose(final, expected, atol=1e-8)


@pytest.mark.parametrize("normalised", [True, False])
def test_weights_are_multiplicities(rng, normalised):
    tokens, repeats = sphere(rng, 6, 3), np.array([1, 2, 3, 1, 4, 1])
    B, V = rng.normal(size=(2, 3, 3))
    flow = TokenFlow(2.0, interaction=B, value=V, normalised=normalised)
    weighted = end(flow, tokens, 0.1, weights=repeats / repeats.sum())
    repeated = end(flow, np.repeat(tokens, repeats, axis=0), 0.1)
    np.testing.assert_allclose(np.repeat(weighted, repeats, axis=0), repeated, atol=1e-8)


def test_finitely_many_tokens_at_hardmax_with_identities_stand_still(rng):
    tokens = sphere(rng, 20, 3)
    run = integrate(TokenFlow(math.inf, cold_limit="hardmax"), tokens, [0.0, 5.0])
    np.testing.assert_allclose(run.states[-1], tokens, atol=1e-15)


@pytest.mark.parametrize("seed", range(8))
def test_the_energy_never_decreases_when_v_is_b_and_symmetric(seed):
    rng = np.random.default_rng(seed)
    root, beta = rng.normal(size=(3, 3)), rng.uniform(0.1, 20)
    B = (root + root.T) / 4
    tokens = sphere(rng, 12, 3)
    run = integrate(TokenFlow(beta, interaction=B, value=B), tokens, np.linspace(0, 2, 9), step=0.05)
    energies = [np.exp(beta * state @ B @ state.T).sum() for state in run.states]
    assert (np.diff(energies) >= -1e-9 * np.abs(energies[:-1])).all()


def test_cross_ratios_are_conserved_on_the_circle_at_infinite_temperature(rng):
    """At ``beta = 0``, ``V = I``, ``d = 2`` all tokens move by one Moebius map."""
    angles = rng.uniform(0, 2 * math.pi, 6)

    def ratios(tokens):
        z = tokens[:, 0] + 1j * tokens[:, 1]
        return [(z[0] - z[i]) * (z[1] - z[j]) / ((z[0] - z[j]) * (z[1] - z[i])) for i, j in ((2, 3), (3, 4), (4, 5))]

    tokens = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(ratios(end(TokenFlow(0.0), tokens, 1.5)), ratios(tokens), rtol=1e-8)


@given(seed=st.integers(0, 10**6))
def test_permuted_tokens_flow_the_same(seed):
    rng = np.random.default_rng(seed)
    B, V = rng.normal(size=(2, 3, 3))
    tokens, weights, order = sphere(rng, 30, 3), rng.dirichlet(np.full(30, 3.0)), rng.permutation(30)
    flow = TokenFlow(5.0, interaction=B, value=V)
    np.testing.assert_allclose(
        flow.velocity(tokens[order], weights[order]), flow.velocity(tokens, weights)[order], atol=1e-12
    )


@given(seed=st.integers(0, 10**6))
def test_rotated_systems_flow_rotated(seed):
    rng = np.random.default_rng(seed)
    B, V = rng.normal(size=(2, 3, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    tokens = sphere(rng, 30, 3)
    plain = TokenFlow(5.0, interaction=B, value=V).velocity(tokens)
    turned = TokenFlow(5.0, interaction=turn @ B @ turn.T, value=turn @ V @ turn.T).velocity(tokens @ turn.T)
    np.testing.assert_allclose(turned, plain @ turn.T, atol=1e-12)


def test_an_even_law_stays_even(rng):
    half = sphere(rng, 25, 3)
    B, V = rng.normal(size=(2, 3, 3))
    final = end(TokenFlow(4.0, interaction=B, value=V), np.concatenate([half, -half]), 0.5, tolerance=1e-10)
    np.testing.assert_allclose(final[:25], -final[25:], atol=1e-8)


def test_a_causal_token_does_not_feel_those_after_it(rng):
    tokens = sphere(rng, 40, 3)
    flow = TokenFlow(3.0, causal=True)
    whole = end(flow, tokens, 1.0, method="rk4")
    first = end(flow, tokens[:15], 1.0, method="rk4")
    np.testing.assert_allclose(whole[:15], first, atol=1e-13)
    assert np.array_equal(flow.velocity(tokens)[0], np.zeros(3))


def test_without_the_sphere_tokens_move_by_the_values_of_their_means(rng):
    tokens = 2 * rng.normal(size=(20, 3))
    B, V = rng.normal(size=(2, 3, 3))
    p = np.exp(0.2 * tokens @ B @ tokens.T)
    expected = (p / p.sum(axis=1, keepdims=True)) @ tokens @ V.T
    found = TokenFlow(0.2, interaction=B, value=V, on_sphere=False).velocity(tokens)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_means_may_come_from_another_function(rng):
    tokens, weights = sphere(rng, 50, 3), rng.dirichlet(np.full(50, 5.0))
    B, V = rng.normal(size=(2, 3, 3))
    seen = []

    def means(queries, keys, shares, beta):
        seen.append(beta)
        p = shares * np.exp(beta * queries @ keys.T)
        return (p / p.sum(axis=1, keepdims=True)) @ keys

    exact = TokenFlow(2.0, interaction=B, value=V)
    other = TokenFlow(2.0, interaction=B, value=V, means=means)
    np.testing.assert_allclose(other.velocity(tokens, weights), exact.velocity(tokens, weights), atol=1e-12)
    assert seen == [2.0]


def test_a_token_that_asks_for_no_direction_is_singular():
    flow = TokenFlow(math.inf, interaction=np.diag([1.0, 0.0]), cold_limit="full support")
    with pytest.raises(SingularError, match="token 1"):
        flow.velocity(np.eye(2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inverse_temperature": -1.0}, "zero or more"),
        ({"inverse_temperature": math.nan}, "zero or more"),
        ({"inverse_temperature": math.inf}, "has two limits"),
        ({"inverse_temperature": 2.0, "cold_limit": "hardmax"}, "needs inverse_temperature=inf"),
        ({"inverse_temperature": math.inf, "cold_limit": "hardmax", "normalised": False}, "finite inverse_temperature"),
        ({"inverse_temperature": 1.0, "query": np.eye(2)}, "query with key"),
        ({"inverse_temperature": 1.0, "score": np.eye(2), "interaction": np.eye(2)}, "give one of score A"),
        ({"inverse_temperature": 1.0, "score": np.ones((2, 3))}, "score must be a finite square matrix"),
        ({"inverse_temperature": 1.0, "value": np.ones((2, 3))}, "square"),
        ({"inverse_temperature": 1.0, "value": np.full((2, 2), np.nan)}, "finite"),
        ({"inverse_temperature": 1.0, "value": np.eye(2), "interaction": np.eye(3)}, "2 and 3 coordinates"),
        ({"inverse_temperature": 1.0, "causal": True, "means": lambda *_: None}, "means="),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(BadInputError, match=message):
        TokenFlow(**settings)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.array([0.5, 0.6, -0.1]), "not positive"),
        (np.array([0.5, 0.5, 0.5]), "sum to 1.5"),
        (np.array([0.5, 0.5]), "expected"),
        (np.array([0.5, np.nan, 0.5]), "not positive"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(BadInputError, match=message):
        TokenFlow(1.0).velocity(np.eye(3), weights)


@pytest.mark.parametrize(("dim", "count"), [(2, 3000), (3, 6000)])
def test_means_within_a_tolerance_stay_within_it(dim, count, rng):
    tokens = rng.standard_normal((count, dim))
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    exact = TokenFlow(100.0)
    fast = TokenFlow(100.0, means=means_within(1e-9))
    np.testing.assert_allclose(fast.velocity(tokens), exact.velocity(tokens), atol=2e-9)


def test_a_tolerance_of_means_is_checked():
    with pytest.raises(BadInputError, match=r"must be in \(0, 1\)"):
        means_within(0.0)
