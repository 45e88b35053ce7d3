"""Sweeps: one experiment over grids, lists and draws of its options; every job a run of the store."""

import contextlib
import functools
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tokendyn.errors import BadInputError, OutputError, TokendynError
from tokendyn.experiments.crew import Announce, crew_of, work
from tokendyn.experiments.experiment import Experiment, ProgressCallback
from tokendyn.experiments.fields import ARRAY_FOR_FILE, is_matrix, rows_of
from tokendyn.experiments.jobs import Job, Kind, kind_of
from tokendyn.experiments.options import option_name
from tokendyn.experiments.perform import record_failure
from tokendyn.experiments.swept import SweepResult
from tokendyn.runs.folders import NewerError
from tokendyn.runs.identity import plain
from tokendyn.runs.index import Index
from tokendyn.runs.plan import Plan, plan_of
from tokendyn.runs.scheduler import Crew, WorkerDiedError
from tokendyn.runs.store import FINAL, Record, Status, Store
from tokendyn.runs.table import HEAD

if TYPE_CHECKING:
    import numpy as np

#: Finished runs are added to the index in batches of this size, or after this time.
_BATCH, _BATCH_SECONDS = 200, 2.0


def sweep(
    experiment: "type[Experiment[Any]] | Experiment[Any]",
    over: "Mapping[str, Sequence[Any] | Mapping[str, Any] | np.ndarray] | None" = None,
    *,
    fixed: Mapping[str, Any] | None = None,
    together: "Mapping[str, Sequence[Any] | np.ndarray] | None" = None,
    random: Mapping[str, Mapping[str, Any]] | None = None,
    latin: Mapping[str, Mapping[str, Any]] | None = None,
    samples: int | None = None,
    seed: int = 0,
    store: str | Path | None = None,
    workers: int | None = None,
    threads: int = 1,
    memory: str | None = None,
    scheduler: str | None = None,
    retries: int = 2,
    retry_failed: bool = False,
    verify: bool = False,
    progress: ProgressCallback | None = None,
    announce: Announce | None = None,
) -> SweepResult:
    """Run an experiment over grids, lists and draws of its options, each job a run of a store.

    The ids, the runs and the table are those of ``tokendyn sweep`` with the same options. Called again, it goes on:
    finished jobs are skipped.

    Parameters
    ----------
    experiment
        A class of experiments, or one of them: its options are then those of every job, but for those named below.
    over
        Values by option; every combination is a job, and the last option changes fastest. In place of a list, a range
        ``{"from": 0.1, "to": 10, "count": 5, "scale": "log"}``.
    fixed
        Further options of every job.
    together
        Values by option that change together: lists of one length.
    random, latin
        What is drawn, by option: ``{"low": 1, "high": 100, "scale": "log"}`` or ``{"choices": [1, 2]}``; independent
        draws, and a Latin hypercube.
    samples, seed
        How many draws, and their seed.
    store
        Folder of the store; ``TOKENDYN_RUNS`` by default, else ``runs``.
    workers
        Processes on this machine; by default one for each core.
    threads
        Threads of the numerical libraries in each of them.
    memory
        What each may hold, such as ``"2GB"``, the libraries included; by default all there is.
    scheduler
        Address of a Dask scheduler, such as ``"tcp://host:8786"``, in place of local processes.
    retries
        How often a job that fails is tried again before its error is recorded; bad input never.
    retry_failed
        Run jobs again that an earlier sweep recorded as failed.
    verify
        Compare every file of finished runs with its digest, and run those again that are damaged.
    progress
        Called with the number of jobs done, and the total number.
    announce
        Called with sentences that are worth knowing before and while it runs.

    Returns
    -------
    SweepResult
        One row a job, with its status, its options and its results.

    Raises
    ------
    BadInputError
        If options are unknown or of the wrong kind, before anything runs. A job that fails is a row of the table.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from tokendyn.experiments import sweep
    >>> from tokendyn.particles.experiments import Clustering
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> np.savetxt(folder / "tokens.csv", np.random.default_rng(0).normal(size=(6, 2)), delimiter=",")
    >>> once = Clustering(folder / "tokens.csv", layers=4)
    >>> result = sweep(once, {"alpha": [0.2, 0.5]}, store=folder / "runs", workers=1)  # doctest: +SKIP
    """
    _check_call(experiment, {"over": over, "together": together}, {"fixed": fixed, "random": random, "latin": latin})
    if not isinstance(store, str | Path | None):
        raise BadInputError(f"store is {type(store).__name__}, expected the path of a folder")
    crew = crew_of(workers, threads, memory, scheduler, retries, announce or _silent)
    kind = kind_of(type(experiment) if isinstance(experiment, Experiment) else experiment)
    asked_for = {"fixed": fixed, "grid": over, "list": together, "random": random, "latin": latin}
    _refuse_arrays(kind, asked_for)
    given = experiment.given() if isinstance(experiment, Experiment) else {}
    varied = {option_name(name, kind.options) for part in asked_for.values() for name in part or ()}
    # Options given here take precedence over those of the experiment itself.
    own = {name: plain(value) for name, value in given.items() if name not in varied}
    parts = {**asked_for, "fixed": {**own, **(fixed or {})}}
    record: dict[str, Any] = {name: _json(part) for name, part in parts.items() if part}
    record |= {"command": kind.words, "seed": seed} | ({} if samples is None else {"samples": samples})
    planned = Sweep.of(kind, plan_of(record, f"the sweep of {kind.words}"))
    return planned.run(
        Store(store), crew, retries, retry_failed=retry_failed, verify=verify, progress=progress, announce=announce
    )


def _check_call(experiment: Any, lists: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Raise with names of Python arguments; the plan would raise with the words of a TOML file."""
    kind = experiment if isinstance(experiment, type) else type(experiment)
    if not issubclass(kind, Experiment):
        shown = getattr(experiment, "__name__", kind.__name__)
        raise BadInputError(f"experiment is {shown}, expected an experiment or its class, such as tokendyn.Clustering")
    for part, values in {**lists, **others}.items():
        if values is None:
            continue
        if not isinstance(values, Mapping):
            kind_of_part = type(values).__name__
            what = "lists by option, such as {'alpha': [0.1, 0.5]}" if part in lists else "a dict by option"
            raise BadInputError(f"{part} is {kind_of_part}, expected {what}")
        wrong = [repr(name) for name in values if not isinstance(name, str)]
        if wrong:
            raise BadInputError(f"{part} holds {', '.join(wrong)}, expected names of options")
        if part not in lists:
            continue
        single = [f"{name!r}: {value!r}" for name, value in values.items() if isinstance(value, str | Real)]
        if single:
            raise BadInputError(
                f"{part} holds {', '.join(single)}, expected a list for each option; "
                "what is the same in all jobs is an option of the experiment"
            )


@dataclass(frozen=True)
class Sweep:
    """A plan with what it runs, and the options that all its jobs share."""

    plan: Plan
    kind: Kind
    fixed: dict[str, Any]

    @classmethod
    def of(cls, kind: Kind, plan: Plan) -> "Sweep":
        """Return the sweep of a plan."""
        fixed = dict(plan.fixed)
        # A page for each of thousands of jobs is a waste: tokendyn report writes those that are wanted.
        if "report" in kind.options and "report" not in plan.swept:
            fixed = {"report": False, **fixed}
        return cls(plan=plan, kind=kind, fixed=fixed)

    def jobs(self) -> Iterator[Job]:
        """Yield all jobs in the order of the table; the first one with wrong options is an error."""
        for options in self.plan.jobs():
            yield self.kind.job({**self.fixed, **options})

    def check(self, store: Store, *, retry_failed: bool, verify: bool, announce: Announce) -> int:
        """Announce the jobs; return the number of jobs not done."""
        with Index(store) as index:
            ids, done = self._begin(index, 0, retry_failed=retry_failed, verify=verify, announce=announce)
        return sum(job not in done for job in ids)

    def run(
        self,
        store: Store,
        crew: "Crew[Job, Record | None]",
        retries: int,
        *,
        retry_failed: bool = False,
        verify: bool = False,
        progress: ProgressCallback | None = None,
        announce: Announce | None = None,
    ) -> SweepResult:
        """Run the jobs not done; see :func:`sweep`."""
        from tokendyn.runs.provenance import provenance

        announce = announce or _silent
        with contextlib.ExitStack() as stack:
            leftovers = _opened(store, self)
            index = stack.enter_context(Index(store))
            ids, done = self._begin(index, leftovers, retry_failed=retry_failed, verify=verify, announce=announce)
            began = time.perf_counter()
            state = _Progress(sweep=self, store=store, index=index, ids=ids, done=done, verify=verify)
            ran = _run(state, crew, retries, progress or _ignore, announce)
            index.refresh()
            rows = self._rows(index, ids)
        origin = provenance({"seed": self.plan.seed}, seed=self.plan.seed, seconds=time.perf_counter() - began)
        counts = {status: sum(row["status"] == status for row in rows) for status in get_args(Status)}
        return SweepResult(
            command=self.kind.words, swept=tuple(name.replace("-", "_") for name in self.plan.swept), rows=rows,
            counts=counts, ran=ran, store=store.folder.absolute(), plan=self.plan, provenance=origin,
        )  # fmt: skip

    def _begin(
        self, index: Index, leftovers: int, *, retry_failed: bool, verify: bool, announce: Announce
    ) -> tuple[list[str], set[str]]:
        """Return the ids of all jobs, and of those that are done; announce their number, and the repairs."""
        jobs = list(self.jobs())
        ids = [job.id for job in jobs]
        announce(f"{len(ids)} jobs of {self.kind.words} over {', '.join(self.plan.swept) or 'nothing'}")
        index.refresh(verify=verify)
        done = _done(index, jobs, retry_failed)
        _refuse_newer(index, ids)
        for note in [*index.notes, *([f"removed {leftovers} unfinished leftovers"] if leftovers else [])]:
            announce(note)
        lacking = {job.question for job in jobs if job.id not in done}
        if lacking:
            announce_older(len(index.older(lacking)), index.store, announce)
        if done:
            announce(f"{sum(job in done for job in ids)} of them are done already")
        return ids, done

    def _rows(self, index: Index, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return one row for each job, in their order."""
        known = index.some(list(dict.fromkeys(ids)))
        if lacking := set(ids) - known.keys():
            raise TokendynError(
                f"{len(lacking)} runs were removed while the sweep ran; start it again to compute them anew"
            )
        rows = []
        for number, (run, options) in enumerate(zip(ids, self.plan.jobs(), strict=True)):
            entry = known[run]
            row = dict(zip(HEAD, (number, run, entry.status, entry.error or None), strict=True))
            row |= {name.replace("-", "_"): value for name, value in options.items()}
            rows.append(row | {name: value for name, value in sorted(entry.results.items()) if name not in row})
        return rows


@dataclass(frozen=True)
class _Progress:
    """A sweep that runs: where its runs are stored, and which of its jobs were done when it started."""

    sweep: Sweep
    store: Store
    index: Index
    ids: Sequence[str]
    done: set[str]
    verify: bool

    def tasks(self) -> Iterator[Job]:
        """Yield each job that is not done, once."""
        started = set(self.done)
        for job in self.sweep.jobs():
            if job.id not in started:
                started.add(job.id)
                yield job


def _run(
    state: _Progress, crew: "Crew[Job, Record | None]", retries: int, progress: ProgressCallback, announce: Announce
) -> int:
    """Run the jobs not done; return the number of runs computed."""
    missing = [run for run in dict.fromkeys(state.ids) if run not in state.done]
    if not missing:
        return 0
    crew.work = functools.partial(work, str(state.store.folder.absolute()), retries + 1, state.verify)
    batch: list[Record] = []
    ran, flushed = 0, time.monotonic()
    try:
        progress(len(state.ids) - len(missing), len(state.ids))
        for job, answer in crew.run(state.tasks()):
            batch.append(_recorded(state.store, job, answer, crew.deaths))
            ran += 1
            progress(len(state.ids) - len(missing) + ran, len(state.ids))
            if len(batch) >= _BATCH or time.monotonic() - flushed > _BATCH_SECONDS:
                state.index.add(batch)
                batch, flushed = [], time.monotonic()
    except KeyboardInterrupt:
        announce(f"{len(state.done) + ran} of {len(state.ids)} jobs are done; the same command goes on from there")
        raise
    finally:
        crew.close()
        state.store.clean()
        if batch:
            state.index.add(batch)
    return ran


def _recorded(store: Store, job: Job, answer: Record | WorkerDiedError | None, deaths: int) -> Record:
    """Return the record of a job; the parent process writes it for a job whose worker died."""
    if isinstance(answer, Record):
        return answer
    with store.claim(job.id):
        # The worker may have died between the end of the run and its answer.
        return store.finished(job.id, verify=True) or record_failure(store, job, str(answer), deaths)


def _done(index: Index, jobs: Sequence[Job], retry_failed: bool) -> set[str]:
    skipped = FINAL | (set() if retry_failed else {"failed"})
    statuses = index.statuses()
    done = {job.id for job in jobs if statuses.get(job.id) in skipped}
    # Files that a run read beyond those of its id: only its manifest knows them.
    doubtful = {job.id for job in jobs if job.id in done and statuses[job.id] in FINAL and job.leads}
    return done - {run for run in doubtful if index.store.finished(run) is None}


def _refuse_newer(index: Index, ids: Sequence[str]) -> None:
    """Raise, before any work, if a newer tokendyn wrote some of the runs."""
    statuses = index.statuses()
    newer = [run for run in dict.fromkeys(ids) if statuses.get(run) == "newer"]
    if newer:
        raise NewerError(
            f"a newer tokendyn wrote {len(newer)} of these runs ({', '.join(newer[:3])}); update this one, or name "
            "another `store`"
        )


def announce_older(count: int, store: Store, announce: Announce) -> None:
    """Announce that the store holds these runs, computed by another version of the code or of its libraries."""
    if count:
        folder = shlex.quote(str(store.folder))
        runs = "1 run of another version matches" if count == 1 else f"{count} runs of another version match"
        announce(f"{runs}; tokendyn runs adopt --store {folder} computes a sample anew and takes the rest over")


def _silent(_: str) -> None:
    pass


def _ignore(_done: int, _total: int) -> None:
    pass


def _opened(store: Store, sweep: Sweep) -> int:
    """Create the folder of a store once the first job has been checked; return how many leftovers were removed."""
    next(sweep.jobs(), None)
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the store {store.folder}: {error.strerror or error}; name another") from error
    return store.clean()


def _refuse_arrays(kind: Kind, parts: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Raise a :class:`BadInputError` where an array stands for a file: jobs are named by what their files hold."""
    files = {name for name, option in kind.options.items() if option.takes_path and not is_matrix(option.hint)}
    for name, values in ((name, values) for part in parts.values() for name, values in (part or {}).items()):
        several = values if isinstance(values, list | tuple) else [values]
        if option_name(name, kind.options) in files and any(hasattr(value, "shape") for value in several):
            raise BadInputError(f"{name} holds an array, {ARRAY_FOR_FILE}")


def _json(part: Any) -> Any:
    """Return a part of a sweep as JSON values: a matrix is the text of its rows, any other array a list."""
    if isinstance(part, Mapping):
        return {str(name): _json(value) for name, value in part.items()}
    if isinstance(part, list | tuple | range):
        return [_json(value) for value in part]
    if getattr(part, "ndim", 0) == 2:
        return rows_of(part)
    if getattr(part, "ndim", 0):
        return [_json(value) for value in part]
    return plain(part.item() if hasattr(part, "item") else part)
