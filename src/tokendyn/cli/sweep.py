"""``tokendyn sweep``: many runs of one command over grids, lists and draws of its options."""

import contextlib
import functools
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from tokendyn.cli.jobs import Command, Job, command, perform, record_failure
from tokendyn.cli.output import announce, write_json
from tokendyn.cli.progress import progress
from tokendyn.cli.stored import tell_older
from tokendyn.errors import BadInputError, OutputError, TokendynError
from tokendyn.optional import missing
from tokendyn.runs.files import check_free, new_folder, schema_of
from tokendyn.runs.files import write_json as write_record
from tokendyn.runs.folders import NewerError
from tokendyn.runs.index import Index
from tokendyn.runs.plan import Plan, read_plan
from tokendyn.runs.scheduler import Crew, WorkerDiedError, dask_executor, end_dask, end_local, local_executor
from tokendyn.runs.store import FINAL, BusyError, Record, Status, Store
from tokendyn.runs.table import HEAD, numbers, table_of, write_csv, write_parquet

SCHEMA, SCHEMA_VERSION = "tokendyn-sweep", 1
TABLE = "table"

#: The index takes finished runs in, so many at once or after so many seconds.
_BATCH, _BATCH_SECONDS = 200, 2.0
#: Tasks under way for each worker: one that is computed, one that waits.
_AHEAD = 2
_BYTES = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


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
    from tokendyn.runs.provenance import provenance

    crew = _crew(workers, threads, memory, scheduler, retries)
    plan = read_plan(file)
    place, folder = Store(store), out or Path(f"sweep-{file.stem}")
    _check_out(folder, place, overwrite)
    asked = _Asked.of(plan)
    ids = [job.id for job in asked.jobs()]
    announce(f"{len(ids)} jobs of {asked.command.words} over {', '.join(plan.swept) or 'nothing'}")
    with contextlib.ExitStack() as stack:
        if not dry_run:
            _make(place)
        leftovers = 0 if dry_run else place.clean()
        index = stack.enter_context(Index(place))
        index.refresh(verify=verify)
        done = _done(index, list(asked.jobs()), retry_failed)
        _refuse_newer(index, ids)
        for note in [*index.notes, *([f"removed {leftovers} unfinished leftovers"] if leftovers else [])]:
            announce(note)
        lacking = {job.question for job in asked.jobs() if job.id not in done} if len(done) < len(set(ids)) else set()
        tell_older(len(index.older(lacking)), place)
        if done:
            announce(f"{sum(one in done for one in ids)} of them are done already")
        if dry_run:
            announce(f"would run {sum(one not in done for one in ids)}, in {place.folder}, and write {folder}")
            return 0
        began = time.perf_counter()
        ran = _run(_Sweep(asked, place, index, ids, done, verify), crew, retries)
        index.refresh()
        rows = _rows(asked, index, ids)
        counts = {status: sum(row["status"] == status for row in rows) for status in get_args(Status)}
        record = {"sweep": file.name, "command": asked.command.words, "jobs": len(rows), **counts, "ran": ran}
        made = provenance({"seed": plan.seed}, seed=plan.seed, seconds=time.perf_counter() - began)
        _write(folder, file, asked, rows, {**record, "store": str(place.folder.absolute())}, made)
    if json:
        write_json({**record, "seconds": made["seconds"], "out": str(folder)})
    stopped = f", {counts['stopped']} stopped by their budget: the same command goes on" if counts["stopped"] else ""
    announce(
        f"{counts['completed']} completed, {counts['diverged']} diverged, {counts['failed']} failed{stopped}; "
        f"{ran} ran now"
    )
    for line in _complaints(rows):
        announce(line)
    announce(f"wrote {folder}; see {folder / f'{TABLE}.csv'}")
    return 1 if counts["failed"] or counts["stopped"] else 0


@dataclass(frozen=True)
class _Asked:
    """A plan with the command that it is about, and the options that all its jobs share."""

    plan: Plan
    command: Command
    fixed: dict[str, Any]

    @classmethod
    def of(cls, plan: Plan) -> "_Asked":
        from tokendyn.cli import routed

        fixed = dict(plan.fixed)
        known = command(" ".join(routed(plan.command.split(), {**fixed, **dict.fromkeys(plan.swept, "")})))
        # Thousands of pages are read by nobody: tokendyn report makes the ones that are.
        if "report" in known.options and "report" not in plan.swept:
            fixed = {"report": False, **fixed}
        return cls(plan, known, fixed)

    def jobs(self) -> Iterator[Job]:
        """Yield all jobs in the order of the table; the first one with wrong options is an error."""
        for options in self.plan.jobs():
            yield self.command.job({**self.fixed, **options})


@dataclass(frozen=True)
class _Sweep:
    asked: _Asked
    store: Store
    index: Index
    ids: Sequence[str]
    done: set[str]
    verify: bool


def _run(sweep: _Sweep, crew: "Crew[Job, Record | None]", retries: int) -> int:
    """Run what is not done; return how many runs were made."""
    missing = [run for run in dict.fromkeys(sweep.ids) if run not in sweep.done]
    if not missing:
        return 0
    crew.work = functools.partial(work, str(sweep.store.folder.absolute()), retries + 1, sweep.verify)
    batch: list[Record] = []
    ran, flushed = 0, time.monotonic()
    try:
        with progress("jobs") as tell:
            tell(len(sweep.ids) - len(missing), len(sweep.ids))
            for job, answer in crew.run(_tasks(sweep)):
                batch.append(_recorded(sweep.store, job, answer, crew.deaths))
                ran += 1
                tell(len(sweep.ids) - len(missing) + ran, len(sweep.ids))
                if len(batch) >= _BATCH or time.monotonic() - flushed > _BATCH_SECONDS:
                    sweep.index.add(batch)
                    batch, flushed = [], time.monotonic()
    except KeyboardInterrupt:
        announce(f"{len(sweep.done) + ran} of {len(sweep.ids)} jobs are done; the same command goes on from there")
        raise
    finally:
        crew.close()
        sweep.store.clean()
        if batch:
            sweep.index.add(batch)
    return ran


def _recorded(store: Store, job: Job, answer: Record | WorkerDiedError | None, deaths: int) -> Record:
    """Return the record of a job; the parent writes it for a job that took its worker with it."""
    if isinstance(answer, Record):
        return answer
    with store.claim(job.id):
        # The worker may have died between the end of the run and its answer.
        return store.finished(job.id, verify=True) or record_failure(store, job, str(answer), deaths)


def work(folder: str, attempts: int, verify: bool, job: Job) -> Record | None:
    """Make one run: what a worker does. None when another process is making it.

    Raises
    ------
    BadInputError
        If this worker runs other code than the sweep.
    """
    if command(job.command).id_of(job.config, job.inputs) != job.id:
        raise BadInputError(
            "a worker runs another version of tokendyn, or of a library that it computes with, than this command; "
            "install the same for all, and start again"
        )
    try:
        return perform(folder, job, attempts=attempts, verify=verify)[0]
    except BusyError:
        return None


def _tasks(sweep: _Sweep) -> Iterator[Job]:
    """Yield every job that is to be run once."""
    begun = set(sweep.done)
    for job in sweep.asked.jobs():
        if job.id not in begun:
            begun.add(job.id)
            yield job


def _done(index: Index, jobs: Sequence[Job], retry_failed: bool) -> set[str]:
    skipped = FINAL | (set() if retry_failed else {"failed"})
    statuses = index.statuses()
    done = {job.id for job in jobs if statuses.get(job.id) in skipped}
    # Files that a run read beyond those of its id: only its manifest knows them.
    doubtful = {job.id for job in jobs if job.id in done and statuses[job.id] in FINAL and job.leads}
    return done - {run for run in doubtful if index.store.finished(run) is None}


def _refuse_newer(index: Index, ids: Sequence[str]) -> None:
    """Refuse, before any work, to make runs that a newer tokendyn made."""
    statuses = index.statuses()
    newer = [run for run in dict.fromkeys(ids) if statuses.get(run) == "newer"]
    if newer:
        raise NewerError(
            f"a newer tokendyn wrote {len(newer)} of these runs ({', '.join(newer[:3])}); update this one, or name "
            "another --store"
        )


def _crew(
    workers: int | None, threads: int, memory: str | None, scheduler: str | None, retries: int
) -> "Crew[Job, Record | None]":
    """Return the workers that were asked for; none is started yet."""
    count = workers if workers is not None else os.cpu_count() or 1
    problems = [
        f"--{name} must be at least {least}, got {value}"
        for name, value, least in (("workers", count, 1), ("threads", threads, 1), ("retries", retries, 0))
        if value < least
    ]
    if scheduler is not None and (workers is not None or memory is not None or threads != 1):
        problems.append(
            "--workers, --threads and --memory are for this machine; a cluster has its own (dask worker --help)"
        )
    if problems:
        raise BadInputError.all_of("options", problems)
    size = None if memory is None else bytes_of(memory)
    make: Callable[[], Executor] = functools.partial(local_executor, count, threads, size)
    end: Callable[[Executor], None] = end_local
    if scheduler is not None:
        executor, count = dask_executor(scheduler)
        if not count:
            announce(f"the scheduler at {scheduler} has no workers yet; waiting for some: dask worker {scheduler}")
        make, end = functools.partial(_same, executor), end_dask
    return Crew(make, end, _nothing, _AHEAD * max(count, 1), retries + 1, lambda answer: answer is None)


def _same(executor: Executor) -> Executor:
    return executor


def _nothing(_: Job) -> Record | None:
    return None


def bytes_of(text: str, option: str = "--memory") -> int:
    """Return a size such as ``500MB`` or ``2GiB`` in bytes."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", text.lower(), re.ASCII)
    size = float(found[1]) * _BYTES.get(found[2], 0) if found else 0.0
    if not math.isfinite(size) or size < 1:
        raise BadInputError(f"{option} is {text!r}; expected a size such as 500MB or 2GB")
    return int(size)


def _make(store: Store) -> None:
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the store {store.folder}: {error.strerror or error}; name another") from error


def _check_out(folder: Path, store: Store, overwrite: bool) -> None:
    if store.folder.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{folder} is to hold the table alone, and the store {store.folder} lies in it; name another")
    if folder.exists() and not overwrite and schema_of(folder / "sweep.json") != SCHEMA:
        raise OutputError(f"{folder} is not the output of a sweep; choose another --out, or --overwrite to replace it")
    check_free(folder, overwrite=True)


def _rows(asked: _Asked, index: Index, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row for each job, in their order."""
    known = index.some(list(dict.fromkeys(ids)))
    if lacking := set(ids) - known.keys():
        raise TokendynError(
            f"{len(lacking)} runs were removed while the sweep ran; start it again, and it makes them anew"
        )
    rows = []
    for number, (run, options) in enumerate(zip(ids, asked.plan.jobs(), strict=True)):
        found = known[run]
        row = dict(zip(HEAD, (number, run, found.status, found.error or None), strict=True))
        row |= {name.replace("-", "_"): value for name, value in options.items()}
        rows.append(row | {name: value for name, value in sorted(found.results.items()) if name not in row})
    return rows


def _write(
    folder: Path, file: Path, asked: _Asked, rows: list[dict[str, Any]], record: dict[str, Any], made: dict[str, Any]
) -> None:
    """Write table, figures and record, whole or not at all."""
    from tokendyn.show.sweeps import sweep_figure

    table = table_of(rows)
    swept = [name.replace("-", "_") for name in asked.plan.swept]
    results = numbers(table, [name for name in table if name not in (*HEAD, *swept)])
    with new_folder(folder, overwrite=True) as temporary:
        (temporary / "sweep.toml").write_bytes(file.read_bytes())
        write_csv(temporary / f"{TABLE}.csv", table)
        if not missing("pyarrow"):
            write_parquet(temporary / f"{TABLE}.parquet", table)
        for option in swept if results else ():
            if len(set(map(str, table[option]))) > 1:
                sweep_figure(table, option, results).savefig(temporary / f"against-{option}.png", dpi=130)
        head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION}
        write_record(temporary / "sweep.json", head | record | {"results": results, "provenance": made})


def _complaints(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the first error of each kind, and how many jobs have it."""
    errors = [str(row["error"]) for row in rows if row["error"]]
    kinds = dict.fromkeys(errors)
    lines = [f"{errors.count(error)} failed: {error}" for error in list(kinds)[:5]]
    return lines + (["failed jobs run again with --retry-failed, once what failed them is mended"] if errors else [])
