"""Readers of labelled texts: CSV, TSV and JSON lines, plain or gzipped, and the corpora known by name."""

import csv
import gzip
import importlib.resources
import io
import json
import math
import os
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tokendyn.data.collections import read_class_folders
from tokendyn.data.labelled_texts import LONGEST_TEXT, LabelledTexts, meant
from tokendyn.errors import LISTED, BadInputError, listing
from tokendyn.runs import bounded
from tokendyn.runs.opened import note_opened

_MOST_CHARACTERS = 2**24  # of a part of a stream
_ROW_BYTES = 200  # of memory that a row takes beside its characters
_ID = "id"
_csv_limit = threading.Lock()


def read_texts(path: str | Path, text: str = "text", label: str | None = "label") -> LabelledTexts:
    """Read texts, and their labels, from a CSV, TSV or JSON-lines file, or from a folder of class folders.

    Parameters
    ----------
    path
        A folder with one folder for each class (see :func:`tokendyn.data.collections.read_class_folders`), or a
        file in UTF-8 (a byte order mark is accepted) whose name ends in ``.csv``, ``.tsv``, ``.jsonl`` or
        ``.ndjson``, each optionally followed by ``.gz``. CSV and TSV begin with a header row and quote with
        ``"``. Each line of JSON lines is one object.
    text, label
        Names of the columns; ``label=None`` reads texts only.

    Raises
    ------
    BadInputError
        If the file cannot be read whole as UTF-8 in its format, a column is missing, or rows are unusable:
        ragged, an empty label, a text that is not a string. All rows at fault are counted, ten are listed.
    """
    path = Path(path)
    if path.is_dir():
        return read_class_folders(path)
    reader = _reader_for(path)
    collected = _Collected(str(path), text, label)
    with _said_plainly(collected, path), _opened(path) as (stream, _):
        for _ in reader(stream, collected):
            pass
    return collected.result()


def stream_texts(
    path: str | Path,
    text: str = "text",
    label: str | None = None,
    *,
    part: int = 2048,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[LabelledTexts]:
    """Yield the texts of a file in parts, so that a file of any size is read in bounded memory.

    Parameters
    ----------
    path
        As for :func:`read_texts`; or ``-`` for CSV, plain, from standard input. A folder of class folders is one
        part.
    text, label
        Names of the columns; ``label=None`` reads texts only.
    part
        Most texts of a part; a part of long texts ends after 16 million characters.
    progress
        Called after each part with the bytes read and the size of the file (of the compressed file, if it is);
        never called for standard input.

    Raises
    ------
    BadInputError
        As :func:`read_texts`, with the same rows. Once a row is at fault no part is yielded any more, and the error
        comes at the end of the file, so that it lists the other rows too; parts before it have been yielded.
    """
    file = None if str(path) == "-" else Path(path)
    if file is not None and file.is_dir():
        yield read_texts(file, text, label)
        return
    reader = _reader_for(file or Path("standard-input.csv"))
    collected = _Collected("standard input" if file is None else str(file), text, label)
    yielded = False
    with _said_plainly(collected, file), _opened(file) as (stream, binary):
        size = 0 if file is None else os.fstat(binary.fileno()).st_size
        for _ in reader(stream, collected):
            if len(collected.texts) < part and collected.characters < _MOST_CHARACTERS:
                continue
            found = collected.take_off()
            if not collected.problems:
                yielded = True
                yield found
            if progress is not None and size:
                progress(binary.tell(), size)
    if not yielded or collected.problems or collected.texts:
        yield collected.result()
    if progress is not None and size:
        progress(size, size)


@contextmanager
def _said_plainly(collected: "_Collected", file: Path | None) -> Iterator[None]:
    """Turn what can go wrong with a file into one message."""
    path = collected.source
    try:
        yield
    except FileNotFoundError:
        raise BadInputError(f"{path} does not exist; give the path of a CSV, TSV or JSONL file") from None
    except UnicodeDecodeError:
        what = "save it as UTF-8" if file is None else _what_instead(file)
        raise BadInputError(f"{path} is not UTF-8: {what}") from None
    except gzip.BadGzipFile as error:
        raise BadInputError(
            f"{path} is not a gzip file ({error}; {collected.rows_seen} rows could be read): "
            "fetch it again, or take .gz from its name if it is plain text"
        ) from None
    except MemoryError:
        raise BadInputError(f"{path} does not fit into memory; split it") from None
    except (EOFError, zlib.error) as error:
        raise BadInputError(
            f"{path} is not a whole gzip file ({error}; {collected.rows_seen} rows could be read): fetch it again"
        ) from None
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from None


def small_reviews() -> LabelledTexts:
    """Return the short reviews that ship with tokendyn, written for it: labels ``pos`` and ``neg``.

    Examples
    --------
    >>> from tokendyn.data.texts import small_reviews
    >>> reviews = small_reviews()
    >>> len(reviews), sorted(set(reviews.labels))
    (600, ['neg', 'pos'])
    """
    resource = importlib.resources.files("tokendyn.data") / "small_reviews.csv"
    with importlib.resources.as_file(resource) as path:
        found = read_texts(path)
    return LabelledTexts(found.texts, found.labels, found.rows, "small_reviews.csv (shipped with tokendyn)")


def imdb_reviews(folder: str | Path | None = None) -> LabelledTexts:
    """Return the 25,000 training reviews of the Large Movie Review Dataset, which does not ship with tokendyn.

    Parameters
    ----------
    folder
        Folder that holds ``imdb/reviews-train.csv.gz`` (columns text, label); by default the environment
        variable TOKENDYN_DATA.

    Raises
    ------
    BadInputError
        If the variable is not set or the file is not there; the message says what to do.
    """
    folder = folder or os.environ.get("TOKENDYN_DATA") or None
    if folder is None:
        raise BadInputError(
            "the IMDb reviews do not ship with tokendyn: set TOKENDYN_DATA to a folder that holds "
            "imdb/reviews-train.csv.gz (columns text,label), or use small_reviews()"
        )
    path = Path(folder) / "imdb" / "reviews-train.csv.gz"
    if not path.is_file():
        raise BadInputError(f"{path} is missing; TOKENDYN_DATA must name the folder that holds it")
    return read_texts(path)


@dataclass
class _Collected:
    """Rows as they are read, and what is wrong with them."""

    source: str
    text: str
    label: str | None
    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    rows_seen: int = 0
    rows_at_fault: int = 0
    characters: int = 0

    def add(self, text: Any, label: Any, name: Any = None) -> None:
        """Take one row; labels may be numbers or truth values, and are kept as their text, as ids are."""
        wrong = []
        if not isinstance(text, str):
            wrong.append(f"{self.text!r} is {_kind(text)}, expected a string")
        if self.label is not None:
            if isinstance(label, bool | int):
                label = str(label)
            if not isinstance(label, str):
                wrong.append(f"{self.label!r} is {_kind(label)}, expected a label")
            elif not label.strip():
                wrong.append(f"{self.label!r} is empty; label the row or remove it")
        if wrong:
            self.refuse("; ".join(wrong))
            return
        self.rows.append(self.rows_seen)
        self.texts.append(text)
        self.ids.append("" if name is None else str(name))
        self.characters += len(text)
        if self.label is not None:
            self.labels.append(label.strip())
        if self.characters + _ROW_BYTES * len(self.texts) > bounded.MOST_TABLE_BYTES:
            raise BadInputError(f"{self.source} holds more than {bounded.MOST_TABLE_BYTES / 2**30:.0f} GiB; split it")

    def refuse(self, why: str) -> None:
        """Note what is wrong with the present row."""
        self.rows_at_fault += 1
        if len(self.problems) < LISTED:
            self.problems.append(f"row {self.rows_seen}: {why}")

    def result(self) -> LabelledTexts:
        """Return the texts, or raise one error for all rows at fault."""
        if self.rows_at_fault > len(self.problems):
            self.problems.append(f"and {self.rows_at_fault - len(self.problems)} more rows")
        if self.problems:
            raise BadInputError.all_of(self.source, self.problems)
        if not self.texts:
            raise BadInputError(f"{self.source} holds no rows of data; expected at least one text")
        return self.take_off()

    def take_off(self) -> LabelledTexts:
        """Return the texts met since the last time, and forget them."""
        labels = None if self.label is None else tuple(self.labels)
        ids = tuple(self.ids) if any(self.ids) else ()
        found = LabelledTexts(tuple(self.texts), labels, tuple(self.rows), self.source, ids)
        self.texts, self.labels, self.rows, self.ids, self.characters = [], [], [], [], 0
        return found


def _reader_for(path: Path) -> Callable[[io.TextIOWrapper, _Collected], Iterator[None]]:
    """Return the reader of the file's format, by its name; it yields after each row."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".csv"):
        return lambda stream, collected: _read_table(stream, collected, ",")
    if name.endswith((".tsv", ".tab")):
        return lambda stream, collected: _read_table(stream, collected, "\t")
    if name.endswith((".jsonl", ".ndjson")):
        return _read_json_lines
    raise BadInputError(
        f"{path} is of no known kind; expected a name that ends in .csv, .tsv or .jsonl, optionally .gz"
    )


@contextmanager
def _opened(path: Path | None) -> Iterator[tuple[io.TextIOWrapper, BinaryIO]]:
    """Open a file, None for standard input, as UTF-8 text with its line ends as they are; and as bytes."""
    if path is None:
        whole = bounded.metered(sys.stdin.buffer, "standard input")
        yield io.TextIOWrapper(whole, encoding="utf-8-sig", newline=""), sys.stdin.buffer
        return
    note_opened(path)
    bounded.check_regular(path)
    with path.open("rb") as binary:
        yield io.TextIOWrapper(bounded.metered(binary, path), encoding="utf-8-sig", newline=""), binary


def _what_instead(path: Path) -> str:
    """Say what a file that is not UTF-8 seems to be, where, and what to do."""
    try:
        return _what_is_in(path)
    except (OSError, EOFError, zlib.error) as error:
        return f"it is damaged ({error}); fetch it again"


def _what_is_in(path: Path) -> str:
    with bounded.open_bytes(path) as stream:
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


def _read_table(stream: io.TextIOWrapper, collected: _Collected, delimiter: str) -> Iterator[None]:
    """Read CSV or TSV with a header row."""
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    header = _next_row(reader, collected)
    if header is None:
        raise BadInputError(f"{collected.source} is empty; expected a header row and rows of data")
    names = [name.strip() for name in header]
    at = _columns(names, collected)
    id_at = names.index(_ID) if _ID in names and _ID not in (collected.text, collected.label) else None
    while (row := _next_row(reader, collected)) is not None:
        if not row:
            continue
        collected.rows_seen += 1
        if len(row) == len(header):
            collected.add(row[at[0]], row[at[1]] if len(at) > 1 else None, row[id_at] if id_at is not None else None)
        else:
            collected.refuse(f"{len(row)} fields, the header has {len(header)}; quote texts that hold {delimiter!r}")
        yield


def _next_row(reader: Any, collected: _Collected) -> list[str] | None:
    """Return the next row, None at the end; the csv module's global limit is raised for so long only."""
    try:
        with _csv_limit:
            before = csv.field_size_limit(LONGEST_TEXT)
            try:
                return next(reader, None)
            finally:
                csv.field_size_limit(before)
    except csv.Error as error:
        raise BadInputError(
            f"{collected.source}: row {collected.rows_seen + 1} (line {reader.line_num}) cannot be read ({error}); "
            f"check its quotation marks; fields of up to {LONGEST_TEXT // 2**20} MiB are accepted"
        ) from None


def _read_json_lines(stream: io.TextIOWrapper, collected: _Collected) -> Iterator[None]:
    """Read one JSON object a line."""
    while line := stream.readline(LONGEST_TEXT + 1):
        if len(line) > LONGEST_TEXT:
            row = f"{collected.source}: row {collected.rows_seen + 1}"
            raise BadInputError(f"{row} is longer than {LONGEST_TEXT // 2**20} MiB; split it")
        if line.strip():
            collected.rows_seen += 1
            _add_record(line, collected)
            yield


def _add_record(line: str, collected: _Collected) -> None:
    """Take one line of JSON lines."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        collected.refuse(f"not JSON ({error})")
        return
    if not isinstance(record, dict):
        collected.refuse(f"{_kind(record)}, expected an object")
        return
    wanted = [collected.text] + ([] if collected.label is None else [collected.label])
    absent = [name for name in wanted if name not in record]
    if absent:
        collected.refuse("; ".join(_no_column(name, record) for name in absent))
    elif _half_characters(record, wanted):
        collected.refuse("half a surrogate pair stands in it; write the character whole")
    else:
        name = record.get(_ID) if _ID not in wanted and not _half_characters(record, [_ID]) else None
        label = record[collected.label] if collected.label is not None else None
        collected.add(record[collected.text], label, name if isinstance(name, str | int | float) else None)


def _half_characters(record: dict[str, Any], names: list[str]) -> bool:
    """Return whether a value holds what JSON can escape but UTF-8 cannot hold."""
    values = [record[name] for name in names if isinstance(record.get(name), str)]
    return any("\ud800" <= character <= "\udfff" for value in values if not value.isascii() for character in value)


def _columns(header: list[str], collected: _Collected) -> list[int]:
    """Return the places of the wanted columns in the header."""
    wanted = [collected.text] + ([] if collected.label is None else [collected.label])
    options = ("text", "label")
    problems = [_no_column(name, header, option=f"`{options[number]}`")
                for number, name in enumerate(wanted) if name not in header]  # fmt: skip
    problems += [f"column {name!r} occurs twice" for name in wanted if header.count(name) > 1]
    if problems:
        raise BadInputError.all_of(collected.source, problems)
    return [header.index(name) for name in wanted]


def _no_column(name: str, found: Iterable[Any], option: str = "") -> str:
    """Say that a column is missing, what there is, and which one was probably meant, or what names another."""
    names = [str(other) for other in found]
    listed = listing([repr(other[:40]) for other in names])
    remedy = f"; name the column by {option}" if option and names else ""
    return f"no column {name!r}; found {listed or 'none'}{meant(name, names) or remedy}"


def _kind(value: Any) -> str:
    """Name a value for a message."""
    if value is None:
        return "missing"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return f"{type(value).__name__} {str(value)[:40]!r}"
