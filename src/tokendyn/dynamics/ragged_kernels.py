"""Compiled hardmax layers over many small sets of tokens at once; arrays are ragged, so padding does not exist.

The backend of :mod:`tokendyn.dynamics.ragged`. It computes what :class:`tokendyn.dynamics.freeze.Frozen` computes, to
the same bits, for sets in which no token is within rounding of a tie between different points. The bits are the same
because both find leaders by canonical scores, move a token by the same three operations, and place a frozen token in
the same closed form from the same layer. Every other set is given up at once and left to ``Frozen``, which alone
decides such ties; so no mean of several points is ever taken here.

Symbols: ``z`` (dim, tokens) the tokens of one set, ``y`` and ``x`` (rank, tokens) their queries and keys (``z`` itself
where the head has no matrix), ``p`` their weights (sum 1), ``c = 1/(1+alpha)`` of a layer. Coordinates are rows, so
that a loop over tokens reads memory in order. Plain Python outside numba: the functions below carry no annotations
because numba compiles them.
"""

import numba
import numpy as np

from tokendyn.dynamics.ragged_leader_kernels import by_matrix, same_place, scoring_space, settle, slack_of
from tokendyn.scales import MODERATE

#: Sets up to this size are run; all pairs are looked at, and for larger ones the reductions of ``attend`` are faster.
SMALL_SET = 2000

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def motion_space(layers, dim, most):
    """Return space for the motion of up to ``most`` tokens.

    States, leaders and ties of every layer, which tokens are frozen, and the layer since when.
    """
    return (
        np.empty((layers + 1, dim, most)),
        np.empty((layers, most), np.int64),
        np.empty((layers, most), np.int64),
        np.empty(most, np.bool_),
        np.empty(most, np.int64),
    )


@_compiled
def head_space(rank, most):
    """Return space for one head on up to ``most`` tokens: queries, keys, members of a tie, and that for scores."""
    return np.empty((rank, most)), np.empty((rank, most)), np.empty(most, np.int64), scoring_space(rank, most)


@_compiled
def freeze(z, n, leader, frozen, since, layer):
    """Freeze the tokens that follow a point which follows itself; return whether all are.

    The freeze theorem of :class:`tokendyn.dynamics.freeze.Frozen`, for tokens that do not tie between different points:
    such a point stays when its leader sits on it, and whoever follows it then follows it for ever.
    """
    whole = True
    for i in range(n):
        if not frozen[i]:
            v = leader[i]
            if leader[v] == v or same_place(z, leader[v], v):
                frozen[i], since[i] = True, layer
            else:
                whole = False
    return whole


@_compiled
def place_frozen(states, n, leader, since, left, layer):
    """Place n frozen tokens after ``layer`` layers, on their way to points that stay: ``g + r (z_i - g)``."""
    for d in range(states.shape[1]):
        for i in range(n):
            goal = states[since[i], d, leader[i]]
            states[layer, d, i] = goal + left[layer, since[i]] * (states[since[i], d, i] - goal)


@_compiled
def move(states, n, leader, frozen, since, share, left, layer):
    """Write the tokens after a layer: ``z_i <- z_i + (1-c) (z_leader - z_i)``, and frozen ones in closed form.

    A frozen token is never moved step by step: the rounding would add up, and a token that is almost at its leader
    could tie with it.
    """
    for d in range(states.shape[1]):
        for i in range(n):
            # Both forms are a + r (b - a), so that one line does for both.
            k = since[i] if frozen[i] else layer
            own, goal = states[k, d, i], states[k, d, leader[i]]
            if frozen[i]:
                states[layer + 1, d, i] = goal + left[layer + 1, k] * (own - goal)
            else:
                states[layer + 1, d, i] = own + share * (goal - own)


@_compiled
def forward(n, largest, motion, way, head, space):
    """Send n tokens, the first state of ``motion``, through all layers; return whether it is sure, and where it ended.

    The end is the number of the first layer at which all tokens are frozen, or of layers. From there on leaders and
    ties repeat, and are written; the states after it are not: :func:`place_frozen` writes the requested ones. Of
    a set that is not sure nothing is to be used.

    ``largest`` is the largest coordinate. Where ``motion`` says that a token is frozen, its leader and tie at the first
    layer are known and given. ``way`` and ``head`` are those of :func:`tokendyn.dynamics.ragged_hardmax.way_of` and
    :func:`tokendyn.dynamics.ragged_hardmax.head_of`.
    """
    states, leaders, ties, frozen, since = motion
    _, shares, left, log_shares = way
    query, key, norms = head
    queries, keys, members, scoring = space
    layers, dim = leaders.shape[0], states.shape[1]
    for k in range(layers):
        z, leader, tie = states[k], leaders[k], ties[k]
        if k > 0:
            for i in range(n):
                leader[i], tie[i] = leaders[k - 1, i], ties[k - 1, i]
        each, constant = slack_of(k, log_shares[k], largest, dim, norms)
        # Numba counts references to an array that a function may or may not make: not in the ordinary case.
        if query.shape[0] == 0 and key.shape[0] == 0:
            sure = settle(z, z, n, states[0], leader, tie, frozen, scoring, members, each, constant)
        else:
            y, x = by_matrix(query, z, n, queries), by_matrix(key, z, n, keys)
            sure = settle(y, x, n, states[0], leader, tie, frozen, scoring, members, each, constant)
        if not sure:
            return False, k
        if k == 0:
            frozen[:n] = False
        if freeze(z, n, leader, frozen, since, k):
            for later in range(k + 1, layers):
                for i in range(n):
                    leaders[later, i], ties[later, i] = leader[i], tie[i]
            return True, k
        move(states, n, leader, frozen, since, shares[k], left, k)
    return True, layers


@_compiled
def largest_set(offsets, rows):
    """Return the tokens of the largest of some sets that are run, at least 1."""
    most = 1
    for r in rows:
        if offsets[r + 1] - offsets[r] <= SMALL_SET:
            most = max(most, offsets[r + 1] - offsets[r])
    return most


@_compiled
def run_set(tokens, first, last, motion, way, head, space):
    """Run the tokens ``first`` to ``last``; return what :func:`forward` returns."""
    n = last - first
    if n > SMALL_SET:
        return False, 0
    states, _, _, frozen, _ = motion
    largest = 0.0
    for i in range(n):
        for d in range(tokens.shape[1]):
            states[0, d, i] = tokens[first + i, d]
            largest = max(largest, abs(tokens[first + i, d]))
    # Products of other sizes overflow or underflow unless they are scaled, which ``Frozen`` does.
    if largest != 0 and not MODERATE <= largest <= 1 / MODERATE:
        return False, 0
    frozen[:n] = False
    return forward(n, largest, motion, way, head, space)


@_compiled
def run_sets(tokens, offsets, rows, way, head, layers, recorded, states, leaders, ties, unsure):
    """Run the sets ``rows``; write the recorded states, and the leaders of each token after them.

    ``recorded`` ascends from 0 to ``layers``. ``unsure`` marks the sets that have to be run by ``Frozen``: of them
    nothing is written.
    """
    most, dim = largest_set(offsets, rows), tokens.shape[1]
    # One space for all sets of a piece of work: to ask the system for memory costs more than to run a small set.
    motion, space = motion_space(layers, dim, most), head_space(head[2][0], most)
    own_states, own_leaders, own_ties, _, since = motion
    for r in rows:
        first, n = offsets[r], offsets[r + 1] - offsets[r]
        if n == 0:
            continue
        sure, end = run_set(tokens, first, first + n, motion, way, head, space)
        unsure[r] = not sure
        if not sure:
            continue
        for record in range(len(recorded)):
            number = recorded[record]
            if number > end:
                place_frozen(own_states, n, own_leaders[end], since, way[2], number)
            for i in range(n):
                for d in range(dim):
                    states[record, first + i, d] = own_states[number, d, i]
            if number < layers:
                for i in range(n):
                    leaders[record, first + i] = own_leaders[number, i]
                    ties[record, first + i] = own_ties[number, i]
