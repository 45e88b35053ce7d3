"""How a search judges a forecaster: rollouts over what is held out, scored by how long they hold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.checks import deviations
from tokendyn.words import counted

#: An error of so many standard deviations is a forecast that no longer holds; nothing after it counts.
LOST = 0.8
#: Share of a series that is held out, and starts in it.
_HELD, _STARTS = 0.25, 8
#: Share of the held-out part that a horizon may take, so that the starts differ.
_LONGEST = 0.8
#: Rollouts of the second scores, by the steps that the best model holds on the average.
_ENOUGH = 2.0


@dataclass(frozen=True)
class Holdout:
    """What is learned in a search, and where the rollouts start.

    Attributes
    ----------
    learned, inputs
        The series that are fitted and their inputs.
    series, driven
        Whole series that rollouts are compared with, and their inputs.
    starts
        For each of them the rows of the first forecast snapshots.
    horizon
        Steps of a rollout.
    scale
        Standard deviation of each feature.
    share
        Steps of a rollout by those of the horizon that scores are shares of; what follows counts as lost.
    """

    learned: list[np.ndarray]
    inputs: list[np.ndarray]
    series: list[np.ndarray]
    driven: list[np.ndarray]
    starts: list[Int[np.ndarray, " starts"]]
    horizon: int
    scale: Float[np.ndarray, " features"]
    share: float = 1.0

    def denser(self, times: int, best: float = 0.0) -> "Holdout":
        """Return the same with so many times the starts, between the first and the last of each series.

        ``best`` is the score of the best model: twice the steps that it holds are enough to tell models apart, and
        shorter rollouts leave room for starts that are further from each other.
        """
        steps = min(max(math.ceil(_ENOUGH * (1.0 - best) * self.horizon), 1), self.horizon)
        room = self.horizon - steps
        starts = [np.unique(np.linspace(one[0], one[-1] + room, times * len(one)).astype(int)) for one in self.starts]
        return replace(self, starts=starts, horizon=steps, share=steps / self.horizon)

    def cases(self, span: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return windows of ``span`` snapshots, what follows each, and the inputs of both.

        Raises
        ------
        BadInputError
            If so long a window fits before fewer than half of the starts.
        """
        windows, truths, drives = [], [], []
        for one, driven, starts in zip(self.series, self.driven, self.starts, strict=True):
            for start in starts[starts >= span]:
                windows.append(one[start - span : start])
                truths.append(one[start : start + self.horizon])
                drives.append(driven[start - span : start + self.horizon])
        if 2 * len(windows) < sum(map(len, self.starts)):
            raise BadInputError(f"a window of {span} snapshots is too long for what is held out")
        return np.stack(windows), np.stack(truths), np.stack(drives)


def hold_out_for_search(series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], horizon: int | None) -> Holdout:
    """Hold out the last quarter of one series, or the last quarter of several series as a whole.

    The horizon is that of the task, where four fifths of the held-out part allow it; None takes them all, but at most
    700 steps.

    Raises
    ------
    BadInputError
        If fewer than two snapshots would be held out.
    """
    scale = deviations(np.concatenate(list(series)))
    if len(series) > 1:
        held = max(round(_HELD * len(series)), 1)
        learned, driven = list(series[:-held]), list(inputs[:-held])
        tested, pushed = list(series[-held:]), list(inputs[-held:])
        room = min(map(len, tested))
        steps = max(min(horizon or 700, int(_LONGEST * room)), 1)
        each = -(-_STARTS // held)
        starts = [np.unique(np.linspace(len(one) // 10, len(one) - steps, each).astype(int)) for one in tested]
        return Holdout(learned, driven, tested, pushed, starts, steps, scale)
    one, pushed_one = series[0], inputs[0]
    cut = len(one) - int(_HELD * len(one))
    if len(one) - cut < 2:
        raise BadInputError(f"the series has {counted(len(one), 'snapshot')}, too few to hold any out; give at least 8")
    steps = max(min(horizon or 700, int(_LONGEST * (len(one) - cut))), 1)
    rows = np.unique(np.linspace(cut, len(one) - steps, _STARTS).astype(int))
    return Holdout([one[:cut]], [pushed_one[:cut]], [one], [pushed_one], [rows], steps, scale)


def errors_of(
    values: Float[np.ndarray, "*fits batch steps features"],
    truths: Float[np.ndarray, "batch steps features"],
    scale: Float[np.ndarray, " features"],
) -> Float[np.ndarray, "*fits batch steps"]:
    """Return the root mean square over the features of ``(forecast - truth) / scale``; infinite where not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.sqrt((((values - truths) / scale) ** 2).mean(axis=-1))
    return np.where(np.isfinite(errors), errors, np.inf)


def score(errors: Float[np.ndarray, "*fits batch steps"]) -> Float[np.ndarray, "*fits two"]:
    """Return the share of the horizon that is lost, and the mean error cut at 1; less is better.

    The first is ``mean min(max_{s <= t} error_s / .8, 1)`` over starts and leads t: one minus the valid time averaged
    over all thresholds up to .8, as a share of the horizon. A rollout that has left the truth earns nothing by coming
    back to the mean, so that a model that decays to the mean never beats one that holds for a while. The second
    decides between equal ones.
    """
    running = np.minimum(np.maximum.accumulate(errors, axis=-1) / LOST, 1.0)
    return np.stack([running.mean(axis=(-2, -1)), np.minimum(errors, 1.0).mean(axis=(-2, -1))], axis=-1)


def score_model(model: Forecaster, held: Holdout) -> Float[np.ndarray, " two"]:
    """Return the score of a fitted forecaster; see :func:`score`."""
    windows, truths, drives = held.cases(model.window_length_)
    values, _ = model._rollout(windows, held.horizon, drives)
    return held.share * score(errors_of(values, truths, held.scale)) + (1.0 - held.share)
