import dataclasses

import numpy as np
import pytest
import torch
from sklearn.base import clone

from tokendyn.attention import Head
from tokendyn.data.texts import small_reviews
from tokendyn.dynamics import Layer, run
from tokendyn.errors import BadInputError
from tokendyn.rivals.sentiment import PublishedHardmax
from tokendyn.rivals.sentiment import published_kernels as kernels
from tokendyn.rivals.sentiment.published import Network, loss_gradient, merge_words, run_texts
from tokendyn.studies.sentiment.leading_words import in_file_order, leader_table, text_leaders, without_stop_words


def torch_logits(numbers, mask, embedding, decoder, bias, alpha, layers, temperature):
    """The model as one writes it down: repeated words are several tokens, texts are padded."""
    z = embedding[numbers]
    for _ in range(layers):
        scores = (z @ z.transpose(1, 2) / temperature).masked_fill(~mask[:, None, :], -torch.inf)
        z = (z + alpha * torch.softmax(scores, dim=-1) @ z) / (1 + alpha)
    mean = (z * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return mean @ decoder + bias


def padded(lists, width=None, filler=0):
    width = width or max(map(len, lists))
    numbers = np.full((len(lists), width), filler)
    for row, numbered in zip(numbers, lists, strict=True):
        row[: len(numbered)] = numbered
    return torch.tensor(numbers), torch.tensor([[j < len(one) for j in range(width)] for one in lists])


def random_texts(rng, texts=12, words=25, longest=40):
    lists = [rng.integers(0, words, size=rng.integers(1, longest)) for _ in range(texts)]
    counted = merge_words([" ".join(f"w{n}" for n in one) for one in lists], longest)
    number = np.array([int(name[1:]) for name in counted.names], dtype=np.int32)
    merged = dataclasses.replace(counted, words=number[counted.words])
    return lists, merged, rng.random(texts) < 0.5


def random_network(rng, dim, words=25, scale=1.0, alpha=1.0, layers=8):
    return Network(scale * rng.normal(size=(words, dim)), rng.normal(size=dim), 0.3, alpha, layers)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6, 7, 8, 16])
@pytest.mark.parametrize(
    ("scale", "temperature", "alpha"), [(1.0, 1e-3, 1.0), (0.1, 1e-3, 1.0), (0.02, 1e-3, 2.0), (1.0, 0.5, 0.7)]
)
def test_forward_and_gradient_are_those_of_torch(rng, dim, scale, temperature, alpha):
    lists, merged, positive = random_texts(rng)
    network = random_network(rng, dim, scale=scale, alpha=alpha, layers=8 if scale < 1 or temperature < 0.1 else 3)
    embedding, decoder = (torch.tensor(part, requires_grad=True) for part in (network.embedding, network.decoder))
    bias = torch.tensor(network.bias, dtype=torch.float64, requires_grad=True)
    numbers, mask = padded(lists)
    expected = torch_logits(numbers, mask, embedding, decoder, bias, alpha, network.layers, temperature)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(expected, torch.tensor(positive, dtype=torch.float64))
    loss.backward()
    rows = np.arange(len(lists))
    logits, _ = run_texts(merged, rows, network, temperature)
    found = loss_gradient(merged, rows, positive, network, temperature)
    np.testing.assert_allclose(logits, expected.detach().numpy(), rtol=0, atol=1e-8)
    assert found.loss == pytest.approx(loss.item(), abs=1e-8)
    for ours, theirs in ((found.embedding, embedding), (found.decoder, decoder), (np.array(found.bias), bias)):
        reference = theirs.grad.numpy()
        np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-8 * max(1.0, np.abs(reference).max()))


@pytest.mark.parametrize("dim", [5, 8, 16])
def test_scores_kept_from_the_layer_before_are_those_computed_anew(rng, dim):
    n, before = 37, rng.normal(size=(dim, 48))
    before[:, n:] = np.nan
    after, moved = before.copy(), np.array([0, 7, 36])
    after[:, moved] = rng.normal(size=(dim, 3))
    kept, anew = np.full((48, 48), np.nan), np.full((48, 48), np.nan)
    tops = np.empty((2, 48))
    kernels.score_all(before, n, kept, tops[0])
    kernels.score_moved(after, n, kept, tops[0], moved)
    kernels.score_all(after, n, anew, tops[1])
    assert np.array_equal(kept[:n, :n], anew[:n, :n])
    assert np.array_equal(tops[0, :n], tops[1, :n])


def test_the_gradient_is_the_slope_of_the_loss(rng):
    _, merged, positive = random_texts(rng)
    network, rows = random_network(rng, 2, scale=0.1), np.arange(12)
    found = loss_gradient(merged, rows, positive, network, 1e-2)
    way = rng.normal(size=network.embedding.shape)
    losses = [
        loss_gradient(merged, rows, positive, Network(network.embedding + e * way, network.decoder, 0.3, 1.0, 8), 1e-2)
        for e in (-1e-6, 1e-6)
    ]
    slope = (losses[1].loss - losses[0].loss) / 2e-6
    assert np.sum(found.embedding * way) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_padding_neither_attends_nor_is_averaged(rng):
    lists, merged, _ = random_texts(rng)
    network = random_network(rng, 3)
    strong = np.vstack([network.embedding, np.full((1, 3), 50.0)])  # a filler that all would follow
    parts = [torch.tensor(part) for part in (strong, network.decoder)]
    wide, mask = padded(lists, width=200, filler=25)
    expected = torch_logits(wide, mask, *parts, network.bias, 1.0, 8, 1e-3).numpy()
    logits, _ = run_texts(merged, np.arange(12), network, 1e-3)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-8)
    alone = [run_texts(merged, np.array([row]), network, 1e-3)[0][0] for row in range(12)]
    assert np.array_equal(alone, logits)


def test_one_step_of_adam_is_that_of_torch(rng):
    point = torch.tensor(rng.normal(size=7), requires_grad=True)
    ours, gradient, first, second = point.detach().numpy().copy(), np.zeros(7), np.zeros(7), np.zeros(7)
    adam = torch.optim.Adam([point], lr=0.03)
    for taken in range(1, 6):
        gradient[:] = rng.normal(size=7)
        point.grad = torch.tensor(gradient.copy())
        adam.step()
        kernels.adam(ours, gradient, first, second, 0.03, taken)
        np.testing.assert_allclose(ours, point.detach().numpy(), rtol=0, atol=1e-13)
        assert not gradient.any()


@pytest.fixture(scope="module")
def corpus():
    return small_reviews()


@pytest.fixture(scope="module")
def model(corpus):
    return PublishedHardmax(dim=4, epochs=12, learning_rate=0.05, batch_size=16).fit(corpus.texts, corpus.labels)


@pytest.mark.parametrize("dim", [2, 5, 16])
def test_hardmax_inference_is_the_token_dynamics(corpus, dim):
    model = PublishedHardmax(dim=dim, epochs=1, alpha=0.8).fit(corpus.texts, corpus.labels)
    network = model.network_
    logits, leads = model.decision_function(corpus.texts[:20]), model.leader_counts(corpus.texts[:20])
    for text, logit, count in zip(corpus.texts[:20], logits, leads, strict=True):
        words, tokens = model.tokens_of(text)
        way = run(tokens, [Layer(alpha=0.8, heads=(Head(),))] * 8)
        assert way.states[-1].mean(axis=0) @ network.decoder + network.bias == pytest.approx(logit, abs=1e-12)
        followed = way.leaders[-1, 0]
        assert count == len({words[i] for i in range(len(words)) if words[followed[i]] == words[i]})


def test_softmax_inference_nears_hardmax_inference(model, corpus):
    soft = clone(model).set_params(inference="softmax").fit(corpus.texts, corpus.labels)
    assert np.mean(soft.predict(corpus.texts) == model.predict(corpus.texts)) > 0.9


def test_held_out_reviews_of_the_small_corpus_are_mostly_right(corpus):
    texts, labels = np.array(corpus.texts, dtype=object), np.array(corpus.labels)
    order = np.random.default_rng(1).permutation(len(texts))
    test, train = np.split(order, [len(texts) // 4])
    model = PublishedHardmax(dim=8, epochs=15, learning_rate=0.05, batch_size=16).fit(texts[train], labels[train])
    assert model.score(texts[test], labels[test]) > 0.7
    assert model.score(texts[train], labels[train]) > 0.85


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(model, corpus):
    again = clone(model).fit(corpus.texts, corpus.labels)
    other = clone(model).set_params(random_state=1, epochs=1).fit(corpus.texts, corpus.labels)
    assert np.array_equal(again.network_.embedding, model.network_.embedding)
    assert np.array_equal(again.decision_function(corpus.texts), model.decision_function(corpus.texts))
    assert not np.array_equal(other.decision_function(corpus.texts), model.decision_function(corpus.texts))


def test_the_record_names_the_best_epoch(model, corpus):
    record = model.training_
    assert len(record["epochs"]) == 12
    assert record["best"]["validation_accuracy"] == max(entry["validation_accuracy"] for entry in record["epochs"])
    assert record["training_texts"] + record["validation_texts"] == len(corpus)
    seen = []
    clone(model).set_params(epochs=2).fit(corpus.texts, corpus.labels, progress=lambda *a: seen.append(a[:2]))
    assert seen == [(1, 2), (2, 2)]


def test_a_text_is_cut_and_unknown_words_are_left_out(model):
    known = " ".join(model.words_[:3])
    logits = model.decision_function([known, known + " zzqxv", "", "zzqxv", "zzqxv " * 128 + known])
    assert logits[0] == logits[1]
    assert logits[2:].tolist() == [model.network_.bias] * 3
    assert model.leader_counts(["", "zzqxv"]).tolist() == [0, 0]
    assert model.decision_function([]).shape == (0,)
    np.testing.assert_allclose(model.predict_proba([known, ""]).sum(axis=1), 1.0)


def test_one_layer_less_or_none_still_works(corpus):
    bag = PublishedHardmax(layers=0, epochs=1).fit(corpus.texts, corpus.labels)
    words, tokens = bag.tokens_of(corpus.texts[0])
    assert bag.leader_counts(corpus.texts[:1])[0] == len(set(words))
    expected = tokens.mean(axis=0) @ bag.network_.decoder + bag.network_.bias
    assert bag.decision_function(corpus.texts[:1])[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"dim": 0}, "dim=0; expected a whole number of at least 1"),
        ({"temperature": 0}, "temperature=0; expected a positive number"),
        ({"alpha": -1.0, "epochs": 2.5}, "2 problems"),
        ({"clip": 0.0}, "clip=0.0; expected a positive number"),
        ({"inference": "soft"}, "expected 'hardmax' or 'softmax'"),
        ({"validation_fraction": 1.0}, "between 0 and 1"),
    ],
)
def test_parameters_out_of_range_are_named(corpus, unchecked, parameters, said):
    with pytest.raises(BadInputError, match=said):
        PublishedHardmax(**parameters).fit(corpus.texts, corpus.labels)


def test_texts_and_labels_that_cannot_be_used_are_refused(corpus):
    with pytest.raises(BadInputError, match="one string"):
        PublishedHardmax().fit("a text", ["pos"])
    with pytest.raises(BadInputError, match="4 texts and 3 labels"):
        PublishedHardmax().fit(["a", "b", "c", "d"], [0, 1, 0])
    with pytest.raises(BadInputError, match=r"texts\[1\] is NaN"):
        PublishedHardmax().fit(["a", float("nan"), "c", "d"], [0, 1, 0, 1])
    with pytest.raises(BadInputError, match="holds a word"):
        PublishedHardmax().fit(["", "!", "", "?"], [0, 1, 0, 1])


def test_the_leaders_of_a_text_are_those_that_the_model_counts(corpus):
    model = PublishedHardmax(dim=3, layers=4, epochs=2).fit(corpus.texts, corpus.labels)
    found = [text_leaders(model, text) for text in corpus.texts[:60]]
    assert [int(one.last.sum()) for one in found] == model.leader_counts(corpus.texts[:60]).tolist()
    words, tokens = model.tokens_of(corpus.texts[0])
    longest = [token @ token >= (tokens @ token).max() - 1e-12 for token in tokens]
    assert {word for word, leads in zip(words, longest, strict=True) if leads} == {
        word for word, leads in zip(found[0].words, found[0].first, strict=True) if leads
    }


def test_a_gradient_is_clipped_only_beyond_its_limit(corpus):
    settings = {"epochs": 2, "learning_rate": 0.01}
    free, wide, tight = (
        PublishedHardmax(**settings, clip=clip).fit(corpus.texts, corpus.labels).network_.embedding
        for clip in (None, 1e9, 1e-3)
    )
    assert np.array_equal(free, wide)
    assert not np.array_equal(free, tight)


def test_a_table_of_leaders_has_a_row_a_dimension_and_its_words_decide(corpus):
    parts = in_file_order(without_stop_words(corpus))
    assert "the" not in " ".join(parts.training.texts).split()
    measured = leader_table(parts, (2, 3), epochs=20, learning_rate=0.03)
    assert measured.table["dim"].tolist() == [2, 3]
    assert (measured.table["leaders, least"] <= measured.table["leaders, mean"]).all()
    assert all(count <= len(parts.test) for words in measured.frequent.values() for _, count in words)
