"""The automatic search: it finds, explains, ends in time, and resumes."""

import json

import pytest
from forecast_contract import waves
from test_forecast_tdtf import pendulum

from tokendyn.errors import BadInputError
from tokendyn.forecast import TDTF, auto_forecaster


def test_a_search_explains_its_choice_and_resumes(tmp_path):
    file = tmp_path / "search.json"
    series = pendulum(240)
    found = auto_forecaster(series, dt=0.1, budget=1.5, resume=file)
    assert isinstance(found.model, TDTF)
    assert found.model.delays == found.trials[found.best].parameters["delays"]
    text = found.account()
    assert text.count("\n") == len(found.trials) + 1
    assert "Chosen (*)" in text
    stored = json.loads(file.read_text())["trials"]
    assert [row["parameters"] for row in stored] == [trial.parameters for trial in found.trials]
    again = auto_forecaster(series, dt=0.1, budget=1.5, resume=file)
    assert again.trials[: len(found.trials)] == found.trials
    with pytest.raises(BadInputError, match="other data"):
        auto_forecaster(series + 1.0, dt=0.1, budget=1.0, resume=file)


def test_a_search_on_linear_data_keeps_a_linear_model():
    found = auto_forecaster(waves(300, noise=0.0), budget=0.5)
    assert found.trials[found.best].chosen == 0
    assert found.model.cell_.readout.size == 0
    assert "the linear model" in found.account()


def test_a_series_too_short_to_validate_is_refused():
    with pytest.raises(BadInputError, match="too short to hold a part out"):
        auto_forecaster(waves(60), budget=0.5)


def test_a_broken_record_of_a_search_is_refused(tmp_path):
    file = tmp_path / "search.json"
    file.write_text("{")
    with pytest.raises(BadInputError, match="cannot be read"):
        auto_forecaster(waves(200), budget=0.1, resume=file)
