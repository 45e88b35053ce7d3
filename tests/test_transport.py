"""Wasserstein distances: closed forms, each against exact transport, and that against linear assignment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transport_cases import FAMILIES, assignment_distance, pairs

from tokendyn.errors import BadInputError, ConvergenceError, ScaleError
from tokendyn.metrics import (
    coupling_distance,
    effective_sample_size,
    line_distance,
    sliced_distance,
    transport,
    two_atom_distance,
    wasserstein,
)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 30), others=st.integers(1, 30))
def test_sorting_on_a_line_is_the_exact_transport(seed, count, others):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=count), 1 + rng.normal(size=others)
    a, b = rng.dirichlet(np.ones(count)) + 1e-9, rng.dirichlet(np.ones(others)) + 1e-9
    a, b = a / a.sum(), b / b.sum()
    exact = wasserstein(x[:, None], y[:, None], a, b)
    assert line_distance(x, y, a, b) == pytest.approx(exact.value, rel=1e-7)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), mass=st.floats(0.02, 0.98))
def test_sorting_to_two_atoms_is_the_exact_transport(seed, mass):
    rng = np.random.default_rng(seed)
    points, atoms = rng.normal(size=(25, 3)), rng.normal(size=(2, 3))
    weights = rng.dirichlet(np.full(25, 2.0)) + 1e-9
    weights /= weights.sum()
    masses = np.array([mass, 1 - mass])
    exact = wasserstein(points, atoms, weights, masses)
    assert two_atom_distance(points, atoms, masses, weights) == pytest.approx(exact.value, rel=1e-7)


def test_the_coupling_bounds_from_above_and_slices_from_below(rng):
    points, targets = rng.normal(size=(2, 60, 3))
    exact = wasserstein(points, targets)
    assert sliced_distance(points, targets) <= exact.value <= coupling_distance(points, targets)
    assert exact.lower == pytest.approx(exact.value, rel=1e-9)


def test_a_shift_moves_every_law_by_its_length(rng):
    points = rng.normal(size=(40, 2))
    shift = np.array([0.3, -0.4])
    assert wasserstein(points, points + shift).value == pytest.approx(0.5, abs=1e-9)
    assert coupling_distance(points, points + shift) == pytest.approx(0.5)


def test_the_coupling_takes_all_times_at_once(rng):
    states, targets = rng.normal(size=(4, 10, 3)), rng.normal(size=(10, 3))
    weights = rng.dirichlet(np.ones(10))
    found = coupling_distance(states, targets, weights)
    expected = [np.sqrt(weights @ ((state - targets) ** 2).sum(axis=1)) for state in states]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_every_pair_of_clouds_agrees_with_linear_assignment_at_every_scale():
    for name, points, targets in pairs(120, seed=1, largest=60):
        exact, transport = assignment_distance(points, targets), wasserstein(points, targets)
        assert transport.value == pytest.approx(exact, rel=1e-9, abs=0), name
        assert (1 - 2e-10) * exact <= transport.lower <= transport.value, name
        assert sliced_distance(points, targets, directions=4) <= exact * (1 + 1e-6), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_weights_count_as_that_many_points(family, scale):
    rng = np.random.default_rng(len(family))
    points, targets = FAMILIES[family](rng, 24, 1, 1e-6)
    points, targets = scale * points, scale * targets[:21]
    counts, others = (rng.multinomial(100, rng.dirichlet(np.full(n, 0.5))) for n in (24, 21))
    exact = assignment_distance(points.repeat(counts, axis=0), targets.repeat(others, axis=0))
    a, b = counts / 100, others / 100
    assert (a == 0).any()
    assert (b == 0).any()
    assert wasserstein(points, targets, a, b).value == pytest.approx(exact, rel=1e-9, abs=0)
    assert line_distance(points[:, 0], targets[:, 0], a, b) == pytest.approx(exact, rel=1e-9, abs=0)
    assert sliced_distance(points, targets, a, b) == pytest.approx(exact, rel=1e-9, abs=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_two_atoms_of_the_mass_of_their_clusters_are_as_near_as_assignment_says(family, shift):
    rng = np.random.default_rng(len(family))
    points = FAMILIES[family](rng, 60, 3, 1e-6)[0] + shift
    left = points[:, 0] < points[:, 0].mean()
    atoms = points[[points[:, 0].argmin(), points[:, 0].argmax()]]
    weights = rng.integers(1, 5, size=60)
    exact = assignment_distance(
        points.repeat(weights, axis=0), atoms.repeat([weights[left].sum(), weights[~left].sum()], axis=0)
    )
    weights = weights / weights.sum()
    masses = np.array([weights[left].sum(), 1 - weights[left].sum()])
    assert two_atom_distance(points, atoms, masses, weights) == pytest.approx(exact, rel=1e-9, abs=0)


def test_two_narrow_clusters_are_as_far_as_their_points():
    rng = np.random.default_rng(0)
    sides = np.repeat([[1.0, 0.0], [-1.0, 0.0]], 150, axis=0)
    points, targets = (sides + 1e-7 * rng.normal(size=(300, 2)) for _ in range(2))
    transport = wasserstein(points, targets)
    assert transport.value == pytest.approx(assignment_distance(points, targets), rel=1e-12, abs=0)
    assert transport.value == pytest.approx(transport.lower, rel=1e-10, abs=0)
    weights = rng.dirichlet(np.ones(300))
    order = rng.permutation(300)
    weighted = wasserstein(points, points[order] + [0, 1e-9], weights, weights[order])
    assert weighted.value == pytest.approx(1e-9, rel=1e-6, abs=0)


def test_a_light_point_keeps_its_mass_however_far_it_is():
    points, targets = np.array([[0.0, 0.0], [1e6, 0.0]]), np.array([[0.0, 0.0], [2e6, 0.0]])
    weights = np.array([1 - 1e-14, 1e-14])
    for distance in (
        wasserstein(points, targets, weights, weights).value,
        line_distance(points[:, 0], targets[:, 0], weights, weights),
        two_atom_distance(points, targets, weights, weights),
    ):
        assert distance == pytest.approx(0.1, rel=1e-5)  # sums of weights hold 1e-19


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e-12, 1e150, 1e300])
def test_lengths_whose_squares_leave_the_doubles_are_measured(size):
    points, targets = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, size], [1.0, size]])
    for distance in (
        wasserstein(points, targets).value,
        coupling_distance(points, targets),
        line_distance(targets[:1, 0], targets[:1, 1]),
        two_atom_distance(points, targets, np.array([0.5, 0.5])),
    ):
        assert distance == pytest.approx(size, rel=1e-9, abs=0)
    assert wasserstein(points, points).value == coupling_distance(points, points) == 0
    with pytest.raises(ScaleError, match="overflow"):
        wasserstein(1e308 * points, -1e308 * points)


def test_points_of_weight_zero_are_left_out(rng):
    points, targets = rng.normal(size=(2, 9, 2))
    kept = np.arange(9) % 3 > 0
    whole = wasserstein(points, targets, kept / 6, kept / 6)
    assert whole.value == pytest.approx(wasserstein(points[kept], targets[kept]).value, rel=1e-12)
    assert coupling_distance(points, targets, kept / 6) == pytest.approx(coupling_distance(points[kept], targets[kept]))


def test_transport_that_does_not_converge_is_an_error(rng):
    points, targets = rng.normal(size=(2, 200, 2))
    with pytest.raises(ConvergenceError, match="max_iterations"):
        wasserstein(points, targets, max_iterations=10)


def test_effective_sample_sizes():
    assert effective_sample_size(np.full(7, 0.2)) == pytest.approx(7)
    assert effective_sample_size(np.array([1.0, 1e-12])) == pytest.approx(1)
    assert effective_sample_size(np.array([3.0, 4.0, 0.0])) == pytest.approx(49 / 25)
    assert effective_sample_size(np.full(5, 1e-200)) == pytest.approx(5)


BAD = {
    "NaN or infinite at index": np.array([[0.0, 1.0], [np.nan, 0.0]]),
    "infinite at index": np.array([[0.0, 1.0], [0.0, -np.inf]]),
    "there is no point": np.empty((0, 2)),
    "no coordinate": np.empty((2, 0)),
    "has shape": np.zeros(2),
    "different lengths": [[0.0, 1.0], [2.0]],
    "expected real numbers": np.array([["a", "b"], ["c", "d"]]),
    "complex128, expected": np.eye(2) * 1j,
}


@pytest.mark.parametrize("problem", BAD)
@pytest.mark.parametrize("name", ["points", "targets"])
def test_arrays_that_are_no_clouds_are_named(problem, name, unchecked):
    clouds = {"points": np.eye(2), "targets": np.eye(2), name: BAD[problem]}
    for distance in (wasserstein, coupling_distance, sliced_distance):
        with pytest.raises(BadInputError, match=problem) as caught:
            distance(**clouds)
        assert str(caught.value).startswith(name)
    with pytest.raises(BadInputError, match=problem):
        two_atom_distance(clouds["points"], clouds["targets"], [0.5, 0.5])
    with pytest.raises(BadInputError, match=r"points is NaN|points has shape"):
        line_distance(np.array([np.nan]) if "NaN" in problem else np.eye(2), np.zeros(2))


def test_lists_and_integers_are_points(unchecked):
    assert wasserstein([[0, 0], [1, 0]], [[0, 2], [1, 2]], [0.5, 0.5]).value == pytest.approx(2)
    assert coupling_distance([[0, 0], [1, 0]], [[0, 2], [1, 2]]) == 2
    assert line_distance([0, 1], [3, 2]) == 2
    assert sliced_distance([[0], [1]], [[3], [2]]) == 2
    assert two_atom_distance([[0], [1]], [[0], [3]], [0.5, 0.5]) == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    "weights",
    [[0.5, 0.6], [1.5, -0.5], np.ones(3) / 3, [np.nan, 1.0], [np.inf, 0.0], [], np.eye(2), [1 + 1.1e-9, 0.0]],
)
def test_weights_that_are_no_probabilities_are_refused(weights, unchecked):
    square, line = np.eye(2), np.zeros(2)
    for measure in (
        lambda: wasserstein(square, square, weights),
        lambda: coupling_distance(square, square, weights),
        lambda: two_atom_distance(square, square, [0.5, 0.5], weights),
        lambda: line_distance(line, line, weights),
        lambda: sliced_distance(square, square, weights),
    ):
        with pytest.raises(BadInputError, match=r"^weights"):
            measure()
    with pytest.raises(BadInputError, match="target_weights"):
        wasserstein(square, square, None, weights)
    with pytest.raises(BadInputError, match="masses"):
        two_atom_distance(square, square, weights)
    with pytest.raises(BadInputError, match="weights"):
        effective_sample_size([0.0, 0.0])


def test_too_many_pairs_are_refused(unchecked):
    with pytest.raises(BadInputError, match="pairs"):
        wasserstein(np.zeros((5000, 2)), np.zeros((5000, 2)))
    with pytest.raises(BadInputError, match="same tokens"):
        coupling_distance(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(BadInputError, match="dimension"):
        wasserstein(np.zeros((3, 2)), np.zeros((3, 3)))
    with pytest.raises(BadInputError, match="dimension"):
        sliced_distance(np.zeros((3, 2)), np.zeros((3, 3)))
    with pytest.raises(BadInputError, match="direction"):
        sliced_distance(np.zeros((3, 2)), np.zeros((3, 2)), directions=0)
    with pytest.raises(BadInputError, match="two points"):
        two_atom_distance(np.zeros((3, 2)), np.zeros((3, 2)), np.array([0.5, 0.5]))


def test_paths_and_the_simplex_give_one_distance_for_unequal_weights(rng, monkeypatch):
    cases = [(rng.normal(size=(n, 2)), rng.normal(size=(m, 2)), rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m)))
             for n, m in ((1, 5), (5, 1), (40, 40), (90, 61))]  # fmt: skip
    lattice = rng.integers(-2, 3, size=(2, 60, 2)).astype(float)
    cases.append((lattice[0], lattice[1], *rng.dirichlet(np.ones(60), size=2)))
    simplex = [wasserstein(*case).value for case in cases]
    monkeypatch.setattr(transport, "missing", lambda name: "absent")
    monkeypatch.setattr(transport, "_by_simplex", None)
    paths = [wasserstein(*case) for case in cases]
    assert [one.value for one in paths] == pytest.approx(simplex, rel=1e-12)
    assert [one.lower for one in paths] == pytest.approx(simplex, rel=1e-10)
