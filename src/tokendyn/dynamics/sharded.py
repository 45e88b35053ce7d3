"""A deep hardmax run over several processes: each has some tokens, and only keys that can lead are sent.

Start the processes with ``torchrun`` (gloo or nccl). The tokens of process 0 come first, then those of process 1, and
so on; leaders are numbers in that order. Canonical arithmetic decides over keys sorted by number, so that the result
does not depend on the number of processes, to the last bit, and equals :func:`tokendyn.dynamics.run`.

Where rounding cannot decide who leads, as in sets full of ties, and with a tie tolerance, every process gathers all
tokens and computes the whole run by :class:`tokendyn.dynamics.freeze.Frozen`, the only code that decides such ties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention import fused
from tokendyn.attention.reduced import SMALLEST, surviving_keys
from tokendyn.dynamics.freeze import Following, Frozen, log_shares, may_freeze, shares
from tokendyn.dynamics.layers import Layer
from tokendyn.dynamics.ties import rounding_slack
from tokendyn.errors import BadInputError
from tokendyn.optional import torch
from tokendyn.scales import power_of_two
from tokendyn.shown import ShortRepr

dist = torch.distributed


@dataclass(frozen=True, repr=False)
class ShardedRun(ShortRepr):
    """The tokens of one process after the last layer.

    Attributes
    ----------
    state, previous
        ``(tokens, dim)``: the tokens of this process, and the same one layer earlier.
    leaders, tie_counts, tie_spreads
        ``(tokens,)``: the result of their last attention; leaders are numbers among all tokens.
    first
        The same three of the first layer.
    since
        ``(tokens,)``: the layer from which each is frozen; -1 while it is active.
    doubtful
        Numbers of the tokens of this process with a leader that was chosen within rounding of a tie, without proof.
    keys_sent
        For each layer in which a token attended, the number of keys sent by all processes together.
    """

    state: Float[np.ndarray, "tokens dim"]
    previous: Float[np.ndarray, "tokens dim"]
    leaders: Int[np.ndarray, " tokens"]
    tie_counts: Int[np.ndarray, " tokens"]
    tie_spreads: Float[np.ndarray, " tokens"]
    first: Following
    since: Int[np.ndarray, " tokens"]
    doubtful: Int[np.ndarray, " doubtful"]
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
        ``(tokens, dim)``: the tokens of this process, finite float64; there may be none.
    layers
        The same in every process; of one hardmax head with the same ``A``, without ``V`` or feed-forward part.
    weights
        Positive weights of the tokens of this process.
    group
        A process group of torch.distributed, by default the group of all processes; without any, this process runs
        alone.

    Raises
    ------
    BadInputError
        If the layers are outside the freeze theorem, or tokens are not finite.
    """
    if not may_freeze(layers):
        raise BadInputError(
            "run_sharded takes layers of one hardmax head with a fixed A, without V or feed-forward part"
        )
    start = np.array(tokens, dtype=np.float64)
    shard = _Shard(start.copy(), weights, layers, _Exchange(group))
    if not shard.is_ordinary():
        return _run_whole(start, shard, layers)
    previous, first = start, shard.following()
    for number, layer in enumerate(layers):
        if number == len(layers) - 1:
            previous = shard.at(number)
        if not shard.step(layer, number):
            return _run_whole(start, shard, layers)
        first = shard.following() if number == 0 else first
    return shard.result(len(layers), previous, first)


def _run_whole(tokens: Float[np.ndarray, "tokens dim"], shard: "_Shard", layers: Sequence[Layer]) -> ShardedRun:
    """Compute the run of all tokens in every process; return the tokens of this one."""
    table = np.concatenate(shard.exchange.rows(np.concatenate([tokens, shard.weights[:, None]], axis=1)))
    frozen = Frozen(np.ascontiguousarray(table[:, :-1]), layers, weights=np.ascontiguousarray(table[:, -1]))
    previous, first = frozen.advance(0), frozen.following
    for number, layer in enumerate(layers):
        if number == len(layers) - 1:
            previous = frozen.advance(number).copy()
        frozen.step(layer, number)
        first = frozen.following.copy() if number == 0 else first
    own, following = slice(shard.first, shard.first + len(tokens)), frozen.following
    doubtful = frozen.doubtful - shard.first
    return ShardedRun(
        state=frozen.advance(len(layers))[own],
        previous=previous[own],
        leaders=following.leaders[own],
        tie_counts=following.tie_counts[own],
        tie_spreads=following.tie_spreads[own],
        first=Following(
            leaders=first.leaders[own], tie_counts=first.tie_counts[own], tie_spreads=first.tie_spreads[own]
        ),
        since=frozen.since[own],
        doubtful=doubtful[(doubtful >= 0) & (doubtful < len(tokens))],
        keys_sent=(*shard.keys_sent, len(table)),
    )


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
        # Gathering needs equal shapes: rows are padded to the longest part and cut again.
        padded = torch.zeros(max(sizes), rows.shape[1], dtype=torch.float64, device=self.device)
        padded[: len(rows)] = torch.from_numpy(rows)
        gathered = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(gathered, padded, group=self.group)
        return [part[:size].cpu().numpy() for part, size in zip(gathered, sizes, strict=True)]


class _Shard:
    """The tokens of one process in a run."""

    def __init__(
        self, tokens: np.ndarray, weights: np.ndarray | None, layers: Sequence[Layer], exchange: _Exchange
    ) -> None:
        self.exchange, self.state, count = exchange, tokens, len(tokens)
        self.weights = np.ones(count) if weights is None else np.array(weights, dtype=np.float64)
        finite = np.isfinite(tokens).all() and np.isfinite(self.weights).all()
        if exchange.largest(float(not (finite and (self.weights > 0).all()))):
            raise BadInputError("tokens and weights must be finite and weights positive, in every process")
        sizes = [int(part[0, 0]) for part in exchange.rows(np.array([[float(count)]]))]
        self.first = sum(sizes[: exchange.rank])
        self.leaders = np.arange(count, dtype=np.int64) + self.first
        self.counts, self.since = np.zeros(count, dtype=np.int64), np.full(count, -1, dtype=np.int64)
        self.spreads, self.leads = np.zeros(count), np.zeros(count, dtype=bool)
        self.origins, self.goals = tokens.copy(), tokens.copy()
        self.head, self.log_shares = layers[0].heads[0], log_shares(layers)
        self.largest = exchange.largest(float(np.abs(tokens).max(initial=0.0)))
        self.keys_sent: list[int] = []

    def is_ordinary(self) -> bool:
        """Return whether there is no tie tolerance, and scores of these tokens neither overflow nor underflow."""
        head, scales = self.head, [power_of_two(np.array([self.largest]))]
        scales += [power_of_two(matrix) for matrix in (head.score, head.query, head.key) if matrix is not None]
        return head.tie_tolerance == 0 and all(scale == 1 for scale in scales)

    def step(self, layer: Layer, number: int) -> bool:
        """Apply one layer and return True; return False when rounding cannot decide a leader in some process.

        Once all tokens of all processes are frozen, only one number is sent for each layer.
        """
        # Every process must make the same collective calls, so each decision to return is taken from a maximum over
        # all processes.
        active = np.flatnonzero(self.since < 0)
        if not self.exchange.largest(float(active.size)):
            return True
        head = self.head
        queries, keys = head.queries(self.state[active]), head.keys(self.state)
        radius = self.exchange.largest(float(np.sqrt((keys * keys).sum(axis=1)).max(initial=0.0)))
        norms = np.sqrt((queries * queries).sum(axis=1))
        slack = rounding_slack(head, queries, radius, self.largest, number, float(self.log_shares[number]))
        margin = float((slack / np.where(norms > 0, norms, np.inf)).max(initial=0.0))
        travelling = self._travelling(keys, self.exchange.largest(margin), bool((norms * radius <= SMALLEST).any()))
        numbers, points, weights = self._gather(travelling)
        result = fused.hardmax(queries, slack, head.keys(points), points, weights)
        means, leaders, self.counts[active], self.spreads[active] = result[:4]
        doubtful = (self.spreads[active] > 0) | ((self.counts[active] > 1) & (number > 0))
        if self.exchange.largest(float(doubtful.any())):
            return False
        self.leaders[active] = numbers[leaders]
        # The freeze theorem of ``Frozen``, for tokens that follow one point: a point stays when its leader sits on it,
        # and a token that follows such a point follows it for ever.
        self.leads[active] = (self.spreads[active] == 0) & (points[leaders] == self.state[active]).all(axis=1)
        leads = np.concatenate(self.exchange.rows(self.leads[travelling, None].astype(np.float64)))[:, 0] > 0
        certain = (self.spreads[active] == 0) & leads[leaders]
        now, left = active[certain], active[~certain]
        self.since[now], self.origins[now], self.goals[now] = number, self.state[now], points[leaders[certain]]
        moved = self.state[left] + layer.alpha / (1 + layer.alpha) * (means[~certain] - self.state[left])
        self._place_frozen(number + 1)
        self.state[left] = moved
        return True

    def at(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return a copy of the own tokens after ``layer`` layers, the number of layers applied."""
        self._place_frozen(layer)
        return self.state.copy()

    def following(self) -> Following:
        """Return the result of the last attention of the own tokens."""
        return Following(leaders=self.leaders.copy(), tie_counts=self.counts.copy(), tie_spreads=self.spreads.copy())

    def result(self, layers: int, previous: Float[np.ndarray, "tokens dim"], first: Following) -> ShardedRun:
        """Return the tokens after the last layer."""
        return ShardedRun(
            state=self.at(layers),
            previous=previous,
            leaders=self.leaders,
            tie_counts=self.counts,
            tie_spreads=self.spreads,
            first=first,
            since=self.since,
            doubtful=np.empty(0, dtype=np.int64),
            keys_sent=tuple(self.keys_sent),
        )

    def _travelling(self, keys: np.ndarray, margin: float, zero_query: bool) -> np.ndarray:
        """Return the own tokens that other processes need as keys: all when a query of any process is zero."""
        all_rows = np.arange(len(keys))
        if self.exchange.largest(float(zero_query)) or not len(keys):
            return all_rows
        survivors = surviving_keys(keys, margin)
        return all_rows if survivors is None else survivors

    def _gather(self, travelling: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return numbers, points and weights of the sent tokens of all processes, sorted by number."""
        parts = [
            self.first + travelling[:, None].astype(np.float64),
            self.state[travelling],
            self.weights[travelling, None],
        ]
        table = np.concatenate(self.exchange.rows(np.concatenate(parts, axis=1)))
        self.keys_sent.append(len(table))
        return table[:, 0].astype(np.int64), np.ascontiguousarray(table[:, 1:-1]), np.ascontiguousarray(table[:, -1])

    def _place_frozen(self, layer: int) -> None:
        rows = np.flatnonzero(self.since >= 0)
        share = shares(self.log_shares, layer)[self.since[rows], None]
        self.state[rows] = self.goals[rows] + share * (self.origins[rows] - self.goals[rows])
