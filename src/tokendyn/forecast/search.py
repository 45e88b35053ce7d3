"""One search for the forecaster of a series: naive, linear, polynomial, fixed units and TD-TF, by held-out rollouts."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.basis import BasisMap
from tokendyn.forecast.blend import Blend
from tokendyn.forecast.checks import check_count, check_number, check_training
from tokendyn.forecast.exploring import EQUAL, SIMPLE, Exploration
from tokendyn.forecast.field_forecaster import WIDE, FieldForecaster
from tokendyn.forecast.forms import open_series, plain_inputs
from tokendyn.forecast.intervals import calibration_horizon, refit_cost, rolling_residuals
from tokendyn.forecast.scoring import score_model
from tokendyn.forecast.short import ShortSearch, contest, short_forecaster
from tokendyn.forecast.trials import SearchResult, Trial
from tokendyn.words import counted

#: Snapshots that a search needs.
LEAST_ROWS = 8
#: The median of several simple models is not used if the best alone is this good: exact recursions of clean signals
#: gain nothing from a mean.
_CLEAN = 1e-3
#: The last fit is rejected if its score is worse by this factor on the same starts, which it has learned.
_WORSE = 3.0
#: Refits for the bands of a short series continue after the end of the budget: at most this number, within this share
#: of it or these seconds, and a few in any case.
_SHORT_REFITS, _SHORT_SHARE, _SHORT_SECONDS, _FEW_REFITS = 25, 0.3, 0.15, 3
#: Series with at most this number of snapshots and columns, and budgets of at least this number of seconds, also get
#: the mean of short series, fitted to this number of last snapshots; refits at rolling origins weight both if they take
#: at most this share of the time.
_MEDIUM, _NARROW, _AFFORDED, _RECENT, _CONTEST = 1000, 3, 4.0, 400, 0.25
#: A model or mean of less weight than this is left out.
_LIGHT = 0.05


def auto_forecaster(
    series: Any,
    *,
    dt: float | None = None,
    inputs: Any = None,
    horizon: int | None = None,
    budget: float = 10.0,
    longest: int | None = None,
    seasons: Sequence[int] = (),
    logarithms: bool = True,
    random_state: int = 0,
    resume: str | Path | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> SearchResult:
    """Search for the forecaster with the longest valid time on held-out data, and fit it to all data.

    First naive models and linear maps, then vector fields (:class:`VectorField`) and fixed bases of a window
    (:class:`BasisMap`) by least squares, with variations of the best until the time is spent; for noisy series also
    models with smoothing, and with enough time TD-TF. A nonlinear model is kept only if it clearly beats the linear and
    naive ones. A series of at most 300 snapshots gets a weighted mean of all candidates, including exponential
    smoothing, by refits at rolling origins; for up to 1,000 snapshots a nonlinear choice is weighted against that mean.
    With more than 64 columns the coefficients of their modes are forecast (:class:`FieldForecaster`). Seasons in the
    data and in its calendar are tried.

    Parameters
    ----------
    series, dt, inputs
        As for :meth:`tokendyn.forecast.Forecaster.fit`.
    horizon
        Steps of the intended forecasts; None for the longest that the held-out quarter allows, up to 700. The rollouts
        have this length if the held-out part allows it.
    budget
        Processor seconds, including the last fit and the calibration of its bands, met to within a fifth; the naive and
        the first linear models are always tried. Compilation, once on a machine, does not count.
    longest
        Longest window of a model in snapshots; None for any.
    seasons
        Lengths in steps of seasons to try, in addition to those of the data and of the calendar.
    logarithms
        Whether growing positive series are also forecast by their logarithm. Give False if the model will be fitted
        again to data that are not positive.
    random_state
        Seed of every candidate.
    resume
        JSON file for the trials; trials already in it are not repeated.
    progress
        Called with the share of the budget spent, and a description of the current trial.

    Raises
    ------
    BadInputError
        If the data are bad or shorter than eight snapshots, or ``resume`` belongs to other data.

    Examples
    --------
    >>> from tokendyn.data.systems import lorenz63
    >>> from tokendyn.forecast import auto_forecaster
    >>> series = lorenz63(2000, seed=0)
    >>> result = auto_forecaster(series.values, dt=series.dt, budget=1.0)
    >>> result.skill > 0.9
    True
    """
    opened = open_series(series)
    dt = (opened.form.dt or 1.0) if dt is None else dt
    problems = check_number("budget", budget) + check_number("dt", dt, np.finfo(float).tiny)
    problems += [] if longest is None else check_count("longest", longest)
    problems += [problem for season in seasons for problem in check_count("a season", season, 2)]
    if problems:
        raise BadInputError.all_of("the search", problems)
    known = opened.inputs if inputs is None else plain_inputs(inputs)
    arrays, driven = check_training(opened.values, known, window=1)
    if max(map(len, arrays)) < LEAST_ROWS:
        raise BadInputError(
            f"the longest series has {counted(max(map(len, arrays)), 'snapshot')}; a search needs at least {LEAST_ROWS}"
        )
    field = FieldForecaster() if arrays[0].shape[1] > WIDE else None
    searched = arrays if field is None else field.reduce(arrays, driven, dt, opened.form)
    # More threads slow small matrices down, above all beside other programs, and their waiting counts as CPU time.
    with threadpool_limits(limits=1):
        suggested = tuple(dict.fromkeys((*opened.form.seasons, *seasons)))
        search = Exploration(
            searched, driven, dt, horizon=horizon, budget=budget, longest=longest, seasons=suggested,
            seed=random_state, resume=resume, progress=progress,
        )  # fmt: skip
        if search.short:
            search.try_naive()
            result = _of_backtests(search, logarithms)
        else:
            mean = _mean_of_recent(search, logarithms)
            result = _chosen(search, "completed" if search.explore() else "budget", mean)
        result = replace(result, seconds=time.process_time() - search.began)
    if field is not None:
        return replace(result, model=field.adopt(result.model, arrays, driven))
    result.model.form_ = opened.form
    result.model._keep_end(arrays, driven)
    return result


def _mean_of_recent(search: Exploration, logarithms: bool) -> ShortSearch | None:
    """Return the weighted mean of short series for the end of one of medium length; None for others."""
    series, columns = search.series, search.features
    medium = len(series) == 1 and len(series[0]) <= _MEDIUM and columns <= _NARROW and not search.driven
    if not medium or search.budget < _AFFORDED:
        return None
    search.progress(0.0, "refits at rolling origins")
    # Finally the mean is fitted to the whole series, which may be positive only at its end.
    logarithms = logarithms and bool((series[0] > 0.0).all())
    return short_forecaster(
        series[0][-_RECENT:], search.dt, search.horizon, search.seed, search.longest, search.seasons, logarithms,
        search.budget,
    )  # fmt: skip


def _chosen(search: Exploration, status: str, mean: ShortSearch | None) -> SearchResult:
    """Choose among the trials, weigh a nonlinear choice against the mean of short series, and fit it to everything."""
    best, near = search.preferred()
    model, family = best.build(), best.title
    if best.score > _CLEAN and len(near) > 1:
        members = [[one.kind, one.parameters] for one in near]
        names = ", ".join(sorted({one.title for one in near}))
        model = Blend(members=members, combine="median", clip=None)
        family = f"median of {len(near)} ({names})"
    seconds = sum(one.seconds for one in near or [best])
    if mean is not None and best.score > _CLEAN and seconds * len(mean.test.origins) <= _CONTEST * search.budget:
        share = contest(model, search.series[0], search.dt, mean)
        if share < 1.0 - _LIGHT:
            return _mixed(search, model, best, family, mean, share, status)
    return _fitted(search, model, best, family, status)


def _mixed(
    search: Exploration, model: Forecaster, best: Trial, family: str, mean: ShortSearch, share: float, status: str
) -> SearchResult:
    """Return the weighted mean of a choice and the mean of short series, or the latter alone."""
    families = f"weighted mean of {len(mean.chosen)}"
    members: list[Any] = [["Blend", mean.model.get_params(deep=False)]]
    weights = [1.0 - share]
    if share > _LIGHT:
        members.append([type(model).__name__, model.get_params(deep=False)])
        weights.append(share)
        families += f", and {best.family if best.family not in SIMPLE else family}"
    whole = Blend(members=members, weights=weights, clip=None)
    search.progress(min(search.spent(), 1.0), f"last fit: {families}")
    whole.fit(search.series, dt=search.dt)
    _calibrate(search, whole)
    naive = min(trial.score for trial in search.trials if trial.family == "naive")
    return SearchResult(
        whole, families, tuple(search.trials), search.trials.index(best), status, search.held.horizon, naive
    )


def _fitted(search: Exploration, model: Forecaster, best: Trial, family: str, status: str) -> SearchResult:
    """Fit to all data; keep the validated model if the last fit fails."""
    given = search.inputs if search.driven else None
    search.progress(min(search.spent(), 1.0), f"last fit: {family}")
    model.fit(search.series, dt=search.dt, inputs=given)
    # A nonlinear fit to more data, scored on data that it has learned, is unstable if it scores worse.
    lost, worse = float(score_model(model, search.confirming)[0]), _WORSE if best.family in SIMPLE else 1.0
    if lost > worse * best.score + EQUAL:
        model, family = search.validated(best), best.title
    _calibrate(search, model)
    if isinstance(model, BasisMap) and model.family == "TD-DMD" and not model.history:
        residuals, model = model.residuals_, model.linear_model()
        model.residuals_ = residuals
        model._series = search.series[0] if len(search.series) == 1 else None  # for error bars
    naive = min(trial.score for trial in search.trials if trial.family == "naive")
    return SearchResult(
        model, family, tuple(search.trials), search.trials.index(best), status, search.held.horizon, naive
    )


def _calibrate(search: Exploration, model: Forecaster, least: int = 1) -> None:
    """Measure the errors of past forecasts with the rest of the budget, and at least time for ``least`` refits."""
    lengths = [len(one) for one in search.series]
    horizon = calibration_horizon(lengths, search.horizon, model.window_length_)
    left = search.budget * (1.0 - search.spent())
    search.progress(min(search.spent(), 1.0), "bands")
    with suppress(BadInputError):  # several series, all shorter than a window and the horizon
        model.residuals_ = rolling_residuals(
            model, search.series, search.inputs, horizon=horizon, budget=max(left, least * refit_cost(model))
        )


def _of_backtests(search: Exploration, logarithms: bool) -> SearchResult:
    """Return the weighted mean of the candidates that backtests of a short series rank about equally."""
    backtests = short_forecaster(
        search.series[0], search.dt, search.horizon, search.seed, search.longest, search.seasons, logarithms,
        search.budget,
    )  # fmt: skip
    allowed = max(_SHORT_SHARE * search.budget, _SHORT_SECONDS) / max(refit_cost(backtests.model), 1e-6)
    _calibrate(search, backtests.model, min(max(int(allowed), _FEW_REFITS), _SHORT_REFITS))
    trials = [
        Trial(one.kind, one.parameters, one.family, one.score, one.score, one.weights, np.nan, one.seconds)
        for one in backtests.candidates
    ]
    best = min(range(len(trials)), key=lambda number: trials[number].score)
    naive = min(trial.score for trial in trials if trial.family == "naive")
    families = ", ".join(dict.fromkeys(trials[number].title for number in backtests.chosen))
    family = f"weighted mean of {len(backtests.chosen)} ({families})"
    return SearchResult(backtests.model, family, tuple(trials), best, "completed", backtests.horizon, naive)
