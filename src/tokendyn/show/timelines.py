"""Tokens on a line, drawn over the layers: the picture of one-dimensional scenes."""

from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba_array

from tokendyn.show.drawing import FACE_MARK, HULL_LINE, K_FILL, VERTEX_MARK, token_area, token_colours, trail_tokens
from tokendyn.show.palette import INK, NEUTRAL
from tokendyn.show.views import Time, View


def shown_layers(view: View) -> int:
    """Return the number of layers in the picture: until nothing moves any more, and a little longer."""
    return min(view.scene.layers, max(view.still_from + 2, 3))


def draw_ground(axes: Axes, view: View) -> None:
    """Shade K and mark S at the right edge."""
    end = shown_layers(view)
    if view.polytope is not None and len(view.polytope):
        axes.axhspan(float(view.polytope.min()), float(view.polytope.max()), color=K_FILL, lw=0, zorder=0, gid="K")
    points, dimensions = view.limit_points, view.scene.limit_dimensions
    if points is None or dimensions is None:
        return
    for chosen, marker, fill in ((dimensions == 0, VERTEX_MARK, "none"), (dimensions > 0, FACE_MARK, "white")):
        if chosen.any():
            layers = np.full(int(chosen.sum()), end + 0.025 * max(end, 1))
            style: dict[str, Any] = {
                "s": 30,
                "marker": marker,
                "facecolors": fill,
                "edgecolors": INK,
                "linewidths": 0.9,
            }
            axes.scatter(layers, points[chosen, 0], zorder=6, clip_on=False, gid=f"S-{marker}", **style)


def draw_until(axes: Axes, view: View, time: Time) -> list[Artist]:
    """Draw the ways of the tokens until a time, the tokens there, and each star where it begins to lead."""
    time = min(time, float(shown_layers(view)))
    drawn: list[Artist] = [*_draw_hull(axes, view, time), *_draw_ways(axes, view, time)]
    now = view.positions(time)[:, 0]
    colours, follows = token_colours(view, time)
    area = token_area(view)
    for gid, chosen in (("tokens", follows), ("tokens-without-leader", ~follows)):
        if chosen.any():
            drawn.append(
                axes.scatter(
                    np.full(int(chosen.sum()), time),
                    now[chosen],
                    s=area,
                    facecolors=colours[chosen] if gid == "tokens" else "white",
                    edgecolors="white" if gid == "tokens" else NEUTRAL,
                    linewidths=0.5,
                    zorder=4,
                    gid=gid,
                )
            )
    return drawn + _draw_stars(axes, view, time)


def _draw_hull(axes: Axes, view: View, time: Time) -> list[Artist]:
    times = _times(time)
    ends = np.array([[(p := view.positions(t)[:, 0]).min(), p.max()] for t in times])
    return list(axes.plot(times, ends, color=HULL_LINE, lw=0.9, zorder=1, gid="hull"))


def _times(time: Time) -> np.ndarray:
    return np.unique(np.append(np.arange(int(time) + 1), time))


def _draw_ways(axes: Axes, view: View, time: Time) -> list[Artist]:
    times = _times(time)
    if len(times) < 2:
        return []
    chosen = trail_tokens(view.points.shape[1])
    table = to_rgba_array([style.colour for style in view.styles] + [NEUTRAL])
    table[:, 3] = 0.75 if len(chosen) <= 60 else 0.35
    values = np.array([view.positions(t)[chosen, 0] for t in times])
    ends = np.stack([np.broadcast_to(times[:, None], values.shape), values], axis=2)
    segments = np.stack([ends[:-1], ends[1:]], axis=2).reshape(-1, 2, 2)
    colours = table[np.array([view.follows(t)[chosen] for t in times[:-1]])].reshape(-1, 4)
    style: dict[str, Any] = {"colors": colours, "linewidths": 1.2 if len(chosen) <= 60 else 0.7}
    lines = LineCollection(list(segments), zorder=2, gid="trails", rasterized=len(chosen) >= 400, **style)
    return [axes.add_collection(lines, autolim=False)]


def _draw_stars(axes: Axes, view: View, time: Time) -> list[Artist]:
    """Draw each leader's star at the layer from which it leads."""
    leaders = view.present(time)
    drawn: list[Artist] = []
    for leader in leaders:
        layer, style = int(view.scene.leader_layers[leader]), view.styles[leader]
        drawn.append(
            axes.scatter(
                [layer],
                [view.points[layer, view.scene.leaders[leader], 0]],
                s=view.star_areas[leader],
                c=style.colour,
                marker=style.marker,
                edgecolors="white",
                linewidths=0.7,
                zorder=5,
                clip_on=False,
                gid="stars",
            )
        )
    return drawn
