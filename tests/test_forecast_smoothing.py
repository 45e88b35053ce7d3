"""Histories and series smoothed by the fitted model: nearer to the truth, better forecasts, checked input."""

import numpy as np
import pytest
from test_forecast_tdtf import pendulum

from tokendyn.errors import BadInputError
from tokendyn.forecast import TDTF, local_spectrum
from tokendyn.testing import ForecasterContract

CLEAN = pendulum(500)
NOISY = CLEAN + 0.1 * np.random.default_rng(0).standard_normal(CLEAN.shape)
SETTINGS = {"delays": 2, "stride": 2, "units": 16, "iterations": 15, "gate": False}


class TestHistoryContract(ForecasterContract):
    # A forecast starts from smoothed snapshots: it neither begins with the one-step prediction nor continues itself.
    test_the_first_step_of_a_forecast_is_the_one_step_prediction = None
    test_a_forecast_continues_itself = None

    @classmethod
    def make(cls):
        return TDTF(delays=3, units=6, iterations=3, noise=1e-4, history=12, gate=False)


@pytest.fixture(scope="module")
def models():
    return TDTF(**SETTINGS).fit(CLEAN[:400]), TDTF(history=60, **SETTINGS).fit(CLEAN[:400])


def test_a_noisy_series_is_brought_nearer_to_the_truth(models):
    smooth = models[0].smooth(NOISY, ratio=100.0)
    assert smooth.shape == NOISY.shape
    assert np.abs(smooth - CLEAN).mean() < 0.7 * np.abs(NOISY - CLEAN).mean()
    np.testing.assert_allclose(models[0].smooth(NOISY, ratio=0.0), NOISY, atol=1e-12)


def test_a_forecast_starts_from_the_smoothed_history(models):
    raw, smoothing = models
    assert (raw.window_length_, smoothing.window_length_) == (3, 60)
    window = NOISY[300:360]
    by_hand = raw.forecast(smoothing.smooth(window), 20)
    np.testing.assert_allclose(smoothing.forecast(window, 20).values, by_hand.values, atol=1e-12)
    with pytest.raises(BadInputError, match="expected at least 60"):
        smoothing.forecast(window[1:], 5)


def test_forecasts_from_noisy_windows_are_better_with_a_history(models):
    errors = []
    for model in models:
        windows = np.stack([NOISY[start - 60 : start] for start in range(400, 480, 10)])
        found = model.forecast_many(windows, 20)
        truth = np.stack([CLEAN[start : start + 20] for start in range(400, 480, 10)])
        errors.append(np.sqrt(((np.stack([one.values for one in found]) - truth) ** 2).mean()))
    assert errors[1] < 0.75 * errors[0]


def test_a_history_changes_neither_one_step_nor_what_is_read_off(models):
    raw, smoothing = models
    np.testing.assert_array_equal(smoothing.one_step(CLEAN), raw.one_step(CLEAN)[57:])
    found, wanted = (local_spectrum(model, CLEAN[:80]).eigenvalues for model in (smoothing, raw))
    np.testing.assert_allclose(found, wanted)


def test_what_cannot_be_smoothed_is_refused(models):
    with pytest.raises(BadInputError, match="expected more than 3"):
        models[0].smooth(CLEAN[:3])
    with pytest.raises(BadInputError, match="ratio is -1"):
        models[0].smooth(CLEAN, ratio=-1.0)
    with pytest.raises(BadInputError, match="history is -1"):
        TDTF(history=-1).fit(CLEAN)


def test_rounds_of_smoothing_end_with_the_budget():
    model = TDTF(delays=2, units=10, iterations=1000, smoothing=1000, budget=0.5, gate=False).fit(NOISY)
    assert model.training_["status"] == "budget"
    assert model.fit_seconds_ < 30
    assert np.isfinite(model.forecast(NOISY, 10).values).all()
