"""Named columns of a file or a table: CSV, TSV, Parquet, npz, HDF5, NetCDF, DataFrames, xarray, mappings of arrays.

Nothing in a file is executed: npz archives that need pickle are refused.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.data.cells import number_in
from tokendyn.data.delimited import check_header, filled_rows, is_index, shape_problems, split_header
from tokendyn.data.snapshots.calendars import dates_of_texts
from tokendyn.data.snapshots.grids import TIME_DIMENSIONS
from tokendyn.data.snapshots.series import plain_array
from tokendyn.data.text_files import DELIMITERS, ending, no_column, open_text, readable
from tokendyn.errors import BadInputError
from tokendyn.optional import library
from tokendyn.runs.bounded import MOST_TABLE_BYTES, check_ratio, open_bytes
from tokendyn.runs.hdf5_files import check_hdf5, packed_size, read_dataset
from tokendyn.runs.netcdf_files import open_netcdf
from tokendyn.runs.numpy_files import DAMAGE, open_numpy
from tokendyn.runs.parquet_files import check_parquet
from tokendyn.runs.paths import no_file, other_separator

#: Names of columns that are times, whatever they hold; and of columns that are when they hold dates, or numbers that
#: grow: a month may also be a number from 1 to 12. All in lower case.
TIME_NAMES = ("time", "t")
LIKELY_TIME_NAMES = ("datetime", "timestamp", "date", "ds", "month", "quarter", "year", "unnamed: 0")
#: Attributes that name the bounds of a coordinate.
_BOUNDS = ("bounds", "climatology")
#: A number with a comma, and one whose comma may part thousands.
_COMMA_NUMBER, _THOUSANDS = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?"), re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
#: Lines by which it is judged what a comma in a number is.
_JUDGED = 1000
_CELLS = 2**22  # of a text table that are parsed at a time

KINDS = ".csv, .tsv, .parquet, .npz, .npy, .h5, .hdf5, .nc (.csv and .tsv also as .gz)"


#: What to do with files that other libraries read.
_ELSEWHERE = {
    ".mat": "give an array of scipy.io.loadmat(FILE), time first",
    ".zarr": "give xarray.open_zarr(FOLDER)",
    ".grib": 'give xarray.open_dataset(FILE, engine="cfgrib")',
    ".xlsx": "give pandas.read_excel(FILE)",
    ".xls": "give pandas.read_excel(FILE)",
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Arrays by name, read on demand; the first axis is time.

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
    packed
        Size of the file that unpacks to the columns, in bytes.
    dataset
        The xarray Dataset that they are variables of, if they are.
    """

    shapes: Mapping[str, tuple[int, ...]]
    get: Callable[[str], Any]
    source: str
    time: str | None = None
    packed: int | float = math.inf
    dataset: Any = None
    _taken: list[int] = field(default_factory=lambda: [0], repr=False)

    def need(self, name: str) -> np.ndarray:
        """Return a column, or say which there are."""
        if name not in self.shapes:
            raise BadInputError(f"{self.source} has {no_column(name, self.shapes)}")
        size = math.prod(self.shapes[name]) * 8
        if size > MOST_TABLE_BYTES:
            raise BadInputError(
                f"{self.source}: {name!r} holds {size / 2**30:.1f} GiB, at most {MOST_TABLE_BYTES / 2**30:.0f}; "
                "reduce it by POD"
            )
        self._taken[0] += size
        check_ratio(self.source, self._taken[0], self.packed)
        return np.asarray(self.get(name))


@contextmanager
def open_columns(table: Any, *, counting: bool = False) -> Iterator[Columns]:
    """Yield the columns of a path or a table; errors of the formats become one message with a remedy.

    Parameters
    ----------
    table
        A path, or an object in memory.
    counting
        Take the numbers of an index without a name for times, where no column of a DataFrame is likely to hold them.

    Raises
    ------
    BadInputError
        If the file is missing, empty, truncated, of unknown kind or too large, or the object is not a table.
    """
    if not isinstance(table, str | Path):
        yield _columns_of(table, counting=counting)
        return
    path = Path(table)
    name = path.name.lower()
    opener = next((reader for ends, reader in _READERS.items() if name.endswith(ends)), None)
    if not path.is_file():
        raise BadInputError(f"{path} is not a file: {no_file(path)}{_elsewhere(path)}")
    if opener is None:
        raise BadInputError(f"{path} is of no known kind; expected {KINDS}{_elsewhere(path)}")
    try:
        with opener(path) as columns:
            yield columns
    except BadInputError:
        raise
    except DAMAGE as error:
        what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInputError(f"{path} cannot be read whole ({what}); is it truncated or of another kind?") from None


def _elsewhere(path: Path) -> str:
    """Return how to come from a file of a kind that is not read to a forecast; nothing where it is not known."""
    remedy = _ELSEWHERE.get(path.suffix.lower()) if path.exists() else None
    return f"; in Python, {remedy}" if remedy else ""


def _columns_of(table: Any, *, counting: bool) -> Columns:
    """Return the columns of an object in memory."""
    kind = type(table).__module__.split(".")[0]
    if kind == "pandas":
        return _of_frame(_with_index(table, counting=counting), "the DataFrame")
    if kind == "xarray":
        dataset = table if hasattr(table, "data_vars") else table.to_dataset(name=table.name or "x")
        return _of_dataset(dataset, "the xarray object")
    if isinstance(table, Mapping):
        arrays = {str(name): plain_array(values) for name, values in table.items()}
        return Columns(
            shapes={name: array.shape for name, array in arrays.items()}, get=arrays.__getitem__, source="the mapping"
        )
    if isinstance(table, np.ndarray | list | tuple):
        array = plain_array(table)
        return Columns(shapes={"x": array.shape}, get=lambda _: array, source="the array")
    raise BadInputError(
        f"{type(table).__name__} is no table; give a path, an array, a mapping of arrays, a DataFrame or xarray"
    )


def _with_index(table: Any, *, counting: bool) -> Any:
    """Return a DataFrame whose index is a column where it has a name or holds times; a Series is one column."""
    import pandas as pd

    frame = table if hasattr(table, "columns") else table.to_frame("x" if table.name is None else table.name)
    check_levels(frame.index, "the DataFrame")
    index = frame.index.to_timestamp() if isinstance(frame.index, pd.PeriodIndex) else frame.index
    index = index if (dates := dates_of_texts(index)) is None else dates
    timed = {str(name).strip().lower() for name in frame.columns} & {*TIME_NAMES, *LIKELY_TIME_NAMES}
    dated = isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex)
    if index.name is None and not ("time" in timed or ((timed or not counting) and not dated)) and tells_times(index):
        index = index.rename("time")
    return frame.set_axis(index).reset_index() if index.name is not None else frame


def check_levels(index: Any, what: str) -> None:
    """Raise BadInputError if the index of a table has several levels, which would make one series of several."""
    if index.nlevels > 1:
        raise BadInputError(
            f"{what} has an index of {index.nlevels} levels; give table.reset_index(), with the columns of the times "
            "and of what tells several series apart (time, series)"
        )


def tells_times(index: Any) -> bool:
    """Return whether an index without a name is one of times: dates, durations, or numbers that grow."""
    import pandas as pd

    if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex):
        return True
    if isinstance(index, pd.RangeIndex) or index.dtype.kind not in "iuf":
        return False
    return bool(index.is_monotonic_increasing and index.is_unique)


def _plain_column(column: Any) -> np.ndarray:
    """Return a column of a DataFrame as an array; dates of a time zone as times in UTC, or on the clock of the zone.

    Days and months are equal steps on the clock of the zone, and hours in UTC, where summer time begins or ends.
    """
    import pandas as pd

    if not isinstance(column.dtype, pd.DatetimeTZDtype):
        return np.asarray(column.infer_objects().to_numpy())
    utc, local = column.dt.tz_convert("UTC"), column.dt.tz_localize(None)
    if utc.diff().iloc[1:].nunique() > 1:
        return np.asarray(local.to_numpy())
    return np.asarray([None if date is pd.NaT else date.isoformat() for date in utc], dtype=object)


def _of_frame(frame: Any, source: str) -> Columns:
    _refuse_twice(source, map(str, frame.columns))
    names = [str(name) for name in frame.columns]
    return Columns(
        shapes=dict.fromkeys(names, (len(frame),)),
        get=lambda name: _plain_column(frame.iloc[:, names.index(name)]),
        source=source,
    )


@contextmanager
def _open_text(path: Path) -> Iterator[Columns]:
    import pandas as pd

    delimiter = DELIMITERS[ending(path)]
    header = split_header(path, delimiter)
    if delimiter == "," and len(header) == 1 and ";" in header[0]:
        delimiter = ";"
        header = split_header(path, delimiter)
    decimal = "," if delimiter == ";" and _decimal_commas(path, delimiter) else "."
    if len(header) == 1 and "\t" in header[0] and (problem := other_separator(header, delimiter)):
        raise BadInputError(f"{path}: {problem}")
    check_header(str(path), header)
    _refuse_twice(str(path), filter(None, header))
    try:
        with readable(path), open_bytes(path) as stream:
            frame = _read_frame(stream, path, delimiter, decimal, max(_CELLS // max(len(header), 1), 1))
    except pd.errors.EmptyDataError:
        raise BadInputError(f"{path} is empty; expected a header row and rows of numbers") from None
    except pd.errors.ParserError as error:
        raise BadInputError(f"{path}: {str(error).strip()}; every row must have as many fields as the header") from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise BadInputError(f"{path}: rows have more fields than the header; name every column")
    if not len(frame):
        raise BadInputError(f"{path} holds a header row and no rows of numbers")
    # pandas fills short rows up, and passes over blank lines: those of one column may be gaps.
    if len(header) == 1 or frame.iloc[:, -1].isna().any():
        problems = shape_problems(path, delimiter)
        if problems:
            raise BadInputError.first_of(str(path), problems, "lines")
    if not header[0] and len(header) > 1 and is_index(frame.iloc[:, 0].to_numpy()):
        frame = frame.iloc[:, 1:]
    frame.columns = [str(name).strip() for name in frame.columns]
    yield _of_frame(frame, str(path))


def _decimal_commas(path: Path, delimiter: str) -> bool:
    """Return whether the numbers of a table without commas between columns have commas in place of points.

    Raises
    ------
    BadInputError
        If some have points too, or every comma stands before three digits, so that it may part thousands.
    """
    commas, decided, points = None, False, None
    with open_text(path) as file:
        for line, cells in filled_rows(file.rows(delimiter, strict=False)):
            for cell in cells:
                if _COMMA_NUMBER.fullmatch(cell):
                    commas = commas or (line, cell)
                    decided = decided or not _THOUSANDS.fullmatch(cell)
                elif "." in cell and number_in(cell) is not None:
                    points = points or (line, cell)
            if decided and line > _JUDGED:
                break  # a number with a point behind is text to pandas, and is refused as such
    if commas is None:
        return False
    if points is not None:
        raise BadInputError(
            f"{path}: line {commas[0]} holds {commas[1]!r} and line {points[0]} {points[1]!r}; write all numbers "
            "with a point"
        )
    if not decided:
        raise BadInputError(
            f"{path}: line {commas[0]} holds {commas[1]!r}, whose comma may stand for a point or part thousands; write "
            "all numbers with a point"
        )
    return True


def _refuse_twice(source: str, names: Iterable[str]) -> None:
    """Raise BadInputError if a name occurs twice: it is unclear which column is meant."""
    counts = Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise BadInputError(f"{source}: the column name {twice[0][:40]!r} occurs twice; rename one of them")


def _read_frame(stream: Any, path: Path, delimiter: str, decimal: str, rows: int) -> Any:
    """Read a table part by part, so that it is refused before it fills the memory."""
    import pandas as pd

    parts, held = [], 0
    with pd.read_csv(
        stream, sep=delimiter, decimal=decimal, encoding="utf-8-sig", skipinitialspace=True, low_memory=False,
        chunksize=rows,
    ) as reader:  # fmt: skip
        for part in reader:
            held += int(part.memory_usage(deep=True).sum())
            if held > MOST_TABLE_BYTES:
                raise BadInputError(
                    f"{path} takes more than {MOST_TABLE_BYTES / 2**30:.0f} GiB of memory; store it as HDF5 and reduce "
                    "it by POD"
                )
            parts.append(part)
    return parts[0] if len(parts) == 1 else pd.concat(parts)


@contextmanager
def _open_parquet(path: Path) -> Iterator[Columns]:
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    check_parquet(path)
    size = path.stat().st_size
    try:
        with parquet.ParquetFile(path) as file:
            schema, count = file.schema_arrow, file.metadata.num_rows
            _refuse_twice(str(path), schema.names)
            # Texts stay numbers of a dictionary, whose texts cannot be longer than the file lets them be.
            texts = [name for name, kind in zip(schema.names, schema.types, strict=True) if _is_text(kind)]
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            # An index without a name is a column where it holds dates, in a file as in a DataFrame.
            unnamed = {name for name in schema.names if re.fullmatch(r"__index_level_\d+__", name)}
            dated = [name for name in unnamed if _is_date(schema.field(name).type)]
            index = dated[0] if len(unnamed) == len(dated) == 1 and "time" not in schema.names else None
            shapes = {name: (count,) for name in schema.names if name not in unnamed}
            shapes |= {"time": (count,)} if index else {}

            def get(name: str) -> np.ndarray:
                return _parquet_column(file, index if index and name == "time" else name, path)

            yield Columns(shapes=shapes, get=get, source=str(path), packed=size)
    except arrow.ArrowException as error:
        raise BadInputError(f"{path} is not a whole Parquet file ({error})") from None


def _is_text(kind: Any) -> bool:
    types = library("pyarrow.types")
    tests = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return any(test(kind) for test in (*tests, types.is_string_view, types.is_binary_view))


def _is_date(kind: Any) -> bool:
    """Return whether a type of Arrow holds dates, or periods of pandas."""
    types = library("pyarrow.types")
    return types.is_timestamp(kind) or types.is_date(kind) or str(kind).startswith("extension<pandas.period")


def _parquet_column(file: Any, name: str, path: Path) -> np.ndarray:
    """Return one column.

    Texts are refused when they are longer than the file lets them be, and types with many values in a cell before they
    are read: a file of 1 KB can hold gigabytes of them.
    """
    arrow, types = library("pyarrow"), library("pyarrow.types")
    kind = file.schema_arrow.field(name).type
    plain = (types.is_primitive, types.is_decimal, types.is_dictionary, types.is_null, _is_text, _is_date)
    if not any(test(kind) for test in plain):
        raise BadInputError(f"{path}: {name!r} holds {str(kind)[:40]}; choose columns of numbers")
    column = file.read([name]).column(0)
    if types.is_dictionary(column.type) and _is_text(column.type.value_type):
        held = 0
        for chunk in column.chunks:
            lengths = np.array([len(text or b"") for text in chunk.dictionary.to_pylist()] or [0])
            held += int(lengths[chunk.indices.drop_null().to_numpy()].sum())
            check_ratio(f"{path}: {name!r}", held, path.stat().st_size)
        column = column.cast(column.type.value_type)
    if types.is_decimal(kind) or types.is_null(kind):
        column = column.cast(arrow.float64())
    found = column.to_pandas()
    return _plain_column(found.dt.to_timestamp() if hasattr(found.dtype, "freq") else found)


@contextmanager
def _open_npz(path: Path) -> Iterator[Columns]:
    with open_numpy(path) as file:
        yield Columns(shapes=file.shapes, get=file.read, source=str(path))


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
        yield Columns(
            shapes=shapes,
            get=lambda name: read_dataset(file[name], str(path)),
            source=str(path),
            time=_time_of_groups(shapes),
            packed=packed_size(path),
        )


def _time_of_groups(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return the array of a group that is called time or t, where it is the only one; its name is a path."""
    times = [
        name for name, shape in shapes.items() if name.lower().rsplit("/", 1)[-1] in TIME_NAMES and len(shape) == 1
    ]
    return times[0] if len(times) == 1 and "/" in times[0] else None


@contextmanager
def _open_netcdf(path: Path) -> Iterator[Columns]:
    with open_netcdf(path) as dataset:
        yield replace(_of_dataset(dataset, str(path)), packed=packed_size(path))


def time_dimension(names: Iterable[Any], coords: Mapping[Any, Any]) -> str | None:
    """Return which dimension is time: a usual name, else one whose coordinate holds dates, else the first."""
    dims = [str(name) for name in names]
    usual = next((name for wanted in TIME_DIMENSIONS for name in dims if name.lower() == wanted), None)
    dated = next((name for name in dims if name in coords and coords[name].dtype.kind == "M"), None)
    return usual or dated or (dims[0] if dims else None)


def _of_dataset(dataset: Any, source: str) -> Columns:
    """Return the variables that run over time; bounds of coordinates and what holds no numbers are left out."""
    along = time_dimension(dataset.dims, dataset.coords)
    if along is None:
        raise BadInputError(
            f"{source} has no dimension; expected variables that run over time, not in groups, which are not read"
        )
    bounds = {v.attrs.get(key, v.encoding.get(key)) for v in dataset.variables.values() for key in _BOUNDS}
    variables = {
        str(name): v.transpose(along, ...)
        for name, v in dataset.variables.items()
        if along in v.dims and name not in bounds and (name == along or name not in dataset.coords)
    }
    shapes = {name: variable.shape for name, variable in variables.items()}
    return Columns(
        shapes=shapes,
        get=lambda name: variables[name].values,
        source=source,
        time=along if along in variables else None,
        dataset=dataset,
    )


_READERS: dict[tuple[str, ...], Any] = {
    (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".tab", ".tab.gz"): _open_text,
    (".parquet", ".pq"): _open_parquet,
    (".npz", ".npy"): _open_npz,
    (".h5", ".hdf5", ".hdf"): _open_hdf5,
    (".nc", ".nc4", ".netcdf"): _open_netcdf,
}
