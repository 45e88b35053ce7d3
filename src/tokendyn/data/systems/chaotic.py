"""Chaotic systems of few equations: Lorenz 63, Rossler, Mackey-Glass."""

import math

import numpy as np
from jaxtyping import Float

from tokendyn.data.snapshots.series import Snapshots
from tokendyn.data.systems import kernels
from tokendyn.errors import BadInputError

#: Largest Lyapunov exponents at the default parameters, per unit of time.
LYAPUNOV = {
    "lorenz63": 0.9056,  # Sprott, Chaos and Time-Series Analysis, Oxford 2003, table A.4
    "rossler": 0.0714,  # the same, a = b = 0.2, c = 5.7
    "mackey_glass": 0.0051,  # 1/197 by jitcdde in the NeuroBench data sets, tau = 17; Farmer (1982) gives 0.007
    "kuramoto_sivashinsky": 0.043,  # Edson et al., ANZIAM J. 61 (2019), L = 22
}


def lorenz63(
    points: int = 10_000,
    dt: float = 0.02,
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8.0 / 3.0,
    start: Float[np.ndarray, " 3"] | None = None,
    discard: float = 50.0,
    seed: int = 0,
) -> Snapshots:
    """Return the Lorenz system, ``x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z``.

    Source: Lorenz, J. Atmos. Sci. 20 (1963), equations 25 to 27. Largest Lyapunov exponent 0.9056 at the default
    parameters (Sprott 2003).

    Parameters
    ----------
    points
        Snapshots that are returned.
    dt
        Time between them; each is taken in Runge-Kutta steps of at most 0.001, local error about 1e-13.
    sigma, rho, beta
        Parameters of the equations.
    start
        First state; by default drawn near the attractor with ``seed``.
    discard
        Time that passes before the first snapshot.
    seed
        For the start.

    Raises
    ------
    BadInputError
        For fewer than two points or a step that is not positive.

    Examples
    --------
    >>> from tokendyn.data.systems import lorenz63
    >>> lorenz63(100, seed=0).select(["x"]).values.shape
    (100, 1)
    """
    first = np.random.default_rng(seed).normal((0.0, 0.0, 25.0), (8.0, 8.0, 4.0)) if start is None else start
    p = np.array([sigma, rho, beta])
    return _flow(kernels.LORENZ, first, p, points, dt, 1e-3, discard, f"lorenz63(seed={seed})")


def rossler(
    points: int = 10_000,
    dt: float = 0.1,
    a: float = 0.2,
    b: float = 0.2,
    c: float = 5.7,
    start: Float[np.ndarray, " 3"] | None = None,
    discard: float = 200.0,
    seed: int = 0,
) -> Snapshots:
    """Return the Rossler system, ``x' = -y - z, y' = x + a y, z' = b + z (x - c)``.

    Source: Rossler, Phys. Lett. A 57 (1976), equation 2. Largest Lyapunov exponent 0.0714 at the default parameters
    (Sprott 2003). Parameters otherwise as of :func:`lorenz63`; Runge-Kutta steps of at most 0.005.

    Raises
    ------
    BadInputError
        For fewer than two points or a step that is not positive.
    """
    first = np.random.default_rng(seed).uniform((-4.0, -4.0, 0.0), (4.0, 4.0, 0.1)) if start is None else start
    p = np.array([a, b, c])
    return _flow(kernels.ROSSLER, first, p, points, dt, 5e-3, discard, f"rossler(seed={seed})")


def _flow(
    system: int, start: np.ndarray, p: np.ndarray, points: int, dt: float, longest: float, discard: float, source: str
) -> Snapshots:
    """Integrate a three-dimensional system and name its columns."""
    check_sampling(points, dt)
    substeps = math.ceil(dt / longest)
    state = np.ascontiguousarray(start, dtype=np.float64)
    if discard > 0:
        state = kernels.integrate(system, state, p, longest, math.ceil(discard / longest), 2)[-1]
    states = kernels.integrate(system, state, p, dt / substeps, substeps, points)
    return Snapshots(values=states, times=dt * np.arange(points), dt=dt, names=("x", "y", "z"), source=source)


def mackey_glass(
    points: int = 10_000,
    dt: float = 1.0,
    tau: float = 17.0,
    beta: float = 0.2,
    gamma: float = 0.1,
    n: float = 10.0,
    discard: float = 500.0,
    seed: int = 0,
) -> Snapshots:
    """Return the Mackey-Glass equation, ``x'(t) = beta x(t - tau) / (1 + x(t - tau)^n) - gamma x(t)``.

    Source: Mackey and Glass, Science 197 (1977), equation 4b. Largest Lyapunov exponent 0.0051 at ``tau = 17``
    (Lyapunov time 197 in the NeuroBench data sets; Farmer 1982 estimated 0.007). Runge-Kutta of order 4 with cubic
    Hermite interpolation of the past, steps of at most 0.1.

    Parameters
    ----------
    points, dt
        Snapshots and the time between them.
    tau, beta, gamma, n
        Parameters of the equation.
    discard
        Time that passes before the first snapshot.
    seed
        For the history: constant 1.2 plus a small random slow wave.

    Raises
    ------
    BadInputError
        For fewer than two points, a step that is not positive, or ``tau`` below one inner step.
    """
    check_sampling(points, dt)
    substeps = math.ceil(dt / 0.1)
    h = dt / substeps
    if tau < h:
        raise BadInputError(f"tau is {tau}; expected at least {h:g}")
    history = math.ceil(tau / h) + 1
    phase, size = np.random.default_rng(seed).uniform((0.0, 0.1), (2 * np.pi, 0.3))
    x0 = 1.2 + size * np.sin(np.linspace(0.0, np.pi, history) + phase)
    f0 = np.gradient(x0, h)
    skipped = math.ceil(discard / h)
    x, _ = kernels.integrate_delay(x0, f0, beta, gamma, n, tau, h, skipped + substeps * (points - 1))
    values = x[history - 1 + skipped :: substeps, None].copy()
    return Snapshots(
        values=values,
        times=dt * np.arange(points),
        dt=dt,
        names=("x",),
        source=f"mackey_glass(tau={tau:g}, seed={seed})",
    )


def check_sampling(points: int, dt: float) -> None:
    """Raise if a number of snapshots or a time step makes no sense."""
    if points < 2 or not (np.isfinite(dt) and dt > 0):
        raise BadInputError(f"{points} points at dt = {dt}; expected at least 2 points and a step above 0")
