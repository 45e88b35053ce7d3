"""One search for the forecaster of a series: naive, linear, polynomial, fixed units and TD-TF, by rollouts held out."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.basis import MOST_LOCAL, BasisMap
from tokendyn.forecast.blend import Blend
from tokendyn.forecast.candidates import (
    LINEAR_RIDGES,
    RIDGES,
    correlation_time,
    first_candidates,
    linear_candidates,
    mutation,
    neighbour_candidates,
    richer_candidates,
    season_length,
    width_of,
    windows_for,
)
from tokendyn.forecast.checks import check_count, check_number, check_training
from tokendyn.forecast.forms import open_series, plain_inputs
from tokendyn.forecast.kinds import kind_of
from tokendyn.forecast.monomials import monomial_count
from tokendyn.forecast.scoring import LOST, errors_of, hold_out_for_search, score, score_model
from tokendyn.forecast.short import SHORT, short_forecaster
from tokendyn.forecast.training import affordable_units
from tokendyn.forecast.trials import SearchResult, Trial, read_trials, write_trials
from tokendyn.words import counted

#: A nonlinear model must have less than this share of the score of the best linear or naive one ...
_WORTH = 0.9
#: ... and lose less than this share of the horizon.
_HOPELESS = 0.9
#: Simple models within this factor of the best are combined by their median, so many at most, ...
_NEAR, _MEDIAN_OF = 1.3, 5
#: ... unless the best alone is this good: exact recursions of clean signals have nothing to average.
_CLEAN = 1e-3
#: So many of the best are scored again, from so many times the starts.
_CONFIRMED, _DENSER = 5, 3
#: Linear maps whose scores differ by less than this count as equal, and the one of fewest numbers is kept.
_EQUAL = 1e-9
#: The last fit is not kept when it scores so many times worse on the same starts, which it has learned.
_WORSE = 3.0
#: Shares of the budget: when smoothing begins, how long it may take, and when TD-TF is tried.
_SMOOTHING_FROM, _SMOOTHING_SHARE, _TRAINING_FROM = 0.6, 0.2, 0.75
#: TD-TF is trained for this share of the budget, for at least so many iterations and of at least so many units.
_TRAINING_SHARE, _ITERATIONS, _FEWEST = 0.1, 20, 20
#: Settings of fixed units that a TD-TF takes over.
_SHARED = ("delays", "stride", "units", "activation", "noise", "ridge", "random_state")
#: Seconds of a budget below which nothing is trained by iterations.
_TRAINS_FROM = 8.0
#: Families that need no more than least squares on the snapshots themselves.
_SIMPLE = ("naive", "TD-DMD")
#: Smoothing is tried when the best one-step residual is above this share of a deviation, and for so many columns.
_NOISY, _NARROW = 1e-3, 200
#: A fit with smoothing costs about so many times a trial of the same basis, which has six ridges and their rollouts.
_SMOOTHING_COST = 5.0
_SMOOTHING = {"smoothing": 8, "history": 100}
#: Operations a second that a cost estimate counts with: those of one core, with something in hand.
_SPEED = 3e9


def auto_forecaster(
    series: Any,
    *,
    dt: float | None = None,
    inputs: Any = None,
    horizon: int | None = None,
    budget: float = 10.0,
    longest: int | None = None,
    random_state: int = 0,
    resume: str | Path | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> SearchResult:
    """Search for the forecaster that holds longest on what is held out, and fit it to everything.

    Naive models and linear maps first, then fixed bases of a window by least squares (:class:`BasisMap`), the best of
    them varied until the time is spent; for noisy series smoothed ones, and with time TD-TF. A nonlinear model is kept
    only where it clearly beats the linear and naive ones. A series of at most 300 snapshots gets the weighted mean of
    all that backtests rank about equally, from refits at rolling origins.

    Parameters
    ----------
    series, dt, inputs
        As for :meth:`tokendyn.forecast.Forecaster.fit`.
    horizon
        Steps that the forecasts are for; None takes what the held-out quarter allows, up to 700. The rollouts are as
        long where the held-out part allows them.
    budget
        Processor seconds, the last fit included; the naive and the first linear models are always tried.
    longest
        Longest window, in snapshots, that a model may look back at; None for any.
    random_state
        Seed of every candidate.
    resume
        JSON file that the trials are written to; trials that it holds are not repeated.
    progress
        Called with the share of the budget that is spent and what is being tried.

    Raises
    ------
    BadInputError
        If the data are bad or shorter than eight snapshots, or ``resume`` belongs to other data.

    Examples
    --------
    >>> from tokendyn.data.systems import lorenz63
    >>> from tokendyn.forecast import auto_forecaster
    >>> series = lorenz63(2000, seed=0)
    >>> found = auto_forecaster(series.values, dt=series.dt, budget=1.0)
    >>> found.family
    'polynomial map'
    """
    opened = open_series(series)
    dt = (opened.form.dt or 1.0) if dt is None else dt
    problems = check_number("budget", budget) + check_number("dt", dt, np.finfo(float).tiny)
    problems += [] if longest is None else check_count("longest", longest)
    if problems:
        raise BadInputError.all_of("the search", problems)
    known = opened.inputs if inputs is None else plain_inputs(inputs)
    arrays, driven = check_training(opened.values, known, window=1)
    if max(map(len, arrays)) < 8:
        raise BadInputError(
            f"the longest series has {counted(max(map(len, arrays)), 'snapshot')}; a search needs at least 8"
        )
    # More threads make small matrices slower, most of all beside other programs, and their waiting counts as CPU time.
    with threadpool_limits(limits=1):
        search = Search(
            arrays, driven, dt, horizon=horizon, budget=budget, longest=longest, seed=random_state, resume=resume,
            progress=progress,
        )  # fmt: skip
        result = replace(search.run(), seconds=time.process_time() - search.began)
    result.model.form_ = opened.form
    result.model._keep_end(arrays, driven)
    return result


class Search:
    """The trials of one search and the clock they run by; the parameters are those of :func:`auto_forecaster`."""

    def __init__(
        self,
        series: list[np.ndarray],
        inputs: list[np.ndarray],
        dt: float,
        *,
        horizon: int | None = None,
        budget: float = 10.0,
        longest: int | None = None,
        seed: int = 0,
        units_only: bool = False,
        resume: str | Path | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> None:
        #: Whether fixed units are the only nonlinear candidates: a TD-TF starts from those.
        self.units_only = units_only
        self.series, self.inputs, self.dt, self.budget, self.seed = series, inputs, dt, budget, seed
        self.horizon, self.resume, self.progress = horizon, resume, progress or (lambda *_: None)
        self.began = time.process_time()
        self.held = hold_out_for_search(series, inputs, horizon)
        self.samples = max(map(len, self.held.learned))
        self.longest = longest or self.samples
        self.features, self.driven = series[0].shape[1], inputs[0].shape[1]
        self.data = [float(dt), float(seed), float(horizon or 0), *(float(one.sum()) for one in series)]
        self.data += [float(len(one)) for one in series]
        self.known = read_trials(resume, self.data)
        self.trials: list[Trial] = []
        #: Models that took iterations to fit, by the number of their trial.
        self.fitted: dict[int, Forecaster] = {}
        self.tried: list[tuple[str, dict[str, Any]]] = []

    def spent(self) -> float:
        """Return the share of the budget that is spent."""
        return (time.process_time() - self.began) / max(self.budget, 1e-9)

    @property
    def short(self) -> bool:
        """Whether the series is so short that refits at rolling origins take the place of the held-out quarter."""
        return len(self.series) == 1 and len(self.series[0]) <= SHORT and not self.driven

    def run(self) -> SearchResult:
        """Try candidates until the time is spent, choose, and fit the choice to everything."""
        if self.short:
            self._naive()
            return self._short()
        return self._choose("completed" if self.explore() else "budget")

    def explore(self) -> bool:
        """Try candidates until the time is spent; return whether it allowed the whole first list."""
        self._naive()
        for settings in linear_candidates(self.samples, self.features):
            if self.trials and self.spent() > _SMOOTHING_FROM:
                break
            self._basis(settings, LINEAR_RIDGES)
        return self._nonlinear()

    def _nonlinear(self) -> bool:
        """Try nonlinear bases, then vary the best; return whether the time allowed the whole first list."""
        rng = np.random.default_rng(self.seed)
        noise = 0.0 if self.features > 1 else 1e-6
        time_scale = correlation_time(max(self.held.learned, key=len))
        windows = windows_for(self.features, time_scale)
        listed = True
        smoothed = trained = False

        def stages() -> Iterator[dict[str, Any]]:
            nonlocal listed
            sizes = (self.samples, self.features, self.driven)
            yield from neighbour_candidates(self.features, time_scale)
            yield from first_candidates(*sizes, windows, noise)
            yield from richer_candidates(*sizes, self._best_windows(2), noise)
            listed = False
            misses = 0
            while misses < 50:
                best = self._nonlinear_trials()[:4]
                if not best:
                    return
                # Better ones are varied more often.
                start = best[min(int(rng.geometric(0.5)) - 1, len(best) - 1)].parameters
                known = len(self.tried)
                yield mutation(start, self.features, self.driven, rng)
                misses = 0 if len(self.tried) > known else misses + 1

        for settings in stages():
            if self.spent() > 1.0 - self._reserve():
                break
            if self.units_only and "units" not in settings:
                continue
            if not smoothed and not self.units_only and (self.spent() > _SMOOTHING_FROM or not listed):
                smoothed = True
                self._smooth()
            if not trained and not self.units_only and self.spent() > _TRAINING_FROM and self.budget >= _TRAINS_FROM:
                trained = True
                self._train()
            self._basis({name: value for name, value in settings.items() if name != "ridge"}, RIDGES)
        return not listed

    def _reserve(self) -> float:
        """Return the share of the budget that the last fit takes: at most a fifth."""
        best = self._ranked()[0]
        return min(2 * best.seconds / max(self.budget, 1e-9), 0.2)

    def _ranked(self) -> list[Trial]:
        return sorted(self.trials, key=lambda trial: trial.key)

    def _nonlinear_trials(self) -> list[Trial]:
        """Return fixed nonlinear bases that were not smoothed, the best first."""
        return [
            trial
            for trial in self._ranked()
            if trial.kind == "BasisMap" and trial.family != "TD-DMD" and not trial.parameters.get("smoothing")
        ]

    def _best_windows(self, most: int) -> list[tuple[int, int]]:
        """Return the windows of the best nonlinear trials that see all columns."""
        trials = (trial.parameters for trial in self._nonlinear_trials() if not trial.parameters.get("reach"))
        windows = ((parameters["delays"], parameters.get("stride", 1)) for parameters in trials)
        return list(dict.fromkeys(windows))[:most]

    def _naive(self) -> None:
        """Try what learns nothing."""
        seasons = {season_length(column) for column in max(self.held.learned, key=len).T[:20]} - {None}
        candidates: list[tuple[str, dict[str, Any]]] = [("Mean", {}), ("Persistence", {})]
        candidates += [("SeasonalNaive", {"period": season}) for season in sorted(seasons)]  # type: ignore[type-var]
        for kind, parameters in candidates:
            self._model(kind, parameters, "naive", 0)

    def _known(self, kind: str, parameters: dict[str, Any]) -> bool:
        """Note what is tried; take it from the file of an earlier search where it stands there."""
        if (kind, parameters) in self.tried:
            return True
        self.tried.append((kind, parameters))
        shared = kind == "BasisMap" and "ridge" not in parameters
        for trial in self.known:
            own = {name: value for name, value in trial.parameters.items() if not (shared and name == "ridge")}
            if (trial.kind, own) == (kind, parameters):
                self._keep(trial)
                return True
        return False

    def _keep(self, trial: Trial) -> None:
        self.trials.append(trial)
        self.progress(min(self.spent(), 1.0), f"{len(self.trials)} tried; best {self._ranked()[0].family}")
        if self.resume is not None:
            write_trials(self.resume, self.data, self.trials)

    def _model(self, kind: str, parameters: dict[str, Any], family: str, weights: int) -> None:
        """Fit one model that has no ridges to share, and score it."""
        if self._known(kind, parameters):
            return
        began = time.process_time()
        model = kind_of(kind)(**parameters)
        if model._window_length() > self.longest:
            return
        try:
            model.fit(self.held.learned, dt=self.dt, inputs=self.held.inputs if self.driven else None)
            lost, error = score_model(model, self.held)
        except TokendynError:
            return
        weights = weights or int(getattr(model, "parameters_", 0))
        residual = float(getattr(model, "residual_", np.nan))
        seconds = time.process_time() - began
        self.fitted[len(self.trials)] = model
        self._keep(Trial(kind, parameters, family, float(lost), float(error), weights, residual, seconds))

    def _basis(self, settings: dict[str, Any], ridges: Sequence[float]) -> None:
        """Fit one basis with all ridges, roll them out together, and keep the best ridge."""
        model = BasisMap(**({"random_state": self.seed} | settings))
        settings = _changed(model)
        width = width_of(settings, self.features, self.driven)
        terms = 1 + width + monomial_count(settings.get("directions") or width, settings.get("order", 1))
        terms += settings.get("units", 0)
        rows = sum(map(len, self.held.learned))
        if model.reach:
            rows = min(rows * self.features, MOST_LOCAL)
        left = self.budget * (1.0 - self.spent())
        if model._window_length() > self.longest:
            return
        if self._known("BasisMap", settings) or (self.trials and 6 * rows * terms**2 / _SPEED > max(left, 0.1)):
            return
        began = time.process_time()
        try:
            windows, truths, drives = self.held.cases(model._window_length())
            if min(map(len, self.held.learned)) <= model._window_length() + 1:
                return
            fits = model.fit_ridges(self.held.learned, self.held.inputs, ridges)
            values = model.roll(fits.basis, fits.coefficients, windows, self.held.horizon, drives, truths, LOST)
        except (TokendynError, np.linalg.LinAlgError):
            return
        scores = score(errors_of(values, truths, self.held.scale))
        best = min(range(len(ridges)), key=lambda number: tuple(scores[number]))
        lost, error = scores[best]
        parameters = settings | {"ridge": ridges[best]}
        weights, residual = int(fits.coefficients[best].size), float(fits.residuals[best])
        seconds = time.process_time() - began
        self._keep(Trial("BasisMap", parameters, model.family, float(lost), float(error), weights, residual, seconds))

    def _smooth(self) -> None:
        """Try the best few with smoothing, where the residual says that there is noise."""
        best = [trial for trial in self._nonlinear_trials() if not trial.parameters.get("reach")][:8]
        residual = min((trial.residual for trial in self.trials if np.isfinite(trial.residual)), default=0.0)
        if not best or self.features > _NARROW or residual < _NOISY:
            return
        until = self.spent() + _SMOOTHING_SHARE
        for trial in best:
            for ridge in (1e-8, 1e-5):
                # The last fit, to all snapshots, costs as much again.
                cost = _SMOOTHING_COST * trial.seconds / max(self.budget, 1e-9)
                if self.spent() + cost > until or self.spent() + 3 * cost > 1.0:
                    break
                history = min(_SMOOTHING["history"], self.longest)
                parameters = trial.parameters | _SMOOTHING | {"ridge": ridge, "history": history}
                self._model("BasisMap", parameters, trial.family, trial.weights)

    def _train(self) -> None:
        """Try TD-TF from the best fixed units, its attention and inner weights trained."""
        units = [trial for trial in self._nonlinear_trials() if trial.family == "fixed units"]
        if not units:
            return
        settings = {name: value for name, value in units[0].parameters.items() if name in _SHARED}
        seconds = self.budget * min(_TRAINING_SHARE, (1.0 - self.spent()) / 2)
        width = settings["delays"] * (self.features + 2 * self.driven)
        count = affordable_units(
            sum(map(len, self.held.learned)), self.features, settings["units"], width, attention=True,
            iterations=_ITERATIONS, seconds=seconds,
        )  # fmt: skip
        if count < _FEWEST:
            return
        settings |= {"units": count, "gate": False, "budget": seconds}
        self._model("TDTF", settings, "TD-TF", 0)

    def preferred(self) -> tuple[Trial, list[Trial]]:
        """Return the trial to take, and the simple ones that forecast about as well where it is simple itself."""
        ranked = self._ranked()
        simple = [trial for trial in ranked if trial.family in _SIMPLE]
        rich = self._rescored([trial for trial in ranked if trial.family not in _SIMPLE][:_CONFIRMED])
        simple[0] = (self._rescored(simple[:1]) or simple)[0]
        if rich and rich[0].score <= _WORTH * simple[0].score and rich[0].score <= _HOPELESS:
            return rich[0], []
        equal = [one for one in simple if one.score <= simple[0].score + _EQUAL]
        best = min(equal, key=lambda one: one.weights)
        return best, [one for one in simple if one.score <= _NEAR * best.score][:_MEDIAN_OF]

    def _choose(self, status: str) -> SearchResult:
        """Choose among the trials, and fit the choice to everything."""
        best, near = self.preferred()
        if best.score > _CLEAN and len(near) > 1:
            members = [[one.kind, one.parameters] for one in near]
            blend = Blend(members=members, combine="median", clip=None)
            names = ", ".join(sorted({one.family for one in near}))
            return self._finish(blend, best, f"median of {len(near)} ({names})", status)
        return self._finish(best.build(), best, best.family, status)

    def _rescored(self, trials: Sequence[Trial]) -> list[Trial]:
        """Score trials again from more starts: of many that were tried, the best owes some of its score to luck."""
        denser = self.held.denser(_DENSER)
        rescored = []
        for trial in trials:
            with suppress(TokendynError):
                lost, error = score_model(self._validated(trial), denser)
                again = replace(trial, score=float(lost), error=float(error))
                self.trials[self.trials.index(trial)] = again
                rescored.append(again)
        return sorted(rescored, key=lambda trial: trial.key)

    def _validated(self, trial: Trial) -> Forecaster:
        """Return the model of a trial as it was scored: fitted to what is learned in the search."""
        model = self.fitted.get(self.trials.index(trial))
        if model is None:
            model = trial.build()
            model.fit(self.held.learned, dt=self.dt, inputs=self.held.inputs if self.driven else None)
        return model

    def _finish(self, model: Forecaster, best: Trial, family: str, status: str) -> SearchResult:
        """Fit to everything; keep what was validated where the last fit went wrong."""
        given = self.inputs if self.driven else None
        self.progress(min(self.spent(), 1.0), f"last fit: {family}")
        model.fit(self.series, dt=self.dt, inputs=given)
        # A nonlinear fit to more data, scored on data that it has learned, must not be worse: it then is less stable.
        lost, worse = float(score_model(model, self.held.denser(_DENSER))[0]), _WORSE if best.family in _SIMPLE else 1.0
        if lost > worse * best.score + _EQUAL:
            model, family = self._validated(best), best.family
        if isinstance(model, BasisMap) and model.family == "TD-DMD" and not model.history:
            model = model.linear_model()
        naive = min(trial.score for trial in self.trials if trial.family == "naive")
        return SearchResult(
            model, family, tuple(self.trials), self.trials.index(best), status, self.held.horizon, naive
        )

    def _short(self) -> SearchResult:
        """Return the weighted mean of what backtests of a short series rank about equally."""
        found = short_forecaster(self.series[0], self.dt, self.horizon, self.seed, self.longest)
        trials = [
            Trial(one.kind, one.parameters, one.family, one.score, one.score, one.weights, np.nan, one.seconds)
            for one in found.candidates
        ]
        best = min(range(len(trials)), key=lambda number: trials[number].score)
        naive = min(trial.score for trial in trials if trial.family == "naive")
        families = ", ".join(dict.fromkeys(trials[number].family for number in found.chosen))
        family = f"weighted mean of {len(found.chosen)} ({families})"
        return SearchResult(found.model, family, tuple(trials), best, "completed", found.horizon, naive)


def _changed(model: BasisMap) -> dict[str, Any]:
    """Return the delays of a map and whatever is not by default, without the ridge."""
    defaults = BasisMap().get_params(deep=False) | {"delays": None, "ridge": model.ridge}
    return {name: value for name, value in model.get_params(deep=False).items() if value != defaults[name]}
