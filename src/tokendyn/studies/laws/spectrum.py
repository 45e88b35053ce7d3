"""Clustering in R^d by the spectrum of V, without normalisation (arXiv 2305.05465).

Rescaled tokens ``z = e^{-t V} x`` of ``xdot = V m(x)`` stay bounded. The class of V is named before a run, and says
what they tend to.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.linalg import expm

from tokendyn.dynamics import TokenFlow, integrate
from tokendyn.errors import BadInputError
from tokendyn.geometry import convex_hull
from tokendyn.studies.claims.claim import Claim, Finding, Profile, at_least, at_most
from tokendyn.studies.claims.drawing import axes

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


def value_class(value: Float[np.ndarray, "dim dim"], *, tolerance: float = 1e-9) -> ValueClass:
    """Return the class of a value matrix.

    Parameters
    ----------
    value
        ``V``.
    tolerance
        Eigenvalues nearer than this share of the largest modulus count as one.

    Raises
    ------
    BadInputError
        If V is not a finite square matrix.
    """
    matrix = np.asarray(value, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise BadInputError(f"value must be a finite square matrix, got shape {matrix.shape}")
    size = float(np.abs(matrix).max())
    if size and np.abs(matrix - matrix[0, 0] * np.eye(len(matrix))).max() <= tolerance * size:
        if matrix[0, 0] > 0:
            return ValueClass("identity", "rescaled tokens tend to vertices and the boundary of a convex polytope")
        return ValueClass("negative identity", "tokens contract to one point, if V Q^T K pulls: B positive definite")
    values, vectors = np.linalg.eig(matrix.T)
    order = np.argsort(-values.real)
    first = values[order[0]]
    alone = len(values) == 1 or first.real - values[order[1]].real > tolerance * np.abs(values).max()
    if alone and abs(first.imag) <= tolerance * abs(first) and first.real > 0:
        left = vectors[:, order[0]].real
        return ValueClass(
            "simple positive", "rescaled tokens tend to at most three parallel hyperplanes", left / np.linalg.norm(left)
        )
    return ValueClass("other", "no statement: the leading eigenvalue is complex, repeated or not positive")


def free(value: Float[np.ndarray, "dim dim"]) -> TokenFlow:
    """Return attention in R^d with ``B = I``."""
    return TokenFlow(1.0, value=value, on_sphere=False)


def rescaled(flow: TokenFlow, tokens: Float[np.ndarray, "tokens dim"], until: float) -> Float[np.ndarray, "tokens dim"]:
    """Return ``e^{-t V} x(t)`` of every token at the end of a run."""
    run = integrate(flow, tokens, [0.0, until], method="adaptive", tolerance=1e-9)
    if run.status != "completed":
        raise BadInputError(f"the run ended early: {run.reason}; follow it for a shorter time")
    value = np.eye(tokens.shape[1]) if flow.value is None else flow.value
    return np.asarray(run.states[-1] @ expm(-until * value).T)


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
        # The share of tokens near the boundary: one whose neighbour on the hull is decided late is still on its way.
        sides.append(float((inside < 0.02 * np.ptp(plane)).mean()))
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
    contracting = integrate(TokenFlow(1.0, value=-np.eye(2), on_sphere=False), np.eye(2), [0.0, 40.0]).states[-1]
    values = {
        "V = I: share of tokens on the boundary of their hull": min(sides),
        "one leading eigenvalue: share of tokens on three hyperplanes": min(spreads),
        "V = -I: size of the tokens at the end": float(np.abs(contracting).max()),
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
