"""Reading text, JSON and TOML of any origin in bounded memory and time, with one error for every damage."""

import gzip
import io
import json
import os
import re
import stat
import sys
import tomllib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError
from tokendyn.runs.opened import note_opened

#: Most bytes of a JSON record.
MOST_RECORD_BYTES = 256 * 2**20

#: Most bytes of a TOML record, whose parser is slow.
MOST_TOML_BYTES = 4 * 2**20

#: Most bytes of a table that is read whole, after decompression.
MOST_TABLE_BYTES = 4 * 2**30

#: Most bytes of one line of a table.
LONGEST_LINE = 64 * 2**20

#: What compressed data may unpack to, whatever its size; beyond it, ``MOST_RATIO`` times its size.
FREE_BYTES, MOST_RATIO = 64 * 2**20, 100

_DEEPEST_KEY = 100  # the time that tomllib takes grows with the square of it
_NO_KEY = re.compile(r"[^\w\"'.-]+")


def check_ratio(what: str | Path, unpacked: int | float, packed: int | float) -> None:
    """Raise BadInputError if data unpacks to far more than numbers or texts do; call it before unpacking.

    Up to ``FREE_BYTES`` are always accepted, then ``MOST_RATIO`` times the packed size: measured numbers and texts are
    packed 2 to 20 times smaller, data that is all the same 1,000 times and more.
    """
    if unpacked > max(FREE_BYTES, MOST_RATIO * packed):
        raise BadInputError(
            f"{what} unpacks to more than {MOST_RATIO} times its size, and to more than {FREE_BYTES // 2**20} MiB; "
            "if you trust it, store it uncompressed"
        )


def check_regular(path: str | Path) -> None:
    """Raise BadInputError for a pipe or a device, which may never end; folders are left to the reader."""
    if not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode):
        raise BadInputError(f"{path} is not a file but a pipe or a device; write its content to a file")


def read_text(path: str | Path, most: int | None = None) -> str:
    """Read a record as UTF-8 text; a byte order mark is accepted.

    Raises
    ------
    BadInputError
        If it is missing, larger than ``most`` bytes (``MOST_RECORD_BYTES``), or not UTF-8.
    """
    path = Path(path)
    most = MOST_RECORD_BYTES if most is None else most
    try:
        note_opened(path)
        with path.open("rb") as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise BadInputError(f"{path} is larger than {most // 2**20} MiB, too large for such a file")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise BadInputError(f"{path} cannot be read: it does not exist") from None
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise BadInputError(f"{path} cannot be read: it does not fit into memory") from None
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"{path} cannot be read as UTF-8 text (byte {error.start}); save it as UTF-8, or write it anew"
        ) from None


def read_json_value(path: str | Path, most: int | None = None) -> Any:
    """Read any JSON value; NaN and infinity are no JSON.

    Parameters
    ----------
    path
        The file.
    most
        Most bytes of it, ``MOST_RECORD_BYTES`` by default.

    Raises
    ------
    BadInputError
        As :func:`read_text`, or if it is not JSON, nested too deeply, or holds a number of thousands of digits.
    """
    if Path(path).exists():
        check_regular(path)
    text = read_text(path, most)
    try:
        return json.loads(text, parse_constant=_no_constant)
    except MemoryError:
        raise BadInputError(f"{path} cannot be read as JSON: it does not fit into memory") from None
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} cannot be read as JSON ({error})") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML table.

    Raises
    ------
    BadInputError
        As :func:`read_text`, or if it is not TOML, larger than ``MOST_TOML_BYTES``, or nested too deeply.
    """
    text = read_text(path, MOST_TOML_BYTES)
    try:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.count(".") > _DEEPEST_KEY and any(k.count(".") > _DEEPEST_KEY for k in _NO_KEY.split(line)):
                raise ValueError(f"line {number} nests tables too deeply")
        return tomllib.loads(text)
    except MemoryError:
        raise BadInputError(f"{path} cannot be read as TOML: it does not fit into memory") from None
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} cannot be read as TOML: {error}") from None


@contextmanager
def open_bytes(path: str | Path) -> Iterator[io.BufferedReader]:
    """Yield the bytes of a text table, ``.gz`` or plain, unpacked.

    Raises
    ------
    BadInputError
        When more than ``MOST_TABLE_BYTES`` come out of it, a line is longer than ``LONGEST_LINE``, or it unpacks to
        far more than its size. Other errors are left to the caller.
    """
    note_opened(Path(path))
    with Path(path).open("rb") as packed:
        yield metered(packed, path, most=MOST_TABLE_BYTES)


def metered(packed: Any, path: str | Path, most: int = sys.maxsize) -> io.BufferedReader:
    """Return the bytes of an open file, unpacked when its name ends in ``.gz``, under the limits of text tables."""
    if str(path).lower().endswith(".gz"):
        _check_beginning(packed, path)
        return io.BufferedReader(_Metered(gzip.GzipFile(fileobj=packed), path, most, packed), 2**16)
    return io.BufferedReader(_Metered(packed, path, most, None), 2**16)


def _check_beginning(packed: Any, path: str | Path) -> None:
    """Unpack the beginning alone, which is soon done, so that nothing is parsed of what is refused later."""
    beginning = io.BufferedReader(_Metered(gzip.GzipFile(fileobj=packed), path, sys.maxsize, packed), 2**16)
    with suppress(OSError, EOFError, zlib.error):  # the reader of the file reports it
        left = FREE_BYTES + 2**20
        while left > 0 and (data := beginning.read(2**16)):
            left -= len(data)
    packed.seek(0)


class _Metered(io.RawIOBase):
    """Bytes that are counted as they come, so that the limits hold before the memory is taken."""

    def __init__(self, source: Any, path: str | Path, most: int, packed: Any):
        self._source, self._path, self._most, self._packed = source, path, most, packed
        self._unpacked, self._line = 0, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes, or raise BadInputError once a limit is passed."""
        data = self._source.read1(len(buffer)) if hasattr(self._source, "read1") else self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._unpacked += len(data)
        if self._unpacked > self._most:
            most = f"{self._most / 2**30:.0f} GiB"
            raise BadInputError(f"{self._path} holds more than {most} of text; split it, or store arrays")
        if self._packed is not None and self._unpacked > FREE_BYTES:
            check_ratio(self._path, self._unpacked, self._packed.tell())
        last = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self._line = self._line + len(data) if last < 0 else len(data) - last
        if self._line > LONGEST_LINE:
            raise BadInputError(
                f"{self._path} holds a line longer than {LONGEST_LINE // 2**20} MiB; split it, or store arrays"
            )
        return len(data)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
