"""The lemmas of arXiv 2407.01602, checked on a trajectory."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics import Trajectory
from tokendyn.errors import BadInputError
from tokendyn.geometry import MAX_HULL_DIM, convex_hull
from tokendyn.results import Numbers

#: Rounding allowed in each comparison, relative to the largest quantity compared.
ROUNDING = 1e-12

_TILE_ROWS = 512

#: Distances computed at once (2 MB in float64), over several layers when the tokens are few.
_TILE_PAIRS = 2**18


@dataclass(frozen=True)
class LemmaReport(Numbers, kind="lemma-report"):
    """Number of violations of each lemma, beyond rounding; all are zero where the theorem holds.

    Attributes
    ----------
    norms
        Pairs of a token and a layer at which the A-norm decreased.
    distances
        Pairs of tokens whose A-distance shrank in a layer by more than the factor ``1 / (1 + alpha)``.
    hulls
        Tokens outside the convex hull of the layer before.
    leaders
        Pairs of a token and a layer at which a token moved although it was its own only leader.
    """

    norms: int
    distances: int
    hulls: int
    leaders: int

    @property
    def violations(self) -> int:
        """Total number of violations."""
        return self.norms + self.distances + self.hulls + self.leaders

    @property
    def status(self) -> str:
        """``"failed"`` when a lemma is violated, else ``"completed"``."""
        return "failed" if self.violations else "completed"

    def describe(self) -> list[str]:
        """Return a sentence about the violated lemmas."""
        if not self.violations:
            return ["all lemmas hold along the run"]
        counts = ", ".join(f"{name} {count}" for name, count in self.summary().items() if count and name != "status")
        return [f"lemmas are violated {self.violations} times: {counts}"]


def check_lemmas(
    trajectory: Trajectory, alpha: float, score: Float[np.ndarray, "dim dim"] | None = None
) -> LemmaReport:
    """Count the violations of the lemmas along a run with one head, hardmax and ``V = I``.

    Costs ``layers * tokens^2`` in time and one tile in memory. A leader may move within rounding, because followers
    that have converged onto it tie with it.

    Raises
    ------
    BadInputError
        If ``score`` is not symmetric positive definite: the lemmas assume it.
    """
    states = trajectory.states
    root = np.eye(states.shape[2])
    if score is not None:
        if not np.allclose(score, score.T, rtol=0, atol=1e-12 * float(np.abs(score).max())):
            raise BadInputError("the lemmas need a symmetric score matrix A")
        try:
            root = np.linalg.cholesky((score + score.T) / 2).T
        except np.linalg.LinAlgError:
            raise BadInputError("the lemmas need a positive definite score matrix A") from None
    mapped = states @ root.T
    norms = np.linalg.norm(mapped, axis=2)
    allowed = ROUNDING * max(float(norms.max()), np.finfo(float).tiny)
    shrinking = int((norms[1:] < norms[:-1] - allowed).sum())
    distances = _shrunk_pairs(mapped, 1 / (1 + alpha), allowed)
    own = np.arange(states.shape[1])
    leads = (trajectory.leaders[:, 0] == own) & (trajectory.tie_counts[:, 0] == 1)
    scale = max(float(np.abs(states).max()), np.finfo(float).tiny)
    moved = np.abs(states[1:] - states[:-1]).max(axis=2) > ROUNDING * scale
    # From the first layer in which a token is its only leader, it must not move any more.
    since = np.maximum.accumulate(leads, axis=0)
    return LemmaReport(
        norms=shrinking,
        distances=distances,
        hulls=_outside_hulls(trajectory, alpha),
        leaders=int((since & moved).sum()),
    )


def _shrunk_pairs(mapped: np.ndarray, factor: float, allowed: float) -> int:
    """Count pairs of tokens that come closer in a layer than ``factor`` times their distance before."""
    layers, tokens = mapped.shape[0] - 1, mapped.shape[1]
    rows_at_once = min(tokens, _TILE_ROWS)
    layers_at_once = max(1, _TILE_PAIRS // (rows_at_once * tokens))
    count = 0
    for first in range(0, layers, layers_at_once):
        part = mapped[first : first + layers_at_once + 1]
        for start in range(0, tokens, rows_at_once):
            gaps = _distances(part[:, start : start + rows_at_once], part)
            count += int((gaps[1:] < factor * gaps[:-1] - allowed).sum())
    # Every pair was counted in both orders.
    return count // 2


def _distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return ``(layers, some, others)`` distances, coordinate by coordinate to keep temporaries small."""
    squares = np.zeros((some.shape[0], some.shape[1], others.shape[1]))
    for axis in range(some.shape[2]):
        squares += (some[:, :, None, axis] - others[:, None, :, axis]) ** 2
    return np.asarray(np.sqrt(squares))


def _outside_hulls(trajectory: Trajectory, alpha: float) -> int:
    """Count tokens outside the hull of the layer before.

    A token on the segment from its own point to that of its leader is inside. Hulls are costly and are computed only
    for layers with other tokens, those that tie.
    """
    states = trajectory.states
    if states.shape[2] > MAX_HULL_DIM:
        return 0
    allowed = 1e-10 * max(float(np.abs(states[0]).max()), np.finfo(float).tiny)
    before, after = states[:-1], states[1:]
    on_segment = before + alpha / (1 + alpha) * (trajectory.followed_points() - before)
    open_tokens = np.linalg.norm(after - on_segment, axis=2) > allowed
    return sum(
        int((convex_hull(before[layer]).distance_outside(after[layer, open_tokens[layer]]) > allowed).sum())
        for layer in np.flatnonzero(open_tokens.any(axis=1))
    )
