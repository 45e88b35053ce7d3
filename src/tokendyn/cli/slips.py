"""Mistakes in the options of a command: what is wrong, how it is written, and the whole command that works."""

import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, get_args

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from tokendyn.cli.commands import MEANFIELD, app, examples, names
from tokendyn.cli.strict import QUOTES, as_number
from tokendyn.errors import BadInputError, nearest

#: What other programs call an option, by the names that commands here have; the first that a command has is meant.
_OTHER_NAMES = {
    "beta": ("softmax",), "delete": ("overwrite",), "dest": ("out",), "epoch": ("epochs",), "f": ("overwrite",),
    "force": ("overwrite",), "inverse-temperature": ("beta", "softmax"), "j": ("workers",), "jobs": ("workers",),
    "n": ("dry-run",), "o": ("out",), "output": ("out",), "outdir": ("out",), "random-state": ("seed",),
    "replace": ("overwrite",), "s": ("seed",), "steps": ("layers", "horizon"), "temperature": ("beta", "softmax"),
    "threads": ("workers",), "y": ("yes", "overwrite"),
}  # fmt: skip
#: Options that no command needs, and what there is.
_NOT_NEEDED = {
    "debug": "a fault writes its record into a file, and says so",
    "quiet": "redirect standard error: 2> /dev/null",
    "verbose": "every command says what it does, and --json is for programs",
}
#: Dashes of typography, which programs that write texts put in place of one or two plain ones.
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
#: Mistakes of one command line that are mended at most.
_MOST = 6

#: What is wrong, and the words in which it is right; None where only the user knows.
_Mended = tuple[str, list[str] | None]


def answer(error: CycloptsError, words: Sequence[str], more: Sequence[str] = ()) -> str:
    """Return the message for a command line that cannot be read.

    It names every mistake, says where help is, and ends with the command line mended, if that can be read.

    Parameters
    ----------
    error
        What the option library found first.
    words
        The command line.
    more
        Words that were taken out of it before, such as ``--config FILE``.
    """
    problems: list[str] = []
    line: list[str] = list(words)
    remaining: CycloptsError | None = error
    mended = False
    while remaining is not None and len(problems) < _MOST:
        problem, better = _mended(remaining, line)
        problems.append(problem)
        mended = better is not None
        if better is None:
            break
        line, remaining = better, _error_of(better)
    if mended and remaining is None:
        problems.append(f"Write: tokendyn {_typed([*line, *more])}")
    return "\n".join([*dict.fromkeys(problems), f"See: tokendyn {command_words(words)}--help"])


def wrong_model(value: str, words: Sequence[str], models: Sequence[str]) -> str:
    """Return the message for a ``--model`` of ``simulate`` that does not exist; it decides which options there are."""
    near = nearest(value, models)
    if near is None:
        return f'--model of simulate has no "{value[:60]}"; it takes {" or ".join(models)}'
    meant = [near if word == value else f"--model={near}" if word == f"--model={value}" else word for word in words]
    return f'--model of simulate has no "{value[:60]}"; did you mean {near}?\nWrite: tokendyn {_typed(meant)}'


def command_words(arguments: Sequence[str]) -> str:
    """Return the leading words that name a known command, each followed by a blank."""
    words = ""
    for word in arguments:
        if word not in names:
            break
        words += word + " "
    return words.replace(MEANFIELD, "simulate --model meanfield")


def _typed(words: Sequence[str]) -> str:
    """Return words as typed in a shell."""
    if words[:1] == [MEANFIELD]:
        rest = words[1:]
        named = any(word.partition("=")[0] in ("--model", "--weights") for word in rest)
        return shlex.join(["simulate", *([] if named else ["--model", "meanfield"]), *rest])
    return shlex.join(words)


def _error_of(words: list[str]) -> CycloptsError | None:
    """Return the faults of a command line; None if it can be read as far as the option library reads it."""
    try:
        app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return error
    except BadInputError:  # a number out of range: its own message follows when the line is typed
        return None
    return None


def _options(words: Sequence[str]) -> set[str]:
    """Return the options of the command that some words name."""
    _, apps, _ = app.parse_commands(list(words))
    if apps[-1].default_command is None:
        return set()
    own = {name for argument in apps[-1].assemble_argument_collection() for name in argument.names}
    return own | {"--config", "--help", "--model", "--store"}


def _mended(error: CycloptsError, words: list[str]) -> _Mended:
    """Return what is wrong, and the words without that mistake.

    A misspelt option comes first: the library takes a misspelt ``--out`` for a missing one.
    """
    known = _options(words)
    end = words.index("--") if "--" in words else len(words)
    for number, word in enumerate(words[:end]) if known else ():
        name = word.partition("=")[0]
        if name.startswith("--") and len(name) > 2 and name not in known:
            return _unknown_option(number, known, words)
    token: Any = getattr(error, "token", None)
    mended: _Mended = str(error), None
    if isinstance(error, MissingArgumentError):
        mended = _missing(error, words), None
    elif isinstance(error, UnknownOptionError) and token is not None:
        name = str(token.keyword).partition("=")[0]
        place = next((n for n, word in enumerate(words) if word.partition("=")[0] == name), None)
        mended = mended if place is None else _unknown_option(place, known, words)
    elif isinstance(error, CoercionError) and token is not None:
        mended = _bad_value(error, words)
    elif isinstance(error, RepeatArgumentError) and token is not None:
        mended = f"{token.keyword} is given twice; give it once", None
    elif isinstance(error, UnusedCliTokensError):
        mended = _too_many([str(word) for word in error.unused_tokens or ()], words, known)
    return mended


def _missing(error: MissingArgumentError, words: Sequence[str]) -> str:
    """Say what a command needs, with its first example that has it."""
    name = error.argument.name if error.argument is not None else "an argument"
    key = " ".join(word for word in words[:2] if word in names)
    lines = examples.get(key) or examples.get(words[0], ()) if words else ()
    fitting = (line for line in lines if not name.startswith("-") or f"{name} " in line)
    example = next((f"\nFor example: {line}" for line in fitting), "")
    if name in words:
        return f"{name} needs a value after it{example}"
    return f"tokendyn {command_words(words).strip()} needs {name}{example}"


def _unknown_option(number: int, known: Collection[str], words: list[str]) -> _Mended:
    """Name the option that was meant, or the variant of ``simulate`` that has it."""
    name, joined, value = words[number].partition("=")
    if name.startswith("-") and not name.startswith("--") and f"-{name}" in known:
        return f"{name} is written with two dashes: -{name}", _with(words, number, f"-{name}{joined}{value}")
    plain = name.lstrip("-").lower().replace("_", "-")
    if plain in _NOT_NEEDED:
        rest = [*words[:number], *words[number + 1 :]]
        return f"Unknown option: {name}. There is none: {_NOT_NEEDED[plain]}", rest
    near = next((f"--{option}" for option in _OTHER_NAMES.get(plain, ()) if f"--{option}" in known), None)
    belongs = _variant_with(name, words)
    said = f"Unknown option: {name}."
    if belongs:
        said += f" It belongs to {belongs}."
    else:
        near = near or _nearest_option(plain, known)
    if near is None:
        return said, None
    return f"{said} Did you mean {near}?", _with(words, number, f"{near}{joined}{value}")


def _nearest_option(plain: str, known: Collection[str]) -> str | None:
    """Return the nearest option; the dashes, which all have, make none look alike."""
    options = {option.lstrip("-"): option for option in known if option.startswith("--")}
    near = nearest(plain, options)
    begun = [option for option in options if option.startswith(plain)] if near is None and len(plain) > 2 else []
    return options[near] if near else options[begun[0]] if len(begun) == 1 else None


def _variant_with(name: str, words: Sequence[str]) -> str:
    """Return the other variant of ``simulate`` if it has an option."""
    if words[:1] == [MEANFIELD]:
        return "simulate --model clustering" if name in _options(["simulate"]) else ""
    return "simulate --model meanfield" if words[:1] == ["simulate"] and name in _options([MEANFIELD]) else ""


def _bad_value(error: CoercionError, words: list[str]) -> _Mended:
    """Say how a value is written: a number with a point and no unit, or a word of a list."""
    token: Any = error.token
    name = str(token.keyword or (error.argument.name if error.argument is not None else ""))
    value = str(token.value)
    number = _number_of(name, value, words)
    if value == "=" and number is not None and number + 1 < len(words):
        rest = [*words[: number - 1], f"{name}={words[number + 1]}", *words[number + 2 :]]
        return f"{name} and its value have no blanks around the sign =", rest
    choices = [str(word) for word in get_args(error.target_type) if isinstance(word, str)]
    if choices:
        near = nearest(value, choices) or nearest(re.sub(r"[^a-z0-9]", "", value.casefold()), choices)
        hint = f"did you mean {near}?" if near else f"it takes {', '.join(choices)}"
        return f'{name} has no "{value[:60]}"; {hint}', _replaced(near or "", name, value, number, words)
    if error.target_type in (float, int):
        hint = as_number(name, value)
        better = hint.rpartition(" ")[2]
        return f'{name} takes a number, got "{value[:60]}"', _replaced(better, name, value, number, words)
    return str(error), None


def _number_of(name: str, value: str, words: Sequence[str]) -> int | None:
    """Return which word is a value, alone or joined to its option."""
    return next((n for n, word in enumerate(words) if word in (value, f"{name}={value}")), None)


def _replaced(better: str, name: str, value: str, number: int | None, words: list[str]) -> list[str] | None:
    if number is None or not better:
        return None
    return _with(words, number, better if words[number] == value else f"{name}={better}")


def _with(words: list[str], number: int, word: str) -> list[str]:
    return [*words[:number], word, *words[number + 1 :]]


def _too_many(unused: list[str], words: list[str], known: Collection[str]) -> _Mended:
    """Return the probable meaning of a word that no option takes."""
    word = unused[0]
    name, joined, value = word.partition("=")
    option = "--" + name.strip(_DASHES + "-").lower().replace("_", "-")
    number = words.index(word) if words.count(word) == 1 else len(words) - 1 - words[::-1].index(word)
    if option in known and (joined or word[:1] in _DASHES) and number >= 0:
        what = "begins with a dash of typography" if word[:1] in _DASHES else "lacks the two dashes of an option"
        return f"{word[:60]} {what}", _with(words, number, f"{option}{joined}{value}")
    if any(mark in other for mark in QUOTES for other in unused):
        return f"{word[:60]} has quotation marks of typography; write straight ones", None
    shown = " ".join(shlex.quote(part[:60]) for part in unused[:5])
    said = f"{shown}: nothing takes {'this word' if len(unused) == 1 else 'these words'}"
    if words[:2] == ["sentiment", "explain"] and words[number - 1 : number] and not words[number - 1].startswith("-"):
        first = number - 1
        text = " ".join([words[first], *unused])
        return f"{said}; a text is put between quotation marks", [*words[:first], text, *words[number + len(unused) :]]
    if len(unused) == 1 and number >= 0 and "--out" in known and "--out" not in words and not Path(word).is_file():
        return f"{said}; what is written goes where --out says", _with(words, number, f"--out={word}")
    return f"{said}; a text or a name with blanks is put between quotation marks", None
