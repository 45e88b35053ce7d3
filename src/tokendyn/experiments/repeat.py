"""The command that repeats a run: from the values of its options, for every command in the same way."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tokendyn.experiments.options import Option


def command_line(words: str, options: Mapping[str, Option], values: Mapping[str, Any]) -> str:
    """Return the command that gives some values, quoted for a shell."""
    return shlex.join(words_for(words, options, values))


def words_for(words: str, options: Mapping[str, Option], values: Mapping[str, Any]) -> list[str]:
    """Return the words that give a command some values.

    Parameters
    ----------
    words
        The words of the command, such as ``"forecast fit"``.
    options
        Its options by name.
    values
        Values by name; those at their defaults may be left out.
    """
    positional: list[str] = []
    flagged: list[str] = []
    for name, value in values.items():
        option = options[name]
        several: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
        if option.positional:
            positional += [_text(each) for each in several if each is not None]
        elif isinstance(value, bool):
            flagged += [option.flag if value else option.negative]
        elif value is not None:
            for each in several:
                text = _text(each)
                flagged += [f"{option.flag}={text}"] if text.startswith("-") or not text else [option.flag, text]
    head = ["tokendyn", *words.split()]
    # What begins with a hyphen would be taken for an option.
    if any(word.startswith("-") and word != "-" for word in positional):
        return [*head, *flagged, "--", *positional]
    return [*head, *positional, *flagged]


def _text(value: Any) -> str:
    """Return a value as typed in a shell."""
    if isinstance(value, float):
        return repr(value).removesuffix(".0") if abs(value) < 1e15 else repr(value)
    return str(value)
