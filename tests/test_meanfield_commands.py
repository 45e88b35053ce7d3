"""``tokendyn simulate --model meanfield`` as a user meets it."""

import csv
import json

import numpy as np
import pytest

from tokendyn.cli import run
from tokendyn.dynamics import FlowTrajectory

pytestmark = pytest.mark.usefixtures("unchecked")

QUICK = ("--tokens", 60, "--time", 3, "--no-animation")
A = ("--value", "diag(1,2)", "--score", "diag(4,1)", "--beta", 30)


def simulate(*options):
    return list(map(str, ("simulate", "--model", "meanfield", *options)))


def refused(capsys, *arguments):
    """Run a command that must fail with exit code 2 and one message without a traceback; return the message."""
    capsys.readouterr()
    assert run(list(map(str, arguments))) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.count("tokendyn: ") == 1
    return said.err


def test_a_run_writes_states_record_table_figures_and_report(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(simulate(*A, *QUICK, "--out", folder, "--json")) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary["status"] == "completed"
    assert summary["resolution"] == "resolved"
    assert "\nresolved: 60 tokens" in said.err
    assert summary["other_tokens"] == 240
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "flow.safetensors", "flow.json", "matrices.safetensors", "run.json", "distances.csv", "distances.png",
        "tokens.png", "report.html", ".tokendyn.json",
    }  # fmt: skip
    trajectory = FlowTrajectory.load(folder)
    with (folder / "distances.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["time"]) for row in rows] == pytest.approx(trajectory.times)
    assert all(float(row["w2_exact"]) <= float(row["w2_coupling"]) + 1e-12 for row in rows)


def test_a_report_is_made_anew(tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(simulate(*A, *QUICK, "--every", 0.5, "--out", folder)) == 0
    assert run(["report", str(folder), "--out", str(tmp_path / "again.html")]) == 0
    page = (tmp_path / "again.html").read_text(encoding="utf-8")
    assert "data:image/gif" in page
    assert "contraction rate" in page
    (folder / "flow.safetensors").write_bytes(b"short")
    assert "safetensors" in refused(capsys, "report", folder, "--out", tmp_path / "third.html")


def saved(path, rows, suffix="csv"):
    np.savetxt(path / f"t.{suffix}", np.asarray(rows, dtype=float), delimiter=",")
    return path / f"t.{suffix}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give the inverse temperature --beta"),
        (("--beta", -1), "--beta must be zero or more"),
        (("--beta", "nan"), "--beta takes a number, got nan"),
        (("--beta", "inf"), "--zero-temperature hardmax"),
        (("--beta", 3, "--zero-temperature", "hardmax"), "leave one of them out"),
        (("--beta", 3, "--value", "1,2;3"), "--value takes"),
        (("--beta", 3, "--value", "diag(1,2,3)", "--score", "diag(1,2)"), "expected square ones of one size"),
        (("--beta", 3, "--score", "diag(1,2)", "--interaction", "diag(1,2)"), "say the same thing"),
        (("--beta", 3, "--query", "diag(1,2)"), "come together"),
        (("--beta", 3, "--times", "0,2,1"), "--times must be three or more that increase"),
        (("--beta", 3, "--times", "0,1,2", "--time", 3), "--times replaces"),
        (("--beta", 3, "--time", -1), "--time must be positive"),
        (("--beta", 3, "--step", 0), "--step must be positive"),
        (("--beta", 3, "--tokens", 0), "--tokens must be at least 1"),
        (("--beta", 3, "--start", "fibonacci"), "for the sphere (dimension 3)"),
        (("--beta", 3, "--dim", 1), "at least 2 dimensions"),
        (("--beta", 3, "--start", "quantle"), "quantile"),
        (("--beta", 3, "--seeds", 3), "same for every seed"),
        (("--beta", 3, "--noise", 0.1), "--noise needs --integrator euler"),
        (("--beta", 3, "--budget", "soon"), "--budget"),
        (("--beta", 3, "--tokens", 100000000), "GB"),
        (("--beta", 3, "--bta", 3), "--bta"),
        (("--beta", 3, "--layer", 2), "--weights, which is missing"),
        (("--beta", 3, "--text", "a film"), "--text needs a model"),
        (("--beta", 3, "none.csv"), "not a file"),
    ],
)
def test_a_bad_option_is_refused_and_nothing_is_written(tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *simulate(*options, "--out", "run"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([[1, 0], [3, 4]], (), "1 tokens (rows 1, from 0) are off the unit sphere; add --normalise"),
        ([[1, 0], [0, 0]], ("--normalise",), "(rows 1, from 0) are zero"),
        ([[1, 0], [0, 1]], ("--token-weights", "w.csv"), "not positive"),
        ([[1, 0], [0, 1]], ("--token-weights", "half.csv"), "sum to 0.75"),
        ([[1, 0], [0, 1]], ("--value", "diag(1,2,3)"), "expected square ones of one size"),
        ([[1, 0], [0, 1]], ("--start", "uniform"), "leave out --start"),
        ([[1, 0], [0, 1]], ("--refine",), "need a generated start"),
        ([[1, 0], [0, 1]], ("--tokens", 5), "has 2 rows"),
    ],
)
def test_bad_tokens_are_refused(tmp_path, capsys, monkeypatch, rows, options, message):
    monkeypatch.chdir(tmp_path)
    np.savetxt("w.csv", [-0.5, 1.5])
    np.savetxt("half.csv", [0.5, 0.25])
    path = saved(tmp_path, rows)
    assert message in refused(capsys, *simulate(path, "--beta", 3, *options, "--out", "run"))
    assert not (tmp_path / "run").exists()


def test_too_few_tokens_run_with_a_status_that_says_how_many_would_do(tmp_path, capsys):
    options = (
        *A[:4],
        "--beta",
        1e6,
        "--tokens",
        50,
        "--time",
        1,
        "--no-animation",
        "--out",
        tmp_path / "run",
        "--json",
    )
    assert run(simulate(*options)) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["resolution"] == "unresolved"
    assert "use at least 5000 tokens" in said.err
    assert "too few for the mean field" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_run_out_of_its_budget_keeps_what_is_there_and_exits_with_1(tmp_path, capsys):
    options = (*A, "--tokens", 400, "--time", 50, "--budget", "100ms", "--no-animation", "--out", tmp_path / "run")
    assert run(simulate(*options, "--json")) == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary["status"] == "out of time"
    assert summary["time"] < 50


def test_a_run_that_diverges_at_once_keeps_its_finite_part_and_exits_with_1(tmp_path, capsys):
    options = ("--beta", 800, "--unnormalised", "--value", "diag(1,2)", *QUICK, "--out", tmp_path / "run", "--json")
    assert run(simulate(*options)) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "diverged"
    assert FlowTrajectory.load(tmp_path / "run").status == "diverged"


def test_a_dry_run_says_what_would_be_done(tmp_path, capsys):
    assert run(simulate(*A, "--tokens", 20, "--dry-run", "--out", tmp_path / "run")) == 0
    said = capsys.readouterr().err
    assert "20 quantile tokens" in said
    assert "unresolved" in said
    assert list(tmp_path.iterdir()) == []


def test_hardmax_names_weights_and_a_config_file_are_taken(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("a,1,0\nb,0.6,0.8\nc,0,-2\n")
    np.savetxt(tmp_path / "w.csv", [0.5, 0.25, 0.25])
    config = tmp_path / "run.toml"
    config.write_text('model = "meanfield"\nzero_temperature = "hardmax"\nnormalise = true\nanimation = false\n')
    words = ["simulate", path, "--config", config, "--time", 1, "--token-weights", tmp_path / "w.csv"]
    assert run([*map(str, words), "--out", str(tmp_path / "run")]) == 0
    with (tmp_path / "run" / "tokens.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["token"], float(row["weight"])) for row in rows] == [("a", 0.5), ("b", 0.25), ("c", 0.25)]


def test_seeds_and_refinement_are_reported(tmp_path, capsys):
    options = (*A, "--start", "sobol", "--tokens", 24, "--time", 4, "--seeds", 2, "--refine", "--no-animation")
    assert run(simulate(*options, "--out", tmp_path / "run", "--json")) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["tokens"] for row in record["refinement"]] == [24, 48, 96]
    assert [row["seed"] for row in record["seeds"]] == [0, 1]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Phases over seeds" in page
    assert "n, 2n and 4n" in page


def test_the_words_of_a_text_start_where_a_classifier_has_them(tmp_path, capsys):
    from tokendyn.data.texts import small_reviews
    from tokendyn.sentiment import LeaderClassifier, save

    reviews = small_reviews()
    model = LeaderClassifier(max_epochs=1) if "max_epochs" in LeaderClassifier().get_params() else LeaderClassifier()
    save(model.fit(reviews.texts[:200], reviews.labels[:200]), tmp_path / "model")
    options = ("--beta", 20, "--time", 2, "--no-animation", "--out", tmp_path / "run")
    assert run(simulate(tmp_path / "model", "--text", "A warm, wonderful film, never dull.", *options)) == 0
    with (tmp_path / "run" / "tokens.csv").open(newline="") as stream:
        words = {row["token"] for row in csv.DictReader(stream)}
    assert words & {"warm", "wonderful", "film", "never", "dull"}


def test_a_head_of_a_model_file_is_run_without_leaving_its_span(tmp_path, capsys, rng):
    from safetensors.numpy import save_file

    names = [f"model.layers.0.self_attn.{part}_proj.weight" for part in "qkvo"]
    parts = [rng.normal(size=(24, 24)) for _ in names]
    save_file(dict(zip(names, parts, strict=True)), tmp_path / "model.safetensors")
    weights = ("--weights", tmp_path / "model.safetensors", "--heads", 8, "--head", 5)
    options = ("--tokens", 8, "--no-animation", "--out", tmp_path / "run")
    words = ["simulate", *map(str, (*weights, *options))]
    assert run(words) == 0
    assert "layer 0, head 5 of 8 (LLaMA names)" in capsys.readouterr().err
    found = FlowTrajectory.load(tmp_path / "run")
    from tokendyn.dynamics import TokenFlow, integrate

    q, k, v = (part[15:18] for part in parts[:3])
    o = parts[3][:, 15:18]
    flow = TokenFlow(24 / 3**0.5, interaction=q.T @ k, value=o @ v)
    expected = integrate(flow, found.states[0], found.times, normalise=True)
    np.testing.assert_allclose(found.states, expected.states, atol=1e-9)
    assert run(["simulate", *map(str, weights), "--theory-only", "--out", str(tmp_path / "theory")]) == 0
    assert {path.name for path in (tmp_path / "theory").iterdir()} == {
        ".tokendyn.json", "theory.json", "spectrum.png", "spectrum.svg", "spectrum-narrow.svg", "report.html",
    }  # fmt: skip
    assert "leave out --value" in refused(capsys, *words, "--value", "diag(1,2)", "--overwrite")
