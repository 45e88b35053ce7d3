"""Limits, lemmas and names of a clustering run, against plain computations."""

import itertools
import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tokendyn.dynamics import Trajectory
from tokendyn.errors import BadInputError
from tokendyn.geometry import convex_hull
from tokendyn.particles import check_lemmas, limit_set, limits, simulate
from tokendyn.particles.lemmas import _distances

TRIANGLE = np.array([[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0]])


def test_a_prediction_has_no_doubtful_token_unless_one_is_named():
    none, settled = np.empty(0, dtype=np.int64), np.zeros(3, dtype=np.int64)
    prediction = limits.LimitPrediction(TRIANGLE, np.array(["vertex"] * 3), none, none, settled, TRIANGLE, 0.5, 1)
    assert prediction.doubtful.shape == (0,)


def test_as_many_faces_as_are_allowed_are_enumerated_and_not_a_face_more(monkeypatch):
    candidates = 3 * 2**2  # subsets of the ends of three edges
    monkeypatch.setattr(limits, "MAX_FACES", candidates)
    assert len(limit_set(convex_hull(TRIANGLE), np.eye(2)).points) == 7
    monkeypatch.setattr(limits, "MAX_FACES", candidates - 1)
    with pytest.raises(BadInputError, match="3 facets"):
        limit_set(convex_hull(TRIANGLE), np.eye(2))


def test_distances_of_states_are_those_of_scipy():
    rng = np.random.default_rng(0)
    some, others = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 5, 2))
    expected = [cdist(one, other) for one, other in zip(some, others, strict=True)]
    np.testing.assert_allclose(_distances(some, others), expected, rtol=1e-14)


@pytest.mark.parametrize("power", [-60, 0, 60])
def test_lemmas_count_the_same_at_every_scale(power):
    tokens = np.random.default_rng(1).normal(size=(8, 2))
    run = simulate(tokens * 2.0**power, alpha=0.5, layers=12).hardmax
    report = check_lemmas(run, 0.5)
    assert report.violations == 0
    states = run.states.copy()
    states[4, 3] += np.sign(states[4, 3]) * 4.0 * 2.0**power  # no longer on the segment to its leader
    wrong = Trajectory(**{**run.__dict__, "states": states})
    counted = check_lemmas(wrong, 0.5)
    assert counted.hulls == 1
    pairs = itertools.combinations(range(8), 2)
    shrunk = sum(
        math.dist(states[k + 1, i], states[k + 1, j]) < math.dist(states[k, i], states[k, j]) / 1.5 * (1 - 1e-9)
        for i, j in pairs
        for k in range(12)
    )
    assert counted.distances == shrunk
    assert counted.violations == counted.norms + counted.distances + counted.hulls + counted.leaders


def test_the_default_step_parameter_is_one_half():
    tokens = np.random.default_rng(2).normal(size=(6, 2))
    np.testing.assert_array_equal(
        simulate(tokens, layers=5).hardmax.states, simulate(tokens, alpha=0.5, layers=5).hardmax.states
    )


@pytest.mark.parametrize(("count", "text"), [(8, "0, 1, 2, 3, 4, 5, 6, 7"), (11, "0, 1, 2, 3, 4, 5, 6, 7 and 3 more")])
def test_the_first_eight_names_are_given_and_the_others_counted(count, text):
    run = simulate(np.random.default_rng(3).normal(size=(12, 2)), layers=2)
    assert run._names(np.arange(count)).replace("token ", "") == text
