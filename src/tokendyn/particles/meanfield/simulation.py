"""What ``tokendyn simulate --model meanfield`` does, as an experiment: many tokens on the sphere at low temperature."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tokendyn.errors import BadInputError
from tokendyn.experiments import Experiment, Flags, ProgressCallback, checkpoint_of
from tokendyn.particles.experiments import film_of, run_folder
from tokendyn.particles.meanfield.head_options import HeadOptions
from tokendyn.particles.meanfield.options import RANDOM, FlowOptions, Starter, StartOptions, TimeOptions, check_size
from tokendyn.words import counted

if TYPE_CHECKING:
    import numpy as np

    from tokendyn.data.weights import HeadWeights
    from tokendyn.dynamics import TokenFlow
    from tokendyn.particles.meanfield import MeanFieldRun
    from tokendyn.particles.meanfield.heads import HeadTheory
    from tokendyn.particles.meanfield.outcome import HeadFacts, MeanFieldResult
    from tokendyn.runs.checkpoint import Checkpoint

#: Default end of a run: factor on the predicted end, its least and largest value; and the end without a prediction.
_BEYOND, _LEAST_TIME, _MOST_TIME, _PLAIN_TIME = 1.5, 4.0, 60.0, 10.0
#: Least number of states from which phases can be read.
_FEWEST = 3
#: Number of tokens of a generated start under a head, and of steps of its run.
_HEAD_TOKENS, _HEAD_STEPS = 100, 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanField(HeadOptions, TimeOptions, StartOptions, FlowOptions, Experiment["MeanFieldResult | HeadFacts"]):
    """Tokens on the sphere under softmax attention: when they concentrate, on what, and when they leave.

    Parameters
    ----------
    tokens
        Tokens in place of ``start``: a CSV, TSV, npy, npz or safetensors file, or the folder of a trained classifier.
    compare
        Compare with a second run of another size, which judges whether n resolves beta; without it only the start is
        judged.
    refine
        Run 2n and 4n tokens too, and report the change of the distances.
    seeds
        Number of seeds of a random start, for the scatter of the phases; the run of the first seed is kept.
    animation
        Write the animation.
    mp4
        Write the animation as MP4 (needs ffmpeg) and not as GIF.
    report
        Draw figures, animation and report.html; without them tokendyn report makes them later.
    """

    command: ClassVar[str] = "simulate-meanfield"
    typed: ClassVar[str] = "simulate --model meanfield"
    constants: ClassVar[Mapping[str, Any]] = {"model": "meanfield"}
    resumes: ClassVar[bool] = True

    tokens: Path | None = dataclasses.field(default=None, kw_only=False)
    compare: Annotated[bool, Flags("--check")] = True
    refine: bool = False
    seeds: int = 1
    animation: bool = True
    mp4: bool = False
    report: bool = True

    def folder(self) -> Path:
        """Return ``run-NAME`` beside the tokens, or ``run-meanfield`` for a generated start."""
        return Path("run-meanfield") if self.tokens is None else run_folder(self.tokens)

    def outline(self) -> Sequence[str]:
        """Return the head, the start, the time, and whether the start resolves the temperature."""
        from tokendyn.particles.meanfield import resolution
        from tokendyn.show.report import shown_value

        film_of(self.animation and self.report, self.mp4)
        source, tables = self._source, self._source.facts()
        if self.theory_only:
            return [f"{row['quantity']}: {shown_value(row['value'])}" for rows in tables.values() for row in rows]
        plan, start = self._plan, self._plan.start
        tables = {**tables, **start.facts()}
        guard = resolution(plan.flow, start.tokens, start.weights)
        return [
            *([f"{start.name_column} holds names"] if start.name_column else []),
            *(f"{row['quantity']}: {shown_value(row['value'])}" for rows in tables.values() for row in rows),
            f"{start.words}, beta = {source.beta:g}, until t = {plan.times[-1]:.4g} ({len(plan.times)} states)",
            f"{guard.status} by the rule for starts: {guard.reason}",
        ]

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Make all checks of a run; return a description of it in sentences."""
        return self.outline() if self.theory_only else super().check(checkpoint)

    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> "MeanFieldResult | HeadFacts":
        """Run the tokens and the requested companion runs; with ``theory_only``, compute only the theory of the head.

        Parameters
        ----------
        progress
            Called with the number of steps done, and the total number, of each run.
        checkpoint
            Where the state of the first run is kept.
        budget
            Seconds for the integration, in place of the option.
        """
        from tokendyn.particles.meanfield.outcome import HeadFacts, MeanFieldResult
        from tokendyn.particles.meanfield.report import Companions

        source = self._source
        if source.theory is not None and self.theory_only:
            return HeadFacts(theory=source.theory, words=source.words, facts=source.facts(), beta=source.beta)
        start = self._plan.start
        begin = functools.partial(self._one, progress=progress, budget=budget)
        run = begin(start.tokens, start.weights, self.seed, checkpoint=checkpoint_of(checkpoint))
        title = f"{start.words}, {source.words + ', ' if source.words else ''}beta = {source.beta:g}"
        companions = Companions()
        if len(run.trajectory.times) >= _FEWEST:
            companions = self._companions(run, begin)
            tables = {**source.facts(), **start.facts()}
            companions = dataclasses.replace(companions, facts=tables, names=start.names)
        return MeanFieldResult(run=run, companions=companions, title=title)

    def write(
        self, result: "MeanFieldResult | HeadFacts", folder: str | Path, *, command: str = "", overwrite: bool = False
    ) -> None:
        """Write the run, distances over time as CSV, figures, film and page; or the facts about a head."""
        film = film_of(self.animation and self.report, self.mp4)
        result.save(folder, animation=film, report=self.report, command=command, overwrite=overwrite)

    def _one(
        self, tokens: "np.ndarray", weights: "np.ndarray | None", seed: int, *,
        progress: ProgressCallback | None = None, checkpoint: "Checkpoint | None" = None, budget: float | None = None,
    ) -> "MeanFieldRun":  # fmt: skip
        """Run tokens of the start."""
        from tokendyn.dynamics import Budget, means_within
        from tokendyn.particles.meanfield import simulate
        from tokendyn.particles.meanfield.heads import simulate_head

        source, plan = self._source, self._plan
        settings: dict[str, Any] = {
            "method": self.integrator, "step": plan.step, "tolerance": self.tolerance, "noise": self.noise,
            "budget": self.spent() if budget is None else Budget(seconds=budget), "seed": seed, "weights": weights,
            "config": {"start": plan.start.words, "head": source.words or None}, "progress": progress,
            "checkpoint": checkpoint,
        }  # fmt: skip
        if source.theory is not None and source.head is not None:
            means = None if not self.error_tolerance else means_within(self.error_tolerance)
            flow = dataclasses.replace(plan.flow, means=means)
            return simulate_head(flow, source.theory, source.head.outward, tokens, plan.times, **settings)
        starter = plan.start.starter
        like = None if starter is None else functools.partial(sized, starter, seed)
        return simulate(
            plan.flow, tokens, plan.times, check=self.compare, start=like, error_tolerance=self.error_tolerance,
            **settings,
        )  # fmt: skip

    def _companions(self, run: "MeanFieldRun", begin: Any) -> Any:
        """Run the refinement and the seeds that were requested."""
        from tokendyn.particles.meanfield import Refinement
        from tokendyn.particles.meanfield.report import Companions

        start = self._plan.start
        starter, count = start.starter, len(start.tokens)
        if starter is None or not run.asks:
            return Companions()
        refinement: list[dict[str, Any]] = []
        if self.refine:
            larger = (begin(*starter(size, self.seed), self.seed) for size in (2 * count, 4 * count))
            refinement = Refinement.of((run, *larger)).rows()
        phases = []
        if self.seeds > 1:
            others = range(self.seed + 1, self.seed + self.seeds)
            scattered = [(other, begin(*starter(count, other), other).phases) for other in others]
            phases = [(self.seed, run.phases), *scattered]
        return Companions(refinement, phases)

    @cached_property
    def _source(self) -> "Source":
        """Return the matrices, from the options or from a model file."""
        from tokendyn.particles.meanfield.heads import head_theory

        head = self.read_head_weights()
        if head is None:
            if self.theory_only:
                raise BadInputError("`theory_only` belongs to `weights`, which is missing")
            value, interaction = self.matrices()
            return Source(beta=self.chosen_temperature(), value=value, interaction=interaction)
        options = [
            name for name in ("value", "score", "interaction", "query", "key") if getattr(self, name) is not None
        ]
        if options:
            raise BadInputError(f"`weights` brings its own matrices; leave out `{'` and `'.join(options)}`")
        theory = head_theory(head.query, head.key, head.value, head.outward)
        beta = self.chosen_temperature(head.own_temperature)
        return Source(beta=beta, value=head.value_matrix, interaction=head.interaction, head=head, theory=theory)

    @cached_property
    def _plan(self) -> "Plan":
        """Return the start, the flow and the times, checked."""
        from tokendyn.dynamics.steps import longest_step

        source = self._source
        start = self._begin(source)
        flow = self.flow_at(source.beta, source.value, source.interaction)
        self._check_companions(start)
        step, longest = self.chosen_step(), longest_step(flow)
        shown = longest if step == "auto" else step
        times = self.grid(_default_time(flow, source, start.tokens.shape[1], shown), shown)
        check_size(len(times), *start.tokens.shape)
        return Plan(start=start, flow=flow, step=step, times=times)

    def _begin(self, source: "Source") -> "Start":
        """Return the start: a text, a file, or generated."""
        words = self.read_words(self.tokens, source.head)
        if (self.tokens is not None or words is not None) and self.start is not None:
            other = f"`tokens={self.tokens}`" if self.tokens is not None else "`text`"
            raise BadInputError(f"the tokens are given; leave out `start={self.start}`, or {other}")
        if words is not None:
            return self._begin_with_words(words, source)
        if self.tokens is None:
            return self._begin_anew(source)
        return self._begin_with_file(self.tokens, source)

    def _begin_with_words(self, words: Any, source: "Source") -> "Start":
        import numpy as np

        origin = str(self.tokens or self.weights)
        tokens, rows = self.on_sphere(words.points, origin, normalise=True)
        shares = None if words.weights is None else words.weights[rows] / words.weights[rows].sum()
        self.dimension(source.value, source.interaction, np.empty((tokens.shape[1],) * 2))
        some = f"{len(tokens)} of {len(words.points)}" if len(tokens) < len(words.points) else f"{len(tokens)}"
        shown = f"{some} {'words' if source.head is None else 'tokens'} of {Path(origin).name}, put on the sphere"
        names = tuple(words.names[row] for row in rows)
        return Start(tokens=tokens, weights=shares, words=shown, names=names, notes=words.notes)

    def _begin_anew(self, source: "Source") -> "Start":
        dim = self.dimension(source.value, source.interaction)
        if self.token_weights is not None:
            raise BadInputError("`token_weights` belong to the tokens of a file; a generated start has its own")
        starter, kind = self.starter(dim), self.start_kind(dim)
        size = self.token_count(1000 if source.head is None else _HEAD_TOKENS)
        check_size(3, size, dim)
        tokens, shares = starter(size, self.seed)
        seeded = f", seed {self.seed}" if kind in RANDOM else ""
        words = f"{len(tokens)} {kind} tokens in {dim} dimensions{seeded}"
        return Start(tokens=tokens, weights=shares, words=words, starter=starter)

    def _begin_with_file(self, path: Path, source: "Source") -> "Start":
        import numpy as np

        from tokendyn.dynamics.flow import checked_weights
        from tokendyn.dynamics.sphere import sphere_tokens

        tokens, labels, name_column = self.read_start(path, None if source.head is None else self.layer)
        if source.head is not None and source.head.centred and self.normalise:
            # The normalisation in front of the head takes the mean from a state before it divides by the norm.
            tokens = sphere_tokens(tokens - tokens.mean(axis=1, keepdims=True), normalise=True)
        self.dimension(source.value, source.interaction, np.empty((tokens.shape[1],) * 2))
        shares = self.read_weights(len(tokens))
        if shares is not None:
            shares = checked_weights(shares, len(tokens))
        words = f"{counted(len(tokens), 'token')} of {path.name}"
        return Start(tokens=tokens, weights=shares, words=words, names=labels, name_column=name_column)

    def _check_companions(self, start: "Start") -> None:
        problems = []
        if self.seeds < 1:
            problems.append(f"`seeds` must be at least 1, got {self.seeds}")
        if (self.refine or self.seeds > 1) and start.starter is None:
            problems.append("`refine` and `seeds` need a generated start, not a file: its law has no more tokens")
        elif self.seeds > 1 and self.start_kind(start.tokens.shape[1]) not in RANDOM:
            kind = self.start_kind(start.tokens.shape[1])
            problems.append(f"`start={kind}` is the same for every seed; for `seeds` take {', '.join(RANDOM)}")
        if problems:
            raise BadInputError.all_of("options", problems)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """The tokens of a run, a function for starts of other sizes, and the names of tokens from a file."""

    tokens: "np.ndarray"
    weights: "np.ndarray | None"
    words: str
    starter: Starter | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    name_column: str | None = None

    def facts(self) -> dict[str, list[dict[str, Any]]]:
        """Return the tables of the report about the tokens of a text."""
        rows = [{"quantity": "note", "value": note} for note in self.notes]
        return {"Tokens of the text": rows} if rows else {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """The matrices, and the head that they come from."""

    beta: float
    value: "np.ndarray | None"
    interaction: "np.ndarray | None"
    head: "HeadWeights | None" = None
    theory: "HeadTheory | None" = None

    @property
    def words(self) -> str:
        """The head in words; empty without one."""
        head = self.head
        return "" if head is None else f"layer {head.layer}, head {head.head} of {head.heads} ({head.scheme} names)"

    def facts(self) -> dict[str, list[dict[str, Any]]]:
        """Return the tables of the report about the head."""
        if self.head is None or self.theory is None:
            return {}
        head = self.head
        rows: list[dict[str, Any]] = [
            {"quantity": "head", "value": self.words},
            {"quantity": "model, head dimension", "value": f"{head.dim}, {head.head_dim}"},
            {"quantity": f"the model's own beta, {head.temperature_formula}", "value": head.own_temperature},
            *({"quantity": "note", "value": note} for note in head.notes),
        ]
        return {"Attention head": rows, "Theory of the head, V through O": self.theory.rows(self.beta)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The start of a run and its output times."""

    start: Start
    flow: "TokenFlow"
    step: Any
    times: "np.ndarray"


def sized(starter: Starter, seed: int, count: int) -> "tuple[np.ndarray, np.ndarray | None]":
    """Return the same start with another number of tokens."""
    return starter(count, seed)


def _default_time(flow: "TokenFlow", source: Source, dim: int, step: float) -> float:
    """Return the default end of a run: beyond the predicted end, within bounds."""
    import numpy as np

    from tokendyn.particles.meanfield import predicted_times, project, terminal_phase

    beta = flow.inverse_temperature
    if source.theory is not None:
        return _HEAD_STEPS * step
    if not 1 < beta < math.inf:
        return _PLAIN_TIME
    identity = np.eye(dim)
    value = identity if flow.value is None else flow.value
    projection = project(value, identity if flow.interaction is None else flow.interaction)
    times = predicted_times(beta, projection, terminal_phase(value, projection))
    ends = [end for end in (times.departure, times.concentration) if math.isfinite(end)]
    return float(np.clip(_BEYOND * ends[0], _LEAST_TIME, _MOST_TIME)) if ends else _PLAIN_TIME
