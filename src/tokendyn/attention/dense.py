"""The dense reference: plain torch, tile by tile, on any device.

It is written to be read and to be compared with: no tile is larger than ``TILE_ROWS`` by ``TILE_KEYS``, and
every sum runs in the order of the token index.
"""

import math

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.attention.problem import nothing_found
from tokendyn.optional import torch

Tensor = torch.Tensor

TILE_ROWS = 64
TILE_KEYS = 1024


def step_batch(
    inverse_temperature: float,
    queries: Float[np.ndarray, "batch rows score_dim"],
    attends: Bool[np.ndarray, "batch rows"],
    slack: Float[np.ndarray, "batch rows"],
    keys: Float[np.ndarray, "batch tokens score_dim"],
    values: Float[np.ndarray, "batch tokens value_dim"],
    weights: Float[np.ndarray, "batch tokens"],
    mask: Bool[np.ndarray, "batch tokens"],
) -> tuple[np.ndarray, ...]:
    """Return the fields of :class:`~tokendyn.attention.AttentionStep` for a batch of checked inputs."""
    fields = nothing_found(attends.shape, values.shape[2])
    means, leaders, tie_counts, tie_spreads, top_scores, log_masses = fields
    for item in range(len(attends)):
        (alive,) = np.nonzero(mask[item])
        (asking,) = np.nonzero(attends[item])
        q, s = (torch.from_numpy(array[item, asking]) for array in (queries, slack))
        k, v, w = (torch.from_numpy(array[item, alive]) for array in (keys, values, weights))
        for start in range(0, asking.size, TILE_ROWS):
            tile = slice(start, start + TILE_ROWS)
            top = _top_scores(q[tile], k)
            count, leader, spread, mean, mass = _hardmax_rows(q[tile], k, v, w, top - s[tile])
            if not math.isinf(inverse_temperature):
                mean, mass = _softmax_rows(q[tile], k, v, w, top, inverse_temperature)
            at = (item, asking[tile])
            means[at] = mean.numpy()
            leaders[at] = alive[leader.numpy()]
            tie_counts[at] = count.numpy()
            tie_spreads[at] = spread.numpy()
            top_scores[at] = top.numpy()
            log_masses[at] = mass.log().numpy()
    return fields


def _score_tile(queries: Tensor, keys: Tensor) -> Tensor:
    """Return canonical scores: products and sums rounded one by one, left to right."""
    scores = queries[:, :1] * keys[:, 0]
    for column in range(1, queries.shape[1]):
        scores = scores + queries[:, column : column + 1] * keys[:, column]
    return scores


def _top_scores(queries: Tensor, keys: Tensor) -> Tensor:
    tops = [_score_tile(queries, tile).amax(dim=1) for tile in torch.split(keys, TILE_KEYS)]
    return torch.stack(tops).amax(dim=0)


def _hardmax_rows(
    queries: Tensor, keys: Tensor, values: Tensor, weights: Tensor, thresholds: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return tie counts, leaders, tie spreads, means and masses of ``C_i`` for some rows."""
    rows = queries.shape[0]
    counts = torch.zeros(rows, dtype=torch.int64)
    leaders = torch.full((rows,), keys.shape[0], dtype=torch.int64)
    spreads = queries.new_zeros(rows)
    masses = queries.new_zeros(rows)
    sums = queries.new_zeros(rows, values.shape[1])
    for start in range(0, keys.shape[0], TILE_KEYS):
        tile = slice(start, start + TILE_KEYS)
        tied = _score_tile(queries, keys[tile]) >= thresholds[:, None]
        row, key = tied.nonzero(as_tuple=True)
        key = key + start
        counts += tied.sum(dim=1)
        leaders = leaders.scatter_reduce(0, row, key, "amin")
        masses = masses.index_add(0, row, weights[key])
        sums = sums.index_add(0, row, weights[key, None] * values[key])
        distance = (values[key] - values[leaders[row]]).abs().amax(dim=1)
        spreads = spreads.scatter_reduce(0, row, distance, "amax")
    one_point = (spreads == 0)[:, None]
    means = torch.where(one_point, values[leaders], sums / masses[:, None])
    return counts, leaders, spreads, means, masses


def _softmax_rows(
    queries: Tensor, keys: Tensor, values: Tensor, weights: Tensor, top: Tensor, inverse_temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the softmax means of some rows, and their partition functions relative to the top score."""
    masses = torch.zeros_like(top)
    sums = queries.new_zeros(queries.shape[0], values.shape[1])
    for start in range(0, keys.shape[0], TILE_KEYS):
        tile = slice(start, start + TILE_KEYS)
        excess = _score_tile(queries, keys[tile]) - top[:, None]
        terms = weights[tile] * torch.exp(inverse_temperature * excess)
        masses = masses + terms.sum(dim=1)
        sums = sums + terms @ values[tile]
    return sums / masses[:, None], masses
