"""Which clusters of tokens merge when, and which tokens are parked apart from those before them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tokendyn.errors import BadInputError
from tokendyn.geometry import cluster_points


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

    Clusters are tokens linked by gaps of at most ``gap`` (:func:`~tokendyn.geometry.cluster_points`). A merge is dated
    by the kept times: keep them closely, or at equal ratios for a staircase. Tokens that part are not merges.

    Parameters
    ----------
    times, states
        Those of a :class:`~tokendyn.dynamics.FlowTrajectory`, or layer numbers and the states of a trained model.
    gap
        In the units of the tokens.

    Raises
    ------
    BadInputError
        If times and states do not fit together, or the gap is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics import merge_events
    >>> states = np.array([[[0.0], [1.0], [5.0]], [[0.5], [0.5], [5.0]]])
    >>> merge_events(np.array([0.0, 1.0]), states)[0].partners
    ((0,), (1,))
    """
    if len(times) != len(states) or not gap > 0:
        raise BadInputError(f"{len(times)} times, {len(states)} states, gap {gap}: give one time a state, and gap > 0")
    labels = [cluster_points(state, gap).labels for state in states]
    events = []
    for time, before, after in zip(times[1:], labels[:-1], labels[1:], strict=True):
        for cluster in range(int(after.max()) + 1):
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
    if not distance > 0 or np.ndim(tokens) != 2:
        raise BadInputError(f"distance must be positive and tokens (tokens, dim); got {distance}, {np.shape(tokens)}")
    centres: list[int] = []
    chosen = np.zeros(len(tokens), dtype=np.bool_)
    for index, token in enumerate(tokens):
        before = tokens[:index] if strong else tokens[centres]
        if not len(before) or ((before - token) ** 2).sum(axis=1).min() > distance**2:
            chosen[index] = True
            centres.append(index)
    return chosen


def cluster_staircase(
    times: Sequence[float] | Float[np.ndarray, " states"], states: Float[np.ndarray, "states tokens dim"],
    gap: float = 0.05,
) -> list[tuple[float, int]]:  # fmt: skip
    """Return the steps of the number of clusters: the time at which it changes, and the new number; the first too.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.metrics import cluster_staircase
    >>> cluster_staircase([0.0, 1.0], np.array([[[0.0], [1.0]], [[0.5], [0.5]]]))
    [(0.0, 2), (1.0, 1)]
    """
    steps: list[tuple[float, int]] = []
    for time, state in zip(times, states, strict=True):
        count = len(cluster_points(state, gap).sizes)
        if not steps or steps[-1][1] != count:
            steps.append((float(time), count))
    return steps
