"""The form of a series, so that its forecast has the same form: index, dates, names, coordinates.

A forecast of an array is an array; of a DataFrame with a DatetimeIndex, a DataFrame whose dates continue; of an xarray
object, an xarray object with its coordinates; of :class:`~tokendyn.data.snapshots.Snapshots`, Snapshots. pandas and
xarray are imported only when used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from tokendyn.data.snapshots import Snapshots, index_after
from tokendyn.data.snapshots.calendars import (
    calendar_of,
    dates_of_texts,
    dates_on,
    day_first,
    infer,
    seasons_of,
    seasons_of_frequency,
    without_quarters,
)
from tokendyn.data.snapshots.clocks import is_clock
from tokendyn.data.snapshots.columns import LIKELY_TIME_NAMES, TIME_NAMES, check_levels, time_dimension
from tokendyn.data.snapshots.grids import Grid, flattened, grid_of, plain_grid
from tokendyn.data.snapshots.series import check_times, plain_array
from tokendyn.errors import BadInputError, listing
from tokendyn.results.fields import check_fields

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["array", "frame", "column", "dataarray", "dataset", "snapshots"]

#: Largest relative difference of two time steps that count as the same.
_SAME_STEP = 1e-3


@dataclass(frozen=True)
class TimeAxis:
    """The times of a series, as needed for their continuation.

    Attributes
    ----------
    kind
        ``"row"``, ``"number"``, ``"date"``, ``"period"``, ``"duration"``, ``"calendar"`` for dates at the steps of a
        calendar of :mod:`tokendyn.data.snapshots.calendars`, or ``"model"`` for dates of cftime.
    last
        The last time: a number, or a date or period as text.
    step
        Between two times: a number; of dates and durations, seconds; None if ``frequency`` defines it.
    frequency
        Frequency of dates and periods, in the notation of pandas.
    name, zone
        Name of the index, and time zone of its dates; for dates of cftime, their calendar.
    """

    kind: Literal["row", "number", "date", "period", "duration", "calendar", "model"]
    last: int | float | str
    step: int | float | None = None
    frequency: str | None = None
    name: str | None = None
    zone: str | None = None

    def after(self, steps: int) -> "pd.Index[Any]":  # noqa: PLR0911  (one for each kind of time)
        """Return the index of the next steps."""
        import pandas as pd

        if self.kind in ("row", "number"):
            return pd.Index(self.last + self.step * np.arange(1, steps + 1), name=self.name)  # type: ignore[operator]
        if self.kind == "duration":
            seconds = self.last + self.step * np.arange(1, steps + 1)  # type: ignore[operator]
            return pd.Index(pd.to_timedelta(np.round(1e9 * seconds), unit="ns"), name=self.name)
        if self.kind == "period":
            last = pd.Period(str(self.last), freq=self.frequency)
            return pd.period_range(last, periods=steps + 1, freq=self.frequency, name=self.name)[1:]
        if self.kind == "calendar":
            return pd.Index(dates_on(str(self.frequency), str(self.last), np.arange(1, steps + 1)), name=self.name)
        if self.kind == "model":
            import xarray

            dates: Any = xarray.date_range(
                str(self.last), periods=steps + 1, freq=self.frequency, calendar=str(self.zone), use_cftime=True
            )
            return dates[1:].rename(self.name)
        date = pd.Timestamp(self.last)
        date = date if self.zone is None else date.tz_convert(self.zone)
        if self.frequency is not None:
            return pd.date_range(date, periods=steps + 1, freq=self.frequency, name=self.name)[1:]
        gaps = pd.to_timedelta(np.round(1e9 * float(self.step or 1.0) * np.arange(1, steps + 1)), unit="ns")
        return pd.DatetimeIndex(date + gaps, name=self.name)


@dataclass(frozen=True)
class Form:
    """The form of a series, without its numbers.

    Attributes
    ----------
    kind
        Kind of the object.
    names
        Names of the features; empty if they had none.
    axis
        The times.
    dt
        The time step of the series; None if the series does not have one.
    extra
        Further data of the kind, as JSON values.
    grid
        The fields that the features are points of; None for plain columns.
    """

    kind: Kind
    names: tuple[str, ...] = ()
    axis: TimeAxis | None = None
    dt: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    grid: Grid | None = None

    def index(self, times: Float[np.ndarray, " steps"]) -> "pd.Index[Any]":
        """Return the index after the series, or the times since its last snapshot if it has no index."""
        import pandas as pd

        if self.axis is None:
            return pd.Index(times, name="time")
        if "epoch" in self.extra:
            after = np.asarray(self.axis.after(len(times)), dtype=np.float64)
            return index_after(after, self.extra["epoch"], self.extra.get("calendar")).rename(self.axis.name)
        return self.axis.after(len(times))

    @property
    def seasons(self) -> tuple[int, ...]:
        """Steps of the seasons that the calendar of the times suggests: 12 of months, 7 of days."""
        if self.axis is None or (self.kind == "snapshots" and "epoch" not in self.extra):
            return ()
        if self.kind == "snapshots":
            return seasons_of(self.extra.get("calendar"), self.dt)
        if self.axis.kind == "calendar":
            return seasons_of(self.axis.frequency, None)
        if self.axis.frequency is not None:
            return seasons_of_frequency(self.axis.frequency)
        return seasons_of(None, self.dt) if self.axis.kind == "date" else ()

    def given_back(self, values: Float[np.ndarray, "steps features"], times: Float[np.ndarray, " steps"]) -> Any:
        """Return forecast values in the form of the series."""
        if self.kind == "array":
            return values if self.grid is None else self.grid.whole(values)[0]
        if self.kind == "snapshots":
            return self.snapshots(values, times)
        index = self.index(times)
        if self.kind in ("frame", "column"):
            import pandas as pd

            frame = pd.DataFrame(values, index=index, columns=list(self.extra["columns"]))
            return frame if self.kind == "frame" else frame.iloc[:, 0].rename(self.extra["columns"][0])
        return self.fields(values, times)

    def fields(self, values: Float[np.ndarray, "steps features"], times: Float[np.ndarray, " steps"]) -> Any:
        """Return rows of a series with a grid as an xarray object with its coordinates, masked points as NaN."""
        assert self.grid is not None  # of the kinds that have one
        unnamed = self.axis is None or (self.axis.kind == "row" and self.kind != "snapshots")
        return self.grid.to_xarray(values, None if unnamed else self.index(times))

    def snapshots(
        self, values: Float[np.ndarray, "steps features"], times: Float[np.ndarray, " steps"], source: str = "forecast"
    ) -> Snapshots:
        """Return rows as Snapshots, at times after the last one of the series."""
        last = float(self.axis.last) if self.axis is not None and self.axis.kind == "number" else 0.0
        names = tuple(names_of(self, values.shape[1]))
        time_name = "time" if self.axis is None or self.axis.name is None else self.axis.name
        epoch, calendar = self.extra.get("epoch"), self.extra.get("calendar")
        return Snapshots(
            values, last + times, float(self.dt or 1.0), names, source=source, epoch=epoch, calendar=calendar,
            grid=self.grid, time_name=time_name,
        )  # fmt: skip

    def record(self) -> dict[str, Any]:
        """Return the form as JSON values."""
        plain = asdict(replace(self, grid=None))
        return plain | {"grid": None if self.grid is None else self.grid.record()}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Form":
        """Return the form of a :meth:`record`; raise TypeError or KeyError if it does not fit."""
        axis = record["axis"]
        extra = dict(record["extra"])
        grid = None if record.get("grid") is None else Grid.read(record["grid"])
        check_fields(cls, {name: record[name] for name in ("kind", "dt")}, "the form of the series")
        # Names of an index are whatever pandas takes for one.
        check_fields(TimeAxis, {name: value for name, value in (axis or {}).items() if name != "name"}, "its times")
        return cls(record["kind"], tuple(record["names"]), axis and TimeAxis(**axis), record["dt"], extra, grid)


@dataclass(frozen=True)
class Opened:
    """A series, or a list of them, as arrays.

    Attributes
    ----------
    values
        The given series, with arrays instead of tables.
    inputs
        Known inputs of the series; None if there were none.
    form
        Form of the only series, or of the last of several; kind ``"array"`` for plain arrays.
    """

    values: Any
    inputs: Any
    form: Form


def open_series(series: Any) -> Opened:
    """Return series as arrays with their form; what is not a table, xarray, Snapshots or field is passed on unchanged.

    Raises
    ------
    BadInputError
        If a table holds text, its times are not uniform, or several series have different time steps or columns.
    """
    if isinstance(series, list | tuple) and series and all(_known(part) for part in series):
        first = _open(series[0], "series[0]")
        parts = [first, *(open_window(part, first.form, f"series[{n}]") for n, part in enumerate(series[1:], start=1))]
        inputs = [part.inputs for part in parts]
        return Opened([part.values for part in parts], inputs if inputs[0] is not None else None, parts[-1].form)
    return _open(series, "series") if _known(series) else Opened(series, None, Form("array"))


def open_window(window: Any, trained: Form, what: str = "window") -> Opened:
    """Return a window as an array with the columns of the training, matched by name if both have names.

    Raises
    ------
    BadInputError
        As :func:`open_series`; if a column of the training is missing, or the time step differs.
    """
    if not _known(window):
        return Opened(window, None, Form("array", trained.names))
    opened = _open(window, what, masking=trained.grid is None)
    names = opened.form.names
    if trained.dt and opened.form.dt and abs(opened.form.dt - trained.dt) > _SAME_STEP * trained.dt:
        raise BadInputError(
            f"{what} has a time step of {opened.form.dt:g}, expected {trained.dt:g} as in the training series; "
            "resample it"
        )
    if not trained.names or not names or names == trained.names:
        return opened
    place = {name: number for number, name in enumerate(names)}
    absent = [name for name in trained.names if name not in place]
    if absent:
        raise BadInputError(
            f"{what} has no column {listing([repr(name) for name in absent])}, which the model was fitted to; it has "
            f"{listing([repr(name) for name in names])}"
        )
    places = [place[name] for name in trained.names]
    columns = opened.form.extra.get("columns")
    extra = opened.form.extra if columns is None else {**opened.form.extra, "columns": [columns[k] for k in places]}
    grid = opened.form.grid
    if grid is not None and trained.grid is not None:
        # The mask is that of the training; a field with more variables takes the whole grid of the training.
        same = grid.points == trained.grid.points
        grid = replace(grid, kept=trained.grid.kept) if same else trained.grid
    form = replace(opened.form, names=trained.names, extra=extra, grid=grid)
    return replace(opened, values=opened.values[:, places], form=form)


def _known(series: Any) -> bool:
    """Return whether a series has a form beside its numbers; an array has one if it is a field ``(time, *space)``."""
    if isinstance(series, np.ndarray):
        return series.ndim > 2
    return isinstance(series, Snapshots) or type(series).__module__.split(".")[0] in ("pandas", "xarray")


def _open(series: Any, what: str, *, masking: bool = True) -> Opened:
    if isinstance(series, np.ndarray):
        series = plain_array(series)
        values, grid = flattened([series], plain_grid({None: series.shape}, single=True), what, masking=masking)
        return Opened(values, None, Form("array", grid.names(), grid=grid))
    if isinstance(series, Snapshots):
        axis = TimeAxis("number", float(series.times[-1]), series.dt, name=series.time_name)
        extra = {name: value for name in ("epoch", "calendar") if (value := getattr(series, name)) is not None}
        return Opened(
            series.values, series.inputs, Form("snapshots", series.names, axis, series.dt, extra, series.grid)
        )
    if type(series).__module__.split(".")[0] == "xarray":
        return _open_xarray(series, what, masking=masking)
    if not hasattr(series, "index"):
        raise BadInputError(f"{what} is a pandas {type(series).__name__}; expected a DataFrame or a Series")
    return _open_frame(series, what)


def _open_frame(table: Any, what: str) -> Opened:
    """Open a DataFrame or a Series of pandas."""
    column = not hasattr(table, "columns")
    frame = table if not column else table.to_frame("x" if table.name is None else table.name)
    check_levels(frame.index, what)
    frame = frame.infer_objects()
    marked = [name for name in frame.columns if str(name).lower() in TIME_NAMES] or _likely_times(frame)
    if marked and len(frame.columns) > 1:
        # As in the readers; text with dates becomes dates.
        frame = frame.set_index(marked[0])
        if frame.index.dtype.kind not in "iufMm" and not hasattr(frame.index, "freq"):
            frame.index = _dates(frame.index, what, str(marked[0]))
    dates = dates_of_texts(frame.index)
    frame = frame if dates is None else frame.set_axis(dates)
    names = tuple(map(str, frame.columns))
    texts = [name for name, kind in zip(names, frame.dtypes, strict=True) if getattr(kind, "kind", "O") not in "iufb"]
    if texts:
        shown = ", ".join(map(repr, texts[:10]))
        dates = [name for name in frame.columns if frame.dtypes[name].kind == "M"] if frame.columns.is_unique else []
        remedy = f"; dates make the index: {what}.set_index({dates[0]!r})" if dates else ""
        raise BadInputError(
            f"{what}: columns {shown} do not hold numbers; leave them out, or make them numbers{remedy}"
        )
    axis, dt = _axis_of(frame.index, what)
    columns = [name.item() if isinstance(name, np.generic) else name for name in frame.columns]
    plain = [name if isinstance(name, str | int | float | None) else str(name) for name in columns]
    kind: Kind = "column" if column else "frame"
    extra: dict[str, Any] = {"columns": [None] if column and table.name is None else plain}
    return Opened(frame.to_numpy(dtype=np.float64, na_value=np.nan), None, Form(kind, names, axis, dt, extra))


def _likely_times(frame: Any) -> list[Any]:
    """Return the column of a usual name that holds dates, or numbers that grow; none if the index holds dates."""
    if frame.index.dtype.kind == "M" or hasattr(frame.index, "freq") or not frame.columns.is_unique:
        return []
    lower = {str(name).strip().lower(): name for name in frame.columns}
    likely = [lower[name] for name in LIKELY_TIME_NAMES if name in lower]
    return [name for name in likely if is_clock(frame[name].to_numpy())][:1]


def _dates(index: Any, what: str, name: str) -> Any:
    import pandas as pd

    try:
        return pd.DatetimeIndex(pd.to_datetime(without_quarters(index), dayfirst=day_first(index)), name=name)
    except (ValueError, TypeError) as error:
        raise BadInputError(f"{what}: column {name!r} holds neither numbers nor dates ({error})") from None


def _open_xarray(table: Any, what: str, *, masking: bool) -> Opened:
    """Open a DataArray or a Dataset: time is the dimension ``time`` or ``t``, else one of dates, else the first."""
    time = time_dimension(table.dims, table.coords)
    if time is None:
        raise BadInputError(f"{what} has no dimension; expected values over time")
    single = not hasattr(table, "data_vars")
    variables = {table.name: table} if single else {name: table[name] for name in table.data_vars}
    moving = {name: array.transpose(time, ...) for name, array in variables.items() if time in array.dims}
    if not moving:
        raise BadInputError(f"{what} has no variable over {time!r}; expected values over time")
    for name, array in moving.items():
        if array.dtype.kind == "c":
            raise BadInputError(
                f"{what}: {name!r} is complex; give real and imaginary parts as variables of their own: "
                f"xarray.Dataset({{'real': x.real, 'imaginary': x.imag}})"
            )
        if array.dtype.kind not in "iufb":
            raise BadInputError(f"{what}: {name!r} holds {array.dtype}, expected real numbers")
    axis, dt = (None, None) if time not in table.indexes else _axis_of(table.indexes[time], what)
    arrays = [np.asarray(array.values, dtype=np.float64) for array in moving.values()]
    values, grid = flattened(arrays, grid_of(moving, table, time, single=single), what, masking=masking)
    kind: Kind = "dataarray" if single else "dataset"
    return Opened(values, None, Form(kind, grid.names(), axis, dt, grid=grid))


def _axis_of(index: Any, what: str) -> tuple[TimeAxis, float | None]:  # noqa: PLR0911  (one for each kind of index)
    """Return the times of a pandas index, and their step as a number (of dates in seconds)."""
    import pandas as pd

    name = None if index.name is None else str(index.name)
    if isinstance(index, pd.PeriodIndex):
        return TimeAxis("period", str(index[-1]), frequency=index.freqstr, name=name), None
    if isinstance(index, pd.DatetimeIndex):
        return _dated_axis(index, what, name)
    if type(index).__name__ == "CFTimeIndex":
        return _model_axis(index, what, name)
    if isinstance(index, pd.TimedeltaIndex):
        seconds = np.asarray(index.total_seconds(), dtype=np.float64)
        step = _uniform_step(seconds, what)
        return TimeAxis("duration", float(seconds[-1]), step, name=name), step
    if isinstance(index, pd.RangeIndex) or index.dtype.kind not in "iuf":
        last, step = (index[-1], index.step) if isinstance(index, pd.RangeIndex) and len(index) else (len(index) - 1, 1)
        return TimeAxis("row", int(last), int(step), name=name), None
    numbers = index.to_numpy()
    gap = _uniform_step(numbers.astype(np.float64), what)
    if index.dtype.kind in "iu":
        return TimeAxis("number", int(numbers[-1]), round(gap), name=name), gap
    return TimeAxis("number", float(numbers[-1]), gap, name=name), gap


def _dated_axis(index: "pd.DatetimeIndex", what: str, name: str | None) -> tuple[TimeAxis, float | None]:
    """Return the axis of dates: by their frequency if they have one, as calendar months do, else by equal steps."""
    if index.isna().any():
        raise BadInputError(f"{what}: some times are no dates (NaT); remove or repair these rows")
    zone = None if index.tz is None else str(index.tz)
    seconds = np.asarray((index - index[0]).total_seconds(), dtype=np.float64)
    gaps = np.diff(seconds)
    uniform = len(gaps) > 0 and bool((gaps == gaps[0]).all())
    # An offset without a name of its own (DateOffset(months=1)) cannot be read back from its text.
    frequency: Any = None if index.freqstr is None or index.freqstr.startswith("<") else index.freqstr
    if frequency is None and not uniform and len(index) > 2:
        frequency = infer(index)
        on_calendar = calendar_of(index) if frequency is None and zone is None else None
        if on_calendar is not None and (np.diff(on_calendar[1]) == 1).all():
            return TimeAxis("calendar", index[-1].isoformat(), None, on_calendar[0], name), None
    step = float(gaps[0]) if uniform else None if frequency is not None else _uniform_step(seconds, what)
    return TimeAxis("date", index[-1].isoformat(), step, frequency, name, zone), step


def _model_axis(index: Any, what: str, name: str | None) -> tuple[TimeAxis, float | None]:
    """Return the axis of dates of cftime."""
    import xarray

    infer_frequency: Any = xarray.infer_freq
    frequency = infer_frequency(index) if len(index) > 2 else None
    if frequency is None:
        raise BadInputError(f"the times of {what} are of no frequency that xarray knows; resample them")
    return TimeAxis("model", index[-1].isoformat(), None, frequency, name, index.calendar), None


def _uniform_step(times: np.ndarray, what: str) -> float:
    # fit has no fill option, unlike the readers: a table must be filled before.
    _, _, step, problems = check_times(times, remedy="fill them first, in pandas by asfreq and interpolate")
    if problems:
        raise BadInputError.first_of(f"the times of {what}", problems, "problems")
    return step


def joined_inputs(known: np.ndarray | None, inputs: Any, steps: int) -> Any:
    """Return the inputs of the last window and of the horizon together, if only the latter were given."""
    if inputs is None or known is None:
        return inputs
    ahead = np.asarray(inputs)
    ahead = ahead[:, None] if ahead.ndim == 1 else ahead
    if len(ahead) != steps or ahead.ndim != 2 or ahead.shape[1] != known.shape[1]:
        return inputs
    return np.concatenate([known, ahead])


def plain_inputs(inputs: Any) -> Any:
    """Return inputs as arrays."""
    if isinstance(inputs, list | tuple) and inputs and all(_known(one) for one in inputs):
        return [_open(one, "inputs").values for one in inputs]
    return _open(inputs, "inputs").values if _known(inputs) else inputs


def names_of(form: Form, features: int) -> Sequence[str]:
    """Return the names of the features, ``x0, x1, ...`` if they have none."""
    return form.names if len(form.names) == features else [f"x{number}" for number in range(features)]
