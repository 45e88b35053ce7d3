"""Whatever a file or an object calls its arrays, times and gaps, a forecast knows them again."""

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tokendyn as td
from tokendyn.cli import run
from tokendyn.data.snapshots import read_snapshots
from tokendyn.errors import BadInputError

ROWS = 60
STEPS = np.arange(ROWS)
WAVE = np.cos(STEPS * np.pi / 6)
DAYS = pd.date_range("2021-03-01", periods=ROWS, freq="D")
#: A fit takes no time, and a forecast of it is exact.
FIT = ["--model", "tddmd", "--delays", "4", "--horizon", "5"]


@pytest.mark.usefixtures("unchecked")
def test_a_model_of_a_run_knows_how_its_data_were_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"time": STEPS, "y": WAVE, "other": 1.0 / (1 + STEPS), "push": np.sin(STEPS / 3)})
    table.loc[5, "y"] = np.nan
    table.to_csv("y.csv", index=False)
    table.assign(time=STEPS + ROWS).to_csv("next.csv", index=False)
    read = ["--columns", "y", "--inputs", "push", "--fill", "linear", "--future", "next.csv"]
    assert run(["forecast", "run", "y.csv", *read, "--horizon", "3", "--budget", "0.1s", "--out", "o"]) == 0
    capsys.readouterr()
    said = []
    for data in ([], ["y.csv"]):
        assert run(["forecast", "predict", "o/model", *data, "--steps", "3", "--future", "next.csv"]) == 0
        said.append(capsys.readouterr().out.splitlines())
    assert said[0] == said[1]
    assert said[0] == (tmp_path / "o" / "forecast.csv").read_text(encoding="utf-8").splitlines()


@pytest.mark.usefixtures("unchecked")
def test_several_series_are_told_apart_as_when_the_model_was_fitted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    parts = [
        pd.DataFrame({"s": name, "t": STEPS, "y": np.cos(STEPS * np.pi / 6 + at)}) for at, name in enumerate("abcd")
    ]
    pd.concat(parts).to_csv("s.csv", index=False)
    assert run(["forecast", "fit", "s.csv", "--series", "s", *FIT, "--out", "m"]) == 0
    capsys.readouterr()
    assert run(["forecast", "predict", "m", "s.csv", "--steps", "1"]) == 0
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:2] for row in rows] == [[name, str(ROWS)] for name in "abcd"]
    np.testing.assert_allclose([float(row[2]) for row in rows], np.cos(ROWS * np.pi / 6 + np.arange(4)), atol=1e-9)


@pytest.mark.usefixtures("unchecked")
def test_arrays_in_a_group_of_hdf5_have_its_times_and_are_written_as_netcdf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    field = np.cos(STEPS[:, None, None] * np.pi / 6 - np.arange(6.0).reshape(2, 3))
    with h5py.File("flow.h5", "w") as file:
        file["run/u"], file["run/time"] = field, 0.5 * STEPS
    assert run(["forecast", "fit", "flow.h5", *FIT, "--out", "m"]) == 0
    assert run(["forecast", "predict", "m", "--steps", "2", "--out", "next.nc"]) == 0
    with xr.open_dataset("next.nc", engine="h5netcdf") as found:
        np.testing.assert_allclose(found["time"], [30.0, 30.5])
        after = np.cos(np.arange(ROWS, ROWS + 2)[:, None, None] * np.pi / 6 - np.arange(6.0).reshape(2, 3))
        np.testing.assert_allclose(found["run_u"], after, atol=1e-9)


def test_bands_have_names_that_no_column_has():
    table = pd.DataFrame({"y": WAVE, "y_lower": np.sin(STEPS * np.pi / 6)}, index=DAYS)
    model = td.TDDMD(delays=4).fit(table)
    model.calibrate(table, horizon=5)
    forecast = model.forecast(5)
    names = ["y", "y_lower", "y_band_lower", "y_band_upper", "y_lower_lower", "y_lower_upper"]
    assert list(forecast.table().columns) == names
    array = xr.Dataset({name: ("time", table[name]) for name in table}, coords={"time": DAYS})
    forecast = td.TDDMD(delays=4).fit(array).calibrate(array, horizon=5).forecast(5)
    from tokendyn.forecast.forecasts import netcdf_of

    assert set(netcdf_of(forecast).data_vars) == set(names)


def test_what_is_masked_is_no_number():
    masked = np.ma.masked_array(np.where(STEPS == 7, 1e20, WAVE), STEPS == 7)
    with pytest.raises(BadInputError, match="NaN in row 8"):
        read_snapshots(masked)
    with pytest.raises(BadInputError, match="gaps"):
        td.TDDMD(delays=2).fit(masked)
    filled = read_snapshots({"y": masked}, fill="linear").values[:, 0]
    assert filled[7] == pytest.approx((WAVE[6] + WAVE[8]) / 2)
    land = np.zeros((ROWS, 2, 3), dtype=bool)
    land[:, 1, 2] = True
    sea = np.ma.masked_array(np.broadcast_to(WAVE[:, None, None], land.shape), land)
    assert read_snapshots(sea).values.shape == (ROWS, 5)
    assert td.TDDMD(delays=3).fit(sea).n_features_ == 5


def test_numbers_are_numbers_in_lists_and_arrays_of_objects():
    for data in (list(WAVE), tuple(WAVE), np.array(list(WAVE), dtype=object)):
        np.testing.assert_array_equal(read_snapshots(data).values[:, 0], WAVE)
    assert td.forecast.run([[x, -x] for x in WAVE], 2, budget=0.1).predicted().shape == (2, 2)
    with pytest.raises(BadInputError, match="differ in length"):
        td.forecast.run([[1.0, 2.0], [3.0]], 2, budget=0.1)


@pytest.mark.parametrize(
    ("times", "first", "step"),
    [
        (pd.date_range("2001-01-01", periods=ROWS, freq="MS").strftime("%Y%m").astype(int), "2001-01-01", "1 month"),
        (pd.date_range("2001-01-31", periods=ROWS, freq="ME").strftime("%Y%m%d").astype(int), "2001-01-31", "1 month"),
        (DAYS.strftime("%Y%m%d").astype(int), "2021-03-01", "1 day"),
        ([f"{2001 + k // 4}-Q{k % 4 + 1}" for k in STEPS], "2001-01-01", "1 quarter"),
        (100_000 + STEPS, None, "1"),
    ],
)  # fmt: skip
def test_dates_may_be_numbers_or_quarters(times, first, step):
    series = read_snapshots(pd.DataFrame({"date": times, "y": WAVE}))
    assert (series.epoch and series.epoch[:10], series.step_words) == (first, step)


def test_an_index_of_texts_that_are_dates_goes_on():
    table = pd.DataFrame({"y": WAVE}, index=[str(day.date()) for day in DAYS])
    expected = pd.date_range("2021-04-30", periods=2)
    assert list(td.TDDMD(delays=4).fit(table).predict(2).index) == list(expected)
    assert list(td.forecast.run(table, 2, budget=0.1).predicted().index) == list(expected)
    assert read_snapshots(table.set_axis([f"row {k}" for k in STEPS])).epoch is None


def test_an_index_of_levels_is_not_one_series():
    levels = pd.MultiIndex.from_product([["a", "b"], range(ROWS // 2)])
    for call in (read_snapshots, td.TDDMD(delays=2).fit):
        with pytest.raises(BadInputError, match="index of 2 levels"):
            call(pd.DataFrame({"y": WAVE}, index=levels))


def test_parquet_keeps_dates_of_a_zone_and_of_an_index(tmp_path):
    file = tmp_path / "y.parquet"
    pd.DataFrame({"when": DAYS.tz_localize("Europe/Berlin"), "y": WAVE}).to_parquet(file)
    assert read_snapshots(file, "when").step_words == "1 day"  # across the night in which summer time begins
    for index in (DAYS, pd.period_range("2021-03-01", periods=ROWS, freq="D")):
        pd.DataFrame({"y": WAVE}, index=index).to_parquet(file)
        series = read_snapshots(file)
        assert (series.names, series.epoch, series.step_words) == (("y",), "2021-03-01T00:00:00", "1 day")
    pd.DataFrame({"y": WAVE}).iloc[::-1].to_parquet(file)
    assert read_snapshots(file).names == ("y",)
