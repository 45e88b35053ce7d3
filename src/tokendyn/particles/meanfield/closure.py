"""The Gaussian closure (our own): two numbers for each cluster predict how well and how long a law concentrates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.particles.meanfield.phases import Phases, detect_phases

#: Distances above this are outside the range of the linearisation: the curve ends there.
LARGEST = 1.0


@dataclass(frozen=True)
class Closure:
    """The distance that the Gaussian closure predicts, ``W_2^2 = sum_k w_k (m_k^2 + s_k)``.

    Attributes
    ----------
    times, distances
        The curve, from the start until the distance passes ``LARGEST`` or the time is over.
    phases
        The phases of the curve.
    """

    times: Float[np.ndarray, " times"]
    distances: Float[np.ndarray, " times"]
    phases: Phases


@dataclass(frozen=True)
class Cluster:
    """Mean and variance of the coordinate across E in one cluster, and the weight of the cluster."""

    mean: float
    variance: float
    weight: float


def clusters_at(
    tokens: Float[np.ndarray, "tokens 2"], weights: Float[np.ndarray, " tokens"] | None = None
) -> tuple[Cluster, ...]:
    """Return the clusters that tokens on the circle belong to, one on each side of ``x_1 = 0``."""
    shares = np.full(len(tokens), 1 / len(tokens)) if weights is None else weights
    clusters = []
    for side in (tokens[:, 0] > 0, tokens[:, 0] <= 0):
        weight = float(shares[side].sum())
        if weight > 0:
            part, across = shares[side] / weight, tokens[side, 1]
            mean = float(part @ across)
            clusters.append(Cluster(mean=mean, variance=float(part @ (across - mean) ** 2), weight=weight))
    return tuple(clusters)


def gaussian_closure(
    values: Sequence[float],
    interactions: Sequence[float],
    inverse_temperature: float,
    clusters: Sequence[Cluster],
    until: float,
    points: int = 2001,
) -> Closure:
    """Return the closure of ``V = diag(v_1, v_2)``, ``B = diag(b_1, b_2)`` on the circle, near ``E = span(e_1)``.

    Near ``e_1``, under a Gaussian law of mean m and variance s, the attention of a token with coordinate y across E has
    the mean ``(m + beta b_2 s y) / (1 + beta b_1 s)``; with ``a = v_2 beta b_2 s / (1 + beta b_1 s) - v_1`` therefore::

        sdot = 2 a s,    mdot = (a + v_2 / (1 + beta b_1 s)) m

    While ``beta b_1 s >> 1`` it contracts, ``a = -c``; when the cluster is narrower than the kernel
    ``a + v_2 = v_2 - v_1`` takes over for the mean.

    Raises
    ------
    BadInputError
        If ``e_1`` does not dominate (``v_1 b_1 > v_2 b_2``), or parameters are out of range.
    """
    (v1, v2), (b1, b2) = values, interactions
    if not (v1 * b1 > v2 * b2 and b1 > 0 and math.isfinite(inverse_temperature) and inverse_temperature > 0):
        raise BadInputError(
            f"V = diag({v1}, {v2}), B = diag({b1}, {b2}), beta = {inverse_temperature}; expected v1 b1 > v2 b2, b1 > 0 "
            "and a finite positive beta"
        )
    if not clusters or any(cluster.variance <= 0 for cluster in clusters) or until <= 0:
        raise BadInputError("the closure needs clusters of positive variance and a positive time")
    from scipy.integrate import solve_ivp

    count, beta = len(clusters), inverse_temperature
    means, variances, weights = np.array([(c.mean, c.variance, c.weight) for c in clusters]).T

    # Logarithms of mean and variance relative to the start: both decay over many orders without losing digits.
    def rates(_: float, logs: np.ndarray) -> np.ndarray:
        s = variances * np.exp(logs[:count])
        a = v2 * beta * b2 * s / (1 + beta * b1 * s) - v1
        return np.concatenate([2 * a, a + v2 / (1 + beta * b1 * s)])

    times = np.linspace(0.0, until, points)
    solution = solve_ivp(rates, (0.0, until), np.zeros(2 * count), "DOP853", times, rtol=1e-10, atol=1e-12)
    logs = solution.y
    s = variances[:, None] * np.exp(logs[:count])
    m = means[:, None] * np.exp(np.minimum(logs[count:], 300.0))
    distances = np.sqrt(weights @ (m**2 + s))
    beyond = np.flatnonzero(distances[1:] > max(LARGEST, distances[0]))
    end = int(beyond[0]) + 2 if beyond.size else points
    phases = detect_phases(times[:end], distances[:end])
    return Closure(times=times[:end], distances=distances[:end], phases=phases)
