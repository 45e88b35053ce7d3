"""Workers of a sweep: local processes or a Dask cluster, and what each of them does with a job."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import Executor

from tokendyn.errors import BadInputError
from tokendyn.experiments.jobs import Job
from tokendyn.experiments.perform import perform
from tokendyn.runs.scheduler import Crew, bytes_of, dask_executor, end_dask, end_local, local_executor
from tokendyn.runs.store import BusyError, Record

#: Tasks under way for each worker: one that is computed, one that waits.
_AHEAD = 2

#: Called with sentences that are worth knowing while a sweep runs.
Announce = Callable[[str], None]


def crew_of(
    workers: int | None, threads: int, memory: str | None, scheduler: str | None, retries: int, announce: Announce
) -> "Crew[Job, Record | None]":
    """Return workers on this machine or on a Dask cluster; none is started yet.

    Raises
    ------
    BadInputError
        If a number is out of range, or options of this machine are given for a cluster.
    """
    count = workers if workers is not None else os.cpu_count() or 1
    problems = [
        f"`{name}` must be at least {least}, got {value}"
        for name, value, least in (("workers", count, 1), ("threads", threads, 1), ("retries", retries, 0))
        if value < least
    ]
    if scheduler is not None and (workers is not None or memory is not None or threads != 1):
        problems.append(
            "`workers`, `threads` and `memory` are for this machine; a cluster has its own (dask worker --help)"
        )
    if problems:
        raise BadInputError.all_of("options", problems)
    size = None if memory is None else bytes_of(memory)
    start: Callable[[], Executor] = functools.partial(local_executor, count, threads, size)
    end: Callable[[Executor], None] = end_local
    if scheduler is not None:
        executor, count = dask_executor(scheduler)
        if not count:
            announce(f"the scheduler at {scheduler} has no workers yet; waiting for some: dask worker {scheduler}")
        start, end = functools.partial(_return, executor), end_dask
    return Crew(
        open=start,
        end=end,
        work=_no_work,
        window=_AHEAD * max(count, 1),
        deaths=retries + 1,
        is_busy=lambda answer: answer is None,
    )


def _return(executor: Executor) -> Executor:
    return executor


def _no_work(_: Job) -> Record | None:
    return None


def work(folder: str, attempts: int, verify: bool, job: Job) -> Record | None:
    """Run a job in a worker; return its record, also of a failure. Return None if another process runs the job.

    Raises
    ------
    BadInputError
        If this worker runs other code than the sweep.
    """
    if job.kind.id_of(job.config, job.inputs) != job.id:
        raise BadInputError(
            "a worker runs another version of tokendyn, or of a library that it computes with, than this command; "
            "install the same for all, and start again"
        )
    try:
        return perform(folder, job, attempts=attempts, verify=verify)[0]
    except BusyError:
        return None
