"""A table of numbers with or without a header, and at most one column of names.

Nothing is inferred from one row: a column holds names only if hardly any of its cells is a number.
"""

import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tokendyn.data.cells import is_missing, is_odd, like_a_number, not_a_number, number_in
from tokendyn.data.delimited import filled_rows, is_index
from tokendyn.data.text_files import open_text
from tokendyn.errors import LISTED, BadInputError
from tokendyn.runs import bounded
from tokendyn.runs.paths import other_separator

#: Largest share of numbers in a column of names: some words of a vocabulary are numbers.
NAMES_SHARE = 0.1

_INDEX_NAMES = frozenset({"", "unnamed: 0", "id", "index"})  # pandas and R write an index without a name
_HAS_POINT = re.compile(r"[.eE]")
_TEXT_BYTES = 64  # of memory that a short text takes beside its characters


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
    with open_text(path) as file:
        rows = _Rows.read(filled_rows(file.rows(delimiter)))
    table = _judged(path, rows, item, delimiter)
    if table.names_at is None:
        return NumberTable(values=table.values, names=None, name_column=None)
    # The texts are read again: while columns are judged, only numbers are held.
    with open_text(path) as file:
        cells = (row[table.names_at] for _, row in filled_rows(file.rows(delimiter)))
        names = tuple(_bounded(path, cells))
    return NumberTable(values=table.values, names=names[table.header :], name_column=table.name_column)


def _bounded(path: Path, texts: Iterator[str]) -> Iterator[str]:
    """Yield texts; raise BadInputError once they fill more memory than a table may."""
    size = 0
    for text in texts:
        size += _TEXT_BYTES + len(text)
        if size > bounded.MOST_TABLE_BYTES:
            raise BadInputError(f"{path} holds more than {bounded.MOST_TABLE_BYTES / 2**30:.0f} GiB of names; split it")
        yield text


@dataclass
class _Column:
    """The cells of one column that are not finite numbers: the number of each kind, and the first cells."""

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
        """Count one cell, and keep the first ones for messages."""
        if number_in(cell) is not None:
            self.infinite += 1
        elif is_missing(cell):
            self.empty += 1
        else:
            self.texts += 1
            self.like_numbers += like_a_number(cell)
        if len(self.first) < LISTED:
            self.first.append((line, cell))

    def holds_names(self, rows: int) -> bool:
        """Return whether hardly any of the cells is a number."""
        numbers = rows - self.texts - self.empty
        return self.texts > 0 and numbers <= NAMES_SHARE * (self.texts + numbers)


@dataclass
class _Rows:
    """The rows after the first as numbers, NaN where a cell is none, and what is wrong with them.

    ``decimals_only`` says whether every cell is written with a point or an exponent.
    """

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
        table = cls(first=first, first_line=line, columns=[_Column() for _ in first])
        for number, cells in rows:
            table.add(number, cells)
        return table

    def add(self, line: int, cells: list[str]) -> None:
        """Add one row."""
        if len(cells) != len(self.columns):
            self.ragged_count += 1
            if len(self.ragged) < LISTED:
                self.ragged.append((line, len(cells)))
            return
        self.count += 1
        self.decimals_only = self.decimals_only and all(map(_HAS_POINT.search, cells))
        # Most rows hold nothing but numbers: one test of the whole row is much faster than one for each cell.
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


@dataclass
class _Judged:
    """The finite numbers of a table, and which column holds names: its number and what it is called."""

    values: np.ndarray
    header: bool
    names_at: int | None = None
    name_column: str | None = None


def _judged(path: Path, rows: _Rows, item: str, delimiter: str) -> _Judged:
    """Find header and names; an error says so where the columns are separated by another character."""
    try:
        return _found(path, rows, item)
    except BadInputError:
        if problem := other_separator(rows.first, delimiter):
            raise BadInputError(f"{path}: {problem}") from None
        raise


def _found(path: Path, rows: _Rows, item: str) -> _Judged:
    """Find header and names, and raise if a cell that should be a number is none."""
    header = _is_header(path, rows)
    if not rows.first or (header and not rows.count and not rows.ragged):
        raise BadInputError(f"{path} holds no {item}; expected one {item} a row, its coordinates as columns")
    if not header:
        _count_first(rows)
    matrix = np.frombuffer(rows.values, dtype=np.float64).reshape(rows.count, len(rows.first))
    titles = [repr(cell[:40]) if header and cell else str(number) for number, cell in enumerate(rows.first, start=1)]
    texts = [number for number, column in enumerate(rows.columns) if column.holds_names(rows.count)]
    _check_columns(path, rows, texts, titles)
    numeric = [number for number in range(len(rows.columns)) if number not in texts]
    _raise_problems(path, rows, numeric, titles, header)
    if texts:
        values = np.ascontiguousarray(matrix[:, numeric])
        return _Judged(values=values, header=header, names_at=texts[0], name_column=f"column {titles[texts[0]]}")
    if header and rows.first[0].lower() in _INDEX_NAMES and len(numeric) > 1 and is_index(matrix[:, 0]):
        title = titles[0] if rows.first[0] else "1, which has no name"
        values = np.ascontiguousarray(matrix[:, 1:])
        return _Judged(values=values, header=header, names_at=0, name_column=f"column {title}")
    return _Judged(values=matrix, header=header)


def _count_first(rows: _Rows) -> None:
    """Put the first row, which is not a header, before the others as a row of numbers."""
    values = array("d")
    for column, cell in zip(rows.columns, rows.first, strict=True):
        value = number_in(cell)
        if value is None or not math.isfinite(value):
            column.add(rows.first_line, cell)
            column.first.sort()  # its line comes before those of the other rows
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
        return not numbers and all(rows.first) and not any(map(is_odd, rows.first))
    above = [c for column, c in zip(rows.columns, rows.first, strict=True) if not column.holds_names(rows.count)]
    names = [cell for cell in above if cell and number_in(cell) is None]
    if numbers and numbers == list(range(len(numbers))):
        if len(numbers) == len(values) > 1 and rows.decimals_only and not rows.ragged:
            raise BadInputError(
                f"{path}: the first line, {','.join(rows.first)[:40]!r}, may be a header or numbers; name the columns "
                "by words, or write the numbers as all others are written, with a point"
            )
        return (not rows.first[0] and len(numbers) == len(values) - 1) or (bool(names) and not any(map(is_odd, names)))
    return not numbers and bool(names) and not any(map(is_odd, above))


def _check_columns(path: Path, rows: _Rows, texts: list[int], titles: list[str]) -> None:
    """Raise if there are several columns of names, or one that holds badly written numbers or nothing."""
    if len(texts) > 1 or (texts and len(texts) == len(rows.columns)):
        line, cell = rows.columns[texts[-1]].first[0]
        example = f"line {line} holds {cell[:40]!r} in column {titles[texts[-1]]}{not_a_number(cell)}"
        raise BadInputError(f"{path}: expected numbers and at most one column of names; {example}")
    for number in texts:
        column = rows.columns[number]
        if column.like_numbers == column.texts:
            line, cell = next((line, cell) for line, cell in column.first if cell)
            raise BadInputError(
                f"{path}: column {titles[number]} holds no numbers, but what looks like them: {cell[:40]!r} in line "
                f"{line}; write numbers as 1234.5, or put a letter into each name"
            )


def _doubt(rows: _Rows, column: int, line: int, cell: str, header: bool) -> str:
    """Return what a text was perhaps meant to be, where it is neither a header nor a name."""
    if not header and line == rows.first_line and not is_odd(cell) and cell:
        return "; if it is a header, name every column by a word"
    if rows.columns[column].texts > rows.count / 2 and not is_odd(cell) and cell:
        return "; if the column holds names, put a letter into each"
    return ""


def _raise_problems(path: Path, rows: _Rows, numeric: list[int], titles: list[str], header: bool) -> None:
    """Raise if rows are ragged, or cells of numeric columns are not finite numbers."""
    whose = "header" if header else "first row"
    problems = [(line, 0, f"has {count} columns, the {whose} has {len(rows.columns)}") for line, count in rows.ragged]
    total = rows.ragged_count + sum(rows.columns[column].bad for column in numeric)
    for column in numeric:
        for line, cell in rows.columns[column].first:
            what = f"holds {cell[:40]!r} in column {titles[column]}, not a finite number{not_a_number(cell)}"
            problems.append((line, column, what + _doubt(rows, column, line, cell, header)))
    if problems:
        listed = [f"line {line} {what}" for line, _, what in sorted(problems)[:LISTED]]
        more = [f"and {total - len(listed)} more lines"] if total > len(listed) else []
        raise BadInputError.all_of(str(path), listed + more, total)
