"""Numbers, headers and names in delimited text: judged by all rows, by every reader."""

import csv
import gzip
import random

import numpy as np
import pytest

from tokendyn.data.cells import number_in
from tokendyn.data.sequences import read_sequences
from tokendyn.data.snapshots import read_snapshots
from tokendyn.data.texts import read_texts
from tokendyn.data.tokens import read_tokens
from tokendyn.errors import BadInputError
from tokendyn.forecast.pod import POD


def written(tmp_path, text, name="t.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("x,y,z\n1.2.3,2,5\n3,4,6\n1,1,1\n2,0,1\n", r"line 2 holds '1\.2\.3' in column 'x'"),
        ("x,y\n" + "0.1,1.2O\n" + "0.3,1.5\n" * 39, r"line 2 holds '1\.2O' in column 'y'"),
        ("x,y\n" + "0.3,1.5\n" * 39 + "0.1,1.2O\n", r"line 41 holds '1\.2O' in column 'y'"),
        ("1.2O,3\n4,5\n6,7\n", r"line 1 holds '1\.2O' in column 1"),
        ("O.5,3\n4,5\n", r"line 1 holds 'O\.5' in column 1"),
        ("1.2O\n3\n4\n", r"line 1 holds '1\.2O' in column 1"),
        ("n/a,3\n4,5\n", "line 1 holds 'n/a' in column 1"),
        ("x,y\n1_000,2\n3,4\n", "line 2 holds '1_000' in column 'x'.*without separators"),
        ("x,y\n1,2\n3,4 000\n5,6\n", "line 3 holds '4 000' in column 'y'.*without separators"),
        ("x,y\n1,2\n\uff13,4\n", "line 3 holds '\uff13' in column 'x'"),
        ("x,y\n0x10,2\n3,4\n", "line 2 holds '0x10' in column 'x'"),
        ("x,y\nTrue,2\n3,4\n", "line 2 holds 'True' in column 'x'"),
        ("x,y\n1e400,2\n3,4\n", "line 2 holds '1e400' in column 'x'"),
        ('x,y\n"1,5",2\n"2,5",3\n', "column 'x' holds no numbers, but what looks like them: '1,5' in line 2"),
        ("x,y\n1_000,2\n2_000,3\n", "column 'x' holds no numbers, but what looks like them: '1_000' in line 2"),
        ("x,y,z\n1.2.3,2,5\n", r"column 'x' holds no numbers, but what looks like them: '1\.2\.3' in line 2"),
        ("x,2020,2021\n1,2,3\n4,5,6\n", "line 1 holds 'x' in column 1.*name every column by a word"),
        ("0,1\n0.5,2.0\n3.5,1.0\n", "the first line, '0,1', may be a header or numbers"),
        ("name,x\nann,1\nbob,2\n2010,3\ncarl,4\n", "line 2 holds 'ann' in column 'name'.*put a letter into each"),
        ("1,2,\n3,4,\n", "line 1 holds '' in column 3"),
        ("a,b,c\nx,y,1\nz,w,2\n", "at most one column of names; line 2 holds 'y' in column 'b'"),
    ],
)
def test_a_cell_that_is_no_number_is_named_with_line_and_column(tmp_path, text, where):
    with pytest.raises(BadInputError, match=where):
        read_tokens(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "tokens", "labels", "name_column"),
    [
        ("city,x\nOslo,1\nRome,2\n", [[1], [2]], ("Oslo", "Rome"), "column 'city'"),
        ("Oslo,1\nRome,2\n", [[1], [2]], ("Oslo", "Rome"), "column 1"),
        ("x,city\n1,Oslo\n2,\n3,Rome\n", [[1], [2], [3]], ("Oslo", "", "Rome"), "column 'city'"),
        ("day,x\n2024-01-01,1\n2024-01-02,2\n", [[1], [2]], ("2024-01-01", "2024-01-02"), "column 'day'"),
        ("name,x\n1a,1\n2b,2\n", [[1], [2]], ("1a", "2b"), "column 'name'"),
        (",x,y\n0,5,6\n1,7,8\n", [[5, 6], [7, 8]], ("0", "1"), "column 1, which has no name"),
        (",0,1\n0,1.5,2.0\n1,3.0,4.0\n", [[1.5, 2], [3, 4]], ("0", "1"), "column 1, which has no name"),
        (",0,1\nann,1.5,2.0\nbob,3.0,4.0\n", [[1.5, 2], [3, 4]], ("ann", "bob"), "column 1"),
        ("0,1\n5,2.5\n", [[0, 1], [5, 2.5]], ("0", "1"), None),
        ("l1,l2\n1,2\n", [[1, 2]], ("0",), None),
        (",x\n0,5\n2,7\n", [[5], [7]], ("0", "2"), "column 1, which has no name"),
        ('"","x"\n"1",5\n"2",7\n', [[5], [7]], ("1", "2"), "column 1, which has no name"),  # as R writes it
        ("id,x\n17,5\n9007199254740993,7\n", [[5], [7]], ("17", "9007199254740993"), "column 'id'"),
        ("ID,x\n1,5\n1,7\n", [[1, 5], [1, 7]], ("0", "1"), None),  # not different
        ("id,x\n1,5\n1.5,7\n", [[1, 5], [1.5, 7]], ("0", "1"), None),
        ("x,y\n1,2\n\n3,4\n,\n,\n", [[1, 2], [3, 4]], ("0", "1"), None),  # rows that a spreadsheet leaves
        (",,\nx,y,z\n1,2,3\n", [[1, 2, 3]], ("0",), None),
    ],
)
def test_names_and_headers_are_found(tmp_path, text, tokens, labels, name_column):
    found = read_tokens(written(tmp_path, text))
    assert found.tokens.tolist() == tokens
    assert (found.labels, found.name_column) == (labels, name_column)


@pytest.mark.parametrize(("numbers", "holds_names"), [(3, True), (4, False)])
def test_a_column_of_names_may_hold_a_tenth_of_numbers(tmp_path, numbers, holds_names):
    names = ["007"] * numbers + ["word"] * 30
    path = written(tmp_path, "name,x\n" + "".join(f"{name},{k}\n" for k, name in enumerate(names)))
    if holds_names:
        assert read_tokens(path).labels == tuple(names)
    else:
        with pytest.raises(BadInputError, match="holds 'word' in column 'name'"):
            read_tokens(path)


def test_one_typo_in_any_cell_of_any_table_is_refused_with_its_place(tmp_path):
    rng = random.Random(0)
    for _ in range(150):
        rows, columns = rng.randint(2, 12), rng.randint(1, 4)
        cells = [[f"{rng.uniform(-9, 9):.3f}" for _ in range(columns)] for _ in range(rows)]
        row, column = rng.randrange(rows), rng.randrange(columns)
        cells[row][column] = rng.choice(["1.2.3", "1.2O", "1_0", "1 0", "1,5", "--", "NA", "3.4.", "0x1", ""])
        if not any(cells[row]):
            continue  # a blank line is passed over
        header = [[f"c{place}" for place in range(columns)]] if rng.random() < 0.7 else []
        path = tmp_path / "t.csv"
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows(header + cells)
        name = repr(f"c{column}") if header else str(column + 1)
        with pytest.raises(BadInputError) as caught:
            read_tokens(path)
        assert f"line {row + len(header) + 1} holds {cells[row][column]!r} in column {name}" in str(caught.value)


def test_numbers_are_those_that_float_gives():
    rng = np.random.default_rng(0)
    for value in rng.normal(size=500) * 10.0 ** rng.integers(-300, 300, 500):
        for cell in (repr(float(value)), f"{value:.17e}", f"{value:+.3E}"):
            assert number_in(cell) == float(cell)
    assert [number_in(cell) for cell in ("1_0", "\u0661", "1,5", "", "0x1", "1d5", "five")] == [None] * 7


def test_sequences_name_the_cell_and_refuse_what_is_missing(tmp_path):
    table = "id,label,x,y\na,1,0,1_0\na,1,2,3\nb,,4,5\n,0,1,1\nc,0,\u0661,1\n"
    with pytest.raises(BadInputError, match="4 problems") as caught:
        read_sequences(written(tmp_path, table))
    told = str(caught.value)
    assert "line 2: '1_0' in column 'y' is not a number" in told
    assert "line 4: the label is empty" in told
    assert "line 5: the id is empty" in told
    assert "line 6" in told
    with pytest.raises(BadInputError, match="column 'id' occurs twice"):
        read_sequences(written(tmp_path, "id,label,x,id\na,1,0,2\n"))
    lines = (
        '{"tokens": [[true, 0.5]], "label": 1}\n{"tokens": [[1, 2]], "label": null}\n{"tokens": [1], "label": NaN}\n'
    )
    with pytest.raises(BadInputError, match=r"(?s)line 1: tokens are not.*line 2: the label is null.*line 3: the"):
        read_sequences(written(tmp_path, lines, "s.jsonl"))


ROWS = "".join(f"{np.sin(k):.6f},{np.cos(k):.6f}\n" for k in range(30))


@pytest.mark.parametrize("read", [read_snapshots, lambda path: POD(modes=1).fit(path)])
@pytest.mark.parametrize("first", ["", "1.2O,3\n", "0.5,n/a\n", "x,0.5\n"])
def test_a_table_without_header_does_not_lose_its_first_row(tmp_path, read, first):
    with pytest.raises(BadInputError, match="no header row"):
        read(written(tmp_path, first + ROWS))


@pytest.mark.parametrize("header", ["2020,lift", "lift,drag", "x,0", ",0,1", "0,1,2"])
def test_headers_with_whole_numbers_beside_names_are_headers(tmp_path, header):
    count = header.count(",") + 1
    rows = "".join(",".join(f"{np.sin(k + place):.6f}" for place in range(count)) + "\n" for k in range(30))
    path = written(tmp_path, f"{header}\n{rows}")
    assert read_snapshots(path).values.shape == (30, count)
    assert POD(modes=1).fit(path).mean_.shape == (count,)


def test_a_typo_in_a_table_of_a_field_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"line 33 holds '1\.2\.3' in column 'b', not a number"):
        POD(modes=1).fit(written(tmp_path, "a,b\n" + ROWS + "\n1,1.2.3\n"))


def test_a_table_of_a_field_that_ends_within_quotes_is_one_error(tmp_path):
    with pytest.raises(BadInputError, match=r"must hold numbers|cannot be read"):
        POD(modes=1).fit(written(tmp_path, "a,b\n" + ROWS + '1,"2\n'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n,\n3,4\n", "line 3 holds '' in column 'x'"),
        ('x\n1\n""\n3\n', "line 3 holds '' in column 'x'"),
        ("1,5;2,5\n3,5;4,5\n", r"separated by ';' and decimals are written with commas"),
        ("x;y\n1;2\n3;4\n", r"separated by ';'; in pandas, read_csv\(FILE, sep=';', decimal=','\)"),
        ("x,y\n0x00,1\n0x1F,2\n", "column 'x' holds no numbers, but what looks like them: '0x00'"),
        ("x,y\n1d5,1\n2.5D-1,2\n", "column 'x' holds no numbers, but what looks like them: '1d5'"),
    ],
)
def test_tokens_are_not_lost_nor_numbers_taken_as_names(tmp_path, text, message):
    with pytest.raises(BadInputError, match=message):
        read_tokens(written(tmp_path, text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1, 2]", "it is no object"), ('{"tokens": 5, "label": 1}', "tokens are not rows"),
        ('{"tokens": "ab", "label": 1}', "tokens are not rows"),
        ('{"tokens": [[[1]]], "label": 1}', "tokens are not rows"),
        ('{"tokens": [[1], [2, 3]], "label": 1}', "tokens are not rows"),
        ('{"tokens": [[1], 2], "label": 1}', "tokens are not rows"),
        ('{"tokens": [[1e5, "2"]], "label": 1}', "tokens are not rows"),
        ('{"tokens": [[1]], "label": 1, "id": {"a": 1}}', "the id is .* expected a string or a whole number"),
        ('{"tokens": [[1]], "label": 1, "id": true}', "the id is 'True', expected"),
        ('{"tokens": [[1' + "0" * 400 + ']], "label": 1}', "beyond the largest float64"),
    ],
)  # fmt: skip
def test_a_line_of_the_wrong_shape_is_said_in_words_of_the_format(tmp_path, line, message):
    with pytest.raises(BadInputError, match=f"line 1: .*{message}"):
        read_sequences(written(tmp_path, line, "s.jsonl"))


def test_whole_numbers_beyond_64_bits_are_numbers(tmp_path):
    found = read_sequences(written(tmp_path, '{"tokens": [[1' + "0" * 30 + ', -2]], "label": 1}', "s.jsonl"))
    assert found.sequences[0].tolist() == [[1e30, -2.0]]


TABLE = "id,label,text,x\na,1,fine,0.5\nb,2,dull,1.5\nc,1,warm,2.5\n"
READERS = {
    "texts": lambda path: read_texts(path).labels,
    "sequences": lambda path: read_sequences(path, unread="text").labels,
    "snapshots": lambda path: read_snapshots(path, columns=["x"]).values.tolist(),
    "tokens": lambda path: read_tokens(path).labels,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".CSV", ".TSV", ".csv.gz", ".tsv.csv"])
def test_every_reader_takes_the_delimiter_from_the_name_and_passes_over_blank_lines(tmp_path, read, ending):
    text = "\ufeff\n" + TABLE + "\n\n"
    if read is READERS["tokens"]:
        text = text.replace("label,text,", "").replace(",1,fine", "").replace(",2,dull", "").replace(",1,warm", "")
    plain = read(written(tmp_path, text))
    text = text.replace(",", "\t") if ending.lower() == ".tsv" else text
    path = tmp_path / f"t{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode())
    assert read(path) == plain


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE.encode() + b"d,1,caf\xe9,3\n", r"not UTF-8: line 5 holds .*caf.*Windows-1252"),
        (TABLE.encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (gzip.compress(TABLE.encode(), mtime=0), "compressed by gzip; let its name end in .gz"),
        (b"\xff\0\1\2", "no text but a binary file"),
    ],
)
def test_every_reader_says_what_a_file_that_is_no_utf_8_is(tmp_path, read, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(BadInputError, match=message):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_every_reader_says_that_a_compressed_file_is_cut(tmp_path, read):
    text = "id,label,text,x\n" + "".join(f"a{n},1,fine {n * 7919 % 1000},{n}\n" for n in range(3000))
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode())[:-400])
    with pytest.raises(BadInputError, match="not a whole gzip file"):
        read(tmp_path / "t.csv.gz")
    (tmp_path / "t.csv.gz").write_text(text)
    with pytest.raises(BadInputError, match=r"not a gzip file.*take .gz from its name"):
        read(tmp_path / "t.csv.gz")


@pytest.mark.parametrize("read", [read_texts, read_sequences])
def test_readers_of_named_columns_list_what_is_missing_with_near_names(tmp_path, read):
    with pytest.raises(BadInputError, match=r"no column 'label'; found .*did you mean 'Label'"):
        read(written(tmp_path, TABLE.replace("label", "Label")))
