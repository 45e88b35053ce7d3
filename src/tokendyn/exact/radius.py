"""How far the tokens of each given sequence may move before its label can change, from the weights. Our own.

A move is measured in the unit of the input: every token of a sequence moves by at most ``rho`` (Euclidean norm), all at
once and in any direction. On a line ``p = <a, x>`` it is at most ``|a| rho``. For each sequence the slack is the
largest change of p that moves no token over an edge that matters to it; with E the rounding of p before and after the
move, ``rho = (slack - E) / |a|``, less the rounding of the moved coordinates in their type.

The edges that matter depend on the strategy:

- ``narrow``, ``fused``: of the questions that the sequence is asked, a hit stays a hit while one of its tokens stays
  between the ends of the interval, and a miss stays a miss while every token stays w away from them. With ``softmax``
  and in ``strict`` a hit needs both: every token stays on its side.
- ``half-space``: one detector of its label keeps firing, and no detector of another label starts.
- ``slab``: one token stays on the flat part of a slab of its label, and none enters a slab of another.
- ``fingerprint``: the mean stays between two ramps. ``hat``: no token leaves the flat part of a hat or enters one.

The tokens are those that the network reads: copies of a token, which do not count or count by their share, are one
token and move together. Where a mean is read and repetitions do not count, two tokens must also not meet, because one
of them would no longer count: ``rho`` is at most half of the smallest distance between two tokens of the sequence.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from tokendyn.exact.directions import project
from tokendyn.exact.kernels import nearest_pairs, path_slack
from tokendyn.exact.plan import ROOT, Plan
from tokendyn.exact.weights import Weights, block_matrices

if TYPE_CHECKING:
    from tokendyn.exact.built import Built

Radii = Float[np.ndarray, " sequences"]

#: Safety factor for the float64 rounding of this module itself, which is far smaller.
_SAFE = 1 - 2.0**-30
#: Entries of one table of tokens against detectors.
_CHUNK = 4_000_000


def line_of(model: "Built") -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, " dim"]] | None:
    """Return a and c with ``p = <a, x - c>`` as block 0 holds them; None for half-spaces, which have one each."""
    if not model.construction.channels or model.construction.channels[0] != "p":
        return None
    weights = model.weights
    a, centre = np.zeros((2, model.input_dim))
    units = np.arange(weights.units[1])
    writes = weights.out_channels[np.minimum(weights.out_starts[units], len(weights.out_channels) - 1)]
    units = units[(writes == 0) & (np.diff(weights.out_starts)[units] > 0)]
    for unit in units[::2]:  # relu(z), and next to it relu(-z)
        part = slice(weights.in_starts[unit], weights.in_starts[unit + 1])
        channels = weights.in_channels[part]
        a[channels] = weights.in_weights[part] * weights.out_weights[weights.out_starts[unit]]
        centre[channels] = 0.0 - weights.bias[unit]  # such a unit reads one channel, with weight 1
    return a, centre


def on_line(model: "Built", tokens: Float[np.ndarray, "tokens dim"]) -> Float[np.ndarray, " tokens"]:
    """Return p of tokens, for a model that has one line."""
    line = line_of(model)
    assert line is not None
    return project(tokens, line[0], "", line[1]).values


def smallest_radius(model: "Built") -> float:
    """Return a move that changes no label; for the deep constructions from the gaps alone, without a run."""
    plan = model.construction.plan
    if plan is None or model.strategy == "seq2seq":
        return float(token_radii(model).min(initial=np.inf))
    low, high, width = _edges(model, plan)
    margin = 1 + 8 * (float(model.sequences.lengths.max()) + 8) * _unit(model)
    inside = np.minimum(plan.low - low, high - plan.high)
    outside = np.minimum(low - (plan.low - plan.gap), plan.high + plan.gap - high) - width * margin
    slack = np.minimum(inside, outside).min(initial=np.inf)
    return float(_in_tokens(model, np.full(len(model.sequences), slack)).min())


def token_radii(model: "Built") -> Radii:
    """Return how far the tokens of each sequence that the transformer was built from may move, in their own unit.

    Shape ``(sequences,)``; 0 where nothing is guaranteed, infinity where no token matters (one label only).
    """
    if model.construction.plan is not None:
        return _in_tokens(model, _deep(model, model.construction.plan))
    channels = model.construction.channels
    if "m" in channels:
        tokens = model.sequences.tokens.astype(np.float64)
        meet = nearest_pairs(tokens, model.sequences.starts) / 2 if model.multiplicity == "set" else np.inf
        return _in_tokens(model, _means(model), meet)
    return _in_tokens(model, _slabs(model)) if channels[0] == "p" else _half_spaces(model)


def _unit(model: "Built") -> float:
    return float(np.finfo(model.dtype).eps) / 2


def _gamma(steps: int, unit: float) -> float:
    """Return ``gamma_m = m u / (1 - m u)``, which bounds the rounding of m operations; infinity if m is too large."""
    return steps * unit / (1 - steps * unit) if steps * unit < 1 else math.inf


def _in_tokens(model: "Built", slack: Radii, most: Radii | float = np.inf) -> Radii:
    """Convert slacks on the line to moves of tokens, at most ``most``, less the rounding of p and of coordinates."""
    line = line_of(model)
    assert line is not None
    a, centre = line
    tokens, starts = model.sequences.tokens.astype(np.float64), model.sequences.starts[:-1]
    unit, used = _unit(model), np.flatnonzero(a)
    info = np.finfo(model.dtype)
    # A power of two times one coordinate is exact for any token; every other sum rounds for moved tokens, also where
    # it does not for the given ones.
    exact = len(used) == 1 and abs(np.frexp(a[used[0]])[0]) == 0.5 and not centre.any()
    gamma = 0.0 if exact else _gamma(len(used) + 5, unit)
    sizes = np.maximum.reduceat(np.abs(tokens - centre)[:, used] @ np.abs(a[used]), starts)
    lengths = np.maximum.reduceat(np.linalg.norm(tokens, axis=1), starts)
    error = 2 * gamma * sizes + 4 * len(used) * float(info.smallest_subnormal)
    scale = float(np.linalg.norm(a)) * (1 + gamma)
    with np.errstate(over="ignore", invalid="ignore"):
        radii = (slack * _SAFE - error) / scale if scale else np.full(len(slack), np.inf)
        radii = np.minimum(radii, most * _SAFE)
        radii = np.where(np.isinf(slack), np.inf, (radii - unit * lengths) * (1 - 2 * unit))
    return np.maximum(np.nan_to_num(radii, nan=0.0, posinf=np.inf), 0.0)


# --- one question after the other -------------------------------------------------------------------------------------


def _edges(model: "Built", plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ends ``l'`` and ``h'`` of each query's interval as the weights hold them, and its w."""
    if model.strategy == "strict":
        return _strict_edges(model, plan)
    slots = plan.slots + 1 if plan.lagged else 2 * np.arange(plan.queries) + 1
    low, high = _interval(model.weights, slots)
    return low, high, plan.width()


def _interval(weights: Weights, blocks: Int[np.ndarray, " queries"]) -> tuple[np.ndarray, np.ndarray]:
    """Return l' and h' of the unit pairs ``relu(l' - p)`` and ``relu(p - h')``, one pair in each block."""
    low, high = np.full(len(blocks), -np.inf), np.full(len(blocks), np.inf)
    for index, block in enumerate(blocks.tolist()):
        for unit in range(weights.units[block], weights.units[block + 1]):
            first, last = weights.in_starts[unit : unit + 2]
            if last - first == 1 and weights.in_channels[first] == 0:
                if weights.in_weights[first] < 0:
                    low[index] = weights.bias[unit]
                else:
                    high[index] = -weights.bias[unit]
    return low, high


def _strict_edges(model: "Built", plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ends of the flat part of each trapezoid ``T(p + M s)``, less ``M c``, and the width of its ramps."""
    weights, count = model.weights, plan.queries
    edges = np.zeros((count, 4))
    for query in range(count):
        units = np.arange(weights.units[2 * query + 1], weights.units[2 * query + 1] + 4)
        shift = weights.in_weights[weights.in_starts[units] + 1].astype(np.float64)
        numbers = 2.0 * (len(model.labels) + 1 + plan.asked[query] - ROOT)
        edges[query] = -weights.bias[units].astype(np.float64) - shift * numbers
    return edges[:, 1], edges[:, 2], np.maximum(edges[:, 1] - edges[:, 0], edges[:, 3] - edges[:, 2])


def _deep(model: "Built", plan: Plan) -> Radii:
    """Return the slack of each sequence on the line over the questions that it is asked."""
    points, starts = _points(model)
    low, high, width = _edges(model, plan)
    unit = _unit(model)
    margin = 1 + 8 * (model.sequences.lengths.astype(np.float64) + 8) * unit
    classes = int(max(plan.asked.max(initial=ROOT), plan.moved.max(initial=ROOT))) + 2
    order = np.argsort(plan.asked, kind="stable")
    first = np.searchsorted(plan.asked[order], np.arange(classes + 1))
    every = model.attention == "softmax" or model.strategy == "strict"
    slack, final = path_slack(
        points, starts, first, order, low.astype(np.float64), high.astype(np.float64), width, plan.moved, plan.slots,
        plan.lagged, every, margin,
    )  # fmt: skip
    return np.minimum(slack, _groups(model, plan, points, starts, final, margin)) if not model.labels else slack


def _points(model: "Built") -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens on the line, ascending within each sequence."""
    sequences = model.sequences
    values = on_line(model, sequences.tokens)
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    return values[np.lexsort((values, owner))], sequences.starts


def _groups(
    model: "Built",
    plan: Plan,
    points: np.ndarray,
    starts: np.ndarray,
    final: np.ndarray,
    margin: np.ndarray,
) -> Radii:
    """Return the slack of the tokens between the groups that are written as different outputs."""
    weights = model.weights
    blocks = np.arange(2 * plan.queries + 1, weights.blocks, 2)
    low, high = _interval(weights, blocks)
    owner, width = np.zeros(len(blocks)), np.zeros(len(blocks))
    for index, block in enumerate(blocks.tolist()):
        for unit in range(weights.units[block], weights.units[block + 1]):
            at = weights.in_starts[unit]
            if weights.in_channels[at] == 1 and weights.in_weights[at] > 0:
                width[index] = weights.in_weights[at] / 2
                owner[index] = -weights.bias[unit] / weights.in_weights[at]
    slack = np.full(len(final), np.inf)
    by_owner: dict[int, list[int]] = {}
    for index, cls in enumerate(owner.tolist()):
        by_owner.setdefault(int(cls), []).append(index)
    for j, cls in enumerate(final.tolist()):
        p = points[starts[j] : starts[j + 1], None]
        own = by_owner.get(cls, [])
        inside = np.minimum(p - low[own], high[own] - p)
        side = np.where(inside >= 0, inside, -inside - width[own] * margin[j])
        slack[j] = max(side.min(initial=np.inf), 0.0)
    return slack


# --- all questions at once --------------------------------------------------------------------------------------------


def detectors(model: "Built", block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return U ``(units, dim)``, c and the first channel that each unit of a block writes."""
    part, weights = block_matrices(model.weights, block, model.construction.dim), model.weights
    writes = weights.out_channels[weights.out_starts[weights.units[block] : weights.units[block + 1]]]
    return part["U"].astype(np.float64), part["c"].astype(np.float64), writes


def _half_spaces(model: "Built") -> Radii:
    """Return moves after which one detector of the label still reaches the readout, and no other one fires."""
    construction, sequences = model.construction, model.sequences
    U, c, writes = detectors(model, 0)
    U = U[:, : model.input_dim]
    unit = _unit(model)
    if not len(c):
        return np.full(len(sequences), np.inf)
    names = np.array([int(construction.channels[channel][1:]) for channel in writes])
    readout, _, _ = detectors(model, 1)
    width = 2 / float(np.abs(readout[np.abs(readout) > 0]).max())
    gamma = _gamma(model.input_dim + 4, unit)
    lipschitz = np.linalg.norm(U, axis=1) * (1 + gamma)
    codes, lengths = model.codes, sequences.lengths.astype(np.float64)
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    needed = lengths * width * (1 + 8 * (lengths + len(c)) * unit)
    fires, quiet = np.full(len(sequences), -np.inf), np.full(len(sequences), np.inf)
    size = np.zeros(len(sequences))
    step = max(1, _CHUNK // len(c))
    for first in range(0, len(owner), step):
        rows = owner[first : first + step]
        tokens = sequences.tokens[first : first + step].astype(np.float64)
        value = tokens @ U.T + c
        error = 2 * gamma * (np.abs(tokens) @ np.abs(U).T + np.abs(c))
        own_label = names[None, :] == codes[rows][:, None]
        hit = np.where(own_label, (value - error - needed[rows][:, None]) / lipschitz, -np.inf).max(axis=1)
        miss = np.where(own_label, np.inf, (-value - error) / lipschitz).min(axis=1)
        np.maximum.at(fires, rows, hit)
        np.minimum.at(quiet, rows, miss)
        np.maximum.at(size, rows, np.linalg.norm(tokens, axis=1))
    # The most frequent label has no detector: for its sequences it is enough that no detector fires.
    default = ~np.isin(codes, names)
    radii = np.minimum(np.where(default, np.inf, fires), quiet) * _SAFE - unit * size
    return np.maximum(radii * (1 - 2 * unit), 0.0)


def trapezoids(model: "Built") -> tuple[np.ndarray, np.ndarray]:
    """Return the four edges of every trapezoid on p, ``(trapezoids, 4)``, and the channel that it writes."""
    _, c, writes = detectors(model, 1)
    return -c.reshape(-1, 4), writes[::4]


def sides(p: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how deep each value is on the flat part of each trapezoid, and how far it is outside of it."""
    depth = np.minimum(p[:, None] - edges[:, 1], edges[:, 2] - p[:, None])
    outside = np.maximum(edges[:, 0] - p[:, None], p[:, None] - edges[:, 3])
    return depth, outside


def hat_heights(model: "Built", p: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return what the hats add to channel g at each value of p, also on the ramps of a hat."""
    weights = model.weights
    gain = weights.out_weights[weights.out_starts[weights.units[1] : weights.units[2]]].reshape(-1, 4)[:, 0]
    rise = edges[:, 1] - edges[:, 0]
    shape = np.minimum(np.clip(p[:, None] - edges[:, 0], 0, rise), np.clip(edges[:, 3] - p[:, None], 0, rise))
    heights: np.ndarray = shape @ gain
    return heights


def _slabs(model: "Built") -> Radii:
    edges, writes = trapezoids(model)
    sequences, codes = model.sequences, model.codes
    names = np.array([int(model.construction.channels[channel][1:]) for channel in writes], dtype=np.int64)
    values = on_line(model, sequences.tokens)
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    depths, free = np.full(len(sequences), -np.inf), np.full(len(sequences), np.inf)
    # Tokens in chunks, so that the table of tokens against detectors stays small.
    step = max(1, _CHUNK // max(len(edges), 1))
    for first in range(0, len(owner), step):
        rows = owner[first : first + step]
        depth, outside = sides(values[first : first + step], edges)
        own_label = names[None, :] == codes[rows][:, None]
        np.maximum.at(depths, rows, np.where(own_label, depth, -np.inf).max(axis=1, initial=-np.inf))
        np.minimum.at(free, rows, np.where(own_label, np.inf, outside).min(axis=1, initial=np.inf))
    return np.minimum(np.where(np.isin(codes, names), depths, np.inf), free)


def _means(model: "Built") -> Radii:
    """Return the slack of ``fingerprint``, whose mean may move, and of ``hat``, whose tokens may not change sides."""
    sequences, construction = model.sequences, model.construction
    values = on_line(model, sequences.tokens)
    m = construction.channels.index("m")
    heights, slack = values, np.full(len(sequences), np.inf)
    if model.strategy == "hat":
        edges, _ = trapezoids(model)
        tokens = np.maximum(*sides(values, edges)).min(axis=1, initial=np.inf)
        slack = np.minimum.reduceat(tokens, sequences.starts[:-1])
        heights = hat_heights(model, values, edges)
    means = np.add.reduceat(heights, sequences.starts[:-1]) / sequences.lengths
    ramps = np.sort(ramp_edges(model.weights, m))
    # Ramps come as pairs of edges; between the end of one and the start of the next the label is constant.
    below, above = np.append(-np.inf, ramps[1::2]), np.append(ramps[::2], np.inf)
    zone = np.searchsorted(below, means, side="right") - 1
    room = np.minimum(means - below[zone], above[zone] - means)
    if model.strategy == "hat":
        return np.where(room > construction.error, slack, 0.0)
    unit = _unit(model)
    steps = _gamma(int(sequences.lengths.max()) + 4, unit)
    size = np.maximum.reduceat(np.abs(values), sequences.starts[:-1])
    return (room - 2 * steps * size) / (1 + steps)


def ramp_edges(weights: Weights, m: int) -> np.ndarray:
    """Return minus the bias of every unit that reads the mean alone: two a ramp."""
    single = np.flatnonzero(np.diff(weights.in_starts) == 1)
    reads = weights.in_channels[weights.in_starts[single]]
    return -weights.bias[single[reads == m]].astype(np.float64)
