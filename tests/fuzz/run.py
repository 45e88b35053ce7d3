"""Search for bytes that break a reader, guided by coverage (atheris, the extra ``fuzz``).

``python tests/fuzz/run.py TARGET --minutes 10 --work FOLDER`` mutates the kept corpus and a good input. An input on
which the reader raises anything but a TokendynError is written to ``FOLDER/TARGET/findings``, one for each kind of
error and line of code, and the search goes on. ``--keep`` then packs the corpus, smallest inputs first, beside the
tests, which read every packed input again.
"""

import argparse
import copy
import hashlib
import json
import random
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import atheris

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from fuzz.corpus import LONGEST, kept, pack  # noqa: E402  the folder must be on the path
from fuzz.targets import TARGETS  # noqa: E402


def compiled() -> list[str]:
    """Return the modules of compiled kernels, which cannot be instrumented."""
    source = HERE.parents[1] / "src"
    kernels = (path for path in source.rglob("*.py") if "njit" in path.read_text(encoding="utf-8"))
    return [".".join(path.relative_to(source).with_suffix("").parts) for path in kernels]


class Search:
    """Feeds inputs to one reader and writes down what breaks it."""

    def __init__(self, target: str, work: Path):
        self.findings = work / target / "findings"
        self.corpus = work / target / "corpus"
        for folder in (self.findings, self.corpus):
            folder.mkdir(parents=True, exist_ok=True)
        self.seen: set[str] = set()

    def plant(self, target: str) -> None:
        """Write the good input and the kept corpus where the search starts; read one, which imports the reader."""
        with atheris.instrument_imports(["tokendyn"], compiled()), TARGETS[target].opened() as feed:
            good = TARGETS[target].good()
            feed(good)
        for data in (good, *kept(target)):
            (self.corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def note(self, data: bytes, error: BaseException) -> None:
        """Write an input down when its kind of error in its line of code is new."""
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "tokendyn" in frame.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        key = f"{type(error).__name__} {where}"
        if key not in self.seen:
            self.seen.add(key)
            (self.findings / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
            print(f"finding {len(self.seen)}: {key}: {str(error)[:200]}", file=sys.stderr, flush=True)


def search(target: str, minutes: float, work: Path) -> None:
    """Run the search; libFuzzer ends the process when the time is up."""
    found = Search(target, work)
    found.plant(target)
    from tokendyn.runs import limited  # instrumented by now, if the reader needs it

    limited.MOST_SECONDS = 15.0  # below the limit of one input
    warnings.simplefilter("error")
    with TARGETS[target].opened() as feed:

        def one_input(data: bytes) -> None:
            try:
                feed(data)
            except (Exception, RecursionError) as error:
                found.note(data, error)

        limits = ["-timeout=30", "-rss_limit_mb=4096", f"-max_len={LONGEST}", f"-max_total_time={int(60 * minutes)}"]
        mutator = {"json": mutated_json, "safetensors": mutated_tensors}.get(target.rsplit("-", 1)[-1])
        arguments = [sys.argv[0], *limits, "-print_final_stats=1", str(found.corpus)]
        atheris.Setup(arguments, one_input, **({"custom_mutator": mutator} if mutator else {}))
        atheris.Fuzz()


def mutated_json(data: bytes, longest: int, seed: int) -> bytes:
    """Change one value of a JSON record, so that the change reaches the code behind the parser; else its bytes."""
    draw = random.Random(seed)
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        record = None
    if record is None or draw.random() < 0.2:
        return bytes(atheris.Mutate(data, longest))
    return json.dumps(_changed(record, draw)).encode()[:longest]


def mutated_tensors(data: bytes, longest: int, seed: int) -> bytes:
    """Change one value in the header of a safetensors file and state its new length; else its bytes."""
    draw = random.Random(seed)
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        header = None
    if header is None or draw.random() < 0.4:
        return bytes(atheris.Mutate(data, longest))
    changed = json.dumps(_changed(header, draw)).encode()
    return (len(changed).to_bytes(8, "little") + changed + data[8 + length :])[:longest]


ODD = (None, True, -1, 0, 1, 2**63, 1e308, 0.5, "", "é\ud800", "nan", [], [[]], [1, "a"], {}, {"a": 1}, [[1, 2], [3]])


def _changed(value: Any, draw: random.Random) -> Any:
    """Return the value with one part replaced, removed, repeated or exchanged."""
    inside = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not inside or draw.random() < 0.15:
        return draw.choice(ODD)
    value, place, other = copy.copy(value), draw.choice(inside), draw.choice(inside)
    kind = draw.random()
    if kind < 0.1:
        del value[place]
    elif kind < 0.2:
        value[place] = value[other]
    elif kind < 0.25 and isinstance(value, list):
        value.append(value[place])
    else:
        value[place] = _changed(value[place], draw)
    return value


def keep(target: str, work: Path) -> None:
    """Pack the corpus and the findings of a search."""
    folder = work / target
    findings, others = ([path.read_bytes() for path in (folder / part).iterdir()] for part in ("findings", "corpus"))
    count = pack(target, findings, others)
    print(f"{target}: {count} inputs kept")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--work", type=Path, required=True, help="folder for the corpus and the findings")
    parser.add_argument("--keep", action="store_true", help="pack what an earlier search found, and stop")
    given = parser.parse_args()
    if given.keep:
        keep(given.target, given.work)
    else:
        search(given.target, given.minutes, given.work)


if __name__ == "__main__":
    main()
