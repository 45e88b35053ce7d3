"""The forward pass of the deep constructions by events: blocks that do not change a sequence are skipped.

A query (class c, interval [l', h'], ramp w) changes a sequence only if it is in class c and has a token near the
interval. Otherwise every token has ``r >= 2w``: by ``relu(p - h')`` or ``relu(l' - p)``, computed here in the same
arithmetic as in the block, or by ``2w |s - c|`` with ``|s - c| >= 1``; rounding is monotone, and 2w is a number of the
type. Then ``b >= 2w (1 - u)^n``, both steps ``relu(2 - 2b/w)`` and ``relu(1 - 2b/w)`` are 0, and r and b are cleared to
0: the residuals after the query are those before it, bit by bit. Where a query may change a sequence, its blocks are
run by the kernels of the plain pass, so the result is the same to the last bit. N queries on N sequences then cost
about N log N instead of N^2.
"""

import numba
import numpy as np

from tokendyn.exact.kernels import attend_block, feed_block

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def _block(x, first, last, b, net, means, hidden, beta, soft):
    """Run one block on the tokens of one sequence."""
    feed_block(x[first:last], last - first, b, net, hidden)
    attend_block(x[first:last], last - first, b, net, means, beta, soft)


@_compiled
def _near(values, owner, low, high, reach, stamp, mark, x, starts, s_at, c, chosen):
    """Collect the sequences of class c with a token closer than ``reach`` to the interval; return their number.

    ``values`` ascend, so the search goes outwards from the interval and stops at the first value out of reach.
    """
    count = 0
    middle = np.searchsorted(values, low)
    for step in (1, -1):
        i = middle if step > 0 else middle - 1
        while 0 <= i < values.shape[0]:
            away = values[i] - high if step > 0 else low - values[i]
            if away >= reach:
                break
            j = owner[i]
            i += step
            if stamp[j] != mark and abs(x[starts[j], s_at] - c) < 1:
                stamp[j] = mark
                chosen[count] = j
                count += 1
    return count


@_compiled
def run_events(  # noqa: PLR0912 (one state, as in the planner)
    x, starts, values, owner, ask, low, high, reach, asked, turn, channels, lagged, net, beta, soft
):
    """Run all queries on the residuals ``x`` that block 0 left, in place.

    Parameters
    ----------
    x, starts
        Residuals of all tokens; sequence j holds the rows ``starts[j]`` to ``starts[j + 1]``.
    values, owner
        p of all tokens, ascending, and the sequence of each.
    ask
        Block of the question of each query, ascending.
    low, high, reach, asked, turn
        l', h', 2w, class and r channel of each query, in the type of x.
    channels
        Channel numbers of s and b.
    lagged
        Whether the answer to a query is in the block of the next question.
    net
        Weights, as for :func:`tokendyn.exact.kernels.forward`.
    beta, soft
        Inverse temperature, and whether attention is softmax.
    """
    s_at, b_at = channels
    sequences = starts.shape[0] - 1
    widest, rank = 0, 0
    for b in range(net[0].shape[0]):
        widest = max(widest, net[1][b + 1] - net[1][b])
        rank = max(rank, net[14][b + 1] - net[14][b])
    hidden, means = np.zeros(widest, x.dtype), np.zeros((3, max(rank, 1)), x.dtype)
    stamp = np.full(sequences, -1)
    chosen, waiting = np.empty(sequences, np.int64), np.empty(sequences, np.int64)
    pending = 0
    for q in range(ask.shape[0]):
        if pending and ask[q] > ask[q - 1] + 1:  # a bubble: the block after the last query holds its answers only
            for i in range(pending):
                j = waiting[i]
                _block(x, starts[j], starts[j + 1], ask[q - 1] + 1, net, means, hidden, beta, soft)
            pending = 0
        count = _near(values, owner, low[q], high[q], reach[q], stamp, q, x, starts, s_at, asked[q], chosen)
        if not lagged:
            for i in range(count):
                j = chosen[i]
                for b in (ask[q], ask[q] + 1):
                    _block(x, starts[j], starts[j + 1], b, net, means, hidden, beta, soft)
            continue
        answers = q > 0 and ask[q] == ask[q - 1] + 1
        for i in range(pending):
            j = waiting[i]
            _block(x, starts[j], starts[j + 1], ask[q], net, means, hidden, beta, soft)
            if stamp[j] == q:
                stamp[j] = -2 - q  # answered and asked in the same block, which has just run
            else:
                x[starts[j] : starts[j + 1], turn[q]] = 0
                x[starts[j] : starts[j + 1], b_at] = 0
        for i in range(count):
            j = chosen[i]
            waiting[i] = j
            if stamp[j] == q:
                if answers:  # in place of the b of the query before it, which was skipped for this sequence
                    x[starts[j] : starts[j + 1], b_at] = reach[q - 1]
                _block(x, starts[j], starts[j + 1], ask[q], net, means, hidden, beta, soft)
        pending = count
    for i in range(pending):
        j = waiting[i]
        _block(x, starts[j], starts[j + 1], ask[-1] + 1, net, means, hidden, beta, soft)
