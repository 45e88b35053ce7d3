"""Jobs: the options of one run, the files that it reads, and the id that follows from them."""

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokendyn
from tokendyn.errors import BadInputError
from tokendyn.experiments.experiment import Experiment, exists
from tokendyn.experiments.options import options_of, read_options
from tokendyn.runs.code import code_version
from tokendyn.runs.identity import digest_or_absent, input_digest, plain, question_id, run_id
from tokendyn.runs.opened import recording
from tokendyn.runs.store import OUTPUT, Status

#: Options that say where and how to write and to run, not what to compute.
CONTROL = frozenset({"out", "overwrite", "dry_run", "json", "checkpoint", "processes", "scheduler"})
#: Kinds of files that lead to no other file.
_PLAIN = frozenset({".csv", ".tsv", ".txt", ".jsonl", ".npy", ".npz", ".parquet", ".gz", ".toml"})
#: What Python makes of bytes that are not UTF-8, such as in the name of a file.
_HALVES = re.compile(r"[\ud800-\udfff]")

_PACKAGE = Path(tokendyn.__file__).parent


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes
    ----------
    status
        In the words of the store.
    summary
        The result as JSON values.
    sentences
        What it means, for people.
    """

    status: Status = "completed"
    summary: Mapping[str, Any] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One run that is to be made.

    Attributes
    ----------
    id
        What the run will be called.
    kind
        What is run.
    config
        Every option that bears on the result, as JSON values.
    inputs
        SHA-256 of the files that are read, by option, and by option and place for those that an input leads to.
    """

    id: str
    kind: "Kind"
    config: Mapping[str, Any]
    inputs: Mapping[str, str]

    @property
    def command(self) -> str:
        """The words of the command."""
        return self.kind.words

    @property
    def leads(self) -> bool:
        """Whether an input may lead to other files."""
        return any(Path(self.config[name]).suffix.lower() not in _PLAIN for name in self.inputs if ":" not in name)

    @property
    def question(self) -> str:
        """What runs of the same options and inputs share, whichever code made them."""
        return question_id(self.command, self.config, self.inputs)


class Kind:
    """What jobs run: the options of an experiment, how ids follow from them, and the work itself.

    Parameters
    ----------
    experiment
        Its class.

    Attributes
    ----------
    words
        The words of the command.
    options
        The options by name.
    """

    def __init__(self, experiment: type[Experiment[Any]]) -> None:
        self.experiment = experiment
        self.words, self.options = experiment.command, options_of(experiment)
        self._led: dict[str, list[Path]] = {}

    def __reduce__(self) -> Any:
        """Return how a worker gets it: by the name of the class."""
        return kind_of, (self.experiment,)

    @property
    def code(self) -> str:
        """Version and digest of the code and the libraries that compute it."""
        return code_version(self.experiment.__module__)

    @property
    def output(self) -> str:
        """Name of what it writes in the folder of a run."""
        return self.experiment.file or OUTPUT

    @property
    def config_names(self) -> list[str]:
        """Names of the options that bear on the result."""
        return [*self.experiment.constants, *(name for name in self.options if name not in CONTROL)]

    def config(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options that bear on the result, with defaults filled in; None where there is no value.

        Raises
        ------
        BadInputError
            If options are unknown, missing or of the wrong kind; the message lists them all.
        """
        same = {name for name, value in self.experiment.constants.items() if given.get(name, value) == value}
        chosen = {name: value for name, value in given.items() if name not in same}
        values = read_options(self.words, self.options, chosen, CONTROL)
        kept = {name: plain(value) for name, value in values.items() if name not in CONTROL}
        return {**self.experiment.constants, **kept}

    def job(self, given: Mapping[str, Any]) -> Job:
        """Return the job of some options; paths of input files become absolute."""
        config, inputs = self.config(given), dict[str, str]()
        if odd := [name for name, value in config.items() if _HALVES.search(str(value))]:
            raise BadInputError(f"{', '.join(odd)}: not UTF-8; rename the file, or write the text as UTF-8")
        for name, option in self.options.items():
            value = config.get(name)
            if isinstance(value, str) and option.takes_path and exists(value):
                config[name] = str(Path(value).absolute())
                inputs[name] = input_digest(value)
        opened = [plain_path(path) for path in self._led_to(config, inputs)]
        for name, value in config.items():
            # A text that turned out to be the name of a file, such as --text review.txt.
            if name not in inputs and isinstance(value, str) and exists(value) and plain_path(value) in opened:
                config[name] = str(Path(value).absolute())
                inputs[name] = input_digest(value)
        for path in opened:
            led = _input_name(path, config, inputs)
            if led is not None:
                inputs[led] = digest_or_absent(path)
        return Job(id=self.id_of(config, inputs), kind=self, config=config, inputs=inputs)

    def inputs_of(self, config: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
        """Return the digests that the inputs of a run have now."""
        return {name: digest_or_absent(path_of(name, config)) for name in names}

    def id_of(self, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
        """Return the id of the run of these options and inputs by this code."""
        return run_id(self.words, config, inputs, self.code)

    def _led_to(self, config: Mapping[str, Any], inputs: Mapping[str, str]) -> list[Path]:
        """Return the files that a run opens beyond those that its options name.

        A dry run reads what the run reads; its readers say which files they open. Numbers do not choose files, so jobs
        that differ in nothing else share one dry run.
        """
        leads = [name for name in inputs if Path(config[name]).suffix.lower() not in _PLAIN]
        leads += [name for name, option in self.options.items() if name not in inputs and name in config
                  and isinstance(config[name], str) and not option.numeric and exists(config[name])]  # fmt: skip
        leads += [
            name for name, option in self.options.items() if option.takes_path and isinstance(config.get(name), list)
        ]
        if not leads:
            return []
        chosen = {name: value for name, value in config.items() if name != "seed" and not isinstance(value, float)}
        key = repr(sorted(chosen.items())) + repr(sorted(inputs.items()))
        if key not in self._led:
            # What is wrong with the options is said by the run itself.
            with recording() as opened, contextlib.suppress(Exception):
                self.rehearse(config)
            self._led[key] = list(dict.fromkeys(opened))
        return self._led[key]

    def of(self, config: Mapping[str, Any]) -> Experiment[Any]:
        """Return the experiment of the options of a job."""
        values = {option.keys[0]: config[name] for name, option in self.options.items() if name in config}
        return self.experiment(**values).resolved()

    def rehearse(self, config: Mapping[str, Any]) -> None:
        """Read the inputs of a run, and compute nothing."""
        self.of(config).check()

    def compute(self, config: Mapping[str, Any], place: Path, out: str, checkpoint: Path) -> Ending:
        """Run the experiment and write the results.

        Parameters
        ----------
        config
            The options of a job.
        place
            Where it writes.
        out
            Where the command that repeats it writes, for the record. The name of the run and not its folder: stores at
            two places hold the same record, and who repeats a run does not write into the store.
        checkpoint
            Where the state of a long run is kept.
        """
        from tokendyn.runs.checkpoint import Checkpoint

        experiment = self.of(config)
        outline = experiment.outline()
        state: Checkpoint | None = Checkpoint(checkpoint) if experiment.resumes else None
        command = experiment.command_line(out=out)
        result = experiment.into(place, checkpoint=state, command=command)
        sentences = (*outline, *experiment.describe(result))
        return Ending(status=experiment.ended(result), summary=experiment.summary(result), sentences=sentences)


@functools.cache
def kind_of(experiment: type[Experiment[Any]]) -> Kind:
    """Return the kind of jobs that run an experiment."""
    return Kind(experiment)


def beyond(job: Job, opened: Iterable[Path], store: Path) -> dict[str, str]:
    """Return digests of the files that a run read and its id does not cover; those that it covers must be unchanged.

    Raises
    ------
    BadInputError
        If an input was changed while the run was made: what it holds now is not what the id says.
    """
    covered = {}
    for name, digest in job.inputs.items():
        path = path_of(name, job.config)
        covered[path] = digest
        if digest_or_absent(path) != digest:
            raise BadInputError(f"{path} was changed while the run was made; start it again")
    around = [path for path in covered if path.is_dir()] + [plain_path(store), _PACKAGE]
    return {
        str(path): digest_or_absent(path)
        for path in dict.fromkeys(map(plain_path, opened))
        if path not in covered and not any(path.is_relative_to(folder) for folder in around)
    }


def path_of(name: str, config: Mapping[str, Any]) -> Path:
    """Return the file of an input: the option's own, or the one at a place beside it."""
    option, _, beside = name.partition(":")
    own = plain_path(config[option])
    return plain_path(own.parent / beside) if beside else own


def plain_path(path: str | Path) -> Path:
    """Return a path from the root, without .. in it."""
    return Path(os.path.abspath(path))


def _input_name(path: Path, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str | None:
    """Return the name of a file that an input leads to: the option, and the place as seen from its folder.

    None for a file that an option covers, and where no option leads.
    """
    given = {name: plain_path(config[name]) for name in inputs if ":" not in name}
    if not given or path.is_relative_to(_PACKAGE):
        return None
    if any(path == own or (own.is_dir() and path.is_relative_to(own)) for own in given.values()):
        return None
    beside = [name for name, own in given.items() if path.is_relative_to(own.parent)]
    name = (beside or list(given))[0]
    return f"{name}:{Path(os.path.relpath(path, given[name].parent)).as_posix()}"
