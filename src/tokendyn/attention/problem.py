"""The values that the dispatcher and its backends exchange about one attention step.

A backend imports this module and never the dispatcher above it, :mod:`tokendyn.attention.dispatch`.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

#: Processor seconds of the direct softmax kernel for a pair of row and key, per coordinate of key and value plus this
#: number. All seconds of the cost estimates are those of the machine of docs/benchmarks.md (2026-11-22);
#: ``benchmarks/thresholds.py`` shows whether they still choose well.
DIRECT_SECONDS, DIRECT_EXTRA = 0.3e-9, 10


@dataclass(frozen=True)
class Choice:
    """The backend of a step.

    Attributes
    ----------
    backend
        Name of the backend that computed the means.
    reason
        Why it was chosen, in words.
    error_bound
        Bound on ``|m_i - exact|_2 / max_j |v_j|_2``; 0 for direct and hardmax backends, exact to rounding.
    """

    backend: str
    reason: str
    error_bound: float = 0.0


#: The choice where no row attends.
NOTHING = Choice("fused", "no token attends")


@dataclass(frozen=True)
class Problem:
    """One attention step as a backend sees it: checked, unmasked, contiguous float64, one set of tokens.

    Attributes
    ----------
    queries, slack
        ``(rows, score_dim)`` and ``(rows,)``: active queries, and how far below the top a score may be and still tie.
    keys, values, weights
        ``(tokens, score_dim)``, ``(tokens, value_dim)``, ``(tokens,)``.
    inverse_temperature
        ``beta > 0``; ``inf`` is hardmax.
    error_tolerance
        Largest accepted ``|m_i - exact|_2 / max_j |v_j|_2``.
    """

    queries: Float[np.ndarray, "rows score_dim"]
    slack: Float[np.ndarray, " rows"]
    keys: Float[np.ndarray, "tokens score_dim"]
    values: Float[np.ndarray, "tokens value_dim"]
    weights: Float[np.ndarray, " tokens"]
    inverse_temperature: float = math.inf
    error_tolerance: float = 0.0

    @property
    def pairs(self) -> int:
        """Queries times keys."""
        return len(self.queries) * len(self.keys)

    @cached_property
    def query_norms(self) -> Float[np.ndarray, " rows"]:
        """``|q_i|_2``."""
        return np.sqrt(np.einsum("ij,ij->i", self.queries, self.queries))

    @cached_property
    def key_norms(self) -> Float[np.ndarray, " tokens"]:
        """``|k_j|_2``."""
        return np.sqrt(np.einsum("ij,ij->i", self.keys, self.keys))

    @cached_property
    def sharpness(self) -> float:
        """Return ``beta max|q_i| max|k_j|``: half the largest spread of logits."""
        return self.inverse_temperature * float(self.query_norms.max()) * float(self.key_norms.max())

    @cached_property
    def has_unit_keys(self) -> bool:
        """Whether all keys lie on the unit sphere, to ``1e-12``."""
        return bool(np.abs(self.key_norms - 1.0).max() <= 1e-12)

    @property
    def direct_seconds(self) -> float:
        """Estimated processor seconds of the direct softmax kernel."""
        return DIRECT_SECONDS * self.pairs * (self.queries.shape[1] + self.values.shape[1] + DIRECT_EXTRA)


@dataclass(frozen=True)
class Offer:
    """The cost estimate of a softmax backend for a problem, and the reason why it applies."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Softmax:
    """The result of a softmax backend.

    Attributes
    ----------
    means
        ``(rows, value_dim)``.
    log_partitions
        ``(rows,)``: ``log sum_j w_j exp(beta s_ij)``.
    error_bound
        Bound on the relative error of every mean; see :class:`Choice`.
    note
        A remark for the reason of the choice ("12 rows recomputed").
    """

    means: Float[np.ndarray, "rows value_dim"]
    log_partitions: Float[np.ndarray, " rows"]
    error_bound: float
    note: str = ""


def nothing_found(shape: tuple[int, ...], value_dim: int) -> tuple[np.ndarray, ...]:
    """Return the fields of :class:`~tokendyn.attention.AttentionStep` with the values of masked tokens."""
    return (
        np.zeros((*shape, value_dim)),
        np.full(shape, -1, dtype=np.int64),
        np.zeros(shape, dtype=np.int64),
        np.zeros(shape),
        np.full(shape, -math.inf),
        np.full(shape, -math.inf),
    )
