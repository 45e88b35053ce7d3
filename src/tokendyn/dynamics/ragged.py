"""Layers on many sets of tokens at once: texts, prompts, point clouds, one after the other in one array."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.attention import Head
from tokendyn.attention.checks import as_array, as_weights, check_parameters
from tokendyn.attention.dispatch import known_backends
from tokendyn.attention.step import Backend
from tokendyn.dynamics import ragged_kernels as kernels
from tokendyn.dynamics.freeze import Frozen, log_shares, may_freeze
from tokendyn.dynamics.freeze import shares as shares_left
from tokendyn.dynamics.layers import AnyLayer, Layer, checked_tokens
from tokendyn.dynamics.run import Progress, Record, check_run, count_problem, run, wanted_layers
from tokendyn.dynamics.trajectory import Trajectory
from tokendyn.errors import BadInputError
from tokendyn.results import Paths, Result
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.memory import check_memory
from tokendyn.runs.provenance import provenance
from tokendyn.scales import power_of_two
from tokendyn.shown import ShortRepr
from tokendyn.words import counted

if TYPE_CHECKING:
    import pandas as pd

#: The kernel holds the closed form of every pair of layers, 8 MB at this number of layers.
MOST_LAYERS = 1000

#: Tokens of one piece of work: large enough that a thread has milliseconds to do, small enough to show progress.
PIECE = 20_000

Status = Literal["completed", "diverged"]


@dataclass(frozen=True, repr=False)
class RaggedTokens(ShortRepr):
    """Many sets of tokens of any sizes, stacked; iteration gives the sets back.

    Attributes
    ----------
    tokens
        ``(tokens, dim)`` float64, one set after the other.
    offsets
        ``(sets + 1,)`` int64: set i holds the tokens ``offsets[i]`` to ``offsets[i + 1]``; it may be empty.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import RaggedTokens
    >>> sets = RaggedTokens.of([np.zeros((2, 3)), np.ones((1, 3))])
    >>> len(sets), sets.sizes.tolist(), sets[1].tolist()
    (2, [2, 1], [[1.0, 1.0, 1.0]])
    """

    tokens: Float[np.ndarray, "tokens dim"]
    offsets: Int[np.ndarray, " sets_plus_1"]

    def __post_init__(self) -> None:
        tokens, given = as_array(self.tokens), as_array(self.offsets)
        if tokens.ndim != 2 or not tokens.shape[1]:
            raise BadInputError(f"tokens must be a (tokens, dim) matrix, got {tokens.shape}")
        if given.ndim != 1 or not len(given) or given.dtype.kind not in "iu":
            raise BadInputError(f"offsets must be a list of whole numbers, got {given.dtype} {given.shape}")
        # Differences of unsigned numbers would never be negative.
        offsets = given.astype(np.int64, copy=False)
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "offsets", offsets)
        if offsets[0] != 0 or offsets[-1] != len(tokens) or (np.diff(offsets) < 0).any():
            raise BadInputError(
                f"offsets must ascend from 0 to the number of tokens, {len(tokens)}; got {offsets[0]} to "
                f"{offsets[-1]}" + (", with a descent" if (np.diff(offsets) < 0).any() else "")
            )

    @classmethod
    def of(cls, sets: Iterable[Any]) -> "RaggedTokens":
        """Stack ``(tokens, dim)`` arrays; a :class:`RaggedTokens` is returned as it is.

        Raises
        ------
        BadInputError
            With all sets that are not finite real matrices of the dimension of the first.
        """
        if isinstance(sets, RaggedTokens):
            return sets
        parts, problems = [], []
        for number, given in enumerate(sets):
            array = as_array(given)
            if array.ndim == 2 and not len(array) and array.shape[1]:
                parts.append(array.astype(np.float64))
                continue
            try:
                parts.append(checked_tokens(array))
            except BadInputError as error:
                problems.append(f"set {number}: {error}")
        dims = [part.shape[1] for part in parts]
        problems += [
            f"set {number} has {dim} coordinates, and the first one {dims[0]}"
            for number, dim in enumerate(dims)
            if dim != dims[0] and not problems
        ]
        if not parts and not problems:
            problems.append("there is no set; give at least one (tokens, dim) array")
        if problems:
            raise BadInputError.first_of("sets of tokens", problems, "sets")
        return cls(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))

    @property
    def sizes(self) -> Int[np.ndarray, " sets"]:
        """How many tokens each set has."""
        return np.diff(self.offsets)

    @property
    def dim(self) -> int:
        """Coordinates of a token."""
        return int(self.tokens.shape[1])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> Float[np.ndarray, "tokens dim"]:
        first, last = self.span(number)
        return self.tokens[first:last]

    def __iter__(self) -> Iterator[Float[np.ndarray, "tokens dim"]]:
        return (self[number] for number in range(len(self)))

    def span(self, number: int) -> tuple[int, int]:
        """Return the first token of a set, and the one after its last."""
        if not -len(self) <= number < len(self):
            raise IndexError(f"there is no set {number} among {len(self)}")
        number %= len(self)
        return int(self.offsets[number]), int(self.offsets[number + 1])


@dataclass(frozen=True, repr=False)
class RaggedTrajectory(Result, kind="ragged-trajectory"):
    """Many sets of tokens over the layers; item i is the :class:`~tokendyn.dynamics.Trajectory` of set i.

    Attributes
    ----------
    states
        ``(states, tokens, dim)`` float64 of all sets, stacked as :attr:`offsets` says; NaN after a set diverged.
    leaders, tie_counts, tie_spreads
        ``(layers, heads, tokens)``, as in :class:`~tokendyn.dynamics.Trajectory`; leaders are numbers within the set,
        and -1 after a set diverged.
    offsets
        See :class:`RaggedTokens`.
    recorded
        ``(states,)``: the numbers of the layers after which the states stand.
    last_layers
        ``(sets,)``: the number of layers that each set went through; all of them unless it diverged.
    ends
        ``(tokens, dim)``: the tokens after the last layer that their set went through.
    doubtful
        Tokens of which a leader was decided within rounding of a tie, without proof.
    provenance
        Versions, configuration, seconds.
    """

    states: Float[np.ndarray, "states tokens dim"]
    leaders: Int[np.ndarray, "layers heads tokens"]
    tie_counts: Int[np.ndarray, "layers heads tokens"]
    tie_spreads: Float[np.ndarray, "layers heads tokens"]
    offsets: Int[np.ndarray, " sets_plus_1"]
    recorded: Int[np.ndarray, " states"]
    last_layers: Int[np.ndarray, " sets"]
    ends: Float[np.ndarray, "tokens dim"]
    doubtful: Int[np.ndarray, " doubtful"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def statuses(self) -> tuple[Status, ...]:
        """``"completed"`` or ``"diverged"`` for each set."""
        whole = self.last_layers == self.recorded[-1]
        return tuple("completed" if each else "diverged" for each in whole.tolist())

    @property
    def status(self) -> Status:
        """``"diverged"`` when any set diverged."""
        return "completed" if (self.last_layers == self.recorded[-1]).all() else "diverged"

    @property
    def last(self) -> RaggedTokens:
        """The sets after the last layer that each went through."""
        return RaggedTokens(tokens=self.ends, offsets=self.offsets)

    def summary(self) -> dict[str, Any]:
        """Return the batch in numbers, as JSON values."""
        return {
            "status": self.status, "sets": len(self), "tokens": len(self.ends), "dim": self.ends.shape[1],
            "layers": int(self.recorded[-1]), "diverged": self.statuses.count("diverged"),
            "doubtful": len(self.doubtful),
        }  # fmt: skip

    def describe(self) -> list[str]:
        """Return the batch in a few sentences."""
        facts = self.summary()
        sets, tokens, layers = (counted(facts[f"{noun}s"], noun) for noun in ("set", "token", "layer"))
        lines = [f"{sets} of {tokens} in {counted(facts['dim'], 'dimension')}, {layers}"]
        if facts["diverged"]:
            lines.append(f"{counted(facts['diverged'], 'set')} diverged; their finite layers are kept")
        if facts["doubtful"]:
            lines.append(f"leaders of {counted(facts['doubtful'], 'token')} were decided within rounding of a tie")
        return lines

    def table(self) -> "pd.DataFrame":
        """Return one row for each set: tokens, status, layers that it went through, tokens in doubt."""
        import pandas as pd

        owners = np.searchsorted(self.offsets, self.doubtful, side="right") - 1
        return pd.DataFrame(
            {
                "set": np.arange(len(self)),
                "tokens": np.diff(self.offsets),
                "status": self.statuses,
                "layers": self.last_layers,
                "doubtful": np.bincount(owners, minlength=len(self)),
            }
        )

    def picture(self) -> Paths:
        """Return the ways of the tokens of the sets that did not diverge, coloured by their set."""
        owners = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        finite = (self.last_layers == self.recorded[-1])[owners]
        return Paths(self.states[:, finite], self.recorded, owners[finite])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Trajectory]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Trajectory:
        first, last = self.last.span(number)
        done, own = int(self.last_layers[number]), slice(first, last)
        kept = int(np.searchsorted(self.recorded, done, side="right"))
        states, numbers = self.states[:kept, own], self.recorded[:kept]
        if numbers[-1] != done:
            states = np.concatenate([states, self.ends[None, own]])
            numbers = np.append(numbers, done)
        found = slice(0, len(numbers) - 1)
        inside = (self.doubtful >= first) & (self.doubtful < last)
        return Trajectory(
            states=states,
            leaders=self.leaders[found, :, own],
            tie_counts=self.tie_counts[found, :, own],
            tie_spreads=self.tie_spreads[found, :, own],
            labels=tuple(map(str, range(last - first))),
            status="completed" if done == self.recorded[-1] else "diverged",
            provenance=self.provenance,
            recorded=numbers,
            doubtful=self.doubtful[inside] - first,
        )


@dataclass(frozen=True, repr=False)
class MeanShares(ShortRepr):
    """What each token of a set contributes to the mean of the set after the last layer.

    Attributes
    ----------
    shares
        ``(tokens,)``: ``w`` with ``sum_j p_j z_j(K) = sum_j w_j z_j(0)`` in each set, p the weights of sum 1; not
        negative, of sum 1.
    self_led
        ``(tokens,)``: which tokens are among their own leaders at the last layer.
    """

    shares: Float[np.ndarray, " tokens"]
    self_led: Bool[np.ndarray, " tokens"]


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
    checkpoint: Checkpoint | None = None,
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
        Where the sets that are done are kept; a call that was stopped goes on from there, to the same bits.

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
    sets = _checked(sets)
    given = _weights(weights, sets)
    check_run(sets.tokens[:1] if len(sets.tokens) else np.zeros((1, sets.dim)), layers, record=record, freeze=freeze)
    _check_backend(backend, layers)
    batch = _Batch(sets, given, layers, record, freeze, backend)
    done = 0
    if checkpoint is not None:
        checkpoint.of(sets.tokens, sets.offsets, given, batch.recorded, freeze, tuple(layers), backend)
        found = checkpoint.read()
        done = 0 if found is None else batch.take_up(found)
    for last in _in_pieces(batch.run, sets, done, workers):
        if progress is not None:
            progress(last, len(sets))
        if checkpoint is not None:
            checkpoint.offer(partial(batch.state, last))
    return batch.trajectory(provenance(config or {}, seed=None, seconds=time.perf_counter() - started))


def mean_shares(
    sets: RaggedTokens | Iterable[Any],
    layers: Sequence[AnyLayer],
    *,
    weights: Float[np.ndarray, " tokens"] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> MeanShares:
    """Share the mean of each set after the last layer among its tokens before the first one (our own).

    A layer maps tokens linearly, ``z(k+1) = (c I + (1 - c) P_k) z(k)`` with ``c = 1 / (1 + alpha)`` and P_k the map
    from each token to the weighted mean of its leaders; so ``w <- c w + (1 - c) P_k^T w`` backwards from the normalised
    weights gives ``sum_j p_j z_j(K) = sum_j w_j z_j(0)``. Leaders do not depend on small moves of the tokens, except at
    ties, so w is also the gradient of the mean.

    Parameters
    ----------
    sets, weights, workers, progress
        As for :func:`run_ragged`.
    layers
        Hardmax layers of one head with the same ``A``, without ``V`` or feed-forward part; without any, the shares are
        the weights, and every token leads itself.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import Layer, mean_shares
    >>> mean_shares([np.array([[1.0, 0.0], [2.0, 0.0]])], [Layer(alpha=1.0)]).shares
    array([0.25, 0.75])
    """
    sets = _checked(sets)
    if layers and not may_freeze(layers):
        raise BadInputError(
            "mean_shares takes layers of one hardmax head with a fixed A, without V or feed-forward part"
        )
    batch = _Shares(sets, _weights(weights, sets), [layer for layer in layers if isinstance(layer, Layer)])
    for last in _in_pieces(batch.run, sets, 0, workers):
        if progress is not None:
            progress(last, len(sets))
    return MeanShares(shares=batch.shares, self_led=batch.self_led)


class _Hardmax:
    """What the kernel needs to know of layers of one hardmax head, and whether it applies to them."""

    def __init__(self, sets: RaggedTokens, weights: np.ndarray, layers: Sequence[Layer]) -> None:
        self.sets, self.weights, self.layers = sets, weights, layers
        head = layers[0].heads[0] if layers else Head()
        self.way = way_of(tuple(layer.alpha for layer in layers))
        self.head = head_of(head.score if head.query is None else head.query, head.key, sets.dim)
        matrices = [matrix for matrix in self.head[:2] if matrix.size]
        self.unsure = np.zeros(len(sets), dtype=bool)
        self.applies = (
            head.tie_tolerance == 0
            and len(layers) <= MOST_LAYERS
            and all(power_of_two(matrix) == 1 for matrix in matrices)
        )

    def rows(self, first: int, last: int) -> Int[np.ndarray, " sets"]:
        """Return the sets ``first`` to ``last`` for the kernel, and none where it does not apply."""
        if self.applies:
            return np.arange(first, last)
        self.unsure[first:last] = True
        return np.empty(0, dtype=np.int64)

    def left(self, first: int, last: int) -> list[int]:
        """Return which of the sets ``first`` to ``last`` the kernel did not do."""
        return [first + int(number) for number in np.flatnonzero(self.unsure[first:last])]


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
        self.kernel = _Hardmax(sets, weights, layers) if freeze and may_freeze(layers) else None

    def run(self, first: int, last: int) -> None:
        """Run the sets ``first`` to ``last``."""
        alone: Iterable[int] = range(first, last)
        if self.kernel is not None:
            way, head, rows = self.kernel.way, self.kernel.head, self.kernel.rows(first, last)
            kernels.run_sets(
                self.sets.tokens, self.sets.offsets, self.weights, rows, way, head, len(self.layers), self.recorded,
                self.states, self.leaders[:, 0], self.tie_counts[:, 0], self.kernel.unsure,
            )  # fmt: skip
            own = slice(self.sets.offsets[first], self.sets.offsets[last])
            self.ends[own] = self.states[-1, own]
            alone = self.kernel.left(first, last)
        for number in alone:
            self._run_alone(number)

    def _run_alone(self, number: int) -> None:
        """Run one set as :func:`run` does, and take over what it recorded."""
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
        """Return what a run needs to go on after some sets."""
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
        """Return what was found."""
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


class _Shares(_Hardmax):
    """The arrays of :class:`MeanShares` while its sets are run."""

    def __init__(self, sets: RaggedTokens, weights: np.ndarray, layers: Sequence[Layer]) -> None:
        super().__init__(sets, weights, layers)
        self.shares, self.self_led = np.zeros(len(sets.tokens)), np.zeros(len(sets.tokens), dtype=bool)

    def run(self, first: int, last: int) -> None:
        """Share the means of the sets ``first`` to ``last``."""
        kernels.share_sets(
            self.sets.tokens, self.sets.offsets, self.weights, self.rows(first, last), self.way, self.head,
            len(self.layers), self.shares, self.self_led, self.unsure,
        )  # fmt: skip
        for number in self.left(first, last):
            own = slice(*self.sets.span(number))
            if own.start < own.stop:
                found = _shares_by_core(self.sets[number], self.weights[own], self.layers)
                self.shares[own], self.self_led[own] = found


def _shares_by_core(
    tokens: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"], layers: Sequence[Layer]
) -> tuple[Float[np.ndarray, " tokens"], Bool[np.ndarray, " tokens"]]:
    """Return shares and who leads itself in one set, ties decided as :func:`run` decides them: there is one rule."""
    frozen = Frozen(np.ascontiguousarray(tokens), layers, weights=weights)
    followed: list[tuple[np.ndarray, dict[int, np.ndarray]]] = []
    for number, layer in enumerate(layers):
        frozen.step(layer, number)
        several = np.flatnonzero(frozen.following.tie_counts > 1).tolist()
        followed.append((frozen.following.leaders.copy(), {token: frozen.followed(token) for token in several}))
    w = p = weights / np.sum(weights)
    for layer, (leaders, ties) in zip(reversed(layers), reversed(followed), strict=True):
        c = 1.0 / (1.0 + layer.alpha)
        spare, single = c * w, np.ones(len(w), dtype=bool)
        single[list(ties)] = False
        np.add.at(spare, leaders[single], (1.0 - c) * w[single])
        for token, members in ties.items():
            spare[members] += (1.0 - c) * w[token] * p[members] / np.sum(p[members])
        w = spare
    leaders, ties = followed[-1]
    self_led = leaders == np.arange(len(w))
    for token, members in ties.items():
        self_led[token] = token in members
    return w, self_led


@lru_cache(maxsize=64)
def way_of(alphas: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what the kernels need to know of the steps of all layers.

    ``1 / (1 + alpha)`` and the share of each step; the share of a way that is left at layer t after layer k,
    ``[t, k]``; the logarithms of those after layer 0.
    """
    steps = np.array(alphas, dtype=np.float64)
    logarithms = log_shares([Layer(alpha) for alpha in alphas]) if alphas else np.zeros(1)
    left = np.ones((0, 0)) if len(alphas) > MOST_LAYERS else np.ones((len(alphas) + 1, len(alphas) + 1))
    for layer in range(len(left)):
        left[layer, : layer + 1] = shares_left(logarithms, layer)
    return 1.0 / (1.0 + steps), steps / (1.0 + steps), left, logarithms


def head_of(
    query: Float[np.ndarray, "rank dim"] | None, key: Float[np.ndarray, "rank dim"] | None, dim: int
) -> tuple[np.ndarray, np.ndarray, tuple[int, float, float]]:
    """Return what the kernels need to know of a head: its two matrices, empty for none; their rank and two norms."""
    for matrix in (query, key):
        if matrix is not None and matrix.shape[1] != dim:
            raise BadInputError(f"a matrix of shape {matrix.shape} does not fit tokens of {dim} coordinates")
    none = np.empty((0, 0))
    first, second = (none if matrix is None else np.ascontiguousarray(matrix) for matrix in (query, key))
    rank = dim if query is None else len(query)
    return first, second, (rank, float(kernels.largest_row_sum(first)), float(kernels.largest_row_sum(second)))


def _checked(sets: RaggedTokens | Iterable[Any]) -> RaggedTokens:
    """Return stacked sets whose numbers are contiguous and finite."""
    if not isinstance(sets, RaggedTokens):
        return RaggedTokens.of(sets)
    tokens = sets.tokens
    if tokens.dtype != np.float64 or not np.isfinite(tokens).all():
        tokens = checked_tokens(tokens) if len(tokens) else tokens.astype(np.float64)
    return RaggedTokens(tokens=np.ascontiguousarray(tokens), offsets=sets.offsets)


def _weights(weights: Float[np.ndarray, " tokens"] | None, sets: RaggedTokens) -> Float[np.ndarray, " tokens"]:
    """Return checked weights; all 1 by default."""
    count = (len(sets.tokens),)
    return np.ascontiguousarray(as_weights(weights, count, np.ones(count, dtype=bool)))


def _check_backend(backend: Backend, layers: Sequence[AnyLayer]) -> None:
    """Raise for a backend that does not exist: the compiled loop, which needs none, would not notice."""
    for temperature in {head.inverse_temperature for layer in layers for head in layer.heads}:
        check_parameters(temperature, 0.0, backend=backend, known=known_backends(temperature))


def _in_pieces(work: Callable[[int, int], None], sets: RaggedTokens, done: int, workers: int) -> Iterator[int]:
    """Do pieces of work of about :data:`PIECE` tokens, in threads; yield the number of sets done, in order.

    Raises
    ------
    BadInputError
        If ``workers`` is no whole number of at least 1.
    """
    if problem := count_problem("workers", workers):
        raise BadInputError(problem)
    cuts = np.searchsorted(sets.offsets, np.arange(PIECE, int(sets.offsets[-1]), PIECE), side="left")
    edges = np.unique([done, *(int(cut) for cut in cuts if cut > done), len(sets)]).tolist()
    if workers <= 1 or len(edges) <= 2:
        for first, last in pairwise(edges):
            work(first, last)
            yield last
        return
    with ThreadPoolExecutor(workers) as pool:
        for last, _ in zip(edges[1:], pool.map(work, edges[:-1], edges[1:]), strict=True):
            yield last
