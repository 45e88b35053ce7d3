"""Kernels of the difference form of softmax attention: one compiled pass over tiles, one thread.

Rows are processed ``ROWS`` at a time and stored coordinate by coordinate, so that every inner loop runs over rows and
vectorises without reassociation. ``math.exp`` does not vectorise here, so the exponential is our own: argument
reduction by ``ln 2`` in two parts and a polynomial of degree 11 (error below 2 units in the last place).
Kernels have no annotations: numba infers them, and shape checks would not compile.
"""

import math

import numpy as np
from numba import njit

#: Rows of a tile, and keys of a block: blocks without any term above the threshold are skipped.
ROWS = 128
BLOCK = 64

#: Terms below ``e^-LOWEST`` times the largest one of a row count as zero: normal float64 numbers end at e^-708.
LOWEST = 700.0

_LOG2E = 1.4426950408889634
# ln 2 = _LN2_HIGH + _LN2_LOW; the first ends in zeros, so that its product with a small integer is exact.
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
#: ``exp(u) = 1 + u + u^2 (C_0 + C_1 u + ...)`` on ``|u| <= ln(2)/2``, interpolated at Chebyshev nodes.
_C = (
    0.5000000000000001,
    0.16666666666666669,
    0.04166666666662399,
    0.008333333333330051,
    0.0013888888917281794,
    0.00019841269863105968,
    2.480152119021773e-05,
    2.7557268378684192e-06,
    2.7620138719733994e-07,
    2.5100424157005067e-08,
)
#: 1.5 * 2^52: adding it rounds to an integer, which then stands in the low bits of the sum.
_ROUND = 6755399441055744.0
#: 2^27 + 1: splits a float into two halves of 26 bits (Dekker).
_SPLIT = 134217729.0


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def drift_rows(
    first, last, queries, tokens, weights, inverse_temperature, causal, shifts, signs, tops, masses, squares, own
):
    """Fill the rows ``first`` to ``last`` of the outputs; see :func:`tokendyn.attention.drift.softmax_drift`."""
    d = tokens.shape[1]
    blocks = (len(tokens) + BLOCK - 1) // BLOCK
    a, x = np.empty((d, ROWS)), np.empty((d, ROWS))
    block_tops = np.empty((blocks, ROWS))
    sums = np.empty((d, ROWS))
    top, sign, mass, square = np.empty(ROWS), np.empty(ROWS), np.empty(ROWS), np.empty(ROWS)
    for start in range(first, last, ROWS):
        rows = min(ROWS, last - start)
        for c in range(d):
            for r in range(ROWS):
                a[c, r] = queries[start + min(r, rows - 1), c]
                x[c, r] = tokens[start + min(r, rows - 1), c]
        visible = min(start + rows, len(tokens)) if causal else len(tokens)
        _block_maxima(a, x, tokens, start, visible, causal, block_tops, top)
        _sum_tile(
            a, x, tokens, weights, inverse_temperature, start, visible, causal, block_tops, top,
            sums, sign, mass, square,
        )  # fmt: skip
        for r in range(rows):
            i = start + r
            tops[i], masses[i], signs[i] = top[r], mass[r], sign[r] / mass[r]
            squares[i] = square[r] / (mass[r] * mass[r])
            own[i] = weights[i] * math.exp(-inverse_temperature * top[r]) / mass[r]
            for c in range(d):
                shifts[i, c] = sums[c, r] / mass[r]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _block_maxima(a, x, tokens, start, visible, causal, block_tops, top):
    """Fill ``block_tops[b, r]`` with the largest ``<a_r, x_j - x_r>`` of key block b, and ``top`` with that of all."""
    score = np.empty(ROWS)
    top[:] = -np.inf
    for b in range((visible + BLOCK - 1) // BLOCK):
        best = block_tops[b]
        best[:] = -np.inf
        for j in range(b * BLOCK, min((b + 1) * BLOCK, visible)):
            _scores(a, x, tokens, j, score)
            if causal:
                score[: max(0, min(j - start, ROWS))] = -np.inf
            for r in range(ROWS):
                best[r] = score[r] if score[r] > best[r] else best[r]
        for r in range(ROWS):
            top[r] = best[r] if best[r] > top[r] else top[r]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _scores(a, x, tokens, j, score):
    """Fill ``score[r]`` with ``<a_r, x_j - x_r>``: accurate also where the difference is far below the score."""
    k, a0, x0 = tokens[j, 0], a[0], x[0]
    for r in range(ROWS):
        score[r] = a0[r] * (k - x0[r])
    for c in range(1, tokens.shape[1]):
        k, ac, xc = tokens[j, c], a[c], x[c]
        for r in range(ROWS):
            score[r] = score[r] + ac[r] * (k - xc[r])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _sum_tile(
    a, x, tokens, weights, inverse_temperature, start, visible, causal, block_tops, top, sums, sign, mass, square
):
    """Sum the terms of a tile of rows, skipping key blocks in which all of them are zero."""
    score, term, side = np.empty(ROWS), np.empty(ROWS), np.empty(ROWS)
    rounded = np.empty(ROWS)
    term_bits, rounded_bits = term.view(np.int64), rounded.view(np.int64)
    sums[:], sign[:], mass[:], square[:] = 0.0, 0.0, 0.0, 0.0
    for b in range((visible + BLOCK - 1) // BLOCK):
        highest = -np.inf
        for r in range(ROWS):
            gap = block_tops[b, r] - top[r]
            highest = gap if gap > highest else highest
        if inverse_temperature * highest < -LOWEST:
            continue
        for j in range(b * BLOCK, min((b + 1) * BLOCK, visible)):
            _scores(a, x, tokens, j, score)
            for r in range(ROWS):
                score[r] = inverse_temperature * (score[r] - top[r])
            if causal:
                score[: max(0, min(j - start, ROWS))] = -np.inf
            _exponentials(score, rounded, rounded_bits, term, term_bits)
            _add_key(x, tokens[j], weights[j], term, side, sums, sign, mass, square)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _add_key(x, key, weight, term, side, sums, sign, mass, square):
    """Add the terms of one key, relative to the closer one of ``x_r`` and ``-x_r``."""
    k, x0 = key[0], x[0]
    for r in range(ROWS):
        side[r] = k * x0[r]
    for c in range(1, x.shape[0]):
        k, xc = key[c], x[c]
        for r in range(ROWS):
            side[r] = side[r] + k * xc[r]
    for r in range(ROWS):
        side[r] = 1.0 if side[r] >= 0.0 else -1.0
        term[r] = weight * term[r]
    for r in range(ROWS):
        mass[r] += term[r]
        square[r] += term[r] * term[r]
        sign[r] += term[r] * side[r]
    for c in range(x.shape[0]):
        k, xc, total = key[c], x[c], sums[c]
        for r in range(ROWS):
            total[r] += term[r] * (k - side[r] * xc[r])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _exponentials(score, rounded, rounded_bits, term, term_bits):
    """Fill ``term`` with ``exp(score)`` for scores that are zero or less; below ``-LOWEST`` it is zero."""
    for r in range(ROWS):
        s = score[r] if score[r] > -LOWEST else -LOWEST
        t = s * _LOG2E + _ROUND
        rounded[r] = t
        power = t - _ROUND
        u = (s - power * _LN2_HIGH) - power * _LN2_LOW
        u2 = u * u
        p = (_C[0] + _C[1] * u) + u2 * (_C[2] + _C[3] * u)
        q = (_C[4] + _C[5] * u) + u2 * (_C[6] + _C[7] * u)
        p = p + (u2 * u2) * (q + (u2 * u2) * (_C[8] + _C[9] * u))
        term[r] = 1.0 + (u + u2 * p)
    # Adding the integer to the exponent bits multiplies by that power of two.
    for r in range(ROWS):
        term_bits[r] = term_bits[r] + (rounded_bits[r] << 52)
    for r in range(ROWS):
        term[r] = term[r] if score[r] > -LOWEST else 0.0


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def tangent_of_linear(tokens, matrix):
    """Return ``P_x V x`` of every row in twice the working precision, ``P_x = I - x x^T / <x, x>``.

    Products and sums are split without error (Dekker, Numer. Math. 18 (1971); Knuth, TAOCP 2, 4.2.2): near an
    eigenvector of V the plain form consists of rounding only.
    """
    n, d = tokens.shape
    result = np.empty((n, d))
    high, low = np.empty(d), np.empty(d)
    for i in range(n):
        x = tokens[i]
        xx, xx_low, xy, xy_low = 0.0, 0.0, 0.0, 0.0
        for p in range(d):
            high[p], low[p] = 0.0, 0.0
            for q in range(d):
                high[p], low[p] = _add_product(high[p], low[p], matrix[p, q], x[q])
            xx, xx_low = _add_product(xx, xx_low, x[p], x[p])
            xy, xy_low = _add_product(xy, xy_low, x[p], high[p])
            xy_low += x[p] * low[p]
        ratio = xy / xx
        rest, rest_low = _add_product(xy, xy_low, -ratio, xx)
        ratio_low = (rest + (rest_low - ratio * xx_low)) / xx
        for p in range(d):
            top, bottom = _add_product(high[p], low[p], -ratio, x[p])
            result[i, p] = top + (bottom - ratio_low * x[p])
    return result


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _add_product(high, low, left, right):
    """Return ``(high + low) + left * right`` as a pair of the rounded sum and its remainder."""
    product = left * right
    t = _SPLIT * left
    left_high = t - (t - left)
    left_low = left - left_high
    t = _SPLIT * right
    right_high = t - (t - right)
    right_low = right - right_high
    error = ((left_high * right_high - product) + left_high * right_low + left_low * right_high) + left_low * right_low
    total = high + product
    part = total - high
    error += (high - (total - part)) + (product - part)
    return total, low + error
