"""Starts on the sphere: quantiles, lattices, low-discrepancy and random samples, files.

Starts that are symmetric about E hide the terminal phase (only rounding ends the symmetry): push them.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tokendyn.data.tokens import read_tokens
from tokendyn.dynamics.sphere import sphere_tokens
from tokendyn.errors import BadInputError
from tokendyn.words import counted

#: A density of the angle in radians, up to a factor.
Density = Callable[[np.ndarray], np.ndarray]

#: Points at which a density is sampled; the spline between them is exact to 1e-13 for smooth densities.
_GRID = 2**13


def circle_quantiles(count: int, density: Density | None = None) -> Float[np.ndarray, "tokens 2"]:
    """Return tokens at the quantiles ``(i + 1/2) / n`` of a density on the circle, by increasing angle from 0.

    Parameters
    ----------
    count
        Number of tokens.
    density
        Positive, of period 2 pi, up to a factor; uniform by default.

    Raises
    ------
    BadInputError
        If the count is below 1, or the density is not positive and finite.
    """
    _check_count(count)
    levels = (np.arange(count) + 0.5) / count
    if density is None:
        return on_circle(2 * math.pi * levels)
    from scipy.interpolate import CubicSpline

    grid = np.linspace(0, 2 * math.pi, _GRID + 1)
    values = _density_values(density, grid)
    values[-1] = values[0]
    spline = CubicSpline(grid, values, bc_type="periodic")
    cumulative = spline.antiderivative()
    total = float(cumulative(grid[-1]))
    angles = np.interp(levels * total, cumulative(grid), grid)
    # Newton's method from a linear interpolation within one cell converges to rounding in four steps.
    for _ in range(4):
        angles -= (cumulative(angles) - levels * total) / spline(angles)
    return on_circle(angles)


def circle_quadrature(
    count: int, density: Density
) -> tuple[Float[np.ndarray, "tokens 2"], Float[np.ndarray, " tokens"]]:
    """Return tokens at equal angles, and their weights: the density there, of sum 1 (the trapezoidal rule)."""
    _check_count(count)
    angles = 2 * math.pi * (np.arange(count) + 0.5) / count
    values = _density_values(density, angles)
    return on_circle(angles), values / values.sum()


def on_circle(angles: Float[np.ndarray, " tokens"]) -> Float[np.ndarray, "tokens 2"]:
    """Return ``(cos, sin)`` of every angle in radians."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def fibonacci_sphere(
    count: int, tilt: float = 0.0, push: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Float[np.ndarray, "tokens 3"]:
    """Return a Fibonacci lattice on the sphere in three dimensions.

    ``z_i = 1 - (2 i + 1) / n``, longitude ``i`` times the golden angle ``pi (3 - sqrt 5)`` (Swinbank, Purser, Q. J. R.
    Meteorol. Soc. 132 (2006)).

    Parameters
    ----------
    count
        Number of tokens.
    tilt
        Angle in radians by which the lattice is turned about the axis (1, 1, 0). Its law stays uniform.
    push
        Make it uneven: ``x <- (x + push) / |x + push|``, shorter than 1. A uniform law is symmetric about every E.

    Raises
    ------
    BadInputError
        If the count is below 1, or the push has length 1 or more.
    """
    _check_count(count)
    heights = 1 - (2 * np.arange(count) + 1) / count
    radii = np.sqrt(1 - heights**2)
    turns = math.pi * (3 - math.sqrt(5)) * np.arange(count)
    points = np.stack([radii * np.cos(turns), radii * np.sin(turns), heights], axis=1)
    from scipy.spatial.transform import Rotation

    turned = Rotation.from_rotvec(tilt * np.array([1.0, 1.0, 0.0]) / math.sqrt(2)).apply(points)
    return pushed(np.asarray(turned / np.linalg.norm(turned, axis=1)[:, None]), push)


def pushed(
    tokens: Float[np.ndarray, "tokens dim"], push: Sequence[float] | Float[np.ndarray, " dim"]
) -> Float[np.ndarray, "tokens dim"]:
    """Return ``(x + push) / |x + push|`` for every token: a law whose mean lies elsewhere.

    A uniform law is symmetric about every E, which hides the terminal phase.

    Raises
    ------
    BadInputError
        If the push has length 1 or more.
    """
    shift = np.asarray(push, dtype=np.float64)
    if shift.shape != tokens.shape[1:] or not np.linalg.norm(shift) < 1:
        raise BadInputError(f"push {push} must be {tokens.shape[1]} numbers, shorter than 1, or tokens fall together")
    if not shift.any():
        return tokens
    moved = tokens + shift
    return np.asarray(moved / np.linalg.norm(moved, axis=1)[:, None])


def uniform_sphere(count: int, dim: int, seed: int) -> Float[np.ndarray, "tokens dim"]:
    """Return independent uniform tokens."""
    _check_count(count, dim)
    points = np.random.default_rng(seed).normal(size=(count, dim))
    return np.asarray(points / np.linalg.norm(points, axis=1)[:, None])


def sobol_sphere(count: int, dim: int, seed: int) -> Float[np.ndarray, "tokens dim"]:
    """Return scrambled Sobol points, taken to the sphere through normal quantiles (in the plane: as angles)."""
    _check_count(count, dim)
    from scipy.special import ndtri
    from scipy.stats import qmc

    sampler = qmc.Sobol(1 if dim == 2 else dim, scramble=True, rng=np.random.default_rng(seed))
    cube = np.asarray(sampler.random_base2(max(0, math.ceil(math.log2(count)))))[:count]
    if dim == 2:
        return on_circle(2 * math.pi * cube[:, 0])
    points = ndtri(np.clip(cube, 1e-16, 1 - 1e-16))
    return np.asarray(points / np.linalg.norm(points, axis=1)[:, None])


def von_mises_fisher(
    count: int,
    centres: Float[np.ndarray, "components dim"],
    concentrations: Sequence[float],
    shares: Sequence[float] | None = None,
    *,
    seed: int,
) -> Float[np.ndarray, "tokens dim"]:
    """Return independent tokens from a mixture of von Mises-Fisher laws of density ``~ e^{kappa <c, x>}``.

    Parameters
    ----------
    count
        Number of tokens.
    centres
        Unit vectors c, one for each component.
    concentrations
        ``kappa > 0`` of each component.
    shares
        Probability of each component; equal by default.
    seed
        Seed of the choice of components and of the samples.

    Raises
    ------
    BadInputError
        If the numbers of components differ, or values are out of range.
    """
    _check_count(count)
    from scipy.stats import vonmises_fisher

    means = sphere_tokens(centres)
    parts = np.full(len(means), 1 / len(means)) if shares is None else np.asarray(shares, dtype=np.float64)
    kappas = np.asarray(concentrations, dtype=np.float64)
    if kappas.shape != parts.shape or parts.shape != (len(means),):
        raise BadInputError(f"{len(means)} centres, {kappas.size} concentrations, {parts.size} shares; expected equal")
    if not ((kappas > 0).all() and np.isfinite(kappas).all() and (parts >= 0).all() and abs(parts.sum() - 1) < 1e-9):
        raise BadInputError("concentrations must be positive, shares zero or more and of sum 1")
    rng = np.random.default_rng(seed)
    samples = [
        vonmises_fisher(mean, kappa).rvs(size, random_state=rng)
        for mean, kappa, size in zip(means, kappas, rng.multinomial(count, parts), strict=True)
        if size
    ]
    points = rng.permutation(np.concatenate(samples))
    return np.asarray(points / np.linalg.norm(points, axis=1)[:, None])


def from_file(path: str | Path, array: str | None = None) -> Float[np.ndarray, "tokens dim"]:
    """Return the rows of a file (see :func:`tokendyn.data.tokens.read_tokens`) divided by their norms.

    Raises
    ------
    BadInputError
        As the reader, and if a row has norm zero.
    """
    return sphere_tokens(read_tokens(path, array=array).tokens, normalise=True)


def _density_values(density: Density, angles: np.ndarray) -> np.ndarray:
    values = np.array(density(angles), dtype=np.float64)
    if values.shape != angles.shape or not (np.isfinite(values).all() and (values > 0).all()):
        raise BadInputError("the density must return one positive finite number for every angle")
    return values


def _check_count(count: int, dim: int = 2) -> None:
    if count < 1 or dim < 2:
        raise BadInputError(
            f"{counted(count, 'token')} in {dim} dimensions; expected at least 1 token and 2 dimensions"
        )
