"""``tokendyn classify`` as a user meets it, and the readers of sequences."""

import csv
import gzip
import json

import numpy as np
import pytest

from tokendyn.cli import run
from tokendyn.data.sequences import hashed_word, read_sequences, read_text_sequences
from tokendyn.errors import BadInputError
from tokendyn.exact import check_certificate

pytestmark = pytest.mark.usefixtures("unchecked")

LINES = [
    {"id": "a", "tokens": [[0.1, 2], [0.3, 1]], "label": "x"},
    {"id": "b", "tokens": [[0.1, 2], [0.7, 1]], "label": "y"},
    {"id": "c", "tokens": [[0.9, 2]], "label": "x"},
]
TABLE = "id,label,x0,x1\na,x,0.1,2\na,x,0.3,1\nb,y,0.1,2\nb,y,0.7,1\nc,x,0.9,2\n"


@pytest.fixture
def sequences(tmp_path):
    path = tmp_path / "sequences.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


@pytest.fixture
def model(sequences, tmp_path):
    assert run(["classify", "build", str(sequences), "--strategy", "fused", "--out", str(tmp_path / "model")]) == 0
    return tmp_path / "model"


def refused(capsys, *arguments, code=2):
    capsys.readouterr()
    assert run(["classify", *map(str, arguments)]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err


def test_build_verify_predict_explain_export(model, sequences, tmp_path, capsys):
    assert {path.name for path in model.iterdir()} == {".tokendyn.json", "model.json", "model.safetensors"}
    capsys.readouterr()
    assert run(["classify", "verify", str(model), "--exact", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["passed"], done["largest_difference"]) == (True, 0.0)
    out = tmp_path / "labels.csv"
    assert run(["classify", "predict", str(sequences), "--model", str(model), "--out", str(out)]) == 0
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["id"], row["prediction"], row["known"]) for row in rows] == [
        ("a", "x", "yes"), ("b", "y", "yes"), ("c", "x", "yes"),
    ]  # fmt: skip
    capsys.readouterr()
    picture = tmp_path / "why.png"
    arguments = ["classify", "explain", sequences, "--model", model, "--id", "b", "--json", "--figure", picture]
    assert run(list(map(str, arguments))) == 0
    why = json.loads(capsys.readouterr().out)
    assert (why["id"], why["label"], why["known"]) == ("b", "y", True)
    assert picture.stat().st_size > 1000
    assert run(["classify", "export", str(model), "--onnx", str(tmp_path / "model.onnx")]) == 0
    assert "exists already" in refused(capsys, "export", model, "--onnx", tmp_path / "model.onnx")


def test_the_column_of_labels_is_no_coordinate_later_on_either(tmp_path, capsys):
    """build --label is remembered: other commands find the label, or leave its column out, unasked."""
    table = tmp_path / "table.csv"
    table.write_text("id,class,x,y\n1,7,0,1\n1,7,2,3\n2,8,5,5\n3,7,1,1\n")
    folder = str(tmp_path / "model")
    assert run(["classify", "build", str(table), "--label", "class", "--out", folder]) == 0
    capsys.readouterr()
    assert run(["classify", "predict", str(table), "--model", folder]) == 0
    assert capsys.readouterr().out == "id,prediction,known\n1,7,yes\n2,8,yes\n3,7,yes\n"
    assert run(["classify", "explain", str(table), "--model", folder, "--id", "2"]) == 0
    assert run(["classify", "verify", folder, str(table)]) == 0
    assert check_certificate.main([folder, str(table)]) == 0
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace("class", "kind"))
    assert run(["classify", "verify", folder, str(other), "--label", "kind"]) == 0
    assert run(["classify", "verify", folder, str(other)]) == 2
    assert run(["classify", "predict", str(other), "--model", folder]) == 2


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ("[]", "sequence 'b' is empty"),
        ("[[NaN, 1]]", "sequence 'b' holds NaN"),
        ("[[1]]", "sequence 'b' has tokens of 1 coord"),
        ("[[1], [1, 2]]", "line 2: tokens are not rows of numbers of the same length"),
        (f"[[{10**400}, 1]]", "line 2: tokens hold a number beyond the largest float64"),
    ],
)
def test_unusable_tokens_are_named_by_their_id_in_every_command(model, tmp_path, capsys, tokens, said):
    path = tmp_path / "new.jsonl"
    path.write_text(f'{{"id": "a", "tokens": [[0.1, 2]], "label": 1}}\n{{"id": "b", "tokens": {tokens}, "label": 1}}\n')
    for command in (
        ("predict", path, "--model", model),
        ("verify", model, path),
        ("build", path, "--out", tmp_path / "other"),
        ("check", path),
    ):
        assert said in refused(capsys, *command)


def test_the_check_that_stands_alone_reads_a_file_as_build_does(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("id , label ,x\na, p q ,1\na,p q,2\n\nb,r,3e0\n")
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"tokens": [1, 2], "label": -0.0}\n\n{"tokens": [[3]], "label": [1, true]}\n')
    for path in (table, lines):
        folder = tmp_path / path.stem
        assert run(["classify", "build", str(path), "--dtype", "float32", "--out", str(folder)]) == 0
        assert check_certificate.main([str(folder), str(path)]) == 0
    beyond = tmp_path / "beyond.csv"
    beyond.write_text("id,label,x\na,p q,1e39\n")
    assert check_certificate.main([str(tmp_path / "table"), str(beyond)]) == 1
    assert run(["classify", "verify", str(tmp_path / "table"), str(beyond)]) == 2


@pytest.mark.parametrize("name", ["labels.csv", "why.png", "why.svg", "why.pdf"])
def test_labels_and_pictures_replace_only_what_tokendyn_wrote(name, model, sequences, tmp_path, capsys):
    target = tmp_path / name
    words = ["predict", sequences, "--out"] if name == "labels.csv" else ["explain", sequences, "--figure"]
    words = ["classify", *map(str, [*words, target, "--model", model])]
    assert run(words) == 0
    assert run([*words, "--overwrite"]) == 0
    assert "--overwrite" in refused(capsys, *words[1:])
    for foreign in (b"", b"id,prediction,thesis\n1,2,3\n", b"\x89PNG mine"):
        target.write_bytes(foreign)
        assert "did not write" in refused(capsys, *words[1:], "--overwrite")
        assert target.read_bytes() == foreign


def test_a_table_gives_the_same_sequences_as_lines(sequences, tmp_path):
    path = tmp_path / "tokens.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    one, other = read_sequences(sequences), read_sequences(path)
    assert one.ids == other.ids
    assert one.labels == other.labels
    assert all(np.array_equal(a, b) for a, b in zip(one.sequences, other.sequences, strict=True))


def test_texts_are_sequences_of_hashed_words(tmp_path, capsys):
    path = tmp_path / "texts.csv"
    path.write_text("text,label\nA warm film,pos\nA dull film!,neg\nWarm and dull,pos\n")
    model = tmp_path / "model"
    assert run(["classify", "check", str(path), "--text", "text"]) == 0
    assert run(["classify", "build", str(path), "--text", "text", "--out", str(model), "--strategy", "narrow"]) == 0
    capsys.readouterr()
    new = tmp_path / "new.csv"
    new.write_text("text\nfilm a DULL\nunheard words\n")
    assert run(["classify", "predict", str(new), "--model", str(model), "--abstain"]) == 0
    assert capsys.readouterr().out.splitlines() == ["id,prediction,known", "1,neg,yes", "2,,no"]
    assert run(["classify", "explain", str(new), "--model", str(model)]) == 0
    assert "label 'neg'" in capsys.readouterr().err


def test_texts_are_sequences_of_given_vectors(tmp_path, capsys):
    words, texts = tmp_path / "words.csv", tmp_path / "texts.csv"
    words.write_text("word,x,y\nwarm,1,0\ndull,-1,0.5\n")
    texts.write_text("text,label\nwarm film,pos\ndull film,neg\n")
    data = read_text_sequences(texts, embedding=words)
    assert data.words == (("warm",), ("dull",))
    assert data.sequences[1].tolist() == [[-1, 0.5]]
    model = tmp_path / "model"
    options = ["--text", "text", "--embedding", str(words)]
    assert run(["classify", "build", str(texts), *options, "--out", str(model)]) == 0
    assert "embedding" in refused(capsys, "predict", texts, "--model", model)
    assert run(["classify", "predict", str(texts), "--model", str(model), "--embedding", str(words)]) == 0
    texts.write_text("text,label\nfilm,pos\n")
    assert "row 1" in refused(capsys, "build", texts, *options, "--out", tmp_path / "other")


def test_hashed_words_are_the_same_on_every_machine_and_exact_in_float32():
    vector = hashed_word("wonderful", 2)
    assert np.array_equal(vector, vector.astype(np.float32))
    assert vector.tolist() == [hashed_word("wonderful", 1)[0], vector[1]]
    assert (np.abs(vector) <= 1).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "no sequence"),
        ("a.jsonl", '{"tokens": [[1, 2], [3]], "label": 1}\n', "line 1"),
        ("a.jsonl", '{"tokens": [["x"]], "label": 1}\n{"label": 2}\nnonsense\n', "3 problems"),
        ("a.jsonl", '{"tokens": [[1]]}\n', "label"),
        ("a.jsonl", '{"tokens": [[1]], "label": {}}\n', "object"),
        ("a.jsonl", '{"tokens": [[NaN]], "label": 1}\n', "position 0"),
        ("a.csv", "", "empty"),
        ("a.csv", "id,x\na,1\n", "label"),
        ("a.csv", "id,label\na,1\n", "coordinates"),
        ("a.csv", "id,label,x\na,1\n", "line 2"),
        ("a.csv", "id,label,x\na,1,inf\n", "'inf' in column 'x' is NaN or infinity"),
        ("a.csv", "id,label,x\na,1,2\na,2,3\n", "above"),
        ("a.csv", b"id,label,x\n\xff,1,2\n", "UTF-8"),
        ("a.txt", "x", "unknown kind"),
    ],
)
def test_unusable_files_are_refused_and_nothing_is_written(tmp_path, capsys, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refused(capsys, "build", path, "--out", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_contradictions_are_found_before_building(tmp_path, capsys):
    path = tmp_path / "s.csv"
    path.write_text("id,label,x\na,1,2\nb,2,2\n")
    assert "different labels; keep one of each, or give them one label\n" in refused(capsys, "check", path)
    path.write_text("id,label,x\na,1,2\na,1,3\nb,2,3\nb,2,2\n")
    assert "or --positions, which" in refused(capsys, "check", path)
    assert run(["classify", "check", str(path), "--positions"]) == 0
    assert "the labels '1' and '2'" in refused(capsys, "build", path, "--out", tmp_path / "model")


def test_a_model_that_is_not_exact_any_more_ends_with_code_1(model, capsys):
    from tokendyn.runs.files import read_tensors, write_tensors

    tensors = read_tensors(model / "model.safetensors")
    tensors["weights.out_weights"][-3] += 1
    write_tensors(model / "model.safetensors", tensors)
    assert "changed after" in refused(capsys, "verify", model)
    record = json.loads((model / "model.json").read_text())
    del record["digest"]  # as in files of earlier versions
    (model / "model.json").write_text(json.dumps(record))
    assert "wrong" in refused(capsys, "verify", model, code=1)


def test_dry_runs_existing_folders_and_typos(sequences, model, tmp_path, capsys):
    assert run(["classify", "build", str(sequences), "--dry-run", "--out", str(tmp_path / "new")]) == 0
    assert not (tmp_path / "new").exists()
    assert "--overwrite" in refused(capsys, "build", sequences, "--out", model)
    assert "strategy" in refused(capsys, "build", sequences, "--strategy", "deep", "--out", tmp_path / "new")
    assert "not a folder" in refused(capsys, "verify", tmp_path / "none")
    assert "no sequence with the id" in refused(capsys, "explain", sequences, "--model", model, "--id", "z")
    with pytest.raises(BadInputError):
        read_sequences(tmp_path / "none.csv")
