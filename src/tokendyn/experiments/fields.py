"""Kinds of values that the fields of an experiment hold, and how they are read from TOML, JSON and Python.

A field is annotated with plain types: ``int``, ``float``, ``bool``, ``str``, ``Path``, ``Literal[...]``, unions of them
with None, and lists or tuples of them. Two markers say more: :class:`Flags`, the names on the command line, and
:data:`Matrix`, a matrix.
"""

import math
import re
import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from tokendyn.errors import BadInputError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Flags:
    """Names of a field on the command line, the longest first, in place of the one made from its own name."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


class IsMatrix:
    """Marks a field that holds a matrix: the path of a file, rows such as ``"2,0;0,1"``, or ``"diag(2,1)"``."""


#: A matrix as text, so that it is the same in Python, in TOML, on the command line and in the store. An array is
#: turned into its rows, with every digit.
Matrix = Annotated[str, IsMatrix]

#: What to do with an array where a file is named: the store knows inputs by the content of their files.
ARRAY_FOR_FILE = (
    "expected a path; save the array to a file, such as numpy.save('tokens.npy', array), and name that file"
)

_FORMS = 'a file that exists, rows such as "2,0;0,1", or diag(2,1)'
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}


def leaves(hint: Any) -> Iterable[Any]:
    """Yield the plain types of a hint, such as int and NoneType of ``int | None``."""
    if get_origin(hint) is Annotated:
        yield from leaves(get_args(hint)[0])
    elif get_origin(hint) in (Union, types.UnionType, tuple, list, set):
        for part in get_args(hint):
            if part is not ...:
                yield from leaves(part)
    else:
        yield hint


def markers(hint: Any) -> list[Any]:
    """Return what the annotations of a hint hold beside its types, wherever in it they stand."""
    if get_origin(hint) is Annotated:
        first, *rest = get_args(hint)
        return [*rest, *markers(first)]
    if get_origin(hint) in (Union, types.UnionType, tuple, list, set):
        return [marker for part in get_args(hint) if part is not ... for marker in markers(part)]
    return []


def is_matrix(hint: Any) -> bool:
    """Return whether a field of this hint holds a matrix."""
    return any(marker is IsMatrix for marker in markers(hint))


def read_value(hint: Any, value: Any) -> Any:
    """Return a value as a field of the hint holds it.

    Numbers may be given as texts, whole numbers as floats without a fraction, paths as texts, matrices as arrays; a
    truth value is not a number.

    Raises
    ------
    ValueError
        If the value is of another kind; the message says what is expected.
    """
    if get_origin(hint) is Annotated:
        return read_value(get_args(hint)[0], rows_of(value) if IsMatrix in get_args(hint) else value)
    if get_origin(hint) in (Union, types.UnionType):
        return _read_any(get_args(hint), value)
    if get_origin(hint) is Literal:
        if any(value == word and type(value) is type(word) for word in get_args(hint)):
            return value
        raise ValueError(f"expected {' or '.join(map(repr, get_args(hint)))}")
    if get_origin(hint) in (list, tuple):
        if Path in get_args(hint) and isinstance(value, str | Path):
            value = [value]  # one file stands for a list of it
        if isinstance(value, str | bytes) or not isinstance(value, Iterable):
            raise ValueError("expected a list")
        kind = get_args(hint)[0]
        return get_origin(hint)(read_value(kind, each) for each in value)
    return _read_plain(hint, value)


def _read_any(hints: tuple[Any, ...], value: Any) -> Any:
    """Return a value as the first type of a union holds it; a type of exactly its kind comes before others."""
    if value is None and type(None) in hints:
        return None
    expected = []
    for hint in sorted(hints, key=lambda hint: hint is not type(value)):
        if hint is type(None):
            continue
        try:
            return read_value(hint, value)
        except ValueError as error:
            expected.append(str(error).removeprefix("expected "))
    raise ValueError(f"expected {' or '.join(expected)}")


def _read_plain(kind: type, value: Any) -> Any:
    """Return a value as a plain type holds it."""
    if hasattr(value, "item") and not isinstance(value, str | bytes) and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise ValueError("expected true or false")
    if kind is Path:
        if isinstance(value, str | Path):
            return Path(value)
        raise ValueError(ARRAY_FOR_FILE if hasattr(value, "shape") else "expected a path")
    if kind is str:
        if isinstance(value, str | Path):
            return str(value)
        raise ValueError("expected a text")
    if isinstance(value, bool):
        raise ValueError(f"takes a number, got {str(value).lower()}")
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("expected a whole number" if kind is int else "expected a number") from None
    if kind is int and not isinstance(value, str) and number != value:
        raise ValueError("expected a whole number")
    return number


def rows_of(value: Any) -> Any:
    """Return an array of two dimensions, or rows of numbers, as text; anything else as it is."""
    if value is None or isinstance(value, str | Path):
        return value
    import numpy as np

    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"expected a matrix, got an array of shape {array.shape}")
    return ";".join(",".join(map(repr, row)) for row in array.tolist())


def matrix_of(text: str, name: str) -> "np.ndarray":
    """Return a matrix from a file, from rows such as ``2,0;0,1`` or ``[[2, 0], [0, 1]]``, or from ``diag(2,1)``.

    Parameters
    ----------
    text
        The value of a field of type :data:`Matrix`.
    name
        Name of the field, for the message.
    """
    import numpy as np

    if Path(text).exists():
        from tokendyn.data.tokens import read_matrix

        return read_matrix(text)
    plain = _without_python(text)
    diagonal = re.fullmatch(r"diag\((.*)\)", plain)
    try:
        if diagonal is not None:
            return np.diag([_number(cell) for cell in diagonal[1].split(",")])
        return np.array([[_number(cell) for cell in row.split(",")] for row in plain.split(";")])
    except ValueError:
        raise BadInputError(f"`{name}` takes {_FORMS}; got {text[:60]!r}") from None


def _without_python(text: str) -> str:
    r"""Return rows of numbers without what Python and numpy write around them.

    Examples
    --------
    >>> from tokendyn.experiments.fields import _without_python
    >>> [_without_python(text) for text in ("[[2, 0], [0, 1]]", "np.diag([2, 1])", "[[2 0]\n [0 1]]")]
    ['2,0;0,1', 'diag(2,1)', '2,0;0,1']
    """
    plain = re.sub(r"\b(?:np|numpy)\.|\barray\b", "", text).strip("; \t\n")
    inner = re.fullmatch(r"diag\((.*)\)", plain, re.DOTALL)
    rows = plain if inner is None else inner[1]
    # A closing bracket before an opening one ends a row; numpy prints blanks between numbers.
    rows = re.sub(r"[\])]\s*,?\s*[\[(]", ";", rows.strip())
    rows = re.sub(r"[\[\]()]", "", rows).strip(" ,\n")
    rows = re.sub(r"\s*,\s*|(?<=[\d.])\s+(?=[-+.\d])", ",", rows)
    return rows if inner is None else f"diag({rows})"


def numbers_of(text: str, name: str) -> "np.ndarray":
    """Return the finite numbers of a list such as ``10,30,1e3``."""
    import numpy as np

    try:
        cells = re.split(r"\s*,\s*|\s+", text.strip(", []()"))
        values = np.array([_number(cell) for cell in cells], dtype=np.float64)
    except ValueError:
        values = np.array([math.nan])
    if not np.isfinite(values).all():
        raise BadInputError(f"`{name}` is {text[:60]!r}; expected finite numbers with commas, such as 10,30,1e3")
    return values


def seconds_of(text: str, name: str = "budget") -> float:
    """Return a duration such as ``90``, ``90s``, ``2m`` or ``1.5h`` in seconds."""
    duration = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", text.lower(), re.ASCII)
    if duration is None or duration[2] not in _UNITS or float(duration[1]) == 0:
        raise BadInputError(f"`{name}` is {text!r}; expected a time above 0 such as 90s, 2m or 1h")
    return float(duration[1]) * _UNITS[duration[2]]


def _number(cell: str) -> float:
    """Return the number that a file of tokens would hold in such a cell."""
    from tokendyn.data.cells import number_in

    value = number_in(cell.strip())
    if value is None:
        raise ValueError(f"{cell!r} is not a number")
    return value
