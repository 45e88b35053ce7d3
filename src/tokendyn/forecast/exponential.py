"""Exponential smoothing: level, trend and season, each corrected by a share of the error of every new value.

With the weights ``alpha, beta, gamma`` and the damping ``phi``, one column follows ::

    x_k = l_{k-1} + phi b_{k-1} + s_{k-p} + e_k        l_k = l_{k-1} + phi b_{k-1} + alpha e_k
    b_k = phi b_{k-1} + beta e_k                       s_k = s_{k-p} + gamma e_k

(R. J. Hyndman, A. B. Koehler, J. K. Ord, R. D. Snyder, Forecasting with Exponential Smoothing, Springer 2008, sect.
2.5). For given weights all of it is linear in the values and the first state, so that the first state follows by least
squares, and a forecast is a fixed linear function of the window.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.checks import check_count
from tokendyn.forecast.growth import half_slopes

Trend = Literal["none", "linear", "damped", "theta"]
TRENDS = ("none", "linear", "damped", "theta")

#: The weights stay in the usual region, where older values have smaller weights: alpha and 1 - alpha - gamma at least
#: this, ...
_LEAST = 0.02
#: ... beta at most alpha, and the damping within these bounds, outside of which there is no trend, or no damping.
_DAMPINGS = (0.8, 0.98)
#: Steps of the search for the weights, each a share of its range: halved until the last one.
_FIRST_STEP, _LAST_STEP = 0.2, 0.02
#: Added to the normal equations, relative to their largest entry: level and season share a constant.
_RIDGE = 1e-9
#: Least number of seasons in a window, and of snapshots for each state, so that least squares determine the state.
_SEASONS = 2


class ExponentialSmoothing(Forecaster):
    """Level, trend and season of each column, smoothed with the weights of least one-step errors.

    A forecast starts from the state that fits the window best. For growth by factors use it inside :class:`Logarithm`.
    Inputs are ignored.

    Parameters
    ----------
    trend
        "none"; "linear"; "damped" for a trend that fades; "theta" for a drift of half the slope of the least-squares
        line, the theta method (V. Assimakopoulos, K. Nikolopoulos, Int. J. Forecasting 16, 521 (2000); as smoothing
        with drift: R. J. Hyndman, B. Billah, Int. J. Forecasting 19, 287 (2003)).
    period
        Snapshots of a season; 1 for none.
    window
        Number of snapshots that a forecast depends on: at least two seasons, and eight.

    Attributes
    ----------
    weights_
        alpha, beta, phi, gamma of each column, ``(features, 4)``.
    drifts_
        Drift of each column; 0 unless the trend is "theta".
    criterion_
        Information criterion of the one-step errors, corrected for few snapshots (C. M. Hurvich, C.-L. Tsai, Biometrika
        76, 297 (1989)), summed over the columns; the least is the best among fits to the same series.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.forecast import ExponentialSmoothing
    >>> time = np.arange(60.0)
    >>> sales = 2 * time + np.tile([5.0, 0.0, -3.0, -2.0], 15)
    >>> model = ExponentialSmoothing(trend="linear", period=4, window=24).fit(sales)
    >>> np.round(model.forecast(4).values[:, 0], 2)
    array([125., 122., 121., 124.])
    """

    family = "exponential smoothing"

    def __init__(self, *, trend: Trend = "damped", period: int = 1, window: int = 48) -> None:
        self.trend = trend
        self.period = period
        self.window = window

    def _parameter_problems(self) -> list[str]:
        problems = check_count("period", self.period) + check_count("window", self.window)
        if self.trend not in TRENDS:
            problems.append(f"trend is {self.trend!r}, expected one of {', '.join(TRENDS)}")
        if not problems and self.window < (least := max(_SEASONS * self.period, 8)):
            problems.append(f"window is {self.window}, expected at least {least}: two seasons, and eight snapshots")
        return problems

    def _window_length(self) -> int:
        return self.window

    @property
    def parameters_(self) -> int:
        """Number of fitted parameters: weights and drifts."""
        kinds = 1 + (self.trend in ("linear", "damped")) + (self.trend in ("damped", "theta")) + (self.period > 1)
        return self.n_features_ * kinds

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Choose the weights of every column."""
        self.drifts_ = half_slopes(series) if self.trend == "theta" else np.zeros(self.n_features_)
        ramps = [np.arange(len(one))[:, None] * self.drifts_ for one in series]
        flat = [(one - ramp - self.low_) / self.scale_ for one, ramp in zip(series, ramps, strict=True)]
        self.weights_ = np.stack(
            [self._chosen([np.ascontiguousarray(one[:, i]) for one in flat]) for i in range(self.n_features_)]
        )
        self.criterion_ = self._criterion(flat)
        self._prepare()

    def _criterion(self, flat: Sequence[np.ndarray]) -> float:
        """Return ``n log(S/n) + 2 q + 2 q (q + 1) / (n - q - 1)`` with q numbers and the sum of squares S."""
        trended, total = self.trend in ("linear", "damped"), 0.0
        states = 1 + trended + (self.period - 1)
        numbers = 1 + self.parameters_ / self.n_features_ + states * len(flat)
        samples = sum(map(len, flat))
        room = max(samples - numbers - 1, 1e-9)
        for column, weights in enumerate(self.weights_):
            squares = sum(_squares(one[:, column], tuple(weights), self.period, trended) for one in flat)
            variance = max(squares / samples, 1e-300) * self.scale_[column] ** 2
            total += samples * np.log(variance) + 2 * numbers + 2 * numbers * (numbers + 1) / room
        return float(total)

    def _chosen(self, columns: list[np.ndarray]) -> Float[np.ndarray, " four"]:
        """Return the weights of one column by a pattern search from several starts: few parameters, no derivative."""
        trended, seasonal = self.trend in ("linear", "damped"), self.period > 1
        free = [True, trended, self.trend == "damped", seasonal]
        cost_of: dict[tuple[float, ...], float] = {}

        def cost(point: tuple[float, ...]) -> float:
            if point not in cost_of:
                weights = self._weights(point)
                cost_of[point] = sum(_squares(one, weights, self.period, trended) for one in columns)
            return cost_of[point]

        starts: list[tuple[float, ...]] = [
            (alpha, 0.1, 0.9, gamma) for alpha in (0.1, 0.5, 0.9) for gamma in ((0.1, 0.5) if seasonal else (0.0,))
        ]
        point, step = min(starts, key=cost), _FIRST_STEP
        while step >= _LAST_STEP:
            moves = [
                tuple(
                    float(np.clip(value + (sign * step if i == axis else 0.0), 0.0, 1.0))
                    for i, value in enumerate(point)
                )
                for axis in range(4)
                if free[axis]
                for sign in (-1, 1)
            ]
            better = min(moves, key=cost)
            point, step = (better, step) if cost(better) < cost(point) * (1 - 1e-6) else (point, step / 2)
        return np.array(self._weights(point))

    def _weights(self, point: tuple[float, ...]) -> tuple[float, float, float, float]:
        """Return alpha, beta, phi and gamma of a point of the unit cube."""
        alpha = _LEAST + (1.0 - 2 * _LEAST) * point[0]
        phi = _DAMPINGS[0] + (_DAMPINGS[1] - _DAMPINGS[0]) * point[2] if self.trend == "damped" else 1.0
        beta = alpha * point[1] if self.trend in ("linear", "damped") else 0.0
        return alpha, beta, phi, (1.0 - _LEAST - alpha) * point[3] if self.period > 1 else 0.0

    def _prepare(self) -> None:
        """Set the matrix from the window of each column to the state at its end."""
        trended = self.trend in ("linear", "damped")
        self._readers = np.stack([_reader(self.window, tuple(w), self.period, trended) for w in self.weights_])

    def _loop(self, windows: Float[np.ndarray, "batch window features"], steps: int) -> np.ndarray:
        """Return the continuation of every window, (batch, steps, features)."""
        back = np.arange(self.window) - (self.window - 1.0)
        ahead = np.arange(1.0, steps + 1)
        values = np.empty((len(windows), steps, windows.shape[2]))
        for column, (reader, weights) in enumerate(zip(self._readers, self.weights_, strict=True)):
            drift, phi = self.drifts_[column], weights[2]
            states = (windows[:, :, column] - drift * back) @ reader.T
            fade = np.cumsum(phi ** np.arange(1, steps + 1))
            season = states[:, 2 + np.arange(steps) % self.period] if self.period > 1 else 0.0
            values[:, :, column] = states[:, :1] + states[:, 1:2] * fade + season + drift * ahead
        return values

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(series[:-1], self.window, axis=0).swapaxes(1, 2)
        return self._loop(windows, 1)[:, 0]

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        return self._loop(windows, steps), None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"criterion": self.criterion_}, {"weights": self.weights_, "drifts": self.drifts_}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        self.criterion_ = float(record["criterion"])
        self.weights_, self.drifts_ = tensors["weights"], tensors["drifts"]
        if self.weights_.shape != (self.n_features_, 4) or self.drifts_.shape != (self.n_features_,):
            raise ValueError(f"weights and drifts have shapes {self.weights_.shape} and {self.drifts_.shape}")
        self._prepare()


def _smoothed(
    values: Float[np.ndarray, "rows columns"], weights: Sequence[float], period: int, trended: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return errors and last states: of the values from a first state of zero, and of zeros from each first state."""
    from tokendyn.forecast.exponential_kernels import smooth

    states = [0] + [1] * trended + (list(range(2, 2 + period)) if period > 1 else [])
    columns, size = values.shape[1], 2 + (period if period > 1 else 0)
    data = np.zeros((len(values), columns + len(states)))
    data[:, :columns] = values
    state = np.zeros((size, data.shape[1]))
    state[states, columns + np.arange(len(states))] = 1.0
    alpha, beta, phi, gamma = weights
    smooth(data, state, alpha, beta, phi, gamma, period)
    # The next season first.
    if period > 1:
        state[2:] = np.roll(state[2:], -(len(values) % period), axis=0)
    return data[:, :columns], state[:, :columns], data[:, columns:], state[:, columns:]


def _solve(responses: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return the first states whose responses cancel the errors best."""
    normal = responses.T @ responses
    normal[np.diag_indices_from(normal)] += _RIDGE * normal.max()
    return np.asarray(np.linalg.solve(normal, -responses.T @ errors))


def _squares(column: np.ndarray, weights: Sequence[float], period: int, trended: bool) -> float:
    """Return the sum of squared one-step errors of a column from its best first state."""
    errors, _, responses, _ = _smoothed(column[:, None], weights, period, trended)
    left = errors[:, 0] + responses @ _solve(responses, errors[:, 0])
    return float(left @ left)


def _reader(window: int, weights: Sequence[float], period: int, trended: bool) -> Float[np.ndarray, "states window"]:
    """Return the matrix from a window to the state after it, with the first state by least squares."""
    errors, last, responses, kept = _smoothed(np.eye(window), weights, period, trended)
    return np.asarray(last + kept @ _solve(responses, errors))
