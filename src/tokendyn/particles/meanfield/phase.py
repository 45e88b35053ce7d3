"""What ``tokendyn phase`` does, as an experiment: phase diagrams over (beta, t) and over (beta, spectrum of V)."""

import dataclasses
import functools
import math
import shutil
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tokendyn.errors import BadInputError, OutputError
from tokendyn.experiments import Experiment, ProgressCallback
from tokendyn.experiments.experiment import rehearse
from tokendyn.experiments.fields import numbers_of, seconds_of
from tokendyn.particles.meanfield.options import RANDOM, FlowOptions, StartOptions, TimeOptions, check_size
from tokendyn.particles.meanfield.simulation import sized
from tokendyn.results import Picture, Result
from tokendyn.runs.folders import check_free, list_files, read_json, write_json
from tokendyn.words import counted, some_are

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from tokendyn.particles.meanfield import MeanFieldRun, Projection
    from tokendyn.particles.meanfield.constants import BoundConstants
    from tokendyn.particles.meanfield.diagram import Diagram, Point
    from tokendyn.particles.meanfield.law_run import LawRun
    from tokendyn.runs.checkpoint import Checkpoint
    from tokendyn.runs.store import Status

BETAS = "10,30,100,300,1000"
RATIOS = "0.5,1.25,1.5,2,2.5,3,3.5,5"
_MOST_RUNS = 10_000
#: Largest number of points of a diagram that are described one by one.
_MOST_LINES = 20
#: The files of a diagram's folder.
WRITTEN = (
    "phase.json",
    "points.csv",
    "phase.png",
    "curves.png",
    "slopes.png",
    "constants.csv",
    "constants.tex",
    "report.html",
    "runs/*.json",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase(TimeOptions, StartOptions, FlowOptions, Experiment["PhaseResult"]):
    """A phase diagram of tokens at low temperature, over beta and time, or over beta and the spectrum of V.

    Each run is written as soon as it is done: given a folder, :meth:`run` resumes there.

    Parameters
    ----------
    betas
        Inverse temperatures, with commas.
    ratios
        Ratios v2/v1 of V = diag(1, ..., 1, v2/v1), separated by commas; they select the diagram over the spectrum.
    spectrum
        The diagram over the spectrum, with the usual ratios.
    seeds
        Runs at each point, with seeds from ``seed`` on; the start must be random.
    without_tokens
        Solve the continuity equation of the law on the circle in place of running tokens, each beta on as many cells as
        its kernel needs: for betas up to 1e6. It needs a start by density.
    fit
        Fit the constants K, C, c of the bound W2 <= K (sqrt(log(beta + 1) / beta) e^(Ct) + e^(-ct)), with intervals of
        95 %; print them, and write them as a table and in LaTeX. It takes four betas or more.
    report
        Draw figures and report.html; without them tokendyn report makes the page later.
    """

    command: ClassVar[str] = "phase"
    unit: ClassVar[str] = "runs"
    grows: ClassVar[bool] = True

    betas: str = BETAS
    ratios: str | None = None
    spectrum: bool = False
    seeds: int = 1
    without_tokens: bool = False
    fit: bool = False
    report: bool = True

    def folder(self) -> Path:
        """Return ``phase``."""
        return Path("phase")

    def outline(self) -> Sequence[str]:
        """Describe the runs, where nothing concentrates, and the betas that the start does not resolve."""
        from tokendyn.particles.meanfield import resolution

        points, system = self._points, self._system
        lines = [f"{counted(len(points), 'run')} of {system.words}"]
        hottest: dict[float, Point] = {}
        for point in points if not self.without_tokens else ():
            hottest.setdefault(point.beta, point)
        for point in hottest.values():
            guard = resolution(system.flow(point), *system.starter(system.count, point.seed))
            if guard.status != "resolved":
                lines.append(f"{guard.status} by the rule for starts: {guard.reason}")
        idle = {point.ratio for point in points if not system.projection(point).concentrates}
        ratios = [ratio for ratio in sorted(idle, key=lambda ratio: ratio or 0) if ratio is not None]
        if ratios:
            lines.append(f"nothing concentrates at v2/v1 = {', '.join(f'{ratio:g}' for ratio in ratios)}")
        return lines

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Make all checks of the runs; return a description of them in sentences."""
        lines = self.outline()
        self._seconds(None)
        rehearse(lambda begun: self._system.run(self._points[-1], begun))
        return lines

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "PhaseResult":
        """Run the missing points of the diagram.

        Parameters
        ----------
        progress
            Called with the number of runs done and their total.
        checkpoint
            Folder in which each run is written as soon as it is done, and from which the diagram resumes.
        budget
            Seconds after which no further run begins, in place of the option.
        """
        import tempfile

        from tokendyn.particles.meanfield.diagram import fill, read_diagram

        if not isinstance(checkpoint, str | Path | None):
            raise BadInputError("a phase diagram resumes from the folder of its runs: `checkpoint` must be its path")
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as elsewhere:
            runs = Path(checkpoint or elsewhere)
            missing = fill(runs, self._points, self._system.run, seconds=self._seconds(budget), progress=progress)
            diagram = read_diagram(self._settings, runs, self._points)
        constants, unfitted = None, ""
        if self.fit and not missing:
            # The runs are worth keeping, whether or not they can be fitted.
            try:
                constants = diagram.constants(self.seed)
            except BadInputError as error:
                unfitted = str(error)
        seconds = time.perf_counter() - began
        return PhaseResult(
            diagram=diagram, missing=missing, seconds=seconds, constants=constants, unfitted=unfitted
        )  # fmt: skip

    def write(self, result: "PhaseResult", folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write table, figures and page into a folder that holds the runs; see :meth:`into`."""
        from tokendyn.particles.meanfield.diagram_report import write_diagram

        if result.diagram.results:
            write_diagram(
                result.diagram, Path(folder), command=command, seconds=result.seconds, report=self.report,
                constants=result.constants,
            )  # fmt: skip

    def into(
        self,
        folder: Path,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
        command: str = "",
        overwrite: bool = False,
    ) -> "PhaseResult":
        """Run into a folder, which may hold a part of the same diagram, and write table, figures and page."""
        # Errors in the settings are raised before a folder is made.
        self.check()
        self.check_free(folder, overwrite=overwrite)
        runs = self._open(folder, overwrite=overwrite)
        result = self.run(progress=progress, checkpoint=runs, budget=budget)
        self.write(result, folder, command=command)
        return result

    def ended(self, result: "PhaseResult") -> "Status":
        """Return ``"stopped"`` while runs are missing, ``"diverged"`` when some did not reach their end."""
        if result.missing:
            return "stopped"
        return "diverged" if result.diverged else "completed"

    def check_free(self, folder: Path, *, overwrite: bool, checkpoint: Path | None = None) -> None:
        """Check that the folder is free, may be replaced, or holds a part of the same diagram."""
        from tokendyn.particles.meanfield.diagram import SCHEMA, SCHEMA_VERSION

        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not (folder / "phase.json").exists():
            raise OutputError(f"{folder} exists already and holds no phase diagram; choose another folder")
        if overwrite:
            check_free(folder, overwrite=True)
        elif (folder / "phase.json").exists():
            settings = self._settings
            known = read_json(folder / "phase.json", schema=SCHEMA, version=SCHEMA_VERSION).get("settings")
            fixed = {name for name in settings if name not in ("betas", "ratios")}
            # A diagram of before the option has runs of tokens.
            before = {"without_tokens": False} | (known if isinstance(known, dict) else {})
            changed = sorted(name for name in fixed if before.get(name) != settings[name])
            if changed:
                raise BadInputError(
                    f"{folder} holds a diagram with other settings ({', '.join(changed)} differ); choose another "
                    "folder, or start again with `overwrite=True`"
                )

    def _open(self, folder: Path, *, overwrite: bool) -> Path:
        """Make the folder, or replace it if allowed; return the folder of the runs in it."""
        from tokendyn.particles.meanfield.diagram import RUNS, SCHEMA, SCHEMA_VERSION

        if folder.exists() and overwrite:
            shutil.rmtree(folder)
        try:
            (folder / RUNS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror or error}") from None
        record = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "settings": self._settings}
        write_json(folder / "phase.json", record)
        list_files(folder, WRITTEN)
        return folder / RUNS

    def _seconds(self, budget: float | None) -> float:
        if budget is not None:
            return budget
        return math.inf if self.budget is None else seconds_of(self.budget)

    @cached_property
    def _system(self) -> "_System":
        return _System(self)

    @cached_property
    def _points(self) -> "list[Point]":
        """Return the points of the diagram, checked."""
        system = self._system
        points, has_ratios = self._requested_points()
        if not any(system.projection(point).concentrates for point in points):
            raise BadInputError(
                f"nothing to draw: {system.projection(points[0]).reason}. A phase diagram needs V and B for which "
                "V B^T has real dominant eigenvalues and others below them, such as `value=diag(1,2)` with "
                "`score=diag(4,1)`, or `spectrum` with `score=diag(4,1)`"
            )
        if len(points) > _MOST_RUNS:
            raise BadInputError(f"{len(points)} runs are too many; at most {_MOST_RUNS}")
        if not has_ratios:
            # A diagram over time has one axis of time for all points.
            system.common = max(system.predicted(point) for point in points)
        if not self.without_tokens:
            check_size(len(system.grid(points[-1])), system.count, system.dim)
        system.flow(points[0])
        return points

    def _requested_points(self) -> "tuple[list[Point], bool]":
        """Return the points that the options describe, and whether they have ratios."""
        from tokendyn.particles.meanfield.constants import FEWEST
        from tokendyn.particles.meanfield.diagram import Point

        system, problems = self._system, []
        ratios = self.ratios or (RATIOS if self.spectrum else None)
        temperatures = numbers_of(self.betas, "betas")
        stretches = None if ratios is None else numbers_of(ratios, "ratios")
        if not (temperatures > 0).all():
            problems.append(f"`betas` must be positive, got {self.betas[:60]}")
        if stretches is not None and system.value is not None:
            problems.append("the diagram over the spectrum makes V itself; leave out `value`")
        if self.seeds < 1:
            problems.append(f"`seeds` must be at least 1, got {self.seeds}")
        kind = self.start_kind(system.dim)
        if self.seeds > 1 and kind not in RANDOM:
            problems.append(f"`start={kind}` is the same for every seed; for `seeds` take {', '.join(RANDOM)}")
        if self.without_tokens:
            problems += self._law_problems(kind)
        if self.fit and (stretches is not None or len(set(temperatures.tolist())) < FEWEST):
            problems.append(f"`fit` needs {FEWEST} different `betas` or more, and neither `spectrum` nor `ratios`")
        if problems:
            raise BadInputError.all_of("phase diagram", problems)
        axis: list[float | None] = [None] if stretches is None else sorted(set(stretches.tolist()))
        points = [
            Point(beta=beta, ratio=ratio, seed=self.seed + k)
            for k in range(self.seeds) for beta in sorted(set(temperatures.tolist())) for ratio in axis
        ]  # fmt: skip
        return points, stretches is not None

    def _law_problems(self, kind: str) -> list[str]:
        """Return what a law without tokens cannot have."""
        problems = []
        if self._system.dim != 2 or kind not in ("quantile", "quadrature"):
            problems.append("`without_tokens` is for the circle and a start by `density`; leave out `start` and `dim`")
        given = [name for name in ("count", "error_tolerance") if getattr(self, name) is not None]
        given += [name for name in ("causal", "unnormalised") if getattr(self, name)]
        if given:
            problems.append(f"`without_tokens` has no `{'` and no `'.join(given)}`; leave it out")
        return problems

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """Return the settings on which the runs depend, as JSON values."""
        points, system = self._points, self._system
        kind = self.start_kind(system.dim)
        matrices = {
            name: None if matrix is None else matrix.tolist()
            for name, matrix in (("value", system.value), ("interaction", system.interaction))
        }
        names = ("density", "tilt", "centres", "concentration", "time", "every", "integrator", "tolerance", "noise")
        return {
            "words": system.words, "start": kind, "tokens": None if self.without_tokens else system.count,
            "without_tokens": self.without_tokens,
            "dim": system.dim, "step": system.step, **matrices, "push": self.pushed(system.dim).tolist(),
            **{name: getattr(self, name) for name in names}, "unnormalised": self.unnormalised, "causal": self.causal,
            "betas": sorted({point.beta for point in points}),
            "ratios": sorted({point.ratio for point in points if point.ratio is not None}),
            "until": None if self.time is not None else system.common,
        }  # fmt: skip


class _System:
    """The part of the settings that all points of a diagram share.

    Attributes
    ----------
    common
        The default end of the time for all points; None where each has its own.
    """

    def __init__(self, phase: Phase):
        if phase.beta is not None or phase.zero_temperature is not None:
            raise BadInputError("a phase diagram has its own `betas`; leave out `beta` and `zero_temperature`")
        if phase.times is not None:
            raise BadInputError("a phase diagram takes `time` and `every`, not `times`")
        self.phase = phase
        self.value, self.interaction = phase.matrices()
        self.dim = phase.dimension(self.value, self.interaction)
        self.starter: Callable[..., Any] = phase.starter(self.dim)
        self.count = phase.token_count()
        check_size(3, self.count, self.dim)
        self.step = phase.chosen_step()
        self.common: float | None = None

    @property
    def words(self) -> str:
        """What is run, in words."""
        if self.phase.without_tokens:
            return f"the {self.phase.density} law on the circle, without tokens"
        return f"{self.count} {self.phase.start_kind(self.dim)} tokens in {self.dim} dimensions"

    def matrix(self, point: "Point") -> "np.ndarray | None":
        """Return V at a point."""
        from tokendyn.particles.meanfield.diagram import stretched

        return self.value if point.ratio is None else stretched(self.dim, point.ratio)

    def flow(self, point: "Point") -> Any:
        """Return the vector field at a point."""
        return self.phase.flow_at(point.beta, self.matrix(point), self.interaction)

    def run(self, point: "Point", progress: Callable[..., None] | None = None) -> "MeanFieldRun | LawRun":
        """Run one point."""
        from tokendyn.particles.meanfield import simulate

        phase = self.phase
        if phase.without_tokens:
            return self._law(point, progress)
        tokens, weights = self.starter(self.count, point.seed)
        return simulate(
            self.flow(point), tokens, self.grid(point), weights=weights, method=phase.integrator, step=self.step,
            tolerance=phase.tolerance, noise=phase.noise, seed=point.seed, progress=progress,
            start=functools.partial(sized, self.starter, point.seed), error_tolerance=phase.error_tolerance,
        )  # fmt: skip

    def _law(self, point: "Point", progress: Callable[..., None] | None) -> "LawRun":
        """Follow the law of one point."""
        import numpy as np

        from tokendyn.particles.meanfield.experiments import asymmetric_density
        from tokendyn.particles.meanfield.law_run import simulate_law

        density = asymmetric_density if self.phase.density == "asymmetric" else np.ones_like
        step = {} if self.step == "auto" else {"step": self.step}
        return simulate_law(
            self.flow(point), density, self.grid(point), noise=self.phase.noise, progress=progress, **step
        )

    def grid(self, point: "Point") -> "np.ndarray":
        """Return the output times of a point."""
        from tokendyn.dynamics.steps import longest_step

        until = self.predicted(point) if self.common is None else self.common
        return self.phase.grid(until, longest_step(self.flow(point)) if self.step == "auto" else self.step)

    def projection(self, point: "Point") -> "Projection":
        """Return where the law of a point should concentrate."""
        import numpy as np

        from tokendyn.particles.meanfield import project

        identity = np.eye(self.dim)
        value = self.matrix(point)
        return project(identity if value is None else value, identity if self.interaction is None else self.interaction)

    def predicted(self, point: "Point") -> float:
        """Return until when to run a point: 1.5 times the predicted end and 2 more, 20 without, at most 60."""
        import numpy as np

        from tokendyn.particles.meanfield import predicted_times, terminal_phase

        value = self.matrix(point)
        value = np.eye(self.dim) if value is None else value
        projection = self.projection(point)
        if point.beta <= 1:
            return 20.0
        times = predicted_times(point.beta, projection, terminal_phase(value, projection))
        ends = [end for end in (times.departure, times.concentration) if math.isfinite(end)]
        return min(60.0, 1.5 * ends[0] + 2) if ends else 20.0


@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class PhaseResult(Result):
    """A phase diagram, whole or in part.

    Attributes
    ----------
    diagram
        The completed runs.
    missing
        Number of missing runs.
    seconds
        Wall time of the runs of this call.
    constants
        The constants of the bound, when they were to be fitted and no run is missing.
    unfitted
        Why they could not be fitted.
    """

    diagram: "Diagram"
    missing: int
    seconds: float
    constants: "BoundConstants | None" = None
    unfitted: str = ""

    @property
    def diverged(self) -> int:
        """Number of runs that did not reach their end."""
        return sum(result.status != "completed" for result in self.diagram.results)

    @property
    def status(self) -> str:
        """``"partial"`` while runs are missing; ``"diverged"`` when runs did not reach their end; ``"completed"``."""
        return "partial" if self.missing else "diverged" if self.diverged else "completed"

    def table(self) -> "pd.DataFrame":
        """Return one row a point."""
        return self.diagram.table()

    def picture(self) -> Picture:
        """Return the picture of the diagram."""
        return self.diagram.picture()

    def summary(self) -> dict[str, Any]:
        """Return the table as JSON values."""
        runs, points = len(self.diagram.results), self.diagram.rows()
        return {"status": self.status, "runs": runs, "missing": self.missing, "points": points}

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the diagram; :func:`tokendyn.load` returns it as a :class:`tokendyn.Diagram`."""
        self.diagram.save(folder, overwrite=overwrite)

    def describe(self) -> list[str]:
        """Return the result at each point and the number of missing runs, in sentences."""
        rows, count = self.diagram.rows(), len(self.diagram.results)
        lines = [_line(self.diagram, row) for row in rows] if len(rows) <= _MOST_LINES else []
        unresolved = sum(result.verdict == "unresolved" for result in self.diagram.results)
        if unresolved:
            verdict = f"{some_are(unresolved, count, 'run')} unresolved"
            lines.append(f"{verdict}: another number of tokens or more time would change the answer")
        if self.diverged:
            lines.append(f"{counted(self.diverged, 'run')} did not reach the end")
        if self.constants is not None:
            lines += self.constants.describe()
        if self.unfitted:
            lines.append(f"the constants of the bound were not fitted: {self.unfitted}")
        if self.missing:
            lines.append(
                f"{some_are(self.missing, self.diagram.asked, 'run')} missing; start the same command again to resume"
            )
        return lines


def _line(diagram: "Diagram", row: dict[str, Any]) -> str:
    """Return the result at one point, in words."""
    from tokendyn.particles.meanfield.phases import DEPARTED
    from tokendyn.particles.meanfield.scatter import PhaseScatter

    ratio = f", v2/v1 = {row['v2/v1']:g}" if "v2/v1" in row else ""
    point = f"beta = {row['beta']:g}{ratio}"
    if row["verdict"] == "nothing":
        return f"{point}: nothing concentrates"
    scatter = PhaseScatter.of([run.phases for run in diagram.at(row["beta"], row.get("v2/v1"))])
    if not any(run.phases.least <= DEPARTED for run in diagram.at(row["beta"], row.get("v2/v1"))):
        course = f"least distance {scatter.least}, never near"
    else:
        course = f"least distance {scatter.least} at t = {scatter.concentration}, departure {scatter.departure}"
    change = row["least_change"]
    changed = "" if change is None else f"; another number of tokens changes the distance by {100 * change:.2g} %"
    alone = row["stragglers"]
    company = f"; {alone:g} {'token' if alone == 1 else 'tokens'} left alone" if alone else ""
    return f"{point}: {row['verdict']}; {course}{changed}{company}"
