"""The base of all experiments: options as fields, a dry run, a run, and a folder with the results."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from tokendyn.errors import BadInputError
from tokendyn.experiments.options import Option, options_of, read_options
from tokendyn.experiments.repeat import command_line
from tokendyn.runs.folders import check_free

if TYPE_CHECKING:
    from tokendyn.runs.checkpoint import Checkpoint
    from tokendyn.runs.store import Status

Result = TypeVar("Result")

#: Stands for standard output where a file could be named.
STANDARD_OUTPUT = Path("-")

#: What long work calls with how much is done, and how much there is.
ProgressCallback = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment(ABC, Generic[Result]):
    """Options, and the work done with them.

    A subclass is a frozen dataclass: its fields are the options, and its docstring says what each means. From them come
    the options of a command and their help, the keys of a TOML file, the dry run, the command that repeats a run, and
    the id in a store (:mod:`tokendyn.experiments`).

    Raises
    ------
    BadInputError
        If values are of the wrong kind; the message lists them all. What depends on the content of files is checked by
        :meth:`check` and :meth:`run`.
    """

    #: The words of its command; those of a variant that the store keeps under a name of its own go into ``typed``.
    command: ClassVar[str] = ""
    #: The words that a user types, where they differ from ``command``.
    typed: ClassVar[str] = ""
    #: Values that the store keeps beside the options, such as the model that a command is a variant of.
    constants: ClassVar[Mapping[str, Any]] = {}
    #: What its progress counts.
    unit: ClassVar[str] = "steps"
    #: The file that it writes, for one that writes no folder.
    file: ClassVar[str] = ""
    #: Whether it continues from a checkpoint.
    resumes: ClassVar[bool] = False
    #: Whether it continues from its own folder.
    grows: ClassVar[bool] = False
    #: Whether what its budget cut is a result to use, the best so far: its command has done what it was asked.
    keeps_best: ClassVar[bool] = False
    #: Statuses of a result that is whole, and of one that its budget cut.
    whole: ClassVar[frozenset[str]] = frozenset({"completed", "event"})
    cut: ClassVar[frozenset[str]] = frozenset({"out of time", "out of steps", "budget", "partial"})

    def __post_init__(self) -> None:
        """Read every value as its field holds it."""
        options = {option.keys[0]: option for option in options_of(type(self)).values()}
        for name, value in read_options(
            type(self).__name__, options, {name: getattr(self, name) for name in options}
        ).items():
            object.__setattr__(self, name, value)

    @abstractmethod
    def run(
        self,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
    ) -> Result:
        """Do it.

        Parameters
        ----------
        progress
            Called with how much is done, and how much there is.
        checkpoint
            Where the state of a long run is kept, and from where it goes on with bit-identical results.
        budget
            Seconds after which it stops and keeps the part done.
        """

    @abstractmethod
    def write(self, result: Result, folder: str | Path, *, command: str = "", overwrite: bool = False) -> None:
        """Write a result into a new folder, which is there completely or not at all.

        Parameters
        ----------
        result
            What :meth:`run` returned.
        folder
            The folder, or the file for an experiment that writes one.
        command
            Command that repeats it, for the record.
        overwrite
            Replace an existing output.
        """

    def folder(self) -> Path:
        """Return where the command writes when no place is given."""
        raise BadInputError("name the place to write: `out`")

    def outline(self) -> Sequence[str]:
        """Return what will be run, in sentences, from the inputs alone."""
        return ()

    def check(self, checkpoint: "Path | str | None" = None) -> Sequence[str]:
        """Make all checks of a run, without running; return a description of it in sentences.

        Parameters
        ----------
        checkpoint
            The file from which the run would go on: it is read, and never written.
        """
        sentences = self.outline()
        state = None if checkpoint is None else checkpoint_of(checkpoint, seconds=math.inf)
        rehearse(lambda begun: self.run(progress=begun, checkpoint=state))
        return sentences

    def into(
        self,
        folder: Path,
        *,
        progress: ProgressCallback | None = None,
        checkpoint: "Checkpoint | Path | str | None" = None,
        budget: float | None = None,
        command: str = "",
        overwrite: bool = False,
    ) -> Result:
        """Run and write; see :meth:`run` and :meth:`write`."""
        result = self.run(progress=progress, checkpoint=checkpoint, budget=budget)
        self.write(result, folder, command=command, overwrite=overwrite)
        return result

    def ended(self, result: Any) -> "Status":
        """Return how it ended, in the words of a store."""
        if result.status in self.cut:
            return "stopped"
        return "completed" if result.status in self.whole else "diverged"

    def summary(self, result: Any) -> Mapping[str, Any]:
        """Return the result as JSON values: what ``--json`` prints, and what a store keeps of it."""
        summary: Mapping[str, Any] = result.summary()
        return summary

    def describe(self, result: Any) -> Sequence[str]:
        """Return the result in sentences."""
        sentences: Sequence[str] = result.describe()
        return sentences

    def advice(self, folder: Path) -> str:
        """Return what to do with what was written, to end the sentence that says where it is; empty for nothing."""
        page = folder / "report.html"
        return f"open {page}" if page.is_file() else ""

    def resolved(self) -> "Experiment[Any]":
        """Return the experiment for the inputs if their content decides; by default this one."""
        return self

    def files(self) -> list[Path]:
        """Return the files and folders that the options name."""
        values = [getattr(self, option.keys[0]) for option in options_of(type(self)).values() if option.takes_path]
        paths = [path for value in values for path in (value if isinstance(value, list | tuple) else [value])]
        return [Path(path) for path in paths if path is not None and exists(path)]

    def check_free(self, folder: Path, *, overwrite: bool, checkpoint: Path | None = None) -> None:
        """See that a result can be written; by default that the place is free, or may be replaced, and no input."""
        check_free(folder, overwrite=overwrite, inputs=[*self.files(), checkpoint])
        if checkpoint is not None:
            from tokendyn.runs.checkpoint import check_checkpoint

            check_checkpoint(checkpoint, folder)

    def options(self) -> dict[str, Any]:
        """Return the options by name, as values of their fields."""
        return {name: getattr(self, option.keys[0]) for name, option in options_of(type(self)).items()}

    def given(self) -> dict[str, Any]:
        """Return the options that are not at their defaults, by name."""
        known = options_of(type(self))
        return {name: value for name, value in self.options().items() if value != known[name].default}

    def command_line(self, out: Path | str | None = None, **control: Any) -> str:
        """Return the command that repeats it.

        Parameters
        ----------
        out
            Where it writes; left out where it is None.
        **control
            Other options of the command that say how to run, such as ``checkpoint`` and ``overwrite``.
        """
        values = {"out": out, **control}
        extra = {name: control_option(name) for name in values}
        shown = {name: value for name, value in values.items() if value is not None and value is not False}
        return command_line(self.typed or self.command, {**options_of(type(self)), **extra}, {**self.given(), **shown})


def control_option(name: str) -> Option:
    """Return an option about the place or form of the output, not about the computation."""
    flag = f"--{name.replace('_', '-')}"
    return Option(
        name=name, keys=(name,), hint=str, default=None, positional=False, flags=(flag,), negative="", read=str
    )  # fmt: skip


def checkpoint_of(path: "Checkpoint | Path | str | None", seconds: float = 30.0) -> "Checkpoint | None":
    """Return the checkpoint at a path; a checkpoint, and None, are returned unchanged.

    Parameters
    ----------
    path
        Where it is.
    seconds
        Least wall time between two writes; with infinity the file is only read.
    """
    from tokendyn.runs.checkpoint import Checkpoint

    return Checkpoint.at(path, seconds)


class _BegunError(BaseException):
    """A run has passed all its checks and done its first step."""


def rehearse(run: Callable[[Callable[..., None]], object]) -> None:
    """Do what a run does up to its first report of progress, and no more: a dry run refuses what the run refuses.

    Parameters
    ----------
    run
        Takes the callback that the run reports its progress to.
    """

    def begun(*_: object) -> None:
        raise _BegunError

    with suppress(_BegunError):
        run(begun)


def exists(text: str | Path) -> bool:
    """Return whether a text is the name of something that is there; a text that can be no name is not."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False
