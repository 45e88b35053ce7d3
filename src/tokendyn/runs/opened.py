"""Which files a command opened, so that the identity of a run covers the files that its inputs lead to."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_OPENED: ContextVar[list[Path] | None] = ContextVar("opened", default=None)


def note_opened(path: Path) -> None:
    """Note that a reader opened a file; nothing happens unless a recording is active."""
    opened = _OPENED.get()
    if opened is not None:
        opened.append(path)


@contextmanager
def recording() -> Iterator[list[Path]]:
    """Yield the list to which every file is added that a reader opens in the block."""
    opened: list[Path] = []
    token = _OPENED.set(opened)
    try:
        yield opened
    finally:
        _OPENED.reset(token)
