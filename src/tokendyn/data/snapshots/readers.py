"""Snapshots from files and tables, with every check that a forecast relies on."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from tokendyn.data.snapshots.columns import Columns, open_columns
from tokendyn.data.snapshots.series import Snapshots, listed, snapshots
from tokendyn.errors import BadInputError

#: Most features of one series; a field with more is reduced by POD.
MOST_FEATURES = 20_000


def read_snapshots(
    table: Any,
    time: str | None = None,
    columns: Sequence[str] | None = None,
    inputs: Sequence[str] = (),
    fill: str | None = None,
    dt: float | None = None,
) -> Snapshots:
    """Read one series of snapshots from a file, or take it from a table in memory.

    Parameters
    ----------
    table
        A path (``.csv``, ``.tsv``, both also ``.gz``; ``.parquet``, ``.npz``, ``.npy``, ``.h5``, ``.nc``), a
        DataFrame, an xarray Dataset or DataArray, a mapping of arrays, or an array ``(time, features)``.
    time
        Column with the times, as numbers or as dates (then the unit is the second). By default a column named
        ``time`` or ``t``, if there is one; else rows are ``dt`` apart (1 by default).
    columns
        Columns, arrays or variables to forecast; by default all but time and inputs. Arrays of more than one
        dimension give one feature for each entry beyond the first axis.
    inputs
        Columns with known inputs.
    fill
        ``"linear"`` or ``"previous"`` fills NaN gaps and missing times; by default they are errors.
    dt
        Time between rows; with a time column, the step that is expected.

    Raises
    ------
    BadInputError
        For a file that cannot be read whole, columns that are not there (the message says which are), text, complex,
        infinite or missing numbers, constant columns, and times that are unsorted, duplicate, missing or not
        uniform; rows are named, the first row of data is 1.
    """
    with open_columns(table) as available:
        chosen = _choose(available, time, columns, inputs, None)
        return chosen.series(slice(None), fill, dt, available.source)


def read_trajectories(
    table: Any,
    series: str,
    time: str | None = None,
    columns: Sequence[str] | None = None,
    inputs: Sequence[str] = (),
    fill: str | None = None,
    dt: float | None = None,
) -> list[Snapshots]:
    """Read several series from one table, told apart by the column ``series``, in order of first appearance.

    Parameters are those of :func:`read_snapshots`. A feature may be constant in one series, not in all. Rows are
    counted within their series.

    Raises
    ------
    BadInputError
        As :func:`read_snapshots`, for every series at once, and when their time steps differ.
    """
    with open_columns(table) as available:
        chosen = _choose(available, time, columns, inputs, series)
        labels = available.need(series)
        if labels.ndim != 1:
            raise BadInputError(
                f"{available.source}: {series!r} has shape {labels.shape}; expected one label for each row"
            )
        keys, first, series_of = np.unique(labels.astype(str), return_index=True, return_inverse=True)
        flat = [name for name, column in zip(chosen.names, chosen.values.T, strict=True) if np.ptp(column) == 0]
        if flat:
            raise BadInputError(f"{available.source}: {', '.join(map(repr, flat))} is constant; leave it out")
        parts, problems = [], []
        for key in np.argsort(first):
            try:
                rows = np.flatnonzero(series_of == key)
                label = str(keys[key])
                part = chosen.series(rows, fill, dt, f"{available.source}, series {label!r}", constant=True)
                parts.append(replace(part, label=label))
            except BadInputError as error:
                problems.append(str(error))
        if parts and max(s.dt for s in parts) > min(s.dt for s in parts) * (1 + 1e-3):
            problems.append(f"time steps run from {min(s.dt for s in parts):g} to {max(s.dt for s in parts):g}")
        if problems:
            raise BadInputError.first_of("the series", problems, "series")
        return parts


@dataclass(frozen=True)
class _Chosen:
    """The columns of one table that make its series."""

    values: np.ndarray
    names: tuple[str, ...]
    times: np.ndarray | None
    inputs: np.ndarray | None
    input_names: tuple[str, ...]
    epoch: str | None

    def series(
        self, rows: Any, fill: str | None, dt: float | None, source: str, *, constant: bool = False
    ) -> Snapshots:
        series = snapshots(
            self.values[rows],
            dt,
            None if self.times is None else self.times[rows],
            self.names,
            None if self.inputs is None else self.inputs[rows],
            self.input_names,
            fill,
            source,
            constant_allowed=constant,
        )
        return replace(series, epoch=self.epoch)


def _choose(
    available: Columns, time: str | None, columns: Sequence[str] | None, inputs: Sequence[str], series: str | None
) -> _Chosen:
    """Read the wanted columns; collect what is wrong with them into one error."""
    if not available.shapes:
        raise BadInputError(f"{available.source} holds no columns; expected numbers over time")
    if isinstance(columns, str) or isinstance(inputs, str):
        raise BadInputError(f"columns and inputs are lists of names; got {columns!r} and {inputs!r}")
    time = time or available.time or next((name for name in available.shapes if name.lower() in ("time", "t")), None)
    special = {time, series, *inputs}
    asked = None if columns is None else list(columns)
    others = [name for name in available.shapes if name not in special]
    wanted = others if asked is None else _arrays_of(available, asked)
    if len(wanted) > MOST_FEATURES:
        raise BadInputError(
            f"{available.source} holds {len(wanted)} columns, at most {MOST_FEATURES}; name those to forecast"
        )
    counts = Counter(wanted)
    twice = sorted(name for name in counts if counts[name] > 1 or (columns is not None and name in special))
    problems = [f"{name!r} is asked for twice" for name in twice]
    absent = [name for name in (*wanted, *inputs, time, series) if name is not None and name not in available.shapes]
    for name in absent:
        try:
            available.need(name)
        except BadInputError as error:
            problems.append(str(error).removeprefix(f"{available.source} "))
    if problems:
        raise BadInputError.all_of(available.source, problems)
    if not wanted:
        raise BadInputError(f"{available.source} holds no column besides {', '.join(filter(None, map(str, special)))}")
    lengths = {name: available.shapes[name][0] if available.shapes[name] else 0 for name in (*wanted, *inputs)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise BadInputError(f"{available.source}: lengths differ ({shown}); choose columns of one length")
    values, names = _together(available, wanted)
    if asked is not None and asked != wanted:
        whole = {
            name
            for array in asked
            if array in available.shapes
            for name in _feature_names(array, available.shapes[array])
        }
        kept = [at for at, name in enumerate(names) if name in asked or name in whole]
        values, names = values[:, kept], tuple(names[at] for at in kept)
    driving, input_names = _together(available, list(inputs)) if inputs else (None, ())
    times, epoch = (None, None) if time is None else _times(available, time, len(values))
    return _Chosen(values=values, names=names, times=times, inputs=driving, input_names=input_names, epoch=epoch)


def _arrays_of(available: Columns, asked: list[str]) -> list[str]:
    """Return the columns that hold what is asked for: ``x0`` and ``x2`` are features of an array ``x``.

    A model names the features of the arrays that it was fitted to, and asks for them in the file that it forecasts.
    """
    features = {
        feature: name
        for name, shape in available.shapes.items()
        if int(np.prod(shape[1:])) <= MOST_FEATURES
        for feature in _feature_names(name, shape)
    }
    arrays = [name if name in available.shapes else features.get(name, name) for name in asked]
    several = {array for name, array in zip(asked, arrays, strict=True) if name != array}
    return [array for at, array in enumerate(arrays) if array not in several or array not in arrays[:at]]


def _feature_names(name: str, shape: tuple[int, ...]) -> list[str]:
    """Return the names of the features of a column: its own, or numbered ones when each row holds several numbers."""
    return [name] if len(shape) <= 1 else [f"{name}{i}" for i in range(int(np.prod(shape[1:])))]


def _together(available: Columns, wanted: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return columns side by side and one name for each."""
    count = sum(int(np.prod(available.shapes[name][1:])) for name in wanted)
    if count > MOST_FEATURES:
        raise BadInputError(f"{available.source}: {count} features, at most {MOST_FEATURES}; reduce the field by POD")
    parts, names, problems = [], [], []
    for name in wanted:
        part = available.need(name)
        if part.dtype.kind not in "fiubc":
            dated = part.size and re.match(r"\d{1,4}[-./]\d{1,2}\b", str(part.ravel()[0]))
            hint = f", or name it with time={name!r} if it holds the times" if dated else ""
            problems.append(f"{name!r} {_not_numbers(part)}; choose columns of numbers{hint}")
            continue
        own = _feature_names(name, part.shape)
        names += own
        parts.append(part.reshape(len(part), len(own)))
    if problems:
        raise BadInputError.first_of(available.source, problems, "columns")
    return np.concatenate(parts, axis=1), tuple(names)


def _not_numbers(part: np.ndarray) -> str:
    """Say which entries of a column are not numbers."""
    import pandas as pd

    if part.ndim != 1 or part.dtype.kind not in "OUST":
        return f"holds {part.dtype}"
    entries = pd.Series(part)
    wrong = np.flatnonzero((pd.to_numeric(entries, errors="coerce").isna() & entries.notna()).to_numpy())
    return f"is text, {str(part[wrong[0]])[:40]!r}, in {listed(wrong)}" if len(wrong) else "is text"


def _times(available: Columns, name: str, length: int) -> tuple[np.ndarray, str | None]:
    """Return times as numbers; dates become seconds since the first row, whose date comes with them."""
    times = available.need(name)
    if times.shape != (length,):
        raise BadInputError(f"{available.source}: time {name!r} has shape {times.shape}; expected {length} times")
    if times.dtype.kind in "fiu":
        return times, None
    import pandas as pd

    if times.dtype.kind == "m":
        return pd.to_timedelta(times).total_seconds().to_numpy(dtype=np.float64), None
    if times.dtype.kind in "OUST":
        numbers = pd.to_numeric(pd.Series(times), errors="coerce").notna()
        if 2 * numbers.sum() > length:
            raise BadInputError(f"{available.source}: time {name!r} {_not_numbers(times)}; write numbers or dates")

    epoch = None if times.dtype.kind in "bc" or not length else pd.to_datetime(times[0], errors="coerce")
    if epoch is None or epoch is pd.NaT:
        raise BadInputError(f"{available.source}: time {name!r} is neither number nor date in row 1")
    return seconds_since(times, epoch.isoformat(), f"{available.source}: time {name!r}"), epoch.isoformat()


def seconds_since(dates: Shaped[np.ndarray, " rows"], epoch: str, source: str = "times") -> Float[np.ndarray, " rows"]:
    """Return dates as seconds since an epoch; dates without a time zone count as UTC.

    Raises
    ------
    BadInputError
        With the rows that hold no date.
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Could not infer format", category=UserWarning)
        times = pd.to_datetime(pd.Series(dates), errors="coerce", utc=True)
    wrong = times.isna().to_numpy()
    if wrong.any():
        raise BadInputError(f"{source} is neither number nor date in {listed(wrong)}")
    first = pd.to_datetime(epoch, utc=True)
    return np.asarray((times - first).dt.total_seconds(), dtype=np.float64)


def dates_after(seconds: Float[np.ndarray, " rows"], epoch: str) -> list[str]:
    """Return the dates at some seconds after an epoch, ISO 8601 in its time zone; whole days without a time of day."""
    import pandas as pd

    first = pd.Timestamp(epoch)
    dates = [first + pd.Timedelta(round(1e9 * float(second)), "ns") for second in seconds]
    if first.tzinfo is None and all(date == date.normalize() for date in dates):
        return [date.date().isoformat() for date in dates]
    return [date.isoformat() for date in dates]
