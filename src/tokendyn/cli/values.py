"""Values of options: durations, numbers, matrices."""

import math
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tokendyn.cli.output import announce
from tokendyn.errors import BadInputError
from tokendyn.runs.table import heading_of

__all__ = ["announce_names", "film_of", "heading_of", "matrix_of", "numbers_of", "seconds_of"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}

if TYPE_CHECKING:
    from tokendyn.data.tokens import TokenTable

_FORMS = 'a file that exists, rows such as "2,0;0,1", or diag(2,1)'


def seconds_of(text: str, option: str = "--budget") -> float:
    """Return a duration such as ``90``, ``90s``, ``2m`` or ``1.5h`` in seconds."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", text.lower(), re.ASCII)
    if found is None or found[2] not in _UNITS or float(found[1]) == 0:
        raise BadInputError(f"{option} is {text!r}; expected a time above 0 such as 90s, 2m or 1h")
    return float(found[1]) * _UNITS[found[2]]


def film_of(wanted: bool, mp4: bool) -> Literal["gif", "mp4"] | None:
    """Return the kind of animation that is asked for; before any work, whether it can be written.

    Raises
    ------
    BadInputError
        If MP4 is asked for and ffmpeg is missing.
    """
    if wanted and mp4 and shutil.which("ffmpeg") is None:
        raise BadInputError("--mp4 needs the program ffmpeg, which is not installed: install it, or leave --mp4 out")
    return ("mp4" if mp4 else "gif") if wanted else None


def numbers_of(text: str, option: str) -> np.ndarray:
    """Return the finite numbers of a list such as ``10,30,1e3``."""
    try:
        values = np.array([_number(cell) for cell in text.strip(", ").split(",")], dtype=np.float64)
    except ValueError:
        values = np.array([math.nan])
    if not np.isfinite(values).all():
        raise BadInputError(f"{option} is {text[:60]!r}; expected finite numbers with commas, such as 10,30,1e3")
    return values


def announce_names(table: "TokenTable") -> None:
    """Say which column of a file is taken as the names of tokens."""
    if table.name_column is not None:
        announce(f"{table.name_column} holds names")


def matrix_of(text: str, option: str) -> np.ndarray:
    """Return a matrix from a file, from rows such as ``2,0;0,1``, or from ``diag(2,1)``."""
    if Path(text).exists():
        from tokendyn.data.tokens import read_matrix

        return read_matrix(text)
    diagonal = re.fullmatch(r"\s*diag\((.*)\)\s*", text)
    try:
        if diagonal is not None:
            return np.diag([_number(cell) for cell in diagonal[1].split(",")])
        return np.array([[_number(cell) for cell in row.split(",")] for row in text.strip("; ").split(";")])
    except ValueError:
        raise BadInputError(f"{option} takes {_FORMS}; got {text[:60]!r}") from None


def _number(cell: str) -> float:
    """Return the number that a file of tokens would hold in such a cell."""
    from tokendyn.data.delimited import number_in

    value = number_in(cell.strip())
    if value is None:
        raise ValueError(f"{cell!r} is not a number")
    return value
