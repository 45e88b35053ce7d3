"""``tokendyn demo``: every system once, on data that come with the package or are generated, on one page that grows."""

import json as json_module
import time
import webbrowser
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.cli.boundary import COMPILING
from tokendyn.cli.output import announce, printable, write_json
from tokendyn.cli.progress import console
from tokendyn.errors import OutputError
from tokendyn.runs.folders import check_free, list_files, new_folder, schema_of
from tokendyn.runs.folders import write_json as write_json_file

if TYPE_CHECKING:
    from tokendyn.cli.demo_chapters import Part
    from tokendyn.show.report import Chapter, Section

#: Seconds after which the page is read again while chapters are computed.
_RENEWED = 4
PAGE, RECORD = "report.html", "demo.json"
#: What ``tools/record_demo.py`` wrote: the first chapter, so that a page is there before anything is computed.
FIRST = "first_chapter"


def demo(
    *, out: Path = Path("demo-output"), seed: int = 0, no_open: bool = False, dry_run: bool = False, json: bool = False
) -> int:
    """Show every system once, in a minute or two, on one page that grows: its first chapter is there at once.

    Clustering and a sentiment classifier that explains itself; many tokens at low temperature; a transformer in closed
    form; forecasts of a wake and of a chaotic system. Uses the IMDb training reviews when the environment variable
    TOKENDYN_DATA names a folder with imdb/reviews-train.csv.gz, else the 600 short reviews that come with the package.

    Parameters
    ----------
    out
        Folder to write; an earlier demo in it is replaced.
    seed
        Seed of every random choice.
    no_open
        Do not open the page in a browser. It is opened only where the command is started from a terminal.
    dry_run
        Say what would be shown, and stop.
    json
        Write the path of the page and the seconds of each part as one JSON object to standard output.
    """
    from tokendyn.cli.demo_chapters import PARTS

    _check_replaceable(out)
    if dry_run:
        announce(f"would show {', '.join(part.title for part in PARTS)}, and write {out}")
        return 0
    page = _Page(out, seed, PARTS)
    page.begin()
    target = (out / PAGE).resolve()
    announce(f"the page is there with its first chapter, and grows as each is computed here: {target}")
    announce(f"  {first_sentence()}")
    if not no_open and console().is_terminal:
        webbrowser.open(target.as_uri())
    try:
        for number, part in enumerate(PARTS):
            announce(f"[{number + 1}/{len(PARTS)}] {part.title}")
            page.compute(number)
            announce(f"      {page.account(number)}")
            for line in part.notice:
                announce(f"      {line}")
    except BaseException:
        page.stop()
        raise
    page.end()
    if json:
        write_json({"report": str(target), "seconds": page.seconds, "compiling": page.compiled})
    announce(f"done in {page.age:.0f} s; open {target}")
    return 0


def first_sentence() -> str:
    """Return the sentence of the chapter that is shipped."""
    return printable(str(_shipped()["sentences"][0]))


def _shipped() -> dict[str, Any]:
    text = (resources.files("tokendyn.data") / f"{FIRST}.json").read_text(encoding="utf-8")
    record: dict[str, Any] = json_module.loads(text)
    return record


def _check_replaceable(out: Path) -> None:
    """Refuse to replace a folder that holds something else than a demo."""
    if out.exists() and schema_of(out / RECORD) != "tokendyn-demo":
        raise OutputError(f"{out} exists already and holds no demo; choose another --out")
    check_free(out, overwrite=True)


class _Page:
    """The folder and the page of a demonstration while its chapters are computed.

    Attributes
    ----------
    seconds, compiled
        Wall time of each chapter by title, and how much of it went into compiling.
    """

    def __init__(self, out: Path, seed: int, parts: "Sequence[Part]") -> None:
        self.out, self.seed, self.parts = out, seed, parts
        self.began = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.compiled: dict[str, float] = {}
        self._chapters: list[Chapter] = []

    @property
    def age(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    def begin(self) -> None:
        """Make the folder, with a page that holds the shipped chapter."""
        with new_folder(self.out, overwrite=True) as folder:
            record = {"schema": "tokendyn-demo", "schema_version": 1, "seed": self.seed}
            write_json_file(folder / RECORD, record)
            self._write(folder / PAGE, renewed=_RENEWED)

    def compute(self, number: int) -> None:
        """Compute a chapter, and put it on the page."""
        from tokendyn.show import Chapter, Text

        part, start, compiled = self.parts[number], time.perf_counter(), COMPILING.seconds
        sections = part.sections(self.out, self.seed)
        self.seconds[part.title] = round(time.perf_counter() - start, 1)
        self.compiled[part.title] = round(COMPILING.seconds - compiled, 1)
        notice = Text("\n\n".join(part.notice), "What to notice")
        self._chapters.append(Chapter(title=part.title, subtitle=part.source, sections=[notice, *sections]))
        self._list()
        self._write(self.out / PAGE, renewed=_RENEWED)

    def account(self, number: int) -> str:
        """Return the time of a chapter, and the part that a second run saves."""
        title = self.parts[number].title
        compiled = self.compiled[title]
        once = f", of which {compiled:.0f} s were for compiling once" if compiled >= 0.5 else ""
        return f"done in {self.seconds[title]:.0f} s{once}"

    def stop(self) -> None:
        """Write the page with the finished chapters, and report that the demonstration was stopped."""
        self._list()
        self._write(self.out / PAGE, stopped=True)

    def end(self) -> None:
        """Write the whole page."""
        self._write(self.out / PAGE)
        self._list()

    def _list(self) -> None:
        """List what was written, so that the next demonstration may replace it."""
        files = (file for file in self.out.rglob("*") if file.is_file())
        list_files(self.out, [*(str(file.relative_to(self.out)) for file in files), PAGE, ".*"])

    def _write(self, path: Path, *, renewed: int = 0, stopped: bool = False) -> None:
        from tokendyn.show import Chapter, Report, Table, Text, closing, write_report

        done = len(self._chapters)
        sections: list[Section | Chapter] = [Text(_opening(done, len(self.parts), stopped)), *self._chapters]
        for number, part in enumerate(self.parts[done:], start=done):
            waiting = "This chapter was not computed." if stopped else "This chapter waits for its turn."
            text = Text("It is being computed now." if renewed and number == done else waiting)
            shown = _shipped_sections() if number == 0 and not stopped else [text]
            sections.append(Chapter(title=part.title, subtitle=part.source, sections=shown))
        if done == len(self.parts) and not renewed:
            from tokendyn.runs.provenance import provenance

            rows = [
                {"chapter": title, "seconds": self.seconds[title], "of it compiling once, s": self.compiled[title]}
                for title in self.seconds
            ]
            ending = closing(f"tokendyn demo --seed {self.seed}", provenance({}, seed=self.seed, seconds=self.age))
            last = [Table(rows, "Time"), *ending]
            sections.append(Chapter(title="How this page was made", subtitle="", sections=last))
        title = "tokendyn: a demonstration"
        report = Report(title=title, subtitle="Systems of tokens that move", sections=sections, renewed=renewed)
        write_report(report, path)


def _opening(done: int, total: int, stopped: bool) -> str:
    if stopped:
        return f"This demonstration was stopped; {done} of its {total} chapters are here. tokendyn demo begins anew."
    if done < total:
        return (
            f"{done} of {total} chapters have been computed on this machine; the page renews itself until all are "
            "there. The first run takes longer than the next ones: what computes is compiled once and kept in a cache."
        )
    return (
        "Everything on this page was computed just now, on this machine, from data that come with the package or are "
        "generated. The folder beside it holds every run; tokendyn report shows each alone."
    )


def _shipped_sections() -> "list[Section]":
    """Return the first chapter as it was computed before the package was made."""
    from tokendyn.show import Picture, Text

    record = _shipped()
    note = "Computed when tokendyn was made, to be replaced by the run on your machine in a moment."
    # The pages need files, which a package in an archive has not.
    with resources.as_file(resources.files("tokendyn.data") / f"{FIRST}.svg") as picture:
        shown = Picture(picture, alt=record["alt"], caption=record["caption"], heading=record["title"])
        shown.drawn  # noqa: B018 - read while the file is there
    return [Text("\n\n".join([*record["sentences"], note])), shown]
