"""Steps that are equal on a calendar and not in seconds: months, quarters, years, business days.

A calendar is named as pandas names its frequencies. ``MS`` are months, ``3MS`` quarters, ``12MS`` years, whose dates
keep the day of the first one; ``ME`` (``3ME``, ``12ME``) ends of months; ``BMS`` and ``BME`` the first and last
business day of months; ``B`` business days. The names of calendars of climate models (``noleap``, ``360_day``) stand
for seconds that are counted on them; their dates need cftime.
"""

import math
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.errors import BadInputError
from tokendyn.words import counted, duration, unit_below

if TYPE_CHECKING:
    import pandas as pd

#: Calendars of climate models, which only cftime knows.
MODEL_CALENDARS = frozenset({"noleap", "365_day", "all_leap", "366_day", "360_day", "julian"})
#: Seconds that are too many to be counted in nanoseconds.
_CENTURIES = 9e9
#: How quarters are written.
_QUARTER = re.compile(r"\s*(\d{4})-?[Qq]([1-4])\s*")
#: Families of months; dates that lie on several of them belong to the first.
_MONTHLY = ("ME", "MS", "BME", "BMS")
#: How many months have a name of their own.
_MONTH_WORDS = {1: "month", 3: "quarter", 12: "year"}
#: Share of the months, or of the weekdays, that dates must have for their gaps to count as gaps.
_DENSE = 0.5
_DAY = 86400.0
#: Steps of a day that count as a season at most: those of minutes.
_MOST_A_DAY = 1440


def calendar_of(dates: "pd.DatetimeIndex") -> tuple[str, Int[np.ndarray, " rows"]] | None:
    """Return the calendar on which dates lie at equal steps, and the step of each; None where there is none.

    Steps may be missing: what is returned are the counts of each date from the first.

    Parameters
    ----------
    dates
        Dates without a time zone, forwards, at steps that are not equal in seconds.
    """
    if len(dates) < 3 or dates.hasnans or not dates.is_monotonic_increasing or not dates.is_unique:
        return None
    gaps = np.diff(dates.to_numpy()).astype("timedelta64[s]").astype(np.float64)
    if np.median(gaps) > 27 * _DAY:
        return _monthly(dates)
    normal = bool((dates == dates.normalize()).all())
    if normal and bool((dates.day_of_week < 5).all()) and float(gaps.min()) == _DAY:
        days = dates.to_numpy().astype("datetime64[D]")
        places = np.busday_count(days[0], days).astype(np.int64)
        if len(dates) > _DENSE * (places[-1] + 1):
            return "B", places
    return None


def _monthly(dates: "pd.DatetimeIndex") -> tuple[str, Int[np.ndarray, " rows"]] | None:
    """Return the calendar of dates in different months."""
    months = (12 * dates.year + dates.month).to_numpy().astype(np.int64)
    gaps = np.diff(months)
    if gaps.min() < 1:
        return None
    step = int(np.gcd.reduce(gaps))
    usual = int(np.median(gaps))
    if usual != step or (months[-1] - months[0]) // step + 1 > len(dates) / _DENSE:
        return None
    family = next((name for name in _MONTHLY if _lies_on(dates, name)), "MS")
    if family == "MS" and int(dates.day.max()) - int(dates.day.min()) > 3:
        # Dates that wander through their months are observations at uneven times.
        return None
    return (family if step == 1 else f"{step}{family}"), (months - months[0]) // step


def _lies_on(dates: "pd.DatetimeIndex", family: str) -> bool:
    """Return whether all dates are ends, starts, or business ends or starts, of months."""
    import pandas as pd

    offset: Any = pd.tseries.frequencies.to_offset(family)
    return all(offset.is_on_offset(date) for date in dates)


def dates_on(
    calendar: str, epoch: str, counts: Float[np.ndarray, " rows"] | Sequence[float]
) -> "pd.DatetimeIndex | list[Any]":
    """Return the dates of some steps after the first date of a calendar.

    Parameters
    ----------
    calendar
        As :func:`calendar_of` names it, or a calendar of climate models.
    epoch
        The date of step 0, ISO 8601.
    counts
        Steps after it; seconds on the calendars of climate models, whose dates are objects of cftime.
    """
    import pandas as pd

    if calendar in MODEL_CALENDARS:
        cftime = _cftime(calendar)
        return list(cftime.num2date(np.asarray(counts), f"seconds since {epoch}", calendar))
    steps = np.round(np.asarray(counts, dtype=np.float64)).astype(int)
    first = pd.Timestamp(epoch)
    size, family = _split(calendar)
    if family == "B":
        days = np.busday_offset(np.datetime64(first.date()), size * steps, roll="forward")
        return pd.DatetimeIndex(days).as_unit("ns")
    start = first.to_period("M")
    months = [start + int(size * step) for step in steps]
    if family == "MS":
        return pd.DatetimeIndex([_same_day(month, first) for month in months])
    offset: Any = pd.tseries.frequencies.to_offset(family)
    beginnings = [month.to_timestamp() for month in months]
    moved = [date if offset.is_on_offset(date) else date + offset for date in beginnings]
    return pd.DatetimeIndex(moved) + (first - first.normalize())


def _same_day(month: "pd.Period", first: "pd.Timestamp") -> "pd.Timestamp":
    """Return the day of the first date in another month, its last day where it is shorter."""
    return first.replace(year=month.year, month=month.month, day=min(first.day, month.days_in_month))


def counts_on(calendar: str, epoch: str, dates: "pd.DatetimeIndex | Sequence[Any]") -> Float[np.ndarray, " rows"]:
    """Return on which steps of a calendar dates lie; NaN for those that lie beside it."""
    import pandas as pd

    if calendar in MODEL_CALENDARS:
        return np.asarray(_cftime(calendar).date2num(dates, f"seconds since {epoch}", calendar), dtype=np.float64)
    first = pd.Timestamp(epoch)
    size, family = _split(calendar)
    index = dates if isinstance(dates, pd.DatetimeIndex) else pd.DatetimeIndex(list(dates))
    if family == "B":
        days = index.to_numpy().astype("datetime64[D]")
        counts = np.busday_count(np.datetime64(first.date()), days) / size
        counts[~np.is_busday(days)] = np.nan
        return np.asarray(counts, dtype=np.float64)
    months = 12 * (index.year - first.year) + index.month - first.month
    counts = months.to_numpy().astype(np.float64) / size
    return np.where(counts == np.round(counts), counts, np.nan)


def in_words(calendar: str, steps: float) -> str:
    """Return a number of steps in words.

    Examples
    --------
    >>> from tokendyn.data.snapshots.calendars import in_words
    >>> in_words("MS", 24), in_words("3ME", 1), in_words("B", 5), in_words("12MS", 2), in_words("2MS", 3)
    ('24 months', '1 quarter', '5 business days', '2 years', '6 months')
    """
    if calendar in MODEL_CALENDARS:
        return duration(steps)
    size, family = _split(calendar)
    if family == "B":
        noun = "business day"
    else:
        noun = _MONTH_WORDS.get(size, "month")
        size = 1 if size in _MONTH_WORDS else size
    number = f"{size * steps:.4g}"
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"


def seasons_of(calendar: str | None, dt: float | None) -> tuple[int, ...]:
    """Return the steps of the seasons that a calendar suggests: a year, a week, a day.

    Parameters
    ----------
    calendar
        Of steps that are not equal in seconds.
    dt
        Seconds between steps that are; None for times that are not dates.
    """
    if calendar is not None and calendar not in MODEL_CALENDARS:
        size, family = _split(calendar)
        if family == "B":
            return (5,)
        return (12 // size,) if size < 12 and 12 % size == 0 else ()
    weeks, days = (0.0, 0.0) if dt is None else (7 * _DAY / dt, _DAY / dt)
    if math.isclose(weeks, 1, rel_tol=1e-6):
        return (52,)
    if math.isclose(days, 1, rel_tol=1e-6):
        return (7,)
    whole = days > 1 and math.isclose(days, round(days), rel_tol=1e-6)
    return (round(days), 7 * round(days)) if whole and days <= _MOST_A_DAY else ()


def seasons_of_frequency(frequency: str) -> tuple[int, ...]:
    """Return the steps of the seasons that a frequency of pandas suggests.

    Examples
    --------
    >>> from tokendyn.data.snapshots.calendars import seasons_of_frequency
    >>> [seasons_of_frequency(name) for name in ("MS", "QE-DEC", "W-SUN", "D", "B", "h", "YS-JAN")]
    [(12,), (4,), (52,), (7,), (5,), (24, 168), ()]
    """
    family = frequency.lstrip("0123456789").split("-")[0]
    size = int(frequency[: len(frequency) - len(frequency.lstrip("0123456789"))] or 1)
    if family in ("M", *_MONTHLY):
        return seasons_of(f"{size}MS", None)
    if family in ("Q", "QS", "QE", "BQS", "BQE"):
        return seasons_of(f"{3 * size}MS", None)
    if family == "B":
        return seasons_of("B", None) if size == 1 else ()
    seconds = {"W": 7 * _DAY, "D": _DAY, "h": _DAY / 24, "min": 60.0, "s": 1.0}
    return seasons_of(None, size * seconds[family]) if family in seconds else ()


def model_times(times: Sequence[Any], source: str) -> tuple[Float[np.ndarray, " rows"], str, str]:
    """Return times of a climate model as numbers, the date of number 0, and their calendar.

    Dates in successive months become months of the usual calendar; all others are seconds on their own.

    Raises
    ------
    BadInputError
        If the dates are not dates of cftime.
    """
    import pandas as pd

    first = times[0]
    if not hasattr(first, "calendar"):
        raise BadInputError(f"{source} holds {type(first).__name__}; expected numbers or dates")
    months = np.array([12 * date.year + date.month for date in times])
    days = np.array([date.day for date in times])
    epoch = pd.Timestamp(year=first.year, month=first.month, day=min(first.day, 28))
    gaps = np.diff(months)
    if len(gaps) and (gaps == gaps[0]).all() and gaps[0] >= 1 and np.ptp(days) <= 3:
        step = int(gaps[0])
        return np.arange(len(times), dtype=np.float64), epoch.isoformat(), "MS" if step == 1 else f"{step}MS"
    calendar = str(first.calendar)
    if calendar not in MODEL_CALENDARS:
        index = pd.DatetimeIndex([pd.Timestamp(date.isoformat()) for date in times])
        seconds = np.asarray((index - index[0]).total_seconds(), dtype=np.float64)
        return seconds, index[0].isoformat(), ""
    stamp = first.isoformat()
    seconds = np.array([(date - first).total_seconds() for date in times], dtype=np.float64)
    return seconds, stamp, calendar


def infer(dates: "pd.DatetimeIndex") -> str | None:
    """Return the frequency that pandas sees in dates, without its warnings."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=DeprecationWarning)
        frequency: Any = pd.infer_freq(dates)
    return getattr(frequency, "freqstr", frequency)


def without_quarters(dates: Any) -> Any:
    """Return texts such as 2001Q3 and 2001-Q3 as the first days of these quarters; all else as it is."""
    first = _QUARTER.fullmatch(str(dates[0])) if len(dates) else None
    if first is None:
        return dates
    found = [(_QUARTER.fullmatch(str(date)), date) for date in dates]
    return np.array([str(date) if part is None else f"{part[1]}-{3 * int(part[2]) - 2:02d}-01" for part, date in found])


def dates_of_texts(index: Any) -> "pd.DatetimeIndex | None":
    """Return the dates of an index of texts, where all of them are dates; None for any other index."""
    import pandas as pd

    texts = without_quarters(index.to_numpy()) if len(index) and isinstance(index[0], str) else ()
    if not len(texts) or not re.search(r"\d", texts[0]) or pd.notna(pd.to_numeric(texts[0], errors="coerce")):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        dates = pd.to_datetime(pd.Series(texts), errors="coerce", dayfirst=day_first(texts))
    return None if dates.isna().any() else pd.DatetimeIndex(dates, name=index.name)


def dates_at(first: "pd.Timestamp", seconds: Float[np.ndarray, " rows"] | Sequence[float]) -> "pd.DatetimeIndex":
    """Return the dates some seconds after another, to a nanosecond; to a microsecond over centuries."""
    import pandas as pd

    spans = np.asarray(seconds, dtype=np.float64)
    if np.abs(spans).max(initial=0.0) < _CENTURIES:
        return pd.DatetimeIndex(first + pd.to_timedelta(np.round(1e9 * spans), unit="ns"))
    gaps = pd.TimedeltaIndex(np.round(1e6 * spans).astype("timedelta64[us]"))
    return pd.DatetimeIndex(first.as_unit("us") + gaps)


def day_first(dates: Any) -> bool:
    """Return whether dates are written as 31.12.2025: with points the day comes first, in every country."""
    return len(dates) > 0 and re.match(r"\s*\d{1,2}\.\d{1,2}\.\d{2,4}\b", str(dates[0])) is not None


def dates_of_numbers(times: Any) -> Any:
    """Return numbers such as 200112 and 20011231 as dates, where all are and their steps are no equal numbers."""
    numbers = np.asarray(times)
    if numbers.dtype.kind not in "iuf" or len(numbers) < 3 or (np.diff(numbers) == numbers[1] - numbers[0]).all():
        return times
    if not np.isfinite(numbers).all() or (numbers % 1 != 0).any():
        return times
    for days in (100, 1):
        years, months, parts = numbers // (100 * days), numbers // days % 100, numbers % days
        if ((years >= 1600) & (years <= 2300) & (months >= 1) & (months <= 12)).all() and (
            days == 1 or ((parts >= 1) & (parts <= 31)).all()
        ):
            rows = zip(years, months, np.maximum(parts, 1), strict=True)
            return np.array([f"{int(year):04d}-{int(month):02d}-{int(day):02d}" for year, month, day in rows])
    return times


def described_step(calendar: str | None, epoch: str | None, dt: float) -> str:
    """Return the time step in words: a number where times are numbers."""
    if epoch is None:
        return f"{dt:g}"
    return duration(dt) if calendar is None else in_words(calendar, dt)


def described_time(calendar: str | None, epoch: str | None, time: float) -> str:
    """Return a time in words."""
    if epoch is None:
        return counted(int(time), "unit") + " of time" if time == int(time) else f"{time:.4g} units of time"
    return duration(time) if calendar is None else in_words(calendar, time)


def time_unit(calendar: str | None, epoch: str | None, dt: float) -> tuple[str, float] | None:
    """Return the unit of rates of dated series, and its length in the times; None where times are numbers.

    Examples
    --------
    >>> from tokendyn.data.snapshots.calendars import time_unit
    >>> time_unit("MS", "2020-01-01", 1.0), time_unit(None, "2020-01-01", 7200.0), time_unit(None, None, 0.1)
    (('month', 1.0), ('hour', 3600.0), None)
    """
    if epoch is None:
        return None
    if calendar is None or calendar in MODEL_CALENDARS:
        return unit_below(dt)
    return in_words(calendar, 1.0).removeprefix("1 "), 1.0


def _split(calendar: str) -> tuple[int, str]:
    """Return the number and the family of a calendar; ValueError for one that is none."""
    family = calendar.lstrip("0123456789")
    if family not in (*_MONTHLY, "B"):
        raise ValueError(f"{calendar!r} is no calendar")
    return int(calendar[: len(calendar) - len(family)] or 1), family


def _cftime(calendar: str) -> Any:
    """Return cftime; an error with its extra where it is absent."""
    from tokendyn.optional import library

    return library("cftime")
