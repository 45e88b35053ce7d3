"""Faults in the middle of work: the clock goes back, NaN appears, the disk is full or read-only, two want one run."""

import csv
import datetime
import json
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
from published_leaders import published
from stores import child, more_room, read_only, six_tokens, small_disk

from tokendyn.cli import run
from tokendyn.cli.jobs import command
from tokendyn.data.texts import small_reviews
from tokendyn.dynamics import Budget, Layer, TokenFlow, integrate
from tokendyn.errors import ConvergenceError
from tokendyn.experiments.perform import perform
from tokendyn.runs import provenance
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.files import read_tensors
from tokendyn.runs.index import Index
from tokendyn.runs.store import Store
from tokendyn.sentiment.heads import Logistic

pytestmark = pytest.mark.usefixtures("unchecked")

RUN = "import sys\nfrom tokendyn.cli import run\nsys.exit(run(sys.argv[1:]))"
SWEEP = 'command = "simulate"\n[fixed]\ntokens = {tokens}\nlayers = 6\nsoftmax = 5\n[grid]\nalpha = {alphas}\n'


@pytest.fixture
def tokens(tmp_path):
    return six_tokens(tmp_path)


@pytest.fixture
def clock_goes_back(monkeypatch):
    """Let the clock of the day go back by an hour each time that it is asked."""
    now = [4e9]

    def earlier():
        now[0] -= 3600.0
        return now[0]

    class Back(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(earlier(), tz)

    monkeypatch.setattr(time, "time", earlier)
    monkeypatch.setattr(time, "time_ns", lambda: int(earlier() * 1e9))
    monkeypatch.setattr(provenance, "datetime", SimpleNamespace(datetime=Back, UTC=datetime.UTC))


def swept(tokens, place, alphas, *words):
    """Run a sweep over some values of alpha; return its exit code."""
    file = place / "s.toml"
    file.write_text(SWEEP.format(tokens=json.dumps(str(tokens)), alphas=alphas), encoding="utf-8")
    return run(["sweep", str(file), "--store", str(place / "runs"), "--out", str(place / "out"), *words])


def table(place):
    with (place / "out" / "table.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def small_job(tokens, **options):
    return command("simulate").job({"tokens": str(tokens), "layers": 6, "softmax": 5.0, "report": False, **options})


def test_runs_made_while_the_clock_goes_back_are_all_listed_by_what_it_said(tokens, tmp_path, clock_goes_back):
    made = [perform(tmp_path / "runs", small_job(tokens, alpha=alpha))[0] for alpha in (0.1, 0.2, 0.3, 0.4)]
    said = [record.provenance["finished"] for record in made]
    assert said == sorted(said, reverse=True), "the clock went back from run to run"
    assert all(record.provenance["seconds"] >= 0 for record in made), "durations are of another clock"
    with Index(Store(tmp_path / "runs")) as index:
        index.refresh()
        assert [row.id for row in index.rows()] == [record.id for record in made]


def test_what_is_skipped_and_what_is_made_does_not_depend_on_the_clock(tokens, tmp_path, clock_goes_back, capsys):
    assert swept(tokens, tmp_path, [0.1, 0.2, 0.3], "--workers", "1") == 0
    first = table(tmp_path)
    for moment in (0.0, 5e9):
        for path in [tokens, *(tmp_path / "runs").rglob("*")]:
            os.utime(path, (moment, moment))
        capsys.readouterr()
        assert swept(tokens, tmp_path, [0.1, 0.2, 0.3], "--workers", "1", "--json") == 0
        assert json.loads(capsys.readouterr().out)["ran"] == 0
        assert table(tmp_path) == first
    # A file of another content is another input, though it is older than the runs of the first.
    np.savetxt(tokens, np.random.default_rng(1).normal(size=(6, 2)), delimiter=",")
    os.utime(tokens, (0.0, 0.0))
    assert swept(tokens, tmp_path, [0.1, 0.2, 0.3], "--workers", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ran"] == 3


def test_the_age_of_a_checkpoint_does_not_depend_on_the_clock(tmp_path, clock_goes_back):
    path = tmp_path / "c.safetensors"
    young, old = Checkpoint(path, seconds=1e6).of("x"), Checkpoint(path, seconds=0.02).of("x")
    young.offer(lambda: State({}))
    assert not path.exists()
    time.sleep(0.03)
    old.offer(lambda: State({}, {"step": 1}))
    assert Checkpoint(path).of("x").read().record == {"step": 1}


def test_a_budget_ends_a_run_though_the_clock_goes_back(clock_goes_back):
    tokens = np.random.default_rng(0).normal(size=(40, 2))
    flow = TokenFlow(inverse_temperature=6.0)
    tokens /= np.linalg.norm(tokens, axis=1)[:, None]
    found = integrate(flow, tokens, [0.0, 1e6], step=0.01, budget=Budget(steps=10**9, seconds=0.2))
    assert found.status == "out of time"


CONFIGS = {
    "alhpa = 0.3\nlayres = 2": ("simulate {tokens}", ["'alhpa'; did you mean alpha", "'layres'; did you mean layers"]),
    "[alpha2]\nx = 1": ("simulate {tokens}", ["'alpha2'; did you mean alpha"]),
    "beat = 9": ("simulate --model meanfield", ["'beat'; did you mean beta"]),
    "ratois = '2,3'": ("phase", ["'ratois'; did you mean ratios"]),
    "epoch = 3": ("sentiment train {tokens}", ["'epoch'; did you mean epochs"]),
    "stratgy = 'fused'": ("classify build {tokens}", ["'stratgy'; did you mean strategy"]),
    "horizn = 20": ("forecast fit {tokens}", ["'horizn'; did you mean horizon"]),
    "tokens = 't.csv'": ("simulate {tokens}", ["'tokens'; give it on the command line"]),
    "zzz = 1": ("simulate {tokens}", ["'zzz'; see tokendyn simulate --help"]),
}


@pytest.mark.parametrize("content", CONFIGS)
@pytest.mark.parametrize("where", ["--out={place}/made", "--store={place}/runs"])
def test_unknown_keys_of_a_configuration_are_named_with_the_nearest(tokens, tmp_path, capsys, content, where):
    words, messages = CONFIGS[content]
    file = tmp_path / "run.toml"
    file.write_text(content, encoding="utf-8")
    before = sorted(os.listdir(tmp_path))
    given = [*words.format(tokens=tokens).split(), "--config", str(file), where.format(place=tmp_path)]
    assert run(given) == 2
    said = capsys.readouterr().err
    assert all(message in said for message in messages)
    assert str(file) in said
    assert sorted(os.listdir(tmp_path)) == before


def nan_in(monkeypatch, call):
    """Let the attention layer of one call, counted from 0, return a NaN for one token."""
    layer, calls = Layer.__call__, []

    def poisoned(self, *given, **settings):
        moved, steps = layer(self, *given, **settings)
        calls.append(1)
        if len(calls) == call + 1:
            moved[0, 0] = np.nan
        return moved, steps

    monkeypatch.setattr(Layer, "__call__", poisoned)


@pytest.mark.parametrize("call", range(1, 6))
def test_a_run_in_which_nan_appears_is_diverged_and_keeps_what_came_before(tokens, tmp_path, monkeypatch, call):
    nan_in(monkeypatch, call)
    record, heard = perform(tmp_path / "runs", small_job(tokens))
    assert (record.status, record.results["outcome"], record.results["layers"]) == ("diverged", "diverged", call)
    assert any("diverged" in line for line in heard.sentences)
    assert Store(tmp_path / "runs").read(record.id, verify=True).status == "diverged"


def test_a_run_in_which_nan_appears_in_the_first_layer_failed_and_says_why(tokens, tmp_path, monkeypatch):
    nan_in(monkeypatch, 0)
    record, _ = perform(tmp_path / "runs", small_job(tokens))
    assert record.status == "failed"
    assert "overflowed in the first layer" in record.error


def test_lists_and_tables_say_which_runs_diverged(tokens, tmp_path, monkeypatch, capsys):
    place = tmp_path / "runs"
    nan_in(monkeypatch, 8)
    records = [perform(place, small_job(tokens, alpha=alpha))[0] for alpha in (0.1, 0.2, 0.3)]
    monkeypatch.undo()
    assert [record.status for record in records] == ["completed", "diverged", "completed"]
    assert swept(tokens, tmp_path, [0.1, 0.2, 0.3], "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["ran"], counts["completed"], counts["diverged"]) == (0, 2, 1)
    assert [(row["alpha"], row["status"]) for row in table(tmp_path)] == [
        ("0.1", "completed"), ("0.2", "diverged"), ("0.3", "completed"),
    ]  # fmt: skip
    assert run(["runs", "list", "--where", "status != completed", "--store", str(place)]) == 0
    assert "diverged" in capsys.readouterr().err


def test_a_flow_in_which_nan_appears_is_diverged(tmp_path, monkeypatch):
    velocity, calls = TokenFlow.velocity, []

    def poisoned(self, *given, **settings):
        calls.append(1)
        return velocity(self, *given, **settings) * (np.nan if len(calls) >= 9 else 1.0)

    monkeypatch.setattr(TokenFlow, "velocity", poisoned)
    job = command("simulate-meanfield").job({"beta": 5, "tokens": 20, "time": 2.0, "report": False, "start": "uniform"})
    record, _ = perform(tmp_path / "runs", job)
    assert record.status == "diverged"
    assert record.results["outcome"] == "diverged"


def nan_in_training(monkeypatch, call):
    gradient, calls = Logistic.gradient, []

    def poisoned(self, *given):
        calls.append(1)
        return gradient(self, *given) * (np.nan if len(calls) == call + 1 else 1.0)

    monkeypatch.setattr(Logistic, "gradient", poisoned)
    return calls


def test_a_training_in_which_nan_appears_gives_the_best_model_before_it_and_says_so(tmp_path, monkeypatch, capsys):
    data = small_reviews()
    texts, labels = data.texts[:200], data.labels[:200]
    calls = nan_in_training(monkeypatch, -1)
    published(epochs=2, start_epochs=2, random_state=0).fit(texts, labels)
    for call in (len(calls) // 2 - 1, len(calls) - 1):
        monkeypatch.undo()
        nan_in_training(monkeypatch, call)
        path = tmp_path / f"{call}.safetensors"
        kept = Checkpoint(path, 0.0)
        model = published(epochs=2, start_epochs=2, random_state=0).fit(texts, labels, checkpoint=kept)
        assert model.training_["status"] == "diverged"
        assert np.isfinite(model.embedding_).all()
        assert np.isfinite(read_tensors(path)["point"]).all()
    monkeypatch.undo()
    nan_in_training(monkeypatch, 0)
    with pytest.raises(ConvergenceError, match="learning rate"):
        published(epochs=2, random_state=0).fit(texts, labels)


def test_a_sweep_on_a_disk_that_fills_up_says_so_and_goes_on_when_there_is_room(tokens, tmp_path, capsys):
    alphas = [round(0.01 * number, 2) for number in range(1, 41)]
    with small_disk(tmp_path / "disk", "600k") as disk:
        assert swept(tokens, disk, alphas, "--workers", "1") == 2
        said = capsys.readouterr().err
        assert "make room" in said
        assert "Traceback" not in said
        store = Store(disk / "runs")
        before = {one for one in store.ids() if store.finished(one, verify=True)}
        assert before == set(store.ids()), "nothing half-written has the name of a run"
        more_room(disk)
        assert swept(tokens, disk, alphas, "--workers", "1", "--json") == 0
        assert json.loads(capsys.readouterr().out)["ran"] == 40 - len(before)
        assert [row["status"] for row in table(disk)] == ["completed"] * 40


def test_every_command_on_a_read_only_disk_says_so_and_looking_works(tokens, tmp_path, capsys):
    with small_disk(tmp_path / "disk", "4m") as disk:
        assert swept(tokens, disk, [0.1, 0.2], "--workers", "1") == 0
        store = Store(disk / "runs")
        there = store.ids()
        read_only(disk)
        swept_again = ["sweep", str(disk / "s.toml"), "--store", str(disk / "runs"), "--out", str(disk / "out")]
        refused = [
            swept_again,
            ["simulate", str(tokens), "--layers", "2", "--no-report", f"--store={disk / 'runs'}"],
            ["simulate", str(tokens), "--layers", "2", "--no-report", "--out", str(disk / "run")],
            ["runs", "rm", there[0], "--store", str(disk / "runs")],
        ]
        for words in refused:
            capsys.readouterr()
            assert run(words) == 2
            said = capsys.readouterr().err
            assert "Read-only" in said
            assert "Traceback" not in said
        for words in (["runs", "list"], ["runs", "show", there[0]], ["runs", "compare", *there]):
            assert run([*words, "--store", str(disk / "runs")]) == 0
        assert store.ids() == there


def test_two_processes_that_want_the_same_run_make_it_once(tokens, tmp_path):
    words = ["simulate", str(tokens), "--layers", "4", "--no-report", f"--store={tmp_path / 'runs'}", "--json"]
    both = [child(RUN, *words) for _ in range(2)]
    ended = [(process.communicate(), process.returncode) for process in both]
    assert {code for _, code in ended} <= {0, 1}
    assert any(code == 0 for _, code in ended)
    assert all("is being computed by process" in said for (_, said), code in ended if code)
    (only,) = Store(tmp_path / "runs").ids()
    assert Store(tmp_path / "runs").read(only, verify=True).attempts == 1


def test_two_sweeps_at_once_share_the_work_and_end_with_the_same_table(tokens, tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(SWEEP.format(tokens=json.dumps(str(tokens)), alphas=list(range(1, 7))), encoding="utf-8")
    words = ["sweep", file, "--store", tmp_path / "runs", "--workers", "1", "--json", "--out"]
    both = [child(RUN, *words, tmp_path / name) for name in ("one", "two")]
    ended = [(process.communicate(), process.returncode) for process in both]
    assert [code for _, code in ended] == [0, 0], ended
    assert sum(json.loads(out)["ran"] for (out, _), _ in ended) >= 6
    one, two = ((tmp_path / name / "table.csv").read_bytes() for name in ("one", "two"))
    assert one == two
    assert len(Store(tmp_path / "runs").ids()) == 6
