"""Pairs of clouds for Wasserstein distances, and linear assignment as their oracle."""

from collections.abc import Iterator

import numpy as np
from scipy.optimize import linear_sum_assignment

Pair = tuple[np.ndarray, np.ndarray]


def assignment_distance(points: np.ndarray, targets: np.ndarray) -> float:
    """Return W_2 of equal weights by linear assignment on squared differences; it has no scale of its own."""
    costs = ((points[:, None] - targets[None]) ** 2).sum(axis=-1)
    return float(np.sqrt(costs[linear_sum_assignment(costs)].mean()))


def _gaussian(rng: np.random.Generator, count: int, dim: int, width: float) -> Pair:
    return rng.normal(size=(count, dim)), rng.normal(size=(count, dim)) * rng.choice([width, 1.0])


def _far_common_point(rng: np.random.Generator, count: int, dim: int, width: float) -> Pair:
    centre = np.eye(dim)[0]
    return centre + width * rng.normal(size=(count, dim)), centre + width * rng.normal(size=(count, dim))


def _two_clusters(rng: np.random.Generator, count: int, dim: int, width: float) -> Pair:
    sides = np.where(np.arange(count) % 2, 1.0, -1.0)[:, None] * np.eye(dim)[0]
    noise = width * rng.normal(size=(2, count, dim))
    return sides + noise[0], rng.permutation(sides) + noise[1]


def _nested_clusters(rng: np.random.Generator, count: int, dim: int, width: float) -> Pair:
    places = rng.integers(0, 3, size=(2, count, 1)) * np.array([1.0, np.sqrt(width)])[:, None, None]
    places = places.sum(axis=0) * np.eye(dim)[0]
    noise = width * rng.normal(size=(2, count, dim))
    return places + noise[0], rng.permutation(places) + noise[1]


def _unequal_clusters(rng: np.random.Generator, count: int, dim: int, width: float) -> Pair:
    places = rng.normal(size=(3, dim))
    clouds = places[rng.integers(0, 3, size=(2, count))] + width * rng.normal(size=(2, count, dim))
    return clouds[0], clouds[1]


def _one_far_point(rng: np.random.Generator, count: int, dim: int, width: float) -> Pair:
    clouds = width * rng.normal(size=(2, count, dim))
    clouds[:, 0, 0] += 1.0
    return clouds[0], clouds[1]


def _lattice(rng: np.random.Generator, count: int, dim: int, width: float) -> Pair:
    clouds = rng.integers(-3, 4, size=(2, count, dim)).astype(float)
    return clouds[0], clouds[1] + rng.choice([0.0, width])


def _few_moved(rng: np.random.Generator, count: int, dim: int, width: float) -> Pair:
    points = rng.normal(size=(count, dim))
    targets = rng.permutation(points)
    targets[: max(count // 10, 1)] += width
    return points, targets


FAMILIES = {
    family.__name__.strip("_"): family
    for family in (
        _gaussian,
        _far_common_point,
        _two_clusters,
        _nested_clusters,
        _unequal_clusters,
        _one_far_point,
        _lattice,
        _few_moved,
    )
}


def pairs(number: int, seed: int, largest: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Return pairs of clouds: families in turn, 1 to ``largest`` points, widths 1e-9 to 1, scales 1e-12 to 1e12."""
    rng = np.random.default_rng(seed)
    for index in range(number):
        name = list(FAMILIES)[index % len(FAMILIES)]
        count, dim = int(rng.integers(1, largest + 1)), int(rng.integers(1, 5))
        points, targets = FAMILIES[name](rng, count, dim, 10.0 ** rng.uniform(-9, 0))
        scale = 10.0 ** rng.uniform(-12, 12)
        yield name, scale * points, scale * targets
