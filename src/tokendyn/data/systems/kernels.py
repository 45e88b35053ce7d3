"""Compiled integrators of the generated systems: classical Runge-Kutta for flows, and for one delay equation.

Functions carry no annotations because numba compiles them. ``p`` holds the parameters of a system in the order of
its equations.
"""

import numpy as np
from numba import njit

LORENZ, ROSSLER = 0, 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def slope(system, z, p, out):
    """Fill ``out`` with the time derivative of the state ``z``."""
    if system == LORENZ:
        out[0] = p[0] * (z[1] - z[0])
        out[1] = z[0] * (p[1] - z[2]) - z[1]
        out[2] = z[0] * z[1] - p[2] * z[2]
    else:
        out[0] = -z[1] - z[2]
        out[1] = z[0] + p[0] * z[1]
        out[2] = p[1] + z[2] * (z[0] - p[2])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def integrate(system, start, p, h, substeps, samples):
    """Return ``samples`` states, ``substeps`` Runge-Kutta steps of length ``h`` apart; the first is ``start``."""
    d = start.shape[0]
    states = np.empty((samples, d))
    z, trial = start.copy(), np.empty(d)
    k1, k2, k3, k4 = np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    states[0] = z
    for n in range(1, samples):
        for _ in range(substeps):
            slope(system, z, p, k1)
            for i in range(d):
                trial[i] = z[i] + 0.5 * h * k1[i]
            slope(system, trial, p, k2)
            for i in range(d):
                trial[i] = z[i] + 0.5 * h * k2[i]
            slope(system, trial, p, k3)
            for i in range(d):
                trial[i] = z[i] + h * k3[i]
            slope(system, trial, p, k4)
            for i in range(d):
                z[i] += h / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i])
        states[n] = z
    return states


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def delayed(x, f, last, back, h):
    """Return the state ``back`` steps before place ``last`` by cubic Hermite interpolation of values and slopes."""
    at = last - back
    k = int(np.floor(at))
    s = at - k
    if s == 0.0:
        return x[k]
    a = (1.0 + 2.0 * s) * (1.0 - s) ** 2 * x[k] + s * s * (3.0 - 2.0 * s) * x[k + 1]
    return a + h * (s * (1.0 - s) ** 2 * f[k] - s * s * (1.0 - s) * f[k + 1])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def mackey_glass_slope(x, late, beta, gamma, n):
    """Return ``beta x_tau / (1 + x_tau^n) - gamma x``."""
    return beta * late / (1.0 + late**n) - gamma * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def integrate_delay(x0, f0, beta, gamma, n, tau, h, steps):
    """Return values and slopes on the grid of step ``h``: the history ``x0, f0``, then ``steps`` new points.

    The history must reach back ``ceil(tau / h)`` steps. Runge-Kutta of order 4; its inner stages see the delayed
    state at half steps by Hermite interpolation, of order 4 too.
    """
    first = x0.shape[0]
    x, f = np.empty(first + steps), np.empty(first + steps)
    x[:first] = x0
    f[:first] = f0
    back = tau / h
    for k in range(first - 1, first - 1 + steps):
        early = delayed(x, f, k, back, h)
        middle = delayed(x, f, k, back - 0.5, h)
        late = delayed(x, f, k, back - 1.0, h)
        k1 = mackey_glass_slope(x[k], early, beta, gamma, n)
        k2 = mackey_glass_slope(x[k] + 0.5 * h * k1, middle, beta, gamma, n)
        k3 = mackey_glass_slope(x[k] + 0.5 * h * k2, middle, beta, gamma, n)
        k4 = mackey_glass_slope(x[k] + h * k3, late, beta, gamma, n)
        x[k + 1] = x[k] + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        f[k + 1] = mackey_glass_slope(x[k + 1], late, beta, gamma, n)
    return x, f
