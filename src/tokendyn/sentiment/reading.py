"""From a passage through the layers to an explanation."""

from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.dynamics.ragged_shares import Passage
from tokendyn.sentiment.explanation import Departure, Explanation, LeaderWord, NeutralPole, Span, WordContribution
from tokendyn.sentiment.succession import take_out


def read_verdict(
    text: str,
    labels: tuple[str, ...],
    weights: Float[np.ndarray, " tokens"],
    spans: tuple[tuple[Span, ...], ...],
    has_neutral: bool,
    passage: Passage,
    *,
    alpha: float,
    gain: float,
    bias: float | Float[np.ndarray, " classes"],
    classes: tuple[Any, ...],
    of_text: float = 1.0,
) -> Explanation:
    """Return the explanation of the verdict ``gain sum_j w_j s_j + bias``, s the first coordinate.

    With more than two classes s has one coordinate for each class, and the predicted class is explained.

    Parameters
    ----------
    text, labels, weights, spans
        The text and its tokens.
    has_neutral
        Whether the last token is the neutral pole.
    passage
        The way of these tokens through the layers.
    alpha
        Step size of the layers.
    gain, bias, classes
        The decoder.
    of_text
        Share of the verdict that the words of the text have beside phantom ones.
    """
    words = len(labels) - has_neutral
    gain = gain * of_text
    biases = np.atleast_1d(np.asarray(bias, dtype=np.float64))
    all_parts = gain * passage.shares[:words, None] * passage.states[0, :words, : len(biases)]
    scores = np.array([float(np.sum(column)) for column in np.ascontiguousarray(all_parts.T)]) + biases
    chosen = int(np.argmax(scores))
    parts, logit = np.ascontiguousarray(all_parts[:, chosen]), float(scores[chosen])
    several = len(biases) > 1
    by_class = [tuple(row) for row in all_parts.tolist()] if several else [()] * words
    probabilities = np.exp(scores - np.logaddexp.reduce(scores)) if several else np.exp(-np.logaddexp(0.0, -scores))
    self_led = passage.self_led.tolist()
    final = passage.leaders[-1].tolist() if len(passage.leaders) else list(range(len(labels)))
    followers = _followers(labels, words, final, self_led)
    counted = weights[:words] / weights.sum() if words else weights[:0]
    own = (gain * counted * passage.states[0, :words, chosen]).tolist()
    mass, value, part = (of_text * passage.shares).tolist(), passage.states[0, :, chosen].tolist(), parts.tolist()
    order = np.argsort(-np.abs(parts), kind="stable").tolist()
    leaders = tuple(
        LeaderWord(
            word=labels[j],
            spans=spans[j],
            mass=mass[j],
            value=value[j],
            contribution=part[j],
            own=own[j],
            followers=followers[j],
            by_class=by_class[j],
        )
        for j in order
        if self_led[j]
    )
    led_by = [None if own else labels[leader] for own, leader in zip(self_led, final, strict=True)]
    contributions = tuple(
        WordContribution(labels[j], spans[j], mass[j], value[j], part[j], led_by[j], by_class[j]) for j in order
    )
    verdict = chosen if several else int(logit > 0)
    removed, margins = take_out(
        passage.states[0], weights, words,
        alpha=alpha, layers=len(passage.leaders), gain=gain, bias=biases, verdict=verdict,
    )  # fmt: skip
    succession = tuple(
        Departure(labels[j], spans[j], margin) for j, margin in zip(removed.tolist(), margins.tolist(), strict=True)
    )
    unknown = int(weights[-1]) if has_neutral else 0
    others = parts[~passage.self_led[:words]]
    return Explanation(
        text=text,
        label=classes[verdict],
        probability=float(probabilities[chosen]),
        logit=logit,
        bias=float(biases[chosen]),
        classes=classes,
        leaders=leaders,
        neutral=_neutral(labels, has_neutral, unknown, mass, final, self_led, followers),
        residual=float(np.sum(others)),
        others=(float(others[others < 0.0].sum()), float(others[others > 0.0].sum())),
        contributions=contributions,
        succession=succession,
        known_words=int(np.sum(weights[:words])),
        unknown_words=unknown,
        note=_note(words, unknown),
        token_labels=labels,
        token_weights=weights,
        token_spans=spans,
        states=passage.states,
        token_leaders=passage.leaders,
        alpha=alpha,
        probabilities=tuple(probabilities.tolist()) if several else (),
        scores=tuple(scores.tolist()) if several else (),
        biases=tuple(biases.tolist()) if several else (),
    )


def _followers(labels: tuple[str, ...], words: int, final: list[int], self_led: list[bool]) -> list[tuple[str, ...]]:
    """Return for each token the words, not leaders themselves, that follow it at the last layer."""
    followers: list[list[str]] = [[] for _ in labels]
    for j in range(words):
        if not self_led[j]:
            followers[final[j]].append(labels[j])
    return [tuple(names) for names in followers]


def _neutral(
    labels: tuple[str, ...],
    has_neutral: bool,
    unknown: int,
    mass: list[float],
    final: list[int],
    self_led: list[bool],
    followers: list[tuple[str, ...]],
) -> NeutralPole:
    """Return what became of the neutral pole."""
    if not has_neutral:
        return NeutralPole(mass=0.0, words=0, followers=(), follows=None)
    follows = None if self_led[-1] else labels[final[-1]]
    return NeutralPole(mass[-1], unknown, followers[-1], follows)


def _note(words: int, unknown: int) -> str:
    """Say what is special about a verdict."""
    if words:
        return ""
    return f"no {'known ' if unknown else ''}word: the probability is that of the bias alone"
