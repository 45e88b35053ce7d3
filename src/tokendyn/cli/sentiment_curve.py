"""``tokendyn sentiment curve``: accuracy against leaders a text, over models."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import progress
from tokendyn.cli.repeat import repeated
from tokendyn.errors import BadInputError
from tokendyn.experiments import rehearse
from tokendyn.runs.files import check_free, new_folder
from tokendyn.runs.files import write_json as write_record

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.sentiment import LeaderClassifier


def curve(
    reviews: Path,
    /,
    *,
    out: Path,
    leaders: tuple[float, ...] = (1.5, 2.0, 3.0, 5.0, 8.0, 12.0),
    text: str = "text",
    label: str = "label",
    active_words: int = 8000,
    ngrams: int = 1,
    negation: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Draw accuracy against leaders a text: one model for each wish, judged on its validation texts.

    Parameters
    ----------
    reviews
        CSV, TSV or JSONL (also .gz), UTF-8, with a column of texts and one of labels.
    out
        Folder to write: curve.csv, curve.json, curve.png, report.html. It must not exist.
    leaders
        Mean numbers of leaders a text to aim at, each given by its own --leaders.
    text, label
        Names of the columns.
    active_words, ngrams, negation
        As for train.
    seed
        Seed of every random choice.
    overwrite
        Replace the folder when it exists.
    dry_run
        Check the input, say what would be done, and stop.
    json
        Write the points as one JSON object to standard output.
    """
    import pandas as pd

    from tokendyn.data.texts import read_texts
    from tokendyn.runs.provenance import provenance
    from tokendyn.sentiment import LeaderClassifier
    from tokendyn.sentiment.model_page import SCHEMA, SCHEMA_VERSION, curve_report
    from tokendyn.show import write_report

    wrong = [wish for wish in leaders if not wish > 0]
    if wrong or not leaders:
        raise BadInputError(f"--leaders must be one or more positive numbers, got {wrong or 'none'}")
    began = time.perf_counter()
    check_free(out, overwrite=overwrite, inputs=[reviews])
    data = read_texts(reviews, text=text, label=label)
    data.check_classes()
    if dry_run:
        model = LeaderClassifier(
            leaders=min(leaders), active_words=active_words, ngrams=ngrams, negation=negation, random_state=seed
        )
        rehearse(lambda begun: model.fit(data.texts, data.labels or (), progress=begun))
        announce(f"would train {len(set(leaders))} models on {len(data)} texts, and write {out}")
        return 0
    with new_folder(out, overwrite=overwrite) as place:
        rows = []
        with progress("models") as report:
            for done, wish in enumerate(sorted(set(leaders)), start=1):
                model = LeaderClassifier(
                    leaders=wish, active_words=active_words, ngrams=ngrams, negation=negation, random_state=seed
                ).fit(data.texts, data.labels or ())
                rows.append(point(model))
                report(done, len(set(leaders)))
        table = pd.DataFrame(rows)
        table.to_csv(place / "curve.csv", index=False)
        draw(table, place / "curve.png")
        command = repeated()
        config = {"active_words": active_words, "ngrams": ngrams, "negation": negation, "leaders": list(leaders)}
        record = {
            "schema": SCHEMA, "schema_version": SCHEMA_VERSION, "source": reviews.name, "points": rows,
            "command": command, "provenance": provenance(config, seed=seed, seconds=time.perf_counter() - began),
        }  # fmt: skip
        write_record(place / "curve.json", record)
        write_report(curve_report(record, place), place / "report.html")
    if json:
        write_json({"points": rows, "out": str(out)})
    for row in rows:
        announce(f"{row['leaders']:6.2f} leaders a text: {row['validation_accuracy']:.1%} of validation texts right")
    announce(f"wrote {out}; open {out / 'report.html'}; train a point: tokendyn sentiment train --leaders N")
    return 0


def point(model: "LeaderClassifier") -> dict[str, float]:
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


def draw(table: "pd.DataFrame", path: Path) -> None:
    """Draw the curve, with a bar of one standard error of each accuracy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    accuracy = table["validation_accuracy"].to_numpy()
    error = (accuracy * (1 - accuracy) / table["validation_texts"].to_numpy()) ** 0.5
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.errorbar(table["leaders"], 100 * accuracy, yerr=100 * error, marker="o", capsize=3)
    axes.set_xlabel("leaders a text (mean over validation texts)")
    axes.set_ylabel("validation accuracy, %")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
