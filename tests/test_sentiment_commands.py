import io
import json
import sys

import pandas as pd
import pytest

from tokendyn.cli import run
from tokendyn.data.texts import small_reviews
from tokendyn.sentiment import LeaderClassifier, load


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


@pytest.fixture(scope="module")
def model(reviews, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    assert run(["sentiment", "train", str(reviews), "--epochs", "1", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def many(tmp_path):
    """5,000 short texts: more than one part of a stream."""
    corpus = small_reviews()
    path = tmp_path / "many.csv.gz"
    texts = [f"{number} {corpus.texts[number % 600]}" for number in range(5000)]
    pd.DataFrame({"text": texts}).to_csv(path, index=False)
    return path, texts


def test_predictions_in_parts_are_those_of_one_pass(model, many, tmp_path, capsys):
    path, texts = many
    out = tmp_path / "labelled.csv"
    assert run(["sentiment", "predict", str(path), "--model", str(model), "--out", str(out)]) == 0
    assert "labelled 5000 texts" in capsys.readouterr().err
    found = pd.read_csv(out)
    labels, probabilities, leaders = load(model).predict_all(texts)
    assert found["text"].tolist() == texts
    assert found["prediction"].tolist() == labels.tolist()
    assert found["leaders"].tolist() == leaders.tolist()
    assert abs(found["probability_pos"] - probabilities[:, 1]).max() <= 5e-7
    assert run(["sentiment", "predict", str(path), "--model", str(model)]) == 0
    assert capsys.readouterr().out == out.read_bytes().decode().replace("\r\n", "\n")


def test_predictions_and_explanations_take_standard_input(model, tmp_path, monkeypatch, capsys):
    for command, out in (("predict", []), ("explain-all", ["--out", str(tmp_path / "why.jsonl")])):
        source = io.TextIOWrapper(io.BytesIO(b"text\na wonderful film\n\na dull mess\n"))
        monkeypatch.setattr(sys, "stdin", source)
        assert run(["sentiment", command, "-", "--model", str(model), *out]) == 0
    assert capsys.readouterr().out.split("\n")[1].startswith("a wonderful film,")
    monkeypatch.setattr(sys, "stdin", io.StringIO("a wonderful film"))
    assert run(["sentiment", "explain", "-", "--model", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "a wonderful film"
    assert [json.loads(line)["row"] for line in (tmp_path / "why.jsonl").read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize("command", ["predict", "explain-all"])
def test_a_bad_row_late_in_a_file_leaves_nothing_behind(model, many, tmp_path, capsys, command):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "fine"}\n' * 4000 + '{"text": 3}\n' + '{"other": ""}\n' * 2)
    out = tmp_path / "folder" / "out.csv"
    assert run(["sentiment", command, str(path), "--model", str(model), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "row 4001" in said
    assert "row 4003" in said
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("command", ["predict", "explain-all"])
def test_an_interrupted_run_leaves_nothing_behind(model, many, tmp_path, monkeypatch, command):
    judged = LeaderClassifier.predict_all, LeaderClassifier.explain_many
    calls = []

    def interrupted(which):
        def call(self, texts):
            calls.append(len(texts))
            if len(calls) == 2:
                raise KeyboardInterrupt
            return which(self, texts)

        return call

    monkeypatch.setattr(LeaderClassifier, "predict_all", interrupted(judged[0]))
    monkeypatch.setattr(LeaderClassifier, "explain_many", interrupted(judged[1]))
    out = tmp_path / "folder" / "out.csv"
    assert run(["sentiment", command, str(many[0]), "--model", str(model), "--out", str(out)]) == 130
    assert calls == [2048, 2048]
    assert list(out.parent.iterdir()) == []


def test_training_says_which_texts_repeat_and_keeps_them_on_one_side(tmp_path, capsys):
    corpus = small_reviews()
    path = tmp_path / "repeated.csv"
    texts, labels = [*corpus.texts, *corpus.texts[:100]], [*corpus.labels, "pos", *corpus.labels[1:100]]
    labels[600] = "neg" if labels[0] == "pos" else "pos"
    pd.DataFrame({"text": texts, "label": labels}).to_csv(path, index=False)
    options = ["--test-fraction", "0.2", "--epochs", "1", "--json", "--out", str(tmp_path / "model")]
    assert run(["sentiment", "train", str(path), *options]) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record["repeated_texts"] == 100
    assert 10 < record["moved_texts"] < 50
    assert f"100 texts repeat an earlier one; {record['moved_texts']} changed sides" in said.err
    assert "1 different texts occur with different labels" in said.err


def test_a_comparison_is_a_table_a_figure_and_a_page(reviews, tmp_path, capsys):
    out = tmp_path / "comparison"
    command = ["sentiment", "compare", str(reviews), "--ngrams", "2", "--seed", "2", "--out", str(out)]
    assert run([*command, "--dry-run"]) == 0
    assert "on 480 texts, test on 120" in capsys.readouterr().err
    assert not out.exists()
    assert run([*command, "--published", "--published-epochs", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["table"]
    assert [row["classifier"] for row in rows] == [
        "leaders",
        "leaders decide (transfer 1)",
        "TF-IDF + LR, words",
        "TF-IDF + LR, words and pairs",
        "fastText-like",
        "as published, d = 16",
    ]
    assert all(0.75 < row["low"] < row["accuracy"] < row["high"] for row in rows[:3])
    table = pd.read_csv(out / "table.csv")
    assert table["accuracy"].tolist() == [row["accuracy"] for row in rows]
    assert (out / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((out / "comparison.json").read_text())["table"] == rows
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "fastText-like" in page
    assert "tokendyn sentiment compare" in page
    assert run(command) == 2


def test_a_comparison_that_cannot_be_made_is_refused_before_the_work(tmp_path, capsys):
    path = tmp_path / "three.csv"
    path.write_text("text,label\n" + "".join(f"text {n},{'abc'[n % 3]}\n" for n in range(30)))
    out = tmp_path / "out"
    assert run(["sentiment", "compare", str(path), "--published", "--out", str(out)]) == 2
    assert "tells 2 classes apart, the labels have 3" in capsys.readouterr().err
    assert run(["sentiment", "compare", str(path), "--test-fraction", "1.5", "--out", str(out)]) == 2
    assert not out.exists()


@pytest.mark.parametrize(("words", "name"), [
    (["predict", "{reviews}", "--out"], "labels.csv"),
    (["explain-all", "{reviews}", "--out"], "why.jsonl"),
    (["explain", "A dull film.", "--html"], "why.html"),
])  # fmt: skip
def test_a_file_is_replaced_only_when_asked_and_only_where_tokendyn_wrote_it(words, name, model, tmp_path, capsys):
    source, target = tmp_path / "few.csv", tmp_path / name
    source.write_text("id,text\n1,A dull film.\n2,A wonderful film.\n", encoding="utf-8")
    words = ["sentiment", *(word.format(reviews=source) for word in words), str(target), "--model", str(model)]
    assert run(words) == 0
    first = target.read_bytes()
    assert run(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run([*words, "--overwrite"]) == 0
    assert target.read_bytes() == first
    for foreign in (b"", b"id,text,thesis\n1,2,3\n", b'{"row": 1, "thesis": 3}\n', b"<html>mine</html>"):
        target.write_bytes(foreign)
        assert run([*words, "--overwrite"]) == 2
        assert "tokendyn did not write" in capsys.readouterr().err
        assert target.read_bytes() == foreign


def test_labels_of_labels_do_not_replace_what_they_are_made_of(model, reviews, tmp_path, capsys):
    labels = tmp_path / "labels.csv"
    assert run(["sentiment", "predict", str(reviews), "--model", str(model), "--out", str(labels)]) == 0
    before = labels.read_bytes()
    link = tmp_path / "link.csv"
    link.symlink_to(labels)
    for source in (labels, link):
        words = ["sentiment", "predict", str(source), "--model", str(model), "--out", str(labels), "--overwrite"]
        assert run(words) == 2
        assert "is read from it" in capsys.readouterr().err
    assert labels.read_bytes() == before
