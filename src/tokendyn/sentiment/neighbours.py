"""Attention to neighbours: words scale the words beside them, and the end of a text counts more than its middle.

Each frequent word has two numbers, by which the up to three words behind it and before it count more or less than
once: in "this film is brilliant", "brilliant" counts more than in "the critic from whom a brilliant review was bought".
So the weight of an occurrence is ``1 + sum of the numbers of its neighbours``, from 0 to 3. And a word of a sentence at
position x in the text, from 0 to 1, counts ``1 + closing (9 x^8 - mean)`` times: many texts conclude at their end.
All numbers are learned (:mod:`tokendyn.sentiment.neighbour_fit`). They are attention scores that depend on the key and
its side only; the verdict stays an exact sum over occurrences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from tokendyn.sentiment.modifiers import Modifiers, Units, followers, roles_of

if TYPE_CHECKING:
    import pandas as pd

#: Number of words on either side, in the same sentence, that a word scales. One word and the whole sentence gave larger
#: held-out losses on the development splits of IMDb, two and five words the same.
REACH = 3
#: Least and largest weight of an occurrence by its neighbours.
LEAST, MOST = 0.0, 3.0
#: Exponent of the weight of the last sentences. With 8 about the last tenth of a text counts more; held-out losses for
#: 2 and 4 are larger, and a similar number for the first sentences was 0.
_EXPONENT = 8


@dataclass(frozen=True, eq=False, repr=False)
class Neighbours:
    """The learned numbers of words that scale their neighbours, and of the end of a text.

    Attributes
    ----------
    words
        The words.
    behind, before
        Float64: what each word adds to the weight of the up to three words behind it, and before it.
    closing
        How much more the last sentences count; 0 for no difference.
    """

    words: tuple[str, ...] = ()
    behind: Float[np.ndarray, " words"] = field(default_factory=lambda: np.zeros(0))
    before: Float[np.ndarray, " words"] = field(default_factory=lambda: np.zeros(0))
    closing: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is scaled."""
        return not self.words and not self.closing

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def __repr__(self) -> str:
        return f"Neighbours({len(self.words)} words, closing={self.closing:.3g})"

    def table(self) -> "pd.DataFrame":
        """Return one row for each word: ``word``, ``behind`` and ``before``, the largest ``behind`` first."""
        import pandas as pd

        table = pd.DataFrame({"word": self.words, "behind": self.behind, "before": self.before})
        return table.sort_values("behind", ascending=False, kind="stable", ignore_index=True)

    def factors(self, words: Sequence[str]) -> Float[np.ndarray, "words 2"]:
        """Return the numbers (behind, before) of other words; 0 for words without."""
        own = np.fromiter((self._number_of.get(word, -1) for word in words), dtype=np.int64, count=len(words))
        table = np.stack([np.append(self.behind, 0.0), np.append(self.before, 0.0)], axis=1)
        return table[own]


class Attention:
    """The weights of occurrences over numbered words: modifiers, neighbours and the end of the text.

    Parameters
    ----------
    modifiers, neighbours
        What scales.
    words
        The words by their numbers.
    """

    def __init__(self, modifiers: Modifiers, neighbours: Neighbours, words: Sequence[str]) -> None:
        self.modifiers, self.neighbours = modifiers, neighbours
        self.roles = roles_of(words)
        self._factors = neighbours.factors(words) if neighbours.words else None

    @property
    def idle(self) -> bool:
        """Whether every occurrence counts once."""
        return self.modifiers.idle and self.neighbours.idle

    def weights(self, numbers: Units, ways: Int[np.ndarray, " units"] | None = None) -> Float[np.ndarray, " units"]:
        """Return the weight of each word of a run, apart from its position in the text.

        Parameters
        ----------
        numbers
            The words by their numbers; -1 ends a sentence, and each text.
        ways
            How they follow modifiers, if it is known.
        """
        weights = np.ones(len(numbers))
        if not self.modifiers.idle:
            weights = self.modifiers.weights(followers(numbers, self.roles)[0] if ways is None else ways)
        return weights if self._factors is None else weights * scales(numbers, self._factors)

    def closing(self, numbers: Units, rows: Int[np.ndarray, " units"]) -> Float[np.ndarray, " units"]:
        """Return the weight of each position in whole texts; ``rows`` is the text of each word."""
        if not self.neighbours.closing:
            return np.ones(len(numbers))
        return 1.0 + self.neighbours.closing * closeness(numbers, rows)


def scales(numbers: Units, factors: Float[np.ndarray, "words 2"]) -> Float[np.ndarray, " units"]:
    """Return ``1 + sum of the numbers of the neighbours``, from 0 to 3, for each word of a run.

    Parameters
    ----------
    numbers
        The words by their numbers; -1 ends a sentence, and each text.
    factors
        From :meth:`Neighbours.factors`, by number.
    """
    behind, before = np.append(factors, [[0.0, 0.0]], axis=0)[numbers].T
    sentence = np.cumsum(numbers < 0)
    total = np.ones(len(numbers))
    for distance in range(1, REACH + 1):
        same = sentence[distance:] == sentence[:-distance]
        total[distance:] += same * behind[:-distance]
        total[:-distance] += same * before[distance:]
    return np.clip(total, LEAST, MOST, out=total)


def closeness(numbers: Units, rows: Int[np.ndarray, " units"]) -> Float[np.ndarray, " units"]:
    """Return ``9 x^8`` minus its mean over the sentences of the text, for each word.

    ``x = (s - 1/2) / S`` for the s-th of S sentences, so a text of one sentence has 0. Sentences end with their marks,
    and words behind the last mark belong to the last sentence, so removing words does not change the x of others.
    """
    if not len(numbers):
        return np.zeros(0)
    marks = numbers < 0
    count = np.cumsum(marks)
    last = np.flatnonzero(np.append(rows[1:] != rows[:-1], True))
    first = np.append(0, last[:-1] + 1)
    before = count[first] - marks[first]
    sentences = np.maximum(count[last] - before - 1, 1)
    heights = (np.arange(sentences.max()) + 0.5) ** _EXPONENT
    text = np.repeat(np.arange(len(last)), last - first + 1)
    sentence = np.minimum(count - marks - before[text], sentences[text] - 1)
    scale = (_EXPONENT + 1.0) / sentences.astype(np.float64) ** _EXPONENT
    mean = np.cumsum(heights)[sentences - 1] / sentences
    closeness: Float[np.ndarray, " units"] = (heights[sentence] - mean[text]) * scale[text]
    return closeness
