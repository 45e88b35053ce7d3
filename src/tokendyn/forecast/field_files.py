"""Fields that are read piece by piece: HDF5, NetCDF, npy and npz files, arrays and memory maps."""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.runs.numpy_files import npz_header

Piece = tuple[slice, ...]


@dataclass(frozen=True)
class Field:
    """A field over time that need not fit into memory.

    Attributes
    ----------
    shape
        ``(time, *space)``.
    read
        Returns the piece with one slice for each axis, in any real type.
    source
        Where it comes from, for messages.
    """

    shape: tuple[int, ...]
    read: Callable[[Piece], np.ndarray]
    source: str

    def piece(self, slices: Piece) -> np.ndarray:
        """Return one piece as float64; raise if a number in it is not finite."""
        values = np.asarray(self.read(slices), dtype=np.float64)
        if not np.isfinite(values).all():
            bad = ~np.isfinite(values)
            rows = np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))[:5] + 1 + (slices[0].start or 0)
            raise BadInputError(
                f"{self.source} holds {int(bad.sum())} values that are NaN or infinite (snapshots "
                f"{', '.join(map(str, rows))}, ...); fill them, or leave masked points out"
            )
        return values

    def pieces(self, most: int, *, over_time: bool) -> Iterator[Piece]:
        """Yield slices that cover the field in pieces of at most ``most`` numbers where that is possible.

        ``over_time`` cuts time only; else time stays whole and space is cut, first axis first.
        """
        if over_time:
            rows = max(most // max(int(np.prod(self.shape[1:])), 1), 1)
            rest = tuple(slice(0, n) for n in self.shape[1:])
            yield from ((slice(a, min(a + rows, self.shape[0])), *rest) for a in range(0, self.shape[0], rows))
        else:
            yield from ((slice(0, self.shape[0]), *p) for p in _cut(self.shape[1:], max(most // self.shape[0], 1)))


def _cut(shape: tuple[int, ...], most: int) -> Iterator[Piece]:
    """Yield slices of space that hold at most ``most`` points each."""
    inner = int(np.prod(shape[1:]))
    if not shape or inner * shape[0] <= most:
        yield tuple(slice(0, n) for n in shape)
        return
    rows = max(most // inner, 1)
    for start in range(0, shape[0], rows):
        head = slice(start, min(start + rows, shape[0]))
        if inner > most:
            yield from ((head, *tail) for tail in _cut(shape[1:], most))
        else:
            yield (head, *(slice(0, n) for n in shape[1:]))


@contextmanager
def open_field(field: Any, variable: str | None = None) -> Iterator[Field]:
    """Yield a field from an array, a memory map or a file.

    Parameters
    ----------
    field
        An array ``(time, *space)`` or a path that ends in ``.h5``, ``.hdf5``, ``.nc``, ``.npy`` or ``.npz``. A
        compressed npz is unpacked to a temporary file first.
    variable
        Name of the dataset in a file; not needed when there is only one.

    Raises
    ------
    BadInputError
        If the file cannot be read, the variable is not there (the message says which are), or the field is complex,
        not numbers, or not ``(time, *space)``.
    """
    if isinstance(field, Field):
        yield field
        return
    if not isinstance(field, str | Path):
        yield _of_array(field, "fields")
        return
    path = Path(field)
    if not path.is_file():
        raise BadInputError(f"{path} does not exist; give the path of a file with fields")
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        raise BadInputError(f"{path} is of no known kind; expected {', '.join(_OPENERS)}")
    try:
        with opener(path, variable) as opened:
            yield opened
    except BadInputError:
        raise
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInputError(f"{path} cannot be read whole ({error}); is it truncated?") from None


def _of_array(array: Any, source: str) -> Field:
    """Return a field of anything that has a shape, a type, and slices."""
    array = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise BadInputError(f"{source} holds {array.dtype}; expected real numbers")
    if len(array.shape) < 2 or min(array.shape) == 0:
        raise BadInputError(f"{source} has shape {tuple(array.shape)}; expected (time, *space)")
    return Field(tuple(array.shape), lambda slices: np.asarray(array[slices]), source)


def _pick(path: Path, names: list[str], variable: str | None) -> str:
    """Return the name of the variable that is meant."""
    found = ", ".join(map(repr, names)) or "none"
    if variable is None and len(names) == 1:
        return names[0]
    if variable is None:
        raise BadInputError(f"{path} holds several fields; name one of {found}")
    if variable not in names:
        raise BadInputError(f"{path} has no field {variable!r}; found {found}")
    return variable


@contextmanager
def _hdf5(path: Path, variable: str | None) -> Iterator[Field]:
    import h5py

    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if len(getattr(item, "shape", ())) > 1 else None)
        name = _pick(path, names, variable)
        yield _of_array(file[name], f"{path}, {name!r}")


@contextmanager
def _netcdf(path: Path, variable: str | None) -> Iterator[Field]:
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf", cache=False) as dataset:
        names = [str(name) for name, found in dataset.data_vars.items() if found.ndim > 1]
        name = _pick(path, names, variable)
        yield _of_array(dataset[name].variable, f"{path}, {name!r}")


@contextmanager
def _npy(path: Path, _: str | None) -> Iterator[Field]:
    yield _of_array(np.load(path, mmap_mode="r", allow_pickle=False), str(path))


@contextmanager
def _npz(path: Path, variable: str | None) -> Iterator[Field]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        names = [name for name in archive.files if len(npz_header(archive, name)[0]) > 1]
        name = _pick(path, names, variable)
        with tempfile.TemporaryDirectory() as folder:
            unpacked = Path(folder) / "field.npy"
            with archive.zip.open(f"{name}.npy") as member, unpacked.open("wb") as target:
                shutil.copyfileobj(member, target, 2**20)
            with _npy(unpacked, None) as field:
                yield Field(field.shape, field.read, f"{path}, {name!r}")


_OPENERS: dict[str, Any] = {".h5": _hdf5, ".hdf5": _hdf5, ".nc": _netcdf, ".npy": _npy, ".npz": _npz}
