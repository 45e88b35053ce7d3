"""The blocks as layers of the core, of which :mod:`tokendyn.exact.kernels` is a faster backend.

Block k, ``x <- eta x + W relu(U x + c)``, then ``x_i <- x_i + sum_j a_ij V x_j``, is a
:class:`~tokendyn.dynamics.ResidualLayer` with one head of query q, key k and value V: a score of rank 1. With such a
score the leaders are the tokens of extreme key, which is why the kernel costs as much as reading the tokens.

In float64 and at hardmax both return the same numbers, except:

- where n > 1 leaders have the same value, the core returns it unchanged, and the kernel ``(v + ... + v) / n``, within
  ``n eps |v|`` of it; where their values differ, the core takes the mean of ``V x_j`` and the kernel V times the mean,
  which rounds differently unless the entries of V are powers of two;
- the core compares rounded scores ``q_i k_j``, the kernel the keys, so that keys that differ in their last bits tie in
  the core only;
- the core adds zeros, so that -0 becomes 0.

None of them changes a label: the margins of a certificate are far larger.
"""

import math

import numpy as np

from tokendyn.attention import Head
from tokendyn.dynamics import FeedForward, ResidualLayer
from tokendyn.exact.weights import Weights, block_matrices


def core_layers(weights: Weights, dim: int, inverse_temperature: float | None = None) -> list[ResidualLayer]:
    """Return one layer for each block, in float64.

    Parameters
    ----------
    weights
        The weights by nonzeros.
    dim
        Channels of the residual stream; tokens must be padded with zeros to this dimension.
    inverse_temperature
        None for hardmax.
    """
    return [_layer(weights, block, dim, inverse_temperature) for block in range(weights.blocks)]


def _layer(weights: Weights, block: int, dim: int, inverse_temperature: float | None) -> ResidualLayer:
    part = {name: matrix.astype(np.float64) for name, matrix in block_matrices(weights, block, dim).items()}
    uniform = not weights.attends[block] or weights.query_weights[block] == 0
    hard = inverse_temperature is None or uniform
    head = Head(
        query=np.zeros((1, dim)) if uniform else part["q"],  # a zero query ties with all tokens
        key=part["k"],
        value=part["v_out"] @ part["v_in"] if weights.attends[block] else np.zeros((dim, dim)),
        inverse_temperature=math.inf if hard or inverse_temperature is None else inverse_temperature,
    )
    feed_forward = FeedForward(
        inner=part["U"],
        inner_bias=part["c"],
        outer=part["W"],
        outer_bias=np.zeros(dim),
        residual=bool(weights.eta[block] != 0),
    )
    return ResidualLayer(heads=(head,), feed_forward=feed_forward)
