"""Messages of the library and texts of help, with the names of arguments written as the options of a command."""

import re
from collections.abc import Mapping, Sequence

from tokendyn.cli.boundary import in_flags as in_options
from tokendyn.experiments.options import Option

_NAME = re.compile(r"`+(?P<name>[a-z_]+)(?:=(?P<value>[^`]+))?`+")


def in_flags(message: str, options: Mapping[str, Option]) -> str:
    """Return a text with names of options in backticks, alone or with a value, as the flags of a command.

    Examples
    --------
    >>> from tokendyn.cli.jobs import any_command
    >>> in_flags('`layers` must be positive; or take `record="last"`', any_command("simulate").options)
    '--layers must be positive; or take --record last'
    """
    fields = {option.keys[-1]: option for option in options.values()}

    def flag(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        option = options.get(name) if name in options and name not in fields else fields.get(name, options.get(name))
        if option is None:
            return match[0]
        if value == "False" and option.negative:
            return option.negative
        return option.flag if value in (None, "True") else f"{option.flag} {value.strip(chr(34))}"

    return in_options(_NAME.sub(flag, message))


def in_flags_of(message: str, words: Sequence[str]) -> str:
    """Return a message with names in backticks as the flags of the command that some words begin with."""
    from tokendyn.cli.commands import app
    from tokendyn.cli.jobs import any_command

    if "`" not in message:
        return message
    chain = app.parse_commands(list(words))[0]
    if not chain or (app[chain[0]].default_command is None and len(chain) < 2):
        return message
    return in_flags(message, any_command(" ".join(chain)).options)
