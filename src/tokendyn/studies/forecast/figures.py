"""Figures of comparisons: errors and valid times of all models, and the cost of delays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from tokendyn.errors import BadInputError
from tokendyn.show.axes import line, new_figure, quiet
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL

#: Colour and marker of each group of models.
GROUPS = {"ours": (LEADER_COLOURS[0], "*"), "linear": (LEADER_COLOURS[4], "s"), "peer": (NEUTRAL, "o")}
#: Errors above this are drawn at it, with a triangle.
_WORST = 10.0


def comparison_figure(rows: Sequence[Mapping[str, Any]], unit: str = "time") -> Figure:
    """Draw each task in a row: the closed-loop error of each model, and its valid prediction time.

    Errors run from the median to the worst start, valid times over the quartiles; an arrow stands for an error
    beyond the scale or a divergence.

    Parameters
    ----------
    rows
        Rows of a :class:`tokendyn.studies.forecast.Study`.
    unit
        Of the valid times.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    if not tasks:
        raise BadInputError("the table has no row; nothing can be drawn")
    counts = [sum(row["task"] == task for row in rows) for task in tasks]
    figure = new_figure(9.5, 1.0 + sum(0.55 + 0.26 * count for count in counts))
    grid = figure.subplots(len(tasks), 2, squeeze=False, height_ratios=[count + 1 for count in counts])
    for (errors, valid), task in zip(grid, tasks, strict=True):
        part = [row for row in rows if row["task"] == task]
        for place, row in enumerate(part):
            _draw_error(errors, place, row)
            colour, marker = GROUPS[row["group"]]
            reach = [[row["valid_time"] - row["lower"]], [row["upper"] - row["valid_time"]]]
            valid.errorbar([row["valid_time"]], [place], xerr=reach, color=colour, marker=marker, capsize=2)
        errors.set_xscale("log")
        low, high = np.log10(errors.get_xlim())
        if high - low < 1:  # whole powers of ten, so that there are labels
            errors.set_xlim(10 ** np.floor(low), 10 ** np.ceil(high))
        errors.set_yticks(range(len(part)), [row["model"] for row in part])
        valid.set_yticks(range(len(part)), [])
        valid.set_xlim(left=0.0)
        for axes in (errors, valid):
            axes.set_ylim(len(part) - 0.4, -0.6)
            quiet(axes)
        errors.xaxis.set_major_locator(LogLocator(numticks=7))
        errors.xaxis.set_minor_formatter(NullFormatter())
        errors.set_title(task, fontsize=9.5, color=INK, loc="left")
    quiet(grid[-1, 0], "closed-loop error, sd: median to worst start")
    quiet(grid[-1, 1], f"valid prediction time ({unit}): quartiles")
    return figure


def cost_figure(costs: Mapping[str, Mapping[int, float]]) -> Figure:
    """Draw the time of one closed-loop step against the number of delays.

    Parameters
    ----------
    costs
        For each model, microseconds a step by delays.
    """
    figure = new_figure(6.5, 3.6)
    axes = figure.subplots()
    for number, (name, cost) in enumerate(costs.items()):
        axes.plot(list(cost), list(cost.values()), marker="o", markersize=4, label=name, **line(number))
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=0.0)
    quiet(axes, "delays", "microseconds a step")
    axes.legend(frameon=False, fontsize=9)
    return figure


def _draw_error(axes: Axes, place: int, row: Mapping[str, Any]) -> None:
    """Draw one error bar; what diverged points to the right."""
    colour, marker = GROUPS[row["group"]]
    finite = [value if np.isfinite(value) else np.inf for value in (row["nrmse"], row["worst"])]
    median, worst = (max(min(value, _WORST), 1e-13) for value in finite)
    axes.plot([median, worst], [place, place], color=colour, linewidth=1.4)
    axes.plot([median], [place], color=colour, marker=marker if finite[0] <= _WORST else ">", markersize=7)
    if finite[1] > _WORST:
        axes.plot([worst], [place], color=colour, marker=">", markersize=6)
