"""A comparison of classifiers as a figure, a page and a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from tokendyn.runs.files import read_json
from tokendyn.show import KeyFigures, Report, Table, Text, closing, kept_picture, write_page_folder
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL, QUIET
from tokendyn.studies.sentiment.comparison import MEASURES, Comparison
from tokendyn.words import percent

SCHEMA, SCHEMA_VERSION = "tokendyn-comparison", 1
_ALT = (
    "Left: accuracy of each classifier with its 95 % interval. Right: accuracy against the processor seconds of "
    "training, one mark a classifier."
)


def comparison_figure(comparison: Comparison) -> Figure:
    """Draw accuracy with its interval, and accuracy against the processor time of training."""
    height = 1.9 + 0.35 * len(comparison.outcomes)
    figure = Figure(figsize=(10.0, height), dpi=100, facecolor="white", layout="constrained")
    bars, cost = figure.subplots(1, 2, sharex=False, width_ratios=[3, 2])
    rows = comparison.rows()
    for number, row in enumerate(rows):
        colour = LEADER_COLOURS[0] if number == 0 else NEUTRAL
        accuracy, low, high = (100 * row[name] for name in ("accuracy", "low", "high"))
        interval = [[accuracy - low], [high - accuracy]]
        bars.errorbar([accuracy], [number], xerr=interval, color=colour, marker="o" if number else "*", capsize=3)
        cost.errorbar(
            [row["cpu_seconds"]], [accuracy], yerr=interval, color=colour, marker="o" if number else "*", capsize=3
        )
        cost.annotate(str(number + 1), (row["cpu_seconds"], accuracy), xytext=(5, 4), textcoords="offset points")
    names = [f"{number + 1}  {row['classifier']}" for number, row in enumerate(rows)]
    bars.set_yticks(range(len(rows)), names)
    bars.invert_yaxis()
    cost.set_xscale("log")
    cost.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    cost.xaxis.set_major_formatter("{x:g}")
    cost.xaxis.set_minor_formatter(NullFormatter())
    _quiet(bars, "accuracy on the test texts, %", "Accuracy, 95 % intervals")
    _quiet(cost, "processor seconds to train", "Accuracy, %, against time")
    return figure


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved comparison; it shows the figure that lies beside it."""
    return comparison_report(read_json(folder / "comparison.json", schema=SCHEMA, version=SCHEMA_VERSION), folder)


def comparison_report(record: Mapping[str, Any], pictures: Path) -> Report:
    """Return the page of a record that :func:`write_comparison` wrote: the table, the figure, what the numbers are."""
    rows = record["table"]
    best = max(rows, key=lambda row: float(row["accuracy"]))
    figures = {"test texts": record["test_texts"], rows[0]["classifier"]: percent(rows[0]["accuracy"])}
    beside = ""
    if best is not rows[0]:
        figures[f"{best['classifier']}, most accurate"] = percent(best["accuracy"])
        beside = f" “{rows[0]['classifier']}” labels {percent(rows[0]['accuracy'])} right."
    shown = [{name.replace("_", " "): _shown(name, value) for name, value in row.items()} for row in rows]
    return Report(
        title="Classifiers beside each other",
        subtitle=(
            f"{record['source']}: {record['training_texts']} texts to learn from, {record['test_texts']} to be "
            "measured on"
        ),
        sections=[
            Text(
                f"Most texts are labelled right by “{best['classifier']}”: {percent(best['accuracy'])} of "
                f"{record['test_texts']}.{beside} Whether a difference from “{rows[0]['classifier']}” is more than "
                "chance is what the p value says: it compares the two text by text, so intervals may overlap."
            ),
            KeyFigures(figures),
            Table(shown, heading="Measures", note="– where there are no leaders to count."),
            kept_picture(
                pictures,
                "comparison.png",
                _ALT,
                "Notice how wide the intervals are. Numbers are those of the rows; the star is row 1.",
            ),
            Table(
                [{"measure": name.replace("_", " "), "is": what} for name, what in MEASURES.items()],
                heading="What the measures are",
            ),
            Text(
                "One split, one seed: another split moves every accuracy by about the width of its interval, and all "
                "of them together. The other models do not group their words, so they have no leaders; the "
                "fastText-like model is tokendyn's own, after Joulin et al. 2017.",
                heading="What they do not say",
            ),
            *closing(record["command"], record["provenance"]),
        ],
    )


def write_comparison(
    comparison: Comparison,
    folder: str | Path,
    *,
    command: str,
    source: str,
    overwrite: bool = False,
) -> None:
    """Write ``table.csv``, ``comparison.json``, ``comparison.png`` and ``report.html``.

    Parameters
    ----------
    comparison
        What was measured.
    folder
        Folder to write; it appears only when it is complete.
    command
        The command that repeats the comparison.
    source
        Where the texts come from.
    overwrite
        Replace an existing folder.

    Raises
    ------
    OutputError
        If the folder exists or the disk refuses.
    """
    record = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "training_texts": comparison.training_texts,
        "test_texts": comparison.test_texts,
        "source": source,
        "command": command,
        "table": comparison.rows(),
        "provenance": dict(comparison.provenance),
    }
    write_page_folder(
        folder, "comparison", record, comparison_report, overwrite=overwrite,
        tables={"table": comparison.table()}, figures={"comparison": comparison_figure(comparison)},
    )  # fmt: skip


def _quiet(axes: Axes, label: str, title: str) -> None:
    axes.set_xlabel(label, fontsize=9, color=QUIET)
    axes.set_title(title, fontsize=9.5, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5, colors=QUIET)
    axes.grid(alpha=0.3)


def _shown(name: str, value: Any) -> object:
    """Return a cell of the table with as many digits as mean something."""
    digits = {"accuracy": 4, "low": 4, "high": 4, "leaders": 2, "cpu_seconds": 2, "texts_a_second": 0, "p_value": 4}
    return round(value, digits[name]) if name in digits and value is not None else value
