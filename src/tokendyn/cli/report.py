"""``tokendyn report``: one page of one or many runs, made anew from what they left behind."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.cli.output import announce, write_json
from tokendyn.errors import BadInputError, TokendynError
from tokendyn.late import function_at
from tokendyn.runs.files import check_free, schema_of
from tokendyn.runs.paths import no_file
from tokendyn.runs.store import MANIFEST, OUTPUT
from tokendyn.runs.store import SCHEMA as STORED

if TYPE_CHECKING:
    from tokendyn.show import Report

#: For each schema of a folder's record: the file, what made it, and the function (folder, pictures) -> Report.
FOLDERS = {
    "tokendyn-clustering": ("run.json", "simulate", "particles.report:saved_report"),
    "tokendyn-meanfield": ("run.json", "simulate --model meanfield", "particles.meanfield.report:saved_report"),
    "tokendyn-head-theory": (
        "theory.json", "simulate --theory-only", "particles.meanfield.report:saved_theory_report",
    ),
    "tokendyn-phase": ("phase.json", "phase", "particles.meanfield.diagram_report:saved_report"),
    "tokendyn-claims": ("claims.json", "claims", "studies.claims.page:saved_report"),
    "tokendyn-comparison": ("comparison.json", "sentiment compare", "studies.sentiment.comparison_page:saved_report"),
    "tokendyn-faithfulness": (
        "evaluation.json", "sentiment evaluate", "studies.sentiment.faithfulness_page:saved_report",
    ),
    "tokendyn-behaviour": ("behaviour.json", "sentiment check", "sentiment.behaviour:saved_report"),
    "tokendyn-curve": ("curve.json", "sentiment curve", "studies.sentiment.curve:saved_report"),
    "tokendyn-forecast-run": ("run.json", "forecast run", "forecast.continued:saved_report"),
    "tokendyn-forecast-study": ("study.json", "forecast compare or study", "studies.forecast.pages:saved_study_report"),
    "tokendyn-sentiment": ("model.json", "sentiment train", "sentiment.model_page:saved_model_report"),
    "tokendyn-exact": ("model.json", "classify build", "exact.model_page:saved_report"),
    "tokendyn-forecast": ("model.json", "forecast fit", "forecast.pages:saved_model_report"),
}  # fmt: skip
#: The same for results that were saved from Python and are those of no command.
SAVED = {
    "tokendyn-result": ("result.json", "save() from Python", "loading:saved_report"),
    "tokendyn-refinement": ("refinement.json", "save() from Python", "loading:saved_report"),
    "tokendyn-forecaster-search": ("search.json", "save() from Python", "loading:saved_report"),
    "tokendyn-sweep": ("sweep.json", "sweep", "loading:saved_report"),
    "tokendyn-certificate": ("certificate.json", "save() from Python", "loading:saved_report"),
}
#: For each schema of what a command writes with ``--json``: what made it, and the function (record) -> Report.
RECORDS = {
    "tokendyn-verification": ("classify verify", "exact.model_page:verification_report"),
    "tokendyn-sequence-check": ("classify check", "exact.model_page:check_report"),
    "tokendyn-forecast-prediction": ("forecast predict", "forecast.pages:prediction_report"),
    "tokendyn-explanation": ("sentiment explain", "sentiment.model_page:explanation_report"),
}
_WRITTEN = FOLDERS | SAVED
#: What goes wrong when a record was changed by hand or is damaged.
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def report(
    *runs: Path,
    out: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Make one HTML page of one or many runs of any kind: one file, no network.

    Parameters
    ----------
    runs
        Folders that tokendyn wrote (runs, models, diagrams, comparisons, claims), and JSON files that classify verify,
        classify check, sentiment explain and forecast predict write with --json.
    out
        HTML file to write; by default report.html in the folder of the one run, or report.html here for several.
    overwrite
        Replace the page of several runs, or that of --out, when it exists; a folder's own page is always replaced.
    dry_run
        Say which runs the page would show, and stop.
    json
        Write kinds, titles and the page's path as one JSON object to standard output.
    """
    from tokendyn.show import write_report

    if not runs:
        raise BadInputError("name one run or more: tokendyn report run/ model/ --out page.html")
    folders = [_written(run) for run in runs]
    kinds = [_kind(folder) for folder in folders]
    # What lies in a store stays as it was written: its page is made here.
    own = out is None and len(runs) == 1 and runs[0].is_dir() and folders[0] == runs[0]
    target = runs[0] / "report.html" if own else out or Path("report.html")
    if not own:
        check_free(target, overwrite=overwrite)
    if dry_run:
        for run, schema in zip(runs, kinds, strict=True):
            announce(f"would show {run} ({_maker(schema)})")
        announce(f"would write {target}")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        pages = []
        for number, (folder, schema) in enumerate(zip(folders, kinds, strict=True)):
            pictures = Path(scratch) / str(number)
            pictures.mkdir()
            pages.append(_page(folder, schema, pictures))
        write_report(pages[0] if len(pages) == 1 else joined(runs, kinds, pages), target)
    if json:
        shown = zip(runs, kinds, pages, strict=True)
        records = [{"run": str(run), "kind": _maker(schema), "title": page.title} for run, schema, page in shown]
        write_json({"runs": records, "out": str(target)})
    announce(f"wrote {target}")
    return 0


def joined(runs: tuple[Path, ...], kinds: list[str], pages: "list[Report]") -> "Report":
    """Return one page with a table of all runs and a chapter for each."""
    from tokendyn.show import Chapter, Report, Table

    rows = []
    for run, schema, page in zip(runs, kinds, pages, strict=True):
        origin = _made(page)
        rows.append({"run": str(run), "made by": _maker(schema), **{n: origin.get(n) for n in ("seed", "seconds")}})
        rows[-1] |= {name: origin.get(name) for name in ("tokendyn", "machine", "finished")}
    chapters = [
        Chapter(title=f"{run.name}: {page.title}", subtitle=page.subtitle, sections=page.plain_sections)
        for run, page in zip(runs, pages, strict=True)
    ]
    return Report(title=f"{len(runs)} runs", subtitle="Side by side", sections=[Table(rows, "Runs"), *chapters])


def _written(run: Path) -> Path:
    """Return the folder that a command wrote: the output of a stored run, the folder itself otherwise."""
    inside = run / OUTPUT
    return inside if schema_of(run / MANIFEST) == STORED and inside.is_dir() else run


def _kind(run: Path) -> str:
    """Return the schema of a run, whether a folder or a JSON file."""
    if run.is_dir():
        schemas = {schema_of(run / name) for name, _, _ in _WRITTEN.values()} - {None}
        known = sorted(schema for schema in schemas if schema in _WRITTEN)
        if known:
            return known[0]
        other = f" (it holds {', '.join(sorted(filter(None, schemas)))})" if schemas else ""
        if (run / "explored.json").exists():
            raise BadInputError(f"{run} is a run of the explorer page on the sphere; see it with tokendyn explore")
        raise BadInputError(f"{run} holds no run that a page is made of{other}; give a folder that tokendyn wrote")
    if run.is_file() and run.suffix.lower() == ".json":
        schema = schema_of(run)
        if schema in RECORDS:
            return schema
        makers = ", ".join(maker for maker, _ in RECORDS.values())
        raise BadInputError(f"{run} holds {schema!r}; give the folder of a run, or what --json wrote: {makers}")
    if run.is_file():
        raise BadInputError(
            f"{run} is a file and not a run; give the folder that a command wrote, as tokendyn simulate {run} does"
        )
    raise BadInputError(f"{run} is no run: {no_file(run)}; give a folder that tokendyn wrote, or what --json wrote")


def _page(run: Path, schema: str, pictures: Path) -> "Report":
    """Return the page of a run; a record that is damaged is one message with the remedy."""
    try:
        if schema in _WRITTEN:
            draw = function_at(f"tokendyn.{_WRITTEN[schema][2]}")
            page: Report = draw(run, pictures)
        else:
            page = function_at(f"tokendyn.{RECORDS[schema][1]}")(_record(run, schema))
    except TokendynError:
        raise
    except _DAMAGED as error:
        problem = f"{type(error).__name__}: {error}"
        raise BadInputError(
            f"{run}: the record of this {_maker(schema)} lacks something or is damaged ({problem}); run "
            f"{_maker(schema)} again"
        ) from None
    return page


def _record(path: Path, schema: str) -> Mapping[str, Any]:
    from tokendyn.runs.files import read_json

    return read_json(path, schema=schema, version=1)


def _made(page: "Report") -> Mapping[str, object]:
    """Return the provenance that a page ends with."""
    from tokendyn.show.report import Provenance

    records = [part.values for part in page.plain_sections if isinstance(part, Provenance)]
    return records[-1] if records else {}


def _maker(schema: str) -> str:
    return _WRITTEN[schema][1] if schema in _WRITTEN else RECORDS[schema][0]
