"""The fitted recursion of TD-TF: one step, the closed loop, and the local linear operator."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.forecast.embedding import delay_windows, input_windows, window_length
from tokendyn.forecast.network import ACTIVATIONS, Network, Pass, Tokens, chunks, forward
from tokendyn.forecast.rollout_kernels import rollout

#: A normalised feature beyond this has diverged; the closed loop stops there.
LIMIT = 2e6


@dataclass(frozen=True)
class Units:
    """Centre and scale of snapshots and inputs: normalised values have mean 0 and standard deviation 1.

    Attributes
    ----------
    centre, scale
        Centre and scale of each feature, then of each input.
    features
        Number of features among them.
    """

    centre: Float[np.ndarray, " columns"]
    scale: Float[np.ndarray, " columns"]
    features: int

    def snapshots(self, values: np.ndarray) -> np.ndarray:
        """Return snapshots in normalised units."""
        return (values - self.centre[: self.features]) / self.scale[: self.features]

    def inputs(self, values: np.ndarray) -> np.ndarray:
        """Return inputs in normalised units."""
        return (values - self.centre[self.features :]) / self.scale[self.features :]

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Return normalised snapshots in the units of the data."""
        return values * self.scale[: self.features] + self.centre[: self.features]


@dataclass(frozen=True)
class Cell:
    """``x_{k+1} = x_k + sum_j A_j t_j + b + W_2 units`` in normalised units.

    Attributes
    ----------
    stride
        Steps between the delays.
    linear
        ``A_j``, (delays, features, width), the oldest delay first.
    offset
        b.
    network
        Attention and units.
    readout
        ``W_2``, (features, units).
    """

    stride: int
    linear: Float[np.ndarray, "delays features width"]
    offset: Float[np.ndarray, " features"]
    network: Network
    readout: Float[np.ndarray, "features units"]

    @property
    def delays(self) -> int:
        """Number of snapshots in a window."""
        return len(self.linear)

    @property
    def parameters(self) -> int:
        """Return the number of trained parameters."""
        linear = self.linear.size if self.linear.any() else 0
        return int(
            linear + self.offset.size + self.readout.size + (len(self.network.pack()) if self.readout.size else 0)
        )

    def increments(self, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
        """Return the linear and the nonlinear part of the predicted increment of each window."""
        samples, delays, width = tokens.shape
        flat = self.linear.transpose(0, 2, 1).reshape(delays * width, -1)
        linear = tokens.reshape(samples, -1) @ flat + self.offset
        nonlinear = np.zeros_like(linear)
        if self.readout.size:
            for part in chunks(samples):
                nonlinear[part] = forward(self.network, tokens[part]).units @ self.readout.T
        return linear, nonlinear

    def step(self, tokens: Tokens) -> np.ndarray:
        """Return the predicted snapshot after each window."""
        linear, nonlinear = self.increments(tokens)
        return tokens[:, -1, : len(self.offset)] + linear + nonlinear

    def roll(self, window: np.ndarray, steps: int, drive: np.ndarray) -> np.ndarray:
        """Return the closed loop after a window (time, features); NaN after it exceeds the limit."""
        span = window_length(len(self.linear), self.stride)
        orbit = np.full((span + steps, len(self.offset)), np.nan)
        orbit[:span] = window[-span:]
        net = self.network
        arrays = (net.query, net.query_bias, net.key, net.position, net.values, net.weights, net.bias, self.readout)
        weights = [np.ascontiguousarray(array) for array in (self.linear, self.offset, *arrays)]
        kind = ACTIVATIONS.index(net.activation)
        arguments: list[Any] = [orbit, np.ascontiguousarray(drive), self.stride, LIMIT, *weights, kind]
        rollout(*arguments)
        return orbit[span:]

    def operators(self, tokens: Tokens) -> Float[np.ndarray, "samples delays features width"]:
        """Return the derivative of the predicted snapshot by each token of its window, analytically."""
        features = len(self.offset)
        local = np.repeat(self.linear[None], len(tokens), axis=0)
        local[:, -1, :, :features] += np.eye(features)
        if self.readout.size:
            for part in chunks(len(tokens)):
                local[part] += unit_operators(self.network, tokens[part], self.readout)
        return local


def warm_up() -> None:
    """Compile the closed loop: the first call on a machine takes some seconds, which should not count in a search."""
    network = Network(
        query=np.zeros((0, 1)), query_bias=np.zeros(0), key=np.zeros((0, 1)), position=np.zeros((1, 0)),
        values=np.zeros((1, 1, 1)), weights=np.zeros((1, 1)), bias=np.zeros(1), activation="sin",
    )  # fmt: skip
    cell = Cell(1, np.zeros((1, 1, 1)), np.zeros(1), network, np.zeros((1, 1)))
    cell.roll(np.zeros((1, 1)), 1, np.zeros((1, 1, 0)))


def unit_operators(
    network: Network, tokens: Tokens, readout: Float[np.ndarray, "features units"]
) -> Float[np.ndarray, "samples delays features width"]:
    """Return the derivative of ``readout units`` by each token: through the values, the keys and the query."""
    done: Pass = forward(network, tokens)
    pulled = np.matmul(done.slopes[:, None, :] * readout, network.weights)
    attention = done.attention[:, :, None, None]
    local = attention * np.einsum("nfr,jrw->njfw", pulled, network.values)
    if network.attends:
        along = np.einsum("nfr,njr->njf", pulled, done.valued)
        mean = (done.attention[:, :, None] * along).sum(axis=1, keepdims=True)
        by_score = done.attention[:, :, None] * (along - mean)
        local += by_score[:, :, :, None] * (done.queries @ network.key)[:, None, None, :]
        by_query = np.einsum("njf,njk->nfk", by_score, done.keys)
        local[:, -1] += by_query @ network.query
    return local


def tokens_of(series: np.ndarray, inputs: np.ndarray, delays: int, stride: int) -> Tokens:
    """Return the tokens of every window with a next snapshot: each snapshot with its inputs."""
    states = delay_windows(series[:-1], delays, stride)
    if not inputs.shape[1]:
        return np.ascontiguousarray(states)
    return np.concatenate([states, input_windows(inputs, delays, stride)], axis=2)


def without_units(cell: Cell) -> Cell:
    """Return the cell without a nonlinear part."""
    network = cell.network
    rank = network.weights.shape[1]
    bare = replace(network, weights=np.empty((0, rank)), bias=np.empty(0))
    return replace(cell, network=bare, readout=np.empty((len(cell.offset), 0)))
