"""Tables of numbers with a header row: recognition of the header, and the columns as blocks of numbers."""

import csv
import itertools
import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tokendyn.data.cells import is_missing, is_odd, not_a_number, number_in
from tokendyn.data.text_files import open_text
from tokendyn.errors import LISTED, BadInputError


def split_header(path: Path, delimiter: str) -> list[str]:
    """Return the cells of the first line that is not blank; none if every line is.

    Raises
    ------
    BadInputError
        If the beginning of the file cannot be read.
    """
    with open_text(path) as file:
        rows = ([cell.strip() for cell in cells] for _, cells in file.rows(delimiter, strict=False))
        return next(filter(any, rows), [])


def check_header(source: str, cells: Sequence[str]) -> None:
    """Raise BadInputError if the first line of a table that must name its columns seems to be a row of numbers.

    Whole numbers beside names are accepted as names: years, say, or the numbers of points. So are the numbers 0, 1, 2
    and so on that pandas writes above columns without names.
    """
    values = {cell: number_in(cell) for cell in cells}
    numbers = [value for value in values.values() if value is not None]
    texts = [cell for cell, value in values.items() if value is None and cell]
    whole = all(math.isfinite(value) and value == int(value) for value in numbers)
    counted = [cell for cell in cells if cell] == list(map(str, range(len(numbers))))
    if numbers and counted and (len(numbers) > 2 or not cells[0]):
        return
    if numbers and (not texts or any(map(is_odd, texts)) or not whole):
        raise BadInputError(f"{source} has no header row; name the columns in the first line")


def is_index(values: np.ndarray) -> bool:
    """Return whether numbers may be those of rows: whole, and no two the same."""
    if values.dtype.kind not in "fiu" or not np.array_equal(values, np.floor(values)):
        return False
    return len(np.unique(values)) == len(values)


def first_is_index(path: Path, delimiter: str) -> bool:
    """Return whether the first column of a table with a header may hold the numbers of rows."""
    values = array("d")
    with open_text(path) as file, suppress(ValueError):  # number_blocks reports what cannot be read
        rows = filled_rows(file.rows(delimiter))
        next(rows, None)
        values.extend(float(cells[0]) for _, cells in rows)
        return len(values) > 0 and is_index(np.frombuffer(values))
    return False


def filled_rows(rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, their cells without spaces around them, with their line numbers.

    Rows of empty cells are blank at the beginning and at the end, where spreadsheets leave them. Between others they
    stand for missing numbers, and the first of them is among the rows.
    """
    begun, empty = False, None
    for line, row in rows:
        cells = [cell.strip() for cell in row]
        if any(cells):
            if empty is not None:
                yield empty
            begun, empty = True, None
            yield line, cells
        elif begun and empty is None and (len(row) > 1 or row == [""]):
            empty = (line, cells)


def shape_problems(path: Path, delimiter: str) -> list[str]:
    """Return the faults of the number of cells of the first rows of a table with a header; empty is no problem.

    A blank line in a table of one column may stand for a missing number.

    Raises
    ------
    BadInputError
        If the file cannot be read.
    """
    problems: list[str] = []
    header = 0
    gaps: list[int] = []
    with open_text(path) as file:
        for line, cells in file.rows(delimiter, strict=False):
            if not any(map(str.strip, cells)):
                gaps += [line] if header == 1 and not cells and len(gaps) < LISTED else []
                continue
            header = header or len(cells)
            # Blank lines at the end are no gaps: they are reported once a row follows.
            problems += [f"line {gap} is blank; write nan for a missing number" for gap in gaps]
            gaps = []
            if len(cells) != header:
                problems.append(f"line {line} has {len(cells)} columns, the header has {header}")
            if len(problems) >= LISTED:
                break
    return problems[:LISTED]


def bad_cells(path: Path, delimiter: str, skipped: Collection[int] = ()) -> list[str]:
    """Return the faults of the first cells of a table with a header that are not numbers; empty is no problem."""
    problems: list[str] = []
    with suppress(BadInputError), open_text(path) as file:
        rows = filled_rows(file.rows(delimiter))
        _, header = next(rows, (0, []))
        for line, cells in rows:
            problems += _row_problems(line, cells, header, skipped)
            if len(problems) >= LISTED:
                break
    return problems[:LISTED]


def number_blocks(
    path: Path, delimiter: str, kept: Sequence[int], rows: int
) -> Iterator[Float[np.ndarray, "rows columns"]]:
    """Yield the numbers of some columns of a table with a header, from ``rows`` lines at a time; NaN is a missing one.

    Parameters
    ----------
    path, delimiter
        The table.
    kept
        Numbers of the columns that hold numbers, from 0, ascending.
    rows
        Lines that are parsed at a time.

    Raises
    ------
    BadInputError
        If a row has more or fewer cells than the header, or a cell is not a number: the first ten are listed.
    """
    with open_text(path) as file:
        header = file.rows(delimiter, strict=False)
        columns = next((len(cells) for _, cells in header if any(map(str.strip, cells))), 0)
        while lines := list(itertools.islice(file.stream, rows)):
            filled = [line for line in lines if not line.isspace()]
            block = _parsed(filled, delimiter, kept, columns) if filled else np.empty((0, len(kept)))
            if block is None:
                problems = bad_cells(path, delimiter, set(range(columns)) - set(kept))
                raise BadInputError.first_of(str(path), problems or ["rows cannot be read"], "cells")
            yield block


def _parsed(lines: list[str], delimiter: str, kept: Sequence[int], columns: int) -> np.ndarray | None:
    """Return the numbers of some lines, None where a row is ragged or a cell no number."""
    # numpy's parser is several times as fast as the csv module; it does not count the cells that it passes over.
    if all(line.count(delimiter) == columns - 1 and '"' not in line for line in lines):
        with suppress(ValueError):  # a missing number, or none
            return np.loadtxt(lines, delimiter=delimiter, usecols=kept, comments=None, ndmin=2)
    block = array("d")
    with suppress(csv.Error):
        for cells in csv.reader(lines, delimiter=delimiter, strict=True):
            texts = [cells[column].strip() for column in kept if column < len(cells)]
            values = [number_in(text) for text in texts]
            wrong = (value is None and not is_missing(text) for value, text in zip(values, texts, strict=True))
            if len(cells) != columns or any(wrong):
                return None
            block.extend(math.nan if value is None else value for value in values)
        return np.frombuffer(block).reshape(-1, len(kept))
    return None


def _row_problems(line: int, cells: list[str], header: list[str], skipped: Collection[int]) -> Iterator[str]:
    if len(cells) != len(header):
        yield f"line {line} has {len(cells)} columns, the header has {len(header)}"
    for column, cell in enumerate(cells[: len(header)]):
        if column not in skipped and number_in(cell) is None and not is_missing(cell):
            where = f"line {line} holds {cell[:40]!r} in column {header[column][:40]!r}"
            yield f"{where}, not a number{not_a_number(cell)}"
