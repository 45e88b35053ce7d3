"""Synthetic signals: sums of sinusoids, damped or growing, mixed into several channels."""

from collections.abc import Sequence

import numpy as np

from tokendyn.data.snapshots.series import Snapshots
from tokendyn.data.systems.chaotic import check_sampling
from tokendyn.errors import BadInputError


def sinusoids(
    points: int = 2_000,
    dt: float = 0.05,
    frequencies: Sequence[float] = (0.5, 1.0),
    growth_rates: Sequence[float] | float = 0.0,
    amplitudes: Sequence[float] | float = 1.0,
    channels: int = 1,
    noise: float = 0.0,
    seed: int = 0,
) -> Snapshots:
    """Return ``x_c(t) = sum_j a_j g_cj exp(sigma_j t) cos(2 pi f_j t + phi_cj) + noise``.

    A sum of J sinusoids obeys a linear recurrence of order 2 J exactly (Prony), so a linear model with that many
    delays forecasts it; frequencies without a common divisor (1 and sqrt 2, say) make it quasi-periodic.

    Parameters
    ----------
    points, dt
        Snapshots and the time between them.
    frequencies
        In cycles per unit of time (Hz when times are seconds), below ``1 / (2 dt)``.
    growth_rates
        ``sigma_j`` per unit of time: negative decays, positive grows.
    amplitudes
        ``a_j``.
    channels
        Number of features; each has random phases and, beyond one channel, random gains in [0.5, 1.5].
    noise
        Standard deviation of white Gaussian noise, relative to that of each clean channel.
    seed
        For phases, gains and noise.

    Raises
    ------
    BadInputError
        For lists of different lengths or a frequency that the sampling cannot show.

    Examples
    --------
    >>> from tokendyn.data.systems import sinusoids
    >>> signal = sinusoids(100, 0.05, (0.5, 1.2), channels=2, seed=0)
    >>> signal.values.shape, signal.dt, signal.names
    ((100, 2), 0.05, ('x0', 'x1'))
    """
    check_sampling(points, dt)
    f = np.asarray(frequencies, dtype=np.float64)
    try:
        sigma, a = np.broadcast_to(growth_rates, f.shape), np.broadcast_to(amplitudes, f.shape)
    except ValueError:
        raise BadInputError(
            f"{len(f)} frequencies, {np.size(growth_rates)} growth rates, {np.size(amplitudes)} amplitudes; "
            "expected one for all or one for each"
        ) from None
    if f.ndim != 1 or not len(f) or (np.abs(f) >= 0.5 / dt).any():
        raise BadInputError(f"frequencies are {list(f)}; expected one or more below 1/(2 dt) = {0.5 / dt:g}")
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0.0, 2 * np.pi, (channels, len(f)))
    gains = rng.uniform(0.5, 1.5, (channels, len(f))) if channels > 1 else np.ones((1, len(f)))
    t = dt * np.arange(points)
    waves = np.exp(sigma * t[:, None])[:, None] * np.cos(2 * np.pi * f * t[:, None, None] + phases)
    values = (waves * gains * a).sum(axis=2)
    values += noise * values.std(axis=0) * rng.normal(size=values.shape)
    names = tuple(f"x{c}" for c in range(channels))
    return Snapshots(values=values, times=t, dt=dt, names=names, source=f"sinusoids(seed={seed})")
