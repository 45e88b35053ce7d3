"""Hardmax layers as the compiled kernels take them, and whether they apply."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.attention import Head
from tokendyn.dynamics.freeze import log_shares
from tokendyn.dynamics.freeze import shares as shares_left
from tokendyn.dynamics.layers import Layer
from tokendyn.dynamics.ragged_leader_kernels import largest_row_sum
from tokendyn.errors import BadInputError
from tokendyn.scales import power_of_two

#: The kernel holds the closed form of every pair of layers, 8 MB at this number of layers.
MOST_LAYERS = 1000

#: Shares kept and taken at each step, shares of a way that are left, their logarithms: see :func:`way_of`.
Way = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

#: Matrices of queries and keys, and their rank and norms: see :func:`head_of`.
HeadParts = tuple[np.ndarray, np.ndarray, tuple[int, float, float]]


@dataclass(frozen=True)
class HardmaxStack:
    """Layers of one hardmax head with a fixed ``A``, for which :func:`tokendyn.dynamics.freeze.may_freeze` holds.

    Attributes
    ----------
    layers
        The layers; there may be none.
    way, head
        Arguments of the kernels: their steps and their head.
    applies
        Whether the kernels may run them; else every set is left to :func:`tokendyn.dynamics.run`.
    """

    layers: tuple[Layer, ...]
    way: Way
    head: HeadParts
    applies: bool

    @classmethod
    def of(cls, layers: Sequence[Layer], dim: int) -> "HardmaxStack":
        """Return the layers for tokens of ``dim`` coordinates."""
        head = layers[0].heads[0] if layers else Head()
        parts = head_of(head.score if head.query is None else head.query, head.key, dim)
        return cls(
            layers=tuple(layers),
            way=way_of(tuple(layer.alpha for layer in layers)),
            head=parts,
            applies=(
                head.tie_tolerance == 0
                and len(layers) <= MOST_LAYERS
                and all(power_of_two(matrix) == 1 for matrix in parts[:2] if matrix.size)
            ),
        )

    def rows(self, first: int, last: int, unsure: Bool[np.ndarray, " sets"]) -> Int[np.ndarray, " rows"]:
        """Return the sets ``first`` to ``last`` for the kernels; none, and all unsure, where they do not apply."""
        if self.applies:
            return np.arange(first, last)
        unsure[first:last] = True
        return np.empty(0, dtype=np.int64)


@lru_cache(maxsize=64)
def way_of(alphas: tuple[float, ...]) -> Way:
    """Return the arguments of the kernels for the steps of all layers.

    ``1 / (1 + alpha)`` and the share of each step; the share of a way that is left at layer t after layer k,
    ``[t, k]``; the logarithms of those after layer 0.
    """
    steps = np.array(alphas, dtype=np.float64)
    logarithms = log_shares([Layer(alpha) for alpha in alphas]) if alphas else np.zeros(1)
    left = np.ones((0, 0)) if len(alphas) > MOST_LAYERS else np.ones((len(alphas) + 1, len(alphas) + 1))
    for layer in range(len(left)):
        left[layer, : layer + 1] = shares_left(logarithms, layer)
    return 1.0 / (1.0 + steps), steps / (1.0 + steps), left, logarithms


def head_of(
    query: Float[np.ndarray, "rank dim"] | None, key: Float[np.ndarray, "rank dim"] | None, dim: int
) -> HeadParts:
    """Return the arguments of the kernels for a head: its two matrices, empty for none; their rank and two norms."""
    for matrix in (query, key):
        if matrix is not None and matrix.shape[1] != dim:
            raise BadInputError(f"a matrix of shape {matrix.shape} does not fit tokens of {dim} coordinates")
    none = np.empty((0, 0))
    first, second = (none if matrix is None else np.ascontiguousarray(matrix) for matrix in (query, key))
    rank = dim if query is None else len(query)
    return first, second, (rank, float(largest_row_sum(first)), float(largest_row_sum(second)))
