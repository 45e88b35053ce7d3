"""Snapshots in memory: whole outputs, the edges of uniform times, and gaps at both ends."""

import numpy as np
import pytest

from tokendyn.data.snapshots import read_snapshots, snapshots
from tokendyn.data.snapshots.series import MOST_GRID, UNIFORM, check_times, listed
from tokendyn.errors import BadInputError

NAN = np.nan
TABLE = np.array([[NAN, 1.0], [10.0, 2.0], [20.0, NAN], [NAN, NAN], [50.0, 5.0], [NAN, 6.0]])


@pytest.mark.parametrize(
    ("fill", "first", "second"),
    [
        ("previous", [10, 10, 20, 20, 50, 50], [1, 2, 2, 2, 5, 6]),
        ("linear", [10, 10, 20, 35, 50, 50], [1, 2, 3, 4, 5, 6]),
    ],
)
def test_gaps_are_filled_and_all_else_stays(fill, first, second):
    found = snapshots(TABLE, dt=0.5, fill=fill, inputs=TABLE[:, 0])
    np.testing.assert_array_equal(found.values, np.column_stack([first, second]))
    np.testing.assert_array_equal(found.inputs[:, 0], first)
    np.testing.assert_array_equal(found.times, 0.5 * np.arange(6))


@pytest.mark.parametrize(("fill", "values"), [("previous", [1, 2, 2, 2, 5, 6]), ("linear", [1, 2, 3, 4, 5, 6])])
def test_missing_times_are_filled_by_their_neighbours(fill, values):
    found = snapshots(np.array([1.0, 2.0, 5.0, 6.0]), times=7 + 0.5 * np.array([0, 1, 4, 5]), fill=fill)
    np.testing.assert_array_equal(found.values[:, 0], values)
    np.testing.assert_allclose(found.times, 7 + 0.5 * np.arange(6), rtol=1e-15)
    assert found.dt == 0.5
    with pytest.raises(BadInputError, match="2 times are missing before row 3"):
        snapshots(np.array([1.0, 2.0, 5.0, 6.0]), times=7 + 0.5 * np.array([0, 1, 4, 5]))


def test_gaps_and_infinite_numbers_of_inputs_are_named_beside_those_of_the_values():
    values, inputs = np.array([1.0, NAN, 3.0, 4.0]), np.array([[0.0, NAN], [1.0, 1.0], [np.inf, 1.0], [2.0, 1.0]])
    with pytest.raises(BadInputError) as caught:
        snapshots(values, inputs=inputs)
    for part in ("'x0' is NaN in row 2", "'u0' is infinite in row 3", "'u1' is NaN in row 1"):
        assert part in str(caught.value)
    with pytest.raises(BadInputError, match="'u0' is infinite in row 3"):
        snapshots(values, inputs=inputs, fill="linear")
    constant = snapshots(np.array([1.0, 2.0]), inputs=np.array([5.0, 5.0]))
    assert constant.inputs.tolist() == [[5.0], [5.0]]


@pytest.mark.parametrize(("off", "uniform"), [(0.9, True), (1.1, False), (-0.9, True), (-1.1, False)])
def test_times_may_lie_a_thousandth_of_a_step_beside_the_grid(off, uniform):
    times = 0.25 * np.arange(2001.0)
    times[-1] += off * UNIFORM * 0.25
    _, places, step, problems = check_times(times)
    assert (not problems) == uniform
    assert step == pytest.approx(0.25, rel=1e-6)
    if uniform:
        np.testing.assert_array_equal(places, np.arange(2001))
    else:
        assert "row 2001" in problems[0]


def test_a_given_step_counts_and_a_missing_one_is_the_usual_step():
    times = np.array([0.0, 1.0, 2.0, 6.0])
    grid, places, step, problems = check_times(times, filling=True)
    assert (grid.tolist(), places.tolist(), step, problems) == ([0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 6], 1.0, [])
    grid, places, step, problems = check_times(times, 0.5, filling=True)
    assert (len(grid), places.tolist(), step, problems) == (13, [0, 2, 4, 12], 0.5, [])
    assert check_times(times)[3] == ['3 times are missing before row 4; fill them with fill="linear" (or previous)']
    assert "not uniform" in check_times(times, 2.0)[3][0]
    assert "above 0" in check_times(times, 0.0)[3][0]
    most = MOST_GRID * 3
    assert check_times(np.array([0.0, 1.0, most - 1.0]), filling=True)[3] == []
    assert "far more steps" in check_times(np.array([0.0, 1.0, float(most)]), filling=True)[3][0]


def test_dates_are_seconds_from_the_first_row_which_is_kept():
    dates = [f"2024-02-28T23:{minute:02d}:00" for minute in (10, 20, 30)]
    found = read_snapshots({"time": np.array(dates), "x": np.array([1.0, 3.0, 2.0])})
    assert (found.epoch, found.times.tolist(), found.dt) == (dates[0], [0.0, 600.0, 1200.0], 600.0)


def test_rows_are_counted_from_1_and_at_most_ten_are_named():
    assert listed(np.array([False, True])) == "row 2"
    assert listed(np.array([0, 4])) == "rows 1, 5"
    assert listed(np.arange(10)) == "rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
    assert listed(np.arange(12)) == "rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"


def test_a_series_is_cut_split_and_disturbed_as_a_whole(rng):
    values, inputs = rng.normal(size=(9, 3)) * [1, 10, 100], rng.normal(size=(9, 1))
    series = snapshots(values, dt=0.5, names=["a", "b", "c"], inputs=inputs)
    thin = series[1:8:3]
    np.testing.assert_array_equal(thin.values, values[[1, 4, 7]])
    np.testing.assert_array_equal(thin.inputs, inputs[[1, 4, 7]])
    assert (thin.dt, thin.times.tolist(), series[2:].dt) == (1.5, [0.5, 2.0, 3.5], 0.5)
    np.testing.assert_array_equal(series.select(["c", "a"]).values, values[:, [2, 0]])
    assert series.select(["c", "a"]).names == ("c", "a")
    for share, cut in ((0.5, 4), (0.4, 4), (0.95, 9)):
        first, rest = series.split(share)
        np.testing.assert_array_equal(np.concatenate([first.values, rest.values]), values)
        assert (len(first), len(rest)) == (cut, 9 - cut)
    noise = np.random.default_rng(3).normal(size=(9, 3))
    np.testing.assert_allclose(series.with_noise(0.2, 3).values, values + 0.2 * values.std(axis=0) * noise)
    for wrong in ([], ["d"], ["a", "d"]):
        with pytest.raises(BadInputError, match="no feature"):
            series.select(wrong)
    for wrong in (slice(None, None, 0), slice(None, None, -1)):
        with pytest.raises(BadInputError, match="forward"):
            series[wrong]
    for wrong in (0.0, 1.0):
        with pytest.raises(BadInputError, match="between 0 and 1"):
            series.split(wrong)
