"""A closed-loop forecast: its values, status, bands, and the form in which it is returned."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from tokendyn.data.snapshots.grids import Coordinate, Grid, Variable
from tokendyn.errors import BadInputError
from tokendyn.forecast.forms import Form, TimeAxis, names_of
from tokendyn.forecast.intervals import band_names
from tokendyn.results import Curves, Result
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["completed", "left range", "diverged"]

#: A forecast that leaves the training range by this number of widths is kept, with its own status.
RANGES = 10.0
#: The range in words; a mean is held at its bounds before it leaves this range.
FAR = f"the range of the training data by {RANGES:g} widths of it, or the bounds of a mean"


@dataclass(frozen=True)
class Forecast(Result, kind="forecast"):
    """A closed-loop forecast.

    Attributes
    ----------
    values
        Float64 snapshots after the window, only the finite part: ``finite_steps`` of them.
    status
        "completed"; "left range" if a feature left its training range by ten widths of it after ``inside_steps``, or a
        mean stayed at its bounds (``Blend.clip``); or "diverged" if the rollout diverged before the last step.
    finite_steps
        Steps before the rollout diverged; all steps if it did not.
    dt
        Time between snapshots.
    spread
        For ensembles, the standard deviation over the members, shaped as ``values``; else None. It measures the effect
        of the seed, and not the distance of the truth from the forecast: see ``lower`` and ``upper`` for that.
    form
        Form of the series: its names, index and coordinates.
    lower, upper
        Band that is meant to contain the truth at each step and feature with probability ``level``, shaped as
        ``values``; NaN beyond the calibrated horizon. None for a model without calibration: see
        :meth:`Forecaster.calibrate`.
    level
        Probability of the bands; None without bands.
    inside_steps
        Steps before a feature left its training range by ten widths of it, or stayed at a bound; all steps if none did.
    """

    parts: ClassVar = (Form, TimeAxis, Grid, Variable, Coordinate)

    values: Float[np.ndarray, "finite_steps features"]
    status: Status
    finite_steps: int
    dt: float
    spread: Float[np.ndarray, "finite_steps features"] | None = None
    form: Form = field(default_factory=lambda: Form("array"))
    lower: Float[np.ndarray, "finite_steps features"] | None = None
    upper: Float[np.ndarray, "finite_steps features"] | None = None
    level: float | None = None
    inside_steps: int | None = None

    @property
    def times(self) -> Float[np.ndarray, " finite_steps"]:
        """Time of each snapshot, counted from the last one of the window."""
        return self.dt * np.arange(1, self.finite_steps + 1)

    @property
    def index(self) -> "pd.Index[Any]":
        """The index of the series, continued: dates, numbers or periods; :attr:`times` if it had none."""
        return self.form.index(self.times)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(names_of(self.form, self.values.shape[1]))

    def as_given(self) -> Any:
        """Return the values in the form of the series: array, DataFrame, xarray object or Snapshots."""
        return self.form.given_back(self.values, self.times)

    def bands_as_given(self) -> tuple[Any, Any]:
        """Return the lower and the upper end of the bands in the form of the series.

        Raises
        ------
        BadInputError
            If the model was not calibrated.
        """
        if self.lower is None or self.upper is None:
            raise BadInputError("the forecast has no bands; calibrate the model first: model.calibrate(series)")
        return self.form.given_back(self.lower, self.times), self.form.given_back(self.upper, self.times)

    def to_xarray(self) -> Any:
        """Return the values as the fields of the series, else as a DataArray; bands are its coordinates."""
        if self.form.grid is not None:
            return self.form.fields(self.values, self.times)
        import xarray

        coords: dict[str, Any] = {"time": ("time", self.index), "feature": list(self.names)}
        if self.lower is not None:
            coords |= {"lower": (("time", "feature"), self.lower), "upper": (("time", "feature"), self.upper)}
        return xarray.DataArray(self.values, dims=("time", "feature"), coords=coords, name="forecast")

    def summary(self) -> dict[str, Any]:
        """Return the forecast in numbers and words."""
        steps, features = self.values.shape
        facts = {"status": self.status, "steps": steps, "features": features, "dt": self.dt}
        return facts if self.level is None else facts | {"level": self.level}

    def describe(self) -> list[str]:
        """Return the forecast in a few sentences."""
        steps, features = self.values.shape
        until = f", until {self.index[-1]}" if steps else ""
        lines = [f"forecast of {counted(features, 'feature')} over {counted(steps, 'step')}{until}"]
        if self.status == "diverged":
            lines.append(f"it left all bounds after {counted(self.finite_steps, 'step')}; what came before is kept")
        if self.status != "completed" and self.inside_steps is not None:
            inside = counted(self.inside_steps, "step")
            lines.append(f"it left {FAR}, after {inside}: do not trust it")
        if self.level is not None and self.lower is not None:
            known = int(np.isfinite(self.lower).all(axis=1).sum())
            ends = "" if known == steps else f", of the first {counted(known, 'step')}: longer ones were not calibrated"
            lines.append(f"with bands that are meant to hold {100 * self.level:g} % of the truth{ends}")
        if self.spread is not None and steps:
            lines.append(f"the members of the ensemble differ by {self.spread[-1].mean():.3g} at the end, on average")
        return lines

    def table(self) -> "pd.DataFrame":
        """Return one row for each step and one column for each feature, with its band and spread if there are any.

        The columns of the bands are ``NAME_lower`` and ``NAME_upper``, or ``lower`` and ``upper`` with one feature.
        """
        import pandas as pd

        table = pd.DataFrame(self.values, index=self.index, columns=list(self.names))
        further: dict[str, np.ndarray] = {}
        if self.lower is not None and self.upper is not None:
            pairs = zip(band_names(self.names), self.lower.T, self.upper.T, strict=True)
            further |= {name: end for names, *ends in pairs for name, end in zip(names, ends, strict=True)}
        if self.spread is not None:
            further |= {f"{name}_spread": self.spread[:, k] for k, name in enumerate(self.names)}
        return pd.concat([table, pd.DataFrame(further, index=table.index)], axis=1) if further else table

    def picture(self) -> Curves:
        """Return the features over time, each with its band if there is one."""
        index = self.index.to_timestamp() if hasattr(self.index, "to_timestamp") else self.index
        curves = {name: self.values[:, k] for k, name in enumerate(self.names)}
        bands = {}
        if self.lower is not None and self.upper is not None:
            bands = {name: (self.lower[:, k], self.upper[:, k]) for k, name in enumerate(self.names)}
        return Curves(index.to_numpy(), curves, str(self.index.name or "time"), bands=bands)
