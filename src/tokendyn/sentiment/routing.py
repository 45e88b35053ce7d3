"""Texts through the layers of the core, :mod:`tokendyn.dynamics`, and the linear read-out of what comes out."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from tokendyn.dynamics import Layer, RaggedTokens, mean_shares, run_ragged
from tokendyn.dynamics.freeze import Frozen
from tokendyn.sentiment import kernels
from tokendyn.sentiment.vocabulary import Ragged


@dataclass(frozen=True)
class Passage:
    """One text on its way through the layers.

    Attributes
    ----------
    states
        Tokens before the first and after each layer.
    leaders
        For each layer and token, the lowest index among the tokens that lead it.
    ties
        How many tokens lead it.
    self_led
        Which tokens are among their own leaders at the last layer; without layers, all.
    shares
        Float64 ``w`` with ``sum_j p_j z_j(K) = sum_j w_j z_j(0)``; not negative, sum 1.
    """

    states: Float[np.ndarray, "layers_and_one tokens dim"]
    leaders: Int[np.ndarray, "layers tokens"]
    ties: Int[np.ndarray, "layers tokens"]
    self_led: Bool[np.ndarray, " tokens"]
    shares: Float[np.ndarray, " tokens"]


def route(
    positions: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"], alpha: float, layers: int
) -> Passage:
    """Run one text through the layers and share its mean among its tokens.

    ``z_i <- z_i + alpha/(1+alpha) (mean_{C_i} z - z_i)`` with ``C_i = {j : <z_i,z_j> >= max_l <z_i,z_l>}``
    (arXiv 2407.01602 with A = I; the mean counts a token of weight m as m tokens).

    Parameters
    ----------
    positions, weights
        Float64 tokens and their positive weights; no token at all is allowed.
    alpha
        Step size, positive.
    layers
        Number of layers, 0 or more.
    """
    tokens = np.ascontiguousarray(positions)
    text = RaggedTokens(tokens=tokens, offsets=np.array([0, len(tokens)]))
    stack = [Layer(alpha)] * layers
    shared = mean_shares(text, stack, weights=weights)
    states, none = tokens[None].copy(), np.empty((0, len(tokens)), dtype=np.int64)
    leaders, ties = none, none
    if layers:
        run = run_ragged(text, stack, weights=weights, record="all")
        states, leaders, ties = run.states, run.leaders[:, 0], run.tie_counts[:, 0]
    return Passage(states=states, leaders=leaders, ties=ties, self_led=shared.self_led, shares=shared.shares)


def route_with_members(
    positions: Float[np.ndarray, "tokens dim"], weights: Float[np.ndarray, " tokens"], alpha: float, layers: int
) -> tuple[Passage, list[list[Int[np.ndarray, " members"]]]]:
    """Run a text with ties between different points as :func:`tokendyn.dynamics.run` runs it: there is one rule.

    Return also whom each token followed, layer by layer, all members of a tie.
    """
    layer = Layer(alpha)
    frozen = Frozen(np.ascontiguousarray(positions), [layer] * layers, weights=weights)
    states, following, followed = [positions.copy()], [], []
    for number in range(layers):
        frozen.step(layer, number)
        states.append(frozen.advance(number + 1).copy())
        following.append(frozen.following.copy())
        followed.append([frozen.followed(token) for token in range(len(weights))])
    c, p = 1.0 / (1.0 + alpha), weights / np.sum(weights)
    # The mean of the last layer is linear in the tokens before it. Going back through the layers, each token hands the
    # part 1 - c of its share to those that it followed, so the shares end at the tokens of the text.
    w = p.copy()
    for led in reversed(followed):
        spare = c * w
        for token, members in enumerate(led):
            spare[members] += (1.0 - c) * w[token] * p[members] / np.sum(p[members])
        w = spare
    self_led = np.array([token in members for token, members in enumerate(followed[-1])])
    leaders, ties = (np.stack([getattr(step, name) for step in following]) for name in ("leaders", "tie_counts"))
    return Passage(states=np.stack(states), leaders=leaders, ties=ties, self_led=self_led, shares=w), followed


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
        Float64 place of each active word, and in the last row the neutral pole.
    alpha, layers
        As in :func:`route`.
    rows
        The texts to run, all by default; entries of other texts are left as they are (0 in new arrays).
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
    # Room for every entry and one neutral pole a text: how many remain after word dropout is known afterwards.
    most = len(rows) + int((texts.indptr[rows + 1] - texts.indptr[rows]).sum())
    tokens, weights = np.empty((most, points.shape[1])), np.empty(most)
    offsets, entries = np.zeros(len(rows) + 1, dtype=np.int64), np.empty(most, dtype=np.int64)
    count = kernels.stack_tokens(
        texts.indptr, texts.words, texts.counts, texts.neutral, np.ascontiguousarray(points), rows, keep,
        tokens, weights, offsets, entries,
    )  # fmt: skip
    sets = RaggedTokens(tokens=tokens[:count], offsets=offsets)
    result = mean_shares(sets, [Layer(alpha)] * layers, weights=weights[:count])
    kernels.read_back(texts.indptr, rows, offsets, entries, result.shares, result.self_led, shares, led, leads)
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
