"""What each token contributes to where the mean of its set ends: for many sets, and for one with its whole way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.dynamics import ragged_share_kernels as kernels
from tokendyn.dynamics.freeze import Frozen, may_freeze
from tokendyn.dynamics.layers import AnyLayer, Layer
from tokendyn.dynamics.ragged_hardmax import HardmaxStack
from tokendyn.dynamics.ragged_tokens import RaggedTokens, checked_sets, checked_weights, in_pieces
from tokendyn.dynamics.run import Progress
from tokendyn.errors import BadInputError
from tokendyn.shown import ShortRepr


@dataclass(frozen=True, repr=False)
class MeanShares(ShortRepr):
    """What each token of a set contributes to the mean of the set after the last layer.

    Attributes
    ----------
    shares
        ``(tokens,)``: ``w`` with ``sum_j p_j z_j(K) = sum_j w_j z_j(0)`` in each set, p the weights of sum 1; not
        negative, of sum 1.
    self_led
        ``(tokens,)``: which tokens are among their own leaders at the last layer.
    """

    shares: Float[np.ndarray, " tokens"]
    self_led: Bool[np.ndarray, " tokens"]


@dataclass(frozen=True)
class Passage:
    """One set in the layers, and the contribution of each of its tokens to the mean at the end.

    Attributes
    ----------
    states
        Tokens before the first and after each layer.
    leaders
        For each layer and token, the lowest index among the tokens that lead it.
    ties
        How many tokens lead it.
    self_led
        Which tokens are among their own leaders at the last layer; without layers, all.
    shares
        Float64 ``w`` with ``sum_j p_j z_j(K) = sum_j w_j z_j(0)``; not negative, sum 1.
    """

    states: Float[np.ndarray, "layers_and_one tokens dim"]
    leaders: Int[np.ndarray, "layers tokens"]
    ties: Int[np.ndarray, "layers tokens"]
    self_led: Bool[np.ndarray, " tokens"]
    shares: Float[np.ndarray, " tokens"]


#: The members of each tie at one layer, by the number of the token that follows them.
Members = dict[int, np.ndarray]


def mean_shares(
    sets: RaggedTokens | Iterable[Any],
    layers: Sequence[AnyLayer],
    *,
    weights: Float[np.ndarray, " tokens"] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> MeanShares:
    """Share the mean of each set after the last layer among its tokens before the first one (our own).

    A layer maps tokens linearly, ``z(k+1) = (c I + (1 - c) P_k) z(k)`` with ``c = 1 / (1 + alpha)`` and P_k the map
    from each token to the weighted mean of its leaders; so ``w <- c w + (1 - c) P_k^T w`` backwards from the normalised
    weights gives ``sum_j p_j z_j(K) = sum_j w_j z_j(0)``. Leaders do not depend on small moves of the tokens, except at
    ties, so w is also the gradient of the mean.

    Parameters
    ----------
    sets, weights, workers, progress
        As for :func:`run_ragged`.
    layers
        Hardmax layers of one head with the same ``A``, without ``V`` or feed-forward part; without any, the shares are
        the weights, and every token leads itself.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import Layer, mean_shares
    >>> mean_shares([np.array([[1.0, 0.0], [2.0, 0.0]])], [Layer(alpha=1.0)]).shares
    array([0.25, 0.75])
    """
    sets = checked_sets(sets)
    if layers and not may_freeze(layers):
        raise BadInputError(
            "mean_shares takes layers of one hardmax head with a fixed A, without V or feed-forward part"
        )
    stack = HardmaxStack.of([layer for layer in layers if isinstance(layer, Layer)], sets.dim)
    batch = ShareBatch(sets.tokens, sets.offsets, checked_weights(weights, sets), stack)
    for last in in_pieces(batch.run, sets, 0, workers):
        if progress is not None:
            progress(last, len(sets))
    return MeanShares(shares=batch.shares, self_led=batch.self_led)


class ShareBatch:
    """The arrays of :class:`MeanShares` while their sets are run.

    Parameters
    ----------
    tokens, offsets
        Finite float64 tokens and the ends of the sets, contiguous, as in :class:`RaggedTokens`.
    weights
        Positive weights of all tokens.
    stack
        The layers.
    """

    def __init__(
        self,
        tokens: Float[np.ndarray, "tokens dim"],
        offsets: Int[np.ndarray, " sets_plus_1"],
        weights: Float[np.ndarray, " tokens"],
        stack: HardmaxStack,
    ) -> None:
        self.tokens, self.offsets, self.weights, self.stack = tokens, offsets, weights, stack
        self.shares, self.self_led = np.zeros(len(tokens)), np.zeros(len(tokens), dtype=bool)
        self.unsure = np.zeros(len(offsets) - 1, dtype=bool)

    def run(self, first: int, last: int) -> None:
        """Share the means of the sets ``first`` to ``last``."""
        stack = self.stack
        kernels.share_sets(
            self.tokens, self.offsets, self.weights, stack.rows(first, last, self.unsure), stack.way, stack.head,
            len(stack.layers), self.shares, self.self_led, self.unsure,
        )  # fmt: skip
        for number in first + np.flatnonzero(self.unsure[first:last]):
            own = slice(self.offsets[number], self.offsets[number + 1])
            if own.start < own.stop:
                passage, _ = passage_by_core(self.tokens[own], self.weights[own], stack.layers)
                self.shares[own], self.self_led[own] = passage.shares, passage.self_led


def passage_of(
    tokens: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"], stack: HardmaxStack
) -> Passage:
    """Return the way of one set and the shares of its tokens, by one pass of the kernels.

    States, leaders and ties have the bits of :func:`tokendyn.dynamics.run`, shares those of :func:`mean_shares`.

    Parameters
    ----------
    tokens, weights
        Finite float64 tokens, and their positive weights; no token at all is allowed.
    stack
        The layers.
    """
    count, layers = len(tokens), len(stack.layers)
    states = np.empty((layers + 1, *tokens.shape))
    leaders, ties = np.empty((layers, count), dtype=np.int64), np.empty((layers, count), dtype=np.int64)
    self_led, shares = np.empty(count, dtype=bool), np.empty(count)
    sure = stack.applies and kernels.pass_of(
        np.ascontiguousarray(tokens), np.ascontiguousarray(weights), stack.way, stack.head, layers,
        states, leaders, ties, shares, self_led,
    )  # fmt: skip
    if not sure:
        return passage_by_core(tokens, weights, stack.layers)[0]
    return Passage(states, leaders, ties, self_led, shares)


def passage_by_core(
    tokens: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"], layers: Sequence[Layer]
) -> tuple[Passage, list[Members]]:
    """Run one set as :func:`tokendyn.dynamics.run` does, which alone decides ties between different points.

    Return also who leads the tokens that have several leaders, layer by layer.
    """
    p = weights / np.sum(weights)
    if not layers:
        none = np.empty((0, len(p)), dtype=np.int64)
        return Passage(tokens[None].copy(), none, none, np.ones(len(p), dtype=bool), p), []
    frozen = Frozen(np.ascontiguousarray(tokens), layers, weights=weights)
    states, leaders, ties, members = [tokens.copy()], [], [], list[Members]()
    for number, layer in enumerate(layers):
        frozen.step(layer, number)
        states.append(frozen.advance(number + 1).copy())
        leaders.append(frozen.following.leaders.copy())
        ties.append(frozen.following.tie_counts.copy())
        members.append({token: frozen.followed(token) for token in np.flatnonzero(ties[-1] > 1).tolist()})
    self_led = leaders[-1] == np.arange(len(weights))
    for token, several in members[-1].items():
        self_led[token] = token in several
    shares = _shares_backwards(p, layers, leaders, members)
    return Passage(np.stack(states), np.stack(leaders), np.stack(ties), self_led, shares), members


def _shares_backwards(
    p: Float[np.ndarray, " tokens"], layers: Sequence[Layer], leaders: list[np.ndarray], members: list[Members]
) -> Float[np.ndarray, " tokens"]:
    """Return ``w <- c w + (1 - c) P_k^T w`` from ``w = p``, for the layers k backwards."""
    w = p
    for layer, leader, ties in zip(reversed(layers), reversed(leaders), reversed(members), strict=True):
        c = 1.0 / (1.0 + layer.alpha)
        spare, single = c * w, np.ones(len(w), dtype=bool)
        single[list(ties)] = False
        np.add.at(spare, leader[single], (1.0 - c) * w[single])
        for token, several in ties.items():
            spare[several] += (1.0 - c) * w[token] * p[several] / np.sum(p[several])
        w = spare
    return w
