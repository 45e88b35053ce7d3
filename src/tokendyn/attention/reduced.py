"""Hardmax with fewer keys: exact, because the discarded keys cannot be leaders.

``polytope``: a key inside a polytope of other keys, by a margin, scores less than one of its vertices for every query.
``prefix``: a key too close to the centre cannot reach the score that a row has already found. The remaining keys go
through the fused kernels, where canonical arithmetic decides.

Symbols: ``c`` and ``w`` mean and standard deviation of the keys, axis by axis; ``y = (k - c) / w``; ``R`` the largest
``|k|_2``; ``eps`` the unit roundoff of float64.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import ConvexHull, QhullError

from tokendyn.attention import fused
from tokendyn.attention.polytope_kernels import not_inside, scaled_norms
from tokendyn.attention.problem import Problem

#: Number of random directions per dimension; the outermost keys in them span the inner polytope.
DIRECTIONS = 64

#: Size of a sample of keys: when more than half of it remain, the polytope is not used.
SAMPLE = 1000

#: Largest dimension in which Qhull is quick on a few hundred points.
MOST_DIMENSIONS = 6

#: Rows with ``|q| R`` below this are compared with all keys, because their products may underflow.
SMALLEST = 1e-250

#: Rows, and the keys that they attend to; None: all.
Group = tuple[np.ndarray, np.ndarray | None]

EPS = float(np.finfo(np.float64).eps)


def hardmax(problem: Problem, backend: str) -> tuple[tuple[np.ndarray, ...], str]:
    """Return the result of :func:`tokendyn.attention.fused.hardmax`, to the bit, and a note about discarded keys."""
    reach = problem.query_norms * problem.key_norms.max()
    small = np.flatnonzero(~(reach > SMALLEST))
    rows = np.flatnonzero(reach > SMALLEST)
    groups: list[Group] = [(small, None)] if small.size else []
    note = "all queries are zero"
    if rows.size:
        groups_of = _polytope_groups if backend == "polytope" else _prefix_groups
        more, note = groups_of(problem, rows)
        groups.extend(more)
    return _by_groups(problem, groups), note


def surviving_keys(
    keys: Float[np.ndarray, "tokens dim"], tie_margin: float = 0.0
) -> Int[np.ndarray, " survivors"] | None:
    """Return, in ascending order, the keys that can be among the leaders of some non-zero query.

    A polytope is spanned by the outermost keys in ``DIRECTIONS`` random directions for each dimension. For every
    query q the best of its vertices beats a key inside by a margin ``mu`` by ``mu |q|``, so that the key neither leads
    nor ties (ours). The margin is ``tie_margin + 32 (d + 2) eps R``, plus four times the largest distance of Qhull's
    facets from their vertices.

    Parameters
    ----------
    keys
        ``(tokens, dim)``, finite.
    tie_margin
        Largest ``slack_i / |q_i|_2``.

    Returns
    -------
    Int[np.ndarray, " survivors"] | None
        None without such a polytope (few or flat keys), or when it discards less than half.
    """
    dim = keys.shape[1]
    if not 2 <= dim <= MOST_DIMENSIONS or len(keys) <= dim + 1:
        return None
    centre, widths = keys.mean(axis=0), keys.std(axis=0)
    radius = float(np.sqrt(np.einsum("ij,ij->i", keys, keys).max()))
    margin = tie_margin * (1 + 8 * EPS) + 32 * (dim + 2) * EPS * radius
    if not (np.isfinite(radius) and widths.min() > margin):
        return None
    facets = _facets((keys[_outermost(keys, widths)] - centre) / widths, widths, margin)
    if facets is None:
        return None
    ball = max(0.0, float(-facets[:, -1].max())) * (1 - 1e-9)
    stride = max(1, len(keys) // SAMPLE)
    sample = np.ascontiguousarray(keys[::stride])
    if 2 * len(not_inside(sample, centre, widths, facets, ball)) > len(sample):
        return None
    survivors = not_inside(keys, centre, widths, facets, ball)
    return survivors if 2 * len(survivors) <= len(keys) else None


def _outermost(keys: np.ndarray, widths: np.ndarray) -> Int[np.ndarray, " tokens"]:
    """Return the keys that lead in random directions (always the same ones), in ascending order."""
    dim = keys.shape[1]
    directions = np.random.default_rng(dim).normal(size=(DIRECTIONS * dim, dim)) / widths
    return np.unique(fused.leaders(directions, keys))


def _facets(points: np.ndarray, widths: np.ndarray, margin: float) -> Float[np.ndarray, "facets dim_plus_1"] | None:
    """Return the facets ``(a, b)`` of the hull, moved inwards by the margin; None when Qhull finds none."""
    if len(points) <= points.shape[1] + 1:
        return None
    try:
        hull = ConvexHull(points)
    except QhullError:
        return None
    equations = hull.equations
    off = (points @ equations[:, :-1].T + equations[:, -1]).max()
    own = np.abs(np.einsum("fvc,fc->fv", points[hull.simplices], equations[:, :-1]) + equations[:, -1:]).max()
    if (hull.neighbors < 0).any():
        return None
    # A ball of radius mu among the keys reaches mu |a / w| beyond its centre along the normal a of y-space: moving each
    # facet inwards by that much makes "inside" mean "inside by the margin".
    reach = margin * np.sqrt(((equations[:, :-1] / widths) ** 2).sum(axis=1))
    moved = equations.copy()
    moved[:, -1] += reach + 4 * max(float(off), float(own))
    return np.concatenate([moved, moved[:1]])  # A triangle has three facets; the kernel takes four at once.


def _polytope_groups(problem: Problem, rows: np.ndarray) -> tuple[list[Group], str]:
    """Return one group of rows with the keys that survive, or with all."""
    margin = float((problem.slack[rows] / problem.query_norms[rows]).max())
    survivors = surviving_keys(problem.keys, margin)
    if survivors is None:
        return [(rows, None)], "no inner polytope leaves out half of the keys: all pairs"
    return [(rows, survivors)], f"{len(survivors)} of {len(problem.keys)} keys lie outside an inner polytope"


def _prefix_groups(problem: Problem, rows: np.ndarray) -> tuple[list[Group], str]:
    """Return groups of rows with the outermost keys that each group needs.

    A row that has found the score ``b_i`` among the outermost keys of a few directions needs no key with
    ``<q_i, c> + |w q_i| |y| < b_i - slack_i`` (ours; the right side is lowered by ``16 (d + 2) eps |q_i| R``).
    Rows that need the same number of keys within a factor of two form a group.
    """
    queries, keys = problem.queries[rows], problem.keys
    centre, widths = keys.mean(axis=0), keys.std(axis=0)
    norms = scaled_norms(keys, centre, widths)
    order = np.argsort(-norms, kind="stable")
    few = np.unique(np.concatenate([order[:DIRECTIONS], _outermost(keys, np.where(widths > 0, widths, 1.0))]))
    # A lower bound of each row's top score, from a few keys that are likely leaders.
    lowest = fused.hardmax(queries, np.zeros(len(rows)), keys[few], problem.values[few], problem.weights[few])[4]
    error = 16 * (keys.shape[1] + 2) * EPS * problem.query_norms[rows] * problem.key_norms.max()
    reach = np.sqrt(np.einsum("ij,ij->i", queries * widths, queries * widths))
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = (lowest - problem.slack[rows] - error - queries @ centre) / reach
    needed = np.where(np.isfinite(needed), needed - 1e-12 * np.abs(needed), -np.inf)
    counts = np.searchsorted(-norms[order], -needed, side="right")
    groups: list[Group] = []
    # Powers of two: few groups, each at most twice as costly as its rows need.
    classes = np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    for size_class in np.unique(classes):
        members = classes == size_class
        count = int(counts[members].max())
        groups.append((rows[members], np.sort(order[:count]) if 2 * count <= len(keys) else None))
    share = float(counts.mean()) / len(keys)
    return groups, f"a row needs {share:.1%} of the {len(keys)} keys by their distance from the mean"


def _by_groups(problem: Problem, groups: list[Group]) -> tuple[np.ndarray, ...]:
    """Let each group of rows attend to its keys (None: all) and join the rows in their order."""
    joined: tuple[np.ndarray, ...] = ()
    for rows, chosen in groups:
        all_rows = len(rows) == len(problem.queries)
        queries, slack = (problem.queries, problem.slack) if all_rows else (problem.queries[rows], problem.slack[rows])
        parts = (problem.keys, problem.values, problem.weights)
        keys, values, weights = parts if chosen is None else (part[chosen] for part in parts)
        means, leaders, *rest = fused.hardmax(queries, slack, keys, values, weights)
        result = (means, leaders if chosen is None else chosen[leaders], *rest)
        if all_rows:
            return result
        joined = joined or tuple(np.empty((len(problem.queries), *part.shape[1:]), part.dtype) for part in result)
        for into, part in zip(joined, result, strict=True):
            into[rows] = part
    return joined
