"""The commands as a user meets them: what they write, what they say, and how they refuse."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from tokendyn.cli import run
from tokendyn.data.texts import small_reviews
from tokendyn.dynamics import Trajectory

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens.csv"
    np.savetxt(path, np.random.default_rng(0).normal(size=(12, 2)), delimiter=",")
    return path


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    data = small_reviews()
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *zip(data.texts, data.labels, strict=True)])
    return path


@pytest.fixture(scope="module")
def model(reviews, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    assert run(["sentiment", "train", str(reviews), "--out", str(folder), "--test-fraction", "0.2"]) == 0
    return folder


def refused(capsys, *arguments):
    """Run a command that must fail with exit code 2 and one message without a traceback; return the message."""
    capsys.readouterr()
    assert run(list(map(str, arguments))) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tokendyn: ")
    assert "Traceback" not in said.err
    return said.err


def simulate(tokens, *options):
    return ("simulate", tokens, "--no-animation", *options)


def test_simulate_writes_the_run_the_figures_the_table_and_the_report(tokens, tmp_path, capsys):
    assert run(["simulate", str(tokens), "--layers", "4", "--out", str(tmp_path / "run"), "--json"]) == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "trajectory.safetensors", "trajectory.json", "run.json", "tokens.csv",
        "panels.png", "strip.png", "animation.gif", "report.html", ".tokendyn.json",
    }  # fmt: skip
    summary = json.loads(capsys.readouterr().out)
    assert summary["layers"] == 4
    assert summary["prediction_error"] < 1e-12
    assert Trajectory.load(tmp_path / "run").layers == 4
    with (tmp_path / "run" / "tokens.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 12


def test_simulate_at_finite_temperature_says_how_far_it_is_from_hardmax(tokens, tmp_path, capsys):
    assert run(list(map(str, simulate(tokens, "--softmax", 5, "--out", tmp_path / "soft")))) == 0
    assert "distance from the hardmax run" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(tokens, tmp_path, capsys):
    assert run(["simulate", str(tokens), "--dry-run", "--out", str(tmp_path / "run")]) == 0
    assert "would run 12 tokens in 2 dimensions" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_options_come_from_a_config_file_and_the_command_line_wins(tokens, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text("alpha = 2.0\nlayers = 3\nanimation = false\nreport = false\n")
    out = tmp_path / "run"
    assert run(["simulate", "--config", str(config), str(tokens), "--layers", "5", "--out", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["alpha"], summary["layers"]) == (2.0, 5)
    assert not (out / "report.html").exists(), "report is a command too, and an option all the same"


@pytest.mark.parametrize("content", ["alhpa = 2.0\n", "alpha = [\n"])
def test_a_config_with_an_unknown_key_or_bad_toml_is_refused(tokens, tmp_path, capsys, content):
    config = tmp_path / "run.toml"
    config.write_text(content)
    refused(capsys, *simulate(tokens, "--config", config, "--out", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulat"], "simulate"),
        (["simulate", "none.csv"], "not a file"),
        (["doctor", "--jsn"], "--json"),
        (["sentiment", "explain"], "--model"),
        (["sentiment", "explain", "text", "--model", "none"], "not a folder"),
        (["simulate"], "--help"),
    ],
)
def test_a_typo_is_answered_with_the_remedy(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alpha", "0"], "alpha must be positive"),
        (["--alpha", "nan"], "--alpha takes a number, got nan"),
        (["--layers", "0"], "layers must be at least 1"),
        (["--score", "1,2;3"], "--score takes"),
        (["--score", "1,2,3;4,5,6"], "square"),
        (["--score", "1,0,0;0,1,0;0,0,1"], "2 coordinates"),
        (["--score", "1,2;0,1", "--strict"], "not symmetric"),
        (["--softmax", "-1"], "positive inverse temperature"),
        (["--tie-tolerance", "-1"], "tie_tolerance"),
    ],
)
def test_a_bad_parameter_is_refused_and_nothing_is_written(tokens, tmp_path, capsys, options, message):
    assert message in refused(capsys, *simulate(tokens, *options, "--out", tmp_path / "run"))
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.csv"]


def test_input_outside_the_theorem_runs_with_a_stated_status(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("1,0\n1,0\n0,0\n-1,2\n")
    assert run(list(map(str, simulate(path, "--score", "1,2;0,1", "--out", tmp_path / "run", "--json")))) == 0
    summary = json.loads(capsys.readouterr().out)
    assert not summary["theorem_applies"]
    assert len(summary["departures"]) == 3
    assert "3 problems" in refused(capsys, *simulate(path, "--score", "1,2;0,1", "--strict", "--out", tmp_path / "b"))


@pytest.mark.parametrize("content", ["5,1\n", "1\n2\n-3\n", "1,1\n1,1\n", "0,0\n0,0\n"])
def test_one_token_one_dimension_and_coinciding_tokens_give_a_whole_run(tmp_path, capsys, content):
    path = tmp_path / "t.csv"
    path.write_text(content)
    assert run(["simulate", str(path), "--layers", "3", "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "report.html").exists()


def test_an_existing_folder_is_kept_unless_overwritten(tokens, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    assert "--overwrite" in refused(capsys, *simulate(tokens, "--out", tmp_path / "run"))
    assert (tmp_path / "run" / "mine.txt").read_text() == "keep"
    assert "mine.txt" in refused(capsys, *simulate(tokens, "--out", tmp_path / "run", "--overwrite"))
    assert (tmp_path / "run" / "mine.txt").read_text() == "keep"
    (tmp_path / "run" / "mine.txt").unlink()
    for _ in range(2):
        assert run(list(map(str, simulate(tokens, "--out", tmp_path / "run", "--overwrite")))) == 0
    (tmp_path / "run" / "notes.txt").write_text("keep")
    assert "notes.txt" in refused(capsys, *simulate(tokens, "--out", tmp_path / "run", "--overwrite"))
    assert (tmp_path / "run" / "notes.txt").read_text() == "keep"


def test_an_interrupted_run_leaves_no_folder(tokens, tmp_path, monkeypatch, capsys):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tokendyn.show.panels.panels", interrupt)
    monkeypatch.setattr("tokendyn.particles.report.panels", interrupt)
    assert run(list(map(str, simulate(tokens, "--out", tmp_path / "run")))) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.csv"]


def test_a_report_is_made_anew_from_a_saved_run(tokens, tmp_path, capsys):
    assert run(list(map(str, simulate(tokens, "--out", tmp_path / "run")))) == 0
    assert run(["report", str(tmp_path / "run"), "--out", str(tmp_path / "again.html")]) == 0
    page = (tmp_path / "again.html").read_text(encoding="utf-8")
    assert "data:image/png" in page
    assert "://" not in page.replace("http://www.w3.org", "")
    (tmp_path / "run" / "trajectory.safetensors").write_bytes(b"short")
    assert "safetensors" in refused(capsys, "report", tmp_path / "run", "--out", tmp_path / "third.html")


def test_explain_prints_a_sum_that_is_the_logit(model, capsys):
    text = "Not a dull minute in it: a warm, wonderful film, though the ending is weak."
    capsys.readouterr()
    assert run(["sentiment", "explain", text, "--model", str(model), "--json"]) == 0
    why = json.loads(capsys.readouterr().out)
    total = why["bias"] + why["residual"] + sum(leader["contribution"] for leader in why["leaders"])
    assert total == pytest.approx(why["logit"], abs=1e-9)
    for leader in why["leaders"]:
        for start, end in leader["spans"]:
            assert text[start:end].lower() == leader["word"]


def test_explain_writes_a_page_that_escapes_the_text(model, tmp_path, capsys):
    html = tmp_path / "why.html"
    text = "<script>alert(1)</script> a wonderful & dull film"
    assert run(["sentiment", "explain", text, "--model", str(model), "--html", str(html)]) == 0
    page = html.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "wonderful" in page


@pytest.mark.parametrize("text", ["zzz qqq xxxx", "😀 😀", "...", "42"])
def test_a_text_without_known_words_gets_the_probability_of_the_bias_and_says_so(model, capsys, text):
    capsys.readouterr()
    assert run(["sentiment", "explain", text, "--model", str(model), "--json"]) == 0
    why = json.loads(capsys.readouterr().out)
    assert why["logit"] == why["bias"]
    assert "bias" in why["note"]


def test_an_empty_text_is_no_text_to_explain(capsys):
    assert "the text is empty" in refused(capsys, "sentiment", "explain", " ", "--model", "none")


def test_a_review_of_a_megabyte_is_explained(model, tmp_path, capsys):
    path = tmp_path / "long.txt"
    path.write_text("a wonderful film, never dull and not bad at all. " * 21000)
    html = tmp_path / "why.html"
    arguments = ["sentiment", "explain", "--file", path, "--model", model, "--html", html]
    assert run(list(map(str, arguments))) == 0
    assert html.stat().st_size < 5e6


def test_predict_writes_a_row_for_each_text(model, reviews, tmp_path, capsys):
    out = tmp_path / "labels.csv"
    assert run(["sentiment", "predict", str(reviews), "--model", str(model), "--out", str(out)]) == 0
    with out.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    data = small_reviews()
    assert [row["text"] for row in rows] == list(data.texts)
    right = np.mean([row["prediction"] == label for row, label in zip(rows, data.labels, strict=True)])
    assert right > 0.9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("text,lable\na,pos\n", "label"),
        ("text,label\n" + "".join(f"good film {number},pos\n" for number in range(20)), "class"),
        (b"text,label\n\xff\xfe,pos\n", "UTF-8"),
        ("text,label\na film\nb film,neg\n", "row"),
    ],
)
def test_training_on_bad_reviews_is_refused(tmp_path, capsys, content, message):
    path = tmp_path / "reviews.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refused(capsys, "sentiment", "train", path, "--out", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_truncated_model_folder_is_refused(model, tmp_path, capsys, name):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    content = (broken / name).read_bytes()
    (broken / name).write_bytes(content[: len(content) // 2])
    assert name in refused(capsys, "sentiment", "explain", "a film", "--model", broken)
    (broken / name).unlink()
    assert name in refused(capsys, "sentiment", "explain", "a film", "--model", broken)


def test_help_shows_examples_and_starts_without_heavy_libraries():
    heavy = "sorted({'torch', 'numba', 'scipy', 'matplotlib'} & set(sys.modules))"
    code = f"import sys; from tokendyn.cli import run; run(['--help']); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    shown = subprocess.run(
        [sys.executable, "-m", "tokendyn", "simulate", "--help"], capture_output=True, text=True, check=True
    )
    assert "tokendyn simulate tokens.csv --out run/" in shown.stdout


def test_a_full_disk_is_one_message_and_leaves_nothing(tokens, tmp_path, monkeypatch, capsys):
    import errno

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tokendyn.dynamics.trajectory.write_tensors", full)
    assert "No space left" in refused(capsys, *simulate(tokens, "--out", tmp_path / "run"))
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.csv"]
