"""The factors of modifiers, learned on texts that the values were not fitted to.

On the texts of its fit, a word explains more than it does in a new text, so any further factor for it would be wrong:
for film reviews, even in sign.
"""

from collections.abc import Sequence
from dataclasses import astuple, replace

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.optimize import minimize

from tokendyn.sentiment.modifiers import Modifiers
from tokendyn.sentiment.values import Sample, Values, losses_and_slopes

#: Prior standard deviation of the factors.
_SPREAD = 1.0
#: Bounds of the factors: an intensifier never weakens, and only a negator may reverse.
_LEAST, _MOST = np.array([-0.9, 0.0, -0.9, -0.9]), 3.0


def scaled(sample: Sample, led: Sequence[sparse.csr_matrix], modifiers: Modifiers) -> Sample:
    """Return texts in which occurrences that follow a modifier are weighted.

    Parameters
    ----------
    sample
        The texts.
    led
        (texts, tokens) each: number of occurrences of a token that follow a modifier, for each field of ``modifiers``.
    modifiers
        The factors.
    """
    if modifiers.idle:
        return sample
    counts = sample.counts
    for multiple, following in zip(astuple(modifiers), led, strict=True):
        counts = counts + multiple * following
    return replace(sample, counts=counts.tocsr())


def fit_modifiers(
    held: Sequence[tuple[Sample, Sequence[sparse.csr_matrix], Values]],
) -> Modifiers:
    """Return the factors of modifiers, fitted to texts that the values were not learned from.

    Minimises ``sum_t c_t loss_t + sum_k w_k^2 / (2 spread^2)`` over w with ``scores = b + w_0 S + sum_k w_k S_k``,
    where S is the contribution of all words of a text, and S_k that of the words that follow in way k. ``g = w_k /
    w_0``.

    Parameters
    ----------
    held
        Texts, the matrices of :func:`scaled`, and values learned from other texts.
    """
    parts, targets, importance, biases = [], [], [], []
    for sample, led, values in held:
        mass = (sample.sizes + values.phantom)[:, None]
        parts.append(np.stack([matrix @ values.table / mass for matrix in (sample.counts, *led)]))
        targets.append(sample.targets)
        importance.append(sample.importance)
        biases.append(np.broadcast_to(values.biases, sample.targets.shape))
    sums, target, bias = np.concatenate(parts, axis=1), np.concatenate(targets), np.concatenate(biases)
    weights = np.concatenate(importance)
    if not sums[1:].any():
        return Modifiers()

    ways = len(sums) - 1

    def objective(unknowns: Float[np.ndarray, " k"]) -> tuple[float, Float[np.ndarray, " k"]]:
        losses, slopes = losses_and_slopes(bias + np.tensordot(unknowns, sums, axes=1), target)
        prior = np.append(0.0, unknowns[1:]) / _SPREAD**2
        value = float(weights @ losses) + 0.5 * float(prior @ unknowns)
        return value, np.einsum("ktc,tc,t->k", sums, slopes, weights) + prior

    start = np.append(1.0, np.zeros(ways))
    found = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-3}).x
    if found[0] <= 0.0:
        return Modifiers()
    return Modifiers(*np.clip(found[1:] / found[0], _LEAST, _MOST).tolist())
