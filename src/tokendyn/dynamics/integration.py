"""One integration on its way: its events, budget, counters, checkpoints and the exception that ends it early."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics.flow import TokenFlow
from tokendyn.dynamics.flow_trajectory import FlowStatus
from tokendyn.dynamics.run import Progress
from tokendyn.dynamics.sphere import retract
from tokendyn.dynamics.steps import Retraction
from tokendyn.errors import ScaleError
from tokendyn.runs.checkpoint import Checkpoint, State

#: An automatic integration gives up when, for this many steps in a row, the remaining time would take this many times
#: the steps that are left: a flow may be fast for a moment, but not for hundreds of steps.
_HOPELESS_STEPS, _HOPELESS_TIMES = 500, 3.0


@dataclass(frozen=True)
class Event:
    """A time to locate: ``function(time, tokens)`` changes its sign from one step to the next.

    Two changes within one step of the adaptive method cancel and are missed. A function that oscillates faster than
    the tokens move needs a smaller tolerance, which makes the steps shorter.

    Attributes
    ----------
    name
        Key of the times in :attr:`FlowTrajectory.events`.
    function
        Continuous in time; evaluated on the dense output.
    terminal
        Whether the integration ends there; the state at that time is the last one.
    """

    name: str
    function: Callable[[float, Float[np.ndarray, "tokens dim"]], float]
    terminal: bool = False


@dataclass(frozen=True)
class Budget:
    """How much an integration may spend: steps (rejected ones included) and seconds of wall time."""

    steps: int = 1_000_000
    seconds: float = math.inf


class StopError(Exception):
    """Ends an integration with a status."""

    def __init__(self, status: FlowStatus, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


class Integration:
    """The state of an integration: output so far, counters, and the point from which it can resume."""

    def __init__(
        self,
        flow: TokenFlow,
        field: Callable[[np.ndarray, np.ndarray], np.ndarray],
        weights: np.ndarray,
        grid: np.ndarray,
        events: Sequence[Event],
        budget: Budget | None,
        started: float,
        progress: Progress | None,
    ):
        self.field, self.weights, self.grid, self.events = field, weights, grid, events
        self.budget, self.started, self.progress = budget or Budget(), started, progress
        self.retract: Retraction = retract if flow.on_sphere else np.asarray
        self.times: list[float] = []
        self.states: list[np.ndarray] = []
        self.event_times: dict[str, list[float]] = {event.name: [] for event in events}
        self.steps = self.evaluations = self.rejected = 0
        self.step_error: float | None = None
        # A budget that the caller gave is spent to the end; -inf never rises to the limit.
        self.hopeless = 0 if budget is None else -math.inf
        self.ended: tuple[FlowStatus, str] = ("completed", "")
        self.checkpoint: Checkpoint | None = None
        self.resume_point: Callable[[], State] | None = None

    def begin(self, state: np.ndarray, rng: np.random.Generator | None) -> State | None:
        """Record the first state; or restore a checkpoint and return it."""
        saved = None if self.checkpoint is None else self.checkpoint.read()
        if saved is None:
            self.keep(self.grid[0], state)
            return None
        self.times, self.states = saved.arrays["times"].tolist(), list(saved.arrays["states"])
        record = saved.record
        self.steps, self.evaluations, self.rejected = record["steps"], record["evaluations"], record["rejected"]
        self.event_times, self.step_error = record["events"], record["step_error"]
        if rng is not None:
            rng.bit_generator.state = record["generator"]
        return saved

    def mark(self, rng: np.random.Generator | None = None, record: dict[str, Any] | None = None, **more: Any) -> None:
        """Make this a point from which the integration can resume; the checkpoint writes it when one is due."""
        if self.checkpoint is None:
            return
        # The lists only grow, so their length now stands for a copy of them; counters and generator are copied.
        count, generator = len(self.times), None if rng is None else rng.bit_generator.state
        counters = {
            "steps": self.steps, "evaluations": self.evaluations, "rejected": self.rejected, "generator": generator,
            "step_error": self.step_error, "events": {name: list(times) for name, times in self.event_times.items()},
            **(record or {}),
        }  # fmt: skip

        def state() -> State:
            return State(
                {"times": np.array(self.times[:count]), "states": np.array(self.states[:count]), **more}, counters
            )

        self.resume_point = state
        self.checkpoint.offer(state)

    @contextmanager
    def checkpointed_when_stopped(self) -> Iterator[None]:
        """Write the last resume point when an interruption or an exhausted budget ends the block."""
        try:
            yield
        except (KeyboardInterrupt, StopError) as stop:
            resumable = isinstance(stop, KeyboardInterrupt) or stop.status in ("out of steps", "out of time")
            if resumable and self.checkpoint is not None and self.resume_point is not None:
                self.checkpoint.write(self.resume_point())
            raise

    def velocity(self, state: np.ndarray) -> np.ndarray:
        """Return the velocity, or stop when a token is not finite."""
        if not np.isfinite(state).all():
            raise StopError("diverged", f"a token is not finite after {self.steps} steps")
        self.evaluations += 1
        return self.field(state, self.weights)

    def trial(self, state: np.ndarray) -> np.ndarray:
        """Return the velocity at a stage of a step that may be too long; NaN, which rejects the step, where undefined.

        Diverged stages of a rejected step say nothing about the flow, so they must not end the integration.
        """
        self.evaluations += 1
        try:
            return self.field(state, self.weights) if np.isfinite(state).all() else np.full_like(state, math.nan)
        except ScaleError:
            return np.full_like(state, math.nan)

    def note(self, error: float) -> None:
        """Keep the largest estimated error of a step."""
        if math.isfinite(error):
            self.step_error = max(error, self.step_error or 0.0)

    def reject(self, when: float, step: float) -> None:
        """Count a rejected step; stop when the step is at the resolution of the time itself."""
        self.steps, self.rejected = self.steps - 1, self.rejected + 1
        if step <= 1e-15 * max(1.0, abs(when), abs(float(self.grid[-1]))):
            raise StopError("diverged", f"the step size vanished at t = {when:.6g}")

    def check_pace(self, when: float, step: float) -> None:
        """Stop when automatic steps stay so short that the end is out of reach within the default budget."""
        left = self.budget.steps - self.steps - self.rejected
        needed = (float(self.grid[-1]) - when) / step if step > 0 else math.inf
        self.hopeless = self.hopeless + 1 if needed > _HOPELESS_TIMES * left else min(self.hopeless, 0)
        if self.hopeless > _HOPELESS_STEPS or (math.isinf(needed) and self.hopeless > -math.inf):
            raise StopError(
                "out of steps",
                f"the flow is so fast at t = {when:.6g} that it takes steps of {step:.1e}, {needed:.1e} of them until "
                "the end; follow it for a shorter time, or lower beta or V",
            )

    def keep(self, when: float, state: np.ndarray) -> None:
        """Record the state at an output time, or stop when it is not finite."""
        if not np.isfinite(state).all():
            raise StopError("diverged", f"a token is not finite before t = {when:.6g}")
        self.times.append(float(when))
        self.states.append(state)
        if self.progress is not None:
            self.progress(len(self.times), len(self.grid))

    def spend(self, when: float) -> None:
        """Count a step, or stop when the budget is exhausted."""
        if self.steps + self.rejected >= self.budget.steps:
            raise StopError("out of steps", f"{self.budget.steps} steps were spent at t = {when:.6g}")
        if time.perf_counter() - self.started > self.budget.seconds:
            raise StopError("out of time", f"{self.budget.seconds:g} seconds were spent at t = {when:.6g}")
        self.steps += 1
