"""Wasserstein-2 distances between weighted points. Distances are chordal and are W_2, not W_2 squared.

No distance has a scale of its own: lengths are differences of coordinates (a far common point cancels before anything
is squared) over a power of two near the largest of them, and a result is certified relative to its own value.
Masses below ``SLIVER`` that rounding leaves between heavier points are not moved.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError, ConvergenceError, ScaleError
from tokendyn.optional import library, missing
from tokendyn.results import Numbers

#: Entries of the largest cost matrix that :func:`wasserstein` builds: 4,000 by 4,000.
MAX_COSTS = 2**24

#: Entries of the largest cost matrix of unequal weights that goes without POT: 1,000 by 1,000, some five seconds.
MAX_PATHS = 10**6

#: Largest gap between a distance and its lower bound, relative to the distance, that counts as solved.
CERTIFIED = 1e-10

#: Limits of a mass that rounding of sums of weights may leave between two points: less than the first number, which
#: weights of sum 1 cannot resolve, and less than the second as a share of both weights, so that a light but far point
#: keeps its mass.
SLIVER, SLIVER_SHARE = 64 * np.finfo(np.float64).eps, 1e-9

#: Number of solutions of the transport, each on a finer scale.
SCALES = 6


@dataclass(frozen=True)
class Transport(Numbers, kind="transport"):
    """An exact Wasserstein-2 distance with its certificate.

    Attributes
    ----------
    value
        ``W_2`` from the primal plan: an upper bound.
    lower
        A lower bound from the dual potentials, made feasible; equal to ``value`` up to rounding.
    """

    value: float
    lower: float

    def __float__(self) -> float:
        return self.value

    def describe(self) -> list[str]:
        """Return the distance and its certificate in a sentence."""
        return [f"Wasserstein-2 distance {self.value:.6g}, and by duality no less than {self.lower:.6g}"]


def coupling_distance(
    points: Float[np.ndarray, "*times tokens dim"],
    targets: Float[np.ndarray, "tokens dim"],
    weights: Float[np.ndarray, " tokens"] | None = None,
) -> Float[np.ndarray, "*times"]:
    """Return ``sqrt(sum_i w_i |x_i - y_i|^2)``: an upper bound of ``W_2``, as it moves each token to its own target.

    Raises
    ------
    BadInputError
        If shapes do not match, numbers are not finite, or weights are not probabilities.
    """
    points, targets = _as_points(points, "points", batch=True), _as_points(targets, "targets")
    if points.shape[-2:] != targets.shape:
        raise BadInputError(f"points {points.shape} and targets {targets.shape}; expected the same tokens")
    shares = _shares(weights, len(targets), "weights")
    return _root_mean_square(_differences(points, targets), shares)


def wasserstein(
    points: Float[np.ndarray, "points dim"],
    targets: Float[np.ndarray, "targets dim"],
    weights: Float[np.ndarray, " points"] | None = None,
    target_weights: Float[np.ndarray, " targets"] | None = None,
    *,
    max_iterations: int = 5_000_000,
) -> Transport:
    """Return the exact Wasserstein-2 distance, with a certificate.

    Equal weights are assigned by shortest augmenting paths, others by the network simplex of POT (the extra
    ``transport``), or without it by such paths for up to ``MAX_PATHS`` pairs.

    The certificate is a pair of potentials ``u_i + v_j <= |x_i - y_j|^2``, computed from the plan by shortest paths:
    then ``sum_i a_i u_i + sum_j b_j v_j <= W_2^2``. Where the distance is so much smaller than the clouds that the
    simplex cannot resolve it, costs far above those of the plan are cut and the problem is solved again on the finer
    scale; potentials for cut costs are potentials for the costs.

    Parameters
    ----------
    points, targets
        Two sets of points of the same dimension; together at most ``MAX_COSTS`` pairs.
    weights, target_weights
        Not negative, of sum 1; equal by default. Points of weight 0 are ignored.
    max_iterations
        Largest number of paths, or of pivots of the simplex.

    Raises
    ------
    ConvergenceError
        If the iterations do not suffice, or the squared distance exceeds its lower bound by more than the share
        ``CERTIFIED``.
    BadInputError
        If arrays are not clouds of finite points, there are too many pairs, or weights are not probabilities.
    MissingLibraryError
        If there are more than ``MAX_PATHS`` pairs of unequal weights and POT is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics.transport import wasserstein
    >>> round(wasserstein(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 2.0], [1.0, 2.0]])).value, 6)
    2.0
    """
    points, targets = _as_points(points, "points"), _as_points(targets, "targets")
    if points.shape[1] != targets.shape[1] or len(points) * len(targets) > MAX_COSTS:
        raise BadInputError(
            f"points {points.shape} and targets {targets.shape}; expected the same dimension and at most {MAX_COSTS} "
            "pairs: thin the points out, or use coupling_distance (above) and sliced_distance (below)"
        )
    a, b = _shares(weights, len(points), "weights"), _shares(target_weights, len(targets), "target_weights")
    points, targets, a, b = points[a > 0], targets[b > 0], a[a > 0], b[b > 0]
    unit = max(_unit(_differences(points, target)) for target in targets)
    ceiling, value, lower = np.inf, np.inf, 0.0
    for scale in range(SCALES):
        costs = _costs(points, targets, unit, ceiling)
        rows, columns, masses, potentials = _plan(a, b, costs, max_iterations)
        moves = points[rows] - targets[columns]
        value = min(value, float(_root_mean_square(moves, masses)))
        bound = _dual_bound(costs, rows, columns, masses, potentials, (value / unit) ** 2, 16 * 8**scale)
        lower = min(max(lower, unit * math.sqrt(bound)), value)
        if lower >= (1 - CERTIFIED) * value:
            return Transport(value, lower)
        # A pair that costs more than a whole good plan is in no better plan: cutting such costs leaves the simplex the
        # digits for the others.
        unit, ceiling = _unit(moves), 4.0 * moves.shape[1] * (len(a) + len(b))
    raise ConvergenceError(
        f"the distance lies between {lower:.9g} and {value:.9g} and is not certified to {CERTIFIED:g} of itself; "
        "use coupling_distance (above) and sliced_distance (below)"
    )


def two_atom_distance(
    points: Float[np.ndarray, "points dim"],
    atoms: Float[np.ndarray, "2 dim"],
    masses: Float[np.ndarray, " 2"],
    weights: Float[np.ndarray, " points"] | None = None,
) -> float:
    """Return the exact ``W_2`` to ``m_1 delta_{y_1} + m_2 delta_{y_2}``, by sorting.

    Points go to ``y_1`` in the order of ``|x - y_1|^2 - |x - y_2|^2``, which is that of ``<x - y_1, y_2 - y_1>``, until
    its mass is filled; the last one is split.

    Raises
    ------
    BadInputError
        If numbers are not finite, or masses or weights are negative or do not sum to 1.
    """
    points, atoms = _as_points(points, "points"), _as_points(atoms, "atoms")
    if atoms.shape != (2, points.shape[1]):
        raise BadInputError(f"atoms {atoms.shape}; expected two points of {points.shape[1]} coordinates")
    mass, shares = _shares(masses, 2, "masses"), _shares(weights, len(points), "weights")
    first, second, direction = _differences(points, atoms[0]), _differences(points, atoms[1]), atoms[1] - atoms[0]
    # Divided by powers of two, so that the products neither overflow nor underflow.
    order = np.argsort((first / _unit(first)) @ (direction / _unit(direction)), kind="stable")
    ends = np.cumsum(shares[order], dtype=np.longdouble)
    to_first = np.clip((mass[0] - (ends - shares[order])).astype(np.float64), 0.0, shares[order])
    sliver = _is_sliver(to_first, shares[order], mass[0])
    to_first[sliver] = 0.0
    left = shares[order] - to_first
    left[_is_sliver(left, shares[order], mass[1])] = 0.0
    moves = np.concatenate([first[order], second[order]])
    return float(_root_mean_square(moves, np.concatenate([to_first, left])))


def line_distance(
    points: Float[np.ndarray, " points"],
    targets: Float[np.ndarray, " targets"],
    weights: Float[np.ndarray, " points"] | None = None,
    target_weights: Float[np.ndarray, " targets"] | None = None,
) -> float:
    """Return the exact ``W_2`` between two weighted sets of points on a line: the distance of their quantile functions.

    Raises
    ------
    BadInputError
        If numbers are not finite, or weights are negative or do not sum to 1.
    """
    # Sums of weights in extended precision: the quantile functions are compared piece by piece between their jumps.
    points, targets = _as_points(points, "points", line=True), _as_points(targets, "targets", line=True)
    a, b = _shares(weights, len(points), "weights"), _shares(target_weights, len(targets), "target_weights")
    first, second = np.argsort(points, kind="stable"), np.argsort(targets, kind="stable")
    ends, target_ends = (np.cumsum(w, dtype=np.longdouble) for w in (a[first], b[second]))
    cuts = np.concatenate([[0.0], np.sort(np.concatenate([ends, target_ends]))[:-1]])
    middle = (cuts[1:] + cuts[:-1]) / 2
    i = first[np.minimum(np.searchsorted(ends, middle), len(points) - 1)]
    j = second[np.minimum(np.searchsorted(target_ends, middle), len(targets) - 1)]
    masses = np.maximum(np.diff(cuts).astype(np.float64), 0.0)
    masses[_is_sliver(masses, a[i], b[j])] = 0.0
    return float(_root_mean_square(_differences(points[i, None], targets[j, None]), masses))


def sliced_distance(
    points: Float[np.ndarray, "points dim"],
    targets: Float[np.ndarray, "targets dim"],
    weights: Float[np.ndarray, " points"] | None = None,
    target_weights: Float[np.ndarray, " targets"] | None = None,
    *,
    directions: int = 64,
    seed: int = 0,
) -> float:
    """Return the largest ``W_2`` of projections onto random unit vectors: only a lower bound of ``W_2``.

    Raises
    ------
    BadInputError
        As :func:`wasserstein`, but for any number of pairs; also if there is no direction.
    """
    points, targets = _as_points(points, "points"), _as_points(targets, "targets")
    if points.shape[1] != targets.shape[1] or directions < 1:
        raise BadInputError(
            f"points {points.shape}, targets {targets.shape}, {directions} directions; expected the same dimension and "
            "at least one direction"
        )
    points, targets = _differences(points, targets[0]), _differences(targets, targets[0])
    vectors = np.random.default_rng(seed).normal(size=(directions, points.shape[1]))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    return max(line_distance(points @ e, targets @ e, weights, target_weights) for e in vectors)


def effective_sample_size(weights: Float[np.ndarray, " points"]) -> float:
    """Return ``(sum w)^2 / sum w^2``, the number of equal weights that are as even as these.

    Raises
    ------
    BadInputError
        If weights are negative, not finite or all zero.
    """
    array = _as_points(weights, "weights", line=True)
    if array.min() < 0 or array.max() == 0:
        raise BadInputError("weights must not be negative, and one must be positive")
    shares = array / array.max()
    return float(shares.sum() ** 2 / (shares**2).sum())


def _as_points(values: np.ndarray, name: str, *, line: bool = False, batch: bool = False) -> np.ndarray:
    """Return finite numbers of the expected number of axes as float64."""
    expected = "(points,)" if line else "(..., points, dim)" if batch else "(points, dim)"
    try:
        array = np.asarray(values)
    except ValueError:
        raise BadInputError(f"{name} has rows of different lengths, expected {expected}") from None
    if array.dtype.kind not in "fiub":
        raise BadInputError(f"{name} holds {array.dtype}, expected real numbers")
    if array.ndim != (1 if line else 2) and not (batch and array.ndim > 2):
        raise BadInputError(f"{name} has shape {array.shape}, expected {expected}")
    if array.size == 0:
        raise BadInputError(f"{name} has shape {array.shape}: there is no point or no coordinate")
    with np.errstate(over="ignore"):  # values that only longer floats hold are infinite here
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise BadInputError(f"{name} is NaN or infinite at index {where}; leave that point out")
    return array


def _shares(weights: np.ndarray | None, count: int, name: str) -> np.ndarray:
    """Return weights of sum 1."""
    if weights is None:
        return np.full(count, 1.0 / count)
    shares = _as_points(weights, name, line=True)
    if shares.shape != (count,) or shares.min() < 0 or abs(shares.sum() - 1) > 1e-9:
        raise BadInputError(
            f"{name} of shape {shares.shape}, least {shares.min():.6g} and sum {shares.sum():.12g} for {count} points; "
            "expected one number of at least 0 for each, of sum 1"
        )
    return np.asarray(shares / shares.sum())


def _differences(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        differences = points - targets
    if not np.isfinite(differences).all():
        raise ScaleError("differences of points overflow float64; scale the points down")
    return np.asarray(differences)


def _unit(differences: np.ndarray) -> float:
    """Return a power of two near the largest difference, so that division by it is exact; 1 when all are 0."""
    largest = float(np.abs(differences).max(initial=0.0))
    return math.ldexp(1.0, max(math.frexp(largest)[1] - 1, -1000)) if largest else 1.0


def _root_mean_square(differences: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return ``sqrt(sum_i w_i |d_i|^2)`` over the last two axes."""
    moved = differences[..., shares > 0, :]
    unit = _unit(moved)
    return np.asarray(unit * np.sqrt((((moved / unit) ** 2).sum(axis=-1) * shares[shares > 0]).sum(axis=-1)))


def _is_sliver(masses: np.ndarray, first: np.ndarray | float, second: np.ndarray | float) -> np.ndarray:
    """Return which masses between two points are only rounding of their weights."""
    return np.asarray((masses < SLIVER) & (masses < SLIVER_SHARE * np.minimum(first, second)))


def _costs(points: np.ndarray, targets: np.ndarray, unit: float, ceiling: float) -> np.ndarray:
    """Return ``min(|x_i - y_j|^2 / unit^2, ceiling)``."""
    with np.errstate(over="ignore"):
        costs = sum(((points[:, None, k] - targets[None, :, k]) / unit) ** 2 for k in range(points.shape[1]))
    return np.asarray(np.minimum(costs, ceiling))


def _plan(
    a: np.ndarray, b: np.ndarray, costs: np.ndarray, max_iterations: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns and masses of an optimal plan, and the potentials of its columns.

    Shortest paths are as fast as any method for equal weights; for other weights they take n^3 and more, so that many
    points need the network simplex. Equal weights use the same method with and without POT, for the same bits.
    """
    equal = len(a) == len(b) and bool((a == a[0]).all() and (b == a[0]).all())
    if equal or (costs.size <= MAX_PATHS and missing("ot")):
        plan, potentials, problem = _by_paths(a, b, costs, max_iterations)
    else:
        plan, potentials, problem = _by_simplex(a, b, costs, max_iterations)
    if problem:
        raise ConvergenceError(
            f"the transport of {len(a)} to {len(b)} points did not converge in {max_iterations} iterations "
            f"({problem}); raise max_iterations"
        )
    rows, columns = np.nonzero(plan)
    masses = plan[rows, columns]
    moved = ~_is_sliver(masses, a[rows], b[columns])
    rows, columns, masses = rows[moved], columns[moved], masses[moved]
    for name, weights, index in (("weights", a, rows), ("target_weights", b, columns)):
        carried = np.bincount(index, masses, minlength=len(weights))
        if (np.abs(carried - weights) > 10 * SLIVER_SHARE * weights).any():
            raise ConvergenceError(
                f"{name} span {np.log10(weights.max() / weights.min()):.0f} decades, more than the transport carries: "
                "leave out the points of least weight"
            )
    return rows, columns, masses, potentials


def _by_paths(
    a: np.ndarray, b: np.ndarray, costs: np.ndarray, max_iterations: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return an optimal plan, the potentials of its columns, and the problem if any, by shortest augmenting paths."""
    from tokendyn.metrics.transport_kernels import transport

    plan, u, v = np.zeros_like(costs), np.zeros(len(a)), np.zeros(len(b))
    paths = transport(costs, a.copy(), b.copy(), plan, u, v, max_iterations)
    return plan, v, "mass is left" if paths < 0 else ""


def _by_simplex(
    a: np.ndarray, b: np.ndarray, costs: np.ndarray, max_iterations: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return an optimal plan, the potentials of its columns, and the problem if any, by the network simplex of POT."""
    ot = library("ot")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its warning is in the log
        plan, log = ot.emd(a, b, costs, numItermax=max_iterations, log=True, check_marginals=False)
    return plan, np.asarray(log["v"]), log.get("warning") or ""


def _dual_bound(
    costs: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    masses: np.ndarray,
    v: np.ndarray,
    goal: float,
    most_passes: int,
) -> float:
    """Return a lower bound of the cost of every plan with the masses of this one, from potentials.

    For any v, ``u_i = min_j c_ij - v_j`` is a feasible pair. The best v are shortest paths along pairs, and backwards
    along the pairs of an optimal plan (Bellman and Ford); they are computed until the bound is close to ``goal``. A
    plan that is not optimal has a cycle of negative cost and no shortest paths: hence ``most_passes``.
    """
    a, b = np.bincount(rows, masses, minlength=len(costs)), np.bincount(columns, masses, minlength=costs.shape[1])
    tight, everyone, best, settled = costs[rows, columns], np.arange(len(costs)), 0.0, False
    for passes in range(min(most_passes, sum(costs.shape)) + 1):
        if settled or passes % 8 == 0:
            near = (costs - v).argmin(axis=1)
            cost = costs[everyone, near]
            u = cost - v[near]
            rounding = 4 * np.finfo(np.float64).eps * (a @ (cost + np.abs(v[near])) + b @ np.abs(v) + 4 * goal)
            best = max(best, float(a @ u + b @ v - rounding))
            if settled or best >= (1 - CERTIFIED) * goal:
                break
        ends = np.full(len(costs), -np.inf)
        np.maximum.at(ends, rows, tight - v[columns])
        shorter = np.minimum(v, (costs - ends[:, None]).min(axis=0))
        settled, v = bool((shorter == v).all()), shorter
    return best
