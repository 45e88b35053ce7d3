"""Checks of what users give to the classifier: every problem at once, with its row."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Bool

from tokendyn.errors import BadInputError

_LISTED = 10


def check_texts(texts: Iterable[Any], *, empty_allowed: bool = False) -> list[str]:
    """Return the texts as a list of strings.

    Raises
    ------
    BadInputError
        If ``texts`` is one string, or not a sequence, or empty, or holds something else than strings.
    """
    if isinstance(texts, str | bytes):
        raise BadInputError("texts is one string; give a list of strings, such as [text]")
    if isinstance(texts, np.ndarray) and texts.ndim != 1:
        raise BadInputError(f"texts is an array of shape {texts.shape}; give one dimension of strings")
    if not isinstance(texts, Iterable):
        raise BadInputError(f"texts is {type(texts).__name__}; give a list of strings")
    listed = [str(text) if isinstance(text, np.str_) else text for text in texts]
    wrong = [row for row, text in enumerate(listed) if not isinstance(text, str)]
    if wrong:
        shown = [f"texts[{row}] is {_kind(listed[row])}, expected a string" for row in wrong[:_LISTED]]
        raise BadInputError.all_of("texts", _bounded(shown, len(wrong)))
    if not listed and not empty_allowed:
        raise BadInputError("texts is empty; give at least two texts of each class")
    return listed


def check_labels(labels: Iterable[Any], texts: int) -> tuple[np.ndarray, Bool[np.ndarray, " texts"]]:
    """Return both classes, sorted, and which texts are of the second.

    Raises
    ------
    BadInputError
        If the labels are not as many as the texts, some are missing, kinds are mixed, the classes are not
        two, or one has fewer than two texts.
    """
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise BadInputError("labels must be a sequence of one label a text")
    listed = [label.item() if isinstance(label, np.generic) else label for label in labels]
    if len(listed) != texts:
        raise BadInputError(f"there are {texts} texts and {len(listed)} labels; give one label a text")
    wrong = [row for row, label in enumerate(listed) if not isinstance(label, str | int) and not _number(label)]
    if wrong:
        shown = [f"labels[{row}] is {_kind(listed[row])}, expected a string or number" for row in wrong[:_LISTED]]
        raise BadInputError.all_of("labels", _bounded(shown, len(wrong)))
    kinds = {"strings" if isinstance(label, str) else "numbers" for label in listed}
    if len(kinds) > 1:
        raise BadInputError("labels mixes strings and numbers; use one kind")
    met = Counter(listed)
    counts = {label: met[label] for label in sorted(met)[: _LISTED + 1]}
    if len(counts) != 2:
        found = ", ".join(f"{label!r} ({count})" for label, count in list(counts.items())[:_LISTED])
        raise BadInputError(
            f"labels holds {'one class only' if len(counts) == 1 else 'more than two classes'}: {found}"
            f"{', ...' if len(counts) > _LISTED else ''}; this classifier tells two classes apart"
        )
    few = [f"class {label!r} has {count} text, expected at least 2" for label, count in counts.items() if count < 2]
    if few:
        raise BadInputError.all_of("labels", few)
    _, second = counts
    return np.array(list(counts)), np.array([label == second for label in listed])


def check_parameters(given: dict[str, Any]) -> None:
    """Raise one BadInputError for all parameters that are of the wrong kind or out of range."""
    problems = [
        f"{name}={given[name]!r}; expected a whole number of at least {least}"
        for name, least in _WHOLE.items()
        if not (_whole(given[name]) and given[name] >= least)
    ]
    if given["batch_size"] is not None and not (_whole(given["batch_size"]) and given["batch_size"] >= 1):
        problems.append(f"batch_size={given['batch_size']!r}; expected None or a whole number of at least 1")
    problems += [
        f"{name}={given[name]!r}; expected a positive number"
        for name in ("alpha", "leaders", "radius", "gain", "start_learning_rate", "learning_rate")
        if not (_number(given[name]) and given[name] > 0)
    ]
    if not (_number(given["min_score"]) and given["min_score"] >= 0):
        problems.append(f"min_score={given['min_score']!r}; expected a number of at least 0")
    if not (_number(given["word_dropout"]) and 0 <= given["word_dropout"] < 1):
        problems.append(f"word_dropout={given['word_dropout']!r}; expected a number from 0, below 1")
    if not (_number(given["validation_fraction"]) and 0 < given["validation_fraction"] < 1):
        problems.append(f"validation_fraction={given['validation_fraction']!r}; expected a number between 0 and 1")
    if problems:
        raise BadInputError.all_of("LeaderClassifier", problems)


_WHOLE = {
    "layers": 0,
    "active_words": 1,
    "start_epochs": 1,
    "epochs": 0,
    "random_state": 0,
}


def _whole(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral)


def _number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _bounded(shown: Sequence[str], total: int) -> list[str]:
    more = [f"and {total - len(shown)} more"] if total > len(shown) else []
    return [*shown, *more]


def _kind(value: Any) -> str:
    if value is None:
        return "missing (None)"
    if isinstance(value, float) and math.isnan(value):
        return "NaN; remove or fill the row"
    return f"{type(value).__name__} {str(value)[:40]!r}"
