"""Phases over several seeds: means, scatter, and how often a phase was reached."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokendyn.particles.meanfield.phases import Phases


@dataclass(frozen=True)
class Estimate:
    """A quantity over seeds.

    Attributes
    ----------
    mean, deviation
        Over the seeds in which it is finite; the deviation is that of one run (``n - 1``). NaN when undefined.
    found, seeds
        Number of seeds in which it is finite, and number of seeds.
    """

    mean: float
    deviation: float
    found: int
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Return the estimate of a list of values."""
        finite = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
        mean = float(finite.mean()) if finite.size else math.nan
        deviation = float(finite.std(ddof=1)) if finite.size > 1 else math.nan
        return cls(mean=mean, deviation=deviation, found=int(finite.size), seeds=len(values))

    def __str__(self) -> str:
        if not self.found:
            return "not reached"
        scatter = f" ± {self.deviation:.2g}" if math.isfinite(self.deviation) else ""
        share = "" if self.found == self.seeds else f" (in {self.found} of {self.seeds} seeds)"
        return f"{self.mean:.4g}{scatter}{share}"


@dataclass(frozen=True)
class PhaseScatter:
    """The phases of one system over seeds: see :class:`~tokendyn.particles.meanfield.Phases`."""

    least: Estimate
    concentration: Estimate
    metastable_from: Estimate
    metastable_to: Estimate
    departure: Estimate

    @classmethod
    def of(cls, phases: Sequence[Phases]) -> "PhaseScatter":
        """Return the scatter of phases, one for each seed."""
        return cls(
            least=Estimate.of([run.least for run in phases]),
            concentration=Estimate.of([run.concentration for run in phases]),
            metastable_from=Estimate.of([run.metastable[0] for run in phases]),
            metastable_to=Estimate.of([run.metastable[1] for run in phases]),
            departure=Estimate.of([run.departure for run in phases]),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each quantity, as JSON values."""
        rows = []
        for name in self.__dataclass_fields__:
            estimate: Estimate = getattr(self, name)
            mean, deviation = (x if math.isfinite(x) else None for x in (estimate.mean, estimate.deviation))
            rows.append(
                {"quantity": name.replace("_", " "), "mean": mean, "deviation": deviation, "found": estimate.found,
                 "seeds": estimate.seeds}
            )  # fmt: skip
        return rows
