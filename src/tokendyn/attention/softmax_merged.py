"""Softmax means of keys that have coalesced: one weighted key for each place, with the error that this makes."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention.problem import Offer, Problem, Softmax
from tokendyn.attention.softmax_direct import direct_softmax
from tokendyn.attention.softmax_result import SoftmaxMeans, as_softmax, lengths
from tokendyn.attention.softmax_truncated import MOST_DIMENSIONS, truncated_softmax

#: Share of the tolerance that merging may use; the sums over merged keys may use half of the rest.
MERGED_SHARE = 0.5

#: Smallest tolerance that is offered.
LEAST_TOLERANCE = 1e-13

#: Size of a sample of keys, and the largest number of distinct points in it at which merging applies.
PROBE_KEYS, PROBE_POINTS = 2048, 256

#: Up to this number of merged keys, the sums are direct.
FEW_MERGED = 2000

#: Processor seconds of a key in merging, and of a pair of row and merged key.
KEY_SECONDS, PAIR_SECONDS = 3e-6, 3e-9


def offer(problem: Problem) -> Offer | str:
    """Return an estimate when a sample of the keys sits on few points."""
    if problem.error_tolerance < LEAST_TOLERANCE or len(problem.keys) < PROBE_KEYS:
        return f"needs error_tolerance >= {LEAST_TOLERANCE:g} and at least {PROBE_KEYS} keys"
    sample = np.linspace(0, len(problem.keys) - 1, PROBE_KEYS).astype(np.int64)
    merged_count = len(np.unique(_cells(problem.keys[sample], _distance(problem)), axis=0))
    if merged_count > PROBE_POINTS:
        return f"{PROBE_KEYS} sampled keys sit on {merged_count} points; above {PROBE_POINTS} merging does not pay"
    seconds = KEY_SECONDS * len(problem.keys) + PAIR_SECONDS * merged_count * len(problem.queries)
    return Offer(seconds, f"the keys sit on about {merged_count} points")


def softmax(problem: Problem) -> Softmax:
    """Compute a :class:`~tokendyn.attention.problem.Problem`; where merging moves too much, nothing is merged."""
    beta, tolerance = problem.inverse_temperature, problem.error_tolerance
    merged = merge_keys(problem.keys, problem.values, problem.weights, _distance(problem))
    if merged.error_bounds(problem.queries, beta).max() > MERGED_SHARE * tolerance:
        merged = merge_keys(problem.keys, problem.values, problem.weights, 0.0)
    rest = 0.5 * (1 - MERGED_SHARE) * tolerance
    return as_softmax(merged_softmax(problem.queries, merged, inverse_temperature=beta, tolerance=rest))


@dataclass(frozen=True)
class MergedKeys:
    """Weighted keys, each of which replaces the keys of one cell.

    Attributes
    ----------
    keys, values, weights
        ``(merged, dim)``, ``(merged, value_dim)``, ``(merged,)``: centre of mass, mean value, total weight.
    labels
        ``(keys,)``: number of the merged key of each original key.
    key_radius, value_radius
        Largest distance of an original key, or value, from the merged one.
    largest_value
        ``max_j |v_j|_2`` of the original values.
    """

    keys: Float[np.ndarray, "merged dim"]
    values: Float[np.ndarray, "merged value_dim"]
    weights: Float[np.ndarray, " merged"]
    labels: Int[np.ndarray, " keys"]
    key_radius: float
    value_radius: float
    largest_value: float

    def error_bounds(
        self, queries: Float[np.ndarray, "rows dim"], inverse_temperature: float
    ) -> Float[np.ndarray, " rows"]:
        """Return a bound on how far merging moves each mean, relative to the largest value.

        With ``x = beta |q_i| key_radius``: ``2 (e^x - 1 - x) + (e^x - 1) value_radius / largest_value``. The first
        order of a cell's mass vanishes, as its key is the centre of mass (our own bound).
        """
        x = inverse_temperature * lengths(queries) * self.key_radius
        share = self.value_radius / self.largest_value if self.largest_value > 0 else 0.0
        with np.errstate(over="ignore"):
            growth = np.expm1(x)
            # Without the cancellation of e^x - 1 - x; above 1 there is none.
            second = np.where(x < 1, x * x / 2 * np.exp(np.minimum(x, 1.0)), growth - x)
            return 2 * second + growth * share


def merge_keys(
    keys: Float[np.ndarray, "keys dim"],
    values: Float[np.ndarray, "keys value_dim"],
    weights: Float[np.ndarray, " keys"] | None,
    distance: float,
) -> MergedKeys:
    """Merge the keys of each cell of a grid of diameter ``distance``; at distance 0, equal keys with equal values."""
    cells = _cells(keys, distance) if distance > 0 else np.concatenate([keys, values], axis=1)
    _, labels = np.unique(cells, axis=0, return_inverse=True)
    labels = labels.reshape(-1)
    masses = np.ones(len(keys)) if weights is None else weights
    totals = np.bincount(labels, masses)
    centres = _cell_means(keys, labels, masses, totals)
    means = _cell_means(values, labels, masses, totals)
    return MergedKeys(
        keys=centres,
        values=means,
        weights=totals,
        labels=labels,
        key_radius=float(lengths(keys - centres[labels]).max()),
        value_radius=float(lengths(values - means[labels]).max()),
        largest_value=float(lengths(values).max()),
    )


def merged_softmax(
    queries: Float[np.ndarray, "rows dim"],
    merged: MergedKeys,
    *,
    inverse_temperature: float,
    tolerance: float = 1e-10,
) -> SoftmaxMeans:
    """Return the means over merged keys, summed to ``tolerance``; the bounds include the error of merging."""
    arrays = queries, merged.keys, merged.values
    if len(merged.keys) > FEW_MERGED and queries.shape[1] <= MOST_DIMENSIONS:
        result = truncated_softmax(
            *arrays, inverse_temperature=inverse_temperature, weights=merged.weights, tolerance=tolerance
        )
    else:
        result = direct_softmax(*arrays, inverse_temperature=inverse_temperature, weights=merged.weights)
    bounds = result.error_bounds + merged.error_bounds(queries, inverse_temperature)
    return SoftmaxMeans(
        means=result.means,
        references=result.references,
        log_masses=result.log_masses,
        error_bounds=bounds,
        rounding_bounds=result.rounding_bounds,
    )


def _distance(problem: Problem) -> float:
    """Return a cell diameter at which the second order of a merged mass stays far below the tolerance."""
    return 0.5 * math.sqrt(MERGED_SHARE * problem.error_tolerance) / max(problem.sharpness, 1.0)


def _cells(keys: Float[np.ndarray, "keys dim"], distance: float) -> Float[np.ndarray, "keys dim"]:
    return np.floor(keys / (distance / math.sqrt(keys.shape[1])))


def _cell_means(
    points: np.ndarray, labels: Int[np.ndarray, " keys"], masses: np.ndarray, totals: np.ndarray
) -> np.ndarray:
    return np.stack([np.bincount(labels, masses * column) / totals for column in points.T], axis=1)
