"""The score of a forecaster in a search: the valid time of rollouts over the held-out part."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.checks import deviations
from tokendyn.words import counted

#: A forecast fails at an error of this number of standard deviations; later steps do not count.
LOST = 0.8
#: Share of a series held out, and number of starts in it.
_HELD, _STARTS = 0.25, 8
#: Largest share of the held-out part for a horizon, so that the starts differ.
_LONGEST = 0.8
#: Length of rollouts for the second scores, relative to the mean valid time of the best model.
_ENOUGH = 2.0


@dataclass(frozen=True)
class Holdout:
    """The training part of a search, and the starts of the rollouts.

    Attributes
    ----------
    learned, inputs
        The series to fit, and their inputs.
    series, driven
        Whole series to compare rollouts with, and their inputs.
    starts
        For each of them, the rows of the first forecast snapshots.
    horizon
        Steps of a rollout.
    scale
        Standard deviation of each feature.
    share
        Steps of a rollout, relative to the horizon of the scores; the steps beyond it count as lost.
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
        """Return the same with a multiple of the starts, between the first and the last of each series.

        ``best`` is the score of the best model: twice its valid time is enough to compare models, and with shorter
        rollouts the starts can be further apart.
        """
        steps = min(max(math.ceil(_ENOUGH * (1.0 - best) * self.horizon), 1), self.horizon)
        room = self.horizon - steps
        starts = [np.unique(np.linspace(one[0], one[-1] + room, times * len(one)).astype(int)) for one in self.starts]
        return replace(self, starts=starts, horizon=steps, share=steps / self.horizon)

    def cases(self, span: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return windows of ``span`` snapshots, the following snapshots, and the inputs of both.

        Raises
        ------
        BadInputError
            If a window of this length fits before fewer than half of the starts.
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

    The horizon is that of the task if four fifths of the held-out part allow it; None uses all four fifths, but at most
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
    """Return the root mean square over the features of ``(forecast - truth) / scale``; infinite if not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.sqrt((((values - truths) / scale) ** 2).mean(axis=-1))
    return np.where(np.isfinite(errors), errors, np.inf)


def score(errors: Float[np.ndarray, "*fits batch steps"]) -> Float[np.ndarray, "*fits two"]:
    """Return the lost share of the horizon, and the mean error cut at 1; lower is better.

    The first is ``mean min(max_{s <= t} error_s / 0.8, 1)`` over starts and leads t: one minus the valid time averaged
    over all thresholds up to 0.8, as a share of the horizon. A rollout that has lost the truth gains nothing by
    returning to the mean, so a model that decays to the mean never beats a model that is valid for a while. The second
    breaks ties.
    """
    running = np.minimum(np.maximum.accumulate(errors, axis=-1) / LOST, 1.0)
    return np.stack([running.mean(axis=(-2, -1)), np.minimum(errors, 1.0).mean(axis=(-2, -1))], axis=-1)


def score_model(model: Forecaster, held: Holdout) -> Float[np.ndarray, " two"]:
    """Return the score of a fitted forecaster; see :func:`score`."""
    windows, truths, drives = held.cases(model.window_length_)
    values, _ = model._rollout(windows, held.horizon, drives)
    return held.share * score(errors_of(values, truths, held.scale)) + (1.0 - held.share)
