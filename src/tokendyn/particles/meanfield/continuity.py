"""The mean field on the circle without tokens: the continuity equation on a grid of cells.

``d_t mu + d_theta (mu v) = D d_theta^2 mu`` with ``v(theta) = <x', V m(x)>``, ``x' = (-sin, cos)``. There is no
number of tokens: what a run of n tokens does beyond its sampling error shows against this law. Our own scheme: masses
of cells, carried along characteristics (conservative and semi-Lagrangian), and diffused by exact Fourier factors.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics import Progress, TokenFlow
from tokendyn.errors import BadInputError, ConvergenceError
from tokendyn.particles.meanfield.cell_velocity import CellVelocity
from tokendyn.particles.meanfield.starts import Density, on_circle

#: Largest number of cells; a kernel that is wide takes fewer of them (:data:`~.cell_velocity.MOST_ENTRIES`).
MAX_CELLS = 2**18

#: A cell of less mass may move inexactly.
_EMPTY = 1e-10

#: Largest ``h |dv/dtheta|`` of one step: characteristics keep their order well below 1.
_COURANT = 0.5

#: Steps after which a law is given up; a thousand cells take minutes for as many.
_MAX_STEPS = 1_000_000


@dataclass(frozen=True)
class CircleLaw:
    """The law at the requested times.

    Attributes
    ----------
    times
        ``(states,)``.
    edges
        ``(cells + 1,)``: angles of the cell edges, from 0 to 2 pi.
    masses
        ``(states, cells)``: mass of each cell; each row has sum 1.
    steps
        Number of steps taken.
    settings
        What the law was computed with, as JSON values.
    """

    times: Float[np.ndarray, " states"]
    edges: Float[np.ndarray, " edges"]
    masses: Float[np.ndarray, "states cells"]
    steps: int
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def centres(self) -> Float[np.ndarray, " cells"]:
        """Return the angles of the middles of the cells."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def cumulative(self, state: int = -1) -> Float[np.ndarray, " edges"]:
        """Return the mass between angle 0 and each edge."""
        return np.concatenate([[0.0], np.cumsum(self.masses[state])])

    def order(self, harmonic: int = 1) -> Float[np.ndarray, " states"]:
        """Return ``|int e^{i k theta} dmu|`` at every time: 0 for the uniform law, 1 for one point."""
        return np.abs(self.masses @ np.exp(1j * harmonic * self.centres))

    def distance(self, angles: Float[np.ndarray, " tokens"], state: int = -1) -> float:
        """Return the largest difference of the masses of any two arcs, up to a factor 2: Kuiper's statistic.

        ``max (F - F_n) - min (F - F_n)`` for the cumulative masses of this law and of the tokens at the edges; it does
        not depend on where angles begin.

        Raises
        ------
        BadInputError
            If there are no angles, or one is not finite.
        """
        turns = np.mod(np.asarray(angles, dtype=np.float64), 2 * math.pi)
        if not turns.size or not np.isfinite(turns).all():
            raise BadInputError("angles must be one or more finite numbers")
        counts = np.histogram(turns, bins=self.edges)[0]
        gaps = np.cumsum(self.masses[state] - counts / len(turns))
        return float(gaps.max() - gaps.min())

    def tokens(self, count: int, state: int = -1) -> Float[np.ndarray, "tokens 2"]:
        """Return tokens at the quantiles ``(i + 1/2) / count`` of the law."""
        if not _whole(count) or count < 1:
            raise BadInputError(f"count must be a whole number above zero, got {count!r}")
        levels = (np.arange(count) + 0.5) / count
        return on_circle(np.interp(levels, self.cumulative(state), self.edges))


def circle_law(
    flow: TokenFlow, density: Density | Float[np.ndarray, " cells"], times: Float[np.ndarray, " times"], *,
    cells: int = 1024, step: float = 0.05, noise: float = 0.0,
    stop: Callable[[Float[np.ndarray, " cells"]], bool] | None = None, progress: Progress | None = None,
) -> CircleLaw:  # fmt: skip
    """Return the law that the flow makes of a density on the circle.

    A step of length h traces the edges of the cells back along the velocity of the half step (second order in h), and
    gives a cell the mass between its traced edges; between edges the cumulative mass is a monotone cubic. So the total
    mass is kept to rounding and no cell becomes negative; a law that concentrates does so down to the width of a cell.

    Parameters
    ----------
    flow
        In two dimensions, on the sphere; at infinite inverse temperature with ``cold_limit="full support"``.
    density
        A positive function of the angle, up to a factor; or the masses of the cells, which give their number.
    times
        Increasing.
    cells
        Number of equal cells. A kernel of width ``1/sqrt(beta)`` needs several cells. Up to 8,192, and more where the
        kernel is narrow: only its entries above ``e^-80`` are kept then.
    step
        Longest step; steps are shorter where the velocity is steep.
    noise
        Diffusivity D.
    stop
        Called with the masses at every time after the first; the law ends at the time at which it returns True.
    progress
        Called with the number of times that are done, and their number.

    Raises
    ------
    BadInputError
        If the flow is not one of laws on the circle, or density, times or numbers are invalid.
    ConvergenceError
        If it takes more than a million steps until the last time, at the speed that the law has.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import TokenFlow
    >>> from tokendyn.particles.meanfield import circle_law
    >>> law = circle_law(TokenFlow(2.0), lambda angle: 1 + 0.5 * np.cos(angle), np.array([0.0, 4.0]), cells=256)
    >>> law.order().round(2)
    array([0.25, 0.81])
    """
    masses = _start(density, cells)
    edges = np.linspace(0, 2 * math.pi, len(masses) + 1)
    grid = np.asarray(times, dtype=np.float64)
    _check(flow, grid, step, noise)
    velocity = CellVelocity(flow, edges)
    kept, steps = [masses], 0
    for before, after in pairwise(grid.tolist()):
        if progress is not None:
            progress(len(kept), len(grid))
        left = after - before
        while left > 0:
            speeds = velocity(masses)
            h = min(step, left, _COURANT / max(_steepness(speeds, masses, edges), 1e-300))
            # A rest below rounding would be a step that moves nothing.
            h = left if left - h < 1e-9 * step else h
            # Speeds change during the run, so a step that is too short for a moment is not yet a reason to give up.
            if steps + left / h > 100 * _MAX_STEPS or steps > _MAX_STEPS:
                raise ConvergenceError(
                    f"the law takes steps of {h:.1e} at t = {after - left:.6g}, {left / h:.1e} of them until t = "
                    f"{after:g}; follow it for a shorter time, give a longer step, lower the inverse temperature or V"
                )
            masses = _diffused(masses, noise * h / 2)
            half = _carried(masses, edges, velocity(masses) if noise else speeds, h / 2)
            masses = _diffused(_carried(masses, edges, velocity(half), h), noise * h / 2)
            left, steps = left - h, steps + 1
        kept.append(masses)
        if stop is not None and stop(masses):
            break
    settings = {"inverse_temperature": flow.inverse_temperature, "cells": len(masses), "step": step, "noise": noise}
    return CircleLaw(times=grid[: len(kept)], edges=edges, masses=np.array(kept), steps=steps, settings=settings)


def _steepness(speeds: np.ndarray, masses: np.ndarray, edges: np.ndarray) -> float:
    """Return the largest ``|dv/dtheta|`` over cells that hold mass.

    Where there is none, the attention of a cold law jumps from one cluster to another within ``1/beta``.
    """
    rises = np.abs(np.diff(speeds, append=speeds[:1]))
    return float(rises[masses > _EMPTY].max(initial=0.0)) / float(edges[1] - edges[0])


def _carried(masses: np.ndarray, edges: np.ndarray, speeds: np.ndarray, h: float) -> np.ndarray:
    """Return the masses after a time h in a constant velocity."""
    starts, turns = np.arange(len(masses)), h / edges[1]
    slopes = _spline_slopes(speeds)
    first = speeds
    second = _between(speeds, slopes, starts - turns / 2 * first)
    third = _between(speeds, slopes, starts - turns / 2 * second)
    fourth = _between(speeds, slopes, starts - turns * third)
    # Edges keep their order also where the steps are too long for the jumps of an empty region.
    traced = np.maximum.accumulate(starts - turns / 6 * (first + 2 * (second + third) + fourth))
    moved = np.diff(_cumulative(masses, traced), append=0.0)
    # The last cell ends where the first begins, one turn later.
    moved[-1] += masses.sum() - moved.sum()
    # Rounding of the cumulative mass may leave -1e-17 in an empty cell.
    return np.maximum(moved, 0.0)


def _spline_slopes(values: np.ndarray) -> np.ndarray:
    """Return the slopes, per cell, of the cubic spline through values at the edges of all cells.

    They solve ``s_{i-1} + 4 s_i + s_{i+1} = 3 (y_{i+1} - y_{i-1})``: a circulant system, diagonal in harmonics.
    """
    turns = 2 * math.pi / len(values) * np.arange(len(values) // 2 + 1)
    return np.fft.irfft(np.fft.rfft(values) * (3j * np.sin(turns) / (2 + np.cos(turns))), len(values))


def _between(values: np.ndarray, slopes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the periodic spline through values with these slopes at some places, in cell widths."""
    floors = np.floor(places)
    cell = floors.astype(np.int64) % len(values)
    following = (cell + 1) % len(values)
    start = values[cell]
    return np.asarray(start + _rise(places - floors, values[following] - start, slopes[cell], slopes[following]))


def _rise(share: np.ndarray, whole: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return how far a cubic has risen at a share of a cell over which it rises by a whole, from its end slopes."""
    return np.asarray(share * (left + share * (3 * whole - 2 * left - right + share * (left + right - 2 * whole))))


def _cumulative(masses: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the mass between angle 0 and some places, in cell widths: a monotone cubic, periodic but for full turns.

    Densities at the edges are those of the fourth order, clipped to three times the smaller neighbour (Fritsch, Carlson
    1980), so that the mass between two places is never negative.
    """
    count = len(masses)
    around = np.concatenate([masses[-2:], masses, masses[:1]])
    before = around[1:-2]
    slopes = (7 * (before + masses) - around[3:] - around[:-3]) / 12
    slopes = np.minimum(np.maximum(slopes, 0.0), 3 * np.minimum(before, masses))
    floors = np.floor(places)
    cell = floors.astype(np.int64) % count
    sums = np.concatenate([[0.0], np.cumsum(masses)])
    inside = _rise(places - floors, masses[cell], slopes[cell], slopes[(cell + 1) % count])
    return np.asarray(sums[-1] * np.floor(floors / count) + sums[cell] + inside)


def _diffused(masses: np.ndarray, spread: float) -> np.ndarray:
    """Return the masses after diffusion ``e^{-k^2 spread}`` of every harmonic: exact for each cell's mass."""
    if not spread:
        return masses
    waves = np.fft.rfft(masses)
    return np.fft.irfft(waves * np.exp(-spread * np.arange(len(waves)) ** 2.0), len(masses))


def _start(density: Density | np.ndarray, cells: int) -> np.ndarray:
    if callable(density):
        if not _whole(cells) or not 16 <= cells <= MAX_CELLS:
            raise BadInputError(f"cells must be a whole number from 16 to {MAX_CELLS}, got {cells!r}")
        # The mass of a cell by Simpson's rule: of the fourth order, as nothing after it is.
        edges = np.linspace(0, 2 * math.pi, 2 * cells + 1)
        values = np.asarray(density(edges), dtype=np.float64)
        if values.shape not in ((), edges.shape):
            raise BadInputError(f"density must return a number for each of {edges.shape} angles, got {values.shape}")
        values = np.broadcast_to(values, edges.shape)
        masses = values[:-1:2] + 4 * values[1::2] + values[2::2]
    else:
        masses = np.asarray(density, dtype=np.float64)
    if masses.ndim != 1 or not 16 <= len(masses) <= MAX_CELLS or not np.isfinite(masses).all() or masses.min() < 0:
        raise BadInputError(
            f"density must be a positive function of the angle, or 16 to {MAX_CELLS} masses of cells; got shape "
            f"{masses.shape}"
        )
    if not masses.sum() > 0:
        raise BadInputError("density has no mass; give a positive function or masses")
    return np.asarray(masses / masses.sum())


def _whole(number: object) -> bool:
    return isinstance(number, Integral)


def _check(flow: TokenFlow, times: np.ndarray, step: float, noise: float) -> None:
    problems = []
    if not flow.on_sphere or flow.normalisation != "post":
        problems.append("the flow leaves the circle or has another speed; only normalisation='post' is one of laws")
    if flow.causal:
        problems.append("the flow is causal: a law has no order of tokens")
    if flow.cold_limit == "hardmax":
        problems.append("hardmax is the limit of finitely many tokens; cold_limit='full support' is that of a law")
    if flow.means is not None or flow.device is not None:
        problems.append("the flow has its own means= or device=, which are those of tokens; leave them out")
    for name in ("interaction", "value"):
        matrix = getattr(flow, name)
        if matrix is not None and matrix.shape != (2, 2):
            problems.append(f"{name} is {matrix.shape}, but the circle has 2 coordinates")
    if times.ndim != 1 or len(times) < 2 or not np.isfinite(times).all() or not (np.diff(times) > 0).all():
        problems.append("times must be finite and increase, and be two or more")
    if not (0 < step < math.inf and 0 <= noise < math.inf):
        problems.append(f"step must be positive and noise zero or more, got {step} and {noise}")
    if not flow.normalised and flow.inverse_temperature > 300:
        problems.append("unnormalised attention beyond inverse_temperature=300 has speeds beyond float64")
    if problems:
        raise BadInputError.all_of("law on the circle", problems)
