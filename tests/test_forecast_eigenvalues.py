"""Error bars of the eigenvalues of TD-DMD: what they cover, what they are made of, where they are shown."""

import numpy as np
import pytest

from tokendyn.errors import BadInputError
from tokendyn.forecast import TDDMD, EigenvalueIntervals, Forecaster
from tokendyn.forecast.eigenvalue_bars import denoised, signal_rank
from tokendyn.forecast.figures import spectrum_figure
from tokendyn.testing import driven, waves

TRUE = np.exp(np.array([-0.005 + 0.3j, -0.01 + 0.8j]))


def tones(noise, seed, samples=160):
    rng = np.random.default_rng(5)
    amplitudes = rng.standard_normal((2, 3)) + 1j
    steps = np.arange(samples)[:, None]
    clean = sum(2 * (amplitude * root**steps).real for amplitude, root in zip(amplitudes, TRUE, strict=True))
    return clean + noise * clean.std(axis=0) * np.random.default_rng(seed).standard_normal(clean.shape)


def holds(bars, root):
    row = np.argmin(np.abs(bars.eigenvalues - root))
    ends = (bars.real, bars.imaginary, bars.frequencies, bars.growth_rates)
    numbers = (root.real, root.imag, np.angle(root) / (2 * np.pi), np.log(abs(root)))
    return [low <= number <= high for (low, high), number in zip((e[row] for e in ends), numbers, strict=True)]


@pytest.mark.parametrize("noise", [0.02, 0.2])
@pytest.mark.parametrize("rank", [4, None])
def test_intervals_of_ninety_percent_hold_the_true_eigenvalues_about_as_often(noise, rank):
    held = []
    for seed in range(12):
        model = TDDMD(delays=8, rank=rank).fit(tones(noise, seed), dt=1.0)
        bars = model.eigenvalue_intervals(draws=40, modes=4)
        held += [holds(bars, root) for root in TRUE]
    assert np.mean(held) >= 0.75  # 24 intervals of each kind, half of them of one pair
    assert bars.real[0, 1] - bars.real[0, 0] < 0.05


def test_more_noise_makes_longer_bars():
    lengths = []
    for noise in (0.01, 0.1):
        bars = TDDMD(delays=8, rank=4).fit(tones(noise, 0)).eigenvalue_intervals(draws=30)
        lengths.append(np.diff(bars.growth_rates, axis=1).mean())
    assert 5 < lengths[1] / lengths[0] < 20


def test_the_eigenvalue_of_a_noisy_recursion_has_bars_for_process_noise():
    held = []
    for seed in range(20):
        noise, series = np.random.default_rng(seed).standard_normal(400), np.zeros(400)
        for step in range(1, 400):
            series[step] = 0.8 * series[step - 1] + noise[step]
        bars = TDDMD(delays=1).fit(series).eigenvalue_intervals(noise="process", draws=40)
        held.append(bars.real[0, 0] <= 0.8 <= bars.real[0, 1])
    assert np.mean(held) >= 0.75


def test_the_denoised_series_of_whole_rank_is_the_series_and_of_its_own_rank_loses_nothing(rng):
    series = rng.standard_normal((40, 2))
    np.testing.assert_allclose(denoised(series, 5, 10), series, atol=1e-12)
    clean = tones(0.0, 0)
    np.testing.assert_allclose(denoised(clean, 8, 5), clean, atol=1e-10)


def test_the_rank_of_a_signal_is_that_of_its_modes_and_its_mean():
    assert signal_rank(tones(0.0, 0), 8) == 5  # two pairs, and the mean of decaying tones that is taken off
    assert signal_rank(tones(0.01, 0), 8) == 5


def test_the_same_seed_gives_the_same_bars_and_the_series_may_be_given(tmp_path):
    series = tones(0.05, 0)
    model = TDDMD(delays=6, rank=4).fit(series)
    model.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    first, again = model.eigenvalue_intervals(draws=12), loaded.eigenvalue_intervals(series, draws=12)
    np.testing.assert_array_equal(first.frequencies, again.frequencies)
    with pytest.raises(BadInputError, match=r"give it: eigenvalue_intervals\(series\)"):
        loaded.eigenvalue_intervals()


@pytest.mark.usefixtures("unchecked")
def test_all_that_is_wrong_with_a_request_is_told_at_once():
    model = TDDMD(delays=4).fit(waves(80))
    with pytest.raises(BadInputError, match=r"(?s)draws is 3.*modes is 0.*noise is 'pink'"):
        model.eigenvalue_intervals(draws=3, modes=0, noise="pink")
    with pytest.raises(BadInputError, match="level is 90"):
        model.eigenvalue_intervals(level=90)
    series, push = driven(120)
    with pytest.raises(BadInputError, match="the model has inputs"):
        TDDMD(delays=2).fit(series, inputs=push).eigenvalue_intervals()


def test_bars_are_sentences_a_table_and_a_figure():
    model = TDDMD(delays=6, rank=4).fit(tones(0.05, 0), dt=0.5)
    bars = model.eigenvalue_intervals(draws=15)
    assert isinstance(bars, EigenvalueIntervals)
    assert len(bars.describe()) == 3  # a head, and two oscillations that do not run backwards
    table = bars.table()
    np.testing.assert_allclose(table["frequency"], np.angle(bars.eigenvalues) / np.pi)
    np.testing.assert_array_equal(table[["growth_rate_lower", "growth_rate_upper"]], bars.growth_rates)
    plain, barred = (len(spectrum_figure(model.spectrum(), one).axes[0].collections) for one in (None, bars))
    assert barred == plain + 2
