"""The command line: a thin layer that reads arguments, calls the library and says what was done.

Exit codes: 0 done; 1 failed or diverged; 2 bad input or usage; 130 interrupted.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError
from cyclopts.config import Toml

import tokendyn
from tokendyn.errors import BadInputError, TokendynError

INTERRUPTED = 130

app = App(
    name="tokendyn",
    help="Transformers as dynamical systems: run them, see the leaders, classify texts and ask why.",
    version=tokendyn.__version__,
    help_epilogue="Every command takes --config FILE.toml for its options. Start with: tokendyn demo",
)
app.command("tokendyn.cli.simulate:simulate", name="simulate")
sentiment = App(name="sentiment", help="Train a text classifier that explains itself by its leader words.")
for _name in ("train", "predict", "explain"):
    sentiment.command(f"tokendyn.cli.sentiment:{_name}", name=_name)
app.command(sentiment)
app.command("tokendyn.cli.report:report", name="report")
app.command("tokendyn.cli.demo:demo", name="demo")
app.command("tokendyn.cli.doctor:doctor", name="doctor")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are one message, never a traceback."""
    try:
        rest, config = _split_config(list(arguments))
        app.config = config
        code = app(rest, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _say(f"{error}\nSee: tokendyn {_command_words(arguments)}--help")
        return BadInputError.exit_code
    except TokendynError as error:
        _say(str(error))
        return error.exit_code
    except MemoryError:
        _say("not enough memory for this run; use fewer tokens or layers")
        return TokendynError.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        _say("interrupted; nothing unfinished was left under a final name")
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _say(message: str) -> None:
    print(f"tokendyn: {message.strip()}", file=sys.stderr)


def _command_words(arguments: Sequence[str]) -> str:
    """Return the leading words that name a known command, each followed by a blank."""
    words = ""
    known = {"simulate", "sentiment", "report", "demo", "doctor", "train", "predict", "explain"}
    for word in arguments:
        if word not in known:
            break
        words += word + " "
    return words


def _split_config(arguments: list[str]) -> tuple[list[str], tuple[Toml, ...]]:
    """Take ``--config FILE`` out of the arguments; its keys are the options of the command."""
    for place, word in enumerate(arguments):
        if word == "--":
            break
        name, joined, value = word.partition("=")
        if name != "--config":
            continue
        if not joined and place + 1 == len(arguments):
            raise BadInputError("--config needs the path of a TOML file")
        path = Path(value if joined else arguments[place + 1])
        _check_toml(path)
        rest = arguments[:place] + arguments[place + (1 if joined else 2) :]
        return rest, (Toml(path, use_commands_as_keys=False, must_exist=True),)
    return arguments, ()


def _check_toml(path: Path) -> None:
    import tomllib

    try:
        tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInputError(f"--config {path} cannot be read as TOML: {error}") from None
