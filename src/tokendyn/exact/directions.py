"""The line on which tokens are compared: p = <a, x - c>, with a bound of its rounding error.

Distinct tokens must stay distinct on it. Where the coordinates are multiples of a power of two (integers, pixels,
bits), the coefficients are integers with all the bits that the mantissa leaves, so that nothing rounds and tokens meet
by chance only; those that do are parted by drawing coefficients anew. Elsewhere the coefficients fill the mantissa.

A coordinate that is far from 0 beside its range wastes the mantissa on its offset. There c is one of its values, such
that all differences from it are numbers of the type, and otherwise 0: block 0 subtracts it without rounding.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tokendyn.errors import BadInputError

KINDS = ("auto", "coordinate", "sparse", "random")

#: Nonzeros of a sparse direction: so few that the rounding error does not grow with the dimension.
SPARSE = 4
#: Fewest bits that random coefficients of a line without rounding need; with fewer left, the line may round.
_FEWEST_BITS = 12
#: Tokens are shifted only when they leave fewer than this number of bits.
_SPARE_BITS = 24
#: Number of random lines that are tried, and of draws of a coefficient to separate tokens that meet on a line.
_TRIALS, _REPAIRS = 6, 24


@dataclass(frozen=True)
class Line:
    """A direction, the tokens on it, and the largest error of a floating-point run.

    Attributes
    ----------
    direction
        ``(dim,)``, every entry representable in the type of the tokens.
    values
        ``(tokens,)`` float64: <a, x - c> of every distinct token.
    error
        ``E = gamma_{k+4} max sum |a_i x_i|`` with ``gamma_m = m u / (1 - m u)``, u the unit roundoff and k the
        nonzeros of a: a bound for any order of summation, of the rounding of the interval ends too. 0 when every
        product and every partial sum is exact.
    name
        Name of the direction, for messages.
    centre
        ``(dim,)``: c, 0 where the direction is 0; every difference ``x - c`` of these tokens is exact in their type.
    """

    direction: Float[np.ndarray, " dim"]
    values: Float[np.ndarray, " tokens"]
    error: float
    name: str
    centre: Float[np.ndarray, " dim"]

    def __post_init__(self) -> None:
        """Set the centre to 0 in the coordinates that the direction does not read."""
        centre = np.where(self.direction != 0, self.centre, 0).astype(self.direction.dtype)
        object.__setattr__(self, "centre", centre)


def project(
    tokens: Float[np.ndarray, "tokens dim"],
    direction: Float[np.ndarray, " dim"],
    name: str,
    centre: Float[np.ndarray, " dim"] | None = None,
) -> Line:
    """Return the tokens on a line, every row summed in the same order, with an error bound for any other order."""
    if centre is not None:
        return replace(project(tokens - centre.astype(tokens.dtype), direction, name), centre=centre)
    used = np.flatnonzero(direction)
    values, size = _added_up(tokens, direction, used)
    units = np.array([_unit_exponents(tokens[:, k]).min(initial=_EMPTY) for k in used])
    return Line(
        direction=direction,
        values=values,
        error=_error(tokens.dtype, direction[used], units, size),
        name=name,
        centre=np.zeros_like(direction),
    )


#: Unit of a coordinate that is 0 in all tokens: every power of two divides it.
_EMPTY = 5000


def _added_up(tokens: np.ndarray, direction: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, float]:
    """Return ``sum a_k x_k`` of each token, in the order of k, and the largest ``sum |a_k x_k|``."""
    values, size = np.zeros(len(tokens)), np.zeros(len(tokens))
    for k in used:
        product = tokens[:, k].astype(np.float64) * float(direction[k])
        values += product
        size += np.abs(product)
    return values, float(size.max(initial=0.0))


def _error(kind: np.dtype[Any], weights: np.ndarray, units: np.ndarray, largest: float) -> float:
    """Return E; ``units`` are the exponents of powers of two that divide the numbers of each coordinate."""
    info = np.finfo(kind)
    coarse = int((units + _unit_exponents(weights)).min(initial=_EMPTY))
    fits = coarse >= int(info.minexp) - int(info.nmant)
    if fits and int(np.frexp(largest)[1]) <= coarse + int(info.nmant) + 1:
        return 0.0  # all products and partial sums are multiples of 2^coarse that fit the mantissa
    if len(weights) == 1 and abs(np.frexp(float(weights[0]))[0]) == 0.5 and fits:
        return 0.0  # a power of two times a number
    steps = (len(weights) + 4) * float(info.eps) / 2
    return steps / (1 - steps) * largest + 2.0 * len(weights) * float(info.smallest_subnormal)


def _unit_exponents(values: np.ndarray) -> Int[np.ndarray, " nonzero"]:
    """Return the exponent of the largest power of two that divides each number that is not 0."""
    mantissa, exponent = np.frexp(values[values != 0].astype(np.float64))
    integers = np.ldexp(np.abs(mantissa), 53).astype(np.int64)
    exponents: np.ndarray = exponent - 54 + np.frexp((integers & -integers).astype(np.float64))[1]
    return exponents


def candidates(tokens: Float[np.ndarray, "tokens dim"], kind: str, seed: int) -> Iterator[Line]:
    """Yield lines to try, the most promising first.

    ``coordinate``: the axes, that with the most distinct values first. ``sparse``: random directions of at most four
    nonzeros. ``random``: random directions of all coordinates. ``auto``: axes, then sparse, then random. The last of
    ``auto`` and ``random`` is a mixed radix, on which distinct tokens never meet, where the mantissa holds it.

    Raises
    ------
    BadInputError
        If the kind is unknown.
    """
    if kind not in KINDS:
        raise BadInputError(f"direction={kind!r}; expected one of {', '.join(map(repr, KINDS))}")
    centre = _centre(tokens, _SPARE_BITS)
    for line in _candidates(tokens - centre, kind, seed):
        yield replace(line, centre=centre)
    if kind in ("auto", "random"):
        centre = _centre(tokens, None)
        for line in _mixed_radix(tokens - centre):
            yield replace(line, centre=centre)


def _centre(tokens: np.ndarray, spare: int | None) -> np.ndarray:
    """Return a value of each coordinate from which all differences are exact; 0 where none exists or is needed.

    It is needed where more than one bit goes to the offset and the mantissa has fewer than ``spare`` bits left.
    """
    centre = np.zeros(tokens.shape[1], tokens.dtype)
    if spare is not None and _Grid.of(tokens).room >= spare:
        return centre
    low, high = tokens.min(axis=0) / 4, tokens.max(axis=0) / 4  # a quarter, so that nothing overflows
    far = np.maximum(-low, high) > (0 if spare is None else 2) * (high - low)
    for k in np.flatnonzero((low != high) & far & (np.maximum(-low, high) < np.finfo(tokens.dtype).max / 16)):
        column = tokens[:, k]
        middle = column[np.argmin(np.abs(column / 4 - (low[k] + (high[k] - low[k]) / 2)))]
        if _differ_exactly(column, middle):
            centre[k] = middle
    return centre


def _differ_exactly(values: np.ndarray, middle: Any) -> bool:
    """Return whether no difference rounds: the error of each, which is a number of the type, is 0."""
    # Knuth's two-sum, which computes the rounding error of a difference exactly.
    difference = values - middle
    subtracted = values - difference
    return not ((values - (difference + subtracted)) + (subtracted - middle)).any()


def _candidates(tokens: np.ndarray, kind: str, seed: int) -> Iterator[Line]:
    """Yield lines through 0."""
    dim = tokens.shape[1]
    rng = np.random.default_rng(seed)
    if kind in ("auto", "coordinate"):
        yield from _axes(tokens, dim if kind == "coordinate" else min(dim, 4))
    if kind == "coordinate":
        return
    grid = _Grid.of(tokens)
    if kind == "sparse" or len(grid.used) > 1:
        for trial in range(64 if kind == "sparse" else _TRIALS) if kind != "random" else ():
            yield _random(tokens, grid, rng, SPARSE, f"sparse direction {trial}, seed {seed}")
    if kind == "random" or (kind == "auto" and len(grid.used) > SPARSE):
        for trial in range(64 if kind == "random" else _TRIALS):
            yield _random(tokens, grid, rng, dim, f"random direction {trial}, seed {seed}")


def _axes(tokens: np.ndarray, at_most: int) -> Iterator[Line]:
    sample = tokens[:: max(1, len(tokens) // 20000)]
    distinct = [len(np.unique(sample[:, k])) for k in range(tokens.shape[1])]
    for k in sorted(range(tokens.shape[1]), key=lambda k: -distinct[k])[:at_most]:
        axis = np.zeros(tokens.shape[1], tokens.dtype)
        axis[k] = np.ldexp(1.0, _axis_exponent(tokens[:, k]))
        yield project(tokens, axis, f"coordinate {k}")


def _axis_exponent(values: np.ndarray) -> int:
    """Return the exponent of a power of two that brings the largest value near 1 when it is far, and keeps every gap.

    A coordinate with both 1e300 and 1e-300 stays as large as the smaller one needs.
    """
    info = np.finfo(values.dtype)
    numbers = np.unique(values.astype(np.float64))
    largest = int(np.frexp(np.abs(numbers).max())[1])
    with np.errstate(over="ignore"):
        gap = int(np.frexp(np.diff(numbers).min(initial=1.0))[1])
    least = int(info.minexp) + 8 - gap  # the smallest gap must be one that a query can have
    least = max(least, int(info.minexp) - int(info.nmant) - int(_unit_exponents(numbers).min(initial=0)))
    preferred = max(-largest if abs(largest) > 16 else 0, least)
    most = int(info.maxexp) - 4 - max(largest, 0)
    return int(np.clip(min(preferred, most), info.minexp, info.maxexp - 1))


@dataclass(frozen=True)
class _Grid:
    """The coordinates as multiples of powers of two.

    Attributes
    ----------
    used
        Coordinates that are not the same in all tokens.
    unit
        ``(used,)`` exponents: the largest power of two that divides every number of the coordinate.
    size
        ``(used,)`` exponents: the numbers of the coordinate are below this power of two.
    digits
        ``(used,)``: bits of the difference of two numbers of the coordinate, in units.
    room
        Bits that the mantissa leaves for the coefficients if no sum may round; at most those of a coefficient.
    """

    used: Int[np.ndarray, " used"]
    unit: Int[np.ndarray, " used"]
    size: Int[np.ndarray, " used"]
    digits: Int[np.ndarray, " used"]
    room: int

    @classmethod
    def of(cls, tokens: Float[np.ndarray, "tokens dim"]) -> "_Grid":
        """Return the grid of all tokens."""
        used = np.flatnonzero((tokens != tokens[:1]).any(axis=0))
        used = used if len(used) else np.array([0])
        unit, size, digits = (np.zeros(len(used), np.int64) for _ in range(3))
        total = np.zeros(len(tokens))
        for index, k in enumerate(used):
            numbers = tokens[:, k].astype(np.float64)
            size[index] = int(np.frexp(np.abs(numbers).max())[1])
            unit[index] = _unit_exponents(numbers).min(initial=size[index])
            span = float(numbers.max() / 2 - numbers.min() / 2)  # half of it, which cannot overflow
            digits[index] = int(np.frexp(span)[1]) + 1 - unit[index]
            with np.errstate(over="ignore"):
                total += np.ldexp(np.abs(numbers), -unit[index])
        most = int(np.finfo(tokens.dtype).nmant) + 1
        room = most - int(np.frexp(total.max())[1]) if np.isfinite(total).all() else 0
        return cls(used=used, unit=unit, size=size, digits=digits, room=min(room, most))


def _random(tokens: np.ndarray, grid: _Grid, rng: np.random.Generator, nonzeros: int, name: str) -> Line:
    """Return a random direction with as many bits as the grid allows, repaired where tokens meet on it."""
    chosen = np.sort(rng.permutation(len(grid.used))[:nonzeros])
    exact = grid.room >= _FEWEST_BITS
    bits = grid.room if exact else int(np.finfo(tokens.dtype).nmant) + 1
    coefficients = rng.choice([-1, 1], len(chosen)) * rng.integers(2 ** (bits - 1), 2**bits, len(chosen))
    if exact:
        coefficients = _repaired(tokens, grid, chosen, coefficients, bits, rng)
        return _line(tokens, grid, chosen, coefficients, -grid.unit[chosen], name)
    return _line(tokens, grid, chosen, coefficients, -grid.size[chosen] - bits, name)


def _repaired(
    tokens: np.ndarray, grid: _Grid, chosen: np.ndarray, coefficients: np.ndarray, bits: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw coefficients again, one at a time, while tokens meet on the line; return the best ones."""

    def numbers(index: int) -> np.ndarray:
        k = chosen[index]
        column: np.ndarray = np.ldexp(tokens[:, grid.used[k]].astype(np.float64), -grid.unit[k])
        return column

    values = np.zeros(len(tokens))
    for index, a in enumerate(coefficients):
        values += numbers(index) * float(a)
    meeting = _meeting(values)
    for _ in range(_REPAIRS):
        if not meeting:
            break
        index = int(rng.integers(len(chosen)))
        other = int(rng.choice([-1, 1]) * rng.integers(2 ** (bits - 1), 2**bits))
        moved = values - numbers(index) * float(coefficients[index]) + numbers(index) * float(other)
        if (now := _meeting(moved)) <= meeting:
            values, meeting = moved, now
            coefficients[index] = other
    return coefficients


def _meeting(values: np.ndarray) -> int:
    """Return the number of equal neighbours on the line."""
    return int(np.count_nonzero(np.diff(np.sort(values)) == 0))


def _mixed_radix(tokens: np.ndarray) -> Iterator[Line]:
    """Yield the direction that writes the coordinates one after the other as digits, if the mantissa holds them."""
    grid = _Grid.of(tokens)
    if len(grid.used) > 1 and grid.digits.sum() <= np.finfo(tokens.dtype).nmant + 1:
        shift = np.concatenate([[0], np.cumsum(grid.digits)[:-1]])
        yield _line(tokens, grid, np.arange(len(grid.used)), 2**shift, -grid.unit, "mixed radix")


def _line(
    tokens: np.ndarray, grid: _Grid, chosen: np.ndarray, coefficients: np.ndarray, exponents: np.ndarray, name: str
) -> Line:
    """Return the line of the coefficients ``coefficients 2^exponents``, scaled by a power of two.

    The scale makes the largest coefficient less than 1, or p itself where p would be far from 1.
    """
    info = np.finfo(tokens.dtype)
    weight = np.frexp(np.abs(coefficients).astype(np.float64))[1] + exponents
    shift = -int(weight.max())
    reach = int((weight + grid.size[chosen]).max()) + shift
    shift -= reach if abs(reach) > 16 else 0
    shift = min(max(shift, int(info.minexp) + 1 - int(weight.min())), int(info.maxexp) - 1 - int(weight.max()))
    used = grid.used[chosen]
    direction = np.zeros(tokens.shape[1], tokens.dtype)
    with np.errstate(over="ignore"):
        direction[used] = np.ldexp(coefficients.astype(np.float64), exponents + shift)
    if not np.isfinite(direction).all():  # coordinates of such different scales have no common line
        direction = np.where(np.isfinite(direction), direction, 0).astype(tokens.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        values, size = _added_up(tokens, direction, used)
    if not math.isfinite(size):
        values, size = np.zeros(len(tokens)), 0.0
        direction = np.zeros_like(direction)
    error = _error(tokens.dtype, direction[used], grid.unit[chosen], size)
    return Line(direction=direction, values=values, error=error, name=name, centre=np.zeros_like(direction))
