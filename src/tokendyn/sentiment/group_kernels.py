"""Compiled passes over the occurrences of words and n-grams in a text.

Symbols: ``first``, ``last`` the first and last word of an occurrence, ``alive`` whether it remains, ``weights`` its
weight; the occurrences of entry e are ``indptr[e]`` to ``indptr[e + 1]``. ``mark[u] == stamp`` means that word u is
removed. Plain Python outside numba: the functions below carry no annotations because numba compiles them.
"""

import numba

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def mark_words(indptr, first, last, alive, entry, mark, stamp):
    """Mark the words under all occurrences of an entry; return their number."""
    count = 0
    for o in range(indptr[entry], indptr[entry + 1]):
        if alive[o]:
            for u in range(first[o], last[o] + 1):
                if mark[u] != stamp:
                    mark[u] = stamp
                    count += 1
    return count


@_compiled
def touched(first, last, o, mark, stamp):
    """Return whether an occurrence covers a marked word."""
    found = False
    for u in range(first[o], last[o] + 1):
        found |= mark[u] == stamp
    return found


@_compiled
def margins_without(
    indptr, first, last, alive, weights, candidates, values, sums, length, phantom, biases, verdict, mark, base, out
):
    """Write the margin of the verdict without each candidate; return the next unused stamp.

    ``sums`` is ``sum_j m_j v_j`` over the remaining words, for each class; for two classes, for the side of the
    verdict.
    """
    columns = values.shape[1]
    for k in range(len(candidates)):
        stamp = base + k
        gone = mark_words(indptr, first, last, alive, candidates[k], mark, stamp)
        left = sums.copy()
        for e in range(len(indptr) - 1):
            for o in range(indptr[e], indptr[e + 1]):
                if alive[o] and touched(first, last, o, mark, stamp):
                    for c in range(columns):
                        left[c] -= weights[o] * values[e, c]
        out[k] = margin(left, length - gone, phantom, biases, verdict)
    return base + len(candidates)


@_compiled
def margin(sums, length, phantom, biases, verdict):
    """Return the margin of the verdict: its score minus the largest other score, or the logit of two classes."""
    mass = length + phantom
    scale = 1.0 / mass if mass > 0.0 else 0.0
    if len(sums) == 1:
        return sums[0] * scale + biases[0]
    best = -1e300
    for c in range(len(sums)):
        if c != verdict and sums[c] * scale + biases[c] > best:
            best = sums[c] * scale + biases[c]
    return sums[verdict] * scale + biases[verdict] - best


@_compiled
def take_out(indptr, first, last, alive, weights, entry, values, sums, mark, stamp):
    """Remove an entry with all n-grams that contain a word of it; return the number of words removed."""
    gone = mark_words(indptr, first, last, alive, entry, mark, stamp)
    for e in range(len(indptr) - 1):
        for o in range(indptr[e], indptr[e + 1]):
            if alive[o] and touched(first, last, o, mark, stamp):
                alive[o] = False
                for c in range(values.shape[1]):
                    sums[c] -= weights[o] * values[e, c]
    return gone
