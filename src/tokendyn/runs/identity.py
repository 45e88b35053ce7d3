"""What makes two runs the same: command, configuration, content of the input files, code.

Where an input file lies, and when it was written, makes no difference; what it holds does.
"""

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokendyn
from tokendyn.errors import BadInputError

#: Hexadecimal digits of a run id: 64 bits, so that a million runs collide with a chance below 1e-7.
ID_LENGTH = 16

_CHUNK = 1 << 20


@functools.cache
def code_version() -> str:
    """Return the version of the package and a digest of its source files, such as ``0.1.0+1f2e3d4c5b6a``."""
    root = Path(tokendyn.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return f"{tokendyn.__version__}+{digest.hexdigest()[:12]}"


def run_id(command: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return the name of a run: a hash of what determines its result.

    Parameters
    ----------
    command
        Such as ``"simulate"`` or ``"forecast fit"``.
    config
        Every option that bears on the result, as JSON values.
    inputs
        Digests of the input files, by option; they stand for the paths in ``config``.
    """
    settings = {name: value for name, value in config.items() if name not in inputs}
    record = {"code": code_version(), "command": command, "config": settings, "inputs": dict(inputs)}
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
        return [plain(one) for one in value]
    return value


def input_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, or of a folder with the names and contents of its files."""
    path = Path(path)
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            parts = (f"{file.relative_to(path).as_posix()}\0{_file_digest(file)}\n" for file in files)
            return hashlib.sha256("".join(parts).encode()).hexdigest()
        if not path.is_file():
            raise BadInputError(f"{path} is no file and no folder, but a device, a pipe or a socket; give a file")
        return _file_digest(path)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from None


def _file_digest(path: Path) -> str:
    facts = path.stat()
    return _digest_of(path.resolve(), facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)


@functools.lru_cache(maxsize=1024)
def _digest_of(path: Path, _modified: int, _changed: int, _size: int) -> str:
    """Return the digest of a file; a sweep asks thousands of times for the same one."""
    return content_digest(path)


def content_digest(path: Path) -> str:
    """Return the SHA-256 of what a file holds now."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
