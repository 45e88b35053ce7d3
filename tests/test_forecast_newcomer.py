"""What a first user brings to a forecast: odd indices, gaps, time zones, units, and wrong calls."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tokendyn as td
from tokendyn.cli import run
from tokendyn.data.snapshots import read_snapshots
from tokendyn.data.snapshots.calendars import time_unit
from tokendyn.errors import BadInputError

ROWS = 96
STEPS = np.arange(ROWS)
WAVE = 20 + 0.1 * STEPS + np.sin(STEPS * np.pi / 6)
GAPPED = np.where(STEPS == 30, np.nan, WAVE)
MONTHS = pd.date_range("2016-01-01", periods=ROWS, freq="MS")
NEXT = 20 + 0.1 * np.arange(ROWS, ROWS + 5) + np.sin(np.arange(ROWS, ROWS + 5) * np.pi / 6)


def predicted(data, **options):
    return td.forecast.run(data, 5, budget=0.2, test_fraction=0.0, **options).predicted()


@pytest.mark.parametrize(
    ("frequency", "zone"), [("h", "Europe/Berlin"), ("D", "Europe/Berlin"), ("MS", "America/New_York")]
)
@pytest.mark.parametrize("fill", [None, "linear"])
def test_dates_of_a_time_zone_go_on_in_it_over_summer_time(frequency, zone, fill):
    dates = pd.date_range("2023-03-24", periods=ROWS + 6, freq=frequency, tz=zone)[1:]
    index = pd.DatetimeIndex(list(dates[:ROWS]))  # without a frequency, as from a file
    table = predicted(pd.DataFrame({"y": WAVE if fill is None else GAPPED}, index=index), fill=fill)
    assert list(table.index) == list(dates[ROWS : ROWS + 5])
    np.testing.assert_allclose(table["y"], NEXT, atol=0.1)


@pytest.mark.parametrize(
    ("index", "after"),
    [
        (2 * STEPS, [192, 194]),
        (0.25 * STEPS, [24.0, 24.25]),
        (pd.timedelta_range("0s", periods=ROWS, freq="15min"), list(pd.to_timedelta(["24h", "24h15min"]))),
        (pd.period_range("2016-01", periods=ROWS, freq="M"), [pd.Period("2024-01"), pd.Period("2024-02")]),
        (pd.RangeIndex(5, 5 + 3 * ROWS, 3), [293, 296]),
        (STEPS[::-1], [96, 97]),
    ],
)
def test_an_index_goes_on_whatever_it_counts(index, after):
    table = predicted(pd.DataFrame({"y": WAVE}, index=index))
    assert list(table.index[:2]) == after
    table = predicted(pd.DataFrame({"y": GAPPED}, index=index), fill="linear")
    assert list(table.index[:2]) == after


def test_filled_data_come_back_as_what_they_were():
    table = predicted(pd.DataFrame({"y": GAPPED}, index=MONTHS), fill="linear")
    assert (list(table.columns), table.index[0]) == (["y"], pd.Timestamp("2024-01-01"))
    table = predicted(pd.DataFrame({"y": WAVE}, index=MONTHS).drop(MONTHS[40]), fill="linear")
    assert table.index[-1] == pd.Timestamp("2024-05-01")
    column = predicted(pd.Series(GAPPED), fill="previous")
    assert isinstance(column, pd.Series)
    assert (column.name, column.index[0]) == (None, ROWS)
    field = np.cos(STEPS[:, None, None] * np.pi / 6 - np.arange(12.0).reshape(3, 4) / 9)
    field[40, 2, 3] = np.nan
    coords = {"time": MONTHS, "lat": np.linspace(-50, 50, 3), "height": 2.0}
    array = xr.DataArray(field, dims=("time", "lat", "lon"), coords=coords, name="u", attrs={"units": "K"})
    dataset = array.to_dataset().assign_attrs(title="waves")
    found = predicted(dataset, fill="linear")
    assert isinstance(found, xr.Dataset)
    assert (found.attrs, dict(found.sizes)) == ({"title": "waves"}, {"time": 5, "lat": 3, "lon": 4})
    found = predicted(array, fill="linear")
    assert (found.name, found.attrs, found.dims) == ("u", {"units": "K"}, ("time", "lat", "lon"))
    point = predicted(array[:, 2, 3], fill="linear")
    assert (point.dims, point.attrs, float(point["height"])) == (("time",), {"units": "K"}, 2.0)
    assert predicted(field, fill="linear").shape == (5, 3, 4)


def test_a_named_column_of_times_and_inputs_keep_the_frame():
    table = predicted(pd.DataFrame({"when": 0.5 * STEPS, "y": WAVE}), time="when")
    assert (table.index.name, list(table.index[:2]), list(table.columns)) == ("when", [48.0, 48.5], ["y"])
    driven = pd.DataFrame({"y": WAVE, "u": np.cos(STEPS)}, index=MONTHS)
    table = predicted(driven, inputs=["u"], future=np.cos(np.arange(ROWS, ROWS + 5))[:, None])
    assert (table.index[0], list(table.columns)) == (pd.Timestamp("2024-01-01"), ["y"])


def test_an_index_is_no_time_beside_a_column_of_times():
    frame = pd.DataFrame({"ds": MONTHS, "y": WAVE}).iloc[10:]
    assert read_snapshots(frame).time_name == "ds"
    numbered = pd.DataFrame({"when": 0.5 * STEPS, "y": WAVE}, index=STEPS + 7)
    assert read_snapshots(numbered, time="when").names == ("y",)
    with pytest.raises(BadInputError, match="missing before row 31"):
        read_snapshots(pd.DataFrame({"y": WAVE}).drop(30))


def test_numbers_in_a_column_of_objects_are_numbers():
    frame = pd.DataFrame({"y": WAVE.astype(object)}, index=MONTHS)
    np.testing.assert_array_equal(read_snapshots(frame).values[:, 0], WAVE)
    assert td.TDDMD(delays=3).fit(frame).n_features_ == 1


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (1e300 * WAVE, {}, "larger unit"),
        (1e200 * (WAVE - 20), {}, "larger unit"),
        (1e-300 * WAVE, {}, "smaller unit"),
        ((STEPS == 95) * 1.0, {"test_fraction": 0.2}, "nothing changes in the first"),
        (WAVE, {"budget": "soon"}, "budget"),
        (WAVE, {"budget": -1.0}, "budget is -1"),
        (WAVE, {"horizon": True}, "horizon is True"),
    ],
)  # fmt: skip
def test_what_cannot_be_forecast_is_one_message(data, options, message):
    with pytest.raises(BadInputError, match=message):
        td.forecast.run(data, **{"horizon": 5, "budget": 0.2, **options})


def test_a_fit_refuses_numbers_whose_squares_are_none():
    for factor, message in ((1e200, "column 0.*larger unit"), (1e-200, "column 0.*smaller unit")):
        with pytest.raises(BadInputError, match=message):
            td.TDDMD(delays=2).fit(factor * (WAVE - 20))


def test_a_budget_may_be_text():
    assert len(td.forecast.run(WAVE, 3, budget="0.2s").predicted()) == 3


@pytest.mark.usefixtures("unchecked")
def test_a_run_comes_back_from_its_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"month": MONTHS, "sold": WAVE}).to_csv("sales.csv", index=False)
    assert run(["forecast", "run", "sales.csv", "--horizon", "6", "--budget", "0.3s", "--out", "sales"]) == 0
    said = capsys.readouterr().err
    again = td.load("sales")
    assert isinstance(again, td.forecast.ForecastRun)
    assert str(again).splitlines()[1] in said
    table = pd.read_csv("sales/forecast.csv")
    np.testing.assert_array_equal(again.table()["sold"], table["sold"])
    np.testing.assert_array_equal(again.model.predict(6).values[:, 0], table["sold"])
    assert run(["report", "sales", "--out", "page.html"]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Why this model" in page
    assert "per month" in page
    assert "2024-01-01 00:00:00" not in page
    record = (tmp_path / "sales" / "run.json").read_text(encoding="utf-8")
    (tmp_path / "sales" / "run.json").write_text(record.replace('"rows"', '"rose"'), encoding="utf-8")
    with pytest.raises(BadInputError, match="damaged"):
        td.load("sales")
    (tmp_path / "sales" / "run.json").write_text(record.replace('"run": {', '"old": {'), encoding="utf-8")
    with pytest.raises(BadInputError, match="earlier version"):
        td.load("sales")


@pytest.mark.usefixtures("unchecked")
def test_a_run_of_fields_comes_back_from_its_folder(tmp_path):
    field = np.cos(STEPS[:, None, None] * np.pi / 6 - np.arange(12.0).reshape(3, 4) / 9)
    field[:, 1, 1] = np.nan
    array = xr.DataArray(field, dims=("time", "lat", "lon"), coords={"time": MONTHS}, name="u")
    result = td.forecast.run(array, 5, budget=0.2)
    result.save(tmp_path / "run")
    again = td.load(tmp_path / "run")
    xr.testing.assert_identical(again.predicted(), result.predicted())
    assert again.describe() == result.describe()
    assert again.skill().equals(result.skill())


def test_skill_is_the_error_that_numpy_computes():
    result = td.forecast.run(WAVE + np.random.default_rng(0).normal(size=ROWS), 10, budget=0.2)
    errors = dict(zip(result.skill()["model"], result.skill()["error"], strict=True))
    held = result.held_out
    truth = np.asarray(held.truths)[:, :, 0]
    first = [int(np.flatnonzero(np.isclose(WAVE_NOISY, row[0]))[0]) for row in truth]
    learned = WAVE_NOISY[: ROWS - max(10, round(0.2 * ROWS))]
    last = [
        np.sqrt((((WAVE_NOISY[at - 1] - row) / learned.std()) ** 2).mean())
        for at, row in zip(first, truth, strict=True)
    ]
    assert errors["the last snapshot"] == pytest.approx(np.median(last))
    own = np.sqrt((((np.asarray(held.forecasts)[:, :, 0] - truth) / learned.std()) ** 2).mean(axis=1))
    assert held.nrmse == pytest.approx(np.median(own))


WAVE_NOISY = WAVE + np.random.default_rng(0).normal(size=ROWS)


def test_rates_are_told_in_the_unit_of_the_calendar():
    assert time_unit("MS", "2020-01-01", 1.0) == ("month", 1.0)
    assert time_unit("2MS", "2020-01-01", 1.0) == ("2 months", 1.0)
    assert time_unit("noleap", "2020-01-01", 86400.0) == ("day", 86400.0)
    assert time_unit(None, "2020-01-01", 0.01) == ("second", 1.0)
    assert time_unit(None, None, 1.0) is None


def test_one_snapshot_of_an_oscillation_is_hinted_at(tmp_path):
    model = td.TDDMD(delays=1).fit(np.sin(0.3 * STEPS))
    assert "more delays" in str(model.explain())
    model.save(tmp_path / "model")
    assert td.load(tmp_path / "model").explain().hint == model.hint_
    rng = np.random.default_rng(0)
    noise = np.zeros(300)
    for k in range(1, 300):
        noise[k] = 0.8 * noise[k - 1] + rng.normal()
    both = np.stack([np.sin(0.3 * STEPS), np.cos(0.3 * STEPS)], axis=1)
    assert [td.TDDMD(delays=d).fit(x).hint_ for d, x in ((1, noise), (1, both), (2, WAVE))] == ["", "", ""]


def test_a_search_says_the_skill_of_each_family():
    search = td.auto_forecaster(WAVE + np.random.default_rng(0).normal(size=ROWS), budget=0.2)
    table = search.skills()
    best = {}
    for trial in search.trials:
        best[trial.family] = min(best.get(trial.family, np.inf), trial.score)
    assert dict(zip(table["family"], table["lost"], strict=True)) == best
    np.testing.assert_allclose(table["skill"], 1 - table["lost"] / best["naive"])
    assert "skill against naive" in str(search)


def test_semicolons_between_columns_and_commas_in_numbers_are_read_and_dotted_dates_begin_with_the_day(tmp_path):
    file = tmp_path / "s.csv"
    file.write_text("Datum;Wert\n01.01.2016;1,5\n01.02.2016;-2,5\n01.03.2016;3,25e1\n", encoding="utf-8")
    series = read_snapshots(file, "Datum")
    np.testing.assert_array_equal(series.values[:, 0], [1.5, -2.5, 32.5])
    assert (series.names, series.step_words) == (("Wert",), "1 month")
    file.write_text("x;y\n1.5;2\n3.5;4\n", encoding="utf-8")
    np.testing.assert_array_equal(read_snapshots(file).values, [[1.5, 2], [3.5, 4]])


def test_a_gap_in_a_field_is_named_by_field_and_cell():
    field = np.random.default_rng(0).normal(size=(30, 5, 8))
    field[7, 3, 6] = np.nan
    with pytest.raises(BadInputError, match=r"'x\[3, 6\]' is NaN in row 8"):
        read_snapshots(field)
    field[:, 0, 0] = np.nan  # a masked point is no feature, and shifts none of the names
    sea = xr.DataArray(field, dims=("time", "lat", "lon"), coords={"lat": np.arange(5.0)}, name="sst").to_dataset()
    with pytest.raises(BadInputError, match=r"'sst\[lat=3, lon=6\]' is NaN in row 8"):
        read_snapshots(sea.assign(ssh=sea["sst"].fillna(0.0)))


def test_messages_of_files_say_what_they_may_be(tmp_path):
    mixed = tmp_path / "s.csv"
    for text, message in (
        ("x;y\n1,5;2.5\n3,5;4\n", "holds '1,5' and line 2 '2.5'"),
        ("x;y\n1,500;2\n3,500;4\n", "may stand for a point or part thousands"),
        ("x;y\n1.500,25;2,25\n3,5;4\n", r"'x' is text, '1\.500,25'"),
    ):
        mixed.write_text(text, encoding="utf-8")
        with pytest.raises(BadInputError, match=message):
            read_snapshots(mixed)
    two = {"t": np.tile(0.1 * np.arange(20), 2), "y": np.sin(np.arange(40))}
    with pytest.raises(BadInputError, match="several series"):
        read_snapshots(two)
