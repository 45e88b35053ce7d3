"""Results of the mean-field experiments: a run with its companions, or the facts about a head."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tokendyn.particles.meanfield.heads import HeadTheory
from tokendyn.particles.meanfield.model import MeanFieldRun
from tokendyn.particles.meanfield.report import Companions, save_run, save_theory
from tokendyn.particles.meanfield.scatter import PhaseScatter
from tokendyn.results import Picture, Points, Result
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

#: States that phases need.
_FEWEST = 3


@dataclass(frozen=True, repr=False, kw_only=True)
class MeanFieldResult(Result):
    """A run of the mean field with its companion runs.

    Attributes
    ----------
    run
        The run.
    companions
        Refinement, further seeds, where the matrices come from.
    title
        What was run, for headings.
    """

    run: MeanFieldRun
    companions: Companions
    title: str

    @property
    def status(self) -> str:
        """How the run ended; see :class:`tokendyn.dynamics.FlowTrajectory`."""
        return self.run.trajectory.status

    @property
    def is_short(self) -> bool:
        """Whether it ended before its phases can be read."""
        return len(self.run.trajectory.times) < _FEWEST

    def table(self) -> "pd.DataFrame":
        """Return the table of the run."""
        return self.run.table()

    def picture(self) -> Picture:
        """Return the picture of the run."""
        return self.run.picture()

    def summary(self) -> dict[str, Any]:
        """Return the run in numbers, as JSON values."""
        trajectory = self.run.trajectory
        if self.is_short:
            return {"status": trajectory.status, "reason": trajectory.reason, "time": float(trajectory.times[-1])}
        return {**self.run.summary(), **self.companions.record()}

    def describe(self) -> list[str]:
        """Return the run in sentences."""
        trajectory, asks = self.run.trajectory, self.run.asks
        if self.is_short:
            return [f"{trajectory.status}: {trajectory.reason}; the states before that are kept"]
        lines = list(self.run.describe())
        if self.run.flow.inverse_temperature == 0:
            lines.append(
                "note: at beta = 0 every token attends to all alike: the theory of low temperature says nothing"
            )
        for row in self.companions.refinement if asks else []:
            change = "" if row["largest_change"] is None else f", distances change by up to {row['largest_change']:.2g}"
            lines.append(f"{counted(row['tokens'], 'token')}: least distance {row['least_distance']:.4g}{change}")
        if self.companions.seeds and asks:
            scatter = PhaseScatter.of([phases for _, phases in self.companions.seeds])
            lines.append(
                f"over {len(self.companions.seeds)} seeds: least distance {scatter.least}, at t = "
                f"{scatter.concentration}, departure {scatter.departure}"
            )
        return lines

    def save(
        self, folder: str | Path, *, animation: Literal["gif", "mp4"] | None = "gif", report: bool = True,
        command: str = "", overwrite: bool = False,
    ) -> None:  # fmt: skip
        """Write the run into a new folder; see :func:`tokendyn.particles.meanfield.report.save_run`."""
        if self.is_short:
            self.run.trajectory.save(folder, overwrite=overwrite)
            return
        save_run(
            self.run, folder, title=self.title, companions=self.companions, animation=animation, report=report,
            command=command, overwrite=overwrite,
        )  # fmt: skip


@dataclass(frozen=True, repr=False, kw_only=True)
class HeadFacts(Result):
    """The theory of an attention head, without a run.

    Attributes
    ----------
    theory
        The theory.
    words
        The head in words.
    facts
        Tables by heading.
    beta
        The inverse temperature.
    """

    theory: HeadTheory
    words: str
    facts: Mapping[str, Sequence[Mapping[str, Any]]]
    beta: float

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def table(self) -> "pd.DataFrame":
        """Return one row for each fact."""
        import pandas as pd

        return pd.DataFrame([{"heading": heading, **row} for heading, rows in self.facts.items() for row in rows])

    def picture(self) -> Points:
        """Return the eigenvalues of ``V B^T`` in the plane."""
        values = self.theory.projection.eigenvalues
        return Points(values.real, values.imag, xlabel="real part", ylabel="imaginary part")

    def summary(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return {"inverse_temperature": self.beta if math.isfinite(self.beta) else None, "facts": self.facts}

    def describe(self) -> list[str]:
        """Return the name of the head; the outline of the experiment describes it."""
        return [f"the theory of {self.words}, V through O"]

    def save(
        self, folder: str | Path, *, animation: Literal["gif", "mp4"] | None = None, report: bool = True,
        command: str = "", overwrite: bool = False,
    ) -> None:  # fmt: skip
        """Write the facts with a figure and a page; see :func:`tokendyn.particles.meanfield.report.save_theory`."""
        save_theory(self.theory, folder, title=self.words, facts=self.facts, command=command, overwrite=overwrite)
