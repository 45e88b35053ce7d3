"""Softmax attention in difference form: against the attention step, and far below rounding against 60 digits."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokendyn.attention import attend
from tokendyn.attention.drift import softmax_drift, tangent_of_linear
from tokendyn.dynamics import TokenFlow
from tokendyn.errors import BadInputError, ScaleError


def unit(points):
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 300),
    dim=st.integers(1, 4),
    beta=st.sampled_from([0.0, 0.3, 10.0, 1e3, 1e6]),
)
def test_the_difference_form_is_the_attention_step(seed, count, dim, beta):
    rng = np.random.default_rng(seed)
    queries, tokens = rng.normal(size=(2, count, dim))
    weights = rng.dirichlet(np.ones(count)) + 1e-6
    found = softmax_drift(queries, tokens, inverse_temperature=beta, weights=weights)
    means = found.signs[:, None] * tokens + found.shifts
    if beta == 0:
        expected = np.broadcast_to(weights @ tokens / weights.sum(), means.shape)
        masses = np.full(count, math.log(weights.sum()))
    else:
        step = attend(queries, tokens, tokens, inverse_temperature=beta, weights=weights)
        expected, masses = step.means, beta * step.top_scores + step.log_masses
    slack = 1e-13 * (1 + beta)
    np.testing.assert_allclose(means, expected, atol=10 * slack)
    np.testing.assert_allclose(found.log_masses, masses, rtol=1e-12, atol=10 * slack)


def test_weights_of_single_tokens_are_those_of_the_dense_matrix(rng):
    tokens, queries = rng.normal(size=(2, 150, 3))
    weights = rng.dirichlet(np.ones(150))
    found = softmax_drift(queries, tokens, inverse_temperature=2.0, weights=weights)
    p = weights * np.exp(2.0 * queries @ tokens.T)
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.self_weights, np.diag(p), rtol=1e-12)
    np.testing.assert_allclose(found.effective_sizes, 1 / (p**2).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("beta", [0.0, 3.0])
def test_a_causal_token_sees_itself_and_those_before_it(rng, beta):
    tokens, queries = rng.normal(size=(2, 300, 3))
    weights = np.full(300, 1 / 300)
    found = softmax_drift(queries, tokens, inverse_temperature=beta, weights=weights, causal=True)
    for i in (0, 1, 63, 64, 127, 128, 129, 299):
        p = np.exp(beta * tokens[: i + 1] @ queries[i])
        expected = p @ tokens[: i + 1] / p.sum()
        np.testing.assert_allclose(found.signs[i] * tokens[i] + found.shifts[i], expected, atol=1e-12)


def test_threads_do_not_change_a_bit(rng):
    tokens, queries = rng.normal(size=(2, 700, 2))
    weights = np.full(700, 1 / 700)
    one, two = (
        softmax_drift(queries, tokens, inverse_temperature=5.0, weights=weights, threads=threads) for threads in (1, 2)
    )
    for name in ("shifts", "signs", "log_masses", "self_weights", "effective_sizes"):
        assert np.array_equal(getattr(one, name), getattr(two, name))


def exact_velocity(tokens, beta, interaction, value):
    """Return ``P_x V m(x)`` of every token in 80 digits, rounded once."""
    with mpmath.workdps(80):
        points = [mpmath.matrix(row.tolist()) for row in tokens]
        B, V = mpmath.matrix(interaction.tolist()), mpmath.matrix(value.tolist())
        rows = []
        for x in points:
            terms = [mpmath.exp(beta * (x.T * B * y)[0]) for y in points]
            mass = sum(terms)
            mean = sum((term * y for term, y in zip(terms, points, strict=True)), mpmath.zeros(len(x), 1)) / mass
            moved = V * mean
            velocity = moved - x * ((x.T * moved)[0] / (x.T * x)[0])
            rows.append([float(entry) for entry in velocity])
        return np.array(rows)


@pytest.mark.parametrize("dim", [2, 3, 5])
@pytest.mark.parametrize("angle", [0.5, 1.5, math.pi - 1e-3])
def test_the_drift_of_collapsed_clusters_has_ten_digits_where_forces_are_1e_18(rng, dim, angle):
    first = unit(rng.normal(size=dim))
    other = rng.normal(size=dim)
    other = unit(other - first * (first @ other))
    second = unit(math.cos(angle) * first + math.sin(angle) * other)
    tokens = np.stack([first] * 4 + [second] * 3)
    beta = 18 * math.log(10) / (1 - math.cos(angle))
    exact = exact_velocity(tokens, beta, np.eye(dim), np.eye(dim))
    sizes = np.linalg.norm(exact, axis=1)
    assert (sizes < 2e-18).all()
    assert (sizes > 1e-22).all()
    found = TokenFlow(beta).velocity(tokens)
    assert (np.linalg.norm(found - exact, axis=1) <= 1e-10 * sizes).all()
    means = attend(tokens, tokens, tokens, inverse_temperature=beta).means
    plain = means - tokens * (tokens * means).sum(axis=1)[:, None]
    assert (np.linalg.norm(plain - exact, axis=1) > 0.5 * sizes).any()


def test_the_drift_at_eigenvectors_of_a_general_value_matrix_has_ten_digits(rng):
    basis = rng.normal(size=(3, 3))
    V = basis @ np.diag([1.0, 2.0, 3.0]) @ np.linalg.inv(basis)
    tokens = unit(np.linalg.eig(V)[1].T.real)[[0, 0, 1]]
    exact = exact_velocity(tokens, 300.0, 10 * np.eye(3), V)
    found = TokenFlow(300.0, interaction=10 * np.eye(3), value=V).velocity(tokens)
    sizes = np.linalg.norm(exact, axis=1)
    assert (sizes < 1e-12).all()
    assert (np.linalg.norm(found - exact, axis=1) <= 1e-10 * sizes).all()


def test_the_tangent_part_of_a_linear_map_is_exact_at_eigenvectors(rng):
    V = rng.normal(size=(4, 4))
    V = V + V.T
    tokens = unit(np.linalg.eigh(V)[1].T)
    with mpmath.workdps(60):
        for x, found in zip(tokens, tangent_of_linear(tokens, V), strict=True):
            point = mpmath.matrix(x.tolist())
            moved = mpmath.matrix(V.tolist()) * point
            exact = moved - point * ((point.T * moved)[0] / (point.T * point)[0])
            np.testing.assert_allclose(found, [float(entry) for entry in exact], rtol=1e-12)


def test_exponents_beyond_all_digits_are_refused():
    tokens = np.eye(2)
    with pytest.raises(ScaleError, match="resolves none of their digits"):
        softmax_drift(tokens, tokens, inverse_temperature=1e15, weights=np.full(2, 0.5))


def test_shapes_that_do_not_match_are_refused(unchecked):
    with pytest.raises(BadInputError, match="expected"):
        softmax_drift(np.eye(2), np.eye(3), inverse_temperature=1.0, weights=np.full(2, 0.5))
