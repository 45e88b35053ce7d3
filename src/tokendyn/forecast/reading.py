"""The options of a table of snapshots, shared by all experiments on a user's series, and its reading."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tokendyn.errors import BadInputError
from tokendyn.words import counted

if TYPE_CHECKING:
    import numpy as np

    from tokendyn.data.snapshots import Snapshots


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """The columns of a table that form a series, and its times.

    Attributes
    ----------
    time
        Column with the times: numbers or dates at equal steps, also months, quarters, years or business days. By
        default a column with a usual name (time, t, date, ds, month, year, ...), if there is one.
    columns
        Columns to forecast, separated by commas; by default all but time and inputs.
    inputs
        Columns with control or forcing known in advance, separated by commas.
    fill
        Fill gaps: linear or previous. By default they are errors.
    """

    time: str | None = None
    columns: str | None = None
    inputs: str | None = None
    fill: Literal["linear", "previous"] | None = None


@dataclass(frozen=True, kw_only=True)
class SeriesOptions(TableOptions):
    """The columns of a table that form one or several series.

    Attributes
    ----------
    series
        Column that separates several series.
    """

    series: str | None = None

    def read(self, data: Path) -> "list[Snapshots]":
        """Read one series, or the several that the column ``series`` separates."""
        return read_series(
            data, self.time, listed(self.columns), listed(self.inputs) or (), series=self.series, fill=self.fill
        )


def read_series(
    data: Path,
    time: str | None,
    columns: Sequence[str] | None,
    inputs: Sequence[str],
    *,
    series: str | None,
    fill: str | None,
) -> "list[Snapshots]":
    """Read one series, or the several that a column separates.

    Parameters
    ----------
    data
        The table.
    time, columns, inputs, series, fill
        As in :class:`SeriesOptions`, with names in lists.
    """
    from tokendyn.data.snapshots import read_snapshots, read_trajectories

    names = None if columns is None else list(columns)
    if series is None:
        return [read_snapshots(data, time, names, inputs, fill)]
    return read_trajectories(data, series, time, names, inputs, fill)


def listed(text: str | None) -> list[str] | None:
    """Return the names of a list separated by commas, None without names."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def described(series: "Sequence[Snapshots]") -> str:
    """Return one line about the data."""
    first, rows = series[0], sum(map(len, series))
    parts = f" in {len(series)} series" if len(series) > 1 else ""
    driven = f", inputs {', '.join(first.input_names)}" if first.input_names else ""
    shown = ", ".join(first.names[:8]) + (f", ... ({len(first.names)})" if len(first.names) > 8 else "")
    shown = shown if first.grid is None else f"{first.grid.described()}: {counted(len(first.names), 'feature')}"
    return f"{rows} snapshots{parts} at dt = {first.step_words} of {shown}{driven}"


def series_of(series: "Sequence[Snapshots]") -> Any:
    """Return one or several series for :meth:`tokendyn.forecast.Forecaster.fit`."""
    return series[0] if len(series) == 1 else list(series)


def noted(first: "Snapshots", time: str | None, series: str | None, fill: str | None) -> dict[str, Any]:
    """Return the facts for a forecast of the same table; for fields their names, not those of their points.

    Parameters
    ----------
    first
        The series, or the first of several.
    time, series, fill
        As they were given.
    """
    columns = first.names if first.grid is None else [variable.name for variable in first.grid.variables]
    return {
        "time": time, "columns": list(columns), "inputs": list(first.input_names), "dt": first.dt, "series": series,
        "fill": fill,
    }  # fmt: skip


def future_inputs(table: Path, names: Sequence[str], time: str | None, after: "Snapshots", steps: int) -> "np.ndarray":
    """Return the inputs of the ``steps`` snapshots that follow a series, ``(steps, inputs)``.

    With the time column, rows up to the end of the series are left out, and the rest must continue at its step.

    Parameters
    ----------
    table
        File with a column for each input.
    names
        Names of these columns.
    time
        Column with the times; by default one with a usual name, if there is one.
    after
        The series.
    steps
        Number of rows needed.

    Raises
    ------
    BadInputError
        If a column or a number is missing, the times do not continue the series, or there are too few rows.
    """
    import numpy as np

    from tokendyn.data.snapshots import snapshots

    values, times = _input_columns(table, names, time, after)
    if times is not None:
        follow = times > after.times[-1] + 0.5 * after.dt
        values, times = values[follow], times[follow]
        _check_continues(table, times, after)
    if len(values) < steps:
        raise BadInputError(
            f"{table} has {len(values)} rows of inputs after the data, {steps} steps need {steps}; give more rows "
            "or ask for fewer steps"
        )
    if steps == 1:
        return np.asarray(values[:1])
    kept = None if times is None else times[:steps]
    return snapshots(values[:steps], after.dt, kept, names, source=str(table), constant_allowed=True).values


def _input_columns(
    table: Path, names: Sequence[str], time: str | None, after: "Snapshots"
) -> "tuple[np.ndarray, np.ndarray | None]":
    """Return the named columns of a table as one array, and its times as those of a series are counted, if it has any.

    Raises
    ------
    BadInputError
        If a column is missing, or holds no numbers.
    """
    import numpy as np

    from tokendyn.data.snapshots import seconds_since
    from tokendyn.data.snapshots.calendars import dates_of_numbers
    from tokendyn.data.snapshots.clocks import DATE, time_column, with_date
    from tokendyn.data.snapshots.columns import open_columns

    with open_columns(table) as available:
        columns = [available.need(name) for name in names]
        opened, parts = (available, ()) if time else with_date(available)
        time = time or (DATE if parts else time_column(opened))
        times = opened.need(time) if time is not None and time in opened.shapes else None
    if times is not None and after.epoch is not None:
        times = dates_of_numbers(times)
    if times is not None and times.dtype.kind not in "fiu":
        source = f"{table}: time {time!r}"
        times = None if after.epoch is None else seconds_since(times, after.epoch, source, after.calendar)
    wrong = [name for name, column in zip(names, columns, strict=True) if column.dtype.kind not in "fiu"]
    if wrong:
        raise BadInputError(f"{table}: {', '.join(map(repr, wrong))} holds no numbers; inputs are columns of numbers")
    return np.column_stack(columns).astype(np.float64), times


def _check_continues(table: Path, times: "np.ndarray", after: "Snapshots") -> None:
    """Raise a BadInputError if the first of some times is not one step after the end of a series."""
    import numpy as np

    from tokendyn.data.snapshots import dates_after

    due = after.times[-1] + after.dt
    if not len(times) or abs(float(times[0]) - due) <= 0.01 * after.dt:
        return
    words = [f"{float(times[0]):g}", f"{due:g}"]
    if after.epoch is not None:
        words = dates_after(np.array([times[0], due]), after.epoch, after.calendar)
    raise BadInputError(
        f"{table}: the first time after the data is {words[0]}, expected {words[1]}; inputs go on where the data end"
    )
