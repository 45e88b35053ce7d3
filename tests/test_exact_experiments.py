"""Building a transformer as an experiment: from Python, from the command line and in sweeps it is the same one."""

import json
import shlex

import pytest

from tokendyn.cli import run
from tokendyn.errors import BadInputError
from tokendyn.exact import Compilation
from tokendyn.exact.reading import SequenceFile
from tokendyn.experiments import sweep

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def sequences(tmp_path):
    path = tmp_path / "s.jsonl"
    rows = [{"id": f"n{k}", "tokens": [[k, 1.0], [1.0, k * k]], "label": "ab"[k % 2]} for k in range(6)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_python_and_the_command_line_build_the_same_transformer(sequences, tmp_path):
    once = Compilation(sequences, strategy="fused")
    built = once.run()
    assert built.model.predict([[[2.0, 1.0], [1.0, 4.0]]]) == ["a"]
    once.write(built, tmp_path / "python")
    words = shlex.split(once.command_line(out=tmp_path / "shell"))
    assert run(words[1:]) == 0
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("python", "shell"))
    assert first == second
    record = json.loads((tmp_path / "shell" / "model.json").read_text(encoding="utf-8"))
    assert shlex.split(record["command"]) == words
    assert record["settings"]["input"] == {"kind": "tokens", "label": "label"}
    assert record["provenance"]["seconds"] > 0


def test_what_was_built_has_the_face_of_a_result(sequences, tmp_path):
    built = Compilation(sequences, strategy="fused").run()
    assert "all 6 sequences have their label, to the last bit" in str(built)
    assert built.table()["sequences"].tolist() == [6]
    assert built.status == "completed"
    assert repr(built).startswith("BuiltModel(status='completed', strategy='fused'")
    assert built.plot().axes
    built.report(tmp_path / "page.html")
    assert "fused" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_constructions_are_swept_from_python(sequences, tmp_path):
    result = sweep(Compilation(sequences), {"strategy": ["narrow", "fused"]}, store=tmp_path / "runs", workers=1)
    blocks = [Compilation(sequences, strategy=name).run().model.stats.blocks for name in ("narrow", "fused")]
    assert result.table()["blocks"].tolist() == blocks


def test_messages_speak_of_ids_and_of_arguments(tmp_path, capsys):
    path = tmp_path / "texts.csv"
    path.write_text("text,label\nWarm film,pos\nwarm film,neg\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"sequences '1' and '2'.* or `keep_case=True`, which tells them apart"):
        Compilation(path, text="text").run()
    assert run(["classify", "build", str(path), "--text", "text", "--out", str(tmp_path / "model")]) == 2
    assert "or --keep-case, which tells them apart" in capsys.readouterr().err
    (sentence,) = Compilation(path, text="text", keep_case=True).check()
    assert sentence.endswith("from 2 sequences with 2 labels")


def test_a_file_is_read_as_the_one_that_a_transformer_was_built_from(tmp_path):
    path, words = tmp_path / "texts.csv", tmp_path / "words.csv"
    path.write_text("note,kind\nwarm film,pos\ndull film,neg\n", encoding="utf-8")
    words.write_text("word,x,y\nwarm,1,0\ndull,-1,0.5\n", encoding="utf-8")
    model = Compilation(path, label="kind", text="note", embedding=words).run().model
    file = SequenceFile.as_built(path, model, embedding=words)
    assert file == SequenceFile(path=path, label="kind", text="note", embedding=words)
    assert file.read("kind").labels == ("pos", "neg")
    with pytest.raises(BadInputError, match="give the same one with `embedding`"):
        SequenceFile.as_built(path, model)
    hashed = Compilation(path, label="kind", text="note", hash_dim=2).run().model
    assert SequenceFile.as_built(path, hashed, text="other").text == "other"
    with pytest.raises(BadInputError, match="leave `embedding` out"):
        SequenceFile.as_built(path, hashed, embedding=words)
