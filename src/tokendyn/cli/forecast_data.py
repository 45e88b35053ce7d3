"""What the commands of ``tokendyn forecast`` share: options about data, durations, progress."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.cli.output import announce
from tokendyn.cli.progress import progress
from tokendyn.errors import BadInputError
from tokendyn.words import duration

if TYPE_CHECKING:
    from tokendyn.data.snapshots import Snapshots
    from tokendyn.forecast.base import Progress


def names_of(text: str | None) -> list[str] | None:
    """Return the names of a list with commas, None for none given."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def read_series(
    data: Path, time: str | None, columns: str | None, inputs: str | None, series: str | None, fill: str | None
) -> "list[Snapshots]":
    """Read one series, or the several that the column ``series`` tells apart."""
    from tokendyn.data.snapshots import read_snapshots, read_trajectories

    driving = names_of(inputs) or ()
    if series is None:
        return [read_snapshots(data, time, names_of(columns), driving, fill)]
    return read_trajectories(data, series, time, names_of(columns), driving, fill)


def told(series: "Sequence[Snapshots]") -> str:
    """Return one line about what was read."""
    first, rows = series[0], sum(map(len, series))
    parts = f" in {len(series)} series" if len(series) > 1 else ""
    driven = f", inputs {', '.join(first.input_names)}" if first.input_names else ""
    shown = ", ".join(first.names[:8]) + (f", ... ({len(first.names)})" if len(first.names) > 8 else "")
    step = f"{first.dt:g}" if first.epoch is None else duration(first.dt)
    return f"{rows} snapshots{parts} at dt = {step} of {shown}{driven}"


def arrays_of(series: "Sequence[Snapshots]") -> tuple[list[np.ndarray], list[Any] | None]:
    """Return values and inputs as ``fit`` takes them."""
    driven = [one.inputs for one in series]
    return [one.values for one in series], None if driven[0] is None else driven


def future_inputs(table: Path, names: Sequence[str], time: str | None, after: "Snapshots", steps: int) -> np.ndarray:
    """Return the inputs of the ``steps`` snapshots that follow a series, ``(steps, inputs)``.

    With the time column, rows up to the end of the series are left out, and the rest must go on at its step.

    Raises
    ------
    BadInputError
        If a column is not there, a number is missing, the times do not go on, or rows are too few.
    """
    from tokendyn.data.snapshots import dates_after, seconds_since, snapshots
    from tokendyn.data.snapshots.columns import open_columns

    with open_columns(table) as found:
        columns = [found.need(name) for name in names]
        time = time or next((name for name in found.shapes if name.lower() in ("time", "t")), None)
        times = found.need(time) if time is not None and time in found.shapes else None
        if times is not None and times.dtype.kind not in "fiu" and after.epoch is not None:
            times = seconds_since(times, after.epoch, f"{table}: time {time!r}")
        wrong = [name for name, column in zip(names, columns, strict=True) if column.dtype.kind not in "fiu"]
        if wrong:
            raise BadInputError(
                f"{table}: {', '.join(map(repr, wrong))} holds no numbers; inputs are columns of numbers"
            )
        values = np.column_stack(columns).astype(np.float64)
    rows = np.ones(len(values), dtype=bool)
    if times is not None and times.dtype.kind in "fiu":
        rows = times > after.times[-1] + 0.5 * after.dt
        if rows.any() and abs(float(times[rows][0]) - after.times[-1] - after.dt) > 0.01 * after.dt:
            reached = f"{float(times[rows][0]):g}, expected {after.times[-1] + after.dt:g}"
            if after.epoch is not None:
                is_, due = dates_after(np.array([times[rows][0], after.times[-1] + after.dt]), after.epoch)
                reached = f"{is_}, expected {due}"
            raise BadInputError(f"{table}: the first time after the data is {reached}; inputs go on where the data end")
    if rows.sum() < steps:
        raise BadInputError(
            f"{table} has {int(rows.sum())} rows of inputs after the data, {steps} steps need {steps}; give more rows "
            "or ask for fewer steps"
        )
    if steps == 1:
        return values[rows][:1]
    kept = None if times is None or times.dtype.kind not in "fiu" else times[rows][:steps]
    checked = snapshots(values[rows][:steps], after.dt, kept, names, source=str(table), constant_allowed=True)
    return checked.values


@contextmanager
def shares(what: str) -> "Iterator[Progress]":
    """Yield a callback ``(share, line)`` that draws a bar."""
    with progress(what) as report:
        yield lambda share, line: report(round(100 * share), 100)


@contextmanager
def lines(what: str) -> "Iterator[Progress]":
    """Yield a callback ``(share, line)`` that says each line once and draws a bar."""
    last = ""

    with progress(what) as report:

        def tell(share: float, line: str) -> None:
            nonlocal last
            report(round(100 * share), 100)
            if line != last:
                announce(line)
            last = line

        yield tell
