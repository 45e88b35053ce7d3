"""Lift of a thin aerofoil that pitches, plunges and meets gusts: indicial functions, and a stall that follows slowly.

Times are reduced, ``s = V t / b``: half chords that the aerofoil has moved. Angles are in radians.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tokendyn.data.snapshots.series import Snapshots
from tokendyn.data.systems.chaotic import check_sampling
from tokendyn.errors import BadInputError

#: Amplitudes and rates of the lags of Wagner's and of Kuessner's function (R. T. Jones, NACA Report 681, 1940).
WAGNER = ((0.165, 0.0455), (0.335, 0.3))
KUESSNER = ((0.5, 0.13), (0.5, 1.0))
#: Stall after Goman and Khrabrov (J. Aircraft 31, 1994): relaxation time and delay in half chords, angle at which half
#: of the flow is separated, and how abruptly it separates, in radians. Values of the order that they give for wings.
RELAXATION, DELAY, STALL_ANGLE, STALL_WIDTH = 3.0, 5.0, 0.28, 0.05


def wagner(times: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
    """Return ``phi(s) = 1 - 0.165 e^{-0.0455 s} - 0.335 e^{-0.3 s}``, the lift of a sudden angle by its final value."""
    return _indicial(times, WAGNER)


def kuessner(times: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
    """Return ``psi(s) = 1 - 0.5 e^{-0.13 s} - 0.5 e^{-s}``, the lift on entry into a sharp gust by its final value."""
    return _indicial(times, KUESSNER)


def aerofoil_gusts(
    points: int = 4000,
    dt: float = 0.5,
    *,
    amplitude: float = 0.05,
    stall: bool = False,
    gusts: bool = True,
    seed: int = 0,
) -> Snapshots:
    """Return the lift coefficient of an aerofoil under random motion and 1-cosine gusts, with both as inputs.

    ``C_L = 2 pi (a_phi + a_psi) + pi (alpha' + h'' - a alpha'')``: ``a_phi`` is the angle ``alpha + h' + (1/2 - a)
    alpha'`` at three quarters of the chord, filtered by Wagner's function, ``a_psi`` the gust's angle, filtered by
    Kuessner's, and ``a = -1/2`` the axis at a quarter of the chord. With ``stall`` the first term is ``2 pi a ((1 +
    sqrt f) / 2)^2`` with a the sum of both angles, ``tau_1 f' + f = f_0(|a| - tau_2 |a|')`` (Goman, Khrabrov 1994;
    Kirchhoff's lift) and a smooth step ``f_0`` from 1 to 0 at :data:`STALL_ANGLE`.

    Parameters
    ----------
    points, dt
        Snapshots and the reduced time between them. The lags are exact for inputs that are linear in between.
    amplitude
        Standard deviation of each motion's angle, and mean height of the gusts, in radians; stall begins near
        :data:`STALL_ANGLE`.
    stall
        Whether the flow separates.
    gusts
        Whether there are gusts.
    seed
        Of motion and gusts.

    Returns
    -------
    Snapshots
        Feature ``lift``; inputs ``angle``, ``apparent`` (the term of the apparent mass) and ``gust``.

    Raises
    ------
    BadInputError
        For fewer than two points, or a step or an amplitude that is not positive.

    Examples
    --------
    >>> from tokendyn.data.systems import aerofoil_gusts
    >>> series = aerofoil_gusts(100, seed=1)
    >>> series.names, series.input_names
    (('lift',), ('angle', 'apparent', 'gust'))
    """
    check_sampling(points, dt)
    if not amplitude > 0:
        raise BadInputError(f"amplitude must be positive, got {amplitude}")
    rng = np.random.default_rng([seed, 8])
    times = dt * np.arange(points)
    angle, apparent = _motion(times, amplitude, rng)
    gust = _one_minus_cosine(times, amplitude, rng) if gusts else np.zeros(points)
    lift = lift_of(np.stack([angle, apparent, gust], axis=1), dt, stall=stall)
    return Snapshots(
        values=lift[:, None],
        times=times,
        dt=dt,
        names=("lift",),
        inputs=np.stack([angle, apparent, gust], axis=1),
        input_names=("angle", "apparent", "gust"),
        source=f"aerofoil_gusts(seed={seed})",
    )


def lift_of(inputs: Float[np.ndarray, "time 3"], dt: float, *, stall: bool = False) -> Float[np.ndarray, " time"]:
    """Return the lift coefficient that angle, apparent mass and gust give, from rest; see :func:`aerofoil_gusts`."""
    angle, apparent, gust = inputs.T
    felt = _lagged(angle, dt, WAGNER) + _lagged(gust, dt, KUESSNER)
    if not stall:
        return np.asarray(2 * math.pi * felt + apparent)
    attached = _attached(felt, dt)
    return np.asarray(2 * math.pi * felt * ((1 + np.sqrt(attached)) / 2) ** 2 + apparent)


def _indicial(times: np.ndarray, lags: Sequence[tuple[float, float]]) -> np.ndarray:
    return np.asarray(1 - sum(share * np.exp(-rate * times) for share, rate in lags))


def _lagged(signal: np.ndarray, dt: float, lags: Sequence[tuple[float, float]]) -> np.ndarray:
    """Return Duhamel's integral of a signal that is linear between snapshots, exactly; it has been at rest before."""
    total = (1 - sum(share for share, _ in lags)) * signal
    for share, rate in lags:
        decay = math.exp(-rate * dt)
        # z' = rate (u - z), with u from u_0 to u_1 over a step: what the end of the step weighs more than its start.
        ramp = 1 - (1 - decay) / (rate * dt)
        state, states = 0.0, np.empty_like(signal)
        previous = 0.0
        for row, value in enumerate(signal.tolist()):
            if row:
                state = decay * state + (1 - decay) * previous + ramp * (value - previous)
            states[row], previous = state, value
        total = total + share * states
    return np.asarray(total)


def _attached(angle: np.ndarray, dt: float) -> np.ndarray:
    """Return the attached share f of the upper side, in steps that are exact for a target linear in between."""
    size = np.abs(angle)
    delayed = size - DELAY * np.gradient(size, dt)
    target = 0.5 * (1 - np.tanh((delayed - STALL_ANGLE) / STALL_WIDTH))
    share = _lagged(target - target[0], dt, ((1.0, 1 / RELAXATION),)) + target[0]
    return np.clip(share, 0.0, 1.0)


def _motion(times: np.ndarray, amplitude: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return angle and apparent mass of pitching and plunging with many random reduced frequencies, 0.02 to 3."""
    # Few frequencies would be foretold by a linear recurrence that knows nothing of the lags.
    axis, count = -0.5, 40
    frequencies = np.exp(rng.uniform(math.log(0.02), math.log(3.0), (2, count)))
    phases = rng.uniform(0, 2 * math.pi, (2, count))
    sizes = amplitude * math.sqrt(2 / count) * rng.uniform(0.5, 1.5, (2, count)) * np.minimum(1, 0.2 / frequencies)
    turns = frequencies[..., None] * times + phases[..., None]
    # Pitch alpha, and the rate h' of plunging, each a sum of waves with its derivatives.
    pitch, sink = (sizes[..., None] * np.sin(turns)).sum(axis=1)
    pitch_rate, sink_rate = (sizes[..., None] * frequencies[..., None] * np.cos(turns)).sum(axis=1)
    pitch_bend = -(sizes[0, :, None] * frequencies[0, :, None] ** 2 * np.sin(turns[0])).sum(axis=0)
    angle = pitch + sink + (0.5 - axis) * pitch_rate
    return angle, math.pi * (pitch_rate + sink_rate - axis * pitch_bend)


def _one_minus_cosine(times: np.ndarray, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """Return gusts ``w/2 (1 - cos(2 pi s / L))`` one after the other, of random heights, lengths and pauses."""
    gust, begin = np.zeros_like(times), rng.uniform(0, 40)
    while begin < times[-1]:
        length, height = rng.uniform(10, 50), amplitude * rng.uniform(0.5, 1.5) * rng.choice([-1.0, 1.0])
        inside = (times >= begin) & (times < begin + length)
        gust[inside] = height / 2 * (1 - np.cos(2 * math.pi * (times[inside] - begin) / length))
        begin += length + rng.uniform(5, 60)
    return gust
