"""The trials of a search, kept beside the folder that its command writes, so that the same command continues."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tokendyn.experiments import rehearse

if TYPE_CHECKING:
    from tokendyn.runs.checkpoint import Checkpoint

_log = logging.getLogger(__name__)


def search_state(folder: Path) -> Path:
    """Return the file of the trials of a search, kept until its result is written."""
    return folder.with_name(f"{folder.name}.search.json")


def path_of(checkpoint: "Checkpoint | Path | str | None") -> Path | None:
    """Return the file of a checkpoint; None without one."""
    if checkpoint is None or isinstance(checkpoint, str | Path):
        return None if checkpoint is None else Path(checkpoint)
    return checkpoint.path


def check_state(folder: Path, run: Callable[[Path, Callable[..., None]], object]) -> None:
    """Refuse an interrupted search beside a folder if it has other data; ``run`` takes the state and progress."""
    state = search_state(folder)
    if state.exists():
        rehearse(lambda begun: run(state, begun))


@contextmanager
def kept_search(folder: Path) -> Iterator[Path]:
    """Yield the file of the trials of a search; it is removed once the result is written.

    Parameters
    ----------
    folder
        The folder to write.
    """
    state = search_state(folder)
    state.parent.mkdir(parents=True, exist_ok=True)
    if state.exists():
        _log.info("going on from %s", state)
    try:
        yield state
    except KeyboardInterrupt:
        if state.exists():
            _log.info("what was tried so far is in %s; the same command goes on from there", state)
        raise
    state.unlink(missing_ok=True)
