"""A builder of weights unit by unit, for the shallow and the strict constructions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tokendyn.exact.weights import Parts, Weights, assemble


class Writer:
    """Collects units, attentions and values; :meth:`weights` joins them."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []
        self._bias: list[np.ndarray] = []
        self._in: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._out: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._attention: list[tuple[int, int, float, int, float]] = []
        self._values: list[tuple[int, int, int, float]] = []
        self._count = 0

    def unit(self, block: int, bias: float, reads: Mapping[int, float], writes: Mapping[int, float]) -> None:
        """Add one hidden unit: ``h = relu(bias + sum reads x)``, ``x += writes h``."""
        row = np.array([list(reads.values())], dtype=np.float64)
        out = np.array([list(writes.values())], dtype=np.float64)
        self.units(block, np.array([bias]), list(reads), row, list(writes), out)

    def units(
        self,
        block: int,
        bias: np.ndarray,
        reads: Sequence[int],
        read_weights: np.ndarray,
        writes: Sequence[int],
        write_weights: np.ndarray,
    ) -> None:
        """Add units that read the same channels and write the same channels, with ``(units, channels)`` weights."""
        n = len(bias)
        number = self._count + np.arange(n)
        self._count += n
        self._blocks.append(np.full(n, block))
        self._bias.append(bias)
        for triples, channels, weights in ((self._in, reads, read_weights), (self._out, writes, write_weights)):
            flat = np.broadcast_to(weights, (n, len(channels))).reshape(-1)
            triples.append((np.repeat(number, len(channels)), np.tile(np.array(channels, int), n), flat))

    def attend(self, block: int, query: tuple[int, float], key: tuple[int, float]) -> None:
        """Add attention with the scores ``query_i key_j``; a query of weight 0 makes it uniform."""
        self._attention.append((block, query[0], query[1], key[0], key[1]))

    def value(self, block: int, channel_in: int, channel_out: int, weight: float = 1.0) -> None:
        """Add an entry of a value matrix."""
        self._values.append((block, channel_in, channel_out, weight))

    def weights(self, blocks: int, forgetting: Sequence[int] = (0,)) -> Weights:
        """Return the weights."""
        return assemble([self.parts()], blocks, forgetting)

    def parts(self) -> Parts:
        """Return the collected weights, to be joined with other parts."""

        def columns(rows: Sequence[Any], count: int) -> list[np.ndarray]:
            table = np.array(rows, dtype=np.float64).reshape(-1, count)
            return [table[:, i] for i in range(count)]

        def joined(triples: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, ...]:
            return tuple(np.concatenate([np.empty(0), *(t[i] for t in triples)]) for i in range(3))

        block, q_at, q, k_at, k = columns(self._attention, 5)
        v_block, v_in, v_out, v = columns(self._values, 4)
        integers = [array.astype(np.int64) for array in (block, q_at, k_at, v_block, v_in, v_out)]
        a, b = joined(self._in), joined(self._out)
        return Parts(
            units=(np.concatenate(self._blocks).astype(np.int64), np.concatenate(self._bias)),
            inputs=(a[0].astype(np.int64), a[1].astype(np.int64), a[2]),
            outputs=(b[0].astype(np.int64), b[1].astype(np.int64), b[2]),
            attention=(integers[0], integers[1], q, integers[2], k),
            values=(integers[3], integers[4], integers[5], v),
        )
