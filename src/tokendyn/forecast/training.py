"""The training of TD-TF: least squares first, variable projection, and a choice by validation rollouts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tokendyn.forecast.cell import Cell, Units, tokens_of
from tokendyn.forecast.checks import deviations
from tokendyn.forecast.embedding import window_length
from tokendyn.forecast.finish import finish, segments_of
from tokendyn.forecast.functions import DIRECTIONS, principal_directions, unit_scales
from tokendyn.forecast.network import Network, Tokens
from tokendyn.forecast.tddmd import kept_rank, truncated_least_squares
from tokendyn.forecast.varpro import Problem, Solved, levenberg_marquardt, sharpened
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.processes import Processes

#: Errors of a validation rollout count up to this many standard deviations, and down to this share of one.
_WORST, _BEST = 2.0, 1e-8
#: Validation errors that differ by less than this share are the same: the later iteration, which fits better, is kept.
_ALIKE = 0.1
#: The nonlinear part must lower the logarithm of the validation error by this amount, or the linear model is kept.
_WORTH = 0.02
#: Inner weights are not trained if an iteration takes more operations than this, about a minute of one core.
_MOST_OPERATIONS = 3e11
#: Operations in a second for the normal equations on one core.
SPEED = 1e10
#: Total number of steps of the closed loops in a finish with long loops.
_FINISHED = 8000


@dataclass(frozen=True)
class Settings:
    """Settings of the training; the parameters of the same names in TDTF explain them."""

    delays: int
    stride: int
    common_scale: bool
    rank: int | float | None
    units: int
    keys: int
    activation: str
    linear: bool
    every: int
    noise: float
    ridge: float
    unit_scale: float | None
    iterations: int
    finish: int
    finish_steps: int | None
    gate: bool
    validation_fraction: float
    validation_horizon: int | None
    budget: float | None
    seed: int


@dataclass(frozen=True)
class Normalised:
    """Series in normalised units: the part to learn from and the part that validates."""

    units: Units
    series: list[np.ndarray]
    inputs: list[np.ndarray]
    held: list[np.ndarray]
    held_inputs: list[np.ndarray]
    horizon: int


@dataclass
class Record:
    """Record of a fit, for ``training_``.

    Attributes
    ----------
    status
        "completed"; "budget" if the time ended it; "fixed" if there were too many inner weights to train; or
        "unvalidated" if a gate had no data for validation, and the linear model was kept.
    iterations
        Number of steps of Levenberg-Marquardt done.
    chosen
        The iteration whose weights were kept; 0 for the linear model.
    linear_error, error
        Validation error of the linear model and of the chosen one: the geometric mean over origins and leads of
        the closed-loop error in standard deviations; None without a validation part.
    finished
        Whether the finish on closed loops was kept.
    history
        One row for each validation: iteration, one_step (root mean square), error.
    """

    status: str = "completed"
    iterations: int = 0
    chosen: int = 0
    linear_error: float | None = None
    error: float | None = None
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


def normalise(series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], settings: Settings) -> Normalised:
    """Return normalised series, the last ``validation_fraction`` of each long enough one held out."""
    columns = [np.concatenate([one, driven], axis=1) for one, driven in zip(series, inputs, strict=True)]
    stacked = np.concatenate(columns)
    scale = deviations(stacked)
    features = series[0].shape[1]
    if settings.common_scale:
        scale[:features] = np.sqrt((scale[:features] ** 2).mean())
    units = Units(stacked.mean(axis=0), scale, features)
    span = window_length(settings.delays, settings.stride)
    learned, learned_inputs, held, held_inputs = [], [], [], []
    for one, driven in zip(series, inputs, strict=True):
        z, w = units.snapshots(one), units.inputs(driven)
        kept = int(len(z) * settings.validation_fraction)
        cut = len(z) - kept if kept >= 20 and len(z) - kept > 2 * span else len(z)
        learned.append(z[:cut])
        learned_inputs.append(w[:cut])
        if cut < len(z):
            held.append(z[max(cut - span, 0) :])
            held_inputs.append(w[max(cut - span, 0) :])
    longest = max((len(one) - span for one in held), default=0)
    horizon = settings.validation_horizon or min(600, max(longest * 2 // 3, 1))
    return Normalised(units, learned, learned_inputs, held, held_inputs, min(horizon, max(longest, 1)))


def windows_of(data: Normalised, settings: Settings) -> tuple[Tokens, np.ndarray]:
    """Return the tokens of all windows to learn from, and the snapshot after each."""
    span = window_length(settings.delays, settings.stride)
    tokens = [tokens_of(z, w, settings.delays, settings.stride) for z, w in zip(data.series, data.inputs, strict=True)]
    return np.concatenate(tokens), np.concatenate([z[span:] for z in data.series])


def validation_error(cell: Cell, data: Normalised, *, origins: int = 24) -> float | None:
    """Return the geometric mean of the closed-loop error over origins and leads, None without a held part.

    Each error is the root mean square over features in standard deviations, between 1e-8 and 2: for chaos its logarithm
    grows linearly until the forecast is worthless, so the mean measures valid time; elsewhere it is an ordinary error.
    """
    delays = len(cell.linear)
    span = window_length(delays, cell.stride)
    logs = []
    total = sum(max(len(z) - span - data.horizon + 1, 0) for z in data.held)
    for z, w in zip(data.held, data.held_inputs, strict=True):
        starts = np.arange(0, len(z) - span - data.horizon + 1, max(total // origins, 1))
        for start in starts:
            rows = slice(start, start + span + data.horizon)
            drive = tokens_of(z[rows], w[rows], delays, cell.stride)[:, :, z.shape[1] :]
            truth = z[rows][span:]
            with np.errstate(invalid="ignore", over="ignore"):
                error = np.sqrt(((cell.roll(z[rows][:span], data.horizon, drive) - truth) ** 2).mean(axis=1))
            logs.append(np.log(np.clip(np.nan_to_num(error, nan=_WORST), _BEST, _WORST)).mean())
    return float(np.exp(np.mean(logs))) if logs else None


def train(
    data: Normalised,
    settings: Settings,
    *,
    progress: Callable[[float, str], None],
    checkpoint: Path | None = None,
    start: Network | None = None,
) -> tuple[Cell, Record]:
    """Return the cell of least validation error, and the record of the fit.

    The linear model is solved first. Then Levenberg-Marquardt moves the inner weights; every fifth iteration a closed
    loop over the held-out part is measured, and the best is kept. The linear model stays if the nonlinear part does not
    improve it enough. Without a held-out part the last iteration is used. ``start`` are inner weights to continue from.
    Under ``torchrun`` each process has a part of the windows, and all end with the same cell.
    """
    began = time.process_time()
    tokens, following = windows_of(data, settings)
    rng = np.random.default_rng(settings.seed)
    network = start or first_network(tokens, settings, rng)
    tokens, targets = shaken(tokens, following, settings.noise, rng)
    record = Record()
    best = _linear_cell(network, tokens, targets, settings)
    tokens, targets = tokens[:: settings.every], targets[:: settings.every]
    record.linear_error = record.error = validation_error(best, data) if settings.linear else None
    if not settings.units:
        return best, record
    if settings.linear and settings.gate and record.linear_error is None:
        record.status = "unvalidated"
        return best, record
    samples, delays, width = tokens.shape
    cost = iteration_cost(samples, targets.shape[1], settings.units, delays * width, bool(settings.keys))
    if cost > _MOST_OPERATIONS and settings.iterations:
        record.status, settings = "fixed", replace(settings, iterations=0)
    if settings.budget is not None and cost > SPEED * (settings.budget - (time.process_time() - began)):
        record.status, settings = "budget", replace(settings, iterations=0)
    processes = Processes()
    bound = _bound(checkpoint, data, settings)
    own = processes.part(len(tokens))
    problem = Problem(tokens[own], targets[own], settings.ridge, settings.linear, processes)
    search = _Search(data, settings, record, progress, began, bound, processes, problem)
    if settings.linear and settings.gate and record.linear_error is not None:
        search.best = best
        search.bar = record.linear_error * np.exp(-_WORTH)
    network, damping, done = search.resume(network)
    network, solved = levenberg_marquardt(
        problem,
        network,
        iterations=settings.iterations - done,
        accept=search.accept,
        damping=damping,
        expired=search.expired,
    )
    search.measure(network, solved)
    if settings.finish and record.status == "completed":
        search.finish()
    progress(1.0, f"kept iteration {record.chosen} of {record.iterations}")
    return search.best or cell_of(network, solved, settings), record


def shaken(
    tokens: Tokens, following: np.ndarray, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return every window with noise added, and the increments from there to the true next snapshot.

    The targets stay unchanged, so that the model learns to damp the noise: a penalty on its gain.
    """
    moved = tokens + noise * rng.standard_normal(tokens.shape)
    return moved, following - moved[:, -1, : following.shape[1]]


def iteration_cost(
    samples: int, outputs: int, units: int, width: int, attention: bool, rank: int | None = None
) -> float:
    """Return the operations of one step of Levenberg-Marquardt: normal equations of all outputs, and their solution."""
    rank = min(width, DIRECTIONS if rank is None else rank)
    weights = float(units * (rank + 1) + (width * rank if attention else 0))
    return 2.0 * samples * outputs * weights**2 + weights**3 / 3


def affordable_units(
    samples: int,
    outputs: int,
    units: int,
    width: int,
    *,
    attention: bool,
    iterations: int,
    seconds: float,
    rank: int | None = None,
) -> int:
    """Return the number of units, at most ``units``, whose Levenberg-Marquardt steps take the given seconds."""
    while units and iterations * iteration_cost(samples, outputs, units, width, attention, rank) > SPEED * seconds:
        units = int(0.8 * units)
    return units


def first_network(tokens: Tokens, settings: Settings, rng: np.random.Generator) -> Network:
    """Return the network that training starts from.

    The values are blocks of directions of the Hankel matrix, so that uniform attention gives the window in those
    coordinates; each unit is centred on a window of the data. Without a rank they are the leading principal directions,
    all divided by one number as in :func:`tokendyn.forecast.functions.unit_scales`, and a query of zero starts with
    uniform attention. With a rank each is divided by its own deviation (whitened), which amplifies directions in which
    nearly collinear delays differ only by noise.
    """
    samples, delays, width = tokens.shape
    flat = tokens.reshape(samples, -1)
    if settings.rank is None:
        axes, deviations = principal_directions(flat)
        divisor, deviation = unit_scales(deviations, "tanh" if settings.activation == "tanh" else "sin")
        directions, query_size = axes[: len(divisor)] / divisor[:, None], 0.0
    else:
        _, singular, right = np.linalg.svd(flat, full_matrices=False)
        kept = kept_rank(singular, settings.rank, flat.shape)
        directions, deviation, query_size = right[:kept] * (np.sqrt(samples) / singular[:kept, None]), 0.5, 0.1
    scale = deviation if settings.unit_scale is None else settings.unit_scale
    values = delays * directions.reshape(-1, delays, width).transpose(1, 0, 2)
    weights = scale * rng.standard_normal((settings.units, len(directions)))
    centres = (flat @ directions.T)[rng.integers(0, samples, settings.units)]
    keys = settings.keys
    return Network(
        query=query_size * rng.standard_normal((keys, width)),
        query_bias=query_size * rng.standard_normal(keys),
        key=0.1 * rng.standard_normal((keys, width)),
        position=0.1 * rng.standard_normal((delays, keys)),
        values=np.ascontiguousarray(values),
        weights=weights,
        bias=-(weights * centres).sum(axis=1),
        activation=settings.activation,
    )


def cell_of(network: Network, solved: Solved, settings: Settings) -> Cell:
    """Return the cell with given inner weights and their output layer."""
    delays, _, width = network.values.shape
    features, units = solved.readout.shape[1], len(network.bias)
    linear = np.zeros((delays, features, width))
    if settings.linear:
        window = solved.readout[1 : 1 + delays * width]
        linear = np.ascontiguousarray(window.reshape(delays, width, features).transpose(0, 2, 1))
    readout = np.ascontiguousarray(solved.readout[len(solved.readout) - units :].T)
    return Cell(settings.stride, linear, solved.readout[0].copy(), network, readout)


def _linear_cell(network: Network, tokens: Tokens, targets: np.ndarray, settings: Settings) -> Cell:
    """Return TD-DMD as a cell: least squares on the whole window, no unit.

    The targets are the increments; with a rank, the next snapshots, so that truncated directions vanish completely.
    """
    bare = replace(network, weights=network.weights[:0], bias=network.bias[:0])
    samples, delays, width = tokens.shape
    features = targets.shape[1]
    truncated = not settings.units and settings.rank is not None
    solved = truncated_least_squares(
        tokens.reshape(samples, -1),
        targets + tokens[:, -1, :features] if truncated else targets,
        rank=settings.rank if truncated else None,
        ridge=settings.ridge,
        intercept=True,
        scale=False,
    )
    linear = np.ascontiguousarray(solved.matrix.reshape(delays, width, features).transpose(0, 2, 1))
    if truncated:
        linear[-1, :, :features] -= np.eye(features)
    return Cell(settings.stride, linear, solved.intercept, bare, np.empty((features, 0)))


@dataclass
class _Search:
    """The best cell so far, and when to stop."""

    data: Normalised
    settings: Settings
    record: Record
    progress: Callable[[float, str], None]
    began: float
    checkpoint: Checkpoint | None
    processes: Processes
    problem: Problem
    best: Cell | None = None
    bar: float = np.inf
    every: int = 5
    measured: int = -1
    nonlinear: Cell | None = None
    nonlinear_bar: float = np.inf
    nonlinear_at: int = 0

    def expired(self) -> bool:
        """Return whether the budget is spent, and record it."""
        limit = self.settings.budget
        over = limit is not None and self.processes.agree(time.process_time() - self.began >= limit)
        self.record.status = "budget" if over else self.record.status
        return over

    def accept(self, network: Network, solved: Solved, damping: float) -> bool:
        """Record an iteration; return whether to continue."""
        self.record.iterations += 1
        self.progress(
            self.record.iterations / self.settings.iterations,
            f"iteration {self.record.iterations}: one step {solved.one_step:.2e}",
        )
        if self.record.iterations % self.every == 0:
            self.measure(network, solved)
            self.write(network, damping)
        return not self.expired()

    def measure(self, network: Network, solved: Solved) -> None:
        """Roll out over the held part and keep the cell if it is the best."""
        if self.measured == self.record.iterations:
            return
        self.measured = self.record.iterations
        solved = sharpened(self.problem, solved)
        cell = cell_of(network, solved, self.settings)
        error = validation_error(cell, self.data)
        row = {"iteration": self.record.iterations, "one_step": solved.one_step}
        self.record.history.append(row if error is None else row | {"error": error})
        alike = self.record.chosen and error is not None and error < (1 + _ALIKE) * self.bar
        if error is None or error < self.bar or alike:
            self.best, self.bar = cell, np.inf if error is None else min(error, self.bar)
            self.record.chosen, self.record.error = self.record.iterations, error
        if error is None or error < (1 + _ALIKE) * self.nonlinear_bar:
            self.nonlinear, self.nonlinear_bar = cell, np.inf if error is None else min(error, self.nonlinear_bar)
            self.nonlinear_at = self.record.iterations

    def finish(self) -> None:
        """Continue from the best nonlinear cell on closed loops; keep the result if the validation error falls.

        The loops start from windows with noise, so that they learn to return to the observed motion. The cell need not
        have beaten the linear model before: the finish is meant to repair good one-step models that diverge.
        """
        settings, start = self.settings, self.nonlinear
        steps = settings.finish_steps or max(2 * window_length(settings.delays, settings.stride) - 1, 10)
        pieces = max(min(400, _FINISHED // steps), 10)
        loops = segments_of(self.data.series, self.data.inputs, settings.delays, settings.stride, steps, pieces)
        if start is None or loops is None:
            return
        rng = np.random.default_rng(settings.seed)
        moved = loops.windows + settings.noise * rng.standard_normal(loops.windows.shape)
        loops = replace(loops, windows=moved)

        def accept(cell: Cell, cost: float) -> bool:
            error = validation_error(cell, self.data)
            self.progress(1.0, f"finish: closed loop {np.sqrt(cost):.2e}")
            if error is None or error < self.bar:
                self.best, self.record.finished, self.record.chosen = cell, True, self.nonlinear_at
                self.bar, self.record.error = np.inf if error is None else error, error
            return settings.budget is None or self.processes.agree(time.perf_counter() - self.began < settings.budget)

        finish(start, loops, linear=settings.linear, iterations=settings.finish, accept=accept)

    def write(self, network: Network, damping: float) -> None:
        """Write the state for a resumed fit, if a file is given."""
        if self.checkpoint is None or self.processes.rank:
            return
        arrays = {"weights": network.pack()}
        if self.best is not None and self.record.chosen:
            arrays |= {name: getattr(self.best, name) for name in _KEPT} | {"kept": self.best.network.pack()}
        record = self.record
        values = {"iterations": record.iterations, "chosen": record.chosen, "history": record.history}
        self.checkpoint.write(State(arrays, values | {"damping": damping}))

    def resume(self, network: Network) -> tuple[Network, float, int]:
        """Return the start: weights, damping and iterations done, from the checkpoint if there is one."""
        found = None if self.checkpoint is None else self.checkpoint.read()
        if found is None:
            return network, 1e-2, 0
        record, values = self.record, found.record
        record.iterations = self.measured = values["iterations"]
        record.chosen, record.history = values["chosen"], values["history"]
        if record.chosen:
            kept = network.unpack(found.arrays["kept"])
            linear, offset, readout = (found.arrays[name] for name in _KEPT)
            self.best = Cell(self.settings.stride, linear, offset, kept, readout)
            record.error = next(row.get("error") for row in record.history if row["iteration"] == record.chosen)
            self.bar = np.inf if record.error is None else record.error
            self.nonlinear, self.nonlinear_bar, self.nonlinear_at = self.best, self.bar, record.chosen
        return network.unpack(found.arrays["weights"]), values["damping"], record.iterations


#: Arrays of the best cell beside its network.
_KEPT = ("linear", "offset", "readout")


def _bound(path: Path | None, data: Normalised, settings: Settings) -> Checkpoint | None:
    """Return the checkpoint of a fit; the limits of its duration are not part of its identity."""
    if path is None:
        return None
    plain = replace(settings, budget=None, iterations=0)
    return Checkpoint(path, seconds=0.0).of(plain, data.series, data.inputs, data.held)
