"""Tokens from files: CSV, npy, npz and safetensors, read without ever executing or unpickling anything."""

import csv
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tokendyn.data.tensor_files import open_tensors
from tokendyn.errors import LISTED, BadInputError
from tokendyn.runs.bounded import open_table
from tokendyn.runs.numpy_files import open_numpy

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".npy", ".npz", ".safetensors")


@dataclass(frozen=True)
class TokenTable:
    """Tokens with a name each.

    Attributes
    ----------
    tokens
        ``(tokens, dim)`` float64, finite.
    labels
        Names from a text column, or row numbers from 0.
    """

    tokens: Float[np.ndarray, "tokens dim"]
    labels: tuple[str, ...]


def read_tokens(path: str | Path, *, array: str | None = None) -> TokenTable:
    """Read a token matrix.

    CSV and TSV (optionally ``.gz``) hold one token a row; a header row is recognised when it holds a cell that is
    not a number, and one column of names (first column that is not numeric) becomes the labels. Arrays are
    ``(tokens, dim)``; in npz and safetensors, ``array`` names the one to take when there are several.

    Raises
    ------
    BadInputError
        For a missing, empty, truncated, ragged or non-numeric file; every bad row is named.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInputError(f"{path} is not a file; give a file of tokens ({', '.join(SUFFIXES)})")
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if suffix.lower() not in SUFFIXES:
        raise BadInputError(f"{path}: unknown kind of file {suffix!r}; expected one of {', '.join(SUFFIXES)}")
    if suffix.lower() in (".npy", ".npz", ".safetensors"):
        matrix = _read_array(path, array)
        return TokenTable(matrix, tuple(map(str, range(len(matrix)))))
    return _read_delimited(path, "\t" if suffix.lower().startswith(".tsv") else ",")


def read_matrix(path: str | Path) -> Float[np.ndarray, "rows columns"]:
    """Read a matrix such as ``A`` from any file that :func:`read_tokens` takes."""
    return read_tokens(path).tokens


def _read_delimited(path: Path, delimiter: str) -> TokenTable:
    try:
        with open_table(path) as stream:
            rows = _rows(stream, delimiter)
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is not UTF-8 text (byte {error.start}); convert it to UTF-8") from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise BadInputError(f"{path} cannot be read: {error}") from None
    whose, width = "first token", len(rows[0][1]) if rows else 0
    if rows and _is_header(rows):
        whose, rows = "header", rows[1:]
    if not rows:
        raise BadInputError(f"{path} holds no token; expected one token a row, its coordinates as columns")
    return _table(path, rows, width, whose)


def _rows(stream: Iterable[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, with their line numbers."""
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]


def _number(cell: str) -> float:
    """Return the number in a cell; NaN stands for text."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _is_text(cell: str) -> bool:
    return math.isnan(_number(cell)) and cell.lower().lstrip("+-") != "nan"


def _is_header(rows: list[tuple[int, list[str]]]) -> bool:
    """Return whether the first row names columns: text where the next row has a number, or nothing but text."""
    first = rows[0][1]
    if len(rows) == 1:
        return all(map(_is_text, first))
    second = rows[1][1]
    return any(_is_text(a) and not _is_text(b) for a, b in zip(first, second, strict=False))


def _table(path: Path, rows: list[tuple[int, list[str]]], width: int, whose: str) -> TokenTable:
    line, typical = next((row for row in rows if len(row[1]) == width), rows[0])
    name_columns = [column for column, cell in enumerate(typical) if _is_text(cell)]
    if len(name_columns) > 1 or len(name_columns) == len(typical):
        raise BadInputError(f"{path}, line {line}: expected numbers and at most one column of names")
    numeric = [column for column in range(width) if column not in name_columns]
    tokens: list[list[float]] = []
    labels: list[str] = []
    problems: list[str] = []
    for line, cells in rows:
        if len(cells) != width:
            problems.append(f"line {line} has {len(cells)} columns, the {whose} has {width}")
            continue
        values = [_number(cells[column]) for column in numeric]
        if not all(map(math.isfinite, values)):
            bad = next(cells[c] for c, v in zip(numeric, values, strict=True) if not math.isfinite(v))
            problems.append(f"line {line} holds {bad[:40]!r}, not a finite number")
            continue
        tokens.append(values)
        labels.append(cells[name_columns[0]] if name_columns else str(len(labels)))
    if problems:
        raise BadInputError.first_of(f"{path}", problems, "lines")
    return TokenTable(np.array(tokens, dtype=np.float64), tuple(labels))


def _read_array(path: Path, name: str | None) -> np.ndarray:
    if path.suffix == ".safetensors":
        with open_tensors(path) as stored:
            matrix = stored.read(_choose(path, list(stored.types), name), whole=True)
    else:
        with open_numpy(path) as found:
            one_array = path.suffix == ".npy"
            matrix = found.read("x" if one_array else _choose(path, list(found.shapes), name))
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or 0 in matrix.shape or matrix.dtype.kind not in "fiub":
        raise BadInputError(
            f"{path} holds {matrix.dtype} of shape {matrix.shape}; expected a real (tokens, dim) matrix"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what only longer floats hold is infinite here
        matrix = matrix.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if bad.size:
        some = ", ".join(map(str, bad[:LISTED])) + (" ..." if bad.size > LISTED else "")
        raise BadInputError(f"{path}: rows {some} hold NaN or infinity; remove or repair them")
    return matrix


def _choose(path: Path, names: list[str], name: str | None) -> str:
    """Return the name of the one array that is meant."""
    if name is None and len(names) == 1:
        return names[0]
    if name is None or name not in names:
        known = ", ".join(sorted(names)) or "none"
        raise BadInputError(f"{path}: name one of its arrays with --array (it holds: {known})")
    return name
