"""Variable projection: the output layer by least squares inside, Levenberg-Marquardt on the inner weights.

The residual of the best output layer is a function of the inner weights alone; its Jacobian is that of the full
model projected off the columns of the output layer (L. Kaufman, BIT 15, 49 (1975), on G. Golub and V. Pereyra,
SIAM J. Numer. Anal. 10, 413 (1973)).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.linalg
from jaxtyping import Float

from tokendyn.errors import ConvergenceError
from tokendyn.forecast.network import Network, Pass, Tokens, chunks, features, forward, jacobian
from tokendyn.runs.processes import Processes

_SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-14, 1e8


@dataclass(frozen=True)
class Problem:
    """Windows and the targets of the output layer.

    Attributes
    ----------
    tokens
        (samples, delays, width).
    targets
        Increments ``x_{k+1} - x_k``, (samples, features).
    ridge
        Weight of the penalty on the output layer, as a share of the samples.
    linear
        Whether the window itself is a column of the output layer.
    processes
        Processes that share the windows: each has its own part, sums run over all.
    """

    tokens: Tokens
    targets: Float[np.ndarray, "samples features"]
    ridge: float
    linear: bool
    processes: Processes = field(default_factory=Processes)


@dataclass(frozen=True)
class Solved:
    """The best output layer for given inner weights.

    Attributes
    ----------
    readout
        (columns, features): intercept, linear part, units.
    cost
        Mean over the samples of the squared residual, penalty included.
    one_step
        Root mean square residual over the samples of all processes.
    residuals
        Residuals (samples, features) for the samples of this process.
    basis
        Orthonormal columns of the output layer, (samples, columns); with a ridge, the upper part of them.
    """

    readout: Float[np.ndarray, "columns features"]
    cost: float
    one_step: float
    residuals: Float[np.ndarray, "samples features"]
    basis: Float[np.ndarray, "samples columns"]
    passed: Pass


def solve_output(problem: Problem, network: Network) -> Solved:
    """Return the output layer of least penalised squares, by a QR factorisation.

    Raises
    ------
    ConvergenceError
        If units are not finite, or the columns depend on each other beyond what rounding allows.
    """
    passed = forward(network, problem.tokens)
    columns = features(problem.tokens, passed.units, linear=problem.linear)
    total = problem.processes.total
    samples = float(total(len(columns)))
    penalty = np.full(columns.shape[1], problem.ridge * samples)
    penalty[0] = 0.0
    basis, inverse = _orthonormal(columns, penalty, problem.processes)
    readout = inverse @ total(basis.T @ problem.targets)
    residuals = problem.targets - columns @ readout
    squares = float(total((residuals**2).sum()))
    cost = (squares + float((penalty[:, None] * readout**2).sum())) / samples
    one_step = math.sqrt(squares / (samples * residuals.shape[1]))
    return Solved(readout, cost, one_step, residuals, basis, passed)


def sharpened(problem: Problem, solved: Solved) -> Solved:
    """Return the same output layer with more accuracy, by Householder reflections.

    Cholesky factors of the Gram matrix leave at most half of the digits for nearly collinear units, and closed loops of
    clean data need all digits. For windows shared by several processes, and for dependent columns, the layer stays
    unchanged.
    """
    if problem.processes.count > 1:
        return solved
    columns = features(problem.tokens, solved.passed.units, linear=problem.linear)
    samples, width = columns.shape
    penalty = np.full(width, math.sqrt(problem.ridge * samples))
    penalty[0] = 0.0
    q, r = scipy.linalg.qr(np.concatenate([columns, np.diag(penalty)]), mode="economic", check_finite=False)
    size = np.abs(np.diagonal(r))
    if not size.min() > samples * np.finfo(float).eps * size.max():
        return solved
    readout = scipy.linalg.solve_triangular(r, q[:samples].T @ problem.targets, check_finite=False)
    residuals = problem.targets - columns @ readout
    one_step = float(np.sqrt((residuals**2).mean()))
    return replace(solved, readout=readout, residuals=residuals, one_step=one_step)


def _solved_or_none(problem: Problem, network: Network) -> Solved | None:
    """Return the output layer; None if the step was so large that there is none."""
    try:
        return solve_output(problem, network)
    except ConvergenceError:
        return None


def _orthonormal(columns: np.ndarray, penalty: np.ndarray, processes: Processes) -> tuple[np.ndarray, np.ndarray]:
    """Return Q and R^-1 of ``columns = Q R``, with the rows ``sqrt(penalty) I`` below them counted in.

    By Cholesky factors of the Gram matrix, twice (T. Fukaya et al., ScalA 2014): four times faster than Householder
    reflections, and as orthogonal while the penalty bounds the condition number.
    """
    basis, inverse = columns, np.eye(columns.shape[1])
    for _ in range(2):
        gram = processes.total(basis.T @ basis) + (inverse.T * penalty) @ inverse
        gram[np.diag_indices(len(gram))] += 1e-14 * np.trace(gram) / len(gram)
        try:
            upper = scipy.linalg.cholesky(gram, check_finite=False)
        except np.linalg.LinAlgError:
            raise ConvergenceError(
                "the output layer has no least squares: units are infinite or all alike; lower unit_scale or noise, or "
                "raise the ridge"
            ) from None
        basis = scipy.linalg.blas.dtrsm(1.0, upper, basis.T, trans_a=1).T
        inverse = scipy.linalg.solve_triangular(upper.T, inverse.T, lower=True, check_finite=False).T
    return basis, inverse


def normal_equations(
    problem: Problem, network: Network, solved: Solved
) -> tuple[Float[np.ndarray, "parameters parameters"], Float[np.ndarray, " parameters"]]:
    """Return ``J^T J`` and ``J^T r`` of the projected residual, in chunks of samples."""
    size = len(network.pack())
    matrix, gradient = np.zeros((size, size)), np.zeros(size)
    outputs = problem.targets.shape[1]
    units = len(network.bias)
    crossed = np.zeros((outputs, solved.basis.shape[1], size))
    for part in chunks(len(problem.tokens)):
        passed = Pass(*(getattr(solved.passed, name)[part] for name in Pass.__dataclass_fields__))
        for output in range(outputs):
            rows = jacobian(network, problem.tokens[part], passed, solved.readout[-units:, output])
            matrix += rows.T @ rows
            crossed[output] += solved.basis[part].T @ rows
            gradient += rows.T @ solved.residuals[part, output]
    matrix, gradient, crossed = (problem.processes.total(part) for part in (matrix, gradient, crossed))
    for output in range(outputs):
        matrix -= crossed[output].T @ crossed[output]
    return matrix, gradient


def levenberg_marquardt(
    problem: Problem,
    network: Network,
    *,
    iterations: int,
    accept: Callable[[Network, Solved, float], bool],
    damping: float = 1e-2,
    expired: Callable[[], bool] = lambda: False,
) -> tuple[Network, Solved]:
    """Minimise the projected cost.

    Parameters
    ----------
    problem, network
        The problem, and the network to start from.
    iterations
        Largest number of steps that lower the cost.
    accept
        Called after each of these steps with the damping of the next; the search ends when it returns False.
    damping
        Damping of the first step, relative to a tenth of the mean diagonal of the normal equations; the same for every
        weight, as the windows are whitened.
    expired
        Called between attempts at a step, each of which factors a matrix of all weights; True ends the search.
    """
    solved = solve_output(problem, network)
    for _ in range(iterations):
        matrix, gradient = normal_equations(problem, network, solved)
        scale = np.full(len(matrix), 0.1 * np.trace(matrix) / len(matrix))
        growth, found = 2.0, False
        while not found and damping < _LARGEST_DAMPING and not expired():
            step = _damped_step(matrix, gradient, damping * scale)
            if step is not None:
                trial = network.unpack(network.pack() + step)
                outcome = _solved_or_none(problem, trial)
                found = outcome is not None and outcome.cost < solved.cost
            damping *= 1 / 5 if found else growth
            growth *= 2.0
        if not found or outcome is None:
            break
        damping = max(damping, _SMALLEST_DAMPING)
        network, solved = trial, outcome
        if not accept(network, solved, damping):
            break
    return network, solved


def _damped_step(matrix: np.ndarray, gradient: np.ndarray, damping: np.ndarray) -> np.ndarray | None:
    """Return the solution of the damped normal equations, None if they are not positive definite."""
    damped = matrix.copy()
    damped[np.diag_indices(len(damped))] += damping
    try:
        factor = scipy.linalg.cho_factor(damped, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    return np.asarray(scipy.linalg.cho_solve(factor, gradient, check_finite=False))
