"""Baselines without learning: the last snapshot stays, or the last period repeats."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokendyn.forecast.base import Forecaster, Progress
from tokendyn.forecast.checks import check_count


class SeasonalNaive(Forecaster):
    """``x_{k+1} = x_{k+1-p}``: the last period of p snapshots repeats; inputs are not looked at.

    Parameters
    ----------
    period
        Snapshots in a period.
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
    """``x_{k+1} = x_k``; inputs are not looked at."""

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
