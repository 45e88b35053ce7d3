"""What a certificate promises: how far tokens may move, exact arithmetic, whose data it is, how many bits suffice."""

import importlib.util
import json
import shutil
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from exact_data import gauss, ragged

from tokendyn import exact
from tokendyn.cli import run
from tokendyn.errors import BadInputError
from tokendyn.exact import check_certificate
from tokendyn.exact import ragged as kernel
from tokendyn.exact.kernels import nearest_pairs
from tokendyn.exact.precision import rounded
from tokendyn.runs.files import read_tensors, write_tensors

pytestmark = pytest.mark.usefixtures("unchecked")


def benchmark(name):
    """Load a script of benchmarks/, which holds a forward pass that shares no code with the package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


search = benchmark("exact_radius")


def column(*values):
    return np.array(values, dtype=float)[:, None]


# --- the radius ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [3, 4])
def test_no_label_flips_when_every_token_moves_by_less_than_the_radius(seed):
    rows = search.run(models=60, seed=seed)
    assert {"narrow", "fused", "strict", "fingerprint", "hat"} <= set(rows)
    assert sum(row["flips"] for row in rows.values()) == 0
    for row in rows.values():
        assert row["positive"] > 0.75 * row["sequences"]
        assert row["flips at 10x"] > 0.4 * row["sequences"]


@pytest.mark.parametrize("attention", ["hardmax", "softmax"])
@pytest.mark.parametrize("distance", [0.001, 1.0, 1e6, 1e9])
@pytest.mark.parametrize("strategy", ["narrow", "fused", "strict", "slab", "half-space", "fingerprint", "hat"])
def test_the_radius_of_two_tokens_is_a_quarter_of_their_distance_or_a_little_more(strategy, distance, attention):
    sequences = [column(0.0), column(distance)]
    model = exact.compile(sequences, ["a", "b"], strategy=strategy, attention=attention)
    radius = model.certificate.radius_tokens
    assert 0.24 * distance < radius < 0.5 * distance  # beyond half of the way nothing can be promised
    assert (model.certificate.radii() >= radius).all()
    for step in (-radius, radius):
        moved = [sequence + step * (1 - 1e-9) for sequence in sequences]
        assert [search.label_of(model, tokens) for tokens in moved] == ["a", "b"]


def test_a_hat_is_not_certified_by_the_gap_of_its_means():
    sequences = [column(0.0), column(0.001)]
    model = exact.compile(sequences, ["a", "b"], strategy="hat")
    assert model.certificate.delta_min > 0.1  # a gap of heights, in no unit of the tokens
    assert model.certificate.radius_tokens <= 0.001 / 4


def test_the_radius_is_in_the_unit_of_the_tokens_and_the_direction_is_told():
    for scale in (1.0, 2.0**-30, 2.0**40):
        sequences, labels = ragged(sequences=12)
        model = exact.compile([scale * s for s in sequences], labels, strategy="fused", direction="coordinate")
        certificate = model.certificate
        if scale == 1.0:
            alone = certificate.radius_tokens
        assert certificate.radius_tokens == pytest.approx(scale * alone, rel=1e-6)
        assert certificate.radius == pytest.approx(certificate.norm * certificate.radius_tokens)
        line = np.array(certificate.direction)
        assert np.array_equal(model.trace(scale * sequences[0])["p"][0], scale * sequences[0] @ line)
    assert exact.compile(*gauss(dim=48, tokens=3), strategy="half-space").certificate.direction is None


def test_a_gap_of_one_last_bit_allows_no_move():
    sequences = [column(1e15), column(1e15 + 0.125)]
    for strategy in ("narrow", "fused"):
        model = exact.compile(sequences, [0, 1], strategy=strategy)
        assert model.certificate.radius_tokens == 0


@pytest.mark.parametrize(
    ("strategy", "sequences"),
    [
        ("fingerprint", [column(0.0, 1.0, 1.01), column(0.5)]),
        # Tokens that no hat is on are far from any edge, and their number counts.
        ("hat", [column(0.0, 10.0, 10.0001), column(0.0, 5.0), column(0.0, 7.0, 8.0, 20.0)]),
    ],
)
def test_two_tokens_of_a_sequence_that_meet_are_one_so_the_radius_of_a_mean_ends_there(strategy, sequences):
    model = exact.compile(sequences, list("abc")[: len(sequences)], strategy=strategy)
    nearest = sequences[0][2, 0] - sequences[0][1, 0]
    assert 0.49 * nearest < model.certificate.radii()[0] < 0.5 * nearest
    assert model.certificate.radius_tokens <= model.certificate.radii().min()
    counted = exact.compile(sequences, list("abc")[: len(sequences)], strategy=strategy, multiplicity="frequency")
    assert counted.certificate.radii()[0] > nearest  # two of a kind count twice there
    merged = sequences[0].copy()
    merged[1:] = sequences[0][1:].mean()
    assert counted.predict([merged], abstain=False) == ["a"]


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_the_nearest_pair_of_each_sequence_at_any_scale(scale):
    rng = np.random.default_rng(1)
    tokens = [rng.integers(-3, 4, (n, 3)) * 0.25 + rng.normal(size=(n, 3)) * 1e-3 for n in (1, 2, 9, 30)]
    starts = np.cumsum([0, *map(len, tokens)])
    measured = nearest_pairs(scale * np.concatenate(tokens), starts)
    wanted = [min((np.linalg.norm(x - y) for x, y in combinations(part, 2)), default=np.inf) for part in tokens]
    assert measured == pytest.approx([scale * distance for distance in wanted], rel=1e-12)


def test_one_label_may_move_anywhere():
    model = exact.compile([column(1.0), column(2.0, 3.0)], ["a", "a"], strategy="fused")
    assert model.certificate.radius_tokens == np.inf
    assert model.certificate.to_dict()["radius_tokens"] is None


def test_outputs_of_sequences_survive_moves_within_the_radius():
    rng = np.random.default_rng(0)
    sequences, _ = ragged(sequences=12)
    outputs = [rng.normal(size=(rng.integers(1, len(s) + 1), 2)) for s in sequences]
    model = exact.compile_seq2seq(sequences, outputs)
    for j, radius in enumerate(model.certificate.radii()):
        assert radius > 0
        wanted = model.targets[model.sequences.starts[j] : model.sequences.starts[j + 1]]
        for moved in search.moves(model, j, radius * (1 - 1e-6), rng):
            assert np.array_equal(search.plain_outputs(model, moved), wanted)


# --- exact arithmetic ------------------------------------------------------------------------------------------------


def test_two_channels_are_exact_in_rational_arithmetic():
    built = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        sequences = [rng.normal(size=(int(n), 2)) for n in rng.integers(1, 5, 8)]
        dtype = "float32" if seed % 4 == 0 else "float64"
        try:
            model = exact.compile(sequences, rng.integers(0, 3, 8).tolist(), strategy="strict", dtype=dtype)
        except exact.PrecisionError:
            continue
        built += 1
        done = model.certificate.verify(exact=True)
        assert done.exact
        assert done.largest_difference == 0
        assert not model.certificate.bitwise
    assert built > 250


def test_the_trapezoids_of_two_channels_cancel_as_fractions():
    model = exact.compile(*gauss(sequences=20, dim=2), strategy="strict")
    weights = model.weights
    for query in range(model.stats.queries):
        first = weights.units[2 * query + 1]
        e1, e2, e3, e4 = (-Fraction(float(weights.bias[first + k])) for k in range(4))
        ramp = 1 / Fraction(float(weights.out_weights[weights.out_starts[first]]))
        assert e2 - e1 == ramp
        assert e4 - e3 == ramp
        assert e2 < e3


def test_a_run_that_rounds_is_not_called_exact():
    sequences, labels = gauss(sequences=20)
    hot = exact.compile(sequences, labels, strategy="narrow", attention="softmax")
    warm = hot.with_beta(hot.certificate.beta_min)
    assert hot.certificate.bitwise
    assert not warm.certificate.bitwise
    assert hot.certificate.verify().exact
    assert warm.certificate.verify().passed
    rounds = exact.Verification("float64", "softmax", 3, (), 1e-16, 0.0)
    assert "all right after rounding, not exact" in str(rounds)
    assert "all exact" not in str(rounds)
    assert "all exact" in str(hot.certificate.verify())


# --- whose data it is ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    sequences, labels = [rng.normal(size=(n, 2)) for n in (2, 3, 1, 2)], ["a", "b", "c", "a"]
    lines = [
        {"id": f"s{j}", "tokens": tokens.tolist(), "label": label}
        for j, (tokens, label) in enumerate(zip(sequences, labels, strict=True))
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [f"s{j},{labels[j]},{x[0]!r},{x[1]!r}\n" for j, s in enumerate(sequences) for x in s.tolist()]
    (tmp_path / "own.csv").write_text("id,label,x,y\n" + "".join(rows))
    exact.save(exact.compile(sequences, labels, strategy="fused"), tmp_path / "model")
    return tmp_path


def reversed_labels(folder, *, keep_hash):
    record = json.loads((folder / "model" / "model.json").read_text())
    record["labels"] = record["labels"][::-1]
    if not keep_hash:
        tensors = check_certificate.read_safetensors(folder / "model" / "model.safetensors")
        record["certificate"]["data"] = check_certificate.data_hash(record, tensors)
        record["digest"] = check_certificate.files_hash(record, folder / "model" / "model.safetensors")
    (folder / "model" / "model.json").write_text(json.dumps(record))


@pytest.mark.parametrize("name", ["own.jsonl", "own.csv"])
def test_a_model_is_verified_against_the_users_own_sequences(folder, name, capsys):
    model, own = str(folder / "model"), str(folder / name)
    assert run(["classify", "verify", model, own]) == 0
    assert run(["classify", "verify", model, own, "--exact", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["against"] == name
    assert check_certificate.main([model, own, "--quiet"]) == 0
    reversed_labels(folder, keep_hash=False)
    assert run(["classify", "verify", model]) == 0  # it agrees with itself
    assert run(["classify", "verify", model, own]) == 1
    assert "sequence s0 ends with another label" in capsys.readouterr().err
    assert run(["classify", "verify", model, own, "--exact"]) == 1
    assert check_certificate.main([model, "--quiet"]) == 0
    assert check_certificate.main([model, own, "--quiet"]) == 1


def test_reversed_labels_do_not_have_the_hash(folder, capsys):
    reversed_labels(folder, keep_hash=True)
    with pytest.raises(BadInputError, match="changed after the build"):
        exact.load(folder / "model")
    assert run(["classify", "verify", str(folder / "model")]) == 2
    assert check_certificate.main([str(folder / "model"), "--quiet"]) == 1
    assert "hash" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tokens", "targets"])
def test_changed_data_do_not_have_the_hash(folder, name):
    path = folder / "model" / "model.safetensors"
    tensors = read_tensors(path)
    tensors[name] = tensors[name][::-1].copy()
    write_tensors(path, tensors)
    with pytest.raises(BadInputError, match="changed after the build"):
        exact.load(folder / "model")
    assert check_certificate.main([str(folder / "model"), "--quiet"]) == 1


def test_both_programs_compute_the_same_hash(folder, tmp_path):
    shutil.rmtree(folder / "model")
    sequences, _ = ragged(sequences=5)
    for k, (labels, options) in enumerate(
        [
            ([("a", 1), "é", True, 2.5, -1], {"dtype": "float32", "strategy": "narrow"}),
            ([0, 1, 0, 1, 2], {"positions": True, "strategy": "fused"}),
            ([0, 1, 0, 1, 2], {"multiplicity": "frequency"}),
        ]
    ):
        model = exact.compile(sequences, labels, **options)
        exact.save(model, tmp_path / f"m{k}")
        record = json.loads((tmp_path / f"m{k}" / "model.json").read_text())
        tensors = check_certificate.read_safetensors(tmp_path / f"m{k}" / "model.safetensors")
        assert check_certificate.data_hash(record, tensors) == model.certificate.data
        assert record["certificate"]["data"] == model.certificate.data
        assert record["digest"] == check_certificate.files_hash(record, tmp_path / f"m{k}" / "model.safetensors")


@pytest.mark.parametrize("name", ["plan.low", "plan.gap", "plan.direction", "weights.bias", "weights.in_weights"])
def test_changed_weights_and_plans_do_not_have_the_hash(folder, name, capsys):
    path = folder / "model" / "model.safetensors"
    tensors = read_tensors(path)
    tensors[name] = tensors[name] * 1.5
    write_tensors(path, tensors)
    with pytest.raises(BadInputError, match="changed after the build"):
        exact.load(folder / "model")
    assert check_certificate.main([str(folder / "model"), "--quiet"]) == 1
    assert "the files do not have the hash" in capsys.readouterr().err


@pytest.mark.parametrize(("group", "name", "value"), [
    ("margins", "gap", 1.0), ("margins", "error", 1e-30), ("plan", "start", 1), ("settings", "seed", 5),
    ("settings", "input", {"kind": "text"}), (None, "longest", 3), (None, "queries", 1),
])  # fmt: skip
def test_changed_margins_and_settings_do_not_have_the_hash(folder, group, name, value):
    path = folder / "model" / "model.json"
    record = json.loads(path.read_text())
    part = record if group is None else record[group]
    assert part.get(name) != value
    part[name] = value
    path.write_text(json.dumps(record))
    with pytest.raises(BadInputError, match="changed after the build"):
        exact.load(folder / "model")
    assert check_certificate.main([str(folder / "model"), "--quiet"]) == 1


def test_a_model_of_an_older_version_without_hashes_is_read(folder):
    path = folder / "model" / "model.json"
    record = json.loads(path.read_text())
    del record["digest"]
    path.write_text(json.dumps(record))
    assert exact.load(folder / "model").certificate.verify(exact=True).passed
    del record["certificate"]["data"]
    path.write_text(json.dumps(record))
    assert exact.load(folder / "model").certificate.verify(exact=True).passed
    assert check_certificate.main([str(folder / "model"), "--quiet"]) == 0


def test_sequences_that_were_not_given_and_labels_that_do_not_exist_are_named(folder, capsys):
    model, own = str(folder / "model"), folder / "own.jsonl"
    line = json.loads(own.read_text().splitlines()[0])
    more = [{**line, "id": "new", "tokens": [[9.0, 9.0]]}, {**line, "id": "other", "label": "z"}]
    own.write_text(own.read_text() + "".join(json.dumps(item) + "\n" for item in more))
    assert run(["classify", "verify", model, str(own)]) == 1
    said = capsys.readouterr().err
    assert "sequence new was not given to build" in said
    assert "sequence other ends with another label" in said
    assert check_certificate.main([model, str(own), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "sequence new is not among those" in said
    assert "sequence other: the model has no label 'z'" in said


@pytest.mark.parametrize("strategy", ["fused", "auto"])
def test_own_sequences_may_be_shuffled_and_their_tokens_repeated(strategy):
    sequences, labels = ragged(sequences=15)
    model = exact.compile(sequences, labels, strategy=strategy)
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(np.concatenate([s, s[:1], s[:1]])) for s in sequences]
    assert model.certificate.verify(shuffled, labels).exact
    assert model.certificate.verify(shuffled, labels, exact=True).exact
    other = model.certificate.verify(shuffled, [1 - label for label in labels])
    assert len(other.wrong) == len(sequences)
    as_text = model.certificate.verify(sequences, [str(label) for label in labels])
    assert len(as_text.wrong) == len(sequences)
    with pytest.raises(BadInputError, match="one label a sequence"):
        model.certificate.verify(sequences, labels[:-1])


# --- how many bits are enough ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["narrow", "fused", "fingerprint", "slab"])
def test_the_measured_bits_are_enough_and_one_fewer_flips_a_label(strategy):
    sequences, labels = ragged(sequences=30)
    model = exact.compile(sequences, labels, strategy=strategy)
    bits = model.certificate.bits
    assert 1 < bits < 53

    def wrong(bits):
        weights = rounded(model.weights, bits)
        places = kernel.run(weights, model.construction.dim, model.sequences)[:, model.construction.outputs[0]]
        return int((np.rint(places) != model.targets[:, 0]).sum())

    assert [wrong(b) for b in range(bits, 54)] == [0] * (54 - bits)
    assert wrong(bits - 1) > 0


def test_weights_of_eight_bits_are_those_of_bfloat16():
    import torch

    model = exact.compile(*ragged(sequences=20), strategy="fused", dtype="float32", direction="random")
    for ours, weights in ((rounded(model.weights, 8), torch.bfloat16), (rounded(model.weights, 11), torch.float16)):
        theirs = torch.from_numpy(model.weights.bias).to(weights).float().numpy()
        assert np.array_equal(ours.bias, theirs)
