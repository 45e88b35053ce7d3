"""Unsteady aerodynamics: shedding behind a cylinder, forced by rotation, a pitching aerofoil, a transient wake."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.data.snapshots import Snapshots, read_snapshots
from tokendyn.forecast.base import Progress
from tokendyn.forecast.tasks import Task
from tokendyn.metrics import dominant_frequency
from tokendyn.studies.flow import aerofoil_flow, cylinder_flow, quasi_periodic
from tokendyn.studies.forecast.comparison import (
    Contender,
    Outcome,
    Study,
    compare,
    contenders,
    finished,
    validated,
)

#: Snapshots of the forced cylinder that are dropped, and run-in of the aerofoil in chords over speed. Behind the
#: impulsive start loads drift for some hundred diameters over speed, and validation on the end of the training part
#: would say little of what comes after it.
DROPPED, RUN_IN = 3000, 125.0
#: What is forecast of a flow, and the phases at which the rotation of the forced cylinder starts.
LOAD_NAMES, PHASES = ["lift", "drag"], (2.0, 0.5)


def aerodynamics(
    *,
    quick: bool = False,
    seed: int = 0,
    budget: float | None = None,
    models: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Compare forecasts of lift and drag, and of the wake's coefficients.

    Tasks: ``natural`` shedding at Reynolds number 100; ``forced`` by a quasi-periodic rotation that the models are not
    told; ``pitching`` aerofoil with its motion as input; and, when the environment variable TOKENDYN_DATA names a
    folder with ``cylinder_wake/pod_coefficients.csv``, the ``wake`` transient: the first 60 % are learned.

    Parameters
    ----------
    quick
        Small grids, short series, small models: under a minute, for the demo and the tests.
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
    contenders(models)  # a wrong name is an error before the simulation
    parts = []
    for task in flow_tasks(quick=quick, progress=progress):
        parts.append((task, *compare(task, load_contenders(task, models, quick=quick), budget, seed, progress)))
    wake = wake_task()
    if wake is not None and not quick:
        chosen = contenders(models, partial=False, longest=wake.lead)
        outcomes, failures = compare(wake, chosen, budget, seed, progress)
        for outcome in outcomes:
            outcome.row.update(cycle_errors(wake, outcome))
        parts.append((wake, outcomes, failures))
    return finished("aerodynamics", parts, {"quick": quick, "seed": seed, "budget": budget})


def load_contenders(task: Task, models: Sequence[str] | None = None, *, quick: bool = False) -> tuple[Contender, ...]:
    """Return the models for lift and drag."""
    driven = task.train[0].inputs is not None
    return contenders(models, inputs=driven, quick=quick, longest=task.lead)


def flow_tasks(*, quick: bool, progress: Progress | None = None) -> list[Task]:
    """Simulate the flows and return their tasks."""
    say = progress or (lambda share, line: None)
    points, horizon = _sizes(quick)
    wing: dict[str, Any] = {"resolution": 20, "length": 7.0, "height": 4.0} if quick else {"resolution": 24}
    say(0.0, "simulating the cylinder")
    natural = cylinder_flow(points=points, discard=100.0, **_grid(quick)).series
    say(0.0, "simulating the cylinder that turns")
    forced = forced_task(quick=quick)
    say(0.0, "simulating the aerofoil")
    pitch = quasi_periodic(8.0, (0.2, 0.2 * np.sqrt(3)))
    run_in = 25.0 if quick else RUN_IN
    pitching = aerofoil_flow(reynolds=300.0, points=points, pitch=pitch, discard=run_in, **wing).series
    return [
        _task("natural", natural.select(LOAD_NAMES), horizon),
        forced,
        _task("pitching", pitching.select(LOAD_NAMES), horizon),
    ]


def forced_task(phases: tuple[float, float] = PHASES, *, quick: bool = False) -> Task:
    """Simulate the cylinder that turns with two incommensurate frequencies, which start at these phases."""
    points, horizon = _sizes(quick)
    early = 0 if quick else DROPPED
    turn = quasi_periodic(0.45, phases=phases)
    forced = cylinder_flow(points=early + points + points // 4, rotation=turn, **_grid(quick)).series[early:]
    return _task("forced", without_inputs(forced.select(LOAD_NAMES)), horizon)


def _sizes(quick: bool) -> tuple[int, int]:
    """Return the snapshots of a flow, and the steps that are forecast."""
    return (1100, 200) if quick else (3500, 1000)


def _grid(quick: bool) -> dict[str, Any]:
    """Return the grid of the cylinder; its own by default."""
    return {"resolution": 8, "length": 20.0, "height": 10.0, "upstream": 6.0} if quick else {}


def without_inputs(series: Snapshots) -> Snapshots:
    """Return a series without its inputs."""
    return Snapshots(series.values, series.times, series.dt, series.names, source=series.source)


def _task(name: str, series: Snapshots, horizon: int) -> Task:
    """Keep the last part for tests: starts at five places, all behind the training rows."""
    cut = len(series) - horizon - horizon // 4
    lead = cut // 2
    return Task(name, (series[:cut],), (series[cut - lead :],), lead, horizon, 5, validated(cut, horizon))


def wake_task(folder: str | Path | None = None) -> Task | None:
    """Return the transient of the cylinder's wake, or None when its data are not there."""
    folder = folder or os.environ.get("TOKENDYN_DATA") or None
    path = None if folder is None else Path(folder) / "cylinder_wake" / "pod_coefficients.csv"
    if path is None or not path.is_file():
        return None
    series = read_snapshots(path, time="time")
    cut = round(0.6 * len(series))
    return Task("wake", (series[:cut],), (series,), cut, len(series) - cut, 1, validated(cut, len(series) - cut))


def cycle_errors(task: Task, outcome: Outcome) -> dict[str, float]:
    """Return the relative errors of amplitude and frequency of the first column over the last half of the forecast."""
    rows = slice(-task.horizon // 2, None)
    truth, forecast = task.tests[0].values[rows, 0], outcome.forecasts[0, rows, 0]
    if not np.isfinite(forecast).all():
        return {"amplitude_error": np.inf, "frequency_error": np.inf}
    dt = task.tests[0].dt
    return {
        "amplitude_error": abs(float(forecast.std() / truth.std()) - 1),
        "frequency_error": abs(dominant_frequency(forecast, dt) / dominant_frequency(truth, dt) - 1),
    }
