"""Named columns of a file or a table: CSV, TSV, Parquet, npz, HDF5, NetCDF, DataFrames, xarray, mappings of arrays.

Nothing in a file is executed: npz archives that need pickle are refused.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import LISTED, BadInputError
from tokendyn.runs.bounded import MOST_TABLE_BYTES
from tokendyn.runs.hdf5_files import check_hdf5
from tokendyn.runs.numpy_files import DAMAGE, open_numpy

KINDS = ".csv, .tsv, .parquet, .npz, .npy, .h5, .hdf5, .nc (.csv and .tsv also as .gz)"


@dataclass(frozen=True)
class Columns:
    """Arrays by name, read when asked for; the first axis is time.

    Attributes
    ----------
    shapes
        Shape of each column or array.
    get
        Returns one of them.
    source
        Where they come from.
    time
        The name that the source itself marks as time, if it does.
    """

    shapes: Mapping[str, tuple[int, ...]]
    get: Callable[[str], Any]
    source: str
    time: str | None = None

    def need(self, name: str) -> np.ndarray:
        """Return a column, or say which there are."""
        if name not in self.shapes:
            names = list(self.shapes)
            close = difflib.get_close_matches(name, names, n=1)
            found = ", ".join(map(repr, names[:LISTED])) + (", ..." if len(names) > LISTED else "")
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise BadInputError(f"{self.source} has no column {name!r}; found {found or 'none'}{hint}")
        size = int(np.prod(self.shapes[name])) * 8
        if size > MOST_TABLE_BYTES:
            raise BadInputError(
                f"{self.source}: {name!r} holds {size / 2**30:.1f} GiB, at most {MOST_TABLE_BYTES / 2**30:.0f}; "
                "reduce it by POD"
            )
        return np.asarray(self.get(name))


@contextmanager
def open_columns(table: Any) -> Iterator[Columns]:
    """Yield the columns of a path or a table; errors of the formats become one message with a remedy.

    Raises
    ------
    BadInputError
        If the file is missing, empty, truncated, of unknown kind or too large, or the object is no table.
    """
    if not isinstance(table, str | Path):
        yield _columns_of(table)
        return
    path = Path(table)
    name = path.name.lower()
    opener = next((reader for ends, reader in _READERS.items() if name.endswith(ends)), None)
    if not path.is_file():
        raise BadInputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; give the path of a file")
    if opener is None:
        raise BadInputError(f"{path} is of no known kind; expected {KINDS}")
    try:
        with opener(path) as columns:
            yield columns
    except BadInputError:
        raise
    except UnicodeDecodeError:
        raise BadInputError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except DAMAGE as error:
        what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInputError(f"{path} cannot be read whole ({what}); is it truncated or of another kind?") from None


def _columns_of(table: Any) -> Columns:
    """Return the columns of an object in memory."""
    kind = type(table).__module__.split(".")[0]
    if kind == "pandas":
        return _of_frame(table.reset_index() if table.index.name else table, "the DataFrame")
    if kind == "xarray":
        dataset = table if hasattr(table, "data_vars") else table.to_dataset(name=table.name or "x")
        return _of_dataset(dataset, "the xarray object")
    if isinstance(table, Mapping):
        arrays = {str(name): np.asarray(values) for name, values in table.items()}
        return Columns({name: array.shape for name, array in arrays.items()}, arrays.__getitem__, "the mapping")
    if isinstance(table, np.ndarray):
        return Columns({"x": table.shape}, lambda _: table, "the array")
    raise BadInputError(
        f"{type(table).__name__} is no table; give a path, an array, a mapping of arrays, a DataFrame or xarray"
    )


def _of_frame(frame: Any, source: str) -> Columns:
    shapes = {str(name): (len(frame),) for name in frame.columns}
    if len(shapes) < frame.shape[1]:
        raise BadInputError(f"{source}: a column name occurs twice")
    return Columns(shapes, lambda name: frame.iloc[:, list(shapes).index(name)].to_numpy(), source)


@contextmanager
def _open_text(path: Path) -> Iterator[Columns]:
    import pandas as pd

    if path.stat().st_size > MOST_TABLE_BYTES:
        raise BadInputError(
            f"{path} is larger than {MOST_TABLE_BYTES / 2**30:.0f} GiB; store it as HDF5 and reduce it by POD"
        )
    separator = "\t" if path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")) else ","
    try:
        frame = pd.read_csv(path, sep=separator, encoding="utf-8-sig", skipinitialspace=True, low_memory=False)
    except pd.errors.EmptyDataError:
        raise BadInputError(f"{path} is empty; expected a header row and rows of numbers") from None
    except pd.errors.ParserError as error:
        raise BadInputError(f"{path}: {str(error).strip()}; every row must have as many fields as the header") from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise BadInputError(f"{path}: rows have more fields than the header; name every column")
    frame.columns = [str(name).strip() for name in frame.columns]
    yield _of_frame(frame, str(path))


@contextmanager
def _open_parquet(path: Path) -> Iterator[Columns]:
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            shapes = dict.fromkeys(file.schema_arrow.names, (file.metadata.num_rows,))
            yield Columns(shapes, lambda name: file.read([name]).column(0).to_pandas().to_numpy(), str(path))
    except arrow.ArrowException as error:
        raise BadInputError(f"{path} is not a whole Parquet file ({error})") from None


@contextmanager
def _open_npz(path: Path) -> Iterator[Columns]:
    with open_numpy(path) as found:
        yield Columns(found.shapes, found.read, str(path))


@contextmanager
def _open_hdf5(path: Path) -> Iterator[Columns]:
    import h5py

    check_hdf5(path)
    with h5py.File(path, "r") as file:
        shapes: dict[str, tuple[int, ...]] = {}

        def note(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.shape:
                shapes[name] = item.shape

        file.visititems(note)
        yield Columns(shapes, lambda name: file[name][()], str(path))


@contextmanager
def _open_netcdf(path: Path) -> Iterator[Columns]:
    import xarray as xr

    check_hdf5(path)
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        yield _of_dataset(dataset, str(path))


def _of_dataset(dataset: Any, source: str) -> Columns:
    """Return the variables that run over time (the dimension ``time`` or ``t``, else the first of each)."""
    along = next((str(name) for name in dataset.dims if str(name).lower() in ("time", "t")), None)
    along = along or (str(next(iter(dataset.dims))) if dataset.dims else None)
    if along is None:
        raise BadInputError(f"{source} has no dimension; expected variables that run over time")
    variables = {str(name): v.transpose(along, ...) for name, v in dataset.variables.items() if along in v.dims}
    shapes = {name: variable.shape for name, variable in variables.items()}
    return Columns(shapes, lambda name: variables[name].values, source, along if along in variables else None)


_READERS: dict[tuple[str, ...], Any] = {
    (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".tab"): _open_text,
    (".parquet", ".pq"): _open_parquet,
    (".npz", ".npy"): _open_npz,
    (".h5", ".hdf5", ".hdf"): _open_hdf5,
    (".nc", ".nc4", ".netcdf"): _open_netcdf,
}
