"""Fast softmax means: every method within its stated bound of extended precision, on whatever breaks it first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from softmax_cases import FAMILIES, Case, exact_rows, space_cases, sphere_cases, uniform, worst_errors

from tokendyn.attention import attend
from tokendyn.attention.softmax_circle import circle_softmax, kernel_coefficients
from tokendyn.attention.softmax_direct import direct_softmax
from tokendyn.attention.softmax_kernels import KEYS, LEAST_EXPONENT, ROWS, TILES, exponentials
from tokendyn.attention.softmax_merged import merge_keys, merged_softmax
from tokendyn.attention.softmax_spectral import on_one_sphere
from tokendyn.attention.softmax_sphere import HIGHEST_DEGREE, highest_degree, sphere_softmax
from tokendyn.attention.softmax_truncated import truncated_softmax
from tokendyn.errors import BadInputError
from tokendyn.rivals.attention import torch_softmax

TOLERANCE = 1e-10


def solve(method, case, **options):
    return method(case.queries, case.keys, case.values, inverse_temperature=case.beta, weights=case.weights, **options)


def assert_within_bounds(case, found, rng):
    rows = rng.integers(0, len(case.queries), min(20, len(case.queries)))
    assert max(worst_errors(case, found, rows)) <= 1, case.name
    assert np.isfinite(found.means).all()
    assert (found.error_bounds <= TOLERANCE).all(), case.name


# The exponential and the direct kernel.


def test_the_exponential_is_within_two_units_in_the_last_place():
    exponents = np.concatenate([np.linspace(LEAST_EXPONENT, 0, 60001), np.linspace(-1, 1, 20001), [0.0]])
    found = np.empty_like(exponents)
    exponentials(exponents, found)
    exact = np.exp(exponents.astype(np.longdouble))
    assert np.abs(found / exact - 1).max() <= 2 * np.finfo(float).eps
    assert found[-1] == 1.0


def test_exponents_below_the_least_count_as_the_least():
    found = np.empty(2)
    exponentials(np.array([-1e308, LEAST_EXPONENT - 1]), found)
    np.testing.assert_allclose(found, np.exp(LEAST_EXPONENT), rtol=1e-15)


@pytest.mark.parametrize("count", sorted({1, 2, KEYS - 1, KEYS, KEYS + 1, ROWS - 1, ROWS + 1, KEYS * TILES + 5}))
@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_the_direct_kernel_is_exact_to_rounding_across_tile_edges(dim, count, rng):
    keys = rng.normal(size=(count, dim))
    case = Case("edges", rng.normal(size=(count, dim)), keys, rng.normal(size=(count, 2)), None, 3.0)
    found = solve(direct_softmax, case)
    assert max(worst_errors(case, found, np.arange(min(count, 50)))) <= 1


def test_scores_that_rise_along_the_keys_rescale_the_sums():
    keys = np.linspace(-1, 1, 3000)[:, None]
    case = Case("rising", 3000 * np.sign(keys), keys, keys, None, 1.0)
    assert max(worst_errors(case, solve(direct_softmax, case), np.array([0, 1, 2998, 2999]))) <= 1


@pytest.mark.parametrize("dim", [2, 3, 9])
def test_torch_attention_agrees_with_the_direct_kernel(dim, rng):
    keys, values = rng.normal(size=(2, 300, dim))
    weights = rng.uniform(0.1, 2, size=300)
    case = Case("torch", rng.normal(size=(40, dim)), keys, values, weights, 2.0)
    np.testing.assert_allclose(solve(torch_softmax, case), solve(direct_softmax, case).means, rtol=0, atol=1e-13)


# Bounds hold.


@pytest.mark.parametrize("spectral", [None, False])
def test_the_circle_is_within_its_bound_in_random_and_clustered_cases(spectral, rng):
    for case in sphere_cases(2, 80, 500, seed=1):
        assert_within_bounds(case, solve(circle_softmax, case, tolerance=TOLERANCE, spectral=spectral), rng)


def test_harmonics_are_within_their_bound_in_random_and_clustered_cases(rng):
    checked = 0
    for case in sphere_cases(3, 60, 300, seed=3):
        sharpness = case.beta * np.linalg.norm(case.queries, axis=1).max()
        if sharpness < 300 and on_one_sphere(case.queries, sharpness, TOLERANCE):
            assert_within_bounds(case, solve(sphere_softmax, case, tolerance=TOLERANCE), rng)
            checked += 1
    assert checked >= 15


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_truncation_is_within_its_bound_on_spheres(dim, rng):
    for case in sphere_cases(dim, 40, 500, seed=dim):
        assert_within_bounds(case, solve(truncated_softmax, case, tolerance=TOLERANCE), rng)


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_truncation_is_within_its_bound_in_space(dim, rng):
    for case in space_cases(dim, 20, 700, seed=dim):
        assert_within_bounds(case, solve(truncated_softmax, case, tolerance=TOLERANCE), rng)


def test_truncation_looks_at_few_keys_when_the_temperature_is_low(rng):
    keys = rng.normal(size=(20000, 3))
    case = Case("low", keys[:200], keys, keys, None, 1e3)
    assert_within_bounds(case, solve(truncated_softmax, case, tolerance=TOLERANCE), rng)


# Closed forms and properties of the circle.


@pytest.mark.parametrize("stiffness", [0.0, 0.1, 3.0, 200.0, 1e5])
def test_kernel_coefficients_are_scaled_bessel_functions(stiffness):
    from scipy.special import ive

    coefficients = kernel_coefficients(stiffness)
    orders = np.arange(len(coefficients)) - len(coefficients) // 2
    np.testing.assert_allclose(coefficients, ive(np.abs(orders), stiffness), rtol=0, atol=1e-15)
    assert abs(coefficients[-1]) < 1e-16


@pytest.mark.parametrize("beta", [0.5, 20.0, 500.0])
def test_an_even_grid_on_the_circle_has_the_mean_of_the_uniform_measure(beta):
    from scipy.special import ive

    angles = 2 * np.pi * np.arange(4000) / 4000
    tokens = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = circle_softmax(tokens, tokens, tokens, inverse_temperature=beta)
    np.testing.assert_allclose(found.means, ive(1, beta) / ive(0, beta) * tokens, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.references + found.log_masses, beta + np.log(4000 * ive(0, beta)), rtol=1e-12)
    assert found.recomputed == 0


def test_rows_across_a_half_circle_are_recomputed(rng):
    angles = np.pi * rng.random(1000)
    keys = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    case = Case("half", -keys, keys, keys, None, 1e3)
    found = solve(circle_softmax, case, tolerance=TOLERANCE)
    assert found.recomputed > 900
    assert max(worst_errors(case, found, np.arange(0, 1000, 20))) <= 1


@settings(max_examples=25)
@given(st.floats(0, 6.28), st.floats(0.01, 1e4), st.integers(0, 2**32 - 1))
def test_rotating_the_circle_rotates_the_means(angle, beta, seed):
    rng = np.random.default_rng(seed)
    keys = uniform(2, 40, rng)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    still = circle_softmax(keys, keys, keys, inverse_temperature=beta)
    turned = circle_softmax(keys @ turn.T, keys @ turn.T, keys @ turn.T, inverse_temperature=beta)
    np.testing.assert_allclose(turned.means, still.means @ turn.T, rtol=0, atol=2e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_order_of_keys_and_multiplicity_change_nothing(family, rng):
    keys = family(2, 200, rng)
    counts = rng.integers(1, 4, size=len(keys))
    many = rng.permutation(np.repeat(keys, counts, axis=0))
    weighted = circle_softmax(-keys, keys, keys, inverse_temperature=80.0, weights=counts.astype(float))
    repeated = circle_softmax(-keys, many, many, inverse_temperature=80.0)
    np.testing.assert_allclose(weighted.means, repeated.means, rtol=0, atol=1e-10)


# Closed forms and properties of the sphere.


def fibonacci(count):
    heights = 1 - (2 * np.arange(count) + 1) / count
    angles = np.pi * (1 + np.sqrt(5)) * np.arange(count)
    return np.stack([*(np.sqrt(1 - heights**2) * (np.cos(angles), np.sin(angles))), heights], axis=1)


def test_the_mean_of_two_keys_on_the_sphere_is_the_logistic_function():
    keys = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    queries = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = sphere_softmax(queries, keys, np.array([[0.0], [1.0]]), inverse_temperature=4.0)
    np.testing.assert_allclose(found.means[:, 0], 1 / (1 + np.exp(-4 * np.array([-0.2, 0.0, -1.0]))), atol=1e-13)


@pytest.mark.parametrize("beta", [0.3, 5.0, 40.0])
def test_many_even_keys_on_the_sphere_have_the_mean_of_the_uniform_measure(beta):
    keys = fibonacci(20000)
    queries = fibonacci(50)
    found = sphere_softmax(queries, keys, keys, inverse_temperature=beta)
    langevin = 1 / np.tanh(beta) - 1 / beta
    np.testing.assert_allclose(found.means, langevin * queries, rtol=0, atol=2e-4)
    assert found.recomputed == 0


def test_the_poles_are_like_any_other_place(rng):
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    keys = np.concatenate([uniform(3, 300, rng), np.eye(3), -np.eye(3)])
    still = sphere_softmax(keys, keys, keys, inverse_temperature=30.0)
    turned = sphere_softmax(keys @ turn, keys @ turn, keys @ turn, inverse_temperature=30.0)
    np.testing.assert_allclose(turned.means, still.means @ turn, rtol=0, atol=2e-10)


def test_degrees_beyond_the_highest_are_refused_with_the_remedy(rng):
    keys = uniform(3, 10, rng)
    assert highest_degree(1e5) > HIGHEST_DEGREE
    with pytest.raises(BadInputError, match="use truncation"):
        sphere_softmax(keys, keys, keys, inverse_temperature=1e5)


# Merged keys.


def test_merging_keeps_total_weight_and_centre_of_mass(rng):
    keys, values = rng.normal(size=(2, 400, 2))
    weights = rng.uniform(0.1, 2, size=400)
    merged = merge_keys(keys, values, weights, 0.5)
    assert len(merged.keys) < 300
    np.testing.assert_allclose(merged.weights.sum(), weights.sum(), rtol=1e-13)
    np.testing.assert_allclose(merged.weights @ merged.keys, weights @ keys, atol=1e-11)
    assert merged.key_radius <= 0.5
    labels = merged.labels
    assert np.linalg.norm(keys - merged.keys[labels], axis=1).max() == pytest.approx(merged.key_radius)
    assert np.linalg.norm(values - merged.values[labels], axis=1).max() == pytest.approx(merged.value_radius)


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-7])
@pytest.mark.parametrize("beta", [1.0, 30.0, 1e3])
def test_merging_stays_within_its_bound(distance, beta, rng):
    places = uniform(3, 6, rng)[rng.integers(0, 6, size=500)]
    keys = places + 0.3 * distance * rng.normal(size=places.shape)
    case = Case("merged", uniform(3, 50, rng), keys, keys, rng.uniform(0.1, 2, size=500), beta)
    merged = merge_keys(keys, keys, case.weights, distance)
    found = merged_softmax(case.queries, merged, inverse_temperature=beta, tolerance=1e-12)
    assert max(worst_errors(case, found, np.arange(50))) <= 1


def test_coalesced_tokens_are_merged_by_themselves(rng):
    places = uniform(3, 9, rng)[rng.integers(0, 9, size=30000)]
    keys = places + 1e-11 * rng.normal(size=places.shape)
    step = attend(
        -keys, keys, keys, rows=np.arange(2000), inverse_temperature=300.0,
        error_tolerance=TOLERANCE, find_leaders=False,
    )  # fmt: skip
    assert step.choice.backend == "merged"
    assert step.choice.error_bound <= TOLERANCE
    means, _ = exact_rows(Case("coalesced", -keys, keys, keys, None, 300.0), np.arange(0, 2000, 100))
    assert np.abs(step.means[::100] - means).max() <= TOLERANCE


# Through attend.


@pytest.mark.parametrize("backend", ["online", "circle", "truncated"])
def test_attend_by_name_states_its_bound_and_keeps_it(backend, rng):
    keys = uniform(2, 3000, rng)
    case = Case(backend, keys[::-1].copy(), keys, keys, rng.uniform(0.5, 2, size=3000), 300.0)
    step = attend(
        case.queries, keys, keys, inverse_temperature=300.0, weights=case.weights,
        backend=backend, error_tolerance=TOLERANCE, find_leaders=False,
    )  # fmt: skip
    assert step.choice.backend == backend
    assert step.choice.error_bound <= TOLERANCE
    rows = np.arange(0, 3000, 50)
    means, log_partitions = exact_rows(case, rows)
    assert np.abs(step.means[rows] - means).max() <= TOLERANCE
    assert np.abs(step.log_masses[rows] - log_partitions).max() <= TOLERANCE


def test_the_circle_is_chosen_on_a_circle_and_refused_elsewhere(rng):
    keys = uniform(2, 20000, rng)
    options = {"inverse_temperature": 100.0, "error_tolerance": TOLERANCE, "find_leaders": False}
    assert attend(keys, keys, keys, **options).choice.backend == "circle"
    with pytest.raises(BadInputError, match="different lengths"):
        attend(2 * keys, rng.normal(size=keys.shape), keys, backend="circle", **options)


@pytest.mark.parametrize(("beta", "chosen"), [(30.0, "sphere"), (1e5, "truncated")])
def test_the_sphere_takes_harmonics_when_warm_and_truncation_when_cold(beta, chosen, rng):
    keys = uniform(3, 30000, rng)
    options = {"inverse_temperature": beta, "error_tolerance": TOLERANCE, "find_leaders": False}
    step = attend(keys, keys, keys, rows=np.arange(0, 30000, 3), **options)
    assert step.choice.backend == chosen
    assert step.choice.error_bound <= TOLERANCE
    means, _ = exact_rows(Case("sphere", keys, keys, keys, None, beta), np.arange(0, 30000, 3000))
    assert np.abs(step.means[::1000] - means).max() <= TOLERANCE


def test_no_tolerance_means_no_approximation(rng):
    keys = uniform(2, 3000, rng)
    step = attend(keys, keys, keys, inverse_temperature=100.0, find_leaders=False)
    assert step.choice.backend == "online"
    assert step.choice.error_bound == 0.0
