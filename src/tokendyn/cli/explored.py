"""``tokendyn simulate explored.json``: the runs of the explorer page, computed by the library."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.cli.output import announce, write_json
from tokendyn.cli.repeat import repeated
from tokendyn.data.explored import read_explored
from tokendyn.runs.files import check_free, new_folder
from tokendyn.runs.files import write_json as write_json_file

if TYPE_CHECKING:
    from tokendyn.particles.explored import Replay


def simulate_explored(path: Path, out: Path | None, *, overwrite: bool, dry_run: bool, json: bool) -> int:
    """Run what the explorer saved, compare the ends with those of the page, and write a folder.

    Returns 1 when a run diverged or the ends differ by more than :data:`~tokendyn.particles.explored.SAME`.
    """
    from tokendyn.particles.explored import SAME, replay
    from tokendyn.particles.report import save_run

    explored = read_explored(path)
    folder = out or path.parent / f"run-{path.name.split('.')[0]}"
    check_free(folder, overwrite=overwrite, inputs=[path])
    if dry_run:
        announce(f"would run {len(explored.tokens)} tokens of the explorer ({explored.model}), hardmax and softmax")
        announce(f"would write {folder}")
        return 0
    found = replay(explored)
    clustering = found.clustering()
    if clustering is not None:
        command = repeated()
        title = explored.title or path.name
        save_run(clustering, folder, title=title, animation=None, command=command, overwrite=overwrite)
    else:
        _write(found, folder, overwrite=overwrite)
    differences, agree = found.differences, all(gap <= SAME for gap in found.differences.values())
    if json:
        shown = {kind: gap if math.isfinite(gap) else None for kind, gap in differences.items()}
        write_json({**_summary(found), "differences": shown, "agrees": agree, "out": str(folder)})
    for kind, gap in differences.items():
        announce(f"{kind}: the page ended within {gap:.1e} of this run")
    if not differences:
        announce("the file holds no final states to compare with")
    announce(f"wrote {folder}" + (f"; open {folder / 'report.html'}" if clustering is not None else ""))
    return 0 if agree and _summary(found)["status"] == "completed" else 1


def _write(found: "Replay", folder: Path, *, overwrite: bool) -> None:
    """Write both trajectories and the settings."""
    with new_folder(folder, overwrite=overwrite) as temporary:
        for kind, run in (("hardmax", found.hardmax), ("softmax", found.softmax)):
            (temporary / kind).mkdir()
            run.write_into(temporary / kind)
        write_json_file(temporary / "explored.json", found.explored.to_dict())


def _summary(found: "Replay") -> dict[str, Any]:
    explored = found.explored
    ended = {found.hardmax.status, found.softmax.status} - {"completed"}
    return {
        "status": min(ended) if ended else "completed",
        "model": explored.model,
        "tokens": len(explored.tokens),
        "dim": explored.tokens.shape[1],
        "inverse_temperature": explored.inverse_temperature,
        "steps": explored.layers if explored.model == "clustering" else explored.steps,
    }
