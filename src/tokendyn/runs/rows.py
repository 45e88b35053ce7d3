"""Rows of numbers, one a task, filled in any order: in memory, or in a file from which a stopped run goes on.

The file is a safetensors file of fixed size, so that a row has its place before it is known: rows are written as they
come, by one process, and none is written twice. Each has a digest of its own, which tells a row that is there from one
that was cut.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError, OutputError
from tokendyn.runs.checkpoint import DIGEST, FINGERPRINT, RECORD, Checkpoint, State
from tokendyn.runs.folders import new_file

ROWS, MARKS = "rows", "marks"
#: Bytes of the rows that are read at a time.
_READ = 2**24
_MOST_HEADER = 2**24
_KINDS = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "U64": np.uint64, "U8": np.uint8, "BOOL": np.bool_}
_NAMES = {np.dtype(kind): name for name, kind in _KINDS.items()}


class Rows:
    """Rows in memory; :class:`RowFile` keeps them in a file.

    Parameters
    ----------
    count, width
        How many rows, and numbers of each.

    Examples
    --------
    >>> import numpy as np
    >>> rows = Rows(3, 2)
    >>> rows.write(1, np.array([1.0, 2.0]))
    >>> rows.missing()
    [0, 2]
    """

    def __init__(self, count: int, width: int) -> None:
        self.count, self.width = count, width
        self._values = np.zeros((count, width))
        self._there = np.zeros(count, dtype=bool)

    def write(self, number: int, row: Float[np.ndarray, " width"]) -> None:
        """Keep a row."""
        self._values[number] = row
        self._there[number] = True

    def missing(self) -> list[int]:
        """Return the numbers of the rows that are not there."""
        return [int(number) for number in np.flatnonzero(~self._there)]

    def chunks(self, first: int = 0, end: int | None = None) -> "Iterator[tuple[int, Float[np.ndarray, '_ width']]]":
        """Yield rows in their order, some at a time, with the number of the first; they are not to be changed."""
        stop = self.count if end is None else end
        step = max(1, _READ // (8 * max(self.width, 1)))
        for start in range(first, stop, step):
            yield start, self._read(start, min(start + step, stop))

    def _read(self, start: int, end: int) -> np.ndarray:
        return self._values[start:end]


class RowFile(Rows):
    """Rows in a file; see :func:`open_rows` and :func:`new_rows`.

    Attributes
    ----------
    state
        What was kept with the first row: arrays and a record.
    """

    def __init__(self, path: Path, state: State, count: int, width: int, places: tuple[int, int]) -> None:
        self.path, self.state, self.count, self.width = path, state, count, width
        self._rows, self._marks = places
        self._there = np.zeros(count, dtype=bool)

    def write(self, number: int, row: Float[np.ndarray, " width"]) -> None:
        """Write a row in its place, then its digest.

        Raises
        ------
        OutputError
            If the disk refuses.
        """
        content = np.ascontiguousarray(row, dtype="<f8").tobytes()
        try:
            with self.path.open("r+b") as stream:
                stream.seek(self._rows + number * len(content))
                stream.write(content)
                stream.flush()
                stream.seek(self._marks + number * _MARK_BYTES)
                stream.write(_mark(number, content))
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}") from None
        self._there[number] = True

    def look(self) -> None:
        """Read all rows and see which are whole."""
        with self.path.open("rb") as stream:
            stream.seek(self._marks)
            marks = stream.read(_MARK_BYTES * self.count)
        for start, rows in self.chunks():
            for number, row in enumerate(rows, start):
                mark = marks[_MARK_BYTES * number : _MARK_BYTES * (number + 1)]
                self._there[number] = any(mark) and mark == _mark(number, row.tobytes())

    def _read(self, start: int, end: int) -> np.ndarray:
        with self.path.open("rb") as stream:
            stream.seek(self._rows + start * self.width * 8)
            content = stream.read((end - start) * self.width * 8)
        return np.frombuffer(content, dtype="<f8").reshape(end - start, self.width)


_MARK_BYTES = 8


def _mark(number: int, content: bytes) -> bytes:
    """Return the digest of a row in its place; never all zero, which stands for a row that is not there."""
    digest = hashlib.blake2b(content, digest_size=_MARK_BYTES, key=str(number).encode()).digest()
    return digest if any(digest) else b"\1" * _MARK_BYTES


def open_rows(checkpoint: Checkpoint, *identity: Any) -> RowFile | None:
    """Return the rows that an earlier run has kept in a checkpoint; None when there is no file yet.

    Parameters
    ----------
    checkpoint
        Names the file, which is bound to this run.
    identity
        Input and settings of the run.

    Raises
    ------
    BadInputError
        If the file belongs to another run, or is damaged.
    """
    checkpoint.bind(*identity)
    path = checkpoint.path
    if not path.exists():
        return None
    table, start = _header(path)
    arrays = {name: _array(path, start, *entry) for name, entry in table.items() if name not in (ROWS, MARKS)}
    rows, marks = table.get(ROWS), table.get(MARKS)
    if rows is None or marks is None or not {RECORD, FINGERPRINT, DIGEST} <= arrays.keys():
        raise BadInputError(f"{path} is no whole checkpoint of this command; name another file, or move it away")
    kept = checkpoint.checked(arrays)
    count, width = rows[1]
    checkpoint.holds_rows = True
    file = RowFile(path, kept, count, width, (start + rows[2], start + marks[2]))
    if path.stat().st_size < start + rows[2] + 8 * count * width:
        raise BadInputError(f"{path} was cut after it was written; remove it, and the run begins anew")
    file.look()
    return file


def new_rows(checkpoint: Checkpoint, state: State, count: int, width: int) -> RowFile:
    """Return a new file of rows that are not there yet.

    Parameters
    ----------
    checkpoint
        Names the file; :func:`open_rows` has bound it to the run.
    state
        What is kept beside the rows.
    count, width
        How many rows, and numbers of each. The file takes room on the disk as rows come.

    Raises
    ------
    OutputError
        If the disk refuses.
    """
    arrays = checkpoint.signed(state)
    table: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        name: (array.dtype, array.shape) for name, array in arrays.items()
    }
    table |= {MARKS: (np.dtype(np.uint64), (count,)), ROWS: (np.dtype(np.float64), (count, width))}
    header, places, end = _laid_out(table)
    with new_file(checkpoint.path) as temporary, temporary.open("wb") as stream:
        stream.write(header)
        for name, array in arrays.items():
            stream.seek(len(header) + places[name])
            stream.write(np.ascontiguousarray(array).tobytes())
        stream.truncate(len(header) + end)
    start, checkpoint.holds_rows = len(header), True
    return RowFile(checkpoint.path, state, count, width, (start + places[ROWS], start + places[MARKS]))


def _laid_out(
    table: Mapping[str, tuple["np.dtype[Any]", tuple[int, ...]]],
) -> tuple[bytes, dict[str, int], int]:
    """Return the header of a safetensors file, where each array begins behind it, and where the last one ends.

    Arrays of the widest numbers come first: the format knows no gaps, and every array lies at a multiple of its width.
    """
    order = sorted(table, key=lambda name: (-table[name][0].itemsize, name == ROWS))
    places: dict[str, int] = {}
    entries: dict[str, Any] = {}
    end = 0
    for name in order:
        dtype, shape = table[name]
        places[name], end = end, end + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        entries[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [places[name], end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, places, end


def _header(path: Path) -> tuple[dict[str, tuple[str, tuple[int, ...], int]], int]:
    """Return kind, shape and place of each array of a safetensors file, and where the first one begins."""
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if size > min(_MOST_HEADER, os.fstat(stream.fileno()).st_size):
                raise ValueError("no header")
            entries = json.loads(stream.read(size))
        table = {
            str(name): (str(entry["dtype"]), tuple(map(int, entry["shape"])), int(entry["data_offsets"][0]))
            for name, entry in entries.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise BadInputError(f"{path} is no whole checkpoint of tokendyn; name another file, or move it away") from None
    return table, 8 + size


def _array(path: Path, start: int, kind: str, shape: tuple[int, ...], place: int) -> np.ndarray:
    if kind not in _KINDS:
        raise BadInputError(f"{path} is no whole checkpoint of tokendyn; name another file, or move it away")
    dtype = np.dtype(_KINDS[kind])
    count = int(np.prod(shape, dtype=np.int64))
    if min((0, *shape)) < 0 or start + place + count * dtype.itemsize > path.stat().st_size:
        raise BadInputError(f"{path} was cut after it was written; remove it, and the run begins anew")
    return np.fromfile(path, dtype, count, offset=start + place).reshape(shape)
