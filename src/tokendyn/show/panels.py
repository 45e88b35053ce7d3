"""Panels of a scene over some layers: who leads, who follows whom, and where the tokens go."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator

from tokendyn.errors import BadInputError
from tokendyn.show import timelines
from tokendyn.show.drawing import MOST_TRAILS, draw_limits, draw_moment, draw_polytope, token_area
from tokendyn.show.labels import Wish, letters_within, place_labels, write
from tokendyn.show.legends import LegendPlan, draw_leaders, draw_marks, plan_legend
from tokendyn.show.palette import INK, QUIET
from tokendyn.show.scene import TokenScene
from tokendyn.show.views import Time, View

#: Default layers to draw, in addition to the last one.
DEFAULT_LAYERS = (0, 1, 2, 5)

#: Inches of the figure, and of one for a narrow screen.
WIDTH, _NARROW = 10.0, 4.4
_TITLE, _NOTE, _HEADER, _FOOT = 0.36, 0.2, 0.25, 0.36
_LEFT, _RIGHT, _GAP = 0.55, 0.12, 0.16
_COLUMNS = 3
_MOST_LABELS = 26


def panels(scene: TokenScene, layers: Sequence[int] | None = None, *, narrow: bool = False) -> Figure:
    """Draw a scene at some layers side by side, with one legend.

    Stars are leaders, from the layer at which they lead, with an area proportional to the mass of their
    cluster. The colour of a token is that of the leader it follows at that layer; a hollow grey one follows
    no leader. The limiting polytope K is shaded, the hull of the layer is a thin line, the points of the
    limit set S are marked.

    Parameters
    ----------
    scene
        What to draw. In one dimension the picture is position against layer. Above three dimensions the
        tokens are projected on two principal axes, and the figure says so.
    layers
        Numbers of layers, by default 0, 1, 2, 5 and the last.
    narrow
        Draw for a narrow screen: one panel below the other, by default of layers 0, 1 and the last.

    Raises
    ------
    BadInputError
        If a layer does not exist, or the positions are too large to draw.
    """
    view = View(scene)
    chosen = chosen_layers(scene, layers)
    if narrow and layers is None:
        chosen = [layer for layer in chosen if layer in (0, 1, scene.layers)]
    page = _NARROW if narrow else WIDTH
    notes = [line for note in _notes(view) for line in textwrap.wrap(note, round(15 * page))]
    if view.dim == 1:
        return _line_figure(view, notes, page)
    layout = _Layout(
        count=len(chosen), ratio=_shape(view), notes=len(notes), titled=bool(scene.title), plan=plan_legend(view),
        page=page,
    )  # fmt: skip
    figure = Figure(figsize=(page, layout.height), dpi=100, facecolor="white")
    _write_title(figure, scene.title, notes, layout)
    for number, layer in enumerate(chosen):
        axes = figure.add_axes(layout.panel(number, space=view.dim == 3), projection="3d" if view.dim == 3 else None)
        _draw_panel(axes, view, layer, layout)
        if view.dim == 2:
            _outer_ticks(axes, view, number, layout)
    _draw_legend(figure, layout)
    return figure


def chosen_layers(scene: TokenScene, layers: Sequence[int] | None) -> list[int]:
    """Return the layers to draw, checked and in order."""
    if layers is None:
        return sorted({layer for layer in DEFAULT_LAYERS if layer <= scene.layers} | {scene.layers})
    wrong = [layer for layer in layers if not 0 <= layer <= scene.layers]
    if wrong or not len(layers):
        raise BadInputError(f"layers {list(layers)}: give numbers from 0 to {scene.layers}, the last layer")
    return sorted({int(layer) for layer in layers})


@dataclass(frozen=True)
class _Layout:
    """Places of panels and legend in inches, and the figure's height."""

    count: int
    ratio: float
    notes: int
    titled: bool
    plan: LegendPlan
    page: float = WIDTH

    @property
    def columns(self) -> int:
        if self.page < WIDTH:
            return 1
        return 2 if self.count == 1 else _COLUMNS

    @property
    def rows(self) -> int:
        return math.ceil(self.count / self.columns)

    @property
    def free(self) -> int:
        """Cells left for the legend; with none it has a strip of its own."""
        return self.rows * self.columns - self.count

    @property
    def width(self) -> float:
        return (self.page - _LEFT - _RIGHT - (self.columns - 1) * _GAP) / self.columns

    @property
    def panel_height(self) -> float:
        natural = self.width * self.ratio
        return max(natural, min(self.plan.height - _FOOT, 1.3 * natural)) if self.free else natural

    @property
    def strip(self) -> float:
        """Height of the strip below the panels: for marks that do not fit in a free cell, and leaders without one."""
        fits = self.free and self.plan.height <= self.panel_height + _FOOT + 1e-9
        marks = 0.0 if fits else self.plan.strip_height(self.page - _LEFT) + 0.1
        return marks + (0.0 if self.free else self.plan.leaders_height)

    @property
    def top(self) -> float:
        return 0.12 + _TITLE * self.titled + _NOTE * self.notes

    @property
    def row_height(self) -> float:
        return self.panel_height + _HEADER + 0.08

    @property
    def height(self) -> float:
        return self.top + self.rows * self.row_height + _FOOT + self.strip

    def cell(self) -> tuple[float, float, float, float]:
        """Return the free cell."""
        left, bottom = self._corner(self.count)
        return self._fraction(left + 0.12, bottom, self.width - 0.12, self.panel_height + 0.08)

    def below(self) -> tuple[float, float, float, float]:
        """Return the strip below the panels."""
        return self._fraction(_LEFT, 0.02, self.page - _LEFT - _RIGHT, self.strip)

    def panel(self, number: int, *, space: bool = False) -> tuple[float, float, float, float]:
        """Return the place of a panel; 3-D axes write their numbers at the right, so they begin further left."""
        left, bottom = self._corner(number)
        return self._fraction(left - 0.2 * space, bottom, self.width, self.panel_height)

    def _corner(self, number: int) -> tuple[float, float]:
        row, column = divmod(number, self.columns)
        bottom = self.height - self.top - (row + 1) * self.row_height + 0.08
        return _LEFT + column * (self.width + _GAP), bottom

    def _fraction(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        return left / self.page, bottom / self.height, width / self.page, height / self.height


def _draw_legend(figure: Figure, layout: _Layout) -> None:
    plan = layout.plan
    if layout.free:
        cell = figure.add_axes(layout.cell())
        cell.set_axis_off()
        draw_leaders(cell, plan)
        if not layout.strip:
            draw_marks(cell, plan, below=plan.leaders_height)
            return
    strip = figure.add_axes(layout.below())
    strip.set_axis_off()
    if not layout.free:
        draw_leaders(strip, plan)
    columns = plan.strip_columns(layout.page - _LEFT)
    draw_marks(strip, plan, columns, below=0.0 if layout.free else plan.leaders_height)


def _shape(view: View) -> float:
    """Return height by width of a panel."""
    if view.dim == 3:
        return 0.95
    width, height = np.ptp(view.box, axis=1)
    return float(np.clip(height / width, 0.5, 1.25))


def fitted_box(view: View, ratio: float) -> tuple[Float[np.ndarray, "2 2"], bool]:
    """Return data limits for a panel of a shape, and whether both axes have one scale.

    The shorter side is widened; only very long and thin sets get axes of different scales.
    """
    box = view.box.copy()
    width, height = np.ptp(box, axis=1)
    if max(width / height, height / width) > 12:
        return box, False
    centre = box.mean(axis=1)
    width, height = max(width, height / ratio), max(height, width * ratio)
    half = np.array([width, height]) / 2
    return np.stack([centre - half, centre + half], axis=1), True


def _draw_panel(axes: Axes, view: View, layer: int, layout: _Layout) -> None:
    draw_polytope(axes, view)
    draw_moment(axes, view, layer)
    draw_limits(axes, view)
    _head_panel(axes, view, layer)
    if view.dim == 3:
        style_space(axes, view)
        label_space(axes, view, layer, np.array([layout.width, layout.panel_height]))
        return
    box, _ = fitted_box(view, layout.panel_height / layout.width)
    style_plane(axes, box)
    scale = np.array([layout.width, layout.panel_height]) * 72 / np.ptp(box, axis=1)
    positions = view.positions(layer)
    marks = positions[:2000] if view.limit_points is None else np.concatenate([positions[:2000], view.limit_points])
    place_labels(axes, wishes(view, layer, positions), box, 8.0, marks, scale)


def _head_panel(axes: Axes, view: View, layer: int) -> None:
    """Write the layer and the number of leaders above a panel."""
    figure: Any = axes.figure
    left, bottom, width, height = axes.get_position().bounds
    left += 0.2 / figure.get_figwidth() if view.dim == 3 else 0.0
    top = bottom + height + 0.05 / figure.get_figheight()
    last = ", the last" if layer == view.scene.layers else ""
    leaders = len(view.present(layer))
    count = f"{leaders} leader{'' if leaders == 1 else 's'}"
    figure.text(left, top, f"layer {layer}{last}", fontsize=10, fontweight="bold", color=INK, va="bottom")
    figure.text(left + width, top, count, fontsize=8.5, color=QUIET, va="bottom", ha="right")


def wishes(view: View, time: Time, positions: Float[np.ndarray, "tokens dim"]) -> list[Wish]:
    """Return the labels to write: leaders by mass, then the heaviest tokens, or all when there are few."""
    scene, present = view.scene, view.present(time)
    order = present[np.argsort(-view.masses[present], kind="stable")][: _MOST_LABELS if len(present) <= 24 else 12]
    labels = [
        Wish(
            text=view.leader_name(leader),
            xy=(float(positions[scene.leaders[leader]][0]), float(positions[scene.leaders[leader]][1])),
            radius=float(np.sqrt(view.star_areas[leader])) / 2,
            bold=True,
        )
        for leader in order
    ]
    others = np.setdiff1d(np.arange(len(positions)), scene.leaders[present])
    if len(positions) > 12:
        heavy = others[scene.weights[others] > 1.5 * np.median(scene.weights)]
        others = heavy[np.argsort(-scene.weights[heavy], kind="stable")][:6]
    radius = float(np.sqrt(token_area(view))) / 2
    reach = 0.03 * float(np.ptp(view.box, axis=1).max())
    stars = positions[scene.leaders[present]]
    for token in others:
        if not len(stars) or np.linalg.norm(stars - positions[token], axis=1).min() > reach:
            xy = (float(positions[token][0]), float(positions[token][1]))
            labels.append(Wish(text=scene.labels[token], xy=xy, radius=radius, colour=QUIET))
    return labels


def style_plane(axes: Axes, box: Float[np.ndarray, "2 2"]) -> None:
    """Set limits, quiet ticks and a thin frame."""
    axes.set_xlim(*box[0])
    axes.set_ylim(*box[1])
    axes.set_facecolor("white")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=8, colors=QUIET, length=2.5, width=0.6)
    for spine in axes.spines.values():
        spine.set(color="#C9CED6", linewidth=0.7)


def style_space(axes: Any, view: View) -> None:
    """Set limits, equal scales, parallel projection and quiet walls of 3-D axes."""
    sizes = np.ptp(view.box, axis=1)
    for name, (low, high) in zip("xyz", view.box, strict=True):
        getattr(axes, f"set_{name}lim")(low, high)
        axis = getattr(axes, f"{name}axis")
        axis.set_major_locator(MaxNLocator(3))
        axis.set_pane_color((0.985, 0.987, 0.99, 1.0))
        axis.line.set(color="#C9CED6", linewidth=0.7)
        axis._axinfo["grid"].update(color="#E6E9EE", linewidth=0.5)
        getattr(axes, f"set_{name}label")("")
    axes.set_box_aspect(np.clip(sizes / sizes.max(), 0.15, 1.0), zoom=1.06)
    axes.set_proj_type("ortho")
    axes.view_init(elev=22, azim=-58)
    axes.computed_zorder = False
    axes.tick_params(labelsize=7, colors=QUIET, pad=-2)
    axes.patch.set_alpha(0)


def label_space(axes: Any, view: View, time: Time, inches: Float[np.ndarray, " 2"]) -> list[Annotation]:
    """Write the leaders' names in 3-D axes, as seen from where they are looked at now."""
    from mpl_toolkits.mplot3d.proj3d import proj_transform  # type: ignore[import-untyped]

    axes.apply_aspect()
    positions = view.positions(time)
    projected = np.stack(proj_transform(*positions.T, axes.get_proj()), axis=1)[:, :2]
    corners = axes.transData.inverted().transform(axes.bbox.get_points()).T
    scale = inches * 72 / np.ptp(corners, axis=1)
    named = [wish for wish in wishes(view, time, projected) if wish.bold]
    return place_labels(axes, named, corners, 8.0, projected[:2000], scale)


def _outer_ticks(axes: Axes, view: View, number: int, layout: _Layout) -> None:
    """Keep tick labels at the left and lower edge of the grid only: all panels share them."""
    left = number % layout.columns == 0
    low = number // layout.columns == layout.rows - 1
    axes.tick_params(labelleft=left, labelbottom=low)
    if left:
        axes.set_ylabel(view.axis_names[1], fontsize=8, color=QUIET, labelpad=2)
    if low:
        axes.set_xlabel(view.axis_names[0], fontsize=8, color=QUIET, labelpad=1)


def _notes(view: View) -> list[str]:
    notes = [view.note] if view.note else []
    count = view.points.shape[1]
    if count > MOST_TRAILS and view.scene.layers:
        notes.append(f"Trails of {MOST_TRAILS} of the {count:,} tokens, evenly chosen.")
    if view.dim == 2 and not fitted_box(view, _shape(view))[1]:
        notes.append("The two axes have different scales.")
    if view.dim == 1 and timelines.shown_layers(view) < view.scene.layers:
        shown = timelines.shown_layers(view)
        notes.append(f"Layers {shown + 1} to {view.scene.layers} look the same as layer {shown}.")
    return notes


def _write_title(figure: Figure, title: str, notes: list[str], layout: Any) -> None:
    page = figure.add_axes((0, 0, 1, 1), zorder=-1)
    page.set_axis_off()
    width, height = figure.get_size_inches()
    y = height - 0.1
    if title:
        letters = letters_within(title, 12, points=(width - _LEFT - 0.1) * 72, most=round(9.5 * width))
        write(page, _LEFT / width, y / height, title, 12, letters, weight="bold", color=INK, va="top", gid="title")
        y -= _TITLE - 0.06
    for note in notes:
        write(page, _LEFT / width, y / height, note, 8.5, 150, color=QUIET, va="top", gid="note")
        y -= _NOTE


def _line_figure(view: View, notes: list[str], page: float) -> Figure:
    """Draw a one-dimensional scene: position against layer."""
    plan = plan_legend(view)
    layout = _Layout(count=1, ratio=0.72, notes=len(notes), titled=bool(view.scene.title), plan=plan, page=page)
    figure = Figure(figsize=(page, layout.height), dpi=100, facecolor="white")
    _write_title(figure, view.scene.title, notes, layout)
    left, bottom, width, height = layout.panel(0)
    # Beside the picture is room for the legend, but on a narrow screen.
    width *= 1.3 if page == WIDTH else 1.0
    axes = figure.add_axes((left, bottom, width, height))
    timelines.draw_ground(axes, view)
    timelines.draw_until(axes, view, float(view.scene.layers))
    style_timeline(axes, view)
    if page == WIDTH:
        cell = figure.add_axes((left + 1.05 * width, bottom, 1 - left - 1.06 * width, height))
        cell.set_axis_off()
        draw_leaders(cell, plan)
        draw_marks(cell, plan, below=plan.leaders_height)
    else:
        _draw_legend(figure, layout)
    _label_lines(axes, view, page * width, layout.height * height)
    return figure


def style_timeline(axes: Axes, view: View) -> None:
    """Set the axes of a position-against-layer picture."""
    end = timelines.shown_layers(view)
    style_plane(axes, np.array([[-0.06 * max(end, 1), 1.06 * max(end, 1)], view.box[0]]))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("layer", fontsize=8.5, color=QUIET)
    axes.set_ylabel(f"position {view.axis_names[0]}", fontsize=8.5, color=QUIET)


def _label_lines(axes: Axes, view: View, width: float, height: float) -> None:
    box = np.array([axes.get_xlim(), axes.get_ylim()])
    scene = view.scene
    first = np.stack([np.zeros(view.points.shape[1]), view.points[0, :, 0]], axis=1)
    labels = []
    for leader in np.argsort(-view.masses, kind="stable")[:_MOST_LABELS]:
        layer, token = int(scene.leader_layers[leader]), scene.leaders[leader]
        if layer <= timelines.shown_layers(view):
            xy = (float(layer), float(view.points[layer, token, 0]))
            labels.append(
                Wish(
                    text=view.leader_name(leader), xy=xy, radius=float(np.sqrt(view.star_areas[leader])) / 2, bold=True
                )
            )
    scale = np.array([width, height]) * 72 / np.ptp(box, axis=1)
    place_labels(axes, labels, box, 8.0, first[:2000], scale)
