"""Compiled: counts of numbered tokens in texts, in one pass and without sorting.

Plain Python outside numba: the function below carries no annotations because numba compiles it.
"""

import numba

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def tally(numbers, rows, seen, entry_of, row, number, count, place):
    """Write text, number and count of the distinct tokens of every text, by text and first occurrence; return how many.

    ``place`` receives the entry of each position, -1 where ``numbers`` is negative. Rows ascend; ``seen`` is -1 for
    every number at the start, and ``entry_of`` is working memory of its length.
    """
    n = 0
    for i in range(len(numbers)):
        k = numbers[i]
        place[i] = -1
        if k < 0:
            continue
        if seen[k] != rows[i]:
            seen[k] = rows[i]
            entry_of[k] = n
            row[n], number[n], count[n] = rows[i], k, 0
            n += 1
        place[i] = entry_of[k]
        count[place[i]] += 1
    return n
