"""``tokendyn forecast run``, ``fit`` and ``predict``: from data to a forecast, at once or by way of a model."""

from tokendyn.cli.experiments import command_of
from tokendyn.forecast.continuation import Continuation
from tokendyn.forecast.experiments import Fitting, Forecasting

run = command_of(Continuation, out="Folder to write: forecast, model, report.html. It must not exist.")
fit = command_of(Fitting, out="Folder to write the model to. It must not exist.")
predict = command_of(Forecasting, out="CSV file to write; standard output by default.")
