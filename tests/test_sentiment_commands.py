import json

import pandas as pd
import pytest

from tokendyn.cli import run
from tokendyn.data.texts import small_reviews
from tokendyn.sentiment import load


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    corpus = small_reviews()
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    pd.DataFrame({"text": corpus.texts, "label": corpus.labels}).to_csv(path, index=False)
    return path


def test_a_model_of_pairs_is_trained_and_explains_a_whole_file(reviews, tmp_path):
    options = ["--ngrams", "2", "--negation", "--class-weight", "balanced", "--leaders", "3", "--patience", "2"]
    assert run(["sentiment", "train", str(reviews), *options, "--epochs", "2", "--out", str(tmp_path / "model")]) == 0
    model = load(tmp_path / "model")
    parameters = model.get_params()
    assert [parameters[name] for name in ("ngrams", "negation", "class_weight", "leaders", "patience")] == [
        2, True, "balanced", 3.0, 2,
    ]  # fmt: skip
    out = tmp_path / "why.jsonl"
    assert run(["sentiment", "explain-all", str(reviews), "--model", str(tmp_path / "model"), "--out", str(out)]) == 0
    lines = out.read_text(encoding="utf-8").split("\n")[:-1]
    texts = small_reviews().texts
    assert len(lines) == len(texts)
    why = model.explain(texts[0])
    first = json.loads(lines[0])
    assert first["label"] == why.label
    assert [led["word"] for led in first["leaders"]] == [led.word for led in why.leaders]


def test_the_curve_is_a_table_and_a_figure(reviews, tmp_path, capsys):
    out = tmp_path / "curve"
    arguments = ["sentiment", "curve", str(reviews), "--leaders", "2", "--leaders", "5", "--json", "--out", str(out)]
    assert run(arguments) == 0
    table = pd.read_csv(out / "curve.csv")
    assert table["leaders_wished"].tolist() == [2.0, 5.0]
    assert len(json.loads(capsys.readouterr().out)["points"]) == 2
    assert (out / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert run(arguments) == 2
    assert run([*arguments[:3], "--leaders", "-1", "--out", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()
