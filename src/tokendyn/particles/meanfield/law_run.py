"""Runs of the law on the circle without tokens, beside its projection: for temperatures that no tokens resolve."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics import Progress, TokenFlow, integrate
from tokendyn.errors import BadInputError
from tokendyn.particles.meanfield.cell_velocity import largest_sharpness
from tokendyn.particles.meanfield.continuity import CircleLaw, circle_law
from tokendyn.particles.meanfield.phases import DEPARTED
from tokendyn.particles.meanfield.projection import Projection, project
from tokendyn.particles.meanfield.starts import Density, on_circle

#: Cells within the width ``1/sqrt(beta |B^T x|)`` of the narrowest kernel.
CELLS_IN_KERNEL = 4
_FEWEST_CELLS = 1024
#: Tokens that follow each of the two clusters of a law.
_FOLLOWING = 200


@dataclass(frozen=True)
class LawRun:
    """A law over time, and how far it is from its projection.

    Attributes
    ----------
    flow
        The vector field.
    law
        The law until it left its projection again, or to the end.
    projection
        The map Pi of the flow.
    times
        All times.
    distances
        W2 to the projected law of the start: exact for the law, a bound for the tokens that follow it.
    """

    flow: TokenFlow
    law: CircleLaw
    projection: Projection
    times: Float[np.ndarray, " states"]
    distances: Float[np.ndarray, " states"]

    @property
    def resolved(self) -> bool:
        """Whether cells are narrow enough for the kernel, and for the law where it is nearest to its projection."""
        width = float(self.law.edges[1])
        return len(self.law.centres) >= needed_cells(self.flow) and float(self.distances.min()) > width


def needed_cells(flow: TokenFlow) -> int:
    """Return the number of cells, a power of two, that has :data:`CELLS_IN_KERNEL` within the narrowest kernel."""
    if math.isinf(flow.inverse_temperature):
        return _FEWEST_CELLS
    width = 1 / math.sqrt(max(largest_sharpness(flow), 1.0))
    return max(_FEWEST_CELLS, 2 ** math.ceil(math.log2(2 * math.pi * CELLS_IN_KERNEL / width)))


def simulate_law(
    flow: TokenFlow,
    density: Density,
    times: Float[np.ndarray, " times"],
    *,
    cells: int | None = None,
    step: float = 0.05,
    noise: float = 0.0,
    progress: Progress | None = None,
) -> LawRun:
    """Follow the law of a density on the circle, and measure its distance to the projected law.

    The projected law is two opposite points: each takes the mass of the start on its side of the separatrix. In the
    plane ``|x - e|^2 - |x + e|^2 = -4 <x, e>``, so the best coupling gives e the mass of largest ``<x, e>``: W2 is one
    sum, without a solver, and not a bound of it as for tokens. From the time at which the law is twice as far as it was
    at its least, tokens at its quantiles follow its two clusters.

    Parameters
    ----------
    flow, density, times, step, noise
        See :func:`~tokendyn.particles.meanfield.circle_law`.
    cells
        By default :func:`needed_cells`.
    progress
        Called with the number of times that are done, and their number.

    Raises
    ------
    BadInputError
        As :func:`~tokendyn.particles.meanfield.circle_law`; and where nothing concentrates on two points.
    """
    identity = np.eye(next((len(matrix) for matrix in (flow.value, flow.interaction) if matrix is not None), 2))
    value = identity if flow.value is None else flow.value
    interaction = identity if flow.interaction is None else flow.interaction
    projection = project(value, interaction)
    if not projection.concentrates:
        raise BadInputError(f"there is no projected law on the circle: {projection.reason}")
    # Pi(x) = sign(<across, x>) e for a projector of rank one.
    left, _, right = np.linalg.svd(projection.projector)
    pole, across = (math.atan2(vector[1], vector[0]) for vector in (left[:, 0], right[0]))
    share = _mass_around(density, across)
    grid = np.asarray(times, dtype=np.float64)
    count = needed_cells(flow) if cells is None else cells
    centres = 2 * math.pi * (np.arange(count) + 0.5) / count
    distances: list[float] = []

    def left_again(masses: np.ndarray) -> bool:
        distances.append(_distance(masses, np.cos(centres - pole), share))
        return not noise and min(distances) <= DEPARTED and distances[-1] > 2 * min(distances)

    law = circle_law(flow, density, grid, cells=count, step=step, noise=noise, stop=left_again, progress=progress)
    first = _distance(law.masses[0], np.cos(centres - pole), share)
    rest = grid[len(law.times) - 1 :]
    later = _followed(flow, law, across, pole, rest, step) if len(rest) > 1 else np.empty(0)
    curve = np.array([first, *distances, *later])
    return LawRun(flow=flow, law=law, projection=projection, times=grid[: len(curve)], distances=curve)


def _followed(
    flow: TokenFlow, law: CircleLaw, across: float, pole: float, times: np.ndarray, step: float
) -> np.ndarray:
    """Return the distances at the later times, from tokens at the quantiles of the two halves of a law.

    A law that has come near and leaves is two clusters, far narrower than the kernel and soon than a cell, in which
    its cells would pull them apart; tokens keep their digits. What was still on its way is left out by then.
    """
    ahead = np.cos(law.centres - across) > 0
    angles, weights = [], []
    for half in (ahead, ~ahead):
        # From the separatrix on, so that a half is one arc.
        separatrix = int(np.flatnonzero(~half & np.roll(half, -1))[0])
        turned, start = np.roll(law.masses[-1] * half, -separatrix), law.edges[separatrix]
        cumulative = np.concatenate([[0.0], np.cumsum(turned)])
        if cumulative[-1] > 0:
            levels = (np.arange(_FOLLOWING) + 0.5) / _FOLLOWING * cumulative[-1]
            angles.append(start + np.interp(levels, cumulative, law.edges))
            weights.append(np.full(_FOLLOWING, cumulative[-1] / _FOLLOWING))
    tokens, masses = on_circle(np.concatenate(angles)), np.concatenate(weights)
    goals = np.sign(tokens @ [math.cos(across), math.sin(across)])[:, None] * [math.cos(pole), math.sin(pole)]
    run = integrate(flow, tokens, times, weights=masses / masses.sum(), method="rk4", step=step)
    return np.asarray(np.sqrt(((run.states[1:] - goals) ** 2).sum(axis=2) @ masses / masses.sum()))


def _mass_around(density: Density, angle: float) -> float:
    """Return the share of the mass within a quarter turn of an angle, to twelve digits."""
    from scipy.integrate import quad

    def integral(start: float, end: float) -> float:
        value: Callable[[float], float] = lambda at: float(np.asarray(density(np.array([at])))[0])  # noqa: E731
        return float(quad(value, start, end, epsabs=1e-13, epsrel=1e-12, limit=200)[0])

    inside = integral(angle - math.pi / 2, angle + math.pi / 2)
    return inside / (inside + integral(angle + math.pi / 2, angle + 3 * math.pi / 2))


def _distance(masses: np.ndarray, heights: np.ndarray, share: float) -> float:
    """Return W2 from cells at heights ``<x, e>`` to the mass ``share`` at e and the rest at -e."""
    order = np.argsort(-heights, kind="stable")
    sorted_masses = masses[order]
    before = np.cumsum(sorted_masses) - sorted_masses
    # The cell in which the mass of e ends is shared.
    near = np.clip(share - before, 0, sorted_masses)
    squares = 2 * (near @ (1 - heights[order]) + (sorted_masses - near) @ (1 + heights[order]))
    return math.sqrt(max(float(squares), 0.0))
