"""Labelled sequences as one ragged array, checked, with their token sets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from tokendyn.data.sequences import LabelledSequences
from tokendyn.errors import LISTED, BadInputError
from tokendyn.exact.errors import ContradictoryLabelsError, PrecisionError
from tokendyn.exact.set_kernels import distinct_per_sequence, hash_rows, hash_sequences, same_sequences
from tokendyn.words import counted

Values = Float[np.ndarray, "tokens dim"]


@dataclass(frozen=True)
class Sequences:
    """Sequences of tokens, one after the other.

    Attributes
    ----------
    tokens
        ``(tokens, dim)`` float32 or float64, finite, without negative zeros.
    starts
        ``(sequences + 1,)``: sequence ``j`` holds the rows ``starts[j]`` to ``starts[j + 1]``.
    """

    tokens: Values
    starts: Int[np.ndarray, " sequences_and_end"]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> Values:
        return self.tokens[self.starts[number] : self.starts[number + 1]]

    @property
    def lengths(self) -> Int[np.ndarray, " sequences"]:
        """Tokens of each sequence."""
        return np.diff(self.starts)

    def take(self, numbers: Int[np.ndarray, " chosen"]) -> "Sequences":
        """Return the chosen sequences, in that order."""
        lengths = self.lengths[numbers]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(starts[-1]) + np.repeat(self.starts[numbers] - starts[:-1], lengths)
        return Sequences(self.tokens[rows], starts)


@dataclass(frozen=True)
class TokenSets:
    """The distinct tokens of each sequence.

    Attributes
    ----------
    starts, members
        Sequence ``j`` has the token numbers ``members[starts[j]:starts[j + 1]]``, ascending and distinct.
    counts
        Number of occurrences of each in the sequence.
    rows
        A row of ``Sequences.tokens`` for each token number.
    """

    starts: Int[np.ndarray, " sequences_and_end"]
    members: Int[np.ndarray, " incidences"]
    counts: Int[np.ndarray, " incidences"]
    rows: Int[np.ndarray, " distinct"]


#: Accepted sequences: a list of ``(tokens, dim)`` arrays, one ``(sequences, tokens, dim)`` array, or a reader's result.
Given = Sequence[Any] | np.ndarray | Sequences | LabelledSequences


def gather(sequences: Given, dtype: str = "float64", *, positions: bool = False) -> Sequences:
    """Check sequences and join them in one array of the given type.

    Parameters
    ----------
    sequences
        A list of ``(tokens, dim)`` arrays of any lengths, or one ``(sequences, tokens, dim)`` array.
    dtype
        ``"float64"`` or ``"float32"``.
    positions
        Append a coordinate: the position of the token in its sequence, from 0, divided by a power of two that is
        larger than every length up to 2**20 (so that it is exact, and the same for every set of sequences).

    Raises
    ------
    BadInputError
        If there is no sequence, or some are empty, have wrong shapes, NaN or infinity; the message lists them with
        sequence and position.
    PrecisionError
        If integers do not fit the type.
    """
    ready, exact, arrays = _gather(sequences, dtype, positions)
    _check_exact(exact, arrays, dtype)
    return ready


def gather_any(
    sequences: Given, dtype: str = "float64", *, positions: bool = False
) -> tuple[Sequences, Bool[np.ndarray, " sequences"]]:
    """Check shapes as :func:`gather` does; return the sequences and whether the type can represent each of them.

    Other numbers become the nearest ones of the type; no transformer of this type was built from such a sequence.
    """
    return _gather(sequences, dtype, positions)[:2]


def _gather(
    sequences: Given, dtype: str, positions: bool
) -> tuple[Sequences, Bool[np.ndarray, " sequences"], list[np.ndarray]]:
    if dtype not in ("float32", "float64"):
        raise BadInputError(f"dtype={dtype!r}; expected 'float32' or 'float64'")
    arrays = arrays_of(sequences)
    _check_shapes(arrays)
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens, exact = _cast(arrays, dtype)
    if positions:
        offsets = (np.arange(len(tokens)) - np.repeat(starts[:-1], lengths)) * 2.0**-20
        tokens = np.concatenate([tokens, offsets[:, None].astype(dtype)], axis=1)
    return Sequences(np.ascontiguousarray(tokens), starts), np.logical_and.reduceat(exact, starts[:-1]), arrays


def arrays_of(sequences: Given) -> list[np.ndarray]:
    """Return the sequences as arrays; the error lists those that are not arrays."""
    if isinstance(sequences, Sequences):
        return [sequences[j] for j in range(len(sequences))]
    if isinstance(sequences, LabelledSequences):
        sequences = sequences.sequences
    scalar = getattr(sequences, "ndim", 1) == 0
    if scalar or not isinstance(sequences, Iterable) or isinstance(sequences, (str, bytes, Mapping)):
        raise BadInputError(
            f"the sequences are a {type(sequences).__name__}; expected a list of (tokens, dim) arrays, or one "
            "(sequences, tokens, dim) array"
        )
    arrays, problems = [], []
    for j, sequence in enumerate(sequences):
        if np.ma.is_masked(sequence):
            problems.append(f"sequence {j} has masked entries; leave those tokens out")
            continue
        try:
            arrays.append(np.asarray(sequence))
        except (ValueError, TypeError, RuntimeError) as error:  # rows that differ in length, tensors with a gradient
            ragged = isinstance(error, ValueError) and isinstance(sequence, list | tuple)
            reason = "its tokens differ in length; make them alike" if ragged else str(error).splitlines()[0]
            problems.append(f"sequence {j} is no (tokens, dim) array: {reason}")
    if problems:
        raise BadInputError.first_of("the list of sequences", problems, "sequences")
    return arrays


def with_labels(sequences: Any, labels: Any) -> tuple[Any, Any]:
    """Return the sequences, also of a reader's result, and the given labels or those that were read with them.

    Raises
    ------
    BadInputError
        If there are no labels.
    """
    read = isinstance(sequences, LabelledSequences)
    present = sequences.labels if read and labels is None else labels
    if present is None:
        raise BadInputError("labels is missing; give one label a sequence, or sequences that were read with labels")
    return (sequences.sequences if read else sequences), present


def _check_shapes(arrays: list[np.ndarray]) -> None:
    """Raise one error for all sequences that are not finite ``(tokens, dim)`` matrices of the same dim."""
    if not arrays:
        raise BadInputError("no sequence was given; expected at least one (tokens, dim) array")
    dims = [array.shape[1] for array in arrays if array.ndim == 2 and array.shape[1]]
    dim = dims[0] if dims else 0
    problems = [
        f"sequence {j} {problem}" for j, array in enumerate(arrays) if (problem := _shape_problem(array, dim)) != ""
    ]
    if problems:
        raise BadInputError.first_of("the list of sequences", problems, "sequences")


def _shape_problem(array: np.ndarray, dim: int) -> str:
    if array.ndim in (1, 2) and len(array) == 0:
        return "is empty; remove it, or give it a token that stands for nothing"
    if array.dtype.kind not in "fiub":
        return f"holds {array.dtype}, expected real numbers (if its rows differ in length, make them alike)"
    if array.ndim != 2:
        remedy = "one sequence alone is given as [sequence]; tokens of one number are array[:, None]"
        return f"has shape {array.shape}, expected (tokens, dim): {remedy}"
    if array.shape[1] != dim or dim == 0:
        return f"has tokens of {counted(array.shape[1], 'coordinate')}, the first has {dim}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        position = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        return f"holds NaN or infinity at position {position}; remove or repair that token"
    return ""


def _cast(arrays: list[np.ndarray], dtype: str) -> tuple[Values, Bool[np.ndarray, " tokens"]]:
    """Return all tokens in the given type, without negative zeros, and whether the type can represent each of them."""
    same = len({array.dtype for array in arrays}) == 1
    groups = [np.concatenate(arrays)] if same else arrays
    exact = np.concatenate([~_beyond(group, dtype).any(axis=1) for group in groups])
    most = np.finfo(dtype).max
    with np.errstate(over="ignore"):
        tokens = np.concatenate([group.astype(dtype, copy=False) for group in groups])
    tokens = tokens if exact.all() else np.clip(tokens, -most, most)
    return tokens + tokens.dtype.type(0.0), exact  # -0.0 + 0.0 is 0.0


def _beyond(group: np.ndarray, dtype: str) -> Bool[np.ndarray, "tokens dim"]:
    """Return which numbers are integers that the type cannot represent, or out of its range."""
    with np.errstate(over="ignore"):
        tokens = group.astype(dtype, copy=False)
    bad = ~np.isfinite(tokens)
    limit = 2 ** (np.finfo(dtype).nmant + 1)
    if group.dtype.kind in "iu" and (int(group.max()) > limit or int(group.min()) < -limit):
        bad |= tokens.astype(object) != group.astype(object)
    return bad


def _check_exact(exact: Bool[np.ndarray, " sequences"], arrays: list[np.ndarray], dtype: str) -> None:
    """Raise a PrecisionError for the first number that the type cannot represent."""
    if exact.all():
        return
    sequence = int(np.argmin(exact))
    array = arrays[sequence]
    bad = _beyond(array, dtype)
    position = int(np.argmax(bad.any(axis=1)))
    value = array[position][bad[position]][0]
    remedy = "use dtype='float64'" if dtype == "float32" else "make the integers smaller, such as their ranks"
    raise PrecisionError(f"sequence {sequence}, position {position}: {value} is not exact in {dtype}; {remedy}")


def token_sets(sequences: Sequences) -> TokenSets:
    """Return the distinct tokens of each sequence; equal means equal in every coordinate."""
    numbers, rows = _number_rows(sequences.tokens)
    starts, members, counts = distinct_per_sequence(numbers, sequences.starts)
    return TokenSets(starts=starts, members=members, counts=counts, rows=rows)


def bits_of(tokens: Values) -> UInt64[np.ndarray, "tokens dim"]:
    """Return the bits of the tokens; without negative zeros, equal numbers have equal bits."""
    kind = np.uint32 if tokens.dtype == np.float32 else np.uint64
    return np.ascontiguousarray(tokens).view(kind).astype(np.uint64)


def _number_rows(tokens: Values) -> tuple[np.ndarray, np.ndarray]:
    """Return a number for each row, the same for equal rows, and one row for each number."""
    _, rows, numbers = np.unique(hash_rows(bits_of(tokens)), return_index=True, return_inverse=True)
    if not np.array_equal(tokens[rows][numbers], tokens):  # two rows share a hash: sort them whole instead
        _, rows, numbers = np.unique(tokens, axis=0, return_index=True, return_inverse=True)
    return numbers.reshape(-1).astype(np.int64), rows.astype(np.int64)


def unique_sets(
    sets: TokenSets, *, frequencies: bool = False
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " sequences"]]:
    """Return the first sequence of each distinct token set, and for each sequence the number of its set.

    With ``frequencies``, sequences are the same only if their tokens also occur in the same proportions.
    """
    total = np.gcd.reduceat(sets.counts, sets.starts[:-1]) if frequencies else None
    counts = sets.counts // np.repeat(total, np.diff(sets.starts)) if total is not None else np.zeros_like(sets.counts)
    _, first, which = np.unique(
        hash_sequences(sets.starts, sets.members, counts), return_index=True, return_inverse=True
    )
    which = which.reshape(-1)
    if not same_sequences(sets.starts, sets.members, counts, first[which]):
        numbers: dict[bytes, int] = {}
        parts = (slice(a, b) for a, b in zip(sets.starts[:-1], sets.starts[1:], strict=True))
        keys = [sets.members[part].tobytes() + counts[part].tobytes() for part in parts]
        which = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
        first = np.unique(which, return_index=True)[1]
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order].astype(np.int64), rank[which].astype(np.int64)


def contradictions(
    which: Int[np.ndarray, " sequences"], first: Int[np.ndarray, " kept"], codes: Int[np.ndarray, " sequences"]
) -> Int[np.ndarray, "pairs 2"]:
    """Return pairs of sequences (the first of its set, a later one) that are the same and differ in the label."""
    later = np.flatnonzero(codes != codes[first][which])
    return np.stack([first[which[later]], later], axis=1)


def raise_contradiction(
    pairs: Int[np.ndarray, "pairs 2"], labels: Sequence[Any], codes: np.ndarray, same: str, helps: Sequence[str] = ()
) -> None:
    """Raise a ContradictoryLabelsError for the pairs, which have the same ``same``; return if there is none.

    ``helps`` are remedies for the first pair, in addition to keeping one of the two.
    """
    if len(pairs) == 0:
        return
    lines = [
        f"sequences {i} and {j} have the same {same}, and the labels {labels[codes[i]]!r} and {labels[codes[j]]!r}"
        for i, j in pairs[:LISTED]
    ]
    more = f"\n  and {len(pairs) - LISTED} more pairs" if len(pairs) > LISTED else ""
    remedy = "; ".join(["keep one of the two, or give them one label", *helps])
    raise ContradictoryLabelsError(
        "\n  ".join(lines) + more + f"; {remedy}", first=int(pairs[0][0]), second=int(pairs[0][1])
    )


def remedies(given: Given, ready: Sequences, pair: Int[np.ndarray, " two"], positions: bool) -> list[str]:
    """Return what would distinguish two sequences of the same set: another type, their order, their repetitions."""
    i, j = (int(number) for number in pair)
    if ready.tokens.dtype == np.float32 and not isinstance(given, Sequences) and hasattr(given, "__getitem__"):
        wide = gather([given[i], given[j]], "float64", positions=positions)
        if len(unique_sets(token_sets(wide))[0]) > 1:
            return ["or dtype='float64': they differ, and float32 rounds them to the same"]
    left, right = ready[i], ready[j]
    remedies = []
    if not positions and not np.array_equal(left, right):
        remedies.append("or positions=True, which makes order count")
    counts = [np.unique(tokens, axis=0, return_counts=True)[1] for tokens in (left, right)]
    shares = [count // np.gcd.reduce(count) for count in counts]
    if not positions and not np.array_equal(*shares):
        remedies.append("or multiplicity='frequency' with strategy='auto', which makes repetitions count")
    return remedies
