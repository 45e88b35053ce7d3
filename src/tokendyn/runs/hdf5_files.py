"""HDF5 and NetCDF files: their structure is walked through by another process first.

The HDF5 library can crash, or loop without an end and without a way to stop it: one wrong byte in the heap that the
names of dimensions lie in is enough.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError

#: Seconds that walking through a file may take.
MOST_SECONDS = 60.0


def check_hdf5(path: str | Path) -> None:
    """Walk through groups, attributes and dimensions of a file in another process.

    What that process can report as an error passes: whoever reads the file meets it again.

    Raises
    ------
    BadInputError
        If that process crashes, or takes more than ``MOST_SECONDS``.
    """
    command = [sys.executable, "-P", "-m", __name__, str(path)]  # -P: no module of the working folder is imported
    try:
        ended = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise BadInputError(
            f"{path} cannot be opened within {MOST_SECONDS:.0f} seconds; it is damaged: write it again"
        ) from None
    except OSError:  # no process can be started: the reader itself must do
        return
    if ended.returncode < 0:
        raise BadInputError(f"{path} makes the HDF5 library crash; it is damaged: write it again")


def end_after(seconds: float) -> None:
    """End this process then, wherever it is and whether or not anybody still waits for it; not on Windows."""
    if hasattr(signal, "alarm"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _walk(path: str) -> None:
    """Read every attribute and count the scales of every dimension, as the readers do."""
    import h5py

    def visit(_: str, item: Any) -> None:
        for name in item.attrs:
            with suppress(Exception):
                item.attrs[name]
        if isinstance(item, h5py.Dataset):
            for dimension in item.dims:
                with suppress(Exception):
                    len(dimension)

    with suppress(Exception), h5py.File(path, "r") as file:
        visit("/", file)
        file.visititems(visit)


if __name__ == "__main__":
    end_after(MOST_SECONDS + 1.0)
    _walk(sys.argv[1])
    os._exit(0)  # closing a damaged file may crash where reading it did not
