"""A uniformly sampled series of snapshots, and what has to hold of one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num

from tokendyn.data.snapshots.calendars import described_step, described_time, seasons_of, time_unit
from tokendyn.data.snapshots.grids import Grid
from tokendyn.errors import LISTED, BadInputError
from tokendyn.shown import ShortRepr

#: Letters of a unit of time at most: others are sentences.
_LONGEST_UNIT = 20
#: Largest difference of a time step from the median step that still counts as uniform, relative to the step.
UNIFORM = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class Snapshots(ShortRepr):
    """Snapshots of a system at equal distances in time.

    Attributes
    ----------
    values
        One row for each time, ``(time, features)``, float64, finite.
    times
        Time of each row, ``times[0] + k dt``.
    dt
        Time between rows, in the unit of the times.
    names
        One name for each feature.
    inputs
        Known inputs (control, forcing, motion) at the same times, ``(time, inputs)``, or None.
    input_names
        One name for each input.
    source
        Where the series comes from, for messages and records.
    epoch
        When the times were dates: the date of time 0 in ISO 8601, of which the times are seconds; else None.
    label
        The label of the series in its table; empty for a table with one series.
    calendar
        When the dates lie at equal steps of a calendar (months, business days) and not of seconds: its name, see
        :mod:`tokendyn.data.snapshots.calendars`. Times are then counts of its steps after ``epoch``.
    grid
        The fields that the features are points of; None for plain columns.
    time_name
        What the times are called in the table.
    held
        Rows at the end in which the number of some column is not known, and its last known one was filled in.
    """

    values: Float[np.ndarray, "time features"]
    times: Float[np.ndarray, " time"]
    dt: float
    names: tuple[str, ...]
    inputs: Float[np.ndarray, "time inputs"] | None = None
    input_names: tuple[str, ...] = ()
    source: str = "snapshots"
    epoch: str | None = None
    label: str = ""
    calendar: str | None = None
    grid: Grid | None = None
    time_name: str = "time"
    held: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype) if copy else np.asarray(self.values, dtype=dtype)

    def __getitem__(self, rows: slice) -> "Snapshots":
        """Return the rows of a slice; a step above 1 thins the series and lengthens ``dt``."""
        if not isinstance(rows, slice) or (rows.step is not None and rows.step < 1):
            raise BadInputError(f"snapshots are cut by slices that run forward, such as [100:] or [::5]; got {rows!r}")
        inputs = None if self.inputs is None else self.inputs[rows]
        dt = self.dt * (rows.step or 1)
        kept = np.arange(len(self))[rows]
        held = int((kept >= len(self) - self.held).sum())
        return replace(self, values=self.values[rows], times=self.times[rows], dt=dt, inputs=inputs, held=held)

    def select(self, names: Sequence[str]) -> "Snapshots":
        """Return the named features, in that order."""
        absent = [name for name in names if name not in self.names]
        if absent or not names:
            raise BadInputError(f"no feature {', '.join(map(repr, absent))}; there are {', '.join(self.names)}")
        columns = [self.names.index(name) for name in names]
        return replace(self, values=np.ascontiguousarray(self.values[:, columns]), names=tuple(names), grid=None)

    @property
    def unit(self) -> str:
        """The unit of times that are numbers, if the data have one; else empty."""
        unit = "" if self.grid is None or self.epoch is not None else self.grid.time_attrs.get("units", "")
        return unit if isinstance(unit, str) and len(unit) <= _LONGEST_UNIT and " since " not in unit else ""

    @property
    def step_words(self) -> str:
        """The time step in words: ``1 month``, ``10 minutes``, ``0.05 s``; a number where times have no unit."""
        return f"{described_step(self.calendar, self.epoch, self.dt)} {self.unit}".strip()

    def in_words(self, time: float) -> str:
        """Return a time span in words: ``24 months``, ``1.5 hours``, ``0.75 s``, ``3.2 units of time``."""
        return f"{time:.4g} {self.unit}" if self.unit else described_time(self.calendar, self.epoch, time)

    @property
    def time_unit(self) -> tuple[str, float] | None:
        """The unit of rates, ``("month", 1.0)``, and its length in the times; None without one."""
        return (self.unit, 1.0) if self.unit else time_unit(self.calendar, self.epoch, self.dt)

    @property
    def seasons(self) -> tuple[int, ...]:
        """Steps of the seasons that its calendar suggests: 12 of months, 7 of days."""
        return seasons_of(self.calendar, None if self.epoch is None else self.dt)

    def split(self, share: float) -> tuple["Snapshots", "Snapshots"]:
        """Return the first ``share`` of the rows and the rest."""
        if not 0 < share < 1:
            raise BadInputError(f"share is {share}, expected a number between 0 and 1")
        cut = round(share * len(self))
        return self[:cut], self[cut:]

    def with_noise(self, level: float, seed: int) -> "Snapshots":
        """Return the series with Gaussian noise of ``level`` standard deviations of each feature added."""
        noise = np.random.default_rng(seed).normal(size=self.values.shape)
        return replace(self, values=self.values + level * self.values.std(axis=0) * noise)


def plain_array(values: Any) -> np.ndarray:
    """Return numbers as an array without a mask: what is masked is NaN, and objects that are numbers are floats.

    Raises
    ------
    BadInputError
        If the rows of a list are of different lengths.
    """
    if np.ma.isMaskedArray(values):
        return np.asarray(values.astype(np.float64).filled(np.nan) if np.ma.is_masked(values) else values.data)
    try:
        array = np.asarray(values)
    except ValueError:
        raise BadInputError("the rows of a list differ in length; expected (time, features)") from None
    if array.dtype == object and all(isinstance(value, Real) or value is None for value in array.ravel().tolist()):
        return array.astype(np.float64)
    return array


def snapshots(
    values: Any,
    dt: float | None = None,
    times: Any = None,
    names: Sequence[str] | None = None,
    inputs: Any = None,
    input_names: Sequence[str] | None = None,
    fill: str | None = None,
    source: str = "snapshots",
    *,
    constant_allowed: bool = False,
    grid: Grid | None = None,
) -> Snapshots:
    """Check numbers and return them as :class:`Snapshots`.

    Parameters
    ----------
    values
        ``(time, features)`` or, for one feature, ``(time,)``.
    dt, times
        The time step or the time of each row; with neither the step is 1.
    names, input_names
        Names of features and of inputs; ``x0, x1, ...`` and ``u0, u1, ...`` by default.
    inputs
        ``(time, inputs)`` or ``(time,)``.
    fill
        ``"linear"`` or ``"previous"`` fills NaN gaps and missing times; None makes them an error.
    source
        Where the numbers come from, for messages.
    constant_allowed
        Accept that all features are constant: in one of several series, say.
    grid
        The fields that the features are points of: messages then name field and cell.

    Raises
    ------
    BadInputError
        With all that is wrong: complex, infinite or missing values, features that are all constant, times that are
        unsorted, duplicate, missing or non-uniform (rows named; the first row of data is 1).

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.data.snapshots import snapshots
    >>> series = snapshots(np.sin(0.1 * np.arange(50))[:, None], dt=0.1, names=["lift"])
    >>> len(series), series.names
    (50, ('lift',))
    """
    if fill not in (None, *FILLS):
        raise BadInputError(f"fill is {fill!r}; expected one of {', '.join(FILLS)}, or nothing")
    table = _numbers(values, source)
    driving = None if inputs is None else _numbers(inputs, f"{source}, inputs")
    labels = _names(names, table.shape[1], "x", source)
    input_labels = () if driving is None else _names(input_names, driving.shape[1], "u", source)
    if driving is not None and len(driving) != len(table):
        raise BadInputError(f"{source}: {len(table)} snapshots but {len(driving)} rows of inputs; expected as many")
    if len(table) < 2:
        raise BadInputError(f"{source}: {len(table)} snapshots; expected at least 2")
    problems: list[str] = []
    if times is None:
        step = 1.0 if dt is None else float(dt)
        if not (np.isfinite(step) and step > 0):
            raise BadInputError(f"{source}: dt is {step}; expected a time above 0")
        at = step * np.arange(len(table))
        slots = np.arange(len(table))
    else:
        at, slots, step, problems = check_times(np.asarray(times), dt, filling=fill is not None)
    label_of = labels.__getitem__ if grid is None else grid.cell
    known = ~np.isnan(table)
    table, more = _checked(table, label_of, slots, len(at), fill, constant_allowed)
    problems += more
    if driving is not None:
        driving, more = _checked(driving, input_labels.__getitem__, slots, len(at), fill, constant_allowed=True)
        problems += more
    if problems:
        raise BadInputError.first_of(source, problems, "problems")
    return Snapshots(
        values=table,
        times=at,
        dt=step,
        names=labels,
        inputs=driving,
        input_names=input_labels,
        source=source,
        grid=grid,
        held=int(known[::-1].argmax(axis=0).max()),
    )


FILLS = ("linear", "previous")

#: Beyond these, squares of values and of their changes, which every model sums, leave float64.
MOST_SIZE, LEAST_CHANGE = 1e150, 1e-150

#: Most grid points for each row that is given: gaps that fill more are not filled but refused.
MOST_GRID = 1000


def _numbers(values: Any, source: str) -> np.ndarray:
    """Return real numbers as ``(rows, columns)`` of float64."""
    array = plain_array(values)
    if np.iscomplexobj(array):
        raise BadInputError(
            f"{source} is complex; a forecast is of real series: give real and imaginary part as two columns"
        )
    if array.dtype.kind not in "fiub":
        raise BadInputError(f"{source} holds {array.dtype}, expected numbers")
    with np.errstate(over="ignore", invalid="ignore"):  # of longer floats; rows are named later
        array = array.astype(np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise BadInputError(f"{source} has shape {array.shape}; expected (time, features)")
    return array


def _names(names: Sequence[str] | None, count: int, letter: str, source: str) -> tuple[str, ...]:
    labels = tuple(f"{letter}{i}" for i in range(count)) if names is None else tuple(map(str, names))
    if len(labels) != count:
        raise BadInputError(f"{source}: {len(labels)} names for {count} columns")
    if len(set(labels)) < len(labels):
        twice = sorted({name for name in labels if labels.count(name) > 1})
        raise BadInputError(f"{source}: the name {', '.join(map(repr, twice))} occurs twice")
    return labels


def check_times(
    times: Num[np.ndarray, " rows"],
    dt: float | None = None,
    *,
    filling: bool = False,
    remedy: str = 'fill them with fill="linear" (or previous)',
) -> tuple[Float[np.ndarray, " time"], Num[np.ndarray, " rows"], float, list[str]]:
    """Return the uniform grid of times, the place of each row on it, the step, and what is wrong.

    A row belongs to grid point ``round((t - t_0) / dt)`` and may lie :data:`UNIFORM` steps beside it plus the
    rounding of the times. With ``filling`` missing grid points are no problem; ``remedy`` is what
    the message says of them otherwise.
    """
    if times.ndim != 1 or len(times) < 2 or times.dtype.kind not in "fiu":
        return times, np.arange(len(times)), 1.0, ["times must be numbers, one for each of two or more rows"]
    times = times.astype(np.float64)
    if not np.isfinite(times).all():
        return times, np.arange(len(times)), 1.0, [f"times are not finite in {listed(~np.isfinite(times))}"]
    problems, steps = [], np.diff(times)
    if (steps < 0).any():
        problems.append(f"times run backwards in {listed(np.flatnonzero(steps < 0) + 1)}; {_sorting(steps)}")
    if (steps == 0).any():
        problems.append(f"times occur twice in {listed(np.flatnonzero(steps == 0) + 1)}; keep one row for each time")
    if problems:
        return times, np.arange(len(times)), 1.0, problems
    # The lower median is one of the steps; the mean of two would be near none of them.
    step = float(np.partition(steps, (len(steps) - 1) // 2)[(len(steps) - 1) // 2]) if dt is None else float(dt)
    if not (np.isfinite(step) and step > 0):
        problems.append(f"dt is {step}; expected a time above 0")
    elif not (times[-1] - times[0]) / step < MOST_GRID * len(times):
        what = f"times run from {times[0]:g} to {times[-1]:g} in steps of {step:.6g}"
        problems.append(f"{what}, far more steps than the {len(times)} rows; correct the times or split the series")
    if problems:
        return times, np.arange(len(times)), 1.0, problems
    if dt is None:
        # The mean of the usual steps is finer than one difference of rounded times.
        step = float(steps[np.abs(steps - step) <= 0.01 * step].mean())
    allowed = UNIFORM + 4 * np.spacing(np.abs(times).max()) / step
    counts = np.round(steps / step).astype(np.int64)
    beside = np.abs(steps / step - counts) > allowed * np.maximum(counts, 1)
    if beside.any() or (counts < 1).any():
        rows = np.flatnonzero(beside | (counts < 1)) + 1
        return (
            times,
            np.arange(len(times)),
            step,
            [f"times are not uniform (step {step:.6g}): {listed(rows)}; resample the series to equal steps"],
        )
    slots = np.concatenate([[0], np.cumsum(counts)])
    if (counts > 1).any() and not filling:
        rows = np.flatnonzero(counts > 1) + 1
        missing = int(slots[-1] + 1 - len(times))
        times_are = "time is" if missing == 1 else "times are"
        problems.append(f"{missing} {times_are} missing before {listed(rows)}; {remedy}")
    return times[0] + step * np.arange(slots[-1] + 1), slots, step, problems


def scale_problems(table: np.ndarray, name_of: Callable[[int], str]) -> list[str]:
    """Return which columns are too large, or change too little, for float64 to hold their squares; NaN is no value."""
    lows, highs = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
    reach = np.maximum(np.abs(lows), np.abs(highs))
    small = (highs > lows) & (highs / 2 - lows / 2 < LEAST_CHANGE)
    problems = [
        f"{name_of(k)!r} reaches {reach[k]:.3g}, and squares of it are no numbers; give it in a larger unit"
        for k in np.flatnonzero(reach > MOST_SIZE).tolist()
    ]
    return problems + [
        f"{name_of(k)!r} changes by {highs[k] - lows[k]:.3g}, and squares of it are 0; give it in a smaller unit"
        for k in np.flatnonzero(small & (reach <= MOST_SIZE)).tolist()
    ]


def _sorting(steps: np.ndarray) -> str:
    """Say what to do about times that run backwards: once or twice, several series lie one after the other."""
    back = int((steps < 0).sum())
    several = back < len(steps) / 10
    also = "; or are these several series? then name the column that tells them apart (series)" if several else ""
    return f"sort the rows by time{also}"


def _checked(
    table: np.ndarray,
    name_of: Callable[[int], str],
    places: np.ndarray,
    length: int,
    fill: str | None,
    constant_allowed: bool,
) -> tuple[np.ndarray, list[str]]:
    """Return the table on the whole grid, gaps filled when asked, and what is wrong."""
    problems = []
    infinite, empty = np.isinf(table), np.isnan(table)
    for column in np.flatnonzero((infinite | empty).any(axis=0)).tolist():
        name = name_of(column)
        if infinite[:, column].any():
            problems.append(f"{name!r} is infinite in {listed(infinite[:, column])}; remove or repair the rows")
            continue
        if empty[:, column].all():
            problems.append(f"{name!r} holds no number; leave it out")
        elif empty[:, column].any() and fill is None:
            problems.append(
                f'{name!r} is NaN in {listed(empty[:, column])}; fill gaps with fill="linear" (or previous)'
            )
    if not problems:
        problems += scale_problems(table, name_of)
    if not (problems or constant_allowed) and (np.nanmin(table, axis=0) == np.nanmax(table, axis=0)).all():
        shown = ", ".join(repr(name_of(column)) for column in range(min(table.shape[1], LISTED)))
        more = f" and {table.shape[1] - LISTED} more" if table.shape[1] > LISTED else ""
        problems.append(f"{shown}{more} is constant; a forecast needs a column that changes")
    if problems or (length != len(places) and fill is None):
        return table, problems
    if length == len(places) and not empty.any():
        return np.ascontiguousarray(table), problems
    filled = np.empty((length, table.shape[1]))
    for place in range(table.shape[1]):
        known = ~empty[:, place]
        filled[:, place] = _filled(places[known], table[known, place], length, fill or "linear")
    return filled, problems


def _filled(slots: np.ndarray, values: np.ndarray, length: int, fill: str) -> np.ndarray:
    """Return values on the whole grid; before the first and after the last known one the nearest is kept."""
    grid = np.arange(length)
    if fill == "linear":
        return np.interp(grid, slots, values)
    return values[np.maximum(np.searchsorted(slots, grid, side="right") - 1, 0)]


def listed(rows: Bool[np.ndarray, " rows"] | Num[np.ndarray, " rows"]) -> str:
    """Name rows for a message, the first row of data is 1; places and truth values are accepted."""
    numbers = np.flatnonzero(rows) if rows.dtype == bool else rows
    shown = ", ".join(str(int(number) + 1) for number in numbers[:LISTED])
    more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
    return f"row{'s' if len(numbers) > 1 else ''} {shown}{more}"


def wrong_numbers(part: np.ndarray) -> str:
    """Say which entries of a column are not numbers."""
    import pandas as pd

    if part.ndim != 1 or part.dtype.kind not in "OUST":
        return f"holds {part.dtype}"
    entries = pd.Series(part)
    wrong = np.flatnonzero((pd.to_numeric(entries, errors="coerce").isna() & entries.notna()).to_numpy())
    return f"is text, {str(part[wrong[0]])[:40]!r}, in {listed(wrong)}" if len(wrong) else "is text"
