"""Clustering in R^d by the spectrum of V, without normalisation (arXiv 2305.05465).

Rescaled tokens ``z = e^{-t V} x`` of ``xdot = V m(x)`` stay bounded. The class of V is named before a run, and says
what they tend to.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.linalg import eig, expm

from tokendyn.attention.checks import as_matrix
from tokendyn.dynamics import Budget, TokenFlow, checked_tokens, integrate
from tokendyn.errors import ConvergenceError
from tokendyn.geometry import convex_hull
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_least, at_most
from tokendyn.studies.claims.drawing import axes
from tokendyn.studies.laws.checks import outside, refuse

SOURCE = "arXiv 2305.05465 (theorems under hypotheses on A); the classes are named here"

#: Makes the flow of a value matrix; another one stands in where a test takes the mechanism away.
Flow = Callable[[np.ndarray], TokenFlow]

Kind = Literal["identity", "simple positive", "negative identity", "other"]


@dataclass(frozen=True)
class ValueClass:
    """The class of a value matrix, and what rescaled tokens tend to.

    Attributes
    ----------
    kind
        ``"identity"`` (a positive multiple of it), ``"simple positive"`` (the largest real part belongs to one real,
        simple, positive eigenvalue), ``"negative identity"``, or ``"other"``.
    limit
        What the theory says of the end, in words; of ``"other"`` that there is no statement.
    left
        The left eigenvector of the leading eigenvalue, for ``"simple positive"``; else None.
    """

    kind: Kind
    limit: str
    left: Float[np.ndarray, " dim"] | None = None


def value_class(
    value: Float[np.ndarray, "dim dim"], interaction: Float[np.ndarray, "dim dim"] | None = None, *,
    tolerance: float = 1e-9,
) -> ValueClass:  # fmt: skip
    """Return the class of a value matrix, under the hypothesis that its law has on the interaction.

    Parameters
    ----------
    value
        ``V``.
    interaction
        ``B = Q^T K``; the identity by default. The law of a multiple of the identity needs it to be positive definite,
        that of one leading eigenvalue ``<v, B v> > 0`` for its eigenvector v.
    tolerance
        Eigenvalues nearer than this share of the largest modulus count as one. So do those that rounding of the entries
        of V could have made of one, as in a Jordan block.

    Raises
    ------
    BadInputError
        If a matrix is not finite and square, or the two differ in size.
    """
    matrix = as_matrix("value", value, square=True)
    score = np.eye(len(matrix)) if interaction is None else as_matrix("interaction", interaction, square=True)
    refuse(
        "class of V",
        outside("tolerance", tolerance, 0.0, 1.0),
        None if score.shape == matrix.shape else f"value {matrix.shape} and interaction {score.shape} differ in size",
    )
    size = float(np.abs(matrix).max())
    matrix = matrix / size if size else matrix
    if size and np.abs(matrix - matrix[0, 0] * np.eye(len(matrix))).max() <= tolerance:
        if np.linalg.eigvalsh(score + score.T)[0] <= 0:
            return ValueClass("other", "no statement: V is a multiple of the identity, B not positive definite")
        if matrix[0, 0] > 0:
            return ValueClass("identity", "rescaled tokens tend to vertices and the boundary of a convex polytope")
        return ValueClass("negative identity", "tokens contract to one point")
    leading = _leading(matrix, tolerance)
    if leading is None:
        return ValueClass("other", "no statement: the leading eigenvalue is complex, repeated or not positive")
    left, right = leading
    if right @ score @ right <= 0:
        return ValueClass("other", "no statement: <v, B v> is not positive for the leading eigenvector v of V")
    return ValueClass("simple positive", "rescaled tokens tend to at most three parallel hyperplanes", left)


def _leading(matrix: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the left and right eigenvectors of the leading eigenvalue if it is real, simple and positive."""
    values, lefts, rights = eig(matrix, left=True, right=True)
    order = np.argsort(-values.real)
    first = values[order[0]]
    # Rounding of the entries moves an eigenvalue by that over |<left, right>|: a Jordan block looks like simple ones.
    slopes = np.maximum(np.abs((lefts.conj() * rights).sum(axis=0)), 1e-300)
    unsure = 10 * np.finfo(float).eps * np.linalg.norm(matrix) / slopes[order]
    gap = first.real - values[order[1:2]].real
    alone = (gap > np.maximum(tolerance * np.abs(values).max(), unsure[0] + unsure[1:2])).all()
    if not alone or abs(first.imag) > tolerance * abs(first) or not first.real > unsure[0]:
        return None
    return lefts[:, order[0]].real, rights[:, order[0]].real


def free(value: Float[np.ndarray, "dim dim"]) -> TokenFlow:
    """Return attention in R^d with ``B = I``."""
    return TokenFlow(1.0, value=value, on_sphere=False)


def rescaled(flow: TokenFlow, tokens: Float[np.ndarray, "tokens dim"], until: float) -> Float[np.ndarray, "tokens dim"]:
    """Return ``e^{-t V} x(t)`` of every token at the end of a run.

    Raises
    ------
    BadInputError
        If the flow is on the sphere or divides by norms, or the time is not positive.
    ConvergenceError
        If the run ends early, or tokens or ``e^{-t V}`` are beyond float64 by then.
    """
    refuse(
        "rescaled tokens",
        outside("until", until, 0.0, ends="()"),
        "the flow must be one in R^d: TokenFlow(..., on_sphere=False), normalisation left out"
        if flow.on_sphere or flow.normalisation != "post"
        else None,
    )
    points = checked_tokens(tokens)
    run = integrate(flow, points, [0.0, until], method="adaptive", tolerance=1e-9)
    if run.status != "completed":
        raise ConvergenceError(f"the run ended early: {run.reason}; follow it for a shorter time")
    value = np.eye(points.shape[1]) if flow.value is None else flow.value
    with np.errstate(over="ignore", invalid="ignore"):
        ends = np.asarray(run.states[-1] @ expm(-until * value).T)
    if not np.isfinite(ends).all():
        raise ConvergenceError(f"e^(-t V) is beyond float64 at t = {until:g}; follow the run for a shorter time")
    return ends


def value_spectrum(profile: Profile, seed: int, *, flow: Flow = free) -> Finding:
    """Run one case of each class: distance from the polytope's boundary, spread within hyperplanes."""
    rows, plane, sides, spreads = [], None, [], []
    for number in range(3 if profile == "quick" else 20):
        rng = np.random.default_rng([seed, number])
        tokens = rng.normal(size=(30, 2))
        plane = rescaled(flow(np.eye(2)), tokens, 8.0)
        hull = convex_hull(plane)
        corners = np.vstack([hull.vertices, hull.vertices[:1]])
        sides_of = pairwise(corners)
        inside = np.min([_segment_distance(plane, *ends) for ends in sides_of], axis=0)
        # By the width of the hull, which may have shrunk. A token whose neighbour on it is decided late is on its way.
        sides.append(float((inside < 0.02 * np.ptp(plane, axis=0).max()).mean()))
        value = np.diag([1.0, 0.2, -0.3])
        kind = value_class(value)
        tokens = rng.normal(size=(30, 3))
        levels = rescaled(flow(value), tokens, 10.0) @ kind.left
        ends = np.array([levels.min(), 0.0, levels.max()])
        spreads.append(float((np.abs(levels[:, None] - ends).min(axis=1) < 0.02 * np.ptp(levels)).mean()))
        rows += [
            {"class": "identity", "seed": number, "corners": len(hull.vertices), "share at the limit": sides[-1]},
            {"class": kind.kind, "seed": number, "corners": 0, "share at the limit": spreads[-1]},
        ]
    contracting = integrate(flow(-np.eye(2)), np.eye(2), [0.0, 40.0], method="adaptive", budget=Budget(steps=2000))
    # Tokens that do not contract may be beyond float64 long before the end.
    size = float(np.abs(contracting.states[-1]).max()) if contracting.status == "completed" else math.inf
    values = {
        "V = I: share of tokens on the boundary of their hull": min(sides),
        "one leading eigenvalue: share of tokens on three hyperplanes": min(spreads),
        "V = -I: size of the tokens at the end": size,
    }
    figure, panel = axes("z_1", "z_2")
    panel.plot(*plane.T, "o", ms=4, label="rescaled tokens, V = I")  # type: ignore[union-attr]
    panel.plot(*corners.T, lw=1, color="0.5", label="their hull")
    panel.legend(frameon=False, fontsize=8)
    return Finding(values=values, table=pd.DataFrame(rows), figure=figure)


def _segment_distance(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    way = end - start
    share = np.clip((points - start) @ way / (way @ way), 0, 1)
    return np.asarray(np.linalg.norm(points - start - share[:, None] * way, axis=1))


CLAIM = Claim(
    id="field.spectrum",
    statement="In R^d the spectrum of V decides: a polytope for V = I, three hyperplanes for one leading eigenvalue.",
    source=SOURCE,
    how="Share of rescaled tokens within 2 % of their hull's boundary, and of three hyperplanes; end under V = -I.",
    bounds={
        "V = I: share of tokens on the boundary of their hull": at_least(0.9),
        "one leading eigenvalue: share of tokens on three hyperplanes": at_least(0.9),
        "V = -I: size of the tokens at the end": at_most(0.2),
    },
    check=value_spectrum,
)
