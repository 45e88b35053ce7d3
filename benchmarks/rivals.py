"""Who finds leaders or softmax means in ``benchmarks/attention.py``.

A rival takes the tokens and returns a function of row numbers. What it does once for all rows (a tree, a transposed
copy) is measured apart, so that the cost of some rows can be scaled to all.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from tokendyn.attention import attend

Rows = np.ndarray
Rival = Callable[[np.ndarray], Callable[[Rows], np.ndarray]]

#: Rows and keys of a tile: 1 MB of scores.
TILE, KEYS = 64, 2048

ALL_PAIRS = "tokendyn, all pairs"
AUTO = "tokendyn, auto"
LOOP = "per-token loop (numpy)"
NUMPY = "numpy, tiled product and argmax"
TORCH = "torch, tiled product and max"
KEOPS = "KeOps, argmax"
TREE = "scipy k-d tree, lifted"

#: Share of the rows of a repeat that a slow rival, or the fastest, is timed on.
SHARES = {LOOP: 1 / 20, KEOPS: 1 / 4, TREE: 1 / 32, ALL_PAIRS: 4.0}


def python_loop(tokens: np.ndarray) -> Callable[[Rows], np.ndarray]:
    """Find leaders as published code does: one product, maximum and comparison for each token."""

    def leaders(rows: Rows) -> np.ndarray:
        found = []
        for row in rows:
            products = tokens @ tokens[row]
            found.append(np.flatnonzero(products == products.max())[0])
        return np.array(found)

    return leaders


def numpy_tiles(tokens: np.ndarray) -> Callable[[Rows], np.ndarray]:
    keys, size = np.ascontiguousarray(tokens.T), max(1, TILE * KEYS // len(tokens))

    def leaders(rows: Rows) -> np.ndarray:
        return np.concatenate([(tokens[rows[at : at + size]] @ keys).argmax(1) for at in range(0, len(rows), size)])

    return leaders


def torch_tiles(tokens: np.ndarray) -> Callable[[Rows], np.ndarray]:
    """Tiles of both axes that stay in the cache, one buffer, amax, and argmax only in the best tile of a row."""
    tiles = [part.T.contiguous() for part in torch.split(torch.from_numpy(tokens), KEYS)]

    def block(queries: torch.Tensor) -> torch.Tensor:
        buffer, tops = torch.empty(len(queries), KEYS, dtype=torch.float64), []
        for tile in tiles:
            whole = tile.shape[1] == KEYS
            scores = torch.mm(queries, tile, out=buffer) if whole else queries @ tile
            tops.append(scores.amax(dim=1))
        best = torch.stack(tops).argmax(dim=0)
        leaders = torch.empty(len(queries), dtype=torch.int64)
        for number in best.unique():
            mine = best == number
            leaders[mine] = (queries[mine] @ tiles[number]).argmax(dim=1) + number * KEYS
        return leaders

    return lambda rows: torch.cat([block(part) for part in torch.split(torch.from_numpy(tokens[rows]), TILE)]).numpy()


def keops(tokens: np.ndarray) -> Callable[[Rows], np.ndarray]:
    from pykeops.numpy import LazyTensor

    keys = LazyTensor(tokens[None, :, :])
    return lambda rows: (LazyTensor(tokens[rows][:, None, :]) | keys).argmax(dim=1).ravel()


def lifted_tree(tokens: np.ndarray) -> Callable[[Rows], np.ndarray]:
    """Find the largest product as a nearest neighbour: keys get a coordinate that makes them equally long."""
    squares = (tokens * tokens).sum(axis=1)
    tree = cKDTree(np.column_stack([tokens, np.sqrt(squares.max() - squares)]))
    return lambda rows: tree.query(np.column_stack([tokens[rows], np.zeros(len(rows))]))[1]


def nearest(tokens: np.ndarray) -> Callable[[Rows], np.ndarray]:
    """Find leaders of unit vectors: the nearest neighbours, which are the tokens themselves."""
    tree = cKDTree(tokens)
    return lambda rows: tree.query(tokens[rows])[1]


def ours(backend: str) -> Rival:
    def prepared(tokens: np.ndarray) -> Callable[[Rows], np.ndarray]:
        def leaders(rows: Rows) -> np.ndarray:
            asking = None if len(rows) == len(tokens) else rows
            return attend(tokens, tokens, tokens, rows=asking, backend=backend).leaders

        return leaders

    return prepared


def hardmax_rivals(*, with_keops: bool) -> dict[str, Rival]:
    """Return the rivals at hardmax, ours last."""
    found: dict[str, Rival] = {LOOP: python_loop, NUMPY: numpy_tiles, TORCH: torch_tiles, TREE: lifted_tree}
    if with_keops:
        found[KEOPS] = keops
    return found | {ALL_PAIRS: ours("fused"), AUTO: ours("auto")}


def softmax_by(backend: str, beta: float) -> Rival:
    """Return one of our softmax backends; ``fused`` is direct, all others may err by 1e-10."""
    settings: dict[str, Any] = {"inverse_temperature": beta, "find_leaders": False, "backend": backend}
    settings["error_tolerance"] = 0.0 if backend == "fused" else 1e-10

    def prepared(tokens: np.ndarray) -> Callable[[Rows], np.ndarray]:
        def means(rows: Rows) -> np.ndarray:
            asking = None if len(rows) == len(tokens) else rows
            return attend(tokens, tokens, tokens, rows=asking, **settings).means

        return means

    return prepared


def sdpa(beta: float) -> Rival:
    """Return torch's attention in float64."""

    def prepared(tokens: np.ndarray) -> Callable[[Rows], np.ndarray]:
        keys = torch.from_numpy(tokens)[None]
        product = torch.nn.functional.scaled_dot_product_attention
        return lambda rows: product(keys[:, rows], keys, keys, scale=beta)[0].numpy()

    return prepared


def keops_softmax(beta: float) -> Rival:
    def prepared(tokens: np.ndarray) -> Callable[[Rows], np.ndarray]:
        from pykeops.numpy import LazyTensor

        keys = LazyTensor(tokens[None, :, :])
        return lambda rows: (LazyTensor(beta * tokens[rows][:, None, :]) | keys).sumsoftmaxweight(keys, axis=1)

    return prepared
