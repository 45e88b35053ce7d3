"""The output of every command: standard error for people, standard output for programs."""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

#: Characters that a terminal obeys, all but line ends and tabs, and those that turn the direction of writing.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def write_json(record: Mapping[str, Any]) -> None:
    """Write the one machine-readable object of a command to standard output."""
    json.dump(record, sys.stdout, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def announce(line: str) -> None:
    """Say one line to people."""
    # One line stays one: the name of a file may hold the end of a line.
    announce_lines(line.replace("\n", "\\n"))


def announce_lines(text: str) -> None:
    """Write a text of one or more lines to standard error; if that is closed, the work continues without it."""
    with suppress(OSError, ValueError):
        print(printable(text), file=sys.stderr)


def printable(text: str) -> str:
    """Return a text as a terminal may be given it: a character that would move, hide or turn round others is spelt."""
    for part in _broken_names():
        text = text.replace(part, part.replace("\n", "\\n"))
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _broken_names() -> list[str]:
    """Return the parts of the command line that hold a line end, such as names of folders: it would forge a line."""
    broken = [word for word in sys.argv[1:] if "\n" in word]
    return [part for word in broken for part in re.split("[/\\\\]", word) if "\n" in part]


class _Announcing(logging.Handler):
    """Writes log records to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one line."""
        announce(record.getMessage())


@contextmanager
def logged() -> Iterator[None]:
    """Say what the library logs inside the block: which part of long work is done now."""
    logger, handler = logging.getLogger("tokendyn"), _Announcing()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
