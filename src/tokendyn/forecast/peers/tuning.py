"""One rule that tunes every model, ours and the peers': random search on validation rollouts within a time budget."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    most: int = 1000,
    seed: int = 0,
    first: dict[str, Any] | None = None,
) -> Tuned:
    """Search settings on the end of a training series and fit the best to all of it.

    The series is cut so that the last part, long enough for ``rollouts`` spread starts of ``horizon`` steps but at most
    30 %, is for validation. Settings are drawn until the CPU time is spent; each is fitted to the first part and
    rolled out from every start.

    Parameters
    ----------
    kind
        Class of the model.
    space
        Draws settings from a generator.
    series, dt, inputs
        One training series ``(time, features)``, its step, its inputs.
    horizon
        Steps of a validation rollout: those of the task, or fewer.
    budget
        CPU seconds of the search; at least one setting is tried whatever it costs.
    rollouts
        Starts in the validation part.
    most
        Settings at most.
    seed
        For the draws.
    first
        Settings to try before any that are drawn.

    Raises
    ------
    BadInputError
        If the series is too short.
    TokendynError
        If no setting could be fitted and rolled out.
    """
    series = np.asarray(series, dtype=np.float64)
    cut = len(series) - min(int(0.3 * len(series)), horizon * rollouts + horizon)
    if len(series) - cut <= horizon + 1:
        raise BadInputError(f"{len(series)} snapshots are too few to validate {horizon} steps; lower the horizon")
    rng, began = np.random.default_rng(seed), time.process_time()
    best: tuple[float, dict[str, Any]] | None = None
    tried = failed = 0
    while tried < most and (tried == 0 or best is None or time.process_time() - began < budget):
        parameters = dict(first) if tried == 0 and first is not None else space(rng)
        tried += 1
        try:
            error = validation_error(kind(**parameters), series, dt, inputs, cut, horizon, rollouts)
        except TokendynError:
            failed += 1
            if failed > 20 and best is None:
                break
            continue
        if best is None or error < best[0]:
            best = (error, parameters)
    if best is None:
        name = getattr(kind, "__name__", "the model")
        raise TokendynError(f"none of {tried} settings of {name} could be fitted to {len(series)} snapshots")
    model = kind(**best[1]).fit(series, dt=dt, inputs=inputs)
    return Tuned(model, best[1], best[0], tried, failed, time.process_time() - began)


def validation_error(
    model: Forecaster, series: np.ndarray, dt: float, inputs: Any, cut: int, horizon: int, rollouts: int
) -> float:
    """Fit to the rows before ``cut`` and return the mean cut NRMSE of rollouts whose truth lies behind it."""
    model.fit(series[:cut], dt=dt, inputs=None if inputs is None else inputs[:cut])
    # Windows may reach into the training part; what is forecast may not.
    starts = np.unique(np.linspace(cut, len(series) - horizon, rollouts).astype(int))
    span = model.window_length_
    starts = starts[starts >= span]
    if not len(starts):
        raise BadInputError(f"a window of {span} snapshots does not fit before the validation part")
    windows = np.stack([series[start - span : start] for start in starts])
    driven = None if inputs is None else np.stack([inputs[start - span : start + horizon] for start in starts])
    errors = []
    for start, forecast in zip(starts, model.forecast_many(windows, horizon, driven), strict=True):
        if forecast.status != "complete":
            errors.append(WORST)
            continue
        difference = (forecast.values - series[start : start + horizon]) / model.scale_
        errors.append(min(float(np.sqrt((difference**2).mean())), WORST))
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
