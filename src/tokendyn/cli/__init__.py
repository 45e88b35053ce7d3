"""The command line: a thin layer that reads arguments, calls the library and says what was done.

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
from tokendyn.cli.commands import MEANFIELD, app, names, tree
from tokendyn.cli.strict import strict_numbers
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
    """Run one command; mistakes in its words are errors that say what is right."""
    rest, file, settings = _split_config(arguments)
    rest, store = _split_store(rest)
    before, app.config = app.config, (functools.partial(_from_file, str(file), settings), strict_numbers)
    words = rest
    try:
        words = routed(rest, settings)
        _refuse_unknown_command(words)
        _refuse_unknown(words, settings, str(file))
        return _called(words, store)
    except CycloptsError as error:
        help_of = _command_words(words)
        raise BadInputError(f"{error}{_misspelled(words, str(error))}\nSee: tokendyn {help_of}--help") from None
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


def _refuse_unknown_command(words: Sequence[str]) -> None:
    """Name the nearest command for one that does not exist, without importing any."""
    group = ""
    for word in words[:2]:
        known = tree.get(group, [])
        if word.startswith("-") or word in known or word == MEANFIELD:
            if word not in tree:
                return
            group = word
            continue
        near = nearest(word, known)
        hint = f' Did you mean "{near}"?' if near else f" There are {', '.join(sorted(known))}."
        shown = f"tokendyn {group} --help" if group else "tokendyn --help"
        raise BadInputError(f'Unknown command "{word[:60]}".{hint}\nSee: {shown}')


def _command_words(arguments: Sequence[str]) -> str:
    """Return the leading words that name a known command, each followed by a blank."""
    words = ""
    for word in arguments:
        if word not in names:
            break
        words += word + " "
    return words.replace(MEANFIELD, "simulate --model meanfield")


def _misspelled(arguments: Sequence[str], message: str) -> str:
    """Return a line for each option that its command has not, with the nearest that it has.

    The error itself names such an option only when nothing else is wrong: a misspelled ``--out`` is first of all
    a missing one.
    """
    _, apps, rest = app.parse_commands(list(arguments))
    if apps[-1].default_command is None:
        return ""
    options = rest[: rest.index("--")] if "--" in rest else rest
    known = {name for argument in apps[-1].assemble_argument_collection() for name in argument.names}
    known |= {"--config", "--help", "--model", "--store"}
    lines = ""
    for word in options:
        name = word.partition("=")[0]
        if not name.startswith("--") or name in known or name in message:
            continue
        near = nearest(name, known)
        lines += f"\nUnknown option: {name}." + (f" Did you mean {near}?" if near else "")
    return lines


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
        hint = f"did you mean {near}?" if near else f"see tokendyn {_command_words(words)}--help"
        hint = "give it on the command line" if name in elsewhere else hint
        problems.append(f"unknown key {key!r}; {hint}")
    if problems:
        raise BadInputError.first_of(source, problems, "keys")


def _split_store(arguments: list[str]) -> tuple[list[str], str | None]:
    """Take ``--store`` or ``--store=FOLDER`` out of a command that computes; "" stands for the store by default.

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
