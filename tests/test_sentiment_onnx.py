import json
import sys

import numpy as np
import pytest
from published_leaders import published

from tokendyn.cli import run
from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError, MissingLibraryError
from tokendyn.sentiment import export_onnx, onnx_inputs, save

pytest.importorskip("onnx", reason="install the [onnx] extra to export")
onnxruntime = pytest.importorskip("onnxruntime", reason="install the [test] extra to run exported graphs")

TOPICS = {"food": "salty tasty soup bread", "music": "loud song guitar tune", "sport": "goal match team coach"}


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def three_classes():
    rng = np.random.default_rng(5)
    labels = [list(TOPICS)[n % 3] for n in range(150)]
    plain = ["the", "a", "was", "and", "of", "it", "very", "there"]
    texts = [" ".join([*rng.choice(TOPICS[label].split(), 3), *rng.choice(plain, 5)]) for label in labels]
    return published(epochs=2).fit(texts, labels), texts


def two_classes(**parameters):
    corpus = small_reviews()
    return published(epochs=2, **parameters).fit(corpus.texts, corpus.labels), list(corpus.texts)


CASES = {
    "words": two_classes,
    "pairs and negation": lambda: two_classes(ngrams=2, negation=True),
    "no layers": lambda: two_classes(layers=0),
    "alpha": lambda: two_classes(layers=3, alpha=0.3),
    "three classes": three_classes,
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    model, texts = CASES[request.param]()
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    model.to_onnx(path)
    return model, texts, session_of(path)


def test_the_graph_gives_our_labels_and_logits(case):
    model, texts, session = case
    texts = [*texts, "", "xyzzy plugh", "!?", " ".join(texts[:20])]
    probabilities, logits = session.run(["probabilities", "logits"], onnx_inputs(model, texts))
    ours = model.decision_function(texts)
    assert logits.dtype == probabilities.dtype == np.float64
    assert logits.shape == ours.shape
    assert np.abs(logits - ours).max() < 1e-12
    assert np.abs(probabilities - model.predict_proba(texts)).max() < 1e-13
    chosen = logits.argmax(axis=1) if logits.ndim == 2 else (logits > 0).astype(int)
    assert np.array_equal(model.classes_[chosen], model.predict(texts))


def test_a_text_without_a_token_has_the_bias_to_the_bit(case):
    model, _, session = case
    (logits,) = session.run(["logits"], onnx_inputs(model, [""]))
    assert np.array_equal(logits[0], model.intercept_)


def test_padding_changes_nothing(case):
    model, texts, session = case
    inputs = onnx_inputs(model, texts[:30])
    (plain,) = session.run(["logits"], inputs)
    rng = np.random.default_rng(0)
    wide = {
        "words": np.concatenate([inputs["words"], rng.integers(0, 5, (30, 9))], axis=1),
        "counts": np.concatenate([inputs["counts"], np.zeros((30, 9))], axis=1),
    }
    (padded,) = session.run(["logits"], wide)
    assert np.abs(padded - plain).max() < 1e-12
    for row in range(3):
        (alone,) = session.run(["logits"], onnx_inputs(model, [texts[row]]))
        assert np.abs(alone[0] - plain[row]).max() < 1e-12


def test_tied_leaders_are_averaged_by_their_counts(tmp_path):
    texts = ["good fine film", "bad dull film"] * 4
    model = published(epochs=1, layers=4, min_score=0.0).fit(texts, [1, 0] * 4)
    # Mirror images: each leads itself and both lead the pole between them, and equal norms tie twice.
    points = np.zeros_like(model.embedding_)
    names = list(model.words_)
    points[names.index("good")], points[names.index("bad")] = (1.0, 1.0), (-1.0, 1.0)
    points[names.index("fine")], points[names.index("dull")] = (1.0, 1.0), (0.5, 1.0)
    points[-1] = (0.0, 1.0)
    model._settle(model.classes_, model.words_, points, model.decoder_, model.intercept_)
    export_onnx(model, tmp_path / "tied.onnx")
    asked = ["good bad zzz", "good good bad zzz", "good fine bad bad bad zzz zzz", "dull good bad", "good fine"]
    (logits,) = session_of(tmp_path / "tied.onnx").run(["logits"], onnx_inputs(model, asked))
    assert np.allclose(logits[:1], model.intercept_, atol=1e-14)  # the mirror images cancel
    assert abs(logits[1] - model.intercept_) > 1
    assert np.abs(logits - model.decision_function(asked)).max() < 1e-12


def test_the_metadata_say_how_inputs_are_made(tmp_path):
    import onnx

    model, _ = two_classes(ngrams=2)
    model.to_onnx(tmp_path / "model.onnx")
    read = onnx.load(str(tmp_path / "model.onnx"))
    told = {entry.key: entry.value for entry in read.metadata_props}
    assert json.loads(told["tokens"]) == list(model.words_)
    assert json.loads(told["classes"]) == ["neg", "pos"]
    assert json.loads(told["token_rule"])["ngrams"] == 2
    assert "count 0" in told["inputs"]
    assert [one.version for one in read.opset_import] == [17]


def test_the_command_writes_the_file_once(tmp_path, capsys):
    model, texts = two_classes()
    save(model, tmp_path / "model")
    out = tmp_path / "out" / "model.onnx"
    command = ["sentiment", "export", str(tmp_path / "model"), "--out", str(out)]
    assert run([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["bytes"] == out.stat().st_size
    (logits,) = session_of(out).run(["logits"], onnx_inputs(model, texts[:50]))
    assert np.abs(logits - model.decision_function(texts[:50])).max() < 1e-12
    assert run(command) == 2
    assert "exists" in capsys.readouterr().err
    assert run([*command, "--overwrite"]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    with pytest.raises(BadInputError, match="not fitted"):
        export_onnx(published(), tmp_path / "model.onnx")
    model, _ = two_classes()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingLibraryError, match=r'pip install "tokendyn\[onnx\]"'):
        export_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
