"""Fused kernels: scores, maxima, ties and means in one compiled pass over tiles, one thread.

Rows are taken ``ROWS`` at a time and kept coordinate by coordinate, so that the innermost loop runs over rows
and vectorises without reassociating anything: scores stay canonical (``fastmath`` is off). The first pass
keeps the maximum of every block of ``BLOCK`` keys; the second visits only blocks that hold a leader.
Kernels carry no annotations: numba infers them, and shape checks would not compile.
"""

import math

import numpy as np
from numba import njit

from tokendyn.attention.dispatch import nothing_found

ROWS = 256
BLOCK = 64


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
    found = nothing_found(attends.shape, values.shape[2])
    means, leaders, tie_counts, tie_spreads, top_scores, log_masses = found
    for item in range(len(attends)):
        alive, asking = np.flatnonzero(mask[item]), np.flatnonzero(attends[item])
        q, s = _chosen(item, asking, queries, slack)
        k, v, w = _chosen(item, alive, keys, values, weights)
        mean, leader, count, spread, top, mass = _step(q, s, k, v, w, float(inverse_temperature))
        at = (item, asking)
        means[at], leaders[at], tie_counts[at] = mean, alive[leader], count
        tie_spreads[at], top_scores[at], log_masses[at] = spread, top, np.log(mass)
    return found


def softmax_rows(
    queries: np.ndarray, keys: np.ndarray, values: np.ndarray, weights: np.ndarray, inverse_temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return means and log partition functions of some rows, directly, exact to rounding."""
    queries, keys, values, weights = map(np.ascontiguousarray, (queries, keys, values, weights))
    slack = np.zeros(len(queries))
    mean, _, _, _, top, mass = _step(queries, slack, keys, values, weights, float(inverse_temperature))
    return mean, inverse_temperature * top + np.log(mass)


def _chosen(item: int, places: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """Return the chosen rows of one item of a batch, contiguous, without a copy when all are chosen."""
    if places.size == arrays[0].shape[1]:
        return [np.ascontiguousarray(array[item]) for array in arrays]
    return [array[item, places] for array in arrays]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _step(queries, slack, keys, values, weights, inverse_temperature):
    n, d = queries.shape
    blocks = (len(keys) + BLOCK - 1) // BLOCK
    means = np.zeros((n, values.shape[1]))
    leaders = np.empty(n, dtype=np.int64)
    counts = np.zeros(n, dtype=np.int64)
    spreads = np.zeros(n)
    tops = np.empty(n)
    masses = np.zeros(n)
    q = np.empty((d, ROWS))
    block_tops = np.empty((blocks, ROWS))
    for start in range(0, n, ROWS):
        rows = min(ROWS, n - start)
        for c in range(d):
            for r in range(ROWS):
                q[c, r] = queries[start + min(r, rows - 1), c]
        _block_maxima(q, keys, block_tops)
        for r in range(rows):
            i = start + r
            top = block_tops[0, r]
            for b in range(1, blocks):
                top = max(top, block_tops[b, r])
            tops[i] = top
            leaders[i], counts[i], spreads[i], masses[i] = _hardmax_row(
                queries[i], keys, values, weights, block_tops, r, top - slack[i], means[i]
            )
        if inverse_temperature != np.inf:
            _softmax_tile(
                q, keys, values, weights, tops[start : start + rows], inverse_temperature,
                means[start : start + rows], masses[start : start + rows],
            )  # fmt: skip
    return means, leaders, counts, spreads, tops, masses


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _block_maxima(q, keys, block_tops):
    """Fill ``block_tops[b, r]`` with the largest score of row ``r`` in key block ``b``."""
    n, d = keys.shape
    score = np.empty(ROWS)
    for b in range(block_tops.shape[0]):
        best = block_tops[b]
        best[:] = -np.inf
        first, last = b * BLOCK, min((b + 1) * BLOCK, n)
        if d == 2:
            q0, q1 = q[0], q[1]
            for j in range(first, last):
                k0, k1 = keys[j, 0], keys[j, 1]
                for r in range(ROWS):
                    s = q0[r] * k0 + q1[r] * k1
                    best[r] = s if s > best[r] else best[r]
        elif d == 3:
            q0, q1, q2 = q[0], q[1], q[2]
            for j in range(first, last):
                k0, k1, k2 = keys[j, 0], keys[j, 1], keys[j, 2]
                for r in range(ROWS):
                    s = q0[r] * k0 + q1[r] * k1 + q2[r] * k2
                    best[r] = s if s > best[r] else best[r]
        else:
            for j in range(first, last):
                _scores_of_key(q, keys[j], score)
                for r in range(ROWS):
                    best[r] = score[r] if score[r] > best[r] else best[r]


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
def _hardmax_row(query, keys, values, weights, block_tops, r, threshold, mean):
    """Collect ``C_i`` of one row in index order; write its mean, return leader, count, spread, mass."""
    n, d = keys.shape
    leader, count, spread, mass = -1, 0, 0.0, 0.0
    for b in range(block_tops.shape[0]):
        if block_tops[b, r] < threshold:
            continue
        for j in range(b * BLOCK, min((b + 1) * BLOCK, n)):
            s = query[0] * keys[j, 0]
            for c in range(1, d):
                s = s + query[c] * keys[j, c]
            if s >= threshold:
                if leader < 0:
                    leader = j
                count += 1
                mass += weights[j]
                for c in range(values.shape[1]):
                    mean[c] += weights[j] * values[j, c]
                    spread = max(spread, abs(values[j, c] - values[leader, c]))
    for c in range(values.shape[1]):
        mean[c] = values[leader, c] if spread == 0.0 else mean[c] / mass
    return leader, count, spread, mass


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _softmax_tile(q, keys, values, weights, tops, inverse_temperature, means, masses):
    """Overwrite means and masses of a tile of rows by those of the softmax."""
    rows = tops.shape[0]
    score = np.empty(ROWS)
    means[:] = 0.0
    masses[:] = 0.0
    for j in range(keys.shape[0]):
        _scores_of_key(q, keys[j], score)
        for r in range(rows):
            term = weights[j] * math.exp(inverse_temperature * (score[r] - tops[r]))
            masses[r] += term
            for c in range(values.shape[1]):
                means[r, c] += term * values[j, c]
    for r in range(rows):
        for c in range(values.shape[1]):
            means[r, c] = means[r, c] / masses[r]
