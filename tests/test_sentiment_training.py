"""Training against torch and plain loops: the optimiser, the heads, one whole run, the jitter."""

import numpy as np
import pytest
import torch

from tokendyn.sentiment.heads import Logistic, Softmax
from tokendyn.sentiment.routing import route_all
from tokendyn.sentiment.training import Recipe, _Adam, jitter_for, place, train
from tokendyn.sentiment.vocabulary import Ragged

RECIPE = Recipe(
    layers=0, alpha=1.0, radius=2.0, gain=3.0, leaders=2.0, start_epochs=3, epochs=0, start_learning_rate=0.05,
    learning_rate=0.02, batch_size=4, word_dropout=0.25,
)  # fmt: skip


def texts(seed, count=14, words=9):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 6, size=count)
    numbers = np.concatenate([np.sort(rng.permutation(words)[:size]) for size in sizes]).astype(np.int32)
    counts = rng.integers(1, 4, size=len(numbers)).astype(np.float64)
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    neutral = rng.integers(0, 3, size=count).astype(np.float64)
    return Ragged(bounds, numbers, counts, neutral, neutral + np.diff(np.append(0, np.cumsum(counts))[bounds]))


def bag(ragged, keep=None):
    """Return the shares of the words of each text, (texts, words), when nothing moves."""
    keep = np.ones(len(ragged.words), dtype=bool) if keep is None else keep
    table = np.zeros((len(ragged), 9))
    for row in range(len(ragged)):
        own = slice(ragged.indptr[row], ragged.indptr[row + 1])
        table[row, ragged.words[own]] = ragged.counts[own] * keep[own]
        total = table[row].sum() + ragged.neutral[row]
        table[row] /= total or 1.0
    return table


@pytest.mark.parametrize("steps", [None, 7])
def test_the_optimiser_is_adam_whose_rate_falls_linearly_if_asked(steps, rng):
    gradients = rng.normal(size=(7, 5)) * 10.0 ** rng.integers(-6, 3, size=(7, 5))
    ours = _Adam(np.ones(5), 0.1, steps)
    point = torch.ones(5, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.Adam([point], lr=0.1, betas=(0.9, 0.999), eps=1e-8)
    for taken, gradient in enumerate(gradients):
        theirs.param_groups[0]["lr"] = 0.1 if steps is None else 0.1 * (1 - taken / steps)
        point.grad = torch.from_numpy(gradient)
        theirs.step()
        ours.step(gradient)
        np.testing.assert_allclose(ours.point, point.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_losses_and_gradients_are_those_of_torch(classes, weighted, rng):
    ragged, which = texts(0), rng.integers(0, classes, size=14)
    importance = rng.uniform(0.5, 2.0, size=14) if weighted else None
    head = Logistic(which, 3.0, importance) if classes == 2 else Softmax(which, 3, 3.0, importance)
    point = rng.normal(size=10 if classes == 2 else 30)
    rows = np.array([0, 2, 3, 7, 13])
    shares = route_all(ragged, place(head.values(point), 2.0, 0.1), 1.0, 0)[0]
    unknowns = torch.from_numpy(point.reshape(10, -1)).requires_grad_()
    scores = 3.0 * torch.from_numpy(bag(ragged)) @ unknowns[:-1] + unknowns[-1]
    scores = torch.cat([torch.zeros(14, 1), scores], dim=1) if classes == 2 else scores
    losses = torch.nn.functional.cross_entropy(scores, torch.from_numpy(which), reduction="none")
    right, found = head.judge(point, ragged, shares, rows)
    np.testing.assert_allclose(found, losses.detach().numpy()[rows], rtol=1e-10)
    np.testing.assert_array_equal(right, (scores.argmax(dim=1).numpy() == which)[rows])
    weights = torch.from_numpy(np.ones(14) if importance is None else importance)
    (losses * weights)[rows].mean().backward()
    np.testing.assert_allclose(head.gradient(point, ragged, shares, rows), unknowns.grad.numpy().ravel(), atol=1e-12)


def test_before_training_the_biases_are_those_of_no_words_at_all():
    which, importance = np.array([0, 1, 1, 2]), np.array([1.0, 2.0, 4.0, 3.0])
    assert Logistic(which % 2, 3.0, importance).start(2).tolist() == [0, 0, np.log(6 / 4)]
    assert Logistic(which % 2, 3.0, None).start(2).tolist() == [0, 0, 0]
    logs = np.log([1.0, 6.0, 3.0])
    start = Softmax(which, 3, 3.0, importance).start(1)
    np.testing.assert_allclose(start, [0, 0, 0, *(logs - logs.mean())], atol=1e-15)
    head = Softmax(which, 3, 3.0, None)
    np.testing.assert_allclose(head.centred(np.array([1.0, 2, 6, 0, 0, 3])), [-2, -1, 3, -1, -1, 2])
    matrix, bias = head.decoder(np.array([1.0, 2, 6, 0, 0, 3]))
    assert (matrix.tolist(), bias.tolist()) == ([[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0]], [0, 0, 3])


def test_a_run_without_layers_is_logistic_regression_of_shares_by_adam():
    ragged, which = texts(1), np.random.default_rng(2).integers(0, 2, size=14)
    training, validation = np.arange(10), np.arange(10, 14)
    calls = []
    found = train(
        ragged, Logistic(which, 3.0, None), training, validation, 9, RECIPE, np.random.default_rng(5),
        lambda *call: calls.append(call),
    )  # fmt: skip
    rng, truth = np.random.default_rng(5), torch.from_numpy(which.astype(float))
    point = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([point], lr=0.05)

    def losses(unknowns, table):
        logits = 3.0 * torch.from_numpy(table) @ unknowns[:-1] + unknowns[-1]
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none"), logits

    candidates, record = [], []
    for epoch in range(1, 4):
        keep = rng.random(len(ragged.words), dtype=np.float32) >= 0.25
        order, table, iterates = rng.permutation(training), bag(ragged, keep), []
        for first in range(0, 10, 4):
            adam.zero_grad()
            losses(point, table)[0][order[first : first + 4]].mean().backward()
            adam.step()
            iterates.append(point.detach().clone())
        for candidate in (iterates[-1], sum(iterates) / 3):
            loss, logits = losses(candidate, bag(ragged))
            candidates.append(candidate.numpy())
            record.append({
                "stage": "start", "epoch": epoch,
                "validation_accuracy": pytest.approx(float(((logits > 0) == truth)[10:].double().mean())),
                "validation_loss": pytest.approx(float(loss[10:].mean()), rel=1e-9),
            })  # fmt: skip
    assert found.record == record
    best = max(
        range(6), key=lambda k: (record[k]["validation_accuracy"].expected, -record[k]["validation_loss"].expected)
    )
    assert (found.best, found.status) == (best, "completed")
    np.testing.assert_allclose(found.unknowns, candidates[best], rtol=1e-9, atol=1e-12)
    assert [call[:2] for call in calls] == [(1, 3), (2, 3), (3, 3)]


def test_the_jitter_is_where_the_number_of_leaders_falls_below_the_wanted_one(rng):
    ragged, values, rows = texts(3, count=40), rng.normal(size=9), np.arange(0, 40, 2)
    recipe = Recipe(**{**RECIPE.__dict__, "layers": 3, "leaders": 1.6})

    def leaders(jitter):
        return route_all(ragged, place(values, 2.0, jitter), 1.0, 3, rows=rows)[1][rows].mean()

    low, high = 0.0, 1.0
    for _ in range(12):
        low, high = ((low + high) / 2, high) if leaders((low + high) / 2) > 1.6 else (low, (low + high) / 2)
    assert 0 < low < high < 1
    assert jitter_for(1.6, values, ragged, rows, recipe) == (low + high) / 2
    assert jitter_for(100.0, values, ragged, rows, recipe) == 0.5**13
    assert jitter_for(0.0, values, ragged, rows, recipe) == 1 - 0.5**13
