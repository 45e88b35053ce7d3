"""TD-DMD: the contract, PyDMD's HankelDMD, spectra, the stable variant."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from tokendyn.errors import BadInputError
from tokendyn.forecast import TDDMD
from tokendyn.testing import ForecasterContract, driven, waves


class TestContract(ForecasterContract):
    @classmethod
    def make(cls):
        return TDDMD(delays=6, stride=2, ridge=1e-12)


class TestReducedContract(ForecasterContract):
    takes_inputs = False
    restarts = False

    @classmethod
    def make(cls):
        return TDDMD(delays=8, rank=8, reduced=True)


class TestStableContract(ForecasterContract):
    restarts = False

    @classmethod
    def make(cls):
        return TDDMD(delays=4, stride=2, stable=True)


def sinusoids():
    time = 0.05 * np.arange(300)
    return np.stack([np.sin(2 * time) + 0.3 * np.sin(5.1 * time), np.exp(-0.1 * time) * np.cos(3 * time)], axis=1)


def noisy_sinusoids():
    return sinusoids() + 1e-2 * np.random.default_rng(3).standard_normal((300, 2))


def van_der_pol():
    x, v, rows = 0.5, 0.0, []
    for _ in range(600):
        x, v = x + 0.02 * v, v + 0.02 * ((1 - x * x) * v - x)
        rows.append((x, v, x * v))
    return np.array(rows)


@pytest.mark.filterwarnings("ignore:Input data condition number")  # PyDMD warns of its Hankel matrix
@pytest.mark.parametrize(
    ("make", "delays", "rank"), [(sinusoids, 6, 6), (noisy_sinusoids, 12, 6), (van_der_pol, 10, 9)]
)
def test_reduced_equals_pydmd_hankel_dmd(make, delays, rank):
    from pydmd import HankelDMD

    series = make()
    steps = 60
    theirs = HankelDMD(svd_rank=rank, d=delays).fit(series.T)
    ours = TDDMD(delays=delays, rank=rank, intercept=False, scale=False, reduced=True).fit(series)
    spectrum = ours.spectrum(series[:delays])

    def ordered(values):
        return values[np.lexsort((values.imag.round(6), values.real.round(6)))]

    np.testing.assert_allclose(ordered(spectrum.eigenvalues), ordered(theirs.eigs.astype(complex)), atol=1e-8)
    theirs.dmd_time["tend"] = len(series) + steps - 1
    rebuilt = theirs.reconstructed_data.T.real
    forecast = ours.forecast(series[:delays], len(series) + steps - delays)
    np.testing.assert_allclose(forecast.values, rebuilt[delays:], atol=1e-8 * np.abs(series).max())
    k = np.arange(100)
    sum_of_modes = (spectrum.modes * spectrum.amplitudes) @ spectrum.eigenvalues[:, None] ** k
    np.testing.assert_allclose(sum_of_modes.T[1:].real, forecast.values[:99], atol=1e-8)


def test_without_truncation_the_recursion_and_the_reduced_form_agree():
    series = noisy_sinusoids()
    reduced = TDDMD(delays=5, reduced=True).fit(series)
    recursion = TDDMD(delays=5).fit(series)
    np.testing.assert_allclose(
        reduced.forecast(series[:5], 50).values, recursion.forecast(series[:5], 50).values, atol=1e-9
    )


def test_frequencies_are_in_hertz_and_growth_rates_per_second():
    dt = 0.02
    time = dt * np.arange(500)
    series = (np.exp(-0.3 * time) * np.cos(2 * np.pi * 1.7 * time))[:, None]
    spectrum = TDDMD(delays=2, stride=5, intercept=False).fit(series, dt=dt).spectrum()
    leading = spectrum.contributions > 1e-9 * spectrum.contributions[0]
    assert leading.sum() == 2
    np.testing.assert_allclose(spectrum.frequencies[:2], [1.7, -1.7], atol=1e-9)
    np.testing.assert_allclose(spectrum.growth_rates[:2], -0.3, atol=1e-9)


def test_modes_and_amplitudes_rebuild_the_forecast_with_an_intercept():
    series = noisy_sinusoids() + np.array([5.0, -40.0])
    model = TDDMD(delays=4, stride=3).fit(series)
    spectrum = model.spectrum(series[:10])
    k = np.arange(1, 31)
    rebuilt = spectrum.rest + ((spectrum.modes * spectrum.amplitudes) @ spectrum.eigenvalues[:, None] ** k).T.real
    np.testing.assert_allclose(rebuilt, model.forecast(series[:10], 30).values, atol=1e-6)


def test_the_stable_variant_has_no_eigenvalue_outside_the_unit_circle():
    time = 0.05 * np.arange(200)
    series = (np.exp(0.2 * time) * np.sin(3 * time))[:, None]
    free = TDDMD(delays=4, rank=2, intercept=False).fit(series)
    held = TDDMD(delays=4, rank=2, intercept=False, stable=True).fit(series)
    assert np.abs(free.spectrum().eigenvalues).max() > 1.005
    assert np.abs(held.spectrum().eigenvalues).max() < 1 + 1e-12
    angles = sorted(np.abs(np.angle(free.spectrum().eigenvalues)))
    np.testing.assert_allclose(sorted(np.abs(np.angle(held.spectrum().eigenvalues))), angles, atol=1e-9)
    assert np.abs(held.forecast(series[:4], 2000).values).max() < 10 * np.abs(series[:4]).max()


def test_a_growing_recursion_ends_with_a_status_and_the_finite_part():
    series = (1.5 ** np.arange(30.0))[:, None]
    forecast = TDDMD(delays=2, rank=1, intercept=False).fit(series).forecast(series, 4000)
    assert forecast.status == "diverged"
    assert 10 < forecast.finite_steps == len(forecast.values) < 100
    np.testing.assert_allclose(forecast.values[0], series[-1] * 1.5, rtol=1e-6)


def test_a_linear_system_with_inputs_is_recovered():
    series, push = driven(400)
    model = TDDMD(delays=2).fit(series, inputs=push)
    np.testing.assert_allclose(model.coefficients_[:, 0, 0], [-0.9, 1.8], atol=1e-6)
    forecast = model.forecast(series[:2], 398, inputs=push)
    np.testing.assert_allclose(forecast.values, series[2:], atol=1e-6)


@pytest.mark.parametrize("ridge", [1e-3, 1e-1])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("scale", [False, True])
def test_the_ridge_is_that_of_scikit_learn_times_the_samples(ridge, intercept, scale):
    series = [noisy_sinusoids() + np.array([5.0, -40.0]), noisy_sinusoids()[:50]]
    model = TDDMD(delays=4, stride=3, ridge=ridge, intercept=intercept, scale=scale).fit(series)
    rows = np.concatenate(
        [[one[k - 9 : k + 1 : 3].ravel() for k in range(9, len(one) - 1)] for one in series],
    )
    following = np.concatenate([one[10:] for one in series])
    units = rows.std(axis=0) if scale else np.ones(8)
    theirs = Ridge(alpha=ridge * len(rows), fit_intercept=intercept).fit(rows / units, following)
    expected = (theirs.coef_ / units).reshape(2, 4, 2).transpose(1, 0, 2)
    np.testing.assert_allclose(model.coefficients_, expected, atol=1e-10)
    np.testing.assert_allclose(model.intercept_, theirs.intercept_ * np.ones(2), atol=1e-9)


def test_a_share_of_the_energy_chooses_the_rank():
    model = TDDMD(delays=20, rank=0.999).fit(noisy_sinusoids())
    assert 4 <= model.rank_ <= 8


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"delays": 0}, "delays is 0"),
        ({"stride": 1.5}, "stride is 1.5"),
        ({"rank": -1}, "rank is -1"),
        ({"rank": 1.5}, "rank is 1.5"),
        ({"ridge": -1.0}, "ridge is -1.0"),
        ({"reduced": True, "stride": 2}, "expected stride 1"),
    ],
)
def test_bad_parameters_are_named(parameters, message, unchecked):
    with pytest.raises(BadInputError, match=message):
        TDDMD(**parameters).fit(waves(100))


def test_all_bad_parameters_are_listed_at_once():
    with pytest.raises(BadInputError, match=r"(?s)2 problems.*delays is 0.*stride is 0"):
        TDDMD(delays=0, stride=0).fit(waves(100))
