"""One search for the forecaster of a series: naive, linear, polynomial, fixed units and TD-TF, by rollouts held out."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.base import Forecast, Forecaster
from tokendyn.forecast.basis import BasisMap
from tokendyn.forecast.blend import Blend
from tokendyn.forecast.candidates import (
    LINEAR_RIDGES,
    RIDGES,
    correlation_time,
    first_candidates,
    linear_candidates,
    mutation,
    richer_candidates,
    season_length,
    windows_for,
)
from tokendyn.forecast.checks import check_number, check_training
from tokendyn.forecast.field_forecaster import WIDE, FieldForecaster
from tokendyn.forecast.forms import open_series, plain_inputs
from tokendyn.forecast.intervals import LEVEL, calibration_horizon, refit_cost, rolling_residuals
from tokendyn.forecast.kinds import kind_of
from tokendyn.forecast.monomials import monomial_count
from tokendyn.forecast.scoring import LOST, errors_of, hold_out_for_search, score, score_model
from tokendyn.forecast.short import SHORT, short_forecaster
from tokendyn.results import Bars, Result
from tokendyn.results.fields import check_fields
from tokendyn.runs.files import new_folder, read_json, write_json
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "tokendyn-forecast-search"
SCHEMA_VERSION = 2
#: A finished search with its model.
RESULT_SCHEMA = "tokendyn-forecaster-search"
#: Candidates that the sentences list.
_LISTED = 12
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
#: Share of the budget that is kept for the calibration of the bands.
_BANDS = 0.1
#: Refits for the bands of a short series, which cost little, also behind the end of the budget.
_SHORT_REFITS = 25
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
#: Warn when fewer candidates than this were tried.
FEW = 10


@dataclass(frozen=True)
class Trial:
    """One candidate: what it is, how it scored, what it cost.

    Attributes
    ----------
    kind, parameters
        Class of the model and its parameters.
    family
        What the model is called: naive, TD-DMD, polynomial map, fixed units, TD-TF.
    score, error
        Share of the horizon that is lost, and the mean error cut at 1: see :func:`tokendyn.forecast.scoring.score`.
    weights
        Numbers that training set.
    residual
        One-step residual in training in standard deviations; NaN where it was not measured.
    seconds
        Processor time.
    """

    kind: str
    parameters: dict[str, Any]
    family: str
    score: float
    error: float
    weights: int
    residual: float
    seconds: float

    @property
    def key(self) -> tuple[float, float]:
        """What candidates are ranked by; less is better."""
        return self.score, self.error

    def build(self) -> Forecaster:
        """Return the model, not fitted."""
        return kind_of(self.kind)(**self.parameters)


@dataclass(frozen=True)
class SearchResult(Result, kind="forecast-search"):
    """The chosen model and why.

    Attributes
    ----------
    model
        Fitted to the whole series.
    family
        What it is: "TD-DMD", "polynomial map", "fixed units", "TD-TF", a naive model, or several combined.
    trials
        All candidates in the order they were tried.
    best
        Index of the chosen one.
    status
        "completed" when the list of candidates was tried to its end within the budget, else "budget".
    horizon
        Steps of the rollouts that were scored.
    naive_score
        Score of the best model that learns nothing.
    """

    model: Forecaster
    family: str
    trials: tuple[Trial, ...]
    best: int
    status: str
    horizon: int
    naive_score: float

    @property
    def skill(self) -> float:
        """One minus the share of the horizon that is lost relative to the best naive model: 1 perfect, 0 as naive."""
        return 1.0 - self.trials[self.best].score / self.naive_score if self.naive_score else 0.0

    def notes(self) -> list[str]:
        """Return what a user should know before trusting the model."""
        notes = []
        if len(self.trials) < FEW:
            notes.append(f"only {len(self.trials)} candidates were tried; give more time")
        if self.skill <= 0.05:
            notes.append("no candidate forecasts the held-out part clearly better than a naive model")
        return notes

    def forecast(
        self, window: Any = None, steps: int | None = None, inputs: Any = None, *, level: float | None = None
    ) -> Forecast:
        """Forecast with the chosen model; see :meth:`tokendyn.forecast.Forecaster.forecast`."""
        return self.model.forecast(window, steps, inputs, level=level)

    def predict(self, steps: int, window: Any = None, inputs: Any = None) -> Any:
        """Predict with the chosen model; see :meth:`tokendyn.forecast.Forecaster.predict`."""
        return self.model.predict(steps, window, inputs)

    def predict_interval(
        self, steps: int, window: Any = None, inputs: Any = None, *, level: float = LEVEL
    ) -> tuple[Any, Any]:
        """Return the bands of the chosen model; see :meth:`tokendyn.forecast.Forecaster.predict_interval`."""
        return self.model.predict_interval(steps, window, inputs, level=level)

    def summary(self) -> dict[str, Any]:
        """Return the search in numbers and words."""
        return {
            "status": self.status, "family": self.family, "trials": len(self.trials), "horizon": self.horizon,
            "skill": self.skill,
        }  # fmt: skip

    def table(self) -> "pd.DataFrame":
        """Return one row for each candidate, the best first; ``lost`` is the share of the horizon that is lost."""
        import pandas as pd

        rows = [
            {
                "family": trial.family, "chosen": number == self.best, "lost": trial.score, "error": trial.error,
                "weights": trial.weights, "residual": trial.residual, "seconds": trial.seconds, "kind": trial.kind,
                "parameters": str(trial.parameters),
            }
            for number, trial in sorted(enumerate(self.trials), key=lambda pair: pair[1].key)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def picture(self) -> Bars:
        """Return what the best of each family lost of the horizon."""
        best: dict[str, float] = {}
        for trial in sorted(self.trials, key=lambda trial: trial.key):
            best.setdefault(trial.family, trial.score)
        return Bars(list(best), list(best.values()), "share of the horizon that is lost", f"chosen: {self.family}")

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model, and the trials beside it, into a new folder."""
        with new_folder(folder, overwrite=overwrite) as place:
            self.model.save(place / "model")
            values = {name: getattr(self, name) for name in ("family", "best", "status", "horizon", "naive_score")}
            record = {"schema": RESULT_SCHEMA, "schema_version": 1, **values, "trials": _rows(self.trials)}
            write_json(place / "search.json", record)

    @classmethod
    def load(cls, folder: str | Path) -> "SearchResult":
        """Read what :meth:`save` wrote.

        Raises
        ------
        BadInputError
            If a file is missing, damaged or of a newer schema.
        """
        folder = Path(folder)
        record = read_json(folder / "search.json", schema=RESULT_SCHEMA, version=1)
        model = Forecaster.load(folder / "model")
        try:
            trials = _trials_of(record)
            values = {name: record[name] for name in ("family", "best", "status", "horizon", "naive_score")}
            check_fields(cls, values, folder / "search.json")
            if not 0 <= values["best"] < len(trials):
                raise KeyError(f"no trial {values['best']}")
            return cls(model, trials=tuple(trials), **values)
        except (KeyError, TypeError) as error:
            raise BadInputError(f"{folder / 'search.json'} is not a whole record of a search ({error})") from None

    def describe(self) -> list[str]:
        """Return the best candidates as lines, and the reason of the choice."""
        most = _LISTED
        order = sorted(range(len(self.trials)), key=lambda number: self.trials[number].key)
        shown = order[:most] if self.best in order[:most] else [*order[: most - 1], self.best]
        lines = [f"{'':2}{'model':<34}{'window':>8}{'ridge':>9}{'noise':>9}{'lost':>11}{'weights':>9}{'seconds':>9}"]
        for number in shown:
            trial, p = self.trials[number], self.trials[number].parameters
            window = f"{p['delays']}x{p.get('stride', 1)}" if "delays" in p else ""
            size = f" of order {p['order']}" if p.get("order", 1) > 1 else f", {p['units']}" if p.get("units") else ""
            ridge, noise = (f"{p[name]:.0e}" if p.get(name) else "" for name in ("ridge", "noise"))
            smoothed = " smoothed" if p.get("smoothing") else ""
            lines.append(
                f"{'*' if number == self.best else '':2}{trial.family + size + smoothed:<34}{window:>8}{ridge:>9}"
                f"{noise:>9}{trial.score:11.3e}{trial.weights:9d}{trial.seconds:9.2f}"
            )
        if len(self.trials) > len(shown):
            lines.append(f"  and {len(self.trials) - len(shown)} more")
        lines.append(
            f"Chosen (*): {self.family}. Tried {len(self.trials)} candidates ({self.status}); each was rolled out "
            f"{counted(self.horizon, 'step')} from several starts in the held-out part. 'lost' is the share of "
            "that horizon on "
            f"which a forecast no longer holds, averaged over all thresholds up to {LOST:g} standard deviations."
        )
        if self.best != order[0]:
            lines.append(
                "Those above it were not kept: they lost more from other starts, or gain too little over a model of "
                "fewer weights."
            )
        if self.model.residuals_ is not None:
            lines.append(self.model.residuals_.line())
        return lines + self.notes()


def auto_forecaster(
    series: Any,
    *,
    dt: float | None = None,
    inputs: Any = None,
    horizon: int | None = None,
    budget: float = 10.0,
    random_state: int = 0,
    resume: str | Path | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> SearchResult:
    """Search for the forecaster that holds longest on what is held out, and fit it to everything.

    Naive models and linear maps first, then fixed bases of a window by least squares (:class:`BasisMap`), the best of
    them varied until the time is spent; for noisy series smoothed ones, and with time TD-TF. A nonlinear model is kept
    only where it clearly beats the linear and naive ones. A series of at most 300 snapshots gets the weighted mean of
    all that backtests rank about equally, from refits at rolling origins. Of more than 64 columns the coefficients of
    their modes are forecast (:class:`FieldForecaster`). Seasons of the data's own and of its calendar are tried.

    Parameters
    ----------
    series, dt, inputs
        As for :meth:`tokendyn.forecast.Forecaster.fit`.
    horizon
        Steps that the forecasts are for; None takes what the held-out quarter allows, up to 700. The rollouts are as
        long where the held-out part allows them.
    budget
        Processor seconds, the last fit and the calibration of its bands included; the naive and the first linear models
        are always tried.
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
    if problems:
        raise BadInputError.all_of("the search", problems)
    known = opened.inputs if inputs is None else plain_inputs(inputs)
    arrays, driven = check_training(opened.values, known, window=1)
    if max(map(len, arrays)) < 8:
        raise BadInputError(
            f"the longest series has {counted(max(map(len, arrays)), 'snapshot')}; a search needs at least 8"
        )
    field = FieldForecaster() if arrays[0].shape[1] > WIDE else None
    searched = arrays if field is None else field.reduce(arrays, driven, dt, opened.form)
    # More threads make small matrices slower, most of all beside other programs, and their waiting counts as CPU time.
    with threadpool_limits(limits=1):
        search = _Search(searched, driven, dt, horizon, budget, random_state, resume, progress or (lambda *_: None))
        search.seasons = opened.form.seasons
        found = search.run()
    if field is not None:
        return replace(found, model=field.adopt(found.model, arrays, driven))
    found.model.form_ = opened.form
    found.model._keep_end(arrays, driven)
    return found


class _Search:
    """The trials of one search and the clock they run by."""

    def __init__(
        self,
        series: list[np.ndarray],
        inputs: list[np.ndarray],
        dt: float,
        horizon: int | None,
        budget: float,
        seed: int,
        resume: str | Path | None,
        progress: Callable[[float, str], None],
    ) -> None:
        self.series, self.inputs, self.dt, self.budget, self.seed = series, inputs, dt, budget, seed
        self.horizon, self.resume, self.progress = horizon, resume, progress
        self.began = time.process_time()
        self.held = hold_out_for_search(series, inputs, horizon)
        self.samples = max(map(len, self.held.learned))
        self.features, self.driven = series[0].shape[1], inputs[0].shape[1]
        self.data = [float(dt), float(seed), float(horizon or 0), *(float(one.sum()) for one in series)]
        self.data += [float(len(one)) for one in series]
        self.known = _read(resume, self.data)
        #: Steps of the seasons that the calendar of the data suggests.
        self.seasons: tuple[int, ...] = ()
        self.trials: list[Trial] = []
        #: Models that took iterations to fit, by the number of their trial.
        self.fitted: dict[int, Forecaster] = {}
        self.tried: list[tuple[str, dict[str, Any]]] = []

    def spent(self) -> float:
        """Return the share of the budget that is spent."""
        return (time.process_time() - self.began) / max(self.budget, 1e-9)

    def run(self) -> SearchResult:
        """Try candidates until the time is spent, choose, and fit the choice to everything."""
        self._naive()
        if len(self.series) == 1 and len(self.series[0]) <= SHORT and not self.driven:
            return self._short()
        for settings in linear_candidates(self.samples, self.features, self.seasons):
            if self.trials and self.spent() > _SMOOTHING_FROM:
                break
            self._basis(settings, LINEAR_RIDGES)
        ended = self._nonlinear()
        return self._choose("completed" if ended else "budget")

    def _nonlinear(self) -> bool:
        """Try nonlinear bases, then vary the best; return whether the time allowed the whole first list."""
        rng = np.random.default_rng(self.seed)
        noise = 0.0 if self.features > 1 else 1e-6
        windows = windows_for(self.features, correlation_time(max(self.held.learned, key=len)))
        listed = True
        smoothed = trained = False

        def stages() -> Iterator[dict[str, Any]]:
            nonlocal listed
            sizes = (self.samples, self.features, self.driven)
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
            if not smoothed and (self.spent() > _SMOOTHING_FROM or not listed):
                smoothed = True
                self._smooth()
            if not trained and self.spent() > _TRAINING_FROM and self.budget >= _TRAINS_FROM:
                trained = True
                self._train()
            self._basis({name: value for name, value in settings.items() if name != "ridge"}, RIDGES)
        return not listed

    def _reserve(self) -> float:
        """Return the share of the budget that is kept for the last fit, at most a fifth, and for the bands."""
        best = self._ranked()[0]
        return min(2 * best.seconds / max(self.budget, 1e-9), 0.2) + _BANDS

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
        """Return the windows of the best nonlinear trials."""
        windows = ((one.parameters["delays"], one.parameters.get("stride", 1)) for one in self._nonlinear_trials())
        return list(dict.fromkeys(windows))[:most]

    def _naive(self) -> None:
        """Try what learns nothing."""
        seasons = {season_length(column) for column in max(self.held.learned, key=len).T[:20]} - {None}
        seasons |= {season for season in self.seasons if season < self.samples / 2}
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
            _write(self.resume, self.data, self.trials)

    def _model(self, kind: str, parameters: dict[str, Any], family: str, weights: int) -> None:
        """Fit one model that has no ridges to share, and score it."""
        if self._known(kind, parameters):
            return
        began = time.process_time()
        model = kind_of(kind)(**parameters)
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
        width = model.delays * self.features + 2 * self.driven
        terms = 1 + width + monomial_count(settings.get("directions") or width, settings.get("order", 1))
        terms += settings.get("units", 0)
        rows = sum(map(len, self.held.learned))
        left = self.budget * (1.0 - self.spent())
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
        best = self._nonlinear_trials()[:8]
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
                parameters = trial.parameters | _SMOOTHING | {"ridge": ridge}
                self._model("BasisMap", parameters, trial.family, trial.weights)

    def _train(self) -> None:
        """Try TD-TF on the best windows, from the noise of the best fixed basis."""
        best = self._nonlinear_trials()
        if not best:
            return
        for delays, stride in self._best_windows(2):
            seconds = self.budget * min(0.1, (1.0 - self.spent()) / 2)
            if seconds <= 0:
                return
            window = {"delays": delays, "stride": stride, "attention": delays > 1}
            parameters = window | {"units": 60, "rank": 0.9999, "noise": best[0].parameters.get("noise", 0.0)}
            parameters |= {"budget": seconds, "random_state": self.seed}
            self._model("TDTF", parameters, "TD-TF", 0)

    def _choose(self, status: str) -> SearchResult:
        """Choose among the trials, and fit the choice to everything."""
        ranked = self._ranked()
        simple = [trial for trial in ranked if trial.family in _SIMPLE]
        rich = self._rescored([trial for trial in ranked if trial.family not in _SIMPLE][:_CONFIRMED])
        simple[0] = (self._rescored(simple[:1]) or simple)[0]
        best = rich[0] if rich else simple[0]
        if best.score > _WORTH * simple[0].score or best.score > _HOPELESS:
            equal = [one for one in simple if one.score <= simple[0].score + _EQUAL]
            best = min(equal, key=lambda one: one.weights)
            near = [one for one in simple if one.score <= _NEAR * best.score][:_MEDIAN_OF]
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
        self._calibrate(model)
        if isinstance(model, BasisMap) and model.family == "TD-DMD" and not model.history:
            residuals, model = model.residuals_, model.linear_model()
            model.residuals_ = residuals
        naive = min(trial.score for trial in self.trials if trial.family == "naive")
        return SearchResult(
            model, family, tuple(self.trials), self.trials.index(best), status, self.held.horizon, naive
        )

    def _calibrate(self, model: Forecaster, least: int = 1) -> None:
        """Measure what forecasts of the past miss, with what is left of the budget and time for ``least`` refits."""
        lengths = [len(one) for one in self.series]
        horizon = calibration_horizon(lengths, self.horizon, model.window_length_)
        left = self.budget * (1.0 - self.spent())
        self.progress(min(self.spent(), 1.0), "bands")
        with suppress(BadInputError):  # of several series that are all shorter than a window and the horizon
            model.residuals_ = rolling_residuals(
                model, self.series, self.inputs, horizon=horizon, budget=max(left, least * refit_cost(model))
            )

    def _short(self) -> SearchResult:
        """Return the weighted mean of what backtests of a short series rank about equally."""
        found = short_forecaster(self.series[0], self.dt, self.horizon, self.seed, self.seasons)
        self._calibrate(found.model, _SHORT_REFITS)
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


def _read(path: str | Path | None, data: list[float]) -> list[Trial]:
    """Return the trials of a file, none without one."""
    if path is None or not Path(path).exists():
        return []
    record = read_json(path, schema=SCHEMA, version=SCHEMA_VERSION)
    if record.get("data") != data:
        raise BadInputError(f"{path} belongs to other data or another seed; give another file, or remove it")
    try:
        return _trials_of(record)
    except (KeyError, TypeError) as error:
        raise BadInputError(f"{path} is not a whole record of a search ({error}); remove it") from None


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _write(path: str | Path, data: list[float], trials: list[Trial]) -> None:
    """Write all trials so far."""
    write_json(path, {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "data": data, "trials": _rows(trials)})


def _rows(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return trials as JSON values."""
    return [{**vars(trial), "residual": trial.residual if np.isfinite(trial.residual) else None} for trial in trials]


def _trials_of(record: Mapping[str, Any]) -> list[Trial]:
    """Return what :func:`_rows` gave; KeyError or TypeError where it does not fit."""
    rows = [{**trial, "residual": _number(trial["residual"])} for trial in record["trials"]]
    for row in rows:
        check_fields(Trial, row, "search.json")
    return [Trial(**row) for row in rows]
