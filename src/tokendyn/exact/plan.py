"""From labelled token sets to a plan: the queries that the transformer will ask."""

import heapq
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.exact.directions import Line, candidates
from tokendyn.exact.errors import PrecisionError, SeparationError
from tokendyn.exact.planner_kernels import plan_queries
from tokendyn.exact.sequences import Sequences, TokenSets
from tokendyn.exact.set_kernels import distinct_per_sequence, hash_sequences
from tokendyn.words import counted

#: Largest number of sequences that are compared for the message of a SeparationError.
_COMPARED = 1000

#: Class numbers in the s channel: that of sequences that have their label, and that of the first class.
DONE, ROOT = 1, 2


@dataclass(frozen=True)
class Plan:
    """The queries, in the order in which the transformer asks them; labels are given by their numbers.

    Attributes
    ----------
    line
        Direction and values of the tokens.
    asked
        Number of the class that each query asks, from ``ROOT``.
    moved
        Number of the class that sequences with a hit move to; ``DONE`` if they have their label.
    change
        Change of the label output of those sequences.
    low, high
        Ends of the interval: the outermost values that must be hit.
    gap
        Distance from the interval to the nearest value of the class that must not be hit.
    start
        Label of the class ``ROOT`` before any query.
    rest
        Final label of each class, from ``ROOT``: the label of the sequences that no query takes out.
    lagged
        Whether neighbours in the order may share a block (the fused construction).
    slots
        Time slot of each query; with ``lagged``, skipped slots are bubbles.
    """

    line: Line
    asked: Int[np.ndarray, " queries"]
    moved: Int[np.ndarray, " queries"]
    change: Int[np.ndarray, " queries"]
    low: Float[np.ndarray, " queries"]
    high: Float[np.ndarray, " queries"]
    gap: Float[np.ndarray, " queries"]
    start: int
    rest: Int[np.ndarray, " classes"]
    lagged: bool
    slots: Int[np.ndarray, " queries"]

    @property
    def queries(self) -> int:
        """Number of queries."""
        return len(self.asked)

    @property
    def smallest_gap(self) -> float:
        """The smallest gap of a query; infinite without queries."""
        return float(self.gap.min(initial=np.inf))

    def width(self) -> Float[np.ndarray, " queries"]:
        """Return ``w = 2^floor(log2(gap / 2))``, a lower bound of the distance r on a miss."""
        return widths(self.gap)


def widths(gap: Float[np.ndarray, " queries"]) -> Float[np.ndarray, " queries"]:
    """Return the largest powers of two that are at most half the gaps."""
    return np.ldexp(1.0, np.frexp(gap)[1] - 2)


def needed_gap(line: Line, dtype: str, min_margin: float) -> float:
    """Return the smallest gap that a query may have: the largest of ``8 E``, the given margin and a lower limit."""
    # Smaller gaps would make the weight 1/w overflow.
    smallest = float(np.finfo(dtype).smallest_normal) * 16
    return max(8 * line.error, min_margin, smallest)


def make_plan(
    sequences: Sequences,
    sets: TokenSets,
    codes: Int[np.ndarray, " sequences"],
    *,
    direction: str = "auto",
    trials: int = 1,
    seed: int = 0,
    min_margin: float = 0.0,
    lagged: bool = False,
    unique_ids: bool = False,
) -> Plan:
    """Plan the queries along the best of the first ``trials`` directions that work.

    Parameters
    ----------
    sequences, sets, codes
        Sequences whose token sets differ where labels differ, their token sets, and their label numbers.
    direction
        See :func:`tokendyn.exact.directions.candidates`.
    trials
        Number of directions to plan; the one with the fewest queries wins, then the one with the largest gap.
    seed
        Seed of random directions.
    min_margin
        Smallest gap of a query.
    lagged
        Plan for the fused construction.
    unique_ids
        Give sequences that have their label a class of their own (sequence to sequence).

    Raises
    ------
    SeparationError
        If no direction separates all labels; the message names a pair and the remedy.
    PrecisionError
        If the class numbers do not fit the type.
    """
    dtype = str(sequences.tokens.dtype)
    tokens = sequences.tokens[sets.rows]
    plans: list[Plan] = []
    failure: SeparationError | None = None
    if len(np.unique(codes)) == 1:
        trials = 1
    for line in candidates(tokens, direction, seed):
        try:
            plans.append(_plan_on(line, tokens, sets, codes, dtype, min_margin, lagged, unique_ids, direction))
        except SeparationError as error:
            if failure is None or error.gap > failure.gap:  # report the line that came closest to a separation
                failure = error
        if len(plans) == trials:
            break
    if not plans:
        assert failure is not None
        raise failure
    plan = min(plans, key=lambda plan: (plan.queries, -plan.smallest_gap))
    most = 2 ** (np.finfo(dtype).nmant + 1)
    if ROOT + 2 * len(codes) >= most:
        raise PrecisionError(
            f"class numbers of {counted(len(codes), 'sequence')} go up to {2 * len(codes)}, and {dtype} holds "
            "integers up to "
            f"{most}; use dtype='float64'"
        )
    return plan


def _plan_on(
    line: Line,
    tokens: Float[np.ndarray, "tokens dim"],
    sets: TokenSets,
    codes: np.ndarray,
    dtype: str,
    min_margin: float,
    lagged: bool,
    unique_ids: bool,
    direction: str,
) -> Plan:
    margin = needed_gap(line, dtype, min_margin)
    values, symbol_of = np.unique(line.values, return_inverse=True)
    starts, symbols = _symbols(sets, symbol_of.reshape(-1))
    stuck = _merged(starts, symbols, codes)
    if not len(stuck):
        queries, gaps, rest, stuck = plan_queries(starts, symbols, values, codes, margin, lagged)
    if len(stuck):
        remedy = what_parts(direction, dtype, min_margin, margin)
        raise _inseparable(stuck, codes, starts, symbols, values, margin, line, remedy, tokens, sets)
    order, slots = _schedule(queries) if lagged else (np.arange(len(queries)), np.arange(len(queries)))
    queries, gaps = queries[order], gaps[order]
    pure = queries[:, 1] < 0
    final = np.where(pure, queries[:, 2], rest[queries[:, 1]])
    own = ROOT + len(rest) + np.cumsum(pure) - 1 if unique_ids else np.full(len(pure), DONE)
    return Plan(
        line=line,
        asked=queries[:, 0] + ROOT,
        moved=np.where(pure, own, queries[:, 1] + ROOT),
        change=final - rest[queries[:, 0]],
        low=values[queries[:, 3]],
        high=values[queries[:, 4]],
        gap=gaps,
        start=int(rest[0]),
        rest=rest,
        lagged=lagged,
        slots=slots,
    )


def _symbols(sets: TokenSets, symbol_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and the ascending distinct symbols of each sequence."""
    starts, symbols, _ = distinct_per_sequence(symbol_of[sets.members], sets.starts)
    return starts, symbols


def _merged(starts: np.ndarray, symbols: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return two sequences of different labels with the same symbols; empty without such a pair.

    No query separates them, so they are searched before the planning, which would be in vain.
    """
    hashes = hash_sequences(starts, symbols, np.zeros_like(symbols))
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    mates = first[which.reshape(-1)]
    for j in np.flatnonzero(codes != codes[mates]):
        pair = np.array([mates[j], j])
        left, right = (symbols[starts[k] : starts[k + 1]] for k in pair)
        if np.array_equal(left, right):
            return pair
    return np.empty(0, np.int64)


def what_parts(direction: str, dtype: str, min_margin: float, needed: float) -> str:
    """Return the change of settings that separates tokens which meet on a line."""
    if min_margin >= needed:
        return f"lower min_margin (now {min_margin:g})"
    if direction != "auto":
        return "use direction='auto'" + (", or dtype='float64'" if dtype == "float32" else "")
    if dtype == "float32":
        return "use dtype='float64'"
    return (
        f"their differences are too small beside their size for one line in {dtype}: replace each coordinate by the "
        "rank of its value (0, 1, 2, ... for its distinct values), which keeps distinct tokens distinct"
    )


def _inseparable(
    stuck: np.ndarray,
    codes: np.ndarray,
    starts: np.ndarray,
    symbols: np.ndarray,
    values: np.ndarray,
    margin: float,
    line: Line,
    remedy: str,
    tokens: np.ndarray,
    sets: TokenSets,
) -> SeparationError:
    """Return the error for a class that no interval splits, with the closest pair of different labels."""
    points = {int(j): values[symbols[starts[j] : starts[j + 1]]] for j in stuck[:_COMPARED]}
    first = int(stuck[0])
    pairs = [(first, int(j)) for j in stuck[:_COMPARED]]
    # All pairs would be too many: close pairs are neighbours by their first or by their last point on the line.
    for end in (0, -1):
        pairs += pairwise(sorted(points, key=lambda j: points[j][end]))
    pairs = [(i, j) for i, j in pairs if codes[i] != codes[j]]
    if not pairs:
        pairs = [(first, int(stuck[np.argmax(codes[stuck] != codes[first])]))]
        points |= {j: values[symbols[starts[j] : starts[j + 1]]] for j in pairs[0]}
    gaps = [_distance(points[i], points[j]) for i, j in pairs]
    gap = min(gaps)
    i, j = sorted(pairs[gaps.index(gap)])
    return SeparationError(
        f"sequences {i} and {j} have different labels and their tokens merge along {line.name}: they differ by "
        f"{gap:.3g} there, and {margin:.3g} is needed; {_where_they_differ(tokens, line, sets, i, j)}; {remedy}",
        i,
        j,
        gap,
        margin,
    )


def _where_they_differ(tokens: np.ndarray, line: Line, sets: TokenSets, i: int, j: int) -> str:
    """Return the columns in which a token of only one sequence differs from the other's nearest token on the line."""
    rows = [sets.members[sets.starts[k] : sets.starts[k + 1]] for k in (i, j)]
    if np.isin(rows[0], rows[1]).all():  # the other one holds more
        i, j, rows = j, i, rows[::-1]
    alone = rows[0][~np.isin(rows[0], rows[1])][0]
    mate = rows[1][np.argmin(np.abs(line.values[rows[1]] - line.values[alone]))]
    columns = np.flatnonzero(tokens[alone] != tokens[mate])
    shown = ", ".join(f"column {k} ({float(tokens[alone, k])!r} and {float(tokens[mate, k])!r})" for k in columns[:3])
    more = f" and {counted(len(columns) - 3, 'more column')}" if len(columns) > 3 else ""
    return f"a token of sequence {i} is unlike one of sequence {j} in {shown}{more}"


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Hausdorff distance of two ascending sets of numbers."""

    def reach(a: np.ndarray, b: np.ndarray) -> float:
        index = np.searchsorted(b, a)
        right = np.abs(b[np.minimum(index, len(b) - 1)] - a)
        left = np.abs(b[np.maximum(index - 1, 0)] - a)
        return float(np.minimum(left, right).max())

    return max(reach(first, second), reach(second, first))


def _schedule(queries: Int[np.ndarray, "queries 6"]) -> tuple[Int[np.ndarray, " queries"], Int[np.ndarray, " queries"]]:
    """Return an order and time slots in which no query depends on the query just before it.

    A class may be asked directly after its own last query only if the planner allowed it, and a new class never
    directly after the query that made it. Among the classes that may be asked, the one with the longest chain of
    dependent queries comes first (list scheduling).
    """
    waiting: dict[int, list[int]] = {}
    for number, cls in enumerate(queries[:, 0].tolist()):
        waiting.setdefault(cls, []).append(number)
    load = _load(queries, waiting)
    following = dict.fromkeys(waiting, 0)
    later: list[tuple[int, int]] = [(0, 0)] if 0 in waiting else []
    ready: list[tuple[int, int]] = []
    order, slots = [], []
    slot = 0
    while ready or later:
        while later and later[0][0] <= slot:
            cls = heapq.heappop(later)[1]
            heapq.heappush(ready, (-load[waiting[cls][following[cls]]], cls))
        if not ready:
            slot = later[0][0]
            continue
        cls = heapq.heappop(ready)[1]
        number = waiting[cls][following[cls]]
        order.append(number)
        slots.append(slot)
        following[cls] += 1
        if following[cls] < len(waiting[cls]):
            legal = queries[waiting[cls][following[cls]], 5]
            heapq.heappush(later, (slot + (1 if legal else 2), cls))
        child = int(queries[number, 1])
        if child in waiting:
            heapq.heappush(later, (slot + 2, child))
        slot += 1
    return np.array(order, dtype=np.int64), np.array(slots, dtype=np.int64)


def _load(queries: np.ndarray, waiting: dict[int, list[int]]) -> list[int]:
    """Return for each query how many queries of its class and of the classes below depend on it, itself included."""
    load = [0] * len(queries)
    # A child has a larger number than its class, so a pass from the last class sees every child before its parent.
    below: dict[int, int] = {}
    for cls in sorted(waiting, reverse=True):
        total = 0
        for number in reversed(waiting[cls]):
            total += 1 + below.get(int(queries[number, 1]), 0)
            load[number] = total
        below[cls] = total
    return load


def ask(
    plan: Plan, values: Float[np.ndarray, " tokens"], *, everything: bool = False
) -> tuple[int, list[tuple[int, Bool[np.ndarray, " tokens"]]]]:
    """Answer the plan's queries for one sequence, given its tokens on the line.

    Returns
    -------
    label
        The label number with which it ends.
    answers
        For each query that its class is asked (each query with ``everything``): the number of the query, and which
        tokens lie in its interval, widened by a quarter of the gap.
    """
    state, label = ROOT, plan.start
    answers = []
    for query in range(plan.queries):
        if plan.asked[query] != state and not everything:
            continue
        quarter = plan.gap[query] / 4
        hit = (values >= plan.low[query] - quarter) & (values <= plan.high[query] + quarter)
        answers.append((query, hit))
        if hit.any() and plan.asked[query] == state:
            state, label = int(plan.moved[query]), label + int(plan.change[query])
    return label, answers
