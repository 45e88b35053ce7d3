"""Looking at a foreign file in another process first, whose time and memory are limited.

Libraries of binary formats can crash on a damaged file, or loop without an end and without a way to stop them.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokendyn.errors import BadInputError

#: Seconds that looking at a file may take.
MOST_SECONDS = 60.0

#: Bytes of address space that looking at a file may take, beyond what a process takes that has just started.
MOST_MEMORY = 4 * 2**30


def look(module: str, path: str | Path, library: str, asked: str = "") -> Any:
    """Return what a module of this package, run as a program, says of a file (see :func:`answer`).

    Parameters
    ----------
    module
        Its name.
    path
        The file.
    library
        What reads the file, for messages.
    asked
        What the module reads from standard input.

    Raises
    ------
    BadInputError
        If that process crashes, takes more than ``MOST_SECONDS`` or ``MOST_MEMORY``, or cannot be started.
    """
    command = [sys.executable, "-P", "-m", module, str(path)]  # -P: no module of the working folder is imported
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        ended = subprocess.run(
            command, check=False, input=asked.encode(), capture_output=True, timeout=MOST_SECONDS,
            env=os.environ | single,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BadInputError(
            f"{path} cannot be opened within {MOST_SECONDS:.0f} seconds; it is damaged: write it again"
        ) from None
    except OSError as error:
        why = error.strerror or error
        raise BadInputError(f"{path} cannot be checked: no process can be started ({why})") from None
    if ended.returncode < 0:
        raise BadInputError(f"{path} makes the {library} library crash; it is damaged: write it again")
    try:
        return json.loads(ended.stdout)
    except ValueError:
        raise BadInputError(
            f"{path} cannot be looked at within {MOST_MEMORY / 2**30:.0f} GiB of memory; is it damaged?"
        ) from None


def answer(walk: Callable[[str], Any]) -> None:
    """Write what a function says of the file on the command line as JSON, within the limits, and end the process."""
    end_after(MOST_SECONDS + 1.0)
    limit_memory(MOST_MEMORY)
    sys.stdout.write(json.dumps(walk(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)  # closing a damaged file may crash where reading it did not


def end_after(seconds: float) -> None:
    """End this process then, wherever it is and whether or not anybody still waits for it; not on Windows."""
    if hasattr(signal, "alarm"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def limit_memory(more: int) -> None:
    """Limit the further address space of this process; on Linux only."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        has = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        allowed = has + more if hard == resource.RLIM_INFINITY else min(has + more, hard)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
