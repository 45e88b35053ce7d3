"""Tokens whose columns have large offsets, tiny differences, or far different scales, against rational arithmetic."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from tokendyn import exact
from tokendyn.exact.check_certificate import main as check_alone
from tokendyn.exact.export import to_linear

pytestmark = pytest.mark.usefixtures("unchecked")

COLUMNS = {
    "ones near 1e15": lambda rng, n: 1e15 + rng.choice(50, n, replace=False),
    "last bits of 1e8": lambda rng, n: 1e8 + 2e-8 * rng.choice(200, n, replace=False),
    "times": lambda rng, n: 1.7e9 + rng.choice(10**6, n, replace=False) / 1000,
    "fractions on 1e12": lambda rng, n: -1e12 + rng.random(n),
    "normal": lambda rng, n: rng.normal(size=n),
    "small integers": lambda rng, n: rng.choice(9, n, replace=False) * 1.0,
    "tiny": lambda rng, n: 1e-300 * rng.normal(size=n),
    "huge": lambda rng, n: 1e300 * rng.normal(size=n),
    "subnormal": lambda rng, n: 5e-324 * rng.choice(99, n, replace=False),
}


def random_set(seed, names=None, values=4, sequences=14):
    """Return distinct token sets over a product of columns, so that no column alone tells the tokens apart."""
    rng = np.random.default_rng(seed)
    names = rng.choice(list(COLUMNS), rng.integers(2, 4)) if names is None else names
    tokens = np.array(list(itertools.product(*(COLUMNS[name](rng, values) for name in names))))
    chosen = {tuple(sorted(rng.choice(len(tokens), rng.integers(1, 5), replace=False))) for _ in range(sequences)}
    sets = [tokens[list(rows)] for rows in sorted(chosen)]
    return sets, rng.integers(0, 3, len(sets)).tolist(), tokens


def rational_label(model, tokens):
    """Return the labels of one sequence by a forward pass in Fractions, from the arrays of the weights alone."""
    w = {name: array.tolist() for name, array in model.weights.arrays().items()}
    (output,) = model.construction.outputs
    width = model.construction.dim
    rows = [[*map(Fraction, row), *[Fraction(0)] * (width - len(row))] for row in tokens.tolist()]
    for b in range(len(w["eta"])):
        for i, row in enumerate(rows):
            new = [Fraction(w["eta"][b]) * value for value in row]
            for u in range(w["units"][b], w["units"][b + 1]):
                h = Fraction(w["bias"][u])
                for e in range(w["in_starts"][u], w["in_starts"][u + 1]):
                    h += Fraction(w["in_weights"][e]) * row[w["in_channels"][e]]
                for e in range(w["out_starts"][u], w["out_starts"][u + 1]):
                    new[w["out_channels"][e]] += Fraction(w["out_weights"][e]) * max(h, Fraction(0))
            rows[i] = new
        if w["attends"][b]:
            keys = [Fraction(w["key_weights"][b]) * row[w["key_channels"][b]] for row in rows]
            queries = [Fraction(w["query_weights"][b]) * row[w["query_channels"][b]] for row in rows]
            moved = [row[:] for row in rows]
            for i, query in enumerate(queries):
                best = max(query * key for key in keys)
                leaders = [row for row, key in zip(rows, keys, strict=True) if query * key == best]
                for e in range(w["value_starts"][b], w["value_starts"][b + 1]):
                    mean = sum(row[w["value_in"][e]] for row in leaders) / len(leaders)
                    moved[i][w["value_out"][e]] += Fraction(w["value_weights"][e]) * mean
            rows = moved
    return {row[output] for row in rows}


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_random_sets_have_their_labels_and_no_stranger_is_known(first):
    for seed in range(first, first + 50):
        sets, labels, tokens = random_set(seed)
        model = exact.compile(sets, labels, strategy="narrow" if seed % 3 else "auto")
        assert model.predict(sets, backend="ragged") == labels
        number = {name: Fraction(code) for code, name in enumerate(model.labels)}
        for place in range(seed % 5, len(sets), 5):
            assert rational_label(model, sets[place]) == {number[labels[place]]}
        rng = np.random.default_rng(1000 + seed)
        given = {frozenset(map(tuple, rows.tolist())) for rows in sets}
        strangers = [tokens[rng.choice(len(tokens), 3, replace=False)] for _ in range(20)]
        strangers += [np.nextafter(rows, np.inf) for rows in sets]
        strangers = [rows for rows in strangers if frozenset(map(tuple, rows.tolist())) not in given]
        assert not model.is_known(strangers).any()
        assert model.is_known(sets).all()


@pytest.mark.parametrize("strategy", ["narrow", "fused", "strict", "fingerprint", "hat", "slab"])
def test_every_strategy_subtracts_the_offset(strategy):
    rng = np.random.default_rng(0)
    sets = [1e12 + rng.integers(0, 64, (2, 2)) / 64 for _ in range(6)]
    model = exact.compile(sets, [0, 1, 0, 1, 1, 0], strategy=strategy)
    assert model.predict(sets, backend="ragged") == [0, 1, 0, 1, 1, 0]
    assert model.certificate.verify(exact=True).passed
    certificate = model.certificate
    assert all(1e12 <= c < 1e12 + 1 for c, a in zip(certificate.centre, certificate.direction, strict=True) if a)


@pytest.mark.parametrize("attention", ["hardmax", "softmax"])
def test_all_forms_of_the_network_subtract_the_offset(attention, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    sets, labels, _ = random_set(3, ["ones near 1e15", "last bits of 1e8", "normal"])
    model = exact.compile(sets, labels, strategy="narrow", attention=attention)
    assert model.predict(sets, backend="dense") == labels
    layers = to_linear(model)
    model.to_onnx(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    for rows, label in zip(sets, labels, strict=True):
        mask = np.ones((1, len(rows)), bool)
        assert (layers(torch.from_numpy(rows[None])) == model.labels.index(label)).all()
        (output,) = session.run(None, {"tokens": rows[None], "mask": mask})
        assert (output == model.labels.index(label)).all()


def test_a_saved_model_keeps_the_centre_and_is_checked_alone(tmp_path):
    sets, labels, _ = random_set(5, ["ones near 1e15", "fractions on 1e12"])
    model = exact.compile(sets, labels, strategy="fused")
    model.save(tmp_path / "model")
    again = exact.load(tmp_path / "model")
    assert again.predict(sets, backend="ragged") == labels
    assert again.certificate.centre == model.certificate.centre
    assert np.array_equal(again.construction.plan.line.centre, model.construction.plan.line.centre)
    assert check_alone([str(tmp_path / "model"), "--quiet"]) == 0


def test_moves_within_the_radius_change_no_label():
    rng = np.random.default_rng(0)
    tokens = 1e6 + np.array(list(itertools.product(rng.random(6), rng.random(6))))
    sets = [tokens[rng.choice(36, 3, replace=False)] for _ in range(20)]
    labels = rng.integers(0, 3, 20).tolist()
    model = exact.compile(sets, labels, strategy="narrow", direction="sparse")
    assert any(model.certificate.centre)
    radius = model.certificate.radius_tokens
    assert radius > 0
    for _ in range(50):
        steps = [rng.normal(size=rows.shape) for rows in sets]
        moved = [
            rows + 0.999 * radius * step / np.linalg.norm(step, axis=1, keepdims=True)
            for rows, step in zip(sets, steps, strict=True)
        ]
        assert model.predict(moved, backend="ragged", abstain=False) == labels


def test_blocks_and_parameters_stay_linear():
    sets, labels, _ = random_set(7, ["ones near 1e15", "times", "normal"], sequences=60)
    model = exact.compile(sets, labels, strategy="narrow")
    assert model.stats.blocks <= 2 * len(sets) - 1
    assert model.stats.nonzeros <= 27 * model.stats.queries + 8 * 3 + 8


def test_a_refusal_names_the_columns_that_collide():
    tokens = np.array([[1e300, 0], [1e300, 1], [1e-300, 0], [1, 0], [0, 0]])
    with pytest.raises(exact.SeparationError, match=r"in column \d \(.* and .*\).*rank of its value"):
        exact.compile(tokens[:, None, :], range(5))
