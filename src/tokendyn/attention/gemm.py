"""Hardmax by tiles of matrix products (torch), on any device: for many dimensions, without numba, and on a GPU.

The order of summation of a matrix product is unspecified. It therefore only selects candidates: every key whose product
lies within the slack and ``8 (d + 2) eps |q|_1 max|k|`` of the largest. Their canonical scores decide, so that leaders,
tie counts and means are those of the other backends to the last bit, also on a GPU.
"""

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.attention.problem import nothing_found
from tokendyn.optional import torch

Tensor = torch.Tensor

#: Rows and keys of a tile: 64 by 2048 products are 1 MB and stay in the cache.
TILE_ROWS, TILE_KEYS = 64, 2048

EPS = float(np.finfo(np.float64).eps)

Found = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


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
    """Return the fields of :class:`~tokendyn.attention.AttentionStep` for a batch of checked inputs, at hardmax."""
    fields = nothing_found(attends.shape, values.shape[2])
    for item in range(len(attends)):
        alive, asking = np.flatnonzero(mask[item]), np.flatnonzero(attends[item])
        if asking.size == 0:
            continue
        rows = [torch.from_numpy(array[item, asking]) for array in (queries, slack)]
        columns = [torch.from_numpy(array[item, alive]) for array in (keys, values, weights)]
        means, leaders, *rest, masses = (part.numpy() for part in hardmax(*rows, *columns))
        for field, part in zip(fields, (means, alive[leaders], *rest, np.log(masses)), strict=True):
            field[item, asking] = part
    return fields


def hardmax(
    queries: Float[Tensor, "rows score_dim"],
    slack: Float[Tensor, " rows"],
    keys: Float[Tensor, "tokens score_dim"],
    values: Float[Tensor, "tokens value_dim"],
    weights: Float[Tensor, " tokens"],
) -> Found:
    """Return means, leaders, tie counts, tie spreads, top scores and masses of ``C_i``, on the device of the input."""
    dim = queries.shape[1]
    error = 8 * (dim + 2) * EPS * queries.abs().sum(dim=1) * keys.abs().max() + 1e-300
    parts = [
        _rows(queries[start : start + TILE_ROWS], slack[start : start + TILE_ROWS], error[start : start + TILE_ROWS],
              keys, values, weights)
        for start in range(0, len(queries), TILE_ROWS)
    ]  # fmt: skip
    means, leaders, counts, spreads, tops, masses = (torch.cat(field) for field in zip(*parts, strict=True))
    return means, leaders, counts, spreads, tops, masses


def canonical_pairs(
    queries: Float[Tensor, "pairs score_dim"], keys: Float[Tensor, "pairs score_dim"]
) -> Float[Tensor, " pairs"]:
    """Return the canonical scores of pairs: products and sums rounded one by one, left to right."""
    scores = queries[:, 0] * keys[:, 0]
    for column in range(1, queries.shape[1]):
        scores = scores + queries[:, column] * keys[:, column]
    return scores


def _rows(queries: Tensor, slack: Tensor, error: Tensor, keys: Tensor, values: Tensor, weights: Tensor) -> Found:
    """Decide some rows: largest products of every tile, candidates, canonical scores."""
    tiles = torch.split(keys, TILE_KEYS)
    tile_tops = torch.stack([(queries @ tile.T).amax(dim=1) for tile in tiles])
    cut = tile_tops.amax(dim=0) - slack - error
    tops = torch.full_like(cut, -torch.inf)
    for number in range(len(tiles)):
        row, key = _candidates(queries, tiles[number], tile_tops[number], cut)
        scores = canonical_pairs(queries[row], tiles[number][key])
        tops = tops.scatter_reduce(0, row, scores, "amax")
    leaders = torch.full_like(tops, len(keys), dtype=torch.int64)
    counts = torch.zeros_like(leaders)
    spreads, masses, sums = (
        torch.zeros_like(tops),
        torch.zeros_like(tops),
        queries.new_zeros(len(tops), values.shape[1]),
    )
    for number in range(len(tiles)):
        row, key = _candidates(queries, tiles[number], tile_tops[number], cut)
        tied = canonical_pairs(queries[row], tiles[number][key]) >= (tops - slack)[row]
        row, key = row[tied], key[tied] + number * TILE_KEYS
        leaders = leaders.scatter_reduce(0, row, key, "amin")
        counts += torch.bincount(row, minlength=len(tops))
        distance = (values[key] - values[leaders[row]]).abs().amax(dim=1)
        spreads = spreads.scatter_reduce(0, row, distance, "amax")
        masses = _added(masses, row, weights[key])
        sums = _added(sums, row, weights[key, None] * values[key])
    means = torch.where((spreads == 0)[:, None], values[leaders], sums / masses[:, None])
    return means, leaders, counts, spreads, tops, masses


def _candidates(queries: Tensor, tile: Tensor, tile_tops: Tensor, cut: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and keys of the products within the cut, key by key ascending in each row."""
    (rows,) = (tile_tops >= cut).nonzero(as_tuple=True)
    row, key = ((queries[rows] @ tile.T) >= cut[rows, None]).nonzero(as_tuple=True)
    return rows[row], key


def _added(sums: Tensor, row: Tensor, terms: Tensor) -> Tensor:
    """Return ``sums`` with each term added to its row in the order given: on a CPU, since a GPU adds in any order."""
    return sums.cpu().index_add(0, row.cpu(), terms.cpu()).to(sums.device)
