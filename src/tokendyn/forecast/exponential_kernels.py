"""Compiled pass of exponential smoothing over several columns at once; symbols as in :mod:`.exponential`.

Plain Python outside numba: the function carries no annotations because numba compiles it.
"""

import numba

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def smooth(values, state, alpha, beta, phi, gamma, period):
    """Replace values by their one-step errors and bring the state to the end, both in place.

    ``state`` has a row for the level, one for the trend, and with a season one for each of its steps; row ``2 + k %
    period`` is that of snapshot k.
    """
    rows, columns = values.shape
    for k in range(rows):
        phase = 2 + k % period
        for i in range(columns):
            trend = phi * state[1, i]
            level = state[0, i] + trend
            error = values[k, i] - level
            if period > 1:
                error -= state[phase, i]
                state[phase, i] += gamma * error
            state[0, i] = level + alpha * error
            state[1, i] = trend + beta * error
            values[k, i] = error
