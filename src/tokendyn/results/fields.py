"""Whether the values of a file are of the kinds that the fields of a class say.

A file that was edited by hand is refused when it is read, with the name of the field, and not when a result is printed.
"""

import inspect
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np

from tokendyn.errors import BadInputError

#: Characters of a value, or of what was expected, that a message shows.
_SHOWN = 60


def check_fields(kind: Any, values: Mapping[str, Any], file: object) -> None:
    """Check values against the annotations of a class, or of a function such as ``__init__``.

    Parameters
    ----------
    kind
        What the values are given to. What its annotations do not say is not checked.
    values
        By name.
    file
        Where they were read, for the message.

    Raises
    ------
    BadInputError
        If values are of other kinds; the message names the file and every such field.
    """
    hints = _hints(kind)
    problems = [
        f"{name} is {_short(repr(value))}, expected {_short(_words(hints[name]))}"
        for name, value in values.items()
        if name in hints and not fits(value, hints[name])
    ]
    if problems:
        raise BadInputError.all_of(f"{file} is damaged", [f"{problem}; write it anew" for problem in problems])


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of the kind that an annotation says; what is not known to be wrong fits.

    JSON has no tuples: a list stands for one. Of arrays only that they are arrays is looked at.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return fits(value, parts[0])
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == word and type(value) is type(word) for word in parts)
    if origin in (tuple, list, Sequence):
        return isinstance(value, list | tuple | np.ndarray) and _entries_fit(value, parts, exactly=origin is tuple)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and (
            not parts or all(fits(key, parts[0]) and fits(entry, parts[1]) for key, entry in value.items())
        )
    # The array types of jaxtyping are classes that no array is an instance of once they are not checked.
    plain = getattr(hint, "array_type", hint if origin is None else origin)
    return _is_of(value, plain)


def _entries_fit(values: Iterable[Any], parts: tuple[Any, ...], *, exactly: bool) -> bool:
    """Return whether the entries of a sequence fit; a tuple without ``...`` has one part for each entry."""
    entries = list(values)
    if not exactly or parts[-1:] == (...,):
        return not parts or all(fits(entry, parts[0]) for entry in entries)
    return len(entries) == len(parts) and all(map(fits, entries, parts))


def _is_of(value: Any, kind: Any) -> bool:
    """Return whether a value is of a plain class; a truth value is not a number, and a whole number is a number."""
    if kind is None or kind is type(None):
        return value is None
    if kind is float or kind is int:
        return isinstance(value, Real if kind is float else Integral) and not isinstance(value, bool)
    return not isinstance(kind, type) or kind in (Any, object) or isinstance(value, kind)


def _hints(kind: Any) -> dict[str, Any]:
    """Return the annotations of a class, those of its bases first, or of a function, as far as they have values."""
    owners = reversed(kind.__mro__) if isinstance(kind, type) else [kind]
    hints: dict[str, Any] = {}
    for owner in owners:
        # A class of a script that was run by path is of no module that can be asked.
        names = getattr(sys.modules.get(getattr(owner, "__module__", "")), "__dict__", {})
        for name, hint in inspect.get_annotations(owner).items():
            try:
                hints[name] = eval(hint, dict(names)) if isinstance(hint, str) else hint  # noqa: S307 (our own code)
            except NameError:  # imported for type checkers alone
                hints.pop(name, None)
    return hints


def _words(hint: Any) -> str:
    """Return an annotation in words: ``float or None``."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_words, get_args(hint))))
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    plain = getattr(hint, "array_type", None)
    if plain is not None:
        return "an array"
    if hint in (None, type(None)):
        return "None"
    return hint.__name__ if get_origin(hint) is None and isinstance(hint, type) else str(hint).replace("typing.", "")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
