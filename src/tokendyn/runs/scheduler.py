"""Run many tasks on an executor whose workers may die: no task is lost, and no other task is blamed.

The executor is joblib's loky (processes of this machine) or that of a Dask client; both are
:class:`concurrent.futures.Executor`.
"""

import concurrent.futures
import math
import os
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.optional import library

Task = TypeVar("Task")
Answer = TypeVar("Answer")

#: Seconds between two looks at a task that another process holds.
_PATIENCE = 0.5
#: Environment variables for the number of threads of a library.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_IDLE_SECONDS = 300.0
_BYTES = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


class WorkerDiedError(TokendynError):
    """The process of a task ended before the task: killed, or out of memory.

    Parameters
    ----------
    message
        What happened.
    certain
        Whether it is known that no other task was to blame.
    """

    def __init__(self, message: str, certain: bool = False) -> None:
        super().__init__(message)
        self.certain = certain


class LostSchedulerError(TokendynError):
    """The connection to the cluster broke."""


@dataclass
class Crew(Generic[Task, Answer]):
    """Workers, and the treatment of their answers.

    Attributes
    ----------
    open
        Makes an executor; called again when all its workers are gone.
    end
        Lets the workers of an executor go, and drops what waits.
    work
        What a worker calls with a task.
    window
        How many tasks may be under way.
    deaths
        How many workers a task may kill before it is given up.
    is_busy
        Whether an answer says that another process holds the task.
    """

    open: Callable[[], Executor]
    end: Callable[[Executor], None]
    work: Callable[[Task], Answer]
    window: int
    deaths: int
    is_busy: Callable[[Answer], bool]
    _executor: Executor | None = field(default=None, init=False)

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer | WorkerDiedError]]:
        """Yield every task with its answer, in the order in which they end; tasks are taken as they are needed.

        When a worker dies, the tasks that were under way run again one at a time, so that the one that kills its worker
        is found; it gets a :class:`WorkerDiedError` for an answer after ``deaths`` times.
        """
        source, waiting = iter(tasks), deque[tuple[float, Task]]()
        flying: dict[Future[Answer], Task] = {}
        while True:
            self._fill(source, waiting, flying)
            if not flying and not waiting:
                return
            if not flying:
                time.sleep(max(0.0, waiting[0][0] - time.monotonic()))
                continue
            done, _ = concurrent.futures.wait(flying, return_when=concurrent.futures.FIRST_COMPLETED)
            suspects = []
            for future in done:
                task = flying.pop(future)
                answer = _answer(future)
                if isinstance(answer, WorkerDiedError) and not answer.certain:
                    suspects.append(task)
                elif not isinstance(answer, WorkerDiedError) and self.is_busy(answer):
                    waiting.append((time.monotonic() + _PATIENCE, task))
                else:
                    yield task, answer
            if suspects:
                suspects += flying.values()
                flying.clear()
                self._executor = None
                for task in suspects:
                    yield task, self._alone(task)

    def close(self) -> None:
        """Let the workers go, now."""
        if self._executor is not None:
            self.end(self._executor)
            self._executor = None

    def _fill(
        self, source: Iterator[Task], waiting: "deque[tuple[float, Task]]", flying: "dict[Future[Answer], Task]"
    ) -> None:
        """Submit tasks until the window is full."""
        while len(flying) < self.window:
            task = next(source, None)
            if task is None:
                if not waiting or waiting[0][0] > time.monotonic():
                    return
                task = waiting.popleft()[1]
            flying[self._submit(task)] = task

    def _submit(self, task: Task) -> Future[Answer]:
        if self._executor is None:
            self._executor = self.open()
        try:
            return self._executor.submit(self.work, task)
        except (BrokenExecutor, RuntimeError):
            # A worker died between two tasks; the executor knows before we do.
            self._executor = self.open()
            return self._executor.submit(self.work, task)

    def _alone(self, task: Task) -> Answer | WorkerDiedError:
        """Run one task with nothing beside it."""
        died = WorkerDiedError("")
        for _ in range(self.deaths):
            while True:
                answer = _answer(self._submit(task))
                if isinstance(answer, WorkerDiedError) or not self.is_busy(answer):
                    break
                time.sleep(_PATIENCE)
            if not isinstance(answer, WorkerDiedError):
                return answer
            died, self._executor = answer, None
        return died


def _answer(future: "Future[Any]") -> Any:
    """Return the answer of a task; a dead worker is an answer, other errors are raised."""
    try:
        return future.result()
    except BrokenExecutor:
        return WorkerDiedError("the worker process was killed, or ran out of memory")
    except concurrent.futures.CancelledError:
        raise LostSchedulerError(_LOST) from None
    except Exception as error:
        if type(error).__name__ == "KilledWorker":
            return WorkerDiedError("the workers of the cluster that took it died, one after the other", certain=True)
        if type(error).__name__ in ("CommClosedError", "FutureCancelledError", "CancelledError"):
            raise LostSchedulerError(_LOST) from None
        raise


_LOST = "the connection to the Dask scheduler is lost; what is finished is kept: start it, and the same command again"


def local_executor(workers: int, threads: int, memory: int | None) -> Executor:
    """Return processes of this machine through joblib's loky, kept warm from task to task.

    Parameters
    ----------
    workers
        How many.
    threads
        Threads of the numerical libraries in each.
    memory
        Bytes of data that each may hold; None for no limit.
    """
    from joblib.externals.loky import get_reusable_executor

    executor: Executor = get_reusable_executor(
        max_workers=workers,
        timeout=_IDLE_SECONDS,
        initializer=begin_worker,
        initargs=(memory, os.getpid()),
        env=dict.fromkeys(_THREADS, str(threads)),
    )
    return executor


def end_local(executor: Any) -> None:
    """Stop the workers of :func:`local_executor` in the middle of what they do."""
    # On a stop loky drops the tasks that wait but not their numbers, and its thread ends with a KeyError, in a
    # traceback, when it meets one: a task that was submitted just before an interrupt.
    numbers = getattr(executor, "_work_ids", None)
    while numbers is not None:
        try:
            numbers.get_nowait()
        except queue.Empty:
            break
    executor.shutdown(wait=True, kill_workers=True)


def end_dask(executor: Executor) -> None:
    """Drop the waiting tasks of a cluster; its workers stay."""
    executor.shutdown(wait=False)


def dask_executor(address: str) -> tuple[Executor, int]:
    """Return the executor of a Dask cluster, and its present number of workers.

    Raises
    ------
    BadInputError
        If no scheduler answers at the address.
    MissingLibraryError
        Without Dask.
    """
    distributed = library("dask.distributed")
    try:
        client: Any = distributed.Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise BadInputError(
            f"no Dask scheduler answers at {address} ({error}); start one with dask scheduler, and give its address"
        ) from None
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    return client.get_executor(pure=False), workers


def bytes_of(text: str, name: str = "memory") -> int:
    """Return a size such as ``500MB`` or ``2GiB`` in bytes."""
    size = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-z]*)\s*", text.lower(), re.ASCII)
    count = float(size[1]) * _BYTES.get(size[2], 0) if size else 0.0
    if not math.isfinite(count) or count < 1:
        raise BadInputError(f"`{name}` is {text!r}; expected a size such as 500MB or 2GB")
    return int(count)


def begin_worker(memory: int | None, parent: int) -> None:
    """Prepare a local worker: its limit of memory, and its end when its parent is gone."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if memory is not None:
        limit_memory(memory)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def limit_memory(size: int) -> None:
    """Limit the bytes of data that this process may hold; more raises MemoryError in it."""
    import resource

    kind = getattr(resource, "RLIMIT_DATA", resource.RLIMIT_AS)
    _, most = resource.getrlimit(kind)
    resource.setrlimit(kind, (size, most))


def _end_with(parent: int) -> None:
    """End this process when its parent was killed: its answers would be lost."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
