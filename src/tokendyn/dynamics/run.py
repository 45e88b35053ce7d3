"""Sending tokens through layers."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from tokendyn.attention.dispatch import on_device
from tokendyn.attention.step import Backend
from tokendyn.dynamics.freeze import RATIONAL_BITS, Arithmetic, Following, Frozen, FrozenMotion, may_freeze
from tokendyn.dynamics.layers import AnyLayer, Layer, checked_tokens
from tokendyn.dynamics.rational import bits, rational
from tokendyn.dynamics.trajectory import Trajectory
from tokendyn.errors import BadInputError, ScaleError, listing
from tokendyn.runs.checkpoint import AnyCheckpoint, Checkpoint, State
from tokendyn.runs.memory import check_memory
from tokendyn.runs.provenance import provenance
from tokendyn.words import counted

#: Called after each layer with the number of layers done and the total.
Progress = Callable[[int, int], None]

#: Which layers a trajectory keeps.
Record = Literal["all", "last"] | Sequence[int]


def run(
    tokens: Float[np.ndarray, "tokens dim"],
    layers: Sequence[AnyLayer],
    *,
    labels: Sequence[str] | None = None,
    weights: Float[np.ndarray, " tokens"] | None = None,
    freeze: bool = True,
    record: Record = "all",
    arithmetic: Arithmetic = "float",
    backend: Backend = "auto",
    device: str | None = None,
    processes: int = 1,
    config: dict[str, Any] | None = None,
    progress: Progress | None = None,
    checkpoint: AnyCheckpoint | None = None,
) -> Trajectory:
    """Send one set of tokens through layers and record the trajectory.

    Parameters
    ----------
    tokens
        ``(tokens, dim)`` real and finite; computed in float64.
    layers
        One :class:`Layer` or :class:`ResidualLayer` for each layer; all have the same number of heads.
    labels
        A name for each token; its number by default.
    weights
        Positive token weights (multiplicities).
    freeze
        Let tokens whose leader is proved for all later layers follow it without attending again
        (:class:`~tokendyn.dynamics.freeze.Frozen`).
        This applies to hardmax layers of one head with the same ``A``, without ``V`` or feed-forward part.
    record
        Which layers to keep: ``"all"``; ``"last"``, the last two; or their numbers, 0 for the input. The first and
        the last are always kept. When all tokens froze, :meth:`Trajectory.at` gives the others in closed form.
    arithmetic
        How ties are decided when tokens freeze. ``"float"``: attention in float64 with bounds on its rounding errors;
        where the bounds do not decide who leads, rational arithmetic does as long as it is quick; the remaining tokens
        are listed as ``doubtful``. ``"rational"``: leaders are exact and states rounded once; refused where it would
        take about a minute or more. ``"interval"``: bounds only, for any number of tokens.
    backend
        See :func:`tokendyn.attention.attend`.
    device
        A torch device that computes the attention, such as ``"cuda"``, in place of a backend. Hardmax returns the same
        bits there.
    processes
        Number of processes of this machine that share the tokens; the result has the same bits. For hardmax layers
        that freeze and ``record="last"``; for several machines, call :func:`tokendyn.dynamics.sharded.run_sharded`.
    config
        Settings to add to the provenance.
    progress
        Called after each layer.
    checkpoint
        Where the state of a run that does not freeze is saved, a path or a :class:`~tokendyn.Checkpoint`; a stopped
        run resumes from it, to the same bits, with the same backend or device. (Hardmax runs that freeze take seconds
        and start again.)

    Raises
    ------
    BadInputError
        If the tokens are not a finite real matrix with at least one row, the layers do not fit, or the recorded states
        exceed the memory of the machine.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import Layer, run
    >>> tokens = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.5]])
    >>> trajectory = run(tokens, [Layer(alpha=1.0)] * 3)
    >>> trajectory.states[:, 2]
    array([[1.    , 0.5   ],
           [1.5   , 0.25  ],
           [1.75  , 0.125 ],
           [1.875 , 0.0625]])
    >>> trajectory.status
    'completed'
    """
    saved_at = Checkpoint.at(checkpoint)
    state, names = check_run(tokens, layers, labels=labels, record=record, arithmetic=arithmetic, freeze=freeze)
    backend = on_device(device, backend)
    started = time.perf_counter()
    recording = _Recording(state, layers, record)
    if processes != 1 or isinstance(processes, bool):
        _check_processes(processes, layers, recording, freeze, backend, arithmetic)
        status = _run_sharded(state, layers, weights, processes, recording)
    elif freeze and may_freeze(layers):
        status = _run_frozen(state, layers, weights, backend, arithmetic, recording, progress)
    else:
        if saved_at is not None:
            saved_at.of(state, weights, sorted(recording.selected), tuple(layers), backend)
        status = _run_layers(state, layers, weights, backend, recording, progress, saved_at)
    seconds = time.perf_counter() - started
    return recording.trajectory(names, status, provenance(config or {}, seed=None, seconds=seconds))


def check_run(
    tokens: Float[np.ndarray, "tokens dim"],
    layers: Sequence[AnyLayer],
    *,
    labels: Sequence[str] | None = None,
    record: Record = "all",
    arithmetic: Arithmetic = "float",
    freeze: bool = True,
) -> tuple[Float[np.ndarray, "tokens dim"], tuple[str, ...]]:
    """Return tokens and labels, or raise what :func:`run` raises before it starts."""
    state = checked_tokens(tokens)
    if labels is not None and (isinstance(labels, str) or not isinstance(labels, Iterable)):
        raise BadInputError(f"labels is {type(labels).__name__}, expected a list with a name for each token")
    names = tuple(map(str, range(len(state)))) if labels is None else tuple(map(str, labels))
    if len(names) != len(state):
        raise BadInputError(f"{counted(len(names), 'label')} for {counted(len(state), 'token')}")
    if not isinstance(layers, Sequence) or not all(callable(layer) and hasattr(layer, "heads") for layer in layers):
        raise BadInputError("layers is no list of layers, such as [Layer(heads=(head,))] * 10")
    if len({len(layer.heads) for layer in layers}) != 1:
        raise BadInputError("give at least one layer, and the same number of heads in each")
    if arithmetic not in get_args(Arithmetic):
        raise BadInputError(f"arithmetic must be one of {', '.join(get_args(Arithmetic))}, got {arithmetic!r}")
    recording = _Recording(state, layers, record)
    if arithmetic != "float":
        _check_arithmetic(arithmetic, layers, recording, freezes=freeze and may_freeze(layers))
    return state, names


class _Recording:
    """The recorded layers: states, and the attention of the layer after each."""

    def __init__(self, state: np.ndarray, layers: Sequence[AnyLayer], record: Record) -> None:
        self.heads, self.selected = len(layers[0].heads), wanted_layers(record, len(layers))
        numbers = 2 * len(self.selected) * state.shape[0] * (state.shape[1] + 3 * self.heads)
        what = f"{counted(len(self.selected), 'layer')} of {counted(len(state), 'token')}"
        check_memory(8 * numbers, what, 'record fewer layers, as by record="last"')
        self.numbers, self.states, self.followings = [0], [state], list[tuple[Following, ...]]()
        self.motion: FrozenMotion | None = None
        self.doubtful: np.ndarray = np.empty(0, dtype=np.int64)

    def follow(self, number: int, following: tuple[Following, ...]) -> None:
        """Record the attention of layer ``number`` when its input is recorded."""
        if number == self.numbers[-1]:
            self.followings.append(following)

    def keep(self, number: int, state: np.ndarray) -> None:
        """Record the state after ``number`` layers, once."""
        if number > self.numbers[-1]:
            self.numbers.append(number)
            self.states.append(state)

    def state(self, newest: np.ndarray, done: int) -> State:
        """Return the state from which a run resumes after ``done`` layers."""
        arrays = {
            name: np.array([[getattr(following, name) for following in row] for row in self.followings])
            for name in ("leaders", "tie_counts", "tie_spreads")
        }
        record = {"done": done, "numbers": self.numbers}
        return State({"newest": newest, "states": np.array(self.states), **arrays}, record)

    def take_up(self, state: State) -> tuple[np.ndarray, int]:
        """Restore the result of :meth:`state`; return the newest tokens and the number of layers done."""
        arrays = state.arrays
        self.numbers, self.states = list(state.record["numbers"]), list(arrays["states"])
        rows = zip(arrays["leaders"], arrays["tie_counts"], arrays["tie_spreads"], strict=True)
        self.followings = [tuple(Following(*fields) for fields in zip(*row, strict=True)) for row in rows]
        return arrays["newest"], int(state.record["done"])

    def trajectory(
        self, labels: tuple[str, ...], status: Literal["completed", "diverged"], record: dict[str, Any]
    ) -> Trajectory:
        """Return the recording as a trajectory."""
        shape = (len(self.states) - 1, self.heads, len(labels))
        followings = self.followings[: shape[0]]
        return Trajectory(
            states=np.array(self.states),
            leaders=np.array([[following.leaders for following in row] for row in followings], dtype=np.int64).reshape(
                shape
            ),
            tie_counts=np.array(
                [[following.tie_counts for following in row] for row in followings], dtype=np.int64
            ).reshape(shape),
            tie_spreads=np.array(
                [[following.tie_spreads for following in row] for row in followings], dtype=np.float64
            ).reshape(shape),
            labels=labels,
            status=status,
            provenance=record,
            recorded=np.array(self.numbers),
            motion=self.motion,
            doubtful=self.doubtful,
        )


def _check_arithmetic(
    arithmetic: Arithmetic, layers: Sequence[AnyLayer], recording: "_Recording", *, freezes: bool
) -> None:
    """Raise when a run cannot be computed in an arithmetic, or would take too long."""
    if not freezes or layers[0].heads[0].tie_tolerance > 0:
        raise BadInputError(
            f'arithmetic="{arithmetic}" takes layers of one hardmax head with a fixed A, without V, feed-forward part '
            'or tie tolerance; take arithmetic="float"'
        )
    length = sum(bits(1 + rational(layer.alpha)) for layer in layers if isinstance(layer, Layer)) + 128
    numbers = recording.states[0].size * len(recording.selected)
    if arithmetic == "rational" and length * numbers > RATIONAL_BITS:
        raise BadInputError(
            f"{numbers} rational coordinates of up to {length} bits take too long; record fewer layers "
            '(record="last"), use fewer tokens or layers, an alpha with a short binary fraction such as 0.5, or '
            'arithmetic="interval"'
        )


def wanted_layers(record: Record, layers: int) -> set[int]:
    """Return the numbers of the layers to record, always with the first and the last."""
    if isinstance(record, str) and record not in ("all", "last"):
        raise BadInputError(f'record must be "all", "last" or numbers of layers, got {record!r}')
    if isinstance(record, str) and record == "all":
        return set(range(layers + 1))
    chosen = {layers - 1} if isinstance(record, str) else _layer_numbers(record)
    wrong = sorted(number for number in chosen if not 0 <= number <= layers)
    if wrong:
        raise BadInputError(f"layers to record must be between 0 and {layers}, got {listing(wrong)}")
    return chosen | {0, layers}


def _layer_numbers(record: Any) -> set[int]:
    """Return the layers to record, or raise when they are no list of whole numbers."""
    numbers = record.tolist() if isinstance(record, np.ndarray) else record
    if not isinstance(numbers, Iterable) or not all(isinstance(number, int | np.integer) for number in numbers):
        raise BadInputError(f'record must be "all", "last" or whole numbers of layers, such as [0, 10], got {record!r}')
    return set(map(int, numbers))


def _run_layers(
    state: np.ndarray,
    layers: Sequence[AnyLayer],
    weights: np.ndarray | None,
    backend: Backend,
    recording: _Recording,
    progress: Progress | None,
    checkpoint: Checkpoint | None,
) -> Literal["completed", "diverged"]:
    """Let all tokens attend in every layer."""
    saved = None if checkpoint is None else checkpoint.read()
    done = 0
    if saved is not None:
        state, done = recording.take_up(saved)
    for number, layer in enumerate(layers[done:], start=done):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                moved, steps = layer(state, weights=weights, backend=backend)
        except ScaleError:
            recording.keep(number, state)
            return "diverged"
        if not np.isfinite(moved).all():
            recording.keep(number, state)
            return "diverged"
        recording.follow(
            number,
            tuple(
                Following(leaders=step.leaders, tie_counts=step.tie_counts, tie_spreads=step.tie_spreads)
                for step in steps
            ),
        )
        state = moved
        if number + 1 in recording.selected:
            recording.keep(number + 1, state)
        if progress is not None:
            progress(number + 1, len(layers))
        if checkpoint is not None:
            checkpoint.offer(partial(recording.state, state, number + 1))
    return "completed"


def _check_processes(
    processes: int,
    layers: Sequence[AnyLayer],
    recording: _Recording,
    freeze: bool,
    backend: Backend,
    arithmetic: Arithmetic,
) -> None:
    """Raise with every reason why a run cannot be shared by several processes."""
    problems = [count_problem("processes", processes)]
    if not (freeze and may_freeze(layers)):
        problems.append("processes= takes layers of one hardmax head with a fixed A that may freeze; leave it out")
    if not recording.selected <= {0, len(layers) - 1, len(layers)}:
        problems.append('processes keep the last layers only; take record="last"')
    if backend != "auto" or arithmetic != "float":
        problems.append('processes= takes backend="auto", no device, and arithmetic="float"')
    if any(problems):
        raise BadInputError.all_of("a run over processes", list(filter(None, problems)))


def count_problem(name: str, count: Any) -> str:
    """Return the faults of a number of processes or threads; empty for a whole number of at least 1."""
    is_whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
    return "" if is_whole and int(count) >= 1 else f"{name} must be a whole number of at least 1, got {count!r}"


def _run_sharded(
    state: np.ndarray, layers: Sequence[AnyLayer], weights: np.ndarray | None, processes: int, recording: _Recording
) -> Literal["completed", "diverged"]:
    """Run in several processes of this machine, each with a share of the tokens."""
    from tokendyn.dynamics.processes import run_in_processes

    sharded = run_in_processes(state, [layer for layer in layers if isinstance(layer, Layer)], weights, processes)
    last = len(layers) - 1
    recording.follow(0, (sharded.first,))
    if last > 0 and last in recording.selected:
        recording.keep(last, sharded.previous)
        recording.follow(
            last, (Following(leaders=sharded.leaders, tie_counts=sharded.tie_counts, tie_spreads=sharded.tie_spreads),)
        )
    recording.keep(last + 1, sharded.state)
    recording.doubtful = sharded.doubtful
    return "completed"


def _run_frozen(
    state: np.ndarray,
    layers: Sequence[Layer],
    weights: np.ndarray | None,
    backend: Backend,
    arithmetic: Arithmetic,
    recording: _Recording,
    progress: Progress | None,
) -> Literal["completed", "diverged"]:
    """Run with attention only for tokens whose leader is not proved yet.

    States are convex combinations of the input, so the run cannot diverge.
    """
    frozen = Frozen(state, layers, weights=weights, backend=backend, arithmetic=arithmetic)
    for number, layer in enumerate(layers):
        frozen.step(layer, number)
        if number in recording.selected:
            recording.follow(number, (frozen.following.copy(),))
        if number + 1 in recording.selected:
            recording.keep(number + 1, frozen.advance(number + 1).copy())
        if progress is not None:
            progress(number + 1, len(layers))
    if not frozen.active.size and arithmetic != "rational":
        recording.motion = frozen.motion
    recording.doubtful = frozen.doubtful
    return "completed"
