"""Compiled closed loop of TD-TF, one window after another.

Symbols as in :mod:`tokendyn.forecast.network`; ``orbit`` is (window + steps, features), ``drive`` (steps,
delays, 2 inputs) normalised, ``A`` (delays, features, width) the linear part, oldest first, ``W2`` (features, units).
Plain Python outside numba: the functions below carry no annotations because numba compiles them.
"""

import math

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)

SIN, TANH, IDENTITY = 0, 1, 2


@_compiled
def rollout(orbit, drive, stride, limit, A, b, Wq, bq, Wk, P, V, W1, b1, W2, kind):
    """Continue ``orbit`` in place and return the number of steps below ``limit``.

    The cost of a step is linear in the delays: a single query, and a single pass over the tokens.
    """
    steps = drive.shape[0]
    delays, features, width = A.shape
    span = (delays - 1) * stride + 1
    token = np.empty((delays, width))
    attention = np.full(delays, 1.0 / delays)
    context = np.empty(V.shape[1])
    output = np.empty(features)
    for step in range(steps):
        for j in range(delays):
            for i in range(features):
                token[j, i] = orbit[step + j * stride, i]
            for i in range(features, width):
                token[j, i] = drive[step, j, i - features]
        add_linear(output, token, A, b)
        if W1.shape[0] > 0:
            if Wq.shape[0] > 0:
                attend(attention, token, Wq, bq, Wk, P)
            gather(context, attention, token, V)
            add_units(output, context, W1, b1, W2, kind)
        for i in range(features):
            if not (abs(output[i]) < limit):
                return step
            orbit[step + span, i] = output[i]
    return steps


@_compiled
def add_linear(output, token, A, b):
    """Write ``x_k + sum_j A_j t_j + b``."""
    delays, features, width = A.shape
    for i in range(features):
        total = token[delays - 1, i] + b[i]
        for j in range(delays):
            for k in range(width):
                total += A[j, i, k] * token[j, k]
        output[i] = total


@_compiled
def attend(attention, token, Wq, bq, Wk, P):
    """Write ``softmax_j(q . (W_k t_j + p_j))`` of the newest token's query q."""
    delays, width = token.shape
    attention[:] = 0.0
    for h in range(Wq.shape[0]):
        query = bq[h]
        for k in range(width):
            query += Wq[h, k] * token[delays - 1, k]
        for j in range(delays):
            key = P[j, h]
            for k in range(width):
                key += Wk[h, k] * token[j, k]
            attention[j] += query * key
    top = attention.max()
    total = 0.0
    for j in range(delays):
        attention[j] = math.exp(attention[j] - top)
        total += attention[j]
    for j in range(delays):
        attention[j] /= total


@_compiled
def gather(context, attention, token, V):
    """Write ``c = sum_j alpha_j V_j t_j``."""
    delays, rank, width = V.shape
    context[:] = 0.0
    for j in range(delays):
        for q in range(rank):
            total = 0.0
            for k in range(width):
                total += V[j, q, k] * token[j, k]
            context[q] += attention[j] * total


@_compiled
def add_units(output, context, W1, b1, W2, kind):
    """Add ``W_2 act(W_1 c + b_1)``."""
    for h in range(W1.shape[0]):
        inner = b1[h]
        for q in range(W1.shape[1]):
            inner += W1[h, q] * context[q]
        if kind == SIN:
            inner = math.sin(inner)
        elif kind == TANH:
            inner = math.tanh(inner)
        for i in range(output.shape[0]):
            output[i] += W2[i, h] * inner
