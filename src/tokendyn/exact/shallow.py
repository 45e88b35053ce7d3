"""Constructions with one uniform attention layer, so free of temperature: banks of detectors and fingerprints. Our own.

All end with a readout that is exact on its zero side: ``t = relu(2 - 2b/w) - relu(1 - 2b/w)`` is 1 for ``b = 0`` and 0
for ``b >= w``, whatever rounds elsewhere.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.exact.construction import Construction
from tokendyn.exact.directions import Line, candidates
from tokendyn.exact.errors import PrecisionError, SeparationError
from tokendyn.exact.sequences import Sequences, TokenSets
from tokendyn.exact.writing import Writer

#: Labels for which the readouts, which need channels for each label, are built.
MOST_LABELS = 64

Codes = Int[np.ndarray, " sequences"]


def _check_labels(codes: Codes, strategy: str) -> int:
    count = int(codes.max()) + 1
    if count > MOST_LABELS:
        raise PrecisionError(
            f"{count} labels, and strategy={strategy!r} needs channels for each (at most {MOST_LABELS}); "
            "use strategy='fused'"
        )
    return count


def _power_below(value: float) -> float:
    """Return the largest power of two that is at most the value."""
    return math.ldexp(1.0, math.frexp(value)[1] - 1)


def _unsure(why: str, codes: Codes, i: int, gap: float, needed: float) -> SeparationError:
    j = int(np.flatnonzero(codes != codes[i])[0])
    return SeparationError(f"{why}; use strategy='fused', which covers every case", i, j, gap, needed)


# --- bank of half-spaces -------------------------------------------------------------------------------------------


def half_space_bank(
    sequences: Sequences, sets: TokenSets, codes: Codes, min_margin: float, longest: int
) -> Construction:
    """Return 2 blocks: detectors ``relu((<v, x> - theta) scale)`` for each label, a mean, a readout.

    Needs, for every sequence of a label other than the most frequent one, a token that a half-space cuts off from
    all tokens of sequences with other labels. Directions tried: from the mean of all tokens to the token. Blocks 2,
    width at most the sequences plus one, certified up to the longest given sequence.

    Raises
    ------
    SeparationError
        If a sequence has no such token.
    """
    count = _check_labels(codes, "bank")
    tokens = sequences.tokens[sets.rows].astype(np.float64)
    most = 2.0 ** (int(np.finfo(sequences.tokens.dtype).maxexp) // 4)
    if float(np.abs(tokens).max()) > most:
        raise PrecisionError(
            f"coordinates reach {np.abs(tokens).max():.3g}, and half-spaces are built up to {most:.3g} in "
            f"{sequences.tokens.dtype}; divide the tokens by a power of two, or use strategy='fused'"
        )
    default = int(np.bincount(codes).argmax())
    owner = np.repeat(np.arange(len(codes)), np.diff(sets.starts))
    dim = tokens.shape[1]
    names = [f"h{y}" for y in range(count) if y != default] + [f"b{y}" for y in range(count) if y != default] + ["o"]
    at = {name: place for place, name in enumerate(names)}
    write = Writer()
    gaps = [np.inf]
    worst_error = 0.0
    detectors = 0
    for y in (y for y in range(count) if y != default):
        found = _cut_off(tokens, sets, codes, owner, y, str(sequences.tokens.dtype), min_margin)
        directions, thresholds, margins, error = found
        gaps.extend(margins.tolist())
        worst_error = max(worst_error, error)
        scale = np.ldexp(1.0, 3 - np.frexp(margins)[1])  # a detector that fires is at least 1
        if len(thresholds):
            write.units(0, -thresholds * scale, range(dim), directions * scale[:, None], [at[f"h{y}"]], np.ones((1, 1)))
        detectors += len(thresholds)
    write.attend(0, (0, 0.0), (0, 0.0))
    width = math.ldexp(1.0, -(math.frexp(longest)[1] + 2))  # a hit is at least 1/2 before the mean
    total = default + sum(y - default for y in range(count))
    write.unit(1, 1.0, {}, {at["o"]: float(total)})
    for y in (y for y in range(count) if y != default):
        write.value(0, at[f"h{y}"], at[f"b{y}"])
        for bias, sign in ((2.0, -1.0), (1.0, 1.0)):
            write.unit(1, bias, {at[f"b{y}"]: -2 / width}, {at["o"]: sign * (y - default)})
    gap = float(min(gaps))
    return Construction(
        "bank", write.weights(2), tuple(names), max(dim, len(names)), (at["o"],), gap, worst_error,
        8 * worst_error, math.inf, longest, detectors,
    )  # fmt: skip


def _cut_off(
    tokens: np.ndarray, sets: TokenSets, codes: Codes, owner: np.ndarray, y: int, dtype: str, min_margin: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return directions, thresholds and margins of half-spaces that together reach all sequences of label y."""
    foreign = np.zeros(len(tokens), dtype=bool)
    foreign[sets.members[codes[owner] != y]] = True
    center = tokens.mean(axis=0)
    from_center = tokens - center
    distance = np.linalg.norm(from_center, axis=1)
    ours = np.flatnonzero(codes == y)
    open_ = set(ours.tolist())
    mine = np.flatnonzero(~foreign)
    of_token: dict[int, list[int]] = {}
    for place in np.flatnonzero(codes[owner] == y):
        of_token.setdefault(int(sets.members[place]), []).append(int(owner[place]))
    info = np.finfo(dtype)
    smallest = 2.0 ** (int(info.minexp) // 4)  # 1/gap is a weight
    steps = (tokens.shape[1] + 4) * float(info.eps) / 2
    reach = float(np.linalg.norm(tokens, axis=1).max())
    directions, thresholds, margins, errors = [], [], [], [0.0]
    strangers = tokens[foreign]
    todo = sorted(open_)
    for first in range(0, len(todo), 64):
        batch = todo[first : first + 64]
        for turn in range(4):
            chosen = [_candidate(sets, j, foreign, distance, turn) for j in batch if j in open_]
            keep = [x for x in chosen if x >= 0]
            if not keep:
                break
            v = (from_center[keep] / np.maximum(distance[keep], 1e-300)[:, None]).astype(dtype).astype(np.float64)
            highest = (strangers @ v.T).max(axis=0, initial=-np.inf)
            own = tokens[mine] @ v.T
            for column, x in enumerate(keep):
                value = float(tokens[x] @ v[column])
                error = steps / (1 - steps) * float(np.linalg.norm(v[column])) * reach
                gap = value - float(highest[column])
                if gap < max(8 * error, min_margin, smallest) or not any(j in open_ for j in of_token[x]):
                    continue
                beyond = mine[own[:, column] >= value - 2 * error]
                open_.difference_update(*(of_token[t] for t in beyond.tolist()))
                directions.append(v[column])
                gap = gap if math.isfinite(gap) else 1.0
                thresholds.append(value - gap / 2)
                margins.append(gap)
                errors.append(error)
        if not open_.isdisjoint(batch):
            j = min(open_.intersection(batch))
            why = f"sequence {j} has no token that a half-space cuts off from all tokens of other labels"
            raise _unsure(why, codes, j, 0.0, 8 * max(errors))
    shape = (len(directions), tokens.shape[1])
    return np.array(directions).reshape(shape), np.array(thresholds), np.array(margins), max(errors)


def _candidate(sets: TokenSets, j: int, foreign: np.ndarray, distance: np.ndarray, turn: int) -> int:
    """Return the token of sequence j that is farthest out, or the next ones in later turns; -1 if there is none."""
    held = sets.members[sets.starts[j] : sets.starts[j + 1]]
    held = held[~foreign[held]]
    if len(held) <= turn:
        return -1
    return int(held[np.argsort(-distance[held], kind="stable")[turn]])


# --- bank of slabs ---------------------------------------------------------------------------------------------------


def slab_bank(
    line: Line, sequences: Sequences, sets: TokenSets, codes: Codes, min_margin: float, longest: int
) -> Construction:
    """Return 4 blocks: trapezoids on label-pure intervals, a mean, a threshold, a readout.

    Needs, for every sequence of a label other than the most frequent one, a token in an interval that holds only
    tokens of sequences of that label. A trapezoid is ``(relu(p - l' + w) - relu(p - l') - relu(p - h') +
    relu(p - h' - w)) / w``; what is left of it by rounding far to the right is cut by a threshold.

    Raises
    ------
    SeparationError
        If a sequence has no such token.
    PrecisionError
        If rounding could reach the threshold.
    """
    count = _check_labels(codes, "bank")
    dtype = str(sequences.tokens.dtype)
    default = int(np.bincount(codes).argmax())
    needed = max(8 * line.error, min_margin, float(np.finfo(dtype).smallest_normal) * 64)
    intervals = _pure_intervals(line, sets, codes, default, needed)
    labels = [y for y in range(count) if y != default]
    names = ["p", *(f"h{y}" for y in labels), *(f"b{y}" for y in labels), *(f"z{y}" for y in labels), "o"]
    at = {name: place for place, name in enumerate(names)}
    write = Writer()
    _project(write, line, at["p"])
    reach = 2 * float(np.abs(line.values).max()) + 1
    noise = dict.fromkeys(labels, 0.0)
    for y, low, high, gap in intervals:
        w = _power_below(gap / 4)
        left, right = low - gap / 4, high + gap / 4
        for edge, sign in ((left - w, 1.0), (left, -1.0), (right, -1.0), (right + w, 1.0)):
            write.unit(1, -edge, {at["p"]: 1.0}, {at[f"h{y}"]: sign / w})
        noise[y] += 4 * reach / w
    unit = float(np.finfo(dtype).eps) / 2
    steps = (4 * len(intervals) + longest + 8) * unit
    theta = _power_below(1 / (4 * longest))
    if max(noise.values(), default=0.0) * steps / (1 - steps) > theta / 2 and intervals:
        raise PrecisionError(
            f"a bank of {len(intervals)} slabs rounds by up to {max(noise.values()) * steps:.2g} in {dtype}, and "
            f"{theta / 2:.2g} is allowed; use strategy='fused', which does not"
        )
    write.attend(1, (0, 0.0), (0, 0.0))
    total = default + sum(y - default for y in labels)
    write.unit(3, 1.0, {}, {at["o"]: float(total)})
    for y in labels:
        write.value(1, at[f"h{y}"], at[f"b{y}"])
        write.unit(2, -theta, {at[f"b{y}"]: 1.0}, {at[f"z{y}"]: 1.0})
        for bias, sign in ((2.0, -1.0), (1.0, 1.0)):
            write.unit(3, bias, {at[f"z{y}"]: -2 / theta}, {at["o"]: sign * (y - default)})
    gap = min((gap for *_, gap in intervals), default=math.inf)
    dim = max(len(line.direction), len(names))
    return Construction(
        "bank", write.weights(4), tuple(names), dim, (at["o"],), gap, line.error, needed, math.inf, longest,
        len(intervals),
    )  # fmt: skip


def _pure_intervals(
    line: Line, sets: TokenSets, codes: Codes, default: int, needed: float
) -> list[tuple[int, float, float, float]]:
    """Return (label, low, high, gap) of intervals that reach every sequence of another label than the default."""
    values, symbol_of = np.unique(line.values, return_inverse=True)
    owner = np.repeat(np.arange(len(codes)), np.diff(sets.starts))
    symbol = symbol_of.reshape(-1)[sets.members]
    low, high = np.full(len(values), np.iinfo(np.int64).max), np.full(len(values), -1)
    np.minimum.at(low, symbol, codes[owner])
    np.maximum.at(high, symbol, codes[owner])
    label = np.where((low == high) & (low != default), low, -1)
    cuts = np.flatnonzero(np.diff(label)) + 1
    firsts, lasts = np.concatenate([[0], cuts]), np.concatenate([cuts, [len(values)]]) - 1
    before = np.diff(values, prepend=-np.inf)
    after = np.append(np.diff(values), np.inf)
    order = np.argsort(symbol, kind="stable")
    starts = np.searchsorted(symbol[order], np.arange(len(values) + 1))
    open_ = codes != default
    found = []
    runs = [(int(a), int(b)) for a, b in zip(firsts, lasts, strict=True) if label[a] >= 0]
    for first, last in sorted(runs, key=lambda run: starts[run[0]] - starts[run[1] + 1]):
        a, b = first, last
        while a < b and before[a] < needed:
            a += 1
        while b > a and after[b] < needed:
            b -= 1
        gap = float(min(before[a], after[b]))
        reached = owner[order[starts[a] : starts[b + 1]]]
        if gap < needed or not open_[reached].any():
            continue
        open_[reached] = False
        found.append((int(label[a]), float(values[a]), float(values[b]), gap if math.isfinite(gap) else 1.0))
    if open_.any():
        j = int(np.flatnonzero(open_)[0])
        why = f"sequence {j} has no token in an interval of {line.name} that belongs to its label alone"
        raise _unsure(why, codes, j, 0.0, needed)
    return found


# --- fingerprints ----------------------------------------------------------------------------------------------------


def fingerprint(
    line: Line, sequences: Sequences, sets: TokenSets, codes: Codes, min_margin: float, longest: int
) -> Construction:
    """Return 4 blocks: ``p = <a, x>``, its mean over the sequence, ramps from one label to the next, a readout.

    Needs means that differ where labels differ. Repetitions count: the mean is over all tokens.

    Raises
    ------
    SeparationError, PrecisionError
        If means are too near for the type.
    """
    names = ["p", "m"]
    write = Writer()
    _project(write, line, 0)
    write.attend(0, (0, 0.0), (0, 0.0))
    write.value(0, 0, 1)
    means, error = _means(line.values, line.error, sequences, sets, longest)
    return _ramps("fingerprint", write, names, 1, means, error, sequences, codes, min_margin, longest)


def hat_fingerprint(
    line: Line, sequences: Sequences, sets: TokenSets, codes: Codes, min_margin: float, longest: int, seed: int = 0
) -> Construction:
    """Return 5 blocks: trapezoids on a few tokens with random heights, their mean, ramps, a readout.

    Distinct sets of tokens have distinct shares of their tokens, so random heights make their means differ.

    Raises
    ------
    SeparationError, PrecisionError
        If no choice of heights separates the means enough for the type.
    """
    values, symbol_of = np.unique(line.values, return_inverse=True)
    if len(values) > 1 and float(np.diff(values).min()) < max(8 * line.error, min_margin):
        i = int(np.flatnonzero(codes != codes[0])[0]) if len(np.unique(codes)) > 1 else 0
        gap = float(np.diff(values).min())
        why = f"two tokens are {gap:.3g} apart along {line.name}, and hats need {8 * line.error:.3g}"
        raise _unsure(why, codes, i, gap, 8 * line.error)
    shares = _shares(sequences, sets, symbol_of.reshape(-1), len(values))
    used = _telling_symbols(shares, codes, line.name)
    gaps = np.minimum(np.diff(values, prepend=-np.inf), np.append(np.diff(values), np.inf))[used]
    gaps = np.where(np.isfinite(gaps), gaps, 1.0)
    w = np.ldexp(1.0, np.frexp(gaps)[1] - 3)
    rng = np.random.default_rng(seed)
    tries = rng.integers(1, 2**10, (32, len(used))) * 2.0**-10
    dense = np.asarray(shares[:, used].todense()) if len(used) else np.zeros((len(codes), 0))
    spread = [_label_gap(dense @ heights, codes)[0] for heights in tries]
    heights = tries[int(np.argmax(spread))] if len(used) else np.zeros(0)
    write = Writer()
    _project(write, line, 0)
    for v, width, gap, height in zip(values[used], w, gaps, heights, strict=True):
        for edge, sign in ((-gap / 4 - width, 1.0), (-gap / 4, -1.0), (gap / 4, -1.0), (gap / 4 + width, 1.0)):
            write.unit(1, -(v + edge), {0: 1.0}, {1: sign * height / width})
    write.attend(1, (0, 0.0), (0, 0.0))
    write.value(1, 1, 2)
    unit = float(np.finfo(sequences.tokens.dtype).eps) / 2
    reach = 2 * float(np.abs(line.values).max(initial=0.0)) + 1
    steps = (4 * len(used) + longest + 4) * unit
    error = steps / (1 - steps) * (float(np.sum(4 * reach * heights / w)) + float(heights.sum()))
    return _ramps("hat", write, ["p", "g", "m"], 2, dense @ heights, error, sequences, codes, min_margin, longest)


def _project(write: Writer, line: Line, p: int) -> None:
    """Block 0: ``p = relu(<a, x>) - relu(-<a, x>)``."""
    a = line.direction.astype(np.float64)
    used = np.flatnonzero(a)
    for sign in (1.0, -1.0):
        write.unit(0, 0.0, {int(k): sign * float(a[k]) for k in used}, {p: sign})


def _means(
    values: np.ndarray, error: float, sequences: Sequences, sets: TokenSets, longest: int
) -> tuple[np.ndarray, float]:
    """Return the mean of the values over each sequence, repetitions counted, and its error in any order."""
    held = values[sets.members]
    total = np.add.reduceat(held * sets.counts, sets.starts[:-1])
    size = np.add.reduceat(np.abs(held) * sets.counts, sets.starts[:-1]) / sequences.lengths
    steps = (longest + 4) * float(np.finfo(sequences.tokens.dtype).eps) / 2
    return total / sequences.lengths, error + 2 * steps / (1 - steps) * float(size.max())


def _shares(sequences: Sequences, sets: TokenSets, symbol_of: np.ndarray, symbols: int) -> Any:
    """Return the sparse matrix of the share of each symbol in each sequence."""
    from scipy.sparse import csr_matrix

    parts = sets.counts, symbol_of[sets.members], sets.starts
    counts = csr_matrix(parts, shape=(len(sequences), symbols), copy=True)
    counts.sum_duplicates()  # tokens that are one symbol; in place, hence the copy
    rows = np.repeat(sequences.lengths, np.diff(counts.indptr))
    return csr_matrix((counts.data / rows, counts.indices, counts.indptr), shape=counts.shape)


def _telling_symbols(shares: Any, codes: Codes, name: str) -> Int[np.ndarray, " used"]:
    """Return few symbols whose shares tell all sequences of different labels apart, chosen one by one."""
    from scipy.sparse import csc_matrix

    columns = csc_matrix(shares)
    group = np.zeros(shares.shape[0], dtype=np.int64)
    used: list[int] = []
    while True:
        mixed = _mixed(group, codes)
        if not mixed.any():
            return np.array(used, dtype=np.int64)
        counted = np.append(0, np.cumsum(mixed[columns.indices]))
        per_symbol = np.diff(counted[columns.indptr])
        per_symbol[used] = 0
        if not per_symbol.any():
            i = int(np.flatnonzero(mixed)[0])
            j = int(np.flatnonzero((group == group[i]) & (codes != codes[i]))[0])
            raise SeparationError(
                f"sequences {i} and {j} have different labels, and their tokens merge along {name} in the same shares; "
                "use strategy='fused', or direction='auto'",
                i, j, 0.0, 0.0,
            )  # fmt: skip
        middle = np.abs(per_symbol - mixed.sum() / 2)
        middle[per_symbol == 0] = np.inf
        best = int(np.argmin(middle))
        used.append(best)
        column = np.zeros(shares.shape[0])
        part = slice(columns.indptr[best], columns.indptr[best + 1])
        column[columns.indices[part]] = columns.data[part]
        _, group = np.unique(np.stack([group.astype(float), column], axis=1), axis=0, return_inverse=True)
        group = group.reshape(-1)


def _mixed(group: np.ndarray, codes: Codes) -> np.ndarray:
    """Return which sequences are in a group with more than one label."""
    low, high = np.full(group.max() + 1, np.iinfo(np.int64).max), np.full(group.max() + 1, -1)
    np.minimum.at(low, group, codes)
    np.maximum.at(high, group, codes)
    return (low != high)[group]


def _label_gap(means: np.ndarray, codes: Codes) -> tuple[float, int]:
    """Return the smallest distance of means of different labels, and the place in sorted order where it is."""
    order = np.argsort(means, kind="stable")
    change = np.flatnonzero(codes[order][1:] != codes[order][:-1])
    if not len(change):
        return math.inf, 0
    gaps = means[order][change + 1] - means[order][change]
    return float(gaps.min()), int(change[np.argmin(gaps)])


def _ramps(
    strategy: str,
    write: Writer,
    names: list[str],
    m: int,
    means: Float[np.ndarray, " sequences"],
    error: float,
    sequences: Sequences,
    codes: Codes,
    min_margin: float,
    longest: int,
) -> Construction:
    """Add ramps from mean to label and the exact readout, which start at the block after that of channel m."""
    count = _check_labels(codes, strategy)
    dtype = str(sequences.tokens.dtype)
    needed = max(8 * error, min_margin, float(np.finfo(dtype).smallest_normal) * 64)
    gap, place = _label_gap(means, codes)
    order = np.argsort(means, kind="stable")
    if gap < needed:
        i, j = sorted((int(order[place]), int(order[place + 1])))
        raise SeparationError(
            f"sequences {i} and {j} have different labels and means that are {gap:.3g} apart, and {needed:.3g} is "
            "needed; use strategy='fused'" + (", or dtype='float64'" if dtype == "float32" else ""),
            i, j, gap, needed,
        )  # fmt: skip
    change = np.flatnonzero(codes[order][1:] != codes[order][:-1])
    left, right = means[order][change], means[order][change + 1]
    w = np.ldexp(1.0, np.frexp(right - left)[1] - 2)
    step = np.diff(codes[order])[change].astype(np.float64)
    block = m
    z = len(names)
    names = [*names, "z", *(f"r{y}" for y in range(count)), "o"]
    reach = 2 * float(np.abs(means).max()) + 1
    size = float(np.sum(2 * reach * np.abs(step) / w)) + count
    steps = (2 * len(change) + 4) * float(np.finfo(dtype).eps) / 2
    if steps / (1 - steps) * size > 1 / 8:
        raise PrecisionError(
            f"{len(change)} ramps round by up to {steps * size:.2g} in {dtype}, and 1/8 is allowed; "
            "use strategy='fused'" + (", or dtype='float64'" if dtype == "float32" else "")
        )
    write.unit(block, 1.0, {}, {z: float(codes[order[0]])})
    middle = left + (right - left) / 2
    for edge, sign in ((-1, 1.0), (1, -1.0)):
        if len(change):
            write.units(block, -(middle + edge * w / 2), [m], np.ones((1, 1)), [z], (sign * step / w)[:, None])
    for y in range(count):
        write.unit(block + 1, -(y + 0.25), {z: 1.0}, {z + 1 + y: 1.0})
        write.unit(block + 1, y - 0.25, {z: -1.0}, {z + 1 + y: 1.0})
        for bias, sign in ((2.0, 1.0), (1.0, -1.0)):
            write.unit(block + 2, bias, {z + 1 + y: -4.0}, {len(names) - 1: sign * y})
    return Construction(
        strategy, write.weights(block + 3), tuple(names), max(sequences.tokens.shape[1], len(names)),
        (len(names) - 1,), gap, error, needed, math.inf, longest, len(change),
    )  # fmt: skip


def first_that_works(
    build: Callable[[Line], Construction], sequences: Sequences, sets: TokenSets, direction: str, seed: int
) -> Construction:
    """Return what ``build(line)`` gives on the first direction that works; raise its first error if none does."""
    failure: Exception | None = None
    for tried, line in enumerate(candidates(sequences.tokens[sets.rows], direction, seed)):
        try:
            made: Construction = build(line)
            return made
        except (SeparationError, PrecisionError) as error:
            failure = failure or error
        if tried == 15:
            break
    assert failure is not None
    raise failure
