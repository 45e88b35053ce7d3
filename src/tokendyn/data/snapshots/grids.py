"""The grid behind the columns of a series: which fields they are entries of, where, and what is masked.

A series is ``(time, features)``. Fields ``(time, *space)`` are flattened into it, one after the other, without the
points that hold no number at any time (land in an ocean, a body in a flow); :class:`Grid` puts them back.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.errors import BadInputError, listing

if TYPE_CHECKING:
    import xarray as xr

#: Names of dimensions that are time.
TIME_DIMENSIONS = ("time", "t")
#: Names and units of coordinates that are latitudes.
_LATITUDES = ("lat", "latitude", "nav_lat", "yt_ocean")
_DEGREES_NORTH = ("degrees_north", "degree_north", "degrees_n", "degreesn")
#: Latitudes whose cosine is below this count as this one: the cell at a pole has an area.
_LEAST_AREA = 1e-3


@dataclass(frozen=True)
class Variable:
    """One field of a grid: its name, the dimensions and sizes of its space, its attributes."""

    name: str | None
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def points(self) -> int:
        """Points of its space."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Coordinate:
    """A coordinate that does not change with time."""

    name: str
    dims: tuple[str, ...]
    values: np.ndarray
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Grid:
    """Fields over space whose points are the features of a series.

    Attributes
    ----------
    variables
        The fields, in the order of the features.
    coords
        Their coordinates.
    kept
        Which points of all fields, flattened one after the other, are features; None for all.
    time
        Name of the dimension of time.
    single
        Whether the fields came as one array, not as a collection of named ones.
    attrs
        Attributes of the collection.
    time_attrs
        Attributes of the coordinate of time: its units, where times are numbers.
    """

    variables: tuple[Variable, ...]
    coords: tuple[Coordinate, ...] = ()
    kept: Bool[np.ndarray, " points"] | None = None
    time: str = "time"
    single: bool = True
    attrs: dict[str, Any] = field(default_factory=dict)
    time_attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def points(self) -> int:
        """Points of all fields, masked ones included."""
        return sum(variable.points for variable in self.variables)

    @property
    def features(self) -> int:
        """Points that are features."""
        return self.points if self.kept is None else int(self.kept.sum())

    @cached_property
    def variable_of(self) -> np.ndarray:
        """Number of the field that each feature belongs to."""
        numbers = np.repeat(np.arange(len(self.variables)), [variable.points for variable in self.variables])
        return numbers if self.kept is None else numbers[self.kept]

    def names(self) -> tuple[str, ...]:
        """Return a name for each feature: that of its field, and the number of the point in it."""
        every: list[str] = []
        for variable in self.variables:
            stem = "x" if variable.name is None else variable.name
            every += [f"{stem}{number}" for number in range(variable.points)] if variable.shape else [stem]
        return tuple(every) if self.kept is None else tuple(np.array(every, dtype=object)[self.kept])

    def cell(self, feature: int) -> str:
        """Return where a feature lies: its field, and the place in it as xarray's ``isel`` takes it."""
        number = int(feature if self.kept is None else np.flatnonzero(self.kept)[feature])
        for variable in self.variables:
            if number < variable.points:
                break
            number -= variable.points
        places = [str(place) for place in np.unravel_index(number, variable.shape)] if variable.shape else []
        if self.coords:
            places = [f"{dim}={place}" for dim, place in zip(variable.dims, places, strict=True)]
        return (variable.name or "x") + (f"[{', '.join(places)}]" if places else "")

    def described(self) -> str:
        """Return the fields with their sizes, and the number of masked points."""
        shown = [f"{v.name or 'x'} ({' x '.join(map(str, v.shape))})" for v in self.variables if v.shape]
        shown += [str(v.name or "x") for v in self.variables if not v.shape]
        masked = self.points - self.features
        return listing(shown) + (f", {masked} of {self.points} points masked" if masked else "")

    def whole(self, values: Float[np.ndarray, "rows features"]) -> list[Float[np.ndarray, "rows ..."]]:
        """Return the fields ``(rows, *space)`` of rows of features; masked points are NaN."""
        rows = values
        if self.kept is not None:
            rows = np.full((len(values), self.points), np.nan, dtype=values.dtype)
            rows[:, self.kept] = values
        cuts = np.cumsum([variable.points for variable in self.variables])[:-1]
        parts = np.split(rows, cuts, axis=1)
        return [part.reshape(-1, *variable.shape) for part, variable in zip(parts, self.variables, strict=True)]

    def to_xarray(
        self, values: Float[np.ndarray, "rows features"], index: Any, dimension: str | None = None
    ) -> "xr.DataArray | xr.Dataset":
        """Return rows of features in the form of the fields: a DataArray, or a Dataset, with all coordinates.

        Parameters
        ----------
        values
            One row for each entry of the index.
        index
            Times, or modes; None for rows without a coordinate.
        dimension
            Name of the dimension of the rows; by default that of time.
        """
        import xarray as xr

        rows = dimension or self.time
        index = index.to_index() if isinstance(index, xr.DataArray) else index
        along: dict[str, Any] = {} if index is None else {rows: ((rows,), index, self._attrs_of(index, dimension))}
        coords = along | {c.name: (c.dims, c.values, c.attrs) for c in self.coords}
        fields = {
            variable.name: xr.Variable((rows, *variable.dims), part, variable.attrs)
            for variable, part in zip(self.variables, self.whole(values), strict=True)
        }
        if not self.single:
            return xr.Dataset({str(name): part for name, part in fields.items()}, coords=coords, attrs=self.attrs)
        ((name, part),) = fields.items()
        own = {key: entry for key, entry in coords.items() if set(entry[0]) <= set(part.dims)}
        return xr.DataArray(part, coords=own, name=name)

    def _attrs_of(self, index: Any, dimension: str | None) -> dict[str, Any]:
        """Return the attributes of the coordinate of the rows; dates and durations have units of their own."""
        if dimension is not None:
            return {}
        numbers = getattr(getattr(index, "dtype", None), "kind", "O") in "iuf"
        return {name: value for name, value in self.time_attrs.items() if numbers or name not in ("units", "calendar")}

    def deviations(self, variances: Float[np.ndarray, " features"]) -> Float[np.ndarray, " features"] | None:
        """Return the divisors of errors of fields: the deviation of the whole field, not that of each point.

        Points in which little happens would count as much as all others. With cell areas a_c, on average 1, it is
        ``sqrt(V / a_c)`` with the mean ``V`` of the variances over the area of each field, so that a mean of squares
        over the points is one over the area. None where the features are columns: without coordinates, and of one
        dimension.
        """
        if not any(variable.shape for variable in self.variables):
            return None
        if not self.coords and all(len(variable.shape) < 2 for variable in self.variables):
            return None
        areas = self.areas()
        weights = np.ones(self.features) if areas is None else areas
        means = np.bincount(self.variable_of, weights * variances) / np.bincount(self.variable_of, weights)
        return np.asarray(np.sqrt(np.where(means > 0, means, 1.0)[self.variable_of] / weights))

    def latitude(self, variable: Variable) -> np.ndarray | None:
        """Return the latitude in degrees of every point of a field, None where no coordinate is one."""
        for coord in self.coords:
            degrees = str(coord.attrs.get("units", "")).lower() in _DEGREES_NORTH
            if not (degrees or coord.name.lower() in _LATITUDES) or coord.values.dtype.kind not in "iuf":
                continue
            if coord.dims and set(coord.dims) <= set(variable.dims) and np.abs(coord.values).max() <= 90:
                order = sorted(range(len(coord.dims)), key=lambda axis: variable.dims.index(coord.dims[axis]))
                shape = [
                    size if dim in coord.dims else 1 for dim, size in zip(variable.dims, variable.shape, strict=True)
                ]
                placed = np.transpose(coord.values, order).reshape(shape)
                return np.broadcast_to(placed, variable.shape).astype(np.float64)
        return None

    def areas(self) -> Float[np.ndarray, " features"] | None:
        """Return the cell area of every feature, cos(latitude), on average 1; None where there are no latitudes."""
        latitudes = [self.latitude(variable) for variable in self.variables]
        if all(latitude is None for latitude in latitudes):
            return None
        areas = np.concatenate([
            np.ones(variable.points) if latitude is None
            else np.maximum(np.cos(np.deg2rad(latitude)), _LEAST_AREA).ravel()
            for variable, latitude in zip(self.variables, latitudes, strict=True)
        ])  # fmt: skip
        areas = areas if self.kept is None else areas[self.kept]
        return np.asarray(areas / areas.mean())

    def record(self) -> dict[str, Any]:
        """Return the grid as JSON values."""
        kept = None if self.kept is None else base64.b64encode(np.packbits(self.kept).tobytes()).decode()
        return {
            "variables": [[v.name, list(v.dims), list(v.shape), v.attrs] for v in self.variables],
            "coords": [[c.name, list(c.dims), c.values.tolist(), c.values.dtype.str, c.attrs] for c in self.coords],
            "kept": kept, "time": self.time, "single": self.single, "attrs": self.attrs, "time_attrs": self.time_attrs,
        }  # fmt: skip

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Grid":
        """Return the result of :meth:`record`; TypeError, ValueError or KeyError where it does not fit."""
        variables = tuple(Variable(name, tuple(d), tuple(s), dict(attrs)) for name, d, s, attrs in record["variables"])
        coords = tuple(
            Coordinate(name, tuple(dims), np.array(values, dtype=kind), dict(attrs))
            for name, dims, values, kind, attrs in record["coords"]
        )
        attributes = dict(record["attrs"]), dict(record.get("time_attrs", {}))
        grid = cls(variables, coords, None, record["time"], bool(record["single"]), *attributes)
        if record["kept"] is None:
            return grid
        bits = np.frombuffer(base64.b64decode(record["kept"]), dtype=np.uint8)
        return replace(grid, kept=np.unpackbits(bits, count=grid.points).astype(bool))


def plain_grid(arrays: Mapping[str | None, tuple[int, ...]], *, single: bool) -> Grid:
    """Return the grid of arrays that have shapes ``(time, *space)`` and nothing else."""
    several = len(arrays) > 1
    variables = []
    for name, shape in arrays.items():
        stem = f"{name}_" if several else ""
        dims = tuple(f"{stem}axis{number}" for number in range(1, len(shape)))
        variables.append(Variable(name, dims, tuple(shape[1:])))
    return Grid(tuple(variables), single=single)


def flattened(
    fields: Sequence[np.ndarray], grid: Grid, source: str, *, masking: bool = True
) -> tuple[Float[np.ndarray, "time features"], Grid]:
    """Return fields ``(time, *space)`` as rows of features without the masked points, and the grid that knows them.

    Parameters
    ----------
    fields
        One for each variable of the grid.
    grid
        Their grid, without a mask.
    source
        For messages.
    masking
        Leave out the points that are NaN at every time.

    Raises
    ------
    BadInputError
        If every point of a field is masked.
    """
    rows = [
        np.asarray(part).reshape(len(part), variable.points)
        for part, variable in zip(fields, grid.variables, strict=True)
    ]
    values = rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)
    if not masking or values.dtype.kind != "f":
        return values, grid
    # One row tells for most points that they are not masked; only the others are read completely.
    candidates = np.flatnonzero(np.isnan(values[0])) if len(values) else np.array([], dtype=int)
    masked = candidates[np.isnan(values[:, candidates]).all(axis=0)]
    spatial = np.repeat([bool(v.shape) for v in grid.variables], [v.points for v in grid.variables])
    masked = masked[spatial[masked]]
    if not len(masked):
        return values, grid
    kept = np.ones(values.shape[1], dtype=bool)
    kept[masked] = False
    if not kept.any():
        raise BadInputError(f"{source} holds no number at any point; give fields with values over time")
    return values[:, kept], replace(grid, kept=kept)


def grid_of(fields: "Mapping[str | None, xr.DataArray]", table: Any, time: str, *, single: bool) -> Grid:
    """Return the grid of xarray variables over time, with the coordinates that do not change.

    Parameters
    ----------
    fields
        The variables by name, time first.
    table
        The DataArray or Dataset that they belong to.
    time
        Its dimension of time.
    single
        Whether it is a DataArray.
    """
    variables = tuple(
        Variable(
            None if name is None else str(name), tuple(map(str, f.dims[1:])), tuple(f.shape[1:]), plain_attrs(f.attrs)
        )
        for name, f in fields.items()
    )
    used = {dim for variable in variables for dim in variable.dims}
    coords = tuple(
        Coordinate(str(name), tuple(map(str, coord.dims)), np.asarray(coord.values), plain_attrs(coord.attrs))
        for name, coord in table.coords.items()
        if time not in coord.dims and coord.dtype.kind in "iufbU" and set(map(str, coord.dims)) <= used
    )
    along = table.coords.get(time)
    time_attrs = {} if along is None else plain_attrs(along.attrs)
    if along is not None and along.dtype.kind == "m":
        time_attrs["units"] = "s"  # as durations are counted where they become numbers
    return Grid(variables, coords, None, time, single, {} if single else plain_attrs(table.attrs), time_attrs)


def plain_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the attributes that JSON can hold."""
    plain = {str(key): value.item() if isinstance(value, np.generic) else value for key, value in attrs.items()}
    return {key: value for key, value in plain.items() if isinstance(value, str | int | float)}
