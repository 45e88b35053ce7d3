"""A check of sequences and labels before anything is built, with every problem at once."""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tokendyn.data.labels import encode_labels
from tokendyn.errors import LISTED
from tokendyn.exact.directions import candidates
from tokendyn.exact.sequences import Given, contradictions, gather, remedies, token_sets, unique_sets, with_labels
from tokendyn.results import Bars, Result
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class InputReport(Result, kind="exact-input-report"):
    """The result of a check of sequences and labels.

    Attributes
    ----------
    sequences, tokens, dim
        How many sequences and tokens, and coordinates of a token.
    shortest, longest
        Tokens of the shortest and the longest sequence.
    labels
        How often each label occurs.
    distinct_tokens
        Number of distinct tokens.
    duplicates
        Sequences whose set of tokens occurred before, with the same label.
    contradictions
        Pairs of sequences that are the same and have different labels.
    smallest_gap
        The smallest distance between two tokens on the first direction that would be tried, and what it is called.
    remedies
        What would distinguish the first of those pairs, beside keeping one of the two.
    """

    sequences: int
    tokens: int
    dim: int
    shortest: int
    longest: int
    labels: dict[Any, int]
    distinct_tokens: int
    duplicates: int
    contradictions: tuple[tuple[int, int], ...]
    smallest_gap: tuple[float, str]
    remedies: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the labels can be learned: no contradiction."""
        return not self.contradictions

    @property
    def status(self) -> str:
        """``"failed"`` when sequences contradict each other, else ``"completed"``."""
        return "completed" if self.ok else "failed"

    def table(self) -> "pd.DataFrame":
        """Return one row for each label with its number of occurrences."""
        import pandas as pd

        return pd.DataFrame({"label": list(self.labels), "sequences": list(self.labels.values())})

    def picture(self) -> Bars:
        """Return the number of occurrences of each label."""
        return Bars([str(label) for label in self.labels], [*map(float, self.labels.values())], "sequences")

    def describe(self) -> list[str]:
        """Return the result in a few sentences."""
        shown = ", ".join(f"{label!r} {count}" for label, count in list(self.labels.items())[:LISTED])
        more = f" and {len(self.labels) - LISTED} more" if len(self.labels) > LISTED else ""
        lines = [
            f"{counted(self.sequences, 'sequence')}, {self.shortest} to {counted(self.longest, 'token')} of "
            f"{counted(self.dim, 'coordinate')}, "
            f"{self.tokens} in all, {self.distinct_tokens} distinct",
            f"labels: {shown}{more}",
            f"smallest gap along {self.smallest_gap[1]}: {self.smallest_gap[0]:.3g}",
        ]
        if self.duplicates:
            verb = "repeats" if self.duplicates == 1 else "repeat"
            lines.append(f"{counted(self.duplicates, 'sequence')} {verb} an earlier one with the same label")
        for i, j in self.contradictions[:LISTED]:
            lines.append(f"sequences {i} and {j} are the same and have different labels")
        if len(self.contradictions) > LISTED:
            lines.append(f"and {len(self.contradictions) - LISTED} more such pairs")
        return lines


def check(
    sequences: Given,
    labels: Iterable[Hashable] | None = None,
    *,
    dtype: str = "float64",
    multiplicity: str = "set",
    positions: bool = False,
    direction: str = "auto",
    seed: int = 0,
) -> InputReport:
    """Search for duplicates, contradictions and gaps, without building anything.

    Parameters
    ----------
    sequences, labels, dtype, multiplicity, positions, direction, seed
        As for :func:`tokendyn.exact.compile`.

    Raises
    ------
    BadInputError
        If sequences are empty, have NaN or infinity, or shapes do not fit; all problems are listed.

    Examples
    --------
    >>> from tokendyn import exact
    >>> import numpy as np
    >>> same = np.array([[0.1, 2.0], [0.3, 1.0]])
    >>> report = exact.check([same, same[::-1]], ["x", "y"])
    >>> report.ok
    False
    >>> report.describe()[-1]
    'sequences 0 and 1 are the same and have different labels'
    """
    sequences, labels = with_labels(sequences, labels)
    ready = gather(sequences, dtype, positions=positions)
    names, codes = encode_labels(labels, len(ready))
    sets = token_sets(ready)
    first, which = unique_sets(sets, frequencies=multiplicity == "frequency")
    pairs = contradictions(which, first, codes)
    line = next(iter(candidates(ready.tokens[sets.rows], direction, seed)))
    values = np.unique(line.values)
    gap = float(np.diff(values).min()) if len(values) > 1 else float("inf")
    lengths = ready.lengths
    counted = Counter(codes.tolist())
    return InputReport(
        sequences=len(ready),
        tokens=len(ready.tokens),
        dim=int(ready.tokens.shape[1]) - positions,
        shortest=int(lengths.min()),
        longest=int(lengths.max()),
        labels={name: counted[number] for number, name in enumerate(names)},
        distinct_tokens=len(sets.rows),
        duplicates=len(ready) - len(first) - len(pairs),
        contradictions=tuple((int(i), int(j)) for i, j in pairs),
        smallest_gap=(gap, line.name),
        remedies=tuple(remedies(sequences, ready, pairs[0], positions)) if len(pairs) else (),
    )
