"""The measures of many texts as a table of numbers: one row a text, a named group of columns a measure.

A row does not depend on the other texts, so that rows can be computed in any order and by any process. What does, the
cosines across texts, is computed from the rows.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tokendyn.models.measures import TextMeasures
from tokendyn.runs.rows import Rows

#: Fields of a text that are as long as the text: they are kept of the first one alone.
BY_TOKEN = ("states", "received", "sinks")
#: Between the parts of the name of a measure, such as ``shapes/model/within``.
_JOINT = "/"


@dataclass(frozen=True)
class Layout:
    """Where each measure lies in a row.

    Attributes
    ----------
    columns
        By name the first column, and the shape.
    """

    columns: Mapping[str, tuple[int, tuple[int, ...]]]

    @classmethod
    def of(cls, first: TextMeasures, *others: TextMeasures) -> "Layout":
        """Return the layout of the measures that all texts have; those of a model have the same."""
        common = [{name for name, _ in _measures(text)} for text in others]
        columns: dict[str, tuple[int, tuple[int, ...]]] = {}
        start = 0
        for name, values in _measures(first):
            if all(name in names for names in common):
                columns[name] = start, values.shape
                start += values.size
        return cls(columns)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Layout":
        """Return the layout that :meth:`record` wrote."""
        return cls({name: (int(start), tuple(map(int, shape))) for name, (start, shape) in record.items()})

    def record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: [start, list(shape)] for name, (start, shape) in self.columns.items()}

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return sum(int(np.prod(shape, dtype=np.int64)) for _, shape in self.columns.values())

    def row(self, measured: TextMeasures) -> Float[np.ndarray, " width"]:
        """Return the row of a text; NaN for measures that were not requested."""
        row = np.full(self.width, np.nan)
        for name, values in _measures(measured):
            if name in self.columns:
                start, shape = self.columns[name]
                assert values.shape == shape  # every text of a model has the same measures
                row[start : start + values.size] = values.ravel()
        return row

    def part(self, rows: Float[np.ndarray, "_ width"], name: str) -> np.ndarray:
        """Return one measure of some rows."""
        start, shape = self.columns[name]
        size = int(np.prod(shape, dtype=np.int64))
        return rows[:, start : start + size].reshape(len(rows), *shape)

    def under(self, *parts: str) -> list[str]:
        """Return the next parts of the names that begin with some parts, each once, in their order."""
        begin = _JOINT.join((*parts, ""))
        names = (name.removeprefix(begin).partition(_JOINT)[0] for name in self.columns if name.startswith(begin))
        return list(dict.fromkeys(names))

    def __contains__(self, name: str) -> bool:
        return name in self.columns


@dataclass(frozen=True)
class Table:
    """The rows of some texts.

    Attributes
    ----------
    rows
        Of all texts.
    layout
        Of a row.
    first, end
        Which of the rows.
    """

    rows: Rows
    layout: Layout
    first: int
    end: int

    @classmethod
    def of(cls, texts: Iterable[TextMeasures]) -> "Table":
        """Return the table of texts in memory."""
        measured = list(texts)
        layout = Layout.of(*measured)
        rows = Rows(len(measured), layout.width)
        for number, text in enumerate(measured):
            rows.write(number, layout.row(text))
        return cls(rows, layout, 0, len(measured))

    def __len__(self) -> int:
        return self.end - self.first

    def chunks(self) -> Iterator[tuple[slice, Float[np.ndarray, "_ width"]]]:
        """Yield some rows at a time, with their numbers in this table."""
        for start, rows in self.rows.chunks(self.first, self.end):
            yield slice(start - self.first, start - self.first + len(rows)), rows

    def total(self) -> Float[np.ndarray, " width"]:
        """Return the sum of the rows."""
        total = np.zeros(self.layout.width)
        for _, rows in self.chunks():
            total += rows.sum(axis=0)
        return total


def joined(*parts: str) -> str:
    """Return the name of a measure from its parts."""
    return _JOINT.join(parts)


def _measures(measured: TextMeasures) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the measures of a text that do not depend on its length, by name."""
    for field in dataclasses.fields(measured):
        if field.name != "tokens" and field.name not in BY_TOKEN:
            yield from _flat(field.name, getattr(measured, field.name))


def _flat(name: str, value: Any) -> Iterator[tuple[str, np.ndarray]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        parts: Iterable[tuple[str, Any]] = value.items()
    elif isinstance(value, tuple):
        parts = ((str(number), part) for number, part in enumerate(value))
    elif dataclasses.is_dataclass(value):
        parts = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    else:
        yield name, np.asarray(value, dtype=np.float64)
        return
    for key, part in parts:
        yield from _flat(joined(name, str(key)), part)
