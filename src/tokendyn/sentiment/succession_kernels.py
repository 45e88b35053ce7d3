"""Compiled: which words have to go for a verdict to turn, each way through the layers exact.

The layers are those of :mod:`tokendyn.dynamics.ragged_kernels`, and so are the symbols. The margin of a verdict is the
least of ``A_r . m + b_r``, with m the mean of the tokens after the last layer: how far the score of the verdict is
above that of each other class. Each way is returned with whether rounding decided nothing in it. Plain Python outside
numba: the functions below carry no annotations because numba compiles them.
"""

import numba
import numpy as np

from tokendyn.dynamics.ragged_kernels import backward, forward, tied_leaders, working_room

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def margin_of(total, mass, directions, offsets):
    """Return the margin for the sum ``total`` of tokens of weight ``mass``; without tokens, of the bias."""
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
def pass_through(z, p, place, core, states, leaders, ties, known, room, chosen, total):
    """Run the tokens ``place`` of a text; write the weighted sum of their last places; return their weight, if sure."""
    layers = leaders.shape[0]
    mass = 0.0
    for i in range(len(place)):
        mass += p[place[i]]
        for d in range(z.shape[0]):
            states[0, d, i] = z[d, place[i]]
    sure = forward(
        states, p[place], core[0], core[1], leaders, ties, known, room[0], room[1][:, :, : len(place)], chosen
    )
    total[:] = 0.0
    for i in range(len(place)):
        for d in range(z.shape[0]):
            total[d] += p[place[i]] * states[layers, d, i]
    return mass, sure


@_compiled
def who_leads_others(states, leaders, ties, chosen, leads):
    """Write which tokens lead another one at any layer."""
    leads[:] = False
    for k in range(leaders.shape[0]):
        for i in range(leaders.shape[1]):
            if ties[k, i] == 1:
                leads[leaders[k, i]] = leads[leaders[k, i]] or leaders[k, i] != i
            else:
                for q in range(tied_leaders(states[k], states[k], i, chosen)):
                    leads[chosen[q]] = leads[chosen[q]] or chosen[q] != i


@_compiled
def strongest(leads, support, tried, words):
    """Return the leading word of largest positive support that was not tried; -1 when there is none."""
    top, at = 0.0, -1
    for i in range(words):
        if leads[i] and not tried[i] and support[i] > top:
            top, at = support[i], i
    return at


@_compiled
def known_without(out, lead, tie, known, rest_lead, rest_tie):
    """Write what is known at the first layer when token ``out`` goes: whom those follow that did not follow it.

    The arrays may be written over themselves.
    """
    for q in range(len(known)):
        i = q if q < out else q + 1
        leader = lead[0, i]
        known[q] = tie[0, i] == 1 and leader != out
        if known[q]:
            rest_lead[0, q], rest_tie[0, q] = leader if leader < out else leader - 1, 1


@_compiled
def margin_without(out, z, p, place, core, lead, tie, rest, directions, offsets, room):
    """Run all tokens but one of ``place`` and return their margin, and whether it is sure."""
    layers, m = lead.shape
    states, rest_lead, rest_tie, known, chosen = rest
    known_now, lead_now, tie_now = known[: m - 1], rest_lead[:, : m - 1], rest_tie[:, : m - 1]
    known_now[:] = False
    if layers > 0:
        known_without(out, lead, tie, known_now, lead_now, tie_now)
    left = np.concatenate((place[:out], place[out + 1 :]))
    total = np.empty(z.shape[0])
    mass, sure = pass_through(
        z, p, left, core, states[:, :, : m - 1], lead_now, tie_now, known_now, room, chosen, total
    )
    return margin_of(total, mass, directions, offsets), sure


@_compiled
def next_to_go(margin, words, z, p, place, core, layers, directions, offsets, tries, drops, whole, rest, room):
    """Return the place of the word without which the margin is least (-1 if none lowers it), the margin, if sure."""
    dim, m = z.shape[0], len(place)
    states, leaders, ties, known, chosen = whole
    at, lead, tie = states[:, :, :m], leaders[:, :m], ties[:, :m]
    total, less, none = np.empty(dim), np.empty(dim), np.zeros(len(offsets))
    mass, sure = pass_through(z, p, place, core, at, lead, tie, known[:m], room, chosen, total)
    leads, tried = np.empty(m, np.bool_), np.zeros(m, np.bool_)
    share, spare, worth, support = np.empty(m), np.empty(m), np.empty(words), np.empty(words)
    who_leads_others(at, lead, tie, chosen, leads)
    backward(at, p[place] / mass, core[0], core[1], lead, tie, room[1][:, :, :m], chosen, share, spare)
    best, out = margin, -1
    for i in range(words):
        j = place[i]
        worth[i] = margin_of(z[:, j], 1.0, directions, none)
        support[i] = share[i] * worth[i]
        if not leads[i]:
            for d in range(dim):
                less[d] = total[d] - p[j] * at[layers, d, i]
            found = margin_of(less, mass - p[j] if m > 1 else 0.0, directions, offsets)
            if found < best:
                best, out = found, i
    now = margin_of(total, mass, directions, offsets)
    before = drops[place[:words]]
    for look in range(3 * tries):
        i = strongest(leads, support if look < tries else worth if look < 2 * tries else before, tried, words)
        if i >= 0:
            tried[i] = True
            found, sure_without = margin_without(i, z, p, place, core, lead, tie, rest, directions, offsets, room)
            sure = sure and sure_without
            drops[place[i]] = now - found
            if found < best:
                best, out = found, i
    return out, best, sure


@_compiled
def working_space(layers, dim, n):
    """Return space for one way of n tokens through the layers: states, leaders, ties, known, chosen."""
    return (
        np.empty((layers + 1, dim, n)),
        np.empty((layers, n), np.int64),
        np.empty((layers, n), np.int64),
        np.empty(n, np.bool_),
        np.empty(n, np.int64),
    )


@_compiled
def succession(z, p, words, core, layers, directions, offsets, looked_at, until, at_most, order, margins):
    """Take out word after word, each time the one without which the margin is least; return how many.

    Return -1 when rounding decided whom a token follows in any of the ways: then nothing of it is to be used.

    ``core`` is the pair of steps and head that the layers take. ``z`` is ``(dim, tokens)``; the first ``words`` tokens
    may go. A word that leads no other one changes nobody's way, so its margin is known at once. Of those that lead, the
    ``looked_at`` of largest support (share times value) and the ``looked_at`` of largest value are taken out for a try,
    and the rest is run again; after the first word one of each, and the one whose last try lowered the margin most. It
    ends when the margin is below ``until``, nothing more lowers it, or after ``at_most`` words.
    """
    dim, n = z.shape
    whole, rest = working_space(layers, dim, n), working_space(layers, dim, n)
    room = working_room(dim, n), np.empty((2, dim, n))
    _, leaders, ties, known, _ = whole
    known[:] = False
    place, drops = np.arange(n), np.zeros(n)
    margin = np.inf
    for count in range(at_most):
        tries = looked_at if count == 0 else 1
        out, margin, sure = next_to_go(
            margin, words - count, z, p, place, core, layers, directions, offsets, tries, drops, whole, rest, room
        )
        if not sure:
            return -1
        if out < 0:
            return count
        order[count], margins[count] = place[out], margin
        place = np.concatenate((place[:out], place[out + 1 :]))
        known[: len(place)] = False
        if layers > 0:
            known_without(out, leaders, ties, known[: len(place)], leaders, ties)
        if margin < until:
            return count + 1
    return at_most
