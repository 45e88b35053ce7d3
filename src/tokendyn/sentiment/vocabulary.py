"""Texts as weighted tokens: counting, and the choice of the words with a value."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.sentiment import count_kernels
from tokendyn.sentiment.crops import with_crops
from tokendyn.sentiment.modifiers import followers, roles_of
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
    occurrences
        With modifiers, the texts word by word, to count occurrences with weights.
    """

    indptr: Int[np.ndarray, " texts_and_one"]
    words: Int[np.ndarray, " entries"]
    counts: Float[np.ndarray, " entries"]
    names: tuple[str, ...]
    sizes: Int[np.ndarray, " texts"]
    lengths: Int[np.ndarray, " texts"]
    parents: Int[np.ndarray, " crops"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    occurrences: "Occurrences | None" = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def rows(self) -> Int[np.ndarray, " entries"]:
        """Return the text that owns each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))


@dataclass(frozen=True)
class Occurrences:
    """The texts of :class:`CountedTexts` word by word.

    Attributes
    ----------
    numbers, rows
        The words by their numbers, -1 ends a sentence and each text; the text of each word.
    ways
        How each word follows a modifier, see :func:`tokendyn.sentiment.modifiers.followers`.
    entries
        For each length of a token, the entry that counts the token that begins at each word; -1 for none.
    """

    numbers: Int[np.ndarray, " units"]
    rows: Int[np.ndarray, " units"]
    ways: Int[np.ndarray, " units"]
    entries: tuple[Int[np.ndarray, " _"], ...]

    def counts(
        self, words: Float[np.ndarray, " units"], others: Float[np.ndarray, " units"], entries: int
    ) -> Float[np.ndarray, " entries"]:
        """Return the sum of the weights of each entry: those of words, and of n-grams by their first words."""
        total = np.zeros(entries)
        for level, at in enumerate(self.entries):
            begun = np.flatnonzero(at >= 0)
            total += np.bincount(at[begun], weights=(others if level else words)[begun], minlength=entries)
        return total


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
    # 32 bits suffice: these columns are the largest arrays of a training.
    words, numbers, text_of = len(lexicon.numbers), units.numbers.astype(np.int32), units.rows.astype(np.int32)
    del units
    marked = numbers
    if rule.negation:
        marked = _mark(numbers, lexicon)
    names = list(lexicon.numbers)
    lengths = sizes = np.bincount(text_of[numbers >= 0], minlength=count)
    row, number, times, entries = _tally(marked, text_of, len(names))
    rows_of, parts, begun = [row], [(number, times)], [entries]
    base, runs, spelled = len(names), numbers, names
    for length in range(2, rule.ngrams + 1):
        keys, runs = _extend(runs, numbers[length - 1 :], words)
        sizes = sizes + np.bincount(text_of[: len(runs)][runs >= 0], minlength=count)
        row, run, times, entries = _tally(runs, text_of[: len(runs)], len(keys))
        kept = np.bincount(run[row < len(texts)], minlength=len(keys)) > 1
        renamed = (np.cumsum(kept) - 1 + base).astype(np.int32)
        inside = kept[run]
        rows_of.append(row[inside])
        parts.append((renamed[run[inside]], times[inside]))
        renumbered = np.append(np.where(inside, np.cumsum(inside, dtype=np.int32) - 1, -1), -1)
        begun.append(renumbered[entries])
        del run, times, inside, entries, renumbered
        base += int(np.sum(kept))
        spelled = _spell(keys, spelled, names, words, kept if length == rule.ngrams else None)
        names += spelled if length == rule.ngrams else [name for name, keep in zip(spelled, kept, strict=True) if keep]
    indptr, places = _places(rows_of, count)
    del rows_of, row, runs, marked
    tokens, counts = np.empty(int(indptr[-1]), dtype=np.int32), np.empty(int(indptr[-1]))
    for level, place in enumerate(places):
        tokens[place], counts[place] = parts.pop(0)
        begun[level] = np.append(place, np.int32(-1))[begun[level]]
    occurrences = None
    if rule.modifiers:
        ways, _ = followers(numbers, roles_of(names[:words]))
        occurrences = Occurrences(numbers=numbers, rows=text_of, ways=ways, entries=tuple(begun))
    return CountedTexts(
        indptr=indptr,
        words=tokens,
        counts=counts,
        names=tuple(names),
        sizes=sizes,
        lengths=lengths,
        parents=parents,
        occurrences=occurrences,
    )


def _places(
    rows: Sequence[Int[np.ndarray, " _"]], texts: int
) -> tuple[Int[np.ndarray, " texts_and_one"], list[Int[np.ndarray, " _"]]]:
    """Return where entries of several parts belong when they are ordered by text, then by part: bounds and indices."""
    sizes = np.stack([np.bincount(part, minlength=texts) for part in rows])
    indptr = np.append(0, np.cumsum(sizes.sum(axis=0)))
    starts = indptr[:-1] + np.cumsum(sizes, axis=0) - sizes
    within = np.cumsum(sizes, axis=1) - sizes
    places = [
        ((start - first)[part] + np.arange(len(part))).astype(np.int32)
        for part, start, first in zip(rows, starts, within, strict=True)
    ]
    return indptr.astype(np.int64), places


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
    keys, inverse = np.unique(runs[valid].astype(np.int64) * words + following[valid], return_inverse=True)
    longer = np.full(len(following), -1, dtype=np.int32)
    longer[valid] = inverse
    return keys, longer


def _tally(
    numbers: Int[np.ndarray, " places"], rows: Int[np.ndarray, " places"], names: int
) -> tuple[
    Int[np.ndarray, " entries"], Int[np.ndarray, " entries"], Int[np.ndarray, " entries"], Int[np.ndarray, " places"]
]:
    """Return text, number and count of the distinct tokens of every text, and the index of each place, -1 for none."""
    row, number, count, place = np.empty((4, len(numbers)), dtype=np.int32)
    seen, entry_of = np.full((2, max(names, 1)), -1, dtype=np.int32)
    found = count_kernels.tally(numbers, rows, seen, entry_of, row, number, count, place)
    return row[:found].copy(), number[:found].copy(), count[:found].copy(), place


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
