"""Texts with their labels, whatever they were read from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokendyn.errors import BadInputError, did_you_mean
from tokendyn.shown import ShortRepr

#: Longest text that is read, in bytes.
LONGEST_TEXT = 16 * 2**20


@dataclass(frozen=True, repr=False)
class LabelledTexts(ShortRepr):
    """Texts in the order of their file, with their labels if requested.

    Attributes
    ----------
    texts
        The texts as written.
    labels
        One label a text, or None.
    rows
        The row of each text in its file; the first row of data is 1, headers and empty lines are not counted.
        Empty when the texts are of no file.
    source
        Where they come from, for messages and records.
    ids
        What a column named ``id`` holds for each text; empty when there is none, or it is the text or the label.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    rows: tuple[int, ...] = ()
    source: str = "texts"
    ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int] | np.ndarray) -> "LabelledTexts":
        """Return the texts at the given places, in that order."""
        return LabelledTexts(
            texts=tuple(self.texts[row] for row in rows),
            labels=None if self.labels is None else tuple(self.labels[row] for row in rows),
            rows=tuple(self.rows[row] for row in rows) if self.rows else (),
            source=self.source,
            ids=tuple(self.ids[row] for row in rows) if self.ids else (),
        )

    def check_classes(self) -> None:
        """Raise BadInputError for every label that one text only has, such as a misspelt one."""
        counts = Counter(self.labels or ())
        kinds = [label for label, count in counts.items() if count > 1]
        problems = [
            f"row {row}: no other text has the label {label!r}, expected at least 2 of a class"
            + did_you_mean(label, kinds)
            for row, label in zip(self.rows or range(1, len(self) + 1), self.labels or (), strict=bool(self.labels))
            if counts[label] == 1
        ]
        if problems:
            raise BadInputError.first_of(self.source, problems, "rows")
