"""A text as tokens for the layers."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.sentiment.explanation import Span


@dataclass(frozen=True)
class TokenSet:
    """A text as tokens: its distinct words with a position, and one token for all other words.

    Attributes
    ----------
    positions
        Float64 positions before the first layer.
    words
        The words in the order of the vocabulary; the last is "neutral" if there is such a token.
    weights
        Float64 number of words that each token stands for. A token of weight m acts as m equal tokens.
    spans
        For each token, the positions of its words in the original text.
    has_neutral
        Whether the last token is the neutral pole.
    """

    positions: Float[np.ndarray, "tokens dim"]
    words: tuple[str, ...]
    weights: Float[np.ndarray, " tokens"]
    spans: tuple[tuple[Span, ...], ...]
    has_neutral: bool
