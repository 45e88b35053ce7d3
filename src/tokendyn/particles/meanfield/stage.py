"""The coordinates in which a mean-field run is drawn: the circle, the sphere, or the three main directions."""

import math

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from tokendyn.particles.meanfield.model import MeanFieldRun
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL, QUIET

#: Largest number of tokens that are all drawn; of more, an even sample.
MOST_TOKENS = 3000
#: Height of the eye above the horizontal plane, and its direction around the vertical, in degrees.
ELEVATION, AZIMUTH = 24.0, -60.0
#: Sectors of the histogram around the circle.
_SECTORS = 72


class Stage:
    """The coordinates in which a run is drawn.

    On the circle they are the tokens' own. Otherwise they are orthonormal directions, those of E first, then those in
    which the tokens spread most over the whole run.

    Attributes
    ----------
    run
        The run.
    dim
        Dimension of the tokens.
    axes
        ``(dim, 2 or 3)``.
    drawn
        Numbers of the tokens that are drawn.
    colours
        ``(drawn, 4)``: two colours for the two sides of the separatrix, when E is a line; around a wheel by the angle
        of the projection in E, when E is a plane; one colour otherwise.
    """

    def __init__(self, run: MeanFieldRun):
        self.run = run
        self.dim = run.trajectory.states.shape[2]
        count = len(run.trajectory.weights)
        self.drawn = np.unique(np.linspace(0, count - 1, min(count, MOST_TOKENS)).round().astype(np.int64))
        self.axes = np.eye(2) if self.dim == 2 else _directions(run, self.drawn)
        self.colours = self._colours()

    def points(self, state: int) -> Float[np.ndarray, "drawn axes"]:
        """Return the drawn tokens of one state in the coordinates of the stage."""
        return np.asarray(self.run.trajectory.states[state][self.drawn] @ self.axes)

    @property
    def note(self) -> str:
        """The meaning of the axes above dimension 3, in words."""
        inside = min(self.run.projection.dimension, 3)
        return (
            f"{self.dim} dimensions, seen in three: {inside} of E, and {3 - inside} in which the tokens spread most; "
            "the circle is the edge of the ball"
        )

    def _colours(self) -> np.ndarray:
        projection, start = self.run.projection, self.run.trajectory.states[0][self.drawn]
        if projection.dimension == 1:
            pair = [mpl.colors.to_rgba(LEADER_COLOURS[1]), mpl.colors.to_rgba(LEADER_COLOURS[0])]
            return np.array(pair)[(projection.sides(start) > 0).astype(np.int64)]
        if projection.dimension == 2:
            inside = self.run.targets[self.drawn] @ projection.basis
            turn = np.arctan2(inside[:, 1], inside[:, 0]) / (2 * math.pi) % 1.0
            wheel = np.asarray(mpl.colormaps["twilight_shifted"](0.12 + 0.76 * turn))
            wheel[:, :3] *= 0.85  # its palest part would vanish on the page
            return wheel
        return np.tile(mpl.colors.to_rgba(LEADER_COLOURS[0]), (len(start), 1))


def _directions(run: MeanFieldRun, rows: np.ndarray) -> np.ndarray:
    """Return three orthonormal directions: of E first, then the principal ones of all states outside."""
    states = run.trajectory.states
    some = np.unique(np.linspace(0, len(states) - 1, min(len(states), 8)).round().astype(np.int64))
    basis = run.projection.basis[:, :3]
    cloud = states[some][:, rows[:: max(1, len(rows) // 500)]].reshape(-1, states.shape[2])
    cloud = cloud - (cloud @ basis) @ basis.T
    rest = np.linalg.svd(cloud, full_matrices=False)[2][: 3 - basis.shape[1]].T
    axes = np.hstack([basis, rest])
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1.0, 1.0)
    if len(axes) == 3 and np.linalg.det(axes) < 0:
        axes[:, -1] *= -1
    return axes


def draw_moment(axes: Axes, stage: Stage, state: int, azimuth: float = AZIMUTH) -> None:
    """Draw the tokens of one state: on the circle with a histogram around it, else the sphere seen from a side."""
    axes.set_aspect("equal")
    axes.set_axis_off()
    if stage.dim == 2:
        _draw_circle(axes, stage, state)
    else:
        _draw_ball(axes, stage, state, azimuth)


def _draw_circle(axes: Axes, stage: Stage, state: int) -> None:
    turn = np.linspace(0, 2 * math.pi, 241)
    axes.plot(np.cos(turn), np.sin(turn), color=NEUTRAL, linewidth=0.7, zorder=1)
    points = stage.points(state)
    _draw_sectors(axes, stage, state)
    axes.scatter(points[:, 0], points[:, 1], s=_area(len(points)), c=stage.colours, linewidth=0, zorder=3)
    basis = stage.run.projection.basis
    if basis.shape[1] == 1:
        line = np.outer([-1, 1], basis[:, 0])
        axes.plot(line[:, 0], line[:, 1], color=QUIET, linewidth=0.7, linestyle=":", zorder=1)
        axes.scatter(line[:, 0], line[:, 1], marker="*", s=55, c="white", edgecolors=INK, linewidths=0.7, zorder=4)
    axes.set_xlim(-1.75, 1.75)
    axes.set_ylim(-1.75, 1.75)


def _draw_sectors(axes: Axes, stage: Stage, state: int) -> None:
    """Draw the share of tokens in each direction outside the circle; areas grow like the square root of the density."""
    trajectory = stage.run.trajectory
    angles = np.arctan2(trajectory.states[state, :, 1], trajectory.states[state, :, 0])
    edges = np.linspace(-math.pi, math.pi, _SECTORS + 1)
    shares = np.histogram(angles, edges, weights=trajectory.weights)[0]
    heights = 0.65 * np.sqrt(shares / max(shares.max(), 4 / _SECTORS))
    width = 2 * math.pi / _SECTORS
    for edge, height in zip(edges[:-1], heights, strict=True):
        if height > 0:
            corners = [(edge, 1.03), (edge + width, 1.03), (edge + width, 1.03 + height), (edge, 1.03 + height)]
            outline = [(r * math.cos(a), r * math.sin(a)) for a, r in corners]
            axes.fill(*zip(*outline, strict=True), color=NEUTRAL, alpha=0.55, linewidth=0, zorder=2)


def _draw_ball(axes: Axes, stage: Stage, state: int, azimuth: float) -> None:
    eye = _camera(azimuth)
    turn = np.linspace(0, 2 * math.pi, 241)
    axes.fill(np.cos(turn), np.sin(turn), color="#F4F6F9", zorder=0)
    axes.plot(np.cos(turn), np.sin(turn), color=NEUTRAL, linewidth=0.8, zorder=6)
    size = stage.run.projection.dimension
    if size == 2:
        _draw_ring(axes, eye)
    elif size == 1:
        ends = np.array([[1.0, 0, 0], [-1.0, 0, 0]]) @ eye.T
        axes.scatter(ends[:, 0], ends[:, 1], marker="*", s=60, c="white", edgecolors=INK, linewidths=0.7, zorder=5)
    points = stage.points(state) @ eye.T
    front = points[:, 2] >= 0
    area = _area(len(points))
    for side, strength, layer in ((~front, 0.22, 2), (front, 0.95, 4)):
        colours = stage.colours[side].copy()
        colours[:, 3] = strength
        axes.scatter(points[side, 0], points[side, 1], s=area, c=colours, linewidth=0, zorder=layer)
    axes.set_xlim(-1.06, 1.06)
    axes.set_ylim(-1.06, 1.06)


def _draw_ring(axes: Axes, eye: np.ndarray) -> None:
    """Draw the great circle of E: solid in front, dotted behind."""
    turn = np.linspace(0, 2 * math.pi, 241)
    ring = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=1) @ eye.T
    for behind, style in ((False, "-"), (True, ":")):
        part = np.where((ring[:, 2:] < 0) == behind, ring[:, :2], np.nan)
        axes.plot(part[:, 0], part[:, 1], style, color=QUIET, linewidth=0.8, zorder=3)


def _camera(azimuth: float) -> np.ndarray:
    """Return the rows right, up, towards the eye."""
    a, e = math.radians(azimuth), math.radians(ELEVATION)
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    toward = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    return np.stack([right, np.cross(toward, right), toward])


def _area(count: int) -> float:
    """Return the area of a dot in points squared, smaller when there are many."""
    return float(np.clip(70.0 / count**0.4, 1.2, 22.0))
