"""Softmax means over only the keys near the top score, found by a tree of boxes, in any low dimension.

A key whose exponent lies ``T`` below the largest has a weight of at most ``e^-T``. Boxes whose best corner lies that
low are skipped, which omits at most ``n e^-T`` of the mass. The method serves keys on a sphere under a general score
matrix, keys anywhere in space, and rows that a spectral method cannot resolve. Larger ``beta`` is cheaper.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention import tree_kernels
from tokendyn.attention.problem import Offer, Problem, Softmax
from tokendyn.attention.softmax_result import SoftmaxMeans, answered, channels_of, means_of, rounding_bounds

#: Share of the tolerance that skipped keys may use.
SKIPPED_SHARE = 0.1

#: Smallest supported tolerance; below it rounding is as large.
LEAST_TOLERANCE = 1e-13

#: Fewer keys than the first number are summed directly; boxes prune nothing in more dimensions than the second.
FEWEST_KEYS = 2000
MOST_DIMENSIONS = 6

#: Numbers of sampled keys and queries for the cost estimate.
PROBE_KEYS, PROBE_QUERIES = 2048, 64

#: Processor seconds of a key in building the tree, of a row, and of a key that a row visits.
BUILD_SECONDS, ROW_SECONDS, LOOK_SECONDS = 1.5e-6, 2e-6, 4e-9


def offer(problem: Problem) -> Offer | str:
    """Return an estimate of the tree, from a sample of keys and queries."""
    count, dim = problem.keys.shape
    if count < FEWEST_KEYS or dim > MOST_DIMENSIONS or problem.error_tolerance < LEAST_TOLERANCE:
        return f"needs d <= {MOST_DIMENSIONS}, {FEWEST_KEYS} keys, error_tolerance >= {LEAST_TOLERANCE:g}"
    some_keys = problem.keys[np.linspace(0, count - 1, PROBE_KEYS).astype(np.int64)]
    some_queries = problem.queries[np.linspace(0, len(problem.queries) - 1, PROBE_QUERIES).astype(np.int64)]
    scores = problem.inverse_temperature * (some_queries @ some_keys.T)
    depth = math.log(float(problem.weights.sum() / problem.weights.min()) / (SKIPPED_SHARE * problem.error_tolerance))
    share = float((scores >= scores.max(axis=1, keepdims=True) - depth).mean())
    looked = 2 * share * count + 2**dim * tree_kernels.LEAF
    seconds = BUILD_SECONDS * (count + len(problem.queries)) + len(problem.queries) * (
        ROW_SECONDS + LOOK_SECONDS * looked
    )
    return Offer(seconds, f"about {share:.2g} of the keys matter to a row")


def softmax(problem: Problem) -> Softmax:
    """Compute a :class:`~tokendyn.attention.problem.Problem`."""
    return answered(problem, truncated_softmax, tolerance=problem.error_tolerance)


def truncated_softmax(
    queries: Float[np.ndarray, "rows dim"],
    keys: Float[np.ndarray, "keys dim"],
    values: Float[np.ndarray, "keys value_dim"],
    *,
    inverse_temperature: float,
    weights: Float[np.ndarray, " keys"] | None = None,
    tolerance: float = 1e-10,
) -> SoftmaxMeans:
    """Return ``m_i = sum_j p_ij v_j`` from the keys within ``T`` of each top score.

    ``T = log(10 sum_j w_j / (min_j w_j tolerance))``, so that the skipped mass is at most ``tolerance / 10`` of a
    row's mass, and its effect on the mean at most twice that.
    """
    tree = KeyTree.of(keys, values, weights)
    scaled = np.ascontiguousarray(inverse_temperature * queries)
    sums, tops, _ = tree.sums(scaled, np.arange(len(queries)), tolerance)
    means, log_masses = means_of(sums)
    errors = np.full(len(queries), 2 * SKIPPED_SHARE * tolerance)
    return SoftmaxMeans(
        means=means,
        references=tops,
        log_masses=log_masses,
        error_bounds=errors,
        rounding_bounds=rounding_bounds(scaled, keys),
    )


@dataclass(frozen=True)
class KeyTree:
    """Keys and channels in tree order, coordinate by coordinate, with the boxes of the nodes.

    Attributes
    ----------
    keys, channels
        ``(dim, keys)`` and ``(1 + value_dim, keys)``.
    levels
        Number of halvings; there are ``2^levels`` leaves.
    centres, halves
        ``(nodes, dim)``: centre and half extent of each node's box.
    spread
        ``sum_j w_j / min_j w_j``.
    """

    keys: Float[np.ndarray, "dim keys"]
    channels: Float[np.ndarray, "channels keys"]
    levels: int
    centres: Float[np.ndarray, "nodes dim"]
    halves: Float[np.ndarray, "nodes dim"]
    spread: float

    @classmethod
    def of(
        cls,
        keys: Float[np.ndarray, "keys dim"],
        values: Float[np.ndarray, "keys value_dim"],
        weights: Float[np.ndarray, " keys"] | None,
    ) -> "KeyTree":
        """Build the tree, ``O(n log n)``."""
        order, levels = tree_order(keys)
        ordered = np.ascontiguousarray(keys[order].T)
        channels = channels_of(values[order], None if weights is None else weights[order])
        nodes = 2 ** (levels + 1) - 1
        centres, halves = np.empty((nodes, keys.shape[1])), np.empty((nodes, keys.shape[1]))
        tree_kernels.bound_nodes(ordered, levels, centres, halves)
        masses = channels[:, 0]
        spread = float(masses.sum()) / float(masses.min())
        return cls(
            keys=ordered,
            channels=np.ascontiguousarray(channels.T),
            levels=levels,
            centres=centres,
            halves=halves,
            spread=spread,
        )

    def sums(
        self, scaled_queries: Float[np.ndarray, "all dim"], rows: Int[np.ndarray, " rows"], tolerance: float
    ) -> tuple[Float[np.ndarray, "rows channels"], Float[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
        """Return the sums of some rows relative to their top scores, those scores, and the number of keys summed."""
        queries = np.ascontiguousarray(scaled_queries[rows])
        sums, tops = np.empty((len(rows), len(self.channels))), np.empty(len(rows))
        looked = np.empty(len(rows), dtype=np.int64)
        depth = math.log(self.spread / (SKIPPED_SHARE * tolerance))
        alike, _ = tree_order(queries)
        tree_kernels.truncated_sums(
            alike, queries, self.keys, self.channels, self.levels, self.centres, self.halves, depth, sums, tops, looked
        )
        return sums, tops, looked


def tree_order(points: Float[np.ndarray, "points dim"]) -> tuple[Int[np.ndarray, " points"], int]:
    """Return an order in which the leaves of a balanced tree are contiguous, and the number of its levels."""
    levels = max(0, math.ceil(math.log2(max(1, len(points)) / tree_kernels.LEAF)))
    order = np.arange(len(points))
    tree_kernels.order_keys(np.ascontiguousarray(points), order, levels)
    return order, levels
