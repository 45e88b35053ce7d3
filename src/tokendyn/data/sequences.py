"""Readers of labelled sequences of tokens: JSON lines, CSV with an id column, and texts whose words are tokens."""

import hashlib
import math
import re
import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.data.cells import not_a_number, number_in
from tokendyn.data.labels import plain
from tokendyn.data.text_files import (
    DELIMITERS,
    JSON_LINES,
    TextFile,
    column_numbers,
    ending,
    half_surrogate,
    open_text,
    parse_record,
    read_header,
)
from tokendyn.data.texts import read_texts
from tokendyn.data.tokens import read_tokens
from tokendyn.errors import BadInputError
from tokendyn.runs.paths import no_file
from tokendyn.shown import ShortRepr

#: A word, or one character that is neither a letter nor a space.
_TOKEN = re.compile(r"(?P<word>[^\W_]+(?:['’][^\W_]+)*)|[^\w\s]|_")

#: Bits of a hashed coordinate: exact in float32.
_HASH_BITS = 24


@dataclass(frozen=True, repr=False)
class LabelledSequences(ShortRepr):
    """Sequences in the order of their file.

    Attributes
    ----------
    ids
        A name for each sequence: its id, or its row from 1.
    sequences
        ``(tokens, dim)`` arrays.
    labels
        One label a sequence, or None if not requested.
    words
        The words of each sequence when it was a text, else None.
    """

    ids: tuple[str, ...]
    sequences: tuple[np.ndarray, ...]
    labels: tuple[Any, ...] | None
    words: tuple[tuple[str, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.sequences)


def read_sequences(path: str | Path, *, label: str | None = "label", unread: str = "label") -> LabelledSequences:
    """Read sequences of tokens from ``.jsonl``, ``.ndjson``, ``.csv`` or ``.tsv``, each optionally ``.gz``.

    JSON lines: ``{"id": ..., "tokens": [[...], ...], "label": ...}``, the id optional. CSV and TSV: a header with
    ``id``, the label's column, and coordinates; one token a row, and rows of one id are one sequence.

    Parameters
    ----------
    path
        The file, UTF-8.
    label
        Name of the label, None to read sequences only.
    unread
        A column of CSV or TSV that holds no coordinate although it is not the label; nor does a column ``label``.

    Raises
    ------
    BadInputError
        If the file cannot be read, or lines are unusable; all of them are counted, ten are listed.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInputError(f"{path} is not a file: {no_file(path)}; sequences are read from .jsonl and .csv")
    kind = ending(path)
    kinds = [*JSON_LINES, *DELIMITERS]
    if kind not in kinds:
        raise BadInputError(f"{path}: unknown kind of file {kind!r}; expected one of {', '.join(kinds)} (or .gz)")
    with open_text(path) as file:
        return _read_lines(file, label) if kind in JSON_LINES else _read_table(file, DELIMITERS[kind], label, unread)


def _read_lines(file: TextFile, label: str | None) -> LabelledSequences:
    lines_of: dict[str, int] = {}
    sequences, labels, problems = [], [], []
    for number, line in file.lines():
        try:
            record = parse_record(line)
            tokens = _numbers(record["tokens"])
            value = None if label is None else _label(record[label])
            name = _id(record.get("id"), number, lines_of)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            problem = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            problems.append(f"line {number}: {problem}")
            continue
        lines_of[name] = number
        sequences.append(tokens)
        labels.append(value)
    _check_read(file.source, problems, sequences)
    return LabelledSequences(
        ids=tuple(lines_of), sequences=tuple(sequences), labels=None if label is None else tuple(labels)
    )


def _id(value: Any, number: int, lines_of: dict[str, int]) -> str:
    """Return the name of a sequence, its line if it has none; no two may share one."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise ValueError(f"the id is {str(value)[:40]!r}, expected a string or a whole number")
    name = str(number if value is None else value)
    if half_surrogate(name):
        raise ValueError("half a surrogate pair stands in the id; write the character whole")
    if name in lines_of:
        raise ValueError(f"the id {name[:40]!r} is that of line {lines_of[name]} too; give each sequence its own")
    return name


def _label(value: Any) -> Any:
    """Return a label as a value that is no one's abstention: not null, NaN or empty."""
    if value is None:
        raise ValueError("the label is null; label the line or remove it")
    try:
        label = plain(_hashable(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the label {error}") from None
    if isinstance(label, str) and not label.strip():
        raise ValueError("the label is empty; label the line or remove it")
    return label


def _numbers(value: Any) -> np.ndarray:
    """Return tokens as a matrix; JSON's NaN and infinity are left for the check that names their position."""
    rows = value if isinstance(value, list) else [None]
    flat = [x for row in rows for x in (row if isinstance(row, list) else (row,))]
    same = len({len(row) if isinstance(row, list) else -1 for row in rows}) < 2
    # An array would take true and false as 1 and 0.
    if not same or any(isinstance(x, bool) or not isinstance(x, int | float) for x in flat):
        raise ValueError("tokens are not rows of numbers of the same length")
    try:
        tokens = np.array(value)
        tokens = tokens if tokens.dtype.kind in "fiu" else tokens.astype(np.float64)  # whole numbers beyond 64 bits
    except OverflowError:
        raise ValueError("tokens hold a number beyond the largest float64") from None
    return tokens[:, None] if tokens.ndim == 1 and len(tokens) else tokens


def _hashable(value: Any) -> Any:
    """Return a label; lists become tuples."""
    if isinstance(value, dict):
        raise ValueError("is an object, expected a string, a number or a list of them")
    return tuple(_hashable(part) for part in value) if isinstance(value, list) else value


def _read_table(file: TextFile, delimiter: str, label: str | None, unread: str) -> LabelledSequences:
    rows = file.rows(delimiter)
    header = read_header(rows, file.source)
    wanted = ["id"] if label is None else ["id", label]
    id_column, *others = column_numbers(header, wanted, file.source)
    numeric = [number for number, name in enumerate(header) if name not in ("label", unread, *wanted)]
    if not numeric:
        raise BadInputError(f"{file.source}: there is no column of coordinates beside id and label")
    table = _TokenRows(header=header, id_column=id_column, label_column=others[0] if others else None, numeric=numeric)
    problems = []
    for line, cells in rows:
        if any(map(str.strip, cells)) and (problem := table.add(cells)):
            problems.append(f"line {line}: {problem}")
    sequences = [np.array(coordinates).reshape(-1, len(numeric)) for coordinates in table.tokens.values()]
    _check_read(file.source, problems, sequences)
    labels = None if label is None else tuple(table.label_of[name] for name in table.tokens)
    return LabelledSequences(ids=tuple(table.tokens), sequences=tuple(sequences), labels=labels)


@dataclass(kw_only=True)
class _TokenRows:
    """Sequences whose tokens are rows of a table: the columns by their numbers, and what has been read so far."""

    header: list[str]
    id_column: int
    label_column: int | None
    numeric: list[int]
    tokens: "dict[str, array[float]]" = field(default_factory=dict)
    label_of: dict[str, str] = field(default_factory=dict)

    def add(self, cells: list[str]) -> str:
        """Add one row to its sequence; return its faults, empty if there are none."""
        if len(cells) != len(self.header):
            return f"{len(cells)} columns, the header has {len(self.header)}"
        values = array("d")
        for column in self.numeric:
            cell = cells[column].strip()
            value = number_in(cell)
            if value is None or not math.isfinite(value):
                what = f"not a number{not_a_number(cell)}" if value is None else "NaN or infinity"
                return f"{cell[:40]!r} in column {self.header[column]!r} is {what}"
            values.append(value)
        name = cells[self.id_column].strip()
        if not name:
            return "the id is empty; name the sequence that the row belongs to"
        label = None if self.label_column is None else cells[self.label_column].strip()
        if label == "":
            return "the label is empty; label the sequence or remove it"
        if label is not None and self.label_of.setdefault(name, label) != label:
            return f"the label of id {name!r} is {label!r} here and {self.label_of[name]!r} above"
        self.tokens.setdefault(name, array("d")).extend(values)
        return ""


def _check_read(source: str, problems: list[str], sequences: list[np.ndarray]) -> None:
    """Raise BadInputError if lines are unusable, or there is no sequence."""
    if problems:
        raise BadInputError.first_of(source, problems, "lines")
    if not sequences:
        raise BadInputError(f"{source} holds no sequence")


def read_text_sequences(
    path: str | Path,
    *,
    text: str = "text",
    label: str | None = "label",
    hash_dim: int = 3,
    embedding: str | Path | None = None,
    keep_case: bool = False,
    keep_punctuation: bool = False,
    allow_empty: bool = False,
) -> LabelledSequences:
    """Read texts, each a sequence of its words; symbols such as emoji are words too.

    Parameters
    ----------
    path, text, label
        As for :func:`tokendyn.data.texts.read_texts`.
    hash_dim
        Coordinates of a hashed word (see :func:`hashed_word`); used without an embedding.
    embedding
        A file of tokens with a column of names (see :func:`tokendyn.data.tokens.read_tokens`): the vector of each
        word. Other words are left out.
    keep_case
        Whether capital letters distinguish words; by default "Hello" is "hello".
    keep_punctuation
        Whether punctuation marks are words too; by default they are left out.
    allow_empty
        Return texts without a (known) word as sequences without tokens, instead of refusing them.

    Raises
    ------
    BadInputError
        If a file cannot be read, or texts have no (known) word: these are listed with their rows.
    """
    data = read_texts(path, text=text, label=label)
    if hash_dim < 1:
        raise BadInputError(f"hash_dim={hash_dim}; expected at least 1")

    def folded(word: str) -> str:
        return word if keep_case else word.casefold()

    vector_of: dict[str, np.ndarray] | None = None
    if embedding is not None:
        vectors = read_tokens(embedding)
        vector_of = {folded(name): vector for name, vector in zip(vectors.labels, vectors.tokens, strict=True)}
        hash_dim = vectors.tokens.shape[1]
    known: dict[str, np.ndarray] = {}
    sequences, words, problems = [], [], []
    for row, content in zip(data.rows, data.texts, strict=True):
        split = map(folded, _words(content, keep_punctuation))
        kept = [word for word in split if vector_of is None or word in vector_of]
        if not kept and not allow_empty:
            kind, remedy = ("known ", "") if vector_of is not None else ("", _keeping(content))
            problems.append(f"row {row}: the text has no {kind}word{remedy}")
            continue
        for word in kept:
            if word not in known:
                known[word] = vector_of[word] if vector_of is not None else hashed_word(word, hash_dim)
        sequences.append(np.array([known[word] for word in kept]).reshape(len(kept), hash_dim))
        words.append(tuple(kept))
    if problems:
        raise BadInputError.first_of(str(path), problems, "rows")
    return LabelledSequences(
        ids=tuple(map(str, data.rows)), sequences=tuple(sequences), labels=data.labels, words=tuple(words)
    )


def _words(text: str, keep_punctuation: bool) -> Iterator[str]:
    """Yield words and symbols, and punctuation marks if they are to be kept."""
    for match in _TOKEN.finditer(text):
        if match["word"] or keep_punctuation or unicodedata.category(match.group()) == "So":
            yield match.group()


def _keeping(text: str) -> str:
    """Say that keeping punctuation would help, where it would."""
    return "; remove the row, or keep punctuation" if any(_words(text, True)) else "; remove the row"


def hashed_word(word: str, dim: int) -> np.ndarray:
    """Return a vector in [-1, 1)^dim for a word: 24 bits of a hash a coordinate, the same on every machine.

    With ``dim >= 2`` two of a million words share their vector with a chance below 1 in 500.
    """
    digest = hashlib.shake_128(word.encode()).digest(dim * _HASH_BITS // 8)
    numbers = [int.from_bytes(digest[3 * k : 3 * k + 3], "big") for k in range(dim)]
    return np.array(numbers, dtype=np.float64) * 2.0 ** (1 - _HASH_BITS) - 1.0
