"""Phase diagrams over (beta, t) and over (beta, spectrum of V), run by run, resumable."""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics import Progress
from tokendyn.errors import BadInputError
from tokendyn.late import function_at
from tokendyn.particles.meanfield.constants import BoundConstants, fit_constants
from tokendyn.particles.meanfield.law_run import LawRun
from tokendyn.particles.meanfield.model import MeanFieldRun, Verdict
from tokendyn.particles.meanfield.phases import DEPARTED, Phases, detect_phases
from tokendyn.particles.meanfield.scatter import PhaseScatter
from tokendyn.particles.meanfield.theory import closure_beside, closure_of
from tokendyn.results import Curves, Heat, Result
from tokendyn.results.fields import check_fields
from tokendyn.runs.files import new_folder, read_json, write_json
from tokendyn.words import some_are

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.show.report import Report

SCHEMA, SCHEMA_VERSION = "tokendyn-phase", 2
_RUN_SCHEMA = "tokendyn-phase-run"
#: Tokens from which the closure beside a law takes means and variances of its start.
_CLOSURE_TOKENS = 4000
#: Subfolder of the runs in the folder of a diagram.
RUNS = "runs"

_write_diagram = function_at("tokendyn.particles.meanfield.diagram_report:write_diagram")
_saved_report = function_at("tokendyn.particles.meanfield.diagram_report:saved_report")


@dataclass(frozen=True)
class Point:
    """One run of a diagram: inverse temperature, ratio v2/v1 (None in a diagram over time), seed."""

    beta: float
    ratio: float | None
    seed: int

    @property
    def file(self) -> str:
        """Name of its file."""
        ratio = "" if self.ratio is None else f"ratio-{self.ratio:.12g}_"
        return f"beta-{self.beta:.12g}_{ratio}seed-{self.seed}.json"


@dataclass(frozen=True)
class PointResult:
    """The result of one run.

    Attributes
    ----------
    point
        The point of the diagram.
    status, resolution, needed
        Status of the integration, status of the guard, and number of tokens that would suffice.
    verdict
        What the run shows.
    changes
        Relative changes of least distance and departure from the run of another size; NaN without one.
    phases
        Phases of the distances; meaningless where the verdict is ``"nothing"``.
    crossings, stragglers
        Numbers of tokens across the separatrix, and left to themselves, at the least distance.
    times, distances
        The curve.
    closure_times, closure_distances
        The curve of the closure; empty where it does not apply.
    """

    point: Point
    status: str
    resolution: str
    needed: float
    verdict: Verdict
    changes: tuple[float, float]
    phases: Phases
    crossings: int
    stragglers: int
    times: Float[np.ndarray, " times"]
    distances: Float[np.ndarray, " times"]
    closure_times: Float[np.ndarray, " closure"]
    closure_distances: Float[np.ndarray, " closure"]

    @classmethod
    def of(cls, point: Point, run: "MeanFieldRun | LawRun") -> "PointResult":
        """Return the result of a run."""
        if isinstance(run, LawRun):
            return cls._of_law(point, run)
        model = closure_beside(run) if run.asks else None
        empty, guard = np.empty(0), run.resolution
        return cls(
            point=point,
            status=run.trajectory.status,
            resolution=guard.status,
            needed=float(guard.needed),
            verdict=run.verdict,
            changes=(guard.least_change, guard.departure_change),
            phases=run.phases,
            crossings=int(run.crossings[run.best]),
            stragglers=guard.stragglers,
            times=run.trajectory.times,
            distances=run.distances,
            closure_times=empty if model is None else model.times[::10],
            closure_distances=empty if model is None else model.distances[::10],
        )

    @classmethod
    def _of_law(cls, point: Point, run: LawRun) -> "PointResult":
        """Return the result of a law, which has no tokens that could be too few."""
        times = run.times
        phases = detect_phases(times, run.distances)
        model = closure_of(run.flow, run.law.tokens(_CLOSURE_TOKENS, 0), None, times)
        empty = np.empty(0)
        near: Verdict = "stays" if math.isinf(phases.departure) else "leaves"
        return cls(
            point=point,
            status="completed",
            resolution="resolved" if run.resolved else "unresolved",
            needed=math.nan,
            verdict="unresolved" if not run.resolved else near if phases.least <= DEPARTED else "never",
            changes=(math.nan, math.nan),
            phases=phases,
            crossings=0,
            stragglers=0,
            times=times,
            distances=run.distances,
            closure_times=empty if model is None else model.times[::10],
            closure_distances=empty if model is None else model.distances[::10],
        )

    def write(self, folder: Path) -> None:
        """Write the result as one file, which appears only when it is complete."""
        record = {"schema": _RUN_SCHEMA, "schema_version": SCHEMA_VERSION, "point": asdict(self.point)}
        values = {
            "status": self.status, "resolution": self.resolution, "needed": _finite(self.needed),
            "verdict": self.verdict, "changes": [_json_change(change) for change in self.changes],
            "stragglers": self.stragglers,
            "phases": {name: _finite(value) for name, value in asdict(self.phases).items() if name != "metastable"},
            "metastable": [_finite(value) for value in self.phases.metastable], "crossings": self.crossings,
            "curve": [self.times.tolist(), self.distances.tolist()],
            "closure": [self.closure_times.tolist(), self.closure_distances.tolist()],
        }  # fmt: skip
        write_json(folder / self.point.file, {**record, **values})

    @classmethod
    def read(cls, path: Path) -> "PointResult":
        """Read a diagram written by :meth:`write`."""
        record = read_json(path, schema=_RUN_SCHEMA, version=SCHEMA_VERSION)
        try:
            fields, (first, last) = record["phases"], map(_number, record["metastable"])
            phases = Phases(
                least=float(fields["least"]),
                concentration=float(fields["concentration"]),
                metastable=(first, last),
                departure=_number(fields["departure"]),
            )
            curves = [np.array(curve, dtype=np.float64) for curve in (*record["curve"], *record["closure"])]
            check_fields(Point, record["point"], path)
            if any(curve.ndim != 1 for curve in curves):
                raise ValueError("a curve is no list of numbers")
            times, distances, closure_times, closure_distances = curves
            return cls(
                point=Point(**record["point"]),
                status=str(record["status"]),
                resolution=str(record["resolution"]),
                needed=_number(record["needed"]),
                verdict=record["verdict"],
                changes=(_change(record["changes"][0]), _change(record["changes"][1])),
                phases=phases,
                crossings=int(record["crossings"]),
                stragglers=int(record["stragglers"]),
                times=times,
                distances=distances,
                closure_times=closure_times,
                closure_distances=closure_distances,
            )
        except (KeyError, TypeError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise BadInputError(f"{path} is damaged ({problem}); delete it, and the next run fills the gap") from None


@dataclass(frozen=True)
class Diagram(Result):
    """A phase diagram, whole or in part.

    Attributes
    ----------
    settings
        The settings, as JSON values.
    results
        The completed runs, by beta, ratio and seed.
    asked
        Number of runs of the whole diagram.
    """

    settings: Mapping[str, Any]
    results: tuple[PointResult, ...]
    asked: int

    @property
    def whole(self) -> bool:
        """Whether every run is completed."""
        return len(self.results) == self.asked

    @property
    def status(self) -> str:
        """``"partial"`` while runs are missing, else ``"completed"``."""
        return "completed" if self.whole else "partial"

    def summary(self) -> dict[str, Any]:
        """Return the diagram in numbers, as JSON values."""
        return {
            "status": self.status, "runs": len(self.results), "asked": self.asked, "betas": len(self.betas),
            "ratios": len(self.ratios),
        }  # fmt: skip

    def describe(self) -> list[str]:
        """Return the diagram in a few sentences."""
        verdicts = [str(result.verdict) for result in self.results]
        counts = ", ".join(f"{verdicts.count(word)} {word}" for word in sorted(set(verdicts)))
        over = f"{len(self.ratios)} spectra of V" if self.ratios else "time"
        lines = [f"phase diagram of {len(self.betas)} inverse temperatures over {over}: {counts or 'no run yet'}"]
        if not self.whole:
            lines.append(f"{some_are(self.asked - len(self.results), self.asked, 'run')} missing")
        return lines

    def table(self) -> "pd.DataFrame":
        """Return one row for each point, with means and deviations over seeds."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def picture(self) -> Curves | Heat:
        """Return the distances over time for each beta, or the least distance over beta and the ratio."""
        if not self.ratios:
            longest = max(self.results, key=lambda run: len(run.times)).times if self.results else np.zeros(0)
            curves = {f"beta = {beta:g}": self.at(beta)[0] for beta in self.betas}
            padded = {
                name: np.pad(run.distances, (0, len(longest) - len(run.distances)), constant_values=math.nan)
                for name, run in curves.items()
                if run.verdict != "nothing"
            }
            return Curves(longest, padded, "time", "W2 to the projected law", log=bool(padded))
        rows = [[self._least(beta, ratio) for ratio in self.ratios] for beta in self.betas]
        names = [f"{beta:.4g}" for beta in self.betas], [f"{ratio:.4g}" for ratio in self.ratios]
        return Heat(np.array(rows), *names, "v2/v1", "inverse temperature", "least distance")

    def _least(self, beta: float, ratio: float) -> float:
        """Return the mean least distance at one point, NaN where there is none."""
        least = [run.phases.least for run in self.at(beta, ratio) if run.verdict != "nothing"]
        return float(np.mean(least)) if least else math.nan

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the runs and their table into a new folder."""
        with new_folder(folder, overwrite=overwrite) as temporary:
            (temporary / RUNS).mkdir()
            for result in self.results:
                result.write(temporary / RUNS)
            _write_diagram(self, temporary, command="", seconds=0.0, report=False)

    def _page(self, title: str, pictures: Path) -> "Report":
        _write_diagram(self, pictures, command="", seconds=0.0)
        report: Report = _saved_report(pictures, pictures)
        return report

    @property
    def betas(self) -> list[float]:
        """The inverse temperatures."""
        return sorted({result.point.beta for result in self.results})

    @property
    def ratios(self) -> list[float]:
        """The ratios v2/v1; empty in a diagram over time."""
        return sorted({result.point.ratio for result in self.results if result.point.ratio is not None})

    @property
    def several(self) -> bool:
        """Whether there are several seeds, so that phases scatter."""
        return len({result.point.seed for result in self.results}) > 1

    def at(self, beta: float, ratio: float | None = None) -> list[PointResult]:
        """Return the runs of all seeds at one point."""
        return [result for result in self.results if result.point.beta == beta and result.point.ratio == ratio]

    def constants(self, seed: int = 0) -> BoundConstants:
        """Return the constants of the source's bound, from all runs of a diagram over time.

        Raises
        ------
        BadInputError
            As :func:`~tokendyn.particles.meanfield.constants.fit_constants`; and for a diagram over the spectrum of V,
            whose runs have different constants.
        """
        if self.ratios:
            raise BadInputError("the constants depend on V; fit those of a diagram over time")
        runs = self.results
        return fit_constants(
            [run.point.beta for run in runs], [run.times for run in runs], [run.distances for run in runs], seed=seed
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each point, with means and deviations over seeds, as JSON values."""
        rows = []
        ratios: list[float | None] = [*self.ratios] or [None]
        for beta, ratio in itertools.product(self.betas, ratios):
            runs = self.at(beta, ratio)
            if not runs:
                continue
            scatter = PhaseScatter.of([run.phases for run in runs])
            row: dict[str, Any] = {"beta": beta} | ({} if ratio is None else {"v2/v1": ratio})
            verdicts = [str(run.verdict) for run in runs]
            row |= {"seeds": len(runs), "verdict": max(sorted(set(verdicts)), key=verdicts.count)}
            nothing = all(run.verdict == "nothing" for run in runs)
            for entry in scatter.rows():
                name = entry["quantity"].replace(" ", "_")
                row[name] = None if nothing else entry["mean"]
                if self.several:
                    row |= {f"{name}_deviation": entry["deviation"], f"{name}_found": entry["found"]}
            row["crossings"] = float(np.mean([run.crossings for run in runs]))
            row["stragglers"] = float(np.mean([run.stragglers for run in runs]))
            for k, name in enumerate(("least_change", "departure_change")):
                known = [run.changes[k] for run in runs if not math.isnan(run.changes[k])]
                row[name] = _finite(max(known, default=math.nan))
            row["tokens_needed"] = _finite(max(run.needed for run in runs))
            rows.append(row)
        return rows


def fill(
    folder: Path,
    points: Sequence[Point],
    run: Callable[[Point], MeanFieldRun | LawRun],
    *,
    seconds: float = math.inf,
    progress: Progress | None = None,
) -> int:
    """Run the points without a file and write each as soon as it is done; return the number that is still missing.

    Parameters
    ----------
    folder
        Folder of the files of the runs.
    points
        All points of the diagram.
    run
        Runs one point.
    seconds
        Time after which no further run begins.
    progress
        Called with the number of runs done and their total.
    """
    began = time.perf_counter()
    done = sum((folder / point.file).exists() for point in points)
    for point in points:
        if progress is not None:
            progress(done, len(points))
        if (folder / point.file).exists():
            continue
        if time.perf_counter() - began > seconds:
            break
        PointResult.of(point, run(point)).write(folder)
        done += 1
    if progress is not None:
        progress(done, len(points))
    return len(points) - done


def read_diagram(settings: Mapping[str, Any], folder: Path, points: Sequence[Point]) -> Diagram:
    """Return the diagram of the points that have a file."""
    results = tuple(PointResult.read(folder / point.file) for point in points if (folder / point.file).exists())
    return Diagram(settings=settings, results=results, asked=len(points))


def load_diagram(folder: str | Path) -> Diagram:
    """Return the diagram in a folder, whole or in part.

    Raises
    ------
    BadInputError
        If the folder holds no diagram, or a run is damaged.
    """
    folder = Path(folder)
    record = read_json(folder / "phase.json", schema=SCHEMA, version=SCHEMA_VERSION)
    settings, asked = record.get("settings"), record.get("asked")
    if not isinstance(settings, dict) or not isinstance(asked, int):
        raise BadInputError(f"{folder} holds no run of its diagram yet; run it again")
    results = sorted(
        map(PointResult.read, sorted((folder / RUNS).glob("beta-*.json"))),
        key=lambda run: (run.point.beta, run.point.ratio or 0.0, run.point.seed),
    )
    return Diagram(settings=settings, results=tuple(results), asked=asked)


def stretched(dim: int, ratio: float) -> Float[np.ndarray, "dim dim"]:
    """Return ``V = diag(1, ..., 1, ratio)``."""
    return np.diag([*np.ones(dim - 1), ratio])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _json_change(change: float) -> float | str | None:
    """Return a change as a JSON value, which cannot be infinite or NaN."""
    return None if math.isnan(change) else "inf" if math.isinf(change) else change


def _change(value: Any) -> float:
    return math.nan if value is None else float(value)


def _number(value: Any) -> float:
    return math.inf if value is None else float(value)
