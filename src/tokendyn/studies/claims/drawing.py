"""Small figures for claims, in the style of the package."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokendyn.show.palette import INK, LEADER_COLOURS, QUIET

_MARKERS = "osD^vP"

#: Abscissas and ordinates by name: lists, arrays or columns of a table.
Points = Mapping[str, tuple[Any, Any]]


def axes(xlabel: str, ylabel: str, *, logx: bool = False, logy: bool = False) -> tuple[Figure, Axes]:
    """Return an empty figure of one panel."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    panel = figure.add_subplot()
    panel.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if logx else "linear", yscale="log" if logy else "linear")
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(which="both", labelsize=8.5, colors=QUIET)
    return figure, panel


def curves(
    points: Points, xlabel: str, ylabel: str, *, bound: float | None = None, logx: bool = False, logy: bool = False,
    joined: bool = True,
) -> Figure:  # fmt: skip
    """Draw named curves, and the bound that they are held against as a dashed line."""
    figure, panel = axes(xlabel, ylabel, logx=logx, logy=logy)
    for number, (name, (x, y)) in enumerate(points.items()):
        colour, marker = LEADER_COLOURS[number % len(LEADER_COLOURS)], _MARKERS[number % len(_MARKERS)]
        panel.plot(x, y, marker=marker, ms=4, lw=1.2 if joined else 0, color=colour, label=name)
    if bound is not None:
        panel.axhline(bound, color=INK, lw=1, ls="--", label="bound")
    if len(points) + (bound is not None) > 1:
        panel.legend(frameon=False, fontsize=8)
    return figure


def bars(values: Mapping[Any, Any], ylabel: str, *, logy: bool = False) -> Figure:
    """Draw one bar for each name."""
    figure, panel = axes("", ylabel, logy=logy)
    panel.bar(
        [str(name) for name in values],
        list(values.values()),
        color=[LEADER_COLOURS[k % 8] for k in range(len(values))],
        width=0.6,
    )
    panel.tick_params(axis="x", labelsize=8)
    return figure
