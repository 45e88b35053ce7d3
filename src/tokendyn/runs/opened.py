"""Which files are read: what the identity of a stored run covers."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_opened: ContextVar[list[Path] | None] = ContextVar("opened", default=None)


@contextmanager
def recording() -> Iterator[list[Path]]:
    """Yield a list to which every file is added that a reader opens inside the block."""
    paths: list[Path] = []
    token = _opened.set(paths)
    try:
        yield paths
    finally:
        _opened.reset(token)


def note_opened(path: str | Path) -> None:
    """Add a file to the list of the innermost :func:`recording`, if there is one."""
    paths = _opened.get()
    if paths is not None:
        paths.append(Path(path))
