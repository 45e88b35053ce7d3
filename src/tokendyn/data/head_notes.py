"""What the matrices of a head leave out of its model: refused where a score is not bilinear, else said."""

import re

import numpy as np

from tokendyn.data.attention_names import bias_of
from tokendyn.data.families import CAUSAL_TYPES, Recognised
from tokendyn.data.model_tensors import Tensors
from tokendyn.data.stream_norm import StreamNorm
from tokendyn.errors import LISTED, BadInputError

_POSITIONS = {
    "rotary": "queries and keys are not turned by positions (rotary embedding): scores are those at one position",
    "alibi": "the penalty on distant tokens that is added to scores (ALiBi) is left out",
    "relative": "what positions add to scores (a relative bias) is left out",
}

#: Norms of queries and keys among the names of an attention layer.
_QK_NORM = re.compile(r"(^|[._])(q|k|qk|query|key)_?(layer)?_?(norm|ln)s?(\.|$)|(^|\.)norm_(q|k)(\.|$)")

_RELATIVE = re.compile(r"relative_attention_bias|relative_position_bias|rel_embeddings|distance_embedding|rel_pos")


def refuse_normalised_queries(tensors: Tensors, model: Recognised, slot: str) -> None:
    """Raise for a layer whose scores are those of normalised queries and keys, which no matrix B gives.

    Raises
    ------
    BadInputError
        With the names of the norms.
    """
    stem = _layer_stem(model, slot)
    norms = [name for name in sorted(tensors.files) if stem and name.startswith(stem) and _QK_NORM.search(name)]
    if norms or model.config.normalises_queries():
        shown = ", ".join(norms[:4]) or "config.json says so"
        raise BadInputError(
            f"{tensors.path}: the layer normalises queries and keys ({shown}): its scores are not <x, B y> for any "
            "matrix B, and the theory of one head does not apply"
        )


def head_notes(
    tensors: Tensors,
    model: Recognised,
    slot: str,
    layer: int,
    names: list[str],
    norm: StreamNorm,
    key_bias: np.ndarray,
) -> list[str]:
    """Return one sentence for each thing that the matrices of a head leave out.

    Parameters
    ----------
    tensors, found, slot, layer
        The layer.
    names
        The tensors that were read; the output projection last.
    norm, key_bias
        What the head was folded with.
    """
    notes = [model.note] if model.note else []
    notes.append(norm.note)
    biases = [bias_of(name) for name in names if name and bias_of(name) in tensors.files]
    present = [name for name in biases if tensors.read(name).any()]
    if key_bias.any() or present or norm.inside_bias.any():
        size = f": the one of queries would add <c, y> with |c| = {np.linalg.norm(key_bias):.3g} to the exponent"
        notes.append("biases of the layer are left out" + (size if key_bias.any() else ""))
    notes += [_POSITIONS[kind] for kind in sorted(_positions(tensors, model, slot))]
    if _is_causal(model):
        notes.append("a token of this model sees those before it only: causal=True runs it so, the theory is for all")
    stem = _layer_stem(model, slot)
    if any(stem and name.startswith(stem) and name.endswith(".sinks") for name in tensors.files):
        notes.append("the share of attention that goes to no token (sinks) is left out")
    notes += model.config.notes(layer)
    if names[-1] not in tensors.files:
        notes.append("no output projection in the file: the head's block of the concatenation stands for it")
    used = {*names, *biases, *(bias_of(name) for name in names)}
    unread = _unread(tensors, model, slot, used)
    if unread:
        some = ", ".join(unread[:LISTED]) + (f", ... ({len(unread)} in all)" if len(unread) > LISTED else "")
        notes.append(f"left unread in the layer: {some}")
    notes.append("the other heads and the feed-forward part are left out")
    return notes


def _layer_stem(model: Recognised, slot: str) -> str:
    return model.prefix + model.scheme.module.replace("{layer}", slot) if model.scheme.module else ""


def _unread(tensors: Tensors, model: Recognised, slot: str, used: set[str]) -> list[str]:
    """Return the names of the layer that were not read, those of its attention first, without the layer's own stem."""
    stem = _layer_stem(model, slot)
    norms = {model.prefix + norm.stem.replace("{layer}", slot) for norm in model.scheme.norms if norm.before}
    left = [
        name.removeprefix(stem)
        for name in sorted(tensors.files)
        if stem and name.startswith(stem) and name not in used and name.rsplit(".", 1)[0] not in norms
    ]
    return sorted(left, key=lambda name: "att" not in name.lower())


def _positions(tensors: Tensors, model: Recognised, slot: str) -> set[str]:
    kinds = model.config.positions()
    own = model.scheme.positions
    if own and not (own == "rotary" and "alibi" in kinds):
        kinds.add(own)
    if own != "relative" and any(name.startswith(model.prefix) and _RELATIVE.search(name) for name in tensors.files):
        kinds.add("relative")
    return kinds


def _is_causal(model: Recognised) -> bool:
    config = model.config
    if config.flag("use_bidirectional_attention", False) or not config.flag("is_causal", True):
        return False
    if "decoder" in model.prefix or config.flag("is_decoder", False):
        return True
    encodes = config.has_type("t5gemma") and "encoder" in model.prefix
    return (model.scheme.causal and not encodes) or config.has_type(*CAUSAL_TYPES)
