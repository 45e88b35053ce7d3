"""An attention head: the matrices of queries, keys and values, and the temperature."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.attention.checks import as_float64, as_mask, as_matrix, check_parameters
from tokendyn.attention.step import AttentionStep, Backend, attend, canonical_linear
from tokendyn.errors import BadInputError, ScaleError
from tokendyn.scales import power_of_two


@dataclass(frozen=True)
class Head:
    """An attention head: the matrices of queries, keys and values, and the temperature.

    Give either ``score`` (the matrix ``A`` of ``s_ij = <A z_i, z_j>``) or ``query`` and ``key`` (the matrices
    ``Q``, ``K`` of ``s_ij = <Q z_i, K z_j>``, so that ``A = K^T Q``), or none for ``A = I``.

    Attributes
    ----------
    score, query, key
        ``(dim, dim)``, ``(rank, dim)``, ``(rank, dim)`` float64.
    value
        ``V``, ``(dim, dim)``; None is the identity.
    inverse_temperature
        ``beta > 0``; ``inf`` is hardmax.
    tie_tolerance
        See :func:`attend`.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.attention import Head
    >>> tokens = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.2]])
    >>> Head(score=np.diag([0.0, 1.0])).attend(tokens).leaders
    array([0, 1, 1])
    >>> Head(score=np.diag([0.0, 1.0])).attend(tokens).tie_counts
    array([3, 1, 1])
    """

    score: Float[np.ndarray, "dim dim"] | None = None
    query: Float[np.ndarray, "rank dim"] | None = None
    key: Float[np.ndarray, "rank dim"] | None = None
    value: Float[np.ndarray, "dim dim"] | None = None
    inverse_temperature: float = math.inf
    tie_tolerance: float = 0.0

    def __post_init__(self) -> None:
        if (self.query is None) != (self.key is None):
            raise BadInputError("query and key come together; give both, or the score matrix A")
        if self.score is not None and self.query is not None:
            raise BadInputError("give either the score matrix A, or query and key, not both")
        for name in ("score", "query", "key", "value"):
            matrix = getattr(self, name)
            if matrix is not None:
                object.__setattr__(self, name, as_matrix(name, matrix, square=name in ("score", "value")))
        if self.query is not None and self.key is not None and self.query.shape != self.key.shape:
            raise BadInputError(f"query {self.query.shape} and key {self.key.shape} must have the same shape")
        check_parameters(self.inverse_temperature, self.tie_tolerance)

    def queries(self, tokens: Float[np.ndarray, "*batch tokens dim"]) -> Float[np.ndarray, "*batch tokens rank"]:
        """Return ``A z_i`` or ``Q z_i``."""
        return _apply(self.score if self.query is None else self.query, tokens)

    def keys(self, tokens: Float[np.ndarray, "*batch tokens dim"]) -> Float[np.ndarray, "*batch tokens rank"]:
        """Return ``z_j`` or ``K z_j``."""
        return _apply(self.key, tokens)

    def values(self, tokens: Float[np.ndarray, "*batch tokens dim"]) -> Float[np.ndarray, "*batch tokens dim"]:
        """Return ``V z_j``."""
        return _apply(self.value, tokens)

    def attend(
        self,
        tokens: Float[np.ndarray, "*batch tokens dim"],
        *,
        weights: Float[np.ndarray, "*batch tokens"] | None = None,
        mask: Bool[np.ndarray, "*shape"] | None = None,
        rows: Int[np.ndarray, " rows"] | Sequence[int] | None = None,
        backend: Backend = "auto",
        error_tolerance: float = 0.0,
        find_leaders: bool = True,
    ) -> AttentionStep:
        """Let the tokens attend to each other through this head; see :func:`attend`."""
        tokens = as_float64(tokens)
        if tokens.ndim < 2:
            raise BadInputError(f"tokens must be (..., tokens, dim), got shape {tokens.shape}")
        exists, pairs = as_mask(mask, tokens.shape[:-1], tokens.shape[:-1])
        if not exists.all():
            tokens = np.where(exists[..., None], tokens, 0.0)
        head, units, scaled = self, 1.0, tokens
        if math.isinf(self.inverse_temperature) and np.isfinite(tokens).all():
            head, units, scaled = self._lifted(tokens)
        with np.errstate(over="ignore", invalid="ignore"):
            parts = head.queries(scaled), head.keys(scaled), self.values(tokens)
        if np.isfinite(tokens).all() and not all(np.isfinite(part).all() for part in parts):
            raise ScaleError("the head's matrices map finite tokens beyond the largest float64; scale them down")
        step = head._attend(
            parts, weights, exists if pairs is None else pairs, rows, backend, error_tolerance, find_leaders
        )
        return step if units == 1 else replace(step, top_scores=step.top_scores * units)

    def _lifted(self, tokens: np.ndarray) -> tuple["Head", float, np.ndarray]:
        """Return head and tokens whose products do not underflow, and the factor of the scores: powers of two."""
        unit = min(power_of_two(tokens), 1.0)
        head, units = self, unit * unit
        for name in ("score", "query", "key"):
            matrix = getattr(self, name)
            if matrix is not None and power_of_two(matrix) < 1:
                head = replace(head, **{name: matrix / power_of_two(matrix)})
                units *= power_of_two(matrix)
        return head, units, tokens if unit == 1 else tokens / unit

    def _attend(
        self,
        parts: tuple[np.ndarray, np.ndarray, np.ndarray],
        weights: np.ndarray | None,
        mask: np.ndarray,
        rows: Int[np.ndarray, " rows"] | Sequence[int] | None,
        backend: Backend,
        error_tolerance: float,
        find_leaders: bool,
    ) -> AttentionStep:
        return attend(
            *parts,
            inverse_temperature=self.inverse_temperature,
            tie_tolerance=self.tie_tolerance,
            weights=weights,
            mask=mask,
            rows=rows,
            backend=backend,
            error_tolerance=error_tolerance,
            find_leaders=find_leaders,
        )


def _apply(
    matrix: Float[np.ndarray, "out dim"] | None, tokens: Float[np.ndarray, "*batch tokens dim"]
) -> Float[np.ndarray, "*batch tokens out"]:
    tokens = as_float64(tokens)
    if matrix is None:
        return tokens
    if tokens.ndim < 2 or tokens.shape[-1] != matrix.shape[1]:
        raise BadInputError(f"a matrix of shape {matrix.shape} does not fit tokens of shape {tokens.shape}")
    return canonical_linear(tokens, matrix)
