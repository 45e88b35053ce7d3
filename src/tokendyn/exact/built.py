"""The part of a built transformer that certificate, radii and explanations read.

They name this protocol in place of :class:`tokendyn.exact.ExactTransformer`, which makes them.
"""

from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.exact.construction import Construction
from tokendyn.exact.sequences import Given, Sequences
from tokendyn.exact.weights import Weights


class Built(Protocol):
    """A built transformer as numbers; the attributes are those of :class:`tokendyn.exact.ExactTransformer`."""

    @property
    def construction(self) -> Construction:
        """Weights, channels and margins."""

    @property
    def weights(self) -> Weights:
        """The weights by nonzeros."""

    @property
    def labels(self) -> tuple[Any, ...]:
        """The labels by number; none for sequence to sequence."""

    @property
    def codes(self) -> Int[np.ndarray, " sequences"]:
        """Label number of each sequence."""

    @property
    def sequences(self) -> Sequences:
        """The sequences that it was built from."""

    @property
    def targets(self) -> Float[np.ndarray, "tokens outputs"]:
        """The final output that each of their tokens must have."""

    @property
    def strategy(self) -> str:
        """Name of the construction."""

    @property
    def attention(self) -> str:
        """``"hardmax"`` or ``"softmax"``."""

    @property
    def beta(self) -> float | None:
        """The softmax's inverse temperature."""

    @property
    def dtype(self) -> str:
        """``"float32"`` or ``"float64"``."""

    @property
    def input_dim(self) -> int:
        """Coordinates of a token."""

    @property
    def positions(self) -> bool:
        """Whether positions count."""

    @property
    def multiplicity(self) -> str:
        """``"set"`` or ``"frequency"``."""

    def prepare(self, sequences: Given) -> Sequences:
        """Check sequences and convert them into the form that the network reads."""

    def is_known(self, sequences: Given) -> Bool[np.ndarray, " sequences"]:
        """Return which sequences it was built from."""

    def nearest(self, output: float) -> int:
        """Return the number of the label nearest to an output."""

    def for_form(self, form: Sequences, label: int) -> Self:
        """Return the same network as if it had been built from one sequence in canonical form."""

    def save(self, folder: str | Path) -> None:
        """Write it to a new folder."""
