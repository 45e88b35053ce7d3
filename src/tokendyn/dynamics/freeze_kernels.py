"""Compiled parts of a run that freezes: frozen tokens in motion, and scores that rounding cannot distinguish."""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, disallow-untyped-calls=False
# mypy: disallow-untyped-decorators=False, check-untyped-defs=False

# All kernels are compiled without fastmath: the bounds below hold for sums in the written order, and the canonical
# scores must have the same bits as those of the attention backends.

import numpy as np
from numba import njit

EPS = float(np.finfo(np.float64).eps)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def place_frozen(state, origins, goals, since, shares):
    """Write ``g_i + shares[since_i] (origin_i - g_i)`` into the state of every frozen token, without temporaries."""
    for i in range(len(state)):
        if since[i] >= 0:
            share = shares[since[i]]
            for c in range(state.shape[1]):
                state[i, c] = goals[i, c] + share * (origins[i, c] - goals[i, c])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def near_top(query, query_error, keys, key_errors, rounding, chosen):
    """Write the keys whose exact score may be the largest, and return their number.

    The score of key j errs by at most ``e_j = rounding sum |q_c k_jc| + |q|_1 f_j + e |k_j|_1 + d e f_j`` when the
    query is off by ``e = query_error`` in each coordinate and the key by ``f_j``. Each pair has its own scale: a far
    token widens its own bound only.
    """
    n, d = keys.shape
    q1 = 0.0
    for c in range(d):
        q1 += abs(query[c])
    # The largest lower bound of a score: a key whose upper bound is below it cannot lead.
    floor = -np.inf
    for j in range(n):
        score, error = _bounded_score(query, q1, query_error, keys, j, key_errors[j], rounding)
        floor = max(floor, score - error)
    # Scores are computed again, so that no array of n scores is needed.
    count = 0
    for j in range(n):
        score, error = _bounded_score(query, q1, query_error, keys, j, key_errors[j], rounding)
        if score + error >= floor:
            chosen[count] = j
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def _bounded_score(query, q1, query_error, keys, j, key_error, rounding):
    """Return the canonical score of key j (products summed left to right), and the bound of its error."""
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
    """Write the keys whose canonical score is within the slack of the largest, and return their number."""
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
    """Write the mean of some tokens, summed as attention sums it; return the spread of their points."""
    first, mass, spread = members[0], 0.0, 0.0
    mean[:] = 0.0
    for j in members:
        mass += weights[j]
        for c in range(state.shape[1]):
            mean[c] += weights[j] * state[j, c]
            spread = max(spread, abs(state[j, c] - state[first, c]))
    for c in range(state.shape[1]):
        # Tokens on one point have that point as their mean to the bit; the quotient could miss it by rounding.
        mean[c] = state[first, c] if spread == 0.0 else mean[c] / mass
    return spread


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def row_slack(queries, each, constant, slack):
    """Write ``each |q_i|_1 + constant``."""
    for i in range(len(queries)):
        total = 0.0
        for c in range(queries.shape[1]):
            total += abs(queries[i, c])
        slack[i] = each * total + constant


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def stand(rows, leaders, alone, state, standing, frozen):
    """Mark the rows that follow the point that they sit on: they stay and are frozen."""
    for r in range(len(rows)):
        i, v = rows[r], leaders[r]
        same = alone[r]
        for c in range(state.shape[1]):
            same = same and state[i, c] == state[v, c]
        frozen[r] = same
        standing[i] = same


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def freeze_rows(rows, leaders, alone, state, means, number, standing, between, since, origins, goals, frozen):
    """Freeze the rows that follow a token that stays; write since, origin and goal of all frozen rows."""
    for r in range(len(rows)):
        i, v = rows[r], leaders[r]
        if not frozen[r] and alone[r] and standing[v]:
            frozen[r] = True
            between[i] = between[v]
        if frozen[r]:
            since[i] = number
            for c in range(state.shape[1]):
                origins[i, c] = state[i, c]
                goals[i, c] = state[i, c] if standing[i] else means[r, c]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def bound_errors(rows, frozen, before, means, goal_errors, standing, share, closed_form, most, errors):
    """Update the error bounds of rows that moved by a share or froze into the closed form; return the largest.

    The computed and the exact point are both in the hull of the input, so ``most``, its diameter in one coordinate,
    bounds every error.
    """
    worst = 0.0
    for r in range(len(rows)):
        i = rows[r]
        size, goal = 0.0, 0.0
        for c in range(before.shape[1]):
            size, goal = max(size, abs(before[r, c])), max(goal, abs(means[r, c]))
        if not frozen[r]:
            # One step mixes the errors of token and goal, and its rounding adds at most 4 eps of their sizes.
            error = (1 - share) * errors[i] + share * goal_errors[r] + 4 * EPS * (size + goal)
        elif standing[i]:
            error = errors[i]
        else:
            # In closed form the share of origin and goal varies, so the larger error counts for all later layers.
            error = max(errors[i], goal_errors[r]) + closed_form * EPS * (size + goal)
        errors[i] = min(error, most)
        worst = max(worst, errors[i])
    return worst
