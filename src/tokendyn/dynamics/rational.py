"""Where tokens are in exact arithmetic, computed for single tokens when they are asked for.

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

#: A rational number, or a tuple of them: their type depends on what is installed.
Rational = Any
Place = tuple[Any, ...]


def rational(number: float) -> Rational:
    """Return a float as a rational, exactly."""
    numerator, denominator = float(number).as_integer_ratio()
    return Fraction(numerator, denominator) if fmpq is None else fmpq(numerator, denominator)


def bits(number: Rational) -> int:
    """Return the length of numerator and denominator."""
    if fmpq is None:
        return int(number.numerator.bit_length() + number.denominator.bit_length())
    return int(number.p).bit_length() + int(number.q).bit_length()


def nearest(number: Rational) -> float:
    """Return the float next to a rational: integers of Python divide with one rounding."""
    if fmpq is None:
        return float(number)
    return int(number.p) / int(number.q)


class ExactTokens:
    """Tokens in a run of one hardmax head with ``V = I``, in rationals.

    The run reports whom each token followed; places are computed from that on demand and kept, so that only tokens that
    are asked for cost anything.

    Parameters
    ----------
    tokens, weights
        The input of the run.
    head, alphas
        Its head, and the step parameter of each layer.
    since, standing
        Arrays that the run updates: from which layer on each token is frozen (-1: not yet), and which tokens stay
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
        self._places: dict[tuple[int, int], Place] = {}

    def follow(
        self,
        rows: Int[np.ndarray, " rows"],
        leaders: Int[np.ndarray, " rows"],
        ties: Mapping[int, tuple[int, ...]],
    ) -> None:
        """Record one layer: whom each token that attended followed (``rows`` ascend), and the members of each tie."""
        number = len(self._followed)
        self._followed.append((rows, leaders))
        self._ties.update({(number, token): members for token, members in ties.items()})

    def product(self, layer: int) -> Rational:
        """Return the product of ``1 / (1 + alpha_s)`` over the layers ``s`` before one."""
        while len(self._products) <= layer:
            self._products.append(self._products[-1] / (1 + rational(self._alphas[len(self._products) - 1])))
        return self._products[layer]

    def place(self, token: int, layer: int) -> Place:
        """Return a token before a layer that is not beyond those recorded."""
        wanted = [self._earliest(token, layer)]
        last = wanted[0]
        while wanted:  # A stack in place of recursion, which could be as deep as the layers.
            one = wanted[-1]
            missing = [other for other in self._needs(*one) if other not in self._places]
            if missing and one not in self._places:
                wanted.extend(missing)
                continue
            if one not in self._places:
                self._places[one] = self._computed(*one)
            wanted.pop()
        return self._places[last]

    def query(self, place: Place) -> Place:
        """Return ``A z`` or ``Q z``."""
        return _apply(self._query, place)

    def score(self, query: Place, place: Place) -> Rational:
        """Return the score of a place for a query."""
        return _dot(query, _apply(self._key, place))

    def mean(self, members: Sequence[int], layer: int) -> Place:
        """Return the weighted mean of some tokens before a layer."""
        return self._mean(members, [self.place(member, layer) for member in members])

    def _mean(self, members: Sequence[int], places: Sequence[Place]) -> Place:
        if len(places) == 1:
            return places[0]
        masses = [rational(self.weights[member]) for member in members]
        total = sum(masses[1:], start=masses[0])
        return tuple(_dot(masses, axis) / total for axis in zip(*places, strict=True))

    def _earliest(self, token: int, layer: int) -> tuple[int, int]:
        """Return the token and the first layer at which it is where it is at this one."""
        since = int(self.since[token])
        return token, min(layer, since) if self.standing[token] and since >= 0 else layer

    def _before(self, token: int, layer: int) -> int:
        """Return the layer from which the place before another one follows: where it froze, else the last one."""
        frozen = int(self.since[token])
        return frozen if 0 <= frozen < layer else layer - 1

    def _followed_by(self, token: int, layer: int) -> tuple[int, ...]:
        """Return whom a token followed in a layer in which it attended."""
        tied = self._ties.get((layer, token))
        if tied is not None:
            return tied
        rows, leaders = self._followed[layer]
        return (int(leaders[np.searchsorted(rows, token)]),)

    def _needs(self, token: int, layer: int) -> list[tuple[int, int]]:
        if layer == 0:
            return []
        before = self._before(token, layer)
        return [self._earliest(other, before) for other in (token, *self._followed_by(token, before))]

    def _computed(self, token: int, layer: int) -> Place:
        if layer == 0:
            return tuple(rational(number) for number in self.tokens[token])
        before = self._before(token, layer)
        members = self._followed_by(token, before)
        origin, *places = (self._places[one] for one in self._needs(token, layer))
        goal = self._mean(members, places)
        share = self.product(layer) / self.product(before)
        return tuple(g + share * (o - g) for o, g in zip(origin, goal, strict=True))


def _matrix(matrix: np.ndarray | None) -> list[Place] | None:
    return None if matrix is None else [tuple(rational(entry) for entry in row) for row in matrix]


def _apply(matrix: list[Place] | None, place: Place) -> Place:
    return place if matrix is None else tuple(_dot(row, place) for row in matrix)


def _dot(one: Sequence[Rational], other: Sequence[Rational]) -> Rational:
    products = [a * b for a, b in zip(one, other, strict=True)]
    return sum(products[1:], start=products[0])
