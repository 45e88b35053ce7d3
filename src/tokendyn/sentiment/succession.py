"""Succession: which words have to go for the verdict to turn.

When a leader is taken out, its followers go to another leader, so its contribution is not what the verdict would
lose. The way of the remaining words through the layers is computed anew here, exactly, for each word taken out.
"""

import numpy as np
from jaxtyping import Float, Int

from tokendyn.dynamics.ragged import head_of, way_of
from tokendyn.sentiment.succession_kernels import succession

#: Words taken out at most.
AT_MOST = 32

#: Margin at which no more words are taken out: of two classes, the other one then has the probability .73.
TURNED = -1.0

#: Of the words that lead others, so many of largest support and of largest value are tried for the first to go.
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
    r"""Take out word after word, each time the one without which the verdict's margin is least (our own).

    The margin is the score of the verdict less the largest score of another class (of two classes: the logit
    towards the verdict). A word that leads nobody at any layer changes nobody's way: without it the mean of the
    last places is :math:`(\sum_i p_i z_i(K) - p_j z_j(K)) / (1 - p_j)`. Words that lead others are taken out on
    trial, those of largest support first, and the others are run through the layers again. The margins are exact;
    the choice among words is greedy, so a shorter list may exist.

    Parameters
    ----------
    positions, weights
        Float64 tokens of the text and how often each occurs.
    words
        The first so many tokens may be taken out (the neutral pole may not).
    alpha, layers
        Of the model.
    gain, bias
        Of the decoder; one bias for two classes, else one a class.
    verdict
        Number of the predicted class.
    at_most
        Words taken out at most.

    Returns
    -------
    order
        Int64 tokens in the order of being taken out, until the margin is below :data:`TURNED` or no more word
        lowers it.
    margins
        Float64 margin without this word and those before it; negative once the verdict has turned.
    """
    directions, offsets = _against_others(positions.shape[1], gain, bias, verdict)
    most = min(at_most, words)
    order, margins = np.empty(most, np.int64), np.empty(most)
    core = way_of((alpha,) * layers), head_of(None, None, positions.shape[1])
    count = succession(
        np.ascontiguousarray(positions.T), weights, words, core, layers, directions, offsets,
        _LOOKED_AT, TURNED, most, order, margins,
    )  # fmt: skip
    return order[:count], margins[:count]


def _against_others(
    dim: int, gain: float, bias: Float[np.ndarray, " poles"], verdict: int
) -> tuple[Float[np.ndarray, "others dim"], Float[np.ndarray, " others"]]:
    """Return direction and offset of the verdict's score less that of each other class."""
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
