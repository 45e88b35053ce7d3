"""Figures of a sweep: each result against each swept option."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tokendyn.show.labels import families, shown
from tokendyn.show.palette import INK, LEADER_COLOURS, QUIET

#: Panels of one figure, and panels beside each other.
MOST_PANELS, _ACROSS = 12, 3
#: Values of an option up to which their medians are joined by a line.
_MOST_JOINED = 40
#: Bounds of an option this many times apart are drawn on a logarithmic axis.
_WIDE = 50.0
#: Letters of a title.
_LONGEST = 40


def sweep_figure(table: Mapping[str, Sequence[Any]], option: str, results: Sequence[str]) -> Figure:
    """Return a figure with one panel for each result: every run a dot, medians at equal values of the option joined.

    Parameters
    ----------
    table
        Columns of equal length.
    option
        The swept option; texts are drawn as categories, in the order in which they come.
    results
        Columns of numbers, :data:`MOST_PANELS` of them at most.
    """
    panels = list(results)[:MOST_PANELS]
    across = min(_ACROSS, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(3.6 * across, 2.7 * down), layout="constrained")
    positions, names = _places(table[option])
    for number, result in enumerate(panels):
        axes = figure.add_subplot(down, across, number + 1)
        heights = np.array([np.nan if value is None else float(value) for value in table[result]])
        there = np.isfinite(heights) & np.isfinite(positions)
        axes.plot(
            positions[there], heights[there], "o", markersize=3, alpha=0.5, color=LEADER_COLOURS[0], markeredgewidth=0
        )
        steps = np.unique(positions[there])
        if 1 < len(steps) <= _MOST_JOINED and len(steps) < there.sum() + 1:
            medians = [np.median(heights[there & (positions == step)]) for step in steps]
            # Between categories there is nothing that a line could show.
            shape, size = ("_", 24) if names else ("-", 6)
            axes.plot(steps, medians, shape, linewidth=1.2, markersize=size, color=LEADER_COLOURS[1])
        _dress(axes, option, result, positions[there], names)
    return figure


def _places(values: Sequence[Any]) -> tuple[np.ndarray, list[str]]:
    """Return where the values of an option are drawn, and the names of categories; none for numbers."""
    if all(value is None or isinstance(value, int | float) for value in values):
        return np.array([np.nan if value is None else float(value) for value in values]), []
    names = list(dict.fromkeys(str(value) for value in values))
    return np.array([float(names.index(str(value))) for value in values]), names


def _dress(axes: Any, option: str, result: str, positions: np.ndarray, names: Sequence[str]) -> None:
    # Names of options, results and files are a user's words: no mathematics in dollar signs, no missing letters.
    plain = {"parse_math": False, "fontfamily": list(families())}
    if names:
        axes.set_xticks(range(len(names)), [shown(name, 14) for name in names], rotation=30, ha="right", **plain)
    elif len(positions) and positions.min() > 0 and positions.max() / positions.min() >= _WIDE:
        axes.set_xscale("log")
    axes.set_xlabel(shown(option.replace("_", " "), _LONGEST), color=INK, **plain)
    axes.set_title(shown(result.replace("_", " "), _LONGEST), fontsize=9, color=INK, loc="left", **plain)
    axes.tick_params(labelsize=8, colors=QUIET)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
