"""One job into a store: done once, completely or not at all, with what failed recorded as a run."""

import os
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from tokendyn.errors import BadInputError, OutputError, TokendynError
from tokendyn.experiments.jobs import Ending, Job, beyond
from tokendyn.experiments.results import results_of
from tokendyn.runs.kernels import is_kernel_cache, keep_kernels_in_memory
from tokendyn.runs.opened import recording
from tokendyn.runs.store import BEYOND, Record, Store, seal

_LOG = "log.txt"
#: Bytes that must find room for a failure to be the fault of a job and not of the disk.
_PROBE = 1 << 16

#: numba and torch keep global state: one job at a time in a process.
_one_at_a_time = threading.Lock()


def perform(
    folder: str | Path, job: Job, *, attempts: int = 1, keep_failures: bool = True, verify: bool = False
) -> tuple[Record, Ending]:
    """Run a job and store the run; a run that the store has already is only read.

    Parameters
    ----------
    folder
        The store.
    job
        What to run.
    attempts
        How often to try before a failure is recorded; bad input fails at once.
    keep_failures
        Record a failure as a run, in place of raising its error.
    verify
        Compare every file of a run that is there with its digest, and make one that is damaged anew.

    Raises
    ------
    OutputError
        If the store cannot be written: no fault of the job.
    BusyError
        If another process makes the same run.
    """
    store = Store(folder)
    with _one_at_a_time, store.claim(job.id):
        done = store.finished(job.id, verify=verify)
        if done is not None:
            return done, Ending(done.status, done.results)
        attempt = 0
        while attempt < attempts:
            attempt += 1
            try:
                return _attempt(store, job, attempt)
            except Exception as error:
                if _is_mended(store, job, error):
                    attempt -= 1
                    continue
                if isinstance(error, OutputError):
                    raise
                last = attempt == attempts or isinstance(error, BadInputError)
                if last and not keep_failures:
                    raise
                if last:
                    return record_failure(store, job, _words_of(error), attempt), Ending("failed")
    raise AssertionError("at least one attempt")


def record_failure(store: Store, job: Job, error: str, attempts: int) -> Record:
    """Put a failed run with its error into a store."""
    with store.writing(job.id) as folder:
        return _sealed(folder, job, Ending("failed"), error=error, attempts=attempts, seconds=0.0)


def _attempt(store: Store, job: Job, attempt: int) -> tuple[Record, Ending]:
    """Run a job into the store once."""
    began = time.perf_counter()
    state = store.checkpoint(job.id)
    final = store.path(job.id) / job.kind.output
    with store.writing(job.id) as folder:
        output = folder / job.kind.output
        if job.kind.experiment.grows and final.is_dir():
            shutil.copytree(final, output)
        try:
            with recording() as opened:
                ending = job.kind.compute(job.config, output, job.id + final.suffix, state)
        except Exception as error:
            _check_disk(folder, error)
            if isinstance(error, OSError | OutputError) and not is_kernel_cache(error):
                raise _JobError(_words_of(error)) from error
            raise
        unexpected = beyond(job, opened, store.folder)
        if ending.sentences:
            (folder / _LOG).write_text("\n".join(ending.sentences) + "\n", encoding="utf-8")
        seconds = time.perf_counter() - began
        record = _sealed(folder, job, ending, attempts=attempt, seconds=seconds, unexpected=unexpected)
    if ending.status != "stopped":
        state.unlink(missing_ok=True)
    return record, ending


def _sealed(
    folder: Path, job: Job, ending: Ending, *, attempts: int, seconds: float, error: str = "",
    unexpected: Mapping[str, str] | None = None,
) -> Record:  # fmt: skip
    from tokendyn.runs.provenance import provenance

    results, timings = results_of(ending.summary)
    seed = job.config.get("seed")
    origin = provenance({}, seed=seed if isinstance(seed, int) else None, seconds=seconds)
    origin = {name: value for name, value in origin.items() if name != "config"}
    origin |= {"code": job.kind.code} | ({BEYOND: dict(unexpected)} if unexpected else {})
    record = Record(
        id=job.id, command=job.command, status=ending.status, config=job.config, inputs=job.inputs, results=results,
        timings=timings, error=error, attempts=attempts, provenance=origin,
    )  # fmt: skip
    return seal(folder, record)


class _JobError(TokendynError):
    """A job met an error of files that is not the fault of the store."""


def _is_mended(store: Store, job: Job, error: Exception) -> bool:
    """Take away what stood in the way of a run, and say whether that was it: a full kernel cache, a bad checkpoint."""
    if is_kernel_cache(error):
        return keep_kernels_in_memory()
    state = store.checkpoint(job.id)
    if isinstance(error, BadInputError) and str(state) in str(error) and state.exists():
        state.unlink()
        return True
    return False


def _words_of(error: Exception) -> str:
    return str(error) if isinstance(error, TokendynError) else f"{type(error).__name__}: {error}"


def _check_disk(folder: Path, error: Exception) -> None:
    """Raise an :class:`OutputError` if the store refuses to be written, now that a job failed."""
    try:
        probe = folder / ".probe"
        with probe.open("wb") as stream:
            stream.write(bytes(_PROBE))
            stream.flush()
            os.fsync(stream.fileno())
        probe.unlink()
    except OSError as refusal:
        why = refusal.strerror or refusal
        raise OutputError(
            f"cannot write the store {folder.parent}: {why}; what is finished is kept: make room, and start again"
        ) from error
