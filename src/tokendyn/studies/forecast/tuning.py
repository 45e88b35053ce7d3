"""The tuner of the peers: random search on held-out rollouts within the processor time that our own search gets."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.forms import plain_inputs
from tokendyn.forecast.scoring import LOST, Holdout, errors_of, hold_out_for_search, score_model

Space = Callable[[np.random.Generator], dict[str, Any]]

#: Settings that may fail before the search gives up when none has worked.
_PATIENCE = 20
#: The best settings, so many at most, are scored again from so many times the starts, as our own search does.
_CONFIRMED, _DENSER = 5, 3
#: Share of the budget that is kept for the last fit at most.
_LAST = 0.2
#: Seconds that a bounded fit gets at least.
_SHORTEST = 1e-3
#: The last fit is not kept when it scores so many times worse on the same starts, which it has learned.
_WORSE = 3.0
#: Scores below this are rounding.
_ROUNDING = 1e-6
#: Noise on known inputs, in their standard deviations, under which a forecast has to hold.
_DISTURBED = 0.01


@dataclass(frozen=True)
class Tuned:
    """The best settings of one kind of model, fitted to the whole training series.

    Attributes
    ----------
    model
        Fitted with the best settings.
    parameters
        The settings.
    family
        What the model is called.
    lost
        Share of the horizon that is lost on the held-out starts: :func:`tokendyn.forecast.scoring.score`.
    tried, failed
        Settings that were tried, and those of them that could not be fitted.
    seconds
        Processor time of the search, the last fit included.
    """

    model: Forecaster
    parameters: dict[str, Any]
    family: str
    lost: float
    tried: int
    failed: int
    seconds: float


@dataclass(frozen=True)
class _Trial:
    """Settings, the model that was fitted to what is learned, its score, and the seconds of the fit.

    Attributes
    ----------
    fragile
        Whether small noise on the inputs ruins its forecasts: see :func:`_fragile`.
    """

    parameters: dict[str, Any]
    model: Forecaster
    score: tuple[float, float]
    seconds: float
    fragile: bool = False

    @property
    def key(self) -> tuple[bool, tuple[float, float]]:
        """By which trials are ranked: fragile ones come after all others."""
        return self.fragile, self.score


def tune(
    kind: Callable[..., Forecaster],
    space: Space,
    series: Any,
    dt: float,
    *,
    horizon: int,
    budget: float,
    inputs: Any = None,
    longest: int | None = None,
    most: int = 1000,
    seed: int = 0,
    first: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
) -> Tuned:
    """Search settings on what :func:`tokendyn.forecast.auto_forecaster` holds out, by its score and in its time.

    Settings are drawn until the processor time is spent; each is fitted to what is learned and rolled out from the
    held-out starts. The best few are scored again from more starts, and the best of them is fitted to everything; where
    that fit is three times worse on the same starts, which it has learned, what was validated is kept. With inputs a
    model is taken whose forecasts hold when noise of 1 % is added to them, if there is one: what is held out has inputs
    like those that were learned, and does not show what others do to coefficients that nothing in the data determines.

    A model with a parameter ``budget`` stops in time: after a third of the budget, or the rest of it. One
    that can tell its cost before (NVAR) is refused when that is too high. Others run to their end, so that a search
    overruns by one fit at most. Where other programs share the processor, a model is given as many wall seconds as the
    processor time takes. Settings that fix ``budget`` themselves are left alone. All run in one thread.

    Parameters
    ----------
    kind
        Class of the model.
    space
        Draws settings from a generator.
    series, dt, inputs
        One training series ``(time, features)`` or a list of them, the step, and the inputs of each.
    horizon
        Steps of the task; the rollouts are as long where what is held out allows it.
    budget
        Processor seconds, the last fit included; at least one setting is tried whatever it costs.
    longest
        Longest window that the task allows.
    most
        Settings at most.
    seed
        For the draws.
    first
        Settings, one or several, to try before any that are drawn.

    Raises
    ------
    BadInputError
        If the series is too short.
    TokendynError
        If no setting could be fitted and rolled out.
    """
    several = isinstance(series, list | tuple)
    arrays = [np.asarray(one, dtype=np.float64) for one in (series if several else [series])]
    driven = None if inputs is None else [np.asarray(plain_inputs(one)) for one in (inputs if several else [inputs])]
    held = hold_out_for_search(arrays, driven or [np.empty((len(one), 0)) for one in arrays], horizon)
    given = [first] if isinstance(first, dict) else list(first or ())
    # More threads make small matrices slower, most of all beside other programs, and their waiting counts as CPU time.
    with threadpool_limits(limits=1):
        clock = _Clock(0.2 if budget > 1 else 0.0)
        rng = np.random.default_rng(seed)
        trials: list[_Trial] = []
        tried = failed = 0
        while tried < most and (not trials or clock.spent() + _reserve(trials, budget) < budget):
            parameters = dict(given[tried]) if tried < len(given) else space(rng)
            tried += 1
            try:
                began = clock.spent()
                model = _bounded(kind, parameters, clock.wall(min(budget / 3, budget - began)))
                model.fit(held.learned, dt=dt, inputs=None if driven is None else held.inputs)
                trial = _Trial(parameters, model, _scored(model, held, longest), clock.spent() - began)
                trials.append(replace(trial, fragile=driven is not None and _fragile(model, held)))
                trials = sorted(trials, key=lambda trial: trial.key)[:_CONFIRMED]
            except TokendynError:
                failed += 1
                if failed > _PATIENCE and not trials:
                    break
        if not trials:
            name = getattr(kind, "__name__", "the model")
            raise TokendynError(f"none of {tried} settings of {name} could be fitted and rolled out")
        trials = [trial for trial in trials if trial.fragile == trials[0].fragile]
        denser = held.denser(_DENSER, trials[0].score[0])
        scores = [_scored(trial.model, denser, longest) for trial in trials]
        number = min(range(len(trials)), key=scores.__getitem__)
        best, lost = trials[number], scores[number][0]
        seconds = clock.wall(max(budget - clock.spent(), _LAST * budget))
        model = best.model
        with suppress(TokendynError):  # what the time left does not allow: the validated fit stands
            whole = _bounded(kind, best.parameters, seconds).fit(series, dt=dt, inputs=inputs)
            if _scored(whole, denser, longest)[0] <= max(_WORSE * lost, _ROUNDING):
                model = whole
    family = str(getattr(model, "family", type(model).__name__))
    return Tuned(model, best.parameters, family, lost, tried, failed, clock.spent())


def _reserve(trials: list[_Trial], budget: float) -> float:
    """Return the seconds that the last fit of the best will take: at most a fifth of all."""
    return min(2 * trials[0].seconds, _LAST * budget)


def _scored(model: Forecaster, held: Holdout, longest: int | None) -> tuple[float, float]:
    """Return the score of a fitted model; BadInputError where its window does not suit the task."""
    if longest is not None and model.window_length_ > longest:
        raise BadInputError(f"a window of {model.window_length_} snapshots is longer than the task's {longest}")
    lost, error = score_model(model, held)
    return float(lost), float(error)


def _fragile(model: Forecaster, held: Holdout) -> bool:
    """Return whether noise of 1 % on the inputs moves the forecasts from half of the starts by what counts as lost.

    Inputs that are smooth determine few of the coefficients on their delays. The others may be large and cancel, until
    the inputs are of another kind.
    """
    windows, _, drives = held.cases(model.window_length_)
    noise = np.random.default_rng(0).standard_normal(drives.shape)
    disturbed = drives + _DISTURBED * np.concatenate(held.inputs).std(axis=0) * noise
    forecasts = [model._rollout(windows, held.horizon, inputs)[0] for inputs in (drives, disturbed)]
    moved = errors_of(forecasts[1], forecasts[0], held.scale).max(axis=1)
    return bool(np.median(moved) >= LOST)


class _Clock:
    """CPU seconds of a search, and how many wall seconds one takes: models count these.

    Parameters
    ----------
    sample
        CPU seconds that are spent at first to see how busy the processor is; 0 to take it as idle.
    """

    def __init__(self, sample: float) -> None:
        self._adapts, self._wall, self._cpu = sample > 0, time.perf_counter(), time.process_time()
        while time.process_time() - self._cpu < sample:
            pass
        self._began = time.process_time()

    def spent(self) -> float:
        """Return the CPU seconds since the sample."""
        return time.process_time() - self._began

    def wall(self, seconds: float) -> float:
        """Return the wall seconds that CPU seconds take, at least as many."""
        if not self._adapts:
            return seconds
        return seconds * max((time.perf_counter() - self._wall) / (time.process_time() - self._cpu), 1.0)


def _bounded(kind: Callable[..., Forecaster], parameters: dict[str, Any], seconds: float) -> Forecaster:
    """Return a model with these settings, and with a time limit if it has one."""
    model = kind(**parameters)
    if "budget" in model.get_params(deep=False) and "budget" not in parameters:
        model.set_params(budget=max(seconds, _SHORTEST))
    return model


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _esn(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "units": int(rng.choice([200, 400, 600])),
        "spectral_radius": float(rng.uniform(0.2, 1.5)),
        "leak": float(rng.choice([1.0, rng.uniform(0.1, 1.0)])),
        "input_scaling": _log(rng, 0.02, 2.0),
        "bias": float(rng.uniform(0.0, 1.0)),
        "ridge": _log(rng, 1e-10, 1e-3),
        "noise": float(rng.choice([0.0, _log(rng, 1e-5, 1e-2)])),
        "squares": bool(rng.random() < 0.5),
        "random_state": int(rng.integers(1000)),
    }


def _nvar(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "delays": int(rng.integers(1, 9)),
        "stride": int(rng.choice([1, 2, 3, 5, 8, 12])),
        "order": int(rng.integers(2, 6)),
        "ridge": _log(rng, 1e-13, 1e-3),
        "noise": float(rng.choice([0.0, _log(rng, 1e-5, 1e-2)])),
    }


def _pysindy(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "degree": int(rng.integers(1, 4)),
        "threshold": _log(rng, 1e-4, 1.0),
        "alpha": _log(rng, 1e-9, 1e-1),
        "smooth": bool(rng.random() < 0.5),
    }


def _hankel(rng: np.random.Generator) -> dict[str, Any]:
    return {"delays": int(_log(rng, 2.0, 400.0)), "rank": int(rng.choice([0, int(_log(rng, 2.0, 100.0))]))}


def _encoder(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "delays": int(rng.choice([4, 8, 16, 32])),
        "stride": int(rng.choice([1, 2, 4])),
        "width": int(rng.choice([16, 32, 64])),
        "layers": int(rng.integers(1, 3)),
        "updates": int(rng.choice([500, 1500])),
        "learning_rate": _log(rng, 5e-4, 1e-2),
        "noise": float(rng.choice([0.0, _log(rng, 1e-4, 3e-2)])),
        "random_state": int(rng.integers(1000)),
    }


def _tddmd(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "delays": int(_log(rng, 2.0, 400.0)),
        "stride": int(rng.choice([1, 2, 4])),
        "rank": [None, int(_log(rng, 3.0, 80.0))][int(rng.integers(2))],
        "ridge": [0.0, _log(rng, 1e-13, 1e-4)][int(rng.integers(2))],
    }


def _paper(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "delays": int(rng.choice([2, 5, 10, 20])),
        "stride": int(rng.choice([1, 2, 4])),
        "width": int(rng.choice([16, 32, 64])),
        "learning_rate": _log(rng, 5e-4, 1e-2),
        "noise": float(rng.choice([0.0, 1e-4, 1e-3, 1e-2])),
        "epochs": int(rng.choice([60, 200])),
        "random_state": int(rng.integers(1000)),
    }


def _seasonal(rng: np.random.Generator) -> dict[str, Any]:
    return {"period": int(rng.integers(2, 400))}


def _nothing(_: np.random.Generator) -> dict[str, Any]:
    return {}


#: What is searched for each kind of model that has not a search of its own.
SPACES: dict[str, Space] = {
    "TDDMD": _tddmd,
    "PaperTDTF": _paper,
    "ESN": _esn,
    "NVAR": _nvar,
    "PySINDy": _pysindy,
    "PyDMDHankel": _hankel,
    "TorchEncoder": _encoder,
    "SeasonalNaive": _seasonal,
    "Persistence": _nothing,
}
