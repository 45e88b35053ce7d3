"""Metrics of forecasts: closed forms, limits, and what an ensemble that is calibrated by construction must give."""

import numpy as np
import pytest

from tokendyn.errors import BadInputError
from tokendyn.metrics import (
    dominant_frequency,
    ensemble_calibration,
    exponent_of_series,
    histogram_distance,
    largest_exponent,
    nrmse,
    power_spectrum,
    spectral_distance,
    valid_prediction_times,
)


def test_the_error_of_the_mean_is_one(rng):
    truth = rng.normal(size=(500, 3)) * [1, 10, 100]
    assert nrmse(np.broadcast_to(truth.mean(axis=0), truth.shape), truth) == pytest.approx(1)
    assert nrmse(truth, truth) == 0


def test_a_forecast_that_is_not_finite_has_infinite_error(rng):
    truth = rng.normal(size=(50, 2))
    broken = truth.copy()
    broken[30:] = np.nan
    assert nrmse(broken, truth) == np.inf
    times = valid_prediction_times(broken[None], truth[None], dt=0.1, exponent=2.0)
    assert times.median == pytest.approx(30 * 0.1 * 2.0)


def test_valid_times_of_a_growing_error():
    t = 0.1 * np.arange(1, 101)
    truth = np.zeros((2, 100, 1))
    forecasts = np.stack([1e-3 * np.exp(t), np.zeros(100)])[..., None]
    found = valid_prediction_times(forecasts, truth, 0.1, 1.0, 0.4, np.ones(1))
    assert found.times[0] == pytest.approx(np.log(0.4 / 1e-3), abs=0.1)
    assert (found.times[1], found.censored) == (pytest.approx(10.0), 1)
    assert found.lower <= found.median <= found.upper


def test_histograms_of_one_law_agree_and_of_two_do_not(rng):
    one, other = rng.normal(size=(100_000, 1)), rng.normal(size=(100_000, 1))
    assert histogram_distance(one, other) < 0.03
    assert histogram_distance(one + 100, other) == pytest.approx(1, abs=1e-4)


def test_the_spectrum_holds_the_variance_and_its_peak_the_frequency():
    t = 0.01 * np.arange(8192)
    wave = np.sin(2 * np.pi * 3.3 * t)[:, None]
    frequencies, density = power_spectrum(wave, 0.01)
    assert np.trapezoid(density[:, 0], frequencies) == pytest.approx(0.5, rel=1e-3)
    assert dominant_frequency(wave[:, 0], 0.01) == pytest.approx(3.3, abs=1e-4)
    assert spectral_distance(wave, 5 * wave, 0.01) == pytest.approx(0, abs=1e-6)
    assert spectral_distance(wave, np.sin(2 * np.pi * 20 * t)[:, None], 0.01) > 0.99


def test_the_exponent_of_a_linear_map_is_its_largest_eigenvalue(rng):
    basis = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    matrix = basis @ np.diag([0.9, 0.5, 0.2]) @ basis.T
    found = largest_exponent(lambda x: matrix @ x, np.zeros(3), 0.5, 50, 100)
    assert found.value == pytest.approx(np.log(0.9) / 0.5, rel=1e-6)


def test_the_exponent_of_the_logistic_map_is_log_two():
    found = largest_exponent(lambda x: 4 * x * (1 - x), np.array([0.3]), 1.0, 20_000, 10, 1e-9)
    assert found.value == pytest.approx(np.log(2), abs=0.01)
    series = np.empty((4000, 1))
    series[0] = 0.3
    for n in range(3999):
        series[n + 1] = 4 * series[n] * (1 - series[n])
    curve = exponent_of_series(series, 1.0, 6, 5)
    assert np.polyfit(np.arange(5), curve[:5], 1)[0] == pytest.approx(np.log(2), abs=0.1)


def test_a_calibrated_ensemble_covers_what_it_says(rng):
    spread = rng.uniform(0.5, 2.0, size=(1, 4000, 1))
    draws = rng.normal(size=(41, 4000, 1)) * spread
    found = ensemble_calibration(draws[1:], draws[0])
    assert found.coverage[0.9] == pytest.approx(0.9, abs=0.03)
    assert found.coverage[0.5] == pytest.approx(0.5, abs=0.04)
    assert found.spread == pytest.approx(found.error, rel=0.05)
    assert found.spread_error_correlation > 0.2


def test_the_score_of_an_ensemble_is_its_definition(rng):
    ensemble, truth = rng.normal(size=(7, 5, 2)), rng.normal(size=(5, 2))
    scaled, wanted = ensemble / truth.std(axis=0), truth / truth.std(axis=0)
    pairs = np.abs(scaled[:, None] - scaled[None]).mean(axis=(0, 1))
    direct = (np.abs(scaled - wanted).mean(axis=0) - pairs / 2).mean()
    assert ensemble_calibration(ensemble, truth).crps == pytest.approx(direct)


def test_what_cannot_be_compared_is_refused(rng, unchecked):
    a = rng.normal(size=(20, 2))
    with pytest.raises(BadInputError, match="expected the same"):
        nrmse(a, a[:10])
    with pytest.raises(BadInputError, match="no spread"):
        nrmse(np.ones((5, 1)), np.ones((5, 1)))
    with pytest.raises(BadInputError, match="above 0"):
        valid_prediction_times(a[None], a[None], -1.0)
    with pytest.raises(BadInputError, match="not finite"):
        histogram_distance(a * np.nan, a)
    with pytest.raises(BadInputError, match="two members"):
        ensemble_calibration(a[None], a)
    with pytest.raises(BadInputError, match="apart after"):
        largest_exponent(lambda x: x * np.nan, np.ones(2), 1.0, 10)
    with pytest.raises(BadInputError, match="too few"):
        exponent_of_series(a, 1.0, 10, 5)
