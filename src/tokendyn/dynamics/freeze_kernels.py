"""Frozen tokens on their way to their leaders: compiled, one pass without temporaries."""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, disallow-untyped-calls=False
# mypy: disallow-untyped-decorators=False, check-untyped-defs=False

from numba import njit


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def place_frozen(state, origins, leaders, since, shares):
    """Write ``v + shares[since_i] (origin_i - v)`` into the state of every frozen token, ``v`` its leader's origin."""
    for i in range(len(state)):
        if since[i] >= 0:
            share, v = shares[since[i]], leaders[i]
            for c in range(state.shape[1]):
                state[i, c] = origins[v, c] + share * (origins[i, c] - origins[v, c])
