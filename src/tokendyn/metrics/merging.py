"""Which clusters of tokens merge when, and which tokens are parked apart from those before them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from tokendyn.errors import BadInputError
from tokendyn.geometry import cluster_points
from tokendyn.scales import power_of_two

#: Most tokens whose pairs are all looked at; where they coincide, each of half a million is one.
EXACT = 1000


@dataclass(frozen=True)
class Merge:
    """Clusters that were apart at one kept time and together at the next.

    Attributes
    ----------
    time
        The first time at which they are together.
    partners
        The tokens of each of them, the largest first.
    """

    time: float
    partners: tuple[tuple[int, ...], ...]


def merge_events(
    times: Float[np.ndarray, " states"], states: Float[np.ndarray, "states tokens dim"], gap: float = 0.05
) -> list[Merge]:
    """Return the merges of clusters over a run, in the order of time.

    Clusters are tokens linked by gaps of at most ``gap`` (single linkage); of more than ``EXACT`` tokens those of
    :func:`~tokendyn.geometry.cluster_points`, which links at about that. A merge is dated by the kept times: keep them
    closely, or at equal ratios for a staircase. Tokens that part are not merges.

    Parameters
    ----------
    times, states
        Those of a :class:`~tokendyn.dynamics.FlowTrajectory`, or layer numbers and the states of a trained model.
    gap
        In the units of the tokens.

    Raises
    ------
    BadInputError
        If times and states do not fit together, are not finite or do not increase, or the gap is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics import merge_events
    >>> states = np.array([[[0.0], [1.0], [5.0]], [[0.5], [0.5], [5.0]]])
    >>> merge_events(np.array([0.0, 1.0]), states)[0].partners
    ((0,), (1,))
    """
    grid, points = _checked_run(times, states, gap)
    labels = [_labels(state, gap) for state in points]
    events = []
    for time, before, after in zip(grid[1:], labels[:-1], labels[1:], strict=True):
        for cluster in range(int(after.max(initial=-1)) + 1):
            members = np.flatnonzero(after == cluster)
            parts = [tuple(members[before[members] == old].tolist()) for old in np.unique(before[members])]
            if len(parts) > 1:
                events.append(Merge(float(time), tuple(sorted(parts, key=lambda part: (-len(part), part)))))
    return events


def renyi_centres(
    tokens: Float[np.ndarray, "tokens dim"], distance: float, *, strong: bool = False
) -> Bool[np.ndarray, " tokens"]:
    """Return which tokens are Renyi centres: farther than a distance from every centre before them.

    The first token is one. ``strong``: farther than that from *every* token before them (arXiv 2411.04990). The number
    of centres of random tokens is that of cars in Renyi's parking problem.

    Parameters
    ----------
    tokens
        ``(tokens, dim)`` in the order of the causal mask.
    distance
        Euclidean, positive; ``c beta^{-1/2}`` for attention at inverse temperature beta.
    strong
        Compare with all tokens before, not only with centres.

    Raises
    ------
    BadInputError
        If the tokens are not a finite matrix, or the distance is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics import renyi_centres
    >>> line = np.array([[0.0], [0.6], [1.2]])
    >>> renyi_centres(line, 1.0)
    array([ True, False,  True])
    >>> renyi_centres(line, 1.0, strong=True)
    array([ True, False, False])
    """
    points = np.asarray(tokens, dtype=np.float64)
    if not distance > 0 or points.ndim != 2 or not np.isfinite(points).all():
        raise BadInputError(
            f"distance must be positive and tokens a finite (tokens, dim) matrix; got {distance} and {points.shape}"
        )
    # Squares of extreme lengths would overflow or underflow.
    unit = power_of_two(points)
    points, reach = points / unit, distance / unit
    centres: list[int] = []
    chosen = np.zeros(len(points), dtype=np.bool_)
    for index, token in enumerate(points):
        before = points[:index] if strong else points[centres]
        if not len(before) or np.sqrt(((before - token) ** 2).sum(axis=1).min()) > reach:
            chosen[index] = True
            centres.append(index)
    return chosen


def cluster_staircase(
    times: Sequence[float] | Float[np.ndarray, " states"], states: Float[np.ndarray, "states tokens dim"],
    gap: float = 0.05,
) -> list[tuple[float, int]]:  # fmt: skip
    """Return the steps of the number of clusters: the time at which it changes, and the new number; the first too.

    Parameters
    ----------
    times, states, gap
        See :func:`merge_events`.

    Raises
    ------
    BadInputError
        As :func:`merge_events`.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics import cluster_staircase
    >>> cluster_staircase([0.0, 1.0], np.array([[[0.0], [1.0]], [[0.5], [0.5]]]))
    [(0.0, 2), (1.0, 1)]
    """
    grid, points = _checked_run(times, states, gap)
    steps: list[tuple[float, int]] = []
    for time, state in zip(grid, points, strict=True):
        count = int(_labels(state, gap).max(initial=-1)) + 1
        if not steps or steps[-1][1] != count:
            steps.append((float(time), count))
    return steps


def _labels(state: np.ndarray, gap: float) -> np.ndarray:
    """Return the number of the cluster of each token."""
    if len(state) > EXACT:
        return cluster_points(state, gap).labels
    unit = power_of_two(state)
    pairs = cKDTree(state / unit).query_pairs(gap / unit, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(state), len(state)))
    return np.asarray(connected_components(graph, directed=False)[1])


def _checked_run(times: object, states: object, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Return times and states as arrays, or raise a :class:`BadInputError` that says all that is wrong."""
    grid, points = np.asarray(times, dtype=np.float64), np.asarray(states, dtype=np.float64)
    problems = []
    if points.ndim != 3 or grid.shape != points.shape[:1]:
        problems.append(f"states must be (times, tokens, dim), with a time each; got {points.shape} and {grid.shape}")
    if not np.isfinite(points).all():
        problems.append("states have NaN or infinite coordinates; leave those states out")
    if not np.isfinite(grid).all() or not (np.diff(grid) > 0).all():
        problems.append("times must be finite and increase")
    if not 0 < gap < math.inf:
        problems.append(f"gap must be positive and finite, got {gap}")
    if problems:
        raise BadInputError.all_of("merging clusters", problems)
    return grid, points
