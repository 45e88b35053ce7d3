"""The critical inverse temperature against the number of tokens: beta = gamma log n (arXiv 2510.05554)."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import brentq

from tokendyn.attention import Head
from tokendyn.errors import BadInputError, ConvergenceError
from tokendyn.metrics.alignment import directions_of
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import curves
from tokendyn.studies.laws.checks import outside, refuse
from tokendyn.studies.laws.equiangular import equiangular_tokens

SOURCE = "arXiv 2510.05554, scaling of the temperature with the length"

#: The inverse temperature of n tokens at gamma; another law stands in where a test takes the mechanism away.
Scaling = Callable[[float, int], float]

#: Directions whose mean squared distance is below this agree; a mean of directions below the second is zero. The last
#: stands for an inverse temperature of zero: it is that small beside the mean.
_AGREE, _CENTRED, _WARMEST = 1e-26, 1e-9, 1e-12


def logarithmic(gamma: float, count: int) -> float:
    """Return ``gamma log n``."""
    return gamma * math.log(count)


def contraction(tokens: Float[np.ndarray, "tokens dim"], inverse_temperature: float) -> float:
    """Return the share of the way to one point that one step ``N(m(x))`` takes the directions of tokens.

    ``(rho' - rho) / (1 - rho)`` for the mean inner products rho before and rho' after: 1 when all tokens become one, 0
    when they stay as they are; a negative number when they part.

    Raises
    ------
    BadInputError
        If a token has no direction, all have the same, or the inverse temperature is not positive (``inf`` is allowed).
    """
    refuse("contraction", outside("inverse_temperature", inverse_temperature, 0.0, ends="(]"))
    directions = directions_of(tokens)
    before = _checked_spread(directions)
    step = Head(inverse_temperature=inverse_temperature).attend(directions, find_leaders=False)
    return 1 - _spread(directions_of(step.means)) / before


def _spread(directions: np.ndarray) -> float:
    """Return ``1 - rho``: ``sum_i |x_i - mean|^2 / (n - 1)``, exact also where all directions nearly agree."""
    offsets = directions - directions[0]
    return float(np.sum((offsets - offsets.mean(axis=0)) ** 2) / (len(directions) - 1))


def _checked_spread(directions: np.ndarray) -> float:
    spread = _spread(directions)
    # Coordinates of unit vectors are exact to 1e-16: offsets of that size are rounding.
    if spread < _AGREE:
        raise BadInputError("all tokens point the same way: there is no contraction left to measure")
    return spread


def critical_gamma(
    tokens: Float[np.ndarray, "tokens dim"], *, scaling: Scaling = logarithmic, level: float = 0.5
) -> float:
    """Return the gamma at which one attention step halves the way of the tokens to one point.

    Below it tokens collapse in a step, above it they stay. Works on any states whose directions do not already agree,
    those of a real model too; only for equiangular ones there is a closed form, :func:`predicted_gamma`.

    Parameters
    ----------
    tokens
        ``(tokens, dim)``, two or more; only their directions matter.
    scaling
        The inverse temperature of n tokens at gamma.
    level
        The share of the way, between 0 and 1.

    Raises
    ------
    BadInputError
        If all tokens point the same way (there is nothing to contract), or their directions have mean zero, so that
        they do not collapse at any temperature.
    ConvergenceError
        If no gamma up to ``1000 / (1 - rho)``, rho the mean inner product, stops the contraction.
    """
    refuse("critical gamma", outside("level", level, 0.0, 1.0, "()"))
    directions = directions_of(tokens)
    spread = _checked_spread(directions)
    if np.linalg.norm(directions.mean(axis=0)) < _CENTRED:
        raise BadInputError(
            "the directions of the tokens have mean zero, so attention does not gather them at any temperature: "
            "there is no transition; give states whose mean is not zero"
        )

    def excess(gamma: float) -> float:
        return contraction(directions, max(scaling(gamma, len(directions)), _WARMEST)) - level

    high = 1.0
    while excess(high) > 0:
        high *= 2
        if high > 1000 / spread:
            raise ConvergenceError(f"tokens contract at gamma = {high / 2:g} still; does scaling= grow with gamma?")
    return float(brentq(excess, 0.0, high, xtol=1e-6))


def predicted_gamma(inner_product: float) -> float:
    """Return ``1 / (1 - rho)``, the critical gamma of many equiangular tokens.

    Token i attends to itself with ``e^beta`` against ``(n - 1) e^{beta rho}`` for all others. With ``beta = gamma log
    n`` the ratio is about ``n^{gamma (1 - rho) - 1}``: infinite or zero as n grows, on the two sides of this gamma.

    Raises
    ------
    BadInputError
        If the inner product is not in ``[-1, 1)``: equal tokens have no transition.
    """
    refuse("critical gamma", outside("inner_product", inner_product, -1.0, 1.0))
    return 1 / (1 - inner_product)


def critical_temperature(profile: Profile, seed: int, *, scaling: Scaling = logarithmic) -> Finding:
    """Measure the critical gamma over n, and extrapolate it linearly in ``1 / log n``."""
    counts = (128, 256, 512) if profile == "quick" else (128, 256, 512, 1024, 2048, 4096)
    rows, paths, errors = [], {}, []
    for rho in (0.2, 0.5, 0.7):
        gammas = [critical_gamma(equiangular_tokens(count, rho), scaling=scaling) for count in counts]
        inverse = 1 / np.log(counts)
        limit = float(np.polyfit(inverse, gammas, 1)[1])
        errors.append(abs(limit / predicted_gamma(rho) - 1))
        rows += [
            {"inner_product": rho, "tokens": count, "critical gamma": gamma, "extrapolated": limit,
             "1 / (1 - rho)": predicted_gamma(rho)}
            for count, gamma in zip(counts, gammas, strict=True)
        ]  # fmt: skip
        paths[f"rho = {rho:g}"] = (np.append(inverse, 0.0), np.append(gammas, predicted_gamma(rho)))
    figure = curves(paths, "1 / log n", "critical gamma; at 0 the closed form")
    return Finding(
        values={"extrapolated critical gamma, relative error": max(errors)}, table=pd.DataFrame(rows), figure=figure
    )


CLAIM = Claim(
    id="field.critical-temperature",
    statement="With beta = gamma log n, attention changes from collapse to identity at gamma = 1 / (1 - rho).",
    source=SOURCE,
    how="Gamma at which one step of attention goes half the way to one point, over n, extrapolated in 1 / log n.",
    bounds={"extrapolated critical gamma, relative error": at_most(0.02)},
    check=critical_temperature,
)
