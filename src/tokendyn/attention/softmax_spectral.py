"""The common part of spectral sums on the circle and on the sphere: conditions, packing, and errors.

A nonuniform FFT has an absolute error, the same for every row: rows of little mass lose digits. The error is
measured on sampled rows, and each row's bound follows from its mass.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Complex, Float

from tokendyn.attention.softmax_result import EPS, lengths

#: Requested accuracy of the nonuniform FFT; its window is as wide as double precision allows.
TRANSFORM_EPS = 1e-14

#: Least assumed absolute error of a Fourier sum, in units of eps times the largest sum.
SPECTRAL_UNITS = 64.0

#: Number of rows computed directly to check a Fourier sum, and safety factor of the error measured there.
SAMPLED_ROWS = 12
SAMPLE_SAFETY = 10.0

#: Lengths may differ by this much relatively, as rounding; or by the share of ``tolerance / kappa``.
LENGTH_ROUNDING = 8 * EPS
RADIUS_SHARE = 0.1


def on_one_sphere(points: Float[np.ndarray, "points dim"], sharpness: float, tolerance: float) -> bool:
    """Return whether points have one length, up to rounding or so far that exponents up to ``sharpness`` agree."""
    length = lengths(points)
    spread = float(length.max() - length.min())
    allowed = max(LENGTH_ROUNDING, RADIUS_SHARE * tolerance / max(sharpness, 1.0))
    return float(length.min()) > 0 and bool(spread <= allowed * float(length.max()))


def length_errors(
    queries: Float[np.ndarray, "rows dim"], keys: Float[np.ndarray, "keys dim"], inverse_temperature: float
) -> tuple[float, float]:
    """Return the errors of a mean from treating lengths as equal: of real differences, and of rounding."""
    sharpness, spreads = inverse_temperature, []
    for points in (queries, keys):
        length = lengths(points)
        largest = float(length.max())
        sharpness *= largest
        spreads.append(float(length.max() - length.min()) / largest if largest > 0 else 0.0)
    real = sum(spread for spread in spreads if spread > LENGTH_ROUNDING)
    return 2 * sharpness * real, 2 * sharpness * (sum(spreads) - real)


def pack_channels(channels: Float[np.ndarray, "keys channels"]) -> Complex[np.ndarray, "pairs keys"]:
    """Return two real channels in each complex one; a real kernel does not mix them."""
    count = channels.shape[1]
    packed = np.zeros(((count + 1) // 2, len(channels)), dtype=np.complex128)
    packed.real = channels[:, ::2].T
    packed.imag[: count // 2] = channels[:, 1::2].T
    return packed


def unpack_channels(packed: Complex[np.ndarray, "pairs rows"], sums: Float[np.ndarray, "rows channels"]) -> None:
    """Write the sums of :func:`pack_channels` back as real channels."""
    sums[:, ::2] = packed.real.T
    sums[:, 1::2] = packed.imag[: sums.shape[1] // 2].T


def spectral_errors(
    sums: Float[np.ndarray, "rows channels"], direct_rows: Callable[[np.ndarray], np.ndarray], tolerance: float
) -> Float[np.ndarray, " rows"]:
    """Return error bounds of means whose sums have one absolute error, measured on sampled rows.

    Errors ``e`` of the mass ``D`` and of each of ``c`` numerators change the mean by ``(1 + sqrt(c)) e / D`` at most.
    Half of the sample are the rows of least mass that are still trusted, because their errors are the largest.
    """
    masses = sums[:, 0]
    share = 1 + math.sqrt(sums.shape[1] - 1)
    assumed = SPECTRAL_UNITS * EPS * float(np.abs(sums).max())
    with np.errstate(divide="ignore"):
        errors = np.where(masses > 0, share * assumed / np.abs(masses), np.inf)
    trusted = np.flatnonzero(errors <= tolerance)
    if trusted.size == 0:
        return errors
    lightest = trusted[np.argpartition(masses[trusted], min(SAMPLED_ROWS // 2, trusted.size) - 1)]
    sample = np.unique(
        np.concatenate(
            [
                lightest[: SAMPLED_ROWS // 2],
                trusted[np.linspace(0, trusted.size - 1, SAMPLED_ROWS // 2).astype(np.int64)],
            ]
        )
    )
    measured = SAMPLE_SAFETY * float(np.abs(sums[sample] - direct_rows(sample)).max())
    return errors * max(1.0, measured / assumed)
