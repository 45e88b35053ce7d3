"""Every reader of files as a function of bytes, and one good input for each.

A reader may return, or raise a :class:`tokendyn.errors.TokendynError`; anything else is a finding.
"""

import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as safetensors_bytes

from tokendyn.errors import TokendynError

REVIEWS = [("a fine and moving film", "pos"), ("dull, slow and false", "neg"), ("fine film", "pos"), ("dull", "neg")]


@dataclass(frozen=True)
class Target:
    """A reader of a file, or of a folder in which one file is replaced.

    Attributes
    ----------
    file
        Name of the file that takes the bytes, relative to the folder.
    read
        Reads the file or, for a ``folder`` target, the folder.
    good
        Returns a good input.
    folder
        Fills the folder with what else belongs there, None if the file stands alone.
    """

    file: str
    read: Callable[[Path], object]
    good: Callable[[], bytes]
    folder: Callable[[Path], None] | None = None

    @contextmanager
    def opened(self) -> Iterator[Callable[[bytes], object]]:
        """Yield a function that gives bytes to the reader; its folder lasts as long as the block."""
        home = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            place = home / "model"
            if self.folder is None:
                place.mkdir()
            else:
                self.folder(place)
            path = place / self.file

            def feed(data: bytes) -> object:
                path.write_bytes(data)
                try:
                    return self.read(place if self.folder else path)
                except TokendynError as error:
                    return error

            yield feed
        finally:
            shutil.rmtree(home)


def _reviews_csv() -> bytes:
    return "\n".join(["text,label", *(f'"{text}",{label}' for text, label in REVIEWS)]).encode()


def _reviews_jsonl() -> bytes:
    return "\n".join(json.dumps({"text": text, "label": label}) for text, label in REVIEWS).encode()


def _sequences_jsonl() -> bytes:
    rows = [{"id": "a", "tokens": [[0, 1], [2, 3.5]], "label": 1}, {"id": "b", "tokens": [[4, 5]], "label": 0}]
    return "\n".join(map(json.dumps, rows)).encode()


def _numpy_bytes(save: Callable[..., None], *arrays: np.ndarray, **named: np.ndarray) -> bytes:
    stream = io.BytesIO()
    save(stream, *arrays, **named)
    return stream.getvalue()


def _series() -> np.ndarray:
    return np.sin(np.arange(40.0)[:, None] * [0.3, 0.7])


def _series_csv() -> bytes:
    return "\n".join(["t,x,y", *(f"{t / 10},{x},{y}" for t, (x, y) in enumerate(_series()))]).encode()


def _typed_npz() -> bytes:
    """Return arrays of many types; objects are refused, and the reader takes what holds numbers."""
    values = _series()
    return _numpy_bytes(
        np.savez,
        half=values.astype(np.float16), long=values.astype(np.longdouble), big=values.astype(">f8"),
        whole=np.arange(40, dtype=np.uint8), truth=values > 0, raw=np.array([b"ab"] * 40),
        text=np.array(["a", "é"] * 20),
        record=np.zeros(40, dtype=[("a", "f8"), ("b", "i4", (2,))]), day=np.arange(40).astype("M8[D]"),
        complex=values * 1j, nothing=np.zeros((40, 0)), number=np.float64(3), object=np.array([None, 1]),
    )  # fmt: skip


def _typed_arrays(path: Path) -> object:
    """Read each array of an archive as tokens, as snapshots and as a field."""
    import contextlib

    from tokendyn.data.snapshots import read_snapshots
    from tokendyn.data.tokens import read_tokens
    from tokendyn.errors import BadInputError
    from tokendyn.forecast.field_files import open_field
    from tokendyn.runs.numpy_files import open_numpy

    with open_numpy(path) as found:
        names = list(found.shapes)[:20]
    taken = []
    for name in names:
        with contextlib.suppress(BadInputError):
            taken.append(read_tokens(path, array=name).tokens.shape)
        with contextlib.suppress(BadInputError):
            taken.append(read_snapshots(path, columns=[name]).values.shape)
        with contextlib.suppress(BadInputError), open_field(path, name) as field:
            taken.append(field.piece(next(field.pieces(60, over_time=True))).shape)
    if not taken:
        raise BadInputError("no array could be taken")
    return taken


def _pointing_hdf5() -> bytes:
    """Return a file with every way to point at other data: inside it a link and a virtual dataset, and outside it."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["a"] = _series()
        file["soft"] = h5py.SoftLink("/a")
        file["outside"] = h5py.ExternalLink("other.h5", "/a")
        layout = h5py.VirtualLayout((40, 2), "f8")
        layout[:] = h5py.VirtualSource(".", "a", (40, 2))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("text", data=["a"] * 40)
        file.create_dataset("packed", data=_series(), compression="gzip")
        file.create_dataset("sparse", (40, 10**6), "f8")
    return stream.getvalue()


def _pointed(path: Path) -> object:
    """Read a file that may point outside; whoever wrote it gets nothing of the secret that lies beside it."""
    from tokendyn.data.snapshots import read_snapshots
    from tokendyn.errors import BadInputError
    from tokendyn.runs.opened import recording

    with recording() as opened:
        try:
            return read_snapshots(path, columns=["a"])
        except BadInputError as error:
            if "reads other files" not in str(error):
                raise
            return f"refused: {error}"
        finally:
            assert {file.name for file in opened} <= {path.name}, "another file is opened"


def _series_frame() -> Any:
    import pandas as pd

    return pd.DataFrame(_series(), columns=["x", "y"])


def _series_parquet() -> bytes:
    stream = io.BytesIO()
    _series_frame().to_parquet(stream)
    return stream.getvalue()


def _series_hdf5() -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["x"] = _series()
    return stream.getvalue()


def _series_netcdf(engine: str = "h5netcdf") -> bytes:
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "series.nc"
        _series_frame().to_xarray().to_netcdf(path, engine=engine)
        return path.read_bytes()


def _heads() -> bytes:
    names = [f"bert.encoder.layer.0.attention.self.{name}.weight" for name in ("query", "key", "value")]
    names.append("bert.encoder.layer.0.attention.output.dense.weight")
    return safetensors_bytes({name: np.eye(4, dtype=np.float32) for name in names})


def _trained(place: Path) -> None:
    from tokendyn.sentiment.classifier import LeaderClassifier
    from tokendyn.sentiment.store import save

    texts, labels = zip(*(REVIEWS * 3), strict=True)
    save(LeaderClassifier(epochs=1, random_state=0).fit(list(texts), list(labels)), place)


def _built(place: Path) -> None:
    from tokendyn import exact

    exact.save(exact.compile([np.array([[0.0, 1.0]]), np.array([[2.0, 3.0], [1.0, 0.0]])], [0, 1]), place)


def _fitted(place: Path) -> None:
    from tokendyn.forecast import TDDMD

    TDDMD(delays=3).fit(_series(), dt=0.1).save(place)


def _fitted_transformer(place: Path) -> None:
    from tokendyn.forecast import TDTF

    TDTF(delays=3, units=4, iterations=2, random_state=0).fit(_series(), dt=0.1).save(place)


def _reduced(place: Path) -> None:
    from tokendyn.forecast.pod import POD

    POD(modes=2).fit(_series()).save(place)


def _simulated(place: Path) -> None:
    from tokendyn.particles import simulate

    simulate(_series()[:6], alpha=0.5, layers=4).trajectory.save(place)


def _flowed(place: Path) -> None:
    from tokendyn.dynamics.flow import TokenFlow
    from tokendyn.dynamics.integrators import integrate

    points = _series()[1:6]
    flow = TokenFlow(interaction=np.eye(2), inverse_temperature=3.0)
    integrate(flow, points / np.linalg.norm(points, axis=1, keepdims=True), [0.0, 0.2, 0.4]).save(place)


def _one_file(make: Callable[[Path], None], file: str) -> Callable[[], bytes]:
    def good() -> bytes:
        with tempfile.TemporaryDirectory() as home:
            make(Path(home) / "model")
            return (Path(home) / "model" / file).read_bytes()

    return good


def _explored() -> bytes:
    from tokendyn.particles.presets import presets

    return json.dumps(presets()["emerging-leader"].to_dict()).encode()


def _texts(path: Path) -> object:
    from tokendyn.data.texts import read_texts, stream_texts

    read = read_texts(path)
    streamed = [text for part in stream_texts(path, label="label", part=2) for text in part.texts]
    assert streamed == list(read.texts), "streaming reads other texts"
    return read


def _loader(module: str, name: str) -> Callable[[Path], object]:
    """Import late: a fuzzing run instruments only what its reader imports."""

    def read(path: Path) -> object:
        import importlib

        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return found(path)

    return read


def _head(path: Path) -> object:
    from tokendyn.data.weights import read_head

    return read_head(path, 0, 0, heads=2).value_matrix


def _manifest() -> bytes:
    with tempfile.TemporaryDirectory() as home:
        _stored(Path(home))
        return (Path(home) / _RUN / "manifest.json").read_bytes()


_RUN = "0" * 15 + "1"


def _stored(place: Path) -> None:
    """Make a store with one run."""
    from tokendyn.runs.store import Record, Store, seal

    store = Store(place)
    with store.claim(_RUN), store.writing(_RUN) as folder:
        (folder / "log.txt").write_text("done", encoding="utf-8")
        made = {"seed": 1, "seconds": 0.5, "finished": "2026-01-01T00:00:00+00:00", "code": "x"}
        config = {"alpha": 0.5, "score": "2,0;0,1", "strict": False, "softmax": None, "betas": [1, 2.5]}
        seal(folder, Record(_RUN, "simulate", "completed", config, {"tokens": "ab"}, {"clusters": 3}, provenance=made))


def _stored_runs(place: Path) -> object:
    """Read a store whose manifest somebody wrote by hand, digest and all, as the commands that look at it do."""
    import contextlib

    from tokendyn.cli.runs import _cells, _telling, print_table
    from tokendyn.runs.index import Index
    from tokendyn.runs.query import parse
    from tokendyn.runs.store import Store, _digest

    manifest = place / _RUN / "manifest.json"
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(manifest.read_bytes())
        if isinstance(record, dict) and record.pop("digest", None) is not None:
            manifest.write_text(json.dumps({**record, "digest": _digest(record)}), encoding="utf-8")
    with contextlib.redirect_stderr(io.StringIO()), Index(Store(place)) as index:
        index.refresh()
        rows = index.rows()
        names = [*_telling(rows), "alpha", "clusters"]
        print_table(["run", "command", "status", *names], [_cells(row, names) for row in rows])
        assert [json.loads(text)["id"] for text in index.texts()] == [row.id for row in rows]
        index.rows(parse("status != damaged or alpha > 0.1"))
    return Store(place).read(_RUN, verify=True)


_PLAN = b"""command = "simulate"
samples = 3
[fixed]
tokens = "tokens.csv"
[grid]
alpha = {from = 0.1, to = 2, count = 3, scale = "log"}
[list]
layers = [1, 2]
[random]
softmax = {low = 1, high = 100, scale = "log"}
[latin]
tie-tolerance = {choices = [0.1, 0.2]}
"""


def _planned(path: Path) -> object:
    """Read a sweep, and the options of its first jobs."""
    import itertools

    from tokendyn.cli.sweep import asked_of
    from tokendyn.runs.plan import read_plan

    asked = asked_of(read_plan(path))
    some = itertools.islice(asked.plan.jobs(), 5)
    return [asked.kind.config({**asked.fixed, **options}) for options in some]


def _checkpoint() -> bytes:
    from tokendyn.runs.checkpoint import Checkpoint, State

    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "c.safetensors"
        Checkpoint(path).of("run", np.eye(2)).write(State({"x": np.arange(3.0)}, {"step": 7, "key": 2**70}))
        return path.read_bytes()


def _read_checkpoint(path: Path) -> object:
    from tokendyn.runs.checkpoint import Checkpoint

    return Checkpoint(path).of("run", np.eye(2)).read()


def _field(path: Path) -> object:
    """Read a field in pieces, over time and over space; the first hundred of them."""
    import itertools

    from tokendyn.forecast.field_files import open_field

    with open_field(path) as field:
        for over_time in (True, False):
            for piece in itertools.islice(field.pieces(60, over_time=over_time), 100):
                field.piece(piece)
        return field.shape


def _merged(path: Path) -> object:
    """Merge a configuration with what the command line says, as far as a dry run."""
    import contextlib

    from tokendyn.cli import run
    from tokendyn.errors import BadInputError

    tokens = path.with_name("tokens.csv")
    tokens.write_text("1,2\n3,4\n0,1\n", encoding="utf-8")
    said = io.StringIO()
    words = ["simulate", str(tokens), "--config", str(path), "--layers", "3", "--dry-run", "--out", str(path) + "-out"]
    with contextlib.redirect_stderr(said):
        code = run(words)
    assert code in (0, 2), f"exit code {code}"
    if code:
        raise BadInputError(said.getvalue())
    return code


_TABLE = (
    '# how a model names its attention\nquery = "a.{layer}.q"\nkey = "a.{layer}.k"\nvalue = "a.{layer}.v"\nheads = 2\n'
)
_tokens = _loader("tokendyn.data.tokens", "read_tokens")
_snapshots = _loader("tokendyn.data.snapshots", "read_snapshots")
_sequences = _loader("tokendyn.data.sequences", "read_sequences")


def _folders(name: str, make: Callable[[Path], None], load: Callable[[Path], object], stem: str) -> dict[str, Target]:
    """Return two targets: the JSON record and the tensors of a saved model."""
    return {
        f"{name}-{kind}": Target(f"{stem}.{kind}", load, _one_file(make, f"{stem}.{kind}"), make)
        for kind in ("json", "safetensors")
    }


TARGETS: dict[str, Target] = {
    "texts-csv": Target("reviews.csv", _texts, _reviews_csv),
    "texts-jsonl": Target("reviews.jsonl", _texts, _reviews_jsonl),
    "texts-gz": Target("reviews.csv.gz", _texts, lambda: gzip.compress(_reviews_csv(), mtime=0)),
    "tokens-csv": Target("tokens.csv", _tokens, lambda: b"name,x,y\na,1,2\nb,3,4\n"),
    "tokens-npy": Target("tokens.npy", _tokens, lambda: _numpy_bytes(np.save, _series())),
    "tokens-npz": Target("tokens.npz", _tokens, lambda: _numpy_bytes(np.savez_compressed, x=_series())),
    "tokens-safetensors": Target("tokens.safetensors", _tokens, lambda: safetensors_bytes({"x": _series()})),
    "sequences-jsonl": Target("sequences.jsonl", _sequences, _sequences_jsonl),
    "sequences-csv": Target("sequences.csv", _sequences, lambda: b"id,label,x,y\na,1,0,1\na,1,2,3\nb,0,4,5\n"),
    "snapshots-csv": Target("series.csv", _snapshots, _series_csv),
    "snapshots-npz": Target("series.npz", _snapshots, lambda: _numpy_bytes(np.savez, t=np.arange(40.0), x=_series())),
    "snapshots-parquet": Target("series.parquet", _snapshots, _series_parquet),
    "snapshots-hdf5": Target("series.h5", _snapshots, _series_hdf5),
    "snapshots-netcdf": Target("series.nc", _snapshots, _series_netcdf),
    "snapshots-netcdf-classic": Target("series.nc", _snapshots, lambda: _series_netcdf("scipy")),
    "types-npz": Target("types.npz", _typed_arrays, _typed_npz),
    "pointers-hdf5": Target("pointers.h5", _pointed, _pointing_hdf5),
    "explored-json": Target("explored.json", _loader("tokendyn.data.explored", "read_explored"), _explored),
    "config-toml": Target(
        "run.toml", _loader("tokendyn.runs.bounded", "read_toml"), lambda: b"alpha = 0.5\nlayers = 10\n"
    ),
    "flags-toml": Target(
        "run.toml", _merged, lambda: b'alpha = 0.5\ntie_tolerance = 0.1\nscore = "2,0;0,1"\nstrict = true\n'
    ),
    "plan-toml": Target("sweep.toml", _planned, lambda: _PLAN),
    "manifest-json": Target(f"{_RUN}/manifest.json", _stored_runs, _manifest, _stored),
    "checkpoint-safetensors": Target("run.safetensors", _read_checkpoint, _checkpoint),
    "field-csv": Target("field.csv", _field, _series_csv),
    "field-npy": Target("field.npy", _field, lambda: _numpy_bytes(np.save, _series())),
    "field-npz": Target("field.npz", _field, lambda: _numpy_bytes(np.savez_compressed, x=_series())),
    "mapping-toml": Target("map.toml", _loader("tokendyn.data.attention_names", "read_mapping"), _TABLE.encode),
    "heads-safetensors": Target("model.safetensors", _head, _heads),
    **_folders("sentiment", _trained, _loader("tokendyn.sentiment.store", "load"), "model"),
    **_folders("exact", _built, _loader("tokendyn.exact.store", "load"), "model"),
    **_folders("tddmd", _fitted, _loader("tokendyn.forecast.store", "load"), "model"),
    **_folders("tdtf", _fitted_transformer, _loader("tokendyn.forecast.store", "load"), "model"),
    **_folders("pod", _reduced, _loader("tokendyn.forecast.pod", "POD.load"), "pod"),
    **_folders("trajectory", _simulated, _loader("tokendyn.dynamics.trajectory", "Trajectory.load"), "trajectory"),
    **_folders("flow", _flowed, _loader("tokendyn.dynamics.flow_trajectory", "FlowTrajectory.load"), "flow"),
}
