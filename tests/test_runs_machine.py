"""Whatever happens to a store, in whatever order: it holds exactly the runs whose writing ended."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from stores import add, run_name

from tokendyn.errors import BadInputError, OutputError
from tokendyn.runs.index import NAME, Index
from tokendyn.runs.query import parse
from tokendyn.runs.store import MANIFEST, Store

NUMBERS = st.integers(1, 6)


class CrashError(BaseException):
    """Stands for the end of the process: nothing catches it."""


class StoreMachine(RuleBasedStateMachine):
    """A store beside a dictionary of what it must hold: number of the run, and how it ended."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store, self.expected = Store(self.folder / "runs"), {}

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule(number=NUMBERS, status=st.sampled_from(["completed", "diverged", "failed"]))
    def write(self, number, status):
        if self.expected.get(number) in ("completed", "diverged"):
            with pytest.raises(OutputError, match="finished already"):
                add(self.store, number, status=status)
            return
        add(self.store, number, status=status)
        self.expected[number] = status

    @rule(number=NUMBERS)
    def crash_before_the_rename(self, number):
        """Leave what a killed process leaves: a folder with a whole manifest, under a temporary name."""
        name = run_name(number)
        other = Store(self.folder / "elsewhere")
        add(other, number)
        self.store.folder.mkdir(exist_ok=True)
        target = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.store.folder))
        other.path(name).rename(target / "whole")
        for file in (target / "whole").iterdir():
            file.rename(target / file.name)
        (target / "whole").rmdir()

    @rule(number=NUMBERS)
    def crash_inside_the_block(self, number):
        if self.expected.get(number) in ("completed", "diverged"):
            return
        name = run_name(number)
        with pytest.raises(CrashError):
            self.write_half(name)

    def write_half(self, name):
        with self.store.claim(name), self.store.writing(name) as folder:
            (folder / "half").write_text("half", encoding="utf-8")
            raise CrashError

    @rule(number=NUMBERS)
    def remove(self, number):
        if number in self.expected:
            self.store.remove(run_name(number))
            del self.expected[number]
        else:
            with pytest.raises(BadInputError, match="no run"):
                self.store.remove(run_name(number))

    @rule(number=NUMBERS)
    def cut_the_manifest(self, number):
        if number in self.expected:
            path = self.store.path(run_name(number)) / MANIFEST
            path.write_bytes(path.read_bytes()[:-20])
            self.expected[number] = "damaged"

    @rule()
    def damage_the_index(self):
        if (self.store.folder / NAME).exists():
            (self.store.folder / NAME).write_bytes(b"not a database" * 400)

    @rule()
    def forget_the_index(self):
        (self.store.folder / NAME).unlink(missing_ok=True)

    @rule()
    def clean(self):
        self.store.clean()
        left = [] if not self.store.folder.exists() else [path.name for path in self.store.folder.iterdir()]
        assert not [name for name in left if name.startswith(".") and name != ".locks"]

    @invariant()
    def holds_what_was_written(self):
        with Index(self.store) as index:
            index.refresh()
            assert {int(row.id, 16): row.status for row in index.rows()} == self.expected
            whole = {int(row.id, 16) for row in index.rows(parse("clusters >= 1"))}
        assert whole == {number for number, status in self.expected.items() if status != "damaged"}
        for number, status in self.expected.items():
            record = self.store.finished(run_name(number))
            assert (record is not None) == (status in ("completed", "diverged"))


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=15, stateful_step_count=20)
