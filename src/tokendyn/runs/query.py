"""Conditions on runs, such as ``alpha > 0.5 and status = completed``: a small language, turned into SQL.

Nothing of the text reaches SQL but the shape: names and values are bound parameters.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tokendyn.errors import BadInputError

#: What every run has beside its options and results.
COLUMNS = ("id", "command", "status", "seed", "seconds", "finished", "error", "attempts", "code")

#: Those of them that are texts: an id may look like a number.
_TEXTS = frozenset({"id", "command", "status", "finished", "error", "code"})

_TOKEN = re.compile(
    r"""\s*(?:(?P<operator><=|>=|!=|==|[<>=()])|(?P<quoted>"[^"]*"|'[^']*')"""
    r"""|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.,;:+-]))|(?P<word>[\w.,;:+/\[\]-]+))"""
)
_COMPARISONS = {"=": "=", "==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_FORM = 'expected a form such as "alpha > 0.5 and (status = completed or not strict = true)"'
_MOST_CHARACTERS, _MOST_TOKENS, _MOST_DEPTH = 2000, 400, 40


@dataclass(frozen=True)
class Condition:
    """A condition as SQL.

    Attributes
    ----------
    sql, values
        The expression, and what its question marks stand for.
    names
        The options and results in the query.
    """

    sql: str = "1"
    values: tuple[str | float | int, ...] = ()
    names: frozenset[str] = field(default_factory=frozenset)

    def joined(self, word: str, other: "Condition") -> "Condition":
        """Return both conditions joined by AND or OR."""
        return Condition(
            sql=f"({self.sql} {word} {other.sql})", values=self.values + other.values, names=self.names | other.names
        )


def parse(text: str) -> Condition:
    """Return the condition that a text states.

    Comparisons are ``= != < <= > >=``, joined by ``and``, ``or``, ``not`` and parentheses; values are numbers, words or
    quoted texts, ``true``, ``false`` and ``none``.

    Raises
    ------
    BadInputError
        If the text does not state one; the message says where it goes wrong.
    """
    if len(text) > _MOST_CHARACTERS:
        raise BadInputError(f"the condition has {len(text)} characters; at most {_MOST_CHARACTERS} are read")
    reader = _Reader(_tokens(text), text)
    condition = reader.alternatives(0)
    if reader.next is not None:
        raise reader.wrong()
    return condition


def _tokens(text: str) -> list[tuple[str, str]]:
    start, tokens = 0, []
    while text[start:].strip():
        match = _TOKEN.match(text, start)
        if match is None or match.lastgroup is None:
            raise BadInputError(f"cannot read the condition from {text[start : start + 30].strip()!r} on; {_FORM}")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        start = match.end()
    if not tokens or len(tokens) > _MOST_TOKENS:
        raise BadInputError(f"the condition has {len(tokens)} words, expected 1 to {_MOST_TOKENS}; {_FORM}")
    return tokens


class _Reader:
    """Reads tokens from left to right; ``not`` binds before ``and``, ``and`` before ``or``."""

    def __init__(self, tokens: list[tuple[str, str]], text: str) -> None:
        self.tokens, self.text, self.place = tokens, text, 0

    @property
    def next(self) -> tuple[str, str] | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def wrong(self) -> BadInputError:
        at = "its end" if self.next is None else repr(self.next[1][:30])
        return BadInputError(f"the condition {self.text[:80]!r} goes wrong at {at}; {_FORM}")

    def take(self, *words: str) -> bool:
        if self.next is not None and self.next[0] != "quoted" and self.next[1].lower() in words:
            self.place += 1
            return True
        return False

    def alternatives(self, depth: int) -> Condition:
        return self._chain("or", self._all, depth)

    def _all(self, depth: int) -> Condition:
        return self._chain("and", self._one, depth)

    def _chain(self, word: str, part: Callable[[int], Condition], depth: int) -> Condition:
        condition = part(depth)
        while self.take(word):
            condition = condition.joined(word.upper(), part(depth))
        return condition

    def _one(self, depth: int) -> Condition:
        if depth > _MOST_DEPTH:
            raise BadInputError(f"the condition is nested more than {_MOST_DEPTH} deep; write it flatter")
        if self.take("not"):
            inner = self._one(depth + 1)
            return Condition(sql=f"(NOT {inner.sql})", values=inner.values, names=inner.names)
        if self.take("("):
            inner = self.alternatives(depth + 1)
            if not self.take(")"):
                raise self.wrong()
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        kind, name = self.next or ("", "")
        if kind != "word" or not _NAME.fullmatch(name):
            raise self.wrong()
        self.place += 1
        sign = next((sign for sign in _COMPARISONS if self.take(sign)), None)
        if sign is None or self.next is None or self.next[0] == "operator":
            raise self.wrong()
        kind, text = self.next
        self.place += 1
        return _compared(name.replace("-", "_"), _COMPARISONS[sign], kind, text)


def _compared(name: str, sign: str, kind: str, text: str) -> Condition:
    """Return one comparison; it is false, never unknown, for runs that lack the name or hold another kind of value."""
    values: tuple[str, ...] = ()
    if name in COLUMNS:
        value, names = f'"{name}"', frozenset[str]()
    else:
        path = f'$."{name}"'
        value, values = "coalesce(json_extract(config, ?), json_extract(results, ?))", (path, path)
        names = frozenset({name})
    word = text.lower() if kind == "word" else ""
    if word in ("none", "null") and sign in ("=", "!="):
        return Condition(sql=f"({value} IS {'NOT ' * (sign == '!=')}NULL)", values=values, names=names)
    if (word in ("true", "false") or kind == "number") and name not in _TEXTS:
        number = float(text) if kind == "number" else int(word == "true")
        sql = f"(coalesce(typeof({value}) IN ('integer', 'real') AND {value} {sign} ?, 0))"
        return Condition(sql=sql, values=(*values, *values, number), names=names)
    plain = text[1:-1] if kind == "quoted" else text
    return Condition(sql=f"(coalesce(CAST({value} AS TEXT) {sign} ?, 0))", values=(*values, plain), names=names)
