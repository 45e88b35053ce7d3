"""Compiled passes over ragged sequences of tokens: equal rows, distinct tokens, equal sets.

Hashes only narrow the search: wherever two rows or sequences share a hash, their contents are compared.
"""

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)

#: Odd multipliers with well-mixed bits: 2^64 divided by the golden ratio, and the second prime of xxHash64.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_OTHER = np.uint64(0xC2B2AE3D27D4EB4F)


@_compiled
def _mix(value, word):
    """Return a hash of a hash and a word; collisions are possible and callers check for them."""
    value = (value ^ word) * _FACTOR
    value ^= value >> np.uint64(29)
    value *= _OTHER
    return value ^ (value >> np.uint64(32))


@_compiled
def hash_rows(bits):
    """Return a hash for each row of an unsigned integer matrix."""
    out = np.empty(bits.shape[0], np.uint64)
    for i in range(bits.shape[0]):
        value = np.uint64(17)
        for k in range(bits.shape[1]):
            value = _mix(value, bits[i, k])
        out[i] = value
    return out


@_compiled
def distinct_per_sequence(numbers, starts):
    """Return starts, ascending distinct numbers, and their counts, of every sequence."""
    sequences = starts.shape[0] - 1
    out_starts = np.zeros(sequences + 1, np.int64)
    members = np.empty(numbers.shape[0], np.int64)
    counts = np.empty(numbers.shape[0], np.int64)
    filled = 0
    for j in range(sequences):
        part = np.sort(numbers[starts[j] : starts[j + 1]])
        for i in range(part.shape[0]):
            if i and part[i] == part[i - 1]:
                counts[filled - 1] += 1
            else:
                members[filled], counts[filled] = part[i], 1
                filled += 1
        out_starts[j + 1] = filled
    return out_starts, members[:filled].copy(), counts[:filled].copy()


@_compiled
def hash_sequences(starts, members, counts):
    """Return a hash for each sequence of (member, count)."""
    out = np.empty(starts.shape[0] - 1, np.uint64)
    for j in range(out.shape[0]):
        value = np.uint64(29)
        for i in range(starts[j], starts[j + 1]):
            value = _mix(_mix(value, np.uint64(members[i])), np.uint64(counts[i]))
        out[j] = value
    return out


@_compiled
def same_sequences(starts, members, counts, mates):
    """Return whether every sequence has the same members and counts as its mate."""
    for j in range(mates.shape[0]):
        a, b = starts[j], starts[mates[j]]
        length = starts[j + 1] - a
        if starts[mates[j] + 1] - b != length:
            return False
        for i in range(length):
            if members[a + i] != members[b + i] or counts[a + i] != counts[b + i]:
                return False
    return True


@_compiled
def _before(bits, a, b):
    """Return -1, 0 or 1 as row a comes before, equals or comes after row b."""
    for k in range(bits.shape[1]):
        if bits[a, k] != bits[b, k]:
            return -1 if bits[a, k] < bits[b, k] else 1
    return 0


@_compiled
def _sorted_rows(bits, hashes, first, last):
    """Return the rows first..last sorted by hash, rows of one hash by content, equal rows in their order."""
    # Insertion sort within a hash: rows of one hash are almost always equal already.
    order = first + np.argsort(hashes[first:last], kind="mergesort")
    for i in range(1, order.shape[0]):
        row, position = order[i], i
        while position and hashes[order[position - 1]] == hashes[row] and _before(bits, order[position - 1], row) > 0:
            order[position] = order[position - 1]
            position -= 1
        order[position] = row
    return order


@_compiled
def _divisor(a, b):
    while b:
        a, b = b, a % b
    return a


@_compiled
def canonical_rows(bits, hashes, starts, proportions):
    """Bring every sequence to its canonical form.

    Parameters
    ----------
    bits, hashes
        Tokens as unsigned integers, and a hash of each.
    starts
        Sequence j holds the rows ``starts[j]`` to ``starts[j + 1]``.
    proportions
        False: each distinct token once. True: the smallest multiset with the same shares.

    Returns
    -------
    out_starts, rows
        The forms: numbers of rows of ``bits``, in an order that depends on the tokens alone.
    row_of
        For each row of ``bits``, the first position of its token in ``rows``.
    """
    sequences = starts.shape[0] - 1
    out_starts = np.zeros(sequences + 1, np.int64)
    rows, row_of = np.empty(bits.shape[0], np.int64), np.empty(bits.shape[0], np.int64)
    filled = 0
    for j in range(sequences):
        order = _sorted_rows(bits, hashes, starts[j], starts[j + 1])
        n = order.shape[0]
        heads = np.empty(n + 1, np.int64)
        groups = 0
        for i in range(n):
            if i == 0 or hashes[order[i]] != hashes[order[i - 1]] or _before(bits, order[i - 1], order[i]) != 0:
                heads[groups] = i
                groups += 1
        heads[groups] = n
        shared = 0
        for g in range(groups):
            shared = _divisor(heads[g + 1] - heads[g], shared)
        for g in range(groups):
            copies = (heads[g + 1] - heads[g]) // shared if proportions else 1
            for i in range(heads[g], heads[g + 1]):
                row_of[order[i]] = filled
            for _ in range(copies):
                rows[filled] = order[heads[g]]
                filled += 1
        out_starts[j + 1] = filled
    return out_starts, rows[:filled].copy(), row_of


@_compiled
def hash_forms(hashes, starts):
    """Return a hash for each sequence of hashes."""
    out = np.empty(starts.shape[0] - 1, np.uint64)
    for j in range(out.shape[0]):
        value = np.uint64(starts[j + 1] - starts[j])
        for i in range(starts[j], starts[j + 1]):
            value = _mix(value, hashes[i])
        out[j] = value
    return out


@_compiled
def find_forms(tokens, starts, hashes, known_tokens, known_starts, known_hashes, order):
    """Return for each form the first known one that equals it in every bit, or -1.

    ``known_hashes[order]`` ascends; forms of one hash are compared token by token.
    """
    matches = np.full(starts.shape[0] - 1, -1)
    for j in range(matches.shape[0]):
        low, high = 0, order.shape[0]
        while low < high:
            middle = (low + high) >> 1
            if known_hashes[order[middle]] < hashes[j]:
                low = middle + 1
            else:
                high = middle
        length = starts[j + 1] - starts[j]
        while low < order.shape[0] and known_hashes[order[low]] == hashes[j] and matches[j] < 0:
            i = order[low]
            low += 1
            if known_starts[i + 1] - known_starts[i] != length:
                continue
            same = True
            for row in range(length):
                for k in range(tokens.shape[1]):
                    if tokens[starts[j] + row, k] != known_tokens[known_starts[i] + row, k]:
                        same = False
            if same:
                matches[j] = i
    return matches
