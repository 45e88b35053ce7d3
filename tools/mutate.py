"""Change operators and constants of core functions, one at a time, and list the changes that no test sees.

    python tools/mutate.py --out mutation.json            # the seeded sample of all rooms
    python tools/mutate.py --rooms forecast --changes 60 --seed 3 --out forecast.json
    python tools/mutate.py --again --out mutation.json    # only what survived, after tests were added

A first pass on a busy machine may leave out slow tests with ``--longest 1``; ``--again`` then judges with all of them.

Rooms, their core modules and test files, and changes that make no difference or only tune (each with its reason) stand
in ``mutate.toml``; an entry that fits no change any more is an error. Functions are taken in turn, in a seeded order:
a comparison, sign, operator, constant, minimum or maximum, a conjunct, condition or statement, or an end of a range or
slice is changed. A forked child runs the tests of the room on a changed copy until one fails: quick tests first, and
of these the files that name the function. The parent holds the heavy libraries and nothing of tokendyn; kernels are
compiled again only where they hold the changed code. ``--out`` is written after every change: an interrupted run goes
on, and what was judged on the same source is not judged again. The exit code is 1 when less than ``GOAL`` is killed.
"""

import argparse
import atexit
import difflib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

from changes import Change, changes_of

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".toml")
ROOMS: dict[str, dict[str, list[str]]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["rooms"]
GOAL = 0.95
STATUSES = ("killed", "survived", "known")
HEAVY = "numpy scipy.optimize scipy.spatial pandas torch numba sklearn.linear_model pytest matplotlib.pyplot"


def sample(rooms: list[str], count: int, seed: int) -> list[Change]:
    """Return about ``count`` changes, as many of each room: functions in turn, ordered by a hash of seed and name.

    So the sample stays where code elsewhere changes.
    """

    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{seed} {name}".encode()).digest()

    chosen = []
    for room in rooms:
        functions = defaultdict(list)
        for change in every_change(room):
            functions[f"{change.file}:{change.function}"].append(change)
        queues = [sorted(functions[name], key=lambda c: rank(c.name)) for name in sorted(functions, key=rank)]
        turns = [change for turn in range(max(map(len, queues))) for q in queues for change in q[turn : turn + 1]]
        chosen += turns[: -(-count // len(rooms))]
    return chosen


def every_change(room: str) -> list[Change]:
    """Return all changes of a room."""
    base, patterns = ROOT / "src" / "tokendyn", ROOMS[room]["modules"]
    without = {path for pattern in patterns if pattern[0] == "!" for path in base.glob(pattern[1:])}
    files = sorted({path for pattern in patterns if pattern[0] != "!" for path in base.glob(pattern)} - without)
    return [change for path in files if path.stem != "__init__" for change in changes_of(room, path, ROOT)]


class Order:
    """A pytest plugin: quick tests before slow ones, or without them; keeps times and what failed."""

    def __init__(self, seconds: dict[str, float], words: set[str], longest: float) -> None:
        self.seconds, self.words, self.longest, self.failed, self.measured = seconds, words, longest, "", {}

    def pytest_collection_modifyitems(self, items: list) -> None:
        """Sort stably, so that fixtures of a module are made once in each group."""
        named = {}
        if self.seconds:
            items[:] = [item for item in items if self.seconds.get(item.nodeid, 0.0) <= self.longest]
        for item in items:
            if item.path not in named:
                text = item.path.read_text(encoding="utf-8")
                named[item.path] = any(re.search(rf"\b{word}\b", text) for word in self.words)
        items.sort(key=lambda item: (self.seconds.get(item.nodeid, 9.0) > 1.0, not named[item.path]))

    def pytest_runtest_logreport(self, report: object) -> None:
        """Keep the time of a test and the first that fails."""
        self.measured[report.nodeid] = self.measured.get(report.nodeid, 0.0) + report.duration
        if report.failed and not self.failed:
            self.failed = report.nodeid


def run_tests(place: Path, names: list[str], order: Order, limit: int) -> None:
    """Run test files in a copy, in this forked process, and end it; the outcome lies in outcome.json."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    log = os.open(place / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(place)
    os.environ |= {"PYTHONPATH": str(place / "src"), "TMPDIR": str(place / "tmp")}
    sys.dont_write_bytecode = bool(order.words)
    sys.path[:0] = [str(place / "src"), str(place / "tests")]
    tempfile.tempdir = str(place / "tmp")
    import pytest

    files = [f"tests/{name}.py" for name in names]
    code = pytest.main(["-x", "-p", "no:cacheprovider", "-p", "no:xdist", *files], plugins=[order])
    outcome = {"code": int(code), "failed": order.failed, "seconds": order.measured}
    (place / "outcome.json").write_text(json.dumps(outcome))
    os._exit(0)


class Copies:
    """Copies of the project, one for each child, and the compiled files of the unchanged source."""

    def __init__(self, folder: Path, count: int) -> None:
        self.compiled, self.free = folder / "compiled", [folder / f"{os.getpid()}-{n}" for n in range(count)]
        for place in self.free:
            atexit.register(shutil.rmtree, place, ignore_errors=True)
            ignored = shutil.ignore_patterns("__pycache__", "_build", ".*")
            shutil.copytree(ROOT, place, ignore=ignored)
        self.kernels = [p for p in (ROOT / "src").rglob("*.py") if "njit" in p.read_text(encoding="utf-8")]

    def prepare(self, place: Path, change: Change | None) -> None:
        """Write a change into a copy, and link what is compiled and does not depend on it."""
        shutil.rmtree(place / "tmp", ignore_errors=True)
        (place / "tmp").mkdir()
        (place / "outcome.json").unlink(missing_ok=True)
        stale = set() if change is None else {place / path for path in self.importers(change.file)}
        for folder in [*place.rglob("__pycache__")]:
            shutil.rmtree(folder)
        for file in self.compiled.rglob("*.*"):
            link = place / file.relative_to(self.compiled)
            if link.parent.parent / f"{file.name.partition('.')[0]}.py" not in stale:
                link.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, link)
        if change is not None:
            shutil.copy2(place / change.file, place / "original")
            (place / change.file).write_bytes(change.applied((place / "original").read_bytes()))

    def restore(self, place: Path, change: Change | None) -> None:
        """Take a change back, or keep what was compiled for the unchanged source."""
        if change is not None:
            shutil.copy2(place / "original", place / change.file)  # with its time, which the kernels' index holds
            return
        for file in [*place.rglob("__pycache__/*.*")]:
            kept = self.compiled / file.relative_to(place)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.unlink(missing_ok=True)
            os.link(file, kept)

    def importers(self, file: str) -> set[Path]:
        """Return a file and the kernels that import it, directly or through kernels: they hold its code inlined."""
        found, size = {Path(file)}, 0
        while size < len(found):
            size = len(found)
            modules = {".".join(path.with_suffix("").parts[1:]) for path in found}
            for kernel in self.kernels:
                if any(re.search(rf"^from {re.escape(m)} import", kernel.read_text(), re.M) for m in modules):
                    found.add(kernel.relative_to(ROOT))
        return found


def judge(jobs: list[tuple[str, Change | None]], copies: Copies, record: "Record") -> None:
    """Run jobs, a room with a change or unchanged, in as many children as there are copies; report each outcome."""
    waiting, running = jobs[::-1], {}
    while waiting or running:
        while waiting and copies.free:
            room, change = waiting.pop()
            place, seconds = copies.free.pop(), record.times.get(room, {})
            copies.prepare(place, change)
            limit = int(60 + 3 * sum(s for s in seconds.values() if s <= record.options.longest)) if change else 3600
            words = {change.function.rpartition(".")[2], Path(change.file).stem} if change else set()
            child = os.fork()
            if not child:
                names = ROOMS[room]["tests"] if change else record.unseen(room)
                run_tests(place, names, Order(seconds, words, record.options.longest), limit)
            running[child] = (room, change, place, time.monotonic(), limit)
        child, _, used = os.wait4(-1, os.WNOHANG)
        for other, (*_, begun, limit) in running.items():
            if time.monotonic() - begun > 6 * limit:  # it sleeps
                os.killpg(other, signal.SIGKILL)
        if not child:
            time.sleep(0.1)
            continue
        room, change, place, *_ = running.pop(child)
        outcome = {"code": -1, "failed": "out of time", "seconds": {}}
        if (place / "outcome.json").exists():
            outcome = json.loads((place / "outcome.json").read_text())
        record.report(room, change, outcome, used.ru_utime + used.ru_stime, place)
        copies.restore(place, change)
        copies.free.append(place)


def digest(*paths: Path) -> str:
    """Return a hash of files."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def diff(change: Change, source: bytes) -> str:
    """Return the changed lines."""
    lines = [text.decode().splitlines() for text in (source, change.applied(source))]
    return "\n".join(list(difflib.unified_diff(*lines, n=0, lineterm=""))[2:])


def known_changes() -> dict[str, str]:
    """Return the listed changes with their reasons; what fits no change any more ends the program."""
    entries = tomllib.loads(TABLE.read_text(encoding="utf-8")).get("known", [])
    names = {change.name for room in ROOMS for change in every_change(room)}
    wrong = [entry["name"] for entry in entries if entry["name"] not in names or not entry.get("reason")]
    if wrong:
        sys.exit("\n".join([f"{TABLE.name}: no such change, or no reason:", *wrong]))
    return {entry["name"]: entry["reason"] for entry in entries}


class Record:
    """The outcomes so far, written after each; those of an earlier run count where the source is the same."""

    def __init__(self, options: argparse.Namespace, chosen: list[Change], known: dict[str, str], folder: Path) -> None:
        self.options, self.chosen, self.folder = options, chosen, folder
        self.hashes = {change.file: digest(ROOT / change.file) for change in chosen}
        earlier = json.loads(options.out.read_text())["changes"] if options.out.exists() else []
        same = {r["name"]: r for r in earlier if r["source"] == self.hashes.get(r["file"]) and r["status"] != "known"}
        self.results: dict[str, dict] = {}
        for change in chosen:
            if change.name in known:
                self.add(change, "known", known[change.name])
            elif change.name in same and not (options.again and same[change.name]["status"] == "survived"):
                self.results[change.name] = same[change.name]
        self.left = [change for change in chosen if change.name not in self.results]
        rooms = dict.fromkeys(change.room for change in self.left)
        self.new_rooms = [room for room in rooms if self.unseen(room)]
        self.times = {room: self.seen(room) for room in rooms if room not in self.new_rooms}

    def passed(self, name: str) -> Path:
        """Return the file that says that a file of tests passes on this source, with their times."""
        return self.folder / f"{name}-{digest(*(ROOT / 'tests' / f'{each}.py' for each in (name, 'conftest')))}.json"

    def unseen(self, room: str) -> list[str]:
        """Return the test files of a room that have not passed on this source."""
        return [name for name in ROOMS[room]["tests"] if not self.passed(name).exists()]

    def seen(self, room: str) -> dict[str, float]:
        """Return the seconds of each test of a room."""
        parts = [json.loads(self.passed(name).read_text()) for name in ROOMS[room]["tests"]]
        return {test: seconds for part in parts for test, seconds in part.items()}

    def add(self, change: Change, status: str, by: str, **more: object) -> None:
        """Keep an outcome."""
        self.results[change.name] = asdict(change) | {"name": change.name, "status": status, "by": by} | more
        self.results[change.name]["source"] = self.hashes[change.file]

    def write(self) -> None:
        """Write all outcomes."""
        record = {"seed": self.options.seed, "rooms": shares(self.results), "changes": list(self.results.values())}
        self.options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def report(self, room: str, change: Change | None, outcome: dict, took: float, place: Path) -> None:
        """Keep the outcome of a job, and say it."""
        if change is not None:
            status, source = "killed" if outcome["code"] else "survived", (place / "original").read_bytes()
            self.add(change, status, outcome["failed"], seconds=round(took, 1), diff=diff(change, source))
            self.write()
            print(f"{len(self.results):4}/{len(self.chosen)} {took:5.1f} s {status:8} {change.name}", flush=True)
        elif outcome["code"]:
            log = (place / "log.txt").read_text()[-2000:]
            sys.exit(f"the tests of {room} fail without a change: {outcome['failed']}\n{log}")
        else:
            for name in self.unseen(room):
                of_file = {k: v for k, v in outcome["seconds"].items() if k.startswith(f"tests/{name}.py::")}
                self.passed(name).write_text(json.dumps(of_file))
            self.times[room] = self.seen(room)
            print(f"{room}: its tests pass, {sum(self.times[room].values()):.0f} s", flush=True)


def main() -> None:
    """Read the command line, run the sample, print what survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--changes", type=int, default=400, help="about as many in all, as many of each room")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("mutation.json"))
    parser.add_argument("--again", action="store_true", help="judge again what survived in --out")
    parser.add_argument("--longest", type=float, default=float("inf"), help="leave out tests of more seconds")
    parser.add_argument("--list", action="store_true", help="print the sample and judge nothing")
    options = parser.parse_args()
    known, chosen = known_changes(), sample(options.rooms, options.changes, options.seed)
    if options.list:
        print(*(f"{change.room}: {change.name}" for change in chosen), sep="\n")
        return
    os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    for module in HEAVY.split():
        __import__(module)
    folder = Path(tempfile.gettempdir()) / f"tokendyn-mutation-{digest(*(ROOT / 'src').rglob('*.py'))}"
    record, copies = Record(options, chosen, known, folder), Copies(folder, options.workers)
    judge([(room, None) for room in record.new_rooms], copies, record)
    judge([(change.room, change) for change in record.left], copies, record)
    record.write()
    for result in record.results.values():
        if result["status"] == "survived":
            print(f"\n{result['name']}\n{result['diff']}")
    rows = shares(record.results)
    for room, row in rows.items():
        counts = ", ".join(f"{row[status]} {status}" for status in STATUSES)
        print(f"{room:11} {counts}: {row['share']:.1%} killed")
    sys.exit(1 if any(row["share"] < GOAL for row in rows.values()) else 0)


def shares(results: dict[str, dict]) -> dict[str, dict]:
    """Return the counts of each room, and of all, with the share that is killed of what is not known."""
    rows = {}
    for room in [*dict.fromkeys(r["room"] for r in results.values()), "all"]:
        of = [r["status"] for r in results.values() if room in {r["room"], "all"}]
        counts = {status: of.count(status) for status in STATUSES}
        rows[room] = counts | {"share": counts["killed"] / max(counts["killed"] + counts["survived"], 1)}
    return rows


if __name__ == "__main__":
    main()
