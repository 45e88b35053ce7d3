"""Sweeps on a Dask cluster: a dead worker costs nothing, and what is missing is said."""

import importlib.util
import json
import subprocess
import sys
import time

import pytest
from stores import process_environment, slow_square

from tokendyn.errors import BadInputError, MissingLibraryError
from tokendyn.runs.scheduler import Crew, dask_executor, end_dask

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason='needs Dask: pip install "tokendyn[cluster]"'
)


def start(module, *words):
    command = [sys.executable, "-m", f"distributed.cli.{module}", *map(str, words), "--no-dashboard"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=process_environment()
    )  # fmt: skip


@pytest.fixture
def cluster(tmp_path):
    """Yield the address of a scheduler and its two workers."""
    note = tmp_path / "scheduler.json"
    scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", note)
    address = ""
    while not address and scheduler.poll() is None:
        time.sleep(0.1)
        if note.exists() and note.stat().st_size:
            address = json.loads(note.read_text(encoding="utf-8"))["address"]
    options = ("--nworkers", 1, "--nthreads", 1, "--no-nanny", "--local-directory", tmp_path / "dask")
    workers = [start("dask_worker", address, *options) for _ in range(2)]
    yield address, workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


@needs_dask
def test_a_worker_of_a_cluster_that_is_killed_costs_no_task(cluster):
    address, workers = cluster
    executor, _ = dask_executor(address)
    executor._client.wait_for_workers(2)
    again, count = dask_executor(address)
    again._client.close()
    assert count == 2
    team = Crew(lambda: executor, end_dask, slow_square, 4, 2, lambda answer: answer == "busy")
    found = {}
    for task, answer in team.run(range(200)):
        found[task] = answer
        if len(found) == 30:
            workers[0].kill()
    team.close()
    executor._client.close()
    assert found == {task: task * task for task in range(200)}


@needs_dask
def test_a_scheduler_that_does_not_answer_is_one_message():
    with pytest.raises(BadInputError, match="dask scheduler"):
        dask_executor("tcp://127.0.0.1:9")


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(MissingLibraryError, match=r"tokendyn\[cluster\]"):
        dask_executor("tcp://127.0.0.1:9")
