"""Integrators of token flows, with retraction onto the sphere, budgets and a status for every way to end.

A fixed step evaluates the velocity at retracted stages and retracts the result: the velocity extended by
``f(x) = f(x / |x|)`` is a smooth field of R^d whose solutions stay on the sphere, so the classical orders hold.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy.integrate import RK45
from scipy.optimize import brentq

from tokendyn.dynamics.flow import TokenFlow, checked_weights
from tokendyn.dynamics.flow_trajectory import FlowStatus, FlowTrajectory
from tokendyn.dynamics.layers import checked_tokens
from tokendyn.dynamics.run import Progress
from tokendyn.dynamics.sphere import retract, sphere_tokens, tangent
from tokendyn.errors import BadInputError, ScaleError, SingularError
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.provenance import provenance

Method = Literal["layers", "euler", "heun", "rk4", "adaptive"]

Velocity = Callable[[np.ndarray], np.ndarray]
Retraction = Callable[[np.ndarray], np.ndarray]
StepMap = Callable[[Velocity, Retraction, np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class Event:
    """A moment to find: where ``function(time, tokens)`` changes its sign.

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
    step: float = 0.1,
    tolerance: float = 1e-8,
    noise: float = 0.0,
    seed: int | None = None,
    events: Sequence[Event] = (),
    budget: Budget | None = None,
    normalise: bool = False,
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
        Largest step of the fixed methods; intervals between times are divided equally.
    tolerance
        Relative and absolute error of a step of the adaptive method, in the root mean square over all coordinates.
    noise
        Diffusivity D: adds Brownian motion of generator ``D Laplace`` (on the sphere: Laplace-Beltrami), by
        Euler-Maruyama with retraction; ``method="euler"`` only.
    seed
        Of the noise; required with it.
    events
        For the adaptive method.
    budget
        Steps and seconds.
    normalise
        Divide tokens by their norm first.
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
    state = sphere_tokens(tokens, normalise=normalise) if flow.on_sphere else checked_tokens(tokens)
    share = checked_weights(weights, len(state))
    grid = np.asarray(times, dtype=np.float64)
    _check(flow, state, grid, method, step, tolerance, noise, seed, events)
    field = flow.output if method == "layers" else flow.velocity
    run = _Run(flow, field, share, grid, events, budget or Budget(), started, progress)
    rng = np.random.default_rng(seed) if noise else None
    settings = _settings(flow) | {"method": method, "step": step, "tolerance": tolerance, "noise": noise, "seed": seed}
    if checkpoint is not None:
        run.checkpoint = checkpoint.of(state, share, grid, settings, [event.name for event in events])
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"), run.kept_on_the_way():
            found = run.begin(state, rng)
            if method == "adaptive":
                _adaptive(run, state, tolerance, found)
            else:
                _fixed(run, _noisy(noise, rng) if rng is not None else STEPS[method], step, rng)
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
        run.found, provenance(record, seed=seed, seconds=time.perf_counter() - started),
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
        budget: Budget,
        started: float,
        progress: Progress | None,
    ):
        self.field, self.weights, self.grid, self.events = field, weights, grid, events
        self.budget, self.started, self.progress = budget, started, progress
        self.retract: Retraction = retract if flow.on_sphere else np.asarray
        self.times: list[float] = []
        self.states: list[np.ndarray] = []
        self.found: dict[str, list[float]] = {event.name: [] for event in events}
        self.steps = self.evaluations = self.rejected = 0
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
        self.found = record["events"]
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
            "events": {name: list(times) for name, times in self.found.items()}, **(record or {}),
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


def _fixed(run: _Run, advance: StepMap, step: float, rng: np.random.Generator | None) -> None:
    """Cover each interval between output times by equal steps."""
    state, first = run.states[-1], len(run.times)
    for before, after in zip(run.grid[first - 1 : -1], run.grid[first:], strict=True):
        count = max(1, math.ceil((after - before) / step * (1 - 1e-12)))
        size = (after - before) / count
        for index in range(count):
            run.spend(before + index * size)
            state = advance(run.velocity, run.retract, state, size)
        run.keep(after, state)
        run.mark(rng)


def _euler_step(velocity: Velocity, back: Retraction, x: np.ndarray, h: float) -> np.ndarray:
    return back(x + h * velocity(x))


def _heun_step(velocity: Velocity, back: Retraction, x: np.ndarray, h: float) -> np.ndarray:
    first = velocity(x)
    second = velocity(back(x + h * first))
    return back(x + h / 2 * (first + second))


def _rk4_step(velocity: Velocity, back: Retraction, x: np.ndarray, h: float) -> np.ndarray:
    first = velocity(x)
    second = velocity(back(x + h / 2 * first))
    third = velocity(back(x + h / 2 * second))
    fourth = velocity(back(x + h * third))
    return back(x + h / 6 * (first + 2 * (second + third) + fourth))


STEPS: dict[str, StepMap] = {"layers": _euler_step, "euler": _euler_step, "heun": _heun_step, "rk4": _rk4_step}


def _noisy(diffusivity: float, rng: np.random.Generator) -> StepMap:
    """Return the Euler-Maruyama step ``x <- N(x + h f(x) + sqrt(2 D h) P_x xi)``."""

    def advance(velocity: Velocity, back: Retraction, x: np.ndarray, h: float) -> np.ndarray:
        kick = math.sqrt(2 * diffusivity * h) * rng.normal(size=x.shape)
        return back(x + h * velocity(x) + (tangent(x, kick) if back is retract else kick))

    return advance


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
    step: float,
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
    if not (math.isfinite(step) and step > 0):
        problems.append(f"step must be positive and finite, got {step}")
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
    }
