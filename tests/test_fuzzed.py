"""Every input that a fuzzing search kept is read again: a result, or one of tokendyn's own errors."""

import gzip
import json
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from fuzz.corpus import kept
from fuzz.targets import TARGETS

from tokendyn.data.sequences import read_sequences
from tokendyn.data.snapshots import read_snapshots
from tokendyn.data.texts import read_texts
from tokendyn.data.tokens import read_tokens
from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast.pod import POD
from tokendyn.runs import bounded, limited, numpy_files

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_give_a_result_or_our_own_error(name):
    with TARGETS[name].opened() as feed:
        assert not isinstance(feed(TARGETS[name].good()), TokendynError)
        for data in kept(name):
            feed(data)


@pytest.mark.parametrize("name", TARGETS)
def test_cut_inputs_give_a_result_or_our_own_error(name):
    target = TARGETS[name]
    good = target.good()
    with target.opened() as feed:
        assert isinstance(feed(b""), BadInputError) or name in ("config-toml", "flags-toml")  # no options are good
        for length in np.linspace(1, len(good) - 1, 8).astype(int):
            feed(good[:length])


def test_a_kept_corpus_is_there_for_every_reader():
    assert [name for name in TARGETS if not kept(name)] == []


def test_a_number_of_thousands_of_digits_is_named_with_its_row(tmp_path):
    path = tmp_path / "reviews.jsonl"
    path.write_text('{"text": "fine", "label": ' + "1" * 5000 + "}\n")
    with pytest.raises(BadInputError, match="row 1: not JSON"):
        read_texts(path)


def test_deep_nesting_is_refused(tmp_path):
    for suffix, deep in (("toml", "x = " + "[" * 5000), ("json", "[" * 200_000)):
        path = tmp_path / f"deep.{suffix}"
        path.write_text(deep)
        with pytest.raises(BadInputError, match="cannot be read"):
            (bounded.read_toml if suffix == "toml" else bounded.read_json_value)(path)


def test_a_compressed_table_larger_than_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "MOST_TABLE_BYTES", 10_000)
    path = tmp_path / "tokens.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n" * 5000))
    with pytest.raises(BadInputError, match="split it"):
        read_tokens(path)
    other = tmp_path / "sequences.jsonl.gz"
    other.write_bytes(gzip.compress(json.dumps({"tokens": [[1, 2]] * 5000}).encode()))
    with pytest.raises(BadInputError, match="split it"):
        read_sequences(other, label=None)


def test_an_array_larger_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(numpy_files, "MOST_TABLE_BYTES", 10_000)
    path = tmp_path / "tokens.npz"
    np.savez_compressed(path, x=np.zeros((2000, 2)))
    with pytest.raises(BadInputError, match="GiB"):
        read_tokens(path)


def test_an_array_that_declares_more_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "tokens.npz"
    np.savez(path, x=np.zeros((20, 2)))
    with zipfile.ZipFile(path) as archive:
        member = archive.read("x.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member.replace(b"(20, 2)", b"(999999999999, 2)"))
    with pytest.raises(BadInputError, match="says that it has the shape"):
        read_tokens(path)


def test_times_that_would_fill_a_grid_of_billions_are_refused(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text("t,x\n0,1\n1,2\n2,1\n38391903331,4\n")
    with pytest.raises(BadInputError, match="far more steps than the 4 rows"):
        read_snapshots(path, fill="linear")


def test_an_array_that_python_2_has_written_is_read_without_a_warning(tmp_path):
    tokens = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (3L, 2L), }".ljust(117) + "\n"
    whole = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + tokens.tobytes()
    (tmp_path / "tokens.npy").write_bytes(whole)
    with zipfile.ZipFile(tmp_path / "tokens.npz", "w") as archive:
        archive.writestr("x.npy", whole)
    for suffix in ("npy", "npz"):
        assert np.array_equal(read_tokens(tmp_path / f"tokens.{suffix}").tokens, tokens)


def endless_netcdf(path):
    """Write a file with one wrong byte: the number of the second object of the heap that the dimensions lie in."""
    good = TARGETS["snapshots-netcdf"].good()
    second = good.index(b"GCOL") + 40
    path.write_bytes(good[:second] + b"\0" + good[second + 1 :])


def test_a_file_on_which_the_library_would_count_for_ever_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limited, "MOST_SECONDS", 3.0)
    endless_netcdf(tmp_path / "series.nc")
    for read in (read_snapshots, lambda path: POD(modes=1).fit(path)):
        with pytest.raises(BadInputError, match="cannot be opened within 3 seconds; it is damaged"):
            read(tmp_path / "series.nc")


@pytest.mark.parametrize("read", [read_tokens, read_snapshots, lambda path: POD(modes=1).fit(path)])
def test_numbers_that_only_longer_floats_hold_are_infinite_and_refused(tmp_path, read):
    large = np.full((40, 2), np.finfo(np.float64).max).astype(np.longdouble) * 2
    for name, array in (("long", large), ("infinite", np.full((40, 2), np.inf))):
        np.savez(tmp_path / f"{name}.npz", x=array)
        with pytest.raises(BadInputError, match=r"infinit"):
            read(tmp_path / f"{name}.npz")


def test_the_process_that_walks_through_a_file_ends_by_itself(tmp_path):
    endless_netcdf(tmp_path / "series.nc")
    lines = (
        "from tokendyn.runs import hdf5_files, limited; limited.end_after(1.0); "
        f"hdf5_files._walk({str(tmp_path / 'series.nc')!r})"
    )
    assert subprocess.run([sys.executable, "-c", lines], check=False, timeout=50).returncode == -signal.SIGALRM


def test_a_nan_that_signals_is_a_nan(tmp_path):
    values = np.arange(80, dtype=np.float32).reshape(40, 2)
    values.view(np.uint32)[3, 1] = 0x7F800001  # a conversion to float64 would warn of it
    np.savez(tmp_path / "x.npz", x=values)
    for read in (read_tokens, read_snapshots, lambda path: POD(modes=1).fit(path)):
        with pytest.raises(BadInputError, match="NaN"):
            read(tmp_path / "x.npz")
