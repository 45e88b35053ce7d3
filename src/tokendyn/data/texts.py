"""Readers of labelled texts: CSV, TSV and JSON lines, plain or gzipped, and the corpora known by name."""

import csv
import difflib
import gzip
import importlib.resources
import io
import json
import math
import os
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError

#: Longest text that is read, in bytes.
LONGEST_TEXT = 16 * 2**20
_PROBLEMS_LISTED = 10
_csv_limit = threading.Lock()


@dataclass(frozen=True)
class LabelledTexts:
    """Texts in the order of their file, with their labels when these were asked for.

    Attributes
    ----------
    texts
        The texts as written.
    labels
        One label a text, or None.
    rows
        The row of each text in its file; the first row of data is 1, headers and empty lines are not counted.
        Empty when the texts are of no file.
    source
        Where they come from, for messages and records.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    rows: tuple[int, ...] = ()
    source: str = "texts"

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, places: Sequence[int] | np.ndarray) -> "LabelledTexts":
        """Return the texts at the given places, in that order."""
        return LabelledTexts(
            tuple(self.texts[place] for place in places),
            None if self.labels is None else tuple(self.labels[place] for place in places),
            tuple(self.rows[place] for place in places) if self.rows else (),
            self.source,
        )

    def check_classes(self) -> None:
        """Raise BadInputError for every label that one text only has, such as a misspelt one."""
        counts = Counter(self.labels or ())
        kinds = [label for label, count in counts.items() if count > 1]
        problems = [
            f"row {row}: no other text has the label {label!r}, expected at least 2 of a class{meant(label, kinds)}"
            for row, label in zip(self.rows or range(1, len(self) + 1), self.labels or (), strict=bool(self.labels))
            if counts[label] == 1
        ]
        if problems:
            raise BadInputError.first_of(self.source, problems, "rows")


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
        from tokendyn.data.collections import read_class_folders

        return read_class_folders(path)
    reader = _reader_for(path)
    collected = _Collected(str(path), text, label)
    try:
        with _open_text(path) as stream:
            reader(stream, collected)
    except FileNotFoundError:
        raise BadInputError(f"{path} does not exist; give the path of a CSV, TSV or JSONL file") from None
    except UnicodeDecodeError:
        raise BadInputError(f"{path} is not UTF-8: {_what_instead(path)}") from None
    except gzip.BadGzipFile as error:
        raise BadInputError(
            f"{path} is not a gzip file ({error}; {collected.rows_seen} rows could be read): "
            "fetch it again, or take .gz from its name if it is plain text"
        ) from None
    except (EOFError, zlib.error) as error:
        raise BadInputError(
            f"{path} is not a whole gzip file ({error}; {collected.rows_seen} rows could be read): fetch it again"
        ) from None
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from None
    return collected.result()


def small_reviews() -> LabelledTexts:
    """Return the short reviews that ship with tokendyn, written for it: labels ``pos`` and ``neg``."""
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


def movie_sentences(folder: str | Path | None = None) -> LabelledTexts:
    """Return the 5,331 positive and 5,331 negative film sentences of Pang and Lee (2005), which do not ship.

    Parameters
    ----------
    folder
        Folder that holds ``movie_sentences/rt-polarity.pos`` and ``.neg`` (UTF-8, one sentence a line); by
        default the environment variable TOKENDYN_DATA.

    Raises
    ------
    BadInputError
        If the variable is not set or a file is not there; the message says what to do.
    """
    folder = folder or os.environ.get("TOKENDYN_DATA") or None
    if folder is None:
        raise BadInputError(
            "the film sentences do not ship with tokendyn: set TOKENDYN_DATA to a folder that holds "
            "movie_sentences/rt-polarity.pos and rt-polarity.neg, or use small_reviews()"
        )
    texts: list[str] = []
    labels: list[str] = []
    for label in ("pos", "neg"):
        path = Path(folder) / "movie_sentences" / f"rt-polarity.{label}"
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(f"{path} cannot be read ({error}); TOKENDYN_DATA must name its folder") from None
        kept = [line.strip() for line in lines if line.strip()]
        texts += kept
        labels += [label] * len(kept)
    return LabelledTexts(tuple(texts), tuple(labels), (), "movie sentences (rt-polarity)")


@dataclass
class _Collected:
    """Rows as they are read, and what is wrong with them."""

    source: str
    text: str
    label: str | None
    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    rows_seen: int = 0
    rows_at_fault: int = 0

    def add(self, text: Any, label: Any) -> None:
        """Take one row; labels may be numbers or truth values, and are kept as their text."""
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
        if self.label is not None:
            self.labels.append(label.strip())

    def refuse(self, why: str) -> None:
        """Note what is wrong with the present row."""
        self.rows_at_fault += 1
        if len(self.problems) < _PROBLEMS_LISTED:
            self.problems.append(f"row {self.rows_seen}: {why}")

    def result(self) -> LabelledTexts:
        """Return the texts, or raise one error for all rows at fault."""
        if self.rows_at_fault > len(self.problems):
            self.problems.append(f"and {self.rows_at_fault - len(self.problems)} more rows")
        if self.problems:
            raise BadInputError.all_of(self.source, self.problems)
        if not self.texts:
            raise BadInputError(f"{self.source} holds no rows of data; expected at least one text")
        labels = None if self.label is None else tuple(self.labels)
        return LabelledTexts(tuple(self.texts), labels, tuple(self.rows), self.source)


def _reader_for(path: Path) -> Callable[[io.TextIOWrapper, _Collected], None]:
    """Return the reader of the file's format, by its name."""
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
def _open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open a file as UTF-8 text with its line ends as they are."""
    zipped = path.name.lower().endswith(".gz")
    with gzip.open(path) if zipped else path.open("rb") as binary:
        yield io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")


def _what_instead(path: Path) -> str:
    """Say what a file that is not UTF-8 seems to be, where, and what to do."""
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
        beginning = stream.read(1024)
        if beginning.startswith(b"\x1f\x8b"):
            return "it is compressed by gzip; let its name end in .gz"
        if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
            return "it is UTF-16; save it as UTF-8"
        if b"\0" in beginning:
            return "it is no text but a binary file; give a CSV, TSV or JSONL file"
        stream.seek(0)
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                near = line[max(0, error.start - 10) : error.start + 10]
                return f"line {number} holds {near!r}, perhaps Windows-1252 or Latin-1; save the file as UTF-8"
    return "save it as UTF-8"


def _read_table(stream: io.TextIOWrapper, collected: _Collected, delimiter: str) -> None:
    """Read CSV or TSV with a header row."""
    with _long_fields():
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            header = next(reader, None)
            if header is None:
                raise BadInputError(f"{collected.source} is empty; expected a header row and rows of data")
            at = _columns([name.strip() for name in header], collected)
            for row in reader:
                if not row:
                    continue
                collected.rows_seen += 1
                if len(row) != len(header):
                    collected.refuse(
                        f"{len(row)} fields, the header has {len(header)}; quote texts that hold {delimiter!r}"
                    )
                    continue
                collected.add(row[at[0]], row[at[1]] if len(at) > 1 else None)
        except csv.Error as error:
            raise BadInputError(
                f"{collected.source}: row {collected.rows_seen + 1} (line {reader.line_num}) cannot be read ({error}); "
                f"check its quotation marks; fields of up to {LONGEST_TEXT // 2**20} MiB are accepted"
            ) from None


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let the csv module read long texts, and put its global limit back."""
    with _csv_limit:
        before = csv.field_size_limit(LONGEST_TEXT)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _read_json_lines(stream: io.TextIOWrapper, collected: _Collected) -> None:
    """Read one JSON object a line."""
    wanted = [collected.text] + ([] if collected.label is None else [collected.label])
    for line in stream:
        if not line.strip():
            continue
        collected.rows_seen += 1
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            collected.refuse(f"not JSON ({error})")
            continue
        if not isinstance(record, dict):
            collected.refuse(f"{_kind(record)}, expected an object")
            continue
        absent = [name for name in wanted if name not in record]
        if absent:
            collected.refuse("; ".join(_no_column(name, record) for name in absent))
            continue
        collected.add(record[collected.text], record[collected.label] if collected.label is not None else None)


def _columns(header: list[str], collected: _Collected) -> list[int]:
    """Return the places of the wanted columns in the header."""
    wanted = [collected.text] + ([] if collected.label is None else [collected.label])
    problems = [_no_column(name, header) for name in wanted if name not in header]
    problems += [f"column {name!r} occurs twice" for name in wanted if header.count(name) > 1]
    if problems:
        raise BadInputError.all_of(collected.source, problems)
    return [header.index(name) for name in wanted]


def _no_column(name: str, found: Iterable[Any]) -> str:
    """Say that a column is missing, what there is, and which one was probably meant."""
    names = [str(other) for other in found]
    listed = ", ".join(repr(other[:40]) for other in names[:_PROBLEMS_LISTED]) + (
        ", ..." if len(names) > _PROBLEMS_LISTED else ""
    )
    return f"no column {name!r}; found {listed or 'none'}{meant(name, names)}"


def meant(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the known name that looks like the given one, or nothing."""
    folded = {other.strip().casefold(): other for other in known}
    close = difflib.get_close_matches(name.strip().casefold(), folded, n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def _kind(value: Any) -> str:
    """Name a value for a message."""
    if value is None:
        return "missing"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return f"{type(value).__name__} {str(value)[:40]!r}"
