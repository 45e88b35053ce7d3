"""The candidates of a search and their order: settings of fixed bases from properties of the series."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tokendyn.forecast.monomials import monomial_count

#: Kind of a model and settings without the ridge.
Candidate = tuple[str, dict[str, Any]]
#: Ridges tried for linear and for nonlinear bases; all of a list share one factorisation.
LINEAR_RIDGES = (1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 1e-1)
RIDGES = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4)
#: Ridges for many noisy columns: noise on the windows alone acts as a ridge of its variance.
NOISY_RIDGES = (1e-8, 1e-6, 1e-4, 1e-2)
#: Ridges for vector fields, whose few coefficients the data determine.
FEW_RIDGES = (1e-14, 1e-10, 1e-6)
#: A peak of the autocorrelation is broad if both neighbours reach this share of its height; then periods within this
#: share of it (1/n) are compared by a fit of this number of harmonics. For longer periods a step more or less matters
#: little.
_BROAD, _NEAR, _HARMONICS, _LONG = 0.8, 20, 3, 400
#: Largest number of monomials of a candidate: of a low order, and of any order.
_FEW, _MANY = 250, 720
#: Largest number of columns of a linear candidate.
_WIDE = 600
#: Number of principal directions for monomials if the window is too wide for them.
_DIRECTIONS = 6
#: For noisy series of few columns: delays, and their stride in correlation times; and directions with an order.
_AVERAGING_WINDOWS = ((24, 0.15), (24, 0.3), (12, 0.5), (16, 0.25), (12, 0.25))
_AVERAGING_BASES = ((8, 3), (5, 5))
#: Noise on the windows below this share of the residual has no effect.
_UNSEEN = 0.1
_HIGHEST_ORDER = 7
#: Fitted hinges of vector fields, the largest number of columns for which they are tried, and of hinges.
_HINGES, _HINGED, _MOST_HINGES = (2, 4), 12, 12
#: Least number of columns that may be the sites of a grid.
SITES = 6
#: For grids: sites on both sides, delays, principal directions of these local windows (0 for the windows themselves)
#: and order of the monomials; the interval of a first vector field; and noise on the windows of clean data.
_WIDER = ((8, 1, 8, 2), (4, 2, 0, 2), (5, 1, 8, 3), (4, 4, 8, 3), (8, 2, 8, 2), (2, 4, 0, 2), (12, 1, 12, 2))
_INTERVAL, _STEADYING = 8, 1e-3


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

    The highest peak of the autocorrelation of the detrended column after its first negative lag, if above 0.3 and ``2 /
    sqrt(n)``; among peaks of at least 0.8 of its height, the peak of least lag. Noise moves the top of a broad peak:
    then the period within 5 % whose harmonics fit best is taken.
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
    # The longest season is one seen three times; noise may put the top of a broad peak beyond it.
    longest = samples // 3
    lags = np.arange(max(negative[0], 1), min(len(correlations) - 1, longest + longest // _NEAR + 2))
    peaks = lags[(correlations[lags] > correlations[lags - 1]) & (correlations[lags] >= correlations[lags + 1])]
    periods = peaks.copy()
    for number in np.flatnonzero(peaks > longest):
        periods[number] = _fitting_period(residual, correlations, int(peaks[number]))
    peaks, periods = peaks[periods <= longest], periods[periods <= longest]
    if not len(peaks):
        return None
    height = correlations[peaks].max()
    if height <= max(0.3, 2 / np.sqrt(samples)):
        return None
    first = int(np.flatnonzero(correlations[peaks] >= 0.8 * height)[0])
    return min(_fitting_period(residual, correlations, int(periods[first])), longest)


def _fitting_period(residual: np.ndarray, correlations: np.ndarray, lag: int) -> int:
    """Return the period near a broad peak whose harmonics leave the least residual; for other peaks, the lag."""
    if lag > _LONG or min(correlations[lag - 1], correlations[lag + 1]) < _BROAD * correlations[lag]:
        return lag
    steps, reach = np.arange(len(residual)), max(1, lag // _NEAR)

    def left(period: int) -> float:
        angles = 2 * np.pi / period * np.outer(steps, np.arange(1, min(_HARMONICS, period // 2) + 1))
        columns = np.hstack([np.cos(angles), np.sin(angles), np.ones((len(steps), 1)), steps[:, None] / len(steps)])
        return float(((residual - columns @ np.linalg.lstsq(columns, residual, rcond=None)[0]) ** 2).sum())

    return min(range(max(2, lag - reach), lag + reach + 1), key=left)


def windows_for(features: int, time: int) -> list[tuple[int, int]]:
    """Return (delays, stride) to try: short windows for several columns, spread windows for one or two.

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


def linear_candidates(samples: int, features: int, seasons: Sequence[int] = ()) -> Iterator[dict[str, Any]]:
    """Yield settings of linear maps: those of the seasons, if any, then from one delay to a third of the series."""
    known = [length for season in seasons for length in (season + 1, 2 * season + 2)]
    for delays in dict.fromkeys((*known, 1, 2, 5, 10, 20, 50, 100, samples // 3, 200, 400)):
        if 1 <= delays <= samples / 2.5 and delays * features <= _WIDE:
            yield {"delays": delays}


def polynomial(delays: int, stride: int, order: int, width: int, noise: float, most: int) -> dict[str, Any] | None:
    """Return settings of a polynomial map, on principal directions if the window is too wide; None if too many."""
    settings = {"delays": delays, "stride": stride, "order": order, "noise": noise}
    if monomial_count(width, order) <= most:
        return settings
    if width > _DIRECTIONS and order <= 4 and monomial_count(_DIRECTIONS, order) <= most:
        return settings | {"directions": _DIRECTIONS}
    return None


def first_candidates(
    samples: int, features: int, driven: int, windows: list[tuple[int, int]], noise: float
) -> Iterator[Candidate]:
    """Yield for every window low orders and a hundred units."""
    for delays, stride in windows:
        width = delays * features + 2 * driven
        for order in (2, 3, 4):
            few = order < 4 and (features < SITES or delays > 1 or order > 2)
            settings = polynomial(delays, stride, order, width, noise, _FEW if few else _MANY)
            if settings is not None:
                yield "BasisMap", settings
        yield "BasisMap", {"delays": delays, "stride": stride, "units": min(100, samples), "noise": 1e-6}


def averaging_candidates(features: int, time: int, noise: float, longest: int) -> Iterator[Candidate]:
    """Yield for a noisy series of one or two columns monomials of few principal directions of many delays.

    The directions average the noise over the window: the rest is mostly noise (D. S. Broomhead, G. P. King,
    Physica D 20, 217 (1986)).
    """
    for delays, share in _AVERAGING_WINDOWS if features <= 2 else ():
        stride = max(1, round(share * time))
        if (delays - 1) * stride < longest:
            for directions, order in _AVERAGING_BASES:
                settings = {"delays": delays, "stride": stride, "order": order, "directions": directions}
                yield "BasisMap", settings | {"noise": noise}


def neighbour_candidates(features: int, time: int) -> Iterator[Candidate]:
    """Yield maps shared by all sites, in case the columns are a grid: near neighbours first, periodic first."""
    if features < SITES:
        return
    sixth = max(1, time // 6)
    for reach, periodic in ((2, True), (1, True), (2, False), (3, True)):
        if 2 * reach + 1 >= features:
            continue
        for delays, order in ((1, 3), (1, 4), (2, 2), (2, 3)):
            stride = 1 if delays == 1 else sixth
            settings = {"reach": reach, "periodic": periodic, "delays": delays, "stride": stride, "order": order}
            yield "BasisMap", settings


def wider_neighbours(features: int, residual: Callable[[], float]) -> Iterator[Candidate]:
    """Yield for a grid a field over longer intervals and maps of wider neighbourhoods, which average noise.

    The linear part of a map depends on many sites, its monomials on few principal directions of these: for smooth
    fields the rest is mostly noise. ``residual`` returns the least one-step residual so far: noise on the windows keeps
    closed loops for noise-free data from amplifying unseen directions.
    """
    if features >= SITES:
        yield "VectorField", {"reach": 2, "order": 2, "interval": _INTERVAL}
    for reach, delays, directions, order in _WIDER if features >= SITES else ():
        if 2 * reach + 1 < features:
            settings = {"reach": reach, "delays": delays, "order": order, "directions": directions}
            yield "BasisMap", settings | {"noise": _STEADYING if _UNSEEN * residual() < _STEADYING else 0.0}


def vector_fields(features: int) -> Iterator[Candidate]:
    """Yield vector fields of all columns, also piecewise linear, and of neighbours in case the columns form a grid."""
    for order in (2, 3, 4, 5) if features > 1 else ():
        if monomial_count(features, order) <= _FEW:
            yield "VectorField", {"order": order}
    for hinges in _HINGES if 1 < features <= _HINGED else ():
        yield "VectorField", {"order": 1, "units": hinges, "activation": "hinge"}
    if features > 1:
        yield "VectorField", {"order": 2 if monomial_count(features, 2) <= _FEW else 1, "units": 100}
    for reach, periodic in ((2, True), (1, True), (3, True), (2, False)) if features >= SITES else ():
        for order in (2, 3) if 2 * reach + 1 < features else ():
            yield "VectorField", {"reach": reach, "periodic": periodic, "order": order}


def width_of(settings: dict[str, Any], features: int, driven: int) -> int:
    """Return the columns of a window: of all features, or of a site and its neighbours, and of the inputs."""
    near = 2 * settings["reach"] + 1 if settings.get("reach") else features
    return int(settings.get("delays", 1)) * near + 2 * driven


def richer_candidates(
    samples: int, features: int, driven: int, windows: list[tuple[int, int]], noise: float, residual: float
) -> Iterator[Candidate]:
    """Yield for the best windows the highest orders that fit and three hundred units, with several noises.

    ``residual`` is the least one-step residual so far: noise far below it has no effect.
    """
    noises = [noise, *(size for size in (1e-6, 1e-4, 1e-2) if size > max(noise, _UNSEEN * residual))]
    for delays, stride in windows:
        width = delays * features + 2 * driven
        orders = [order for order in range(2, _HIGHEST_ORDER + 1) if monomial_count(width, order) <= _MANY]
        for size in noises:
            for order in orders[:-3:-1]:
                yield "BasisMap", {"delays": delays, "stride": stride, "order": order, "noise": size}
            for activation in ("sin", "tanh"):
                units = {"units": min(300, samples), "activation": activation, "noise": size}
                yield "BasisMap", {"delays": delays, "stride": stride} | units


def mutation(
    kind: str, settings: dict[str, Any], features: int, driven: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return settings with one or two changes: window, noise, order, units, neighbours, seed."""
    changed = dict(settings)
    names = ["stride", "delays", "noise", "size"] if kind == "BasisMap" else ["interval", "size"]
    names += ["reach", "periodic"] if changed.get("reach") else []
    names += ["directions"] if changed.get("directions") else []
    for _ in range(int(rng.integers(1, 3))):
        # Without units or noise nothing is random, and another seed is the same model.
        hinges = changed.get("activation") == "hinge"
        random = bool((changed.get("units") and not hinges) or changed.get("noise"))
        _change(changed, str(rng.choice([*names, "seed"] if random else names)), features, rng)
    width = changed.get("directions") or width_of(changed, features, driven)
    while changed.get("order", 1) > 1:
        if monomial_count(width, changed["order"]) <= _MANY:
            break
        changed["order"] -= 1
    return changed


def _change(changed: dict[str, Any], name: str, features: int, rng: np.random.Generator) -> None:
    """Change one of the settings."""
    if name == "stride":
        changed["stride"] = max(1, round(changed.get("stride", 1) * float(rng.choice([0.5, 0.75, 1.25, 1.5, 2.0]))))
    elif name == "delays":
        changed["delays"] = max(1, changed["delays"] + int(rng.choice([-2, -1, 1, 2])))
    elif name == "noise":
        changed["noise"] = float(rng.choice([0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2]))
    elif name == "interval":
        changed["interval"] = int(rng.choice([1, 2, 4, 8]))
    elif name == "reach":
        changed["reach"] = int(np.clip(changed["reach"] + rng.choice([-1, 1]), 1, max((features - 2) // 2, 1)))
    elif name == "periodic":
        changed["periodic"] = not changed.get("periodic", True)
    elif name == "directions":
        changed["directions"] = max(2, changed["directions"] + int(rng.choice([-1, 1])))
    elif name == "seed":
        changed["random_state"] = int(rng.integers(1, 10_000))
    elif changed.get("activation") == "hinge":
        changed["units"] = int(np.clip(changed["units"] + rng.choice([-1, 1, 2]), 1, _MOST_HINGES))
    elif changed.get("units"):
        changed["units"] = int(np.clip(round(changed["units"] * float(rng.choice([0.6, 1.5]))), 30, 500))
    else:
        changed["order"] = int(np.clip(changed.get("order", 2) + rng.choice([-1, 1]), 2, _HIGHEST_ORDER))


def smoother_mutation(
    kind: str, settings: dict[str, Any], features: int, driven: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return settings of a smoothing model with one change: ridge, history, rounds, or a change as for other models."""
    name = rng.choice(["ridge", "history", "smoothing", "model"])
    if name == "ridge":
        return settings | {"ridge": settings["ridge"] * float(rng.choice([1e-2, 1e-1, 10.0, 100.0]))}
    if name == "history":
        return settings | {"history": max(round(settings["history"] * float(rng.choice([0.5, 1.5]))), 10)}
    if name == "smoothing":
        return settings | {"smoothing": int(rng.choice([4, 8, 12]))}
    return mutation(kind, settings, features, driven, rng)
