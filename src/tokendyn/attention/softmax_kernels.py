"""The direct softmax in one compiled pass over tiles: running maximum, vectorised exponential, fused sums.

Rows are processed ``ROWS`` at a time and stored coordinate by coordinate, keys ``KEYS`` at a time, so that a tile of
scores stays in the first-level cache and each inner loop runs over rows. Sums have no canonical order here, so products
may fuse with sums (``contract``); no other fast arithmetic is allowed, because the range reduction of
:func:`exp_clamped` relies on exact rounding.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

#: Rows and keys of a tile: 32 kB of scores.
ROWS = 128
KEYS = 32

#: Number of tiles whose sum joins the total at once: rounding grows like ``n / (KEYS TILES)``, not ``n``.
TILES = 32

#: Lower limit of exponents: ``e^-600 = 3e-261`` is far below the last digit of any sum whose largest term is 1, and
#: still a normal number. Denormal numbers would make the sums ten times slower.
LEAST_EXPONENT = -600.0

LOG2_E = 1.4426950408889634
# ln 2 = LN2_HIGH + LN2_LOW; LN2_HIGH ends in zeros, so that its product with a small integer is exact.
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
LN2_LOW = 1.9082149292705877e-10
# Adding 1.5 * 2^52 rounds to an integer and leaves that integer in the lowest bits of the sum.
ROUNDER = 6755399441055744.0


@intrinsic
def _bits(typing_context, number):
    """Return the 64 bits of a float as an integer."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _float(typing_context, bits):
    """Return the float of 64 bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@njit(inline="always", error_model="numpy", fastmath=False)
def exp_clamped(x):
    """Return ``e^max(x, -600)`` for ``x <= 700``, without branch or call, so that loops over it vectorise.

    ``e^x = 2^k e^r`` with ``|r| <= ln(2) / 2``: the polynomial of degree 11 that interpolates ``e^r`` at Chebyshev
    nodes (relative error 3.2e-18), and ``k`` added to the exponent bits. Largest error seen: 1.1 ulp.
    """
    x = x if x > LEAST_EXPONENT else LEAST_EXPONENT
    shifted = x * LOG2_E + ROUNDER
    k = shifted - ROUNDER
    r = x - k * LN2_HIGH
    r = r - k * LN2_LOW
    p = 2.5110037605963777e-08
    p = p * r + 2.763263963904103e-07
    p = p * r + 2.755724091857897e-06
    p = p * r + 2.4801485482328494e-05
    p = p * r + 0.00019841269890047113
    p = p * r + 0.0013888888952314775
    p = p * r + 0.008333333333319601
    p = p * r + 0.0416666666664881
    p = p * r + 0.1666666666666668
    p = p * r + 0.5000000000000019
    p = p * r + 1.0
    p = p * r + 1.0
    return _float(_bits(p) + (_bits(shifted) << 52))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def exponentials(x, out):
    """Fill ``out`` with :func:`exp_clamped` of every entry."""
    for i in range(x.size):
        out[i] = exp_clamped(x[i])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def online_sums(queries, keys, channels, sums, references):
    """Fill ``sums[i, c] = sum_j e^(<q_i, k_j> - r_i) channels[j, c]``, ``references[i] = r_i = max_j <q_i, k_j>``."""
    rows, dim = queries.shape
    total_keys, width = channels.shape
    q = np.empty((dim, ROWS))
    tile = np.empty((KEYS, ROWS))
    part = np.empty((width, ROWS))
    total = np.empty((width, ROWS))
    top = np.empty(ROWS)
    new_top = np.empty(ROWS)
    for start in range(0, rows, ROWS):
        for c in range(dim):
            for r in range(ROWS):
                q[c, r] = queries[min(start + r, rows - 1), c]
        part[:] = 0.0
        total[:] = 0.0
        for r in range(ROWS):
            top[r] = -1e300
        for first in range(0, total_keys, KEYS):
            count = min(KEYS, total_keys - first)
            _score_tile(q, keys, first, count, tile)
            for r in range(ROWS):
                new_top[r] = top[r]
            _tile_maxima(tile, count, new_top)
            _rescale(top, new_top, part, total)
            _exponentiate(tile, count, top)
            _accumulate(tile, count, channels, first, part)
            if (first // KEYS) % TILES == TILES - 1:
                total += part
                part[:] = 0.0
        total += part
        for r in range(min(ROWS, rows - start)):
            references[start + r] = top[r]
            for c in range(width):
                sums[start + r, c] = total[c, r]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _score_tile(q, keys, first, count, tile):
    """Fill ``tile[j, r]`` with the score of row ``r`` against key ``first + j``."""
    dim = q.shape[0]
    if dim == 2:
        q0, q1 = q[0], q[1]
        for j in range(count):
            scores = tile[j]
            k0, k1 = keys[first + j, 0], keys[first + j, 1]
            for r in range(ROWS):
                scores[r] = q0[r] * k0 + q1[r] * k1
    elif dim == 3:
        q0, q1, q2 = q[0], q[1], q[2]
        for j in range(count):
            scores = tile[j]
            k0, k1, k2 = keys[first + j, 0], keys[first + j, 1], keys[first + j, 2]
            for r in range(ROWS):
                scores[r] = q0[r] * k0 + q1[r] * k1 + q2[r] * k2
    else:
        for j in range(count):
            scores = tile[j]
            k0, q0 = keys[first + j, 0], q[0]
            for r in range(ROWS):
                scores[r] = q0[r] * k0
            for c in range(1, dim):
                kc, qc = keys[first + j, c], q[c]
                for r in range(ROWS):
                    scores[r] = scores[r] + qc[r] * kc


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _tile_maxima(tile, count, top):
    for j in range(count):
        scores = tile[j]
        for r in range(ROWS):
            top[r] = scores[r] if scores[r] > top[r] else top[r]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _rescale(top, new_top, part, total):
    """Move the sums of each row from its old maximum to the new one."""
    for r in range(ROWS):
        if new_top[r] > top[r]:
            factor = exp_clamped(top[r] - new_top[r])
            top[r] = new_top[r]
            for c in range(part.shape[0]):
                part[c, r] *= factor
                total[c, r] *= factor


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _exponentiate(tile, count, top):
    for j in range(count):
        scores = tile[j]
        for r in range(ROWS):
            scores[r] = exp_clamped(scores[r] - top[r])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _accumulate(tile, count, channels, first, part):
    """Add ``tile[j, r] channels[first + j, c]`` to ``part[c, r]``, four keys at a time to spare loads and stores."""
    fours = count - count % 4
    for c in range(part.shape[0]):
        sums = part[c]
        for j in range(0, fours, 4):
            e0, e1, e2, e3 = tile[j], tile[j + 1], tile[j + 2], tile[j + 3]
            at = first + j
            f0, f1, f2, f3 = channels[at, c], channels[at + 1, c], channels[at + 2, c], channels[at + 3, c]
            for r in range(ROWS):
                sums[r] = sums[r] + ((e0[r] * f0 + e1[r] * f1) + (e2[r] * f2 + e3[r] * f3))
        for j in range(fours, count):
            e0, f0 = tile[j], channels[first + j, c]
            for r in range(ROWS):
                sums[r] = sums[r] + e0[r] * f0
