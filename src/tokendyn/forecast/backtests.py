"""Forecasts from many origins of one series, compared with the truth."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.forecast.closed_loop import Status
from tokendyn.results import Curves, Result

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Backtest(Result, kind="backtest"):
    """Closed-loop forecasts from many origins of one series, compared with the truth.

    Attributes
    ----------
    origins
        Row of the last snapshot of each window.
    errors
        Root mean square over the features of ``(forecast - truth) / scale`` for each origin and lead; infinite from the
        step at which a rollout diverged.
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

    @property
    def status(self) -> Status:
        """``"diverged"`` if a rollout diverged, else ``"completed"``."""
        return "completed" if np.isfinite(self.errors).all() else "diverged"

    def summary(self) -> dict[str, Any]:
        """Return the backtest in numbers."""
        origins, horizon = self.errors.shape
        return {
            "status": self.status, "origins": origins, "horizon": horizon, "dt": self.dt,
            "median_nrmse": float(np.median(self.nrmse)),
        }  # fmt: skip

    def describe(self) -> list[str]:
        """Return the errors in a sentence."""
        facts, valid = self.summary(), float(np.median(self.valid_steps()))
        lines = [
            f"{facts['origins']} forecasts of {facts['horizon']} steps: median error {facts['median_nrmse']:.3g} "
            f"standard deviations, valid for {valid:g} steps (median, error up to 0.4)"
        ]
        if self.status == "diverged":
            lines.append(f"{int((~np.isfinite(self.errors)).any(axis=1).sum())} forecasts diverged")
        return lines

    def table(self, threshold: float = 0.4) -> "pd.DataFrame":
        """Return one row for each origin: nrmse, error at the last step, time for which the error is small."""
        import pandas as pd

        return pd.DataFrame(self.rows(threshold))

    def picture(self) -> Curves:
        """Return the error over the lead: median and quartiles over the origins."""
        # Diverged rollouts count as the largest error: a percentile among infinite errors is infinite, and is not
        # drawn.
        low, middle, high = np.percentile(self.errors, (25, 50, 75), axis=0, method="nearest")
        leads = self.dt * np.arange(1, self.errors.shape[1] + 1)
        return Curves(leads, {"median": middle}, "lead", "error (standard deviations)", bands={"median": (low, high)})

    def rows(self, threshold: float = 0.4) -> list[dict[str, float | int]]:
        """Return the table, one row for each origin: origin, nrmse, final_error, valid_time."""
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
