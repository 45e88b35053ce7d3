"""Attention as a flow of weighted tokens: the vector fields, in one convention.

Symbols: ``B = Q^T K``, so that the score of query x against key y is ``<Qx, Ky> = <x, By> = <B^T x, y>``,
and the score matrix of :class:`~tokendyn.attention.Head` is ``A = B^T``;
``u(x) = B^T x / |B^T x|`` is the direction of the query of token x; V is the value matrix; ``P_x = I - x x^T``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from tokendyn.attention.checks import as_float64
from tokendyn.attention.dispatch import on_device
from tokendyn.attention.drift import Drift, softmax_drift, tangent_of_linear
from tokendyn.attention.step import attend
from tokendyn.dynamics.sphere import retract, tangent
from tokendyn.errors import BadInputError, SingularError

#: Returns ``sum_j p_ij x_j`` for queries, tokens (the keys and values), weights and the inverse temperature.
Means = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]

#: The limit that infinite inverse temperature stands for: of finitely many tokens, or of a law of full support.
ColdLimit = Literal["hardmax", "full support"]

#: Where a transformer divides by norms; see :attr:`TokenFlow.normalisation`.
Normalisation = Literal["post", "pre", "peri", "ngpt"]

#: The kinds of normalisation under which a token keeps a radius.
_WITH_RADIUS = ("pre", "peri")

#: ``|B^T x|`` below this share of ``|B|`` counts as zero.
SINGULAR = 1e-14


@dataclass(frozen=True)
class TokenFlow:
    """The velocity of tokens under one attention head.

    On the sphere, with ``m(x) = sum_j w_j e^{beta <x, B y_j>} y_j / sum_j w_j e^{beta <x, B y_j>}``::

        xdot = P_x V m(x)

    arXiv 2605.10931 (normalisation layer); without ``on_sphere`` it is ``V m(x)``. At zero temperature there are two
    different limits: finitely many tokens follow their leaders (``cold_limit="hardmax"``), a law of full support gives
    ``m(x) = u(x)`` (``cold_limit="full support"``).

    Attributes
    ----------
    inverse_temperature
        ``beta >= 0``; ``inf`` needs ``cold_limit``.
    interaction
        ``B``, ``(dim, dim)``, as the papers of the mean field write it; None is the identity.
    value
        ``V``, ``(dim, dim)``; None is the identity.
    score
        ``A = B^T``, ``(dim, dim)``, the score matrix of :class:`~tokendyn.attention.Head`, in place of
        ``interaction``: ``<A x, y> = <x, B y>``; turned into it, and None afterwards.
    query, key
        ``Q, K``, ``(rank, dim)``, in place of ``interaction``; turned into it, ``Q^T K``, and None afterwards.
    cold_limit
        The limit that infinite ``inverse_temperature`` stands for.
    normalised
        False: unnormalised attention (USA), ``xdot = P_x V sum_j w_j e^{beta <x, B y_j>} y_j``.
    causal
        Whether token i attends to the tokens ``j <= i`` only.
    on_sphere
        Whether the velocity is projected onto the tangent space.
    normalisation
        Where norms are divided by, ``N(x) = x / |x|``. ``"post"``: the flow above. ``"ngpt"``: ``P_x N(V m(x))``, also
        on the sphere. With the other two a token y has a radius ``|y|``, and only its direction ``N(y)`` attends:
        ``"pre"`` is ``ydot = V m(N(y))``, ``"peri"`` is ``ydot = N(V m(N(y)))``; both set ``on_sphere`` to False.
        A direction then turns at ``1 / |y|`` of the speed that it has on the sphere.
    tie_tolerance
        Tie tolerance of the hardmax; see :func:`tokendyn.attention.attend`.
    means
        A function that computes the means ``m`` in place of the exact difference form (:func:`softmax_drift`), such as
        a fast approximate attention.
    threads
        Number of threads of the difference form.
    device
        A torch device that computes the means, such as ``"cuda"``, in place of the difference form on this processor.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.dynamics import TokenFlow
    >>> flow = TokenFlow(9.0, value=np.diag([1.0, 2.0]))
    >>> flow.velocity(np.array([[1.0, 0.0], [0.8, 0.6]])).round(3)
    array([[ 0.   ,  0.17 ],
           [-0.196,  0.261]])
    """

    inverse_temperature: float
    interaction: Float[np.ndarray, "dim dim"] | None = None
    query: Float[np.ndarray, "rank dim"] | None = None
    key: Float[np.ndarray, "rank dim"] | None = None
    value: Float[np.ndarray, "dim dim"] | None = None
    cold_limit: ColdLimit | None = None
    normalised: bool = True
    causal: bool = False
    on_sphere: bool = True
    normalisation: Normalisation = "post"
    tie_tolerance: float = 0.0
    means: Means | None = None
    threads: int = 1
    device: str | None = None
    score: Float[np.ndarray, "dim dim"] | None = None

    def __post_init__(self) -> None:
        for name in ("interaction", "score", "query", "key", "value"):
            if isinstance(getattr(self, name), list | tuple):
                object.__setattr__(self, name, as_float64(getattr(self, name)))
        problems = [*self._temperature_problems(), *self._matrix_problems()]
        if self.normalisation not in get_args(Normalisation):
            problems.append(f"normalisation is {self.normalisation!r}; there are {', '.join(get_args(Normalisation))}")
        if self.normalisation == "ngpt" and not self.on_sphere:
            problems.append("normalisation='ngpt' keeps tokens on the sphere; leave out on_sphere=False")
        if self.means is not None and (self.causal or not self.normalised):
            problems.append("means= computes full, normalised attention only; leave it out for causal or USA flows")
        if self.device is not None and (self.causal or not self.normalised or self.means is not None):
            problems.append("device= computes full, normalised attention, by means of its own; leave it out")
        if problems:
            raise BadInputError.all_of("token flow", problems)
        if self.normalisation in _WITH_RADIUS:
            object.__setattr__(self, "on_sphere", False)
        if self.query is not None and self.key is not None:
            object.__setattr__(self, "interaction", np.asarray(self.query.T @ self.key, dtype=np.float64))
            object.__setattr__(self, "query", None)
            object.__setattr__(self, "key", None)
        if self.score is not None:
            object.__setattr__(self, "interaction", self.score.T)
            object.__setattr__(self, "score", None)
        for name in ("interaction", "value"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.array(getattr(self, name), dtype=np.float64))

    def _temperature_problems(self) -> list[str]:
        temperature: Any = self.inverse_temperature
        if not isinstance(temperature, Real):
            kind = type(temperature).__name__
            return [f"inverse_temperature is {kind}, expected a number; matrices are given by name: value=V"]
        beta = self.inverse_temperature
        problems: list[str] = []
        if not beta >= 0:
            problems.append(f"inverse_temperature must be zero or more, got {beta}")
        if math.isinf(beta) and self.cold_limit is None:
            problems.append(
                "infinite inverse_temperature has two limits: say cold_limit='hardmax' (finitely many tokens follow "
                "their leaders) or cold_limit='full support' (the mean-field limit, m(x) = u(x))"
            )
        if self.cold_limit not in (None, "hardmax", "full support"):
            problems.append(f"cold_limit must be 'hardmax' or 'full support', got {self.cold_limit!r}")
        if math.isfinite(beta) and self.cold_limit is not None:
            problems.append(f"cold_limit={self.cold_limit!r} needs inverse_temperature=inf, got {beta}")
        if math.isinf(beta) and not self.normalised:
            problems.append("unnormalised attention needs a finite inverse_temperature")
        if self.causal and self.cold_limit == "full support":
            problems.append("causal attention has no full-support limit; cold_limit='hardmax' is its limit")
        return problems

    def _matrix_problems(self) -> list[str]:
        problems = []
        forms = sum(matrix is not None for matrix in (self.score, self.interaction, self.query))
        if (self.query is None) != (self.key is None) or forms > 1:
            problems.append("give one of score A, interaction B = A^T, and query with key, or none of them")
        for name in ("interaction", "score", "query", "key", "value"):
            matrix = getattr(self, name)
            if matrix is None:
                continue
            square = name in ("interaction", "score", "value")
            if np.ndim(matrix) != 2 or (square and matrix.shape[0] != matrix.shape[1]) or not np.isfinite(matrix).all():
                problems.append(f"{name} must be a finite {'square ' if square else ''}matrix, got {np.shape(matrix)}")
        if self.query is not None and self.key is not None and self.query.shape != self.key.shape:
            problems.append(f"query {self.query.shape} and key {self.key.shape} must have the same shape")
        dims = {
            matrix.shape[-1]
            for matrix in (self.interaction, self.score, self.key, self.value)
            if matrix is not None and matrix.ndim
        }
        if len(dims) > 1:
            problems.append(f"B and V act on {' and '.join(map(str, sorted(dims)))} coordinates; expected the same")
        return problems

    def queries(self, tokens: Float[np.ndarray, "tokens dim"]) -> Float[np.ndarray, "tokens dim"]:
        """Return ``B^T x`` for every token."""
        if self.interaction is None:
            return np.asarray(tokens, dtype=np.float64)
        if self.interaction.shape[0] != tokens.shape[1]:
            raise BadInputError(f"B {self.interaction.shape} does not fit tokens of {tokens.shape[1]} coordinates")
        return np.asarray(tokens @ self.interaction)

    def drift(
        self, tokens: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"] | None = None
    ) -> Drift:
        """Return the difference form of the attention, with masses and effective sample sizes.

        Raises
        ------
        BadInputError
            At infinite inverse temperature.
        """
        if math.isinf(self.inverse_temperature):
            raise BadInputError("the difference form needs a finite inverse temperature")
        return softmax_drift(
            self.queries(tokens),
            tokens,
            inverse_temperature=self.inverse_temperature,
            weights=checked_weights(weights, len(tokens)),
            causal=self.causal,
            threads=self.threads,
        )

    def velocity(
        self, tokens: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"] | None = None
    ) -> Float[np.ndarray, "tokens dim"]:
        """Return ``xdot`` of every token.

        ``m = sigma x + delta`` (see :class:`~tokendyn.attention.drift.Drift`) gives
        ``P_x V m = sigma P_x V x + P_x V delta``; the first term is computed in twice the working precision, so that
        rounding hides neither term when the tokens have collapsed.

        Parameters
        ----------
        tokens
            ``(tokens, dim)``; on the sphere they have norm 1.
        weights
            Positive, of sum 1; equal by default.

        Raises
        ------
        SingularError
            If a token has ``B^T x = 0`` in the full-support limit.
        """
        return self._moved(tokens, weights, projected=self.on_sphere)

    def output(
        self, tokens: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"] | None = None
    ) -> Float[np.ndarray, "tokens dim"]:
        """Return ``V m(x)``, which a transformer layer adds to a token before normalisation; see :meth:`velocity`."""
        return self._moved(tokens, weights, projected=False)

    def _moved(self, tokens: np.ndarray, weights: np.ndarray | None, *, projected: bool) -> np.ndarray:
        masses = checked_weights(weights, len(tokens))
        if self.normalisation == "post":
            return self._attended(tokens, masses, projected=projected)
        directions = _directions(tokens, "a token is zero: it has no direction that attends")
        moved = self._attended(directions, masses, projected=False)
        if self.normalisation != "pre":
            moved = _directions(moved, "V m(x) = 0: it has no direction, and the flow is not defined")
        return tangent(directions, moved) if projected else moved

    def _attended(self, tokens: np.ndarray, masses: np.ndarray, *, projected: bool) -> np.ndarray:
        cold = math.isinf(self.inverse_temperature)
        means_of = self.means if self.device is None else means_on(self.device)
        if cold or (means_of is not None and self.inverse_temperature > 0):
            means = (
                self._cold_means(tokens, masses)
                if means_of is None or cold
                else means_of(self.queries(tokens), tokens, masses, self.inverse_temperature)
            )
            return tangent(tokens, self._values(means)) if projected else self._values(means)
        drift = self.drift(tokens, masses)
        # Projecting sigma x + delta as a whole would lose delta to the rounding of x in collapsed clusters.
        if projected:
            moved = drift.signs[:, None] * self._tangent_values(tokens) + tangent(tokens, self._values(drift.shifts))
        else:
            moved = self._values(drift.signs[:, None] * tokens + drift.shifts)
        if self.normalised:
            return moved
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(np.exp(drift.log_masses)[:, None] * moved)

    def _cold_means(self, tokens: np.ndarray, weights: np.ndarray) -> np.ndarray:
        queries = self.queries(tokens)
        if self.cold_limit == "hardmax":
            backend = on_device(self.device, "auto")
            seen = np.tri(len(tokens), dtype=np.bool_) if self.causal else None
            return attend(
                queries, tokens, tokens, tie_tolerance=self.tie_tolerance, weights=weights, mask=seen, backend=backend
            ).means
        norms = np.linalg.norm(queries, axis=1)
        size = 1.0 if self.interaction is None else float(np.abs(self.interaction).max())
        zero = np.flatnonzero(norms <= SINGULAR * size * np.linalg.norm(tokens, axis=1))
        if zero.size:
            raise SingularError(
                f"B^T x = 0 for token {zero[0]}: its query has no direction, and the flow is not defined"
            )
        return np.asarray(queries / norms[:, None])

    def _values(self, vectors: np.ndarray) -> np.ndarray:
        return vectors if self.value is None else np.asarray(vectors @ self.value.T)

    def _tangent_values(self, tokens: np.ndarray) -> np.ndarray:
        return np.zeros_like(tokens) if self.value is None else tangent_of_linear(tokens, self.value)


def _directions(vectors: np.ndarray, problem: str) -> np.ndarray:
    """Return ``v / |v|`` of every row, or raise a :class:`SingularError`; rows that are not finite stay so."""
    zero = np.flatnonzero(~vectors.any(axis=1))
    if zero.size:
        raise SingularError(f"token {zero[0]}: {problem}")
    return retract(vectors)


def means_within(error_tolerance: float) -> Means:
    """Return means by the fastest backend of :func:`~tokendyn.attention.attend` that meets an error bound.

    For ``TokenFlow(means=...)`` with very many tokens. An error of the mean moves a token by as much in unit time.
    Slower drifts, such as those of collapsed clusters, need the difference form, which is the default.

    Parameters
    ----------
    error_tolerance
        Largest ``|m_i - exact|_2`` relative to the largest token, above 0.
    """
    if not 0 < error_tolerance < 1:
        raise BadInputError(f"error_tolerance must be in (0, 1), got {error_tolerance}")

    def means(queries: np.ndarray, tokens: np.ndarray, weights: np.ndarray, inverse_temperature: float) -> np.ndarray:
        return attend(
            queries, tokens, tokens, inverse_temperature=inverse_temperature, weights=weights,
            error_tolerance=error_tolerance, find_leaders=False,
        ).means  # fmt: skip

    return means


def means_on(device: str) -> Means:
    """Return means by a torch device, such as ``"cuda"``; see :func:`tokendyn.attention.device.attend_tensors`.

    Exact up to rounding. Drifts far below the rounding of the means need the difference form, which is the default.
    """

    def means(queries: np.ndarray, tokens: np.ndarray, weights: np.ndarray, inverse_temperature: float) -> np.ndarray:
        return attend(
            queries, tokens, tokens, inverse_temperature=inverse_temperature, weights=weights,
            backend=on_device(device, "auto"), find_leaders=False,
        ).means  # fmt: skip

    return means


def checked_weights(weights: Float[np.ndarray, " tokens"] | None, count: int) -> Float[np.ndarray, " tokens"]:
    """Return token weights of sum 1, equal by default, or raise a :class:`BadInputError`."""
    if weights is None:
        return np.full(count, 1.0 / count)
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (count,):
        raise BadInputError(f"weights of shape {array.shape} for {count} tokens; expected ({count},)")
    bad = np.flatnonzero(~(np.isfinite(array) & (array > 0)))
    if bad.size:
        raise BadInputError(
            f"{bad.size} weights are not positive (token {bad[0]} has {array[bad[0]]}); leave those tokens out"
        )
    if abs(array.sum() - 1) > 1e-9:
        raise BadInputError(f"weights sum to {array.sum():.12g}, expected 1; divide them by their sum")
    return array
