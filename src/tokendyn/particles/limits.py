"""Where tokens end: the limit set S of arXiv 2407.01602, and each token's limit from its leaders.

Symbols: ``A`` score matrix, ``c = 1 / (1 + alpha)`` contraction of a layer, ``K`` the limiting polytope
(hull of the leaders), ``S`` the points of ``K`` that attract.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention import Head
from tokendyn.attention.step import canonical_scores
from tokendyn.dynamics import Layer, checked_tokens
from tokendyn.errors import BadInputError
from tokendyn.geometry import Polytope, convex_hull, project_origin, same_points

#: Points nearer than this share of the largest coordinate count as one place.
COINCIDENCE = 1e-12

#: Inequalities of S are accepted when violated by at most this share of the squared scale.
S_TOLERANCE = 1e-9

#: Layers for which a tie is followed before it is said to last.
MAX_TIE_LAYERS = 5000

#: Faces are enumerated up to this number of candidates.
MAX_FACES = 200_000

Kind = Literal["vertex", "face", "unsettled"]


@dataclass(frozen=True)
class LimitSet:
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


def limit_set(polytope: Polytope, score: Float[np.ndarray, "dim dim"]) -> LimitSet:
    """Enumerate S for a polytope and a symmetric positive definite score matrix.

    A point of S is the A-projection of the origin onto the affine hull of the face that holds it in its
    relative interior. So every simplex of the triangulated boundary (and K itself) is tried, and kept when
    its projection lies in it and the inequalities of S hold (arXiv 2407.01602; the enumeration is ours).

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
    root = _root(score)
    vertices = polytope.vertices
    scale = max(float(np.abs(vertices).max()), np.finfo(float).tiny)
    slack = S_TOLERANCE * np.abs(score).sum() * scale**2
    faces = _faces(polytope)
    found: list[np.ndarray] = []
    for face in faces:
        point, barycentric = project_origin(vertices[list(face)], root)
        if barycentric.min() < -S_TOLERANCE:
            continue
        _add_point(found, point, score, vertices, slack, scale)
    if polytope.dimension > 0:
        full = polytope.dimension == vertices.shape[1]
        whole = np.zeros(vertices.shape[1]) if full else project_origin(vertices, root)[0]
        if polytope.distance_outside(whole[None])[0] <= S_TOLERANCE * scale:
            _add_point(found, whole, score, vertices, slack, scale)
    dimensions = [polytope.face_dimension(point, S_TOLERANCE * scale) for point in found]
    return LimitSet(np.array(found).reshape(-1, vertices.shape[1]), np.array(dimensions, dtype=np.int64))


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
    found: list[np.ndarray],
    point: np.ndarray,
    score: np.ndarray,
    vertices: np.ndarray,
    slack: float,
    scale: float,
) -> None:
    normal = score @ point
    if (vertices @ normal).max() > point @ normal + slack:
        return
    if all(np.abs(point - other).max() > S_TOLERANCE * scale for other in found):
        found.append(point)


def _root(score: np.ndarray) -> np.ndarray:
    """Return ``R`` with ``R^T R = A``."""
    if not np.allclose(score, score.T, rtol=0, atol=1e-12 * float(np.abs(score).max())):
        raise BadInputError("S is defined for a symmetric score matrix A; this one is not symmetric")
    try:
        return np.asarray(np.linalg.cholesky(score).T)
    except np.linalg.LinAlgError:
        raise BadInputError("S is defined for a positive definite score matrix A; this one is not") from None


@dataclass(frozen=True)
class LimitPrediction:
    """Where each token ends, in closed form, from the few layers until its leader is fixed.

    Attributes
    ----------
    limits
        ``(tokens, dim)``: the limit of each token; NaN where unsettled.
    kinds
        ``(tokens,)`` str: ``"vertex"`` (a leader's place), ``"face"`` (projection onto a face, an exact tie),
        ``"unsettled"`` (not decided within ``layers`` layers).
    leaders
        ``(leaders,)``: the tokens that lead, in the order in which they began to; of coinciding tokens the
        lowest index stands for all.
    leader_layers
        ``(leaders,)``: the layer at which each first led itself; above 0 for an emerging leader.
    settled_layers
        ``(tokens,)``: the layer from which the limit is certain; -1 where unsettled.
    settled_states
        ``(tokens, dim)``: the token at that layer.
    alpha
        Step parameter.
    layers
        Attention layers that were needed.
    """

    limits: Float[np.ndarray, "tokens dim"]
    kinds: np.ndarray
    leaders: Int[np.ndarray, " leaders"]
    leader_layers: Int[np.ndarray, " leaders"]
    settled_layers: Int[np.ndarray, " tokens"]
    settled_states: Float[np.ndarray, "tokens dim"]
    alpha: float
    layers: int

    def at(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return ``x_i + c^(layer - k_i) (z_i(k_i) - x_i)`` for a layer at which every token is settled.

        ``x_i`` is the limit and ``k_i`` the settled layer. Rows of tokens not settled by then are NaN.
        """
        age = (layer - self.settled_layers).astype(np.float64)
        shrink = (1.0 + self.alpha) ** -np.maximum(age, 0.0)
        states = self.limits + shrink[:, None] * (self.settled_states - self.limits)
        states[(age < 0) | (self.settled_layers < 0)] = np.nan
        return states


def predict_limits(
    tokens: Float[np.ndarray, "tokens dim"],
    alpha: float,
    score: Float[np.ndarray, "dim dim"] | None = None,
    *,
    tie_tolerance: float = 0.0,
    max_layers: int = 2000,
) -> LimitPrediction:
    """Predict the limit of every token from the leaders.

    Layers are run only until every token follows a point that is known to stay: the freeze theorem (our
    own) says that a token whose only leader leads itself follows it for ever,
    ``z_i(k + l) = v + (1 + alpha)^(-l) (z_i(k) - v)``: expand ``<A z_i', z_j'>`` bilinearly, each of the four
    terms is bounded by that of ``v``. A token that ties between fixed points ``T`` stays tied exactly when
    ``<A mean(T), t>`` is the same for all ``t`` in ``T`` and not less than that of any other token; then it
    ends at ``mean(T)``, which is the A-projection of the origin onto the face that ``T`` spans. Rounding may
    break such a tie: the token's way is followed in the arithmetic of the run before it is said to last.
    ``A`` need not be symmetric.

    Raises
    ------
    BadInputError
        For bad tokens, a bad matrix or ``alpha <= 0``.

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
    settling = _Settling(checked_tokens(tokens), Layer(alpha, (Head(score=score, tie_tolerance=tie_tolerance),)))
    layer = 0
    for layer in range(max_layers + 1):
        if settling.advance(layer):
            break
    return LimitPrediction(
        settling.limits,
        settling.kinds,
        np.array(settling.leaders, dtype=np.int64),
        np.array(settling.leader_layers, dtype=np.int64),
        settling.settled_layers,
        settling.settled_states,
        alpha,
        layer + 1,
    )


class _Settling:
    """Tokens on their way through the layers, until the limit of each is certain; only open tokens attend."""

    def __init__(self, tokens: Float[np.ndarray, "tokens dim"], layer_map: Layer) -> None:
        self.state, self.layer_map = tokens, layer_map
        self.near = COINCIDENCE * (float(np.abs(tokens).max()) or 1.0)
        self.limits = np.full_like(tokens, np.nan)
        self.settled_states = np.full_like(tokens, np.nan)
        self.settled_layers = np.full(len(tokens), -1, dtype=np.int64)
        self.kinds = np.full(len(tokens), "unsettled", dtype="<U9")
        self.leaders: list[int] = []
        self.leader_layers: list[int] = []

    def advance(self, layer: int) -> bool:
        """Settle what can be settled, then move all tokens by one layer; return whether nothing is left to do."""
        share = self.layer_map.alpha / (1 + self.layer_map.alpha)
        rows = np.flatnonzero(self.settled_layers < 0)
        step = self.layer_map.heads[0].attend(self.state, rows=rows)
        one_point = step.tie_spreads <= self.near
        self._settle_leaders(rows, step.leaders, one_point, layer)
        self._settle_followers(rows, step.leaders, one_point, layer)
        tied = ~one_point
        stays = _persistent_ties(self.state, rows[tied], step.means[tied], self.layer_map, self._at_limit(), self.near)
        self._settle(rows[tied][stays], step.means[tied][stays], "face", layer)
        target = self.limits.copy()
        target[rows] = step.means
        with np.errstate(over="ignore", invalid="ignore"):
            moved = self.state + share * (target - self.state)
        if np.array_equal(moved, self.state):
            rest = np.flatnonzero(self.settled_layers < 0)
            self._settle(rest, self.state[rest], "face", layer)
        self.state = moved
        return bool((self.settled_layers >= 0).all() or not np.isfinite(moved).all())

    def _settle(self, rows: np.ndarray, limits: np.ndarray, kinds: np.ndarray | str, layer: int) -> None:
        self.limits[rows], self.kinds[rows] = limits, kinds
        self.settled_layers[rows], self.settled_states[rows] = layer, self.state[rows]

    def _settle_leaders(self, rows: np.ndarray, leaders: np.ndarray, one_point: np.ndarray, layer: int) -> None:
        """Settle the tokens that follow the point on which they sit."""
        leads = one_point & same_points(self.state[rows], self.state[leaders], self.near)
        self._settle(rows[leads], self.state[leaders[leads]], "vertex", layer)
        new = np.unique(leaders[leads])
        self.leaders.extend(map(int, new))
        self.leader_layers.extend([layer] * len(new))

    def _settle_followers(self, rows: np.ndarray, leaders: np.ndarray, one_point: np.ndarray, layer: int) -> None:
        """Settle the tokens that follow a single point that stays."""
        follows = one_point & (self.settled_layers[rows] < 0) & self._at_limit()[leaders]
        chosen = leaders[follows]
        self._settle(rows[follows], self.limits[chosen], self.kinds[chosen], layer)

    def _at_limit(self) -> np.ndarray:
        """Return which tokens are settled and sit at their limit."""
        known = self.settled_layers >= 0
        known[known] = same_points(self.state[known], self.limits[known], self.near)
        return known


def _persistent_ties(
    state: np.ndarray, tied: np.ndarray, means: np.ndarray, layer_map: Layer, at_limit: np.ndarray, near: float
) -> list[int]:
    """Return the places in ``tied`` of the tokens whose tie is between points that stay, and survives the move."""
    if tied.size == 0 or not at_limit.any():
        return []
    head = layer_map.heads[0]
    queries, keys = head.queries(state), head.keys(state)
    radius = float(np.sqrt((keys * keys).sum(axis=1)).max())
    stays = []
    for place, (token, mean) in enumerate(zip(tied, means, strict=True)):
        scores = canonical_scores(queries[token : token + 1], keys)[0]
        slack = head.tie_tolerance * float(np.sqrt(queries[token] @ queries[token])) * radius
        members = np.flatnonzero(scores >= scores.max() - slack)
        if not (at_limit[members] | (np.abs(state[members] - mean).max(axis=1) <= near)).all():
            continue
        query = head.queries(mean[None])
        pulls = canonical_scores(query, keys)[0]
        allowed = S_TOLERANCE * float(np.sqrt((query * query).sum())) * radius
        if pulls.max() <= pulls[members].min() + allowed and _keeps_tie(state, int(token), members, layer_map, radius):
            stays.append(place)
    return stays


def _keeps_tie(state: np.ndarray, token: int, members: np.ndarray, layer_map: Layer, radius: float) -> bool:
    """Follow one token towards the mean of its tie, as the layers compute it, until it stands still."""
    head, share = layer_map.heads[0], layer_map.alpha / (1 + layer_map.alpha)
    places, own = state[members].copy(), members == token
    place = state[token]
    for _ in range(MAX_TIE_LAYERS):
        query = head.queries(place[None])
        scores = canonical_scores(query, head.keys(places))[0]
        if scores.min() < scores.max() - head.tie_tolerance * float(np.sqrt((query * query).sum())) * radius:
            return False
        mean = np.cumsum(places, axis=0)[-1] / len(places)
        moved = place + share * (mean - place)
        if np.array_equal(moved, place):
            return True
        place = moved
        places[own] = place
    return False


def leading_polytope(prediction: LimitPrediction) -> Polytope | None:
    """Return K, the hull of the leaders; None when no leader was found or the dimension is too high."""
    if len(prediction.leaders) == 0:
        return None
    try:
        return convex_hull(prediction.limits[prediction.leaders])
    except BadInputError:
        return None
