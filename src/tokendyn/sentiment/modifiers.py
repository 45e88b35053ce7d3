"""Attention that decides: negators and intensifiers lead the words next to them and scale what these add.

A word behind a negator (at most four words, in the same sentence) or right behind an intensifier follows it for one
layer, whose value matrix moves the value of the follower by a multiple of its own: ``v_j -> (1 + g) v_j``, one ``g``
for all negators and one for all intensifiers. So an occurrence weighs ``1 + g`` in the verdict, which stays an exact
sum.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

#: Words that strengthen the word behind them.
INTENSIFIERS = frozenset(
    {"very", "really", "extremely", "so", "absolutely", "truly", "incredibly", "totally", "completely", "utterly",
     "highly", "thoroughly"}
)  # fmt: skip
#: Words behind a negator, and behind an intensifier, that follow it. Of 1 to 4 words and the whole sentence, four gave
#: the best suite on the development splits of IMDb; more distant words of a sentence are mostly not meant.
NEGATOR_REACH, INTENSIFIER_REACH = 4, 1

Units = Int[np.ndarray, " units"]


@dataclass(frozen=True)
class Modifiers:
    """By how much a negator and an intensifier scale the words that follow them: the weight is ``1 + g``."""

    negator: float = 0.0
    intensifier: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is scaled."""
        return not (self.negator or self.intensifier)

    def weights(
        self, numbers: Units, negator: Bool[np.ndarray, " words"], intensifier: Bool[np.ndarray, " words"]
    ) -> Float[np.ndarray, " units"]:
        """Return the weight of each word of a run: ``1 + g`` where it follows, the sum of both where it follows two.

        Parameters
        ----------
        numbers
            The words by their numbers; -1 ends a sentence, and each text.
        negator, intensifier
            Which numbers are such words.
        """
        of_both = followers(numbers, negator, intensifier)
        weights: Float[np.ndarray, " units"] = 1.0 + self.negator * of_both[0] + self.intensifier * of_both[1]
        return weights


def followers(
    numbers: Units, negator: Bool[np.ndarray, " words"], intensifier: Bool[np.ndarray, " words"]
) -> tuple[Bool[np.ndarray, " units"], Bool[np.ndarray, " units"]]:
    """Return which words of a run follow a negator, and which an intensifier; a negator follows none."""
    place = np.arange(len(numbers))
    end = np.maximum.accumulate(np.where(numbers < 0, place, -1))
    found = []
    for modifier, reach in ((negator, NEGATOR_REACH), (intensifier, INTENSIFIER_REACH)):
        own = np.append(modifier, False)[numbers]
        last = np.maximum.accumulate(np.where(own, place, -1))
        before = np.concatenate([[-1], last[:-1]]) if len(last) else last
        found.append((before > end) & (place - before <= reach) & (numbers >= 0) & ~own)
    return found[0], found[1]
