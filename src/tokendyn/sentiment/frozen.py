"""A fitted classifier as a frozen model: the attributes that verdicts, exports and stores read."""

from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from tokendyn.sentiment.groups import Views
from tokendyn.sentiment.lookup import Lookup
from tokendyn.sentiment.modifiers import Modifiers
from tokendyn.sentiment.neighbours import Neighbours
from tokendyn.sentiment.vocabulary import Ragged

#: Entries of the training record in a folder or an export.
SCHEMA = "tokendyn-sentiment"
SCHEMA_VERSION = 2


class FrozenModel(Protocol):
    """The fitted attributes of a :class:`tokendyn.sentiment.LeaderClassifier`; they are described there."""

    alpha: float
    layers: int
    ngrams: int
    negation: bool
    tokeniser: Any
    transfer: float
    classes_: np.ndarray
    words_: tuple[str, ...]
    values_: Float[np.ndarray, "words columns"]
    embedding_: Float[np.ndarray, "words_and_pole dim"]
    decoder_: Float[np.ndarray, "*classes dim"]
    intercept_: Any
    phantom_: float
    doubt_: float
    modifiers_: Modifiers
    neighbours_: Neighbours
    _gain: float
    _linear: bool
    _lookup: Lookup
    _views: Views

    def _shares(self, ragged: Ragged) -> Float[np.ndarray, " entries"]:
        """Return the share of each entry at transfer 0."""

    def _of_text(self, ragged: Ragged) -> Float[np.ndarray, " entries"]:
        """Return the share of each entry among the words of its text, phantom words included."""

    def _probabilities(
        self, logits: Float[np.ndarray, "*scores"], lengths: Float[np.ndarray, " texts"]
    ) -> Float[np.ndarray, "texts number"]:
        """Return the probabilities of the classes for texts with the given numbers of words."""

    def _decode(self, ragged: Ragged, shares: Float[np.ndarray, " entries"]) -> Float[np.ndarray, "*scores"]:
        """Return the logits, or the scores of several classes, for the shares of the words."""
