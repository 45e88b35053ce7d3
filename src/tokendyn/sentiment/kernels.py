"""Compiled passes over many short texts at once; arrays are ragged, so padding does not exist.

Symbols: ``z`` tokens of one text, ``p`` their weights (sum 1), ``c = 1/(1+alpha)``, ``w`` the share of each
token in the verdict. The last token of every text is the neutral pole. Plain Python outside numba: the
functions below carry no annotations because numba compiles them.
"""

import numba
import numpy as np

from tokendyn.dynamics.freeze_kernels import EPS

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def working_room(dim, tokens):
    """Return the space that :func:`find_leaders` works in."""
    return np.empty((dim, tokens)), np.empty(tokens), np.empty(tokens), np.empty(tokens), np.empty(tokens)


@_compiled
def find_leaders(z, leader, ties, known, room, who, each, constant):
    """Write the lowest leader of every token whose leader is not known, and 1, or 0 where others may lead too.

    Canonical tie rule: ``s_ij = z_i0 z_j0 + z_i1 z_j1 + ...`` left to right, unfused; j leads i when
    ``s_ij >= max_l s_il``. Rounding cannot tell scores apart that differ by up to ``each |z_i|_1 + constant``. The
    innermost loop runs over the asking tokens, so that it vectorises.
    """
    dim, n = z.shape
    q, score, best, at, second = room
    asking = 0
    for i in range(n):
        if not known[i]:
            for k in range(dim):
                q[k, asking] = z[k, i]
            best[asking], at[asking], second[asking] = -np.inf, 0.0, -np.inf
            who[asking] = i
            asking += 1
    q0, q1 = q[0], q[1]
    for j in range(n):
        a, b = z[0, j], z[1, j]
        if dim == 2:  # the ordinary case
            for r in range(asking):
                s = q0[r] * a + q1[r] * b
                above = s > best[r]
                lower = best[r] if above else s
                second[r] = lower if lower > second[r] else second[r]
                at[r] = j if above else at[r]
                best[r] = s if above else best[r]
            continue
        for r in range(asking):
            score[r] = q0[r] * a + q1[r] * b
        for k in range(2, dim):
            a = z[k, j]
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
        for k in range(dim):
            size += abs(q[k, r])
        leader[who[r]] = int(at[r])
        ties[who[r]] = 1 if second[r] < best[r] - (each * size + constant) else 0


@_compiled
def count_ties(z, origin, i, leader, each, constant, chosen):
    """Return how many tokens lead token i, and whether they began at one point, with nothing else near the top."""
    a, b, size = z[0, i], z[1, i], 0.0
    for k in range(z.shape[0]):
        size += abs(z[k, i])
    best = -np.inf
    for twice in range(2):
        alone = True
        for j in range(z.shape[1]):
            s = a * z[0, j] + b * z[1, j]
            for k in range(2, z.shape[0]):
                s += z[k, i] * z[k, j]
            if twice and s >= best - (each * size + constant):
                alone = alone and same_place(origin, j, leader)
            best = max(best, s)
    return tied_leaders(z, i, chosen), alone


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

    The rule of :class:`tokendyn.dynamics.freeze.Frozen`, for texts in which no token ties between different points.
    """
    whole = True
    for i in range(leader.shape[0]):
        v = leader[i]
        if not frozen[i] and alone[i] and alone[v] and same_place(z, leader[v], v):
            frozen[i], since[i] = True, layer
        whole = whole and frozen[i]
    return whole


@_compiled
def tied_leaders(z, i, chosen):
    """Write the indices of all leaders of token i and return how many there are."""
    a, b = z[0, i], z[1, i]
    best = -np.inf
    count = 0
    for j in range(z.shape[1]):
        s = a * z[0, j] + b * z[1, j]
        for k in range(2, z.shape[0]):
            s += z[k, i] * z[k, j]
        if s > best:
            best, count = s, 0
        if s == best:
            chosen[count] = j
            count += 1
    return count


@_compiled
def leads_itself(z, i, leader, ties, chosen):
    """Return whether token i is among its own leaders."""
    if ties[i] == 1:
        return leader[i] == i
    count = tied_leaders(z, i, chosen)
    return np.any(chosen[:count] == i)


@_compiled
def all_that_lead_themselves(z, leader, ties, chosen, out):
    """Write for every token whether it is among its own leaders."""
    for i in range(leader.shape[0]):
        out[i] = leads_itself(z, i, leader, ties, chosen)


@_compiled
def forward(states, p, way, leaders, ties, known, room, chosen):  # noqa: PLR0912 - one loop over layers
    """Fill ``states[1:]``, ``leaders`` and ``ties`` from ``states[0]``; return whether rounding decided nothing.

    ``z_i <- z_i + (1-c) (mean_{C_i} z - z_i)``, the mean weighted by ``p``; a frozen token is placed in closed form, as
    :func:`tokendyn.dynamics.run` places it, to the same bits. Where ``known`` is set, row 0 of ``leaders`` and ``ties``
    is given. Once every token is frozen the map from tokens to leaders repeats, and so do the later rows of
    ``leaders``. ``known`` becomes who is frozen; ``room`` and ``chosen`` are working space. ``way`` is that of
    :func:`tokendyn.sentiment.routing.way_of`.
    """
    _, share, left, log_shares = way
    layers, n = leaders.shape
    frozen, whole, sure = known, False, True
    since, alone = np.empty(n, np.int64), np.ones(n, np.bool_)
    dim, largest = states.shape[1], 0.0
    for i in range(n):
        for d in range(dim):
            largest = max(largest, abs(states[0, d, i]))
    for k in range(layers):
        z, out = states[k], states[k + 1]
        if k > 0:
            leaders[k] = leaders[k - 1]
            ties[k] = ties[k - 1]
        if not whole:
            # The slack of tokendyn.dynamics.ties.rounding_slack, for A = I.
            error = (8 * k + 16 + 4 * abs(log_shares[k])) * EPS * largest if k > 0 else 0.0
            each = 2 * ((dim + 2) * EPS * dim * largest + error)
            constant = 2 * dim * error * (largest + error)
            find_leaders(z, leaders[k], ties[k], frozen, room, chosen, each, constant)
            if k == 0:
                frozen[:] = False
            for i in range(n):
                if not frozen[i] and ties[k, i] != 1:
                    ties[k, i], alone[i] = count_ties(z, states[0], i, leaders[k, i], each, constant, chosen)
                    sure = sure and alone[i]
                elif not frozen[i]:
                    alone[i] = True
            whole = freeze(z, leaders[k], alone, frozen, since, k)
        for i in range(n):
            if frozen[i]:
                start, ahead = states[since[i]], left[k + 1, since[i]]
                for d in range(dim):
                    goal = start[d, leaders[k, i]]
                    out[d, i] = goal + ahead * (start[d, i] - goal)
                continue
            if alone[i]:
                chosen[0], count = leaders[k, i], 1
            else:
                count = tied_leaders(z, i, chosen)
            total = 0.0
            for q in range(count):
                total += p[chosen[q]]
            for d in range(dim):
                x = z[d, chosen[0]]
                if count > 1:
                    x = 0.0
                    for q in range(count):
                        x += p[chosen[q]] * z[d, chosen[q]]
                    x /= total
                out[d, i] = z[d, i] + share * (x - z[d, i])
    return sure


@_compiled
def backward(states, p, way, leaders, ties, chosen, w, spare):
    """Turn ``w = p`` into the share of every token: ``w <- c w + (1-c) P_k^T w`` for the layers k backwards.

    ``P_k`` maps each token to the weighted mean of its leaders, so ``sum_j w_j z_j(0) = sum_j p_j z_j(K)``.
    """
    layers, n = leaders.shape
    c = way[0]
    w[:] = p
    for back in range(layers):
        k = layers - 1 - back
        for i in range(n):
            spare[i] = c * w[i]
        for i in range(n):
            share = (1.0 - c) * w[i]
            if ties[k, i] == 1:
                spare[leaders[k, i]] += share
            else:
                count = tied_leaders(states[k], i, chosen)
                total = 0.0
                for q in range(count):
                    total += p[chosen[q]]
                for q in range(count):
                    spare[chosen[q]] += share * p[chosen[q]] / total
        w[:] = spare


@_compiled
def shares(indptr, words, weights, neutral, points, way, layers, rows, keep, share, leads, led, doubtful):
    """Run the texts ``rows``; write the share of every kept word, whether it leads, and the number of leaders.

    ``points`` is ``(dim, words + 1)``, its last column the neutral pole. ``keep[q] == 0`` leaves the q-th entry
    out (word dropout). ``leads`` counts the tokens that carry a contribution and lead themselves at the last
    layer; without layers every word does. ``doubtful`` marks the texts in which rounding decided whom a token follows.
    """
    widest = 1
    for r in rows:
        widest = max(widest, indptr[r + 1] - indptr[r] + 1)
    dim = points.shape[0]
    all_states = np.empty((layers + 1, dim, widest))
    all_leaders = np.empty((layers, widest), np.int64)
    all_ties = np.empty((layers, widest), np.int64)
    all_known = np.empty(widest, np.bool_)
    room = working_room(dim, widest)
    chosen = np.empty(widest, np.int64)
    all_p, all_w, all_spare = np.empty(widest), np.empty(widest), np.empty(widest)
    place = np.empty(widest, np.int64)
    pole = points.shape[1] - 1
    for r in rows:
        n = 0
        total = 0.0
        for q in range(indptr[r], indptr[r + 1]):
            share[q] = 0.0
            led[q] = False
            if keep[q]:
                place[n] = q
                all_p[n] = weights[q]
                total += weights[q]
                for d in range(dim):
                    all_states[0, d, n] = points[d, words[q]]
                n += 1
        if neutral[r] > 0:
            all_p[n] = neutral[r]
            total += neutral[r]
            for d in range(dim):
                all_states[0, d, n] = points[d, pole]
            n += 1
        leads[r] = 0
        if n == 0:
            continue
        p = all_p[:n]
        for i in range(n):
            p[i] /= total
        states, leaders, ties = all_states[:, :, :n], all_leaders[:, :n], all_ties[:, :n]
        w = all_w[:n]
        all_known[:n] = False
        doubtful[r] = not forward(states, p, way, leaders, ties, all_known[:n], room, chosen)
        backward(states, p, way, leaders, ties, chosen, w, all_spare[:n])
        active = n - 1 if neutral[r] > 0 else n
        for i in range(active):
            share[place[i]] = w[i]
            if layers == 0 or leads_itself(states[layers - 1], i, leaders[layers - 1], ties[layers - 1], chosen):
                leads[r] += 1
                led[place[i]] = True


@_compiled
def logits(indptr, words, share, values, gain, bias, rows, out):
    """Write ``out[r] = gain sum_j w_j s_j + bias`` for the texts ``rows``."""
    for r in rows:
        total = 0.0
        for q in range(indptr[r], indptr[r + 1]):
            total += share[q] * values[words[q]]
        out[r] = gain * total + bias


@_compiled
def add_gradient(indptr, words, share, gain, slope, rows, gradient):
    """Add ``slope[r] gain w_j`` to the gradient of every word j of the texts ``rows``; return the bias's."""
    total = 0.0
    for r in rows:
        total += slope[r]
        for q in range(indptr[r], indptr[r + 1]):
            gradient[words[q]] += slope[r] * gain * share[q]
    return total


@_compiled
def scores(indptr, words, share, values, gain, bias, rows, out):
    """Write ``out[r, c] = gain sum_j w_j s_jc + bias_c`` for the texts ``rows``."""
    classes = values.shape[1]
    for r in rows:
        out[r] = 0.0
        for q in range(indptr[r], indptr[r + 1]):
            for c in range(classes):
                out[r, c] += share[q] * values[words[q], c]
        for c in range(classes):
            out[r, c] = gain * out[r, c] + bias[c]


@_compiled
def add_gradients(indptr, words, share, gain, slope, rows, gradient):
    """Add ``slope[r, c] gain w_j`` to the gradient of value c of every word j of the texts ``rows``."""
    classes = slope.shape[1]
    for r in rows:
        for q in range(indptr[r], indptr[r + 1]):
            for c in range(classes):
                gradient[words[q], c] += slope[r, c] * gain * share[q]
