"""A series after reading and repair, as the kind of object that it was read from."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.data.snapshots import Snapshots, index_after
from tokendyn.data.snapshots.columns import tells_times

if TYPE_CHECKING:
    import pandas as pd


def like(series: Snapshots, data: Any) -> Any:
    """Return a series as an object of the kind of ``data``, which it was read from: gaps filled, times regular.

    Parameters
    ----------
    series
        Result of the readers for ``data``.
    data
        An array, a DataFrame or Series of pandas, an object of xarray; anything else gives the series itself.
    """
    kind = type(data).__module__.split(".")[0]
    if isinstance(data, np.ndarray):
        return series.values if series.grid is None else series.grid.whole(series.values)[0]
    if kind == "pandas":
        return _frame(series, data)
    return _xarray(series, data) if kind == "xarray" else series


def _frame(series: Snapshots, data: Any) -> Any:
    """Return a series as a DataFrame with the labels of another, or as a Series."""
    import pandas as pd

    index = _index(series, data)
    if not hasattr(data, "columns"):
        return pd.Series(series.values[:, 0], index=index, name=data.name)
    labels = {str(label): label for label in data.columns}
    return pd.DataFrame(series.values, index=index, columns=[labels.get(name, name) for name in series.names])


def _index(series: Snapshots, data: Any) -> "pd.Index[Any]":
    """Return the times of a series as an index of pandas."""
    import pandas as pd

    own, columns = data.index, [str(label) for label in getattr(data, "columns", ())]
    timed = isinstance(own, pd.DatetimeIndex | pd.PeriodIndex | pd.TimedeltaIndex)
    name = series.time_name if series.time_name in columns else own.name
    if series.epoch is None:
        if isinstance(own, pd.TimedeltaIndex):
            return pd.to_timedelta(np.round(1e9 * series.times), unit="ns").rename(name)
        if name is not None or tells_times(own):
            return pd.Index(series.times, name=name)
        return own if isinstance(own, pd.RangeIndex) and len(own) == len(series) else pd.RangeIndex(len(series))
    index = index_after(series.times, series.epoch, series.calendar).rename(name)
    if not timed or not isinstance(index, pd.DatetimeIndex):
        return index
    if isinstance(own, pd.PeriodIndex):
        return index.to_period(own.freqstr)
    zone = own.tz if isinstance(own, pd.DatetimeIndex) else None
    return index if zone is None else index.tz_localize(zone) if index.tz is None else index.tz_convert(zone)


def _xarray(series: Snapshots, data: Any) -> Any:
    """Return a series as a Dataset or a DataArray with the dimensions of another."""
    import xarray as xr

    single = not hasattr(data, "data_vars")
    dated = series.epoch is not None
    index = index_after(series.times, str(series.epoch), series.calendar) if dated else series.times
    if series.grid is not None:
        fields = replace(series.grid, single=False).to_xarray(series.values, index)
    else:
        rows = series.time_name
        columns = {name: (rows, series.values[:, k]) for k, name in enumerate(series.names)}
        fields = xr.Dataset(columns, coords={rows: index})
    if not single:
        return fields.assign_attrs(data.attrs)
    field = fields[series.grid.variables[0].name if series.grid is not None else series.names[0]]
    scalars = {name: coord for name, coord in data.coords.items() if not coord.dims}
    return field.rename(data.name).assign_coords(scalars).assign_attrs(data.attrs)
