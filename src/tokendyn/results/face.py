"""The one face of all results."""

import html
import math
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tokendyn.errors import BadInputError
from tokendyn.late import function_at
from tokendyn.results.kinds import KINDS
from tokendyn.results.pictures import Bars, Picture, new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tokendyn.show.report import Report

#: The values of ``status``, and their meanings.
STATUSES: dict[str, str] = {
    "completed": "it ended as asked",
    "event": "an event that was asked for ended it",
    "budget": "its budget of time ended it; the best so far is kept",
    "partial": "some of the runs that were asked for are not there yet",
    "out of steps": "the integrator reached its largest number of steps",
    "out of time": "the integrator reached its time limit",
    "diverged": "numbers left all bounds; the finite part is kept",
    "left range": "a forecast went far beyond the range of the data that its model learned; do not trust it",
    "singular": "a matrix mapped a token to zero, so that its velocity is not defined",
    "rounding": "a leader was decided within rounding of a tie, without proof",
    "disagrees": "the run and its prediction differ: trust neither",
    "failed": "a check found something wrong",
}

#: Characters of a short line, and rows of a table that a notebook or a page shows.
_LINE, _ROWS = 120, 200

_CLASSES: dict[str, type["Result"]] = {}

_save = function_at("tokendyn.results.files:save")


class Result(ABC):
    """Base of every result.

    ``str(result)`` is a few sentences, ``repr(result)`` one short line. A notebook shows the sentences and the picture.

    A subclass gives a name to its kind of file (``class Mine(Result, kind="mine")``), has an attribute or property
    ``status`` out of :data:`STATUSES`, and writes :meth:`describe`, :meth:`table` and :meth:`picture`. A dataclass
    saves its fields; ``parts`` names the classes of values inside them that are not results themselves.

    Examples
    --------
    >>> import tokendyn as td
    >>> run = td.simulate([[2.0, 0.0], [0.0, 1.0], [1.0, 0.5]], layers=30)
    >>> run.status
    'completed'
    >>> print(str(run).splitlines()[0])
    3 tokens in 2 dimensions, 30 layers of hardmax, alpha = 0.5: 2 clusters at the end
    """

    #: Name in saved files.
    kind: ClassVar[str] = ""
    #: Dataclasses and named tuples inside the fields, which are saved with them.
    parts: ClassVar[tuple[type, ...]] = ()

    def __init_subclass__(cls, *, kind: str = "", **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        # ``dataclass`` writes a __repr__ with all entries of all arrays, unless the class has one of its own.
        if "__repr__" not in vars(cls):
            cls.__repr__ = Result.__repr__  # type: ignore[method-assign]
        if not kind:
            return
        # Not as one text: a text that begins with the package names modules that whoever imports this may load.
        home = ".".join(("tokendyn", KINDS[kind])) if kind in KINDS else cls.__module__
        if cls.__module__ != home:
            raise TypeError(f"{cls.__qualname__}: the kind {kind!r} belongs to {home}; choose another")
        known = _CLASSES.get(kind)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"{cls.__qualname__}: the kind {kind!r} belongs to {known.__module__}.{known.__qualname__}")
        cls.kind = kind
        _CLASSES[kind] = cls

    if TYPE_CHECKING:
        # Not at run time: ``dataclass`` would take the property for the default of a field of this name.
        @property
        def status(self) -> str:
            """How it ended: a word of :data:`STATUSES`."""

    @abstractmethod
    def describe(self) -> list[str]:
        """Return the result in a few sentences."""

    @abstractmethod
    def table(self) -> "pd.DataFrame":
        """Return the result as a table."""

    @abstractmethod
    def picture(self) -> Picture:
        """Return the content of :meth:`plot` as plain values."""

    def summary(self) -> dict[str, Any]:
        """Return the result in numbers and words; by default the fields that are such."""
        facts: dict[str, Any] = {"status": self.status}
        me: Any = self
        if is_dataclass(me):
            facts |= {field.name: getattr(me, field.name) for field in fields(me)}
        return {name: value for name, value in facts.items() if isinstance(value, bool | int | float | str)}

    def __str__(self) -> str:
        return "\n".join(self.describe())

    def __repr__(self) -> str:
        return one_line(type(self).__name__, {"status": self.status, **self.summary()})

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw the result.

        Parameters
        ----------
        ax
            Axes to draw in; by default those of a new figure, which pyplot does not know. Sizes, colours and fonts are
            those of the user's style (``matplotlib.rcParams``).

        Returns
        -------
        The figure: ``result.plot().savefig("result.png")``.

        Raises
        ------
        BadInputError
            If ``ax`` is not an axes, such as the name of a file.
        """
        from matplotlib.axes import Axes

        # pyplot and a figure have an attribute ``figure`` too.
        if ax is not None and not isinstance(ax, Axes):
            raise BadInputError(
                f"ax is {str(ax)[:60]!r}, expected the axes of a figure; a file is written by "
                "result.plot().savefig('result.png')"
            )
        axes = new_axes() if ax is None else ax
        self.picture().draw(axes)
        # Axes of a subfigure belong to it; its figure is the whole one, as is that of a figure.
        whole: Figure = axes.figure.figure
        return whole

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the result into a new folder, completely or not at all; ``tokendyn.load`` reads it.

        Raises
        ------
        OutputError
            If the folder exists and ``overwrite`` is not set, or cannot be written.
        """
        _save(self, folder, overwrite=overwrite)

    def report(self, path: str | Path, *, title: str = "", overwrite: bool = False) -> None:
        """Write one HTML page with sentences, numbers, picture and table, which needs no other file.

        Parameters
        ----------
        path
            The file, such as ``report.html``. One that tokendyn wrote is replaced.
        title
            Of the page; by default the name of the class.
        overwrite
            Replace another file too.

        Raises
        ------
        OutputError
            If a file of another program is there and ``overwrite`` is not set, or the disk refuses.
        """
        from tokendyn.runs.folders import check_page
        from tokendyn.show.report import write_report

        check_page(path, overwrite=overwrite)
        with tempfile.TemporaryDirectory() as pictures:
            write_report(self.page(Path(pictures), title=title), path)

    def page(self, pictures: Path, *, title: str = "") -> "Report":
        """Return the page of :meth:`report`; ``pictures`` is an empty folder for files that it is made of."""
        return self._page(title or _spaced(type(self).__name__), pictures)

    def _page(self, title: str, pictures: Path) -> "Report":
        """Return :meth:`page`; a class with a page of its own overrides this."""
        from tokendyn.show.report import KeyFigures, Report, Section, Table, Text, closing, prose
        from tokendyn.show.report import Picture as Drawn

        facts = {name.replace("_", " "): value for name, value in self.summary().items() if not _is_long(value)}
        alarm = () if self.status == "completed" else ("status",)
        sections: list[Section] = [
            Text(prose(self.describe())),
            KeyFigures(facts, alarm=alarm),
            Drawn(self.plot(), f"{title}, drawn"),
            Table(_with_index(self.table()), "Table", most_rows=_ROWS),
        ]
        record = getattr(self, "provenance", None)
        return Report(
            title=title,
            subtitle="" if self.status == "completed" else STATUSES.get(self.status, self.status),
            sections=[*sections, *closing("", record or {})],
        )

    def _repr_html_(self) -> str:
        """Return sentences, picture and, folded, the numbers for a notebook."""
        from tokendyn.show.images import data_uri
        from tokendyn.show.report import sentence, shown_value

        sentences = "".join(f"<p>{html.escape(sentence(line))}</p>" for line in self.describe())
        figure = self.plot()
        uri = data_uri(figure, dpi=int(figure.dpi))
        image = f'<img alt="{html.escape(repr(self), quote=True)}" style="max-width: 100%" src="{uri}">'
        facts = {name.replace("_", " "): value for name, value in self.summary().items() if not _is_long(value)}
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(shown_value(value))}</td></tr>"
            for name, value in facts.items()
        )
        numbers = f"<details><summary>In numbers</summary><table>{rows}</table></details>"
        return f"<div>{sentences}{image}{numbers}</div>"


class Numbers(Result):
    """Base of results that are a few numbers: the table has one row, the picture one bar for each."""

    @property
    def status(self) -> str:
        """``"completed"``."""
        return "completed"

    def table(self) -> "pd.DataFrame":
        """Return the numbers as one row."""
        import pandas as pd

        return pd.DataFrame([{name: value for name, value in self.summary().items() if name != "status"}])

    def picture(self) -> Picture:
        """Return one bar for each finite number."""
        numbers = {
            name: float(value)
            for name, value in self.summary().items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        return Bars([name.replace("_", " ") for name in numbers], list(numbers.values()))


def result_class(kind: str) -> "type[Result] | None":
    """Return the class that saves under a kind, if it was imported."""
    return _CLASSES.get(kind)


def one_line(name: str, facts: dict[str, Any]) -> str:
    """Return a name and as many short facts as fit into a line."""
    parts: list[str] = []
    for part in _short_facts(facts):
        if len(name) + 2 + sum(len(earlier) + 2 for earlier in (*parts, part)) > _LINE:
            break
        parts.append(part)
    return f"{name}({', '.join(parts)})"


def _short_facts(facts: dict[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        if value is None or isinstance(value, bool | int | float | str):
            shown = f"{value:.6g}" if isinstance(value, float) else repr(value)
            if len(shown) <= _LINE // 3 and "\n" not in shown:
                yield f"{name}={shown}"


def _with_index(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table with its index as columns, unless it only counts the rows."""
    return table if type(table.index).__name__ == "RangeIndex" else table.reset_index()


def _is_long(value: Any) -> bool:
    return isinstance(value, list | tuple | dict) or (isinstance(value, str) and len(value) > _LINE)


def _spaced(name: str) -> str:
    """Return ``ClusteringRun`` as ``Clustering run``."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return words[:1].upper() + words[1:]
