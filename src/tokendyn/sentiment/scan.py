"""The known words of many texts at once, by a compiled scan."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int, UInt8, UInt32

from tokendyn.sentiment import scan_kernels
from tokendyn.sentiment.tokenise import APOSTROPHES, BREAKS, combining_marks
from tokendyn.sentiment.tokens import Units

#: Number of code points in one pass, so that memory stays bounded.
_AT_ONCE = 2**22


class WordTable:
    """A fixed set of words with their numbers, to find in texts.

    Parameters
    ----------
    numbers
        The words in normal form with their numbers.
    others
        The number of every other word; ``others + 1`` of one that ends in n't.
    """

    def __init__(self, numbers: dict[str, int], others: int) -> None:
        plain = {word: number for word, number in numbers.items() if word.isascii()}
        self._others = others
        self._known = np.array(list(plain.values()), dtype=np.int64)
        self._letters = np.frombuffer("".join(plain).encode("ascii"), dtype=np.uint8)
        self._bounds = np.concatenate([[0], np.cumsum([len(word) for word in plain], dtype=np.int64)]).astype(np.int64)
        self._slots = np.empty(2 ** (2 * len(plain) + 2).bit_length(), dtype=np.int64)
        scan_kernels.fill_slots(self._letters, self._bounds, self._slots)

    def read(
        self, texts: Sequence[str], number_of: Callable[[str], int], *, breaks: bool, spans: bool, ask: bool = False
    ) -> Units:
        """Return the texts as numbered words.

        ``number_of`` is called for words that are not ASCII, and with ``ask`` for all unknown words, as written.
        """
        parts = [self._read(texts[first:last], number_of, breaks, ask) for first, last in _portions(texts)]
        numbers, starts, ends, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
        bounds = np.stack([starts, ends], axis=1) if spans else None
        return Units(numbers=numbers, rows=np.repeat(np.arange(len(sizes)), sizes), spans=bounds)

    def _read(
        self, texts: Sequence[str], number_of: Callable[[str], int], breaks: bool, ask: bool
    ) -> tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"], Int[np.ndarray, " units"], Int[np.ndarray, " t"]]:
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        codes: UInt32[np.ndarray, " letters"] = np.frombuffer(
            "".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32
        )
        room = np.empty((3, len(codes) + len(texts)), dtype=np.int64)
        sizes = np.empty(len(texts), dtype=np.int64)
        count = scan_kernels.scan(
            codes, bounds, _kinds(), breaks, self._letters, self._bounds, self._slots, self._known, self._others,
            room[0], room[1], room[2], sizes,
        )  # fmt: skip
        numbers, starts, ends = (row[:count].copy() for row in room)
        unknown = np.flatnonzero((numbers == scan_kernels.ASK) | (ask & (numbers == self._others)))
        if len(unknown):
            rows = np.searchsorted(np.cumsum(sizes), unknown, side="right").tolist()
            occurrences = zip(unknown.tolist(), rows, starts[unknown].tolist(), ends[unknown].tolist(), strict=True)
            for unit, row, start, end in occurrences:
                numbers[unit] = number_of(texts[row][start:end])
        return numbers, starts, ends, sizes


def _portions(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Yield runs of texts with a bounded total length, at least one text each."""
    bounds, letters = [0], 0
    for place, text in enumerate(texts):
        letters += len(text)
        if letters > _AT_ONCE and place > bounds[-1]:
            bounds.append(place)
            letters = len(text)
    return list(zip(bounds, [*bounds[1:], len(texts)], strict=True))


@functools.cache
def _kinds() -> UInt8[np.ndarray, " codes"]:
    """Return the kind of each code point in the scan."""
    letters = bytes(map(str.isalnum, map(chr, range(0x110000))))
    kinds = np.frombuffer(letters, dtype=np.uint8) * np.uint8(scan_kernels.LETTER)
    kinds[combining_marks()] = scan_kernels.MARK
    for marks, kind in (
        (APOSTROPHES + "'", scan_kernels.APOSTROPHE),
        (BREAKS, scan_kernels.BREAK),
        ("<", scan_kernels.TAG),
        ("&", scan_kernels.ENTITY),
    ):
        codes = np.array([ord(mark) for mark in marks])
        kinds[codes] = np.where(kinds[codes] == scan_kernels.LETTER, scan_kernels.LETTER, kind)
    return kinds
