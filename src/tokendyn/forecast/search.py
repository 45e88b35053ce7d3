"""A search over delays, stride, rank, units, attention and noise by validation rollouts, in a time budget."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.forecast.checks import check_number, check_series
from tokendyn.forecast.tdtf import TDTF
from tokendyn.runs.files import read_json, write_json

SCHEMA = "tokendyn-forecast-search"
SCHEMA_VERSION = 1
#: Iterations of a trial; the chosen parameters are then fitted with more.
_TRIAL_ITERATIONS = 12
#: A candidate must lower the logarithm of the validation error by so much to be taken over a simpler one.
_WORTH = 0.02

#: TD-DMD by plain least squares: what is nearly linear is forecast best by long windows without noise or ridge.
_LINEAR: dict[str, Any] = {"units": 0, "noise": 0.0, "ridge": 0.0}
#: Several features may be the state itself: one snapshot, few directions, and a finish that makes the motion attract.
_STATE: dict[str, Any] = {
    "delays": 1, "stride": 1, "common_scale": True, "rank": 3, "units": 15, "unit_scale": 0.3, "attention": False,
    "noise": 0.03, "ridge": 1e-6, "finish": 10, "finish_steps": 60,
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One candidate: its parameters, its validation error, what it had cost.

    Attributes
    ----------
    parameters
        Of TDTF.
    error
        Validation error of the closed loop, see :func:`tokendyn.forecast.training.validation_error`.
    linear_error
        That of TD-DMD with the same delays.
    chosen
        Iteration that was kept, 0 for TD-DMD.
    weights
        Numbers that training set.
    seconds
        Wall time.
    """

    parameters: dict[str, Any]
    error: float
    linear_error: float
    chosen: int
    weights: int
    seconds: float


@dataclass(frozen=True)
class Found:
    """The chosen model and why.

    Attributes
    ----------
    model
        Fitted with the best parameters.
    trials
        All candidates in the order they were tried.
    best
        Index of the chosen one.
    status
        "complete" when every candidate was tried, else "budget".
    """

    model: TDTF
    trials: tuple[Trial, ...]
    best: int
    status: str

    def account(self) -> str:
        """Return a readable table of the trials, and the reason of the choice."""
        head = f"{'':2}{'delays':>6}{'stride':>7}{'units':>6}{'attention':>10}{'noise':>9}"
        lines = [head + f"{'error':>11}{'TD-DMD':>11}{'kept at':>8}{'weights':>8}{'seconds':>8}"]
        for number, trial in enumerate(self.trials):
            p = trial.parameters
            attention = "yes" if p["attention"] else "no"
            kept = str(trial.chosen) if trial.chosen else "linear"
            lines.append(
                f"{'*' if number == self.best else '':2}{p['delays']:6d}{p['stride']:7d}{p['units']:6d}"
                f"{attention:>10}{p['noise']:9.0e}{trial.error:11.3e}{trial.linear_error:11.3e}{kept:>8}"
                f"{trial.weights:8d}{trial.seconds:8.1f}"
            )
        chosen = self.trials[self.best]
        kind = "the linear model" if chosen.chosen == 0 else f"{chosen.parameters['units']} nonlinear units"
        lines.append(
            f"Chosen (*): {kind}, {chosen.parameters['delays']} delays {chosen.parameters['stride']} steps apart: the "
            f"lowest closed-loop error on the held-out part ({chosen.error:.3e}; simpler models win ties within 2 %). "
            f"Tried {len(self.trials)} candidates ({self.status})."
        )
        return "\n".join(lines)


def auto_forecaster(
    series: Any,
    *,
    dt: float = 1.0,
    inputs: Any = None,
    horizon: int | None = None,
    budget: float = 120.0,
    random_state: int = 0,
    resume: str | Path | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Found:
    """Search for the TD-TF that validation rollouts prefer, and fit it.

    Two thirds of the budget go to short trials: linear models with windows up to long ones, then from simple to rich,
    the best nonlinear one so far being varied in turn in delays and stride, attention and noise, units, a finish on
    closed loops; the rest to a longer fit of the best.

    Parameters
    ----------
    series, dt, inputs
        As for :meth:`tokendyn.forecast.Forecaster.fit`; the last tenth of each series validates, or more for a horizon.
    horizon
        Steps that the forecasts are for: validation rollouts are as long where three tenths of a series hold them.
    budget
        Wall seconds; at least one trial and the final fit are done.
    random_state
        Seed of every fit.
    resume
        JSON file that each trial is written to; trials that it holds are not repeated.
    progress
        Called with the share of the budget that is spent and what is being tried.

    Raises
    ------
    BadInputError
        If the data are bad, or too short to hold a part out, or ``resume`` belongs to other data.
    """
    problems = check_number("budget", budget)
    if problems:
        raise BadInputError(problems[0])
    listed = series if isinstance(series, list) else [series]
    arrays = [check_series(one, "series") for one in listed]
    print_ = [*_fingerprint(arrays, dt, random_state), float(horizon or 0)]
    fixed = _validation(max(map(len, arrays)), horizon)
    known = _read(resume, print_)
    began = time.perf_counter()
    trials: list[Trial] = []
    status = "complete"
    for parameters in _candidates(trials, max(map(len, arrays)), arrays[0].shape[1]):
        spent = time.perf_counter() - began
        if trials and spent > 2 / 3 * budget:
            status = "budget"
            break
        if progress is not None:
            progress(min(spent / budget, 1.0), f"trial {len(trials) + 1}: {parameters}")
        found = next((trial for trial in known if trial.parameters == parameters), None)
        trials.append(found or _try(parameters, fixed, series, dt, inputs, random_state, 2 / 3 * budget - spent))
        if resume is not None:
            _write(resume, print_, trials)
    best = _best(trials)
    left = max(budget - (time.perf_counter() - began), budget / 6)
    model = TDTF(**trials[best].parameters, **fixed, iterations=80, budget=left, random_state=random_state)
    model.fit(series, dt=dt, inputs=inputs, progress=progress)
    return Found(model, tuple(trials), best, status)


def _validation(samples: int, horizon: int | None) -> dict[str, Any]:
    """Return which share of the longest series validates, and over how many steps."""
    if horizon is None:
        return {}
    share = min(max(1.25 * horizon / samples, 0.1), 0.3)
    return {"validation_fraction": share, "validation_horizon": max(min(horizon, int(0.8 * share * samples)), 1)}


def _candidates(trials: list[Trial], samples: int, features: int) -> Iterator[dict[str, Any]]:
    """Yield parameters; each stage starts from the best trial so far."""
    base = {"delays": 5, "stride": 1, "units": 40, "attention": True, "noise": 1e-4}
    tried: list[dict[str, Any]] = []

    def fresh(**changes: Any) -> Iterator[dict[str, Any]]:
        nonlinear = [trial for trial in trials if trial.parameters["units"]]
        start = nonlinear[_best(nonlinear)].parameters if nonlinear else base
        parameters = start | changes
        span = (parameters["delays"] - 1) * parameters["stride"] + 1
        longest, widest = (samples / 6, 400) if parameters["units"] else (samples / 3, 1000)
        if parameters not in tried and span < longest and parameters["delays"] * features <= widest:
            tried.append(parameters)
            yield parameters

    yield from fresh()
    for delays in (20, 100, 400):
        yield from fresh(delays=delays, stride=1, **_LINEAR)
    if features > 2:
        yield from fresh(**_STATE)
    for delays, stride in ((2, 1), (3, 2), (5, 3), (5, 6), (10, 2), (20, 1), (40, 1), (1, 1)):
        yield from fresh(delays=delays, stride=stride)
    yield from fresh(attention=False)
    for noise in (1e-5, 1e-3, 1e-2, 3e-6):
        yield from fresh(noise=noise)
    for units in (15, 80, 150):
        yield from fresh(units=units)
    for steps in (60, 200):
        yield from fresh(attention=False, rank=10, units=20, finish=6, finish_steps=steps)


def _try(
    parameters: dict[str, Any],
    fixed: dict[str, Any],
    series: Any,
    dt: float,
    inputs: Any,
    random_state: int,
    seconds: float,
) -> Trial:
    """Fit one candidate for a few iterations."""
    began = time.perf_counter()
    model = TDTF(
        **parameters, **fixed, iterations=_TRIAL_ITERATIONS, budget=max(seconds, 0.0), random_state=random_state
    )
    model.fit(series, dt=dt, inputs=inputs)
    record = model.training_
    if record["error"] is None or record["linear_error"] is None:
        raise BadInputError("the series is too short to hold a part out for validation; fit TDTF or TDDMD directly")
    seconds = round(time.perf_counter() - began, 3)
    return Trial(parameters, record["error"], record["linear_error"], record["chosen"], model.parameters_, seconds)


def _best(trials: list[Trial]) -> int:
    """Return the trial of least error; of those within two percent, the one with the fewest weights."""
    least = min(trial.error for trial in trials)
    near = [number for number, trial in enumerate(trials) if trial.error <= least * np.exp(_WORTH)]
    return min(near, key=lambda number: trials[number].weights)


def _fingerprint(arrays: list[np.ndarray], dt: float, random_state: int) -> list[float]:
    """Return numbers that tell one search from another."""
    return [float(dt), float(random_state), *(float(one.sum()) for one in arrays), *(float(len(one)) for one in arrays)]


def _read(path: str | Path | None, print_: list[float]) -> list[Trial]:
    """Return the trials of a file, none without one."""
    if path is None or not Path(path).exists():
        return []
    record = read_json(path, schema=SCHEMA, version=SCHEMA_VERSION)
    if record.get("data") != print_:
        raise BadInputError(f"{path} belongs to other data or another seed; give another file, or remove it")
    try:
        return [Trial(**trial) for trial in record["trials"]]
    except (KeyError, TypeError) as error:
        raise BadInputError(f"{path} is not a whole record of a search ({error}); remove it") from None


def _write(path: str | Path, print_: list[float], trials: list[Trial]) -> None:
    """Write all trials so far."""
    rows = [vars(trial) for trial in trials]
    write_json(path, {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "data": print_, "trials": rows})
