"""The literal time-delayed transformer: the contract and its training."""

import numpy as np
import pytest

from tokendyn.errors import BadInputError
from tokendyn.forecast import PaperTDTF
from tokendyn.testing import ForecasterContract, waves


class TestContract(ForecasterContract):
    @classmethod
    def make(cls):
        return PaperTDTF(delays=4, width=8, hidden=12, epochs=12, batch_size=32, learning_rate=1e-2)


def test_it_learns_and_the_best_epoch_is_kept():
    series = waves(300)
    short, long = (PaperTDTF(width=8, hidden=12, epochs=epochs, batch_size=16).fit(series) for epochs in (1, 30))
    assert long.training_["error"] < 0.8 * short.training_["error"]
    assert 1 <= long.training_["chosen"] <= 30


def test_a_model_that_has_learned_nothing_persists():
    model = PaperTDTF(width=8, hidden=12, epochs=1, learning_rate=0.0).fit(waves(100))
    window = waves(20)
    np.testing.assert_allclose(model.forecast(window, 5).values, np.repeat(window[-1:], 5, axis=0), atol=1e-12)


def test_budget_and_patience_end_the_training():
    series = waves(100)
    assert PaperTDTF(epochs=50, budget=0.0).fit(series).training_["epochs"] == 1
    assert PaperTDTF(epochs=50, learning_rate=0.0, patience=2).fit(series).training_["epochs"] == 3


def test_bad_parameters_are_named():
    with pytest.raises(BadInputError, match=r"(?s)2 problems.*width is 0.*epochs is 0"):
        PaperTDTF(width=0, epochs=0).fit(waves(100))
