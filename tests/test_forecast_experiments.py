"""Experiments on series: from Python as on the command line, in sweeps, and what they refuse."""

import dataclasses
import json
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tokendyn.cli import run
from tokendyn.errors import BadInputError
from tokendyn.experiments import sweep
from tokendyn.forecast import Forecaster
from tokendyn.forecast.experiments import Fitting, Forecasting
from tokendyn.forecast.fitted import skill
from tokendyn.forecast.naive import Drift
from tokendyn.studies.forecast.experiments import Comparison, Validation

pytestmark = pytest.mark.usefixtures("unchecked")

TURN = 0.2 * np.arange(200)


@pytest.fixture
def flow(tmp_path):
    file = tmp_path / "flow.csv"
    pd.DataFrame({"t": TURN, "x": np.sin(TURN)}).to_csv(file, index=False)
    return file


@pytest.fixture
def fitting(flow):
    return Fitting(flow, model="tddmd", delays=4, horizon=20)


def test_python_and_the_command_line_write_the_same_model(fitting, tmp_path):
    fitting.write(fitting.run(), tmp_path / "python", command=fitting.command_line(out=tmp_path / "python"))
    words = shlex.split(fitting.command_line(out=tmp_path / "shell"))
    assert run(words[1:]) == 0
    tensors = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("python", "shell")]
    assert tensors[0] == tensors[1]
    records = [json.loads((tmp_path / name / "data.json").read_text(encoding="utf-8")) for name in ("python", "shell")]
    assert shlex.split(records[1].pop("command")) == words
    assert records[0].pop("command").endswith("python")
    assert records[0] == records[1]


def test_a_fit_says_how_it_does_beside_simple_models(fitting):
    fitted = fitting.run()
    *naive, linear = fitted.simple.items()
    assert max(fitted.held_out.nrmse, linear[1]) < 1e-9 < min(error for _, error in naive)
    assert linear[0] == "TD-DMD of 32 delays"  # 31.4 samples are a period
    assert fitted.table()["model"].tolist() == ["TDDMD", *fitted.simple]
    assert "status='completed'" in repr(fitted)
    *_, head, first, second, third, fourth = str(fitted).splitlines()
    assert head.split()[-1] == "it"
    assert [line.split()[-1] for line in (first, second, third, fourth)] == ["1.000"] * 3 + ["0.000"]


def test_a_fit_that_is_no_better_than_naive_is_warned_of(tmp_path):
    walk = np.cumsum(np.random.default_rng(3).standard_normal(200))
    pd.DataFrame({"x": walk}).to_csv(tmp_path / "walk.csv", index=False)
    said = str(Fitting(tmp_path / "walk.csv", model="tddmd", delays=40, horizon=20).run())
    assert "warning: the model is no better than one that learns nothing" in said


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        (0.5, 1.0, 0.5),
        (2.0, 1.0, -1.0),
        (1e-12, 1e-15, 0.0),
        (np.inf, 1.0, -np.inf),
        (np.inf, np.inf, 0.0),
        (1.0, np.inf, 1.0),
    ],
)
def test_skill_is_the_share_of_the_error_that_is_gone(own, other, expected):
    assert skill(own, other) == expected


def test_a_forecast_from_python_goes_on_as_the_series_does(fitting, flow, tmp_path):
    fitting.run().save(tmp_path / "model")
    forecasts = Forecasting(tmp_path / "model", flow, steps=9).run()
    later = 0.2 * np.arange(200, 209)
    columns = [later, *[np.sin(later)] * 3]
    np.testing.assert_allclose(forecasts.table(), np.column_stack(columns), atol=1e-8)
    assert forecasts.status == "completed"
    assert forecasts.describe() == ["complete: 9 steps after time 39.8, with bands of 90 %"]


def test_fits_are_swept_from_python(fitting, tmp_path):
    result = sweep(dataclasses.replace(fitting, delays=None), {"delays": [1, 4]}, store=tmp_path / "runs", workers=1)
    assert result.counts["completed"] == 2
    errors = result.table()["held_out.nrmse"]
    assert errors[1] < 1e-9 < errors[0]


def test_a_comparison_is_checked_and_run_from_python(flow, tmp_path):
    comparison = Comparison(flow, models="persistence", budget="20ms", horizon=20)
    assert comparison.check()[-1] == "would tune persistence for 0.02 s each"
    study = comparison.run()
    assert study.table()["model"].tolist() == ["persistence"]
    assert study.provenance["seed"] == 0
    comparison.write(study, tmp_path / "comparison")
    assert (tmp_path / "comparison" / "report.html").is_file()


def test_what_long_work_does_now_is_logged_once(flow, caplog):
    with caplog.at_level("INFO", logger="tokendyn"):
        Comparison(flow, models="persistence", budget="20ms", horizon=20).run()
    assert [record.getMessage() for record in caplog.records] == ["flow: persistence"]


def test_messages_name_arguments_in_python_and_flags_on_the_command_line(flow, capsys, tmp_path):
    wrong = [
        ({"model": "auto", "delays": 3}, '`model="auto"` chooses the settings itself; leave out `delays`'),
        ({"model": "tddmd", "units": 3}, '`model="tddmd"` has no `units`'),
        ({"test_fraction": 1.0}, "`test_fraction` must be in"),
        ({"budget": "soon"}, "`budget` is 'soon'"),
    ]
    for options, message in wrong:
        for call in (Fitting(flow, **options).check, Fitting(flow, **options).run):
            with pytest.raises(BadInputError) as error:
                call()
            assert message in str(error.value)
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        assert run(["forecast", "fit", str(flow), *words, "--out", str(tmp_path / "model")]) == 2
        said = capsys.readouterr().err
        assert "`" not in said
        assert f"--{[*options][-1].replace('_', '-')}" in said
    for call in (Validation("lorenz", models="LSTM").check, Validation("lorenz", models="LSTM").run):
        with pytest.raises(BadInputError, match="no model 'LSTM'"):
            call()


def test_a_forecast_goes_to_standard_output_where_no_file_is_named(fitting, flow, tmp_path, capsys):
    fitting.run().save(tmp_path / "model")
    words = ["forecast", "predict", str(tmp_path / "model"), str(flow), "--steps", "3"]
    assert run([*words, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "would forecast 3 steps of x\nwould write to standard output" in said.err
    assert run(words) == 0
    said = capsys.readouterr()
    assert said.out.count("\n") == 4
    assert "wrote" not in said.err
    assert run([*words, "--json"]) == 2
    assert "--json and the result would both go to standard output; give --out too" in capsys.readouterr().err
    assert not (tmp_path / "-").exists()


def test_a_search_of_other_data_beside_the_output_is_refused_before_the_work(flow, tmp_path, capsys):
    state = tmp_path / "m.search.json"
    fitting = Fitting(flow, budget="1ms", horizon=20)
    fitting.run(checkpoint=state)
    pd.DataFrame({"t": TURN, "x": np.cos(TURN)}).to_csv(flow, index=False)
    kept = state.read_bytes()
    for more in (["--dry-run"], []):
        words = ["forecast", "fit", str(flow), "--budget", "1ms", "--horizon", "20", "--out", str(tmp_path / "m")]
        assert run([*words, *more]) == 2
        assert "m.search.json" in capsys.readouterr().err
    assert state.read_bytes() == kept
    assert not (tmp_path / "m").exists()


def test_a_saved_model_of_any_kind_is_read_where_nothing_else_was_imported(tmp_path):
    Drift().fit(TURN[:, None] + np.sin(TURN)[:, None]).save(tmp_path / "drift")
    code = (
        f"from tokendyn.forecast import Forecaster; print(type(Forecaster.load({str(tmp_path / 'drift')!r})).__name__)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert shown.stdout == "Drift\n"
    assert isinstance(Forecaster.load(tmp_path / "drift"), Drift)
