"""What every forecaster keeps: inherit :class:`ForecasterContract` and give ``make()``."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from tokendyn.errors import BadInputError, OutputError
from tokendyn.forecast import Forecaster


def waves(steps, *, seed=0, noise=1e-3):
    """Two coupled waves with a little noise, (steps, 2)."""
    rng = np.random.default_rng(seed)
    time = 0.1 * np.arange(steps) + rng.uniform(0, 6)
    clean = np.stack([np.sin(time) + 0.2 * np.sin(2.2 * time), 3 * np.cos(time)], axis=1)
    return clean + noise * rng.standard_normal(clean.shape)


def driven(steps, *, seed=0):
    """A damped oscillator pushed by a known input: the series (steps, 1) and the input (steps, 1)."""
    rng = np.random.default_rng(seed)
    push = np.sin(0.17 * np.arange(steps) + rng.uniform(0, 6)) + 0.5 * np.sin(0.31 * np.arange(steps))
    x = np.zeros(steps)
    for k in range(1, steps - 1):
        x[k + 1] = 1.8 * x[k] - 0.9 * x[k - 1] + 0.1 * push[k + 1]
    return x[:, None], push[:, None]


class ForecasterContract:
    """Tests of one kind of model; ``make`` returns one that learns :func:`waves` within a second or two."""

    takes_inputs = True
    takes_lists = True
    saves = True
    ends_its_progress = True  # whether the last share is 1
    restarts = True  # whether the state of a rollout is its last window, so that a forecast continues itself

    @classmethod
    def make(cls) -> Forecaster:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        return cls.make().fit(waves(400), dt=0.1)

    def test_parameters_survive_cloning(self):
        model = self.make()
        assert clone(model).get_params() == model.get_params()

    def test_an_unfitted_model_says_so(self):
        with pytest.raises(NotFittedError, match="call fit"):
            self.make().forecast(waves(50), 3)

    def test_fit_returns_the_model_and_knows_its_data(self, model):
        assert (model.n_features_, model.n_inputs_, model.dt_) == (2, 0, 0.1)
        assert model.window_length_ >= 1
        assert model.score(waves(200, seed=1)) > 0.8

    def test_progress_rises_from_0_to_1(self):
        told = []
        self.make().fit(waves(400), dt=0.1, progress=lambda share, line: told.append((share, line)))
        shares = [share for share, _ in told]
        assert shares == sorted(shares)
        assert all(0 <= share <= 1 for share in shares)
        assert not shares or shares[-1] == 1 or not self.ends_its_progress

    def test_one_step_is_aligned_with_what_follows_each_window(self, model):
        series = waves(120, seed=2)
        predicted = model.one_step(series)
        assert predicted.shape == (120 - model.window_length_, 2)
        assert np.abs(predicted - series[model.window_length_ :]).max() < 0.5

    def test_the_first_step_of_a_forecast_is_the_one_step_prediction(self, model):
        series = waves(model.window_length_ + 1, seed=3)
        np.testing.assert_allclose(model.forecast(series[:-1], 1).values, model.one_step(series), rtol=1e-8, atol=1e-9)

    def test_a_forecast_continues_itself(self, model):
        window = waves(model.window_length_ + 5, seed=4)
        whole = model.forecast(window, 12)
        part = model.forecast(window, 5)
        if self.restarts:
            later = model.forecast(np.concatenate([window, part.values]), 7)
            np.testing.assert_allclose(whole.values[5:], later.values, rtol=1e-7, atol=1e-8)
        np.testing.assert_array_equal(whole.values[:5], part.values)
        assert (whole.status, whole.finite_steps, whole.dt) == ("completed", 12, 0.1)
        np.testing.assert_allclose(whole.times, 0.1 * np.arange(1, 13))

    def test_only_the_last_snapshots_of_a_longer_window_count(self, model):
        window = waves(model.window_length_ + 40, seed=5)
        short = model.forecast(window[-model.window_length_ :], 6)
        np.testing.assert_allclose(model.forecast(window, 6).values, short.values, rtol=1e-9, atol=1e-10)

    def test_a_batch_equals_its_members(self, model):
        windows = np.stack([waves(model.window_length_, seed=seed) for seed in (6, 7, 8)])
        batch = model.forecast_many(windows, 9)
        for window, forecast in zip(windows, batch, strict=True):
            np.testing.assert_allclose(forecast.values, model.forecast(window, 9).values, rtol=1e-8, atol=1e-9)

    def test_the_same_seed_gives_the_same_model(self, model):
        again = clone(model).fit(waves(400), dt=0.1)
        window = waves(model.window_length_, seed=9)
        np.testing.assert_array_equal(model.forecast(window, 8).values, again.forecast(window, 8).values)

    def test_a_far_window_never_gives_nan_silently(self, model):
        window = np.full((model.window_length_, 2), 1e300) * np.linspace(-1, 1, model.window_length_ * 2).reshape(-1, 2)
        forecast = model.forecast(window, 30)
        assert np.isfinite(forecast.values).all()
        assert len(forecast.values) == forecast.finite_steps
        assert (forecast.status == "completed") == (forecast.finite_steps == 30)

    def test_series_of_unequal_length_are_learned_together(self):
        if not self.takes_lists:
            pytest.skip("this model takes one series; set takes_lists when it takes several")
        model = self.make().fit([waves(300), waves(180, seed=1)], dt=0.1)
        assert model.score(waves(200, seed=2)) > 0.8

    def test_inputs_are_used(self):
        if not self.takes_inputs:
            pytest.skip("this model takes no inputs; set takes_inputs when it does")
        series, push = driven(500)
        model = self.make().fit(series, inputs=push)
        assert model.n_inputs_ == 1
        span = model.window_length_
        horizon = 20
        rows = slice(100, 100 + span + horizon)
        forecast = model.forecast(series[rows][:span], horizon, inputs=push[rows])
        still = model.forecast(
            series[rows][:span], horizon, inputs=np.concatenate([push[rows][:span], np.zeros((20, 1))])
        )
        truth = series[rows][span:]
        assert np.abs(forecast.values - truth).mean() < 0.5 * np.abs(still.values - truth).mean()
        with pytest.raises(BadInputError, match="rows, expected"):
            model.forecast(series[:span], horizon, inputs=push[:span])
        with pytest.raises(BadInputError, match="fitted with 1 inputs"):
            model.forecast(series[:span], horizon)

    def test_inputs_given_to_a_model_without_are_an_error(self, model):
        with pytest.raises(BadInputError, match="fitted without inputs"):
            model.forecast(waves(model.window_length_), 3, inputs=np.zeros((model.window_length_ + 3, 1)))

    def test_backtest_measures_from_every_origin(self, model):
        series = waves(model.window_length_ + 60, seed=10)
        table = model.backtest(series, horizon=10, every=7)
        span = model.window_length_
        assert table.origins.tolist() == [span - 1 + 7 * k for k in range(8)]
        for origin, errors in zip(table.origins, table.errors, strict=True):
            forecast = model.forecast(series[: origin + 1], 10)
            truth = series[origin + 1 : origin + 11]
            error = np.sqrt((((forecast.values - truth) / model.scale_) ** 2).mean(axis=1))
            np.testing.assert_allclose(errors, error, rtol=1e-6, atol=1e-9)
        for more, count in ((9, 0), (10, 1), (16, 1), (17, 2)):
            if count:
                assert len(model.backtest(series[: span + more], horizon=10, every=7).origins) == count
            else:
                with pytest.raises(BadInputError, match=f"need {span + 10}"):
                    model.backtest(series[: span + more], horizon=10, every=7)
        assert [row["origin"] for row in table.rows()] == list(table.origins)

    def test_a_saved_model_forecasts_the_same(self, model, tmp_path):
        if not self.saves:
            pytest.skip("this model cannot be saved; set saves when it can")
        model.save(tmp_path / "model")
        loaded = Forecaster.load(tmp_path / "model")
        window = waves(model.window_length_, seed=11)
        np.testing.assert_array_equal(loaded.forecast(window, 8).values, model.forecast(window, 8).values)
        assert loaded.get_params() == model.get_params()
        fitted = {name for name in vars(model) if name.endswith("_") and not name.startswith("_")}
        assert fitted <= set(vars(loaded))
        for name in fitted:
            if isinstance(vars(model)[name], np.ndarray | float | int | str | dict):
                np.testing.assert_equal(vars(loaded)[name], vars(model)[name], err_msg=name)
        with pytest.raises(OutputError, match="exists already"):
            model.save(tmp_path / "model")

    @pytest.mark.parametrize("cut", ["model.json", "model.safetensors"])
    def test_a_truncated_folder_is_refused(self, model, tmp_path, cut):
        if not self.saves:
            pytest.skip("this model cannot be saved; set saves when it can")
        model.save(tmp_path / "model")
        file = tmp_path / "model" / cut
        file.write_bytes(file.read_bytes()[:40])
        with pytest.raises(BadInputError):
            Forecaster.load(tmp_path / "model")

    def test_a_newer_schema_is_refused(self, model, tmp_path):
        if not self.saves:
            pytest.skip("this model cannot be saved; set saves when it can")
        model.save(tmp_path / "model")
        file = tmp_path / "model" / "model.json"
        file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 99'))
        with pytest.raises(BadInputError, match="update it"):
            Forecaster.load(tmp_path / "model")

    def test_gaps_are_named_by_row(self):
        series = waves(400)
        series[17, 1] = np.nan
        with pytest.raises(BadInputError, match="row 17; fill"):
            self.make().fit(series)

    def test_a_constant_column_is_named(self):
        series = waves(400)
        series[:, 1] = 2.0
        with pytest.raises(BadInputError, match="column 1 is constant"):
            self.make().fit(series)

    def test_complex_data_are_refused(self):
        with pytest.raises(BadInputError, match="complex"):
            self.make().fit(waves(400) * 1j)

    def test_too_few_snapshots_say_how_many_are_needed(self, model):
        with pytest.raises(BadInputError, match=str(model.window_length_ + 1)):
            self.make().fit(waves(model.window_length_))

    def test_series_of_other_columns_are_refused(self):
        with pytest.raises(BadInputError, match="columns, expected 2"):
            self.make().fit([waves(400), waves(400)[:, :1]])

    def test_a_short_window_is_refused(self, model):
        if model.window_length_ > 1:
            with pytest.raises(BadInputError, match=f"expected at least {model.window_length_}"):
                model.forecast(waves(model.window_length_ - 1), 3)
        with pytest.raises(BadInputError, match="steps is 0"):
            model.forecast(waves(model.window_length_), 0)
