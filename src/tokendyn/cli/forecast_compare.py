"""``tokendyn forecast compare`` and ``study``: models side by side, on the user's data and on generated systems."""

from tokendyn.cli.experiments import command_of
from tokendyn.studies.forecast.experiments import Comparison, Validation

compare = command_of(Comparison, out="Folder to write. It must not exist.")
study = command_of(
    Validation,
    out="Folder to write: table.csv, study.json, arrays.npz, figures, report.html. It must not exist.",
)
