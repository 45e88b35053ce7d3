"""TD-TF: one query, one head, one layer of units over delays; a nonlinear generalisation of TD-DMD."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.cell import Cell, Units, tokens_of
from tokendyn.forecast.checks import check_count, check_number, check_series, check_window_inputs
from tokendyn.forecast.embedding import window_length
from tokendyn.forecast.network import ACTIVATIONS, ARRAYS, Network
from tokendyn.forecast.orbit_reading import OrbitReading
from tokendyn.forecast.smoothing import RATIO, smoothed
from tokendyn.forecast.tddmd import rank_problems
from tokendyn.forecast.training import Normalised, Record, Settings, normalise, train
from tokendyn.late import function_at
from tokendyn.words import counted

_searched = function_at("tokendyn.forecast.tdtf_search:searched")
_read_orbit = function_at("tokendyn.forecast.interpretation:read_orbit")

#: Default delays if any other setting is given.
_DELAYS = 5
#: Weight of the model against the data in the first round of smoothing; it grows to RATIO halfway, as models sharpen.
_SOFT = 4.0
#: Rounds of smoothing end at this share of the budget; the rest is for the last fit.
_ROUNDS_SHARE = 2 / 3


class TDTF(Forecaster):
    """Time-delayed transformer: ``x_{k+1} = x_k + L(h_k) + W_2 act(W_1 c(h_k) + b_1)``.

    ``c = sum_j alpha_j V_j t_j`` and ``alpha = softmax_j((W_q t_k + b_q) . (W_k t_j + p_j))`` over the tokens
    ``t_j = (x_{k-js}, u_{k-js}, u_{k-js+1})``: a single query, that of the newest snapshot, so that the cost of a step
    is proportional to the delays. L is TD-DMD. Our own design after the abstract of arXiv 2602.08478;
    :class:`PaperTDTF` has its literal form.

    Without settings, ``TDTF()`` searches its own (:mod:`tokendyn.forecast.tdtf_search`): windows and fixed units by
    least squares, then training from the best of them, kept only if forecasts of the held-out part improve. With any
    setting of the model it is fitted as follows.

    The output layer is solved by least squares inside, and Levenberg-Marquardt moves the inner weights (variable
    projection). The last part of each series is held out; closed loops over it choose the iteration, and whether to
    keep the nonlinear part: a linear system gets TD-DMD.

    Parameters
    ----------
    delays, stride
        Number of snapshots in a window, and the steps between them. None: five, or the result of a search.
    common_scale
        Divide all features by one scale, the root mean square of their standard deviations, instead of each by its own:
        errors are then weighted by energy, as is right for POD coefficients, where weak ones follow strong ones.
    units
        Number of nonlinear units; 0 for TD-DMD alone.
    rank
        Length of the context c. None: at most 16 principal directions of the windows, all in one scale. A count, or a
        share of the energy of the windows: this number of directions, whitened. Without units it is the rank of TD-DMD.
    attention
        Whether alpha is learned, with more than one delay; else it is uniform, and V_j keeps its initial value.
    keys
        Length of query and keys.
    activation
        "sin", "tanh" or "identity".
    linear
        Whether the model includes L.
    every
        Learn from every k-th window of a series: overlapping windows hold nearly the same information, and training
        time is proportional to their number. The linear model, validation and smoothing use all windows.
    noise
        Standard deviation of the noise added to the windows in training, relative to that of the data, with unchanged
        targets: 1e-6 to 1e-5 for clean data, up to 1e-2 for stability.
    ridge
        Weight of the penalty on the output layer.
    unit_scale
        Standard deviation of the initial weights W_1. None: 1/2 on whitened windows and for tanh, else 1.
    iterations
        Number of steps of Levenberg-Marquardt.
    finish, finish_steps
        Number of final steps of Levenberg-Marquardt on closed loops, kept if the validation error falls, and the length
        of these loops: None for two windows; a hundred steps and more teach slow and nearly neutral motion.
    gate
        Keep TD-DMD unless the nonlinear part lowers the validation error by two per cent, and also without a held-out
        part.
    smoothing
        Rounds that alternate a fit and a smoothing of the training series by the model; for noisy data. 10 to 30.
    history
        For noisy data: a forecast starts from this number of snapshots, smoothed by the model as in :meth:`smooth`,
        instead of from the last window as measured. The window of :meth:`forecast` and :meth:`backtest` then has this
        length; :meth:`one_step` uses the snapshots as measured. 0 for none.
    validation_fraction, validation_horizon
        Share of each series held out at its end (0 for none), and the steps of a closed loop over it; None for two
        thirds of that part, at most 600.
    horizon, longest
        For the search of ``TDTF()``: steps of a forecast, and the longest window in snapshots; None for any.
    budget
        Processor seconds after which training stops with its best state; ``training_["status"]`` is then "budget". For
        the search of ``TDTF()`` the budget of the whole search, by default 3, without compilation.
    checkpoint
        File for the state of every fifth iteration, from which an interrupted fit continues.
    random_state
        Seed of the initial weights and of the noise.

    Attributes
    ----------
    cell_
        The fitted recursion in normalised units.
    units_
        Centre and scale of features and inputs.
    parameters_
        Number of trained parameters.
    delays_, stride_
        The window that was fitted.
    chosen_
        Settings chosen by the search of ``TDTF()``; empty if settings were given.
    training_
        ``status``, ``iterations``, ``chosen``, ``linear_error``, ``error``, ``history``: see
        :class:`tokendyn.forecast.training.Record`. After a search ``lost``, the lost share of the horizon on the
        held-out part, and ``tried``, the number of candidates.

    Examples
    --------
    >>> from tokendyn.data.systems import lorenz63
    >>> from tokendyn.forecast import TDTF
    >>> series = lorenz63(800, seed=0)
    >>> model = TDTF(delays=3, units=5, iterations=3, random_state=0).fit(series.values, dt=series.dt)
    >>> forecast = model.forecast(series.values, steps=5)
    >>> forecast.status, forecast.values.shape
    ('completed', (5, 3))
    """

    _most_refits = 3

    def __init__(
        self,
        *,
        delays: int | None = None,
        stride: int = 1,
        common_scale: bool = False,
        units: int = 100,
        rank: int | float | None = None,
        attention: bool = True,
        keys: int = 4,
        activation: str = "sin",
        linear: bool = True,
        every: int = 1,
        noise: float = 1e-5,
        ridge: float = 1e-12,
        unit_scale: float | None = None,
        iterations: int = 50,
        finish: int = 0,
        finish_steps: int | None = None,
        gate: bool = True,
        smoothing: int = 0,
        history: int = 0,
        validation_fraction: float = 0.1,
        validation_horizon: int | None = None,
        horizon: int | None = None,
        longest: int | None = None,
        budget: float | None = None,
        checkpoint: str | None = None,
        random_state: int = 0,
    ) -> None:
        self.delays = delays
        self.stride = stride
        self.common_scale = common_scale
        self.units = units
        self.rank = rank
        self.attention = attention
        self.keys = keys
        self.activation = activation
        self.linear = linear
        self.every = every
        self.noise = noise
        self.ridge = ridge
        self.unit_scale = unit_scale
        self.iterations = iterations
        self.finish = finish
        self.finish_steps = finish_steps
        self.gate = gate
        self.smoothing = smoothing
        self.history = history
        self.validation_fraction = validation_fraction
        self.validation_horizon = validation_horizon
        self.horizon = horizon
        self.longest = longest
        self.budget = budget
        self.checkpoint = checkpoint
        self.random_state = random_state

    @property
    def parameters_(self) -> int:
        """Return the number of trained parameters."""
        return self.cell_.parameters

    @property
    def family(self) -> str:
        """The fitted model: TD-TF, TD-TF with uniform attention, or TD-DMD if the nonlinear part was not kept."""
        if not hasattr(self, "cell_"):
            return "TD-TF"
        if not self.cell_.readout.size:
            return "TD-DMD"
        return "TD-TF" if self.cell_.network.attends else "TD-TF with uniform attention"

    def _searches(self) -> bool:
        """Return whether no setting of the model is given, so that all are searched."""
        names = self.get_params(deep=False)
        given = {name for name in names if name not in _FREE and names[name] != _default(name)}
        return not given

    def tokens(self, series: np.ndarray, inputs: np.ndarray) -> Float[np.ndarray, "samples delays width"]:
        """Return the normalised tokens of every window of a series that has a next snapshot."""
        z, w = self.units_.snapshots(series), self.units_.inputs(inputs)
        return tokens_of(z, w, self.delays_, self.stride_)

    def smooth(
        self, series: Any, inputs: Any = None, *, ratio: float = RATIO, rounds: int = 10
    ) -> Float[np.ndarray, "time features"]:
        """Return a noisy series moved onto the dynamics of the fitted model.

        Minimises ``sum_k |z_k - y_k|^2 + ratio sum_k |z_{k+1} - f(window of z at k)|^2`` in standard deviations of the
        training data; see :mod:`tokendyn.forecast.smoothing`.

        Parameters
        ----------
        series
            Snapshots (time, features), more than a window of delays.
        inputs
            Their inputs (time, inputs), for a model fitted with inputs.
        ratio
            Weight of the model against the data: variance of the noise over that of the model's step.
        rounds
            Largest number of steps of Gauss-Newton.
        """
        self._check_fitted()
        array = check_series(series, "series", features=self.n_features_)
        problems = check_count("rounds", rounds) + check_number("ratio", ratio)
        span = window_length(self.delays_, self.stride_)
        if len(array) <= span:
            problems.append(f"series has {counted(len(array), 'snapshot')}, expected more than {span}")
        if problems:
            raise BadInputError.all_of("smooth", problems)
        driven = check_window_inputs(inputs, len(array), self.n_inputs_)
        z, w = self.units_.snapshots(array), self.units_.inputs(driven)
        (found,) = smoothed(self.cell_, [z], [w], guess=[z], ratio=ratio, rounds=rounds)
        return self.units_.restore(found)

    def explain(self, series: Any = None, inputs: Any = None) -> OrbitReading:
        """Return attention, local operators and nonlinear shares along a series: :func:`tokendyn.forecast.read_orbit`.

        By default at the end of the training series.
        """
        self._check_fitted()
        if series is not None:
            array, inputs = self._read(series, inputs)
            return self._reading(array, inputs)
        if not len(self.last_window_):
            raise BadInputError("there is no one series to explain; give it: explain(series)")
        # A window is read only if a next snapshot follows; its values do not matter.
        array = np.concatenate([self.last_window_, self.last_window_[-1:]])
        driven = np.concatenate([self.last_inputs_, self.last_inputs_[-1:]]) if self.n_inputs_ else None
        return self._reading(array, driven)

    def _reading(self, series: Any, inputs: Any) -> OrbitReading:
        """Return the reading of the model at every window of a series, by :func:`tokendyn.forecast.read_orbit`."""
        reading: OrbitReading = _read_orbit(self, series, inputs)
        return reading

    def _parameter_problems(self) -> list[str]:
        """Return the faults of the parameters."""
        problems = check_count("stride", self.stride)
        for name in ("delays", "horizon", "longest"):
            if getattr(self, name) is not None:
                problems += check_count(name, getattr(self, name))
        problems += check_count("units", self.units, 0) + check_count("keys", self.keys)
        problems += check_count("iterations", self.iterations, 0) + check_count("finish", self.finish, 0)
        problems += check_count("smoothing", self.smoothing, 0) + check_count("every", self.every)
        problems += check_count("history", self.history, 0)
        problems += check_count("random_state", self.random_state, 0) + rank_problems(self.rank)
        for name in ("noise", "ridge", "validation_fraction"):
            problems += check_number(name, getattr(self, name))
        if self.unit_scale is not None:
            problems += check_number("unit_scale", self.unit_scale)
        if not problems and self.validation_fraction > 0.5:
            problems.append(f"validation_fraction is {self.validation_fraction}, expected at most 0.5")
        if self.activation not in ACTIVATIONS:
            problems.append(f"activation is {self.activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        if self.validation_horizon is not None:
            problems += check_count("validation_horizon", self.validation_horizon)
        if self.finish_steps is not None:
            problems += check_count("finish_steps", self.finish_steps)
        if self.budget is not None:
            problems += check_number("budget", self.budget)
        return problems

    def _window_length(self) -> int:
        """Return ``(delays - 1) stride + 1``, or the history if that is longer; 1 before a search."""
        if self._searches():
            return 1
        return max(window_length(self._delays(), self.stride), self.history)

    def _delays(self) -> int:
        return _DELAYS if self.delays is None else self.delays

    def settings(self) -> Settings:
        """Return the settings of the training."""
        names = Settings.__dataclass_fields__.keys() - {"delays", "keys", "seed"}
        delays = self._delays()
        # One delay has nothing to attend to.
        keys = self.keys if self.attention and delays > 1 else 0
        values = {name: getattr(self, name) for name in names}
        return Settings(**values, delays=delays, keys=keys, seed=self.random_state)

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Train, and with ``smoothing`` rounds train again on the series smoothed by the model."""
        if self._searches():
            self._search(series, inputs, progress)
            return
        settings = self.settings()
        self.delays_, self.stride_ = settings.delays, settings.stride
        self.chosen_: dict[str, Any] = {}
        data = normalise(series, inputs, settings)
        self.units_ = data.units
        checkpoint = None if self.checkpoint is None else Path(self.checkpoint)
        if not self.smoothing:
            self.cell_, record = train(data, settings, progress=progress, checkpoint=checkpoint)
        else:
            self.cell_, record = self._fit_smoothed(data, settings, progress)
        self.training_ = asdict(record)

    def _search(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Search the settings, and adopt the resulting model."""
        choice = _searched(
            series, inputs, self.dt_, horizon=self.horizon, budget=self.budget,
            longest=self.longest, seed=self.random_state, progress=progress,
        )  # fmt: skip
        for name in ("units_", "cell_", "delays_", "stride_", "window_length_"):
            setattr(self, name, getattr(choice.model, name))
        self.chosen_ = choice.settings
        self.training_ = choice.model.training_ | {"lost": choice.lost, "tried": choice.tried}
        self._keep_end(list(series), list(inputs))
        progress(1.0, self.family)

    def with_output_of(self, series: list[np.ndarray], inputs: list[np.ndarray]) -> "TDTF":
        """Return a model with these inner weights whose output layer is solved for other series of the same kind."""
        model = TDTF(**self.get_params(deep=False)).set_params(iterations=0, gate=False, validation_fraction=0.0)
        settings = model.settings()
        for name in ("n_features_", "n_inputs_", "dt_", "low_", "high_", "scale_", "window_length_", "form_"):
            setattr(model, name, getattr(self, name))
        data = replace(normalise(series, inputs, settings), units=self.units_)
        data.series[:] = [self.units_.snapshots(one) for one in series]
        data.inputs[:] = [self.units_.inputs(one) for one in inputs]
        model.units_, model.chosen_ = self.units_, self.chosen_
        model.delays_, model.stride_, model.training_ = self.delays_, self.stride_, self.training_
        model.cell_, _ = train(data, settings, progress=lambda *_: None, start=self.cell_.network)
        return model

    def _fit_smoothed(self, data: Normalised, settings: Settings, progress: Progress) -> tuple[Cell, Record]:
        """Alternate a fit and a smoothing; the rounds before the last are short."""
        rounds, began = self.smoothing, time.process_time()
        short = replace(settings, iterations=min(settings.iterations, 4), gate=False)

        def bounded(what: Settings) -> Settings:
            left = None if self.budget is None else max(self.budget - (time.process_time() - began), 0.0)
            return replace(what, budget=left)

        def reported(done: int) -> Progress:
            return lambda share, line: progress((done + share) / (rounds + 1), f"round {done}: {line}")

        smooth, network = data, None
        for done in range(rounds):
            if self.budget is not None and time.process_time() - began > _ROUNDS_SHARE * self.budget:
                break
            cell, _ = train(smooth, bounded(short), progress=reported(done), start=network)
            network = cell.network if len(cell.network.bias) else None
            ratio = _SOFT * (RATIO / _SOFT) ** min(2 * done / max(rounds - 1, 1), 1.0)
            series = smoothed(cell, data.series, data.inputs, guess=smooth.series, ratio=ratio)
            smooth = replace(smooth, series=series)
        return train(smooth, bounded(settings), progress=reported(rounds), start=network)

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Predict each snapshot from the true ones before it."""
        first = self.window_length_ - window_length(self.delays_, self.stride_)
        return self.units_.restore(self.cell_.step(self.tokens(series[first:], inputs[first:])))

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        """Roll out each window by the compiled loop, smoothed before if there is a history."""
        z, w = self.units_.snapshots(windows), self.units_.inputs(inputs)
        # A history no longer than the window has no step to compare a model with.
        if self.history > window_length(self.delays_, self.stride_):
            known = list(w[:, : z.shape[1]])
            z = np.stack(smoothed(self.cell_, list(z), known, guess=list(z), ratio=RATIO, rounds=10))
        span = window_length(self.delays_, self.stride_)
        z, w = z[:, -span:], w[:, self.window_length_ - span :]
        values = np.empty((len(windows), steps, self.n_features_))
        empty = np.zeros((steps, self.delays_, 0))
        for i, window in enumerate(z):
            drive = empty
            if self.n_inputs_:
                padded = np.zeros((len(w[i]), self.n_features_))
                drive = tokens_of(padded, w[i], self.delays_, self.stride_)[:, :, self.n_features_ :]
            values[i] = self.cell_.roll(window, steps, drive)
        return self.units_.restore(values), None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the cell, the units and the record of the training."""
        tensors = {f"network_{name}": getattr(self.cell_.network, name) for name in ARRAYS}
        tensors |= {name: getattr(self.cell_, name) for name in ("linear", "offset", "readout")}
        record = {
            "training": self.training_, "stride": self.stride_, "activation": self.cell_.network.activation,
            "chosen": self.chosen_,
        }  # fmt: skip
        return record, tensors | {"centre": self.units_.centre, "width": self.units_.scale}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Set the cell and the units; ValueError where shapes do not fit."""
        features, width = self.n_features_, self.n_features_ + 2 * self.n_inputs_
        arrays: dict[str, Any] = {name: tensors[f"network_{name}"] for name in ARRAYS}
        # Models saved by an earlier version have all of these.
        network = Network(**arrays, activation=record.get("activation", self.activation))
        self.delays_, self.stride_ = len(network.values), record.get("stride", self.stride)
        self.chosen_ = record.get("chosen", {})
        rank, units, keys = network.values.shape[1], len(network.bias), len(network.query_bias)
        expected = {
            "network_query": (keys, width),
            "network_key": (keys, width),
            "network_position": (self.delays_, keys),
            "network_values": (self.delays_, rank, width),
            "network_weights": (units, rank),
            "linear": (self.delays_, features, width),
            "offset": (features,),
            "readout": (features, units),
            "centre": (features + self.n_inputs_,),
            "width": (features + self.n_inputs_,),
        }
        wrong = [name for name, shape in expected.items() if tensors[name].shape != shape]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} have the wrong shape")
        self.units_ = Units(tensors["centre"], tensors["width"], features)
        self.cell_ = Cell(self.stride_, tensors["linear"], tensors["offset"], network, tensors["readout"])
        self.training_ = record["training"]


#: Parameters that do not define the model: with only these it is searched.
_FREE = ("random_state", "budget", "horizon", "longest", "checkpoint")


def _default(name: str) -> Any:
    """Return the default of a parameter."""
    return signature(TDTF.__init__).parameters[name].default
