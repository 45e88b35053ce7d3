"""What the pictures of a scene share: drawn coordinates, the leader of each token, limits, sizes."""

from dataclasses import dataclass
from functools import cached_property
from typing import SupportsIndex

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from tokendyn.errors import BadInputError
from tokendyn.geometry import convex_hull
from tokendyn.show.palette import LeaderStyle, leader_styles
from tokendyn.show.scene import TokenScene

#: Places nearer than this share of the largest coordinate are one place.
SAME_PLACE = 1e-9

#: Star areas in points squared: the greatest, that of one ordinary token, and the least that can be seen.
LARGEST_STAR, UNIT_STAR, SMALLEST_STAR = 420.0, 105.0, 40.0

#: A moment in layers: whole numbers are layers.
Time = float | int

_LARGEST_COORDINATE = 1e120


@dataclass(frozen=True)
class Outline:
    """The convex hull of drawn points: filled polygons and the lines to draw."""

    polygons: list[Float[np.ndarray, "corners dim"]]
    edges: list[Float[np.ndarray, "2 dim"]]


class View:
    """A scene in the coordinates in which it is drawn.

    In one to three dimensions these are the coordinates themselves; above, the two leading principal axes
    of layer 0, and :attr:`note` says so. Where the first coordinate speaks for something (``scene.ends``), it is drawn
    as it is, with the leading principal axis of the others: on a principal axis, 0 and the two ends would be elsewhere.

    Attributes
    ----------
    points
        ``(layers + 1, tokens, drawn_dim)``.
    polytope, limit_points
        As in the scene, in drawn coordinates; None when unknown.
    axis_names
        One for each drawn coordinate.
    note
        What the projection loses, in words; empty when nothing.
    """

    def __init__(self, scene: TokenScene) -> None:
        _check(scene)
        self.scene = scene
        dim = scene.states.shape[2]
        self.note = ""
        if dim <= 3:
            self.points = scene.states
            self.polytope, self.limit_points = scene.polytope, scene.limit_points
            self.axis_names = tuple(f"x{axis + 1}" for axis in range(dim))
            return
        drawn = side_axes if scene.ends[1] else principal_axes
        centre, axes, share = drawn(scene.states[0])
        self.points = (scene.states - centre) @ axes.T
        self.polytope = None if scene.polytope is None else (scene.polytope - centre) @ axes.T
        self.limit_points = None if scene.limit_points is None else (scene.limit_points - centre) @ axes.T
        if scene.ends[1]:
            self.axis_names = ("first coordinate", "principal axis of the others")
            kept = f"the first coordinate and the leading principal axis of the other {dim - 1} at layer 0"
        else:
            self.axis_names = ("first principal axis", "second principal axis")
            kept = "the two leading principal axes of layer 0"
        self.note = f"Projection of {dim} dimensions on {kept}, which hold {_percent(share)} of its variance."

    @property
    def dim(self) -> int:
        """Number of drawn coordinates."""
        return int(self.points.shape[2])

    @cached_property
    def styles(self) -> tuple[LeaderStyle, ...]:
        """One style for each leader."""
        return leader_styles(self.masses, self.scene.neutral)

    @cached_property
    def masses(self) -> Float[np.ndarray, " leaders"]:
        """Mass of each leader's cluster, never below its own weight."""
        scene = self.scene
        return np.maximum(scene.leader_masses, scene.weights[scene.leaders])

    @cached_property
    def star_areas(self) -> Float[np.ndarray, " leaders"]:
        """Area of each star in points squared: proportional to mass between the least and greatest drawn.

        The greatest belongs to the heaviest leader that is not the neutral one; only a neutral one can be
        heavier, and is then drawn no larger.
        """
        if not len(self.masses):
            return np.zeros(0)
        opinions = np.delete(self.masses, self.scene.neutral) if self.scene.neutral >= 0 else self.masses
        heaviest = opinions.max() if len(opinions) else self.masses.max()
        largest = max(LARGEST_STAR * min(1.0, (16 / len(self.masses)) ** 0.5), 60.0)
        per_mass = min(largest / heaviest, UNIT_STAR / float(np.median(self.scene.weights)))
        return np.clip(self.masses * per_mass, SMALLEST_STAR, largest)

    @property
    def unscaled_stars(self) -> bool:
        """Whether some star is larger or smaller than its mass asks for."""
        if len(self.masses) < 2:
            return False
        shares = self.star_areas / self.masses
        return bool(np.ptp(shares) > 1e-9 * shares.max())

    @cached_property
    def followed_leaders(self) -> Int[np.ndarray, "layers tokens"]:
        """Place in ``scene.leaders`` of the leader that each token follows at each layer, -1 for none.

        Places are compared by value, since a follower that has reached its leader ties with it. -1 also
        stands for several at once, see :attr:`follows_several`.
        """
        return np.where(self.follows_several, -1, self._named_leaders)

    @cached_property
    def follows_several(self) -> Bool[np.ndarray, "layers tokens"]:
        """Which tokens follow several at once: they end with no leader and do not move towards the one named."""
        scene = self.scene
        several = np.zeros(self._named_leaders.shape, dtype=bool)
        lost = np.flatnonzero(scene.leader_of < 0)
        for layer in range(scene.layers if lost.size else 0):
            now = scene.states[layer][lost]
            step = scene.states[layer + 1][lost] - now
            way = scene.states[layer][scene.followed[layer, lost]] - now
            size, length = np.linalg.norm(step, axis=1), np.linalg.norm(way, axis=1)
            aligned = (step * way).sum(axis=1) >= (1 - 1e-6) * size * length
            straight = (length <= self._tolerance) | ((size > self._tolerance) & aligned)
            several[layer, lost] = ~straight
        return several

    @cached_property
    def _tolerance(self) -> float:
        return SAME_PLACE * max(float(np.abs(self.scene.states[0]).max()), float(np.finfo(float).tiny))

    @cached_property
    def _named_leaders(self) -> Int[np.ndarray, "layers tokens"]:
        scene = self.scene
        if not scene.layers:
            return scene.leader_of[None]
        rows = [_leader_at(scene, layer, self._tolerance) for layer in range(scene.layers)]
        return np.array(rows, dtype=np.int64).reshape(scene.layers, -1)

    def follows(self, time: Time) -> Int[np.ndarray, " tokens"]:
        """Return the place of the leader followed at a time; after the last layer, as in the last one."""
        return self.followed_leaders[min(int(time), len(self.followed_leaders) - 1)]

    def positions(self, time: Time) -> Float[np.ndarray, "tokens drawn"]:
        """Return the tokens at a time between two layers; they move on straight lines."""
        layer = min(int(time), self.scene.layers)
        if layer == self.scene.layers:
            return self.points[layer]
        share = time - layer
        return (1 - share) * self.points[layer] + share * self.points[layer + 1]

    def present(self, time: Time) -> Int[np.ndarray, " present"]:
        """Return the places of the leaders that lead at a time."""
        return np.flatnonzero(self.scene.leader_layers <= int(time))

    @cached_property
    def box(self) -> Float[np.ndarray, "drawn 2"]:
        """Least and greatest drawn coordinate of all layers, with a margin; never flat."""
        corners = [self.points.min(axis=(0, 1)), self.points.max(axis=(0, 1))]
        for extra in (self.polytope, self.limit_points):
            if extra is not None and len(extra):
                corners += [extra.min(axis=0), extra.max(axis=0)]
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        widest = float((high - low).max()) or max(float(np.abs(high).max()), 1.0)
        margin = 0.09 * widest
        return np.stack([low - margin, high + margin], axis=1)

    @cached_property
    def still_from(self) -> int:
        """First layer from which nothing visibly moves any more."""
        moved = np.abs(np.diff(self.points, axis=0)).max(axis=(1, 2)) if self.scene.layers else np.zeros(0)
        visible = np.flatnonzero(moved > 2e-3 * float(np.ptp(self.box, axis=1).max()))
        return int(visible[-1]) + 1 if visible.size else 0

    @cached_property
    def unchanged_from(self) -> int:
        """First layer from which every token follows the same leader."""
        changed = np.flatnonzero((np.diff(self.followed_leaders, axis=0) != 0).any(axis=1))
        return int(changed[-1]) + 1 if changed.size else 0

    def leader_name(self, place: SupportsIndex) -> str:
        """Return the label of a leader."""
        return self.scene.labels[int(self.scene.leaders[place])]


def _check(scene: TokenScene) -> None:
    if 0 in scene.states.shape:
        raise BadInputError(f"a scene needs states, tokens and coordinates, got shape {scene.states.shape}")
    largest = float(np.abs(scene.states).max())
    if not largest < _LARGEST_COORDINATE:
        raise BadInputError(f"the tokens reach {largest:.2g}, which cannot be drawn; draw fewer layers of this run")


def _leader_at(scene: TokenScene, layer: int, tolerance: float) -> Int[np.ndarray, " tokens"]:
    """Return the place of the leader that stands where the followed token stands, -1 for none."""
    now, target = scene.states[layer], scene.followed[layer]
    lead = np.flatnonzero(scene.leader_layers <= layer)
    leader_of = np.full(len(now), -1, dtype=np.int64)
    if not lead.size:
        return leader_of
    targets = np.unique(target)
    gaps, nearest = cKDTree(now[scene.leaders[lead]]).query(now[targets], p=np.inf)
    leader_of[targets] = np.where(gaps <= tolerance, lead[nearest], -1)
    leader_of[scene.leaders[lead]] = lead
    follows = leader_of[target]
    follows[scene.leaders[lead]] = lead
    return follows


def principal_axes(
    points: Float[np.ndarray, "points dim"],
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, "2 dim"], float]:
    """Return the mean, the two leading principal axes and the share of variance that they hold.

    The sign of each axis is fixed by its largest coordinate, so the same points give the same picture.
    """
    centre = points.mean(axis=0)
    offsets = points - centre
    variances, axes = np.linalg.eigh(offsets.T @ offsets)
    axes = axes[:, ::-1][:, :2].T
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
    total = float(variances.sum())
    return centre, axes * signs[:, None], float(variances[-2:].sum()) / total if total > 0 else 1.0


def side_axes(
    points: Float[np.ndarray, "points dim"],
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, "2 dim"], float]:
    """Return :func:`principal_axes` with the first coordinate itself, about 0, as the first axis.

    The second axis is the leading principal axis of the other coordinates.
    """
    centre, axes, _ = principal_axes(points[:, 1:])
    offsets = points - points.mean(axis=0)
    first, others = float((offsets[:, 0] ** 2).sum()), float((offsets[:, 1:] ** 2).sum())
    second = offsets[:, 1:] @ axes[0]
    held = (first + float(second @ second)) / (first + others) if first + others > 0 else 1.0
    return np.append(0.0, centre), np.stack([np.eye(points.shape[1])[0], np.append(0.0, axes[0])]), held


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.9995 else "all"


def outline(points: Float[np.ndarray, "points dim"]) -> Outline:
    """Return the hull of drawn points; nothing to draw for a single place or an unresolvable set."""
    try:
        hull = convex_hull(points)
    except BadInputError:
        return Outline([], [])
    corners = hull.vertices
    if hull.dimension == 0:
        return Outline([], [])
    if hull.dimension == 1:
        return Outline([], [corners])
    if hull.dimension == 2:
        return Outline([corners], list(np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)))
    return Outline(list(corners[hull.facets]), _ridges(corners, hull.facets))


def _ridges(corners: np.ndarray, facets: np.ndarray) -> list[np.ndarray]:
    """Return the edges of a triangulated surface between triangles that are not in one plane."""
    a, b, c = (corners[facets[:, column]] for column in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
    sides: dict[tuple[int, int], list[int]] = {}
    for number, facet in enumerate(facets):
        for first, second in ((0, 1), (1, 2), (0, 2)):
            low, high = sorted((int(facet[first]), int(facet[second])))
            sides.setdefault((low, high), []).append(number)
    return [
        corners[list(ends)]
        for ends, near in sides.items()
        if len(near) < 2 or abs(float(normals[near[0]] @ normals[near[1]])) < 1 - 1e-6
    ]
