"""Hidden states of a model, layer by layer, from any framework: npz or safetensors, read without executing anything."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.data.tensor_files import open_tensors
from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import MOST_TABLE_BYTES
from tokendyn.runs.files import check_free, new_file, write_tensors
from tokendyn.runs.numpy_files import open_numpy
from tokendyn.shown import ShortRepr

#: Kinds of files, and the array that holds the states.
SUFFIXES, STATES, ATTENTION = (".npz", ".npy", ".safetensors"), "states", "attention"
#: How far a row of weights may be from 1: 16-bit floats of a long row are.
_ROW_ERROR = 0.05


@dataclass(frozen=True, repr=False)
class HiddenStates(ShortRepr):
    """The tokens of one input before the first and after each layer of a model.

    Attributes
    ----------
    states
        ``(layers + 1, tokens, dim)`` float64, finite.
    labels
        A name for each token; its number where the file names none.
    source
        The file, for messages.
    attention
        ``(layers, heads, tokens, tokens)``: the weights of each head, a row for each query; None where there are none.
    """

    states: Float[np.ndarray, "layers_and_one tokens dim"]
    labels: tuple[str, ...]
    source: str = "states"
    attention: Float[np.ndarray, "layers heads tokens tokens"] | None = None

    def __len__(self) -> int:
        return len(self.states)

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.states) - 1


def read_states(path: str | Path) -> HiddenStates:
    """Read hidden states.

    Parameters
    ----------
    path
        An ``.npz`` or ``.safetensors`` file with an array ``states`` of shape ``(layers + 1, tokens, dim)``, optionally
        ``attention`` of shape ``(layers, heads, tokens, tokens)``, and in npz ``tokens``, their names; or an ``.npy``
        file with the states alone.

    Raises
    ------
    BadInputError
        For a missing or damaged file, another shape, numbers that are not finite, or names that do not fit.
    """
    path = Path(path)
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise BadInputError(f"{path} is no file of hidden states; expected one of {', '.join(SUFFIXES)}")
    states, names, attention = _arrays(path)
    if states.ndim != 3 or 0 in states.shape or states.dtype.kind not in "fiu":
        raise BadInputError(
            f"{path}: the states are {states.dtype} of shape {states.shape}; expected real (layers + 1, tokens, dim)"
        )
    if 8 * states.size > MOST_TABLE_BYTES:
        raise BadInputError(f"{path} holds {states.size / 2**27:.0f} GiB of states; choose some of the tokens")
    states = states.astype(np.float64)
    labels = tuple(map(str, range(states.shape[1]))) if names is None else tuple(map(str, names.tolist()))
    if attention is not None and attention.dtype.kind in "fiu":
        attention = attention.astype(np.float64)
    stream = HiddenStates(states=states, labels=labels, source=str(path), attention=attention)
    check_stream(stream)
    return stream


def holds_states(path: str | Path) -> bool:
    """Return whether a file holds the states of all layers of a model, as :func:`write_states` writes them."""
    path = Path(path)
    if not path.is_file() or path.suffix.lower() not in (".npz", ".safetensors"):
        return False
    if path.suffix.lower() == ".safetensors":
        with open_tensors(path) as stored:
            return STATES in stored.names and len(stored.described(STATES)[0]) == 3
    with open_numpy(path) as file:
        return len(file.shapes.get(STATES, ())) == 3


def check_stream(stream: HiddenStates) -> None:
    """Refuse hidden states that cannot be measured, whether they come from a file or from memory.

    Raises
    ------
    BadInputError
        For numbers that are not finite, names that do not fit, or rows of attention that are not weights.
    """
    if not np.isfinite(stream.states).all():
        raise BadInputError(f"{stream.source}: the states hold NaN or infinity; write them in a wider type")
    if len(stream.labels) != stream.states.shape[1]:
        raise BadInputError(f"{stream.source}: {len(stream.labels)} names for {stream.states.shape[1]} tokens")
    if stream.attention is not None:
        _check_attention(stream.source, stream.attention, stream.states.shape)


def _check_attention(source: str, attention: np.ndarray, states: tuple[int, ...]) -> None:
    layers, tokens = states[0] - 1, states[1]
    if attention.ndim != 4 or attention.shape[::2] != (layers, tokens) or attention.shape[3] != tokens:
        raise BadInputError(
            f"{source}: attention has shape {attention.shape}; expected (layers, heads, tokens, tokens) with {layers} "
            f"layers and {tokens} tokens"
        )
    sums = attention.sum(axis=-1)
    if not (np.isfinite(attention).all() and (attention >= 0).all() and np.abs(sums - 1).max() < _ROW_ERROR):
        raise BadInputError(f"{source}: attention holds rows that are no weights; expected rows above 0 that add to 1")


def write_states(states: HiddenStates, path: str | Path, *, overwrite: bool = False) -> None:
    """Write hidden states to an ``.npz`` file with their names, or to a ``.safetensors`` file without.

    Raises
    ------
    BadInputError
        For another kind of file.
    OutputError
        If the file exists and ``overwrite`` is not set, or cannot be written.
    """
    path = Path(path)
    check_free(path, overwrite=overwrite, ours=lambda _: True)
    if path.suffix == ".safetensors":
        write_tensors(path, _written(states))
    elif path.suffix == ".npz":
        with new_file(path) as temporary, temporary.open("wb") as stream:
            arrays: dict[str, Any] = {"tokens": np.array(states.labels), **_written(states)}
            np.savez(stream, **arrays)
    else:
        raise BadInputError(f"{path}: expected a name that ends in .npz or .safetensors")


def _written(states: HiddenStates) -> dict[str, np.ndarray]:
    return {STATES: states.states} | ({} if states.attention is None else {ATTENTION: states.attention})


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the states and, where there are some, the names of the tokens and the attention."""
    if path.suffix.lower() == ".safetensors":
        with open_tensors(path) as stored:
            _check_there(path, sorted(stored.names))
            weights = np.asarray(stored.read(ATTENTION)) if ATTENTION in stored.names else None
            return np.asarray(stored.read(STATES, whole=True)), None, weights
    with open_numpy(path) as file:
        if path.suffix.lower() == ".npy":
            return np.array(file.read("x")), None, None
        names = list(file.shapes)
        _check_there(path, names)
        labels = file.read("tokens") if "tokens" in names else None
        if labels is not None and (labels.ndim != 1 or labels.dtype.kind != "U"):
            raise BadInputError(f"{path}: tokens is {labels.dtype} of shape {labels.shape}; expected a list of names")
        return file.read(STATES), labels, file.read(ATTENTION) if ATTENTION in names else None


def _check_there(path: Path, names: list[str]) -> None:
    if STATES not in names:
        shown = ", ".join(names[:10]) or "nothing"
        raise BadInputError(f"{path} has no array {STATES!r} (it holds {shown}); name the hidden states so")
