"""``tokendyn sentiment compare``, ``curve`` and ``evaluate``."""

from tokendyn.cli.experiments import command_of
from tokendyn.studies.sentiment.experiments import ClassifierComparison, Curve, Evaluation

compare = command_of(
    ClassifierComparison,
    out="Folder to write: table.csv, comparison.json, comparison.png, report.html. It must not exist.",
)
curve = command_of(Curve, out="Folder to write: curve.csv, curve.json, curve.png, report.html. It must not exist.")
evaluate = command_of(
    Evaluation, out="Folder to write: table.csv, texts.csv, evaluation.json, faithfulness.png, report.html."
)
