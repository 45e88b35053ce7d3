"""The construction in two residual channels, D = max(d, 2): no padding, at the price of rounding. Our own.

Channels p and s. Class numbers are even. With M a power of two above twice the range of p, ``u = p + M s`` tells class
and place at once, and a query (class c, interval [l, h], new class c') is two blocks:

- A, feed-forward: ``s += T(u)`` with a trapezoid T of height 1 on the interval of the class: hit tokens become odd.
  Attention: scores ``s_i s_j``, values ``s_j``: ``s_i += max_j s_j``. So 2s is left where nothing was hit, else
  2c + 2 on hit tokens and 2c + 1 on the others of their sequence.
- B, feed-forward: ``s <- s/2``, and 2c + 1 as well as 2c + 2 go to c', by three steps between the integers.

At the end each class goes to the number of its label (one block each), and numbers to labels. ``L = 2 Q + 2 +
classes <= 3 N + 1``.

A trapezoid ``(relu(u - e1) - relu(u - e2) - relu(u - e3) + relu(u - e4)) / w`` is 1 between e2 and e3 and 0 beyond e4
only if ``e2 - e1 = e4 - e3 = w``, for the numbers ``-(e + M c)`` that are stored as biases. So every edge is rounded to
a multiple of one power of two that is coarse enough for all of these sums to be exact in the type, and fine enough to
stay within the gap. Then the labels are exact in rational arithmetic. In floating point the sum still rounds for large
u, so there they are only near; prefer ``narrow``.
"""

import math

import numpy as np

from tokendyn.exact.construction import Construction
from tokendyn.exact.errors import PrecisionError
from tokendyn.exact.plan import DONE, ROOT, Plan
from tokendyn.exact.shallow import project_line
from tokendyn.exact.writing import Writer

_P, _S = 0, 1


def strict(plan: Plan, labels: int, dtype: str) -> Construction:
    """Return the two-channel construction of a plan.

    Raises
    ------
    PrecisionError
        If the rounding of all trapezoids together could reach 1/8.
    """
    write = Writer()
    project_line(write, plan.line, _P)
    write.unit(0, 1.0, {}, {_S: float(_class_number(ROOT, labels))})
    final = plan.start + _label_sums(plan)
    largest = 2 * float(np.abs(plan.line.values).max(initial=0.0)) + float(plan.gap.max(initial=0.0))
    shift = math.ldexp(1.0, math.frexp(largest)[1])
    _check_rounding(plan, shift, labels, dtype)
    grid = _grid(shift * (_class_number(len(plan.rest) + ROOT, labels) + 1), dtype)
    for query in range(plan.queries):
        c = _class_number(int(plan.asked[query]), labels)
        moved = int(plan.moved[query])
        new = _label_number(int(final[query])) if moved == DONE else _class_number(moved, labels)
        _query(write, 2 * query + 1, plan, query, shift, grid, c, new)
    block = 2 * plan.queries + 1
    for number, label in enumerate(plan.rest.tolist()):
        c, new = _class_number(number + ROOT, labels), _label_number(label)
        for edge, sign in ((-0.75, 1), (-0.25, -1), (0.25, -1), (0.75, 1)):
            write.unit(block, -(c + edge), {_S: 1.0}, {_S: 2.0 * sign * (new - c)})
        block += 1
    write.unit(block, 0.0, {_S: 1.0}, {_S: -0.5})
    write.unit(block, 1.0, {}, {_S: -1.0})
    dim = max(len(plan.line.direction), 2)
    longest = None
    return Construction(
        strategy="strict",
        weights=write.weights(block + 1),
        channels=("p", "s"),
        dim=dim,
        outputs=(_S,),
        gap=plan.smallest_gap,
        error=plan.line.error,
        needed=8 * plan.line.error,
        width=math.inf,
        longest=longest,
        queries=plan.queries,
        plan=plan,
        bitwise=False,
    )


def _class_number(cls: int, labels: int) -> int:
    """Return the even number of a class (from ``ROOT``), above those of all labels."""
    return 2 * (labels + 1 + cls - ROOT)


def _label_number(label: int) -> int:
    return 2 * (label + 1)


def _label_sums(plan: Plan) -> np.ndarray:
    """Return for each query the label of the sequences with a hit, less the plan's first label."""
    return plan.rest[plan.asked - ROOT] + plan.change - plan.start


def _grid(largest: float, dtype: str) -> float:
    """Return a power of two of which every multiple up to ``largest`` is exact in the type."""
    return math.ldexp(1.0, math.frexp(largest)[1] - int(np.finfo(dtype).nmant) - 1)


def _query(write: Writer, block: int, plan: Plan, query: int, shift: float, grid: float, c: int, new: int) -> None:
    quarter = float(plan.gap[query]) / 4
    w = math.ldexp(1.0, math.frexp(quarter)[1] - 1)  # at least 64 times the grid, or the rounding check had refused
    low = grid * round((float(plan.low[query]) - quarter) / grid)
    high = grid * round((float(plan.high[query]) + quarter) / grid)
    for edge, sign in ((low - w, 1.0), (low, -1.0), (high, -1.0), (high + w, 1.0)):
        write.unit(block, -(edge + shift * c), {_P: 1.0, _S: shift}, {_S: sign / w})
    write.attend(block, (_S, 1.0), (_S, 1.0))
    write.value(block, _S, _S)
    write.unit(block + 1, 0.0, {_S: 1.0}, {_S: -0.5})
    for middle, height in ((0.5, new - c - 0.5), (1.5, -0.5), (2.5, -(new - c - 1.0))):
        for edge, sign in ((-0.25, 2.0), (0.25, -2.0)):
            write.unit(block + 1, -(2 * c + middle + edge), {_S: 1.0}, {_S: sign * height})


def _check_rounding(plan: Plan, shift: float, labels: int, dtype: str) -> None:
    unit = float(np.finfo(dtype).eps) / 2
    largest = 2.0 * shift * _class_number(len(plan.rest) + ROOT, labels)
    bound = float(np.sum(64 * unit * largest / plan.gap)) + 64 * unit * plan.queries * 4 * labels
    if bound > 1 / 8:
        raise PrecisionError(
            f"{plan.queries} queries in two channels round by up to {bound:.2g} in {dtype}, and 1/8 is allowed; "
            "use strategy='narrow', which pads the tokens to 5 channels and does not round"
        )
