"""The store of runs: one folder a run, named by its id, that is there completely or not at all.

``RUNS/ID/`` holds ``config.toml`` (the options), ``manifest.json`` (status, results, seed, versions, machine, times, a
digest of each file and of the manifest itself), and what the command wrote. The folders are the truth; the index is a
cache (:mod:`tokendyn.runs.index`).
"""

import fcntl
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from tokendyn.errors import BadInputError, OutputError, TokendynError
from tokendyn.runs.folders import NewerError, new_folder, read_json, refusal, write_json
from tokendyn.runs.identity import ID_LENGTH, canonical, content_digest, digest_or_absent

SCHEMA, SCHEMA_VERSION = "tokendyn-stored-run", 1
MANIFEST, CONFIG = "manifest.json", "config.toml"
#: The folder of a run in which its command wrote.
OUTPUT = "output"

#: The environment variable that names the store, and where it lies without one.
VARIABLE, DEFAULT = "TOKENDYN_RUNS", "runs"

#: ``completed``: whole. ``diverged``: ended early or not certified, what there is was written. ``stopped``: cut by its
#: budget; the same job continues it. ``failed``: an error.
Status = Literal["completed", "diverged", "stopped", "failed"]
#: Runs that are an answer; the others are made anew, or go on.
FINAL = frozenset({"completed", "diverged"})

_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
_LEFTOVER = re.compile(rf"\.([0-9a-f]{{{ID_LENGTH}}})-.+")
_LOCKS, _CHECKPOINTS = ".locks", ".checkpoints"
#: The part of the provenance that holds digests of files which the run read and its id does not cover.
BEYOND = "read beyond the inputs"
#: What the folder of a run holds; one with anything else in it is never replaced.
_PARTS = frozenset({MANIFEST, CONFIG, OUTPUT, "log.txt", "forecast.csv", "model.onnx"})


class BusyError(TokendynError):
    """Another process computes the same run now."""


class DamagedError(BadInputError):
    """A stored run was cut short or changed after it was written."""


@dataclass(frozen=True)
class Record:
    """The manifest of a stored run.

    Attributes
    ----------
    id, command
        Name of the run, and the words of its command.
    status
        How it ended.
    config
        Every option that bears on the result.
    inputs
        SHA-256 of the files that were read, by option, and by option and place for those that an input leads to.
    results
        Numbers, truth values and short texts; the same for the same id.
    timings
        Seconds and rates, which differ from time to time.
    error
        Why it failed; empty otherwise.
    attempts
        How often it was begun.
    provenance
        Versions, machine kind, seed, wall time.
    files
        Size in bytes and SHA-256 of each file of the folder but the manifest, by path.
    """

    id: str
    command: str
    status: Status
    config: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    attempts: int = 1
    provenance: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)


class Store:
    """A folder of runs.

    Parameters
    ----------
    folder
        Where; by default what ``TOKENDYN_RUNS`` names, else ``runs``. It is made when the first run is written.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder or os.environ.get(VARIABLE) or DEFAULT)

    def path(self, run: str) -> Path:
        """Return the folder of a run; an id that is none, such as ``../x``, is an error."""
        if not _ID.fullmatch(run):
            raise BadInputError(f"{run[:60]!r} is no run id; tokendyn runs list shows them")
        return self.folder / run

    def is_there(self) -> bool:
        """Return whether the folder is a store: one that holds a run, or held one, and no other folder."""
        return (self.folder / _LOCKS).is_dir() or bool(self.ids())

    def ids(self) -> list[str]:
        """Return the ids of all folders that look like a run, sorted."""
        try:
            with os.scandir(self.folder) as entries:
                return sorted(entry.name for entry in entries if _ID.fullmatch(entry.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BadInputError(f"the store {self.folder} cannot be read: {error.strerror or error}") from None

    def read(self, run: str, *, verify: bool = False) -> Record:
        """Return the record of a run.

        Parameters
        ----------
        run
            Its id.
        verify
            Read every file and compare it with its digest, in place of the sizes only.

        Raises
        ------
        DamagedError
            If the manifest or a file is not what was written; the message names the remedy.
        NewerError
            If a newer tokendyn wrote it.
        """
        folder = self.path(run)
        if not folder.is_dir():
            raise BadInputError(f"{self.folder} has no run {run}; tokendyn runs list shows its runs")
        try:
            manifest = read_json(folder / MANIFEST, schema=SCHEMA, version=SCHEMA_VERSION)
            record = _record(manifest)
        except NewerError:
            raise NewerError(f"run {run} was written by a newer tokendyn; update this one to read it") from None
        except BadInputError as error:
            raise _damaged(run, str(error)) from None
        if record.id != run:
            raise _damaged(run, f"the manifest is that of run {record.id}")
        wrong = [problem for name, facts in record.files.items() if (problem := _problem(folder, name, facts, verify))]
        if wrong:
            raise _damaged(run, "; ".join(wrong[:3]))
        return record

    def finished(self, run: str, *, verify: bool = False) -> Record | None:
        """Return the record of a run that is there, whole and an answer; None otherwise.

        A run that read files which its id does not cover counts only while they are as they were.

        Raises
        ------
        NewerError
            If a newer tokendyn wrote the run: it may be an answer, and must not be replaced.
        """
        try:
            record = self.read(run, verify=verify)
        except NewerError:
            raise
        except BadInputError:
            return None
        return record if record.status in FINAL and is_fresh(record) else None

    def checkpoint(self, run: str) -> Path:
        """Return where the state of a run that is not finished is kept."""
        return self.path(run).parent / _CHECKPOINTS / f"{run}.safetensors"

    @contextmanager
    def claim(self, run: str) -> Iterator[None]:
        """Hold a run for this process; the kernel lets it go when the process ends, however it ends.

        Raises
        ------
        BusyError
            If another process, or another thread of this one, holds it.
        """
        lock = self._lock_path(run)
        handle = _locked(lock)
        if handle is None:
            raise BusyError(f"run {run} is being computed by {_holder(lock)}; wait for it, or stop it first")
        try:
            # Who holds it is a courtesy; on a full disk it is left out.
            with suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            yield
        finally:
            lock.unlink(missing_ok=True)
            os.close(handle)

    @contextmanager
    def writing(self, run: str) -> Iterator[Path]:
        """Yield an empty folder for what a command writes; :meth:`seal` it, and it becomes the run.

        A failed, stopped or damaged run of the same id is replaced, one that is finished or newer never: claim the run
        first.
        """
        # A changed byte shows only when the files are read: such a run is replaced, one that is whole never.
        if self.finished(run, verify=True) is not None:
            raise OutputError(
                f"run {run} is finished already; remove it with tokendyn runs rm {run} to compute it again"
            )
        folder = self.path(run)
        if folder.is_dir() and (foreign := sorted(set(os.listdir(folder)) - _PARTS)):
            names = ", ".join(foreign[:4])
            raise OutputError(f"{folder} is not replaced, because tokendyn did not write {names}; move it away")
        with new_folder(folder, overwrite=True, listed=False) as temporary:
            yield temporary

    def remove(self, run: str) -> None:
        """Remove a run. It loses its name first, so that no half of it is ever read as a run."""
        folder = self.path(run)
        with self.claim(run):
            if not folder.exists():
                raise BadInputError(f"{self.folder} has no run {run}; tokendyn runs list shows its runs")
            try:
                retired = Path(tempfile.mkdtemp(prefix=f".{run}-removed-", dir=self.folder))
                folder.rename(retired / run)
                self.checkpoint(run).unlink(missing_ok=True)
                shutil.rmtree(retired)
            except OSError as error:
                raise OutputError(f"cannot remove {folder}: {refusal(error)}") from error

    def clean(self) -> int:
        """Remove what killed processes left under temporary names, but nothing that is being written; count it."""
        removed = 0
        for leftover, run in self._leftovers():
            with suppress(BusyError), self.claim(run):
                retired = leftover / run
                if leftover.name.startswith(f".{run}-old-") and retired.is_dir() and not self.path(run).exists():
                    # Killed between the two renames that replace a run: what a stopped run has done is kept.
                    retired.rename(self.path(run))
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)
                removed += not leftover.exists()
        return removed

    def _leftovers(self) -> Iterator[tuple[Path, str]]:
        """Yield what lies under temporary names of the runs and of their checkpoints, with the run that it is of."""
        for folder in (self.folder, self.folder / _CHECKPOINTS):
            for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
                if match := _LEFTOVER.fullmatch(name):
                    yield folder / name, match[1]

    def _lock_path(self, run: str) -> Path:
        lock = self.path(run).parent / _LOCKS / run
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refused(self.folder, error) from error
        return lock


def seal(folder: Path, record: Record) -> Record:
    """Write configuration and manifest into the folder of a run as its last files; return the record with the files."""
    config = "".join(f"{name} = {_toml(value)}\n" for name, value in record.config.items() if value is not None)
    (folder / CONFIG).write_text(f"# tokendyn {record.command}\n{config}", encoding="utf-8")
    files = {
        file.relative_to(folder).as_posix(): (file.stat().st_size, content_digest(file))
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    sealed = Record(**{**_fields(record), "files": files})
    manifest = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(sealed)}
    write_json(folder / MANIFEST, {**manifest, "digest": _digest(manifest)})
    return sealed


def is_fresh(record: Record) -> bool:
    """Return whether the files that a run read beyond those of its id are as they were."""
    beyond = record.provenance.get(BEYOND)
    return not isinstance(beyond, dict) or all(digest_or_absent(path) == digest for path, digest in beyond.items())


def _fields(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in Record.__dataclass_fields__}


def _record(manifest: dict[str, Any]) -> Record:
    """Return the record of a manifest whose digest is right and whose values are of the kinds that they must be."""
    stored = manifest.pop("digest", None)
    try:
        digest = _digest(manifest)
    except ValueError:
        raise BadInputError("the manifest holds half a character or an infinite number") from None
    if stored != digest:
        raise BadInputError("the manifest was changed or cut")
    try:
        values = {name: manifest[name] for name in Record.__dataclass_fields__}
        files = {str(name): (int(size), str(content)) for name, (size, content) in values["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInputError(f"the manifest lacks something or is damaged ({type(error).__name__}: {error})") from None
    provenance = values["provenance"] if isinstance(values["provenance"], dict) else {}
    kinds = [(values[name], kind) for name, kind in _KINDS.items()] + [(provenance.get(n), k) for n, k in _MADE.items()]
    if values["status"] not in get_args(Status) or not all(isinstance(value, kind) for value, kind in kinds):
        raise BadInputError("the manifest holds values of other kinds than tokendyn writes")
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in files):
        raise BadInputError("the manifest names files outside its folder")
    return Record(**{**values, "files": files})


#: Kinds of values of a manifest, and of those of its provenance that are used.
_KINDS: dict[str, Any] = {
    "id": str, "command": str, "config": dict, "inputs": dict, "results": dict, "timings": dict, "error": str,
    "attempts": int, "provenance": dict,
}  # fmt: skip
_MADE: dict[str, Any] = {"seed": int | None, "seconds": float | int | None, "finished": str | None, "code": str | None}


def _digest(manifest: Mapping[str, Any]) -> str:
    import hashlib

    return hashlib.sha256(canonical(manifest).encode()).hexdigest()


def _problem(folder: Path, name: str, facts: tuple[int, str], verify: bool) -> str:
    """Return the faults of one file of a run; empty without faults."""
    file = folder / name
    try:
        if file.stat().st_size != facts[0]:
            return f"{name} has {file.stat().st_size} bytes, {facts[0]} were written"
        if verify and content_digest(file) != facts[1]:
            return f"{name} was changed after it was written"
    except OSError as error:
        return f"{name}: {error.strerror or error}"
    return ""


def _damaged(run: str, why: str) -> DamagedError:
    return DamagedError(f"run {run} is damaged ({why}); remove it with tokendyn runs rm {run} and compute it again")


def _refused(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write the store {folder}: {refusal(error)}; store=FOLDER or {VARIABLE} names another store"
    )


def _locked(lock: Path) -> int | None:
    """Return an open file that holds the lock, or None when another has it."""
    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _refused(lock.parent.parent, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        # The holder before us may have unlinked the file that we opened: then our lock guards nothing.
        try:
            if os.fstat(handle).st_ino == lock.stat().st_ino:
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"


def _toml(value: Any) -> str:
    """Return a JSON value as TOML; the text of a JSON string is TOML too."""
    import json

    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
