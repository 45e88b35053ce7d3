"""The clustering model of arXiv 2407.01602: predictions against runs, the lemmas, the limit set."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from adversarial import FAMILIES, tokens_of
from hypothesis import given
from hypothesis import strategies as st

from tokendyn.errors import BadInputError, TheoremError
from tokendyn.geometry import convex_hull
from tokendyn.particles import check_lemmas, limit_set, predict_limits, simulate

ALPHAS = (0.1, 0.5, 1.0, 3.0)
SQUARE = np.array([(1.0, 1.0), (1.0, -1.0), (-1.0, -1.0), (-1.0, 1.0)])
EMERGING = np.array(
    [(1, 4 / 12), (-1 / 12, 1 / 12), (-1, -1), (0, 3 / 12), (-0.3, -0.7), (-0.6, -0.9), (0.8, 0.1), (0.6, 0.15)]
)


def positive_definite(dim, rng):
    """Return a random symmetric positive definite matrix; every other one is strongly anisotropic."""
    axes = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    widths = 10 ** rng.uniform(-0.3, 0.3, size=dim) if rng.random() < 0.5 else 10 ** rng.uniform(-2, 2, size=dim)
    score = axes @ np.diag(widths) @ axes.T
    return (score + score.T) / 2


def layers_until(prediction, tolerance):
    """Return the layer at which every token is predicted to be within ``tolerance`` of its limit."""
    start = np.abs(prediction.settled_states - prediction.limits).max(axis=1)
    more = np.log(np.maximum(start, tolerance) / tolerance) / math.log1p(prediction.alpha)
    return int((prediction.settled_layers + np.ceil(more)).max()) + 1


def assert_prediction_is_the_run(run):
    """Compare the closed form with the run at every layer, and check that it speaks of all late layers."""
    states, prediction = run.hardmax.states, run.prediction
    predicted = np.stack([prediction.at(layer) for layer in range(len(states))])
    settled = (prediction.settled_layers >= 0) & (prediction.settled_layers <= np.arange(len(states))[:, None])
    np.testing.assert_array_equal(settled, ~np.isnan(predicted).any(axis=2))
    np.testing.assert_allclose(predicted[settled], states[settled], rtol=0, atol=1e-13 * np.abs(states[0]).max())


# The acceptance: 1,000 random token sets.


@pytest.mark.usefixtures("unchecked")  # ten times faster; the other tests check the shapes
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("dim", [2, 3])
def test_every_token_of_random_sets_ends_where_it_was_predicted_to_end(dim, alpha):
    rng = np.random.default_rng([dim, round(10 * alpha)])
    for _ in range(125):
        tokens, score = rng.normal(size=(rng.integers(3, 41), dim)), positive_definite(dim, rng)
        prediction = predict_limits(tokens, alpha, score)
        assert (prediction.kinds != "unsettled").all()
        run = simulate(tokens, alpha=alpha, score=score, layers=layers_until(prediction, 5e-10))
        end = run.trajectory.states[-1]
        assert np.linalg.norm(end - prediction.limits, axis=1).max() < 1e-9
        assert run.limit_set.distances(end).max() < 1e-9
        assert not run.departures
        assert_prediction_is_the_run(run)
        assert check_lemmas(run.trajectory, alpha, score).violations == 0


def test_the_prediction_does_not_depend_on_the_run(rng):
    tokens, score = rng.normal(size=(30, 3)), positive_definite(3, rng)
    alone = predict_limits(tokens, 0.5, score)
    for options in ({"layers": 1}, {"layers": 50}, {"layers": 2, "inverse_temperature": 1.0}):
        given = simulate(tokens, alpha=0.5, score=score, **options).prediction
        for field in dataclasses.fields(alone):
            np.testing.assert_array_equal(getattr(given, field.name), getattr(alone, field.name))
    assert alone.layers < 10


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_ends_are_predicted_for_many_tokens_in_other_dimensions(dim, rng):
    tokens = rng.normal(size=(400, dim))
    run = simulate(tokens, alpha=1.0, score=positive_definite(dim, rng), layers=60)
    assert run.prediction_error < 1e-12
    np.testing.assert_allclose(run.trajectory.states[-1], run.prediction.limits, atol=1e-9)


#: Families whose exact ties last for ever or break only by rounding are looked at one by one below.
UNSTABLE = {"lattice", "cube_corners"}


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - UNSTABLE))
def test_ends_are_predicted_on_adversarial_tokens(family, dim):
    tokens = tokens_of(family, dim)
    scale = np.abs(tokens).max()
    for tie_tolerance in (0.0, 1e-13):
        prediction = predict_limits(tokens, 1.0, tie_tolerance=tie_tolerance)
        layers = layers_until(prediction, 1e-11 * scale)
        run = simulate(tokens, alpha=1.0, layers=layers, tie_tolerance=tie_tolerance)
        np.testing.assert_allclose(run.trajectory.states[-1], prediction.limits, rtol=0, atol=1e-10 * scale)
        assert check_lemmas(run.trajectory, 1.0).violations == 0


@pytest.mark.parametrize("family", sorted(UNSTABLE))
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_lemmas_hold_on_sets_full_of_ties(family, dim):
    run = simulate(tokens_of(family, dim), alpha=0.5, layers=40)
    assert check_lemmas(run.trajectory, 0.5).violations == 0
    assert np.isnan(run.prediction_error) or run.prediction_error < 1e-12


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 3), alpha=st.sampled_from(ALPHAS))
def test_rotating_tokens_and_score_rotates_the_predicted_limits(seed, dim, alpha):
    rng = np.random.default_rng(seed)
    tokens, score = rng.normal(size=(12, dim)), positive_definite(dim, rng)
    rotation = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    plain, rotated = (
        predict_limits(tokens, alpha, score),
        predict_limits(tokens @ rotation.T, alpha, rotation @ score @ rotation.T),
    )
    np.testing.assert_allclose(rotated.limits, plain.limits @ rotation.T, atol=1e-11)
    np.testing.assert_array_equal(rotated.leaders, plain.leaders)
    np.testing.assert_array_equal(rotated.settled_layers, plain.settled_layers)


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 3))
def test_scaling_tokens_and_score_scales_the_predicted_limits(seed, dim):
    rng = np.random.default_rng(seed)
    tokens, score = rng.normal(size=(12, dim)), positive_definite(dim, rng)
    plain = predict_limits(tokens, 0.5, score)
    for size in (2.0**-40, 2.0**40):
        scaled = predict_limits(size * tokens, 0.5, score / size)
        np.testing.assert_array_equal(scaled.limits, size * plain.limits)
        np.testing.assert_array_equal(scaled.kinds, plain.kinds)


# The lemmas notice what breaks them.


@pytest.fixture
def spoilt(rng):
    """Return a function that runs a few tokens, changes the states, and gives the lemmas' report."""
    trajectory = simulate(EMERGING, alpha=0.5, layers=6).trajectory

    def report(change, alpha=0.5):
        states = trajectory.states.copy()
        change(states)
        return check_lemmas(dataclasses.replace(trajectory, states=states), alpha)

    assert report(lambda states: None).violations == 0
    return report


def test_a_norm_that_decreases_is_a_violation(spoilt):
    def shrink(states):
        states[4, 4] = 0.9 * states[3, 4]

    assert spoilt(shrink).norms >= 1


def test_a_pair_that_comes_close_too_fast_is_a_violation(spoilt):
    def join(states):
        states[-1, 6] = states[-1, 7]

    assert spoilt(join).distances >= 1
    assert spoilt(lambda states: None, alpha=0.3).distances > 0


def test_a_token_that_leaves_the_hull_is_a_violation(spoilt):
    def leave(states):
        states[-1, 0] = [5.0, 5.0]

    assert spoilt(leave).hulls == 1


def test_a_leader_that_moves_is_a_violation(spoilt):
    def move(states):
        states[3, 0] += 1e-9

    assert spoilt(move).leaders == 2


def test_a_leader_that_moves_within_rounding_is_none():
    trajectory = simulate(tokens_of("ordinary", 3), alpha=3.0, layers=200).trajectory
    assert (trajectory.states[-1] != trajectory.states[30]).any(), "otherwise this shows nothing"
    assert check_lemmas(trajectory, 3.0).violations == 0


def test_the_lemmas_count_the_same_in_tiles_as_in_plain_loops(rng):
    states = rng.normal(size=(4, 700, 2))
    blank = simulate(states[0], layers=3).trajectory
    report = check_lemmas(dataclasses.replace(blank, states=states), 1.0)
    shrunk = 0
    for before, after in itertools.pairwise(states):
        old = np.linalg.norm(before[:, None] - before, axis=2)
        new = np.linalg.norm(after[:, None] - after, axis=2)
        shrunk += int(np.triu(new < 0.5 * old, 1).sum())
    assert report.distances == shrunk
    norms = np.linalg.norm(states, axis=2)
    assert report.norms == (norms[1:] < norms[:-1]).sum()


def test_the_lemmas_need_a_positive_definite_matrix():
    trajectory = simulate(EMERGING, layers=2).trajectory
    for score in (-np.eye(2), np.diag([1.0, -1.0])):
        with pytest.raises(BadInputError, match="positive definite"):
            check_lemmas(trajectory, 0.5, score)
    with pytest.raises(BadInputError, match="symmetric"):
        check_lemmas(trajectory, 0.5, np.array([[1.0, 0.5], [-0.5, 1.0]]))


# The four configurations of the source's Figure 2: alpha = 0.5, A = I, 30 layers.


def test_a_leader_emerges_after_the_first_layer():
    run = simulate(EMERGING)
    assert dict(zip(run.prediction.leaders, run.prediction.leader_layers, strict=True)) == {0: 0, 2: 0, 1: 1}
    # Token 1 first follows token 2 or 0; what it leads at layer 1 is its place after one step.
    assert run.trajectory.leaders[0, 0, 1] != 1
    assert (run.trajectory.leaders[1:, 0, 1] == 1).all()
    np.testing.assert_array_equal(run.prediction.limits[1], run.trajectory.states[1, 1])
    np.testing.assert_allclose(run.prediction.limits[1], [-1 / 18, 5 / 36], rtol=1e-15)
    assert (run.prediction.kinds == "vertex").all()
    np.testing.assert_allclose(run.trajectory.states[-1], run.prediction.limits, atol=1e-4)
    assert_prediction_is_the_run(run)


def test_the_corners_of_a_triangle_lead_its_inner_tokens(rng):
    corners = np.array([(1.0, 1.0), (0.5, -0.5), (-1.0, -1.0)])
    inner = rng.dirichlet(np.ones(3), 12) @ corners
    run = simulate(np.concatenate([corners, inner]), layers=80)
    np.testing.assert_array_equal(run.prediction.leaders, [0, 1, 2])
    np.testing.assert_array_equal(run.prediction.leader_layers, 0)
    nearest = corners[(inner @ corners.T).argmax(axis=1)]
    np.testing.assert_array_equal(run.prediction.limits[3:], nearest)
    np.testing.assert_allclose(run.trajectory.states[-1, 3:], nearest, atol=1e-9)


def test_the_corners_of_a_square_lead_the_tokens_of_their_quadrants(rng):
    inner = rng.uniform(-0.5, 0.5, (6, 2))
    run = simulate(np.concatenate([SQUARE, inner]))
    np.testing.assert_array_equal(run.prediction.leaders, [0, 1, 2, 3])
    np.testing.assert_array_equal(run.prediction.limits[4:], np.sign(inner))
    assert (run.prediction.settled_layers == 0).all()
    assert len(run.trajectory.clusters(tolerance=1e-2).sizes) == 4


def test_two_clusters_without_leader_form_at_the_faces_of_a_square(rng):
    tokens = np.concatenate([SQUARE, [(-0.5, 0.0), (0.5, 0.0)], rng.uniform(-0.5, 0.5, (4, 2))])
    run = simulate(tokens, layers=60)
    np.testing.assert_array_equal(run.prediction.limits[4:6], [(-1, 0), (1, 0)])
    assert list(run.prediction.kinds) == ["vertex"] * 4 + ["face"] * 2 + ["vertex"] * 4
    np.testing.assert_allclose(run.trajectory.states[-1, 4:6], [(-1, 0), (1, 0)], atol=1e-9)
    np.testing.assert_array_equal(run.trajectory.tie_counts[:, 0, 4:6], 2)
    np.testing.assert_array_equal(run.prediction.leaders, [0, 1, 2, 3])
    assert_prediction_is_the_run(run)
    facts = run.summary()
    assert (facts["ends_at_vertices"], facts["ends_at_faces"], facts["unsettled"]) == (8, 2, 0)


@pytest.mark.parametrize("seed", range(20))
def test_noise_removes_the_limits_at_faces(seed):
    tokens = np.concatenate([SQUARE, [(-0.5, 0.0), (0.5, 0.0)]])
    noisy = tokens + 1e-7 * np.random.default_rng(seed).normal(size=tokens.shape)
    prediction = predict_limits(noisy, 0.5)
    assert (prediction.kinds == "vertex").all()
    run = simulate(noisy, layers=layers_until(prediction, 1e-10))
    np.testing.assert_allclose(run.trajectory.states[-1], prediction.limits, atol=1e-9)
    np.testing.assert_allclose(np.abs(run.trajectory.states[-1]), 1.0, atol=1e-5)


def test_a_tie_tolerance_shows_the_limits_at_faces_despite_rounding():
    turn = np.array([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    tokens = np.concatenate([SQUARE, [(-0.5, 0.0), (0.5, 0.0)]]) @ turn.T
    run = simulate(tokens, layers=60, tie_tolerance=1e-12)
    assert list(run.prediction.kinds[4:]) == ["face", "face"]
    np.testing.assert_allclose(run.prediction.limits[4:], np.array([(-1, 0), (1, 0)]) @ turn.T, atol=1e-12)
    np.testing.assert_allclose(run.trajectory.states[-1], run.prediction.limits, atol=1e-9)


def test_a_tie_at_a_face_whose_projection_attracts_nothing_breaks():
    # (0.5, 0.3, 0) faces an edge; near the edge's middle (1, 0, 0), which is not in S, another vertex scores more.
    tokens = np.array([(1.0, 0.0, 1.0), (1.0, 0.0, -1.0), (1.2, -5.0, 0.0), (0.5, 0.3, 0.0)])
    prediction = predict_limits(tokens, 0.5)
    assert list(prediction.kinds) == ["vertex"] * 4
    np.testing.assert_array_equal(prediction.limits[3], tokens[2])
    run = simulate(tokens, layers=layers_until(prediction, 1e-10))
    np.testing.assert_allclose(run.trajectory.states[-1], prediction.limits, atol=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_ties_that_rounding_breaks_are_predicted_as_they_run(seed):
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    run = simulate(np.concatenate([SQUARE, [(-0.5, 0.0), (0.5, 0.0)]]) @ turn.T, layers=120)
    np.testing.assert_allclose(run.trajectory.states[-1], run.prediction.limits, atol=1e-9)
    assert_prediction_is_the_run(run)


def test_a_tie_that_the_move_breaks_is_no_limit_at_a_face():
    # (0, 0.5) ties between both ends of the edge y = 1, whose mean (0.5, 1) then prefers the right end.
    tokens = np.array([(2.0, 1.0), (-1.0, 1.0), (0.0, -2.0), (0.0, 0.5)])
    run = simulate(tokens, layers=60)
    assert run.trajectory.tie_counts[0, 0, 3] == 2
    assert run.prediction.kinds[3] == "vertex"
    np.testing.assert_array_equal(run.prediction.limits[3], [2.0, 1.0])
    assert_prediction_is_the_run(run)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_tokens_that_start_at_face_projections_stay_and_are_predicted_to(dim):
    # Each is a leader of its own tie, as is the zero token at the centre.
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=dim)))
    faces = np.concatenate([np.eye(dim), -np.eye(dim)])[: 0 if dim == 1 else None]
    tokens = np.concatenate([corners, faces, np.zeros((1, dim))])
    run = simulate(tokens, layers=40)
    np.testing.assert_array_equal(run.trajectory.states[-1], tokens)
    np.testing.assert_array_equal(run.prediction.limits, tokens)
    assert list(run.prediction.kinds) == ["vertex"] * len(corners) + ["face"] * (len(faces) + 1)
    assert run.prediction.layers < 300


# K and S.


def brute_limit_set(vertices, score):
    """Return S of a planar polytope by trying every vertex, every pair of vertices and the origin by hand."""
    candidates = [*vertices, np.zeros(2)]
    for one, two in itertools.combinations(vertices, 2):
        way = two - one
        share = -(way @ score @ one) / (way @ score @ way)
        if 0 <= share <= 1:
            candidates.append(one + share * way)
    hull = convex_hull(vertices)
    points = []
    for point in candidates:
        inside = hull.distance_outside(point[None])[0] < 1e-9
        best = (vertices @ (score @ point)).max() <= point @ score @ point + 1e-9
        if inside and best and all(np.abs(point - other).max() > 1e-9 for other in points):
            points.append(point)
    return np.array(points)


def sampled_excess(vertices, score, rng):
    """Return points all over K and how far each is from the inequality of S: ``max_y <A s, y> - <A s, s>``."""
    shares = np.concatenate([rng.dirichlet(np.full(len(vertices), a), 20_000) for a in (0.1, 0.4, 1.0)])
    edges = np.linspace(0, 1, 2001)[:, None]
    lines = [edges * one + (1 - edges) * two for one, two in itertools.combinations(vertices, 2)]
    points = np.concatenate([shares @ vertices, *lines])
    images = points @ score
    return points, (images @ vertices.T).max(axis=1) - (images * points).sum(axis=1)


@pytest.mark.parametrize("anisotropic", [False, True])
@pytest.mark.parametrize("shape", ["square", "shifted square", "triangle", "pentagon", "segment"])
def test_the_limit_set_is_what_its_definition_says(shape, anisotropic, rng):
    angles = 2 * np.pi * np.arange(5) / 5
    vertices = {
        "square": SQUARE,
        "shifted square": SQUARE + np.array([1.5, 0.25]),
        "triangle": np.array([(1.0, 1.0), (0.5, -0.5), (-1.0, -1.0)]),
        "pentagon": np.stack([np.cos(angles), np.sin(angles)], axis=1) + np.array([0.1, 0.2]),
        "segment": np.array([(1.0, 0.5), (-0.5, 2.0)]),
    }[shape]
    score = np.array([[2.0, 0.6], [0.6, 0.5]]) if anisotropic else np.eye(2)
    found = limit_set(convex_hull(vertices), score)
    expected = brute_limit_set(vertices, score)
    assert len(found.points) == len(expected)
    for point in expected:
        assert np.abs(found.points - point).max(axis=1).min() < 1e-9
    points, excess = sampled_excess(vertices, score, rng)
    assert found.distances(points[excess < 1e-3]).max() < 0.05
    for point in found.points:
        assert excess[np.linalg.norm(points - point, axis=1) < 1e-2].min() < 2e-2


def test_the_limit_set_of_the_square_by_hand():
    found = limit_set(convex_hull(SQUARE), np.eye(2))
    places = {
        tuple(point): int(dim) for point, dim in zip(found.points.round(12) + 0.0, found.face_dimensions, strict=True)
    }
    assert places == {
        **{tuple(corner): 0 for corner in SQUARE},
        (1, 0): 1, (-1, 0): 1, (0, 1): 1, (0, -1): 1,
        (0, 0): 2,
    }  # fmt: skip


def test_the_limit_set_of_the_cube_names_the_dimensions_of_its_faces():
    cube = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    found = limit_set(convex_hull(cube), np.eye(3))
    zeros = (np.abs(found.points) < 1e-9).sum(axis=1)
    np.testing.assert_array_equal(np.bincount(zeros), [8, 12, 6, 1])
    np.testing.assert_array_equal(found.face_dimensions, zeros)


def test_a_face_point_that_another_vertex_exceeds_is_not_in_the_limit_set():
    # The origin's projection onto the long lower edge is (0, -1), inside; with this A it leaves the edge.
    triangle = np.array([(-1.0, -1.0), (1.0, -1.0), (0.0, 1.0)])
    assert len(limit_set(convex_hull(triangle), np.eye(2)).points) == 3 + 3 + 1
    skew = np.array([[1.0, 1.5], [1.5, 4.0]])
    points = limit_set(convex_hull(triangle), skew).points
    assert not (np.abs(points[:, 1] + 1) < 1e-9)[3:].any()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_limit_set_scales_with_its_polytope(dim, rng):
    vertices = rng.normal(size=(8, dim))
    plain = limit_set(convex_hull(vertices), np.eye(dim))
    for size in (1e-9, 1e9):
        scaled = limit_set(convex_hull(size * vertices), np.eye(dim))
        np.testing.assert_allclose(scaled.points, size * plain.points, rtol=1e-9, atol=1e-9 * size)
        np.testing.assert_array_equal(scaled.face_dimensions, plain.face_dimensions)


def test_the_limit_set_takes_a_matrix_that_is_symmetric_to_rounding():
    score = np.array([[1.0, 1e-20], [2e-20, 2.0]])
    assert simulate(SQUARE, score=score, strict=True).limit_set is not None


def test_the_limit_set_needs_a_symmetric_positive_definite_matrix():
    hull = convex_hull(SQUARE)
    with pytest.raises(BadInputError, match="not symmetric"):
        limit_set(hull, np.array([[1.0, 0.5], [-0.5, 1.0]]))
    with pytest.raises(BadInputError, match="positive definite"):
        limit_set(hull, np.diag([1.0, -1.0]))


def test_the_limiting_polytope_has_one_vertex_for_each_leader(rng):
    for _ in range(20):
        run = simulate(rng.normal(size=(25, 2)), score=positive_definite(2, rng), layers=5)
        assert len(run.polytope.vertices) == len(run.prediction.leaders)
        assert (run.limit_set.face_dimensions == 0).sum() == len(run.prediction.leaders)


# Special sets and departures from the theorem.


def test_one_token_stays_and_this_is_said():
    run = simulate(np.array([[0.3, -2.0]]), layers=3)
    np.testing.assert_array_equal(run.trajectory.states, np.tile([0.3, -2.0], (4, 1, 1)))
    np.testing.assert_array_equal(run.prediction.limits, [[0.3, -2.0]])
    assert run.departures == ("there is one token only: it stays where it is",)


def test_in_one_dimension_tokens_end_at_the_extremes():
    tokens = np.array([[3.0], [0.5], [-0.1], [-2.0]])
    run = simulate(tokens, layers=80)
    np.testing.assert_array_equal(run.prediction.limits, [[3.0], [3.0], [-2.0], [-2.0]])
    np.testing.assert_allclose(run.trajectory.states[-1], run.prediction.limits, atol=1e-9)
    assert not run.departures
    positive = simulate(np.array([[3.0], [0.5], [1.0]]), layers=5)
    np.testing.assert_array_equal(positive.prediction.limits, 3.0)


def test_duplicates_lead_together_and_this_is_said(rng):
    tokens = np.concatenate([np.tile([1.0, 1.0], (3, 1)), [[-1.0, -1.0], [0.3, 0.2]]])
    run = simulate(tokens, layers=80)
    np.testing.assert_array_equal(run.prediction.leaders, [0, 3])
    np.testing.assert_array_equal(run.prediction.limits[[0, 1, 2, 4]], np.ones((4, 2)))
    np.testing.assert_allclose(run.trajectory.states[-1], run.prediction.limits, atol=1e-9)
    assert run.departures == ("2 tokens repeat others: they count as multiplicity",)


def test_duplicates_weigh_in_a_tie():
    # Two tokens at one end of the left face and one at the other: their mean is not its middle, and the tie breaks.
    tokens = np.concatenate([SQUARE, [(-1.0, 1.0), (-0.5, 0.0)]])
    run = simulate(tokens, layers=80)
    np.testing.assert_allclose(run.trajectory.states[1, 5], [-0.5 - 0.5 / 3, 1 / 9], rtol=1e-14)
    np.testing.assert_array_equal(run.prediction.limits[5], [-1, 1])
    assert_prediction_is_the_run(run)


def test_a_zero_token_averages_all_and_this_is_said():
    tokens = np.array([(1.0, 1.0), (-1.0, -1.0), (0.5, -0.4), (0.0, 0.0)])
    run = simulate(tokens, alpha=1.0, layers=80)
    assert run.trajectory.tie_counts[0, 0, 3] == 4
    np.testing.assert_allclose(run.trajectory.states[1, 3], tokens.mean(axis=0) / 2, rtol=1e-15)
    assert len(run.departures) == 1
    assert "token 3 is zero" in run.departures[0]
    np.testing.assert_allclose(run.trajectory.states[-1], run.prediction.limits, atol=1e-9)


def test_zero_tokens_only_stay():
    run = simulate(np.zeros((4, 3)), layers=3)
    assert (run.prediction.limits == 0).all()
    assert (run.trajectory.states == 0).all()
    assert len(run.departures) == 2


@pytest.mark.parametrize("seed", range(10))
def test_leaders_freeze_their_followers_when_the_matrix_is_not_symmetric(seed):
    rng = np.random.default_rng(seed)
    score = np.eye(3) + 0.5 * np.tril(rng.normal(size=(3, 3)), -1)
    run = simulate(rng.normal(size=(30, 3)), score=score, layers=80)
    assert len(run.departures) == 1
    assert "not symmetric" in run.departures[0]
    assert run.limit_set is None
    assert_prediction_is_the_run(run)


def test_an_indefinite_matrix_runs_and_is_said_to_depart(rng):
    for score in (np.diag([1.0, -1.0]), -np.eye(2), np.zeros((2, 2)), np.diag([1.0, 0.0])):
        run = simulate(rng.normal(size=(12, 2)), score=score, layers=30)
        assert run.trajectory.status == "completed"
        assert len(run.departures) == 1
        assert "not positive definite" in run.departures[0]
        assert run.limit_set is None
        assert not run.summary()["theorem_applies"]
        assert_prediction_is_the_run(run)


@pytest.mark.parametrize(
    ("tokens", "score", "departures"),
    [
        (EMERGING, np.diag([1.0, -1.0]), ["not positive definite"]),
        (EMERGING, np.array([[1.0, 0.1], [0.0, 1.0]]), ["not symmetric"]),
        (np.array([(0.0, 0.0), (1.0, 2.0)]), None, ["is zero"]),
        (np.array([(1.0, 2.0), (1.0, 2.0)]), None, ["repeat"]),
        (np.array([(1.0, 2.0)]), None, ["one token only"]),
        (np.zeros((2, 2)), -np.eye(2), ["not positive definite", "is zero", "repeat"]),
    ],
)
def test_strict_refuses_what_departs_from_the_theorem_and_says_all(tokens, score, departures):
    with pytest.raises(TheoremError) as caught:
        simulate(tokens, score=score, strict=True)
    assert all(words in str(caught.value) for words in departures)
    assert len(simulate(tokens, score=score, layers=1).departures) == len(departures)


def test_strict_runs_what_meets_the_theorem():
    assert simulate(EMERGING, strict=True).departures == ()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("tokens", "options", "message"),
    [
        (EMERGING, {"alpha": 0.0}, "alpha must be positive"),
        (EMERGING, {"alpha": -0.5}, "alpha must be positive"),
        (EMERGING, {"alpha": math.nan}, "alpha must be positive"),
        (EMERGING, {"layers": 0}, "layers must be at least 1"),
        (EMERGING, {"score": np.ones((2, 3))}, "square matrix"),
        (EMERGING, {"score": np.eye(3)}, "3, 3.*2 coordinates"),
        (EMERGING, {"score": np.full((2, 2), np.nan)}, "NaN"),
        (EMERGING, {"score": [[1.0, 2.0], [3.0]]}, "different lengths|square matrix|real numbers"),
        (EMERGING, {"score": np.eye(2) * 1j}, "real numbers"),
        (EMERGING, {"inverse_temperature": 0.0}, "must be positive"),
        (EMERGING, {"tie_tolerance": -1.0}, "tie_tolerance"),
        (EMERGING, {"labels": ["a"]}, "1 label for 8 tokens"),
        (np.array([[1.0, np.nan]]), {}, "tokens 0 have NaN"),
        (np.array([[1.0, 2.0], [np.inf, 0.0]]), {}, "tokens 1 have NaN or infinite"),
        ([[1.0, 2.0], [3.0]], {}, "different lengths"),
        (np.empty((0, 2)), {}, "at least one row"),
        (np.array([["a", "b"]]), {}, "real numbers"),
    ],
)
def test_bad_input_is_refused_with_a_reason(tokens, options, message):
    with pytest.raises(BadInputError, match=message):
        simulate(tokens, **options)


# Finite temperature.


def test_the_softmax_run_approaches_the_hardmax_run_as_beta_grows(rng):
    tokens = np.concatenate([2 * SQUARE, rng.uniform(0.2, 1.0, (10, 2)) * rng.choice([-1, 1], (10, 2))])
    gaps = []
    for beta in (1.0, 10.0, 100.0, 1e4, 1e8):
        run = simulate(tokens, layers=20, inverse_temperature=beta)
        assert run.hardmax_gaps.shape == (21,)
        assert run.hardmax_gaps[0] == 0
        np.testing.assert_array_equal(run.hardmax.states, simulate(tokens, layers=20).trajectory.states)
        gaps.append(run.hardmax_gaps.max())
    assert gaps == sorted(gaps, reverse=True)
    # Followers near their leader share its weight until beta resolves them: the gap falls like 1 / beta.
    assert gaps[-1] < 1e-7


def test_a_softmax_run_keeps_the_prediction_of_the_hardmax_run(rng):
    tokens = rng.normal(size=(20, 2))
    soft = simulate(tokens, inverse_temperature=2.0, layers=10)
    assert not soft.is_hardmax
    assert soft.prediction_error < 1e-12
    assert soft.summary()["inverse_temperature"] == 2.0
    hard = simulate(tokens, layers=10)
    assert hard.is_hardmax
    assert hard.hardmax is hard.trajectory
    assert (hard.hardmax_gaps == 0).all()


# What a run says.


@pytest.mark.parametrize("beta", [3.0, math.inf])
def test_the_same_input_gives_the_same_bits_twice(beta, rng):
    tokens, score = rng.normal(size=(40, 3)), positive_definite(3, rng)
    one, other = (simulate(tokens, score=score, inverse_temperature=beta) for _ in "ab")
    for name in ("states", "leaders", "tie_counts", "tie_spreads"):
        assert getattr(one.trajectory, name).tobytes() == getattr(other.trajectory, name).tobytes()
    for name in ("limits", "settled_states", "settled_layers", "leaders"):
        assert getattr(one.prediction, name).tobytes() == getattr(other.prediction, name).tobytes()


def test_both_backends_give_the_same_run(rng):
    tokens, score = rng.normal(size=(300, 3)), positive_definite(3, rng)
    one, other = (simulate(tokens, score=score, layers=10, backend=backend) for backend in ("dense", "fused"))
    for name in ("states", "leaders", "tie_counts", "tie_spreads"):
        assert getattr(one.trajectory, name).tobytes() == getattr(other.trajectory, name).tobytes()


def test_the_table_has_one_row_for_each_token():
    labels = [f"word {i}" for i in range(8)]
    run = simulate(EMERGING, labels=labels)
    table = run.table()
    assert list(table["token"]) == labels
    assert list(table.loc[table["leads"], "token"]) == ["word 0", "word 1", "word 2"]
    np.testing.assert_array_equal(table[["limit_x1", "limit_x2"]].to_numpy(), run.prediction.limits)
    np.testing.assert_array_equal(table[["end_x1", "end_x2"]].to_numpy(), run.trajectory.states[-1])
    assert (table["distance_to_limit"] < 1e-4).all()


def test_the_summary_is_json():
    facts = simulate(EMERGING).summary()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert (facts["tokens"], facts["dim"], facts["layers"], facts["emerging_leaders"]) == (8, 2, 30, 1)
    assert facts["leaders"] == ["0", "2", "1"]


def test_a_run_shorter_than_its_settling_says_so():
    run = simulate(EMERGING, layers=1)
    assert_prediction_is_the_run(run)
    json.dumps(run.summary(), allow_nan=False)
    long = simulate(np.array([(1.0, 0.0), (0.9, 0.1)]), score=np.zeros((2, 2)), layers=2)
    assert math.isnan(long.prediction_error)
    assert json.loads(json.dumps(long.summary(), allow_nan=False))["prediction_error"] is None


def test_tokens_on_one_side_of_the_origin_are_told_to_be_centred():
    weather = np.random.default_rng(0).normal(size=(30, 2)) * [3.0, 1.0] + [12.0, 4.0]
    assert "subtract the mean of each column" in simulate(weather).describe()[-1]
    assert not any("subtract" in line for line in simulate(weather - weather.mean(axis=0)).describe())
