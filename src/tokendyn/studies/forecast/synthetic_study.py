"""Synthetic signals: sums of sinusoids, for which a linear model is right, and whether frequencies are recovered."""

from collections.abc import Sequence

import numpy as np

from tokendyn.data.snapshots import Snapshots
from tokendyn.data.systems import sinusoids
from tokendyn.forecast.base import Progress
from tokendyn.forecast.tasks import Task
from tokendyn.metrics import dominant_frequency
from tokendyn.studies.forecast.comparison import Outcome, Study, compare, contenders, finished, validated

#: Frequencies, growth rates, amplitudes and noise of each signal; time in seconds.
SIGNALS: dict[str, tuple[tuple[float, ...], tuple[float, ...] | float, tuple[float, ...], float]] = {
    "commensurate": ((0.5, 1.0, 1.5), 0.0, (1.0, 0.5, 0.3), 0.0),
    "quasi-periodic": ((0.5, 0.5 * np.sqrt(2), 0.5 * np.sqrt(5)), 0.0, (1.0, 0.7, 0.4), 0.0),
    "damped": ((0.5, 1.3), (-0.02, -0.01), (1.0, 1.0), 0.0),
    "growing": ((0.5, 1.3), (0.01, 0.005), (1.0, 1.0), 0.0),
    "noisy": ((0.5, 0.5 * np.sqrt(2)), 0.0, (1.0, 0.7), 0.05),
}


def synthetic(
    *,
    quick: bool = False,
    seed: int = 0,
    budget: float | None = None,
    models: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Compare forecasts of sums of sinusoids in two channels, and the frequency of the strongest one.

    Parameters
    ----------
    quick
        Two signals, short series, small models.
    seed
        For signals and searches.
    budget
        CPU seconds of each model's search; 12, or 1 with ``quick``.
    models
        Names of the models that take part, as in the table; all by default.
    progress
        Called with the share that is done and a line.
    """
    budget = (1.0 if quick else 12.0) if budget is None else budget
    names = ("quasi-periodic", "noisy") if quick else tuple(SIGNALS)
    parts = []
    for name in names:
        task = signal_task(name, 800 if quick else 2000, seed)
        outcomes, failures = compare(task, contenders(models, quick=quick, longest=task.lead), budget, seed, progress)
        for outcome in outcomes:
            outcome.row["frequency_error"] = frequency_error(task, outcome, SIGNALS[name][0])
        parts.append((task, outcomes, failures))
    return finished("synthetic", parts, {"quick": quick, "seed": seed, "budget": budget})


def signal_task(name: str, points: int, seed: int) -> Task:
    """Return the task of one signal; noisy ones are compared with their clean part."""
    frequencies, rates, amplitudes, noise = SIGNALS[name]
    series = [
        sinusoids(points, 0.05, frequencies, rates, amplitudes, channels=2, noise=level, seed=seed)
        for level in (noise, 0.0)
    ]
    horizon = points // 4
    cut = points - horizon - horizon // 4
    lead = cut // 2

    def behind(one: Snapshots) -> Snapshots:
        return one[cut - lead :]

    tests, truths = (behind(series[0]),), (behind(series[1]),)
    return Task(name, (series[0][:cut],), tests, lead, horizon, 5, validated(cut, horizon), truths)


def frequency_error(task: Task, outcome: Outcome, frequencies: tuple[float, ...]) -> float:
    """Return the distance of the forecast's strongest frequency from the nearest true one, relative to that."""
    forecast = outcome.forecasts[0, :, 0]
    if not np.isfinite(forecast).all() or np.ptp(forecast) == 0:
        return float("inf")
    found = dominant_frequency(forecast, task.train[0].dt)
    return float(min(abs(found - f) / f for f in frequencies))
