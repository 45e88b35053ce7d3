"""The result of a sweep: one row for each job, and the number of jobs for each status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from tokendyn.errors import OutputError
from tokendyn.optional import missing
from tokendyn.results import Bars, Points, Result
from tokendyn.results.files import pack, unpack
from tokendyn.runs.files import check_free, new_folder, schema_of, write_json
from tokendyn.runs.plan import Plan, plan_of
from tokendyn.runs.store import Status
from tokendyn.runs.table import HEAD, numbers, table_of, write_csv, write_parquet

if TYPE_CHECKING:
    import pandas as pd

SCHEMA, SCHEMA_VERSION = "tokendyn-sweep", 1
TABLE = "table"


@dataclass(frozen=True, repr=False)
class SweepResult(Result):
    """The jobs of a sweep, in the order of its plan.

    Attributes
    ----------
    command
        The words of the command that ran.
    swept
        The options that change from job to job.
    rows
        One row a job: number, run, status, error, the swept options, the results.
    counts
        How many jobs ended how: completed, diverged, stopped, failed.
    ran
        How many runs were made now; the others were there already.
    store
        Folder of the store.
    plan
        What was asked for.
    provenance
        Versions, machine kind, seed, wall time.
    """

    command: str
    swept: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    ran: int
    store: Path
    plan: Plan
    provenance: Mapping[str, Any]

    @property
    def status(self) -> str:
        """``"completed"``; ``"failed"`` when jobs failed, ``"partial"`` when budgets cut some."""
        if self.counts["failed"]:
            return "failed"
        return "partial" if self.counts["stopped"] else "completed"

    @property
    def ids(self) -> list[str]:
        """The run of each job; see :class:`tokendyn.runs.store.Store`."""
        return [row["run"] for row in self.rows]

    def columns(self) -> dict[str, list[Any]]:
        """Return the table as columns of one kind each."""
        return table_of(self.rows)

    def table(self) -> "pd.DataFrame":
        """Return one row a job: number, run, status, error, the swept options, the results."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    def picture(self) -> Points | Bars:
        """Return the first result against the first swept option that is a number; else how the jobs ended."""
        table = self.columns()
        options, results = numbers(table, self.swept), self.results()
        if not options or not results:
            return Bars(list(self.counts), list(self.counts.values()), xlabel="jobs")
        pairs = zip(table[options[0]], table[results[0]], strict=True)
        kept = np.array([pair for pair in pairs if None not in pair], dtype=np.float64)
        return Points(kept[:, 0], kept[:, 1], xlabel=options[0], ylabel=results[0])

    def results(self) -> list[str]:
        """Return the names of the results that are numbers and differ between jobs."""
        table = self.columns()
        return numbers(table, [name for name in table if name not in (*HEAD, *self.swept)])

    def summary(self) -> dict[str, Any]:
        """Return the sweep in numbers, as JSON values."""
        counts = {"jobs": len(self.rows), **self.counts, "ran": self.ran}
        return {"status": self.status, "command": self.command, **counts}

    def describe(self) -> list[str]:
        """Return how the jobs ended, with the first error of each kind."""
        counts = self.counts
        stopped = f", {counts['stopped']} stopped by their budget: the same command goes on" * bool(counts["stopped"])
        line = f"{counts['completed']} completed, {counts['diverged']} diverged, {counts['failed']} failed{stopped}"
        errors = [str(row["error"]) for row in self.rows if row["error"]]
        kinds = list(dict.fromkeys(errors))
        return [f"{line}; {self.ran} ran now", *(f"{errors.count(error)} failed: {error}" for error in kinds[:5])]

    def save(self, folder: str | Path, *, overwrite: bool = False, source: bytes = b"", name: str = "") -> None:
        """Write table, figures and record into a folder; one of an earlier sweep is replaced.

        Parameters
        ----------
        folder
            Folder to write; it appears only when it is complete.
        source, name
            Content and name of the file of the sweep, if there is one.
        overwrite
            Replace the folder even when it is something else that tokendyn wrote.

        Raises
        ------
        OutputError
            If the folder is not a sweep's, or the disk refuses.
        """
        from tokendyn.show.sweeps import sweep_figure

        check_out(folder, self.store, overwrite=overwrite)
        table, results = self.columns(), self.results()
        record = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "sweep": name, **self.summary()}
        record |= {"store": str(self.store), "results": results, "provenance": dict(self.provenance)}
        record |= {"swept": list(self.swept), "plan": self.plan.record(), **pack({"table": table}, ())[0]}
        with new_folder(folder, overwrite=True) as temporary:
            if source:
                (temporary / "sweep.toml").write_bytes(source)
            write_csv(temporary / f"{TABLE}.csv", table)
            if not missing("pyarrow"):
                write_parquet(temporary / f"{TABLE}.parquet", table)
            for option in self.swept if results else ():
                if len(set(map(str, table[option]))) > 1:
                    sweep_figure(table, option, results).savefig(temporary / f"against-{option}.png", dpi=130)
            write_json(temporary / "sweep.json", record)


def load_sweep(record: Mapping[str, Any], folder: Path) -> SweepResult | None:
    """Return a sweep from what :meth:`SweepResult.save` recorded; None for a record of 0.1, which holds no table."""
    if not isinstance(record.get("plan"), dict) or not isinstance(record.get("table"), dict):
        return None
    table = unpack({"table": record["table"]}, {}, (), folder)["table"]
    return SweepResult(
        command=record["command"],
        swept=tuple(record["swept"]),
        rows=[dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)],
        counts={name: int(record[name]) for name in get_args(Status)},
        ran=record["ran"],
        store=Path(record["store"]),
        plan=plan_of(record["plan"]),
        provenance=record["provenance"],
    )


def check_out(folder: str | Path, store: Path, *, overwrite: bool) -> None:
    """Raise an :class:`OutputError` if a sweep must not be written to a folder; ask before long work.

    Parameters
    ----------
    folder
        Where the table is to be.
    store
        Where the runs are.
    overwrite
        Replace something else too.
    """
    if store.resolve().is_relative_to(Path(folder).resolve()):
        raise OutputError(f"{folder} is to hold the table alone, and the store {store} lies in it; name another")
    if Path(folder).exists() and not overwrite and schema_of(Path(folder) / "sweep.json") != SCHEMA:
        raise OutputError(
            f"{folder} is not the output of a sweep; choose another place, or replace it with overwrite=True"
        )
    check_free(folder, overwrite=True)
