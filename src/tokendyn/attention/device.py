"""The attention step on torch tensors, on their own device: a CPU or a GPU.

Two backends: ``tiled`` works on any device by tiles of matrix products (:mod:`tokendyn.attention.gemm` at hardmax),
``triton`` by kernels for few coordinates on a GPU (:mod:`tokendyn.attention.triton_step`). Hardmax has the bits of
:func:`tokendyn.attention.attend` with both. ``run``, ``integrate`` and ``simulate`` come here by ``device=``.
Nothing of the size of tokens by tokens is held.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from tokendyn.attention import gemm, triton_step
from tokendyn.attention.checks import check_parameters
from tokendyn.attention.problem import Choice, Problem
from tokendyn.errors import BadInputError, ScaleError
from tokendyn.optional import torch

Tensor = torch.Tensor


@dataclass(frozen=True)
class TensorStep:
    """The result of one attention step; the fields of :class:`~tokendyn.attention.AttentionStep` as tensors.

    ``choice`` names the backend, says why, and bounds the error of float32 in softmax means; 0 is float64.
    """

    means: Float[Tensor, "tokens value_dim"]
    leaders: Int[Tensor, " tokens"]
    tie_counts: Int[Tensor, " tokens"]
    tie_spreads: Float[Tensor, " tokens"]
    top_scores: Float[Tensor, " tokens"]
    log_masses: Float[Tensor, " tokens"]
    choice: Choice


def attend_tensors(
    queries: Float[Tensor, "rows score_dim"],
    keys: Float[Tensor, "tokens score_dim"],
    values: Float[Tensor, "tokens value_dim"],
    *,
    inverse_temperature: float = math.inf,
    tie_tolerance: float = 0.0,
    weights: Float[Tensor, " tokens"] | None = None,
    backend: str | None = None,
    precision: str = "double",
) -> TensorStep:
    """Let queries attend to keys once, on the device of the tensors; see :func:`tokendyn.attention.attend`.

    Parameters
    ----------
    queries, keys, values
        float64 tensors on one device.
    inverse_temperature, tie_tolerance, weights
        See :func:`tokendyn.attention.attend`.
    backend
        ``"tiled"``, ``"triton"`` (for 16 coordinates at most), or None: ``triton`` for CUDA tensors where it is
        installed and applies, else ``tiled``.
    precision
        Of softmax sums. ``"double"``: float64. Only with ``triton``: ``"mixed"``, scores in float64, exponentials
        and sums of 64 terms in float32, totals in float64; ``"single"``, scores in float32 too.
        ``choice.error_bound`` bounds what float32 does to a mean, relative to ``max_j |v_j|_2``. At hardmax it
        changes nothing.

    Raises
    ------
    BadInputError
        For tensors that are not finite float64 of matching shapes on one device, parameters out of range, a backend
        that does not apply or is not installed, or a precision that cannot hold the scores or weights.
    ScaleError
        When scores could overflow.

    Examples
    --------
    >>> import torch
    >>> from tokendyn.attention.device import attend_tensors
    >>> tokens = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.2]], dtype=torch.float64)
    >>> attend_tensors(tokens, tokens, tokens).leaders
    tensor([0, 1, 0])
    """
    check_parameters(inverse_temperature, tie_tolerance)
    weights = torch.ones_like(keys[:, 0]) if weights is None else weights
    _check(queries, keys, values, weights)
    radius = (keys * keys).sum(dim=1).sqrt().max()
    slack = tie_tolerance * (queries * queries).sum(dim=1).sqrt() * radius
    choice = _choice(queries, keys, values, backend, precision)
    return _step(queries, slack, keys, values, weights, inverse_temperature, choice, precision)


def step_on(device: str, problem: Problem) -> tuple[tuple[np.ndarray, ...], Choice]:
    """Return the fields of :class:`~tokendyn.attention.AttentionStep` for a problem, computed on a device of torch.

    Raises
    ------
    BadInputError
        If there is no such device here.
    """
    arrays = (problem.queries, problem.slack, problem.keys, problem.values, problem.weights)
    try:
        queries, slack, keys, values, weights = (
            torch.from_numpy(np.require(part, requirements=["C", "W"])).to(device) for part in arrays
        )
    except (RuntimeError, AssertionError) as error:
        raise BadInputError(
            f"device={device!r} cannot be used here ({str(error).splitlines()[0]}); leave it out, or take 'cpu'"
        ) from None
    choice = _choice(queries, keys, values, None, "double")
    result = _step(queries, slack, keys, values, weights, problem.inverse_temperature, choice, "double")
    names = ("means", "leaders", "tie_counts", "tie_spreads", "top_scores", "log_masses")
    return tuple(getattr(result, name).cpu().numpy() for name in names), result.choice


def _step(
    queries: Tensor, slack: Tensor, keys: Tensor, values: Tensor, weights: Tensor, inverse_temperature: float,
    choice: Choice, precision: str,
) -> TensorStep:  # fmt: skip
    """Compute a checked step by the backend of a choice."""
    if choice.backend == "tiled":
        means, leaders, counts, spreads, tops, masses = gemm.hardmax(queries, slack, keys, values, weights)
        if not math.isinf(inverse_temperature):
            means, masses = _softmax(queries, keys, values, weights, tops, inverse_temperature)
    else:
        result, note = triton_step.hardmax(queries, slack, keys, values, weights)
        means, leaders, counts, spreads, tops, masses = result
        bound = 0.0
        if not math.isinf(inverse_temperature):
            means, masses, bound = triton_step.softmax(
                queries, keys, values, weights, tops, inverse_temperature, precision
            )
        choice = replace(choice, reason=f"{choice.reason}; {note}", error_bound=bound)
    return TensorStep(
        means=means,
        leaders=leaders,
        tie_counts=counts,
        tie_spreads=spreads,
        top_scores=tops,
        log_masses=masses.log(),
        choice=choice,
    )


def _choice(queries: Tensor, keys: Tensor, values: Tensor, backend: str | None, precision: str) -> Choice:
    """Return the backend of a step and the reason, or raise when it does not apply."""
    problems = []
    if backend not in {None, "tiled", "triton"}:
        problems.append(f"backend must be 'tiled', 'triton' or None, got {backend!r}")
    if precision not in triton_step.PRECISIONS:
        problems.append(f"precision must be one of {', '.join(triton_step.PRECISIONS)}, got {precision!r}")
    if problems:
        raise BadInputError.all_of("attention on tensors", problems)
    refused = "" if backend == "tiled" else triton_step.refusal(queries, keys, values)
    if refused and backend == "triton":
        raise BadInputError(refused)
    where = f"{keys.shape[1]} coordinates on {keys.device}"
    if backend == "triton" or (backend is None and not refused and keys.is_cuda):
        return Choice("triton", "selected by name" if backend else where)
    if precision != "double":
        raise BadInputError(f"precision {precision!r} needs backend 'triton'; {refused or 'tiles are float64'}")
    return Choice("tiled", "selected by name" if backend else refused or where)


def _check(queries: Tensor, keys: Tensor, values: Tensor, weights: Tensor) -> None:
    parts = {"queries": queries, "keys": keys, "values": values, "weights": weights}
    problems = [f"{name} are {part.dtype}, not float64" for name, part in parts.items() if part.dtype != torch.float64]
    problems += [f"{name} are on {part.device}" for name, part in parts.items() if part.device != keys.device]
    problems += [f"{name} have NaN or infinite entries" for name, part in parts.items() if not part.isfinite().all()]
    if queries.shape[1] != keys.shape[1] or not len(keys) == len(values) == len(weights) > 0 or 0 in queries.shape:
        problems.append(f"shapes do not fit: {', '.join(str(tuple(part.shape)) for part in parts.values())}")
    if not (weights > 0).all():
        problems.append("weights must be positive")
    if problems:
        raise BadInputError.all_of("attention on tensors", problems)
    largest = max(float(queries.abs().max()), float(keys.abs().max()))
    if not math.isfinite(queries.shape[1] * largest * largest):
        raise ScaleError(f"scores overflow float64 at entries of {largest:.3g}; scale the tokens down")


def _softmax(
    queries: Tensor, keys: Tensor, values: Tensor, weights: Tensor, tops: Tensor, inverse_temperature: float
) -> tuple[Tensor, Tensor]:
    """Return softmax means and partition functions relative to the top score, tile by tile."""
    sums, masses = queries.new_zeros(len(queries), values.shape[1]), torch.zeros_like(tops)
    for start in range(0, len(keys), gemm.TILE_KEYS):
        tile = slice(start, start + gemm.TILE_KEYS)
        for first in range(0, len(queries), gemm.TILE_ROWS):
            rows = slice(first, first + gemm.TILE_ROWS)
            excess = queries[rows] @ keys[tile].T - tops[rows, None]
            terms = weights[tile] * torch.exp(inverse_temperature * excess)
            masses[rows] += terms.sum(dim=1)
            sums[rows] += terms @ values[tile]
    return sums / masses[:, None], masses
