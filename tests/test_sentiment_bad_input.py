"""Texts, labels and model folders as they go wrong in practice: one clear error with the place, or a stated result."""

import csv
import gzip
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from published_leaders import published

from tokendyn.cli import run
from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.sentiment import load, save

pytestmark = pytest.mark.usefixtures("unchecked")

ROWS = "".join(f"a warm film {number},pos\na dull film {number},neg\n" for number in range(30))
GOOD = "text,label\n" + ROWS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    corpus = small_reviews()
    path = tmp_path_factory.mktemp("models") / "model"
    save(published(start_epochs=2, epochs=1).fit(corpus.texts, corpus.labels), path)
    return path


@pytest.fixture(scope="module")
def model(folder):
    return load(folder)


def refused(capsys, *arguments):
    """Run a command that must fail with one message, without traceback and without output; return the message."""
    capsys.readouterr()
    assert run(["sentiment", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tokendyn: ")
    assert "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", bytes(range(256)) * 9, ["binary", "CSV"]),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0", ["a PNG picture"]),
        ("a.csv", GOOD.encode() + "a café,pos\n".encode("cp1252"), ["line 62", "caf\\xe9", "Windows-1252", "UTF-8"]),
        ("a.csv.gz", gzip.compress(GOOD.encode() + b"\xe9,pos\n"), ["line 62", "UTF-8"]),
        ("a.csv", GOOD.encode("utf-16"), ["UTF-16", "save it as UTF-8"]),
        ("a.csv", gzip.compress(GOOD.encode()), ["compressed by gzip", "end in .gz"]),
        ("a.csv.gz", GOOD.encode(), ["not a gzip file", "take .gz from its name"]),
        ("a.csv", GOOD + "nice,Pos\nweak,nge\n", ["row 61", "'Pos'", "mean 'pos'", "row 62", "'nge'", "mean 'neg'"]),
        ("a.csv", "text,label\n" + '"",pos\n"",neg\n' * 30, ["60 texts hold only 1 that differ", "hold out none"]),
    ],
)
def test_a_file_that_cannot_be_learned_from_is_refused_with_the_place_and_the_remedy(
    tmp_path, capsys, name, content, words
):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = refused(capsys, "train", path, "--test-fraction", "0.2", "--out", tmp_path / "model")
    for word in words:
        assert word in said
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([f"x{n},{n % 20}" for n in range(80)], ["20 classes", "2 to 15", "transfer=0.0"]),
        ([f"of the {n},{n % 2}" for n in range(60)], ["no word tells the classes apart"]),
    ],
)
def test_what_the_published_model_cannot_learn_from_is_refused(tmp_path, capsys, rows, words):
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]))
    said = refused(capsys, "train", tmp_path / "a.csv", "--transfer", "1", "--out", tmp_path / "model")
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"pos/a.txt": b"warm", "pos/b.txt": b"fine", "neg/.keep": b""}, ["neg", "no .txt file", "remove it"]),
        ({"pos/a.txt": b"warm", "neg/a.txt": b"dull", "neg/b.txt": b"weak"}, ["'pos'", "at least 2"]),
        ({"a.txt": b"no class"}, ["one folder for each class"]),
    ],
)
def test_class_folders_that_lack_texts_are_refused(tmp_path, capsys, files, words):
    for name, content in files.items():
        (tmp_path / "reviews" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "reviews" / name).write_bytes(content)
    said = refused(capsys, "train", tmp_path / "reviews", "--out", tmp_path / "model")
    for word in words:
        assert word in said
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("epohcs = 3\n", ["epohcs", "did you mean epochs?"]),
        ('epochs = "three"\n', ["epochs", "three"]),
        (None, ["cannot be read"]),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path, capsys, config, words):
    (tmp_path / "a.csv").write_text(GOOD)
    if config is not None:
        (tmp_path / "c.toml").write_text(config)
    said = refused(capsys, "train", tmp_path / "a.csv", "--config", tmp_path / "c.toml", "--out", tmp_path / "model")
    for word in words:
        assert word in said
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("out", ["kept", "a.csv/model"])
def test_a_place_that_cannot_take_the_model_is_refused_and_left_alone(tmp_path, capsys, out):
    (tmp_path / "a.csv").write_text(GOOD)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine").write_text("1")
    refused(capsys, "train", tmp_path / "a.csv", "--out", tmp_path / out)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a.csv", "kept", "kept/mine"]
    assert (tmp_path / "a.csv").read_text() == GOOD


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("latin.txt", "a café".encode("latin-1"), ["not UTF-8", "save it as UTF-8"]),
        ("absent.txt", None, ["absent.txt", "No such file"]),
    ],
)
def test_a_text_file_that_cannot_be_read_is_refused(folder, tmp_path, capsys, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    said = refused(capsys, "explain", "--file", tmp_path / name, "--model", folder)
    for word in words:
        assert word in said


def test_a_model_of_a_later_version_says_what_to_update(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "new")
    record = json.loads((tmp_path / "new" / "model.json").read_text())
    (tmp_path / "new" / "model.json").write_text(json.dumps(record | {"schema_version": 99}))
    assert "version 99" in refused(capsys, "explain", "x", "--model", tmp_path / "new")


LABELS = ["x", "y", "x", "y"]


@pytest.mark.parametrize(
    ("texts", "labels", "words"),
    [
        (pd.DataFrame({"text": LABELS}), LABELS, ["table", "table['text']"]),
        ({"a": 1, "b": 2}, LABELS, ["dict", "list of strings"]),
        (set(LABELS), LABELS, ["set", "list of strings"]),
        (pd.Series(["a", pd.NA, "b", None], dtype="string"), LABELS, ["texts[1]", "texts[3]", "remove or fill"]),
        ([b"a", "b", "c", "d"], LABELS, ["texts[0]", "bytes"]),
        (LABELS, pd.array(["x", "y", pd.NA, "x"], dtype="string"), ["labels[2]", "missing"]),
        (LABELS, [("x",), ("y",)] * 2, ["4 problems", "labels[0]", "tuple"]),
        (["a"] * 5, ["good", "bad", "good", "bad", "godo"], ["labels[4]", "'godo' has 1 text", "mean 'good'"]),
        (["a"] * 40, [None] * 40, ["40 problems", "labels[0]", "and 30 more labels"]),
    ],
)
def test_texts_and_labels_that_are_none_are_named_by_place(texts, labels, words):
    with pytest.raises(BadInputError) as caught:
        published().fit(texts, labels)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "", " \n\t", "the and of", "😀🎬", "w" * 1_000_000, "פלא גדול", "\x1b[2J\u202e\x00", "lone \ud800 surrogate",
        "</script><img src=x onerror=alert(1)>",
    ],
)  # fmt: skip
def test_a_text_without_opinions_gets_the_bias_and_a_page(model, text):
    why = model.explain(text)
    total = why.bias + why.residual + sum(leader.contribution for leader in why.leaders)
    assert total == pytest.approx(why.logit, abs=1e-9)
    assert why.known_words or "bias alone" in why.note
    page = why._repr_html_()
    assert "onerror=alert(1)>" not in page
    assert len(page) < 200_000
    page.encode()


def test_predicting_rows_without_opinions_keeps_every_row(folder, tmp_path, capsys):
    odd = ["", " ", "the", "😀", "סרט", '"quoted", and\nbroken', "<b>warm</b>"]
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["text"], *([text] for text in odd)])
    capsys.readouterr()
    assert run(["sentiment", "predict", str(tmp_path / "a.csv"), "--model", str(folder)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["text"] for row in rows] == odd
    assert all(0 <= float(row["probability_pos"]) <= 1 for row in rows)


@pytest.mark.parametrize("wrap", [np.array, pd.Series, tuple, iter])
def test_no_texts_give_no_labels(model, wrap):
    assert len(model.predict(wrap([]))) == 0
