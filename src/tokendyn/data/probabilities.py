"""Probabilities of texts from a table: one column a class."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.data.labelled_texts import LONGEST_TEXT
from tokendyn.data.text_files import (
    DELIMITERS,
    JSON_LINES,
    TextFile,
    column_numbers,
    ending,
    no_column,
    open_text,
    parse_record,
    read_header,
)
from tokendyn.errors import LISTED, BadInputError

#: How the names of the columns begin that are taken where none is named.
PREFIX = "probability_"


def read_probabilities(
    path: str | Path, columns: Sequence[str] = ()
) -> tuple[tuple[str, ...], Float[np.ndarray, "rows columns"]]:
    """Read columns of probabilities from a CSV, TSV or JSON-lines file (also .gz); other columns are passed over.

    Parameters
    ----------
    path
        The file; its kind goes by its name, as in :func:`tokendyn.data.texts.read_texts`.
    columns
        The names; by default all columns that begin with ``probability_``.

    Returns
    -------
    tuple
        The names, and float64 (rows, columns).

    Raises
    ------
    BadInputError
        If the file cannot be read whole, a column is missing, or a cell is not a number from 0 to 1; rows at fault are
        counted, ten are listed.
    """
    path = Path(path)
    kind = ending(path)
    if kind not in DELIMITERS and kind not in JSON_LINES:
        raise BadInputError(
            f"{path} is of no known kind; expected a name that ends in .csv, .tsv or .jsonl, optionally .gz"
        )
    values: list[list[float]] = []
    problems: list[str] = []
    faults = 0
    with open_text(path) as file:
        names, rows = (_table if kind in DELIMITERS else _records)(file, columns, DELIMITERS.get(kind, ""))
        for number, cells in enumerate(rows, start=1):
            numbers = [_number(cell) for cell in cells]
            wrong = [name for name, value in zip(names, numbers, strict=False) if math.isnan(value)]
            if len(numbers) == len(names) and not wrong:
                values.append(numbers)
                continue
            faults += 1
            if len(problems) < LISTED:
                shown = "; ".join(f"{name!r} is {str(cells[names.index(name)])[:40]!r}" for name in wrong)
                problems.append(f"row {number}: {shown or 'it lacks columns'}, expected numbers from 0 to 1")
    if problems:
        raise BadInputError.all_of(str(path), problems + ([f"and {faults - LISTED} more rows"] * (faults > LISTED)))
    if not values:
        raise BadInputError(f"{path} holds no rows of data; expected the probabilities of at least one text")
    return tuple(names), np.array(values)


def _table(file: TextFile, columns: Sequence[str], delimiter: str) -> tuple[list[str], Iterator[list[Any]]]:
    """Return the names of the columns, and their cells row by row; a row of another length has no cells."""
    table = file.rows(delimiter, longest=LONGEST_TEXT)
    header = read_header(table, file.source)
    names = _chosen(header, columns, file.source)
    places = column_numbers(header, names, file.source)
    rows = (cells for _, cells in table if cells)
    return names, ([cells[place] for place in places] if len(cells) == len(header) else [] for cells in rows)


def _records(file: TextFile, columns: Sequence[str], _: str) -> tuple[list[str], Iterator[list[Any]]]:
    """Return the names of the columns of JSON lines, and their values line by line; a line without them has none."""
    lines = (line for _, line in file.lines(LONGEST_TEXT))
    first = next(lines, None)
    if first is None:
        raise BadInputError(f"{file.source} is empty; expected a JSON object a line")
    record = _parsed(first)
    names = _chosen(list(record), columns, file.source)
    missing = [no_column(name, record, "columns") for name in names if name not in record]
    if missing:
        raise BadInputError.all_of(file.source, missing)

    def rows() -> Iterator[list[Any]]:
        for record in (_parsed(line) for line in (first, *lines)):
            yield [record[name] for name in names] if set(names) <= set(record) else []

    return names, rows()


def _parsed(line: str) -> dict[str, Any]:
    """Return the object of a line; one that holds none is a row without columns."""
    try:
        return parse_record(line)
    except ValueError:
        return {}


def _chosen(header: list[str], columns: Sequence[str], source: str) -> list[str]:
    """Return the names of the requested columns."""
    names = list(columns) or [name for name in header if name.startswith(PREFIX)]
    if not names:
        raise BadInputError(
            f"{source} has no column that begins with {PREFIX!r}: it has {', '.join(map(repr, header[:8]))}; name the "
            "columns of probabilities by `columns`"
        )
    return names


def _number(cell: Any) -> float:
    """Return a probability; NaN for what is none."""
    try:
        value = float(cell) if isinstance(cell, str | int | float) and not isinstance(cell, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan
    return value if 0.0 <= value <= 1.0 else math.nan
