"""Which files a command read: readers report every file that they open, and recorders collect the reports.

A model file may lead to others (a configuration beside it, shards behind an index); what a run read is known only
while it reads. Readers call :func:`note_opened` before they open a file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_opened: ContextVar[list[Path] | None] = ContextVar("opened", default=None)


def note_opened(path: Path) -> None:
    """Tell the recording that is active, if any, that a file is read, or that its absence decides what is read."""
    noted = _opened.get()
    if noted is not None:
        noted.append(Path(path).absolute())


@contextmanager
def recording() -> Iterator[list[Path]]:
    """Yield the list of the files that are opened inside the block, in their order; a file may be in it twice."""
    noted: list[Path] = []
    outer = _opened.get()
    token = _opened.set(noted)
    try:
        yield noted
    finally:
        _opened.reset(token)
        if outer is not None:
            outer.extend(noted)
