"""The compiled forward pass over ragged sequences: rank-1 attention costs as much as reading the tokens.

With scores ``q_i k_j`` the leaders of token i are the tokens with the largest ``k_j`` if ``q_i > 0``, the smallest if
``q_i < 0``, and all of them if ``q_i = 0``: two numbers for each sequence instead of a matrix. This is a backend of the
core's layers: :mod:`tokendyn.exact.core_layers` says to which bits.
"""

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def _feed_forward(x, n, first, last, eta, bias, in_starts, in_channels, in_weights, out_starts, out_channels,
                  out_weights, hidden):  # fmt: skip
    """``x <- eta x + W relu(U x + c)`` for the first n rows of x.

    All units of a token are computed before any is added: a block may write the channels that it reads.
    """
    for i in range(n):
        for u in range(first, last):
            total = bias[u]
            for e in range(in_starts[u], in_starts[u + 1]):
                total += in_weights[e] * x[i, in_channels[e]]
            hidden[u - first] = total if total > 0 else bias.dtype.type(0)
        if eta == 0:
            x[i, :] = 0
        for u in range(first, last):
            h = hidden[u - first]
            if h > 0:
                for e in range(out_starts[u], out_starts[u + 1]):
                    x[i, out_channels[e]] += out_weights[e] * h


@_compiled
def _mean_at(x, n, channel, key_channel, key):
    """Return the mean of a channel over the tokens with this key."""
    total, count = x[0, 0] * 0, 0  # a zero of the type of x, so that float32 stays float32
    for j in range(n):
        if x[j, key_channel] == key:
            total += x[j, channel]
            count += 1
    return total / count


@_compiled
def _hard(x, n, q_at, q, k_at, k, first, last, value_in, value_out, value, means):
    """Hardmax attention: add ``V`` times the mean of the leaders."""
    low = high = x[0, k_at]
    for j in range(1, n):
        low, high = min(low, x[j, k_at]), max(high, x[j, k_at])
    if k < 0:
        low, high = high, low
    # means[0]: of the tokens with the largest key, means[1]: with the smallest, means[2]: of all. They are computed
    # when a token first needs them, so that attention costs one pass over the tokens for each kind and entry of V.
    for e in range(first, last):
        means[0, e - first] = means[1, e - first] = means[2, e - first] = np.nan
    for i in range(n):
        score = q * x[i, q_at]
        kind = 0 if score > 0 else (1 if score < 0 else 2)
        for e in range(first, last):
            if np.isnan(means[kind, e - first]):
                if kind == 2:
                    total = x[0, 0] * 0
                    for j in range(n):
                        total += x[j, value_in[e]]
                    means[kind, e - first] = total / n
                else:
                    means[kind, e - first] = _mean_at(x, n, value_in[e], k_at, high if kind == 0 else low)
        # No value is read from a channel that is written, so the order of tokens does not matter.
        for e in range(first, last):
            x[i, value_out[e]] += value[e] * means[kind, e - first]


@_compiled
def _soft(x, n, q_at, q, k_at, k, first, last, value_in, value_out, value, beta, means):
    """Softmax attention; consecutive tokens with the same query share one pass.

    The largest score is subtracted before the exponential, so that no weight overflows.
    """
    known, have = 0.0, False
    for i in range(n):
        score = beta * q * x[i, q_at]
        if not have or score != known:
            known, have = score, True
            top = -np.inf
            for j in range(n):
                top = max(top, score * (k * x[j, k_at]))
            norm = 0.0
            for e in range(first, last):
                means[0, e - first] = 0
            for j in range(n):
                weight = np.exp(score * (k * x[j, k_at]) - top)
                norm += weight
                for e in range(first, last):
                    means[0, e - first] += weight * x[j, value_in[e]]
            for e in range(first, last):
                means[0, e - first] /= norm
        for e in range(first, last):
            x[i, value_out[e]] += value[e] * means[0, e - first]


@_compiled
def feed_block(x, n, b, net, hidden):
    """Run the feed-forward part of block b; ``net`` holds the arrays of the weights in their order."""
    _feed_forward(x, n, net[1][b], net[1][b + 1], net[0][b], net[2], net[3], net[4], net[5], net[6], net[7], net[8],
                  hidden)  # fmt: skip


@_compiled
def attend_block(x, n, b, net, means, beta, soft):
    """Run the attention of block b, if it has one."""
    attends, q_at, q, k_at, k, value_starts = net[9], net[10], net[11], net[12], net[13], net[14]
    if attends[b]:
        first, last = value_starts[b], value_starts[b + 1]
        if soft and q[b] != 0:
            _soft(x, n, q_at[b], q[b], k_at[b], k[b], first, last, net[15], net[16], net[17], beta, means)
        else:
            _hard(x, n, q_at[b], q[b], k_at[b], k[b], first, last, net[15], net[16], net[17], means)


@_compiled
def forward(tokens, starts, dim, eta, units, bias, in_starts, in_channels, in_weights, out_starts, out_channels,
            out_weights, attends, q_at, q, k_at, k, value_starts, value_in, value_out, value, beta, soft,
            states):  # fmt: skip
    """Run every sequence through all blocks and return the last residuals ``(tokens, dim)``.

    ``states`` is empty, or ``(blocks, tokens, dim)`` and receives the residuals after each block.
    """
    net = (eta, units, bias, in_starts, in_channels, in_weights, out_starts, out_channels, out_weights, attends, q_at,
           q, k_at, k, value_starts, value_in, value_out, value)  # fmt: skip
    longest, widest, rank = 0, 0, 0
    blocks = eta.shape[0]
    for j in range(starts.shape[0] - 1):
        longest = max(longest, starts[j + 1] - starts[j])
    for b in range(blocks):
        widest = max(widest, units[b + 1] - units[b])
        rank = max(rank, value_starts[b + 1] - value_starts[b])
    x = np.zeros((longest, dim), tokens.dtype)
    hidden = np.zeros(widest, tokens.dtype)
    means = np.zeros((3, max(rank, 1)), tokens.dtype)
    out = np.zeros((tokens.shape[0], dim), tokens.dtype)
    for j in range(starts.shape[0] - 1):
        n = starts[j + 1] - starts[j]
        x[:n, :] = 0
        x[:n, : tokens.shape[1]] = tokens[starts[j] : starts[j + 1]]
        for b in range(blocks):
            feed_block(x, n, b, net, hidden)
            attend_block(x, n, b, net, means, beta, soft)
            if states.shape[0]:
                states[b, starts[j] : starts[j + 1]] = x[:n]
        out[starts[j] : starts[j + 1]] = x[:n]
    return out


@_compiled
def path_slack(points, starts, first, order, low, high, width, moved, slots, lagged, every, margin):
    """Return how far each sequence's tokens may move on the line without a change of an answer, and its last class.

    ``points`` ascend within each sequence. Class c is asked the queries ``order[first[c]:first[c + 1]]`` in turn. A
    miss stays a miss while no token comes closer than ``width`` to the interval; a hit stays a hit while the token that
    is deepest in the interval stays there, or, with ``every``, while all tokens stay on their side. With ``lagged``, a
    sequence that was just hit is still asked the next query of its class if that query is in the next slot, and must
    miss it.
    """
    count = starts.shape[0] - 1
    slack, final = np.full(count, np.inf), np.empty(count, np.int64)
    for j in range(count):
        begin, end = starts[j], starts[j + 1]
        state, position, best = 2, first[2], np.inf  # 2 is ROOT, the class in which every sequence begins
        while position < first[state + 1]:
            q = order[position]
            a = begin + np.searchsorted(points[begin:end], low[q])
            b = a
            depth = np.inf if every else -np.inf
            while b < end and points[b] <= high[q]:
                inside = min(points[b] - low[q], high[q] - points[b])
                depth = min(depth, inside) if every else max(depth, inside)
                b += 1
            away = np.inf
            if a > begin:
                away = min(away, low[q] - points[a - 1])
            if b < end:
                away = min(away, points[b] - high[q])
            away -= width[q] * margin[j]
            if b == a:
                best = min(best, away)
                position += 1
                continue
            best = min(best, min(depth, away) if every else depth)
            if lagged and position + 1 < first[state + 1] and slots[order[position + 1]] == slots[q] + 1:
                q = order[position + 1]
                a = begin + np.searchsorted(points[begin:end], low[q])
                away = np.inf
                if a > begin:
                    away = min(away, low[q] - points[a - 1])
                if a < end:
                    away = min(away, points[a] - high[q])
                best = min(best, away - width[q] * margin[j])
            state = moved[order[position]]
            position = first[state]
        slack[j], final[j] = max(best, 0.0), state
    return slack, final


@_compiled
def nearest_pairs(tokens, starts):
    """Return for each sequence the smallest Euclidean distance between two of its rows; infinity for one row."""
    out = np.full(starts.shape[0] - 1, np.inf)
    for j in range(out.shape[0]):
        first, n = starts[j], starts[j + 1] - starts[j]
        widest, spread = 0, -1.0
        for k in range(tokens.shape[1]):
            column = tokens[first : first + n, k]
            if column.max() - column.min() > spread:
                widest, spread = k, column.max() - column.min()
        # Sorted along the coordinate of the largest range: the inner loop ends once that coordinate alone exceeds the
        # smallest distance so far.
        order = first + np.argsort(tokens[first : first + n, widest])
        for a in range(n):
            for b in range(a + 1, n):
                i, o = order[a], order[b]
                if tokens[o, widest] - tokens[i, widest] >= out[j]:
                    break
                largest, squares = 0.0, 0.0
                for k in range(tokens.shape[1]):
                    largest = max(largest, abs(tokens[o, k] - tokens[i, k]))
                # Divided by the largest difference, so that squares neither overflow nor vanish.
                for k in range(tokens.shape[1]):
                    squares += ((tokens[o, k] - tokens[i, k]) / largest) ** 2 if largest > 0 else 0.0
                out[j] = min(out[j], largest * np.sqrt(squares))
    return out
