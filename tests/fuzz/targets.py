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


def _series_netcdf() -> bytes:
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "series.nc"
        _series_frame().to_xarray().to_netcdf(path, engine="h5netcdf")
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
    "explored-json": Target("explored.json", _loader("tokendyn.data.explored", "read_explored"), _explored),
    "config-toml": Target(
        "run.toml", _loader("tokendyn.runs.bounded", "read_toml"), lambda: b"alpha = 0.5\nlayers = 10\n"
    ),
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
