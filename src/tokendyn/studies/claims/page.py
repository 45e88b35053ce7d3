"""Outcomes of claims as one HTML page and one JSON file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokendyn.runs.files import read_json
from tokendyn.runs.provenance import provenance
from tokendyn.show import KeyFigures, Report, Table, Text, closing, kept_picture, write_page_folder
from tokendyn.show.report import Section, shown_value
from tokendyn.studies.claims.claim import Outcome
from tokendyn.words import counted

SCHEMA, SCHEMA_VERSION = "tokendyn-claims", 1
VERDICTS = ("holds", "falls short", "not testable")


def write_outcomes(outcomes: Sequence[Outcome], folder: str | Path, *, command: str, overwrite: bool = False) -> None:
    """Write ``report.html``, ``claims.json`` and a PNG and a CSV a claim into a new folder.

    Raises
    ------
    OutputError
        If the folder exists or the disk refuses.
    """
    findings = {outcome.claim.id: outcome.finding for outcome in outcomes}
    write_page_folder(
        folder, "claims", outcomes_record(outcomes, command), outcomes_report, overwrite=overwrite,
        tables={name: finding.table for name, finding in findings.items()},
        figures={name: finding.figure for name, finding in findings.items() if finding.figure is not None},
    )  # fmt: skip


def outcomes_record(outcomes: Sequence[Outcome], command: str) -> dict[str, Any]:
    """Return the outcomes as JSON values."""
    seconds = sum(outcome.seconds for outcome in outcomes)
    counts = {name: sum(outcome.verdict == name for outcome in outcomes) for name in VERDICTS}
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "counts": counts,
        "claims": [outcome.record() for outcome in outcomes],
        "provenance": provenance({"profile": outcomes[0].profile}, seed=outcomes[0].seed, seconds=seconds),
    }


def saved_report(folder: Path, pictures: Path) -> Report:
    """Return the page of saved outcomes; it shows the figures that lie beside them."""
    return outcomes_report(read_json(folder / "claims.json", schema=SCHEMA, version=SCHEMA_VERSION), folder)


def outcomes_report(record: Mapping[str, Any], pictures: Path) -> Report:
    """Return the page of what :func:`outcomes_record` gave; ``pictures`` is the folder with the figures."""
    shown = ("verdict", "statement", "seconds")
    rows = [{"claim": claim["id"], **{name: claim[name] for name in shown}} for claim in record["claims"]]
    held = sum(claim["verdict"] == "holds" for claim in record["claims"])
    summary = f"{held} of {counted(len(rows), 'claim')} {'holds' if held == 1 else 'hold'}, measured now."
    sections: list[Section] = [Text(summary), KeyFigures(record["counts"]), Table(rows, "All claims")]
    for claim in record["claims"]:
        sections += _sections(claim, pictures)
    sections += closing(record["command"], record["provenance"])
    return Report(
        title="Claims",
        subtitle="Every claim: a number measured now, against a bound stated beforehand",
        sections=sections,
    )


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
