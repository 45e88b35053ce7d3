"""What a folder with a model must be before anything in it is loaded: all that is wrong with it, in one message."""

import math
from pathlib import Path
from typing import Any

from tokendyn.data.model_config import read_config
from tokendyn.data.tensor_files import FLOATS, open_tensors
from tokendyn.errors import BadInputError
from tokendyn.runs.bounded import read_json_value
from tokendyn.runs.memory import check_memory

WEIGHTS, INDEX, RULES = "model.safetensors", "model.safetensors.index.json", "tokenizer.json"

#: Files of weights that can run code when they are read, or that the reference library does not read.
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_MOST_INDEX_BYTES = 64 * 2**20

#: How large a model is in memory beside its weights, while it is read: one tensor file is there twice.
_LOADING = 1.25


def check_folder(path: str | Path, *, double: bool = False) -> dict[str, Any]:
    """Check a folder with a model and return its configuration.

    Parameters
    ----------
    path
        The folder.
    double
        Whether its weights become float64.

    Raises
    ------
    BadInputError
        If it is not a folder, has no configuration or safetensors weights, wants code of its own, is quantised or an
        adapter, lacks a part of its weights, or is too large for the memory of this machine.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise BadInputError(_no_folder(folder))
    problems = _problems(folder)
    config: dict[str, Any] = {}
    if (folder / "config.json").is_file():
        config = read_config(folder)
        problems += _config_problems(config)
    if problems:
        raise BadInputError.all_of(str(folder), problems)
    numbers = sum(_numbers(file) for file in weight_files(folder))
    size = numbers * (8 if double else 4) * _LOADING
    check_memory(size, f"{folder}: its {numbers / 1e6:,.0f} million weights", "take a smaller model")
    return config


def _no_folder(path: Path) -> str:
    if path.is_file():
        return f"{path} is a file; give the folder that holds config.json, tokenizer.json and the safetensors weights"
    name = str(path)
    hint = "" if path.is_absolute() or name.startswith(".") else (
        "; a name on a model hub is not looked up: download the model, and give its folder"
    )  # fmt: skip
    return f"{name} is no folder{hint}"


def _problems(folder: Path) -> list[str]:
    """Return the files that are missing or of the wrong kind."""
    problems = [] if (folder / "config.json").is_file() else ["there is no config.json, which says what model it is"]
    if (folder / "adapter_config.json").is_file():
        problems.append("it is an adapter (LoRA), not a model; merge it into its base model and save that")
    elif not weight_files(folder):
        pickled = sorted(file.name for pattern in _PICKLED for file in folder.glob(pattern))
        quantised = sorted(file.name for file in folder.glob("*.gguf"))
        if pickled:
            problems.append(
                f"its weights are in {pickled[0]}, a format that can run code when it is read; convert them to "
                "safetensors: model.save_pretrained(folder)"
            )
        elif quantised:
            problems.append(f"its weights are in {quantised[0]}, which is quantised; give safetensors weights")
        else:
            problems.append(f"there is no {WEIGHTS}, nor {INDEX} of several files")
    problems += [f"{file.name} is named by {INDEX} and is not there" for file in weight_files(folder)
                 if not file.is_file()]  # fmt: skip
    return problems


def _config_problems(config: dict[str, Any]) -> list[str]:
    problems = []
    if config.get("auto_map"):
        problems.append("its configuration wants code of its own (auto_map), which is never run")
    if config.get("quantization_config"):
        problems.append("its weights are quantised (quantization_config); save it with plain 16 or 32-bit weights")
    if not isinstance(config.get("model_type"), str):
        problems.append("config.json has no model_type")
    return problems


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights, also those that an index names and that are missing."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        return []
    record = read_json_value(folder / INDEX, _MOST_INDEX_BYTES)
    table = record.get("weight_map") if isinstance(record, dict) else None
    if not isinstance(table, dict):
        raise BadInputError(f"{folder / INDEX} has no weight_map; it is damaged")
    return [folder / Path(str(name)).name for name in sorted({str(name) for name in table.values()})]


def _numbers(file: Path) -> int:
    """Return the number of entries in a file of tensors, from its header; weights of whole numbers are refused."""
    with open_tensors(file) as stored:
        tensors = {name: stored.described(name) for name in stored.names}
    codes = sorted(name for name, (_, kind) in tensors.items() if name.endswith("weight") and kind not in FLOATS)
    if codes:
        kind = tensors[codes[0]][1]
        raise BadInputError(
            f"{file}: {codes[0]} is stored as {kind}: the weights are quantised; save them as 16 or 32-bit floats"
        )
    return sum(math.prod(shape) for shape, _ in tensors.values())
