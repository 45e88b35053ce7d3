"""Noisy series moved onto the dynamics of a model: weak-constraint smoothing by Gauss-Newton.

The smoothed series minimises ``sum_k |z_k - y_k|^2 + ratio sum_k |z_{k+1} - f(window of z at k)|^2`` (Y. Tremolet,
Q. J. R. Meteorol. Soc. 132, 2483 (2006)), where ``ratio`` is the variance of the noise of a snapshot over that of the
model's step. The normal equations are banded, because a step reaches back only one window.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg
from jaxtyping import Float

from tokendyn.forecast.cell import tokens_of

#: Weight of a fitted model against the data.
RATIO = 1e4
#: Number of times a step of Gauss-Newton that does not lower the cost is halved before it is given up.
_HALVINGS = 6
#: Gauss-Newton ends when a step lowers the cost by less than this share.
_WORTH = 1e-6


@runtime_checkable
class StepModel(Protocol):
    """The interface of a model for the smoothing: its window, one step, and the derivatives of the step."""

    @property
    def delays(self) -> int:
        """Number of snapshots in a window."""

    @property
    def stride(self) -> int:
        """Steps between them."""

    def step(self, tokens: np.ndarray, /) -> np.ndarray:
        """Return the next normalised snapshot of each window of tokens."""

    def operators(self, tokens: np.ndarray, /) -> np.ndarray:
        """Return the derivatives of the step, ``(samples, delays, features, width)``."""


def smoothed(
    cell: StepModel,
    series: Sequence[np.ndarray],
    inputs: Sequence[np.ndarray],
    *,
    guess: Sequence[np.ndarray],
    ratio: float,
    rounds: int = 3,
) -> list[np.ndarray]:
    """Return each normalised series smoothed.

    Parameters
    ----------
    cell
        The model.
    series, inputs
        Normalised noisy series (time, features) and their inputs.
    guess
        Start of Gauss-Newton, such as the last smoothed series.
    ratio
        Weight of the model against the data.
    rounds
        Largest number of steps of Gauss-Newton; it ends when a step lowers the cost by less than a millionth.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        given = zip(series, inputs, guess, strict=True)
        return [_smoothed(cell, noisy, driven, start, ratio, rounds) for noisy, driven, start in given]


def _smoothed(
    cell: StepModel, noisy: np.ndarray, driven: np.ndarray, state: np.ndarray, ratio: float, rounds: int
) -> np.ndarray:
    """Smooth one series; a series whose cost is not finite stays unchanged."""
    cost = _cost(cell, noisy, driven, state, ratio)
    for _ in range(rounds if np.isfinite(cost) else 0):
        step, before = _step(cell, noisy, driven, state, ratio), cost
        for halving in range(_HALVINGS):
            trial = state + 0.5**halving * step
            reached = _cost(cell, noisy, driven, trial, ratio)
            if reached < cost:
                state, cost = trial, reached
                break
        if not cost < (1 - _WORTH) * before:
            break
    return state


def _cost(cell: StepModel, noisy: np.ndarray, driven: np.ndarray, state: np.ndarray, ratio: float) -> float:
    """Return the cost."""
    tokens = tokens_of(state, driven, cell.delays, cell.stride)
    misses = state[len(state) - len(tokens) :] - cell.step(tokens)
    return float(((state - noisy) ** 2).sum() + ratio * (misses**2).sum())


def _step(
    cell: StepModel, noisy: np.ndarray, driven: np.ndarray, state: np.ndarray, ratio: float
) -> Float[np.ndarray, "time features"]:
    """Return one step of Gauss-Newton."""
    samples, features = state.shape
    delays, stride = cell.delays, cell.stride
    tokens = tokens_of(state, driven, delays, stride)
    first = samples - len(tokens)
    misses = state[first:] - cell.step(tokens)
    local = cell.operators(tokens)[..., :features]
    rows = np.arange(len(tokens) * features).reshape(len(tokens), features)
    values, at, by = [np.ones(rows.size)], [rows.ravel()], [(rows + first * features).ravel()]
    for delay in range(delays):
        newest = first - 1 - (delays - 1 - delay) * stride
        columns = rows + newest * features
        values.append(-local[:, delay].ravel())
        at.append(np.repeat(rows[:, :, None], features, axis=2).ravel())
        by.append(np.repeat(columns[:, None, :], features, axis=1).ravel())
    shape = (rows.size, samples * features)
    defect = sp.csc_matrix((np.concatenate(values), (np.concatenate(at), np.concatenate(by))), shape=shape)
    matrix = sp.identity(samples * features, format="csc") + ratio * (defect.T @ defect)
    downhill = (noisy - state).ravel() - ratio * (defect.T @ misses.ravel())
    if not np.isfinite(matrix.data).all():
        return np.zeros_like(state)
    solver = scipy.sparse.linalg.splu(matrix.tocsc(), permc_spec="NATURAL", options={"SymmetricMode": True})
    return np.asarray(solver.solve(downhill)).reshape(samples, features)
