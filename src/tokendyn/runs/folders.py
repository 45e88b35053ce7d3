"""Files, folders and JSON records that appear under their final name only when they are whole.

:mod:`tokendyn.runs.files` has these and tensors; a command that only looks at a store is spared numpy.
"""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError, OutputError
from tokendyn.runs.bounded import read_json_value


def check_free(target: str | Path, *, overwrite: bool) -> None:
    """Raise an :class:`OutputError` if ``target`` exists and must not be replaced; ask before long work."""
    if Path(target).exists() and not overwrite:
        raise OutputError(f"{target} exists already; choose another --out, or pass --overwrite to replace it")


def refusal(error: OSError) -> str:
    """Return why a disk refused to write, and what to do about it."""
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{why}; make room there, or choose another place"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{why}; allow writing there, or choose another place"
    return why


@contextmanager
def new_folder(target: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes ``target`` when the block ends without an error.

    Parameters
    ----------
    target
        The final folder. Its parent is created when missing.
    overwrite
        Replace an existing ``target``; without it an existing one is an error, so nothing is lost.

    Raises
    ------
    OutputError
        If the target exists, or the disk refuses; the temporary folder is removed.
    """
    target = Path(target)
    check_free(target, overwrite=overwrite)
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        yield temporary
        temporary.chmod(0o755)
        _replace_folder(temporary, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {refusal(error)}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``; an old target is moved aside first and removed last."""
    if not target.exists():
        source.rename(target)
        return
    retired = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent)) / target.name
    target.rename(retired)
    try:
        source.rename(target)
    except OSError:
        retired.rename(target)
        raise
    finally:
        shutil.rmtree(retired.parent, ignore_errors=True)


@contextmanager
def new_file(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that is renamed to it when the block ends without an error."""
    target = Path(target)
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {refusal(error)}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as JSON (UTF-8, finite numbers only), atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with new_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path, *, schema: str, version: int) -> dict[str, Any]:
    """Read a JSON record written by tokendyn and check its ``schema`` name and ``schema_version``."""
    path = Path(path)
    if not path.exists():
        raise BadInputError(f"{path} is missing; is {path.parent} a folder that tokendyn wrote?")
    record = read_json_value(path)
    if not isinstance(record, dict) or record.get("schema") != schema:
        found = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise BadInputError(f"{path} holds {found!r}, expected {schema!r}")
    found_version = record.get("schema_version")
    if not isinstance(found_version, int) or found_version > version:
        raise BadInputError(
            f"{path} has schema version {found_version}; this tokendyn reads up to {version}: update it"
        )
    return record


def schema_of(path: str | Path) -> str | None:
    """Return the schema name of a JSON record; None when there is no such file, or it names none."""
    try:
        record = read_json_value(path)
    except BadInputError:
        return None
    schema = record.get("schema") if isinstance(record, dict) else None
    return schema if isinstance(schema, str) else None
