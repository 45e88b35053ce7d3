"""What another model says of texts, as something to learn from, and how close the learner comes to it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokendyn.data.collections import split_texts
from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.errors import BadInputError
from tokendyn.sentiment.checks import check_texts

if TYPE_CHECKING:
    from tokendyn.sentiment.classifier import LeaderClassifier

#: Texts that a model judges in one call: a large network has room for so many, and scikit-learn loses no time.
_AT_ONCE = 1024
#: How far the probabilities of a text may be from a sum of 1: those of a softmax in half precision are.
_ROUNDING = 5e-3
#: Bins of the probability in the calibration.
_BINS = 20

Probabilities = Float[np.ndarray, "texts classes"]


@dataclass(frozen=True)
class Fidelity:
    """How close a classifier comes to a model that it was distilled from, on the same texts.

    Attributes
    ----------
    texts
        How many texts.
    same_verdict
        Share of them on which both have the same verdict.
    divergence
        Mean Kullback-Leibler divergence of the classifier's probabilities from those of the model,
        ``sum_c q_c log(q_c / p_c)`` with q of the model, in nats.
    calibration_error
        Mean over 20 bins, weighted by their texts, of ``|mean p - mean q|`` for the probability p of the classifier's
        verdict, and q that the model gives to the same class.
    """

    texts: int
    same_verdict: float
    divergence: float
    calibration_error: float

    def to_dict(self) -> dict[str, Any]:
        """Return the measures as JSON values."""
        return asdict(self)

    def describe(self) -> str:
        """Return the measures in one sentence."""
        return (
            f"{self.same_verdict:.1%} of {self.texts} texts held out have the verdict of the model that was distilled; "
            f"divergence {self.divergence:.3g} nats, calibration error {self.calibration_error:.3g}"
        )


@dataclass(frozen=True)
class Source:
    """A model to learn from: its classes, sorted, and its probabilities of texts, in that order.

    Attributes
    ----------
    classes
        The labels.
    judge
        Takes texts, returns (texts, classes).
    name
        Of what kind it is, for the record.
    """

    classes: np.ndarray
    judge: Callable[[Sequence[str]], Probabilities]
    name: str


def source_of(predict_proba: Any, texts: Sequence[str], classes: Iterable[Any] | None) -> Source:
    """Return what :meth:`LeaderClassifier.distil` was given as a model to learn from.

    Parameters
    ----------
    predict_proba
        A callable, an object with ``predict_proba``, or the probabilities of the texts.
    texts
        The texts; a callable judges the first of them, to see how many classes there are.
    classes
        Labels in the order of the probabilities; None for those of the model, else 0, 1, ...

    Raises
    ------
    BadInputError
        If probabilities or labels cannot be used.
    """
    judge = getattr(predict_proba, "predict_proba", predict_proba)
    if classes is None:
        classes = getattr(getattr(judge, "__self__", None), "classes_", None)
    if callable(judge):
        name = type(getattr(judge, "__self__", judge)).__name__
        width = _checked(judge(list(texts[:1])), 1).shape[1]
        labels, order = _labels(classes, width)

        def ask(asked: Sequence[str]) -> Probabilities:
            parts = [list(asked[first : first + _AT_ONCE]) for first in range(0, len(asked), _AT_ONCE)]
            rows = [_checked(judge(part), len(part)) for part in parts]
            return np.concatenate([*rows, np.empty((0, width))])[:, order]

        return Source(classes=labels, judge=ask, name=name)
    given = _checked(predict_proba, len(texts))
    labels, order = _labels(classes, given.shape[1])
    known = dict(zip(texts, given[:, order], strict=True))
    return Source(classes=labels, judge=lambda asked: np.array([known[text] for text in asked]), name="probabilities")


def split_for(texts: Iterable[Any] | LabelledTexts, test_fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Return the texts to learn from and those to measure on; texts that are the same stay on one side.

    Raises
    ------
    BadInputError
        If the texts cannot be used, or the share is out of range.
    """
    listed = check_texts(texts)
    if isinstance(test_fraction, bool) or not isinstance(test_fraction, int | float) or not 0 <= test_fraction < 1:
        raise BadInputError(f"`test_fraction` must be in [0, 1), got {test_fraction!r}")
    parts = split_texts(LabelledTexts(texts=tuple(listed), labels=None), float(test_fraction), seed)
    return list(parts.training.texts), list(parts.test.texts)


def fidelity(model: "LeaderClassifier", predict_proba: Any, texts: Iterable[Any]) -> Fidelity:
    """Measure how close a fitted classifier comes to another model on some texts.

    Parameters
    ----------
    model
        The classifier, such as one of :meth:`LeaderClassifier.distil`.
    predict_proba
        The other model, as there: a callable, an object with ``predict_proba``, or the probabilities of the texts, in
        the order of the classes of the classifier.
    texts
        Texts that the classifier has not learned from.

    Raises
    ------
    BadInputError
        If texts or probabilities cannot be used.
    """
    listed = check_texts(texts)
    target = source_of(predict_proba, listed, model.classes_.tolist()).judge(listed)
    return compared(model.predict_proba(listed), target)


def compared(own: Probabilities, target: Probabilities) -> Fidelity:
    """Return how close probabilities come to others."""
    verdict = own.argmax(axis=1)
    rows = np.arange(len(own))
    # A target of 0 adds nothing, whatever stands beside it.
    ratio = np.log(np.maximum(target, np.finfo(np.float64).tiny)) - np.log(np.maximum(own, np.finfo(np.float64).tiny))
    sure, theirs = own[rows, verdict], target[rows, verdict]
    bins = np.minimum((sure * _BINS).astype(np.int64), _BINS - 1)
    gaps = np.abs(np.bincount(bins, weights=sure - theirs, minlength=_BINS))
    return Fidelity(
        texts=len(own),
        same_verdict=float(np.mean(verdict == target.argmax(axis=1))),
        divergence=float(np.mean((target * ratio).sum(axis=1))),
        calibration_error=float(gaps.sum() / len(own)),
    )


def _checked(given: Any, count: int) -> Probabilities:
    """Return probabilities as an array of one row a text and one column a class, with rows that sum to 1."""
    try:
        table = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInputError(f"the probabilities are no numbers: {type(given).__name__} ({error})") from None
    if table.ndim not in (1, 2) or len(table) != count or not table.size:
        raise BadInputError(
            f"the probabilities of {count} texts have shape {table.shape}; expected ({count},), that of the second of "
            f"two classes, or ({count}, classes)"
        )
    single = table.ndim == 1 or table.shape[1] == 1
    wrong = ~(np.isfinite(table) & (table >= -_ROUNDING) & (table <= 1 + _ROUNDING)).reshape(count, -1).all(axis=1)
    if not single:
        wrong |= ~(np.abs(table.sum(axis=1) - 1.0) <= _ROUNDING)
    if wrong.any():
        rows = np.flatnonzero(wrong)
        sum_of = "numbers from 0 to 1" if single else "numbers from 0 to 1 with sum 1 (a softmax makes them of scores)"
        problems = [f"text {row}: {np.round(table[row], 4).tolist()}; expected {sum_of}" for row in rows.tolist()]
        raise BadInputError.first_of("the probabilities", problems, "texts")
    table = np.clip(table, 0.0, 1.0)
    if single:
        second = table.reshape(-1)
        return np.stack([1.0 - second, second], axis=1)
    shares: Probabilities = table / table.sum(axis=1, keepdims=True)
    return shares


def _labels(classes: Iterable[Any] | None, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels, sorted, and the columns in that order."""
    listed = list(range(width)) if classes is None else [getattr(c, "item", lambda c=c: c)() for c in classes]
    kinds = {isinstance(label, str) for label in listed}
    if len(listed) != width or len(kinds) > 1 or not all(isinstance(label, str | int | float) for label in listed):
        raise BadInputError(
            f"`classes` is {listed}, and there are probabilities of {width} classes; give one label for each, all "
            "strings or all numbers"
        )
    order = sorted(range(width), key=lambda number: listed[number])
    labels = [listed[number] for number in order]
    if any(low == high for low, high in pairwise(labels)):
        raise BadInputError(f"`classes` holds a label twice: {labels}")
    return np.array(labels), np.array(order)
