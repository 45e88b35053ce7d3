"""Ensembles, the finish on closed loops, and what a fitted TD-TF says of itself."""

import numpy as np
import pytest
from test_forecast_tdtf import pendulum

from tokendyn.errors import BadInputError
from tokendyn.forecast import TDDMD, TDTF, EnsembleTDTF, local_eigenvalues, local_spectrum, read_orbit
from tokendyn.forecast.finish import closed_loop_cost, closed_loop_equations, finish, pack, segments_of, unpack
from tokendyn.testing import ForecasterContract, driven, waves


class TestEnsembleContract(ForecasterContract):
    @classmethod
    def make(cls):
        member = TDTF(delays=3, stride=2, units=6, iterations=2, noise=1e-4, gate=False)
        return EnsembleTDTF(member=member, members=2)

    restarts = False

    def test_parameters_survive_cloning(self):
        from sklearn.base import clone

        ours, theirs = self.make().get_params(), clone(self.make()).get_params()
        assert {k: v for k, v in ours.items() if k != "member"} == {k: v for k, v in theirs.items() if k != "member"}

    def test_a_saved_model_forecasts_the_same(self, model, tmp_path):
        model.save(tmp_path / "model")
        loaded = EnsembleTDTF.load(tmp_path / "model")
        window = waves(model.window_length_, seed=11)
        np.testing.assert_array_equal(loaded.forecast(window, 8).values, model.forecast(window, 8).values)


def small(**parameters):
    return TDTF(delays=3, stride=2, units=6, iterations=4, gate=False, **parameters)


def test_the_spread_of_an_ensemble_is_that_of_its_members():
    series = pendulum(200)
    model = EnsembleTDTF(member=small(), members=3, random_state=5).fit(series)
    forecast = model.forecast(series, 20)
    alone = [small(random_state=seed).fit(series).forecast(series, 20).values for seed in (5, 6, 7)]
    np.testing.assert_allclose(forecast.values, np.mean(alone, axis=0), rtol=1e-12)
    np.testing.assert_allclose(forecast.spread, np.std(alone, axis=0), rtol=1e-9, atol=1e-14)


def test_an_ensemble_of_one_is_refused():
    with pytest.raises(BadInputError, match="members is 1"):
        EnsembleTDTF(members=1).fit(waves(100))


def test_attention_sums_to_one_and_shares_add_up_to_the_prediction():
    series = waves(120)
    model = small().fit(series)
    reading = read_orbit(model, series)
    np.testing.assert_allclose(reading.attention.sum(axis=1), 1.0, atol=1e-12)
    predicted = series[4:-1] + reading.linear + reading.nonlinear
    np.testing.assert_allclose(predicted, model.one_step(series), atol=1e-10)
    assert ((reading.nonlinear_share >= 0) & (reading.nonlinear_share <= 1)).all()
    assert reading.delay_importance.shape == (3,)


def test_local_eigenvalues_of_a_linear_model_are_those_of_tddmd():
    series = waves(300, noise=0.05)
    linear = TDDMD(delays=3, stride=2).fit(series, dt=0.1)
    model = TDTF(delays=3, stride=2, units=0, noise=0.0, validation_fraction=0.0).fit(series, dt=0.1)
    expected = np.sort(np.abs(linear.spectrum().eigenvalues))
    found = local_eigenvalues(read_orbit(model, series[:8]), 2)
    for row in found:
        np.testing.assert_allclose(np.sort(np.abs(row)), expected, atol=1e-7)
    leading = local_spectrum(model, series[:5])
    np.testing.assert_allclose(np.sort(np.abs(leading.eigenvalues)), expected, atol=1e-7)
    assert leading.dt == 0.1


def test_operators_are_in_the_units_of_the_data():
    series = waves(200)
    model = small().fit(series)
    local = read_orbit(model, series[:6]).operators[0]
    for column in range(2):
        moved = series[:6].copy()
        moved[4, column] += 1e-5
        slope = (model.one_step(moved)[0] - model.one_step(series[:6])[0]) / 1e-5
        np.testing.assert_allclose(local[2, :, column], slope, rtol=1e-3, atol=1e-3)


def loops_of(model, series, push=None):
    z = model.units_.snapshots(series)
    w = np.empty((len(z), 0)) if push is None else model.units_.inputs(push)
    return segments_of([z], [w], model.delays, model.stride, 12, 6)


@pytest.mark.parametrize("attention", [True, False])
def test_closed_loop_derivatives_are_those_of_differences(attention):
    series, push = driven(200)
    model = small(attention=attention, noise=1e-2, ridge=1e-6).fit(series, inputs=push)
    loops = loops_of(model, series, push)
    _, downhill = closed_loop_equations(model.cell_, loops, linear=True, chunk=4)
    vector = pack(model.cell_)
    for number in range(0, len(vector), 5):
        step = np.zeros(len(vector))
        step[number] = 1e-7
        up, down = (closed_loop_cost(unpack(model.cell_, vector + sign * step), loops) for sign in (1, -1))
        slope = (up - down) / 2e-7 * loops.truth.size
        np.testing.assert_allclose(slope, -2 * downhill[number], rtol=1e-3, atol=1e-5 * np.abs(downhill).max())


def test_the_finish_lowers_the_closed_loop_cost_each_time():
    series = pendulum(300)
    model = small().fit(series)
    loops = loops_of(model, series)
    costs = [closed_loop_cost(model.cell_, loops)]
    finish(model.cell_, loops, linear=True, iterations=4, accept=lambda cell, cost: costs.append(cost) is None)
    assert len(costs) == 5
    assert (np.diff(costs) < 0).all()
