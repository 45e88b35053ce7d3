"""Kill every long command at random times while it runs, start it again, and compare its files with an unbroken run.

``python tools/kill_and_resume.py [NAME ...] [--kills 3] [--seed 0]`` prints one row a command; its exit code is 1 when
a file differs. States are kept five times a second, not twice a minute, so that runs of seconds have some to go on
from. Of files that hold times of the clock, places or the command, those parts are left out.
"""

import argparse
import csv
import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_CHILD = """
import sys
from tokendyn.cli import run
from tokendyn.experiments import experiment
from tokendyn.runs.checkpoint import Checkpoint

Checkpoint.__init__.__defaults__ = experiment.checkpoint_of.__defaults__ = (0.2,)
{work}
"""
_COMMAND = "sys.exit(run(sys.argv[1:]))"
_FORECASTER = """
import numpy as np
from tokendyn.forecast import TDTF

data, checkpoint, out = sys.argv[1:]
TDTF(delays=8, units=40, iterations=12, random_state=1, checkpoint=checkpoint).fit(np.load(data), dt=0.1).save(out)
"""
_SWEEP = """
command = "simulate"
samples = 30
[fixed]
tokens = "{0}/tokens.csv"
layers = 10
[random]
softmax = {{low = 1, high = 50, scale = "log"}}
"""

#: Files that hold nothing of when and where.
_BITS = frozenset({".safetensors", ".csv", ".npy", ".npz", ".onnx"})
#: Parts of JSON records that tell when, where and how fast.
_VOLATILE = (
    "second",
    "finished",
    "command",
    "provenance",
    "rate",
    "digest",
    "store",
    "ran",
    "out",
    "timings",
    "checkpoint",
)


@dataclass(frozen=True)
class Case:
    """One long command.

    Attributes
    ----------
    words
        Its words; ``{0}`` is the folder of the inputs, ``{1}`` that of the run.
    work
        What the process does with them.
    grows
        Whether it goes on from the folder that it writes; the others' folder is whole as soon as it is there.
    """

    words: str
    work: str = _COMMAND
    grows: bool = False


CASES = {
    "simulate": Case(
        "simulate {0}/tokens.csv --softmax 4 --layers 1000 --no-animation --record last "
        "--checkpoint {1}/state.safetensors --out {1}/out"
    ),
    "meanfield": Case(
        "simulate --model meanfield --beta 80 --tokens 250 -V diag(1,2) -A diag(4,1) --time 2 --no-animation "
        "--checkpoint {1}/state.safetensors --out {1}/out"
    ),
    "phase": Case(
        "phase --betas 10,20,40 --tokens 100 -V diag(1,2) -A diag(4,1) --no-report --out {1}/out", grows=True
    ),
    "sentiment train": Case(
        "sentiment train {0}/reviews.csv --epochs 40 --patience 40 --checkpoint {1}/state.safetensors --out {1}/out"
    ),
    "forecaster": Case("{0}/series.npy {1}/state.safetensors {1}/out", _FORECASTER),
    "sweep": Case("sweep {0}/sweep.toml --workers 1 --store {1}/runs --out {1}/out"),
    "classify build": Case("classify build {0}/sequences.jsonl --out {1}/out"),
    "claims": Case("claims clustering --out {1}/out"),
}


def main() -> int:
    """Run the cases that are named, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--kills", type=int, default=3, help="how often each command is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    options = parser.parse_args()
    if unknown := set(options.names) - set(CASES):
        parser.error(f"no command {', '.join(sorted(unknown))}; choose from {', '.join(CASES)}")
    draws, failed = random.Random(options.seed), False
    print(f"{'command':<16}{'unbroken':>9}  {'killed after':<24}{'went on':>8}{'files':>7}  differing")
    with tempfile.TemporaryDirectory() as place:
        inputs = Path(place) / "inputs"
        write_inputs(inputs)
        for name in options.names or CASES:
            failed |= not compare(name, CASES[name], inputs, Path(place) / name.replace(" ", "-"), options.kills, draws)
    return int(failed)


def compare(name: str, case: Case, inputs: Path, place: Path, kills: int, draws: random.Random) -> bool:
    """Run a command unbroken and with kills; print the row of the table, and return whether all files are equal."""
    seconds, _ = ended(case, inputs, place / "whole", None)
    times = []
    for _ in range(kills):
        # Starting Python and compiling take the first part of a run: kills are to fall within the work.
        spent, was_killed = ended(case, inputs, place / "cut", draws.uniform(0.4, 0.9) * seconds)
        times += [f"{spent:.1f}s" if was_killed else "ended"]
        # A kill may come between the last file and the end of the process.
        was_killed &= case.grows or not (place / "cut" / "out").exists()
        if not was_killed:
            break
    kept = bool(_files(place / "cut"))
    if was_killed:
        ended(case, inputs, place / "cut", None)
    first, second = (dict(contents(place / run)) for run in ("whole", "cut"))
    differing = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    went_on = "yes" if kept else "anew"
    print(f"{name:<16}{seconds:8.1f}s  {' '.join(times):<24}{went_on:>8}{len(first):7d}  {', '.join(differing[:4])}")
    return bool(first) and not differing


def ended(case: Case, inputs: Path, place: Path, after: float | None) -> tuple[float, bool]:
    """Run a command, killed after some seconds; return how long it ran, and whether it was killed."""
    place.mkdir(parents=True, exist_ok=True)
    words = [word.format(inputs, place) for word in case.words.split()]
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD.format(work=case.work), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            said, _ = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{said.decode()[-2000:]}")
    return time.perf_counter() - began, process.returncode != 0


def contents(place: Path) -> Iterator[tuple[str, str]]:
    """Yield every file of a run with a digest of what must not depend on the kills."""
    for file in _files(place):
        name = file.relative_to(place).as_posix()
        if file.suffix in _BITS:
            content = file.read_bytes()
        elif file.suffix == ".json":
            content = json.dumps(_lasting(json.loads(file.read_bytes()))).encode()
        else:
            content = b""  # pages, pictures and the index of a store: that they are there
        yield name, hashlib.sha256(content).hexdigest()


def _files(place: Path) -> list[Path]:
    """Return the files that have their final names: what a kill leaves of a write has a temporary one, ``.out-x1``."""
    hidden = re.compile(r"/\.(?!tokendyn\.json)")
    return sorted(
        path for path in place.rglob("*") if path.is_file() and not hidden.search(f"/{path.relative_to(place)}")
    )


def _lasting(value: Any) -> Any:
    """Return a JSON value without the parts that tell when, where and how fast."""
    if isinstance(value, dict):
        return {
            key: _lasting(part) for key, part in value.items() if not any(word in key.lower() for word in _VOLATILE)
        }
    return [_lasting(part) for part in value] if isinstance(value, list) else value


def write_inputs(folder: Path) -> None:
    """Write what the commands read."""
    from tokendyn.data.texts import small_reviews

    folder.mkdir()
    generator = np.random.default_rng(0)
    np.savetxt(folder / "tokens.csv", generator.normal(size=(60, 2)), delimiter=",")
    turn = 0.1 * np.arange(500)
    np.save(folder / "series.npy", np.c_[np.sin(turn), np.tanh(2 * np.cos(1.7 * turn))])
    (folder / "sweep.toml").write_text(_SWEEP.format(folder), encoding="utf-8")
    reviews = small_reviews()
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *zip(reviews.texts, reviews.labels or (), strict=True)])
    rows = [{"tokens": generator.normal(size=(20, 3)).tolist(), "label": k % 3} for k in range(400)]
    (folder / "sequences.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
