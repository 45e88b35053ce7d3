"""What a sweep of many small jobs costs beyond the jobs, how much memory it holds, and how fast its runs are listed.

Run with: python benchmarks/sweep_load.py --jobs 10000 --folder FOLDER

Overhead is CPU time of all processes of the sweep for each job, less that of the bare command with the same options.
"""

import argparse
import json
import resource
import shutil
import subprocess
import time
from pathlib import Path

from sweep_tools import CLI, children, small_jobs, sweep

from tokendyn.cli.jobs import command
from tokendyn.runs.index import Index
from tokendyn.runs.store import Store

_BARE = 300


def resident(process: int) -> float:
    """Return the resident memory of a process in MB; 0 when it is gone."""
    try:
        words = Path(f"/proc/{process}/status").read_text(encoding="utf-8").split()
        return int(words[words.index("VmRSS:") + 1]) / 1024
    except (OSError, ValueError):
        return 0.0


def bare(file: Path, folder: Path) -> float:
    """Return the CPU seconds of one call of the command, warm, without store and sweep."""
    simulate = command("simulate")
    options = {"tokens": str(file.parent / "tokens.csv"), "layers": 10, "report": False}
    times = []
    for number in range(_BARE):
        config = simulate.config({**options, "alpha": 0.1 + number / 1000})
        began = time.process_time()
        simulate.compute(config, folder / str(number), folder / str(number), folder / f"{number}.safetensors")
        times.append(time.process_time() - began)
    return sorted(times)[_BARE // 2]


def watched(words: list[str], runs: Path, jobs: int) -> tuple[list[tuple[int, float, float]], float]:
    """Run a sweep; return done jobs, memory of parent and largest worker over time, and the wall seconds."""
    began, seen = time.perf_counter(), []
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(2.0)
        done = len(Store(runs).ids())
        if done:
            seen.append((done, resident(process.pid), max(map(resident, children(process.pid)), default=0.0)))
    if process.returncode:
        raise SystemExit(f"the sweep ended with {process.returncode}")
    return [entry for entry in seen if entry[0] < jobs], time.perf_counter() - began


def listing(runs: Path, *words: str) -> list[float]:
    """Return wall and CPU seconds of ``tokendyn runs list``, start of the interpreter included: the best of five."""
    found = []
    for _ in range(5):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([*CLI, "runs", "list", "--store", str(runs), *words], check=True, capture_output=True)
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
        found.append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return [round(value, 2) for value in min(found)]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    file = small_jobs(arguments.folder / "input", arguments.jobs)
    alone = bare(file, arguments.folder / "bare")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seen, wall = watched(sweep(file, arguments.folder, "--workers", "2"), arguments.folder / "runs", arguments.jobs)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    middle = next(entry for entry in seen if entry[0] >= arguments.jobs // 4)
    began = time.perf_counter()
    with Index(Store(arguments.folder / "runs")) as index:
        index.refresh()
        listed = len(index.rows())
    within = time.perf_counter() - began
    shown = {" ".join(words) or "table": listing(arguments.folder / "runs", *words)
             for words in ((), ("--limit", "0"), ("--json",))}  # fmt: skip
    found = {
        "jobs": arguments.jobs, "wall_seconds": round(wall, 1), "cpu_seconds": round(used, 1),
        "cpu_ms_per_job": round(1000 * used / arguments.jobs, 2), "bare_cpu_ms_per_job": round(1000 * alone, 2),
        "overhead_cpu_ms_per_job": round(1000 * (used / arguments.jobs - alone), 2),
        "parent_MB_at_a_quarter_and_the_end": [round(middle[1]), round(seen[-1][1])],
        "worker_MB_at_a_quarter_and_the_end": [round(middle[2]), round(seen[-1][2])],
        "listed": listed, "list_seconds": round(within, 3), "command_seconds_wall_and_cpu": shown,
    }  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
