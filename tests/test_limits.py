"""Limits, lemmas and names of a clustering run, against plain computations."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tokendyn.dynamics import Trajectory
from tokendyn.errors import BadInputError
from tokendyn.geometry import convex_hull
from tokendyn.particles import check_lemmas, limit_set, limits, predict_limits, simulate
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


@pytest.mark.parametrize(("count", "more"), [(8, ""), (9, " and 1 more"), (11, " and 3 more")])
def test_the_first_eight_names_are_given_and_the_others_counted(count, more):
    run = simulate(np.random.default_rng(3).normal(size=(12, 2)), layers=2)
    assert run._names(np.arange(count)).replace("token ", "") == f"0, 1, 2, 3, 4, 5, 6, 7{more}"


def test_only_a_hardmax_run_says_how_far_it_is_from_its_prediction():
    tokens = np.random.default_rng(5).normal(size=(6, 2))
    run = simulate(tokens, alpha=0.5, layers=30)
    assert [line for line in run.describe() if "predict" in line] == ["the run ends as predicted"]
    moved = replace(run.hardmax, states=run.hardmax.states + 3e-11)
    said = [line for line in replace(run, hardmax=moved).describe() if "predict" in line]
    assert said == ["the run differs from the prediction by at most 3.0e-11"]
    soft = simulate(tokens, alpha=0.5, layers=30, inverse_temperature=3.0)
    assert not any("predict" in line for line in soft.describe())


def test_a_leader_of_an_unsettled_token_that_moves_itself_is_no_leader():
    tokens = np.array([[1.0, 0.0], [3.0, 1.0], [2.5, 4.0]])
    assert (tokens @ tokens.T).argmax(axis=1).tolist() == [1, 2, 2]
    prediction = predict_limits(tokens, 0.5, max_layers=0)
    assert prediction.kinds.tolist() == ["unsettled", "vertex", "vertex"]
    assert prediction.leaders.tolist() == [2]


def test_a_segment_is_as_far_from_points_beyond_each_end_as_they_are_from_the_end():
    hull = convex_hull(np.array([[0.0, 1.0], [0.5, 1.0], [2.0, 1.0]]))
    np.testing.assert_allclose(hull.distance_outside(np.array([[3.5, 1.0], [-1.5, 1.0], [1.0, 1.0]])), [1.5, 1.5, 0.0])


def test_a_scene_shows_the_limit_set_of_the_run():
    run = simulate(np.random.default_rng(6).normal(size=(8, 2)), alpha=0.5, layers=20)
    scene = run.scene()
    expected = limit_set(convex_hull(run.prediction.limits[run.prediction.leaders]), np.eye(2))
    np.testing.assert_array_equal(scene.limit_points, expected.points)
    np.testing.assert_array_equal(scene.limit_dimensions, expected.face_dimensions)


def test_doubtful_tokens_are_those_of_the_run_and_the_settled_ones_of_its_prediction():
    run = simulate(np.random.default_rng(7).normal(size=(5, 2)), alpha=0.5, layers=5)
    kinds = np.array(["vertex", "unsettled", "face", "vertex", "unsettled"])
    prediction = replace(run.prediction, kinds=kinds, doubtful=np.array([0, 1, 2]))
    changed = replace(run, prediction=prediction, hardmax=replace(run.hardmax, doubtful=np.array([3])))
    assert changed.doubtful.tolist() == [0, 2, 3]


def test_a_prediction_counts_the_layers_until_all_are_settled():
    tokens = np.array([[1.0, 0.0], [3.0, 1.0], [2.5, 4.0]])
    assert predict_limits(tokens, 0.5, max_layers=0).layers == 1
    whole = predict_limits(tokens, 0.5)
    assert whole.layers == whole.settled_layers.max() + 1 >= 2


def test_a_disagreement_names_the_token_that_is_farthest_off_and_both_places():
    run = simulate(np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.25]]), alpha=1.0, layers=40)
    limits_ = run.prediction.limits + np.array([[0.0, 0.0], [0.25, 0.0], [0.0, -0.5]])
    settled = run.prediction.settled_states + np.array([[0.0, 0.0], [0.25, 0.0], [0.0, -0.5]])
    wrong = replace(run, prediction=replace(run.prediction, limits=limits_, settled_states=settled))
    assert wrong.disagreeing.tolist() == [1, 2]
    assert f"token {run.trajectory.labels[2]} ends at (2, " in wrong.disagreement()
    assert "was predicted at (2, -0.5)" in wrong.disagreement()
