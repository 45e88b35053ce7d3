"""``tokendyn runs``: what lies in a store of runs."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from tokendyn.cli.output import announce, console, write_json
from tokendyn.errors import BadInputError
from tokendyn.runs.index import Index, Row
from tokendyn.runs.query import COLUMNS, Condition, parse
from tokendyn.runs.store import Store

_ID_SHOWN = 10
#: Columns that are shown of each run, unless others are asked for.
_MOST_SHOWN = 6
#: Characters of a line that goes into a file.
_WIDE = 300


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
        Show so many.
    store
        Folder of the store; TOKENDYN_RUNS by default, else runs.
    json
        Write the runs as one JSON object to standard output.
    """
    if limit is not None and limit < 1:
        raise BadInputError(f"--limit must be at least 1, got {limit}")
    condition = parse(where) if where else Condition()
    with _index(store) as index:
        rows = index.rows(condition, limit=limit)
        total = len(index.statuses())
        folder = index.store.folder
    if json:
        write_json({"store": str(folder), "runs": [row.record() for row in rows], "total": total})
        return 0
    if rows:
        names = [name.strip() for name in show.split(",")] if show else _telling(rows)
        print_table(["run", "command", "status", *names], [_cells(row, names) for row in rows])
    announce(f"{len(rows)} of {total} runs in {folder}")
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
        given = {name: value for name, value in values.items() if value is not None}
        if given:
            print_table([heading, "value"], [[name, _shown(value)] for name, value in given.items()])
    made = record.provenance
    announce(
        f"finished {made.get('finished')} after {made.get('seconds')} s by {made.get('code')}, {made.get('machine')}"
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
        known = index.some(ids)
    rows = [known[one] for one in ids]
    differing = {
        part: _differences(
            [{"command": row.command, **row.config} if part == "config" else row.results for row in rows]
        )
        for part in ("config", "results")
    }
    if json:
        write_json({"runs": ids, **differing})
        return 0
    for part, heading in (("config", "option"), ("results", "result")):
        if differing[part]:
            cells = [[name, *map(_shown, values)] for name, values in differing[part].items()]
            print_table([heading, *(one[:_ID_SHOWN] for one in ids)], cells)
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
            ids = [row.id for row in index.rows(parse(where))]
            if not yes:
                announce(
                    f"would remove {len(ids)} runs: {', '.join(ids[:8])}{', ...' if len(ids) > 8 else ''}; add --yes"
                )
                return 0
        else:
            ids = [index.full_id(run) for run in runs]
        for one in ids:
            index.store.remove(one)
        index.refresh()
    if json:
        write_json({"removed": ids})
    announce(f"removed {len(ids)} runs")
    return 0


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
    place = Store(store)
    removed = place.clean()
    with Index(place) as index:
        index.rebuild(verify=verify)
        damaged = index.rows(Condition("status = 'damaged'"))
        total = len(index.statuses())
    if json:
        write_json({"runs": total, "damaged": [row.id for row in damaged], "leftovers_removed": removed})
    for row in damaged:
        announce(row.error)
    announce(f"{total} runs in {place.folder}, {len(damaged)} damaged; removed {removed} unfinished leftovers")
    return 1 if damaged else 0


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people to standard error; a cell is never read as markup."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, name in enumerate(head):
        table.add_column(Text(name), overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    target = console()
    target.print(table, width=None if target.is_terminal else _WIDE, crop=target.is_terminal, no_wrap=True)


def _index(folder: Path | None) -> Index:
    """Return the index of a store, equal to its folders; say what had to be repaired."""
    place = Store(folder)
    if not place.folder.is_dir():
        raise BadInputError(f"there is no store {place.folder}; name one with --store or TOKENDYN_RUNS")
    index = Index(place)
    index.refresh()
    for note in index.notes:
        announce(note)
    return index


def _telling(rows: Sequence[Row]) -> list[str]:
    """Return the options in which runs of the same command differ, as many as fit."""
    found: dict[str, None] = {}
    for command in dict.fromkeys(row.command for row in rows):
        found |= dict.fromkeys(_differences([row.config for row in rows if row.command == command]))
    return list(found)[:_MOST_SHOWN]


def _differences(records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the names whose values are not all the same, with the values."""
    names = dict.fromkeys(name for record in records for name in record)
    found = {name: [record.get(name) for record in records] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}


def _cells(row: Row, names: Sequence[str]) -> list[str]:
    known = {**row.results, **row.config, **{name: getattr(row, name) for name in COLUMNS}}
    return [row.id[:_ID_SHOWN], row.command, row.status, *(_shown(known.get(name)) for name in names)]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
