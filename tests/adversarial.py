"""Families of tokens on which a hardmax goes wrong first: ties, flat sets, tiny gaps, extreme scales."""

import itertools

import numpy as np


def lattice(dim, rng):
    """Points of an integer grid, in random order: many exact ties."""
    side = range(-2, 3) if dim < 4 else range(-1, 2)
    points = np.array(list(itertools.product(side, repeat=dim)), dtype=float)
    return rng.permutation(points)[:120]


def duplicates(dim, rng):
    """A few points, each many times."""
    return rng.normal(size=(9, dim))[rng.integers(0, 9, size=70)]


def collinear(dim, rng):
    """Points on a line through the origin, at exact multiples."""
    return rng.integers(-6, 7, size=(40, 1)) * rng.normal(size=dim)


def collinear_offset(dim, rng):
    """Points on a line that misses the origin."""
    return rng.integers(-6, 7, size=(40, 1)) * rng.normal(size=dim) + rng.normal(size=dim)


def coplanar(dim, rng):
    """Points with equal last coordinate."""
    points = rng.normal(size=(50, dim))
    points[:, -1] = 0.75
    return points


def sphere(dim, rng):
    """Points of the unit sphere: every one is a vertex."""
    points = rng.normal(size=(80, dim))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def cube_corners(dim, rng):
    """The corners of a cube and its centre's neighbours: every face ties."""
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=dim)))
    return np.concatenate([corners, 0.5 * corners, np.eye(dim)])


def few(dim, rng):
    """Fewer points than a simplex has."""
    return rng.normal(size=(max(1, dim - 1), dim))


def tight_cluster(dim, rng):
    """Clusters of diameter 1e-15 around three places."""
    return rng.normal(size=(3, dim))[rng.integers(0, 3, size=45)] + 1e-15 * rng.normal(size=(45, dim))


def zero_token(dim, rng):
    """A token without direction, twice, among ordinary ones."""
    points = rng.normal(size=(40, dim))
    points[[3, 17]] = 0.0
    return points


def on_edges(dim, rng):
    """Tokens on the edges and faces of the cube, and its corners."""
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=dim)))
    one, two = corners[rng.integers(0, len(corners), size=(2, 40))]
    share = rng.integers(0, 9, size=(40, 1)) / 8
    return np.concatenate([corners, share * one + (1 - share) * two])


def large_offset(dim, rng):
    """A unit cloud far from the origin: scores differ in their last digits."""
    return rng.normal(size=(60, dim)) + 1e8


def anisotropic(dim, rng):
    """A cloud whose widths span eight decades."""
    return rng.normal(size=(60, dim)) * np.logspace(0, -8, dim)


def ordinary(dim, rng):
    """A Gaussian cloud."""
    return rng.normal(size=(90, dim))


FAMILIES = {
    family.__name__: family
    for family in (
        ordinary,
        lattice,
        duplicates,
        collinear,
        collinear_offset,
        coplanar,
        sphere,
        cube_corners,
        few,
        tight_cluster,
        zero_token,
        on_edges,
        large_offset,
        anisotropic,
    )
}


def tokens_of(name, dim):
    """Return the tokens of a family; the same in every run."""
    return FAMILIES[name](dim, np.random.default_rng([sum(name.encode()), dim]))
