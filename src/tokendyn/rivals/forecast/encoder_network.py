"""The torch module of :class:`tokendyn.rivals.forecast.TorchEncoder`."""

from tokendyn.optional import torch

nn = torch.nn


class EncoderNetwork(nn.Module):
    """Embedding, position, encoder, read-out of the newest token."""

    def __init__(self, columns: int, features: int, delays: int, width: int, heads: int, layers: int):
        super().__init__()
        self.embed = nn.Linear(columns, width)
        self.position = nn.Parameter(0.02 * torch.randn(delays, width))
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.read = nn.Linear(width, features)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the increment of the newest snapshot, ``(windows, features)``, of ``(windows, delays, columns)``."""
        encoded = self.encoder(self.embed(tokens) + self.position)
        increments: torch.Tensor = self.read(encoded[:, -1])
        return increments
