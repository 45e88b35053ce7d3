"""Fixed functions of a window, and their least squares for many ridges at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

from tokendyn.errors import BadInputError
from tokendyn.forecast.monomials import Monomials

#: Largest number of principal directions of the windows for units.
DIRECTIONS = 16
#: Number of rows that suffices for the principal directions of the windows.
_SAMPLED = 3000
#: A ridge of zero would divide by singular values at the level of rounding.
_LEAST_RIDGE = 1e-30

_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sin": np.sin, "tanh": np.tanh, "hinge": lambda inner: np.maximum(inner, 0.0)
}  # fmt: skip
_SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sin": np.cos, "tanh": lambda inner: 1.0 - np.tanh(inner) ** 2, "hinge": lambda inner: np.heaviside(inner, 0.5)
}  # fmt: skip


@dataclass(frozen=True)
class Basis:
    """Functions of a normalised window that do not change in training: ``1, h, monomials(h P), act(h C^T + a)``.

    Attributes
    ----------
    projection
        ``P``, (width, directions): principal directions for the monomials; None for the window itself.
    monomials
        Orders 2 and more.
    weights, bias
        ``C`` (units, width) and ``a`` (units,).
    activation
        "sin", "tanh", or "hinge": ``max(0, .)``.
    """

    projection: Float[np.ndarray, "width directions"] | None
    monomials: Monomials
    weights: Float[np.ndarray, "units width"]
    bias: Float[np.ndarray, " units"]
    activation: str

    def __call__(self, rows: Float[np.ndarray, "samples width"]) -> Float[np.ndarray, "samples terms"]:
        """Return the value of every function for each window."""
        parts = [np.ones((len(rows), 1)), rows]
        if self.monomials.parents:
            parts += self.monomials(rows if self.projection is None else rows @ self.projection)
        if len(self.bias):
            inner = rows @ self.weights.T + self.bias
            parts.append(_ACTIVATIONS[self.activation](inner))
        return np.concatenate(parts, axis=1)

    def jacobian(
        self, rows: Float[np.ndarray, "samples width"], coefficients: Float[np.ndarray, "terms features"]
    ) -> Float[np.ndarray, "samples features width"]:
        """Return the derivative of ``self(rows) @ coefficients`` by the columns of each window."""
        width = rows.shape[1]
        linear, rest = coefficients[1 : 1 + width], coefficients[1 + width :]
        local = np.repeat(linear.T[None], len(rows), axis=0)
        if self.monomials.parents:
            seen = rows if self.projection is None else rows @ self.projection
            values = self.monomials(seen)
            count = sum(map(len, self.monomials.columns))
            for feature in range(coefficients.shape[1]):
                gradient = self.monomials.gradient(seen, values, rest[:count, feature])
                local[:, feature] += gradient if self.projection is None else gradient @ self.projection.T
            rest = rest[count:]
        if len(self.bias):
            inner = rows @ self.weights.T + self.bias
            slopes = _SLOPES[self.activation](inner)
            for feature in range(coefficients.shape[1]):
                local[:, feature] += (slopes * rest[:, feature]) @ self.weights
        return local


def principal_directions(
    rows: Float[np.ndarray, "samples width"],
) -> tuple[Float[np.ndarray, "directions width"], Float[np.ndarray, " directions"]]:
    """Return the principal directions of windows, the widest first, and the standard deviation along each."""
    sample = rows[:: max(len(rows) // _SAMPLED, 1)]
    _, values, axes = np.linalg.svd(sample - sample.mean(axis=0), full_matrices=False)
    # The floor prevents a division by zero for directions without width.
    return axes, np.maximum(values / np.sqrt(len(sample)), 1e-12 * max(float(values[0]), 1e-300))


def unit_scales(deviations: Float[np.ndarray, " directions"], activation: str) -> tuple[np.ndarray, float]:
    """Return the divisors of the coordinates of units, and the deviation of the weights on them.

    Sin units divide all coordinates by the deviation of the first: for nearly collinear delays the others then stay
    small, as they are. Tanh units take the geometric mean of the first and their own, and weights of half the size.
    """
    seen = deviations[:DIRECTIONS]
    if activation == "sin":
        return np.full(len(seen), seen[0]), 1.0
    return np.sqrt(seen[0] * seen), 0.5


def drawn_units(
    rows: Float[np.ndarray, "samples width"],
    axes: Float[np.ndarray, "directions width"],
    deviations: Float[np.ndarray, " directions"],
    units: int,
    activation: str,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "units width"], Float[np.ndarray, " units"]]:
    """Return random weights and biases of units, each centred at a window of the data."""
    divisor, deviation = unit_scales(deviations, activation)
    inner = rng.standard_normal((units, len(divisor))) * deviation
    weights = inner @ (axes[: len(divisor)] / divisor[:, None])
    centres = rows[rng.integers(0, len(rows), units)]
    return weights, -np.einsum("uc,uc->u", weights, centres)


def draw_basis(
    rows: Float[np.ndarray, "samples width"],
    *,
    order: int,
    directions: int = 0,
    units: int,
    activation: str,
    rng: np.random.Generator,
) -> Basis:
    """Return the functions of windows: monomials to ``order``, of directions or of the whole window, and units."""
    width = rows.shape[1]
    projection, weights, bias = None, np.empty((0, width)), np.empty(0)
    if units or directions:
        axes, deviations = principal_directions(rows)
    if directions and order > 1:
        projection = axes[:directions].T / deviations[0]
    if units:
        weights, bias = drawn_units(rows, axes, deviations, units, activation, rng)
    columns = width if projection is None else projection.shape[1]
    return Basis(projection, Monomials.graded(columns, order), weights, bias, activation)


@dataclass(frozen=True)
class Fits:
    """Solutions for several ridges from one factorisation.

    Attributes
    ----------
    basis
        The functions.
    ridges
        One for each solution.
    coefficients
        Of the step ``x_{k+1} - x_k`` in normalised units.
    residuals
        Root mean square residual of each solution in training.
    """

    basis: Basis
    ridges: tuple[float, ...]
    coefficients: Float[np.ndarray, "ridges terms features"]
    residuals: Float[np.ndarray, " ridges"]


def solve_ridges(
    columns: Float[np.ndarray, "samples terms"],
    targets: Float[np.ndarray, "samples features"],
    ridges: Sequence[float],
) -> tuple[Float[np.ndarray, "ridges terms features"], Float[np.ndarray, " ridges"]]:
    """Return the minimisers of ``|Y - F B|^2 + ridge samples |S B|^2`` for every ridge, S the scale of each column.

    The columns are divided by their root mean square, factored once by QR and an SVD of R, and each ridge then costs
    one product: ``B = S^-1 V diag(s / (s^2 + ridge samples)) U^T Q^T Y``.

    Parameters
    ----------
    columns, targets
        F and Y; ``columns`` is overwritten.
    ridges
        Nonnegative; 0 is the least-squares solution.

    Returns
    -------
    The solutions, and the root mean square residual of each.

    Raises
    ------
    BadInputError
        If a function is not finite at a window.
    """
    samples, terms = columns.shape
    scale = np.sqrt((columns**2).mean(axis=0))
    scale[scale == 0] = 1.0
    columns /= scale
    # LAPACK itself prints to the terminal if a number is not finite.
    if not (np.isfinite(columns).all() and np.isfinite(targets).all()):
        raise BadInputError("functions of the windows are too large to be numbers; use a lower order")
    total = float((targets**2).sum())
    if samples > terms:
        q, columns = scipy.linalg.qr(columns, mode="economic", check_finite=False, overwrite_a=True)
        targets = q.T @ targets
    u, s, vt = np.linalg.svd(columns, full_matrices=False)
    projected = u.T @ targets
    outside = max(total - float((projected**2).sum()), 0.0)
    coefficients, residuals = [], []
    for ridge in ridges:
        penalty = max(ridge, _LEAST_RIDGE) * samples
        filters = s / (s**2 + penalty)
        coefficients.append((vt.T @ (filters[:, None] * projected)) / scale[:, None])
        missed = float(((penalty / (s**2 + penalty))[:, None] ** 2 * projected**2).sum())
        residuals.append(np.sqrt((outside + missed) / targets.shape[1] / samples))
    return np.stack(coefficients), np.array(residuals)
