"""One legend for all panels, beside them: it covers no data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tokendyn.show.drawing import FACE_MARK, HULL_LINE, K_FILL, MOST_ARROWS, VERTEX_MARK
from tokendyn.show.labels import families, shown
from tokendyn.show.palette import INK, NEUTRAL, QUIET
from tokendyn.show.views import View

#: Height of one entry, in inches.
ENTRY = 0.182

_MOST_NAMED = 10
_SIZE = 8.5


@dataclass(frozen=True)
class LegendPlan:
    """The entries of a scene's legend and the room they need.

    Attributes
    ----------
    leaders, marks
        Handles with labels.
    leader_columns
        Columns of the leaders' part.
    """

    leaders: list[Line2D]
    marks: list[Any]

    @property
    def leader_columns(self) -> int:
        """Return the number of columns for the names of leaders."""
        return 2 if len(self.leaders) > 4 else 1

    @property
    def leaders_height(self) -> float:
        """Inches that the leaders need, with their heading."""
        return ENTRY * (math.ceil(len(self.leaders) / self.leader_columns) + 1.6) if self.leaders else 0.0

    @property
    def height(self) -> float:
        """Inches that both parts need one below the other."""
        return self.leaders_height + ENTRY * (len(self.marks) + 1)

    def strip_height(self, width: float) -> float:
        """Inches that the marks need in a strip of some width in inches."""
        return ENTRY * math.ceil(len(self.marks) / self.strip_columns(width)) + 0.05

    @staticmethod
    def strip_columns(width: float) -> int:
        """Columns of the marks in a strip of some width in inches."""
        return max(1, int(width / 2.2))


def plan_legend(view: View) -> LegendPlan:
    """Return the legend of a scene."""
    return LegendPlan(_leader_entries(view), _mark_entries(view))


def draw_leaders(axes: Axes, plan: LegendPlan) -> None:
    """Name the leaders in the upper left of axes."""
    if plan.leaders:
        heading = "Leader (mass of its cluster)"
        axes.add_artist(_legend(axes, plan.leaders, plan.leader_columns, 1.0, heading))


def draw_marks(axes: Axes, plan: LegendPlan, columns: int = 1, below: float = 0.0) -> None:
    """Explain the marks, from ``below`` inches under the top."""
    height = axes.get_position().height * axes.figure.get_figheight()  # type: ignore[union-attr]
    axes.add_artist(_legend(axes, plan.marks, columns, 1 - below / height, "Marks" if columns == 1 else ""))


def _legend(axes: Axes, entries: Sequence[Any], columns: int, top: float, heading: str) -> Legend:
    font = FontProperties(family=list(families()), size=_SIZE)
    legend = axes.legend(
        handles=entries,
        loc="upper left",
        bbox_to_anchor=(0.0, top),
        ncols=columns,
        frameon=False,
        prop=font,
        title=heading or None,
        title_fontsize=_SIZE,
        alignment="left",
        labelcolor=INK,
        borderaxespad=0,
        borderpad=0.1,
        handlelength=1.5,
        handletextpad=0.6,
        labelspacing=0.42,
        columnspacing=1.2,
    )
    legend.get_title().set(color=QUIET)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend


def _leader_entries(view: View) -> list[Line2D]:
    order = sorted(range(len(view.masses)), key=lambda leader: (not view.styles[leader].own, -view.masses[leader]))
    entries = []
    for leader in order[:_MOST_NAMED]:
        style = view.styles[leader]
        name = f"{shown(view.leader_name(leader), 16)} ({mass_text(view.masses[leader])})"
        entries.append(_mark(style.marker, style.colour, style.colour, 9 if style.own else 6, name))
    left = len(order) - _MOST_NAMED
    if left > 0:
        entries.append(_mark("None", "none", "none", 1, f"and {left:,} more"))
    return entries


def _mark_entries(view: View) -> list[Any]:
    entries: list[Any] = []
    if len(view.masses):
        name = "leader, area ~ mass (within limits)" if view.unscaled_stars else "leader, area = mass"
        entries.append(_mark("*", INK, INK, 9, name))
    entries.append(_mark("o", QUIET, "white", 5, "token, in the colour of its leader"))
    if (view.followed_leaders < 0).any():
        entries.append(_mark("o", "white", NEUTRAL, 5, "token that follows no single leader"))
    if view.scene.layers:
        entries.append(Line2D([], [], color=QUIET, alpha=0.6, lw=1.0, label="way since layer 0"))
    if view.points.shape[1] <= MOST_ARROWS and view.dim > 1:
        entries.append(Line2D([], [], color=QUIET, alpha=0.7, lw=0.8, ls=(0, (4, 2)), label="to the token followed"))
    entries.append(Line2D([], [], color=HULL_LINE, lw=1.0, label="hull of the layer"))
    if view.polytope is not None:
        entries.append(Patch(facecolor=K_FILL, edgecolor="#D4D9E1", label="K, hull of the leaders"))
    if view.scene.limit_dimensions is not None and len(view.scene.limit_dimensions):
        entries.append(_mark(VERTEX_MARK, "none", INK, 4.5, "S: vertex of K"))
        if (view.scene.limit_dimensions > 0).any():
            entries.append(_mark(FACE_MARK, "white", INK, 5.5, "S: projection on a face"))
    return entries


def mass_text(mass: float) -> str:
    """Return a mass in words: whole numbers as such, others with three digits."""
    return f"{mass:,.0f}" if abs(mass - round(mass)) < 1e-9 * abs(mass) else f"{mass:.3g}"


def _mark(marker: Any, face: str, edge: str, size: float | int, label: str) -> Line2D:
    return Line2D([], [], ls="none", marker=marker, mfc=face, mec=edge, mew=0.8, ms=size, label=label)
