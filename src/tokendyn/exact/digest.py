"""A hash of the sequences and labels that a transformer was built from, so that a change of either is seen.

SHA-256 of one line of JSON ``{"dtype", "dim", "positions", "multiplicity", "labels"}`` with sorted keys and no spaces,
a line feed, then the little-endian bytes of ``starts`` (int64), ``tokens`` (their type) and ``targets`` (float64) as
they are in ``model.safetensors``. ``check_certificate.py`` computes it with the standard library.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokendyn.exact.built import Built


def digest_of(model: "Built") -> str:
    """Return the hash as hexadecimal digits."""
    header = {
        "dtype": model.dtype,
        "dim": model.input_dim,
        "positions": model.positions,
        "multiplicity": model.multiplicity,
        "labels": [_plain(label) for label in model.labels],
    }
    found = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    for array, kind in (
        (model.sequences.starts, "<i8"),
        (model.sequences.tokens, "<f4" if model.dtype == "float32" else "<f8"),
        (model.targets, "<f8"),
    ):
        found.update(np.ascontiguousarray(array, dtype=kind).tobytes())
    return found.hexdigest()


def _plain(label: Any) -> Any:
    """Return a label as ``model.json`` holds it; one that JSON cannot hold by its text."""
    if isinstance(label, tuple):
        return {"tuple": [_plain(part) for part in label]}
    label = label.item() if isinstance(label, np.generic) else label
    return label if label is None or isinstance(label, str | bool | int | float) else repr(label)
