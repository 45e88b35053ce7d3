"""The results of a sweep as one table: the same bytes for the same jobs, whoever computed them and in what order."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.optional import library
from tokendyn.runs.folders import new_file

if TYPE_CHECKING:
    import pandas as pd

#: Columns before the swept options.
HEAD = ("job", "run", "status", "error")


def table_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return columns of one kind each, from rows that need not have the same names.

    A column of whole numbers and others becomes one of floats; one that mixes numbers and texts becomes text.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _alike([row.get(name) for row in rows]) for name in names}


def heading_of(file: Path) -> list[str]:
    """Return the cells of the first line of a CSV file, by which a table of one's own is known."""
    with file.open("rb") as stream:
        first = stream.readline(1 << 20).decode("utf-8", "replace")
    return next(csv.reader([first]), [])


def safe_cell(value: Any) -> Any:
    """Return a value for a cell that a spreadsheet shows and does not compute.

    Text that begins as formulas do (``=``, ``+``, ``-``, ``@``, a tab or a carriage return) and is not a number gets an
    apostrophe in front; anything else is returned unchanged.

    Examples
    --------
    >>> from tokendyn.runs.table import safe_cell
    >>> [safe_cell(value) for value in ("=1+1", "-1", "- dull", 2.5)]
    ["'=1+1", '-1', "'- dull", 2.5]
    """
    if not isinstance(value, str) or not value.lstrip(" ").startswith(_FORMULAS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_frame(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table whose texts are passed through :func:`safe_cell`."""
    texts = [name for name in frame.columns if frame[name].dtype.kind not in "fiub"]
    return frame.assign(**{name: [safe_cell(value) for value in frame[name]] for name in texts})


def write_csv(path: str | Path, table: Mapping[str, Sequence[Any]]) -> None:
    """Write a table as CSV; floats with the digits that give them back exactly."""
    with new_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table)
        writer.writerows([_cell(value) for value in row] for row in zip(*table.values(), strict=True))


def write_parquet(path: str | Path, table: Mapping[str, Sequence[Any]]) -> None:
    """Write a table as Parquet."""
    pyarrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    with new_file(path) as temporary:
        parquet.write_table(pyarrow.table({name: pyarrow.array(values) for name, values in table.items()}), temporary)


def numbers(table: Mapping[str, Sequence[Any]], names: Iterable[str]) -> list[str]:
    """Return those of the names whose columns hold numbers, of which at least two differ."""
    numeric = []
    for name in names:
        values = {value for value in table.get(name, ()) if isinstance(value, int | float)}
        if len(values) > 1 and not any(isinstance(value, str) for value in table[name]):
            numeric.append(name)
    return numeric


def _alike(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 and not kinds & {list, dict}:
        return values
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else safe_cell(value)
