"""The search: how it scores, what it takes from a series, that it names what it chose, and that it resumes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tokendyn.data.systems import lorenz63
from tokendyn.errors import BadInputError
from tokendyn.forecast import TDDMD, BasisMap, Blend, Forecaster, auto_forecaster
from tokendyn.forecast.candidates import (
    averaging_candidates,
    correlation_time,
    monomial_count,
    mutation,
    richer_candidates,
    season_length,
)
from tokendyn.forecast.naive import Persistence
from tokendyn.forecast.scoring import errors_of, hold_out_for_search, score, score_model
from tokendyn.forecast.short import contest, seasons_of, short_forecaster
from tokendyn.testing import driven, waves


def test_the_score_is_the_share_of_the_horizon_that_is_lost():
    errors = np.array([[[0.0, 0.4, 0.2, 0.8], [0.0, 0.0, 5.0, 0.0]]])
    # Running maxima over .8, cut at 1: (0, .5, .5, 1) and (0, 0, 1, 1).
    np.testing.assert_allclose(score(errors)[0], [(2.0 + 2.0) / 8, (1.4 + 1.0) / 8])


def test_a_forecast_that_comes_back_to_the_mean_earns_nothing():
    holds = np.array([[0.1] * 50 + [1.4] * 50])
    decays = np.array([[0.9] * 100])
    assert score(holds)[0] < score(decays)[0]
    assert np.sqrt((holds**2).mean()) > np.sqrt((decays**2).mean())


def test_errors_that_are_not_finite_are_infinite():
    values = np.array([[[1.0, 2.0]], [[np.nan, 0.0]]])
    np.testing.assert_array_equal(errors_of(values, np.zeros((2, 1, 2)), np.ones(2)), [[np.sqrt(2.5)], [np.inf]])


def test_the_last_quarter_is_held_out_and_its_last_row_is_forecast():
    series = np.arange(100.0)[:, None]
    held = hold_out_for_search([series], [np.empty((100, 0))], 10)
    assert len(held.learned[0]) == 75
    windows, truths, _ = held.cases(5)
    assert (held.starts[0][0], held.starts[0][-1], len(held.starts[0])) == (75, 90, 8)
    np.testing.assert_array_equal(windows[0, :, 0], [70, 71, 72, 73, 74])
    np.testing.assert_array_equal(truths[-1, :, 0], np.arange(90, 100))
    denser = held.denser(2).starts[0]
    assert (denser[0], denser[-1], len(denser)) == (75, 90, 16)


def test_shorter_rollouts_of_the_second_scores_leave_room_and_keep_the_score_of_what_is_lost_before():
    values = np.random.default_rng(0).standard_normal((400, 1)).cumsum(axis=0)
    held = hold_out_for_search([values], [np.empty((400, 0))], 80)
    second = held.denser(3, 0.8)
    assert (second.horizon, second.share) == (32, 0.4)
    assert (second.starts[0][0], second.starts[0][-1]) == (300, 400 - 32)
    model = TDDMD(delays=2).fit(1e3 + values[:300])  # far from the series at once
    same_starts = replace(second, starts=held.starts)
    np.testing.assert_allclose(score_model(model, same_starts)[0], score_model(model, held)[0])


def test_noisy_series_of_one_column_get_monomials_of_few_directions_of_many_delays():
    settings = [one for _, one in averaging_candidates(1, 20, 1e-6, 1000)]
    assert {(one["delays"], one["stride"]) for one in settings} == {(24, 3), (24, 6), (12, 10), (16, 5), (12, 5)}
    assert {(one["directions"], one["order"]) for one in settings} == {(8, 3), (5, 5)}
    assert not list(averaging_candidates(3, 20, 0.0, 1000))
    assert all((one["delays"] - 1) * one["stride"] < 70 for _, one in averaging_candidates(1, 20, 1e-6, 70))


def test_noise_far_below_the_residual_is_not_tried():
    noises = {one["noise"] for _, one in richer_candidates(1000, 1, 0, [(5, 2)], 1e-6, residual=0.02)}
    assert noises == {1e-6, 1e-2}


def test_of_several_series_the_last_quarter_is_held_out_whole():
    several = [waves(60, seed=seed) for seed in range(8)]
    held = hold_out_for_search(several, [np.empty((60, 0))] * 8, 20)
    assert len(held.learned) == 6
    assert [starts[-1] for starts in held.starts] == [40, 40]


@pytest.mark.parametrize("period", [7, 12, 52])
def test_a_season_with_a_trend_is_found(period):
    steps = np.arange(6 * period)
    rng = np.random.default_rng(period)
    values = 3 * np.sin(2 * np.pi * steps / period) + 0.1 * steps + 0.3 * rng.standard_normal(len(steps))
    assert season_length(values) == period


@pytest.mark.parametrize("values", [np.zeros(100), np.arange(100.0), np.random.default_rng(0).standard_normal(200)])
def test_what_has_no_season_has_none(values):
    assert season_length(values) is None


def test_the_correlation_time_of_a_cosine_is_where_it_falls_below_one_over_e():
    steps = np.arange(20_000)
    assert correlation_time(np.cos(2 * np.pi * steps / 100)[:, None]) == 19  # arccos(1/e) / (2 pi) of 100: 18.997


def test_mutations_stay_within_what_can_be_fitted():
    rng = np.random.default_rng(0)
    settings = {"delays": 4, "stride": 2, "order": 5, "noise": 0.0}
    for _ in range(300):
        settings = mutation("BasisMap", settings, 3, 0, rng)
        assert settings["delays"] >= 1
        assert settings["stride"] >= 1
        assert monomial_count(3 * settings["delays"], settings["order"]) <= 720


def test_a_chaotic_system_gets_a_nonlinear_map_that_holds():
    series = lorenz63(3000, dt=0.02, seed=1)
    found = auto_forecaster(series.values[:2000], dt=0.02, horizon=300, budget=1.5)
    assert found.family in ("polynomial map", "polynomial vector field", "vector field")
    errors = found.model.backtest(series.values[2000:], horizon=300, every=100).errors
    assert np.median(errors.max(axis=1)) < 0.4
    assert found.skill > 0.8
    assert f"Chosen (*): {found.family}" in str(found)


def test_a_search_on_linear_data_keeps_a_linear_model():
    found = auto_forecaster(waves(500, noise=0.0), budget=0.5)
    assert isinstance(found.model, TDDMD)
    assert found.family == "TD-DMD"
    window = waves(500, noise=0.0)[:400]
    np.testing.assert_allclose(found.model.forecast(window, 50).values, waves(500, noise=0.0)[400:450], atol=1e-8)


def test_noise_without_memory_is_not_forecast_by_a_nonlinear_model():
    found = auto_forecaster(np.random.default_rng(0).standard_normal((600, 1)), budget=1.0, horizon=20)
    assert "polynomial" not in found.family
    assert "unit" not in found.family
    assert any("naive" in note for note in found.notes())


def test_a_short_seasonal_series_with_a_trend_stays_in_reason():
    steps = np.arange(144)
    season = 1 + 0.2 * np.sin(2 * np.pi * steps / 12) + 0.08 * np.cos(4 * np.pi * steps / 12)
    values = ((120 + 2.5 * steps) * season + 6 * np.random.default_rng(0).standard_normal(144))[:, None]
    found = auto_forecaster(values[:120], horizon=24, budget=1.0)
    assert isinstance(found.model, Blend)
    forecast = found.model.forecast(values[:120], 24).values
    naive = np.abs(values[108:120][np.arange(24) % 12] - values[120:]).mean()
    assert np.abs(forecast - values[120:]).mean() < 0.6 * naive


def test_known_inputs_are_used():
    series, push = driven(600)
    found = auto_forecaster(series[:-30], inputs=push[:-30], budget=0.5, horizon=50)
    rows = slice(300, 300 + found.model.window_length_ + 50)
    forecast = found.model.forecast(series[rows][: found.model.window_length_], 50, inputs=push[rows])
    assert np.abs(forecast.values - series[rows][found.model.window_length_ :]).max() < 1e-3 * series.std()


def test_trials_are_not_repeated_when_a_search_goes_on(tmp_path):
    file = tmp_path / "search.json"
    series = lorenz63(600, seed=0).values
    auto_forecaster(series, dt=0.02, budget=0.3, resume=file)
    stored = json.loads(file.read_text())["trials"]
    again = auto_forecaster(series, dt=0.02, budget=0.3, resume=file)
    # The second search has more time for new ones, so it may meet the stored trials in another order.
    costs = {json.dumps([trial["kind"], trial["parameters"]]): trial["seconds"] for trial in stored}
    met = [trial for trial in again.trials if json.dumps([trial.kind, trial.parameters]) in costs]
    assert len(met) > len(stored) // 2
    assert all(costs[json.dumps([trial.kind, trial.parameters])] == trial.seconds for trial in met)
    with pytest.raises(BadInputError, match="other data"):
        auto_forecaster(series + 1.0, dt=0.02, budget=0.3, resume=file)


def test_a_search_model_is_saved_and_loaded(tmp_path):
    series = lorenz63(600, seed=0).values
    model = auto_forecaster(series, dt=0.02, budget=0.3).model
    model.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.forecast(series, 20).values, model.forecast(series, 20).values)


def test_a_series_of_seven_snapshots_is_refused():
    with pytest.raises(BadInputError, match="at least 8"):
        auto_forecaster(waves(7), budget=0.5)


@pytest.mark.parametrize("samples", [8, 12, 20, 40])
def test_very_short_series_get_a_forecast(samples):
    forecast = auto_forecaster(waves(samples), budget=0.5).model.forecast(waves(samples), 5)
    assert forecast.status == "completed"


def test_a_broken_record_of_a_search_is_refused(tmp_path):
    file = tmp_path / "search.json"
    file.write_text("{")
    with pytest.raises(BadInputError, match="cannot be read"):
        auto_forecaster(waves(400), budget=0.1, resume=file)


@pytest.mark.parametrize("columns", [1, 2])
def test_a_series_that_begins_constant_is_refused_and_one_with_a_constant_part_is_searched_in_silence(columns, capfd):
    wave = np.sin(0.1 * np.arange(900)[:, None] + np.arange(columns))
    still = np.where(np.arange(900)[:, None] < 700, 0.3, wave)
    with pytest.raises(BadInputError, match="nothing changes in the first 675 of 900 snapshots"):
        auto_forecaster(still, budget=0.3)
    parts = np.where(np.arange(900)[:, None] < 400, 0.3, wave)
    assert auto_forecaster(parts, budget=0.3).trials
    assert capfd.readouterr() == ("", "")  # LAPACK writes past Python


def test_a_linear_model_of_a_search_has_error_bars():
    model = auto_forecaster(waves(600, noise=0.0), budget=0.3).model
    assert isinstance(model, TDDMD)
    assert model.eigenvalue_intervals(draws=10).draws == 10


def test_differences_show_a_season_that_a_wandering_level_hides():
    rng = np.random.default_rng(0)
    values = np.cumsum(3.0 * rng.standard_normal(160)) + np.tile([4.0, -1.0, -5.0, 2.0], 40)
    assert season_length(values) != 4
    assert 4 in seasons_of(values[:, None])


@pytest.mark.parametrize(("rows", "season"), [(36, 12), (72, 24), (21, 7), (30, 10), (156, 52)])
def test_a_season_that_is_seen_just_three_times_is_found(rows, season):
    steps = np.arange(rows)
    wave = 5 * np.sin(2 * np.pi * steps / season) + 0.3 * steps
    assert season_length(wave + 0.3 * np.random.default_rng(0).standard_normal(rows)) == season


@pytest.mark.parametrize("seed", range(5))
def test_noise_moves_the_flat_top_of_a_smooth_season_but_not_its_length(seed):
    steps, rng = np.arange(416), np.random.default_rng(seed)
    assert season_length(np.sin(2 * np.pi * steps / 52) + 0.3 * rng.standard_normal(len(steps))) == 52


def test_half_of_a_mean_is_that_of_candidates_without_logarithms():
    """Exact growth by factors takes the first half, and the drift, which is the best of the others, the second."""
    series = np.exp(0.05 * np.arange(40.0))[:, None]
    found = short_forecaster(series, 1.0, 4, 0, budget=0.2)
    kinds = [found.candidates[number].kind for number in found.chosen]
    shares = dict.fromkeys(kinds, 0.0)
    for kind, weight in zip(kinds, found.model.weights, strict=True):
        shares[kind] += weight
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["Logarithm"] <= 0.5 + 1e-12


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("columns", "budget", "origins", "smoothed"),
    [(1, 5.0, 12, True), (1, 1.0, 6, True), (1, 0.2, 3, True), (60, 0.6, 6, False)],
)
def test_what_a_short_series_gets_depends_on_budget_and_columns(columns, budget, origins, smoothed):
    noise = np.random.default_rng(0).standard_normal((40, columns))
    found = short_forecaster(noise, 1.0, 2, 0, budget=budget)
    assert len(found.test.origins) == origins
    assert any(one.kind == "ExponentialSmoothing" for one in found.candidates) == smoothed


def test_a_season_and_growth_are_smoothed_in_a_short_series():
    rng = np.random.default_rng(1)
    time = np.arange(120.0)
    values = np.exp(0.01 * time + 0.2 * np.sin(time * np.pi / 6) + 0.02 * rng.standard_normal(120))
    result = auto_forecaster(values[:96, None], horizon=24, budget=1.0)
    naive = np.abs(np.tile(values[84:96], 2) - values[96:]).mean()
    assert any(trial.family.startswith("exponential smoothing") for trial in result.trials)
    assert np.abs(result.forecast(steps=24).values[:, 0] - values[96:]).mean() < 0.5 * naive


def test_a_contest_weighs_a_model_by_how_long_it_holds_beside_the_mean():
    series = np.full((160, 1), 0.3)
    for step in range(1, 160):
        series[step] = 3.9 * series[step - 1] * (1 - series[step - 1])
    with threadpool_limits(limits=1):
        mean = short_forecaster(series[-100:], 1.0, 10, 0, budget=1.0)
        assert contest(BasisMap(delays=1, order=2, ridge=1e-14), series, 1.0, mean) > 0.9
        assert contest(Persistence(), series, 1.0, mean) < 0.1


def test_what_is_positive_at_its_end_alone_has_no_logarithm_in_its_mean():
    """The mean of a medium series is chosen by its last part, and fitted to everything."""
    rng = np.random.default_rng(3)
    values = np.r_[-1 + 0.1 * rng.normal(size=300), np.exp(0.005 * np.arange(400)) + 0.1 * rng.random(400)][:, None]
    assert "logarithm" not in auto_forecaster(values, budget=4.0, horizon=10).family
