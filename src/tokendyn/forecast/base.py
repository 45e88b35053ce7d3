"""One interface of all forecasters: fit, one_step, forecast, score, backtest, save, load."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from tokendyn.errors import BadInputError
from tokendyn.forecast import store
from tokendyn.forecast.checks import check_count, check_number, check_series, check_training, check_window_inputs
from tokendyn.forecast.kinds import KINDS

Status = Literal["complete", "diverged"]
#: Told the share of the work that is done, from 0 to 1, and what is being done.
Progress = Callable[[float, str], None]

Model = TypeVar("Model", bound="Forecaster")

#: A rollout has diverged when a feature leaves its training range by so many times the width of that range.
DIVERGENCE = 1e6


@dataclass(frozen=True)
class Forecast:
    """A closed-loop forecast.

    Attributes
    ----------
    values
        Float64 snapshots after the window, the finite part only: as many as ``finite_steps``.
    status
        "complete", or "diverged" when the rollout left all bounds before the last step.
    finite_steps
        Steps before the rollout diverged; all steps when it is complete.
    dt
        Time between snapshots.
    spread
        For ensembles, the standard deviation over the members, shaped as ``values``; else None.
    """

    values: Float[np.ndarray, "finite_steps features"]
    status: Status
    finite_steps: int
    dt: float
    spread: Float[np.ndarray, "finite_steps features"] | None = None

    @property
    def times(self) -> Float[np.ndarray, " finite_steps"]:
        """Time of each snapshot, counted from the last one of the window."""
        return self.dt * np.arange(1, self.finite_steps + 1)


@dataclass(frozen=True)
class Backtest:
    """Closed-loop forecasts from many origins of one series, compared with what followed.

    Attributes
    ----------
    origins
        Row of the last snapshot of each window.
    errors
        Root mean square over the features of ``(forecast - truth) / scale`` for each origin and lead; infinite
        from where a rollout had diverged.
    scale
        Standard deviation of each feature of the training data.
    dt
        Time between snapshots.
    """

    origins: Int[np.ndarray, " origins"]
    errors: Float[np.ndarray, "origins horizon"]
    scale: Float[np.ndarray, " features"]
    dt: float

    @property
    def nrmse(self) -> Float[np.ndarray, " origins"]:
        """Root of the mean squared error over the horizon, for each origin."""
        return np.sqrt((self.errors**2).mean(axis=1))

    def valid_steps(self, threshold: float = 0.4) -> Int[np.ndarray, " origins"]:
        """Return the number of steps before the error first exceeds ``threshold``, for each origin."""
        over = self.errors > threshold
        return np.where(over.any(axis=1), over.argmax(axis=1), self.errors.shape[1])

    def rows(self, threshold: float = 0.4) -> list[dict[str, float | int]]:
        """Return the table, one row an origin: origin, nrmse, final_error, valid_time."""
        valid = self.valid_steps(threshold) * self.dt
        return [
            {
                "origin": int(origin),
                "nrmse": float(nrmse),
                "final_error": float(errors[-1]),
                "valid_time": float(time),
            }
            for origin, nrmse, errors, time in zip(self.origins, self.nrmse, self.errors, valid, strict=True)
        ]


class Forecaster(BaseEstimator, ABC):  # type: ignore[misc]
    """A model of ``x_{k+1}`` given the window of snapshots that ends at ``x_k``, and known inputs.

    Parameters follow scikit-learn: they are set by the constructor only, and a fitted model has them in
    ``name_`` attributes. A subclass writes the five methods that start with an underscore at the end of this
    class, and may rely on checked float64 arrays in all of them.

    Attributes
    ----------
    n_features_, n_inputs_
        Columns of the training series, and of their inputs (0 for none).
    window_length_
        Snapshots that a window spans: ``(delays - 1) stride + 1``.
    dt_
        Time between snapshots.
    low_, high_, scale_
        Smallest and largest value and standard deviation of each feature in the training data.
    fit_seconds_
        Wall time of the fit.
    """

    fit_seconds_: float
    n_features_: int
    n_inputs_: int
    window_length_: int
    dt_: float
    low_: Float[np.ndarray, " features"]
    high_: Float[np.ndarray, " features"]
    scale_: Float[np.ndarray, " features"]

    kinds: ClassVar[dict[str, type["Forecaster"]]] = KINDS

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        Forecaster.kinds[cls.__name__] = cls

    def fit(
        self: Model,
        series: Any,
        *,
        dt: float = 1.0,
        inputs: Any = None,
        progress: Progress | None = None,
    ) -> Model:
        """Learn from one or several series.

        Parameters
        ----------
        series
            Snapshots as a real array (time, features), or a list of such arrays; they may differ in length.
        dt
            Time between snapshots.
        inputs
            Control or forcing that is known ahead: an array (time, inputs) aligned with the series, or a list.
        progress
            Called with the share of the work that is done, 0 to 1, and a line that says what is being done.

        Raises
        ------
        BadInputError
            If a parameter is out of its range, or the data have gaps, constant or complex columns, different
            columns between series, too few snapshots for the delays, or inputs that do not match.
        """
        began = time.perf_counter()
        problems = self._parameter_problems() + check_number("dt", dt, np.finfo(float).tiny)
        if problems:
            raise BadInputError.all_of(type(self).__name__, problems)
        window = self._window_length()
        arrays, driven = check_training(series, inputs, window=window)
        stacked = np.concatenate(arrays)
        self.n_features_, self.n_inputs_ = stacked.shape[1], driven[0].shape[1]
        self.window_length_, self.dt_ = window, float(dt)
        self.low_, self.high_, self.scale_ = stacked.min(axis=0), stacked.max(axis=0), stacked.std(axis=0)
        self._fit(arrays, driven, progress or _silent)
        self.fit_seconds_ = time.perf_counter() - began
        return self

    def one_step(self, series: Any, inputs: Any = None) -> Float[np.ndarray, "samples features"]:
        """Return the teacher-forced prediction of every snapshot that has a complete window before it.

        Parameters
        ----------
        series
            Snapshots (time, features).
        inputs
            Their inputs (time, inputs), for a model fitted with inputs.

        Returns
        -------
        Predictions ``(time - window_length_, features)``, aligned with ``series[window_length_:]``.
        """
        self._check_fitted()
        array = check_series(series, "series", features=self.n_features_)
        if len(array) <= self.window_length_:
            raise BadInputError(
                f"series has {len(array)} snapshots; a window and the next snapshot need {self.window_length_ + 1}"
            )
        driven = check_window_inputs(inputs, len(array), self.n_inputs_)
        if inputs is not None and len(inputs) != len(array):
            raise BadInputError(f"inputs has {len(inputs)} rows, expected {len(array)} as its series")
        return self._one_step(array, driven)

    def forecast(self, window: Any, steps: int, inputs: Any = None) -> Forecast:
        """Roll out ``steps`` snapshots after a window, each prediction fed back.

        Parameters
        ----------
        window
            At least ``window_length_`` snapshots (time, features); the last ones are used.
        steps
            Snapshots to forecast.
        inputs
            For a model fitted with inputs: rows of the window and of the horizon, ``len(window) + steps``, or at
            least the last ``window_length_ + steps`` of them. The snapshot at step i uses the input at step i.
        """
        self._check_fitted()
        array = check_series(window, "window", features=self.n_features_)
        return self.forecast_many(array[None], steps, None if inputs is None else np.asarray(inputs)[None])[0]

    def forecast_many(self, windows: Any, steps: int, inputs: Any = None) -> tuple[Forecast, ...]:
        """Roll out after each of several windows.

        Parameters
        ----------
        windows
            (batch, time, features), with at least ``window_length_`` snapshots each.
        steps
            Snapshots to forecast.
        inputs
            (batch, time + steps, inputs); see :meth:`forecast`.
        """
        self._check_fitted()
        problems = check_count("steps", steps)
        if problems:
            raise BadInputError(problems[0])
        batch = np.asarray(windows)
        if batch.ndim != 3 or not len(batch):
            raise BadInputError(f"windows has shape {batch.shape}, expected (batch, time, features)")
        arrays = [check_series(one, f"windows[{i}]", features=self.n_features_) for i, one in enumerate(batch)]
        if batch.shape[1] < self.window_length_:
            raise BadInputError(f"the window has {batch.shape[1]} snapshots, expected at least {self.window_length_}")
        if inputs is not None and len(inputs) != len(batch):
            raise BadInputError(f"there are {len(batch)} windows and {len(inputs)} inputs; give one a window")
        rows = self.window_length_ + steps
        driven = [
            check_window_inputs(None if inputs is None else inputs[i], rows, self.n_inputs_) for i in range(len(batch))
        ]
        cut = np.stack(arrays)[:, -self.window_length_ :]
        values, spread = self._rollout(np.ascontiguousarray(cut), int(steps), np.stack(driven))
        return tuple(
            self._settle(values[i], None if spread is None else spread[i], int(steps)) for i in range(len(batch))
        )

    def score(self, series: Any, inputs: Any = None) -> float:
        """Return 1 - NRMSE of the one-step predictions of a series; 1 is perfect, 0 as good as the mean.

        NRMSE is the root of the mean over snapshots and features of ``((prediction - truth) / sigma)^2``, with
        sigma the standard deviation of each feature in the training data.
        """
        predicted = self.one_step(series, inputs)
        truth = check_series(series, "series")[self.window_length_ :]
        return 1.0 - float(np.sqrt((((predicted - truth) / self.scale_) ** 2).mean()))

    def backtest(self, series: Any, horizon: int, every: int, inputs: Any = None) -> Backtest:
        """Forecast from a rolling origin and compare with what followed.

        Parameters
        ----------
        series
            Snapshots (time, features) that the model was not fitted on.
        horizon
            Steps of each forecast.
        every
            Snapshots between two origins; the first origin is the earliest possible.
        inputs
            Inputs (time, inputs) of the series.
        """
        self._check_fitted()
        array = check_series(series, "series", features=self.n_features_)
        problems = check_count("horizon", horizon) + check_count("every", every)
        if problems:
            raise BadInputError.all_of("backtest", problems)
        span = self.window_length_
        origins = np.arange(span - 1, len(array) - horizon, every)
        if not len(origins):
            raise BadInputError(f"series has {len(array)} snapshots; a window and a horizon need {span + horizon}")
        driven = check_window_inputs(inputs, len(array), self.n_inputs_)
        first = origins - span + 1
        windows = np.stack([array[i : i + span] for i in first])
        known = np.stack([driven[i : i + span + horizon] for i in first]) if self.n_inputs_ else None
        errors = np.full((len(origins), horizon), np.inf)
        for i, forecast in enumerate(self.forecast_many(windows, horizon, known)):
            truth = array[origins[i] + 1 : origins[i] + 1 + forecast.finite_steps]
            difference = (forecast.values - truth) / self.scale_
            errors[i, : forecast.finite_steps] = np.sqrt((difference**2).mean(axis=1))
        return Backtest(origins, errors, self.scale_, self.dt_)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the fitted model to a folder, ``model.json`` and ``model.safetensors``, whole or not at all."""
        self._check_fitted()
        store.save(self, path, overwrite=overwrite)

    @classmethod
    def load(cls: type[Model], path: str | Path) -> Model:
        """Read a model that :meth:`save` wrote; ``Forecaster.load`` reads any kind.

        Raises
        ------
        BadInputError
            If a file is missing, truncated, of a newer schema, does not fit together, or is another kind of model.
        """
        model = store.load(path)
        if not isinstance(model, cls):
            raise BadInputError(f"{path} holds a {type(model).__name__}, expected a {cls.__name__}")
        return model

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether the model was fitted or loaded."""
        return hasattr(self, "window_length_")

    def _check_fitted(self) -> None:
        """Raise NotFittedError before fit."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"this {type(self).__name__} is not fitted; call fit(series) first")

    def _settle(self, values: np.ndarray, spread: np.ndarray | None, steps: int) -> Forecast:
        """Return a forecast cut where it left all bounds."""
        reach = DIVERGENCE * (self.high_ - self.low_)
        with np.errstate(invalid="ignore"):
            inside = ((values >= self.low_ - reach) & (values <= self.high_ + reach)).all(axis=1)
        finite = steps if inside.all() else int(inside.argmin())
        status: Status = "complete" if finite == steps else "diverged"
        return Forecast(values[:finite], status, finite, self.dt_, None if spread is None else spread[:finite])

    def _parameter_record(self) -> dict[str, Any]:
        """Return the parameters as JSON values, to rebuild the model from."""
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params(deep=False).items()
        }

    @abstractmethod
    def _parameter_problems(self) -> list[str]:
        """Return what is wrong with the parameters."""

    @abstractmethod
    def _window_length(self) -> int:
        """Return the snapshots that a window spans, from the parameters alone."""

    @abstractmethod
    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Learn from checked series; each has inputs as long as it, of no column when there are none."""

    @abstractmethod
    def _one_step(
        self, series: Float[np.ndarray, "time features"], inputs: Float[np.ndarray, "time inputs"]
    ) -> Float[np.ndarray, "samples features"]:
        """Return the predictions of ``series[window_length_:]``."""

    @abstractmethod
    def _rollout(
        self,
        windows: Float[np.ndarray, "batch window features"],
        steps: int,
        inputs: Float[np.ndarray, "batch rows inputs"],
    ) -> tuple[Float[np.ndarray, "batch steps features"], Float[np.ndarray, "batch steps features"] | None]:
        """Return the closed loop and its spread (None without); what diverges may be infinite or NaN.

        ``inputs`` has ``window_length_ + steps`` rows; row ``window_length_ + i`` belongs to step i.
        """

    @abstractmethod
    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what ``_restore`` needs besides the parameters and the base attributes: values for JSON, arrays."""

    @abstractmethod
    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Set the fitted attributes from what ``_state`` returned; KeyError or ValueError if it does not fit."""


#: Attributes of the data that the members of a combined model share with it.
_SHARED = ("n_features_", "n_inputs_", "dt_", "low_", "high_", "scale_")


def pack_members(members: Sequence[Forecaster]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Return the states of several fitted models, their arrays by number."""
    records: list[dict[str, Any]] = []
    tensors: dict[str, np.ndarray] = {}
    for number, model in enumerate(members):
        record, arrays = model._state()
        records.append(record)
        tensors |= {f"{number}_{name}": array for name, array in arrays.items()}
    return records, tensors


def restore_members(
    whole: Forecaster,
    members: Sequence[Forecaster],
    records: Sequence[dict[str, Any]],
    tensors: Mapping[str, np.ndarray],
) -> None:
    """Set what :func:`pack_members` returned on models with the same parameters; ValueError where it does not fit."""
    for number, (model, record) in enumerate(zip(members, records, strict=True)):
        for name in _SHARED:
            setattr(model, name, getattr(whole, name))
        model.window_length_ = model._window_length()
        model.fit_seconds_ = whole.fit_seconds_ / len(members)
        prefix = f"{number}_"
        own = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
        model._restore(record, own)


def _silent(share: float, line: str) -> None:
    """Ignore progress."""
