"""Experiments as commands: their fields are the options, their docstrings the help; this module reads and prints."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from cyclopts import Parameter

from tokendyn.cli.flags import in_flags
from tokendyn.cli.output import announce, logged, write_json
from tokendyn.cli.progress import progress, resumable
from tokendyn.errors import BadInputError
from tokendyn.experiments.experiment import STANDARD_OUTPUT, Experiment
from tokendyn.experiments.options import MISSING, Option, documented, options_of

#: Options that say where and how to write; the first is left out where an experiment has no checkpoint.
_CONTROL: dict[str, tuple[Any, Any, str]] = {
    "checkpoint": (
        Path | None, None,
        "Keep the state of a long run in this .safetensors file, and go on from it when it is there, to the same bits; "
        "it is removed once the run is complete.",
    ),
    "out": (Path | None, None, "Where to write. It must not exist."),
    "overwrite": (bool, False, "Replace what is there."),
    "dry_run": (bool, False, "Check the input, say what would be done, and stop."),
    "json": (bool, False, "Write the summary as one JSON object to standard output."),
}  # fmt: skip


def command_of(
    experiment: type[Experiment[Any]], *, out: str = "", help: Mapping[str, str] | None = None, extra: Any = None
) -> Callable[..., int]:
    """Return the function of the command that runs an experiment.

    Parameters
    ----------
    experiment
        The class: its fields become the options, its docstring their help.
    out
        What the help says of ``--out``.
    help
        Help of options in other words than those of the docstring.
    extra
        Type of a further option ``--model``, which chooses among variants and is no part of the experiment.
    """
    known = options_of(experiment)
    texts = {**documented(experiment), **(help or {})}
    parameters = [_parameter(option) for option in known.values()]
    if extra is not None:
        default = experiment.constants["model"]
        parameters.append(inspect.Parameter("model", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=extra))
    control = {name: entry for name, entry in _CONTROL.items() if name != "checkpoint" or experiment.resumes}
    if experiment.folder is Experiment.folder:
        # There is no place by default.
        control["out"] = (Path, inspect.Parameter.empty, control["out"][2])
    for name, (hint, default, text) in control.items():
        texts[name] = out or text if name == "out" else texts.get(name, text)
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint))

    def command(*args: Any, **named: Any) -> int:
        if extra is not None:
            named.pop("model", None)
        settings = {name: named.pop(name) for name in control if name in named}
        positional = [option.keys[0] for option in known.values() if option.positional]
        values = {**dict(zip(positional, args, strict=False)), **named}
        return execute(experiment(**values), **settings)

    parameters.sort(key=lambda parameter: (parameter.kind, extra is not None and parameter.name == "model"))
    vars(command)["__signature__"] = inspect.Signature(parameters)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    summary = inspect.cleandoc(experiment.__doc__ or "").partition("\n\n")[0]
    entries = "\n".join(f"{parameter.name}\n    {in_flags(texts[parameter.name], known)}" for parameter in parameters)
    command.__doc__ = f"{summary}\n\nParameters\n----------\n{entries}\n"
    command.__module__ = experiment.__module__
    vars(command)["experiment"] = experiment
    return command


def execute(
    experiment: Experiment[Any],
    *,
    out: Path | None = None,
    checkpoint: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Run an experiment, write what came out and say what it means; return the exit code.

    Parameters
    ----------
    experiment
        The experiment.
    out, checkpoint, overwrite, dry_run, json
        The options that every command has.
    """
    experiment = experiment.resolved()
    target = out or experiment.folder()
    command = experiment.command_line(out=out, checkpoint=checkpoint, overwrite=overwrite, json=json)
    if json and target == STANDARD_OUTPUT:
        raise BadInputError("`json` and the result would both go to standard output; give `out` too")
    experiment.check_free(target, overwrite=overwrite, checkpoint=checkpoint)
    known = options_of(type(experiment))
    if dry_run:
        where = "to standard output" if target == STANDARD_OUTPUT else target
        for line in (*experiment.check(checkpoint), f"would write {where}"):
            announce(in_flags(line, known))
        return 0
    for line in experiment.outline():
        announce(in_flags(line, known))
    with logged(), resumable(checkpoint) as state, progress(experiment.unit) as tell:
        result = experiment.into(target, progress=tell, checkpoint=state, command=command, overwrite=overwrite)
    status = experiment.ended(result)
    if state is not None and status != "stopped":
        state.remove()
    if json:
        write_json({**experiment.summary(result), "out": str(target), "command": command})
    for line in experiment.describe(result):
        announce(in_flags(line, known))
    if target != STANDARD_OUTPUT:
        advice = experiment.advice(target)
        announce(f"wrote {target}" + (f"; {advice}" if advice else ""))
    return 0 if status == "completed" or (status == "stopped" and experiment.keeps_best) else 1


def _parameter(option: Option) -> inspect.Parameter:
    """Return an option as a parameter that the option library reads."""
    settings: dict[str, Any] = {"negative": option.negative or ()}
    if not option.positional:
        settings["name"] = list(option.flags)
        # A shell writes many files where a pattern is typed: --images photos/*.jpg.
        settings["consume_multiple"] = any(part == list[Path] for part in (option.hint, *get_args(option.hint)))
    kind = inspect.Parameter.POSITIONAL_ONLY if option.positional else inspect.Parameter.KEYWORD_ONLY
    default = inspect.Parameter.empty if option.default is MISSING else option.default
    hint: Any = Annotated[option.hint, Parameter(**settings)]
    return inspect.Parameter(option.keys[0], kind, default=default, annotation=hint)
