"""Exponential smoothing keeps the contract of all forecasters and is the textbook's recursion, beside plain loops."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tokendyn.errors import BadInputError
from tokendyn.forecast import ExponentialSmoothing, Forecaster, Logarithm
from tokendyn.testing import ForecasterContract


class TestExponentialSmoothing(ForecasterContract):
    takes_inputs = False
    restarts = False  # the state is that which fits the whole window best

    @classmethod
    def make(cls):
        return ExponentialSmoothing(window=20)


class TestSeasonalTheta(ForecasterContract):
    takes_inputs = False
    restarts = False  # the state is that which fits the whole window best

    @classmethod
    def make(cls):
        return ExponentialSmoothing(trend="theta", period=6, window=24)


def sales(rows: int, period: int, seed: int) -> np.ndarray:
    """Return a level that wanders, with a trend and a season that change."""
    rng = np.random.default_rng(seed)
    level, trend, season, values = 10.0, 0.3, rng.standard_normal(period), np.empty(rows)
    for k in range(rows):
        noise = rng.standard_normal()
        values[k] = level + trend + season[k % period] + noise
        level, trend = level + trend + 0.4 * noise, trend + 0.05 * noise
        season[k % period] += 0.2 * noise
    return values


def errors_of(values, level, trend, season, alpha, beta, phi, gamma):
    """Return the one-step errors and the last state, by the recursion as it is printed in textbooks."""
    errors, season = [], list(season)
    for value in values:
        error = value - level - phi * trend - season[0]
        level = level + phi * trend + alpha * error
        trend = phi * trend + beta * error
        season = [*season[1:], season[0] + gamma * error]
        errors.append(error)
    return np.array(errors), level, trend, season


def best_state(values, period, weights):
    """Return errors and last state from the first state that makes the errors least; errors are affine in it."""
    size = 2 + period

    def run(state):
        return errors_of(values, state[0], state[1], state[2:], *weights)

    zero = run(np.zeros(size))[0]
    slopes = np.stack([run(row)[0] - zero for row in np.eye(size)], axis=1)
    return run(np.linalg.lstsq(slopes, -zero, rcond=None)[0])


@pytest.mark.parametrize("trend", ["linear", "damped"])
def test_a_forecast_is_the_recursion_of_textbooks_from_the_state_that_fits_the_window(trend):
    values = sales(80, 4, seed=3)
    model = ExponentialSmoothing(trend=trend, period=4, window=50).fit(values)
    alpha, beta, phi, gamma = model.weights_[0]
    _, level, slope, season = best_state(values[-50:], 4, (alpha, beta, phi, gamma))
    expected = [
        level + slope * sum(phi**i for i in range(1, lead + 1)) + season[(lead - 1) % 4] for lead in range(1, 10)
    ]
    np.testing.assert_allclose(model.forecast(9).values[:, 0], expected, rtol=1e-5)


def test_the_weights_make_the_one_step_errors_nearly_the_least():
    values = sales(160, 4, seed=5)
    alpha, beta, phi, gamma = ExponentialSmoothing(trend="linear", period=4).fit(values).weights_[0]
    own = np.sum(best_state(values, 4, (alpha, beta, phi, gamma))[0] ** 2)

    def cost(point):
        a, b, g = 1 / (1 + np.exp(-point))
        return np.sum(best_state(values, 4, (a, a * b, 1.0, (1 - a) * g))[0] ** 2)

    best = min(minimize(cost, start, method="Nelder-Mead").fun for start in ((0.0, -2.0, -1.0), (-1.0, -3.0, -3.0)))
    assert phi == 1.0
    assert own <= 1.01 * best


@pytest.mark.parametrize("trend", ["linear", "theta", "damped", "none"])
def test_a_season_that_never_changes_goes_on(trend):
    values = np.tile([3.0, -1.0, 0.5, 7.0], 12)
    model = ExponentialSmoothing(trend=trend, period=4, window=16).fit(values)
    np.testing.assert_allclose(model.forecast(11).values[:, 0], np.tile(values[:4], 3)[:11], atol=2e-1)


def test_a_damped_trend_comes_to_rest_and_a_linear_one_goes_on():
    values = np.arange(40.0) + np.random.default_rng(0).standard_normal(40)
    damped, linear = (
        ExponentialSmoothing(trend=name, window=30).fit(values).forecast(400) for name in ("damped", "linear")
    )
    assert abs(damped.values[-1, 0] - damped.values[-2, 0]) < 1e-3
    np.testing.assert_allclose(np.diff(linear.values[:, 0]), linear.values[1, 0] - linear.values[0, 0], rtol=1e-9)


def test_theta_drifts_by_half_the_slope_of_the_line():
    values = np.cumsum(np.random.default_rng(1).standard_normal(70) + 0.5)
    model = ExponentialSmoothing(trend="theta", window=30).fit(values)
    steps = np.diff(model.forecast(5).values[:, 0])
    np.testing.assert_allclose(steps, np.polyfit(np.arange(70.0), values, 1)[0] / 2, rtol=1e-9)


def test_units_of_the_data_do_not_matter():
    values = sales(90, 12, seed=7)
    plain = ExponentialSmoothing(period=12).fit(values).forecast(12).values
    scaled = ExponentialSmoothing(period=12).fit(1e6 * values - 4e7).forecast(12).values
    np.testing.assert_allclose(scaled, 1e6 * plain - 4e7, rtol=1e-6)


def test_each_column_has_weights_of_its_own(tmp_path):
    series = np.column_stack([sales(90, 4, seed=1), np.cumsum(sales(90, 4, seed=2))])
    model = ExponentialSmoothing(period=4).fit(series)
    alone = ExponentialSmoothing(period=4).fit(series[:, 1])
    np.testing.assert_allclose(model.forecast(6).values[:, 1], alone.forecast(6).values[:, 0], rtol=1e-9)
    assert model.weights_[0].tolist() != model.weights_[1].tolist()
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(Forecaster.load(tmp_path / "model").forecast(6).values, model.forecast(6).values)


def test_growth_by_factors_is_smoothed_in_logarithms():
    values = 5.0 * 1.03 ** np.arange(80.0)
    model = Logarithm(kind="ExponentialSmoothing", parameters={"trend": "linear", "window": 20}).fit(values)
    np.testing.assert_allclose(model.forecast(10).values[:, 0], 5.0 * 1.03 ** np.arange(80.0, 90.0), rtol=1e-4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"trend": "cubic"}, "trend is 'cubic', expected one of none, linear, damped, theta"),
        ({"period": 30, "window": 48}, "window is 48, expected at least 60"),
        ({"period": 0}, "period is 0"),
    ],
)
def test_parameters_out_of_range_are_named(parameters, message):
    with pytest.raises(BadInputError, match=message):
        ExponentialSmoothing().set_params(**parameters).fit(np.arange(100.0))
