"""The line of a class during planning: symbols linked in order, pure runs in a union-find forest, and a heap of runs.

Invariants: ``prv`` and ``nxt`` link the live symbols; a pure symbol (``label >= 0``) is in the tree of its run;
``live`` of a root counts the live incidences of the run; ``lft`` of a root is its leftmost symbol, -1 for an empty run.
The heap may hold stale entries: an entry of a run is valid only while its key equals ``bound[run]``. Names are those of
:mod:`tokendyn.exact.planner_kernels`.
"""

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def push(keys, runs, size, key, run):
    """Put an entry on the heap, largest key first."""
    i = size[0]
    size[0] += 1
    while i > 0 and keys[(i - 1) >> 1] < key:
        keys[i], runs[i] = keys[(i - 1) >> 1], runs[(i - 1) >> 1]
        i = (i - 1) >> 1
    keys[i], runs[i] = key, run


@_compiled
def pop(keys, runs, size):
    """Remove the entry with the largest key from the heap and return it."""
    top_key, top_run = keys[0], runs[0]
    size[0] -= 1
    n = size[0]
    key, run = keys[n], runs[n]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and keys[child + 1] > keys[child]:
            child += 1
        if keys[child] <= key:
            break
        keys[i], runs[i] = keys[child], runs[child]
        i = child
    keys[i], runs[i] = key, run
    return top_key, top_run


@_compiled
def offer(heap, live, root):
    """Put a run on the heap with the number of its live incidences, unless the heap has that entry."""
    if heap[3][root] != live[root]:
        heap[3][root] = live[root]
        push(heap[0], heap[1], heap[2], live[root], root)


@_compiled
def find(parent, i):
    """Return the root of a symbol; halving the path keeps later searches short."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@_compiled
def union(parent, live, lft, a, b):
    """Join two runs, ``a`` left of ``b``, and return the root."""
    first = lft[a] if lft[a] >= 0 else lft[b]
    # The larger run becomes the root, so that a symbol changes its root a logarithmic number of times.
    if live[a] < live[b]:
        a, b = b, a
    parent[b] = a
    live[a] += live[b]
    lft[a] = first
    return a


@_compiled
def join(s, end, prv, nxt, label, parent, live, lft, heap):
    """Join a pure symbol with the runs at its sides and put the whole run on the heap."""
    root = find(parent, s)
    p, q = prv[s], nxt[s]
    if p >= 0 and label[p] == label[s]:
        other = find(parent, p)
        if other != root:
            root = union(parent, live, lft, other, root)
    if q < end and label[q] == label[s]:
        other = find(parent, q)
        if other != root:
            root = union(parent, live, lft, root, other)
    offer(heap, live, root)


@_compiled
def unlink(s, end, prv, nxt, label, parent, live, lft, heap):
    """Remove a symbol without live sequences from the line; its neighbours may become one run."""
    root = find(parent, s)
    p, q = prv[s], nxt[s]
    if lft[root] == s:
        lft[root] = q if q < end and label[q] == label[s] else -1
    label[s] = -1
    if p >= 0:
        nxt[p] = q
    if q < end:
        prv[q] = p
    if p >= 0 and label[p] >= 0:
        join(p, end, prv, nxt, label, parent, live, lft, heap)
    if q < end and label[q] >= 0:
        join(q, end, prv, nxt, label, parent, live, lft, heap)


@_compiled
def remove(e, isym, group, gcount, glabel, gptr, groups, prv, nxt, label, parent, live, lft, heap):
    """Remove one incidence from the line."""
    s, g, end = isym[e], group[e], prv.shape[0]
    gcount[g] -= 1
    if label[s] >= 0:
        live[find(parent, s)] -= 1
    if gcount[g] > 0:
        return
    groups[s] -= 1
    if groups[s] == 1:
        for h in range(gptr[s], gptr[s + 1]):
            if gcount[h] > 0:
                label[s], parent[s], live[s], lft[s] = glabel[h], s, gcount[h], s
        join(s, end, prv, nxt, label, parent, live, lft, heap)
    elif groups[s] == 0:
        unlink(s, end, prv, nxt, label, parent, live, lft, heap)


@_compiled
def gap_before(s, prv, v):
    """Return the distance of a symbol from the live one before it; infinity for the first."""
    return v[s] - v[prv[s]] if prv[s] >= 0 else np.inf


@_compiled
def gap_after(s, nxt, v):
    """Return the distance of a symbol from the live one after it; infinity for the last."""
    return v[nxt[s]] - v[s] if nxt[s] < nxt.shape[0] else np.inf
