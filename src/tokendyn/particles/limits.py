"""The limits of tokens: the limit set S of arXiv 2407.01602, and each token's limit from its leaders.

Symbols: ``A`` score matrix, ``c = 1 / (1 + alpha)`` contraction of a layer, ``K`` the limiting polytope
(hull of the leaders), ``S`` the points of ``K`` that attract.
"""

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention import Head
from tokendyn.dynamics import Layer, checked_tokens
from tokendyn.dynamics.freeze import Arithmetic, Frozen
from tokendyn.errors import BadInputError
from tokendyn.geometry import Polytope, convex_hull, project_origin
from tokendyn.results import Bars, Paths, Result
from tokendyn.scales import power_of_two
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

#: Inequalities of S are accepted when violated by at most this share of the squared scale.
S_TOLERANCE = 1e-9

#: Faces are enumerated up to this number of candidates.
MAX_FACES = 200_000

Kind = Literal["vertex", "face", "unsettled"]


@dataclass(frozen=True, repr=False)
class LimitSet(Result, kind="limit-set"):
    """The finite set ``S = {s in K : <A s, y> <= <A s, s> for all y in K}``.

    Attributes
    ----------
    points
        ``(points, dim)``.
    face_dimensions
        ``(points,)``: 0 for a vertex of K; otherwise the dimension of the face whose A-projection of the
        origin the point is (``dim`` for the origin itself, when K contains it).
    """

    points: Float[np.ndarray, "points dim"]
    face_dimensions: Int[np.ndarray, " points"]

    def distances(self, tokens: Float[np.ndarray, "tokens dim"]) -> Float[np.ndarray, " tokens"]:
        """Return the Euclidean distance of each token from the set."""
        gaps = [np.linalg.norm(tokens - point, axis=1) for point in self.points]
        return np.asarray(np.min(gaps, axis=0))

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def describe(self) -> list[str]:
        """Return the number of points in a sentence."""
        vertices = int((self.face_dimensions == 0).sum())
        return [
            f"tokens can end at {counted(len(self.points), 'point')}: {vertices} vertices, "
            f"{len(self.points) - vertices} on faces"
        ]

    def table(self) -> "pd.DataFrame":
        """Return one row for each point."""
        import pandas as pd

        kinds = ["vertex" if dimension == 0 else "face" for dimension in self.face_dimensions]
        coordinates = {f"x{axis + 1}": self.points[:, axis] for axis in range(self.points.shape[1])}
        return pd.DataFrame({"kind": kinds, "face_dimension": self.face_dimensions, **coordinates})

    def picture(self) -> Paths:
        """Return the points; vertices in one colour, points of faces in another."""
        return Paths(self.points[None], np.zeros(1), (self.face_dimensions > 0).astype(np.int64), ("vertex", "face"))


def limit_set(polytope: Polytope, score: Float[np.ndarray, "dim dim"]) -> LimitSet:
    """Enumerate S for a polytope and a symmetric positive definite score matrix.

    A point of S is the A-projection of the origin onto the affine hull of the face whose relative interior contains
    it. Every simplex of the triangulated boundary, and K itself, is therefore tried; its projection belongs to S when
    it lies in the simplex and the inequalities of S hold (arXiv 2407.01602; the enumeration is ours).

    Raises
    ------
    BadInputError
        If ``score`` is not symmetric positive definite, or K has too many faces to enumerate.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.geometry import convex_hull
    >>> from tokendyn.particles import limit_set
    >>> limit_set(convex_hull(np.array([[1.0, 1.0], [-1.0, 1.0], [0.0, -1.0]])), np.eye(2)).points
    array([[ 1. ,  1. ],
           [-1. ,  1. ],
           [ 0. , -1. ],
           [ 0. ,  1. ],
           [ 0.4, -0.2],
           [-0.4, -0.2],
           [ 0. ,  0. ]])
    """
    vertices, unit, score = polytope.vertices, power_of_two(polytope.vertices), score / power_of_two(score)
    # Vertices near 1 in size: squares of very large or small coordinates would overflow or vanish.
    if unit != 1:
        near_one = limit_set(convex_hull(vertices / unit), score)
        return LimitSet(near_one.points * unit, near_one.face_dimensions)
    root = _root(score)
    scale = max(float(np.abs(vertices).max()), np.finfo(float).tiny)
    slack = S_TOLERANCE * np.abs(score).sum() * scale**2
    faces = _faces(polytope)
    points: list[np.ndarray] = []
    for face in faces:
        point, barycentric = project_origin(vertices[list(face)], root)
        if barycentric.min() < -S_TOLERANCE:
            continue
        _add_point(points, point, score, vertices, slack, scale)
    if polytope.dimension > 0:
        full = polytope.dimension == vertices.shape[1]
        inner = np.zeros(vertices.shape[1]) if full else project_origin(vertices, root)[0]
        if polytope.distance_outside(inner[None])[0] <= S_TOLERANCE * scale:
            _add_point(points, inner, score, vertices, slack, scale)
    dimensions = [polytope.face_dimension(point, S_TOLERANCE * scale) for point in points]
    return LimitSet(np.array(points).reshape(-1, vertices.shape[1]), np.array(dimensions, dtype=np.int64))


def _faces(polytope: Polytope) -> list[tuple[int, ...]]:
    """Return the vertices and all simplices of the triangulated boundary, small ones first."""
    corners = polytope.facets.shape[1]
    if len(polytope.facets) * 2**corners > MAX_FACES:
        raise BadInputError(f"K has {len(polytope.facets)} facets in dimension {corners}: too many faces for S")
    faces: set[tuple[int, ...]] = {(vertex,) for vertex in range(len(polytope.vertices))}
    for facet in polytope.facets:
        for size in range(2, corners + 1):
            faces.update(itertools.combinations(sorted(map(int, facet)), size))
    return sorted(faces, key=lambda face: (len(face), face))


def _add_point(
    points: list[np.ndarray],
    point: np.ndarray,
    score: np.ndarray,
    vertices: np.ndarray,
    slack: float,
    scale: float,
) -> None:
    """Add a point when it satisfies the inequalities of S and is not in the list; faces share their points."""
    normal = score @ point
    if (vertices @ normal).max() > point @ normal + slack:
        return
    if all(np.abs(point - other).max() > S_TOLERANCE * scale for other in points):
        points.append(point)


def _root(score: np.ndarray) -> np.ndarray:
    """Return ``R`` with ``R^T R = A``."""
    if not np.allclose(score, score.T, rtol=0, atol=1e-12 * float(np.abs(score).max())):
        raise BadInputError("S is defined for a symmetric score matrix A; this one is not symmetric")
    try:
        return np.asarray(np.linalg.cholesky(score).T)
    except np.linalg.LinAlgError:
        raise BadInputError("S is defined for a positive definite score matrix A; this one is not") from None


@dataclass(frozen=True, repr=False)
class LimitPrediction(Result, kind="limit-prediction"):
    """The limit of each token in closed form, from the few layers until its leader is fixed.

    Attributes
    ----------
    limits
        ``(tokens, dim)``: the limit of each token; NaN where unsettled.
    kinds
        ``(tokens,)`` str: ``"vertex"`` (the point of a leader), ``"face"`` (projection onto a face, an exact tie),
        ``"unsettled"`` (not decided within ``layers`` layers).
    leaders
        ``(leaders,)``: the tokens that lead, in the order in which they began to lead; the lowest index represents
        coinciding tokens.
    leader_layers
        ``(leaders,)``: the layer at which each first led itself; above 0 for an emerging leader.
    settled_layers
        ``(tokens,)``: the layer from which the limit is certain; -1 where unsettled.
    settled_states
        ``(tokens, dim)``: the token at that layer.
    alpha
        Step parameter.
    layers
        Number of attention layers that were needed.
    doubtful
        Tokens with a leader that was chosen within rounding of a tie, without proof.
    """

    limits: Float[np.ndarray, "tokens dim"]
    kinds: np.ndarray
    leaders: Int[np.ndarray, " leaders"]
    leader_layers: Int[np.ndarray, " leaders"]
    settled_layers: Int[np.ndarray, " tokens"]
    settled_states: Float[np.ndarray, "tokens dim"]
    alpha: float
    layers: int
    doubtful: Int[np.ndarray, " doubtful"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def at(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return ``x_i + c^(layer - k_i) (z_i(k_i) - x_i)`` for a layer at which every token is settled.

        ``x_i`` is the limit and ``k_i`` the settled layer. Rows of tokens not settled by then are NaN.
        """
        age = (layer - self.settled_layers).astype(np.float64)
        shrink = (1.0 + self.alpha) ** -np.maximum(age, 0.0)
        states = self.limits + shrink[:, None] * (self.settled_states - self.limits)
        states[(age < 0) | (self.settled_layers < 0)] = np.nan
        return states

    @property
    def status(self) -> str:
        """``"rounding"`` when a settled token has a leader chosen within rounding of a tie, else ``"completed"``."""
        return "rounding" if (self.kinds[self.doubtful] != "unsettled").any() else "completed"

    def describe(self) -> list[str]:
        """Return the prediction in a few sentences."""
        counts = {kind: int((self.kinds == kind).sum()) for kind in ("vertex", "face", "unsettled")}
        lines = [
            f"{counted(len(self.kinds), 'token')}: {counts['vertex']} end at leaders, {counts['face']} at face "
            "projections, "
            f"{counts['unsettled']} are not settled after {counted(self.layers, 'layer')}",
            f"{counted(len(self.leaders), 'leader')}, {int((self.leader_layers > 0).sum())} of them emerging",
        ]
        if self.doubtful.size:
            lines.append(
                f"within rounding of a tie: {counted(len(self.doubtful), 'token')}; exact arithmetic may say otherwise"
            )
        return lines

    def table(self) -> "pd.DataFrame":
        """Return one row for each token: its limit, the kind of the limit, the layer from which it is certain."""
        import pandas as pd

        leads = np.isin(np.arange(len(self.kinds)), self.leaders)
        coordinates = {f"limit_x{axis + 1}": self.limits[:, axis] for axis in range(self.limits.shape[1])}
        return pd.DataFrame(
            {"limit_kind": self.kinds, "leads": leads, "settled_layer": self.settled_layers, **coordinates}
        )

    def picture(self) -> Bars:
        """Return the number of tokens for each kind of limit."""
        kinds = ("vertex", "face", "unsettled")
        return Bars(kinds, [float((self.kinds == kind).sum()) for kind in kinds], "tokens")


def predict_limits(
    tokens: Float[np.ndarray, "tokens dim"],
    alpha: float,
    score: Float[np.ndarray, "dim dim"] | None = None,
    *,
    tie_tolerance: float = 0.0,
    max_layers: int = 2000,
    arithmetic: Arithmetic = "float",
) -> LimitPrediction:
    """Predict the limit of every token from the leaders.

    Layers are run only until every token moves towards a point that stays, by the freeze theorem (our own; see
    :class:`tokendyn.dynamics.freeze.Frozen`, which also computes runs):
    ``z_i(k + l) = m + (1 + alpha)^(-l) (z_i(k) - m)``. A token whose only leader v leads itself has ``m = v``. A token
    that ties between fixed points ``T`` stays tied exactly when ``<A mean(T), t>`` is the same for all ``t`` in ``T``
    and at least that of every other token; then it ends at ``m = mean(T)``, the A-projection of the origin onto the
    face that ``T`` spans. Leaders and ties are those of exact arithmetic. ``A`` need not be symmetric.

    Parameters
    ----------
    tokens
        ``(tokens, dim)`` real, finite.
    alpha, score, tie_tolerance
        See :func:`simulate`.
    max_layers
        Number of layers after which the remaining tokens are ``"unsettled"``.
    arithmetic
        See :func:`tokendyn.dynamics.run`.

    Raises
    ------
    BadInputError
        If tokens or the matrix are invalid, or ``alpha <= 0``.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.particles import predict_limits
    >>> limits = predict_limits(np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.2]]), alpha=0.5)
    >>> limits.leaders
    array([0, 1])
    >>> limits.at(10).round(3)
    array([[2.   , 0.   ],
           [0.   , 1.   ],
           [1.983, 0.003]])
    """
    state = checked_tokens(tokens)
    layers = [Layer(alpha, (Head(score=score, tie_tolerance=tie_tolerance),))] * (max_layers + 1)
    frozen = Frozen(state, layers, arithmetic=arithmetic)
    for number, layer in enumerate(layers):
        frozen.step(layer, number)
        if not frozen.active.size:
            break
    limits, origins = frozen.goals.copy(), frozen.origins.copy()
    limits[frozen.active], origins[frozen.active] = np.nan, np.nan
    kinds = np.where(frozen.since < 0, "unsettled", np.where(frozen.between, "face", "vertex")).astype("<U9")
    leaders = _leaders(frozen)
    return LimitPrediction(
        limits=limits,
        kinds=kinds,
        leaders=leaders,
        leader_layers=frozen.since[leaders],
        settled_layers=frozen.since,
        settled_states=origins,
        alpha=alpha,
        layers=number + 1,
        doubtful=frozen.doubtful,
    )


def _leaders(frozen: Frozen) -> Int[np.ndarray, " leaders"]:
    """Return the tokens that follow themselves, the lowest index of each point, in the order in which they began."""
    own = np.flatnonzero(frozen.standing & ~frozen.between)
    lowest = np.unique(frozen.following.leaders[own])
    return lowest[np.argsort(frozen.since[lowest], kind="stable")]


def leading_polytope(prediction: LimitPrediction) -> Polytope | None:
    """Return K, the hull of the leaders; None without leaders or when the dimension is too high."""
    if len(prediction.leaders) == 0:
        return None
    try:
        return convex_hull(prediction.limits[prediction.leaders])
    except BadInputError:
        return None
