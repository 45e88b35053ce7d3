"""Outcomes of claims as one HTML page and one JSON file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokendyn.claims.claim import Outcome
from tokendyn.runs.files import new_folder, write_json
from tokendyn.runs.provenance import provenance
from tokendyn.show import Command, KeyFigures, Picture, Provenance, Report, Table, Text, write_report
from tokendyn.show.report import Section, shown_value

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
        write_report(outcomes_report(outcomes, temporary, record, command), temporary / "report.html")


def outcomes_record(outcomes: Sequence[Outcome], command: str) -> dict[str, Any]:
    """Return the outcomes as JSON values."""
    seconds = sum(outcome.seconds for outcome in outcomes)
    made = provenance({"command": command}, seed=outcomes[0].seed, seconds=seconds)
    counts = {name: sum(outcome.verdict == name for outcome in outcomes) for name in VERDICTS}
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "counts": counts,
        "claims": [outcome.record() for outcome in outcomes],
        "provenance": made,
    }


def outcomes_report(outcomes: Sequence[Outcome], pictures: Path, record: dict[str, Any], command: str) -> Report:
    """Return the page; ``pictures`` is the folder with the figures."""
    rows = [
        {
            "claim": outcome.claim.id,
            "verdict": outcome.verdict,
            "statement": outcome.claim.statement,
            "seconds": round(outcome.seconds, 1),
        }
        for outcome in outcomes
    ]
    sections: list[Section] = [KeyFigures(record["counts"]), Table(rows, "All claims")]
    for outcome in outcomes:
        sections += _sections(outcome, pictures)
    sections += [Command(command), Provenance(record["provenance"])]
    return Report("Claims", "Every claim: a number measured now, against a bound stated beforehand", sections)


def _sections(outcome: Outcome, pictures: Path) -> list[Section]:
    claim = outcome.claim
    measured = [row | {"value": shown_value(row["value"], digits=4)} for row in outcome.measurements()]
    words = f"{claim.statement} ({claim.source})\n\nMeasured: {claim.how} {outcome.finding.remark}"
    sections: list[Section] = [Text(words, f"{claim.id}: {outcome.verdict}"), Table(measured)]
    if outcome.failure:
        sections.append(Text(outcome.failure, "Why it could not be tested"))
    if outcome.finding.figure is not None:
        sections.append(Picture(pictures / f"{claim.id}.png", alt=f"What was measured for {claim.id}"))
    return sections
