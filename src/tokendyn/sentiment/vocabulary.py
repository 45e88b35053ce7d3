"""Texts as weighted tokens: counting, and the choice of the words with a value."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.sentiment.crops import with_crops
from tokendyn.sentiment.modifiers import WAYS, followers, roles_of
from tokendyn.sentiment.tokenise import Lexicon
from tokendyn.sentiment.tokens import NEGATED, TokenRule, is_negator, negated, read_units

_WORDS = TokenRule()


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
        Float64 count of the word in the text.
    neutral
        Float64 number of tokens of each text that are not active.
    lengths
        Float64 number of words of each text, active or not, n-grams not counted.
    """

    indptr: Int[np.ndarray, " texts_and_one"]
    words: Int[np.ndarray, " entries"]
    counts: Float[np.ndarray, " entries"]
    neutral: Float[np.ndarray, " texts"]
    lengths: Float[np.ndarray, " texts"]

    def __len__(self) -> int:
        return len(self.neutral)


@dataclass(frozen=True)
class CountedTexts:
    """Many texts with the counts of all their tokens, before the choice of active words.

    Attributes
    ----------
    indptr, words, counts
        As in :class:`Ragged`, over all tokens.
    names
        The tokens by number.
    sizes
        Number of tokens of each text, including those without a number.
    lengths
        Number of words of each text, n-grams not counted.
    parents
        With crops, the text of each crop; crops are the last of the counted texts.
    led
        With modifiers, for each way of following a modifier (the fields of :class:`tokendyn.sentiment.Modifiers`), the
        text, the word and the number of such occurrences.
    """

    indptr: Int[np.ndarray, " texts_and_one"]
    words: Int[np.ndarray, " entries"]
    counts: Float[np.ndarray, " entries"]
    names: tuple[str, ...]
    sizes: Int[np.ndarray, " texts"]
    lengths: Int[np.ndarray, " texts"]
    parents: Int[np.ndarray, " crops"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    led: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...] = ()

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def rows(self) -> Int[np.ndarray, " entries"]:
        """Return the text that owns each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))


def count_words(texts: Sequence[str], rule: TokenRule = _WORDS, *, crops: bool = False) -> CountedTexts:
    """Tokenise and count every token of every text.

    Single words are numbered first, by first occurrence, then negated words, then n-grams; n-grams in only one text are
    counted only in ``sizes``, since nothing can be learned from them.

    Parameters
    ----------
    texts
        The texts.
    rule
        Rule that splits them into tokens.
    crops
        Count pieces of long texts as further texts: see :func:`tokendyn.sentiment.crops.with_crops`. They add no new
        tokens.
    """
    lexicon = Lexicon()
    units = read_units(texts, rule, lexicon)
    parents = np.empty(0, dtype=np.int64)
    if crops:
        units, parents = with_crops(units, texts)
    count = len(texts) + len(parents)
    words, numbers = len(lexicon.numbers), units.numbers
    marked = numbers
    if rule.negation:
        marked = _mark(numbers, lexicon)
    names = list(lexicon.numbers)
    lengths = sizes = np.bincount(units.rows[numbers >= 0], minlength=count)
    parts = [_tally(marked, units.rows, len(names))]
    led = _led(numbers, units.rows, names) if rule.modifiers else ()
    base, runs, spelled = len(names), numbers, names
    for length in range(2, rule.ngrams + 1):
        keys, runs = _extend(runs, numbers[length - 1 :], words)
        rows = units.rows[: len(runs)]
        sizes = sizes + np.bincount(rows[runs >= 0], minlength=count)
        row, run, times = _tally(runs, rows, len(keys))
        kept = np.bincount(run[row < len(texts)], minlength=len(keys)) > 1
        renamed = (np.cumsum(kept) - 1 + base).astype(np.int32)
        inside = kept[run]
        parts.append((row[inside], renamed[run[inside]], times[inside]))
        del row, run, times, inside
        base += int(np.sum(kept))
        spelled = _spell(keys, spelled, names, words, kept if length == rule.ngrams else None)
        names += spelled if length == rule.ngrams else [name for name, keep in zip(spelled, kept, strict=True) if keep]
    longest = len(parts)
    rows, tokens, counts = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    del parts, runs, numbers, marked, units
    if longest > 1:
        order = np.argsort(rows, kind="stable")
        rows, tokens, counts = rows[order], tokens[order], counts[order]
    return CountedTexts(
        indptr=np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int64),
        words=tokens.astype(np.int32),
        counts=counts.astype(np.float64),
        names=tuple(names),
        sizes=sizes,
        lengths=lengths,
        parents=parents,
        led=led,
    )


def _led(
    numbers: Int[np.ndarray, " units"], rows: Int[np.ndarray, " units"], names: Sequence[str]
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]:
    """Return the occurrences of words that follow a modifier, counted by way, text and word."""
    ways, _ = followers(numbers, roles_of(names))
    return tuple(_tally(np.where(ways == way, numbers, -1), rows, len(names)) for way in range(1, WAYS + 1))


def _mark(numbers: Int[np.ndarray, " units"], lexicon: Lexicon) -> Int[np.ndarray, " units"]:
    """Return the words; words after a negator are replaced by their negated forms."""
    names = list(lexicon.numbers)
    after = negated(numbers, np.array([is_negator(name) for name in names], dtype=bool))
    new = np.full(len(names), -1, dtype=np.int64)
    for number in np.unique(numbers[after]).tolist():
        new[number] = lexicon.number(NEGATED + names[number])
    return np.where(after, np.append(new, -1)[numbers], numbers)


def _extend(
    runs: Int[np.ndarray, " starts"], following: Int[np.ndarray, " ends"], words: int
) -> tuple[Int[np.ndarray, " keys"], Int[np.ndarray, " ends"]]:
    """Return runs one word longer: their keys ``run words + word``, ascending, and the run at each position."""
    runs = runs[: len(following)]
    valid = (runs >= 0) & (following >= 0)
    keys, inverse = np.unique(runs[valid] * words + following[valid], return_inverse=True)
    longer = np.full(len(following), -1, dtype=np.int64)  # keys of longer runs need 64 bits
    longer[valid] = inverse
    return keys, longer


def _tally(
    numbers: Int[np.ndarray, " places"], rows: Int[np.ndarray, " places"], names: int
) -> tuple[Int[np.ndarray, " entries"], Int[np.ndarray, " entries"], Int[np.ndarray, " entries"]]:
    """Return text, number and count of the distinct tokens of every text."""
    valid = numbers >= 0
    keys, counts = np.unique(rows[valid] * max(names, 1) + numbers[valid], return_counts=True)
    # 32 bits suffice for all three, and these columns are the largest arrays of a training.
    row = (keys // max(names, 1)).astype(np.int32)
    keys %= max(names, 1)
    return row, keys.astype(np.int32), counts.astype(np.int32)


def _spell(
    keys: Int[np.ndarray, " keys"],
    shorter: Sequence[str],
    names: Sequence[str],
    words: int,
    kept: Bool[np.ndarray, " keys"] | None,
) -> list[str]:
    """Return the n-grams as written, all of them or those kept."""
    chosen = keys if kept is None else keys[kept]
    first, last = np.divmod(chosen, max(words, 1))
    return [f"{shorter[a]} {names[b]}" for a, b in zip(first.tolist(), last.tolist(), strict=True)]


def choose_active(
    counted: CountedTexts,
    positive: Bool[np.ndarray, " texts"] | Int[np.ndarray, " texts"],
    part: Int[np.ndarray, " part"],
    *,
    at_most: int,
    min_score: float,
) -> Int[np.ndarray, " active"]:
    """Return the numbers, ascending, of the words of largest ``|log-odds| sqrt(df)`` in a part of the texts.

    The log-odds of a word are ``log (df_pos + 1)/(df_neg + 1) - log (n_pos + 2)/(n_neg + 2)`` with df the number of
    texts that contain it. Source: the prototype's recipe (our own); of equal scores the earlier word is kept.

    Parameters
    ----------
    counted
        All texts.
    positive
        Which texts are of the positive class; or the class of each text, from 0. With more than two classes the score
        of a word is the largest of its scores for one class against the others.
    part
        The texts to count: the training part, never the validation part.
    at_most
        Largest number of words to keep.
    min_score
        Least score of a word.
    """
    chosen = np.zeros(len(counted), dtype=bool)
    chosen[part] = True
    rows = counted.rows()
    inside = chosen[rows]
    words, which = counted.words[inside], positive.astype(np.int64)
    sides = [1] if np.max(which, initial=0) < 2 else range(int(np.max(which)) + 1)
    total = np.bincount(words, minlength=len(counted.names))
    score = np.zeros(len(counted.names))
    for side in sides:
        good = which[rows[inside]] == side
        with_positive = np.bincount(words[good], minlength=len(counted.names))
        base = np.log(np.sum(which[part] == side) + 2.0) - np.log(np.sum(which[part] != side) + 2.0)
        log_odds = np.log(with_positive + 1.0) - np.log(total - with_positive + 1.0) - base
        # The square root demands larger odds of a rare word: its log-odds vary about as 1 / sqrt(df).
        score = np.maximum(score, np.abs(log_odds) * np.sqrt(total))
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
    neutral = counted.sizes - np.bincount(rows[kept], weights=counted.counts[kept], minlength=len(counted))
    indptr = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    order = np.lexsort((new[kept], rows[kept]))
    return Ragged(
        indptr=indptr,
        words=new[kept][order],
        counts=counted.counts[kept][order],
        neutral=neutral.astype(np.float64),
        lengths=counted.lengths.astype(np.float64),
    )
