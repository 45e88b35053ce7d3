"""Softmax problems on which fast methods go wrong first, and an oracle in extended precision."""

import itertools
from dataclasses import dataclass

import numpy as np

BETAS = (1e-2, 0.3, 5.0, 50.0, 1e3, 3e4, 1e6)


@dataclass(frozen=True)
class Case:
    """One softmax problem."""

    name: str
    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None
    beta: float


def on_sphere(points):
    """Scale points to length 1."""
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def uniform(dim, n, rng):
    """Uniform on the sphere."""
    return on_sphere(rng.normal(size=(n, dim)))


def half(dim, n, rng):
    """On half of the sphere: the other half attends across the edge."""
    points = uniform(dim, n, rng)
    points[:, 0] = np.abs(points[:, 0])
    return points


def cap(dim, n, rng):
    """Within a cap of radius 0.1."""
    points = 0.1 * rng.normal(size=(n, dim))
    points[:, 0] = 1.0
    return on_sphere(points)


def clusters(dim, n, rng):
    """A few clusters of widths from 1e-9 to 0.3, of very different sizes."""
    centres = uniform(dim, 5, rng)
    widths = np.array([1e-9, 1e-6, 1e-3, 0.03, 0.3])
    which = rng.choice(5, size=n, p=[0.5, 0.3, 0.15, 0.04, 0.01])
    return on_sphere(centres[which] + widths[which, None] * rng.normal(size=(n, dim)))


def duplicates(dim, n, rng):
    """Seven places, each many times."""
    return uniform(dim, 7, rng)[rng.integers(0, 7, size=n)]


def antipodal(dim, n, rng):
    """Two antipodal points, each many times."""
    point = uniform(dim, 1, rng)
    return point * np.where(rng.random(n) < 0.3, 1.0, -1.0)[:, None]


def one(dim, n, rng):
    """A single token."""
    return uniform(dim, 1, rng)


def two(dim, n, rng):
    """Two antipodal tokens."""
    point = uniform(dim, 1, rng)
    return np.concatenate([point, -point])


def poles(dim, n, rng):
    """Near the poles and the date line, where spherical coordinates are singular."""
    points = 1e-8 * rng.normal(size=(n, dim))
    points[:, -1] += np.where(rng.random(n) < 0.5, 1.0, -1.0)
    points[0] = 0.0
    points[0, -1] = 1.0
    points[-1] = 0.0
    points[-1, 0] = -1.0
    return on_sphere(points)


FAMILIES = (uniform, half, cap, clusters, duplicates, antipodal, one, two, poles)

KINDS = ("self", "opposite", "rotated", "general", "elsewhere")


def queries_of(kind, keys, rng):
    """Return queries: ``B`` the identity, its negative, a random rotation, any matrix, or other tokens."""
    n, dim = keys.shape
    if kind == "self":
        return keys.copy()
    if kind == "opposite":
        return -keys
    if kind == "rotated":
        return 2.5 * keys @ np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    if kind == "general":
        return keys @ rng.normal(size=(dim, dim))
    return uniform(dim, n, rng)


def sphere_cases(dim, count, n, seed):
    """Yield ``count`` cases: all families, kinds of queries and temperatures in turn, values and weights at random."""
    rng = np.random.default_rng(seed)
    mixed = list(itertools.product(FAMILIES, KINDS, BETAS))
    order = rng.permutation(len(mixed))
    for number in range(count):
        family, kind, beta = mixed[order[number % len(mixed)]]
        keys = family(dim, n, rng)
        queries = queries_of(kind, keys, rng)
        size = len(keys)
        values = (keys @ rng.normal(size=(dim, dim)), rng.normal(size=(size, 1)), keys)[number % 3]
        weights = (None, rng.uniform(0.1, 2.0, size=size), 10.0 ** rng.uniform(-6, 0, size=size))[rng.integers(3)]
        yield Case(f"{family.__name__} {kind} beta={beta:g} #{number}", queries, keys, values, weights, beta)


def space_cases(dim, count, n, seed):
    """Yield cases of keys anywhere in space: Gaussian, on a lattice, in clusters, on a line, far from the origin."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        beta = BETAS[rng.integers(len(BETAS))]
        keys = (
            lambda: rng.normal(size=(n, dim)),
            lambda: rng.integers(-3, 4, size=(n, dim)).astype(float),
            lambda: clusters(dim, n, rng) * rng.uniform(0.1, 2, size=(n, 1)),
            lambda: rng.normal(size=(n, 1)) * rng.normal(size=dim),
            lambda: rng.normal(size=(n, dim)) + 30.0,
        )[number % 5]()
        queries = queries_of(KINDS[rng.integers(3)], keys, rng) if number % 2 else keys @ rng.normal(size=(dim, dim))
        weights = rng.uniform(0.1, 2.0, size=n) if number % 3 == 0 else None
        yield Case(f"space {number % 5} beta={beta:g} #{number}", queries, keys, keys, weights, beta)


def exact_rows(case, rows):
    """Return means and log partition functions of some rows in extended precision."""
    queries, keys, values = (array.astype(np.longdouble) for array in (case.queries[rows], case.keys, case.values))
    scores = np.longdouble(case.beta) * sum(queries[:, c, None] * keys[:, c] for c in range(keys.shape[1]))
    if case.weights is not None:
        scores = scores + np.log(case.weights.astype(np.longdouble))
    top = scores.max(axis=1, keepdims=True)
    terms = np.exp(scores - top)
    mass = terms.sum(axis=1)
    return (terms @ values) / mass[:, None], top[:, 0] + np.log(mass)


def worst_errors(case, found, rows):
    """Return the largest errors of means and log partition functions, each as a share of the stated bound."""
    means, logs = exact_rows(case, rows)
    largest = np.sqrt((case.values.astype(np.longdouble) ** 2).sum(axis=1)).max()
    bounds = found.error_bounds[rows] + found.rounding_bounds[rows]
    mean_errors = np.sqrt(((found.means[rows] - means) ** 2).sum(axis=1)) / largest
    log_errors = np.abs(found.references[rows].astype(np.longdouble) + found.log_masses[rows] - logs)
    return float((mean_errors / bounds).max()), float((log_errors / bounds).max())
