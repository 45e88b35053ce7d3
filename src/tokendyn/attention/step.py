"""One attention step, independent of the backend that computes it.

Symbols: tokens ``z_i`` are the rows of ``(..., tokens, dim)``; query ``q_i = A z_i`` (or ``Q z_i``), key
``k_j = z_j`` (or ``K z_j``), value ``v_j = V z_j``, score ``s_ij = <q_i, k_j>``, token weight ``w_j``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.attention import dispatch
from tokendyn.attention.checks import (
    as_float64,
    as_mask,
    as_rows,
    as_weights,
    check_finite,
    check_parameters,
    check_scale,
    check_shapes,
    check_underflow,
    lifted,
    tie_slack,
)
from tokendyn.attention.problem import NOTHING, Choice, nothing_found
from tokendyn.errors import BadInputError
from tokendyn.results import Bars, Result
from tokendyn.words import counted, some_are

if TYPE_CHECKING:
    import pandas as pd

#: ``"auto"`` or the name of a backend, see :mod:`tokendyn.attention.dispatch`.
Backend = str

#: Largest number of entries that :func:`attention_weights` returns as one dense array.
MAX_DENSE_ENTRIES = 2**26


@dataclass(frozen=True, repr=False)
class AttentionStep(Result, kind="attention-step"):
    """The result of one attention step for every token.

    Attributes
    ----------
    means
        ``(..., tokens, value_dim)`` float64: ``sum_j p_ij v_j``. Hardmax: the weighted mean of the leaders'
        values. Rows of masked tokens are zero.
    leaders
        ``(..., tokens)`` int64: lowest index of a token of maximal score; -1 for a masked token.
    tie_counts
        ``(..., tokens)`` int64: size of ``C_i``, the tokens within the tie tolerance of the maximal score.
    tie_spreads
        ``(..., tokens)`` float64: largest coordinate difference between the values of ``C_i`` and that of
        ``leaders``; 0 when a token follows a single point, however many tokens sit on it.
    top_scores
        ``(..., tokens)`` float64: ``max_j s_ij``; ``-inf`` for a masked token.
    log_masses
        ``(..., tokens)`` float64: ``log sum_j w_j exp(beta (s_ij - max_j s_ij))``, and its limit, the log
        of the weight of ``C_i``, for hardmax. ``-inf`` for a masked token.
    choice
        The backend that computed the means, the reason for it, and the bound on their error.
    """

    parts: ClassVar = (Choice,)

    means: Float[np.ndarray, "*batch tokens value_dim"]
    leaders: Int[np.ndarray, "*batch tokens"]
    tie_counts: Int[np.ndarray, "*batch tokens"]
    tie_spreads: Float[np.ndarray, "*batch tokens"]
    top_scores: Float[np.ndarray, "*batch tokens"]
    log_masses: Float[np.ndarray, "*batch tokens"]
    choice: Choice

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def summary(self) -> dict[str, Any]:
        """Return the step in numbers and words."""
        leaders = self.leaders[self.leaders >= 0]
        return {
            "status": self.status, "rows": self.leaders.size, "value_dim": self.means.shape[-1],
            "leaders": len(np.unique(leaders)), "ties": int((self.tie_counts > 1).sum()),
            "backend": self.choice.backend, "error_bound": self.choice.error_bound,
        }  # fmt: skip

    def describe(self) -> list[str]:
        """Return the numbers of rows, leaders and ties, and the backend, in sentences."""
        summary = self.summary()
        return [
            f"{counted(summary['rows'], 'row')} and {counted(summary['leaders'], 'leader')}; "
            f"{some_are(summary['ties'], summary['rows'], 'row')} tied",
            f"computed by {self.choice.backend}: {self.choice.reason}",
        ]

    def table(self) -> "pd.DataFrame":
        """Return one row for each token that attends, batch item after batch item."""
        import pandas as pd

        names = ("leaders", "tie_counts", "tie_spreads", "top_scores", "log_masses")
        columns: dict[str, Any] = {name.removesuffix("s"): getattr(self, name).ravel() for name in names}
        means = self.means.reshape(-1, self.means.shape[-1])
        return pd.DataFrame(columns | {f"mean_x{axis + 1}": means[:, axis] for axis in range(means.shape[1])})

    def picture(self) -> Bars:
        """Return the number of rows that follow each leader, the largest first."""
        leaders, counts = np.unique(self.leaders[self.leaders >= 0], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return Bars([f"token {leader}" for leader in leaders[order]], counts[order].astype(float).tolist(), "followers")


def attend(
    queries: Float[np.ndarray, "*batch rows score_dim"],
    keys: Float[np.ndarray, "*batch tokens score_dim"],
    values: Float[np.ndarray, "*batch tokens value_dim"],
    *,
    inverse_temperature: float = math.inf,
    tie_tolerance: float = 0.0,
    weights: Float[np.ndarray, "*batch tokens"] | None = None,
    mask: Bool[np.ndarray, "*shape"] | None = None,
    rows: Int[np.ndarray, " chosen"] | Sequence[int] | None = None,
    backend: Backend = "auto",
    error_tolerance: float = 0.0,
    find_leaders: bool = True,
) -> AttentionStep:
    """Let every token, or those of ``rows``, attend to all tokens once.

    Queries may differ from the tokens in number (cross-attention); ``leaders`` are then numbers of keys.

    Softmax at inverse temperature ``beta``: ``p_ij = w_j e^{beta s_ij} / sum_l w_l e^{beta s_il}``.
    Hardmax (``beta = inf``): ``p_ij = w_j / sum_{l in C_i} w_l`` on the leaders
    ``C_i = {j : s_ij >= max_l s_il - slack_i}``, ``slack_i = tie_tolerance |q_i| max_j |k_j|``
    (arXiv 2407.01602, definition of ``C_i``; the tolerance is ours).

    The score is canonical: the left-to-right dot product in float64 with no fused multiply-add, so all
    backends agree in every leader, tie count and hardmax mean to the last bit. A zero query ties with
    all tokens.

    Parameters
    ----------
    queries, keys, values
        Real arrays or torch tensors, computed in float64; leading axes are a batch.
    inverse_temperature
        ``beta > 0``; ``inf`` is hardmax.
    tie_tolerance
        Relative tolerance of a tie, ``>= 0``. It also decides ``tie_counts`` at finite temperature.
    weights
        Positive token weights, by default 1. Multiplicities are weights.
    mask
        ``(..., tokens)``: True where a token exists; a masked token neither attends nor is attended to. Or
        ``(..., rows, tokens)``: True where a row may attend to a token, as in a causal mask; a row without any allowed
        token gets the result of a masked token.
    rows
        Numbers of the tokens that attend, by default all; the result has one entry for each.
    backend
        ``"auto"`` lets :mod:`tokendyn.attention.dispatch` choose; a name selects a backend; ``"tensors:cuda"`` computes
        the step on a torch device. :attr:`AttentionStep.choice` records the backend and the reason.
    error_tolerance
        Softmax only: largest accepted ``|m_i - exact|_2 / max_j |v_j|_2``. 0 admits only backends that are exact to
        rounding; a positive value admits approximations with a bound, which can be far faster.
    find_leaders
        Softmax only: False lets a backend omit leaders, ties and top scores (-1, 0, 0), which the means do not need.

    Raises
    ------
    BadInputError
        If shapes do not match, existing tokens have NaN or infinite entries, there is no token, or parameters are out
        of range.
    ScaleError
        If scores or weighted sums could overflow: infinite scores cannot be compared.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.attention import attend
    >>> tokens = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.2]])
    >>> step = attend(tokens, tokens, tokens)
    >>> step.leaders
    array([0, 1, 0])
    >>> step.means
    array([[2., 0.],
           [0., 1.],
           [2., 0.]])
    >>> attend(tokens, tokens, tokens, inverse_temperature=1.0).means.round(3)
    array([[1.851, 0.039],
           [0.652, 0.6  ],
           [1.539, 0.156]])
    """
    queries, keys, values = (as_float64(array) for array in (queries, keys, values))
    known = dispatch.known_backends(inverse_temperature)
    check_parameters(inverse_temperature, tie_tolerance, error_tolerance, backend, known)
    asking, shape = check_shapes(queries, keys, values)
    exists, pairs = as_mask(mask, asking, shape)
    weights = as_weights(weights, shape, exists)
    rows = as_rows(rows, asking[-1])
    own = asking == shape
    # Masked tokens may hold anything, also NaN, which would pass through sums even with a weight of zero.
    if not exists.all():
        keys, values = (np.where(exists[..., None], array, 0.0) for array in (keys, values))
        queries = np.where(exists[..., None], queries, 0.0) if own else queries
    check_finite(queries, keys, values)
    check_scale(queries, keys, values, weights)
    # Scores are scaled by a power of two where they would underflow; softmax compensates by its temperature, hardmax
    # needs no compensation.
    queries, keys, units = lifted(queries, keys, by_row=math.isinf(inverse_temperature))
    if units is not None and not math.isinf(inverse_temperature):
        inverse_temperature = max(inverse_temperature * float(units), math.ulp(0.0))
    slack = tie_slack(queries, keys, tie_tolerance)
    attends = exists if own else np.broadcast_to(exists.any(axis=-1, keepdims=True), asking).copy()
    if rows is not None:
        queries, slack, attends = queries[..., rows, :], slack[..., rows], attends[..., rows]
        pairs = None if pairs is None else pairs[..., rows, :]

    def flat(array: np.ndarray) -> np.ndarray:
        return array.reshape(math.prod(shape[:-1]), *array.shape[len(shape) - 1 :])

    request = dispatch.Request(
        flat(queries),
        flat(attends),
        flat(slack),
        flat(keys),
        flat(values),
        flat(weights),
        flat(exists),
        inverse_temperature=inverse_temperature,
        error_tolerance=error_tolerance,
        backend=backend,
        find_leaders=find_leaders,
    )
    if attends.size == 0:
        outputs, choice = nothing_found(request.attends.shape, values.shape[-1]), NOTHING
    elif pairs is not None:
        outputs, choice = dispatch.compute_pairs(request, flat(pairs))
    else:
        outputs, choice = dispatch.compute(request)
    fields = [array.reshape(*attends.shape, *array.shape[2:]) for array in outputs]
    means, leaders, tie_counts, tie_spreads, top_scores, log_masses = fields
    if math.isinf(inverse_temperature):
        check_underflow(queries, keys, top_scores)
    if units is not None:
        top_scores = top_scores * (units if rows is None or units.ndim == 0 else units[..., rows])
    return AttentionStep(
        means=means,
        leaders=leaders,
        tie_counts=tie_counts,
        tie_spreads=tie_spreads,
        top_scores=top_scores,
        log_masses=log_masses,
        choice=choice,
    )


def hardmax_within(
    queries: Float[np.ndarray, "rows score_dim"],
    keys: Float[np.ndarray, "tokens score_dim"],
    values: Float[np.ndarray, "tokens value_dim"],
    slack: Float[np.ndarray, " rows"],
    weights: Float[np.ndarray, " tokens"],
    backend: Backend,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return means, leaders, tie counts and tie spreads of rows, each with its own slack, for checked input."""
    attends, mask = np.ones((1, len(queries)), dtype=bool), np.ones((1, len(keys)), dtype=bool)
    arrays = queries[None], attends, slack[None], keys[None], values[None], weights[None], mask
    fields, _ = dispatch.compute(dispatch.Request(*arrays, inverse_temperature=math.inf, backend=backend))
    means, leaders, counts, spreads = (field[0] for field in fields[:4])
    return means, leaders, counts, spreads


def attention_weights(
    queries: Float[np.ndarray, "rows score_dim"],
    keys: Float[np.ndarray, "tokens score_dim"],
    *,
    inverse_temperature: float = math.inf,
    tie_tolerance: float = 0.0,
    weights: Float[np.ndarray, " tokens"] | None = None,
) -> Float[np.ndarray, "rows tokens"]:
    """Return the weights ``p_ij`` of :func:`attend` for some query rows, as a dense matrix.

    With hardmax, ``C_i`` is the support of row ``i``.

    Raises
    ------
    BadInputError
        Also if the matrix would have more than ``MAX_DENSE_ENTRIES`` entries.

    Examples
    --------
    >>> import numpy as np
    >>> from tokendyn.attention import attention_weights
    >>> tokens = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.2]])
    >>> attention_weights(tokens, tokens, inverse_temperature=1.0).round(3)
    array([[0.867, 0.016, 0.117],
           [0.202, 0.55 , 0.247],
           [0.646, 0.107, 0.247]])
    """
    queries, keys = as_float64(queries), as_float64(keys)
    check_parameters(inverse_temperature, tie_tolerance)
    check_finite(queries, keys)
    check_scale(queries, keys)
    if queries.shape[0] * keys.shape[0] > MAX_DENSE_ENTRIES:
        raise BadInputError(
            f"a {queries.shape[0]} by {keys.shape[0]} weight matrix is too large; pass fewer query rows "
            f"(at most {max(1, MAX_DENSE_ENTRIES // keys.shape[0])} for {keys.shape[0]} tokens)"
        )
    weights = as_weights(weights, keys.shape[:1], np.ones(keys.shape[:1], dtype=bool))
    queries, keys, units = lifted(queries, keys, by_row=math.isinf(inverse_temperature))
    if units is not None:
        inverse_temperature = inverse_temperature * float(units.max())
    scores = canonical_scores(queries, keys)
    if math.isinf(inverse_temperature):
        top, slack = scores.max(axis=1, keepdims=True), tie_slack(queries, keys, tie_tolerance)
        masses = np.where(scores >= top - slack[:, None], weights, 0.0)
        return masses / masses.sum(axis=1, keepdims=True)
    return softmax_weights(scores, inverse_temperature, weights)


def softmax_weights(
    scores: Float[np.ndarray, "*rows tokens"],
    inverse_temperature: float = 1.0,
    weights: Float[np.ndarray, " tokens"] | None = None,
) -> Float[np.ndarray, "*rows tokens"]:
    """Return ``p_j = w_j e^{beta s_j} / sum_l w_l e^{beta s_l}`` for given scores, over the last axis.

    The largest score is subtracted first, so that nothing overflows and equal scores have equal weights to the last
    bit.
    """
    masses = np.exp(inverse_temperature * (scores - scores.max(axis=-1, keepdims=True)))
    if weights is not None:
        masses = weights * masses
    return np.asarray(masses / masses.sum(axis=-1, keepdims=True))


def canonical_scores(
    queries: Float[np.ndarray, "rows score_dim"], keys: Float[np.ndarray, "tokens score_dim"]
) -> Float[np.ndarray, "rows tokens"]:
    """Return ``s_ij = (...(q_i1 k_j1 + q_i2 k_j2) + ...)``, each product and sum rounded once."""
    # Column by column instead of a matrix product, whose order of summation depends on the library and the shapes.
    scores = queries[:, :1] * keys[:, 0]
    for column in range(1, queries.shape[1]):
        scores += queries[:, column : column + 1] * keys[:, column]
    return scores


def canonical_linear(
    tokens: Float[np.ndarray, "*batch tokens dim"],
    matrix: Float[np.ndarray, "out dim"],
    start: Float[np.ndarray, "*start out"] | None = None,
) -> Float[np.ndarray, "*batch tokens out"]:
    """Return ``start + matrix @ z_i`` for every token, summed left to right without fused operations."""
    result = tokens[..., :1] * matrix[:, 0]
    if start is not None:
        result = start + result
    for column in range(1, matrix.shape[1]):
        result += tokens[..., column : column + 1] * matrix[:, column]
    return result
