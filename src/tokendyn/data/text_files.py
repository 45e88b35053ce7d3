"""The one way to open a text file of any origin: encoding, compression, limits, delimiters, and what can go wrong."""

import csv
import gzip
import io
import json
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError, did_you_mean, listing
from tokendyn.runs import bounded
from tokendyn.runs.opened import note_opened
from tokendyn.runs.paths import foreign_kind, no_file

#: What separates the columns of a table, by the ending of its name.
DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}

#: Endings of files with one JSON object a line.
JSON_LINES = (".jsonl", ".ndjson")

_csv_limit = threading.Lock()


def ending(path: str | Path) -> str:
    """Return the ending of a file's name in small letters, that of what is packed when the name ends in ``.gz``.

    Examples
    --------
    >>> from tokendyn.data.text_files import ending
    >>> ending("Reviews.CSV.gz")
    '.csv'
    """
    return Path(Path(path).name.lower().removesuffix(".gz")).suffix


@dataclass
class TextFile:
    """An open text file, and how much of it has been read.

    Attributes
    ----------
    stream
        Its text, with the line ends as they are.
    packed
        Its bytes as they are stored; their position tells how far reading has come.
    source
        What it is called in messages.
    line
        The last line that was read whole, from 1.
    """

    stream: io.TextIOWrapper
    packed: io.BufferedIOBase
    source: str
    line: int = 0

    def rows(
        self, delimiter: str, *, strict: bool = True, longest: int | None = None
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of every row, and the number of its last line; a blank line is an empty row.

        Parameters
        ----------
        delimiter
            What separates columns. Cells are quoted with ``"``.
        strict
            Refuse quotation marks in wrong places; else take them as pandas does.
        longest
            Most characters of a cell, by default what the csv module accepts (2^17), which is enough for numbers.

        Raises
        ------
        BadInputError
            If quotation marks do not match, or a cell is longer.
        """
        reader = csv.reader(self.stream, delimiter=delimiter, strict=strict)
        take = partial(next, reader, None) if longest is None else partial(_next_long, reader, longest)
        while True:
            try:
                cells = take()
            except csv.Error as error:
                raise self._unreadable(error, reader.line_num) from None
            if cells is None:
                return
            self.line = line = reader.line_num
            yield line, cells

    def _unreadable(self, error: csv.Error, last: int) -> BadInputError:
        """Return the error for the row after the last whole one, where reading stopped in line ``last``."""
        first = self.line + 1
        where = f"line {first}" if last <= first else f"the row from line {first} to {last}"
        return BadInputError(
            f"{self.source}: {where} cannot be read ({error}); check its quotation marks, and split very long cells"
        )

    def lines(self, longest: int = bounded.LONGEST_LINE) -> Iterator[tuple[int, str]]:
        """Yield every line that is not blank, and its number.

        Raises
        ------
        BadInputError
            If a line has more than ``longest`` characters.
        """
        while line := self.stream.readline(longest + 1):
            if len(line) > longest:
                raise BadInputError(
                    f"{self.source}: line {self.line + 1} is longer than {longest // 2**20} MiB; split it"
                )
            self.line += 1
            if not line.isspace():
                yield self.line, line


def _next_long(reader: Any, longest: int) -> list[str] | None:
    """Return the next row of a csv reader, whose cells may be long; None at the end."""
    # The limit is one for the whole process, and others who use the csv module rely on theirs.
    with _csv_limit:
        limit = csv.field_size_limit(longest)
        try:
            return next(reader, None)
        finally:
            csv.field_size_limit(limit)


@contextmanager
def open_text(path: Path | None, most: int | None = None) -> Iterator[TextFile]:
    """Open a file, plain or ``.gz``, or standard input (None), as UTF-8 text; a byte order mark is accepted.

    Parameters
    ----------
    path
        The file.
    most
        Most bytes of text that it may hold, by default ``MOST_TABLE_BYTES``. The other limits are those of
        :func:`tokendyn.runs.bounded.metered`.

    Raises
    ------
    BadInputError
        While it is open, for whatever prevents reading it whole: it is missing, no file, damaged, too large or not
        UTF-8. The message says what the file seems to be, and what to do.
    """
    source = "standard input" if path is None else str(path)
    most = bounded.MOST_TABLE_BYTES if most is None else most
    file: TextFile | None = None
    try:
        with _opened(path) as packed:
            text = io.TextIOWrapper(bounded.metered(packed, source, most), encoding="utf-8-sig", newline="")
            file = TextFile(stream=text, packed=packed, source=source)
            yield file
    except _DAMAGE as error:
        raise BadInputError(f"{source} {_what_is_wrong(error, path, file.line if file else 0)}") from None


_DAMAGE = (OSError, UnicodeDecodeError, EOFError, zlib.error, MemoryError)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what prevents a library from reading a text file whole into the messages of :func:`open_text`."""
    try:
        yield
    except _DAMAGE as error:
        raise BadInputError(f"{path} {_what_is_wrong(error, path, 0)}") from None


@contextmanager
def _opened(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield sys.stdin.buffer
        return
    note_opened(path)
    bounded.check_regular(path)
    with path.open("rb") as stream:
        if kind := foreign_kind(stream.peek(64)[:64]):
            raise BadInputError(f"{path} is no table or text but {kind}; save it as CSV, UTF-8")
        yield stream


def _what_is_wrong(error: BaseException, path: Path | None, lines: int) -> str:
    """Say what prevented a file from being read whole, and what to do."""
    read = f"; {lines} lines could be read" if lines else ""
    if isinstance(error, FileNotFoundError):
        why = "it does not exist" if path is None else no_file(path)
        return f"is not a file: {why}; texts are read from {listing([*DELIMITERS, *JSON_LINES])} (or .gz)"
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8: {'save it as UTF-8' if path is None else _what_instead(path)}"
    if isinstance(error, gzip.BadGzipFile):
        remedy = "fetch it again, or take .gz from its name if it is plain text"
        return f"cannot be read: it is not a gzip file ({error}{read}); {remedy}"
    if isinstance(error, EOFError | zlib.error):
        return f"cannot be read: it is not a whole gzip file ({error}{read}); fetch it again"
    if isinstance(error, MemoryError):
        return "cannot be read: it does not fit into memory; split it"
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _what_instead(path: Path) -> str:
    """Say what a file that is not UTF-8 seems to be, where, and what to do."""
    try:
        with bounded.open_bytes(path) as stream:
            return _encoding_problem(stream)
    except (OSError, EOFError, zlib.error) as error:
        return f"it is damaged ({error}); fetch it again"


def _encoding_problem(stream: io.BufferedReader) -> str:
    beginning = stream.peek(1024)[:1024]
    if beginning.startswith(b"\x1f\x8b"):
        return "it is compressed by gzip; let its name end in .gz"
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16; save it as UTF-8"
    if b"\0" in beginning:
        return "it is no text but a binary file; give a CSV, TSV or JSONL file"
    for number, line in enumerate(stream, start=1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            near = line[max(0, error.start - 10) : error.start + 10]
            return f"line {number} holds {near!r}, perhaps Windows-1252 or Latin-1; save the file as UTF-8"
    return "save it as UTF-8"


def read_header(rows: Iterable[tuple[int, list[str]]], source: str) -> list[str]:
    """Return the names of the columns, which the first row that is not blank holds.

    Raises
    ------
    BadInputError
        If every row is blank.
    """
    for _, cells in rows:
        names = [cell.strip() for cell in cells]
        if any(names):
            return names
    raise BadInputError(f"{source} is empty; expected a header row and rows of data")


def column_numbers(names: list[str], wanted: list[str], source: str, options: Sequence[str] | None = None) -> list[int]:
    """Return the numbers, from 0, of the wanted columns; ``options`` are the arguments that name them.

    Raises
    ------
    BadInputError
        If a column is missing or occurs twice; all of them are listed.
    """
    named_by = dict(zip(wanted, options or (), strict=False))
    problems = [no_column(name, names, named_by.get(name, "")) for name in wanted if name not in names]
    problems += [f"column {name!r} occurs twice; rename one of them" for name in wanted if names.count(name) > 1]
    if problems:
        raise BadInputError.all_of(source, problems)
    return [names.index(name) for name in wanted]


def no_column(name: str, names: Iterable[Any], option: str = "") -> str:
    """Say that a column is missing, which there are, and which was probably meant or what argument names another."""
    known = [str(other) for other in names]
    listed = listing([repr(other[:40]) for other in known])
    remedy = f"; name the column by `{option}`" if option and known else ""
    return f"no column {name!r}; found {listed or 'none'}{did_you_mean(name, known) or remedy}"


def parse_record(line: str) -> dict[str, Any]:
    """Return the object of one line of JSON lines.

    Raises
    ------
    ValueError
        If the line is not JSON or not an object; the message is meant for users.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(record, dict):
        raise ValueError(f"it is no object: {line.strip()[:40]!r}")
    return record


def half_surrogate(text: str) -> bool:
    """Return whether a text holds half a surrogate pair: JSON can escape it, and UTF-8 cannot hold it."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
