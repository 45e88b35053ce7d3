"""Fused kernels: scores, maxima, ties and means in one compiled pass over tiles, one thread.

Rows are processed ``ROWS`` at a time. A filter (:mod:`tokendyn.attention.tops`) finds the largest score of every row in
every block of keys, up to rounding; canonical scores are computed only in the blocks within the slack of the largest,
so that leaders, ties and means are canonical to the last bit (``fastmath`` is off there).
Kernels have no annotations: numba infers them, and shape checks would not compile.
"""

import math

import numpy as np
from numba import njit

from tokendyn.attention.problem import nothing_found
from tokendyn.attention.softmax_kernels import LEAST_EXPONENT, exp_clamped
from tokendyn.attention.tops import GROUP, KEYS, raise_tops

#: Rows of a tile.
ROWS = 256

#: Largest number of blocks in the filter: the top scores of 512 blocks and 256 rows are 1 MB.
MOST_BLOCKS = 512
#: Smallest number of keys of a block.
LEAST_BLOCK = 8


def step_batch(
    inverse_temperature: float,
    queries: np.ndarray,
    attends: np.ndarray,
    slack: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray,
    mask: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Return the fields of :class:`~tokendyn.attention.AttentionStep` for a batch of checked inputs."""
    fields = nothing_found(attends.shape, values.shape[2])
    arrays = _ready(queries, attends, slack, keys, values, weights, mask)
    _step_batch(float(inverse_temperature), *arrays, *fields)
    return fields


def hardmax(
    queries: np.ndarray, slack: np.ndarray, keys: np.ndarray, values: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return means, leaders, tie counts, tie spreads, top scores and masses of ``C_i`` for one set of tokens."""
    return _hardmax(*_ready(queries, slack, keys, values, weights))


def leaders(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the leader of every query."""
    return hardmax(queries, np.zeros(len(queries)), keys, keys, np.ones(len(keys)))[1]


def softmax_rows(
    queries: np.ndarray, keys: np.ndarray, values: np.ndarray, weights: np.ndarray, inverse_temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return means and log partition functions of some rows, directly, exact to rounding."""
    queries, keys, values, weights = _ready(queries, keys, values, weights)
    tops = _hardmax(queries, np.zeros(len(queries)), keys, values, weights)[4]
    means, masses = _softmax(queries, keys, values, weights, tops, float(inverse_temperature))
    return means, inverse_temperature * tops + np.log(masses)


def _ready(*arrays: np.ndarray) -> list[np.ndarray]:
    """Return the arrays contiguous and writeable: numba compiles once for each kind of array."""
    return [np.require(array, requirements=["C", "W"]) for array in arrays]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _step_batch(
    inverse_temperature, queries, attends, slack, keys, values, weights, mask,
    means, leaders, counts, spreads, tops, log_masses,
):  # fmt: skip
    for item in range(len(attends)):
        asking, alive = np.flatnonzero(attends[item]), np.flatnonzero(mask[item])
        if len(asking) == 0:
            continue
        q, s = queries[item], slack[item]
        if len(asking) < len(q):
            q, s = q[asking], s[asking]
        k, v, w = keys[item], values[item], weights[item]
        if len(alive) < len(k):
            k, v, w = k[alive], v[alive], w[alive]
        mean, leader, count, spread, top, mass = _hardmax(q, s, k, v, w)
        if inverse_temperature != np.inf:
            mean, mass = _softmax(q, k, v, w, top, inverse_temperature)
        for r in range(len(asking)):
            i = asking[r]
            means[item, i] = mean[r]
            leaders[item, i] = alive[leader[r]]
            counts[item, i] = count[r]
            spreads[item, i] = spread[r]
            tops[item, i] = top[r]
            log_masses[item, i] = math.log(mass[r])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _hardmax(queries, slack, keys, values, weights):
    n, d = queries.shape
    size = _block_size(len(keys))
    width = min(ROWS, (max(n, 1) + GROUP - 1) // GROUP * GROUP)
    blocks = (len(keys) + size - 1) // size
    means = np.zeros((n, values.shape[1]))
    leaders = np.empty(n, dtype=np.int64)
    counts = np.empty(n, dtype=np.int64)
    spreads = np.empty(n)
    tops = np.empty(n)
    masses = np.empty(n)
    q = np.empty((d, width))
    block_tops = np.empty((blocks, width))
    best, second, best_block = np.empty(width), np.empty(width), np.empty(width, dtype=np.int64)
    padded = _padded(keys)
    radius = np.abs(keys).max()
    for start in range(0, n, width):
        rows = min(width, n - start)
        if rows <= width - GROUP:  # The last tile is narrower.
            width_left = (rows + GROUP - 1) // GROUP * GROUP
            q, block_tops = np.empty((d, width_left)), np.empty((blocks, width_left))
            best, second, best_block = np.empty(width_left), np.empty(width_left), np.empty(width_left, dtype=np.int64)
        for c in range(d):
            for r in range(q.shape[1]):
                q[c, r] = queries[start + min(r, rows - 1), c]
        _filter(q, padded, size, block_tops, best, second, best_block)
        for r in range(rows):
            i = start + r
            # Filter and canonical score err by less than (d + 2) eps |q|_1 max|k| each; 8 is twice the four errors of
            # two keys, and 1e-300 covers underflow. No key of a block below the cut can lead or tie.
            total = 0.0
            for c in range(d):
                total += abs(q[c, r])
            cut = best[r] - slack[i] - 8 * (d + 2) * 2.3e-16 * total * radius - 1e-300
            # The common case: only one block can contain leaders. If two keys of it tie, the general path decides.
            if second[r] < cut:
                first = best_block[r] * size
                leader, top, next_top = _two_best(queries, i, keys, first, min(first + size, len(keys)))
                if next_top < top - slack[i]:
                    leaders[i], counts[i], spreads[i], tops[i], masses[i] = leader, 1, 0.0, top, weights[leader]
                    for c in range(values.shape[1]):
                        means[i, c] = values[leader, c]
                    continue
            leaders[i], counts[i], spreads[i], tops[i], masses[i] = _decide(
                queries[i], slack[i], keys, values, weights, block_tops, r, size, cut, means[i]
            )
    return means, leaders, counts, spreads, tops, masses


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _block_size(keys):
    """Return the size of a block, at which comparing the blocks and deciding within one cost about the same."""
    size = LEAST_BLOCK
    while size * size < keys // 2 or size * MOST_BLOCKS < keys:
        size *= 2
    return size


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _padded(keys):
    """Return the keys, repeated up to the number that the filter processes at once."""
    if len(keys) >= KEYS:
        return keys
    padded = np.empty((KEYS, keys.shape[1]))
    for j in range(KEYS):
        padded[j] = keys[min(j, len(keys) - 1)]
    return padded


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _filter(q, keys, size, block_tops, best, second, best_block):
    """Fill ``block_tops``; for each row the largest of them, the block where it is, and the second largest."""
    best[:], second[:], best_block[:] = -np.inf, -np.inf, 0
    for b in range(block_tops.shape[0]):
        tops = block_tops[b]
        tops[:] = -np.inf
        raise_tops(q, keys, b * size, min((b + 1) * size, len(keys)), tops)
        for r in range(len(best)):
            top, old = tops[r], best[r]
            larger = top > old
            lower = old if larger else top
            second[r] = lower if lower > second[r] else second[r]
            best_block[r] = b if larger else best_block[r]
            best[r] = top if larger else old


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _two_best(queries, i, keys, first, last):
    """Return the first key of the largest canonical score in a range, that score, and the next one."""
    d = keys.shape[1]
    leader, top, next_top = first, -np.inf, -np.inf
    q0, q1, q2 = queries[i, 0], queries[i, min(1, d - 1)], queries[i, min(2, d - 1)]
    for j in range(first, last):
        if d == 2:
            s = q0 * keys[j, 0] + q1 * keys[j, 1]
        elif d == 3:
            s = q0 * keys[j, 0] + q1 * keys[j, 1] + q2 * keys[j, 2]
        else:
            s = q0 * keys[j, 0]
            for c in range(1, d):
                s = s + queries[i, c] * keys[j, c]
        # Selections instead of branches, which would be mispredicted: the order of scores is random.
        larger = s > top
        lower = top if larger else s
        next_top = lower if lower > next_top else next_top
        leader = j if larger else leader
        top = s if larger else top
    return leader, top, next_top


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _decide(query, slack, keys, values, weights, block_tops, r, size, cut, mean):
    """Find the canonical ``C_i`` of one row in all blocks above the cut, in index order; write its mean."""
    # Two passes: the slack counts from the largest score, which must be known before any member is summed.
    top = -np.inf
    for b in range(len(block_tops)):
        if block_tops[b, r] >= cut:
            for j in range(b * size, min((b + 1) * size, len(keys))):
                top = max(top, _score(query, keys, j))
    leader, count, spread, mass = -1, 0, 0.0, 0.0
    for b in range(len(block_tops)):
        if block_tops[b, r] >= cut:
            for j in range(b * size, min((b + 1) * size, len(keys))):
                if _score(query, keys, j) >= top - slack:
                    if leader < 0:
                        leader = j
                    count += 1
                    mass += weights[j]
                    for c in range(values.shape[1]):
                        mean[c] += weights[j] * values[j, c]
                        spread = max(spread, abs(values[j, c] - values[leader, c]))
    for c in range(values.shape[1]):
        # Equal values are their mean to the bit; the quotient of sums could miss it by rounding.
        mean[c] = values[leader, c] if spread == 0.0 else mean[c] / mass
    return leader, count, spread, top, mass


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _score(query, keys, j):
    """Return the canonical score of one key."""
    s = query[0] * keys[j, 0]
    for c in range(1, len(query)):
        s = s + query[c] * keys[j, c]
    return s


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _softmax(queries, keys, values, weights, tops, inverse_temperature):
    """Return the softmax means of all rows, and their partition functions relative to the top score."""
    n, d = queries.shape
    means, masses = np.zeros((n, values.shape[1])), np.zeros(n)
    q = np.empty((d, ROWS))
    for start in range(0, n, ROWS):
        rows = min(ROWS, n - start)
        for c in range(d):
            for r in range(ROWS):
                q[c, r] = queries[start + min(r, rows - 1), c]
        _softmax_tile(
            q, keys, values, weights, tops[start : start + rows], inverse_temperature,
            means[start : start + rows], masses[start : start + rows],
        )  # fmt: skip
    return means, masses


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _scores_of_key(q, key, score):
    """Fill ``score[r]`` with the canonical score of row ``r`` against one key."""
    k0, q0 = key[0], q[0]
    for r in range(ROWS):
        score[r] = q0[r] * k0
    for c in range(1, q.shape[0]):
        kc, qc = key[c], q[c]
        for r in range(ROWS):
            score[r] = score[r] + qc[r] * kc


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _softmax_tile(q, keys, values, weights, tops, inverse_temperature, means, masses):
    """Overwrite means and masses of a tile of rows by those of the softmax.

    Every loop runs over all ``ROWS`` (missing rows repeat the last one), so that it vectorises. Terms below ``e^-600``
    count as zero.
    """
    width = values.shape[1]
    term, top, mass = np.empty(ROWS), np.empty(ROWS), np.zeros(ROWS)
    sums = np.zeros((width, ROWS))
    for r in range(ROWS):
        top[r] = tops[min(r, len(tops) - 1)]
    for j in range(keys.shape[0]):
        _scores_of_key(q, keys[j], term)
        weight = weights[j]
        for r in range(ROWS):
            exponent = inverse_temperature * (term[r] - top[r])
            term[r] = weight * exp_clamped(exponent) if exponent > LEAST_EXPONENT else 0.0
            mass[r] += term[r]
        for c in range(width):
            value, total = values[j, c], sums[c]
            for r in range(ROWS):
                total[r] += term[r] * value
    for r in range(len(tops)):
        masses[r] = mass[r]
        for c in range(width):
            means[r, c] = sums[c, r] / mass[r]
