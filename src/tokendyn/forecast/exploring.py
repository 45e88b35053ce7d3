"""The trials of a search: candidates, their order, their scores, and the preferred one."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.basis import MOST_LOCAL, BasisMap
from tokendyn.forecast.candidates import (
    FEW_RIDGES,
    LINEAR_RIDGES,
    NOISY_RIDGES,
    RIDGES,
    SITES,
    Candidate,
    averaging_candidates,
    correlation_time,
    first_candidates,
    linear_candidates,
    mutation,
    neighbour_candidates,
    richer_candidates,
    season_length,
    smoother_mutation,
    vector_fields,
    wider_neighbours,
    width_of,
    windows_for,
)
from tokendyn.forecast.kinds import kind_of
from tokendyn.forecast.monomials import monomial_count
from tokendyn.forecast.scoring import LOST, errors_of, hold_out_for_search, score, score_model
from tokendyn.forecast.short import SHORT
from tokendyn.forecast.sites import SMOOTHED
from tokendyn.forecast.training import affordable_units
from tokendyn.forecast.trials import Trial, read_trials, write_trials
from tokendyn.forecast.vector_field import VectorField, warm_up

#: A nonlinear model must lose less than this share of the loss of the best linear or naive model ...
_WORTH = 0.9
#: ... and less than this share of the steps that can be forecast.
_HOPELESS = 0.9
#: Simple models within this factor of the best are combined by their median, at most this number.
_NEAR, _MEDIAN_OF = 1.3, 5
#: This number of the best trials are scored again, more for noisy series, from this multiple of the starts.
_CONFIRMED, _CONFIRMED_NOISY, DENSER = 5, 10, 3
#: Time of two scores from the larger number of starts, and of the last fit and its score, relative to the best trial.
_CONFIRMING = 3.0
#: Linear maps whose scores differ by less than this are equal, and the map of fewest parameters is kept.
EQUAL = 1e-9
#: Share of the budget for the linear windows, and the largest share reserved for the last fit.
_LINEAR, _LAST = 0.35, 0.5
#: Share of the budget reserved for the calibration of the bands, and the largest share of one linear window.
_BANDS, _LONG = 0.1, 0.1
#: Time of the last fit, which has a third more snapshots, of a score from more starts, and of a refit and forecasts for
#: the bands, relative to the trial.
_REFIT, _RESCORED, _CALIBRATED = 1.4, 0.6, 1.5
#: Seconds of a fit that is tried in any case.
_AT_LEAST = 0.1
#: Shares of the budget: the time before the best models of noisy series are smoothed, for this, and before TD-TF.
_SMOOTHING_FROM, _SMOOTHING_SHARE, _TRAINING_FROM = 0.45, 0.3, 0.75
#: Training of TD-TF: share of the budget, least number of iterations, and least number of units.
_TRAINING_SHARE, _ITERATIONS, _FEWEST = 0.1, 20, 20
_MOST_ITERATIONS = 100
#: A TD-TF whose attention selects among many delays: delays, and the settings for a context of few numbers. With fewer
#: delays than the least there is nothing to select.
_MANY_DELAYS, _LEAST_DELAYS = 25, 10
_ATTENTIVE = {"units": 20, "rank": 4, "noise": 1e-3, "ridge": 1e-6}
#: Settings of fixed units that a TD-TF inherits.
SHARED = ("delays", "stride", "units", "activation", "noise", "ridge", "random_state")
#: Least budget in seconds for iterative training.
_TRAINS_FROM = 8.0
#: Families that need only least squares on the snapshots themselves.
SIMPLE = ("naive", "TD-DMD")
#: Kinds whose ridges share one factorisation.
_FIXED: dict[str, type[BasisMap] | type[VectorField]] = {"BasisMap": BasisMap, "VectorField": VectorField}
#: Smoothing is tried when the best one-step residual exceeds this share of a deviation, up to this number of columns.
_NOISY, _NARROW = 1e-3, 200
#: Seconds of a round of smoothing for each number of the series, and in addition for each function of the model.
_SMOOTHING_A_NUMBER, _SMOOTHING_A_TERM = 2e-6, 7e-8
#: Factor of the cost of derivatives of units due to the stages of Runge-Kutta.
_STAGES = 1.5
#: Seconds of a product in the factors of its banded equations.
_BAND = 8e-9
#: For models that sites share: seconds for each number, and the factor of the product.
_FIXED_BAND, _SPARSE = 4e-6, 0.15
#: Number of rounds if time is short.
_HURRIED = 4
_SMOOTHING = {"smoothing": 8, "history": 100}
#: The same if all sites share a model: neighbouring sites are nearly as informative as old snapshots.
_SHARED_SMOOTHING = {"smoothing": 4, "history": 20}
#: Operations in a second for cost estimates: those of one core, with a margin.
_SPEED = 3e9
#: A search ends after this number of variations that were all tried before.
_MISSES = 50


class Exploration:
    """The trials of one search and their clock.

    The parameters are those of :func:`tokendyn.forecast.auto_forecaster`; with ``units_only``, fixed units are the only
    nonlinear candidates: a TD-TF starts from these. ``seasons`` are suggested by the calendar of the data.
    """

    def __init__(
        self,
        series: list[np.ndarray],
        inputs: list[np.ndarray],
        dt: float,
        *,
        horizon: int | None = None,
        budget: float = 10.0,
        longest: int | None = None,
        seasons: Sequence[int] = (),
        seed: int = 0,
        units_only: bool = False,
        resume: str | Path | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> None:
        self.units_only = units_only
        self.series, self.inputs, self.dt, self.budget, self.seed = series, inputs, dt, budget, seed
        self.horizon, self.resume, self.progress = horizon, resume, progress or (lambda *_: None)
        if series[0].shape[1] > 1 and not inputs[0].shape[1]:
            warm_up()
        self.began = time.process_time()
        self.held = hold_out_for_search(series, inputs, horizon)
        self.samples = max(map(len, self.held.learned))
        self.longest = longest or self.samples
        self.seasons = tuple(seasons)
        self.features, self.driven = series[0].shape[1], inputs[0].shape[1]
        self.data = [float(dt), float(seed), float(horizon or 0), *(float(one.sum()) for one in series)]
        self.data += [float(len(one)) for one in series]
        self.known = read_trials(resume, self.data)
        self.trials: list[Trial] = []
        #: Iteratively trained models, by the number of their trial.
        self.fitted: dict[int, Forecaster] = {}
        self.tried: list[tuple[str, dict[str, Any]]] = []
        self._check_changes()

    def _check_changes(self) -> None:
        """Raise a BadInputError if a search would learn from a part in which nothing changes."""
        if self.short or any((one != one[0]).any() for one in self.held.learned):
            return
        rows, whole = sum(map(len, self.held.learned)), sum(map(len, self.series))
        raise BadInputError(
            f"nothing changes in the first {rows} of {whole} snapshots, which a search learns from; leave out the "
            "constant beginning"
        )

    def spent(self) -> float:
        """Return the share of the budget spent."""
        return (time.process_time() - self.began) / max(self.budget, 1e-9)

    @property
    def short(self) -> bool:
        """Whether the series is so short that refits at rolling origins replace the held-out quarter."""
        return len(self.series) == 1 and len(self.series[0]) <= SHORT and not self.driven

    def explore(self) -> bool:
        """Try candidates until the time is spent; return whether the first list was completed."""
        self.try_naive()
        for settings in linear_candidates(self.samples, self.features, self.seasons):
            if self.trials and self.spent() > _LINEAR:
                break
            if self._cost(settings) <= _LONG * self.budget:
                self._fixed("BasisMap", settings, LINEAR_RIDGES)
        return self._nonlinear()

    def _nonlinear(self) -> bool:
        """Try nonlinear bases, then vary the best; return whether the first list was completed."""
        rng = np.random.default_rng(self.seed)
        self.listed = smoothed = trained = False
        for kind, settings in self._candidates(rng):
            if self.spent() > 1.0 - self._reserve():
                break
            if self.units_only and not (kind == "BasisMap" and "units" in settings):
                continue
            if not self.units_only and not smoothed and (self.spent() > _SMOOTHING_FROM or self.listed):
                smoothed = True
                self._smooth()
            if not self.units_only and not trained and self.spent() > _TRAINING_FROM and self.budget >= _TRAINS_FROM:
                trained = True
                self._train()
            if settings.get("smoothing"):
                self._smoothed(kind, settings)
            else:
                plain = {name: value for name, value in settings.items() if name != "ridge"}
                self._fixed(kind, plain, self._ridges(kind))
        return self.listed

    def _ridges(self, kind: str) -> Sequence[float]:
        """Return the ridges to try for a nonlinear model."""
        if kind != "BasisMap":
            return FEW_RIDGES
        return NOISY_RIDGES if self.features >= SITES and self.noisy else RIDGES

    def _candidates(self, rng: np.random.Generator) -> Iterator[Candidate]:
        """Yield the list, then variations of the best: better ones are varied more often."""
        sizes = (self.samples, self.features, self.driven)
        time_scale = correlation_time(max(self.held.learned, key=len))
        windows = windows_for(self.features, time_scale)
        noise = 0.0 if self.features > 1 else 1e-6
        fields = () if self.driven else vector_fields(self.features)
        near = neighbour_candidates(self.features, time_scale)
        wider = iter(()) if self.driven else wider_neighbours(self.features, lambda: self.residual)
        # The best of them depends on the smoothness of the field in space: the first of each come before the others.
        yield from filter(None, chain.from_iterable(zip_longest(fields, wider, near, wider)))
        yield from first_candidates(*sizes, windows, noise)
        if self.noisy:
            yield from averaging_candidates(self.features, time_scale, noise, self.longest)
        yield from richer_candidates(*sizes, self._best_windows(2), noise, self.residual)
        self.listed = True
        misses = 0
        while misses < _MISSES:
            best = self._nonlinear_trials(smoothed=bool(rng.integers(2)))[:4] or self._nonlinear_trials()[:4]
            if not best:
                return
            start = best[min(int(rng.geometric(0.5)) - 1, len(best) - 1)]
            known = len(self.tried)
            if start.parameters.get("smoothing"):
                yield start.kind, smoother_mutation(start.kind, start.parameters, self.features, self.driven, rng)
            else:
                yield start.kind, mutation(start.kind, start.parameters, self.features, self.driven, rng)
            misses = 0 if len(self.tried) > known else misses + 1

    def _reserve(self) -> float:
        """Return the share for the last fit and the scores from more starts, at most a half, and for the bands."""
        again = sum(trial.seconds for trial in self._nonlinear_trials()[:_CONFIRMED])
        dearest = max(trial.seconds for trial in self._ranked()[:2])  # more starts may swap the first two
        last = _REFIT * dearest + _RESCORED * again
        budget = max(self.budget, 1e-9)
        return min(last / budget, _LAST) + min(max(_BANDS, _CALIBRATED * dearest / budget), _LAST / 2)

    def _ranked(self) -> list[Trial]:
        return sorted(self.trials, key=lambda trial: trial.key)

    def _nonlinear_trials(self, *, smoothed: bool = False) -> list[Trial]:
        """Return fixed nonlinear bases, best first: those with smoothing, or those without."""
        return [
            trial
            for trial in self._ranked()
            if trial.kind in _FIXED
            and trial.family not in SIMPLE
            and bool(trial.parameters.get("smoothing")) == smoothed
        ]

    @property
    def residual(self) -> float:
        """The least one-step residual so far; over several steps noise is divided by their number."""
        single = (trial for trial in self.trials if trial.parameters.get("interval", 1) == 1)
        return min((trial.residual for trial in single if np.isfinite(trial.residual)), default=0.0)

    @property
    def noisy(self) -> bool:
        """Whether even the best one-step residual indicates noise."""
        return self.residual > _NOISY

    def _best_windows(self, most: int) -> list[tuple[int, int]]:
        """Return the windows of the best maps of all columns."""
        seen = (trial.parameters for trial in self._nonlinear_trials() if trial.kind == "BasisMap")
        windows = ((one["delays"], one.get("stride", 1)) for one in seen if not one.get("reach"))
        return list(dict.fromkeys(windows))[:most]

    def try_naive(self) -> None:
        """Try the naive models."""
        seasons = {season_length(column) for column in max(self.held.learned, key=len).T[:20]} - {None}
        seasons |= {season for season in self.seasons if season < self.samples}
        candidates: list[tuple[str, dict[str, Any]]] = [("Mean", {}), ("Persistence", {})]
        candidates += [("SeasonalNaive", {"period": season}) for season in sorted(seasons)]  # type: ignore[type-var]
        for kind, parameters in candidates:
            self._model(kind, parameters, "naive", 0)

    def _known(self, kind: str, parameters: dict[str, Any]) -> bool:
        """Record a trial; take it from the file of an earlier search if it is there."""
        if (kind, parameters) in self.tried:
            return True
        self.tried.append((kind, parameters))
        shared = kind in _FIXED and "ridge" not in parameters
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
        """Fit one model without shared ridges, and score it."""
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

    def _fixed(self, kind: str, settings: dict[str, Any], ridges: Sequence[float]) -> None:
        """Fit one basis with all ridges, roll them out together, and keep the best ridge."""
        model = _FIXED[kind](**({"random_state": self.seed} | settings))
        settings = _changed(model)
        if model._window_length() > self.longest or self._known(kind, settings):
            return
        if self.trials:
            left = self.budget * (1.0 - self._reserve() - self.spent())
            if self._cost(settings) > max(left, _AT_LEAST):
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
        self._keep(
            Trial(
                kind=kind,
                parameters=settings | {"ridge": ridges[best]},
                family=model.family,
                score=float(scores[best][0]),
                error=float(scores[best][1]),
                weights=int(fits.coefficients[best].size),
                residual=float(fits.residuals[best]),
                seconds=time.process_time() - began,
            )
        )

    def _cost(self, settings: dict[str, Any]) -> float:
        """Return the estimated seconds of a fit, by the operations of its factorisation."""
        rows = sum(map(len, self.held.learned))
        if settings.get("reach"):
            rows = min(rows * self.features, MOST_LOCAL)
        return float(6 * rows * self._terms(settings) ** 2 / _SPEED)

    def _terms(self, settings: dict[str, Any]) -> int:
        """Return the number of functions of a model."""
        width = width_of(settings, self.features, self.driven)
        monomials = monomial_count(settings.get("directions") or width, settings.get("order", 1))
        return int(1 + width + monomials + settings.get("units", 0))

    def _smooth(self) -> None:
        """Try the best few models of a noisy series with smoothing."""
        best = self._nonlinear_trials()
        if self.features > _NARROW or not self.noisy:
            return
        shared = [trial for trial in best if trial.parameters.get("reach")][:3]
        best = [trial for trial in best if not trial.parameters.get("reach")]
        fields = [trial for trial in best if trial.kind == "VectorField"][:3]
        maps = [trial for trial in best if trial.kind != "VectorField"][:6]
        until = self.spent() + _SMOOTHING_SHARE
        # A vector field of few coefficients that is mediocre on noisy rows is often best on smoothed rows.
        first = sorted(fields, key=lambda trial: trial.weights)[:1]
        rest = [trial for trial in shared + fields + maps if trial not in first]
        for trial in first + sorted(rest, key=lambda trial: trial.key):
            for ridge in (1e-8, 1e-5)[: 1 if trial in first else 2]:
                usual = _SHARED_SMOOTHING if trial in shared else _SMOOTHING
                settings = trial.parameters | usual | {"ridge": ridge}
                if self._smoothing_cost(trial.kind, settings) > min(
                    _SMOOTHING_SHARE, (1.0 - self.spent()) / (1 + _REFIT)
                ):
                    settings["smoothing"] = _HURRIED
                if self.spent() + self._smoothing_cost(trial.kind, settings) > until:
                    break
                span = _FIXED[trial.kind](**trial.parameters)._window_length()
                history = min(max(usual["history"], 2 * span), self.longest)
                self._smoothed(trial.kind, settings | {"history": history})

    def _smoothed(self, kind: str, settings: dict[str, Any]) -> None:
        """Try one model with smoothing, if there is time for it and for the last fit to all snapshots."""
        ahead = 1.0 + _RESCORED + _REFIT + _CALIBRATED
        if self.spent() + ahead * self._smoothing_cost(kind, settings) <= 1.0:
            self._model(kind, settings, _FIXED[kind](**settings).family, 0)

    def _smoothing_cost(self, kind: str, settings: dict[str, Any]) -> float:
        """Return the share of the budget for a smoothing: as for others of its kind, or by its size."""
        alike = [one for one in self._nonlinear_trials(smoothed=True) if one.kind == kind]
        size = sum(map(len, self.held.learned)) * self.features
        size = min(size, SMOOTHED) if settings.get("reach") else size
        terms = self._terms(settings) + (_STAGES * settings.get("units", 0) if kind == "VectorField" else 0)
        # The normal equations have a band as wide as a window of all columns: wide series are expensive.
        span = (settings.get("delays", 1) - 1) * settings.get("stride", 1) + 1
        band = _BAND * (span * self.features) ** 2
        if settings.get("reach"):
            # Few snapshots are smoothed: the cost of each call matters more, and the band is only partly filled.
            band = _FIXED_BAND + _SPARSE * band
        guess = size * (_SMOOTHING_A_NUMBER + _SMOOTHING_A_TERM * terms + band)
        measured = (
            one.seconds / one.parameters["smoothing"] * min(terms * self.features / max(one.weights, 1), 1.0)
            for one in alike
        )
        a_round = max([guess, *measured])
        return settings["smoothing"] * max(a_round, self._cost(settings)) / max(self.budget, 1e-9)

    def _train(self) -> None:
        """Try TD-TF from the best fixed units, its attention and inner weights trained."""
        units = [trial for trial in self._nonlinear_trials() if trial.family == "fixed units"]
        wide = shared_settings(units[0].kind, units[0].parameters) if units else None
        for settings in (attentive_settings(self.samples, self.longest), wide):
            seconds = self.budget * min(_TRAINING_SHARE, (1.0 - self.spent()) / 3)
            if settings is None or seconds <= 0:
                continue
            width = settings["delays"] * (self.features + 2 * self.driven)
            count = affordable_units(
                sum(map(len, self.held.learned)), self.features, settings["units"], width, attention=True,
                iterations=_ITERATIONS, seconds=seconds, rank=settings.get("rank"),
            )  # fmt: skip
            if count >= _FEWEST:
                training = {"units": count, "iterations": _MOST_ITERATIONS, "gate": False, "budget": seconds}
                self._model("TDTF", settings | training, "TD-TF", 0)

    def preferred(self) -> tuple[Trial, list[Trial]]:
        """Return the best trial, and the simple trials that forecast about as well if it is simple itself."""
        ranked = self._ranked()
        simple = [trial for trial in ranked if trial.family in SIMPLE]
        # Rollouts of expensive models from many starts would exceed the remaining time.
        dear = _CONFIRMING * ranked[0].seconds > self.budget * (1.0 - self.spent())
        self.confirming = self.held.denser(1 if dear else DENSER, ranked[0].score)
        confirmed = _CONFIRMED_NOISY if self.noisy else _CONFIRMED
        rich = self._rescored([trial for trial in ranked if trial.family not in SIMPLE][:confirmed])
        simple[0] = (self._rescored(simple[:1]) or simple)[0]
        if rich and self._within(rich[0]) <= min(_WORTH * self._within(simple[0]), _HOPELESS):
            return rich[0], []
        equal = [one for one in simple if one.score <= simple[0].score + EQUAL]
        best = min(equal, key=lambda one: one.weights)
        return best, [one for one in simple if one.score <= _NEAR * best.score][:_MEDIAN_OF]

    def _within(self, trial: Trial) -> float:
        """Return the share of predictable steps that a trial loses, independent of the horizon."""
        return 1.0 - (1.0 - trial.score) / self.confirming.share

    def _rescored(self, trials: Sequence[Trial]) -> list[Trial]:
        """Score trials again from more starts: the best of many trials owes part of its score to luck."""
        rescored: list[Trial] = []
        for trial in trials:
            ahead = (_REFIT + _CALIBRATED) * trials[0].seconds + _RESCORED * trial.seconds
            if rescored and self.spent() > 1.0 - ahead / max(self.budget, 1e-9):
                break
            with suppress(TokendynError):
                lost, error = score_model(self.validated(trial), self.confirming)
                again = replace(trial, score=float(lost), error=float(error))
                self.trials[self.trials.index(trial)] = again
                rescored.append(again)
        return sorted(rescored, key=lambda trial: trial.key)

    def validated(self, trial: Trial) -> Forecaster:
        """Return the model of a trial as it was scored: fitted to the training part of the search."""
        model = self.fitted.get(self.trials.index(trial))
        if model is None:
            model = trial.build()
            model.fit(self.held.learned, dt=self.dt, inputs=self.held.inputs if self.driven else None)
        return model


def attentive_settings(samples: int, longest: int) -> dict[str, Any] | None:
    """Return settings of a TD-TF whose attention selects among many delays; None if few fit.

    With a context of few numbers the units see the selection of the attention, and not the whole window: this suits a
    system whose state determines the delay that acts.
    """
    delays = min(_MANY_DELAYS, longest, samples // 10)
    return None if delays < _LEAST_DELAYS else {"delays": delays, **_ATTENTIVE}


def shared_settings(kind: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a TD-TF inherits from a fixed basis, even defaults: the two differ in these."""
    model = kind_of(kind)(**parameters)
    return {name: getattr(model, name) for name in SHARED}


def _changed(model: BasisMap | VectorField) -> dict[str, Any]:
    """Return the delays or the order of a model and all settings that are not default, without the ridge."""
    always = "delays" if isinstance(model, BasisMap) else "order"
    defaults = type(model)().get_params(deep=False) | {always: None, "ridge": model.ridge}
    return {name: value for name, value in model.get_params(deep=False).items() if value != defaults[name]}
