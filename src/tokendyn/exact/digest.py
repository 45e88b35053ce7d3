"""Hashes that reveal a change of a built transformer: of its sequences and labels, and of its files.

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


#: Entries of ``model.json`` that affect no answer, and the digest itself.
ASIDE = ("command", "digest", "provenance")


def digest_of_files(record: dict[str, Any], tensors: Path) -> str:
    """Return the hash of ``model.json`` and ``model.safetensors`` as hexadecimal digits."""
    relevant = {name: value for name, value in record.items() if name not in ASIDE}
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    digest.update(tensors.read_bytes())
    return digest.hexdigest()


def plain_label(label: Any) -> Any:
    """Return a label as ``model.json`` stores it, tuples as ``{"tuple": [...]}``; other labels unchanged."""
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
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":"), default=repr).encode() + b"\n")
    for array, kind in (
        (model.sequences.starts, "<i8"),
        (model.sequences.tokens, "<f4" if model.dtype == "float32" else "<f8"),
        (model.targets, "<f8"),
    ):
        digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
    return digest.hexdigest()
