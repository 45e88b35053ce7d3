"""``tokendyn sentiment compare``, ``curve`` and ``evaluate``."""

from tokendyn.cli.experiments import command_of
from tokendyn.studies.sentiment.experiments import Compare, Curve, Evaluate

compare = command_of(
    Compare, out="Folder to write: table.csv, comparison.json, comparison.png, report.html. It must not exist."
)
curve = command_of(Curve, out="Folder to write: curve.csv, curve.json, curve.png, report.html. It must not exist.")
evaluate = command_of(
    Evaluate, out="Folder to write: table.csv, texts.csv, evaluation.json, faithfulness.png, report.html."
)
