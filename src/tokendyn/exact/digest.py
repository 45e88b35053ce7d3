"""Hashes by which a change of a built transformer is seen: of its sequences and labels, and of its files.

The first is in the certificate: SHA-256 of one line of JSON ``{"dtype", "dim", "positions", "multiplicity",
"labels"}`` with sorted keys and no spaces, a line feed, then the little-endian bytes of ``starts`` (int64), ``tokens``
(their type) and ``targets`` (float64) as they are in ``model.safetensors``. The second is ``digest`` of ``model.json``:
SHA-256 of one line of JSON, all that ``model.json`` holds but :data:`ASIDE`, a line feed, then the bytes of
``model.safetensors``; so it speaks of weights, plan, margins and settings too. ``check_certificate.py`` computes both
with the standard library.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokendyn.exact.built import Built


#: What ``model.json`` holds that bears on no answer, and the digest itself.
ASIDE = ("command", "digest", "provenance")


def digest_of_files(record: dict[str, Any], tensors: Path) -> str:
    """Return the hash of ``model.json`` and ``model.safetensors`` as hexadecimal digits."""
    kept = {name: value for name, value in record.items() if name not in ASIDE}
    found = hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    found.update(tensors.read_bytes())
    return found.hexdigest()


def plain_label(label: Any) -> Any:
    """Return a label as ``model.json`` holds it, tuples as ``{"tuple": [...]}``; one that JSON cannot hold as it is."""
    if isinstance(label, tuple):
        return {"tuple": [plain_label(part) for part in label]}
    return label.item() if isinstance(label, np.generic) else label


def digest_of(model: "Built") -> str:
    """Return the hash of the sequences and labels as hexadecimal digits."""
    header = {
        "dtype": model.dtype,
        "dim": model.input_dim,
        "positions": model.positions,
        "multiplicity": model.multiplicity,
        "labels": [plain_label(label) for label in model.labels],
    }
    found = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":"), default=repr).encode() + b"\n")
    for array, kind in (
        (model.sequences.starts, "<i8"),
        (model.sequences.tokens, "<f4" if model.dtype == "float32" else "<f8"),
        (model.targets, "<f8"),
    ):
        found.update(np.ascontiguousarray(array, dtype=kind).tobytes())
    return found.hexdigest()
