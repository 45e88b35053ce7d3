"""Files and folders that appear under their final name only when they are whole.

Tensors are stored as safetensors and everything else as JSON with a schema version; pickle is never
read nor written.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.runs.folders import check_free, new_file, new_folder, read_json, schema_of, write_json

__all__ = [
    "check_free", "new_file", "new_folder", "read_json", "read_tensors", "schema_of", "write_json", "write_tensors",
]  # fmt: skip


def write_tensors(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors, atomically.

    Raises
    ------
    OutputError
        If the disk refuses.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with new_file(path) as temporary:
        try:
            save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, temporary)
        except SafetensorError as error:
            # The library wraps what the system refused, such as a full disk, in an error of its own.
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def read_tensors(path: str | Path, names: set[str] | None = None) -> dict[str, np.ndarray]:
    """Read safetensors; with ``names``, all of them must be there."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(path)
    try:
        tensors: dict[str, np.ndarray] = load_file(path)
    except FileNotFoundError:
        raise BadInputError(f"{path} is missing; is {path.parent} a folder that tokendyn wrote?") from None
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise BadInputError(f"{path} is not a whole safetensors file ({error})") from None
    if names is not None and not names <= tensors.keys():
        raise BadInputError(f"{path} lacks {', '.join(sorted(names - tensors.keys()))}")
    return tensors
