"""Kill, fill, cut and flip: what is lost when things go wrong in the middle of a sweep. Prints one line for each fault.

Run with: python benchmarks/sweep_faults.py --folder F [--only sweep,worker,dask,disk,damage,index,two] [--times 20]

``lost`` counts runs that were whole before a fault and are not after it; ``not_whole`` counts folders that
have the name of a run and are not whole; ``same_bytes`` says whether the table at the end is that of a sweep without
faults.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
from sweep_tools import children, dask_scheduler, dask_worker, finish, small_jobs, sweep, table, whole_runs

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.runs.files import read_tensors
from tokendyn.runs.index import NAME, Index
from tokendyn.runs.store import MANIFEST, Store

SEED = 20261122


def whole(folder: Path) -> set[str]:
    """Return the runs that are whole to the last byte."""
    store = Store(folder)
    return {run for run in store.ids() if store.finished(run, verify=True) is not None}


def kill_sweep(folder: Path, times: int, chance: np.random.Generator) -> dict:
    """Kill the process of a sweep at random times; start it again each time."""
    file, place = small_jobs(folder, 10 * times), folder / "killed"
    kept, lost, bad, killed = set(), 0, 0, 0
    while killed < times:
        process = subprocess.Popen(
            sweep(file, place, "--workers", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        begun = len(kept)
        while process.poll() is None and len(Store(place / "runs").ids()) <= begun:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
        if process.poll() is not None:
            raise SystemExit("the sweep ended before it was killed often enough; give it more jobs")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
        time.sleep(1.5)
        now = whole(place / "runs")
        lost += len(kept - now)
        bad += whole_runs(place / "runs")["not_whole"]
        kept = now
    counts = finish(sweep(file, place, "--workers", "2"))
    finish(sweep(file, folder / "reference", "--workers", "2"))
    lost += len(kept - whole(place / "runs"))
    same = table(place) == table(folder / "reference")
    return {"killed": killed, "jobs": counts["jobs"], "lost": lost, "not_whole": bad, "same_bytes": same}


def kill_worker(folder: Path, times: int, chance: np.random.Generator) -> dict:
    """Kill a random worker of a running sweep at random times."""
    file, place = small_jobs(folder, 10 * times), folder / "killed"
    process = subprocess.Popen(sweep(file, place, "--workers", "2"), stdout=subprocess.PIPE, text=True)
    killed = 0
    while process.poll() is None and killed < times:
        done = len(Store(place / "runs").ids())
        while process.poll() is None and len(Store(place / "runs").ids()) < done + 2:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 0.5))
        workers = children(process.pid)
        if workers:
            os.kill(int(chance.choice(workers)), signal.SIGKILL)
            killed += 1
    counts = json.loads(process.communicate()[0])
    return {"killed": killed, **beside_reference(file, folder, place, counts)}


def beside_reference(file: Path, folder: Path, place: Path, counts: dict) -> dict:
    """Run the sweep again undisturbed and return what the disturbed one lost."""
    finish(sweep(file, folder / "reference", "--workers", "2"))
    same = table(place) == table(folder / "reference")
    return {
        "jobs": counts["jobs"],
        "failed": counts["failed"],
        **whole_runs(place / "runs"),
        "same_bytes": same,
    }


def kill_dask(folder: Path, times: int, chance: np.random.Generator) -> dict:
    """Kill a random one of two Dask workers at random times; a new one takes its place."""
    file, place = small_jobs(folder, 10 * times), folder / "killed"
    place.mkdir(parents=True)
    with dask_scheduler(place) as address:
        workers = [dask_worker(address, place / "dask") for _ in range(2)]
        process = subprocess.Popen(sweep(file, place, "--scheduler", address), stdout=subprocess.PIPE, text=True)
        killed = 0
        while process.poll() is None and killed < times:
            done = len(Store(place / "runs").ids())
            while process.poll() is None and len(Store(place / "runs").ids()) < done + 2:
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 0.5))
            victim = int(chance.integers(2))
            workers[victim].kill()
            workers[victim].wait()
            workers[victim] = dask_worker(address, place / "dask")
            killed += 1
        counts = json.loads(process.communicate()[0])
        for worker in workers:
            worker.kill()
            worker.wait()
    return {"killed": killed, **beside_reference(file, folder, place, counts)}


def fill_disk(folder: Path, times: int, chance: np.random.Generator) -> dict:
    """Sweep into a small tmpfs that fills up; then give it room, and go on."""
    folder.mkdir(parents=True)
    file, disk = small_jobs(folder / "input", 60), folder / "disk"
    disk.mkdir()
    filled, lost, bad, silent = 0, 0, 0, 0
    for _ in range(times):
        size = int(chance.integers(400, 1500))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(disk)], check=True)
        try:
            done = subprocess.run(sweep(file, disk, "--workers", "1"), capture_output=True, text=True, check=False)
            filled += done.returncode == 2
            silent += done.returncode != 0 and not ("make room" in done.stderr or "No space left" in done.stderr)
            bad += whole_runs(disk / "runs")["not_whole"]
            before = whole(disk / "runs")
            subprocess.run(["mount", "-o", "remount,size=30m", str(disk)], check=True)
            finish(sweep(file, disk, "--workers", "1"))
            lost += len(before - whole(disk / "runs"))
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
    return {"disks": times, "filled": filled, "without_remedy": silent, "lost": lost, "not_whole": bad}


def damage(folder: Path, times: int, chance: np.random.Generator) -> dict:
    """Cut or flip a byte of every kind of file of stored runs; count what verifying finds, and what it does not."""
    file, place = small_jobs(folder, times), folder / "whole"
    finish(sweep(file, place, "--workers", "2"))
    store, found, missed, repaired, kinds = Store(place / "runs"), 0, 0, 0, set()
    for run in store.ids():
        files = sorted(path for path in store.path(run).rglob("*") if path.is_file())
        for path in files:
            content = path.read_bytes()
            changed = bytearray(content)
            if chance.random() < 0.5:
                changed = changed[: int(chance.integers(len(content)))]
            else:
                changed[int(chance.integers(len(content)))] ^= 1 << int(chance.integers(8))
            path.write_bytes(changed)
            seen = store.finished(run, verify=True) is None
            found, missed = found + seen, missed + (not seen)
            if path.suffix == ".safetensors":
                try:
                    read_tensors(path)
                except BadInputError:
                    kinds.add("safetensors refused")
            path.write_bytes(content)
        (store.path(run) / MANIFEST).write_bytes(b"{")
    reference = table(place)
    counts = finish(sweep(file, place, "--workers", "2"))
    repaired = counts["ran"]
    same = table(place) == reference
    return {"damaged": found + missed, "found": found, "missed": missed, "computed_again": repaired, "same_bytes": same}


def break_index(folder: Path, times: int, chance: np.random.Generator) -> dict:
    """Overwrite a stretch of the index, or cut it, at random; count the runs that are listed wrongly afterwards."""
    file, place = small_jobs(folder, 20), folder / "whole"
    finish(sweep(file, place, "--workers", "2"))
    store, wrong, noted, errors = Store(place / "runs"), 0, 0, 0
    with Index(store) as index:
        index.refresh()
        expected = index.rows()
    path = store.folder / NAME
    for _ in range(times):
        content = bytearray(path.read_bytes())
        begin = int(chance.integers(len(content)))
        if chance.random() < 0.3:
            content = content[:begin]
        else:
            content[begin : begin + 600] = chance.bytes(600)
        path.write_bytes(content)
        try:
            with Index(store) as index:
                index.refresh()
                wrong += index.rows() != expected
                noted += bool(index.notes)
        except TokendynError:
            errors += 1
    return {"damaged": times, "built_anew": noted, "listed_wrongly": wrong, "errors": errors}


def two_at_once(folder: Path, times: int, _: np.random.Generator) -> dict:
    """Start two sweeps of the same file on the same store at the same time."""
    file, place = small_jobs(folder, 10 * times), folder / "both"
    commands = [sweep(file, place, "--workers", "1"), sweep(file, place, "--workers", "1")]
    commands[1][commands[1].index("--out") + 1] = str(place / "other")
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    counts = [json.loads(process.communicate()[0]) for process in running]
    same = table(place)[0] == (place / "other" / "table.csv").read_bytes()
    return {"jobs": 10 * times, "ran": [one["ran"] for one in counts], **whole_runs(place / "runs"), "same_bytes": same}


FAULTS = {
    "sweep": kill_sweep, "worker": kill_worker, "dask": kill_dask, "disk": fill_disk, "damage": damage,
    "index": break_index, "two": two_at_once,
}  # fmt: skip


def main() -> None:
    """Inject the faults that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", default=",".join(FAULTS))
    parser.add_argument("--times", type=int, default=20)
    arguments = parser.parse_args()
    for name in arguments.only.split(","):
        shutil.rmtree(arguments.folder / name, ignore_errors=True)
        began = time.perf_counter()
        found = FAULTS[name](arguments.folder / name, arguments.times, np.random.default_rng(SEED))
        print(name, json.dumps({**found, "seconds": round(time.perf_counter() - began)}), flush=True)


if __name__ == "__main__":
    main()
