"""Commands as jobs: options in, one run of the store out, in this process or in a worker of a sweep.

A job is run by calling the function of its command. What the command writes becomes the run; the numbers of the JSON
object that it says become the results.
"""

import contextlib
import dataclasses
import difflib
import functools
import math
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tokendyn.cli.boundary import is_kernel_cache, keep_kernels_in_memory
from tokendyn.cli.output import Said, overheard
from tokendyn.cli.repeat import running, words_for
from tokendyn.cli.strict import leaves
from tokendyn.errors import BadInputError, OutputError, TokendynError
from tokendyn.runs.code import code_version
from tokendyn.runs.identity import digest_or_absent, input_digest, plain, question_id, run_id
from tokendyn.runs.opened import recording
from tokendyn.runs.store import BEYOND, OUTPUT, Record, Status, Store, seal

#: Options that say where and how to write, not what to compute.
_CONTROL = frozenset({"out", "overwrite", "dry_run", "json", "checkpoint"})
#: Commands that can be jobs: they write what they compute to --out, and say it with --json.
COMMANDS = (
    "simulate", "simulate-meanfield", "phase", "classify build", "sentiment train", "sentiment compare",
    "sentiment curve", "sentiment evaluate", "sentiment export", "forecast fit", "forecast predict",
    "forecast compare", "forecast study",
)  # fmt: skip
#: Those of them that write one file, and its name in a run; the others write a folder.
_FILES = {"forecast predict": "forecast.csv", "sentiment export": "model.onnx"}
#: Options that are matrices: a file, or its rows as text.
_MATRICES = frozenset({"value", "score", "interaction", "query", "key", "centres"})
#: Kinds of files that lead to no other file.
_PLAIN = frozenset({".csv", ".tsv", ".txt", ".jsonl", ".npy", ".npz", ".parquet", ".gz", ".toml"})
#: What commands say of a run that their budget cut.
_CUT = frozenset({"out of time", "out of steps", "budget"})
#: Commands that go on from the folder which they wrote, in place of a checkpoint.
_GROWING = frozenset({"phase"})
_LOG = "log.txt"
_LONGEST_TEXT = 200
#: Rows of a table that become results.
_MOST_ROWS = 100
#: Parts of a command's answer that are no results: places, what the manifest says already, the course of a training.
_NO_RESULTS = frozenset({"out", "command", "path", "provenance", "schema", "schema_version", "epochs"})
#: Words in the names of what depends on the clock and the load of the machine.
_TIMES = {"seconds", "second", "milliseconds", "microseconds"}
#: Bytes that must find room for a failure to be the fault of a job and not of the disk.
_PROBE = 1 << 16

_PACKAGE = Path(__file__).parents[1]

#: What a command says is kept for one context; numba and torch keep global state: one job at a time in a process.
_one_at_a_time = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Job:
    """One run that is to be made.

    Attributes
    ----------
    id
        What the run will be called.
    command
        The words of the command.
    config
        Every option that bears on the result, as JSON values.
    inputs
        SHA-256 of the files that are read, by option, and by option and place for those that an input leads to.
    """

    id: str
    command: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]

    @property
    def leads(self) -> bool:
        """Whether an input may lead to other files."""
        return any(Path(self.config[name]).suffix.lower() not in _PLAIN for name in self.inputs if ":" not in name)

    @property
    def question(self) -> str:
        """What runs of the same options and inputs share, whichever code made them."""
        return question_id(self.command, self.config, self.inputs)


@dataclasses.dataclass(frozen=True)
class _Option:
    """One option of a command: where its value goes, and how it is read."""

    name: str
    keys: tuple[str, ...]
    positional: bool
    default: Any
    read: Callable[[Any], Any]
    takes_path: bool
    numeric: bool
    hint: Any
    flag: str
    negative: str

    @property
    def required(self) -> bool:
        """Whether there is no run without it."""
        return self.default is MISSING


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that can be run as a job."""

    words: str
    function: Callable[..., int]
    options: Mapping[str, _Option]
    groups: Mapping[str, Any]
    _led: dict[str, list[Path]] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def code(self) -> str:
        """Version and digest of the code and the libraries that compute the command."""
        return code_version(self.function.__module__)

    def config(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options that bear on the result, with defaults filled in; None where there is no value.

        Raises
        ------
        BadInputError
            If options are unknown, missing or of the wrong kind; the message lists them all.
        """
        problems, values = [], {name: option.default for name, option in self.options.items()}
        for written, value in given.items():
            name = written.replace("-", "_")
            if name in _CONTROL:
                problems.append(f"{written} is set by the store itself; leave it out")
            elif name not in self.options:
                near = difflib.get_close_matches(name, set(self.options) - _CONTROL, n=1)
                problems.append(
                    f"{self.words} has no option {written}" + (f"; did you mean {near[0]}?" if near else "")
                )
            else:
                if isinstance(value, bool) and self.options[name].numeric:
                    problems.append(f"{written} takes a number, got {str(value).lower()}")
                    continue
                try:
                    values[name] = self.options[name].read(value)
                except ValidationError as error:
                    problems.append(f"{written} = {value!r}: {error.errors()[0]['msg'].lower()}")
        lacking = [name for name, value in values.items() if value is MISSING and name not in _CONTROL]
        problems += [f"{name} is missing" for name in lacking]
        if problems:
            raise BadInputError.all_of(f"the options of {self.words}", problems)
        return {name: plain(value) for name, value in values.items() if name not in _CONTROL}

    def job(self, given: Mapping[str, Any]) -> Job:
        """Return the job of some options; paths of input files become absolute."""
        config, inputs = self.config(given), dict[str, str]()
        if odd := [name for name, value in config.items() if _HALVES.search(str(value))]:
            raise BadInputError(f"{', '.join(odd)}: not UTF-8; rename the file, or write the text as UTF-8")
        for name, value in config.items():
            option = self.options[name]
            if isinstance(value, str) and option.takes_path and _exists(value):
                config[name] = str(Path(value).absolute())
                inputs[name] = input_digest(value)
        opened = [_plain_path(path) for path in self._led_to(config, inputs)]
        for name, value in config.items():
            # A text that turned out to be the name of a file, such as --text review.txt.
            if name not in inputs and isinstance(value, str) and _exists(value) and _plain_path(value) in opened:
                config[name] = str(Path(value).absolute())
                inputs[name] = input_digest(value)
        for path in opened:
            place = _place_of(path, config, inputs)
            if place is not None:
                inputs[place] = digest_or_absent(path)
        return Job(self.id_of(config, inputs), self.words, config, inputs)

    @property
    def config_names(self) -> list[str]:
        """Names of the options that bear on the result."""
        return [name for name in self.options if name not in _CONTROL]

    def inputs_of(self, config: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
        """Return the digests that the inputs of a run have now."""
        return {name: digest_or_absent(_path_of(name, config)) for name in names}

    def id_of(self, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
        """Return the id of the run of these options and inputs by this code."""
        return run_id(self.words, config, inputs, self.code)

    def _led_to(self, config: Mapping[str, Any], inputs: Mapping[str, str]) -> list[Path]:
        """Return the files that the command opens beyond those that its options name.

        A dry run reads what the run reads; its readers say which files they open. Numbers do not choose files, so jobs
        that differ in nothing else share one dry run.
        """
        leads = [name for name in inputs if Path(config[name]).suffix.lower() not in _PLAIN]
        leads += [name for name, value in config.items() if name not in inputs and isinstance(value, str)
                  and not self.options[name].numeric and _exists(value)]  # fmt: skip
        if not leads:
            return []
        chosen = {name: value for name, value in config.items() if name != "seed" and not isinstance(value, float)}
        key = repr(sorted(chosen.items())) + repr(sorted(inputs.items()))
        if key not in self._led:
            # What is wrong with the options is said by the run itself.
            quiet = contextlib.suppress(Exception)
            with tempfile.TemporaryDirectory() as nowhere, recording() as opened, overheard(), quiet:
                self.call(config, Path(nowhere, "out"), dry_run=True)
            self._led[key] = list(dict.fromkeys(opened))
        return self._led[key]

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
        with running(lambda: words_for(self, values)):
            return int(self.function(*positional, **named) or 0)


#: What Python makes of bytes that are not UTF-8, such as in the name of a file.
_HALVES = re.compile(r"[\ud800-\udfff]")


class _Missing:
    def __repr__(self) -> str:
        return "missing"


#: Stands for the value of an option that has none.
MISSING = _Missing()


def command(words: str) -> Command:
    """Return the command of some words, such as ``"forecast fit"`` or ``"simulate-meanfield"``.

    Raises
    ------
    BadInputError
        If there is none, or if it writes nothing that a store could keep.
    """
    if words not in COMMANDS:
        near = difflib.get_close_matches(words, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(COMMANDS)}"
        raise BadInputError(f"{words!r} is no command whose result a store can keep; {hint}")
    return any_command(words)


@functools.cache
def any_command(words: str) -> Command:
    """Return the command of some words, whether or not a store can keep what it writes."""
    from tokendyn.cli import app

    place = app
    for word in words.split():
        place = place[word]
    options: dict[str, _Option] = {}
    groups: dict[str, Any] = {}
    for argument in place.assemble_argument_collection():
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
        positional = field.kind in (field.POSITIONAL_ONLY, field.VAR_POSITIONAL)
        takes_path = "Path" in str(argument.hint) or name in _MATRICES
        # An option of a group may share its name with the positional one (tokens, and how many): the latter has a path.
        if name in options:
            options[f"{name}_file"] = dataclasses.replace(options.pop(name), name=f"{name}_file")
        reader: TypeAdapter[Any] = TypeAdapter(argument.hint)
        kinds = set(leaves(argument.hint))
        numeric = bool(kinds & {int, float}) and not kinds & {str, bool}
        read, flags = reader.validate_python, _flags(argument)
        options[name] = _Option(name, keys, positional, default, read, takes_path, numeric, argument.hint, *flags)
    function = place.default_command
    assert function is not None
    return Command(words, function, options, groups)


def _flags(argument: Any) -> tuple[str, str]:
    """Return the longest name of an option and, for a switch, the name that turns it off."""
    off = set(argument.negatives)
    names = sorted((name for name in argument.names if name not in off), key=len)
    return names[-1], min(off, default="")


def perform(
    folder: str | Path, job: Job, *, attempts: int = 1, keep_failures: bool = True, verify: bool = False
) -> tuple[Record, Said]:
    """Make the run of a job and put it into a store; one that is there already is only read.

    Parameters
    ----------
    folder
        The store.
    job
        What to run.
    attempts
        How often to try before a failure is recorded; bad input fails at once.
    keep_failures
        Record a failure as a run, in place of raising its error.
    verify
        Compare every file of a run that is there with its digest, and make one that is damaged anew.

    Raises
    ------
    OutputError
        If the store cannot be written: no fault of the job.
    BusyError
        If another process makes the same run.
    """
    store = Store(folder)
    with _one_at_a_time, store.claim(job.id):
        done = store.finished(job.id, verify=verify)
        if done is not None:
            return done, Said(dict(done.results))
        attempt = 0
        while attempt < attempts:
            attempt += 1
            try:
                return _attempt(store, job, attempt)
            except Exception as error:
                if _is_mended(store, job, error):
                    attempt -= 1
                    continue
                if isinstance(error, OutputError):
                    raise
                last = attempt == attempts or isinstance(error, BadInputError)
                if last and not keep_failures:
                    raise
                if last:
                    return record_failure(store, job, _told(error), attempt), Said()
    raise AssertionError("at least one attempt")


def _is_mended(store: Store, job: Job, error: Exception) -> bool:
    """Take away what stood in the way of a run, and say whether that was it: a full kernel cache, a bad checkpoint."""
    if is_kernel_cache(error):
        return keep_kernels_in_memory()
    kept = store.checkpoint(job.id)
    if isinstance(error, BadInputError) and str(kept) in str(error) and kept.exists():
        kept.unlink()
        return True
    return False


def given_options(arguments: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Return the words of a command and the options that a command line without ``--out`` gives it."""
    from tokendyn.cli import app

    given = list(arguments)
    words = next((" ".join(given[:n]) for n in (2, 1) if " ".join(given[:n]) in COMMANDS), " ".join(given[:1]))
    known = command(words)
    rest = given[len(words.split()) :]
    _, bound, _ = app.parse_args([*words.split(), "--out", "", *rest], exit_on_error=False, print_error=False)
    found: dict[str, Any] = {}
    for name, option in known.options.items():
        value = bound.arguments.get(option.keys[0], MISSING)
        if value is not MISSING and len(option.keys) > 1:
            value = getattr(value, option.keys[1])
        if value is not MISSING:
            found[name] = value
    found.pop("out")
    return words, found


def record_failure(store: Store, job: Job, error: str, attempts: int) -> Record:
    """Put a run into a store that says why it could not be made."""
    with store.writing(job.id) as folder:
        return _sealed(folder, job, "failed", Said(), error, attempts, 0.0)


def results_of(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the numbers, truth values and short texts of a command's answer, and apart from them those of time.

    Nested names are joined by points. Rows of a table are named by their texts, such as ``TD-TF.nrmse``, or by their
    place; other lists are left out. A number that is not finite becomes None.
    """
    results: dict[str, Any] = {}
    timings: dict[str, Any] = {}
    for name, value in _leaves(record, ""):
        last = name.rsplit(".", 1)[-1]
        if isinstance(value, list | tuple):
            continue
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            continue
        timed = bool(set(last.split("_")) & _TIMES)
        # The store has a status of its own: how the command as a whole ended.
        (timings if timed else results)["outcome" if name == "status" else name] = _finite(value)
    return results, timings


def _attempt(store: Store, job: Job, attempt: int) -> tuple[Record, Said]:
    """Run a command into the store once."""
    began = time.perf_counter()
    kept = store.checkpoint(job.id)
    with store.writing(job.id) as folder:
        place = folder / _FILES.get(job.command, OUTPUT)
        if job.command in _GROWING and (store.path(job.id) / OUTPUT).is_dir():
            shutil.copytree(store.path(job.id) / OUTPUT, place)
        try:
            with overheard() as said, recording() as opened:
                code = command(job.command).call(job.config, place, checkpoint=kept)
        except Exception as error:
            _check_disk(folder, error)
            if isinstance(error, OSError | OutputError) and not is_kernel_cache(error):
                raise _JobError(_told(error)) from error
            raise
        beyond = _beyond(job, opened, store.folder)
        _name_finally(folder, job.id, said)
        status: Status = "completed" if code == 0 else "diverged"
        if said.record.get("status") in _CUT or (job.command in _GROWING and said.record.get("missing")):
            status = "stopped"
        record = _sealed(folder, job, status, said, "", attempt, time.perf_counter() - began, beyond)
    if status != "stopped":
        kept.unlink(missing_ok=True)
    return record, said


def _beyond(job: Job, opened: Iterable[Path], store: Path) -> dict[str, str]:
    """Return digests of the files that a run read and its id does not cover; those that it covers must be unchanged.

    Raises
    ------
    BadInputError
        If an input was changed while the run was made: what it holds now is not what the id says.
    """
    covered = {}
    for name, digest in job.inputs.items():
        path = _path_of(name, job.config)
        covered[path] = digest
        if digest_or_absent(path) != digest:
            raise BadInputError(f"{path} was changed while the run was made; start it again")
    around = [path for path in covered if path.is_dir()] + [_plain_path(store), _PACKAGE]
    return {
        str(path): digest_or_absent(path)
        for path in dict.fromkeys(map(_plain_path, opened))
        if path not in covered and not any(path.is_relative_to(folder) for folder in around)
    }


def _path_of(name: str, config: Mapping[str, Any]) -> Path:
    """Return the file of an input: the option's own, or the one at a place beside it."""
    option, _, beside = name.partition(":")
    own = _plain_path(config[option])
    return _plain_path(own.parent / beside) if beside else own


def _plain_path(path: str | Path) -> Path:
    """Return a path from the root, without .. in it."""
    return Path(os.path.abspath(path))


def _place_of(path: Path, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str | None:
    """Return the name of a file that an input leads to: the option, and the place as seen from its folder.

    None for a file that an option covers, and where no option leads.
    """
    given = {name: _plain_path(config[name]) for name in inputs if ":" not in name}
    if not given or path.is_relative_to(_PACKAGE):
        return None
    if any(path == own or (own.is_dir() and path.is_relative_to(own)) for own in given.values()):
        return None
    beside = [name for name, own in given.items() if path.is_relative_to(own.parent)]
    name = (beside or list(given))[0]
    return f"{name}:{Path(os.path.relpath(path, given[name].parent)).as_posix()}"


def _sealed(
    folder: Path, job: Job, status: Status, said: Said, error: str, attempts: int, seconds: float,
    beyond: Mapping[str, str] | None = None,
) -> Record:  # fmt: skip
    from tokendyn.runs.provenance import provenance

    results, timings = results_of(said.record)
    seed = job.config.get("seed")
    made = provenance({}, seed=seed if isinstance(seed, int) else None, seconds=seconds)
    made = {name: value for name, value in made.items() if name != "config"}
    made |= {"code": command(job.command).code} | ({BEYOND: dict(beyond)} if beyond else {})
    record = Record(
        job.id, job.command, status, job.config, job.inputs, results, timings, error, attempts, made
    )  # fmt: skip
    return seal(folder, record)


class _JobError(TokendynError):
    """A command met an error of files that is not the fault of the store."""


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, TokendynError) else f"{type(error).__name__}: {error}"


def _check_disk(folder: Path, error: Exception) -> None:
    """Raise an :class:`OutputError` if the store refuses to be written, now that a job failed."""
    try:
        probe = folder / ".probe"
        with probe.open("wb") as stream:
            stream.write(bytes(_PROBE))
            stream.flush()
            os.fsync(stream.fileno())
        probe.unlink()
    except OSError as refusal:
        why = refusal.strerror or refusal
        raise OutputError(
            f"cannot write the store {folder.parent}: {why}; what is finished is kept: make room, and start again"
        ) from error


def _name_finally(folder: Path, final: str, said: Said) -> None:
    """Put the name that a run will have in place of the temporary one, in records, pages and lines."""
    said.lines[:] = [line.replace(folder.name, final) for line in said.lines]
    if said.lines:
        (folder / _LOG).write_text("\n".join(said.lines) + "\n", encoding="utf-8")
    for file in folder.rglob("*"):
        if file.suffix in (".json", ".html") and file.is_file():
            content = file.read_bytes()
            if folder.name.encode() in content:
                file.write_bytes(content.replace(folder.name.encode(), final.encode()))


def _leaves(record: Mapping[str, Any], before: str) -> Iterable[tuple[str, Any]]:
    for name, value in record.items():
        if name in _NO_RESULTS:
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{name}.")
        elif (
            isinstance(value, list) and 0 < len(value) <= _MOST_ROWS and all(isinstance(row, Mapping) for row in value)
        ):
            yield from _row_leaves(value, before, name)
        elif value is None or isinstance(value, bool | int | float | str | list | tuple):
            yield f"{before}{name}", value
        elif hasattr(value, "item"):
            yield f"{before}{name}", value.item()


def _row_leaves(rows: list[Mapping[str, Any]], before: str, table: str) -> Iterable[tuple[str, Any]]:
    """Yield the numbers of a table; its rows are told apart by their texts, where that is enough."""
    labels = [".".join(value for value in row.values() if isinstance(value, str)) for row in rows]
    if "" in labels or len(set(labels)) < len(labels):
        labels = [f"{table}.{place}" for place in range(len(rows))]
    for label, row in zip(labels, rows, strict=True):
        numbers = {name: value for name, value in row.items() if not isinstance(value, str | list)}
        yield from _leaves(numbers, f"{before}{label}.")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False
