"""From values to verdict and back: one logit for two classes, one score for each class otherwise.

Both store their unknowns in one vector: the values of all words, then the bias or biases.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from tokendyn.sentiment import kernels
from tokendyn.sentiment.vocabulary import Ragged

Vector = Float[np.ndarray, " _"]
Values = Float[np.ndarray, "words *classes"]


@runtime_checkable
class Head(Protocol):
    """The interface of a head in training; ``importance`` is the weight of each text, None for 1."""

    importance: Vector | None

    def start(self, words: int) -> Vector:
        """Return the unknowns before training."""

    def values(self, unknowns: Vector) -> Values:
        """Return the values of the words."""

    def decoder(self, unknowns: Vector) -> tuple[np.ndarray, float | Vector]:
        """Return the decoder and the bias or biases of the trained classifier."""

    def centred(self, unknowns: Vector) -> Vector:
        """Return the equivalent unknowns whose contributions are unique."""

    def gradient(self, unknowns: Vector, texts: Ragged, shares: Vector, rows: Int[np.ndarray, " rows"]) -> Vector:
        """Return the gradient of the mean loss over the texts ``rows``, with fixed shares."""

    def judge(
        self, unknowns: Vector, texts: Ragged, shares: Vector, rows: Int[np.ndarray, " rows"]
    ) -> tuple[np.ndarray, Vector]:
        """Return which verdicts on the texts ``rows`` are right, and their losses."""


class Logistic:
    """Two classes: ``logit = gain sum_j w_j s_j + b``, logistic loss.

    Parameters
    ----------
    which
        Class of each text, 0 or 1.
    gain
        The decoder.
    importance
        Weight of each text in the gradient; None for 1.
    """

    def __init__(self, which: Int[np.ndarray, " texts"], gain: float, importance: Vector | None) -> None:
        self.positive, self.gain, self.importance = which == 1, gain, importance
        self.logits, self.slope = np.empty(len(which)), np.empty(len(which))

    def start(self, words: int) -> Vector:
        """Return the unknowns before training: values 0 and, with weights of texts, the bias of an empty text."""
        unknowns = np.zeros(words + 1)
        if self.importance is not None:
            against, towards = np.bincount(self.positive, weights=self.importance, minlength=2)
            unknowns[-1] = np.log(towards / against)
        return unknowns

    def values(self, unknowns: Vector) -> Values:
        """Return the values of the words."""
        return unknowns[:-1]

    def decoder(self, unknowns: Vector) -> tuple[np.ndarray, float | Vector]:
        """Return ``(gain, 0)`` and the bias."""
        return np.array([self.gain, 0.0]), float(unknowns[-1])

    def centred(self, unknowns: Vector) -> Vector:
        """Return the unknowns: a logit is unique."""
        return unknowns

    def gradient(self, unknowns: Vector, texts: Ragged, shares: Vector, rows: Int[np.ndarray, " rows"]) -> Vector:
        """Return the gradient: ``gain w_j (p - y)`` for the value of word j, ``p - y`` for the bias."""
        values, bias = unknowns[:-1], unknowns[-1]
        kernels.logits(texts.indptr, texts.words, shares, values, self.gain, bias, rows, self.logits)
        # Buffers are as long as all texts, so that the compiled passes address them by row and nothing is allocated.
        self.slope[rows] = (_sigmoid(self.logits[rows]) - self.positive[rows]) / len(rows)
        if self.importance is not None:
            self.slope[rows] *= self.importance[rows]
        gradient = np.zeros_like(unknowns)
        gradient[-1] = kernels.add_gradient(texts.indptr, texts.words, shares, self.gain, self.slope, rows, gradient)
        return gradient

    def judge(
        self, unknowns: Vector, texts: Ragged, shares: Vector, rows: Int[np.ndarray, " rows"]
    ) -> tuple[np.ndarray, Vector]:
        """Return which verdicts are right, and their losses."""
        kernels.logits(texts.indptr, texts.words, shares, unknowns[:-1], self.gain, unknowns[-1], rows, self.logits)
        logits, truth = self.logits[rows], self.positive[rows]
        return (logits > 0) == truth, np.logaddexp(0.0, np.where(truth, -logits, logits))


class Softmax:
    """Several classes: ``score_c = gain sum_j w_j s_jc + b_c``, the loss ``-log softmax`` (our own).

    The values of a word are a vector with one coordinate for each class, its poles. Only differences of scores matter;
    the values of each word, and the biases, sum to 0 over the classes, which makes contributions unique.

    Parameters
    ----------
    which
        Class of each text, from 0 on.
    classes
        Number of classes.
    gain, importance
        As in :class:`Logistic`.
    """

    def __init__(self, which: Int[np.ndarray, " texts"], classes: int, gain: float, importance: Vector | None) -> None:
        self.which, self.classes, self.gain, self.importance = which, classes, gain, importance
        self.scores, self.slope = np.empty((len(which), classes)), np.empty((len(which), classes))

    def start(self, words: int) -> Vector:
        """Return the unknowns before training: values 0 and, with weights of texts, the biases of an empty text."""
        unknowns = np.zeros((words + 1, self.classes))
        if self.importance is not None:
            unknowns[-1] = np.log(np.bincount(self.which, weights=self.importance, minlength=self.classes))
        return self.centred(unknowns.ravel())

    def values(self, unknowns: Vector) -> Values:
        """Return the values of the words, one column for each class."""
        return unknowns.reshape(-1, self.classes)[:-1]

    def decoder(self, unknowns: Vector) -> tuple[np.ndarray, float | Vector]:
        """Return ``gain`` times the identity beside a column of 0, and the biases."""
        return self.gain * np.eye(self.classes, self.classes + 1), unknowns[-self.classes :].copy()

    def centred(self, unknowns: Vector) -> Vector:
        """Return the unknowns with mean 0 over the classes."""
        # A constant added to all scores changes no probability; Adam would let it drift.
        table = unknowns.reshape(-1, self.classes)
        return (table - table.mean(axis=1, keepdims=True)).ravel()

    def gradient(self, unknowns: Vector, texts: Ragged, shares: Vector, rows: Int[np.ndarray, " rows"]) -> Vector:
        """Return the gradient: ``gain w_j (p_c - y_c)`` for value c of word j, ``p_c - y_c`` for bias c."""
        self._score(unknowns, texts, shares, rows)
        slope = np.exp(log_softmax(self.scores[rows]))
        slope[np.arange(len(rows)), self.which[rows]] -= 1.0
        slope /= len(rows)
        if self.importance is not None:
            slope *= self.importance[rows][:, None]
        self.slope[rows] = slope
        gradient = np.zeros((len(unknowns) // self.classes, self.classes))
        kernels.add_gradients(texts.indptr, texts.words, shares, self.gain, self.slope, rows, gradient)
        gradient[-1] = slope.sum(axis=0)
        return gradient.ravel()

    def judge(
        self, unknowns: Vector, texts: Ragged, shares: Vector, rows: Int[np.ndarray, " rows"]
    ) -> tuple[np.ndarray, Vector]:
        """Return which verdicts are right, and their losses."""
        self._score(unknowns, texts, shares, rows)
        scores, truth = self.scores[rows], self.which[rows]
        return scores.argmax(axis=1) == truth, -log_softmax(scores)[np.arange(len(rows)), truth]

    def _score(self, unknowns: Vector, texts: Ragged, shares: Vector, rows: Int[np.ndarray, " rows"]) -> None:
        table = unknowns.reshape(-1, self.classes)
        kernels.scores(texts.indptr, texts.words, shares, table[:-1], self.gain, table[-1], rows, self.scores)


def make_head(which: Int[np.ndarray, " texts"], classes: int, gain: float, importance: Vector | None) -> Head:
    """Return the head for a number of classes."""
    return Logistic(which, gain, importance) if classes == 2 else Softmax(which, classes, gain, importance)


def _sigmoid(logit: Float[np.ndarray, " texts"]) -> Float[np.ndarray, " texts"]:
    """Return ``1/(1 + e^-x)`` without overflow."""
    return np.exp(-np.logaddexp(0.0, -logit))


def log_softmax(scores: Float[np.ndarray, "texts classes"]) -> Float[np.ndarray, "texts classes"]:
    """Return ``x_c - log sum_k e^{x_k}`` without overflow."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
