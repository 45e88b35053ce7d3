"""How far the directions of tokens agree: inner products of pairs, at one time or over a run; rank of their matrix."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention.checks import as_array
from tokendyn.errors import BadInputError, listing
from tokendyn.scales import power_of_two

#: Entries of the inner products that are held at once: 32 MiB.
_BLOCK = 2**22

#: The quantiles of :class:`Alignment`.
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)

#: Bins of the histogram on [-1, 1]; the quantiles are read from 20 times as many.
_BINS, _FINER = 50, 20


@dataclass(frozen=True)
class Alignment:
    """The inner products ``<x_i, x_j> / (|x_i| |x_j|)`` of all pairs ``i < j``.

    Attributes
    ----------
    mean, least, most
        Their mean and extremes.
    quantiles
        At the levels ``LEVELS``, to within 0.001.
    merged
        Share of the pairs whose angle is at most the given one.
    edges, counts
        Histogram on [-1, 1].
    """

    mean: float
    least: float
    most: float
    quantiles: tuple[float, ...]
    merged: float
    edges: Float[np.ndarray, " edges"]
    counts: Int[np.ndarray, " bins"]


def pair_alignment(tokens: Float[np.ndarray, "tokens dim"], *, merged_angle: float = 0.05) -> Alignment:
    """Return mean, extremes, quantiles and histogram of the inner products of pairs of directions.

    Parameters
    ----------
    tokens
        ``(tokens, dim)``, two or more, none of them zero; states of a run or of a real model.
    merged_angle
        Two tokens at an angle of at most this, in radians, count as merged.

    Raises
    ------
    BadInputError
        If there are fewer than two tokens, one is zero or not finite, or the angle is not between 0 and pi.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics import pair_alignment
    >>> pair_alignment(np.eye(3)).mean
    0.0
    """
    if not 0 <= merged_angle <= math.pi:
        raise BadInputError(f"merged_angle must lie between 0 and pi, got {merged_angle!r}")
    directions = directions_of(tokens)
    # The inner product of a direction with itself may be below 1 by rounding.
    agreeing = math.cos(merged_angle) - 4 * np.finfo(float).eps
    count, rows = len(directions), max(1, _BLOCK // len(directions))
    fine = np.zeros(_BINS * _FINER, dtype=np.int64)
    total, least, most, merged = 0.0, math.inf, -math.inf, 0
    for first in range(0, count - 1, rows):
        block = directions[first : first + rows]
        products = np.clip(block @ directions[first:].T, -1.0, 1.0)
        above = products[np.triu_indices(len(block), 1, products.shape[1])]
        total += float(above.sum())
        least, most = min(least, float(above.min())), max(most, float(above.max()))
        merged += int((above >= agreeing).sum())
        fine += np.histogram(above, bins=len(fine), range=(-1, 1))[0]
    pairs = count * (count - 1) // 2
    edges = np.linspace(-1, 1, len(fine) + 1)
    inner = np.interp(np.array(LEVELS) * pairs, np.concatenate([[0], np.cumsum(fine)]), edges)
    return Alignment(
        mean=total / pairs,
        least=least,
        most=most,
        quantiles=tuple(float(level) for level in np.clip(inner, least, most)),
        merged=merged / pairs,
        edges=edges[::_FINER],
        counts=fine.reshape(_BINS, _FINER).sum(axis=1),
    )


def effective_rank(tokens: Float[np.ndarray, "tokens dim"]) -> float:
    """Return ``exp(-sum_k p_k log p_k)``, ``p_k = s_k / sum s`` for the singular values ``s_k`` (Roy, Vetterli 2007).

    1 for a matrix of rank one, ``min(tokens, dim)`` for orthogonal tokens.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics import effective_rank
    >>> round(effective_rank(np.eye(4)), 12)
    4.0
    """
    values = np.linalg.svd(_matrix(tokens), compute_uv=False)
    shares = values[values > 0] / max(values.sum(), np.finfo(float).tiny)
    return float(np.exp(-(shares * np.log(shares)).sum())) if shares.size else 0.0


def rank_one_residual(tokens: Float[np.ndarray, "tokens dim"]) -> float:
    """Return ``min_x |X - 1 x^T|_F / |X|_F``: how far the tokens are from one and the same (Dong et al. 2021).

    The minimiser x is the mean of the tokens. 0 when all tokens are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics import rank_one_residual
    >>> rank_one_residual(np.ones((5, 3)))
    0.0
    """
    matrix = _matrix(tokens)
    # Squares of coordinates of extreme size would overflow or underflow.
    matrix = matrix / power_of_two(matrix)
    size = float(np.linalg.norm(matrix))
    # One token is subtracted first: the mean of equal tokens would differ from them by rounding.
    offsets = matrix - matrix[0]
    return float(np.linalg.norm(offsets - offsets.mean(axis=0))) / size if size else 0.0


def directions_of(tokens: Float[np.ndarray, "tokens dim"]) -> Float[np.ndarray, "tokens dim"]:
    """Return every token over its norm, or raise a :class:`BadInputError` that names a token without direction."""
    matrix = _matrix(tokens)
    if len(matrix) < 2:
        raise BadInputError("pairs need two tokens or more, got 1")
    largest = np.abs(matrix).max(axis=1)
    if not largest.all():
        raise BadInputError(f"token {int(np.argmin(largest))} is zero: it has no direction; remove it")
    scaled = matrix / largest[:, None]
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1)[:, None])


def _matrix(tokens: object) -> np.ndarray:
    given = as_array(tokens)
    if given.dtype.kind not in "fiub" or given.ndim != 2 or 0 in given.shape:
        raise BadInputError(f"tokens must be a (tokens, dim) matrix of real numbers, got {given.dtype} {given.shape}")
    matrix = given.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if bad.size:
        raise BadInputError(f"tokens {listing(bad)} have NaN or infinite coordinates; remove or repair them")
    return matrix
