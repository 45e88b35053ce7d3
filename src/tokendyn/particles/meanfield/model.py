"""Tokens at low temperature (arXiv 2605.10931): run them, measure how they concentrate, and say what to trust."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.dynamics import Budget, FlowTrajectory, Progress, TokenFlow, integrate
from tokendyn.dynamics.flow import checked_weights
from tokendyn.dynamics.integrators import Method
from tokendyn.dynamics.sphere import sphere_tokens
from tokendyn.errors import BadInputError
from tokendyn.metrics.transport import Transport, coupling_distance, two_atom_distance, wasserstein
from tokendyn.particles.meanfield.guard import Resolution, resolution
from tokendyn.particles.meanfield.phases import Phases, detect_phases
from tokendyn.particles.meanfield.projection import (
    PredictedTimes,
    Projection,
    TerminalPhase,
    predicted_times,
    project,
    terminal_phase,
)
from tokendyn.runs.checkpoint import Checkpoint

#: Tokens up to which the exact transport is solved by POT.
EXACT_TOKENS = 2000

#: A start for any number of tokens: the tokens, or the tokens and their weights.
Start = Callable[[int], np.ndarray | tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class MeanFieldRun:
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
        Whether the number of tokens resolves beta.
    targets
        ``(tokens, dim)``: ``Pi(x_i(0))``; their law is the projected law.
    """

    trajectory: FlowTrajectory
    flow: TokenFlow
    projection: Projection
    terminal: TerminalPhase
    resolution: Resolution
    targets: Float[np.ndarray, "tokens dim"]

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
        """Concentration, metastable interval and departure, from :attr:`distances`."""
        return detect_phases(self.trajectory.times, self.distances)

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

        Two-atom targets (E is a line) are sorted; others go to POT, for up to ``EXACT_TOKENS`` tokens.

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
        if self.trajectory.reason:
            found.append(f"{self.trajectory.status}: {self.trajectory.reason}")
        return found

    def summary(self) -> dict[str, Any]:
        """Return the run in numbers, as JSON values; what is infinite or undefined is None."""
        phases, prediction, trajectory = self.phases, self.prediction, self.trajectory
        return {
            "status": trajectory.status,
            "resolution": self.resolution.status,
            "warnings": self.warnings,
            "tokens": len(trajectory.weights),
            "tokens_needed": _finite(self.resolution.needed),
            "dim": int(trajectory.states.shape[2]),
            "inverse_temperature": _finite(self.flow.inverse_temperature),
            "time": float(trajectory.times[-1]),
            "projection": self.projection.status,
            "projection_dimension": self.projection.dimension,
            "contraction_rate": self.projection.rate,
            "terminal_phase": self.terminal.exists,
            "terminal_rate": _finite(self.terminal.rate),
            "least_distance": phases.least,
            "concentration_time": phases.concentration,
            "metastable_from": phases.metastable[0],
            "metastable_to": _finite(phases.metastable[1]),
            "departure_time": _finite(phases.departure),
            "predicted_concentration_time": _finite(prediction.concentration) if prediction else None,
            "predicted_departure_time": _finite(prediction.departure) if prediction else None,
            "crossings": int(self.crossings[self.best]),
            "clusters": len(trajectory.clusters().sizes),
            "steps": trajectory.steps,
            "seconds": trajectory.provenance.get("seconds"),
        }

    def describe(self) -> list[str]:
        """Return the run in a few sentences."""
        facts, phases = self.summary(), self.phases
        left = "does not leave it" if math.isinf(phases.departure) else f"leaves it at t = {phases.departure:.3g}"
        lines = [
            f"{facts['tokens']} tokens in {facts['dim']} dimensions at beta = {self.flow.inverse_temperature:g}, until "
            f"t = {facts['time']:g}: {facts['clusters']} clusters at the end",
            f"least distance to the projected law {phases.least:.3g} at t = {phases.concentration:.3g}; the law {left}",
            f"{self.projection.reason}; contraction rate c = {self.projection.rate:.3g}; {self.terminal.reason}",
        ]
        if facts["crossings"]:
            floor, without = self.floors[self.best], self.distances_without_crossings[self.best]
            lines.append(
                f"{facts['crossings']} tokens had crossed the separatrix by then, which puts a floor of {floor:.3g} "
                f"under the distance; without them it is {without:.3g}"
            )
        return lines + [f"note: {warning}" for warning in self.warnings]


def simulate(
    flow: TokenFlow,
    tokens: Float[np.ndarray, "tokens dim"],
    times: Sequence[float] | Float[np.ndarray, " times"],
    *,
    weights: Float[np.ndarray, " tokens"] | None = None,
    method: Method = "rk4",
    step: float = 0.1,
    tolerance: float = 1e-8,
    noise: float = 0.0,
    seed: int | None = None,
    budget: Budget | None = None,
    normalise: bool = False,
    config: dict[str, Any] | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> MeanFieldRun:
    """Run tokens on the sphere and compare their law with its projection.

    Parameters
    ----------
    flow
        The vector field, on the sphere.
    tokens, times, weights, method, step, tolerance, noise, seed, budget, normalise, config, progress, checkpoint
        See :func:`tokendyn.dynamics.integrate`.

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
    if not flow.on_sphere:
        raise BadInputError("the projected law lies on the sphere; use tokendyn.dynamics.integrate for flows in R^d")
    start = sphere_tokens(tokens, normalise=normalise)
    shares = checked_weights(weights, len(start))
    one = np.eye(start.shape[1])
    value = one if flow.value is None else flow.value
    projection = project(value, one if flow.interaction is None else flow.interaction)
    targets = projection.apply(start)
    trajectory = integrate(
        flow, start, times, weights=shares, method=method, step=step, tolerance=tolerance, noise=noise, seed=seed,
        budget=budget, config=config, progress=progress, checkpoint=checkpoint,
    )  # fmt: skip
    guard = resolution(flow, start, shares)
    return MeanFieldRun(trajectory, flow, projection, terminal_phase(value, projection), guard, targets)


@dataclass(frozen=True)
class Refinement:
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

    def table(self) -> list[dict[str, Any]]:
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
        runs.append(simulate(flow, tokens, times, weights=weights, **settings))
    return Refinement.of(tuple(runs))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
