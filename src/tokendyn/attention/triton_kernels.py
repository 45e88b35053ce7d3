"""Triton kernels of the attention step for tensors with few coordinates; :mod:`tokendyn.attention.triton_step` calls.

A program takes ``ROWS`` queries and walks over all keys, ``KEYS`` at a time; a tile of scores lives in registers
only. Scores are products and sums coordinate by coordinate: for so few coordinates a matrix product (``tl.dot``)
would multiply mostly zeros, and it has no order of summation of its own choosing. Keys and values come coordinate by
coordinate (transposed), so that neighbouring threads read neighbouring numbers.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, disallow-untyped-calls=False
# mypy: disallow-untyped-decorators=False, check-untyped-defs=False

import triton  # type: ignore[import-untyped,import-not-found,unused-ignore]
import triton.language as tl  # type: ignore[import-untyped,import-not-found,unused-ignore]

ROWS = tl.constexpr(32)
KEYS = tl.constexpr(64)
LAST = tl.constexpr(2**31 - 1)


@triton.jit(do_not_specialize=["n_keys"])
def leaders(queries, keys, tops, runners, firsts, n_rows, n_keys, DIM: tl.constexpr):
    """Write the top score of every row, the first key that has it, and the best score of all other keys.

    The score is the canonical one when the type is float64 and products are not contracted with sums
    (``enable_fp_fusion=False``): products and sums rounded one by one, left to right. Every lane of a tile keeps its
    own best, runner-up and first key; lanes are compared once, at the end.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    lanes = tl.arange(0, KEYS)
    best = tl.full([ROWS, KEYS], float("-inf"), queries.dtype.element_ty)
    runner = best
    first = tl.full([ROWS, KEYS], LAST, tl.int32)
    for start in range(0, n_keys, KEYS):
        at = start + lanes
        inside = at < n_keys
        query = tl.load(queries + rows, mask=rows < n_rows, other=0.0)
        key = tl.load(keys + at, mask=inside, other=0.0)
        scores = query[:, None] * key[None, :]
        for column in tl.static_range(1, DIM):
            query = tl.load(queries + column * n_rows + rows, mask=rows < n_rows, other=0.0)
            key = tl.load(keys + column * n_keys + at, mask=inside, other=0.0)
            scores = scores + query[:, None] * key[None, :]
        scores = tl.where(inside[None, :], scores, float("-inf"))
        better = scores > best
        runner = tl.maximum(runner, tl.minimum(best, scores))
        first = tl.where(better, at[None, :], first)
        best = tl.where(better, scores, best)
    top = tl.max(best, 1)
    leader = tl.min(tl.where(best == top[:, None], first, LAST), 1)
    others = tl.where(first == leader[:, None], runner, best)
    tl.store(tops + rows, top, mask=rows < n_rows)
    tl.store(runners + rows, tl.max(others, 1), mask=rows < n_rows)
    tl.store(firsts + rows, leader, mask=rows < n_rows)


@triton.jit(do_not_specialize=["n_keys"])
def softmax(
    queries, keys, values, weights, offsets, sums, masses, n_rows, n_keys,
    DIM: tl.constexpr, VALUE_DIM: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Write ``sum_j w_j 2^(x_ij)`` and ``sum_j w_j 2^(x_ij) v_j`` in float64, with ``x_ij = offset_i + <q_i, k_j>``.

    Queries carry ``beta log2(e)`` and offsets minus the top score, so that a pair needs DIM multiply-adds and one
    exponential. Scores have the type of the queries, terms that of the values; sums over a tile have the type of the
    terms and join totals in float64.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    offset = tl.load(offsets + rows, mask=rows < n_rows, other=0.0)
    mass = tl.zeros([ROWS], tl.float64)
    total = tl.zeros([ROWS, COLUMNS], tl.float64)
    for start in range(0, n_keys, KEYS):
        at = start + tl.arange(0, KEYS)
        inside = at < n_keys
        scores = tl.broadcast_to(offset[:, None], [ROWS, KEYS])
        for column in tl.static_range(DIM):
            query = tl.load(queries + column * n_rows + rows, mask=rows < n_rows, other=0.0)
            key = tl.load(keys + column * n_keys + at, mask=inside, other=0.0)
            scores = query[:, None] * key[None, :] + scores
        weight = tl.load(weights + at, mask=inside, other=0.0)
        terms = tl.exp2(scores.to(values.dtype.element_ty)) * weight[None, :]
        mass += tl.sum(terms, 1).to(tl.float64)
        for column in tl.static_range(VALUE_DIM):
            value = tl.load(values + column * n_keys + at, mask=inside, other=0.0)
            part = tl.sum(terms * value[None, :], 1).to(tl.float64)
            total = tl.where(columns[None, :] == column, total + part[:, None], total)
    tl.store(masses + rows, mass, mask=rows < n_rows)
    at_sums = rows[:, None] * VALUE_DIM + columns[None, :]
    tl.store(sums + at_sums, total, mask=(rows[:, None] < n_rows) & (columns[None, :] < VALUE_DIM))
