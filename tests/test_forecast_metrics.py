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
    normalised_error,
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


# Every formula against an implementation of its own, in plain loops where that is short.


def test_errors_are_the_root_of_the_mean_over_features_in_scales(rng):
    forecast, truth = rng.normal(size=(2, 3, 7, 4)) * [1, 2, 5, 10]
    scale = [np.sqrt(np.mean((truth[..., c] - truth[..., c].mean()) ** 2)) for c in range(4)]
    plain = [
        [np.sqrt(sum(((f[c] - x[c]) / scale[c]) ** 2 for c in range(4)) / 4) for f, x in zip(*pair, strict=True)]
        for pair in zip(forecast, truth, strict=True)
    ]
    np.testing.assert_allclose(normalised_error(forecast, truth), plain, rtol=1e-12)
    assert nrmse(forecast, truth) == pytest.approx(np.sqrt(np.mean(np.square(plain))), rel=1e-12)
    assert nrmse(forecast, truth, np.array([2.0, 2.0, 2.0, 2.0])) == pytest.approx(
        np.sqrt(((forecast - truth) ** 2).mean()) / 2, rel=1e-12
    )


@pytest.mark.parametrize("scale", [np.nan, np.inf, 0.0, -1.0])
def test_a_scale_is_a_positive_finite_number(scale):
    with pytest.raises(BadInputError, match="spread"):
        normalised_error(np.zeros((3, 2)), np.zeros((3, 2)), np.array([1.0, scale]))


def test_valid_times_end_at_the_first_row_beyond_the_threshold():
    errors = np.array([[0.0, 0.5, 0.75, 0.0], [0.75, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 0.75]])
    found = valid_prediction_times(errors[..., None], np.zeros((4, 4, 1)), 0.25, 2.0, 0.5, np.ones(1))
    assert found.times.tolist() == [1.0, 0.0, 2.0, 1.5]  # rows 2, 0, none of 4, 3; a row is half a Lyapunov time
    assert (found.lower, found.median, found.upper, found.censored) == (0.75, 1.25, 1.625, 1)
    for name in ("dt", "exponent", "threshold"):
        with pytest.raises(BadInputError, match="above 0"):
            valid_prediction_times(errors[..., None], errors[..., None], **{"dt": 1.0, name: 0.0})


def test_the_histogram_distance_by_hand():
    truth = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])  # bins of 2: shares 1/2, 1/2 and nothing outside
    other = np.array([[0.5, -1.0], [4.0, 5.0], [1.0, 3.0]])
    assert histogram_distance(other[:, :1], truth[:, :1], bins=2) == pytest.approx((2 / 3 - 1 / 2 + 1 / 2 - 1 / 3) / 2)
    assert histogram_distance(other, truth, bins=2) == pytest.approx((1 / 3 + 1 / 2 + 1 / 6 + 1 / 3) / 2)
    assert histogram_distance(np.array([[9.0]]), np.array([[4.0]]), bins=2) == 1
    fine = np.array([[0.0], [4.0], [4.0]])
    assert histogram_distance(fine, truth[:, :1]) == pytest.approx((1 / 12 + 1 / 4 + 1 / 4 + 5 / 12) / 2)
    assert histogram_distance(truth[:, :1] + 0.039, truth[:, :1]) == pytest.approx(0.25)  # 50 bins of .08


def welch(signal, dt, segment):
    window = np.hanning(segment + 1)[:-1]
    parts = [signal[k : k + segment] for k in range(0, len(signal) - segment + 1, segment - segment // 2)]
    power = np.mean([np.abs(np.fft.rfft(window * (part - part.mean()))) ** 2 for part in parts], axis=0)
    power[1 : (segment + 1) // 2] *= 2
    return power * dt / (window**2).sum()


@pytest.mark.parametrize("segment", [64, 75])
def test_spectra_are_those_of_welch(segment, rng):
    one, other = rng.normal(size=(300, 2)), rng.normal(size=(200, 2)).cumsum(axis=0)
    frequencies, density = power_spectrum(one, 0.25, segment)
    np.testing.assert_allclose(frequencies, np.arange(segment // 2 + 1) / (0.25 * segment))
    np.testing.assert_allclose(density[:, 1], welch(one[:, 1], 0.25, segment), rtol=1e-9)
    plain = []
    for column in range(2):
        p, q = (welch(series[:, column], 0.25, segment)[1:] for series in (one, other))
        plain.append(np.sqrt(1 - np.sqrt(p / p.sum() * q / q.sum()).sum()))
    assert spectral_distance(one, other, 0.25, segment) == pytest.approx(np.mean(plain), rel=1e-9)
    assert spectral_distance(one, other, 0.25) == pytest.approx(spectral_distance(one, other, 0.25, 200), rel=1e-12)
    assert len(power_spectrum(np.zeros((3000, 1)), 1.0)[0]) == 513


@pytest.mark.parametrize("count", [64, 301])
def test_the_dominant_frequency_is_found_to_a_hundredth_of_a_bin(count, rng):
    t = 0.1 * np.arange(count)
    for frequency in rng.uniform(8, 0.4 * count, size=30) / (0.1 * count):
        wave = 5 + 3 * np.cos(2 * np.pi * frequency * t + rng.uniform(0, 6))
        assert dominant_frequency(wave, 0.1) == pytest.approx(frequency, abs=0.01 / (0.1 * count))
    assert dominant_frequency(np.zeros(count), 0.1) == pytest.approx(1 / (4 * count * 0.1))


def test_the_exponent_is_the_mean_of_the_tangent_and_its_error_that_of_ten_blocks():
    states = [0.3]
    for _ in range(506):
        states.append(4 * states[-1] * (1 - states[-1]))
    rates = np.log(np.abs(4 - 8 * np.array(states[3:506]))) / 0.5
    found = largest_exponent(lambda x: 4 * x * (1 - x), np.array([0.3]), 0.5, 503, 3, 1e-9)
    means = [rates[:51].mean(), rates[51:102].mean(), rates[102:153].mean()]
    means += [rates[153 + 50 * k : 203 + 50 * k].mean() for k in range(7)]
    assert found.value == pytest.approx(rates.mean(), abs=1e-4)
    assert found.standard_error == pytest.approx(np.std(means, ddof=1) / 10**0.5, rel=1e-3)
    with pytest.raises(BadInputError, match="at least 10"):
        largest_exponent(lambda x: x / 2, np.array([0.3]), 0.5, 9)
    assert largest_exponent(lambda x: x / 2, np.array([0.3]), 0.5, 10).value == pytest.approx(-np.log(2) / 0.5)


def test_neighbours_of_a_series_are_followed_as_by_plain_loops(rng):
    series, horizon, apart = rng.normal(size=(68, 2)), 8, 6
    logs = []
    for i in range(60):
        others = [j for j in range(60) if abs(i - j) >= apart]
        near = min(others, key=lambda j, i=i: np.linalg.norm(series[i] - series[j]))
        logs.append([np.log(np.linalg.norm(series[i + k] - series[near + k])) for k in range(horizon)])
    np.testing.assert_allclose(exponent_of_series(series, 1.0, horizon, apart), np.mean(logs, axis=0), rtol=1e-12)
    with pytest.raises(BadInputError, match="too few"):
        exponent_of_series(series[:67], 1.0, horizon, apart)
    assert np.isfinite(exponent_of_series(series, 1.0, horizon, apart, references=3)).all()


def test_calibration_is_its_definitions(rng):
    ensemble, truth = rng.normal(size=(9, 40, 2)) * [1, 3], rng.normal(size=(40, 2)) * [1, 3]
    scale = np.array([1.0, 3.0])
    found = ensemble_calibration(ensemble, truth, (0.5, 0.8), scale)
    members, wanted = np.sort(ensemble / scale, axis=0), truth / scale
    # Of 9 members, quantile q has rank 10 q: ranks 2.5 and 7.5, and 1 and 9.
    middle = [(members[1] + members[2]) / 2, (members[6] + members[7]) / 2]
    assert found.coverage == {
        0.5: pytest.approx(np.mean((middle[0] <= wanted) & (wanted <= middle[1]))),
        0.8: pytest.approx(np.mean((members[0] <= wanted) & (wanted <= members[8]))),
    }
    variance = ((members - members.mean(axis=0)) ** 2).sum(axis=0).mean(axis=-1) / 8
    squared = ((members.mean(axis=0) - wanted) ** 2).mean(axis=-1)
    assert found.spread == pytest.approx(np.sqrt(variance.mean() * 10 / 9), rel=1e-12)
    assert found.error == pytest.approx(np.sqrt(squared.mean()), rel=1e-12)
    ranks = [np.argsort(np.argsort(values)) for values in (variance, squared)]
    assert found.spread_error_correlation == pytest.approx(np.corrcoef(ranks)[0, 1], rel=1e-9)
    same = ensemble_calibration(np.stack([truth, truth]), truth)
    assert (same.crps, same.spread, same.error, same.spread_error_correlation) == (0, 0, 0, 0)
    assert same.coverage == {0.5: 1.0, 0.9: 1.0}


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
