"""Another model's probabilities of texts as targets to learn from, and the fidelity of the copy."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from tokendyn.data.collections import split_texts
from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.errors import BadInputError
from tokendyn.sentiment.checks import check_texts

#: Texts in one call of the model: enough for a large network to fit in memory, and no slower with scikit-learn.
_AT_ONCE = 1024
#: How far the probabilities of a text may be from sum 1: the error of a softmax in half precision is smaller.
_ROUNDING = 5e-3
#: Bins of the probability in the calibration.
_BINS = 20

Probabilities = Float[np.ndarray, "texts classes"]


@runtime_checkable
class Judge(Protocol):
    """The interface of a fitted classifier that :func:`fidelity` uses; its module imports this one."""

    @property
    def classes_(self) -> np.ndarray:
        """The labels, sorted."""
        ...

    def predict_proba(self, X: list[str]) -> np.ndarray:
        """Return the probabilities of texts, ``(texts, classes)``."""
        ...


@dataclass(frozen=True)
class Fidelity:
    """Agreement of a classifier with the model that it was distilled from, on the same texts.

    Attributes
    ----------
    texts
        Number of texts.
    same_verdict
        Share of the texts on which both have the same verdict.
    divergence
        Mean Kullback-Leibler divergence of the classifier's probabilities from those of the model, ``sum_c q_c log(q_c
        / p_c)`` with the model's probabilities q, in nats.
    calibration_error
        Mean over 20 bins, weighted by their numbers of texts, of ``|mean p - mean q|``, where p is the classifier's
        probability of its verdict, and q is the model's probability of the same class.
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
            f"{self.same_verdict:.1%} of {self.texts} texts held out have the verdict of the distilled model; "
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
        Callable from texts to probabilities, (texts, classes).
    name
        Kind of the model, for the record.
    """

    classes: np.ndarray
    judge: Callable[[Sequence[str]], Probabilities]
    name: str


def source_of(predict_proba: Any, texts: Sequence[str], classes: Iterable[Any] | None) -> Source:
    """Convert the argument of :meth:`LeaderClassifier.distil` to a model to learn from.

    Parameters
    ----------
    predict_proba
        A callable, an object with ``predict_proba``, or the probabilities of the texts.
    texts
        The texts; a callable is tried on the first of them, to find the number of classes.
    classes
        Labels in the order of the probabilities; None for those of the model, else 0, 1, ...

    Raises
    ------
    BadInputError
        If probabilities or labels cannot be used.
    """
    judge = getattr(predict_proba, "predict_proba", predict_proba)
    if classes is None:
        classes = _classes_of(predict_proba)
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
    # A repeated text has the mean of its rows, as if each of them were a label.
    number_of = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    rows = np.array([number_of[text] for text in texts])
    means = np.zeros((len(number_of), len(labels)))
    np.add.at(means, rows, given[:, order])
    means /= np.bincount(rows)[:, None]
    return Source(classes=labels, judge=lambda asked: means[[number_of[text] for text in asked]], name="probabilities")


def _classes_of(predict_proba: Any) -> Iterable[Any] | None:
    """Return the labels of a model that has them, in the order of its probabilities; None otherwise."""
    judge = getattr(predict_proba, "predict_proba", predict_proba)
    classes: Iterable[Any] | None = getattr(getattr(judge, "__self__", None), "classes_", None)
    return classes


def split_for(texts: Iterable[Any] | LabelledTexts, test_fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Return the texts to learn from and those to measure on; equal texts stay on one side.

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


def fidelity(model: Judge, predict_proba: Any, texts: Iterable[Any]) -> Fidelity:
    """Measure the agreement of a fitted classifier with another model on some texts.

    Parameters
    ----------
    model
        The classifier, such as the result of :meth:`LeaderClassifier.distil`.
    predict_proba
        The other model: a callable, an object with ``predict_proba``, or the probabilities of the texts. They are in
        the order of its ``classes_`` if it has them, else in that of the classes of the classifier.
    texts
        Texts on which the classifier was not trained.

    Raises
    ------
    BadInputError
        If texts or probabilities cannot be used, or the other model has other classes.
    """
    listed, own = check_texts(texts), model.classes_.tolist()
    source = source_of(predict_proba, listed, None if _classes_of(predict_proba) is not None else own)
    if source.classes.tolist() != own:
        raise BadInputError(
            f"the classes of the classifier are {own}, those of the other model {source.classes.tolist()}"
        )
    return compared(model.predict_proba(listed), source.judge(listed))


def compared(own: Probabilities, target: Probabilities) -> Fidelity:
    """Return the agreement of probabilities with those of the model."""
    verdict = own.argmax(axis=1)
    rows = np.arange(len(own))
    # A target of 0 adds nothing, whatever the other factor.
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
    """Return probabilities as an array (texts, classes), with rows that sum to 1."""
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
