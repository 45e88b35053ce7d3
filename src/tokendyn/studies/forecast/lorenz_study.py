"""Lorenz 63: one column or all, clean and noisy; how long forecasts are valid, and whether long runs keep the law."""

from collections.abc import Sequence

import numpy as np

from tokendyn.data.systems import LYAPUNOV, lorenz63
from tokendyn.forecast.base import Progress
from tokendyn.forecast.tasks import Task
from tokendyn.metrics import histogram_distance, spectral_distance
from tokendyn.studies.forecast.comparison import Outcome, Study, compare, contenders, finished

#: Settings of TD-TF by hand when only x is seen, when all columns are, and when they are noisy; settled on other
#: orbits. The study does not use them, its search finds its own; a benchmark and the claims do.
X_ONLY = {"delays": 5, "stride": 5, "units": 250, "every": 2, "noise": 3e-6, "iterations": 80, "gate": False, "rank": 5}
STATE = {"delays": 1, "stride": 1, "rank": 3, "attention": False, "gate": False}
ALL = STATE | {"units": 250, "noise": 0.0, "ridge": 1e-18, "iterations": 40}
NOISY = STATE | {"units": 30, "noise": 1e-4, "ridge": 1e-9, "iterations": 20, "smoothing": 30, "history": 100}
#: Levels of noise of the tasks that see all columns.
NOISES = (0.0, 0.01, 0.05)
#: Snapshots before a start: none of the models' windows is longer.
LEAD = 400


def lorenz(
    *,
    quick: bool = False,
    seed: int = 0,
    budget: float | None = None,
    models: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Compare valid prediction times on Lorenz 63, and histograms and spectra of long rollouts.

    Tasks: ``x`` (only x is seen), ``all`` columns clean, and with noise of 1 % and 5 % of each column's standard
    deviation. Training series of 10,000 snapshots at dt = 0.02; starts lie in a second trajectory; forecasts from noisy
    windows are compared with the clean truth. Valid times are in Lyapunov times (exponent 0.9056, threshold 0.4).

    Parameters
    ----------
    quick
        Short series, small models, ten starts, clean only.
    seed
        For trajectories, noise and searches.
    budget
        CPU seconds of each model's search; 15, or 2 with ``quick``.
    models
        Names of the models that take part, as in the table; all by default.
    progress
        Called with the share that is done and a line.
    """
    budget = (2.0 if quick else 15.0) if budget is None else budget
    points, starts, long = (1500, 10, 2000) if quick else (10_000, 50, 10_000)
    sizes: dict[str, int] = {"points": points, "starts": starts, "seed": seed}
    tasks = [lorenz_task("x", **sizes), *(lorenz_task("all", level, **sizes) for level in NOISES[: 1 if quick else 3])]
    parts = []
    for task in tasks:
        seen = "x" if task.name == "x" else "all"
        chosen = contenders(models, partial=seen == "x", quick=quick)
        outcomes, failures = compare(task, chosen, budget, seed, progress)
        for outcome in outcomes:
            outcome.row.update(long_run(task, outcome, long))
        parts.append((task, outcomes, failures))
    return finished("lorenz", parts, {"quick": quick, "seed": seed, "budget": budget, "points": points})


def lorenz_task(seen: str, noise: float = 0.0, *, points: int = 10_000, starts: int = 50, seed: int = 0) -> Task:
    """Return the task on one trajectory of snapshots, dt = 0.02, with starts four hundred steps apart in another.

    Parameters
    ----------
    seen
        "x" or "all": the columns.
    noise
        In standard deviations of each column, on the training series and on the windows that forecasts start from;
        what forecasts are compared with is clean.
    points, starts
        Snapshots to learn from, and forecasts.
    seed
        Of the training trajectory; that of the test is the next, those of the noise lie 10 and 11 above.
    """
    horizon = 1000 if seen == "x" or noise else 2000
    train, test = lorenz63(points, seed=seed), lorenz63(LEAD + 400 * (starts - 1) + horizon, seed=seed + 1)
    if seen == "x":
        train, test = train.select(["x"]), test.select(["x"])
    learned = train.with_noise(noise, seed + 10) if noise else train
    shown = test.with_noise(noise, seed + 11) if noise else test
    name = f"{seen}, {noise:.0%} noise" if noise else seen
    validate = min(400, points // 10)
    return Task(name, (learned,), (shown,), LEAD, horizon, starts, validate, (test,), LYAPUNOV["lorenz63"])


def long_run(task: Task, outcome: Outcome, steps: int) -> dict[str, float | int]:
    """Roll out from one window and compare histograms and spectra with the test series.

    The distances compare a run with a series of another length, so two true runs are some hundredths apart too.
    """
    test = (task.truths or task.tests)[0]
    model = outcome.tuned.model
    forecast = model.forecast(task.tests[0].values[: task.lead], steps)
    if forecast.status != "completed":
        return {"long_steps": forecast.finite_steps, "histogram_distance": 1.0, "spectral_distance": 1.0}
    return {
        "long_steps": steps,
        "histogram_distance": histogram_distance(forecast.values, test.values),
        "spectral_distance": float(spectral_distance(forecast.values, test.values, test.dt))
        if np.ptp(forecast.values, axis=0).min() > 0
        else 1.0,
    }
