"""``tokendyn phase``: phase diagrams over (beta, t) and over (beta, spectrum of V)."""

import functools
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Parameter

from tokendyn.cli.flow_options import RANDOM, FlowOptions, StartOptions, TimeOptions, check_size
from tokendyn.cli.meanfield import sized
from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import progress, rehearse
from tokendyn.cli.repeat import repeated
from tokendyn.cli.values import numbers_of, seconds_of
from tokendyn.errors import BadInputError, OutputError
from tokendyn.runs.files import check_free, read_json
from tokendyn.runs.files import write_json as write_record
from tokendyn.runs.folders import list_files

if TYPE_CHECKING:
    from tokendyn.particles.meanfield import MeanFieldRun, Projection
    from tokendyn.particles.meanfield.diagram import Diagram, Point

BETAS = "10,30,100,300,1000"
RATIOS = "0.5,1.25,1.5,2,2.5,3,3.5,5"
_MOST_RUNS = 10_000
#: What a diagram's folder holds.
WRITTEN = ("phase.json", "points.csv", "phase.png", "curves.png", "slopes.png", "report.html", "runs/*.json")


def phase(
    *,
    betas: str = BETAS,
    ratios: str | None = None,
    spectrum: bool = False,
    seeds: int = 1,
    flow: FlowOptions = FlowOptions(),  # noqa: B008
    start: StartOptions = StartOptions(),  # noqa: B008
    times: TimeOptions = TimeOptions(),  # noqa: B008
    out: Path = Path("phase"),
    report: Annotated[bool, Parameter(negative="--no-report")] = True,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Draw a phase diagram of tokens at low temperature, over beta and time, or over beta and the spectrum of V.

    Each run is written as soon as it is done; the same command started again goes on where it was.

    Parameters
    ----------
    betas
        Inverse temperatures, with commas.
    ratios
        Ratios v2/v1 of V = diag(1, ..., 1, v2/v1), with commas; they ask for the diagram over the spectrum.
    spectrum
        The diagram over the spectrum, with the usual ratios.
    seeds
        Runs at each point, with seeds from --seed on; the start must be random.
    out
        Folder of the diagram.
    report
        Draw figures and report.html; without them tokendyn report makes the page later.
    overwrite
        Throw an earlier diagram in the folder away.
    dry_run
        Check the input, say what would be done and which betas the tokens resolve, and stop.
    json
        Write the table as one JSON object to standard output.
    """
    from tokendyn.particles.meanfield.diagram import fill, read_diagram
    from tokendyn.particles.meanfield.diagram_report import write_diagram

    system = _System(flow, start, times)
    limit = math.inf if times.budget is None else seconds_of(times.budget)
    points = _points(betas, ratios or (RATIOS if spectrum else None), seeds, start, system)
    settings = _settings(points, system)
    _announce(points, system)
    _check_place(out, settings, overwrite=overwrite)
    # What no point can be run with is said before a folder is made.
    rehearse(lambda begun: system.run(points[-1], begun))
    if dry_run:
        return 0
    command = repeated()
    _open(out, settings, overwrite=overwrite)
    began = time.perf_counter()
    with progress("runs") as tell:
        missing = fill(out / "runs", points, system.run, seconds=limit, progress=tell)
    diagram = read_diagram(settings, out / "runs", points)
    if diagram.results:
        write_diagram(diagram, out, command=command, seconds=time.perf_counter() - began, report=report)
    return _tell(diagram, missing, out, json=json, report=report)


class _System:
    """What all points of a diagram share."""

    def __init__(self, flow: FlowOptions, start: StartOptions, times: TimeOptions):
        if flow.beta is not None or flow.zero_temperature is not None:
            raise BadInputError("a phase diagram has its own --betas; leave out --beta and --zero-temperature")
        if times.times is not None:
            raise BadInputError("a phase diagram takes --time and --every, not --times")
        self.options, self.start, self.times = flow, start, times
        self.value, self.interaction = flow.matrices()
        self.dim = start.dimension(self.value, self.interaction)
        self.made, self.count = start.starter(self.dim), start.size()
        check_size(3, self.count, self.dim)
        self.step = times.chosen_step()
        self.until: Callable[[Point], float] = self._predicted
        #: The default end that all points share; None where each has its own, or where --time is given.
        self.common: float | None = None

    def matrix(self, point: "Point") -> np.ndarray | None:
        """Return V at a point."""
        from tokendyn.particles.meanfield.diagram import stretched

        return self.value if point.ratio is None else stretched(self.dim, point.ratio)

    def run(self, point: "Point", progress: Callable[..., None] | None = None) -> "MeanFieldRun":
        """Run one point."""
        from tokendyn.particles.meanfield import simulate

        flow = self.options.flow(point.beta, self.matrix(point), self.interaction)
        tokens, weights = self.made(self.count, point.seed)
        return simulate(
            flow, tokens, self.grid(point), weights=weights, method=self.times.integrator, step=self.step,
            tolerance=self.times.tolerance, noise=self.times.noise, seed=point.seed, progress=progress,
            start=functools.partial(sized, self.made, point.seed), error_tolerance=self.options.error_tolerance,
        )  # fmt: skip

    def grid(self, point: "Point") -> np.ndarray:
        """Return the kept times of a point."""
        from tokendyn.dynamics.steps import longest_step

        flow = self.options.flow(point.beta, self.matrix(point), self.interaction)
        return self.times.grid(self.until(point), longest_step(flow) if self.step == "auto" else self.step)

    def projection(self, point: "Point") -> "Projection":
        """Return where the law of a point should concentrate."""
        from tokendyn.particles.meanfield import project

        one = np.eye(self.dim)
        value = self.matrix(point)
        return project(one if value is None else value, one if self.interaction is None else self.interaction)

    def _predicted(self, point: "Point") -> float:
        """Return until when to run a point: 1.5 times the predicted end and 2 more, 20 without, at most 60."""
        from tokendyn.particles.meanfield import predicted_times, terminal_phase

        one = np.eye(self.dim)
        value = self.matrix(point)
        value = one if value is None else value
        projection = self.projection(point)
        if point.beta <= 1:
            return 20.0
        found = predicted_times(point.beta, projection, terminal_phase(value, projection))
        ends = [end for end in (found.departure, found.concentration) if math.isfinite(end)]
        return min(60.0, 1.5 * ends[0] + 2) if ends else 20.0


def _points(betas: str, ratios: str | None, seeds: int, start: StartOptions, system: _System) -> "list[Point]":
    from tokendyn.particles.meanfield.diagram import Point

    problems = []
    temperatures = numbers_of(betas, "--betas")
    stretches = None if ratios is None else numbers_of(ratios, "--ratios")
    if not (temperatures > 0).all():
        problems.append(f"--betas must be positive, got {betas[:60]}")
    if stretches is not None and system.value is not None:
        problems.append("the diagram over the spectrum makes V itself; leave out --value")
    if seeds < 1:
        problems.append(f"--seeds must be at least 1, got {seeds}")
    kind = start.kind(system.dim)
    if seeds > 1 and kind not in RANDOM:
        problems.append(f"--start {kind} is the same for every seed; for --seeds take {', '.join(RANDOM)}")
    if problems:
        raise BadInputError.all_of("phase diagram", problems)
    every: list[float | None] = [None] if stretches is None else sorted(set(stretches.tolist()))
    found = [
        Point(beta, ratio, start.seed + k)
        for k in range(seeds) for beta in sorted(set(temperatures.tolist())) for ratio in every
    ]  # fmt: skip
    if not any(system.projection(point).concentrates for point in found):
        raise BadInputError(
            f"nothing to draw: {system.projection(found[0]).reason}. A phase diagram needs V and B for which V B^T "
            'has real dominant eigenvalues and others below them, such as --value "diag(1,2)" --score "diag(4,1)", or '
            '--spectrum --score "diag(4,1)"'
        )
    if len(found) > _MOST_RUNS:
        raise BadInputError(f"{len(found)} runs are too many; at most {_MOST_RUNS}")
    if stretches is None:
        # One axis of time for all.
        latest = max(system.until(point) for point in found)
        system.until = lambda point: latest
        system.common = latest if system.times.time is None else None
    check_size(len(system.grid(found[-1])), system.count, system.dim)
    system.options.flow(found[0].beta, system.matrix(found[0]), system.interaction)
    return found


def _settings(points: "list[Point]", system: _System) -> dict[str, Any]:
    """Return what decides the runs, as JSON values."""
    kind = system.start.kind(system.dim)
    matrices = {
        name: None if matrix is None else matrix.tolist()
        for name, matrix in (("value", system.value), ("interaction", system.interaction))
    }
    names = ("density", "tilt", "centres", "concentration")
    push = system.start.pushed(system.dim).tolist()
    shared = {"push": push, **{name: getattr(system.start, name) for name in names}} | {
        name: getattr(system.times, name) for name in ("time", "every", "integrator", "tolerance", "noise")
    }
    return {
        "words": f"{system.count} {kind} tokens in {system.dim} dimensions", "start": kind, "tokens": system.count,
        "dim": system.dim, "step": system.step, **matrices, **shared, "unnormalised": system.options.unnormalised,
        "causal": system.options.causal, "betas": sorted({point.beta for point in points}),
        "ratios": sorted({point.ratio for point in points if point.ratio is not None}),
        "until": system.common,
    }  # fmt: skip


def _announce(points: "list[Point]", system: _System) -> None:
    """Say what will be run, where nothing concentrates, and which betas the start does not resolve."""
    from tokendyn.particles.meanfield import resolution

    announce(f"{len(points)} runs of {system.count} {system.start.kind(system.dim)} tokens in {system.dim} dimensions")
    hottest: dict[float, Point] = {}
    for point in points:
        hottest.setdefault(point.beta, point)
    for point in hottest.values():
        flow = system.options.flow(point.beta, system.matrix(point), system.interaction)
        guard = resolution(flow, *system.made(system.count, point.seed))
        if guard.status != "resolved":
            announce(f"{guard.status} by the rule for starts: {guard.reason}")
    idle = sorted({point.ratio for point in points if not system.projection(point).concentrates}, key=lambda r: r or 0)
    if idle and idle != [None]:
        announce(f"nothing concentrates at v2/v1 = {', '.join(f'{ratio:g}' for ratio in idle if ratio is not None)}")


def _check_place(out: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """See that the folder is free, or may be replaced, or holds a part of the same diagram."""
    from tokendyn.particles.meanfield.diagram import SCHEMA, SCHEMA_VERSION

    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not (out / "phase.json").exists():
        raise OutputError(f"{out} exists already and holds no phase diagram; choose another --out")
    if overwrite:
        check_free(out, overwrite=True)
    elif (out / "phase.json").exists():
        known = read_json(out / "phase.json", schema=SCHEMA, version=SCHEMA_VERSION).get("settings")
        fixed = {name for name in settings if name not in ("betas", "ratios")}
        changed = sorted(name for name in fixed if not isinstance(known, dict) or known.get(name) != settings[name])
        if changed:
            raise BadInputError(
                f"{out} holds a diagram with other settings ({', '.join(changed)} differ); choose another --out, or "
                "pass --overwrite to begin anew"
            )


def _open(out: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Make the folder; one that may be replaced is."""
    from tokendyn.particles.meanfield.diagram import SCHEMA, SCHEMA_VERSION

    record = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "settings": settings}
    if out.exists() and overwrite:
        shutil.rmtree(out)
    try:
        (out / "runs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from None
    write_record(out / "phase.json", record)
    list_files(out, WRITTEN)


def _tell(diagram: "Diagram", missing: int, out: Path, *, json: bool, report: bool) -> int:
    rows = diagram.rows()
    if json:
        write_json({"runs": len(diagram.results), "missing": missing, "points": rows, "out": str(out)})
    for row in rows if len(rows) <= 20 else []:
        announce(_line(diagram, row))
    unresolved = sum(result.verdict == "unresolved" for result in diagram.results)
    if unresolved:
        count = len(diagram.results)
        announce(f"{unresolved} of {count} runs are unresolved: more tokens or more time would change them")
    diverged = sum(result.status != "completed" for result in diagram.results)
    if diverged:
        announce(f"{diverged} runs did not reach their end")
    if missing:
        announce(f"{missing} of {diagram.asked} runs are missing; start the same command again to go on")
    announce(f"wrote {out}" + (f"; open {out / 'report.html'}" if report else ""))
    return 1 if missing or diverged else 0


def _line(diagram: "Diagram", row: dict[str, Any]) -> str:
    """Return what was found at one point, in words."""
    from tokendyn.particles.meanfield.phases import DEPARTED
    from tokendyn.particles.meanfield.scatter import PhaseScatter

    ratio = f", v2/v1 = {row['v2/v1']:g}" if "v2/v1" in row else ""
    place = f"beta = {row['beta']:g}{ratio}"
    if row["verdict"] == "nothing":
        return f"{place}: nothing concentrates"
    scatter = PhaseScatter.of([run.phases for run in diagram.at(row["beta"], row.get("v2/v1"))])
    if not any(run.phases.least <= DEPARTED for run in diagram.at(row["beta"], row.get("v2/v1"))):
        found = f"least distance {scatter.least}, never near"
    else:
        found = f"least distance {scatter.least} at t = {scatter.concentration}, departure {scatter.departure}"
    change = row["least_change"]
    changed = "" if change is None else f"; another number of tokens changes the distance by {100 * change:.2g} %"
    held = f"; {row['stragglers']:g} tokens left to themselves" if row["stragglers"] else ""
    return f"{place}: {row['verdict']}; {found}{changed}{held}"
