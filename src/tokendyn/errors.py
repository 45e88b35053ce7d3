"""The exceptions that a user of tokendyn can meet.

Each message says what was given, what was expected, and the remedy. The command line turns every
:class:`TokendynError` into one line on standard error and its ``exit_code``.
"""

from collections.abc import Collection, Iterable

#: Problems of one input that are listed before the rest is only counted.
LISTED = 10


def listing(values: Collection[object]) -> str:
    """Return the first ``LISTED`` values with commas between, and ", ..." if there are more.

    Examples
    --------
    >>> from tokendyn.errors import listing
    >>> listing(range(12))
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...'
    """
    shown = [str(value) for value, _ in zip(values, range(LISTED), strict=False)]
    return ", ".join([*shown, "..."] if len(values) > LISTED else shown)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like the given one, whatever the case of its letters; None if none does.

    Examples
    --------
    >>> from tokendyn.errors import nearest
    >>> nearest("Alhpa", ["alpha", "beta"]), nearest("x", ["alpha", "beta"])
    ('alpha', None)
    """
    import difflib

    folded = {other.strip().casefold(): other for other in known}
    close = difflib.get_close_matches(name.strip().casefold(), folded, n=1)
    return folded[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the known name that looks most like the given one; nothing if none does.

    Examples
    --------
    >>> from tokendyn.errors import did_you_mean
    >>> did_you_mean("Alhpa", ["alpha", "beta"])
    "; did you mean 'alpha'?"
    """
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else ""


class TokendynError(Exception):
    """Base of every error that tokendyn raises on purpose."""

    exit_code = 1


class BadInputError(TokendynError, ValueError):
    """The input cannot be used as given: wrong shape, NaN, empty, unreadable, out of range.

    Examples
    --------
    >>> from tokendyn.errors import BadInputError
    >>> print(BadInputError.all_of("tokens.csv", ["line 2 is empty", "line 5 holds 'x'"]))
    tokens.csv: 2 problems
      - line 2 is empty
      - line 5 holds 'x'
    """

    exit_code = 2

    @classmethod
    def first_of(cls, what: str, problems: list[str], kind: str) -> "BadInputError":
        """Return one error that lists the first ``LISTED`` problems and counts the other lines, files or rows."""
        more = [f"and {len(problems) - LISTED} more {kind}"] if len(problems) > LISTED else []
        return cls.all_of(what, problems[:LISTED] + more, len(problems))

    @classmethod
    def all_of(cls, what: str, problems: list[str], count: int | None = None) -> "BadInputError":
        """Return one error that lists every problem found in ``what``; ``count`` of them when lines stand for more."""
        if len(problems) == 1:
            return cls(f"{what}: {problems[0]}")
        return cls(f"{what}: {count or len(problems)} problems\n" + "\n".join(f"  - {p}" for p in problems))


class MissingLibraryError(TokendynError, ImportError):
    """A library of an extra is needed and not installed."""

    exit_code = 2


class SingularError(TokendynError):
    """A matrix maps a token to zero along the flow, so that its velocity is not defined."""


class ConvergenceError(TokendynError):
    """An iteration ended without an answer that can be certified."""


class ScaleError(BadInputError):
    """Numbers are so large that products of them overflow float64."""


class TheoremError(BadInputError):
    """The input is allowed, but lies outside the theorem, and strict use was requested."""


class OutputError(TokendynError):
    """A result could not be written (full disk, no permission, the target exists)."""

    exit_code = 2
