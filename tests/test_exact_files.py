"""Saving, the stand-alone check, ONNX and torch.export: the same bits elsewhere."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from exact_data import gauss, ragged

from tokendyn import exact
from tokendyn.errors import BadInputError
from tokendyn.exact import check_certificate
from tokendyn.runs.files import read_tensors, write_tensors

CHOICES = [
    {"strategy": "narrow"},
    {"strategy": "fused", "dtype": "float32"},
    {"strategy": "slab"},
    {"strategy": "fingerprint"},
    {"strategy": "narrow", "attention": "softmax"},
    {"strategy": "fused", "positions": True},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    sequences, labels = ragged(sequences=20)
    place = tmp_path_factory.mktemp("models") / "model"
    exact.save(exact.compile(sequences, [("label", label) for label in labels], strategy="narrow"), place)
    return place


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_a_loaded_transformer_is_the_saved_one(options, tmp_path):
    sequences, labels = ragged()
    model = exact.compile(sequences, labels, **options)
    exact.save(model, tmp_path / "model")
    again = exact.load(tmp_path / "model")
    assert again.predict(sequences) == labels
    assert again.stats == model.stats
    assert again.certificate == model.certificate
    assert again.certificate.verify().passed
    assert again.is_known(sequences).all()
    if model.construction.plan is not None:
        assert again.explain(sequences[3]).to_dict() == model.explain(sequences[3]).to_dict()


def test_outputs_of_sequences_survive_saving(tmp_path):
    sequences, _ = ragged(sequences=10)
    outputs = [np.arange(len(s), dtype=float) / 7 for s in sequences]
    exact.save(exact.compile_seq2seq(sequences, outputs), tmp_path / "model")
    assert exact.load(tmp_path / "model").certificate.verify().passed
    assert check_certificate.main([str(tmp_path / "model"), "--quiet"]) == 0


def test_a_label_that_json_cannot_hold_is_refused(tmp_path):
    model = exact.compile(gauss(sequences=2)[0], [frozenset({1}), "b"])
    with pytest.raises(BadInputError, match="frozenset"):
        exact.save(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_stand_alone_check_needs_neither_the_library_nor_its_dependencies(folder):
    script = Path(check_certificate.__file__)
    isolated = [sys.executable, "-I", "-S", str(script), str(folder), "--quiet"]
    done = subprocess.run(isolated, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rational arithmetic: exact" in done.stdout
    imports = [line for line in script.read_text().splitlines() if line.startswith(("import", "from"))]
    assert {line.split()[1].split(".")[0] for line in imports} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_the_stand_alone_check_accepts_every_construction(options, tmp_path):
    sequences, labels = ragged(sequences=12)
    exact.save(exact.compile(sequences, labels, **options), tmp_path / "model")
    assert check_certificate.main([str(tmp_path / "model"), "--quiet"]) == 0


def test_the_stand_alone_check_finds_a_wrong_weight(folder, tmp_path, capsys):
    broken = shutil.copytree(folder, tmp_path / "broken")
    tensors = read_tensors(broken / "model.safetensors")
    tensors["weights.out_weights"][-3] *= 2
    write_tensors(broken / "model.safetensors", tensors)
    assert check_certificate.main([str(broken), "--quiet"]) == 1
    assert "sequence" in capsys.readouterr().err


def test_the_stand_alone_check_finds_a_low_inverse_temperature(tmp_path, capsys):
    sequences, labels = ragged(sequences=10)
    exact.save(exact.compile(sequences, labels, strategy="narrow", attention="softmax"), tmp_path / "model")
    record = json.loads((tmp_path / "model" / "model.json").read_text())
    record["beta"] = 0.5 * record["certificate"]["beta_min"]
    (tmp_path / "model" / "model.json").write_text(json.dumps(record))
    assert check_certificate.main([str(tmp_path / "model"), "--quiet"]) == 1
    assert "inverse temperature" in capsys.readouterr().err


def test_the_stand_alone_check_refuses_what_it_cannot_read(folder, tmp_path):
    assert check_certificate.main([str(tmp_path)]) == 2
    broken = shutil.copytree(folder, tmp_path / "broken")
    whole = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert check_certificate.main([str(broken)]) == 2


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("weights.in_channels", lambda a: a + 100),
        ("weights.out_channels", lambda a: a - 100),
        ("weights.units", lambda a: a[::-1].copy()),
        ("weights.value_starts", lambda a: a[:-1]),
        ("weights.bias", lambda a: a * np.nan),
        ("weights.eta", lambda a: a.astype(np.float32)),
        ("starts", lambda a: a + 1),
        ("targets", lambda a: a[:-1]),
        ("tokens", lambda a: a[:, :0]),
        ("plan.gap", lambda a: a[:-1]),
    ],
)
def test_damaged_tensors_are_refused_before_they_are_run(folder, tmp_path, name, damage):
    broken = shutil.copytree(folder, tmp_path / "broken")
    tensors = read_tensors(broken / "model.safetensors")
    tensors[name] = damage(tensors[name])
    write_tensors(broken / "model.safetensors", tensors)
    with pytest.raises(BadInputError, match="anew"):
        exact.load(broken)


@pytest.mark.parametrize("field", ["strategy", "channels", "dim", "outputs", "labels", "margins", "dtype", "attention"])
def test_a_damaged_record_is_refused(folder, tmp_path, field):
    broken = shutil.copytree(folder, tmp_path / "broken")
    record = json.loads((broken / "model.json").read_text())
    for value in (None, "nonsense", -3, [[]]):
        record[field] = value
        if isinstance(value, str) and field == "strategy":
            continue
        (broken / "model.json").write_text(json.dumps(record))
        with pytest.raises(BadInputError):
            exact.load(broken)


# --- other runtimes ------------------------------------------------------------------------------------------------


def padded(model):
    given = model.sequences
    mask = np.arange(given.lengths.max())[None, :] < given.lengths[:, None]
    tokens = np.zeros((*mask.shape, model.input_dim), given.tokens.dtype)
    tokens[mask] = given.tokens
    return tokens, mask


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_onnxruntime_gives_the_same_bits_as_torch(options, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="install the [test] extra")
    model = exact.compile(*ragged(), **options)
    exact.to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    tokens, mask = padded(model)
    (outputs,) = session.run(None, {"tokens": tokens, "mask": mask})
    ours = model.module(torch.from_numpy(tokens), torch.from_numpy(mask)).numpy()
    assert np.array_equal(outputs[mask], ours[mask])
    assert np.array_equal(outputs[mask], model.targets)


def shown(model, fill):
    """Return the sequences of a model with two more padded positions, a last row of padding alone, and the mask."""
    tokens, mask = padded(model)
    mask = np.pad(mask, ((0, 1), (0, 2)))
    tokens = np.pad(tokens, ((0, 1), (0, 2), (0, 0)))
    tokens[~mask] = fill
    return tokens, mask


@pytest.mark.parametrize("attention", ["hardmax", "softmax"])
@pytest.mark.parametrize("strategy", ["narrow", "fused", "slab", "half-space", "fingerprint", "hat", "strict"])
def test_what_stands_at_padding_changes_nothing_in_any_form(strategy, attention, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="install the [test] extra")
    data = gauss(sequences=8, dim=24) if strategy == "half-space" else ragged(sequences=8)
    model = exact.compile(*data, strategy=strategy, attention=attention)
    linear = exact.to_linear(model)
    runs = [
        lambda t, m, form=form: form(torch.from_numpy(t), torch.from_numpy(m)).numpy()
        for form in (model.module, linear)
    ]
    for unrolled in (False, True):
        path = exact.to_onnx(model, tmp_path / f"{unrolled}.onnx", unrolled=unrolled)
        session = onnxruntime.InferenceSession(path)
        runs.append(lambda t, m, session=session: session.run(None, {"tokens": t, "mask": m})[0])
    for fill in (0.0, np.nan, np.inf, -1e300, 7.0):
        tokens, mask = shown(model, fill)
        for form in runs:
            outputs = form(tokens, mask)
            assert np.abs(outputs[mask] - model.targets).max() <= (1e-6 if strategy == "strict" else 0)
            assert (outputs[:-1][~mask[:-1]] == 0).all()  # padding has no output
            assert np.isnan(outputs[-1]).all()  # a row without any token has no label


def test_the_unrolled_forms_give_the_same_bits_as_the_stacked_one(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="install the [test] extra")
    for options in CHOICES:
        model = exact.compile(*ragged(sequences=15), **options)
        path = exact.to_onnx(model, tmp_path / "model.onnx", unrolled=True)
        tokens, mask = padded(model)
        (outputs,) = onnxruntime.InferenceSession(path).run(None, {"tokens": tokens, "mask": mask})
        linear = exact.to_linear(model)(torch.from_numpy(tokens), torch.from_numpy(mask)).numpy()
        assert np.array_equal(outputs[mask], model.targets)
        assert np.array_equal(linear[mask], model.targets)


def matrices(model):
    """Count the matrices of all blocks: two of the feed-forward part, two of values, two of scores."""
    weights = model.weights
    attends = int(weights.attends.sum())
    return 2 * weights.blocks + 2 * attends + 2 * int((weights.attends * weights.query_weights != 0).sum())


@pytest.mark.parametrize(
    "options", [{"strategy": "fused"}, {"strategy": "fingerprint", "direction": "random"}], ids=str
)
def test_quantisers_quantise_every_matrix_of_the_unrolled_forms(options, tmp_path):
    onnx = pytest.importorskip("onnx", reason="install the [onnx] extra")
    quantization = pytest.importorskip("onnxruntime.quantization", reason="install the [test] extra")
    model = exact.compile(*ragged(sequences=10), dtype="float32", **options)
    found = {}
    for unrolled in (False, True):
        exact.to_onnx(model, tmp_path / "model.onnx", unrolled=unrolled)
        quantization.quantize_dynamic(tmp_path / "model.onnx", tmp_path / "quantised.onnx")
        graph = onnx.load(tmp_path / "quantised.onnx").graph
        found[unrolled] = sum(node.op_type == "MatMulInteger" for node in graph.node)
    assert found == {False: 0, True: matrices(model)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves its quantisers to another package
        layers = torch.ao.quantization.quantize_dynamic(exact.to_linear(model), {torch.nn.Linear}).modules()
        kind = torch.ao.nn.quantized.dynamic.Linear
        assert sum(isinstance(layer, kind) for layer in layers) == matrices(model)


def test_a_very_deep_transformer_is_not_unrolled(tmp_path, monkeypatch):
    monkeypatch.setattr("tokendyn.exact.export.MOST_UNROLLED", 5)
    model = exact.compile(*ragged(), strategy="narrow")
    with pytest.raises(BadInputError, match="leave it out"):
        exact.to_onnx(model, tmp_path / "model.onnx", unrolled=True)
    with pytest.raises(BadInputError, match=r"model\.module"):
        exact.to_linear(model)
    assert not list(tmp_path.iterdir())


def test_the_onnx_graph_does_not_grow_with_the_blocks(tmp_path):
    onnx = pytest.importorskip("onnx", reason="install the [onnx] extra")
    nodes = set()
    for sequences in (10, 60):
        model = exact.compile(*ragged(sequences=sequences), strategy="narrow")
        graph = onnx.load(exact.to_onnx(model, tmp_path / f"{sequences}.onnx")).graph
        (scan,) = (node for node in graph.node if node.op_type == "Scan")
        nodes.add((len(graph.node), len(scan.attribute[0].g.node)))
    assert len(nodes) == 1


def test_torch_export_gives_the_same_bits_for_any_batch_and_length():
    model = exact.compile(*ragged(sequences=5), strategy="fused")
    program = exact.to_exported_program(model).module()
    tokens, mask = padded(model)
    wide = np.concatenate([tokens, np.ones_like(tokens)], axis=1), np.concatenate([mask, ~mask & False], axis=1)
    for t, m in ((tokens, mask), (tokens[:3], mask[:3]), wide):
        outputs = program(torch.from_numpy(t), torch.from_numpy(m)).detach().numpy()
        ours = model.module(torch.from_numpy(t), torch.from_numpy(m)).numpy()
        assert np.array_equal(outputs[m], ours[m])


def test_torch_export_of_a_very_deep_transformer_is_refused(monkeypatch):
    monkeypatch.setattr("tokendyn.exact.export.MOST_UNROLLED", 5)
    with pytest.raises(BadInputError, match="to_onnx"):
        exact.to_exported_program(exact.compile(*ragged(), strategy="narrow"))
