"""A fitted forecaster as a folder: ``model.safetensors`` and ``model.json``."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.forecast.forms import Form
from tokendyn.forecast.intervals import Residuals
from tokendyn.forecast.kinds import kind_of, known_kinds
from tokendyn.results.fields import check_fields
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.runs.provenance import provenance

if TYPE_CHECKING:
    from tokendyn.forecast.kinds import Stored

SCHEMA = "tokendyn-forecast"
SCHEMA_VERSION = 1
#: Record of ``tokendyn forecast fit`` beside a model: the data, the error on the held-out part, the command.
DATA_SCHEMA, DATA_SCHEMA_VERSION = "tokendyn-forecast-data", 1
#: Output of ``tokendyn forecast predict --json``.
PREDICTION_SCHEMA = "tokendyn-forecast-prediction"
_RANGES = ("low_", "high_", "scale_")
_ENDS = ("last_window", "last_inputs")
_COUNTS = ("n_features_", "n_inputs_", "window_length_")
_TIMES = ("dt_", "fit_seconds_")


def save(model: "Stored", folder: str | Path, *, overwrite: bool = False) -> None:
    """Write a fitted forecaster to a folder, which appears only when it is complete.

    Raises
    ------
    OutputError
        If the folder exists and ``overwrite`` is not set, or cannot be written.
    """
    fitted, tensors = model._state()
    parameters = model._parameter_record()
    record = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "kind": type(model).__name__,
        "parameters": parameters,
        "data": {name: int(getattr(model, name)) for name in _COUNTS} | {name: getattr(model, name) for name in _TIMES},
        "form": model.form_.record(),
        "fitted": fitted,
        "provenance": provenance(parameters, seed=parameters.get("random_state"), seconds=model.fit_seconds_),
    }
    if model.residuals_ is not None:
        record["residuals"] = model.residuals_.record()
        tensors = tensors | model.residuals_.tensors()
    with new_folder(folder, overwrite=overwrite) as place:
        write_json(place / "model.json", record)
        tensors |= {name: getattr(model, f"{name}_") for name in _ENDS}
        write_tensors(place / "model.safetensors", tensors | {name: getattr(model, name) for name in _RANGES})


def load(folder: str | Path) -> Any:
    """Read a forecaster written by :func:`save`.

    Raises
    ------
    BadInputError
        If the folder or a file in it is missing, truncated, of a newer schema, of an unknown kind, or inconsistent.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(f"{folder} is not a folder; give one that a forecaster was saved to")
    record = read_json(folder / "model.json", schema=SCHEMA, version=SCHEMA_VERSION)
    tensors = read_tensors(folder / "model.safetensors", set(_RANGES))
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in known_kinds():
        known = ", ".join(known_kinds())
        raise BadInputError(
            f"{folder} holds a {kind!r}; known here: {known} (import the module that defines it, such as "
            "tokendyn.rivals.forecast)"
        )
    try:
        return _rebuild(kind_of(kind), record, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadInputError(
            f"{folder}: model.json and model.safetensors do not fit together ({error}); fit and save anew"
        ) from None


def _rebuild(kind: type[Any], record: dict[str, Any], tensors: dict[str, np.ndarray]) -> Any:
    """Return the model of a record; ValueError, KeyError or TypeError if something in it does not fit."""
    check_fields(kind.__init__, record["parameters"], "model.json")
    model = kind(**record["parameters"])
    problems = model._parameter_problems()
    if problems:
        raise BadInputError.all_of("parameters", problems)
    data = record["data"]
    for name in _COUNTS:
        if not isinstance(data[name], int) or data[name] < 0:
            raise ValueError(f"{name} is {data[name]!r}, expected a count")
        setattr(model, name, data[name])
    for name in _TIMES:
        setattr(model, name, float(data[name]))
    for name in _RANGES:
        if tensors[name].shape != (model.n_features_,):
            raise ValueError(f"{name} has shape {tensors[name].shape}, expected ({model.n_features_},)")
        setattr(model, name, tensors[name])
    if any(not np.isfinite(array).all() for array in tensors.values()):
        raise ValueError("a tensor holds NaN or infinity")
    # Folders of 0.1 hold neither the form nor the end of the series, nor residuals.
    known = record.get("residuals")
    model.residuals_ = None if known is None else Residuals.read(known, tensors, model.n_features_)
    model.form_ = Form.read(record["form"]) if "form" in record else Form("array")
    for name, columns in zip(_ENDS, (model.n_features_, model.n_inputs_), strict=True):
        end = tensors.pop(name, np.empty((0, columns)))
        if end.shape not in ((0, columns), (model.window_length_, columns)):
            raise ValueError(f"{name} has shape {end.shape}, expected ({model.window_length_}, {columns})")
        setattr(model, f"{name}_", end)
    model._restore(record["fitted"], tensors)
    return model


def plain(value: Any) -> Any:
    """Return nested values as JSON values; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
