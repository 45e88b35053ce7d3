"""Words of a text, with their positions in the original text."""

import functools
import re
import unicodedata
from collections.abc import Sequence

# Tags and entities separate words but are not words; they begin with "<" or "&", and no word does.
_MARKUP = r"</?[A-Za-z][^<>]{0,500}>|<!--[^<>]*-->|&(?:[A-Za-z]{2,8}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});"
MARKUP_STARTS = "<&"
BREAKS = ".!?;:\u2026\u0964\u061f\u061b\u3002\uff01\uff1f\uff1b\uff1a"
APOSTROPHES = "\u2019\u02bc\uff07"
_ORDINARY = 40  # longer words are not cached, so that the cache stays small
_STRAIGHT = str.maketrans(APOSTROPHES, "'" * len(APOSTROPHES))


def find_words(text: str) -> list[tuple[str, int, int]]:
    """Return the words of a text in order as (word, start, end), where ``text[start:end]`` is the written form.

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
        (word_of(match[0]), *match.span()) for match in pattern().finditer(text) if match[0][0] not in MARKUP_STARTS
    ]


def word_of(surface: str) -> str:
    """Return :func:`normal_form`, from a cache for words of ordinary length."""
    return _remembered(surface) if len(surface) <= _ORDINARY else normal_form(surface)


def normal_form(surface: str) -> str:
    """Return the word that a written form stands for."""
    return unicodedata.normalize("NFC", surface.lower().translate(_STRAIGHT))


@functools.lru_cache(maxsize=2**15)
def _remembered(surface: str) -> str:
    """Return :func:`normal_form` from a cache."""
    return normal_form(surface)


class Lexicon(dict[str, int]):
    """Words numbered from 0 in order; a dictionary from written forms to these numbers.

    Bulk counting meets the same written forms again and again, so each is normalised only once.
    Markup and sentence marks have the number -1.

    Parameters
    ----------
    known
        Words with their numbers; none by default. New words are added to it.
    """

    def __init__(self, known: dict[str, int] | None = None) -> None:
        super().__init__()
        self.numbers: dict[str, int] = {} if known is None else known

    def __missing__(self, surface: str) -> int:
        number = -1 if surface[0] in MARKUP_STARTS + BREAKS else self.number(normal_form(surface))
        if len(surface) <= _ORDINARY:
            self[surface] = number
        return number

    def number(self, word: str) -> int:
        """Return the number of a word in normal form."""
        return self.numbers.setdefault(word, len(self.numbers))

    def encode(self, text: str) -> Sequence[int]:
        """Return the numbers of the words of a text in order: those of :func:`find_words`."""
        numbers = [self[surface] for surface in pattern().findall(text)]
        return [number for number in numbers if number >= 0] if -1 in numbers else numbers


@functools.cache
def pattern(*, breaks: bool = False) -> re.Pattern[str]:
    r"""Return the pattern of a word, a piece of markup or, optionally, marks that end a sentence.

    Every alternative is linear in the text's length.

    Python's ``\w`` lacks most combining marks, without which Hindi or decomposed accents fall apart.
    """
    mark, plain = f"[{_as_ranges(combining_marks())}]", r"[^\W_]"
    apostrophe = f"['{APOSTROPHES}]"
    ends = f"|[{BREAKS}]+" if breaks else ""
    return re.compile(f"{_MARKUP}|{plain}+(?:{mark}+{plain}*|{apostrophe}{plain}+)*{ends}")


@functools.cache
def combining_marks() -> list[int]:
    """Return the marks (Mn, Mc) of the Basic Multilingual Plane, ascending."""
    return [code for code in range(0x300, 0x10000) if unicodedata.category(chr(code)) in ("Mn", "Mc")]


def _as_ranges(codes: list[int]) -> str:
    """Return ascending code points as the body of a character class."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\u{low:04x}-\\u{high:04x}" for low, high in ranges)
