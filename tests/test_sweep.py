"""Sweeps: the same table whoever computes it, and nothing lost when workers die."""

import contextlib
import csv
import json
import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future

import numpy as np
import pytest
from browser import EVIL, EVIL_NAME
from stores import add, child, hold_much, kill_on_seven, run_name, slow_square

from tokendyn.cli import run
from tokendyn.errors import BadInputError
from tokendyn.runs.index import Index
from tokendyn.runs.scheduler import Crew, WorkerDiedError, bytes_of, end_local, local_executor
from tokendyn.runs.store import MANIFEST, Store
from tokendyn.show.sweeps import sweep_figure

pytestmark = pytest.mark.usefixtures("unchecked")

SWEEP = """
command = "simulate"
samples = 3

[fixed]
tokens = "{tokens}"
layers = 3

[grid]
alpha = [0.2, 0.5]

[random]
softmax = {{low = 1, high = 50, scale = "log"}}
"""

# Whoever runs the tests in the background may have interrupts ignored, which a child inherits.
RUN = (
    "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from tokendyn.cli import run\nsys.exit(run(sys.argv[1:]))"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    np.savetxt(folder / "tokens.csv", np.random.default_rng(0).normal(size=(6, 2)), delimiter=",")
    path = folder / "s.toml"
    path.write_text(SWEEP.format(tokens=folder / "tokens.csv"), encoding="utf-8")
    return path


def sweep(file, place, *words):
    return run(["sweep", str(file), "--store", str(place / "runs"), "--out", str(place / "out"), *words])


def tables(place):
    return [(place / "out" / f"table.{kind}").read_bytes() for kind in ("csv", "parquet")]


def test_one_and_two_workers_give_the_same_bytes_and_a_second_start_runs_nothing(file, tmp_path, capsys):
    for workers in ("1", "2"):
        (tmp_path / workers).mkdir()
        assert sweep(file, tmp_path / workers, "--workers", workers, "--json") == 0
        counts = json.loads(capsys.readouterr().out)
        assert (counts["jobs"], counts["completed"], counts["ran"]) == (6, 6, 6)
    one, two = tables(tmp_path / "1"), tables(tmp_path / "2")
    assert one == two
    header = one[0].decode().splitlines()[0].split(",")
    assert header[:6] == ["job", "run", "status", "error", "alpha", "softmax"]
    assert "clusters" in header
    assert not [name for name in header if "seconds" in name]
    assert {"against-alpha.png", "against-softmax.png", "sweep.toml"} <= set(os.listdir(tmp_path / "1" / "out"))
    assert sweep(file, tmp_path / "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ran"] == 0
    assert tables(tmp_path / "1") == one
    with Index(Store(tmp_path / "1" / "runs")) as index:
        runs = [row.id for row in index.rows()]
    Store(tmp_path / "1" / "runs").remove(runs[0])
    assert sweep(file, tmp_path / "1", "--workers", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ran"] == 1
    assert tables(tmp_path / "1") == one


def test_a_killed_sweep_loses_nothing_that_was_finished(file, tmp_path, capsys):
    words = ["sweep", file, "--store", tmp_path / "runs", "--out", tmp_path / "out", "--workers", "1"]
    process = child(RUN, *words)
    store = Store(tmp_path / "runs")
    while process.poll() is None and len(store.ids()) < 2:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    there = store.ids()
    assert [store.read(one, verify=True).status for one in there] == ["completed"] * len(there)
    assert not (tmp_path / "out").exists()
    assert sweep(file, tmp_path, "--workers", "1", "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["completed"] == 6
    # The worker may end one more run before it notices that nobody is there.
    assert 6 - len(there) - 1 <= counts["ran"] <= 6 - len(there)


def test_an_interrupt_ends_with_130_and_says_how_to_go_on(file, tmp_path):
    many = tmp_path / "many.toml"
    many.write_text(file.read_text(encoding="utf-8").replace("samples = 3", "samples = 1000"), encoding="utf-8")
    words = ["sweep", many, "--store", tmp_path / "runs", "--out", tmp_path / "out", "--workers", "1"]
    process = child(RUN, *words)
    while process.poll() is None and not Store(tmp_path / "runs").ids():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    assert "Traceback" not in said


def test_failed_jobs_are_in_the_table_and_run_again_when_asked(file, tmp_path, capsys):
    text = file.read_text(encoding="utf-8").replace("[0.2, 0.5]", "[0.2, -1]").replace("samples = 3", "samples = 1")
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    assert sweep(tmp_path / "s.toml", tmp_path, "--workers", "1", "--json") == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["failed"] == 1
    assert "--retry-failed" in output.err
    rows = (tmp_path / "out" / "table.csv").read_text(encoding="utf-8").splitlines()
    assert "failed" in rows[2]
    assert "alpha" in rows[2]
    assert sweep(tmp_path / "s.toml", tmp_path, "--json") == 1
    assert json.loads(capsys.readouterr().out)["ran"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("layers", "layres"), "did you mean layers"),
        (("[grid]", "[gird]"), "did you mean grid"),
        (('"simulate"', '"simulat"'), "did you mean simulate"),
        (("layers = 3", 'out = "x"'), "out is set by the store"),
        (("[0.2, 0.5]", '["much"]'), "alpha = 'much'"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_runs(file, tmp_path, change, message, capsys):
    (tmp_path / "s.toml").write_text(file.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    assert sweep(tmp_path / "s.toml", tmp_path) == 2
    assert message in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["s.toml"]


def test_options_are_checked_before_anything_runs(file, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    for words, message in (
        (["--workers", "0", "--retries", "-1"], "--retries must be at least 0"),
        (["--memory", "much"], "500MB"),
        (["--scheduler", "tcp://127.0.0.1:9", "--workers", "2"], "a cluster has its own"),
        ([], "not the output of a sweep"),
    ):
        assert sweep(file, tmp_path, *words) == 2
        assert message in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["out"]


def test_verify_makes_a_run_again_in_which_a_byte_was_changed(file, tmp_path, capsys):
    assert sweep(file, tmp_path, "--workers", "1") == 0
    store = Store(tmp_path / "runs")
    damaged = store.ids()[2]
    path = store.path(damaged) / "output" / "trajectory.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    capsys.readouterr()
    assert sweep(file, tmp_path, "--workers", "1", "--verify", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ran"] == 1
    assert path.read_bytes() == whole
    assert store.read(damaged, verify=True).status == "completed"


def test_runs_of_a_newer_version_are_refused_before_any_work_by_the_dry_run_too(file, tmp_path, capsys):
    assert sweep(file, tmp_path, "--workers", "1") == 0
    store = Store(tmp_path / "runs")
    newer, gone = store.ids()[:2]
    manifest = store.path(newer) / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 99}))
    store.remove(gone)
    for words in (["--dry-run"], [], ["--verify"]):
        capsys.readouterr()
        assert sweep(file, tmp_path, "--workers", "1", *words) == 2
        assert f"a newer tokendyn wrote 1 of these runs ({newer})" in capsys.readouterr().err
        assert gone not in store.ids()
    assert json.loads(manifest.read_text())["schema_version"] == 99


def test_a_dry_run_writes_no_runs(file, tmp_path, capsys):
    assert sweep(file, tmp_path, "--dry-run") == 0
    assert "would run 6" in capsys.readouterr().err
    assert not Store(tmp_path / "runs").ids()


def test_names_with_markup_and_mathematics_are_drawn_and_tabled_as_they_are(tmp_path):
    names = [f"{EVIL_NAME}.csv", "電影_$x^{.csv"]
    for number, name in enumerate(names):
        np.savetxt(tmp_path / name, np.random.default_rng(number).normal(size=(4 + number, 2)), delimiter=",")
    places = [str(tmp_path / name) for name in names]
    file = tmp_path / f"{EVIL_NAME}.toml"
    file.write_text(f'command = "simulate"\n[fixed]\nlayers = 2\n[grid]\ntokens = {json.dumps(places)}\n', "utf-8")
    assert sweep(file, tmp_path, "--workers", "1") == 0
    with (tmp_path / "out" / "table.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["tokens"] for row in csv.DictReader(stream)] == places
    assert (tmp_path / "out" / "against-tokens.png").stat().st_size > 5000
    figure = sweep_figure({"$a_{": ["$x", "\\frac{"], EVIL: [1.0, 2.0]}, "$a_{", [EVIL])
    figure.savefig(tmp_path / "figure.png")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["$x", "\\frac{"]


def test_sizes_are_read():
    assert [bytes_of(text) for text in ("500MB", "2 GiB", "1.5kb")] == [500_000_000, 2 << 30, 1500]
    with pytest.raises(BadInputError, match="`memory`"):
        bytes_of("2 apples")


def crew(work, workers=2, memory=None, deaths=2):
    return Crew(lambda: local_executor(workers, 1, memory), end_local, work, 2 * workers, deaths, lambda a: a == "busy")


def test_a_task_that_kills_its_worker_is_found_and_the_others_are_done():
    team = crew(kill_on_seven)
    with contextlib.closing(team):
        found = dict(team.run(range(12)))
    died = found.pop(7)
    assert isinstance(died, WorkerDiedError)
    assert "memory" in str(died)
    assert found == {task: task * task for task in range(12) if task != 7}


def test_workers_are_stopped_in_silence_while_a_task_is_submitted(monkeypatch):
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    executor = local_executor(1, 1, None)
    executor.submit(slow_square, 2).result()
    asleep = executor.submit(time.sleep, 3600)
    # What an interrupt leaves that comes just after a submission: the number of a task that is dropped.
    executor._work_ids.put(10**6)
    end_local(executor)
    assert raised == []
    assert asleep.done()


def test_a_worker_killed_from_outside_costs_no_task():
    team = crew(slow_square)
    with contextlib.closing(team):
        found = {}
        for task, answer in team.run(range(60)):
            found[task] = answer
            if len(found) in (5, 25):
                os.kill(next(iter(team._executor._processes)), signal.SIGKILL)
    assert found == {task: task * task for task in range(60)}


def test_a_worker_holds_no_more_memory_than_it_may():
    team = crew(hold_much, workers=1, memory=500_000_000)
    with contextlib.closing(team):
        assert dict(team.run([10**6, 10**9])) == {10**6: 10**6, 10**9: "no memory"}


def test_tasks_are_taken_only_as_they_are_needed():
    taken = []

    def source():
        for task in range(30):
            taken.append(task)
            yield task

    team = crew(slow_square)
    with contextlib.closing(team):
        for done, _ in enumerate(team.run(source()), start=1):
            assert len(taken) <= done + team.window


def test_a_run_that_another_process_makes_is_waited_for(tmp_path):
    store = Store(tmp_path)
    answers = iter(["busy", "busy", 1])

    class Here:
        def submit(self, work, task):
            from concurrent.futures import Future

            future = Future()
            future.set_result(work(task))
            return future

    team = Crew(Here, lambda _: None, lambda _: next(answers), 2, 1, lambda answer: answer == "busy")
    add(store, 1)
    assert list(team.run([run_name(1)])) == [(run_name(1), 1)]


def test_workers_end_when_the_sweep_is_killed(tmp_path):
    code = (
        "import os, sys, time\nfrom tokendyn.runs.scheduler import local_executor\n"
        "executor = local_executor(1, 1, None)\nprint(executor.submit(os.getpid).result(), flush=True)\ntime.sleep(60)"
    )
    process = child(code)
    worker = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    until = time.monotonic() + 20
    while os.path.exists(f"/proc/{worker}") and time.monotonic() < until:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{worker}")


class Pool(Executor):
    """Workers in name only: some submissions lose their worker at once, others are never heard of again."""

    def __init__(self, fates):
        self.fates, self.sent = fates, []

    def submit(self, work, task):
        self.sent.append(task)
        future, fate = Future(), self.fates.pop(0) if self.fates else "works"
        if fate == "dies":
            future.set_exception(BrokenExecutor("the worker is gone"))
        elif fate == "works":
            future.set_result(work(task))
        return future


@pytest.mark.parametrize("dying", range(4))
def test_every_task_that_was_under_way_when_a_worker_died_is_done_once(dying):
    fates = ["silent"] * 4
    fates[dying] = "dies"
    pools = []

    def opened():
        pools.append(Pool(fates if not pools else []))
        return pools[-1]

    team = Crew(opened, lambda _: None, lambda task: task * task, 4, 2, lambda answer: answer == "busy")
    answers = list(team.run(range(9)))
    assert sorted(answers) == [(task, task * task) for task in range(9)], "none lost, none twice"
    assert pools[0].sent == [0, 1, 2, 3]
    assert sorted(task for pool in pools[1:] for task in pool.sent) == list(range(9))


def test_several_workers_lost_at_once_and_again_cost_no_task():
    plans = [["dies", "silent", "dies", "silent"], ["dies", "works"], ["works"] * 2 + ["dies"]]

    def opened():
        return Pool(plans.pop(0) if plans else [])

    team = Crew(opened, lambda _: None, lambda task: -task, 4, 3, lambda answer: answer == "busy")
    assert sorted(team.run(range(1, 12))) == [(task, -task) for task in range(1, 12)]
