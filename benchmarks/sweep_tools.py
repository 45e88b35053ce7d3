"""What the measurements of sweeps share: sweep files, commands, clusters, counts."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tokendyn.runs.store import Store

CLI = [sys.executable, "-m", "tokendyn"]


def small_jobs(folder: Path, count: int, layers: int = 10, tokens: int = 20) -> Path:
    """Write a sweep of ``count`` small simulations, and its tokens; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    start = np.random.default_rng(0).normal(size=(tokens, 2))
    np.savetxt(folder / "tokens.csv", start, delimiter=",")
    file = folder / "small.toml"
    file.write_text(
        f'command = "simulate"\n[fixed]\ntokens = "{folder / "tokens.csv"}"\nlayers = {layers}\n'
        f"[grid]\nalpha = {{from = 0.1, to = 3, count = {count}}}\n",
        encoding="utf-8",
    )
    return file


def sweep(file: Path, place: Path, *options: str) -> list[str]:
    """Return the command of a sweep that keeps all it writes under ``place``."""
    return [*CLI, "sweep", str(file), "--store", str(place / "runs"), "--out", str(place / "out"), "--json", *options]


def finish(command: list[str]) -> dict:
    """Run a sweep to its end and return its counts."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the sweep ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def table(place: Path) -> tuple[bytes, bytes]:
    """Return the bytes of both tables."""
    return (place / "out" / "table.csv").read_bytes(), (place / "out" / "table.parquet").read_bytes()


def whole_runs(folder: Path) -> dict[str, int]:
    """Count the runs of a store that are whole to the last byte, and the others that have the name of a run."""
    store = Store(folder)
    whole = sum(store.finished(run, verify=True) is not None for run in store.ids())
    return {"whole": whole, "not_whole": len(store.ids()) - whole}


def children(process: int) -> list[int]:
    """Return the worker processes of a sweep."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent == process and b"loky.backend.popen_loky" in words:
                found.append(int(entry.name))
    return found


def dask_worker(address: str, folder: Path) -> subprocess.Popen:
    """Start one Dask worker with one thread and no nanny."""
    options = ["--nworkers", "1", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder)]
    return quiet([sys.executable, "-m", "distributed.cli.dask_worker", address, *options])


def quiet(command: list[str]) -> subprocess.Popen:
    """Start a process without reading its output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


@contextmanager
def dask_scheduler(folder: Path):
    """Run a Dask scheduler on this machine only, and yield its address."""
    note = folder / "scheduler.json"
    note.unlink(missing_ok=True)
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(note)]
    process = quiet([sys.executable, "-m", "distributed.cli.dask_scheduler", *options])
    try:
        yield _address(note, process)
    finally:
        process.terminate()
        process.wait()


def _address(note: Path, process: subprocess.Popen) -> str:
    """Wait until the scheduler has written where it listens."""
    while process.poll() is None:
        try:
            return json.loads(note.read_text(encoding="utf-8"))["address"]
        except (OSError, json.JSONDecodeError):
            time.sleep(0.1)
    raise SystemExit("the Dask scheduler did not start")
