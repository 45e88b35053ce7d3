"""The factors of modifiers, learned on texts that the values were not fitted to.

On the texts of its fit, a word explains more than it does in a new text, so any further factor for it would be wrong:
for film reviews, even in sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from tokendyn.sentiment.modifiers import Modifiers
from tokendyn.sentiment.values import losses_and_slopes

#: Prior standard deviation of the factors.
_SPREAD = 1.0
#: Bounds of the factors: an intensifier never weakens, and only a negator may reverse.
_LEAST, _MOST = np.array([-0.9, 0.0, -0.9, -0.9]), 3.0


@dataclass(frozen=True)
class Followed:
    """Texts with the parts of their scores under values that were learned from other texts.

    Attributes
    ----------
    sums
        Float64 (1 + ways, texts, columns): contribution of all words of a text, then that of the words that follow a
        modifier in each way, in the order of the fields of :class:`tokendyn.sentiment.Modifiers`.
    biases, targets, importance
        Biases, probabilities of the classes, and cost of an error on each text.
    """

    sums: Float[np.ndarray, "parts texts columns"]
    biases: Float[np.ndarray, " columns"]
    targets: Float[np.ndarray, "texts columns"]
    importance: Float[np.ndarray, " texts"]


def fit_modifiers(held: Sequence[Followed]) -> Modifiers:
    """Return the factors of modifiers, fitted to texts that the values were not learned from.

    Minimises ``sum_t c_t loss_t + sum_k w_k^2 / (2 spread^2)`` over w with ``scores = b + w_0 S + sum_k w_k S_k``,
    where S is the contribution of all words of a text, and S_k that of the words that follow in way k. ``g = w_k /
    w_0``.

    Parameters
    ----------
    held
        Texts under values learned from other texts.
    """
    sums, target = np.concatenate([part.sums for part in held], axis=1), np.concatenate([part.targets for part in held])
    bias = np.concatenate([np.broadcast_to(part.biases, part.targets.shape) for part in held])
    weights = np.concatenate([part.importance for part in held])
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
