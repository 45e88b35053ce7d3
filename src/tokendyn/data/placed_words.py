"""Words as points: the positions of words in a trained model, read without knowing the kind of the model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.late import function_at
from tokendyn.runs.files import schema_of

#: Which function reads the words of a model folder, by the schema of its ``model.json``: it takes the folder and a
#: text, None for the whole vocabulary, and returns points, weights and names. A text that names a module is imported
#: on use: the rooms whose models place words lie above this one.
READERS = {"tokendyn-sentiment": "tokendyn.sentiment.placed:placed_words"}


@dataclass(frozen=True, kw_only=True)
class Words:
    """Tokens, their weights (None for equal ones), their names, and notes on them."""

    points: np.ndarray
    weights: np.ndarray | None
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def holds_words(path: Path) -> bool:
    """Return whether a path is the folder of a model that places words."""
    return path.is_dir() and schema_of(path / "model.json") in READERS


def read_placed_words(folder: Path, text: str | None) -> Words:
    """Return the words of a text, or the whole vocabulary, as a trained model places them.

    Parameters
    ----------
    folder
        Folder of the model.
    text
        A text; None for the vocabulary.

    Raises
    ------
    BadInputError
        If the text is empty, or the model knows fewer than two of its words.
    """
    if text is not None and not text.strip():
        raise BadInputError("`text` is empty; give a text with words")
    read = function_at(READERS[str(schema_of(folder / "model.json"))])
    points, weights, names = read(folder, text)
    points, weights = np.asarray(points, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    directed = np.linalg.norm(points, axis=1) > 0  # the neutral pole lies at the origin and has no direction
    if directed.sum() < 2:
        raise BadInputError(
            f"the classifier of {folder} knows {int(directed.sum())} words of the text; expected 2 or more"
        )
    shown = tuple(name for name, keep in zip(names, directed, strict=False) if keep)
    return Words(points=points[directed], weights=weights[directed] / weights[directed].sum(), names=shown)
