"""Numbers in delimited text: what is a number, which row is a header, and which column holds names.

Nothing is inferred from one row: a column holds names only if hardly any of its cells is a number.
"""

import csv
import itertools
import math
import re
import zlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tokendyn.errors import LISTED, BadInputError
from tokendyn.runs import bounded

#: Largest share of numbers in a column of names: some words of a vocabulary are numbers.
NAMES_SHARE = 0.1

_DIGITS = frozenset("0123456789")
_NO_DIGITS = str.maketrans("", "", "0123456789.,;_'\u00a0\u2009 %")
_OTHER_NUMBER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|\d+\.?\d*[dD][+-]?\d+)")  # hexadecimal, and as Fortran writes
_MISSING = frozenset({"", "-", "--", "?", "na", "n/a", "#n/a", "null", "none", "nil", "missing", "nan"})
_INDEX_NAMES = frozenset({"", "unnamed: 0", "id", "index"})  # pandas and R write an index without a name


def number_in(cell: str) -> float | None:
    """Return the number in a cell, None for text.

    A number is written with ASCII digits, a point, and an exponent; ``nan``, ``inf`` and ``infinity`` are numbers that
    are not finite. What Python's ``float`` takes beyond that (``1_000``, digits of other scripts) is text.

    Examples
    --------
    >>> from tokendyn.data.delimited import number_in
    >>> [number_in(cell) for cell in ("-1.5e3", "1_000", "1,5", "1.2.3")]
    [-1500.0, None, None, None]
    """
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if cell.isascii() and "_" not in cell else None


def not_a_number(cell: str) -> str:
    """Say how to write a cell that was meant as a number; nothing when there is no telling."""
    if ";" in cell:
        return "; separate columns by commas, and write numbers with a point"
    if "_" in cell or "'" in cell or " " in cell:
        return "; write numbers as 1000, without separators"
    if "," in cell:
        return "; write numbers with a point, such as 1.5"
    return ""


def _like_a_number(cell: str) -> bool:
    """Return whether a text consists of what numbers consist of, such as ``1.2.3``, ``1,5`` or ``1_000``."""
    if _OTHER_NUMBER.fullmatch(cell):
        return True
    return bool(_DIGITS & set(cell)) and not cell.lstrip("+-").translate(_NO_DIGITS)


def _is_odd(cell: str) -> bool:
    """Return whether a text is an unlikely name of a column: a missing value, or a number with one wrong letter."""
    if cell.lower() in _MISSING or _like_a_number(cell):
        return bool(cell)
    left = cell.lstrip("+-").translate(_NO_DIGITS)
    begins = cell.lstrip("+-.")[:1] in _DIGITS or (left in "oOlI" and ("." in cell or "," in cell))
    return len(left) == 1 and begins and bool(_DIGITS & set(cell))


def split_header(path: Path, delimiter: str) -> list[str]:
    """Return the cells of the first line that is not blank.

    Raises
    ------
    BadInputError
        If the line is no row of delimited text. Other errors are left to the caller.
    """
    try:
        with bounded.open_table(path) as stream:
            for cells in csv.reader(stream, delimiter=delimiter):
                if any(map(str.strip, cells)):
                    return [cell.strip() for cell in cells]
    except csv.Error as error:
        raise BadInputError(f"{path}: the first line cannot be read ({error})") from None
    return []


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
    if numbers and (not texts or any(map(_is_odd, texts)) or not whole):
        raise BadInputError(f"{source} has no header row; name the columns in the first line")


def is_index(values: np.ndarray) -> bool:
    """Return whether numbers may be those of rows: whole, and no two the same."""
    if values.dtype.kind not in "fiu" or not np.array_equal(values, np.floor(values)):
        return False
    return len(np.unique(values)) == len(values)


def first_is_index(path: Path, delimiter: str) -> bool:
    """Return whether the first column of a table with a header holds what may be the numbers of rows."""
    values = array("d")
    with bounded.open_table(path) as stream, suppress(ValueError, csv.Error):  # whoever reads the rows says so
        rows = _cells(stream, delimiter)
        next(rows, None)
        values.extend(float(cells[0]) for _, cells in rows)
        return len(values) > 0 and is_index(np.frombuffer(values))
    return False


def shape_problems(path: Path, delimiter: str) -> list[str]:
    """Return what is wrong with the number of cells of the first rows of a table with a header; empty is no problem.

    A blank line in a table of one column may stand for a missing number.

    Raises
    ------
    BadInputError
        If the file is no delimited text.
    """
    problems: list[str] = []
    try:
        with bounded.open_table(path) as stream:
            header = 0
            gaps: list[int] = []
            reader = csv.reader(stream, delimiter=delimiter)
            for cells in reader:
                if not any(map(str.strip, cells)):
                    gaps += [reader.line_num] if header == 1 and not cells and len(gaps) < LISTED else []
                    continue
                header = header or len(cells)
                problems += [f"line {line} is blank; write nan for a missing number" for line in gaps]
                gaps = []
                if len(cells) != header:
                    problems.append(f"line {reader.line_num} has {len(cells)} columns, the header has {header}")
                if len(problems) >= LISTED:
                    break
    except csv.Error as error:
        raise BadInputError(f"{path} cannot be read: {error}") from None
    return problems[:LISTED]


def bad_cells(path: Path, delimiter: str, passed_over: Collection[int] = ()) -> list[str]:
    """Return what is wrong with the first cells of a table with a header that are no numbers; empty is no problem."""
    problems: list[str] = []
    with suppress(csv.Error, UnicodeDecodeError, OSError, EOFError, zlib.error), bounded.open_table(path) as stream:
        rows = _cells(stream, delimiter)
        _, header = next(rows, (0, []))
        for line, cells in rows:
            problems += _bad_in_row(line, cells, header, passed_over)
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
        Places of the columns that hold numbers, ascending.
    rows
        Lines that are parsed at a time.

    Raises
    ------
    BadInputError
        If a row has more or fewer cells than the header, or a cell is no number: the first ten are listed.
    """
    with bounded.open_table(path) as stream:
        header = csv.reader(stream, delimiter=delimiter)
        columns = next((len(cells) for cells in header if any(map(str.strip, cells))), 0)
        while lines := list(itertools.islice(stream, rows)):
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
            texts = [cells[place].strip() for place in kept if place < len(cells)]
            values = [number_in(text) for text in texts]
            wrong = (value is None and text.lower() not in _MISSING for value, text in zip(values, texts, strict=True))
            if len(cells) != columns or any(wrong):
                return None
            block.extend(math.nan if value is None else value for value in values)
        return np.frombuffer(block).reshape(-1, len(kept))
    return None


def _bad_in_row(line: int, cells: list[str], header: list[str], passed_over: Collection[int]) -> Iterator[str]:
    if len(cells) != len(header):
        yield f"line {line} has {len(cells)} columns, the header has {len(header)}"
    for place, cell in enumerate(cells[: len(header)]):
        if place not in passed_over and number_in(cell) is None and cell.lower() not in _MISSING:
            where = f"line {line} holds {cell[:40]!r} in column {header[place][:40]!r}"
            yield f"{where}, not a number{not_a_number(cell)}"


@dataclass(frozen=True)
class NumberTable:
    """Numbers of a table, and one column of names.

    Attributes
    ----------
    values
        ``(rows, columns)``, finite.
    names
        The cells of the column of names, None if there is none.
    name_column
        What that column is called, None if there is none.
    """

    values: Float[np.ndarray, "rows columns"]
    names: tuple[str, ...] | None
    name_column: str | None


def read_numbers(path: Path, delimiter: str, item: str = "token") -> NumberTable:
    """Read a table of numbers with at most one column of names; one ``item`` a row.

    Columns are judged by all rows. The first row is a header if it holds text above numbers and no number.

    Raises
    ------
    BadInputError
        If the file cannot be read whole, is empty or ragged, or a cell of a column of numbers is none; each is named
        with its line and column.
    """
    try:
        with bounded.open_table(path) as stream:
            rows = _Rows.read(_cells(stream, delimiter))
        found = _judged(path, rows, item)
        if found.names_at is None:
            return NumberTable(found.values, None, None)
        with bounded.open_table(path) as stream:
            cells = (row[1] for row in _cells(stream, delimiter))
            names = tuple(_held(path, (row[found.names_at] for row in cells)))
        return NumberTable(found.values, names[found.header :], found.name_column)
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is not UTF-8 text (byte {error.start}); convert it to UTF-8") from None
    except MemoryError:
        raise BadInputError(f"{path} cannot be read: it does not fit into memory") from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise BadInputError(f"{path} cannot be read: {error}") from None


def _cells(stream: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with their line numbers.

    Rows of empty cells are blank at the beginning and at the end, where spreadsheets leave them; between others they
    stand for missing numbers, and the first of them is among the rows.
    """
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    begun, empty = False, None
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells):
            if empty is not None:
                yield empty
            begun, empty = True, None
            yield reader.line_num, cells
        elif begun and empty is None and (len(row) > 1 or row == [""]):
            empty = (reader.line_num, cells)


def _held(path: Path, texts: Iterator[str]) -> Iterator[str]:
    held = 0
    for text in texts:
        held += 64 + len(text)
        if held > bounded.MOST_TABLE_BYTES:
            raise BadInputError(f"{path} holds more than {bounded.MOST_TABLE_BYTES / 2**30:.0f} GiB of names; split it")
        yield text


@dataclass
class _Column:
    """What is known of the cells of one column that are not finite numbers."""

    texts: int = 0
    empty: int = 0
    infinite: int = 0
    like_numbers: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)

    @property
    def bad(self) -> int:
        """How many cells cannot be taken as numbers."""
        return self.texts + self.empty + self.infinite

    def add(self, line: int, cell: str) -> None:
        """Take note of one cell."""
        if number_in(cell) is not None:
            self.infinite += 1
        elif cell.lower() in _MISSING:
            self.empty += 1
        else:
            self.texts += 1
            self.like_numbers += _like_a_number(cell)
        if len(self.first) < LISTED:
            self.first.append((line, cell))

    def holds_names(self, rows: int) -> bool:
        """Return whether hardly any of the cells is a number."""
        numbers = rows - self.texts - self.empty
        return self.texts > 0 and numbers <= NAMES_SHARE * (self.texts + numbers)


@dataclass
class _Rows:
    """All rows after the first as numbers, NaN where there is none, and what is wrong with them."""

    first: list[str]
    first_line: int
    columns: list[_Column] = field(default_factory=list)
    values: "array[float]" = field(default_factory=lambda: array("d"))
    count: int = 0
    ragged: list[tuple[int, int]] = field(default_factory=list)
    ragged_count: int = 0
    decimals_only: bool = True

    @classmethod
    def read(cls, rows: Iterator[tuple[int, list[str]]]) -> "_Rows":
        """Read all rows."""
        line, first = next(rows, (0, []))
        made = cls(first, line, [_Column() for _ in first])
        for number, cells in rows:
            made.add(number, cells)
        return made

    def add(self, line: int, cells: list[str]) -> None:
        """Take one row."""
        if len(cells) != len(self.columns):
            self.ragged_count += 1
            if len(self.ragged) < LISTED:
                self.ragged.append((line, len(cells)))
            return
        self.count += 1
        self.decimals_only = self.decimals_only and all(map(_HAS_POINT.search, cells))
        whole = "".join(cells)
        if whole.isascii() and "_" not in whole:
            try:
                values = [float(cell) for cell in cells]
            except ValueError:
                values = []
            if values and all(map(math.isfinite, values)):
                self.values.extend(values)
                return
        for column, cell in zip(self.columns, cells, strict=True):
            value = number_in(cell)
            if value is None or not math.isfinite(value):
                column.add(line, cell)
                value = math.nan
            self.values.append(value)


_HAS_POINT = re.compile(r"[.eE]")


@dataclass
class _Judged:
    """The finite numbers of a table, and which column holds names."""

    values: np.ndarray
    header: bool
    names_at: int | None = None
    name_column: str | None = None


def _judged(path: Path, rows: _Rows, item: str) -> _Judged:
    """Find header and names, and raise if a cell that should be a number is none."""
    header = _is_header(path, rows)
    if not rows.first or (header and not rows.count and not rows.ragged):
        raise BadInputError(f"{path} holds no {item}; expected one {item} a row, its coordinates as columns")
    if not header:
        _count_first(rows)
    matrix = np.frombuffer(rows.values, dtype=np.float64).reshape(rows.count, len(rows.first))
    called = [repr(c[:40]) if header and c else f"{place}" for place, c in enumerate(rows.first, start=1)]
    text = [place for place, column in enumerate(rows.columns) if column.holds_names(rows.count)]
    _check_columns(path, rows, text, called)
    numeric = [place for place in range(len(rows.columns)) if place not in text]
    _raise_problems(path, rows, numeric, called, header)
    if text:
        values = np.ascontiguousarray(matrix[:, numeric])
        return _Judged(values, header, text[0], f"column {called[text[0]]}")
    if header and rows.first[0].lower() in _INDEX_NAMES and len(numeric) > 1 and is_index(matrix[:, 0]):
        called[0] = called[0] if rows.first[0] else "1, which has no name"
        return _Judged(np.ascontiguousarray(matrix[:, 1:]), header, 0, f"column {called[0]}")
    return _Judged(matrix, header)


def _count_first(rows: _Rows) -> None:
    """Take the first row as a row of numbers."""
    values = array("d")
    for column, cell in zip(rows.columns, rows.first, strict=True):
        value = number_in(cell)
        if value is None or not math.isfinite(value):
            column.add(rows.first_line, cell)
            column.first.sort()
            value = math.nan
        values.append(value)
    rows.values[:0] = values
    rows.count += 1


def _is_header(path: Path, rows: _Rows) -> bool:
    """Return whether the first row names columns: text above numbers, and no number itself.

    The numbers 0, 1, ... are names where the other cells are names or empty: so pandas writes columns without names.
    """
    values = [number_in(cell) for cell in rows.first]
    numbers = [value for value in values if value is not None]
    if not rows.count:
        return not numbers and all(rows.first) and not any(map(_is_odd, rows.first))
    above = [c for column, c in zip(rows.columns, rows.first, strict=True) if not column.holds_names(rows.count)]
    names = [cell for cell in above if cell and number_in(cell) is None]
    if numbers and numbers == list(range(len(numbers))):
        if len(numbers) == len(values) > 1 and rows.decimals_only and not rows.ragged:
            raise BadInputError(
                f"{path}: the first line, {','.join(rows.first)[:40]!r}, may be a header or numbers; name the columns "
                "by words, or write the numbers as all others are written, with a point"
            )
        return (not rows.first[0] and len(numbers) == len(values) - 1) or (bool(names) and not any(map(_is_odd, names)))
    return not numbers and bool(names) and not any(map(_is_odd, above))


def _check_columns(path: Path, rows: _Rows, text: list[int], called: list[str]) -> None:
    """Raise if there are several columns of names, or one that holds badly written numbers or nothing."""
    if len(text) > 1 or (text and len(text) == len(rows.columns)):
        line, cell = rows.columns[text[-1]].first[0]
        some = f"line {line} holds {cell[:40]!r} in column {called[text[-1]]}{not_a_number(cell)}"
        raise BadInputError(f"{path}: expected numbers and at most one column of names; {some}")
    for place in text:
        column = rows.columns[place]
        if column.like_numbers == column.texts:
            line, cell = next((line, cell) for line, cell in column.first if cell)
            raise BadInputError(
                f"{path}: column {called[place]} holds no numbers, but what looks like them: {cell[:40]!r} in line "
                f"{line}; write numbers as 1234.5, or put a letter into each name"
            )


def _doubt(rows: _Rows, place: int, line: int, cell: str, header: bool) -> str:
    """Say what a text may have been meant for, where it is neither a header nor a name."""
    if not header and line == rows.first_line and not _is_odd(cell) and cell:
        return "; if it is a header, name every column by a word"
    if rows.columns[place].texts > rows.count / 2 and not _is_odd(cell) and cell:
        return "; if the column holds names, put a letter into each"
    return ""


def _raise_problems(path: Path, rows: _Rows, numeric: list[int], called: list[str], header: bool) -> None:
    """Raise if rows are ragged, or cells of numeric columns are not finite numbers."""
    whose = "header" if header else "first row"
    problems = [(line, 0, f"has {count} columns, the {whose} has {len(rows.columns)}") for line, count in rows.ragged]
    total = rows.ragged_count + sum(rows.columns[place].bad for place in numeric)
    for place in numeric:
        for line, cell in rows.columns[place].first:
            what = f"holds {cell[:40]!r} in column {called[place]}, not a finite number{not_a_number(cell)}"
            problems.append((line, place, what + _doubt(rows, place, line, cell, header)))
    if problems:
        listed = [f"line {line} {what}" for line, _, what in sorted(problems)[:LISTED]]
        more = [f"and {total - len(listed)} more lines"] if total > len(listed) else []
        raise BadInputError.all_of(str(path), listed + more, total)
