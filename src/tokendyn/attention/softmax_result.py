"""The result of a softmax step, and the computations that all softmax backends share."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.attention.problem import Problem, Softmax

EPS = float(np.finfo(np.float64).eps)

#: Rounding of sums and exponentials that does not grow with the scores, in units of the machine precision.
BASE_ROUNDING = 64.0


@dataclass(frozen=True)
class SoftmaxMeans:
    """Softmax means with a bound of their error.

    Attributes
    ----------
    means
        ``(rows, value_dim)``: ``m_i = sum_j p_ij v_j``, ``p_ij = w_j e^{beta s_ij} / sum_l w_l e^{beta s_il}``.
    references
        ``(rows,)``: exponents ``r_i``, close to the largest ``beta s_ij`` or above it.
    log_masses
        ``(rows,)``: ``log sum_j w_j e^{beta s_ij - r_i}``; the log partition function is ``r_i + log_masses``.
    error_bounds
        ``(rows,)``: bounds for truncation, interpolation and Fourier sums: ``|m_i - exact|_2`` is at most
        ``(error_bounds_i + rounding_bounds_i) max_j |v_j|_2``, and so is the error of the log partition function.
    rounding_bounds
        ``(rows,)``: additional bounds for the rounding of scores and sums; see :func:`rounding_bounds`.
    recomputed
        Number of rows that failed the check of a spectral method and were computed again, key by key.
    """

    means: Float[np.ndarray, "rows value_dim"]
    references: Float[np.ndarray, " rows"]
    log_masses: Float[np.ndarray, " rows"]
    error_bounds: Float[np.ndarray, " rows"]
    rounding_bounds: Float[np.ndarray, " rows"]
    recomputed: int = 0


def channels_of(
    values: Float[np.ndarray, "keys value_dim"], weights: Float[np.ndarray, " keys"] | None
) -> Float[np.ndarray, "keys channels"]:
    """Return ``[w_j, w_j v_j]``: sums of these over the kernel are the mass and the numerator of the mean."""
    if weights is None:
        return np.concatenate([np.ones((len(values), 1)), values], axis=1)
    return np.concatenate([weights[:, None], weights[:, None] * values], axis=1)


def means_of(
    sums: Float[np.ndarray, "rows channels"],
) -> tuple[Float[np.ndarray, "rows value_dim"], Float[np.ndarray, " rows"]]:
    """Return means and log masses from the sums of :func:`channels_of`."""
    return sums[:, 1:] / sums[:, :1], np.log(sums[:, 0])


def lengths(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " rows"]:
    """Return Euclidean norms."""
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors))


def scaled_values(values: Float[np.ndarray, "keys value_dim"]) -> tuple[Float[np.ndarray, "keys value_dim"], float]:
    """Return ``v_j / max |v_j|_2`` and that norm (1 when all values vanish)."""
    largest = float(lengths(values).max())
    return (values / largest, largest) if largest > 0 else (values, 1.0)


def rounding_bounds(
    scaled_queries: Float[np.ndarray, "rows dim"], keys: Float[np.ndarray, "keys dim"]
) -> Float[np.ndarray, " rows"]:
    """Return a bound on the effect of rounding on a mean, relative to the largest value.

    A score has at most the error ``(d + 1) eps |q| |k|``, which is the relative error of its weight; twice that
    reaches the mean. Sums of ``n`` terms are taken in blocks of 1024.
    """
    scores = lengths(scaled_queries) * float(lengths(keys).max())
    return EPS * (BASE_ROUNDING + len(keys) / 1024 + 2 * (keys.shape[1] + 1) * scores)


def answered(problem: Problem, method: Callable[..., SoftmaxMeans], **settings: float) -> Softmax:
    """Return the result of a method for a :class:`~tokendyn.attention.problem.Problem`; settings go to the method."""
    result = method(
        problem.queries,
        problem.keys,
        problem.values,
        inverse_temperature=problem.inverse_temperature,
        weights=problem.weights,
        **settings,
    )
    return as_softmax(result)


def as_softmax(result: SoftmaxMeans) -> Softmax:
    """Return means in the form that :mod:`tokendyn.attention.dispatch` expects of a softmax backend."""
    note = f"{result.recomputed} rows recomputed" if result.recomputed else ""
    return Softmax(
        means=result.means,
        log_partitions=result.references + result.log_masses,
        error_bound=float(result.error_bounds.max()),
        note=note,
    )
