"""Compiled: the contribution of each token of a set to the mean of the set after the last layer.

Symbols as in :mod:`tokendyn.dynamics.ragged_kernels`, and ``w`` the share of each token in the mean of the last tokens.
Plain Python outside numba: the functions below carry no annotations because numba compiles them.
"""

import numba
import numpy as np

from tokendyn.dynamics.ragged_kernels import head_space, largest_set, motion_space, place_frozen, run_set
from tokendyn.dynamics.ragged_leader_kernels import by_matrix, tied_leaders

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def place_for_ties(n, end, motion, left):
    """Write the states after layer ``end`` of a run, if some token has several leaders there: these are looked up."""
    states, leaders, ties, _, since = motion
    layers = leaders.shape[0]
    if end < layers and (ties[end, :n] != 1).any():
        for layer in range(end + 1, layers):
            place_frozen(states, n, leaders[end], since, left, layer)


@_compiled
def backward(n, p, motion, way, head, space, w, spare):
    """Turn ``w = p`` into the share of every token: ``w <- c w + (1-c) P_k^T w`` for the layers k backwards.

    ``P_k`` maps each token to the weighted mean of its leaders, so ``sum_j w_j z_j(k)`` is the same before and after
    each turn of the loop, and at its end ``sum_j w_j z_j(0) = sum_j p_j z_j(K)``.
    """
    states, leaders, ties, _, _ = motion
    layers, kept = leaders.shape[0], way[0]
    for i in range(n):
        w[i] = p[i]
    for back in range(layers):
        k = layers - 1 - back
        c, single = kept[k], True
        for i in range(n):
            spare[i] = c * w[i]
            single = single and ties[k, i] == 1
        if single:  # nearly always; what follows is as fast as memory only without calls
            for i in range(n):
                spare[leaders[k, i]] += (1.0 - c) * w[i]
        else:
            give_back_ties(n, states[k], p, c, leaders[k], ties[k], head, space, w, spare)
        for i in range(n):
            w[i] = spare[i]


@_compiled
def give_back_ties(n, z, p, c, leader, ties, head, space, w, spare):
    """Add ``(1-c) P^T w`` of one layer to ``spare``, where some token has several leaders."""
    queries, keys, members, _ = space
    y, x = by_matrix(head[0], z, n, queries), by_matrix(head[1], z, n, keys)
    for i in range(n):
        share = (1.0 - c) * w[i]
        if ties[i] == 1:
            spare[leader[i]] += share
            continue
        count = tied_leaders(y, x, n, i, members)
        total = 0.0
        for q in range(count):
            total += p[members[q]]
        for q in range(count):
            spare[members[q]] += share * p[members[q]] / total


@_compiled
def all_that_lead_themselves(n, motion, head, space, out):
    """Write for every token whether it is among its own leaders at the last layer; all are if there is none."""
    states, leaders, ties, _, _ = motion
    queries, keys, members, _ = space
    last = leaders.shape[0] - 1
    for i in range(n):
        out[i] = last < 0 or leaders[last, i] == i
        if last >= 0 and ties[last, i] != 1:
            y, x = by_matrix(head[0], states[last], n, queries), by_matrix(head[1], states[last], n, keys)
            out[i] = np.any(members[: tied_leaders(y, x, n, i, members)] == i)


@_compiled
def share_set(tokens, weights, first, last, motion, way, head, space, p, spare, shares, self_led):
    """Run one set and share its mean; return what :func:`tokendyn.dynamics.ragged_kernels.forward` returns."""
    n, total = last - first, 0.0
    sure, end = run_set(tokens, first, last, motion, way, head, space)
    if sure:
        for i in range(n):
            total += weights[first + i]
        for i in range(n):
            p[i] = weights[first + i] / total
        place_for_ties(n, end, motion, way[2])
        backward(n, p, motion, way, head, space, shares[first:last], spare)
        all_that_lead_themselves(n, motion, head, space, self_led[first:last])
    return sure, end


@_compiled
def share_sets(tokens, offsets, weights, rows, way, head, layers, shares, self_led, unsure):
    """Run the sets ``rows``; write the share of every token in the mean at the end, and whether it leads itself."""
    most = largest_set(offsets, rows)
    motion, space = motion_space(layers, tokens.shape[1], most), head_space(head[2][0], most)
    p, spare = np.empty(most), np.empty(most)
    for r in rows:
        first, last = offsets[r], offsets[r + 1]
        if first < last:
            sure, _ = share_set(tokens, weights, first, last, motion, way, head, space, p, spare, shares, self_led)
            unsure[r] = not sure


@_compiled
def pass_of(tokens, weights, way, head, layers, states, leaders, ties, shares, self_led):
    """Run one set; write all its states, leaders, ties and shares; return whether rounding decided nothing."""
    n, dim = tokens.shape
    motion, space = motion_space(layers, dim, n), head_space(head[2][0], n)
    own_states, own_leaders, own_ties, _, since = motion
    sure, end = share_set(tokens, weights, 0, n, motion, way, head, space, np.empty(n), np.empty(n), shares, self_led)
    if sure:
        for number in range(layers + 1):
            if number > end:
                place_frozen(own_states, n, own_leaders[end], since, way[2], number)
            for i in range(n):
                for d in range(dim):
                    states[number, i, d] = own_states[number, d, i]
        leaders[:], ties[:] = own_leaders, own_ties
    return sure
