"""An evaluation of explanations as a figure, from plain values."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL, QUIET

_MARKERS = "*osD^vP"


def faithfulness_figure(
    table: pd.DataFrame, per_text: pd.DataFrame, explainers: Sequence[str], fractions: Sequence[float]
) -> Figure:
    """Draw comprehensiveness and sufficiency by fraction, and comprehensiveness against time, with standard errors.

    The values are those of :class:`~tokendyn.sentiment.faithfulness.FaithfulnessReport`.
    """
    figure = Figure(figsize=(11.0, 4.1), dpi=100, facecolor="white", layout="constrained")
    removed, kept, cost = figure.subplots(1, 3)
    for axes, prefix, title in (
        (removed, "removed", "Top words taken out\n(comprehensiveness: higher is better)"),
        (kept, "kept", "Top words left alone\n(sufficiency: lower is better)"),
    ):
        _draw_drops(axes, per_text, explainers, fractions, prefix)
        axes.set_title(title, fontsize=9.5, color=INK)
        axes.set_xlabel("share of the distinct words, %", fontsize=9, color=QUIET)
    removed.set_ylabel("drop of the verdict's probability", fontsize=9, color=QUIET)
    _draw_cost(cost, table)
    handles, labels = removed.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def _draw_drops(
    axes: Axes, per_text: pd.DataFrame, explainers: Sequence[str], fractions: Sequence[float], prefix: str
) -> None:
    """Draw the mean drop over the fractions for each explainer."""
    shares = sorted(fractions)
    percent = [100 * share for share in shares]
    for number, name in enumerate(explainers):
        part = per_text[per_text["explainer"] == name]
        drops = part[[f"{prefix}_{share:g}" for share in shares]]
        axes.errorbar(
            percent, drops.mean(), yerr=_errors(drops), label=name, color=_colour(number, name),
            marker=_MARKERS[number % len(_MARKERS)], markersize=6, linewidth=1.4, capsize=2,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(percent, [f"{share:g}" for share in percent])
    axes.set_xticks([], minor=True)
    _quiet(axes)


def _draw_cost(axes: Axes, table: pd.DataFrame) -> None:
    """Draw comprehensiveness against the seconds of one explanation."""
    for number, row in enumerate(table.to_dict(orient="records")):
        name = str(row["explainer"])
        axes.errorbar(
            [row["seconds"]], [row["comprehensiveness"]], yerr=[np.nan_to_num(row["comprehensiveness_se"])],
            color=_colour(number, name), marker=_MARKERS[number % len(_MARKERS)], markersize=8, capsize=2,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_title("Comprehensiveness against time", fontsize=9.5, color=INK)
    axes.set_xlabel("seconds for one explanation", fontsize=9, color=QUIET)
    _quiet(axes)


def _quiet(axes: Axes) -> None:
    axes.axhline(0, color=NEUTRAL, linewidth=0.8, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5, colors=QUIET)


def _colour(number: int, name: str) -> str:
    return NEUTRAL if name == "random" else LEADER_COLOURS[number % len(LEADER_COLOURS)]


def _errors(drops: pd.DataFrame) -> np.ndarray:
    """Return standard errors over the texts, 0 for one text."""
    return np.nan_to_num(drops.sem().to_numpy(dtype=np.float64))
