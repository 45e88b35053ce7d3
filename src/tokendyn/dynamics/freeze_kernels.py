"""Compiled parts of a run that freezes: tokens on their way, and scores that rounding cannot tell apart."""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, disallow-untyped-calls=False
# mypy: disallow-untyped-decorators=False, check-untyped-defs=False

import numpy as np
from numba import njit

EPS = float(np.finfo(np.float64).eps)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def place_frozen(state, origins, goals, since, shares):
    """Write ``g_i + shares[since_i] (origin_i - g_i)`` into the state of every frozen token; no temporaries."""
    for i in range(len(state)):
        if since[i] >= 0:
            share = shares[since[i]]
            for c in range(state.shape[1]):
                state[i, c] = goals[i, c] + share * (origins[i, c] - goals[i, c])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def near_top(query, query_error, keys, key_errors, rounding, chosen):
    """Write the keys whose exact score may be the largest, and return how many there are.

    The score of key j errs by at most ``e_j = rounding sum |q_c k_jc| + |q|_1 f_j + e |k_j|_1 + d e f_j`` when the
    query is off by ``e = query_error`` in each coordinate and the key by ``f_j``. Scales are those of each pair: a far
    token widens no bound but its own.
    """
    n, d = keys.shape
    q1 = 0.0
    for c in range(d):
        q1 += abs(query[c])
    floor = -np.inf
    for j in range(n):
        score, error = _bounded_score(query, q1, query_error, keys, j, key_errors[j], rounding)
        floor = max(floor, score - error)
    count = 0
    for j in range(n):
        score, error = _bounded_score(query, q1, query_error, keys, j, key_errors[j], rounding)
        if score + error >= floor:
            chosen[count] = j
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _bounded_score(query, q1, query_error, keys, j, key_error, rounding):
    score = query[0] * keys[j, 0]
    size, k1 = abs(score), abs(keys[j, 0])
    for c in range(1, len(query)):
        product = query[c] * keys[j, c]
        score = score + product
        size += abs(product)
        k1 += abs(keys[j, c])
    return score, rounding * size + q1 * key_error + query_error * k1 + len(query) * query_error * key_error


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def canonical_ties(query, keys, slack, chosen):
    """Write the keys whose canonical score is within the slack of the largest, and return how many there are."""
    top = -np.inf
    for j in range(len(keys)):
        top = max(top, _bounded_score(query, 0.0, 0.0, keys, j, 0.0, 0.0)[0])
    count = 0
    for j in range(len(keys)):
        if _bounded_score(query, 0.0, 0.0, keys, j, 0.0, 0.0)[0] >= top - slack:
            chosen[count] = j
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def mean_of(members, state, weights, mean):
    """Write the mean of some tokens, summed as attention sums it; return the spread of their places."""
    first, mass, spread = members[0], 0.0, 0.0
    mean[:] = 0.0
    for j in members:
        mass += weights[j]
        for c in range(state.shape[1]):
            mean[c] += weights[j] * state[j, c]
            spread = max(spread, abs(state[j, c] - state[first, c]))
    for c in range(state.shape[1]):
        mean[c] = state[first, c] if spread == 0.0 else mean[c] / mass
    return spread
