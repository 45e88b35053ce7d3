"""The deep constructions: ``narrow`` and ``fused`` for labels, ``narrow`` with outputs for sequences. Our own.

Residual channels: p (projection), s (class number), r (distance from the question), b (what attention brings back),
o (output). Block 0 writes ``p = <a, x - c>``, ``s = 2`` and ``o = y_root`` over the input. A query (class c, interval
[l, h], gap delta to the nearest other live token of the class, new class c', label change Dy), with
``l' = l - delta/4``, ``h' = h + delta/4`` and ``w = 2^floor(log2(delta/2))``, is two blocks:

- A, feed-forward: ``r += relu(p - h') + relu(l' - p) + relu(2w (s - c)) + relu(2w (c - s))``;
  attention: scores ``-s_i r_j``, values ``r_j``: hence ``b = min_j r_j``.
- B, feed-forward: ``t = relu(2 - 2b/w) - relu(1 - 2b/w)``; ``s += (c' - c) t``; ``o += Dy t``; ``r -= relu(r)``;
  ``b -= relu(b)``.

In class c a hit token has ``r = 0``, the others ``r >= 3 delta/4 >= w``; in other classes ``r >= 2w``. So t is exactly
1 or 0. ``fused`` puts B of one query and A of the next into one block of width 8, with two channels r in turn.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tokendyn.exact.plan import ROOT, Plan
from tokendyn.exact.shallow import project_line
from tokendyn.exact.weights import Parts, Weights, assemble
from tokendyn.exact.writing import Writer

_NOWHERE = (np.empty(0, np.int64),) * 2
_NO_ATTENTION = (*_NOWHERE, np.empty(0), np.empty(0, np.int64), np.empty(0))
_NO_VALUES = (*_NOWHERE, np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True)
class Outputs:
    """The outputs of groups of tokens (sequence to sequence).

    Attributes
    ----------
    owner
        Final class number of the sequence of each group of tokens.
    low, high, gap
        Interval of each group and its distance to the next token of the same sequence.
    values
        ``(groups, outputs)``.
    """

    owner: Int[np.ndarray, " groups"]
    low: Float[np.ndarray, " groups"]
    high: Float[np.ndarray, " groups"]
    gap: Float[np.ndarray, " groups"]
    values: Float[np.ndarray, "groups outputs"]


def channels(lagged: bool, outputs: int = 1) -> tuple[str, ...]:
    """Return the names of the residual channels, in their order."""
    distance = ("r0", "r1") if lagged else ("r",)
    return ("p", "s", *distance, "b", *(("o",) if outputs == 1 else tuple(f"o{k}" for k in range(outputs))))


def build(plan: Plan) -> Weights:
    """Return the weights of a plan, ``fused`` if it is lagged, else ``narrow``, without any temperature."""
    at = {name: channel for channel, name in enumerate(channels(plan.lagged))}
    ask, answer = (plan.slots + 1, plan.slots + 2) if plan.lagged else (2 * plan.slots + 1, 2 * plan.slots + 2)
    turn = plan.slots % 2 if plan.lagged else np.zeros(plan.queries, np.int64)
    r = at["r0" if plan.lagged else "r"] + turn
    blocks = 1 + (int(answer[-1]) if plan.queries else 0)
    parts = [
        _first(plan, at, np.array([float(plan.start)]), [at["o"]]),
        _asking(ask, plan.asked, plan.low, plan.high, plan.gap, at, r),
        _attending(ask, at, r),
        _answering(answer, plan, at, r),
    ]
    return assemble(parts, blocks)


def build_outputs(plan: Plan, outputs: Outputs) -> Weights:
    """Return ``narrow`` weights that write an output on every token once its sequence is known.

    ``L = 2 Q + 1 + 2 groups``; o is 0 until it is written, so that nothing rounds.
    """
    width = outputs.values.shape[1]
    at = {name: channel for channel, name in enumerate(channels(False, width))}
    o = at["o" if width == 1 else "o0"] + np.arange(width)
    r = np.full(plan.queries, at["r"])
    ask = 2 * np.arange(plan.queries) + 1
    write = 2 * plan.queries + 1 + 2 * np.arange(len(outputs.owner))
    at_r = np.full(len(write), at["r"])
    parts = [
        _first(plan, at, np.zeros(width), o.tolist()),
        _asking(ask, plan.asked, plan.low, plan.high, plan.gap, at, r),
        _attending(ask, at, r),
        _answering(ask + 1, plan, at, r, with_output=False),
        _asking(write, outputs.owner, outputs.low, outputs.high, outputs.gap, at, at_r),
        _writing(write + 1, outputs, at, o),
    ]
    return assemble(parts, 1 + 2 * plan.queries + 2 * len(outputs.owner))


def _first(plan: Plan, at: dict[str, int], start: np.ndarray, o: list[int]) -> Parts:
    """Block 0: ``p = <a, x - c>`` (see ``project_line``), ``s = 2 relu(1)``, ``o = y_root relu(1)``."""
    write = Writer()
    project_line(write, plan.line, at["p"])
    write.unit(0, 1.0, {}, {at["s"]: float(ROOT)} | dict(zip(o, start.tolist(), strict=True)))
    return write.parts()


def _asking(
    block: np.ndarray,
    asked: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    gap: np.ndarray,
    at: dict[str, int],
    r: np.ndarray,
) -> Parts:
    """Feed-forward part A: the distance of a token from the question (class, interval)."""
    n = len(block)
    w = np.ldexp(1.0, np.frexp(gap)[1] - 2)
    c = asked.astype(np.float64)
    bias = np.stack([-(high + gap / 4), low - gap / 4, -2 * w * c, 2 * w * c], axis=1)
    reads = np.tile([at["p"], at["p"], at["s"], at["s"]], n)
    weight = np.stack([np.ones(n), -np.ones(n), 2 * w, -2 * w], axis=1)
    unit = np.arange(4 * n)
    return Parts(
        units=(np.repeat(block, 4), bias.reshape(-1)),
        inputs=(unit, reads, weight.reshape(-1)),
        outputs=(unit, np.repeat(r, 4), np.ones(4 * n)),
        attention=_NO_ATTENTION,
        values=_NO_VALUES,
    )


def _attending(block: np.ndarray, at: dict[str, int], r: np.ndarray) -> Parts:
    """Attention: scores ``-s_i r_j``, and b receives r of the leaders: ``b = min_j r_j``."""
    n = len(block)
    ones = np.ones(n)
    return Parts(
        units=(np.empty(0, np.int64), np.empty(0)),
        inputs=(*_NOWHERE, np.empty(0)),
        outputs=(*_NOWHERE, np.empty(0)),
        attention=(block, np.full(n, at["s"]), ones, r, -ones),
        values=(block, r, np.full(n, at["b"]), ones),
    )


def _answering(block: np.ndarray, plan: Plan, at: dict[str, int], r: np.ndarray, *, with_output: bool = True) -> Parts:
    """Feed-forward part B: move the sequences with a hit, clear r and b."""
    n = plan.queries
    w = plan.width()
    step = (plan.moved - plan.asked).astype(np.float64)
    change = plan.change.astype(np.float64) * with_output
    bias = np.tile([2.0, 1.0, 0.0, 0.0], n)
    zero = np.zeros(n)
    reads = np.stack([np.full(n, at["b"]), np.full(n, at["b"]), r, np.full(n, at["b"])], axis=1)
    weight = np.stack([-2 / w, -2 / w, zero + 1, zero + 1], axis=1)
    unit = np.arange(4 * n).reshape(n, 4)
    s, o = np.full(n, at["s"]), np.full(n, at.get("o", at["s"]))
    out_unit = np.stack([unit[:, 0], unit[:, 1], unit[:, 0], unit[:, 1], unit[:, 2], unit[:, 3]], axis=1)
    out_channel = np.stack([s, s, o, o, r, np.full(n, at["b"])], axis=1)
    out_weight = np.stack([step, -step, change, -change, zero - 1, zero - 1], axis=1)
    return Parts(
        units=(np.repeat(block, 4), bias),
        inputs=(unit.reshape(-1), reads.reshape(-1), weight.reshape(-1)),
        outputs=(out_unit.reshape(-1), out_channel.reshape(-1), out_weight.reshape(-1)),
        attention=_NO_ATTENTION,
        values=_NO_VALUES,
    )


def _writing(block: np.ndarray, outputs: Outputs, at: dict[str, int], o: np.ndarray) -> Parts:
    """Write the output of a group: ``o += y (relu(2 - 2r/w) - relu(1 - 2r/w))``, and clear r."""
    n, width = outputs.values.shape
    w = np.ldexp(1.0, np.frexp(outputs.gap)[1] - 2)
    unit = np.arange(3 * n).reshape(n, 3)
    r = np.full(3 * n, at["r"])
    weight = np.stack([-2 / w, -2 / w, np.ones(n)], axis=1)
    to_o = np.stack([outputs.values, -outputs.values], axis=1)
    return Parts(
        units=(np.repeat(block, 3), np.tile([2.0, 1.0, 0.0], n)),
        inputs=(unit.reshape(-1), r, weight.reshape(-1)),
        outputs=(
            np.concatenate([np.repeat(unit[:, :2].reshape(-1), width), unit[:, 2]]),
            np.concatenate([np.tile(o, 2 * n), np.full(n, at["r"])]),
            np.concatenate([to_o.reshape(-1), -np.ones(n)]),
        ),
        attention=_NO_ATTENTION,
        values=_NO_VALUES,
    )
