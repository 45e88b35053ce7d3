"""One transformer layer on a set of tokens."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.attention import AttentionStep, Head
from tokendyn.attention.checks import as_array
from tokendyn.attention.step import Backend
from tokendyn.errors import BadInputError, listing


@dataclass(frozen=True)
class FeedForward:
    """A residual two-layer perceptron on each token: ``z + W2 relu(W1 z + b1) + b2``.

    Attributes
    ----------
    inner, inner_bias
        ``W1`` of shape ``(width, dim)``, ``b1`` of shape ``(width,)``.
    outer, outer_bias
        ``W2`` of shape ``(dim, width)``, ``b2`` of shape ``(dim,)``.
    """

    inner: Float[np.ndarray, "width dim"]
    inner_bias: Float[np.ndarray, " width"]
    outer: Float[np.ndarray, "dim width"]
    outer_bias: Float[np.ndarray, " dim"]

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
        hidden = np.maximum(tokens @ self.inner.T + self.inner_bias, 0.0)
        return tokens + hidden @ self.outer.T + self.outer_bias


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
        if not (np.isfinite(self.alpha) and self.alpha > 0):
            raise BadInputError(f"alpha must be positive and finite, got {self.alpha}")
        if not self.heads:
            raise BadInputError("a layer needs at least one head")

    def __call__(
        self,
        tokens: Float[np.ndarray, "*batch tokens dim"],
        *,
        weights: Float[np.ndarray, "*batch tokens"] | None = None,
        mask: Bool[np.ndarray, "*shape"] | None = None,
        backend: Backend = "auto",
    ) -> tuple[Float[np.ndarray, "*batch tokens dim"], tuple[AttentionStep, ...]]:
        """Return the moved tokens and what each head found. Masked tokens stay where they are."""
        steps = tuple(head.attend(tokens, weights=weights, mask=mask, backend=backend) for head in self.heads)
        target = steps[0].means
        for step in steps[1:]:
            target = target + step.means
        if target.shape != tokens.shape:
            raise BadInputError(f"value matrices map tokens of shape {tokens.shape} to {target.shape}")
        moved = tokens + self.alpha / (1 + self.alpha) * (target - tokens)
        if self.feed_forward is not None:
            moved = self.feed_forward(moved)
        return (moved if mask is None else np.where((steps[0].leaders >= 0)[..., None], moved, tokens)), steps


def checked_tokens(tokens: object) -> Float[np.ndarray, "tokens dim"]:
    """Return tokens as a float64 matrix, or raise a :class:`BadInputError` that says what is wrong."""
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
