"""A fitted classifier as a folder: ``model.safetensors`` and ``model.json``."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.runs.provenance import provenance
from tokendyn.sentiment.checks import check_parameters
from tokendyn.sentiment.classifier import LeaderClassifier
from tokendyn.sentiment.frozen import SCHEMA, SCHEMA_VERSION
from tokendyn.sentiment.groups import Grouping, members_of
from tokendyn.sentiment.modifiers import Modifiers
from tokendyn.sentiment.neighbours import Neighbours
from tokendyn.sentiment.tokens import is_tokeniser

_TENSORS = {"embedding", "decoder", "intercept"}
#: At transfer 0: only words with a topic are listed, because most have none.
_VALUES = {"values", "intercept", "frequencies", "topics", "with_topic"}
#: Parameters that older folders lack; without a transfer they hold the published model.
_LATER = {
    "ngrams", "negation", "patience", "class_weight", "transfer", "phantom", "floor", "prior_strength", "groups",
    "strong_share", "dimensions", "marginal", "modifiers", "spelling", "doubt",
}  # fmt: skip
#: Largest values of fitted numbers that are not negative.
_BOUNDS = {"phantom": np.inf, "doubt": 1, "share": 1, "closing": 1}
_FIELDS = ("classes", "words", "parameters", "training")


def save(
    classifier: LeaderClassifier,
    folder: str | Path,
    *,
    overwrite: bool = False,
    command: str = "",
    measured: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted classifier to a folder; it appears only when it is complete.

    Parameters
    ----------
    classifier
        A fitted classifier.
    folder
        The folder to make.
    overwrite
        Replace the folder if it exists.
    command
        Command that repeats the training, shown in the report.
    measured
        Measurements on held-out texts, for the report: JSON values.

    Raises
    ------
    BadInputError
        If the classifier is not fitted.
    OutputError
        If the folder exists, or cannot be written.
    """
    if not hasattr(classifier, "words_"):
        raise BadInputError("the classifier is not fitted; call fit(texts, labels) before saving it")
    parameters = {name: _plain(value) for name, value in classifier.get_params().items() if name != "tokeniser"}
    if not isinstance(parameters["random_state"], int):
        parameters["random_state"] = None  # the state of a generator is not saved
    record = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "classes": [_plain(label) for label in classifier.classes_],
        "words": list(classifier.words_),
        **({"neighbours": list(classifier.neighbours_.words)} if classifier._linear else {}),
        "parameters": parameters,
        "fitted": _fitted(classifier),
        "tokeniser": None if classifier.tokeniser is None else _kind(classifier.tokeniser),
        "training": classifier.training_,
        "measured": dict(measured or {}),
        "command": command,
        "provenance": provenance(
            parameters, seed=parameters["random_state"], seconds=classifier.training_["cpu_seconds"]
        ),
    }
    tensors = _tensors(classifier)
    with new_folder(folder, overwrite=overwrite) as place:
        write_json(place / "model.json", record)
        write_tensors(place / "model.safetensors", tensors)


def _fitted(classifier: LeaderClassifier) -> dict[str, float]:
    """Return the fitted numbers that are not tensors."""
    fitted = {"phantom": float(classifier.phantom_), "doubt": float(classifier.doubt_)}
    return fitted | (
        {name: getattr(classifier.grouping_, name) for name in ("texts", "spread", "share")}
        | asdict(classifier.modifiers_)
        | {"closing": classifier.neighbours_.closing}
        if classifier._linear
        else {}
    )


def _tensors(classifier: LeaderClassifier) -> dict[str, np.ndarray]:
    """Return the fitted arrays."""
    intercept = np.atleast_1d(classifier.intercept_)
    if not classifier._linear:
        return {"embedding": classifier.embedding_, "decoder": classifier.decoder_, "intercept": intercept}
    grouping = classifier.grouping_
    chosen = np.flatnonzero(grouping.topics.any(axis=1))
    return {
        "values": classifier.values_,
        "intercept": intercept,
        "frequencies": grouping.frequencies.astype(np.int64),
        "weights": grouping.weights,
        "of_classes": grouping.of_classes,
        "sizes": grouping.sizes,
        "topics": grouping.topics[chosen].astype(np.float32),
        "with_topic": chosen.astype(np.int64),
        "neighbours": np.stack([classifier.neighbours_.behind, classifier.neighbours_.before], axis=1),
    }


def load(folder: str | Path, *, tokeniser: Any = None) -> LeaderClassifier:
    """Read a classifier written by :func:`save`.

    Parameters
    ----------
    folder
        The folder.
    tokeniser
        Tokeniser of the classifier if it was trained with one; the folder records that it needs one, but contains no
        code.

    Raises
    ------
    BadInputError
        If the folder or a file in it is missing, truncated, of a newer schema, or inconsistent: one error lists all
        faults. Also if the classifier needs a tokeniser and none is given, or the reverse.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(f"{folder} is not a folder; give one that `tokendyn sentiment train` wrote")
    record = read_json(folder / "model.json", schema=SCHEMA, version=SCHEMA_VERSION)
    given = record.get("parameters")
    # Folders of 0.1 hold the published model, and have no parameter for it.
    parameters = (
        {"transfer": 1.0, "modifiers": False, "spelling": False, **given} if isinstance(given, dict) and given else {}
    )
    linear = parameters.get("transfer") == 0
    tensors = read_tensors(folder / "model.safetensors", _VALUES if linear else _TENSORS)
    if linear:  # older folders have none
        record.setdefault("neighbours", [])
        tensors.setdefault("neighbours", np.zeros((0, 2)))
        tensors.setdefault("weights", np.ones(len(tensors["values"])))
        tensors.setdefault("of_classes", np.zeros((len(tensors["values"]), 0)))
        tensors.setdefault("sizes", np.zeros(0))
    problems = [f"model.json lacks {name!r}" for name in _FIELDS if name not in record]
    problems = problems or _record_problems(record) + (_value_problems if linear else _tensor_problems)(record, tensors)
    if problems:
        problems[-1] += "; train and save the model anew"
        raise BadInputError.all_of(str(folder), problems)
    _check_tokeniser(folder, record.get("tokeniser"), tokeniser)
    classifier = LeaderClassifier(**parameters, tokeniser=tokeniser)
    classes, words, fitted = np.array(record["classes"]), tuple(record["words"]), record.get("fitted", {})
    intercept = tensors["intercept"] if len(record["classes"]) > 2 else float(tensors["intercept"][0])
    if linear:
        topics = np.zeros((len(words), tensors["topics"].shape[1]))
        topics[tensors["with_topic"]] = tensors["topics"]
        modifiers = Modifiers(**{each.name: float(fitted.get(each.name, 0.0)) for each in fields(Modifiers)})
        grouping = Grouping(
            texts=int(fitted.get("texts", record["training"].get("texts", 0))),
            frequencies=tensors["frequencies"],
            members=members_of(words, int(parameters["ngrams"])),
            topics=topics,
            share=float(fitted["share"]),
            spread=float(fitted["spread"]),
            modifying=modifiers.of_words(words),
            weights=tensors["weights"],
            of_classes=tensors["of_classes"],
            sizes=tensors["sizes"],
        )
        classifier._settle_values(
            classes, words, tensors["values"], intercept, float(fitted["phantom"]), grouping, modifiers,
            Neighbours(
                words=tuple(record["neighbours"]),
                behind=tensors["neighbours"][:, 0],
                before=tensors["neighbours"][:, 1],
                closing=float(fitted.get("closing", 0.0)),
            ),
            float(fitted.get("doubt", 0.0)),
        )  # fmt: skip
    else:
        phantom = float(fitted.get("phantom", 0.0))
        classifier._settle(classes, words, tensors["embedding"], tensors["decoder"], intercept, phantom)
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
    """Return the name of a tokeniser for messages."""
    named = tokeniser if hasattr(tokeniser, "__qualname__") else type(tokeniser)
    return f"{named.__module__}.{named.__qualname__}"


def _record_problems(record: dict[str, Any]) -> list[str]:
    """Return the faults of the JSON part."""
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
    neighbours = record.get("neighbours", [])
    if not isinstance(neighbours, list) or not all(isinstance(word, str) for word in neighbours):
        problems.append("model.json: neighbours is not a list of strings")
    elif len(set(neighbours)) != len(neighbours):
        problems.append("model.json: a word occurs twice in neighbours")
    defaults = LeaderClassifier().get_params()
    needed = set(defaults) - _LATER - {"tokeniser"}
    if not isinstance(parameters, dict) or not needed <= set(parameters) <= set(defaults) - {"tokeniser"}:
        problems.append("model.json: parameters are not those of this classifier")
    else:
        try:
            check_parameters(defaults | {"transfer": 1.0} | parameters)
        except BadInputError as error:
            problems.append(f"model.json: {error}")
    problems += _fitted_problems(record.get("fitted", {}), parameters)
    if not isinstance(record["training"], dict):
        problems.append("model.json: training is not an object")
    return problems


def _fitted_problems(fitted: Any, parameters: Any) -> list[str]:
    """Return the faults of the fitted numbers."""
    if not isinstance(fitted, dict) or not all(isinstance(number, int | float) for number in fitted.values()):
        return ["model.json: fitted is not an object of numbers"]
    linear = isinstance(parameters, dict) and parameters.get("transfer") == 0
    if linear and not {"phantom", "share", "spread"} <= set(fitted):
        return ["model.json: fitted lacks phantom, share or spread"]
    return [
        f"model.json: {name} is {fitted[name]}, expected 0 or more" + (f", at most {most}" if most < np.inf else "")
        for name, most in _BOUNDS.items()
        if not 0.0 <= fitted.get(name, 0.0) <= most
    ]


def _plain_labels(classes: list[Any]) -> bool:
    """Return whether these can be the labels of a classifier."""
    return len(classes) >= 2 and all(isinstance(label, str | int | float) for label in classes)


def _tensor_problems(record: dict[str, Any], tensors: dict[str, np.ndarray]) -> list[str]:
    """Return the faults of the tensors, alone and against the words."""
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


def _value_problems(record: dict[str, Any], tensors: dict[str, np.ndarray]) -> list[str]:
    """Return the faults of the tensors at transfer 0, alone and against the words."""
    words = len(record["words"]) if isinstance(record["words"], list) else 0
    classes = len(record["classes"]) if isinstance(record["classes"], list) else 2
    columns = classes if classes > 2 else 1
    listed = tensors["with_topic"]
    neighbours = len(record["neighbours"]) if isinstance(record["neighbours"], list) else 0
    shapes = {
        "values": (words, columns), "weights": (words,), "intercept": (columns,), "frequencies": (words,),
        "neighbours": (neighbours, 2),
    }  # fmt: skip
    dtypes = {
        "values": "f8", "intercept": "f8", "frequencies": "i8", "topics": "f4", "with_topic": "i8", "neighbours": "f8",
        "weights": "f8", "of_classes": "f8", "sizes": "f8",
    }  # fmt: skip
    problems = [
        f"model.safetensors: {name} has shape {tensors[name].shape}, expected {shape}, for {words} words"
        for name, shape in shapes.items()
        if tensors[name].shape != shape
    ]
    problems += [
        f"model.safetensors: {name} is {tensors[name].dtype}, expected {np.dtype(kind)}"
        for name, kind in dtypes.items()
        if tensors[name].dtype != np.dtype(kind)
    ]
    problems += [
        f"model.safetensors: {name} holds NaN or infinite values"
        for name in ("values", "intercept", "topics", "neighbours", "weights", "of_classes", "sizes")
        if not np.isfinite(tensors[name]).all()
    ]
    if tensors["of_classes"].shape not in ((words, columns), (words, 0)) or (
        tensors["of_classes"].size and tensors["sizes"].shape != (classes,)
    ):
        problems.append("model.safetensors: of_classes and sizes do not fit the words and classes")
    elif not problems and not _are_counts(tensors["of_classes"], tensors["frequencies"], tensors["sizes"]):
        problems.append("model.safetensors: of_classes and sizes are not numbers of texts")
    if tensors["topics"].ndim != 2 or listed.shape != tensors["topics"].shape[:1]:
        problems.append("model.safetensors: topics and with_topic do not fit together")
    elif len(listed) and not (listed.min() >= 0 and listed.max() < words and (np.diff(listed) > 0).all()):
        problems.append("model.safetensors: with_topic does not name words in their order")
    if (tensors["frequencies"] < 0).any():
        problems.append("model.safetensors: frequencies holds negative numbers")
    return problems


def _are_counts(of_classes: np.ndarray, frequencies: np.ndarray, sizes: np.ndarray) -> bool:
    """Return whether these can be the numbers of texts with each word in each class, and those of the classes."""
    most = frequencies[:, None] * (1.0 + 1e-9)
    return bool((of_classes >= 0.0).all() and (of_classes <= most).all() and (sizes >= 0.0).all())


def _straight(decoder: np.ndarray) -> bool:
    """Return whether a decoder is a gain times the identity, beside a column of 0."""
    square = np.atleast_2d(decoder)
    return bool(np.array_equal(square, square[0, 0] * np.eye(*square.shape)))


def _plain(value: Any) -> Any:
    """Return a value as a JSON type."""
    return value.item() if isinstance(value, np.generic) else value
