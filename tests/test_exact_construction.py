"""Every construction gives every sequence its label, to the last bit, and says what it rests on."""

import numpy as np
import pytest
import torch
from exact_data import FAMILIES, gauss, ragged, vocabulary

from tokendyn import exact
from tokendyn.errors import BadInputError
from tokendyn.exact import ragged as kernel

DEEP = ("narrow", "fused")


def all_outputs(model):
    return np.concatenate(model.outputs(model.sequences))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("strategy", DEEP)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_token_of_every_sequence_ends_as_the_label(family, strategy, dtype):
    sequences, labels = FAMILIES[family]()
    if family == "near duplicates" and dtype == "float32":
        with pytest.raises(exact.ContradictoryLabelsError):
            exact.compile(sequences, labels, strategy=strategy, dtype=dtype)
        return
    model = exact.compile(sequences, labels, strategy=strategy, dtype=dtype, certify=False)
    assert np.array_equal(all_outputs(model), model.targets)
    assert model.predict(sequences) == labels
    blocks, queries, n = model.stats.blocks, model.stats.queries, len(sequences)
    assert queries <= n - 1
    assert blocks <= 2 * n - 1
    if strategy == "narrow":
        assert blocks == 2 * queries + 1
        assert model.stats.width <= 4
    assert model.stats.width <= 8
    assert (model.stats.score_rank, model.stats.value_rank) == (1, 1)


@pytest.mark.parametrize("strategy", ["half-space", "slab", "fingerprint", "hat", "auto", *DEEP])
def test_the_dense_module_and_the_ragged_kernel_agree_to_the_last_bit(strategy):
    sequences, labels = gauss(dim=32) if strategy == "half-space" else gauss()
    model = exact.compile(sequences, labels, strategy=strategy)
    dense, fast = model.outputs(sequences, backend="dense"), model.outputs(sequences)
    assert all(np.array_equal(a, b) for a, b in zip(dense, fast, strict=True))
    assert np.array_equal(np.concatenate(dense), model.targets)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("direction", ["coordinate", "sparse", "random"])
def test_order_batch_shape_and_padding_change_no_bit(dtype, direction):
    sequences, labels = ragged(sequences=25, dim=6, labels=4)
    model = exact.compile(sequences, labels, strategy="fused", dtype=dtype, direction=direction)
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(sequence) for sequence in sequences]
    assert model.predict(shuffled) == labels
    outputs = np.concatenate(model.outputs(shuffled, backend="dense"))
    assert np.array_equal(outputs, model.targets)
    with torch.no_grad():
        for length in (8, 11):
            tokens = torch.zeros(len(sequences), length, 6, dtype=getattr(torch, dtype)) + 7.0
            mask = torch.zeros(len(sequences), length, dtype=torch.bool)
            for j, sequence in enumerate(sequences):
                tokens[j, : len(sequence)] = torch.from_numpy(sequence)
                mask[j, : len(sequence)] = True
            together = model.module(tokens, mask)
            alone = torch.cat([model.module(tokens[j : j + 1], mask[j : j + 1]) for j in range(len(tokens))])
            assert torch.equal(together[mask], alone[mask])
            assert np.array_equal(together[mask].numpy(), model.targets)


def test_repetitions_of_a_token_do_not_count():
    sequences, labels = ragged()
    model = exact.compile(sequences, labels, strategy="fused")
    assert model.predict([np.repeat(sequence, 3, axis=0) for sequence in sequences]) == labels


def test_labels_of_any_hashable_type():
    sequences, _ = gauss(sequences=6)
    labels = ["a", 1, (2, "b"), frozenset({3}), b"c", 2.5]
    model = exact.compile(sequences, labels)
    assert model.predict(sequences) == labels


def test_one_sequence_and_equal_labels_need_no_question():
    for labels in (["x"], ["x"] * 7):
        sequences, _ = gauss(sequences=len(labels))
        for strategy in ("narrow", "fused", "slab", "half-space", "fingerprint", "hat", "strict"):
            model = exact.compile(sequences, labels, strategy=strategy)
            assert model.predict(sequences) == labels
            assert model.stats.queries == 0


def test_a_sequence_of_a_million_tokens():
    rng = np.random.default_rng(0)
    long = rng.normal(size=(1_000_000, 1))
    sequences = [long, long[:5], long[3:9]]
    model = exact.compile(sequences, ["a", "b", "c"], strategy="fused", certify=False)
    assert model.certificate.verify().largest_difference == 0


def test_depth_and_nonzeros_do_not_depend_on_the_length():
    made = []
    for repeat in (1, 50):
        sequences, labels = vocabulary()
        model = exact.compile([np.tile(s, (repeat, 1)) for s in sequences], labels, strategy="narrow")
        made.append((model.stats.blocks, model.stats.nonzeros))
    assert made[0] == made[1]


@pytest.mark.parametrize("sequences", [50, 400])
def test_nonzeros_are_at_most_27_for_a_query(sequences):
    made, labels = gauss(sequences=sequences, dim=5)
    for strategy in DEEP:
        stats = exact.compile(made, labels, strategy=strategy, direction="random").stats
        assert stats.nonzeros <= 28 * stats.queries + 2 * 5 + 8


def test_a_larger_margin_makes_more_queries_and_larger_gaps():
    sequences, labels = gauss(sequences=200, tokens=10, dim=2, labels=2)
    free = exact.compile(sequences, labels, strategy="narrow")
    wide = exact.compile(sequences, labels, strategy="narrow", min_margin=1e-3)
    assert wide.certificate.delta_min >= 1e-3 > free.certificate.delta_min
    assert wide.stats.queries >= free.stats.queries
    assert wide.certificate.beta_min < free.certificate.beta_min


def test_more_trials_never_make_more_queries():
    sequences, labels = gauss(sequences=100, dim=5)
    one = exact.compile(sequences, labels, strategy="narrow", direction="sparse", seed=3)
    best = exact.compile(sequences, labels, strategy="narrow", direction="sparse", seed=3, trials=5)
    assert best.stats.queries <= one.stats.queries


def test_moves_within_the_radius_keep_the_label():
    sequences, labels = gauss(sequences=50)
    model = exact.compile(sequences, labels, strategy="fused", direction="coordinate", min_margin=1e-3)
    rng = np.random.default_rng(1)
    step = model.certificate.radius * 0.99
    assert step > 0
    moved = [s + rng.uniform(-step, step, s.shape) for s in sequences]
    assert model.predict(moved, abstain=False) == labels


def test_the_order_of_tokens_counts_when_positions_do():
    tokens = np.array([[0.0], [1.0], [2.0]])
    sequences = [tokens, tokens[[1, 0, 2]], tokens[[2, 1, 0]]]
    with pytest.raises(exact.ContradictoryLabelsError):
        exact.compile(sequences, [0, 1, 2])
    for strategy in ("narrow", "fused"):
        model = exact.compile(sequences, [0, 1, 2], positions=True, strategy=strategy)
        assert model.predict(sequences) == [0, 1, 2]


@pytest.mark.parametrize("strategy", ["fingerprint", "hat", "auto"])
def test_shares_of_tokens_tell_sequences_apart_when_frequencies_count(strategy):
    a, b = [0.3, 1.0], [2.0, -1.0]
    sequences, labels = [np.array([a, b]), np.array([a, a, b]), np.array([a, b, b])], ["x", "y", "z"]
    model = exact.compile(sequences, labels, multiplicity="frequency", strategy=strategy)
    assert model.predict(sequences) == labels
    assert model.predict([np.array([b, a])]) == ["x"]


def test_a_mean_is_planned_for_every_proportion_in_which_a_set_occurs():
    a, b, c = [1.0], [0.0], [0.1]
    sequences = [np.array([a, b]), np.array([a, a, c]), np.array([a, a, a, b])]
    for strategy in ("auto", "fingerprint", "hat"):
        assert exact.compile(sequences, [0, 1, 0], strategy=strategy).predict(sequences) == [0, 1, 0]


def test_hats_tell_sets_of_the_same_mean_apart():
    sequences = [np.array([[-1.0], [1.0]]), np.array([[-2.0], [2.0]]), np.array([[0.0]])]
    with pytest.raises(exact.SeparationError):
        exact.compile(sequences, [0, 1, 2], strategy="fingerprint")
    assert exact.compile(sequences, [0, 1, 2], strategy="hat").predict(sequences) == [0, 1, 2]


def test_few_hats_are_enough_beside_a_long_sequence():
    long = np.random.default_rng(0).normal(size=(5000, 2))
    sequences = [long, long[:5], long[3:9]]
    model = exact.compile(sequences, ["a", "b", "c"], strategy="hat")
    assert model.predict(sequences) == ["a", "b", "c"]
    assert model.stats.width <= 16


def test_auto_takes_half_spaces_in_many_dimensions_and_a_fingerprint_in_few():
    assert exact.compile(*gauss(dim=48, tokens=3)).strategy == "half-space"
    assert exact.compile(*gauss(dim=2)).strategy == "fingerprint"
    assert exact.compile(*gauss(dim=2), dtype="float32").strategy == "fused"


def test_two_channels_are_enough():
    sequences, labels = gauss(dim=2)
    model = exact.compile(sequences, labels, strategy="strict")
    assert model.construction.dim == 2
    assert model.stats.blocks <= 3 * len(sequences) + 1
    assert model.predict(sequences) == labels
    assert model.certificate.verify(exact=True).passed


def test_integers_are_compared_without_rounding():
    codes = [np.eye(12)[[i, j]].astype(int) for i in range(12) for j in range(i)]
    labels = [k % 2 for k in range(len(codes))]
    model = exact.compile(codes, labels, strategy="narrow", dtype="float32")
    assert model.certificate.error == 0
    assert model.predict(codes) == labels


@pytest.mark.parametrize("strategy", ["narrow", "fused", "slab", "fingerprint", "hat", "half-space", "strict"])
def test_the_same_weights_are_exact_in_rational_arithmetic(strategy):
    sequences, labels = gauss(sequences=25, dim=40) if strategy == "half-space" else ragged(sequences=25)
    model = exact.compile(sequences, labels, strategy=strategy)
    done = model.certificate.verify(exact=True)
    assert done.passed
    assert done.largest_difference == 0


def test_fractions_and_flint_agree(monkeypatch):
    from fractions import Fraction

    from tokendyn.exact import certificate

    model = exact.compile(*ragged(sequences=8), strategy="narrow")
    monkeypatch.setattr(certificate, "rationals", lambda: (Fraction, "fractions"))
    done = model.certificate.verify(exact=True)
    assert (done.arithmetic, done.passed) == ("fractions", True)


@pytest.mark.parametrize("exactly", [False, True])
def test_a_wrong_weight_is_found(exactly):
    model = exact.compile(*ragged(sequences=10), strategy="narrow")
    model.weights.out_weights[-3] += 1
    done = model.certificate.verify(exact=exactly)
    assert not done.passed
    assert done.largest_difference > 0


# --- softmax ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", DEEP)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_softmax_at_its_inverse_temperature_is_exact_to_the_last_bit(strategy, dtype):
    sequences, labels = vocabulary()
    model = exact.compile(sequences, labels, strategy=strategy, attention="softmax", dtype=dtype)
    assert model.certificate.beta >= model.certificate.beta_min
    assert np.array_equal(all_outputs(model), model.targets)
    dense = np.concatenate(model.outputs(sequences, backend="dense"))
    assert np.array_equal(dense, model.targets)


def tight():
    """One token that is hit, and all others at the distance of the gap: the worst case of the bound."""
    others = 1 + 2.0**-40 * np.arange(1000)[:, None]
    return [np.vstack([[[0.0]], others[1:]]), others], [1, 0]


def test_softmax_decides_as_hardmax_at_beta_min_and_not_below_six_tenths_of_it():
    sequences, labels = tight()
    model = exact.compile(sequences, labels, strategy="narrow", attention="softmax", direction="coordinate")
    least = model.certificate.beta_min
    assert model.with_beta(least).predict(sequences, backend="ragged") == labels

    def largest_difference(beta):
        residuals = kernel.run(model.weights, model.construction.dim, model.sequences, inverse_temperature=beta)
        return np.abs(residuals[:, list(model.construction.outputs)] - model.targets).max()

    assert largest_difference(least) < 1e-12
    assert largest_difference(0.6 * least) > 0.5


def test_softmax_is_refused_outside_its_certificate():
    sequences, labels = tight()
    model = exact.compile(sequences, labels, strategy="narrow", attention="softmax")
    with pytest.raises(exact.CertificateError, match="inverse temperature"):
        model.with_beta(0.9 * model.certificate.beta_min)
    for beta in (float("nan"), float("inf"), 1e308):
        with pytest.raises(exact.CertificateError, match="hardmax"):
            model.with_beta(beta)
    long = [np.arange(1001.0)[:, None]]
    assert model.predict([*long, sequences[0]]) == [None, 1]
    with pytest.warns(exact.CoverageWarning, match="1001 distinct tokens"):
        assert model.predict(long, abstain=False)[0] in labels
    assert model.predict([np.vstack([sequences[0]] * 50)], backend="ragged") == [1]


def test_coarse_multiplication_is_refused():
    model = exact.compile(*gauss(), strategy="narrow", dtype="float32")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with pytest.raises(exact.CertificateError, match="highest"):
            model.predict(gauss()[0], backend="dense")
    finally:
        torch.set_float32_matmul_precision(before)
    with torch.autocast("cpu"), pytest.raises(exact.CertificateError, match="autocast"):
        model.predict(gauss()[0], backend="dense")


# --- sequence to sequence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attention", "dtype"), [("hardmax", "float64"), ("hardmax", "float32"), ("softmax", "float64")]
)
def test_outputs_of_sequences_are_bitwise_equal_as_sets(attention, dtype):
    rng = np.random.default_rng(0)
    sequences, _ = ragged(sequences=40)
    outputs = [rng.normal(size=(rng.integers(1, len(s) + 1), 2)).astype(dtype) for s in sequences]
    model = exact.compile_seq2seq(sequences, outputs, attention=attention, dtype=dtype)
    for given, wanted in zip(model.predict(sequences), outputs, strict=True):
        assert np.array_equal(np.unique(given, axis=0), np.unique(wanted, axis=0))
    entries = sum(map(len, outputs))
    assert model.stats.blocks <= 2 * entries + 2 * len(sequences) - 1
    dense = model.outputs(sequences, backend="dense")
    assert np.array_equal(np.concatenate(dense), model.targets)


def test_outputs_are_exact_in_rational_arithmetic():
    sequences, _ = ragged(sequences=12)
    outputs = [np.arange(1.0, len(s) + 1) / 3 for s in sequences]
    assert exact.compile_seq2seq(sequences, outputs).certificate.verify(exact=True).passed


def test_a_mask_is_of_tokens_also_for_as_many_sequences_as_tokens():
    sequences, labels = [np.array([[0.0, j], [1.0, j], [2.0, -j]]) for j in (1.0, 2.0, 3.0)], [0, 1, 2]
    model = exact.compile(sequences, labels, strategy="fused")
    tokens, exists = torch.from_numpy(np.stack(sequences)), torch.ones(3, 3, dtype=torch.bool)
    exists[1, 2] = False
    alone = exact.compile([sequences[0], sequences[1][:2], sequences[2]], labels, strategy="fused")
    for form in (alone.module, exact.to_linear(alone)):
        outputs = form(tokens, exists)
        assert outputs[:, 0, 0].tolist() == [0.0, 1.0, 2.0]
        assert outputs[1, 2, 0] == 0
    for form in (model.module, exact.to_linear(model)):
        assert form(tokens, None)[:, 0, 0].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.usefixtures("unchecked")
def test_a_mask_of_pairs_is_refused():
    model = exact.compile([np.array([[0.0], [1.0]]), np.array([[2.0]])], [0, 1], strategy="fused")
    tokens = torch.zeros(1, 2, 1, dtype=torch.float64)
    for mask in (torch.ones(2, 2), torch.ones(1, 2, 2), torch.ones(1, 3), torch.ones(2)):
        for form in (model.module, exact.to_linear(model)):
            with pytest.raises(BadInputError, match=r"shape \(1, 2\), one entry a token of each sequence"):
                form(tokens, mask.bool())
            with pytest.raises(BadInputError, match="mask must be bool"):
                form(tokens, torch.ones(1, 2))
