"""Compiled Runge-Kutta of fitted vector fields, one orbit after another.

``C`` is (terms, outputs): 1, the columns h of a site, their monomials, units. ``near`` is (sites, columns): the state
variables in the window of a site, with the number of variables standing for a zero. ``parent`` and ``column`` define
value ``columns + m`` as value ``parent[m]`` times ``h[column[m]]``. Plain Python outside numba: the functions carry no
annotations because numba compiles them.
"""

import math

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)

#: Numbers of the activations in the compiled functions.
ACTIVATIONS = {"sin": 0, "tanh": 1, "hinge": 2}
#: A normalised state beyond this has diverged.
LIMIT = 1e6


@_compiled
def slope(out, x, C, near, parent, column, W, b, activation, value):
    """Write the slope of every variable."""
    sites, columns = near.shape
    features = len(x)
    outputs = C.shape[1]
    for site in range(sites):
        for i in range(columns):
            seen = near[site, i]
            value[i] = x[seen] if seen < features else 0.0
        for m in range(len(parent)):
            value[columns + m] = value[parent[m]] * value[column[m]]
        terms = columns + len(parent)
        for f in range(outputs):
            out[site * outputs + f] = C[0, f]
        for t in range(terms):
            for f in range(outputs):
                out[site * outputs + f] += value[t] * C[1 + t, f]
        for u in range(len(b)):
            inner = b[u]
            for i in range(columns):
                inner += W[u, i] * value[i]
            unit = math.sin(inner) if activation == 0 else math.tanh(inner) if activation == 1 else max(inner, 0.0)
            for f in range(outputs):
                out[site * outputs + f] += unit * C[1 + terms + u, f]


@_compiled
def flow(orbit, states, C, near, parent, column, W, b, activation, substeps, truth, weight, stop):
    """Write the orbits of all fits from all states, each until it exceeds the limit or has lost the truth.

    ``orbit`` is (fits, batch, steps, features) and filled with NaN; ``truth`` is (batch, steps, features), or empty,
    and ``weight`` is the factor of the differences of each feature before their root mean square is compared with
    ``stop``.
    """
    fits, batch, steps, features = orbit.shape
    h = 1.0 / substeps
    value = np.empty(near.shape[1] + len(parent))
    k1, k2, k3, k4 = np.empty(features), np.empty(features), np.empty(features), np.empty(features)
    for fit in range(fits):
        for start in range(batch):
            x = states[start].copy()
            for step in range(steps):
                for _ in range(substeps):
                    slope(k1, x, C[fit], near, parent, column, W, b, activation, value)
                    slope(k2, x + h / 2 * k1, C[fit], near, parent, column, W, b, activation, value)
                    slope(k3, x + h / 2 * k2, C[fit], near, parent, column, W, b, activation, value)
                    slope(k4, x + h * k3, C[fit], near, parent, column, W, b, activation, value)
                    x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
                lost = False
                for f in range(features):
                    # A NaN fails every comparison, so that it ends the orbit as well.
                    if not (abs(x[f]) < LIMIT):
                        lost = True
                if lost:
                    break
                orbit[fit, start, step] = x
                if len(truth):
                    total = 0.0
                    for f in range(features):
                        total += ((x[f] - truth[start, step, f]) * weight[f]) ** 2
                    if not (math.sqrt(total / features) <= stop):
                        break
