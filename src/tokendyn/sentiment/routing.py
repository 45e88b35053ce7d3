"""Texts in the layers of the core, :mod:`tokendyn.dynamics`, and the linear read-out of the result."""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.dynamics import Layer, checked_tokens
from tokendyn.dynamics.ragged_hardmax import HardmaxStack
from tokendyn.dynamics.ragged_shares import Passage, ShareBatch, passage_of
from tokendyn.sentiment import kernels
from tokendyn.sentiment.vocabulary import Ragged


@lru_cache(maxsize=64)
def stack_of(alpha: float, layers: int, dim: int) -> HardmaxStack:
    """Return the layers of a classifier, cached because every text needs them."""
    return HardmaxStack.of([Layer(alpha)] * layers, dim)


def route(
    positions: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"], alpha: float, layers: int
) -> Passage:
    """Run one text through the layers and return the share of each token in its mean.

    ``z_i <- z_i + alpha/(1+alpha) (mean_{C_i} z - z_i)`` with ``C_i = {j : <z_i,z_j> >= max_l <z_i,z_l>}``
    (arXiv 2407.01602 with A = I; the mean counts a token of weight m as m tokens).

    Parameters
    ----------
    positions, weights
        Float64 tokens and their positive weights; an empty array is allowed.
    alpha
        Step size, positive.
    layers
        Number of layers, 0 or more.
    """
    return passage_of(positions, weights, stack_of(alpha, layers, positions.shape[1]))


def route_all(
    texts: Ragged,
    points: Float[np.ndarray, "words_and_pole dim"],
    alpha: float,
    layers: int,
    *,
    rows: Int[np.ndarray, " chosen"] | None = None,
    keep: Bool[np.ndarray, " entries"] | None = None,
    shares: Float[np.ndarray, " entries"] | None = None,
    led: Bool[np.ndarray, " entries"] | None = None,
) -> tuple[Float[np.ndarray, " entries"], Int[np.ndarray, " texts"]]:
    """Return the share of every entry and the number of leaders of every text.

    Parameters
    ----------
    texts
        The texts.
    points
        Float64 position of each active word, and in the last row the neutral pole.
    alpha, layers
        As in :func:`route`.
    rows
        The texts to run, all by default; entries of other texts are unchanged (0 in new arrays).
    keep
        Entries to keep; the others are left out as if the text did not hold them (word dropout).
    shares
        Array to write to.
    led
        Array to write to: which entries are leaders.
    """
    rows = np.arange(len(texts)) if rows is None else rows
    keep = np.ones(len(texts.words), dtype=bool) if keep is None else keep
    shares = np.zeros(len(texts.words)) if shares is None else shares
    led = np.zeros(len(texts.words), dtype=bool) if led is None else led
    leads = np.zeros(len(texts), dtype=np.int64)
    # Space for every entry and one neutral pole for each text: the number after word dropout is not known in advance.
    most = len(rows) + int((texts.indptr[rows + 1] - texts.indptr[rows]).sum())
    tokens, weights = np.empty((most, points.shape[1])), np.empty(most)
    offsets, entries = np.zeros(len(rows) + 1, dtype=np.int64), np.empty(most, dtype=np.int64)
    places = np.ascontiguousarray(checked_tokens(points))
    count = kernels.stack_tokens(
        texts.indptr, texts.words, texts.counts, texts.neutral, places, rows, keep,
        tokens, weights, offsets, entries,
    )  # fmt: skip
    batch = ShareBatch(tokens[:count], offsets, weights[:count], stack_of(alpha, layers, points.shape[1]))
    batch.run(0, len(rows))
    kernels.read_back(texts.indptr, rows, offsets, entries, batch.shares, batch.self_led, shares, led, leads)
    return shares, leads


def sum_values(
    texts: Ragged,
    shares: Float[np.ndarray, " entries"],
    values: Float[np.ndarray, " words"],
    gain: float,
    bias: float,
) -> Float[np.ndarray, " texts"]:
    """Return the logits ``gain sum_j w_j s_j + bias`` of all texts."""
    out = np.empty(len(texts))
    kernels.logits(texts.indptr, texts.words, shares, values, gain, bias, np.arange(len(texts)), out)
    return out


def sum_scores(
    texts: Ragged,
    shares: Float[np.ndarray, " entries"],
    values: Float[np.ndarray, "words classes"],
    gain: float,
    bias: Float[np.ndarray, " classes"],
) -> Float[np.ndarray, "texts classes"]:
    """Return the scores ``gain sum_j w_j s_jc + b_c`` of all texts and classes."""
    out = np.empty((len(texts), len(bias)))
    kernels.scores(texts.indptr, texts.words, shares, values, gain, bias, np.arange(len(texts)), out)
    return out
