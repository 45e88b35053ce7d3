"""What is written to CSV files and to terminals shows text of other people, and does nothing with it."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from published_leaders import published

from tokendyn.cli import run
from tokendyn.cli.output import printable
from tokendyn.data.texts import read_texts, stream_texts
from tokendyn.runs.table import safe_cell, safe_frame, write_csv
from tokendyn.sentiment.store import save

FORMULAS = ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe(text):
    assert safe_cell(text) == "'" + text


@pytest.mark.parametrize("value", ["-1", "+1.5e3", "fine = good", "a-b", "", 3, -2.5, None, True])
def test_numbers_and_other_texts_stay_as_they_are(value):
    assert safe_cell(value) is value


def test_tables_are_written_with_safe_texts(tmp_path):
    write_csv(tmp_path / "t.csv", {"job": [1, 2], "error": ["=1", "fine"], "x": [-1.0, 2.5]})
    assert (tmp_path / "t.csv").read_text() == "job,error,x\n1,'=1,-1.0\n2,fine,2.5\n"
    frame = safe_frame(pd.DataFrame({"token": ["=1", "a"], "x": [-1.0, 2.0], "leads": [True, False]}))
    assert frame["token"].tolist() == ["'=1", "a"]
    assert frame["x"].tolist() == [-1.0, 2.0]
    assert frame["leads"].tolist() == [True, False]


def test_predictions_carry_the_id_and_hold_no_formula(tmp_path, capsys):
    texts = ["a fine and moving film", "dull and false", "fine film", "dull", "moving", "false"] * 3
    model = published(epochs=1, random_state=0).fit(texts, ["=good", "bad\nnews"] * 9)
    save(model, tmp_path / "model")
    rows = [("7", "=fine film", "x"), ("=8", "- dull", "y"), ("9", "moving", "z")]
    pd.DataFrame(rows, columns=["id", "text", "other"]).to_csv(tmp_path / "new.csv", index=False)
    code = run(["sentiment", "predict", str(tmp_path / "new.csv"), "--model", str(tmp_path / "model"),
                "--out", str(tmp_path / "out.csv")])  # fmt: skip
    assert code == 0, capsys.readouterr().err
    with (tmp_path / "out.csv").open(newline="") as stream:
        header, *found = list(csv.reader(stream))
    assert header[:3] == ["id", "text", "prediction"]
    assert [row[:2] for row in found] == [["7", "'=fine film"], ["'=8", "'- dull"], ["9", "moving"]]
    assert {row[2] for row in found} <= {"'=good", "bad\nnews"}
    assert not any("\n" in name for name in header)


def test_ids_are_read_with_texts(tmp_path):
    (tmp_path / "a.csv").write_text("id,text,label\n7,fine,a\n8,dull,b\n")
    lines = [
        {"id": 7, "text": "fine", "label": "a"},
        {"text": "dull", "label": "b"},
        {"id": [1], "text": "x", "label": 1},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read_texts(tmp_path / "a.csv").ids == ("7", "8")
    assert read_texts(tmp_path / "a.jsonl").ids == ("7", "", "")
    assert [part.ids for part in stream_texts(tmp_path / "a.csv", part=1)] == [("7",), ("8",)]
    assert read_texts(tmp_path / "a.csv", text="id").ids == ()
    assert read_texts(tmp_path / "a.csv").take(np.array([1])).ids == ("8",)


def test_a_line_end_in_a_name_on_the_command_line_is_spelt_out(monkeypatch):
    monkeypatch.setattr("sys.argv", ["tokendyn", "simulate", "a/b\nforged line/t.csv"])
    assert (
        printable("a/b\nforged line/t.csv has 2 problems:\n  - x") == "a/b\\nforged line/t.csv has 2 problems:\n  - x"
    )
    assert printable("b\nforged line/run-t") == "b\\nforged line/run-t"
