"""Integrators of token flows, with retraction onto the sphere, budgets and a status for every way to end.

A step evaluates the velocity at retracted stages and retracts the result: the velocity extended by
``f(x) = f(x / |x|)`` is a smooth field of R^d whose solutions stay on the sphere, so the classical orders hold.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy.integrate import RK45
from scipy.optimize import brentq

from tokendyn.dynamics.flow import TokenFlow, checked_weights
from tokendyn.dynamics.flow_trajectory import FlowStatus, FlowTrajectory
from tokendyn.dynamics.layers import checked_tokens
from tokendyn.dynamics.run import Progress
from tokendyn.dynamics.sphere import retract, sphere_tokens
from tokendyn.dynamics.steps import STEP_ERROR, STEPS, Retraction, StepMap, brownian, layer_step, longest_step
from tokendyn.errors import BadInputError, ScaleError, SingularError
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.provenance import provenance

Method = Literal["layers", "euler", "heun", "rk4", "adaptive"]

#: A step, or ``"auto"``: chosen by the speed of the flow and an estimate of the error.
Step = float | Literal["auto"]

#: Step of ``"layers"`` without one, and the longest automatic one with noise.
_LAYER_STEP = 0.1

#: Largest way of a token in an automatic step with noise.
_NOISY_WAY = 0.2

#: Form of what a checkpoint holds.
_CHECKPOINT = 2

#: An automatic step gives up when, for so many steps, the rest of the way takes so many times the steps that are left.
_HOPELESS_STEPS, _HOPELESS_TIMES = 500, 3.0


@dataclass(frozen=True)
class Event:
    """A moment to find: where ``function(time, tokens)`` changes its sign from one step to the next.

    Two changes within one step of the adaptive method cancel and are missed. A function that swings faster than the
    tokens move needs a smaller tolerance, which makes the steps shorter.

    Attributes
    ----------
    name
        Key of the times in :attr:`FlowTrajectory.events`.
    function
        Continuous in time; computed on the dense output.
    terminal
        End there; the state of that moment is the last one.
    """

    name: str
    function: Callable[[float, Float[np.ndarray, "tokens dim"]], float]
    terminal: bool = False


@dataclass(frozen=True)
class Budget:
    """How much an integration may spend: steps (rejected ones included) and seconds of wall time."""

    steps: int = 1_000_000
    seconds: float = math.inf


class _StopError(Exception):
    """Ends an integration with a status."""

    def __init__(self, status: FlowStatus, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


def integrate(
    flow: TokenFlow,
    tokens: Float[np.ndarray, "tokens dim"],
    times: Sequence[float] | Float[np.ndarray, " times"],
    *,
    weights: Float[np.ndarray, " tokens"] | None = None,
    method: Method = "rk4",
    step: Step = "auto",
    tolerance: float = 1e-8,
    noise: float = 0.0,
    seed: int | None = None,
    events: Sequence[Event] = (),
    budget: Budget | None = None,
    normalise: bool = False,
    device: str | None = None,
    config: dict[str, Any] | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> FlowTrajectory:
    """Let tokens flow and keep them at the given times.

    Parameters
    ----------
    flow
        The vector field.
    tokens
        ``(tokens, dim)``; unit vectors when the flow is on the sphere.
    times
        Increasing, at least two; the tokens are those of the first.
    weights
        Positive, of sum 1; equal by default.
    method
        ``"layers"``: a post-normalised transformer layer of size h, ``x <- N(x + h V m(x))``. ``"euler"``, ``"heun"``,
        ``"rk4"``: orders 1, 2, 4, with retraction. ``"adaptive"``: Dormand-Prince 5(4) (SciPy's) with retraction after
        every step, dense output and events.
    step
        Largest step of the fixed methods; intervals between times are divided equally. ``"auto"`` begins with 0.1 (less
        for a V of norm above 2, :func:`~tokendyn.dynamics.steps.longest_step`) and takes shorter steps wherever the
        estimated error of one step of any token exceeds 1e-4. With a step of your own the largest estimate is kept in
        ``FlowTrajectory.step_error``. Layers are a map of their own, with a step of 0.1.
    tolerance
        Relative and absolute error of a step of the adaptive method, in the root mean square over all coordinates: one
        sensitive token among many may err by the square root of their number times as much.
    noise
        Diffusivity D: adds Brownian motion of generator ``D Laplace`` (on the sphere: Laplace-Beltrami) after each
        Euler step, along great circles and exact in its mean (:func:`~tokendyn.dynamics.steps.brownian`);
        ``method="euler"`` only.
    seed
        Of the noise; required with it.
    events
        For the adaptive method.
    budget
        Steps and seconds.
    normalise
        Divide tokens by their norm first.
    device
        A torch device that computes the attention, such as ``"cuda"``: :attr:`TokenFlow.device`.
    config
        Settings to add to the provenance.
    progress
        Called with the number of times reached and their total.
    checkpoint
        Where the state is kept; an integration that was stopped goes on from there, to the same bits.

    Raises
    ------
    BadInputError
        For tokens off the sphere, times that do not increase, wrong weights or parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import TokenFlow, integrate
    >>> flow = TokenFlow(9.0, value=np.diag([1.0, 2.0]))
    >>> way = integrate(flow, np.array([[1.0, 0.0], [0.8, 0.6]]), [0.0, 5.0])
    >>> way.status
    'completed'
    >>> way.states[-1].round(3)
    array([[0.037, 0.999],
           [0.034, 0.999]])
    """
    started = time.perf_counter()
    flow = flow if device is None else replace(flow, device=device)
    state = sphere_tokens(tokens, normalise=normalise) if flow.on_sphere else checked_tokens(tokens)
    share = checked_weights(weights, len(state))
    grid = np.asarray(times, dtype=np.float64)
    _check(flow, state, grid, method, step, tolerance, noise, seed, events)
    field = flow.output if method == "layers" else flow.velocity
    run = _Run(flow, field, share, grid, events, budget, started, progress)
    rng = np.random.default_rng(seed) if noise else None
    settings = _settings(flow) | {"method": method, "step": step, "tolerance": tolerance, "noise": noise, "seed": seed}
    settings["checkpoint"] = _CHECKPOINT
    if checkpoint is not None:
        run.checkpoint = checkpoint.of(state, share, grid, settings, [event.name for event in events])
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"), run.kept_on_the_way():
            found = run.begin(state, rng)
            if method == "adaptive":
                _adaptive(run, state, tolerance, found)
            elif rng is not None:
                _noisy(
                    run, noise, rng, min(_LAYER_STEP, longest_step(flow)) if step == "auto" else step, step == "auto"
                )
            elif method == "layers":
                _layers(run, _LAYER_STEP if step == "auto" else step)
            else:
                longest = longest_step(flow) if step == "auto" else step
                _stepped(run, *STEPS[method], longest, STEP_ERROR if step == "auto" else math.inf, found)
        status, reason = run.ended
    except _StopError as stop:
        status, reason = stop.status, stop.reason
    except ScaleError as error:
        status, reason = "diverged", str(error)
    except SingularError as error:
        status, reason = "singular", str(error)
    record = {
        **_settings(flow), "method": method, "step": None if method == "adaptive" else step,
        "tolerance": tolerance if method == "adaptive" else None, "noise": noise, **(config or {}),
    }  # fmt: skip
    return FlowTrajectory(
        np.array(run.times), np.array(run.states), share, status, reason, run.steps, run.evaluations, run.rejected,
        run.found, provenance(record, seed=seed, seconds=time.perf_counter() - started), run.step_error,
    )  # fmt: skip


class _Run:
    """What an integration collects on its way."""

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
        self.found: dict[str, list[float]] = {event.name: [] for event in events}
        self.steps = self.evaluations = self.rejected = 0
        self.step_error: float | None = None
        self.hopeless = 0 if budget is None else -math.inf
        self.ended: tuple[FlowStatus, str] = ("completed", "")
        self.checkpoint: Checkpoint | None = None
        self.marked: Callable[[], State] | None = None

    def begin(self, state: np.ndarray, rng: np.random.Generator | None) -> State | None:
        """Keep the first state; or take up a checkpoint, which is returned."""
        found = None if self.checkpoint is None else self.checkpoint.read()
        if found is None:
            self.keep(self.grid[0], state)
            return None
        self.times, self.states = found.arrays["times"].tolist(), list(found.arrays["states"])
        record = found.record
        self.steps, self.evaluations, self.rejected = record["steps"], record["evaluations"], record["rejected"]
        self.found, self.step_error = record["events"], record["step_error"]
        if rng is not None:
            rng.bit_generator.state = record["generator"]
        return found

    def mark(self, rng: np.random.Generator | None = None, record: dict[str, Any] | None = None, **more: Any) -> None:
        """Take note of a moment from which the integration could go on, and write it down when that is due."""
        if self.checkpoint is None:
            return
        count, generator = len(self.times), None if rng is None else rng.bit_generator.state
        held = {
            "steps": self.steps, "evaluations": self.evaluations, "rejected": self.rejected, "generator": generator,
            "step_error": self.step_error, "events": {name: list(times) for name, times in self.found.items()},
            **(record or {}),
        }  # fmt: skip

        def state() -> State:
            return State({"times": np.array(self.times[:count]), "states": np.array(self.states[:count]), **more}, held)

        self.marked = state
        self.checkpoint.offer(state)

    @contextmanager
    def kept_on_the_way(self) -> Iterator[None]:
        """Write the last marked moment when the block is left by an interruption or for want of steps or time."""
        try:
            yield
        except (KeyboardInterrupt, _StopError) as stop:
            wanting = isinstance(stop, KeyboardInterrupt) or stop.status in ("out of steps", "out of time")
            if wanting and self.checkpoint is not None and self.marked is not None:
                self.checkpoint.write(self.marked())
            raise

    def velocity(self, state: np.ndarray) -> np.ndarray:
        if not np.isfinite(state).all():
            raise _StopError("diverged", f"a token left the finite numbers after {self.steps} steps")
        self.evaluations += 1
        return self.field(state, self.weights)

    def trial(self, state: np.ndarray) -> np.ndarray:
        """Return the velocity within a step that may be too long: NaN where there is none, so that it is rejected."""
        self.evaluations += 1
        try:
            return self.field(state, self.weights) if np.isfinite(state).all() else np.full_like(state, math.nan)
        except ScaleError:
            return np.full_like(state, math.nan)

    def note(self, error: float) -> None:
        """Remember the largest estimated error of a step."""
        if math.isfinite(error):
            self.step_error = max(error, self.step_error or 0.0)

    def reject(self, when: float, step: float) -> None:
        """Count a step that was thrown away."""
        self.steps, self.rejected = self.steps - 1, self.rejected + 1
        if step <= 1e-15 * max(1.0, abs(when), abs(float(self.grid[-1]))):
            raise _StopError("diverged", f"the step size vanished at t = {when:.6g}")

    def judge(self, when: float, step: float) -> None:
        """Stop when automatic steps are so short that the end is out of reach; a budget of the caller's is spent."""
        left = self.budget.steps - self.steps - self.rejected
        needed = (float(self.grid[-1]) - when) / step if step > 0 else math.inf
        self.hopeless = self.hopeless + 1 if needed > _HOPELESS_TIMES * left else min(self.hopeless, 0)
        if self.hopeless > _HOPELESS_STEPS or (math.isinf(needed) and self.hopeless > -math.inf):
            raise _StopError(
                "out of steps",
                f"the flow is so fast at t = {when:.6g} that it takes steps of {step:.1e}, {needed:.1e} of them until "
                "the end; follow it for a shorter time, or lower beta or V",
            )

    def keep(self, when: float, state: np.ndarray) -> None:
        if not np.isfinite(state).all():
            raise _StopError("diverged", f"a token left the finite numbers before t = {when:.6g}")
        self.times.append(float(when))
        self.states.append(state)
        if self.progress is not None:
            self.progress(len(self.times), len(self.grid))

    def spend(self, when: float) -> None:
        """Count a step, or stop when the budget is spent."""
        if self.steps + self.rejected >= self.budget.steps:
            raise _StopError("out of steps", f"{self.budget.steps} steps were spent at t = {when:.6g}")
        if time.perf_counter() - self.started > self.budget.seconds:
            raise _StopError("out of time", f"{self.budget.seconds:g} seconds were spent at t = {when:.6g}")
        self.steps += 1


def _stepped(run: _Run, advance: StepMap, power: int, longest: float, allowed: float, found: State | None) -> None:
    """Cover each interval between output times by equal steps; by shorter ones where the error is not allowed."""
    state, first = run.states[-1], len(run.times)
    slope, size = (run.velocity(state), longest) if found is None else (found.arrays["slope"], found.record["size"])
    controlled = math.isfinite(allowed)
    if controlled and not np.isfinite(slope).all():
        raise _StopError("diverged", f"a velocity left the finite numbers at t = {run.times[-1]:.6g}")
    for before, after in zip(run.grid[first - 1 : -1], run.grid[first:], strict=True):
        left = after - before
        count = _pieces(left, size)
        h = left / count
        while count:
            now = after - count * h
            run.spend(now)
            moved, end_slope, errors = advance(run.trial if controlled else run.velocity, run.retract, state, slope, h)
            error = float(errors.max())
            if controlled and not error <= allowed:
                run.reject(now, h)
                size = h * _shrink(error / allowed, power)
                left = count * h
                count = _pieces(left, size)
                h = left / count
                continue
            state, slope, count = moved, end_slope, count - 1
            run.note(error)
            if controlled and h < longest:
                size = max(size, min(longest, h * _grow(error / allowed, power)))
                if count and size >= 1.5 * h:
                    left = count * h
                    count = _pieces(left, size)
                    h = left / count
                run.judge(after - count * h, size)
        run.keep(after, state)
        run.mark(record={"size": float(size)}, slope=slope)


def _pieces(left: float, size: float) -> int:
    return max(1, math.ceil(left / size * (1 - 1e-12)))


def _shrink(excess: float, power: int) -> float:
    """Return by what to multiply a step whose error is too large by a factor, which may be NaN."""
    return max(0.1, 0.9 * excess ** (-1 / power)) if math.isfinite(excess) else 0.1


def _grow(excess: float, power: int) -> float:
    return min(4.0, 0.9 * max(excess, 1e-12) ** (-1 / power))


def _layers(run: _Run, step: float) -> None:
    """Apply the layer map, equally often between output times."""
    state, first = run.states[-1], len(run.times)
    for before, after in zip(run.grid[first - 1 : -1], run.grid[first:], strict=True):
        count = _pieces(after - before, step)
        h = (after - before) / count
        for index in range(count):
            run.spend(before + index * h)
            state = layer_step(run.velocity, run.retract, state, h)
        run.keep(after, state)
        run.mark()


def _noisy(run: _Run, diffusivity: float, rng: np.random.Generator, longest: float, automatic: bool) -> None:
    """Take Euler steps, each followed by Brownian motion; automatic ones are short where tokens are fast."""
    state, first = run.states[-1], len(run.times)
    on_sphere = run.retract is retract
    for before, after in zip(run.grid[first - 1 : -1], run.grid[first:], strict=True):
        count = _pieces(after - before, longest)
        h = (after - before) / count
        while count:
            run.spend(after - count * h)
            slope = run.velocity(state)
            fastest = float(np.sqrt((slope**2).sum(axis=1).max()))
            if automatic and h * fastest > _NOISY_WAY:
                if not math.isfinite(fastest):
                    raise _StopError("diverged", f"a velocity left the finite numbers at t = {after - count * h:.6g}")
                left = count * h
                run.judge(after - left, _NOISY_WAY / fastest)
                count = math.ceil(left * fastest / _NOISY_WAY)
                h = left / count
            state = run.retract(state + h * slope)
            if on_sphere:
                state = brownian(state, diffusivity, h, rng)
            else:
                state = state + math.sqrt(2 * diffusivity * h) * rng.normal(size=state.shape)
            count -= 1
        run.keep(after, state)
        run.mark(rng)


def _adaptive(run: _Run, state: np.ndarray, tolerance: float, found: State | None) -> None:
    """Step SciPy's Dormand-Prince pair; after each step put the tokens back on the sphere.

    Its stored velocity stays right: the velocity is computed from the retracted state anyway.
    """
    shape = state.shape

    def field(_: float, flat: np.ndarray) -> np.ndarray:
        return run.velocity(run.retract(flat.reshape(shape))).ravel()

    counted = run.evaluations
    solver = RK45(field, run.grid[0], state.ravel(), run.grid[-1], rtol=max(tolerance, 3e-14), atol=tolerance)
    if found is not None:
        solver.t, solver.h_abs = found.record["t"], found.record["h"]
        solver.y, solver.f = found.arrays["y"], found.arrays["f"]
        run.evaluations = counted  # those of the first step size were counted before
    wanted = len(run.times)
    while solver.status == "running":
        run.spend(solver.t)
        before = run.evaluations
        message = solver.step()
        run.rejected += (run.evaluations - before) // 6 - 1
        if message is not None:
            raise _StopError("diverged", f"the step size vanished at t = {solver.t:.6g}")
        dense = solver.dense_output()

        def at(when: float, dense: Callable[[float], np.ndarray] = dense) -> np.ndarray:
            return run.retract(np.asarray(dense(when)).reshape(shape))

        start = run.grid[0] if solver.t_old is None else solver.t_old
        stop = _first_terminal(run, float(start), float(solver.t), at)
        while wanted < len(run.grid) and run.grid[wanted] <= min(solver.t, stop):
            run.keep(run.grid[wanted], at(run.grid[wanted]))
            wanted += 1
        if stop < math.inf:
            if stop > run.times[-1]:
                run.keep(stop, at(stop))
            run.ended = ("event", f"a terminal event happened at t = {stop:.6g}")
            return
        solver.y = run.retract(solver.y.reshape(shape)).ravel()
        run.mark(record={"t": float(solver.t), "h": float(solver.h_abs)}, y=solver.y, f=solver.f)


def _first_terminal(run: _Run, start: float, end: float, at: Callable[[float], np.ndarray]) -> float:
    """Record the events of one step, up to the first terminal one, whose time is returned (``inf`` without one)."""
    hits: list[tuple[float, Event]] = []
    for event in run.events:

        def level(when: float, event: Event = event) -> float:
            return float(event.function(when, at(when)))

        first, last = level(start), level(end)
        if first * last < 0 or (last == 0 and first != 0):
            hits.append((float(brentq(level, start, end, xtol=1e-12 * max(1.0, abs(end)))), event))
    for when, event in sorted(hits, key=lambda hit: hit[0]):
        run.found[event.name].append(when)
        if event.terminal:
            return when
    return math.inf


def _check(
    flow: TokenFlow,
    tokens: np.ndarray,
    grid: np.ndarray,
    method: str,
    step: Step,
    tolerance: float,
    noise: float,
    seed: int | None,
    events: Sequence[Event],
) -> None:
    problems = []
    for name in ("interaction", "value"):
        matrix = getattr(flow, name)
        if matrix is not None and len(matrix) != tokens.shape[1]:
            problems.append(f"{name} {matrix.shape} does not fit tokens of {tokens.shape[1]} coordinates")
    if grid.ndim != 1 or len(grid) < 2 or not np.isfinite(grid).all() or not (np.diff(grid) > 0).all():
        problems.append("times must be finite and increase, and be two or more")
    if method not in get_args(Method):
        problems.append(f"method must be one of {', '.join(get_args(Method))}; got {method!r}")
    if step != "auto" and not (isinstance(step, int | float | np.number) and math.isfinite(step) and step > 0):
        problems.append(f"step must be positive and finite, or 'auto'; got {step}")
    if not 0 < tolerance < 1:
        problems.append(f"tolerance must be between 0 and 1, got {tolerance}")
    if not (math.isfinite(noise) and noise >= 0):
        problems.append(f"noise must be zero or more, got {noise}")
    if noise and (method != "euler" or seed is None):
        problems.append("noise needs method='euler' and a seed")
    if events and method != "adaptive":
        problems.append("events need method='adaptive', which has a dense output")
    if len({event.name for event in events}) < len(events):
        problems.append("two events have the same name")
    if problems:
        raise BadInputError.all_of("integration", problems)


def _settings(flow: TokenFlow) -> dict[str, Any]:
    """Return the flow as JSON values."""
    matrices = {name: getattr(flow, name) for name in ("interaction", "value")}
    return {
        "model": "token flow",
        "inverse_temperature": None if math.isinf(flow.inverse_temperature) else flow.inverse_temperature,
        **{name: None if matrix is None else matrix.tolist() for name, matrix in matrices.items()},
        "cold_limit": flow.cold_limit,
        "normalised": flow.normalised,
        "causal": flow.causal,
        "on_sphere": flow.on_sphere,
        "exact_means": flow.means is None,
        **({} if flow.device is None else {"device": flow.device}),
    }
