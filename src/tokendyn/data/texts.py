"""Readers of labelled texts: CSV, TSV and JSON lines, plain or gzipped, and the corpora known by name."""

import importlib.resources
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokendyn.data.collections import read_class_folders
from tokendyn.data.labelled_texts import LONGEST_TEXT, LabelledTexts
from tokendyn.data.text_files import (
    DELIMITERS,
    JSON_LINES,
    TextFile,
    column_numbers,
    ending,
    half_surrogate,
    no_column,
    open_text,
    parse_record,
    read_header,
)
from tokendyn.errors import LISTED, BadInputError
from tokendyn.runs import bounded
from tokendyn.runs.paths import other_separator

_MOST_CHARACTERS = 2**24  # of a part of a stream
_ROW_BYTES = 200  # of memory that a row takes beside its characters
_ID = "id"


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
    with open_text(path, most=sys.maxsize) as file:
        rows = _Rows(source=file.source, text=text, label=label)
        for _ in reader(file, rows):
            pass
    return rows.result()


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
    source = None if str(path) == "-" else Path(path)
    if source is not None and source.is_dir():
        yield read_texts(source, text, label)
        return
    reader = _reader_for(source or Path("standard-input.csv"))
    yielded = False
    with open_text(source, most=sys.maxsize) as file:
        size = 0 if source is None else os.fstat(file.packed.fileno()).st_size
        rows = _Rows(source=file.source, text=text, label=label)
        for _ in reader(file, rows):
            if len(rows.texts) < part and rows.characters < _MOST_CHARACTERS:
                continue
            texts = rows.release()
            if not rows.problems:
                yielded = True
                yield texts
            if progress is not None and size:
                progress(file.packed.tell(), size)
    if not yielded or rows.problems or rows.texts:
        yield rows.result()
    if progress is not None and size:
        progress(size, size)


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
        reviews = read_texts(path)
    return replace(reviews, source="small_reviews.csv (shipped with tokendyn)")


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
class _Rows:
    """Rows of texts as they are read, and what is wrong with them."""

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
        """Add one row; labels may be numbers or truth values, and are kept as their text, as ids are."""
        problems = []
        if not isinstance(text, str):
            problems.append(f"{self.text!r} is {_kind(text)}, expected a string")
        if self.label is not None:
            if isinstance(label, bool | int):
                label = str(label)
            if not isinstance(label, str):
                problems.append(f"{self.label!r} is {_kind(label)}, expected a label")
            elif not label.strip():
                problems.append(f"{self.label!r} is empty; label the row or remove it")
        if problems:
            self.refuse("; ".join(problems))
            return
        self.rows.append(self.rows_seen)
        self.texts.append(text)
        self.ids.append("" if name is None else str(name))
        self.characters += len(text)
        if self.label is not None:
            self.labels.append(label.strip())
        if self.characters + _ROW_BYTES * len(self.texts) > bounded.MOST_TABLE_BYTES:
            raise BadInputError(f"{self.source} holds more than {bounded.MOST_TABLE_BYTES / 2**30:.0f} GiB; split it")

    def refuse(self, problem: str) -> None:
        """Record what is wrong with the present row."""
        self.rows_at_fault += 1
        if len(self.problems) < LISTED:
            self.problems.append(f"row {self.rows_seen}: {problem}")

    def result(self) -> LabelledTexts:
        """Return the texts, or raise one error for all rows at fault."""
        if self.rows_at_fault > len(self.problems):
            self.problems.append(f"and {self.rows_at_fault - len(self.problems)} more rows")
        if self.problems:
            raise BadInputError.all_of(self.source, self.problems)
        if not self.texts:
            raise BadInputError(f"{self.source} holds no rows of data; expected at least one text")
        return self.release()

    def release(self) -> LabelledTexts:
        """Return the texts read since the last time, and forget them."""
        labels = None if self.label is None else tuple(self.labels)
        ids = tuple(self.ids) if any(self.ids) else ()
        texts = LabelledTexts(
            texts=tuple(self.texts), labels=labels, rows=tuple(self.rows), source=self.source, ids=ids
        )
        self.texts, self.labels, self.rows, self.ids, self.characters = [], [], [], [], 0
        return texts

    @property
    def wanted(self) -> list[str]:
        """Names of the columns that are read."""
        return [self.text] if self.label is None else [self.text, self.label]


def _reader_for(path: Path) -> Callable[[TextFile, _Rows], Iterator[None]]:
    """Return the reader of the file's format, by its name; it yields after each row."""
    kind = ending(path)
    if kind in DELIMITERS:
        return lambda file, rows: _read_table(file, rows, DELIMITERS[kind])
    if kind in JSON_LINES:
        return _read_json_lines
    raise BadInputError(
        f"{path} is of no known kind; expected a name that ends in .csv, .tsv or .jsonl, optionally .gz"
    )


def _read_table(file: TextFile, rows: _Rows, delimiter: str) -> Iterator[None]:
    """Read CSV or TSV with a header row."""
    table = file.rows(delimiter, longest=LONGEST_TEXT)
    header = read_header(table, file.source)
    if len(header) == 1 and rows.wanted != header and (problem := other_separator(header, delimiter)):
        raise BadInputError(f"{file.source}: {problem}")
    text_column, *others = column_numbers(header, rows.wanted, file.source, ("text", "label"))
    label_column = others[0] if others else None
    id_column = header.index(_ID) if _ID in header and _ID not in rows.wanted else None
    for _, cells in table:
        if not cells:
            continue
        rows.rows_seen += 1
        if len(cells) == len(header):
            label = None if label_column is None else cells[label_column]
            rows.add(cells[text_column], label, None if id_column is None else cells[id_column])
        else:
            rows.refuse(f"{len(cells)} fields, the header has {len(header)}; quote texts that hold {delimiter!r}")
        yield


def _read_json_lines(file: TextFile, rows: _Rows) -> Iterator[None]:
    """Read one JSON object a line."""
    for _, line in file.lines(LONGEST_TEXT):
        rows.rows_seen += 1
        _add_record(line, rows)
        yield


def _add_record(line: str, rows: _Rows) -> None:
    """Add one line of JSON lines."""
    try:
        record = parse_record(line)
    except ValueError as error:
        rows.refuse(str(error))
        return
    absent = [name for name in rows.wanted if name not in record]
    if absent:
        rows.refuse("; ".join(no_column(name, record) for name in absent))
    elif _half_characters(record, rows.wanted):
        rows.refuse("half a surrogate pair stands in it; write the character whole")
    else:
        name = record.get(_ID) if _ID not in rows.wanted and not _half_characters(record, [_ID]) else None
        label = record[rows.label] if rows.label is not None else None
        rows.add(record[rows.text], label, name if isinstance(name, str | int | float) else None)


def _half_characters(record: dict[str, Any], names: list[str]) -> bool:
    """Return whether a value holds what JSON can escape but UTF-8 cannot hold."""
    return any(half_surrogate(record[name]) for name in names if isinstance(record.get(name), str))


def _kind(value: Any) -> str:
    """Name a value for a message."""
    if value is None:
        return "missing"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return f"{type(value).__name__} {str(value)[:40]!r}"
