"""Change operators and constants of core functions, one at a time, and list the changes that no test sees.

    python tools/mutate.py --out mutation.json            # the seeded sample of all rooms
    python tools/mutate.py --rooms forecast --changes 60 --seed 3 --out forecast.json
    python tools/mutate.py --again --out mutation.json    # only what survived, after tests were added

Rooms, their core modules and test files, and changes that make no difference or only tune (each with its reason) stand
in ``mutate.toml``; an entry that fits no change any more is an error. Functions are taken in turn, in a seeded order:
a comparison, sign, operator, constant, minimum or maximum, a conjunct, condition or statement, or an end of a range or
slice is changed. A forked child runs the tests of the room on a changed copy until one fails: quick tests first, and
of these the files that name the function. The parent holds the heavy libraries and nothing of tokendyn; kernels are
compiled again only where they hold the changed code. ``--out`` is written after every change: an interrupted run goes
on, and what was judged on the same source is not judged again. The exit code is 1 when less than ``GOAL`` is killed.
"""

import argparse
import ast
import copy
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
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".toml")
ROOMS: dict[str, dict[str, list[str]]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["rooms"]
GOAL = 0.95
STATUSES = ("killed", "survived", "known")
HEAVY = "numpy scipy.optimize scipy.spatial pandas torch numba sklearn.linear_model pytest matplotlib.pyplot"

COMPARED: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMBINED: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Pow: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
NAMED = {
    "min": "max", "argmin": "argmax", "minimum": "maximum", "any": "all", "floor": "ceil", "cumsum": "cumprod",
    "mean": "max", "sum": "mean", "median": "mean", "sin": "cos", "exp": "expm1", "ones": "zeros",
}  # fmt: skip
NAMED |= {new: old for old, new in NAMED.items() if old not in {"mean", "sum", "median", "exp"}} | {"max": "min"}


@dataclass(frozen=True)
class Change:
    """One change of one function."""

    room: str
    file: str
    function: str
    number: int  # of equal changes in the function, so that the name holds when other lines move
    before: str
    after: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """Name it, for ``mutate.toml``."""
        return f"{self.file}:{self.function}: {self.before} -> {self.after} #{self.number}"

    def applied(self, source: bytes) -> bytes:
        """Return the changed source."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def alternatives(node: ast.AST) -> Iterator[ast.AST | str]:  # noqa: PLR0912
    """Yield what a node may become."""
    new = copy.deepcopy(node)
    match new:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                yield ast.Compare(new.left, [*ops[:index], COMPARED[type(op)](), *ops[index + 1 :]], new.comparators)
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in COMBINED:
            new.op = COMBINED[type(op)]()
            yield new
        case ast.BoolOp(values=values):
            for index in range(len(values)):
                rest = values[:index] + values[index + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(new.op, rest)
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(2 * value if abs(value) > 16 else value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(2 * value if value else 1.0)
        case ast.Constant(value="left" | "right" as value):
            yield ast.Constant("left" if value == "right" else "right")
        case ast.Call(func=ast.Name(id="range"), args=args) if not isinstance(args[-1], ast.Constant):
            last = 0 if len(args) == 1 else 1
            args[last] = ast.BinOp(args[last], ast.Sub(), ast.Constant(1))
            yield new
        case ast.Call(func=ast.Name(id=name)) if name in NAMED:
            new.func.id = NAMED[name]
            yield new
        case ast.Call(func=ast.Attribute(attr=name)) if name in NAMED:
            new.func.attr = NAMED[name]
            yield new
        case ast.Slice(upper=ast.expr() as upper) if not isinstance(upper, ast.Constant):
            new.upper = ast.BinOp(upper, ast.Sub(), ast.Constant(1))
            yield new
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield ast.UnaryOp(ast.Not(), test)  # spliced over the test alone
        case ast.AugAssign() | ast.Expr(value=ast.Call()) | ast.Continue() | ast.Break():
            yield "pass"
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield "pass"
    if isinstance(node, ast.AugAssign) and type(node.op) in COMBINED:
        yield "pass"


def skipped(node: ast.AST) -> bool:
    """Say whether nothing below a node is changed: messages, annotations, documentation."""
    raised = isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom)
    words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    messages = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("warn", "warning"))
    return raised or words or messages


def changes_of(room: str, path: Path) -> list[Change]:
    """Return every change of the functions of a file."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    file, changes, seen = str(path.relative_to(ROOT)), [], defaultdict(int)

    def visit(node: ast.AST, function: str) -> None:
        if skipped(node):
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".lstrip(".")
            parts = node.body
            if isinstance(node, ast.FunctionDef):
                parts = [*node.args.defaults, *(d for d in node.args.kw_defaults if d), *parts]
        else:
            parts = [n for n in ast.iter_child_nodes(node) if n is not getattr(node, "annotation", None)]
        inside = bool(function) and not isinstance(node, ast.FunctionDef | ast.ClassDef)
        for new in alternatives(node) if inside else ():
            place = node.test if isinstance(node, ast.If | ast.While | ast.IfExp) else node
            after = new if isinstance(new, str) else ast.unparse(ast.fix_missing_locations(new))
            if isinstance(place, ast.expr) and not isinstance(place, ast.Slice):
                after = f"({after})"
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[place.end_lineno - 1] + place.end_col_offset
            before = " ".join(source[start:end].decode().split())
            seen[function, before, after] += 1
            changes.append(Change(room, file, function, seen[function, before, after], before, after, start, end))
        for part in parts:
            visit(part, function)

    visit(ast.parse(source), "")
    return changes


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
    return [change for path in files if path.stem != "__init__" for change in changes_of(room, path)]


class Order:
    """A pytest plugin: quick tests before slow ones; keeps times and what failed."""

    def __init__(self, seconds: dict[str, float], words: set[str]) -> None:
        self.seconds, self.words, self.failed, self.measured = seconds, words, "", {}

    def pytest_collection_modifyitems(self, items: list) -> None:
        """Sort stably, so that fixtures of a module are made once in each group."""
        named = {}
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


def run_tests(place: Path, room: str, words: set[str], seconds: dict[str, float], limit: int) -> None:
    """Run the tests of a room in a copy, in this forked process, and end it; the outcome lies in outcome.json."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    log = os.open(place / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(place)
    os.environ |= {"PYTHONPATH": str(place / "src"), "TMPDIR": str(place / "tmp")}
    sys.dont_write_bytecode = bool(words)
    sys.path[:0] = [str(place / "src"), str(place / "tests")]
    tempfile.tempdir = str(place / "tmp")
    import pytest

    order = Order(seconds, words)
    files = [f"tests/{name}.py" for name in ROOMS[room]["tests"]]
    code = pytest.main(["-x", "-p", "no:cacheprovider", "-p", "no:xdist", *files], plugins=[order])
    outcome = {"code": int(code), "failed": order.failed, "seconds": order.measured}
    (place / "outcome.json").write_text(json.dumps(outcome))
    os._exit(0)


class Copies:
    """Copies of the project, one for each child, and the compiled files of the unchanged source."""

    def __init__(self, folder: Path, count: int) -> None:
        self.compiled, self.free = folder / "compiled", [folder / f"copy{n}" for n in range(count)]
        for place in self.free:
            shutil.rmtree(place, ignore_errors=True)
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


def judge(jobs: list[tuple[str, Change | None]], copies: Copies, times: dict, report: object) -> None:
    """Run jobs, a room with a change or unchanged, in as many children as there are copies; report each outcome."""
    waiting, running = jobs[::-1], {}
    while waiting or running:
        while waiting and copies.free:
            room, change = waiting.pop()
            place, seconds = copies.free.pop(), times.get(room, {})
            copies.prepare(place, change)
            limit = int(60 + 3 * sum(seconds.values())) if change else 3600
            words = {change.function.rpartition(".")[2], Path(change.file).stem} if change else set()
            child = os.fork()
            if not child:
                run_tests(place, room, words, seconds, limit)
            running[child] = (room, change, place, time.monotonic(), limit)
        child = os.waitpid(-1, os.WNOHANG)[0]
        for other, (*_, begun, limit) in running.items():
            if time.monotonic() - begun > 6 * limit:  # it sleeps
                os.killpg(other, signal.SIGKILL)
        if not child:
            time.sleep(0.1)
            continue
        room, change, place, begun, _ = running.pop(child)
        outcome = {"code": -1, "failed": "out of time", "seconds": {}}
        if (place / "outcome.json").exists():
            outcome = json.loads((place / "outcome.json").read_text())
        report(room, change, outcome, time.monotonic() - begun, place)
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


def main() -> None:
    """Read the command line, run the sample, print what survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--changes", type=int, default=400, help="about as many in all, as many of each room")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("mutation.json"))
    parser.add_argument("--again", action="store_true", help="judge again what survived in --out")
    parser.add_argument("--list", action="store_true", help="print the sample and judge nothing")
    options = parser.parse_args()
    known, chosen = known_changes(), sample(options.rooms, options.changes, options.seed)
    if options.list:
        print(*(f"{change.room}: {change.name}" for change in chosen), sep="\n")
        return
    results = {r["name"]: r for r in json.loads(options.out.read_text())["changes"]} if options.out.exists() else {}
    hashes = {change.file: digest(ROOT / change.file) for change in chosen}
    results = {
        change.name: results[change.name]
        for change in chosen
        if results.get(change.name, {}).get("source") == hashes[change.file]
        and not (options.again and results[change.name]["status"] == "survived")
    }

    def write() -> None:
        record = {"seed": options.seed, "rooms": shares(results), "changes": list(results.values())}
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def report(room: str, change: Change | None, outcome: dict, took: float, place: Path) -> None:
        if change is None:
            if outcome["code"]:
                log = (place / "log.txt").read_text()[-2000:]
                sys.exit(f"the tests of {room} fail without a change: {outcome['failed']}\n{log}")
            times[room] = outcome["seconds"]
            passed(room).write_text(json.dumps(times[room]))
            print(f"{room}: its tests pass, {sum(times[room].values()):.0f} s", flush=True)
            return
        status = "killed" if outcome["code"] else "survived"
        results[change.name] = asdict(change) | {
            "name": change.name, "status": status, "by": outcome["failed"], "seconds": round(took, 1),
            "source": hashes[change.file], "diff": diff(change, (place / "original").read_bytes()),
        }  # fmt: skip
        write()
        print(f"{len(results):4}/{len(chosen)} {took:5.1f} s {status:8} {change.name}", flush=True)

    left = [change for change in chosen if change.name not in results and change.name not in known]
    for change in chosen:
        if change.name in known:
            results[change.name] = asdict(change) | {
                "name": change.name, "status": "known", "by": known[change.name], "source": hashes[change.file],
            }  # fmt: skip
    for variable in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        os.environ[f"{variable}_NUM_THREADS"] = "1"
    for module in HEAVY.split():
        __import__(module)
    folder = Path(tempfile.gettempdir()) / f"tokendyn-mutation-{digest(*(ROOT / 'src').rglob('*.py'))}"
    tests = digest(*(ROOT / "tests").glob("*.py"))

    def passed(room: str) -> Path:
        return folder / f"{room}-{tests}.json"

    copies, times = Copies(folder, options.workers), {}
    rooms = list(dict.fromkeys(change.room for change in left))
    times |= {room: json.loads(passed(room).read_text()) for room in rooms if passed(room).exists()}
    judge([(room, None) for room in rooms if room not in times], copies, times, report)
    judge([(change.room, change) for change in left], copies, times, report)
    write()
    for result in results.values():
        if result["status"] == "survived":
            print(f"\n{result['file']} {result['function']}\n{result['diff']}")
    failed = False
    for room, row in shares(results).items():
        counts = ", ".join(f"{row[status]} {status}" for status in STATUSES)
        print(f"{room:11} {counts}: {row['share']:.1%} killed")
        failed |= row["share"] < GOAL
    sys.exit(1 if failed else 0)


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
