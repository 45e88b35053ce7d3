"""The freeze theorem (our own): a token whose leader is proved for all later layers need not attend again."""

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

#: How ties are decided. ``"float"``: bounds first, exact arithmetic where they do not suffice as long as it is quick;
#: ``"rational"``: exact for all tokens and states; ``"interval"``: bounds only.
Arithmetic = Literal["float", "rational", "interval"]

#: Limits of a run in rationals, about a minute: exact products, and the bits of all recorded coordinates together.
RATIONAL_PRODUCTS, RATIONAL_BITS = 20_000_000, 4_000_000_000

#: With a tie tolerance, points closer than this share of their size count as one point.
COINCIDENCE = 1e-12

#: With a tie tolerance, the number of layers within which a followed tie must come to rest; else it is not frozen.
MAX_TIE_LAYERS = 5000

#: Below this step parameter a token that float64 no longer moves may still be far from its goal.
LEAST_ALPHA = 1e-9


@dataclass(frozen=True, repr=False)
class Following(ShortRepr):
    """The part of an attention step that a trajectory records."""

    leaders: Int[np.ndarray, " tokens"]
    tie_counts: Int[np.ndarray, " tokens"]
    tie_spreads: Float[np.ndarray, " tokens"]

    def copy(self) -> "Following":
        """Return a copy."""
        return Following(
            leaders=self.leaders.copy(), tie_counts=self.tie_counts.copy(), tie_spreads=self.tie_spreads.copy()
        )


@dataclass(frozen=True, repr=False)
class FrozenMotion(ShortRepr):
    """The closed form of tokens that move towards fixed points for ever.

    Token i moves towards ``g``, the point of its leader or the mean of its tie, from layer ``k = since_i`` on (freeze
    theorem)::

        z_i(t) = g + prod_{k <= s < t} 1 / (1 + alpha_s) (z_i(k) - g),   t >= k.

    Attributes
    ----------
    since
        ``(tokens,)``: the layer from which each token is frozen.
    origins
        ``(tokens, dim)``: its point then.
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
        """Return the tokens at a layer from :attr:`first_layer` on."""
        state = np.empty_like(self.origins)
        place_frozen(state, self.origins, self.goals, self.since, shares(self.log_shares, layer))
        return state


class Frozen:
    """A run in which tokens freeze: each frozen token moves towards a fixed point for ever (freeze theorem, our own).

    A point *stays* when all leaders of the tokens on it sit on it, or when it is the mean of their leaders, which stay.
    If all leaders of token i stay, and a token at their mean m has all of them among its leaders, then i has the same
    leaders in every later layer and moves towards m: expand ``<A z_i', z_j'>`` bilinearly; each of the four terms is
    at most the one for the leaders of i, and the first is smaller for every other token. With a single leader v, m is
    v, and the second condition follows from the first. A must be fixed but need not be symmetric; alpha may vary.

    Leaders are those of exact arithmetic (:mod:`tokendyn.dynamics.ties`): a token that float64 cannot distinguish from
    its leader does not join the leader's ties.

    Parameters
    ----------
    tokens
        ``(tokens, dim)``, finite.
    layers
        Layers for which :func:`may_freeze` holds.
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
        The result of each token's last attention.
    standing
        Which tokens stay where they are.
    between
        Which frozen tokens move towards the mean of several leaders, or follow a token that does.
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
        # Leaders do not depend on the scale; products of coordinates near 1 neither overflow nor underflow.
        tokens, self.unit = near_one(tokens, "tokens")
        self._state = tokens.copy()
        self.weights = as_weights(weights, (count,), np.ones(count, dtype=bool))
        self.active = np.arange(count)
        self.following = Following(
            leaders=np.arange(count), tie_counts=np.zeros(count, dtype=np.int64), tie_spreads=np.zeros(count)
        )
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
        """Tokens with a leader that was chosen within rounding of a tie, without proof."""
        return np.array(sorted(self._ties.doubtful), dtype=np.int64)

    @property
    def motion(self) -> FrozenMotion:
        """The closed form; it holds for all tokens when none is active."""
        return FrozenMotion(since=self.since, origins=self.origins, goals=self.goals, log_shares=self.log_shares)

    @property
    def goals(self) -> Float[np.ndarray, "tokens dim"]:
        """The points towards which frozen tokens move."""
        return self._unscaled(self._goals)

    @property
    def origins(self) -> Float[np.ndarray, "tokens dim"]:
        """The points at which frozen tokens froze."""
        return self._unscaled(self._origins)

    def step(self, layer: Layer, number: int) -> None:
        """Apply layer ``number``, in which only active tokens attend.

        Equal to the layer itself up to rounding of the closed form, except where rounding decides a tie of the layer.
        """
        if not self.active.size:
            return
        # The order matters: ties and freezing are decided on the state before the layer, errors are bounded while the
        # old points are known, and only then does the state change.
        rows, following = self.active, self.following
        earlier = following.leaders[rows]  # a copy: rows are numbers
        means, decisions = self._attend(rows, number)
        for token in [token for token in self._members if self.since[token] < 0]:
            del self._members[token]
        self._members.update({token: decision.members for token, decision in decisions.items()})
        leaders = following.leaders[rows]
        frozen = self._freeze(rows, number, means, decisions)
        share, before = layer.alpha / (1 + layer.alpha), self._state[rows]
        if not self._tolerant:
            errors = self._ties.goal_errors(leaders, decisions, rows)
            self._ties.bound(rows, frozen, before, means, errors, share, float(self.log_shares[number]))
            self._ties.follow(rows, leaders, decisions)
        left = before[~frozen]
        moved = left + share * (means[~frozen] - left)
        self.active = rows[~frozen]
        # When no float moves in a layer, the run has ended in float64; exact arithmetic could follow it without end.
        stuck = (
            self.active.size
            and self.arithmetic != "rational"
            and layer.alpha > LEAST_ALPHA
            and np.array_equal(moved, left)
        )
        before = self._state.copy() if stuck else self._state
        self._place_frozen(number + 1)
        self._state[self.active] = moved
        if stuck and np.array_equal(before, self._state):
            if (following.leaders[rows] != earlier).any():
                # Floats no longer move, yet leaders still change: they differ within rounding of a tie, without proof.
                self._ties.doubtful.update(decisions.keys() & set(self.active.tolist()))
            self._stop(number)

    def followed(self, token: int) -> Int[np.ndarray, " members"]:
        """Return ``C_i``, the tokens that a token followed when it attended last."""
        if token in self._members:
            return self._members[token]
        leader = self.following.leaders[token]
        if self.following.tie_counts[token] == 1:
            return np.array([leader])
        return np.flatnonzero(self._ties.first == self._ties.first[leader])

    def advance(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return the state after ``layer`` layers; when all tokens are frozen, layers in between cost nothing."""
        if not self.active.size:
            self._place_frozen(layer)
        if self.arithmetic == "rational":
            return self._exact_state(layer)
        return self._unscaled(self._state)

    def _unscaled(self, points: np.ndarray) -> Float[np.ndarray, "tokens dim"]:
        return points if self.unit == 1 else points * self.unit

    @property
    def _tolerant(self) -> bool:
        return self.head.tie_tolerance > 0

    def _attend(self, rows: np.ndarray, number: int) -> tuple[np.ndarray, dict[int, Decision]]:
        """Let tokens attend; return their means, and the decisions where rounding leaves several possible leaders."""
        state, following = self._state, self.following
        queries, keys = self.head.queries(state[rows]), self.head.keys(state)
        if self._tolerant:
            longest = np.sqrt((keys * keys).sum(axis=1).max(keepdims=True))[None]
            slack = tie_slack(queries, longest, self.head.tie_tolerance)
        else:
            slack = self._ties.slack(queries, number)
        means, leaders, counts, spreads = hardmax_within(queries, keys, state, slack, self.weights, self.backend)
        following.leaders[rows], following.tie_counts[rows], following.tie_spreads[rows] = leaders, counts, spreads
        if self._tolerant:
            return means, self._within_tolerance(rows, queries, keys, slack, means)
        open_rows = spreads > 0
        if number and (counts > 1).any():
            # Floats may coincide where exact points differ: only tokens that began together are certainly together.
            open_rows |= counts != self._ties.together[leaders]
        decisions = {}
        for index in np.flatnonzero(open_rows):
            token = int(rows[index])
            decision = self._ties.decide(token, number, state, queries[index], keys)
            decisions[token], means[index] = decision, decision.mean
            following.leaders[token] = decision.members[0]
            following.tie_counts[token], following.tie_spreads[token] = len(decision.members), decision.spread
        return means, decisions

    def _freeze(
        self, rows: np.ndarray, number: int, means: np.ndarray, decisions: dict[int, Decision]
    ) -> Bool[np.ndarray, " rows"]:
        """Freeze the tokens whose leaders stay; return which."""
        if self._tolerant:
            return self._freeze_within_tolerance(rows, number, means, decisions)
        state, ties, leaders = self._state, self._ties, self.following.leaders[rows]
        index_of = {token: int(np.searchsorted(rows, token)) for token in decisions}
        alone, frozen = np.ones(len(rows), dtype=bool), np.empty(len(rows), dtype=bool)
        for token, decision in decisions.items():
            alone[index_of[token]] = bool((ties.first[decision.members] == ties.first[decision.members[0]]).all())
        stand(rows, leaders, alone, state, self.standing, frozen)
        for token, decision in decisions.items():
            among = ties.first[token] in ties.first[decision.members]
            # Floats coincide with the leader's point, or the token is one of several leaders: exact points decide.
            stays = among and (alone[index_of[token]] or ties.stays(token, decision.members, number))
            self.standing[token] = frozen[index_of[token]] = stays
            self.between[token] = stays and not alone[index_of[token]]
        keys = self.head.keys(state) if decisions else state
        for token, decision in decisions.items():
            if frozen[index_of[token]] or alone[index_of[token]] or not self.standing[decision.members].all():
                continue
            if ties.lasts(decision.members, number, state, keys):
                frozen[index_of[token]] = self.between[token] = True
        freeze_rows(
            rows, leaders, alone, state, means, number,
            self.standing, self.between, self.since, self._origins, self._goals, frozen,
        )  # fmt: skip
        return frozen

    def _set(self, rows: np.ndarray, number: int, goals: np.ndarray) -> None:
        self.since[rows], self._origins[rows], self._goals[rows] = number, self._state[rows], goals

    def _stop(self, number: int) -> None:
        """Freeze the last active tokens where they are: no layer moves any float any more."""
        self.between[self.active] = True
        self._set(self.active, number, self._state[self.active])
        self.active = self.active[:0]

    def _place_frozen(self, layer: int) -> None:
        place_frozen(self._state, self._origins, self._goals, self.since, shares(self.log_shares, layer))

    def _exact_state(self, layer: int) -> Float[np.ndarray, "tokens dim"]:
        """Return the floats nearest to the exact points."""
        exact = self._ties.exact
        rows = [[nearest(number) for number in exact.point(token, layer)] for token in range(len(self._state))]
        return self._unscaled(np.array(rows))

    # With a tie tolerance the user defines what a tie is, so exact arithmetic decides nothing: points are compared by
    # their distance.

    def _within_tolerance(
        self, rows: np.ndarray, queries: np.ndarray, keys: np.ndarray, slack: np.ndarray, means: np.ndarray
    ) -> dict[int, Decision]:
        """Return the members of the ties between different points."""
        decisions, chosen = {}, np.empty(len(keys), dtype=np.int64)
        following = self.following
        for index in np.flatnonzero(following.tie_spreads[rows] > self._near(rows, following.leaders[rows])):
            count = canonical_ties(queries[index], keys, slack[index], chosen)
            token = int(rows[index])
            decisions[token] = Decision(
                members=chosen[:count].copy(), mean=means[index], spread=float(following.tie_spreads[token])
            )
        return decisions

    def _near(self, rows: np.ndarray, others: np.ndarray) -> Float[np.ndarray, " rows"]:
        """Return the distance within which two tokens count as one point."""
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
            index = np.searchsorted(rows, token)
            at_mean = (
                np.abs(state[decision.members] - decision.mean).max(axis=1) <= COINCIDENCE * size[decision.members]
            )
            if (arrived[decision.members] | at_mean).all() and self._keeps_tie(token, decision.members):
                frozen[index] = self.between[token] = True
                self._set(np.array([token]), number, means[index][None])
        return np.asarray(frozen)

    def _keeps_tie(self, token: int, members: np.ndarray) -> bool:
        """Return whether a token keeps its tie until it rests at the mean, with the steps that the layers compute."""
        keys = self.head.keys(self._state)
        longest = np.sqrt((keys * keys).sum(axis=1).max(keepdims=True))[None]
        points, own, point = self._state[members].copy(), members == token, self._state[token].copy()
        chosen, mean = np.empty(len(keys), dtype=np.int64), np.empty(len(point))
        everyone = np.arange(len(members))
        share = -np.expm1(self.log_shares[1])
        for _ in range(MAX_TIE_LAYERS):
            query = self.head.queries(point[None])
            slack = tie_slack(query, longest, self.head.tie_tolerance)
            keys[members] = self.head.keys(points)
            count = canonical_ties(query[0], keys, float(slack[0]), chosen)
            if not np.isin(members, chosen[:count]).all():
                return False
            mean_of(everyone, points, self.weights[members], mean)
            moved = point + share * (mean - point)
            if np.array_equal(moved, point):
                return True
            point = moved
            points[own] = point
        return False


def log_shares(layers: Sequence[Layer]) -> Float[np.ndarray, " layers_plus_1"]:
    """Return ``sum_{s < t} log 1 / (1 + alpha_s)`` for every t, each rounded once."""
    # Extended precision, so that the error of a sum does not grow with the number of layers.
    decay = -np.log1p(np.array([layer.alpha for layer in layers], dtype=np.longdouble))
    return np.concatenate([[0.0], np.cumsum(decay)]).astype(np.float64)


def shares(log_shares: Float[np.ndarray, " layers_plus_1"], layer: int) -> Float[np.ndarray, " since"]:
    """Return, for each layer ``k <= layer``, the share of the distance that is left after the layers k to ``layer``."""
    return np.asarray(np.exp(log_shares[layer] - log_shares[: layer + 1]))


def may_freeze(layers: Sequence[AnyLayer]) -> TypeGuard[Sequence[Layer]]:
    """Return whether the freeze theorem covers these layers: one hardmax head, ``A`` fixed, ``V = I``."""
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
