"""Plain axes in the style of the reports."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokendyn.show.palette import LEADER_COLOURS, QUIET

#: Line styles beside colours, so that lines can be distinguished without colours.
STYLES = ("-", "--", "-.", ":")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure in the style of the reports; sizes in inches."""
    return Figure(figsize=(width, height), dpi=100, facecolor="white", layout="constrained")


def line(number: int) -> dict[str, Any]:
    """Return colour and style of one of several lines."""
    return {"color": LEADER_COLOURS[number % len(LEADER_COLOURS)], "linestyle": STYLES[number % len(STYLES)]}


def quiet(axes: Axes, xlabel: str = "", ylabel: str = "") -> None:
    """Label axes, and remove distracting parts."""
    axes.set_xlabel(xlabel, fontsize=9, color=QUIET)
    axes.set_ylabel(ylabel, fontsize=9, color=QUIET)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(which="both", labelsize=8.5, colors=QUIET)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
