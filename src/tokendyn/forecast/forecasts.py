"""Forecasts of one or several series of a table: as sentences, as a table, as a CSV file."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np

from tokendyn.data.snapshots import Snapshots
from tokendyn.data.snapshots.grids import Coordinate, Grid, Variable
from tokendyn.errors import BadInputError
from tokendyn.forecast.closed_loop import FAR, Forecast
from tokendyn.forecast.intervals import band_names, full_band_names
from tokendyn.forecast.store import PREDICTION_SCHEMA, plain
from tokendyn.results import Curves, Result
from tokendyn.runs.folders import check_free, new_file
from tokendyn.runs.table import heading_of, safe_cell

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

#: Number of rows of a series in a summary, for a figure.
_SHOWN = 1000
#: Title of a NetCDF file, which identifies it.
_TITLE = "Forecast by tokendyn"
#: Digits of times that are numbers, at least and at most, and those of a step.
_DIGITS, _MOST_DIGITS, _STEP_DIGITS = 12, 17, 4


@dataclass(frozen=True)
class Forecasts(Result, kind="forecasts"):
    """Closed-loop forecasts from the ends of series.

    Attributes
    ----------
    forecasts
        One for each series.
    past
        The end of each series.
    steps
        Number of snapshots requested.
    source
        Name of the file of the series.
    time
        Name of the column of times.
    series
        Column that separates several series; None for one series.
    provenance
        Versions, machine kind, wall time.
    """

    parts: ClassVar = (Snapshots, Grid, Variable, Coordinate)

    forecasts: tuple[Forecast, ...]
    past: tuple[Snapshots, ...]
    steps: int
    source: str
    time: str = "time"
    series: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """``"diverged"`` or ``"left range"`` if any forecast did, else ``"completed"``."""
        statuses = {forecast.status for forecast in self.forecasts}
        return next((status for status in ("diverged", "left range") if status in statuses), "completed")

    def summary(self) -> dict[str, Any]:
        """Return the status of the forecasts, and past and forecasts thinned for a figure, as JSON values."""
        facts: dict[str, Any] = {
            "status": self.status, "finite_steps": min(forecast.finite_steps for forecast in self.forecasts),
            "steps": self.steps, "schema": PREDICTION_SCHEMA, "schema_version": 1, "source": self.source,
            "columns": list(self.past[0].names), "past": [_thinned(past.times, past.values) for past in self.past],
            "forecasts": [_thinned(past.times[-1] + ahead.times, ahead.values) for past, ahead in self._pairs()],
            "provenance": dict(self.provenance),
        }  # fmt: skip
        if self.forecasts[0].level is not None:
            facts["level"] = self.forecasts[0].level
            for entry, forecast in zip(facts["forecasts"], self.forecasts, strict=True):
                entry.update(_thinned_bands(forecast))
        return facts | ({"series": len(self.past)} if self.series else {})

    def describe(self) -> list[str]:
        """Return start and length of the forecasts, or the steps at which some of them diverged."""
        lines = []
        for past, forecast in self._pairs():
            of = f"{self.series} {past.label}: " if self.series else ""
            if forecast.status == "diverged":
                kept = f"{forecast.finite_steps} of {self.steps} steps; the finite part is kept"
                lines.append(f"{of}diverged after {kept}")
            elif forecast.status == "left range":
                inside = f"after {forecast.inside_steps} of {self.steps} steps"
                lines.append(f"{of}left {FAR}, {inside}: do not trust it")
        if lines:
            return lines
        end = stamps(self.past[0].times[-1:], self.past[0])[0]
        after = f"{len(self.past)} series" if self.series else f"time {end}"
        return [f"complete: {self.steps} steps after {after}{self._bands()}"]

    def header(self) -> list[str]:
        """Return the names of the columns: label of the series, time, features, bands, spread of an ensemble.

        The columns of the bands are ``NAME_lower`` and ``NAME_upper``, or ``lower`` and ``upper`` with one feature.
        """
        names = [*([self.series] if self.series else []), self.time, *self.past[0].names]
        if self.forecasts[0].lower is not None:
            names += [end for pair in band_names(self.past[0].names) for end in pair]
        return names + [f"{name}_spread" for name in self.past[0].names if self.forecasts[0].spread is not None]

    def rows(self) -> Iterator[list[Any]]:
        """Yield one row for each step of each series, with the columns of :meth:`header`."""
        for past, forecast in self._pairs():
            values = [forecast.values]
            if forecast.lower is not None and forecast.upper is not None:
                ends = np.stack([forecast.lower, forecast.upper], axis=2)
                values.append(ends.reshape(len(ends), -1))
            if forecast.spread is not None:
                values.append(forecast.spread)
            label = [past.label] if self.series else []
            for stamp, row in zip(stamps(past.times[-1] + forecast.times, past), np.hstack(values), strict=True):
                yield [*label, stamp, *map(float, row)]

    def table(self) -> "pd.DataFrame":
        """Return one row for each step of each series, as in the CSV file."""
        import pandas as pd

        table = pd.DataFrame(list(self.rows()), columns=self.header())
        return table if self.past[0].epoch is not None else table.astype({self.time: float})

    def picture(self) -> Curves:
        """Return the forecast of the first series over time, with its bands."""
        past, forecast = next(self._pairs())
        times, bands = past.times[-1] + forecast.times, {}
        if forecast.lower is not None and forecast.upper is not None:
            bands = {name: (forecast.lower[:, k], forecast.upper[:, k]) for k, name in enumerate(past.names)}
        curves = {name: forecast.values[:, k] for k, name in enumerate(past.names)}
        return Curves(times, curves, self.time, bands=bands)

    def write_csv(self, stream: IO[str], line_end: str = "\n") -> None:
        """Write the table as CSV text, with every digit; text that a spreadsheet would compute is escaped.

        Cells of bands beyond the calibrated horizon are empty.
        """
        writer = csv.writer(stream, lineterminator=line_end)
        writer.writerow(map(safe_cell, self.header()))
        for row in self.rows():
            writer.writerow([_cell(cell) for cell in row])

    def to_csv(self, file: str | Path, *, overwrite: bool = False) -> None:
        """Write the table to a CSV file, which appears only when it is complete.

        Parameters
        ----------
        file
            The file.
        overwrite
            Replace an earlier forecast of the same columns.

        Raises
        ------
        OutputError
            If the file exists and is not to be replaced, or the disk refuses.
        """
        header = self.header()
        check_free(file, overwrite=overwrite, ours=lambda earlier: is_forecast(earlier, header))
        with new_file(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            self.write_csv(stream, line_end="\r\n")

    def to_netcdf(self, file: str | Path, *, overwrite: bool = False) -> None:
        """Write the forecast of one series as NetCDF, fields or columns over time; the file appears when it is whole.

        Parameters
        ----------
        file
            The file.
        overwrite
            Replace an earlier forecast.

        Raises
        ------
        BadInputError
            For several series.
        OutputError
            If the file exists and is not to be replaced, or the disk refuses.
        """
        if len(self.forecasts) > 1:
            raise BadInputError(f"there are {len(self.forecasts)} series, NetCDF holds one; write CSV")
        check_free(file, overwrite=overwrite, ours=is_netcdf)
        with new_file(file) as temporary:
            netcdf_of(self.forecasts[0]).to_netcdf(temporary, engine="h5netcdf")

    def _bands(self) -> str:
        """Return the level of the bands, and the step at which they end."""
        forecast = self.forecasts[0]
        if forecast.level is None or forecast.lower is None:
            return ""
        known = int(np.isfinite(forecast.lower).all(axis=1).sum())
        ends = "" if known == self.steps else f" for the first {known}: fit with a longer horizon for more"
        return f", with bands of {100 * forecast.level:g} %{ends}"

    def _pairs(self) -> Iterator[tuple[Snapshots, Forecast]]:
        return zip(self.past, self.forecasts, strict=True)


def is_forecast(file: Path, header: Sequence[str]) -> bool:
    """Return whether a file may be an earlier forecast: a table whose heading begins in the same way."""
    return heading_of(file)[: len(header)] == list(header)


def netcdf_of(forecast: Forecast) -> "xr.Dataset":
    """Return a forecast as a Dataset: its fields, or a variable for each column, with the bands as variables."""
    whole = _dataset(forecast, forecast.values)
    names = [str(name) for name in whole.data_vars]
    ends = full_band_names(names)
    for number, band in enumerate((forecast.lower, forecast.upper)):
        if band is not None:
            part = _dataset(forecast, band)
            whole = whole.assign({pair[number]: part[name].variable for name, pair in zip(names, ends, strict=True)})
    # Arrays of groups of HDF5 have their path as a name, which NetCDF has for groups.
    paths = {name: str(name).replace("/", "_") for name in (*whole.variables, *whole.dims) if "/" in str(name)}
    return whole.rename(paths).assign_attrs(title=_TITLE)


def _dataset(forecast: Forecast, values: np.ndarray) -> "xr.Dataset":
    """Return values shaped as those of a forecast as a Dataset."""
    import xarray as xr

    if forecast.form.grid is not None:
        fields = forecast.form.fields(values, forecast.times)
        return fields if isinstance(fields, xr.Dataset) else fields.to_dataset(name=fields.name or "x")
    columns = {name: (("time",), values[:, k]) for k, name in enumerate(forecast.names)}
    return xr.Dataset(columns, coords={"time": ("time", forecast.index)})


def is_netcdf(file: Path) -> bool:
    """Return whether a file is a forecast that was written as NetCDF."""
    import xarray as xr

    try:
        with xr.open_dataset(file, engine="h5netcdf", decode_times=False) as dataset:
            return dataset.attrs.get("title") == _TITLE
    except (OSError, ValueError):
        return False


def stamps(times: np.ndarray, series: Snapshots) -> list[str]:
    """Return times as written to the file: dates if the series has dates."""
    from tokendyn.data.snapshots import dates_after

    if series.epoch is None:
        # Enough digits to tell steps apart: milliseconds since 1970 have thirteen before the point.
        wanted = math.log10(max(float(np.abs(times).max(initial=0.0)) / series.dt, 1.0)) + _STEP_DIGITS
        return [_digits(float(time), min(max(math.ceil(wanted), _DIGITS), _MOST_DIGITS)) for time in times]
    return dates_after(times, series.epoch, series.calendar)


def _digits(time: float, digits: int) -> str:
    """Return a time with some digits; whole numbers without an exponent."""
    text = f"{time:.{digits}g}"
    return f"{time:.0f}" if "e+" in text and time == round(time) and abs(time) < 10**_MOST_DIGITS else text


def _cell(value: Any) -> str:
    """Return a cell of the CSV file; an unknown number is empty."""
    if isinstance(value, float):
        return "" if np.isnan(value) else repr(value)
    return str(safe_cell(value))


def _thinned_bands(forecast: Forecast) -> dict[str, Any]:
    """Return the bands at the steps that :func:`_thinned` keeps; None if unknown."""
    assert forecast.lower is not None
    assert forecast.upper is not None
    every = max(len(forecast.values) // _SHOWN, 1)
    ends = {"lower": forecast.lower, "upper": forecast.upper}
    return {name: plain(end[::every].tolist()) for name, end in ends.items()}


def _thinned(times: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Return some ``_SHOWN`` rows at equal steps."""
    every = max(len(times) // _SHOWN, 1)
    return {"times": times[::every].tolist(), "values": values[::every].tolist()}
