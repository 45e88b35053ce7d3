"""The numbers by which words scale their neighbours, learned on texts that the values were not fitted to.

The score of a text is linear in these numbers once the values are known, so they are a logistic regression with a
normal prior: one minimum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.optimize import minimize

from tokendyn.sentiment.modifiers import Units
from tokendyn.sentiment.neighbours import REACH, Neighbours
from tokendyn.sentiment.values import losses_and_slopes

#: Precision of the prior of each number: a standard deviation of 0.26.
_PRECISION = 15.0
#: Unit of the closing weight in the fit, so that its prior is wide.
_CLOSING_UNIT = 10.0
_ITERATIONS, _GRADIENT = 60, 1e-2


@dataclass(frozen=True)
class Judged:
    """Texts with the terms of their scores under values that were learned from other texts.

    Attributes
    ----------
    scores, targets, importance
        Scores without biases, biases, probabilities of the classes, and cost of an error on each text.
    scaled
        ``(texts * columns, 2 words)``: contribution of the words behind, and before, each word; the columns of a text
        are adjacent rows.
    closing
        (texts, columns): sum of the contributions times the closeness of their sentences to the end.
    """

    scores: Float[np.ndarray, "texts columns"]
    biases: Float[np.ndarray, " columns"]
    targets: Float[np.ndarray, "texts columns"]
    importance: Float[np.ndarray, " texts"]
    scaled: sparse.csr_matrix
    closing: Float[np.ndarray, "texts columns"]

    def losses(self, unknowns: Float[np.ndarray, " unknowns"]) -> Float[np.ndarray, " texts"]:
        """Return the log-loss of each text."""
        return losses_and_slopes(self.terms(unknowns), self.targets)[0]

    def terms(self, unknowns: Float[np.ndarray, " unknowns"]) -> Float[np.ndarray, "texts columns"]:
        """Return the scores: ``b + w_0 S + w_1 closing + sum_k w_k S_k``."""
        scaled = (self.scaled @ unknowns[2:]).reshape(self.scores.shape)
        return self.biases + unknowns[0] * self.scores + _CLOSING_UNIT * unknowns[1] * self.closing + scaled


def scaled_sums(
    numbers: Units,
    rows: Int[np.ndarray, " units"],
    worth: Float[np.ndarray, "units columns"],
    place: Int[np.ndarray, " words"],
    texts: int,
    candidates: int,
) -> sparse.csr_matrix:
    """Return what the words behind, and before, each candidate contribute to each text: see :class:`Judged`.

    Parameters
    ----------
    numbers, rows
        The words by their numbers, -1 ends a sentence and each text; the text of each word.
    worth
        Contribution of each word to the scores of its text.
    place
        The column of each word, by number; -1 for words that are no candidates.
    texts, candidates
        Numbers of texts and of candidates.
    """
    columns, units = worth.shape[1], np.arange(len(numbers), dtype=np.int32)
    sentence, column = np.cumsum(numbers < 0, dtype=np.int32), np.append(place, -1)[numbers]
    valued, able = np.any(worth != 0.0, axis=1), column >= 0
    sides = []
    for back in (False, True):
        keys, words = [], []
        for distance in range(1, REACH + 1):
            later, earlier = slice(distance, None), slice(None, -distance)
            key, word = (later, earlier) if back else (earlier, later)
            inside = (sentence[key] == sentence[word]) & able[key] & valued[word]
            keys.append(units[key][inside])
            words.append(units[word][inside])
        of, at = np.concatenate(words), column[np.concatenate(keys)]
        parts = [
            sparse.csr_matrix((worth[of, c], (rows[of] * columns + c, at)), shape=(texts * columns, candidates))
            for c in range(columns)
        ]
        sides.append(sum(parts[1:], start=parts[0]))
    return sparse.hstack(sides, format="csr")


def fit_neighbours(halves: Sequence[Judged], words: Sequence[str]) -> Neighbours:
    """Return the numbers of the candidates, none if those of either half do not help the texts of the other half.

    Minimises ``sum_t c_t loss_t + 15/2 sum_k w_k^2`` over w (:meth:`Judged.terms`); the numbers are ``w_k / w_0``.
    They are kept if losses of the second half fall by more than their standard error with the numbers of the first.

    Parameters
    ----------
    halves
        Either half of the texts under values that were learned from the other.
    words
        The candidates.
    """
    start = np.append(1.0, np.zeros(1 + 2 * len(words)))
    first = _minimum(halves[:1], start)
    gains = np.concatenate([half.losses(start) - half.losses(first) for half in halves[1:]])
    if not gains.mean() > gains.std() / np.sqrt(len(gains)):
        return Neighbours()
    found = _minimum(halves, first)
    if found[0] <= 0.0:
        return Neighbours()
    numbers = found / found[0]
    return Neighbours(
        words=tuple(words),
        behind=numbers[2 : 2 + len(words)],
        before=numbers[2 + len(words) :],
        closing=float(np.clip(_CLOSING_UNIT * numbers[1], 0.0, 0.5)),
    )


def _minimum(halves: Sequence[Judged], start: Float[np.ndarray, " unknowns"]) -> Float[np.ndarray, " unknowns"]:
    """Return the unknowns of largest posterior."""
    transposes = [half.scaled.T.tocsr() for half in halves]

    def objective(unknowns: Float[np.ndarray, " unknowns"]) -> tuple[float, Float[np.ndarray, " unknowns"]]:
        slope = _PRECISION * unknowns
        slope[0] = 0.0
        value = 0.5 * float(slope @ unknowns)
        for half, transpose in zip(halves, transposes, strict=True):
            losses, slopes = losses_and_slopes(half.terms(unknowns), half.targets)
            slopes *= half.importance[:, None]
            value += float(half.importance @ losses)
            slope[0] += np.vdot(slopes, half.scores)
            slope[1] += _CLOSING_UNIT * np.vdot(slopes, half.closing)
            slope[2:] += transpose @ slopes.ravel()
        return value, slope

    found: Float[np.ndarray, " unknowns"] = minimize(
        objective, start, jac=True, method="L-BFGS-B",
        options={"maxiter": _ITERATIONS, "gtol": _GRADIENT, "ftol": 0.0, "maxcor": 10},
    ).x  # fmt: skip
    return found
