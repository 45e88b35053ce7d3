"""Would more tokens give another answer? A second run of another size decides, and stragglers are counted.

The rule for the start (:mod:`~tokendyn.particles.meanfield.guard`) judges the bulk of the tokens at the beginning.
Least distance and departure also depend on the tail, later: the few tokens that start near the separatrix, where the
projection is not defined, arrive late, or attend to themselves and stay. A run is therefore compared with another one:
with four times as many tokens when there are few, else with one that has fewer tokens in the bulk and, in the tail,
the tokens that a start of four times as many would have there.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.attention import attention_weights
from tokendyn.dynamics import TokenFlow
from tokendyn.particles.meanfield.guard import Resolution, enough
from tokendyn.particles.meanfield.phases import DEPARTED, Phases
from tokendyn.particles.meanfield.projection import Projection
from tokendyn.words import counted

#: A start for any number of tokens: the tokens, or the tokens and their weights.
Start = Callable[[int], np.ndarray | tuple[np.ndarray, np.ndarray | None]]

#: Sizes of the second run's bulk and of the start that provides its tail, in units of the run's number of tokens.
COARSER, FINER = 0.7, 4

#: Up to this number of tokens the second run has four times as many. A second run of fewer tokens would miss the effect
#: of the tail (docs/theory-meanfield.md: each wrong verdict was of that kind); 2,000 tokens for 500 take a few seconds.
FEW = 512

#: The tail: a sixteenth of the tokens, those nearest to the separatrix, within these numbers.
TAIL = (6, 16)

#: Largest relative change of least distance and departure that counts as resolved: from a run to one of more tokens,
#: and to one of fewer. An error that falls like 1/n changes 1.75 times as much from n to 4n as from 0.7n to n.
CHANGE, COARSE_CHANGE = 0.09, 0.05

#: Largest weight of stragglers that counts as resolved; the second number holds when a run of more tokens agrees.
STRAGGLERS, HARMLESS = 0.01, 0.1

#: Stragglers are farther than this from their targets, and attend to fewer tokens than this.
_FAR, _COMPANY = 0.5, 4.0

#: When the distance is above this at the end of a run, it is undecided whether the law leaves.
_ENDING = 0.85 * DEPARTED

#: Number of tokens farthest from their targets among which stragglers are searched.
_FARTHEST = 500

#: Mean ratio of the volumes up to the nearest and the second nearest token: 1/2 for independent tokens, near 1 for even
#: tokens; below this value a start without a rule for more tokens counts as independent.
_EVEN = 0.65

#: Least effective number of independent tokens that contribute to the squared distance. The relative error of the
#: distance is half the inverse root of this number, and the error of the motion about twice that.
_SHARED = 400.0


@dataclass(frozen=True)
class Stragglers:
    """Tokens that are left to themselves off E at the time of the least distance.

    They attend to fewer than four tokens far from their targets, or to themselves although their query points
    elsewhere. No token of the mean field does that: it belongs to the other limit, of few tokens.

    Attributes
    ----------
    count, weight
        Their number and their weight.
    phases
        The phases of the distances without them; None when there are no stragglers, or no other tokens.
    """

    count: int
    weight: float
    phases: Phases | None


def lonely(
    flow: TokenFlow,
    tokens: Float[np.ndarray, "tokens dim"],
    weights: Float[np.ndarray, " tokens"],
    distances: Float[np.ndarray, " tokens"],
) -> Bool[np.ndarray, " tokens"]:
    """Return which tokens are left to themselves: see :class:`Stragglers`.

    Among many tokens only those farthest from their targets are examined; ``distances`` are those to the targets.
    """
    alone = np.zeros(len(tokens), dtype=np.bool_)
    beta = flow.inverse_temperature
    if math.isinf(beta) or beta == 0 or flow.causal:
        return alone
    rows = np.argsort(-distances, kind="stable")[:_FARTHEST]
    queries = flow.queries(tokens[rows])
    norms = np.linalg.norm(queries, axis=1)
    asking = norms > 0
    rows, queries, norms = rows[asking], queries[asking], norms[asking]
    if rows.size:
        shares = attention_weights(queries, tokens, inverse_temperature=beta, weights=weights)
        own = shares[np.arange(len(rows)), rows]
        offsets = np.linalg.norm(queries / norms[:, None] - tokens[rows], axis=1) * np.sqrt(beta * norms)
        company = 1 / (shares**2).sum(axis=1)
        alone[rows] = ((company < _COMPANY) & (distances[rows] > _FAR)) | ((own > 0.5) & (offsets > 1))
    return alone


def other_start(
    tokens: Float[np.ndarray, "tokens dim"],
    weights: Float[np.ndarray, " tokens"],
    projection: Projection,
    start: Start | None,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return tokens and weights of the second run; None when there are too few tokens to compare."""
    count = len(tokens)
    if count <= FINER:
        return None
    if count <= FEW and (start is not None or tokens.shape[1] == 2):
        return _started(start, tokens, weights, FINER * count)
    # The tail ends halfway between two tokens, so that rounding does not decide which side a token is on.
    size = min(max(TAIL[0], count // 16), TAIL[1], count - 1)
    nearness = np.sort(_nearness(projection, tokens))
    radius = float(nearness[size - 1] + nearness[size]) / 2
    coarse = _started(start, tokens, weights, int(COARSER * count))
    fine = _started(start, tokens, weights, FINER * count)
    outside, inside = _nearness(projection, coarse[0]) >= radius, _nearness(projection, fine[0]) < radius
    tail = float(fine[1][inside].sum())
    bulk = float(coarse[1][outside].sum())
    if bulk == 0:
        return None
    # The bulk is rescaled, so that bulk and tail keep the masses that they have in the law.
    shares = np.concatenate([coarse[1][outside] * ((1 - tail) / bulk), fine[1][inside]])
    return np.concatenate([coarse[0][outside], fine[0][inside]]), shares / shares.sum()


def _nearness(projection: Projection, tokens: np.ndarray) -> np.ndarray:
    """Return the size of ``P_E x`` for every token: zero on the separatrix."""
    return np.asarray(np.linalg.norm((tokens @ projection.left.T), axis=1))


def _started(start: Start | None, tokens: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    if start is None:
        return _resampled(tokens, weights, count)
    started = start(count)
    points, shares = started if isinstance(started, tuple) else (started, None)
    return points, np.full(len(points), 1 / len(points)) if shares is None else shares


def _resampled(tokens: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return about ``count`` tokens of the same law: on the circle by interpolation of its quantiles.

    In higher dimensions a smaller sample is a subset, and a larger one has four tokens for each, on the way to its
    nearest neighbours.
    """
    if tokens.shape[1] == 2:
        angles = np.arctan2(tokens[:, 1], tokens[:, 0])
        order = np.argsort(angles, kind="stable")
        angles, shares = angles[order], weights[order]
        levels = np.cumsum(shares) - shares / 2
        targets = (np.arange(count) + 0.5) / count
        levels = np.concatenate([levels[-1:] - 1, levels, levels[:1] + 1])
        angles = np.concatenate([angles[-1:] - 2 * math.pi, angles, angles[:1] + 2 * math.pi])
        turned = np.interp(targets, levels, angles)
        return np.stack([np.cos(turned), np.sin(turned)], axis=1), np.full(count, 1 / count)
    from scipy.spatial import cKDTree

    if count >= len(tokens):
        steps = tokens[np.asarray(cKDTree(tokens).query(tokens, k=FINER + 1)[1])[:, 1:]] - tokens[:, None]
        spread = (tokens[:, None] + steps / 3).reshape(-1, tokens.shape[1])
        return spread / np.linalg.norm(spread, axis=1)[:, None], np.repeat(weights / FINER, FINER)
    # Neighbours in the order of a k-d tree are close in space: every k-th of them is an even subset.
    order = cKDTree(tokens, leafsize=1).indices
    rows = np.searchsorted(np.cumsum(weights[order]), (np.arange(count) + 0.5) / count * (1 - 1e-12))
    resampled = tokens[order[np.minimum(rows, len(order) - 1)]]
    return resampled, np.full(count, 1 / count)


def evenly(tokens: Float[np.ndarray, "tokens dim"]) -> bool:
    """Return whether tokens lie more evenly than independent ones.

    The mean ratio of the volumes up to the nearest and the second nearest token is 1/2 for independent tokens.
    """
    if len(tokens) < 3:
        return True
    from scipy.spatial import cKDTree

    gaps = np.asarray(cKDTree(tokens).query(tokens[:: max(1, len(tokens) // 2000)], k=3)[0])
    second = gaps[:, 2] > 0
    if not second.any():
        return False
    return float(((gaps[second, 1] / gaps[second, 2]) ** (tokens.shape[1] - 1)).mean()) > _EVEN


@dataclass(frozen=True)
class Comparison:
    """The phases of a run beside those of a run of another size.

    Attributes
    ----------
    least, departure
        Relative changes; infinite when only one of the runs comes near its projection, or leaves.
    """

    least: float
    departure: float

    @classmethod
    def of(cls, run: Phases, other: Phases) -> "Comparison":
        """Compare two runs."""
        near = run.least <= DEPARTED, other.least <= DEPARTED
        left = math.isfinite(run.departure), math.isfinite(other.departure)
        least = _change(run.least, other.least) if near[0] == near[1] else math.inf
        departure = 0.0 if not any(left) else _change(run.departure, other.departure) if all(left) else math.inf
        return cls(least, departure)

    def agrees(self, allowed: float) -> bool:
        """Return whether both changes are smaller than ``allowed``."""
        return max(self.least, self.departure) < allowed


def _change(first: float, second: float) -> float:
    """Return ``|log(first / second)|``, a symmetric relative change."""
    least = np.finfo(float).tiny
    return abs(math.log(max(first, least) / max(second, least)))


def left_behind(count: int) -> str:
    """Return the number of tokens that are left to themselves, in words."""
    return "1 token is left to itself" if count == 1 else f"{count} tokens are left to themselves"


def unchecked(guard: Resolution, why: str) -> Resolution:
    """Return the verdict on a run that could not be compared with another one."""
    if guard.status == "unresolved":
        return guard
    return dataclasses.replace(
        guard, status="unresolved", reason=f"{guard.shown}; not compared with a run of another size: {why}"
    )


def judged(
    guard: Resolution,
    phases: Phases,
    stragglers: Stragglers,
    other: tuple[int, Phases, Stragglers],
    shared: float,
    even: bool,
    last: float = 0.0,
) -> Resolution:
    """Return the verdict on a run.

    Parameters
    ----------
    guard
        The verdict of the rule for its start.
    phases
        The phases of the run.
    stragglers
        The stragglers at its least distance.
    other
        Number of tokens, phases and stragglers of the second run.
    shared
        Effective number of tokens that contribute to the squared distance.
    even
        Whether the tokens are even, or were compared with more tokens of the same start, and without noise.
    last
        Distance at the end of the run.
    """
    reasons = []
    compared, finer = Comparison.of(phases, other[1]), other[0] > guard.tokens
    allowed = CHANGE if finer else COARSE_CHANGE
    if not compared.agrees(allowed):
        reasons.append(f"with {counted(other[0], 'token')}, {_differs(phases, other[1], compared, allowed)}")
    short = math.isinf(phases.departure) and max(_ENDING, 1.05 * phases.least) < last <= DEPARTED
    if short:
        reasons.append(f"the distance is {last:.2g} as the run ends, and the law about to leave: follow it longer")
    if stragglers.weight >= (HARMLESS if finer else STRAGGLERS):
        reasons.append(f"{left_behind(stragglers.count)} off E at the least distance")
    if not even and shared < _SHARED:
        reasons.append(f"{max(shared, 1):.0f} independent tokens make up the distance, which scatters by that")
    verdict = dataclasses.replace(
        guard, other_tokens=other[0], stragglers=stragglers.count, least_change=compared.least,
        departure_change=compared.departure,
    )  # fmt: skip
    if not reasons:
        percent = 100 * max(compared.least, compared.departure)
        shown = f"{guard.shown}; the answer changes by {percent:.2g} % with {counted(other[0], 'token')}"
        return dataclasses.replace(verdict, status="resolved", needed=min(guard.needed, guard.tokens), reason=shown)
    only_short = short and len(reasons) == 1
    without = [alone.phases or whole for whole, alone in ((phases, stragglers), (other[1], other[2]))]
    if (stragglers.count or other[2].count) and Comparison.of(without[0], without[1]).agrees(allowed):
        reasons.append(
            f"without those that are left to themselves both runs agree on a least distance of {without[0].least:.3g} "
            + ("and stay" if math.isinf(without[0].departure) else f"and a departure at t = {without[0].departure:.3g}")
        )
    if only_short:
        # More tokens do not help if the run ended too early.
        needed = min(guard.needed, guard.tokens)
        text = f"{guard.shown}: too short for a verdict: {'; '.join(reasons)}"
        return dataclasses.replace(verdict, status="unresolved", needed=needed, reason=text)
    needed = float(np.ceil(max(guard.needed, FINER * guard.tokens)))
    text = f"{guard.shown}: too few for the mean field: {'; '.join(reasons)}; use {enough(needed)}, or a smaller beta"
    return dataclasses.replace(verdict, status="unresolved", needed=needed, reason=text)


def _differs(run: Phases, other: Phases, compared: Comparison, allowed: float) -> str:
    if compared.least >= allowed:
        return f"the least distance is {other.least:.3g} and not {run.least:.3g}"
    if math.isinf(compared.departure):
        return "the law leaves" if math.isfinite(other.departure) else "the law does not leave"
    return f"the law leaves at t = {other.departure:.3g} and not {run.departure:.3g}"
