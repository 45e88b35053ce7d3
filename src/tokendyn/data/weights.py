"""One attention head of a trained model, read from its safetensors file without running any code of the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.data.attention_names import EMBEDDINGS, Scheme, find_scheme, read_mapping
from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import read_json_value

_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads")


@dataclass(frozen=True)
class HeadWeights:
    """Query, key, value and output matrices of one head; a token of the model is a row of ``model`` numbers.

    Attributes
    ----------
    query, key, value
        ``(head, model)``: ``q = Q x`` and so on.
    output
        ``(model, head)``: the columns of the output projection that belong to the head; None when the file has none.
    scheme
        Family of names that was recognised.
    layer, head
        Which head it is.
    heads, key_value_heads
        How many query heads, and key and value heads, the layer has.
    notes
        What the matrices leave out of the model, in sentences.
    """

    query: Float[np.ndarray, "head model"]
    key: Float[np.ndarray, "head model"]
    value: Float[np.ndarray, "head model"]
    output: Float[np.ndarray, "model head"] | None
    scheme: str
    layer: int
    head: int
    heads: int
    key_value_heads: int
    notes: tuple[str, ...]

    @property
    def dim(self) -> int:
        """Dimension of the model."""
        return self.query.shape[1]

    @property
    def head_dim(self) -> int:
        """Dimension of the head."""
        return self.query.shape[0]

    @cached_property
    def interaction(self) -> Float[np.ndarray, "model model"]:
        """``B = Q^T K``, of rank at most ``head_dim``: the score of query x against key y is ``<x, B y>``."""
        return np.asarray(self.query.T @ self.key)

    @property
    def outward(self) -> Float[np.ndarray, "model head"]:
        """``O``; without one, the head's own block of the concatenated heads."""
        if self.output is not None:
            return self.output
        block = np.zeros((self.dim, self.head_dim))
        block[self.head * self.head_dim : (self.head + 1) * self.head_dim] = np.eye(self.head_dim)
        return block

    @cached_property
    def value_matrix(self) -> Float[np.ndarray, "model model"]:
        """``O V``: what the head adds to a token."""
        return np.asarray(self.outward @ self.value)

    @property
    def own_temperature(self) -> float:
        """``beta`` of the model on the unit sphere: tokens have norm sqrt(model) after normalisation without gains.

        Scores are divided by ``sqrt(head)``, so ``beta = model / sqrt(head)``.
        """
        return self.dim / float(np.sqrt(self.head_dim))


def read_head(
    path: str | Path,
    layer: int,
    head: int,
    *,
    heads: int | None = None,
    key_value_heads: int | None = None,
    mapping: str | Path | None = None,
) -> HeadWeights:
    """Read one head of one layer.

    Known names: BERT, RoBERTa, ViT, DistilBERT, GPT-2, GPT-NeoX, BLOOM, LLaMA, Mistral, Qwen, OPT, T5 and
    ``torch.nn.TransformerEncoder``; others by a mapping (:func:`tokendyn.data.attention_names.read_mapping`).

    Parameters
    ----------
    path
        A safetensors file, or a folder with ``model.safetensors`` or its index of several files.
    layer, head
        From 0.
    heads, key_value_heads
        Numbers of heads; by default those of the mapping, or of ``config.json`` beside the file.
    mapping
        TOML file that says which tensors hold the matrices.

    Raises
    ------
    BadInputError
        For files that are missing or damaged, names that no scheme knows, layers and heads that are not there, numbers
        of heads that are unknown or do not fit; the message lists what is there.
    """
    tensors = Tensors(path)
    scheme, layers = _scheme(tensors, mapping)
    prefix = _prefix(tensors, scheme, layers, layer)
    names = [prefix + name.format(layer=layer) for name in scheme.inputs]
    output = prefix + scheme.output.format(layer=layer) if scheme.output else ""
    settings = _settings(Path(path))
    count = heads or scheme.heads or next((settings[name] for name in _HEADS if name in settings), None)
    if count is None:
        raise BadInputError(f"{path}: the number of heads is unknown; give --heads, or put config.json beside the file")
    shared = key_value_heads or scheme.key_value_heads or settings.get("num_key_value_heads") or count
    if not 0 <= head < count:
        raise BadInputError(f"layer {layer} of {path} has {count} heads, 0 to {count - 1}; got --head {head}")
    parts = _split(tensors, scheme, names, count)
    query = _rows_of_head(parts[0], count, head, names[0])
    own = head * shared // count
    key, value = (_rows_of_head(part, shared, own, names[-1]) for part in parts[1:])
    if query.shape != key.shape or query.shape != value.shape:
        raise BadInputError(
            f"{names[0]}: Q, K, V of head {head} are {query.shape}, {key.shape}, {value.shape} with {count} heads and "
            f"{shared} key and value heads; expected equal: correct --heads or --key-value-heads"
        )
    outward = _output(tensors, output, scheme, query, count, head)
    if outward is None and count * query.shape[0] != query.shape[1]:
        raise BadInputError(f"{path} has no output projection {output or '(none named)'}, and V alone is not square")
    notes = _notes(tensors, scheme, [*names, output], outward)
    return HeadWeights(query, key, value, outward, scheme.name, layer, head, count, shared, notes)


def read_embedding(path: str | Path) -> Float[np.ndarray, "tokens model"]:
    """Read the embeddings of all tokens of a model.

    Raises
    ------
    BadInputError
        If the file has none under a known name.
    """
    tensors = Tensors(path)
    found = [name for name in sorted(tensors.files) if name.endswith(EMBEDDINGS)]
    if not found:
        raise BadInputError(f"{path} has no embeddings under a known name ({', '.join(EMBEDDINGS)})")
    return tensors.read(min(found, key=len))


class Tensors:
    """The tensors of a model by name, each read when asked for, as float64.

    Attributes
    ----------
    files
        The file of each tensor.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.files = _files(self.path)

    def read(self, name: str) -> Float[np.ndarray, "*shape"]:
        """Return one tensor; bfloat16 and float16 are widened.

        Raises
        ------
        BadInputError
            If it is not there, or holds NaN or infinity.
        """
        if name not in self.files:
            stem = name.rsplit(".", 2)[0] + "."
            near = [known for known in sorted(self.files) if known.startswith(stem)][:8]
            raise BadInputError(
                f"{self.path} has no tensor {name}" + (f"; beside it: {', '.join(near)}" if near else "")
            )
        from safetensors import safe_open

        with safe_open(self.files[name], framework="pt") as opened:
            array: np.ndarray = opened.get_tensor(name).double().numpy()
        if not np.isfinite(array).all():
            raise BadInputError(f"{self.path}: {name} holds NaN or infinity")
        return array


def _files(path: Path) -> dict[str, Path]:
    """Return the file of each tensor of a safetensors file, a folder or an index."""
    if path.is_dir():
        whole, index = path / "model.safetensors", path / "model.safetensors.index.json"
        if not whole.exists() and not index.exists():
            raise BadInputError(f"{path} holds neither {whole.name} nor {index.name}; give a safetensors file")
        path = whole if whole.exists() else index
    if path.name.endswith(".index.json"):
        table = _json(path).get("weight_map")
        if not isinstance(table, dict):
            raise BadInputError(f"{path} has no weight_map")
        return {str(name): path.parent / Path(str(file)).name for name, file in table.items()}
    if not path.is_file():
        raise BadInputError(f"{path} is not a file; give a safetensors file of a model, or its folder")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as opened:
            return dict.fromkeys(opened.keys(), path)
    except (OSError, SafetensorError) as error:
        raise BadInputError(f"{path} is not a whole safetensors file ({error})") from None


def _scheme(tensors: Tensors, mapping: str | Path | None) -> tuple[Scheme, Mapping[int, set[str]]]:
    if mapping is None:
        return find_scheme(tensors.files, str(tensors.path))
    scheme = read_mapping(mapping)
    layers = scheme.layers(tensors.files)
    if not layers:
        some = ", ".join(sorted(tensors.files)[:8])
        raise BadInputError(
            f"{tensors.path} has no tensor {scheme.inputs[0]} of --mapping {mapping} (it holds: {some})"
        )
    return scheme, layers


def _prefix(tensors: Tensors, scheme: Scheme, layers: Mapping[int, set[str]], layer: int) -> str:
    if layer not in layers:
        known = sorted(layers)
        whole = known == list(range(known[0], known[-1] + 1)) and len(known) > 2
        shown = f"{known[0]} to {known[-1]}" if whole else ", ".join(map(str, known))
        raise BadInputError(f"{tensors.path} ({scheme.name}) has layers {shown}; got --layer {layer}")
    prefixes = sorted(layers[layer])
    if len(prefixes) > 1:
        shown = ", ".join(repr(prefix) for prefix in prefixes)
        raise BadInputError(f"{tensors.path} has layer {layer} under {shown}; say which with --mapping FILE.toml")
    return prefixes[0]


def _settings(path: Path) -> dict[str, Any]:
    """Return the whole numbers of ``config.json`` beside a model."""
    beside = (path if path.is_dir() else path.parent) / "config.json"
    if not beside.exists():
        return {}
    found = _json(beside)
    inner = found.get("text_config")
    table = {**(inner if isinstance(inner, dict) else {}), **found}
    return {name: value for name, value in table.items() if type(value) is int and value > 0}


def _json(path: Path) -> dict[str, Any]:
    record = read_json_value(path)
    if not isinstance(record, dict):
        raise BadInputError(f"{path} holds no JSON object")
    return record


def _split(tensors: Tensors, scheme: Scheme, names: list[str], heads: int) -> list[np.ndarray]:
    """Return Q, K and V of all heads, each (heads x head, model)."""
    matrices = [tensors.read(name) for name in names]
    flat = [f"{name} {matrix.shape}" for name, matrix in zip(names, matrices, strict=True) if matrix.ndim != 2]
    if flat:
        raise BadInputError(f"{', '.join(flat)}: expected matrices")
    if scheme.layout == "separate":
        return [matrix.T if scheme.transposed else matrix for matrix in matrices]
    (fused,) = matrices
    rows = fused.T if scheme.transposed and fused.shape[1] == 3 * fused.shape[0] else fused
    if len(rows) % (3 * heads):
        raise BadInputError(f"{names[0]} {fused.shape} cannot be cut into Q, K, V of {heads} heads; correct --heads")
    if scheme.layout == "interleaved":
        cut = rows.reshape(heads, 3, -1, rows.shape[1])
        return [cut[:, part].reshape(-1, rows.shape[1]) for part in range(3)]
    return list(rows.reshape(3, -1, rows.shape[1]))


def _rows_of_head(matrix: np.ndarray, heads: int, head: int, name: str) -> np.ndarray:
    if len(matrix) % heads:
        raise BadInputError(f"{name}: {len(matrix)} rows do not divide among {heads} heads; correct --heads")
    size = len(matrix) // heads
    return np.ascontiguousarray(matrix[head * size : (head + 1) * size])


def _output(tensors: Tensors, name: str, scheme: Scheme, query: np.ndarray, heads: int, head: int) -> np.ndarray | None:
    if name not in tensors.files:
        return None
    matrix = tensors.read(name)
    size, model = query.shape
    if scheme.transposed and (scheme.layout != "columns" or scheme.exact or matrix.shape[0] == heads * size):
        matrix = matrix.T
    if matrix.shape != (model, heads * size):
        raise BadInputError(f"{name} {matrix.shape} does not take {heads} heads of {size} to {model} numbers")
    return np.ascontiguousarray(matrix[:, head * size : (head + 1) * size])


def _notes(tensors: Tensors, scheme: Scheme, names: list[str], output: np.ndarray | None) -> tuple[str, ...]:
    found = []
    biases = [name.removesuffix("weight") + "bias" for name in names if name.endswith("weight")]
    biases += [name.removesuffix("_weight") + "_bias" for name in names if name.endswith("_weight")]
    if any(bias in tensors.files and tensors.read(bias).any() for bias in biases):
        found.append("biases of the layer are left out")
    if scheme.rotary:
        found.append(
            "queries and keys are not turned by positions (rotary embedding): scores are those at one position"
        )
    if output is None:
        found.append("no output projection in the file: the head's block of the concatenation stands for it")
    return (*found, "gains of the normalisation layer and the other heads are left out")
