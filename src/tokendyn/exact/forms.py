"""The canonical form of a sequence, which decides whether it is known and which the network reads.

``multiplicity="set"``: the distinct tokens. ``"frequency"``: the smallest multiset with the same shares. The order of
the tokens depends on the tokens alone, so that equal sequences have the same form, bit by bit.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt64

from tokendyn.exact.sequences import Sequences, bits_of
from tokendyn.exact.set_kernels import canonical_rows, find_forms, hash_forms, hash_rows

Hashes = UInt64[np.ndarray, " sequences"]


@dataclass(frozen=True)
class Forms:
    """Sequences in canonical form.

    Attributes
    ----------
    sequences
        The forms.
    row_of
        For each given token, a row of the forms that contains it.
    hashes
        One hash for each form; equal forms have equal hashes.
    """

    sequences: Sequences
    row_of: Int[np.ndarray, " tokens"]
    hashes: Hashes


def canonical(sequences: Sequences, multiplicity: str = "set") -> Forms:
    """Return the canonical forms of sequences.

    Parameters
    ----------
    sequences
        Any sequences.
    multiplicity
        ``"set"`` or ``"frequency"``, as for :func:`tokendyn.exact.compile`.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.exact.forms import canonical
    >>> from tokendyn.exact.sequences import gather
    >>> forms = canonical(gather([np.array([[1.0], [2.0], [1.0]]), np.array([[2.0], [1.0]])]))
    >>> forms.sequences.lengths.tolist(), bool(forms.hashes[0] == forms.hashes[1])
    ([2, 2], True)
    """
    bits = bits_of(sequences.tokens)
    hashes = hash_rows(bits)
    starts, rows, row_of = canonical_rows(bits, hashes, sequences.starts, multiplicity == "frequency")
    return Forms(
        sequences=Sequences(sequences.tokens[rows], starts), row_of=row_of, hashes=hash_forms(hashes[rows], starts)
    )


def reduced(sequences: Sequences, multiplicity: str = "set") -> Sequences:
    """Return the tokens of the canonical forms in the order in which they first occur."""
    bits = bits_of(sequences.tokens)
    starts, rows, _ = canonical_rows(bits, hash_rows(bits), sequences.starts, multiplicity == "frequency")
    return Sequences(sequences.tokens[np.sort(rows)], starts)  # each row number is that of the first equal token


class Table:
    """Known forms by their hash.

    Parameters
    ----------
    forms
        The known forms.
    """

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        # Stable, so that the first of equal forms is found first.
        self._order = np.argsort(forms.hashes, kind="stable")

    def find(self, forms: Forms) -> Int[np.ndarray, " sequences"]:
        """Return for each form the number of the first known one that equals it, or -1."""
        known = self._forms
        numbers: np.ndarray = find_forms(
            forms.sequences.tokens, forms.sequences.starts, forms.hashes,
            known.sequences.tokens, known.sequences.starts, known.hashes, self._order,
        )  # fmt: skip
        return numbers
