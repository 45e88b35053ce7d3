"""Parts of stored runs: checkpoints of every kind of array, columns of one kind."""

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from tokendyn.errors import BadInputError
from tokendyn.runs import parquet_files
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.table import table_of


def test_a_checkpoint_gives_back_what_was_written_and_only_to_its_own_run(tmp_path):
    arrays = {"places": np.arange(6.0).reshape(2, 3), "numbers": np.array([3, 1])}
    checkpoint = Checkpoint(tmp_path / "state", seconds=0.0).of(arrays, "settings")
    assert checkpoint.read() is None
    checkpoint.write(State(arrays, {"t": 0.25}))
    found = Checkpoint(tmp_path / "state").of(arrays, "settings").read()
    assert found.record == {"t": 0.25}
    assert sorted(found.arrays) == ["numbers", "places"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    for other in [({**arrays, "numbers": np.array([3, 2])}, "settings"), (arrays, "other settings"), (arrays,)]:
        with pytest.raises(BadInputError, match="another checkpoint"):
            Checkpoint(tmp_path / "state").of(*other)


def test_columns_hold_one_kind_of_value_and_collections_become_text():
    rows = [{"a": 1, "b": [1, 2], "c": 1, "d": "x"}, {"a": 2.5, "b": [3], "c": 2, "d": 3}, {"c": 3, "e": {"k": 1}}]
    assert table_of(rows) == {
        "a": [1.0, 2.5, None],
        "b": ["[1, 2]", "[3]", None],
        "c": [1, 2, 3],
        "d": ["x", "3", None],
        "e": [None, None, "{'k': 1}"],
    }


def test_what_a_parquet_file_unpacks_to_counts_every_column_of_every_group(tmp_path):
    path = tmp_path / "t.parquet"
    table = pyarrow.table({"a": np.arange(100.0), "b": np.arange(100) % 2, "c": np.arange(100.0) ** 2})
    parquet.write_table(table, path, row_group_size=40)
    metadata = parquet.read_metadata(path)
    sizes = [metadata.row_group(g).column(c).total_uncompressed_size for g in (0, 1, 2) for c in (0, 1, 2)]
    assert parquet_files._walk(str(path)) == {"problem": "", "bytes": sum(sizes)}
