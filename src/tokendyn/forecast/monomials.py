"""Monomials of the columns of a window: their values and their derivatives."""

from dataclasses import dataclass
from math import comb

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Monomials:
    """Monomials of the orders 2 to ``order``, each order built from the order before: term = parent times one column.

    Attributes
    ----------
    parents, columns
        For each order from 2: the monomial of the order below (at first the column), and the column that multiplies it.
    """

    parents: tuple[np.ndarray, ...]
    columns: tuple[np.ndarray, ...]

    @classmethod
    def graded(cls, width: int, order: int) -> "Monomials":
        """Return all monomials of ``width`` columns from order 2 to ``order``."""
        parents, columns, last = [], [], np.arange(width)
        for _ in range(2, order + 1):
            # Nondecreasing factors name each monomial once: a parent is multiplied by its last factor or a later one.
            counts = width - last
            parent = np.repeat(np.arange(len(last)), counts)
            column = np.concatenate([np.arange(first, width) for first in last])
            parents.append(parent)
            columns.append(column)
            last = column
        return cls(tuple(parents), tuple(columns))

    def flat(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return for every monomial the number of its parent, the columns counted first, and its other factor."""
        parents, first = [np.empty(0, dtype=int)], 0
        for parent in self.parents:
            parents.append(parent + first)
            # The parents of the next order come after all earlier values.
            first = first + (width if first == 0 else len(self.parents[len(parents) - 3]))
        return np.concatenate(parents), np.concatenate([np.empty(0, dtype=int), *self.columns])

    def __call__(self, rows: Float[np.ndarray, "samples width"]) -> list[np.ndarray]:
        """Return the values of the monomials, ``(samples, terms)`` for each order."""
        values, products = [], rows
        for parent, column in zip(self.parents, self.columns, strict=True):
            products = products[:, parent] * rows[:, column]
            values.append(products)
        return values

    def gradient(
        self,
        rows: Float[np.ndarray, "samples width"],
        values: list[np.ndarray],
        coefficients: Float[np.ndarray, " terms"],
    ) -> Float[np.ndarray, "samples width"]:
        """Return the derivative of ``monomials @ coefficients`` by each column, backwards through the orders."""
        gradient = np.zeros_like(rows)
        ends = np.cumsum([len(column) for column in self.columns])
        adjoint = np.zeros((len(rows), 0))
        for k in reversed(range(len(self.columns))):
            parent, column = self.parents[k], self.columns[k]
            own = coefficients[ends[k] - len(column) : ends[k]]
            adjoint = np.broadcast_to(own, (len(rows), len(own))) if not adjoint.shape[1] else adjoint + own
            below = rows if k == 0 else values[k - 1]
            gradient += (adjoint * below[:, parent]) @ np.eye(rows.shape[1])[column]
            # The children of a parent are adjacent, so that their sum is one reduction.
            adjoint = np.add.reduceat(adjoint * rows[:, column], np.searchsorted(parent, np.arange(parent[-1] + 1)), 1)
        return gradient + adjoint if self.columns else gradient


def monomial_count(width: int, order: int) -> int:
    """Return the number of monomials of ``width`` columns of the orders 2 to ``order``."""
    return comb(width + order, order) - 1 - width if order > 1 else 0
