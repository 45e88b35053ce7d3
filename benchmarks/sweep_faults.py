"""Kill, fill, cut and flip: what is lost when things go wrong in the middle of a sweep. Prints one line for each fault.

Run with: python benchmarks/sweep_faults.py --folder F [--only sweep,disk] [--times 20]

``lost`` counts runs that were whole before a fault and are not after it; ``not_whole`` counts folders that
have the name of a run and are not whole; ``same_bytes`` says whether the table at the end is that of a sweep without
faults.
"""

import argparse
import contextlib
import csv
import datetime
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
from sweep_tools import CLI, children, dask_scheduler, dask_worker, finish, small_jobs, sweep, table, whole_runs

from tokendyn.cli import run as run_command
from tokendyn.cli.jobs import command
from tokendyn.data.texts import small_reviews
from tokendyn.dynamics import Layer
from tokendyn.errors import BadInputError, TokendynError
from tokendyn.experiments.perform import perform
from tokendyn.runs import provenance
from tokendyn.runs.files import read_tensors
from tokendyn.runs.index import NAME, Index
from tokendyn.runs.store import MANIFEST, Store
from tokendyn.sentiment.heads import Logistic

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


@contextmanager
def small_disk(place: Path, size: int):
    """Mount a tmpfs of a size in kilobytes."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, option: str) -> None:
    """Change an option of a mounted disk."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(place)], check=True)


def fill_disk(folder: Path, times: int, _: np.random.Generator) -> dict:
    """Sweep into a small tmpfs that fills up, each time at another place; then give it room, and go on."""
    file = small_jobs(folder / "input", 60)
    finish(sweep(file, folder / "reference", "--workers", "1"))
    filled, lost, bad, silent, same = 0, 0, 0, 0, 0
    for number, size in enumerate(np.linspace(30, 1250, times).astype(int)):
        with small_disk(folder / f"disk{number}", int(size)) as disk:
            done = subprocess.run(sweep(file, disk, "--workers", "1"), capture_output=True, text=True, check=False)
            filled += done.returncode == 2
            silent += "make room" not in done.stderr or "Traceback" in done.stderr
            bad += whole_runs(disk / "runs")["not_whole"]
            before = whole(disk / "runs")
            remount(disk, "size=30m")
            finish(sweep(file, disk, "--workers", "1"))
            lost += len(before - whole(disk / "runs"))
            same += table(disk) == table(folder / "reference")
    return {
        "disks": times, "filled": filled, "without_remedy": silent, "lost": lost, "not_whole": bad, "same_bytes": same,
    }  # fmt: skip


def read_only(folder: Path, times: int, _: np.random.Generator) -> dict:
    """Let commands write to a disk that became read-only; each must say so, and change nothing."""
    file = small_jobs(folder / "input", 6)
    more = small_jobs(folder / "more", 8)
    tokens, refused, silent, listed, changed = str(folder / "input" / "tokens.csv"), 0, 0, 0, 0
    for number in range(-(-times // 5)):
        with small_disk(folder / f"disk{number}", 8000) as disk:
            finish(sweep(file, disk, "--workers", "1"))
            runs = ["--store", str(disk / "runs")]
            before = contents(disk)
            remount(disk, "ro")
            short = ["simulate", tokens, "--layers", "2", "--no-report"]
            for words in (
                sweep(file, disk), sweep(more, disk, "--workers", "1"), [*CLI, *short, f"--store={disk / 'runs'}"],
                [*CLI, *short, "--out", str(disk / "run")], [*CLI, "runs", "rm", Store(disk / "runs").ids()[0], *runs],
            ):  # fmt: skip
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                refused += done.returncode == 2
                silent += "Read-only" not in done.stderr or "Traceback" in done.stderr
            done = subprocess.run([*CLI, "runs", "list", "--json", *runs], capture_output=True, check=True)
            listed += len(json.loads(done.stdout)["runs"]) == 6
            changed += contents(disk) != before
    return {"commands": 5 * (number + 1), "refused": refused, "without_remedy": silent, "disks_listed_whole": listed,
            "disks_changed": changed}  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Return what every file of a folder holds, but for the index and its journal."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(NAME))
    return {str(path): path.read_bytes() for path in files}


class Backwards(datetime.datetime):
    """A clock of the day that goes back by up to a day each time that it is asked."""

    moment = 4e9

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "Backwards":
        """Return an earlier moment than the last one."""
        cls.moment -= random.uniform(1, 86400)
        return cls.fromtimestamp(cls.moment, tz)


def clock_back(folder: Path, times: int, chance: np.random.Generator) -> dict:
    """Make runs while the clock of the day goes back, give all files odd times, and sweep over what is there."""
    random.seed(SEED)
    file, place = small_jobs(folder, 3 * times), folder / "back"
    finish(sweep(file, folder / "reference", "--workers", "1"))
    simulate = command("simulate")
    options = {"tokens": str(folder / "tokens.csv"), "layers": 10, "report": False}
    alphas = list(csv_column(folder / "reference" / "out" / "table.csv", "alpha"))
    wrongly_made, unlisted, kept = 0, 0, set()
    with mock.patch.object(provenance, "datetime", SimpleNamespace(datetime=Backwards, UTC=datetime.UTC)):
        for number in range(times):
            record, _ = perform(place / "runs", simulate.job({**options, "alpha": float(alphas[3 * number])}))
            kept.add(record.id)
            for path in [folder / "tokens.csv", *(place / "runs").rglob("*")]:
                moment = chance.uniform(0, 4e9)
                os.utime(path, (moment, moment))
            again, _ = perform(place / "runs", simulate.job({**options, "alpha": float(alphas[3 * number])}))
            wrongly_made += again != record
            with Index(Store(place / "runs")) as index:
                index.refresh()
                unlisted += {row.id for row in index.rows()} != kept
    counts = finish(sweep(file, place, "--workers", "1"))
    wrongly_made += counts["ran"] != 2 * times
    return {"steps_back": times, "runs_made_or_skipped_wrongly": wrongly_made, "lists_not_whole": unlisted,
            **whole_runs(place / "runs"), "same_bytes": table(place) == table(folder / "reference")}  # fmt: skip


def csv_column(path: Path, name: str) -> list[str]:
    """Return one column of a table as text."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [row[name] for row in csv.DictReader(stream)]


def unknown_keys(folder: Path, times: int, chance: np.random.Generator) -> dict:
    """Change one letter of an option in a configuration; the message must name the key, and nothing be written."""
    small_jobs(folder, 1)
    tokens, named, nearest, written = str(folder / "tokens.csv"), 0, 0, 0
    commands = ["simulate", "sentiment train", "classify build", "forecast fit", "phase"]
    for number in range(times):
        words = commands[number % len(commands)].split()
        options = sorted(set(command(" ".join(words)).options) - {"out", "json", "model"})
        option = str(chance.choice([name for name in options if len(name) > 5])).replace("_", "-")
        wrong = option[:3] + "x" + option[3:]
        (folder / "run.toml").write_text(f"{wrong} = 1\n", encoding="utf-8")
        given = [] if words == ["phase"] else [tokens]
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            code = run_command([*words, *given, "--config", str(folder / "run.toml"), "--out", str(folder / "made")])
        named += code == 2 and repr(wrong) in said.getvalue()
        nearest += f"did you mean {option}?" in said.getvalue()
        written += (folder / "made").exists()
    return {"keys": times, "named": named, "with_the_nearest": nearest, "written": written}


def nan_appears(folder: Path, times: int, chance: np.random.Generator) -> dict:
    """Let a NaN appear in a random layer of a simulation, and in a random batch of a training, in turn."""
    small_jobs(folder, 1)
    file = folder / "reviews.csv"
    data = small_reviews()
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *zip(data.texts[:200], data.labels[:200], strict=True)])
    job = {"tokens": str(folder / "tokens.csv"), "softmax": 5.0, "layers": 20, "report": False}
    training = command("sentiment train").job({"reviews": str(file), "epochs": 2})
    jobs = [(Layer, "__call__", command("simulate").job(job), 20), (Logistic, "gradient", training, 100)]
    completed, said, batches = 0, 0, []
    for number in range(times):
        kind, name, made, most = jobs[number % 2]
        call = int(chance.integers(1, most))
        with mock.patch.object(kind, name, poisoned(getattr(kind, name), call)):
            record, _ = perform(folder / "runs", made, attempts=1)
        completed += record.status == "completed"
        said += record.status == "diverged" or "overflowed in the first layer" in record.error
        batches.append(record.status)
        Store(folder / "runs").remove(record.id)
    return {"nans": times, "completed": completed, "said": said, "diverged": batches.count("diverged"),
            "failed": batches.count("failed")}  # fmt: skip


def poisoned(function: Callable, call: int) -> Callable:
    """Return a function that returns what another does, but one NaN in one call, counted from 0."""
    calls = itertools.count()

    def changed(*given, **settings):
        found = function(*given, **settings)
        if next(calls) == call:
            array = found[0] if isinstance(found, tuple) else found
            array.flat[0] = np.nan
        return found

    return changed


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
    """Start two sweeps of the same file on the same store at the same time, again and again."""
    file = small_jobs(folder, 10)
    finish(sweep(file, folder / "reference", "--workers", "1"))
    same, lost, bad = 0, 0, 0
    for number in range(times):
        place = folder / f"both{number}"
        commands = [sweep(file, place, "--workers", "1"), sweep(file, place, "--workers", "1")]
        commands[1][commands[1].index("--out") + 1] = str(place / "other")
        running = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for one in commands]
        for process in running:
            process.communicate()
        reference = table(folder / "reference")[0]
        same += table(place)[0] == reference == (place / "other" / "table.csv").read_bytes()
        counts = whole_runs(place / "runs")
        lost, bad = lost + 10 - counts["whole"], bad + counts["not_whole"]
    return {"pairs": times, "jobs_each": 10, "lost": lost, "not_whole": bad, "pairs_with_the_same_bytes": same}


def same_run(folder: Path, times: int, _: np.random.Generator) -> dict:
    """Let two processes ask for the same run at the same time."""
    small_jobs(folder, 1)
    words = [*CLI, "simulate", str(folder / "tokens.csv"), "--layers", "200", "--no-report"]
    waited, shared, wrong = 0, 0, 0
    for number in range(times):
        store = Store(folder / f"runs{number}")
        both = [subprocess.Popen([*words, f"--store={store.folder}"], stderr=subprocess.PIPE, text=True) for _ in "ab"]
        outputs = [(process.communicate()[1], process.returncode) for process in both]
        waited += sum("is being computed by process" in said and code == 1 for said, code in outputs)
        shared += sum("is there already" in said and code == 0 for said, code in outputs)
        made = [said for said, code in outputs if code == 0 and "is there already" not in said]
        wrong += len(made) != 1 or whole_runs(store.folder) != {"whole": 1, "not_whole": 0}
    return {"pairs": times, "told_who_makes_it": waited, "given_what_is_there": shared, "wrong": wrong}


FAULTS = {
    "sweep": kill_sweep, "worker": kill_worker, "dask": kill_dask, "disk": fill_disk, "readonly": read_only,
    "damage": damage, "index": break_index, "two": two_at_once, "same": same_run, "clock": clock_back,
    "keys": unknown_keys, "nan": nan_appears,
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
