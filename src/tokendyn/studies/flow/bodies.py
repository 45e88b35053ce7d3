"""Flow past a cylinder, at rest or turning, and past a pitching aerofoil."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.studies.flow import kernels
from tokendyn.studies.flow.solver import SPEED, Flow, Grid, Tank, record

#: Places of the wake probes behind a cylinder, in diameters from its centre.
WAKE = ((1.0, 0.5), (2.0, 0.5), (3.0, 0.5), (5.0, 0.5))

#: A motion over time: a function of time, run-in (times below 0) included, or one number for each sample, joined by
#: straight lines and held in the run-in.
Motion = Callable[[float], float] | Float[np.ndarray, " points"]


def cylinder_flow(
    reynolds: float = 100.0,
    points: int = 3_000,
    dt: float = 0.2,
    rotation: Motion | None = None,
    resolution: int = 12,
    length: float = 30.0,
    height: float = 16.0,
    upstream: float = 8.0,
    discard: float = 150.0,
    probes: Sequence[tuple[float, float]] = WAKE,
    frames_every: int | None = None,
) -> Flow:
    """Return the flow past a circular cylinder, with its lift, drag, torque and wake.

    Times are in diameters over speed D/U. An impulsive start with a short turn of the cylinder makes the wake shed
    soon; it is discarded. At Reynolds number 100 an unconfined cylinder sheds at Strouhal number 0.164 to 0.167 with
    mean drag coefficient 1.32 to 1.36 (Williamson, Phys. Fluids 31 (1988); Park, Kwon, Choi, KSME J. 12 (1998)); a
    row of cylinders ``height`` apart sheds faster and has more drag. ``benchmarks/flow.py`` measures how fast the
    solver's numbers approach these.

    Parameters
    ----------
    reynolds
        ``U D / nu``, 20 to 200.
    points, dt
        Samples and the time between them, which is rounded to whole steps.
    rotation
        Surface speed over U, counter-clockwise positive: a function of time or one number for each sample. It
        becomes the input ``rotation``. At most 2.
    resolution
        Cells in a diameter.
    length, height, upstream
        Size of the domain and distance of the cylinder from the inflow, in diameters.
    discard
        Time before the first sample.
    probes
        Places of the velocity probes, in diameters from the centre, downstream and up.
    frames_every
        Keep the velocity field of one sample in this many.

    Raises
    ------
    BadInputError
        For sizes, Reynolds numbers or motions outside of what the solver can do.
    TokendynError
        If the flow becomes unstable.
    """
    grid = Grid(resolution=resolution, length=length, height=height, upstream=upstream, sponge=min(6.0, length / 5))
    problems = grid.problems() + _sampling_problems(points, dt, discard)
    if not 20 <= reynolds <= 200:
        problems.append(f"reynolds is {reynolds}; expected 20 to 200, where the flow is plane")
    if problems:
        raise BadInputError.all_of("cylinder_flow", problems)
    turning = None if rotation is None else as_function(rotation, points, _rounded(dt, resolution), 2.0, "rotation")
    radius = resolution / 2

    def motion(t: float) -> tuple[float, float]:
        if t <= -discard + 4.0:
            return 0.0, SPEED / radius * math.sin(math.pi * (t + discard) / 4.0)
        return 0.0, 0.0 if turning is None else SPEED / radius * turning(t)

    tank = Tank(grid, reynolds, kernels.CYLINDER, (radius, 0.0, 0.0), np.array(probes, dtype=float), moves=False)
    inputs = None if turning is None else lambda t: (turning(t),)
    names = () if turning is None else ("rotation",)
    source = f"cylinder_flow(reynolds={reynolds:g}, resolution={resolution})"
    return record(
        tank, motion, _probe_names(probes), inputs, names, points, dt, discard, frames_every, reynolds, source
    )


def aerofoil_flow(
    reynolds: float = 400.0,
    points: int = 3_000,
    dt: float = 0.1,
    pitch: Motion | None = None,
    angle: float = 15.0,
    thickness: float = 0.15,
    pivot: float = 0.25,
    resolution: int = 40,
    length: float = 9.0,
    height: float = 6.0,
    upstream: float = 2.5,
    discard: float = 25.0,
    probes: Sequence[tuple[float, float]] = ((1.25, 0.0), (2.0, 0.0)),
    frames_every: int | None = None,
) -> Flow:
    """Return the flow past a pitching symmetric NACA four-digit aerofoil, with its lift, drag, moment and wake.

    Times are in chords over speed; the body's cells move with it and cells that it leaves are filled anew, whose
    small jolts the mean over each interval smooths.

    Parameters
    ----------
    reynolds
        ``U c / nu``, 50 to 1,000.
    points, dt
        Samples and the time between them, which is rounded to whole steps.
    pitch
        Angle in degrees, nose up positive, added to ``angle``: a function of time or one number for each sample. The
        whole angle and its rate (degrees a unit of time) become the inputs ``angle`` and ``rate``.
    angle
        Mean angle in degrees.
    thickness, pivot
        Largest thickness and place of the axis behind the leading edge, in chords.
    resolution
        Cells in a chord.
    length, height, upstream, discard, probes, frames_every
        As of :func:`cylinder_flow`, in chords.

    Raises
    ------
    BadInputError
        For sizes, Reynolds numbers or motions outside of what the solver can do.
    TokendynError
        If the flow becomes unstable.
    """
    grid = Grid(resolution=resolution, length=length, height=height, upstream=upstream, sponge=min(2.5, length / 4))
    problems = grid.problems() + _sampling_problems(points, dt, discard)
    if not 50 <= reynolds <= 1000:
        problems.append(f"reynolds is {reynolds}; expected 50 to 1,000")
    if not (0.08 <= thickness <= 0.3 and 0 <= pivot <= 1 and abs(angle) <= 45):
        problems.append(f"thickness {thickness}, pivot {pivot}, angle {angle}; expected 0.08 to 0.3, 0 to 1, -45 to 45")
    if problems:
        raise BadInputError.all_of("aerofoil_flow", problems)
    tilt = None if pitch is None else as_function(pitch, points, _rounded(dt, resolution), 45.0, "pitch")
    step = SPEED / resolution

    def total(t: float) -> float:
        return angle + (0.0 if tilt is None else tilt(t))

    def rate(t: float) -> float:
        return (total(t + step) - total(t - step)) / (2 * step)

    def motion(t: float) -> tuple[float, float]:
        return math.radians(total(t)), math.radians(rate(t)) * step

    tank = Tank(
        grid,
        reynolds,
        kernels.AEROFOIL,
        (float(resolution), thickness, pivot),
        np.array(probes, dtype=float),
        moves=tilt is not None,
    )
    tank.pose[2] = math.radians(total(-discard))
    inputs = None if tilt is None else lambda t: (total(t), rate(t))
    names = () if tilt is None else ("angle", "rate")
    source = f"aerofoil_flow(reynolds={reynolds:g}, resolution={resolution})"
    return record(
        tank, motion, _probe_names(probes), inputs, names, points, dt, discard, frames_every, reynolds, source
    )


def quasi_periodic(
    amplitude: float, frequencies: Sequence[float] = (0.11, 0.11 * math.sqrt(3)), phases: Sequence[float] = (0.0, 1.0)
) -> Callable[[float], float]:
    """Return a sum of sines with equal amplitudes, ``amplitude`` in all; cycles a unit of time."""

    def motion(t: float) -> float:
        waves = (math.sin(2 * math.pi * f * t + p) for f, p in zip(frequencies, phases, strict=True))
        return amplitude / len(frequencies) * sum(waves)

    return motion


def _rounded(dt: float, resolution: int) -> float:
    """Return the time step that is whole steps of the solver."""
    return max(round(dt * resolution / SPEED), 1) * SPEED / resolution


def as_function(motion: Motion, points: int, dt: float, limit: float, name: str) -> Callable[[float], float]:
    """Return a motion as a function of time; samples are joined by straight lines and held outside.

    Raises
    ------
    BadInputError
        If samples are too few, or a value is not finite or beyond ``limit``.
    """
    times = dt * np.arange(points)
    values = np.array([motion(t) for t in times]) if callable(motion) else np.asarray(motion, dtype=np.float64)
    if values.shape != (points,):
        raise BadInputError(f"{name} has shape {values.shape}; expected one number for each of {points} samples")
    if not (np.isfinite(values).all() and np.abs(values).max() <= limit):
        raise BadInputError(f"{name} must be finite and at most {limit:g}; it reaches {np.abs(values).max():g}")
    return motion if callable(motion) else lambda t: float(np.interp(t, times, values))


def _probe_names(probes: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    return tuple(f"{letter}{i}" for i in range(len(probes)) for letter in "uv")


def _sampling_problems(points: int, dt: float, discard: float) -> list[str]:
    """Return the faults of the sampling."""
    if points >= 2 and 0 < dt <= 10 and 0 <= discard < 1e4:
        return []
    return [f"{points} points at dt = {dt} after {discard}; expected 2 or more, a step above 0 up to 10, a finite time"]
