"""Compiled passes of the averaged-embedding classifier; plain Python outside numba, so without annotations.

Symbols: ``A`` the embeddings of the hashed tokens, ``B`` the decoder, ``h`` the mean embedding of a text.
"""

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def decode(indptr, tokens, A, B, row, h, p):
    """Write the mean embedding and the class probabilities ``softmax(B h)`` of one text."""
    dim, classes = A.shape[1], B.shape[0]
    h[:] = 0.0
    count = indptr[row + 1] - indptr[row]
    for q in range(indptr[row], indptr[row + 1]):
        for d in range(dim):
            h[d] += A[tokens[q], d]
    for d in range(dim):
        h[d] /= max(count, 1)
    top = -np.inf
    for c in range(classes):
        s = 0.0
        for d in range(dim):
            s += B[c, d] * h[d]
        p[c] = s
        top = max(top, s)
    total = 0.0
    for c in range(classes):
        p[c] = np.exp(p[c] - top)
        total += p[c]
    for c in range(classes):
        p[c] /= total


@_compiled
def learn(indptr, tokens, which, rows, A, B, rate, begun, steps):
    """Take one step of gradient descent a text of ``rows``; the rate falls linearly from ``begun`` to ``steps``.

    The gradient of ``-log p_y`` is ``(p - e_y) h`` for B and ``B^T (p - e_y) / n`` for each token of the text.
    """
    dim, classes = A.shape[1], B.shape[0]
    h, p, g = np.empty(dim), np.empty(classes), np.empty(dim)
    for number in range(rows.shape[0]):
        row = rows[number]
        count = indptr[row + 1] - indptr[row]
        if count == 0:
            continue
        step = rate * (1.0 - (begun + number) / steps)
        decode(indptr, tokens, A, B, row, h, p)
        p[which[row]] -= 1.0
        g[:] = 0.0
        for c in range(classes):
            for d in range(dim):
                g[d] += p[c] * B[c, d]
                B[c, d] -= step * p[c] * h[d]
        for q in range(indptr[row], indptr[row + 1]):
            for d in range(dim):
                A[tokens[q], d] -= step * g[d] / count


@_compiled
def judge(indptr, tokens, A, B, rows, out):
    """Write the class probabilities of the texts ``rows``."""
    h = np.empty(A.shape[1])
    for number in range(rows.shape[0]):
        decode(indptr, tokens, A, B, rows[number], h, out[number])
