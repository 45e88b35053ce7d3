"""A fitted classifier as a folder: ``model.safetensors`` and ``model.json``."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.runs.provenance import provenance
from tokendyn.sentiment.checks import MOST_CLASSES, check_parameters
from tokendyn.sentiment.classifier import LeaderClassifier
from tokendyn.sentiment.frozen import SCHEMA, SCHEMA_VERSION
from tokendyn.sentiment.tokens import is_tokeniser

_TENSORS = {"embedding", "decoder", "intercept"}
_LATER = {"ngrams", "negation", "patience", "class_weight"}  # parameters that older folders lack
_FIELDS = ("classes", "words", "parameters", "training")


def save(
    classifier: LeaderClassifier,
    folder: str | Path,
    *,
    overwrite: bool = False,
    command: str = "",
    measured: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted classifier to a folder that appears whole or not at all.

    Parameters
    ----------
    classifier
        A fitted classifier.
    folder
        The folder to make.
    overwrite
        Replace the folder if it exists.
    command
        The command that repeats the training, for the report.
    measured
        What was measured on texts held out, for the report: JSON values.

    Raises
    ------
    BadInputError
        If the classifier is not fitted.
    OutputError
        If the folder exists, or cannot be written.
    """
    if not hasattr(classifier, "embedding_"):
        raise BadInputError("the classifier is not fitted; call fit(texts, labels) before saving it")
    parameters = {name: _plain(value) for name, value in classifier.get_params().items() if name != "tokeniser"}
    record = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "classes": [_plain(label) for label in classifier.classes_],
        "words": list(classifier.words_),
        "parameters": parameters,
        "tokeniser": None if classifier.tokeniser is None else _kind(classifier.tokeniser),
        "training": classifier.training_,
        "measured": dict(measured or {}),
        "command": command,
        "provenance": provenance(
            parameters, seed=parameters["random_state"], seconds=classifier.training_["cpu_seconds"]
        ),
    }
    tensors = {
        "embedding": classifier.embedding_,
        "decoder": classifier.decoder_,
        "intercept": np.atleast_1d(classifier.intercept_),
    }
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_json(temporary / "model.json", record)
        write_tensors(temporary / "model.safetensors", tensors)


def load(folder: str | Path, *, tokeniser: Any = None) -> LeaderClassifier:
    """Read a classifier that :func:`save` wrote.

    Parameters
    ----------
    folder
        The folder.
    tokeniser
        The tokeniser of the classifier if it was trained with one; a folder says that it needs one, and holds
        no code.

    Raises
    ------
    BadInputError
        If the folder or a file in it is missing, truncated, of a newer schema, or does not fit together: one
        error that lists all that is wrong. Also if the classifier needs a tokeniser and none is given, or the
        other way round.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(f"{folder} is not a folder; give one that `tokendyn sentiment train` wrote")
    record = read_json(folder / "model.json", schema=SCHEMA, version=SCHEMA_VERSION)
    tensors = read_tensors(folder / "model.safetensors", _TENSORS)
    problems = [f"model.json lacks {name!r}" for name in _FIELDS if name not in record]
    problems = problems or _record_problems(record) + _tensor_problems(record, tensors)
    if problems:
        problems[-1] += "; train and save the model anew"
        raise BadInputError.all_of(str(folder), problems)
    _check_tokeniser(folder, record.get("tokeniser"), tokeniser)
    classifier = LeaderClassifier(**record["parameters"], tokeniser=tokeniser)
    classifier._settle(
        np.array(record["classes"]),
        tuple(record["words"]),
        tensors["embedding"],
        tensors["decoder"],
        tensors["intercept"] if len(record["classes"]) > 2 else float(tensors["intercept"][0]),
    )
    classifier.training_ = record["training"]
    return classifier


def _check_tokeniser(folder: Path, needed: Any, tokeniser: Any) -> None:
    """Raise BadInputError if a tokeniser is lacking, or given to a classifier that has none."""
    if needed is not None and tokeniser is None:
        raise BadInputError(
            f"{folder} was trained with a tokeniser of its own ({str(needed)[:200]}), which is not in the folder; "
            "give the same one: load(folder, tokeniser=...)"
        )
    if needed is None and tokeniser is not None:
        raise BadInputError(f"{folder} was trained with the built-in words; load it without a tokeniser")
    if not is_tokeniser(tokeniser):
        raise BadInputError(f"tokeniser={tokeniser!r}; expected a callable or an object with encode(text)")


def _kind(tokeniser: Any) -> str:
    """Return the name of a tokeniser, to say which one is needed."""
    named = tokeniser if hasattr(tokeniser, "__qualname__") else type(tokeniser)
    return f"{named.__module__}.{named.__qualname__}"


def _record_problems(record: dict[str, Any]) -> list[str]:
    """Return what is wrong with the JSON part."""
    problems = []
    classes, words, parameters = record["classes"], record["words"], record["parameters"]
    kinds = {isinstance(label, str) for label in classes} if isinstance(classes, list) else set()
    if len(kinds) != 1 or not _plain_labels(classes):
        problems.append(f"model.json: classes is {str(classes)[:60]}, expected at least two labels of one kind")
    elif any(low >= high for low, high in pairwise(classes)):
        problems.append(f"model.json: classes is {classes}, expected them sorted and different")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        problems.append("model.json: words is not a list of strings")
    elif len(set(words)) != len(words):
        problems.append("model.json: a word occurs twice in words")
    defaults = LeaderClassifier().get_params()
    needed = set(defaults) - _LATER - {"tokeniser"}
    if not isinstance(parameters, dict) or not needed <= set(parameters) <= set(defaults) - {"tokeniser"}:
        problems.append("model.json: parameters are not those of this classifier")
    else:
        try:
            check_parameters(defaults | parameters)
        except BadInputError as error:
            problems.append(f"model.json: {error}")
    if not isinstance(record["training"], dict):
        problems.append("model.json: training is not an object")
    return problems


def _plain_labels(classes: list[Any]) -> bool:
    """Return whether these can be the labels of a classifier."""
    return 2 <= len(classes) <= MOST_CLASSES and all(isinstance(label, str | int | float) for label in classes)


def _tensor_problems(record: dict[str, Any], tensors: dict[str, np.ndarray]) -> list[str]:
    """Return what is wrong with the tensors, alone and beside the words."""
    words = len(record["words"]) if isinstance(record["words"], list) else 0
    classes = len(record["classes"]) if isinstance(record["classes"], list) else 2
    expected: dict[str, tuple[int, ...]] = {"embedding": (words + 1, 2), "decoder": (2,), "intercept": (1,)}
    if classes > 2:
        expected = {"embedding": (words + 1, classes + 1), "decoder": (classes, classes + 1), "intercept": (classes,)}
    problems = []
    for name, shape in expected.items():
        array = tensors[name]
        if array.shape != shape:
            why = f", for {words} words" if name == "embedding" else ""
            problems.append(f"model.safetensors: {name} has shape {array.shape}, expected {shape}{why}")
        elif array.dtype != np.float64:
            problems.append(f"model.safetensors: {name} is {array.dtype}, expected float64")
        elif not np.all(np.isfinite(array)):
            problems.append(f"model.safetensors: {name} holds NaN or infinite values")
    if not problems and (np.any(tensors["embedding"][-1, :-1]) or not _straight(tensors["decoder"])):
        problems.append("model.safetensors: the neutral pole or the decoder is not as the classifier builds it")
    return problems


def _straight(decoder: np.ndarray) -> bool:
    """Return whether a decoder is a gain times the identity, beside a column of 0."""
    square = np.atleast_2d(decoder)
    return bool(np.array_equal(square, square[0, 0] * np.eye(*square.shape)))


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it."""
    return value.item() if isinstance(value, np.generic) else value
