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

#: Spacing, in kernel widths, that these numbers stand for in dimension 3; used in higher dimensions.
SPACING = 1.34

#: Up to this many tokens the attention of all of them is looked at, beyond that of a sample of this size.
ALL_ROWS, SAMPLED_ROWS = 5000, 500

#: Largest distance, in kernel widths, from where a token looks to the nearest token: 95 % of the tokens must keep it.
REACH = 1.25


@dataclass(frozen=True)
class Resolution:
    """Whether finitely many tokens stand for a law of full support at this inverse temperature.

    Attributes
    ----------
    status
        ``"resolved"`` or ``"unresolved"``.
    tokens
        Number of tokens; with unequal weights their effective number ``1 / sum w^2``.
    needed
        Tokens that would do, of a start of the same kind; infinite for hardmax.
    spacing
        ``max_i`` over 95 % of the tokens of ``|u(x_i) - nearest token|``, in kernel widths ``1/sqrt(beta |B^T x_i|)``.
    effective_size
        Median over the tokens of ``1 / sum_j p_ij^2``, the effective number of tokens attended to.
    self_weight
        Median of ``p_ii``.
    reason
        The status in a sentence, with the number of tokens that would do.
    shown
        What was measured at the start, in words.
    other_tokens
        Tokens of the run of another size that a run was compared with; 0 when there was none.
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
    """Return whether the tokens, as they are at the start, resolve the attention kernel.

    A rule of thumb that costs little: it can ask for more tokens than the answer needs, and it cannot see the tail of
    the law on which the answer may hang later. The verdict on a run is that of
    :func:`~tokendyn.particles.meanfield.simulate`, which begins with this one and looks along the run.

    Two measures must hold: the number of tokens (:func:`needed_tokens`), and the distance from where each token looks,
    ``u(x_i)``, to the nearest token. The second sees gaps of random and uneven starts.

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

        wanted = queries[asking] / norms[asking, None]
        gaps = np.asarray(cKDTree(tokens).query(wanted)[0])
        widths[asking] = gaps * np.sqrt(flow.inverse_temperature * norms[asking])
    order = np.argsort(widths)
    reach = float(widths[order][np.searchsorted(np.cumsum(shares[order]), 0.95 * (1 - 1e-12))])
    expected = needed_tokens(flow.inverse_temperature * float(norms.max()), dim)
    denser = _exponential(math.log(count) + (dim - 1) * math.log(max(reach, 1e-300) / REACH))
    needed = float(np.ceil(max(expected, denser)))
    size, own = _attended(flow, queries, tokens, shares)
    shown = (
        f"{counted(round(count), 'token')} at beta = {flow.inverse_temperature:g}: {reach:.2g} kernel widths to the "
        f"nearest token, {size:.3g} {'token' if f'{size:.3g}' == '1' else 'tokens'} attended to"
    )
    if count * (1 + 1e-9) >= expected and reach <= REACH:
        return Resolution("resolved", count, needed, reach, size, own, shown, shown)
    return Resolution(
        "unresolved", count, needed, reach, size, own,
        f"{shown}: too few for the mean field; use {enough(needed)}, or a smaller beta", shown,
    )  # fmt: skip


def enough(needed: float) -> str:
    """Return how many tokens would do, in words."""
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
    if flow.cold_limit == "full support":
        reason = "zero temperature with full support: tokens do not interact, any number resolves it"
        return Resolution("resolved", count, 1.0, 0.0, math.inf, 0.0, reason, reason)
    reason = "hardmax of finitely many tokens is the other limit: no number of tokens makes it the mean field"
    return Resolution("unresolved", count, math.inf, math.inf, 1.0, 1.0, reason, reason)
