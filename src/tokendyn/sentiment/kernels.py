"""Compiled passes over many texts: words as stacked tokens, and a linear read-out of their shares.

The layers in between are those of :mod:`tokendyn.dynamics`. Symbols: ``w`` the share of each token in the verdict,
``s`` the value of a word. The last token of every text is the neutral pole. Plain Python outside numba: the functions
below carry no annotations because numba compiles them.
"""

import numba

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)

#: Entry of a token that is not a word of its text: the neutral pole.
NO_ENTRY = -1


@_compiled
def stack_tokens(indptr, words, counts, neutral, points, rows, keep, tokens, weights, offsets, entries):
    """Write the tokens of the texts ``rows``, one text after the other, and return their number.

    ``points`` is ``(words + 1, dim)``, its last row the neutral pole. ``keep[q] == 0`` leaves the q-th entry out.
    ``entries`` receives the entry that each token stands for, ``offsets`` the end of each text.
    """
    n, dim = 0, points.shape[1]
    pole = len(points) - 1
    for t in range(len(rows)):
        r = rows[t]
        for q in range(indptr[r], indptr[r + 1]):
            if keep[q]:
                for d in range(dim):
                    tokens[n, d] = points[words[q], d]
                weights[n], entries[n] = counts[q], q
                n += 1
        if neutral[r] > 0:
            for d in range(dim):
                tokens[n, d] = points[pole, d]
            weights[n], entries[n] = neutral[r], NO_ENTRY
            n += 1
        offsets[t + 1] = n
    return n


@_compiled
def read_back(indptr, rows, offsets, entries, token_shares, self_led, share, led, leads):
    """Write share and leadership of the entries of the texts ``rows``, 0 for entries left out; count the leaders."""
    for t in range(len(rows)):
        r = rows[t]
        share[indptr[r] : indptr[r + 1]] = 0.0
        led[indptr[r] : indptr[r + 1]] = False
        leads[r] = 0
        for i in range(offsets[t], offsets[t + 1]):
            q = entries[i]
            if q != NO_ENTRY:
                share[q], led[q] = token_shares[i], self_led[i]
                leads[r] += 1 if self_led[i] else 0


@_compiled
def logits(indptr, words, share, values, gain, bias, rows, out):
    """Write ``out[r] = gain sum_j w_j s_j + bias`` for the texts ``rows``."""
    for r in rows:
        total = 0.0
        for q in range(indptr[r], indptr[r + 1]):
            total += share[q] * values[words[q]]
        out[r] = gain * total + bias


@_compiled
def add_gradient(indptr, words, share, gain, slope, rows, gradient):
    """Add ``slope[r] gain w_j`` to the gradient of every word j of the texts ``rows``; return the bias's."""
    total = 0.0
    for r in rows:
        total += slope[r]
        for q in range(indptr[r], indptr[r + 1]):
            gradient[words[q]] += slope[r] * gain * share[q]
    return total


@_compiled
def scores(indptr, words, share, values, gain, bias, rows, out):
    """Write ``out[r, c] = gain sum_j w_j s_jc + bias_c`` for the texts ``rows``."""
    classes = values.shape[1]
    for r in rows:
        out[r] = 0.0
        for q in range(indptr[r], indptr[r + 1]):
            for c in range(classes):
                out[r, c] += share[q] * values[words[q], c]
        for c in range(classes):
            out[r, c] = gain * out[r, c] + bias[c]


@_compiled
def add_gradients(indptr, words, share, gain, slope, rows, gradient):
    """Add ``slope[r, c] gain w_j`` to the gradient of value c of every word j of the texts ``rows``."""
    classes = slope.shape[1]
    for r in rows:
        for q in range(indptr[r], indptr[r + 1]):
            for c in range(classes):
                gradient[words[q], c] += slope[r, c] * gain * share[q]
