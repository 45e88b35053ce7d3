"""A known word for a misspelt one: drawn-out letters, or one slip of the keyboard."""

import re
from collections.abc import Iterator, Mapping

#: Texts that hold a word which may stand for a misspelt one: rare words are names as often as words.
FREQUENT = 20
#: Letters of a word in which a slip is looked for: of short words too many are one slip from another.
_LONG = 5
#: How many times as frequent as any other candidate the chosen one must be.
_CLEAR = 10
_DRAWN_OUT = re.compile(r"(.)\1{2,}")


class Spelling:
    """Frequent words, to find the one that an unknown word was probably meant to be.

    Drawn-out letters come first: "goooood" is "good" and "sooo" is "so". Then words of the same first letter that one
    slip makes: a letter left out, put in, changed or swapped with the next. Among several, one must be ten times as
    frequent as all others. The index of the words is made when it is first needed.

    Parameters
    ----------
    frequencies
        The known words, and how many texts hold each.
    """

    def __init__(self, frequencies: Mapping[str, int]) -> None:
        self.frequencies = {word: count for word, count in frequencies.items() if count >= FREQUENT}
        self._index: dict[str, list[str]] | None = None

    def meant(self, word: str) -> str | None:
        """Return the known word that an unknown one stands for, None if that is not clear."""
        known = self.frequencies
        if _DRAWN_OUT.search(word):
            forms = (_DRAWN_OUT.sub(r"\1\1", word), _DRAWN_OUT.sub(r"\1", word))
            return next((form for form in forms if form in known), None)
        if len(word) < _LONG or not word.isalpha():
            return None
        if self._index is None:
            self._index = _indexed(known)
        near = {
            other
            for form in (word, *_shortened(word))
            for other in self._index.get(form, ())
            if other[0] == word[0] and is_one_slip(word, other)
        }
        best = sorted(near, key=lambda other: (-known[other], other))[:2]
        if not best or (len(best) > 1 and known[best[0]] < _CLEAR * known[best[1]]):
            return None
        return best[0]


def is_one_slip(word: str, other: str) -> bool:
    """Return whether one letter that is left out, put in, changed or swapped with the next makes one of the other."""
    if word == other or abs(len(word) - len(other)) > 1:
        return False
    at = next((at for at, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    rest, others = word[at:], other[at:]
    swapped = rest[:2] == others[:2][::-1] and rest[2:] == others[2:]
    return swapped or rest[1:] == others[1:] or rest == others[1:] or rest[1:] == others


def _indexed(words: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the words by themselves and by what is left of them without one letter, but not without the first."""
    index: dict[str, list[str]] = {}
    for word in words:
        if len(word) >= _LONG - 1:
            for form in (word, *_shortened(word)):
                index.setdefault(form, []).append(word)
    return index


def _shortened(word: str) -> Iterator[str]:
    """Yield a word without each of its letters but the first."""
    return (word[:at] + word[at + 1 :] for at in range(1, len(word)))
