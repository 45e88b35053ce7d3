"""Tensors of a safetensors file, one at a time, with the types that numpy does not have."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from tokendyn.errors import BadInputError
from tokendyn.runs.opened import note_opened
from tokendyn.runs.paths import no_file

#: Types of real numbers that stand for themselves.
FLOATS = ("F64", "F32", "F16", "BF16")

#: Types that are whole numbers or truth values.
WHOLE = ("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")


class TensorFile:
    """A safetensors file, open for reading.

    Attributes
    ----------
    path
        The file.
    names
        Names of the tensors.
    """

    def __init__(self, path: Path, handle: Any):
        self.path, self._handle = path, handle
        self.names = frozenset[str](handle.keys())

    def described(self, name: str) -> tuple[tuple[int, ...], str]:
        """Return shape and type of one tensor, such as ``F32``, without reading it."""
        part = self._handle.get_slice(name)
        return tuple(part.get_shape()), str(part.get_dtype())

    def read(self, name: str, *, whole: bool = False) -> Shaped[np.ndarray, "*shape"]:
        """Return one tensor; bfloat16 is widened to float32, which is exact.

        Parameters
        ----------
        name
            Of the tensor; it must be there.
        whole
            Whether whole numbers are values too; otherwise they are the codes of quantised weights.

        Raises
        ------
        BadInputError
            For types that say nothing without a scale: 8-bit and smaller floats, and whole numbers unless allowed.
        """
        stored: str = self._handle.get_slice(name).get_dtype()  # such as "F32", "BF16", "F8_E4M3"
        if stored == "BF16":
            return _widened(self.path, name)
        if stored not in FLOATS and not (whole and stored in WHOLE):
            kinds = "float64, float32, float16 or bfloat16" + (", or whole numbers" if whole else "")
            if stored.startswith("C"):
                raise BadInputError(f"{self.path}: {name} is complex ({stored}); expected {kinds}")
            raise BadInputError(
                f"{self.path}: {name} is stored as {stored}, which has no meaning without its scale; expected {kinds}: "
                "write the file anew with its numbers multiplied by their scales"
            )
        array: np.ndarray = self._handle.get_tensor(name)
        return array


@contextmanager
def open_tensors(path: str | Path) -> Iterator[TensorFile]:
    """Open a safetensors file.

    Raises
    ------
    BadInputError
        If it is missing or not a whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise BadInputError(f"{path} is not a file: {no_file(path)}")
    note_opened(path)
    try:
        with safe_open(path, framework="np") as handle:
            yield TensorFile(path, handle)
    except (OSError, SafetensorError) as error:
        raise BadInputError(f"{path} is not a whole safetensors file ({error})") from None


def _widened(path: Path, name: str) -> np.ndarray:
    """Return a bfloat16 tensor as float32; numpy knows no bfloat16, torch does."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as handle:
        array: np.ndarray = handle.get_tensor(name).float().numpy()
    return array
