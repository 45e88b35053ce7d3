"""Short series: the mean of many simple forecasters, weighted by refits at rolling origins."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from tokendyn.errors import TokendynError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.blend import Blend
from tokendyn.forecast.candidates import correlation_time, season_length
from tokendyn.forecast.checks import deviations
from tokendyn.forecast.exponential import TRENDS, ExponentialSmoothing
from tokendyn.forecast.kinds import kind_of
from tokendyn.forecast.logarithm import Logarithm
from tokendyn.forecast.scoring import errors_of, score

#: Series of at most so many snapshots are short.
SHORT = 300
#: Rolling origins by the processor seconds that there are at least, and the earliest at this share of the series.
_ORIGINS, _EARLIEST = ((5.0, 12), (0.5, 6), (0.0, 3)), 0.5
#: Of less than so many seconds linear models have this ridge only.
_HURRIED, _RIDGE = 0.3, 1e-3
#: Seconds that smoothing of one column takes with one trend and season, and the share of the time that it may take.
_SMOOTHING_SECONDS, _SMOOTHING_SHARE = 1.5e-3, 0.3
#: Share of the series that a backtest forecasts at most.
_AHEAD = 0.2
#: Errors are cut here, in standard deviations, so that one bad origin does not decide alone.
_WORST = 3.0
#: Power of the score ratio that a weight within a group is, where the best candidate has less than this share of the
#: score of the best naive one, and where it has not: what can hardly be forecast is best averaged over many. Chosen on
#: development series (chaotic systems, tones and noise; 35 real ones, see :doc:`theory-forecast`).
_PREDICTABLE, _POWERS = 0.5, (4, 1)
#: Smoothing and all other candidates are two groups; a group's weight is this power of its own mean's score ratio.
_GROUP_POWER = 8
#: Within smoothing the weight is the squared score ratio times exp(-(criterion - least) / so much): twice the number is
#: what information criteria have for independent errors of a true model; one-step errors of real series say less.
_SMOOTHING_POWER, _DOUBT = 2, 10.0
#: A season that is shown must be repeated so many times.
_FEWEST_SEASONS = 3
#: A period of smoothing is at most so long: each of its steps is a number to be found.
_LONGEST_PERIOD = 60
#: Windows of smoothing hold so many snapshots, or seasons, where the first origin leaves them.
_WINDOW, _WINDOW_SEASONS = 100, 8
#: Positive series whose largest value is so many times the least are forecast by their logarithm too.
_GROWTH = 1.5
#: Members of less weight than these shares of the largest of their group are left out, of smoothing and of others; and
#: groups of less weight than the first. Many mediocre members together err less than the few best.
_LIGHT, _MEDIOCRE = 0.03, 0.2


@dataclass(frozen=True)
class Candidate:
    """One model of the backtest: its score is the mean absolute error over origins, leads and columns, cut.

    ``criterion`` is that of exponential smoothing on the longest refit, infinite for others.
    """

    kind: str
    parameters: dict[str, Any]
    family: str
    score: float
    weights: int
    seconds: float
    criterion: float = np.inf


@dataclass(frozen=True)
class RollingTest:
    """Rolling origins, what follows each, and deviation, least and largest value of every column."""

    origins: np.ndarray
    truths: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def score(self, forecasts: np.ndarray) -> float:
        """Return the mean absolute error in standard deviations, each cut."""
        with np.errstate(invalid="ignore", over="ignore"):
            errors = np.abs(forecasts - self.truths) / self.scale
        return float(np.where(np.isfinite(errors), np.minimum(errors, _WORST), _WORST).mean())


@dataclass(frozen=True)
class ShortSearch:
    """The fitted mean, all candidates, which of them are its members, the test, and what the mean forecast in it."""

    model: Blend
    candidates: tuple[Candidate, ...]
    chosen: tuple[int, ...]
    test: RollingTest
    forecasts: np.ndarray

    @property
    def horizon(self) -> int:
        """Steps of the backtests."""
        return self.test.truths.shape[1]


def short_forecaster(
    series: np.ndarray,
    dt: float,
    horizon: int | None,
    seed: int,
    longest: int | None = None,
    seasons: Sequence[int] = (),
    logarithms: bool = True,
    budget: float = 10.0,
) -> ShortSearch:
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
    logarithms
        Whether a positive series that grows is forecast by its logarithm too. The mean is often fitted again to more
        data; what is positive only here would then have no logarithm.
    budget
        Processor seconds: with few there are fewer origins and candidates. What is tried depends on this number alone.
    """
    seasons = seasons_of(series, seasons)
    logarithms = logarithms and _grows(series)
    once = _SMOOTHING_SECONDS * series.shape[1] * len(TRENDS) * (1 + len(seasons)) * (1 + logarithms)
    affordable = [count for least, count in _ORIGINS if budget >= least]
    smoothed = [count for count in affordable if count * once <= _SMOOTHING_SHARE * budget]
    test = _test_of(series, horizon, seasons, (smoothed or affordable)[0])
    tested, forecasts = [], []
    for kind, parameters, family in _candidates(
        series, seed, seasons, int(test.origins[0]) - 2 if smoothed else 0, logarithms
    ):
        if budget < _HURRIED and parameters.get("ridge", _RIDGE) != _RIDGE:
            continue
        if kind_of(kind)(**parameters)._window_length() > (longest or len(series)):
            continue
        candidate, values = _backtest(kind, parameters, family, series, test, dt)
        if np.isnan(values).all():  # it cannot be fitted to so many columns, or so few rows
            continue
        tested.append(candidate)
        forecasts.append(values)
    shares, combined = _half_plain(tested, np.stack(forecasts), test)
    chosen = np.flatnonzero(shares)
    model = Blend(
        members=[[tested[number].kind, tested[number].parameters] for number in chosen],
        weights=[float(shares[number]) for number in chosen],
    )
    return ShortSearch(model.fit(series, dt=dt), tuple(tested), tuple(map(int, chosen)), test, combined)


def seasons_of(series: np.ndarray, calendar: Sequence[int] = ()) -> list[int]:
    """Return the seasons that the calendar suggests, and those that columns or their differences show.

    A level that wanders hides a season, which the differences show.
    """
    columns = series.T[:20]
    shown = [season_length(one) for column in columns for one in (column, np.diff(column))]
    longest = len(series) / _FEWEST_SEASONS
    return sorted({s for s in shown if s and s <= longest} | {s for s in calendar if 2 * s <= len(series)})


def _test_of(series: np.ndarray, horizon: int | None, seasons: Sequence[int], count: int) -> RollingTest:
    """Return origins from half of the series on, from two seasons on where that leaves some."""
    samples = len(series)
    ahead = max(min(horizon or samples, max(2, int(_AHEAD * samples))), 1)
    known = min(2 * max(seasons, default=0) + 3, samples - ahead - 2)
    first = max(int(_EARLIEST * samples), samples - ahead * count, known)
    origins = np.unique(np.linspace(max(min(first, samples - ahead), 1), samples - ahead, count).astype(int))
    scale = deviations(series)
    truths = np.stack([series[origin : origin + ahead] for origin in origins])
    return RollingTest(origins, truths, scale, series.min(axis=0), series.max(axis=0))


def _backtest(
    kind: str, parameters: dict[str, Any], family: str, series: np.ndarray, test: RollingTest, dt: float
) -> tuple[Candidate, np.ndarray]:
    """Return the candidate with its score, and what refits before each origin forecast; NaN without a refit."""
    began = time.process_time()
    forecasts, weights, criterion = np.full(test.truths.shape, np.nan), 0, np.inf
    for number, origin in enumerate(test.origins):
        with suppress(TokendynError):
            model = kind_of(kind)(**parameters).fit(series[:origin], dt=dt)
            forecasts[number] = _continued(model, series[:origin], test.truths.shape[1])
            weights = max(weights, int(getattr(model, "parameters_", 0)))
            criterion = _criterion(model, series[:origin])
    seconds = time.process_time() - began
    return Candidate(kind, parameters, family, test.score(forecasts), weights, seconds, criterion), forecasts


def _continued(model: Forecaster, series: np.ndarray, ahead: int) -> np.ndarray:
    """Return what a model forecasts behind a series."""
    span = model.window_length_
    values: np.ndarray = model._rollout(series[None, len(series) - span :], ahead, np.empty((1, ahead + span, 0)))[0]
    return values[0]


def contest(model: Forecaster, series: np.ndarray, dt: float, mean: ShortSearch) -> float:
    """Return the weight of a model, not fitted, beside a mean of the same series' end: by refits at the same origins.

    Both are scored by how long they hold (:func:`tokendyn.forecast.scoring.score`): behind what can be predicted the
    mean errs less than a model of chaos that was right before.
    """
    test = mean.test
    earlier = len(series) - int(test.origins[-1]) - test.truths.shape[1]
    forecasts = np.full(test.truths.shape, np.nan)
    for number, origin in enumerate(test.origins + earlier):
        with suppress(TokendynError):
            fitted = clone(model).fit(series[:origin], dt=dt)
            forecasts[number] = _continued(fitted, series[:origin], test.truths.shape[1])
    forecasts = np.nan_to_num(forecasts, nan=np.inf)
    scores = np.array([score(errors_of(one, test.truths, test.scale))[0] for one in (forecasts, mean.forecasts)])
    ratios = _ratio(scores.min(), scores) ** _GROUP_POWER
    return float(ratios[0] / ratios.sum())


def _criterion(model: Forecaster, series: np.ndarray) -> float:
    """Return the information criterion of smoothing, of a logarithm in the units of the data; infinite for others."""
    if isinstance(model, Logarithm):
        return _criterion(model.member_, series) + 2.0 * float(np.log(series).sum())
    return model.criterion_ if isinstance(model, ExponentialSmoothing) else np.inf


def _half_plain(
    candidates: Sequence[Candidate], forecasts: np.ndarray, test: RollingTest
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the weights of all candidates and of those without a logarithm, and what it forecast.

    Growth by factors that was right at every origin may end: then what grows by steps is right.
    """
    shares, combined = _shares(candidates, forecasts, test)
    plain = [number for number, candidate in enumerate(candidates) if candidate.kind != "Logarithm"]
    if len(plain) == len(candidates):
        return shares, combined
    some, without = _shares([candidates[number] for number in plain], forecasts[plain], test)
    shares = 0.5 * shares
    shares[plain] += 0.5 * some
    return shares, 0.5 * (combined + without)


def _shares(candidates: Sequence[Candidate], forecasts: np.ndarray, test: RollingTest) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of each candidate within smoothing or the others, times that of the group, and their mean."""
    scores = np.array([candidate.score for candidate in candidates])
    criteria = np.array([candidate.criterion for candidate in candidates])
    naive = min(candidate.score for candidate in candidates if candidate.family == "naive")
    power = _POWERS[0] if scores.min() < _PREDICTABLE * naive else _POWERS[1]
    reach = test.high - test.low
    kept = np.clip(
        np.where(np.isnan(forecasts), 0.5 * (test.low + test.high), forecasts), test.low - reach, test.high + reach
    )
    smoothing = np.isfinite(criteria)
    groups = []
    for members in (smoothing, ~smoothing):
        if not members.any():
            continue
        own_power, light = (
            (_SMOOTHING_POWER, _LIGHT) if members is smoothing else (power, _MEDIOCRE if power == 1 else _LIGHT)
        )
        shares = np.where(members, _ratio(scores[members].min(), scores) ** own_power, 0.0)
        if members is smoothing:
            doubts = np.where(members, criteria - criteria[members].min(), 0.0)
            shares *= np.exp(-doubts / _DOUBT)
        shares[shares < light * shares.max()] = 0.0
        groups.append(shares / shares.sum())
    of_groups = np.array([test.score(np.tensordot(shares, kept, axes=1)) for shares in groups])
    weights = _ratio(of_groups.min(), of_groups) ** _GROUP_POWER
    weights[weights < _LIGHT * weights.sum()] = 0.0
    weights = weights / weights.sum() @ np.stack(groups)
    return weights, np.tensordot(weights, kept, axes=1)


def _ratio(best: float, scores: np.ndarray) -> np.ndarray:
    """Return the best score by each, at most 1: exact candidates share that, and better ones are of another group."""
    return np.asarray(np.minimum(max(best, 1e-300) / np.maximum(scores, 1e-300), 1.0))


def _candidates(
    series: np.ndarray, seed: int, seasons: Sequence[int], window: int, logarithms: bool
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield kind, parameters and family: naive, smoothing, linear of series and differences, a few nonlinear."""
    samples, features = series.shape
    for kind in ("Persistence", "Mean", "Drift"):
        yield kind, {}, "naive"
    for season in seasons:
        yield "SeasonalNaive", {"period": season}, "naive"
    for settings in _smoothing(seasons, window):
        yield "ExponentialSmoothing", settings, "exponential smoothing"
        if logarithms:
            yield (
                "Logarithm",
                {"kind": "ExponentialSmoothing", "parameters": settings},
                "exponential smoothing of logarithms",
            )
    yield from _linear(samples, features, seasons)
    if logarithms:
        yield from _logarithmic(samples, features, seasons)
    yield from _nonlinear(series, seed)


def _smoothing(seasons: Sequence[int], window: int) -> Iterator[dict[str, Any]]:
    """Yield settings of exponential smoothing whose window fits before the first origin."""
    for period in (1, *(season for season in seasons if 1 < season <= _LONGEST_PERIOD)):
        length = min(window, max(_WINDOW, _WINDOW_SEASONS * period))
        if length >= max(2 * period, 8):
            for trend in TRENDS:
                yield {"trend": trend, "period": period, "window": length}


def _linear(samples: int, features: int, seasons: Sequence[int]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield linear models of the series and of its differences."""
    lengths = {1, 2, 4, 8, 12, 16, 24, 30, 40, 60} | {length for s in seasons for length in (s + 1, 2 * s + 2)}
    for delays in sorted(length for length in lengths if length * features <= samples / 3):
        for ridge in (0.0, 1e-3, 1e-1):
            yield "BasisMap", {"delays": delays, "ridge": ridge}, "TD-DMD"
        for ridge in (1e-3, 1e-1) if delays <= 30 else ():
            yield "BasisMap", {"delays": delays, "ridge": ridge, "difference": True}, "TD-DMD of differences"


def _grows(series: np.ndarray) -> bool:
    """Return whether all columns are positive and one of them grows by a factor."""
    least, most = series.min(axis=0), series.max(axis=0)
    return bool((least > 0.0).all() and (most >= _GROWTH * least).any())


def _logarithmic(samples: int, features: int, seasons: Sequence[int]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield linear models of the logarithm."""
    yield "Logarithm", {"kind": "Drift"}, "naive"
    lengths = {1, 2, 4, 8} | {length for season in seasons for length in (season + 1, 2 * season + 2)}
    for delays in sorted(length for length in lengths if length * features <= samples / 3):
        for difference, ridge in ((False, 1e-3), (True, 1e-3), (True, 1e-1)):
            settings = {"delays": delays, "ridge": ridge, "difference": difference}
            yield "Logarithm", {"kind": "BasisMap", "parameters": settings}, "TD-DMD of logarithms"


def _nonlinear(series: np.ndarray, seed: int) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield polynomial maps and fixed units of short windows."""
    samples, features = series.shape
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
