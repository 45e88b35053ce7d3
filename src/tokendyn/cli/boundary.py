"""The last line between a command and its user: whatever goes wrong is one message and an exit code.

Nothing of this computes; it is imported with the command line and stays light.
"""

import contextlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tokendyn.errors import BadInputError, OutputError, TokendynError
from tokendyn.runs.kernels import is_kernel_cache, keep_kernels_in_memory

INTERRUPTED = 130
#: An error that tokendyn did not foresee: a fault of its own (EX_SOFTWARE of sysexits.h).
FAULT = 70
#: The reader of standard output ended before the command: the exit code of a program ended by SIGPIPE.
CUT_PIPE = 141


class StoppedError(KeyboardInterrupt):
    """The process was asked to end by a signal; handled like Ctrl-C, with an exit code of its own."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


class Compiling:
    """How long kernels have been compiled in this process; those that come from the cache take no such time.

    Attributes
    ----------
    seconds
        Wall time. A kernel that is compiled for another one counts once.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth, self._start = 0, 0.0

    def begin(self) -> bool:
        """Note that a kernel is compiled; return whether it is the first of the process."""
        first = not self._depth and not self.seconds
        if not self._depth:
            self._start = time.perf_counter()
        self._depth += 1
        return first

    def end(self) -> None:
        """Note that a kernel is compiled no longer."""
        self._depth -= 1
        if not self._depth:
            self.seconds += time.perf_counter() - self._start


#: The time that this process has compiled for.
COMPILING = Compiling()


class _Closed:
    """Standard output that was closed before the command began."""

    encoding = "utf-8"

    def write(self, _: str) -> NoReturn:
        raise OutputError("standard output is closed; redirect it to a file, or to /dev/null")

    def flush(self) -> None:
        """Do nothing: nothing was written."""

    def isatty(self) -> bool:
        """Return False."""
        return False


def guarded(call: Callable[[], Any], arguments: Sequence[str]) -> int:
    """Return the exit code of a command; say in one message why it failed, if it did.

    Parameters
    ----------
    call
        Runs the command and returns its code.
    arguments
        The words of the command line, for the record of a fault.
    """
    try:
        _check_streams(arguments)
        _check_names(arguments)
        try:
            code = call()
        except Exception as error:
            if not is_kernel_cache(error) or not keep_kernels_in_memory():
                raise
            say("the compiled kernels cannot be kept (NUMBA_CACHE_DIR names another place); they serve this run only")
            code = call()
        sys.stdout.flush()
    except BaseException as error:
        exit_code, message = _answer(error, arguments)
        if message:
            say(message)
        return exit_code
    return code if isinstance(code, int) else 0


def _answer(error: BaseException, arguments: Sequence[str]) -> tuple[int, str]:
    """Return the exit code and the message for the end of a command; exceptions that end Python itself pass through."""
    if isinstance(error, TokendynError):
        return error.exit_code, in_flags(str(error))
    if isinstance(error, KeyboardInterrupt):
        how = "stopped" if isinstance(error, StoppedError) else "interrupted"
        code = error.exit_code if isinstance(error, StoppedError) else INTERRUPTED
        return code, f"{how}; nothing unfinished was left under a final name"
    if not isinstance(error, Exception):
        raise error
    outcome = FAULT, ""
    if isinstance(error, OSError):
        _drop_output()
        outcome = (CUT_PIPE, "") if isinstance(error, BrokenPipeError) else (OutputError.exit_code, _os_message(error))
    elif isinstance(error, MemoryError):
        outcome = TokendynError.exit_code, "not enough memory for this run; use fewer tokens or layers"
    elif isinstance(error, UnicodeEncodeError):
        shown = repr(error.object[error.start : error.end][:20])
        outcome = BadInputError.exit_code, f"a name or a text is not UTF-8 ({shown}); rename the file"
    elif isinstance(error, ValueError) and "null byte" in str(error):
        outcome = BadInputError.exit_code, "a name holds a null byte, which no file has; correct it"
    return outcome if outcome[0] != FAULT else (FAULT, _fault(error, arguments))


def say(message: str) -> None:
    """Say one message of the command line itself to people."""
    from tokendyn.cli.output import announce_lines

    announce_lines(f"tokendyn: {message.strip()}")


#: Arguments of the library that its messages name as ``name=value``, and that are options of commands.
_ARGUMENTS = (
    "overwrite", "strict", "record", "array", "fill", "arithmetic", "time", "store",
    "strategy", "attention", "dtype", "direction", "multiplicity", "positions", "embedding", "hash_dim", "min_margin",
    "heads", "key_value_heads", "head", "layer", "mapping", "prefix", "special", "causal", "normalise", "push",
)  # fmt: skip
#: Options whose name is not that of the argument.
_RENAMED = {"special": "special-tokens"}


def in_flags(message: str) -> str:
    """Return a message of the library with its arguments as the options of the command line.

    ``name='value'`` becomes ``--name value``, ``name=True`` becomes ``--name``, and ``name=False`` ``--no-name``. Names
    of several words are no words of English, and are options without a value too.
    """
    import re

    def option(match: re.Match[str]) -> str:
        name, value = match["name"], match["quoted"] or match["value"]
        flag = _RENAMED.get(name, name.replace("_", "-"))
        if value == "False" and name not in ("overwrite", "strict"):  # off by default
            return f"--no-{flag}"
        return f"--{flag}" if value in ("True", "False") else f"--{flag} {value or repr('')}"

    value = r"""(?:(?P<quote>['"])(?P<quoted>.*?)(?P=quote)|(?P<value>-?[\w.]*\w))"""
    message = re.sub(rf"(?<![-\w])(?P<name>{'|'.join(_ARGUMENTS)})={value}", option, message)
    several = "|".join(name for name in _ARGUMENTS if "_" in name)
    return re.sub(rf"(?<![-\w])({several})\b(?!=)", lambda match: "--" + match[1].replace("_", "-"), message)


def prepare_process() -> None:
    """Prepare the process of a command: UTF-8 on its streams, an orderly end on TERM and HUP, word of compiling."""
    _occupy_streams()
    sys.meta_path.insert(0, _Watch())
    for stream, errors in ((sys.stdout, "strict"), (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors=errors)
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", None)):
        # One that is ignored, as under nohup, stays so.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)


def _occupy_streams() -> None:
    """Open closed standard streams on the null device.

    The next file that is opened would get the number of a closed stream, and whatever a compiled library or a worker
    process writes to that stream would end in the file: the index of a store, say.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(number, True)


class _Watch(importlib.abc.MetaPathFinder):
    """Registers a listener once numba is imported, which takes too long to do for every command."""

    module = "numba.core.event"

    def find_spec(self, fullname: str, *_: Any) -> Any:
        """Return the place of the one module that is waited for, with a loader that registers the listener."""
        if fullname != self.module or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            load = loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                _listen(module)

            loader.exec_module = exec_module
        return spec


def _listen(event: Any) -> None:
    """Say it when the first kernel is compiled; those that are in the cache make no such event."""

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, _: Any) -> None:
            if COMPILING.begin():
                say("compiling once what computes here; later runs take it from a cache")

        def on_end(self, _: Any) -> None:
            COMPILING.end()

    event.register("numba:compile", Listener())


def _stop(number: int, _: object) -> NoReturn:
    raise StoppedError(number)


def _check_streams(arguments: Sequence[str]) -> None:
    """Make closed streams safe to write to; a closed standard output is said before any work that ends there."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = _Closed()
    if isinstance(sys.stdout, _Closed) and "--json" in arguments:
        sys.stdout.write("")


def _check_names(arguments: Sequence[str]) -> None:
    """Refuse names that no record could hold, before any work."""
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError:
            shown = word.encode("utf-8", "backslashreplace").decode()
            raise BadInputError(
                f"{shown[:100]} is not UTF-8; rename the file, or set PYTHONUTF8=1 if the locale is to blame"
            ) from None


def _os_message(error: OSError) -> str:
    """Return the refusal of the operating system, with the name of the file."""
    from tokendyn.runs.folders import refusal

    name = str(error.filename or "") or "standard output"
    return f"{name[:200]}{'...' * (len(name) > 200)}: {refusal(error)}"


def _drop_output() -> None:
    """Discard the rest of standard output, so that the end of the process does not fail at it again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        number = sys.stdout.fileno()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, number)
        os.close(silent)


def _fault(error: Exception, arguments: Sequence[str]) -> str:
    """Write a report of an unexpected error to a file; return the message about it."""
    from tokendyn import __version__

    frames = traceback.extract_tb(error.__traceback__)
    inner = [frame for frame in frames if f"{os.sep}tokendyn{os.sep}" in frame.filename] or list(frames)
    location = f"{Path(inner[-1].filename).name}:{inner[-1].lineno}" if inner else "unknown place"
    lines = [f"tokendyn {__version__}, Python {sys.version}", f"arguments: {list(arguments)!r}", ""]
    record = "\n".join(lines) + "\n" + "".join(traceback.format_exception(error))
    message = f"a fault of tokendyn: {type(error).__name__} at {location}: {str(error)[:300] or 'no message'}"
    try:
        handle, name = tempfile.mkstemp(prefix="tokendyn-crash-", suffix=".txt")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(record)
    except OSError:
        return f"{message}\nPlease report it; the record could not be written."
    return f"{message}\nPlease report it with the record in {name}; it holds the command line and no data."
