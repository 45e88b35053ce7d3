"""``tokendyn samples``: small files to try every command with."""

import csv
import functools
import io
import json as json_format
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tokendyn.cli.output import announce, write_json
from tokendyn.runs.files import check_free, new_file


def samples(
    folder: Path = Path(), /, *, seed: int = 0, overwrite: bool = False, dry_run: bool = False, json: bool = False
) -> int:
    """Write small files to try every command with: tokens.csv, reviews.csv, sequences.jsonl, flow.csv.

    Parameters
    ----------
    folder
        Where to write; the folder you are in by default.
    seed
        Seed of the random numbers.
    overwrite
        Replace files of these names.
    dry_run
        Say what would be written, and stop.
    json
        Write the paths as one JSON object to standard output.
    """
    targets = {folder / name: write for name, write in WRITERS.items()}
    for target, write in targets.items():
        check_free(target, overwrite=overwrite, ours=functools.partial(_is_sample, write))
    if dry_run:
        announce(f"would write {', '.join(map(str, targets))}")
        return 0
    for target, write in targets.items():
        with new_file(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            write(stream, np.random.default_rng(seed))
    if json:
        write_json({"files": list(map(str, targets))})
    announce(f"wrote {', '.join(map(str, targets))}")
    return 0


def _is_sample(write: Callable[[Any, np.random.Generator], None], file: Path) -> bool:
    """Return whether a file may be one that this command wrote, with any seed: as many lines, and the same heading."""
    stream = io.StringIO(newline="")
    write(stream, np.random.default_rng(0))
    wanted = stream.getvalue().encode()
    if file.stat().st_size > 2 * len(wanted):
        return False
    lines, known = file.read_bytes().splitlines(), wanted.splitlines()
    return len(lines) == len(known) and lines[0].split(b"[")[0] == known[0].split(b"[")[0]


def _tokens(stream: Any, rng: np.random.Generator) -> None:
    """Write forty named points of the plane."""
    points = rng.normal(size=(40, 2)).round(4).tolist()
    csv.writer(stream).writerows([("name", "x", "y"), *((f"token{k}", *point) for k, point in enumerate(points))])


def _reviews(stream: Any, rng: np.random.Generator) -> None:
    """Write the reviews that come with the package."""
    from tokendyn.data.texts import small_reviews

    data = small_reviews()
    csv.writer(stream).writerows([("text", "label"), *zip(data.texts, data.labels or (), strict=True)])


def _sequences(stream: Any, rng: np.random.Generator) -> None:
    """Write sixty short sequences of points with labels drawn at random."""
    for number in range(60):
        points = rng.normal(size=(int(rng.integers(2, 9)), 2)).round(4).tolist()
        label = str(rng.choice(["red", "green", "blue"]))
        stream.write(json_format.dumps({"id": str(number), "tokens": points, "label": label}) + "\n")


def _flow(stream: Any, rng: np.random.Generator) -> None:
    """Write two channels of two incommensurate oscillations."""
    times = 0.1 * np.arange(500)
    slow, fast = np.sin(2 * times), np.sin(2 * np.sqrt(2.0) * times)
    table = np.stack([times, slow + 0.4 * fast, np.cos(2 * times) - 0.3 * fast], axis=1).round(6)
    csv.writer(stream).writerows([("t", "lift", "drag"), *table.tolist()])


WRITERS: dict[str, Callable[[Any, np.random.Generator], None]] = {
    "tokens.csv": _tokens,
    "reviews.csv": _reviews,
    "sequences.jsonl": _sequences,
    "flow.csv": _flow,
}
