"""Rules of the forecasters beside oracles written down again: candidates, trials of a search, errors, normalisation."""

from dataclasses import replace

import numpy as np
import pytest

from tokendyn.errors import BadInputError
from tokendyn.forecast import BasisMap
from tokendyn.forecast.exploring import Exploration
from tokendyn.forecast.short import _WORST, RollingTest, _backtest
from tokendyn.forecast.trials import Trial
from tokendyn.testing import driven, waves

# The search.


def search(known=()):
    series = waves(60)
    begun = Exploration([series], [np.empty((60, 0))], 1.0, budget=100.0, seed=7)
    begun.known = list(known)
    return begun


def trial(kind, family, **parameters):
    return Trial(kind, parameters, family, 0.5, 0.5, 10, 0.1, 0.01)


def test_a_stored_trial_stands_for_the_candidate_of_its_kind_and_settings_only():
    mean, shared, own = (
        trial("Mean", "naive"),
        trial("BasisMap", "TD-DMD", delays=2, ridge=1e-3),
        trial("BasisMap", "polynomial map", delays=3, order=2, ridge=1e-8),
    )
    begun = search([mean, shared, own])
    assert not begun._known("Persistence", {})
    assert not begun._known("BasisMap", {"delays": 4})
    assert not begun._known("BasisMap", {"delays": 2, "ridge": 1e-9})
    assert begun.trials == []
    assert begun._known("BasisMap", {"delays": 2})
    assert begun._known("Mean", {})
    assert begun._known("BasisMap", {"delays": 3, "order": 2, "ridge": 1e-8})
    assert begun.trials == [shared, mean, own]
    assert begun._known("Mean", {})
    assert begun._known("Persistence", {})
    assert begun.trials == [shared, mean, own]


def test_tdtf_starts_from_the_best_fixed_units():
    begun, asked = search(), []
    chosen = {"delays": 3, "stride": 2, "units": 90, "noise": 1e-3, "ridge": 1e-8, "random_state": 3}
    begun.trials = [
        replace(trial("BasisMap", "polynomial map", delays=4, order=2, ridge=1e-8), score=0.1),
        replace(trial("BasisMap", "fixed units", delays=1, units=50, ridge=1e-8), score=0.3),
        replace(trial("BasisMap", "fixed units", **chosen), score=0.2),
    ]
    begun._model = lambda kind, parameters, family, weights: asked.append((kind, parameters))
    begun._train()
    ((kind, parameters),) = asked
    assert kind == "TDTF"
    assert parameters.pop("budget") == pytest.approx(10.0, rel=1e-3)
    assert chosen.items() <= parameters.items()
    assert parameters["gate"] is False


def test_a_search_without_fixed_units_trains_no_tdtf():
    begun = search()
    begun.trials = [trial("BasisMap", "TD-DMD", delays=9, ridge=1e-8)]
    begun._train()
    assert len(begun.trials) == 1


# Short series.


def test_the_error_of_a_refit_is_the_mean_of_the_cut_errors():
    series = np.array([0.0, 1.0, 2.0, 4.0, 7.0, 1e9])[:, None]
    test = RollingTest(np.array([3]), series[None, 3:], np.array([2.0]), series.min(axis=0), series.max(axis=0))
    candidate, forecasts = _backtest("Persistence", {}, "naive", series, test, 1.0)
    assert candidate.score == pytest.approx((1.0 + 2.5 + _WORST) / 3)
    assert candidate.weights == 0
    np.testing.assert_array_equal(forecasts, np.full((1, 3, 1), 2.0))


# The map on a fixed basis.


def test_an_input_that_never_moves_changes_no_forecast():
    series, push = driven(200)
    constant = np.full((200, 1), 3.0)
    plain = BasisMap(delays=2).fit(series[:150], inputs=push[:150])
    wider = BasisMap(delays=2).fit(series[:150], inputs=np.concatenate([push, constant], axis=1)[:150])
    np.testing.assert_array_equal(wider.input_width_, [push[:150].std(), 1.0])
    expected = plain.forecast(series[148:150], 40, inputs=push[148:190])
    forecast = wider.forecast(series[148:150], 40, inputs=np.concatenate([push, constant], axis=1)[148:190])
    np.testing.assert_allclose(forecast.values, expected.values, rtol=1e-9)


@pytest.mark.parametrize("settings", [{"order": 2}, {"units": 5}, {"difference": True}, {"history": 40}])
def test_only_a_linear_map_of_snapshots_is_a_linear_model(settings):
    with pytest.raises(BadInputError, match="only a linear map"):
        BasisMap(delays=2, **settings).fit(waves(100)).linear_model()
