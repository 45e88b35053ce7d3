"""Two-dimensional flow past a body by the lattice-Boltzmann method, and its forces on the body.

Nine velocities, two relaxation times with magic parameter 1/4, curved moving walls by interpolated bounce-back,
forces by momentum exchange. The domain is periodic; a sponge before the outflow pulls the flow back to the
undisturbed stream, so that the wake does not come back in. Across the stream the domain is periodic too: the
flow is that past a row of bodies, ``height`` apart, and blockage is ``1 / height``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.data.snapshots.series import Snapshots
from tokendyn.errors import BadInputError, TokendynError
from tokendyn.studies.flow import kernels

#: Undisturbed speed in cells a step: Mach number 0.17, so that errors of compressibility are about one per cent.
SPEED = 0.1
#: Product of the two relaxation times less one half each; 1/4 is the most stable choice (Ginzburg et al. 2008).
MAGIC = 0.25


@dataclass(frozen=True)
class Grid:
    """The domain around a body; lengths are in diameters or chords.

    Attributes
    ----------
    resolution
        Cells in one diameter or chord.
    length, height
        Size along and across the stream.
    upstream
        Distance of the body's centre from the inflow.
    sponge
        Length of the sponge before the outflow.
    """

    resolution: int
    length: float
    height: float
    upstream: float
    sponge: float

    def problems(self) -> list[str]:
        """Return the faults of the sizes."""
        faults = []
        if self.resolution < 6:
            faults.append(f"resolution is {self.resolution}; expected 6 cells or more")
        if self.upstream < 2 or self.length < self.upstream + self.sponge + 2 or self.height < 3 or self.sponge < 1:
            faults.append(
                f"the domain is {self.length:g} by {self.height:g} with the body at {self.upstream:g} and a sponge of "
                f"{self.sponge:g}; expected at least 2 up- and downstream of the body, height 3, sponge 1"
            )
        if self.resolution**2 * self.length * self.height > 2e7:
            faults.append("the grid has more than 20 million cells; choose a coarser one")
        return faults

    @property
    def shape(self) -> tuple[int, int]:
        """Cells across and along the stream."""
        return round(self.height * self.resolution), round(self.length * self.resolution)


@dataclass(frozen=True)
class Flow:
    """What a simulated flow leaves behind.

    Attributes
    ----------
    series
        Lift and drag coefficients, torque coefficient, and the velocity at the probes; the motion as input. Times
        are in diameters or chords over speed. Each row is a mean over the interval that ends at its time.
    fields
        Velocities ``(frames, 2, y, x)`` in units of the stream's speed, or None if not requested.
    frame_times
        Their times.
    solid
        Cells of the body in its last pose, on the grid of the fields.
    reynolds, blockage
        Reynolds number and 1 / height.
    """

    series: Snapshots
    fields: Float[np.ndarray, "frames 2 y x"] | None
    frame_times: Float[np.ndarray, " frames"]
    solid: Bool[np.ndarray, "y x"]
    reynolds: float
    blockage: float


class Tank:
    """A running simulation: populations, body, and the steps between two samples.

    Parameters
    ----------
    grid
        The domain.
    reynolds
        Speed times diameter or chord over viscosity.
    shape, size
        Body and its sizes in cells, as of :func:`kernels.inside`.
    probes
        Places, in diameters or chords from the body's centre, downstream and up.
    moves
        The solid cells follow the angle; else only the surface moves.
    stream
        Undisturbed speed in cells a step.
    """

    def __init__(
        self,
        grid: Grid,
        reynolds: float,
        shape: int,
        size: tuple[float, float, float],
        probes: Float[np.ndarray, "probes 2"],
        *,
        moves: bool,
        stream: float = SPEED,
    ):
        ny, nx = grid.shape
        unit = grid.resolution
        self.grid, self.stream, self.moves, self.shape = grid, stream, moves, shape
        self.size = np.array(size)
        viscosity = SPEED * unit / reynolds
        even = 3 * viscosity + 0.5
        self.rates = (1 / even, 1 / (0.5 + MAGIC / (even - 0.5)))
        centre = np.array([grid.upstream * unit, ny / 2]) + 0.5
        self.pose = np.array([centre[0], centre[1], 0.0])
        places = np.rint(centre + unit * probes.reshape(-1, 2)).astype(np.int64)
        if ((places < 1) | (places > (nx, ny))).any():
            raise BadInputError("a probe lies outside of the domain")
        self.probes = np.ascontiguousarray(places[:, ::-1])
        reach = max(nx, ny) if shape == kernels.CUP else unit + 3
        x, y = np.rint(centre).astype(int)
        self.box = (max(y - reach, 1), min(y + reach, ny) + 1, max(x - reach, 1), min(x + reach, nx) + 1)
        self.solid = np.zeros((ny + 2, nx + 2), np.bool_)
        most = (self.box[1] - self.box[0]) * (self.box[3] - self.box[2]) * 2
        self.links, self.shares = np.empty((most, 3), np.int64), np.empty(most)
        self.strength = _sponge(nx, grid.sponge * unit, stream)
        self.count = -1
        self.now = np.empty((9, ny + 2, nx + 2))
        for i in range(9):
            self.now[i] = kernels.equilibrium(1.0, stream, 0.0, i)
        self.next = self.now.copy()

    def run(self, motion: Float[np.ndarray, "steps 2"]) -> Float[np.ndarray, " outputs"]:
        """Take steps with the given angle and spin; return mean force x, y, torque, and the probes' velocities."""
        force, sums = np.zeros(3), np.zeros(2 * len(self.probes))
        for angle, spin in motion:
            self._step(angle, spin, force, sums)
        out = np.concatenate([force, sums]) / len(motion)
        if not np.isfinite(out).all():
            raise TokendynError("the flow became unstable; lower the Reynolds number or the motion, or refine the grid")
        return out

    def _step(self, angle: float, spin: float, force: np.ndarray, sums: np.ndarray) -> None:
        """Take one step, and add to the force on the body and to the velocities at the probes."""
        if self.moves or self.count < 0:
            before = self.solid.copy()
            self.pose[2] = angle
            self.count = self._find_links()
        if self.moves:
            # Positive angles are nose up, that is clockwise, and the walls' spin is counter-clockwise.
            spin = -spin
            kernels.uncover(self.now, before, self.solid, self.box, self.pose, spin)
        kernels.still(self.now, self.solid, self.box)
        kernels.wrap(self.now)
        kernels.bounce(self.now, self.links, self.shares, self.count, self.solid, self.pose, spin, force)
        kernels.stream_collide(self.now, self.next, *self.rates)
        kernels.calm(self.next, self.strength, self.stream)
        self.now, self.next = self.next, self.now
        kernels.probe(self.now, self.probes, sums)

    def _find_links(self) -> int:
        return int(kernels.find_links(self.shape, self.size, self.pose, self.box, self.solid, self.links, self.shares))

    def field(self) -> Float[np.ndarray, "2 y x"]:
        """Return the velocity of every cell in cells a step; zero in the body."""
        u = np.empty((2, *self.grid.shape))
        kernels.velocities(self.now, u[0], u[1])
        u[:, self.solid[1:-1, 1:-1]] = 0.0
        return u


def _sponge(columns: int, length: float, stream: float) -> np.ndarray:
    """Return the strength of the sponge in each column: a parabola that damps by e^-6 what is carried through."""
    depth = np.maximum(np.arange(columns) + 1 - (columns - length), 0) / length
    return np.minimum(18 * stream / length, 0.2) * depth**2 if stream else np.zeros(columns)


def record(
    tank: Tank,
    motion: Callable[[float], tuple[float, float]],
    names: tuple[str, ...],
    inputs: Callable[[float], tuple[float, ...]] | None,
    input_names: tuple[str, ...],
    points: int,
    dt: float,
    discard: float,
    every: int | None,
    reynolds: float,
    source: str,
) -> Flow:
    """Run a tank and sample it.

    Parameters
    ----------
    motion
        Angle and spin in the solver's units (radians, radians a step) at a time; times before 0 are the run-in.
    names, input_names
        Names of the probes' columns and of the inputs.
    inputs
        The inputs at a time, or None.
    points, dt, discard
        Samples, time between them, and run-in before the first; ``dt`` is rounded to whole steps.
    every
        Keep the velocity field of one sample in this many; None keeps none.
    """
    unit = tank.grid.resolution / SPEED
    steps = max(round(dt * unit), 1)
    dt = steps / unit
    early = math.ceil(discard / dt)
    scale = np.full(3 + 2 * len(tank.probes), 1 / SPEED)
    scale[:3] = 2 / (SPEED**2 * tank.grid.resolution)
    scale[2] /= tank.grid.resolution
    rows, frames = np.empty((points, len(scale))), []
    for n in range(-early, points):
        at = (n * steps - steps + np.arange(1, steps + 1)) / unit
        out = tank.run(np.array([motion(t) for t in at])) * scale
        if n >= 0:
            rows[n] = out
            if every is not None and n % every == 0:
                frames.append(tank.field() / SPEED)
    times = dt * np.arange(points)
    values = np.concatenate([rows[:, [1, 0]], rows[:, 2:]], axis=1)
    driving = None if inputs is None else np.array([inputs(t) for t in times])
    series = Snapshots(
        values=values,
        times=times,
        dt=dt,
        names=("lift", "drag", "torque", *names),
        inputs=driving,
        input_names=input_names,
        source=source,
    )
    return Flow(
        series=series,
        fields=np.array(frames) if frames else None,
        frame_times=times[:: every or points][: len(frames)],
        solid=tank.solid[1:-1, 1:-1].copy(),
        reynolds=reynolds,
        blockage=1 / tank.grid.height,
    )
