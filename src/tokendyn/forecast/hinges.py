"""Hinges of single columns, ``max(0, x_i - c)``, with kinks where a flow is not smooth.

Forward selection as in multivariate adaptive regression splines (J. H. Friedman, Ann. Statist. 19, 1 (1991)): the hinge
that lowers the sum of squares most is added, its kink is refined, and the next is sought.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

#: Kinks tried for each column, between these quantiles of its values; refinements, and kinks of each.
_TRIED, _INNER, _REFINED, _FINER = 40, (0.02, 0.98), 3, 9
#: Number of parts of an interval in the integral of a hinge, each by a trapezium.
_PARTS = 8
#: A hinge is redundant if the columns explain all but this share of its square.
_NEW = 1e-10


def between(z: Float[np.ndarray, "time features"], beside: int) -> Float[np.ndarray, "parts intervals features"]:
    """Return the series at evenly spaced times of each interval, its ends included, by interpolation.

    Polynomials of degree ``2 beside + 1`` through the snapshots from ``beside`` before an interval to as many after.
    """
    nodes = np.arange(-beside, beside + 2).astype(float)
    times = np.linspace(0.0, 1.0, _PARTS + 1)
    powers = np.arange(len(nodes))[:, None]
    weights = np.linalg.solve(nodes**powers, times**powers)
    windows = np.lib.stride_tricks.sliding_window_view(z, len(nodes), axis=0)
    return np.moveaxis(windows @ weights, 2, 0)


def integrals(
    fine: Float[np.ndarray, "parts intervals features"],
    weights: Float[np.ndarray, "hinges features"],
    bias: Float[np.ndarray, " hinges"],
) -> Float[np.ndarray, "intervals hinges"]:
    """Return the integral over each interval of ``max(0, weights x + bias)``: kinks may lie anywhere within it."""
    shares = np.full(len(fine), 1.0 / _PARTS)
    shares[[0, -1]] /= 2
    total = np.zeros((fine.shape[1], len(bias)))
    for share, rows in zip(shares, fine, strict=True):
        total += share * np.maximum(0.0, rows @ weights.T + bias)
    return total


def fitted_hinges(
    summed: Callable[[np.ndarray, np.ndarray], np.ndarray],
    values: Float[np.ndarray, "time features"],
    columns: Float[np.ndarray, "intervals terms"],
    targets: Float[np.ndarray, "intervals features"],
    count: int,
) -> tuple[Float[np.ndarray, "hinges features"], Float[np.ndarray, " hinges"]]:
    """Return weights and biases of the hinges that explain most of the targets beside the given columns.

    Parameters
    ----------
    summed
        Callable from weights and biases to the integrals of their hinges, (intervals, hinges).
    values
        Snapshots: kinks are sought in their range.
    columns, targets
        Integrals of the other functions, and the increments.
    count
        Number of hinges; each has one weight of 1.
    """
    features = values.shape[1]
    known, _ = np.linalg.qr(columns)
    missed = targets - known @ (known.T @ targets)
    quantiles = np.quantile(values, np.linspace(*_INNER, _TRIED), axis=0)
    unit, weights, bias = np.eye(features), np.zeros((count, features)), np.zeros(count)
    for number in range(count):
        gains = np.stack([
            _gains(summed(np.tile(unit[column], (_TRIED, 1)), -quantiles[:, column]), known, missed)
            for column in range(features)
        ])  # fmt: skip
        column, at = np.unravel_index(int(gains.argmax()), gains.shape)
        kinks = quantiles[:, column]
        kink, width = kinks[at], max(np.diff(kinks)[max(at - 1, 0) : at + 1])
        for _ in range(_REFINED):
            finer = kink + width * np.linspace(-1.0, 1.0, _FINER)
            kink = finer[_gains(summed(np.tile(unit[column], (_FINER, 1)), -finer), known, missed).argmax()]
            width = 2 * width / (_FINER - 1)
        weights[number], bias[number] = unit[column], -kink
        known = _extended(known, summed(weights[[number]], bias[[number]]))
        missed = missed - known[:, -1:] @ (known[:, -1:].T @ missed)
    return weights, bias


def _gains(hinges: np.ndarray, known: np.ndarray, missed: np.ndarray) -> Float[np.ndarray, " hinges"]:
    """Return the reduction of the residual sum of squares by each hinge beside the orthonormal columns."""
    new = hinges - known @ (known.T @ hinges)
    size = (new**2).sum(axis=0)
    lowered = ((new.T @ missed) ** 2).sum(axis=1) / np.maximum(size, 1e-300)
    return np.where(size > _NEW * (hinges**2).sum(axis=0), lowered, 0.0)


def _extended(known: np.ndarray, hinge: np.ndarray) -> np.ndarray:
    """Return orthonormal columns with one more; done twice, since once leaves rounding in nearly dependent columns."""
    for _ in range(2):
        hinge = hinge - known @ (known.T @ hinge)
    return np.concatenate([known, hinge / max(float(np.linalg.norm(hinge)), 1e-300)], axis=1)
