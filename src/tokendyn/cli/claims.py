"""``tokendyn claims``: the claims of the sources, checked now."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import progress
from tokendyn.cli.repeat import repeated
from tokendyn.runs.files import check_free

if TYPE_CHECKING:
    from tokendyn.studies.claims import Outcome


def claims(
    *ids: str,
    profile: Literal["quick", "full"] = "quick",
    out: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Check claims: measure, compare with the bound stated beforehand, and report the verdict.

    Exits with 1 when a claim falls short.

    Parameters
    ----------
    ids
        Claims such as exact.blocks, or groups such as field; all by default. --dry-run lists them.
    profile
        quick takes minutes, full takes as long as the sources' own sizes do.
    out
        Folder to write: report.html, claims.json, and a figure and a table a claim. None is written by default.
    seed
        Seed of every random choice.
    overwrite
        Replace the output folder when it exists.
    dry_run
        Say which claims would be checked, and stop.
    json
        Write the outcomes as one JSON object to standard output.
    """
    from tokendyn.studies.claims import chosen_claims, judge, write_outcomes
    from tokendyn.studies.claims.page import outcomes_record

    chosen = chosen_claims(ids)
    if out is not None:
        check_free(out, overwrite=overwrite)
    if dry_run:
        for claim in chosen:
            announce(f"{claim.id}: {claim.statement}")
        return 0
    outcomes: list[Outcome] = []
    with progress("claims") as report:
        for number, claim in enumerate(chosen):
            report(number, len(chosen))
            outcome = judge(claim, profile, seed)
            outcomes.append(outcome)
            _announce(outcome)
        report(len(chosen), len(chosen))
    command = repeated()
    if out is not None:
        write_outcomes(outcomes, out, command=command, overwrite=overwrite)
        announce(f"wrote {out}; open {out / 'report.html'}")
    if json:
        write_json(outcomes_record(outcomes, command))
    return 1 if any(outcome.verdict == "falls short" for outcome in outcomes) else 0


def _announce(outcome: "Outcome") -> None:
    announce(f"{outcome.claim.id}: {outcome.verdict} ({outcome.seconds:.1f} s)")
    for row in outcome.measurements():
        mark = {True: "ok", False: "NOT MET", None: "not measured"}[row["met"]]
        announce(f"    {row['measured']}: {row['value']:.4g} (bound {row['bound']}) {mark}")
