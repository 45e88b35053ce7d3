"""A result as a folder: ``result.json``, and ``result.safetensors`` for its arrays. Never pickle.

The file names kinds, never modules or functions: what a kind is, only the code that is installed says.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import tokendyn
from tokendyn.errors import BadInputError
from tokendyn.results.face import STATUSES, Result, result_class
from tokendyn.results.fields import check_fields
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors

SCHEMA, SCHEMA_VERSION = "tokendyn-result", 1
RECORD, TENSORS = "result.json", "result.safetensors"

#: Keys of JSON objects for values that JSON lacks.
_ARRAY, _COMPLEX, _TEXTS, _FLOAT, _TUPLE, _PAIRS, _FRAME, _PART, _RESULT = (
    "$array", "$complex", "$texts", "$float", "$tuple", "$pairs", "$frame", "$part", "$result",
)  # fmt: skip


def save(result: Result, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write the fields of a result that is a dataclass; see :meth:`tokendyn.results.Result.save`.

    Raises
    ------
    BadInputError
        If the class has no kind or is not a dataclass, or a field holds what cannot be written.
    OutputError
        If the folder exists and ``overwrite`` is not set, or cannot be written.
    """
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_into(result, temporary)


def write_into(result: Result, folder: Path, **more: Any) -> None:
    """Write what :func:`save` writes into a folder that is there, for a class that adds files of its own.

    Parameters
    ----------
    result
        The result.
    folder
        Where; what :func:`tokendyn.runs.files.new_folder` gave.
    **more
        JSON values beside it in the record, such as the command that repeats it.
    """
    writer = _Writer()
    record = {
        "schema": SCHEMA, "schema_version": SCHEMA_VERSION, "tokendyn": tokendyn.__version__,
        "status": result.status, "result": writer.value(result, type(result).parts), **more,
    }  # fmt: skip
    write_json(folder / RECORD, record)
    if writer.tensors:
        write_tensors(folder / TENSORS, writer.tensors)


def load(folder: str | Path) -> Result:
    """Read the result of :func:`save`.

    Raises
    ------
    BadInputError
        If a file is missing, truncated, of a newer schema or an unknown kind, or does not fit together.
    """
    folder = Path(folder)
    record = read_json(folder / RECORD, schema=SCHEMA, version=SCHEMA_VERSION)
    tensors = read_tensors(folder / TENSORS) if (folder / TENSORS).exists() else {}
    try:
        result = _Reader(folder, tensors).value(record["result"], ())
        if not isinstance(result, Result) or result.status not in STATUSES or result.status != record["status"]:
            raise ValueError("the status is not that of the result")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(f"{folder} is damaged: {RECORD} and {TENSORS} do not fit together ({error})") from None
    return result


def pack(values: Mapping[str, Any], parts: tuple[type, ...]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return some values of a result as JSON values and named arrays, for a class that writes a folder of its own."""
    writer = _Writer()
    return {name: writer.value(value, parts) for name, value in values.items()}, writer.tensors


def unpack(
    record: Mapping[str, Any], tensors: dict[str, np.ndarray], parts: tuple[type, ...], folder: Path
) -> dict[str, Any]:
    """Return what :func:`pack` was given; KeyError, TypeError or ValueError where it does not fit together."""
    reader = _Reader(folder, tensors)
    return {name: reader.value(value, parts) for name, value in record.items()}


class _Writer:
    """Turns values into JSON, and arrays into named tensors."""

    def __init__(self) -> None:
        self.tensors: dict[str, np.ndarray] = {}

    def value(self, value: Any, parts: tuple[type, ...]) -> Any:  # noqa: PLR0911  (one for each kind of value)
        """Return a value as a JSON value."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {_FLOAT: repr(value)}
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, Result):
            return {_RESULT: _kind_of(value), "fields": self._fields(value, type(value).parts)}
        if type(value) in parts:
            return {_PART: type(value).__name__, "fields": self._fields(value, parts)}
        if isinstance(value, tuple):
            return {_TUPLE: [self.value(entry, parts) for entry in value]}
        if isinstance(value, list):
            return [self.value(entry, parts) for entry in value]
        if isinstance(value, dict):
            return self._mapping(value, parts)
        if type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns"):
            columns = [[self.value(name, ()), self.value(value[name].to_numpy(), ())] for name in value.columns]
            return {_FRAME: columns}
        raise BadInputError(
            f"a {type(value).__module__}.{type(value).__name__} cannot be saved; expected numbers, texts, arrays, "
            "tables, results, or classes that are named in parts"
        )

    def _fields(self, value: Any, parts: tuple[type, ...]) -> dict[str, Any]:
        names = value._fields if hasattr(value, "_fields") else [field.name for field in fields(value)]
        return {name: self.value(getattr(value, name), parts) for name in names}

    def _array(self, array: np.ndarray) -> dict[str, Any]:
        if array.dtype.kind in "OU":
            return {_TEXTS: [self.value(entry, ()) for entry in array.ravel()], "shape": list(array.shape)}
        if array.dtype.kind not in "fiubc":
            raise BadInputError(f"an array of {array.dtype} cannot be saved; expected numbers or texts")
        name = f"array{len(self.tensors)}"
        if array.dtype.kind == "c":
            # safetensors has no complex numbers: real and imaginary parts lie on a last axis.
            self.tensors[name] = np.stack([array.real, array.imag], axis=-1)
            return {_COMPLEX: name}
        self.tensors[name] = np.ascontiguousarray(array)  # of at least one axis
        return {_ARRAY: name} if array.ndim else {_ARRAY: name, "shape": []}

    def _mapping(self, value: dict[Any, Any], parts: tuple[type, ...]) -> dict[str, Any]:
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: self.value(entry, parts) for key, entry in value.items()}
        return {_PAIRS: [[self.value(key, parts), self.value(entry, parts)] for key, entry in value.items()]}


class _Reader:
    """Turns JSON and tensors back into values."""

    def __init__(self, folder: Path, tensors: dict[str, np.ndarray]) -> None:
        self.folder, self.tensors = folder, tensors

    def value(self, value: Any, parts: tuple[type, ...]) -> Any:  # noqa: PLR0911  (one for each kind of value)
        """Return what :meth:`_Writer.value` was given."""
        if isinstance(value, list):
            return [self.value(entry, parts) for entry in value]
        if not isinstance(value, dict):
            return value
        mark = next((key for key in value if key.startswith("$")), None)
        if mark is None:
            return {key: self.value(entry, parts) for key, entry in value.items()}
        inside = value[mark]
        if mark in (_ARRAY, _COMPLEX, _TEXTS):
            return self._array(mark, inside, value)
        if mark == _FLOAT:
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[inside]
        if mark == _TUPLE:
            return tuple(self.value(entry, parts) for entry in inside)
        if mark == _PAIRS:
            return {self.value(key, parts): self.value(entry, parts) for key, entry in inside}
        if mark == _FRAME:
            import pandas as pd

            return pd.DataFrame({self.value(name, ()): self.value(column, ()) for name, column in inside})
        if mark == _PART:
            known = {part.__name__: part for part in parts}
            return self._made(known[inside], value["fields"], parts)
        if mark == _RESULT:
            kind = self._class(inside)
            return self._made(kind, value["fields"], kind.parts)
        raise ValueError(f"unknown mark {mark!r}")

    def _array(self, mark: str, inside: Any, value: dict[str, Any]) -> np.ndarray:
        if mark == _ARRAY:
            tensor = self.tensors[inside]
            return tensor.reshape(()) if value.get("shape") == [] else tensor
        if mark == _COMPLEX:
            pair = self.tensors[inside]
            return np.asarray(pair[..., 0] + 1j * pair[..., 1])
        entries = [self.value(entry, ()) for entry in inside]
        texts = bool(entries) and all(isinstance(entry, str) for entry in entries)
        array = np.array(entries) if texts else np.empty(len(entries), dtype=object)
        if not texts:
            array[:] = entries
        return array.reshape(value["shape"])

    def _made(self, kind: type, values: dict[str, Any], parts: tuple[type, ...]) -> Any:
        read = {str(name): self.value(entry, parts) for name, entry in values.items()}
        check_fields(kind, read, self.folder / RECORD)
        return kind(**read)

    def _class(self, kind: Any) -> type[Result]:
        cls = result_class(str(kind))
        if cls is None:
            raise BadInputError(
                f"{self.folder} holds a {str(kind)[:60]!r}, which is not known here; import the module that defines it"
            )
        return cls


def kinds_in(record: Any) -> Iterable[str]:
    """Yield the kinds of all results in a record, so that the modules which define them can be imported."""
    if isinstance(record, dict):
        if isinstance(record.get(_RESULT), str):
            yield record[_RESULT]
        for entry in record.values():
            yield from kinds_in(entry)
    elif isinstance(record, list):
        for entry in record:
            yield from kinds_in(entry)


def _kind_of(result: Result) -> str:
    kind = type(result).kind
    if not kind or not hasattr(result, "__dataclass_fields__"):
        raise BadInputError(
            f"{type(result).__name__} cannot be saved: it needs to be a dataclass with a kind, as in "
            'class Mine(Result, kind="mine")'
        )
    return kind
