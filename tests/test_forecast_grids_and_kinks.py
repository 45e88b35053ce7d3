"""Noisy grids and flows with kinks: derivatives beside difference quotients, integrals beside quadrature by SciPy."""

import functools

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from tokendyn.errors import BadInputError
from tokendyn.forecast import BasisMap, Forecaster, VectorField, auto_forecaster
from tokendyn.forecast.candidates import mutation, vector_fields, wider_neighbours
from tokendyn.forecast.hinges import between, fitted_hinges, integrals
from tokendyn.forecast.sites import neighbours, stretches, whole_operators


def orbit(slope, start, dt, points):
    """Return an orbit after a transient, by SciPy."""
    times = 20.0 + dt * np.arange(points)
    return solve_ivp(slope, (0.0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-10, atol=1e-10).y.T


@functools.cache
def ring():
    return orbit(
        lambda _, x: (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + 8.0,
        8.0 + np.random.default_rng(0).standard_normal(10), 0.02, 1600,
    )  # fmt: skip


@functools.cache
def noisy_ring():
    return ring() + 0.03 * ring().std(axis=0) * np.random.default_rng(1).standard_normal(ring().shape)


@functools.cache
def kinked():
    """Return an orbit of x''' = -0.6 x'' - x' + |x| - 1."""
    return orbit(lambda _, x: [x[1], x[2], -0.6 * x[2] - x[1] + abs(x[0]) - 1], [0.1, 0.1, 0.1], 0.1, 2500)


SHARED = [
    VectorField(order=2, reach=2, ridge=1e-8),
    VectorField(order=1, reach=1, periodic=False, units=4, activation="tanh", ridge=1e-8),
    BasisMap(order=2, reach=2, delays=2, stride=2, ridge=1e-8),
    BasisMap(order=2, reach=3, delays=1, directions=4, periodic=False, ridge=1e-8),
]


@pytest.mark.parametrize("model", SHARED, ids=str)
def test_the_operators_of_a_shared_step_are_its_difference_quotients(model):
    model.fit(ring()[:500], dt=0.02)
    normal = (ring()[600:612] - model.centre_) / model.width_
    tokens = np.stack([normal[k : k + model.delays] for k in (0, 3, 7)])
    operators, h = model.operators(tokens), 1e-6
    assert operators.shape == (3, model.delays, 10, 10)
    for delay in range(model.delays):
        for column in (0, 4, 9):
            shift = np.zeros(tokens.shape[1:])
            shift[delay, column] = h
            quotient = (model.step(tokens + shift) - model.step(tokens - shift)) / (2 * h)
            np.testing.assert_allclose(operators[:, delay, :, column], quotient, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("periodic", [True, False])
def test_derivatives_of_the_whole_grid_are_those_of_the_sites_put_in_place(periodic, rng):
    near = neighbours(5, 1, periodic=periodic)
    local = rng.standard_normal((2 * 5, 2 * 3 + 1))  # two samples, two delays, and one input
    whole = whole_operators(local, 2, near)
    expected = np.zeros((2, 2, 5, 5))
    for sample in range(2):
        for site in range(5):
            for delay in range(2):
                for number, seen in enumerate(near[site]):
                    if seen < 5:
                        expected[sample, delay, site, seen] = local[5 * sample + site, 3 * delay + number]
    np.testing.assert_array_equal(whole, expected)


def test_stretches_are_parts_of_long_series_and_short_series_are_whole(rng):
    long, short = rng.standard_normal((3000, 20)), rng.standard_normal((50, 20))
    parts, driven = stretches([long, short], [long[:, :1], short[:, :1]], least=9)
    assert sum(map(len, parts)) * 20 < 15_000
    assert len(parts[-1]) == 50
    for part, drive in zip(parts, driven, strict=True):
        np.testing.assert_array_equal(part[:, :1], drive)
    starts = [int(np.flatnonzero((long == part[0]).all(axis=1))[0]) for part in parts[:-1]]
    assert starts[0] == 0
    assert starts[-1] + len(parts[-2]) == 3000
    for start, part in zip(starts, parts[:-1], strict=True):
        np.testing.assert_array_equal(part, long[start : start + len(part)])


def test_a_stretch_holds_what_a_long_window_needs(rng):
    long = rng.standard_normal((3000, 40))
    parts, _ = stretches([long], [long[:, :0]], least=150)
    assert min(map(len, parts)) >= 300


@pytest.mark.parametrize(("kind", "own"), [(VectorField, {}), (BasisMap, {"delays": 2})])
def test_smoothing_makes_forecasts_of_a_noisy_ring_better(kind, own):
    errors = {}
    for name, settings in {"raw": {}, "smoothed": {"smoothing": 3, "history": 20}}.items():
        model = kind(order=2, reach=2, ridge=1e-6, **own, **settings).fit(noisy_ring()[:1000], dt=0.02)
        runs = [model.forecast(noisy_ring()[k - 20 : k], 30).values - ring()[k : k + 30] for k in range(1050, 1550, 50)]
        errors[name] = np.sqrt(np.mean(np.square(runs)))
    assert errors["smoothed"] < 0.7 * errors["raw"]


def test_a_saved_shared_model_smooths_as_before(tmp_path):
    model = VectorField(reach=2, ridge=1e-6, smoothing=2, history=15).fit(noisy_ring()[:400], dt=0.02)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(Forecaster.load(tmp_path / "model").forecast(10).values, model.forecast(10).values)


def test_a_search_keeps_a_model_that_holds_for_a_small_part_of_a_long_horizon():
    result = auto_forecaster(noisy_ring()[:1400], dt=0.02, horizon=280, budget=2.0)
    assert "neighbours" in result.family
    assert "median" not in result.family


def test_wide_neighbourhoods_are_tried_of_grids_and_with_noise_where_there_is_none():
    assert not list(wider_neighbours(5, lambda: 0.1))
    noisy, clean = (list(wider_neighbours(40, lambda size=size: size)) for size in (0.05, 1e-4))
    assert {settings.get("noise", 0.0) for _, settings in noisy} == {0.0}
    assert all(settings["noise"] > 0 for kind, settings in clean if kind == "BasisMap")
    assert all(2 * settings["reach"] + 1 < 8 for _, settings in wider_neighbours(8, lambda: 0.1))


def test_interpolation_between_snapshots_is_exact_for_polynomials():
    time = np.arange(12.0)
    for degree in range(8):
        fine = between((time[:, None] / 10) ** degree, 3)
        assert fine.shape == (9, 5, 1)
        expected = ((np.arange(3, 8)[None, :] + np.linspace(0, 1, 9)[:, None]) / 10) ** degree
        np.testing.assert_allclose(fine[..., 0], expected, atol=1e-12)


def test_the_integral_of_a_hinge_is_that_of_quadrature():
    time = np.arange(30.0)
    fine = between(np.stack([np.sin(0.4 * time), np.cos(0.3 * time)], axis=1), 3)
    weights, bias = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([-0.2, 0.4])
    found = integrals(fine, weights, bias)
    for k in range(len(found)):
        for column, path in enumerate((lambda t: np.sin(0.4 * t) - 0.2, lambda t: np.cos(0.3 * t) + 0.4)):
            exact, _ = quad(lambda t, path=path: max(0.0, path(t)), k + 3, k + 4, limit=200)
            assert found[k, column] == pytest.approx(exact, abs=2e-3)


def test_kinks_are_found_where_they_are(rng):
    values = rng.uniform(-1, 1, (2000, 2))

    def hinges(weights, bias):
        return np.maximum(0.0, values @ weights.T + bias)

    targets = np.stack([np.maximum(0.0, values[:, 1] - 0.37), 2 * values[:, 0]], axis=1)
    targets[:, 0] += 3 * np.maximum(0.0, values[:, 0] + 0.61)
    columns = np.concatenate([np.ones((2000, 1)), values], axis=1)
    weights, bias = fitted_hinges(hinges, values, columns, targets, 2)
    assert weights.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    np.testing.assert_allclose(bias, [0.61, -0.37], atol=0.01)


def test_a_flow_that_is_linear_in_pieces_is_forecast_from_its_own_equations():
    model = VectorField(order=1, units=1, activation="hinge", ridge=1e-14).fit(kinked()[:1500], dt=0.1)
    kink = model.centre_[0] - model.basis_.bias[0] * model.width_[0]
    assert model.basis_.weights.tolist() == [[1.0, 0.0, 0.0]]
    assert kink == pytest.approx(0.0, abs=0.01)
    smooth = VectorField(order=3, ridge=1e-10).fit(kinked()[:1500], dt=0.1)
    errors = [one.backtest(kinked()[1500:], horizon=200, every=100).errors.max() for one in (model, smooth)]
    assert errors[0] < 0.05
    assert errors[0] < 0.1 * errors[1]


def test_a_search_finds_a_kink():
    result = auto_forecaster(kinked()[:1500], dt=0.1, budget=2.0)
    assert result.trials[result.best].parameters["activation"] == "hinge"
    assert result.skill > 0.9


def test_operators_and_files_know_hinges(tmp_path):
    model = VectorField(order=2, units=2, activation="hinge", interval=2, ridge=1e-8).fit(kinked()[:800], dt=0.1)
    tokens, h = ((kinked()[900:903] - model.centre_) / model.width_)[:, None], 1e-6
    for column in range(3):
        shift = h * np.eye(3)[column]
        quotient = (model.step(tokens + shift) - model.step(tokens - shift)) / (2 * h)
        np.testing.assert_allclose(model.operators(tokens)[:, 0, :, column], quotient, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(Forecaster.load(tmp_path / "model").forecast(20).values, model.forecast(20).values)


def test_varied_hinges_stay_few_and_have_no_seed(rng):
    first = {"order": 1, "units": 4, "activation": "hinge"}
    varied = [mutation("VectorField", first, 3, 0, rng) for _ in range(60)]
    assert {settings["units"] for settings in varied} <= {3, 4, 5, 6, 2, 8, 7}
    assert not any("random_state" in settings for settings in varied)
    assert first in [settings for _, settings in vector_fields(3)]


def test_hinges_of_neighbours_are_refused():
    with pytest.raises(BadInputError, match="hinges are not fitted for neighbours"):
        VectorField(reach=1, units=2, activation="hinge").fit(ring())
    with pytest.raises(BadInputError, match="expected sin or tanh"):
        BasisMap(units=2, activation="hinge").fit(ring())
    with pytest.raises(BadInputError, match="expected sin, tanh, hinge"):
        VectorField(units=2, activation="relu").fit(ring())
