"""The attention step by Triton kernels, for tensors of few coordinates on a GPU.

Hardmax, exact: scores in float32 name the leader of every row in which the runner-up lies further behind than float32
can err. The other rows are scored in float64 in the canonical way (no product is contracted with a sum). Rows that
tie even so are decided by :mod:`tokendyn.attention.gemm`. All three give the same bits as the reference.

Softmax: in one of three precisions, with a proven bound for the two that use float32.

Without a GPU the kernels run in Triton's interpreter (``TRITON_INTERPRET=1`` before Triton is imported): slow, for
tests.
"""

import contextlib
import importlib
import importlib.util
import math
from types import ModuleType
from typing import Any

from jaxtyping import Float

from tokendyn.attention import gemm
from tokendyn.errors import BadInputError, ScaleError
from tokendyn.optional import missing, torch

Tensor = torch.Tensor

#: Kernels are unrolled over coordinates; beyond this many, matrix products are the better tool.
MOST_COORDINATES = 16

#: Types of scores and of terms.
PRECISIONS = {
    "double": (torch.float64, torch.float64),
    "mixed": (torch.float64, torch.float32),
    "single": (torch.float32, torch.float32),
}

#: Weights may span this much in float32 terms: less than the range of its normal numbers.
WEIGHT_SPAN = 1e30

EPS = torch.finfo(torch.float32).eps
LOG2_E = math.log2(math.e)


def refusal(
    queries: Float[Tensor, "rows score_dim"],
    keys: Float[Tensor, "tokens score_dim"],
    values: Float[Tensor, "tokens value_dim"],
) -> str:
    """Return why Triton cannot compute a step and what to do, or an empty text."""
    if lacking := missing("triton"):
        return f"{lacking} (Linux), or take backend='tiled'"
    width = max(keys.shape[1], values.shape[1])
    if width > MOST_COORDINATES:
        return f"triton takes up to {MOST_COORDINATES} coordinates, got {width}: take backend='tiled'"
    if max(len(queries), len(keys)) * width >= 2**31:
        return f"triton indexes with 32 bits, got {len(keys)} keys of {width} coordinates: take backend='tiled'"
    if keys.device.type != "cuda" and not _is_interpreted():
        return (
            f"triton needs tensors on a CUDA device, got {keys.device}: take backend='tiled', or set "
            "TRITON_INTERPRET=1 before Triton is imported (slow, for tests)"
        )
    return ""


def hardmax(
    queries: Float[Tensor, "rows score_dim"],
    slack: Float[Tensor, " rows"],
    keys: Float[Tensor, "tokens score_dim"],
    values: Float[Tensor, "tokens value_dim"],
    weights: Float[Tensor, " tokens"],
) -> tuple[gemm.Found, str]:
    """Return the fields of :func:`tokendyn.attention.gemm.hardmax`, with the same bits, and how rows were decided."""
    leaders, sure = _leaders_in_single(queries, slack, keys)
    doubtful = (~sure).nonzero()[:, 0]
    if len(doubtful):
        leaders[doubtful], sure[doubtful] = _leaders_in_double(queries[doubtful], slack[doubtful], keys)
    fields = (
        values[leaders],
        leaders,
        torch.ones_like(leaders),
        torch.zeros_like(slack),
        gemm.canonical_pairs(queries, keys[leaders]),
        weights[leaders],
    )
    tied = (~sure).nonzero()[:, 0]
    if len(tied):
        for field, part in zip(fields, gemm.hardmax(queries[tied], slack[tied], keys, values, weights), strict=True):
            field[tied] = part
    return fields, f"of {len(queries)} rows {len(doubtful)} needed float64 scores, and {len(tied)} of these tie"


def softmax(
    queries: Float[Tensor, "rows score_dim"],
    keys: Float[Tensor, "tokens score_dim"],
    values: Float[Tensor, "tokens value_dim"],
    weights: Float[Tensor, " tokens"],
    tops: Float[Tensor, " rows"],
    inverse_temperature: float,
    precision: str,
) -> tuple[Float[Tensor, "rows value_dim"], Float[Tensor, " rows"], float]:
    r"""Return means, masses ``sum_j w_j exp(beta (s_ij - top_i))`` and a bound on the error of float32.

    Notes
    -----
    Let ``u = eps / 2`` be the rounding of float32. A term ``w_j e^{-y}`` whose exponent is rounded errs by ``u y``
    of itself. Over a row these errors average to ``u sum_j p_j y_j <= u log(sum_l w_l / min_l w_l)`` (Jensen, since
    the mass is at least one weight). The exponential, the products and the sum over ``KEYS`` terms add less than
    ``(KEYS + 16) u``. Numerator and denominator both err, which doubles it. Scores in float32 err by at most
    ``e = (d + 3) eps beta |q|_1 max|k|_inf``, which moves a mean by ``e^{2e} - 1``.
    """
    scores, terms = PRECISIONS[precision]
    fold, dim = inverse_temperature * LOG2_E, queries.shape[1]
    steepest = fold * float(queries.abs().sum(dim=1).max()) * float(keys.abs().max())
    if not math.isfinite(steepest):
        raise ScaleError(f"beta times scores overflow float64 at beta = {inverse_temperature:.3g}; scale it down")
    bound = _bound(steepest / LOG2_E, weights, dim, precision) if terms == torch.float32 else 0.0
    size = 2.0 ** (math.frexp(float(values.abs().max()))[1] - 1)
    sums = queries.new_empty(len(queries), values.shape[1])
    masses = queries.new_empty(len(queries))
    inputs = [
        (fold * queries).T.to(scores).contiguous(),
        keys.T.to(scores).contiguous(),
        (values / size).T.to(terms).contiguous(),
        (weights / weights.max()).to(terms),
        (-fold * tops).to(scores),
    ]
    _launch(
        "softmax", len(queries), [*inputs, sums, masses, len(queries), len(keys)], fuse=True,
        DIM=dim, VALUE_DIM=values.shape[1], COLUMNS=_power_of_two(values.shape[1]),
    )  # fmt: skip
    return sums / masses[:, None] * size, masses * weights.max(), bound


def _leaders_in_single(queries: Tensor, slack: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best key of every row by scores in float32, and where it certainly leads alone.

    Rows and keys are scaled to largest entries of 1. A score then errs by less than ``(d + 2) eps |q|_1``; the margin
    is four times the errors of two scores.
    """
    row_scale = queries.abs().amax(dim=1)
    row_scale = torch.where(row_scale == 0, 1.0, row_scale)
    scale = float(keys.abs().max()) or 1.0
    scaled = queries / row_scale[:, None]
    tops, runners, leaders = _best_two(scaled.float(), (keys / scale).float(), fuse=True)
    margin = 8 * (queries.shape[1] + 2) * EPS * scaled.abs().sum(dim=1) + slack / row_scale / scale
    return leaders, tops.double() - runners.double() > margin


def _leaders_in_double(queries: Tensor, slack: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first best key of every row by canonical scores, and where it leads alone."""
    tops, runners, leaders = _best_two(queries, keys, fuse=False)
    return leaders, runners < tops - slack


def _best_two(queries: Tensor, keys: Tensor, *, fuse: bool) -> tuple[Tensor, Tensor, Tensor]:
    tops, runners = queries.new_empty(2, len(queries))
    leaders = torch.empty(len(queries), dtype=torch.int32, device=queries.device)
    tensors = [queries.T.contiguous(), keys.T.contiguous(), tops, runners, leaders]
    _launch("leaders", len(queries), [*tensors, len(queries), len(keys)], fuse=fuse, DIM=queries.shape[1])
    return tops, runners, leaders.long()


def _bound(steepest: float, weights: Tensor, dim: int, precision: str) -> float:
    """Return the bound of :func:`softmax`, or raise when float32 cannot hold the scores or the weights."""
    span = float(weights.max() / weights.min())
    if span > WEIGHT_SPAN:
        raise BadInputError(
            f"weights span a factor of {span:.1g}, float32 terms hold {WEIGHT_SPAN:g}: take precision='double'"
        )
    error = (dim + 3) * EPS * steepest if precision == "single" else 0.0
    if error > 0.1:
        raise BadInputError(
            f"scores in float32 would err by {error:.2g} at beta |q| |k| = {steepest:.3g}: take precision='mixed'"
        )
    spread = math.log(float(weights.sum() / weights.min()))
    return math.expm1(2 * error) + EPS * (spread + _kernels().KEYS.value + 16)


def _launch(name: str, rows: int, arguments: list[Any], *, fuse: bool, **constants: int) -> None:
    """Run a kernel over all rows on the device of its tensors."""
    kernels = _kernels()
    device = arguments[0].device
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        grid = (-(-rows // kernels.ROWS.value),)
        getattr(kernels, name)[grid](*arguments, **constants, num_warps=4, enable_fp_fusion=fuse)


def _kernels() -> ModuleType:
    return importlib.import_module("tokendyn.attention.triton_kernels")


def _is_interpreted() -> bool:
    """Whether Triton was imported to interpret kernels instead of compiling them."""
    from triton.runtime import JITFunction  # type: ignore[import-untyped,import-not-found,unused-ignore]

    return not isinstance(_kernels().leaders, JITFunction)


def _power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least a number, and at least 2."""
    return max(2, 1 << (number - 1).bit_length())
