"""Calendars of tables: steps of months, quarters, years and business days, against the dates of pandas."""

import numpy as np
import pandas as pd
import pytest

from tokendyn.data.snapshots import dates_after, read_snapshots
from tokendyn.data.snapshots.calendars import seasons_of
from tokendyn.errors import BadInputError
from tokendyn.forecast import TDDMD
from tokendyn.forecast.reading import future_inputs

ROWS = 60
VALUES = 100 + np.arange(ROWS) + 10 * np.sin(2 * np.pi * np.arange(ROWS) / 12)
#: Frequency of pandas, name of the column of times, one step in words, season.
CALENDARS = [
    ("MS", "month", "1 month", (12,)),
    ("ME", "ds", "1 month", (12,)),
    ("BMS", "t", "1 month", (12,)),
    ("BME", "time", "1 month", (12,)),
    ("QS", "Date", "1 quarter", (4,)),
    ("QE", "timestamp", "1 quarter", (4,)),
    ("QS", "quarter", "1 quarter", (4,)),
    ("YS", "year", "1 year", ()),
    ("YE", "DATE", "1 year", ()),
    ("2MS", "datetime", "2 months", (6,)),
    ("B", "Unnamed: 0", "1 business day", (5,)),
    ("W-SUN", "date", "7 days", (52,)),
    ("D", "Date", "1 day", (7,)),
    ("h", "DateTime", "1 hour", (24, 168)),
]


def dated(frequency, column="ds"):
    dates = pd.date_range("1990-03-01", periods=ROWS, freq=frequency)
    return dates, pd.DataFrame({column: dates, "y": VALUES})


@pytest.mark.parametrize(("frequency", "column", "step", "seasons"), CALENDARS)
def test_a_forecast_goes_on_at_the_dates_that_pandas_gives(frequency, column, step, seasons, tmp_path):
    dates, frame = dated(frequency, column)
    frame.to_csv(tmp_path / "a.csv", index=False)
    series = read_snapshots(tmp_path / "a.csv")
    assert (series.names, series.step_words, series.seasons) == (("y",), step, seasons)
    forecast = TDDMD(delays=5).fit(series).forecast(14)
    due = pd.date_range(dates[-1], periods=15, freq=frequency)[1:]
    assert list(forecast.index) == list(due)
    assert dates_after(forecast.as_given().times, series.epoch, series.calendar)[0].startswith(
        due[0].date().isoformat()
    )
    table = TDDMD(delays=5).fit(frame).predict(14)
    assert list(table.index) == list(due)
    assert TDDMD(delays=5).fit(frame).form_.seasons == seasons


@pytest.mark.parametrize(("part", "count", "step"), [("quarter", 4, "1 quarter"), ("Month", 12, "1 month")])
def test_a_year_and_its_part_are_a_date_together(part, count, step, tmp_path):
    years, parts = 1990 + np.arange(ROWS) // count, 1.0 + np.arange(ROWS) % count
    frame = pd.DataFrame({"year": years, part: parts, "y": VALUES})
    frame.to_csv(tmp_path / "a.csv", index=False)
    series = read_snapshots(tmp_path / "a.csv")
    assert (series.names, series.step_words, series.time_name) == (("y",), step, "date")
    assert series.epoch.startswith("1990-01-01")
    # Asked for, or no parts of a year, they are numbers like others.
    assert read_snapshots(frame, columns=[part, "y"]).names == (part, "y")
    assert read_snapshots(frame.assign(**{part: parts - 1}))[:].names == ("year", part, "y")
    future = pd.DataFrame({"year": [years[-1] + 1] * 2, part: [1, 2], "push": [3.0, 4.0]})
    future.to_csv(tmp_path / "b.csv", index=False)
    np.testing.assert_array_equal(future_inputs(tmp_path / "b.csv", ["push"], None, series, 2), [[3.0], [4.0]])


def test_months_keep_their_day_and_end_where_a_month_is_shorter():
    dates = pd.to_datetime([f"2023-{month:02d}-{min(30, 28 if month == 2 else 30)}" for month in range(1, 13)])
    series = read_snapshots({"time": dates.to_numpy(), "y": VALUES[:12]})
    assert series.calendar == "MS"
    assert dates_after(np.array([12.0, 13.0, 14.0]), series.epoch, "MS") == ["2024-01-30", "2024-02-29", "2024-03-30"]


@pytest.mark.parametrize(("frequency", "dropped"), [("MS", [5, 20]), ("B", [7, 8]), ("QE", [3, 4])])
def test_missing_steps_of_a_calendar_are_named_and_filled(frequency, dropped):
    dates, frame = dated(frequency)
    gaps = frame.drop(index=dropped)
    with pytest.raises(BadInputError, match=r"2 times are missing before rows?"):
        read_snapshots(gaps)
    filled = read_snapshots(gaps, fill="linear")
    assert len(filled) == ROWS
    assert dates_after(filled.times, filled.epoch, filled.calendar) == [date.date().isoformat() for date in dates]


def test_a_column_that_counts_months_again_and_again_is_no_time():
    table = {"month": np.tile([1, 2, 3, 4], 5), "y": VALUES[:20]}
    assert read_snapshots(table).names == ("month", "y")
    years = read_snapshots({"year": np.arange(1700, 1720), "y": VALUES[:20]})
    assert (years.names, years.times[0], years.dt) == (("y",), 1700, 1)


def test_dates_at_uneven_times_have_no_calendar():
    days = np.array([1, 14, 3, 28, 9, 17, 2, 25, 11, 30])
    dates = pd.to_datetime([f"2023-{month:02d}-{day:02d}" for month, day in enumerate(days, start=3)])
    with pytest.raises(BadInputError, match="not uniform"):
        read_snapshots({"time": dates.to_numpy(), "y": VALUES[:10]})


def test_a_part_of_a_day_has_a_season_of_a_day():
    assert seasons_of(None, 600.0) == (144, 1008)
    assert seasons_of(None, 7.3) == ()


def test_calendars_of_climate_models_need_cftime_and_the_message_says_so(tmp_path):
    import xarray as xr

    from tokendyn.errors import MissingLibraryError
    from tokendyn.optional import installed

    days = xr.Variable("time", np.arange(50.0, 110.0), {"units": "days since 2000-01-01", "calendar": "noleap"})
    xr.Dataset({"y": ("time", VALUES)}, coords={"time": days}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    if not installed("cftime"):
        with pytest.raises(MissingLibraryError, match=r"calendar of climate models.*tokendyn\[cftime\]"):
            read_snapshots(tmp_path / "a.nc")
        return
    series = read_snapshots(tmp_path / "a.nc")
    # The year has no 29 February: day 59 is the first of March.
    assert dates_after(series.times[8:10], series.epoch, series.calendar) == ["2000-02-28", "2000-03-01"]
