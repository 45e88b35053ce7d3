"""Checks of what users give to the classifier: every problem at once, with its row."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.errors import BadInputError, did_you_mean, listing
from tokendyn.sentiment.tokens import is_tokeniser
from tokendyn.words import counted

MOST_CLASSES = 15


def check_texts(texts: Any, *, empty_allowed: bool = False) -> list[str]:
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
    if isinstance(texts, LabelledTexts):
        texts = texts.texts
    if hasattr(texts, "columns"):
        raise BadInputError("texts is a table; give one column of strings, such as table['text']")
    if not isinstance(texts, Iterable) or isinstance(texts, Mapping | Set):
        raise BadInputError(f"texts is {type(texts).__name__}; give a list of strings")
    listed = [str(text) if isinstance(text, np.str_) else text for text in texts]
    wrong = [row for row, text in enumerate(listed) if not isinstance(text, str)]
    if wrong:
        shown = [f"texts[{row}] is {_kind(listed[row])}, expected a string" for row in wrong]
        raise BadInputError.first_of("texts", shown, "texts")
    if not listed and not empty_allowed:
        raise BadInputError("texts is empty; give at least two texts of each class")
    return listed


def labels_of(texts: Any) -> Any:
    """Return the labels that were read with texts.

    Raises
    ------
    BadInputError
        If there are none.
    """
    labels = None if hasattr(texts, "columns") else getattr(texts, "labels", None)
    if labels is None and hasattr(texts, "columns"):
        raise BadInputError("texts is a table; give two columns: fit(table['text'], table['label'])")
    if labels is None:
        raise BadInputError("labels is missing; give one label a text, or texts that were read with their labels")
    return labels


def check_labels(labels: Iterable[Any], texts: int) -> tuple[np.ndarray, Int[np.ndarray, " texts"]]:
    """Return the classes, sorted, and the number of each text's class.

    Raises
    ------
    BadInputError
        If the labels are not as many as the texts, some are missing, kinds are mixed, there is one class
        or more than 15, or one has fewer than two texts.
    """
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise BadInputError("labels must be a sequence of one label a text")
    listed = [label.item() if isinstance(label, np.generic) else label for label in labels]
    if len(listed) != texts:
        raise BadInputError(f"got {counted(texts, 'text')} and {counted(len(listed), 'label')}; give one label a text")
    wrong = [row for row, label in enumerate(listed) if not isinstance(label, str | int) and not _number(label)]
    if wrong:
        shown = [f"labels[{row}] is {_kind(listed[row])}, expected a string or number" for row in wrong]
        raise BadInputError.first_of("labels", shown, "labels")
    kinds = {"strings" if isinstance(label, str) else "numbers" for label in listed}
    if len(kinds) > 1:
        odd = next(row for row, label in enumerate(listed) if isinstance(label, str) != isinstance(listed[0], str))
        raise BadInputError(
            f"labels mixes strings and numbers: row 0 has {listed[0]!r}, row {odd} has {listed[odd]!r}; use one kind"
        )
    numbers = Counter(listed)
    counts = {label: numbers[label] for label in sorted(numbers)}
    if not 2 <= len(counts) <= MOST_CLASSES:
        listed_classes = listing([f"{label!r} ({count})" for label, count in counts.items()])
        raise BadInputError(
            f"labels holds {'one class only' if len(counts) == 1 else f'{len(counts)} classes'}: {listed_classes}"
            f"; this classifier tells 2 to {MOST_CLASSES} classes apart"
        )
    kept = [str(label) for label, count in counts.items() if count > 1]
    few = [
        f"class {label!r} has {count} text, labels[{listed.index(label)}], expected at least 2"
        + did_you_mean(str(label), kept)
        for label, count in counts.items()
        if count < 2
    ]
    if few:
        raise BadInputError.all_of("labels", few)
    number_of = {label: number for number, label in enumerate(counts)}
    return np.array(list(counts)), np.array([number_of[label] for label in listed], dtype=np.int64)


def text_weights(
    class_weight: dict[Any, float] | str | None, classes: np.ndarray, which: Int[np.ndarray, " texts"]
) -> Float[np.ndarray, " texts"] | None:
    """Return the weight of each text; None when all weigh the same.

    "balanced" weighs a class by ``texts / (classes * texts of the class)``; a dictionary names weights by
    label, 1 for labels that it leaves out.

    Raises
    ------
    BadInputError
        If the dictionary names a label that does not occur, or a weight is not a positive number.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        return (len(which) / (len(classes) * np.bincount(which)))[which]
    known = classes.tolist()
    problems = [
        f"label {label!r} does not occur; the labels are {known}" for label in class_weight if label not in known
    ]
    problems += [
        f"the weight of {label!r} is {weight!r}, expected a positive number"
        for label, weight in class_weight.items()
        if not (_number(weight) and weight > 0)
    ]
    if problems:
        raise BadInputError.all_of("class_weight", problems)
    return np.array([float(class_weight.get(label, 1.0)) for label in known])[which]


def check_parameters(values: dict[str, Any]) -> None:
    """Raise one BadInputError for all parameters of LeaderClassifier of the wrong kind or out of range."""
    problems = whole_problems(values, _WHOLE)
    problems += whole_problems(values, {"batch_size": 1, "patience": 1}, none_allowed=True)
    positive = ("alpha", "leaders", "radius", "gain", "start_learning_rate", "learning_rate")
    problems += positive_problems(values, positive) + fraction_problems(values, "validation_fraction")
    if not (_number(values["min_score"]) and values["min_score"] >= 0):
        problems.append(f"min_score={values['min_score']!r}; expected a number of at least 0")
    if not (_number(values["word_dropout"]) and 0 <= values["word_dropout"] < 1):
        problems.append(f"word_dropout={values['word_dropout']!r}; expected a number from 0, below 1")
    weight = values["class_weight"]
    if not (weight is None or isinstance(weight, dict) or (isinstance(weight, str) and weight == "balanced")):
        problems.append(f"class_weight={weight!r}; expected None, 'balanced' or a dictionary from label to weight")
    if not isinstance(values["negation"], bool | np.bool_):
        problems.append(f"negation={values['negation']!r}; expected True or False")
    if not is_tokeniser(values["tokeniser"]):
        problems.append(f"tokeniser={values['tokeniser']!r}; expected None, a callable or an object with encode(text)")
    if problems:
        raise BadInputError.all_of("LeaderClassifier", problems)


def whole_problems(values: Mapping[str, Any], least: Mapping[str, int], *, none_allowed: bool = False) -> list[str]:
    """Return what is wrong with parameters that must be whole numbers of at least ``least``."""
    kind = "None or a whole number" if none_allowed else "a whole number"
    return [
        f"{name}={values[name]!r}; expected {kind} of at least {lowest}"
        for name, lowest in least.items()
        if not (none_allowed and values[name] is None) and not (_whole(values[name]) and values[name] >= lowest)
    ]


def positive_problems(values: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return what is wrong with parameters that must be positive numbers."""
    return [
        f"{name}={values[name]!r}; expected a positive number"
        for name in names
        if not (_number(values[name]) and values[name] > 0)
    ]


def fraction_problems(values: Mapping[str, Any], name: str) -> list[str]:
    """Return what is wrong with a parameter that must lie between 0 and 1, both excluded."""
    value = values[name]
    return [] if _number(value) and 0 < value < 1 else [f"{name}={value!r}; expected a number between 0 and 1"]


_WHOLE = {
    "layers": 0,
    "active_words": 1,
    "ngrams": 1,
    "start_epochs": 1,
    "epochs": 0,
    "random_state": 0,
}


def _whole(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral)


def _number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _kind(value: Any) -> str:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return f"missing ({value}); remove or fill the row"
    if isinstance(value, float) and math.isnan(value):
        return "NaN; remove or fill the row"
    return f"{type(value).__name__} {str(value)[:40]!r}"
