"""The dense reference: a plain torch module of transformer blocks whose weights are stacked tensors."""

from collections.abc import Sequence

from jaxtyping import Bool, Float

from tokendyn.errors import BadInputError
from tokendyn.exact.weights import Weights, stacked
from tokendyn.optional import torch

Tensor = torch.Tensor
nn = torch.nn


class TransformerBlocks(nn.Module):
    """Blocks of feed-forward and attention, nothing else.

    Block k: ``x <- eta_k x + W_k relu(U_k x + c_k)``, then ``x_i <- x_i + v_out_k sum_j a_ij (v_in_k x_j)`` with the
    scores ``<q_k, x_i> <k_k, x_j>``, which are a matrix of rank 1. Hardmax shares the weight among all keys that
    reach the maximum.

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

    U: Tensor
    c: Tensor
    W: Tensor
    q: Tensor
    k: Tensor
    v_in: Tensor
    v_out: Tensor

    def __init__(
        self,
        weights: Weights,
        input_dim: int,
        dim: int,
        output_channels: Sequence[int],
        inverse_temperature: float | None = None,
    ) -> None:
        super().__init__()
        self.input_dim, self.dim = input_dim, dim
        self.output_channels = list(output_channels)
        self.inverse_temperature = inverse_temperature
        self.forgets = [bool(eta == 0) for eta in weights.eta]
        self.attends = [bool(flag) for flag in weights.attends]
        self.uniform = [bool(q == 0) for q in weights.query_weights]
        for name, array in stacked(weights, dim).items():
            self.register_parameter(name, nn.Parameter(torch.from_numpy(array), requires_grad=False))

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens input_dim"],
        mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens outputs"]:
        """Return the output channels of every token.

        Parameters
        ----------
        tokens
            ``(batch, tokens, dim)``. Values at padding do not matter; they may be NaN.
        mask
            ``(batch, tokens)``, True for tokens and False for padding; None if nothing is padding. Its first axis
            is always the batch: there is no mask of pairs of tokens, not for a batch of as many problems as tokens
            either.

        Returns
        -------
        Tensor
            ``(batch, tokens, outputs)``: 0 at padding; NaN in a row without any token, which has no label. The
            ONNX forms and :class:`~tokendyn.exact.layers.LinearBlocks` do the same.

        Raises
        ------
        BadInputError
            For a mask of another shape or type.
        """
        mask = checked_mask(tokens, mask)
        x = nn.functional.pad(present(tokens, mask), (0, self.dim - self.input_dim))
        for block in range(len(self.attends)):
            hidden = torch.relu(x @ self.U[block].T + self.c[block])
            update = hidden @ self.W[block].T
            x = update if self.forgets[block] else x + update
            if self.attends[block]:
                values = x @ self.v_in[block].T
                x = x + self._weights(x, mask, block) @ values @ self.v_out[block].T
        return labelled(x[..., self.output_channels], mask)

    def _weights(
        self, x: Float[Tensor, "batch tokens dim"], mask: Bool[Tensor, "batch tokens"], block: int
    ) -> Float[Tensor, "batch tokens tokens"]:
        """Return the attention weights of a block: rows sum to 1, padding has weight 0."""
        if self.uniform[block]:
            return uniform_weights(x, mask)
        scores = (x @ self.q[block])[:, :, None] * (x @ self.k[block])[:, None, :]
        return attention_weights(scores, mask, self.inverse_temperature)


def checked_mask(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mask of a batch, all True for None; raise when its shape or type does not fit the tokens."""
    if mask is None:
        return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    if mask.dtype != torch.bool or mask.ndim != 2 or mask.shape != tokens.shape[:2]:
        raise BadInputError(
            f"mask must be bool of shape {tuple(tokens.shape[:2])}, one entry a token of each sequence of the batch; "
            f"got {mask.dtype} of shape {tuple(mask.shape)} (there is no mask of pairs of tokens)"
        )
    return mask


def present(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the tokens with zeros at padding: multiplying by 0 would keep NaN."""
    return torch.where(mask[:, :, None], tokens, torch.zeros_like(tokens))


def labelled(outputs: Tensor, mask: Tensor) -> Tensor:
    """Return outputs with 0 at padding, and NaN in rows without any token."""
    empty = torch.where(mask.any(dim=1), 0.0, torch.nan).to(outputs.dtype)
    return torch.where(mask[:, :, None], outputs, empty[:, None, None])


def uniform_weights(x: Tensor, mask: Tensor) -> Tensor:
    """Return equal weights ``(batch, tokens, tokens)`` of all keys that exist."""
    shares = mask[:, None, :].to(x.dtype).expand(-1, x.shape[1], -1)
    return shares / shares.sum(dim=-1, keepdim=True)


def attention_weights(scores: Tensor, mask: Tensor, inverse_temperature: float | None) -> Tensor:
    """Return hardmax (None) or softmax weights of ``(batch, tokens, tokens)`` scores over the keys that exist.

    Written in torch alone, and not by :func:`tokendyn.attention.attend`, because a module has to be traced, exported
    and moved to devices without this library.
    """
    scores = scores.masked_fill(~mask[:, None, :], -torch.inf)
    if inverse_temperature is not None:
        return torch.softmax(inverse_temperature * scores, dim=-1)
    leaders = (scores == scores.amax(dim=-1, keepdim=True)).to(scores.dtype)
    return leaders / leaders.sum(dim=-1, keepdim=True)
