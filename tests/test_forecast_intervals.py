"""Bands of forecasts: the formula by loops, refits, where residuals come from, what bands cover, and where they go."""

import numpy as np
import pandas as pd
import pytest

from tokendyn.errors import BadInputError
from tokendyn.forecast import TDDMD, TDTF, EnsembleTDTF, Forecaster, auto_forecaster
from tokendyn.forecast.intervals import Residuals, band_names, calibration_horizon
from tokendyn.forecast.naive import Mean, Persistence, SeasonalNaive
from tokendyn.testing import driven, waves


def autoregression(samples, seed, coefficient=0.9):
    noise = np.random.default_rng(seed).standard_normal(samples)
    series = np.zeros((samples, 1))
    for step in range(1, samples):
        series[step] = coefficient * series[step - 1] + noise[step]
    return series


def residuals_of(values, leads=None):
    values = np.asarray(values, dtype=np.float64)
    leads = np.arange(1, values.shape[1] + 1) if leads is None else np.asarray(leads)
    return Residuals(
        values=values, leads=leads, columns=np.arange(values.shape[2]), widths=np.empty(0), refits=len(values),
        source="refits",
    )  # fmt: skip


# The formula


def near(leads, lead):
    reach = max(min(0.1 * leads[-1], 0.5 * lead), 1.0)
    return [k for k, other in enumerate(leads) if abs(other - lead) <= reach]


@pytest.mark.parametrize("leads", [list(range(1, 13)), [1, 3, 6, 12, 24, 48, 90, 100]])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_the_half_width_is_the_scale_of_a_lead_times_a_quantile_of_left_out_scores(leads, level, rng):
    values = rng.standard_normal((7, len(leads), 2)) * np.linspace(1, 4, len(leads))[:, None] * [1.0, 30.0]
    half = residuals_of(values, leads).half_width(leads[-1], level)
    for column in range(2):
        scores, scales = [], []
        for k, lead in enumerate(leads):
            around = near(leads, lead)
            scales.append(np.sqrt(np.mean([values[o, j, column] ** 2 for o in range(7) for j in around])))
            for origin in range(7):
                others = [values[o, j, column] ** 2 for o in range(7) if o != origin for j in around]
                scores.append(abs(values[origin, k, column]) / np.sqrt(np.mean(others)))
        scores.sort()
        place = int(np.ceil(min(level * 8 / 7, 1) * (len(scores) - 1) - 1e-9))
        for k, lead in enumerate(leads):
            assert half[lead - 1, column] == pytest.approx(scales[k] * scores[place], rel=1e-9)


def test_with_few_origins_a_high_level_takes_the_largest_score(rng):
    residuals = residuals_of(rng.standard_normal((6, 10, 1)))
    np.testing.assert_allclose(residuals.half_width(10, 0.9), residuals.scale() * residuals.scores().max(), rtol=1e-12)


def test_bands_are_interpolated_between_kept_leads_and_unknown_behind_the_last(rng):
    residuals = residuals_of(rng.standard_normal((6, 3, 1)), [1, 5, 9])
    half = residuals.half_width(12)[:, 0]
    assert np.isnan(half[9:]).all()
    np.testing.assert_allclose(half[:9], np.interp(np.arange(1, 10), [1, 5, 9], half[[0, 4, 8]]), rtol=1e-12)


def test_a_model_that_is_exact_has_bands_without_width():
    residuals = residuals_of(np.zeros((6, 4, 1)))
    np.testing.assert_array_equal(residuals.half_width(4), np.zeros((4, 1)))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("level", [0, 1, 1.5, -0.1, True, "0.9", float("nan")])
def test_a_level_is_a_share_between_zero_and_one(level):
    model = Persistence().fit(waves(60)).calibrate(waves(60), horizon=5)
    with pytest.raises(BadInputError, match="level is"):
        model.forecast(3, level=level)


# Residuals from rolling origins


def test_residuals_are_those_of_refits_to_what_lies_before_each_origin():
    series = np.cumsum(np.random.default_rng(1).standard_normal((80, 2)), axis=0)
    residuals = Mean().fit(series).calibrate(series, horizon=10).residuals_
    starts = np.unique(np.linspace(40, 70, 25).round().astype(int))
    assert len(starts) == 25
    assert (residuals.source, residuals.refits, residuals.horizon) == ("refits", len(starts), 10)
    plain = [series[:start].mean(axis=0) - series[start : start + 10] for start in starts]
    np.testing.assert_allclose(residuals.values, plain, rtol=1e-12)


def test_a_refit_is_the_least_squares_fit_of_the_rows_before_the_origin():
    series = autoregression(120, 0)[:, 0]
    residuals = TDDMD(delays=1).fit(series).calibrate(series, horizon=3).residuals_
    first = series[:60]
    slope, offset = np.polyfit(first[:-1], first[1:], 1)
    ahead, misses = first[-1], []
    for step in range(3):
        ahead = slope * ahead + offset
        misses.append(ahead - series[60 + step])
    np.testing.assert_allclose(residuals.values[0, :, 0], misses, rtol=1e-9)


def test_a_fit_that_is_too_dear_is_not_repeated_and_says_so():
    series = waves(200)
    model = TDDMD(delays=4).fit(series).calibrate(series, horizon=10, budget=0.0)
    assert (model.residuals_.refits, model.residuals_.source) == (0, "training data")
    assert "the bands are too narrow" in model.residuals_.line()


def test_with_time_for_one_refit_the_origins_lie_in_the_last_quarter():
    series = np.cumsum(np.random.default_rng(1).standard_normal((200, 1)), axis=0)
    model = Mean().fit(series)
    model._fit_cpu = 1.0
    residuals = model.calibrate(series, horizon=10, budget=1.5).residuals_
    assert residuals.refits == 1
    np.testing.assert_allclose(residuals.values[0, :, 0], series[:150].mean() - series[150:160, 0], rtol=1e-12)


def test_series_that_were_not_learned_need_no_refit():
    model = Persistence().fit(waves(100)).calibrate(waves(90, seed=2), horizon=7, refit=False)
    assert (model.residuals_.refits, model.residuals_.source) == (0, "other data")
    first = waves(90, seed=2)
    np.testing.assert_allclose(model.residuals_.values[0], first[0] - first[1:8], rtol=1e-12)


def test_of_several_series_whole_ones_are_left_out_in_turn():
    series = [np.full((40, 1), float(level)) + 0.01 * waves(40, seed=level)[:, :1] for level in range(5)]
    residuals = Mean().fit(series).calibrate(series, horizon=5).residuals_
    assert residuals.refits == 5
    starts = np.unique(np.linspace(1, 35, 6).round().astype(int))
    plain = [
        np.concatenate(series[:k] + series[k + 1 :]).mean() - one[start : start + 5]
        for k, one in enumerate(series)
        for start in starts
    ]
    np.testing.assert_allclose(residuals.values, plain, rtol=1e-9)


def test_inputs_of_the_horizon_are_known_to_the_forecasts_that_are_judged():
    series, push = driven(300)
    model = TDDMD(delays=2).fit(series, inputs=push).calibrate(series, inputs=push, horizon=20)
    assert np.abs(model.residuals_.values).max() < 1e-6


def test_a_column_that_is_constant_at_first_leaves_only_later_refits():
    series = waves(200)
    series[:110, 0] = series[110, 0]
    residuals = TDDMD(delays=2, ridge=1e-6).fit(series).calibrate(series, horizon=10).residuals_
    assert residuals.refits > 0
    assert residuals.source == "refits"


def test_a_rollout_that_leaves_the_range_counts_as_three_deviations():
    time = np.arange(120.0)
    series = np.sin(0.3 * time) + 0.3 * np.random.default_rng(1).standard_normal(120)
    model = TDDMD(delays=30).fit(series).calibrate(series, horizon=40)
    assert model.residuals_.diverged > 0
    ranges = 10 * (series.max() - series.min()) + np.ptp(series)
    assert np.abs(model.residuals_.values).max() <= max(ranges, 3 * series.std())
    assert "diverged, and count as 3 standard deviations" in model.residuals_.line()


def test_residuals_of_a_wide_field_take_little_memory_and_each_column_has_its_width():
    rng = np.random.default_rng(0)
    sizes = np.where(np.arange(3000) % 2, 10.0, 1.0)
    field = rng.standard_normal((120, 3000)) * sizes
    model = Mean().fit(field).calibrate(field, horizon=20)
    assert sum(tensor.nbytes for tensor in model.residuals_.tensors().values()) < 1e6
    half = model.residuals_.half_width(20)
    assert half.shape == (20, 3000)
    np.testing.assert_allclose(half[:, 1::2].mean() / half[:, ::2].mean(), 10.0, rtol=0.03)
    inside = np.abs(rng.standard_normal((20, 3000)) * sizes - model.mean_) <= half
    assert 0.85 <= inside.mean() <= 0.97


@pytest.mark.parametrize(
    ("lengths", "horizon", "span", "refit", "expected"),
    [([1000], None, 5, True, 200), ([9000], None, 5, True, 700), ([90], 60, 5, True, 30), ([90], 60, 30, False, 40),
     ([50, 80], 90, 20, True, 40), ([8], 3, 8, False, 1)],
)  # fmt: skip
def test_bands_reach_as_far_as_the_series_allow(lengths, horizon, span, refit, expected):
    assert calibration_horizon(lengths, horizon, span, refit=refit) == expected


# What they cover


@pytest.mark.parametrize(
    ("make", "model"),
    [(lambda seed: autoregression(900, seed), lambda: TDDMD(delays=3)),
     (lambda seed: waves(900, seed=0) + 0.1 * np.random.default_rng(seed).standard_normal(waves(900).shape),
      lambda: TDDMD(delays=12)),
     (lambda seed: np.random.default_rng(seed).standard_t(3, (900, 1)), Mean)],
)  # fmt: skip
def test_bands_of_ninety_percent_hold_about_that_share_of_the_truth(make, model):
    covered = []
    for seed in range(6):
        series = make(seed)
        fitted = model().fit(series[:500]).calibrate(series[:500], horizon=40)
        for start in range(500, 860, 30):
            forecast = fitted.forecast(series[:start], 40, level=0.9)
            truth = series[start : start + 40]
            covered.append((truth >= forecast.lower) & (truth <= forecast.upper))
    assert 0.85 <= np.mean(covered) <= 0.97


# Where they go


@pytest.fixture(scope="module")
def calibrated():
    series = waves(300) + 0.1 * np.random.default_rng(0).standard_normal(waves(300).shape)
    return TDDMD(delays=8).fit(series).calibrate(series, horizon=30)


def test_any_level_follows_from_one_calibration(calibrated):
    narrow, default, wide = (calibrated.forecast(30, level=level) for level in (0.5, None, 0.99))
    assert (narrow.level, default.level, wide.level) == (0.5, 0.9, 0.99)
    assert (narrow.upper < default.upper).all()
    assert (default.upper < wide.upper).all()
    np.testing.assert_allclose(default.upper - default.values, default.values - default.lower, rtol=1e-12)


def test_a_model_keeps_its_bands_on_disk(calibrated, tmp_path):
    calibrated.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.forecast(30, level=0.7).lower, calibrated.forecast(30, level=0.7).lower)
    assert loaded.residuals_.line() == calibrated.residuals_.line()


@pytest.mark.parametrize("change", [{"source": "hearsay"}, {"refits": None}])
def test_a_damaged_record_of_residuals_is_refused(calibrated, change):
    record, tensors = calibrated.residuals_.record() | change, calibrated.residuals_.tensors()
    with pytest.raises((ValueError, TypeError)):
        Residuals.read(record, tensors, calibrated.n_features_)
    with pytest.raises(ValueError, match="expected"):
        Residuals.read(calibrated.residuals_.record(), tensors, calibrated.n_features_ + 1)


def test_a_new_fit_forgets_the_bands_of_the_last():
    model = Persistence().fit(waves(60)).calibrate(waves(60), horizon=5)
    assert model.fit(waves(60)).residuals_ is None
    assert model.forecast(3).lower is None


def test_a_level_without_calibration_has_a_remedy():
    model = Persistence().fit(waves(60))
    with pytest.raises(BadInputError, match=r"calibrate it first: model.calibrate\(series\)"):
        model.forecast(3, level=0.9)
    with pytest.raises(BadInputError, match="has no bands; calibrate the model first"):
        model.forecast(3).bands_as_given()


@pytest.mark.usefixtures("unchecked")
def test_calibration_names_what_does_not_suit_the_model(calibrated):
    with pytest.raises(BadInputError, match=r"(?s)horizon is 0.*budget is -1|budget is -1.*horizon is 0"):
        calibrated.calibrate(waves(300), horizon=0, budget=-1)
    with pytest.raises(BadInputError, match="series has 1 column"):
        calibrated.calibrate(waves(300)[:, :1])
    with pytest.raises(BadInputError, match="no series holds a window and a forecast"):
        SeasonalNaive(50).fit(waves(60)).calibrate(waves(60), horizon=20)


def test_bands_are_columns_and_coordinates():
    dates = pd.date_range("2024-01-01", periods=90, freq="D", name="day")
    table = pd.DataFrame(waves(90), index=dates, columns=["a", "b"])
    model = Persistence().fit(table).calibrate(table, horizon=6)
    forecast = model.forecast(4)
    assert list(forecast.table()) == ["a", "b", "a_lower", "a_upper", "b_lower", "b_upper"]
    np.testing.assert_array_equal(forecast.table()["b_upper"], forecast.upper[:, 1])
    lower, upper = model.predict_interval(4)
    assert list(upper) == ["a", "b"]
    assert (upper.index == pd.date_range("2024-03-31", periods=4, freq="D")).all()
    np.testing.assert_array_equal(lower.to_numpy(), forecast.lower)
    array = forecast.to_xarray()
    assert array.dims == ("time", "feature")
    np.testing.assert_array_equal(array.coords["lower"], forecast.lower)
    assert list(forecast.picture().bands) == ["a", "b"]


def test_one_column_has_short_names_and_names_that_clash_have_long_ones():
    assert band_names(["y"]) == [("lower", "upper")]
    assert band_names(["lower"]) == [("lower_lower", "lower_upper")]
    assert band_names(["y", "z"]) == [("y_lower", "y_upper"), ("z_lower", "z_upper")]


def test_a_forecast_says_where_its_bands_end(calibrated):
    assert "with bands that are meant to hold 90 % of the truth" in str(calibrated.forecast(30)).splitlines()
    assert "of the first 30 steps: longer ones were not calibrated" in str(calibrated.forecast(31))


@pytest.mark.usefixtures("unchecked")
def test_a_search_calibrates_its_model_within_the_budget():
    series = waves(400)[:, :1] + 0.1 * np.random.default_rng(0).standard_normal((400, 1))
    result = auto_forecaster(series, horizon=30, budget=1.0)
    assert result.model.residuals_.source == "refits"
    assert "bands: calibrated by" in str(result)
    lower, upper = result.predict_interval(30, level=0.8)
    assert (lower < upper).all()
    assert result.forecast(30).level == 0.9
    short = auto_forecaster(series[:100], horizon=20, budget=4.0)
    assert short.forecast(20).upper.shape == (20, 1)
    assert short.model.residuals_.refits >= 6


def test_the_band_of_an_ensemble_is_not_the_spread_of_its_members():
    series = autoregression(300, 4)
    member = TDTF(delays=3, units=4, iterations=2)
    model = EnsembleTDTF(member=member, members=2).fit(series).calibrate(series, horizon=15, budget=60.0)
    forecast = model.forecast(15)
    assert (forecast.upper - forecast.values > 3 * forecast.spread).all()
    np.testing.assert_array_equal(forecast.picture().bands["x0"][1], forecast.upper[:, 0])


def test_cells_of_bands_that_are_not_known_are_empty(tmp_path):
    from tokendyn.data.snapshots import snapshots
    from tokendyn.forecast.forecasts import Forecasts

    series = waves(60)[:, :1]
    model = Persistence().fit(series).calibrate(series, horizon=2)
    past = snapshots(series, dt=1.0, names=["y"])
    whole = Forecasts((model.forecast(3),), (past,), 3, "y.csv")
    whole.to_csv(tmp_path / "forecast.csv")
    lines = (tmp_path / "forecast.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "time,y,lower,upper"
    assert [line.count(",,") for line in lines] == [0, 0, 0, 1]
    (line,) = whole.describe()
    assert line.endswith(", with bands of 90 % for the first 2: fit with a longer horizon for more")


def test_recent_origins_weigh_more_as_the_formula_says():
    values = np.random.default_rng(4).standard_normal((7, 1, 1)) * np.arange(1.0, 8.0)[:, None, None]
    residuals = Residuals(
        values=values,
        leads=np.array([1]),
        columns=np.array([0]),
        widths=np.empty(0),
        refits=7,
        source="refits",
        recent=0.8,
    )
    weights = [0.8**later for later in range(6, -1, -1)]
    squares = [float(value) ** 2 for value in values.ravel()]
    scores = []
    for origin in range(7):
        others = [number for number in range(7) if number != origin]
        mean = sum(weights[i] * squares[i] for i in others) / sum(weights[i] for i in others)
        scores.append((squares[origin] / mean) ** 0.5)
    share = 0.5 * (1 + 0.5 * sum(w * w for w in weights) / sum(weights) ** 2)
    total, place = 0.0, -1
    order = sorted(range(7), key=lambda i: scores[i])
    while total < share * sum(weights):
        place += 1
        total += weights[order[place]]
    scale = (sum(w * s for w, s in zip(weights, squares, strict=True)) / sum(weights)) ** 0.5
    np.testing.assert_allclose(residuals.half_width(1, 0.5), [[scale * scores[order[place]]]], rtol=1e-12)


def test_only_origins_of_one_series_have_an_order():
    noise = np.random.default_rng(0).standard_normal((400, 1))
    one = TDDMD(delays=2).fit(noise).calibrate(noise, horizon=5).residuals_
    several = (
        TDDMD(delays=2).fit([noise[:200], noise[200:]]).calibrate([noise[:200], noise[200:]], horizon=5).residuals_
    )
    assert one.recent < 1.0
    assert several.recent == 1.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_residuals_of_growth_by_a_factor_have_grown_to_the_end_of_the_series(sign):
    series = sign * np.exp(0.05 * np.arange(120.0))
    model = Persistence().fit(series).calibrate(series, horizon=6)
    missed = series[-1] * (1.0 - np.exp(0.05 * np.arange(1.0, 7)))
    np.testing.assert_allclose(model.residuals_.values[:, :, 0], np.tile(missed, (len(model.residuals_.values), 1)))
    line = Persistence().fit(np.arange(-60.0, 60)).calibrate(np.arange(-60.0, 60), horizon=6)
    np.testing.assert_allclose(line.residuals_.values[0, :, 0], -np.arange(1.0, 7))
