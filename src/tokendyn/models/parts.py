"""The parts of one block as arrays: norms as maps that a frozen scale makes linear, and the matrices of all heads."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from tokendyn.data.model_config import config_of
from tokendyn.errors import BadInputError
from tokendyn.models.families import Family

#: How far the output of a norm may be from the formula that is tried for it, as a share of its size.
_CLOSE = 1e-4


@dataclass(frozen=True)
class Norm:
    """A normalisation of each token: ``gain o (x - mean x) / s + bias``, or the same without the mean.

    Attributes
    ----------
    kind
        ``"layer"`` takes the mean away and divides by the standard deviation; ``"rms"`` divides by the root of the mean
        square.
    gain, bias
        ``(dim,)``.
    epsilon
        Added to the mean square before the root.
    """

    kind: Literal["layer", "rms"]
    gain: Float[np.ndarray, " dim"]
    bias: Float[np.ndarray, " dim"]
    epsilon: float

    def scale(self, tokens: Float[np.ndarray, "*batch dim"]) -> Float[np.ndarray, "*batch 1"]:
        """Return ``s`` of each token."""
        centred = self.centred(tokens)
        return np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + self.epsilon)

    def centred(self, tokens: Float[np.ndarray, "*batch dim"]) -> Float[np.ndarray, "*batch dim"]:
        """Return the tokens without their mean, for a layer norm."""
        return tokens - tokens.mean(axis=-1, keepdims=True) if self.kind == "layer" else tokens

    def linear(
        self, parts: Float[np.ndarray, "*batch dim"], scale: Float[np.ndarray, "*rows 1"]
    ) -> Float[np.ndarray, "*batch dim"]:
        """Return the norm of a part of its input, with the scale frozen at that of the whole input."""
        return self.centred(parts) / scale * self.gain

    def __call__(self, tokens: Float[np.ndarray, "*batch dim"]) -> Float[np.ndarray, "*batch dim"]:
        """Normalise tokens."""
        return self.linear(tokens, self.scale(tokens)) + self.bias


@dataclass(frozen=True)
class BlockNorms:
    """The norms of one block; None where there is none.

    Attributes
    ----------
    front
        Whose output the attention reads; for post order it ends the block before.
    middle
        In front of the feed-forward part.
    attention, feed_forward
        Norms behind the two parts: of the sums (post), or of the added parts (sandwich).
    """

    front: Norm | None
    middle: Norm | None
    attention: Norm | None
    feed_forward: Norm | None


@dataclass(frozen=True)
class HeadMatrices:
    """The matrices of all heads of a layer; key and value heads that several queries share are repeated.

    In the precision of the model: those of a float32 model are float32, and products with float64 tokens are float64.

    Attributes
    ----------
    query, key, value
        ``(heads, head, dim)``.
    query_bias, key_bias, value_bias
        ``(heads, head)``; zero where there is none.
    output
        ``(heads, dim, head)``: the columns of the output projection that belong to each head.
    output_bias
        ``(dim,)``.
    scale
        The factor of ``<q, k>`` in the exponent.
    groups
        How many key and value heads there are.
    """

    query: Float[np.ndarray, "heads head dim"]
    key: Float[np.ndarray, "heads head dim"]
    value: Float[np.ndarray, "heads head dim"]
    query_bias: Float[np.ndarray, "heads head"]
    key_bias: Float[np.ndarray, "heads head"]
    value_bias: Float[np.ndarray, "heads head"]
    output: Float[np.ndarray, "heads dim head"]
    output_bias: Float[np.ndarray, " dim"]
    scale: float
    groups: int

    def __len__(self) -> int:
        return len(self.query)

    def some(self, group: slice) -> "HeadMatrices":
        """Return some of the heads."""
        names = ("query", "key", "value", "query_bias", "key_bias", "value_bias", "output")
        return replace(self, **{name: getattr(self, name)[group] for name in names})


def submodule(module: Any, path: str) -> Any:
    """Return the module at a path such as ``attention.self``; an index may be negative."""
    for part in path.split("."):
        module = module[int(part)] if part.lstrip("-").isdigit() else getattr(module, part)
    return module


def found(module: Any, path: str) -> Any:
    """Return the module at a path; None where there is none, or where it does nothing."""
    try:
        inner = submodule(module, path)
    except (AttributeError, IndexError, TypeError):
        return None
    return None if type(inner).__name__ == "Identity" else inner


def blocks_of(model: Any, path: str) -> list[Any]:
    """Return the blocks at a path with ``*``; a model may call the same block several times."""
    modules = [model]
    for part in path.split("."):
        modules = [inner for module in modules for inner in (module if part == "*" else [submodule(module, part)])]
    if "*" not in path:
        return list(modules[0])
    return modules


def read_norm(module: Any) -> Norm | None:
    """Return a norm of the library as a formula; None where none of the formulas gives its output.

    Libraries write norms in many classes. A norm is recognised by its effect on one vector rather than by its name.
    """
    import torch

    weight = getattr(module, "weight", None)
    if weight is None or weight.ndim != 1:
        return None
    epsilon = next((float(getattr(module, name)) for name in ("eps", "variance_epsilon") if hasattr(module, name)), 0.0)
    bias = getattr(module, "bias", None)
    weights = array(weight)
    shift = np.zeros(len(weights)) if bias is None else array(bias)
    probe = torch.linspace(-1.0, 2.0, len(weights), dtype=torch.float64) ** 3 + 0.3
    with torch.no_grad():
        output = array(module(probe.to(weight.dtype)[None])[0])
    kinds: tuple[Literal["layer", "rms"], ...] = ("layer", "rms")
    for kind in kinds:
        for offset in (0.0, 1.0):
            norm = Norm(kind=kind, gain=weights + offset, bias=shift, epsilon=epsilon)
            size = np.abs(output).max() or 1.0
            if np.abs(norm(probe.numpy()) - output).max() <= _CLOSE * size:
                return norm
    return None


def read_heads(block: Any, family: Family, config: Any, layer: int, part: str = "") -> HeadMatrices:
    """Return the matrices of all heads of a block.

    Raises
    ------
    BadInputError
        If the shapes of the projections do not fit the number of heads.
    """
    settings = config_of(config.to_dict(), "")
    heads = head_count(config, part)
    outward, output_bias = _matrix(submodule(block, family.output))
    dim, width = outward.shape
    if width % heads:
        raise BadInputError(f"{family.name}: {heads} heads do not share {width} columns of {family.output} evenly")
    size = width // heads
    parts, groups = _projections(block, family, heads, size)
    if family.positions == "rotary pairs":
        # The score is the same when coordinates of queries and keys change places alike.
        order = _paired(int(getattr(config, "rotary_dim", 0) or size), size)
        parts = [*((weight[:, order], bias[:, order]) for weight, bias in parts[:2]), parts[2]]
    (query, query_bias), (key, key_bias), (value, value_bias) = parts
    return HeadMatrices(
        query=query, key=key, value=value, query_bias=query_bias, key_bias=key_bias, value_bias=value_bias,
        output=outward.reshape(dim, heads, size).transpose(1, 0, 2), output_bias=output_bias,
        scale=settings.scale(size, layer)[0], groups=groups,
    )  # fmt: skip


def _paired(width: int, size: int) -> np.ndarray:
    """Return the order of coordinates that puts those of a pair half a width apart."""
    return np.concatenate([np.arange(0, width, 2), np.arange(1, width, 2), np.arange(width, size)])


def head_count(config: Any, part: str = "") -> int:
    """Return the number of query heads of a configuration, of its encoder or decoder where it has both."""
    count = config_of(config.to_dict(), "").heads(part)
    if count is None:
        raise BadInputError(f"the configuration of {config.model_type} does not say how many heads there are")
    return count


def _projections(block: Any, family: Family, heads: int, size: int) -> tuple[list[tuple[Any, Any]], int]:
    """Return matrices and biases of Q, K and V, ``(heads, head, dim)``, and the number of key and value heads."""
    matrices = [_matrix(submodule(block, path)) for path in family.projections]
    if family.layout == "separate":
        parts = [(weight.reshape(-1, size, weight.shape[1]), bias.reshape(-1, size)) for weight, bias in matrices]
    else:
        weight, bias = matrices[0]
        rows = np.arange(len(weight)).reshape(-1, size)
        split = _fused_rows(rows, family.layout, heads)
        parts = [(weight[part], bias[part]) for part in split]
    groups = len(parts[1][0])
    if len(parts[0][0]) != heads or groups == 0 or heads % groups:
        raise BadInputError(
            f"{family.name}: {heads} heads do not fit projections of {[len(p[0]) for p in parts]} heads"
        )
    repeated = [parts[0], *((np.repeat(w, heads // groups, 0), np.repeat(b, heads // groups, 0)) for w, b in parts[1:])]
    return repeated, groups


def _fused_rows(rows: np.ndarray, layout: str, heads: int) -> list[np.ndarray]:
    """Return which rows of a projection are those of Q, K and V, head by head."""
    if layout == "by head":
        return [rows.reshape(heads, 3, -1)[:, part] for part in range(3)]
    if layout == "grouped":
        # Falcon: groups of query heads, each followed by its key head and its value head.
        groups = (len(rows) - heads) // 2
        grouped = rows.reshape(groups, heads // groups + 2, -1)
        return [grouped[:, :-2].reshape(heads, -1), grouped[:, -2], grouped[:, -1]]
    groups = (len(rows) - heads) // 2
    return [rows[:heads], rows[heads : heads + groups], rows[heads + groups :]]


def _matrix(module: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return weight ``(out, in)`` and bias of a projection; GPT-2 keeps its weights the other way round."""
    weight = stored(module.weight)
    if type(module).__name__ == "Conv1D":
        weight = weight.T
    bias = getattr(module, "bias", None)
    return weight, np.zeros(len(weight)) if bias is None else stored(bias)


def stored(tensor: Any) -> np.ndarray:
    """Return a tensor as the model holds it, without a copy: float64 copies of all heads are twice the model.

    What is computed with weights is float64, since tokens are.
    """
    import torch

    kept = tensor.detach().to("cpu")
    array_ = kept.numpy() if kept.dtype in (torch.float32, torch.float64) else kept.to(torch.float64).numpy()
    view: np.ndarray = array_.view()
    view.flags.writeable = False
    return view


def array(tensor: Any) -> np.ndarray:
    """Return a tensor as a float64 array of its own."""
    import torch

    return np.array(tensor.detach().to("cpu", torch.float64).numpy(), copy=True)


def inverse_temperature(heads: HeadMatrices) -> float:
    """Return ``beta = scale * dim`` of tokens of norm 1: ``d / sqrt(d_h)`` for the usual scale ``1 / sqrt(d_h)``."""
    return heads.scale * heads.query.shape[2]
