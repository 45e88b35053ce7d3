"""Short series: the mean of many simple forecasters, weighted by refits at rolling origins."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokendyn.errors import TokendynError
from tokendyn.forecast.blend import Blend
from tokendyn.forecast.candidates import correlation_time, season_length
from tokendyn.forecast.checks import deviations
from tokendyn.forecast.kinds import kind_of

#: Series of at most so many snapshots are short.
SHORT = 300
#: Rolling origins, the earliest at this share of the series.
_ORIGINS, _EARLIEST = 6, 0.5
#: Share of the series that a backtest forecasts at most.
_AHEAD = 0.2
#: Errors are cut here, in standard deviations, so that one bad origin does not decide alone.
_WORST = 3.0
#: Power of the score ratio that a weight is, where the best candidate has less than this share of the score of the best
#: naive one, and where it has not: what can hardly be forecast is best averaged over many. Chosen on development series
#: (chaotic systems, tones and noise; thirteen yearly and quarterly series of statsmodels) of powers from 1 to 8.
_PREDICTABLE, _POWERS = 0.5, (4, 1)
#: Positive series whose largest value is so many times the least are forecast by their logarithm too.
_GROWTH = 2.0
#: Members of less weight than this share are left out.
_LIGHT = 0.01


@dataclass(frozen=True)
class Candidate:
    """One model of the backtest: its score is half the mean, half the worst origin, of the mean absolute error."""

    kind: str
    parameters: dict[str, Any]
    family: str
    score: float
    weights: int
    seconds: float


@dataclass(frozen=True)
class ShortFound:
    """The fitted mean, all candidates, which of them are its members, and the steps of the backtests."""

    model: Blend
    candidates: tuple[Candidate, ...]
    chosen: tuple[int, ...]
    horizon: int


def short_forecaster(
    series: np.ndarray,
    dt: float,
    horizon: int | None,
    seed: int,
    longest: int | None = None,
    seasons: Sequence[int] = (),
) -> ShortFound:
    """Return the mean of all candidates, weighted by powers of ``best score / score``, fitted to the whole series.

    Parameters
    ----------
    series
        (time, features), at most :data:`SHORT` snapshots.
    dt
        Time between snapshots.
    horizon
        Steps that the forecasts are for; None for a fifth of the series.
    seed
        Of the fixed units.
    longest
        Longest window of a candidate; None for any.
    seasons
        Steps of the seasons that the calendar suggests, beside those that the data show.
    """
    samples = len(series)
    ahead = max(min(horizon or samples, max(2, int(_AHEAD * samples))), 1)
    first = max(int(_EARLIEST * samples), samples - ahead * _ORIGINS)
    origins = np.unique(np.linspace(min(first, samples - ahead), samples - ahead, _ORIGINS).astype(int))
    scale = deviations(series)
    candidates = []
    for kind, parameters, family in _candidates(series, seed, seasons):
        if kind_of(kind)(**parameters)._window_length() > (longest or samples):
            continue
        began = time.process_time()
        tested = [_error(kind, parameters, series, int(origin), ahead, dt, scale) for origin in origins]
        errors, weights = [error for error, _ in tested], max(count for _, count in tested)
        score = 0.5 * float(np.mean(errors)) + 0.5 * max(errors)
        candidates.append(Candidate(kind, parameters, family, score, weights, time.process_time() - began))
    scores = np.array([candidate.score for candidate in candidates])
    naive = min(candidate.score for candidate in candidates if candidate.family == "naive")
    power = _POWERS[0] if scores.min() < _PREDICTABLE * naive else _POWERS[1]
    shares = (max(scores.min(), 1e-300) / np.maximum(scores, 1e-300)) ** power
    chosen = np.flatnonzero(shares >= _LIGHT * shares.sum())
    if not len(chosen):
        chosen = np.argsort(scores, kind="stable")[:10]
    members = [[candidates[number].kind, candidates[number].parameters] for number in chosen]
    model = Blend(members=members, weights=[float(shares[number]) for number in chosen])
    return ShortFound(model.fit(series, dt=dt), tuple(candidates), tuple(map(int, chosen)), ahead)


def _error(
    kind: str, parameters: dict[str, Any], series: np.ndarray, origin: int, ahead: int, dt: float, scale: np.ndarray
) -> tuple[float, int]:
    """Return the error of a refit before one origin, and how many numbers the fit set.

    The error is the mean absolute one, cut; the worst where the model cannot be fitted.
    """
    learned = series[:origin]
    try:
        model = kind_of(kind)(**parameters).fit(learned, dt=dt)
        values, _ = model._rollout(learned[None, -model.window_length_ :], ahead, np.empty((1, ahead + origin, 0)))
    except TokendynError:
        return _WORST, 0
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.abs(values[0] - series[origin : origin + ahead]) / scale
    error = float(np.where(np.isfinite(errors), np.minimum(errors, _WORST), _WORST).mean())
    return error, int(getattr(model, "parameters_", 0))


def _candidates(series: np.ndarray, seed: int, calendar: Sequence[int]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield kind, parameters and family: naive, linear of the series and of its differences, a few nonlinear."""
    samples, features = series.shape
    for kind in ("Persistence", "Mean", "Drift"):
        yield kind, {}, "naive"
    suggested = {season for season in calendar if 2 * season <= samples}
    seasons = sorted({season for season in map(season_length, series.T[:20]) if season} | suggested)
    for season in seasons:
        yield "SeasonalNaive", {"period": season}, "naive"
    lengths = {1, 2, 4, 8, 12, 16, 24, 30, 40, 60} | {length for s in seasons for length in (s + 1, 2 * s + 2)}
    for delays in sorted(length for length in lengths if length * features <= samples / 3):
        for ridge in (0.0, 1e-3, 1e-1):
            yield "BasisMap", {"delays": delays, "ridge": ridge}, "TD-DMD"
        for ridge in (1e-3, 1e-1) if delays <= 30 else ():
            yield "BasisMap", {"delays": delays, "ridge": ridge, "difference": True}, "TD-DMD of differences"
    yield from _logarithmic(series, seasons)
    time = max(correlation_time(series), 1)
    windows = dict.fromkeys([(4, 1), (4, max(1, time // 2)), (6, max(1, time // 3)), (3, time)])
    for delays, stride in windows if features <= 3 else [(1, 1)]:
        if (delays - 1) * stride + 1 >= samples / 5:
            continue
        window = {"delays": delays, "stride": stride}
        for ridge in (1e-8, 1e-5, 1e-2):
            for order in (2, 3):
                yield "BasisMap", window | {"order": order, "ridge": ridge}, "polynomial map"
            units = {"units": min(samples, 150), "ridge": ridge, "random_state": seed}
            yield "BasisMap", window | units, "fixed units"


def _logarithmic(series: np.ndarray, seasons: Sequence[int]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield linear models of the logarithm, where all columns are positive and one of them grows by a factor."""
    least, most = series.min(axis=0), series.max(axis=0)
    if (least <= 0.0).any() or (most < _GROWTH * least).all():
        return
    yield "Logarithm", {"kind": "Drift"}, "naive"
    lengths = {1, 2, 4, 8} | {length for season in seasons for length in (season + 1, 2 * season + 2)}
    for delays in sorted(length for length in lengths if length * series.shape[1] <= len(series) / 3):
        for difference, ridge in ((False, 1e-3), (True, 1e-3), (True, 1e-1)):
            settings = {"delays": delays, "ridge": ridge, "difference": difference}
            yield "Logarithm", {"kind": "BasisMap", "parameters": settings}, "TD-DMD of logarithms"
