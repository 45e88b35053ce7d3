"""Snapshots from files and tables, with every check that a forecast relies on."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tokendyn.data.snapshots.clocks import DATE, Clock, read_clock, time_column, with_date
from tokendyn.data.snapshots.columns import Columns, open_columns, time_dimension
from tokendyn.data.snapshots.grids import Grid, flattened, grid_of, plain_grid
from tokendyn.data.snapshots.series import Snapshots, snapshots, wrong_numbers
from tokendyn.errors import BadInputError, listing

#: How dates begin.
_DATE = re.compile(r"\d{4}[-./]\d{1,2}\b|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}\b|\d{1,2}[-./]\d{4}\b|\d{4}-?Q[1-4]\b")
#: Most columns of one series that is not a field.
MOST_FEATURES = 20_000
#: Most points of all fields of one series.
MOST_POINTS = 2_000_000


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
        Column with the times, as numbers or as dates: at equal steps in seconds, or on a calendar (months, quarters,
        years, business days). By default a column with a usual name (``time``, ``t``, ``date``, ``ds``, ``month``,
        ``year``, ...), or ``year`` and ``quarter`` or ``month`` together; else rows are ``dt`` apart (1 by default).
    columns
        Columns, arrays or variables to forecast; by default all but time and inputs. Arrays of more than one
        dimension are fields: one feature for each entry beyond the first axis, without the points that are NaN at every
        time.
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
        infinite or missing numbers, columns that are all constant, and times that are unsorted, duplicate, missing
        or not uniform; rows are named, the first row of data is 1.
    """
    with open_columns(table, counting=time is None) as available:
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
    """Read several series from one table, separated by the column ``series``, in order of first appearance.

    Parameters are those of :func:`read_snapshots`. Rows are
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
        if not np.ptp(chosen.values, axis=0).any():
            flat = listing([repr(name) for name in chosen.names])
            raise BadInputError(f"{available.source}: {flat} is constant; a forecast needs a column that changes")
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
    clock: Clock | None
    inputs: np.ndarray | None
    input_names: tuple[str, ...]
    grid: Grid | None = None
    time_name: str = "time"

    def series(
        self, rows: Any, fill: str | None, dt: float | None, source: str, *, constant: bool = False
    ) -> Snapshots:
        """Return the series of some rows."""
        clock = None if self.clock is None else self.clock.of(rows, dt)
        checked = snapshots(
            self.values[rows],
            dt,
            None if clock is None else clock.times,
            self.names,
            None if self.inputs is None else self.inputs[rows],
            self.input_names,
            fill,
            source,
            constant_allowed=constant,
            grid=self.grid,
        )
        if clock is None:
            return checked
        return replace(checked, epoch=clock.epoch, calendar=clock.calendar, time_name=self.time_name)


def _choose(
    available: Columns, time: str | None, columns: Sequence[str] | None, inputs: Sequence[str], series: str | None
) -> _Chosen:
    """Read the wanted columns; collect what is wrong with them into one error."""
    if not available.shapes:
        raise BadInputError(f"{available.source} holds no columns; expected numbers over time")
    if isinstance(columns, str) or isinstance(inputs, str):
        raise BadInputError(f"columns and inputs are lists of names; got {columns!r} and {inputs!r}")
    dated, parts = (available, ()) if time or available.time else with_date(available)
    if parts and not {*parts} & {*(columns or ()), *inputs, series}:
        available, time = dated, DATE
    time = time or available.time or time_column(available)
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
        raise BadInputError(f"{available.source} holds no column besides {', '.join(sorted(filter(None, special)))}")
    lengths = {name: available.shapes[name][0] if available.shapes[name] else 0 for name in (*wanted, *inputs)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise BadInputError(f"{available.source}: lengths differ ({shown}); choose columns of one length")
    _check_times_first(available, wanted, time)
    values, names, grid = _together(available, wanted, along=time)
    if asked is not None and asked != wanted:
        whole = {
            name
            for array in asked
            if array in available.shapes
            for name in _feature_names(array, available.shapes[array])
        }
        asked_for = whole | set(asked)
        kept = [at for at, name in enumerate(names) if name in asked_for]
        values, names, grid = values[:, kept], tuple(names[at] for at in kept), None
    driving, input_names, _ = _together(available, list(inputs)) if inputs else (None, (), None)
    clock = (
        None if time is None else read_clock(available.need(time), len(values), f"{available.source}: time {time!r}")
    )
    return _Chosen(values, names, clock, driving, input_names, grid, time or "time")


def _check_times_first(available: Columns, wanted: list[str], time: str | None) -> None:
    """Raise BadInputError if the times are as many as the entries of another axis of an array than the first one."""
    count = available.shapes[time][:1] if time in available.shapes else ()
    for name in wanted if count else ():
        shape = available.shapes[name]
        if shape[:1] != count and count[0] in shape[1:]:
            raise BadInputError(
                f"{available.source}: {name!r} has shape {shape}, and {time!r} holds {count[0]} times; time is the "
                f"first axis: transpose {name!r}"
            )


def _arrays_of(available: Columns, asked: list[str]) -> list[str]:
    """Return the requested columns: ``x0`` and ``x2`` are features of an array ``x``.

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


def _together(
    available: Columns, wanted: list[str], along: str | None = None
) -> tuple[np.ndarray, tuple[str, ...], Grid | None]:
    """Return columns side by side, a name for each, and the grid of those that are fields."""
    spatial = any(len(available.shapes[name]) > 1 for name in wanted)
    count = sum(int(np.prod(available.shapes[name][1:])) for name in wanted)
    if count > MOST_FEATURES and not spatial:
        raise BadInputError(f"{available.source}: {count} features, at most {MOST_FEATURES}; name those to forecast")
    if count > MOST_POINTS:
        raise BadInputError(f"{available.source}: {count} points, at most {MOST_POINTS}; reduce the field by POD")
    parts, problems = [], []
    for name in wanted:
        part = available.need(name)
        if part.dtype.kind not in "fiubc":
            dated = part.size and _DATE.match(str(part.ravel()[0]))
            hint = f", or name it with time={name!r} if it holds the times" if dated else ""
            problems.append(f"{name!r} {wrong_numbers(part)}; choose columns of numbers{hint}")
            continue
        parts.append(part)
    if problems:
        raise BadInputError.first_of(available.source, problems, "columns")
    if not spatial:
        return np.column_stack(parts), tuple(wanted), None
    values, grid = flattened(parts, _grid(available, wanted, parts, along), available.source)
    return values, grid.names(), grid


def _grid(available: Columns, wanted: list[str], parts: Sequence[np.ndarray], along: str | None) -> Grid:
    """Return the grid of the wanted arrays, with coordinates where the source has some."""
    if available.dataset is None:
        return plain_grid({name: part.shape for name, part in zip(wanted, parts, strict=True)}, single=len(wanted) == 1)
    variables: dict[str | None, Any] = {name: available.dataset[name] for name in wanted}
    time = along or time_dimension(available.dataset.dims, available.dataset.coords) or "time"
    dims = next(iter(variables.values())).dims
    time = time if time in dims else str(dims[0])
    moved = {name: variable.transpose(time, ...) for name, variable in variables.items()}
    return grid_of(moved, available.dataset, time, single=False)
