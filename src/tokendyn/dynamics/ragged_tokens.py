"""Many sets of tokens in one array, one set after the other, and their work in pieces."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention.checks import as_array, as_weights
from tokendyn.dynamics.layers import checked_tokens
from tokendyn.dynamics.run import count_problem
from tokendyn.errors import BadInputError
from tokendyn.shown import ShortRepr

#: Tokens of one piece of work: large enough that a thread has milliseconds to do, small enough to show progress.
PIECE = 20_000


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
        """Stack ``(tokens, dim)`` arrays; a :class:`RaggedTokens` is returned unchanged.

        Raises
        ------
        BadInputError
            With all sets that are not finite real matrices of the dimension of the first.
        """
        if isinstance(sets, RaggedTokens):
            return sets
        if not isinstance(sets, Iterable):
            raise BadInputError(f"sets is {type(sets).__name__}, expected a list of (tokens, dim) arrays")
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


def checked_sets(sets: RaggedTokens | Iterable[Any]) -> RaggedTokens:
    """Return stacked sets whose numbers are contiguous and finite."""
    if not isinstance(sets, RaggedTokens):
        return RaggedTokens.of(sets)
    tokens = sets.tokens
    if tokens.dtype != np.float64 or not np.isfinite(tokens).all():
        tokens = checked_tokens(tokens) if len(tokens) else tokens.astype(np.float64)
    return RaggedTokens(tokens=np.ascontiguousarray(tokens), offsets=sets.offsets)


def checked_weights(weights: Float[np.ndarray, " tokens"] | None, sets: RaggedTokens) -> Float[np.ndarray, " tokens"]:
    """Return checked weights; all 1 by default."""
    count = (len(sets.tokens),)
    return np.ascontiguousarray(as_weights(weights, count, np.ones(count, dtype=bool)))


def in_pieces(work: Callable[[int, int], None], sets: RaggedTokens, done: int, workers: int) -> Iterator[int]:
    """Do pieces of work of about :data:`PIECE` tokens, in threads; yield the number of sets done, in order.

    Raises
    ------
    BadInputError
        If ``workers`` is not a whole number of at least 1.
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
