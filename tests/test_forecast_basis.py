"""Maps with fixed inner weights: their least squares, their derivatives, what they are called, and blends of them."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from tokendyn.data.systems import lorenz63
from tokendyn.errors import BadInputError
from tokendyn.forecast import TDDMD, BasisMap, Blend, Logarithm
from tokendyn.forecast.cell import tokens_of
from tokendyn.forecast.functions import solve_ridges
from tokendyn.forecast.monomials import Monomials, monomial_count
from tokendyn.testing import ForecasterContract, driven, waves


class TestLinearMap(ForecasterContract):
    @classmethod
    def make(cls):
        return BasisMap(delays=4, ridge=1e-10)


class TestPolynomialMap(ForecasterContract):
    @classmethod
    def make(cls):
        return BasisMap(delays=2, stride=2, order=3, ridge=1e-8)


class TestFixedUnits(ForecasterContract):
    @classmethod
    def make(cls):
        return BasisMap(delays=2, units=20, activation="tanh", noise=1e-4)


class TestDifferences(ForecasterContract):
    @classmethod
    def make(cls):
        return BasisMap(delays=3, difference=True, ridge=1e-8)


class TestBlend(ForecasterContract):
    restarts = False  # each member goes on from its own forecasts, not from the blended ones

    @classmethod
    def make(cls):
        return Blend(members=[["BasisMap", {"delays": 4}], ["TDDMD", {"delays": 2}]], weights=[2.0, 1.0])


def test_every_monomial_stands_once():
    rows = np.random.default_rng(0).normal(size=(7, 3))
    values = np.concatenate(Monomials.graded(3, 4)(rows), axis=1)
    x, y, z = rows.T
    powers = [(a, b, c) for a in range(5) for b in range(5) for c in range(5) if 2 <= a + b + c <= 4]
    expected = np.stack([x**a * y**b * z**c for a, b, c in powers], axis=1)
    assert values.shape[1] == monomial_count(3, 4) == len(powers)
    np.testing.assert_allclose(np.sort(values, axis=1), np.sort(expected, axis=1), rtol=1e-12)


@pytest.mark.parametrize(("samples", "terms"), [(60, 9), (8, 12)])
@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 3.0])
def test_every_ridge_of_one_factorisation_is_the_ridge_of_an_independent_solver(samples, terms, ridge):
    rng = np.random.default_rng(1)
    columns, targets = (
        rng.normal(size=(samples, terms)) * 10.0 ** rng.uniform(-3, 3, terms),
        rng.normal(size=(samples, 2)),
    )
    scale = np.sqrt((columns**2).mean(axis=0))
    solutions, residuals = solve_ridges(columns.copy(), targets, (0.5, ridge))
    model = Ridge(alpha=ridge * samples, fit_intercept=False, solver="svd").fit(columns / scale, targets)
    np.testing.assert_allclose(solutions[1] * scale[:, None], model.coef_.T, rtol=1e-7, atol=1e-10)
    missed = targets - columns @ solutions[1]
    assert residuals[1] == pytest.approx(np.sqrt((missed**2).mean()), rel=1e-9, abs=1e-8)


@pytest.mark.parametrize(
    "settings",
    [
        {"delays": 3, "order": 4},
        {"delays": 2, "stride": 3, "order": 3, "units": 9},
        {"delays": 4, "order": 3, "directions": 5},
        {"delays": 2, "units": 12, "activation": "tanh"},
    ],
)
def test_local_operators_are_the_derivatives_of_a_step(settings):
    series = lorenz63(400, seed=0).values
    model = BasisMap(**settings, ridge=1e-6).fit(series)
    z = (series[:40] - model.centre_) / model.width_
    tokens = tokens_of(z, np.empty((40, 0)), model.delays, model.stride)
    operators = model.operators(tokens)
    for delay in range(model.delays):
        for column in range(3):
            after, before = tokens.copy(), tokens.copy()
            after[:, delay, column] += 1e-5
            before[:, delay, column] -= 1e-5
            slope = (model.step(after) - model.step(before)) / 2e-5
            np.testing.assert_allclose(operators[:, delay, :, column], slope, rtol=1e-5, atol=1e-6)


def test_several_fits_roll_out_together_as_each_alone():
    series = lorenz63(600, seed=0).values
    settings = {"delays": 2, "order": 3}
    search = BasisMap(**settings)
    fits = search.fit_ridges([series], [np.empty((600, 0))], (1e-10, 1e-4))
    windows = np.stack([series[start : start + 2] for start in (0, 100, 300)])
    together = search.roll(fits.basis, fits.coefficients, windows, 20, np.empty((3, 22, 0)))
    for number, ridge in enumerate(fits.ridges):
        alone = BasisMap(**settings, ridge=ridge).fit(series)
        values = np.stack([one.values for one in alone.forecast_many(windows, 20)])
        np.testing.assert_allclose(together[number], values, rtol=1e-9, atol=1e-9)


def test_a_rollout_ends_when_all_starts_are_lost():
    series = lorenz63(600, seed=0).values
    search = BasisMap(delays=1)
    fits = search.fit_ridges([series], [np.empty((600, 0))], (1e-8,))
    windows, truth = series[None, 100:101], series[None, 101:401]
    values = search.roll(fits.basis, fits.coefficients, windows, 300, np.empty((1, 301, 0)), truth, 0.8)[0, 0]
    errors = np.sqrt((((values - truth[0]) / series.std(axis=0)) ** 2).mean(axis=1))
    lost = int((errors > 0.8).argmax())
    assert np.isfinite(values[: lost + 1]).all()
    assert np.isnan(values[lost + 1 :]).all()


@pytest.mark.parametrize("with_inputs", [False, True])
def test_a_linear_map_is_the_same_as_tddmd_and_knows_its_spectrum(with_inputs):
    if with_inputs:
        series, push = driven(300)
    else:
        series, push = waves(300), None
    model = BasisMap(delays=3, stride=2, ridge=1e-12).fit(series, dt=0.1, inputs=push)
    linear = model.linear_model()
    assert isinstance(linear, TDDMD)
    span = model.window_length_
    known = None if push is None else push[: span + 30]
    np.testing.assert_allclose(
        linear.forecast(series[:span], 30, known).values,
        model.forecast(series[:span], 30, known).values,
        rtol=1e-8,
        atol=1e-8,
    )
    if not with_inputs:
        assert len(linear.spectrum().frequencies)


@pytest.mark.parametrize(
    ("settings", "family"),
    [({}, "TD-DMD"), ({"order": 2}, "polynomial map"), ({"units": 3}, "fixed units")],
)
def test_a_model_is_called_what_it_is(settings, family):
    assert BasisMap(**settings).family == family


def test_a_nonlinear_map_has_no_linear_model():
    model = BasisMap(order=2).fit(waves(100))
    with pytest.raises(BadInputError, match="only a linear map"):
        model.linear_model()


def test_too_many_monomials_are_refused_before_memory_is_taken():
    with pytest.raises(BadInputError, match="use a lower order, fewer delays, or directions"):
        BasisMap(delays=30, order=5).fit(waves(400))


def test_a_straight_line_goes_on_by_its_differences():
    line = np.linspace(0, 1, 50)[:, None] ** 1
    series = np.concatenate([line, 2 * line + 1], axis=1) + 1e-9 * np.random.default_rng(0).normal(size=(50, 2))
    forecast = BasisMap(delays=1, difference=True, ridge=1e-3).fit(series).forecast(series, 10).values
    np.testing.assert_allclose(forecast[:, 0], 1 + np.arange(1, 11) / 49, atol=1e-6)


def test_smoothing_brings_a_noisy_series_nearer_to_the_truth():
    clean = lorenz63(1200, seed=0).values
    noisy = clean + 0.05 * clean.std(axis=0) * np.random.default_rng(0).standard_normal(clean.shape)
    plain = BasisMap(order=3, ridge=1e-5).fit(noisy)
    smooth = BasisMap(order=3, ridge=1e-5, smoothing=6, history=60).fit(noisy)
    test = lorenz63(900, seed=3).values
    held = test + 0.05 * clean.std(axis=0) * np.random.default_rng(1).standard_normal(test.shape)

    def valid(model):
        steps = []
        for start in range(100, 700, 60):
            values = model.forecast(held[:start], 150).values
            errors = np.sqrt((((values - test[start : start + 150]) / model.scale_) ** 2).mean(axis=1))
            steps.append(int((errors > 0.4).argmax()) if (errors > 0.4).any() else 150)
        return np.median(steps)

    assert valid(smooth) > 1.3 * valid(plain)


def test_a_blend_weighs_its_members():
    series = waves(200)
    blend = Blend(members=[["Mean", {}], ["Persistence", {}]], weights=[1.0, 3.0], clip=None).fit(series)
    expected = 0.25 * series.mean(axis=0) + 0.75 * series[-1]
    np.testing.assert_allclose(blend.forecast(series, 3).values, np.tile(expected, (3, 1)), rtol=1e-12)


def test_a_blend_stays_within_its_bounds_and_leaves_out_what_is_not_a_number():
    blend = Blend(members=[["Persistence", {}], ["Mean", {}]], clip=0.5).fit(np.arange(11.0)[:, None])
    values = blend._combined(np.array([[[[1e9]]], [[[np.nan]]]]), blend._bounds(np.array([[[3.0]]]), 1))
    assert values.item() == 15.0


def test_a_mean_that_rests_at_its_bounds_says_so():
    line = np.arange(41.0)[:, None]
    blend = Blend(members=[["Drift", {}], ["Drift", {}]], weights=[0.1, 0.7], clip=0.5).fit(line)
    blend.growths_[:] = 0.0
    inside, beyond = blend.forecast(19), blend.forecast(30)
    assert (inside.status, inside.inside_steps) == ("completed", 19)
    assert (beyond.status, beyond.inside_steps) == ("left range", 19)
    np.testing.assert_allclose(beyond.values[19:], 60.0, rtol=1e-12)
    # The mean of one that runs away and one that does not is no value that rests.
    mixed = Blend(members=[["Drift", {}], ["Persistence", {}]], clip=0.5).fit(line)
    assert mixed.forecast(60).status == "completed"


def test_bounds_go_on_from_what_the_series_has_become():
    """Forecasts of held-out parts begin behind the training data, which a growing series has left by then."""
    blend = Blend(members=[["Drift", {}]], clip=0.5).fit(np.arange(41.0)[:, None])
    later = np.arange(90.0, 101)[:, None]
    np.testing.assert_allclose(blend.forecast(later, 10).values, np.arange(101.0, 111)[:, None], rtol=1e-12)


def test_growth_by_a_factor_is_not_cut_at_the_range_of_the_data():
    """Bounds that keep a mean of bad members near the data do not hold back what the data show themselves."""
    for sign in (1.0, -1.0):
        series = sign * 1.1 ** np.arange(120.0)[:, None]
        blend = Blend(members=[["Logarithm", {}]] if sign > 0 else [["BasisMap", {"delays": 1}]]).fit(series[:100])
        np.testing.assert_allclose(blend.forecast(20).values, series[100:], rtol=1e-6)
        # Steps of equal size are no growth by factors for long: bounds stay near the range.
        line = Blend(members=[["BasisMap", {"delays": 1}]]).fit(sign * np.arange(1.0, 101)[:, None])
        assert line.growths_[0] < 0.02


def test_a_logarithm_of_a_bounded_mean_is_the_same_when_loaded(tmp_path):
    """The bounds of the member are those of the logarithm."""
    series = 1000.0 + 5 * np.sin(np.arange(60.0))[:, None]
    members = {"members": [["Persistence", {}], ["Mean", {}]]}
    model = Logarithm(kind="Blend", parameters=members).fit(series)
    model.save(tmp_path / "model")
    loaded = Logarithm.load(tmp_path / "model")
    assert np.array_equal(loaded.forecast(5).values, model.forecast(5).values)
    assert loaded.forecast(5).status == "completed"
