import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published_leaders import published

from tokendyn.data.texts import small_reviews
from tokendyn.sentiment import find_words
from tokendyn.sentiment.routing import route, route_all
from tokendyn.sentiment.training import place
from tokendyn.sentiment.vocabulary import Ragged


@pytest.fixture(scope="module")
def corpus():
    return small_reviews()


@pytest.fixture(scope="module")
def model(corpus):
    return published().fit(corpus.texts, corpus.labels)


def plain_layers(tokens, alpha, layers):
    """The published forward pass, written as it stands: every word occurrence is a token."""
    z = np.array(tokens, dtype=np.float64)
    for _ in range(layers):
        scores = np.outer(z[:, 0], z[:, 0]) + np.outer(z[:, 1], z[:, 1])
        led = scores >= scores.max(axis=1, keepdims=True)
        z = z + alpha / (1 + alpha) * (np.stack([z[row].mean(axis=0) for row in led]) - z)
    return z


def gaussian(seed, n):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, 2)), generator.integers(1, 4, size=n).astype(np.float64)


@given(st.integers(0, 2**32), st.integers(1, 30), st.sampled_from([0.1, 1.0, 3.0]), st.integers(0, 9))
def test_a_token_of_weight_m_acts_as_m_equal_tokens(seed, n, alpha, layers):
    positions, weights = gaussian(seed, n)
    passage = route(positions, weights, alpha, layers)
    repeated = np.repeat(positions, weights.astype(int), axis=0)
    final = plain_layers(repeated, alpha, layers)
    np.testing.assert_allclose(np.repeat(passage.states[-1], weights.astype(int), axis=0), final, atol=1e-12)
    np.testing.assert_allclose(passage.shares @ positions, final.mean(axis=0), atol=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(0, 9))
def test_shares_are_a_partition_of_one_and_give_the_mean(seed, n, layers):
    generator = np.random.default_rng(seed)
    positions = generator.integers(-2, 3, size=(n, 2)) / 2.0  # a lattice: many ties, duplicates, zero tokens
    weights = generator.integers(1, 4, size=n).astype(np.float64)
    passage = route(positions, weights, 1.0, layers)
    assert np.all(passage.shares >= 0)
    assert abs(np.sum(passage.shares) - 1) < 1e-12
    mean = weights @ passage.states[-1] / np.sum(weights)
    np.testing.assert_allclose(passage.shares @ positions, mean, atol=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 25))
def test_leaders_and_ties_on_a_lattice_follow_the_canonical_rule(seed, n):
    positions = np.random.default_rng(seed).integers(-3, 4, size=(n, 2)).astype(np.float64)
    passage = route(positions, np.ones(n), 1.0, 1)
    scores = positions @ positions.T  # whole numbers: exact in any order
    led = scores == scores.max(axis=1, keepdims=True)
    assert passage.leaders[0].tolist() == led.argmax(axis=1).tolist()
    assert passage.ties[0].tolist() == led.sum(axis=1).tolist()
    assert passage.self_led.tolist() == np.diag(led).tolist()


@given(st.integers(0, 2**32), st.integers(2, 30))
def test_order_of_the_tokens_does_not_matter(seed, n):
    positions, weights = gaussian(seed, n)
    order = np.random.default_rng(seed + 1).permutation(n)
    straight, mixed = route(positions, weights, 1.0, 8), route(positions[order], weights[order], 1.0, 8)
    np.testing.assert_allclose(mixed.shares, straight.shares[order], atol=1e-13)
    assert order[mixed.leaders].tolist() == straight.leaders[:, order].tolist()


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_frozen_tokens_follow_whom_a_full_search_finds(seed, n):
    positions, weights = gaussian(seed, n)
    passage = route(positions, weights, 1.0, 12)
    for z, leader in zip(passage.states, passage.leaders, strict=False):
        scores = np.outer(z[:, 0], z[:, 0]) + np.outer(z[:, 1], z[:, 1])
        assert leader.tolist() == scores.argmax(axis=1).tolist()


@given(st.integers(0, 2**32), st.integers(2, 30))
def test_a_leader_stays_where_it_is(seed, n):
    positions, weights = gaussian(seed, n)
    passage = route(positions, weights, 1.0, 8)
    first = np.flatnonzero(passage.leaders[0] == np.arange(n))
    assert len(first) >= 1
    np.testing.assert_array_equal(passage.states[-1][first], positions[first])
    assert np.all(passage.self_led[first])


def test_two_tokens_by_hand():
    # (2, 0) leads (1, 0) by score 2 > 1 and itself; one layer at alpha = 1 moves the follower halfway.
    passage = route(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([3.0, 1.0]), 1.0, 1)
    assert passage.leaders.tolist() == [[1, 1]]
    assert passage.states[1].tolist() == [[1.5, 0.0], [2.0, 0.0]]
    assert passage.shares.tolist() == [0.375, 0.625]


def test_many_texts_at_once_agree_with_one_at_a_time(rng):
    points = place(rng.normal(size=40), 2.0, 0.1)
    sizes = rng.integers(0, 12, size=30)
    words = np.concatenate([np.sort(rng.permutation(40)[:size]) for size in sizes]).astype(np.int32)
    counts = rng.integers(1, 4, size=len(words)).astype(np.float64)
    neutral = rng.integers(0, 3, size=30).astype(np.float64)
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    ragged = Ragged(bounds, words, counts, neutral, neutral + sizes)
    shares, leads = route_all(ragged, points, 1.0, 8)
    for row in range(30):
        own = slice(ragged.indptr[row], ragged.indptr[row + 1])
        numbers, weights = words[own], counts[own]
        if neutral[row]:
            numbers, weights = np.append(numbers, 40), np.append(weights, neutral[row])
        passage = route(points[numbers], weights, 1.0, 8)
        known = own.stop - own.start
        assert shares[own].tolist() == passage.shares[:known].tolist()
        assert leads[row] == np.sum(passage.self_led[:known])


def logit_by_torch(values, points, weights, alpha, layers, gain):
    """A dense torch forward pass whose argmax carries no gradient."""
    z = torch.stack([values, torch.from_numpy(points[:, 1])], dim=1)
    for _ in range(layers):
        leader = (z.detach() @ z.detach().T).argmax(dim=1)
        z = z + alpha / (1 + alpha) * (z[leader] - z)
    return gain * (torch.from_numpy(weights) @ z[:, 0]) / float(weights.sum())


@pytest.mark.parametrize("seed", range(5))
def test_gain_times_share_is_the_gradient_of_the_logit(seed):
    generator = np.random.default_rng(seed)
    points = place(generator.normal(size=30), 2.0, 0.2)
    weights = generator.integers(1, 4, size=31).astype(np.float64)
    values = torch.tensor(points[:, 0], requires_grad=True)
    logit_by_torch(values, points, weights, 1.0, 8, 20.0).backward()
    passage = route(points, weights, 1.0, 8)
    np.testing.assert_allclose(20.0 * passage.shares, values.grad.numpy(), atol=1e-12)


def test_the_gradient_agrees_with_finite_differences_through_the_placement(rng):
    values, weights = rng.normal(size=12), np.ones(13)

    def logit(s):
        points = place(s, 2.0, 0.2)
        return 20.0 * plain_layers(points, 1.0, 8)[:, 0].mean()

    shares = route(place(values, 2.0, 0.2), weights, 1.0, 8).shares
    for j in range(12):
        step = np.zeros(12)
        step[j] = 1e-6
        slope = (logit(values + step) - logit(values - step)) / 2e-6
        assert slope == pytest.approx(20.0 * shares[j], abs=1e-6)


def test_the_published_forward_pass_over_every_word_gives_the_logit(model, corpus):
    number = {word: j for j, word in enumerate(model.words_)}
    logits = model.decision_function(corpus.texts[:100])
    for text, logit in zip(corpus.texts[:100], logits, strict=True):
        tokens = [model.embedding_[number.get(word, len(number))] for word, _, _ in find_words(text)]
        final = plain_layers(tokens, model.alpha, model.layers)
        assert final.mean(axis=0) @ model.decoder_ + model.intercept_ == pytest.approx(logit, abs=1e-9)


def test_token_sets_give_the_logit_too(model, corpus):
    for text in corpus.texts[:20]:
        tokens = model.tokens_of(text)
        repeated = np.repeat(tokens.positions, tokens.weights.astype(int), axis=0)
        final = plain_layers(repeated, model.alpha, model.layers).mean(axis=0)
        assert final @ model.decoder_ + model.intercept_ == pytest.approx(model.explain(text).logit, abs=1e-9)
        for word, spans in zip(tokens.words, tokens.spans, strict=True):
            assert word == "neutral" or all(text[a:b].lower() == word for a, b in spans)


def test_strong_words_stand_farther_out_and_the_pole_is_upright():
    points = place(np.array([0.1, -1.0, 0.5]), 2.0, 0.2)
    radii = np.linalg.norm(points[:-1], axis=1)
    assert radii[1] > radii[2] > radii[0]
    # Ranks of .1, 1 and .5 are 1/6, 5/6 and 1/2: factors e^(-.2/3), e^(.2/3) and 1.
    heights = [3.99**0.5 * math.exp(-0.2 / 3), 3**0.5 * math.exp(0.2 / 3), 3.75**0.5, 2.0]
    np.testing.assert_allclose(points, np.column_stack([[0.1, -1.0, 0.5, 0.0], heights]), rtol=1e-15)
    # Words beyond the radius lie on the axis; ties of strength rank in their order; vectors by their norm.
    assert place(np.array([3.0, -0.0]), 2.0, 0.2)[0].tolist() == [3.0, 0.0]
    flat = place(np.array([1.0, -1.0]), 2.0, 0.4)[:2, 1]
    np.testing.assert_allclose(flat, 3**0.5 * np.exp([-0.1, 0.1]), rtol=1e-15)
    vectors = place(np.array([[0.6, 0.8], [0.3, -0.4]]), 2.0, 0.4)
    np.testing.assert_allclose(vectors[:2, 2], np.sqrt([3, 3.75]) * np.exp([0.1, -0.1]), rtol=1e-15)
    np.testing.assert_array_equal(vectors[:, :2], [[0.6, 0.8], [0.3, -0.4], [0.0, 0.0]])
