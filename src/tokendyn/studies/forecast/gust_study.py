"""An aerofoil in gusts: where the flow is attached a linear model is right, where it stalls it is not."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tokendyn.data.systems.gusts import aerofoil_gusts, kuessner, wagner
from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.tasks import Task
from tokendyn.studies.forecast.comparison import Outcome, Study, compare, contenders, finished, validated

#: Mean height of gusts and motion in radians where the flow stays attached, and where it stalls.
ATTACHED, STALLED = 0.03, 0.16
#: Reduced time between snapshots, rows before a start, and half chords over which indicial functions are compared.
STEP, LEAD, INDICIAL = 0.5, 200, 60.0


def gusts(
    *,
    quick: bool = False,
    seed: int = 0,
    budget: float | None = None,
    models: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Compare forecasts of the lift of an aerofoil whose motion and gusts are known, attached and stalled.

    Tasks: ``attached`` and ``stalled`` (:func:`~tokendyn.data.systems.aerofoil_gusts`), in other draws of motion and
    gusts than those that were learned. On the first, each model is also asked for the lift of a sudden angle and of a
    sharp gust, held against Wagner's and Kuessner's functions.

    Parameters
    ----------
    quick
        Short series and small models.
    seed
        For motion, gusts and searches.
    budget
        CPU seconds of each model's search; 15, or 1 with ``quick``.
    models
        Names of the models that take part, as in the table; all by default.
    progress
        Called with the share that is done and a line.
    """
    budget = (1.0 if quick else 15.0) if budget is None else budget
    parts = []
    for name in ("attached", "stalled"):
        task = gust_task(name, 1200 if quick else 6000, seed)
        chosen = contenders(models, inputs=True, quick=quick, longest=40)
        outcomes, failures = compare(task, chosen, budget, seed, progress)
        for outcome in outcomes:
            outcome.row.update(_indicial_errors(outcome) if name == "attached" else {})
        parts.append((task, outcomes, failures))
    return finished("gusts", parts, {"quick": quick, "seed": seed, "budget": budget})


def gust_task(name: str, points: int, seed: int) -> Task:
    """Return the task of attached or stalled flow: starts lie in another draw than what is learned."""
    stalled = name == "stalled"
    amplitude, horizon = STALLED if stalled else ATTACHED, points // 4
    learned, test = (
        aerofoil_gusts(count, STEP, amplitude=amplitude, stall=stalled, seed=2 * seed + number)
        for number, count in enumerate((points, LEAD + 2 * horizon))
    )
    return Task(name, (learned,), (test,), LEAD, horizon, 5, validated(points, horizon))


def indicial(model: Forecaster, column: int) -> Float[np.ndarray, " steps"]:
    """Return a model's lift over ``2 pi`` after a step of one input, from rest, by the height of the step.

    Between two snapshots the step is a ramp: entry k is what an indicial function gives half a step later.
    """
    steps, window = round(INDICIAL / STEP), model.window_length_
    inputs = np.zeros((window + steps, 3))
    inputs[window:, column] = ATTACHED
    forecast = model.forecast_many(np.zeros((1, window, 1)), steps, inputs[None])[0]
    values = np.full(steps, np.inf)
    values[: forecast.finite_steps] = forecast.values[:, 0] / (2 * math.pi * ATTACHED)
    return values


def middles() -> Float[np.ndarray, " steps"]:
    """Return the reduced times since the middle of the ramp, at which :func:`indicial` is compared."""
    return STEP * (np.arange(round(INDICIAL / STEP)) + 0.5)


def _indicial_errors(outcome: Outcome) -> dict[str, float]:
    """Return the largest differences of a model's indicial functions from Wagner's and Kuessner's."""
    model = outcome.tuned.model
    return {
        "wagner_error": float(np.abs(indicial(model, 0) - wagner(middles())).max()),
        "kuessner_error": float(np.abs(indicial(model, 2) - kuessner(middles())).max()),
    }
