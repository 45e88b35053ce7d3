"""Words of a text, with their places in the original text."""

import functools
import re
import unicodedata
from collections.abc import Sequence

# Tags and entities separate words but are none; they begin with "<" or "&", which no word does.
_MARKUP = r"</?[A-Za-z][^<>]{0,500}>|<!--[^<>]*-->|&(?:[A-Za-z]{2,8}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});"
_APOSTROPHES = "\u2019\u02bc\uff07"
_ORDINARY = 40  # longer words are not remembered, so that the memory stays small
_STRAIGHT = str.maketrans(_APOSTROPHES, "'" * len(_APOSTROPHES))


def find_words(text: str) -> list[tuple[str, int, int]]:
    """Return the words of a text in order, each as (word, start, end): as written it is ``text[start:end]``.

    A word is a run of letters and digits of any script, with its combining marks and inner apostrophes, in
    lower case and composed form (NFC), the curly apostrophe made straight. HTML tags and entities separate
    words. Offsets count code points of ``text`` itself: each match is normalised alone, so a letter whose
    lower case is longer shifts nothing.

    Parameters
    ----------
    text
        Any string; the time is linear in its length.
    """
    return [
        (_remembered(match[0]) if len(match[0]) <= _ORDINARY else normal_form(match[0]), *match.span())
        for match in _pattern().finditer(text)
        if match[0][0] not in "<&"
    ]


def normal_form(surface: str) -> str:
    """Return the word that a written form stands for."""
    return unicodedata.normalize("NFC", surface.lower().translate(_STRAIGHT))


@functools.lru_cache(maxsize=2**15)
def _remembered(surface: str) -> str:
    """Return :func:`normal_form` from memory."""
    return normal_form(surface)


class Lexicon(dict[str, int]):
    """The words met so far, numbered from 0 in order; a dictionary from written forms to these numbers.

    Bulk counting asks for the same written forms again and again, so each is normalised once only.
    Markup has the number -1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, int] = {}

    def __missing__(self, surface: str) -> int:
        number = -1
        if surface[0] not in "<&":
            number = self.numbers.setdefault(normal_form(surface), len(self.numbers))
        self[surface] = number
        return number

    def encode(self, text: str) -> Sequence[int]:
        """Return the numbers of the words of a text in order: those of :func:`find_words`."""
        numbers = [self[surface] for surface in _pattern().findall(text)]
        return [number for number in numbers if number >= 0] if -1 in numbers else numbers


@functools.cache
def _pattern() -> re.Pattern[str]:
    r"""Return the pattern of a word or a piece of markup; every alternative is linear in the text's length.

    Python's ``\w`` lacks most combining marks, without which Hindi or decomposed accents fall apart.
    """
    mark, plain = f"[{_combining_marks()}]", r"[^\W_]"
    apostrophe = f"['{_APOSTROPHES}]"
    return re.compile(f"{_MARKUP}|{plain}+(?:{mark}+{plain}*|{apostrophe}{plain}+)*")


def _combining_marks() -> str:
    """Return the body of a character class of the marks (Mn, Mc) of the Basic Multilingual Plane."""
    ranges: list[list[int]] = []
    for code in range(0x300, 0x10000):
        if unicodedata.category(chr(code)) in ("Mn", "Mc"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\u{low:04x}-\\u{high:04x}" for low, high in ranges)
