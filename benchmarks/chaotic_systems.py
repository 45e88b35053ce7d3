"""Chaotic systems of ``benchmarks/forecast_systems.py``: equations, sampling step, and which columns are seen.

Flows are integrated by DOP853 with a tolerance of 1e-10 from a random start, their transient dropped. The systems of
:data:`DEVELOPMENT` served to choose rules and lists of the search; those of :data:`REPORT` were named here before any
model was fitted to them, and no choice was made on them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

from tokendyn.data.systems import kuramoto_sivashinsky, mackey_glass


@dataclass(frozen=True)
class System:
    """One system.

    Attributes
    ----------
    make
        Returns ``points`` snapshots of an orbit by its seed.
    dt
        Time between snapshots.
    horizon
        Steps of a forecast: where a good model's valid time ends, or later.
    rows
        Snapshots to learn from.
    """

    make: Callable[[int, int], np.ndarray]
    dt: float
    horizon: int
    rows: int = 3000


def flow(slope: Callable, start: tuple[float, ...], dt: float, drop: float, columns: slice = slice(None)) -> Callable:
    """Return the maker of an orbit of ``x' = slope(x)`` from near ``start``."""

    def make(points: int, seed: int) -> np.ndarray:
        begin = np.asarray(start) * (1 + 0.02 * np.random.default_rng(seed).standard_normal(len(start)))
        times = drop + dt * np.arange(points)
        solution = solve_ivp(
            lambda _, x: slope(x), (0.0, times[-1]), begin, "DOP853", t_eval=times, rtol=1e-10, atol=1e-10
        )
        return np.ascontiguousarray(solution.y.T[:, columns])

    return make


def lorenz(x):
    return np.array([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])


def rossler(x):
    return np.array([-x[1] - x[2], x[0] + 0.2 * x[1], 0.2 + x[2] * (x[0] - 5.7)])


def lorenz96(x):
    return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + 8.0


def sprott_b(x):
    return np.array([x[1] * x[2], x[0] - x[1], 1 - x[0] * x[1]])


def thomas(x):
    return np.sin(np.roll(x, -1)) - 0.18 * x


def aizawa(x):
    a, b, c, d, e, f = 0.95, 0.7, 0.6, 3.5, 0.25, 0.1
    return np.array([
        (x[2] - b) * x[0] - d * x[1],
        d * x[0] + (x[2] - b) * x[1],
        c + a * x[2] - x[2] ** 3 / 3 - (x[0] ** 2 + x[1] ** 2) * (1 + e * x[2]) + f * x[2] * x[0] ** 3,
    ])  # fmt: skip


def halvorsen(x):
    a, b, c = x
    return np.array([
        -1.4 * a - 4 * b - 4 * c - b * b, -1.4 * b - 4 * c - 4 * a - c * c, -1.4 * c - 4 * a - 4 * b - a * a
    ])  # fmt: skip


def sprott_e(x):
    return np.array([x[1] * x[2], x[0] ** 2 - x[1], 1 - 4 * x[0]])


def chua(x):
    bend = -0.714 * x[0] - 0.2145 * (abs(x[0] + 1) - abs(x[0] - 1))
    return np.array([15.6 * (x[1] - x[0] - bend), x[0] - x[1] + x[2], -28 * x[1]])


def hindmarsh_rose(x):
    return np.array([
        x[1] - x[0] ** 3 + 3 * x[0] ** 2 - x[2] + 3.25, 1 - 5 * x[0] ** 2 - x[1], 0.006 * (4 * (x[0] + 1.6) - x[2])
    ])  # fmt: skip


def rikitake(x):
    return np.array([-x[0] + x[2] * x[1], -x[1] + (x[2] - 5) * x[0], 1 - x[0] * x[1]])


def rabinovich_fabrikant(x):
    a, b, c = x
    return np.array([b * (c - 1 + a * a) + 0.1 * a, a * (3 * c + 1 - a * a) + 0.1 * b, -2 * c * (0.14 + a * b)])


def jerk(x):
    return np.array([x[1], x[2], -0.6 * x[2] - x[1] + abs(x[0]) - 1])


def linear_pieces(x):
    bend = 15 * max(x[0] - 3, 0)
    return np.array([-0.05 * x[0] - 0.5 * x[1] - x[2], x[0] + 0.113 * x[1], bend - x[2]])


def ginzburg_landau(x):
    """Complex Ginzburg-Landau on a ring of 24 sites 0.8 apart, the real parts before the imaginary ones."""
    a = x[:24] + 1j * x[24:]
    bent = (np.roll(a, 1) - 2 * a + np.roll(a, -1)) / 0.64
    slope = a + (1 + 2j) * bent - (1 - 2j) * abs(a) ** 2 * a
    return np.concatenate([slope.real, slope.imag])


def coupled_maps(points: int, seed: int) -> np.ndarray:
    """Return a ring of 30 logistic maps, each moved a quarter of the way to the mean of its neighbours."""
    x = np.random.default_rng(seed).uniform(0.1, 0.9, 30)
    orbit = np.empty((500 + points, 30))
    for step in range(len(orbit)):
        y = 3.9 * x * (1 - x)
        orbit[step] = x = 0.75 * y + 0.125 * (np.roll(y, 1) + np.roll(y, -1))
    return orbit[500:]


def _mackey_glass(delay: float) -> Callable:
    return lambda points, seed: mackey_glass(points, tau=delay, seed=seed).values


def _kuramoto(length: float, dt: float, grid: int) -> Callable:
    return lambda points, seed: kuramoto_sivashinsky(points, dt=dt, length=length, grid=grid, seed=seed).values


_CELLS = tuple(8.0 + 0.01 * i for i in range(8))
_TWENTY = tuple(8.0 + 0.01 * (i % 5) for i in range(20))
_WAVES = tuple(np.concatenate([np.cos(np.arange(24)), np.sin(2 * np.arange(24))]))
_MANY = tuple(8.0 + 0.01 * (i % 7) for i in range(40))
#: What rules and lists were chosen on.
DEVELOPMENT: dict[str, System] = {
    "Lorenz": System(flow(lorenz, (1.0, 1.0, 20.0), 0.02, 20.0), 0.02, 700),
    "Lorenz, x": System(flow(lorenz, (1.0, 1.0, 20.0), 0.02, 20.0, slice(1)), 0.02, 700),
    "Rossler": System(flow(rossler, (1.0, 1.0, 1.0), 0.1, 200.0), 0.1, 700),
    "Rossler, x": System(flow(rossler, (1.0, 1.0, 1.0), 0.1, 200.0, slice(1)), 0.1, 700),
    "Mackey-Glass 17": System(_mackey_glass(17.0), 1.0, 700),
    "Mackey-Glass 23": System(_mackey_glass(23.0), 1.0, 700),
    "Lorenz-96, 8 sites": System(flow(lorenz96, _CELLS, 0.02, 40.0), 0.02, 500),
    "Sprott B": System(flow(sprott_b, (0.5, 0.5, 0.5), 0.1, 200.0), 0.1, 700),
    "Thomas": System(flow(thomas, (0.1, 0.0, 0.2), 0.2, 400.0), 0.2, 700),
    "Aizawa": System(flow(aizawa, (0.1, 0.0, 0.1), 0.05, 100.0), 0.05, 700),
    "Kuramoto-Sivashinsky, length 36": System(_kuramoto(36.0, 0.2, 48), 0.2, 800),
    "Kuramoto-Sivashinsky, 64 sites": System(_kuramoto(34.0, 0.25, 64), 0.25, 800),
    "Lorenz-96, 20 sites": System(flow(lorenz96, _TWENTY, 0.02, 40.0), 0.02, 500),
    "Ginzburg-Landau": System(flow(ginzburg_landau, _WAVES, 0.1, 200.0), 0.1, 500),
    "Coupled maps": System(coupled_maps, 1.0, 100),
    "Jerk with a kink": System(flow(jerk, (0.1, 0.1, 0.1), 0.1, 200.0), 0.1, 1000),
    "Linear pieces": System(flow(linear_pieces, (1.0, 1.0, 0.1), 0.1, 200.0), 0.1, 1000),
}
#: What is reported: named before any of them was run.
REPORT: dict[str, System] = {
    "Halvorsen": System(flow(halvorsen, (-1.5, -1.5, 3.0), 0.02, 40.0), 0.02, 1500),
    "Sprott E": System(flow(sprott_e, (0.1, 0.1, 0.1), 0.1, 200.0), 0.1, 1500),
    "Chua": System(flow(chua, (0.7, 0.01, -0.5), 0.05, 100.0), 0.05, 1500),
    "Hindmarsh-Rose": System(flow(hindmarsh_rose, (-1.0, -5.0, 3.0), 0.2, 1000.0), 0.2, 1500, 6000),
    "Rikitake": System(flow(rikitake, (1.0, 1.0, 6.0), 0.05, 100.0), 0.05, 1500),
    "Rikitake, x": System(flow(rikitake, (1.0, 1.0, 6.0), 0.05, 100.0, slice(1)), 0.05, 1500),
    "Rabinovich-Fabrikant": System(flow(rabinovich_fabrikant, (0.1, 0.1, 0.1), 0.05, 200.0), 0.05, 1500),
    "Lorenz-96, 40 sites": System(flow(lorenz96, _MANY, 0.02, 40.0), 0.02, 800),
    "Kuramoto-Sivashinsky": System(_kuramoto(22.0, 0.25, 32), 0.25, 800),
}
