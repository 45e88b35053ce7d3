"""Phases over several seeds: means, scatter, and how often a phase came at all."""

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
        In how many seeds it is finite, of how many.
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
        return cls(mean, deviation, int(finite.size), len(values))

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
            Estimate.of([one.least for one in phases]),
            Estimate.of([one.concentration for one in phases]),
            Estimate.of([one.metastable[0] for one in phases]),
            Estimate.of([one.metastable[1] for one in phases]),
            Estimate.of([one.departure for one in phases]),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each quantity, as JSON values."""
        rows = []
        for name in self.__dataclass_fields__:
            one: Estimate = getattr(self, name)
            mean, deviation = (x if math.isfinite(x) else None for x in (one.mean, one.deviation))
            rows.append(
                {"quantity": name.replace("_", " "), "mean": mean, "deviation": deviation, "found": one.found,
                 "seeds": one.seeds}
            )  # fmt: skip
        return rows
