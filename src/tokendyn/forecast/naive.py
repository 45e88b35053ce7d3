"""Baselines that learn little or nothing: the last snapshot, the last period, the mean, the mean step."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.checks import check_count


class SeasonalNaive(Forecaster):
    """``x_{k+1} = x_{k+1-p}``: the last period of p snapshots repeats; inputs are ignored.

    Parameters
    ----------
    period
        Number of snapshots in a period.
    """

    def __init__(self, period: int = 1):
        self.period = period

    def _parameter_problems(self) -> list[str]:
        return check_count("period", self.period)

    def _window_length(self) -> int:
        return self.period

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Learn nothing."""

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return series[: -self.period].copy()

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        return windows[:, np.arange(steps) % self.period], None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Restore nothing."""


class Persistence(Forecaster):
    """``x_{k+1} = x_k``; inputs are ignored."""

    def _parameter_problems(self) -> list[str]:
        return []

    def _window_length(self) -> int:
        return 1

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        """Learn nothing."""

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return series[:-1].copy()

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        return np.repeat(windows[:, -1:], steps, axis=1), None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Restore nothing."""


class Mean(Forecaster):
    """``x_{k+1}`` is the mean of the training data; inputs are ignored."""

    def _parameter_problems(self) -> list[str]:
        return []

    def _window_length(self) -> int:
        return 1

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        self.mean_ = np.concatenate(list(series)).mean(axis=0)

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return np.repeat(self.mean_[None], len(series) - 1, axis=0)

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        return np.broadcast_to(self.mean_, (len(windows), steps, len(self.mean_))).copy(), None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"mean": self.mean_}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        self.mean_ = tensors["mean"]
        if self.mean_.shape != (self.n_features_,):
            raise ValueError(f"mean has shape {self.mean_.shape}")


class Drift(Forecaster):
    """``x_{k+1} = x_k`` plus the mean step of the training data; inputs are ignored."""

    def _parameter_problems(self) -> list[str]:
        return []

    def _window_length(self) -> int:
        return 1

    def _fit(self, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], progress: Progress) -> None:
        self.drift_ = np.concatenate([np.diff(one, axis=0) for one in series]).mean(axis=0)

    def _one_step(self, series: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return series[:-1] + self.drift_

    def _rollout(self, windows: np.ndarray, steps: int, inputs: np.ndarray) -> tuple[np.ndarray, None]:
        return windows[:, -1:] + np.arange(1, steps + 1)[:, None] * self.drift_, None

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {"drift": self.drift_}

    def _restore(self, record: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        self.drift_ = tensors["drift"]
        if self.drift_.shape != (self.n_features_,):
            raise ValueError(f"drift has shape {self.drift_.shape}")
