"""The peers keep the contract of all forecasters, are the libraries' models, and are tuned on validation only."""

import sys

import numpy as np
import pytest

from tokendyn.data.systems import aerofoil_gusts
from tokendyn.errors import BadInputError, TokendynError
from tokendyn.forecast import TDDMD, TDTF
from tokendyn.forecast.kinds import kind_of
from tokendyn.forecast.naive import Drift, Persistence, SeasonalNaive
from tokendyn.rivals.forecast import ESN, NVAR, PyDMDHankel, PySINDy, TorchEncoder
from tokendyn.studies.forecast import SPACES, tune
from tokendyn.testing import ForecasterContract, waves


class TestPersistence(ForecasterContract):
    takes_inputs = False

    @classmethod
    def make(cls):
        return Persistence()


class TestDrift(ForecasterContract):
    takes_inputs = False

    @classmethod
    def make(cls):
        return Drift()


class TestSeasonalNaive(ForecasterContract):
    takes_inputs = False

    @classmethod
    def make(cls):
        return SeasonalNaive(period=63)

    def test_a_forecast_repeats_the_window(self, model):
        window = waves(63)
        np.testing.assert_array_equal(model.forecast(window, 130).values, np.tile(window, (3, 1))[:130])


class TestNVAR(ForecasterContract):
    @classmethod
    def make(cls):
        return NVAR(delays=4, stride=2, order=2)

    def test_a_quadratic_map_is_learned_exactly(self):
        x = np.empty((300, 2))
        x[0] = 0.1, 0.1
        for k in range(299):
            x[k + 1] = 1 - 1.4 * x[k, 0] ** 2 + x[k, 1], 0.3 * x[k, 0]
        found = NVAR(delays=1, order=2, ridge=1e-14).fit(x[:250]).one_step(x[250:])
        np.testing.assert_allclose(found, x[251:], atol=1e-8)

    def test_too_many_terms_are_refused(self):
        with pytest.raises(BadInputError, match="terms; at most"):
            NVAR(delays=40, order=5).fit(waves(400))

    def test_what_takes_longer_than_its_budget_is_refused_before(self):
        with pytest.raises(BadInputError, match=r"455 terms take about .* the budget is"):
            NVAR(delays=6, order=3, budget=1e-3).fit(waves(400))
        assert NVAR(delays=6, order=3, budget=10.0).fit(waves(400)).weights_.shape == (455, 2)


class TestPySINDy(ForecasterContract):
    takes_inputs = False  # the driven oscillator of the contract needs a second snapshot

    @pytest.fixture(autouse=True)
    def library(self):
        pytest.importorskip("pysindy", reason="needs tokendyn[bench]")

    @classmethod
    def make(cls):
        return PySINDy(threshold=1e-3)

    def test_the_equations_of_lorenz_are_found(self):
        from tokendyn.data.systems import lorenz63

        found = PySINDy(degree=2, threshold=0.3).fit(lorenz63(2000, dt=0.005).values, dt=0.005).coefficients_
        terms = {0: [10, -10], 1: [28, -1, -1], 2: [-8 / 3, 1]}
        for row, wanted in terms.items():
            nonzero = found[row][found[row] != 0]
            np.testing.assert_allclose(sorted(nonzero), sorted(wanted), rtol=5e-3)

    def test_inputs_enter_the_equations(self):
        push = np.sin(0.1 * np.arange(400))[:, None]
        x = np.zeros(400)
        for k in range(399):
            x[k + 1] = x[k] + 0.05 * (0.5 * (push[k, 0] + push[k + 1, 0]) - x[k])
        model = PySINDy(degree=1, threshold=1e-3).fit(x[:, None], dt=0.05, inputs=push)
        forecast = model.forecast(x[100:101, None], 100, inputs=push[100:201])
        np.testing.assert_allclose(forecast.values[:, 0], x[101:201], atol=0.02)


class TestESN(ForecasterContract):
    @pytest.fixture(autouse=True)
    def library(self):
        pytest.importorskip("reservoirpy", reason="needs tokendyn[bench]")

    restarts = False  # the reservoir remembers more than a window

    @classmethod
    def make(cls):
        return ESN(units=60, warmup=30, ridge=1e-8)

    def test_the_matrices_run_as_reservoirpy_does(self, model):
        from reservoirpy.nodes import Reservoir

        node = Reservoir(W=model.recurrent_, Win=model.entry_, bias=model.offset_, lr=model.leak, input_dim=2)
        drive = waves(30)
        theirs = node.run(drive)[-1]
        states = np.zeros((1, 60))
        for row in drive:
            states = model._step(states, row[None])
        np.testing.assert_allclose(states[0], theirs, atol=1e-12)


class TestPyDMDHankel(ForecasterContract):
    takes_inputs = False
    takes_lists = False
    restarts = False

    @pytest.fixture(autouse=True)
    def library(self):
        pytest.importorskip("pydmd", reason="needs tokendyn[bench] or tokendyn[test]")

    @classmethod
    def make(cls):
        return PyDMDHankel(delays=12, rank=8)

    def test_several_series_are_refused(self):
        with pytest.raises(BadInputError, match="one series"):
            self.make().fit([waves(200), waves(200)])


class TestTorchEncoder(ForecasterContract):
    ends_its_progress = False

    @classmethod
    def make(cls):
        return TorchEncoder(delays=3, width=8, layers=1, updates=250, batch=32, learning_rate=1e-2, noise=0.0)


def test_tuning_finds_the_period_and_sees_no_test_data():
    turn = 2 * np.pi * np.arange(400) / 25
    series = np.stack([np.sin(turn), np.cos(turn) + 0.3 * np.sin(2 * turn)], axis=1)
    found = tune(
        SeasonalNaive, lambda rng: {"period": int(rng.integers(20, 30))}, series, 1.0, horizon=50, budget=9.0, most=60
    )
    assert found.parameters == {"period": 25}
    assert found.lost < 1e-12
    assert found.tried == 60


def test_settings_that_fail_are_counted_and_passed_over():
    draws = iter([{"period": 0}, {"period": 5}, {"period": 3}])
    found = tune(SeasonalNaive, lambda _: next(draws), waves(200), 1.0, horizon=10, budget=9.0, most=3)
    assert (found.tried, found.failed) == (3, 1)
    with pytest.raises(TokendynError, match="none of 2 settings"):
        tune(SeasonalNaive, lambda _: {"period": 0}, waves(200), 1.0, horizon=10, budget=0.1, most=2)
    with pytest.raises(BadInputError, match="too few to hold any out"):
        tune(SeasonalNaive, SPACES["SeasonalNaive"], waves(7), 1.0, horizon=10, budget=0.1)


def test_a_last_fit_that_went_wrong_is_not_kept():
    series = np.sin(2 * np.pi * np.arange(400) / 25)[:, None]
    made = iter([SeasonalNaive(period=25), SeasonalNaive(period=7)])
    found = tune(lambda period: next(made), lambda _: {"period": 25}, series, 1.0, horizon=50, budget=9.0, most=1)
    assert found.model.period == 25


def test_coefficients_that_smooth_inputs_do_not_determine_lose_to_those_that_hold_under_noise():
    learned = aerofoil_gusts(1200, 0.5, amplitude=0.16, stall=True, seed=0)
    free, bound = {"delays": 20}, {"delays": 20, "ridge": 1e-6}
    found = tune(
        TDDMD, lambda _: {}, learned.values, 0.5, horizon=200, budget=9.0, inputs=learned.inputs, most=2,
        first=[free, bound],
    )  # fmt: skip
    assert found.parameters == bound
    other = aerofoil_gusts(240, 0.5, amplitude=0.16, stall=True, seed=1)
    lift = found.model.forecast(other.values[:40], 200, other.inputs).values
    assert np.sqrt(((lift - other.values[40:]) ** 2).mean()) < learned.values.std()


@pytest.mark.parametrize("name", SPACES)
def test_every_space_draws_settings_that_its_model_takes(name, rng):
    kind = kind_of(name)
    for _ in range(10):
        assert kind(**SPACES[name](rng))._parameter_problems() == []


@pytest.mark.parametrize("kind", [ESN, PyDMDHankel, PySINDy])
def test_a_missing_library_is_named_with_its_remedy(kind, monkeypatch):
    for name in ("pydmd", "pysindy", "reservoirpy.nodes", "reservoirpy"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TokendynError, match=r"tokendyn\[bench\]"):
        kind().fit(waves(400))


def test_a_model_that_can_stop_is_stopped_within_its_budget():
    slow = {"delays": 3, "units": 40, "iterations": 10_000, "gate": False}
    found = tune(TDTF, lambda _: slow, waves(600), 0.1, horizon=40, budget=0.6, first=slow)
    assert found.model.training_["status"] == "budget"
    assert found.model.training_["chosen"] > 0
    assert 0.12 <= found.model.budget <= 0.6
    assert "budget" not in found.parameters
    set_by_hand = slow | {"budget": 0.05}
    fixed = tune(TDTF, lambda _: set_by_hand, waves(600), 0.1, horizon=40, budget=0.1, first=set_by_hand)
    assert fixed.model.budget == 0.05


def test_an_encoder_out_of_time_stops_and_one_with_enough_is_the_same_as_without_a_limit():
    series = waves(200)
    short = TorchEncoder(delays=3, width=8, updates=10**9, budget=0.2).fit(series)
    assert np.isfinite(short.forecast(series, 5).values).all()
    assert short.fit_seconds_ < 60
    free, rich = (TorchEncoder(delays=3, width=8, updates=4, budget=budget).fit(series) for budget in (None, 1e9))
    np.testing.assert_allclose(free.forecast(series, 5).values, rich.forecast(series, 5).values, rtol=1e-6)
