"""An evaluation of explanations as a figure, a page and a folder."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokendyn.runs.files import read_json
from tokendyn.show import KeyFigures, Report, Table, Text, closing, kept_picture, write_page_folder
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL, QUIET
from tokendyn.show.report import Section
from tokendyn.studies.sentiment.faithfulness import MEASURES, FaithfulnessReport
from tokendyn.words import counted

SCHEMA, SCHEMA_VERSION = "tokendyn-faithfulness", 1

_MARKERS = "*osD^vP"
#: Standard errors below this are rounding and no scatter.
_ROUNDING = 1e-12
_ALT = (
    "Drop of the probability against the share of words removed, and of words left alone, a line for each "
    "explainer; and the mean drop against the seconds of one explanation."
)


def faithfulness_figure(report: FaithfulnessReport) -> Figure:
    """Draw comprehensiveness and sufficiency by fraction, and comprehensiveness against time, with standard errors."""
    figure = Figure(figsize=(11.0, 4.1), dpi=100, facecolor="white", layout="constrained")
    removed, kept, cost = figure.subplots(1, 3)
    for axes, prefix, title in (
        (removed, "removed", "Top words removed\n(comprehensiveness: higher is better)"),
        (kept, "kept", "Top words left alone\n(sufficiency: lower is better)"),
    ):
        _draw_drops(axes, report, prefix)
        axes.set_title(title, fontsize=9.5, color=INK)
        axes.set_xlabel("share of the distinct words, %", fontsize=9, color=QUIET)
    removed.set_ylabel("drop of the verdict's probability", fontsize=9, color=QUIET)
    _draw_cost(cost, report)
    handles, labels = removed.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved evaluation; it shows the figure that lies beside it."""
    return evaluation_report(read_json(folder / "evaluation.json", schema=SCHEMA, version=SCHEMA_VERSION), folder)


def _as_good(table: pd.DataFrame, best: Mapping[Hashable, Any]) -> str:
    """Return which explainers are not clearly behind the best one, in a sentence; empty if all are."""
    errors = np.hypot(table["comprehensiveness_se"], float(best["comprehensiveness_se"]))
    near = table["comprehensiveness"] > float(best["comprehensiveness"]) - 2.0 * errors
    names = [f"“{name}”" for name in table["explainer"][near] if name != best["explainer"]]
    if not names:
        return ""
    return f" Within two standard errors of it: {', '.join(names)}."


def evaluation_report(record: Mapping[str, Any], pictures: Path) -> Report:
    """Return the page of a record that :func:`write_evaluation` wrote: table, figure, what the measures do not say."""
    table, notes = pd.DataFrame(record["table"]), record["notes"]
    numbers = [name for measure in MEASURES for name in (measure, f"{measure}_se")]
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *numbers])))  # older records lack some
    table[numbers] = table[numbers].astype(np.float64)
    best = max(table.to_dict(orient="records"), key=lambda row: float(row["comprehensiveness"]))
    shown = table[["explainer"]].copy()
    for measure in MEASURES:
        pairs = zip(table[measure], table[f"{measure}_se"], strict=True)
        shown[measure.replace("_", " ")] = [_with_error(mean, error) for mean, error in pairs]
    sections: list[Section] = [
        Text(
            f"Of {counted(len(record['explainers']), 'explainer')}, “{best['explainer']}” names the words that matter "
            f"most to the model: without them the probability of the verdict falls by {best['comprehensiveness']:.3f} "
            f"on average over {counted(int(table['texts'].iloc[0]), 'text')}.{_as_good(table, best)}"
            + (f"\n\n{notes}" if notes else "")
        ),
        KeyFigures(
            {
                "texts": int(table["texts"].iloc[0]),
                "explainers": len(record["explainers"]),
                "most comprehensive": f"{best['explainer']}, {best['comprehensiveness']:.3f}",
            }
        ),
        Table(shown, heading="Measures", note="Mean ± standard error over the texts; – where it is not defined."),
        kept_picture(
            pictures,
            "faithfulness.png",
            _ALT,
            "Notice which curve rises first. Bars are standard errors over the texts.",
        ),
        Table(
            [{"measure": name.replace("_", " "), "is": what} for name, what in MEASURES.items()],
            heading="What the measures are",
        ),
        Text(
            "Verdict is the class predicted for the whole text; it stays the same whatever is removed. Explainers "
            "are compared on this model and these texts only; “coefficients”, where they take part, on the linear "
            "model that they belong to.\n\n"
            "Texts without some of their words are unlike those that the model has learned from, and the words left "
            "count differently without them. None of these numbers says what the verdict would be had the author "
            "written something else.",
            heading="What they do not say",
        ),
        *closing(record["command"], record["provenance"]),
    ]
    return Report(
        title="How faithful are the explanations?", subtitle="Words removed, and words left alone", sections=sections
    )


def write_evaluation(
    report: FaithfulnessReport, folder: str | Path, *, command: str = "", notes: str = "", overwrite: bool = False
) -> None:
    """Write ``table.csv``, ``texts.csv``, ``evaluation.json``, ``faithfulness.png`` and ``report.html``.

    Parameters
    ----------
    report
        What was measured.
    folder
        Folder to write; it appears only when it is complete.
    command
        Command that repeats the evaluation, for the page.
    notes
        Paragraphs for the page, such as where the texts come from.
    overwrite
        Replace an existing folder.

    Raises
    ------
    OutputError
        If the folder exists or the disk refuses.
    """
    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "command": command, "notes": notes}
    write_page_folder(
        folder, "evaluation", head | report.to_dict(), evaluation_report, overwrite=overwrite,
        tables={"table": report.table(), "texts": report.per_text},
        figures={"faithfulness": faithfulness_figure(report)},
    )  # fmt: skip


def _draw_drops(axes: Axes, report: FaithfulnessReport, prefix: str) -> None:
    """Draw the mean drop over the fractions for each explainer."""
    shares = sorted(report.fractions)
    percent = [100 * share for share in shares]
    for number, name in enumerate(report.explainers):
        part = report.per_text[report.per_text["explainer"] == name]
        drops = part[[f"{prefix}_{share:g}" for share in shares]]
        axes.errorbar(
            percent, drops.mean(), yerr=_errors(drops), label=name, color=_colour(number, name),
            marker=_MARKERS[number % len(_MARKERS)], markersize=6, linewidth=1.4, capsize=2,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(percent, [f"{share:g}" for share in percent])
    axes.set_xticks([], minor=True)
    _quiet(axes)


def _draw_cost(axes: Axes, report: FaithfulnessReport) -> None:
    """Draw comprehensiveness against the seconds of one explanation."""
    for number, row in enumerate(report.table().to_dict(orient="records")):
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


def _with_error(mean: float, error: float) -> str:
    if np.isnan(mean):
        return "–"
    return f"{mean:.3g}" if np.isnan(error) or error < _ROUNDING else f"{mean:.3g} ± {error:.1g}"
