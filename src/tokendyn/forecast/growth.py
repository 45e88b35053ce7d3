"""The growth of a series: by steps, and by factors."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

#: Logarithm of the largest growth factor; by the bounds of forecasts, a larger one is a divergence.
_MOST = 100.0


def half_slopes(series: Sequence[np.ndarray]) -> Float[np.ndarray, " features"]:
    """Return half the slope of the line of least squares, each series with its own offset."""
    times = [np.arange(len(one)) - (len(one) - 1) / 2 for one in series]
    products = sum(time @ one for time, one in zip(times, series, strict=True))
    return np.asarray(products / (2.0 * sum(float(time @ time) for time in times)))


def growths_of(series: Sequence[np.ndarray]) -> np.ndarray:
    """Return the growth of the logarithm in a step, the smaller of whole series and second half; 0 without growth.

    Steps of equal size are ever smaller factors, so the second half separates them from growth by factors.
    """
    growths = np.zeros(series[0].shape[1])
    signs = {+1: np.all([(one > 0.0).all(axis=0) for one in series], axis=0)}
    signs[-1] = np.all([(one < 0.0).all(axis=0) for one in series], axis=0)
    for sign, kept in signs.items():
        if kept.any():
            logs = [np.log(sign * one[:, kept]) for one in series]
            halves = [one[len(one) // 2 :] for one in logs]
            slopes = [2.0 * half_slopes(part) for part in (logs, halves) if max(map(len, part)) > 1]
            growths[kept] = np.maximum(np.min(slopes, axis=0), 0.0) if slopes else 0.0
    return growths


def growth_factors(
    growths: Float[np.ndarray, " features"], steps: Int[np.ndarray, " steps"]
) -> Float[np.ndarray, "steps features"]:
    """Return the growth factor of each column over a number of steps, at most ``e^100``."""
    return np.asarray(np.exp(np.minimum(np.multiply.outer(steps, growths), _MOST)))
