"""Which command runs which jobs, and the options of every command as they are registered.

A command whose function has an ``experiment`` runs the jobs of that experiment. Every other one of :data:`COMMANDS` is
called as a function, and what it prints is taken as its result: that path goes when the last command has moved
(:mod:`tokendyn.experiments` says how).
"""

import dataclasses
import difflib
import functools
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tokendyn.cli.output import Said, overheard
from tokendyn.cli.repeat import running
from tokendyn.errors import BadInputError
from tokendyn.experiments.experiment import Experiment
from tokendyn.experiments.jobs import Ending, Kind, kind_of
from tokendyn.experiments.options import MISSING, Option
from tokendyn.experiments.repeat import words_for
from tokendyn.runs.code import code_version
from tokendyn.runs.store import Status

#: Commands that can be jobs: they write what they compute to --out, and say it with --json.
COMMANDS = (
    "simulate", "simulate-meanfield", "phase", "classify build", "sentiment train", "sentiment compare",
    "sentiment curve", "sentiment evaluate", "sentiment export", "forecast fit", "forecast predict",
    "forecast compare", "forecast study",
)  # fmt: skip
#: Those functions that write one file, and its name in a run; the others write a folder.
_FILES: dict[str, str] = {}
#: Options that are matrices: a file, or its rows as text.
_MATRICES = frozenset({"value", "score", "interaction", "query", "key", "centres"})
#: What commands say of a run that their budget cut.
_CUT = frozenset({"out of time", "out of steps", "budget"})
#: Commands that go on from the folder which they wrote, in place of a checkpoint.
_GROWING = frozenset({"phase"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Option(Option):
    """One option of a command whose function takes it."""

    path: bool = False

    @property
    def takes_path(self) -> bool:
        """Whether a value that names a file stands for what the file holds."""
        return self.path


class Command(Kind):
    """A command that is called as a function."""

    def __init__(
        self, words: str, function: Callable[..., int], options: Mapping[str, Option], groups: Mapping[str, Any]
    ) -> None:
        super().__init__(words, options, constants={}, file=_FILES.get(words, ""), grows=words in _GROWING)
        self.function, self.groups = function, groups

    def __reduce__(self) -> Any:
        """Return how a worker gets it: by the words of the command."""
        return any_command, (self.words,)

    @property
    def code(self) -> str:
        """Version and digest of the code and the libraries that compute the command."""
        return code_version(self.function.__module__)

    def rehearse(self, config: Mapping[str, Any]) -> None:
        """Make a dry run."""
        with tempfile.TemporaryDirectory() as nowhere, overheard():
            self.call(config, Path(nowhere, "out"), dry_run=True)

    def compute(self, config: Mapping[str, Any], place: Path, final: Path, checkpoint: Path) -> Ending:
        """Call the command, and put the final name in place of the temporary one in what it wrote and said."""
        with overheard() as said:
            code = self.call(config, place, checkpoint=checkpoint)
        _name_finally(place.parent, final.parent.name, said)
        status: Status = "completed" if code == 0 else "diverged"
        if said.record.get("status") in _CUT or (self.grows and said.record.get("missing")):
            status = "stopped"
        return Ending(status, said.record, tuple(said.lines))

    def call(
        self, config: Mapping[str, Any], out: Path, *, dry_run: bool = False, checkpoint: Path | None = None
    ) -> int:
        """Call the command with the options of a job, to write to ``out``, and return its exit code."""
        values = {name: self.options[name].read(value) for name, value in config.items()}
        values["out"], values["json"] = out, True
        values |= {"dry_run": True} if dry_run else {}
        values |= {"checkpoint": checkpoint} if checkpoint is not None and "checkpoint" in self.options else {}
        positional = [values[name] for name, option in self.options.items() if option.positional]
        named: dict[str, Any] = {}
        grouped: dict[str, dict[str, Any]] = {}
        for name, option in self.options.items():
            if name not in values or option.positional:
                continue
            if len(option.keys) == 1:
                named[option.keys[0]] = values[name]
            else:
                grouped.setdefault(option.keys[0], {})[option.keys[1]] = values[name]
        for group, fields in grouped.items():
            named[group] = dataclasses.replace(self.groups[group], **fields)
        with running(lambda: words_for(typed(self.words), self.options, values)):
            return int(self.function(*positional, **named) or 0)


def typed(words: str) -> str:
    """Return the words that a user types for a command."""
    return words.replace("simulate-meanfield", "simulate --model meanfield")


def command(words: str) -> Kind:
    """Return what runs the jobs of a command, named by its words, such as ``"forecast fit"``.

    Raises
    ------
    BadInputError
        If there is none, or if it writes nothing that a store could keep.
    """
    if words not in COMMANDS:
        near = difflib.get_close_matches(words, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(COMMANDS)}"
        raise BadInputError(f"{words!r} is no command whose result a store can keep; {hint}")
    experiment: type[Experiment[Any]] | None = getattr(any_command(words).function, "experiment", None)
    return any_command(words) if experiment is None else kind_of(experiment)


@functools.cache
def any_command(words: str) -> Command:
    """Return a command by its words, with its options as they are registered, whether or not a store can keep it."""
    from tokendyn.cli import app

    registered = app
    for word in words.split():
        registered = registered[word]
    options: dict[str, Option] = {}
    groups: dict[str, Any] = {}
    group = ""
    for argument in registered.assemble_argument_collection():
        field = argument.field_info
        default = MISSING if field.default is field.empty else field.default
        if argument.names == ("*",):
            groups[field.names[0]] = default
            group = field.names[0]
            continue
        keys = (group, *argument.keys) if argument.keys else (field.names[0],)
        if argument.keys:
            default = getattr(groups[group], argument.keys[0])
        name = keys[0] if argument.names[0].isupper() else argument.names[0].lstrip("-").replace("-", "_")
        # An option of a group may share its name with the positional one (tokens, and how many): the latter has a path.
        if name in options:
            options[f"{name}_file"] = dataclasses.replace(options.pop(name), name=f"{name}_file")
        options[name] = _Option(
            name=name, keys=keys, hint=argument.hint, default=default, read=_reader(argument.hint),
            positional=field.kind in (field.POSITIONAL_ONLY, field.VAR_POSITIONAL),
            path="Path" in str(argument.hint) or name in _MATRICES, **_flags(argument),
        )  # fmt: skip
    function = registered.default_command
    assert function is not None
    return Command(words, function, options, groups)


def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return a function that turns a value into one of a hint, or raises a ValueError."""
    adapter: list[Any] = []
    numeric = _Option(
        name="", keys=(), hint=hint, default=None, positional=False, flags=(), negative="", read=bool
    ).numeric  # fmt: skip

    def read(value: Any) -> Any:
        if isinstance(value, bool) and numeric:
            raise ValueError(f"takes a number, got {str(value).lower()}")
        from pydantic import TypeAdapter, ValidationError

        if not adapter:
            adapter.append(TypeAdapter(hint))
        try:
            return adapter[0].validate_python(value)
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].lower()) from None

    return read


def _flags(argument: Any) -> dict[str, Any]:
    """Return the names of an option, the longest first, and for a switch the name that turns it off."""
    off = set(argument.negatives)
    names = sorted((name for name in argument.names if name not in off), key=len, reverse=True)
    return {"flags": tuple(names), "negative": min(off, default="")}


def given_options(arguments: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Return the words of a command and the options that a command line without ``--out`` gives it."""
    from tokendyn.cli import app

    given = list(arguments)
    words = next((" ".join(given[:n]) for n in (2, 1) if " ".join(given[:n]) in COMMANDS), " ".join(given[:1]))
    command(words)
    known = any_command(words)
    rest = given[len(words.split()) :]
    _, bound, _ = app.parse_args([*words.split(), "--out", "", *rest], exit_on_error=False, print_error=False)
    found = bound_values(known, bound)
    found.pop("out")
    return words, found


def bound_values(known: Command, bound: Any) -> dict[str, Any]:
    """Return the values that a parsed command line gives the options of a command, by name."""
    values: dict[str, Any] = {}
    for name, option in known.options.items():
        value = bound.arguments.get(option.keys[0], MISSING)
        if value is not MISSING and len(option.keys) > 1:
            value = getattr(value, option.keys[1])
        if value is not MISSING:
            values[name] = value
    return values


def _name_finally(folder: Path, final: str, said: Said) -> None:
    """Put the name that a run will have in place of the temporary one, in records, pages and lines."""
    said.lines[:] = [line.replace(folder.name, final) for line in said.lines]
    for file in folder.rglob("*"):
        if file.suffix in (".json", ".html") and file.is_file():
            content = file.read_bytes()
            if folder.name.encode() in content:
                file.write_bytes(content.replace(folder.name.encode(), final.encode()))
