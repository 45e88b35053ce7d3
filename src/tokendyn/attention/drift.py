"""Softmax attention in difference form: the displacement of a token, accurate far below the rounding of its position.

Collapsed clusters drift with forces of 1e-18 and less. ``sum_j p_ij x_j`` minus the token itself loses them to
rounding; ``sum_j p_ij (x_j - x_i)`` does not, because the difference of close floating-point numbers is exact.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError, ScaleError

#: Largest magnitude of ``beta <a_i, x_j - x_i>``; beyond it the exponents themselves lose all digits.
MAX_EXPONENT = 1e15


@dataclass(frozen=True)
class Drift:
    """The result of :func:`softmax_drift`; ``p_ij`` are the softmax weights, ``sigma_ij`` the sign of ``<x_i, x_j>``.

    Attributes
    ----------
    shifts
        ``(tokens, dim)``: ``sum_j p_ij (x_j - sigma_ij x_i)``.
    signs
        ``(tokens,)``: ``sum_j p_ij sigma_ij``; so the mean is ``signs x_i + shifts``.
    log_masses
        ``(tokens,)``: ``log sum_j w_j e^{beta <a_i, x_j>}``.
    self_weights
        ``(tokens,)``: ``p_ii``.
    effective_sizes
        ``(tokens,)``: ``1 / sum_j p_ij^2``, the effective number of tokens that token i attends to.
    """

    shifts: Float[np.ndarray, "tokens dim"]
    signs: Float[np.ndarray, " tokens"]
    log_masses: Float[np.ndarray, " tokens"]
    self_weights: Float[np.ndarray, " tokens"]
    effective_sizes: Float[np.ndarray, " tokens"]


def softmax_drift(
    queries: Float[np.ndarray, "tokens dim"],
    tokens: Float[np.ndarray, "tokens dim"],
    *,
    inverse_temperature: float,
    weights: Float[np.ndarray, " tokens"],
    causal: bool = False,
    threads: int = 1,
) -> Drift:
    """Let every token attend to all (or, ``causal``, to itself and those before it), in difference form.

    ``p_ij = w_j e^{beta <a_i, x_j>} / sum_l w_l e^{beta <a_i, x_l>}`` with queries ``a_i``. Scores are also computed as
    ``<a_i, x_j - x_i>``. Terms below ``e^-700`` of the largest one of a row count as zero. Cost ``O(tokens^2)``.

    Parameters
    ----------
    queries, tokens
        float64, finite; keys are the tokens themselves.
    inverse_temperature
        ``beta``, finite, zero or more.
    weights
        Positive.
    causal
        Whether token i attends to the tokens ``j <= i`` only.
    threads
        Number of threads that share the rows; the result does not depend on it.

    Raises
    ------
    ScaleError
        If exponents exceed ``MAX_EXPONENT``.
    BadInputError
        If shapes do not match or the number of threads is below one.
    """
    if queries.shape != tokens.shape or weights.shape != tokens.shape[:1] or threads < 1:
        raise BadInputError(
            f"queries {queries.shape}, tokens {tokens.shape}, weights {weights.shape}, {threads} threads; expected "
            "(tokens, dim) twice, (tokens,) and at least one thread"
        )
    largest = 2 * inverse_temperature * np.abs(queries).max() * np.abs(tokens).max() * tokens.shape[1]
    if not largest < MAX_EXPONENT:
        raise ScaleError(
            f"exponents reach {largest:.1e}, where float64 resolves none of their digits; expected beta |a_i| |x_j| "
            f"below {MAX_EXPONENT:.0e}: lower beta, or scale the tokens or the score matrix down"
        )
    from tokendyn.attention.drift_kernels import ROWS, drift_rows

    queries, tokens, weights = map(np.ascontiguousarray, (queries, tokens, weights))
    count = len(tokens)
    shifts = np.empty_like(tokens)
    signs, tops, masses, squares, own = np.empty((5, count))

    def part(first: int, last: int) -> None:
        outputs = shifts, signs, tops, masses, squares, own
        drift_rows(first, last, queries, tokens, weights, float(inverse_temperature), causal, *outputs)

    if threads == 1 or count <= ROWS:
        part(0, count)
    else:
        size = ROWS * max(1, count // (8 * threads * ROWS))
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda first: part(first, min(first + size, count)), range(0, count, size)))
    log_masses = inverse_temperature * ((queries * tokens).sum(axis=1) + tops) + np.log(masses)
    return Drift(shifts=shifts, signs=signs, log_masses=log_masses, self_weights=own, effective_sizes=1.0 / squares)


def tangent_of_linear(
    tokens: Float[np.ndarray, "tokens dim"], matrix: Float[np.ndarray, "dim dim"]
) -> Float[np.ndarray, "tokens dim"]:
    """Return ``P_x V x`` of every token, ``P_x = I - x x^T / <x, x>``, computed in twice the working precision.

    It is the velocity of a collapsed cluster; near an eigenvector of V the plain form consists of rounding only.
    """
    from tokendyn.attention import drift_kernels

    result: np.ndarray = drift_kernels.tangent_of_linear(
        np.ascontiguousarray(tokens, dtype=np.float64), np.ascontiguousarray(matrix, dtype=np.float64)
    )
    return result
