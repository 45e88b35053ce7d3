"""The unit sphere: tangent projection and retraction."""

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics.layers import checked_tokens
from tokendyn.errors import BadInputError, listing

#: Largest deviation of a norm from 1 at which a token counts as lying on the sphere.
ON_SPHERE = 1e-9


def retract(points: Float[np.ndarray, "tokens dim"]) -> Float[np.ndarray, "tokens dim"]:
    """Return ``x / |x|`` for every row; a row of norm 0 becomes NaN, which integrators report as divergence."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return points / np.sqrt((points**2).sum(axis=1))[:, None]


def tangent(
    tokens: Float[np.ndarray, "tokens dim"], vectors: Float[np.ndarray, "tokens dim"]
) -> Float[np.ndarray, "tokens dim"]:
    """Return ``P_x v = v - x <x, v> / <x, x>`` for every row."""
    share = (tokens * vectors).sum(axis=1) / (tokens**2).sum(axis=1)
    return vectors - tokens * share[:, None]


def sphere_tokens(tokens: object, *, normalise: bool = False) -> Float[np.ndarray, "tokens dim"]:
    """Return tokens as unit vectors, or raise a :class:`BadInputError` that lists the tokens that are not.

    Parameters
    ----------
    tokens
        ``(tokens, dim)`` real and finite, dim at least 2.
    normalise
        Divide tokens by their norms; otherwise a norm that differs from 1 by more than ``ON_SPHERE`` is an error.
    """
    array = checked_tokens(tokens)
    if array.shape[1] < 2:
        raise BadInputError("tokens have 1 coordinate: the sphere of dimension 0 has no flow; expected at least 2")
    norms = np.linalg.norm(array, axis=1)
    _refuse(norms == 0, "zero: it has no direction; remove it")
    if not normalise:
        off = np.abs(norms - 1) > ON_SPHERE
        _refuse(off, "off the unit sphere; pass normalise=True to divide tokens by their norm")
    return np.asarray(array / norms[:, None])


def _refuse(bad: np.ndarray, why: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        some = listing(rows)
        raise BadInputError(f"{rows.size} of {bad.size} tokens ({some}): {why}")
