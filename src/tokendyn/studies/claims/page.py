"""Outcomes of claims as one HTML page and one JSON file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokendyn.runs.files import new_folder, read_json, write_json
from tokendyn.runs.provenance import provenance
from tokendyn.show import KeyFigures, Report, Table, Text, closing, kept_picture, write_report
from tokendyn.show.report import Section, shown_value
from tokendyn.studies.claims.claim import Outcome

SCHEMA, SCHEMA_VERSION = "tokendyn-claims", 1
VERDICTS = ("holds", "falls short", "not testable")


def write_outcomes(outcomes: Sequence[Outcome], folder: str | Path, *, command: str, overwrite: bool = False) -> None:
    """Write ``report.html``, ``claims.json`` and a PNG and a CSV a claim into a new folder.

    Raises
    ------
    OutputError
        If the folder exists or the disk refuses.
    """
    with new_folder(folder, overwrite=overwrite) as temporary:
        for outcome in outcomes:
            outcome.finding.table.to_csv(temporary / f"{outcome.claim.id}.csv", index=False, lineterminator="\n")
            if outcome.finding.figure is not None:
                outcome.finding.figure.savefig(temporary / f"{outcome.claim.id}.png", dpi=150)
        record = outcomes_record(outcomes, command)
        write_json(temporary / "claims.json", record)
        write_report(outcomes_report(record, temporary), temporary / "report.html")


def outcomes_record(outcomes: Sequence[Outcome], command: str) -> dict[str, Any]:
    """Return the outcomes as JSON values."""
    seconds = sum(outcome.seconds for outcome in outcomes)
    made = provenance({"profile": outcomes[0].profile}, seed=outcomes[0].seed, seconds=seconds)
    counts = {name: sum(outcome.verdict == name for outcome in outcomes) for name in VERDICTS}
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "counts": counts,
        "claims": [outcome.record() for outcome in outcomes],
        "provenance": made,
    }


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of saved outcomes; it shows the figures that lie beside them."""
    return outcomes_report(read_json(folder / "claims.json", schema=SCHEMA, version=SCHEMA_VERSION), folder)


def outcomes_report(record: Mapping[str, Any], pictures: Path) -> Report:
    """Return the page of what :func:`outcomes_record` gave; ``pictures`` is the folder with the figures."""
    shown = ("verdict", "statement", "seconds")
    rows = [{"claim": claim["id"], **{name: claim[name] for name in shown}} for claim in record["claims"]]
    sections: list[Section] = [KeyFigures(record["counts"]), Table(rows, "All claims")]
    for claim in record["claims"]:
        sections += _sections(claim, pictures)
    sections += closing(record["command"], record["provenance"])
    return Report("Claims", "Every claim: a number measured now, against a bound stated beforehand", sections)


def _sections(claim: Mapping[str, Any], pictures: Path) -> list[Section]:
    name = claim["id"]
    measured = [row | {"value": shown_value(row["value"], digits=4)} for row in claim["measured"]]
    words = f"{claim['statement']} ({claim['source']})\n\nMeasured: {claim['how']} {claim['remark']}"
    sections: list[Section] = [Text(words, f"{name}: {claim['verdict']}"), Table(measured)]
    if claim["failure"]:
        sections.append(Text(claim["failure"], "Why it could not be tested"))
    if claim["figure"]:
        sections.append(kept_picture(pictures, f"{name}.png", alt=f"What was measured for {name}"))
    return sections
