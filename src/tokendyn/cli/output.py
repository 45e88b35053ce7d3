"""What every command says and where: people read standard error, programs read standard output."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tokendyn.runs.checkpoint import Checkpoint

#: What long work calls with how much is done, and how much there is. The same type is in ``tokendyn.dynamics``, which
#: takes seconds to import.
ProgressCallback = Callable[[int, int], None]


@dataclass
class Said:
    """What a command said while nobody was there to hear it: its JSON object, and its lines for people."""

    record: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


_said: ContextVar[Said | None] = ContextVar("said", default=None)


@contextmanager
def overheard() -> Iterator[Said]:
    """Take what a command says inside the block, in place of standard output and standard error."""
    said = Said()
    token = _said.set(said)
    try:
        yield said
    finally:
        _said.reset(token)


def console() -> Console:
    """Return the console for people: standard error, plain when it is not a terminal."""
    return Console(stderr=True, highlight=False)


def write_json(record: Mapping[str, Any]) -> None:
    """Write the one machine-readable object of a command to standard output."""
    said = _said.get()
    if said is not None:
        said.record.update(record)
        return
    json.dump(record, sys.stdout, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


@contextmanager
def progress(what: str) -> Iterator[ProgressCallback]:
    """Yield a callback ``(done, total)`` that draws a bar with the time left on a terminal."""
    target = console()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    silent = _said.get() is not None or not target.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=target, disable=silent) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def resumable(path: Path | None) -> Iterator[Checkpoint | None]:
    """Yield the checkpoint of a run, None without a path; say when the run goes on from one, or will be able to."""
    if path is None:
        yield None
        return
    if path.exists():
        announce(f"going on from {path}")
    try:
        yield Checkpoint(path)
    except KeyboardInterrupt:
        if path.exists():
            announce(f"{path} keeps what was done: the same command goes on from there")
        raise


def announce(line: str) -> None:
    """Say one line to people."""
    said = _said.get()
    if said is not None:
        said.lines.append(line)
        return
    console().print(line, soft_wrap=True, markup=False)


def command_line(
    words: str,
    *given: Path | str,
    options: Mapping[str, object],
    flags: Mapping[str, bool] | None = None,
    out: Path | None = None,
) -> str:
    """Return the command that repeats a run, quoted for a shell.

    Parameters
    ----------
    words
        The command, such as ``sentiment train``.
    given
        Its arguments.
    options
        Values by the names of their options; None is left out.
    flags
        Switches by their names; those that are on are given.
    out
        Where it wrote.
    """
    found = ["tokendyn", *words.split(), *map(str, given)]
    for name, value in options.items():
        if value is not None:
            found += [f"--{name}", str(value).removesuffix(".0") if isinstance(value, float) else str(value)]
    found += [f"--{name}" for name, on in (flags or {}).items() if on]
    return shlex.join(found + (["--out", str(out)] if out is not None else []))
