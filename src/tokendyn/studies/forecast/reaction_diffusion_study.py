"""Reaction-diffusion: spirals that grow or shrink to their limit, by a few POD modes, measured in the field."""

from collections.abc import Sequence

import numpy as np

from tokendyn.data.snapshots import Snapshots
from tokendyn.data.systems import lambda_omega
from tokendyn.data.systems.fields import spiral
from tokendyn.forecast.base import Progress
from tokendyn.forecast.pod import POD
from tokendyn.forecast.tasks import Task, rollouts
from tokendyn.studies.forecast.comparison import Outcome, Study, compare, contenders, finished

#: Sizes of the spirals that are learned, and of those that are forecast.
LEARNED, TESTED = (0.02, 0.3, 0.1, 1.5, 0.05, 0.7), (0.03, 0.2, 1.2)
#: Snapshots that are seen before a forecast: one unit of time, a sixth of a turn.
LEAD = 10
#: The basis is that of every third field; neighbours say nearly the same.
POD_EVERY = 3


def reaction_diffusion(
    *,
    quick: bool = False,
    seed: int = 0,
    budget: float | None = None,
    models: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Compare forecasts of the lambda-omega system from spirals of a size that was not learned.

    Each run starts from the spiral times a number; all tend to the same rotating spiral. POD of the training fields
    gives 2 to 10 coefficients, these are forecast, and the field is rebuilt. ``field_error`` is the norm of the error
    over that of the field without the mean, ``floor`` what POD alone leaves.

    Parameters
    ----------
    quick
        A coarse grid, one number of modes, short runs.
    seed
        For the searches.
    budget
        CPU seconds of each model's search; 30, or 2 with ``quick``.
    models
        Names of the models that take part, as in the table; all by default.
    progress
        Called with the share that is done and a line.
    """
    budget = (2.0 if quick else 30.0) if budget is None else budget
    grid, points = (16, 250) if quick else (48, 600)
    runs = {size: fields(size, points, grid) for size in (*LEARNED, *TESTED)}
    counts = (4,) if quick else (2, 4, 10)
    whole = POD(modes=counts[-1]).fit(np.concatenate([runs[size][::POD_EVERY] for size in LEARNED]))
    parts, energies = [], {}
    for modes in counts:
        pod = POD.from_basis(whole.modes_[:modes], whole.mean_)
        energies[f"energies/{modes}"] = whole.energies_[:modes]
        task = _task(pod, runs, points)
        chosen = contenders(models, partial=False, quick=quick, longest=LEAD)
        outcomes, failures = compare(task, chosen, budget, seed, progress)
        for outcome in outcomes:
            outcome.row.update(field_errors(task, outcome, pod, runs))
        parts.append((task, outcomes, failures))
    return finished("reaction-diffusion", parts, {"quick": quick, "seed": seed, "budget": budget}, energies)


def fields(size: float, points: int, grid: int) -> np.ndarray:
    """Return u and v ``(time, 2, grid, grid)`` from a spiral of the given size."""
    series = lambda_omega(points, dt=0.1, grid=grid, start=size * spiral(grid, 20.0))
    return series.values.reshape(points, 2, grid, grid)


def _task(pod: POD, runs: dict[float, np.ndarray], points: int) -> Task:
    def series(size: float) -> Snapshots:
        values = pod.transform(runs[size])
        names = tuple(f"a{i + 1}" for i in range(values.shape[1]))
        return Snapshots(values, 0.1 * np.arange(points), 0.1, names, source=f"spiral of size {size:g}")

    horizon = points - LEAD
    tests = tuple(series(size) for size in TESTED)
    return Task(f"{len(pod.modes_)} modes", tuple(series(size) for size in LEARNED), tests, LEAD, horizon, 1, horizon)


def field_errors(task: Task, outcome: Outcome, pod: POD, runs: dict[float, np.ndarray]) -> dict[str, float]:
    """Return the relative errors of the rebuilt fields over all tests, and what POD alone leaves."""
    forecasts, truths = rollouts(task, outcome.tuned.model)
    wrong = left = whole = 0.0
    for size, forecast, truth in zip(TESTED, forecasts, truths, strict=True):
        field = runs[size][LEAD:]
        wrong += float(((pod.inverse_transform(forecast) - field) ** 2).sum())
        left += float(((pod.inverse_transform(truth) - field) ** 2).sum())
        whole += float(((field - pod.mean_) ** 2).sum())
    error = float(np.sqrt(wrong / whole))
    return {"field_error": error if np.isfinite(error) else float("inf"), "floor": float(np.sqrt(left / whole))}
