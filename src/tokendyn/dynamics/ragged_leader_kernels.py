"""Compiled: the leaders of the tokens of one small set at one hardmax layer, and whether rounding could decide it.

Canonical scores: ``s_ij = y_0i x_0j + y_1i x_1j + ...``, each product and each sum rounded once, left to right. Token j
leads token i when ``s_ij >= max_l s_il``. All backends of :mod:`tokendyn.attention` and :mod:`tokendyn.dynamics.freeze`
follow this rule, so that the same tokens have the same leaders everywhere, to the last bit.

Symbols as in :mod:`tokendyn.dynamics.ragged_kernels`. Arrays have room for the largest set of a batch, and ``n`` says
how many tokens are there: a slice for each set would cost as much as a small set does, and its strides would not be
known when the loops are compiled. Plain Python outside numba: the functions below carry no annotations because numba
compiles them.
"""

import numba
import numpy as np

from tokendyn.dynamics.freeze_kernels import EPS

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)


@_compiled
def scoring_space(rank, most):
    """Return the space in which :func:`find_leaders` works, for up to ``most`` tokens that ask.

    Their queries, scores, best scores, leaders and second best scores, and their numbers.
    """
    return (
        np.empty((rank, most)), np.empty(most), np.empty(most), np.empty(most), np.empty(most),
        np.empty(most, np.int64),
    )  # fmt: skip


@_compiled
def find_leaders(y, x, n, leader, ties, known, space, each, constant):
    """Write the lowest leader of every token whose leader is not known, and 1, or 0 where others may lead too.

    Return for how many others may lead too. Rounding cannot tell scores apart that differ by up to
    ``each |y_i|_1 + constant``.
    """
    rank = x.shape[0]
    q, score, best, at, second, asking = space
    count = 0
    # The tokens that ask are packed, and the loops over them are the innermost: they become vector instructions, and
    # what is known costs nothing. The other order, rows outside and keys inside, would reduce along a vector, which
    # without reassociation of sums is one number at a time.
    for i in range(n):
        if not known[i]:
            for k in range(rank):
                q[k, count] = y[k, i]
            best[count], at[count], second[count] = -np.inf, 0.0, -np.inf
            asking[count] = i
            count += 1
    # Invariant: best[r] is the largest score of row r among the keys before j, at[r] the first key that has it (a
    # float, so that all lanes of a vector are of one kind), second[r] the largest of the other scores. Selections, not
    # branches: which key is larger cannot be foreseen. A score that equals the best one becomes the second best, so
    # that a tie is seen as a difference of 0.
    for j in range(n):
        if rank == 2:  # the ordinary case, without a pass over memory for the scores
            a, b = x[0, j], x[1, j]
            for r in range(count):
                s = q[0, r] * a + q[1, r] * b
                above = s > best[r]
                lower = best[r] if above else s
                second[r] = lower if lower > second[r] else second[r]
                at[r] = j if above else at[r]
                best[r] = s if above else best[r]
            continue
        a = x[0, j]
        for r in range(count):
            score[r] = q[0, r] * a
        for k in range(1, rank):
            a = x[k, j]
            for r in range(count):
                score[r] = score[r] + q[k, r] * a
        for r in range(count):
            s = score[r]
            above = s > best[r]
            lower = best[r] if above else s
            second[r] = lower if lower > second[r] else second[r]
            at[r] = j if above else at[r]
            best[r] = s if above else best[r]
    doubts = 0
    for r in range(count):
        size = 0.0
        for k in range(rank):
            size += abs(q[k, r])
        single = second[r] < best[r] - (each * size + constant)
        leader[asking[r]], ties[asking[r]] = int(at[r]), int(single)
        doubts += not single
    return doubts


@_compiled
def canonical_score(y, x, i, j):
    """Return ``s_ij``."""
    s = y[0, i] * x[0, j]
    for k in range(1, x.shape[0]):
        s += y[k, i] * x[k, j]
    return s


@_compiled
def tied_leaders(y, x, n, i, members):
    """Write the numbers of all leaders of token i and return their number."""
    best = -np.inf
    count = 0
    for j in range(n):
        s = canonical_score(y, x, i, j)
        if s > best:
            best, count = s, 0
        if s == best:
            members[count] = j
            count += 1
    return count


@_compiled
def count_ties(y, x, n, origin, i, leader, each, constant, members):
    """Return the number of leaders of token i, and whether they began at one point, with nothing else near the top."""
    size, best = 0.0, -np.inf
    for k in range(y.shape[0]):
        size += abs(y[k, i])
    for j in range(n):
        best = max(best, canonical_score(y, x, i, j))
    alone = True
    for j in range(n):
        if canonical_score(y, x, i, j) >= best - (each * size + constant):
            alone = alone and same_place(origin, j, leader)
    return tied_leaders(y, x, n, i, members), alone


@_compiled
def same_place(z, i, j):
    """Return whether two tokens are on one point."""
    same = True
    for k in range(z.shape[0]):
        same = same and z[k, i] == z[k, j]
    return same


@_compiled
def settle(y, x, n, origin, leader, ties, known, space, members, each, constant):
    """Find the leaders that are not known; return whether rounding decided none of them.

    Tokens that began at one point stay on one point, so that a tie among them changes no motion; a score within
    rounding of the best, of a token that began elsewhere, is left to exact arithmetic.
    """
    if find_leaders(y, x, n, leader, ties, known, space, each, constant) == 0:
        return True
    for i in range(n):
        # What is known was counted before: find_leaders writes 0 for the others only.
        if ties[i] == 0:
            ties[i], alone = count_ties(y, x, n, origin, i, leader[i], each, constant, members)
            if not alone:
                return False
    return True


@_compiled
def by_matrix(matrix, z, n, out):
    """Return ``matrix z_i`` of every token, written to ``out`` and summed left to right; ``z`` for no matrix."""
    if matrix.shape[0] == 0:
        return z
    for i in range(n):
        for r in range(matrix.shape[0]):
            out[r, i] = z[0, i] * matrix[r, 0]
        for k in range(1, z.shape[0]):
            for r in range(matrix.shape[0]):
                out[r, i] += z[k, i] * matrix[r, k]
    return out


@_compiled
def largest_row_sum(matrix):
    """Return ``max_r sum_k |matrix_rk|``, which bounds a product in the largest norm; -1 for no matrix."""
    norm = -1.0 if matrix.shape[0] == 0 else 0.0
    for r in range(matrix.shape[0]):
        norm = max(norm, np.sum(np.abs(matrix[r])))
    return norm


@_compiled
def slack_of(layer, log_share, largest, dim, norms):
    """Return ``each`` and ``constant`` of :func:`find_leaders`: what rounding may do to two scores.

    A coordinate of a token errs by at most ``(8 layer + 16 + 4 |log_share|) eps largest``: a step rounds three numbers
    of at most twice the largest coordinate, and the rest is for the closed form. The bound is that of
    :func:`tokendyn.dynamics.ties.rounding_slack`; it may be generous, because it only sends a set to ``Frozen``.
    """
    rank, query_norm, key_norm = norms
    error = (8 * layer + 16 + 4 * abs(log_share)) * EPS * largest if layer > 0 else 0.0
    reach = error + (dim + 1) * EPS * largest
    query_error = error if query_norm < 0 else query_norm * reach
    key_error = error if key_norm < 0 else key_norm * reach
    longest = abs(key_norm) * largest
    each = 2 * ((rank + 2) * EPS * rank * longest + key_error)
    return each, 2 * rank * query_error * (longest + key_error)
