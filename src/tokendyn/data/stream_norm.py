"""The normalisation whose output an attention layer reads, and its consequence for the norm of tokens."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from tokendyn.data.attention_names import Norm
from tokendyn.data.families import Recognised
from tokendyn.data.model_tensors import Tensors


@dataclass(frozen=True)
class StreamNorm:
    """What a layer reads, ``u``, in terms of unit tokens.

    Attributes
    ----------
    gain
        Folded into the matrices: the gain of a normalisation in front of the attention; ones otherwise.
    inside_bias
        Bias of that normalisation; zero otherwise.
    length
        ``|u|`` that a unit token stands for, before the gain that is folded: ``sqrt(d)`` in front of the attention and
        without a known norm, ``sqrt(|g|^2 + |b|^2)`` where the norm ends the layer before.
    formula
        Of the squared length.
    centred
        Whether tokens have mean zero.
    note
        What a reader must know of it.
    """

    gain: Float[np.ndarray, " model"]
    inside_bias: Float[np.ndarray, " model"]
    length: float
    formula: str
    centred: bool
    note: str

    def folded(self, matrix: Float[np.ndarray, "head model"]) -> Float[np.ndarray, "head model"]:
        """Return a matrix that takes unit tokens, up to the length."""
        return np.asarray(matrix * self.gain)


def read_norm(tensors: Tensors, model: Recognised, layer: int, dim: int) -> StreamNorm:
    """Read the normalisation in front of a layer's attention, or the one that ends the layer before.

    Raises
    ------
    BadInputError
        If its tensors hold NaN or are quantised.
    """
    zeros = np.zeros(dim)
    plain = StreamNorm(
        gain=np.ones(dim), inside_bias=zeros, length=float(np.sqrt(dim)), formula="d", centred=False,
        note="no normalisation in front of the layer is known from the file: tokens of squared norm d are assumed",
    )  # fmt: skip
    for norm in _norms(model):
        if not norm.stem:
            note = "the normalisation in front of the attention has no gain: a token is a unit vector"
            return replace(plain, centred=norm.centred, note=note + _mean_zero(norm))
        stem, before = _stem(tensors, model, norm, layer)
        names = [name for name in (stem + ".weight", stem + ".gamma") if name in tensors.files] if stem else []
        if not names:
            continue
        gain = tensors.read(names[0]) + norm.offset
        biases = [name for name in (stem + ".bias", stem + ".beta") if name in tensors.files]
        bias = tensors.read(biases[0]) if biases else zeros
        if gain.shape != (dim,) or bias.shape != (dim,):
            continue
        if before:
            note = f"the gain of {stem}, in front of the attention, is folded into Q, K and V: a token is a unit vector"
            return replace(plain, gain=gain, inside_bias=bias, centred=norm.centred, note=note + _mean_zero(norm))
        size = float(np.sqrt((gain**2).sum() + (bias**2).sum()))
        note = f"states have the norm that {stem} gives in the mean, {size:.4g}; that of single tokens differs"
        return replace(plain, length=size, formula="(|gain|^2 + |bias|^2)", note=note)
    return plain


def _mean_zero(norm: Norm) -> str:
    return ", of mean zero" if norm.centred else ""


def _norms(model: Recognised) -> tuple[Norm, ...]:
    """Return the candidates; a switch of the configuration moves the norm of OPT behind its layers."""
    if model.config.flag("do_layer_norm_before", True) and not model.config.flag("pre_norm", False):
        return model.scheme.norms
    if model.scheme.name == "OPT":
        return (Norm("layers.{layer}.final_layer_norm", before=False),)
    return ()


def _stem(tensors: Tensors, model: Recognised, norm: Norm, layer: int) -> tuple[str, bool]:
    """Return the stem of the names of a norm, empty for none, and whether it stands in front of the attention."""
    if norm.before:
        own = model.prefix + norm.stem.replace("{layer}", model.slots[layer])
        if own + ".weight" in tensors.files or not norm.first or layer > 0:
            return own, True
        return _first(tensors, model.prefix, norm.first), False
    if layer > 0:
        earlier = model.slots.get(layer - 1)
        return (model.prefix + norm.stem.replace("{layer}", earlier) if earlier is not None else ""), False
    return _first(tensors, model.prefix, norm.first), False


def _first(tensors: Tensors, prefix: str, ending: str) -> str:
    """Return the stem of the norm of the embeddings that is nearest to the layers by its name."""
    if not ending:
        return ""
    ends = ("." + ending + ".weight", "." + ending + ".gamma")
    stems = [name.rsplit(".", 1)[0] for name in tensors.files if ("." + name).endswith(ends)]
    return max(sorted(stems), key=lambda stem: _shared_parts(stem, prefix), default="")


def _shared_parts(name: str, prefix: str) -> int:
    pairs = zip(name.split("."), prefix.split("."), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
