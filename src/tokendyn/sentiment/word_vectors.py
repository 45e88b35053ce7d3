"""Word vectors from the neighbourhoods of words, through which similar words share a part of their values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

#: Distance up to which two words of a sentence are neighbours, with weight 1/distance.
_REACH = 4
#: Fewest occurrences of a word with a vector, largest number of context words, and number of dimensions.
_FEWEST, _CONTEXTS, _DIMENSIONS = 5, 8_000, 50
#: Exponent of the frequency of context words (Levy, Goldberg, Dagan 2015): rare ones count less.
_SMOOTHING = 0.75
#: Scale of the shared part, and share of the texts from which on a word has less of it, since its own effect is well
#: known. Of 0.05 to 1, with and without the second, these had the least losses on the development splits of IMDb.
_SCALE, _OFTEN = 0.15, 0.05


@dataclass(frozen=True)
class Shared:
    """Directions in which values of several tokens vary together: ``v_j = s_j u_j + (F w)_j``.

    Attributes
    ----------
    tokens
        Tokens with a row in the table.
    table
        F, float64 (tokens, directions).
    """

    tokens: Int[np.ndarray, " tokens"]
    table: Float[np.ndarray, "tokens directions"]


def word_vectors(
    numbers: Int[np.ndarray, " units"], names: Sequence[str]
) -> tuple[Int[np.ndarray, " words"], Float[np.ndarray, "words directions"]]:
    """Return words of at least five occurrences and their vectors of length 1.

    The singular vectors of the positive pointwise mutual information of words and neighbours, times the roots of the
    singular values (Levy and Goldberg 2014; Levy, Goldberg, Dagan 2015). Words are sorted by count and name first, so
    the order of the texts makes no difference.

    Parameters
    ----------
    numbers
        The words of the texts by their numbers; -1 ends a sentence and each text.
    names
        The words.
    """
    counts = np.bincount(numbers[numbers >= 0], minlength=len(names))
    order = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
    rows = order[np.argsort(-counts[order], kind="stable")]
    rows = rows[counts[rows] >= _FEWEST]
    if len(rows) <= _DIMENSIONS:
        return np.empty(0, dtype=np.int64), np.empty((0, 0))
    together = _together(numbers, rows, min(len(rows), _CONTEXTS), len(names)).tocoo()
    whole = np.asarray(together.sum(axis=1)).ravel()
    part = np.asarray(together.sum(axis=0)).ravel() ** _SMOOTHING
    part /= max(part.sum(), np.finfo(np.float64).tiny)  # texts of one word have no neighbours
    information = np.log(together.data / (whole[together.row] * part[together.col]))
    positive = information > 0.0
    matrix = sparse.csr_matrix(
        (information[positive], (together.row[positive], together.col[positive])), shape=together.shape
    )
    left, singular, _ = randomized_svd(matrix, _DIMENSIONS, n_iter=2, random_state=0)
    vectors = left * np.sqrt(singular)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return rows, vectors / np.maximum(length, np.finfo(np.float64).tiny)


def _together(
    numbers: Int[np.ndarray, " units"], rows: Int[np.ndarray, " words"], contexts: int, words: int
) -> sparse.csr_matrix:
    """Return how often words and the first of them, the context words, are neighbours, weighted by 1/distance."""
    row = np.full(words + 1, -1, dtype=np.int32)
    row[rows] = np.arange(len(rows))
    row, sentence = row[numbers], np.cumsum(numbers < 0, dtype=np.int32)
    total = sparse.csr_matrix((len(rows), len(rows)))
    for distance in range(1, _REACH + 1):
        inside = (sentence[distance:] == sentence[:-distance]) & (row[distance:] >= 0) & (row[:-distance] >= 0)
        at, other = row[distance:][inside], row[:-distance][inside]
        # Of two neighbours at least one is a context word.
        useful = (at < contexts) | (other < contexts)
        weights = np.full(int(useful.sum()), 1.0 / distance)
        total = total + sparse.csr_matrix((weights, (at[useful], other[useful])), shape=total.shape)
    return total[:, :contexts] + total[:contexts].T


def shared_by(
    words: Int[np.ndarray, " words"],
    vectors: Float[np.ndarray, "words directions"],
    tokens: Int[np.ndarray, " tokens"],
    frequencies: Int[np.ndarray, " tokens"],
    texts: int,
) -> Shared:
    """Return the directions in which values vary together: ``F_j = 0.15 min(1, sqrt(0.05 / p_j)) x_j``.

    Here x_j is the vector of word j and p_j the share of texts with it (our own).

    Parameters
    ----------
    words, vectors
        From :func:`word_vectors`.
    tokens, frequencies
        The tokens, ascending, and the number of texts with each.
    texts
        Number of texts.
    """
    place = np.searchsorted(tokens, words)
    inside = np.append(tokens, -1)[place] == words
    place = place[inside]
    scale = _SCALE * np.minimum(1.0, np.sqrt(_OFTEN * texts / np.maximum(frequencies[place], 1)))
    order = np.argsort(place)
    return Shared(tokens=place[order], table=(scale[:, None] * vectors[inside])[order])
