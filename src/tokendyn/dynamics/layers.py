"""Transformer layers on a set of tokens: one relaxes towards its means, the other adds them."""

from dataclasses import dataclass
from numbers import Real
from os import PathLike
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.attention import AttentionStep, Head
from tokendyn.attention.checks import as_array
from tokendyn.attention.step import Backend, canonical_linear
from tokendyn.errors import BadInputError, listing


@dataclass(frozen=True)
class FeedForward:
    """A two-layer perceptron on each token: ``eta z + W2 relu(W1 z + b1) + b2``, eta 1 or 0.

    Sums run left to right without fused operations, biases ``b1`` first and ``b2`` last, so that the result has the
    same bits on every machine.

    Attributes
    ----------
    inner, inner_bias
        ``W1`` of shape ``(width, dim)``, ``b1`` of shape ``(width,)``; a width of 0 is allowed.
    outer, outer_bias
        ``W2`` of shape ``(dim, width)``, ``b2`` of shape ``(dim,)``.
    residual
        Whether the token itself is added: eta is 1, else 0.
    """

    inner: Float[np.ndarray, "width dim"]
    inner_bias: Float[np.ndarray, " width"]
    outer: Float[np.ndarray, "dim width"]
    outer_bias: Float[np.ndarray, " dim"]
    residual: bool = True

    def __post_init__(self) -> None:
        shapes = [np.shape(part) for part in (self.inner, self.inner_bias, self.outer, self.outer_bias)]
        if len(shapes[0]) != 2 or shapes[1:] != [shapes[0][:1], shapes[0][::-1], shapes[0][1:]]:
            raise BadInputError(
                "a feed-forward part needs shapes (width, dim), (width,), (dim, width), (dim,); got "
                + ", ".join(map(str, shapes))
            )

    def __call__(self, tokens: Float[np.ndarray, "*batch tokens dim"]) -> Float[np.ndarray, "*batch tokens dim"]:
        """Apply to ``(..., tokens, dim)``."""
        if tokens.shape[-1] != self.inner.shape[1]:
            raise BadInputError(f"a feed-forward part of dim {self.inner.shape[1]} does not fit {tokens.shape}")
        start = tokens if self.residual else np.zeros_like(tokens)
        if not len(self.inner):
            return start + self.outer_bias
        hidden = np.maximum(canonical_linear(tokens, self.inner, self.inner_bias), 0.0)
        return canonical_linear(hidden, self.outer, start) + self.outer_bias


@dataclass(frozen=True)
class Layer:
    """One transformer layer acting on a set of tokens.

    Attributes
    ----------
    alpha
        Step parameter ``> 0``; a token moves by the share ``alpha / (1 + alpha)``.
    heads
        Their means are added. One head with ``A`` symmetric positive definite and ``V = I`` at hardmax is
        the model of arXiv 2407.01602.
    feed_forward
        Applied after the attention, when given.
    """

    alpha: float = 1.0
    heads: tuple[Head, ...] = (Head(),)
    feed_forward: FeedForward | None = None

    def __post_init__(self) -> None:
        alpha: Any = self.alpha
        if not (isinstance(alpha, Real) and np.isfinite(float(alpha)) and float(alpha) > 0):
            remedy = "; heads are given by name: Layer(heads=(head,))" if isinstance(alpha, Head | tuple) else ""
            raise BadInputError(f"alpha must be positive and finite, got {alpha!r}{remedy}")
        _check_heads(self.heads)

    def __call__(
        self,
        tokens: Float[np.ndarray, "*batch tokens dim"],
        *,
        weights: Float[np.ndarray, "*batch tokens"] | None = None,
        mask: Bool[np.ndarray, "*shape"] | None = None,
        backend: Backend = "auto",
    ) -> tuple[Float[np.ndarray, "*batch tokens dim"], tuple[AttentionStep, ...]]:
        """Return the moved tokens and the attention step of each head. Masked tokens stay where they are."""
        target, steps = _means(self.heads, tokens, weights, mask, backend)
        moved = tokens + self.alpha / (1 + self.alpha) * (target - tokens)
        if self.feed_forward is not None:
            moved = self.feed_forward(moved)
        return (moved if mask is None else np.where((steps[0].leaders >= 0)[..., None], moved, tokens)), steps


@dataclass(frozen=True)
class ResidualLayer:
    """One transformer layer in its common form: feed-forward part first, then attention added to the token.

    ``z_i <- F(z_i)``, then ``z_i <- z_i + sum_h m_i^h``, ``m_i^h = sum_j p_ij^h V_h z_j``. The blocks of
    :mod:`tokendyn.exact` are such layers, with one hardmax or softmax head whose score has rank 1. With a
    normalisation, ``N(z) = z / |z|``, the second step is ``N(z + m(z))`` (``"post"``), ``z + m(N(z))`` (``"pre"``),
    ``z + N(m(N(z)))`` (``"peri"``) or ``N(z + N(m(N(z))))`` (``"ngpt"``): the layers of
    :attr:`tokendyn.dynamics.TokenFlow.normalisation`.

    Attributes
    ----------
    heads
        Their means are added.
    feed_forward
        Applied before the attention, when given.
    skip
        False: pure attention, ``z_i <- sum_h m_i^h``, in which the token itself is not added.
    normalisation
        None, ``"post"``, ``"pre"``, ``"peri"`` or ``"ngpt"``.
    """

    heads: tuple[Head, ...] = (Head(),)
    feed_forward: FeedForward | None = None
    skip: bool = True
    normalisation: Literal["post", "pre", "peri", "ngpt"] | None = None

    def __post_init__(self) -> None:
        _check_heads(self.heads)
        if self.normalisation not in (None, "post", "pre", "peri", "ngpt"):
            raise BadInputError(f"normalisation is {self.normalisation!r}; there are None, post, pre, peri and ngpt")

    def __call__(
        self,
        tokens: Float[np.ndarray, "*batch tokens dim"],
        *,
        weights: Float[np.ndarray, "*batch tokens"] | None = None,
        mask: Bool[np.ndarray, "*shape"] | None = None,
        backend: Backend = "auto",
    ) -> tuple[Float[np.ndarray, "*batch tokens dim"], tuple[AttentionStep, ...]]:
        """Return the moved tokens and the attention step of each head. Masked tokens stay where they are."""
        inner = tokens if self.feed_forward is None else self.feed_forward(tokens)
        attending = _divided(inner) if self.normalisation in ("pre", "peri", "ngpt") else inner
        means, steps = _means(self.heads, attending, weights, mask, backend)
        if self.normalisation in ("peri", "ngpt"):
            means = _divided(means)
        moved = inner + means if self.skip else means
        if self.normalisation in ("post", "ngpt"):
            moved = _divided(moved)
        return (moved if mask is None else np.where((steps[0].leaders >= 0)[..., None], moved, tokens)), steps


@runtime_checkable
class AnyLayer(Protocol):
    """A layer that :func:`tokendyn.dynamics.run` accepts: :class:`Layer`, :class:`ResidualLayer` or a user's class."""

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads; all layers of a run have the same number."""

    def __call__(
        self,
        tokens: Float[np.ndarray, "*batch tokens dim"],
        *,
        weights: Float[np.ndarray, "*batch tokens"] | None = None,
        mask: Bool[np.ndarray, "*shape"] | None = None,
        backend: Backend = "auto",
    ) -> tuple[Float[np.ndarray, "*batch tokens dim"], tuple[AttentionStep, ...]]:
        """Return the moved tokens and the attention step of each head."""


def _divided(tokens: np.ndarray) -> np.ndarray:
    """Return every token over its norm; a zero token stays zero."""
    norms = np.linalg.norm(tokens, axis=-1, keepdims=True)
    return np.asarray(tokens / np.where(norms > 0, norms, 1.0))


def _check_heads(heads: Any) -> None:
    if isinstance(heads, Head) or not isinstance(heads, tuple | list):
        raise BadInputError(f"heads is {type(heads).__name__}, expected a tuple of heads, such as heads=(head,)")
    if not heads:
        raise BadInputError("a layer needs at least one head; one whose value is zero adds nothing")


def _means(
    heads: tuple[Head, ...], tokens: np.ndarray, weights: np.ndarray | None, mask: np.ndarray | None, backend: Backend
) -> tuple[np.ndarray, tuple[AttentionStep, ...]]:
    """Return the sum of the means of all heads, and their attention steps."""
    steps = tuple(head.attend(tokens, weights=weights, mask=mask, backend=backend) for head in heads)
    # Summed in the order of the heads, so that the result has the same bits with every backend.
    total = steps[0].means
    for step in steps[1:]:
        total = total + step.means
    if total.shape != tokens.shape:
        raise BadInputError(f"value matrices map tokens of shape {tokens.shape} to {total.shape}")
    return total, steps


def checked_tokens(tokens: object) -> Float[np.ndarray, "tokens dim"]:
    """Return tokens as a float64 matrix, or raise a :class:`BadInputError` that says what is wrong."""
    if isinstance(tokens, str | PathLike):
        raise BadInputError(f"tokens is a path; read the file first: read_tokens({str(tokens)!r})")
    if isinstance(tokens, list | tuple) and len({np.shape(part) for part in tokens if np.ndim(part) == 2}) > 1:
        raise BadInputError("tokens are sets of different sizes; run_ragged(sets, layers) takes many sets")
    array = as_array(tokens)
    if array.dtype.kind not in "fiub":
        raise BadInputError(f"tokens must be real numbers, got {array.dtype}")
    if array.ndim != 2 or 0 in array.shape:
        raise BadInputError(f"tokens must be a (tokens, dim) matrix with at least one row, got {array.shape}")
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        some = listing(bad)
        raise BadInputError(f"tokens {some} have NaN or infinite coordinates; remove or repair them")
    return array
