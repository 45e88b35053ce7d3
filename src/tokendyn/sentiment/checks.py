"""Checks of the arguments of the classifier: every problem at once, with its row."""

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.exceptions import DataConversionWarning

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
        If ``texts`` is one string, or not a sequence, or empty, or holds anything but strings.
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
    """Return the labels that were read with the texts.

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


def check_labels(
    labels: Iterable[Any], texts: int, *, at_most: int | None = MOST_CLASSES
) -> tuple[np.ndarray, Int[np.ndarray, " texts"]]:
    """Return the classes, sorted, and the class number of each text.

    Labels of shape (texts, 1) are taken as a column, with the warning of scikit-learn.

    Raises
    ------
    BadInputError
        If the numbers of labels and texts differ, labels are missing, kinds are mixed, there is one class or more than
        ``at_most`` (None for any number), or a class has fewer than two texts.
    """
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise BadInputError("labels must be a sequence of one label a text")
    shape: tuple[int, ...] = tuple(getattr(labels, "shape", ()))
    if len(shape) == 2 and shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected; its one column is taken",
            DataConversionWarning,
            stacklevel=3,
        )
        labels = np.asarray(labels).ravel()
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
    met = Counter(listed)
    counts = {label: met[label] for label in sorted(met)}
    if len(counts) < 2 or (at_most is not None and len(counts) > at_most):
        found = listing([f"{label!r} ({count})" for label, count in counts.items()])
        raise BadInputError(
            f"labels holds {'one class only' if len(counts) == 1 else f'{len(counts)} classes'}: {found}"
            + (
                "; give texts of two classes at least"
                if len(counts) == 1
                else f"; at transfer 1 there are 2 to {at_most}: use transfer=0.0, which takes any number"
            )
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
    class_weight: dict[Any, float] | str | None,
    classes: np.ndarray,
    which: Int[np.ndarray, " texts"],
    sample_weight: Iterable[Any] | None = None,
) -> Float[np.ndarray, " texts"] | None:
    """Return the weight of each text; None when all weights are equal.

    "balanced" weights a class by ``texts / (classes * texts of the class)``; a dictionary gives weights by label, and
    labels that it omits have weight 1. Weights of texts multiply those of classes.

    Raises
    ------
    BadInputError
        If the dictionary names a label that does not occur, a weight is not a positive number, or the weights of texts
        differ from the texts in number, are not finite, are negative, or are 0 for all texts of a class.
    """
    of_classes = _class_weights(class_weight, classes, which)
    if sample_weight is None:
        return of_classes
    own = _sample_weights(sample_weight, classes, which)
    return own if of_classes is None else own * of_classes


def _sample_weights(
    sample_weight: Iterable[Any], classes: np.ndarray, which: Int[np.ndarray, " texts"]
) -> Float[np.ndarray, " texts"]:
    """Return the checked weights of texts."""
    try:
        weights = np.asarray(
            sample_weight if hasattr(sample_weight, "__len__") else list(sample_weight), dtype=np.float64
        )
    except (TypeError, ValueError):
        raise BadInputError("sample_weight must be one number a text") from None
    if weights.ndim == 0:
        weights = np.full(len(which), float(weights))
    if weights.shape != which.shape:
        raise BadInputError(
            f"sample_weight has shape {weights.shape}, expected one number for each of {len(which)} texts"
        )
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0.0)))
    if len(wrong):
        raise BadInputError.first_of(
            "sample_weight",
            [f"sample_weight[{row}] is {weights[row]}, expected a finite number of at least 0" for row in wrong],
            "sample_weight",
        )
    without = [
        repr(label) for label, part in zip(classes.tolist(), np.bincount(which, weights), strict=True) if not part
    ]
    if without:
        raise BadInputError(
            f"sample_weight is 0 for all texts of {listing(without)}; every class needs a text that counts"
        )
    return weights


def _class_weights(
    class_weight: dict[Any, float] | str | None, classes: np.ndarray, which: Int[np.ndarray, " texts"]
) -> Float[np.ndarray, " texts"] | None:
    """Return the weights that the weights of classes give to texts; None when all are equal."""
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
    problems += _sum_problems(values)
    if not is_random_state(values["random_state"]):
        problems.append(
            f"random_state={values['random_state']!r}; expected None, a whole number of at least 0, a RandomState or a "
            "Generator"
        )
    if not (_number(values["min_score"]) and values["min_score"] >= 0):
        problems.append(f"min_score={values['min_score']!r}; expected a number of at least 0")
    if not (_number(values["word_dropout"]) and 0 <= values["word_dropout"] < 1):
        problems.append(f"word_dropout={values['word_dropout']!r}; expected a number from 0, below 1")
    weight = values["class_weight"]
    if not (weight is None or isinstance(weight, dict) or (isinstance(weight, str) and weight == "balanced")):
        problems.append(f"class_weight={weight!r}; expected None, 'balanced' or a dictionary from label to weight")
    if not isinstance(values["negation"], bool | np.bool_):
        problems.append(f"negation={values['negation']!r}; expected True or False")
    problems += [
        f"{name}={values[name]!r}; expected True or False"
        for name in ("modifiers", "spelling")
        if not isinstance(values[name], bool | np.bool_)
    ]
    if not is_tokeniser(values["tokeniser"]):
        problems.append(f"tokeniser={values['tokeniser']!r}; expected None, a callable or an object with encode(text)")
    if problems:
        raise BadInputError.all_of("LeaderClassifier", problems)


def _sum_problems(given: dict[str, Any]) -> list[str]:
    """Return the faults of the parameters of transfer, prior and groups."""
    problems = []
    if not (_number(given["transfer"]) and given["transfer"] in (0, 1)):
        problems.append(
            f"transfer={given['transfer']!r}; expected 0.0 (words keep their values) or 1.0 (leaders speak for their "
            "followers); there is no model between the two"
        )
    problems += [
        f"{name}={given[name]!r}; expected None, to choose by held-out losses, or a number of at least {least}"
        for name, least in (("phantom", 0), ("floor", 0), ("marginal", 0), ("prior_strength", 0))
        if given[name] is not None and not (_number(given[name]) and given[name] >= least)
    ]
    if given["floor"] == 0 or given["prior_strength"] == 0:
        problems.append("floor and prior_strength must be positive: without a prior the fit does not converge")
    doubt = given["doubt"]
    if doubt is not None and not (_number(doubt) and 0 <= doubt < 0.5):
        problems.append(
            f"doubt={doubt!r}; expected None, to learn it on held-out texts, or a number from 0 to below .5"
        )
    if given["groups"] not in ("topics", "sign"):
        problems.append(f"groups={given['groups']!r}; expected 'topics' or 'sign'")
    share = given["strong_share"]
    if share is not None and not (_number(share) and 0 < share <= 1):
        problems.append(f"strong_share={share!r}; expected None or a number above 0, at most 1")
    return problems


def whole_problems(values: Mapping[str, Any], least: Mapping[str, int], *, none_allowed: bool = False) -> list[str]:
    """Return the faults of parameters that must be whole numbers of at least ``least``."""
    kind = "None or a whole number" if none_allowed else "a whole number"
    return [
        f"{name}={values[name]!r}; expected {kind} of at least {lowest}"
        for name, lowest in least.items()
        if not (none_allowed and values[name] is None) and not (_whole(values[name]) and values[name] >= lowest)
    ]


def positive_problems(values: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the faults of parameters that must be positive numbers."""
    return [
        f"{name}={values[name]!r}; expected a positive number"
        for name in names
        if not (_number(values[name]) and values[name] > 0)
    ]


def fraction_problems(values: Mapping[str, Any], name: str) -> list[str]:
    """Return the faults of a parameter that must lie between 0 and 1, both excluded."""
    value = values[name]
    return [] if _number(value) and 0 < value < 1 else [f"{name}={value!r}; expected a number between 0 and 1"]


_WHOLE = {
    "layers": 0,
    "active_words": 1,
    "ngrams": 1,
    "start_epochs": 1,
    "epochs": 0,
    "dimensions": 0,
}


def is_random_state(value: Any) -> bool:
    """Return whether a value can seed random choices."""
    return (
        value is None
        or (_whole(value) and value >= 0)
        or isinstance(value, np.random.RandomState | np.random.Generator)
    )


def generator_of(random_state: Any) -> np.random.Generator:
    """Return the generator for what scikit-learn takes as a random state, or for a generator itself."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    return np.random.default_rng(random_state)


def warn_of_empty(texts: list[str]) -> None:
    """Warn of texts that are empty or hold a marker of a missing value."""
    empty = [row for row, text in enumerate(texts) if text.strip() in _EMPTY]
    if empty:
        shown = listing([f"texts[{row}] {texts[row]!r}" for row in empty])
        warnings.warn(
            f"{counted(len(empty), 'text')} without content: {shown}; remove the rows if they are no texts",
            UserWarning,
            stacklevel=3,
        )


_EMPTY = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"})


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
