"""Which words have to go for a verdict to turn, against the classifier itself on texts without them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from published_leaders import published

from tokendyn.data.texts import small_reviews
from tokendyn.dynamics import Layer
from tokendyn.sentiment import find_words, succession
from tokendyn.sentiment.routing import route
from tokendyn.sentiment.succession import take_out


@pytest.fixture(scope="module")
def corpus():
    return small_reviews()


@pytest.fixture(scope="module")
def model(corpus):
    return published().fit(corpus.texts, corpus.labels)


def margin(positions, weights, layers, gain, bias, verdict):
    """The margin by the layers themselves, all run again."""
    dim = positions.shape[1]
    mean = np.zeros(dim)
    if len(weights):
        mean = np.average(route(positions, weights, 1.0, layers).states[-1], axis=0, weights=weights)
    if len(bias) == 1:
        return (1 if verdict else -1) * (gain * mean[0] + bias[0])
    scores = gain * mean[: len(bias)] + bias
    return scores[verdict] - max(score for k, score in enumerate(scores) if k != verdict)


def case(seed, tokens, classes):
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(tokens, 2 if classes == 2 else classes + 1)).round(rng.integers(1, 4))
    bias = rng.normal(size=1 if classes == 2 else classes) / 2
    return positions, rng.integers(1, 4, size=tokens).astype(float), bias


@given(st.integers(0, 2**32), st.integers(1, 14), st.integers(2, 4), st.integers(0, 5), st.booleans())
def test_each_margin_is_that_of_the_remaining_tokens(seed, tokens, classes, layers, neutral):
    positions, weights, bias = case(seed, tokens, classes)
    words = tokens - (neutral and tokens > 1)
    kwargs = {"gain": 3.0, "bias": bias, "verdict": classes - 1}
    order, margins = take_out(positions, weights, words, alpha=1.0, layers=layers, **kwargs)
    assert len(set(order.tolist())) == len(order)
    assert np.all(order < words)
    left = np.ones(tokens, dtype=bool)
    for token, found in zip(order, margins, strict=True):
        left[token] = False
        assert found == pytest.approx(margin(positions[left], weights[left], layers, **kwargs), abs=1e-9)


@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(2, 3), st.integers(0, 4))
def test_the_first_word_that_leads_nobody_is_never_better_left(seed, tokens, classes, layers):
    """No word that leads no other would lower the margin more than the word that goes first."""
    positions, weights, bias = case(seed, tokens, classes)
    kwargs = {"gain": 3.0, "bias": bias, "verdict": 0}
    order, margins = take_out(positions, weights, tokens, alpha=1.0, layers=layers, **kwargs)
    passage = route(positions, weights, 1.0, layers)
    leading = {j for row in passage.states[:-1] for j in leads_others(row)}
    reached = margins[0] if len(order) else margin(positions, weights, layers, **kwargs)
    for j in set(range(tokens)) - leading:
        left = np.arange(tokens) != j
        assert reached <= margin(positions[left], weights[left], layers, **kwargs) + 1e-9


def exact_margin(positions, weights, layers, gain, bias, verdict):
    """The margin of two classes by layers in rationals, alpha = 1."""
    z = [[Fraction(x) for x in row] for row in positions]
    p = [Fraction(x) for x in weights]
    for _ in range(layers):
        ends = []
        for place in z:
            scores = [sum(a * b for a, b in zip(place, other, strict=True)) for other in z]
            led = [j for j, score in enumerate(scores) if score == max(scores)]
            mass = sum(p[j] for j in led)
            ends.append([(x + sum(p[j] * z[j][k] for j in led) / mass) / 2 for k, x in enumerate(place)])
        z = ends
    first = sum(a * row[0] for a, row in zip(p, z, strict=True)) / sum(p) if p else 0
    return (1 if verdict else -1) * (gain * float(first) + bias[0])


@given(st.integers(0, 2**32), st.integers(2, 9), st.integers(1, 5), st.integers(0, 1))
@example(39, 8, 3, 0)
def test_margins_of_tied_tokens_are_those_of_exact_arithmetic(seed, tokens, layers, verdict):
    rng = np.random.default_rng(seed)
    positions = rng.integers(-3, 4, size=(tokens, 2)) / rng.choice([1.0, 3.0, 10.0])
    weights, kwargs = rng.integers(1, 4, size=tokens).astype(float), {"gain": 3.0, "bias": np.zeros(1)}
    order, margins = take_out(positions, weights, tokens, alpha=1.0, layers=layers, verdict=verdict, **kwargs)
    left = np.ones(tokens, dtype=bool)
    for token, found in zip(order, margins, strict=True):
        left[token] = False
        right = exact_margin(positions[left].tolist(), weights[left].tolist(), layers, verdict=verdict, **kwargs)
        assert found == pytest.approx(right, abs=1e-9)


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(2, 4), st.integers(1, 5))
def test_the_core_takes_out_the_same_words_as_the_compiled_kernel(seed, tokens, classes, layers):
    positions, weights, bias = case(seed, tokens, classes)
    kwargs = {"gain": 3.0, "bias": bias, "verdict": 0}
    directions, offsets = succession._against_others(positions.shape[1], **kwargs)
    compiled = take_out(positions, weights, tokens, alpha=1.0, layers=layers, **kwargs)
    stack = (Layer(1.0),) * layers
    core = succession._Tied(positions, weights, stack, directions, offsets).take_out(tokens, tokens)
    np.testing.assert_array_equal(compiled[0], core[0])
    np.testing.assert_allclose(compiled[1], core[1], rtol=0, atol=1e-9)


def leads_others(positions):
    scores = sum(np.multiply.outer(column, column) for column in positions.T)
    led = scores >= scores.max(axis=1, keepdims=True)
    np.fill_diagonal(led, val=False)
    return np.flatnonzero(led.any(axis=0)).tolist()


def test_a_second_leader_takes_over():
    """Without the first leader its followers go to the second, so the verdict hardly falls; by hand."""
    positions = np.array([[1.9, 0.5], [1.8, 0.6], [-1.0, 1.0]])
    order, margins = take_out(
        positions, np.ones(3), 3, alpha=1.0, layers=1, gain=1.0, bias=np.zeros(1), verdict=1
    )  # fmt: skip
    assert order.tolist() == [0, 1]
    assert margins == pytest.approx([(1.8 - 1.0) / 2, -1.0])


def test_the_verdict_turns_on_the_text_without_the_words(model, corpus):
    turned = 0
    for text in corpus.texts[:60]:
        why = model.explain(text)
        side = 1 if why.label == model.classes_[1] else -1
        gone = {gone.word for gone in why.succession}
        rest = "".join(" " if word in gone else text[start:end] + " " for word, start, end in find_words(text))
        assert side * model.decision_function([rest])[0] == pytest.approx(why.succession[-1].margin, abs=1e-9)
        turned += why.turns
        assert why.turns == any(gone.margin < 0 for gone in why.succession)
        assert (why.succession[-1].margin < 0) == (model.predict([rest])[0] != why.label)
    assert turned > 50


def test_an_explanation_without_known_words_has_no_succession(model):
    why = model.explain("qqqq zzzz")
    assert why.succession == ()
    assert not why.turns
    assert why.to_dict()["succession"] == []
