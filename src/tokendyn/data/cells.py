"""One cell of a table: whether it is a number, a missing one, or a number that was badly written."""

import re

_DIGITS = frozenset("0123456789")
_NO_DIGITS = str.maketrans("", "", "0123456789.,;_'\u00a0\u2009 %")
_OTHER_NUMBER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|\d+\.?\d*[dD][+-]?\d+)")  # hexadecimal, and as Fortran writes
_MISSING = frozenset({"", "-", "--", "?", "na", "n/a", "#n/a", "null", "none", "nil", "missing", "nan"})


def number_in(cell: str) -> float | None:
    """Return the number in a cell, None for text.

    A number is written with ASCII digits, a point, and an exponent; ``nan``, ``inf`` and ``infinity`` are numbers that
    are not finite. What Python's ``float`` takes beyond that (``1_000``, digits of other scripts) is text.

    Examples
    --------
    >>> from tokendyn.data.cells import number_in
    >>> [number_in(cell) for cell in ("-1.5e3", "1_000", "1,5", "1.2.3")]
    [-1500.0, None, None, None]
    """
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if cell.isascii() and "_" not in cell else None


def not_a_number(cell: str) -> str:
    """Return how to write a cell that was meant as a number; empty if that is not known."""
    if ";" in cell:
        return "; separate columns by commas, and write numbers with a point"
    if "_" in cell or "'" in cell or " " in cell:
        return "; write numbers as 1000, without separators"
    if "," in cell:
        return "; write numbers with a point, such as 1.5"
    return ""


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty, or one of the words that stand for a missing value."""
    return cell.lower() in _MISSING


def like_a_number(cell: str) -> bool:
    """Return whether a text consists of what numbers consist of, such as ``1.2.3``, ``1,5`` or ``1_000``."""
    if _OTHER_NUMBER.fullmatch(cell):
        return True
    return bool(_DIGITS & set(cell)) and not cell.lstrip("+-").translate(_NO_DIGITS)


def is_odd(cell: str) -> bool:
    """Return whether a text is an unlikely name of a column: a missing value, or a number with one wrong letter."""
    if is_missing(cell) or like_a_number(cell):
        return bool(cell)
    letters = cell.lstrip("+-").translate(_NO_DIGITS)
    # "O.5" and "l,5" begin with the letter that stands in place of a digit; "v1" and "x2" are names.
    begins = cell.lstrip("+-.")[:1] in _DIGITS or (letters in "oOlI" and ("." in cell or "," in cell))
    return len(letters) == 1 and begins and bool(_DIGITS & set(cell))
