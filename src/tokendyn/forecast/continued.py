"""What the one path from data to a forecast returns: forecast, model, errors, spectrum; and the folder of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.data.snapshots import Snapshots
from tokendyn.data.snapshots.grids import Coordinate, Grid, Variable
from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.base import Forecaster
from tokendyn.forecast.closed_loop import Forecast
from tokendyn.forecast.field_forecaster import WIDE, FieldForecaster
from tokendyn.forecast.fitted import CLEARLY, EXACT, LINEAR, shown, skill
from tokendyn.forecast.forecasts import Forecasts, stamps
from tokendyn.forecast.forms import Form, TimeAxis, open_series
from tokendyn.forecast.held_out import HeldOut
from tokendyn.forecast.ranks import AUTO
from tokendyn.forecast.spectra import Spectrum
from tokendyn.forecast.store import DATA_SCHEMA, DATA_SCHEMA_VERSION, plain
from tokendyn.forecast.tddmd import TDDMD
from tokendyn.results import Curves, Result
from tokendyn.results.fields import check_fields
from tokendyn.results.files import pack, unpack
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.show.report import Report

RUN_SCHEMA, RUN_SCHEMA_VERSION = "tokendyn-forecast-run", 1
RECORD, TENSORS, _PACKED = "run.json", "run.safetensors", "run"
#: Fields of a run that its record holds; the model has a folder of its own.
_FIELDS = (
    "forecast", "past", "family", "account", "rows", "held_out", "errors", "season", "spectrum", "maps", "notes",
    "source", "provenance", "further", "further_past", "series", "reading",
)  # fmt: skip
_PARTS = (Snapshots, Form, TimeAxis, Grid, Variable, Coordinate)
#: Columns of the least-squares problem whose spectrum is shown, at most; and delays of a series without a season.
_SPECTRUM_COLUMNS, _SPECTRUM_DELAYS = 240, 20


@dataclass(frozen=True)
class ForecastRun(Result, kind="forecast-run"):
    """A forecast of data, of one series or several, with its errors.

    Attributes
    ----------
    model
        Fitted to all data.
    forecast
        What comes after the data, with bands where the model has some; of several series after the first.
    past
        The end of the data, of several series that of the first.
    family
        What the model is, in the words of the search.
    account
        What the search tried, and why it chose this model.
    rows
        Snapshots of the data.
    held_out
        How a model of the same settings, fitted without the last part of the data, forecasts that part.
    errors
        Closed-loop errors of simple models on the same part, by name.
    season
        Steps of the season; None without one.
    spectrum
        Of a linear model with delays of the first series; its modes are on the features of the data.
    maps
        Whether the features are fields, and the modes maps.
    notes
        What to know before relying on the forecast.
    source
        Where the data come from.
    provenance
        Versions, machine kind, wall time.
    further, further_past
        Of several series forecast and end of the others; :attr:`forecasts` has all.
    series
        What tells several series apart; None for one.
    reading
        How the data were read, which a forecast of the same file needs to know: time, columns, inputs, fill.
    """

    model: Forecaster
    forecast: Forecast
    past: Snapshots
    family: str
    account: str
    rows: int
    held_out: HeldOut | None = None
    errors: Mapping[str, float] = field(default_factory=dict)
    season: int | None = None
    spectrum: Spectrum | None = None
    maps: bool = False
    notes: tuple[str, ...] = ()
    source: str = "data"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    further: tuple[Forecast, ...] = ()
    further_past: tuple[Snapshots, ...] = ()
    series: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def forecasts(self) -> tuple[Forecast, ...]:
        """The forecast of every series."""
        return (self.forecast, *self.further)

    def split(self) -> "tuple[ForecastRun, ...]":
        """Return the run of each series alone, with the model that they share."""
        pairs = zip(self.forecasts, (self.past, *self.further_past), strict=True)
        return tuple(replace(self, forecast=one, past=past, further=(), further_past=()) for one, past in pairs)

    @property
    def status(self) -> str:
        """How the forecast ended, of several series the worst of them."""
        return self._forecasts().status

    def predicted(self) -> Any:
        """Return the forecast in the data's form: array, DataFrame, xarray object, Snapshots, or a list of such."""
        given = [forecast.as_given() for forecast in self.forecasts]
        return given if self.further else given[0]

    def skill(self) -> "pd.DataFrame":
        """Return the closed-loop errors of the model and of simple ones, the best first, in standard deviations."""
        import pandas as pd

        own = {} if self.held_out is None else {self.family: self.held_out.nrmse}
        rows = sorted({**self.errors, **own}.items(), key=lambda row: row[1])
        return pd.DataFrame(rows, columns=["model", "error"])

    def summary(self) -> dict[str, Any]:
        """Return the run in numbers and words."""
        held_out = None if self.held_out is None else plain(self.held_out.numbers())
        facts = {"status": self.status, "family": self.family, "model": type(self.model).__name__, "rows": self.rows}
        facts |= {"steps": len(self.forecast.values), "season": self.season, "held_out": held_out}
        facts |= {"errors": dict(self.errors), "notes": list(self.notes), "source": self.source}
        return facts | ({"series": len(self.forecasts)} if self.further else {})

    def describe(self) -> list[str]:
        """Return the forecast and its model, the errors of the model, and notes to read before relying on it."""
        grid = self.past.grid
        what = counted(len(self.past.names), "column") if grid is None else grid.described()
        parts = f" in {len(self.forecasts)} series" if self.further else ""
        lines = [f"{counted(self.rows, 'snapshot')}{parts} at dt = {self.past.step_words} of {what}"]
        if self.season:
            lines[0] += f", season of {self.past.in_words(self.season * self.past.dt)}"
        steps = len(self.forecast.values)
        end = f", until {self._stamp(steps - 1)}" if steps and not self.further else ""
        lines.append(f"forecast of {self.past.in_words(steps * self.past.dt)} by {self.family}{end}")
        if isinstance(self.model, FieldForecaster):
            modes = counted(len(self.model.pod_.modes_), "mode")
            lines.append(f"the field by {modes}, {100 * self.model.kept_:.4g} % of its variance")
        if self.held_out is not None:
            lines.append(self.held_out.line())
        if self.errors:
            lines += self._skills()
            lines += self._warning()
        return lines + [f"note: {note}" for note in self.notes]

    def _warning(self) -> list[str]:
        """Return a warning where a model that learns nothing is as good, or the linear one clearly better."""
        if self.held_out is None:
            return []
        own = self.held_out.nrmse
        best = min(self.errors, key=self.errors.__getitem__)
        naive = [error for name, error in self.errors.items() if not name.startswith(LINEAR)]
        if naive and own >= min(naive):
            return ["warning: the model is no better than one that learns nothing; do not rely on its forecasts"]
        # A tie with the linear model says nothing against either.
        if self.errors[best] < CLEARLY * own and own > EXACT:
            return [f"warning: {best} is clearly better on what was held out"]
        return []

    def _skills(self) -> list[str]:
        """Return the errors of simple models, and the skill of the model against each."""
        if self.held_out is None:
            return []
        own = self.held_out.nrmse
        beside = [f"{name} {error:.3g} (skill {shown(skill(own, error))})" for name, error in self.errors.items()]
        return ["beside it: " + ", ".join(beside)]

    def table(self) -> "pd.DataFrame":
        """Return the forecast, one row for each step; of several series one after the other, with their labels."""
        return self._forecasts().table() if self.further else self.forecast.table()

    def picture(self) -> Curves:
        """Return the forecast over time, of several series that of the first."""
        return self.forecast.picture()

    def save(self, folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write forecast (``forecast.csv``, of fields ``forecast.nc``), ``model``, ``report.html`` and ``run.json``.

        Of several series one CSV holds all, and each field has a file of its own (``forecast-1.nc``).

        Parameters
        ----------
        folder
            Folder, written completely or not; ``tokendyn.load(folder)`` reads the run, and of ``folder / "model"``
            the model.
        command
            Command that repeats it, for the record.
        overwrite
            Replace an existing folder.

        Raises
        ------
        OutputError
            If the folder exists and ``overwrite`` is not set, or cannot be written.
        """
        from tokendyn.show import write_report

        record = {"schema": RUN_SCHEMA, "schema_version": RUN_SCHEMA_VERSION, **plain(self.summary())}
        record |= {"account": self.account, "command": command, "provenance": plain(dict(self.provenance))}
        record[_PACKED], tensors = pack({name: getattr(self, name) for name in _FIELDS}, _PARTS)
        with new_folder(folder, overwrite=overwrite) as place:
            self.model.save(place / "model")
            if self.reading:
                write_json(place / "model" / "data.json", self._about_data(command))
            if self.past.grid is None:
                self._forecasts().to_csv(place / "forecast.csv")
            else:
                for part, name in zip(self.split(), self._field_files(), strict=True):
                    part._forecasts().to_netcdf(place / name)
            write_report(self.page(place, command=command), place / "report.html")
            write_json(place / RECORD, record)
            write_tensors(place / TENSORS, tensors)

    @classmethod
    def load(cls, folder: str | Path) -> "ForecastRun":
        """Read what :meth:`save` or ``tokendyn forecast run`` wrote; ``tokendyn.load`` is the same.

        Raises
        ------
        BadInputError
            If a file is missing, damaged, of a newer schema, or of a version that kept no whole runs.
        """
        return _loaded(Path(folder))[0]

    def page(self, pictures: Path, *, title: str = "", command: str = "") -> "Report":
        """Return the page of the run."""
        from tokendyn.forecast.run_page import run_report

        return run_report(self, title=title or f"Forecast of {self.source}", command=command)

    def _forecasts(self) -> Forecasts:
        """Return the forecast as files hold it."""
        steps = len(self.forecast.values)
        pasts = (self.past, *self.further_past)
        return Forecasts(
            self.forecasts, pasts, steps, self.source, self.past.time_name, self.series if self.further else None
        )

    def _about_data(self, command: str) -> dict[str, Any]:
        """Return the record beside the model: how its data were read, and its error on the held-out part."""
        head = {"schema": DATA_SCHEMA, "schema_version": DATA_SCHEMA_VERSION, **self.reading, "source": self.source}
        held_out = None if self.held_out is None else plain(self.held_out.numbers())
        return head | {"held_out": held_out, "account": self.account, "command": command}

    def _field_files(self) -> list[str]:
        """Return the name of the file of each forecast of fields."""
        return [f"forecast-{k}.nc" for k in range(1, len(self.forecasts) + 1)] if self.further else ["forecast.nc"]

    def _stamp(self, step: int) -> str:
        """Return the time of a step of the forecast as it is written."""
        return stamps(self.past.times[-1] + self.past.dt * np.array([step + 1.0]), self.past)[0]


def linear_spectrum(series: Snapshots, season: int | None) -> tuple[Spectrum | None, bool]:
    """Return the spectrum of TD-DMD of the data, of many columns by their coefficients, and whether its modes are maps.

    The delays are a season and one, or twenty, as far as the columns allow; the rank is that of Gavish and Donoho.
    """
    wide = series.values.shape[1] > WIDE
    rows = len(series)
    try:
        if not wide:
            delays = _spectrum_delays(rows, series.values.shape[1], season)
            linear: Any = TDDMD(delays=delays, rank=AUTO).fit(replace(series, inputs=None, input_names=()))
            return linear.spectrum(linear.last_window_), series.grid is not None
        field_model = FieldForecaster(modes=AUTO, most_modes=20)
        arrays, none = [series.values], [np.empty((rows, 0))]
        coefficients = field_model.reduce(arrays, none, series.dt, open_series(series).form)
        delays = _spectrum_delays(rows, coefficients[0].shape[1], season)
        member = TDDMD(delays=delays, rank=AUTO).fit(coefficients[0], dt=series.dt)
        return field_model.adopt(member, arrays, none).spectrum(), series.grid is not None
    except (TokendynError, np.linalg.LinAlgError):
        return None, False


def _spectrum_delays(rows: int, columns: int, season: int | None) -> int:
    wanted = season + 1 if season else _SPECTRUM_DELAYS
    return max(1, min(wanted, rows // 4, _SPECTRUM_COLUMNS // columns))


def _loaded(folder: Path) -> tuple[ForecastRun, dict[str, Any]]:
    """Return a run, and its record."""
    record = read_json(folder / RECORD, schema=RUN_SCHEMA, version=RUN_SCHEMA_VERSION)
    if _PACKED not in record:
        raise BadInputError(
            f"{folder} is of an earlier version, which kept no whole run; read its model: load({folder.name!r} + "
            "'/model')"
        )
    tensors = read_tensors(folder / TENSORS)
    try:
        values = unpack(record[_PACKED], tensors, _PARTS, folder)
        run = ForecastRun(model=Forecaster.load(folder / "model"), **values)
        check_fields(ForecastRun, values, folder / RECORD)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(f"{folder} is damaged: its parts do not fit together ({error})") from None
    return run, record


def saved_report(folder: Path, pictures: Path) -> "Report":
    """Return the page of a saved run, its pictures drawn anew into the folder ``pictures``."""
    run, record = _loaded(folder)
    return run.page(pictures, command=str(record.get("command", "")))
