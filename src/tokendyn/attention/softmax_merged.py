"""Softmax means of keys that have coalesced: one weighted key for each place, with the error that this makes."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention.problem import Offer, Problem, Softmax
from tokendyn.attention.softmax_direct import direct_softmax
from tokendyn.attention.softmax_result import SoftmaxMeans, as_softmax, lengths
from tokendyn.attention.softmax_truncated import MOST_DIMENSIONS, truncated_softmax

#: Share of the tolerance that merging may use; half of the rest is left to the sums over places.
MERGED_SHARE = 0.5

#: Smallest tolerance that is offered.
LEAST_TOLERANCE = 1e-13

#: It is offered when as many sampled keys sit on as few places.
PROBE_KEYS, PROBE_PLACES = 2048, 256

#: Up to this many places are summed directly.
FEW_PLACES = 2000

#: Processor seconds of a key in merging, and of a pair of row and place.
KEY_SECONDS, PAIR_SECONDS = 3e-6, 3e-9


def offer(problem: Problem) -> Offer | str:
    """Offer merging when a sample of the keys sits on few places."""
    if problem.error_tolerance < LEAST_TOLERANCE or len(problem.keys) < PROBE_KEYS:
        return f"needs error_tolerance >= {LEAST_TOLERANCE:g} and at least {PROBE_KEYS} keys"
    sample = np.linspace(0, len(problem.keys) - 1, PROBE_KEYS).astype(np.int64)
    places = len(np.unique(_cells(problem.keys[sample], _distance(problem)), axis=0))
    if places > PROBE_PLACES:
        return f"{PROBE_KEYS} sampled keys sit on {places} places; more than {PROBE_PLACES} are not worth merging"
    seconds = KEY_SECONDS * len(problem.keys) + PAIR_SECONDS * places * len(problem.queries)
    return Offer(seconds, f"the keys sit on about {places} places")


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
    """Weighted keys, each in the place of those of one cell.

    Attributes
    ----------
    keys, values, weights
        ``(places, dim)``, ``(places, value_dim)``, ``(places,)``: centre of mass, mean value, total weight.
    labels
        ``(keys,)``: place of each original key.
    key_radius, value_radius
        Largest distance of an original key, or value, from that of its place.
    largest_value
        ``max_j |v_j|_2`` of the original values.
    """

    keys: Float[np.ndarray, "places dim"]
    values: Float[np.ndarray, "places value_dim"]
    weights: Float[np.ndarray, " places"]
    labels: Int[np.ndarray, " keys"]
    key_radius: float
    value_radius: float
    largest_value: float

    def error_bounds(
        self, queries: Float[np.ndarray, "rows dim"], inverse_temperature: float
    ) -> Float[np.ndarray, " rows"]:
        """Return how far merging moves each mean, relative to the largest value.

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
        centres,
        means,
        totals,
        labels,
        float(lengths(keys - centres[labels]).max()),
        float(lengths(values - means[labels]).max()),
        float(lengths(values).max()),
    )


def merged_softmax(
    queries: Float[np.ndarray, "rows dim"],
    merged: MergedKeys,
    *,
    inverse_temperature: float,
    tolerance: float = 1e-10,
) -> SoftmaxMeans:
    """Return the means over merged keys, summed to ``tolerance``; the error of merging comes on top in the bounds."""
    arrays = queries, merged.keys, merged.values
    if len(merged.keys) > FEW_PLACES and queries.shape[1] <= MOST_DIMENSIONS:
        found = truncated_softmax(
            *arrays, inverse_temperature=inverse_temperature, weights=merged.weights, tolerance=tolerance
        )
    else:
        found = direct_softmax(*arrays, inverse_temperature=inverse_temperature, weights=merged.weights)
    bounds = found.error_bounds + merged.error_bounds(queries, inverse_temperature)
    return SoftmaxMeans(found.means, found.references, found.log_masses, bounds, found.rounding_bounds)


def _distance(problem: Problem) -> float:
    """Return a cell diameter at which the second order of a merged mass stays far below the tolerance."""
    return 0.5 * math.sqrt(MERGED_SHARE * problem.error_tolerance) / max(problem.sharpness, 1.0)


def _cells(keys: Float[np.ndarray, "keys dim"], distance: float) -> Float[np.ndarray, "keys dim"]:
    return np.floor(keys / (distance / math.sqrt(keys.shape[1])))


def _cell_means(
    points: np.ndarray, labels: Int[np.ndarray, " keys"], masses: np.ndarray, totals: np.ndarray
) -> np.ndarray:
    return np.stack([np.bincount(labels, masses * column) / totals for column in points.T], axis=1)
