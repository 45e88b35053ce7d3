"""The words of a trained classifier as points, for the mean field to start from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def placed_words(folder: Path, text: str | None) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
    """Return points, weights and names of the words of a text, or of the whole vocabulary.

    Parameters
    ----------
    folder
        The model folder of ``tokendyn sentiment train``.
    text
        A text; None for the vocabulary.
    """
    from tokendyn.sentiment import load

    model = load(folder)
    if text is None:
        return model.embedding_, np.ones(len(model.embedding_)), (*model.words_, "neutral")
    tokens = model.tokens_of(text)
    return tokens.positions, tokens.weights, tokens.words
