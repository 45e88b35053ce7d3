"""Partial differential equations on periodic grids: Kuramoto-Sivashinsky and lambda-omega reaction-diffusion."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Complex, Float

from tokendyn.data.snapshots.series import Snapshots
from tokendyn.data.systems.chaotic import check_sampling
from tokendyn.errors import BadInputError


class ExponentialRungeKutta:
    """Fourth-order exponential time differencing for ``v' = L v + N(v)`` with diagonal ``L``.

    Source: Cox and Matthews, J. Comput. Phys. 176 (2002), equations 26 to 29; coefficients by contour integrals as
    in Kassam and Trefethen, SIAM J. Sci. Comput. 26 (2005), section 2.

    Parameters
    ----------
    linear
        The diagonal of L, real, any shape.
    nonlinear
        N, from and to arrays of a shape that L broadcasts to.
    h
        Time step.
    """

    def __init__(self, linear: Float[np.ndarray, "..."], nonlinear: Callable[[np.ndarray], np.ndarray], h: float):
        self.nonlinear, self.h = nonlinear, h
        roots = np.exp(1j * np.pi * (np.arange(1, 33) - 0.5) / 32)
        z = h * linear[..., None] + roots
        e = np.exp(z)
        self.full, self.half = np.exp(h * linear), np.exp(h * linear / 2)
        self.q = h * ((np.exp(z / 2) - 1) / z).mean(axis=-1).real
        self.f1 = h * ((-4 - z + e * (4 - 3 * z + z**2)) / z**3).mean(axis=-1).real
        self.f2 = h * ((2 + z + e * (z - 2)) / z**3).mean(axis=-1).real
        self.f3 = h * ((-4 - 3 * z - z**2 + e * (4 - z)) / z**3).mean(axis=-1).real

    def step(self, v: Complex[np.ndarray, "..."]) -> Complex[np.ndarray, "..."]:
        """Return the state one step later."""
        nv = self.nonlinear(v)
        a = self.half * v + self.q * nv
        na = self.nonlinear(a)
        b = self.half * v + self.q * na
        nb = self.nonlinear(b)
        c = self.half * a + self.q * (2 * nb - nv)
        return self.full * v + self.f1 * nv + 2 * self.f2 * (na + nb) + self.f3 * self.nonlinear(c)


def kuramoto_sivashinsky(
    points: int = 4_000,
    dt: float = 0.25,
    length: float = 22.0,
    grid: int = 64,
    start: Float[np.ndarray, " grid"] | None = None,
    discard: float = 200.0,
    seed: int = 0,
) -> Snapshots:
    """Return ``u_t = -u u_x - u_xx - u_xxxx`` on a periodic interval, one column for each grid point.

    Source: Kuramoto, Prog. Theor. Phys. 55 (1976); Sivashinsky, Acta Astronaut. 4 (1977). Largest Lyapunov exponent
    0.043 at ``length = 22`` (Edson, Bunder, Mattner, Roberts, ANZIAM J. 61 (2019), table 1). Fourier in space with
    2/3 dealiasing, exponential Runge-Kutta of order 4 in time with steps of at most 0.25.

    Parameters
    ----------
    points, dt
        Snapshots and the time between them.
    length
        Length of the interval.
    grid
        Grid points, an even number.
    start
        First field; by default small random long waves.
    discard
        Time that passes before the first snapshot.
    seed
        For the start.

    Raises
    ------
    BadInputError
        For an odd or small grid, or bad sampling.
    """
    check_sampling(points, dt)
    if grid < 8 or grid % 2:
        raise BadInputError(f"grid is {grid}; expected an even number of at least 8")
    x = length / grid * np.arange(grid)
    k = 2 * np.pi / length * np.arange(grid // 2 + 1)
    kept = np.arange(grid // 2 + 1) < grid / 3
    if start is None:
        phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 3)
        start = sum(np.cos(2 * np.pi * (j + 1) * x / length + phase) for j, phase in enumerate(phases))
    substeps = math.ceil(dt / 0.25)
    scheme = ExponentialRungeKutta(
        k**2 - k**4, lambda v: -0.5j * k * kept * np.fft.rfft(np.fft.irfft(v, grid) ** 2), dt / substeps
    )
    v = np.fft.rfft(start) * kept
    for _ in range(math.ceil(discard / scheme.h)):
        v = scheme.step(v)
    values = np.empty((points, grid))
    values[0] = np.fft.irfft(v, grid)
    for n in range(1, points):
        for _ in range(substeps):
            v = scheme.step(v)
        values[n] = np.fft.irfft(v, grid)
    names = tuple(f"u{j}" for j in range(grid))
    return Snapshots(
        values=values, times=dt * np.arange(points), dt=dt, names=names, source=f"kuramoto_sivashinsky(seed={seed})"
    )


def lambda_omega(
    points: int = 1_000,
    dt: float = 0.05,
    diffusion: float = 0.1,
    beta: float = 1.0,
    box: float = 20.0,
    grid: int = 64,
    start: Float[np.ndarray, "2 grid grid"] | None = None,
    discard: float = 0.0,
) -> Snapshots:
    """Return the lambda-omega reaction-diffusion system from a one-armed spiral, both fields flattened.

    ``u_t = (1 - A^2) u + beta A^2 v + d lap u``, ``v_t = -beta A^2 u + (1 - A^2) v + d lap v``, ``A^2 = u^2 + v^2``,
    on a periodic square. Source: Kopell and Howard, Stud. Appl. Math. 52 (1973); the start and parameters as in
    Champion, Lusch, Kutz, Brunton, PNAS 116 (2019), appendix. Plane waves of wave number k have amplitude
    ``sqrt(1 - d k^2)`` and angular frequency ``beta (1 - d k^2)``: the far field of the spiral is one.

    Parameters
    ----------
    points, dt
        Snapshots and the time between them.
    diffusion, beta, box
        ``d``, ``beta`` and the side of the square.
    grid
        Grid points along each side, an even number.
    start
        First fields ``(2, grid, grid)``; by default ``tanh(r) cos(phi - r)``, ``tanh(r) sin(phi - r)``.
    discard
        Time that passes before the first snapshot.

    Returns
    -------
    Snapshots
        ``2 grid^2`` columns: u row by row, then v; ``values.reshape(-1, 2, grid, grid)`` gives the fields.

    Raises
    ------
    BadInputError
        For an odd or small grid, or bad sampling.
    """
    check_sampling(points, dt)
    if grid < 8 or grid % 2:
        raise BadInputError(f"grid is {grid}; expected an even number of at least 8")
    fields = spiral(grid, box) if start is None else np.asarray(start, dtype=np.float64)
    k = 2 * np.pi / box * np.fft.fftfreq(grid, 1 / grid)
    k2 = k[:, None] ** 2 + (2 * np.pi / box * np.arange(grid // 2 + 1)) ** 2

    def reaction(w: np.ndarray) -> np.ndarray:
        u, v = np.fft.irfft2(w, (grid, grid))
        a2 = u * u + v * v
        return np.fft.rfft2(np.stack([(1 - a2) * u + beta * a2 * v, -beta * a2 * u + (1 - a2) * v]))

    substeps = math.ceil(dt / 0.05)
    scheme = ExponentialRungeKutta(-diffusion * k2, reaction, dt / substeps)
    w = np.fft.rfft2(fields)
    for _ in range(math.ceil(discard / scheme.h)):
        w = scheme.step(w)
    values = np.empty((points, 2 * grid * grid))
    for n in range(points):
        values[n] = np.fft.irfft2(w, (grid, grid)).ravel()
        for _ in range(substeps if n < points - 1 else 0):
            w = scheme.step(w)
    names = tuple(f"{letter}{i},{j}" for letter in "uv" for i in range(grid) for j in range(grid))
    return Snapshots(
        values=values, times=dt * np.arange(points), dt=dt, names=names, source=f"lambda_omega(grid={grid})"
    )


def spiral(grid: int, box: float) -> Float[np.ndarray, "2 grid grid"]:
    """Return the one-armed spiral from which :func:`lambda_omega` starts."""
    x = box * (np.arange(grid) / grid - 0.5)
    r, phi = np.hypot(x, x[:, None]), np.arctan2(x[:, None], x)
    return np.stack([np.tanh(r) * np.cos(phi - r), np.tanh(r) * np.sin(phi - r)])
