"""Long work on a terminal: a bar, and a checkpoint from which it continues."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tokendyn.cli.output import announce
from tokendyn.experiments.experiment import ProgressCallback

if TYPE_CHECKING:
    from tokendyn.runs.checkpoint import Checkpoint


def console() -> Console:
    """Return the console for people: standard error, plain when it is not a terminal."""
    return Console(stderr=True, highlight=False)


@contextmanager
def progress(what: str) -> Iterator[ProgressCallback]:
    """Yield a callback ``(done, total)`` that draws a bar with the time left on a terminal."""
    from tokendyn.show.progress import progress_bar

    with progress_bar(what) as bar:
        yield bar


@contextmanager
def resumable(path: Path | None) -> "Iterator[Checkpoint | None]":
    """Yield the checkpoint of a run, None without a path; report when the run continues from one, or could later."""
    from tokendyn.runs.checkpoint import Checkpoint

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
