"""Wasserstein-2 distances between weighted points. Distances are chordal and are W_2, not W_2 squared."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError, ConvergenceError

#: Entries of the largest cost matrix that :func:`wasserstein` builds: 4,000 by 4,000.
MAX_COSTS = 2**24

#: Largest gap between primal and dual, relative to the largest cost, that counts as solved.
CERTIFIED = 1e-9


@dataclass(frozen=True)
class Transport:
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


def coupling_distance(
    points: Float[np.ndarray, "*times tokens dim"],
    targets: Float[np.ndarray, "tokens dim"],
    weights: Float[np.ndarray, " tokens"] | None = None,
) -> Float[np.ndarray, "*times"]:
    """Return ``sqrt(sum_i w_i |x_i - y_i|^2)``: an upper bound of ``W_2``, as it moves each token to its own target.

    Raises
    ------
    BadInputError
        For shapes that do not match.
    """
    if points.shape[-2:] != targets.shape:
        raise BadInputError(f"points {points.shape} and targets {targets.shape}; expected the same tokens")
    shares = _shares(weights, len(targets))
    return np.asarray(np.sqrt((((points - targets) ** 2).sum(axis=-1) * shares).sum(axis=-1)))


def wasserstein(
    points: Float[np.ndarray, "points dim"],
    targets: Float[np.ndarray, "targets dim"],
    weights: Float[np.ndarray, " points"] | None = None,
    target_weights: Float[np.ndarray, " targets"] | None = None,
    *,
    max_iterations: int = 5_000_000,
) -> Transport:
    """Return the exact Wasserstein-2 distance by the network simplex of POT, with a certificate from its duals.

    Parameters
    ----------
    points, targets
        Two sets of points of the same dimension; together at most ``MAX_COSTS`` pairs.
    weights, target_weights
        Positive, of sum 1; equal by default.
    max_iterations
        Of the network simplex.

    Raises
    ------
    ConvergenceError
        When the iterations do not suffice, or primal and dual differ by more than ``CERTIFIED``.
    BadInputError
        For too many pairs, or weights that are no probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics.transport import wasserstein
    >>> round(wasserstein(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 2.0], [1.0, 2.0]])).value, 6)
    2.0
    """
    if points.shape[1] != targets.shape[1] or len(points) * len(targets) > MAX_COSTS:
        raise BadInputError(
            f"points {points.shape} and targets {targets.shape}; expected the same dimension and at most {MAX_COSTS} "
            "pairs: thin the points out, or use coupling_distance (above) and sliced_distance (below)"
        )
    import ot  # type: ignore[import-untyped]

    a, b = _shares(weights, len(points)), _shares(target_weights, len(targets))
    b = b * (a.sum() / b.sum())
    costs = sum((points[:, None, axis] - targets[None, :, axis]) ** 2 for axis in range(points.shape[1]))
    squared, log = ot.emd2(a, b, costs, numItermax=max_iterations, log=True, check_marginals=False)
    if log.get("warning"):
        raise ConvergenceError(
            f"the transport of {len(points)} to {len(targets)} points did not converge in {max_iterations} iterations "
            f"({log['warning']}); raise max_iterations"
        )
    u, v = np.asarray(log["u"]), np.asarray(log["v"])
    slack = min(0.0, float((costs - u[:, None] - v[None, :]).min()))
    dual = float(u @ a + v @ b) + slack
    scale = float(costs.max()) or 1.0
    if abs(float(squared) - dual) > CERTIFIED * scale:
        raise ConvergenceError(f"primal {float(squared):.6g} and dual {dual:.6g} differ: the distance is not certified")
    return Transport(float(np.sqrt(max(float(squared), 0.0))), float(np.sqrt(max(dual, 0.0))))


def two_atom_distance(
    points: Float[np.ndarray, "points dim"],
    atoms: Float[np.ndarray, "2 dim"],
    masses: Float[np.ndarray, " 2"],
    weights: Float[np.ndarray, " points"] | None = None,
) -> float:
    """Return the exact ``W_2`` to ``m_1 delta_{y_1} + m_2 delta_{y_2}``, by sorting.

    Points go to ``y_1`` in the order of ``|x - y_1|^2 - |x - y_2|^2`` until its mass is filled; the last one is split.

    Raises
    ------
    BadInputError
        For masses that are negative or do not sum to 1.
    """
    mass = _shares(masses, 2, zero=True)
    shares = _shares(weights, len(points))
    first, second = (((points - atom) ** 2).sum(axis=1) for atom in atoms)
    order = np.argsort(first - second, kind="stable")
    before = np.cumsum(shares[order]) - shares[order]
    to_first = np.clip(mass[0] - before, 0.0, shares[order])
    squared = (to_first * first[order] + (shares[order] - to_first) * second[order]).sum()
    return float(np.sqrt(squared))


def line_distance(
    one: Float[np.ndarray, " points"],
    other: Float[np.ndarray, " targets"],
    weights: Float[np.ndarray, " points"] | None = None,
    other_weights: Float[np.ndarray, " targets"] | None = None,
) -> float:
    """Return the exact ``W_2`` between two weighted sets of points on a line: their quantile functions compared."""
    a, b = _shares(weights, len(one)), _shares(other_weights, len(other))
    first, second = np.argsort(one, kind="stable"), np.argsort(other, kind="stable")
    ends_one, ends_other = np.cumsum(a[first]), np.cumsum(b[second])
    cuts = np.sort(np.concatenate([ends_one[:-1], ends_other[:-1]]))
    cuts = np.concatenate([[0.0], cuts, [1.0]])
    middle = (cuts[1:] + cuts[:-1]) / 2
    x = one[first][np.minimum(np.searchsorted(ends_one, middle), len(one) - 1)]
    y = other[second][np.minimum(np.searchsorted(ends_other, middle), len(other) - 1)]
    return float(np.sqrt((np.diff(cuts) * (x - y) ** 2).sum()))


def sliced_distance(
    points: Float[np.ndarray, "points dim"],
    targets: Float[np.ndarray, "targets dim"],
    weights: Float[np.ndarray, " points"] | None = None,
    target_weights: Float[np.ndarray, " targets"] | None = None,
    *,
    directions: int = 64,
    seed: int = 0,
) -> float:
    """Return the largest ``W_2`` of projections onto random unit vectors: only a lower bound of ``W_2``."""
    vectors = np.random.default_rng(seed).normal(size=(directions, points.shape[1]))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    return max(line_distance(points @ e, targets @ e, weights, target_weights) for e in vectors)


def effective_sample_size(weights: Float[np.ndarray, " points"]) -> float:
    """Return ``(sum w)^2 / sum w^2``: so many equal weights are as even as these."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _shares(weights: np.ndarray | None, count: int, *, zero: bool = False) -> np.ndarray:
    if weights is None:
        return np.full(count, 1.0 / count)
    shares = np.asarray(weights, dtype=np.float64)
    positive = shares >= 0 if zero else shares > 0
    if shares.shape != (count,) or not positive.all() or abs(shares.sum() - 1) > 1e-9:
        raise BadInputError(
            f"weights of shape {shares.shape} and sum {shares.sum():.12g} for {count} points; expected positive "
            "numbers of sum 1"
        )
    return shares
