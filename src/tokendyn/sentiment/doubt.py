"""Bounds on certainty: short texts that look clear are wrong more often than the sum of their words suggests.

A logistic function of a sum has no bound, so a sentence of a few strong words comes near certainty. Yet among single
sentences from film reviews with a fitted probability above 99 %, some 4 % belong to the other class, however large the
sum: bad reviews contain praise too. So the chance q of an error, 1 minus the largest probability, has a floor that
falls with the number of words.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tokendyn.sentiment.heads import log_softmax
from tokendyn.sentiment.values import Sample, Values

#: Errors are counted among verdicts of at least this probability. The prior: this number of errors, which are 3 % of
#: texts that are short beside the phantom words.
_SURE, _ERRORS, _BEFORE = 0.99, 1.0, 0.03
#: A floor must stay below the chance of a coin toss.
_MOST = 0.25


def floors(lengths: Float[np.ndarray, " texts"], phantom: float, doubt: float) -> Float[np.ndarray, " texts"]:
    """Return the least chance of an error in texts: ``doubt (phantom / (n + phantom))^2`` for n words (our own).

    The square is the variance of a mean relative to that of its sum: on held-out film reviews and pieces of them the
    share of errors among clear verdicts falls about like this, from 4 % of sentences to 0.4 % of reviews.
    """
    share: Float[np.ndarray, " texts"] = phantom / np.maximum(lengths + phantom, np.finfo(np.float64).tiny)
    return doubt * share**2


def doubted(
    probabilities: Float[np.ndarray, "texts classes"], floor: Float[np.ndarray, " texts"]
) -> Float[np.ndarray, "texts classes"]:
    """Return probabilities that leave at least the floor to the classes below the largest.

    The chance of an error ``q = 1 - max p`` becomes ``sqrt(q^2 + floor^2 (1 - (q/w)^2))``, where w is its value when
    all classes are equal: nearly the floor for a clear verdict, nearly q for others. The order of the classes never
    changes, because the uniform distribution is mixed in.
    """
    if not floor.any():
        return probabilities
    classes = probabilities.shape[1]
    most = 1.0 - 1.0 / classes
    error = 1.0 - probabilities.max(axis=1)
    raised = np.sqrt(error**2 + floor**2 * np.maximum(1.0 - (error / most) ** 2, 0.0))
    part = ((raised - error) / np.maximum(most - error, np.finfo(np.float64).tiny))[:, None]
    return (1.0 - part) * probabilities + part / classes


def fit_doubt(held: Sequence[tuple[Sample, Values]]) -> float:
    """Return the doubt of texts without words, from the errors among held-out texts that seem clear.

    ``(errors + 1) / (sum (phantom / (n + phantom))^2 + 1 / 0.03)`` over texts with a probability above 99 %, at most a
    quarter: few texts are weak evidence, and 3 % is assumed for them.

    Parameters
    ----------
    held
        Texts, and values learned from other texts.
    """
    errors, weight = _ERRORS, _ERRORS / _BEFORE
    for sample, values in held:
        scores, targets = values.scores(sample), sample.targets
        if scores.shape[1] == 1:
            scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
            targets = np.concatenate([1.0 - targets, targets], axis=1)
        chance = np.exp(log_softmax(scores))
        sure = np.flatnonzero(chance.max(axis=1) > _SURE)
        errors += float((1.0 - targets[sure, chance[sure].argmax(axis=1)]).sum())
        weight += float(floors(sample.sizes[sure], values.phantom, 1.0).sum())
    return min(errors / weight, _MOST)
