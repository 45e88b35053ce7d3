"""Runs of the dense torch module: padded batches of sequences of about the same length, in the certificate's type."""

from typing import TYPE_CHECKING

import numpy as np

from tokendyn.exact.certificate import Progress
from tokendyn.exact.errors import CertificateError
from tokendyn.exact.sequences import Sequences

if TYPE_CHECKING:
    from tokendyn.exact.module import TransformerBlocks

#: Tokens of one batch of the dense module.
_BATCH_TOKENS = 20_000


def run_dense(
    module: "TransformerBlocks", sequences: Sequences, dtype: str, device: str, progress: Progress | None
) -> list[np.ndarray]:
    """Return the outputs of every sequence by the torch module.

    Raises
    ------
    CertificateError
        If torch would multiply in a coarser type than the certificate's.
    """
    from tokendyn.optional import torch

    _check_arithmetic(dtype, device)
    module = module.to(device)
    # Sorted by length, so that a batch has little padding.
    order = np.argsort(sequences.lengths, kind="stable")
    results: list[np.ndarray] = [np.empty(0)] * len(sequences)
    first = 0
    while first < len(order):
        last = first + 1
        while last < len(order) and sequences.lengths[order[last]] * (last + 1 - first) <= _BATCH_TOKENS:
            last += 1
        batch = order[first:last]
        tokens, mask = padded(sequences.take(batch))
        with torch.no_grad():
            out = module(torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device)).cpu().numpy()
        for row, j in enumerate(batch):
            results[j] = out[row, : sequences.lengths[j]]
        first = last
        if progress is not None:
            progress(last, len(order))
    return results


def padded(sequences: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences as one block of tokens, zeros after their ends, and the mask of the tokens."""
    mask = np.arange(sequences.lengths.max())[None, :] < sequences.lengths[:, None]
    tokens = np.zeros((*mask.shape, sequences.tokens.shape[1]), sequences.tokens.dtype)
    tokens[mask] = sequences.tokens
    return tokens, mask


def _check_arithmetic(dtype: str, device: str) -> None:
    """Raise a CertificateError if torch would multiply in a coarser type than the certificate's."""
    from tokendyn.optional import torch

    kind = torch.device(device).type
    coarse = []
    if dtype == "float32" and torch.get_float32_matmul_precision() != "highest":
        coarse.append("torch.set_float32_matmul_precision('highest')")
    if dtype == "float32" and kind == "cuda" and torch.backends.cuda.matmul.allow_tf32:
        coarse.append("torch.backends.cuda.matmul.allow_tf32 = False")
    if torch.is_autocast_enabled(kind):
        coarse.append("run outside torch.autocast")
    if coarse:
        raise CertificateError(
            f"torch may multiply {dtype} in TF32 or bf16 here, which the certificate does not cover: "
            + "; ".join(dict.fromkeys(coarse))
        )
