"""Layers on many sets of tokens at once: texts, prompts, point clouds, one after the other in one array."""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.attention.checks import check_parameters
from tokendyn.attention.dispatch import known_backends
from tokendyn.attention.step import Backend
from tokendyn.dynamics import ragged_kernels as kernels
from tokendyn.dynamics.freeze import may_freeze
from tokendyn.dynamics.layers import AnyLayer
from tokendyn.dynamics.ragged_hardmax import HardmaxStack
from tokendyn.dynamics.ragged_tokens import RaggedTokens, checked_sets, checked_weights, in_pieces
from tokendyn.dynamics.ragged_trajectory import RaggedTrajectory
from tokendyn.dynamics.run import Progress, Record, check_run, run, wanted_layers
from tokendyn.runs.checkpoint import AnyCheckpoint, Checkpoint, State
from tokendyn.runs.memory import check_memory
from tokendyn.runs.provenance import provenance


def run_ragged(
    sets: RaggedTokens | Iterable[Any],
    layers: Sequence[AnyLayer],
    *,
    weights: Float[np.ndarray, " tokens"] | None = None,
    freeze: bool = True,
    record: Record = "last",
    backend: Backend = "auto",
    workers: int = 1,
    config: dict[str, Any] | None = None,
    progress: Progress | None = None,
    checkpoint: AnyCheckpoint | None = None,
) -> RaggedTrajectory:
    """Send many sets of tokens through the same layers, each on its own, in one call.

    Each set gets the states, leaders and ties that :func:`tokendyn.dynamics.run` gives it, to the same bits. Small sets
    under hardmax layers of one head go through one compiled loop, thousands of them in milliseconds; a set in which
    rounding could decide a tie, and every other kind of layer, goes through :func:`run`.

    Parameters
    ----------
    sets
        A :class:`RaggedTokens`, or ``(tokens, dim)`` arrays of one dimension.
    layers, freeze, record, backend, config
        See :func:`tokendyn.dynamics.run`; ``record`` is ``"last"`` by default.
    weights
        Positive weights of all tokens, in the order of the stacked sets.
    workers
        Threads over the sets. The result does not depend on it.
    progress
        Called with the number of sets done and their number.
    checkpoint
        Where the sets that are done are kept, a path or a :class:`~tokendyn.Checkpoint`; a call that was stopped
        resumes from it, with bit-identical results.

    Raises
    ------
    BadInputError
        For sets that are not finite real matrices of one dimension, layers that do not fit, or more than half of the
        memory of the machine.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import Layer, run_ragged
    >>> cloud = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.5]])
    >>> batch = run_ragged([cloud, cloud[:2]], [Layer(alpha=1.0)] * 3)
    >>> batch.statuses
    ('completed', 'completed')
    >>> [end.round(4).tolist() for end in batch.last]
    [[[2.0, 0.0], [0.0, 1.0], [1.875, 0.0625]], [[2.0, 0.0], [0.0, 1.0]]]
    """
    started = time.perf_counter()
    sets = checked_sets(sets)
    given = checked_weights(weights, sets)
    check_run(sets.tokens[:1] if len(sets.tokens) else np.zeros((1, sets.dim)), layers, record=record, freeze=freeze)
    _check_backend(backend, layers)
    batch = _Batch(sets, given, layers, record, freeze, backend)
    done = 0
    saved_at = Checkpoint.at(checkpoint)
    if saved_at is not None:
        saved_at.of(sets.tokens, sets.offsets, given, batch.recorded, freeze, tuple(layers), backend)
        found = saved_at.read()
        done = 0 if found is None else batch.take_up(found)
    for last in in_pieces(batch.run, sets, done, workers):
        if progress is not None:
            progress(last, len(sets))
        if saved_at is not None:
            saved_at.offer(partial(batch.state, last))
    return batch.trajectory(provenance(config or {}, seed=None, seconds=time.perf_counter() - started))


class _Batch:
    """The arrays of a :class:`RaggedTrajectory` while its sets are run."""

    def __init__(
        self,
        sets: RaggedTokens,
        weights: np.ndarray,
        layers: Sequence[AnyLayer],
        record: Record,
        freeze: bool,
        backend: Backend,
    ) -> None:
        self.sets, self.weights, self.layers, self.freeze, self.backend = sets, weights, layers, freeze, backend
        self.recorded = np.array(sorted(wanted_layers(record, len(layers))), dtype=np.int64)
        count, dim, states, heads = len(sets.tokens), sets.dim, len(self.recorded), len(layers[0].heads)
        what = f"{states} layers of {count} tokens in {len(sets)} sets"
        check_memory(8 * (states + 1) * count * (dim + 3 * heads), what, 'record fewer layers, as by record="last"')
        self.states = np.full((states, count, dim), np.nan)
        self.leaders = np.full((states - 1, heads, count), -1, dtype=np.int64)
        self.tie_counts = np.zeros((states - 1, heads, count), dtype=np.int64)
        self.tie_spreads = np.zeros((states - 1, heads, count))
        self.ends = sets.tokens.copy()
        self.last_layers = np.full(len(sets), len(layers), dtype=np.int64)
        self.doubtful = np.zeros(count, dtype=bool)
        self.unsure = np.zeros(len(sets), dtype=bool)
        self.stack = HardmaxStack.of(layers, sets.dim) if freeze and may_freeze(layers) else None

    def run(self, first: int, last: int) -> None:
        """Run the sets ``first`` to ``last``."""
        alone: Iterable[int] = range(first, last)
        if self.stack is not None:
            kernels.run_sets(
                self.sets.tokens, self.sets.offsets, self.stack.rows(first, last, self.unsure), self.stack.way,
                self.stack.head, len(self.layers), self.recorded,
                self.states, self.leaders[:, 0], self.tie_counts[:, 0], self.unsure,
            )  # fmt: skip
            own = slice(self.sets.offsets[first], self.sets.offsets[last])
            self.ends[own] = self.states[-1, own]
            alone = (first + np.flatnonzero(self.unsure[first:last])).tolist()
        for number in alone:
            self._run_alone(number)

    def _run_alone(self, number: int) -> None:
        """Run one set as :func:`run` does, and store its records."""
        start, end = self.sets.span(number)
        own = slice(start, end)
        if start == end:
            return
        found = run(
            self.sets[number], self.layers, weights=self.weights[own], freeze=self.freeze,
            record=self.recorded.tolist(), backend=self.backend,
        )  # fmt: skip
        self.last_layers[number], self.ends[own] = found.layers, found.states[-1]
        kept = int(np.searchsorted(self.recorded, found.layers, side="right"))
        self.states[:kept, own], self.states[kept:, own] = found.states[:kept], np.nan
        steps = len(found.leaders)
        for name in ("leaders", "tie_counts", "tie_spreads"):
            getattr(self, name)[:steps, :, own] = getattr(found, name)
        self.doubtful[start + found.doubtful] = True

    def state(self, done: int) -> State:
        """Return the state from which a run continues after some sets."""
        last = int(self.sets.offsets[done])
        arrays = {name: getattr(self, name)[..., :last] for name in ("leaders", "tie_counts", "tie_spreads")}
        arrays |= {"states": self.states[:, :last], "ends": self.ends[:last], "doubtful": self.doubtful[:last]}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return State({**arrays, "last_layers": self.last_layers[:done]}, {"done": done})

    def take_up(self, state: State) -> int:
        """Go on from what :meth:`state` returned; return the number of sets done."""
        done = int(state.record["done"])
        last = int(self.sets.offsets[done])
        for name in ("leaders", "tie_counts", "tie_spreads"):
            getattr(self, name)[..., :last] = state.arrays[name]
        self.states[:, :last], self.ends[:last] = state.arrays["states"], state.arrays["ends"]
        self.doubtful[:last], self.last_layers[:done] = state.arrays["doubtful"], state.arrays["last_layers"]
        return done

    def trajectory(self, record: dict[str, Any]) -> RaggedTrajectory:
        """Return the result of the run."""
        return RaggedTrajectory(
            states=self.states,
            leaders=self.leaders,
            tie_counts=self.tie_counts,
            tie_spreads=self.tie_spreads,
            offsets=self.sets.offsets,
            recorded=self.recorded,
            last_layers=self.last_layers,
            ends=self.ends,
            doubtful=np.flatnonzero(self.doubtful),
            provenance=record,
        )


def _check_backend(backend: Backend, layers: Sequence[AnyLayer]) -> None:
    """Raise for a backend that does not exist: the compiled loop, which needs none, would not notice."""
    for temperature in {head.inverse_temperature for layer in layers for head in layer.heads}:
        check_parameters(temperature, 0.0, backend=backend, known=known_backends(temperature))
