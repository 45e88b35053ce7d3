"""Labels as plain Python values, distinguished by value and type."""

from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
from jaxtyping import Int

from tokendyn.errors import BadInputError


def encode_labels(labels: Iterable[Any], sequences: int) -> tuple[tuple[Any, ...], Int[np.ndarray, " sequences"]]:
    """Return the distinct labels in the order in which they first occur, and the number of each sequence's label.

    Scalars of NumPy, torch and the like become plain Python values. Labels are one label if they are equal and of the
    same type: 1, True and 1.0 are three.

    Raises
    ------
    BadInputError
        If there is not one label a sequence, a label is not hashable or no value of its own, None or NaN (a label of
        None would look like an abstention), or text that UTF-8 cannot hold. All of them are counted, ten are listed.
    """
    listed = _listed(labels)
    if len(listed) != sequences:
        raise BadInputError(f"{sequences} sequences and {len(listed)} labels; expected one label a sequence")
    number: dict[Any, int] = {}
    names: list[Any] = []
    problems = []
    codes = np.empty(sequences, dtype=np.int64)
    for position, label in enumerate(listed):
        try:
            value = plain(label)
            key = _key(value)
            codes[position] = number.setdefault(key, len(number))
        except (TypeError, ValueError) as error:
            problems.append(f"the label of sequence {position} {error}")
            continue
        if len(number) > len(names):
            names.append(value)
    if problems:
        raise BadInputError.first_of("the labels", problems, "labels")
    return tuple(names), codes


def _listed(labels: Any) -> list[Any]:
    """Return labels as a list; arrays and tensors as lists of plain values."""
    ordered = isinstance(labels, Iterable) and not isinstance(labels, Set | Mapping)
    if not ordered or (hasattr(labels, "ndim") and labels.ndim == 0):
        raise BadInputError(f"the labels are a {type(labels).__name__}; expected one label a sequence, in their order")
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "mM":
        return list(labels)  # tolist would turn times into counts of nanoseconds
    return list(labels.tolist()) if hasattr(labels, "ndim") and hasattr(labels, "tolist") else list(labels)


def plain(label: Any) -> Any:
    """Return a label as a plain Python value.

    Raises
    ------
    TypeError
        If it cannot be hashed, or is an array.
    ValueError
        If it is None, NaN, masked, text with half a surrogate pair, or an integer that cannot be written.
    """
    if isinstance(label, tuple):
        return tuple(part if part is None else plain(part) for part in label)
    if getattr(label, "shape", ()) != ():
        raise TypeError(f"is a {type(label).__name__} of shape {tuple(label.shape)}; use a string, a number or a tuple")
    if label is np.ma.masked:
        raise ValueError("is masked, which stands for no label; give it a name, or leave the sequence out")
    if hasattr(label, "item") and not isinstance(label, np.datetime64 | np.timedelta64):
        label = label.item()
    try:
        hash(label)
    except TypeError:
        raise TypeError(f"is a {type(label).__name__}, which is not hashable; use a tuple or a string") from None
    if label is None or _differs_from_itself(label):
        raise ValueError(f"is {label}, which stands for no label; give it a name, or leave the sequence out")
    if isinstance(label, str):
        return _text(label)
    if isinstance(label, bool):
        return label
    if isinstance(label, int):
        return _number(label)
    return float(label) + 0.0 if isinstance(label, float) else label


def _differs_from_itself(label: Any) -> bool:
    """Return whether it is NaN, NaT or NA, for which even the comparison has no truth value."""
    try:
        return not bool(label == label)  # noqa: PLR0124 (what NaN is known by)
    except (TypeError, ValueError):
        return True


def _text(label: str) -> str:
    value = "".join(label)  # a plain string, also from a subclass
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"is {value!r}, and UTF-8 cannot hold half a surrogate pair; repair the text") from None
    return value


def _number(label: int) -> int:
    value = int(label)
    try:
        str(value)  # Python writes a few thousand digits and no more; no file could hold the label, and no message
    except ValueError:
        raise ValueError(f"is an integer of {value.bit_length()} bits; use a shorter number or a string") from None
    return value


def _key(value: Any) -> Any:
    """Return the identity of a label: value and type."""
    return tuple(map(_key, value)) if isinstance(value, tuple) else (type(value), value)
