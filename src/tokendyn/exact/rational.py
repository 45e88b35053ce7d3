"""The forward pass in exact rational arithmetic: the same weights, no rounding anywhere."""

from collections.abc import Callable
from typing import Any

from tokendyn.exact.sequences import Sequences
from tokendyn.exact.weights import Weights

Progress = Callable[[int, int], None]
Number = Any  # flint.fmpq or fractions.Fraction


def rationals() -> tuple[Callable[[float], Number], str]:
    """Return a function from floats to exact rationals and the name of its library: python-flint, else fractions."""
    from fractions import Fraction

    try:
        from flint import fmpq
    except ImportError:
        return Fraction, "fractions"

    def exact(value: float) -> Number:
        return fmpq(*float(value).as_integer_ratio())

    return exact, "python-flint"


def run_exactly(
    weights: Weights,
    dim: int,
    sequences: Sequences,
    outputs: list[int],
    *,
    progress: Progress | None = None,
    library: tuple[Callable[[float], Number], str] | None = None,
) -> list[list[list[Number]]]:
    """Return the output channels of every token of every sequence after the last block, hardmax, as rationals.

    Parameters
    ----------
    weights, dim, sequences
        As for :func:`tokendyn.exact.ragged.run`; every float is taken as the rational that it is.
    outputs
        Channels to return.
    progress
        Called with the sequences done and their number.
    library
        What :func:`rationals` returns.
    """
    exact, _ = library or rationals()
    blocks = _blocks(weights, exact)
    zero = exact(0.0)
    known: dict[float, Number] = {}
    results = []
    for j in range(len(sequences)):
        rows = sequences[j].tolist()
        state = [[known.setdefault(v, exact(v)) for v in row] + [zero] * (dim - len(row)) for row in rows]
        for block in blocks:
            state = _block(state, block, zero)
        results.append([[row[channel] for channel in outputs] for row in state])
        if progress is not None:
            progress(j + 1, len(sequences))
    return results


def _blocks(weights: Weights, exact: Callable[[float], Number]) -> list[tuple[Any, ...]]:
    """Return the blocks as lists of rationals, one tuple each."""
    known: dict[float, Number] = {}

    def number(value: float) -> Number:
        return known.setdefault(value, exact(value))

    def pairs(starts: list[int], channels: list[int], values: list[float], u: int) -> list[tuple[int, Number]]:
        return [(channels[e], number(values[e])) for e in range(starts[u], starts[u + 1])]

    w = {name: array.tolist() for name, array in weights.arrays().items()}
    blocks = []
    for b in range(weights.blocks):
        units = [
            (
                number(w["bias"][u]),
                pairs(w["in_starts"], w["in_channels"], w["in_weights"], u),
                pairs(w["out_starts"], w["out_channels"], w["out_weights"], u),
            )
            for u in range(w["units"][b], w["units"][b + 1])
        ]
        attention = None
        if w["attends"][b]:
            values = [
                (w["value_in"][e], w["value_out"][e], number(w["value_weights"][e]))
                for e in range(w["value_starts"][b], w["value_starts"][b + 1])
            ]
            q, k = number(w["query_weights"][b]), number(w["key_weights"][b])
            attention = (w["query_channels"][b], q, w["key_channels"][b], k, values)
        blocks.append((w["eta"][b] == 0, units, attention))
    return blocks


def _block(state: list[list[Number]], block: tuple[Any, ...], zero: Number) -> list[list[Number]]:
    """Return the residuals after one block."""
    forgets, units, attention = block
    after = []
    for row in state:
        hidden = []
        for bias, reads, writes in units:
            total = bias
            for channel, weight in reads:
                total = total + weight * row[channel]
            if total > 0:
                hidden.append((total, writes))
        new = [zero] * len(row) if forgets else list(row)
        for value, writes in hidden:
            for channel, weight in writes:
                new[channel] = new[channel] + weight * value
        after.append(new)
    if attention is not None:
        _attend(after, attention, zero)
    return after


def _attend(state: list[list[Number]], attention: tuple[Any, ...], zero: Number) -> None:
    """Add the result of hardmax attention to each token."""
    query_channel, query, key_channel, key, values = attention
    scores = [query * row[query_channel] for row in state]
    keys = [key * row[key_channel] for row in state]
    largest, smallest = max(keys), min(keys)
    brought: dict[int, list[Number]] = {}
    for kind, extreme in ((1, largest), (-1, smallest), (0, None)):
        if any((score > zero) - (score < zero) == kind for score in scores):
            leaders = [row for row, k in zip(state, keys, strict=True) if extreme is None or k == extreme]
            brought[kind] = [sum((row[c] for row in leaders), zero) / len(leaders) for c, _, _ in values]
    for row, score in zip(state, scores, strict=True):
        means = brought[(score > zero) - (score < zero)]
        for (_, channel, weight), mean in zip(values, means, strict=True):
            row[channel] = row[channel] + weight * mean
