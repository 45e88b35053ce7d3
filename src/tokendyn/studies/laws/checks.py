"""What a law is given, checked: one error names all problems, each with what was given and what is expected."""

import math
from collections.abc import Callable
from numbers import Integral, Real

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad

from tokendyn.errors import BadInputError, ConvergenceError, ScaleError

#: ``e`` to the power of this is nearly the largest float64.
LARGEST_EXPONENT = 700.0

#: An integral whose estimated relative error is larger is no answer.
_LOOSEST = 1e-6


def refuse(law: str, *problems: str | None) -> None:
    """Raise one :class:`BadInputError` of all problems that are not None; do nothing without any."""
    given = [problem for problem in problems if problem is not None]
    if given:
        raise BadInputError.all_of(law, given)


def outside(name: str, number: object, least: float, most: float = math.inf, ends: str = "[)") -> str | None:
    """Return the faults of a number that must lie in an interval, or None; ``ends`` are its two brackets."""
    value = float(number) if isinstance(number, Real) else math.nan
    above = value >= least if ends[0] == "[" else value > least
    below = value <= most if ends[1] == "]" else value < most
    if above and below:
        return None
    return f"{name} must lie in {ends[0]}{least:.6g}, {most:.6g}{ends[1]}, got {number!r}"


def not_whole(name: str, number: object, least: int) -> str | None:
    """Return the faults of a whole number that must be at least another, or None."""
    if isinstance(number, Integral) and int(number) >= least:
        return None
    return f"{name} must be a whole number, {least} or more, got {number!r}"


def checked_times(law: str, times: object) -> Float[np.ndarray, " times"]:
    """Return times as float64, or raise a :class:`BadInputError` unless they are finite and increase."""
    try:
        grid = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError):
        grid = np.empty(0)
    good = grid.ndim == 1 and len(grid) > 0 and np.isfinite(grid).all() and (np.diff(grid) > 0).all()
    refuse(law, None if good else "times must be finite and increase, and be one or more")
    return grid


def checked_exponent(law: str, exponent: float) -> None:
    """Raise a :class:`ScaleError` if ``e^exponent`` is beyond float64."""
    if exponent > LARGEST_EXPONENT:
        raise ScaleError(
            f"{law}: e^{exponent:.4g} is beyond the largest float64; lower the inverse temperature, so that the "
            f"exponent is at most {LARGEST_EXPONENT:g}"
        )


def integral(integrand: Callable[[float], float], start: float, end: float) -> float:
    """Return an integral by adaptive quadrature, to a relative error of about 1e-12.

    Raises
    ------
    ConvergenceError
        If the estimated relative error is above 1e-6.
    """
    value, error = quad(integrand, start, end, epsabs=0, epsrel=1e-12, limit=500, full_output=1)[:2]
    if not error <= _LOOSEST * abs(value):
        raise ConvergenceError(f"the integral from {start:g} to {end:g} has an estimated error of {error:.1e}")
    return float(value)
