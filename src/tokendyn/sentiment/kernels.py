"""Compiled passes over many short texts at once; arrays are ragged, so padding does not exist.

Symbols: ``z`` tokens of one text, ``p`` their weights (sum 1), ``c = 1/(1+alpha)``, ``w`` the share of each
token in the verdict. The last token of every text is the neutral pole. Plain Python outside numba: the
functions below carry no annotations because numba compiles them.
"""

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def working_room(dim, tokens):
    """Return the space that :func:`find_leaders` works in."""
    return np.empty((dim, tokens)), np.empty(tokens), np.empty(tokens), np.empty(tokens), np.empty(tokens)


@_compiled
def find_leaders(z, leader, ties, known, room, who):
    """Write the lowest leader and the number of leaders of every token whose leader is not known.

    Canonical tie rule: ``s_ij = z_i0 z_j0 + z_i1 z_j1 + ...`` left to right, unfused; j leads i when
    ``s_ij >= max_l s_il``. The innermost loop runs over the asking tokens, so that it vectorises.
    """
    dim, n = z.shape
    q, score, best, at, count = room
    asking = 0
    for i in range(n):
        if not known[i]:
            for k in range(dim):
                q[k, asking] = z[k, i]
            best[asking], at[asking], count[asking] = -np.inf, 0.0, 0.0
            who[asking] = i
            asking += 1
    q0, q1 = q[0], q[1]
    for j in range(n):
        a, b = z[0, j], z[1, j]
        if dim == 2:  # the ordinary case
            for r in range(asking):
                s = q0[r] * a + q1[r] * b
                above = s > best[r]
                count[r] = 1.0 if above else (count[r] + 1.0 if s == best[r] else count[r])
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
            count[r] = 1.0 if above else (count[r] + 1.0 if s == best[r] else count[r])
            at[r] = j if above else at[r]
            best[r] = s if above else best[r]
    for r in range(asking):
        leader[who[r]], ties[who[r]] = int(at[r]), int(count[r])


@_compiled
def freeze(leader, ties, frozen):
    """Mark the tokens whose leader can never change (unique, and uniquely its own); return whether all are.

    Our own theorem, A fixed: if i has the unique leader v and v uniquely leads itself, i follows v for ever.
    """
    whole = True
    for i in range(leader.shape[0]):
        v = leader[i]
        frozen[i] = frozen[i] or (ties[i] == 1 and leader[v] == v and ties[v] == 1)
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
def forward(states, p, c, leaders, ties, known, room, chosen):
    """Fill ``states[1:]``, ``leaders`` and ``ties`` from ``states[0]``; return the layers really searched.

    ``z_i <- z_i + (1-c) (mean_{C_i} z - z_i)``, the mean weighted by ``p``. Where ``known`` is set, row 0 of
    ``leaders`` and ``ties`` is given. Once every token is frozen the map from tokens to leaders repeats, and so
    do the later rows of ``leaders``. ``known`` becomes who is frozen; ``room`` and ``chosen`` are working space.
    """
    layers, n = leaders.shape
    searched = 0
    whole = False
    frozen = known
    for k in range(layers):
        z, out = states[k], states[k + 1]
        if k > 0:
            leaders[k] = leaders[k - 1]
            ties[k] = ties[k - 1]
        if not whole:
            find_leaders(z, leaders[k], ties[k], frozen, room, chosen)
            if k == 0:
                frozen[:] = False
            whole = freeze(leaders[k], ties[k], frozen)
            searched = k + 1
        for i in range(n):
            if ties[k, i] == 1:
                chosen[0], count = leaders[k, i], 1
            else:
                count = tied_leaders(z, i, chosen)
            total = 0.0
            for q in range(count):
                total += p[chosen[q]]
            for d in range(z.shape[0]):
                x = z[d, chosen[0]]
                if count > 1:
                    x = 0.0
                    for q in range(count):
                        x += p[chosen[q]] * z[d, chosen[q]]
                    x /= total
                out[d, i] = z[d, i] + (1.0 - c) * (x - z[d, i])
    return searched


@_compiled
def backward(states, p, c, leaders, ties, chosen, w, spare):
    """Turn ``w = p`` into the share of every token: ``w <- c w + (1-c) P_k^T w`` for the layers k backwards.

    ``P_k`` maps each token to the weighted mean of its leaders, so ``sum_j w_j z_j(0) = sum_j p_j z_j(K)``.
    """
    layers, n = leaders.shape
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
def shares(indptr, words, weights, neutral, points, c, layers, rows, keep, share, leads, led):
    """Run the texts ``rows``; write the share of every kept word, whether it leads, and the number of leaders.

    ``points`` is ``(dim, words + 1)``, its last column the neutral pole. ``keep[q] == 0`` leaves the q-th entry
    out (word dropout). ``leads`` counts the tokens that carry a contribution and lead themselves at the last
    layer; without layers every word does.
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
        forward(states, p, c, leaders, ties, all_known[:n], room, chosen)
        backward(states, p, c, leaders, ties, chosen, w, all_spare[:n])
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
