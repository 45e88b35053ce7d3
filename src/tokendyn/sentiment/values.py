"""Values of words by one convex fit: a logistic regression with a prior on how well each word separates the classes."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.optimize import minimize

from tokendyn.sentiment.heads import log_softmax
from tokendyn.sentiment.word_vectors import Shared

#: Words in a text of ordinary length, so that a unit of every scaled value has about the effect of a unit of u.
_USUAL_WORDS = 200.0
#: Iterations and gradient at which the fit ends: log-losses differ by less than 1e-4 from those of a longer fit.
_MOST_ITERATIONS, _GRADIENT = 300, 3e-5
#: Divisor of the inverse document frequency in the floor of the prior scale: about that of a word in 50 of 3,000 texts.
_USUAL_IDF = 5.0
#: Exponent of the scale: above 1, the fit relies even more on words that separate the classes by themselves. Among 0.7,
#: 1, 1.3, 1.6 and 2, it gave the best accuracy on the development splits of IMDb.
_SHARPNESS = 1.3

#: Usual variance of a label given its text, of at most 1/4.
_VARIANCE = 0.1
#: Curvature of the loss along each shared direction, in units of that of the prior: the fit took 132 iterations in the
#: given coordinates, and 88, 48, 36 and 60 with 1, 10, 100 and 1,000 (IMDb).
_CURVATURE = 100.0

Tokens = Int[np.ndarray, " tokens"]


@dataclass(frozen=True)
class Sample:
    """Texts to learn values from.

    Attributes
    ----------
    counts
        (texts, tokens): count of each token in each text.
    sizes
        Float64 number of words of each text, known or not.
    targets
        Probability of each class: one column for two classes, for the second class; else one column for each class. A
        label is 0 or 1.
    importance
        Float64 cost of an error on each text.
    """

    counts: sparse.csr_matrix
    sizes: Float[np.ndarray, " texts"]
    targets: Float[np.ndarray, "texts columns"]
    importance: Float[np.ndarray, " texts"]

    def __len__(self) -> int:
        return len(self.sizes)

    def rows(self, rows: Int[np.ndarray, " rows"]) -> "Sample":
        """Return some of the texts."""
        return Sample(
            counts=self.counts[rows],
            sizes=self.sizes[rows],
            targets=self.targets[rows],
            importance=self.importance[rows],
        )

    def between(self, first: int, last: int) -> "Sample":
        """Return the texts from a first to before a last one, sharing memory."""
        counts, start = self.counts, self.counts.indptr[first]
        end = counts.indptr[last]
        part = sparse.csr_matrix(
            (counts.data[start:end], counts.indices[start:end], counts.indptr[first : last + 1] - start),
            shape=(last - first, counts.shape[1]),
        )
        return Sample(
            counts=part,
            sizes=self.sizes[first:last],
            targets=self.targets[first:last],
            importance=self.importance[first:last],
        )

    def tokens(self, tokens: Tokens) -> "Sample":
        """Return all texts over some of the tokens."""
        return Sample(counts=self.counts[:, tokens], sizes=self.sizes, targets=self.targets, importance=self.importance)


@dataclass(frozen=True)
class Prior:
    """The prior of the values.

    Attributes
    ----------
    phantom
        Number of words of value 0 added to every text.
    floor
        Least scale of a word of usual frequency.
    marginal
        Weight of the marginal effect of a word in its scale; 0 ignores marginal effects, which is best with few texts.
    strength
        Weight of the prior, in texts: the penalty is ``strength |u|^2 / (2 sum of importance)``.
    """

    phantom: float
    floor: float
    strength: float
    marginal: float = 1.0


@dataclass(frozen=True)
class Values:
    """Fitted values: ``scores = sum_j m_j values_j / (n + phantom) + biases``.

    Attributes
    ----------
    table
        Float64 (tokens, columns): one column for two classes, the logit of the second; else one column for each class,
        with sum 0 over the classes.
    biases
        Float64 (columns,).
    phantom
        As in :class:`Prior`.
    """

    table: Float[np.ndarray, "tokens columns"]
    biases: Float[np.ndarray, " columns"]
    phantom: float

    def scores(self, sample: Sample) -> Float[np.ndarray, "texts columns"]:
        """Return the logit, or the scores of the classes, of each text."""
        return sample.counts @ self.table / (sample.sizes + self.phantom)[:, None] + self.biases

    def times(self, slope: float) -> "Values":
        """Return values whose scores are these times a slope."""
        return Values(table=slope * self.table, biases=slope * self.biases, phantom=self.phantom)

    def losses(self, sample: Sample) -> Float[np.ndarray, " texts"]:
        """Return the log-loss of each text, a cross-entropy if targets are not labels."""
        return losses_and_slopes(self.scores(sample), sample.targets)[0]


def losses_and_slopes(
    scores: Float[np.ndarray, "texts columns"], targets: Float[np.ndarray, "texts columns"]
) -> tuple[Float[np.ndarray, " texts"], Float[np.ndarray, "texts columns"]]:
    """Return ``-sum_c t_c log p_c`` of each text, and its derivatives by the scores, ``p_c - t_c``."""
    if scores.shape[1] == 1:
        above = np.logaddexp(0.0, scores)
        return (above - targets * scores)[:, 0], np.exp(scores - above) - targets
    logs = log_softmax(scores)
    return -np.einsum("tc,tc->t", targets, logs), np.exp(logs) - targets


def prior_scale(
    presence: sparse.csr_matrix, targets: Float[np.ndarray, "texts columns"], floor: float, marginal: float = 1.0
) -> Float[np.ndarray, "tokens columns"]:
    """Return the prior standard deviation of the value of each token.

    ``s_j^(2/1.3) = (floor idf_j / 5)^2 + marginal^2 max(r_j^2 - 1/p_j - 1/q_j, 0)``, with
    ``r_j = log(p_j / sum p) - log(q_j / sum q)``, where p_j and q_j are 1 plus the (expected) number of texts with the
    token that belong to the class, or to another class. The second term is the scale of NB-SVM (Wang and Manning 2012)
    minus the variance of r by chance. The first term keeps tokens without a marginal effect but with an effect beside
    others, such as "good" in film reviews; with the inverse document frequency ``idf_j = 1 + log(texts / df_j)`` it is
    small for words in every text (our own).

    Parameters
    ----------
    presence
        (texts, tokens): 1 where a text has a token.
    targets
        As in :class:`Sample`; the result has the same columns.
    floor, marginal
        Factors of the roots of the two terms.
    """
    frequency = np.asarray(presence.sum(axis=0)).ravel()
    idf = 1.0 + np.log(presence.shape[0] / np.maximum(frequency, 1.0))
    scale = np.empty((presence.shape[1], targets.shape[1]))
    for column, inside in enumerate((presence.T @ targets).T):
        p, q = 1.0 + inside, 1.0 + frequency - inside
        _, effect = clear_odds(p, q, p.sum(), q.sum())
        scale[:, column] = np.sqrt((floor * idf / _USUAL_IDF) ** 2 + marginal**2 * effect)
    return scale**_SHARPNESS


def clear_odds(
    p: Float[np.ndarray, " tokens"],
    q: Float[np.ndarray, " tokens"],
    whole_p: float | Float[np.ndarray, " tokens"],
    whole_q: float | Float[np.ndarray, " tokens"],
) -> tuple[Float[np.ndarray, " tokens"], Float[np.ndarray, " tokens"]]:
    """Return ``r = log(p / whole_p) - log(q / whole_q)`` and its square less its variance by chance, 0 at least.

    Parameters
    ----------
    p, q
        1 plus the number of texts of either side with each token: ``1/p + 1/q`` is about the variance of r.
    whole_p, whole_q
        What they are divided by.
    """
    odds = np.log(p / whole_p) - np.log(q / whole_q)
    return odds, np.maximum(odds**2 - 1.0 / p - 1.0 / q, 0.0)


def fit_values(
    sample: Sample,
    scale: Float[np.ndarray, "tokens columns"],
    prior: Prior,
    *,
    shared: Shared | None = None,
    start: Values | None = None,
    gradient: float = _GRADIENT,
    iterations: int = _MOST_ITERATIONS,
    progress: Callable[[int], None] = lambda _: None,
) -> Values:
    """Return the values of largest posterior: a convex problem with one minimum, independent of the start.

    ``v_j = s_j u_j + (F w)_j`` minimises ``sum_t c_t loss_t / sum c + strength (|u|^2 + |w|^2) / (2 sum c)`` with the
    logistic loss of ``logit_t = b + sum_j m_tj v_j / (n_t + phantom)``, or that of the softmax for several classes;
    biases are free. L-BFGS on u and w.

    Parameters
    ----------
    sample
        The texts.
    scale
        From :func:`prior_scale`.
    prior
        The settings.
    shared
        F, the directions in which values vary together; None for none.
    start
        Values to start from, such as those for other settings.
    gradient
        Bound for the largest entry of the gradient at the end.
    iterations
        Largest number of iterations.
    progress
        Called after each iteration with its number; an exception raised there ends the fit.
    """
    tokens, columns = scale.shape
    counts = sample.counts
    # CSR form of the transpose: two passes in row order are faster than one pass in column order.
    transpose = counts.T.tocsr() if counts.nnz < 2_000_000 else counts.T
    density = ((_USUAL_WORDS + prior.phantom) / (sample.sizes + prior.phantom))[:, None]
    total = float(sample.importance.sum())
    shares = (sample.importance / total)[:, None]
    penalty = prior.strength / total
    unit = _USUAL_WORDS + prior.phantom
    directions, together = np.zeros((0, 0)), np.zeros((len(sample), 0))
    penalties = np.full(tokens + 1, penalty)
    if shared is not None:
        directions, together, added = _conditioned(
            shared, density * (counts[:, shared.tokens] @ shared.table), shares, penalty
        )
        penalties = np.concatenate([penalties[:-1], added, penalties[-1:]])
    penalties[-1] = 0.0
    most = tokens + together.shape[1]

    def objective(unknowns: np.ndarray) -> tuple[float, np.ndarray]:
        table = unknowns.reshape(most + 1, columns)
        scores = density * (counts @ (scale * table[:tokens])) + together @ table[tokens:most] + table[-1]
        losses, slopes = losses_and_slopes(scores, sample.targets)
        slopes *= shares
        slope = penalties[:, None] * table
        prior_part = 0.5 * float(np.vdot(slope, table))
        slope[:tokens] += scale * (transpose @ (density * slopes))
        slope[tokens:most] += together.T @ slopes
        slope[-1] = slopes.sum(axis=0)
        return float(shares[:, 0] @ losses) + prior_part, slope.ravel()

    unknowns = np.zeros((most + 1, columns))
    if start is not None:
        unknowns[:tokens], unknowns[-1] = start.table / (unit * scale), start.biases
    done = itertools.count(1)
    found = minimize(
        objective, unknowns.ravel(), jac=True, method="L-BFGS-B",
        options={"maxiter": iterations, "gtol": gradient, "ftol": 0.0, "maxcor": 10},
        callback=lambda _: progress(next(done)),
    )  # fmt: skip
    table = found.x.reshape(most + 1, columns)
    values, biases = unit * scale * table[:tokens], table[-1].copy()
    if shared is not None:
        values[shared.tokens] += unit * (directions @ table[tokens:most])
    if columns > 1:
        # A constant added to the scores of all classes does not change the verdict; with sum 0 values are unique.
        values -= values.mean(axis=1, keepdims=True)
        biases -= biases.mean()
    return Values(table=values, biases=biases, phantom=prior.phantom)


def _conditioned(
    shared: Shared,
    together: Float[np.ndarray, "texts directions"],
    shares: Float[np.ndarray, "texts 1"],
    penalty: float,
) -> tuple[
    Float[np.ndarray, "tokens directions"], Float[np.ndarray, "texts directions"], Float[np.ndarray, " directions"]
]:
    """Return directions along which the loss has about the same curvature, so that the fit needs few iterations.

    Parameters
    ----------
    shared, together
        The directions, and what each adds to the scores of each text.
    shares
        Weights of the texts.
    penalty
        Curvature of the prior along each direction.

    Returns
    -------
    directions, together
        The same in new coordinates.
    penalties
        Curvature of the prior along each of them.
    """
    curvature = together.T @ (_VARIANCE * shares * together) + penalty * np.eye(together.shape[1])
    sizes, turn = np.linalg.eigh(curvature)
    turn = turn * np.sqrt(_CURVATURE * penalty / sizes)
    return shared.table @ turn, together @ turn, _CURVATURE * penalty**2 / sizes
