"""A fitted classifier as a folder: ``model.safetensors`` and ``model.json``."""

from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.runs.provenance import provenance
from tokendyn.sentiment.checks import check_parameters
from tokendyn.sentiment.classifier import LeaderClassifier

SCHEMA = "tokendyn-sentiment"
SCHEMA_VERSION = 1
_TENSORS = {"embedding", "decoder", "intercept"}
_FIELDS = ("classes", "words", "parameters", "training")


def save(classifier: LeaderClassifier, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write a fitted classifier to a folder that appears whole or not at all.

    Parameters
    ----------
    classifier
        A fitted classifier.
    folder
        The folder to make.
    overwrite
        Replace the folder if it exists.

    Raises
    ------
    BadInputError
        If the classifier is not fitted.
    OutputError
        If the folder exists, or cannot be written.
    """
    if not hasattr(classifier, "embedding_"):
        raise BadInputError("the classifier is not fitted; call fit(texts, labels) before saving it")
    parameters = {name: _plain(value) for name, value in classifier.get_params().items()}
    record = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "classes": [_plain(label) for label in classifier.classes_],
        "words": list(classifier.words_),
        "parameters": parameters,
        "training": classifier.training_,
        "provenance": provenance(
            parameters, seed=parameters["random_state"], seconds=classifier.training_["cpu_seconds"]
        ),
    }
    tensors = {
        "embedding": classifier.embedding_,
        "decoder": classifier.decoder_,
        "intercept": np.array([classifier.intercept_]),
    }
    with new_folder(folder, overwrite=overwrite) as place:
        write_json(place / "model.json", record)
        write_tensors(place / "model.safetensors", tensors)


def load(folder: str | Path) -> LeaderClassifier:
    """Read a classifier that :func:`save` wrote.

    Raises
    ------
    BadInputError
        If the folder or a file in it is missing, truncated, of a newer schema, or does not fit together: one
        error that lists all that is wrong.
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
    classifier = LeaderClassifier(**record["parameters"])
    classifier._settle(
        np.array(record["classes"]),
        tuple(record["words"]),
        tensors["embedding"],
        tensors["decoder"],
        float(tensors["intercept"][0]),
    )
    classifier.training_ = record["training"]
    return classifier


def _record_problems(record: dict[str, Any]) -> list[str]:
    """Return what is wrong with the JSON part."""
    problems = []
    classes, words, parameters = record["classes"], record["words"], record["parameters"]
    kinds = {isinstance(label, str) for label in classes} if isinstance(classes, list) else set()
    if len(kinds) != 1 or len(classes) != 2 or not all(isinstance(label, str | int | float) for label in classes):
        problems.append(f"model.json: classes is {str(classes)[:60]}, expected two labels of one kind")
    elif classes[0] >= classes[1]:
        problems.append(f"model.json: classes is {classes}, expected them sorted and different")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        problems.append("model.json: words is not a list of strings")
    elif len(set(words)) != len(words):
        problems.append("model.json: a word occurs twice in words")
    expected = set(LeaderClassifier().get_params())
    if not isinstance(parameters, dict) or set(parameters) != expected:
        problems.append("model.json: parameters are not those of this classifier")
    else:
        try:
            check_parameters(parameters)
        except BadInputError as error:
            problems.append(f"model.json: {error}")
    if not isinstance(record["training"], dict):
        problems.append("model.json: training is not an object")
    return problems


def _tensor_problems(record: dict[str, Any], tensors: dict[str, np.ndarray]) -> list[str]:
    """Return what is wrong with the tensors, alone and beside the words."""
    words = len(record["words"]) if isinstance(record["words"], list) else 0
    expected = {"embedding": (words + 1, 2), "decoder": (2,), "intercept": (1,)}
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
    if not problems and (tensors["embedding"][-1, 0] != 0 or tensors["decoder"][1] != 0):
        problems.append("model.safetensors: the neutral pole or the decoder is not as the classifier builds it")
    return problems


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it."""
    return value.item() if isinstance(value, np.generic) else value
