"""A finish on closed loops: Levenberg-Marquardt on all weights, over short rollouts instead of single steps.

The error of a step returns through the window. The sensitivities of a rollout follow the recursion itself, ``d x_{k+1}
/ d w = df/dw + sum_j df/dx_{k-js} d x_{k-js} / d w``, so that a rollout of p steps costs the same as p single steps.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from jaxtyping import Float

from tokendyn.forecast.cell import Cell, tokens_of
from tokendyn.forecast.embedding import window_length
from tokendyn.forecast.network import forward, jacobian


@dataclass(frozen=True)
class Segments:
    """Pieces of the training series: a window, the following snapshots, and their inputs.

    Attributes
    ----------
    windows
        (pieces, window, features).
    truth
        (pieces, steps, features).
    drive
        Inputs of each window along the rollout, (pieces, steps, delays, 2 inputs).
    """

    windows: Float[np.ndarray, "pieces window features"]
    truth: Float[np.ndarray, "pieces steps features"]
    drive: Float[np.ndarray, "pieces steps delays drives"]


def segments_of(
    series: list[np.ndarray], inputs: list[np.ndarray], delays: int, stride: int, steps: int, pieces: int
) -> Segments | None:
    """Return about ``pieces`` evenly spaced pieces of the series, None if all are too short."""
    span = window_length(delays, stride)
    total = sum(max(len(z) - span - steps + 1, 0) for z in series)
    every = max(total // pieces, 1)
    windows, truth, drive = [], [], []
    for z, w in zip(series, inputs, strict=True):
        for start in range(0, len(z) - span - steps + 1, every):
            rows = slice(start, start + span + steps)
            windows.append(z[rows][:span])
            truth.append(z[rows][span:])
            drive.append(tokens_of(z[rows], w[rows], delays, stride)[:, :, z.shape[1] :])
    return Segments(np.stack(windows), np.stack(truth), np.stack(drive)) if windows else None


def pack(cell: Cell) -> Float[np.ndarray, " parameters"]:
    """Return all weights of a cell as one vector: inner, offset, linear, readout."""
    return np.concatenate([cell.network.pack(), cell.offset, cell.linear.ravel(), cell.readout.ravel()])


def unpack(cell: Cell, vector: Float[np.ndarray, " parameters"]) -> Cell:
    """Return the cell with the weights of a vector."""
    sizes = [len(cell.network.pack()), cell.offset.size, cell.linear.size]
    inner, offset, linear, readout = np.split(vector, np.cumsum(sizes))
    return replace(
        cell,
        network=cell.network.unpack(inner),
        offset=offset,
        linear=linear.reshape(cell.linear.shape),
        readout=readout.reshape(cell.readout.shape),
    )


def closed_loop_cost(cell: Cell, segments: Segments) -> float:
    """Return the mean squared error of the rollouts; infinite if one diverged."""
    steps = segments.truth.shape[1]
    total = 0.0
    for window, truth, drive in zip(segments.windows, segments.truth, segments.drive, strict=True):
        total += float(((cell.roll(window, steps, drive) - truth) ** 2).sum())
    return total / segments.truth.size if np.isfinite(total) else np.inf


def closed_loop_equations(
    cell: Cell, segments: Segments, *, linear: bool, chunk: int = 64
) -> tuple[Float[np.ndarray, "parameters parameters"], Float[np.ndarray, " parameters"]]:
    """Return ``J^T J`` and ``J^T r`` of the rollouts' errors by all weights."""
    size = len(pack(cell))
    matrix, downhill = np.zeros((size, size)), np.zeros(size)
    span, features = segments.windows.shape[1:]
    for first in range(0, len(segments.windows), chunk):
        part = slice(first, first + chunk)
        truth, drive = segments.truth[part], segments.drive[part]
        pieces, steps, _ = truth.shape
        orbit = np.concatenate([segments.windows[part], np.zeros_like(truth)], axis=1)
        sensitivities: list[np.ndarray] = []
        for step in range(steps):
            states = orbit[:, step : step + span : cell.stride]
            tokens = np.concatenate([states, drive[:, step]], axis=2)
            local = cell.operators(tokens)[..., :features]
            rows = _own(cell, tokens, linear=linear)
            for delay in range(len(cell.linear)):
                at = step + delay * cell.stride - span
                if at >= 0:
                    rows += np.matmul(local[:, delay], sensitivities[at])
            sensitivities.append(rows)
            orbit[:, step + span] = cell.step(tokens)
            flat = rows.reshape(pieces * features, size)
            matrix += flat.T @ flat
            downhill += flat.T @ (truth[:, step] - orbit[:, step + span]).ravel()
    return matrix, downhill


def finish(
    cell: Cell, segments: Segments, *, linear: bool, iterations: int, accept: Callable[[Cell, float], bool]
) -> Cell:
    """Minimise the closed-loop cost; ``accept`` is called for each better cell and returns whether to continue.

    Parameters
    ----------
    cell
        Cell to start from.
    segments
        The rollouts.
    linear
        Whether the linear part may move.
    iterations
        Largest number of steps that lower the cost.
    """
    cost, damping = closed_loop_cost(cell, segments), 1e-3
    for _ in range(iterations):
        matrix, downhill = closed_loop_equations(cell, segments, linear=linear)
        scale = np.maximum(np.diag(matrix), 1e-9 * np.diag(matrix).max())
        growth, better = 2.0, None
        while better is None and damping < 1e6:
            trial, reached = cell, np.inf
            with suppress(np.linalg.LinAlgError, ValueError):  # of equations that are singular or not finite
                step = scipy.linalg.solve(matrix + np.diag(damping * scale), downhill, assume_a="pos")
                trial = unpack(cell, pack(cell) + step)
                reached = closed_loop_cost(trial, segments)
            if reached < cost:
                better, cost = trial, reached
            damping *= growth if better is None else 0.2
            growth *= 2.0
        if better is None:
            break
        cell = better
        if not accept(cell, cost):
            break
    return cell


def _own(cell: Cell, tokens: np.ndarray, *, linear: bool) -> Float[np.ndarray, "pieces features parameters"]:
    """Return the derivative of one step by all weights, with the window fixed."""
    pieces, delays, width = tokens.shape
    features, units = cell.readout.shape
    passed = forward(cell.network, tokens)
    inner = len(cell.network.pack())
    rows = np.zeros((pieces, features, len(pack(cell))))
    at_linear = inner + features
    at_readout = at_linear + cell.linear.size
    for output in range(features):
        rows[:, output, :inner] = jacobian(cell.network, tokens, passed, cell.readout[output])
        rows[:, output, inner + output] = 1.0
        if linear:
            block = rows[:, output, at_linear:at_readout].reshape(pieces, delays, features, width)
            block[:, :, output] = tokens
            rows[:, output, at_linear:at_readout] = block.reshape(pieces, -1)
        begin = at_readout + output * units
        rows[:, output, begin : begin + units] = passed.units
    return rows
