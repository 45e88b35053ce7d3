"""Compiled: the words whose removal turns a verdict, with exact paths through the layers.

The layers, symbols and workspaces are those of :mod:`tokendyn.dynamics.ragged_kernels`. The margin of a verdict is the
least of ``A_r . m + b_r``, where m is the mean of the tokens after the last layer: the distance of the verdict's score
above that of each other class. Each path is returned with a flag that no decision in it depends on rounding; paths
without the flag are not used. Plain Python outside numba: the functions below carry no annotations because numba
compiles them.
"""

import numba
import numpy as np

from tokendyn.dynamics.ragged_kernels import forward, head_space, motion_space, place_frozen
from tokendyn.dynamics.ragged_leader_kernels import tied_leaders
from tokendyn.dynamics.ragged_share_kernels import backward, place_for_ties

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def margin_of(total, mass, directions, offsets):
    """Return the margin for the sum ``total`` of tokens of weight ``mass``; without tokens, that of the bias."""
    least = np.inf
    for r in range(len(offsets)):
        part = 0.0
        if mass > 0.0:
            for d in range(len(total)):
                part += directions[r, d] * total[d]
            part /= mass
        least = min(least, part + offsets[r])
    return least


@_compiled
def pass_through(z, p, kept, n, core, motion, space, total):
    """Run n tokens ``kept`` of a text, and write the weighted sum of their last positions.

    Return their weight, whether rounding decided nothing, and the first layer from which all are frozen.
    """
    states, leaders, _, _, since = motion
    layers, dim = leaders.shape[0], z.shape[0]
    way, head = core
    mass, largest = 0.0, 0.0
    for i in range(n):
        mass += p[kept[i]]
        for d in range(dim):
            states[0, d, i] = z[d, kept[i]]
            largest = max(largest, abs(states[0, d, i]))
    sure, end = forward(n, largest, motion, way, head, space)
    # Only the last positions matter, so a path in closed form costs one layer.
    if sure and end < layers:
        place_frozen(states, n, leaders[end], since, way[2], layers)
    for d in range(dim):
        total[d] = 0.0
    for i in range(n):
        for d in range(dim):
            total[d] += p[kept[i]] * states[layers, d, i]
    return mass, sure, end


@_compiled
def who_leads_others(n, end, motion, members, leads):
    """Write which tokens lead another token at any layer; the leaders do not change after layer ``end``."""
    states, leaders, ties, _, _ = motion
    leads[:n] = False
    for k in range(min(end + 1, leaders.shape[0])):
        for i in range(n):
            if ties[k, i] == 1:
                leads[leaders[k, i]] = leads[leaders[k, i]] or leaders[k, i] != i
            else:
                for q in range(tied_leaders(states[k], states[k], n, i, members)):
                    leads[members[q]] = leads[members[q]] or members[q] != i


@_compiled
def strongest(leads, support, tried, words):
    """Return the leading word of largest positive support that was not tried; -1 if there is none."""
    top, at = 0.0, -1
    for i in range(words):
        if leads[i] and not tried[i] and support[i] > top:
            top, at = support[i], i
    return at


@_compiled
def know_without(out, n, motion, rest):
    """Write the leaders at the first layer without token ``out`` of n, for the tokens that did not follow it.

    The two motions may share memory: all entries move down, so each is read before it is overwritten.
    """
    _, leaders, ties, _, _ = motion
    _, rest_leaders, rest_ties, known, _ = rest
    for q in range(n - 1):
        i = q if q < out else q + 1
        known[q] = False
        if leaders.shape[0] > 0:
            leader = leaders[0, i]
            known[q] = ties[0, i] == 1 and leader != out
            if known[q]:
                rest_leaders[0, q], rest_ties[0, q] = leader if leader < out else leader - 1, 1


@_compiled
def leave_out(out, n, kept, left):
    """Write all numbers except the one at index ``out``; the arrays may be the same."""
    for q in range(n - 1):
        left[q] = kept[q if q < out else q + 1]


@_compiled
def next_to_go(margin, words, n, z, p, kept, core, directions, offsets, tries, drops, motion, rest, left, space):
    """Return the word without which the margin is least (-1 if none lowers it), the margin, and whether it is sure."""
    dim, layers = z.shape[0], motion[1].shape[0]
    total, less, none = np.empty(dim), np.empty(dim), np.zeros(len(offsets))
    mass, sure, end = pass_through(z, p, kept, n, core, motion, space, total)
    if not sure:
        return -1, margin, False
    states = motion[0]
    leads, tried = np.empty(n, np.bool_), np.zeros(n, np.bool_)
    share, spare, worth, support = np.empty(n), np.empty(n), np.empty(words), np.empty(words)
    place_for_ties(n, end, motion, core[0][2])
    who_leads_others(n, end, motion, space[2], leads)
    backward(n, p[kept[:n]] / mass, motion, core[0], core[1], space, share, spare)
    best, out = margin, -1
    for i in range(words):
        j = kept[i]
        worth[i] = margin_of(z[:, j], 1.0, directions, none)
        support[i] = share[i] * worth[i]
        if not leads[i]:
            for d in range(dim):
                less[d] = total[d] - p[j] * states[layers, d, i]
            without = margin_of(less, mass - p[j] if n > 1 else 0.0, directions, offsets)
            if without < best:
                best, out = without, i
    now = margin_of(total, mass, directions, offsets)
    before = drops[kept[:words]]
    for look in range(3 * tries):
        i = strongest(leads, support if look < tries else worth if look < 2 * tries else before, tried, words)
        if i >= 0:
            tried[i] = True
            leave_out(i, n, kept, left)
            know_without(i, n, motion, rest)
            rest_mass, sure, _ = pass_through(z, p, left, n - 1, core, rest, space, total)
            if not sure:
                return -1, margin, False
            without = margin_of(total, rest_mass, directions, offsets)
            drops[kept[i]] = now - without
            if without < best:
                best, out = without, i
    return out, best, True


@_compiled
def succession(z, p, words, core, layers, directions, offsets, looked_at, until, at_most, order, margins):
    """Remove word after word, each time the word without which the margin is least; return their number.

    Return -1 if rounding decided the leader of a token in any of the paths: the result is then not usable.

    ``core`` is the pair of steps and head that the layers take. ``z`` is ``(dim, tokens)``; the first ``words`` tokens
    may be removed. A word that leads no other word does not change their paths, so its margin is known at once. Of the
    words that lead, the ``looked_at`` of largest support (share times value) and the ``looked_at`` of largest value are
    removed on trial, and the rest is run again; after the first word, one of each, and the word whose last trial
    lowered the margin most. The loop ends when the margin is below ``until``, no word lowers it further, or ``at_most``
    words are removed.
    """
    dim, n = z.shape
    # Two motions: the motion of all tokens is still needed while a token is removed on trial.
    motion, rest, space = motion_space(layers, dim, n), motion_space(layers, dim, n), head_space(dim, n)
    motion[3][:] = False
    kept, left, drops = np.arange(n), np.empty(n, np.int64), np.zeros(n)
    margin = np.inf
    for count in range(at_most):
        tries = looked_at if count == 0 else 1
        out, margin, sure = next_to_go(
            margin,
            words - count,
            n - count,
            z,
            p,
            kept,
            core,
            directions,
            offsets,
            tries,
            drops,
            motion,
            rest,
            left,
            space,
        )
        if not sure:
            return -1
        if out < 0:
            return count
        order[count], margins[count] = kept[out], margin
        know_without(out, n - count, motion, motion)
        leave_out(out, n - count, kept, kept)
        if margin < until:
            return count + 1
    return at_most
