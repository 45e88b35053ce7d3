"""Tokens whose leader is certain for ever need not attend again: the freeze theorem (our own)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention.step import Backend
from tokendyn.dynamics.layers import Layer

_MATRICES = ("score", "query", "key")


@dataclass(frozen=True)
class Following:
    """The part of an attention step that a trajectory keeps."""

    leaders: Int[np.ndarray, " tokens"]
    tie_counts: Int[np.ndarray, " tokens"]
    tie_spreads: Float[np.ndarray, " tokens"]


@dataclass(frozen=True)
class Frozen:
    """Tokens that follow one point for ever, by the freeze theorem (our own).

    If all leaders of token i sit on one point v, and all leaders of the tokens on v sit on v too, then i follows v
    in every later layer: expand ``<A z_i', z_j'>`` bilinearly; each of the four terms is at most the one with
    v in place of ``z_j'``. It needs a fixed A, not a symmetric one; alpha may vary.

    Attributes
    ----------
    leaders, tie_counts
        ``(tokens,)``: what each token found when it froze; leader -1 while it is active.
    """

    leaders: Int[np.ndarray, " tokens"]
    tie_counts: Int[np.ndarray, " tokens"]

    @classmethod
    def none(cls, tokens: int) -> "Frozen":
        """Return the start: every token is active."""
        return cls(np.full(tokens, -1, dtype=np.int64), np.zeros(tokens, dtype=np.int64))

    def step(
        self,
        layer: Layer,
        state: Float[np.ndarray, "tokens dim"],
        weights: Float[np.ndarray, " tokens"] | None,
        backend: Backend,
    ) -> tuple[Float[np.ndarray, "tokens dim"], Following]:
        """Apply a layer in which only active tokens attend.

        To the last bit what the layer itself does, except where followers that have converged onto a point tie
        with it by rounding: frozen tokens keep what they found.
        """
        active = np.flatnonzero(self.leaders < 0)
        leaders, counts, spreads = self.leaders.copy(), self.tie_counts.copy(), np.zeros(len(state))
        target = state[leaders]
        if active.size:
            step = layer.heads[0].attend(state, weights=weights, rows=active, backend=backend)
            leaders[active], counts[active], spreads[active] = step.leaders, step.tie_counts, step.tie_spreads
            target[active] = step.means
            leads = (spreads == 0) & (state[leaders] == state).all(axis=1)
            now = active[(spreads[active] == 0) & leads[leaders[active]]]
            self.leaders[now], self.tie_counts[now] = leaders[now], counts[now]
        moved = state + layer.alpha / (1 + layer.alpha) * (target - state)
        return moved, Following(leaders, counts, spreads)


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
