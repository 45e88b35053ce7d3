"""Measures of a head's attention weights: its temperature, its commonest key, and whether that leads or only drains.

Weights are ``(..., tokens, tokens)``, a row for each query; ``seen`` marks the keys that a query may attend to.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num

#: Keys that a row needs so that its spread means something.
LEAST_KEYS = 8
#: Weights below this are taken for it: float32 underflows near it, and its logarithm would be minus infinity.
LEAST_WEIGHT = 1e-30
#: A key that draws this many times its base leads; of those, one whose odds in the output are below half of its odds
#: in the attention drains. Thresholds of our own: see the page on real models.
LEADS, DRAINS = 5.0, 0.5


def visible(attention: Num[np.ndarray, "heads tokens keys"]) -> Bool[np.ndarray, "tokens keys"]:
    """Return which keys a query may see: those to which some head gives weight."""
    return np.asarray((attention > 0).any(axis=0))


def log_rows(
    attention: Num[np.ndarray, "*heads tokens keys"], seen: Bool[np.ndarray, "tokens keys"]
) -> Num[np.ndarray, "*heads tokens keys"]:
    """Return the logarithms of the weights less the mean of each row: the scores up to a constant; 0 where not seen."""
    logs = np.log(np.maximum(attention, LEAST_WEIGHT))
    logs *= seen
    counts = seen.sum(axis=-1, keepdims=True)
    logs -= logs.sum(axis=-1, keepdims=True) / counts
    logs *= seen
    return logs


def cold_index(
    attention: Num[np.ndarray, "*heads tokens keys"], seen: Bool[np.ndarray, "tokens keys"]
) -> Float[np.ndarray, "*heads"]:
    """Return how cold heads are: the standard deviation of a row of scores over ``sqrt(2 log n)``, the median of rows.

    In the random energy model (Derrida 1981) ``n`` independent Gaussian scores of standard deviation ``s`` freeze at
    ``s = sqrt(2 log n)``: above 1 a few keys hold the weight however many there are. NaN where no row sees
    :data:`LEAST_KEYS` keys.
    """
    return _cold(log_rows(attention, seen), seen)


def _cold(logs: np.ndarray, seen: np.ndarray) -> np.ndarray:
    counts = seen.sum(axis=-1)
    rows = counts >= LEAST_KEYS
    if not rows.any():
        return np.full(logs.shape[:-2], np.nan)
    spread = np.sqrt((logs[..., rows, :] ** 2).sum(axis=-1, dtype=np.float64) / counts[rows])
    return np.asarray(np.median(spread / np.sqrt(2 * np.log(counts[rows])), axis=-1))


def effective_keys(
    attention: Num[np.ndarray, "*heads tokens keys"], seen: Bool[np.ndarray, "tokens keys"]
) -> tuple[Float[np.ndarray, "*heads"], Float[np.ndarray, "*heads"]]:
    """Return ``1 / sum_j p_ij^2`` and ``exp(H_i) / n_i``, medians over rows that see enough keys; uniform: n and 1."""
    counts = seen.sum(axis=-1)
    rows = counts >= LEAST_KEYS
    if not rows.any():
        nothing = np.full(attention.shape[:-2], np.nan)
        return nothing, nothing
    weights = attention[..., rows, :]
    squares = np.einsum("...ij,...ij->...i", weights, weights)
    logs = np.log(np.maximum(weights, LEAST_WEIGHT))
    entropy = -np.einsum("...ij,...ij->...i", weights, logs)
    return np.median(1 / squares, axis=-1), np.median(np.exp(entropy) / counts[rows], axis=-1)


@dataclass(frozen=True)
class Leaders:
    """Which keys draw attention, and which of those only drain it.

    Attributes
    ----------
    share
        ``(heads, keys)``: the mean weight that a key gets.
    lead
        The same over what a uniform head gives: 1 for every key of a uniform head.
    output_share
        Mean share of the sum ``sum_j A_ij |O v_j|``; NaN without output norms.
    sinks, content
        Keys that lead and drain, and keys that lead and do not.
    """

    share: Float[np.ndarray, "heads keys"]
    lead: Float[np.ndarray, "heads keys"]
    output_share: Float[np.ndarray, "heads keys"]
    sinks: Bool[np.ndarray, "heads keys"]
    content: Bool[np.ndarray, "heads keys"]


def leaders(
    attention: Num[np.ndarray, "heads tokens keys"],
    seen: Bool[np.ndarray, "tokens keys"],
    output_norms: Float[np.ndarray, "heads keys"] | None = None,
) -> Leaders:
    """Tell keys that lead from keys that drain.

    A key leads when it gets more than :data:`LEADS` times what a uniform head gives it, and :func:`often_seen` holds
    for it. It is a sink when, besides, its odds in the output
    are less than :data:`DRAINS` times its odds in the attention: the head looks at it and takes nothing. Odds and not
    shares, since a key with nine tenths of the weight cannot have five times that of the output.

    Parameters
    ----------
    attention
        Of all heads of a layer.
    seen
        Which keys a query may attend to.
    output_norms
        ``|O v_j|``; without them no key is called a sink.
    """
    base = (seen / seen.sum(axis=-1, keepdims=True)).mean(axis=0)
    share = attention.mean(axis=1, dtype=np.float64)
    lead = share / np.where(base > 0, base, 1.0)
    leading = (lead > LEADS) & often_seen(seen)
    if output_norms is None:
        nothing = np.full(share.shape, np.nan)
        return Leaders(share, lead, nothing, np.zeros(share.shape, dtype=bool), leading)
    sizes = attention @ output_norms.astype(attention.dtype)[..., None]
    weights = (attention / np.where(sizes > 0, sizes, 1.0)).mean(axis=1, dtype=np.float64)
    output_share = weights * output_norms
    drains = _odds(output_share) < DRAINS * _odds(share)
    return Leaders(share, lead, output_share, leading & drains, leading & ~drains)


def _odds(share: np.ndarray) -> np.ndarray:
    # Shares of a row add to 1 up to rounding; a key that holds all of them has odds without bound.
    return np.asarray(share / np.maximum(1.0 - share, 1e-12))


@dataclass(frozen=True)
class ScoreFit:
    """How well predicted scores give the weights of a head.

    Attributes
    ----------
    slope, r2
        ``(heads,)``: of the least-squares line from predicted to real scores, each row less its mean.
    variation
        Total variation between the softmax of the predicted scores and the real weights, the mean over rows.
    same_top
        Share of rows whose heaviest key is the predicted one.
    """

    slope: Float[np.ndarray, " heads"]
    r2: Float[np.ndarray, " heads"]
    variation: Float[np.ndarray, " heads"]
    same_top: Float[np.ndarray, " heads"]


def fit_scores(
    attention: Num[np.ndarray, "heads tokens keys"],
    scores: Float[np.ndarray, "heads tokens keys"],
    seen: Bool[np.ndarray, "tokens keys"],
) -> ScoreFit:
    """Compare predicted scores with the weights of heads, over rows that see two keys or more."""
    rows = seen.sum(axis=-1) >= 2
    real = log_rows(attention, seen)[:, rows]
    allowed = seen[rows]
    masked = np.where(allowed, scores[:, rows], -np.inf)
    softmax = np.exp(masked - masked.max(axis=-1, keepdims=True))
    softmax /= softmax.sum(axis=-1, keepdims=True)
    guess = np.where(allowed, scores[:, rows], 0.0)
    guess = (guess - guess.sum(axis=-1, keepdims=True) / allowed.sum(axis=-1, keepdims=True)) * allowed
    product = np.einsum("hij,hij->h", real, guess)
    size, total = np.einsum("hij,hij->h", guess, guess), np.einsum("hij,hij->h", real, real, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = product / size
        r2 = product * product / (size * total)
    weights = attention[:, rows]
    return ScoreFit(
        slope=slope, r2=r2, variation=0.5 * np.abs(softmax - weights).sum(axis=-1).mean(axis=-1),
        same_top=(masked.argmax(axis=-1) == weights.argmax(axis=-1)).mean(axis=-1),
    )  # fmt: skip


def permuted_lead(
    attention: Num[np.ndarray, "heads tokens keys"],
    seen: Bool[np.ndarray, "tokens keys"],
    generator: np.random.Generator,
) -> Float[np.ndarray, " heads"]:
    """Return the largest lead when each row deals its weights to the keys that it sees at random: the null of leads.

    A head whose rows are as uneven, but agree on no key. All heads share the permutations.
    """
    order = np.where(seen, generator.random(seen.shape), 2.0).argsort(axis=-1)
    places = np.argsort(~seen, axis=-1, kind="stable")
    dealt = np.zeros_like(attention)
    np.put_along_axis(dealt, places[None], np.take_along_axis(attention, order[None], axis=-1), axis=-1)
    return largest_lead(leaders(dealt, seen), seen)


def largest_lead(found: Leaders, seen: Bool[np.ndarray, "tokens keys"]) -> Float[np.ndarray, " heads"]:
    """Return the largest lead of the keys that enough queries may see; see :func:`often_seen`."""
    return np.asarray(found.lead[:, often_seen(seen)].max(axis=-1))


def often_seen(seen: Bool[np.ndarray, "tokens keys"]) -> Bool[np.ndarray, " keys"]:
    """Return the keys that at least a quarter as many queries may see as the key that most queries see.

    Late keys of a causal model have a base near zero. In a layer of local attention no key is seen by a quarter of all
    queries, so that their number counts beside that of the key that is seen most.
    """
    counts = seen.sum(axis=0)
    return np.asarray(4 * counts >= counts.max())


def permuted_top(
    attention: Num[np.ndarray, "heads tokens keys"],
    scores: Float[np.ndarray, "heads tokens keys"],
    seen: Bool[np.ndarray, "tokens keys"],
    generator: np.random.Generator,
) -> Float[np.ndarray, " heads"]:
    """Return the share of rows whose heaviest key the scores of *another* query name: a null of predicted leaders."""
    rows = np.flatnonzero(seen.sum(axis=-1) >= 2)
    others = np.where(seen[rows], scores[:, generator.permutation(rows)], -np.inf)
    return np.asarray((others.argmax(axis=-1) == attention[:, rows].argmax(axis=-1)).mean(axis=-1))


def commonest_top(attention: Num[np.ndarray, "heads tokens keys"]) -> Float[np.ndarray, " heads"]:
    """Return the share of rows whose heaviest key is the commonest one: the null of every prediction of leaders."""
    tops = attention.argmax(axis=-1)
    return np.array([np.bincount(row).max() / len(row) for row in tops])
