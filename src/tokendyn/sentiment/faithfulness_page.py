"""An evaluation of explanations as a figure, a page and a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tokendyn.runs.files import new_folder, read_json, write_json
from tokendyn.sentiment.faithfulness import MEASURES, FaithfulnessReport
from tokendyn.show import KeyFigures, Report, Table, Text, closing, kept_picture, write_report
from tokendyn.show.report import Section

SCHEMA, SCHEMA_VERSION = "tokendyn-faithfulness", 1

_ALT = (
    "Drop of the probability against the share of words taken out, and of words left alone, a line for each "
    "explainer; and the mean drop against the seconds of one explanation."
)


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved evaluation; it shows the figure that lies beside it."""
    return evaluation_report(read_json(folder / "evaluation.json", schema=SCHEMA, version=SCHEMA_VERSION), folder)


def evaluation_report(record: Mapping[str, Any], pictures: Path) -> Report:
    """Return the page of a record that :func:`write_evaluation` wrote: table, figure, what the measures do not say."""
    table, notes = pd.DataFrame(record["table"]), record["notes"]
    numbers = [name for measure in MEASURES for name in (measure, f"{measure}_se")]
    table[numbers] = table[numbers].astype(np.float64)
    best = max(table.to_dict(orient="records"), key=lambda row: float(row["comprehensiveness"]))
    shown = table[["explainer"]].copy()
    for measure in MEASURES:
        pairs = zip(table[measure], table[f"{measure}_se"], strict=True)
        shown[measure.replace("_", " ")] = [_with_error(mean, error) for mean, error in pairs]
    sections: list[Section] = [
        KeyFigures(
            {
                "texts": int(table["texts"].iloc[0]),
                "explainers": len(record["explainers"]),
                "most comprehensive": f"{best['explainer']}, {best['comprehensiveness']:.3f}",
            }
        ),
        *([Text(notes)] if notes else []),
        Table(shown, heading="Measures", note="Mean ± standard error over the texts; – where it is not defined."),
        kept_picture(pictures, "faithfulness.png", _ALT, "Bars are standard errors over the texts."),
        Table(
            [{"measure": name.replace("_", " "), "is": what} for name, what in MEASURES.items()],
            heading="What the measures are",
        ),
        Text(
            "Verdict is the class predicted for the whole text; it stays the same whatever is taken out. Explainers "
            "are compared on this model and these texts only.\n\n"
            "Texts without some of their words are unlike those that the model has learned from, and when a leader "
            "is taken out another word takes over. None of these numbers says what the verdict would be had the "
            "author written something else.",
            heading="What they do not say",
        ),
        *closing(record["command"], record["provenance"]),
    ]
    return Report("How faithful are the explanations?", "Words taken out, and words left alone", sections)


def write_evaluation(
    report: FaithfulnessReport, folder: str | Path, *, command: str = "", notes: str = "", overwrite: bool = False
) -> None:
    """Write ``table.csv``, ``texts.csv``, ``evaluation.json``, ``faithfulness.png`` and ``report.html``.

    Parameters
    ----------
    report
        What was measured.
    folder
        Folder that appears when it is whole.
    command
        The command that repeats the evaluation, for the page.
    notes
        Paragraphs for the page, such as where the texts come from.
    overwrite
        Replace an existing folder.

    Raises
    ------
    OutputError
        If the folder exists or the disk refuses.
    """
    with new_folder(folder, overwrite=overwrite) as temporary:
        report.table().to_csv(temporary / "table.csv", index=False, lineterminator="\n")
        report.per_text.to_csv(temporary / "texts.csv", index=False, lineterminator="\n")
        head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "command": command, "notes": notes}
        record = head | report.to_dict()
        write_json(temporary / "evaluation.json", record)
        report.figure().savefig(temporary / "faithfulness.png", dpi=150)
        write_report(evaluation_report(record, temporary), temporary / "report.html")


def _with_error(mean: float, error: float) -> str:
    if np.isnan(mean):
        return "–"
    return f"{mean:.3g}" if np.isnan(error) or error == 0 else f"{mean:.3g} ± {error:.1g}"
