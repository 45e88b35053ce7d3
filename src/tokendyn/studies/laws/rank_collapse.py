"""Pure attention loses rank doubly exponentially; a skip connection stops it (Dong et al. 2021, Noci et al. 2022).

With ``X = 1 x^T + R`` and scores ``beta <A x_i, x_j>``, what differs between the rows of the softmax is of the order
``beta R A R^T``, so the residual of ``P X`` is at most ``C |R|^3``, and ``log|log|R||`` grows by ``log 3`` a layer.
With a skip connection and ``V = I`` the common part doubles in a layer and R stays: the residual halves, no more.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float

from tokendyn.attention import Head
from tokendyn.dynamics import ResidualLayer, checked_tokens, run
from tokendyn.errors import BadInputError, ScaleError
from tokendyn.metrics.alignment import effective_rank, rank_one_residual
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_most
from tokendyn.studies.claims.drawing import curves
from tokendyn.studies.laws.checks import LARGEST_EXPONENT, outside, refuse

SOURCE = "Dong, Cordonnier, Loukas 2021 (a bound); Noci et al. 2022; the limit of the slope: derived here"

#: Residuals are followed down to this size: the cube of a smaller one is below float64.
_SMALLEST = 1e-100

#: Relative residuals below this are rounding of the tokens, to less than two digits.
_ROUNDING = 1e-14

#: Makes the layer of a head; one with a skip connection stands in where a test takes the mechanism away.
Maker = Callable[[Head], ResidualLayer]


def pure(head: Head) -> ResidualLayer:
    """Return attention alone: no skip connection, no feed-forward part."""
    return ResidualLayer((head,), skip=False)


def collapsed_layer(
    mean: Float[np.ndarray, " dim"], offsets: Float[np.ndarray, "tokens dim"], head: Head
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, "tokens dim"]]:
    """Return mean and offsets of the tokens ``mean + offsets`` after a layer of pure attention.

    Tokens of float64 cannot be nearer than 1e-16; their offsets can be. Row i has weights ``g_j (1 + e_ij)`` up to a
    factor, with ``g_j`` the softmax of ``beta <A x, r_j>`` that all rows share and ``e_ij = expm1(beta <A r_i, r_j>)``.
    With ``c = sum_j g_j r_j`` the mean of row i is ``x + c + sum_j g_j e_ij (r_j - c) / (1 + sum_j g_j e_ij)``, in
    which no two terms cancel; ``V`` maps both parts.

    Parameters
    ----------
    mean, offsets
        ``(dim,)`` and ``(tokens, dim)``.
    head
        Of a finite inverse temperature, with any matrices.

    Raises
    ------
    BadInputError
        At hardmax, which is not smooth in the offsets, or for parts that do not fit together.
    ScaleError
        If scores differ by more than float64 holds exponentials of: such offsets are not small.
    """
    beta = head.inverse_temperature
    middle, apart = checked_tokens(np.atleast_2d(mean)), checked_tokens(offsets)
    refuse(
        "collapsed layer",
        outside("inverse_temperature of the head", beta, 0.0, ends="()"),
        None if middle.shape == (1, apart.shape[1]) else f"mean {np.shape(mean)} does not fit offsets {apart.shape}",
    )
    keys = head.keys(apart)
    scores = beta * head.queries(apart) @ keys.T
    if np.abs(scores).max() > LARGEST_EXPONENT:
        raise ScaleError("collapsed layer: offsets are so large that exponentials overflow; use ResidualLayer")
    shared = beta * keys @ head.queries(middle)[0]
    weights = np.exp(shared - shared.max())
    weights /= weights.sum()
    own = np.expm1(scores) * weights
    centre = weights @ apart
    moved = own @ (apart - centre) / (1 + own.sum(axis=1))[:, None]
    drift = moved.mean(axis=0)
    return head.values(middle + centre + drift)[0], head.values(moved - drift)


def cubic_exponent(layer: ResidualLayer, tokens: Float[np.ndarray, "tokens dim"]) -> float:
    """Return the slope of log residual ``|R|`` after one layer against that before, over small residuals.

    The tokens are drawn towards their mean by several factors; 3 for pure attention, 1 with a skip connection.

    Raises
    ------
    BadInputError
        If the tokens are all equal, or the layer leaves no residual above rounding: hardmax, a score of zero, or tokens
        of another size than the temperature of the head is made for.
    """
    points = checked_tokens(tokens)
    mean = points.mean(axis=0)
    factors = np.geomspace(1e-3, 1e-2, 5)
    starts = [mean + factor * (points - mean) for factor in factors]
    ends = [layer(start)[0] for start in starts]
    if not all(rank_one_residual(state) > _ROUNDING for state in [*starts, *ends]):
        raise BadInputError(
            "tokens are equal before or after the layer, up to rounding: there is no exponent to measure; use "
            "different tokens, softmax heads, and scores of moderate size"
        )
    before, after = (
        [rank_one_residual(state) * np.linalg.norm(state) for state in states] for states in (starts, ends)
    )
    return float(np.polyfit(np.log(before), np.log(after), 1)[0])


def rank_collapse(profile: Profile, seed: int, *, layer: Maker = pure) -> Finding:
    """Measure the exponent of one layer, the slope over depth, and what a skip connection leaves."""
    rows, exponents, slopes, paths, kept = [], [], [], {}, []
    for number in range(3 if profile == "quick" else 20):
        rng = np.random.default_rng([seed, number])
        tokens, head = rng.normal(size=(12, 6)), Head(score=rng.normal(size=(6, 6)) / 6, inverse_temperature=1.0)
        exponents.append(cubic_exponent(layer(head), tokens))
        mean = tokens.mean(axis=0)
        offsets = 0.3 * (tokens - mean)
        # The largest coordinate: squares of a Euclidean norm would underflow.
        logs = [float(np.log(np.abs(offsets).max()))]
        while logs[-1] > np.log(_SMALLEST):
            mean, offsets = collapsed_layer(mean, offsets, head)
            logs.append(float(np.log(np.abs(offsets).max())))
        # Differences of logarithms: log|R| itself has a constant from C, which fades only after many layers.
        falls = np.log(-np.diff(logs[-3:]))
        slopes.append(float(np.polyfit(np.arange(len(falls)), falls, 1)[0]))
        start = tokens.mean(axis=0) + 0.01 * (tokens - tokens.mean(axis=0))
        skipping = run(start, [ResidualLayer((head,))] * 6)
        residuals = np.log([rank_one_residual(state) for state in skipping.states])
        kept.append(float(np.polyfit(np.arange(7), residuals, 1)[0]))
        paths[f"pure attention {number + 1}"] = (np.arange(len(logs)), np.exp(logs))
        rows.append(
            {"seed": number, "exponent of a layer": exponents[-1], "slope of log|log residual|": slopes[-1],
             "log residual a layer with skip": kept[-1], "effective rank with skip":
             effective_rank(skipping.states[-1])}
        )  # fmt: skip
    skips = np.array(kept) / -np.log(2)
    values = {
        "exponent of one layer by 3, largest error": float(np.abs(np.array(exponents) / 3 - 1).max()),
        "slope of log|log residual| by log 3, largest error": float(np.abs(np.array(slopes) / np.log(3) - 1).max()),
        "log residual a layer with a skip by -log 2, largest error": float(np.abs(skips - 1).max()),
    }
    return Finding(
        values=values, table=pd.DataFrame(rows), figure=curves(paths, "layer", "residual of rank one", logy=True)
    )


CLAIM = Claim(
    id="field.rank-collapse",
    statement=(
        "Pure attention collapses to rank one doubly exponentially with depth; with a skip connection the residual "
        "only halves in a layer."
    ),
    source=SOURCE,
    how="Residual after a layer against that before; slope of log|log residual| over layers; residual with a skip.",
    bounds={
        "exponent of one layer by 3, largest error": at_most(0.02),
        "slope of log|log residual| by log 3, largest error": at_most(0.02),
        "log residual a layer with a skip by -log 2, largest error": at_most(0.02),
    },
    check=rank_collapse,
)
