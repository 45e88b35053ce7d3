"""Laws of the field on special input: hypotheses that fail are refused, extremes have their limits, nothing hangs."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tokendyn.attention import Head
from tokendyn.dynamics import ResidualLayer, TokenFlow
from tokendyn.errors import BadInputError, ConvergenceError, ScaleError
from tokendyn.metrics import cluster_staircase, merge_events, pair_alignment, rank_one_residual, renyi_centres
from tokendyn.particles.meanfield import circle_law
from tokendyn.studies.claims import field
from tokendyn.studies.laws import (
    angle_between,
    attention_energy,
    collapsed_layer,
    contraction,
    critical_gamma,
    critical_noise,
    cubic_exponent,
    equiangular_curve,
    equiangular_rate,
    equiangular_tokens,
    growth_rate,
    largest_energy,
    last_order,
    measured_critical_noise,
    measured_merging_time,
    merging_time,
    order_loop,
    parked_on_circle,
    parking_density,
    predicted_gamma,
    rescaled,
    run_two_tokens,
    second_token_time,
    spectrum,
    stationary_order,
    trapping_time,
    turns_abruptly,
    two_token_curve,
    two_token_rates,
    value_class,
)

pytestmark = pytest.mark.usefixtures("unchecked")

TIMES = np.linspace(0, 3, 4)
NAN, INF = math.nan, math.inf
QUARTER = np.array([[0.0, -1.0], [1.0, 0.0]])


def random_tokens(count=20, dim=4):
    return np.random.default_rng(0).normal(size=(count, dim))


def softmax(matrix=None):
    return ResidualLayer((Head(score=matrix, inverse_temperature=1.0),), skip=False)


# --- refused: one error of ours with the remedy, no traceback, no NaN without a word ---------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: equiangular_curve(TIMES, 1, 1.0), "count must be a whole number"),
        (lambda: equiangular_curve(TIMES, 4, 1.0, -0.5), "inner_product of 4 tokens"),
        (lambda: equiangular_curve(TIMES, 4, NAN), "inverse_temperature must lie"),
        (lambda: equiangular_curve(TIMES, 4, 1000.0, normalised=False), "unnormalised attention"),
        (lambda: equiangular_curve(np.array([0.0, 2.0, 1.0]), 4, 1.0), "times must be finite and increase"),
        (lambda: equiangular_rate(2.0, 4, 1.0), "inner_product"),
        (lambda: equiangular_tokens(4.0, 0.5), "count must be a whole number"),
        (lambda: merging_time(1.0, -2.0), "inverse_temperature"),
        (lambda: merging_time(1.0, 5.0, weights=(0.5, 0.2, 0.3)), "two positive numbers"),
        (lambda: merging_time(math.pi, 1.0), "angle must lie"),
        (lambda: measured_merging_time(TokenFlow(1.0), 0.01), "angle must lie"),
        (lambda: measured_merging_time(TokenFlow(1.0, normalisation="pre"), 1.0), "leave the sphere"),
        (lambda: parking_density(-1.0), "arrivals"),
        (lambda: parked_on_circle(0, 0.1, np.random.default_rng(0)), "count must be a whole number"),
        (lambda: parked_on_circle(10, NAN, np.random.default_rng(0)), "distance must lie"),
        (lambda: second_token_time(0.3, 3.0, 1.0), "until must lie"),
        (lambda: two_token_curve("mixx", TIMES, 1.0, 1.0), "kind is 'mixx'"),
        (lambda: two_token_curve("pre", TIMES, 1.0, 1.0, -1.0), "value of pre"),
        (lambda: two_token_curve("ngpt", TIMES, 1.0, 1.0, 0.0), "must not be zero"),
        (lambda: run_two_tokens("peri", TIMES, 1.0, 1.0, -2.0), "value of peri"),
        (lambda: two_token_rates("pre", 1.0, 0.0, 1.0), "radius"),
        (lambda: angle_between(np.zeros((2, 1, 2))), "two tokens or more"),
        (lambda: critical_gamma(equiangular_tokens(4, -1 / 3)), "mean zero"),
        (lambda: critical_gamma(random_tokens(), level=1.5), "level"),
        (lambda: contraction(np.ones((3, 2)), 1.0), "same way"),
        (lambda: predicted_gamma(1.0), "inner_product must lie"),
        (lambda: critical_noise(INF), "inverse_temperature"),
        (lambda: turns_abruptly(-1.0), "inverse_temperature"),
        (lambda: stationary_order(1.0, 0.0), "diffusivity"),
        (lambda: last_order(0.0), "inverse_temperature"),
        (lambda: measured_critical_noise(TokenFlow(3.0, value=np.diag([3.0, 1.0]))), "prefers a direction"),
        (lambda: measured_critical_noise(TokenFlow(3.0, value=-np.eye(2))), "stable under this flow"),
        (lambda: measured_critical_noise(TokenFlow(1e6)), "cells do not resolve"),
        (lambda: measured_critical_noise(TokenFlow(INF, cold_limit="hardmax")), "full support"),
        (lambda: growth_rate(TokenFlow(1.0), NAN, 1.0), "noise"),
        (lambda: order_loop(TokenFlow(1.0), [0.1, INF]), "increasing"),
        (lambda: collapsed_layer(np.zeros(3), random_tokens(), Head(inverse_temperature=1.0)), "does not fit"),
        (lambda: collapsed_layer(np.zeros(4), random_tokens(), Head()), "inverse_temperature of the head"),
        (lambda: cubic_exponent(softmax(), np.ones((4, 4))), "no exponent to measure"),
        (lambda: cubic_exponent(ResidualLayer((Head(),), skip=False), random_tokens()), "no exponent to measure"),
        (lambda: cubic_exponent(softmax(np.zeros((4, 4))), random_tokens()), "no exponent to measure"),
        (lambda: value_class(np.zeros((0, 0))), "square matrix"),
        (lambda: value_class(1j * np.eye(2)), "real numbers"),
        (lambda: value_class(np.eye(2), np.eye(3)), "differ in size"),
        (lambda: rescaled(TokenFlow(1.0), random_tokens(), 1.0), "on_sphere=False"),
        (lambda: trapping_time(-3.0), "inverse_temperature"),
        (lambda: attention_energy(random_tokens(), np.eye(3), 1.0), "does not fit tokens"),
        (lambda: attention_energy(random_tokens(), np.eye(4), 0.0), "inverse_temperature"),
        (lambda: attention_energy(random_tokens(), np.eye(4), 1.0, np.ones(20)), "of sum 1"),
        (lambda: largest_energy(np.full((2, 2), NAN), 1.0), "NaN"),
        (lambda: circle_law(TokenFlow(1.0), np.ones_like, [0, 1.0], cells=20.5), "whole number"),
        (lambda: circle_law(TokenFlow(1.0), lambda angle: np.ones(3), [0, 1.0]), "for each of"),
        (lambda: circle_law(TokenFlow(1.0), np.ones_like, [0, 1.0], cells=16).distance(np.array([NAN])), "angles"),
        (lambda: pair_alignment(random_tokens(), merged_angle=-1.0), "merged_angle"),
        (lambda: rank_one_residual([[1.0, 2.0], [3.0]]), "different lengths"),
        (lambda: merge_events([0, 1], np.full((2, 3, 2), NAN)), "NaN"),
        (lambda: cluster_staircase([0, 1], np.zeros((3, 3, 2))), "a time each"),
        (lambda: renyi_centres(random_tokens() * NAN, 0.5), "finite"),
    ],
)  # fmt: skip
def test_what_a_law_does_not_hold_for_is_refused(call, words):
    with pytest.raises(BadInputError, match=words):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: merging_time(1.0, 1e6),
        lambda: second_token_time(1.0, 1e6, 0.3),
        lambda: trapping_time(400.0),
        lambda: critical_noise(800.0),
        lambda: largest_energy(np.eye(2), 1e6),
        lambda: attention_energy(np.eye(2), np.eye(2), 1e6),
        lambda: collapsed_layer(np.zeros(4), 1e3 * random_tokens(), Head(inverse_temperature=1.0)),
    ],
)
def test_what_float64_does_not_hold_is_said(call):
    with pytest.raises(ScaleError, match=r"e\^|overflow"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: circle_law(TokenFlow(100.0, normalised=False), lambda angle: 2 + np.cos(angle), [0, 1.0], cells=64),
        lambda: circle_law(TokenFlow(1.0), np.ones_like, [0, 1e9], cells=16),
        lambda: stationary_order(1.0, critical_noise(1.0)),
        lambda: rescaled(TokenFlow(1.0, value=np.diag([1.0, -100.0]), on_sphere=False), random_tokens(5, 2), 10.0),
    ],
)
def test_what_does_not_come_to_an_end_is_given_up(call):
    with pytest.raises(ConvergenceError):
        call()


# --- extremes and special cases have their limits --------------------------------------------------------------------


def test_unnormalised_equiangular_tokens_gather_at_any_temperature_without_a_stiff_rate():
    for beta in (20.0, 300.0):
        np.testing.assert_allclose(equiangular_curve(TIMES, 4, beta, normalised=False), [0, 1, 1, 1], atol=1e-12)
    # 1 - gamma falls like e^{-2 t} at the end, to its last digit.
    late = 1 - equiangular_curve(np.array([0.0, 15.0, 16.0]), 4, 1.0)
    assert late[2] / late[1] == pytest.approx(math.exp(-2), rel=1e-2)
    assert np.array_equal(equiangular_curve(TIMES, 4, 1e6), np.zeros(4))
    assert np.array_equal(equiangular_curve(TIMES[:1], 4, 1.0, 0.2), [0.2])


def test_parking_has_its_density_for_any_number_of_arrivals():
    """The double integral as one system of two equations, far beyond where adaptive quadrature finds its mass."""

    def rates(u, state):
        return [math.exp(-2 * state[1]), (1 - math.exp(-u)) / u if u > 1e-12 else 1.0]

    for arrivals in (0.5, 30.0, 1e3, 1e6):
        solved = solve_ivp(rates, (0, arrivals), [0.0, 0.0], "DOP853", rtol=1e-11, atol=1e-13).y[0, -1]
        assert parking_density(arrivals) == pytest.approx(solved, abs=1e-10)
    assert parking_density(INF) == pytest.approx(0.74759792, abs=1e-8)


def test_times_of_pairs_are_exact_near_both_ends_of_the_angle():
    """At beta = 0 two atoms turn at ``phi' = -sin phi``, the second causal token at half of it."""
    for angle, until in ((math.pi - 1e-12, 0.1), (1.0, 1e-300)):
        expected = math.log(math.tan(angle / 2)) - math.log(math.tan(until / 2))
        assert merging_time(angle, 0.0, until=until) == pytest.approx(expected, rel=1e-12)
        assert second_token_time(angle, 0.0, until) == pytest.approx(2 * expected, rel=1e-12)
    assert trapping_time(0.0, until=1e-300) == pytest.approx(300 * math.log(10), rel=1e-12)


def test_two_tokens_that_repel_never_merge():
    assert math.isnan(measured_merging_time(TokenFlow(3.0, value=-np.eye(2)), 1.0))


@pytest.mark.parametrize("switch", [-1.0, 0.0, 1.0, 1.5, 3.0, 9.0])
def test_mix_changes_at_its_switch_wherever_it_lies(switch):
    angles, radii = two_token_curve("mix", TIMES, 1.0, 1.0, switch=switch)
    states = run_two_tokens("mix", TIMES, 1.0, 1.0, switch=switch)
    np.testing.assert_allclose(angle_between(states), angles, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(states[:, 0], axis=1), radii, rtol=1e-9)
    assert angles[0] == pytest.approx(1.0)
    assert (radii[-1] == pytest.approx(1.0)) == (switch >= TIMES[-1])


def test_two_tokens_part_under_a_negative_value_whatever_its_size():
    for value in (-2.0, -0.1):
        angles = two_token_curve("ngpt", TIMES, 1.0, 1.0, value)[0]
        np.testing.assert_allclose(angle_between(run_two_tokens("ngpt", TIMES, 1.0, 1.0, value)), angles, atol=1e-9)
        assert (np.diff(angles) > 0).all()


def test_angles_are_those_of_any_dimension(rng):
    states = rng.normal(size=(5, 3, 4))
    cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y, _ in states]
    np.testing.assert_allclose(angle_between(states), np.arccos(cosines), atol=1e-12)


def test_the_critical_gamma_of_tokens_that_nearly_agree_is_that_of_their_offsets():
    """Equiangular tokens at ``1 - rho = 1e-10`` and at 1e-4 have the same ``gamma (1 - rho)`` up to 1e-4."""
    products = [critical_gamma(equiangular_tokens(64, 1 - gap)) * gap for gap in (1e-4, 1e-10)]
    assert products[1] == pytest.approx(products[0], rel=1e-3)


@pytest.mark.parametrize(("beta", "share"), [(1.0, 0.7), (5.0, 1.05), (150.0, 1.0), (300.0, 2.0)])
def test_the_stationary_order_is_that_of_a_fine_grid(beta, share):
    """Fast Fourier transforms of the kernel itself on 4,096 angles: no Bessel function, no cut of harmonics."""
    size, angles = 4096, 2 * np.pi * np.arange(4096) / 4096
    kernel = np.fft.rfft(np.exp(beta * (np.cos(angles) - 1))).real / size
    kernel[0] = 0.0
    strength = size / (share * kernel[1])
    masses = np.eye(1, size)[0]
    for _ in range(400):
        exponent = np.fft.irfft(kernel * np.fft.rfft(masses).real, size) * strength
        masses = np.exp(exponent - exponent.max())
        masses /= masses.sum()
    assert stationary_order(beta, share * critical_noise(beta)) == pytest.approx(masses @ np.cos(angles), abs=1e-8)


@pytest.mark.parametrize(("beta", "scale"), [(8.0, 1.0), (100.0, 1.0), (3.0, 1e-12)])
def test_the_critical_noise_is_measured_at_any_speed(beta, scale):
    flow = TokenFlow(beta, value=scale * np.eye(2), normalised=False)
    assert measured_critical_noise(flow) / scale == pytest.approx(critical_noise(beta), rel=1e-3)


@pytest.mark.parametrize(
    "head",
    [
        Head(query=random_tokens(2), key=random_tokens(2)[::-1], inverse_temperature=1.0),
        Head(value=random_tokens(4), inverse_temperature=0.5),
    ],
)
def test_a_collapsed_layer_takes_heads_of_any_matrices(head):
    tokens = 0.3 * random_tokens(9)
    mean = tokens.mean(axis=0)
    expected = ResidualLayer((head,), skip=False)(tokens)[0]
    np.testing.assert_allclose(np.add(*collapsed_layer(mean, tokens - mean, head)), expected, atol=1e-13)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_exponent_of_a_layer_is_three_wherever_the_tokens_lie(shift):
    tokens = random_tokens()
    centred = tokens - tokens.mean(axis=0) + shift
    assert cubic_exponent(softmax(), centred) == pytest.approx(3, rel=0.01)


def test_a_repeated_leading_eigenvalue_is_not_taken_for_a_simple_one(rng):
    """Rounding splits a Jordan block of size k by eps^(1/k), and a singular matrix has no positive eigenvalue."""
    blocks = [np.eye(2) + np.eye(2, k=1), np.eye(3) + np.eye(3, k=1), np.eye(4, k=1), np.diag([0.0, -1.0, -2.0])]
    for block in blocks:
        for _ in range(10):
            turn = np.linalg.qr(rng.normal(size=block.shape))[0]
            assert value_class(turn @ block @ turn.T).kind == "other"
    for scale in (1e-300, 1e-150, 1e150):
        assert value_class(scale * np.diag([1.0, 0.5])).kind == "simple positive"
        assert value_class(scale * np.eye(2)).kind == "identity"


@pytest.mark.parametrize(
    ("value", "interaction", "kind"),
    [
        (np.eye(2), np.diag([1.0, 2.0]), "identity"), (np.eye(2), -np.eye(2), "other"),
        (-np.eye(2), -np.eye(2), "other"), (np.eye(2), np.eye(2) + QUARTER, "identity"),
        (np.diag([1.0, 0.5]), np.diag([1.0, -1.0]), "simple positive"), (np.diag([1.0, 0.5]), -np.eye(2), "other"),
    ],
)  # fmt: skip
def test_the_class_of_v_needs_the_hypothesis_on_the_interaction(value, interaction, kind):
    assert value_class(value, interaction).kind == kind


def test_every_number_of_the_spectrum_needs_attention_under_v():
    claim = next(claim for claim in field.CLAIMS if claim.id == "field.spectrum")
    for flow in (
        lambda value: TokenFlow(0.0, value=value, on_sphere=False),
        lambda value: TokenFlow(1.0, -np.eye(len(value)), value=value, on_sphere=False),
    ):
        found = spectrum.value_spectrum("quick", 0, flow=flow).values
        assert not any(bound.met(found[name]) for name, bound in claim.bounds.items())


@pytest.mark.parametrize("dim", [1, 2, 64])
def test_clusters_that_merge_are_those_of_plain_single_linkage(rng, dim):
    def linked(state):
        labels = list(range(len(state)))
        for i, j in np.argwhere(np.linalg.norm(state[:, None] - state, axis=2) <= 0.25):
            labels = [labels[j] if label == labels[i] else label for label in labels]
        return labels

    for _ in range(15):
        states = 0.3 * rng.normal(size=(4, 8, dim)) / math.sqrt(dim)
        labels = [linked(state) for state in states]
        expected = set()
        for time in range(1, 4):
            for cluster in set(labels[time]):
                members = [token for token in range(8) if labels[time][token] == cluster]
                before = {labels[time - 1][token] for token in members}
                parts = (tuple(token for token in members if labels[time - 1][token] == old) for old in before)
                if len(before) > 1:
                    expected.add((float(time), frozenset(parts)))
        merges = merge_events(np.arange(4.0), states, 0.25)
        assert {(merge.time, frozenset(merge.partners)) for merge in merges} == expected
        counts = [len(set(row)) for row in labels]
        steps = [(float(t), k) for t, k in enumerate(counts) if t == 0 or counts[t - 1] != k]
        assert cluster_staircase(np.arange(4.0), states, 0.25) == steps


def test_measures_do_not_depend_on_the_size_of_the_tokens():
    tokens = random_tokens()
    for scale in (1e-300, 1e-160, 1e160, 1e300):
        assert rank_one_residual(scale * tokens) == pytest.approx(rank_one_residual(tokens), rel=1e-14)
    for scale in (1e-170, 1e170):
        assert np.array_equal(renyi_centres(scale * tokens, scale), renyi_centres(tokens, 1.0))
    assert pair_alignment(np.repeat(tokens[:1], 3, axis=0), merged_angle=0.0).merged == 1
