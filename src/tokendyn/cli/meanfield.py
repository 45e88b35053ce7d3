"""``tokendyn simulate --model meanfield``: many tokens on the sphere at low temperature."""

import dataclasses
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from tokendyn.cli.flow_options import RANDOM, FlowOptions, StartOptions, TimeOptions, check_size
from tokendyn.cli.output import announce, progress, write_json
from tokendyn.cli.simulate import Model
from tokendyn.dynamics import TokenFlow
from tokendyn.dynamics.flow import checked_weights
from tokendyn.errors import BadInputError
from tokendyn.particles.meanfield import (
    MeanFieldRun,
    Phases,
    Refinement,
    predicted_times,
    project,
    resolution,
    simulate,
    terminal_phase,
)
from tokendyn.particles.meanfield.report import Companions, save_run
from tokendyn.particles.meanfield.scatter import PhaseScatter
from tokendyn.runs.files import check_free

#: Until when a run goes by default: times the predicted end, within bounds; and without a prediction.
_BEYOND, _LEAST_TIME, _MOST_TIME, _PLAIN_TIME = 1.5, 4.0, 60.0, 10.0


@dataclasses.dataclass(frozen=True)
class _Start:
    """The tokens of a run, and how to make others of their kind."""

    tokens: np.ndarray
    weights: np.ndarray | None
    words: str
    made: Callable[[int, int], tuple[np.ndarray, np.ndarray | None]] | None


def simulate_meanfield(
    tokens: Path | None = None,
    /,
    *,
    model: Model = "meanfield",
    flow: FlowOptions = FlowOptions(),  # noqa: B008
    start: StartOptions = StartOptions(),  # noqa: B008
    times: TimeOptions = TimeOptions(),  # noqa: B008
    refine: bool = False,
    seeds: int = 1,
    out: Path | None = None,
    animation: Annotated[bool, Parameter(negative="--no-animation")] = True,
    mp4: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Run tokens on the sphere under softmax attention; say when they concentrate, on what, and when they leave.

    Writes a folder with the run, distances over time as CSV, figures, an animation and report.html.

    Parameters
    ----------
    tokens
        Tokens from a file in place of --start: CSV, TSV, npy, npz or safetensors, one token a row.
    model
        meanfield; the other model has options of its own.
    refine
        Run 2n and 4n tokens too, and say how much the distances change.
    seeds
        Run so many seeds of a random start, for the scatter of the phases; the first is the run that is kept.
    out
        Folder to write, by default run-meanfield or run-NAME. It must not exist.
    animation
        Write the animation.
    mp4
        Write the animation as MP4 (needs ffmpeg) and not as GIF.
    overwrite
        Replace the output folder when it exists.
    dry_run
        Check the input, say what would be done and whether n resolves beta, and stop.
    json
        Write the summary as one JSON object to standard output.
    """
    folder = out or (Path("run-meanfield") if tokens is None else tokens.parent / f"run-{tokens.name.split('.')[0]}")
    beta = flow.temperature()
    value, interaction = flow.matrices()
    begun = _begin(tokens, start, value, interaction)
    field = flow.flow(beta, value, interaction)
    _check_companions(start, begun, refine, seeds)
    grid = times.grid(_default_time(field, begun.tokens.shape[1]))
    check_size(len(grid), len(begun.tokens), begun.tokens.shape[1])
    _tell_plan(field, begun, grid)
    if dry_run:
        announce(f"would write {folder}")
        return 0
    check_free(folder, overwrite=overwrite)
    settings: dict[str, Any] = {
        "method": times.integrator, "step": times.step, "tolerance": times.tolerance, "noise": times.noise,
        "seed": start.seed, "budget": times.spent(), "config": {"start": begun.words},
    }  # fmt: skip
    with progress("times") as report:
        run = simulate(field, begun.tokens, grid, weights=begun.weights, progress=report, **settings)
    companions = _companions(run, begun, grid, settings, refine=refine, seeds=seeds)
    movie: Literal["gif", "mp4"] | None = ("mp4" if mp4 else "gif") if animation else None
    command = _command(tokens, flow, start, times, folder, refine=refine, seeds=seeds)
    save_run(
        run, folder, title=f"{begun.words}, beta = {beta:g}", companions=companions, animation=movie, command=command,
        overwrite=overwrite,
    )  # fmt: skip
    if json:
        write_json({**run.summary(), **companions.record(), "out": str(folder)})
    _tell(run, companions)
    announce(f"wrote {folder}; open {folder / 'report.html'}")
    return 0 if run.trajectory.status == "completed" else 1


def _begin(path: Path | None, start: StartOptions, value: np.ndarray | None, interaction: np.ndarray | None) -> _Start:
    """Return the start: from a file, or generated."""
    if path is None:
        dim = start.dimension(value, interaction)
        if start.token_weights is not None:
            raise BadInputError("--token-weights belong to the tokens of a file; a generated start has its own")
        made = start.starter(dim)
        tokens, weights = made(start.size, start.seed)
        seeded = f", seed {start.seed}" if start.kind(dim) in RANDOM else ""
        return _Start(tokens, weights, f"{len(tokens)} {start.kind(dim)} tokens in {dim} dimensions{seeded}", made)
    if start.start is not None:
        raise BadInputError(f"the tokens come from {path}; leave out --start {start.start}, or the file")
    tokens, _ = start.read(path)
    start.dimension(value, interaction, np.empty((tokens.shape[1],) * 2))
    weights = start.weights(len(tokens))
    if weights is not None:
        weights = checked_weights(weights, len(tokens))
    return _Start(tokens, weights, f"{len(tokens)} tokens of {path.name}", None)


def _check_companions(start: StartOptions, begun: _Start, refine: bool, seeds: int) -> None:
    problems = []
    if seeds < 1:
        problems.append(f"--seeds must be at least 1, got {seeds}")
    if (refine or seeds > 1) and begun.made is None:
        problems.append("--refine and --seeds need a generated start, not a file: its law has no more tokens")
    elif seeds > 1 and start.kind(begun.tokens.shape[1]) not in RANDOM:
        kind = start.kind(begun.tokens.shape[1])
        problems.append(f"--start {kind} is the same for every seed; for --seeds take {', '.join(RANDOM)}")
    if problems:
        raise BadInputError.all_of("options", problems)


def _default_time(flow: TokenFlow, dim: int) -> float:
    one = np.eye(dim)
    beta, value = flow.inverse_temperature, one if flow.value is None else flow.value
    if not 1 < beta < math.inf:
        return _PLAIN_TIME
    projection = project(value, one if flow.interaction is None else flow.interaction)
    found = predicted_times(beta, projection, terminal_phase(value, projection))
    ends = [end for end in (found.departure, found.concentration) if math.isfinite(end)]
    return float(np.clip(_BEYOND * ends[0], _LEAST_TIME, _MOST_TIME)) if ends else _PLAIN_TIME


def _tell_plan(flow: TokenFlow, begun: _Start, grid: np.ndarray) -> None:
    announce(f"{begun.words}, beta = {flow.inverse_temperature:g}, until t = {grid[-1]:.4g} ({len(grid)} states)")
    guard = resolution(flow, begun.tokens, begun.weights)
    announce(f"{guard.status}: {guard.reason}")


def _companions(
    run: MeanFieldRun, begun: _Start, grid: np.ndarray, settings: dict[str, Any], *, refine: bool, seeds: int
) -> Companions:
    """Run what was asked for beside the run."""
    made, seed, count = begun.made, settings["seed"], len(begun.tokens)
    if made is None or not (refine or seeds > 1):
        return Companions()

    def other(size: int, at: int) -> MeanFieldRun:
        tokens, weights = made(size, at)
        with progress(f"{size} tokens, seed {at}") as report:
            return simulate(run.flow, tokens, grid, weights=weights, progress=report, **{**settings, "seed": at})

    refinement: list[dict[str, Any]] = []
    if refine:
        runs = (run, other(2 * count, seed), other(4 * count, seed))
        refinement = Refinement.of(runs).table()
    found: list[tuple[int, Phases]] = []
    if seeds > 1:
        found = [(seed, run.phases), *((seed + k, other(count, seed + k).phases) for k in range(1, seeds))]
    return Companions(refinement, found)


def _tell(run: MeanFieldRun, companions: Companions) -> None:
    for line in run.describe():
        announce(line)
    if run.flow.inverse_temperature == 0:
        announce("note: at beta = 0 every token attends to all alike: the theory of low temperature says nothing")
    for row in companions.refinement:
        change = "" if row["largest_change"] is None else f", distances change by up to {row['largest_change']:.2g}"
        announce(f"{row['tokens']} tokens: least distance {row['least_distance']:.4g}{change}")
    if companions.seeds:
        scatter = PhaseScatter.of([phases for _, phases in companions.seeds])
        announce(
            f"over {len(companions.seeds)} seeds: least distance {scatter.least}, at t = {scatter.concentration}, "
            f"departure {scatter.departure}"
        )


def _command(
    tokens: Path | None,
    flow: FlowOptions,
    start: StartOptions,
    times: TimeOptions,
    folder: Path,
    *,
    refine: bool,
    seeds: int,
) -> str:
    """Return the command that repeats the run: the options that differ from their defaults."""
    words = ["tokendyn", "simulate", *([str(tokens)] if tokens is not None else []), "--model", "meanfield"]
    for options in (flow, start, times):
        words += option_words(options)
    words += ["--refine"] * refine + (["--seeds", str(seeds)] if seeds > 1 else [])
    return shlex.join([*words, "--out", str(folder)])


def option_words(options: Any) -> list[str]:
    """Return the words of the options in a dataclass that differ from their defaults."""
    words: list[str] = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        name = "--tokens" if field.name == "count" else "--" + field.name.replace("_", "-")
        if value is True:
            words.append(name)
        elif value != field.default:
            words += [name, f"{value:g}" if isinstance(value, float) else str(value)]
    return words
