"""Attention that decides: negators, contrasts and intensifiers lead the words beside them and scale their effect.

A word behind a negator (at most four words, in the same sentence, up to a contrast), before or behind a contrast such
as "but" (in the same sentence, up to the next contrast), or right behind an intensifier follows it for one layer, whose
value matrix moves the value of the follower by a multiple of its own: ``v_j -> (1 + g) v_j``, one ``g`` for each of the
four kinds. So an occurrence weighs ``1 + g`` in the verdict, which stays an exact sum. A word follows one modifier: a
negator first, then a contrast, then an intensifier ("not very good" is "not good"). A negator behind a negator follows
it too, and leads no word: two negations cancel.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.sentiment.tokens import is_negator

#: Words that strengthen the word behind them.
INTENSIFIERS = frozenset(
    {"very", "really", "extremely", "so", "absolutely", "truly", "incredibly", "totally", "completely", "utterly",
     "highly", "thoroughly"}
)  # fmt: skip
#: Words before the main statement of a sentence.
CONTRASTS = frozenset({"but", "however", "yet"})
#: Number of words behind a negator, and behind an intensifier, that follow it. Among 1 to 4 words and the whole
#: sentence, four words gave the best suite for negators on the development splits of IMDb; more distant words of a
#: sentence are mostly not negated. A contrast has no such bound: with a bound of four words, removing "this" from "but
#: this is a warm, brilliant film" moved "brilliant" within reach, and a word without meaning had a large effect.
NEGATOR_REACH, INTENSIFIER_REACH = 4, 1
#: Roles of words.
_NEGATOR, _CONTRAST, _INTENSIFIER = 1, 2, 3
#: Ways of following, in the order of the fields of Modifiers from 1 on; 0 is none.
_NEGATED, _INTENSIFIED, _BEFORE, _AFTER = 1, 2, 3, 4

Units = Int[np.ndarray, " units"]


@dataclass(frozen=True)
class Modifiers:
    """The factors g of modifiers: a word that follows one has the weight ``1 + g``.

    Attributes
    ----------
    negator
        For words behind a negator.
    intensifier
        For words behind an intensifier.
    before_contrast, after_contrast
        For words before, and behind, a contrast such as "but".
    """

    negator: float = 0.0
    intensifier: float = 0.0
    before_contrast: float = 0.0
    after_contrast: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is scaled."""
        return not any(astuple(self))

    def of_words(self, words: Sequence[str]) -> Bool[np.ndarray, " words"]:
        """Return which words scale others."""
        return np.zeros(len(words), dtype=bool) if self.idle else roles_of(words) > 0

    def weights(self, ways: Int[np.ndarray, " units"]) -> Float[np.ndarray, " units"]:
        """Return the weight of each word of a run, ``1 + g`` of the way in which it follows: see :func:`followers`."""
        weights: Float[np.ndarray, " ways"] = 1.0 + np.array([0.0, *astuple(self)])
        return weights[ways]


def roles_of(words: Iterable[str]) -> Int[np.ndarray, " words"]:
    """Return the role of each word: negator (1), contrast (2), intensifier (3) or none (0)."""
    return np.fromiter(map(_role, words), dtype=np.int8)


def _role(word: str) -> int:
    if is_negator(word):
        return _NEGATOR
    return _CONTRAST if word in CONTRASTS else _INTENSIFIER if word in INTENSIFIERS else 0


def followers(
    numbers: Units, roles: Int[np.ndarray, " words"]
) -> tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    """Return how each word of a run follows (0 for not, else the field of :class:`Modifiers` from 1), and its modifier.

    Parameters
    ----------
    numbers
        The words by their numbers; -1 ends a sentence, and each text.
    roles
        From :func:`roles_of`, by number.

    Returns
    -------
    ways, leaders
        The way of following, and the index of the modifier in the run, -1 for none.
    """
    place, role = np.arange(len(numbers)), np.append(roles, 0)[numbers]
    ways, leaders = np.zeros(len(numbers), dtype=np.int8), np.full(len(numbers), -1)

    def follow(way: int, inside: Bool[np.ndarray, " units"], leader: Units) -> None:
        ways[inside], leaders[inside] = way, leader[inside]

    # Later ones replace earlier ones.
    word, contrast, negator = numbers >= 0, role == _CONTRAST, role == _NEGATOR
    end = _last_of(~word)
    last = _before(role == _INTENSIFIER, end)
    follow(_INTENSIFIED, (last >= 0) & (place - last <= INTENSIFIER_REACH) & (role != _INTENSIFIER) & word, last)
    last = _before(contrast, end)
    follow(_AFTER, (last >= 0) & ~contrast & word, last)
    following = len(numbers) - 1 - _before(contrast[::-1], _last_of(~word[::-1]))[::-1]
    follow(_BEFORE, (following < len(numbers)) & ~contrast & word, following)
    last = _before(negator, _last_of(~word | contrast))
    near = (last >= 0) & (place - last <= NEGATOR_REACH) & word
    cancelled = negator & near
    follow(_NEGATED, near & (negator | ~cancelled[last]), last)
    return ways, leaders


def _last_of(marked: Bool[np.ndarray, " units"]) -> Int[np.ndarray, " units"]:
    """Return for each index the last marked one up to it, -1 for none."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))


def _before(marked: Bool[np.ndarray, " units"], end: Int[np.ndarray, " units"]) -> Int[np.ndarray, " units"]:
    """Return for each index the last marked one before it and after ``end``, -1 for none."""
    last = np.full(len(marked), -1)
    last[1:] = _last_of(marked)[:-1]
    return np.where(last > end, last, -1)
