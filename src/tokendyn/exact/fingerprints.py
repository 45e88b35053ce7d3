"""Means over a sequence, turned into labels by ramps: one uniform attention layer, free of temperature. Our own."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.exact.construction import Construction
from tokendyn.exact.directions import Line
from tokendyn.exact.errors import PrecisionError, SeparationError
from tokendyn.exact.sequences import Sequences, TokenSets
from tokendyn.exact.shallow import Codes, check_labels, instead, project_line, unsure
from tokendyn.exact.writing import Writer
from tokendyn.words import counted


def fingerprint(
    line: Line, sequences: Sequences, sets: TokenSets, codes: Codes, min_margin: float, longest: int
) -> Construction:
    """Return 4 blocks: ``p = <a, x>``, its mean over the sequence, ramps from one label to the next, a readout.

    Needs means that differ where labels differ. Repetitions count: the mean is over all tokens.

    Raises
    ------
    SeparationError, PrecisionError
        If means are too close for the type.
    """
    names = ["p", "m"]
    write = Writer()
    project_line(write, line, 0)
    write.attend(0, (0, 0.0), (0, 0.0))
    write.value(0, 0, 1)
    means, error = _means(line.values, line.error, sequences, sets, longest)
    return _ramps("fingerprint", write, names, 1, means, error, sequences, codes, min_margin, longest)


def hat_fingerprint(
    line: Line, sequences: Sequences, sets: TokenSets, codes: Codes, min_margin: float, longest: int, seed: int = 0
) -> Construction:
    """Return 5 blocks: trapezoids on a few tokens, their mean, ramps, a readout.

    Distinct sets of tokens have distinct shares of their tokens, so random heights make their means differ. Where
    tokens that occur with one label only are enough, their labels are the heights, with wider gaps of the means.

    Raises
    ------
    SeparationError, PrecisionError
        If no choice of heights separates the means enough for the type.
    """
    values, symbol_of = np.unique(line.values, return_inverse=True)
    nearest, least = float(np.diff(values).min(initial=np.inf)), max(8 * line.error, min_margin)
    if nearest < least and (codes != codes[0]).any():  # with one label there is nothing to distinguish
        i = int(np.flatnonzero(codes != codes[0])[0])
        why = f"two tokens are {nearest:.3g} apart along {line.name}, and hats need {least:.3g}"
        raise unsure(why, codes, i, nearest, least, min_margin)
    shares = _shares(sequences, sets, symbol_of.reshape(-1), len(values))
    gaps = np.minimum(np.diff(values, prepend=-np.inf), np.append(np.diff(values), np.inf))
    gaps = np.where(np.isfinite(gaps), gaps, 1.0)
    w = np.ldexp(1.0, np.frexp(gaps)[1] - 3)
    unit = float(np.finfo(sequences.tokens.dtype).eps) / 2
    reach = 2 * float(np.abs(line.values).max(initial=0.0)) + 1

    def rounding(heights: np.ndarray) -> float:
        steps = (4 * np.count_nonzero(heights) + longest + 4) * unit
        return steps / (1 - steps) * (float(np.sum(4 * reach * heights / w)) + float(heights.sum()))

    bits = int(np.finfo(sequences.tokens.dtype).nmant)  # all that the type holds: means of few bits meet by chance
    choices = [_random_heights(shares, codes, line.name, seed, bits), _label_heights(shares, codes)]
    excess = [_label_gap(shares @ heights, codes)[0] - 8 * rounding(heights) for heights in choices]
    # Random heights first: they need few symbols. Heights by label are a fallback with wider gaps.
    heights = choices[0] if excess[0] > 0 else choices[int(np.argmax(excess))]
    means, error = shares @ heights, rounding(heights)
    used = np.flatnonzero(heights)
    write = Writer()
    project_line(write, line, 0)
    for v, width, gap, height in zip(values[used], w[used], gaps[used], heights[used], strict=True):
        for edge, sign in ((-gap / 4 - width, 1.0), (-gap / 4, -1.0), (gap / 4, -1.0), (gap / 4 + width, 1.0)):
            write.unit(1, -(v + edge), {0: 1.0}, {1: sign * height / width})
    write.attend(1, (0, 0.0), (0, 0.0))
    write.value(1, 1, 2)
    return _ramps("hat", write, ["p", "g", "m"], 2, means, error, sequences, codes, min_margin, longest)


def _random_heights(shares: Any, codes: Codes, name: str, seed: int, bits: int) -> Float[np.ndarray, " symbols"]:
    """Return random heights of few symbols, of 32 draws those with the widest gap; 0 elsewhere."""
    used = _telling_symbols(shares, codes, name)
    tries = np.random.default_rng(seed).integers(1, 2**bits, (32, len(used))) * 2.0**-bits
    few = shares[:, used]
    heights = np.zeros(shares.shape[1])
    if len(used):
        heights[used] = max(tries, key=lambda draw: _label_gap(few @ draw, codes)[0])
    return heights


def _label_heights(shares: Any, codes: Codes) -> Float[np.ndarray, " symbols"]:
    """Return the label's number for each symbol that occurs with one label only, else 0."""
    rows, columns = shares.nonzero()
    low, high = np.full(shares.shape[1], np.inf), np.zeros(shares.shape[1])
    np.minimum.at(low, columns, codes[rows])
    np.maximum.at(high, columns, codes[rows])
    return np.where(low == high, high, 0.0)


def _means(
    values: np.ndarray, error: float, sequences: Sequences, sets: TokenSets, longest: int
) -> tuple[np.ndarray, float]:
    """Return the mean of the values over each sequence, repetitions counted, and its error in any order."""
    points = values[sets.members]
    total = np.add.reduceat(points * sets.counts, sets.starts[:-1])
    size = np.add.reduceat(np.abs(points) * sets.counts, sets.starts[:-1]) / sequences.lengths
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
    """Return a small set of symbols whose shares separate all sequences of different labels, chosen greedily."""
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
                "use strategy='fused'",
                i, j, 0.0, 0.0,
            )  # fmt: skip
        # The symbol that occurs in about half of the mixed sequences divides them best, as in a binary search.
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
    """Return the smallest distance of means of different labels, and its position in sorted order."""
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
    count = check_labels(codes, strategy)
    dtype = str(sequences.tokens.dtype)
    needed = max(8 * error, min_margin, float(np.finfo(dtype).smallest_normal) * 64)
    gap, position = _label_gap(means, codes)
    order = np.argsort(means, kind="stable")
    if gap < needed:
        i, j = sorted((int(order[position]), int(order[position + 1])))
        raise SeparationError(
            f"sequences {i} and {j} have different labels and means that are {gap:.3g} apart, and {needed:.3g} is "
            f"needed; {instead(needed, min_margin, dtype)}",
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
            f"the rounding of {counted(len(change), 'ramp')} is up to {steps * size:.2g} in {dtype}, and 1/8 is "
            "allowed; "
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
        strategy=strategy,
        weights=write.weights(block + 3),
        channels=tuple(names),
        dim=max(sequences.tokens.shape[1], len(names)),
        outputs=(len(names) - 1,),
        gap=gap,
        error=error,
        needed=needed,
        width=math.inf,
        longest=longest,
        queries=len(change),
    )
