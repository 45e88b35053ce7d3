"""HDF5 and NetCDF files: another process walks through their structure first, within limits.

The HDF5 library can crash, or loop without an end and without a way to stop it: one wrong byte in the heap that the
names of dimensions lie in is enough. A file can also have the library read other files of the user: as raw bytes
(external storage), as parts of a virtual dataset, through external links. That is refused unless allowed explicitly.
"""

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import LISTED, BadInputError
from tokendyn.runs.bounded import check_ratio
from tokendyn.runs.limited import answer, look
from tokendyn.runs.opened import note_opened

#: Set this environment variable to 1 to let HDF5 files read other files.
EXTERNAL = "TOKENDYN_HDF5_EXTERNAL"

_TEXT_BYTES = 64 * 2**20  # of texts that are read at a time


def check_hdf5(path: str | Path) -> None:
    """Walk through groups, links, attributes and dimensions of a file in another process.

    What that process can report as an error is not raised here: the reader of the file meets it again.

    Raises
    ------
    BadInputError
        If that process crashes or passes its limits, or if data of the file lies in other files and the
        environment variable TOKENDYN_HDF5_EXTERNAL is not 1.
    """
    note_opened(Path(path))
    facts = look(__name__, path, "HDF5")
    outside = facts["outside"]
    if facts["problem"]:
        raise BadInputError(f"{path} cannot be read whole ({facts['problem']}); it is damaged: write it again")
    if outside and os.environ.get(EXTERNAL) != "1":
        raise BadInputError.first_of(
            f"{path} reads other files (copy the data into one file, or set {EXTERNAL}=1 to let it)",
            [f"{name!r} is {how} {file!r}" for name, how, file in outside],
            "datasets",
        )
    for _, _, file in outside:
        note_opened(Path(path).parent / file)


def check_netcdf(path: str | Path) -> None:
    """Check a NetCDF file as :func:`check_hdf5` does, and that no variable unpacks to far more than the file.

    xarray reads the coordinates of every dimension when it opens a file.
    """
    import h5py

    check_hdf5(path)
    with h5py.File(path, "r") as file:
        datasets: list[Any] = []
        file.visititems(lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None)
        for dataset in datasets:
            check_dataset(dataset, str(path))


def read_dataset(dataset: Any, source: str) -> np.ndarray:
    """Return a dataset of an open file.

    Raises
    ------
    BadInputError
        If it unpacks to far more than its file (:func:`~tokendyn.runs.bounded.check_ratio`).
    """
    check_dataset(dataset, source)
    if dataset.dtype.kind != "O" or len(dataset.shape) != 1:
        return np.asarray(dataset[()])
    # Texts of any length: each may be as long as the file, and all may be the same one.
    size = packed_size(dataset.file.filename)
    step, parts, held = max(int(_TEXT_BYTES // max(size, 1)), 1), [], 0
    for start in range(0, len(dataset), step):
        parts.append(dataset[start : start + step])
        held += sum(len(text) for text in parts[-1] if hasattr(text, "__len__"))
        check_ratio(f"{source}, {dataset.name!r}", held, size)
    return np.concatenate(parts) if parts else np.empty(0, dtype=object)


def check_dataset(dataset: Any, source: str) -> None:
    """Raise BadInputError if a dataset unpacks to far more than its file."""
    unpacked = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
    check_ratio(f"{source}, {dataset.name!r}", unpacked, packed_size(dataset.file.filename))


def packed_size(path: str | Path) -> int | float:
    """Return the size of a file that unpacks to its datasets; without a bound if it may read other files."""
    return math.inf if os.environ.get(EXTERNAL) == "1" else Path(path).stat().st_size


def _walk(path: str) -> dict[str, Any]:
    """Read every attribute and count the scales of every dimension, as the readers do; return what lies outside.

    A walk that does not come to its end has seen only a part of what lies outside, so that is a problem of its own;
    a file that cannot be opened at all is left to the reader.
    """
    import h5py

    outside: list[tuple[str, str, str]] = []
    problem = ""

    def is_nested(source: Any) -> bool:
        """Return whether a part of a virtual dataset may be virtual itself: the library follows a circle to its end."""
        if "%" in source.dset_name:  # a pattern of names
            return True
        with suppress(KeyError):
            return bool(file[source.dset_name].is_virtual)
        return False

    def note_link(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            outside.append((name, "a link to", str(link.filename)))

    def visit(name: str, item: Any) -> None:
        for attribute in item.attrs:
            with suppress(Exception):
                item.attrs[attribute]
        if isinstance(item, h5py.Dataset):
            outside.extend((name, "stored in", str(file)) for file, *_ in item.external or ())
            if item.is_virtual:
                others = {str(source.file_name) for source in item.virtual_sources()} - {"."}
                outside.extend((name, "put together from", other) for other in sorted(others))
                if any(source.file_name == "." and is_nested(source) for source in item.virtual_sources()):
                    raise ValueError(f"the virtual dataset {name!r} may be put together from virtual datasets")
            for dimension in item.dims:
                with suppress(Exception):
                    len(dimension)

    with suppress(Exception), h5py.File(path, "r") as file:
        try:
            file.visititems_links(note_link)
            visit("/", file)
            file.visititems(visit)
        except Exception as error:
            problem = " ".join(str(error).split())[:200] or type(error).__name__
    return {"outside": outside[: 10 * LISTED], "problem": problem}


if __name__ == "__main__":
    answer(_walk)
