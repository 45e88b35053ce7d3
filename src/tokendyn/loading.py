"""``td.load``: read back anything that was saved, recognised by the schema that its own file states.

A file names what it is, and this table says which function reads it: nothing in a file is executed or imported.
"""

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokendyn.errors import BadInputError, TokendynError
from tokendyn.results.face import STATUSES, Result, result_class
from tokendyn.results.kinds import KINDS
from tokendyn.results.pictures import Bars
from tokendyn.runs.folders import read_json, schema_of
from tokendyn.runs.store import MANIFEST, OUTPUT
from tokendyn.runs.store import SCHEMA as STORED

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.show.report import Report

#: For each schema: its file in a folder, what it is, and the function (folder) -> object. Of a folder with several
#: files, the first in this order counts: a clustering run holds a trajectory, a saved certificate a transformer.
FOLDERS: dict[str, tuple[str, str, str]] = {
    "tokendyn-result": ("result.json", "a result", "loading:_load_result"),
    "tokendyn-refinement": ("refinement.json", "a refinement", "particles.meanfield.report:load_refinement"),
    "tokendyn-forecaster-search": ("search.json", "a search for a forecaster", "forecast.trials:SearchResult.load"),
    "tokendyn-forecast-run": ("run.json", "a forecast run", "forecast.continued:ForecastRun.load"),
    "tokendyn-certificate": ("certificate.json", "a certificate", "loading:_load_certificate"),
    "tokendyn-exact-classifier": ("classifier.json", "an ExactClassifier", "exact.store:load_classifier"),
    "tokendyn-clustering": ("run.json", "a clustering run", "loading:_load_clustering"),
    "tokendyn-meanfield": ("run.json", "a mean-field run", "loading:_load_meanfield"),
    "tokendyn-phase": ("phase.json", "a phase diagram", "particles.meanfield.diagram:load_diagram"),
    "tokendyn-sentiment": ("model.json", "a LeaderClassifier", "sentiment.store:load"),
    "tokendyn-exact": ("model.json", "an ExactTransformer", "exact.store:load"),
    "tokendyn-forecast": ("model.json", "a forecaster", "forecast.store:load"),
    "tokendyn-pod": ("pod.json", "a POD", "forecast.pod:POD.load"),
    "tokendyn-trajectory": ("trajectory.json", "a trajectory", "dynamics.trajectory:Trajectory.load"),
    "tokendyn-flow": ("flow.json", "a trajectory of a flow", "dynamics.flow_trajectory:FlowTrajectory.load"),
    "tokendyn-explored": ("explored.json", "a run of the explorer", "loading:_load_explored"),
    "tokendyn-sweep": ("sweep.json", "a sweep", "loading:_load_sweep"),
}

#: Records whose numbers are all there is: they come back as a :class:`Record`.
RECORDS: dict[str, tuple[str, str]] = {
    "tokendyn-head-theory": ("theory.json", "what the theory says of a head"),
    "tokendyn-claims": ("claims.json", "outcomes of claims"),
    "tokendyn-comparison": ("comparison.json", "a comparison of classifiers"),
    "tokendyn-faithfulness": ("evaluation.json", "an evaluation of explanations"),
    "tokendyn-behaviour": ("behaviour.json", "a behavioural suite"),
    "tokendyn-curve": ("curve.json", "accuracy against leaders a text"),
    "tokendyn-forecast-study": ("study.json", "a study of forecasters"),
    "tokendyn-verification": ("", "a verification"),
    "tokendyn-sequence-check": ("", "a check of sequences"),
    "tokendyn-forecast-prediction": ("", "a prediction"),
    "tokendyn-explanation": ("", "an explanation"),
}

#: The table that lies beside a record.
_TABLES = {"tokendyn-sweep": "table.csv"}

#: What a reader raises when a whole JSON file lacks a key or holds a value of another kind.
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Record(Result):
    """A record of numbers and tables that a command wrote.

    Attributes
    ----------
    what
        What it is, in words.
    values
        The JSON values.
    source
        The file.
    """

    what: str
    values: Mapping[str, Any]
    source: Path

    @property
    def status(self) -> str:
        """What the record says of itself, as that of a sweep does; else ``"completed"``."""
        status = self.values.get("status")
        return status if status in STATUSES else "completed"

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def describe(self) -> list[str]:
        """Return what the record is and what it holds."""
        return [f"{self.what}, from {self.source}", f"it holds {', '.join(sorted(self.values))}"]

    def summary(self) -> dict[str, Any]:
        """Return the numbers and words of the record."""
        facts = {name: value for name, value in self.values.items() if isinstance(value, bool | int | float | str)}
        return {"what": self.what, **facts}

    def table(self) -> "pd.DataFrame":
        """Return the table of a sweep; else the first rows of the record, or its numbers and words."""
        import pandas as pd

        beside = self.source.parent / _TABLES.get(str(self.values.get("schema")), "")
        if beside.is_file():
            return pd.read_csv(beside)
        for value in self.values.values():
            if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
                return pd.DataFrame(value)
        return pd.DataFrame(list(self.summary().items()), columns=["quantity", "value"])

    def picture(self) -> Bars:
        """Return the first column of numbers of the table."""
        table = self.table()
        numbers = [name for name in table.columns if table[name].dtype.kind in "if"]
        if not numbers:
            return Bars((), ())
        first = table.iloc[:, 0] if table.columns[0] != numbers[0] else table.index
        return Bars(names=[str(name) for name in first], values=table[numbers[0]].tolist(), xlabel=str(numbers[0]))

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the record into a new folder, under the name of its file."""
        from tokendyn.runs.folders import new_folder, write_json

        with new_folder(folder, overwrite=overwrite) as temporary:
            write_json(temporary / self.source.name, dict(self.values))


def load(path: str | Path) -> Any:
    """Read back a result or a model, from its folder or from the file in it that says what it is.

    Parameters
    ----------
    path
        What ``save``, a command with ``--out``, the store of runs, or ``--json`` wrote. Of a stored run, its folder.

    Returns
    -------
    A result (:class:`tokendyn.Result`) or a model, of the class that was saved.

    Raises
    ------
    BadInputError
        If the path is not there, or holds nothing that is known (the message says what was found and what can be
        read); and what the reader of its kind raises for damaged files.

    Examples
    --------
    >>> import tempfile
    >>> import tokendyn as td
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     td.simulate([[2.0, 0.0], [0.0, 1.0]], layers=5).save(f"{folder}/run")
    ...     td.load(f"{folder}/run").trajectory.layers
    5
    """
    if not isinstance(path, str | os.PathLike):
        raise BadInputError(
            f"path is {type(path).__name__}, expected the name of a folder that save() or a command wrote"
        )
    path = Path(path)
    try:
        there = path.exists()
    except OSError as error:  # a name that is too long, or links in a circle
        raise BadInputError(f"{str(path)[:200]} cannot be read: {error.strerror}") from None
    if not there:
        raise BadInputError(f"{path} is not there; give a folder that save() or a command wrote")
    if path.is_file():
        return _load_file(path)
    if schema_of(path / MANIFEST) == STORED:
        path = path / OUTPUT
    schemas: dict[str, str] = {}
    for name in dict.fromkeys([*(name for name, *_ in FOLDERS.values()), *(name for name, _ in RECORDS.values())]):
        schema = schema_of(path / name) if name else None
        if schema in FOLDERS:
            return _read(schema, path)
        if schema in RECORDS:
            return _record(path / name, schema)
        if schema is not None:
            schemas[name] = schema
    held = ", ".join(f"{name} says {schema!r}" for name, schema in schemas.items()) or "no file that says what it is"
    raise BadInputError(f"{path} cannot be loaded ({held}); {_known()}")


def saved_report(folder: Path, pictures: Path) -> "Report":
    """Return the page of a saved result, its pictures drawn anew into the folder ``pictures``."""
    from tokendyn.results.files import RECORD, SCHEMA, SCHEMA_VERSION
    from tokendyn.show.report import repeated

    result: Result = load(folder)
    whole = (folder / RECORD).is_file()
    record = read_json(folder / RECORD, schema=SCHEMA, version=SCHEMA_VERSION) if whole else {}
    return repeated(result.page(pictures), str(record.get("command", "")))


def _load_file(path: Path) -> Any:
    """Read the folder of a file, or the record that the file is."""
    schema = schema_of(path)
    if schema in FOLDERS and path.name == FOLDERS[schema][0]:
        return _read(schema, path.parent)
    if schema in RECORDS:
        return _record(path, schema)
    if schema == "tokendyn-explored":  # the page exports it under any name
        return _explored(path)
    if path.name == MANIFEST and schema == STORED:
        return load(path.parent)
    beside = [name for name, *_ in FOLDERS.values() if path.with_suffix(".json").name == name]
    if path.suffix == ".safetensors" and beside and path.with_suffix(".json").exists():
        return load(path.parent)
    reason = f"it says {schema!r}" if schema else "it does not say what it is"
    raise BadInputError(
        f"{path} cannot be loaded ({reason}); {_known()}. Tables, texts, sequences and states are read by read_tokens, "
        "read_series, read_texts, read_sequences and read_states"
    )


def _known() -> str:
    """Return what can be loaded, in words."""
    return f"load reads {', '.join(what for _, what, _ in FOLDERS.values())}, and records that commands wrote"


def _read(schema: str, folder: Path) -> Any:
    """Read a folder by the reader of its schema; what a damaged record makes it stumble over is one message."""
    try:
        return _function(FOLDERS[schema][2])(folder)
    except TokendynError:
        raise
    except _DAMAGED as error:
        problem = f"{type(error).__name__}: {error}"
        raise BadInputError(
            f"{folder} is damaged: the record of {FOLDERS[schema][1]} lacks something or does not fit ({problem}); "
            "write it anew"
        ) from None


def _function(name: str) -> Callable[[Path], Any]:
    """Import a reader of the package when it is needed."""
    module, _, attributes = name.partition(":")
    value: Any = importlib.import_module(f"tokendyn.{module}")
    for attribute in attributes.split("."):
        value = getattr(value, attribute)
    return value


def _record(path: Path, schema: str) -> Record:
    return Record(what=RECORDS[schema][1], values=read_json(path, schema=schema, version=1), source=path)


def _load_result(folder: Path) -> Result:
    from tokendyn.results.files import RECORD, SCHEMA, SCHEMA_VERSION, kinds_in
    from tokendyn.results.files import load as load_result

    for kind in set(kinds_in(read_json(folder / RECORD, schema=SCHEMA, version=SCHEMA_VERSION))):
        if result_class(kind) is None and kind in KINDS:
            importlib.import_module(f"tokendyn.{KINDS[kind]}")
    return load_result(folder)


def _load_certificate(folder: Path) -> Any:
    from tokendyn.exact.certificate import MODEL, SCHEMA, SCHEMA_VERSION
    from tokendyn.exact.store import load as load_transformer

    read_json(folder / "certificate.json", schema=SCHEMA, version=SCHEMA_VERSION)
    return load_transformer(folder / MODEL).certificate


def _load_clustering(folder: Path) -> Any:
    from tokendyn.particles.report import load_run

    return load_run(folder)[0]


def _load_meanfield(folder: Path) -> Any:
    from tokendyn.particles.meanfield.report import load_run

    return load_run(folder)[0]


def _load_sweep(folder: Path) -> Any:
    from tokendyn.experiments.swept import SCHEMA, SCHEMA_VERSION, load_sweep

    path = folder / FOLDERS[SCHEMA][0]
    record = read_json(path, schema=SCHEMA, version=SCHEMA_VERSION)
    return load_sweep(record, folder) or Record(what=FOLDERS[SCHEMA][1], values=record, source=path)


def _load_explored(folder: Path) -> Any:
    return _explored(folder / "explored.json")


def _explored(path: Path) -> Any:
    from tokendyn.data.explored import read_explored

    return read_explored(path)
