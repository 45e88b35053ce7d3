"""Progress of long work: a bar in a notebook or on a terminal, a line now and then elsewhere."""

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: Seconds between two pictures of a bar in a notebook: each is a message to the browser.
_EVERY = 0.2
#: Seconds between two lines of a log: quick work writes none.
_LINE_EVERY = 60.0


@contextmanager
def progress_bar(what: str = "") -> Iterator[Callable[..., None]]:
    """Show how far long work has come: give what it yields as ``progress`` to a function of the library.

    In a notebook it is a bar below the cell, on a terminal a bar with the time left; elsewhere, such as in the log of a
    job, standard error gets a line a minute.

    Parameters
    ----------
    what
        What is counted, such as ``"steps"``.

    Yields
    ------
    A function ``(done, total, ...)``; what else it is given is left aside.

    Examples
    --------
    >>> import numpy as np
    >>> import tokendyn as td
    >>> flow = td.TokenFlow(5.0)
    >>> with td.progress_bar("steps") as bar:
    ...     run = td.simulate_meanfield(flow, td.circle_quantiles(20), np.linspace(0, 1, 3), progress=bar)
    """
    if _in_notebook():
        yield from _notebook_bar(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    target = Console(stderr=True, highlight=False)
    if not target.is_terminal:
        yield _log_lines(what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=target) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, *_: bar.update(task, completed=done, total=total)


def _log_lines(what: str) -> Callable[..., None]:
    """Return the callback that writes lines of a log."""
    began = shown = time.monotonic()
    first: tuple[int, float] | None = None

    def update(done: int, total: int | None, *_: Any) -> None:
        nonlocal first, shown
        now = time.monotonic()
        # What is compiled once delays the first report; the pace is that of those after it.
        first = first or (done, now)
        if now - shown >= _LINE_EVERY:
            shown = now
            line = f"{what} {_extent(done, total, now - began, (done - first[0], now - first[1]))}"
            print(line.lstrip(), file=sys.stderr, flush=True)

    return update


def _extent(done: int, total: int | None, seconds: float, pace: tuple[int, float]) -> str:
    """Return how much is done, the seconds that have passed, and those that are left at a pace (steps, seconds)."""
    left = f", {pace[1] * (total - done) / pace[0]:.0f} s left" if total and pace[0] > 0 and done < total else ""
    return f"{done}, {seconds:.0f} s" if total is None else f"{done}/{total}, {seconds:.0f} s{left}"


def _in_notebook() -> bool:
    """Return whether a kernel runs this, which shows HTML; a terminal of IPython does not."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def _notebook_bar(what: str) -> Iterator[Callable[..., None]]:
    """Yield the callback of a bar in a notebook, which the last state stays in."""
    display: Any = sys.modules["IPython"].display
    began = shown = time.monotonic()
    state: tuple[int, int | None] = (0, None)
    handle = display.display(display.HTML(bar_html(what, *state, 0.0)), display_id=True)

    def update(done: int, total: int | None, *_: Any) -> None:
        nonlocal shown, state
        state, now = (done, total), time.monotonic()
        if now - shown >= _EVERY:
            shown = now
            handle.update(display.HTML(bar_html(what, done, total, now - began)))

    try:
        yield update
    finally:
        handle.update(display.HTML(bar_html(what, *state, time.monotonic() - began)))


def bar_html(what: str, done: int, total: int | None, seconds: float) -> str:
    """Return a bar as HTML, with the seconds that have passed and those that are left at this pace.

    Examples
    --------
    >>> from tokendyn.show.progress import bar_html
    >>> bar_html("steps", 3, 4, 6.0)
    '<label>steps <progress value="3" max="4"></progress> 3/4, 6 s, 2 s left</label>'
    """
    extent = "" if total is None else f' value="{done}" max="{total}"'
    count = _extent(done, total, seconds, (done, seconds))
    return f"<label>{html.escape(what)} <progress{extent}></progress> {count}</label>"
