"""``--store`` and ``tokendyn runs`` as a user meets them."""

import json
import os

import pytest
from stores import add, filled, run_name, six_tokens

from tokendyn.cli import run
from tokendyn.cli.jobs import command
from tokendyn.errors import BadInputError
from tokendyn.experiments.perform import perform
from tokendyn.experiments.results import results_of
from tokendyn.runs.index import Index
from tokendyn.runs.store import MANIFEST, Store

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def tokens(tmp_path):
    return six_tokens(tmp_path)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKENDYN_RUNS", str(tmp_path / "runs"))
    return filled(tmp_path / "runs", 4)


def said(capsys):
    """Return the JSON object on standard output."""
    return json.loads(capsys.readouterr().out)


def test_a_command_is_stored_once_and_its_numbers_are_the_ones_it_says(tokens, tmp_path, capsys):
    folder = tmp_path / "kept"
    words = ["simulate", str(tokens), "--alpha", "0.3", "--layers", "5", "--no-report", f"--store={folder}", "--json"]
    assert run(words) == 0
    first = said(capsys)
    assert run(words) == 0
    output = capsys.readouterr()
    assert json.loads(output.out) == first
    assert "is there already" in output.err
    record = Store(folder).read(first["id"], verify=True)
    assert record.status == "completed"
    assert record.config["alpha"] == 0.3
    assert record.config["layers"] == 5
    assert record.results["tokens"] == 6
    assert "seconds" not in record.results
    written = (folder / first["id"] / "output" / "run.json").read_text(encoding="utf-8")
    assert f"--out {first['id']}" in written, "the command in the record names the run, wherever its store lies"
    assert (
        run(["simulate", str(tokens), "--alpha", "0.3", "--layers", "5", "--no-report", "--out", str(tmp_path / "o")])
        == 0
    )
    there = [path.name for path in (tmp_path / "o").iterdir()]
    assert sorted(there) == sorted(name.removeprefix("output/") for name in record.files if name.startswith("output/"))


def test_the_page_of_a_stored_run_is_made_beside_the_store_and_leaves_it_as_it_was(
    tokens, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert run(["simulate", str(tokens), "--layers", "3", "--no-report", "--store=kept", "--json"]) == 0
    name = said(capsys)["id"]
    assert run(["report", f"kept/{name}"]) == 0
    assert "Clustering" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert run(["runs", "show", name, "--store", "kept"]) == 0
    assert set(os.listdir(tmp_path / "kept" / name)) == {"config.toml", "log.txt", "manifest.json", "output"}
    assert "report.html" not in os.listdir(tmp_path / "kept" / name / "output")


def test_options_at_their_defaults_make_no_other_run(tokens):
    simulate = command("simulate")
    plain = simulate.job({"tokens": str(tokens)})
    assert simulate.job({"tokens": str(tokens), "alpha": 0.5, "tie-tolerance": 0}).id == plain.id
    assert simulate.job({"tokens": str(tokens), "alpha": 0.4}).id != plain.id


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--store", "--out", "x"], "--out and --store"),
        (["--store", "--overwrite"], "runs rm"),
        (["--store", "--alhpa", "2"], "--alpha"),
        (["--store", "--checkpoint", "kept.npz"], "checkpoint"),
        (["--store", "--alpha", "-1"], "alpha"),
    ],
)
def test_what_cannot_be_stored_is_refused_in_one_message(tokens, store, words, message, capsys):
    before = sorted(os.listdir(store.folder))
    assert run(["simulate", str(tokens), "--no-report", *words]) == 2
    assert message in capsys.readouterr().err
    caches = {".locks", "index.sqlite"}
    assert set(os.listdir(store.folder)) - caches == set(before) - caches


def test_only_commands_that_write_results_can_be_stored(capsys):
    assert run(["doctor", "--store"]) == 2
    assert "no command whose result a store can keep" in capsys.readouterr().err
    with pytest.raises(BadInputError, match="did you mean simulate"):
        command("simulat")


def test_options_of_a_job_are_checked_all_at_once(tokens):
    with pytest.raises(BadInputError) as caught:
        command("simulate").job({"alpah": 1, "layers": "many", "out": "x", "json": True})
    message = str(caught.value)
    for part in (
        "did you mean alpha",
        "layers = 'many'",
        "out is set by the store",
        "json is set",
        "tokens is missing",
    ):
        assert part in message


def test_a_text_option_that_is_the_name_of_a_file_stays_a_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t").write_text("not an input", encoding="utf-8")
    (tmp_path / "data.csv").write_text("t,x\n0,1\n", encoding="utf-8")
    (tmp_path / "A.csv").write_text("2,0\n0,1\n", encoding="utf-8")
    job = command("simulate").job({"tokens": "data.csv", "score": "A.csv", "array": "t"})
    assert job.config["array"] == "t"
    assert job.config["score"] == str(tmp_path / "A.csv")
    assert set(job.inputs) == {"tokens", "score"}


def test_options_in_groups_reach_the_command(tmp_path):
    job = command("simulate-meanfield").job(
        {"beta": 20, "value": "diag(1,2)", "tokens": 40, "time": 0.3, "report": False, "seed": 3, "start": "uniform"}
    )
    record, heard = perform(tmp_path, job)
    assert record.status == "completed"
    assert record.results["tokens"] == 40
    assert record.provenance["seed"] == 3
    assert any("40 tokens" in line for line in heard.sentences)


def test_a_job_that_fails_is_tried_again_and_recorded_with_its_error(tokens, tmp_path, monkeypatch):
    calls = []

    def broken(self, config, *_):
        calls.append(config)
        raise FloatingPointError("a NaN appeared in step 7")

    monkeypatch.setattr("tokendyn.experiments.jobs.Kind.compute", broken)
    job = command("simulate").job({"tokens": str(tokens), "report": False})
    record, _ = perform(tmp_path / "runs", job, attempts=3)
    assert (record.status, record.attempts, len(calls)) == ("failed", 3, 3)
    assert record.error == "FloatingPointError: a NaN appeared in step 7"
    assert Store(tmp_path / "runs").read(job.id) == record
    monkeypatch.undo()
    assert perform(tmp_path / "runs", job)[0].status == "completed"


def test_bad_input_is_not_tried_again(tmp_path):
    job = command("simulate").job({"tokens": str(tmp_path / "missing.csv")})
    record, _ = perform(tmp_path / "runs", job, attempts=3)
    assert (record.status, record.attempts) == ("failed", 1)
    assert "missing.csv is not a file" in record.error


def test_a_nan_in_the_middle_of_a_run_is_no_completed_run(tmp_path, tokens):
    tokens.write_text("1e200,0\n-1e200,3\n0,1e200\n", encoding="utf-8")
    job = command("simulate").job({"tokens": str(tokens), "layers": 3, "softmax": 3.0, "report": False})
    record, _ = perform(tmp_path / "runs", job)
    assert record.status in ("failed", "diverged")


def test_results_are_flat_finite_and_without_times():
    record = {
        "a": 1, "b": {"c": 0.5, "fit_seconds": 3.0, "d": [1, 2]}, "e": float("nan"), "f": True, "out": "/place",
        "status": "diverged", "texts_per_second": 9.0, "long": "x" * 300,
    }  # fmt: skip
    results, timings = results_of(record)
    assert results == {"a": 1, "b.c": 0.5, "e": None, "f": True, "outcome": "diverged"}
    assert timings == {"b.fit_seconds": 3.0, "texts_per_second": 9.0}


def test_rows_of_a_table_become_results_by_their_texts_or_places():
    models = [
        {"model": "TD-TF", "nrmse": 0.1, "fit_seconds": 2.0},
        {"model": "TD-DMD", "nrmse": 0.3, "fit_seconds": 1.0},
    ]
    results, timings = results_of({"rows": models})
    assert results == {"TD-TF.nrmse": 0.1, "TD-DMD.nrmse": 0.3}
    assert timings == {"TD-TF.fit_seconds": 2.0, "TD-DMD.fit_seconds": 1.0}
    assert results_of({"points": [{"beta": 1}, {"beta": 2}]})[0] == {"points.0.beta": 1, "points.1.beta": 2}


def test_runs_are_listed_and_filtered(store, capsys):
    assert run(["runs", "list", "--where", "alpha > 0.25", "--json"]) == 0
    listed = said(capsys)
    assert [row["config"]["alpha"] for row in listed["runs"]] == [0.4, 0.3]
    assert listed["total"] == 4
    assert run(["runs", "list", "--show", "clusters"]) == 0
    shown = capsys.readouterr().err
    assert "clusters" in shown
    assert "4 of 4 runs" in shown
    assert run(["runs", "list", "--where", "alhpa > 1"]) == 2
    assert "did you mean alpha" in capsys.readouterr().err


def test_a_long_list_is_cut_and_says_how_to_see_the_rest(store, capsys, monkeypatch):
    monkeypatch.setattr("tokendyn.cli.runs._MOST_LISTED", 3)
    assert run(["runs", "list"]) == 0
    shown = capsys.readouterr().err
    assert [line.split()[3] for line in shown.splitlines()[1:4]] == ["0.4", "0.3", "0.2"], "the latest come first"
    assert "4 of 4 runs" in shown
    assert "--limit 0 lists the other 1 too" in shown
    assert run(["runs", "list", "--where", "alpha < 0.35", "--limit", "2"]) == 0
    shown = capsys.readouterr().err
    assert "3 of 4 runs" in shown
    assert "the latest 2" in shown
    assert run(["runs", "list", "--limit", "0"]) == 0
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 6
    assert "the latest" not in shown
    assert run(["runs", "list", "--limit", "-1"]) == 2


def test_programs_are_given_all_runs_unless_they_ask_for_fewer(store, capsys, monkeypatch):
    monkeypatch.setattr("tokendyn.cli.runs._MOST_LISTED", 1)
    monkeypatch.setattr("tokendyn.cli.runs._PART", 3)
    assert run(["runs", "list", "--json"]) == 0
    listed = said(capsys)
    with Index(store) as index:
        assert listed["runs"] == [row.record() for row in index.rows()]
    assert run(["runs", "list", "--json", "--limit", "2", "--where", "alpha > 0.15"]) == 0
    listed = said(capsys)
    assert (len(listed["runs"]), listed["total"]) == (2, 4)
    assert run(["runs", "list", "--json", "--where", "alpha > 9"]) == 0
    assert said(capsys)["runs"] == []


def test_what_a_run_says_moves_nothing_on_a_terminal(store, capsys):
    add(store, 9, status="failed", note="\x1b[2J\u202eback\nnext line 電影")
    assert run(["runs", "list", "--show", "note"]) == 0
    assert run(["runs", "show", run_name(9)]) == 0
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.count(r"\x1b[2J\u202eback next line 電影") == 2


def test_a_run_is_shown_after_its_files_are_checked(store, capsys):
    assert run(["runs", "show", run_name(3)]) == 0
    shown = capsys.readouterr().err
    assert "all as written" in shown
    assert "0.3" in shown
    assert run(["runs", "show", run_name(3), "--json"]) == 0
    assert said(capsys)["results"] == {"clusters": 3}
    (store.path(run_name(3)) / "output" / "data.txt").write_text("CONTENT 3", encoding="utf-8")
    assert run(["runs", "show", run_name(3)]) == 2
    assert "changed after it was written" in capsys.readouterr().err


def test_runs_are_compared(store, capsys):
    assert run(["runs", "compare", run_name(1), run_name(2), "--json"]) == 0
    found = said(capsys)
    assert found["config"] == {"alpha": [0.1, 0.2], "strict": [False, True]}
    assert found["results"] == {"clusters": [1, 2]}
    assert run(["runs", "compare", run_name(1)]) == 2


def test_runs_are_removed_by_condition_only_when_told_twice(store, capsys):
    assert run(["runs", "rm", "--where", "alpha < 0.25"]) == 0
    assert "would remove 2 runs" in capsys.readouterr().err
    assert len(store.ids()) == 4
    assert run(["runs", "rm", "--where", "alpha < 0.25", "--yes"]) == 0
    assert store.ids() == [run_name(3), run_name(4)]
    assert run(["runs", "rm", run_name(3)]) == 0
    assert store.ids() == [run_name(4)]
    assert run(["runs", "rm"]) == 2


def test_a_condition_removes_no_run_of_a_newer_version(store, capsys):
    manifest = store.path(run_name(2)) / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 99}))
    assert run(["runs", "rm", "--where", "not seed = 123456", "--yes"]) == 0
    assert "left alone, by a newer tokendyn: 1" in capsys.readouterr().err
    assert store.ids() == [run_name(2)]
    assert run(["runs", "rm", run_name(2)]) == 0
    assert store.ids() == []


def test_a_run_that_cannot_be_read_is_not_compared(store, capsys):
    (store.path(run_name(2)) / MANIFEST).write_text("{}")
    assert run(["runs", "compare", run_name(1), run_name(2)]) == 2
    assert f"run {run_name(2)} is damaged" in capsys.readouterr().err


def test_reindex_names_damaged_runs_and_exits_with_one(store, capsys):
    assert run(["runs", "reindex", "--verify", "--json"]) == 0
    assert said(capsys) == {"runs": 4, "damaged": [], "newer": [], "leftovers_removed": 0}
    (store.path(run_name(2)) / MANIFEST).write_text("{", encoding="utf-8")
    assert run(["runs", "reindex"]) == 1
    assert f"tokendyn runs rm {run_name(2)}" in capsys.readouterr().err
    assert run(["runs", "rm", run_name(2)]) == 0
    assert run(["runs", "reindex"]) == 0


def test_a_store_that_is_not_there_is_one_message(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}", encoding="utf-8")
    for words in (["list"], ["reindex"], ["adopt"], ["rm", "3f2a"]):
        for place in ("none", "model"):
            assert run(["runs", *words, "--store", str(tmp_path / place)]) == 2
            assert "there is no store" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "model.json"], "no index in a folder that is none"
