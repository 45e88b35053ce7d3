"""The tensors of a model: one safetensors file, or an index of several."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from tokendyn.data.tensor_files import TensorFile, open_tensors
from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import read_json_value
from tokendyn.runs.opened import note_opened
from tokendyn.runs.paths import no_file

#: Most bytes of the index of a model's files: that of a model with 100,000 tensors has 10 MiB.
MOST_INDEX_BYTES = 64 * 2**20

#: What the scale of a quantised tensor is called, after the tensor's own name.
_SCALES = ("_scale_inv", "_scale", ".absmax", ".quant_map", ".SCB", "_packed", "_shape")


class Tensors:
    """The tensors of a model by name, each read on demand, as float64.

    Attributes
    ----------
    files
        The file of each tensor.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.files, self._index = _files(self.path)

    def read(self, name: str) -> Float[np.ndarray, "*shape"]:
        """Return one tensor; bfloat16 and float16 are widened.

        Raises
        ------
        BadInputError
            If it is not there, its file is missing, it is quantised, or holds NaN or infinity.
        """
        if name not in self.files:
            stem = name.rsplit(".", 2)[0] + "."
            near = [known for known in sorted(self.files) if known.startswith(stem)][:8]
            raise BadInputError(
                f"{self.path} has no tensor {name}" + (f"; beside it: {', '.join(near)}" if near else "")
            )
        scales = [name + end for end in _SCALES if name + end in self.files]
        if scales:
            raise BadInputError(
                f"{self.path}: {name} is quantised, with its scale in {scales[0]}; give the model with float weights"
            )
        file = self.files[name]
        if self._index is not None and not file.is_file():
            raise BadInputError(f"{file} is missing; {self._index.name} says that it holds {name}")
        with open_tensors(file) as stored:
            array = _float64(stored, name, self._index)
        if not np.isfinite(array).all():
            raise BadInputError(f"{self.path}: {name} holds NaN or infinity")
        return array


def _float64(stored: TensorFile, name: str, index: Path | None) -> np.ndarray:
    if name not in stored.names:
        whose = f"; {index.name} says that it does" if index is not None else ""
        raise BadInputError(f"{stored.path} does not hold {name}{whose}")
    return np.asarray(stored.read(name), dtype=np.float64)


def _files(path: Path) -> tuple[dict[str, Path], Path | None]:
    """Return the file of each tensor of a safetensors file, a folder or an index, and the index."""
    if path.is_dir():
        whole, index = path / "model.safetensors", path / "model.safetensors.index.json"
        note_opened(whole)  # whether it is there decides which file is read
        if not whole.exists() and not index.exists():
            raise BadInputError(f"{path} holds neither {whole.name} nor {index.name}; give a safetensors file")
        path = whole if whole.exists() else index
    if path.name.endswith(".index.json"):
        note_opened(path)
        record = read_json_value(path, MOST_INDEX_BYTES)
        table = record.get("weight_map") if isinstance(record, dict) else None
        if not isinstance(table, dict):
            raise BadInputError(f"{path} has no weight_map")
        return {str(name): path.parent / Path(str(file)).name for name, file in table.items()}, path
    if not path.is_file():
        raise BadInputError(f"{path} is not a file: {no_file(path)}; give a safetensors file of a model, or its folder")
    with open_tensors(path) as stored:
        return dict.fromkeys(sorted(stored.names), path), None
