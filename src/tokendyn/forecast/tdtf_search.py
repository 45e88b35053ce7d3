"""``TDTF()`` without settings: fixed units from a search, trained if that makes forecasts valid for longer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.cell import warm_up
from tokendyn.forecast.exploring import SHARED, Exploration, attentive_settings, shared_settings
from tokendyn.forecast.kinds import kind_of
from tokendyn.forecast.scoring import score_model
from tokendyn.forecast.short import Candidate, short_forecaster
from tokendyn.forecast.training import affordable_units
from tokendyn.forecast.trials import Trial

if TYPE_CHECKING:
    from tokendyn.forecast.base import Forecaster, Progress

#: Processor seconds without a budget.
SECONDS = 3.0
#: Shares of the budget: the search of fixed units, and each training after it; and the least number of seconds for
#: training, below which all time goes to the search.
_SEARCH, _TRAINING, _TRAINS_FROM = 0.7, 0.1, 8.0
#: Number of iterations that must fit, or fewer units are trained; and the least number of units for training.
_ITERATIONS, _FEWEST = 30, 20
#: A short series gets fixed units only if their error is below this share of that of the best linear window.
_WORTH = 0.8
#: A fit to all data is rejected if its score is worse by this factor on starts that it has learned.
_WORSE = 3.0
#: Settings of all candidates: the search validates, so a fit learns from all its data.
_FIXED: dict[str, Any] = {"iterations": 0, "gate": False, "validation_fraction": 0.0, "attention": False}
_LINEAR: dict[str, Any] = _FIXED | {"units": 0, "noise": 0.0}


@dataclass(frozen=True)
class Choice:
    """A TD-TF fitted to all data, its settings, its score on the held-out part, and the number of trials."""

    model: Any
    settings: dict[str, Any]
    lost: float
    tried: int


def searched(
    series: Sequence[np.ndarray],
    inputs: Sequence[np.ndarray],
    dt: float,
    *,
    horizon: int | None,
    budget: float | None,
    longest: int | None,
    seed: int,
    progress: "Progress",
) -> Choice:
    """Return the TD-TF with the longest valid time on the held-out part, fitted to all data.

    Fixed units and linear windows are searched as by :func:`tokendyn.forecast.auto_forecaster`. If there is time, inner
    weights are then trained from the best units, with attention over the delays and with uniform weights; each is kept
    only if it lowers the score. A refit solves only the output layer: inner weights stay as validated.
    """
    warm_up()
    budget = SECONDS if budget is None else budget
    trains = budget >= _TRAINS_FROM
    share = _SEARCH if trains else 0.85
    with threadpool_limits(limits=1):
        search = Exploration(
            list(series), list(inputs), dt, horizon=horizon, budget=share * budget, longest=longest, seed=seed,
            units_only=True, progress=lambda done, line: progress(share * done, line),
        )  # fmt: skip
        if search.short:
            return _short(search, progress)
        search.explore()
        best, _ = search.preferred()
        if best.family != "fixed units":
            linear = [trial for trial in search.trials if trial.family == "TD-DMD"]
            best = min(linear, key=lambda trial: trial.key)
        settings = _settings_of(best)
        model = _fitted(settings, search, everything=False)
        lost, trained, tried = float(score_model(model, search.held)[0]), None, len(search.trials)
        for starting in _trainings(settings, search) if trains else ():
            candidate = _trained(starting, search, budget, progress)
            if candidate is None:
                continue
            tried += 1
            candidate_lost = float(score_model(candidate, search.held)[0])
            if candidate_lost < lost:
                model = trained = candidate
                lost = candidate_lost
        if trained is not None:
            settings = {name: getattr(trained, name) for name in (*SHARED, *_FIXED, "rank")}
        progress(0.9, "last fit")
        return Choice(_last(settings, search, model, trained, lost), settings, lost, tried)


def _settings_of(fixed: Trial | Candidate) -> dict[str, Any]:
    """Return the settings of the TD-TF that equals a fixed basis."""
    linear = fixed.family == "TD-DMD"
    shared = shared_settings(fixed.kind, fixed.parameters)
    return _LINEAR | {name: shared[name] for name in ("delays", "stride", "ridge")} if linear else _FIXED | shared


def _fitted(settings: dict[str, Any], search: Exploration, *, everything: bool) -> "Forecaster":
    """Return a TD-TF fitted to all series, or to the training part of the search."""
    series, inputs = (search.series, search.inputs) if everything else (search.held.learned, search.held.inputs)
    return kind_of("TDTF")(**settings).fit(list(series), dt=search.dt, inputs=list(inputs) if search.driven else None)


def _trainings(settings: dict[str, Any], search: Exploration) -> list[dict[str, Any]]:
    """Return the starts of trainings: the best units with attention and without, and attention to many delays."""
    attentive = attentive_settings(search.samples, search.longest)
    starts = [settings | {"attention": attention} for attention in (True, False) if settings["units"]]
    starts = [start for start in starts if start["delays"] > 1 or not start["attention"]]
    return ([] if attentive is None else [_FIXED | attentive | {"attention": True}]) + starts


def _trained(settings: dict[str, Any], search: Exploration, budget: float, progress: "Progress") -> "Forecaster | None":
    """Return a TD-TF trained for its share of the budget, with the number of units that fits; None for too few."""
    seconds = min(_TRAINING * budget, 0.95 * budget - (time.process_time() - search.began))
    if seconds <= 0:
        return None
    width = settings["delays"] * (search.features + 2 * search.driven)
    samples = sum(map(len, search.held.learned))
    units = affordable_units(
        samples, search.features, settings["units"], width, attention=settings["attention"], iterations=_ITERATIONS,
        seconds=seconds, rank=settings.get("rank"),
    )  # fmt: skip
    if units < _FEWEST:
        return None
    progress(_SEARCH, f"training {units} units")
    training = {"units": units, "iterations": 1000, "validation_fraction": 0.1, "budget": seconds}
    try:
        return _fitted(settings | training, search, everything=False)
    except TokendynError:
        return None


def _last(
    settings: dict[str, Any], search: Exploration, validated: "Forecaster", trained: "Forecaster | None", lost: float
) -> "Forecaster":
    """Return the fit to all data, or the validated model if that is much better."""
    if trained is None:
        model = _fitted(settings, search, everything=True)
    else:
        model = trained.with_output_of(list(search.series), list(search.inputs))
    again = float(score_model(model, search.held)[0])
    return validated if again > max(_WORSE * lost, 1e-9) else model


def _short(search: Exploration, progress: "Progress") -> Choice:
    """Return the best linear window of a short series by refits at rolling origins, or units if their error is less."""
    progress(0.0, "refits at rolling origins")
    backtests = short_forecaster(search.series[0], search.dt, search.horizon, search.seed, search.longest)
    kinds: dict[str, tuple[float, dict[str, Any]]] = {}
    for candidate in backtests.candidates:
        if candidate.family in ("TD-DMD", "fixed units"):
            settings = _settings_of(candidate)
            if candidate.family not in kinds or candidate.score < kinds[candidate.family][0]:
                kinds[candidate.family] = candidate.score, settings
    if "TD-DMD" not in kinds:
        raise BadInputError("the series is too short for any window; give more snapshots")
    lost, settings = kinds["TD-DMD"]
    if "fixed units" in kinds and kinds["fixed units"][0] < _WORTH * lost:
        lost, settings = kinds["fixed units"]
    return Choice(_fitted(settings, search, everything=True), settings, lost, len(backtests.candidates))
