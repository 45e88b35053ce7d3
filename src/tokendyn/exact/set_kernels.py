"""Compiled passes over ragged sequences of tokens: equal rows, distinct tokens, equal sets."""

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)

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
