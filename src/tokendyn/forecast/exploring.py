"""The trials of a search: which candidates are fitted, in which order, how each scores, and which is preferred."""

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

#: A nonlinear model must lose less than this share of what the best linear or naive one loses ...
_WORTH = 0.9
#: ... and less than this share of the steps that can be forecast.
_HOPELESS = 0.9
#: Simple models within this factor of the best are combined by their median, so many at most.
_NEAR, _MEDIAN_OF = 1.3, 5
#: So many of the best are scored again, more of noisy series, from so many times the starts.
_CONFIRMED, _CONFIRMED_NOISY, DENSER = 5, 10, 3
#: Seconds of two scores from so many starts, and of the last fit and its score, by those of the best trial.
_CONFIRMING = 3.0
#: Linear maps whose scores differ by less than this count as equal, and the one of fewest numbers is kept.
EQUAL = 1e-9
#: Share of the budget that the linear windows may take, and what is kept for the last fit at most.
_LINEAR, _LAST = 0.35, 0.5
#: Share of the budget that is kept for the calibration of the bands, and that one linear window may take.
_BANDS, _LONG = 0.1, 0.1
#: Seconds of the last fit, which has a third more snapshots, of a score from more starts, and of a refit and forecasts
#: for the bands, by those of the trial.
_REFIT, _RESCORED, _CALIBRATED = 1.4, 0.6, 1.5
#: Seconds of a fit that is tried whatever is left of the time.
_AT_LEAST = 0.1
#: Shares of the budget: when the best of a noisy series are smoothed, how long that may take, and when TD-TF is tried.
_SMOOTHING_FROM, _SMOOTHING_SHARE, _TRAINING_FROM = 0.45, 0.3, 0.75
#: TD-TF is trained for this share of the budget, for at least so many iterations and of at least so many units.
_TRAINING_SHARE, _ITERATIONS, _FEWEST = 0.1, 20, 20
_MOST_ITERATIONS = 100
#: A TD-TF whose attention picks among many delays: delays, and what it keeps of a context of few numbers. With fewer
#: delays than the least there is nothing to pick among.
_MANY_DELAYS, _LEAST_DELAYS = 25, 10
_ATTENTIVE = {"units": 20, "rank": 4, "noise": 1e-3, "ridge": 1e-6}
#: Settings of fixed units that a TD-TF takes over.
SHARED = ("delays", "stride", "units", "activation", "noise", "ridge", "random_state")
#: Seconds of a budget below which nothing is trained by iterations.
_TRAINS_FROM = 8.0
#: Families that need no more than least squares on the snapshots themselves.
SIMPLE = ("naive", "TD-DMD")
#: Kinds whose ridges share one factorisation.
_FIXED: dict[str, type[BasisMap] | type[VectorField]] = {"BasisMap": BasisMap, "VectorField": VectorField}
#: Smoothing is tried when the best one-step residual is above this share of a deviation, and for so many columns.
_NOISY, _NARROW = 1e-3, 200
#: Seconds that a round of smoothing takes for each number of the series, and more for each function of the model.
_SMOOTHING_A_NUMBER, _SMOOTHING_A_TERM = 2e-6, 7e-8
#: Stages of Runge-Kutta make the derivatives of units dearer, so many times more.
_STAGES = 1.5
#: Seconds of a product in the factors of its banded equations.
_BAND = 8e-9
#: For models that sites share: seconds for each number, and what the product is multiplied by.
_FIXED_BAND, _SPARSE = 4e-6, 0.15
#: Rounds where the time allows no more.
_HURRIED = 4
_SMOOTHING = {"smoothing": 8, "history": 100}
#: The same where all sites of a grid share a model: those beside a site say nearly as much as snapshots long ago.
_SHARED_SMOOTHING = {"smoothing": 4, "history": 20}
#: Operations a second that a cost estimate counts with: those of one core, with something in hand.
_SPEED = 3e9
#: Variations that were all tried before end a search.
_MISSES = 50


class Exploration:
    """The trials of one search and the clock they run by.

    The parameters are those of :func:`tokendyn.forecast.auto_forecaster`; with ``units_only``, fixed units are the only
    nonlinear candidates: a TD-TF starts from those. ``seasons`` are those that the calendar of the data suggests.
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
        #: Models that took iterations to fit, by the number of their trial.
        self.fitted: dict[int, Forecaster] = {}
        self.tried: list[tuple[str, dict[str, Any]]] = []
        self._check_changes()

    def _check_changes(self) -> None:
        """Raise a BadInputError where a search would learn from a part in which nothing changes."""
        if self.short or any((one != one[0]).any() for one in self.held.learned):
            return
        rows, whole = sum(map(len, self.held.learned)), sum(map(len, self.series))
        raise BadInputError(
            f"nothing changes in the first {rows} of {whole} snapshots, which a search learns from; leave out the "
            "constant beginning"
        )

    def spent(self) -> float:
        """Return the share of the budget that is spent."""
        return (time.process_time() - self.began) / max(self.budget, 1e-9)

    @property
    def short(self) -> bool:
        """Whether the series is so short that refits at rolling origins take the place of the held-out quarter."""
        return len(self.series) == 1 and len(self.series[0]) <= SHORT and not self.driven

    def explore(self) -> bool:
        """Try candidates until the time is spent; return whether it allowed the whole first list."""
        self.try_naive()
        for settings in linear_candidates(self.samples, self.features, self.seasons):
            if self.trials and self.spent() > _LINEAR:
                break
            if self._cost(settings) <= _LONG * self.budget:
                self._fixed("BasisMap", settings, LINEAR_RIDGES)
        return self._nonlinear()

    def _nonlinear(self) -> bool:
        """Try nonlinear bases, then vary the best; return whether the time allowed the whole first list."""
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
        # Which of them hold depends on how smooth the field is in space: the first of each come before the others.
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
        """Return the share that the last fit and the scores from more starts take, at most a half, and the bands."""
        again = sum(trial.seconds for trial in self._nonlinear_trials()[:_CONFIRMED])
        dearest = max(trial.seconds for trial in self._ranked()[:2])  # more starts may turn the first two round
        last = _REFIT * dearest + _RESCORED * again
        budget = max(self.budget, 1e-9)
        return min(last / budget, _LAST) + min(max(_BANDS, _CALIBRATED * dearest / budget), _LAST / 2)

    def _ranked(self) -> list[Trial]:
        return sorted(self.trials, key=lambda trial: trial.key)

    def _nonlinear_trials(self, *, smoothed: bool = False) -> list[Trial]:
        """Return fixed nonlinear bases, the best first: those that smooth, or those that do not."""
        return [
            trial
            for trial in self._ranked()
            if trial.kind in _FIXED
            and trial.family not in SIMPLE
            and bool(trial.parameters.get("smoothing")) == smoothed
        ]

    @property
    def residual(self) -> float:
        """The least one-step residual of what was tried; over several steps noise is divided by their number."""
        single = (trial for trial in self.trials if trial.parameters.get("interval", 1) == 1)
        return min((trial.residual for trial in single if np.isfinite(trial.residual)), default=0.0)

    @property
    def noisy(self) -> bool:
        """Whether even the best one-step residual says that there is noise."""
        return self.residual > _NOISY

    def _best_windows(self, most: int) -> list[tuple[int, int]]:
        """Return the windows of the best maps that see all columns."""
        seen = (trial.parameters for trial in self._nonlinear_trials() if trial.kind == "BasisMap")
        windows = ((one["delays"], one.get("stride", 1)) for one in seen if not one.get("reach"))
        return list(dict.fromkeys(windows))[:most]

    def try_naive(self) -> None:
        """Try what learns nothing."""
        seasons = {season_length(column) for column in max(self.held.learned, key=len).T[:20]} - {None}
        seasons |= {season for season in self.seasons if season < self.samples}
        candidates: list[tuple[str, dict[str, Any]]] = [("Mean", {}), ("Persistence", {})]
        candidates += [("SeasonalNaive", {"period": season}) for season in sorted(seasons)]  # type: ignore[type-var]
        for kind, parameters in candidates:
            self._model(kind, parameters, "naive", 0)

    def _known(self, kind: str, parameters: dict[str, Any]) -> bool:
        """Note what is tried; take it from the file of an earlier search where it stands there."""
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
        """Return the seconds that a fit takes, by the operations of its factorisation."""
        rows = sum(map(len, self.held.learned))
        if settings.get("reach"):
            rows = min(rows * self.features, MOST_LOCAL)
        return float(6 * rows * self._terms(settings) ** 2 / _SPEED)

    def _terms(self, settings: dict[str, Any]) -> int:
        """Count the functions of a model."""
        width = width_of(settings, self.features, self.driven)
        monomials = monomial_count(settings.get("directions") or width, settings.get("order", 1))
        return int(1 + width + monomials + settings.get("units", 0))

    def _smooth(self) -> None:
        """Try the best few of a noisy series with smoothing."""
        best = self._nonlinear_trials()
        if self.features > _NARROW or not self.noisy:
            return
        shared = [trial for trial in best if trial.parameters.get("reach")][:3]
        best = [trial for trial in best if not trial.parameters.get("reach")]
        fields = [trial for trial in best if trial.kind == "VectorField"][:3]
        maps = [trial for trial in best if trial.kind != "VectorField"][:6]
        until = self.spent() + _SMOOTHING_SHARE
        # A vector field of few coefficients that is mediocre on noisy rows is often best on smoothed ones.
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
        """Try one model that smooths, if the time allows it and the last fit to all snapshots."""
        ahead = 1.0 + _RESCORED + _REFIT + _CALIBRATED
        if self.spent() + ahead * self._smoothing_cost(kind, settings) <= 1.0:
            self._model(kind, settings, _FIXED[kind](**settings).family, 0)

    def _smoothing_cost(self, kind: str, settings: dict[str, Any]) -> float:
        """Return the share of the budget that a smoothing takes: as others of its kind did, or by its size."""
        alike = [one for one in self._nonlinear_trials(smoothed=True) if one.kind == kind]
        size = sum(map(len, self.held.learned)) * self.features
        size = min(size, SMOOTHED) if settings.get("reach") else size
        terms = self._terms(settings) + (_STAGES * settings.get("units", 0) if kind == "VectorField" else 0)
        # The normal equations have a band as wide as a window of all columns: wide series are dear.
        span = (settings.get("delays", 1) - 1) * settings.get("stride", 1) + 1
        band = _BAND * (span * self.features) ** 2
        if settings.get("reach"):
            # Few snapshots are smoothed: what every call costs counts for more, and the band is filled in part.
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
        """Return the trial to take, and the simple ones that forecast about as well where it is simple itself."""
        ranked = self._ranked()
        simple = [trial for trial in ranked if trial.family in SIMPLE]
        # Rollouts of dear models from many starts would take more than is left.
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
        """Return the share that a trial loses of the steps that can be forecast, however long the horizon is."""
        return 1.0 - (1.0 - trial.score) / self.confirming.share

    def _rescored(self, trials: Sequence[Trial]) -> list[Trial]:
        """Score trials again from more starts: of many that were tried, the best owes some of its score to luck."""
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
        """Return the model of a trial as it was scored: fitted to what is learned in the search."""
        model = self.fitted.get(self.trials.index(trial))
        if model is None:
            model = trial.build()
            model.fit(self.held.learned, dt=self.dt, inputs=self.held.inputs if self.driven else None)
        return model


def attentive_settings(samples: int, longest: int) -> dict[str, Any] | None:
    """Return settings of a TD-TF whose attention has many delays to pick among; None where few fit.

    With a context of few numbers the units see what attention picks, and not the whole window: that is what a system
    asks for whose state says which delay acts.
    """
    delays = min(_MANY_DELAYS, longest, samples // 10)
    return None if delays < _LEAST_DELAYS else {"delays": delays, **_ATTENTIVE}


def shared_settings(kind: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what a TD-TF takes over from a fixed basis, also where that is a default: the two have others."""
    model = kind_of(kind)(**parameters)
    return {name: getattr(model, name) for name in SHARED}


def _changed(model: BasisMap | VectorField) -> dict[str, Any]:
    """Return the delays or the order of a model and whatever is not by default, without the ridge."""
    always = "delays" if isinstance(model, BasisMap) else "order"
    defaults = type(model)().get_params(deep=False) | {always: None, "ridge": model.ridge}
    return {name: value for name, value in model.get_params(deep=False).items() if value != defaults[name]}
