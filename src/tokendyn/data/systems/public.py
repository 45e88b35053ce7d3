"""Systems on which the author of arXiv 2602.08478 tries forecasts in public: Sprott's A, B, C, and a linear wave."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from tokendyn.data.snapshots.series import Snapshots
from tokendyn.data.systems.chaotic import check_sampling
from tokendyn.errors import BadInputError, ConvergenceError


def sprott(
    case: Literal["A", "B", "C"] = "A",
    points: int = 10_000,
    dt: float = 0.01,
    start: tuple[float, float, float] = (1.5, 1.5, 0.5),
) -> Snapshots:
    """Return one of Sprott's chaotic flows.

    A: ``x' = y, y' = -x + y z, z' = 1 - y^2``; B: ``x' = y z, y' = x - y, z' = 1 - x y``; C: as B with ``z' = 1 -
    x^2``. Source: Sprott, Phys. Rev. E 50 (1994), R647, table I.

    Parameters
    ----------
    case
        A, B or C.
    points, dt
        Snapshots and the time between them; Dormand-Prince 8(5,3) with tolerance 1e-11 in between.
    start
        First state.

    Raises
    ------
    BadInputError
        For another case, fewer than two points or a step that is not positive.
    ConvergenceError
        If the state leaves every bound, as case A does from many starts.

    Examples
    --------
    >>> from tokendyn.data.systems import sprott
    >>> sprott("B", 100).names
    ('x', 'y', 'z')
    """
    check_sampling(points, dt)
    if case not in ("A", "B", "C"):
        raise BadInputError(f"case must be A, B or C, got {case!r}")
    times = dt * np.arange(points)
    first = np.array(start, dtype=np.float64)
    run = solve_ivp(_velocity, (0.0, times[-1]), first, "DOP853", times, args=(case,), rtol=1e-11, atol=1e-12)
    if not run.success:
        raise ConvergenceError(f"Sprott {case} from {start} could not be followed beyond t = {run.t[-1]:g}")
    return Snapshots(values=run.y.T.copy(), times=times, dt=dt, names=("x", "y", "z"), source=f"sprott({case!r})")


def _velocity(_: float, state: np.ndarray, case: str) -> np.ndarray:
    x, y, z = state
    if case == "A":
        return np.array([y, -x + y * z, 1 - y * y])
    return np.array([y * z, x - y, 1 - x * (y if case == "B" else x)])


def linear_wave(
    points: int = 1000,
    dt: float = 0.01,
    cells: int = 200,
    speed: float = 1.0,
    amplitudes: dict[int, float] | None = None,
) -> Snapshots:
    """Return ``u(x, t) = sum_k a_k sin(k x) cos(k c t)``: the wave equation from rest, on a circle, without error.

    Parameters
    ----------
    points, dt
        Snapshots and the time between them.
    cells
        Points x from 0 to 2 pi, the end left out.
    speed
        c.
    amplitudes
        ``a_k`` by k; ``0.5 sin x + sin 2x + 1.5 sin 5x`` by default.

    Raises
    ------
    BadInputError
        For fewer than two points, a step that is not positive, or no cells.
    """
    check_sampling(points, dt)
    if cells < 1:
        raise BadInputError(f"cells must be at least 1, got {cells}")
    waves = {1: 0.5, 2: 1.0, 5: 1.5} if amplitudes is None else amplitudes
    times, places = dt * np.arange(points), 2 * np.pi * np.arange(cells) / cells
    values: Float[np.ndarray, "time cells"] = np.zeros((points, cells))
    for number, size in waves.items():
        values += size * np.outer(np.cos(number * speed * times), np.sin(number * places))
    names = tuple(f"u{cell}" for cell in range(cells))
    return Snapshots(values=values, times=times, dt=dt, names=names, source="linear_wave")
