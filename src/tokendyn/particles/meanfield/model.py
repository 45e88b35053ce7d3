"""Tokens at low temperature (arXiv 2605.10931): run them, measure how they concentrate, and say what to trust."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from tokendyn.data.tokens import named_tokens
from tokendyn.dynamics import Budget, FlowTrajectory, Progress, TokenFlow, checked_tokens, integrate, means_within
from tokendyn.dynamics.flow import checked_weights
from tokendyn.dynamics.integrators import Method, Step
from tokendyn.dynamics.sphere import sphere_tokens
from tokendyn.dynamics.steps import STEP_ERROR
from tokendyn.errors import BadInputError
from tokendyn.late import function_at
from tokendyn.metrics.transport import Transport, coupling_distance, two_atom_distance, wasserstein
from tokendyn.particles.meanfield.check import (
    Start,
    Stragglers,
    evenly,
    judged,
    left_behind,
    lonely,
    other_start,
    unchecked,
)
from tokendyn.particles.meanfield.guard import Resolution, resolution
from tokendyn.particles.meanfield.phases import DEPARTED, Phases, detect_phases
from tokendyn.particles.meanfield.projection import (
    PredictedTimes,
    Projection,
    TerminalPhase,
    predicted_times,
    project,
    terminal_phase,
)
from tokendyn.results import Curves, Result
from tokendyn.runs.checkpoint import Checkpoint
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.show.report import Report

_distance_table = function_at("tokendyn.particles.meanfield.report:distance_table")
_save_run = function_at("tokendyn.particles.meanfield.report:save_run")
_save_refinement = function_at("tokendyn.particles.meanfield.report:save_refinement")
_write_figures = function_at("tokendyn.particles.meanfield.report:write_figures")
_run_report = function_at("tokendyn.particles.meanfield.report:run_report")

#: States that phases need.
_FEWEST = 3

#: Tokens up to which the exact transport is solved by POT.
EXACT_TOKENS = 2000

#: From so many tokens on the attention's means are those of a fast backend, within this error.
MANY, MANY_ERROR = 4000, 1e-9

#: Mean of the tokens of each half of E off E, in units of their spread off E, below which a law counts as symmetric.
_SYMMETRIC = 0.02

#: What a run shows. ``stays``: concentrated until its end. ``leaves``: concentrated, then left. ``never``: the distance
#: never fell below the level. ``unresolved``: too few tokens to say. ``nothing``: there is no projected law.
Verdict = Literal["stays", "leaves", "never", "unresolved", "nothing"]


@dataclass(frozen=True)
class MeanFieldRun(Result):
    """A run of tokens on the sphere with what the theory says of it.

    Attributes
    ----------
    trajectory
        Times, states, weights, status.
    flow
        The vector field.
    projection
        The map Pi with its status and rate.
    terminal
        What collapsed clusters do.
    resolution
        Whether the number of tokens resolves beta: judged along the run, and by a second run of another size.
    targets
        ``(tokens, dim)``: ``Pi(x_i(0))``; their law is the projected law.
    """

    trajectory: FlowTrajectory
    flow: TokenFlow
    projection: Projection
    terminal: TerminalPhase
    resolution: Resolution
    targets: Float[np.ndarray, "tokens dim"]

    @property
    def status(self) -> str:
        """How the integration ended; what the run shows is :attr:`verdict`."""
        return self.trajectory.status

    @cached_property
    def distances(self) -> Float[np.ndarray, " states"]:
        """Coupling bound of ``W_2(mu_t, Pi#mu_0)`` at every time: each token against its own projection."""
        return coupling_distance(self.trajectory.states, self.targets, self.trajectory.weights)

    @cached_property
    def crossings(self) -> Int[np.ndarray, " states"]:
        """Number of tokens on the other side of the separatrix than at the start, at every time."""
        states = self.trajectory.states
        return np.array([self.projection.crossed(states[0], state).sum() for state in states], dtype=np.int64)

    @cached_property
    def distances_without_crossings(self) -> Float[np.ndarray, " states"]:
        """The coupling bound over the tokens that have not crossed the separatrix."""
        states, weights = self.trajectory.states, self.trajectory.weights
        found = np.empty(len(states))
        for place, state in enumerate(states):
            kept = ~self.projection.crossed(states[0], state)
            share = float(weights[kept].sum())
            found[place] = (
                coupling_distance(state[kept], self.targets[kept], weights[kept] / share) if share > 0 else math.nan
            )
        return found

    @property
    def floors(self) -> Float[np.ndarray, " states"]:
        """Floor under the coupling bound from the crossed tokens: ``2 sqrt(k / n)``, with weights ``2 sqrt(sum w)``."""
        states, weights = self.trajectory.states, self.trajectory.weights
        crossed = np.array([self.projection.crossed(states[0], state) @ weights for state in states])
        return np.asarray(2 * np.sqrt(crossed))

    @cached_property
    def phases(self) -> Phases:
        """Concentration, metastable interval and departure, from :attr:`distances`; see :attr:`asks`."""
        return detect_phases(self.trajectory.times, self.distances)

    @property
    def asks(self) -> bool:
        """Whether there is a projected law to come near: E is not the whole space, and limits do not turn in it."""
        return self.projection.concentrates

    @property
    def verdict(self) -> Verdict:
        """What the run shows, in a word."""
        if not self.asks:
            return "nothing"
        if self.resolution.status != "resolved":
            return "unresolved"
        if self.phases.least > DEPARTED:
            return "never"
        return "stays" if math.isinf(self.phases.departure) else "leaves"

    @cached_property
    def distances_to_e(self) -> Float[np.ndarray, " states"]:
        """Root mean square distance of the tokens to their nearest points of E on the sphere, at every time."""
        inside = np.linalg.norm(self.trajectory.states @ self.projection.basis, axis=2)
        return np.asarray(np.sqrt(np.maximum(2 - 2 * inside, 0) @ self.trajectory.weights))

    @cached_property
    def stragglers(self) -> Stragglers:
        """Tokens that are left to themselves off E at the least distance, and what holds without them."""
        state, weights = self.trajectory.states[self.best], self.trajectory.weights
        alone = lonely(self.flow, state, weights, np.linalg.norm(state - self.targets, axis=1))
        kept, without = ~alone, None
        if alone.any() and kept.any() and len(self.trajectory.times) >= _FEWEST:
            shares = weights[kept] / weights[kept].sum()
            curve = coupling_distance(np.ascontiguousarray(self.trajectory.states[:, kept]), self.targets[kept], shares)
            without = detect_phases(self.trajectory.times, curve)
        return Stragglers(int(alone.sum()), float(weights[alone].sum()), without)

    @cached_property
    def symmetric(self) -> bool:
        """Whether the start is symmetric about E, which hides a terminal phase: it is left by rounding only."""
        start, weights, basis = self.trajectory.states[0], self.trajectory.weights, self.projection.basis
        if self.projection.dimension == start.shape[1]:
            return False
        off = start - (start @ basis) @ basis.T
        spread = math.sqrt(float(weights @ (off**2).sum(axis=1)))
        for direction in basis.T[:8]:
            for side in (start @ direction > 0, start @ direction <= 0):
                share = float(weights[side].sum())
                if share > 0 and np.linalg.norm(weights[side] @ off[side]) / share > _SYMMETRIC * spread:
                    return False
        return spread > 0

    @property
    def best(self) -> int:
        """Number of the state of least distance."""
        return int(self.distances.argmin())

    @property
    def prediction(self) -> PredictedTimes | None:
        """Leading-order times; None unless ``1 < beta < inf``."""
        beta = self.flow.inverse_temperature
        return predicted_times(beta, self.projection, self.terminal) if 1 < beta < math.inf else None

    def exact_distance(self, state: int = -1, max_iterations: int = 5_000_000) -> Transport:
        """Return the exact ``W_2`` to the projected law at one time.

        Two-atom targets (E is a line) are sorted; others are transported, for up to ``EXACT_TOKENS`` tokens.

        Raises
        ------
        BadInputError
            For more tokens and a larger E.
        ConvergenceError
            See :func:`tokendyn.metrics.wasserstein`.
        """
        tokens, weights = self.trajectory.states[state], self.trajectory.weights
        if self.projection.dimension == 1 and self.projection.status == "eigenspace":
            axis = self.projection.basis[:, 0]
            mass = float(weights[self.targets @ axis > 0].sum())
            value = two_atom_distance(tokens, np.stack([axis, -axis]), np.array([mass, 1 - mass]), weights)
            return Transport(value, value)
        if len(tokens) > EXACT_TOKENS:
            raise BadInputError(
                f"{len(tokens)} tokens are too many for exact transport (at most {EXACT_TOKENS}); use distances"
            )
        return wasserstein(tokens, self.targets, weights, weights, max_iterations=max_iterations)

    def log_energies(self) -> Float[np.ndarray, " states"]:
        """Return ``log sum_ij w_i w_j e^{beta <x_i, B x_j>}`` at every time; it never decreases when V = B = B^T."""
        weights = np.log(self.trajectory.weights)
        drifts = (self.flow.drift(state, self.trajectory.weights) for state in self.trajectory.states)
        return np.array([np.logaddexp.reduce(weights + drift.log_masses) for drift in drifts])

    def effective_sizes(self) -> Float[np.ndarray, " states"]:
        """Return the median over the tokens of the effective number of tokens attended to, at every time."""
        drifts = (self.flow.drift(state, self.trajectory.weights) for state in self.trajectory.states)
        return np.array([np.median(drift.effective_sizes) for drift in drifts])

    @property
    def warnings(self) -> list[str]:
        """What keeps this run from showing the mean-field limit, in sentences; empty when nothing does."""
        found = [] if self.resolution.status == "resolved" else [self.resolution.reason]
        if self.projection.status != "eigenspace":
            found.append(f"projection {self.projection.status}: {self.projection.reason}")
        if self.asks and self.terminal.exists and self.terminal.invariant and self.symmetric:
            found.append(
                "the start is symmetric about E, which hides the terminal phase: clusters leave by rounding only; take "
                "a start whose mean lies off E (push=0.2, or another density)"
            )
        if (self.trajectory.step_error or 0.0) > STEP_ERROR * (1 + 1e-9):
            found.append(
                f"a step errs by up to {self.trajectory.step_error:.1e} by its estimate, more than {STEP_ERROR:.0e}: "
                "the step is too long for this flow; leave it out, and it is chosen"
            )
        if self.trajectory.reason:
            found.append(f"{self.trajectory.status}: {self.trajectory.reason}")
        return found

    def summary(self) -> dict[str, Any]:
        """Return the run in numbers, as JSON values; what is infinite or undefined is None."""
        prediction, trajectory, asks = self.prediction if self.asks else None, self.trajectory, self.asks
        phases = self.phases if asks else None
        near = phases if phases is not None and phases.least <= DEPARTED else None
        guard = self.resolution
        return {
            "status": trajectory.status,
            "resolution": guard.status,
            "verdict": self.verdict,
            "warnings": self.warnings,
            "tokens": len(trajectory.weights),
            "tokens_needed": _finite(guard.needed),
            "dim": int(trajectory.states.shape[2]),
            "inverse_temperature": _finite(self.flow.inverse_temperature),
            "time": float(trajectory.times[-1]),
            "projection": self.projection.status,
            "projection_dimension": self.projection.dimension,
            "contraction_rate": self.projection.rate if asks else None,
            "terminal_phase": self.terminal.exists,
            "terminal_rate": _finite(self.terminal.rate),
            "least_distance": phases.least if phases else None,
            "concentration_time": near.concentration if near else None,
            "metastable_from": near.metastable[0] if near else None,
            "metastable_to": _finite(near.metastable[1]) if near else None,
            "departure_time": _finite(near.departure) if near else None,
            "predicted_concentration_time": _finite(prediction.concentration) if prediction else None,
            "predicted_departure_time": _finite(prediction.departure) if prediction else None,
            "other_tokens": guard.other_tokens,
            "least_change": _finite(guard.least_change),
            "departure_change": _finite(guard.departure_change),
            "stragglers": guard.stragglers,
            "crossings": int(self.crossings[self.best]) if asks else 0,
            "clusters": len(trajectory.clusters().sizes),
            "steps": trajectory.steps,
            "seconds": trajectory.provenance.get("seconds"),
        }

    def describe(self) -> list[str]:
        """Return the run in a few sentences."""
        facts = self.summary()
        lines = [
            f"{counted(facts['tokens'], 'token')} in {facts['dim']} dimensions at beta = "
            f"{self.flow.inverse_temperature:g}, until t = {facts['time']:g}: "
            f"{counted(facts['clusters'], 'cluster')} at the end",
            *self._course(),
        ]
        if facts["crossings"]:
            floor, without = self.floors[self.best], self.distances_without_crossings[self.best]
            lines.append(
                f"{counted(facts['crossings'], 'token')} had crossed the separatrix by then, which puts a floor of "
                f"{floor:.3g} under the distance; over the other tokens it is {without:.3g}"
            )
        held = self.stragglers if self.asks else Stragglers(0, 0.0, None)
        if held.phases is not None:
            lines.append(f"{left_behind(held.count)} off E then; without {_them(held.count)}: {_told(held.phases)}")
        if self.resolution.status == "resolved" and self.resolution.other_tokens:
            lines.append(f"resolved: {self.resolution.reason}")
        if self.flow.means is not None:
            lines.append("the means of the attention are within an error bound, by fast backends")
        return lines + [f"note: {warning}" for warning in self.warnings]

    def __repr__(self) -> str:
        # Only what is there already: a summary measures distances and crossings, which takes seconds for many tokens.
        states, tokens, dim = self.trajectory.states.shape
        beta, until = self.flow.inverse_temperature, float(self.trajectory.times[-1])
        return (
            f"MeanFieldRun(status={self.status!r}, tokens={tokens}, dim={dim}, inverse_temperature={beta:g}, "
            f"time={until:g}, states={states})"
        )

    def table(self) -> "pd.DataFrame":
        """Return one row for each time: distances, crossings, clusters, what the attention is like."""
        table: pd.DataFrame = _distance_table(self)
        return table

    def picture(self) -> Curves:
        """Return the distance to the projected law over time; to E itself where there is no such law."""
        times = self.trajectory.times
        if not self.asks:
            return Curves(times, {"distance to E": self.distances_to_e}, "time", "distance to E")
        marks = {"least distance": self.phases.concentration, "departure": self.phases.departure}
        kept = marks if self.phases.least <= DEPARTED else {}
        return Curves(times, {"all tokens": self.distances}, "time", "W2 to the projected law", log=True, marks=kept)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the run and its table into a new folder; ``tokendyn report FOLDER`` draws the page."""
        _save_run(self, folder, title="Mean-field run", animation=None, report=False, overwrite=overwrite)

    def _page(self, title: str, pictures: Path) -> "Report":
        _write_figures(self, pictures)
        report: Report = _run_report(self, title=title, pictures=pictures)
        return report

    def _course(self) -> list[str]:
        """Return what the law does, and why, in sentences."""
        if self.projection.dimension == self.trajectory.states.shape[2]:
            return [f"E is the whole space ({self.projection.reason}): there is no projected law to come near or leave"]
        theory = f"contraction rate c = {self.projection.rate:.3g}; {self.terminal.reason}"
        if not self.asks:
            best = int(self.distances_to_e.argmin())
            return [
                f"{self.projection.reason}, so there is no projected law to come near; least distance to E itself "
                f"{self.distances_to_e[best]:.3g} at t = {self.trajectory.times[best]:.3g}; {theory}"
            ]
        return [f"{_told(self.phases)}", f"{self.projection.reason}; {theory}"]


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _told(phases: Phases) -> str:
    """Return phases in a sentence."""
    if phases.least > DEPARTED:
        when = f"at t = {phases.concentration:.3g}"
        return f"the law never comes near its projection: least distance {phases.least:.3g} {when}"
    left = "does not leave it" if math.isinf(phases.departure) else f"leaves it at t = {phases.departure:.3g}"
    return f"least distance to the projected law {phases.least:.3g} at t = {phases.concentration:.3g}; the law {left}"


def simulate(
    flow: TokenFlow,
    tokens: Any,
    times: Sequence[float] | Float[np.ndarray, " times"],
    *,
    weights: Float[np.ndarray, " tokens"] | None = None,
    method: Method = "rk4",
    step: Step = "auto",
    tolerance: float = 1e-8,
    noise: float = 0.0,
    seed: int | None = None,
    budget: Budget | None = None,
    normalise: bool = False,
    config: dict[str, Any] | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    check: bool = True,
    start: Start | None = None,
    error_tolerance: float | None = None,
) -> MeanFieldRun:
    """Run tokens on the sphere and compare their law with its projection.

    The run is judged by a second one (:mod:`~tokendyn.particles.meanfield.check`). Up to 512 tokens it has four times
    as many; else 0.7 times as many in the bulk and near the separatrix those of a start of four times as many, which
    costs about as much as the run itself.

    Parameters
    ----------
    flow
        The vector field, on the sphere.
    tokens
        ``(tokens, dim)`` on the sphere: an array, what :func:`tokendyn.data.tokens.read_tokens` returns, a DataFrame or
        an xarray DataArray.
    times, weights, method, step, tolerance, noise, seed, budget, normalise, config, progress, checkpoint
        See :func:`tokendyn.dynamics.integrate`.
    check
        Make the second run. Without it the resolution is the rule for the start (:func:`resolution`), no more.
    start
        Returns the start for another number of tokens, for the second run. Without it tokens on the circle are
        interpolated; in higher dimensions some of them are left out, and those of the tail make room for others on the
        way to their neighbours; independent tokens are told from even ones.
    error_tolerance
        Accept this error of the attention's means, from backends that are far faster for many tokens
        (:func:`~tokendyn.dynamics.means_within`); 0 for the exact difference form. By default the exact form below
        4,000 tokens and 1e-9 from there on, where a flow is full, normalised and has no means of its own.

    Raises
    ------
    BadInputError
        As :func:`tokendyn.dynamics.integrate`; for a flow that is not on the sphere; for tokens on the separatrix.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import TokenFlow
    >>> from tokendyn.particles import meanfield
    >>> from tokendyn.particles.meanfield import starts
    >>> flow = TokenFlow(100.0, interaction=np.diag([4.0, 1.0]), value=np.diag([1.0, 2.0]))
    >>> tokens = starts.circle_quantiles(100, lambda angle: 1 + 0.5 * np.cos(angle - 1))
    >>> run = meanfield.simulate(flow, tokens, np.linspace(0, 10, 51))
    >>> run.distances[[0, 30, 50]].round(2)
    array([0.85, 0.08, 1.06])
    """
    if not isinstance(flow, TokenFlow):
        raise BadInputError(f"flow is {type(flow).__name__}, expected a TokenFlow: simulate(flow, tokens, times)")
    if not flow.on_sphere:
        raise BadInputError("the projected law lies on the sphere; use tokendyn.dynamics.integrate for flows in R^d")
    begun = sphere_tokens(checked_tokens(named_tokens(tokens)[0]), normalise=normalise)
    shares = checked_weights(weights, len(begun))
    one = np.eye(begun.shape[1])
    value = one if flow.value is None else flow.value
    projection = project(value, one if flow.interaction is None else flow.interaction)
    targets = projection.apply(begun)
    followed = _with_means(flow, len(begun), error_tolerance)
    settings: dict[str, Any] = {
        "method": method, "step": step, "tolerance": tolerance, "noise": noise, "seed": seed, "budget": budget,
    }  # fmt: skip
    trajectory = integrate(
        followed, begun, times, weights=shares, config=config, progress=progress, checkpoint=checkpoint, **settings
    )
    guard = resolution(flow, begun, shares)
    run = MeanFieldRun(trajectory, followed, projection, terminal_phase(value, projection), guard, targets)
    return replace(run, resolution=_judged(run, start, settings)) if check else run


def _with_means(flow: TokenFlow, count: int, error_tolerance: float | None) -> TokenFlow:
    """Return the flow with means of a fast backend, where these are asked for, or many tokens make them worth it."""
    plain = flow.means is None and flow.normalised and not flow.causal and 0 < flow.inverse_temperature < math.inf
    if error_tolerance is None:
        error_tolerance = MANY_ERROR if plain and count >= MANY else 0.0
    return flow if error_tolerance == 0 else replace(flow, means=means_within(error_tolerance))


def _judged(run: MeanFieldRun, start: Start | None, settings: dict[str, Any]) -> Resolution:
    """Return the verdict on a run, by its stragglers and a second run."""
    guard, trajectory = run.resolution, run.trajectory
    cold = math.isinf(run.flow.inverse_temperature)
    if not run.asks or cold or len(trajectory.times) < _FEWEST:
        return guard
    if run.flow.causal:
        return unchecked(guard, "what tokens of a causal flow do depends on their order")
    if trajectory.status != "completed":
        return unchecked(guard, f"{trajectory.status}, at t = {trajectory.times[-1]:.3g}")
    begun = other_start(trajectory.states[0], trajectory.weights, run.projection, start)
    if begun is None:
        return unchecked(guard, "there are too few tokens to compare with fewer")
    moved = integrate(run.flow, begun[0], trajectory.times, weights=begun[1], normalise=True, **settings)
    if moved.status != "completed":
        return unchecked(guard, f"the run of another size ended early, {moved.status}")
    targets = run.projection.apply(moved.states[0])
    second = MeanFieldRun(moved, run.flow, run.projection, run.terminal, guard, targets)
    parts = trajectory.weights * ((trajectory.states[run.best] - run.targets) ** 2).sum(axis=1)
    shared = float(parts.sum() ** 2 / max(float((parts**2).sum()), np.finfo(float).tiny))
    even = (start is not None and len(begun[1]) > len(trajectory.weights)) or evenly(trajectory.states[0])
    even = even and not settings["noise"]  # which moves every token on its own
    other = len(begun[1]), second.phases, second.stragglers
    return judged(guard, run.phases, run.stragglers, other, shared, even, float(run.distances[-1]))


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
        """Return the comparison of runs with more and more tokens."""
        changes = []
        for coarse, fine in itertools.pairwise(runs):
            shared = min(len(coarse.distances), len(fine.distances))
            changes.append(float(np.abs(coarse.distances[:shared] - fine.distances[:shared]).max()))
        return cls(tuple(len(run.trajectory.weights) for run in runs), runs, tuple(changes))

    @property
    def status(self) -> str:
        """That of the first run that did not complete, else ``"completed"``."""
        return next((run.status for run in self.runs if run.status != "completed"), "completed")

    def describe(self) -> list[str]:
        """Return how much the distances change."""
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
            facts = run.summary()
            names = ("resolution", "least_distance", "concentration_time", "departure_time", "crossings")
            rows.append({"tokens": count, **{name: facts[name] for name in names}, "largest_change": change})
        return rows


def refine(
    flow: TokenFlow, start: Start, count: int, times: Sequence[float] | Float[np.ndarray, " times"], **settings: Any
) -> Refinement:
    """Run n, 2n and 4n tokens of the same start and report how much the distances change.

    Parameters
    ----------
    flow, times
        As for :func:`simulate`.
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
        made = start(size)
        tokens, weights = made if isinstance(made, tuple) else (made, None)
        runs.append(simulate(flow, tokens, times, weights=weights, **{"check": False, "start": start, **settings}))
    return Refinement.of(tuple(runs))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
