"""One attention step, whatever computes it.

Symbols: tokens ``z_i`` are the rows of ``(..., tokens, dim)``; query ``q_i = A z_i`` (or ``Q z_i``), key
``k_j = z_j`` (or ``K z_j``), value ``v_j = V z_j``, score ``s_ij = <q_i, k_j>``, token weight ``w_j``.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.errors import BadInputError, ScaleError

Backend = Literal["auto", "dense", "fused"]
BACKENDS: tuple[Backend, ...] = ("auto", "dense", "fused")

#: Largest number of entries that :func:`attention_weights` returns as one dense array.
MAX_DENSE_ENTRIES = 2**26


@dataclass(frozen=True)
class AttentionStep:
    """What one attention step found for every token.

    Attributes
    ----------
    means
        ``(..., tokens, value_dim)`` float64: ``sum_j p_ij v_j``. Hardmax: the weighted mean of the leaders'
        values. Rows of masked tokens are zero.
    leaders
        ``(..., tokens)`` int64: lowest index of a token of maximal score; -1 for a masked token.
    tie_counts
        ``(..., tokens)`` int64: size of ``C_i``, the tokens within the tie tolerance of the maximal score.
    tie_spreads
        ``(..., tokens)`` float64: largest coordinate difference between the values of ``C_i`` and that of
        ``leaders``; 0 when a token follows a single point, however many tokens sit on it.
    top_scores
        ``(..., tokens)`` float64: ``max_j s_ij``; ``-inf`` for a masked token.
    log_masses
        ``(..., tokens)`` float64: ``log sum_j w_j exp(beta (s_ij - max_j s_ij))``, and its limit, the log
        of the weight of ``C_i``, for hardmax. ``-inf`` for a masked token.
    """

    means: Float[np.ndarray, "*batch tokens value_dim"]
    leaders: Int[np.ndarray, "*batch tokens"]
    tie_counts: Int[np.ndarray, "*batch tokens"]
    tie_spreads: Float[np.ndarray, "*batch tokens"]
    top_scores: Float[np.ndarray, "*batch tokens"]
    log_masses: Float[np.ndarray, "*batch tokens"]


def attend(
    queries: Float[np.ndarray, "*batch tokens score_dim"],
    keys: Float[np.ndarray, "*batch tokens score_dim"],
    values: Float[np.ndarray, "*batch tokens value_dim"],
    *,
    inverse_temperature: float = math.inf,
    tie_tolerance: float = 0.0,
    weights: Float[np.ndarray, "*batch tokens"] | None = None,
    mask: Bool[np.ndarray, "*batch tokens"] | None = None,
    rows: Int[np.ndarray, " rows"] | None = None,
    backend: Backend = "auto",
) -> AttentionStep:
    """Let every token, or those of ``rows``, attend to all tokens once.

    Softmax at inverse temperature ``beta``: ``p_ij = w_j e^{beta s_ij} / sum_l w_l e^{beta s_il}``.
    Hardmax (``beta = inf``): ``p_ij = w_j / sum_{l in C_i} w_l`` on the leaders
    ``C_i = {j : s_ij >= max_l s_il - slack_i}``, ``slack_i = tie_tolerance |q_i| max_j |k_j|``
    (arXiv 2407.01602, definition of ``C_i``; the tolerance is ours).

    The score is canonical: the left-to-right dot product in float64 with no fused multiply-add, so all
    backends agree in every leader, tie count and hardmax mean to the last bit. A zero query ties with
    all tokens.

    Parameters
    ----------
    queries, keys, values
        float64 arrays; leading axes are a batch.
    inverse_temperature
        ``beta > 0``; ``inf`` is hardmax.
    tie_tolerance
        Relative tolerance of a tie, ``>= 0``. It also decides ``tie_counts`` at finite temperature.
    weights
        Positive token weights, by default 1. Multiplicities are weights.
    mask
        True where a token exists. A masked token neither attends nor is attended to.
    rows
        Numbers of the tokens that attend, by default all; the result has one entry for each.
    backend
        ``"dense"``: tiled reference. ``"fused"``: compiled kernels. ``"auto"``: fused.

    Raises
    ------
    BadInputError
        For shapes that do not match, NaN or infinite entries of existing tokens, no token at all, or
        parameters out of range.
    ScaleError
        When scores or weighted sums could overflow: infinite scores cannot be compared.
    """
    queries, keys, values = (_as_float64(array) for array in (queries, keys, values))
    _check_parameters(inverse_temperature, tie_tolerance, backend)
    shape = _check_shapes(queries, keys, values)
    mask = _as_mask(mask, shape)
    weights = _as_weights(weights, shape, mask)
    if not mask.all():
        queries, keys, values = (np.where(mask[..., None], array, 0.0) for array in (queries, keys, values))
    _check_finite(queries, keys, values)
    _check_scale(queries, keys, values, weights)
    slack = _tie_slack(queries, keys, tie_tolerance)
    attends = mask
    if rows is not None:
        queries, slack, attends = queries[..., rows, :], slack[..., rows], mask[..., rows]

    arrays = (queries, attends, slack, keys, values, weights, mask)
    flat = [array.reshape(-1, *array.shape[len(shape) - 1 :]) for array in arrays]
    if backend == "dense":
        from tokendyn.attention import dense

        outputs = dense.step_batch(inverse_temperature, *flat)
    else:
        from tokendyn.attention import fused

        outputs = fused.step_batch(inverse_temperature, *flat)
    return AttentionStep(*(array.reshape(*attends.shape, *array.shape[2:]) for array in outputs))


def nothing_found(shape: tuple[int, ...], value_dim: int) -> tuple[np.ndarray, ...]:
    """Return the fields of :class:`AttentionStep` as they are for masked tokens, for a backend to fill in."""
    return (
        np.zeros((*shape, value_dim)),
        np.full(shape, -1, dtype=np.int64),
        np.zeros(shape, dtype=np.int64),
        np.zeros(shape),
        np.full(shape, -math.inf),
        np.full(shape, -math.inf),
    )


def attention_weights(
    queries: Float[np.ndarray, "rows score_dim"],
    keys: Float[np.ndarray, "tokens score_dim"],
    *,
    inverse_temperature: float = math.inf,
    tie_tolerance: float = 0.0,
    weights: Float[np.ndarray, " tokens"] | None = None,
) -> Float[np.ndarray, "rows tokens"]:
    """Return the weights ``p_ij`` of :func:`attend` for some query rows, as a dense matrix.

    With hardmax, ``C_i`` is the support of row ``i``.

    Raises
    ------
    BadInputError
        Also when the matrix would have more than ``MAX_DENSE_ENTRIES`` entries: ask for fewer rows.
    """
    queries, keys = _as_float64(queries), _as_float64(keys)
    _check_parameters(inverse_temperature, tie_tolerance, "auto")
    _check_finite(queries, keys)
    _check_scale(queries, keys)
    if queries.shape[0] * keys.shape[0] > MAX_DENSE_ENTRIES:
        raise BadInputError(
            f"a {queries.shape[0]} by {keys.shape[0]} weight matrix is too large; pass fewer query rows "
            f"(at most {max(1, MAX_DENSE_ENTRIES // keys.shape[0])} for {keys.shape[0]} tokens)"
        )
    weights = _as_weights(weights, keys.shape[:1], np.ones(keys.shape[:1], dtype=bool))
    scores = canonical_scores(queries, keys)
    top = scores.max(axis=1, keepdims=True)
    if math.isinf(inverse_temperature):
        slack = _tie_slack(queries, keys, tie_tolerance)
        masses = np.where(scores >= top - slack[:, None], weights, 0.0)
    else:
        masses = weights * np.exp(inverse_temperature * (scores - top))
    return masses / masses.sum(axis=1, keepdims=True)


def canonical_scores(
    queries: Float[np.ndarray, "rows score_dim"], keys: Float[np.ndarray, "tokens score_dim"]
) -> Float[np.ndarray, "rows tokens"]:
    """Return ``s_ij = (...(q_i1 k_j1 + q_i2 k_j2) + ...)``, each product and sum rounded once."""
    scores = queries[:, :1] * keys[:, 0]
    for column in range(1, queries.shape[1]):
        scores += queries[:, column : column + 1] * keys[:, column]
    return scores


def canonical_linear(
    tokens: Float[np.ndarray, "*batch tokens dim"], matrix: Float[np.ndarray, "out dim"]
) -> Float[np.ndarray, "*batch tokens out"]:
    """Return ``matrix @ z_i`` for every token, summed left to right without fused operations."""
    result = tokens[..., :1] * matrix[:, 0]
    for column in range(1, matrix.shape[1]):
        result += tokens[..., column : column + 1] * matrix[:, column]
    return result


@dataclass(frozen=True)
class Head:
    """An attention head: how tokens turn into queries, keys and values, and at which temperature.

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
                object.__setattr__(self, name, _as_matrix(name, matrix, square=name in ("score", "value")))
        if self.query is not None and self.key is not None and self.query.shape != self.key.shape:
            raise BadInputError(f"query {self.query.shape} and key {self.key.shape} must have the same shape")
        _check_parameters(self.inverse_temperature, self.tie_tolerance, "auto")

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
        mask: Bool[np.ndarray, "*batch tokens"] | None = None,
        rows: Int[np.ndarray, " rows"] | None = None,
        backend: Backend = "auto",
    ) -> AttentionStep:
        """Let the tokens attend to each other through this head; see :func:`attend`."""
        if mask is not None:
            tokens = np.where(mask[..., None], tokens, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            parts = self.queries(tokens), self.keys(tokens), self.values(tokens)
        if np.isfinite(tokens).all() and not all(np.isfinite(part).all() for part in parts):
            raise ScaleError("the head's matrices map finite tokens beyond the largest float64; scale them down")
        return attend(
            *parts,
            inverse_temperature=self.inverse_temperature,
            tie_tolerance=self.tie_tolerance,
            weights=weights,
            mask=mask,
            rows=rows,
            backend=backend,
        )


def _apply(
    matrix: Float[np.ndarray, "out dim"] | None, tokens: Float[np.ndarray, "*batch tokens dim"]
) -> Float[np.ndarray, "*batch tokens out"]:
    tokens = _as_float64(tokens)
    if matrix is None:
        return tokens
    if tokens.ndim < 2 or tokens.shape[-1] != matrix.shape[1]:
        raise BadInputError(f"a matrix of shape {matrix.shape} does not fit tokens of shape {tokens.shape}")
    return canonical_linear(tokens, matrix)


def _as_float64(array: np.ndarray) -> np.ndarray:
    try:
        array = np.asarray(array)
    except ValueError:
        raise BadInputError("rows of different lengths; every token needs every coordinate") from None
    if array.dtype.kind not in "fiub":
        raise BadInputError(f"expected real numbers, got an array of {array.dtype}")
    return np.asarray(array, dtype=np.float64)


def _as_matrix(name: str, matrix: np.ndarray, *, square: bool) -> np.ndarray:
    matrix = _as_float64(matrix)
    if matrix.ndim != 2 or matrix.size == 0 or (square and matrix.shape[0] != matrix.shape[1]):
        kind = "square matrix" if square else "matrix"
        raise BadInputError(f"{name} must be a {kind}, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise BadInputError(f"{name} has NaN or infinite entries")
    return matrix


def _check_parameters(inverse_temperature: float, tie_tolerance: float, backend: str) -> None:
    problems = []
    if not inverse_temperature > 0:
        problems.append(f"inverse_temperature must be positive (inf is hardmax), got {inverse_temperature}")
    if not 0 <= tie_tolerance < 1:
        problems.append(f"tie_tolerance must be in [0, 1), got {tie_tolerance}")
    if backend not in BACKENDS:
        problems.append(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if problems:
        raise BadInputError.all_of("attention", problems)


def _check_shapes(queries: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[int, ...]:
    """Return the shape ``(*batch, tokens)`` or raise."""
    if queries.ndim < 2 or queries.shape != keys.shape or queries.shape[:-1] != values.shape[:-1]:
        raise BadInputError(
            "queries, keys and values must be (..., tokens, dim) with the same tokens, and queries and keys "
            f"the same dim; got {queries.shape}, {keys.shape} and {values.shape}"
        )
    if 0 in queries.shape or 0 in values.shape:
        raise BadInputError(f"there is no token or no coordinate in shape {queries.shape}")
    return queries.shape[:-1]


def _check_finite(*arrays: np.ndarray) -> None:
    for array in arrays:
        if not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise BadInputError(f"NaN or infinite entry at index {where}; remove or mask that token")


def _check_scale(
    queries: np.ndarray, keys: np.ndarray, values: np.ndarray | None = None, weights: np.ndarray | None = None
) -> None:
    """Raise when a score, a squared norm or a weighted sum of values could exceed the largest double."""
    largest = max(float(np.abs(queries).max()), float(np.abs(keys).max()))
    bounds = [queries.shape[-1] * largest * largest]
    if values is not None and weights is not None:
        bounds.append(float(weights.sum(axis=-1).max()) * float(np.abs(values).max()))
    if not np.isfinite(bounds).all():
        raise ScaleError(f"scores or sums overflow float64 at entries of {largest:.3g}; scale the tokens down")


def _as_mask(mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if mask is None:
        return np.ones(shape, dtype=bool)
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != shape:
        raise BadInputError(f"mask must be bool of shape {shape}, got {mask.dtype} of shape {mask.shape}")
    return mask


def _as_weights(weights: np.ndarray | None, shape: tuple[int, ...], mask: np.ndarray) -> np.ndarray:
    if weights is None:
        return np.ones(shape)
    weights = _as_float64(weights)
    if weights.shape != shape:
        raise BadInputError(f"weights must have shape {shape}, got {weights.shape}")
    weights = np.where(mask, weights, 1.0)
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise BadInputError("token weights must be positive and finite; leave tokens of weight 0 out")
    return weights


def _tie_slack(queries: np.ndarray, keys: np.ndarray, tie_tolerance: float) -> np.ndarray:
    """Return ``tie_tolerance |q_i| max_j |k_j|``, shape ``(*batch, tokens)``."""
    if tie_tolerance == 0:
        return np.zeros(queries.shape[:-1])
    radius = np.sqrt((keys * keys).sum(axis=-1)).max(axis=-1, keepdims=True)
    return tie_tolerance * np.sqrt((queries * queries).sum(axis=-1)) * radius
