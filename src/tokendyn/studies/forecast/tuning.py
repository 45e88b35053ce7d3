"""One rule that tunes every model, ours and the peers': random search on validation rollouts within a time budget."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.base import Forecaster

#: Errors of single rollouts are cut here, so that one divergence does not decide alone.
WORST = 2.0

Space = Callable[[np.random.Generator], dict[str, Any]]


@dataclass(frozen=True)
class Tuned:
    """The best settings of one kind of model, fitted to the whole training series.

    Attributes
    ----------
    model
        Fitted with the best settings.
    parameters
        The settings.
    validation_error
        Mean over validation rollouts of their NRMSE, each cut at ``WORST``.
    tried, failed
        Settings that were tried, and those of them that could not be fitted.
    seconds
        CPU time of the search.
    """

    model: Forecaster
    parameters: dict[str, Any]
    validation_error: float
    tried: int
    failed: int
    seconds: float


def tune(
    kind: Callable[..., Forecaster],
    space: Space,
    series: Any,
    dt: float,
    *,
    horizon: int,
    budget: float,
    inputs: Any = None,
    rollouts: int = 8,
    longest: int | None = None,
    most: int = 1000,
    seed: int = 0,
    first: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
) -> Tuned:
    """Search settings on held-out parts of the training data and fit the best to all of it.

    Of one series the last part is for validation: long enough for ``rollouts`` spread starts of ``horizon`` steps but
    at most 30 %. Of several, the last 30 % of the series are. Settings are drawn until the CPU time is spent; each is
    fitted to the rest and rolled out from every start, and the best of them is fitted to everything. That last fit must
    do about as well on the same starts, which it has learned, or what was validated is kept: an unstable fit is seen.

    Of several series the last third of the time goes to cross-validation: the best few settings are fitted again with
    other 30 % of the series held out, and the mean error decides among them. What holds for two series by luck is seen.

    A model with a parameter ``budget`` (TDTF, PaperTDTF, TorchEncoder) is stopped in time and keeps the best that it
    has: in the search after a third of the budget, or what is left of it; in the last fit after all of it. One that
    can tell its cost before (NVAR) is refused when that is too high. Others run to their end, so that a search
    overruns by one fit at most. Where other programs share the processor, a model is given as many wall seconds as the
    CPU time takes. Settings that fix ``budget`` themselves are left alone. All run in one thread.

    Parameters
    ----------
    kind
        Class of the model.
    space
        Draws settings from a generator.
    series, dt, inputs
        One training series ``(time, features)`` or a list of them, the step, and the inputs of each.
    horizon
        Steps of a validation rollout: those of the task, or fewer.
    budget
        CPU seconds of the search; at least one setting is tried whatever it costs. The last fit comes on top.
    rollouts
        Starts in the validation part.
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
    split, *others = _splits(series, inputs, horizon, rollouts, longest)
    given = [first] if isinstance(first, dict) else list(first or ())
    # More threads make small matrices slower, most of all beside other programs, and their waiting counts as CPU time.
    with threadpool_limits(limits=1):
        clock = _Clock(0.2 if budget > 1 else 0.0)
        rng = np.random.default_rng(seed)
        trials: list[_Trial] = []
        tried = failed = 0
        while tried < most and (not trials or clock.spent() < (_SEARCH_SHARE if others else 1.0) * budget):
            parameters = dict(given[tried]) if tried < len(given) else space(rng)
            tried += 1
            try:
                model = _bounded(kind, parameters, clock.wall(min(budget / 3, budget - clock.spent())))
                model.fit(split.learned, dt=dt, inputs=split.pushes)
                found = _Trial(parameters, model, [_validation_error(model, split, horizon, longest)])
                trials = sorted([*trials, found], key=_Trial.error)[:_VALIDATED_AGAIN]
            except TokendynError:
                failed += 1
                if failed > _PATIENCE and not trials:
                    break
        if not trials:
            name = getattr(kind, "__name__", "the model")
            raise TokendynError(f"none of {tried} settings of {name} could be fitted and rolled out")
        crossed = 0
        while others and crossed < len(trials) and (not crossed or clock.spent() < budget):
            trials[crossed].cross(kind, others, dt, horizon, longest, clock.wall(budget / 3))
            crossed += 1
        best = min(trials[: max(crossed, 1)], key=_Trial.error)
        model = _bounded(kind, best.parameters, clock.wall(budget)).fit(series, dt=dt, inputs=inputs)
        if _validation_error(model, split, horizon, longest) > max(_WORSE * best.errors[0], _ROUNDING):
            model = best.model
    return Tuned(model, best.parameters, best.error(), tried, failed, clock.spent())


#: Settings that may fail before the search gives up when none has worked.
_PATIENCE = 20
#: Share of the time that goes to the first validation when several series allow others.
_SEARCH_SHARE = 2 / 3
#: The best settings, so many at most, are validated again on the other splits.
_VALIDATED_AGAIN = 5
#: Splits of several series at most.
_SPLITS = 3
#: Seconds that a bounded fit gets at least.
_SHORTEST = 1e-3
#: The last fit is not kept when its error on the validation starts, which it has learned, is so many times what it was.
_WORSE = 3.0
#: Errors below this are rounding.
_ROUNDING = 1e-6


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
    """Return a model with these settings, told to stop in time if it can be."""
    model = kind(**parameters)
    if "budget" in model.get_params(deep=False) and "budget" not in parameters:
        model.set_params(budget=max(seconds, _SHORTEST))
    return model


@dataclass(frozen=True)
class _Split:
    """What is fitted, and where validation starts: series, its inputs, and rows of the first forecast snapshots."""

    learned: list[np.ndarray]
    pushes: list[np.ndarray] | None
    held: list[tuple[np.ndarray, np.ndarray | None, np.ndarray]]


@dataclass
class _Trial:
    """Settings, the model fitted to the first split, and the error on each split so far."""

    parameters: dict[str, Any]
    model: Forecaster
    errors: list[float]

    def error(self) -> float:
        """Return the mean error."""
        return float(np.mean(self.errors))

    def cross(
        self,
        kind: Callable[..., Forecaster],
        splits: Sequence[_Split],
        dt: float,
        horizon: int,
        longest: int | None,
        seconds: float,
    ) -> None:
        """Fit and validate on more splits; what cannot be fitted there counts as bad."""
        for split in splits:
            try:
                model = _bounded(kind, self.parameters, seconds).fit(split.learned, dt=dt, inputs=split.pushes)
                self.errors.append(_validation_error(model, split, horizon, longest))
            except TokendynError:
                self.errors.append(WORST)


def _splits(series: Any, inputs: Any, horizon: int, rollouts: int, longest: int | None) -> list[_Split]:
    """Hold out the last part of one series; of several the last of them, then those before."""
    several = isinstance(series, list | tuple)
    arrays = [np.asarray(one, dtype=np.float64) for one in (series if several else [series])]
    pushes = None if inputs is None else [np.asarray(one) for one in (inputs if several else [inputs])]
    if len(arrays) > 1:
        count = max(round(0.3 * len(arrays)), 1)
        groups = [range(end - count, end) for end in range(len(arrays), count - 1, -count)][:_SPLITS]
        return [_held_series(arrays, pushes, group, horizon, -(-rollouts // count), longest) for group in groups]
    one, push = arrays[0], None if pushes is None else pushes[0]
    cut = len(one) - min(int(0.3 * len(one)), horizon * rollouts + horizon)
    if len(one) - cut <= horizon + 1:
        raise BadInputError(f"{len(one)} snapshots are too few to validate {horizon} steps; lower the horizon")
    # Windows may reach into the learned part; what is forecast may not.
    starts = np.unique(np.linspace(cut, len(one) - horizon, rollouts).astype(int))
    return [_Split([one[:cut]], None if push is None else [push[:cut]], [(one, push, starts)])]


def _held_series(
    arrays: list[np.ndarray],
    pushes: list[np.ndarray] | None,
    group: range,
    horizon: int,
    rollouts: int,
    longest: int | None,
) -> _Split:
    """Hold out some of several series; forecasts start where the longest window allows them first, and later."""
    held = []
    for place in group:
        last = len(arrays[place]) - horizon
        first = last // 10 if longest is None else min(longest, last)
        starts = np.unique(np.linspace(first, last, rollouts).astype(int))
        held.append((arrays[place], None if pushes is None else pushes[place], starts[starts > 0]))
    rest = [place for place in range(len(arrays)) if place not in group]
    learned = [arrays[place] for place in rest]
    return _Split(learned, None if pushes is None else [pushes[place] for place in rest], held)


def _validation_error(model: Forecaster, split: _Split, horizon: int, longest: int | None) -> float:
    """Return the mean cut NRMSE of the rollouts over what is held out."""
    span = model.window_length_
    if longest is not None and span > longest:
        raise BadInputError(f"a window of {span} snapshots is longer than the task's {longest}")
    errors = []
    for one, push, all_starts in split.held:
        starts = all_starts[all_starts >= span]
        if not len(starts):
            continue
        windows = np.stack([one[start - span : start] for start in starts])
        driven = None if push is None else np.stack([push[start - span : start + horizon] for start in starts])
        for start, forecast in zip(starts, model.forecast_many(windows, horizon, driven), strict=True):
            if forecast.status != "completed":
                errors.append(WORST)
                continue
            difference = (forecast.values - one[start : start + horizon]) / model.scale_
            errors.append(min(float(np.sqrt((difference**2).mean())), WORST))
    if not errors:
        raise BadInputError(f"a window of {span} snapshots fits before no validation start")
    return float(np.mean(errors))


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


def _seasonal(rng: np.random.Generator) -> dict[str, Any]:
    return {"period": int(rng.integers(2, 400))}


def _nothing(_: np.random.Generator) -> dict[str, Any]:
    return {}


#: What is searched for each kind of peer.
SPACES: dict[str, Space] = {
    "ESN": _esn,
    "NVAR": _nvar,
    "PySINDy": _pysindy,
    "PyDMDHankel": _hankel,
    "TorchEncoder": _encoder,
    "SeasonalNaive": _seasonal,
    "Persistence": _nothing,
}
