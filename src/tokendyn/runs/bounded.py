"""Reading text, JSON and TOML of any origin in bounded memory, with one error for every damage."""

import gzip
import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError

#: Most bytes of a JSON or TOML record.
MOST_RECORD_BYTES = 256 * 2**20

#: Most bytes of a table that is read whole, after decompression.
MOST_TABLE_BYTES = 4 * 2**30


def read_text(path: str | Path) -> str:
    """Read a record as UTF-8 text; a byte order mark is accepted.

    Raises
    ------
    BadInputError
        If it is missing, larger than ``MOST_RECORD_BYTES``, or not UTF-8.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_RECORD_BYTES + 1)
        if len(data) > MOST_RECORD_BYTES:
            raise BadInputError(f"{path} is larger than {MOST_RECORD_BYTES // 2**20} MiB, too large for such a file")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise BadInputError(f"{path} cannot be read: it does not exist") from None
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"{path} cannot be read as UTF-8 text (byte {error.start}); save it as UTF-8, or write it anew"
        ) from None


def read_json_value(path: str | Path) -> Any:
    """Read any JSON value; NaN and infinity are no JSON.

    Raises
    ------
    BadInputError
        As :func:`read_text`, or if it is no JSON, nested too deeply, or holds a number of thousands of digits.
    """
    text = read_text(path)
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} cannot be read as JSON ({error})") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML table.

    Raises
    ------
    BadInputError
        As :func:`read_text`, or if it is no TOML or nested too deeply.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} cannot be read as TOML: {error}") from None


@contextmanager
def open_table(path: str | Path) -> Iterator[Iterator[str]]:
    """Yield the lines of a text table, ``.gz`` or plain, UTF-8.

    Raises
    ------
    BadInputError
        When more than ``MOST_TABLE_BYTES`` characters come out of it. Other errors are left to the caller.
    """
    opener: Any = gzip.open if Path(path).suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as stream:
        yield _lines(stream, path)


def _lines(stream: Any, path: str | Path) -> Iterator[str]:
    left = MOST_TABLE_BYTES
    while line := stream.readline(left + 1):
        left -= len(line)
        if left < 0:
            most = f"{MOST_TABLE_BYTES / 2**30:.0f} GiB"
            raise BadInputError(f"{path} holds more than {most} of text; split it, or store arrays")
        yield line


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
