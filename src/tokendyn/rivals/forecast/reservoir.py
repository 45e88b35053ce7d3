"""Echo state network by reservoirpy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.embedding import delay_windows
from tokendyn.optional import library
from tokendyn.rivals.forecast.common import parameter_problems, set_normalisation

#: Numbers in the states that are held at once when many windows are warmed up.
_HELD = 2_000_000


class ESN(Forecaster):
    """Leaky echo state network (Jaeger 2001; closed loop as in Pathak et al. 2018), built and trained by reservoirpy.

    ``r <- (1 - a) r + a tanh(W r + W_in (x, u) + b)``, ``x_{k+1} = W_out (1, r or r with every second unit squared)``.
    reservoirpy draws W and W_in, runs the reservoir over the training series and solves for W_out by ridge
    regression; closed loops run on its matrices in NumPy, many windows at once, since its own take about 0.1 ms a
    step and window. Before a forecast the reservoir runs over the window from rest.

    Parameters
    ----------
    units, spectral_radius, leak, input_scaling, bias
        Size, largest absolute eigenvalue of W, a, scale of W_in and of the input's bias.
    ridge
        Of the read-out, on normalised data.
    noise
        Standard deviation of noise on the inputs in training, in those of the data; makes closed loops stable.
    squares
        Give every second unit squared to the read-out.
    warmup
        Snapshots of a window.
    random_state
        Seed.
    """

    def __init__(
        self,
        units: int = 300,
        spectral_radius: float = 0.9,
        leak: float = 1.0,
        input_scaling: float = 0.5,
        bias: float = 0.5,
        ridge: float = 1e-6,
        noise: float = 0.0,
        squares: bool = False,
        warmup: int = 100,
        random_state: int = 0,
    ):
        self.units = units
        self.spectral_radius = spectral_radius
        self.leak = leak
        self.input_scaling = input_scaling
        self.bias = bias
        self.ridge = ridge
        self.noise = noise
        self.squares = squares
        self.warmup = warmup
        self.random_state = random_state

    def _parameter_problems(self) -> list[str]:
        numbers = ("spectral_radius", "input_scaling", "ridge", "noise", "bias")
        problems = parameter_problems(self, ("units", "warmup"), numbers)
        if not 0 < self.leak <= 1:
            problems.append(f"leak is {self.leak!r}, expected above 0 and at most 1")
        return problems

    def _window_length(self) -> int:
        return self.warmup

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        nodes = library("reservoirpy.nodes")
        rng = np.random.default_rng(self.random_state)
        set_normalisation(self, series, inputs)
        reservoir = nodes.Reservoir(
            units=self.units,
            lr=self.leak,
            sr=self.spectral_radius,
            input_scaling=self.input_scaling,
            bias=self.bias * rng.uniform(-1, 1, self.units),
            seed=self.random_state,
        )
        states, targets = [], []
        for snapshots, driving in zip(series, inputs, strict=True):
            drive = self._drive(snapshots[:-1], driving[1:])
            drive[:, : self.n_features_] += self.noise * rng.normal(size=(len(drive), self.n_features_))
            # Each series starts from rest, and the states that still remember the start are left out.
            reservoir.reset() if reservoir.initialized else None
            washout = min(self.warmup, len(drive) // 2)
            states.append(self._linear_and_squares(reservoir.run(drive)[washout:]))
            targets.append(((snapshots[1:] - self.mean_) / self.scale_)[washout:])
        readout = nodes.Ridge(ridge=self.ridge).fit(np.concatenate(states), np.concatenate(targets))
        self.recurrent_ = np.asarray(reservoir.W.todense(), np.float64)
        self.entry_ = np.asarray(reservoir.Win.todense(), np.float64)
        self.offset_ = np.asarray(reservoir.bias, np.float64).ravel()
        # reservoirpy keeps W_out as (units, features).
        self.readout_ = np.concatenate([np.reshape(readout.bias, (1, -1)), np.asarray(readout.Wout, np.float64)])

    def _drive(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return normalised snapshots with the inputs of the next ones."""
        parts = [(series - self.mean_) / self.scale_, (inputs - self.input_mean_) / self.input_scale_]
        return np.concatenate(parts, axis=-1)

    def _linear_and_squares(self, states: np.ndarray) -> np.ndarray:
        """Return the features of the read-out."""
        if not self.squares:
            return states
        features = states.copy()
        features[..., ::2] **= 2
        return features

    def _step(self, states: np.ndarray, drive: np.ndarray) -> np.ndarray:
        response = np.tanh(states @ self.recurrent_.T + drive @ self.entry_.T + self.offset_)
        return (1 - self.leak) * states + self.leak * response

    def _predict(self, states: np.ndarray) -> np.ndarray:
        return (self.readout_[0] + self._linear_and_squares(states) @ self.readout_[1:]) * self.scale_ + self.mean_

    def _warm(self, windows: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the states after windows; row i of the inputs belongs to the snapshot after row i."""
        states = np.zeros((len(windows), self.units))
        drives = self._drive(windows, inputs)
        for step in range(self.warmup):
            states = self._step(states, drives[:, step])
        return states

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        windows = delay_windows(series[:-1], self.warmup, 1)
        driving = delay_windows(inputs[1:], self.warmup, 1) if self.n_inputs_ else np.empty((*windows.shape[:2], 0))
        most = max(_HELD // (self.units + self.warmup * self.n_features_), 1)
        cuts = [slice(first, first + most) for first in range(0, len(windows), most)]
        parts = [self._predict(self._warm(windows[cut], driving[cut])) for cut in cuts]
        return np.concatenate(parts)

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        values = np.empty((len(windows), steps, self.n_features_))
        states = self._warm(windows, inputs[:, 1 : self.warmup + 1])
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps):
                values[:, step] = self._predict(states)
                if step < steps - 1:
                    states = self._step(states, self._drive(values[:, step], inputs[:, self.warmup + step + 1]))
        return values, None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {name: getattr(self, f"{name}_") for name in _TENSORS}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        for name in _TENSORS:
            setattr(self, f"{name}_", tensors[name])
        if self.recurrent_.shape != (self.units, self.units) or len(self.readout_) != self.units + 1:
            raise ValueError(f"the reservoir has shape {self.recurrent_.shape}")


_TENSORS = ("mean", "input_mean", "input_scale", "recurrent", "entry", "offset", "readout")
