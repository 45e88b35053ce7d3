"""The fast forward pass: weights by nonzeros, sequences of any lengths, threads over sequences."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.exact import kernels
from tokendyn.exact.sequences import Sequences
from tokendyn.exact.weights import Weights

Progress = Callable[[int, int], None]

kernel: Callable[..., Any] = kernels.forward

#: Tokens of one piece of work.
_PIECE = 20_000


def run(
    weights: Weights,
    dim: int,
    sequences: Sequences,
    *,
    inverse_temperature: float | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Float[np.ndarray, "tokens dim"]:
    """Return the residuals ``(tokens, dim)`` after the last block.

    Parameters
    ----------
    weights
        Weights in the type of the tokens.
    dim
        Channels of the residual stream; tokens are padded with zeros.
    sequences
        The sequences.
    inverse_temperature
        None for hardmax.
    workers
        Threads.
    progress
        Called with the sequences done and their number.
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

    done = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for (_, last), part in zip(pieces, pool.map(work, pieces), strict=True):
            done.append(part)
            if progress is not None:
                progress(last, len(sequences))
    return np.concatenate(done)


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
