"""The weights of all blocks, stored by their nonzeros, and their sizes.

Block: ``x <- eta x + W relu(U x + c)``, then ``x_i <- x_i + sum_j a_ij V x_j`` where ``a_i`` weighs the tokens by the
rank-1 scores ``<q, x_i> <k, x_j>``: by hardmax, by softmax, or equally with ``q = 0``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Int

Numbers = Float[np.ndarray, " _any"]
Places = Int[np.ndarray, " _any"]


@dataclass(frozen=True)
class Weights:
    """Stacked blocks.

    Attributes
    ----------
    eta
        ``(blocks,)``: 0 where the block forgets its input, else 1.
    units
        ``(blocks + 1,)``: block k has the hidden units ``units[k]`` to ``units[k + 1]``.
    bias
        c of every unit.
    in_starts, in_channels, in_weights
        Rows of U by nonzeros: unit u reads the channels ``in_channels[in_starts[u]:in_starts[u + 1]]``.
    out_starts, out_channels, out_weights
        Columns of W by nonzeros.
    attends
        ``(blocks,)``: 1 where the block has attention.
    query_channels, query_weights, key_channels, key_weights
        ``(blocks,)``: the one nonzero of q and of k.
    value_starts, value_in, value_out, value_weights
        V by nonzeros.
    """

    eta: Numbers
    units: Places
    bias: Numbers
    in_starts: Places
    in_channels: Places
    in_weights: Numbers
    out_starts: Places
    out_channels: Places
    out_weights: Numbers
    attends: Places
    query_channels: Places
    query_weights: Numbers
    key_channels: Places
    key_weights: Numbers
    value_starts: Places
    value_in: Places
    value_out: Places
    value_weights: Numbers

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.eta)

    @property
    def width(self) -> int:
        """Hidden units of the widest block."""
        return int(np.diff(self.units).max(initial=0))

    @property
    def nonzeros(self) -> int:
        """Nonzero parameters: U, c, W, q, k and V."""
        attention = 2 * np.count_nonzero(self.attends * self.query_weights) + len(self.value_weights)
        parts = (self.bias, self.in_weights, self.out_weights)
        return int(attention + sum(np.count_nonzero(part) for part in parts))

    @property
    def value_rank(self) -> int:
        """Largest rank of a value matrix."""
        return int(np.diff(self.value_starts).max(initial=0))

    def cast(self, dtype: str) -> "Weights":
        """Return the weights in a floating-point type."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Weights(**{name: v.astype(dtype) if v.dtype.kind == "f" else v for name, v in values.items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Parts:
    """Weights as triples: one row for each nonzero, in any order.

    Attributes
    ----------
    units
        ``(block, bias)`` of every hidden unit, as two arrays; the position of a unit is its number.
    inputs, outputs
        ``(unit, channel, weight)``, as three arrays.
    attention
        ``(block, query channel, query weight, key channel, key weight)``, as five arrays.
    values
        ``(block, channel in, channel out, weight)``, as four arrays.
    """

    units: tuple[Places, Numbers]
    inputs: tuple[Places, Places, Numbers]
    outputs: tuple[Places, Places, Numbers]
    attention: tuple[Places, Places, Numbers, Places, Numbers]
    values: tuple[Places, Places, Places, Numbers]


def assemble(parts: Sequence[Parts], blocks: int, forgetting: Sequence[int] = (0,)) -> Weights:
    """Join parts, sorted by block; each part numbers its own units from 0.

    Parameters
    ----------
    parts
        The nonzeros.
    blocks
        Number of blocks.
    forgetting
        Blocks with ``eta = 0``.
    """
    counts = np.cumsum([0] + [len(part.units[0]) for part in parts])
    block = _joined([part.units[0] for part in parts], np.int64)
    bias = _joined([part.units[1] for part in parts], np.float64)
    order = np.argsort(block, kind="stable")
    new_number = np.empty_like(order)
    new_number[order] = np.arange(len(order))
    eta = np.ones(blocks)
    eta[list(forgetting)] = 0.0
    attends, q_at, k_at = (np.zeros(blocks, np.int64) for _ in range(3))
    q, k = np.zeros(blocks), np.zeros(blocks)
    for part in parts:
        at, q_channel, q_weight, k_channel, k_weight = part.attention
        attends[at], q_at[at], q[at], k_at[at], k[at] = 1, q_channel, q_weight, k_channel, k_weight
    value_block, value_in, value_out = (_joined([part.values[i] for part in parts], np.int64) for i in range(3))
    value = _joined([part.values[3] for part in parts], np.float64)
    by_block = np.argsort(value_block, kind="stable")
    in_starts, in_channels, in_weights = _csr([part.inputs for part in parts], counts, new_number)
    out_starts, out_channels, out_weights = _csr([part.outputs for part in parts], counts, new_number)
    return Weights(
        eta=eta,
        units=_starts(block, blocks),
        bias=bias[order],
        in_starts=in_starts,
        in_channels=in_channels,
        in_weights=in_weights,
        out_starts=out_starts,
        out_channels=out_channels,
        out_weights=out_weights,
        attends=attends,
        query_channels=q_at,
        query_weights=q,
        key_channels=k_at,
        key_weights=k,
        value_starts=_starts(value_block, blocks),
        value_in=value_in[by_block],
        value_out=value_out[by_block],
        value_weights=value[by_block],
    )


def _joined(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.asarray(array, dtype=dtype).reshape(-1) for array in arrays])


def _starts(rows: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int64)


def _csr(
    triples: list[tuple[np.ndarray, np.ndarray, np.ndarray]], counts: np.ndarray, new_number: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts, channels and weights by the new number of the unit, without zeros."""
    unit = _joined([np.asarray(t[0]) + first for t, first in zip(triples, counts[:-1], strict=True)], np.int64)
    channel = _joined([t[1] for t in triples], np.int64)
    weight = _joined([t[2] for t in triples], np.float64)
    unit, channel, weight = new_number[unit[weight != 0]], channel[weight != 0], weight[weight != 0]
    order = np.lexsort((channel, unit))
    return _starts(unit, len(new_number)), channel[order], weight[order]


def block_matrices(weights: Weights, block: int, dim: int) -> dict[str, np.ndarray]:
    """Return the dense matrices of one block, no larger than it needs.

    ``U (width, D)``, ``c (width,)``, ``W (D, width)``, ``q, k (1, D)``, ``v_in (rank, D)``, ``v_out (D, rank)``.
    """
    kind = weights.bias.dtype
    first, last = weights.units[block : block + 2]
    U, W = np.zeros((last - first, dim), kind), np.zeros((dim, last - first), kind)
    for unit in range(first, last):
        reads = slice(weights.in_starts[unit], weights.in_starts[unit + 1])
        writes = slice(weights.out_starts[unit], weights.out_starts[unit + 1])
        U[unit - first, weights.in_channels[reads]] = weights.in_weights[reads]
        W[weights.out_channels[writes], unit - first] = weights.out_weights[writes]
    q, k = np.zeros((1, dim), kind), np.zeros((1, dim), kind)
    q[0, weights.query_channels[block]] = weights.query_weights[block]
    k[0, weights.key_channels[block]] = weights.key_weights[block]
    entries = np.arange(weights.value_starts[block], weights.value_starts[block + 1])
    v_in, v_out = np.zeros((len(entries), dim), kind), np.zeros((dim, len(entries)), kind)
    v_in[np.arange(len(entries)), weights.value_in[entries]] = weights.value_weights[entries]
    v_out[weights.value_out[entries], np.arange(len(entries))] = 1
    return {"U": U, "c": weights.bias[first:last], "W": W, "q": q, "k": k, "v_in": v_in, "v_out": v_out}


def stacked(weights: Weights, dim: int) -> dict[str, np.ndarray]:
    """Return the dense stacks ``U (L, width, D)``, ``c``, ``W (L, D, width)``, ``q, k (L, D)``, ``v_in``, ``v_out``.

    Values: ``V_k = v_out_k v_in_k`` with ``v_in (L, rank, D)`` and ``v_out (L, D, rank)``.
    """
    blocks, width, rank = weights.blocks, max(weights.width, 1), max(weights.value_rank, 1)
    kind = weights.bias.dtype
    U, W = np.zeros((blocks, width, dim), kind), np.zeros((blocks, dim, width), kind)
    c = np.zeros((blocks, width), kind)
    block = np.repeat(np.arange(blocks), np.diff(weights.units))
    unit = np.arange(len(weights.bias)) - weights.units[block]
    c[block, unit] = weights.bias
    rows = np.repeat(np.arange(len(unit)), np.diff(weights.in_starts))
    U[block[rows], unit[rows], weights.in_channels] = weights.in_weights
    rows = np.repeat(np.arange(len(unit)), np.diff(weights.out_starts))
    W[block[rows], weights.out_channels, unit[rows]] = weights.out_weights
    q, k = np.zeros((blocks, dim), kind), np.zeros((blocks, dim), kind)
    q[np.arange(blocks), weights.query_channels] = weights.query_weights
    k[np.arange(blocks), weights.key_channels] = weights.key_weights
    v_in, v_out = np.zeros((blocks, rank, dim), kind), np.zeros((blocks, dim, rank), kind)
    block = np.repeat(np.arange(blocks), np.diff(weights.value_starts))
    index = np.arange(len(block)) - weights.value_starts[block]
    v_in[block, index, weights.value_in] = weights.value_weights
    v_out[block, weights.value_out, index] = 1
    return {"U": U, "c": c, "W": W, "q": q, "k": k, "v_in": v_in, "v_out": v_out}
