"""npy and npz files: shapes before numbers, one error for every damage; pickled objects are refused."""

import lzma
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import MOST_TABLE_BYTES

#: What numpy, zipfile and the decompressors raise for damaged files.
DAMAGE = (
    OSError, EOFError, ValueError, KeyError, RuntimeError, SyntaxError, TypeError, MemoryError, OverflowError,
    tokenize.TokenError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class NumpyFile:
    """The arrays of an npy or npz file, whose numbers are read when asked for.

    Attributes
    ----------
    shapes
        Shape of each array by name; an npy file holds ``x``.
    read
        Returns one of them; an npy file is mapped into memory.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]


@contextmanager
def open_numpy(path: str | Path) -> Iterator[NumpyFile]:
    """Open an npy or npz file.

    Raises
    ------
    BadInputError
        If it is no such file, truncated, holds pickled objects, or an array larger than ``MOST_TABLE_BYTES`` is read
        from an npz. Errors of the block pass through unless they are of the kinds that damaged files cause.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            with _old_headers():
                array = np.load(path, allow_pickle=False, mmap_mode="r")
            yield NumpyFile({"x": array.shape}, lambda _: array)
            return
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds no archive of arrays")
            sizes = {name: npz_header(archive, name) for name in archive.files}

            def read(name: str) -> np.ndarray:
                shape, dtype = sizes[name]
                if np.prod(shape, dtype=np.float64) * max(dtype.itemsize, 8) > MOST_TABLE_BYTES:
                    raise BadInputError(f"{path}: {name!r} has shape {shape}, over {MOST_TABLE_BYTES / 2**30:.0f} GiB")
                with _old_headers():
                    return np.asarray(archive[name])

            yield NumpyFile({name: shape for name, (shape, _) in sizes.items()}, read)
    except BadInputError:
        raise
    except DAMAGE as error:
        what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "allow_pickle" in what or "pickle" in what:
            what = "it holds pickled objects, which are never loaded: save plain arrays of numbers"
        raise BadInputError(f"{path} is not a whole {path.suffix} file of plain numbers ({what})") from None


def npz_header(archive: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array in an open npz archive without reading its numbers.

    Raises
    ------
    BadInputError
        For pickled objects, or a header that does not tell the size of its array.
    """
    whole = name if name in archive.zip.namelist() else f"{name}.npy"
    with archive.zip.open(whole) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with _old_headers():
            shape, _, dtype = read(member)
        header = member.tell()
    if dtype.hasobject:
        raise BadInputError(f"{name!r} holds pickled objects, which are never loaded; save plain arrays of numbers")
    count = 1
    for length in shape:
        count *= length
    if min(shape, default=0) < 0 or header + count * dtype.itemsize != archive.zip.getinfo(whole).file_size:
        raise BadInputError(f"{name!r} says that it has the shape {shape}, but holds other than so many numbers")
    return shape, dtype


@contextmanager
def _old_headers() -> Iterator[None]:
    """Read what Python 2 or an old numpy has written without numpy's advice about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Data type alias 'a' was deprecated")
        warnings.filterwarnings("ignore", r"Reading `\.npy` or `\.npz` file required additional header parsing")
        yield
