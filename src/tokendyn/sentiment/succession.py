"""Succession: the words whose removal turns the verdict.

When a leader is removed, its followers go to another leader, so the verdict does not simply lose its contribution. The
path of the remaining words through the layers is recomputed here, exactly, for each word removed.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tokendyn.dynamics import Layer
from tokendyn.dynamics.ragged_shares import Members, Passage, passage_by_core
from tokendyn.sentiment.routing import stack_of
from tokendyn.sentiment.succession_kernels import margin_of, strongest, succession

#: Largest number of words removed.
AT_MOST = 32

#: Margin at which removal ends: with two classes, the other class then has the probability 0.73.
TURNED = -1.0

#: Among the words that lead others, this number of words of largest support, and of largest value, are tried first.
_LOOKED_AT = 3


def take_out(
    positions: Float[np.ndarray, "tokens dim"],
    weights: Float[np.ndarray, " tokens"],
    words: int,
    *,
    alpha: float,
    layers: int,
    gain: float,
    bias: Float[np.ndarray, " poles"],
    verdict: int,
    at_most: int = AT_MOST,
) -> tuple[Int[np.ndarray, " taken"], Float[np.ndarray, " taken"]]:
    r"""Remove word after word, each time the word without which the margin of the verdict is least (our own).

    The margin is the score of the verdict minus the largest score of another class (with two classes: the logit towards
    the verdict). A word that leads no other word at any layer does not change their paths: without it the mean of the
    last positions is :math:`(\sum_i p_i z_i(K) - p_j z_j(K)) / (1 - p_j)`. Words that lead others are removed on trial,
    those of largest support first, and the others are run through the layers again. The margins are exact, with ties
    decided as in :func:`tokendyn.sentiment.routing.route`; the choice among words is greedy, so a shorter list may
    exist.

    Parameters
    ----------
    positions, weights
        Float64 tokens of the text and how often each occurs.
    words
        Only the first ``words`` tokens may be removed (the neutral pole may not).
    alpha, layers
        Parameters of the model.
    gain, bias
        Parameters of the decoder; one bias for two classes, else one for each class.
    verdict
        Number of the predicted class.
    at_most
        Largest number of words removed.

    Returns
    -------
    Int64 tokens in the order of removal, until the margin is below :data:`TURNED` or no further word lowers it.
        lowers it.
    margins
        Float64 margin without this word and the words before it; negative once the verdict has turned.
    """
    directions, offsets = _against_others(positions.shape[1], gain, bias, verdict)
    most = min(at_most, words)
    order, margins = np.empty(most, np.int64), np.empty(most)
    stack = stack_of(alpha, layers, positions.shape[1])
    count = succession(
        np.ascontiguousarray(positions.T), weights, words, (stack.way, stack.head), layers, directions, offsets,
        _LOOKED_AT, TURNED, most, order, margins,
    )  # fmt: skip
    if count >= 0:
        return order[:count], margins[:count]
    return _Tied(positions, weights, stack.layers, directions, offsets).take_out(words, most)


@dataclass(frozen=True)
class _Tied:
    """A text with ties between different points, which only the core decides; as in the compiled kernels."""

    positions: Float[np.ndarray, "tokens dim"]
    weights: Float[np.ndarray, " tokens"]
    layers: tuple[Layer, ...]
    directions: Float[np.ndarray, "others dim"]
    offsets: Float[np.ndarray, " others"]

    def take_out(self, words: int, at_most: int) -> tuple[Int[np.ndarray, " taken"], Float[np.ndarray, " taken"]]:
        place, drops = np.arange(len(self.weights)), np.zeros(len(self.weights))
        order, margins = list[int](), [math.inf]
        while len(order) < at_most and margins[-1] >= TURNED:
            tries = 1 if order else _LOOKED_AT
            without = self._margins_without(place, words - len(order), tries, drops)
            out = int(without.argmin())
            if without[out] >= margins[-1]:
                break
            order.append(int(place[out]))
            margins.append(float(without[out]))
            place = np.delete(place, out)
        return np.array(order, dtype=np.int64), np.array(margins[1:], dtype=np.float64)

    def _margins_without(
        self, place: Int[np.ndarray, " left"], words: int, tries: int, drops: Float[np.ndarray, " tokens"]
    ) -> Float[np.ndarray, " words"]:
        """Return the margin without each word, infinite for words not tried; update the record of the trials."""
        passage, members = self._passage(place)
        masses, last = self.weights[place], passage.states[-1]
        total, mass, word = masses @ last, float(masses.sum()), place[:words]
        without, leads = np.full(words, np.inf), np.zeros(len(place), dtype=bool)
        numbers = np.arange(len(place))
        for leaders, ties in zip(passage.leaders, members, strict=True):
            leads[leaders[leaders != numbers]] = True
            for token, several in ties.items():
                leads[several[several != token]] = True
        for i in np.flatnonzero(~leads[:words]):
            rest = mass - masses[i] if len(place) > 1 else 0.0
            without[i] = self._margin(total - masses[i] * last[i], rest)
        worth = (self.positions[word] @ self.directions.T).min(axis=1)
        now, before, tried = self._margin(total, mass), drops[word], np.zeros(len(place), dtype=bool)
        for rank in [passage.shares[:words] * worth] * tries + [worth] * tries + [before] * tries:
            i = strongest(leads, rank, tried, words)
            if i >= 0:
                tried[i], left = True, np.delete(place, i)
                ends = self._passage(left)[0].states[-1] if len(left) else self.positions[:0]
                without[i] = self._margin(self.weights[left] @ ends, float(self.weights[left].sum()))
                drops[place[i]] = now - without[i]
        return without

    def _passage(self, left: Int[np.ndarray, " left"]) -> tuple[Passage, list[Members]]:
        return passage_by_core(self.positions[left], self.weights[left], self.layers)

    def _margin(self, total: Float[np.ndarray, " dim"], mass: float) -> float:
        return float(margin_of(total, mass, self.directions, self.offsets))


def _against_others(
    dim: int, gain: float, bias: Float[np.ndarray, " poles"], verdict: int
) -> tuple[Float[np.ndarray, "others dim"], Float[np.ndarray, " others"]]:
    """Return direction and offset of the verdict's score minus that of each other class."""
    if len(bias) == 1:
        side = 1.0 if verdict == 1 else -1.0
        directions = np.zeros((1, dim))
        directions[0, 0] = side * gain
        return directions, side * bias
    others = np.array([k for k in range(len(bias)) if k != verdict])
    directions = np.zeros((len(others), dim))
    directions[:, verdict] = gain
    directions[np.arange(len(others)), others] -= gain
    return directions, bias[verdict] - bias[others]
