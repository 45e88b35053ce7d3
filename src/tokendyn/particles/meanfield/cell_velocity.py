"""The velocity of a law on the circle at the edges of its cells: the attention of each edge to the masses of cells."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics import TokenFlow
from tokendyn.errors import BadInputError
from tokendyn.particles.meanfield.starts import on_circle

if TYPE_CHECKING:
    from scipy.sparse import csr_array

#: Entries of the largest kernel: half a gibibyte. All pairs of 8,192 cells, or the bands of many more.
MOST_ENTRIES = 8192**2

#: Entries of a band are at least ``e^-80`` of the largest of their row.
_CUT = 80.0


class CellVelocity:
    """The velocity at the edges of the cells, as a function of their masses; the kernel is computed once.

    Raises
    ------
    BadInputError
        If the kernel is too wide for so many cells.
    """

    def __init__(self, flow: TokenFlow, edges: Float[np.ndarray, " edges"]):
        self.flow = flow
        self.edges = edges
        at = on_circle(edges[:-1])
        turned = np.stack([-at[:, 1], at[:, 0]], axis=1)
        self.tokens = on_circle((edges[1:] + edges[:-1]) / 2)
        self.across = turned if flow.value is None else turned @ flow.value
        self.cold = None
        if math.isinf(flow.inverse_temperature):
            self.cold = (flow.velocity(at) * turned).sum(axis=1)
            return
        queries = flow.queries(at)
        norms = np.linalg.norm(queries, axis=1)
        self.directions = queries / np.maximum(norms, 1e-300)[:, None]
        sharpness = flow.inverse_temperature * norms
        halves = np.ceil(_half_widths(sharpness) / edges[1]).astype(np.int64) + 1
        banded = flow.normalised and 2 * float(halves.mean()) < len(at) / 8
        entries = int((2 * halves + 1).sum()) if banded else len(at) ** 2
        if entries > MOST_ENTRIES:
            raise BadInputError(
                f"{len(at):,} cells at inverse_temperature={flow.inverse_temperature:g} need a kernel of {entries:,} "
                f"entries, more than {MOST_ENTRIES:,}; take at most {math.isqrt(MOST_ENTRIES):,} cells"
            )
        self.kernel: Any = self._banded(sharpness, halves) if banded else self._dense(queries)

    def __call__(self, masses: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
        """Return the velocity at the left edge of every cell."""
        if self.cold is not None:
            return self.cold
        sums = self.kernel @ np.column_stack([masses[:, None] * self.tokens, masses])
        if not self.flow.normalised:
            return np.asarray((self.across * sums[:, :2]).sum(axis=1))
        # An edge that sees no mass within its band asks for the direction of its query, the limit of a cold law.
        alone = sums[:, 2:] < 1e-300
        means = np.where(alone, self.directions, sums[:, :2] / np.maximum(sums[:, 2:], 1e-300))
        return np.asarray((self.across * means).sum(axis=1))

    def _dense(self, queries: np.ndarray) -> np.ndarray:
        scores = self.flow.inverse_temperature * queries @ self.tokens.T
        # Softmax does not depend on a constant of each row; unnormalised attention does.
        return np.asarray(np.exp(scores - scores.max(axis=1, keepdims=True) if self.flow.normalised else scores))

    def _banded(self, sharpness: np.ndarray, halves: np.ndarray) -> "csr_array":
        """Return the kernel ``e^{kappa (cos u - 1)}`` of the angles u from the query, within its band."""
        from scipy.sparse import csr_array

        count, width = len(halves), float(self.edges[1])
        asked = np.arctan2(self.directions[:, 1], self.directions[:, 0])
        starts = np.floor(asked / width).astype(np.int64) - halves
        sizes = 2 * halves + 1
        ends = np.concatenate([[0], np.cumsum(sizes)])
        rows = np.repeat(np.arange(count), sizes)
        places = np.arange(ends[-1]) - np.repeat(ends[:-1], sizes) + starts[rows]
        # 1 - cos u = 2 sin^2(u / 2) keeps the digits of small angles.
        away = np.sin(((places + 0.5) * width - asked[rows]) / 2)
        return csr_array((np.exp(-2 * sharpness[rows] * away**2), places % count, ends), shape=(count, count))


def largest_sharpness(flow: TokenFlow) -> float:
    """Return ``beta |B|``: the narrowest kernel is one over its root wide."""
    return flow.inverse_temperature * (1.0 if flow.interaction is None else float(np.linalg.norm(flow.interaction, 2)))


def _half_widths(sharpness: np.ndarray) -> np.ndarray:
    """Return the angle at which ``kappa (1 - cos u)`` is the cut; half a turn where it never is."""
    return np.asarray(np.arccos(np.maximum(1 - _CUT / np.maximum(sharpness, 1e-300), -1.0)))
