"""Readings of a fitted TD-TF along an orbit, as values: attention, local operators, linear and nonlinear shares."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokendyn.results import Curves, Result

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class OrbitReading(Result, kind="orbit-reading"):
    """One row for each snapshot of a series after a complete window.

    Attributes
    ----------
    attention
        Weight of each delay, (samples, delays), the oldest first; rows sum to 1.
    operators
        Derivative of the predicted snapshot by each snapshot of its window, in the units of the data,
        (samples, delays, features, features).
    linear, nonlinear
        The two parts of the predicted increment, in the units of the data, (samples, features).
    """

    attention: Float[np.ndarray, "samples delays"]
    operators: Float[np.ndarray, "samples delays features features"]
    linear: Float[np.ndarray, "samples features"]
    nonlinear: Float[np.ndarray, "samples features"]

    @property
    def nonlinear_share(self) -> Float[np.ndarray, " samples"]:
        """Norm of the nonlinear part over the sum of both norms, for each prediction."""
        ours, theirs = np.linalg.norm(self.nonlinear, axis=1), np.linalg.norm(self.linear, axis=1)
        return ours / np.maximum(ours + theirs, np.finfo(float).tiny)

    @property
    def delay_importance(self) -> Float[np.ndarray, " delays"]:
        """Root mean square over the orbit of the size of each delay's operator."""
        return np.sqrt((self.operators**2).sum(axis=(2, 3)).mean(axis=0))

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def summary(self) -> dict[str, Any]:
        """Return the reading in numbers."""
        samples, delays = self.attention.shape
        share = float(self.nonlinear_share.mean())
        return {"status": self.status, "samples": samples, "delays": delays, "nonlinear_share": share}

    def describe(self) -> list[str]:
        """Return the most attended delay, and the share of the nonlinear part."""
        facts, looked = self.summary(), self.attention.mean(axis=0)
        return [
            f"{facts['samples']} predictions from {facts['delays']} delays; the nonlinear part is "
            f"{facts['nonlinear_share']:.1%} of the increment, on average",
            f"the model attends most to delay {len(looked) - 1 - int(looked.argmax())} (weight {looked.max():.3g})",
        ]

    def table(self) -> "pd.DataFrame":
        """Return one row for each prediction: share of the nonlinear part, and the weight of each delay."""
        import pandas as pd

        delays = self.attention.shape[1]
        weights = {f"delay_{delays - 1 - k}": self.attention[:, k] for k in range(delays)}
        return pd.DataFrame({"nonlinear_share": self.nonlinear_share, **weights})

    def picture(self) -> Curves:
        """Return the mean attention over the delays, with its quartiles along the orbit."""
        ages = np.arange(self.attention.shape[1] - 1, -1, -1)
        low, high = np.percentile(self.attention, (25, 75), axis=0)
        curves = {"attention": self.attention.mean(axis=0)}
        return Curves(ages, curves, "delay", "attention", bands={"attention": (low, high)})
