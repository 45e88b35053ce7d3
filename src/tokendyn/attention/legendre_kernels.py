"""Normalised associated Legendre functions on rings of a sphere, compiled, one thread."""

import math

from numba import njit

#: Starting values with a logarithm below this count as zero.
LEAST_LOG = -650.0

#: Values below this are set to zero: they cannot grow to a relevant size again, and denormal numbers are slow.
TINY = 1e-280


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def legendre_of_order(order, log_start, cosines, log_sines, table):
    """Fill ``table[l - order, r]`` with ``P_l,order`` at each ring, for ``l = order .. order + len(table) - 1``.

    ``P_mm = e^log_start sin^m``, ``P_lm = a_l (cos P_l-1,m - b_l P_l-2,m)``, ``a_l^2 = (4 l^2 - 1) / (l^2 - m^2)``,
    ``b_l = 1 / a_l-1``: the forward recurrence, which is stable for ``l >= m``.
    """
    rings = cosines.size
    for r in range(rings):
        logarithm = log_start + (order * log_sines[r] if order > 0 else 0.0)
        table[0, r] = math.exp(logarithm) if logarithm > LEAST_LOG else 0.0
    before = 0.0
    for row in range(1, table.shape[0]):
        degree = float(order + row)
        factor = math.sqrt((4.0 * degree * degree - 1.0) / ((degree - order) * (degree + order)))
        new, last, older = table[row], table[row - 1], table[max(row - 2, 0)]
        if row == 1:
            for r in range(rings):
                new[r] = factor * cosines[r] * last[r]
        else:
            back = factor * before
            for r in range(rings):
                value = factor * cosines[r] * last[r] - back * older[r]
                new[r] = value if abs(value) > TINY else 0.0
        before = 1.0 / factor
    return table
