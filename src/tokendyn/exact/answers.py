"""Labels for a whole file, and the records of checks and verifications."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.errors import BadInputError
from tokendyn.exact.reading import SequenceFile, with_ids
from tokendyn.exact.store import CHECK_SCHEMA, VERIFICATION_SCHEMA
from tokendyn.runs.provenance import provenance
from tokendyn.runs.table import safe_cell

if TYPE_CHECKING:
    from tokendyn.data.sequences import LabelledSequences
    from tokendyn.exact.certificate import Verification
    from tokendyn.exact.checking import InputReport
    from tokendyn.exact.transformer import ExactTransformer

#: The columns of a file of labels.
HEADER = ("id", "prediction", "known")


@dataclass(frozen=True, kw_only=True)
class FileLabels:
    """The labels of the sequences of a file.

    Attributes
    ----------
    ids
        Ids of the sequences.
    labels
        Their labels; None for unknown sequences.
    known
        Whether each is one of the sequences that the transformer was built from.
    """

    ids: tuple[str, ...]
    labels: tuple[Any, ...]
    known: tuple[bool, ...]

    def rows(self) -> Iterator[list[object]]:
        """Yield the heading and one row for each sequence, as cells that no spreadsheet evaluates as a formula."""
        yield list(HEADER)
        for name, label, known in zip(self.ids, self.labels, self.known, strict=True):
            cells = (name, "" if label is None else label, "yes" if known else "no")
            yield [safe_cell(cell) for cell in cells]


class FileReader:
    """A transformer and a file, read in the same way as the file that it was built from.

    Attributes
    ----------
    data
        The sequences of the file; a text without a known word is one without a token.
    known
        Whether each is one of the sequences that the transformer was built from.
    """

    def __init__(self, model: "ExactTransformer", file: SequenceFile) -> None:
        import numpy as np

        if not model.labels:
            raise BadInputError(
                "the model turns sequences into sequences and has no labels; use exact.load(...).predict from Python"
            )
        self.model = model
        self.data: LabelledSequences = file.read(None, allow_empty=True)
        sizes = [len(tokens) for tokens in self.data.sequences]
        self._readable = [index for index, size in enumerate(sizes) if size or self.data.words is None]
        self._sequences = [self.data.sequences[index] for index in self._readable]
        self.known: np.ndarray = np.zeros(len(self.data), dtype=bool)
        with file.naming(tuple(self.data.ids[index] for index in self._readable)):
            if self._sequences:
                self.known[self._readable] = model.is_known(self._sequences)

    def label(
        self, *, abstain: bool = True, workers: int = 1, progress: Callable[[int, int], None] | None = None
    ) -> FileLabels:
        """Label the sequences.

        Parameters
        ----------
        abstain
            Give no label to unknown sequences; else the label nearest to the network's output, which means nothing.
        workers
            Number of threads.
        progress
            Called with the sequences done and their total.
        """
        labels: list[Any] = [None] * len(self.data)
        if self._sequences:
            predictions = self.model.predict(self._sequences, abstain=abstain, workers=workers, progress=progress)
            for index, label in zip(self._readable, predictions, strict=True):
                labels[index] = label
        return FileLabels(ids=tuple(self.data.ids), labels=tuple(labels), known=tuple(map(bool, self.known)))


def check_record(
    report: "InputReport", ids: Sequence[str], *, source: str, command: str, seconds: float
) -> dict[str, Any]:
    """Return the report about the sequences of a file as JSON values, with ids in place of numbers."""
    names = ("sequences", "tokens", "dim", "shortest", "longest", "distinct_tokens", "duplicates", "ok")
    return {
        **_head(CHECK_SCHEMA, source, command, seconds),
        **{name: getattr(report, name) for name in names},
        "labels": {str(label): count for label, count in report.labels.items()},
        "contradictions": [[ids[i], ids[j]] for i, j in report.contradictions],
    }


def check_lines(report: "InputReport", ids: Sequence[str]) -> list[str]:
    """Return the report in sentences, with ids in place of numbers."""
    return [with_ids(line, ids) for line in report.describe()]


def contradiction(report: "InputReport", file: SequenceFile) -> BadInputError:
    """Return the error for contradictory labels of a file, with its remedies."""
    count = len(report.contradictions)
    several = f"{count} pairs of sequences are the same and have"
    pairs = "a pair of sequences is the same and has" if count == 1 else several
    remedies = [*report.remedies, *file.remedies(report.contradictions[0])]
    return BadInputError(
        "; ".join([f"{pairs} different labels", "keep one of each, or give them one label", *remedies])
    )


def verification_record(
    model: "ExactTransformer", verification: "Verification", *, bits: int | None, against: Path | None, source: str,
    command: str, seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """Return a verification with the certificate as JSON values.

    Parameters
    ----------
    model
        The transformer.
    verification
        The verification.
    bits
        Significant bits of the weights that suffice, if they were measured.
    against
        The file of the user's own sequences, if they were run.
    source, command, seconds
        Name of the model, the command that repeats it, and how long it took.
    """
    largest = verification.largest_difference
    return {
        **_head(VERIFICATION_SCHEMA, source, command, seconds),
        "passed": verification.passed, "exact": verification.exact, "sequences": verification.sequences,
        "wrong": list(verification.wrong), "unknown": list(verification.unknown),
        "against": None if against is None else against.name,
        "largest_difference": largest if math.isfinite(largest) else None,
        "bits": bits, "arithmetic": verification.arithmetic, "attention": verification.attention,
        "seconds": round(verification.seconds, 3), "certificate": model.certificate.to_dict(),
    }  # fmt: skip


def _head(schema: str, source: str, command: str, seconds: float) -> Mapping[str, Any]:
    origin = provenance({}, seed=None, seconds=seconds)
    return {"schema": schema, "schema_version": 1, "source": source, "command": command, "provenance": origin}
