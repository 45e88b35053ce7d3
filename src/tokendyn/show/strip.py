"""The strip of who follows whom over the layers: no projection, whatever the dimension."""

import textwrap
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from tokendyn.show.labels import shown, text_width, write
from tokendyn.show.legends import mass_text
from tokendyn.show.palette import INK, NEUTRAL, QUIET
from tokendyn.show.scene import TokenScene
from tokendyn.show.views import View

#: Up to this number of tokens each has a row and its label; above, bands are as high as their mass.
MOST_ROWS = 60

_WIDTH, _NARROW, _NODE_INCHES, _SLICES, _PALE = 10.0, 4.4, 0.07, 24, 0.45
_MOST_COLUMNS, _FEWER_COLUMNS = 14, 5
_MOST_BANDS = 24
_SIZE = 8.0


def following_strip(scene: TokenScene, *, narrow: bool = False) -> Figure:
    """Draw which leader each token follows, layer after layer, as bands that flow.

    Each column is a layer, each block in it a leader with its followers at that layer, in the leader's
    colour; grey tokens follow no leader, or several. The last column is where the tokens end. With at most
    60 tokens each has a row of its own, in the order of its final leader; with more, heights are masses.
    Layers after the last change are left out, with a note in the figure.

    Parameters
    ----------
    scene
        What to draw, of any dimension.
    narrow
        Draw for a narrow screen, with fewer columns.
    """
    view = View(scene)
    width = _NARROW if narrow else _WIDTH
    columns = _columns(view, _FEWER_COLUMNS if narrow else _MOST_COLUMNS)
    rows = len(scene.labels) <= MOST_ROWS
    thickness = np.ones(len(scene.labels)) if rows else scene.weights
    flow = _Flow(view, columns, thickness, width)
    height = float(np.clip(0.165 * len(scene.labels) + 0.7, 1.6, 11.0)) if rows else 5.0
    title = f"Who follows whom: {scene.title}" if scene.title else "Who follows whom"
    notes = [line for note in _notes(view, columns, rows) for line in textwrap.wrap(note, round(16 * width))]
    top = 0.5 + 0.2 * len(notes)
    left = (max(_label_width(label) for label in scene.labels) + 12) / 72 if rows else 0.3
    left = max(left, 0.45)
    right = (max([_label_width(name) for name in flow.names], default=0) + 14) / 72
    total = height + top + 0.4
    figure = Figure(figsize=(width, total), dpi=100, facecolor="white")
    page = figure.add_axes((0, 0, 1, 1), zorder=-1)
    page.set_axis_off()
    write(
        page,
        0.12 / width,
        1 - 0.1 / total,
        title,
        12,
        round(9.5 * width),
        weight="bold",
        color=INK,
        va="top",
        gid="title",
    )
    for number, note in enumerate(notes):
        y = 1 - (0.38 + 0.2 * number) / total
        write(page, 0.12 / width, y, note, 8.5, 160, color=QUIET, va="top", gid="note")
    box = (left / width, 0.32 / total, 1 - (left + right) / width, height / total)
    axes = figure.add_axes(box)
    _draw(axes, flow, columns, view)
    _write_names(axes, flow, rows)
    return figure


def _label_width(label: str) -> float:
    return text_width(shown(label), _SIZE, "bold")


def _columns(view: View, most: int) -> list[int]:
    """Return the layers that get a column: up to the last change, thinned when they are very many."""
    if not view.scene.layers:
        return [0]
    last = min(view.unchanged_from + 1, view.scene.layers - 1)
    if last < most:
        return list(range(last + 1))
    before = np.flatnonzero((np.diff(view.followed_leaders, axis=0) != 0).any(axis=1))
    changes = np.unique(np.concatenate([[0, last], before, before + 1]))
    changes = changes[changes <= last]
    if len(changes) > most:
        changes = changes[np.unique(np.linspace(0, len(changes) - 1, most).astype(int))]
    return [int(layer) for layer in changes]


def _notes(view: View, columns: list[int], rows: bool) -> list[str]:
    kind = "One row for each token." if rows else "Heights are masses."
    notes = [f"{kind} Colour: the leader followed at the layer; grey: none, or several at once."]
    last = view.scene.layers - 1
    if columns[-1] < last:
        notes[0] += f" Nobody changes from layer {view.unchanged_from} on."
    skipped = [layer for layer in range(columns[-1]) if layer not in columns]
    if skipped:
        notes.append(f"{len(skipped)} layers in between are not drawn.")
    return notes


class _Flow:
    """Heights of every token in every column.

    Attributes
    ----------
    bands
        ``(columns + 1, tokens)`` band number in each column; the last column is where tokens end.
    lower
        ``(columns + 1, tokens)`` lower edge of each token; upper edge is ``lower + thickness``.
    """

    def __init__(self, view: View, columns: list[int], thickness: Float[np.ndarray, " tokens"], width: float) -> None:
        self.thickness, self.width = thickness, width
        self.view = view
        follows = np.concatenate([view.followed_leaders[columns], view.scene.leader_of[None]])
        self.order = _band_order(view)
        rows = np.append(np.argsort(self.order), len(self.order))
        self.bands = np.minimum(rows[follows], _MOST_BANDS)
        self.bands[follows < 0] = _MOST_BANDS + 1
        self.used = np.unique(self.bands)
        self.bands = np.searchsorted(self.used, self.bands)
        self.gap = 0.035 * thickness.sum() if len(self.used) <= 10 else 0.2 * thickness.sum() / len(self.used)
        if (thickness == 1).all() and len(thickness) <= MOST_ROWS:
            self.gap = 0.9 if len(self.used) <= 12 else 0.5
        history = [self.bands[column] for column in range(len(columns))]
        weight = -view.scene.weights
        self.lower = np.array(
            [
                self._stack(band, np.lexsort((np.arange(len(weight)), weight, *history, self.bands[-1], band)))
                for band in self.bands
            ]
        )

    @property
    def node(self) -> float:
        """Half the width of a block, where columns are 1 apart."""
        return _NODE_INCHES * (len(self.bands) - 1) / (self.width - 2)

    @property
    def total(self) -> float:
        """Height of the picture."""
        return float(self.thickness.sum() + self.gap * (len(self.used) - 1))

    @property
    def colours(self) -> Float[np.ndarray, "bands 3"]:
        """Colour of each band."""
        return np.array([to_rgb(self._style(number)) for number in self.used.tolist()])

    @property
    def names(self) -> list[str]:
        """Name of each band with the mass that ends in it."""
        masses = np.bincount(self.bands[-1], self.view.scene.weights, minlength=len(self.used))
        return [
            f"{self._name(number)} ({mass_text(mass)})"
            for number, mass in zip(self.used.tolist(), masses.tolist(), strict=True)
        ]

    def _style(self, number: int) -> str:
        return self.view.styles[self.order[number]].colour if number < len(self.order[:_MOST_BANDS]) else NEUTRAL

    def _name(self, number: int) -> str:
        if number < len(self.order[:_MOST_BANDS]):
            return shown(self.view.leader_name(int(self.order[number])), 18)
        return "no single leader" if number > _MOST_BANDS else "other leaders"

    def _stack(self, band: Int[np.ndarray, " tokens"], order: np.ndarray) -> Float[np.ndarray, " tokens"]:
        """Return lower edges with the first token on top; absent bands keep their gap."""
        lower = np.empty(len(band))
        heights = self.thickness[order]
        lower[order] = self.total - np.cumsum(heights) - self.gap * band[order]
        return lower


def _band_order(view: View) -> Int[np.ndarray, " leaders"]:
    """Return the leaders from the heaviest to the lightest, the neutral one last."""
    neutral = np.arange(len(view.masses)) == view.scene.neutral
    return np.lexsort((-view.masses, neutral))


def _draw(axes: Axes, flow: _Flow, columns: list[int], view: View) -> None:
    axes.set_axis_off()
    axes.set_xlim(-flow.node, len(columns) + flow.node)
    axes.set_ylim(-0.01 * flow.total, 1.01 * flow.total)
    for column in range(len(columns)):
        _draw_ribbons(axes, flow, column)
    for column in range(len(columns) + 1):
        _draw_blocks(axes, flow, column)
        text = f"layer {columns[column]}" if column < len(columns) else "ends with"
        short = (
            text
            if column in (0, len(columns)) or (len(columns) <= 7 and flow.width == _WIDTH)
            else str(columns[column])
        )
        axes.text(column, -0.02 * flow.total, short, fontsize=8.5, color=QUIET, ha="center", va="top", clip_on=False)


def _groups(flow: _Flow, column: int) -> list[np.ndarray]:
    """Return the tokens that share a ribbon to the next column: alone, or with their whole stream."""
    if len(flow.thickness) <= MOST_ROWS:
        return [np.array([token]) for token in range(len(flow.thickness))]
    # Tokens with one path from here to the end lie together in this column and in the next.
    _, stream = np.unique(flow.bands[column:].T, axis=0, return_inverse=True)
    stream = stream.reshape(-1)
    return np.split(np.argsort(stream, kind="stable"), np.cumsum(np.bincount(stream))[:-1])


def _draw_ribbons(axes: Axes, flow: _Flow, column: int) -> None:
    """Draw the ribbons from one column to the next; those that change colour lie on top."""
    table = flow.colours
    times = np.linspace(0, 1, _SLICES + 1)
    ease = times * times * (3 - 2 * times)
    for group in _groups(flow, column):
        start, end = table[flow.bands[column, group[0]]], table[flow.bands[column + 1, group[0]]]
        low = [flow.lower[side, group].min() for side in (column, column + 1)]
        high = [(flow.lower[side, group] + flow.thickness[group]).max() for side in (column, column + 1)]
        x = column + flow.node + times * (1 - 2 * flow.node)
        below, above = low[0] + ease * (low[1] - low[0]), high[0] + ease * (high[1] - high[0])
        inset = 0.06 * (above - below) * (len(flow.thickness) <= MOST_ROWS)
        lower, upper = np.stack([x, below + inset], axis=1), np.stack([x, above - inset], axis=1)
        style: dict[str, Any] = {"edgecolors": "none", "gid": "ribbons"}
        if np.array_equal(start, end):
            shapes, colours = [np.concatenate([lower, upper[::-1]])], [start]
        else:
            shapes = [np.array([lower[i], lower[i + 1], upper[i + 1], upper[i]]) for i in range(_SLICES)]
            shares = (ease[1:] + ease[:-1]) / 2
            colours = [(1 - share) * start + share * end for share in shares]
            style |= {"antialiaseds": False, "zorder": 1.5}
        pale = [1 - _PALE * (1 - colour) for colour in colours]
        axes.add_collection(PolyCollection(shapes, facecolors=pale, **{"zorder": 1, **style}), autolim=False)


def _draw_blocks(axes: Axes, flow: _Flow, column: int) -> None:
    shapes, colours = [], []
    for band in np.unique(flow.bands[column]):
        inside = flow.bands[column] == band
        low = flow.lower[column, inside].min()
        high = (flow.lower[column] + flow.thickness)[inside].max()
        left, right = column - flow.node, column + flow.node
        shapes.append([(left, low), (right, low), (right, high), (left, high)])
        colours.append(flow.colours[band])
    style: dict[str, Any] = {"facecolors": colours, "edgecolors": "none", "gid": "blocks"}
    axes.add_collection(PolyCollection(shapes, zorder=2, **style), autolim=False)


def _write_names(axes: Axes, flow: _Flow, rows: bool) -> None:
    """Write the tokens at the left, when they are few, and the leaders at the right."""
    middle = flow.lower + flow.thickness / 2
    last = len(flow.bands) - 1
    shift = 4 / 72 * (last + 2 * flow.node) / (axes.get_position().width * flow.width)
    if rows:
        leads = set(flow.view.scene.leaders.tolist())
        for token, label in enumerate(flow.view.scene.labels):
            style: dict[str, Any] = {
                "color": INK if token in leads else QUIET,
                "weight": "bold" if token in leads else "normal",
            }
            position = (-flow.node - shift, middle[0, token])
            write(axes, *position, label, _SIZE, ha="right", va="center_baseline", gid="token", **style)
    heights: list[float] = []
    least = 1.1 * _SIZE / 72 * flow.total / (axes.get_position().height * axes.figure.get_figheight())  # type: ignore[union-attr]
    for band, name in enumerate(flow.names):
        inside = flow.bands[-1] == band
        if not inside.any():
            continue
        y = (flow.lower[-1, inside].min() + (flow.lower[-1] + flow.thickness)[inside].max()) / 2
        if heights and heights[-1] - y < least:
            continue
        heights.append(float(y))
        position = (last + flow.node + shift, float(y))
        write(axes, *position, name, _SIZE, 40, ha="left", va="center_baseline", color=INK, gid="leader")
