"""Parts of the forecasters against plain loops: windows, spectra, ranks, checks, records of one small run."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from tokendyn.data.snapshots import snapshots
from tokendyn.errors import BadInputError, ConvergenceError
from tokendyn.forecast import TDTF, EnsembleTDTF
from tokendyn.forecast.backtests import Backtest
from tokendyn.forecast.base import DIVERGENCE, Forecaster
from tokendyn.forecast.checks import check_count, check_number, check_series, check_training, check_window_inputs
from tokendyn.forecast.embedding import delay_windows, hankel, input_windows, window_length
from tokendyn.forecast.finish import closed_loop_cost, closed_loop_equations, pack, segments_of, unpack
from tokendyn.forecast.held_out import hold_out, measure
from tokendyn.forecast.pod import POD
from tokendyn.forecast.spectra import companion, spectrum_of, stabilised
from tokendyn.forecast.tddmd import kept_rank, truncated_least_squares
from tokendyn.testing import driven

# Delays.


@pytest.mark.parametrize(("delays", "stride"), [(1, 1), (3, 1), (3, 2), (2, 4)])
def test_windows_are_every_complete_one_with_the_oldest_snapshot_first(delays, stride, rng):
    series, inputs = rng.normal(size=(12, 2)), rng.normal(size=(12, 3))
    span = 1 + (delays - 1) * stride
    assert window_length(delays, stride) == span
    places = [[end - stride * back for back in range(delays - 1, -1, -1)] for end in range(span - 1, 12)]
    plain = np.array([[series[k] for k in row] for row in places])
    np.testing.assert_array_equal(delay_windows(series, delays, stride), plain)
    np.testing.assert_array_equal(hankel(series, delays, stride), plain.reshape(len(places), -1))
    driven = np.array([[np.concatenate([inputs[k], inputs[k + 1]]) for k in row] for row in places[:-1]])
    np.testing.assert_array_equal(input_windows(inputs, delays, stride), driven)


@pytest.mark.parametrize("stride", [1, 3])
def test_the_companion_matrix_is_the_recursion_of_whole_windows(stride, rng):
    coefficients = rng.normal(size=(3, 2, 2))
    window = rng.normal(size=(2 * stride + 1, 2))
    following = sum(coefficients[j] @ window[j * stride] for j in range(3))
    stacked = companion(coefficients, stride) @ window.ravel()
    np.testing.assert_allclose(stacked, np.concatenate([window[1:].ravel(), following]), rtol=1e-13)


def test_only_eigenvalues_outside_the_circle_are_moved(rng):
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    turn = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    blocks = np.zeros((6, 6))
    blocks[:2, :2], blocks[2:4, 2:4], blocks[4, 4], blocks[5, 5] = 1.5 * turn, 0.8 * turn.T, -1.2, 0.5
    found = np.sort_complex(np.linalg.eigvals(stabilised(basis @ blocks @ basis.T)))
    wanted = [np.exp(0.7j), np.exp(-0.7j), 0.8 * np.exp(0.7j), 0.8 * np.exp(-0.7j), -1.0, 0.5]
    np.testing.assert_allclose(found, np.sort_complex(np.array(wanted)), atol=1e-12)
    inner = 0.9 * rng.normal(size=(4, 4)) / 8
    np.testing.assert_allclose(stabilised(inner), inner, atol=1e-14)


def test_a_spectrum_is_ordered_by_contribution_and_rebuilds_its_state(rng):
    matrix, decoder, state = rng.normal(size=(5, 5)), rng.normal(size=(2, 5)), rng.normal(size=5)
    spectrum = spectrum_of(matrix, decoder, state, np.zeros(2), 0.25)
    sizes = spectrum.contributions
    np.testing.assert_allclose(sizes, np.abs(spectrum.amplitudes) * np.sqrt((np.abs(spectrum.modes) ** 2).sum(axis=0)))
    assert (np.diff(sizes) <= 1e-8 * sizes[0]).all()
    for power in range(3):
        rebuilt = spectrum.modes @ (spectrum.amplitudes * spectrum.eigenvalues**power)
        np.testing.assert_allclose(rebuilt, decoder @ np.linalg.matrix_power(matrix, power) @ state, atol=1e-9)
    np.testing.assert_allclose(
        np.exp(0.25 * (spectrum.growth_rates + 2j * np.pi * spectrum.frequencies)), spectrum.eigenvalues, rtol=1e-10
    )
    pairs = np.flatnonzero(spectrum.eigenvalues.imag > 0)
    np.testing.assert_allclose(spectrum.eigenvalues[pairs + 1], spectrum.eigenvalues[pairs].conj())


# Least squares and ranks.


def test_ranks_are_a_count_a_share_of_the_energy_or_all_above_rounding():
    values = np.array([4.0, 2.0, 1.0, 1e-15])  # energies 16, 20 and 21 of 21
    kept = [kept_rank(values, rank, (30, 4)) for rank in (None, 1, 3, 4, 0.5, 0.77, 0.95, 0.96, 0.999999)]
    assert kept == [3, 1, 3, 3, 1, 2, 2, 3, 3]
    eps = np.finfo(float).eps
    assert kept_rank(np.array([1.0, 29 * eps]), None, (30, 4)) == 1
    assert kept_rank(np.array([1.0, 31 * eps]), None, (30, 4)) == 2
    assert kept_rank(np.array([0.0, 0.0]), None, (30, 4)) == 1


@pytest.mark.parametrize("block", [8192, 16, 3])
@pytest.mark.parametrize("inverted", [False, True])
def test_truncated_least_squares_is_the_pseudo_inverse_of_the_low_rank_columns(rng, monkeypatch, block, inverted):
    monkeypatch.setattr("tokendyn.forecast.tddmd._BLOCK", block)
    columns, targets = rng.normal(size=(40, 5)) * [1, 2, 3, 4, 5] + 3, rng.normal(size=(40, 2))
    columns[:, 3] = 7.0  # constant: its unit is 1
    solved = truncated_least_squares(columns, targets, rank=3, ridge=0.0, intercept=True, scale=True, inverted=inverted)
    centred = columns - columns.mean(axis=0)
    units = np.where(columns.std(axis=0) > 0, columns.std(axis=0), 1.0)
    left, values, right = np.linalg.svd(centred / units, full_matrices=False)
    low = left[:, :3] * values[:3] @ right[:3]
    wanted = np.linalg.pinv(low, rcond=1e-10) @ (targets - targets.mean(axis=0)) / units[:, None]
    np.testing.assert_allclose(solved.matrix, wanted, atol=1e-12)
    np.testing.assert_allclose(solved.intercept, targets.mean(axis=0) - columns.mean(axis=0) @ wanted, atol=1e-12)
    np.testing.assert_allclose(solved.singular_values, values)
    assert solved.rank == 3


# The interface.


class Constant(Forecaster):
    """Repeats what it is told."""

    def __init__(self, values=None):
        self.values = values

    def _parameter_problems(self):
        return []

    def _window_length(self):
        return 2

    def _fit(self, series, inputs, progress):
        pass

    def _one_step(self, series, inputs):
        return series[1:-1]

    def _rollout(self, windows, steps, inputs):
        return np.array([self.values[:steps]] * len(windows)), None

    def _state(self):
        return {}, {}

    def _restore(self, record, tensors):
        pass


def test_a_forecast_has_diverged_only_beyond_all_bounds_and_keeps_what_is_before():
    training = np.array([[0.0], [1.0], [4.0], [2.0]])
    edge = DIVERGENCE * 4.0  # a million widths of the range beside it
    for values, finite in (
        ([4 + edge, -edge, 0.0], 3),
        ([1.0, np.nextafter(4 + edge, np.inf), 0.0], 1),
        ([1.0, 2.0, np.nextafter(-edge, -np.inf)], 2),
        ([np.nan, 0.0, 0.0], 0),
        ([1.0, np.inf, 0.0], 1),
    ):
        forecast = Constant(np.array(values)[:, None]).fit(training, dt=0.5).forecast(training, 3)
        assert (forecast.finite_steps, forecast.status) == (finite, "left range" if finite == 3 else "diverged")
        np.testing.assert_array_equal(forecast.values[:, 0], values[:finite])
        np.testing.assert_array_equal(forecast.times, 0.5 * np.arange(1, finite + 1))


def test_a_forecast_that_leaves_ten_ranges_is_kept_and_says_from_which_step():
    training = np.array([[0.0], [1.0], [4.0], [2.0]])
    for values, inside in (([44.0, -40.0, 0.0], 3), ([1.0, np.nextafter(44.0, 45), 0.0], 1), ([1.0, 2.0, -41.0], 2)):
        model = Constant(np.array(values)[:, None]).fit(training)
        forecast = model.forecast(training, 3)
        assert (forecast.inside_steps, forecast.finite_steps) == (inside, 3)
        assert forecast.status == ("completed" if inside == 3 else "left range")
        np.testing.assert_array_equal(forecast.values[:, 0], values)
        if inside < 3:
            assert f"after {inside} step" in forecast.describe()[1]
            with pytest.raises(ConvergenceError, match=f"widths of it, or the bounds of a mean, after {inside} of 3"):
                model.predict(3, training)


def test_a_fit_keeps_the_range_of_all_series_and_scores_by_their_scale():
    training = [np.array([[0.0, 5.0], [1.0, 6.0], [4.0, 9.0]]), np.array([[-1.0, 5.0], [2.0, 7.0], [3.0, 8.0]])]
    model = Constant(np.zeros((3, 2))).fit(training, dt=0.5)
    stacked = np.concatenate(training)
    assert (model.low_.tolist(), model.high_.tolist(), model.dt_) == ([-1.0, 5.0], [4.0, 9.0], 0.5)
    np.testing.assert_allclose(model.scale_, stacked.std(axis=0))
    series = np.array([[1.0, 5.0], [2.0, 6.0], [4.0, 5.0], [3.0, 5.5]])
    misses = (series[1:-1] - series[2:]) / stacked.std(axis=0)
    assert model.score(series) == pytest.approx(1 - np.sqrt((misses**2).mean()))


def test_the_table_of_a_backtest_by_hand():
    errors = np.array([[0.0, 0.5, 0.75, 0.0], [0.5, 0.5, 0.5, 0.5], [1.0, 0.0, np.inf, np.inf]])
    table = Backtest(np.array([4, 9, 14]), errors, np.ones(1), 0.25)
    assert table.valid_steps(0.5).tolist() == [2, 4, 0]
    assert table.valid_steps().tolist() == [1, 0, 0]
    assert table.rows(0.5) == [
        {"origin": 4, "nrmse": pytest.approx(np.sqrt(0.8125 / 4)), "final_error": 0.0, "valid_time": 0.5},
        {"origin": 9, "nrmse": 0.5, "final_error": 0.5, "valid_time": 1.0},
        {"origin": 14, "nrmse": np.inf, "final_error": np.inf, "valid_time": 0.0},
    ]


def test_a_diverged_forecast_has_infinite_error_from_there():
    training = np.array([[0.0], [1.0], [4.0], [2.0], [1.0], [3.0]])
    table = Constant(np.array([[1.0], [np.nan], [2.0]])).fit(training).backtest(training, horizon=3, every=1)
    assert table.origins.tolist() == [1, 2]
    scale = training.std()
    np.testing.assert_allclose(table.errors, [[3 / scale, np.inf, np.inf], [1 / scale, np.inf, np.inf]])


# What is checked.


def test_the_least_allowed_value_is_allowed():
    assert check_count("n", 1) == check_count("n", 3, 3) == check_count("n", np.int64(2)) == []
    assert check_count("n", 2, 3) == ["n is 2, expected an integer >= 3"]
    assert check_number("x", 0.0) == check_number("x", 0.5, 0.5) == check_number("x", np.float32(1)) == []
    for bad in (True, np.nan, np.inf, -1e-300, "1", None):
        assert len(check_number("x", bad)) == 1
    for bad in (True, 1.0, 0, None):
        assert len(check_count("x", bad)) == 1


def test_training_needs_windows_with_a_next_snapshot(rng):
    series = rng.normal(size=(6, 2))
    arrays, inputs = check_training([series, series[:5]], None, window=4, least=3)
    assert [len(array) for array in arrays] == [6, 5]
    assert [one.shape for one in inputs] == [(6, 0), (5, 0)]
    with pytest.raises(BadInputError, match=r"there are 3 complete windows, and these delays need 4"):
        check_training([series, series[:5]], None, window=4, least=4)
    with pytest.raises(BadInputError, match=r"there are 6 snapshots, and these delays need 7"):
        check_training(series, None, window=4, least=3)
    with pytest.raises(BadInputError, match=r"series\[1\] has 4 snapshots"):
        check_training([series, series[:4]], None, window=4)
    flat = np.full((6, 2), 2.0)
    with pytest.raises(BadInputError, match="every column is constant"):
        check_training([flat, flat[:5]], None, window=2)
    assert len(check_training([flat, flat[:5] + np.array([0, 1])], None, window=2)[0]) == 2


def test_series_are_checked_by_rows_and_columns():
    assert check_series([1, 2, 3], "x").tolist() == [[1.0], [2.0], [3.0]]
    gaps = np.arange(26.0).reshape(13, 2)
    gaps[1:, 1] = np.nan
    with pytest.raises(BadInputError, match=r"x has gaps .* in rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"):
        check_series(gaps, "x")
    for bad in (np.zeros((2, 0)), np.zeros((2, 2, 2)), np.array(["a"])):
        with pytest.raises(BadInputError, match=r"^x h"):
            check_series(bad, "x")
    inputs = np.arange(10.0)[:, None]
    np.testing.assert_array_equal(check_window_inputs(inputs, 4, 1), inputs[6:])
    np.testing.assert_array_equal(check_window_inputs(inputs, 10, 1), inputs)
    with pytest.raises(BadInputError, match="inputs has 10 rows, expected 11"):
        check_window_inputs(inputs, 11, 1)


# Smoothing, ensembles, POD.


def test_smoothing_minimises_its_documented_cost():
    rng = np.random.default_rng(1)
    time = 0.3 * np.arange(60)
    clean = np.stack([np.sin(time), np.cos(1.7 * time)], axis=1)
    model = TDTF(delays=2, stride=2, units=4, iterations=5, gate=False).fit(clean)
    noisy, ratio = clean[:14] + 0.05 * rng.normal(size=(14, 2)), 30.0

    def misses(z):
        z = z.reshape(14, 2)
        steps = [z[k + 1] - model.one_step(z[k - 2 : k + 2])[0] for k in range(2, 13)]
        return np.concatenate([(z - noisy).ravel(), np.sqrt(ratio) * np.ravel(steps)])

    units = clean.std(axis=0)
    best = least_squares(lambda z: misses(z) / np.resize(units, misses(z).size), noisy.ravel(), xtol=1e-12, ftol=1e-12)
    found = model.smooth(noisy, ratio=ratio)
    assert (misses(found) ** 2).sum() < 0.9 * (misses(noisy) ** 2).sum()
    np.testing.assert_allclose(found.ravel(), best.x, atol=1e-3)


def test_the_equations_of_a_closed_loop_are_its_numerical_derivatives():
    series, push = driven(80)
    series = np.column_stack([series, np.gradient(series[:, 0]) ** 2])
    model = TDTF(delays=2, stride=2, units=3, iterations=3, gate=False).fit(series, inputs=push)
    cell, z, w = model.cell_, model.units_.snapshots(series), model.units_.inputs(push)
    segments = segments_of([z, z[:6]], [w, w[:6]], 2, 2, 4, 5)
    starts = range(0, 80 - 6, 74 // 5)  # a window spans 3, the horizon 4: 74 places, every 14th
    np.testing.assert_array_equal(segments.windows, [z[k : k + 3] for k in starts])
    np.testing.assert_array_equal(segments.truth, [z[k + 3 : k + 7] for k in starts])
    assert segments_of([z[:6]], [w[:6]], 2, 2, 4, 5) is None
    assert len(segments_of([z[:7]], [w[:7]], 2, 2, 4, 5).windows) == 1

    def rolled(vector):
        orbits = zip(segments.windows, segments.drive, strict=True)
        return np.concatenate([unpack(cell, vector).roll(window, 4, drive).ravel() for window, drive in orbits])

    point = pack(cell)
    np.testing.assert_array_equal(pack(unpack(cell, point)), point)
    jacobian = np.stack(
        [(rolled(point + step) - rolled(point - step)) / 2e-5 for step in 1e-5 * np.eye(len(point))], axis=1
    )
    misses = segments.truth.ravel() - rolled(point)
    assert closed_loop_cost(cell, segments) == pytest.approx((misses**2).mean())
    for linear in (True, False):
        held = np.ones(len(point), dtype=bool)
        if not linear:
            first = len(cell.network.pack()) + len(cell.offset)
            held[first : first + cell.linear.size] = False
        matrix, downhill = closed_loop_equations(cell, segments, linear=linear, chunk=2)
        own = jacobian * held
        np.testing.assert_allclose(matrix, own.T @ own, atol=1e-5 * np.abs(own.T @ own).max())
        np.testing.assert_allclose(downhill, own.T @ misses, atol=1e-5 * np.abs(own.T @ misses).max())


def test_an_ensemble_is_the_mean_and_the_deviation_of_members_of_following_seeds():
    time = 0.3 * np.arange(120)
    series = np.stack([np.sin(time), np.cos(1.7 * time)], axis=1)
    member = TDTF(delays=2, units=4, iterations=3, gate=False)
    ensemble = EnsembleTDTF(member=member, members=2, random_state=7).fit(series)
    alone = [TDTF(delays=2, units=4, iterations=3, gate=False, random_state=7 + n).fit(series) for n in range(2)]
    forecasts = np.stack([model.forecast(series, 5).values for model in alone])
    assert not np.allclose(forecasts[0], forecasts[1], rtol=1e-12)
    found = ensemble.forecast(series, 5)
    np.testing.assert_allclose(found.values, forecasts.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.spread, np.abs(forecasts[0] - forecasts[1]) / 2, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(ensemble.one_step(series), np.mean([m.one_step(series) for m in alone], axis=0))


def test_pod_keeps_the_modes_that_reach_a_share_with_positive_largest_entries(rng):
    patterns = np.linalg.qr(rng.normal(size=(8, 3)))[0].T
    times = np.linalg.qr(np.column_stack([np.ones(20), rng.normal(size=(20, 3))]))[0][:, 1:]
    field = times * [4.0, 2.0, 1.0] @ patterns + 5  # shares 16, 20 and 21 of 21
    kept = {share: len(POD(modes=share).fit(field).modes_) for share in (0.1, 16 / 21, 0.77, 20 / 21, 0.96, 0.9999)}
    assert list(kept.values()) == [1, 1, 2, 2, 3, 3]
    pod = POD(modes=2).fit(field)
    np.testing.assert_allclose(pod.energies_, [16 / 21, 4 / 21])
    np.testing.assert_allclose(pod.singular_values_, [4, 2])
    for mode in pod.modes_:
        assert mode[np.abs(mode).argmax()] > 0
    np.testing.assert_allclose(np.abs(pod.modes_ @ patterns.T), np.eye(2, 3), atol=1e-12)
    weights = rng.uniform(0.5, 2.0, size=8)
    given = POD.from_basis(patterns[:2], weights=weights)
    np.testing.assert_allclose(given.modes_ * weights @ given.modes_.T, np.eye(2), atol=1e-12)
    assert (given.modes_[0] @ patterns[0]) > 0  # the first keeps its direction
    np.testing.assert_array_equal(given.mean_, np.zeros(8))


# What is held out.


def ramp(count, start=0.0):
    """One feature that rises by 1 a row."""
    return snapshots(start + np.arange(count, dtype=float), dt=0.5)


@pytest.mark.parametrize(
    ("count", "horizon", "share", "cut", "validate"),
    [(100, 10, 0.2, 80, 8), (100, 30, 0.2, 70, 7), (41, 20, 0.1, 21, 2), (25, 3, 0.5, 13, 1), (40, 20, 0.2, 20, 2)],
)
def test_the_last_share_of_one_series_is_held_out(count, horizon, share, cut, validate):
    task = hold_out([ramp(count)], horizon, share, starts=4)
    assert (len(task.train[0]), task.lead, task.validate) == (cut, cut, validate)
    assert (len(task.tests[0]), task.horizon, task.starts) == (count, horizon, 4)
    with pytest.raises(BadInputError, match="at least 40"):
        hold_out([ramp(39)], 20)
    with pytest.raises(BadInputError, match="at least 20"):
        hold_out([ramp(12)], 3)
    for bad in ((0, 0.2), (3, 0.0), (3, 1.0)):
        with pytest.raises(BadInputError, match="in "):
            hold_out([ramp(100)], *bad)


def test_of_several_series_the_last_ones_are_held_out():
    series = [ramp(50, start) for start in range(5)]
    task = hold_out(series, 7, 0.4, starts=9)
    assert ([one.values[0, 0] for one in task.train], [one.values[0, 0] for one in task.tests]) == ([0, 1, 2], [3, 4])
    assert (task.lead, task.starts, task.validate) == (22, 4, 5)
    assert len(hold_out(series, 7, 0.01).tests) == 1
    assert hold_out([ramp(50), ramp(10)], 7).lead == 2
    with pytest.raises(BadInputError, match="lower the horizon"):
        hold_out([ramp(50), ramp(9)], 7)


def test_what_is_held_out_is_measured_from_every_start():
    task = hold_out([ramp(30)], 4, 0.5, starts=3)
    model = Constant(np.array([[16.0], [17.0], [np.nan], [0.0]])).fit(task.train[0].values, dt=0.5)
    held = measure(task, model)  # starts in rows 15, 20 and 26
    np.testing.assert_array_equal(held.truths[:, :, 0], [[15, 16, 17, 18], [20, 21, 22, 23], [26, 27, 28, 29]])
    np.testing.assert_array_equal(held.forecasts[:, :, 0], [[16, 17, np.nan, np.nan]] * 3)
    scale = np.arange(15).std()
    assert (held.diverged, held.starts, held.horizon, held.nrmse, held.worst) == (3, 3, 4, np.inf, np.inf)
    assert (held.lower, held.valid_time, held.upper) == (0, 0, 0.5)  # 1/4.3 is below .4; 4/4.3 is not
    assert "3 of 3 forecasts diverged" in held.line()
    whole = measure(task, Constant(np.array([[16.0], [17.0], [18.0], [20.0]])).fit(task.train[0].values, dt=0.5))
    errors = [np.sqrt((1 + 1 + 1 + 4) / 4), np.sqrt((16 + 16 + 16 + 9) / 4), np.sqrt((100 + 100 + 100 + 81) / 4)]
    assert whole.nrmse == pytest.approx(errors[1] / scale)
    assert whole.worst == pytest.approx(errors[2] / scale)
    assert whole.numbers()["diverged"] == 0
    assert f"the worst {whole.worst:.3g}" in whole.line()
    assert "diverged" not in whole.line()
