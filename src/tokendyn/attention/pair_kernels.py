"""Attention in which each row has its own keys, as under a causal mask: compiled, pair by pair, one thread."""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, disallow-untyped-calls=False
# mypy: disallow-untyped-decorators=False, check-untyped-defs=False

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def step_pairs(  # noqa: PLR0912 - one pass over the pairs of a row
    inverse_temperature, queries, slack, keys, values, weights, allowed,
    means, leaders, counts, spreads, tops, log_masses,
):  # fmt: skip
    """Fill the fields of one step; rows without an allowed key keep the values of masked tokens."""
    scores = np.empty(len(keys))
    for i in range(len(queries)):
        top = -np.inf
        for j in range(len(keys)):
            if allowed[i, j]:
                # The canonical score: leaders and ties have the same bits as in the backends without a mask.
                s = queries[i, 0] * keys[j, 0]
                for c in range(1, keys.shape[1]):
                    s = s + queries[i, c] * keys[j, c]
                scores[j] = s
                top = max(top, s)
        if top == -np.inf:
            continue
        leader, count, spread, mass, soft = -1, 0, 0.0, 0.0, 0.0
        for j in range(len(keys)):
            if allowed[i, j] and scores[j] >= top - slack[i]:
                leader = j if leader < 0 else leader
                count += 1
                mass += weights[j]
                for c in range(values.shape[1]):
                    spread = max(spread, abs(values[j, c] - values[leader, c]))
        for j in range(len(keys)):
            if not allowed[i, j]:
                continue
            share = 0.0
            if inverse_temperature != np.inf:
                share = weights[j] * math.exp(inverse_temperature * (scores[j] - top))
            elif scores[j] >= top - slack[i]:
                share = weights[j]
            soft += share
            for c in range(values.shape[1]):
                means[i, c] += share * values[j, c]
        for c in range(values.shape[1]):
            means[i, c] /= soft
            if inverse_temperature == np.inf and spread == 0.0:
                means[i, c] = values[leader, c]
        leaders[i], counts[i], spreads[i], tops[i] = leader, count, spread, top
        log_masses[i] = math.log(soft)
