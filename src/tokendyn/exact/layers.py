"""The same blocks as ``nn.Linear`` layers, one set a block, which quantisers, pruners and hooks expect."""

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.exact.module import attention_weights, checked_mask, labelled, present, uniform_weights
from tokendyn.exact.weights import Weights, block_matrices
from tokendyn.optional import torch

Tensor = torch.Tensor
nn = torch.nn


class LinearBlocks(nn.Module):
    """Blocks with the names ``blocks.K.up``, ``down``, ``query``, ``key``, ``value`` and ``merge``.

    Computes what :class:`~tokendyn.exact.module.TransformerBlocks` computes, from layers of their own instead of
    stacked tensors; so its size and the time to make it grow with the blocks.

    Parameters
    ----------
    weights
        The weights by nonzeros, in the type that the module is to have.
    input_dim, dim
        Coordinates of a token, and channels of the residual stream; tokens are padded with zeros.
    output_channels
        Channels that are returned.
    inverse_temperature
        None for hardmax, else the softmax's.
    """

    def __init__(
        self,
        weights: Weights,
        input_dim: int,
        dim: int,
        output_channels: list[int],
        inverse_temperature: float | None = None,
    ) -> None:
        super().__init__()
        self.input_dim, self.dim = input_dim, dim
        self.output_channels = output_channels
        self.blocks = nn.ModuleList(_Block(weights, block, dim, inverse_temperature) for block in range(weights.blocks))

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens input_dim"],
        mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens outputs"]:
        """Return the output channels of every token; padding as in :meth:`TransformerBlocks.forward`."""
        mask = checked_mask(tokens, mask)
        x = nn.functional.pad(present(tokens, mask), (0, self.dim - self.input_dim))
        for block in self.blocks:
            x = block(x, mask)
        return labelled(x[..., self.output_channels], mask)


class _Block(nn.Module):
    """One block: ``x <- eta x + down(relu(up(x)))``, then ``x <- x + merge(attention value(x))``."""

    def __init__(self, weights: Weights, block: int, dim: int, inverse_temperature: float | None) -> None:
        super().__init__()
        part = block_matrices(weights, block, dim)
        self.forgets = bool(weights.eta[block] == 0)
        self.attends = bool(weights.attends[block])
        self.uniform = bool(weights.query_weights[block] == 0)
        self.inverse_temperature = inverse_temperature
        self.up = _linear(part["U"], part["c"])
        self.down = _linear(part["W"])
        if self.attends:
            self.value, self.merge = _linear(part["v_in"]), _linear(part["v_out"])
            if not self.uniform:
                self.query, self.key = _linear(part["q"]), _linear(part["k"])

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        update: Tensor = self.down(torch.relu(self.up(x)))
        x = update if self.forgets else x + update
        if not self.attends:
            return x
        if self.uniform:
            shares = uniform_weights(x, mask)
        else:
            scores = self.query(x) * self.key(x).transpose(1, 2)
            shares = attention_weights(scores, mask, self.inverse_temperature)
        brought: Tensor = self.merge(shares @ self.value(x))
        return x + brought


def _linear(matrix: np.ndarray, bias: np.ndarray | None = None) -> nn.Linear:
    """Return ``x -> matrix x + bias`` as a layer, without random weights first."""
    rows, columns = matrix.shape
    with torch.device("meta"):
        layer = nn.Linear(columns, rows, bias=bias is not None)
    layer.weight = nn.Parameter(torch.from_numpy(matrix.copy()), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(torch.from_numpy(bias.copy()), requires_grad=False)
    return layer
