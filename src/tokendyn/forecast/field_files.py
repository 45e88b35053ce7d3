"""Fields that are read piece by piece: HDF5, NetCDF, npy and npz files, tables, arrays and memory maps."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.data.delimited import check_header, first_is_index, number_blocks, shape_problems, split_header
from tokendyn.data.snapshots import Snapshots
from tokendyn.data.snapshots.columns import time_dimension
from tokendyn.data.snapshots.grids import Grid, grid_of
from tokendyn.data.snapshots.series import plain_array
from tokendyn.data.text_files import DELIMITERS, ending
from tokendyn.errors import BadInputError, listing
from tokendyn.runs.hdf5_files import check_dataset, check_hdf5
from tokendyn.runs.netcdf_files import open_netcdf
from tokendyn.runs.numpy_files import DAMAGE, open_numpy
from tokendyn.runs.paths import no_file
from tokendyn.words import counted

Piece = tuple[slice, ...]

#: Number of bytes of a table that are parsed, or read back, at a time.
_BLOCK = 16 * 2**20

_MOST_NAMES = 1000  # of arrays whose shapes are looked at to find the one that is the field


@dataclass(frozen=True)
class Field:
    """A field over time that need not fit into memory.

    Attributes
    ----------
    shape
        ``(time, *space)``.
    read
        Callable that returns the piece for one slice of each axis, in any real type.
    source
        Origin of the field, for messages.
    grid
        Names, dimensions and coordinates of its space, if known; no mask.
    kept
        Which points of space are not land: the others are NaN in every snapshot, and read as 0. None for all.
    """

    shape: tuple[int, ...]
    read: Callable[[Piece], np.ndarray]
    source: str
    grid: Grid | None = None
    kept: np.ndarray | None = None

    def masked(self) -> "Field":
        """Return the field with a mask of the points that are NaN in its first snapshot.

        :meth:`piece` raises if a masked point holds a number later: such a field has a gap, not land.
        """
        first = np.asarray(self.read((slice(0, 1), *(slice(0, n) for n in self.shape[1:]))))[0]
        land = np.isnan(first) if first.dtype.kind == "f" else np.zeros(self.shape[1:], dtype=bool)
        return replace(self, kept=~land) if land.any() and not land.all() else self

    def piece(self, slices: Piece) -> np.ndarray:
        """Return one piece as float64, masked points as 0; raise if another number in it is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):  # of longer floats
            values = np.array(self.read(slices), dtype=np.float64)
        if self.kept is not None:
            land = ~self.kept[slices[1:]]
            if not np.isnan(values[:, land]).all():
                raise BadInputError(
                    f"{self.source} is NaN in snapshot 1 at points that hold numbers later; fill them (points that are "
                    "NaN in every snapshot are masked)"
                )
            values[:, land] = 0.0
        if not np.isfinite(values).all():
            bad = ~np.isfinite(values)
            rows = np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))[:5] + 1 + (slices[0].start or 0)
            raise BadInputError(
                f"{self.source} holds {counted(int(bad.sum()), 'value')} of NaN or infinity (snapshots "
                f"{', '.join(map(str, rows))}, ...); fill them (points that are NaN in every snapshot are masked)"
            )
        return values

    def pieces(self, most: int, *, over_time: bool) -> Iterator[Piece]:
        """Yield slices that cover the field in pieces of at most ``most`` numbers if possible.

        ``over_time`` splits only time; else time stays whole and space is split, first axis first.
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
def open_field(field: Any, variable: str | Sequence[str] | None = None) -> Iterator[Field]:
    """Yield a field from an array, a memory map, an xarray object, snapshots of a grid, or a file.

    Parameters
    ----------
    field
        An array ``(time, *space)`` or a path that ends in ``.h5``, ``.hdf5``, ``.nc``, ``.npy``, ``.npz``, ``.csv`` or
        ``.tsv``. A compressed npz, and a table (one snapshot a row), are unpacked to a temporary file first. Of a
        Dataset of xarray all variables over time are one field, their points one after the other.
    variable
        Name of the dataset in a file; not needed when there is only one. Several names give one field ``(time,
        points)`` of all of them.

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
        yield _of_memory(field, variable)
        return
    if variable is not None and not isinstance(variable, str):
        with ExitStack() as opened:
            yield joined([opened.enter_context(open_field(field, name)) for name in variable], str(field))
        return
    path = Path(field)
    if not path.is_file():
        raise BadInputError(f"{path} is not a file: {no_file(path)}")
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    opener = _OPENERS.get(suffix.lower())
    if opener is None:
        raise BadInputError(f"{path} is of no known kind; expected {', '.join(_OPENERS)}")
    try:
        with opener(path, variable) as opened:
            yield opened
    except BadInputError:
        raise
    except DAMAGE as error:
        raise BadInputError(f"{path} cannot be read whole ({error}); is it truncated?") from None


def _of_memory(field: Any, variable: str | Sequence[str] | None) -> Field:
    """Return the field of an object in memory."""
    if isinstance(field, Snapshots):
        return _of_array(field.values, field.source)
    if type(field).__module__.split(".")[0] != "xarray":
        return _of_array(field, "fields")
    time = time_dimension(field.dims, field.coords)
    if not hasattr(field, "data_vars"):
        return _of_variable(field.transpose(time, ...), field, str(time), "the DataArray", single=True)
    names = [variable] if isinstance(variable, str) else variable
    names = [name for name, array in field.data_vars.items() if time in array.dims] if names is None else list(names)
    absent = [name for name in names if name not in field.data_vars]
    if absent or not names:
        raise BadInputError(f"the Dataset has no field {listing(absent)}; found {listing(list(field.data_vars))}")
    parts = [
        _of_variable(field[name].transpose(time, ...), field, str(time), f"{name!r}", single=False) for name in names
    ]
    return parts[0] if len(parts) == 1 else joined(parts, "the Dataset")


def _of_variable(array: Any, table: Any, time: str, source: str, *, single: bool) -> Field:
    """Return the field of a variable of xarray, with its grid."""
    grid = grid_of({array.name: array}, table, time, single=single)
    return replace(_of_array(array.variable, source), grid=grid)


def joined(fields: Sequence[Field], source: str) -> Field:
    """Return several fields of the same times as one, ``(time, points)``: their points one after the other."""
    lengths = {field.shape[0] for field in fields}
    if len(lengths) > 1:
        raise BadInputError(f"{source}: fields of {listing(sorted(lengths))} snapshots; expected as many in all")
    sizes = [int(np.prod(field.shape[1:])) for field in fields]
    starts = np.cumsum([0, *sizes])
    grids = [field.grid for field in fields]
    grid = None
    if all(part is not None for part in grids):
        known = [part for part in grids if part is not None]
        coords = {coord.name: coord for part in known for coord in part.coords}
        variables = tuple(variable for part in known for variable in part.variables)
        grid = replace(known[0], variables=variables, coords=tuple(coords.values()), single=False)

    def read(slices: Piece) -> np.ndarray:
        first, last, _ = slices[1].indices(int(starts[-1]))
        parts = []
        for field, start, size in zip(fields, starts, sizes, strict=False):
            low, high = max(first - start, 0), min(last - start, size)
            if low < high:
                whole = np.asarray(field.read((slices[0], *(slice(0, n) for n in field.shape[1:]))), dtype=np.float64)
                parts.append(whole.reshape(len(whole), size)[:, low:high])
        return np.concatenate(parts, axis=1)

    return Field((fields[0].shape[0], int(starts[-1])), read, source, grid)


def _of_array(array: Any, source: str) -> Field:
    """Return a field from any object with a shape, a type, and slices."""
    if np.ma.isMaskedArray(array) or not (hasattr(array, "shape") and hasattr(array, "dtype")):
        array = plain_array(array)
    if array.dtype.kind not in "fiub":
        remedy = "; give real and imaginary part as two fields" if array.dtype.kind == "c" else ""
        what = "complex numbers" if array.dtype.kind == "c" else array.dtype
        raise BadInputError(f"{source} holds {what}; expected real numbers{remedy}")
    if len(array.shape) < 2 or min(array.shape) == 0:
        raise BadInputError(f"{source} has shape {tuple(array.shape)}; expected (time, *space)")
    return Field(tuple(array.shape), lambda slices: np.asarray(array[slices]), source)


def _pick(path: Path, names: list[str], variable: str | None) -> str:
    """Return the name of the requested variable."""
    found = listing([repr(name) for name in names]) or "none"
    if variable is None and len(names) == 1:
        return names[0]
    if variable is None:
        raise BadInputError(f"{path} holds several fields; name one of {found}, or several in a list")
    if variable not in names:
        raise BadInputError(f"{path} has no field {variable!r}; found {found}")
    return variable


@contextmanager
def _hdf5(path: Path, variable: str | None) -> Iterator[Field]:
    import h5py

    check_hdf5(path)
    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if len(getattr(item, "shape", ())) > 1 else None)
        name = _pick(path, names, variable)
        check_dataset(file[name], str(path))
        yield _of_array(file[name], f"{path}, {name!r}")


@contextmanager
def _netcdf(path: Path, variable: str | None) -> Iterator[Field]:
    with open_netcdf(path, cache=False) as dataset:
        names = [str(name) for name, found in dataset.data_vars.items() if found.ndim > 1]
        name = _pick(path, names, variable)
        time = time_dimension(dataset[name].dims, dataset.coords)
        yield _of_variable(dataset[name].transpose(time, ...), dataset, str(time), f"{path}, {name!r}", single=True)


@contextmanager
def _npy(path: Path, _: str | None) -> Iterator[Field]:
    with open_numpy(path) as file:
        yield _of_array(file.read("x"), str(path))


@contextmanager
def _npz(path: Path, variable: str | None) -> Iterator[Field]:
    with open_numpy(path) as file:
        wanted = [name for name in file.shapes if variable is None or name == variable]
        if len(wanted) > _MOST_NAMES:
            raise BadInputError(f"{path} holds {len(wanted)} arrays; name the one that is the field")
        names = [name for name in wanted if len(file.shapes[name]) > 1]
        name = _pick(path, names if wanted else list(file.shapes)[:_MOST_NAMES], variable)
        assert file.open_member is not None  # an npz file has members
        with tempfile.TemporaryDirectory() as folder:
            unpacked = Path(folder) / "field.npy"
            with file.open_member(name) as member, unpacked.open("wb") as target:
                shutil.copyfileobj(member, target, 2**20)
            with _npy(unpacked, None) as field:
                yield Field(field.shape, field.read, f"{path}, {name!r}")


@contextmanager
def _csv(path: Path, _: str | None) -> Iterator[Field]:
    """Unpack a table to a raw file in pieces; a column named time or t, or an index without a name, is left out."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "field.raw"
        names = _unpack(path, raw)
        rows = raw.stat().st_size // (8 * len(names)) if raw.exists() else 0
        if not rows:
            raise BadInputError(f"{path} holds no numbers; expected a header row, and one snapshot a row")

        def read(slices: Piece) -> np.ndarray:
            first, last = slices[0].start or 0, rows if slices[0].stop is None else slices[0].stop
            found = np.empty((last - first, len(range(*slices[1].indices(len(names))))))
            step = max(_BLOCK // (8 * len(names)), 1)
            for start in range(first, last, step):
                count = min(step, last - start)
                block = np.fromfile(raw, count=count * len(names), offset=8 * start * len(names))
                found[start - first : start - first + count] = block.reshape(count, -1)[:, slices[1]]
            return found

        yield Field((rows, len(names)), read, str(path))


def _unpack(path: Path, raw: Path) -> list[str]:
    """Write the numbers of a table row by row as float64; return the names of its columns."""
    delimiter = DELIMITERS[ending(path)]
    columns = split_header(path, delimiter)
    left = {place for place, name in enumerate(columns) if name.lower() in ("time", "t")}
    if columns and not columns[0] and first_is_index(path, delimiter):
        left.add(0)
    kept = [place for place in range(len(columns)) if place not in left]
    names = [columns[place] for place in kept]
    if not names:
        return []
    check_header(str(path), columns)
    problems = shape_problems(path, delimiter) if len(columns) == 1 else []
    if problems:
        raise BadInputError.first_of(str(path), problems, "lines")
    with raw.open("wb") as target:
        for block in number_blocks(path, delimiter, kept, max(_BLOCK // (8 * len(columns)), 1)):
            block.tofile(target)
    return names


_OPENERS: dict[str, Any] = {
    ".h5": _hdf5, ".hdf5": _hdf5, ".nc": _netcdf, ".npy": _npy, ".npz": _npz, ".csv": _csv, ".tsv": _csv,
}  # fmt: skip
