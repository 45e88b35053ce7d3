"""Numbers in sentences: with a noun in its form, and times in the unit that fits."""

#: Seconds of the units in which times are shown, the longest first; months and years have no fixed length.
_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def counted(number: int, noun: str) -> str:
    """Return a number and a noun in its form.

    Examples
    --------
    >>> from tokendyn.words import counted
    >>> counted(1, "cluster"), counted(2, "cluster")
    ('1 cluster', '2 clusters')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some_are(number: int, whole: int, noun: str) -> str:
    """Return a count out of a total, with the verb in its form.

    Examples
    --------
    >>> from tokendyn.words import some_are
    >>> some_are(1, 6, "run") + " missing", some_are(2, 6, "run") + " missing"
    ('1 of 6 runs is missing', '2 of 6 runs are missing')
    """
    return f"{number} of {counted(whole, noun)} {'is' if number == 1 else 'are'}"


def percent(share: float) -> str:
    """Return a share in percent, to a tenth.

    Examples
    --------
    >>> from tokendyn.words import percent
    >>> percent(0.9)
    '90.0 %'
    """
    return f"{100 * share:.1f} %"


def unit_below(seconds: float) -> tuple[str, float]:
    """Return the longest unit that is no longer than a time, and its seconds; the second for shorter times."""
    length, noun = next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])
    return noun, length


def duration(seconds: float) -> str:
    """Return a time in days, hours, minutes or seconds: the longest of which it holds one.

    Examples
    --------
    >>> from tokendyn.words import duration
    >>> duration(86400), duration(5400), duration(90), duration(0.25)
    ('1 day', '1.5 hours', '1.5 minutes', '0.25 seconds')
    """
    length, noun = next((unit for unit in _UNITS if abs(seconds) >= unit[0]), _UNITS[-1])
    shown = f"{seconds / length:.4g}"
    return f"{shown} {noun}" if shown == "1" else f"{shown} {noun}s"
