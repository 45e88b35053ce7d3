"""The properties of the weights of every head of a model, as a result of its own: no text is needed."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tokendyn.experiments import Experiment, ProgressCallback
from tokendyn.models.source import Model, open_model
from tokendyn.models.weights import head_weights
from tokendyn.results import Heat, Result
from tokendyn.results.files import write_into
from tokendyn.runs.files import new_folder
from tokendyn.runs.provenance import provenance
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.runs.checkpoint import Checkpoint
    from tokendyn.show.report import Report


@dataclasses.dataclass(frozen=True)
class HeadTable(Result, kind="head-table"):
    """The heads of a model by their weights alone.

    Attributes
    ----------
    source
        The model.
    family
        Which family of models its parts were read as.
    weights
        By name one value a head, of :func:`tokendyn.models.head_weights`.
    notes
        Notes to read before relying on the result.
    provenance
        Versions, machine kind, wall time.
    """

    source: str
    family: str
    weights: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def table(self) -> "pd.DataFrame":
        """Return one row a head."""
        import pandas as pd

        return pd.DataFrame(dict(self.weights))

    def summary(self) -> dict[str, Any]:
        """Return the table in numbers."""
        trace = self.weights["value_trace"]
        facts: dict[str, Any] = {"status": self.status, "source": self.source, "family": self.family}
        facts |= {"layers": int(self.weights["layer"].max()) + 1, "heads": len(trace)}
        return facts | {"attracting": int((trace > 0).sum()), "repelling": int((trace < 0).sum())}

    def describe(self) -> list[str]:
        """Return common properties and differences of the heads in sentences."""
        facts, weights = self.summary(), self.weights
        lines = [
            f"{counted(facts['layers'], 'layer')}, {counted(facts['heads'], 'head')} of {self.source} ({self.family}), "
            "from the weights alone",
            f"{facts['attracting']} heads attract (positive trace of V), {facts['repelling']} repel.",
        ]
        for name, what in (
            ("beta", "inverse temperature of unit tokens"),
            ("score_norm", "largest singular value of B"),
            ("score_symmetric", "share of the symmetric part of B"),
            ("turn", "degrees by which V turns the dominant directions of V B^T"),
        ):
            known = weights[name][np.isfinite(weights[name])]
            if len(known):
                low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
                beside = "" if low == high else f" (quartiles {low:.3g} and {high:.3g})"
                lines.append(f"{what}: {middle:.3g}{beside}")
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def picture(self) -> Heat:
        """Return the trace of V of every head, over its largest singular value and the dimensions of a head."""
        layers, heads = self.weights["layer"].max() + 1, self.weights["head"].max() + 1
        share = self.weights["value_trace"] / self.weights["value_norm"]
        return Heat(
            values=share.reshape(layers, heads), rows=tuple(map(str, range(layers))),
            columns=tuple(map(str, range(heads))), xlabel="head", ylabel="layer",
            name="trace of V over its largest singular value",
        )  # fmt: skip

    def page(self, pictures: Path, *, title: str = "") -> "Report":
        """Return the page of :meth:`report`; ``pictures`` is an empty folder for files that it is made of."""
        return super().page(pictures, title=title or f"The heads of {self.source}")

    def save(self, folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write ``result.json``, ``weights.csv`` and ``report.html``.

        Parameters
        ----------
        folder
            Folder to write; it appears only when it is complete; ``tokendyn.load(folder)`` reads it.
        command
            Command that repeats it, for the record.
        overwrite
            Replace an existing folder.

        Raises
        ------
        OutputError
            If the folder exists and ``overwrite`` is not set, or cannot be written.
        """
        from tokendyn.show import write_report
        from tokendyn.show.report import repeated

        with new_folder(folder, overwrite=overwrite) as temporary:
            write_into(self, temporary, command=command)
            self.table().to_csv(temporary / "weights.csv", index=False)
            write_report(repeated(self.page(temporary), command), temporary / "report.html")


def head_table(model: Model | str | Path, *, double: bool = False, part: str = "") -> HeadTable:
    """Return the properties of the weights of every head: temperature, spectra, near-invariance, words; without a text.

    Parameters
    ----------
    model
        A folder with a trained model, or one that is open.
    double
        Open it in float64.
    part
        ``"encoder"`` or ``"decoder"`` of a model with both.

    Raises
    ------
    BadInputError
        If the model cannot be used, or its family is not known.
    """
    began = time.perf_counter()
    opened = model if isinstance(model, Model) else open_model(model, double=double, part=part)
    weights = head_weights(opened)
    notes = []
    if opened.not_bilinear:
        notes.append(f"temperature and measures of B are not known: {opened.not_bilinear}")
    if "reads" not in weights:
        notes.append("no words are named: the model has none of its own, or embeddings of another size")
    return HeadTable(
        source=opened.source, family="" if opened.family is None else opened.family.name, weights=weights,
        notes=tuple(notes),
        provenance=provenance({"part": opened.part}, seed=None, seconds=time.perf_counter() - began),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingHeads(Experiment[HeadTable]):
    """The heads of a trained model by their weights alone: ``tokendyn inspect MODEL --all-heads``.

    Parameters
    ----------
    model
        Folder with config.json and safetensors weights.
    all_heads
        Is set.
    double
        Compute in float64.
    part
        Half of a model that has both: encoder or decoder.
    """

    command: ClassVar[str] = "inspect"

    model: Path = dataclasses.field(kw_only=False)
    all_heads: bool = False
    double: bool = False
    part: str = ""

    def folder(self) -> Path:
        """Return a folder that is named after the model, where the command runs."""
        return Path(f"{self.model.resolve().stem}-heads")

    def outline(self) -> Sequence[str]:
        """Return a description of the reading."""
        return (f"reading the heads of {self.model}",)

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> HeadTable:
        """Read them.

        Parameters
        ----------
        progress
            Called when the model is open, and when all is read.
        checkpoint, budget
            Not used.
        """
        opened = open_model(self.model, double=self.double, part=self.part)
        if progress is not None:
            progress(0, 1)
        table = head_table(opened)
        if progress is not None:
            progress(1, 1)
        return table

    def write(self, result: HeadTable, folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write result, table and page."""
        result.save(folder, command=command, overwrite=overwrite)
