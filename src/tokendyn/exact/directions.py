"""The line on which tokens are compared: p = <a, x>, with a bound of its rounding error."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError

KINDS = ("auto", "coordinate", "sparse", "random")

#: Nonzeros of a sparse direction: so few that the rounding error does not grow with the dimension.
SPARSE = 4
#: Bits of the coefficients of random directions; products with short tokens stay exact.
_BITS = 12


@dataclass(frozen=True)
class Line:
    """A direction, the tokens on it, and how far a floating-point run can be from them.

    Attributes
    ----------
    direction
        ``(dim,)``, every entry representable in the type of the tokens.
    values
        ``(tokens,)`` float64: <a, x> of every distinct token.
    error
        ``E = gamma_{k+4} max sum |a_i x_i|`` with ``gamma_m = m u / (1 - m u)``, u the unit roundoff and k the
        nonzeros of a: a bound for any order of summation, of the rounding of the interval ends too. 0 when every
        product and every partial sum is exact.
    name
        What the direction is, for people.
    """

    direction: Float[np.ndarray, " dim"]
    values: Float[np.ndarray, " tokens"]
    error: float
    name: str


def project(tokens: Float[np.ndarray, "tokens dim"], direction: Float[np.ndarray, " dim"], name: str) -> Line:
    """Return the tokens on a line, every row added up in the same order, and the error bound of any other order."""
    used = np.flatnonzero(direction)
    values = np.zeros(len(tokens))
    size = np.zeros(len(tokens))
    for k in used:
        product = tokens[:, k].astype(np.float64) * float(direction[k])
        values += product
        size += np.abs(product)
    return Line(direction, values, _error(tokens, direction, used, size), name)


def _error(tokens: np.ndarray, direction: np.ndarray, used: np.ndarray, size: np.ndarray) -> float:
    info = np.finfo(tokens.dtype)
    largest = float(size.max(initial=0.0))
    underflow = 2.0 * len(used) * float(info.smallest_subnormal)
    coarse = min((_lowest_bit(tokens[:, k], float(direction[k])) for k in used), default=0.0)
    if coarse >= float(info.smallest_subnormal) and largest < coarse * 2.0 ** (info.nmant + 1):
        return 0.0  # all products and partial sums are multiples of `coarse` that fit the mantissa
    if len(used) == 1 and np.frexp(float(direction[used[0]]))[0] == 0.5 and coarse >= float(info.smallest_subnormal):
        return 0.0  # a power of two times a number
    steps = (len(used) + 4) * float(info.eps) / 2
    return steps / (1 - steps) * largest + underflow


def _lowest_bit(values: np.ndarray, factor: float) -> float:
    """Return a power of two that divides every product of the values and the factor; 0 if there is no float64 one."""
    numbers = values[values != 0].astype(np.float64)
    if not len(numbers):
        return np.inf
    return float(_unit(numbers).min() * _unit(np.array([float(factor)]))[0])


def _unit(numbers: np.ndarray) -> np.ndarray:
    """Return the largest power of two that divides each number."""
    mantissa, exponent = np.frexp(numbers)
    whole = np.ldexp(np.abs(mantissa), 53).astype(np.int64)
    return np.ldexp((whole & -whole).astype(np.float64), exponent - 53)


def scaled(tokens: Float[np.ndarray, "tokens dim"], direction: np.ndarray) -> Float[np.ndarray, " dim"]:
    """Return the direction times a power of two that brings the largest |p| near 1 if it is far from it."""
    info = np.finfo(tokens.dtype)
    with np.errstate(over="ignore"):
        largest = max(float(np.abs(tokens[:, k].astype(np.float64)).max(initial=0.0)) for k in range(tokens.shape[1]))
    weight = float(np.abs(direction).sum())
    exponent = int(np.frexp(largest)[1]) + int(np.frexp(weight)[1]) if largest else 0
    if abs(exponent) <= 16:
        return direction.astype(tokens.dtype)
    lowest, highest = int(info.minexp) + _BITS, int(info.maxexp) - 1 - _BITS
    return (direction * np.ldexp(1.0, int(np.clip(-exponent, lowest, highest)))).astype(tokens.dtype)


def candidates(tokens: Float[np.ndarray, "tokens dim"], kind: str, seed: int) -> Iterator[Line]:
    """Yield lines to try, the most promising first.

    ``coordinate``: the axes, that with the most distinct values first. ``sparse``: random directions of at most four
    nonzeros. ``random``: random directions of all coordinates. ``auto``: axes, then sparse, then random.

    Raises
    ------
    BadInputError
        If the kind is unknown.
    """
    if kind not in KINDS:
        raise BadInputError(f"direction={kind!r}; expected one of {', '.join(map(repr, KINDS))}")
    dim = tokens.shape[1]
    rng = np.random.default_rng(seed)
    if kind in ("auto", "coordinate"):
        yield from _axes(tokens, dim if kind == "coordinate" else min(dim, 4))
    if kind in ("auto", "sparse") and (dim > 1 or kind == "sparse"):
        for trial in range(64 if kind == "sparse" else 6):
            yield _random(tokens, rng, min(SPARSE, dim), f"sparse direction {trial}, seed {seed}")
    if kind in ("auto", "random") and (dim > SPARSE or kind == "random"):
        for trial in range(64 if kind == "random" else 6):
            yield _random(tokens, rng, dim, f"random direction {trial}, seed {seed}")


def _axes(tokens: np.ndarray, at_most: int) -> Iterator[Line]:
    sample = tokens[:: max(1, len(tokens) // 20000)]
    distinct = [len(np.unique(sample[:, k])) for k in range(tokens.shape[1])]
    for k in sorted(range(tokens.shape[1]), key=lambda k: -distinct[k])[:at_most]:
        axis = np.zeros(tokens.shape[1])
        axis[k] = 1.0
        # Scaled by this coordinate alone: another one may be far larger.
        one = scaled(tokens[:, k : k + 1], np.ones(1))
        yield project(tokens, (axis * float(one[0])).astype(tokens.dtype), f"coordinate {k}")


def _random(tokens: np.ndarray, rng: np.random.Generator, nonzeros: int, name: str) -> Line:
    """Return a random direction whose coefficients are integers of ``_BITS`` bits over a power of two."""
    direction = np.zeros(tokens.shape[1])
    used = rng.permutation(tokens.shape[1])[:nonzeros]
    half = 2 ** (_BITS - 1)
    direction[used] = rng.choice([-1, 1], nonzeros) * rng.integers(half // 2, half, nonzeros) / half
    return project(tokens, scaled(tokens, direction), name)
