"""Tokens whose leader is certain for ever need not attend again: the freeze theorem (our own)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeGuard

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.attention import Head
from tokendyn.attention.checks import as_weights, check_parameters, near_one, tie_slack
from tokendyn.attention.dispatch import known_backends
from tokendyn.attention.step import Backend, hardmax_within
from tokendyn.dynamics.freeze_kernels import canonical_ties, freeze_rows, mean_of, place_frozen, stand
from tokendyn.dynamics.layers import AnyLayer, Layer
from tokendyn.dynamics.rational import nearest
from tokendyn.dynamics.ties import EXACT_PRODUCTS, Decision, Ties
from tokendyn.shown import ShortRepr

_MATRICES = ("score", "query", "key")

#: How ties are decided. ``"float"``: bounds first, exact arithmetic where they do not suffice, as long as that is
#: quick; ``"rational"``: exact for all tokens and states; ``"interval"``: bounds only.
Arithmetic = Literal["float", "rational", "interval"]

#: Exact products, and bits of all recorded coordinates together, that a run in rationals may take: about a minute.
RATIONAL_PRODUCTS, RATIONAL_BITS = 20_000_000, 4_000_000_000

#: With a tie tolerance, places nearer than this share of their size are one place.
COINCIDENCE = 1e-12

#: With a tie tolerance, layers for which a tie is followed before it is said to last.
MAX_TIE_LAYERS = 5000

#: Below this step parameter a token that does not move in float64 may still be on its way.
LEAST_ALPHA = 1e-9


@dataclass(frozen=True, repr=False)
class Following(ShortRepr):
    """The part of an attention step that a trajectory keeps."""

    leaders: Int[np.ndarray, " tokens"]
    tie_counts: Int[np.ndarray, " tokens"]
    tie_spreads: Float[np.ndarray, " tokens"]

    def copy(self) -> "Following":
        """Return a copy."""
        return Following(self.leaders.copy(), self.tie_counts.copy(), self.tie_spreads.copy())


@dataclass(frozen=True, repr=False)
class FrozenMotion(ShortRepr):
    """The way of tokens that all move towards a point for ever, in closed form.

    Token i moves towards ``g``, the place of its leader or the mean of its tie, from layer ``k = since_i`` on (freeze
    theorem)::

        z_i(t) = g + prod_{k <= s < t} 1 / (1 + alpha_s) (z_i(k) - g),   t >= k.

    Attributes
    ----------
    since
        ``(tokens,)``: the layer from which each is frozen.
    origins
        ``(tokens, dim)``: its place then.
    goals
        ``(tokens, dim)``: the point towards which it moves.
    log_shares
        ``(layers + 1,)``: ``sum_{s < t} log 1 / (1 + alpha_s)``.
    """

    since: Int[np.ndarray, " tokens"]
    origins: Float[np.ndarray, "tokens dim"]
    goals: Float[np.ndarray, "tokens dim"]
    log_shares: Float[np.ndarray, " layers_plus_1"]

    @property
    def first_layer(self) -> int:
        """The layer from which the closed form holds for every token."""
        return int(self.since.max())

    def at(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return the tokens at a layer not before :attr:`first_layer`."""
        state = np.empty_like(self.origins)
        place_frozen(state, self.origins, self.goals, self.since, shares(self.log_shares, layer))
        return state


class Frozen:
    """Tokens in a run, of which some move towards one point for ever, by the freeze theorem (our own).

    A point *stays* when all leaders of the tokens on it sit on it, or when it is the mean of their leaders, which stay.
    If all leaders of token i stay, and a token at their mean m has all of them among its leaders, then i has the same
    leaders in every later layer and moves towards m: expand ``<A z_i', z_j'>`` bilinearly; each of the four terms is
    at most the one for the leaders of i, and the first is smaller for every other token. With a single leader v, m is
    v, and the second condition follows from the first. It needs a fixed A, not a symmetric one; alpha may vary.

    Leaders are those of exact arithmetic (:mod:`tokendyn.dynamics.ties`): a token that has come as near to its leader
    as float64 can tell does not join the leader's ties.

    Parameters
    ----------
    tokens
        ``(tokens, dim)``, finite.
    layers
        For which :func:`may_freeze` holds.
    weights
        Positive token weights.
    backend
        See :func:`tokendyn.attention.attend`.
    arithmetic
        How ties are decided.

    Attributes
    ----------
    active
        Numbers of the tokens that are not frozen.
    following
        What each token found when it attended last.
    standing
        Which tokens stay where they are.
    between
        Which frozen tokens move towards a mean of several leaders, or follow a token that does.
    """

    def __init__(
        self,
        tokens: Float[np.ndarray, "tokens dim"],
        layers: Sequence[Layer],
        *,
        weights: Float[np.ndarray, " tokens"] | None = None,
        backend: Backend = "auto",
        arithmetic: Arithmetic = "float",
    ) -> None:
        count = len(tokens)
        head = layers[0].heads[0]
        check_parameters(np.inf, head.tie_tolerance, backend=backend, known=known_backends(np.inf))
        self.head, self.backend, self.arithmetic = _near_one(head), backend, arithmetic
        # The dynamic does not depend on the scale; products of coordinates near 1 neither overflow nor underflow.
        tokens, self.unit = near_one(tokens, "tokens")
        self._state = tokens.copy()
        self.weights = as_weights(weights, (count,), np.ones(count, dtype=bool))
        self.active = np.arange(count)
        self.following = Following(np.arange(count), np.zeros(count, dtype=np.int64), np.zeros(count))
        self.log_shares = log_shares(layers)
        self.since = np.full(count, -1, dtype=np.int64)
        self.standing, self.between = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        self._origins, self._goals = np.zeros_like(tokens), np.zeros_like(tokens)
        self._members: dict[int, np.ndarray] = {}
        self._ties = Ties(
            tokens,
            self.weights,
            self.head,
            [layer.alpha for layer in layers],
            self.since,
            self.standing,
            self._origins,
            self._goals,
            products={"float": EXACT_PRODUCTS, "rational": RATIONAL_PRODUCTS, "interval": 0}[arithmetic],
            strict=arithmetic == "rational",
        )

    @property
    def doubtful(self) -> Int[np.ndarray, " doubtful"]:
        """Tokens that were decided within rounding of a tie, without proof."""
        return np.array(sorted(self._ties.doubtful), dtype=np.int64)

    @property
    def motion(self) -> FrozenMotion:
        """The closed form; of use when no token is active."""
        return FrozenMotion(self.since, self.origins, self.goals, self.log_shares)

    @property
    def goals(self) -> Float[np.ndarray, "tokens dim"]:
        """Where frozen tokens go."""
        return self._unscaled(self._goals)

    @property
    def origins(self) -> Float[np.ndarray, "tokens dim"]:
        """Where frozen tokens were when they froze."""
        return self._unscaled(self._origins)

    def step(self, layer: Layer, number: int) -> None:
        """Apply layer ``number``, in which only active tokens attend.

        Equal to the layer itself, up to rounding of the closed form, except where rounding decides a tie of the layer.
        """
        if not self.active.size:
            return
        rows, found = self.active, self.following
        earlier = found.leaders[rows]  # a copy: rows are numbers
        means, decisions = self._attend(rows, number)
        for token in [token for token in self._members if self.since[token] < 0]:
            del self._members[token]
        self._members.update({token: decision.members for token, decision in decisions.items()})
        leaders = found.leaders[rows]
        frozen = self._freeze(rows, number, means, decisions)
        share, before = layer.alpha / (1 + layer.alpha), self._state[rows]
        if not self._tolerant:
            errors = self._ties.goal_errors(leaders, decisions, rows)
            self._ties.bound(rows, frozen, before, means, errors, share, float(self.log_shares[number]))
            self._ties.follow(rows, leaders, decisions)
        left = before[~frozen]
        moved = left + share * (means[~frozen] - left)
        self.active = rows[~frozen]
        stuck = (
            self.active.size
            and self.arithmetic != "rational"
            and layer.alpha > LEAST_ALPHA
            and np.array_equal(moved, left)
        )
        before = self._state.copy() if stuck else self._state
        self._place(number + 1)
        self._state[self.active] = moved
        if stuck and np.array_equal(before, self._state):
            if (found.leaders[rows] != earlier).any():
                # Whom tokens follow still changes, within rounding of a tie, where floats do not move any more.
                self._ties.doubtful.update(decisions.keys() & set(self.active.tolist()))
            self._stop(number)

    def followed(self, token: int) -> Int[np.ndarray, " members"]:
        """Return ``C_i``, whom a token followed when it attended last."""
        if token in self._members:
            return self._members[token]
        leader = self.following.leaders[token]
        if self.following.tie_counts[token] == 1:
            return np.array([leader])
        return np.flatnonzero(self._ties.first == self._ties.first[leader])

    def advance(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return the state after ``layer`` layers; nothing is computed for layers in between when all are frozen."""
        if not self.active.size:
            self._place(layer)
        if self.arithmetic == "rational":
            return self._exact_state(layer)
        return self._unscaled(self._state)

    def _unscaled(self, places: np.ndarray) -> Float[np.ndarray, "tokens dim"]:
        return places if self.unit == 1 else places * self.unit

    @property
    def _tolerant(self) -> bool:
        return self.head.tie_tolerance > 0

    def _attend(self, rows: np.ndarray, number: int) -> tuple[np.ndarray, dict[int, Decision]]:
        """Let tokens attend; return their means, and the decisions that attention could not take."""
        state, found = self._state, self.following
        queries, keys = self.head.queries(state[rows]), self.head.keys(state)
        if self._tolerant:
            longest = np.sqrt((keys * keys).sum(axis=1).max(keepdims=True))[None]
            slack = tie_slack(queries, longest, self.head.tie_tolerance)
        else:
            slack = self._ties.slack(queries, number)
        means, leaders, counts, spreads = hardmax_within(queries, keys, state, slack, self.weights, self.backend)
        found.leaders[rows], found.tie_counts[rows], found.tie_spreads[rows] = leaders, counts, spreads
        if self._tolerant:
            return means, self._within_tolerance(rows, queries, keys, slack, means)
        open_rows = spreads > 0
        if number and (counts > 1).any():
            # On one point by rounding, perhaps: only tokens that began together are sure to be together.
            open_rows |= counts != self._ties.together[leaders]
        decisions = {}
        for place in np.flatnonzero(open_rows):
            token = int(rows[place])
            decision = self._ties.decide(token, number, state, queries[place], keys)
            decisions[token], means[place] = decision, decision.mean
            found.leaders[token] = decision.members[0]
            found.tie_counts[token], found.tie_spreads[token] = len(decision.members), decision.spread
        return means, decisions

    def _freeze(
        self, rows: np.ndarray, number: int, means: np.ndarray, decisions: dict[int, Decision]
    ) -> Bool[np.ndarray, " rows"]:
        """Freeze the tokens whose leaders stay; return which."""
        if self._tolerant:
            return self._freeze_within_tolerance(rows, number, means, decisions)
        state, ties, leaders = self._state, self._ties, self.following.leaders[rows]
        places = {token: int(np.searchsorted(rows, token)) for token in decisions}
        alone, frozen = np.ones(len(rows), dtype=bool), np.empty(len(rows), dtype=bool)
        for token, decision in decisions.items():
            alone[places[token]] = bool((ties.first[decision.members] == ties.first[decision.members[0]]).all())
        stand(rows, leaders, alone, state, self.standing, frozen)
        for token, decision in decisions.items():
            among = ties.first[token] in ties.first[decision.members]
            # On the leader's point by rounding only, or among several leaders.
            stays = among and (alone[places[token]] or ties.stays(token, decision.members, number))
            self.standing[token] = frozen[places[token]] = stays
            self.between[token] = stays and not alone[places[token]]
        keys = self.head.keys(state) if decisions else state
        for token, decision in decisions.items():
            if frozen[places[token]] or alone[places[token]] or not self.standing[decision.members].all():
                continue
            if ties.lasts(decision.members, number, state, keys):
                frozen[places[token]] = self.between[token] = True
        freeze_rows(
            rows, leaders, alone, state, means, number,
            self.standing, self.between, self.since, self._origins, self._goals, frozen,
        )  # fmt: skip
        return frozen

    def _set(self, rows: np.ndarray, number: int, goals: np.ndarray) -> None:
        self.since[rows], self._origins[rows], self._goals[rows] = number, self._state[rows], goals

    def _stop(self, number: int) -> None:
        """Leave the last active tokens where they are: no layer moves anything any more."""
        self.between[self.active] = True
        self._set(self.active, number, self._state[self.active])
        self.active = self.active[:0]

    def _place(self, layer: int) -> None:
        place_frozen(self._state, self._origins, self._goals, self.since, shares(self.log_shares, layer))

    def _exact_state(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return the floats next to the exact places."""
        exact = self._ties.exact
        rows = [[nearest(number) for number in exact.place(token, layer)] for token in range(len(self._state))]
        return self._unscaled(np.array(rows))

    # With a tie tolerance, a tie is a matter of the user's choice; places are compared by their distance.

    def _within_tolerance(
        self, rows: np.ndarray, queries: np.ndarray, keys: np.ndarray, slack: np.ndarray, means: np.ndarray
    ) -> dict[int, Decision]:
        """Return the members of the ties between places that differ."""
        decisions, chosen = {}, np.empty(len(keys), dtype=np.int64)
        found = self.following
        for place in np.flatnonzero(found.tie_spreads[rows] > self._near(rows, found.leaders[rows])):
            count = canonical_ties(queries[place], keys, slack[place], chosen)
            token = int(rows[place])
            decisions[token] = Decision(chosen[:count].copy(), means[place], float(found.tie_spreads[token]))
        return decisions

    def _near(self, rows: np.ndarray, others: np.ndarray) -> Float[np.ndarray, " rows"]:
        """Return the distance within which two tokens count as one place."""
        sizes = np.maximum(np.abs(self._state[rows]).max(axis=1), np.abs(self._state[others]).max(axis=1))
        return np.asarray(COINCIDENCE * sizes)

    def _freeze_within_tolerance(
        self, rows: np.ndarray, number: int, means: np.ndarray, decisions: dict[int, Decision]
    ) -> Bool[np.ndarray, " rows"]:
        state, leaders = self._state, self.following.leaders[rows]
        alone = np.ones(len(rows), dtype=bool)
        alone[np.searchsorted(rows, list(decisions))] = False
        own = alone & (np.abs(state[leaders] - state[rows]).max(axis=1) <= self._near(rows, leaders))
        self.standing[rows[own]] = True
        self._set(rows[own], number, state[leaders[own]])
        arrived = self.since >= 0
        size = np.maximum(np.abs(state), np.abs(self._goals)).max(axis=1)
        arrived &= np.abs(state - self._goals).max(axis=1) <= COINCIDENCE * size
        follows = alone & ~own & arrived[leaders]
        self._set(rows[follows], number, self._goals[leaders[follows]])
        self.between[rows[follows]] = self.between[leaders[follows]]
        frozen = own | follows
        for token, decision in decisions.items():
            place = np.searchsorted(rows, token)
            there = np.abs(state[decision.members] - decision.mean).max(axis=1) <= COINCIDENCE * size[decision.members]
            if (arrived[decision.members] | there).all() and self._keeps_tie(token, decision.members):
                frozen[place] = self.between[token] = True
                self._set(np.array([token]), number, means[place][None])
        return np.asarray(frozen)

    def _keeps_tie(self, token: int, members: np.ndarray) -> bool:
        """Follow one token towards the mean of its tie, as the layers compute it, until it stands still."""
        keys = self.head.keys(self._state)
        longest = np.sqrt((keys * keys).sum(axis=1).max(keepdims=True))[None]
        places, own, place = self._state[members].copy(), members == token, self._state[token].copy()
        chosen, mean = np.empty(len(keys), dtype=np.int64), np.empty(len(place))
        everyone = np.arange(len(members))
        share = -np.expm1(self.log_shares[1])
        for _ in range(MAX_TIE_LAYERS):
            query = self.head.queries(place[None])
            slack = tie_slack(query, longest, self.head.tie_tolerance)
            keys[members] = self.head.keys(places)
            count = canonical_ties(query[0], keys, float(slack[0]), chosen)
            if not np.isin(members, chosen[:count]).all():
                return False
            mean_of(everyone, places, self.weights[members], mean)
            moved = place + share * (mean - place)
            if np.array_equal(moved, place):
                return True
            place = moved
            places[own] = place
        return False


def log_shares(layers: Sequence[Layer]) -> Float[np.ndarray, " layers_plus_1"]:
    """Return ``sum_{s < t} log 1 / (1 + alpha_s)`` for every t, each rounded once."""
    decay = -np.log1p(np.array([layer.alpha for layer in layers], dtype=np.longdouble))
    return np.concatenate([[0.0], np.cumsum(decay)]).astype(np.float64)


def shares(log_shares: Float[np.ndarray, " layers_plus_1"], layer: int) -> Float[np.ndarray, " since"]:
    """Return, for each layer k up to ``layer``, the share of the way that is left after the layers k to ``layer``."""
    return np.asarray(np.exp(log_shares[layer] - log_shares[: layer + 1]))


def may_freeze(layers: Sequence[AnyLayer]) -> TypeGuard[Sequence[Layer]]:
    """Return whether the freeze theorem speaks of these layers: one hardmax head, ``A`` fixed, ``V = I``."""
    first = layers[0].heads[0]
    return all(
        isinstance(layer, Layer)
        and len(layer.heads) == 1
        and layer.feed_forward is None
        and np.isinf(head.inverse_temperature)
        and head.value is None
        and (
            head is first
            or (
                head.tie_tolerance == first.tie_tolerance
                and all(np.array_equal(getattr(head, name), getattr(first, name)) for name in _MATRICES)
            )
        )
        for layer in layers
        for head in layer.heads[:1]
    )


def _near_one(head: Head) -> Head:
    """Return a head with the same leaders whose matrices have entries near 1."""
    changes: dict[str, Any] = {}
    for name in _MATRICES:
        matrix = getattr(head, name)
        if matrix is not None:
            changes[name] = near_one(matrix, f"entries of the {name} matrix")[0]
    return replace(head, **changes) if changes else head
