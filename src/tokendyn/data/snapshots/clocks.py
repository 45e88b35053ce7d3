"""The times of a table: their column, and their kind: numbers, dates, or steps of a calendar."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from tokendyn.data.snapshots.calendars import (
    calendar_of,
    counts_on,
    dates_at,
    dates_of_numbers,
    dates_on,
    day_first,
    model_times,
    without_quarters,
)
from tokendyn.data.snapshots.columns import LIKELY_TIME_NAMES, TIME_NAMES, Columns
from tokendyn.data.snapshots.series import listed, wrong_numbers
from tokendyn.errors import BadInputError

if TYPE_CHECKING:
    import pandas as pd


#: What the times are called that two columns make together, and the steps in a year of the second one.
DATE = "date"
_PARTS = {"quarter": 4, "month": 12}


@dataclass(frozen=True)
class Clock:
    """Times of rows.

    Attributes
    ----------
    times
        Numbers: seconds after ``epoch`` of dates, or steps of a calendar.
    epoch
        Date of time 0, ISO 8601; None for times that are not dates.
    calendar
        On which ``times`` count steps; None for seconds and for numbers.
    """

    times: Float[np.ndarray, " rows"] | Shaped[np.ndarray, " rows"]
    epoch: str | None = None
    calendar: str | None = None

    def of(self, rows: Any, dt: float | None = None) -> "Clock":
        """Return the times of some rows; dates that are not equally spaced in seconds, on their calendar.

        Parameters
        ----------
        rows
            Which rows.
        dt
            The step in seconds that is expected: then no calendar is looked for.
        """
        import pandas as pd

        times = self.times[rows]
        if self.epoch is None or self.calendar is not None or dt is not None or len(times) < 3:
            return Clock(times, self.epoch, self.calendar)
        first = pd.Timestamp(self.epoch)
        gaps = np.diff(times)
        if first.tzinfo is not None or not len(gaps) or (gaps == gaps[0]).all():
            return Clock(times, self.epoch)
        dates = dates_at(first, times)
        found = calendar_of(dates)
        if found is None:
            return Clock(times, self.epoch)
        calendar, places = found
        return Clock(places.astype(np.float64), dates[0].isoformat(), calendar)


def with_date(columns: Columns) -> tuple[Columns, tuple[str, ...]]:
    """Return columns with a ``date`` in place of whole numbers ``year`` and ``quarter`` or ``month``, and their names.

    Without these two columns, or where another one holds the times, nothing is changed.
    """
    lower = {name.strip().lower(): name for name in reversed(list(columns.shapes))}
    found = time_column(columns)
    if found is not None and found.strip().lower() not in ("year", *_PARTS):
        return columns, ()
    for part, count in _PARTS.items():
        names = tuple(lower[word] for word in ("year", part) if word in lower)
        dates = _year_and_part(columns, names, count) if len(names) > 1 and DATE not in lower else None
        if dates is not None:
            shapes = {DATE: dates.shape} | {name: shape for name, shape in columns.shapes.items() if name not in names}
            return replace(columns, shapes=shapes, get=partial(_get, columns.get, dates)), names
    return columns, ()


def _year_and_part(columns: Columns, names: tuple[str, ...], count: int) -> np.ndarray | None:
    """Return the first days of the parts of years that two columns name, None where they do not."""
    if any(len(columns.shapes[name]) != 1 for name in names):
        return None
    years, parts = (columns.need(name) for name in names)
    if any(values.dtype.kind not in "iuf" or (values % 1 != 0).any() for values in (years, parts)):
        return None
    if len(years) != len(parts) or not ((years >= 1) & (years <= 9999) & (parts >= 1) & (parts <= count)).all():
        return None
    months = 1 + (parts - 1) * (12 // count)
    return np.array([f"{int(year):04d}-{int(month):02d}-01" for year, month in zip(years, months, strict=True)])


def _get(others: Callable[[str], Any], dates: np.ndarray, name: str) -> Any:
    """Return the dates, or a column of the table."""
    return dates if name == DATE else others(name)


def time_column(columns: Columns) -> str | None:
    """Return the column with the times: one with a usual name that holds dates, or numbers that grow.

    ``time`` and ``t`` are times whatever they hold, so that what is wrong with them is said.
    """
    lower = {name.strip().lower(): name for name in reversed(list(columns.shapes))}
    for name in TIME_NAMES:
        if name in lower:
            return lower[name]
    for name in LIKELY_TIME_NAMES:
        if name in lower and len(columns.shapes[lower[name]]) == 1 and is_clock(columns.need(lower[name])):
            return lower[name]
    return None


def is_clock(values: np.ndarray) -> bool:
    """Return whether a column can be times: it holds dates, or numbers that grow from row to row."""
    import pandas as pd

    if values.dtype.kind == "M" or not len(values):
        return bool(len(values))
    if values.dtype.kind in "iuf":
        return bool((np.diff(values) > 0).all())
    if values.dtype.kind not in "OUST":
        return False
    first = str(without_quarters(values[:1])[0])
    if pd.notna(pd.to_numeric(first, errors="coerce")):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        return hasattr(values[0], "calendar") or pd.notna(
            pd.to_datetime(first, errors="coerce", dayfirst=day_first([first]))
        )


def read_clock(times: np.ndarray, length: int, source: str) -> Clock:
    """Return times as numbers; dates become seconds since the first row, whose date comes with them.

    Parameters
    ----------
    times
        Numbers, durations, dates, or dates of cftime.
    length
        How many are expected.
    source
        For messages.

    Raises
    ------
    BadInputError
        If they are neither numbers nor dates; rows are named.
    """
    if times.shape != (length,):
        raise BadInputError(f"{source} has shape {times.shape}; expected {length} times")
    times = dates_of_numbers(times)
    if times.dtype.kind in "fiu":
        return Clock(times)
    import pandas as pd

    if times.dtype.kind == "m":
        return Clock(pd.to_timedelta(times).total_seconds().to_numpy(dtype=np.float64))
    if times.dtype.kind == "O" and length and hasattr(times[0], "calendar"):
        counts, first, calendar = model_times(list(times), source)
        return Clock(counts, first, calendar or None)
    if times.dtype.kind in "OUST":
        numbers = pd.to_numeric(pd.Series(times), errors="coerce").notna()
        if 2 * numbers.sum() > length:
            raise BadInputError(f"{source} {wrong_numbers(times)}; write numbers or dates")
    times, epoch = without_quarters(times), None
    if times.dtype.kind not in "bc" and length:
        epoch = pd.to_datetime(times[0], errors="coerce", dayfirst=day_first(times))
    if epoch is None or epoch is pd.NaT:
        raise BadInputError(f"{source} is neither number nor date in row 1")
    return Clock(seconds_since(times, epoch.isoformat(), source), epoch.isoformat())


def seconds_since(
    dates: Shaped[np.ndarray, " rows"], epoch: str, source: str = "times", calendar: str | None = None
) -> Float[np.ndarray, " rows"]:
    """Return dates as seconds since an epoch, or as steps of a calendar; dates without a time zone count as UTC.

    Raises
    ------
    BadInputError
        With the rows that hold no date.
    """
    if calendar is not None and len(dates) and hasattr(dates[0], "calendar"):
        return counts_on(calendar, epoch, list(dates))
    found = _dates(dates)
    wrong = found.isna().to_numpy()
    if wrong.any():
        raise BadInputError(f"{source} is neither number nor date in {listed(wrong)}")
    if calendar is not None:
        import pandas as pd

        return counts_on(calendar, epoch, pd.DatetimeIndex(found.dt.tz_localize(None)))
    return _seconds(found, epoch)


def _dates(dates: Shaped[np.ndarray, " rows"]) -> "pd.Series[Any]":
    """Return dates in UTC, NaT for what is none."""
    import pandas as pd

    dates = without_quarters(dates)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Could not infer format", category=UserWarning)
        return pd.to_datetime(pd.Series(dates), errors="coerce", utc=True, dayfirst=day_first(dates))


def _seconds(dates: "pd.Series[Any]", epoch: str) -> Float[np.ndarray, " rows"]:
    import pandas as pd

    first = pd.to_datetime(epoch, utc=True)
    return np.asarray((dates - first).dt.total_seconds(), dtype=np.float64)


def index_after(times: Float[np.ndarray, " rows"], epoch: str, calendar: str | None = None) -> "pd.Index[Any]":
    """Return the dates of times as an index: seconds after the epoch, or steps of a calendar."""
    import pandas as pd

    if calendar is not None:
        dates = dates_on(calendar, epoch, times)
        return dates if isinstance(dates, pd.DatetimeIndex) else pd.Index(dates, dtype=object)
    return dates_at(pd.Timestamp(epoch), times)


def dates_after(times: Float[np.ndarray, " rows"], epoch: str, calendar: str | None = None) -> list[str]:
    """Return the dates of times, ISO 8601 in the time zone of the epoch; whole days without a time of day."""
    dates = list(index_after(times, epoch, calendar))
    if all(_whole_day(date) for date in dates):
        return [f"{date.year:04d}-{date.month:02d}-{date.day:02d}" for date in dates]
    return [str(date.isoformat()) for date in dates]


def _whole_day(date: Any) -> bool:
    return getattr(date, "tzinfo", None) is None and not any(
        getattr(date, part, 0) for part in ("hour", "minute", "second", "microsecond", "nanosecond")
    )
