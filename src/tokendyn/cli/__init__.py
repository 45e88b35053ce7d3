"""The command line: a thin layer that reads arguments, calls the library and reports the result.

Exit codes: 0 done; 1 failed or diverged; 2 bad input, usage or output; 70 a fault of tokendyn; 130 interrupted, 143 and
129 stopped by TERM and HUP, 141 standard output was closed by its reader.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError
from cyclopts.config import Dict

from tokendyn.cli.boundary import guarded, prepare_process
from tokendyn.cli.commands import MEANFIELD, app
from tokendyn.cli.strict import strict_numbers
from tokendyn.cli.unknown import MODELS, as_meant, check_command
from tokendyn.errors import BadInputError, TokendynError, nearest
from tokendyn.runs.bounded import read_toml


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    prepare_process()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are one message, never a traceback."""
    return guarded(functools.partial(_run, list(arguments)), arguments)


def _run(arguments: list[str]) -> Any:
    """Run one command; mistakes in its words are errors with a correction."""
    rest, file, settings = _split_config(arguments)
    rest, store = _split_store(rest)
    before, app.config = app.config, (functools.partial(_from_file, str(file), settings), strict_numbers)
    words = rest
    try:
        words = routed(as_meant(rest), settings)
        check_command(words)
        _refuse_unknown(words, settings, str(file))
        return _called(words, store)
    except CycloptsError as error:
        from tokendyn.cli.slips import answer

        taken = [word for word in arguments if word not in rest]
        raise BadInputError(answer(error, words, taken)) from None
    except TokendynError as error:
        from tokendyn.cli.flags import in_flags_of

        error.args = (in_flags_of(str(error), words), *error.args[1:])
        raise
    finally:
        # The settings of one command must not reach the next one of the same process.
        app.config = before


def _called(words: list[str], store: str | None) -> Any:
    """Call a command; with a store, into it."""
    if store is None:
        from tokendyn.cli.repeat import running

        with running(words):
            return app(words, exit_on_error=False, print_error=False, result_action="return_value")
    from tokendyn.cli.stored import run_stored

    return run_stored(words, store)


def routed(arguments: list[str], settings: dict[str, Any]) -> list[str]:
    """Return the arguments with ``simulate`` replaced by the variant that ``--model``, or an option of it, asks for."""
    if arguments[:1] != ["simulate"]:
        return arguments
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    wanted = settings.get("model")
    for number, word in enumerate(options):
        name, joined, value = word.partition("=")
        if name == "--model":
            wanted = value if joined else "".join(options[number + 1 : number + 2])
        elif name == "--weights" and wanted is None:
            wanted = "meanfield"
    if wanted and wanted not in MODELS:
        from tokendyn.cli.slips import wrong_model

        raise BadInputError(wrong_model(str(wanted), arguments, MODELS))
    return [MEANFIELD, *arguments[1:]] if wanted == "meanfield" else arguments


def _from_file(source: str, settings: dict[str, Any], of: App, commands: tuple[str, ...], arguments: Any) -> None:
    """Give the options of a command the values of a configuration file.

    The settings are put under the words of the command: at the top, cyclopts takes ``report`` and ``samples`` for the
    commands of these names and drops them.
    """
    nested = settings
    for word in reversed(commands):
        nested = {word: nested}
    Dict(nested, source=source)(of, commands, arguments)


def _split_config(arguments: list[str]) -> tuple[list[str], Path | None, dict[str, Any]]:
    """Take ``--config FILE`` out of the arguments; its keys, returned last, are the options of the command."""
    for place, word in enumerate(arguments):
        if word == "--":
            break
        name, joined, value = word.partition("=")
        if name != "--config":
            continue
        if not joined and place + 1 == len(arguments):
            raise BadInputError("--config needs the path of a TOML file")
        path = Path(value if joined else arguments[place + 1])
        settings = read_toml(path)
        rest = arguments[:place] + arguments[place + (1 if joined else 2) :]
        return rest, path, settings
    return arguments, None, {}


def _refuse_unknown(words: list[str], settings: dict[str, Any], source: str) -> None:
    """Raise an error that names every key of a configuration file that its command has not, with the nearest it has."""
    from tokendyn.cli.slips import command_words

    _, apps, _ = app.parse_commands(words)
    if not settings or apps[-1].default_command is None:
        return
    own = [name for argument in apps[-1].assemble_argument_collection() for name in argument.names]
    known = {name.removeprefix("--") for name in own if name.startswith("--")}
    elsewhere = {name.lower() for name in own if name.isupper()} | {"store", "config"}
    problems = []
    for key in settings:
        name = key.replace("_", "-")
        if name in known:
            continue
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else f"see tokendyn {command_words(words)}--help"
        hint = "give it on the command line" if name in elsewhere else hint
        problems.append(f"unknown key {key!r}; {hint}")
    if problems:
        raise BadInputError.first_of(source, problems, "keys")


def _split_store(arguments: list[str]) -> tuple[list[str], str | None]:
    """Take ``--store`` or ``--store=FOLDER`` out of a command that computes; "" represents the store by default.

    The commands that look at a store have an option of that name themselves.
    """
    if arguments[:1] and arguments[0] in ("runs", "sweep"):
        return arguments, None
    for place, word in enumerate(arguments):
        if word == "--":
            break
        name, _, value = word.partition("=")
        if name == "--store":
            return arguments[:place] + arguments[place + 1 :], value
    return arguments, None
