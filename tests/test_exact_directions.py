"""Distinct tokens stay distinct on a line: lattices of every kind, wide scales, and refusals whose remedy works."""

from fractions import Fraction

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tokendyn import exact
from tokendyn.exact.directions import candidates

pytestmark = pytest.mark.usefixtures("unchecked")


def random_labels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2, count).tolist()


def right(model, tokens, labels):
    """Return whether the network itself, run in floats, gives every label."""
    return model.predict(tokens[:, None, :], backend="ragged") == labels


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("strategy", ["auto", "fused", "narrow", "fingerprint"])
def test_digits_with_random_labels_are_built_by_every_seed(strategy, seed):
    images = load_digits().data
    model = exact.compile(images[:, None, :], random_labels(1797), strategy=strategy, seed=seed)
    assert right(model, images, random_labels(1797))


@pytest.mark.parametrize("options", [{"dtype": "float32"}, {"attention": "softmax", "strategy": "fused"}], ids=str)
def test_digits_are_built_in_float32_and_with_softmax(options):
    images = load_digits().data
    assert right(exact.compile(images[:, None, :], random_labels(1797), **options), images, random_labels(1797))


def rows(kind):
    rng = np.random.default_rng(0)
    return {
        "bits": lambda: rng.integers(0, 2, (1000, 30)),
        "all bits": lambda: np.array([[k >> b & 1 for b in range(10)] for k in range(1024)]),
        "bytes": lambda: rng.integers(0, 256, (2000, 4)).astype(np.uint8),
        "one-hot": lambda: np.eye(300),
        "pixels": lambda: rng.integers(0, 256, (500, 784)) * (rng.random((500, 784)) < 0.2),
        "int8": lambda: rng.normal(0, 40, (3000, 16)).clip(-128, 127).astype(np.int8),
        "tenths": lambda: 0.1 * rng.integers(0, 5, (2000, 9)),
        "standardised": lambda: (rng.integers(0, 17, (1000, 20)) - 8.3) / 4.7,
        "large and small": lambda: rng.integers(0, 4, (500, 6)) * 10.0 ** np.array([250, -250, 3, 0, -3, 100]),
        "times": lambda: 1.7e9 + rng.integers(0, 1000, (800, 2)),
        "two columns alike": lambda: np.repeat(rng.integers(0, 50, (400, 2)), 2, axis=1),
    }[kind]()


@pytest.mark.parametrize(
    "kind",
    [
        *("bits", "all bits", "bytes", "one-hot", "pixels", "int8", "tenths", "standardised", "large and small"),
        *("times", "two columns alike"),
    ],
)
@pytest.mark.parametrize("strategy", ["auto", "fused", "narrow"])
def test_natural_lattices_are_built(kind, strategy):
    tokens = np.unique(rows(kind), axis=0)
    labels = random_labels(len(tokens))
    assert right(exact.compile(tokens[:, None, :], labels, strategy=strategy), tokens, labels)


@pytest.mark.parametrize("kind", ["bits", "bytes", "int8", "one-hot"])
def test_lines_of_lattices_do_not_round_and_part_all_tokens(kind):
    tokens = np.unique(rows(kind), axis=0).astype(float)
    lines = [line for line in candidates(tokens, "random", 0) if "random" in line.name][:3]
    for line in lines:
        assert line.error == 0
        assert len(np.unique(line.values)) == len(tokens)
        chosen = np.random.default_rng(0).integers(0, len(tokens), 20)
        for row, value in zip(tokens[chosen], line.values[chosen], strict=True):
            whole = sum((Fraction(a) * Fraction(x) for a, x in zip(line.direction, row, strict=True)), Fraction(0))
            assert whole == Fraction(value)


def test_coefficients_are_drawn_anew_where_tokens_meet(monkeypatch):
    from tokendyn.exact import directions

    # float32 leaves 12 bits for the coefficients: without repair some of 4,000 tokens meet on nearly every line.
    tokens = np.unique(np.random.default_rng(0).integers(0, 1000, (4000, 3)), axis=0).astype(np.float32)
    met = {}
    for repairs in (0, 24):
        monkeypatch.setattr(directions, "_REPAIRS", repairs)
        lines = [line for line, _ in zip(candidates(tokens, "random", 0), range(5), strict=False)]
        assert all(line.error == 0 for line in lines)
        met[repairs] = sum(int((np.diff(np.sort(line.values)) == 0).sum()) for line in lines)
    assert met[24] < met[0] / 2


def test_a_mixed_radix_parts_all_vectors_of_bits_in_float32():
    tokens = np.array([[k >> b & 1 for b in range(12)] for k in range(4096)], dtype=np.float32)
    (line,) = [line for line in candidates(tokens, "random", 0) if line.name == "mixed radix"]
    assert line.error == 0
    assert len(np.unique(line.values)) == 4096
    labels = random_labels(4096)
    assert right(exact.compile(tokens[:, None, :], labels, strategy="fused", dtype="float32"), tokens, labels)


@pytest.mark.parametrize("strategy", ["auto", "fused", "narrow"])
@pytest.mark.parametrize(
    "values",
    [
        [1e300, 1e-300, 1.0],
        [5e-324, 1e-323, 0.0, 1.0],
        [1.7e308, -1.7e308, 0.0],
        [1e-310, 2e-310, 1e-290],
        [3e307, 3.0],
    ],
)
def test_distinct_numbers_of_one_coordinate_are_built_whatever_their_scale(values, strategy):
    sequences, labels = [np.array([[value]]) for value in values], list(range(len(values)))
    model = exact.compile(sequences, labels, strategy=strategy)
    assert model.predict(sequences, backend="ragged") == labels
    assert model.predict(sequences, backend="dense") == labels
    assert model.certificate.verify(exact=True).passed


@pytest.mark.parametrize(
    "tokens",
    [
        [[1e300, 0], [1e300, 1], [1e-300, 0], [1, 0], [0, 0]],
        [[5e-324], [1e-323], [0], [1e308]],
    ],
    ids=["scales", "subnormal"],
)
def test_scales_that_no_line_holds_are_refused_and_ranks_help(tokens):
    tokens = np.array(tokens, dtype=float)
    labels = list(range(len(tokens)))
    with pytest.raises(exact.SeparationError, match="rank of its value") as caught:
        exact.compile(tokens[:, None, :], labels)
    assert caught.value.gap < caught.value.needed
    ranks = np.stack([np.unique(values, return_inverse=True)[1] for values in tokens.T], axis=1)
    assert right(exact.compile(ranks[:, None, :], labels), ranks, labels)


@pytest.mark.parametrize(("offset", "step"), [(1.6e9, 0.001), (0.1, np.spacing(0.1))], ids=["times", "last bits"])
def test_offsets_far_beyond_the_differences_are_built(offset, step):
    tokens = offset + step * np.indices((3, 3, 3)).reshape(3, -1).T
    labels = random_labels(len(tokens))
    assert right(exact.compile(tokens[:, None, :], labels), tokens, labels)


@pytest.mark.parametrize("strategy", ["narrow", "fused", "half-space", "slab", "fingerprint", "hat", "auto"])
def test_a_margin_that_is_the_reason_is_named_and_lowering_it_helps(strategy):
    sequences = [np.array([[0.0, 0.0]]), np.array([[0.1, 0.1]])]
    assert exact.compile(sequences, ["a", "a"], strategy=strategy, min_margin=1.0).predict(sequences) == ["a", "a"]
    with pytest.raises(exact.SeparationError, match=r"lower min_margin \(now 1\)"):
        exact.compile(sequences, ["a", "b"], strategy=strategy, min_margin=1.0)
    assert exact.compile(sequences, ["a", "b"], strategy=strategy, min_margin=0.01).predict(sequences) == ["a", "b"]


def test_a_margin_too_wide_for_the_groups_of_an_output_is_named():
    sequences = [np.array([[0.0], [0.1]])]
    with pytest.raises(exact.SeparationError, match="lower min_margin"):
        exact.compile_seq2seq(sequences, [[1.0, 2.0]], min_margin=1.0)
    assert exact.compile_seq2seq(sequences, [[1.0, 2.0]], min_margin=0.01).certificate.verify().passed


def test_shares_that_no_mean_tells_apart_are_refused_without_a_remedy_that_cannot_help():
    token = np.array([[0.3], [1.0], [0.7]])
    rng = np.random.default_rng(0)
    sequences = [np.repeat(token, rng.integers(1, 2000, 3), axis=0) for _ in range(60)]
    with pytest.raises(exact.PrecisionError, match="only shares") as caught:
        exact.compile(sequences, random_labels(60), multiplicity="frequency", dtype="float32")
    assert "fused" not in str(caught.value)
    assert str(caught.value).endswith("use dtype='float64'")
    model = exact.compile(sequences, random_labels(60), multiplicity="frequency")
    assert model.predict(sequences, backend="ragged") == random_labels(60)
