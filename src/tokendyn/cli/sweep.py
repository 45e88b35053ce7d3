"""``tokendyn sweep``: many runs of one command over grids, lists and draws of its options."""

from pathlib import Path
from typing import TYPE_CHECKING

from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import progress
from tokendyn.runs.plan import Plan, read_plan
from tokendyn.runs.store import Store

if TYPE_CHECKING:
    from tokendyn.experiments.sweeping import Sweep


def sweep(
    file: Path,
    /,
    *,
    out: Path | None = None,
    store: Path | None = None,
    workers: int | None = None,
    threads: int = 1,
    memory: str | None = None,
    scheduler: str | None = None,
    retries: int = 2,
    retry_failed: bool = False,
    verify: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Run one command over grids, lists and draws of its options; write one table and figures.

    Every job is a run of the store. Started again, it goes on: finished jobs are skipped. Exit code 1 if jobs failed.

    Parameters
    ----------
    file
        TOML: command, [fixed], [grid], [list], [random], [latin], samples, seed.
    out
        Folder for table and figures, by default sweep-NAME. One of the same sweep is replaced.
    store
        Folder of the store; TOKENDYN_RUNS by default, else runs.
    workers
        Processes on this machine; by default one for each core.
    threads
        Threads of the numerical libraries in each of them.
    memory
        What each may hold, such as 2GB, the libraries (0.4 GB) included; by default all there is.
    scheduler
        Address of a Dask scheduler, such as tcp://host:8786, in place of local processes.
    retries
        How often a job that fails is tried again before its error is recorded; bad input never.
    retry_failed
        Run jobs again that an earlier sweep recorded as failed.
    verify
        Compare every file of finished runs with its digest, and run those again that are damaged.
    overwrite
        Replace the output folder even when it is something else.
    dry_run
        Read the file, say what would be run, and stop.
    json
        Write the counts as one JSON object to standard output.
    """
    from tokendyn.experiments.crew import crew_of
    from tokendyn.experiments.swept import TABLE, check_out

    crew = crew_of(workers, threads, memory, scheduler, retries, announce)
    asked = asked_of(read_plan(file))
    runs, folder = Store(store), out or Path(f"sweep-{file.stem}")
    check_out(folder, runs.folder, overwrite=overwrite)
    if dry_run:
        count = asked.check(runs, retry_failed=retry_failed, verify=verify, announce=announce)
        announce(f"would run {count}, in {runs.folder}, and write {folder}")
        return 0
    with progress("jobs") as tell:
        result = asked.run(
            runs, crew, retries, retry_failed=retry_failed, verify=verify, progress=tell, announce=announce
        )
    result.save(folder, source=file.read_bytes(), name=file.name, overwrite=overwrite)
    if json:
        seconds = result.provenance["seconds"]
        write_json({"sweep": file.name, **result.summary(), "seconds": seconds, "out": str(folder)})
    for line in result.describe():
        announce(line)
    if result.counts["failed"]:
        announce("failed jobs run again with --retry-failed, once what failed them is mended")
    announce(f"wrote {folder}; see {folder / f'{TABLE}.csv'}")
    return 0 if result.status == "completed" else 1


def asked_of(plan: Plan) -> "Sweep":
    """Return the sweep of a plan whose command is named by its words."""
    from tokendyn.cli import routed
    from tokendyn.cli.jobs import command
    from tokendyn.experiments.sweeping import Sweep

    words = routed(plan.command.split(), {**plan.fixed, **dict.fromkeys(plan.swept, "")})
    return Sweep.of(command(" ".join(words)), plan)
