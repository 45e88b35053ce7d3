"""Which commands a store can keep, and the options of every command as they are registered."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

from tokendyn.cli.commands import app
from tokendyn.errors import BadInputError, nearest
from tokendyn.experiments.experiment import Experiment
from tokendyn.experiments.fields import read_value
from tokendyn.experiments.jobs import Kind, kind_of
from tokendyn.experiments.options import MISSING, Option

#: Commands that run an experiment: what they write and say, a store can keep.
COMMANDS = (
    "simulate", "simulate-meanfield", "phase", "classify build", "sentiment train", "sentiment distil",
    "sentiment compare", "sentiment curve", "sentiment evaluate", "sentiment export", "forecast run", "forecast fit",
    "forecast predict", "forecast compare", "forecast study", "inspect",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """A command as it is registered.

    Attributes
    ----------
    words
        Its words, such as ``"forecast fit"``.
    options
        Its options by name, those that say where and how to write among them.
    experiment
        The class that it runs; None for a command whose result no store keeps.
    """

    words: str
    options: Mapping[str, Option]
    experiment: type[Experiment[Any]] | None


def command(words: str) -> Kind:
    """Return what runs the jobs of a command, named by its words, such as ``"forecast fit"``.

    Raises
    ------
    BadInputError
        If there is none, or if it writes nothing that a store could keep.
    """
    experiment = any_command(words).experiment if words in COMMANDS else None
    if experiment is None:
        near = nearest(words, COMMANDS)
        hint = f"did you mean {near}?" if near else f"choose from {', '.join(COMMANDS)}"
        raise BadInputError(f"{words!r} is no command whose result a store can keep; {hint}")
    return kind_of(experiment)


@functools.cache
def any_command(words: str) -> Command:
    """Return a command by its words, whether or not a store can keep its result."""
    registered = app
    for word in words.split():
        registered = registered[word]
    options: dict[str, Option] = {}
    for argument in registered.assemble_argument_collection():
        option = _option(argument)
        # An option may share its name with the positional one (tokens, and how many): the latter has a path.
        if option.name in options:
            file = f"{option.name}_file"
            options[file] = dataclasses.replace(options.pop(option.name), name=file)
        options[option.name] = option
    experiment = getattr(registered.default_command, "experiment", None)
    return Command(words=words, options=options, experiment=experiment)


def _option(argument: Any) -> Option:
    """Return an argument of the option library as an option."""
    field = argument.field_info
    parameter, off = field.names[0], set(argument.negatives)
    positional = argument.names[0].isupper()
    return Option(
        name=parameter if positional else argument.names[0].lstrip("-").replace("-", "_"),
        keys=(parameter,),
        hint=argument.hint,
        default=MISSING if field.default is field.empty else field.default,
        positional=field.kind in (field.POSITIONAL_ONLY, field.VAR_POSITIONAL),
        flags=tuple(sorted((name for name in argument.names if name not in off), key=len, reverse=True)),
        negative=min(off, default=""),
        read=functools.partial(read_value, argument.hint),
    )


def given_options(arguments: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Return the words of a command and the options that a command line without ``--out`` gives it."""
    typed = list(arguments)
    words = next((" ".join(typed[:n]) for n in (2, 1) if " ".join(typed[:n]) in COMMANDS), " ".join(typed[:1]))
    command(words)
    rest = typed[len(words.split()) :]
    _, bound, _ = app.parse_args([*words.split(), "--out", "out", *rest], exit_on_error=False, print_error=False)
    values = bound_values(any_command(words), bound)
    values.pop("out")
    return words, values


def bound_values(known: Command, bound: Any) -> dict[str, Any]:
    """Return the values that a parsed command line gives the options of a command, by name."""
    arguments = bound.arguments
    return {name: arguments[option.keys[0]] for name, option in known.options.items() if option.keys[0] in arguments}
