"""What counts as known is what the network is fed: repeated, permuted, unknown and unreadable input, in every form."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from exact_data import FAMILIES, gauss, ragged

from tokendyn import exact
from tokendyn.errors import BadInputError
from tokendyn.exact import ragged as passes

pytestmark = pytest.mark.usefixtures("unchecked")

STRATEGIES = ("auto", "narrow", "fused", "half-space", "slab", "fingerprint", "hat", "strict")
BACKENDS = ("auto", "ragged", "dense")


def oracle():
    path = Path(__file__).parents[1] / "benchmarks" / "exact_known.py"
    specification = importlib.util.spec_from_file_location("exact_known", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def array(*rows):
    return np.array(rows, dtype=float)


def test_no_model_calls_a_sequence_known_that_a_dictionary_does_not_hold_or_gives_it_another_label():
    one_model, total = oracle().one_model, Counter()
    for seed in range(60):
        result, faults = one_model(seed, seed % 2 == 0)
        assert faults == []
        total.update(result)
    assert total["models"] > 40
    assert 500 < total["known"] < total["asked"] - 500


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_set_keeps_its_label_when_tokens_are_repeated_and_permuted(strategy, backend):
    sequences, labels = gauss(sequences=12, dim=24) if strategy == "half-space" else ragged(sequences=30)
    model = exact.compile(sequences, labels, strategy=strategy)
    rng = np.random.default_rng(0)
    for change in (
        lambda s: s[::-1],
        lambda s: np.repeat(s, 3, axis=0),
        lambda s: rng.permutation(np.vstack([s, s[rng.integers(0, len(s), 5)]])),
    ):
        changed = [change(s) for s in sequences]
        assert model.is_known(changed).all()
        assert model.predict(changed, backend=backend) == labels


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("strategy", ["auto", "fingerprint", "hat", "fused", "narrow"])
def test_shares_keep_their_label_and_other_shares_are_strangers_when_frequencies_count(strategy, backend):
    a, b, c = [0.3, 1.0], [2.0, -1.0], [0.5, 0.5]
    sequences, labels = [array(a, b, b), array(a, c), array(a, a, a, b, c)], ["x", "y", "z"]
    model = exact.compile(sequences, labels, strategy=strategy, multiplicity="frequency")
    same = [array(b, a, b, b, b, a), array(c, a), array(*([a, c] * 7))]
    assert model.predict(same, backend=backend) == ["x", "y", "y"]
    others = [array(a, b), array(a, a, b, b, b), array(a, a, c)]
    assert model.predict(others, backend=backend) == [None] * 3


def test_the_set_of_a_known_sequence_keeps_its_label_under_the_default_strategy():
    sequences = [array([0, 0], [2, 0]), array([0, 0], [3, 0]), array([0, 1], [4, 0], [0, 7], [0, 8])]
    model = exact.compile(sequences, ["a", "b", "c"])
    assert model.strategy == "fingerprint"
    repeated = array([0, 0], [2, 0], [2, 0], [2, 0])
    for backend in BACKENDS:
        assert model.predict([repeated], backend=backend) == ["a"]
        assert model.predict([repeated], backend=backend, abstain=False) == ["a"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_refuses_two_labels_for_one_set(strategy):
    a, b = [0.0, 1.0], [1.0, 3.0]
    with pytest.raises(exact.ContradictoryLabelsError):
        exact.compile([array(a, b), array(a, b, a)], [0, 1], strategy=strategy)


def test_a_sequence_cut_short_or_longer_is_a_stranger():
    sequences, labels = ragged()
    model = exact.compile(sequences, labels)
    kept = {frozenset(map(tuple, s.tolist())): label for s, label in zip(sequences, labels, strict=True)}
    cut = [s[:-1] for s in sequences if len(s) > 1]
    assert model.predict(cut) == [kept.get(frozenset(map(tuple, s.tolist()))) for s in cut]
    longer = [np.vstack([s, [[9.0, 9.0]]]) for s in sequences]
    assert model.predict(longer) == [None] * len(longer)


@pytest.mark.parametrize("strategy", ["half-space", "slab", "fingerprint", "hat"])
def test_a_stranger_longer_than_the_certificate_covers_is_no_error(strategy):
    sequences, labels = gauss(sequences=12, tokens=3, dim=24)
    model = exact.compile(sequences, labels, strategy=strategy)
    assert model.certificate.n_max == 3
    long = np.random.default_rng(0).normal(size=(9, 24))
    assert model.predict([long, sequences[0]]) == [None, labels[0]]
    with pytest.warns(exact.CoverageWarning, match="9 distinct tokens"):
        assert model.predict([long], abstain=False)[0] in labels
    assert model.predict([np.repeat(sequences[0], 4, axis=0)], backend="ragged") == [labels[0]]
    with pytest.raises(BadInputError, match="coordinates"):
        model.predict([np.zeros((2, 3))])


def test_numbers_that_the_type_cannot_hold_are_strangers_when_asked_and_errors_when_given():
    model = exact.compile([array([1.0]), array([2.0])], ["a", "b"], dtype="float32")
    for stranger in (array([1e300]), np.array([[2**24 + 1]]), array([-1e39])):
        assert model.predict([stranger, array([2.0])]) == [None, "b"]
        assert model.predict([stranger], abstain=False)[0] in ("a", "b")
        with pytest.raises(exact.PrecisionError):
            exact.compile([stranger], ["a"], dtype="float32")
    wide = exact.compile([np.array([[2**53]])], ["a"])
    assert wide.predict([np.array([[2**53]]), np.array([[2**53 + 1]])]) == ["a", None]


def test_the_sign_of_zero_does_not_count():
    model = exact.compile([array([0.0, 1.0]), array([1.0, 0.0])], ["a", "b"])
    assert model.predict([array([-0.0, 1.0]), array([1.0, -0.0])]) == ["a", "b"]


def test_a_saved_model_knows_the_same_sequences(tmp_path):
    sequences, labels = ragged()
    for number, options in enumerate(({}, {"multiplicity": "frequency"}, {"positions": True}, {"dtype": "float32"})):
        model = exact.compile(sequences, labels, **options)
        exact.save(model, tmp_path / str(number))
        again = exact.load(tmp_path / str(number))
        asked = [*sequences, *(np.repeat(s, 2, axis=0) for s in sequences), *(s[::-1] for s in sequences)]
        asked += gauss(dim=2, seed=8)[0]
        assert again.predict(asked) == model.predict(asked)
        assert again.predict(sequences, backend="ragged") == labels
        assert (again.predict(asked[-60:]), again.is_known(asked).sum()) == ([None] * 60, model.is_known(asked).sum())


def test_sequence_to_sequence_abstains_and_repeats_outputs_with_the_tokens():
    sequences, _ = ragged(sequences=10)
    outputs = [np.arange(float(len(s))) for s in sequences]
    model = exact.compile_seq2seq(sequences, outputs)
    stranger = np.full((20, 2), 0.25)
    plain, repeated, unknown = model.predict([sequences[3], np.repeat(sequences[3], 2, axis=0), stranger])
    assert unknown is None
    assert np.array_equal(np.repeat(plain, 2, axis=0), repeated)
    assert sorted(plain[:, 0]) == outputs[3].tolist()
    assert model.predict([stranger], abstain=False)[0].shape == (20, 1)


def test_the_batch_of_a_model_is_what_its_module_takes():
    import torch

    sequences, labels = ragged(sequences=15)
    model = exact.compile(sequences, labels, strategy="fingerprint")
    tokens, mask = model.batch([np.repeat(s, 2, axis=0) for s in sequences])
    out = model.module(torch.from_numpy(tokens), torch.from_numpy(mask)).numpy()
    assert [model.labels[int(row[0, 0])] for row in out] == labels
    assert mask.sum(axis=1).tolist() == [len(s) for s in sequences]


def test_tokens_whose_hashes_meet_are_told_apart(monkeypatch):
    from tokendyn.exact import forms

    monkeypatch.setattr(forms, "hash_rows", lambda bits: np.zeros(len(bits), np.uint64))
    sequences, labels = ragged()
    model = exact.compile(sequences, labels)
    rng = np.random.default_rng(1)
    assert model.predict([rng.permutation(np.vstack([s, s])) for s in sequences]) == labels
    assert model.predict(gauss(dim=2)[0]) == [None] * 60


def test_a_hundred_thousand_tokens_in_one_sequence_are_found_again():
    rng = np.random.default_rng(0)
    long = rng.normal(size=(100_000, 1))
    model = exact.compile([long, long[:5]], ["a", "b"], strategy="fused")
    assert model.predict([rng.permutation(np.vstack([long, long[:1000]])), long[1:]]) == ["a", None]


# --- the pass by events ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["hardmax", "softmax"])
@pytest.mark.parametrize("strategy", ["narrow", "fused"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_pass_by_events_gives_the_residuals_of_the_plain_pass_to_the_last_bit(strategy, dtype, attention):
    for name, family in FAMILIES.items():
        if name == "near duplicates" and (dtype == "float32" or attention == "softmax"):
            continue
        sequences, labels = family()
        model = exact.compile(sequences, labels, strategy=strategy, dtype=dtype, attention=attention, certify=False)
        rng = np.random.default_rng(0)
        pool = np.concatenate(sequences)
        asked = [pool[rng.integers(0, len(pool), rng.integers(1, 6))] for _ in range(40)]
        asked += [
            s + scale * rng.normal(size=s.shape)
            for s, scale in zip(asked, np.tile([1e-9, 1e-3, 1e5, 0], 10), strict=True)
        ]
        given = model.canonical([*sequences, *asked]).sequences
        events = passes._by_events(model.weights, model.construction.dim, given, model.construction.plan, model.beta)
        plain = passes.run(model.weights, model.construction.dim, given, inverse_temperature=model.beta)
        assert events is not None
        assert np.array_equal(events, plain)


def test_weights_that_are_not_those_of_the_plan_are_run_block_by_block(monkeypatch):
    monkeypatch.setattr(passes, "_MANY", 0)
    model = exact.compile(*ragged(), strategy="fused")
    assert model.certificate.verify().passed
    model.weights.out_weights[-3] += 1
    assert not model.certificate.verify().passed


# --- the command line ------------------------------------------------------------------------------------------------


def test_repeated_words_change_no_label_on_the_command_line(tmp_path, capsys):
    from tokendyn.cli import run

    rng = np.random.default_rng(0)
    words = [f"w{k}" for k in range(21)]
    lines = list({" ".join(sorted(rng.choice(words, rng.integers(3, 9), replace=False))) for _ in range(40)})
    given = [f"{line},{label}" for line, label in zip(lines, rng.integers(0, 4, len(lines)), strict=True)]
    (tmp_path / "lines.csv").write_text("text,label\n" + "\n".join(given) + "\n")
    twice = [f"{line.split()[0]} {line}" for line in lines]
    (tmp_path / "twice.csv").write_text("text\n" + "\n".join([*twice, "unheard " * 30, "👍", "!!!"]) + "\n")
    model = str(tmp_path / "model")
    assert run(["classify", "build", str(tmp_path / "lines.csv"), "--text", "text", "--out", model]) == 0
    capsys.readouterr()
    assert run(["classify", "predict", str(tmp_path / "twice.csv"), "--model", model, "--abstain"]) == 0
    rows = [row.split(",") for row in capsys.readouterr().out.splitlines()[1:]]
    assert [row[1:] for row in rows[: len(lines)]] == [[line.split(",")[1], "yes"] for line in given]
    assert [row[1:] for row in rows[len(lines) :]] == [["", "no"]] * 3


def test_a_long_stranger_does_not_keep_the_other_lines_from_their_labels(tmp_path, capsys):
    from tokendyn.cli import run

    def write(name, records):
        (tmp_path / name).write_text("".join(json.dumps(record) + "\n" for record in records))
        return str(tmp_path / name)

    given = write("a.jsonl", [{"tokens": [[0, 1], [2, 0.5]], "label": "x"}, {"tokens": [[3, 1]], "label": "y"}])
    asked = write("b.jsonl", [{"tokens": [[k, k] for k in range(50)]}, {"tokens": [[3, 1], [3, 1]]}])
    model = str(tmp_path / "model")
    assert run(["classify", "build", given, "--out", model]) == 0
    capsys.readouterr()
    assert run(["classify", "predict", asked, "--model", model]) == 0
    assert capsys.readouterr().out.splitlines() == ["id,prediction,known", "1,,no", "2,y,yes"]
    assert run(["classify", "predict", asked, "--model", model, "--guess"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1] in ("1,x,no", "1,y,no")
    assert "50 distinct tokens" in said.err
    assert run(["classify", "predict", asked, "--model", model, "--guess", "--abstain"]) == 2
    other = write("c.jsonl", [{"tokens": [[1, 2, 3]]}])
    assert run(["classify", "predict", other, "--model", model]) == 2
    assert run(["classify", "predict", other, "--model", model, "--dry-run"]) == 2
