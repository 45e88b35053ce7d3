"""The command that repeats a run: from the options as they were parsed, for every command in the same way."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

#: Returns the words of the command that runs now.
_current: ContextVar[Callable[[], list[str]] | None] = ContextVar("current", default=None)


@contextmanager
def running(words: Callable[[], list[str]]) -> Iterator[None]:
    """Let :func:`repeated` know the command inside the block."""
    token = _current.set(words)
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
    from tokendyn.cli import app
    from tokendyn.cli.jobs import MISSING, any_command

    chain = app.parse_commands(arguments)[0]
    _, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    known = any_command(" ".join(chain))
    values = {}
    for name, option in known.options.items():
        value = bound.arguments.get(option.keys[0], MISSING)
        if value is not MISSING and len(option.keys) > 1:
            value = getattr(value, option.keys[1])
        if value is not MISSING and value != option.default:
            values[name] = value
    return words_for(known, values)


def words_for(known: Any, values: Mapping[str, Any]) -> list[str]:
    """Return the words that give a command some values.

    Parameters
    ----------
    known
        The command, as :func:`tokendyn.cli.jobs.any_command` returns it.
    values
        Values by the names of its options; those at their defaults may be left out.
    """
    head = ["tokendyn", *known.words.replace("simulate-meanfield", "simulate --model meanfield").split()]
    given: list[str] = []
    options: list[str] = []
    for name, value in values.items():
        option = known.options[name]
        if name == "model" and known.words.startswith("simulate"):
            continue
        if option.positional:
            given += [_text(one) for one in (value if isinstance(value, list | tuple) else [value]) if one is not None]
        elif isinstance(value, bool):
            options += [option.flag if value else option.negative]
        elif value is not None:
            for one in value if isinstance(value, list | tuple) else [value]:
                text = _text(one)
                options += [f"{option.flag}={text}"] if text.startswith("-") or not text else [option.flag, text]
    # What begins with a hyphen would be taken for an option.
    if any(word.startswith("-") and word != "-" for word in given):
        return [*head, *options, "--", *given]
    return [*head, *given, *options]


def _text(value: Any) -> str:
    """Return a value as it is typed."""
    if isinstance(value, float):
        return repr(value).removesuffix(".0") if abs(value) < 1e15 else repr(value)
    return str(value)
