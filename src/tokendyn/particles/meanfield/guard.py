"""Does n resolve beta? The limits n to infinity and beta to infinity do not commute.

With few tokens and large beta every token attends to itself or to one neighbour, and the run shows hardmax
self-attention in place of the mean field: a wrong limit that looks like a result.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from tokendyn.attention import attention_weights
from tokendyn.attention.step import MAX_DENSE_ENTRIES
from tokendyn.dynamics import TokenFlow
from tokendyn.dynamics.flow import checked_weights
from tokendyn.words import counted

#: Tokens needed in units of ``(beta b)^((d-1)/2)``: measured in dimensions 2 and 3 for even starts.
NEEDED = {2: 2.5, 3: 7.0}

#: Spacing in kernel widths to which these numbers correspond in dimension 3; used in higher dimensions.
SPACING = 1.34

#: Up to the first number of tokens the attention of all of them is measured, above it that of a sample of the second.
ALL_ROWS, SAMPLED_ROWS = 5000, 500

#: Largest distance, in kernel widths, from the direction of a token's query to the nearest token, for 95 % of the
#: tokens.
REACH = 1.25


@dataclass(frozen=True)
class Resolution:
    """Whether finitely many tokens represent a law of full support at this inverse temperature.

    Attributes
    ----------
    status
        ``"resolved"`` or ``"unresolved"``.
    tokens
        Number of tokens; with unequal weights their effective number ``1 / sum w^2``.
    needed
        Number of tokens of the same kind of start that would suffice; infinite for hardmax.
    spacing
        ``max_i`` over 95 % of the tokens of ``|u(x_i) - nearest token|``, in kernel widths ``1/sqrt(beta |B^T x_i|)``.
    effective_size
        Median over the tokens of ``1 / sum_j p_ij^2``, the effective number of tokens attended to.
    self_weight
        Median of ``p_ii``.
    reason
        The status in a sentence, with the number of tokens that would suffice.
    shown
        The measurements at the start, in words.
    other_tokens
        Number of tokens of the second run of another size; 0 without one.
    least_change, departure_change
        Relative changes of least distance and departure from that run to this one (of their logarithms); infinite when
        only one of the two comes near its projection, or leaves; NaN without a comparison.
    stragglers
        Tokens that attend to themselves off E at the least distance of a run.
    """

    status: Literal["resolved", "unresolved"]
    tokens: float
    needed: float
    spacing: float
    effective_size: float
    self_weight: float
    reason: str
    shown: str = ""
    other_tokens: int = 0
    least_change: float = math.nan
    departure_change: float = math.nan
    stragglers: int = 0


def needed_tokens(scaled_temperature: float, dim: int) -> float:
    """Return the number of evenly spread tokens that resolves ``beta b`` on the sphere in ``dim`` dimensions.

    The attention kernel has width ``1/sqrt(beta b)``, b the largest ``|B^T x|``: ``2.5 sqrt(beta b)`` in dimension 2,
    ``7 beta b`` in 3, and beyond these the spacing of dimension 3, ``|S^(d-1)| (sqrt(beta b) / 1.34)^(d-1)``.
    Independent tokens need several times more.
    """
    if scaled_temperature == 0:
        return 1.0
    sphere = math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)
    factor = math.log(NEEDED[dim]) if dim in NEEDED else sphere - (dim - 1) * math.log(SPACING)
    return max(1.0, _exponential(factor + (dim - 1) / 2 * math.log(scaled_temperature)))


def _exponential(power: float) -> float:
    """Return ``e^power``, infinite beyond the range of floating point."""
    return math.exp(power) if power < 700 else math.inf


def resolution(
    flow: TokenFlow, tokens: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"] | None = None
) -> Resolution:
    """Return whether the tokens at the start resolve the attention kernel.

    A cheap rule of thumb: it can ask for more tokens than the answer needs, and it does not see the tail of the law, on
    which the answer may depend later. :func:`~tokendyn.particles.meanfield.simulate` begins with this verdict and then
    judges the whole run.

    Two conditions must hold: on the number of tokens (:func:`needed_tokens`), and on the distance from the direction of
    each query, ``u(x_i)``, to the nearest token, which detects gaps of random and uneven starts.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import TokenFlow
    >>> from tokendyn.particles.meanfield import resolution, starts
    >>> tokens = starts.circle_quantiles(100)
    >>> resolution(TokenFlow(100.0), tokens).status
    'resolved'
    >>> resolution(TokenFlow(1e6), tokens).status
    'unresolved'
    """
    shares = checked_weights(weights, len(tokens))
    count, dim = float(1 / (shares**2).sum()), tokens.shape[1]
    if math.isinf(flow.inverse_temperature):
        return _cold(flow, count)
    queries = flow.queries(tokens)
    norms = np.linalg.norm(queries, axis=1)
    asking = norms > 0
    widths = np.zeros(len(tokens))
    if asking.any():
        from scipy.spatial import cKDTree

        directions = queries[asking] / norms[asking, None]
        gaps = np.asarray(cKDTree(tokens).query(directions)[0])
        widths[asking] = gaps * np.sqrt(flow.inverse_temperature * norms[asking])
    # The 95 % quantile by weight; the factor keeps rounding of the sums from moving it to the next token.
    order = np.argsort(widths)
    reach = float(widths[order][np.searchsorted(np.cumsum(shares[order]), 0.95 * (1 - 1e-12))])
    expected = needed_tokens(flow.inverse_temperature * float(norms.max()), dim)
    # Spacing falls like n^(-1/(d-1)): the number of tokens that would bring the measured reach down to REACH.
    denser = _exponential(math.log(count) + (dim - 1) * math.log(max(reach, 1e-300) / REACH))
    needed = float(np.ceil(max(expected, denser)))
    size, own = _attended(flow, queries, tokens, shares)
    shown = (
        f"{counted(round(count), 'token')} at beta = {flow.inverse_temperature:g}: {reach:.2g} kernel widths to the "
        f"nearest token, {size:.3g} {'token' if f'{size:.3g}' == '1' else 'tokens'} attended to"
    )
    status: Literal["resolved", "unresolved"]
    if count * (1 + 1e-9) >= expected and reach <= REACH:
        status, reason = "resolved", shown
    else:
        status, reason = "unresolved", f"{shown}: too few for the mean field; use {enough(needed)}, or a smaller beta"
    return Resolution(
        status=status,
        tokens=count,
        needed=needed,
        spacing=reach,
        effective_size=size,
        self_weight=own,
        reason=reason,
        shown=shown,
    )


def enough(needed: float) -> str:
    """Return the number of tokens that would suffice, in words."""
    return (
        f"at least {counted(round(needed), 'token')} of this kind"
        if needed < 1e9
        else "more tokens than any memory holds"
    )


def _attended(flow: TokenFlow, queries: np.ndarray, tokens: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    """Return the medians of effective size and self-weight, over a sample of the tokens when they are many."""
    if len(tokens) <= ALL_ROWS or flow.inverse_temperature == 0:
        drift = flow.drift(tokens, shares)
        return float(np.median(drift.effective_sizes)), float(np.median(drift.self_weights))
    rows = np.linspace(0, len(tokens) - 1, max(1, min(SAMPLED_ROWS, MAX_DENSE_ENTRIES // len(tokens))), dtype=np.int64)
    weights = attention_weights(queries[rows], tokens, inverse_temperature=flow.inverse_temperature, weights=shares)
    own = weights[np.arange(len(rows)), rows]
    return float(np.median(1 / (weights**2).sum(axis=1))), float(np.median(own))


def _cold(flow: TokenFlow, count: float) -> Resolution:
    """Return the verdict at zero temperature, which depends on the limit and not on the number of tokens."""
    if flow.cold_limit == "full support":
        reason = "zero temperature with full support: tokens do not interact, any number resolves it"
        return Resolution(
            status="resolved",
            tokens=count,
            needed=1.0,
            spacing=0.0,
            effective_size=math.inf,
            self_weight=0.0,
            reason=reason,
            shown=reason,
        )
    reason = "hardmax of finitely many tokens is the other limit: no number of tokens makes it the mean field"
    return Resolution(
        status="unresolved",
        tokens=count,
        needed=math.inf,
        spacing=math.inf,
        effective_size=1.0,
        self_weight=1.0,
        reason=reason,
        shown=reason,
    )
