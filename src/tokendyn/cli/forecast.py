"""``tokendyn forecast fit`` and ``predict``: from a table of snapshots to a model, and from a model to a forecast."""

from tokendyn.cli.experiments import command_of
from tokendyn.forecast.experiments import Fitting, Forecasting

fit = command_of(Fitting, out="Folder to write the model to. It must not exist.")
predict = command_of(Forecasting, out="CSV file to write; standard output by default.")
