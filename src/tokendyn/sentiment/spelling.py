"""Known words for misspelt ones: drawn-out letters, or one slip of the keyboard."""

import re
from collections.abc import Iterator, Mapping

#: Least number of texts with a word that may replace a misspelt one: rare words are often names.
FREQUENT = 20
#: Least length of a word with a slip: too many short words differ by one slip.
_LONG = 5
#: Least ratio of the frequency of the chosen word to that of any other candidate.
_CLEAR = 10
_DRAWN_OUT = re.compile(r"(.)\1{2,}")


class Spelling:
    """Frequent words, and a search for the probable meaning of an unknown word.

    Drawn-out letters come first: "goooood" is "good" and "sooo" is "so". Then come words with the same first letter
    that differ by one slip: a letter missing, added, changed or swapped with the next. Among several candidates, the
    word must be ten times as frequent as all others. The index of the words is built at first use.

    Parameters
    ----------
    frequencies
        The known words, and the number of texts that contain each.
    """

    def __init__(self, frequencies: Mapping[str, int]) -> None:
        self.frequencies = {word: count for word, count in frequencies.items() if count >= FREQUENT}
        self._index: dict[str, list[str]] | None = None

    def meant(self, word: str) -> str | None:
        """Return the known word for an unknown one, None if that is not clear."""
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
    """Return whether two words differ by one letter missing, added, changed or swapped with the next."""
    if word == other or abs(len(word) - len(other)) > 1:
        return False
    at = next((at for at, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    rest, others = word[at:], other[at:]
    swapped = rest[:2] == others[:2][::-1] and rest[2:] == others[2:]
    return swapped or rest[1:] == others[1:] or rest == others[1:] or rest[1:] == others


def _indexed(words: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the words by themselves and by their forms without one letter, the first letter excepted."""
    index: dict[str, list[str]] = {}
    for word in words:
        if len(word) >= _LONG - 1:
            for form in (word, *_shortened(word)):
                index.setdefault(form, []).append(word)
    return index


def _shortened(word: str) -> Iterator[str]:
    """Yield a word without each of its letters but the first."""
    return (word[:at] + word[at + 1 :] for at in range(1, len(word)))
