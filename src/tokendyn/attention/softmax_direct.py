"""Softmax means over all pairs by our fused kernel."""

import numpy as np
from jaxtyping import Float

from tokendyn.attention import softmax_kernels
from tokendyn.attention.problem import Offer, Problem, Softmax
from tokendyn.attention.softmax_result import SoftmaxMeans, answered, channels_of, means_of, rounding_bounds

#: Processor seconds for a pair, and more for each coordinate of keys and values.
PAIR_SECONDS, COORDINATE_SECONDS = 1.6e-9, 0.15e-9


def offer(problem: Problem) -> Offer:
    """Return an estimate of the fused kernel, which is exact to rounding."""
    coordinates = problem.keys.shape[1] + problem.values.shape[1]
    return Offer(problem.pairs * (PAIR_SECONDS + COORDINATE_SECONDS * coordinates), "all pairs in one pass")


def softmax(problem: Problem) -> Softmax:
    """Compute a :class:`~tokendyn.attention.problem.Problem`."""
    return answered(problem, direct_softmax)


def direct_softmax(
    queries: Float[np.ndarray, "rows dim"],
    keys: Float[np.ndarray, "keys dim"],
    values: Float[np.ndarray, "keys value_dim"],
    *,
    inverse_temperature: float,
    weights: Float[np.ndarray, " keys"] | None = None,
) -> SoftmaxMeans:
    """Return ``m_i = sum_j p_ij v_j`` from all pairs; memory grows like rows + keys.

    One pass with a running maximum (Milakov and Gimelshein, arXiv 1805.02867, section 3), tiled on both axes.
    """
    scaled = np.ascontiguousarray(inverse_temperature * queries)
    channels = channels_of(values, weights)
    sums = np.empty((len(queries), channels.shape[1]))
    references = np.empty(len(queries))
    softmax_kernels.online_sums(scaled, np.ascontiguousarray(keys), channels, sums, references)
    means, log_masses = means_of(sums)
    rounding = rounding_bounds(scaled, keys)
    return SoftmaxMeans(
        means=means,
        references=references,
        log_masses=log_masses,
        error_bounds=np.zeros(len(queries)),
        rounding_bounds=rounding,
    )
