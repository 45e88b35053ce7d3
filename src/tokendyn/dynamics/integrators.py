"""Integrators of token flows, with retraction onto the sphere, budgets and a status for every way to end.

A step evaluates the velocity at retracted stages and retracts the result: the velocity extended by
``f(x) = f(x / |x|)`` is a smooth field of R^d whose solutions stay on the sphere, so the classical orders hold.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics.flow import TokenFlow, checked_weights
from tokendyn.dynamics.flow_trajectory import FlowTrajectory
from tokendyn.dynamics.integration import Budget, Event, Integration, StopError
from tokendyn.dynamics.layers import checked_tokens
from tokendyn.dynamics.methods import adaptive_steps, fixed_steps, layer_steps, noisy_steps
from tokendyn.dynamics.run import Progress
from tokendyn.dynamics.sphere import sphere_tokens
from tokendyn.dynamics.steps import STEP_ERROR, STEPS, longest_step
from tokendyn.errors import BadInputError, ScaleError, SingularError
from tokendyn.runs.checkpoint import AnyCheckpoint, Checkpoint
from tokendyn.runs.provenance import provenance

Method = Literal["layers", "euler", "heun", "rk4", "adaptive"]

#: A step, or ``"auto"``: chosen by the speed of the flow and an estimate of the error.
Step = float | Literal["auto"]

#: Default step of ``"layers"``, and the longest automatic step with noise.
_LAYER_STEP = 0.1

#: Version of the checkpoint's contents: it enters the identity, so an older checkpoint is never resumed by newer code.
_CHECKPOINT = 2


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
    checkpoint: AnyCheckpoint | None = None,
) -> FlowTrajectory:
    """Let tokens flow and keep them at the given times.

    Parameters
    ----------
    flow
        The vector field.
    tokens
        ``(tokens, dim)``; unit vectors when the flow is on the sphere.
    times
        Increasing, at least two; ``tokens`` is the state at the first.
    weights
        Positive, of sum 1; equal by default.
    method
        ``"layers"``: a post-normalised transformer layer of size h, ``x <- N(x + h V m(x))``, or the layer of another
        :attr:`TokenFlow.normalisation`, such as ``y <- y + h V m(N(y))`` for ``"pre"``. ``"euler"``, ``"heun"``,
        ``"rk4"``: orders 1, 2, 4, with retraction. ``"adaptive"``: Dormand-Prince 5(4) (SciPy's) with retraction after
        every step, dense output and events.
    step
        Largest step of the fixed methods; intervals between times are divided equally. ``"auto"`` begins with 0.1 (less
        for a V of norm above 2, :func:`~tokendyn.dynamics.steps.longest_step`) and takes shorter steps wherever the
        estimated error of one step of any token exceeds 1e-4. With a step that you give, the largest estimate is kept
        in ``FlowTrajectory.step_error``. ``"layers"`` is a map, not an approximation, and has a step of 0.1.
    tolerance
        Relative and absolute error of a step of the adaptive method, in the root mean square over all coordinates. The
        error of one sensitive token among many may be larger by the square root of their number.
    noise
        Diffusivity D: adds Brownian motion of generator ``D Laplace`` (on the sphere: Laplace-Beltrami) after each
        Euler step, along great circles and exact in its mean (:func:`~tokendyn.dynamics.steps.brownian`);
        ``method="euler"`` only.
    seed
        Seed of the noise; required with it.
    events
        Events to find; for the adaptive method only.
    budget
        Limits on steps and seconds.
    normalise
        Divide the tokens by their norms first.
    device
        A torch device that computes the attention, such as ``"cuda"``: :attr:`TokenFlow.device`.
    config
        Settings to add to the provenance.
    progress
        Called with the number of times reached and their total.
    checkpoint
        Where the state is saved, a path or a :class:`~tokendyn.Checkpoint`; a stopped integration resumes from it, to
        the same bits.

    Raises
    ------
    BadInputError
        If tokens are off the sphere, times do not increase, or weights or parameters are invalid.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import TokenFlow, integrate
    >>> flow = TokenFlow(9.0, value=np.diag([1.0, 2.0]))
    >>> trajectory = integrate(flow, np.array([[1.0, 0.0], [0.8, 0.6]]), [0.0, 5.0])
    >>> trajectory.status
    'completed'
    >>> trajectory.states[-1].round(3)
    array([[0.037, 0.999],
           [0.034, 0.999]])
    """
    started = time.perf_counter()
    automatic = step == "auto"
    flow = flow if device is None else replace(flow, device=device)
    state = sphere_tokens(tokens, normalise=normalise) if flow.on_sphere else checked_tokens(tokens)
    masses = checked_weights(weights, len(state))
    grid = np.asarray(times, dtype=np.float64)
    _check(flow, state, grid, method, step, tolerance, noise, seed, events)
    field = flow.output if method == "layers" else flow.velocity
    run = Integration(flow, field, masses, grid, events, budget, started, progress)
    rng = np.random.default_rng(seed) if noise else None
    settings = _settings(flow) | {"method": method, "step": step, "tolerance": tolerance, "noise": noise, "seed": seed}
    settings["checkpoint"] = _CHECKPOINT
    saved_at = Checkpoint.at(checkpoint)
    if saved_at is not None:
        run.checkpoint = saved_at.of(state, masses, grid, settings, [event.name for event in events])
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"), run.checkpointed_when_stopped():
            saved = run.begin(state, rng)
            if method == "adaptive":
                adaptive_steps(run, state, tolerance, saved)
            elif rng is not None:
                longest = min(_LAYER_STEP, longest_step(flow)) if step == "auto" else step
                noisy_steps(run, noise, rng, longest, automatic)
            elif method == "layers":
                layer_steps(run, _LAYER_STEP if step == "auto" else step)
            else:
                longest = longest_step(flow) if step == "auto" else step
                fixed_steps(run, *STEPS[method], longest, STEP_ERROR if automatic else math.inf, saved)
        status, reason = run.ended
    except StopError as stop:
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
        times=np.array(run.times),
        states=np.array(run.states),
        weights=masses,
        status=status,
        reason=reason,
        steps=run.steps,
        evaluations=run.evaluations,
        rejected=run.rejected,
        events=run.event_times,
        provenance=provenance(record, seed=seed, seconds=time.perf_counter() - started),
        step_error=run.step_error,
    )


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
    """Raise with every problem of the arguments at once."""
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
        # Left out where it is what it always was, so that the checkpoints of older runs are still theirs.
        **({} if flow.normalisation == "post" else {"normalisation": flow.normalisation}),
        "exact_means": flow.means is None,
        **({} if flow.device is None else {"device": flow.device}),
    }
