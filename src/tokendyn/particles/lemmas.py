"""The lemmas of arXiv 2407.01602, checked on a trajectory."""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics import Trajectory
from tokendyn.errors import BadInputError
from tokendyn.geometry import MAX_HULL_DIM, convex_hull

#: Rounding allowed in each comparison, relative to the largest quantity compared.
ROUNDING = 1e-12

_TILE = 512


@dataclass(frozen=True)
class LemmaReport:
    """Number of violations of each lemma, beyond rounding; all are zero where the theorem holds.

    Attributes
    ----------
    norms
        Token and layer pairs at which the A-norm decreased.
    distances
        Token pairs whose A-distance shrank in a layer by more than the factor ``1 / (1 + alpha)``.
    hulls
        Tokens outside the convex hull of the layer before.
    leaders
        Tokens that led themselves alone and then moved.
    """

    norms: int
    distances: int
    hulls: int
    leaders: int

    @property
    def violations(self) -> int:
        """Total number of violations."""
        return self.norms + self.distances + self.hulls + self.leaders


def check_lemmas(
    trajectory: Trajectory, alpha: float, score: Float[np.ndarray, "dim dim"] | None = None
) -> LemmaReport:
    """Count the violations of the lemmas along a run with one head, hardmax and ``V = I``.

    Costs ``layers * tokens^2`` in time and one tile in memory.

    Raises
    ------
    BadInputError
        If ``score`` is not symmetric positive definite: the lemmas do not speak of it.
    """
    states = trajectory.states
    root = np.eye(states.shape[2])
    if score is not None:
        try:
            root = np.linalg.cholesky((score + score.T) / 2).T
        except np.linalg.LinAlgError:
            raise BadInputError("the lemmas need a positive definite score matrix A") from None
    mapped = states @ root.T
    norms = np.linalg.norm(mapped, axis=2)
    allowed = ROUNDING * max(float(norms.max()), np.finfo(float).tiny)
    shrinking = int((norms[1:] < norms[:-1] - allowed).sum())
    distances = sum(
        _shrunk_pairs(before, after, 1 / (1 + alpha), allowed) for before, after in itertools.pairwise(mapped)
    )
    own = np.arange(states.shape[1])
    leads = (trajectory.leaders[:, 0] == own) & (trajectory.tie_counts[:, 0] == 1)
    moved = (states[1:] != states[:-1]).any(axis=2)
    since = np.maximum.accumulate(leads, axis=0)
    return LemmaReport(shrinking, distances, _outside_hulls(states), int((since & moved).sum()))


def _shrunk_pairs(before: np.ndarray, after: np.ndarray, factor: float, allowed: float) -> int:
    count = 0
    for start in range(0, len(before), _TILE):
        rows = slice(start, start + _TILE)
        old = np.linalg.norm(before[rows, None] - before[None], axis=2)
        new = np.linalg.norm(after[rows, None] - after[None], axis=2)
        count += int((new < factor * old - allowed).sum())
    return count // 2


def _outside_hulls(states: np.ndarray) -> int:
    if states.shape[2] > MAX_HULL_DIM:
        return 0
    allowed = 1e-10 * max(float(np.abs(states[0]).max()), np.finfo(float).tiny)
    return sum(
        int((convex_hull(before).distance_outside(after) > allowed).sum())
        for before, after in itertools.pairwise(states)
    )
