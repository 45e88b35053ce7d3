"""Tokens whose leader is certain for ever need not attend again: the freeze theorem (our own)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention.step import Backend
from tokendyn.dynamics.freeze_kernels import place_frozen
from tokendyn.dynamics.layers import Layer

_MATRICES = ("score", "query", "key")


@dataclass(frozen=True)
class Following:
    """The part of an attention step that a trajectory keeps."""

    leaders: Int[np.ndarray, " tokens"]
    tie_counts: Int[np.ndarray, " tokens"]
    tie_spreads: Float[np.ndarray, " tokens"]

    def copy(self) -> "Following":
        """Return a copy."""
        return Following(self.leaders.copy(), self.tie_counts.copy(), self.tie_spreads.copy())


@dataclass(frozen=True)
class FrozenMotion:
    """The way of tokens that all follow one point for ever, in closed form.

    Token i follows ``v``, the place of its leader, from layer ``k = since_i`` on (freeze theorem)::

        z_i(t) = v + prod_{k <= s < t} 1 / (1 + alpha_s) (z_i(k) - v),   t >= k.

    Attributes
    ----------
    since
        ``(tokens,)``: the layer from which each is frozen.
    origins
        ``(tokens, dim)``: its place then.
    leaders
        ``(tokens,)``: whom it follows.
    log_shares
        ``(layers + 1,)``: ``sum_{s < t} log 1 / (1 + alpha_s)``.
    """

    since: Int[np.ndarray, " tokens"]
    origins: Float[np.ndarray, "tokens dim"]
    leaders: Int[np.ndarray, " tokens"]
    log_shares: Float[np.ndarray, " layers_plus_1"]

    @property
    def first_layer(self) -> int:
        """The layer from which the closed form holds for every token."""
        return int(self.since.max())

    def at(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return the tokens at a layer not before :attr:`first_layer`."""
        state = np.empty_like(self.origins)
        place_frozen(state, self.origins, self.leaders, self.since, shares(self.log_shares, layer))
        return state


class Frozen:
    """Tokens in a run, of which some follow one point for ever, by the freeze theorem (our own).

    If all leaders of token i sit on one point v, and all leaders of the tokens on v sit on v too, then i follows v
    in every later layer: expand ``<A z_i', z_j'>`` bilinearly; each of the four terms is at most the one with
    v in place of ``z_j'``. It needs a fixed A, not a symmetric one; alpha may vary.

    Attributes
    ----------
    state
        ``(tokens, dim)``: the tokens now.
    active
        Numbers of the tokens that are not frozen.
    following
        What each token found when it attended last.
    motion
        Frozen tokens; ``since`` is -1 while a token is active.
    """

    def __init__(self, tokens: Float[np.ndarray, "tokens dim"], layers: Sequence[Layer]) -> None:
        count = len(tokens)
        self.state = tokens.copy()
        self.active = np.arange(count)
        self.following = Following(np.arange(count), np.zeros(count, dtype=np.int64), np.zeros(count))
        decay = -np.log1p([layer.alpha for layer in layers])
        log_shares = np.concatenate([[0.0], np.cumsum(decay)])
        since = np.full(count, -1, dtype=np.int64)
        self.motion = FrozenMotion(since, tokens.copy(), self.following.leaders, log_shares)

    def step(self, layer: Layer, number: int, weights: Float[np.ndarray, " tokens"] | None, backend: Backend) -> None:
        """Apply layer ``number``, in which only active tokens attend.

        Equal to the layer itself, up to rounding of the closed form, and except where followers that have converged
        onto a point tie with it by rounding: frozen tokens keep what they found.
        """
        if not self.active.size:
            return
        rows, state, found = self.active, self.state, self.following
        step = layer.heads[0].attend(state, weights=weights, rows=rows, backend=backend)
        found.leaders[rows], found.tie_counts[rows], found.tie_spreads[rows] = (
            step.leaders,
            step.tie_counts,
            step.tie_spreads,
        )
        certain = (step.tie_spreads == 0) & self._leads_itself(step.leaders)
        now = rows[certain]
        self.motion.since[now], self.motion.origins[now] = number, state[now]
        self.active = rows[~certain]
        left = state[self.active]
        moved = left + layer.alpha / (1 + layer.alpha) * (step.means[~certain] - left)
        self._place(number + 1)
        self.state[self.active] = moved

    def advance(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return the state after ``layer`` layers; nothing is computed for layers in between when all are frozen."""
        if not self.active.size:
            self._place(layer)
        return self.state

    def _place(self, layer: int) -> None:
        motion = self.motion
        place_frozen(self.state, motion.origins, motion.leaders, motion.since, shares(motion.log_shares, layer))

    def _leads_itself(self, tokens: Int[np.ndarray, " rows"]) -> np.ndarray:
        """Return which tokens sit on the point that they follow."""
        leaders, inverse = np.unique(tokens, return_inverse=True)
        found = self.following
        on_it = (self.state[found.leaders[leaders]] == self.state[leaders]).all(axis=1)
        return (on_it & (found.tie_spreads[leaders] == 0))[inverse]


def shares(log_shares: Float[np.ndarray, " layers_plus_1"], layer: int) -> Float[np.ndarray, " since"]:
    """Return, for each layer k up to ``layer``, the share of the way that is left after the layers k to ``layer``."""
    return np.asarray(np.exp(log_shares[layer] - log_shares[: layer + 1]))


def may_freeze(layers: Sequence[Layer]) -> bool:
    """Return whether the freeze theorem speaks of these layers: one hardmax head, ``A`` fixed, ``V = I``."""
    first = layers[0].heads[0]
    return all(
        len(layer.heads) == 1
        and layer.feed_forward is None
        and np.isinf(head.inverse_temperature)
        and head.value is None
        and (head is first or all(np.array_equal(getattr(head, name), getattr(first, name)) for name in _MATRICES))
        for layer in layers
        for head in layer.heads[:1]
    )
