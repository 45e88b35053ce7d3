"""What a search of forecasters tries, and in which order: settings of fixed bases from what the series is like."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tokendyn.forecast.monomials import monomial_count

#: Ridges that are tried for linear and for nonlinear bases; all of a list cost one factorisation.
LINEAR_RIDGES = (1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 1e-1)
RIDGES = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4)
#: Monomials of a candidate at most: of a low order, and of any.
_FEW, _MANY = 250, 720
#: Columns of a linear candidate at most.
_WIDE = 600
#: Principal directions that monomials see when the window is too wide for them.
_DIRECTIONS = 6
_HIGHEST_ORDER = 7


def correlation_time(series: np.ndarray) -> int:
    """Return the first lag where the autocorrelation, averaged over the columns, falls below 1/e."""
    samples = len(series)
    longest = max(2, min(samples // 3, 1000))
    centred = series - series.mean(axis=0)
    power = np.abs(np.fft.rfft(centred, 2 * samples, axis=0)) ** 2
    correlations = np.fft.irfft(power, axis=0)[:longest]
    first = correlations[0]
    correlations = correlations[:, first > 0] / first[first > 0]
    if not correlations.shape[1]:
        return 1
    below = np.flatnonzero(correlations.mean(axis=1) < 1 / math.e)
    return int(below[0]) if len(below) else longest


def season_length(values: np.ndarray) -> int | None:
    """Return the season of one column, None without a clear one.

    The highest peak of the autocorrelation of the detrended column behind its first negative lag, if above .3 and
    ``2 / sqrt(n)``; of the peaks that are at least .8 as high, the one of least lag.
    """
    samples = len(values)
    if samples < 8:
        return None
    steps = np.arange(samples)
    residual = values - np.polyval(np.polyfit(steps, values, 1), steps)
    power = np.abs(np.fft.rfft(residual, 2 * samples)) ** 2
    correlations = np.fft.irfft(power)[: samples // 2]
    if correlations[0] <= 1e-24 * float((values**2).sum()):
        return None
    correlations = correlations / correlations[0] * samples / (samples - np.arange(len(correlations)))
    negative = np.flatnonzero(correlations < 0)
    if not len(negative):
        return None
    lags = np.arange(max(negative[0], 1), min(len(correlations) - 1, samples // 3))
    peaks = lags[(correlations[lags] > correlations[lags - 1]) & (correlations[lags] >= correlations[lags + 1])]
    if not len(peaks):
        return None
    height = correlations[peaks].max()
    if height <= max(0.3, 2 / np.sqrt(samples)):
        return None
    return int(peaks[correlations[peaks] >= 0.8 * height][0])


def windows_for(features: int, time: int) -> list[tuple[int, int]]:
    """Return (delays, stride) to try: short windows of several columns, spread ones of one or two.

    Parameters
    ----------
    features
        Columns of the series.
    time
        Its :func:`correlation_time`.
    """
    quarter, half, sixth = max(1, time // 4), max(1, time // 2), max(1, time // 6)
    several = [(1, 1), (2, 1), (3, 1), (4, 1), (2, quarter), (4, sixth)]
    few = [(6, quarter), (5, half), (8, quarter), (4, time), (4, sixth), (8, time)]
    if features > 2:
        return list(dict.fromkeys(several))
    return list(dict.fromkeys(few + (several[:2] if features == 2 else [])))


def linear_candidates(samples: int, features: int) -> Iterator[dict[str, Any]]:
    """Yield settings of linear maps, from one delay to a third of the series."""
    for delays in (1, 2, 5, 10, 20, 50, 100, samples // 3, 200, 400):
        if 1 <= delays <= samples / 2.5 and delays * features <= _WIDE:
            yield {"delays": delays}


def polynomial(delays: int, stride: int, order: int, width: int, noise: float, most: int) -> dict[str, Any] | None:
    """Return settings of a polynomial map, on principal directions where the window is too wide; None if too many."""
    settings = {"delays": delays, "stride": stride, "order": order, "noise": noise}
    if monomial_count(width, order) <= most:
        return settings
    if width > _DIRECTIONS and order <= 4 and monomial_count(_DIRECTIONS, order) <= most:
        return settings | {"directions": _DIRECTIONS}
    return None


def first_candidates(
    samples: int, features: int, driven: int, windows: list[tuple[int, int]], noise: float
) -> Iterator[dict[str, Any]]:
    """Yield for every window low orders and a hundred units."""
    for delays, stride in windows:
        width = delays * features + 2 * driven
        for order in (2, 3, 4):
            settings = polynomial(delays, stride, order, width, noise, _FEW if order < 4 else _MANY)
            if settings is not None:
                yield settings
        yield {"delays": delays, "stride": stride, "units": min(100, samples), "noise": 1e-6}


def richer_candidates(
    samples: int, features: int, driven: int, windows: list[tuple[int, int]], noise: float
) -> Iterator[dict[str, Any]]:
    """Yield for the best windows the highest orders that fit and three hundred units, with several noises."""
    noises = list(dict.fromkeys((noise, 1e-6, 1e-4, 1e-2)))
    for delays, stride in windows:
        width = delays * features + 2 * driven
        orders = [order for order in range(2, _HIGHEST_ORDER + 1) if monomial_count(width, order) <= _MANY]
        for size in noises:
            for order in orders[:-3:-1]:
                yield {"delays": delays, "stride": stride, "order": order, "noise": size}
            for activation in ("sin", "tanh"):
                units = {"units": min(300, samples), "activation": activation, "noise": size}
                yield {"delays": delays, "stride": stride} | units


def mutation(settings: dict[str, Any], features: int, driven: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return settings with one or two things changed: window, noise, order, units, seed."""
    changed = dict(settings)
    for _ in range(int(rng.integers(1, 3))):
        # Without units or noise nothing is random, and another seed is the same model.
        random = "units" in changed or changed.get("noise", 0.0) > 0
        what = rng.choice(
            ["stride", "delays", "noise", "size", "seed"] if random else ["stride", "delays", "noise", "size"]
        )
        if what == "stride":
            changed["stride"] = max(1, round(changed.get("stride", 1) * float(rng.choice([0.5, 0.75, 1.25, 1.5, 2.0]))))
        elif what == "delays":
            changed["delays"] = max(1, changed["delays"] + int(rng.choice([-2, -1, 1, 2])))
        elif what == "noise":
            changed["noise"] = float(rng.choice([0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2]))
        elif what == "size" and "units" in changed:
            changed["units"] = int(np.clip(round(changed["units"] * float(rng.choice([0.6, 1.5]))), 30, 500))
        elif what == "size":
            changed["order"] = int(np.clip(changed.get("order", 2) + rng.choice([-1, 1]), 2, _HIGHEST_ORDER))
        else:
            changed["random_state"] = int(rng.integers(1, 10_000))
    width = changed["delays"] * features + 2 * driven
    while "units" not in changed and "directions" not in changed and monomial_count(width, changed["order"]) > _MANY:
        changed["order"] -= 1
    return changed
