"""TD-TF: the contract, TD-DMD as a special case, derivatives, training, gate, checkpoint."""

import numpy as np
import pytest

from tokendyn.data.systems import lorenz63
from tokendyn.errors import BadInputError, ConvergenceError
from tokendyn.forecast import TDDMD, TDTF, BasisMap, Forecaster
from tokendyn.forecast.cell import tokens_of
from tokendyn.forecast.exploring import Exploration, attentive_settings, shared_settings
from tokendyn.forecast.network import features, forward, jacobian
from tokendyn.forecast.smoothing import smoothed
from tokendyn.forecast.training import first_network, normalise, shaken, windows_of
from tokendyn.forecast.varpro import Problem, levenberg_marquardt, normal_equations, sharpened, solve_output
from tokendyn.testing import ForecasterContract, driven, waves


class TestContract(ForecasterContract):
    @classmethod
    def make(cls):
        return TDTF(delays=3, stride=2, units=8, iterations=4, noise=1e-4, gate=False)


class TestFrozenContract(ForecasterContract):
    @classmethod
    def make(cls):
        return TDTF(delays=4, units=6, iterations=3, attention=False, activation="tanh", noise=1e-4)


class TestSmoothingContract(ForecasterContract):
    @classmethod
    def make(cls):
        return TDTF(delays=3, units=6, iterations=3, smoothing=2, gate=False)


def pendulum(steps, *, dt=0.1, start=(2.0, 0.0)):
    """Angle of a pendulum, (steps, 1), by leapfrog steps of dt / 20."""
    angle, speed, h, rows = *start, dt / 20, []
    for _ in range(steps):
        rows.append(angle)
        for _ in range(20):
            speed -= 0.5 * h * np.sin(angle)
            angle += h * speed
            speed -= 0.5 * h * np.sin(angle)
    return np.array(rows)[:, None]


@pytest.mark.parametrize(("delays", "stride", "units"), [(5, 2, 10), (8, 1, 16)])
def test_frozen_attention_and_linear_units_are_tddmd(delays, stride, units):
    series = waves(500, noise=0.05)
    linear = TDDMD(delays=delays, stride=stride).fit(series)
    same = TDTF(
        delays=delays,
        stride=stride,
        units=units,
        attention=False,
        activation="identity",
        linear=False,
        noise=0.0,
        ridge=0.0,
        gate=False,
        iterations=1,
        validation_fraction=0.0,
    ).fit(series)
    ours, theirs = same.forecast(series[:20], 50), linear.forecast(series[:20], 50)
    np.testing.assert_allclose(ours.values, theirs.values, atol=1e-10)
    assert same.parameters_ > linear.coefficients_.size


def problem_of(series, model):
    settings = model.settings()
    data = normalise([series], [np.empty((len(series), 0))], settings)
    tokens, following = windows_of(data, settings)
    rng = np.random.default_rng(1)
    network = first_network(tokens, settings, rng)
    tokens, targets = shaken(tokens, following, 1e-3, rng)
    return Problem(tokens, targets, 1e-9, True), network


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("activation", ["sin", "tanh"])
def test_derivatives_by_the_weights_are_those_of_differences(attention, activation):
    model = TDTF(delays=4, units=5, attention=attention, activation=activation)
    problem, network = problem_of(waves(60), model)
    readout = np.random.default_rng(2).standard_normal(5)
    rows = jacobian(network, problem.tokens, forward(network, problem.tokens), readout)
    vector = network.pack()
    for number in range(0, len(vector), 7):
        step = np.zeros(len(vector))
        step[number] = 1e-6
        up, down = (forward(network.unpack(vector + sign * step), problem.tokens).units @ readout for sign in (1, -1))
        np.testing.assert_allclose(rows[:, number], (up - down) / 2e-6, rtol=1e-6, atol=1e-6)


def test_the_projected_gradient_is_that_of_the_cost():
    problem, network = problem_of(waves(80), TDTF(delays=4, units=5))
    _, downhill = normal_equations(problem, network, solve_output(problem, network))
    vector = network.pack()
    for number in range(0, len(vector), 9):
        step = np.zeros(len(vector))
        step[number] = 1e-5
        up, down = (solve_output(problem, network.unpack(vector + sign * step)).cost for sign in (1, -1))
        slope = (up - down) / 2e-5 * len(problem.tokens)
        np.testing.assert_allclose(slope, -2 * downhill[number], rtol=1e-3, atol=1e-7 * np.abs(downhill).max())


def test_the_output_layer_is_the_penalised_least_squares_solution():
    problem, network = problem_of(waves(80), TDTF(delays=4, units=5))
    solved = solve_output(problem, network)
    samples = len(problem.tokens)
    columns = np.concatenate([np.ones((samples, 1)), problem.tokens.reshape(samples, -1), solved.passed.units], axis=1)
    penalty = problem.ridge * samples * np.diag([0.0] + [1.0] * (columns.shape[1] - 1))
    expected = np.linalg.solve(columns.T @ columns + penalty, columns.T @ problem.targets)
    np.testing.assert_allclose(solved.readout, expected, rtol=1e-6, atol=1e-9)


def test_levenberg_marquardt_lowers_the_cost_each_time():
    problem, network = problem_of(pendulum(300), TDTF(delays=3, units=6))
    costs = [solve_output(problem, network).cost]
    levenberg_marquardt(
        problem, network, iterations=8, accept=lambda network, solved, damping: costs.append(solved.cost) is None
    )
    assert len(costs) == 9
    assert (np.diff(costs) < 0).all()


@pytest.mark.parametrize("attention", [True, False])
def test_the_local_operator_is_the_derivative_of_the_next_snapshot(attention):
    series, push = driven(200)
    model = TDTF(
        delays=3, stride=2, units=6, iterations=3, attention=attention, gate=False, noise=1e-2, ridge=1e-6
    ).fit(series, inputs=push)
    tokens = model.tokens(series, push)[:5]
    local = model.cell_.operators(tokens)
    assert local.shape == (5, 3, 1, 3)
    for delay in range(3):
        for column in range(3):
            step = np.zeros_like(tokens)
            step[:, delay, column] = 1e-6
            slope = (model.cell_.step(tokens + step) - model.cell_.step(tokens - step)) / 2e-6
            np.testing.assert_allclose(local[:, delay, :, column], slope, rtol=1e-5, atol=1e-7)


def test_the_nonlinear_part_forecasts_a_pendulum_that_tddmd_cannot():
    series = [pendulum(200, start=(angle, 0.0)) for angle in (0.5, 1.0, 1.5, 2.0)]
    model = TDTF(delays=2, stride=2, units=16, iterations=20, validation_fraction=0.2).fit(series, dt=0.1)
    linear = TDDMD(delays=4).fit(series, dt=0.1)
    window, truth = pendulum(210, start=(1.0, 0.7))[:10], pendulum(210, start=(1.0, 0.7))[10:]
    ours, theirs = (np.abs(one.forecast(window, 200).values - truth).max() for one in (model, linear))
    assert model.training_["chosen"] > 0
    assert ours < 1e-3 * theirs


def test_a_linear_system_gets_the_linear_model():
    model = TDTF(delays=4, units=8, iterations=5, noise=1e-6).fit(waves(400, noise=0.0))
    assert model.training_["chosen"] == 0
    assert model.training_["error"] == model.training_["linear_error"]
    assert model.cell_.readout.size == 0
    assert model.parameters_ == 4 * 2 * 2 + 2


def test_an_interrupted_fit_continues_from_its_checkpoint(tmp_path):
    series = pendulum(300)
    whole = TDTF(delays=3, units=6, iterations=10, gate=False).fit(series)
    file = str(tmp_path / "fit.safetensors")
    TDTF(delays=3, units=6, iterations=5, gate=False, checkpoint=file).fit(series)
    resumed = TDTF(delays=3, units=6, iterations=10, gate=False, checkpoint=file).fit(series)
    assert resumed.training_["iterations"] == 10
    np.testing.assert_array_equal(resumed.cell_.readout, whole.cell_.readout)
    with pytest.raises(BadInputError, match="a run with other input or settings"):
        TDTF(delays=3, units=7, iterations=10, gate=False, checkpoint=file).fit(series)


def test_the_finish_on_closed_loops_is_kept_only_where_validation_likes_it():
    series = pendulum(400)
    parameters = {"delays": 3, "units": 6, "iterations": 5, "gate": False, "validation_fraction": 0.2}
    before, after = (TDTF(finish=finish, **parameters).fit(series).training_ for finish in (0, 4))
    assert before["chosen"] == after["chosen"]
    assert after["finished"]
    assert after["error"] < before["error"]


def test_a_long_finish_mends_what_the_linear_model_beats_before_it():
    series = stuart_landau(700)
    parameters = {"units": 8, "rank": 3, "attention": False, "noise": 0.03, "ridge": 1e-6, "common_scale": True}
    model = TDTF(delays=1, iterations=3, finish=12, finish_steps=60, validation_fraction=0.2, **parameters)
    model.fit(series[:500], dt=0.1)
    assert model.training_["finished"]
    assert model.training_["error"] < 0.5 * model.training_["linear_error"]
    forecast = model.forecast(series[:500], 200)
    assert forecast.status == "completed"
    truth = series[500:]
    np.testing.assert_allclose(forecast.values[:, 0].std(), truth[:, 0].std(), rtol=0.02)


def stuart_landau(steps, *, dt=0.1):
    """An oscillation that grows to its limit, and the mean field that it drives: (steps, 3)."""
    z, mean, rows = 0.02 + 0j, 0.0, []
    for _ in range(steps):
        rows.append((z.real, z.imag, mean))
        for _ in range(10):
            z += dt / 10 * ((0.3 - mean + 1.1j) * z)
            mean += dt / 10 * (0.3 * abs(z) ** 2 - mean)
    return np.array(rows)


def test_a_common_scale_keeps_the_proportions_of_the_features():
    series = waves(200)
    fitted = TDTF(delays=3, units=0, common_scale=True, noise=0.0).fit(series)
    scale = fitted.units_.scale
    assert scale[0] == scale[1] == pytest.approx(np.sqrt((series.std(axis=0) ** 2).mean()))
    apart = TDTF(delays=3, units=0, noise=0.0).fit(series)
    ours = [one.forecast(series[:10], 5).values for one in (fitted, apart)]
    np.testing.assert_allclose(*ours, atol=1e-5)


def test_without_units_the_rank_is_that_of_tddmd():
    series = waves(400, noise=0.05)
    linear = TDDMD(delays=12, rank=4).fit(series)
    same = TDTF(delays=12, rank=4, units=0, noise=0.0, ridge=0.0, validation_fraction=0.0).fit(series)
    np.testing.assert_allclose(
        same.forecast(series[:20], 30).values, linear.forecast(series[:20], 30).values, rtol=1e-3, atol=5e-3
    )


def test_a_budget_ends_the_training_with_a_status():
    model = TDTF(delays=3, units=6, iterations=50, gate=False, budget=0.0).fit(pendulum(300))
    assert (model.training_["status"], model.training_["iterations"]) == ("budget", 0)


def test_progress_is_told():
    told = []
    TDTF(delays=3, units=6, iterations=6, gate=False).fit(
        pendulum(300), progress=lambda share, line: told.append((share, line))
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert "one step" in told[0][1]


def test_a_step_of_the_closed_loop_is_the_cells_step():
    series, push = driven(120)
    model = TDTF(delays=3, stride=3, units=6, iterations=3, gate=False).fit(series, inputs=push)
    tokens = tokens_of(model.units_.snapshots(series), model.units_.inputs(push), 3, 3)
    np.testing.assert_allclose(
        model.units_.restore(model.cell_.step(tokens)), model.one_step(series, push), rtol=1e-12, atol=1e-12
    )


def test_noise_moves_windows_and_leaves_the_next_snapshot_true():
    series = waves(50)
    settings = TDTF(delays=3).settings()
    data = normalise([series], [np.empty((50, 0))], settings)
    tokens, following = windows_of(data, settings)
    moved, targets = shaken(tokens, following, 0.1, np.random.default_rng(0))
    assert 0.08 < (moved - tokens).std() < 0.12
    np.testing.assert_allclose(moved[:, -1] + targets, following, atol=1e-12)


def test_smoothing_brings_a_noisy_series_nearer_to_the_truth():
    clean = pendulum(400)
    noisy = clean + 0.05 * np.random.default_rng(0).standard_normal(clean.shape)
    model = TDTF(delays=2, stride=2, units=16, iterations=15, gate=False).fit(clean)
    y, truth = model.units_.snapshots(noisy), model.units_.snapshots(clean)
    (brought,) = smoothed(model.cell_, [y], [np.empty((400, 0))], guess=[y], ratio=100.0)
    assert np.sqrt(((brought - truth) ** 2).mean()) < 0.5 * np.sqrt(((y - truth) ** 2).mean())


def test_a_fit_with_smoothing_rounds_sees_a_smoother_series():
    clean = pendulum(400)
    noisy = clean + 0.05 * np.random.default_rng(0).standard_normal(clean.shape)
    parameters = {"delays": 3, "stride": 3, "units": 8, "iterations": 5, "noise": 2e-2, "ridge": 1e-5, "gate": False}
    parameters["rank"] = 6
    raw, model = (TDTF(smoothing=rounds, **parameters).fit(noisy).training_ for rounds in (0, 3))
    assert model["history"][-1]["one_step"] < 0.8 * raw["history"][-1]["one_step"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"units": -1}, "units is -1"),
        ({"activation": "relu"}, "activation is 'relu'"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"validation_fraction": 0.9}, "at most 0.5"),
        ({"budget": -1.0}, "budget is -1"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(BadInputError, match=message):
        TDTF(**parameters).fit(waves(100))


def test_learning_from_every_second_window_gives_another_fit_and_zero_is_refused():
    rng = np.random.default_rng(5)
    series = rng.standard_normal((60, 2)).cumsum(axis=0)
    settings = {"delays": 2, "units": 4, "iterations": 3, "validation_fraction": 0.0, "gate": False, "noise": 0.0}
    thin = TDTF(every=2, **settings).fit(series)
    assert thin.training_["iterations"] == 3
    assert not np.array_equal(thin.one_step(series), TDTF(**settings).fit(series).one_step(series))
    with pytest.raises(BadInputError, match="every"):
        TDTF(every=0).fit(series)


def test_numbers_that_leave_float64_in_training_are_an_error_or_the_linear_model():
    series = np.random.default_rng(0).normal(size=(300, 2)).cumsum(axis=0)
    with np.errstate(all="ignore"):
        with pytest.raises(ConvergenceError, match="lower unit_scale"):
            TDTF(delays=2, units=5, iterations=3, activation="identity", unit_scale=1e160).fit(series)
        model = TDTF(delays=2, units=5, iterations=3, unit_scale=1e300).fit(series)
    assert model.training_["chosen"] == 0
    assert model.forecast(series, 20).status == "completed"


def test_without_settings_it_searches_them_and_says_what_it_found(tmp_path):
    series = lorenz63(2500, seed=1)
    model = TDTF().fit(series.values[:2000], dt=series.dt)
    assert model.family.startswith("TD-TF")
    assert model.chosen_["units"] > 0
    assert (model.chosen_["delays"], model.training_["tried"] > 5) == (model.delays_, True)
    errors = model.backtest(series.values[2000:], horizon=100, every=50).errors
    assert np.median(errors.max(axis=1)) < 0.1
    model.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.forecast(30).values, model.forecast(30).values)
    assert (loaded.delays_, loaded.stride_, loaded.chosen_) == (model.delays_, model.stride_, model.chosen_)


def test_without_settings_a_linear_system_gets_a_linear_model():
    model = TDTF(budget=0.5).fit(waves(600, noise=0.0))
    assert model.family == "TD-DMD"
    np.testing.assert_allclose(
        model.forecast(waves(600, noise=0.0)[:500], 50).values, waves(600, noise=0.0)[500:550], atol=1e-6
    )


def test_without_settings_a_short_seasonal_series_stays_in_reason():
    steps = np.arange(144)
    season = 1 + 0.2 * np.sin(2 * np.pi * steps / 12) + 0.08 * np.cos(4 * np.pi * steps / 12)
    values = ((120 + 2.5 * steps) * season + 6 * np.random.default_rng(0).standard_normal(144))[:, None]
    model = TDTF().fit(values[:120])
    forecast = model.forecast(values[:120], 24).values
    naive = np.abs(values[108:120][np.arange(24) % 12] - values[120:]).mean()
    assert np.abs(forecast - values[120:]).mean() < 0.7 * naive


def test_a_gate_with_nothing_to_validate_on_keeps_the_linear_model():
    steps = np.arange(60)
    values = (np.sin(steps / 3) + 0.05 * steps + 0.1 * np.random.default_rng(0).standard_normal(60))[:, None]
    model = TDTF(units=40, iterations=5).fit(values)
    assert (model.training_["status"], model.family) == ("unvalidated", "TD-DMD")


def test_weights_that_are_too_many_to_train_stay_where_they_start():
    wide = np.random.default_rng(0).standard_normal((400, 60))
    model = TDTF(delays=10, units=50, gate=False, validation_fraction=0.0).fit(wide)
    assert (model.training_["status"], model.training_["iterations"]) == ("fixed", 0)


@pytest.mark.parametrize("activation", ["sin", "tanh"])
def test_fixed_units_are_the_same_as_a_basis_and_as_a_td_tf(activation):
    series = lorenz63(900, seed=0)
    settings = {"delays": 2, "units": 120, "activation": activation, "ridge": 1e-13, "random_state": 3}
    basis = BasisMap(noise=1e-6, **settings).fit(series.values[:600], dt=series.dt)
    cell = TDTF(noise=1e-6, iterations=0, gate=False, validation_fraction=0.0, attention=False, **settings)
    cell.fit(series.values[:600], dt=series.dt)
    ahead = series.values[600:]
    np.testing.assert_allclose(cell.one_step(ahead), basis.one_step(ahead), atol=1e-3)


def test_a_td_tf_takes_over_what_a_basis_has_by_default():
    settings = shared_settings("BasisMap", {"delays": 2, "units": 30, "ridge": 1e-9})
    assert settings == {
        "delays": 2, "stride": 1, "units": 30, "activation": "sin", "noise": 0.0, "ridge": 1e-9, "random_state": 0,
    }  # fmt: skip


def test_a_search_for_a_td_tf_tries_nothing_that_one_cannot_be():
    series = lorenz63(700, seed=0)
    search = Exploration(
        [series.values], [np.empty((700, 0))], series.dt, horizon=50, budget=0.3, seed=0, units_only=True
    )
    search.explore()
    assert {trial.family for trial in search.trials} == {"naive", "TD-DMD", "fixed units"}


def test_the_sharpened_output_layer_is_the_penalised_least_squares_of_another_library():
    series = lorenz63(500, seed=0).values
    z = (series - series.mean(axis=0)) / series.std(axis=0)
    settings = TDTF(delays=2, units=60, ridge=1e-13, attention=False, noise=0.0).settings()
    tokens = tokens_of(z, np.empty((500, 0)), 2, 1)
    targets = z[2:] - z[1:-1]
    problem = Problem(tokens, targets, settings.ridge, linear=True)
    network = first_network(tokens, settings, np.random.default_rng(0))
    solved = sharpened(problem, solve_output(problem, network))
    columns = features(tokens, solved.passed.units, linear=True)
    below = np.sqrt(settings.ridge * len(columns)) * np.eye(columns.shape[1])
    below[0, 0] = 0.0
    whole = np.concatenate([columns, below])
    expected = np.linalg.lstsq(whole, np.concatenate([targets, np.zeros((len(below), 3))]), rcond=None)[0]
    np.testing.assert_allclose(columns @ solved.readout, columns @ expected, atol=1e-9)
    np.testing.assert_allclose(solved.residuals, targets - columns @ solved.readout, atol=1e-15)


def test_training_ends_between_two_attempts_at_a_step_when_its_time_is_over():
    series = lorenz63(300, seed=0).values
    z = (series - series.mean(axis=0)) / series.std(axis=0)
    settings = TDTF(delays=2, units=5, attention=False).settings()
    tokens = tokens_of(z, np.empty((300, 0)), 2, 1)
    problem = Problem(tokens, z[2:] - z[1:-1], 1e-9, linear=True)
    network = first_network(tokens, settings, np.random.default_rng(0))
    again, _ = levenberg_marquardt(
        problem, network, iterations=5, accept=lambda *_: pytest.fail("a step was tried"), expired=lambda: True
    )
    assert again is network


def bursts(rows, seed):
    """``x' = .9 x + .5 sin(3 x(k - d))`` with d = 6 or 20, as x is above or below 0."""
    x = list(np.random.default_rng(seed).standard_normal(30))
    for _ in range(rows + 300):
        x.append(0.9 * x[-1] + 0.5 * np.sin(3 * x[-1 - (6 if x[-1] > 0 else 20)]))
    return np.array(x[-rows:])


def test_attention_learns_which_delay_acts_where_the_state_says_so():
    learned, ahead = bursts(800, 0), bursts(300, 1)
    settings = {"delays": 25, "units": 40, "rank": 4, "noise": 1e-3, "ridge": 1e-6, "iterations": 60, "gate": False}
    errors = {}
    for attention in (True, False):
        model = TDTF(attention=attention, **settings).fit(learned)
        errors[attention] = 1.0 - model.score(ahead)
    assert errors[True] < 0.6 * errors[False]


def test_attention_has_many_delays_to_pick_among_or_is_not_tried():
    assert attentive_settings(2000, 200)["delays"] == 25
    assert attentive_settings(2000, 15)["delays"] == 15
    assert attentive_settings(2000, 9) is None
    assert attentive_settings(90, 200) is None
