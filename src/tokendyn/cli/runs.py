"""``tokendyn runs``: the runs in a store."""

import dataclasses
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

from tokendyn.cli.output import announce, printable, write_json
from tokendyn.errors import BadInputError
from tokendyn.runs.index import Index, Row
from tokendyn.runs.query import COLUMNS, Condition, parse
from tokendyn.runs.store import Store

_ID_SHOWN = 10
#: Default columns for each run.
_MOST_SHOWN = 6
#: Default number of runs in a table.
_MOST_LISTED = 50
#: Runs that are written at once.
_PART = 1000


def list_runs(
    *,
    where: str | None = None,
    show: str | None = None,
    limit: int | None = None,
    store: Path | None = None,
    json: bool = False,
) -> int:
    """List runs, the latest first.

    Parameters
    ----------
    where
        Condition such as "alpha > 0.5 and status = completed": options, results, and id, command, status, seed,
        seconds, finished, error, attempts, code.
    show
        Options and results to show, with commas between; by default the options that differ.
    limit
        Most runs to show, 0 for all; by default the latest 50 in the table, and all with --json.
    store
        Folder of the store; TOKENDYN_RUNS by default, else runs.
    json
        Write the runs as one JSON object to standard output, one run a line.
    """
    if limit is not None and limit < 0:
        raise BadInputError(f"--limit must be at least 0, got {limit}")
    condition = parse(where) if where else Condition()
    with _index(store) as index:
        if json:
            _write_runs(index, index.texts(condition, limit=limit or None))
            return 0
        most = _MOST_LISTED if limit is None else limit or None
        rows = index.rows(condition, limit=most)
        total, folder = index.count(), index.store.folder
        meeting = index.count(condition) if most is not None and len(rows) == most else len(rows)
    if rows:
        names = [name.strip() for name in show.split(",")] if show else _telling(rows)
        print_table(["run", "command", "status", *names], [_cells(row, names) for row in rows])
    announce(f"{meeting} of {total} runs in {folder}" + (" meet the condition" if where else ""))
    if meeting > len(rows):
        announce(f"these are the latest {len(rows)}; --limit 0 lists the other {meeting - len(rows)} too")
    return 0


def show_run(run: str, /, *, store: Path | None = None, json: bool = False) -> int:
    """Show one run: how it ended, its options and results; every file is compared with its digest.

    Parameters
    ----------
    run
        Its id, or the beginning of it.
    store
        Folder of the store; TOKENDYN_RUNS by default, else runs.
    json
        Write the manifest as one JSON object to standard output.
    """
    with _index(store) as index:
        folder, identity = index.store, index.full_id(run)
    record = folder.read(identity, verify=True)
    if json:
        write_json({**dataclasses.asdict(record), "folder": str(folder.path(identity))})
        return 0
    announce(f"{record.command} {identity}: {record.status}" + (f": {record.error}" if record.error else ""))
    for heading, values in (("option", record.config), ("result", record.results), ("time", record.timings)):
        present = {name: value for name, value in values.items() if value is not None}
        if present:
            print_table([heading, "value"], [[name, _shown(value)] for name, value in present.items()])
    origin = record.provenance
    announce(
        f"finished {origin.get('finished')} after {origin.get('seconds')} s by {origin.get('code')}, "
        f"{origin.get('machine')}"
    )
    announce(f"{len(record.files)} files, all as written, in {folder.path(identity)}")
    return 0


def compare_runs(*runs: str, store: Path | None = None, json: bool = False) -> int:
    """Put runs beside each other: options and results in which they differ.

    Parameters
    ----------
    runs
        Two or more ids, or beginnings of them.
    store
        Folder of the store; TOKENDYN_RUNS by default, else runs.
    json
        Write the differences as one JSON object to standard output.
    """
    if len(runs) < 2:
        raise BadInputError(f"compare takes two runs or more, got {len(runs)}")
    with _index(store) as index:
        ids = [index.full_id(run) for run in runs]
        rows = [index.store.read(run) for run in ids]
    differing = {
        part: _differences(
            [{"command": row.command, **row.config} if part == "config" else dict(row.results) for row in rows]
        )
        for part in ("config", "results")
    }
    if json:
        write_json({"runs": ids, **differing})
        return 0
    for part, heading in (("config", "option"), ("results", "result")):
        if differing[part]:
            cells = [[name, *map(_shown, values)] for name, values in differing[part].items()]
            print_table([heading, *(run[:_ID_SHOWN] for run in ids)], cells)
        else:
            announce(f"the {heading}s are the same")
    return 0


def remove_runs(
    *runs: str, where: str | None = None, yes: bool = False, store: Path | None = None, json: bool = False
) -> int:
    """Remove runs from the store, by id or by condition.

    Parameters
    ----------
    runs
        Ids, or beginnings of them.
    where
        Remove every run that meets this condition (see list); needs --yes, without it says which.
    yes
        Do it.
    store
        Folder of the store; TOKENDYN_RUNS by default, else runs.
    json
        Write what was removed as one JSON object to standard output.
    """
    if bool(runs) == (where is not None):
        raise BadInputError("say which runs: by id, or by --where, not both")
    with _index(store) as index:
        if where is not None:
            rows = index.rows(parse(where))
            # What this version cannot read it cannot judge: such runs are removed by name alone.
            ids = [row.id for row in rows if row.status != "newer"]
            if len(ids) < len(rows):
                announce(f"left alone, by a newer tokendyn: {len(rows) - len(ids)}; remove them by id")
            if not yes:
                announce(
                    f"would remove {len(ids)} runs: {', '.join(ids[:8])}{', ...' if len(ids) > 8 else ''}; add --yes"
                )
                return 0
        else:
            ids = [index.full_id(run) for run in runs]
        for run in ids:
            index.store.remove(run)
        index.refresh()
    if json:
        write_json({"removed": ids})
    announce(f"removed {len(ids)} runs")
    return 0


def adopt(
    *,
    where: str | None = None,
    sample: int = 3,
    store: Path | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Take over runs that another version of the code, or of its libraries, made, once a sample gives the same bits.

    Of each command and version some runs are computed anew. When their results and tables are the same to the last
    bit, all runs of that version are taken over under their new ids; the old ones stay. Exit code 1 if bits differ.

    Parameters
    ----------
    where
        Only runs that meet this condition (see list).
    sample
        Runs of each command and version that are computed anew.
    store
        Folder of the store; TOKENDYN_RUNS by default, else runs.
    dry_run
        Say how many runs could be taken over, and stop.
    json
        Write the counts as one JSON object to standard output.
    """
    from tokendyn.cli.adoption import adopt_group, older_groups

    if sample < 1:
        raise BadInputError(f"--sample must be at least 1, got {sample}")
    with _index(store) as index:
        groups = older_groups(index, parse(where) if where else Condition())
        if dry_run or not groups:
            shown = [f"{len(runs)} of {command} by {code}" for (command, code), runs in groups.items()]
            announce(f"would look at {', '.join(shown)}" if shown else "no run of another version lacks its successor")
            return 0
        done = [adopt_group(index.store, command, code, runs, sample) for (command, code), runs in groups.items()]
        index.refresh()
    if json:
        write_json({"groups": done})
    return 1 if any(group["differing"] for group in done) else 0


def reindex(*, verify: bool = False, store: Path | None = None, json: bool = False) -> int:
    """Build the index anew from the folders, and remove what killed processes left half-written.

    Exit code 1 if a run is damaged.

    Parameters
    ----------
    verify
        Read every file of every run and compare it with its digest.
    store
        Folder of the store; TOKENDYN_RUNS by default, else runs.
    json
        Write the counts as one JSON object to standard output.
    """
    opened = _store(store)
    removed = opened.clean()
    with Index(opened) as index:
        index.rebuild(verify=verify)
        damaged, newer = (index.rows(Condition(f"status = '{status}'")) for status in ("damaged", "newer"))
        total = len(index.statuses())
    if json:
        ids = {"damaged": [row.id for row in damaged], "newer": [row.id for row in newer]}
        write_json({"runs": total, **ids, "leftovers_removed": removed})
    for row in (*damaged, *newer):
        announce(row.error)
    unread = f", {len(newer)} of a newer tokendyn" if newer else ""
    announce(f"{total} runs in {opened.folder}, {len(damaged)} damaged{unread}; removed {removed} unfinished leftovers")
    return 1 if damaged else 0


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people to standard error; on a terminal its lines are cut where the terminal ends."""
    lines = [[printable(" ".join(cell.split())) for cell in row] for row in (head, *rows)]
    widths = [max(map(_columns, column)) for column in zip(*lines, strict=True)]
    most = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    shown = []
    for line in lines:
        cells = (cell + " " * (width - _columns(cell)) for cell, width in zip(line, widths, strict=True))
        shown.append("  ".join(cells).rstrip()[:most])
    sys.stderr.write("\n".join(shown) + "\n")


def _columns(text: str) -> int:
    """Return the width of a text in columns of a terminal: letters of East Asia take two, accents none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def _write_runs(index: Index, runs: Sequence[str]) -> None:
    """Write runs, JSON texts already, as one object."""
    head = dumps({"store": str(index.store.folder), "total": index.count()}, ensure_ascii=False)
    sys.stdout.write(head[:-1] + ', "runs": [')
    for start in range(0, len(runs), _PART):
        sys.stdout.write((",\n" if start else "\n") + ",\n".join(runs[start : start + _PART]))
    sys.stdout.write("\n]}\n")


def _store(folder: Path | None) -> Store:
    """Return a store that is there; an index is never put into another folder."""
    stored = Store(folder)
    if not stored.is_there():
        why = "holds no run" if stored.folder.is_dir() else "is not there"
        raise BadInputError(f"there is no store {stored.folder}: it {why}; name one with --store or TOKENDYN_RUNS")
    return stored


def _index(folder: Path | None) -> Index:
    """Return the index of a store, equal to its folders; say what had to be repaired."""
    stored = _store(folder)
    index = Index(stored)
    index.refresh()
    for note in index.notes:
        announce(note)
    return index


def _telling(rows: Sequence[Row]) -> list[str]:
    """Return the options in which runs of the same command differ, as many as fit."""
    first: dict[str, dict[str, Any]] = {}
    differing: dict[str, None] = {}
    for row in rows:
        other = first.setdefault(row.command, row.config)
        if row.config != other:
            names = dict.fromkeys((*other, *row.config))
            differing |= dict.fromkeys(name for name in names if row.config.get(name) != other.get(name))
    return list(differing)[:_MOST_SHOWN]


def _differences(records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the names whose values are not all the same, with the values."""
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [record.get(name) for record in records] for name in names}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def _cells(row: Row, names: Sequence[str]) -> list[str]:
    known = {**row.results, **row.config, **{name: getattr(row, name) for name in COLUMNS}}
    return [row.id[:_ID_SHOWN], row.command, row.status, *(_shown(known.get(name)) for name in names)]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
