"""The index of a store: the content of its manifests in SQLite, to list and query thousands of runs at once.

It is a cache. Every use compares it with the folders and repairs it; a damaged one is thrown away and built anew, and
where none can be written it is kept in memory.
"""

import contextlib
import json
import operator
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tokendyn.errors import BadInputError, nearest
from tokendyn.runs.folders import NewerError
from tokendyn.runs.identity import question_id
from tokendyn.runs.query import COLUMNS, Condition
from tokendyn.runs.store import MANIFEST, DamagedError, Record, Store

NAME = "index.sqlite"

#: Raised whenever the table changes; an index of another version is built anew.
_VERSION = 2
#: Seconds to wait for another process that holds the index: at first, before the folders are read in place of it, and
#: later, before what was written is left for the next refresh.
_FIRST_WAIT, _WAIT_SECONDS = 3.0, 60.0
_FIELDS = (*COLUMNS, "config", "results", "question", "inode", "changed", "size")
_TABLE = (
    "CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, command TEXT, status TEXT, seed INTEGER, seconds REAL, "
    "finished TEXT, error TEXT, attempts INTEGER, code TEXT, config TEXT, results TEXT, "
    "question TEXT, inode INTEGER, changed INTEGER, size INTEGER) WITHOUT ROWID"
)
_INSERT = f"INSERT OR REPLACE INTO runs ({', '.join(_FIELDS)}) VALUES ({', '.join('?' * len(_FIELDS))})"

Found = TypeVar("Found")


@dataclass(frozen=True)
class Row:
    """One run in the index.

    ``status`` is ``damaged`` for one that cannot be read whole, and ``newer`` for one that a newer tokendyn wrote.
    """

    id: str
    command: str
    status: str
    seed: int | None
    seconds: float | None
    finished: str
    error: str
    attempts: int
    code: str
    config: dict[str, Any]
    results: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return dict(self.__dict__)


class Index:
    """The index of a store, kept equal to its folders.

    Parameters
    ----------
    store
        The store.

    Attributes
    ----------
    notes
        What had to be repaired, for people.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.notes = store, list[str]()
        self._folder = os.fspath(store.folder)
        self._database = self._open()

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def refresh(self, *, verify: bool = False) -> None:
        """Bring the index up to the folders: add what is new or changed, drop what is gone.

        Parameters
        ----------
        verify
            Read every file of every run and compare it with its digest.
        """
        try:
            self._follow(verify)
        except sqlite3.DatabaseError as error:
            self._replace(error, verify)

    def _follow(self, verify: bool) -> None:
        """Read the folders that the index does not know as they are."""
        known = {row[0]: row[1:] for row in self._all("SELECT id, inode, changed, size FROM runs")}
        there = self.store.ids()
        removed = known.keys() - set(there)
        stale = [run for run in there if verify or known.get(run) != self._mark(run)]
        if not removed and not stale:
            return
        with self._writing() as database:
            database.executemany("DELETE FROM runs WHERE id = ?", [(run,) for run in sorted(removed)])
            database.executemany(_INSERT, (self._read(run, verify) for run in stale))

    def rebuild(self, *, verify: bool = False) -> None:
        """Forget everything and read all folders; with ``verify`` every file too."""
        self._database.close()
        _forget(self.store.folder / NAME)
        self._database = self._open()
        self.refresh(verify=verify)

    def add(self, records: Iterable[Record]) -> None:
        """Take in runs that were just written, in one transaction; where that fails, :meth:`refresh` finds them."""
        with contextlib.suppress(sqlite3.DatabaseError), self._writing() as database:
            database.executemany(_INSERT, [_row(record, self._mark(record.id)) for record in records])

    def rows(self, condition: Condition = Condition(), *, limit: int | None = None) -> list[Row]:  # noqa: B008
        """Return the runs that meet a condition, the latest first.

        Raises
        ------
        BadInputError
            If the condition has a name that no run has; the message names the nearest.
        """
        return self._asked(", ".join(_FIELDS[: len(COLUMNS) + 2]), _indexed, condition, limit)

    def texts(self, condition: Condition = Condition(), *, limit: int | None = None) -> list[str]:  # noqa: B008
        """Return the result of :meth:`rows` as JSON texts: ten thousand of them take a tenth of a second."""
        pairs = ", ".join(f"'{name}', {name}" for name in COLUMNS)
        fields = f"json_object({pairs}, 'config', json(config), 'results', json(results))"
        return self._asked(fields, operator.itemgetter(0), condition, limit)

    def count(self, condition: Condition = Condition()) -> int:  # noqa: B008
        """Return the number of runs that meet a condition."""
        return int(self._all(f"SELECT count(*) FROM runs WHERE {condition.sql}", condition.values)[0][0])

    def some(self, runs: Sequence[str]) -> dict[str, Row]:
        """Return those of some runs that are in the store, by id."""
        rows: dict[str, Row] = {}
        for start in range(0, len(runs), 500):
            part = runs[start : start + 500]
            marks = ", ".join("?" * len(part))
            rows |= {row.id: row for row in self.rows(Condition(f"id IN ({marks})", tuple(part)))}
        return rows

    def older(self, questions: Iterable[str]) -> dict[str, str]:
        """Return finished runs, by the question that they answer, for those of the given questions that have one."""
        wanted = set(questions)
        answered = self._all("SELECT question, id FROM runs WHERE status IN ('completed', 'diverged')")
        return {question: run for question, run in answered if question in wanted}

    def statuses(self) -> dict[str, str]:
        """Return the status of every run, by id."""
        return dict(self._all("SELECT id, status FROM runs"))

    def full_id(self, start: str) -> str:
        """Return the id that begins with ``start``.

        Raises
        ------
        BadInputError
            If there is none, or more than one.
        """
        if not start or set(start) - set("0123456789abcdef"):
            raise BadInputError(f"{start[:60]!r} is no run id; tokendyn runs list shows them")
        ids = [row[0] for row in self._all("SELECT id FROM runs WHERE id >= ? AND id < ?", (start, start + "g"))]
        if len(ids) == 1:
            return str(ids[0])
        if ids:
            raise BadInputError(f"{start} begins {len(ids)} ids ({', '.join(ids[:4])}, ...); give more of it")
        raise BadInputError(f"{self.store.folder} has no run {start}; tokendyn runs list shows its runs")

    def _open(self) -> sqlite3.Connection:
        """Return the database; a damaged one is replaced, and one in memory stands in where none can be written."""
        path = self.store.folder / NAME
        if not self.store.folder.is_dir():
            return _prepared(":memory:")
        try:
            return _prepared(path)
        except (sqlite3.DatabaseError, _OldError) as error:
            if _refuses(error):
                why = "is held by another process" if "locked" in str(error) else "cannot be written"
                self.notes.append(f"{path} {why}; the runs were read from their folders")
                return _prepared(":memory:")
            if not isinstance(error, _OldError):
                self.notes.append(f"{path} was damaged ({error}); it was built anew from the folders")
        _forget(path)
        try:
            return _prepared(path)
        except (sqlite3.DatabaseError, _OldError):
            return _prepared(":memory:")

    def _asked(
        self, fields: str, make: Callable[[Sequence[Any]], Found], condition: Condition, limit: int | None
    ) -> list[Found]:
        """Return the runs that meet a condition; where rows cannot be read, the folders are."""
        sql = f"SELECT {fields} FROM runs WHERE {condition.sql} ORDER BY finished DESC, id LIMIT ?"
        values = (*condition.values, -1 if limit is None else limit)
        try:
            rows = [make(row) for row in self._all(sql, values)]
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            self._replace(error)
            rows = [make(row) for row in self._all(sql, values)]
        if not rows:
            self._check_names(condition)
        return rows

    def _replace(self, error: Exception, verify: bool = False) -> None:
        """Go on with an index in memory, made from the folders."""
        self.notes.append(f"{self.store.folder / NAME} cannot be used ({error}); the runs were read from their folders")
        self._database.close()
        self._database = _prepared(":memory:")
        self._follow(verify)

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._database.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the database in one transaction, the only one that writes."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.DatabaseError):
                self._database.execute("ROLLBACK")
            raise

    def _read(self, run: str, verify: bool) -> tuple[Any, ...]:
        mark = self._mark(run)
        try:
            return _row(self.store.read(run, verify=verify), mark)
        except (DamagedError, NewerError) as error:
            message = str(error).encode("utf-8", "backslashreplace").decode()  # it may quote half a character
            status = "newer" if isinstance(error, NewerError) else "damaged"
            return (run, "", status, None, None, "", message, 0, "", "{}", "{}", "", *mark)

    def _mark(self, run: str) -> tuple[int, int, int]:
        """Return what changes when a manifest is written anew; the clock of a change cannot be set by a user."""
        try:
            facts = os.stat(f"{self._folder}/{run}/{MANIFEST}")
        except OSError:
            return (0, 0, 0)
        return (facts.st_ino, facts.st_ctime_ns, facts.st_size)

    def _check_names(self, condition: Condition) -> None:
        """Say which name of a condition no run has."""
        if not condition.names or not self._all("SELECT 1 FROM runs WHERE status NOT IN ('damaged', 'newer') LIMIT 1"):
            return
        keys = "SELECT DISTINCT key FROM runs, json_each(runs.{0})"
        known = {row[0] for part in ("config", "results") for row in self._all(keys.format(part))} | set(COLUMNS)
        wrong = sorted(condition.names - known)
        if wrong:
            near = nearest(wrong[0], sorted(known))
            hint = f"did you mean {near}?" if near else "tokendyn runs show ID shows the names of a run"
            raise BadInputError(f"no run has an option or a result {', '.join(wrong)}; {hint}")


def _forget(path: Path) -> None:
    """Remove a database, where that is allowed."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


class _OldError(Exception):
    """The index is of another version."""


def _prepared(path: str | Path) -> sqlite3.Connection:
    """Return an open, checked database with its table."""
    database = sqlite3.connect(path, timeout=_FIRST_WAIT, isolation_level=None)
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise _OldError
        if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("it fails the check of SQLite")
        if version == 0:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(_TABLE)
            database.execute(f"PRAGMA user_version = {_VERSION}")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("SELECT inode, changed, size FROM runs LIMIT 1")
        # A folder that cannot be written shows only when a transaction begins.
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")
        database.execute(f"PRAGMA busy_timeout = {int(1000 * _WAIT_SECONDS)}")
    except BaseException:
        database.close()
        raise
    return database


def _refuses(error: Exception) -> bool:
    words = ("readonly", "unable to open", "disk is full", "disk I/O", "locked")
    return isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in words)


def _indexed(row: Sequence[Any]) -> Row:
    *head, config, results = row
    return Row(**dict(zip(COLUMNS, head, strict=True)), config=json.loads(config), results=json.loads(results))


def _row(record: Record, mark: tuple[int, int, int]) -> tuple[Any, ...]:
    provenance = record.provenance
    head = (record.id, record.command, record.status, _whole(provenance.get("seed")), _real(provenance.get("seconds")))
    tail = (provenance.get("finished") or "", record.error, _whole(record.attempts), str(provenance.get("code", "")))
    question = question_id(record.command, record.config, record.inputs)
    return (*head, *tail, json.dumps(dict(record.config)), json.dumps(dict(record.results)), question, *mark)


def _whole(number: int | None) -> int | None:
    """Return a whole number that SQLite can hold; the manifest keeps a larger one, the index does without."""
    return number if number is None or abs(number) < 2**63 else None


def _real(number: float | None) -> float | None:
    """Return a number as SQLite holds it; None for a whole one beyond all floats."""
    try:
        return None if number is None else float(number)
    except OverflowError:
        return None
