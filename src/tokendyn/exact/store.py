"""A built transformer as a folder: ``model.safetensors`` and ``model.json``."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.exact.construction import Construction
from tokendyn.exact.digest import digest_of_files, plain_label
from tokendyn.exact.directions import Line
from tokendyn.exact.estimator import ExactClassifier
from tokendyn.exact.forms import reduced
from tokendyn.exact.plan import Plan
from tokendyn.exact.sequences import Sequences
from tokendyn.exact.transformer import ExactTransformer
from tokendyn.exact.weights import Weights
from tokendyn.runs.files import new_folder, read_json, read_tensors, write_json, write_tensors
from tokendyn.runs.provenance import provenance
from tokendyn.words import counted

SCHEMA = "tokendyn-exact"
SCHEMA_VERSION = 1
#: Schemas of the output of ``classify check --json`` and ``classify verify --json``.
CHECK_SCHEMA, VERIFICATION_SCHEMA = "tokendyn-sequence-check", "tokendyn-verification"
_PLAN = ("asked", "moved", "change", "low", "high", "gap", "rest", "slots")
_WEIGHTS = tuple(field.name for field in fields(Weights))
_NUMBERS = ("gap", "error", "needed", "width")
_FIELDS = ("strategy", "channels", "dim", "outputs", "attention", "beta", "dtype", "labels", "longest", "queries")


def save(
    model: ExactTransformer,
    folder: str | Path,
    *,
    overwrite: bool = False,
    command: str = "",
    seconds: float = 0.0,
) -> None:
    """Write a transformer, its sequences and its certificate to a folder that appears only when it is complete.

    ``python -m tokendyn.exact.check_certificate FOLDER``, or that file alone, checks it without torch and numpy.

    Parameters
    ----------
    model
        The transformer.
    folder
        The folder to make.
    overwrite
        Replace the folder if it exists.
    command
        The command that builds it again, for the report.
    seconds
        Duration of the build, for the report.

    Raises
    ------
    BadInputError
        If a label cannot be stored in JSON (strings, numbers, booleans, None and tuples of them can).
    OutputError
        If the folder exists, or cannot be written.
    """
    construction = model.construction
    record = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "strategy": construction.strategy,
        "channels": list(construction.channels),
        "dim": construction.dim,
        "outputs": list(construction.outputs),
        "dtype": model.dtype,
        "attention": model.attention,
        "beta": model.beta,
        "labels": [_pack(label) for label in model.labels],
        "positions": model.positions,
        "multiplicity": model.multiplicity,
        "longest": construction.longest,
        "queries": construction.queries,
        "bitwise": construction.bitwise,
        "margins": {name: _finite(getattr(construction, name)) for name in _NUMBERS},
        "certificate": model.certificate.to_dict(),
        "plan": None,
        "settings": model.settings,
        "command": command,
        "provenance": provenance(model.settings, seed=model.settings.get("seed"), seconds=seconds)
        | {"dtype": model.dtype},
    }
    tensors = {f"weights.{name}": array for name, array in model.weights.arrays().items()}
    tensors |= {"tokens": model.sequences.tokens, "starts": model.sequences.starts, "targets": model.targets}
    if construction.plan is not None:
        plan = construction.plan
        record["plan"] = {
            "start": plan.start, "lagged": plan.lagged, "line": plan.line.name, "line_error": plan.line.error,
        }  # fmt: skip
        tensors |= {f"plan.{name}": getattr(plan, name) for name in _PLAN}
        tensors |= {"plan.direction": plan.line.direction, "plan.centre": plan.line.centre}
    with new_folder(folder, overwrite=overwrite) as temporary:
        write_tensors(temporary / "model.safetensors", tensors)
        write_json(
            temporary / "model.json", record | {"digest": digest_of_files(record, temporary / "model.safetensors")}
        )


def load(folder: str | Path) -> ExactTransformer:
    """Read a transformer that :func:`save` wrote.

    Raises
    ------
    BadInputError
        If the folder or a file in it is missing, truncated, of a newer schema, or inconsistent; or if the hashes of its
        sequences and labels, or of its files, do not match.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(f"{folder} is not a folder; give one that `tokendyn classify build` wrote")
    record = read_json(folder / "model.json", schema=SCHEMA, version=SCHEMA_VERSION)
    names = {f"weights.{name}" for name in _WEIGHTS} | {"tokens", "starts", "targets"}
    tensors = read_tensors(folder / "model.safetensors", names)
    problems = [f"model.json lacks {name!r}" for name in (*_FIELDS, "margins") if name not in record]
    problems = problems or _record_problems(record) or _problems(record, tensors)
    if problems:
        raise BadInputError.all_of(str(folder), [*problems[:-1], problems[-1] + "; build and save the model anew"])
    plan = _plan(record["plan"], tensors) if record.get("plan") else None
    margins = {name: math.inf if record["margins"][name] is None else record["margins"][name] for name in _NUMBERS}
    construction = Construction(
        strategy=record["strategy"],
        weights=Weights(**{name: tensors[f"weights.{name}"] for name in _WEIGHTS}),
        channels=tuple(record["channels"]),
        dim=record["dim"],
        outputs=tuple(record["outputs"]),
        longest=record["longest"],
        queries=record["queries"],
        plan=plan,
        bitwise=bool(record.get("bitwise", True)),
        **margins,
    )
    sequences, multiplicity = Sequences(tensors["tokens"], tensors["starts"]), record.get("multiplicity", "set")
    if not np.array_equal(reduced(sequences, multiplicity).lengths, sequences.lengths):
        raise BadInputError(
            f"{folder} holds sequences with repeated tokens, which earlier versions read otherwise; build and save the "
            "model anew"
        )
    model = ExactTransformer(
        construction,
        tuple(_unpack(label) for label in record["labels"]),
        sequences,
        tensors["targets"],
        attention=record["attention"],
        beta=record["beta"],
        positions=bool(record.get("positions", False)),
        multiplicity=multiplicity,
        settings=record.get("settings") or {},
    )
    changed = "model.json or model.safetensors was changed after the build, so build the model anew"
    certificate = record.get("certificate")
    # Models of older versions have no hash, or the first alone.
    if isinstance(certificate, dict) and certificate.get("data", model.certificate.data) != model.certificate.data:
        raise BadInputError(
            f"{folder}: its sequences and labels are not those that its certificate was made for; {changed}"
        )
    if "digest" in record and record["digest"] != digest_of_files(record, folder / "model.safetensors"):
        raise BadInputError(f"{folder}: weights, plan, margins or settings are not those that were saved; {changed}")
    return model


#: A saved classifier: this record and the folder of its transformer.
CLASSIFIER_SCHEMA, MODEL = "tokendyn-exact-classifier", "model"


def save_classifier(classifier: ExactClassifier, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write a fitted classifier: its parameters and classes, and its transformer.

    Raises
    ------
    BadInputError
        If labels or ``random_state`` cannot be stored in JSON.
    OutputError
        If the folder exists, or cannot be written.
    """
    parameters = {name: value.item() if isinstance(value, np.generic) else value
                  for name, value in classifier.get_params().items()}  # fmt: skip
    if not isinstance(parameters["random_state"], int | None):
        raise BadInputError("a classifier with a generator as random_state cannot be saved; give an integer")
    parameters["unseen_label"] = None  # it is unseen_label_ that predictions hold
    record = {
        "schema": CLASSIFIER_SCHEMA, "schema_version": SCHEMA_VERSION, "parameters": parameters,
        "classes": [_pack(label) for label in classifier.classes_.tolist()], "dtype": classifier.classes_.dtype.str,
        "unseen_label": _pack(classifier.unseen_label_), "features": classifier.n_features_in_,
    }  # fmt: skip
    with new_folder(folder, overwrite=overwrite) as temporary:
        save(classifier.transformer_, temporary / MODEL)
        write_json(temporary / "classifier.json", record)


def load_classifier(folder: str | Path) -> ExactClassifier:
    """Read the result of :func:`save_classifier`.

    Raises
    ------
    BadInputError
        If a file is missing, damaged or of a newer schema.
    """
    folder = Path(folder)
    record = read_json(folder / "classifier.json", schema=CLASSIFIER_SCHEMA, version=SCHEMA_VERSION)
    transformer = load(folder / MODEL)
    try:
        classifier = ExactClassifier(**record["parameters"])
        kind = np.dtype(record["dtype"])
        classes = np.empty(len(record["classes"]), dtype=object)
        classes[:] = [_unpack(label) for label in record["classes"]]
        classifier.classes_ = classes if kind.kind == "O" else classes.astype(kind)
        classifier.unseen_label_ = _unpack(record["unseen_label"])
        classifier.n_features_in_ = int(record["features"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{folder / 'classifier.json'} is damaged ({error}); fit and save the model anew") from None
    if set(classifier.classes_.tolist()) != set(transformer.labels):
        raise BadInputError(f"{folder}: the classes are not the labels of its transformer; fit and save the model anew")
    classifier.transformer_ = transformer
    return classifier


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _pack(label: Any) -> Any:
    """Return a label as a JSON value, or raise a BadInputError."""
    plain = plain_label(label)
    if _is_label(plain):
        return plain
    raise BadInputError(
        f"the label {str(label)[:60]!r} is a {type(label).__name__}, which a saved model cannot hold; use strings, "
        "numbers, booleans, None or tuples of them"
    )


def _unpack(label: Any) -> Any:
    return tuple(_unpack(part) for part in label["tuple"]) if isinstance(label, dict) else label


def _record_problems(record: dict[str, Any]) -> list[str]:
    """Return the problems of the JSON part alone."""
    problems = []
    kinds: dict[str, type | tuple[type, ...]] = {
        "strategy": str, "channels": list, "dim": int, "outputs": list, "attention": str, "labels": list,
        "queries": int, "margins": dict, "beta": (int, float, type(None)), "longest": (int, type(None)),
    }  # fmt: skip
    problems += [
        f"model.json: {name} is a {type(record[name]).__name__}"
        for name, kind in kinds.items()
        if not isinstance(record[name], kind) or isinstance(record[name], bool)
    ]
    if problems:
        return problems
    if record["dtype"] not in ("float32", "float64"):
        problems.append(f"model.json: dtype is {record['dtype']!r}")
    if record["attention"] not in ("hardmax", "softmax"):
        problems.append(f"model.json: attention is {record['attention']!r}")
    if not 0 < record["dim"] < 2**24:
        problems.append(f"model.json: dim is {record['dim']}")
    elif not all(isinstance(channel, int) and 0 <= channel < record["dim"] for channel in record["outputs"]):
        problems.append("model.json: outputs are not channels")
    if not all(isinstance(name, str) for name in record["channels"]):
        problems.append("model.json: channels are not names")
    if not record["outputs"]:
        problems.append("model.json: there are no outputs")
    missing = [name for name in _NUMBERS if not isinstance(record["margins"].get(name, ""), int | float | type(None))]
    if missing:
        problems.append(f"model.json: margins lack {', '.join(missing)}")
    if not all(_is_label(label) for label in record["labels"]):
        problems.append("model.json: labels are not strings, numbers, booleans, None or tuples")
    return problems


def _is_label(label: Any) -> bool:
    if isinstance(label, dict):
        return set(label) == {"tuple"} and isinstance(label["tuple"], list) and all(map(_is_label, label["tuple"]))
    return label is None or isinstance(label, str | int | bool) or (isinstance(label, float) and math.isfinite(label))


def _problems(record: dict[str, Any], tensors: dict[str, np.ndarray]) -> list[str]:
    """Return the problems of the tensors: the compiled kernels do not check their indices."""
    dtype, dim = record["dtype"], record["dim"]
    w = {name: tensors[f"weights.{name}"] for name in _WEIGHTS}
    problems = []
    for name, array in w.items():
        integral = (
            name in ("units", "attends") or name.endswith(("starts", "channels")) or name in ("value_in", "value_out")
        )
        kind = "int64" if integral else dtype
        if array.ndim != 1 or str(array.dtype) != kind:
            problems.append(f"model.safetensors: weights.{name} is {array.dtype}{array.shape}, expected {kind} (any,)")
        elif not integral and not np.isfinite(array).all():
            problems.append(f"model.safetensors: weights.{name} holds NaN or infinity")
    tokens, starts, targets = tensors["tokens"], tensors["starts"], tensors["targets"]
    shapes = (tokens.ndim == 2 and 0 < tokens.shape[-1] <= dim, starts.ndim == 1, targets.ndim == 2)
    if not all(shapes) or str(tokens.dtype) != dtype or starts.dtype != np.int64:
        problems.append("model.safetensors: tokens, starts or targets have the wrong shape or type")
    if problems:
        return problems
    blocks, units = len(w["eta"]), len(w["bias"])
    problems += _starts_problem("starts", starts, len(starts) - 1, len(tokens))
    if len(starts) < 2 or (np.diff(starts) <= 0).any() or targets.shape != (len(tokens), len(record["outputs"])):
        problems.append("model.safetensors: starts or targets do not fit the tokens")
    elif record["labels"] and not np.isin(targets, np.arange(len(record["labels"]))).all():
        problems.append("model.safetensors: targets are not numbers of labels")
    problems += _starts_problem("weights.units", w["units"], blocks, units)
    problems += _starts_problem("weights.in_starts", w["in_starts"], units, len(w["in_weights"]))
    problems += _starts_problem("weights.out_starts", w["out_starts"], units, len(w["out_weights"]))
    problems += _starts_problem("weights.value_starts", w["value_starts"], blocks, len(w["value_weights"]))
    pairs = (
        ("in_channels", "in_weights"), ("out_channels", "out_weights"), ("value_in", "value_weights"),
        ("value_out", "value_weights"), ("query_channels", "eta"), ("key_channels", "eta"),
    )  # fmt: skip
    for name, mate in pairs:
        if len(w[name]) != len(w[mate]) or (w[name] < 0).any() or (w[name] >= dim).any():
            problems.append(f"model.safetensors: weights.{name} are not channels below {dim}")
    for name in ("attends", "query_weights", "key_weights"):
        if len(w[name]) != blocks:
            problems.append(
                f"model.safetensors: weights.{name} has {len(w[name])} entries for {counted(blocks, 'block')}"
            )
    return problems


def _starts_problem(name: str, starts: np.ndarray, rows: int, end: int) -> list[str]:
    if len(starts) != rows + 1 or starts[0] != 0 or starts[-1] != end or (np.diff(starts) < 0).any():
        return [f"model.safetensors: {name} do not rise from 0 to {end} in {counted(rows + 1, 'step')}"]
    return []


def _plan(record: dict[str, Any], tensors: dict[str, np.ndarray]) -> Plan:
    try:
        arrays = {name: tensors[f"plan.{name}"] for name in _PLAN}
        direction = tensors["plan.direction"]
        # Models of 0.1 have no centre: theirs is the origin.
        centre = tensors.get("plan.centre", np.zeros_like(direction))
        line = Line(
            direction=direction,
            values=np.empty(0),
            error=float(record["line_error"]),
            name=str(record["line"]),
            centre=centre,
        )
        plan = Plan(line=line, start=int(record["start"]), lagged=bool(record["lagged"]), **arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"the plan of the model cannot be read ({error}); build and save the model anew") from None
    if any(len(arrays[name]) != plan.queries for name in _PLAN if name != "rest") or direction.ndim != 1:
        raise BadInputError("the arrays of the plan differ in length; build and save the model anew")
    return plan
