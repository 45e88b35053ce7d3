"""Readers are bounded before memory is taken, and read no file that was not named."""

import gzip
import io
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest

from tokendyn.data.collections import read_class_folders
from tokendyn.data.sequences import read_sequences
from tokendyn.data.snapshots import read_snapshots
from tokendyn.data.texts import read_texts, stream_texts
from tokendyn.data.tokens import read_tokens
from tokendyn.errors import BadInputError
from tokendyn.forecast.pod import POD
from tokendyn.runs import bounded, hdf5_files
from tokendyn.runs.numpy_files import open_numpy
from tokendyn.runs.opened import recording

pytestmark = pytest.mark.usefixtures("unchecked")

SERIES = np.sin(np.arange(60.0)[:, None] * [0.3, 0.7])


def fit(path):
    return POD(modes=1).fit(path)


@pytest.fixture
def small(monkeypatch):
    """Let files unpack to 100,000 bytes whatever their size."""
    monkeypatch.setattr(bounded, "FREE_BYTES", 100_000)


def write_npz(path):
    np.savez_compressed(path, x=np.zeros((20_000, 2)))


def write_many(path):
    """Write an archive whose members are small, and together are not."""
    np.savez_compressed(path, **{f"x{k}": np.zeros(10_000) for k in range(40)})


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", shape=(1_000_000, 2), dtype="f8")


def write_packed_hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros((60_000, 2)), compression="gzip", chunks=(60_000, 2))


def write_many_datasets(path):
    with h5py.File(path, "w") as file:
        for k in range(200):
            file.create_dataset(f"x{k}", shape=(10_000,), dtype="f8")


def write_netcdf(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("time", shape=(1_000_000,), dtype="f8").make_scale("time")
        file.create_dataset("x", shape=(1_000_000,), dtype="f8")
        file["x"].dims[0].attach_scale(file["time"])


def write_parquet(path):
    pd.DataFrame({"t": np.zeros(100_000), "x": np.zeros(100_000)}).to_parquet(path)


def write_long_texts(path):
    pd.DataFrame({"t": np.zeros(4000), "x": ["y" * 1000] * 4000}).to_parquet(path)


def write_csv(path):
    path.write_bytes(gzip.compress(b"x,y\n" + b"1,2\n" * 100_000))


def write_long_cell(path):
    path.write_bytes(gzip.compress(b"x,y\n1," + b"1" * 400_000))


BOMBS = [
    ("a.npz", write_npz, [read_tokens, read_snapshots, fit]),
    ("b.npz", write_many, [read_snapshots]),
    ("a.h5", write_hdf5, [read_snapshots, fit]),
    ("b.h5", write_packed_hdf5, [read_snapshots, fit]),
    ("c.h5", write_many_datasets, [read_snapshots]),
    ("a.nc", write_netcdf, [read_snapshots, fit]),
    ("a.parquet", write_parquet, [read_snapshots]),
    ("b.parquet", write_long_texts, [lambda path: read_snapshots(path, time="x")]),
    ("a.csv.gz", write_csv, [read_tokens, read_snapshots, fit, read_sequences, read_texts]),
    ("b.csv.gz", write_long_cell, [read_tokens, read_snapshots, fit, read_sequences, read_texts]),
    ("b.jsonl.gz", write_long_cell, [read_sequences, read_texts, lambda path: list(stream_texts(path))]),
]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("name", "write", "readers"), BOMBS, ids=[name for name, *_ in BOMBS])
def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, name, write, readers):
    write(tmp_path / name)
    for read in readers:
        with pytest.raises(BadInputError, match="unpacks to more than 100 times its size"):
            read(tmp_path / name)


def test_what_is_packed_as_numbers_are_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "FREE_BYTES", 0)
    np.savez_compressed(tmp_path / "a.npz", x=SERIES)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x,y\n" + "\n".join(f"{a},{b}" for a, b in SERIES).encode()))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=SERIES, compression="gzip")
    pd.DataFrame(SERIES, columns=["x", "y"]).to_parquet(tmp_path / "a.parquet")
    for name in ("a.npz", "a.csv.gz", "a.h5", "a.parquet"):
        np.testing.assert_array_equal(read_snapshots(tmp_path / name).values, SERIES)


def test_many_arrays_are_opened_without_looking_at_each(tmp_path, monkeypatch):
    data = io.BytesIO()
    np.save(data, np.eye(2))
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for k in range(3000):
            archive.writestr(f"a{k}.npy", data.getvalue())
    looks = []
    monkeypatch.setattr(
        "tokendyn.runs.numpy_files._header", lambda data: looks.append(0) or ((2, 2), np.dtype("f8"), 128)
    )
    assert read_tokens(tmp_path / "many.npz", array="a2999").tokens.tolist() == [[1, 0], [0, 1]]
    assert 1 <= len(looks) <= 3
    with pytest.raises(BadInputError, match="name one of its arrays") as caught:
        read_tokens(tmp_path / "many.npz")
    assert len(str(caught.value)) < 400
    with pytest.raises(BadInputError, match="3000 arrays; name the one that is the field"):
        fit(tmp_path / "many.npz")
    monkeypatch.setattr("tokendyn.runs.numpy_files.MOST_LISTING_BYTES", 10_000)
    with pytest.raises(BadInputError, match="lists its members in"):
        read_tokens(tmp_path / "many.npz")


def test_an_npz_packed_in_another_way_or_with_a_huge_header_is_refused(tmp_path):
    data = io.BytesIO()
    np.save(data, np.eye(2))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", data.getvalue())
    with pytest.raises(BadInputError, match="packed in a way that numpy does not write"):
        read_tokens(tmp_path / "a.npz")
    long = b"\x93NUMPY\x02\x00" + (100_000).to_bytes(4, "little") + b" " * 100_000
    (tmp_path / "b.npy").write_bytes(long)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", long)
    for name in ("b.npy", "b.npz"):
        with pytest.raises(BadInputError, match="not a whole"):
            read_tokens(tmp_path / name)


def test_toml_whose_keys_would_take_the_square_of_their_length_is_refused(tmp_path):
    for text in (".".join(["a"] * 50_000) + " = 1", "x = {" + ".".join(["a"] * 5000) + " = 1}"):
        (tmp_path / "a.toml").write_text(text)
        with pytest.raises(BadInputError, match="line 1 nests tables too deeply"):
            bounded.read_toml(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("x = [" + "0.5, " * 5000 + "]\na.b.c = 1\n")
    assert bounded.read_toml(tmp_path / "a.toml")["a"] == {"b": {"c": 1}}


LIMITED = """
import resource, sys
from pathlib import Path
from tokendyn.errors import TokendynError
from tokendyn.{module} import {name} as read
has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (has + int(sys.argv[2]), has + int(sys.argv[2])))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
try:
    read(Path(sys.argv[1]))
except TokendynError as error:
    print("one message:", error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
@pytest.mark.parametrize(
    ("file", "module", "name"),
    [
        ("sparse.npy", "data.tokens", "read_tokens"),
        ("wide.csv", "data.tokens", "read_tokens"),
        ("deep.json", "runs.bounded", "read_json_value"),
        ("line.jsonl", "data.sequences", "read_sequences"),
    ],
)
def test_too_little_memory_is_one_message(tmp_path, file, module, name):
    path = tmp_path / file
    if file == "sparse.npy":
        np.save(path, np.zeros((1, 2)))
        head = path.read_bytes()[:128].replace(b"(1, 2), }         ", b"(134217728, 2), } ")
        with path.open("wb") as stream:
            stream.write(head)
            stream.truncate(128 + 134217728 * 16)
    elif file == "wide.csv":
        path.write_bytes(b"1,2\n" * 1_000_000)
    elif file == "deep.json":
        path.write_bytes(b"[" + b"[]," * 1_000_000 + b"[]]")
    else:
        path.write_bytes(b'{"id": 1, "label": 0, "tokens": [' + b"[1]," * 500_000 + b"[1]]}")
    code = LIMITED.format(module=module, name=name)
    most = (1024 if file == "sparse.npy" else 24) * 2**20
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(most)], capture_output=True, text=True, check=False, timeout=100,
        env={"PYTHONPATH": ":".join(sys.path), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.startswith("one message:"), done.stderr[-2000:]


def outside(folder, how):
    """Write an HDF5 file whose data lies in another file."""
    np.sin(np.arange(60.0)).tofile(folder / "secret.bin")
    with h5py.File(folder / "other.h5", "w") as file:
        file["d"] = SERIES
    with h5py.File(folder / "a.h5", "w") as file:
        file["y"] = SERIES
        if how == "external storage":
            file.create_dataset("g/x", (60, 1), "f8", external=[(str(folder / "secret.bin"), 0, 480)])
        elif how == "virtual":
            layout = h5py.VirtualLayout((60, 2), "f8")
            layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "d", (60, 2))
            file.create_virtual_dataset("x", layout)
        elif how == "a link":
            file["x"] = h5py.ExternalLink("other.h5", "/d")
        else:
            file["e"] = h5py.ExternalLink("other.h5", "/")
            file["x"] = h5py.SoftLink("/e/d")
    (folder / "a.nc").write_bytes((folder / "a.h5").read_bytes())
    return folder / ("secret.bin" if how == "external storage" else "other.h5")


@pytest.mark.parametrize("how", ["external storage", "virtual", "a link", "a link to a group"])
def test_an_hdf5_file_that_reads_other_files_is_refused_unless_asked_for(tmp_path, monkeypatch, how):
    other = outside(tmp_path, how)
    for read in (read_snapshots, lambda path: POD(modes=1).fit(path, variable="y")):
        for name in ("a.h5", "a.nc"):
            with pytest.raises(BadInputError, match=f"reads other files.*{hdf5_files.EXTERNAL}=1.*{other.name}"):
                read(tmp_path / name)
    monkeypatch.setenv(hdf5_files.EXTERNAL, "1")
    with recording() as opened:
        read_snapshots(tmp_path / "a.h5", columns=["y"])
    assert {path.name for path in opened} == {"a.h5", other.name}


@pytest.mark.parametrize("source", ["x", "y"])
def test_a_virtual_dataset_that_goes_in_a_circle_is_refused(tmp_path, source):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, part in (("x", source), ("y", "x")):
            layout = h5py.VirtualLayout((20,), "f8")
            layout[:] = h5py.VirtualSource(".", part, (20,))
            file.create_virtual_dataset(name, layout)
    with pytest.raises(BadInputError, match="may be put together from virtual datasets"):
        read_snapshots(tmp_path / "a.h5")


def test_an_hdf5_file_that_points_into_itself_is_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = SERIES
        layout = h5py.VirtualLayout((60, 2), "f8")
        layout[:] = h5py.VirtualSource(".", "a", (60, 2))
        file.create_virtual_dataset("x", layout)
        file["link"] = h5py.SoftLink("/a")
    np.testing.assert_array_equal(read_snapshots(tmp_path / "a.h5", columns=["x"]).values, SERIES)


def test_a_netcdf_file_that_h5py_made_is_read_without_a_warning(tmp_path):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["x"] = SERIES[:, 0]
        file["y"] = SERIES[:, 1]
    np.testing.assert_array_equal(read_snapshots(tmp_path / "a.nc").values, SERIES)


def test_every_reader_names_the_files_that_it_opens(tmp_path):
    np.save(tmp_path / "a.npy", SERIES)
    np.savez(tmp_path / "a.npz", x=SERIES)
    pd.DataFrame(SERIES, columns=["x", "y"]).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame(SERIES, columns=["x", "y"]).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "s.jsonl").write_text('{"tokens": [[1, 2]], "label": 1, "text": "fine"}\n')
    (tmp_path / "c" / "pos").mkdir(parents=True)
    (tmp_path / "c" / "pos" / "1.txt").write_text("fine")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = SERIES
    (tmp_path / "a.json").write_text("{}")
    readings = [
        (read_tokens, ["a.npy", "a.npz", "a.csv"]), (read_sequences, ["s.jsonl"]), (read_texts, ["s.jsonl"]),
        (read_snapshots, ["a.npy", "a.npz", "a.csv", "a.parquet", "a.h5"]), (fit, ["a.npy", "a.npz", "a.csv", "a.h5"]),
        (bounded.read_json_value, ["a.json"]),
    ]  # fmt: skip
    for read, names in readings:
        for name in names:
            with recording() as opened:
                read(tmp_path / name)
            assert {path for path in opened if tmp_path in path.parents} == {tmp_path / name}
    with recording() as opened:
        read_class_folders(tmp_path / "c")
    assert opened == [tmp_path / "c" / "pos" / "1.txt"]
    with open_numpy(tmp_path / "a.npz") as found:
        assert dict(found.shapes) == {"x": SERIES.shape}
