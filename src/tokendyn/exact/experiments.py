"""What ``tokendyn classify build`` does, as an experiment: a transformer in closed form from labelled sequences."""

import dataclasses
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tokendyn.exact.reading import SequenceFile
from tokendyn.experiments import Experiment, ProgressCallback

if TYPE_CHECKING:
    from tokendyn.data.sequences import LabelledSequences
    from tokendyn.exact.outcome import BuiltModel
    from tokendyn.exact.transformer import ExactTransformer
    from tokendyn.runs.checkpoint import Checkpoint


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compilation(Experiment["BuiltModel"]):
    """Build a transformer that gives every sequence its label, verify it, and write it as a model folder.

    Parameters
    ----------
    sequences
        JSON lines {"id": ..., "tokens": [[...]], "label": ...}, or CSV/TSV with the columns id, label and
        coordinates, one token a row; with `text`, a file of texts. All also .gz.
    label
        Name of the label.
    text
        Name of a column of texts whose words are the tokens.
    hash_dim
        Coordinates of a hashed word.
    embedding
        File with a vector for each word (CSV with a column of names), instead of hashing.
    keep_case
        Whether capital letters distinguish words.
    keep_punctuation
        Whether punctuation marks are words too.
    strategy
        auto, narrow, fused, bank, half-space, slab, fingerprint, hat, strict.
    attention
        hardmax or softmax.
    dtype
        float64 or float32.
    direction
        The line on which tokens are compared: auto, coordinate, sparse, random.
    trials
        Directions to try; the one with the fewest questions is taken.
    min_margin
        Smallest gap that a decision may rest on.
    multiplicity
        set, or frequency if the shares of the tokens count.
    positions
        Whether the order of tokens counts.
    seed
        Seed of random directions.
    workers
        Threads of the verification.
    """

    command: ClassVar[str] = "classify build"
    unit: ClassVar[str] = "sequences verified"

    sequences: Path = dataclasses.field(kw_only=False)
    label: str = "label"
    text: str | None = None
    hash_dim: int = 3
    embedding: Path | None = None
    keep_case: bool = False
    keep_punctuation: bool = False
    strategy: str = "auto"
    attention: str = "hardmax"
    dtype: str = "float64"
    direction: str = "auto"
    trials: int = 1
    min_margin: float = 0.0
    multiplicity: str = "set"
    positions: bool = False
    seed: int = 0
    workers: int = 1

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Build the transformer without verifying it; return its sizes."""
        stats = self._compiled(certify=False).stats
        return (
            f"would build {stats.strategy}, {stats.blocks} blocks, from {stats.sequences} sequences with "
            f"{stats.labels} labels",
        )

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "BuiltModel":
        """Build the transformer and verify it.

        Parameters
        ----------
        progress
            Called with sequences verified, and how many there are.
        checkpoint, budget
            Not used: a transformer is exact or it is none.
        """
        from tokendyn.exact.outcome import BuiltModel

        began = time.perf_counter()
        model = self._compiled(certify=True, progress=progress)
        model.settings["input"] = self._file.settings()
        return BuiltModel(model=model, seconds=time.perf_counter() - began)

    def write(self, result: "BuiltModel", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write the transformer as a model folder; see :func:`tokendyn.exact.save`."""
        result.save(folder, command=command, overwrite=overwrite)

    def advice(self, folder: Path) -> str:
        """Return how to check the transformer."""
        return f"check it in exact arithmetic: tokendyn classify verify {folder} --exact"

    def _compiled(self, *, certify: bool, progress: ProgressCallback | None = None) -> "ExactTransformer":
        from tokendyn.exact.compiler import compile as compile_transformer

        data = self._data
        with self._file.naming(data.ids):
            return compile_transformer(
                data.sequences, data.labels or (), strategy=self.strategy, attention=self.attention, dtype=self.dtype,
                direction=self.direction, trials=self.trials, seed=self.seed, min_margin=self.min_margin,
                multiplicity=self.multiplicity, positions=self.positions, certify=certify, workers=self.workers,
                progress=progress,
            )  # fmt: skip

    @cached_property
    def _data(self) -> "LabelledSequences":
        return self._file.read(self.label)

    @property
    def _file(self) -> SequenceFile:
        return SequenceFile(
            path=self.sequences, label=self.label, text=self.text, hash_dim=self.hash_dim, embedding=self.embedding,
            keep_case=self.keep_case, keep_punctuation=self.keep_punctuation,
        )  # fmt: skip
