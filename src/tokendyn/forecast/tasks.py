"""The task of a forecast: a training series, and starts in other series."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.data.snapshots import Snapshots
from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster
from tokendyn.words import counted


@dataclass(frozen=True)
class Task:
    """A training series, and starts in another series from which to forecast.

    Attributes
    ----------
    name
        Name in tables.
    train
        One series, or several.
    tests
        Series in which forecasts start; they may begin with rows of the training series, as history.
    lead
        Number of rows of each test before its first start.
    horizon, starts
        Number of steps of each forecast, and of starts in each test.
    validate
        Number of steps of a validation rollout.
    truths
        Series to compare noisy tests with; by default the tests themselves.
    exponent
        Largest Lyapunov exponent: valid times are then in Lyapunov times.
    """

    name: str
    train: tuple[Snapshots, ...]
    tests: tuple[Snapshots, ...]
    lead: int
    horizon: int
    starts: int
    validate: int
    truths: tuple[Snapshots, ...] | None = None
    exponent: float = 1.0


def rollouts(
    task: Task, model: Forecaster
) -> tuple[Float[np.ndarray, "starts time features"], Float[np.ndarray, "starts time features"]]:
    """Return the forecasts from every start of a task, NaN after a divergence, and the truths.

    Raises
    ------
    BadInputError
        If a window does not fit before the first start, or the tests are too short.
    """
    span = model.window_length_
    if span > task.lead:
        raise BadInputError(
            f"{task.name}: a window of {counted(span, 'snapshot')}, but {task.lead} before the first start"
        )
    windows, driven, truths = [], [], []
    for test, truth in zip(task.tests, task.truths or task.tests, strict=True):
        last = len(test) - task.horizon
        if last < task.lead:
            raise BadInputError(
                f"{task.name}: a test of {counted(len(test), 'snapshot')}; needs {task.lead + task.horizon}"
            )
        for start in np.unique(np.linspace(task.lead, last, task.starts).astype(int)):
            windows.append(test.values[start - span : start])
            truths.append(truth.values[start : start + task.horizon])
            if test.inputs is not None:
                driven.append(test.inputs[start - span : start + task.horizon])
    values = np.full((len(windows), task.horizon, model.n_features_), np.nan)
    found = model.forecast_many(np.stack(windows), task.horizon, np.stack(driven) if driven else None)
    for row, forecast in zip(values, found, strict=True):
        row[: forecast.finite_steps] = forecast.values
    return values, np.stack(truths)
