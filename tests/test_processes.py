"""Trainings over several processes reach the loss of one process to rounding, and the same model everywhere."""

from pathlib import Path

import numpy as np
import pytest
from published_leaders import published
from workers import run_together

from tokendyn.forecast import TDTF, PaperTDTF
from tokendyn.runs.processes import Processes

_WORKER = """
import sys
sys.path[:0] = [{tests!r}]
import numpy as np, torch, torch.distributed as dist
torch.set_num_threads(1)
from test_processes import trained
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + folder + "/store", rank=rank, world_size=2)
np.savez(folder + f"/{{rank}}.npz", **trained())
dist.barrier()
dist.destroy_process_group()
"""

WORDS = ("fine", "moving", "bright", "dull", "slow", "false", "plot", "film", "actor")


def trained():
    """Train every kind of model and return weights and losses."""
    rng = np.random.default_rng(5)
    time = np.arange(303) * 0.1
    series = np.c_[np.sin(time), np.tanh(2 * np.cos(1.7 * time))]
    classes = rng.integers(0, 2, 75)
    texts = [" ".join(rng.choice(WORDS, 5, p=_shares(kind))) for kind in classes]
    transformer = TDTF(delays=3, units=4, iterations=6, random_state=1).fit(series, dt=0.1)
    paper = PaperTDTF(delays=3, width=4, hidden=5, epochs=3, batch_size=64, random_state=1).fit(series, dt=0.1)
    classifier = published(epochs=2, random_state=1).fit(texts, classes.tolist())
    return {
        "tdtf_losses": [row["one_step"] for row in transformer.training_["history"]],
        "tdtf_forecast": transformer.forecast(series[: transformer.window_length_], 5).values,
        "paper_error": paper.training_["error"],
        "paper_readout": paper.weights_["readout"],
        "classifier_losses": [row["validation_loss"] for row in classifier.training_["epochs"]],
        "classifier_words": classifier.embedding_,
    }


def _shares(kind):
    weights = np.array([4, 4, 4, 1, 1, 1, 2, 2, 2] if kind else [1, 1, 1, 4, 4, 4, 2, 2, 2], dtype=np.float64)
    return weights / weights.sum()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Train with two processes and return what each found."""
    folder = tmp_path_factory.mktemp("pair")
    run_together(_WORKER.format(tests=str(Path(__file__).parent)), 2, folder)
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(2)]


def test_both_processes_end_with_the_same_bits(pair):
    for name, found in pair[0].items():
        np.testing.assert_array_equal(found, pair[1][name], err_msg=name)


def test_two_processes_reach_the_losses_of_one(pair):
    for name, found in trained().items():
        np.testing.assert_allclose(pair[0][name], found, rtol=1e-6, atol=1e-9, err_msg=name)


def test_parts_of_the_processes_cover_everything_once():
    one = Processes()
    assert (one.rank, one.count) == (0, 1)
    for count in (1, 2, 3, 7):
        parts = []
        for rank in range(count):
            one.rank, one.count = rank, count
            parts += list(range(10)[one.part(10)])
        assert parts == list(range(10))
