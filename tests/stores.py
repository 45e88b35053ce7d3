"""Runs made by hand, small disks, processes to kill, and what workers do, for the tests of store and sweeps.

Workers import this module: it stays light.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager


def six_tokens(folder):
    """Write a table of six tokens in the plane; return its path."""
    import numpy as np

    path = folder / "tokens.csv"
    np.savetxt(path, np.random.default_rng(0).normal(size=(6, 2)), delimiter=",")
    return path


def run_name(number):
    """Return the id of the run with a number."""
    return f"{number:016x}"


def add(store, number, *, status="completed", text="content", **results):
    """Write a run with one file and some results; return its record."""
    from tokendyn.runs.store import Record, seal

    name = run_name(number)
    with store.claim(name), store.writing(name) as folder:
        (folder / "output").mkdir()
        (folder / "output" / "data.txt").write_text(f"{text} {number}", encoding="utf-8")
        config = {"alpha": number / 10, "score": "2,0;0,1", "strict": number % 2 == 0, "softmax": None}
        made = {"seed": number, "seconds": 0.5, "finished": f"2026-01-01T00:00:{number % 60:02d}+00:00", "code": "x"}
        record = Record(name, "simulate", status, config, {}, {"clusters": number, **results}, provenance=made)
        return seal(folder, record)


def filled(folder, count):
    """Return a store with runs 1 to ``count``."""
    from tokendyn.runs.store import Store

    store = Store(folder)
    for number in range(1, count + 1):
        add(store, number)
    return store


@contextmanager
def small_disk(folder, size):
    """Mount a file system of a few bytes; skip where that is not allowed."""
    import pytest

    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here; run the tests as root on Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def read_only(folder):
    """Make a mounted file system read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def more_room(folder):
    """Give a small disk so much room that nothing fills it."""
    subprocess.run(["mount", "-o", "remount,size=30m", str(folder)], check=True)


def process_environment():
    """Return an environment in which a Python process finds what this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def child(code, *words):
    """Start a Python process that runs ``code`` with the words as arguments."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=process_environment(),
    )  # fmt: skip


def kill_on_seven(task):
    """Square a number; seven kills the process."""
    if task == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return task * task


def hold_much(task):
    """Hold so many bytes, if that is allowed."""
    try:
        return len(bytearray(task))
    except MemoryError:
        return "no memory"


def slow_square(task):
    """Square a number, slowly."""
    time.sleep(0.02)
    return task * task
