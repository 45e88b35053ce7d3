"""The points of tokens in exact arithmetic, computed on demand for single tokens.

Rationals are those of python-flint where it is installed, else those of the standard library.
"""

import contextlib
import importlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.attention import Head

fmpq: Any = None
with contextlib.suppress(ImportError):  # python-flint is optional
    fmpq = importlib.import_module("flint").fmpq

#: A rational number, or a tuple of them: their type depends on the installed libraries.
Rational = Any
Point = tuple[Any, ...]


def rational(number: float) -> Rational:
    """Return a float as a rational, exactly."""
    numerator, denominator = float(number).as_integer_ratio()
    return Fraction(numerator, denominator) if fmpq is None else fmpq(numerator, denominator)


def bits(number: Rational) -> int:
    """Return the length of numerator and denominator together, in bits."""
    if fmpq is None:
        return int(number.numerator.bit_length() + number.denominator.bit_length())
    return int(number.p).bit_length() + int(number.q).bit_length()


def nearest(number: Rational) -> float:
    """Return the float nearest to a rational: Python divides integers with a single rounding."""
    if fmpq is None:
        return float(number)
    return int(number.p) / int(number.q)


class ExactTokens:
    """Tokens in a run of one hardmax head with ``V = I``, in rationals.

    The run reports which tokens each token followed. Points are computed from that on demand and cached, so that only
    requested tokens cost anything.

    Parameters
    ----------
    tokens, weights
        The input of the run.
    head, alphas
        Its head, and the step parameter of each layer.
    since, standing
        Arrays that the run updates: the layer from which each token is frozen (-1: not yet), and which tokens stay
        where they are.
    """

    def __init__(
        self,
        tokens: Float[np.ndarray, "tokens dim"],
        weights: Float[np.ndarray, " tokens"],
        head: Head,
        alphas: Sequence[float],
        since: Int[np.ndarray, " tokens"],
        standing: Bool[np.ndarray, " tokens"],
    ) -> None:
        self.tokens, self.weights, self.since, self.standing = tokens, weights, since, standing
        self._query = _matrix(head.score if head.query is None else head.query)
        self._key = _matrix(head.key)
        self._alphas, self._products = alphas, [rational(1.0)]
        self._followed: list[tuple[np.ndarray, np.ndarray]] = []
        self._ties: dict[tuple[int, int], tuple[int, ...]] = {}
        self._points: dict[tuple[int, int], Point] = {}

    def follow(
        self,
        rows: Int[np.ndarray, " rows"],
        leaders: Int[np.ndarray, " rows"],
        ties: Mapping[int, tuple[int, ...]],
    ) -> None:
        """Record one layer: the leader of each token that attended (``rows`` ascend), and the members of each tie."""
        number = len(self._followed)
        self._followed.append((rows, leaders))
        self._ties.update({(number, token): members for token, members in ties.items()})

    def product(self, layer: int) -> Rational:
        """Return the product of ``1 / (1 + alpha_s)`` over the layers ``s < layer``."""
        while len(self._products) <= layer:
            self._products.append(self._products[-1] / (1 + rational(self._alphas[len(self._products) - 1])))
        return self._products[layer]

    def point(self, token: int, layer: int) -> Point:
        """Return the point of a token before a layer; the layers before it must be recorded."""
        stack = [self._earliest(token, layer)]
        last = stack[0]
        while stack:  # A stack in place of recursion, which could be as deep as the layers.
            item = stack[-1]
            missing = [other for other in self._needs(*item) if other not in self._points]
            if missing and item not in self._points:
                stack.extend(missing)
                continue
            if item not in self._points:
                self._points[item] = self._computed(*item)
            stack.pop()
        return self._points[last]

    def query(self, point: Point) -> Point:
        """Return ``A z`` or ``Q z``."""
        return _apply(self._query, point)

    def score(self, query: Point, point: Point) -> Rational:
        """Return the score of a point for a query."""
        return _dot(query, _apply(self._key, point))

    def mean(self, members: Sequence[int], layer: int) -> Point:
        """Return the weighted mean of some tokens before a layer."""
        return self._mean(members, [self.point(member, layer) for member in members])

    def _mean(self, members: Sequence[int], points: Sequence[Point]) -> Point:
        if len(points) == 1:
            return points[0]
        masses = [rational(self.weights[member]) for member in members]
        total = sum(masses[1:], start=masses[0])
        return tuple(_dot(masses, axis) / total for axis in zip(*points, strict=True))

    def _earliest(self, token: int, layer: int) -> tuple[int, int]:
        """Return the token and the first layer at which it is where it is at this one."""
        since = int(self.since[token])
        return token, min(layer, since) if self.standing[token] and since >= 0 else layer

    def _before(self, token: int, layer: int) -> int:
        """Return the layer whose points determine the point before ``layer``: the freezing one, else the previous."""
        frozen = int(self.since[token])
        return frozen if 0 <= frozen < layer else layer - 1

    def _followed_by(self, token: int, layer: int) -> tuple[int, ...]:
        """Return the tokens that a token followed in a layer in which it attended."""
        tied = self._ties.get((layer, token))
        if tied is not None:
            return tied
        rows, leaders = self._followed[layer]
        return (int(leaders[np.searchsorted(rows, token)]),)

    def _needs(self, token: int, layer: int) -> list[tuple[int, int]]:
        """Return the (token, layer) pairs whose points determine this one: the token itself first, then its leaders."""
        if layer == 0:
            return []
        before = self._before(token, layer)
        return [self._earliest(other, before) for other in (token, *self._followed_by(token, before))]

    def _computed(self, token: int, layer: int) -> Point:
        if layer == 0:
            return tuple(rational(number) for number in self.tokens[token])
        before = self._before(token, layer)
        members = self._followed_by(token, before)
        origin, *points = (self._points[item] for item in self._needs(token, layer))
        goal = self._mean(members, points)
        share = self.product(layer) / self.product(before)
        return tuple(g + share * (o - g) for o, g in zip(origin, goal, strict=True))


def _matrix(matrix: np.ndarray | None) -> list[Point] | None:
    return None if matrix is None else [tuple(rational(entry) for entry in row) for row in matrix]


def _apply(matrix: list[Point] | None, point: Point) -> Point:
    return point if matrix is None else tuple(_dot(row, point) for row in matrix)


def _dot(left: Sequence[Rational], right: Sequence[Rational]) -> Rational:
    products = [a * b for a, b in zip(left, right, strict=True)]
    return sum(products[1:], start=products[0])
