"""The held-out part of a user's series, and closed-loop errors of a model on it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.data.snapshots import Snapshots
from tokendyn.data.snapshots.calendars import in_words
from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.intervals import LEVEL
from tokendyn.forecast.tasks import Task, rollouts
from tokendyn.metrics import normalised_error, valid_prediction_times
from tokendyn.results import Bars, Numbers
from tokendyn.words import counted, duration

#: Closed-loop error beyond which a forecast no longer counts as valid, in standard deviations.
THRESHOLD = 0.4


@dataclass(frozen=True)
class HeldOut(Numbers, kind="held-out"):
    """Closed-loop forecasts from several starts, with their errors.

    Attributes
    ----------
    nrmse, worst
        Median and largest over the starts of the root mean square error, in standard deviations of the training data
        (of fields in that of the whole field, over its area); infinite where a rollout diverged.
    valid_time, lower, upper
        Quartiles of the time until the error first exceeds :data:`THRESHOLD`, in the unit of the times.
    diverged, starts, horizon
        Number of diverged forecasts, of all forecasts, and of the steps of each.
    forecasts, truths
        ``(starts, time, features)``; NaN after a divergence.
    dated
        Whether the times were dates, and the unit of time is the second.
    calendar
        Name of the calendar if dates have calendar steps; the unit of time is then its step.
    coverage
        Share of the truth inside the model's bands of 90 %, as far as they are calibrated; NaN without bands, or if
        they were calibrated without refits. A diverged forecast has no band after its end.
    left_range
        Number of forecasts that left the range of the training data by ten widths of it, including diverged ones.
    unit
        Of times that are numbers, where the data tell it.
    """

    nrmse: float
    worst: float
    valid_time: float
    lower: float
    upper: float
    diverged: int
    starts: int
    horizon: int
    forecasts: Float[np.ndarray, "starts time features"]
    truths: Float[np.ndarray, "starts time features"]
    dated: bool = False
    calendar: str | None = None
    coverage: float = float("nan")
    left_range: int = 0
    unit: str = ""

    def numbers(self) -> dict[str, float | int]:
        """Return the numbers."""
        names = ("nrmse", "worst", "valid_time", "lower", "upper", "diverged", "starts", "horizon")
        return {name: getattr(self, name) for name in (*names, "coverage", "left_range")}

    @property
    def status(self) -> str:
        """``"diverged"`` or ``"left range"`` if any forecast did, else ``"completed"``."""
        return "diverged" if self.diverged else "left range" if self.left_range else "completed"

    def describe(self) -> list[str]:
        """Return :meth:`line`, and the share of the truth inside the bands."""
        covered = f"bands of {100 * LEVEL:g} % hold {100 * self.coverage:.0f} % of what was held out"
        return [self.line()] if math.isnan(self.coverage) else [self.line(), covered]

    def picture(self) -> Bars:
        """Return the quartiles of the valid time."""
        return Bars(
            ("lower quartile", "median", "upper quartile"), (self.lower, self.valid_time, self.upper), "valid time"
        )

    def line(self) -> str:
        """Return the numbers as one sentence."""
        if self.diverged:
            fate = f"{self.diverged} of {self.starts} forecasts diverged"
        else:
            fate = f"the worst {self.worst:.3g}"
        if self.left_range > self.diverged:
            fate += f"; {self.left_range} left the range of the training data by ten widths of it"
        time = duration(self.valid_time) if self.dated else f"{self.valid_time:.4g} {self.unit or 'units of time'}"
        time = time if self.calendar is None else in_words(self.calendar, self.valid_time)
        return (
            f"held out: closed-loop error over {counted(self.horizon, 'step')} {self.nrmse:.3g} standard deviations "
            f"(median of {counted(self.starts, 'start')}; {fate}); valid for {time}"
        )


def hold_out(
    series: Sequence[Snapshots], horizon: int, share: float = 0.2, starts: int = 10, name: str = "data"
) -> Task:
    """Split series into a training part and starts of forecasts of ``horizon`` steps.

    The last ``share`` of a single series is held out, at least ``horizon`` rows; windows may reach into the training
    part, forecasts may not. Of several series the last ``share`` of them is held out, at least one.

    Parameters
    ----------
    series
        One series or several.
    horizon, share, starts
        Steps of a forecast, held-out share, and largest total number of forecasts.
    name
        Name of the task, for tables.

    Raises
    ------
    BadInputError
        If too little remains to learn from.

    Examples
    --------
    >>> from tokendyn.data.systems import sinusoids
    >>> from tokendyn.forecast import TDDMD
    >>> from tokendyn.forecast.held_out import hold_out, measure
    >>> task = hold_out([sinusoids(300, 0.05, (0.5, 1.2), seed=0)], horizon=20)
    >>> held = measure(task, TDDMD(delays=6).fit(task.train[0].values, dt=0.05))
    >>> held.nrmse < 1e-6
    True
    """
    if horizon < 1 or not 0 < share < 1:
        raise BadInputError(f"horizon is {horizon} and the share held out {share}; expected at least 1, and in (0, 1)")
    if len(series) > 1:
        count = max(round(share * len(series)), 1)
        tests = tuple(series[-count:])
        lead = (min(map(len, tests)) - horizon + 1) // 2
        if lead < 2:
            raise BadInputError(
                f"the shortest series that is held out has {counted(min(map(len, tests)), 'snapshot')}; a "
                f"forecast of {horizon} "
                "steps and its window need more: lower the horizon"
            )
        each = max(starts // count, 1)
        return Task(name, tuple(series[:-count]), tests, lead, horizon, each, _validation(series[0], horizon))
    (whole,) = series
    cut = len(whole) - max(round(share * len(whole)), horizon)
    if cut < max(horizon, 10):
        raise BadInputError(
            f"{whole.source} has {counted(len(whole), 'snapshot')}; to learn and to be tested over "
            f"{counted(horizon, 'step')} it needs at "
            f"least {2 * max(horizon, 10)}: lower the horizon, or give more snapshots"
        )
    return Task(name, (whole[:cut],), (whole,), cut, horizon, starts, _validation(whole[:cut], horizon))


def measure(task: Task, model: Forecaster) -> HeldOut:
    """Forecast from every start of a task and compare with the truth.

    Raises
    ------
    BadInputError
        If the model's window does not fit before the first start.
    """
    forecasts, truths = rollouts(task, model)
    scale = error_scale(task, model)
    errors = np.sqrt((normalised_error(forecasts, truths, scale) ** 2).mean(axis=1))
    valid = valid_prediction_times(forecasts, truths, model.dt_, task.exponent, THRESHOLD, scale)
    diverged = int(np.isnan(forecasts).any(axis=(1, 2)).sum())
    return HeldOut(
        float(np.median(errors)),
        float(errors.max()),
        valid.median,
        valid.lower,
        valid.upper,
        diverged,
        len(forecasts),
        task.horizon,
        forecasts,
        truths,
        dated=task.tests[0].epoch is not None,
        calendar=task.tests[0].calendar,
        coverage=_coverage(model, forecasts, truths),
        left_range=sum(model._steps_within(forecast) < task.horizon for forecast in forecasts),
        unit=task.tests[0].unit,
    )


def error_scale(task: Task, model: Forecaster) -> Float[np.ndarray, " features"]:
    """Return what errors are divided by: the deviation of each column, or of whole fields (:meth:`Grid.deviations`)."""
    grid = task.train[0].grid
    if grid is None:
        return model.scale_
    whole = grid.deviations(np.concatenate([part.values for part in task.train]).var(axis=0))
    return model.scale_ if whole is None else whole


def _coverage(model: Forecaster, forecasts: np.ndarray, truths: np.ndarray) -> float:
    """Return the share of the truth inside the bands of a model; NaN without bands."""
    if model.residuals_ is None or model.residuals_.source == "other data":  # perhaps of these very rows
        return float("nan")
    half = model.residuals_.half_width(forecasts.shape[1], LEVEL)
    known = np.isfinite(forecasts) & ~np.isnan(half)
    return float((np.abs(forecasts - truths) <= half)[known].mean()) if known.any() else float("nan")


def _validation(learned: Snapshots, horizon: int) -> int:
    """Return the steps of validation rollouts: the horizon, or less if the training series is short."""
    return max(min(horizon, len(learned) // 10), 1)
