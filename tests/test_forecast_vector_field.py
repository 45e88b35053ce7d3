"""Vector fields in integral form, and maps that the sites of a grid share: beside formulas written down again."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tokendyn.data.systems import lorenz63
from tokendyn.errors import BadInputError
from tokendyn.forecast import BasisMap, Forecaster, VectorField, auto_forecaster
from tokendyn.forecast.monomials import Monomials
from tokendyn.forecast.sites import local_rows, neighbours
from tokendyn.forecast.vector_field import interval_weights

LORENZ = lorenz63(3000, seed=0)


@pytest.fixture(scope="module")
def ring():
    """Return 1500 points of Lorenz's ring of eight sites, by SciPy."""

    def slope(_, x):
        return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + 8.0

    start = 8.0 + np.random.default_rng(0).standard_normal(8)
    times = 10.0 + 0.02 * np.arange(1500)
    return solve_ivp(slope, (0.0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-10, atol=1e-10).y.T


@pytest.mark.parametrize("beside", [0, 1, 3])
def test_the_weights_of_an_interval_integrate_polynomials_exactly(beside):
    weights = interval_weights(beside)
    nodes = np.arange(-beside, beside + 2)
    for degree in range(2 * beside + 2):
        assert weights @ nodes.astype(float) ** degree == pytest.approx(1 / (degree + 1), abs=1e-10)


def test_the_equations_of_lorenz_are_found():
    model = VectorField(order=2, ridge=1e-15).fit(LORENZ.values[:2000], dt=LORENZ.dt)
    state = LORENZ.values[500]
    z = ((state - model.centre_) / model.width_)[None]
    slope = model.basis_(z) @ model.coefficients_ * model.width_ / LORENZ.dt
    x, y, w = state
    np.testing.assert_allclose(slope[0], [10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w], rtol=1e-3)


def test_the_compiled_loop_and_the_one_step_are_the_same_flow():
    model = VectorField(order=2, units=7, ridge=1e-8).fit(LORENZ.values[:1000], dt=LORENZ.dt)
    window = LORENZ.values[1200:1201]
    orbit = model.forecast(window, 5).values
    stepped = model.one_step(np.concatenate([window, orbit]))
    np.testing.assert_allclose(orbit, stepped, rtol=1e-10)


def test_substeps_leave_less_error_than_the_fit():
    model = VectorField(order=2, ridge=1e-14).fit(LORENZ.values[:2000], dt=LORENZ.dt)

    def slope(_, z):
        return (model.basis_(z[None]) @ model.coefficients_)[0]

    start = (LORENZ.values[100] - model.centre_) / model.width_
    exact = solve_ivp(slope, (0.0, 1.0), start, "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    step = model.step(start[None, None])[0]
    assert np.abs(step - exact).max() < max(model.residual_, 1e-10)


@pytest.mark.parametrize("settings", [{"order": 3}, {"order": 2, "units": 5}, {"order": 1, "units": 5}])
def test_the_operators_of_a_step_are_its_difference_quotients(settings):
    model = VectorField(ridge=1e-8, **settings).fit(LORENZ.values[:1000], dt=LORENZ.dt)
    tokens = ((LORENZ.values[1500:1503] - model.centre_) / model.width_)[:, None]
    operators, h = model.operators(tokens), 1e-6
    for column in range(3):
        shift = np.zeros(3)
        shift[column] = h
        quotient = (model.step(tokens + shift) - model.step(tokens - shift)) / (2 * h)
        np.testing.assert_allclose(operators[:, 0, :, column], quotient, rtol=1e-6, atol=1e-7)


def test_smoothing_finds_a_noisy_flow_that_holds_longer():
    series = lorenz63(2600, seed=3)
    noisy = series.values + 0.05 * series.values.std(axis=0) * np.random.default_rng(0).standard_normal((2600, 3))
    errors = {}
    for name, settings in {"raw": {}, "smoothed": {"smoothing": 6, "history": 60}}.items():
        model = VectorField(order=2, ridge=1e-8, **settings).fit(noisy[:1500], dt=series.dt)
        starts = range(1600, 2500, 100)
        runs = [model.forecast(noisy[k - 60 : k], 60).values - series.values[k : k + 60] for k in starts]
        errors[name] = np.sqrt(np.mean(np.square(runs)))
    assert errors["smoothed"] < 0.7 * errors["raw"]


@pytest.mark.parametrize("kind", [VectorField, BasisMap])
def test_sites_of_a_ring_share_one_map(ring, kind):
    model = kind(order=2, reach=2, ridge=1e-12).fit(ring[:1000], dt=0.02)
    assert model.coefficients_.shape == (1 + 5 + 15, 1)
    turned = np.roll(ring[1000:1100], 3, axis=1)
    np.testing.assert_allclose(model.one_step(turned), np.roll(model.one_step(ring[1000:1100]), 3, axis=1), rtol=1e-9)


def test_the_ring_is_forecast_from_its_own_equations(ring):
    model = VectorField(order=2, reach=2, ridge=1e-14).fit(ring[:1000], dt=0.02)
    errors = model.backtest(ring[1000:], horizon=100, every=50).errors
    assert errors.max() < 0.05


@pytest.mark.parametrize("history", [1, 5, 6])
def test_a_history_that_holds_no_step_is_the_window_alone(history):
    settings = {"delays": 3, "stride": 2, "order": 2, "ridge": 1e-8}
    plain, model = (BasisMap(**settings, **more).fit(LORENZ.values[:500]) for more in ({}, {"history": history}))
    window = LORENZ.values[600:606]
    expected = plain.forecast(window, 5).values
    if history < 6:
        np.testing.assert_array_equal(model.forecast(window, 5).values, expected)
    else:
        np.testing.assert_allclose(model.forecast(window, 5).values, expected, rtol=1e-2)


def test_the_ends_of_a_grid_see_zeros():
    assert neighbours(4, 1, periodic=True).tolist() == [[3, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 0]]
    assert neighbours(4, 1, periodic=False).tolist() == [[4, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
    rows = np.arange(1.0, 10.0)[None]  # two snapshots of four sites, and one input
    local = local_rows(rows, 2, neighbours(4, 1, periodic=False))
    expected = [[0, 1, 2, 0, 5, 6, 9], [1, 2, 3, 5, 6, 7, 9], [2, 3, 4, 6, 7, 8, 9], [3, 4, 0, 7, 8, 0, 9]]
    assert local.tolist() == expected


@pytest.mark.parametrize(("width", "order"), [(3, 2), (2, 5), (4, 3)])
def test_flat_factors_give_the_same_monomials(width, order, rng):
    monomials, rows = Monomials.graded(width, order), rng.standard_normal((1, width))
    values = list(rows[0])
    for parent, column in zip(*monomials.flat(width), strict=True):
        values.append(values[parent] * rows[0, column])
    np.testing.assert_allclose(values[width:], np.concatenate(monomials(rows), axis=1)[0], rtol=1e-14)


def test_a_grid_without_a_word_is_found_by_the_search(ring):
    result = auto_forecaster(ring[:1200], dt=0.02, horizon=150, budget=2.0)
    assert "vector field" in result.family
    assert any("neighbours" in trial.family for trial in result.trials)
    assert result.skill > 0.7


@pytest.mark.parametrize("settings", [{"order": 3, "units": 4}, {"order": 2, "reach": 2, "periodic": False}])
def test_a_saved_field_forecasts_the_same(ring, tmp_path, settings):
    model = VectorField(**settings).fit(ring[:600], dt=0.02)
    model.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.forecast(20).values, model.forecast(20).values)


def test_what_a_vector_field_cannot_do_is_said(ring):
    with pytest.raises(BadInputError, match="takes no inputs; use BasisMap"):
        VectorField().fit(ring, inputs=ring[:, :1])
    with pytest.raises(BadInputError, match="needs 8 snapshots"):
        VectorField().fit(ring[:7])
    with pytest.raises(BadInputError, match="order is 0"):
        VectorField(order=0).fit(ring)
