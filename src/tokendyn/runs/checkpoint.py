"""Checkpoints: the state of a long run in one file, from which it goes on with bit-identical results."""

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tokendyn.errors import BadInputError
from tokendyn.runs.files import check_free, read_tensors, write_tensors

RECORD, FINGERPRINT, DIGEST = "record", "fingerprint", "digest"


@dataclass(frozen=True)
class State:
    """What a run needs to go on.

    Attributes
    ----------
    arrays
        Its arrays by name.
    record
        Everything else, as a JSON value (numbers of generators are whole and of any size).
    """

    arrays: Mapping[str, np.ndarray]
    record: Mapping[str, Any] = field(default_factory=dict)


class Checkpoint:
    """A file that holds the newest state of a run, replaced at most once in a number of seconds, always whole.

    Parameters
    ----------
    path
        The file, ``.safetensors``.
    seconds
        Least wall time between two writes; with infinity the file is only read, never written.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.safetensors"
    >>> run = Checkpoint(path, seconds=0.0).of("heun", np.eye(2))
    >>> run.offer(lambda: State({"x": np.arange(3.0)}, {"step": 7}))
    >>> Checkpoint(path).of("heun", np.eye(2)).read().record
    {'step': 7}
    """

    def __init__(self, path: str | Path, seconds: float = 30.0):
        self.path, self.seconds = Path(path), float(seconds)
        self.print_ = b""
        #: Whether it is a file of rows (:mod:`tokendyn.runs.rows`), which may be too large to be read whole.
        self.holds_rows = False
        self._written = time.monotonic()

    @classmethod
    def at(cls, checkpoint: "AnyCheckpoint | None", seconds: float = 30.0) -> "Checkpoint | None":
        """Return the checkpoint at a path; a checkpoint, and None, are returned unchanged.

        Parameters
        ----------
        checkpoint
            The checkpoint, or the path of its file.
        seconds
            Of one that is given by its path.

        Raises
        ------
        BadInputError
            If something else is given.
        """
        if checkpoint is None or isinstance(checkpoint, Checkpoint):
            return checkpoint
        if isinstance(checkpoint, str | Path):
            return cls(checkpoint, seconds=seconds)
        raise BadInputError(f"checkpoint is {type(checkpoint).__name__}, expected the path of a file or a Checkpoint")

    def of(self, *identity: Any) -> "Checkpoint":
        """Bind the file to a run, by its input and settings: arrays, plain values, and collections of them.

        Raises
        ------
        BadInputError
            If the file exists and belongs to another run, or is damaged.
        """
        self.bind(*identity)
        self.read()
        return self

    def bind(self, *identity: Any) -> None:
        """Bind the file to a run without reading it; see :meth:`of`."""
        digest = hashlib.sha256()
        _digest(digest, identity)
        self.print_ = digest.digest()

    def read(self) -> State | None:
        """Return the newest state; None when there is no file yet."""
        if not self.path.exists():
            return None
        return self.checked(read_tensors(self.path, {RECORD, FINGERPRINT, DIGEST}))

    def checked(self, arrays: Mapping[str, np.ndarray]) -> State:
        """Return the state that :meth:`signed` gave as arrays; see :meth:`of`."""
        arrays = dict(arrays)
        whole = arrays.pop(DIGEST).tobytes() == _content(arrays)
        if whole and arrays.pop(FINGERPRINT).tobytes() != self.print_:
            raise BadInputError(
                f"{self.path} belongs to a run with other input or settings; name another checkpoint, or remove it"
            )
        if not whole:
            raise BadInputError(f"{self.path} was changed after it was written; remove it, and the run begins anew")
        return State(arrays, json.loads(arrays.pop(RECORD).tobytes()))

    def offer(self, state: Callable[[], State]) -> None:
        """Write the state if the last one is old enough; the function is called only then."""
        if time.monotonic() - self._written >= self.seconds:
            self.write(state())

    def write(self, state: State) -> None:
        """Write a state now, unless the file is only read."""
        if math.isinf(self.seconds):
            return
        write_tensors(self.path, self.signed(state))
        self._written = time.monotonic()

    def signed(self, state: State) -> dict[str, np.ndarray]:
        """Return the arrays that stand for a state of this run, their digest among them."""
        record = np.frombuffer(json.dumps(state.record, allow_nan=False).encode(), dtype=np.uint8)
        arrays = {**state.arrays, RECORD: record, FINGERPRINT: np.frombuffer(self.print_, dtype=np.uint8)}
        return {**arrays, DIGEST: np.frombuffer(_content(arrays), dtype=np.uint8)}

    def remove(self) -> None:
        """Remove the file: the run is complete and saved. A file that is not this run's own stays."""
        if self.print_ and (self.holds_rows or self.read() is not None):
            self.path.unlink(missing_ok=True)


#: What functions take as ``checkpoint``: one with an interval of its own, or the path of its file.
AnyCheckpoint: TypeAlias = Checkpoint | Path | str


def check_checkpoint(path: Path | None, out: Path) -> None:
    """Refuse, before any work, a file that cannot keep the state of a run which writes the folder ``out``.

    Parameters
    ----------
    path
        Where the state is to be kept; None for nowhere.
    out
        The folder that the run writes at its end.

    Raises
    ------
    BadInputError
        If something is there that is no checkpoint, or the file would lie where ``out`` is to be.
    OutputError
        If no file can be written there.
    """
    if path is None:
        return
    if out.resolve() in (path.resolve(), *path.resolve().parents):
        raise BadInputError(f"the checkpoint {path} lies in {out}, which is written at the end; name one outside of it")
    if not path.exists():
        check_free(path, overwrite=False)
    elif not {RECORD, FINGERPRINT, DIGEST} <= _names_in(path):
        raise BadInputError(f"{path} is no whole checkpoint of tokendyn; name another file, or move it away")


def _names_in(path: Path) -> set[str]:
    """Return the names of the arrays of a safetensors file without reading them; none for another file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return set(file.keys())
    except (OSError, SafetensorError):
        return set()


def _content(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the SHA-256 of all arrays: a bit that a disk changed is found before a run goes on from it."""
    digest = hashlib.sha256()
    _digest(digest, arrays)
    return digest.digest()


def _digest(digest: Any, part: Any) -> None:
    """Take a value into a digest, down to the bits of its arrays."""
    if isinstance(part, np.ndarray):
        digest.update(repr((part.shape, part.dtype.str)).encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    elif dataclasses.is_dataclass(part):
        _digest(digest, {each.name: getattr(part, each.name) for each in dataclasses.fields(part)})
    elif isinstance(part, Mapping):
        _digest(digest, [(str(name), part[name]) for name in sorted(part, key=str)])
    elif isinstance(part, list | tuple):
        digest.update(f"({len(part)}".encode())
        for each in part:
            _digest(digest, each)
    else:
        digest.update(repr(part).encode() + b";")
