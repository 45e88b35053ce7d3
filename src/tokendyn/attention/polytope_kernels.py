"""The points that are not certainly inside a polytope: compiled, one pass."""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, disallow-untyped-calls=False
# mypy: disallow-untyped-decorators=False, check-untyped-defs=False

import numpy as np
from numba import njit

from tokendyn.attention.tops import raise_tops

ROWS = 256


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def not_inside(points, centre, widths, facets, ball):
    """Return the numbers of the points that are not certainly inside.

    With ``y = (x - centre) / widths`` a point is inside when ``|y| <= ball``, or when ``<a, y> + b <= 0`` for
    every facet ``(a, b)``, a row of ``facets``, of which there are at least four.
    """
    n, d = points.shape
    outside = np.empty(n, dtype=np.int64)
    count, waiting = 0, 0
    y = np.zeros((d + 1, ROWS))
    y[d] = 1.0
    tops, numbers = np.empty(ROWS), np.empty(ROWS, dtype=np.int64)
    # Points inside the inner ball are discarded at once; the others wait until a tile is full.
    for j in range(n):
        norm = 0.0
        for c in range(d):
            part = (points[j, c] - centre[c]) / widths[c]
            y[c, waiting] = part
            norm += part * part
        numbers[waiting] = j
        waiting += not norm <= ball * ball
        if waiting == ROWS or (j == n - 1 and waiting):
            tops[:] = -np.inf
            raise_tops(y, facets, 0, len(facets), tops)
            for r in range(waiting):
                outside[count] = numbers[r]
                count += not tops[r] <= 0.0
            waiting = 0
    return outside[:count]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def scaled_norms(points, centre, widths):
    """Return ``|(x - centre) / widths|`` of every point; axes of width 0 are left out."""
    n, d = points.shape
    norms = np.empty(n)
    for j in range(n):
        norm = 0.0
        for c in range(d):
            if widths[c] > 0:
                part = (points[j, c] - centre[c]) / widths[c]
                norm += part * part
        norms[j] = np.sqrt(norm)
    return norms
