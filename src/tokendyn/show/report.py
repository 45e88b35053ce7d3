"""Reports: one HTML file with everything in it, readable anywhere and without a network."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tokendyn.errors import BadInputError
from tokendyn.runs.files import new_file
from tokendyn.show.film import Film
from tokendyn.show.images import Drawn, DrawnFigure, drawn

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

#: Largest number of rows in a table; longer ones are cut with a note.
MOST_ROWS = 200
#: Rows above which a table scrolls in a box of its own.
_TALL = 16
#: Characters up to which the text of a cell stays in one line, and above which its column is kept wide.
_SHORT, _PROSE = 20, 40

#: Three spaces stand between columns, and not between words.
_COLUMNS = re.compile("   ")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Text:
    """Paragraphs, separated by empty lines; red when they tell of a failure (``alarm``)."""

    text: str
    heading: str = ""
    alarm: bool = False
    kind: ClassVar[str] = "text"

    @property
    def paragraphs(self) -> list[str]:
        """The text, cut at empty lines; lines of columns are set apart from those of words."""
        parts = [part.strip("\n") for part in re.split(r"\n\s*\n", self.text) if part.strip()]
        return [block for part in parts for block in (_blocks(part) if "\n" in part else [part.strip()])]


@dataclass(frozen=True)
class KeyFigures:
    """A few numbers or words to see at a glance: name and value; those named in ``alarm`` are red."""

    values: Mapping[str, object]
    heading: str = ""
    alarm: Sequence[str] = ()
    kind: ClassVar[str] = "key_figures"

    @property
    def items(self) -> list[tuple[str, str]]:
        """Names and values as shown."""
        return [(_spaced(name), shown_value(value, digits=4)) for name, value in self.values.items()]

    @property
    def red(self) -> set[str]:
        """The shown names of those that are red."""
        return {_spaced(name) for name in self.alarm}


@dataclass(frozen=True)
class Table:
    """A pandas DataFrame, or rows as mappings or sequences (then with ``columns``).

    Attributes
    ----------
    rows
        The data; at most ``most_rows`` are shown, with a note.
    columns
        Names of the columns; by default those of the data.
    note
        A line below.
    groups
        Headings above the columns, with their number of columns; the table scrolls inside then, and its header and
        its first column stay.
    """

    rows: "pd.DataFrame | Sequence[Mapping[str, object]] | Sequence[Sequence[object]]"
    heading: str = ""
    columns: Sequence[str] | None = None
    note: str = ""
    most_rows: int = MOST_ROWS
    groups: Sequence[tuple[str, int]] = ()
    kind: ClassVar[str] = "table"

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        if self.columns is not None:
            return [str(name) for name in self.columns]
        if hasattr(self.rows, "columns"):
            return [str(name) for name in self.rows.columns]
        first = next(iter(self.rows), ())
        return [str(name) for name in first] if isinstance(first, Mapping) else []

    @cached_property
    def shown(self) -> list[list["Cell"]]:
        """The rows that are shown."""
        if hasattr(self.rows, "itertuples"):
            frame: Any = self.rows
            chosen: Any = frame.head(self.most_rows).itertuples(index=False, name=None)
        else:
            chosen = self.rows[: self.most_rows]
        names = self.header
        return [
            [Cell.of(value) for value in ([row.get(name, "") for name in names] if isinstance(row, Mapping) else row)]
            for row in chosen
        ]

    @property
    def titles(self) -> list[tuple[str, bool]]:
        """The header, with whether the cells below are all numbers."""
        rows = self.shown
        return [
            (name, bool(rows) and all(place < len(row) and row[place].number for row in rows))
            for place, name in enumerate(self.header)
        ]

    @cached_property
    def _numbers(self) -> list[bool]:
        return [number for _, number in self.titles]

    def style(self, column: int, cell: "Cell") -> str:
        """Return how a cell is set: numbers flush right where their whole column is, short texts in one line."""
        whole = self._numbers[column] if column < len(self._numbers) else cell.number
        if cell.number and whole:
            return "td-number"
        return "td-short" if len(cell.text) <= _SHORT else "td-prose" if len(cell.text) > _PROSE else ""

    @property
    def is_tall(self) -> bool:
        """Whether it is shown in a box that scrolls."""
        return self.total > _TALL

    @property
    def left_out(self) -> int:
        """How many rows are not shown."""
        return max(0, len(self.rows) - self.most_rows)

    @property
    def total(self) -> int:
        """How many rows there are."""
        return len(self.rows)


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    number: bool = False

    @classmethod
    def of(cls, value: object) -> "Cell":
        """Return a value as a cell; numbers, also missing ones, are set flush right. A cell stays as it is."""
        if isinstance(value, Cell):
            return value
        logical = type(value).__name__ in ("bool", "bool_")
        return cls(shown_value(value), value is None or (hasattr(value, "__float__") and not logical))


@dataclass(frozen=True)
class Picture:
    """A matplotlib Figure or an image file.

    Attributes
    ----------
    picture
        Figure, or path of a PNG, GIF, JPEG, SVG or WebP file.
    alt
        What the picture shows, for who cannot see it.
    caption
        What to notice in it.
    narrow
        The figure for narrow screens; by default, axes that stand side by side are put one below the other.
    """

    picture: DrawnFigure | str | Path
    alt: str
    caption: str = ""
    heading: str = ""
    narrow: DrawnFigure | None = None
    kind: ClassVar[str] = "picture"

    @cached_property
    def drawn(self) -> Drawn:
        """The picture itself, in every shape that the page holds."""
        return drawn(self.picture, self.narrow)


@dataclass(frozen=True)
class Command:
    """A command to copy, for instance the one that repeats the run."""

    command: str
    heading: str = "Repeat this run"
    kind: ClassVar[str] = "command"


@dataclass(frozen=True)
class Provenance:
    """Where the results come from: versions, seed, settings, times; nested mappings are flattened."""

    values: Mapping[str, object]
    heading: str = "Provenance"
    kind: ClassVar[str] = "provenance"

    @property
    def items(self) -> list[tuple[str, str]]:
        """Dotted names and values."""
        return _flattened(self.values)


Section = Text | KeyFigures | Table | Picture | Film | Command | Provenance


@dataclass(frozen=True)
class Chapter:
    """One of several parts of a page, each with a title, a line below it, and sections; the page lists them first."""

    title: str
    subtitle: str = ""
    sections: Sequence[Section] = field(default_factory=tuple)
    kind: ClassVar[str] = "chapter"


@dataclass(frozen=True)
class Part:
    """A part of a page, to which its contents lead.

    Attributes
    ----------
    id
        Its place, for links.
    title, subtitle
        As the contents and its heading show them.
    sections
        Pairs of a section and its own place; that is empty for one without a heading, and for the first of a part that
        is no chapter: its heading is that of the part.
    chapter
        Whether its sections have headings of their own.
    """

    id: str
    title: str
    subtitle: str
    sections: Sequence[tuple[Section, str]]
    chapter: bool

    @property
    def inner(self) -> list[tuple[str, str]]:
        """Places and headings of the sections that have one of their own."""
        return [(place, section.heading) for section, place in self.sections if place]


@dataclass(frozen=True)
class Report:
    """A page: a title, a line below it, and sections in order, or chapters with sections.

    What comes before the first heading is the summary. A page that is still growing is read again by the browser after
    ``renewed`` seconds.
    """

    title: str
    subtitle: str = ""
    sections: Sequence[Section | Chapter] = field(default_factory=tuple)
    renewed: int = 0

    @property
    def chapters(self) -> list[Chapter]:
        """The chapters, in order."""
        return [part for part in self.sections if isinstance(part, Chapter)]

    @property
    def plain_sections(self) -> list[Section]:
        """The sections that are in no chapter, in order."""
        return [part for part in self.sections if not isinstance(part, Chapter)]

    @property
    def parts(self) -> list[Part]:
        """The parts of the page: summary, sections with what follows them up to the next heading, chapters."""
        groups: list[list[Section]] = []
        for section in self.plain_sections:
            if section.heading or not groups:
                groups.append([])
            groups[-1].append(section)
        parts: list[Part] = []
        for group in groups:
            title = group[0].heading or "Summary"
            parts.append(Part(f"part-{len(parts) + 1}", title, "", [(section, "") for section in group], chapter=False))
        for chapter in self.chapters:
            place = f"part-{len(parts) + 1}"
            inner = [
                (section, f"{place}-{number}" if section.heading else "")
                for number, section in enumerate(chapter.sections, start=1)
            ]
            parts.append(Part(place, chapter.title, chapter.subtitle, inner, chapter=True))
        return parts


def prose(lines: Iterable[str]) -> str:
    r"""Return the lines of a description as the paragraphs of a :class:`Text`: sentences with full stops.

    Examples
    --------
    >>> from tokendyn.show.report import prose
    >>> prose(["3 leaders: a, b, d", "limits are known from layer 0 on"])
    '3 leaders: a, b, d.\n\nLimits are known from layer 0 on.'
    """
    return "\n\n".join(map(sentence, lines))


def sentence(line: str) -> str:
    """Return a line as a sentence: with a capital letter, unless it begins with a symbol or a name, and a full stop."""
    line = line.strip()
    word = re.match(r"[a-z]{2,}(?=[ ,:])(?! =)", line)
    shown = line[:1].upper() + line[1:] if word else line
    return f"{shown}." if shown and shown[-1] not in ".!?:…" else shown


def closing(command: str, provenance: Mapping[str, object]) -> list[Section]:
    """Return how the page of every run ends: its configuration, the command that repeats it, where it comes from.

    Parameters
    ----------
    command
        The command; a run that was made from Python has none.
    provenance
        What :func:`tokendyn.runs.provenance.provenance` recorded, the configuration under ``"config"``.
    """
    config = provenance.get("config")
    rest = {name: value for name, value in provenance.items() if name != "config"}
    sections: list[Section] = []
    if isinstance(config, Mapping) and config:
        sections.append(Provenance(config, "Configuration"))
    if command:
        sections.append(Command(command))
    return [*sections, Provenance(rest)]


def repeated(report: Report, command: str) -> Report:
    """Return a page with the command that repeats its run, before where it comes from, unless it has one."""
    sections = list(report.sections)
    if command and not any(isinstance(part, Command) for part in sections):
        sections.insert(len(sections) - 1, Command(command))
    return replace(report, sections=sections)


def kept_picture(folder: Path, name: str, alt: str, caption: str = "", heading: str = "") -> Picture:
    """Return the picture of a run that its folder holds under a plain file name.

    Raises
    ------
    BadInputError
        If the name is not that of a file in the folder, or there is none.
    """
    path = folder / name
    if Path(name).name != name or path.suffix not in (".png", ".gif"):
        raise BadInputError(f"{folder}: {name[:60]!r} is no name of a picture; run the command that made it again")
    if not path.is_file():
        raise BadInputError(f"{path} is missing; run the command that made {folder} again with overwrite=True")
    return Picture(picture=path, alt=alt, caption=caption, heading=heading)


def report_html(report: Report) -> str:
    """Return a report as one HTML document: pictures and style are in it, scripts and network are not.

    Every text that comes from the caller is escaped.
    """
    return render("report.html.j2", report=report)


def write_report(report: Report, path: str | Path) -> None:
    """Write :func:`report_html` to a file, which appears only when it is whole."""
    write_page(report_html(report), path)


def write_page(html: str, path: str | Path) -> None:
    """Write a page as UTF-8, atomically."""
    with new_file(path) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")


def render(template: str, **values: object) -> str:
    """Fill a template of tokendyn; every value is escaped, and what no page can hold is replaced."""
    return _UNPRINTABLE.sub("\ufffd", environment().get_template(template).render(**values))


def source(name: str) -> str:
    """Return a file of the templates as it is, such as a script."""
    return (resources.files("tokendyn.show") / "templates" / name).read_text(encoding="utf-8")


def environment() -> "jinja2.Environment":
    """Return the Jinja environment of the package, with escaping always on."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("tokendyn.show"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def shown_value(value: object, digits: int = 6) -> str:
    """Return a value as a reader wants it: few digits, thousands separated, "yes" and "no"."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None:
        shown = "–"
    elif isinstance(value, bool):
        shown = "yes" if value else "no"
    elif isinstance(value, int):
        shown = f"{value:,}"
    elif isinstance(value, float):
        shown = f"{value:,.{digits}g}" if abs(value) < 10**digits else f"{value:.{digits}g}"
    elif isinstance(value, (list, tuple)):
        most = [shown_value(entry, digits) for entry in value[:12]]
        comma = "; " if any(isinstance(entry, (list, tuple)) for entry in value) else ", "
        more = f"{comma}… ({len(value):,} in all)" if len(value) > 12 else ""
        shown = comma.join(most) + more if most else "none"
    else:
        shown = str(value)
    return shown


def _blocks(paragraph: str) -> list[str]:
    """Return the lines of a paragraph together, or where some of them are columns, these and the others apart."""
    if not _COLUMNS.search(paragraph):
        return [paragraph.strip()]
    groups = groupby(paragraph.splitlines(), key=lambda line: bool(_COLUMNS.search(line)) or line.startswith(" "))
    return ["\n".join(lines) for _, lines in groups]


def _spaced(name: object) -> str:
    return "dimensions" if name == "dim" else str(name).replace("_", " ")


def _flattened(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flattened(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", shown_value(value) or "–"))
    return rows
