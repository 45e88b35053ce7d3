"""Files, folders and JSON records that appear under their final name only when they are whole.

:mod:`tokendyn.runs.files` has these and tensors; a command that only looks at a store is spared numpy.
"""

import errno
import fnmatch
import itertools
import json
import os
import platform
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError, OutputError
from tokendyn.runs.bounded import read_json_value

#: The file in which a folder lists what tokendyn wrote in it; nothing else in it is ever replaced.
LIST, LIST_SCHEMA, LIST_VERSION = ".tokendyn.json", "tokendyn-folder", 1
#: Files that carry the name of what wrote them, and that name.
SIGNATURE = "Made by tokendyn"
_SIGNED = dict.fromkeys((".html", ".htm", ".png", ".svg", ".pdf"), SIGNATURE.encode()) | {".onnx": b"tokendyn"}
#: Files that pages and figures are made of; made anew later, they join the list of their folder.
_PAGES = frozenset({".html", ".png", ".svg", ".gif", ".mp4"})
_SHOWN = 4
#: Bytes of a name that every file system takes, and letters of it that a temporary name begins with.
_LONGEST, _BEGINNING = 255, 60


class NewerError(BadInputError):
    """A record is whole and of a version that this tokendyn does not know yet."""


def check_free(
    target: str | Path,
    *,
    overwrite: bool,
    ours: Callable[[Path], bool] | None = None,
    inputs: Iterable[str | Path | None] = (),
) -> None:
    """Raise an :class:`OutputError` if ``target`` exists and must not be replaced; ask before long work.

    Only what tokendyn wrote is replaced: an empty folder, a folder that holds nothing but the files which its own list
    (:data:`LIST`) names, a page, a picture or an ONNX model that carries the name of tokendyn. What is read is never
    replaced by what is made of it.

    Parameters
    ----------
    target
        File or folder.
    overwrite
        Whether it may be replaced at all.
    ours
        For files of other kinds: says whether tokendyn wrote one.
    inputs
        Files and folders that are read; None stands for one that was not given.
    """
    target = _as_path(target)
    try:
        if any(len(os.fsencode(part)) > _LONGEST for part in target.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if "\0" in str(target):
            raise ValueError("a name holds no null byte")
        if not target.exists() and not target.is_symlink():
            _check_parent(target)
            return
        if not overwrite:
            raise OutputError(f"{target} exists already; choose another place, or replace it with overwrite=True")
        if Path.cwd().is_relative_to(target.resolve()):
            raise OutputError(
                f"{target} is not replaced, because this command runs in it; start it from another folder"
            )
        for source in inputs:
            if source is not None and target.resolve() in (Path(source).resolve(), *Path(source).resolve().parents):
                raise OutputError(f"{target} is not replaced, because {source} is read from it; choose another place")
        foreign = foreign_parts(target) if target.is_dir() or ours is None or not ours(target) else ""
    except (OSError, ValueError) as error:
        why = refusal(error) if isinstance(error, OSError) else str(error)
        raise OutputError(f"cannot write {str(target)[:200]}: {why}") from None
    if foreign:
        raise OutputError(
            f"{target} is not replaced, because tokendyn did not write {foreign}; choose another place, or move it away"
        )


def check_page(target: str | Path, *, overwrite: bool) -> None:
    """Raise an :class:`OutputError` if one page must not be written to a file; a page of tokendyn may be replaced.

    Parameters
    ----------
    target
        The file.
    overwrite
        Whether any file may be replaced.
    """
    target = _as_path(target)
    if target.is_dir():
        raise OutputError(f"{target} is a folder; name a file, such as {target / 'report.html'}")
    if not (target.is_file() and (overwrite or _is_signed(target))):
        check_free(target, overwrite=False)


def _as_path(target: Any) -> Path:
    """Return where to write, or raise when it is not a path."""
    if not isinstance(target, str | os.PathLike):
        raise BadInputError(f"{str(target)[:60]!r} is {type(target).__name__}, expected the path of what is written")
    return Path(target)


def _check_parent(target: Path) -> None:
    """Raise an OSError where a new file or folder cannot lie: a file is in the way, or nothing may be written there."""
    parent = next(folder for folder in target.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{parent} is a file and not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        is_read_only = hasattr(os, "statvfs") and os.statvfs(parent).f_flag & os.ST_RDONLY
        number = errno.EROFS if is_read_only else errno.EACCES
        raise OSError(number, os.strerror(number))


def foreign_parts(target: Path) -> str:
    """Return what tokendyn did not write in a folder or a file, in words; empty where it may be replaced."""
    if not target.is_dir():
        return "" if _is_signed(target) else "this file"
    known = _listed(target)
    names = (f"{Path(folder, name).relative_to(target)}" for folder, links, files in os.walk(target)
             for name in (*files, *(link for link in links if Path(folder, link).is_symlink())))  # fmt: skip
    # A folder of another program may be huge: the first few names are enough.
    foreign = list(itertools.islice((name for name in names if not _covers(known, name)), _SHOWN))
    return ", ".join(sorted(foreign)) + (", ..." if len(foreign) == _SHOWN else "")


def list_files(folder: Path, files: Iterable[str]) -> None:
    """Write down which files of a folder, by relative names or patterns, are tokendyn's to replace."""
    record = {"schema": LIST_SCHEMA, "schema_version": LIST_VERSION, "files": sorted({*files, LIST})}
    (folder / LIST).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _listed(folder: Path) -> list[str]:
    """Return what the list of a folder names; nothing when it has none."""
    try:
        files = read_json(folder / LIST, schema=LIST_SCHEMA, version=LIST_VERSION).get("files")
    except BadInputError:
        return []
    return [str(name) for name in files] if isinstance(files, list) else []


def _covers(known: list[str], name: str) -> bool:
    return name in known or any("*" in pattern and fnmatch.fnmatchcase(name, pattern) for pattern in known)


def _is_signed(file: Path) -> bool:
    """Return whether a file is marked as written by tokendyn."""
    mark = _SIGNED.get(file.suffix.lower())
    return mark is not None and file.is_file() and mark in file.read_bytes()


def refusal(error: OSError) -> str:
    """Return the reason why a disk refused to write, and a remedy."""
    why = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{why}; make room there, or choose another place"
    if error.errno == errno.EFBIG:
        return f"{why}; raise the limit of the size of a file (ulimit -f), or choose another place"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{why}; allow writing there, or choose another place"
    return why


@contextmanager
def new_folder(target: str | Path, *, overwrite: bool = False, listed: bool = True) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes ``target`` when the block ends without an error.

    The folder gets a list of its files (:data:`LIST`), by which it is known as one that may be replaced.

    Parameters
    ----------
    target
        The final folder. Its parent is created when missing.
    overwrite
        Replace an existing ``target`` that tokendyn wrote (see :func:`check_free`); without it an existing one is an
        error, so nothing is lost.
    listed
        False for a folder whose own record names its files; the caller has checked what is replaced.

    Raises
    ------
    OutputError
        If the target exists, or the disk refuses; the temporary folder is removed.
    """
    target = _as_path(target)
    if listed or not overwrite:
        check_free(target, overwrite=overwrite)
    temporary, final = None, _followed(target)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _clear_left(final)
        temporary = Path(tempfile.mkdtemp(prefix=f"{_begun(final.name)}{os.getpid():x}-", dir=final.parent))
        yield temporary
        if listed:
            list_files(temporary, (str(file.relative_to(temporary)) for file in temporary.rglob("*") if file.is_file()))
        temporary.chmod(0o755)
        _replace_folder(temporary, final)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {refusal(error)}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _begun(name: str) -> str:
    """Return how the temporary folders for a name begin that this machine makes until it is started anew."""
    machine = [platform.node()]
    for path, read in (("/proc/sys/kernel/random/boot_id", Path.read_text), ("/proc/self/ns/pid", os.readlink)):
        with suppress(OSError):  # not Linux: the name of the machine must do
            machine.append(str(read(Path(path))))
    # In a container numbers of processes are its own: they say nothing of the folders of another one.
    return f".{name[:_BEGINNING]}-{zlib.crc32(''.join(machine).encode()):08x}."


def _clear_left(final: Path) -> None:
    """Remove the temporary folders for a name whose process was killed before it could do that itself."""
    begun = _begun(final.name)
    for entry in os.scandir(final.parent):
        number = re.fullmatch(r"([0-9a-f]+)-\w+", entry.name[len(begun) :]) if entry.name.startswith(begun) else None
        if number is not None and entry.is_dir(follow_symlinks=False) and not _is_running(int(number[1], 16)):
            shutil.rmtree(entry.path, ignore_errors=True)


def _is_running(process: int) -> bool:
    """Return whether a process of this machine runs; where that cannot be asked, True."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _replace_folder(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``; an old target is moved aside first, and comes back on failure."""
    if not target.exists():
        source.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name[:_BEGINNING]}-old-", dir=target.parent))
    retired = aside / target.name
    try:
        target.rename(retired)
        source.rename(target)
    except BaseException:
        try:
            if retired.exists():
                retired.rename(target)
            aside.rmdir()
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; what was there is kept in {retired}") from None
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _followed(target: Path) -> Path:
    """Return the place itself, without .. and links: a link stays, and what it leads to is written."""
    return Path(os.path.realpath(target))


@contextmanager
def new_file(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that is renamed to it when the block ends without an error."""
    target = _as_path(target)
    temporary, final = None, _followed(target)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{final.stem[:_BEGINNING]}-", suffix=target.suffix, dir=final.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(final)
        if final.suffix in _PAGES and final.name not in (known := _listed(final.parent)) and known:
            list_files(final.parent, [*known, final.name])
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
        written = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise BadInputError(f"{path} holds {written!r}, expected {schema!r}")
    written_version = record.get("schema_version")
    if not isinstance(written_version, int):
        raise BadInputError(f"{path} has schema version {written_version}, which is no number; it is damaged")
    if written_version > version:
        raise NewerError(
            f"{path} was written by a newer tokendyn: it has schema version {written_version}, this one reads up to "
            f"{version}: update it"
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
