"""``tokendyn simulate --model meanfield``: many tokens on the sphere at low temperature."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Parameter

from tokendyn.cli.boundary import in_flags
from tokendyn.cli.flow_options import RANDOM, FlowOptions, Starter, StartOptions, TimeOptions, check_size
from tokendyn.cli.head_options import HeadOptions
from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import looked_at, progress, rehearse, resumable
from tokendyn.cli.repeat import repeated
from tokendyn.cli.simulate import Model
from tokendyn.cli.values import film_of
from tokendyn.errors import BadInputError
from tokendyn.runs.checkpoint import check_checkpoint
from tokendyn.runs.files import check_free
from tokendyn.words import counted

if TYPE_CHECKING:
    from tokendyn.data.weights import HeadWeights
    from tokendyn.dynamics import FlowTrajectory, TokenFlow
    from tokendyn.particles.meanfield import MeanFieldRun, Phases
    from tokendyn.particles.meanfield.heads import HeadTheory
    from tokendyn.particles.meanfield.report import Companions
    from tokendyn.runs.checkpoint import Checkpoint

#: Until when a run goes by default: times the predicted end, within bounds; and without a prediction.
_BEYOND, _LEAST_TIME, _MOST_TIME, _PLAIN_TIME = 1.5, 4.0, 60.0, 10.0


#: States that phases need.
_FEWEST = 3
#: Tokens of a generated start under a head, and steps of its run.
_HEAD_TOKENS, _HEAD_STEPS = 100, 200


@dataclasses.dataclass(frozen=True)
class _Start:
    """The tokens of a run, how to make others of their kind, and the names of given ones."""

    tokens: np.ndarray
    weights: np.ndarray | None
    words: str
    made: Starter | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, list[dict[str, Any]]]:
        """Return what the report says of the tokens of a text."""
        return (
            {"Tokens of the text": [{"quantity": "note", "value": note} for note in self.notes]} if self.notes else {}
        )


@dataclasses.dataclass(frozen=True)
class _Field:
    """The matrices, and the head that they come from."""

    beta: float
    value: np.ndarray | None
    interaction: np.ndarray | None
    head: "HeadWeights | None" = None
    theory: "HeadTheory | None" = None

    @property
    def words(self) -> str:
        """The head in words; empty without one."""
        head = self.head
        return "" if head is None else f"layer {head.layer}, head {head.head} of {head.heads} ({head.scheme} names)"

    def facts(self) -> dict[str, list[dict[str, Any]]]:
        """Return what the report says of the head."""
        if self.head is None or self.theory is None:
            return {}
        head = self.head
        rows: list[dict[str, Any]] = [
            {"quantity": "head", "value": self.words},
            {"quantity": "model, head dimension", "value": f"{head.dim}, {head.head_dim}"},
            {"quantity": f"the model's own beta, {head.temperature_formula}", "value": head.own_temperature},
            *({"quantity": "note", "value": in_flags(note)} for note in head.notes),
        ]
        return {"Attention head": rows, "Theory of the head, V through O": self.theory.rows(self.beta)}


def simulate_meanfield(
    tokens: Path | None = None,
    /,
    *,
    model: Model = "meanfield",
    flow: FlowOptions = FlowOptions(),  # noqa: B008
    start: StartOptions = StartOptions(),  # noqa: B008
    times: TimeOptions = TimeOptions(),  # noqa: B008
    weights: HeadOptions = HeadOptions(),  # noqa: B008
    check: Annotated[bool, Parameter(negative="--no-check")] = True,
    refine: bool = False,
    seeds: int = 1,
    checkpoint: Path | None = None,
    out: Path | None = None,
    animation: Annotated[bool, Parameter(negative="--no-animation")] = True,
    mp4: bool = False,
    report: Annotated[bool, Parameter(negative="--no-report")] = True,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Run tokens on the sphere under softmax attention; say when they concentrate, on what, and when they leave.

    Writes a folder with the run, distances over time as CSV, figures, an animation and report.html.

    Parameters
    ----------
    tokens
        Tokens in place of --start: a CSV, TSV, npy, npz or safetensors file, or the folder of a trained classifier.
    model
        meanfield; the other model has options of its own.
    check
        Compare with a second run of another size, which judges whether n resolves beta; without it only the start is
        looked at.
    refine
        Run 2n and 4n tokens too, and say how much the distances change.
    seeds
        Run so many seeds of a random start, for the scatter of the phases; the first is the run that is kept.
    checkpoint
        Keep the state of the run in this .safetensors file, and go on from it when it is there, to the same bits; it
        is removed once the run is complete.
    out
        Folder to write, by default run-meanfield or run-NAME. It must not exist.
    animation
        Write the animation.
    mp4
        Write the animation as MP4 (needs ffmpeg) and not as GIF.
    report
        Draw figures, animation and report.html; without them tokendyn report makes them later.
    overwrite
        Replace the output folder when it exists.
    dry_run
        Check the input, say what would be done and whether n resolves beta, and stop.
    json
        Write the summary as one JSON object to standard output.
    """
    from tokendyn.dynamics import means_within
    from tokendyn.dynamics.steps import longest_step
    from tokendyn.particles.meanfield import simulate
    from tokendyn.particles.meanfield.heads import simulate_head
    from tokendyn.particles.meanfield.report import save_run

    folder = out or (Path("run-meanfield") if tokens is None else tokens.parent / f"run-{tokens.name.split('.')[0]}")
    found = _field(flow, weights)
    command = repeated()
    if weights.theory_only:
        return _theory_only(found, folder, command, overwrite=overwrite, dry_run=dry_run, json=json)
    begun = _begin(tokens, start, weights, found)
    field = flow.flow(found.beta, found.value, found.interaction)
    _check_companions(start, begun, refine, seeds)
    step, longest = times.chosen_step(), longest_step(field)
    shown = longest if step == "auto" else step
    grid = times.grid(_default_time(field, found, begun.tokens.shape[1], shown), shown)
    check_size(len(grid), *begun.tokens.shape)
    _tell_plan(field, found, begun, grid)
    check_free(folder, overwrite=overwrite, inputs=[tokens, checkpoint])
    check_checkpoint(checkpoint, folder)
    movie = film_of(animation and report, mp4)
    settings: dict[str, Any] = {
        "method": times.integrator, "step": step, "tolerance": times.tolerance, "noise": times.noise,
        "seed": start.seed, "budget": times.spent(), "config": {"start": begun.words, "head": found.words or None},
    }  # fmt: skip

    def one(
        tokens: np.ndarray, shares: np.ndarray | None, seed: int, checkpoint: "Checkpoint | None" = None,
        tell: Callable[..., None] | None = None,
    ) -> "MeanFieldRun":  # fmt: skip
        with progress(f"{len(tokens)} tokens") as bar:
            given = {**settings, "seed": seed, "progress": tell or bar, "weights": shares, "checkpoint": checkpoint}
            if found.theory is not None and found.head is not None:
                within = None if not flow.error_tolerance else means_within(flow.error_tolerance)
                bounded = dataclasses.replace(field, means=within)
                return simulate_head(bounded, found.theory, found.head.outward, tokens, grid, **given)
            like = None if begun.made is None else functools.partial(sized, begun.made, seed)
            tolerated = flow.error_tolerance
            return simulate(field, tokens, grid, check=check, start=like, error_tolerance=tolerated, **given)

    if dry_run:
        rehearse(lambda tell: one(begun.tokens, begun.weights, start.seed, looked_at(checkpoint), tell))
        announce(f"would write {folder}")
        return 0
    with resumable(checkpoint) as kept:
        run = one(begun.tokens, begun.weights, start.seed, kept)
    if len(run.trajectory.times) < _FEWEST:
        return _cut_short(run.trajectory, folder, overwrite=overwrite, json=json)
    beside = _companions(run, begun, one, start.seed, refine=refine, seeds=seeds)
    beside = dataclasses.replace(beside, facts={**found.facts(), **begun.facts()}, names=begun.names)
    title = f"{begun.words}, {found.words + ', ' if found.words else ''}beta = {found.beta:g}"
    save_run(
        run,
        folder,
        title=title,
        companions=beside,
        animation=movie,
        report=report,
        command=command,
        overwrite=overwrite,
    )
    if kept is not None and run.trajectory.status == "completed":
        kept.remove()
    if json:
        write_json({**run.summary(), **beside.record(), "out": str(folder)})
    _tell(run, beside)
    announce(f"wrote {folder}" + (f"; open {folder / 'report.html'}" if report else ""))
    return 0 if run.trajectory.status == "completed" else 1


def sized(made: Starter, seed: int, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the same start with another number of tokens."""
    return made(count, seed)


def _cut_short(trajectory: "FlowTrajectory", folder: Path, *, overwrite: bool, json: bool) -> int:
    """Write the states of a run that ended before anything can be said of it."""
    trajectory.save(folder, overwrite=overwrite)
    if json:
        facts = {"status": trajectory.status, "reason": trajectory.reason, "time": float(trajectory.times[-1])}
        write_json({**facts, "out": str(folder)})
    announce(f"{trajectory.status}: {trajectory.reason}; the states before that are in {folder}")
    return 1


def _field(flow: FlowOptions, weights: HeadOptions) -> _Field:
    """Return the matrices, from the options or from a model file."""
    from tokendyn.particles.meanfield.heads import head_theory

    head = weights.read()
    if head is None:
        return _Field(flow.temperature(), *flow.matrices())
    given = [name for name in ("value", "score", "interaction", "query", "key") if getattr(flow, name) is not None]
    if given:
        raise BadInputError(f"--weights brings its own matrices; leave out --{' and --'.join(given)}")
    beta = flow.temperature(head.own_temperature)
    theory = head_theory(head.query, head.key, head.value, head.outward)
    return _Field(beta, head.value_matrix, head.interaction, head, theory)


def _theory_only(found: _Field, folder: Path, command: str, *, overwrite: bool, dry_run: bool, json: bool) -> int:
    """Report what the theory says of a head, without a run."""
    from tokendyn.particles.meanfield.report import save_theory
    from tokendyn.show.report import shown_value

    if found.theory is None:
        raise BadInputError("--theory-only belongs to --weights, which is missing")
    facts = found.facts()
    for row in [row for rows in facts.values() for row in rows]:
        announce(f"{row['quantity']}: {shown_value(row['value'])}")
    if json:
        write_json({"inverse_temperature": found.beta if math.isfinite(found.beta) else None, "facts": facts})
    check_free(folder, overwrite=overwrite)
    if dry_run:
        announce(f"would write {folder}")
        return 0
    save_theory(found.theory, folder, title=found.words, facts=facts, command=command, overwrite=overwrite)
    announce(f"wrote {folder}; open {folder / 'report.html'}")
    return 0


def _begin(path: Path | None, start: StartOptions, weights: HeadOptions, found: _Field) -> _Start:
    """Return the start: a text, a file, or generated."""
    from tokendyn.dynamics.flow import checked_weights
    from tokendyn.dynamics.sphere import sphere_tokens

    words = weights.words(path, found.head)
    if (path is not None or words is not None) and start.start is not None:
        raise BadInputError(f"the tokens are given; leave out --start {start.start}, or {path or '--text'}")
    if words is not None:
        points, counts, names = words.points, words.weights, words.names
        source = str(path or weights.weights)
        tokens, rows = start.chosen(points, source, normalise=True)
        shares = None if counts is None else counts[rows] / counts[rows].sum()
        start.dimension(found.value, found.interaction, np.empty((tokens.shape[1],) * 2))
        some = f"{len(tokens)} of {len(points)}" if len(tokens) < len(points) else f"{len(tokens)}"
        shown = f"{some} {'words' if found.head is None else 'tokens'} of {Path(source).name}, put on the sphere"
        return _Start(tokens, shares, shown, names=tuple(names[row] for row in rows), notes=words.notes)
    if path is None:
        dim = start.dimension(found.value, found.interaction)
        if start.token_weights is not None:
            raise BadInputError("--token-weights belong to the tokens of a file; a generated start has its own")
        made, kind = start.starter(dim), start.kind(dim)
        size = start.size(1000 if found.head is None else _HEAD_TOKENS)
        check_size(3, size, dim)
        tokens, shares = made(size, start.seed)
        seeded = f", seed {start.seed}" if kind in RANDOM else ""
        return _Start(tokens, shares, f"{len(tokens)} {kind} tokens in {dim} dimensions{seeded}", made)
    tokens, labels, _ = start.read(path)
    if found.head is not None and found.head.centred and start.normalise:
        # The normalisation in front of the head takes the mean from a state before it divides by the norm.
        tokens = sphere_tokens(tokens - tokens.mean(axis=1, keepdims=True), normalise=True)
    start.dimension(found.value, found.interaction, np.empty((tokens.shape[1],) * 2))
    shares = start.weights(len(tokens))
    if shares is not None:
        shares = checked_weights(shares, len(tokens))
    return _Start(tokens, shares, f"{counted(len(tokens), 'token')} of {path.name}", names=labels)


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


def _default_time(flow: "TokenFlow", found: _Field, dim: int, step: float) -> float:
    """Return until when to run: beyond the predicted end, within bounds."""
    from tokendyn.particles.meanfield import predicted_times, project, terminal_phase

    beta = flow.inverse_temperature
    if found.theory is not None:
        return _HEAD_STEPS * step
    if not 1 < beta < math.inf:
        return _PLAIN_TIME
    one = np.eye(dim)
    value = one if flow.value is None else flow.value
    projection = project(value, one if flow.interaction is None else flow.interaction)
    times = predicted_times(beta, projection, terminal_phase(value, projection))
    ends = [end for end in (times.departure, times.concentration) if math.isfinite(end)]
    return float(np.clip(_BEYOND * ends[0], _LEAST_TIME, _MOST_TIME)) if ends else _PLAIN_TIME


def _tell_plan(flow: "TokenFlow", found: _Field, begun: _Start, grid: np.ndarray) -> None:
    from tokendyn.particles.meanfield import resolution
    from tokendyn.show.report import shown_value

    for row in [row for rows in {**found.facts(), **begun.facts()}.values() for row in rows]:
        announce(f"{row['quantity']}: {shown_value(row['value'])}")
    announce(f"{begun.words}, beta = {flow.inverse_temperature:g}, until t = {grid[-1]:.4g} ({len(grid)} states)")
    guard = resolution(flow, begun.tokens, begun.weights)
    announce(f"{guard.status} by the rule for starts: {guard.reason}")


def _companions(
    run: "MeanFieldRun",
    begun: _Start,
    one: "Callable[[np.ndarray, np.ndarray | None, int], MeanFieldRun]",
    seed: int,
    *,
    refine: bool,
    seeds: int,
) -> "Companions":
    """Run what was asked for beside the run."""
    from tokendyn.particles.meanfield import Refinement
    from tokendyn.particles.meanfield.report import Companions

    made, count = begun.made, len(begun.tokens)
    if made is None or not run.asks:
        return Companions()
    refinement: list[dict[str, Any]] = []
    if refine:
        runs = (run, *(one(*made(size, seed), seed) for size in (2 * count, 4 * count)))
        refinement = Refinement.of(runs).rows()
    found: list[tuple[int, Phases]] = []
    if seeds > 1:
        others = range(seed + 1, seed + seeds)
        found = [(seed, run.phases), *((other, one(*made(count, other), other).phases) for other in others)]
    return Companions(refinement, found)


def _tell(run: "MeanFieldRun", companions: "Companions") -> None:
    from tokendyn.particles.meanfield.scatter import PhaseScatter

    for line in run.describe():
        announce(in_flags(line))
    if run.flow.inverse_temperature == 0:
        announce("note: at beta = 0 every token attends to all alike: the theory of low temperature says nothing")
    for row in companions.refinement if run.asks else []:
        change = "" if row["largest_change"] is None else f", distances change by up to {row['largest_change']:.2g}"
        announce(f"{counted(row['tokens'], 'token')}: least distance {row['least_distance']:.4g}{change}")
    if companions.seeds and run.asks:
        scatter = PhaseScatter.of([phases for _, phases in companions.seeds])
        announce(
            f"over {len(companions.seeds)} seeds: least distance {scatter.least}, at t = {scatter.concentration}, "
            f"departure {scatter.departure}"
        )
