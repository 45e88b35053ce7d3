"""A deep hardmax run over several processes: each holds some tokens, and only keys that can lead travel.

Start the processes with ``torchrun`` (gloo or nccl). The tokens of process 0 come first, then those of process 1, and
so on; leaders are numbers in that order. Canonical arithmetic decides over keys sorted by number, so that the result
does not depend on the number of processes, to the last bit, and equals :func:`tokendyn.dynamics.run`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int

from tokendyn.attention import Head, fused
from tokendyn.attention.reduced import SMALLEST, surviving_keys
from tokendyn.dynamics.freeze import may_freeze, shares
from tokendyn.dynamics.layers import Layer
from tokendyn.errors import BadInputError


@dataclass(frozen=True)
class ShardedRun:
    """The tokens of one process after the last layer.

    Attributes
    ----------
    state
        ``(tokens, dim)``: the own tokens.
    leaders, tie_counts, tie_spreads
        ``(tokens,)``: what they found when they attended last; leaders are numbers among all tokens.
    since
        ``(tokens,)``: the layer from which each is frozen; -1 when it is active still.
    keys_sent
        For each layer in which somebody attended, how many keys travelled, from all processes together.
    """

    state: Float[np.ndarray, "tokens dim"]
    leaders: Int[np.ndarray, " tokens"]
    tie_counts: Int[np.ndarray, " tokens"]
    tie_spreads: Float[np.ndarray, " tokens"]
    since: Int[np.ndarray, " tokens"]
    keys_sent: tuple[int, ...]


def run_sharded(
    tokens: Float[np.ndarray, "tokens dim"],
    layers: Sequence[Layer],
    *,
    weights: Float[np.ndarray, " tokens"] | None = None,
    group: Any = None,
) -> ShardedRun:
    """Send the tokens of all processes through hardmax layers; every process calls this with its own tokens.

    Parameters
    ----------
    tokens
        ``(tokens, dim)``: the own tokens, finite float64; there may be none.
    layers
        The same in every process; of one hardmax head with the same ``A``, without ``V`` or feed-forward part.
    weights
        Positive weights of the own tokens.
    group
        A process group of torch.distributed, by default that of all processes; without one, this process is alone.

    Raises
    ------
    BadInputError
        If the layers are outside the freeze theorem, or tokens are not finite.
    """
    if not may_freeze(layers):
        raise BadInputError(
            "run_sharded takes layers of one hardmax head with a fixed A, without V or feed-forward part"
        )
    shard = _Shard(np.array(tokens, dtype=np.float64), weights, _Exchange(group))
    for number, layer in enumerate(layers):
        shard.step(layer, number)
    decay = -np.log1p([layer.alpha for layer in layers])
    return shard.result(np.concatenate([[0.0], np.cumsum(decay)]), len(layers))


class _Exchange:
    """Sums, maxima and rows of all processes."""

    def __init__(self, group: Any) -> None:
        self.group, self.alone = group, not dist.is_initialized()
        self.size = 1 if self.alone else dist.get_world_size(group)
        self.rank = 0 if self.alone else dist.get_rank(group)
        nccl = not self.alone and dist.get_backend(group) == "nccl"
        self.device = torch.device("cuda" if nccl else "cpu")

    def largest(self, value: float) -> float:
        """Return the largest of the values of all processes."""
        if self.alone:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self.group)
        return float(tensor.item())

    def rows(self, rows: Float[np.ndarray, "rows columns"]) -> list[np.ndarray]:
        """Return the rows of every process."""
        if self.alone:
            return [rows]
        counts = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor([len(rows)], device=self.device), group=self.group)
        sizes = [int(count.item()) for count in counts]
        mine = torch.zeros(max(sizes), rows.shape[1], dtype=torch.float64, device=self.device)
        mine[: len(rows)] = torch.from_numpy(rows)
        every = [torch.empty_like(mine) for _ in sizes]
        dist.all_gather(every, mine, group=self.group)
        return [part[:size].cpu().numpy() for part, size in zip(every, sizes, strict=True)]


class _Shard:
    """The tokens of one process in a run."""

    def __init__(self, tokens: np.ndarray, weights: np.ndarray | None, exchange: _Exchange) -> None:
        self.exchange, self.state, count = exchange, tokens, len(tokens)
        self.weights = np.ones(count) if weights is None else np.array(weights, dtype=np.float64)
        if exchange.largest(float(not (np.isfinite(tokens).all() and (self.weights > 0).all()))):
            raise BadInputError("tokens must be finite and weights positive, in every process")
        sizes = [int(part[0, 0]) for part in exchange.rows(np.array([[float(count)]]))]
        self.first = sum(sizes[: exchange.rank])
        self.leaders = np.arange(count, dtype=np.int64) + self.first
        self.counts, self.since = np.zeros(count, dtype=np.int64), np.full(count, -1, dtype=np.int64)
        self.spreads, self.leads = np.zeros(count), np.zeros(count, dtype=bool)
        self.origins, self.goals = tokens.copy(), tokens.copy()
        self.log_share, self.log_shares = 0.0, [0.0]
        self.keys_sent: list[int] = []

    def step(self, layer: Layer, number: int) -> None:
        """Apply one layer; nothing but one number travels once every token of every process is frozen."""
        active = np.flatnonzero(self.since < 0)
        self.log_shares.append(self.log_shares[-1] - float(np.log1p(layer.alpha)))
        if not self.exchange.largest(float(active.size)):
            return
        head = layer.heads[0]
        queries, keys = head.queries(self.state[active]), head.keys(self.state)
        radius = self.exchange.largest(float(np.sqrt((keys * keys).sum(axis=1)).max(initial=0.0)))
        norms = np.sqrt((queries * queries).sum(axis=1))
        mine = self._travelling(keys, head, radius, bool((norms * radius <= SMALLEST).any()))
        numbers, places, weights = self._gather(mine)
        found = fused.hardmax(queries, head.tie_tolerance * norms * radius, head.keys(places), places, weights)
        means, leaders, self.counts[active], self.spreads[active] = found[:4]
        self.leaders[active] = numbers[leaders]
        self.leads[active] = (self.spreads[active] == 0) & (places[leaders] == self.state[active]).all(axis=1)
        leads = np.concatenate(self.exchange.rows(self.leads[mine, None].astype(np.float64)))[:, 0] > 0
        certain = (self.spreads[active] == 0) & leads[leaders]
        now, left = active[certain], active[~certain]
        self.since[now], self.origins[now], self.goals[now] = number, self.state[now], places[leaders[certain]]
        moved = self.state[left] + layer.alpha / (1 + layer.alpha) * (means[~certain] - self.state[left])
        self._place_frozen(np.array(self.log_shares), number + 1)
        self.state[left] = moved

    def result(self, log_shares: Float[np.ndarray, " layers_plus_1"], layers: int) -> ShardedRun:
        """Return the tokens after the last layer."""
        self._place_frozen(log_shares, layers)
        fields = (self.state, self.leaders, self.counts, self.spreads, self.since)
        return ShardedRun(*fields, tuple(self.keys_sent))

    def _travelling(self, keys: np.ndarray, head: Head, radius: float, zero_query: bool) -> np.ndarray:
        """Return which own tokens others must see: all when some query, in any process, is zero."""
        every = np.arange(len(keys))
        if self.exchange.largest(float(zero_query)) or not len(keys):
            return every
        kept = surviving_keys(keys, head.tie_tolerance * radius)
        return every if kept is None else kept

    def _gather(self, mine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return numbers, places and weights of the travelling tokens of all processes, by number."""
        parts = [self.first + mine[:, None].astype(np.float64), self.state[mine], self.weights[mine, None]]
        table = np.concatenate(self.exchange.rows(np.concatenate(parts, axis=1)))
        self.keys_sent.append(len(table))
        return table[:, 0].astype(np.int64), np.ascontiguousarray(table[:, 1:-1]), np.ascontiguousarray(table[:, -1])

    def _place_frozen(self, log_shares: Float[np.ndarray, " layers_plus_1"], layer: int) -> None:
        rows = np.flatnonzero(self.since >= 0)
        share = shares(log_shares, layer)[self.since[rows], None]
        self.state[rows] = self.goals[rows] + share * (self.origins[rows] - self.goals[rows])
