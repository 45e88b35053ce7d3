"""The options of an experiment, read off the fields of its class, for Python, TOML, command line and store."""

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from tokendyn.errors import BadInputError, nearest
from tokendyn.experiments.fields import Flags, is_matrix, leaves, markers, read_value


class _Missing:
    def __repr__(self) -> str:
        return "missing"


#: Stands for the value of an option that has none.
MISSING = _Missing()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """One option.

    Attributes
    ----------
    name
        Its name in TOML files, in sweeps and in the store: that of its flag, with underscores.
    keys
        Name of the field (or parameter) that holds its value.
    hint
        Type of its values.
    default
        :data:`MISSING` when there is no run without it.
    positional
        Whether the command line takes it without a flag.
    flags, negative
        Names on the command line, the longest first; and, for a switch that is on, the name that turns it off.
    read
        Turns a value of TOML, JSON or Python into one of its type, or raises a ``ValueError``.
    """

    name: str
    keys: tuple[str, ...]
    hint: Any
    default: Any
    positional: bool
    flags: tuple[str, ...]
    negative: str
    read: Callable[[Any], Any]

    @property
    def flag(self) -> str:
        """Its longest name on the command line."""
        return self.flags[0]

    @property
    def required(self) -> bool:
        """Whether there is no run without it."""
        return self.default is MISSING

    @property
    def takes_path(self) -> bool:
        """Whether a value that names a file stands for what the file holds."""
        return Path in set(leaves(self.hint)) or is_matrix(self.hint)

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        kinds = set(leaves(self.hint))
        return bool(kinds & {int, float}) and not kinds & {str, bool}


@functools.cache
def options_of(experiment: type) -> Mapping[str, Option]:
    """Return the options of an experiment by name; what the class says itself comes before what its bases share.

    A positional field whose name is that of another field's flag is called ``NAME_file``.
    """
    hints = get_type_hints(experiment, include_extras=True)
    own = inspect.get_annotations(experiment)
    fields = sorted(dataclasses.fields(experiment), key=lambda field: field.name not in own)
    options = [_option(field, hints[field.name]) for field in fields if field.init]
    flagged = {option.name for option in options if not option.positional}
    named = [
        dataclasses.replace(option, name=f"{option.name}_file")
        if option.positional and option.name in flagged
        else option
        for option in options
    ]
    return {option.name: option for option in named}


def _option(field: "dataclasses.Field[Any]", hint: Any) -> Option:
    """Return the option of one field."""
    positional = field.kw_only is False
    plain = field.name.replace("_", "-")
    names = next((marker.names for marker in markers(hint) if isinstance(marker, Flags)), ())
    flags = (plain.upper(),) if positional else names or (f"--{plain}",)
    name = field.name if positional else flags[0].removeprefix("--").replace("-", "_")
    default = MISSING if field.default is dataclasses.MISSING else field.default
    negative = f"--no-{name}".replace("_", "-") if default is True else ""
    read = functools.partial(read_value, hint)
    return Option(
        name=name, keys=(field.name,), hint=hint, default=default, positional=positional, flags=flags,
        negative=negative, read=read,
    )  # fmt: skip


def read_options(
    what: str, options: Mapping[str, Option], given: Mapping[str, Any], refused: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the value of every option, defaults filled in.

    Parameters
    ----------
    what
        What the options belong to, for messages.
    options
        The options by name.
    given
        Values by name, with hyphens or underscores; the names of fields do too, where no option has them.
    refused
        Names of options that only say where and how to write; a store sets them itself.

    Raises
    ------
    BadInputError
        If options are unknown, missing or of the wrong kind; the message lists them all.
    """
    problems: list[str] = []
    wrong: set[str] = set()
    values = {name: option.default for name, option in options.items()}
    for written, value in given.items():
        name = option_name(written, options)
        if name in refused:
            problems.append(f"{written} is set by the store itself; leave it out")
        elif name not in options:
            near = nearest(name, sorted(set(options) - set(refused)))
            problems.append(f"{what} has no option {written}" + (f"; did you mean {near}?" if near else ""))
        else:
            try:
                values[name] = options[name].read(value)
            except ValueError as error:
                problems.append(f"{written} = {_shown(value)}: {error}")
                wrong.add(name)
    problems += [
        f"{name} is missing" for name, value in values.items() if value is MISSING and name not in {*refused, *wrong}
    ]
    if problems:
        raise BadInputError.all_of(f"the options of {what}", problems)
    return values


def option_name(written: str, options: Mapping[str, Option]) -> str:
    """Return the name of the option that is written with hyphens, or by the name of its field."""
    name = written.replace("-", "_")
    return name if name in options else next((n for n, o in options.items() if o.keys[-1] == name), name)


def _shown(value: Any) -> str:
    """Return a value in a message: an array or a table by its shape, which is what a reader knows it by."""
    shape = getattr(value, "shape", ())
    return f"{type(value).__name__} of shape {shape}" if shape else repr(value)


def documented(experiment: type) -> dict[str, str]:
    """Return the documentation of every field, from the numpydoc sections of the class and of its bases."""
    texts: dict[str, str] = {}
    for owner in reversed(experiment.__mro__):
        texts |= _sections(inspect.cleandoc(owner.__dict__.get("__doc__") or ""))
    return texts


def _sections(doc: str) -> dict[str, str]:
    """Return the entries of the sections Parameters and Attributes of a numpydoc text."""
    entries: dict[str, str] = {}
    inside, names = False, list[str]()
    lines = [*doc.splitlines(), "", ""]
    for line, following in itertools.pairwise(lines):
        if set(following) == {"-"} and len(following) == len(line):
            inside = line in ("Parameters", "Attributes")
            names = []
        elif inside and line and not line.startswith((" ", "-")):
            names = [name.strip() for name in line.split(",")]
            entries |= dict.fromkeys(names, "")
        elif inside and line.startswith(" "):
            entries |= {name: f"{entries[name]} {line.strip()}".strip() for name in names}
    return entries
