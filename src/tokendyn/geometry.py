"""Hulls, projections in the A-norm, and clusters of points."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, QhullError, cKDTree

from tokendyn.errors import BadInputError
from tokendyn.scales import power_of_two

#: Extents below this share of the largest coordinate count as zero: the points lie in a smaller affine space.
RANK_TOLERANCE = 1e-12

#: Highest dimension in which hulls are computed; Qhull's cost grows like n^(d/2).
MAX_HULL_DIM = 8


@dataclass(frozen=True)
class Polytope:
    """The convex hull of some points, also when it is flat.

    Attributes
    ----------
    indices
        ``(vertices,)``: numbers of the points that are vertices; counter-clockwise in the plane.
    vertices
        ``(vertices, dim)``: their coordinates.
    dimension
        Dimension of the affine hull, 0 for a single point.
    facets
        ``(facets, dimension)``: each simplicial facet as indices into ``vertices``.
    """

    indices: Int[np.ndarray, " vertices"]
    vertices: Float[np.ndarray, "vertices dim"]
    dimension: int
    facets: Int[np.ndarray, "facets corners"]
    _centre: Float[np.ndarray, " dim"]
    _basis: Float[np.ndarray, "dimension dim"]
    _equations: Float[np.ndarray, "facets coefficients"]

    def distance_outside(self, points: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, " points"]:
        """Return how far each point violates the worst inequality of the polytope; 0 inside.

        This is a lower bound of the Euclidean distance, and zero exactly when that is zero.
        """
        offset = points - self._centre
        inside = offset @ self._basis.T
        off_plane = np.linalg.norm(offset - inside @ self._basis, axis=1)
        if self.dimension == 0:
            return off_plane
        beyond = (inside @ self._equations[:, :-1].T + self._equations[:, -1]).max(axis=1)
        return np.maximum(off_plane, np.maximum(beyond, 0.0))

    def face_dimension(self, point: Float[np.ndarray, " dim"], tolerance: float) -> int:
        """Return the dimension of the smallest face that contains a point of the polytope."""
        coordinates = (np.vstack([point, self.vertices]) - self._centre) @ self._basis.T
        tight = np.abs(coordinates @ self._equations[:, :-1].T + self._equations[:, -1]) <= tolerance
        corners = self.vertices[tight[1:, tight[0]].all(axis=1)]
        return int(np.linalg.matrix_rank(corners[1:] - corners[0], tol=tolerance)) if len(corners) > 1 else 0


def convex_hull(points: Float[np.ndarray, "points dim"]) -> Polytope:
    """Return the convex hull; flat sets are treated in their affine hull.

    Raises
    ------
    BadInputError
        If there are more than ``MAX_HULL_DIM`` dimensions, or Qhull cannot resolve the points.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.geometry import convex_hull
    >>> convex_hull(np.array([[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0], [0.1, 0.2]])).vertices
    array([[ 1.,  1.],
           [-1.,  1.],
           [ 0., -1.]])
    """
    unit = power_of_two(points)
    if unit != 1:  # Squares and products of coordinates would overflow or underflow.
        near_one = convex_hull(points / unit)
        equations = near_one._equations.copy()
        equations[:, -1] *= unit
        indices = near_one.indices
        return replace(near_one, vertices=points[indices], _centre=near_one._centre * unit, _equations=equations)
    centre = points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(points - centre, full_matrices=False)
    extent = max(float(sizes[0]), float(np.abs(points).max()))
    rank = min(int((sizes > RANK_TOLERANCE * extent).sum()), len(points) - 1)
    basis = axes[:rank]
    flat = (points - centre) @ basis.T
    if rank == 0:
        return Polytope(
            indices=np.array([0]),
            vertices=points[:1],
            dimension=0,
            facets=np.empty((0, 0), dtype=np.int64),
            _centre=points[0],
            _basis=basis,
            _equations=np.empty((0, 1)),
        )
    if rank == 1:
        ends = np.array([flat[:, 0].argmin(), flat[:, 0].argmax()])
        equations = np.array([[-1.0, flat[ends[0], 0]], [1.0, -flat[ends[1], 0]]])
        return Polytope(
            indices=ends,
            vertices=points[ends],
            dimension=1,
            facets=np.array([[0], [1]]),
            _centre=centre,
            _basis=basis,
            _equations=equations,
        )
    if rank > MAX_HULL_DIM:
        raise BadInputError(f"hulls are computed in at most {MAX_HULL_DIM} dimensions, got {rank}")
    if rank == points.shape[1]:
        basis, flat = np.eye(rank), points - centre
    try:
        hull = ConvexHull(flat)
    except QhullError as error:
        raise BadInputError(f"Qhull cannot resolve the hull of {len(points)} points: {str(error)[:80]}") from None
    vertex_of = np.full(len(points), -1)
    vertex_of[hull.vertices] = np.arange(len(hull.vertices))
    return Polytope(
        indices=hull.vertices.astype(np.int64),
        vertices=points[hull.vertices],
        dimension=rank,
        facets=vertex_of[hull.simplices].astype(np.int64),
        _centre=centre,
        _basis=basis,
        _equations=hull.equations,
    )


def project_origin(
    corners: Float[np.ndarray, "corners dim"], root: Float[np.ndarray, "dim dim"]
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, " corners"]]:
    """Return the point of ``aff(corners)`` with the least A-norm, and its barycentric coordinates.

    ``root`` is any ``R`` with ``R^T R = A``: the point minimises ``|R y|`` over the affine hull.
    """
    mapped = corners @ root.T
    shifts = np.linalg.lstsq((mapped[1:] - mapped[0]).T, -mapped[0], rcond=None)[0]
    barycentric = np.concatenate([[1.0 - shifts.sum()], shifts])
    return barycentric @ corners, barycentric


@dataclass(frozen=True)
class Clusters:
    """Points grouped by proximity.

    Attributes
    ----------
    labels
        ``(points,)``: number of each point's cluster, from the largest cluster (0) to the smallest.
    sizes
        ``(clusters,)``: number of points.
    centres
        ``(clusters, dim)``: mean of each cluster.
    """

    labels: Int[np.ndarray, " points"]
    sizes: Int[np.ndarray, " clusters"]
    centres: Float[np.ndarray, "clusters dim"]


def cluster_points(points: Float[np.ndarray, "points dim"], gap: float | Float[np.ndarray, " points"]) -> Clusters:
    """Group points that are linked by a chain of steps of about ``gap`` or less (single linkage).

    With a gap for each point, the larger gap of two points links them. Points are first gathered into cells of diameter
    at most ``gap``, so that memory stays linear however many coincide; two clusters closer than ``gap`` may remain
    separate, two farther apart than ``2 gap`` always do.

    Parameters
    ----------
    points
        ``(points, dim)``, finite.
    gap
        Positive, in the units of the points.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.geometry import cluster_points
    >>> cluster_points(np.array([[0.0, 0.0], [0.0, 0.01], [1.0, 1.0]]), gap=0.1).sizes
    array([2, 1])
    """
    points = np.asarray(points, dtype=np.float64)
    unit = power_of_two(points)
    if unit != 1:
        near_one = cluster_points(points / unit, gap / unit)
        return replace(near_one, centres=near_one.centres * unit)
    gaps = np.maximum(np.broadcast_to(gap, len(points)), np.finfo(float).tiny)
    # Halvings of the largest gap: points of one cell have gaps within a factor of two, and a cell fits the least.
    halvings = np.ceil(np.log2(gaps.max() / gaps))
    widths = gaps.max() * 0.5**halvings / np.sqrt(points.shape[1])
    cells = np.column_stack([halvings, np.floor(points / widths[:, None])])
    _, cell_of = np.unique(cells, axis=0, return_inverse=True)
    cell_of = cell_of.reshape(-1)
    means = _group_means(points, cell_of)
    cell_gaps = np.zeros(len(means))
    np.maximum.at(cell_gaps, cell_of, gaps)
    pairs = _near_pairs(means, cell_gaps)
    count = len(means)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    labels = component[cell_of]
    order = np.argsort(-np.bincount(labels), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    labels = rank[labels].astype(np.int64)
    return Clusters(labels=labels, sizes=np.bincount(labels).astype(np.int64), centres=_group_means(points, labels))


def _near_pairs(points: Float[np.ndarray, "points dim"], gaps: Float[np.ndarray, " points"]) -> np.ndarray:
    """Return ``(pairs, 2)``: the points that are within the larger one of their gaps."""
    tree = cKDTree(points)
    if (gaps == gaps[0]).all():
        return np.asarray(tree.query_pairs(float(gaps[0]), output_type="ndarray"))
    # Boxes first: the squares in a Euclidean distance underflow for points that are much smaller than others.
    near = tree.query_ball_point(points, gaps, p=np.inf)
    first = np.repeat(np.arange(len(points)), [len(others) for others in near])
    second = np.concatenate([np.asarray(others, dtype=np.int64) for others in near])
    close = euclidean_norms(points[first] - points[second]) <= gaps[first]
    return np.stack([first[close], second[close]], axis=1)


def euclidean_norms(vectors: Float[np.ndarray, "vectors dim"]) -> Float[np.ndarray, " vectors"]:
    """Return Euclidean norms, also where the squares of coordinates overflow or underflow."""
    largest = np.abs(vectors).max(axis=1)
    units = np.where(largest > 0, largest, 1.0)
    return np.asarray(units * np.linalg.norm(vectors / units[:, None], axis=1))


def _group_means(points: np.ndarray, group: np.ndarray) -> np.ndarray:
    sizes = np.bincount(group)
    return np.stack([np.bincount(group, column) / sizes for column in points.T], axis=1)


def same_points(
    points: Float[np.ndarray, "points dim"],
    others: Float[np.ndarray, "*others dim"],
    tolerance: float | Float[np.ndarray, " points"],
) -> Bool[np.ndarray, " points"]:
    """Return which points differ by at most ``tolerance`` in every coordinate from their partner, or from one point."""
    return np.asarray(np.abs(points - others).max(axis=1) <= tolerance)
