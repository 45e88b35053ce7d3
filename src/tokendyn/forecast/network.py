"""The nonlinear part of TD-TF: attention over the delays, then one layer of units; and its derivatives.

Everything here is in normalised units. A token is one snapshot of the window with the inputs at it,
``t_j = (x_j, u_j, u_{j+1})``, the newest last; arrays of windows are (samples, delays, width).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.attention import softmax_weights

Tokens = Float[np.ndarray, "samples delays width"]
ACTIVATIONS = ("sin", "tanh", "identity")


@dataclass(frozen=True)
class Network:
    """Inner weights: all weights of TD-TF except the output layer.

    ``alpha = softmax_j((W_q t_newest + b_q) . (W_k t_j + p_j))``, ``c = sum_j alpha_j V_j t_j`` and
    ``units = act(W_1 c + b_1)``. Our own reading of arXiv 2602.08478: one head and one query, the newest snapshot.

    Attributes
    ----------
    query, query_bias
        ``W_q`` (keys, width) and ``b_q``; without rows if the attention is frozen (uniform).
    key, position
        ``W_k`` (keys, width) and ``p_j`` (delays, keys).
    values
        ``V_j``, (delays, rank, width).
    weights, bias
        ``W_1`` (units, rank) and ``b_1``.
    activation
        "sin", "tanh" or "identity".
    """

    query: Float[np.ndarray, "keys width"]
    query_bias: Float[np.ndarray, " keys"]
    key: Float[np.ndarray, "keys width"]
    position: Float[np.ndarray, "delays keys"]
    values: Float[np.ndarray, "delays rank width"]
    weights: Float[np.ndarray, "units rank"]
    bias: Float[np.ndarray, " units"]
    activation: str

    @property
    def attends(self) -> bool:
        """Whether the attention is learned; else it is uniform, and the values are not learned either."""
        return len(self.query) > 0

    def trained(self) -> tuple[str, ...]:
        """Return the names of the trained weights."""
        return ARRAYS if self.attends else ("weights", "bias")

    def pack(self) -> Float[np.ndarray, " parameters"]:
        """Return the trained weights as one vector."""
        return np.concatenate([getattr(self, name).ravel() for name in self.trained()])

    def unpack(self, vector: Float[np.ndarray, " parameters"]) -> "Network":
        """Return the network with the trained weights of a vector."""
        parts: dict[str, Any] = {}
        at = 0
        for name in self.trained():
            old = getattr(self, name)
            parts[name] = vector[at : at + old.size].reshape(old.shape)
            at += old.size
        return replace(self, **parts)


ARRAYS = tuple(field.name for field in fields(Network) if field.name != "activation")


@dataclass(frozen=True)
class Pass:
    """Intermediate values of a forward pass for its derivatives."""

    queries: Float[np.ndarray, "samples keys"]
    keys: Float[np.ndarray, "samples delays keys"]
    attention: Float[np.ndarray, "samples delays"]
    valued: Float[np.ndarray, "samples delays rank"]
    context: Float[np.ndarray, "samples rank"]
    units: Float[np.ndarray, "samples units"]
    slopes: Float[np.ndarray, "samples units"]


def forward(network: Network, tokens: Tokens) -> Pass:
    """Return attention, context and units of each window.

    The attention is the softmax step of :mod:`tokendyn.attention` with a single query, that of the newest token.
    """
    samples, delays, _ = tokens.shape
    if network.attends:
        queries = tokens[:, -1] @ network.query.T + network.query_bias
        keys = tokens @ network.key.T + network.position
        attention = softmax_weights(np.matmul(keys, queries[:, :, None])[:, :, 0])
    else:
        queries, keys = np.empty((samples, 0)), np.empty((samples, delays, 0))
        attention = np.full((samples, delays), 1.0 / delays)
    valued = np.matmul(tokens.transpose(1, 0, 2), network.values.transpose(0, 2, 1)).transpose(1, 0, 2)
    context = np.matmul(attention[:, None, :], valued)[:, 0]
    units, slopes = activate(context @ network.weights.T + network.bias, network.activation)
    return Pass(queries, keys, attention, valued, context, units, slopes)


def activate(inner: np.ndarray, activation: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the activation and its derivative."""
    if activation == "sin":
        return np.sin(inner), np.cos(inner)
    if activation == "tanh":
        value = np.tanh(inner)
        return value, 1.0 - value**2
    return inner, np.ones_like(inner)


def features(tokens: Tokens, units: Float[np.ndarray, "samples units"], *, linear: bool) -> np.ndarray:
    """Return the columns of the output layer: 1, the window (if ``linear``), the units."""
    ones = np.ones((len(tokens), 1))
    window = [tokens.reshape(len(tokens), -1)] if linear else []
    return np.concatenate([ones, *window, units], axis=1)


def jacobian(
    network: Network, tokens: Tokens, done: Pass, readout: Float[np.ndarray, " units"]
) -> Float[np.ndarray, "samples parameters"]:
    """Return the derivative of ``sum_i readout_i units_i`` by the trained weights, for each window.

    In the order of :meth:`Network.pack`; by the chain rule, written out.
    """
    samples = len(tokens)
    pulled = done.slopes * readout
    by_weights = (pulled[:, :, None] * done.context[:, None, :]).reshape(samples, -1)
    if not network.attends:
        return np.concatenate([by_weights, pulled], axis=1)
    by_context = pulled @ network.weights
    by_value = done.attention[:, :, None, None] * (by_context[:, None, :, None] * tokens[:, :, None, :])
    along = np.matmul(done.valued, by_context[:, :, None])[:, :, 0]
    by_score = done.attention * (along - (done.attention * along).sum(axis=1, keepdims=True))
    by_query = np.matmul(by_score[:, None, :], done.keys)[:, 0]
    by_key = by_score[:, :, None] * done.queries[:, None, :]
    parts = (
        by_query[:, :, None] * tokens[:, -1][:, None, :],
        by_query,
        np.matmul(by_key.transpose(0, 2, 1), tokens),
        by_key,
        by_value,
        by_weights,
        pulled,
    )
    return np.concatenate([part.reshape(samples, -1) for part in parts], axis=1)


def chunks(samples: int, size: int = 1024) -> Iterator[slice]:
    """Yield slices that cover the samples."""
    for start in range(0, samples, size):
        yield slice(start, min(start + size, samples))
