"""Reading tokens from files."""

import gzip
import os
import warnings

import numpy as np
import pytest
from safetensors.numpy import save_file

from tokendyn.data.sequences import read_sequences
from tokendyn.data.snapshots import read_snapshots
from tokendyn.data.texts import read_texts
from tokendyn.data.tokens import read_tokens
from tokendyn.errors import BadInputError

TOKENS = np.array([[1.0, 2.0], [3.0, -4.5], [0.0, 1e-300]])


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    ["1,2\n3,-4.5\n0,1e-300\n", "x,y\n1,2\n3,-4.5\n0,1e-300", "\ufeffx,y\r\n1, 2\r\n\r\n3,-4.5\r\n0,1e-300\r\n"],
)
def test_a_csv_is_read_with_or_without_header_blank_lines_and_byte_order_mark(tmp_path, text):
    np.testing.assert_array_equal(read_tokens(write(tmp_path / "t.csv", text)).tokens, TOKENS)


def test_a_column_of_names_becomes_the_labels(tmp_path):
    table = read_tokens(write(tmp_path / "t.csv", "x,name,y\n1,ann,2\n3,bob,4\n"))
    assert table.labels == ("ann", "bob")
    np.testing.assert_array_equal(table.tokens, [[1, 2], [3, 4]])


def test_every_kind_of_file_gives_the_same_tokens(tmp_path):
    np.save(tmp_path / "t.npy", TOKENS)
    np.savez(tmp_path / "t.npz", only=TOKENS)
    save_file({"only": TOKENS}, tmp_path / "t.safetensors")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"1,2\n3,-4.5\n0,1e-300\n"))
    write(tmp_path / "t.tsv", "1\t2\n3\t-4.5\n0\t1e-300\n")
    for name in ("t.npy", "t.npz", "t.safetensors", "t.csv.gz", "t.tsv"):
        np.testing.assert_array_equal(read_tokens(tmp_path / name).tokens, TOKENS)


def test_one_of_several_arrays_is_chosen_by_name(tmp_path):
    np.savez(tmp_path / "t.npz", a=TOKENS, b=2 * TOKENS)
    np.testing.assert_array_equal(read_tokens(tmp_path / "t.npz", array="b").tokens, 2 * TOKENS)
    with pytest.raises(BadInputError, match=r"array=NAME.*a, b"):
        read_tokens(tmp_path / "t.npz")
    with pytest.raises(BadInputError, match=r"array=NAME.*a, b"):
        read_tokens(tmp_path / "t.npz", array="c")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "no token"),
        ("t.csv", "x,y\n", "no token"),
        ("t.csv", "1,2\n3\n4,5,6\n", r"2 problems[\s\S]*line 2 has 1[\s\S]*line 3 has 3"),
        ("t.csv", "1,2\nnan,3\n4,inf\n", r"line 2 holds 'nan'[\s\S]*line 3 holds 'inf'"),
        ("t.csv", "NaN,1\n2,3\n", "line 1 holds 'NaN'"),  # a gap in the first row is no header
        ("t.csv", "-nan\n2\n", "line 1 holds '-nan'"),
        ("t.csv", "1,2\n3,oops\n", "line 2 holds 'oops'"),
        ("t.csv", "a,b\nc,d\n", "expected numbers"),
        ("t.csv", b"1,2\n\xff\xfe,3\n", "not UTF-8"),
        ("t.csv", '1,"2\n', "cannot be read"),
        ("t.csv.gz", gzip.compress(b"1,2\n" * 1000, mtime=0)[:30], "cannot be read"),
        ("t.npy", b"\x93NUMPY broken", "not a whole"),
        ("t.npz", b"PK broken", "not a whole"),
        ("t.safetensors", b"\x00" * 9, "not a whole"),
        ("t.docx", "1,2\n", "unknown kind"),
    ],
)
def test_a_bad_file_is_one_error_that_says_where(tmp_path, name, content, message):
    with pytest.raises(BadInputError, match=message):
        read_tokens(write(tmp_path / name, content))


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(BadInputError, match="not a file"):
        read_tokens(tmp_path / "none.csv")


def test_a_pickled_array_is_never_loaded(tmp_path):
    np.save(tmp_path / "t.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(BadInputError, match="not a whole"):
        read_tokens(tmp_path / "t.npy")


@pytest.mark.parametrize("bad", [np.ones((2, 2, 2)), np.empty((0, 2)), np.ones((2, 2)) * 1j, np.array([["a"]])])
def test_an_array_that_is_no_real_matrix_is_an_error(tmp_path, bad):
    np.save(tmp_path / "t.npy", bad)
    with pytest.raises(BadInputError, match=r"real \(tokens, dim\) matrix"):
        read_tokens(tmp_path / "t.npy")


def test_many_bad_lines_are_counted_and_only_some_listed(tmp_path):
    with pytest.raises(BadInputError, match="and 90 more lines"):
        read_tokens(write(tmp_path / "t.csv", "1,2\n" + "1\n" * 100))


@pytest.mark.usefixtures("unchecked")
def test_rows_are_measured_by_the_header_when_there_is_one(tmp_path):
    path = tmp_path / "tokens.csv"
    path.write_text("name,x,y\na,1\nb,1,2\nc,,3\n")
    with pytest.raises(BadInputError, match="2 problems") as caught:
        read_tokens(path)
    assert "line 2 has 2 columns, the header has 3" in str(caught.value)
    assert "line 4 holds ''" in str(caught.value)


def test_two_arrays_of_one_name_are_refused(tmp_path):
    import io
    import zipfile

    for first in ("x", "x.npy"):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, value in ((first, 0.0), ("x.npy", 1.0)):
                stream = io.BytesIO()
                np.save(stream, np.full((3, 2), value))
                archive.writestr(name, stream.getvalue())
        with pytest.raises(BadInputError, match="two arrays with the name 'x'"):
            read_tokens(tmp_path / "a.npz")


@pytest.mark.parametrize("read", [read_texts, read_sequences, read_tokens, read_snapshots])
def test_a_pipe_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(BadInputError, match=r"a\.csv (is not a file|does not exist)"):
        read(tmp_path / "a.csv")
