"""Compiled hardmax layers over many small sets of tokens at once; arrays are ragged, so padding does not exist.

The backend of :mod:`tokendyn.dynamics.ragged`. It computes what :class:`tokendyn.dynamics.freeze.Frozen` computes, to
the same bits, for sets in which no token is within rounding of a tie between different points; it says of every other
set that it is not sure of it, and that set is left to ``Frozen``, which alone decides such ties.

Symbols: ``z`` (dim, tokens) the tokens of one set, ``y`` and ``x`` (rank, tokens) their queries and keys (``z`` itself
where the head has no matrix), ``p`` their weights (sum 1), ``c = 1/(1+alpha)`` of a layer, ``w`` the share of each
token in the mean of the last tokens. Plain Python outside numba: the functions below carry no annotations because
numba compiles them.
"""

import numba
import numpy as np

from tokendyn.dynamics.freeze_kernels import EPS
from tokendyn.scales import MODERATE

#: Sets up to this size are run; all pairs are looked at, and for larger ones the reductions of ``attend`` are faster.
SMALL_SET = 2000

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def working_room(rank, tokens):
    """Return the space that :func:`find_leaders` works in."""
    return np.empty((rank, tokens)), np.empty(tokens), np.empty(tokens), np.empty(tokens), np.empty(tokens)


@_compiled
def find_leaders(y, x, leader, ties, known, room, who, each, constant):
    """Write the lowest leader of every token whose leader is not known, and 1, or 0 where others may lead too.

    Canonical tie rule: ``s_ij = y_i0 x_j0 + y_i1 x_j1 + ...`` left to right, unfused; j leads i when
    ``s_ij >= max_l s_il``. Rounding cannot tell scores apart that differ by up to ``each |y_i|_1 + constant``.
    """
    rank, n = x.shape
    q, score, best, at, second = room
    asking = 0
    # The asking tokens are packed, so that the loops over them, which are the innermost, become vector instructions;
    # selections in place of branches, because which key is larger cannot be foreseen.
    for i in range(n):
        if not known[i]:
            for k in range(rank):
                q[k, asking] = y[k, i]
            best[asking], at[asking], second[asking] = -np.inf, 0.0, -np.inf
            who[asking] = i
            asking += 1
    q0, q1 = q[0], q[min(1, rank - 1)]
    # Invariant: best[r] is the largest score of row r among the keys before j, at[r] the first key that has it
    # (kept as a float: a lane of one kind), second[r] the largest of the others.
    for j in range(n):
        a, b = x[0, j], x[min(1, rank - 1), j]
        if rank == 2:  # the ordinary case
            for r in range(asking):
                s = q0[r] * a + q1[r] * b
                above = s > best[r]
                lower = best[r] if above else s
                second[r] = lower if lower > second[r] else second[r]
                at[r] = j if above else at[r]
                best[r] = s if above else best[r]
            continue
        for r in range(asking):
            score[r] = q0[r] * a + q1[r] * b if rank > 1 else q0[r] * a
        for k in range(2, rank):
            a = x[k, j]
            for r in range(asking):
                score[r] = score[r] + q[k, r] * a
        for r in range(asking):
            s = score[r]
            above = s > best[r]
            lower = best[r] if above else s
            second[r] = lower if lower > second[r] else second[r]
            at[r] = j if above else at[r]
            best[r] = s if above else best[r]
    for r in range(asking):
        size = 0.0
        for k in range(rank):
            size += abs(q[k, r])
        leader[who[r]] = int(at[r])
        ties[who[r]] = 1 if second[r] < best[r] - (each * size + constant) else 0


@_compiled
def canonical_score(y, x, i, j):
    """Return ``s_ij``."""
    s = y[0, i] * x[0, j]
    for k in range(1, x.shape[0]):
        s += y[k, i] * x[k, j]
    return s


@_compiled
def count_ties(y, x, origin, i, leader, each, constant, chosen):
    """Return how many tokens lead token i, and whether they began at one point, with nothing else near the top."""
    size, best = 0.0, -np.inf
    for k in range(y.shape[0]):
        size += abs(y[k, i])
    for j in range(x.shape[1]):
        best = max(best, canonical_score(y, x, i, j))
    alone = True
    for j in range(x.shape[1]):
        if canonical_score(y, x, i, j) >= best - (each * size + constant):
            alone = alone and same_place(origin, j, leader)
    return tied_leaders(y, x, i, chosen), alone


@_compiled
def same_place(z, i, j):
    """Return whether two tokens are on one point."""
    same = True
    for k in range(z.shape[0]):
        same = same and z[k, i] == z[k, j]
    return same


@_compiled
def freeze(z, leader, alone, frozen, since, layer):
    """Freeze the tokens that follow a point which follows itself; return whether all are.

    The freeze theorem of :class:`tokendyn.dynamics.freeze.Frozen`, for tokens that do not tie between different points
    (``alone``): such a point stays when its leader sits on it.
    """
    whole = True
    for i in range(leader.shape[0]):
        v = leader[i]
        if not frozen[i] and alone[i] and alone[v] and same_place(z, leader[v], v):
            frozen[i], since[i] = True, layer
        whole = whole and frozen[i]
    return whole


@_compiled
def tied_leaders(y, x, i, chosen):
    """Write the indices of all leaders of token i and return how many there are."""
    best = -np.inf
    count = 0
    for j in range(x.shape[1]):
        s = canonical_score(y, x, i, j)
        if s > best:
            best, count = s, 0
        if s == best:
            chosen[count] = j
            count += 1
    return count


@_compiled
def all_that_lead_themselves(z, head, spaces, leader, ties, chosen, out):
    """Write for every token whether it is among its own leaders."""
    y, x = queries_and_keys(z, head[0], head[1], spaces)
    for i in range(leader.shape[0]):
        if ties[i] == 1:
            out[i] = leader[i] == i
        else:
            count = tied_leaders(y, x, i, chosen)
            out[i] = np.any(chosen[:count] == i)


@_compiled
def by_matrix(matrix, z, out):
    """Return ``matrix z_i`` of every token, written to ``out`` and summed left to right; ``z`` for no matrix."""
    if matrix.shape[0] == 0:
        return z
    for i in range(z.shape[1]):
        for r in range(matrix.shape[0]):
            out[r, i] = z[0, i] * matrix[r, 0]
        for k in range(1, z.shape[0]):
            for r in range(matrix.shape[0]):
                out[r, i] += z[k, i] * matrix[r, k]
    return out


@_compiled
def queries_and_keys(z, query, key, spaces):
    """Return y and x."""
    return by_matrix(query, z, spaces[0]), by_matrix(key, z, spaces[1])


@_compiled
def largest_row_sum(matrix):
    """Return ``max_r sum_k |matrix_rk|``, which bounds a product in the largest norm; -1 for no matrix."""
    norm = -1.0 if matrix.shape[0] == 0 else 0.0
    for r in range(matrix.shape[0]):
        norm = max(norm, np.sum(np.abs(matrix[r])))
    return norm


@_compiled
def slack_of(layer, log_share, largest, dim, norms):
    """Return ``each`` and ``constant`` of :func:`find_leaders`: what rounding may do to two scores.

    A coordinate of a token errs by at most ``(8 layer + 16 + 4 |log_share|) eps largest``: a step rounds three numbers
    of at most twice the largest coordinate, and the rest is for the closed form. The bound is that of
    :func:`tokendyn.dynamics.ties.rounding_slack`; it may be generous, because it only sends a set to ``Frozen``.
    """
    rank, query_norm, key_norm = norms
    error = (8 * layer + 16 + 4 * abs(log_share)) * EPS * largest if layer > 0 else 0.0
    reach = error + (dim + 1) * EPS * largest
    query_error = error if query_norm < 0 else query_norm * reach
    key_error = error if key_norm < 0 else key_norm * reach
    longest = abs(key_norm) * largest
    each = 2 * ((rank + 2) * EPS * rank * longest + key_error)
    return each, 2 * rank * query_error * (longest + key_error)


@_compiled
def settle(y, x, origin, leader, ties, frozen, alone, room, who, each, constant, first):
    """Find whom the tokens follow that are not frozen; return whether no tie between different points is possible.

    At the first layer ``frozen`` says of whom that is known already, and is cleared.
    """
    find_leaders(y, x, leader, ties, frozen, room, who, each, constant)
    if first:
        frozen[:] = False
    sure = True
    for i in range(leader.shape[0]):
        if not frozen[i] and ties[i] != 1:
            ties[i], alone[i] = count_ties(y, x, origin, i, leader[i], each, constant, who)
            sure = sure and alone[i]
        elif not frozen[i]:
            alone[i] = True
    return sure


@_compiled
def forward(states, p, way, head, leaders, ties, known, room, spaces, chosen):  # noqa: PLR0912 - one loop over layers
    """Fill ``states[1:]``, ``leaders`` and ``ties`` from ``states[0]``; return whether rounding decided nothing.

    ``z_i <- z_i + (1-c) (mean_{C_i} z - z_i)``, the mean weighted by ``p``; a frozen token is placed in closed form, as
    :func:`tokendyn.dynamics.run` places it, to the same bits. Where ``known`` is set, row 0 of ``leaders`` and ``ties``
    is given. ``known`` becomes who is frozen; ``room``, ``spaces`` and ``chosen`` are working space. ``way`` and
    ``head`` are those of :func:`tokendyn.dynamics.ragged.way_of` and :func:`tokendyn.dynamics.ragged.head_of`.
    """
    _, shares, left, log_shares = way
    query, key, norms = head
    layers, n = leaders.shape
    frozen, whole, sure = known, False, True
    since, alone = np.empty(n, np.int64), np.ones(n, np.bool_)
    dim, largest = states.shape[1], 0.0
    for i in range(n):
        for d in range(dim):
            largest = max(largest, abs(states[0, d, i]))
    for k in range(layers):
        z, out = states[k], states[k + 1]
        # Once every token is frozen the map from tokens to leaders repeats, and so do the later rows.
        if k > 0:
            leaders[k] = leaders[k - 1]
            ties[k] = ties[k - 1]
        if not whole:
            each, constant = slack_of(k, log_shares[k], largest, dim, norms)
            # Numba counts references to an array that a function may or may not make: not in the ordinary case.
            if query.shape[0] == 0 and key.shape[0] == 0:
                settled = settle(
                    z, z, states[0], leaders[k], ties[k], frozen, alone, room, chosen, each, constant, k == 0
                )
            else:
                settled = settle(
                    by_matrix(query, z, spaces[0]), by_matrix(key, z, spaces[1]), states[0], leaders[k], ties[k],
                    frozen, alone, room, chosen, each, constant, k == 0,
                )  # fmt: skip
            sure = sure and settled
            whole = freeze(z, leaders[k], alone, frozen, since, k)
        for i in range(n):
            # A frozen token is never moved step by step: its rounding would add up, and a token that is almost at its
            # leader could tie with it.
            if frozen[i]:
                start, ahead = states[since[i]], left[k + 1, since[i]]
                for d in range(dim):
                    goal = start[d, leaders[k, i]]
                    out[d, i] = goal + ahead * (start[d, i] - goal)
                continue
            if alone[i]:
                chosen[0], count = leaders[k, i], 1
            else:
                count = tied_leaders(by_matrix(query, z, spaces[0]), by_matrix(key, z, spaces[1]), i, chosen)
            total = 0.0
            for q in range(count):
                total += p[chosen[q]]
            for d in range(dim):
                # A single leader's place as it is: (p z) / p would round.
                mean = z[d, chosen[0]]
                if count > 1:
                    mean = 0.0
                    for q in range(count):
                        mean += p[chosen[q]] * z[d, chosen[q]]
                    mean /= total
                out[d, i] = z[d, i] + shares[k] * (mean - z[d, i])
    return sure


@_compiled
def backward(states, p, way, head, leaders, ties, spaces, chosen, w, spare):
    """Turn ``w = p`` into the share of every token: ``w <- c w + (1-c) P_k^T w`` for the layers k backwards.

    ``P_k`` maps each token to the weighted mean of its leaders, so ``sum_j w_j z_j(k)`` is the same before and after
    each turn of the loop, and at its end ``sum_j w_j z_j(0) = sum_j p_j z_j(K)``.
    """
    layers, n = leaders.shape
    query, key, _ = head
    kept = way[0]
    w[:] = p
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
            give_back_ties(states[k], query, key, p, c, leaders[k], ties[k], spaces, chosen, w, spare)
        w[:] = spare


@_compiled
def give_back_ties(z, query, key, p, c, leaders, ties, spaces, chosen, w, spare):
    """Add ``(1-c) P^T w`` of one layer to ``spare``, where some token has several leaders."""
    y, x = queries_and_keys(z, query, key, spaces)
    for i in range(leaders.shape[0]):
        share = (1.0 - c) * w[i]
        if ties[i] == 1:
            spare[leaders[i]] += share
            continue
        count = tied_leaders(y, x, i, chosen)
        total = 0.0
        for q in range(count):
            total += p[chosen[q]]
        for q in range(count):
            spare[chosen[q]] += share * p[chosen[q]] / total


@_compiled
def largest_set(offsets, rows):
    """Return the tokens of the largest of some sets that are run, at least 1."""
    widest = 1
    for r in rows:
        if offsets[r + 1] - offsets[r] <= SMALL_SET:
            widest = max(widest, offsets[r + 1] - offsets[r])
    return widest


@_compiled
def working_space(layers, dim, head, n):
    """Return space for the way of n tokens through the layers.

    States, leaders, ties, known, chosen, weights, room, spaces of queries and keys.
    """
    rank = head[2][0]
    return (
        np.empty((layers + 1, dim, n)),
        np.empty((layers, n), np.int64),
        np.empty((layers, n), np.int64),
        np.empty(n, np.bool_),
        np.empty(n, np.int64),
        np.empty(n),
        working_room(rank, n),
        np.empty((2, rank, n)),
    )


@_compiled
def run_set(tokens, weights, way, head, space):
    """Run one set in the first columns of a working space; return whether the result is that of ``Frozen``."""
    n, dim = tokens.shape
    if n > SMALL_SET:
        return False
    states, leaders, ties, known, chosen, p, room, spaces = space
    total, largest = 0.0, 0.0
    for i in range(n):
        total += weights[i]
        for d in range(dim):
            states[0, d, i] = tokens[i, d]
            largest = max(largest, abs(tokens[i, d]))
    # Products of other sizes overflow or underflow unless they are scaled, which ``Frozen`` does.
    if largest != 0 and not MODERATE <= largest <= 1 / MODERATE:
        return False
    for i in range(n):
        p[i] = weights[i] / total
    known[:n] = False
    return forward(
        states[:, :, :n], p[:n], way, head, leaders[:, :n], ties[:, :n], known[:n], room, spaces[:, :, :n], chosen
    )


@_compiled
def run_sets(tokens, offsets, weights, rows, way, head, layers, recorded, states, leaders, ties, unsure):
    """Run the sets ``rows``; write the recorded states, and whom each token followed after them.

    ``recorded`` ascends from 0 to ``layers``. ``unsure`` marks the sets that have to be run by ``Frozen``.
    """
    dim = tokens.shape[1]
    space = working_space(layers, dim, head, largest_set(offsets, rows))
    for r in rows:
        first, last = offsets[r], offsets[r + 1]
        n = last - first
        if n == 0:
            continue
        unsure[r] = not run_set(tokens[first:last], weights[first:last], way, head, space)
        for place in range(len(recorded)):
            number = recorded[place]
            for i in range(n):
                for d in range(dim):
                    states[place, first + i, d] = space[0][number, d, i]
            if number < layers:
                for i in range(n):
                    leaders[place, first + i] = space[1][number, i]
                    ties[place, first + i] = space[2][number, i]


@_compiled
def share_sets(tokens, offsets, weights, rows, way, head, layers, shares, self_led, unsure):
    """Run the sets ``rows``; write the share of every token in the mean at the end, and whether it leads itself."""
    widest = largest_set(offsets, rows)
    space = working_space(layers, tokens.shape[1], head, widest)
    states, all_leaders, all_ties, _, chosen, p, _, all_spaces = space
    spare = np.empty(widest)
    for r in rows:
        first, last = offsets[r], offsets[r + 1]
        n = last - first
        if n == 0:
            continue
        unsure[r] = not run_set(tokens[first:last], weights[first:last], way, head, space)
        if unsure[r]:
            continue
        leaders, ties, spaces = all_leaders[:, :n], all_ties[:, :n], all_spaces[:, :, :n]
        backward(states[:, :, :n], p[:n], way, head, leaders, ties, spaces, chosen, shares[first:last], spare[:n])
        if layers == 0:
            self_led[first:last] = True
            continue
        all_that_lead_themselves(
            states[layers - 1][:, :n], head, spaces, leaders[layers - 1], ties[layers - 1], chosen, self_led[first:last]
        )
