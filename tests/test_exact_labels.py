"""Labels: plain values, told apart by value and type, never mistaken for an abstention."""

import enum
import json

import numpy as np
import pandas as pd
import pytest
import torch

from tokendyn import exact
from tokendyn.cli import run
from tokendyn.errors import BadInputError

pytestmark = pytest.mark.usefixtures("unchecked")


def sequences(count):
    return [np.array([[float(k), 1.0]]) for k in range(count)]


class Colour(str, enum.Enum):  # noqa: UP042 (what is given in code of Python 3.10)
    RED = "red"


@pytest.mark.parametrize(
    ("labels", "plain"),
    [
        (torch.tensor([1, 1, 2]), [1, 1, 2]),
        ([torch.tensor(1), torch.tensor(1), torch.tensor(2)], [1, 1, 2]),
        (np.array([1, 1, 2], dtype=np.int8), [1, 1, 2]),
        ([np.float32(0.5), np.float64(0.5), 2.5], [0.5, 0.5, 2.5]),
        (np.array(["a", "a", "b"]), ["a", "a", "b"]),
        ([np.str_("a"), "a", "b"], ["a", "a", "b"]),
        (pd.Series(["a", "a", "b"]), ["a", "a", "b"]),
        (pd.Categorical(["a", "a", "b"]), ["a", "a", "b"]),
        (np.array([True, True, False]), [True, True, False]),
        ([(np.int64(1), "x"), (1, "x"), (2, "x")], [(1, "x"), (1, "x"), (2, "x")]),
        ([Colour.RED, "red", "blue"], ["red", "red", "blue"]),
        ([0.0, -0.0, 1.0], [0.0, 0.0, 1.0]),
    ],
    ids=str,
)
def test_labels_become_plain_python_values(labels, plain):
    model = exact.compile(sequences(3), labels)
    got = model.predict(sequences(3))
    assert got == plain
    assert [type(label) for label in got] == [type(label) for label in plain]
    assert model.stats.labels == 2
    same = [sequences(1)[0], sequences(1)[0], sequences(2)[1]]
    assert exact.compile(same, labels).predict(same) == plain


def test_labels_that_are_equal_and_of_other_types_are_several_labels(tmp_path):
    labels = [1, True, 1.0, "1", (1,), (True,)]
    model = exact.compile(sequences(6), labels)
    exact.save(model, tmp_path / "model")
    for made in (model, exact.load(tmp_path / "model")):
        assert made.stats.labels == 6
        assert [(type(label), label) for label in made.predict(sequences(6))] == [(type(v), v) for v in labels]
    with pytest.raises(exact.ContradictoryLabelsError, match="1 and True"):
        exact.compile([sequences(1)[0]] * 2, [1, True])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, None, 2], "sequence 1 is None"),
        ([1.0, float("nan"), 2.0], "sequence 1 is nan"),
        ([np.nan, 1.0, np.nan], "2 problems"),
        (np.array([1.0, np.nan, 2.0]), "sequence 1 is nan"),
        (torch.tensor([1.0, float("nan"), 2.0]), "sequence 1 is nan"),
        (pd.Series(["a", None, "b"]), "sequence 1 is"),
        ([pd.NA, 1, 2], "sequence 0 is <NA>"),
        ([pd.NaT, 1, 2], "sequence 0 is NaT"),
        ([np.datetime64("NaT"), 1, 2], "sequence 0 is NaT"),
        ([(1, float("nan")), 1, 2], "sequence 0 is nan"),
        (["a", "\ud800", "b"], "half a surrogate pair"),
        (["a", ("x", "b\udfff"), "b"], "half a surrogate pair"),
        ([torch.tensor([1, 2]), 1, 2], "shape"),
        ([np.array([1, 2]), 1, 2], "shape"),
        ([[1], 1, 2], "not hashable"),
        ({1, 2, 3}, "are a set"),
        ({1: 2, 3: 4, 5: 6}, "are a dict"),
        (5, "are a int"),
        (torch.tensor(1), "are a Tensor"),
        ([np.ma.masked, 1, 2], "sequence 0 is masked"),
        (np.ma.array([1, 2, 3], mask=[0, 1, 0]), "sequence 1 is None"),
    ],
    ids=str,
)
def test_labels_that_are_none_are_refused_with_their_place(labels, message):
    with pytest.raises(BadInputError, match=message):
        exact.compile(sequences(3), labels)


@pytest.mark.parametrize("wrap", [lambda number: number, lambda number: (-number, "a")], ids=["number", "tuple"])
def test_an_integer_that_python_does_not_write_is_refused_as_a_label(wrap):
    assert exact.compile(sequences(2), [wrap(10**4000), 1]).predict(sequences(1)) == [wrap(10**4000)]
    with pytest.raises(BadInputError, match="sequence 0 is an integer of 16610 bits"):
        exact.compile(sequences(2), [wrap(10**5000), 1])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"tokens": [[1]], "label": null}\n', "line 1: the label is null"),
        ("a.jsonl", '{"tokens": [[1]], "label": NaN}\n', "line 1: the label is nan"),
        ("a.jsonl", '{"tokens": [[1]], "label": ""}\n', "line 1: the label is empty"),
        ("a.jsonl", '{"tokens": [[1]], "label": "\\ud800"}\n', "half a surrogate pair"),
        ("a.jsonl", '{"id": "\\ud800", "tokens": [[1]], "label": 1}\n', "half a surrogate pair"),
        ("a.jsonl", '{"tokens": [[1]], "label": ["a", "\\ud800"]}\n', "half a surrogate pair"),
        ("a.jsonl", '{"id": 7, "tokens": [[1]], "label": 1}\n{"id": "7", "tokens": [[2]], "label": 1}\n', "line 1 too"),
        ("a.csv", "id,label,x\na,,1\n", "the label is empty"),
        ("a.csv", "id,label,x\n,b,1\n", "the id is empty"),
    ],
)
def test_files_with_labels_or_ids_that_are_none_are_refused(tmp_path, capsys, name, content, message):
    (tmp_path / name).write_text(content)
    assert run(["classify", "build", str(tmp_path / name), "--out", str(tmp_path / "model")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_labels_of_other_types_stay_apart_in_files(tmp_path, capsys):
    lines = [{"tokens": [[k]], "label": label} for k, label in enumerate([1, True, "1", 1.0])]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(["classify", "build", str(path), "--out", str(tmp_path / "model")]) == 0
    capsys.readouterr()
    assert run(["classify", "predict", str(path), "--model", str(tmp_path / "model")]) == 0
    rows = [row.split(",")[1] for row in capsys.readouterr().out.splitlines()[1:]]
    assert rows == ["1", "True", "1", "1.0"]


# --- texts -----------------------------------------------------------------------------------------------------------


def write(path, *rows):
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("rows", "option"),
    [
        ([("Hello there", "a"), ("hello there", "b")], "--keep-case"),
        ([("well done", "a"), ("well done!", "b")], "--keep-punctuation"),
        ([("dog bites man", "a"), ("man bites dog", "b")], "--positions"),
        ([("no no yes", "a"), ("no yes", "b")], "--multiplicity frequency"),
    ],
)
def test_texts_that_contradict_name_the_option_that_tells_them_apart(tmp_path, capsys, rows, option):
    path = write(tmp_path / "t.csv", *rows)
    build = ["classify", "build", path, "--text", "text", "--out", str(tmp_path / "model")]
    for command in (build, ["classify", "check", path, "--text", "text"]):
        assert run(command) == 2
        said = capsys.readouterr().err
        assert option in said
        assert "=" not in said
    assert run([*build, *option.split()]) == 0
    capsys.readouterr()
    assert run(["classify", "predict", path, "--model", str(tmp_path / "model")]) == 0
    assert [row.split(",")[1:] for row in capsys.readouterr().out.splitlines()[1:]] == [["a", "yes"], ["b", "yes"]]


def test_emoji_are_words_and_a_line_without_words_is_named_with_its_remedy(tmp_path, capsys):
    good = write(tmp_path / "good.csv", ("👍", "a"), ("👎 👎", "b"), ("fine 👍", "c"))
    assert run(["classify", "build", good, "--text", "text", "--out", str(tmp_path / "model")]) == 0
    bad = write(tmp_path / "bad.csv", ("yes", "a"), ("?!", "b"))
    capsys.readouterr()
    assert run(["classify", "build", bad, "--text", "text", "--out", str(tmp_path / "other")]) == 2
    assert "row 2: the text has no word; remove the row, or keep punctuation" in capsys.readouterr().err
    build = ["classify", "build", bad, "--text", "text", "--keep-punctuation", "--out", str(tmp_path / "other")]
    assert run(build) == 0
    capsys.readouterr()
    assert run(["classify", "predict", bad, "--model", str(tmp_path / "other")]) == 0
    assert [row.split(",")[1:] for row in capsys.readouterr().out.splitlines()[1:]] == [["a", "yes"], ["b", "yes"]]
