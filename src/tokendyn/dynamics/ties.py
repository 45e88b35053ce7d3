"""Leaders that rounding cannot decide: bounds on the errors of scores, and exact arithmetic within the bounds.

A run in float64 follows the exact one as long as every leader is the exact one. Attention therefore returns all keys
within the rounding error of the largest score; where these sit on one point, the leader is proved. The other rows are
decided here: first by bounds of each pair, then by the closed form of tokens that approach a leader, last by rationals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.attention import Head
from tokendyn.dynamics.freeze_kernels import EPS, bound_errors, canonical_ties, mean_of, near_top, row_slack
from tokendyn.dynamics.rational import ExactTokens, bits, nearest
from tokendyn.errors import BadInputError

#: Exact products that a run may spend on ties, some tenths of a second; each counts ``(1 + bits / WORD)^1.6`` times.
#: The exponent is about ``log2(3)``, that of Karatsuba's multiplication.
EXACT_PRODUCTS, WORD = 100_000, 512

#: Points that differ by less than this share of their size are the same to a user: a wrong choice does no harm.
HARMLESS = 1e-12

#: Pairs of tokens whose errors are bounded one by one, in all layers together.
BOUNDED_PAIRS = 2_000_000_000

#: Numbers below 2 to this power have exact products and sums.
EXACT_BITS = 53


@dataclass(frozen=True)
class Decision:
    """The tokens that one token follows.

    Attributes
    ----------
    members
        ``C_i``, ascending.
    mean, spread
        Their mean, and the largest coordinate difference between them and the first.
    reach
        How far the mean may be from the exact one because rounding cannot decide the members; 0 when they are proved.
    """

    members: Int[np.ndarray, " members"]
    mean: Float[np.ndarray, " dim"]
    spread: float
    reach: float = 0.0


class Ties:
    """Errors and exact decisions along one run.

    Parameters
    ----------
    tokens, weights, head, alphas
        Those of the run; numbers near 1, see :class:`tokendyn.dynamics.freeze.Frozen`.
    since, standing, origins, goals
        Arrays that the run updates: see :class:`tokendyn.dynamics.freeze.Frozen`.
    products
        Number of exact products that may be spent; 0 for none.
    strict
        Raise a :class:`BadInputError` when they are spent, instead of deciding by float64.

    Attributes
    ----------
    errors
        ``(tokens,)``: bound on the distance of each coordinate from the exact one.
    doubtful
        Tokens whose leader float64 chose within rounding of a tie.
    """

    def __init__(
        self,
        tokens: Float[np.ndarray, "tokens dim"],
        weights: Float[np.ndarray, " tokens"],
        head: Head,
        alphas: Sequence[float],
        since: Int[np.ndarray, " tokens"],
        standing: Bool[np.ndarray, " tokens"],
        origins: Float[np.ndarray, "tokens dim"],
        goals: Float[np.ndarray, "tokens dim"],
        *,
        products: int = EXACT_PRODUCTS,
        strict: bool = False,
    ) -> None:
        self.head, self.weights, self.tokens = head, weights, tokens
        self.since, self.standing, self.origins, self.goals = since, standing, origins, goals
        self.exact = ExactTokens(tokens, weights, head, alphas, since, standing)
        self.products_left, self.strict, self.pairs_left = products, strict, BOUNDED_PAIRS
        self.errors = np.zeros(len(tokens))
        self.doubtful: set[int] = set()
        self._worst, self._lasting = 0.0, set[tuple[int, ...]]()
        self._largest = float(np.abs(tokens).max())
        query = head.score if head.query is None else head.query
        self._query_norm = None if query is None else float(np.abs(query).sum(axis=1).max())
        self._key_norm = None if head.key is None else float(np.abs(head.key).sum(axis=1).max())
        self._longest_key = self._largest if head.key is None else float(np.abs(head.keys(tokens)).max())
        self._rounding = (len(tokens[0]) + 2) * EPS
        self._first_is_exact = self._has_exact_products(query)

    @cached_property
    def first(self) -> Int[np.ndarray, " tokens"]:
        """``(tokens,)``: the lowest number of a token of the same input point; equal tokens stay together."""
        # Adding 0.0 turns -0.0 into 0.0: the two are one point.
        _, lowest, inverse = np.unique(self.tokens + 0.0, axis=0, return_index=True, return_inverse=True)
        return np.asarray(lowest[inverse.reshape(-1)])

    @cached_property
    def together(self) -> Int[np.ndarray, " tokens"]:
        """``(tokens,)``: number of tokens that began at the point of each."""
        return np.asarray(np.bincount(self.first, minlength=len(self.first))[self.first])

    def slack(self, queries: Float[np.ndarray, "rows dim"], layer: int) -> Float[np.ndarray, " rows"]:
        """Return how far below the largest a score may be and still be the largest in exact arithmetic."""
        if layer == 0 and self._first_is_exact:
            return np.zeros(len(queries))
        dim = queries.shape[1]
        query = self._error_of(self._query_norm, self._worst, self._largest)
        key = self._error_of(self._key_norm, self._worst, self._largest)
        each = 2 * (self._rounding * self._longest_key + key)
        slack = np.empty(len(queries))
        row_slack(queries, each, 2 * dim * query * (self._longest_key + key), slack)
        return slack

    def decide(
        self, token: int, layer: int, state: np.ndarray, query: np.ndarray, keys: np.ndarray
    ) -> Decision:  # fmt: skip
        """Return the tokens that one token follows in a layer."""
        candidates = self._candidates(token, layer, state, query, keys)
        if candidates is None:
            return self._by_floats(token, state, query, keys)
        # Tokens of one input point move together, so one exact score for each point suffices.
        representatives = np.unique(self.first[candidates])
        if len(representatives) > 1:
            best = self._best(token, layer, representatives)
            if best is None:
                return self._by_floats(token, state, query, keys, candidates)
            candidates = candidates[np.isin(self.first[candidates], best)]
        return self._decision(candidates, state)

    def stays(self, token: int, members: Int[np.ndarray, " members"], layer: int) -> bool:
        """Return whether a token that is one of its own leaders stays: the others stay, and it is at their mean."""
        others = members[self.first[members] != self.first[token]]
        if not self.standing[others].all() or not self._spend(members, token, layer):
            return False
        return bool(self.exact.mean([int(j) for j in members], layer) == self.exact.point(token, layer))

    def lasts(self, members: Int[np.ndarray, " members"], layer: int, state: np.ndarray, keys: np.ndarray) -> bool:
        """Return whether a token that ties between points that stay keeps this tie for ever.

        It does when a token at their mean m would have all of them among its leaders (our own): expand
        ``<A z_i', z_j'>`` bilinearly; each of the four terms is largest for the points of the tie, and the first one is
        smaller for every other token.
        """
        # Whether a tie lasts depends on its points alone, which stay: one proof serves all their followers.
        signature = tuple(np.unique(self.first[members]).tolist())
        if signature in self._lasting:
            return True
        if not self._spend(members, int(members[0]), layer):
            return False
        exact = self.exact
        query = exact.query(exact.mean([int(j) for j in members], layer))
        scores = [exact.score(query, exact.point(j, layer)) for j in signature]
        if any(score != scores[0] for score in scores[1:]):
            return False
        floats = np.array([nearest(number) for number in query])
        error = EPS * float(np.abs(floats).max())
        chosen = np.empty(len(keys), dtype=np.int64)
        count = near_top(floats, error, keys, self._key_errors(state), self._rounding, chosen)
        # Only tokens whose score is within the bounds of the largest need an exact one.
        others = np.setdiff1d(self.first[chosen[:count]], signature)
        if not self._spend(others, int(members[0]), layer):
            return False
        if any(exact.score(query, exact.point(int(j), layer)) > scores[0] for j in others):
            return False
        self._lasting.add(signature)
        return True

    def follow(
        self,
        rows: Int[np.ndarray, " rows"],
        leaders: Int[np.ndarray, " rows"],
        decisions: dict[int, Decision],
    ) -> None:
        """Record one layer, for exact points."""
        ties = {token: tuple(decision.members.tolist()) for token, decision in decisions.items()}
        self.exact.follow(rows, leaders, ties)

    def bound(
        self,
        rows: Int[np.ndarray, " rows"],
        frozen: Bool[np.ndarray, " rows"],
        before: Float[np.ndarray, "rows dim"],
        means: Float[np.ndarray, "rows dim"],
        goal_errors: Float[np.ndarray, " rows"],
        share: float,
        log_share: float,
    ) -> None:
        """Update the errors of tokens that move by ``share`` towards their means, or freeze at ``log_share``."""
        # A share is the exponential of a sum of logarithms, whose rounding grows with its size.
        closed_form, most = 8 + 2 * abs(log_share), 2 * self._largest
        worst = bound_errors(
            rows, frozen, before, means, goal_errors, self.standing, share, closed_form, most, self.errors
        )
        self._worst = max(self._worst, float(worst))

    def goal_errors(self, leaders: np.ndarray, decisions: dict[int, Decision], rows: np.ndarray) -> np.ndarray:
        """Return the errors of the points that the rows move towards."""
        errors = self.errors[leaders]
        for token, decision in decisions.items():
            index = int(np.searchsorted(rows, token))
            members = decision.members
            size = float(np.abs(self.tokens[members]).max())
            rounding = (len(members) > 1) * (len(members) + 2) * EPS * size
            errors[index] = max(float(self.errors[members].max()), decision.reach) + rounding
        return errors

    def _candidates(
        self, token: int, layer: int, state: np.ndarray, query: np.ndarray, keys: np.ndarray
    ) -> Int[np.ndarray, " candidates"] | None:
        """Return the tokens that may lead in exact arithmetic; None when too many pairs were bounded before."""
        # Charged before the work, so that a set full of ties ends as doubtful and not as a run without end.
        self.pairs_left -= len(keys)
        if self.pairs_left < 0:
            return None
        # Scores of the input on a lattice do not round at all: without this, every tie there would need rationals.
        rounding = 0.0 if layer == 0 and self._first_is_exact else self._rounding
        error = 0.0
        if rounding:
            error = self._error_of(self._query_norm, float(self.errors[token]), float(np.abs(state[token]).max()))
        chosen = np.empty(len(keys), dtype=np.int64)
        count = near_top(query, error, keys, self._key_errors(state), rounding, chosen)
        candidates = chosen[:count]
        late = (self.since[candidates] >= 0) & ~self.standing[candidates]
        if not late.any():
            return candidates
        # A token on its way from o to g scores share <q, o - g> more than g, which is in the hull of the others: when
        # that is certainly negative, another token scores more, and this one cannot lead.
        movers = candidates[late]
        segments = self.head.keys(self.origins[movers]) - self.head.keys(self.goals[movers])
        sizes = np.abs(self.head.keys(self.origins[movers])) + np.abs(self.head.keys(self.goals[movers]))
        wrong = 2 * self._key_errors(state)[movers, None] + 2 * EPS * sizes
        bounds = (rounding + EPS) * (np.abs(segments) @ np.abs(query)) + wrong @ np.abs(query)
        bounds += error * (np.abs(segments) + wrong).sum(axis=1)
        beaten = segments @ query < -bounds
        return candidates[~np.isin(candidates, movers[beaten])]

    def _best(self, token: int, layer: int, representatives: np.ndarray) -> list[int] | None:
        """Return the tokens of the largest exact score; None when the exact products are spent."""
        if not self._spend(representatives, token, layer):
            return None
        query = self.exact.query(self.exact.point(token, layer))
        scores = [self.exact.score(query, self.exact.point(int(j), layer)) for j in representatives]
        top = max(scores)
        return [int(j) for j, score in zip(representatives, scores, strict=True) if score == top]

    def _by_floats(
        self, token: int, state: np.ndarray, query: np.ndarray, keys: np.ndarray, candidates: np.ndarray | None = None
    ) -> Decision:
        """Return the decision of float64; mark the token as doubtful when another one would move it visibly."""
        chosen = np.empty(len(keys), dtype=np.int64)
        count = canonical_ties(query, keys, 0.0, chosen)
        decision = self._decision(chosen[:count], state)
        reach = 2 * self._largest
        if candidates is not None:
            away = np.abs(state[candidates] - decision.mean).max(axis=1) + self.errors[candidates]
            reach = float(away.max())
        if reach > HARMLESS * float(np.abs(decision.mean).max()):
            self.doubtful.add(token)
        return replace(decision, reach=reach)

    def _decision(self, members: np.ndarray, state: np.ndarray) -> Decision:
        mean = np.empty(state.shape[1])
        spread = mean_of(members, state, self.weights, mean)
        return Decision(members=np.array(members), mean=mean, spread=float(spread))

    def _spend(self, tokens: np.ndarray, token: int, layer: int) -> bool:
        """Charge the exact scores of some tokens to the budget; return whether it sufficed."""
        length = bits(self.exact.product(layer)) + 128
        self.products_left -= (len(tokens) + 1) * self.tokens.shape[1] * int((1 + length / WORD) ** 1.6)
        if self.products_left >= 0:
            return True
        if self.strict:
            raise BadInputError(
                f"exact arithmetic would take too long: token {token} has not settled after {layer} layers, and the "
                f"rationals have {length} bits; use fewer layers or tokens, an alpha with a short binary fraction such "
                'as 0.5, or arithmetic="interval"'
            )
        return False

    def _key_errors(self, state: np.ndarray) -> np.ndarray:
        if self._key_norm is None:
            return self.errors
        return self._key_norm * (self.errors + (state.shape[1] + 1) * EPS * np.abs(state).max(axis=1))

    def _error_of(self, norm: float | None, error: float, size: float) -> float:
        """Return the error of a matrix of this norm times a token that is off by ``error``."""
        return error if norm is None else norm * (error + (self.tokens.shape[1] + 1) * EPS * size)

    def _has_exact_products(self, query: np.ndarray | None) -> bool:
        """Return whether all scores of the input are exact in float64: small whole numbers, as on a lattice."""
        if self.head.key is not None:
            return False
        dim = self.tokens.shape[1]
        matrix = 1.0 if query is None else dim * _size_in_units(query)
        # A few tokens first: ordinary coordinates fill their mantissas, and then the other tokens need no check.
        return all(
            dim * matrix * _size_in_units(part) ** 2 < 2.0**EXACT_BITS for part in (self.tokens[:64], self.tokens)
        )


def rounding_slack(
    head: Head, queries: Float[np.ndarray, "rows dim"], radius: float, largest: float, layer: int, log_share: float
) -> Float[np.ndarray, " rows"]:
    """Return a slack like that of :meth:`Ties.slack` from sizes only, for runs that record no errors.

    Parameters
    ----------
    head, queries, radius
        The head, the queries, and the largest norm of a key.
    largest
        Largest coordinate of the input.
    layer, log_share
        The number of layers done, and the logarithm of the share of a distance that is left after them.
    """
    dim = queries.shape[1]
    error = (8 * layer + 16 + 4 * abs(log_share)) * EPS * largest if layer else 0.0
    reach = error + (dim + 1) * EPS * largest
    matrix = head.score if head.query is None else head.query
    query = error if matrix is None else float(np.abs(matrix).sum(axis=1).max()) * reach
    key = error if head.key is None else float(np.abs(head.key).sum(axis=1).max()) * reach
    slack = np.empty(len(queries))
    row_slack(queries, 2 * ((dim + 2) * EPS * radius + key), 2 * dim * query * (radius + key), slack)
    return slack


def _size_in_units(numbers: np.ndarray) -> float:
    """Return the largest of some numbers in units of their lowest bit; infinite when it is beyond 53 bits."""
    used = numbers[numbers != 0]
    if used.size == 0:
        return 1.0
    mantissas, exponents = np.frexp(used)
    integers = (np.abs(mantissas) * 2.0**53).astype(np.int64)
    lowest = (integers & -integers).astype(np.float64)  # the lowest bit of each, in units of its last place
    last = np.log2(lowest).astype(np.int64) + exponents
    reach = int(exponents.max()) - int(last.min()) + 53
    return 2.0**reach if reach <= EXACT_BITS else float("inf")
