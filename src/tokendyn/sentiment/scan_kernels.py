"""Compiled: the words of many texts, found and looked up in one pass over their code points.

The same words as the pattern of :mod:`tokendyn.sentiment.tokenise` finds. Plain Python outside numba: the
functions below carry no annotations because numba compiles them.
"""

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)

OTHER, LETTER, MARK, APOSTROPHE, BREAK, TAG, ENTITY = range(7)  # kinds of code points
NO_WORD, ASK = -1, -2  # instead of a word's number: markup or end of a sentence; a word to be looked up elsewhere

_EMPTY, _OFFSET, _PRIME = -1, np.uint64(14695981039346656037), np.uint64(1099511628211)  # FNV-1a, 64 bits


@_compiled
def fill_slots(letters, bounds, slots):
    """Enter every word into a table of open addressing; its length is a power of two."""
    last = np.uint64(len(slots) - 1)
    slots[:] = _EMPTY
    for word in range(len(bounds) - 1):
        h = _OFFSET
        for q in range(bounds[word], bounds[word + 1]):
            h = (h ^ np.uint64(letters[q])) * _PRIME
        slot = h & last
        while slots[slot] != _EMPTY:
            slot = (slot + np.uint64(1)) & last
        slots[slot] = word


@_compiled
def small(code):
    """Return an ASCII letter in lower case, any other code point as it is."""
    return code + 32 if 65 <= code <= 90 else code


@_compiled
def look_up(codes, start, end, letters, bounds, slots):
    """Return the index of an ASCII word in the table, -1 if it is missing."""
    last = np.uint64(len(slots) - 1)
    h = _OFFSET
    for q in range(start, end):
        h = (h ^ np.uint64(small(codes[q]))) * _PRIME
    slot = h & last
    while slots[slot] != _EMPTY:
        first = bounds[slots[slot]]
        if bounds[slots[slot] + 1] - first == end - start:
            same = True
            for q in range(end - start):
                same = same and letters[first + q] == small(codes[start + q])
            if same:
                return slots[slot]
        slot = (slot + np.uint64(1)) & last
    return -1


@_compiled
def is_letter(code):
    """Return whether a code point is one of A-Z and a-z."""
    return 65 <= code <= 90 or 97 <= code <= 122


@_compiled
def is_digit(code, hexadecimal):
    """Return whether a code point is a digit."""
    return 48 <= code <= 57 or (hexadecimal and (65 <= code <= 70 or 97 <= code <= 102))


@_compiled
def end_of_tag(codes, start, end):
    """Return the end of ``<...>`` or ``<!--...-->`` that begins at ``start``; ``start`` if there is none."""
    at = start + 1
    comment = end - start > 3 and codes[at] == 33 and codes[at + 1] == 45 and codes[at + 2] == 45
    if comment:
        at += 3
    else:
        if at < end and codes[at] == 47:
            at += 1
        if at >= end or not is_letter(codes[at]):
            return start
        at += 1
    body = at
    while at < end and codes[at] != 60 and codes[at] != 62 and (comment or at - body < 500):
        at += 1
    if at == end or codes[at] != 62:
        return start
    if comment and not (at - body >= 2 and codes[at - 1] == 45 and codes[at - 2] == 45):
        return start
    return at + 1


@_compiled
def end_of_entity(codes, start, end):
    """Return the end of ``&name;`` or ``&#number;`` that begins at ``start``; ``start`` if there is none."""
    at = start + 1
    least, most = 2, 8
    number = at < end and codes[at] == 35
    hexadecimal = False
    if number:
        at += 1
        hexadecimal = at < end and (codes[at] == 120 or codes[at] == 88)
        at += 1 if hexadecimal else 0
        least, most = 1, 6 if hexadecimal else 7
    body = at
    while at < end and at - body < most and (is_digit(codes[at], hexadecimal) if number else is_letter(codes[at])):
        at += 1
    return at + 1 if at - body >= least and at < end and codes[at] == 59 else start


@_compiled
def end_of_word(codes, start, end, kinds):
    """Return the end of the word that begins at ``start``: letters, their marks, apostrophes between letters."""
    at = start
    while at < end:
        kind = kinds[codes[at]]
        if kind == APOSTROPHE and (at + 1 == end or kinds[codes[at + 1]] != LETTER):
            break
        if kind not in (LETTER, MARK, APOSTROPHE):
            break
        at += 1
    return at


@_compiled
def ends_in_nt(codes, start, end):
    """Return whether a word ends in n't."""
    return end - start > 2 and small(codes[end - 3]) == 110 and codes[end - 2] == 39 and small(codes[end - 1]) == 116


@_compiled
def scan(codes, texts, kinds, breaks, letters, bounds, slots, known, others, numbers, starts, ends, sizes):
    """Write number, start and end of every word of every text, :data:`NO_WORD` after each text; return their number.

    ``codes`` holds the texts one after the other, from ``texts[t]`` to ``texts[t + 1]``. The table's word w has the
    number ``known[w]``; a word that is missing has ``others``, or ``others + 1`` if it ends in n't. A word with a code
    point above 127 has :data:`ASK`. Markup, and with ``breaks`` the marks that end a sentence, have :data:`NO_WORD`.
    """
    n = 0
    for t in range(len(texts) - 1):
        begin, end = texts[t], texts[t + 1]
        first = n
        at = begin
        while at < end:
            kind = kinds[codes[at]]
            start = at
            number = NO_WORD
            if kind == LETTER:
                at = end_of_word(codes, start, end, kinds)
                plain = True
                for q in range(start, at):
                    plain = plain and codes[q] < 128
                if not plain:
                    number = ASK
                else:
                    word = look_up(codes, start, at, letters, bounds, slots)
                    negator = (
                        at - start > 2
                        and codes[at - 1] | 32 == 116
                        and codes[at - 2] == 39
                        and codes[at - 3] | 32 == 110
                    )
                    number = known[word] if word >= 0 else others + (1 if negator else 0)
            elif kind == TAG:
                at = end_of_tag(codes, start, end)
            elif kind == ENTITY:
                at = end_of_entity(codes, start, end)
            elif kind == BREAK and breaks:
                while at < end and kinds[codes[at]] == BREAK:
                    at += 1
            if at == start:
                at += 1
                continue
            numbers[n], starts[n], ends[n] = number, start - begin, at - begin
            n += 1
        numbers[n], starts[n], ends[n] = NO_WORD, 0, 0
        n += 1
        sizes[t] = n - first
    return n
