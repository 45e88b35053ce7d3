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
from tokendyn.forecast.checks import far_points
from tokendyn.forecast.doubts import marks_of_gaps
from tokendyn.forecast.forecasts import netcdf_of, stamps
from tokendyn.show.axes import new_figure
from tokendyn.show.vector import narrowed

ROWS = 60
STEPS = np.arange(ROWS)
WAVE = np.cos(STEPS * np.pi / 6)
DAYS = pd.date_range("2021-03-01", periods=ROWS, freq="D")
#: A fit takes no time, and a forecast of it is exact.
FIT = ["--model", "tddmd", "--delays", "4", "--horizon", "5"]


@pytest.mark.usefixtures("unchecked")
def test_a_model_of_a_run_knows_how_its_data_were_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tokendyn.show.write_report", lambda page, path: None)
    monkeypatch.setattr(td.forecast.ForecastRun, "page", lambda *_, **__: None)
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


def street(rows=ROWS, step=0.05):
    """Two waves behind a body in a flow, almost still far from it, over seconds."""
    times, y, x = step * np.arange(rows), np.linspace(-2, 2, 9), np.linspace(-1, 4, 11)
    wave = np.exp(-4 * y[:, None] ** 2) * np.cos(2 * times[:, None, None] - x)
    noise = 0.01 * np.random.default_rng(0).standard_normal((2, *wave.shape))
    wave[:, (y[:, None] ** 2 + x**2) < 0.3] = np.nan
    coords = {"time": ("time", times, {"units": "s", "long_name": "time"}), "y": y, "x": ("x", x, {"units": "m"})}
    dims = ("time", "y", "x")
    fields = {"u": (dims, 3 + wave + noise[0], {"units": "m s-1"}), "v": (dims, 0.1 * (wave + noise[1]))}
    return xr.Dataset(fields, coords=coords, attrs={"case": "street"})


@pytest.mark.usefixtures("unchecked")
def test_a_flow_keeps_its_units_and_its_error_is_one_of_the_whole_field(tmp_path):
    flow = street()
    flow.to_netcdf(tmp_path / "flow.nc", engine="h5netcdf")
    result = td.forecast.run(tmp_path / "flow.nc", 5, budget=0.2)
    assert "dt = 0.05 s" in str(result)
    assert "forecast of 0.25 s" in str(result)
    ahead = result.predicted()
    assert ahead.time_unit == ("s", 1.0)
    held, learned = result.held_out, flow.isel(time=slice(0, ROWS - 12))
    spread = {name: float(np.sqrt(learned[name].var("time").mean())) for name in flow}
    scale = np.where(ahead.grid.variable_of == 0, spread["u"], spread["v"])
    errors = np.sqrt((((np.asarray(held.forecasts) - held.truths) / scale) ** 2).mean(axis=(1, 2)))
    assert held.nrmse == pytest.approx(np.median(errors))
    assert held.nrmse < 0.2 < result.errors["the mean"]  # far from the body there is nothing but noise
    assert held.valid_time == pytest.approx(0.25)
    given = td.forecast.run(flow, 5, budget=0.2).predicted()
    assert (given["time"].attrs, given["u"].attrs, given["x"].attrs, given.attrs) == (
        flow["time"].attrs, flow["u"].attrs, flow["x"].attrs, flow.attrs,
    )  # fmt: skip
    written = netcdf_of(result.forecast)
    assert written["time"].attrs["units"] == "s"
    np.testing.assert_allclose(written["time"], 0.05 * np.arange(ROWS, ROWS + 5))


def test_errors_of_fields_count_cell_areas():
    latitude = np.array([0.0, 60.0])
    field = np.random.default_rng(0).standard_normal((40, 2, 3)) * np.array([1.0, 3.0])[:, None]
    array = xr.DataArray(field, dims=("time", "lat", "lon"), coords={"lat": latitude})
    grid = td.TDDMD(delays=1).fit(array).form_.grid
    areas = np.repeat(np.cos(np.deg2rad(latitude)), 3)
    variances = field.reshape(40, 6).var(axis=0)
    errors = np.arange(1.0, 7.0)
    expected = (areas * errors**2).sum() / (areas * variances).sum()
    assert ((errors / grid.deviations(variances)) ** 2).mean() == pytest.approx(expected)
    columns = td.TDDMD(delays=1).fit(read_snapshots(np.random.default_rng(0).standard_normal((40, 3)))).form_.grid
    assert columns.deviations(np.ones(3)) is None


def test_marks_of_missing_numbers_and_a_far_last_row_are_told():
    marked = np.where((STEPS == 5) | (STEPS == 6), -999.0, WAVE)
    assert marks_of_gaps(np.stack([marked, WAVE, np.full(ROWS, -999.0), -999.0 + WAVE], axis=1)) == [(-999.0, 0, 2)]
    assert any("x is -999 in 2 rows" in note for note in td.forecast.run(marked, 2, budget=0.05).notes)
    assert far_points(np.where(STEPS == ROWS - 1, 1e3, WAVE)[:, None]) == [(ROWS - 1, 0)]


def test_times_that_are_numbers_are_written_with_the_digits_of_their_steps():
    for first, step, last in ((1.6e12, 1.0, "1600000000059"), (0.0, 0.1, "5.9"), (1e5, 1e-9, "100000.000000059")):
        series = read_snapshots({"t": first + step * STEPS, "y": WAVE})
        assert stamps(series.times[-1:], series)[0][: len(last)] == last


def test_dates_over_centuries_go_on():
    table = pd.DataFrame({"y": WAVE}, index=pd.date_range("2001-01-01", periods=ROWS, freq="10YS"))
    assert [day.year for day in td.forecast.run(table, 2, budget=0.05).predicted().index] == [2601, 2611]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones((2, 90)) * [[1.0], [2.0]], "2 snapshots; a search needs at least 8; rows are snapshots"),
        ({"t": STEPS, "u": np.ones((4, ROWS))}, "time is the first axis: transpose 'u'"),
        ({"y": np.array(["10.01%"] * 9)}, "choose columns of numbers$"),
    ],
)
def test_messages_name_the_remedy(data, message):
    with pytest.raises(BadInputError, match=message):
        td.forecast.run(data, 2, budget=0.05)


def test_files_of_other_libraries_have_a_way_here(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    (tmp_path / "a.zarr").mkdir()
    for name, message in (("a.mat", "loadmat"), ("a.zarr", "open_zarr")):
        with pytest.raises(BadInputError, match=message):
            read_snapshots(tmp_path / name)


def test_a_colour_bar_follows_its_axes_to_a_narrow_screen():
    figure = new_figure(9.5, 10.8)
    for axes in figure.subplots(4, 2).flat:
        figure.colorbar(axes.pcolormesh(np.eye(3)), ax=axes, shrink=0.85)
    figure.draw_without_rendering()
    with narrowed(figure):
        figure.draw_without_rendering()  # a warning says that no room is left for the axes
        heights = [axes.get_position().height for axes in figure.axes]
        assert max(heights) < 1 / 8
    figure.draw_without_rendering()
    assert min(axes.get_position().height for axes in figure.axes) > 1 / 8


def test_inputs_to_come_are_the_rows_after_the_data():
    table = pd.DataFrame({"y": np.convolve(WAVE, [0.5, 0.2])[:ROWS], "push": WAVE})
    ahead = np.cos(np.arange(ROWS, ROWS + 9) * np.pi / 6)
    options = {"inputs": ["push"], "budget": 0.05}
    three, nine = (td.forecast.run(table, 3, future=ahead[:k], **options).predicted() for k in (3, 9))
    assert three.equals(nine)
    for future, message in (
        (ahead[:2], r"shape \(2, 1\), expected \(3, 1\): push of each"),
        (np.ones((3, 2)), r"shape \(3, 2\)"),
        (np.full(3, np.nan), "future has gaps"),
    ):
        with pytest.raises(BadInputError, match=message):
            td.forecast.run(table, 3, future=future, **options)


def test_requests_that_fit_no_series_are_one_message():
    with pytest.raises(BadInputError, match="have 1, 2 columns"):
        td.forecast.run([WAVE, np.stack([WAVE, WAVE**2], axis=1)], 2, budget=0.05)
    with pytest.raises(BadInputError, match="seed is -1"):
        td.forecast.run(WAVE, 2, seed=-1)
    with pytest.raises(BadInputError, match=r"no column besides a, b$"):
        td.forecast.run(pd.DataFrame({"a": WAVE, "b": WAVE}), 2, inputs=["a", "b"])
