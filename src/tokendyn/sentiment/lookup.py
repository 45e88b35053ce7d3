"""New texts over a fixed vocabulary: only its words and n-grams are looked up."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.sentiment.explanation import Span
from tokendyn.sentiment.modifiers import CONTRASTS, INTENSIFIERS, Modifiers, followers
from tokendyn.sentiment.neighbours import Attention, Neighbours
from tokendyn.sentiment.scan import WordTable
from tokendyn.sentiment.spelling import Spelling
from tokendyn.sentiment.tokenise import Lexicon
from tokendyn.sentiment.tokens import NEGATED, NEGATORS, TokenRule, Units, is_negator, negated, read_units
from tokendyn.sentiment.vocabulary import Ragged

_WORDS, _IDLE, _ALONE = TokenRule(), Modifiers(), Neighbours()
_MOST_FORMS = 2**17
Ints = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Places:
    """The positions of the entries of a :class:`Ragged` in their texts.

    Attributes
    ----------
    indptr
        Entry e has the occurrences ``indptr[e]`` to ``indptr[e + 1]``.
    first, last
        For each occurrence, the index of its first and its last word in ``spans``.
    unknown
        First and last word of all tokens that are not entries, and their text.
    spans
        Character positions of all words of all texts.
    units
        The words themselves, by the numbers of the lookup; -1 ends a sentence, and each text.
    weights
        Weight of each occurrence: that of its modifier and its neighbours, times that of its sentence.
    closing
        Weight of the sentence of each word.
    """

    indptr: Int[np.ndarray, " entries_and_one"]
    first: Int[np.ndarray, " occurrences"]
    last: Int[np.ndarray, " occurrences"]
    unknown: Int[np.ndarray, "others 3"]
    spans: Int[np.ndarray, "words 2"]
    units: Ints
    weights: Float[np.ndarray, " occurrences"]
    closing: Float[np.ndarray, " words"]

    def of(self, entries: Ints) -> list[tuple[Span, ...]]:
        """Return the character positions of some entries in their texts."""
        counts = self.indptr[entries + 1] - self.indptr[entries]
        bounds = np.concatenate([[0], np.cumsum(counts)])
        chosen = np.repeat(self.indptr[entries] - bounds[:-1], counts) + np.arange(bounds[-1])
        spans = self._between(self.first[chosen], self.last[chosen])
        return [tuple(spans[a:b]) for a, b in pairwise(bounds.tolist())]

    def of_unknown(self, row: int) -> tuple[Span, ...]:
        """Return the character positions of the tokens of a text that are not entries, by position and length."""
        first, last, _ = self.unknown[self.unknown[:, 2] == row].T
        order = np.lexsort((last, first))
        return tuple(self._between(first[order], last[order]))

    def _between(self, first: Ints, last: Ints) -> list[Span]:
        """Return the character positions from first to last words."""
        return list(zip(self.spans[first, 0].tolist(), self.spans[last, 1].tolist(), strict=True))


class Lookup:
    """A fixed vocabulary of words, negated words and n-grams.

    Parameters
    ----------
    number_of
        The tokens with their numbers from 0 on.
    rule
        How texts become tokens.
    modifiers, neighbours
        Factors by which negators, contrasts and intensifiers, and other words, scale the words beside them.
    spelling
        Known words for misspelt ones; None to leave unknown words unknown.
    """

    def __init__(
        self,
        number_of: dict[str, int],
        rule: TokenRule = _WORDS,
        modifiers: Modifiers = _IDLE,
        spelling: Spelling | None = None,
        neighbours: Neighbours = _ALONE,
    ) -> None:
        self.rule, self.size, self.spelling = rule, len(number_of), spelling
        self.units: dict[str, int] = {}
        runs: list[dict[tuple[int, int], int]] = [{} for _ in range(rule.ngrams - 1)]
        whole: list[dict[int, int]] = [{} for _ in range(rule.ngrams)]
        turned: dict[int, int] = {}
        for name, number in number_of.items():
            parts = name.split(" ") if rule.ngrams > 1 else [name]
            at = self._unit(parts[0])
            for level, part in enumerate(parts[1:]):
                at = runs[level].setdefault((at, self._unit(part)), len(runs[level]))
            whole[len(parts) - 1][at] = number
            if rule.negation and len(parts) == 1 and name.startswith(NEGATED):
                turned[self._unit(name[len(NEGATED) :])] = number
        if not modifiers.idle:
            for word in sorted(INTENSIFIERS | CONTRASTS):
                self._unit(word)
        for word in neighbours.words:
            self._unit(word)
        count = len(self.units) + 2  # the last two stand for all other words, and for negators among them
        self.words, self.turned = _table(whole[0], count), _table(turned, count)
        self.negator = np.array([*map(is_negator, self.units), False, True], dtype=bool)
        self.attention = Attention(modifiers, neighbours, [*self.units, "", "not"])
        self.runs = [_sorted_runs(level, count) for level in runs]
        self._forms = _Known(self.units, spelling)
        others = len(self.units)
        self._table = WordTable({**dict.fromkeys(NEGATORS, others + 1), **self.units}, others)
        self.whole = [_table(level, len(run)) for level, run in zip(whole[1:], runs, strict=True)]

    def _unit(self, word: str) -> int:
        """Return the number of a single word, which may occur only in n-grams."""
        return self.units.setdefault(word, len(self.units))

    def encode(self, texts: Sequence[str]) -> Ragged:
        """Return new texts over the vocabulary."""
        return self._read(texts, spans=False)[0]

    def encode_with_places(self, texts: Sequence[str]) -> tuple[Ragged, Places]:
        """Return new texts over the vocabulary, and the position of each entry in its text."""
        ragged, places = self._read(texts, spans=True)
        assert places is not None
        return ragged, places

    def _read(self, texts: Sequence[str], *, spans: bool) -> tuple[Ragged, Places | None]:
        units = self._units(texts, spans=spans)
        numbers, first, length = self._find(units.numbers)
        closing = self.attention.closing(units.numbers, units.rows)
        weights = self._weights(units.numbers, first, length, closing)
        sizes = np.bincount(units.rows[first], minlength=len(texts))
        unknown = numbers < 0
        others = (first[unknown], length[unknown])
        numbers, first, length, weights = numbers[~unknown], first[~unknown], length[~unknown], weights[~unknown]
        rows = units.rows[first]
        # Entries ascend in each text, as in training, and occurrences of one entry keep their order.
        order = _sorted_by(rows, numbers, self.size)
        rows, numbers, weights = rows[order], numbers[order], weights[order]
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (rows[1:] != rows[:-1]) | (numbers[1:] != numbers[:-1])
        starts = np.flatnonzero(new)
        ends = np.append(starts, len(rows))
        known = np.bincount(rows, minlength=len(texts))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[starts], minlength=len(texts)))]).astype(np.int64)
        ragged = Ragged(
            indptr=indptr,
            words=numbers[starts].astype(np.int32),
            counts=np.add.reduceat(weights, starts) if len(starts) else weights,
            neutral=(sizes - known).astype(np.float64),
            lengths=np.bincount(units.rows[units.numbers >= 0], minlength=len(texts)).astype(np.float64),
        )
        if units.spans is None:
            return ragged, None
        without = np.stack([others[0], others[0] + others[1] - 1, units.rows[others[0]]], axis=1)
        return ragged, Places(
            indptr=ends,
            first=first[order],
            last=(first + length - 1)[order],
            unknown=without,
            spans=units.spans,
            units=units.numbers,
            weights=weights,
            closing=closing,
        )

    def taken_out(
        self, places: Places, occurrences: Ints, owners: Ints
    ) -> tuple[Ints, Ints, Float[np.ndarray, " _"], Ints]:
        """Return the tokens that texts lose and gain, with signs, when occurrences are removed from them.

        Tokens across a gap are gained: without "very", "not very good" contains "not good".

        Parameters
        ----------
        places
            Positions in the encoded texts.
        occurrences, owners
            Numbers of occurrences there, and for each the number of the removal that it belongs to: a removal takes all
            its occurrences out of one text together. Removals ascend, and so do the words in each.

        Returns
        -------
        which
            For each token, the number of its removal.
        tokens, signs
            The tokens and their weights: positive for a lost token, negative for a gained one.
        gone
            For each removed word, the number of its removal.
        """
        first, last = places.first[occurrences], places.last[occurrences]
        low, high = self._around(places, first)[0], self._around(places, last)[1]
        # Windows that lie apart affect no common token. Nearer windows are merged, or their gaps would not add up.
        new = np.ones(len(first), dtype=bool)
        new[1:] = (owners[1:] != owners[:-1]) | (low[1:] > high[:-1])
        opening, closing, window = np.flatnonzero(new), np.flatnonzero(np.append(new, True)[1:]), np.cumsum(new) - 1
        low, high = low[opening], high[closing]
        # One more position for each: -1 separates them.
        sizes = high - low + 2
        bounds = np.cumsum(sizes)
        starts, of = bounds - sizes, np.repeat(np.arange(len(sizes)), sizes)
        at = np.arange(len(of)) - starts[of] + low[of]
        at[bounds - 1] = -1
        around, closing = places.units[at], places.closing[at]
        stays, place = np.ones(len(of), dtype=bool), starts[window] + first - low[window]
        for further in range(int(np.max(last - first, initial=-1)) + 1):
            stays[place[first + further <= last] + further] = False
        removal = owners[opening][of]
        found = []
        for words, owner, near, sign in (
            (around, removal, closing, 1), (around[stays], removal[stays], closing[stays], -1),
        ):  # fmt: skip
            numbers, where, length = self._find(words)
            known = numbers >= 0
            weights = self._weights(words, where, length, near)
            found.append((owner[where[known]], numbers[known], sign * weights[known]))
        which, tokens, signs = (np.concatenate(column) for column in zip(*found, strict=True))
        return which, tokens, signs, removal[~stays]

    def _around(self, places: Places, at: Ints) -> tuple[Ints, Ints]:
        """Return the first and the last position whose words may affect each of some words.

        With attention or negated words these bound their sentence with its final mark, else the span of n-grams.
        """
        ends = np.flatnonzero(places.units < 0)
        number = np.searchsorted(ends, at)
        low, high = np.append(-1, ends)[number] + 1, ends[number]
        if self.rule.negation or not self.attention.idle:
            return low, high
        return np.maximum(low, at - self.rule.ngrams + 1), np.minimum(high, at + self.rule.ngrams - 1)

    def modifiers_of(self, places: Places) -> tuple[Ints, Ints]:
        """Return how each word of encoded texts follows a modifier, and the number of that modifier."""
        ways, leaders = followers(places.units, self.attention.roles)
        return ways, places.units[leaders]

    def weights_without(self, places: Places, gone: Bool[np.ndarray, " units"]) -> Float[np.ndarray, " occurrences"]:
        """Return the weight of each occurrence without some words; for occurrences over these words it is not used.

        Parameters
        ----------
        places
            Positions in the encoded texts.
        gone
            Whether each of their words is removed.
        """
        if self.attention.idle:
            return places.weights
        weights = np.ones(len(gone))
        weights[~gone] = self.attention.weights(places.units[~gone])
        single = places.first == places.last
        return np.where(single, weights[places.first], 1.0) * places.closing[places.first]

    def _weights(
        self, words: Ints, first: Ints, length: Ints, closing: Float[np.ndarray, " words"]
    ) -> Float[np.ndarray, " _"]:
        """Return the weight of each token of a run of words: that of its sentence, for a single word also of others."""
        if self.attention.idle:
            return np.ones(len(first))
        return np.where(length == 1, self.attention.weights(words)[first], 1.0) * closing[first]

    def _units(self, texts: Sequence[str], *, spans: bool) -> Units:
        if self.rule.tokeniser is not None:
            return read_units(texts, self.rule, self._lexicon(), spans=spans)
        return self._table.read(
            texts, self._lexicon().__getitem__, breaks=self.rule.needs_sentences, spans=spans,
            ask=self.spelling is not None,
        )  # fmt: skip

    def _lexicon(self) -> Lexicon:
        """Return a lexicon of the known words with a bounded cache of written forms."""
        if len(self._forms) > _MOST_FORMS:
            self._forms = _Known(self.units, self.spelling)
        return self._forms

    def _find(self, words: Ints) -> tuple[Ints, Ints, Ints]:
        """Return all tokens of a run of words: number (-1 if unknown), first word, length in words."""
        single = np.append(self.words, -1)[words]
        if self.rule.negation:
            after = negated(words, self.negator)
            single = np.where(after, np.append(self.turned, -1)[words], single)
        complete = words >= 0
        starts, levels, runs = [np.flatnonzero(complete)], [single], words
        # Runs grow by one word in each round; -1 marks a run that begins no n-gram of the vocabulary.
        for (keys, names), whole in zip(self.runs, self.whole, strict=True):
            following = words[len(levels) :]
            complete = complete[: len(following)] & (following >= 0)
            runs = _follow(runs[: len(following)], following, keys, names, len(self.words))
            starts.append(np.flatnonzero(complete))
            levels.append(np.append(whole, -1)[runs])
        numbers = np.concatenate([level[start] for level, start in zip(levels, starts, strict=True)])
        length = np.repeat(np.arange(1, len(levels) + 1), [len(start) for start in starts])
        return numbers, np.concatenate(starts), length


class _Known(Lexicon):
    """A fixed lexicon that separates negators from other unknown words, and corrects misspelt ones."""

    def __init__(self, known: dict[str, int], spelling: Spelling | None) -> None:
        super().__init__(known)
        self.spelling = spelling

    def number(self, word: str) -> int:
        """Return the number of a word in normal form."""
        known = self.numbers.get(word)
        if known is None and self.spelling is not None and not is_negator(word):
            known = self.numbers.get(self.spelling.meant(word) or "")
        return len(self.numbers) + is_negator(word) if known is None else known


def _table(numbers: dict[int, int], size: int) -> Ints:
    """Return a dictionary as an array, -1 where it has no entry."""
    table = np.full(size, -1, dtype=np.int64)
    table[list(numbers)] = list(numbers.values())
    return table


def _sorted_runs(runs: dict[tuple[int, int], int], words: int) -> tuple[Ints, Ints]:
    """Return the keys ``run words + word``, ascending, and the longer run for each."""
    keys = np.array([run * words + word for run, word in runs], dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    return keys[order], np.array(list(runs.values()), dtype=np.int64)[order]


def _sorted_by(rows: Ints, numbers: Ints, size: int) -> Ints:
    """Return the order by row, then by number below ``size``; equal numbers stay in order."""
    count = len(rows)
    if not count or (int(rows.max()) + 1) * size * count > np.iinfo(np.int64).max:
        return np.lexsort((numbers, rows))
    # Keys that contain their own index are all different; sorting them is several times faster than a stable sort.
    keys = (rows * size + numbers) * count + np.arange(count)
    keys.sort()
    return keys % count


def _follow(runs: Ints, following: Ints, keys: Ints, names: Ints, words: int) -> Ints:
    """Return the known run for each extension by one word, -1 for none."""
    longer = np.full(len(following), -1, dtype=np.int64)
    if not len(keys):
        return longer
    valid = np.flatnonzero((runs >= 0) & (following >= 0) & (following < words - 2))
    longer_keys = runs[valid] * words + following[valid]
    index = np.minimum(np.searchsorted(keys, longer_keys), len(keys) - 1)
    longer[valid] = np.where(keys[index] == longer_keys, names[index], -1)
    return longer
