"""Parts of stored runs: checkpoints of every kind of array, columns of one kind."""

from concurrent.futures import Future

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from stores import filled, run_name

from tokendyn.errors import BadInputError
from tokendyn.runs import parquet_files
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.index import Index
from tokendyn.runs.scheduler import LostSchedulerError, WorkerDiedError, _answer
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


def test_runs_are_found_among_more_ids_than_one_question_holds(tmp_path):
    ids = [run_name(number) for number in (1, *range(1000, 1498), 2, 3, *range(1498, 1996), 4)]
    with Index(filled(tmp_path, 5)) as index:
        index.refresh()
        assert sorted(index.some(ids)) == [run_name(number) for number in (1, 2, 3, 4)]
        assert list(index.some([run_name(5)])) == [run_name(5)]


class TestAnswers:
    """What comes of a task of a cluster: errors of Dask are told by the names of their classes."""

    class Failed(Future):
        def __init__(self, name):
            self.error = type(name, (Exception,), {})("why")

        def result(self):
            raise self.error

    @pytest.mark.parametrize("name", ["CommClosedError", "FutureCancelledError", "CancelledError"])
    def test_a_lost_scheduler_is_named(self, name):
        with pytest.raises(LostSchedulerError, match="connection to the Dask scheduler is lost"):
            _answer(self.Failed(name))

    def test_dead_workers_are_an_answer(self):
        answer = _answer(self.Failed("KilledWorker"))
        assert isinstance(answer, WorkerDiedError)
        assert answer.certain

    def test_an_error_of_the_task_is_raised_as_it_is(self):
        failed = self.Failed("OtherError")
        with pytest.raises(Exception, match="why") as caught:
            _answer(failed)
        assert caught.value is failed.error
