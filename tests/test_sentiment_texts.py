import csv
import gzip
import json
import os

import pytest

from tokendyn.data.texts import imdb_reviews, read_texts, small_reviews
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
        ("a.csv", 'text,label\n"a,pos\n', ["row 1", "quotation"]),
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
