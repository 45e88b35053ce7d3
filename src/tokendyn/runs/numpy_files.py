"""npy and npz files: shapes before numbers, one error for every damage; pickled objects are refused.

What an archive says of itself is held against its size before anything is unpacked, and headers are read only of the
arrays that are asked for.
"""

import io
import lzma
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import MOST_TABLE_BYTES, check_ratio
from tokendyn.runs.opened import note_opened

#: What numpy, zipfile and the decompressors raise for damaged files.
DAMAGE = (
    OSError, EOFError, ValueError, KeyError, RuntimeError, SyntaxError, TypeError, MemoryError, OverflowError,
    tokenize.TokenError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip

#: Most bytes of the list of an archive's members: about 100,000 of them.
MOST_LISTING_BYTES = 8 * 2**20

_HEADER_BYTES = 16_384  # numpy's own limit is 10,000 characters, but it applies after they have been read


@dataclass(frozen=True)
class NumpyFile:
    """The arrays of an npy or npz file, whose numbers are read on demand.

    Attributes
    ----------
    shapes
        Shape of each array by name, found when asked for; an npy file holds ``x``.
    read
        Returns one of them; an npy file is mapped into memory.
    open_member
        Opens one array of an archive as a stream in npy format.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    open_member: Callable[[str], Any] | None = None


@contextmanager
def open_numpy(path: str | Path) -> Iterator[NumpyFile]:
    """Open an npy or npz file.

    Raises
    ------
    BadInputError
        If it is no such file, truncated, holds pickled objects, lists more members than ``MOST_LISTING_BYTES`` hold,
        unpacks to far more than its size (:func:`~tokendyn.runs.bounded.check_ratio`), or an array larger than
        ``MOST_TABLE_BYTES`` is read from an npz. Errors of the block pass through unless they are of the kinds that
        damaged files cause.
    """
    path = Path(path)
    try:
        note_opened(path)
        with path.open("rb") as stream:
            if path.suffix.lower() == ".npy":
                _header(stream.read(_HEADER_BYTES))
                with _old_headers():
                    array = np.load(path, allow_pickle=False, mmap_mode="r")
                yield NumpyFile({"x": array.shape}, lambda _: array)
                return
            _check_listing(stream, path)
            with zipfile.ZipFile(stream) as archive:
                members = _Members(archive, path)
                yield NumpyFile(shapes=members, read=members.read, open_member=members.open)
    except BadInputError:
        raise
    except DAMAGE as error:
        what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "allow_pickle" in what or "pickle" in what:
            what = "it holds pickled objects, which are never loaded: save plain arrays of numbers"
        raise BadInputError(f"{path} is not a whole {path.suffix} file of plain numbers ({what})") from None


class _Members(Mapping[str, tuple[int, ...]]):
    """Shapes of the arrays in an archive, and the arrays."""

    def __init__(self, archive: zipfile.ZipFile, path: Path):
        self._archive, self._path = archive, path
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(self._members) < len(archive.infolist()):
            counts = Counter(info.filename.removesuffix(".npy") for info in archive.infolist())
            twice = next(name for name, count in counts.items() if count > 1)
            raise BadInputError(f"{path} holds two arrays with the name {twice[:40]!r}; save it anew")
        self._size, self._unpacked = path.stat().st_size, 0.0

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return self._shape_and_type(name)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def read(self, name: str) -> np.ndarray:
        """Return an array."""
        shape, dtype = self._shape_and_type(name)
        size = math.prod(shape) * max(dtype.itemsize, 8)
        if size > MOST_TABLE_BYTES:
            raise BadInputError(f"{self._path}: {name!r} has shape {shape}, over {MOST_TABLE_BYTES / 2**30:.0f} GiB")
        # Members may share their bytes, so what has been read so far counts.
        self._unpacked += self._members[name].file_size
        check_ratio(self._path, self._unpacked, self._size)
        with _old_headers(), self._archive.open(self._members[name]) as member:
            return np.asarray(np.lib.format.read_array(member, allow_pickle=False))

    def open(self, name: str) -> Any:
        """Open an array as a stream in npy format."""
        self._shape_and_type(name)
        return self._archive.open(self._members[name])

    def _shape_and_type(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        info = self._members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadInputError(f"{self._path}: {name!r} is packed in a way that numpy does not write; save it anew")
        check_ratio(f"{self._path}: {name!r}", info.file_size, min(info.compress_size, self._size))
        with self._archive.open(info) as member:
            shape, dtype, offset = _header(member.read(_HEADER_BYTES))
        if dtype.hasobject:
            raise BadInputError(f"{name!r} holds pickled objects, which are never loaded; save plain arrays of numbers")
        if min(shape, default=0) < 0 or offset + math.prod(shape) * dtype.itemsize != info.file_size:
            raise BadInputError(f"{name!r} says that it has the shape {shape}, but holds another number of values")
        return shape, dtype


def _check_listing(stream: IO[bytes], path: Path) -> None:
    """Raise BadInputError if the stream is not a archive, or lists more members than can be kept in memory."""
    # The same look at the file's end with which ZipFile begins.
    end = zipfile._EndRecData(stream)  # type: ignore[attr-defined]
    if end is None:
        raise ValueError("it holds no archive of arrays")
    if end[5] > MOST_LISTING_BYTES:
        most = MOST_LISTING_BYTES // 2**20
        raise BadInputError(f"{path} lists its members in {end[5] / 2**20:.0f} MiB, at most {most}; save fewer arrays")
    stream.seek(0)


def _header(beginning: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape and type of an array in npy format, and where its numbers begin."""
    stream = io.BytesIO(beginning)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with _old_headers():
        shape, _, dtype = read(stream)
    return shape, dtype, stream.tell()


@contextmanager
def _old_headers() -> Iterator[None]:
    """Read what Python 2 or an old numpy has written without numpy's advice about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Data type alias 'a' was deprecated")
        warnings.filterwarnings("ignore", r"Reading `\.npy` or `\.npz` file required additional header parsing")
        yield
