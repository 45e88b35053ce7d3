"""The words of a trained classifier as points, for the mean field to start from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def placed_words(folder: Path, text: str | None) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
    """Return points, weights and names of the words of a text, or of the whole vocabulary.

    At transfer 0 the words with a place are the strong ones; of several classes, those on the margin of the second over
    the first.

    Parameters
    ----------
    folder
        The model folder of ``tokendyn sentiment train``.
    text
        A text; None for the vocabulary.
    """
    from tokendyn.sentiment import load

    model = load(folder)
    if text is None and model.transfer == 0:
        view = model._views.of(1, 0)
        strong = np.flatnonzero(view.strong)
        places = model.grouping_.places(strong, view.margin[strong], view.rank[strong])
        return places, np.ones(len(places)), tuple(model.words_[number] for number in strong.tolist())
    if text is None:
        return model.embedding_, np.ones(len(model.embedding_)), (*model.words_, "neutral")
    tokens = model.tokens_of(text)
    return tokens.positions, tokens.weights, tokens.words
