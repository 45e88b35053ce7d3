"""Pieces of texts, from which a classifier learns how little evidence a short text holds."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from tokendyn.sentiment.tokens import Units

#: Number of pieces of each text, and the fewest and most words of a piece.
PIECES, _FEWEST, _MOST = 2, 5, 200
#: Texts are cut when their median length is at least this number of words; shorter texts are short texts themselves.
_LONG = 60


def with_crops(units: Units, texts: Sequence[str]) -> tuple[Units, Int[np.ndarray, " crops"]]:
    """Return the texts as numbered words followed by two pieces of each, and the text of each piece.

    A piece is a run of 5 to 200 words; the logarithm of its length is uniform. Length and position come from a hash of
    the text, so that the same text gives the same pieces in any order and any run. Texts are not cut if their median
    length is below 60 words, and texts without words have no pieces.

    Parameters
    ----------
    units
        The texts as numbered words.
    texts
        The same texts as written.
    """
    places = np.flatnonzero(units.numbers >= 0)
    words = np.bincount(units.rows[places], minlength=len(texts))
    if np.median(words) < _LONG:
        return units, np.empty(0, dtype=np.int64)
    parents = np.repeat(np.arange(len(texts)), PIECES)
    drawn = np.concatenate([_uniform(text) for text in texts])
    parents, drawn = parents[words[parents] > 0], drawn[words[parents] > 0]
    length = np.rint(np.exp(np.log(_FEWEST) + drawn[:, 0] * np.log(_MOST / _FEWEST))).astype(np.int64)
    length = np.minimum(length, words[parents])
    first = (np.cumsum(words) - words)[parents] + (drawn[:, 1] * (words[parents] - length + 1)).astype(np.int64)
    start, end = places[first], places[first + length - 1] + 1
    # One more position for each piece: the end of the last text, which is -1 and keeps n-grams within the piece.
    sizes = end - start + 1
    bounds = np.cumsum(sizes)
    source = np.repeat(start - (bounds - sizes), sizes) + np.arange(bounds[-1])
    source[bounds - 1] = len(units.numbers) - 1
    rows = np.repeat(len(texts) + np.arange(len(parents)), sizes)
    joined = Units(
        numbers=np.concatenate([units.numbers, units.numbers[source]]),
        rows=np.concatenate([units.rows, rows]),
        spans=None,
    )
    return joined, parents


def _uniform(text: str) -> Float[np.ndarray, "pieces 2"]:
    """Return numbers in [0, 1) that look random and depend only on the text."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8 * PIECES).digest()
    return (np.frombuffer(digest, dtype="<u4") / 2.0**32).reshape(PIECES, 2)
