import csv
import gzip
import io
import json
import os
import sys

import pytest

from tokendyn.data.texts import imdb_reviews, read_texts, small_reviews, stream_texts
from tokendyn.errors import BadInputError

NEEDS_IMDB = pytest.mark.skipif(
    not os.environ.get("TOKENDYN_DATA"),
    reason="set TOKENDYN_DATA to the folder that holds imdb/reviews-train.csv.gz",
)


def write(path, content):
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".CSV"])
def test_every_format_gives_the_same_texts(tmp_path, ending):
    rows = [("good, very\tgood", "pos"), ('a "dull"\nfilm', "neg"), ("", "neg")]
    if "jsonl" in ending:
        content = "\r\n".join(json.dumps({"label": label, "text": text}) for text, label in rows)
    else:
        delimiter = "\t" if "tsv" in ending else ","
        quoted = [[f'"{part.replace(chr(34), chr(34) * 2)}"' for part in row] for row in [("text", "label"), *rows]]
        content = "\r\n".join(delimiter.join(row) for row in quoted)
    found = read_texts(write(tmp_path / f"reviews{ending}", content))
    assert found.texts == tuple(text for text, _ in rows)
    assert found.labels == ("pos", "neg", "neg")
    assert found.rows == (1, 2, 3)


def test_unicode_line_separators_stay_inside_a_text(tmp_path):
    text = "one\x85two\u2028three\x0bfour"
    assert read_texts(write(tmp_path / "a.csv", f"text,label\n{text},pos\n")).texts == (text,)
    line = json.dumps({"text": text, "label": 1}, ensure_ascii=False)
    found = read_texts(write(tmp_path / "a.jsonl", line + "\n\n"))
    assert (found.texts, found.labels) == ((text,), ("1",))


def test_a_byte_order_mark_and_spaces_in_the_header_are_accepted(tmp_path):
    found = read_texts(write(tmp_path / "a.csv", b"\xef\xbb\xbftext , label\nfine,pos\n"), label=None)
    assert found.texts == ("fine",)
    assert found.labels is None


def test_a_text_of_a_million_characters_is_read(tmp_path):
    before = csv.field_size_limit()
    assert len(read_texts(write(tmp_path / "a.csv", f"text,label\n{'good ' * 200_000},pos\n")).texts[0]) == 1_000_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", ["empty"]),
        ("a.csv", "text,label\n", ["no rows"]),
        ("a.csv", "Text,labels\na,b\n", ["no column 'text'", "mean 'Text'", "mean 'labels'", "2 problems"]),
        ("a.csv", "text,text,label\na,b,c\n", ["twice"]),
        ("a.csv", "text,label\na\nb,pos\nc,d,e\n", ["row 1: 1 fields", "row 3: 3 fields", "quote"]),
        ("a.csv", "text,label\na,\nb,pos\nc,  \n", ["row 1", "row 3", "empty; label"]),
        ("a.csv", 'text,label\n"a,pos\n', ["line 2", "quotation"]),
        ("a.csv", b"text,label\ncaf\xe9,pos\n", ["UTF-8"]),
        ("a.jsonl", '{"text": 3, "label": "a"}\n{"text": null, "label": "a"}\n', ["row 1", "int", "row 2", "missing"]),
        ("a.jsonl", '{"text": NaN, "label": "a"}\n[1]\n{', ["row 1", "NaN", "row 2", "object", "row 3", "not JSON"]),
        ("a.jsonl", '{"txt": "a", "label": "b"}\n', ["row 1: no column 'text'", "mean 'txt'"]),
        ("a.jsonl", '{"text": "a", "label": null}\n', ["row 1", "missing"]),
        ("a.txt", "text,label\na,b\n", ["known kind", ".csv"]),
    ],
)
def test_bad_files_give_one_error_that_names_the_rows(tmp_path, name, content, words):
    with pytest.raises(BadInputError) as caught:
        read_texts(write(tmp_path / name, content))
    for word in words:
        assert word in str(caught.value)


def test_a_long_list_of_bad_rows_is_cut(tmp_path):
    with pytest.raises(BadInputError, match="and 90 more rows") as caught:
        read_texts(write(tmp_path / "a.csv", "text,label\n" + "a,\n" * 100))
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("cut", [5, 30, -5])
def test_a_truncated_gzip_file_is_an_error(tmp_path, cut):
    whole = gzip.compress(b"text,label\n" + b"".join(b"%d good,pos\n" % n for n in range(1000)))
    path = tmp_path / "a.csv.gz"
    path.write_bytes(whole[:cut])
    with pytest.raises(BadInputError, match="gzip"):
        read_texts(path)


def test_a_missing_file_and_a_folder_without_texts_are_errors(tmp_path):
    with pytest.raises(BadInputError, match="does not exist"):
        read_texts(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(BadInputError, match="holds no text"):
        read_texts(tmp_path / "folder.csv")


def test_the_shipped_corpus_is_balanced():
    corpus = small_reviews()
    assert len(corpus) >= 400
    assert corpus.labels.count("pos") == corpus.labels.count("neg") == len(corpus) // 2
    assert len(set(corpus.texts)) == len(corpus)


def test_missing_imdb_reviews_are_an_error_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.delenv("TOKENDYN_DATA", raising=False)
    with pytest.raises(BadInputError, match="TOKENDYN_DATA"):
        imdb_reviews()
    monkeypatch.setenv("TOKENDYN_DATA", str(tmp_path))
    with pytest.raises(BadInputError, match="missing"):
        imdb_reviews()


@NEEDS_IMDB
def test_the_imdb_reviews_are_read_whole():
    corpus = imdb_reviews()
    assert len(corpus) == 25_000
    assert corpus.labels.count("pos") == 12_500


@pytest.mark.parametrize("ending", [".csv", ".tsv.gz", ".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize("count", [1, 4, 8, 9])
def test_a_stream_gives_the_texts_of_the_file_in_parts(tmp_path, ending, count):
    if "jsonl" in ending:
        content = "".join(json.dumps({"text": f"text {n}", "label": "x"}) + "\n\n" for n in range(count))
    else:
        content = "text\tlabel\n".replace("\t", "," if "csv" in ending else "\t")
        content += "".join(f"text {n}{',' if 'csv' in ending else chr(9)}x\n\n" for n in range(count))
    path = write(tmp_path / f"a{ending}", content)
    heard = []
    parts = list(stream_texts(path, label="label", part=4, progress=lambda done, of: heard.append((done, of))))
    assert [len(part) for part in parts] == [min(4, count - first) for first in range(0, count, 4)]
    assert [text for part in parts for text in part.texts] == list(read_texts(path).texts)
    assert [row for part in parts for row in part.rows] == list(range(1, count + 1))
    assert all(part.labels == ("x",) * len(part) for part in parts)
    assert heard[-1] == (path.stat().st_size, path.stat().st_size)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_a_stream_names_the_same_rows_as_the_reader_and_stops_before_them(tmp_path):
    rows = [f"text {number},x" if number not in (7, 18) else "one,two,three" for number in range(1, 31)]
    path = write(tmp_path / "a.csv", "\n".join(["text,label", *rows]))
    with pytest.raises(BadInputError) as whole:
        read_texts(path)
    met = []
    with pytest.raises(BadInputError) as streamed:
        met.extend(part.rows for part in stream_texts(path, part=5))
    assert str(streamed.value) == str(whole.value)
    assert "row 7:" in str(whole.value)
    assert "row 18:" in str(whole.value)
    assert [rows for part in stream_texts(write(tmp_path / "b.csv", "text\na\n")) for rows in part.rows] == [1]


@pytest.mark.parametrize("content", ["", "text,label\n", "other\nx\n"])
def test_a_stream_without_a_row_says_what_the_reader_says(tmp_path, content):
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(BadInputError) as whole:
        read_texts(path, label=None)
    with pytest.raises(BadInputError) as streamed:
        list(stream_texts(path))
    assert str(streamed.value) == str(whole.value)


def test_a_cut_gzip_file_is_noticed_by_a_stream_too(tmp_path):
    path = write(tmp_path / "a.csv.gz", "text,label\n" + "".join(f"text {n * 7919 % 1000},x\n" for n in range(5000)))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(BadInputError, match="not a whole gzip file"):
        list(stream_texts(path, part=10))


def test_a_stream_reads_standard_input_and_leaves_it_open(monkeypatch):
    source = io.TextIOWrapper(io.BytesIO("\ufefftext,n\nà la carte,1\n".encode()))
    monkeypatch.setattr(sys, "stdin", source)
    (part,) = stream_texts("-", progress=lambda done, of: pytest.fail("its size is not known"))
    assert part.texts == ("à la carte",)
    assert part.source == "standard input"
    assert not source.buffer.closed


def test_other_files_can_be_read_between_the_parts_of_a_stream(tmp_path):
    path = write(tmp_path / "a.csv", "text\n" + "word\n" * 6)
    before = csv.field_size_limit()
    for _ in stream_texts(path, part=2):
        assert len(read_texts(path, label=None)) == 6
        assert csv.field_size_limit() == before


def test_a_text_that_utf_8_cannot_hold_is_refused(tmp_path):
    path = write(
        tmp_path / "a.jsonl", '{"text": "fine \\ud83d\\ude00", "label": 1}\n{"text": "half \\ud83d", "label": 1}\n'
    )
    with pytest.raises(BadInputError, match="row 2: half a surrogate pair"):
        read_texts(path)


def test_a_quotation_mark_without_end_is_named_where_its_row_begins(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\nfine,pos\n"dull,neg\n' + "warm,pos\n" * 40)
    with pytest.raises(BadInputError, match=r"the row from line 3 to 43 cannot be read.*quotation marks"):
        read_texts(path)
