"""The command that runs now, for the records of commands that are not experiments."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from tokendyn.cli.commands import MEANFIELD, app
from tokendyn.experiments.repeat import words_for

#: Returns the words of the command that runs now.
_current: ContextVar[Callable[[], list[str]] | None] = ContextVar("current", default=None)


@contextmanager
def running(arguments: Sequence[str]) -> Iterator[None]:
    """Let :func:`repeated` know the command line that runs inside the block."""
    token = _current.set(lambda: words_of(arguments))
    try:
        yield
    finally:
        _current.reset(token)


def repeated() -> str:
    """Return the command that runs now, quoted for a shell, with every option that was given; empty outside of one."""
    words = _current.get()
    return "" if words is None else shlex.join(words())


def words_of(arguments: Sequence[str]) -> list[str]:
    """Return the words that repeat a command line, whether its options came from it or from ``--config``."""
    from tokendyn.cli.jobs import any_command, bound_values

    chain = app.parse_commands(arguments)[0]
    _, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    known = any_command(" ".join(chain))
    values = {name: value for name, value in bound_values(known, bound).items() if value != known.options[name].default}
    if known.words.startswith("simulate"):
        values.pop("model", None)
    return words_for(known.words.replace(MEANFIELD, "simulate --model meanfield"), known.options, values)
