"""Softmax means of keys on a circle: Fourier sums where the density allows them, gathered windows elsewhere.

With ``q_i = |q_i| (cos a_i, sin a_i)`` and ``k_j = r (cos b_j, sin b_j)`` the exponent is
``beta s_ij = kappa_i cos(a_i - b_j)``, ``kappa_i = beta |q_i| r``. When all ``kappa_i`` are equal, every sum is a
convolution, diagonal in the Fourier basis: one transform from the keys, one to the queries (nonuniform FFT).
Its error is absolute, so that rows of little mass lose digits; these, and all rows when the ``kappa_i`` differ
(a general score matrix), are summed over windows in which crowded cells of keys are replaced by Chebyshev nodes.
"""

import math
from dataclasses import dataclass

import finufft
import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention import circle_kernels
from tokendyn.attention.circle_kernels import NODES
from tokendyn.attention.problem import Offer, Problem, Softmax
from tokendyn.attention.softmax_result import (
    SoftmaxMeans,
    answered,
    channels_of,
    lengths,
    means_of,
    rounding_bounds,
    scaled_values,
)
from tokendyn.attention.softmax_spectral import (
    TRANSFORM_EPS,
    length_errors,
    on_one_sphere,
    pack_channels,
    spectral_errors,
    unpack_channels,
)

#: Largest ``kappa slope width / 2`` in a gathered cell; 22 nodes then leave an error below 1e-13 of the cell's mass.
CELL_EXPONENT = 2.5
INTERPOLATION_ERROR = 2e-13

#: Fewer keys than this are summed directly.
FEWEST_KEYS = 500

#: Smallest tolerance that interpolation and Fourier sums can guarantee.
LEAST_TOLERANCE = 1e-12

#: Processor seconds of a key or row in Fourier sums, of a row in windows, and of any call.
FOURIER_SECONDS, WINDOW_SECONDS, CALL_SECONDS = 0.6e-6, 3e-6, 3e-3


def offer(problem: Problem) -> Offer | str:
    """Return an estimate of Fourier sums or windows for keys on a circle."""
    if problem.keys.shape[1] != 2 or problem.error_tolerance < LEAST_TOLERANCE or len(problem.keys) < FEWEST_KEYS:
        return f"needs d = 2, error_tolerance >= {LEAST_TOLERANCE:g} and at least {FEWEST_KEYS} keys"
    if not on_one_sphere(problem.keys, problem.sharpness, problem.error_tolerance):
        return "the keys have different lengths"
    sizes = len(problem.keys) + len(problem.queries)
    if on_one_sphere(problem.queries, problem.sharpness, problem.error_tolerance):
        return Offer(CALL_SECONDS + FOURIER_SECONDS * sizes, "keys and queries on circles: Fourier sums")
    return Offer(CALL_SECONDS + WINDOW_SECONDS * sizes, "keys on a circle: windows of gathered keys")


def softmax(problem: Problem) -> Softmax:
    """Compute a :class:`~tokendyn.attention.problem.Problem`."""
    return answered(problem, circle_softmax, tolerance=problem.error_tolerance)


def circle_softmax(
    queries: Float[np.ndarray, "rows 2"],
    keys: Float[np.ndarray, "keys 2"],
    values: Float[np.ndarray, "keys value_dim"],
    *,
    inverse_temperature: float,
    weights: Float[np.ndarray, " keys"] | None = None,
    tolerance: float = 1e-10,
    spectral: bool | None = None,
) -> SoftmaxMeans:
    """Return ``m_i = sum_j p_ij v_j`` for keys on a circle, in ``O((rows + keys) log(1 / tolerance))``.

    Parameters
    ----------
    queries
        Any vectors of the plane.
    keys
        Vectors of one length: see :func:`on_one_sphere`.
    tolerance
        Largest error of a mean relative to the largest value, rounding of scores excepted.
    spectral
        True: Fourier sums; False: windows only; None: Fourier sums when all queries have one length.

    Notes
    -----
    Fourier sums: ``e^(kappa (cos x - 1)) = sum_k c_k e^(ikx)``, ``c_k = e^-kappa I_k(kappa)``; ``|k|`` runs to
    the last coefficient above ``1e-17 c_0``. Rows are recomputed when twice the absolute error, seen on sampled
    rows and multiplied by 10, exceeds ``tolerance`` times their mass.
    """
    problem = _problem(queries, keys, values, weights, inverse_temperature)
    if spectral is None:
        sharpness = inverse_temperature * float(lengths(keys).max()) * float(lengths(queries).max())
        spectral = on_one_sphere(queries, sharpness, tolerance)
    uneven, rounding = length_errors(queries if spectral else queries[:1], keys, inverse_temperature)
    sums = np.empty((len(queries), problem.channels.shape[1]))
    references = problem.stiffness.copy()
    errors = np.zeros(len(queries))
    rows = np.arange(len(queries))
    if spectral:
        errors = _fourier_sums(problem, sums, tolerance - uneven) + uneven
        rows = np.flatnonzero(errors > tolerance)
    if rows.size:
        references[rows], errors[rows] = _window_sums(problem, rows, tolerance, sums)
        errors[rows] += uneven
    sums[:, 1:] *= problem.value_scale
    means, log_masses = means_of(sums)
    bounds = rounding + rounding_bounds(inverse_temperature * queries, keys)
    recomputed = rows.size if spectral else 0
    return SoftmaxMeans(
        means=means,
        references=references,
        log_masses=log_masses,
        error_bounds=errors,
        rounding_bounds=bounds,
        recomputed=recomputed,
    )


@dataclass(frozen=True)
class _Circle:
    """Angles, exponents and channels; keys sorted by angle."""

    queries: Float[np.ndarray, " rows"]
    stiffness: Float[np.ndarray, " rows"]
    keys: Float[np.ndarray, " keys"]
    points: Float[np.ndarray, "2 keys"]
    channels: Float[np.ndarray, "keys channels"]
    value_scale: float


def _problem(
    queries: np.ndarray, keys: np.ndarray, values: np.ndarray, weights: np.ndarray | None, inverse_temperature: float
) -> _Circle:
    angles = _angles(keys)
    order = np.argsort(angles)
    radius = float(lengths(keys).mean())
    values, scale = scaled_values(values)
    channels = channels_of(values[order], None if weights is None else weights[order])
    stiffness = inverse_temperature * radius * lengths(queries)
    points = np.ascontiguousarray(keys[order].T) / radius
    return _Circle(
        queries=_angles(queries),
        stiffness=stiffness,
        keys=angles[order],
        points=points,
        channels=channels,
        value_scale=scale,
    )


def _angles(points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, " points"]:
    """Return angles in ``[0, 2 pi)``."""
    angles = np.arctan2(points[:, 1], points[:, 0])
    angles = np.where(angles < 0, angles + 2 * np.pi, angles)
    return np.where(angles >= 2 * np.pi, 0.0, angles)


def _fourier_sums(problem: _Circle, sums: Float[np.ndarray, "rows channels"], tolerance: float) -> np.ndarray:
    """Fill the sums, relative to ``e^kappa``, and return the error of each row's mean."""
    kernel = kernel_coefficients(float(problem.stiffness.mean()))
    packed = pack_channels(problem.channels)
    # Keys to modes, times the kernel, modes to queries; the kernel is even, so its coefficients are real.
    modes = finufft.nufft1d1(problem.keys, packed, len(kernel), eps=TRANSFORM_EPS, isign=-1, nthreads=1, upsampfac=2.0)
    modes = np.atleast_2d(modes) * kernel
    transformed = finufft.nufft1d2(problem.queries, modes, eps=TRANSFORM_EPS, isign=1, nthreads=1, upsampfac=2.0)
    unpack_channels(np.atleast_2d(transformed), sums)
    return spectral_errors(sums, lambda rows: _direct_rows(problem, rows), tolerance)


def kernel_coefficients(stiffness: float) -> Float[np.ndarray, " modes"]:
    """Return ``c_k = e^-kappa I_k(kappa)`` for ``|k| <= K``, in order of ``k``; the rest is below ``1e-17``.

    By an FFT of the kernel itself; its rounding is absolute, like that of everything that follows.
    """
    highest = 32 + math.ceil(9.2 * math.sqrt(stiffness))
    points = 4 * highest
    half_sines = np.sin(np.pi * np.arange(points) / points)
    coefficients = np.fft.rfft(np.exp(-2 * stiffness * half_sines**2)).real[: highest + 1] / points
    return np.concatenate([coefficients[:0:-1], coefficients])


def _direct_rows(problem: _Circle, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows channels"]:
    """Return the sums of some rows over all keys, relative to ``e^kappa``."""
    sums = np.empty((len(problem.queries), problem.channels.shape[1]))
    everything = np.array([0, len(problem.keys)])
    zeros = np.zeros(len(problem.queries))
    circle_kernels.window_sums(
        rows, problem.queries, problem.stiffness, zeros, zeros,
        everything, 2 * math.pi, problem.points, np.ascontiguousarray(problem.channels.T), sums,
    )  # fmt: skip
    return sums[rows]


def _window_sums(
    problem: _Circle, rows: Int[np.ndarray, " rows"], tolerance: float, sums: Float[np.ndarray, "all channels"]
) -> tuple[np.ndarray, np.ndarray]:
    """Fill the sums of some rows by windows; return their references and errors."""
    masses = problem.channels[:, 0]
    depth = math.log(10 * float(masses.sum()) / (float(masses.min()) * tolerance))
    angles, stiffness = problem.queries[rows], problem.stiffness[rows]
    least = _nearest_half_sines(angles, problem.keys) ** 2
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        edge = np.minimum(least + np.where(stiffness > 0, depth / (2 * stiffness), np.inf), 1.0)
    half_widths = np.where(edge < 1, 2 * np.arcsin(np.sqrt(edge)), np.pi) + 1e-12
    slopes = np.where(edge < 0.5, 2 * np.sqrt(edge * (1 - np.minimum(edge, 0.5))), 1.0)
    with np.errstate(divide="ignore"):
        levels = np.ceil(np.log2(np.maximum(np.pi * stiffness * slopes / CELL_EXPONENT, 4.0))).astype(np.int64)
    finest = max(0, math.ceil(math.log2(max(1.0, len(problem.keys) / NODES))))
    levels = np.where(levels > finest, -1, levels)
    part = np.empty((len(rows), sums.shape[1]))
    for level in np.unique(levels):
        chosen = np.flatnonzero(levels == level)
        chosen = chosen[np.argsort(angles[chosen])]
        cells = _Cells.gathered(problem, int(level) if level >= 0 else finest, gather=bool(level >= 0))
        circle_kernels.window_sums(
            chosen, angles, stiffness, half_widths, 4 * least,
            cells.offsets, cells.width, cells.points, cells.channels, part,
        )  # fmt: skip
    sums[rows] = part
    errors = np.full(len(rows), 0.2 * tolerance + INTERPOLATION_ERROR)
    return stiffness - 2 * stiffness * least, errors


def _nearest_half_sines(
    angles: Float[np.ndarray, " rows"], keys: Float[np.ndarray, " keys"]
) -> Float[np.ndarray, " rows"]:
    """Return ``sin(x / 2)`` of the distance to the nearest of the sorted keys."""
    index = np.searchsorted(keys, angles)
    after, before = keys[index % len(keys)], keys[index - 1]
    return np.minimum(np.abs(np.sin(0.5 * (angles - after))), np.abs(np.sin(0.5 * (angles - before))))


@dataclass(frozen=True)
class _Cells:
    """Equal cells of the circle with their keys, or the nodes that replace them."""

    width: float
    offsets: Int[np.ndarray, " edges"]
    points: Float[np.ndarray, "2 pseudo"]
    channels: Float[np.ndarray, "channels pseudo"]

    @classmethod
    def gathered(cls, problem: _Circle, level: int, *, gather: bool) -> "_Cells":
        """Cut the circle into ``2^level`` cells."""
        width = 2 * math.pi / 2**level
        starts = np.searchsorted(problem.keys, width * np.arange(2**level + 1))
        starts[-1] = len(problem.keys)
        if not gather:
            return cls(
                width=width, offsets=starts, points=problem.points, channels=np.ascontiguousarray(problem.channels.T)
            )
        offsets = np.empty(2**level + 1, dtype=np.int64)
        circle_kernels.count_pseudo_keys(starts, offsets)
        count = int(offsets[-1])
        points, channels = np.empty((2, count)), np.empty((problem.channels.shape[1], count))
        angles = np.pi * (2 * np.arange(NODES) + 1) / (2 * NODES)
        to_nodes = 2 / NODES * np.cos(angles[:, None] * np.arange(NODES))
        to_nodes[:, 0] = 1 / NODES
        circle_kernels.gather_cells(
            problem.keys, problem.channels, starts, offsets, width, np.cos(angles), to_nodes, points, channels
        )
        return cls(width=width, offsets=offsets, points=points, channels=channels)
