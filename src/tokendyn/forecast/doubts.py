"""What of some data may be a mistake: single far points, marks of missing numbers, ends that were filled."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tokendyn.data.snapshots import Snapshots
from tokendyn.errors import listing
from tokendyn.forecast.checks import far_points
from tokendyn.words import counted

#: Numbers that mark missing ones in files of many sources.
_MARKS = (-99.0, -999.0, -9999.0, -99999.0, 9999.0, 99999.0, 1e20, -1e20, 9.969209968386869e36)


def doubts(series: Sequence[Snapshots]) -> list[str]:
    """Return what moves a forecast and may be a mistake: far points, marks of missing numbers, filled ends."""
    notes = []
    for one in series:
        of = f"series {one.label}: " if one.label else ""
        if one.held:
            rows = "row lacks" if one.held == 1 else f"{one.held} rows lack"
            notes.append(f"{of}the last {rows} numbers, for which the last known ones stand; the forecast begins after")
        if one.grid is None:
            marks, names = marks_of_gaps(one.values), one.names
        else:
            # Land is marked in every snapshot; fields may be large.
            marks, names = marks_of_gaps(one.values[:1].T), [one.grid.described()]
        for mark, column, count in marks:
            where = counted(count, "row" if one.grid is None else "point of the first snapshot")
            notes.append(f"{of}{names[column]} is {mark:g} in {where}: if that marks missing numbers, write NaN there")
        marked = {(mark, column) for mark, column, _ in marks}
        far = far_points(one.values) if one.grid is None else []
        far = [(row, column) for row, column in far if (one.values[row, column], column) not in marked]
        told = [f"{one.names[column]} is {one.values[row, column]:.4g} in row {row + 1}" for row, column in far]
        if told:
            notes.append(f"{of}{listing(told)}, far from all others, which moves the forecast: is it a mistake?")
    return notes


def marks_of_gaps(values: Float[np.ndarray, "time features"]) -> list[tuple[float, int, int]]:
    """Return number, column and rows of what may mark missing numbers: -999 and the like, far from all others.

    Far is the whole range of the others; a column that holds nothing else has no gaps.
    """
    found = []
    for column, one in enumerate(values.T):
        for mark in np.intersect1d(one, _MARKS):
            rest = one[one != mark]
            if len(rest) and np.abs(rest - mark).min() > np.ptp(rest):
                found.append((float(mark), column, len(one) - len(rest)))
    return found
