"""From data to a forecast in one call and in one command: what is found, what is written, what comes back."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tokendyn as td
from tokendyn.cli import run
from tokendyn.data.snapshots import read_snapshots, snapshots
from tokendyn.errors import BadInputError
from tokendyn.forecast.checks import far_points
from tokendyn.forecast.continuation import season_of, usual_horizon

ROWS = 120
STEPS = np.arange(ROWS)
SOLD = 50 + STEPS + 9 * np.sin(np.pi * STEPS / 6)
MONTHS = pd.date_range("2010-01-01", periods=ROWS, freq="MS")
NEXT = 50 + np.arange(ROWS, ROWS + 24) + 9 * np.sin(np.pi * np.arange(ROWS, ROWS + 24) / 6)


def sea(rows=ROWS):
    """A sea of 9 x 12 points with two waves and an island."""
    time, space = np.arange(rows)[:, None, None], np.arange(108.0).reshape(9, 12)
    field = 10 + np.cos(np.pi * time / 6 - space / 9) + 0.3 * np.sin(0.3 * time + space / 17)
    field[:, 2:4, 3:6] = np.nan
    coords = {"time": pd.date_range("2010-01-01", periods=rows, freq="MS"), "lat": np.linspace(-40, 40, 9)}
    return xr.DataArray(field, dims=("time", "lat", "lon"), coords=coords, name="sst", attrs={"units": "K"})


def test_months_go_on_as_what_they_were_and_the_model_is_better_than_naive_ones():
    frame = pd.DataFrame({"sold": SOLD}, index=MONTHS)
    result = td.forecast(frame, budget=0.5)
    assert (result.season, result.status, result.rows) == (12, "completed", ROWS)
    table = result.predicted()
    assert list(table.index) == list(pd.date_range("2020-01-01", periods=24, freq="MS"))
    np.testing.assert_allclose(table["sold"], NEXT, rtol=1e-3)
    skill = result.skill()
    errors = dict(zip(skill["model"], skill["error"], strict=True))
    assert all(errors[result.family] < 1e-6 * error for name, error in errors.items() if "TD-DMD" not in name)
    assert skill["error"].is_monotonic_increasing
    assert "24 months" in str(result)
    named = td.forecast.run(frame.rename_axis("ds").reset_index(), 3, budget=0.5).predicted()
    assert (named.index.name, named.index[-1]) == ("ds", pd.Timestamp("2020-03-01"))


def test_fields_come_back_with_coordinates_and_land():
    field = sea(144)
    result = td.forecast(field[:ROWS], 24, budget=0.5)
    predicted = result.predicted()
    assert (predicted.dims, predicted.name, predicted.attrs) == (field.dims, "sst", {"units": "K"})
    np.testing.assert_array_equal(predicted["time"], field["time"][ROWS:])
    np.testing.assert_allclose(predicted, field[ROWS:], atol=0.02)
    assert result.model.kept_ > 0.999
    period = 1 / result.spectrum.frequencies[np.abs(result.spectrum.frequencies) > 0.07][0]
    assert abs(period) == pytest.approx(12, rel=1e-3)
    assert result.maps
    array = td.forecast(np.nan_to_num(field.values[:ROWS]), 3, budget=0.5).predicted()
    assert array.shape == (3, 9, 12)


@pytest.mark.usefixtures("unchecked")
def test_the_command_writes_forecast_model_page_and_record(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"month": MONTHS, "sold": SOLD}).to_csv("sales.csv", index=False)
    sea().to_dataset().to_netcdf("sea.nc", engine="h5netcdf")
    assert run(["forecast", "run", "sales.csv", "--horizon", "6", "--budget", "0.5s", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["steps"] == 6
    assert "season of 12 months" in printed.err
    table = pd.read_csv(tmp_path / "sales-forecast" / "forecast.csv")
    assert list(table["month"])[:2] == ["2020-01-01", "2020-02-01"]
    page = (tmp_path / "sales-forecast" / "report.html").read_text(encoding="utf-8")
    assert "Why this model" in page
    assert "tokendyn forecast run sales.csv" in page
    predict = ["forecast", "predict", "sales-forecast/model", "--steps", "6"]
    assert run(predict) == 0
    np.testing.assert_allclose(float(capsys.readouterr().out.splitlines()[1].split(",")[1]), table["sold"][0])
    assert run(["forecast", "run", "sea.nc", "--horizon", "6", "--budget", "0.5s", "--out", "sea"]) == 0
    with xr.open_dataset(tmp_path / "sea" / "forecast.nc", engine="h5netcdf") as dataset:
        assert dataset["sst"].shape == (6, 9, 12)
        assert np.isnan(dataset["sst"].values[:, 2:4, 3:6]).all()
    assert (tmp_path / "sea" / "report.html").read_text(encoding="utf-8").count("<figcaption>") == 5
    assert run(["forecast", "run", "sea.nc", "--out", "sea"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_what_is_not_told_is_found_from_the_data():
    table = pd.DataFrame({"date": MONTHS, "sold": SOLD, "flat": 1.0})
    series = read_snapshots(table)
    assert (season_of(series), usual_horizon(series)) == (12, 24)
    plain = read_snapshots(np.cumsum(np.random.default_rng(0).normal(size=90)))
    assert usual_horizon(plain) == (9 if season_of(plain) is None else 18)
    short = td.forecast(SOLD[:14], 5, budget=0.3)
    assert short.predicted().shape == (5, 1)
    assert any("short" in note for note in short.notes)


def test_a_saved_run_loads_as_the_run_and_its_model(tmp_path):
    result = td.forecast(pd.DataFrame({"sold": SOLD}, index=MONTHS), 6, budget=0.5)
    result.save(tmp_path / "run")
    again = td.load(tmp_path / "run")
    assert (again.status, again.family, len(again.forecast.values)) == (result.status, result.family, 6)
    np.testing.assert_array_equal(again.predicted()["sold"], result.predicted()["sold"])
    np.testing.assert_array_equal(
        td.load(tmp_path / "run" / "model").predict(6)["sold"], result.model.predict(6)["sold"]
    )


def test_bad_requests_are_one_message():
    for options, message in (
        ({"horizon": 0}, "horizon is 0"), ({"test_fraction": 1.0}, "test_fraction is 1"),
        ({"columns": ["none"]}, "no column 'none'"),
    ):  # fmt: skip
        with pytest.raises(BadInputError, match=message):
            td.forecast(pd.DataFrame({"sold": SOLD}), **{"budget": 0.3, **options})
    driven = pd.DataFrame({"sold": SOLD, "price": np.cos(STEPS)})
    with pytest.raises(BadInputError, match="inputs price; give those to come with future"):
        td.forecast(driven, 3, inputs=["price"], budget=0.3)
    future = np.cos(np.arange(ROWS, ROWS + 3))[:, None]
    assert td.forecast(driven, 3, inputs=["price"], future=future, budget=0.3).predicted().values.shape == (3, 1)


def runs(rows=120):
    """Three tables of one motion, begun at other phases."""
    steps = np.arange(rows)
    phases = {"a": 0.0, "b": 1.0, "c": 2.5}
    return {name: pd.DataFrame({"t": 0.5 * steps, "x": np.sin(0.3 * steps + at)}) for name, at in phases.items()}


@pytest.mark.usefixtures("unchecked")
def test_several_series_share_a_model_and_each_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pd.concat([table.assign(run=name) for name, table in runs().items()]).to_csv("runs.csv", index=False)
    assert run(["forecast", "run", "runs.csv", "--series", "run", "--horizon", "4", "--budget", "0.3s"]) == 0
    said = capsys.readouterr().err
    assert said.count("snapshots in 3 series") == 1
    assert "skill" in said
    table = pd.read_csv(tmp_path / "runs-forecast" / "forecast.csv")
    assert list(table["run"]) == [name for name in "abc" for _ in range(4)]
    truth = np.concatenate([t["x"] for t in runs(124).values()]).reshape(3, -1)[:, 120:]
    np.testing.assert_allclose(table["x"].to_numpy().reshape(3, 4), truth, atol=1e-6)
    again = td.load(tmp_path / "runs-forecast")
    pd.testing.assert_frame_equal(again.table(), table, check_exact=False)
    page = (tmp_path / "runs-forecast" / "report.html").read_text(encoding="utf-8")
    assert page.count("The end of the data, and the forecast") >= 3


def test_a_list_of_tables_gives_a_list_of_tables():
    tables = [table.set_index("t") for table in runs().values()]
    result = td.forecast(tables, 2, budget=0.3)
    assert [list(table.index) for table in result.predicted()] == [[60.0, 60.5]] * 3
    assert [part.past.label for part in result.split()] == ["0", "1", "2"]
    driven = [table.assign(u=np.cos(table["x"])) for table in tables]
    with pytest.raises(BadInputError, match="3 series with inputs; forecast one at a time"):
        td.forecast(driven, 2, inputs=["u"], budget=0.3)


def test_fields_of_several_series_are_written_one_by_one(tmp_path):
    field = np.nan_to_num(sea(60).values)
    td.forecast([field, field[::-1]], 2, budget=0.3).save(tmp_path / "seas")
    assert sorted(file.name for file in (tmp_path / "seas").glob("*.nc")) == ["forecast-1.nc", "forecast-2.nc"]
    assert td.load(tmp_path / "seas").predicted()[1].shape == (2, 9, 12)


@pytest.mark.parametrize(("rows", "period"), [(400, 130), (1000, 300), (90, 9)])
def test_spikes_that_repeat_are_told_as_a_season_also_where_few_periods_are_seen(rows, period):
    spikes = (np.arange(rows + 2 * period) % period == 0).astype(float)
    result = td.forecast(spikes[:rows], 2 * period, budget=0.5)
    assert f"seasonal naive of {period} steps" in result.family
    np.testing.assert_allclose(result.predicted()[:, 0], spikes[rows:], atol=1e-9)


@pytest.mark.usefixtures("unchecked")
def test_a_run_that_is_stopped_goes_on_from_what_its_search_had_tried(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    steps = np.arange(400)
    pd.DataFrame({"x": np.sin(0.3 * steps) + np.sin(0.41 * steps)}).to_csv("beats.csv", index=False)
    command = ["forecast", "run", "beats.csv", "--horizon", "9", "--budget", "0.3s", "--out", "beats"]
    monkeypatch.setattr("tokendyn.forecast.held_out.measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(command) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert json.loads((tmp_path / "beats.search.json").read_text(encoding="utf-8"))["trials"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run(command) == 0
    assert "going on from beats.search.json" in capsys.readouterr().err
    assert not (tmp_path / "beats.search.json").exists()


def test_what_turns_negative_where_it_is_held_out_is_forecast_all_the_same():
    rng = np.random.default_rng(3)
    rising = 1 + 0.2 * np.arange(30) + 0.1 * rng.normal(size=30)
    values = np.r_[rising, 4.0, 2.0, -1.0, -2.0, -3.0, -2.0, -1.0, 0.0][:, None]
    run = td.forecast(values, 2, budget=0.3)
    assert run.status == "completed"
    assert "logarithm" not in run.family
    assert np.isfinite(run.predicted()).all()


def test_a_tie_with_the_linear_model_is_no_warning_and_one_with_a_naive_model_is():
    values = 10 + np.sin(np.arange(100.0) * 0.5) + 0.1 * np.random.default_rng(1).normal(size=100)
    run = td.forecast(values[:, None], budget=0.3)
    own = run.held_out.nrmse
    tie = dataclasses.replace(run, errors={"the mean": 2 * own, "TD-DMD of 10 delays": 0.98 * own})
    assert "warning" not in str(tie)
    linear = dataclasses.replace(run, errors={"the mean": 2 * own, "TD-DMD of 10 delays": 0.5 * own})
    assert "TD-DMD of 10 delays is clearly better" in str(linear)
    naive = dataclasses.replace(run, errors={"the mean": own, "TD-DMD of 10 delays": 0.5 * own})
    assert "no better than one that learns nothing" in str(naive)


def test_a_far_point_and_an_end_that_was_filled_are_told():
    sold = np.append(SOLD, [np.nan, np.nan])
    sold[40] *= 10
    result = td.forecast(sold, 3, budget=0.1, fill="linear")
    assert result.rows == ROWS + 2
    first, second = result.notes[-2:]
    assert first.startswith("the last 2 rows lack numbers")
    assert second.startswith(f"x is {sold[40]:.4g} in row 41, far from all others")


def test_jumps_spikes_and_growth_are_no_far_points():
    steps = np.arange(200.0)
    rows = [steps > 99, steps % 20 == 0, 1.1**steps, np.random.default_rng(0).standard_normal(200)]
    assert not far_points(np.stack(rows, axis=1).astype(float))


def test_rows_that_are_held_at_the_end_stay_the_last_ones_of_a_slice():
    series = snapshots(np.append(SOLD, [np.nan, np.nan]), fill="previous")
    assert [part.held for part in (series, series[-1:], series[:-1], series[:100])] == [2, 1, 1, 0]
