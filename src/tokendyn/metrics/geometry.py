"""The geometry of tokens: whether those of one text gather, their dimensions, and their clusters.

The mean cosine of the tokens of one text says little by itself: tokens of *different* texts may share a direction.
:func:`gathering` takes that common part away.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.errors import BadInputError

#: Tokens that the clusters of one set are counted on at most: linkage takes the square of their number.
MOST_LINKED = 2000


@dataclass(frozen=True)
class Gathering:
    """Mean cosine of pairs of tokens inside sets, and across sets.

    Attributes
    ----------
    within, across
        ``(sets,)``: mean cosine of the pairs in one set, and of its tokens with those of the other sets.
    """

    within: Float[np.ndarray, " sets"]
    across: Float[np.ndarray, " sets"]

    @property
    def values(self) -> Float[np.ndarray, " sets"]:
        """Return ``within - across`` of each set."""
        return self.within - self.across

    @property
    def mean(self) -> float:
        """The mean over the sets."""
        return float(self.values.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean, over sets; NaN for fewer than two."""
        return float(standard_error(self.values))


def unit(tokens: Float[np.ndarray, "*batch tokens dim"]) -> Float[np.ndarray, "*batch tokens dim"]:
    """Return the directions of tokens; a token that is zero stays zero."""
    norms = np.linalg.norm(tokens, axis=-1, keepdims=True)
    return tokens / np.where(norms == 0, 1.0, norms)


def mean_direction(tokens: Float[np.ndarray, "*batch tokens dim"]) -> Float[np.ndarray, "*batch dim"]:
    """Return the mean of the directions: its products give the mean cosine across sets."""
    return unit(tokens).mean(axis=-2)


def mean_cosine(tokens: Float[np.ndarray, "*batch tokens dim"]) -> Float[np.ndarray, "*batch"]:
    """Return the mean cosine over all pairs of different tokens, ``(|sum u_i|^2 - sum |u_i|^2) / (n (n - 1))``.

    Raises
    ------
    BadInputError
        For fewer than two tokens.
    """
    count = tokens.shape[-2]
    if count < 2:
        raise BadInputError(f"a mean cosine needs two tokens or more, got {count}")
    directions = unit(tokens)
    total = directions.sum(axis=-2)
    own = (directions * directions).sum(axis=(-2, -1))
    return np.asarray(((total * total).sum(axis=-1) - own) / (count * (count - 1)))


def gathering(
    sets: list[Float[np.ndarray, "_ dim"]], references: list[Float[np.ndarray, "_ dim"]] | None = None
) -> Gathering:
    """Return how far the tokens of each set are nearer to each other than to tokens of other sets.

    Zero in the mean for tokens that are drawn independently, whatever direction they share. Our own measure: the null
    of the mean cosine is the mean cosine across sets.

    Parameters
    ----------
    sets
        Each ``(tokens, dim)`` with at least two tokens.
    references
        Sets that stand for the others; by default the other ``sets``.

    Raises
    ------
    BadInputError
        For a single set without references.
    """
    within = np.array([float(mean_cosine(tokens)) for tokens in sets])
    directions = np.stack([mean_direction(tokens) for tokens in sets])
    if references is not None:
        return Gathering(within, directions @ np.stack([mean_direction(tokens) for tokens in references]).mean(axis=0))
    return Gathering(within, across_others(directions))


def across_others(directions: Float[np.ndarray, "*sets dim"]) -> Float[np.ndarray, " *sets"]:
    """Return the mean product of each mean direction with those of the other sets.

    Raises
    ------
    BadInputError
        For a single set.
    """
    if len(directions) < 2:
        raise BadInputError("cosines across sets need two sets or more, or references")
    others = (directions.sum(axis=0) - directions) / (len(directions) - 1)
    return np.asarray((directions * others).sum(axis=-1))


def covariance_rank(tokens: Float[np.ndarray, "tokens dim"]) -> float:
    """Return the effective rank of the covariance, ``exp(-sum p log p)``, ``p = s^2 / sum s^2`` (Roy, Vetterli 2007).

    Between 1 and the smaller of ``tokens - 1`` and ``dim``; 0 if all tokens are equal.
    """
    centred = tokens - tokens.mean(axis=0)
    gram = centred @ centred.T if len(centred) <= centred.shape[1] else centred.T @ centred
    squares = np.maximum(np.linalg.eigvalsh(gram), 0.0)
    total = squares.sum()
    if total <= np.finfo(np.float64).eps * (tokens * tokens).sum():
        return 0.0
    shares = squares[squares > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def clusters(tokens: Float[np.ndarray, "tokens dim"], cosine: float) -> int:
    """Return the number of clusters: average linkage of the cosines, cut where the mean cosine falls below ``cosine``.

    Parameters
    ----------
    tokens
        At most :data:`MOST_LINKED` are looked at, evenly chosen.
    cosine
        Of the cut, in (-1, 1).
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(tokens) < 2:
        return len(tokens)
    chosen = np.unique(np.linspace(0, len(tokens) - 1, min(len(tokens), MOST_LINKED)).round().astype(np.int64))
    directions = unit(tokens[chosen])
    distances = (1.0 - directions @ directions.T)[np.triu_indices(len(chosen), 1)]
    tree = linkage(np.maximum(distances, 0.0), "average")
    return int(fcluster(tree, 1.0 - cosine, "distance").max())


def pair_cosines(tokens: Float[np.ndarray, "tokens dim"]) -> Float[np.ndarray, " pairs"]:
    """Return the cosines of all pairs."""
    directions = unit(tokens)
    return np.asarray((directions @ directions.T)[np.triu_indices(len(directions), 1)])


def standard_error(values: Float[np.ndarray, " *samples"]) -> Any:
    """Return the standard error of the mean over the first axis; NaN for fewer than two samples."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan) if values.ndim > 1 else float("nan")
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return np.asarray(error) if values.ndim > 1 else float(error)
