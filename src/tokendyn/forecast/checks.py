"""Checks of the arguments of a forecaster: all problems at once, with their rows."""

from collections.abc import Sequence
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.data.snapshots.series import plain_array, scale_problems
from tokendyn.errors import LISTED, BadInputError
from tokendyn.words import counted

#: Number of neighbours in the median that a point is compared with, itself included, and the limit for "far".
_NEIGHBOURS, _FAR = 7, 10.0
_REMEDY = 'fill or cut the gaps first; for files with fill="linear"'


def check_series(series: Any, what: str, *, features: int | None = None) -> np.ndarray:
    """Return one series as a float64 array (time, features).

    Parameters
    ----------
    series
        A real array (time, features), or (time,) for one feature.
    what
        Its name in the messages.
    features
        The number of columns it must have; None for any.

    Raises
    ------
    BadInputError
        If it is not a real numeric array of one or two dimensions, has other columns than expected, or has gaps
        (NaN or infinity, by rows).
    """
    if isinstance(series, str | PathLike):
        raise BadInputError(f"{what} is a path; read the file first: read_series({str(series)!r})")
    array = plain_array(series)
    if np.iscomplexobj(array):
        raise BadInputError(f"{what} is complex; give real and imaginary parts as columns of their own")
    if array.dtype.kind not in "fiub":
        raise BadInputError(f"{what} holds {array.dtype}, expected real numbers")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise BadInputError(f"{what} has shape {array.shape}, expected (time, features)")
    if features is not None and array.shape[1] != features:
        remedy = f"; rows are snapshots: give {what}.T" if array.shape[0] == features else ""
        wide = counted(array.shape[1], "column")
        raise BadInputError(f"{what} has {wide}, expected {features} as in the training series{remedy}")
    with np.errstate(over="ignore", invalid="ignore"):  # values that only longer floats hold are infinite here
        array = np.ascontiguousarray(array, dtype=np.float64)
    gaps = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(gaps):
        raise BadInputError(f"{what} has gaps (NaN or infinity) in {_rows(gaps)}; {_REMEDY}")
    return array


def check_training(
    series: Any, inputs: Any, *, window: int, least: int = 2
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the training series and their inputs (without columns if there are none) as lists of arrays.

    Parameters
    ----------
    series
        One series (time, features), or a list of them; they may differ in length.
    inputs
        None, or the inputs of each series, with the same number of rows.
    window
        Number of snapshots in a window.
    least
        Least total number of windows with a next snapshot.

    Raises
    ------
    BadInputError
        If a series or input is bad (see :func:`check_series`), columns differ between series, all columns
        are constant over all of them, inputs and series do not match, or there are too few snapshots.
    """
    listed = _as_list(series)
    if not listed:
        raise BadInputError("series is empty; give at least one array (time, features)")
    names = ["series"] if len(listed) == 1 else [f"series[{i}]" for i in range(len(listed))]
    arrays = _check_all(listed, names)
    problems = _width_problems(arrays, names) or _constant_columns(arrays) or _scale_problems(arrays)
    problems += _length_problems(arrays, names, window, least)
    if problems:
        raise BadInputError.first_of("the training data", problems, "problems")
    return arrays, _check_inputs(inputs, arrays, names)


def far_points(values: Float[np.ndarray, "time features"]) -> list[tuple[int, int]]:
    """Return row and column of single points that lie far from their neighbours.

    Far is ten times the 95 % quantile of ``|x_k - median(x_{k-3} ... x_{k+3})|`` of the column, and its whole range
    without the point: jumps of a level, spikes that come again and steep growth are not. A column with more than one in
    a hundred of them has spikes.
    """
    from scipy.ndimage import median_filter

    found = []
    for column, one in enumerate(values.T):
        distance = np.abs(one - median_filter(one, size=min(_NEIGHBOURS, len(one)), mode="mirror"))
        usual = _FAR * np.quantile(distance, 0.95)
        far = np.flatnonzero(distance > usual)
        if usual > 0 and 0 < len(far) <= max(len(one) // 100, 1):
            found += [(int(row), column) for row in far if distance[row] > np.ptp(np.delete(one, far))]
    return found


def _scale_problems(arrays: Sequence[np.ndarray]) -> list[str]:
    """Return which columns have values whose squares overflow."""
    ends = np.stack([end(array, axis=0) for array in arrays if len(array) for end in (np.min, np.max)])
    return scale_problems(ends, "column {}".format)


def check_window_inputs(inputs: Any, rows: int, columns: int) -> np.ndarray:
    """Return the inputs (rows, columns) of a window and its horizon; the last ``rows`` of those given.

    Raises
    ------
    BadInputError
        If inputs are given to a model without inputs, missing for a model with inputs, or shorter than the horizon.
    """
    if columns == 0:
        if inputs is not None:
            raise BadInputError("the model was fitted without inputs; leave inputs out, or fit it with them")
        return np.empty((rows, 0))
    if inputs is None:
        raise BadInputError(
            f"the model was fitted with {counted(columns, 'input')}; give inputs of {counted(rows, 'row')}"
        )
    array = check_series(inputs, "inputs", features=columns)
    if len(array) < rows:
        raise BadInputError(
            f"inputs has {counted(len(array), 'row')}, expected {rows}: those of the window and of every step "
            "of the horizon"
        )
    return array[len(array) - rows :]


def check_count(name: str, value: Any, least: int = 1) -> list[str]:
    """Return the fault of a parameter that must be an integer of at least ``least``, if any."""
    good = isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least
    return [] if good else [f"{name} is {value!r}, expected an integer >= {least}"]


def check_number(name: str, value: Any, least: float = 0.0) -> list[str]:
    """Return the fault of a parameter that must be a finite number of at least ``least``, if any."""
    good = isinstance(value, int | float | np.number) and not isinstance(value, bool) and least <= float(value) < np.inf
    return [] if good else [f"{name} is {value!r}, expected a finite number >= {least:g}"]


def deviations(stacked: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column; 0 is replaced by 1, so that errors can be divided by it."""
    scale: np.ndarray = stacked.std(axis=0)
    scale[stacked.min(axis=0) == stacked.max(axis=0)] = 1.0
    return scale


def _as_list(series: Any) -> list[Any]:
    """Return a list of series; one array, also given as nested lists of numbers, is one series."""
    if not isinstance(series, list | tuple):
        return [series]
    if series and isinstance(series[0], Real):
        return [np.asarray(series)]
    if series and isinstance(series[0], list | tuple) and series[0] and isinstance(series[0][0], Real):
        return [np.asarray(series)]
    return list(series)


def _check_all(listed: Sequence[Any], names: Sequence[str]) -> list[np.ndarray]:
    """Return all series, each checked; raise one error with all problems."""
    arrays, problems = [], []
    for one, name in zip(listed, names, strict=True):
        try:
            arrays.append(check_series(one, name))
        except BadInputError as error:
            problems.append(str(error))
    if len(problems) == 1:
        raise BadInputError(problems[0])
    if problems:
        raise BadInputError.first_of("the training data", problems, "series")
    return arrays


def _width_problems(arrays: Sequence[np.ndarray], names: Sequence[str]) -> list[str]:
    """Return the series whose number of columns differs from the first."""
    features = arrays[0].shape[1]
    return [
        f"{name} has {counted(array.shape[1], 'column')}, expected {features} as in {names[0]}"
        for array, name in zip(arrays, names, strict=True)
        if array.shape[1] != features
    ]


def _constant_columns(arrays: Sequence[np.ndarray]) -> list[str]:
    """Return the problem if all columns are constant in all series; single constant columns are allowed."""
    if not sum(map(len, arrays)):
        return []
    low = np.min([array.min(axis=0) for array in arrays if len(array)], axis=0)
    high = np.max([array.max(axis=0) for array in arrays if len(array)], axis=0)
    if (low < high).any():
        return []
    return ["every column is constant; a forecast needs a column that changes"]


def _length_problems(arrays: Sequence[np.ndarray], names: Sequence[str], window: int, least: int) -> list[str]:
    """Return which series are shorter than one window and its target, or that all together are too few."""
    short = [
        f"{name} has {counted(len(array), 'snapshot')}; a window of {window} and the next one need {window + 1}: fewer "
        "delays, a smaller stride, or a longer series"
        + (
            "; rows are snapshots, so a series of (features, time) is given as series.T"
            if len(array.T) > window
            else ""
        )
        for array, name in zip(arrays, names, strict=True)
        if len(array) <= window
    ]
    found = sum(max(len(array) - window, 0) for array in arrays)
    if short or found >= least:
        return short
    needed = window + least if len(arrays) == 1 else least
    unit = "snapshots" if len(arrays) == 1 else "complete windows"
    given = len(arrays[0]) if len(arrays) == 1 else found
    return [f"there are {given} {unit}, and these delays need {needed}: fewer delays, or a longer series"]


def _check_inputs(inputs: Any, arrays: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
    """Return the inputs of each series, aligned with it."""
    if inputs is None:
        return [np.empty((len(array), 0)) for array in arrays]
    listed = _as_list(inputs)
    if len(listed) != len(arrays):
        raise BadInputError(f"got {len(arrays)} series and {counted(len(listed), 'input')}; give one a series")
    called = [name.replace("series", "inputs") for name in names]
    checked = _check_all(listed, called)
    problems = _width_problems(checked, called)
    problems += [
        f"{name} has {counted(len(one), 'row')}, expected {len(array)} as its series"
        for name, one, array in zip(called, checked, arrays, strict=True)
        if len(one) != len(array)
    ]
    if problems:
        raise BadInputError.first_of("inputs", problems, "problems")
    return checked


def _rows(rows: np.ndarray) -> str:
    """Name the first rows of a list, and count the others."""
    shown = ", ".join(str(row) for row in rows[:LISTED])
    more = f" and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"
