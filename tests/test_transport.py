"""Wasserstein distances: closed forms, each against the exact transport of POT."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokendyn.errors import BadInputError, ConvergenceError
from tokendyn.metrics import (
    coupling_distance,
    effective_sample_size,
    line_distance,
    sliced_distance,
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
    assert exact.lower == pytest.approx(exact.value, abs=1e-6)


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


def test_transport_that_does_not_converge_is_an_error(rng):
    points, targets = rng.normal(size=(2, 200, 2))
    with pytest.warns(UserWarning, match="numItermax"), pytest.raises(ConvergenceError, match="max_iterations"):
        wasserstein(points, targets, max_iterations=10)


def test_effective_sample_sizes():
    assert effective_sample_size(np.full(7, 0.2)) == pytest.approx(7)
    assert effective_sample_size(np.array([1.0, 1e-12])) == pytest.approx(1)


@pytest.mark.parametrize("weights", [np.array([0.5, 0.6]), np.array([1.5, -0.5]), np.ones(3) / 3])
def test_weights_that_are_no_probabilities_are_refused(weights, unchecked):
    with pytest.raises(BadInputError, match="of sum 1"):
        wasserstein(np.eye(2), np.eye(2), weights)


def test_too_many_pairs_are_refused(unchecked):
    with pytest.raises(BadInputError, match="pairs"):
        wasserstein(np.zeros((5000, 2)), np.zeros((5000, 2)))
    with pytest.raises(BadInputError, match="same tokens"):
        coupling_distance(np.zeros((3, 2)), np.zeros((4, 2)))
