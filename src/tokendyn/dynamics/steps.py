"""One step of a flow: the fixed methods with an estimate of their error, and Brownian motion on the sphere."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tokendyn.dynamics.flow import TokenFlow
from tokendyn.dynamics.sphere import tangent

Velocity = Callable[[np.ndarray], np.ndarray]
Retraction = Callable[[np.ndarray], np.ndarray]

#: Largest default step for a V of norm 1 to 2; it is divided by the norm below, and by half the norm above.
LONGEST = 0.1

#: Largest estimated error of one step of one token when the step is chosen automatically.
STEP_ERROR = 1e-4

#: Brownian motion is divided into pieces over which ``D h (dim - 1)`` is at most the first number; the second number
#: limits the pieces.
_DIFFUSION, _MOST_PIECES = 0.05, 400


class Stepped(NamedTuple):
    """The state after a step, its velocity, and the estimated error of each token."""

    state: np.ndarray
    slope: np.ndarray
    errors: np.ndarray


#: Maps velocity, retraction, state, the state's velocity and the step to the result of the step.
StepMap = Callable[[Velocity, Retraction, np.ndarray, np.ndarray, float], Stepped]


def longest_step(flow: TokenFlow) -> float:
    """Return the first step of an automatic choice, which is also its upper limit.

    Tokens move at most at the speed of V's norm under normalised attention.
    """
    norm = 1.0 if flow.value is None else float(np.linalg.norm(flow.value, 2))
    return LONGEST / max(norm / 2, min(1.0, norm), 1e-3)


def layer_step(velocity: Velocity, back: Retraction, x: np.ndarray, h: float) -> np.ndarray:
    """Return ``N(x + h f(x))``; with the output of a layer as f that is a post-normalised transformer layer."""
    return back(x + h * velocity(x))


# The velocity after the step costs nothing, because the next step begins with it. The estimates are the difference
# from a formula that uses it: of an order one lower (RK4: 3), or of the same order with another leading term.


def _euler_step(velocity: Velocity, back: Retraction, x: np.ndarray, slope: np.ndarray, h: float) -> Stepped:
    end = back(x + h * slope)
    after = velocity(end)
    return Stepped(end, after, _sizes(h / 2 * (after - slope)))


def _heun_step(velocity: Velocity, back: Retraction, x: np.ndarray, slope: np.ndarray, h: float) -> Stepped:
    second = velocity(back(x + h * slope))
    end = back(x + h / 2 * (slope + second))
    after = velocity(end)
    return Stepped(end, after, _sizes(h / 3 * (after - second)))


def _rk4_step(velocity: Velocity, back: Retraction, x: np.ndarray, slope: np.ndarray, h: float) -> Stepped:
    second = velocity(back(x + h / 2 * slope))
    third = velocity(back(x + h / 2 * second))
    fourth = velocity(back(x + h * third))
    end = back(x + h / 6 * (slope + 2 * (second + third) + fourth))
    after = velocity(end)
    return Stepped(end, after, _sizes(h / 6 * (after - fourth)))


def _sizes(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt((vectors**2).sum(axis=1)))


#: The methods, each with the power of the step that its error estimate is proportional to.
STEPS: dict[str, tuple[StepMap, int]] = {"euler": (_euler_step, 2), "heun": (_heun_step, 3), "rk4": (_rk4_step, 4)}


def brownian(x: np.ndarray, diffusivity: float, time: float, rng: np.random.Generator) -> np.ndarray:
    """Return tokens on the sphere after Brownian motion of generator ``D Laplace-Beltrami`` for some time.

    Tokens turn along great circles, ``x <- x cos|k| + k/|k| sin|k|``, by tangent vectors k of independent normal
    coordinates. On the circle that is exact. In higher dimensions ``|k|`` is stretched such that ``E cos|k|`` is
    exactly ``e^{-D (dim - 1) t}``, so the mean of the tokens is exact for every step. Long steps are divided into
    pieces, so that the rest of the distribution is close as well.
    """
    free = x.shape[1] - 1
    pieces = min(_MOST_PIECES, max(1, math.ceil(diffusivity * time * free / _DIFFUSION))) if free > 1 else 1
    scale = _turn_scale(free, diffusivity * time / pieces)
    for _ in range(pieces):
        kick = tangent(x, scale * rng.normal(size=x.shape))
        angles = _sizes(kick)[:, None]
        # np.sinc(t) is sin(pi t) / (pi t), which is defined at an angle of 0.
        x = x * np.cos(angles) + kick * np.sinc(angles / math.pi)
        # Rounding would otherwise carry tokens off the sphere over many pieces.
        x = x / _sizes(x)[:, None]
    return x


@lru_cache(maxsize=64)
def _turn_scale(free: int, spread: float) -> float:
    """Return s with ``E cos(s chi_free) = e^{-free * spread}``; the mean is ``1F1(free/2; 1/2; -s^2/2)``."""
    plain = math.sqrt(2 * spread)
    if free == 1 or spread == 0:
        return plain
    from scipy.optimize import brentq
    from scipy.special import hyp1f1

    target = math.exp(-free * spread)

    def excess(scale: float) -> float:
        return float(hyp1f1(free / 2, 0.5, -(scale**2) / 2)) - target

    # The mean falls from 1 and first reaches the target below twice the scale of flat space, for any spread that
    # pieces leave; beyond that (only at the limit of pieces) the direction is almost forgotten.
    if free * spread > 1:
        return plain
    return float(brentq(excess, 0.0, 2 * plain, xtol=1e-15))
