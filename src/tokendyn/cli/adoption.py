"""``tokendyn runs adopt``: runs of another version are taken over when a sample of them gives the same bits."""

import dataclasses
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokendyn.cli.jobs import COMMANDS, command
from tokendyn.cli.output import announce
from tokendyn.errors import TokendynError
from tokendyn.experiments.jobs import Job
from tokendyn.experiments.perform import perform
from tokendyn.runs.index import Index
from tokendyn.runs.query import Condition
from tokendyn.runs.store import CONFIG, BusyError, Record, Store, seal

#: Files with results, without times and places.
_BITS = frozenset({".safetensors", ".csv", ".npy", ".npz", ".parquet", ".onnx"})


def older_groups(index: Index, condition: Condition) -> dict[tuple[str, str], list[str]]:
    """Return the ids of finished runs by other code, by command and code, that no run by this code stands for yet."""
    groups: dict[tuple[str, str], list[str]] = {}
    known = set(index.statuses())
    for row in index.rows(condition):
        if row.status not in ("completed", "diverged") or row.command not in COMMANDS:
            continue
        if row.code.partition("+")[2] != command(row.command).code.partition("+")[2]:
            record = index.store.read(row.id)
            if command(row.command).id_of(record.config, record.inputs) not in known:
                groups.setdefault((row.command, row.code), []).append(row.id)
    return groups


def adopt_group(store: Store, words: str, code: str, runs: Sequence[str], sample: int) -> dict[str, Any]:
    """Compute a sample of runs anew; when all bits agree, write every run under its new id.

    Returns
    -------
    dict
        ``command``, ``code``, ``adopted`` (how many), ``compared`` and ``differing`` (old ids).
    """
    fact: dict[str, Any] = {"command": words, "code": code, "adopted": 0, "compared": [], "differing": []}
    records = [store.read(run, verify=True) for run in runs]
    options = set(command(words).config_names)
    usable = [record for record in records if set(record.config) == options]
    if len(usable) < len(records):
        announce(f"{len(records) - len(usable)} runs of {words} by {code} have other options than now; left alone")
    repeatable = [record for record in usable if _inputs_are_there(record)]
    step = max(1, math.ceil(len(repeatable) / sample))
    for record in repeatable[::step]:
        fact["compared"].append(record.id)
        if not _same_bits(store, record):
            fact["differing"].append(record.id)
    if not repeatable and usable:
        announce(
            f"no run of {words} by {code} can be computed anew: its inputs are gone or changed; none is taken over"
        )
    elif fact["differing"]:
        announce(
            f"{len(fact['differing'])} of {len(fact['compared'])} runs of {words} by {code} have other bits now "
            f"({', '.join(fact['differing'][:4])}); none is taken over"
        )
    else:
        fact["adopted"] = sum(_take_over(store, record, fact["compared"]) for record in usable)
        announce(
            f"{len(fact['compared'])} runs of {words} by {code} have the same bits now; took over {fact['adopted']}"
        )
    return fact


def _inputs_are_there(record: Record) -> bool:
    """Return whether all inputs of a run still hold what it read."""
    return command(record.command).inputs_of(record.config, record.inputs) == dict(record.inputs)


def _same_bits(store: Store, record: Record) -> bool:
    """Compute a run anew, beside the store, and compare results and tables."""
    known = command(record.command)
    job = Job(id=known.id_of(record.config, record.inputs), kind=known, config=record.config, inputs=record.inputs)
    # Named and claimed as the run, so that a later start clears up after a killed one.
    name = f".{record.id}-adopted-"
    with store.claim(record.id), tempfile.TemporaryDirectory(prefix=name, dir=store.folder) as folder:
        try:
            again, _ = perform(folder, job, keep_failures=False)
        except BusyError:
            raise
        except TokendynError as error:
            announce(f"{record.id} cannot be computed anew: {error}")
            return False
        return (again.status, again.results, _bits(again)) == (record.status, record.results, _bits(record))


def _bits(record: Record) -> dict[str, str]:
    return {name: digest for name, (_, digest) in record.files.items() if Path(name).suffix in _BITS}


def _take_over(store: Store, record: Record, compared: Sequence[str]) -> bool:
    """Write a run under its present id; return False if the store has that id already."""
    known = command(record.command)
    new = known.id_of(record.config, record.inputs)
    with store.claim(new):
        if store.finished(new) is not None:
            return False
        with store.writing(new) as folder:
            for name in record.files:
                if name == CONFIG:
                    continue
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(store.path(record.id) / name, folder / name)
                if Path(name).suffix in (".json", ".html"):
                    content = (folder / name).read_bytes()
                    (folder / name).write_bytes(content.replace(record.id.encode(), new.encode()))
            origin = {"run": record.id, "code": record.provenance.get("code"), "compared": list(compared)}
            provenance = {**record.provenance, "code": known.code, "adopted": origin}
            seal(folder, dataclasses.replace(record, id=new, provenance=provenance))
    return True
