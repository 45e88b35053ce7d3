"""A balanced tree of boxes over the keys, and softmax sums that skip boxes too far below the top score.

The tree is implicit: node ``t`` has children ``2 t + 1`` and ``2 t + 2``, every level halves its segments, and
only the last level has leaves. Compiled, one thread.
"""

import numpy as np
from numba import njit

from tokendyn.attention.softmax_kernels import exp_clamped

#: Largest number of keys of a leaf.
LEAF = 64

#: Largest number of waiting nodes in a traversal: more than two for each level.
STACK = 96


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def order_keys(points, order, levels):
    """Sort ``order`` so that each node's points are contiguous: medians of the widest coordinate, level by level."""
    for level in range(levels):
        parts = 1 << level
        for part in range(parts):
            first, last = _segment(len(order), parts, part)
            middle = _segment(len(order), 2 * parts, 2 * part)[1]
            _select(points, order, first, last, middle, _widest(points, order, first, last))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _segment(count, parts, part):
    return count * part // parts, count * (part + 1) // parts


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _widest(points, order, first, last):
    widest, extent = 0, -1.0
    for c in range(points.shape[1]):
        low = high = points[order[first], c]
        for j in range(first + 1, last):
            x = points[order[j], c]
            low = x if x < low else low
            high = x if x > high else high
        if high - low > extent:
            widest, extent = c, high - low
    return widest


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _select(points, order, first, last, middle, axis):
    """Partition ``order[first:last]`` so that the smallest come before ``middle`` (Hoare's selection)."""
    low, high = first, last - 1
    while low < high:
        pivot = points[order[(low + high) // 2], axis]
        i, j = low, high
        while i <= j:
            while points[order[i], axis] < pivot:
                i += 1
            while points[order[j], axis] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            return


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def bound_nodes(keys, levels, centres, halves):
    """Fill centre and half extent of every node's box; ``keys`` is ``(dim, keys)`` in tree order.

    Half extents are widened by a few ulp, so that rounding never puts a key outside its box.
    """
    leaves = 1 << levels
    low = np.empty_like(centres)
    high = np.empty_like(centres)
    for part in range(leaves):
        node = leaves - 1 + part
        first, last = _segment(keys.shape[1], leaves, part)
        for c in range(keys.shape[0]):
            low[node, c] = keys[c, first:last].min()
            high[node, c] = keys[c, first:last].max()
    for node in range(leaves - 2, -1, -1):
        for c in range(keys.shape[0]):
            low[node, c] = min(low[2 * node + 1, c], low[2 * node + 2, c])
            high[node, c] = max(high[2 * node + 1, c], high[2 * node + 2, c])
    for node in range(len(centres)):
        for c in range(keys.shape[0]):
            centres[node, c] = 0.5 * low[node, c] + 0.5 * high[node, c]
            reach = max(abs(low[node, c]), abs(high[node, c]))
            halves[node, c] = 0.5 * high[node, c] - 0.5 * low[node, c] + 4.5e-16 * reach


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def truncated_sums(rows, queries, keys, channels, levels, centres, halves, depth, sums, tops, looked):
    """Fill sums relative to the top score of some rows, skipping boxes whose scores are ``depth`` below it.

    ``keys`` and ``channels`` are coordinate by coordinate in tree order. ``looked[i]`` counts the keys summed.
    Rows should come in an order in which neighbours are alike: the leader of one is the first guess of the next.
    """
    stack = np.empty(STACK, dtype=np.int64)
    terms = np.empty(LEAF)
    guess = 0
    for i in rows:
        query = queries[i]
        top, guess = _top_score(query, keys, levels, centres, halves, guess, stack, terms)
        tops[i] = top
        looked[i] = 0
        for c in range(sums.shape[1]):
            sums[i, c] = 0.0
        leaves = 1 << levels
        stack[0], waiting = 0, 1
        while waiting > 0:
            waiting -= 1
            node = stack[waiting]
            if _upper(query, centres[node], halves[node]) < top - depth:
                continue
            if node < leaves - 1:
                stack[waiting], stack[waiting + 1] = 2 * node + 1, 2 * node + 2
                waiting += 2
                continue
            first, last = _segment(keys.shape[1], leaves, node - leaves + 1)
            _leaf_scores(query, keys, first, last, terms)
            _leaf_terms(terms, top, last - first)
            looked[i] += last - first
            for c in range(sums.shape[1]):
                sums[i, c] += _dot(terms, channels[c, first:last])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _top_score(query, keys, levels, centres, halves, guess, stack, terms):
    """Return the largest score and its key by depth-first search, the better child first.

    The key of the previous row is the first guess: a good bound at the start prunes most of the tree.
    """
    leaves = 1 << levels
    best, leader = 0.0, guess
    for c in range(query.size):
        best += query[c] * keys[c, guess]
    stack[0], waiting = 0, 1
    while waiting > 0:
        waiting -= 1
        node = stack[waiting]
        if _upper(query, centres[node], halves[node]) <= best:
            continue
        if node < leaves - 1:
            left, right = 2 * node + 1, 2 * node + 2
            left_first = _upper(query, centres[left], halves[left]) > _upper(query, centres[right], halves[right])
            stack[waiting] = right if left_first else left
            stack[waiting + 1] = left if left_first else right
            waiting += 2
            continue
        first, last = _segment(keys.shape[1], leaves, node - leaves + 1)
        _leaf_scores(query, keys, first, last, terms)
        for j in range(last - first):
            if terms[j] > best:
                best, leader = terms[j], first + j
    return best, leader


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _upper(query, centre, half):
    """Return the largest score of any point of a box: that of its best corner."""
    total = 0.0
    for c in range(query.size):
        total += query[c] * centre[c] + abs(query[c]) * half[c]
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _leaf_scores(query, keys, first, last, terms):
    q0, k0 = query[0], keys[0, first:last]
    for j in range(last - first):
        terms[j] = q0 * k0[j]
    for c in range(1, query.size):
        qc, kc = query[c], keys[c, first:last]
        for j in range(last - first):
            terms[j] = terms[j] + qc * kc[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _leaf_terms(terms, top, count):
    for j in range(count):
        terms[j] = exp_clamped(terms[j] - top)


# Sums in any order, so that they vectorise; nothing else in this function depends on the order of operations.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _dot(terms, factors):
    total = 0.0
    for j in range(factors.size):
        total += terms[j] * factors[j]
    return total
