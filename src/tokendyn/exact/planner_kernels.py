"""The compiled planner: the intervals of the line to query, so that every class ends with one label.

A *class* is a set of sequences that the transformer cannot distinguish yet. On the line of projections a class has
its live *symbols* (distinct values of its sequences' tokens), linked in order. A symbol is *pure* when all sequences
that contain it have one label; a *run* is a stretch of adjacent pure symbols of one label. A query on an interval
inside a run takes those sequences out with their label, and their tokens vanish from the line, so that further runs
can merge. When no run can be queried, a query on a cluster of symbols splits the class in two.

Runs are in a union-find forest (:mod:`tokendyn.exact.planner_runs`); a heap holds (upper bound of the sequences in a
run, run). A run has one valid entry, the one with the key ``bound[run]``; others are skipped. A token is therefore
touched a logarithmic number of times.

Symbols of the code: ``K`` incidences (sequence, symbol) of a class, sorted by symbol, then label; a *group* is the
incidences of one symbol and one label; ``v`` values; ``lft`` leftmost live symbol of a run.
"""

import numba
import numpy as np

from tokendyn.exact.planner_runs import find, gap_after, gap_before, join, offer, pop, push, remove

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def _count(first, last, nxt, sptr, iseq, alive, stamp, mark):
    """Return the number of live sequences with a symbol in first..last; ``stamp`` counts each of them once."""
    count, s = 0, first
    while True:
        for e in range(sptr[s], sptr[s + 1]):
            j = iseq[e]
            if alive[j] and stamp[j] != mark:
                stamp[j] = mark
                count += 1
        if s == last:
            return count
        s = nxt[s]


@_compiled
def _evaluate(root, margin, v, prv, nxt, label, lft, blocked, sptr, iseq, alive, stamp, mark):
    """Return (sequences, first, last) of the best interval inside a run whose two ends keep the margin."""
    end = nxt.shape[0]
    best, best_first, best_last = 0, -1, -1
    s = lft[root]
    own = label[s]
    while s < end and label[s] == own:
        if blocked[s] > 0:
            s = nxt[s]
            continue
        first = last = s
        while nxt[last] < end and label[nxt[last]] == own and blocked[nxt[last]] == 0:
            last = nxt[last]
        s = nxt[last]
        while first != last and gap_before(first, prv, v) < margin:
            first = nxt[first]
        while last != first and gap_after(last, nxt, v) < margin:
            last = prv[last]
        if gap_before(first, prv, v) < margin or gap_after(last, nxt, v) < margin:
            continue
        mark[0] += 1
        count = _count(first, last, nxt, sptr, iseq, alive, stamp, mark[0])
        if count > best:
            best, best_first, best_last = count, first, last
    return best, best_first, best_last


@_compiled
def _search(margin, v, prv, nxt, label, parent, live, lft, blocked, sptr, iseq, alive, stamp, mark, heap):
    """Return (sequences, first, last) of the interval that takes the most sequences out; 0 if there is none.

    Keys are upper bounds, so a run is evaluated only when its bound is the largest; when its exact count is at least
    the next bound, no other run can be better.
    """
    keys, runs, size, bound = heap
    while size[0] > 0:
        key, root = pop(keys, runs, size)
        if find(parent, root) != root or key != bound[root]:
            continue
        bound[root] = 0
        if lft[root] < 0 or live[root] == 0:
            continue
        count, first, last = _evaluate(root, margin, v, prv, nxt, label, lft, blocked, sptr, iseq, alive, stamp, mark)
        if count == 0:
            continue
        if size[0] == 0 or count >= keys[0]:
            offer(heap, live, root)  # the query may leave a part of the run
            return count, first, last
        bound[root] = count
        push(keys, runs, size, count, root)
    return 0, -1, -1


@_compiled
def _split(margin, v, head, nxt, sptr, iseq, ilabel, alive, stamp, mark, totals, counts):
    """Return (first, last) of the cluster of symbols with the best Gini score; (-1, -1) if none splits the class.

    With ``T_y`` sequences of label y in the class and ``h_y`` of them in the cluster, the score is
    ``sum h_y^2 / h + sum (T_y - h_y)^2 / (T - h)``.
    """
    end = nxt.shape[0]
    total, square = 0, 0.0
    for y in range(totals.shape[0]):
        total += totals[y]
        square += float(totals[y]) ** 2
    best, best_first, best_last = -1.0, -1, -1
    first = head
    while first < end:
        last = first
        mark[0] += 1
        hits, own, cross = 0, 0.0, 0.0
        while True:
            for e in range(sptr[last], sptr[last + 1]):
                j = iseq[e]
                if alive[j] and stamp[j] != mark[0]:
                    stamp[j] = mark[0]
                    y = ilabel[e]
                    own += 2 * counts[y] + 1
                    cross += totals[y]
                    counts[y] += 1
                    hits += 1
            if nxt[last] >= end or v[nxt[last]] - v[last] >= margin:
                break
            last = nxt[last]
        if 0 < hits < total:
            score = own / hits + (square - 2 * cross + own) / (total - hits)
            if score > best:
                best, best_first, best_last = score, first, last
        s = first
        while True:
            for e in range(sptr[s], sptr[s + 1]):
                counts[ilabel[e]] = 0
            if s == last:
                break
            s = nxt[s]
        first = nxt[last]
    return best_first, best_last


@_compiled
def _incidences(members, starts, symbols, labels):
    """Return the incidences of a class sorted by symbol, then label: local sequence and symbol, label, values."""
    total = 0
    for i in range(members.shape[0]):
        total += starts[members[i] + 1] - starts[members[i]]
    key = np.empty(total, np.int64)
    owner = np.empty(total, np.int64)
    width = np.int64(labels.max()) + 1
    at = 0
    for i in range(members.shape[0]):
        j = members[i]
        for e in range(starts[j], starts[j + 1]):
            key[at], owner[at] = symbols[e] * width + labels[j], i
            at += 1
    order = np.argsort(key, kind="mergesort")
    return key[order] // width, key[order] % width, owner[order]


@_compiled
def _peel(  # noqa: PLR0912, PLR0915 (one state of twenty arrays: parts would pass all of them on)
    members, starts, symbols, values, labels, labels_left, margin, lag, cls, out, filled, alive, split
):
    """Query a class until one label is left or only a split helps; return the number of labels left.

    ``out`` holds the query columns, ``split`` receives the symbols of the split and its hits get ``alive = 2``.
    """
    gsym, ilabel, iseq = _incidences(members, starts, symbols, labels)
    K, n = gsym.shape[0], members.shape[0]
    isym = np.empty(K, np.int64)
    group = np.empty(K, np.int64)
    S = G = 0
    for e in range(K):
        new_symbol = e == 0 or gsym[e] != gsym[e - 1]
        G += new_symbol or ilabel[e] != ilabel[e - 1]
        S += new_symbol
        isym[e], group[e] = S - 1, G - 1
    sptr, gptr = np.zeros(S + 1, np.int64), np.zeros(S + 1, np.int64)
    gcount, glabel, groups = np.zeros(G, np.int64), np.zeros(G, np.int64), np.zeros(S, np.int64)
    v, name = np.empty(S, np.float64), np.empty(S, np.int64)
    of_sequence = np.zeros(n + 1, np.int64)
    for e in range(K):
        sptr[isym[e] + 1], gptr[isym[e] + 1] = e + 1, group[e] + 1
        gcount[group[e]] += 1
        glabel[group[e]] = ilabel[e]
        v[isym[e]], name[isym[e]] = values[gsym[e]], gsym[e]
        of_sequence[iseq[e] + 1] += 1
    of_sequence = np.cumsum(of_sequence)
    filled_to = of_sequence.copy()
    incidences = np.empty(K, np.int64)
    for e in range(K):
        incidences[filled_to[iseq[e]]] = e
        filled_to[iseq[e]] += 1

    prv, nxt = np.arange(-1, S - 1), np.arange(1, S + 1)
    label, parent, lft = np.full(S, -1), np.arange(S), np.arange(S)
    live, blocked = np.zeros(S, np.int64), np.zeros(S, np.int64)
    stamp, mark = np.zeros(n, np.int64), np.zeros(1, np.int64)
    # Each push that does not follow a pop belongs to a symbol or an incidence, which bounds the size of the heap.
    room = 4 * S + 4 * K + 16
    heap = (np.empty(room, np.int64), np.empty(room, np.int64), np.zeros(1, np.int64), np.full(S, -1))
    for s in range(S):
        groups[s] = gptr[s + 1] - gptr[s]
        if groups[s] == 1:
            label[s], live[s] = glabel[gptr[s]], sptr[s + 1] - sptr[s]
    for s in range(S):
        if label[s] >= 0:
            join(s, S, prv, nxt, label, parent, live, lft, heap)

    left = 0
    for y in range(labels_left.shape[0]):
        left += labels_left[y] > 0
    pending, waiting = np.empty(n, np.int64), 0
    head = np.zeros(1, np.int64)
    while left > 1:
        count, first, last = _search(
            margin, v, prv, nxt, label, parent, live, lft, blocked, sptr, iseq, alive, stamp, mark, heap
        )
        if count == 0 and waiting == 0:
            break
        legal = waiting > 0
        if count > 0:
            _record(out, filled, cls, -1, label[first], name[first], name[last], legal)
            out[1][filled[0] - 1] = min(gap_before(first, prv, v), gap_after(last, nxt, v))
            mark[0] += 1
            _count(first, last, nxt, sptr, iseq, alive, stamp, mark[0])
            hit_symbols_first, hit_symbols_last = first, last
        # With a lag, sequences that the last query took out still block their symbols for one query, and only now
        # leave the line; without one, they leave at once.
        for i in range(waiting):
            for h in range(of_sequence[pending[i]], of_sequence[pending[i] + 1]):
                blocked[isym[incidences[h]]] -= 1
        old = waiting
        waiting = 0
        removed = pending[:old].copy()
        if count > 0:
            s = hit_symbols_first
            while True:
                for e in range(sptr[s], sptr[s + 1]):
                    j = iseq[e]
                    if alive[j] == 1 and stamp[j] == mark[0]:
                        alive[j] = 0
                        pending[waiting] = j
                        waiting += 1
                        y = labels[members[j]]
                        labels_left[y] -= 1
                        left -= labels_left[y] == 0
                if s == hit_symbols_last:
                    break
                s = nxt[s]
        if lag:
            for i in range(waiting):
                for h in range(of_sequence[pending[i]], of_sequence[pending[i] + 1]):
                    blocked[isym[incidences[h]]] += 1
        else:
            removed = pending[:waiting].copy()
            waiting = 0
        for i in range(removed.shape[0]):
            for h in range(of_sequence[removed[i]], of_sequence[removed[i] + 1]):
                e = incidences[h]
                remove(e, isym, group, gcount, glabel, gptr, groups, prv, nxt, label, parent, live, lft, heap)
                s = isym[e]
                if lag and label[s] >= 0:
                    offer(heap, live, find(parent, s))
    if left > 1:
        while head[0] < S and groups[head[0]] == 0:
            head[0] += 1
        counts = np.zeros(labels_left.shape[0], np.int64)
        first, last = _split(margin, v, head[0], nxt, sptr, iseq, ilabel, alive, stamp, mark, labels_left, counts)
        split[0] = split[1] = -1
        if first >= 0:
            split[0], split[1] = name[first], name[last]
            out[1][filled[0]] = min(gap_before(first, prv, v), gap_after(last, nxt, v))
            mark[0] += 1
            _count(first, last, nxt, sptr, iseq, alive, stamp, mark[0])
            for j in range(n):
                if alive[j] == 1 and stamp[j] == mark[0]:
                    alive[j] = 2
    return left


@_compiled
def _record(out, filled, cls, child, label, first, last, legal):
    """Append a query."""
    row = out[0][filled[0]]
    row[0], row[1], row[2], row[3], row[4], row[5] = cls, child, label, first, last, legal
    filled[0] += 1


@_compiled
def plan_queries(starts, symbols, values, labels, margin, lag):
    """Plan all queries.

    Parameters
    ----------
    starts, symbols
        Sequence j holds the distinct symbols ``symbols[starts[j]:starts[j + 1]]``.
    values
        Ascending value of each symbol.
    labels
        Label number of each sequence.
    margin
        Smallest gap at the two ends of an interval.
    lag
        Whether a query must also avoid the tokens of the sequences that the query before it took out.

    Returns
    -------
    queries (Q, 6)
        Class, child class or -1, label or -1, first and last symbol, whether it may directly follow the last query of
        its class.
    gaps (Q,)
        Distance of the interval to the nearest other live symbol.
    rest (classes,)
        Label of the remaining sequences of each class.
    stuck
        Members of a class that no interval splits; empty when the plan is complete.
    """
    N = starts.shape[0] - 1
    queries, gaps = np.empty((N + 1, 6), np.int64), np.empty(N + 1, np.float64)
    out, filled = (queries, gaps), np.zeros(1, np.int64)
    rest = np.full(N + 1, -1)
    order = np.arange(N)
    stack = np.empty((N + 2, 3), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, N, 0
    depth, classes = 1, 1
    tally = np.zeros(labels.max() + 1, np.int64)
    split = np.empty(2, np.int64)
    while depth > 0:
        depth -= 1
        a, b, cls = stack[depth, 0], stack[depth, 1], stack[depth, 2]
        members = order[a:b].copy()
        for j in members:
            tally[labels[j]] += 1
        # Labels of this class only, numbered from 0: a class of few sequences must not cost all labels.
        own = np.unique(labels[members])
        local = np.zeros(own.shape[0], np.int64)
        for i in range(own.shape[0]):
            local[i] = tally[own[i]]
            tally[own[i]] = i
        sub = np.empty(members.shape[0], np.int64)
        for i in range(members.shape[0]):
            sub[i] = tally[labels[members[i]]]
        tally[own] = 0
        alive = np.ones(members.shape[0], np.int64)
        before = filled[0]
        left = _peel_local(members, starts, symbols, values, sub, local, margin, lag, cls, out, filled, alive, split)
        for q in range(before, filled[0]):
            queries[q, 2] = own[queries[q, 2]]
        if left == 1:
            rest[cls] = own[np.argmax(local)]
            continue
        if split[0] < 0:
            return queries[: filled[0]], gaps[: filled[0]], rest[:classes], members[alive == 1]
        _record(out, filled, cls, classes, -1, split[0], split[1], 0)
        hits, others = members[alive == 2], members[alive == 1]
        order[a : a + hits.shape[0]] = hits
        order[a + hits.shape[0] : a + hits.shape[0] + others.shape[0]] = others
        middle = a + hits.shape[0]
        stack[depth, 0], stack[depth, 1], stack[depth, 2] = middle, middle + others.shape[0], cls
        stack[depth + 1, 0], stack[depth + 1, 1], stack[depth + 1, 2] = a, middle, classes
        depth += 2
        classes += 1
    return queries[: filled[0]], gaps[: filled[0]], rest[:classes], order[:0]


@_compiled
def _peel_local(members, starts, symbols, values, sub, local, margin, lag, cls, out, filled, alive, split):
    """Copy the symbols of a class into one array and peel the class; labels are numbered within it."""
    local_starts = np.zeros(members.shape[0] + 1, np.int64)
    for i in range(members.shape[0]):
        local_starts[i + 1] = local_starts[i] + starts[members[i] + 1] - starts[members[i]]
    local_symbols = np.empty(local_starts[-1], np.int64)
    for i in range(members.shape[0]):
        local_symbols[local_starts[i] : local_starts[i + 1]] = symbols[starts[members[i]] : starts[members[i] + 1]]
    numbers = np.arange(members.shape[0])
    return _peel(numbers, local_starts, local_symbols, values, sub, local, margin, lag, cls, out, filled, alive, split)
