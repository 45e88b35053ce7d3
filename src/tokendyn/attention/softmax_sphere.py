"""Softmax means of keys on the sphere in space by nonuniform spherical harmonics.

When all queries have one length, ``beta s_ij = kappa <x_i, y_j>`` with unit vectors, and a sum over keys is a
convolution on the sphere, diagonal in spherical harmonics (Funk and Hecke). Three steps, each way: a nonuniform
FFT on the torus of colatitude and longitude, an FFT to rings, Legendre sums on each ring order by order.
The error is absolute, so that rows of little mass lose digits; these are summed over the keys near the top score.
"""

import math
from dataclasses import dataclass

import finufft
import numpy as np
from jaxtyping import Complex, Float, Int
from scipy.special import gammaln, ive

from tokendyn.attention import legendre_kernels
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
from tokendyn.attention.softmax_truncated import SKIPPED_SHARE, KeyTree
from tokendyn.errors import BadInputError

#: Largest degree. The modes of one pair of channels then need 64 MB, and no relevant starting value of the Legendre
#: recurrence underflows: ``sin^m`` is at least ``e^(-l / e)`` where degree ``l`` oscillates.
HIGHEST_DEGREE = 1000

#: Fewer keys than this are summed directly.
FEWEST_KEYS = 2000

#: Smallest supported tolerance.
LEAST_TOLERANCE = 1e-12

#: Processor seconds: for each pair of channels, of a key or row, of the squared degree (FFT), of the cubed degree
#: (Legendre sums); of any call.
POINT_SECONDS, GRID_SECONDS, LEGENDRE_SECONDS, CALL_SECONDS = 0.6e-6, 1.4e-6, 1.8e-9, 1e-2


def offer(problem: Problem) -> Offer | str:
    """Return an estimate of spherical harmonics for keys and queries on spheres."""
    if problem.keys.shape[1] != 3 or problem.error_tolerance < LEAST_TOLERANCE or len(problem.keys) < FEWEST_KEYS:
        return f"needs d = 3, error_tolerance >= {LEAST_TOLERANCE:g} and at least {FEWEST_KEYS} keys"
    degree = highest_degree(problem.sharpness)
    if degree > HIGHEST_DEGREE:
        return f"beta |q| |k| = {problem.sharpness:.3g} needs harmonics of degree {degree}, above {HIGHEST_DEGREE}"
    for name, points in (("keys", problem.keys), ("queries", problem.queries)):
        if not on_one_sphere(points, problem.sharpness, problem.error_tolerance):
            return f"the {name} have different lengths"
    sizes = len(problem.keys) + len(problem.queries)
    pairs = (problem.values.shape[1] + 2) // 2
    seconds = CALL_SECONDS + pairs * (POINT_SECONDS * sizes + GRID_SECONDS * degree**2 + LEGENDRE_SECONDS * degree**3)
    return Offer(seconds, f"keys and queries on spheres: harmonics up to degree {degree}")


def softmax(problem: Problem) -> Softmax:
    """Compute a :class:`~tokendyn.attention.problem.Problem`."""
    return answered(problem, sphere_softmax, tolerance=problem.error_tolerance)


def sphere_softmax(
    queries: Float[np.ndarray, "rows 3"],
    keys: Float[np.ndarray, "keys 3"],
    values: Float[np.ndarray, "keys value_dim"],
    *,
    inverse_temperature: float,
    weights: Float[np.ndarray, " keys"] | None = None,
    tolerance: float = 1e-10,
) -> SoftmaxMeans:
    """Return ``m_i = sum_j p_ij v_j`` for keys on a sphere and queries on a sphere.

    ``e^(kappa (<x, y> - 1)) = sum_l c_l sum_m Y_lm(x) Y_lm(y)^*``, ``c_l = 4 pi e^-kappa i_l(kappa)`` with the modified
    spherical Bessel functions, up to the degree of :func:`highest_degree`. Rows whose bound exceeds ``tolerance``
    are computed again from the keys near their top score.

    Raises
    ------
    BadInputError
        If the kernel is so narrow that it needs harmonics above ``HIGHEST_DEGREE``.
    """
    radius = float(lengths(keys).mean())
    stiffness = inverse_temperature * radius * float(lengths(queries).mean())
    uneven, rounding = length_errors(queries, keys, inverse_temperature)
    degree = highest_degree(stiffness)
    if degree > HIGHEST_DEGREE:
        raise BadInputError(
            f"beta |q| |k| = {stiffness:.3g} needs harmonics of degree {degree}, and {HIGHEST_DEGREE} are allowed; "
            "use truncation, which is fast at such temperatures"
        )
    scaled, scale = scaled_values(values)
    channels = channels_of(scaled, weights)
    sums = np.empty((len(queries), channels.shape[1]))
    modes = _Harmonics.up_to(degree)
    unpack_channels(modes.convolve(keys, queries, pack_channels(channels), stiffness), sums)
    towards, units = inverse_temperature * radius * queries, keys / radius

    def direct_rows(rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows channels"]:
        return np.stack([np.exp(units @ towards[row] - stiffness) @ channels for row in rows])

    errors = spectral_errors(sums, direct_rows, tolerance - uneven) + uneven
    references = np.full(len(queries), stiffness)
    rows = np.flatnonzero(errors > tolerance)
    if rows.size:
        tree = KeyTree.of(keys, scaled, weights)
        sums[rows], references[rows], _ = tree.sums(inverse_temperature * queries, rows, tolerance)
        errors[rows] = 2 * SKIPPED_SHARE * tolerance
    sums[:, 1:] *= scale
    means, log_masses = means_of(sums)
    bounds = rounding + rounding_bounds(inverse_temperature * queries, keys)
    return SoftmaxMeans(
        means=means,
        references=references,
        log_masses=log_masses,
        error_bounds=errors,
        rounding_bounds=bounds,
        recomputed=rows.size,
    )


def highest_degree(stiffness: float) -> int:
    """Return a degree beyond which ``e^-kappa i_l(kappa)``, about ``e^(-l^2 / (2 kappa))``, is below 1e-17."""
    return 24 + math.ceil(9.0 * math.sqrt(stiffness))


def kernel_coefficients(stiffness: float, degree: int) -> Float[np.ndarray, " degrees"]:
    """Return ``c_l = 4 pi e^-kappa i_l(kappa)``, ``i_l(k) = sqrt(pi / (2 k)) I_{l + 1/2}(k)``."""
    if stiffness < 1e-30:
        return 4 * np.pi * (np.arange(degree + 1) == 0)
    return 4 * np.pi * math.sqrt(np.pi / (2 * stiffness)) * ive(np.arange(degree + 1) + 0.5, stiffness)


@dataclass(frozen=True)
class _Harmonics:
    """Rings ``theta_r = 2 pi r / count`` on which harmonics up to a degree are exact."""

    degree: int
    count: int
    cosines: Float[np.ndarray, " rings"]
    log_sines: Float[np.ndarray, " rings"]
    log_starts: Float[np.ndarray, " orders"]

    @classmethod
    def up_to(cls, degree: int) -> "_Harmonics":
        """Return the rings of the northern half, with pole and equator."""
        count = 4 * (degree // 2 + 1)
        colatitudes = 2 * np.pi * np.arange(count // 4 + 1) / count
        orders = np.arange(degree + 1)
        # P_mm = sqrt((2 m + 1)!! / (4 pi (2 m)!!)) sin^m, so that the harmonics are orthonormal.
        log_ratios = gammaln(orders + 1.5) - gammaln(1.5) - gammaln(orders + 1.0)
        cosines = np.cos(colatitudes)
        cosines[-1] = 0.0
        with np.errstate(divide="ignore"):
            log_sines = np.log(np.sin(colatitudes))
        return cls(
            degree=degree,
            count=count,
            cosines=cosines,
            log_sines=log_sines,
            log_starts=0.5 * (log_ratios - math.log(4 * np.pi)),
        )

    def convolve(
        self,
        sources: Float[np.ndarray, "keys 3"],
        targets: Float[np.ndarray, "rows 3"],
        strengths: Complex[np.ndarray, "pairs keys"],
        stiffness: float,
    ) -> Complex[np.ndarray, "pairs rows"]:
        """Return ``sum_j e^(kappa (<x_i, y_j> - 1)) a_j``."""
        size = 2 * self.degree + 1
        options = {"eps": TRANSFORM_EPS, "nthreads": 1, "upsampfac": 2.0}
        modes = finufft.nufft2d1(*_angles(sources), strengths, (size, size), isign=-1, **options)
        modes = self._multiply(modes.reshape(-1, size, size), kernel_coefficients(stiffness, self.degree))
        return np.atleast_2d(finufft.nufft2d2(*_angles(targets), modes, isign=1, **options))

    def _multiply(
        self, modes: Complex[np.ndarray, "pairs size size"], coefficients: Float[np.ndarray, " degrees"]
    ) -> Complex[np.ndarray, "pairs size size"]:
        """Multiply the harmonic coefficients of a function; input and result are its modes on the torus."""
        degree, half = self.degree, self.count // 2
        frequencies = np.arange(-degree, degree + 1) % self.count
        rings = np.zeros((len(modes), self.count, 2 * degree + 1), dtype=np.complex128)
        rings[:, frequencies] = modes
        rings = np.ascontiguousarray(np.fft.ifft(rings, axis=1).transpose(1, 2, 0))
        table = np.empty((degree + 1, half // 2 + 1))
        for order in range(degree + 1):
            chosen = [degree - order, degree + order] if order else [degree]
            sign = -1.0 if order % 2 else 1.0
            legendre = legendre_kernels.legendre_of_order(
                order, self.log_starts[order], self.cosines, self.log_sines, table[: degree + 1 - order]
            )
            columns = rings[:, chosen]
            product = self._multiply_order(legendre, _folded(columns, sign), coefficients[order:])
            rings[: half + 1, chosen] = product
            rings[half + 1 :, chosen] = sign * product[half - 1 : 0 : -1]
        spectrum = np.fft.fft(rings.transpose(2, 0, 1), axis=1) / self.count
        return np.ascontiguousarray(spectrum[:, frequencies])

    def _multiply_order(
        self,
        legendre: Float[np.ndarray, "degrees northern"],
        columns: Complex[np.ndarray, "rings orders pairs"],
        coefficients: Float[np.ndarray, " degrees"],
    ) -> Complex[np.ndarray, "rings orders pairs"]:
        """Apply ``P^T c P`` of one order.

        ``P_lm`` is even or odd about the equator as ``l - m`` is, so the two parities act on the sum and the difference
        of the hemispheres: half the work.
        """
        shape = columns.shape
        real = columns.reshape(shape[0], -1).view(np.float64)
        equator = shape[0] // 2
        south = real[: equator - 1 : -1]
        result = np.empty_like(real)
        parts = []
        for parity, mirrored in ((0, real[: equator + 1] + south), (1, real[: equator + 1] - south)):
            # The equator belongs to both hemispheres and was added to itself; odd functions vanish there.
            if parity == 0:
                mirrored[equator] *= 0.5
            functions = legendre[parity::2]
            parts.append(functions.T @ (coefficients[parity::2, None] * (functions @ mirrored)))
        even, odd = parts
        result[: equator + 1] = even + odd
        result[equator:] = (even - odd)[::-1]
        return result.view(np.complex128).reshape(shape)


def _folded(
    columns: Complex[np.ndarray, "count orders pairs"], sign: float
) -> Complex[np.ndarray, "rings orders pairs"]:
    """Add the rings beyond the south pole to their mirror images, where functions are ``sign`` times the same."""
    half = len(columns) // 2
    folded = columns[: half + 1].copy()
    folded[1:half] += sign * columns[:half:-1]
    return folded


def _angles(points: Float[np.ndarray, "points 3"]) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Return colatitudes and longitudes."""
    x, y, z = points.T
    return np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
