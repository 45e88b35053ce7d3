"""Banks of detectors before one uniform attention layer, so free of temperature: half-spaces and slabs. Our own."""

import math

import numpy as np

from tokendyn.exact.construction import Construction
from tokendyn.exact.directions import Line
from tokendyn.exact.errors import PrecisionError
from tokendyn.exact.sequences import Sequences, TokenSets
from tokendyn.exact.shallow import Codes, check_labels, power_below, project_line, unsure
from tokendyn.exact.writing import Writer


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
    count = check_labels(codes, "half-space")
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
    at = {name: channel for channel, name in enumerate(names)}
    write = Writer()
    gaps = [np.inf]
    worst_error = 0.0
    detectors = 0
    for y in (y for y in range(count) if y != default):
        half_spaces = _cut_off(tokens, sets, codes, owner, y, str(sequences.tokens.dtype), min_margin)
        directions, thresholds, margins, error = half_spaces
        gaps.extend(margins.tolist())
        worst_error = max(worst_error, error)
        scale = np.ldexp(1.0, 3 - np.frexp(margins)[1])  # a detector that fires is at least 1
        if len(thresholds):
            write.units(0, -thresholds * scale, range(dim), directions * scale[:, None], [at[f"h{y}"]], np.ones((1, 1)))
        detectors += len(thresholds)
    write.attend(0, (0, 0.0), (0, 0.0))
    # A detector that fires is at least 1/2, and the mean divides it by at most ``longest``: a power of two below that
    # share separates a hit from none.
    width = math.ldexp(1.0, -(math.frexp(longest)[1] + 2))
    total = default + sum(y - default for y in range(count))
    write.unit(1, 1.0, {}, {at["o"]: float(total)})
    for y in (y for y in range(count) if y != default):
        write.value(0, at[f"h{y}"], at[f"b{y}"])
        for bias, sign in ((2.0, -1.0), (1.0, 1.0)):
            write.unit(1, bias, {at[f"b{y}"]: -2 / width}, {at["o"]: sign * (y - default)})
    gap = float(min(gaps))
    return Construction(
        strategy="half-space",
        weights=write.weights(2),
        channels=tuple(names),
        dim=max(dim, len(names)),
        outputs=(at["o"],),
        gap=gap,
        error=worst_error,
        needed=8 * worst_error,
        width=math.inf,
        longest=longest,
        queries=detectors,
    )


def _cut_off(
    tokens: np.ndarray, sets: TokenSets, codes: Codes, owner: np.ndarray, y: int, dtype: str, min_margin: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return directions, thresholds and margins of half-spaces that together reach all sequences of label y.

    Greedy: sequences are taken in batches, the farthest token of each is tried first, and a half-space covers all
    sequences with a token in it, which need no other one.
    """
    foreign = np.zeros(len(tokens), dtype=bool)
    foreign[sets.members[codes[owner] != y]] = True
    center = tokens.mean(axis=0)
    from_center = tokens - center
    distance = np.linalg.norm(from_center, axis=1)
    ours = np.flatnonzero(codes == y)
    open_ = set(ours.tolist())
    pure = np.flatnonzero(~foreign)
    of_token: dict[int, list[int]] = {}
    for incidence in np.flatnonzero(codes[owner] == y):
        of_token.setdefault(int(sets.members[incidence]), []).append(int(owner[incidence]))
    info = np.finfo(dtype)
    smallest = 2.0 ** (int(info.minexp) // 4)  # 1/gap is a weight
    steps = (tokens.shape[1] + 4) * float(info.eps) / 2
    reach = float(np.linalg.norm(tokens, axis=1).max())
    directions, thresholds, margins, errors = [], [], [], [0.0]
    widest = 0.0  # gap of a half-space that min_margin alone refused
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
            own = tokens[pure] @ v.T
            for column, x in enumerate(keep):
                value = float(tokens[x] @ v[column])
                error = steps / (1 - steps) * float(np.linalg.norm(v[column])) * reach
                gap = value - float(highest[column])
                if gap < max(8 * error, min_margin, smallest) or not any(j in open_ for j in of_token[x]):
                    widest = max(widest, gap if gap >= max(8 * error, smallest) else 0.0)
                    continue
                beyond = pure[own[:, column] >= value - 2 * error]
                open_.difference_update(*(of_token[t] for t in beyond.tolist()))
                directions.append(v[column])
                gap = gap if math.isfinite(gap) else 1.0
                thresholds.append(value - gap / 2)
                margins.append(gap)
                errors.append(error)
        if not open_.isdisjoint(batch):
            j = min(open_.intersection(batch))
            why = f"sequence {j} has no token that a half-space cuts off from all tokens of other labels"
            if min_margin > 0 and widest > 0:
                raise unsure(why + " by that much", codes, j, widest, min_margin, min_margin)
            raise unsure(why, codes, j, 0.0, 8 * max(errors))
    shape = (len(directions), tokens.shape[1])
    return np.array(directions).reshape(shape), np.array(thresholds), np.array(margins), max(errors)


def _candidate(sets: TokenSets, j: int, foreign: np.ndarray, distance: np.ndarray, turn: int) -> int:
    """Return the token of sequence j that is farthest out, or the next ones in later turns; -1 if there is none."""
    pure = sets.members[sets.starts[j] : sets.starts[j + 1]]
    pure = pure[~foreign[pure]]
    if len(pure) <= turn:
        return -1
    return int(pure[np.argsort(-distance[pure], kind="stable")[turn]])


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
    count = check_labels(codes, "slab")
    dtype = str(sequences.tokens.dtype)
    default = int(np.bincount(codes).argmax())
    needed = max(8 * line.error, min_margin, float(np.finfo(dtype).smallest_normal) * 64)
    intervals = _pure_intervals(line, sets, codes, default, needed, min_margin)
    labels = [y for y in range(count) if y != default]
    names = ["p", *(f"h{y}" for y in labels), *(f"b{y}" for y in labels), *(f"z{y}" for y in labels), "o"]
    at = {name: channel for channel, name in enumerate(names)}
    write = Writer()
    project_line(write, line, at["p"])
    reach = 2 * float(np.abs(line.values).max()) + 1
    noise = dict.fromkeys(labels, 0.0)
    for y, low, high, gap in intervals:
        w = power_below(gap / 4)
        left, right = low - gap / 4, high + gap / 4
        for edge, sign in ((left - w, 1.0), (left, -1.0), (right, -1.0), (right + w, 1.0)):
            write.unit(1, -edge, {at["p"]: 1.0}, {at[f"h{y}"]: sign / w})
        noise[y] += 4 * reach / w
    unit = float(np.finfo(dtype).eps) / 2
    steps = (4 * len(intervals) + longest + 8) * unit
    theta = power_below(1 / (4 * longest))
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
        strategy="slab",
        weights=write.weights(4),
        channels=tuple(names),
        dim=dim,
        outputs=(at["o"],),
        gap=gap,
        error=line.error,
        needed=needed,
        width=math.inf,
        longest=longest,
        queries=len(intervals),
    )


def _pure_intervals(
    line: Line, sets: TokenSets, codes: Codes, default: int, needed: float, min_margin: float
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
    intervals = []
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
        intervals.append((int(label[a]), float(values[a]), float(values[b]), gap if math.isfinite(gap) else 1.0))
    if open_.any():
        j = int(np.flatnonzero(open_)[0])
        why = f"sequence {j} has no token in an interval of {line.name} that belongs to its label alone"
        pure = np.flatnonzero(label[symbol[owner == j]] >= 0)
        gap = float(np.minimum(before, after)[symbol[owner == j]][pure].max(initial=0.0))
        why += f" with gaps of {needed:.3g}" if gap else ""
        raise unsure(why, codes, j, gap, needed, min_margin if gap else 0.0)
    return intervals
