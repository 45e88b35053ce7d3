"""One attention head of a trained model, read from its safetensors file without running any code of the model."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tokendyn.data.attention_names import read_mapping
from tokendyn.data.families import EMBEDDINGS, Recognised, recognise
from tokendyn.data.head_layout import HeadLayout
from tokendyn.data.head_notes import head_notes, refuse_normalised_queries
from tokendyn.data.model_config import read_config
from tokendyn.data.model_tensors import Tensors
from tokendyn.data.stream_norm import read_norm
from tokendyn.errors import BadInputError
from tokendyn.shown import ShortRepr


@dataclass(frozen=True, repr=False)
class HeadWeights(ShortRepr):
    """Query, key, value and output matrices of one head, for tokens on the unit sphere.

    Where a normalisation stands in front of the attention, the layer reads ``u = sqrt(d) g y + b`` with ``|y| = 1``, g
    and b its gain and bias: g is folded into Q, K and V, so that ``<x, B y>`` of unit tokens is the score up to
    ``beta`` and ``key_bias``. Where a normalisation ends the layer before (BERT), the state itself is ``u``, and a unit
    token stands for ``u / |u|`` with ``|u|^2 = |g|^2 + |b|^2``, the mean over isotropic y.

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
    own_temperature
        ``beta`` of the model for unit tokens: the scale of its scores times the squared norm of the input of the layer.
    temperature_formula
        How that came about.
    centred
        Whether the tokens have mean zero, as those that a LayerNorm in front of the attention makes.
    key_bias
        ``c`` of the exponent ``beta <x, B y> + <c, y> + (a number of the query alone)``, from the query's bias and that
        of the normalisation; zero without them. A run leaves it out.
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
    own_temperature: float
    temperature_formula: str
    centred: bool
    key_bias: Float[np.ndarray, " model"]

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
        """``O V``: the output of the head for a token."""
        return np.asarray(self.outward @ self.value)


def read_head(
    path: str | Path,
    layer: int,
    head: int,
    *,
    heads: int | None = None,
    key_value_heads: int | None = None,
    mapping: str | Path | None = None,
    prefix: str = "",
) -> HeadWeights:
    """Read one head of one layer.

    The families of :data:`tokendyn.data.families.SCHEMES` are known, by the ``model_type`` of ``config.json`` and by
    their names; others come by a mapping (:func:`tokendyn.data.attention_names.read_mapping`).

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
    prefix
        With what the names of the tensors start, for models of several parts, such as ``"model.encoder."``.

    Raises
    ------
    BadInputError
        For files that are missing or damaged, names that no family knows, layers and heads that are not there, numbers
        of heads that are unknown or do not fit, quantised weights, and queries that the model normalises; the message
        lists what is there.
    """
    for name, number in (("heads", heads), ("key_value_heads", key_value_heads)):
        if number is not None and number < 1:
            raise BadInputError(f"{name}={number} must be at least 1")
    tensors = Tensors(path)
    mapped = None if mapping is None else read_mapping(mapping)
    model = recognise(tensors.files, read_config(Path(path)), str(path), prefix, mapped)
    slot = _slot(tensors, model, layer)
    refuse_normalised_queries(tensors, model, slot)
    scheme, config = model.scheme, model.config
    names = [model.prefix + name.replace("{layer}", slot) for name in scheme.inputs]
    output = model.prefix + scheme.output.replace("{layer}", slot) if scheme.output else ""
    count = heads or scheme.heads or config.heads(model.prefix)
    if count is None:
        raise BadInputError(
            f"{path}: the number of heads is unknown; give heads=N, or num_attention_heads in config.json beside it"
        )
    shared = key_value_heads or scheme.key_value_heads or config.key_value_heads(count)
    if not 0 <= head < count:
        raise BadInputError(f"layer {layer} of {path} has {count} heads, 0 to {count - 1}; got head={head}")
    if shared > count or count % shared:
        raise BadInputError(
            f"{path}: {count} heads do not share {shared} key and value heads evenly; correct key_value_heads={shared}"
        )
    layout = HeadLayout(tensors=tensors, scheme=scheme, names=tuple(names), heads=count, shared=shared)
    query, key, value = layout.weights(head)
    _check_head_dim(model, query, str(path))
    outward = layout.output(output, query, head)
    if outward is None and count * query.shape[0] != query.shape[1]:
        raise BadInputError(f"{path} has no output projection {output or '(none named)'}, and V alone is not square")
    norm = read_norm(tensors, model, layer, query.shape[1])
    scale, formula = config.scale(query.shape[0], layer)
    bias = layout.query_bias(head, query.shape[0])
    with np.errstate(over="ignore", invalid="ignore"):
        query_bias = query @ norm.inside_bias + bias
        query, key, value = (norm.folded(matrix) for matrix in (query, key, value))
        key_bias = scale * norm.length * (key.T @ query_bias)
        beta = scale * norm.length**2
        if not all(np.isfinite(part).all() for part in (query, key, value, key_bias, beta)):
            raise BadInputError(f"{path}: weights of layer {layer} are so large that products of them overflow")
    return HeadWeights(
        query=query, key=key, value=value, output=outward, scheme=scheme.name, layer=layer, head=head, heads=count,
        key_value_heads=shared,
        notes=tuple(head_notes(tensors, model, slot, layer, [*names, output], norm, key_bias)),
        own_temperature=beta, temperature_formula=f"{norm.formula} times {formula}", centred=norm.centred,
        key_bias=key_bias,
    )  # fmt: skip


def read_embedding(path: str | Path, prefix: str = "") -> Float[np.ndarray, "tokens model"]:
    """Read the embeddings of all tokens of a model.

    Parameters
    ----------
    path
        As :func:`read_head`.
    prefix
        Of the part of the model; its own embeddings are taken where it has some.

    Raises
    ------
    BadInputError
        If it has none under a known name.
    """
    tensors = Tensors(path)
    ends = tuple("." + name for name in EMBEDDINGS)
    names = [name for name in sorted(tensors.files) if ("." + name).endswith(ends)]
    if not names:
        raise BadInputError(f"{path} has no embeddings under a known name ({', '.join(EMBEDDINGS)})")
    own = [name for name in names if prefix and name.startswith(prefix)]
    return tensors.read(min(own or names, key=len))


def _slot(tensors: Tensors, model: Recognised, layer: int) -> str:
    """Return what stands for a layer in the names."""
    if layer in model.slots:
        return model.slots[layer]
    known = sorted(model.slots)
    whole = known == list(range(known[0], known[-1] + 1)) and len(known) > 2
    shown = f"{known[0]} to {known[-1]}" if whole else ", ".join(map(str, known))
    raise BadInputError(f"{tensors.path} ({model.scheme.name}) has layers {shown}; got layer={layer}")


def _check_head_dim(model: Recognised, query: np.ndarray, source: str) -> None:
    stated = model.config.whole("head_dim", "d_kv", "kv_channels")
    if stated is not None and stated != len(query) and model.config.model_types:
        raise BadInputError(
            f"{source}: the heads have {len(query)} rows of Q, but config.json says {stated}; correct heads=N, or "
            "name the tensors with mapping='FILE.toml'"
        )
