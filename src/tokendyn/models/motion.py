"""What moves the tokens in one block: an exact split into heads, feed-forward part, biases and norm."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.models.families import Family
from tokendyn.models.parts import BlockNorms, HeadMatrices
from tokendyn.models.tracing import LayerView

#: The parts of a motion, in the order of its shares.
PARTS = ("heads", "feed-forward", "biases", "norm")


@dataclass(frozen=True)
class Motion:
    """The motion ``m = x' - x`` of the tokens in a block, as a sum.

    Attributes
    ----------
    parts
        ``(4, tokens, dim)`` in the order of :data:`PARTS`. Norms of the sums are linear maps once their scales are
        frozen at those of the run, so that each part goes through them alone. The bias of the values is in the heads,
        that of the feed-forward part in the feed-forward part.
    heads
        ``(heads, tokens)``: ``<p_i, m_i>`` of each head.
    error
        How far the sum of the parts is from the motion, as a share of its largest entry: rounding.
    """

    parts: Float[np.ndarray, "parts tokens dim"]
    heads: Float[np.ndarray, "heads tokens"]
    error: float

    @property
    def total(self) -> Float[np.ndarray, "tokens dim"]:
        """The sum of the parts."""
        return np.asarray(self.parts.sum(axis=0))

    def shares(self, first: int = 1) -> Float[np.ndarray, " parts"]:
        """Return ``sum_i <p_i, m_i> / sum_i |m_i|^2`` of each part, which add up to 1; NaN if nothing moves.

        Parameters
        ----------
        first
            Tokens before this one are left out: the first token of a decoder is far larger than the others.
        """
        total = self.total[first:]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.parts[:, first:] * total).sum(axis=(1, 2)) / (total * total).sum())

    def permuted_shares(self, generator: np.random.Generator, first: int = 1) -> Float[np.ndarray, " parts"]:
        """Return the shares with the parts of permuted tokens: the shares of a part that is the same for all tokens.

        Parameters
        ----------
        generator
            Of the permutation.
        first
            As in :meth:`shares`.
        """
        total = self.total[first:]
        parts = self.parts[:, first:][:, generator.permutation(len(total))]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((parts * total).sum(axis=(1, 2)) / (total * total).sum())

    def head_shares(self, first: int = 1) -> Float[np.ndarray, " heads"]:
        """Return the shares of single heads, which add up to that of all heads."""
        total = self.total[first:]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.heads[:, first:].sum(axis=1) / (total * total).sum())


def split_motion(view: LayerView, heads: HeadMatrices, family: Family, norms: BlockNorms) -> Motion:
    """Split the motion of a block.

    For post order ``x' = N2(y + F(y))``, ``y = N1(x + sum_h O_h z_h + b)``. With frozen scales ``N1 v = D1 v + b1``,
    and the parts are ``D2 D1 sum_h O_h z_h``, ``D2 F``, ``D2 (D1 b + b1) + b2`` and ``D2 D1 x - x``. For other orders
    the norm adds nothing, since the token itself passes no norm.

    Parameters
    ----------
    view
        The block in a run.
    heads
        Its heads.
    family
        For its order.
    norms
        Of the block.
    """
    inputs = view.norm_inputs
    first, second = norms.attention, norms.feed_forward
    first_scale = None if first is None else first.scale(inputs["attention"])
    second_scale = None if second is None else second.scale(inputs["feed_forward"])
    concatenated, fed = view.concatenated, view.fed
    assert concatenated is not None  # a block of a known family has run
    assert fed is not None
    tokens = len(concatenated)
    vectors = concatenated.reshape(tokens, len(heads), -1)
    outward = heads.output.transpose(1, 0, 2).reshape(heads.output.shape[1], -1)
    attended = concatenated @ outward.T
    bias = np.broadcast_to(heads.output_bias, attended.shape)
    post, zero = family.order == "post", np.zeros_like(attended)

    def inner(part: np.ndarray) -> np.ndarray:
        return part if first is None or first_scale is None else first.linear(part, first_scale)

    def outer(part: np.ndarray) -> np.ndarray:
        return part if second is None or second_scale is None else second.linear(part, second_scale)

    def both(part: np.ndarray) -> np.ndarray:
        return outer(inner(part)) if post else inner(part)

    shift = 0.0 if first is None else first.bias
    constant = inner(bias) + shift
    biases = (outer(constant) if post else constant) + (0.0 if second is None else second.bias)
    norm = both(view.entering) - view.entering if post else zero
    parts = np.stack([both(attended), outer(fed), biases, norm])
    total = parts.sum(axis=0)
    back = total
    for map_, scale in ((second if post else None, second_scale), (first, first_scale)):
        if map_ is not None and scale is not None:
            # The transpose of D v = g o P v / s is P (g o v) / s: P takes the mean away and is symmetric.
            back = map_.centred(back * map_.gain) / scale
    by_head = np.einsum("nhk,nhk->hn", vectors, (back @ outward).reshape(vectors.shape))
    change = view.leaving - view.entering
    error = float(np.abs(total - change).max() / (np.abs(change).max() or 1.0))
    return Motion(parts=parts, heads=by_head, error=error)
