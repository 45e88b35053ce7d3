"""The marks of a picture: hulls, limits, trails, tokens, stars, at any time of the motion."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_rgba_array
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import IdentityTransform
from mpl_toolkits.mplot3d.art3d import (  # type: ignore[import-untyped]
    Line3DCollection,
    Poly3DCollection,
)

from tokendyn.show.palette import INK, NEUTRAL, QUIET
from tokendyn.show.views import Time, View, outline

#: Fill of the limiting polytope K, and of the hull of one layer.
K_FILL, HULL_FILL, HULL_LINE = "#E9ECF1", "#C6CCD4", "#A3ABB6"

#: Above these numbers of tokens: no lines to the followed token, trails of some only, bitmap marks.
MOST_ARROWS, MOST_TRAILS, MOST_VECTOR = 60, 400, 1500

#: Marks of S: vertices and face projections.
VERTEX_MARK, FACE_MARK = "s", "X"

_MOST_FACETS, _MOST_FACE_MARKS = 400, 60


def token_colours(view: View, time: Time) -> tuple[Float[np.ndarray, "tokens 4"], np.ndarray]:
    """Return the colour of each token at a time, and which follow a leader."""
    table = to_rgba_array([style.colour for style in view.styles] + [NEUTRAL])
    follows = view.follows(time)
    return table[follows], follows >= 0


def token_area(view: View) -> float:
    """Return the area of a token's dot in points squared, smaller when there are many."""
    return float(np.clip(62.0 / view.points.shape[1] ** 0.37, 0.8, 26.0))


def draw_polytope(axes: Axes, view: View) -> list[Artist]:
    """Shade the limiting polytope K."""
    if view.polytope is None or not len(view.polytope):
        return []
    return _draw_hull(axes, view.polytope, K_FILL, "#D4D9E1", 0.0, "K", alpha=0.22 if view.dim == 3 else 1.0)


def draw_limits(axes: Axes, view: View) -> list[Artist]:
    """Mark the set S: vertices of K by squares, face projections by crosses."""
    points, dimensions = view.limit_points, view.scene.limit_dimensions
    if points is None or dimensions is None:
        return []
    few = len(points) <= 40
    common: dict[str, Any] = {"zorder": 6, "edgecolors": INK}
    drawn: list[Artist] = []
    if (dimensions == 0).any():
        style = {"s": 12.0 if few else 7.0, "marker": VERTEX_MARK, "facecolors": "none", "linewidths": 0.8}
        drawn.append(add_marks(axes, points[dimensions == 0], gid="S-vertices", **style, **common))
    faces = points[dimensions > 0]
    if len(faces):
        style = {"s": 28.0 if few else 9.0, "marker": FACE_MARK, "facecolors": "white", "linewidths": 0.8}
        if len(faces) > _MOST_FACE_MARKS:
            common |= {"edgecolors": "none", "zorder": 1.5}
            style = {"s": 5.0, "marker": FACE_MARK, "facecolors": QUIET, "alpha": 0.6}
        drawn.append(add_marks(axes, faces, gid="S-faces", **style, **common))
    return drawn


def draw_moment(axes: Axes, view: View, time: Time, *, arrows: bool = True) -> list[Artist]:
    """Draw the hull, trails, followed tokens, tokens and stars of one time; return what was drawn.

    A whole number is a layer; between two, the tokens are on their straight lines.
    """
    positions = view.positions(time)
    drawn = _draw_hull(axes, positions, "none", HULL_LINE, 0.9 if view.dim == 2 else 0.5, "hull", alpha=0.8)
    drawn += _draw_trails(axes, view, time)
    if arrows and view.points.shape[1] <= MOST_ARROWS:
        drawn += _draw_arrows(axes, view, time, positions)
    drawn += _draw_tokens(axes, view, time, positions)
    return drawn + draw_stars(axes, view, time, positions)


def draw_stars(axes: Axes, view: View, time: Time, positions: Float[np.ndarray, "tokens dim"]) -> list[Artist]:
    """Draw the leaders of a time as stars whose area is the mass of their cluster."""
    present = view.present(time)
    order = present[np.argsort(-view.masses[present], kind="stable")]
    drawn: list[Artist] = []
    for marker in dict.fromkeys(view.styles[leader].marker for leader in order):
        group = np.array([leader for leader in order if view.styles[leader].marker == marker])
        drawn.append(
            add_marks(
                axes,
                positions[view.scene.leaders[group]],
                s=view.star_areas[group],
                facecolors=to_rgba_array([view.styles[leader].colour for leader in group]),
                marker=marker,
                edgecolors="white",
                linewidths=np.clip(np.sqrt(view.star_areas[group]) / 24, 0.15, 0.7),
                zorder=5,
                gid="stars",
            )
        )
    return drawn


def _draw_tokens(axes: Axes, view: View, time: Time, positions: np.ndarray) -> list[Artist]:
    leads = np.zeros(len(positions), dtype=bool)
    leads[view.scene.leaders[view.present(time)]] = True
    if len(positions) > MOST_VECTOR:
        return _draw_crowd(axes, view, time, positions, leads)
    colours, follows = token_colours(view, time)
    weights = view.scene.weights
    areas = token_area(view) * np.clip(weights / np.median(weights), 0.6, 4.0)
    drawn: list[Artist] = []
    for gid, chosen in (("tokens", follows & ~leads), ("tokens-without-leader", ~follows & ~leads)):
        if not chosen.any():
            continue
        hollow = gid != "tokens"
        drawn.append(
            add_marks(
                axes,
                positions[chosen],
                s=areas[chosen],
                facecolors="white" if hollow else colours[chosen],
                edgecolors=NEUTRAL if hollow else "white",
                linewidths=1.0 if hollow else 0.4,
                zorder=4,
                gid=gid,
            )
        )
    return drawn


def _draw_crowd(axes: Axes, view: View, time: Time, positions: np.ndarray, leads: np.ndarray) -> list[Artist]:
    """Draw very many tokens as small dots, one artist for each colour; they become a bitmap in SVG and PDF."""
    follows = view.follows(time)
    colours = [style.colour for style in view.styles] + [NEUTRAL]
    drawn: list[Artist] = []
    for leader in range(-1, len(view.styles)):
        chosen = (follows == leader) & ~leads
        if chosen.any():
            drawn += axes.plot(
                *positions[chosen].T,
                ls="none",
                marker="o",
                ms=token_area(view) ** 0.5,
                mew=0,
                color=colours[leader],
                alpha=0.7,
                zorder=3.9 if leader < 0 else 4,
                gid="tokens" if leader >= 0 else "tokens-without-leader",
                rasterized=True,
            )
    return drawn


def _draw_trails(axes: Axes, view: View, time: Time) -> list[Artist]:
    """Draw the way since layer 0, each piece in the colour of the leader followed on it."""
    count = view.points.shape[1]
    last = min(int(np.ceil(time)), view.still_from + 1, view.scene.layers)
    if not last:
        return []
    chosen = trail_tokens(count)
    table = to_rgba_array([style.colour for style in view.styles] + [NEUTRAL])
    table[:, 3] = 0.55 if count <= MOST_TRAILS else 0.25
    pieces, colours = [], []
    for layer in range(last):
        end = view.positions(min(time, layer + 1))[chosen]
        start = view.points[layer][chosen]
        moves = np.abs(end - start).max(axis=1) > 0
        pieces.append(np.stack([start, end], axis=1)[moves])
        colours.append(table[view.followed_leaders[layer][chosen][moves]])
    segments = np.concatenate(pieces)
    if not len(segments):
        return []
    style = {"colors": np.concatenate(colours), "linewidths": 1.0, "zorder": 2, "gid": "trails"}
    return [_add_lines(axes, segments, rasterized=count > MOST_TRAILS, **style)]


def trail_tokens(count: int) -> np.ndarray:
    """Return the tokens whose trails are drawn: all, or evenly spaced ones when there are many."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_TRAILS)).astype(np.int64))


def _draw_arrows(axes: Axes, view: View, time: Time, positions: np.ndarray) -> list[Artist]:
    """Draw thin lines from the tokens to those they follow; none for one that follows several."""
    scene = view.scene
    if time >= scene.layers:
        return []
    targets = positions[scene.followed[int(time)]]
    colours, _ = token_colours(view, time)
    extent = float(np.ptp(view.box, axis=1).max())
    far = np.linalg.norm(targets - positions, axis=1) > 0.03 * extent
    far &= ~view.follows_several[int(time)]
    if not far.any():
        return []
    colours = colours.copy()
    colours[:, 3] = 0.55 if len(positions) <= 15 else 0.35
    segments = np.stack([positions[far], targets[far]], axis=1)
    style = {"colors": colours[far], "linewidths": 0.7, "linestyles": (0, (4, 2)), "zorder": 1.8, "gid": "followed"}
    return [_add_lines(axes, segments, **style)]


def _draw_hull(
    axes: Axes, points: np.ndarray, fill: str, line: str, width: float, gid: str, *, alpha: float
) -> list[Artist]:
    shape = outline(points)
    drawn: list[Artist] = []
    crowded = len(shape.polygons) > _MOST_FACETS
    if shape.polygons and fill != "none":
        style: dict[str, Any] = {"facecolors": fill, "edgecolors": "none", "alpha": alpha, "zorder": 0.5, "gid": gid}
        if points.shape[1] == 3:
            drawn.append(axes.add_collection3d(Poly3DCollection(shape.polygons, **style)))  # type: ignore[attr-defined]
        else:
            drawn.append(axes.add_collection(PolyCollection(shape.polygons, **style), autolim=False))
    if shape.edges and width and not crowded:
        drawn.append(
            _add_lines(axes, np.array(shape.edges), colors=line, linewidths=width, alpha=alpha, zorder=1, gid=gid)
        )
    elif shape.edges and points.shape[1] == 3:
        drawn.append(_add_lines(axes, np.array(shape.edges), colors=line, linewidths=0.3, alpha=0.4, zorder=1, gid=gid))
    return drawn


def add_marks(axes: Axes, points: Float[np.ndarray, "marks dim"], *, marker: Any = "o", s: Any, **style: Any) -> Artist:
    """Add a scatter of marks; in the plane without its costly search for new axis limits."""
    if points.shape[1] == 3:
        return axes.scatter(*points.T, marker=marker, s=s, depthshade=False, **style)  # type: ignore[misc]
    shape = MarkerStyle(marker)
    path = shape.get_path().transformed(shape.get_transform())
    sizes = np.broadcast_to(s, len(points))
    marks = PathCollection((path,), sizes, offsets=points, offset_transform=axes.transData, **style)
    marks.set_transform(IdentityTransform())
    return axes.add_collection(marks, autolim=False)


def _add_lines(axes: Axes, segments: Float[np.ndarray, "lines 2 dim"], **style: Any) -> Artist:
    if segments.shape[2] == 3:
        lines = Line3DCollection(segments, **style)
        axes.add_collection3d(lines)  # type: ignore[attr-defined]
        return lines
    return axes.add_collection(LineCollection(list(segments), **style), autolim=False)
