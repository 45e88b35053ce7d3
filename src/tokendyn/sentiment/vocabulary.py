"""Texts as weighted tokens: counting, and the choice of the words that carry a value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.sentiment.tokenise import Lexicon


@dataclass(frozen=True)
class Ragged:
    """Many texts, each as its distinct active words with their counts and one neutral token.

    Text r owns the entries ``indptr[r]`` to ``indptr[r + 1]``.

    Attributes
    ----------
    indptr
        Int64, texts + 1 entries.
    words
        Int32 numbers of active words, ascending within a text.
    counts
        Float64, how often the word occurs in the text.
    neutral
        Float64, how many words of each text are not active.
    """

    indptr: Int[np.ndarray, " texts_and_one"]
    words: Int[np.ndarray, " entries"]
    counts: Float[np.ndarray, " entries"]
    neutral: Float[np.ndarray, " texts"]

    def __len__(self) -> int:
        return len(self.neutral)


@dataclass(frozen=True)
class CountedTexts:
    """Many texts with the counts of all their words, before any is chosen.

    Attributes
    ----------
    indptr, words, counts
        As in :class:`Ragged`, over all words.
    names
        The words by number.
    """

    indptr: Int[np.ndarray, " texts_and_one"]
    words: Int[np.ndarray, " entries"]
    counts: Float[np.ndarray, " entries"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def rows(self) -> Int[np.ndarray, " entries"]:
        """Return the text that owns each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))


def count_words(texts: Sequence[str]) -> CountedTexts:
    """Tokenise and count every word of every text."""
    lexicon = Lexicon()
    words, counts, sizes = [], [], [0]
    for text in texts:
        numbers, times = np.unique(np.array(lexicon.encode(text), dtype=np.int32), return_counts=True)
        words.append(numbers)
        counts.append(times)
        sizes.append(len(numbers))
    return CountedTexts(
        np.cumsum(np.array(sizes, dtype=np.int64)),
        np.concatenate([*words, np.empty(0, np.int32)]),
        np.concatenate([*counts, np.empty(0, np.int64)]).astype(np.float64),
        tuple(lexicon.numbers),
    )


def choose_active(
    counted: CountedTexts,
    positive: Bool[np.ndarray, " texts"],
    part: Int[np.ndarray, " part"],
    *,
    at_most: int,
    min_score: float,
) -> Int[np.ndarray, " active"]:
    """Return the numbers, ascending, of the words of largest ``|log-odds| sqrt(df)`` in a part of the texts.

    The log-odds of a word are ``log (df_pos + 1)/(df_neg + 1) - log (n_pos + 2)/(n_neg + 2)`` with df the
    number of texts that hold it. Source: the prototype's recipe (our own); equal scores keep the earlier word.

    Parameters
    ----------
    counted
        All texts.
    positive
        Which texts are of the positive class.
    part
        The texts to look at: the training part, never the validation part.
    at_most
        How many words to keep at most.
    min_score
        Words of a smaller score are left out.
    """
    chosen = np.zeros(len(counted), dtype=bool)
    chosen[part] = True
    rows = counted.rows()
    inside = chosen[rows]
    words, good = counted.words[inside], positive[rows[inside]]
    total = np.bincount(words, minlength=len(counted.names))
    with_positive = np.bincount(words[good], minlength=len(counted.names))
    base = np.log(np.sum(positive[part]) + 2.0) - np.log(np.sum(~positive[part]) + 2.0)
    log_odds = np.log(with_positive + 1.0) - np.log(total - with_positive + 1.0) - base
    score = np.abs(log_odds) * np.sqrt(total)
    candidates = np.flatnonzero((score >= min_score) & (total > 0))
    best = candidates[np.argsort(-score[candidates], kind="stable")[:at_most]]
    return np.sort(best)


def with_active(counted: CountedTexts, active: Int[np.ndarray, " active"]) -> Ragged:
    """Return the texts over the active words, renumbered in the order of ``active``."""
    number = np.full(len(counted.names), -1, dtype=np.int32)
    number[active] = np.arange(len(active), dtype=np.int32)
    new = number[counted.words]
    kept = new >= 0
    rows = counted.rows()
    size = np.bincount(rows[kept], minlength=len(counted))
    neutral = np.bincount(rows[~kept], weights=counted.counts[~kept], minlength=len(counted))
    indptr = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    order = np.lexsort((new[kept], rows[kept]))
    return Ragged(indptr, new[kept][order], counted.counts[kept][order], neutral.astype(np.float64))


def encode(texts: Sequence[str], number_of: dict[str, int]) -> Ragged:
    """Return new texts over known active words; ``number_of`` maps a word to its number from 0 on."""
    counted = count_words(texts)
    met = np.array([number_of.get(name, -1) for name in counted.names], dtype=np.int64)
    known = np.flatnonzero(met >= 0)
    ragged = with_active(counted, known)
    words = met[known][ragged.words] if len(known) else ragged.words
    rows = np.repeat(np.arange(len(ragged)), np.diff(ragged.indptr))
    order = np.lexsort((words, rows))
    return Ragged(ragged.indptr, words[order].astype(np.int32), ragged.counts[order], ragged.neutral)
