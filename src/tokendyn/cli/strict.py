"""Numbers of options are what is written: the option library would round 3.5 to 4, and read 1_000."""

import math
import re
from collections.abc import Iterable
from typing import Any, get_args

from tokendyn.errors import BadInputError
from tokendyn.experiments.fields import leaves

_WHOLE = re.compile(r"[+-]?[0-9]+")


def strict_numbers(_app: object, _commands: tuple[str, ...], arguments: Iterable[Any]) -> None:
    """Refuse tokens, of the command line or of a configuration file, that are not numbers as their options take them.

    It is called by cyclopts after all tokens are known and before any is converted.

    Raises
    ------
    BadInputError
        If an option of whole numbers is given a fraction, a truth value or anything else; if a number has underscores,
        is NaN, or is so large that it would be read as infinity.
    """
    problems = []
    for argument in arguments:
        kinds = set(leaves(argument.hint))
        if not kinds & {int, float} or kinds & {str, object}:
            continue
        for token in argument.tokens:
            text, implied = str(token.value).strip(), token.implicit_value
            name = token.keyword or argument.name
            if isinstance(implied, bool) and bool not in kinds:
                problems.append(f"{name} takes a number, got {str(implied).lower()}")
            elif float not in kinds and not _WHOLE.fullmatch(text) and not _is_other(text, kinds):
                problems.append(f"{name} takes a whole number, got {text[:60] or 'nothing'}")
            elif "_" in text or not text.isascii():
                problems.append(f"{name} takes a number, got {text[:60]}; write it with digits alone")
            elif float in kinds and _is_beyond(text):
                problems.append(f"{name} takes a number, got {text[:60]}, which is none that a computer holds")
    if problems:
        raise BadInputError.all_of("options", problems) if len(problems) > 1 else BadInputError(problems[0])


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
