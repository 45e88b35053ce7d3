"""Values of options are what is written: the option library would round 3.5 to 4, read 1_000, and take "" as a path."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from tokendyn.errors import BadInputError
from tokendyn.experiments.fields import leaves

_WHOLE = re.compile(r"[+-]?[0-9]+")
#: A number with what is often written around it: quotation marks, a per cent sign, a unit.
_NUMBER = re.compile(r"([-+]?[\d.,]+(?:e[-+]?\d+)?)\s*([a-z%°]*)", re.IGNORECASE)
#: Quotation marks of typography, which a shell takes for letters.
QUOTES = "\u2018\u2019\u201c\u201d\u00ab\u00bb"


def strict_numbers(_app: object, _commands: tuple[str, ...], arguments: Iterable[Any]) -> None:
    """Refuse tokens, of the command line or of a configuration file, that are not what their options take.

    It is called by cyclopts after all tokens are known and before any is converted.

    Raises
    ------
    BadInputError
        If an option of whole numbers is given a fraction, a truth value or anything else; if a seed is negative; if a
        number has underscores, is NaN, or is so large that it would be read as infinity; if the name of a file or a
        folder is empty.
    """
    problems = []
    for argument in arguments:
        kinds = set(leaves(argument.hint))
        if Path in kinds and any(str(token.value).strip() == "" for token in argument.tokens):
            problems.append(f"{argument.name} is empty; give the name of a file or a folder")
        if not kinds & {int, float} or kinds & {str, object}:
            continue
        for token in argument.tokens:
            text, implied = str(token.value).strip(), token.implicit_value
            name = token.keyword or argument.name
            if isinstance(implied, bool) and bool not in kinds:
                problems.append(f"{name} takes a number, got {str(implied).lower()}")
            elif float not in kinds and not _WHOLE.fullmatch(text) and not _is_other(text, kinds):
                hint = as_number(name, text, whole=True)
                problems.append(f"{name} takes a whole number, got {text[:60] or 'nothing'}{hint}")
            elif argument.name == "--seed" and text.startswith("-"):
                problems.append(f"{name} takes a whole number, zero or more, got {text[:60]}")
            elif "_" in text or not text.isascii():
                problems.append(f"{name} takes a number, got {text[:60]}; write it with digits alone")
            elif float in kinds and _is_beyond(text):
                problems.append(f"{name} takes a number, got {text[:60]}, which is none that a computer holds")
    if problems:
        raise BadInputError.all_of("options", problems) if len(problems) > 1 else BadInputError(problems[0])


def as_number(name: str, value: str, *, whole: bool = False) -> str:
    """Return how a number with a comma, a per cent sign or a unit is written; nothing if there is no number.

    Examples
    --------
    >>> from tokendyn.cli.strict import as_number
    >>> as_number("--alpha", "0,5"), as_number("--alpha", "50%"), as_number("--time", "5s"), as_number("--time", "long")
    ('; write --alpha 0.5', '; write --alpha 0.5', '; write --time 5', '')
    >>> as_number("--layers", "1e3", whole=True), as_number("--layers", "2.5", whole=True)
    ('; write --layers 1000', '')
    """
    match = _NUMBER.fullmatch(value.strip(QUOTES + " '\""))
    if match is None:
        return ""
    # 1,000.5 separates thousands, and 0,5 is a decimal comma; 1,000 may be either.
    digits = match[1].replace(",", "" if "." in match[1] or whole else ".")
    try:
        number = float(digits) / (100 if match[2] == "%" else 1)
    except ValueError:
        return ""
    if not math.isfinite(number) or (whole and number != int(number)):
        return ""
    return f"; write {name} {int(number) if whole else f'{number:.12g}'}"


def _is_beyond(text: str) -> bool:
    """Return whether a text is read as NaN, or as infinity without saying so, such as 1e400."""
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isnan(value) or (math.isinf(value) and "inf" not in text.lower())


def _is_other(text: str, kinds: set[Any]) -> bool:
    """Return whether a text is meant for another type of the hint than int: none, or a word of a literal."""
    if type(None) in kinds and text.lower() in ("none", "null"):
        return True
    return any(text in map(str, get_args(kind)) for kind in kinds)
