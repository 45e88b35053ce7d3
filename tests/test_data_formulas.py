"""Limits of the readers, to the last byte, and formulas of systems beside oracles written down again."""

from functools import partial

import pandas as pd
import pytest

from tokendyn.data import collections
from tokendyn.data.snapshots.columns import open_columns
from tokendyn.errors import BadInputError


def test_a_text_file_may_be_as_long_as_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(collections, "LONGEST_TEXT", 5)
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "1.txt"
    file.write_text("films")
    assert collections.read_class_folders(tmp_path).texts == ("films",)
    file.write_text("films.")
    with pytest.raises(BadInputError, match=r"1\.txt.*longer than"):
        collections.read_class_folders(tmp_path)


@pytest.mark.parametrize("kind", [object, "str"])
def test_the_memory_of_a_table_counts_its_texts(kind, tmp_path, monkeypatch):
    """As objects, which pandas 2 reads, and as its own strings."""
    monkeypatch.setattr("tokendyn.data.snapshots.columns.MOST_TABLE_BYTES", 10_000)
    monkeypatch.setattr(pd, "read_csv", partial(pd.read_csv, dtype={"y": kind}))
    file = tmp_path / "a.csv"
    for length, rows in ((10, 100), (200, 20)):  # at most 8 KB, and 6 KB
        pd.DataFrame({"x": range(rows), "y": ["a" * length] * rows}).to_csv(file, index=False)
        with open_columns(file) as columns:
            assert columns.shapes == {"x": (rows,), "y": (rows,)}
    pd.DataFrame({"x": range(100), "y": ["a" * 200] * 100}).to_csv(file, index=False)  # more than 20 KB
    with pytest.raises(BadInputError, match="of memory"), open_columns(file):
        pass
