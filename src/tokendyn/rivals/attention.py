"""Softmax means by torch's attention, the rival of :func:`tokendyn.attention.softmax_direct.direct_softmax`."""

import numpy as np
from jaxtyping import Float

from tokendyn.optional import torch

#: Features of queries and keys are padded to a multiple of this for torch.
FEATURES = 8


def torch_softmax(
    queries: Float[np.ndarray, "rows dim"],
    keys: Float[np.ndarray, "keys dim"],
    values: Float[np.ndarray, "keys value_dim"],
    *,
    inverse_temperature: float,
    weights: Float[np.ndarray, " keys"] | None = None,
) -> Float[np.ndarray, "rows value_dim"]:
    """Return the means by torch's scaled dot product attention in float64.

    Token weights are exact: ``w e^{<q, k>} = e^{<(q, 1), (k, log w)>}``. Features are padded with zeros, because
    torch's tiled kernel wants equal numbers of features of keys and values. It gives no masses.
    """
    scaled = inverse_temperature * queries
    if weights is not None:
        scaled = np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)
        keys = np.concatenate([keys, np.log(weights)[:, None]], axis=1)
    width = -(-max(keys.shape[1], values.shape[1]) // FEATURES) * FEATURES
    q, k, v = (
        torch.nn.functional.pad(torch.from_numpy(np.ascontiguousarray(array)), (0, width - array.shape[1]))[None, None]
        for array in (scaled, keys, values)
    )
    means = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
    return means[0, 0, :, : values.shape[1]].numpy()
