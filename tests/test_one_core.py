"""Every system computes what the core computes: the same bits, or the rounding that its module lists."""

import numpy as np
import pytest
from exact_data import gauss, vocabulary
from published_leaders import published

from tokendyn import exact
from tokendyn.attention import Head, attend, attention_weights, softmax_weights
from tokendyn.data.texts import small_reviews
from tokendyn.dynamics import Layer, RaggedTokens, run, run_ragged
from tokendyn.exact import ragged as exact_ragged
from tokendyn.forecast.network import Network, forward
from tokendyn.forecast.rollout_kernels import attend as rolled_attention

EPS = float(np.finfo(np.float64).eps)


def lattice(sequences=30, dim=3, seed=0):
    """Sets of lattice points: equal coordinates, tokens that many sequences share, and ties in every block."""
    rng = np.random.default_rng(seed)
    sets = {tuple(sorted(map(tuple, rng.integers(-2, 3, (rng.integers(1, 6), dim)).tolist()))) for _ in range(90)}
    chosen = [np.unique(np.array(each, dtype=float), axis=0) for each in sorted(sets)][:sequences]
    kept = list({each.tobytes(): each for each in chosen}.values())
    return kept, rng.integers(0, 2, len(kept)).tolist()


def both_ways(model, tokens):
    """Return the residuals after each block by the core and by the fast kernel, and the ties that the core met."""
    padded = np.zeros((len(tokens), model.construction.dim))
    padded[:, : tokens.shape[1]] = tokens
    found = run(padded, model.layers())
    return found.states[1:], exact_ragged.trace(model.weights, model.construction.dim, tokens, model.beta), found


CASES = [(data, name) for data in (gauss, vocabulary, lattice) for name in ("narrow", "fused", "strict", "fingerprint")]


@pytest.mark.parametrize(("data", "strategy"), [*CASES, (gauss, "slab"), (gauss, "hat")])
def test_exact_blocks_are_layers_of_the_core(data, strategy):
    sequences, labels = data(sequences=20)
    model = exact.compile(sequences, labels, strategy=strategy)
    forms = model.canonical(sequences).sequences
    for j in range(len(forms)):
        tokens = forms.tokens[forms.starts[j] : forms.starts[j + 1]]
        core, fast, _ = both_ways(model, tokens)
        np.testing.assert_allclose(core, fast, rtol=64 * EPS * len(tokens), atol=64 * EPS * np.abs(fast).max())
        outputs = list(model.construction.outputs)
        if strategy in ("narrow", "fused"):  # a tied value is a distance of 0 on hits: nothing rounds
            assert np.array_equal(core[-1][:, outputs], fast[-1][:, outputs])
        assert np.array_equal(np.rint(core[-1][:, outputs]), np.rint(fast[-1][:, outputs]))


@pytest.mark.parametrize("data", [gauss, lattice])
def test_a_deep_construction_has_the_bits_of_the_core_where_at_most_two_tokens_tie(data):
    sequences, labels = data(sequences=20)
    model = exact.compile(sequences, labels, strategy="narrow")
    forms = model.canonical(sequences).sequences
    compared = 0
    for j in range(len(forms)):
        tokens = forms.tokens[forms.starts[j] : forms.starts[j + 1]]
        core, fast, found = both_ways(model, tokens)
        uniform = np.array([layer.heads[0].query.any() for layer in model.layers()])
        if (found.tie_counts[uniform] <= 2).all():
            assert np.array_equal(core, fast)
            compared += 1
    assert compared > 0


def test_exact_softmax_blocks_are_softmax_layers_of_the_core():
    sequences, labels = gauss(sequences=10)
    model = exact.compile(sequences, labels, strategy="narrow", attention="softmax")
    for sequence in sequences:
        core, fast, _ = both_ways(model, np.unique(sequence, axis=0))
        np.testing.assert_allclose(core[-1], fast[-1], rtol=1e-9, atol=1e-9)


def test_a_classifier_is_words_a_ragged_run_and_a_linear_read_out():
    corpus = small_reviews()
    model = published(start_epochs=1, epochs=1).fit(corpus.texts, corpus.labels)
    tokens = [model.tokens_of(text) for text in corpus.texts[:150]]
    sets = RaggedTokens.of([each.positions for each in tokens])
    weights = np.concatenate([each.weights for each in tokens])
    ends = run_ragged(sets, [Layer(float(model.alpha))] * model.layers, weights=weights).last
    logits = []
    for number, each in enumerate(tokens):
        mean = each.weights @ ends[number] / each.weights.sum() if len(each.weights) else np.zeros(sets.dim)
        logits.append(float(mean @ model.decoder_ + model.intercept_))
    np.testing.assert_allclose(logits, model.decision_function(corpus.texts[:150]), rtol=0, atol=1e-10)
    for each, text in zip(tokens[:20], corpus.texts, strict=False):
        alone = run(each.positions, [Layer(float(model.alpha))] * model.layers, weights=each.weights)
        assert model.explain(text).states.tobytes() == alone.states.tobytes()


def network(rng, delays, width, keys=4):
    return Network(
        query=rng.normal(size=(keys, width)),
        query_bias=rng.normal(size=keys),
        key=rng.normal(size=(keys, width)),
        position=rng.normal(size=(delays, keys)),
        values=rng.normal(size=(delays, 3, width)),
        weights=rng.normal(size=(5, 3)),
        bias=rng.normal(size=5),
        activation="sin",
    )


def test_the_attention_of_a_forecaster_is_the_softmax_step_with_one_query(rng):
    net, tokens = network(rng, 6, 3), rng.normal(size=(40, 6, 3))
    tokens[::4] = np.round(tokens[::4])
    done = forward(net, tokens)
    step = attend(done.queries[:, None], done.keys, done.valued, inverse_temperature=1.0)
    np.testing.assert_allclose(step.means[:, 0], done.context, rtol=1e-12, atol=1e-13)
    scores = np.matmul(done.keys, done.queries[:, :, None])[:, :, 0]
    assert done.attention.tobytes() == softmax_weights(scores).tobytes()
    attention = np.empty(6)
    for sample in range(40):
        core = attention_weights(done.queries[sample, None], done.keys[sample], inverse_temperature=1.0)[0]
        np.testing.assert_allclose(done.attention[sample], core, rtol=1e-13)
        rolled_attention(attention, tokens[sample], net.query, net.query_bias, net.key, net.position)
        np.testing.assert_allclose(attention, core, rtol=1e-13)


def test_softmax_weights_of_tied_scores_are_equal_to_the_last_bit():
    assert softmax_weights(np.array([[0.1, 0.1, 0.1], [3.0, -1e300, 3.0]])).tolist() == [[1 / 3] * 3, [0.5, 0.0, 0.5]]
    weighted = softmax_weights(np.array([1.0, 1.0]), 2.0, np.array([1.0, 3.0]))
    assert weighted.tolist() == [0.25, 0.75]


def test_the_head_of_a_model_file_is_a_head_of_the_core(rng):
    query, key = rng.normal(size=(2, 2, 3))
    tokens = rng.normal(size=(7, 3))
    scores = (tokens @ query.T) @ (tokens @ key.T).T
    expected = softmax_weights(scores, 0.5) @ tokens
    found = Head(query=query, key=key, inverse_temperature=0.5).attend(tokens).means
    np.testing.assert_allclose(found, expected, rtol=1e-12)
