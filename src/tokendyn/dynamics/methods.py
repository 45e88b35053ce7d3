"""How each method covers the time between outputs: fixed steps, layers, noisy steps, and SciPy's adaptive pair."""

import math
from collections.abc import Callable

import numpy as np
from scipy.integrate import RK45
from scipy.optimize import brentq

from tokendyn.dynamics.integration import Event, Integration, StopError
from tokendyn.dynamics.sphere import retract
from tokendyn.dynamics.steps import StepMap, brownian, layer_step
from tokendyn.runs.checkpoint import State

#: Longest distance that the drift moves a token in one automatic step with noise.
_NOISY_WAY = 0.2


def fixed_steps(
    run: Integration, advance: StepMap, power: int, longest: float, allowed: float, saved: State | None
) -> None:
    """Cover each interval between output times by equal steps, shorter ones where the estimated error is too large.

    Invariant of the inner loop: ``count`` steps of length ``h`` end exactly at the next output time, also after ``h``
    changed. ``size``, the step that the error allows, carries over from one interval to the next.
    """
    state, first = run.states[-1], len(run.times)
    slope, size = (run.velocity(state), longest) if saved is None else (saved.arrays["slope"], saved.record["size"])
    controlled = math.isfinite(allowed)
    if controlled and not np.isfinite(slope).all():
        raise StopError("diverged", f"a velocity is not finite at t = {run.times[-1]:.6g}")
    for before, after in zip(run.grid[first - 1 : -1], run.grid[first:], strict=True):
        left = after - before
        count = _pieces(left, size)
        h = left / count
        while count:
            now = after - count * h
            run.spend(now)
            moved, end_slope, errors = advance(run.trial if controlled else run.velocity, run.retract, state, slope, h)
            error = float(errors.max())
            # Not ``error > allowed``: a NaN error must reject the step as well.
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
                # Without the factor 1.5 the interval would be divided anew after almost every step.
                if count and size >= 1.5 * h:
                    left = count * h
                    count = _pieces(left, size)
                    h = left / count
                run.check_pace(after - count * h, size)
        run.keep(after, state)
        run.mark(record={"size": float(size)}, slope=slope)


def _pieces(left: float, size: float) -> int:
    """Return the number of steps of at most ``size`` that cover ``left``; rounding of the quotient adds no step."""
    return max(1, math.ceil(left / size * (1 - 1e-12)))


def _shrink(excess: float, power: int) -> float:
    """Return the factor for a step whose error is ``excess`` (perhaps NaN) times too large: ``0.9 excess^(-1/power)``.

    The safety factor 0.9 and a limit on the change are the usual ones (Hairer, Norsett, Wanner, *Solving Ordinary
    Differential Equations I*, II.4).
    """
    return max(0.1, 0.9 * excess ** (-1 / power)) if math.isfinite(excess) else 0.1


def _grow(excess: float, power: int) -> float:
    """Return the factor for the step after one whose error was ``excess`` times the allowed one."""
    return min(4.0, 0.9 * max(excess, 1e-12) ** (-1 / power))


def layer_steps(run: Integration, step: float) -> None:
    """Apply the layer map, with equal steps of at most ``step`` between output times."""
    state, first = run.states[-1], len(run.times)
    for before, after in zip(run.grid[first - 1 : -1], run.grid[first:], strict=True):
        count = _pieces(after - before, step)
        h = (after - before) / count
        for index in range(count):
            run.spend(before + index * h)
            state = layer_step(run.velocity, run.retract, state, h)
        run.keep(after, state)
        run.mark()


def noisy_steps(
    run: Integration, diffusivity: float, rng: np.random.Generator, longest: float, automatic: bool
) -> None:
    """Take Euler steps, each followed by Brownian motion; automatic steps are short where tokens are fast.

    Within one interval between outputs, steps only become shorter.
    """
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
                    raise StopError("diverged", f"a velocity is not finite at t = {after - count * h:.6g}")
                left = count * h
                run.check_pace(after - left, _NOISY_WAY / fastest)
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


def adaptive_steps(run: Integration, state: np.ndarray, tolerance: float, saved: State | None) -> None:
    """Step SciPy's Dormand-Prince pair; after each step put the tokens back on the sphere.

    The velocity that the solver stores stays valid, because it was computed from the retracted state.
    """
    shape = state.shape

    def field(_: float, flat: np.ndarray) -> np.ndarray:
        return run.velocity(run.retract(flat.reshape(shape))).ravel()

    counted = run.evaluations
    solver = RK45(field, run.grid[0], state.ravel(), run.grid[-1], rtol=max(tolerance, 3e-14), atol=tolerance)
    if saved is not None:
        solver.t, solver.h_abs = saved.record["t"], saved.record["h"]
        solver.y, solver.f = saved.arrays["y"], saved.arrays["f"]
        # The constructor evaluated the field to choose a first step; the restored run has counted those already.
        run.evaluations = counted
    next_output = len(run.times)
    while solver.status == "running":
        run.spend(solver.t)
        before = run.evaluations
        message = solver.step()
        # Each attempt evaluates the field six times: the first of the seven stages is known from the step before.
        run.rejected += (run.evaluations - before) // 6 - 1
        if message is not None:
            raise StopError("diverged", f"the step size vanished at t = {solver.t:.6g}")
        dense = solver.dense_output()

        def at(when: float, dense: Callable[[float], np.ndarray] = dense) -> np.ndarray:
            return run.retract(np.asarray(dense(when)).reshape(shape))

        start = run.grid[0] if solver.t_old is None else solver.t_old
        stop = _first_terminal(run, float(start), float(solver.t), at)
        while next_output < len(run.grid) and run.grid[next_output] <= min(solver.t, stop):
            run.keep(run.grid[next_output], at(run.grid[next_output]))
            next_output += 1
        if stop < math.inf:
            if stop > run.times[-1]:
                run.keep(stop, at(stop))
            run.ended = ("event", f"a terminal event happened at t = {stop:.6g}")
            return
        solver.y = run.retract(solver.y.reshape(shape)).ravel()
        run.mark(record={"t": float(solver.t), "h": float(solver.h_abs)}, y=solver.y, f=solver.f)


def _first_terminal(run: Integration, start: float, end: float, at: Callable[[float], np.ndarray]) -> float:
    """Record the events of one step up to the first terminal one; return its time, ``inf`` without one."""
    crossings: list[tuple[float, Event]] = []
    for event in run.events:

        def level(when: float, event: Event = event) -> float:
            return float(event.function(when, at(when)))

        first, last = level(start), level(end)
        # An event exactly at the end of a step counts there, and not again at the start of the next.
        if first * last < 0 or (last == 0 and first != 0):
            crossings.append((float(brentq(level, start, end, xtol=1e-12 * max(1.0, abs(end)))), event))
    for when, event in sorted(crossings, key=lambda crossing: crossing[0]):
        run.event_times[event.name].append(when)
        if event.terminal:
            return when
    return math.inf
