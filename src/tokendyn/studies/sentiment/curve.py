"""Accuracy against leaders a text: the points, their figure, page and folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.results import Curves, Result
from tokendyn.runs.folders import read_json
from tokendyn.show import KeyFigures, Report, Table, Text, closing, kept_picture, write_page_folder
from tokendyn.words import counted, percent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tokendyn.sentiment.classifier import LeaderClassifier

#: Of what ``tokendyn sentiment curve`` writes.
SCHEMA, SCHEMA_VERSION = "tokendyn-curve", 1


@dataclass(frozen=True, kw_only=True)
class LeaderCurve(Result, kind="leader-curve"):
    """What models of the same texts reach, each of which aims at another number of leaders.

    Attributes
    ----------
    points
        For each model, in the order of these numbers: ``leaders_wished``; ``leaders``, the mean number a validation
        text; accuracy and loss on the ``validation_texts``; ``cpu_seconds`` of the training.
    provenance
        Versions, seed, settings, time.
    """

    points: tuple[dict[str, float], ...]
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def describe(self) -> list[str]:
        """Return the accuracy of each model."""
        return [
            f"{point['leaders']:6.2f} leaders a text: {point['validation_accuracy']:.1%} of validation texts right"
            for point in self.points
        ]

    def table(self) -> "pd.DataFrame":
        """Return one row a model."""
        import pandas as pd

        return pd.DataFrame(list(self.points))

    def picture(self) -> Curves:
        """Return accuracy against leaders, with a band of one standard error to each side."""
        table = self.table()
        accuracy, error = _accuracy(table)
        name = "validation accuracy"
        return Curves(
            x=table["leaders"].to_numpy(), curves={name: accuracy}, ylabel=name,
            xlabel="leaders a text (mean over validation texts)",
            bands={name: (accuracy - error, accuracy + error)},
        )  # fmt: skip


def point_of(model: "LeaderClassifier") -> dict[str, float]:
    """Return what a model reached at its chosen epoch."""
    best = model.training_["best"]
    return {
        "leaders_wished": float(model.leaders),
        "leaders": float(best.get("validation_leaders", 0.0)),
        "validation_accuracy": float(best["validation_accuracy"]),
        "validation_loss": float(best["validation_loss"]),
        "validation_texts": int(model.training_["validation_texts"]),
        "cpu_seconds": float(model.training_["cpu_seconds"]),
    }


def write_curve(curve: LeaderCurve, folder: str | Path, *, command: str, source: str, overwrite: bool = False) -> None:
    """Write ``curve.csv``, ``curve.json``, ``curve.png`` and ``report.html``.

    Parameters
    ----------
    curve
        The points.
    folder
        Folder to write; it appears only when it is complete.
    command
        The command that repeats the curve.
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
        "schema": SCHEMA, "schema_version": SCHEMA_VERSION, "source": source, "points": list(curve.points),
        "command": command, "provenance": curve.provenance,
    }  # fmt: skip
    write_page_folder(
        folder, "curve", record, curve_report, overwrite=overwrite,
        tables={"curve": curve.table()}, figures={"curve": curve_figure(curve)},
    )  # fmt: skip


def curve_figure(curve: LeaderCurve) -> "Figure":
    """Draw the curve, with a bar of one standard error of each accuracy."""
    from matplotlib.figure import Figure

    from tokendyn.show.axes import quiet

    table = curve.table()
    accuracy, error = _accuracy(table)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.errorbar(table["leaders"], 100 * accuracy, yerr=100 * error, marker="o", capsize=3)
    quiet(axes, "leaders a text (mean over validation texts)", "validation accuracy, %")
    return figure


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of a saved curve; it shows the figure that lies beside it."""
    return curve_report(read_json(folder / "curve.json", schema=SCHEMA, version=SCHEMA_VERSION), folder)


def curve_report(record: Mapping[str, Any], pictures: Path) -> Report:
    """Return the page of accuracy against leaders a text; ``pictures`` is the folder with the figure."""
    points = record["points"]
    best = max(points, key=lambda row: float(row["validation_accuracy"]))
    right, leaders = percent(best["validation_accuracy"]), f"{best['leaders']:.1f} leaders a text"
    return Report(
        title="Accuracy against leaders a text",
        subtitle=str(record["source"]),
        sections=[
            Text(
                f"{counted(len(points), 'model')} with more and fewer leaders a text. The most accurate one labels "
                f"{right} of the held-out texts right, with {leaders}."
            ),
            KeyFigures(
                {
                    "models": len(points),
                    "most accurate": f"{right} with {leaders}",
                }
            ),
            kept_picture(
                pictures,
                "curve.png",
                "Validation accuracy against the mean number of leaders a text",
                "Notice where the curve flattens: more leaders are hardly more accurate there.",
            ),
            Table([{name.replace("_", " "): value for name, value in row.items()} for row in points], "Points"),
            *closing(record["command"], record["provenance"]),
        ],
    )


def _accuracy(table: "pd.DataFrame") -> Any:
    """Return the accuracies and their standard errors: those of a share of independent texts."""
    accuracy = table["validation_accuracy"].to_numpy()
    return accuracy, (accuracy * (1 - accuracy) / table["validation_texts"].to_numpy()) ** 0.5
