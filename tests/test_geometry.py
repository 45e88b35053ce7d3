"""Hulls, projections and clusters against linear programming, optimisation and brute force."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from adversarial import FAMILIES, tokens_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from tokendyn.errors import BadInputError
from tokendyn.geometry import (
    MAX_HULL_DIM,
    RANK_TOLERANCE,
    cluster_points,
    convex_hull,
    euclidean_norms,
    project_origin,
    same_points,
)


def in_hull_by_linear_program(point, vertices):
    """Say whether ``point`` is a convex combination of the vertices."""
    equalities = np.vstack([vertices.T, np.ones(len(vertices))])
    found = linprog(np.zeros(len(vertices)), A_eq=equalities, b_eq=np.append(point, 1.0), bounds=(0, None))
    return found.status == 0


def single_linkage(points, gap):
    """Return component numbers of the graph that joins points at most ``gap`` apart, by plain search."""
    labels = np.full(len(points), -1)
    for number, start in enumerate(range(len(points))):
        if labels[start] >= 0:
            continue
        labels[start] = number
        todo = [start]
        while todo:
            near = np.linalg.norm(points - points[todo.pop()], axis=1) <= gap
            new = np.flatnonzero(near & (labels < 0))
            labels[new] = number
            todo.extend(new)
    return labels


def same_partition(one, other):
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


# Hulls.


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_the_hull_of_a_cube_is_its_corners(dim):
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=dim)))
    points = np.concatenate([0.9 * corners, corners, np.zeros((3, dim))])
    hull = convex_hull(points)
    assert hull.dimension == dim
    assert set(hull.indices) == set(range(len(corners), 2 * len(corners)))
    np.testing.assert_array_equal(hull.vertices, points[hull.indices])
    assert hull.facets.shape[1] == dim
    assert set(hull.facets.ravel()) == set(range(len(corners)))


def test_vertices_run_counter_clockwise_in_the_plane(rng):
    corners = convex_hull(rng.normal(size=(50, 2))).vertices
    edges = np.roll(corners, -1, axis=0) - corners
    following = np.roll(edges, -1, axis=0)
    assert (edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0] > 0).all()


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_a_single_point_is_a_hull_of_dimension_zero(dim):
    point = np.full((1, dim), 0.3)
    for points in (point, np.tile(point, (5, 1))):
        hull = convex_hull(points)
        assert hull.dimension == 0
        assert len(hull.vertices) == 1
        np.testing.assert_array_equal(hull.vertices[0], point[0])
        assert hull.distance_outside(point)[0] == 0
        np.testing.assert_allclose(hull.distance_outside(point + 2.0), 2 * math.sqrt(dim))


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_collinear_points_are_a_segment(dim, rng):
    start, way = rng.normal(size=(2, dim))
    steps = rng.permutation(np.linspace(-1, 3, 9))
    hull = convex_hull(start + steps[:, None] * way)
    assert hull.dimension == 1
    assert set(hull.indices) == {int(steps.argmin()), int(steps.argmax())}
    beyond = np.array([start - 1.5 * way, start + way, start + 3.25 * way])
    length = np.linalg.norm(way)
    np.testing.assert_allclose(hull.distance_outside(beyond), [0.5 * length, 0, 0.25 * length], atol=1e-12)


@pytest.mark.parametrize("dim", [3, 4])
def test_coplanar_points_are_a_polygon_in_their_plane(dim, rng):
    flat = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2], [1, 1], [0.5, 1]])
    plane = np.linalg.qr(rng.normal(size=(dim, dim)))[0][:, :3]
    points = flat @ plane[:, :2].T + 0.7 * plane[:, 2]
    hull = convex_hull(points)
    assert hull.dimension == 2
    assert set(hull.indices) == {0, 1, 2, 3}
    above = points[4] + 0.25 * plane[:, 2]
    np.testing.assert_allclose(hull.distance_outside(np.array([points[4], above])), [0, 0.25], atol=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_point_lies_in_the_hull_of_its_set(family, dim):
    points = tokens_of(family, dim)
    hull = convex_hull(points)
    scale = np.abs(points).max()
    assert hull.distance_outside(points).max() <= 1e-11 * scale
    np.testing.assert_array_equal(hull.vertices, points[hull.indices])


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
@pytest.mark.parametrize("flat", [False, True])
def test_being_outside_agrees_with_a_linear_program(dim, flat, rng):
    points = rng.normal(size=(12, dim))
    probes = 1.2 * rng.normal(size=(60, dim))
    if flat:
        points[:, -1] = 0.0
        probes[:30, -1] = 0.0
    outside = convex_hull(points).distance_outside(probes)
    expected = [not in_hull_by_linear_program(probe, points) for probe in probes]
    np.testing.assert_array_equal(outside > 1e-9, expected)
    assert 0 < sum(expected) < 60 or (flat and dim == 1)


@pytest.mark.parametrize("dim", [2, 3])
def test_the_distance_outside_is_a_lower_bound_of_the_euclidean_distance(dim, rng):
    points = rng.normal(size=(10, dim))
    hull = convex_hull(points)
    probes = 3 * rng.normal(size=(20, dim))
    inside = rng.dirichlet(np.full(len(points), 0.3), size=4000) @ points
    nearest = np.linalg.norm(probes[:, None] - inside, axis=2).min(axis=1)
    assert (hull.distance_outside(probes) <= nearest + 1e-12).all()


@pytest.mark.parametrize("shift", [0.0, 1e8])
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_a_hull_scales_with_its_points(size, shift):
    corners = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    hull = convex_hull(size * (corners + (shift if size == 1.0 else 0.0)))
    assert hull.dimension == 2
    assert len(hull.vertices) == 4


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize(("width", "dimension"), [(0.5, 1), (2.0, 2)])
def test_a_set_is_flat_where_its_extent_is_a_trillionth(width, dimension, scale):
    # Singular values of the centred square: sqrt(4) 1 along x, and as many widths along y.
    points = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * [1.0, width * RANK_TOLERANCE]
    assert convex_hull(scale * points).dimension == dimension
    shifted = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * [width * RANK_TOLERANCE] + 2.0
    assert convex_hull(scale * shifted).dimension == (0 if width < 1 else 2)


def test_the_face_of_a_point_is_the_smallest_that_holds_it():
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    hull = convex_hull(corners)
    for point, dimension in (([1, 1, 1], 0), ([1, 1, 0.3], 1), ([1, 0.2, 0.3], 2), ([0.1, 0.2, 0.3], 3)):
        assert hull.face_dimension(np.array(point, dtype=float), 1e-9) == dimension
    near = np.array([1.0, 1.0 - 1e-3, 0.3])
    assert hull.face_dimension(near, 0.9e-3) == 2
    assert hull.face_dimension(near, 1.1e-3) == 1
    segment = convex_hull(np.array([[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]]))
    assert segment.face_dimension(np.array([2.0, 2.0]), 1e-9) == 0


def test_hulls_above_the_dimension_limit_are_refused(rng):
    with pytest.raises(BadInputError, match="at most 8 dimensions"):
        convex_hull(rng.normal(size=(30, MAX_HULL_DIM + 1)))


# Projections of the origin.


@pytest.mark.parametrize(("corners", "dim"), [(1, 1), (1, 3), (2, 2), (2, 3), (3, 3), (3, 5), (5, 5)])
def test_the_projection_of_the_origin_has_the_least_norm_by_scipy(corners, dim, rng):
    points, root = rng.normal(size=(corners, dim)), rng.normal(size=(dim, dim))
    point, barycentric = project_origin(points, root)
    assert barycentric.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(barycentric @ points, point, atol=1e-12)

    def squared_norm(shares):
        place = root @ (points[0] + shares @ (points[1:] - points[0]))
        return place @ place

    if corners > 1:
        best = minimize(squared_norm, np.zeros(corners - 1), method="BFGS", options={"gtol": 1e-9}, tol=1e-9)
        assert squared_norm(barycentric[1:]) <= best.fun * (1 + 1e-9) + 1e-12
        np.testing.assert_allclose(barycentric[1:], best.x, atol=1e-5)


def test_the_projection_onto_a_line_by_hand():
    point, barycentric = project_origin(np.array([[1.0, -1.0], [1.0, 3.0]]), np.eye(2))
    np.testing.assert_allclose(point, [1, 0], atol=1e-15)
    np.testing.assert_allclose(barycentric, [0.75, 0.25])
    # <A (1, y), (0, 1)> = 1 + 2 y vanishes at y = -1/2 for A = [[2, 1], [1, 2]].
    root = np.linalg.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]])).T
    np.testing.assert_allclose(project_origin(np.array([[1.0, -1.0], [1.0, 3.0]]), root)[0], [1, -0.5], atol=1e-15)


# Clusters.


def test_clusters_are_numbered_from_the_largest(rng):
    places = np.array([[0.0, 0], [5, 0], [0, 5]])
    labels = np.repeat([0, 1, 2], [3, 9, 5])
    points = places[labels] + 1e-3 * rng.uniform(-1, 1, size=(17, 2))
    clusters = cluster_points(points, 0.1)
    np.testing.assert_array_equal(clusters.labels, np.array([2, 0, 1])[labels])
    np.testing.assert_array_equal(clusters.sizes, [9, 5, 3])
    np.testing.assert_allclose(clusters.centres, places[[1, 2, 0]], atol=1e-3)


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 4), blobs=st.integers(1, 8))
def test_separated_blobs_are_found_as_by_brute_single_linkage(seed, dim, blobs):
    rng = np.random.default_rng(seed)
    gap = 10.0 ** rng.integers(-9, 3)
    places = 3.2 * gap * rng.permutation(20)[:blobs, None] * np.eye(dim)[0] + gap * rng.normal(size=dim)
    # A ball of diameter `gap`: all its points are joined in one step.
    ball = rng.normal(size=(60, dim))
    ball *= 0.499 * gap * rng.random((60, 1)) / np.linalg.norm(ball, axis=1, keepdims=True)
    points = places[rng.integers(0, blobs, size=60)] + ball
    clusters = cluster_points(points, gap)
    assert same_partition(clusters.labels, single_linkage(points, gap))
    np.testing.assert_array_equal(np.bincount(clusters.labels), clusters.sizes)


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 3), gap=st.floats(0.01, 1.0))
def test_points_farther_apart_than_two_gaps_are_never_joined(seed, dim, gap):
    points = np.random.default_rng(seed).normal(size=(70, dim))
    labels, coarse = cluster_points(points, gap).labels, single_linkage(points, 2 * gap)
    assert len(set(zip(labels, coarse, strict=True))) == len(set(labels))


def test_a_group_across_a_cell_edge_stays_together():
    points = np.array([[-1e-16, 1e-16], [1e-16, -1e-16], [0.0, 0.0], [1e-16, 1e-16], [-1e-16, -1e-16]])
    assert len(cluster_points(points, 1e-3).sizes) == 1


@pytest.mark.parametrize("spread", [0.0, 1e-12])
def test_many_coinciding_points_need_linear_memory(spread, rng):
    points = np.array([0.3, 0.0, -0.7]) + spread * rng.normal(size=(50_000, 3))
    tracemalloc.start()
    clusters = cluster_points(points, 1e-3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(clusters.sizes, [50_000])
    assert peak < 100e6


def test_one_point_is_one_cluster():
    clusters = cluster_points(np.array([[1.0, 2.0]]), 0.1)
    np.testing.assert_array_equal(clusters.labels, [0])
    np.testing.assert_array_equal(clusters.centres, [[1.0, 2.0]])


def test_same_points_compares_coordinate_by_coordinate():
    one, steps = np.full((3, 2), 2.0), np.array([[0, 0.125], [0.125, -0.125], [0.25, 0]])
    np.testing.assert_array_equal(same_points(one, one + steps, 0.125), [True, True, False])


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 3), blobs=st.integers(1, 8))
def test_each_point_has_its_own_gap_on_thirty_orders_of_magnitude(seed, dim, blobs):
    rng = np.random.default_rng(seed)
    orders = rng.permutation(31)[:blobs] - 15.0
    direction = rng.normal(size=dim)
    places = 10.0 ** orders[:, None] * direction / np.linalg.norm(direction)
    of = rng.integers(0, blobs, size=60)
    ball = rng.normal(size=(60, dim))
    ball *= rng.random((60, 1)) / np.linalg.norm(ball, axis=1, keepdims=True)
    clusters = cluster_points(places[of] + 1e-4 * 10.0 ** orders[of, None] * ball, 1e-3 * 10.0 ** orders[of])
    assert same_partition(clusters.labels, of)


def test_the_larger_gap_of_two_points_joins_them():
    points = np.array([[0.0, 0.0], [0.9, 0.0], [1.2, 0.0]])
    np.testing.assert_array_equal(cluster_points(points, np.array([1.0, 0.1, 0.1])).labels, [0, 0, 1])
    np.testing.assert_array_equal(cluster_points(points, np.array([0.1, 0.1, 0.4])).labels, [1, 0, 0])


def test_points_too_small_to_have_squares_are_told_apart():
    points = np.array([[1.0, 0.0], [1e-200, 0.0], [0.0, 1e-200], [0.0, 1.00001e-200]])
    clusters = cluster_points(points, np.array([1e-3, 1e-203, 1e-203, 1e-203]))
    np.testing.assert_array_equal(clusters.labels, [1, 2, 0, 0])


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_norms_are_right_where_squares_are_no_floats(size):
    np.testing.assert_allclose(euclidean_norms(size * np.array([[3.0, 4.0], [0.0, 0.0]])), [5 * size, 0], rtol=1e-15)
