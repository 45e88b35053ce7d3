"""Checks of the input of attention: shapes, numbers, parameters; and the slack of ties."""

from numbers import Real
from typing import Any

import numpy as np

from tokendyn.errors import BadInputError, ScaleError, listing
from tokendyn.scales import MODERATE, power_of_two

#: Largest sum of token weights: its product with a moderate coordinate is still finite.
LARGEST_WEIGHTS = float(np.finfo(np.float64).max) * MODERATE


def as_array(array: Any) -> np.ndarray:
    """Return an array; torch tensors on any device, with or without gradient, are converted."""
    if type(array).__module__.partition(".")[0] == "torch" and hasattr(array, "detach"):
        array = array.detach().cpu()
        array = (array.double() if array.is_floating_point() else array).numpy()
    try:
        return np.asarray(array)
    except ValueError:
        raise BadInputError("rows of different lengths; every token needs every coordinate") from None


def as_float64(array: object) -> np.ndarray:
    """Return real numbers as float64."""
    array = as_array(array)
    if array.dtype.kind not in "fiub":
        raise BadInputError(f"expected real numbers, got an array of {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):  # values that only longer floats hold are infinite here
        return np.asarray(array, dtype=np.float64)


def as_matrix(name: str, matrix: np.ndarray, *, square: bool) -> np.ndarray:
    """Return a finite matrix."""
    matrix = as_float64(matrix)
    if matrix.ndim != 2 or matrix.size == 0 or (square and matrix.shape[0] != matrix.shape[1]):
        kind = "square matrix" if square else "matrix"
        raise BadInputError(f"{name} must be a {kind}, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise BadInputError(f"{name} has NaN or infinite entries")
    return matrix


def check_parameters(
    inverse_temperature: float,
    tie_tolerance: float,
    error_tolerance: float = 0.0,
    backend: str = "auto",
    known: tuple[str, ...] = ("auto",),
) -> None:
    """Raise an error that lists all parameters that are out of range."""
    problems: list[str] = []
    temperature: Any = inverse_temperature
    if not isinstance(temperature, Real):
        raise BadInputError(f"attention: inverse_temperature must be a number, got {inverse_temperature!r}")
    if not inverse_temperature > 0:
        problems.append(f"inverse_temperature must be positive (inf is hardmax), got {inverse_temperature}")
    if not 0 <= tie_tolerance < 1:
        problems.append(f"tie_tolerance must be in [0, 1), got {tie_tolerance}")
    if not 0 <= error_tolerance < 1:
        problems.append(f"error_tolerance must be in [0, 1), got {error_tolerance}")
    if backend not in known and not (known != ("auto",) and backend.startswith("tensors:")):
        kind = "hardmax" if inverse_temperature == np.inf else "softmax"
        problems.append(f"backend must be one of {', '.join(known)} for {kind}, got {backend!r}")
    if problems:
        raise BadInputError.all_of("attention", problems)


def check_shapes(queries: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes ``(*batch, rows)`` of the queries and ``(*batch, tokens)`` of the keys, or raise."""
    fits = min(queries.ndim, keys.ndim, values.ndim) >= 2 and (
        queries.shape[:-2] == keys.shape[:-2]
        and queries.shape[-1] == keys.shape[-1]
        and keys.shape[:-1] == values.shape[:-1]
    )
    if not fits:
        raise BadInputError(
            "queries must be (..., rows, dim), keys (..., tokens, dim) and values (..., tokens, value_dim), with the "
            f"same leading axes; got {queries.shape}, {keys.shape} and {values.shape}"
        )
    if 0 in (*queries.shape[-2:], *keys.shape[-2:], *values.shape[-2:]):
        raise BadInputError(f"there is no token or no coordinate in {queries.shape}, {keys.shape} or {values.shape}")
    return queries.shape[:-1], keys.shape[:-1]


def check_finite(*arrays: np.ndarray) -> None:
    """Raise an error with the index of the first entry that is NaN or infinite."""
    for array in arrays:
        if not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise BadInputError(f"NaN or infinite entry at index {where}; remove or mask that token")


def check_scale(
    queries: np.ndarray, keys: np.ndarray, values: np.ndarray | None = None, weights: np.ndarray | None = None
) -> None:
    """Raise when a score, a squared norm or a weighted sum of values could exceed the largest double."""
    largest = max(float(np.abs(queries).max(initial=0.0)), float(np.abs(keys).max(initial=0.0)))
    bounds = [queries.shape[-1] * largest * largest]
    if values is not None and weights is not None:
        bounds.append(float(weights.sum(axis=-1).max(initial=0.0)) * float(np.abs(values).max(initial=0.0)))
    if not np.isfinite(bounds).all():
        raise ScaleError(f"scores or sums overflow float64 at entries of {largest:.3g}; scale the tokens down")


def as_mask(
    mask: object | None, rows: tuple[int, ...], tokens: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return which tokens exist, and which pairs of row and token may meet; None for all, and None is all true.

    A mask of shape ``(*batch, tokens)`` says which tokens exist; one of ``(*batch, rows, tokens)``, which pairs meet;
    for a batch the axes of the batch are always there, so that ``(n, n)`` of a batch of n problems is of tokens.
    """
    if mask is None:
        return np.ones(tokens, dtype=bool), None
    mask = as_array(mask)
    pairs = (*rows, tokens[-1])
    if mask.dtype != bool or mask.shape not in (tokens, pairs):
        raise BadInputError(
            f"mask must be bool of shape {tokens}, one entry a token, or {pairs}, one a pair; got {mask.dtype} of "
            f"shape {mask.shape}"
        )
    return (mask, None) if mask.shape == tokens else (np.ones(tokens, dtype=bool), mask)


def as_rows(rows: object | None, count: int) -> np.ndarray | None:
    """Return numbers of rows; None is all."""
    if rows is None:
        return None
    rows = as_array(rows)
    if rows.size == 0:
        return np.empty(0, dtype=np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise BadInputError(f"rows must be a list of whole numbers, got {rows.dtype} of shape {rows.shape}")
    wrong = rows[(rows < 0) | (rows >= count)]
    if wrong.size:
        raise BadInputError(f"rows must be between 0 and {count - 1}, got {listing(wrong)}")
    return rows.astype(np.int64)


def as_weights(weights: np.ndarray | None, shape: tuple[int, ...], mask: np.ndarray) -> np.ndarray:
    """Return positive weights, 1 where a token is masked; None is all 1."""
    if weights is None:
        return np.ones(shape)
    weights = as_float64(weights)
    if weights.shape != shape:
        raise BadInputError(f"weights must have shape {shape}, got {weights.shape}")
    weights = np.where(mask, weights, 1.0)
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise BadInputError("token weights must be positive and finite; leave tokens of weight 0 out")
    with np.errstate(over="ignore"):
        largest = float(weights.sum(axis=-1).max(initial=0.0))
    # The sums of weights times coordinates must not overflow: that would be NaN among the results.
    if largest > LARGEST_WEIGHTS:
        raise BadInputError(
            f"token weights add up to {largest:.3g}, more than {LARGEST_WEIGHTS:.3g}; divide all by one number: "
            "means depend on their ratios only"
        )
    return weights


def tie_slack(queries: np.ndarray, keys: np.ndarray, tie_tolerance: float) -> np.ndarray:
    """Return ``tie_tolerance |q_i| max_j |k_j|``, shape ``(*batch, tokens)``."""
    if tie_tolerance == 0:
        return np.zeros(queries.shape[:-1])
    radius = np.sqrt((keys * keys).sum(axis=-1)).max(axis=-1, keepdims=True)
    return tie_tolerance * np.sqrt((queries * queries).sum(axis=-1)) * radius


def near_one(array: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Return an array divided by its :func:`power_of_two`, and that power; raise if the division loses bits."""
    unit = power_of_two(array)
    if unit == 1:
        return array, unit
    scaled = array / unit
    if not np.array_equal(scaled * unit, array):
        raise ScaleError(
            f"{name} hold both {np.abs(array).max():.2g} and {np.abs(array[array != 0]).min():.2g}, of which float64 "
            "has no products; leave out or scale what is so far from the rest"
        )
    return scaled, unit


def lifted(queries: np.ndarray, keys: np.ndarray, *, by_row: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return queries and keys whose scores do not underflow, and the factor of the scores; None when it is 1.

    Multiplication by a power of two changes no bit of a mantissa, so comparisons of scores stay the same. At hardmax
    each query has its own power (``by_row``).
    """
    # Ordinary input is returned without a copy: only coordinates far below 1 can make products underflow.
    sizes = np.abs(queries).max(axis=-1)
    smallest = sizes[sizes > 0].min(initial=1.0)
    largest_key = float(np.abs(keys).max(initial=0.0))
    if largest_key == 0 or (smallest >= MODERATE and largest_key >= MODERATE):
        return queries, keys, None
    sizes = sizes if by_row else np.array(sizes.max(initial=0.0))
    units = np.where(sizes > 0, np.ldexp(1.0, np.maximum(np.frexp(sizes)[1], -1022)), 1.0)
    key_unit = 2.0 ** max(int(np.frexp(largest_key)[1]), -1022)
    return queries / units[..., None], keys / key_unit, np.asarray(units * key_unit)


def check_underflow(queries: np.ndarray, keys: np.ndarray, tops: np.ndarray) -> None:
    """Raise when products of coordinates may have underflowed in a row whose largest score is as small as they are."""
    # 2^-900 and 2^-960: far above 2^-1022, below which products lose bits, with room for sums of many coordinates.
    low = (np.abs(tops) < 2.0**-900) & (queries != 0).any(axis=-1)
    if not low.any():
        return
    with np.errstate(divide="ignore"):
        smallest = np.log2(np.where(keys == 0, np.inf, np.abs(keys))).min(axis=tuple(range(keys.ndim - 1)))
        sizes = np.log2(np.where(queries[low] == 0, np.inf, np.abs(queries[low])))
    if (sizes + smallest < -960).any():
        raise ScaleError(
            "scores underflow float64: coordinates of one token differ by more than a factor of 1e150; scale its axes"
        )
