"""Errors of sequences, labels and certificates, each with its position and a remedy."""

from tokendyn.errors import BadInputError, TokendynError


class ContradictoryLabelsError(BadInputError):
    """Two sequences are the same to the transformer and have different labels.

    Attributes
    ----------
    first, second
        Numbers of the two sequences, counted from 0.
    """

    def __init__(self, message: str, first: int, second: int) -> None:
        super().__init__(message)
        self.first, self.second = first, second


class SeparationError(BadInputError):
    """Two sequences of different labels cannot be separated along the chosen direction.

    Attributes
    ----------
    first, second
        Numbers of the two sequences, counted from 0.
    gap
        The largest distance along the direction between a token of one and the nearest token of the other.
    needed
        The distance that the certificate, or ``min_margin``, requires.
    """

    def __init__(self, message: str, first: int, second: int, gap: float, needed: float) -> None:
        super().__init__(message)
        self.first, self.second, self.gap, self.needed = first, second, gap, needed


class PrecisionError(BadInputError):
    """The floating-point type is too coarse for these tokens or for this number of sequences."""


class OutputLengthError(BadInputError):
    """An output sequence is longer than the number of distinct tokens of its input.

    Attributes
    ----------
    sequence
        Number of the sequence, counted from 0.
    """

    def __init__(self, message: str, sequence: int) -> None:
        super().__init__(message)
        self.sequence = sequence


class CertificateError(TokendynError, ValueError):
    """A run, or the settings of a run, are outside the range of the certificate."""

    exit_code = 2


class CoverageWarning(UserWarning):
    """A transformer was run on sequences that its certificate does not cover."""
