"""From labelled token sets to a list of queries: the questions that the transformer will ask."""

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

#: Sequences that are compared for the message of a refusal.
_COMPARED = 1000

#: Class numbers as the s channel holds them: sequences that have their label, and the first class.
DONE, ROOT = 1, 2


@dataclass(frozen=True)
class Plan:
    """The queries, in the order in which the transformer asks them; all in the labels' numbers.

    Attributes
    ----------
    line
        Direction and values of the tokens.
    asked
        Class number that each query asks, from ``ROOT``.
    moved
        Class number that the sequences it hits move to; ``DONE`` if they have their label.
    change
        What the label output of those sequences changes by.
    low, high
        Ends of the interval: the outermost values that are to be hit.
    gap
        Distance from the interval to the nearest value of the class that is not to be hit.
    start
        Label of the class ``ROOT`` before any query.
    rest
        Final label of each class, from ``ROOT``; what is left of a class carries it.
    lagged
        Whether neighbours in the order may share a block (the fused construction).
    slots
        Place in time of each query; with ``lagged``, skipped places are bubbles.
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
        """Return ``w = 2^floor(log2(gap / 2))``: what a miss is at least worth."""
        return widths(self.gap)


def widths(gap: Float[np.ndarray, " queries"]) -> Float[np.ndarray, " queries"]:
    """Return the largest powers of two that are at most half the gaps."""
    return np.ldexp(1.0, np.frexp(gap)[1] - 2)


def needed_gap(line: Line, dtype: str, min_margin: float) -> float:
    """Return the smallest gap a query may have: ``8 E``, the margin wished for, and what keeps ``1/w`` finite."""
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
        Directions to plan; the one with the fewest queries is taken, then that with the largest gap.
    seed
        Seed of random directions.
    min_margin
        Smallest gap of a query.
    lagged
        Plan for the fused construction.
    unique_ids
        Sequences that have their label keep a class of their own (sequence to sequence).

    Raises
    ------
    SeparationError
        If no direction tells all labels apart, with the pair and what to do.
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
            if failure is None or error.gap > failure.gap:  # the line that came nearest
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
        line,
        queries[:, 0] + ROOT,
        np.where(pure, own, queries[:, 1] + ROOT),
        final - rest[queries[:, 0]],
        values[queries[:, 3]],
        values[queries[:, 4]],
        gaps,
        int(rest[0]),
        rest,
        lagged,
        slots,
    )


def _symbols(sets: TokenSets, symbol_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and the ascending distinct symbols of each sequence."""
    starts, symbols, _ = distinct_per_sequence(symbol_of[sets.members], sets.starts)
    return starts, symbols


def _merged(starts: np.ndarray, symbols: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return two sequences of different labels that hold the same symbols, if there are any; looked up before planning.

    No query parts them, and planning all others first would be in vain.
    """
    hashes = hash_sequences(starts, symbols, np.zeros_like(symbols))
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    mates = first[which.reshape(-1)]
    for j in np.flatnonzero(codes != codes[mates]):
        pair = np.array([mates[j], j])
        one, other = (symbols[starts[k] : starts[k + 1]] for k in pair)
        if np.array_equal(one, other):
            return pair
    return np.empty(0, np.int64)


def what_parts(direction: str, dtype: str, min_margin: float, needed: float) -> str:
    """Return what to change so that tokens which meet on a line are told apart."""
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
    """Return the error for a class that no interval splits, with the pair of different labels that is nearest."""
    points = {int(j): values[symbols[starts[j] : starts[j + 1]]] for j in stuck[:_COMPARED]}
    first = int(stuck[0])
    pairs = [(first, int(j)) for j in stuck[:_COMPARED]]
    for end in (0, -1):  # neighbours on the line
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
    """Return the columns in which a token that one sequence alone holds is unlike the other's nearest on the line."""
    rows = [sets.members[sets.starts[k] : sets.starts[k + 1]] for k in (i, j)]
    if np.isin(rows[0], rows[1]).all():  # the other one holds more
        i, j, rows = j, i, rows[::-1]
    alone = rows[0][~np.isin(rows[0], rows[1])][0]
    mate = rows[1][np.argmin(np.abs(line.values[rows[1]] - line.values[alone]))]
    columns = np.flatnonzero(tokens[alone] != tokens[mate])
    shown = ", ".join(f"column {k} ({float(tokens[alone, k])!r} and {float(tokens[mate, k])!r})" for k in columns[:3])
    more = f" and {counted(len(columns) - 3, 'more column')}" if len(columns) > 3 else ""
    return f"a token of sequence {i} is unlike one of sequence {j} in {shown}{more}"


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Hausdorff distance of two ascending sets of numbers."""

    def reach(a: np.ndarray, b: np.ndarray) -> float:
        place = np.searchsorted(b, a)
        right = np.abs(b[np.minimum(place, len(b) - 1)] - a)
        left = np.abs(b[np.maximum(place - 1, 0)] - a)
        return float(np.minimum(left, right).max())

    return max(reach(one, other), reach(other, one))


def _schedule(queries: Int[np.ndarray, "queries 6"]) -> tuple[Int[np.ndarray, " queries"], Int[np.ndarray, " queries"]]:
    """Return an order and time slots in which no query asks about what the query just before it changes.

    A class may be asked right after its own last query only if the planner said so, and a new class never right
    after the query that made it. Of the classes that may be asked, the one with most to do comes first.
    """
    waiting: dict[int, list[int]] = {}
    for place, cls in enumerate(queries[:, 0].tolist()):
        waiting.setdefault(cls, []).append(place)
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
        place = waiting[cls][following[cls]]
        order.append(place)
        slots.append(slot)
        following[cls] += 1
        if following[cls] < len(waiting[cls]):
            legal = queries[waiting[cls][following[cls]], 5]
            heapq.heappush(later, (slot + (1 if legal else 2), cls))
        child = int(queries[place, 1])
        if child in waiting:
            heapq.heappush(later, (slot + 2, child))
        slot += 1
    return np.array(order, dtype=np.int64), np.array(slots, dtype=np.int64)


def _load(queries: np.ndarray, waiting: dict[int, list[int]]) -> list[int]:
    """Return for each query how many queries of its class and of the classes below depend on it, itself included."""
    load = [0] * len(queries)
    # A child has a larger number than its class, so the classes can be gone through from the last one.
    below: dict[int, int] = {}
    for cls in sorted(waiting, reverse=True):
        total = 0
        for place in reversed(waiting[cls]):
            total += 1 + below.get(int(queries[place, 1]), 0)
            load[place] = total
        below[cls] = total
    return load


def ask(
    plan: Plan, values: Float[np.ndarray, " tokens"], *, everything: bool = False
) -> tuple[int, list[tuple[int, Bool[np.ndarray, " tokens"]]]]:
    """Answer the plan's queries for one sequence, given its tokens on the line.

    Returns
    -------
    label
        The label number it ends with.
    answers
        For each query that its class was asked (every query with ``everything``): the number of the query, and
        which tokens lie in its interval, widened by a quarter of the gap.
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
