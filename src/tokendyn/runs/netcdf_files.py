"""NetCDF files as xarray datasets: NetCDF-4, which is HDF5, and the classic formats that many programs write."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.errors import BadInputError, MissingLibraryError
from tokendyn.optional import missing
from tokendyn.runs.hdf5_files import check_netcdf
from tokendyn.runs.opened import note_opened

if TYPE_CHECKING:
    import xarray as xr

#: First bytes of the classic formats that SciPy reads: of 32-bit and of 64-bit offsets.
_CLASSIC = (b"CDF\x01", b"CDF\x02")
_CDF5 = b"CDF\x05"


@contextmanager
def open_netcdf(path: Path, *, cache: bool = True) -> Iterator["xr.Dataset"]:
    """Yield the variables of a NetCDF file; they are read on demand.

    Parameters
    ----------
    path
        A file of NetCDF-4, or of a classic format (``CDF-1``, ``CDF-2``); its first bytes say which.
    cache
        Keep what was read in memory, as xarray does.

    Raises
    ------
    BadInputError
        For a file of CDF-5, a damaged header of a classic file, and what :func:`check_netcdf` refuses.
    MissingLibraryError
        If its times are of a calendar of climate models and cftime is not installed.
    """
    import xarray as xr

    with path.open("rb") as file:
        magic = file.read(4)
    if magic == _CDF5:
        raise BadInputError(f"{path} is of the format CDF-5; write it as NetCDF-4: nccopy -k nc4 {path.name} NEW.nc")
    try:
        if magic in _CLASSIC:
            note_opened(path)
            options: dict[str, Any] = {"engine": "scipy"}
        else:
            check_netcdf(path)
            options = {"engine": "h5netcdf", "phony_dims": "access"}
        with warnings.catch_warnings():
            # Dates before 1582 become objects of cftime, which are read as well.
            warnings.simplefilter("ignore", category=xr.SerializationWarning)
            opened = xr.open_dataset(path, cache=cache, **options)
    except ValueError as error:
        if "cftime" in str(error) and missing("cftime"):
            remedy = f"the times of {path} are of a calendar of climate models: {missing('cftime')}"
            raise MissingLibraryError(remedy) from None
        raise
    except (AttributeError, LookupError):  # SciPy checks no length, and takes attributes for its own
        if magic in _CLASSIC:
            raise BadInputError(f"{path} cannot be read whole (its header is damaged); write it again") from None
        raise
    with opened as dataset:
        yield dataset
