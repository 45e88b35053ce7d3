"""Whether a sweep gives the same bytes with 1 and 2 local workers, and on a Dask cluster of which a worker is killed.

Run with: python benchmarks/sweep_same.py --jobs 200 --folder FOLDER
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from sweep_tools import dask_scheduler, dask_worker, finish, small_jobs, sweep, table, whole_runs

from tokendyn.runs.store import Store


def local(file: Path, place: Path, workers: int) -> dict:
    """Run the sweep on this machine."""
    began = time.perf_counter()
    counts = finish(sweep(file, place, "--workers", str(workers)))
    return {**counts, "wall_seconds": round(time.perf_counter() - began, 1)}


def cluster(file: Path, place: Path, share: float, jobs: int) -> dict:
    """Run the sweep on two Dask workers, one of which is killed with kill -9 when a share of the jobs is done."""
    began = time.perf_counter()
    place.mkdir(parents=True)
    with dask_scheduler(place) as address:
        workers = [dask_worker(address, place / "dask") for _ in range(2)]
        process = subprocess.Popen(sweep(file, place, "--scheduler", address), stdout=subprocess.PIPE, text=True)
        while len(Store(place / "runs").ids()) < share * jobs and process.poll() is None:
            time.sleep(0.05)
        at = len(Store(place / "runs").ids())
        os.kill(workers[0].pid, signal.SIGKILL)
        output, _ = process.communicate()
        for worker in workers:
            worker.kill()
            worker.wait()
    return {**json.loads(output), "killed_at": at, "wall_seconds": round(time.perf_counter() - began, 1)}


def main() -> None:
    """Run the sweep three times and compare the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    file = small_jobs(arguments.folder, arguments.jobs, layers=60, tokens=60)
    found = {f"{n} local": local(file, arguments.folder / str(n), n) for n in (1, 2)}
    found["2 Dask, one killed"] = cluster(file, arguments.folder / "dask", 0.3, arguments.jobs)
    first = table(arguments.folder / "1")
    for name, place in (("1 local", "1"), ("2 local", "2"), ("2 Dask, one killed", "dask")):
        found[name] |= whole_runs(arguments.folder / place / "runs")
        found[name]["same_bytes"] = table(arguments.folder / place) == first
        print(name, json.dumps({key: value for key, value in found[name].items() if key not in ("store", "out")}))


if __name__ == "__main__":
    main()
