"""One interface of all forecasters: fit, one_step, forecast, score, backtest, save, load."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from tokendyn.errors import BadInputError, ConvergenceError
from tokendyn.forecast import store
from tokendyn.forecast.backtests import Backtest
from tokendyn.forecast.checks import (
    check_count,
    check_number,
    check_series,
    check_training,
    check_window_inputs,
    deviations,
)
from tokendyn.forecast.closed_loop import FAR, RANGES, Forecast, Status
from tokendyn.forecast.forms import Form, joined_inputs, open_series, open_window, plain_inputs
from tokendyn.forecast.intervals import (
    LEVEL,
    MOST_ORIGINS,
    Residuals,
    calibration_horizon,
    check_level,
    rolling_residuals,
)
from tokendyn.forecast.kinds import KINDS, add_kind
from tokendyn.results import Result
from tokendyn.words import counted

#: Callback with the share of the work done, from 0 to 1, and a description of the current step.
Progress = Callable[[float, str], None]

Model = TypeVar("Model", bound="Forecaster")

#: A rollout has diverged when a feature leaves its training range by this multiple of the width of that range; later
#: steps are dropped.
DIVERGENCE = 1e6


class Forecaster(BaseEstimator, ABC):  # type: ignore[misc]
    """A model of ``x_{k+1}`` given the window of snapshots that ends at ``x_k``, and known inputs.

    Parameters follow scikit-learn: only the constructor sets them, and a fitted model has its results in ``name_``
    attributes. A subclass implements the five methods that start with an underscore at the end of this class; all of
    them receive checked float64 arrays.

    Attributes
    ----------
    n_features_, n_inputs_
        Columns of the training series, and of their inputs (0 for none).
    window_length_
        Number of snapshots that a window spans: ``(delays - 1) stride + 1``.
    dt_
        Time between snapshots.
    low_, high_, scale_
        Smallest and largest value and standard deviation of each feature in the training data; a deviation of 0 is
        replaced by 1.
    fit_seconds_
        Wall time of the fit.
    form_
        Form of the training series (its names, index, coordinates), so that forecasts have the same form.
    last_window_, last_inputs_
        The end of the only training series and of its inputs, which ``forecast(steps)`` continues; empty for several.
    residuals_
        Errors of forecasts of the past, from which bands follow; None before :meth:`calibrate`.
    """

    fit_seconds_: float
    n_features_: int
    n_inputs_: int
    window_length_: int
    dt_: float
    low_: Float[np.ndarray, " features"]
    high_: Float[np.ndarray, " features"]
    scale_: Float[np.ndarray, " features"]
    form_: Form
    last_window_: Float[np.ndarray, "window features"]
    last_inputs_: Float[np.ndarray, "window inputs"]
    residuals_: Residuals | None = None
    #: Processor seconds of the fit; 0 if it happened elsewhere.
    _fit_cpu: float = 0.0
    #: Largest number of refits in a calibration: few for models trained by iterations.
    _most_refits: ClassVar[int] = MOST_ORIGINS

    kinds: ClassVar[dict[str, type["Forecaster"]]] = KINDS

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        add_kind(cls)

    def fit(
        self: Model,
        series: Any,
        *,
        dt: float | None = None,
        inputs: Any = None,
        progress: Progress | None = None,
    ) -> Model:
        """Learn from one or several series.

        Parameters
        ----------
        series
            Snapshots: a real array (time, features), or ``(time, *space)`` for a field; a DataFrame, an xarray object
            or the result of a reader; or a list of these, which may differ in length. Points of a field that are NaN at
            every time are left out, and are NaN in the result of :meth:`predict`.
        dt
            Time between snapshots; by default the step of the index (of dates in seconds), or 1.
        inputs
            Control or forcing known in advance: an array (time, inputs) aligned with the series, or a list. By default
            the inputs that were read with the series.
        progress
            Called with the share of the work done, 0 to 1, and a description of the current step.

        Raises
        ------
        If a parameter is out of range, or the data have gaps, complex or only constant columns, different columns
        between series, too few snapshots for the delays, or inputs that do not match.
        """
        began, began_cpu = time.perf_counter(), time.process_time()
        opened = open_series(series)
        dt = (opened.form.dt or 1.0) if dt is None else dt
        problems = self._parameter_problems() + check_number("dt", dt, np.finfo(float).tiny)
        if problems:
            raise BadInputError.all_of(type(self).__name__, problems)
        window = self._window_length()
        known = opened.inputs if inputs is None else plain_inputs(inputs)
        arrays, driven = check_training(opened.values, known, window=window)
        self._note_data(arrays, driven, dt, window)
        self.form_ = opened.form
        self._keep_end(arrays, driven)
        self.residuals_ = None
        self._fit(arrays, driven, progress or _silent)
        self.fit_seconds_, self._fit_cpu = time.perf_counter() - began, time.process_time() - began_cpu
        return self

    def one_step(self, series: Any, inputs: Any = None) -> Float[np.ndarray, "samples features"]:
        """Return the teacher-forced prediction of every snapshot after a complete window.

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
        array, inputs = self._read(series, inputs)
        if len(array) <= self.window_length_:
            raise BadInputError(
                f"series has {counted(len(array), 'snapshot')}; a window and the next snapshot need "
                f"{self.window_length_ + 1}"
            )
        driven = check_window_inputs(inputs, len(array), self.n_inputs_)
        if inputs is not None and len(inputs) != len(array):
            raise BadInputError(f"inputs has {counted(len(inputs), 'row')}, expected {len(array)} as its series")
        return self._one_step(array, driven)

    def calibrate(
        self: Model,
        series: Any,
        *,
        horizon: int | None = None,
        inputs: Any = None,
        refit: bool = True,
        budget: float = 10.0,
    ) -> Model:
        """Measure the errors of forecasts of the past, so that :meth:`forecast` gives bands of any level.

        Models with the same parameters are fitted to the start of the series, and forecast the following snapshots from
        up to thirty rolling origins: :class:`tokendyn.forecast.intervals.Residuals` has the formula,
        :doc:`theory-forecast` the coverage of the bands. The fitted model itself is not changed. ``residuals_`` has the
        number of refits for which there was time.

        Parameters
        ----------
        series, inputs
            The series and inputs of :meth:`fit`.
        horizon
            Number of steps with bands; None for a fifth of the longest series, at most 700. A single series allows at
            most a third of its length.
        refit
            False for series that the model has *not* learned: it is then used without further fits.
        budget
            Processor seconds. A model whose fit takes longer is not fitted again; its residuals then come from data
            that it has learned, are too small, and ``residuals_.source`` records this.

        Returns
        -------
        The model.

        Raises
        ------
        BadInputError
            If the series or inputs do not suit the model, or none is long enough for a window and a forecast.

        Examples
        --------
        >>> import numpy as np
        >>> from tokendyn.forecast import TDDMD
        >>> time = np.arange(300.0)
        >>> series = np.sin(0.3 * time) + 0.1 * np.random.default_rng(0).standard_normal(300)
        >>> model = TDDMD(delays=20).fit(series).calibrate(series, horizon=30)
        >>> forecast = model.forecast(30, level=0.8)
        >>> bool((forecast.lower < forecast.values).all())
        True
        """
        self._check_fitted()
        opened = open_series(series)
        known = opened.inputs if inputs is None and self.n_inputs_ else plain_inputs(inputs)
        arrays, driven = check_training(opened.values, known, window=self.window_length_)
        problems = check_number("budget", budget) + ([] if horizon is None else check_count("horizon", horizon))
        if arrays[0].shape[1] != self.n_features_:
            problems.append(f"series has {counted(arrays[0].shape[1], 'column')}, the model {self.n_features_}")
        if driven[0].shape[1] != self.n_inputs_:
            problems.append(f"there are {counted(driven[0].shape[1], 'input')}, the model has {self.n_inputs_}")
        if problems:
            raise BadInputError.all_of("calibrate", problems)
        steps = calibration_horizon([len(one) for one in arrays], horizon, self.window_length_, refit=refit)
        self.residuals_ = rolling_residuals(self, arrays, driven, horizon=steps, budget=float(budget), refit=refit)
        return self

    def forecast(
        self, window: Any = None, steps: int | None = None, inputs: Any = None, *, level: float | None = None
    ) -> Forecast:
        """Roll out ``steps`` snapshots after a window, feeding back each prediction.

        ``forecast(steps)`` continues the training series; ``forecast(window, steps)`` continues any other.

        Parameters
        ----------
        window
            At least ``window_length_`` snapshots (time, features); the last ones are used. All types of :meth:`fit` are
            accepted. By default the end of the training series.
        steps
            Number of snapshots to forecast.
        inputs
            For a model fitted with inputs: rows of the window and of the horizon, ``len(window) + steps``, or at least
            the last ``window_length_ + steps`` of them. The snapshot at step i uses the input at step i. Without a
            window, and for a window of Snapshots with inputs, the ``steps`` rows of the horizon are enough.
        level
            Probability with which a band is meant to contain the truth, such as 0.9. By default bands of 0.9 if the
            model was calibrated (:meth:`calibrate`; a search calibrates), and no bands otherwise.

        Raises
        ------
        BadInputError
            If window, steps or inputs do not suit the model, there is no single series to continue, or a level is given
            for a model without calibration.
        """
        self._check_fitted()
        if steps is None and isinstance(window, int | np.integer):
            window, steps = None, int(window)
        if steps is None and isinstance(window, Real):
            raise BadInputError(f"steps is {window}, expected an integer >= 1")
        if steps is None:
            raise BadInputError("steps is missing; give how many snapshots to forecast: forecast(10)")
        if window is None:
            window, form, inputs = self.last_window_, self.form_, joined_inputs(self.last_inputs_, inputs, steps)
            if not len(window):
                raise BadInputError(
                    "there is no one series to continue: the model was fitted to several, or saved by an earlier "
                    "version; give the snapshots to start from: forecast(window, steps)"
                )
        else:
            opened = open_window(window, self.form_)
            window, form, inputs = opened.values, opened.form, joined_inputs(opened.inputs, inputs, steps)
        array = check_series(window, "window", features=self.n_features_)
        given = None if inputs is None else np.asarray(plain_inputs(inputs))[None]
        return replace(self.forecast_many(array[None], steps, given, level=level)[0], form=form)

    def predict_interval(
        self, steps: int, window: Any = None, inputs: Any = None, *, level: float = LEVEL
    ) -> tuple[Any, Any]:
        """Return the lower and the upper end of the bands of a forecast, in the form of the series.

        Parameters
        ----------
        steps, window, inputs, level
            As for :meth:`forecast`.

        Raises
        ------
        BadInputError
            As :meth:`forecast`; also if the model was not calibrated.
        ConvergenceError
            As :meth:`predict`.
        """
        return self._predicted(self.forecast(window, steps, inputs, level=level), steps).bands_as_given()

    def predict(self, steps: int, window: Any = None, inputs: Any = None) -> Any:
        """Return a forecast in the form of the series: array, DataFrame with its index continued, xarray or Snapshots.

        Parameters
        ----------
        steps, window, inputs
            As for :meth:`forecast`, which also returns the status.

        Raises
        ------
        BadInputError
            As :meth:`forecast`.
        ConvergenceError
            If, before the last step, the forecast diverges, leaves the range of the training data by ten widths of it,
            or stays at the bounds of a mean.
        """
        return self._predicted(self.forecast(window, steps, inputs), steps).as_given()

    def _predicted(self, forecast: Forecast, steps: int) -> Forecast:
        """Return a completed forecast; raise ConvergenceError for any other."""
        if forecast.status == "completed":
            return forecast
        if forecast.status == "diverged":
            what, kept = f"left all bounds after {forecast.finite_steps}", "the part before that"
        else:
            what = f"left {FAR}, after {forecast.inside_steps}"
            kept = "it all the same"
        raise ConvergenceError(f"the forecast {what} of {counted(steps, 'step')}; forecast() gives {kept}")

    def forecast_many(
        self, windows: Any, steps: int, inputs: Any = None, *, level: float | None = None
    ) -> tuple[Forecast, ...]:
        """Roll out after each of several windows.

        Parameters
        ----------
        windows
            (batch, time, features), with at least ``window_length_`` snapshots each.
        steps
            Number of snapshots to forecast.
        inputs
            (batch, time + steps, inputs); see :meth:`forecast`.
        level
            Level of the bands; see :meth:`forecast`.
        """
        self._check_fitted()
        problems = check_count("steps", steps)
        if level is not None:
            check_level(level)
            if self.residuals_ is None:
                problems.append("the model has no bands yet; calibrate it first: model.calibrate(series)")
        if problems:
            raise BadInputError(problems[0])
        batch = np.asarray(windows)
        if batch.ndim != 3 or not len(batch):
            raise BadInputError(f"windows has shape {batch.shape}, expected (batch, time, features)")
        arrays = [check_series(one, f"windows[{i}]", features=self.n_features_) for i, one in enumerate(batch)]
        if batch.shape[1] < self.window_length_:
            raise BadInputError(
                f"the window has {counted(batch.shape[1], 'snapshot')}, expected at least {self.window_length_}"
            )
        if inputs is not None and len(inputs) != len(batch):
            raise BadInputError(
                f"got {counted(len(batch), 'window')} and {counted(len(inputs), 'input')}; give one a window"
            )
        rows = self.window_length_ + steps
        driven = [
            check_window_inputs(None if inputs is None else inputs[i], rows, self.n_inputs_) for i in range(len(batch))
        ]
        cut = np.stack(arrays)[:, -self.window_length_ :]
        values, spread = self._rollout(np.ascontiguousarray(cut), int(steps), np.stack(driven))
        settled = [
            self._settle(values[i], None if spread is None else spread[i], int(steps), cut[i])
            for i in range(len(batch))
        ]
        if self.residuals_ is None:
            return tuple(settled)
        level = LEVEL if level is None else float(level)
        half = self.residuals_.half_width(int(steps), level)
        return tuple(_banded(one, half[: one.finite_steps], level) for one in settled)

    def score(self, series: Any, inputs: Any = None) -> float:
        """Return 1 - NRMSE of the one-step predictions of a series; 1 is perfect, 0 as good as the mean.

        NRMSE is the root of the mean over snapshots and features of ``((prediction - truth) / sigma)^2``, where sigma
        is the standard deviation of each feature in the training data.
        """
        array, inputs = self._read(series, inputs)
        predicted = self.one_step(array, inputs)
        truth = array[self.window_length_ :]
        return 1.0 - float(np.sqrt((((predicted - truth) / self.scale_) ** 2).mean()))

    def backtest(self, series: Any, horizon: int, every: int, inputs: Any = None) -> Backtest:
        """Forecast from a rolling origin and compare with the truth.

        Parameters
        ----------
        series
            Snapshots (time, features) on which the model was not fitted.
        horizon
            Steps of each forecast.
        every
            Snapshots between two origins; the first origin is the earliest possible.
        inputs
            Inputs (time, inputs) of the series.
        """
        array, inputs = self._read(series, inputs)
        problems = check_count("horizon", horizon) + check_count("every", every)
        if problems:
            raise BadInputError.all_of("backtest", problems)
        span = self.window_length_
        origins = np.arange(span - 1, len(array) - horizon, every)
        if not len(origins):
            raise BadInputError(
                f"series has {counted(len(array), 'snapshot')}; a window and a horizon need {span + horizon}"
            )
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

    def continue_from(self: Model, series: Any, inputs: Any = None) -> Model:
        """Store the end of another series for ``forecast(steps)`` to continue; the fit does not change.

        Parameters
        ----------
        series
            Any type of :meth:`fit`, with the columns of the training and at least ``window_length_`` snapshots.
        inputs
            Its inputs, for a model fitted with inputs.

        Returns
        -------
        The model.

        Raises
        ------
        BadInputError
            If the series or its inputs do not suit the model.

        Examples
        --------
        >>> import numpy as np
        >>> from tokendyn.forecast import TDDMD
        >>> wave = np.sin(0.3 * np.arange(80.0))
        >>> model = TDDMD(delays=4).fit(wave[:60]).continue_from(wave)
        >>> bool(abs(model.predict(1)[0, 0] - np.sin(0.3 * 80)) < 1e-8)
        True
        """
        self._check_fitted()
        opened = open_window(series, self.form_, "series")
        array = check_series(opened.values, "series", features=self.n_features_)
        if len(array) < self.window_length_:
            raise BadInputError(
                f"series has {counted(len(array), 'snapshot')}, expected at least {self.window_length_}, as the window "
                "of the model"
            )
        known = opened.inputs if inputs is None and self.n_inputs_ else plain_inputs(inputs)
        driven = check_window_inputs(known, len(array), self.n_inputs_)
        self.form_ = opened.form
        self._keep_end([array], [driven])
        return self

    def explain(self, series: Any = None, inputs: Any = None) -> Result:
        """Return an explanation of the model: see the class; by default along the end of the training series.

        Raises
        ------
        BadInputError
            If this kind of model has no explanation.
        """
        raise BadInputError(f"a {type(self).__name__} is not explained; TDDMD and TDTF are")

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the fitted model to a folder, ``model.json`` and ``model.safetensors``, completely or not at all."""
        self._check_fitted()
        store.save(self, path, overwrite=overwrite)

    @classmethod
    def load(cls: type[Model], path: str | Path) -> Model:
        """Read a model written by :meth:`save`; ``Forecaster.load`` reads any kind.

        Raises
        ------
        BadInputError
            If a file is missing, truncated, of a newer schema, inconsistent, or of another kind of model.
        """
        model = store.load(path)
        if not isinstance(model, cls):
            raise BadInputError(f"{path} holds a {type(model).__name__}, expected a {cls.__name__}")
        return model

    def _read(self, series: Any, inputs: Any) -> tuple[np.ndarray, Any]:
        """Return a series as a checked array, and its inputs: the given ones, or those read with it."""
        self._check_fitted()
        opened = open_window(series, self.form_, "series")
        given = opened.inputs if inputs is None and self.n_inputs_ else plain_inputs(inputs)
        return check_series(opened.values, "series", features=self.n_features_), given

    def _note_data(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], dt: float, window: int) -> None:
        """Set the attributes of the training data that all models have."""
        stacked = np.concatenate(series)
        self.n_features_, self.n_inputs_ = stacked.shape[1], inputs[0].shape[1]
        self.window_length_, self.dt_ = window, float(dt)
        self.low_, self.high_, self.scale_ = stacked.min(axis=0), stacked.max(axis=0), deviations(stacked)

    def _keep_end(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> None:
        """Store the end of the only series, which :meth:`forecast` continues by default."""
        rows = self.window_length_ if len(series) == 1 else 0
        self.last_window_ = series[-1][len(series[-1]) - rows :].copy()
        self.last_inputs_ = inputs[-1][len(inputs[-1]) - rows :].copy()

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether the model was fitted or loaded."""
        return hasattr(self, "window_length_")

    def _check_fitted(self) -> None:
        """Raise NotFittedError before fit."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"this {type(self).__name__} is not fitted; call fit(series) first")

    def _settle(self, values: np.ndarray, spread: np.ndarray | None, steps: int, window: np.ndarray) -> Forecast:
        """Return the forecast after a window, cut at the step where it diverges."""
        # A constant column keeps its value: rounding is not a divergence.
        values[:, self.low_ == self.high_] = self.low_[self.low_ == self.high_]
        finite, inside = self._steps_within(values, DIVERGENCE), self._steps_within(values)
        status: Status = "diverged" if finite < steps else "left range" if inside < steps else "completed"
        spread = None if spread is None else spread[:finite]
        return Forecast(values[:finite], status, finite, self.dt_, spread, inside_steps=inside)

    def _steps_within(self, values: Float[np.ndarray, "steps features"], ranges: float = RANGES) -> int:
        """Return the steps before a feature leaves its training range by a multiple of its width, or is not finite."""
        reach = ranges * (self.high_ - self.low_)
        with np.errstate(invalid="ignore"):
            inside = ((values >= self.low_ - reach) & (values <= self.high_ + reach)).all(axis=1)
        return len(values) if inside.all() else int(inside.argmin())

    def _parameter_record(self) -> dict[str, Any]:
        """Return the parameters as JSON values, to rebuild the model."""
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params(deep=False).items()
        }

    @abstractmethod
    def _parameter_problems(self) -> list[str]:
        """Return the faults of the parameters."""

    @abstractmethod
    def _window_length(self) -> int:
        """Return the number of snapshots in a window, from the parameters alone."""

    @abstractmethod
    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Learn from checked series; each has inputs of its length, without columns if there are none."""

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
        """Return the closed loop and its spread (None if there is none); diverged values may be infinite or NaN.

        ``inputs`` has ``window_length_ + steps`` rows; row ``window_length_ + i`` belongs to step i.
        """

    @abstractmethod
    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the state for ``_restore`` beyond the parameters and base attributes: values for JSON, arrays."""

    @abstractmethod
    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Set the fitted attributes from the result of ``_state``; raise KeyError or ValueError if it does not fit."""


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
    """Restore the states of :func:`pack_members` in models of the same parameters; ValueError if they do not fit."""
    for number, (model, record) in enumerate(zip(members, records, strict=True)):
        for name in _SHARED:
            setattr(model, name, getattr(whole, name))
        model.window_length_ = model._window_length()
        model.fit_seconds_ = whole.fit_seconds_ / len(members)
        prefix = f"{number}_"
        own = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
        model._restore(record, own)


def _banded(forecast: Forecast, half: np.ndarray, level: float) -> Forecast:
    """Return a forecast with its bands."""
    return replace(forecast, lower=forecast.values - half, upper=forecast.values + half, level=level)


def _silent(share: float, line: str) -> None:
    """Ignore progress."""
