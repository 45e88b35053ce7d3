"""What makes two runs the same: command, configuration, content of all files that are read, code and libraries.

The path and the time of an input file make no difference; its content does.
"""

import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError

#: Hexadecimal digits of a run id: 64 bits, so that a million runs collide with a chance below 1e-7.
ID_LENGTH = 16

#: Commands that go on when they were cut by their budget: the budget decides when they pause, not what they find.
RESUMED = frozenset({"simulate-meanfield", "sentiment train", "phase"})
#: Stands for the digest of a file that is not there, where its absence decides.
ABSENT = "absent"

_CHUNK = 1 << 20


def run_id(command: str, config: Mapping[str, Any], inputs: Mapping[str, str], code: str) -> str:
    """Return the name of a run: a hash of what determines its result.

    Parameters
    ----------
    command
        Such as ``"simulate"`` or ``"forecast fit"``.
    config
        Every option that bears on the result, as JSON values.
    inputs
        Digests of the files that are read: by option, where they stand for the paths in ``config``; by option and
        place, such as ``weights:config.json``, for those that an input leads to.
    code
        What computes it (:func:`tokendyn.runs.code.code_version`); the digest in it counts, not the version.
    """
    return _short({"code": code.partition("+")[2], **_question(command, config, inputs)})


def question_id(command: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return the name of what a run answers, whichever code computed it: runs of all versions share it."""
    return _short(_question(command, config, inputs))


def _question(command: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    left_out = {*inputs, *(("budget",) if command in RESUMED else ())}
    settings = {name: value for name, value in config.items() if name not in left_out}
    return {"command": command, "config": settings, "inputs": dict(inputs)}


def _short(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(record).encode()).hexdigest()[:ID_LENGTH]


def canonical(record: Mapping[str, Any]) -> str:
    """Return JSON values as text that is the same for the same values."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Return a value of an option as a JSON value; paths and infinite numbers become text."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def input_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, or of a folder with the names and contents of its files."""
    path = Path(path)
    try:
        if path.is_dir():
            files = sorted(_files_under(path))
            parts = (f"{file.relative_to(path).as_posix()}\0{_file_digest(file)}\n" for file in files)
            return hashlib.sha256("".join(parts).encode()).hexdigest()
        if not path.is_file():
            raise BadInputError(f"{path} is no file and no folder, but a device, a pipe or a socket; give a file")
        return _file_digest(path)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from None


def _files_under(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the files of a folder as its readers see them: links to folders are followed, but never in a circle."""
    here = folder.resolve()
    if here in above:
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files_under(entry, (*above, here))
        elif entry.is_file():
            yield entry


def digest_or_absent(path: str | Path) -> str:
    """Return :func:`input_digest`, or :data:`ABSENT` for what is not there."""
    try:
        return input_digest(path) if Path(path).exists() else ABSENT
    except (BadInputError, OSError, ValueError):
        return ABSENT


def _file_digest(path: Path) -> str:
    facts = path.stat()
    return _digest_of(path.resolve(), facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)


@functools.lru_cache(maxsize=1024)
def _digest_of(path: Path, _modified: int, _changed: int, _size: int) -> str:
    """Return the digest of a file; a sweep asks thousands of times for the same one."""
    return content_digest(path)


def content_digest(path: Path) -> str:
    """Return the SHA-256 of the present content of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
