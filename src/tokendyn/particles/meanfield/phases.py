"""Concentration, metastability and the terminal phase, from a curve of distances."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError

#: The terminal phase has begun when the distance exceeds this.
DEPARTED = 0.5


@dataclass(frozen=True)
class Phases:
    """The times at which a law is concentrated on its projection.

    Attributes
    ----------
    least
        Smallest distance ``min_t W_2``.
    concentration
        Time of the smallest distance.
    metastable
        First and last time around it at which the distance is at most ``factor`` times the smallest; the last one is
        infinite when the run ends earlier.
    departure
        First later time at which the distance exceeds the level; infinite when the run ends earlier, or when the
        distance was never below the level.
    """

    least: float
    concentration: float
    metastable: tuple[float, float]
    departure: float


def detect_phases(
    times: Float[np.ndarray, " times"],
    distances: Float[np.ndarray, " times"],
    *,
    level: float = DEPARTED,
    factor: float = 2.0,
) -> Phases:
    """Return the phases of a curve of distances; crossings are interpolated linearly between its times.

    Raises
    ------
    BadInputError
        If the arrays do not match, there are fewer than three times, or the factor is below 1.
    """
    if times.shape != distances.shape or len(times) < 3 or factor < 1 or not np.isfinite(distances).all():
        raise BadInputError(
            f"times {times.shape}, distances {distances.shape}, factor {factor}; expected three or more finite "
            "distances, one for each time, and a factor of at least 1"
        )
    best = int(distances.argmin())
    later = times[best:], distances[best:]
    earlier = -times[best::-1], distances[best::-1]
    wide = factor * float(distances[best])
    start = -_first_above(*earlier, wide)
    return Phases(
        least=float(distances[best]),
        concentration=float(times[best]),
        metastable=(float(times[0]) if math.isinf(start) else start, _first_above(*later, wide)),
        departure=_first_above(*later, level) if float(distances[best]) <= level else math.inf,
    )


def _first_above(times: np.ndarray, distances: np.ndarray, level: float) -> float:
    """Return the time at which a curve first exceeds a level, ``inf`` when it never does."""
    above = np.flatnonzero(distances > level)
    if not above.size:
        return math.inf
    i = int(above[0])
    if i == 0:
        return float(times[0])
    share = (level - distances[i - 1]) / (distances[i] - distances[i - 1])
    return float(times[i - 1] + share * (times[i] - times[i - 1]))
