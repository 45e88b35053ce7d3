"""The same run with more and more tokens: how much the distances change."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics import TokenFlow
from tokendyn.late import function_at
from tokendyn.particles.meanfield.check import Start
from tokendyn.particles.meanfield.model import MeanFieldRun, simulate
from tokendyn.results import Curves, Result
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

_save_refinement = function_at("tokendyn.particles.meanfield.report:save_refinement")


@dataclass(frozen=True)
class Refinement(Result):
    """The same run with n, 2n and 4n tokens.

    Attributes
    ----------
    counts
        Numbers of tokens.
    runs
        One run for each.
    changes
        Largest change of the distance curve from each number to the next.
    """

    counts: tuple[int, ...]
    runs: tuple[MeanFieldRun, ...]
    changes: tuple[float, ...]

    @classmethod
    def of(cls, runs: tuple[MeanFieldRun, ...]) -> "Refinement":
        """Return the comparison of runs with increasing numbers of tokens."""
        changes = []
        for coarse, fine in itertools.pairwise(runs):
            shared = min(len(coarse.distances), len(fine.distances))
            changes.append(float(np.abs(coarse.distances[:shared] - fine.distances[:shared]).max()))
        return cls(counts=tuple(len(run.trajectory.weights) for run in runs), runs=runs, changes=tuple(changes))

    @property
    def status(self) -> str:
        """The status of the first run that did not complete, else ``"completed"``."""
        return next((run.status for run in self.runs if run.status != "completed"), "completed")

    def describe(self) -> list[str]:
        """Return a sentence about the changes of the distances."""
        counts = ", ".join(map(str, self.counts))
        changes = ", ".join(f"{change:.2g}" for change in self.changes)
        return [f"the same start with {counts} tokens: the distances change by at most {changes}"]

    def table(self) -> "pd.DataFrame":
        """Return one row for each number of tokens."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def picture(self) -> Curves:
        """Return the distances over time for each number of tokens."""
        shared = min(len(run.distances) for run in self.runs)  # a run may have ended early
        curves = {
            counted(count, "token"): run.distances[:shared] for count, run in zip(self.counts, self.runs, strict=True)
        }
        return Curves(self.runs[0].trajectory.times[:shared], curves, "time", "W2 to the projected law", log=True)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write each run into a folder of its own in a new folder."""
        _save_refinement(self, folder, overwrite=overwrite)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each number of tokens, as JSON values."""
        rows = []
        for count, run, change in zip(self.counts, self.runs, (None, *self.changes), strict=True):
            summary = run.summary()
            names = ("resolution", "least_distance", "concentration_time", "departure_time", "crossings")
            rows.append({"tokens": count, **{name: summary[name] for name in names}, "largest_change": change})
        return rows


def refine(
    flow: TokenFlow, start: Start, count: int, times: Sequence[float] | Float[np.ndarray, " times"], **settings: Any
) -> Refinement:
    """Run n, 2n and 4n tokens of the same start and report how much the distances change.

    Parameters
    ----------
    flow, times
        See :func:`simulate`.
    start
        Returns tokens, or tokens and weights, for a number of tokens.
    count
        The smallest number, n.
    settings
        Passed on to :func:`simulate`.
    """
    counts = (count, 2 * count, 4 * count)
    runs = []
    for size in counts:
        started = start(size)
        tokens, weights = started if isinstance(started, tuple) else (started, None)
        runs.append(simulate(flow, tokens, times, weights=weights, **{"check": False, "start": start, **settings}))
    return Refinement.of(tuple(runs))
