"""Polynomials: next-generation reservoir computing (NVAR), and sparse identification by PySINDy."""

import warnings
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.embedding import delay_windows, window_length
from tokendyn.optional import library
from tokendyn.rivals.forecast.common import parameter_problems, set_normalisation

#: Most monomials of one model.
MOST_TERMS = 20_000
#: Operations a second that a budget assumes: fewer than one core does, so that the estimate is on the safe side.
_SPEED = 5e9


class NVAR(Forecaster):
    """Nonlinear vector autoregression: ``x_{k+1} = x_k + W p(h_k)``, p all monomials of the window up to an order.

    Source: Gauthier, Bollt, Griffith, Barbosa, Nature Communications 12 (2021), equations 4 to 8, with every
    order from 0. Snapshots are normalised; W by ridge regression.

    Parameters
    ----------
    delays, stride
        Snapshots of a window and the steps between them.
    order
        Highest order of the monomials.
    ridge
        Of the regression, relative to the number of samples.
    noise
        Standard deviation of noise on the windows in training, in those of the data.
    budget
        Seconds: a model with more monomials than one core can fit in them is refused.
    random_state
        Seed of the noise.
    """

    def __init__(
        self,
        delays: int = 2,
        stride: int = 1,
        order: int = 2,
        ridge: float = 1e-8,
        noise: float = 0.0,
        budget: float | None = None,
        random_state: int = 0,
    ):
        self.delays = delays
        self.stride = stride
        self.order = order
        self.ridge = ridge
        self.noise = noise
        self.budget = budget
        self.random_state = random_state

    def _parameter_problems(self) -> list[str]:
        return parameter_problems(self, ("delays", "stride", "order"), ("ridge", "noise"))

    def _window_length(self) -> int:
        return window_length(self.delays, self.stride)

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        set_normalisation(self, series, inputs)
        self.powers_ = monomials(self.delays * self.n_features_ + self.n_inputs_, self.order)
        rng, span = np.random.default_rng(self.random_state), self.window_length_
        size = len(self.powers_)
        seconds = (2 * sum(map(len, series)) * size**2 + size**3) / _SPEED
        if self.budget is not None and seconds > self.budget:
            raise BadInputError(
                f"{size} terms take about {seconds:.3g} s, the budget is {self.budget:.3g} s; lower order"
            )
        gram, cross = np.zeros((size, size)), np.zeros((size, self.n_features_))
        count = 0
        # Normal equations are summed series by series: all features at once would not fit into memory.
        for snapshots, driving in zip(series, inputs, strict=True):
            if len(snapshots) <= span:
                continue
            windows = self._windows(snapshots[:-1])
            noisy = windows + self.noise * rng.normal(size=windows.shape)
            features = self._features(noisy, driving[span:])
            steps = ((snapshots[span:] - self.mean_) / self.scale_) - noisy[:, -1]
            gram += features.T @ features
            cross += features.T @ steps
            count += len(steps)
        try:
            self.weights_ = np.linalg.solve(gram + self.ridge * count * np.eye(size), cross)
        except np.linalg.LinAlgError:
            self.weights_ = np.linalg.lstsq(gram, cross, rcond=None)[0]

    def _windows(self, series: np.ndarray) -> np.ndarray:
        return delay_windows((series - self.mean_) / self.scale_, self.delays, self.stride)

    def _features(self, windows: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the monomials of normalised windows and of the inputs of the next snapshots."""
        driving = (inputs - self.input_mean_) / self.input_scale_
        return evaluate(np.concatenate([windows.reshape(len(windows), -1), driving], axis=1), self.powers_)

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        windows = self._windows(series[:-1])
        steps = self._features(windows, inputs[self.window_length_ :]) @ self.weights_
        return series[self.window_length_ - 1 : -1] + steps * self.scale_

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        span = self.window_length_
        orbit = np.full((len(windows), span + steps, self.n_features_), np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            orbit[:, :span] = (windows - self.mean_) / self.scale_
            for step in range(steps):
                window = orbit[:, step : step + span : self.stride]
                features = self._features(window, inputs[:, span + step])
                orbit[:, span + step] = window[:, -1] + features @ self.weights_
            return orbit[:, span:] * self.scale_ + self.mean_, None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {name: getattr(self, f"{name}_") for name in _NVAR}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        for name in _NVAR:
            setattr(self, f"{name}_", tensors[name])
        columns = self.delays * self.n_features_ + self.n_inputs_
        if self.powers_.shape[1] != self.order or self.weights_.shape != (len(self.powers_), self.n_features_):
            raise ValueError(f"weights have shape {self.weights_.shape}")
        if self.powers_.max(initial=0) > columns or self.powers_.min(initial=0) < 0:
            raise ValueError("a monomial names a column that does not exist")


_NVAR = ("mean", "input_mean", "input_scale", "powers", "weights")


class PySINDy(Forecaster):
    """Sparse identification of ``x' = Theta(x, u) Xi`` by PySINDy (Brunton, Proctor, Kutz 2016).

    The forecast is by Runge-Kutta steps. It has no delays, so the columns must be the whole state. Snapshots are not
    normalised, so that equations stay sparse.

    Parameters
    ----------
    degree
        Of the polynomial library.
    threshold, alpha
        Of the sequentially thresholded least squares.
    smooth
        Differentiate by PySINDy's smoothed finite differences, for noisy data.
    substeps
        Runge-Kutta steps between two snapshots.
    """

    def __init__(
        self, degree: int = 2, threshold: float = 0.05, alpha: float = 1e-6, smooth: bool = False, substeps: int = 4
    ):
        self.degree = degree
        self.threshold = threshold
        self.alpha = alpha
        self.smooth = smooth
        self.substeps = substeps

    def _parameter_problems(self) -> list[str]:
        return parameter_problems(self, ("degree", "substeps"), ("threshold", "alpha"))

    def _window_length(self) -> int:
        return 1

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        sindy = library("pysindy")
        self.powers_ = monomials(self.n_features_ + self.n_inputs_, self.degree)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rule = sindy.SmoothedFiniteDifference() if self.smooth else sindy.FiniteDifference(order=4)
            # The library is ours, term by term, so that the forecast evaluates what was fitted.
            columns = [np.concatenate(pair, axis=1) for pair in zip(series, inputs, strict=True)]
            terms = np.concatenate([evaluate(values, self.powers_) for values in columns])
            slopes = np.concatenate([np.asarray(rule(part, self.dt_ * np.arange(len(part)))) for part in series])
            try:
                solver = sindy.STLSQ(threshold=self.threshold, alpha=self.alpha).fit(terms, slopes)
            except (ValueError, np.linalg.LinAlgError) as error:
                raise TokendynError(f"PySINDy could not fit ({error}); lower threshold or degree") from None
        self.coefficients_ = np.asarray(solver.coef_, np.float64).reshape(self.n_features_, -1)

    def _slope(self, states: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return evaluate(np.concatenate([states, inputs], axis=1), self.powers_) @ self.coefficients_.T

    def _advance(self, states: np.ndarray, now: np.ndarray, then: np.ndarray) -> np.ndarray:
        """Take one time step; inputs change along a straight line."""
        h = self.dt_ / self.substeps
        for n in range(self.substeps):
            a, b, c = (now + (then - now) * (n + part) / self.substeps for part in (0.0, 0.5, 1.0))
            k1 = self._slope(states, a)
            k2 = self._slope(states + h / 2 * k1, b)
            k3 = self._slope(states + h / 2 * k2, b)
            states = states + h / 6 * (k1 + 2 * k2 + 2 * k3 + self._slope(states + h * k3, c))
        return states

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return self._advance(series[:-1], inputs[:-1], inputs[1:])

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        values, state = np.empty((len(windows), steps, self.n_features_)), windows[:, -1]
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps):
                state = self._advance(state, inputs[:, step], inputs[:, step + 1])
                values[:, step] = state
        return values, None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"coefficients": self.coefficients_, "powers": self.powers_}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        self.coefficients_, self.powers_ = tensors["coefficients"], tensors["powers"]
        if self.coefficients_.shape != (self.n_features_, len(self.powers_)):
            raise ValueError(f"coefficients have shape {self.coefficients_.shape}")
        if self.powers_.max(initial=0) > self.n_features_ + self.n_inputs_ or self.powers_.min(initial=0) < 0:
            raise ValueError("a term names a column that does not exist")


def monomials(columns: int, order: int) -> Int[np.ndarray, "terms order"]:
    """Return all monomials up to an order: each row names the columns that are multiplied, from 1; 0 is the constant 1.

    Raises
    ------
    BadInputError
        If there are more than ``MOST_TERMS``.
    """
    from math import comb

    count = comb(columns + order, order)
    if count > MOST_TERMS:
        raise BadInputError(f"{columns} columns to order {order} make {count} terms; at most {MOST_TERMS}")
    return np.array(list(combinations_with_replacement(range(columns + 1), order)), dtype=np.int64)


def evaluate(
    columns: Float[np.ndarray, "samples columns"], powers: Int[np.ndarray, "terms order"]
) -> Float[np.ndarray, "samples terms"]:
    """Return the value of each monomial for each row."""
    extended = np.concatenate([np.ones((len(columns), 1)), columns], axis=1)
    product = extended[:, powers[:, 0]]
    for factor in powers.T[1:]:
        product = product * extended[:, factor]
    return product
