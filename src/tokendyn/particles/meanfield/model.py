"""Tokens at low temperature (arXiv 2605.10931): run them, measure their concentration, and check the result."""

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
from tokendyn.runs.checkpoint import AnyCheckpoint
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.show.report import Report

_distance_table = function_at("tokendyn.particles.meanfield.report:distance_table")
_save_run = function_at("tokendyn.particles.meanfield.report:save_run")
_write_figures = function_at("tokendyn.particles.meanfield.report:write_figures")
_run_report = function_at("tokendyn.particles.meanfield.report:run_report")

#: States that phases need.
_FEWEST = 3

#: Tokens up to which the exact transport is solved by POT.
EXACT_TOKENS = 2000

#: From this number of tokens on, a fast backend computes the attention's means, within this error.
MANY, MANY_ERROR = 4000, 1e-9

#: Mean of the tokens of each half of E off E, in units of their spread off E, below which a law counts as symmetric.
_SYMMETRIC = 0.02

#: What a run shows. ``stays``: concentrated until its end. ``leaves``: concentrated, then left. ``never``: the distance
#: never fell below the level. ``unresolved``: too few tokens to decide. ``nothing``: there is no projected law.
Verdict = Literal["stays", "leaves", "never", "unresolved", "nothing"]


@dataclass(frozen=True)
class MeanFieldRun(Result):
    """A run of tokens on the sphere with what the theory says about it.

    Attributes
    ----------
    trajectory
        Times, states, weights, status.
    flow
        The vector field.
    projection
        The map Pi with its status and rate.
    terminal
        The motion of collapsed clusters.
    resolution
        Whether the number of tokens resolves beta, judged along the run and by a second run of another size.
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
        """Status of the integration; :attr:`verdict` has the result of the run."""
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
        distances = np.empty(len(states))
        for index, state in enumerate(states):
            uncrossed = ~self.projection.crossed(states[0], state)
            share = float(weights[uncrossed].sum())
            distances[index] = (
                coupling_distance(state[uncrossed], self.targets[uncrossed], weights[uncrossed] / share)
                if share > 0
                else math.nan
            )
        return distances

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
        """Whether there is a projected law to approach: E is not the whole space, and limits do not rotate in it."""
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
        """Tokens that are left to themselves off E at the least distance, and the phases without them."""
        state, weights = self.trajectory.states[self.best], self.trajectory.weights
        alone = lonely(self.flow, state, weights, np.linalg.norm(state - self.targets, axis=1))
        others, without = ~alone, None
        if alone.any() and others.any() and len(self.trajectory.times) >= _FEWEST:
            shares = weights[others] / weights[others].sum()
            curve = coupling_distance(
                np.ascontiguousarray(self.trajectory.states[:, others]), self.targets[others], shares
            )
            without = detect_phases(self.trajectory.times, curve)
        return Stragglers(count=int(alone.sum()), weight=float(weights[alone].sum()), phases=without)

    @cached_property
    def symmetric(self) -> bool:
        """Whether the start is symmetric about E, which hides a terminal phase: only rounding ends the symmetry."""
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
            If E is larger than a line and there are more tokens.
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
        """Reasons why this run may not show the mean-field limit, in sentences; empty without any."""
        warnings = [] if self.resolution.status == "resolved" else [self.resolution.reason]
        if self.projection.status != "eigenspace":
            warnings.append(f"projection {self.projection.status}: {self.projection.reason}")
        if self.asks and self.terminal.exists and self.terminal.invariant and self.symmetric:
            warnings.append(
                "the start is symmetric about E, which hides the terminal phase: clusters leave by rounding only; take "
                "a start whose mean lies off E (push=0.2, or another density)"
            )
        if (self.trajectory.step_error or 0.0) > STEP_ERROR * (1 + 1e-9):
            warnings.append(
                f"a step errs by up to {self.trajectory.step_error:.1e} by its estimate, more than {STEP_ERROR:.0e}: "
                "the step is too long for this flow; leave it out, and it is chosen"
            )
        if self.trajectory.reason:
            warnings.append(f"{self.trajectory.status}: {self.trajectory.reason}")
        return warnings

    def summary(self) -> dict[str, Any]:
        """Return the run in numbers, as JSON values; infinite and undefined values are None."""
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
        summary = self.summary()
        lines = [
            f"{counted(summary['tokens'], 'token')} in {summary['dim']} dimensions at beta = "
            f"{self.flow.inverse_temperature:g}, until t = {summary['time']:g}: "
            f"{counted(summary['clusters'], 'cluster')} at the end",
            *self._course(),
        ]
        if summary["crossings"]:
            floor, without = self.floors[self.best], self.distances_without_crossings[self.best]
            lines.append(
                f"{counted(summary['crossings'], 'token')} had crossed the separatrix by then, which puts a floor of "
                f"{floor:.3g} under the distance; over the other tokens it is {without:.3g}"
            )
        stragglers = self.stragglers if self.asks else Stragglers(count=0, weight=0.0, phases=None)
        if stragglers.phases is not None:
            them, phases = _them(stragglers.count), _phases_sentence(stragglers.phases)
            lines.append(f"{left_behind(stragglers.count)} off E then; without {them}: {phases}")
        if self.resolution.status == "resolved" and self.resolution.other_tokens:
            lines.append(f"resolved: {self.resolution.reason}")
        if self.flow.means is not None:
            lines.append("the means of the attention are within an error bound, by fast backends")
        return lines + [f"note: {warning}" for warning in self.warnings]

    def __repr__(self) -> str:
        # Only stored values: a summary measures distances and crossings, which takes seconds for many tokens.
        states, tokens, dim = self.trajectory.states.shape
        beta, until = self.flow.inverse_temperature, float(self.trajectory.times[-1])
        return (
            f"MeanFieldRun(status={self.status!r}, tokens={tokens}, dim={dim}, inverse_temperature={beta:g}, "
            f"time={until:g}, states={states})"
        )

    def table(self) -> "pd.DataFrame":
        """Return one row for each time: distances, crossings, clusters, effective sizes of the attention."""
        table: pd.DataFrame = _distance_table(self)
        return table

    def picture(self) -> Curves:
        """Return the distance to the projected law over time, or to E itself if there is no such law."""
        times = self.trajectory.times
        if not self.asks:
            return Curves(times, {"distance to E": self.distances_to_e}, "time", "distance to E")
        marks = {"least distance": self.phases.concentration, "departure": self.phases.departure}
        shown = marks if self.phases.least <= DEPARTED else {}
        return Curves(times, {"all tokens": self.distances}, "time", "W2 to the projected law", log=True, marks=shown)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the run and its table into a new folder; ``tokendyn report FOLDER`` draws the page."""
        _save_run(self, folder, title="Mean-field run", animation=None, report=False, overwrite=overwrite)

    def _page(self, title: str, pictures: Path) -> "Report":
        _write_figures(self, pictures)
        report: Report = _run_report(self, title=title, pictures=pictures)
        return report

    def _course(self) -> list[str]:
        """Return sentences about the course of the law and its reason."""
        if self.projection.dimension == self.trajectory.states.shape[2]:
            return [f"E is the whole space ({self.projection.reason}): there is no projected law to come near or leave"]
        theory = f"contraction rate c = {self.projection.rate:.3g}; {self.terminal.reason}"
        if not self.asks:
            best = int(self.distances_to_e.argmin())
            return [
                f"{self.projection.reason}, so there is no projected law to come near; least distance to E itself "
                f"{self.distances_to_e[best]:.3g} at t = {self.trajectory.times[best]:.3g}; {theory}"
            ]
        return [f"{_phases_sentence(self.phases)}", f"{self.projection.reason}; {theory}"]


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _phases_sentence(phases: Phases) -> str:
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
    checkpoint: AnyCheckpoint | None = None,
    check: bool = True,
    start: Start | None = None,
    error_tolerance: float | None = None,
) -> MeanFieldRun:
    """Run tokens on the sphere and compare their law with its projection.

    A second run judges it (:mod:`~tokendyn.particles.meanfield.check`). Up to 512 tokens, the second run has four times
    as many. Above that it has 0.7 times as many tokens in the bulk, and near the separatrix the tokens of a start of
    four times as many; it costs about as much as the run itself.

    Parameters
    ----------
    flow
        The vector field, on the sphere.
    tokens
        ``(tokens, dim)`` on the sphere: an array, the result of :func:`tokendyn.data.tokens.read_tokens`, a DataFrame
        or an xarray DataArray.
    times, weights, method, step, tolerance, noise, seed, budget, normalise, config, progress, checkpoint
        See :func:`tokendyn.dynamics.integrate`.
    check
        Make the second run. Without it the resolution is only that of the rule for the start (:func:`resolution`).
    start
        Returns the start for another number of tokens, for the second run. Without it, tokens on the circle are
        interpolated. In higher dimensions some tokens are left out, and those of the tail are replaced by points on
        the way to their neighbours; independent and even tokens are treated differently.
    error_tolerance
        Accept this error of the attention's means, from backends that are far faster for many tokens
        (:func:`~tokendyn.dynamics.means_within`); 0 for the exact difference form. The default is the exact form below
        4,000 tokens and 1e-9 from there on, for flows that are full, normalised and have no means of their own.

    Raises
    ------
    BadInputError
        As :func:`tokendyn.dynamics.integrate`; also if the flow is not on the sphere, or tokens lie on the separatrix.

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
    if flow.normalisation != "post":
        raise BadInputError(
            f"normalisation={flow.normalisation!r}: the projected law is that of 'post'; use tokendyn.integrate"
        )
    if not flow.on_sphere:
        raise BadInputError("the projected law lies on the sphere; use tokendyn.dynamics.integrate for flows in R^d")
    initial = sphere_tokens(checked_tokens(named_tokens(tokens)[0]), normalise=normalise)
    masses = checked_weights(weights, len(initial))
    identity = np.eye(initial.shape[1])
    value = identity if flow.value is None else flow.value
    projection = project(value, identity if flow.interaction is None else flow.interaction)
    targets = projection.apply(initial)
    moving = _with_means(flow, len(initial), error_tolerance)
    settings: dict[str, Any] = {
        "method": method, "step": step, "tolerance": tolerance, "noise": noise, "seed": seed, "budget": budget,
    }  # fmt: skip
    trajectory = integrate(
        moving, initial, times, weights=masses, config=config, progress=progress, checkpoint=checkpoint, **settings
    )
    guard = resolution(flow, initial, masses)
    run = MeanFieldRun(
        trajectory=trajectory,
        flow=moving,
        projection=projection,
        terminal=terminal_phase(value, projection),
        resolution=guard,
        targets=targets,
    )
    return replace(run, resolution=_judged(run, start, settings)) if check else run


def _with_means(flow: TokenFlow, count: int, error_tolerance: float | None) -> TokenFlow:
    """Return the flow with the means of a fast backend when requested, or when there are many tokens."""
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
    other_tokens = other_start(trajectory.states[0], trajectory.weights, run.projection, start)
    if other_tokens is None:
        return unchecked(guard, "there are too few tokens to compare with fewer")
    second_trajectory = integrate(
        run.flow, other_tokens[0], trajectory.times, weights=other_tokens[1], normalise=True, **settings
    )
    if second_trajectory.status != "completed":
        return unchecked(guard, f"the run of another size ended early, {second_trajectory.status}")
    targets = run.projection.apply(second_trajectory.states[0])
    second = replace(run, trajectory=second_trajectory, targets=targets)
    # The effective number of tokens that contribute to the squared distance, ``(sum c)^2 / sum c^2``.
    parts = trajectory.weights * ((trajectory.states[run.best] - run.targets) ** 2).sum(axis=1)
    shared = float(parts.sum() ** 2 / max(float((parts**2).sum()), np.finfo(float).tiny))
    even = (start is not None and len(other_tokens[1]) > len(trajectory.weights)) or evenly(trajectory.states[0])
    even = even and not settings["noise"]  # noise moves tokens independently
    other = len(other_tokens[1]), second.phases, second.stragglers
    return judged(guard, run.phases, run.stragglers, other, shared, even, float(run.distances[-1]))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
