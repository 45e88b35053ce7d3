"""In which form a series was given, so that its forecast comes back in the same form: index, dates, names, coordinates.

Arrays are given back as arrays, a DataFrame with a DatetimeIndex as one whose dates go on, xarray objects with their
coordinates, :class:`~tokendyn.data.snapshots.Snapshots` as Snapshots. pandas and xarray are imported only when used.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from tokendyn.data.snapshots import Snapshots, dates_after
from tokendyn.data.snapshots.series import check_times
from tokendyn.errors import BadInputError
from tokendyn.results.fields import check_fields

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["array", "frame", "column", "dataarray", "dataset", "snapshots"]

#: Names that mark the times in a table, as in the readers.
_TIME_NAMES = ("time", "t")
#: Largest relative difference of two time steps that count as the same.
_SAME_STEP = 1e-3


@dataclass(frozen=True)
class TimeAxis:
    """The times of a series, as far as their continuation needs them.

    Attributes
    ----------
    kind
        ``"row"``, ``"number"``, ``"date"``, ``"period"`` or ``"duration"``.
    last
        The last time: a number, or a date or period as text.
    step
        Between two times: a number; of dates and durations, seconds; None where ``frequency`` says it.
    frequency
        Of dates and periods, in the words of pandas.
    name, zone
        Name of the index, and time zone of its dates.
    """

    kind: Literal["row", "number", "date", "period", "duration"]
    last: int | float | str
    step: int | float | None = None
    frequency: str | None = None
    name: str | None = None
    zone: str | None = None

    def after(self, steps: int) -> "pd.Index[Any]":
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
        date = pd.Timestamp(self.last)
        date = date if self.zone is None else date.tz_convert(self.zone)
        if self.frequency is not None:
            return pd.date_range(date, periods=steps + 1, freq=self.frequency, name=self.name)[1:]
        gaps = pd.to_timedelta(np.round(1e9 * float(self.step or 1.0) * np.arange(1, steps + 1)), unit="ns")
        return pd.DatetimeIndex(date + gaps, name=self.name)


@dataclass(frozen=True)
class Form:
    """What a series was, beside its numbers.

    Attributes
    ----------
    kind
        Of the object.
    names
        Of the features; empty where they had none.
    axis
        Of the times.
    dt
        The time step that the series itself states; None when it states none.
    extra
        What the kind needs besides, as JSON values.
    """

    kind: Kind
    names: tuple[str, ...] = ()
    axis: TimeAxis | None = None
    dt: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def index(self, times: Float[np.ndarray, " steps"]) -> "pd.Index[Any]":
        """Return the index after the series, or the times since its last snapshot when it has none of its own."""
        import pandas as pd

        if self.axis is None:
            return pd.Index(times, name="time")
        if "epoch" in self.extra:
            seconds = np.asarray(self.axis.after(len(times)), dtype=np.float64)
            return pd.DatetimeIndex(pd.to_datetime(dates_after(seconds, self.extra["epoch"])), name="time")
        return self.axis.after(len(times))

    def given_back(self, values: Float[np.ndarray, "steps features"], times: Float[np.ndarray, " steps"]) -> Any:
        """Return forecast values as what the series was."""
        if self.kind == "array":
            return values
        if self.kind == "snapshots":
            return self._snapshots(values, times)
        index = self.index(times)
        if self.kind in ("frame", "column"):
            import pandas as pd

            frame = pd.DataFrame(values, index=index, columns=list(self.extra["columns"]))
            return frame if self.kind == "frame" else frame.iloc[:, 0].rename(self.extra["columns"][0])
        return self._xarray(values, index)

    def _snapshots(self, values: np.ndarray, times: np.ndarray) -> Snapshots:
        last = float(self.axis.last) if self.axis is not None else 0.0
        dt, epoch = float(self.dt or 1.0), self.extra.get("epoch")
        return Snapshots(values, last + times, dt, self.names, source="forecast", epoch=epoch)

    def _xarray(self, values: np.ndarray, index: "pd.Index[Any]") -> Any:
        import xarray

        time = self.extra["time"]
        along = {} if self.axis is None or self.axis.kind == "row" else {time: ((time,), index)}
        coords = along | {name: (tuple(dims), np.array(entry)) for name, dims, entry in self.extra["coords"]}
        start, arrays = 0, {}
        for name, dims, shape, attrs in self.extra["variables"]:
            size = math.prod(shape)
            part = values[:, start : start + size].reshape(len(values), *shape)
            own = {key: entry for key, entry in coords.items() if set(entry[0]) <= {time, *dims}}
            arrays[name] = xarray.DataArray(part, dims=(time, *dims), coords=own, attrs=attrs, name=name)
            start += size
        if self.kind == "dataset":
            return xarray.Dataset({str(name): array.variable for name, array in arrays.items()}, coords=coords)
        return next(iter(arrays.values()))

    def record(self) -> dict[str, Any]:
        """Return the form as JSON values."""
        return asdict(self)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Form":
        """Return what :meth:`record` gave; TypeError or KeyError where it does not fit."""
        axis = record["axis"]
        extra = dict(record["extra"])
        check_fields(cls, {name: record[name] for name in ("kind", "dt")}, "the form of the series")
        # Names of an index are whatever pandas takes for one.
        check_fields(TimeAxis, {name: value for name, value in (axis or {}).items() if name != "name"}, "its times")
        return cls(record["kind"], tuple(record["names"]), axis and TimeAxis(**axis), record["dt"], extra)


@dataclass(frozen=True)
class Opened:
    """A series, or a list of them, as arrays.

    Attributes
    ----------
    values
        What was given, with arrays in place of tables.
    inputs
        Known inputs that came with it; None where there were none.
    form
        Of the only series, or of the last of several; kind ``"array"`` for plain arrays.
    """

    values: Any
    inputs: Any
    form: Form


def open_series(series: Any) -> Opened:
    """Return series as arrays with their form; what is no table, xarray or Snapshots is passed on as it is.

    Raises
    ------
    BadInputError
        If a table holds text, its times are not uniform, or several series have different time steps.
    """
    if isinstance(series, list | tuple) and series and all(_known(one) for one in series):
        parts = [_open(one, f"series[{number}]") for number, one in enumerate(series)]
        steps = [part.form.dt for part in parts if part.form.dt is not None]
        if steps and max(steps) > min(steps) * (1 + _SAME_STEP):
            raise BadInputError(f"time steps of the series run from {min(steps):g} to {max(steps):g}; resample them")
        inputs = [part.inputs for part in parts]
        return Opened([part.values for part in parts], inputs if inputs[0] is not None else None, parts[-1].form)
    return _open(series, "series") if _known(series) else Opened(series, None, Form("array"))


def open_window(window: Any, trained: Form, what: str = "window") -> Opened:
    """Return a window as an array whose columns are those of the training, by their names where both have some.

    Raises
    ------
    BadInputError
        As :func:`open_series`; if a column of the training is missing, or the time step is another one.
    """
    if not _known(window):
        return Opened(window, None, Form("array", trained.names))
    opened = _open(window, what)
    names = opened.form.names
    if trained.dt and opened.form.dt and abs(opened.form.dt - trained.dt) > _SAME_STEP * trained.dt:
        raise BadInputError(
            f"{what} has a time step of {opened.form.dt:g}, expected {trained.dt:g} as in the training series; "
            "resample it"
        )
    if not trained.names or not names or names == trained.names:
        return opened
    absent = [name for name in trained.names if name not in names]
    if absent:
        raise BadInputError(
            f"{what} has no column {', '.join(map(repr, absent[:10]))}, which the model was fitted to; it has "
            f"{', '.join(map(repr, names[:10]))}"
        )
    places = [names.index(name) for name in trained.names]
    columns = opened.form.extra.get("columns")
    extra = opened.form.extra if columns is None else {**opened.form.extra, "columns": [columns[k] for k in places]}
    return replace(opened, values=opened.values[:, places], form=replace(opened.form, names=trained.names, extra=extra))


def _known(series: Any) -> bool:
    return isinstance(series, Snapshots) or type(series).__module__.split(".")[0] in ("pandas", "xarray")


def _open(series: Any, what: str) -> Opened:
    if isinstance(series, Snapshots):
        axis = TimeAxis("number", float(series.times[-1]), series.dt, name="time")
        extra = {} if series.epoch is None else {"epoch": series.epoch}
        return Opened(series.values, series.inputs, Form("snapshots", series.names, axis, series.dt, extra))
    if type(series).__module__.split(".")[0] == "xarray":
        return _open_xarray(series, what)
    if not hasattr(series, "index"):
        raise BadInputError(f"{what} is a pandas {type(series).__name__}; expected a DataFrame or a Series")
    return _open_frame(series, what)


def _open_frame(table: Any, what: str) -> Opened:
    """Open a DataFrame or a Series of pandas."""
    column = not hasattr(table, "columns")
    frame = table.to_frame() if column else table
    marked = [name for name in frame.columns if str(name).lower() in _TIME_NAMES]
    if marked and len(frame.columns) > 1:
        # As in the readers; dates that are text become dates.
        frame = frame.set_index(marked[0])
        if frame.index.dtype.kind not in "iufMm" and not hasattr(frame.index, "freq"):
            frame.index = _dates(frame.index, what, str(marked[0]))
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


def _dates(index: Any, what: str, name: str) -> Any:
    import pandas as pd

    try:
        return pd.DatetimeIndex(pd.to_datetime(index), name=name)
    except (ValueError, TypeError) as error:
        raise BadInputError(f"{what}: column {name!r} holds neither numbers nor dates ({error})") from None


def _open_xarray(table: Any, what: str) -> Opened:
    """Open a DataArray or a Dataset: the dimension ``time`` or ``t``, else the first, is time."""
    dims = [str(name) for name in table.dims]
    if not dims:
        raise BadInputError(f"{what} has no dimension; expected values over time")
    time = next((name for name in dims if name.lower() in _TIME_NAMES), dims[0])
    single = not hasattr(table, "data_vars")
    variables = {table.name: table} if single else {name: table[name] for name in table.data_vars}
    moving = {name: array.transpose(time, ...) for name, array in variables.items() if time in array.dims}
    if not moving:
        raise BadInputError(f"{what} has no variable over {time!r}; expected values over time")
    parts, names, shapes = [], [], []
    for name, array in moving.items():
        if array.dtype.kind not in "iufb":
            raise BadInputError(f"{what}: {name!r} holds {array.dtype}, expected real numbers")
        shape = array.shape[1:]
        size = math.prod(shape)
        stem = "x" if name is None else str(name)
        names += [stem] if not shape else [f"{stem}{number}" for number in range(size)]
        parts.append(np.asarray(array.values, dtype=np.float64).reshape(len(array), size))
        attrs = {str(key): value for key, value in array.attrs.items() if isinstance(value, str | int | float)}
        shapes.append([name, [str(dim) for dim in array.dims[1:]], list(shape), attrs])
    axis, dt = (None, None) if time not in table.indexes else _axis_of(table.indexes[time], what)
    still = [
        [str(name), [str(dim) for dim in coord.dims], coord.values.tolist()]
        for name, coord in table.coords.items()
        if time not in coord.dims and coord.dtype.kind in "iufbU"
    ]
    extra = {"time": time, "variables": shapes, "coords": still}
    kind: Kind = "dataarray" if single else "dataset"
    return Opened(np.concatenate(parts, axis=1), None, Form(kind, tuple(names), axis, dt, extra))


def _axis_of(index: Any, what: str) -> tuple[TimeAxis, float | None]:
    """Return the times of a pandas index, and their step as a number (of dates in seconds)."""
    import pandas as pd

    name = None if index.name is None else str(index.name)
    if isinstance(index, pd.PeriodIndex):
        return TimeAxis("period", str(index[-1]), frequency=index.freqstr, name=name), None
    if isinstance(index, pd.DatetimeIndex):
        return _dated_axis(index, what, name)
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
    """Return the axis of dates: by their frequency where they have one, as calendar months do, else by equal steps."""
    import pandas as pd

    if index.isna().any():
        raise BadInputError(f"{what}: some times are no dates (NaT); remove or repair these rows")
    zone = None if index.tz is None else str(index.tz)
    seconds = np.asarray((index - index[0]).total_seconds(), dtype=np.float64)
    gaps = np.diff(seconds)
    uniform = len(gaps) > 0 and bool((gaps == gaps[0]).all())
    frequency: Any = index.freqstr
    if frequency is None and not uniform and len(index) > 2:
        with warnings.catch_warnings():  # pandas 4 will return an offset in place of its name
            warnings.simplefilter("ignore", category=DeprecationWarning)
            frequency = pd.infer_freq(index)
        frequency = getattr(frequency, "freqstr", frequency)
    step = float(gaps[0]) if uniform else None if frequency is not None else _uniform_step(seconds, what)
    return TimeAxis("date", index[-1].isoformat(), step, frequency, name, zone), step


def _uniform_step(times: np.ndarray, what: str) -> float:
    # fit has no option that fills, as the readers have: a table is filled before.
    _, _, step, problems = check_times(times, remedy="fill them first, in pandas by asfreq and interpolate")
    if problems:
        raise BadInputError.first_of(f"the times of {what}", problems, "problems")
    return step


def joined_inputs(known: np.ndarray | None, inputs: Any, steps: int) -> Any:
    """Return the inputs of the last window and those of the horizon together, where only the latter were given."""
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
    """Return the names of the features, ``x0, x1, ...`` where they have none."""
    return form.names if len(form.names) == features else [f"x{number}" for number in range(features)]
