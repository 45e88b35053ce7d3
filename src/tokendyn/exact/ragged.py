"""The fast forward pass: weights by nonzeros, sequences of any lengths, threads over sequences."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.exact import deep, event_kernels, kernels
from tokendyn.exact.plan import Plan
from tokendyn.exact.sequences import Sequences
from tokendyn.exact.weights import Weights

Progress = Callable[[int, int], None]

kernel: Callable[..., Any] = kernels.forward

#: Tokens of one piece of work, and tokens times units from which a pass by events pays for its preparation.
_PIECE, _MANY = 20_000, 5_000_000


def run(
    weights: Weights,
    dim: int,
    sequences: Sequences,
    *,
    plan: Plan | None = None,
    inverse_temperature: float | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Float[np.ndarray, "tokens dim"]:
    """Return the residuals ``(tokens, dim)`` after the last block.

    Large runs of the weights of a plan go by events: blocks that provably do not change a sequence are skipped, and
    the residuals are the same to the last bit (see :mod:`tokendyn.exact.event_kernels`).

    Parameters
    ----------
    weights
        Weights in the type of the tokens.
    dim
        Channels of the residual stream; tokens are padded with zeros.
    sequences
        The sequences.
    plan
        The plan of the weights, if they are those of a deep construction.
    inverse_temperature
        None for hardmax.
    workers
        Number of threads.
    progress
        Called with the sequences done and their total.
    """
    pieces = _pieces(sequences)
    beta = weights.bias.dtype.type(1.0 if inverse_temperature is None else inverse_temperature)
    states = np.empty((0, 0, 0), dtype=sequences.tokens.dtype)
    arrays = list(weights.arrays().values())

    def work(piece: tuple[int, int]) -> np.ndarray:
        first, last = piece
        starts = sequences.starts[first : last + 1]
        tokens = sequences.tokens[starts[0] : starts[-1]]
        settings = (beta, inverse_temperature is not None, states)
        out: np.ndarray = kernel(tokens, starts - starts[0], dim, *arrays, *settings)
        return out

    if plan is not None and len(sequences.tokens) * len(weights.bias) >= _MANY:
        whole = _by_events(weights, dim, sequences, plan, inverse_temperature)
        if whole is not None:
            if progress is not None:
                progress(len(sequences), len(sequences))
            return whole
    done = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for (_, last), part in zip(pieces, pool.map(work, pieces), strict=True):
            done.append(part)
            if progress is not None:
                progress(last, len(sequences))
    return np.concatenate(done)


def _by_events(
    weights: Weights, dim: int, sequences: Sequences, plan: Plan, inverse_temperature: float | None
) -> Float[np.ndarray, "tokens dim"] | None:
    """Return the last residuals, or None if the weights are not those of the plan, or numbers could overflow."""
    # Edited or rounded weights have no plan to rely on: only weights equal to those of the plan take this pass.
    built = deep.build(plan).cast(str(weights.bias.dtype))
    if not all(np.array_equal(a, b) for a, b in zip(weights.arrays().values(), built.arrays().values(), strict=True)):
        return None
    kind = weights.bias.dtype.type
    soft, beta = inverse_temperature is not None, kind(inverse_temperature or 1.0)
    x = np.zeros((len(sequences.tokens), dim), weights.bias.dtype)
    x[:, : sequences.tokens.shape[1]] = sequences.tokens
    net = tuple(weights.arrays().values())
    hidden = np.zeros(weights.units[1] - weights.units[0], weights.bias.dtype)
    kernels.feed_block(x, len(x), 0, net, hidden)
    names = deep.channels(plan.lagged)
    p = x[:, names.index("p")]
    ask = plan.slots + 1 if plan.lagged else 2 * plan.slots + 1
    unit = weights.units[ask]  # the questions come first in their blocks
    reach = (2 * plan.width()).astype(kind)
    classes = float(max(plan.asked.max(initial=2), plan.moved.max(initial=2))) * (plan.queries + 1)
    largest = float(np.abs(p).max()) + float(np.abs(weights.bias[unit]).max(initial=0)) + float(reach.max(initial=0))
    if not largest * classes * classes * (float(beta) if soft else 1.0) < float(np.finfo(kind).max) / 64:
        return None
    turn = names.index("r0" if plan.lagged else "r") + (plan.slots % 2 if plan.lagged else 0 * plan.slots)
    order = np.argsort(p, kind="stable")
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    event_kernels.run_events(
        x, sequences.starts, p[order], owner[order], ask, weights.bias[unit + 1], -weights.bias[unit], reach,
        plan.asked.astype(kind), turn, (names.index("s"), names.index("b")), plan.lagged, net, beta, soft,
    )  # fmt: skip
    return x


def trace(
    weights: Weights, dim: int, tokens: Float[np.ndarray, "tokens dim"], inverse_temperature: float | None = None
) -> Float[np.ndarray, "blocks tokens channels"]:
    """Return the residuals of one sequence after each block."""
    states = np.zeros((weights.blocks, len(tokens), dim), dtype=tokens.dtype)
    beta = tokens.dtype.type(1.0 if inverse_temperature is None else inverse_temperature)
    soft = inverse_temperature is not None
    kernel(tokens, np.array([0, len(tokens)]), dim, *weights.arrays().values(), beta, soft, states)
    return states


def _pieces(sequences: Sequences) -> list[tuple[int, int]]:
    """Return (first, last) sequences of pieces with about as many tokens each."""
    cuts = np.searchsorted(sequences.starts, np.arange(0, int(sequences.starts[-1]) + _PIECE, _PIECE), side="left")
    cuts = np.unique(np.minimum(cuts, len(sequences)))
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
