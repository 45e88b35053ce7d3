# ruff: noqa: D102  (the names of tests say what they test)
"""Contracts: tests that a class of yours inherits, to be held to what the library relies on.

Needs pytest. Write a class whose name begins with ``Test``, inherit a contract, and give ``make()``::

    from tokendyn.testing import ForecasterContract

    class TestMyForecaster(ForecasterContract):
        @classmethod
        def make(cls):
            return MyForecaster()

``pytest.register_assert_rewrite("tokendyn.testing")`` in ``conftest.py`` makes failures say more.
"""

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import tokendyn
from tokendyn.attention import attend
from tokendyn.attention.dispatch import SOFTMAX, SoftmaxBackend, register_attention
from tokendyn.attention.problem import Offer, Problem
from tokendyn.data.attention_names import Scheme
from tokendyn.data.families import recognise, register_family
from tokendyn.dynamics.run import run
from tokendyn.errors import BadInputError, OutputError
from tokendyn.forecast import Forecaster
from tokendyn.results import STATUSES, Result

__all__ = [
    "AttentionBackendContract",
    "ForecasterContract",
    "ModelFamilyContract",
    "ResultContract",
    "TokenSystemContract",
    "driven",
    "waves",
]


class ResultContract:
    """What every result keeps; ``make`` returns one. Of a class that saves nothing, set ``saves = False``."""

    saves = True

    @classmethod
    def make(cls) -> Result:
        """Return a result."""
        raise NotImplementedError("write make(), which returns a result")

    @pytest.fixture(scope="class")
    @classmethod
    def result(cls) -> Result:
        return cls.make()

    def test_it_says_itself_in_a_few_sentences(self, result: Result) -> None:
        assert isinstance(result, Result)
        lines = result.describe()
        assert lines
        assert all(isinstance(line, str) and line.strip() for line in lines)
        assert str(result) == "\n".join(lines)
        assert len(str(result)) < 4000

    def test_its_repr_is_one_short_line_with_the_status(self, result: Result) -> None:
        shown = repr(result)
        assert "\n" not in shown
        assert len(shown) <= 160
        assert shown.startswith(type(result).__name__)
        assert repr(result.status) in shown

    def test_its_status_is_a_word_of_the_list(self, result: Result) -> None:
        assert result.status in STATUSES

    def test_its_summary_is_json(self, result: Result) -> None:
        summary = result.summary()
        assert all(isinstance(name, str) for name in summary)
        json.dumps(summary, default=lambda value: pytest.fail(f"{value!r} is no JSON value"))

    def test_its_table_is_a_dataframe(self, result: Result) -> None:
        import pandas as pd

        table = result.table()
        assert isinstance(table, pd.DataFrame)
        assert len(table.columns)
        assert table.columns.is_unique

    def test_its_picture_obeys_the_style_and_leaves_nothing_behind(self, result: Result) -> None:
        import matplotlib as mpl
        from matplotlib import pyplot
        from matplotlib.figure import Figure

        before = dict(mpl.rcParams)
        style: dict[Any, Any] = {
            "figure.figsize": (3.0, 2.0),
            "figure.facecolor": "#112233",
            "axes.labelcolor": "#445566",
        }
        with mpl.rc_context(style):
            figure = result.plot()
            assert dict(mpl.rcParams) == before | mpl.rcParams.__class__(style)
        assert isinstance(figure, Figure)
        assert tuple(figure.get_size_inches()) == (3.0, 2.0)
        assert mpl.colors.to_hex(figure.get_facecolor()) == "#112233"
        assert mpl.colors.to_hex(figure.axes[0].xaxis.label.get_color()) == "#445566"
        assert pyplot.get_fignums() == []
        assert dict(mpl.rcParams) == before

    def test_it_draws_into_axes_that_are_given(self, result: Result) -> None:
        from matplotlib.figure import Figure

        figure = Figure()
        left, right = figure.subplots(1, 2)
        assert result.plot(right) is figure
        assert not left.has_data()

    def test_a_notebook_shows_sentences_and_a_picture(self, result: Result) -> None:
        shown = result._repr_html_()
        assert "<img" in shown or "<svg" in shown or "<span" in shown
        assert not re.search(r"<script[^>]*src=|https?://(?!www\.w3\.org)", shown)

    def test_its_page_needs_no_other_file(self, result: Result, tmp_path: Path) -> None:
        path = tmp_path / "page.html"
        result.report(path)
        page = path.read_text(encoding="utf-8")
        assert page.lstrip().lower().startswith("<!doctype html>")
        assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
        assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
        result.report(path)  # a page of its own is made anew
        path.write_text("a page of another program", encoding="utf-8")
        with pytest.raises(OutputError, match="exists already"):
            result.report(path)
        assert path.read_text(encoding="utf-8") == "a page of another program"

    def test_it_comes_back_from_its_folder(self, result: Result, tmp_path: Path) -> None:
        if not self.saves:
            with pytest.raises(BadInputError):
                result.save(tmp_path / "saved")
            assert not (tmp_path / "saved").exists()
            return
        result.save(tmp_path / "saved")
        again = tokendyn.load(tmp_path / "saved")
        assert type(again) is type(result)
        assert again.status == result.status
        assert again.describe() == result.describe()
        assert again.table().equals(result.table())
        with pytest.raises(OutputError, match="exists already"):
            result.save(tmp_path / "saved")
        result.save(tmp_path / "saved", overwrite=True)

    def test_texts_of_others_are_escaped(self, result: Result) -> None:
        shown = result._repr_html_()
        for line in result.describe():
            if "<" in line:
                assert line not in shown
                # The first letter may be a capital one there.
                assert html.escape(line[1:]) in shown


class AttentionBackendContract:
    """What every softmax backend keeps; ``make`` returns one: an object or module with ``offer`` and ``softmax``.

    Set beta, tokens, dim and error tolerance of the problems to what the backend takes.
    """

    inverse_temperature, tokens, dim, error_tolerance = 2.0, 300, 3, 1e-6

    @classmethod
    def make(cls) -> SoftmaxBackend:
        """Return the backend."""
        raise NotImplementedError("write make(), which returns the backend")

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> SoftmaxBackend:
        return cls.make()

    def problem(self, seed: int = 0) -> Problem:
        """Return points on the unit sphere that attend to each other, with weights."""
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(self.tokens, self.dim))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        weights = rng.uniform(0.5, 2.0, self.tokens)
        slack = np.zeros(self.tokens)
        return Problem(points, slack, points, points, weights, self.inverse_temperature, self.error_tolerance)

    @staticmethod
    def exact(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
        """Return means and log partition functions by the definition."""
        logits = problem.inverse_temperature * problem.queries @ problem.keys.T + np.log(problem.weights)
        tops = logits.max(axis=1, keepdims=True)
        shares = np.exp(logits - tops)
        totals = shares.sum(axis=1, keepdims=True)
        return shares @ problem.values / totals, (tops + np.log(totals))[:, 0]

    def test_it_offers_seconds_and_a_reason_or_says_why_not(self, backend: SoftmaxBackend) -> None:
        offer = backend.offer(self.problem())
        assert isinstance(offer, Offer | str)
        if isinstance(offer, Offer):
            assert offer.seconds >= 0
            assert offer.reason

    def test_its_means_keep_the_tolerance_and_its_own_bound(self, backend: SoftmaxBackend) -> None:
        for seed in range(3):
            problem = self.problem(seed)
            found, (means, logs) = backend.softmax(problem), self.exact(problem)
            largest = np.linalg.norm(problem.values, axis=1).max()
            errors = np.linalg.norm(found.means - means, axis=1) / largest
            assert found.error_bound <= self.error_tolerance
            assert errors.max() <= found.error_bound + 1e-12
            np.testing.assert_allclose(found.log_partitions, logs, atol=10 * self.error_tolerance + 1e-10)

    def test_the_order_of_the_keys_does_not_matter(self, backend: SoftmaxBackend) -> None:
        problem = self.problem()
        order = np.random.default_rng(1).permutation(self.tokens)
        moved = {name: getattr(problem, name)[order] for name in ("keys", "values", "weights")}
        means, permuted = backend.softmax(problem).means, backend.softmax(replace(problem, **moved)).means
        np.testing.assert_allclose(means, permuted, atol=2 * self.error_tolerance + 1e-12)

    def test_the_same_problem_gives_the_same_bits(self, backend: SoftmaxBackend) -> None:
        first, second = (backend.softmax(self.problem()).means for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_attend_reaches_it_by_name(self, backend: SoftmaxBackend) -> None:
        problem, name = self.problem(), "backend_under_test"
        register_attention(name, backend)
        try:
            step = attend(
                problem.queries, problem.keys, problem.values, weights=problem.weights, backend=name,
                inverse_temperature=self.inverse_temperature, error_tolerance=self.error_tolerance,
            )  # fmt: skip
        finally:
            del SOFTMAX[name]
        assert step.choice.backend == name
        np.testing.assert_allclose(step.means, self.exact(problem)[0], atol=self.error_tolerance + 1e-12)


class TokenSystemContract:
    """What every layer keeps that :func:`tokendyn.run` sends tokens through; ``make`` returns one.

    A layer has ``heads`` (a tuple) and is called with ``(tokens, weights=, backend=)``; it returns the moved tokens and
    one :class:`tokendyn.AttentionStep` for each head.
    """

    tokens, dim = 12, 2

    @classmethod
    def make(cls) -> Any:
        """Return the layer."""
        raise NotImplementedError("write make(), which returns the layer")

    def points(self) -> np.ndarray:
        """Return some tokens in general position."""
        return np.random.default_rng(0).normal(size=(self.tokens, self.dim))

    def moved(self, points: np.ndarray, layers: int = 3, weights: np.ndarray | None = None) -> np.ndarray:
        """Return tokens after some layers."""
        return run(points, [self.make()] * layers, weights=weights, freeze=False).states[-1]

    def test_a_run_records_every_layer(self) -> None:
        trajectory = run(self.points(), [self.make()] * 4, freeze=False)
        assert trajectory.status == "completed"
        assert trajectory.states.shape == (5, self.tokens, self.dim)
        assert trajectory.leaders.shape == (4, len(self.make().heads), self.tokens)
        np.testing.assert_array_equal(trajectory.states[0], self.points())

    def test_the_order_of_tokens_does_not_matter(self) -> None:
        points, order = self.points(), np.random.default_rng(1).permutation(self.tokens)
        np.testing.assert_allclose(self.moved(points[order]), self.moved(points)[order], rtol=1e-12, atol=1e-12)

    def test_a_weight_is_a_multiplicity(self) -> None:
        points = self.points()
        counts = np.random.default_rng(2).integers(1, 4, self.tokens)
        repeated = self.moved(np.repeat(points, counts, axis=0))
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        weighted = self.moved(points, weights=counts.astype(np.float64))
        np.testing.assert_allclose(repeated[first], weighted, rtol=1e-9, atol=1e-11)

    def test_the_same_tokens_give_the_same_bits(self) -> None:
        np.testing.assert_array_equal(self.moved(self.points()), self.moved(self.points()))


class ModelFamilyContract:
    """What every family of model names keeps; ``make`` returns its scheme, ``names`` all tensor names of one model.

    ``layers`` is the number of attention layers of that model, ``config`` its ``config.json``.
    """

    layers: int
    config: dict[str, Any]

    @classmethod
    def make(cls) -> Scheme:
        """Return the scheme."""
        raise NotImplementedError("write make(), which returns the scheme")

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the tensors of a model of this family."""
        raise NotImplementedError("write names(), which returns the names of all tensors of a model")

    def test_a_model_of_the_family_is_recognised(self) -> None:
        register_family(self.make())
        model = recognise(self.names(), self.config, "a model")
        assert model.scheme == self.make()
        assert len(model.slots) == self.layers
        assert sorted(model.slots) == list(range(self.layers))

    def test_it_is_recognised_by_its_names_alone(self) -> None:
        register_family(self.make())
        assert recognise(self.names(), {}, "a model").scheme.name == self.make().name


def waves(steps: int, *, seed: int = 0, noise: float = 1e-3) -> np.ndarray:
    """Return two coupled waves with a little noise, (steps, 2)."""
    rng = np.random.default_rng(seed)
    time = 0.1 * np.arange(steps) + rng.uniform(0, 6)
    clean = np.stack([np.sin(time) + 0.2 * np.sin(2.2 * time), 3 * np.cos(time)], axis=1)
    return clean + noise * rng.standard_normal(clean.shape)


def driven(steps: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a damped oscillator pushed by a known input: the series (steps, 1) and the input (steps, 1)."""
    rng = np.random.default_rng(seed)
    push = np.sin(0.17 * np.arange(steps) + rng.uniform(0, 6)) + 0.5 * np.sin(0.31 * np.arange(steps))
    x = np.zeros(steps)
    for k in range(1, steps - 1):
        x[k + 1] = 1.8 * x[k] - 0.9 * x[k - 1] + 0.1 * push[k + 1]
    return x[:, None], push[:, None]


class ForecasterContract:
    """Tests of one kind of model; ``make`` returns one that learns :func:`waves` within a second or two.

    Set what the model does not do to False: the tests of it are skipped.
    """

    takes_inputs = True  # whether inputs= of fit and forecast bear on the forecast
    takes_lists = True  # whether fit takes several series
    saves = True
    ends_its_progress = True  # whether the last share is 1
    restarts = True  # whether the state of a rollout is its last window, so that a forecast continues itself

    @classmethod
    def make(cls) -> Forecaster:
        """Return a model that is not fitted."""
        raise NotImplementedError("write make(), which returns a model that is not fitted")

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Forecaster:
        return cls.make().fit(waves(400), dt=0.1)

    def test_parameters_survive_cloning(self) -> None:
        model = self.make()
        assert clone(model).get_params() == model.get_params()

    def test_an_unfitted_model_says_so(self) -> None:
        with pytest.raises(NotFittedError, match="call fit"):
            self.make().forecast(waves(50), 3)

    def test_fit_returns_the_model_and_knows_its_data(self, model: Forecaster) -> None:
        assert (model.n_features_, model.n_inputs_, model.dt_) == (2, 0, 0.1)
        assert model.window_length_ >= 1
        assert model.score(waves(200, seed=1)) > 0.8

    def test_progress_rises_from_0_to_1(self) -> None:
        calls: list[tuple[float, str]] = []
        self.make().fit(waves(400), dt=0.1, progress=lambda share, line: calls.append((share, line)))
        shares = [share for share, _ in calls]
        assert shares == sorted(shares)
        assert all(0 <= share <= 1 for share in shares)
        assert not shares or shares[-1] == 1 or not self.ends_its_progress

    def test_one_step_is_aligned_with_what_follows_each_window(self, model: Forecaster) -> None:
        series = waves(120, seed=2)
        predicted = model.one_step(series)
        assert predicted.shape == (120 - model.window_length_, 2)
        assert np.abs(predicted - series[model.window_length_ :]).max() < 0.5

    def test_the_first_step_of_a_forecast_is_the_one_step_prediction(self, model: Forecaster) -> None:
        series = waves(model.window_length_ + 1, seed=3)
        np.testing.assert_allclose(model.forecast(series[:-1], 1).values, model.one_step(series), rtol=1e-8, atol=1e-9)

    def test_a_forecast_continues_itself(self, model: Forecaster) -> None:
        window = waves(model.window_length_ + 5, seed=4)
        whole = model.forecast(window, 12)
        part = model.forecast(window, 5)
        if self.restarts:
            later = model.forecast(np.concatenate([window, part.values]), 7)
            np.testing.assert_allclose(whole.values[5:], later.values, rtol=1e-7, atol=1e-8)
        np.testing.assert_array_equal(whole.values[:5], part.values)
        assert (whole.status, whole.finite_steps, whole.dt) == ("completed", 12, 0.1)
        np.testing.assert_allclose(whole.times, 0.1 * np.arange(1, 13))

    def test_only_the_last_snapshots_of_a_longer_window_count(self, model: Forecaster) -> None:
        window = waves(model.window_length_ + 40, seed=5)
        short = model.forecast(window[-model.window_length_ :], 6)
        np.testing.assert_allclose(model.forecast(window, 6).values, short.values, rtol=1e-9, atol=1e-10)

    def test_a_batch_equals_its_members(self, model: Forecaster) -> None:
        windows = np.stack([waves(model.window_length_, seed=seed) for seed in (6, 7, 8)])
        batch = model.forecast_many(windows, 9)
        for window, forecast in zip(windows, batch, strict=True):
            np.testing.assert_allclose(forecast.values, model.forecast(window, 9).values, rtol=1e-8, atol=1e-9)

    def test_the_same_seed_gives_the_same_model(self, model: Forecaster) -> None:
        again = clone(model).fit(waves(400), dt=0.1)
        window = waves(model.window_length_, seed=9)
        np.testing.assert_array_equal(model.forecast(window, 8).values, again.forecast(window, 8).values)

    def test_a_far_window_never_gives_nan_silently(self, model: Forecaster) -> None:
        window = np.full((model.window_length_, 2), 1e300) * np.linspace(-1, 1, model.window_length_ * 2).reshape(-1, 2)
        forecast = model.forecast(window, 30)
        assert np.isfinite(forecast.values).all()
        assert len(forecast.values) == forecast.finite_steps
        assert (forecast.status == "completed") == (forecast.finite_steps == 30)

    def test_series_of_unequal_length_are_learned_together(self) -> None:
        if not self.takes_lists:
            pytest.skip("this model takes one series; set takes_lists when it takes several")
        model = self.make().fit([waves(300), waves(180, seed=1)], dt=0.1)
        assert model.score(waves(200, seed=2)) > 0.8

    def test_inputs_are_used(self) -> None:
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
        errors = np.abs(forecast.values - truth).mean(), np.abs(still.values - truth).mean()
        assert errors[0] < 0.5 * errors[1], "inputs do not help; use them, or set takes_inputs = False"
        with pytest.raises(BadInputError, match="rows, expected"):
            model.forecast(series[:span], horizon, inputs=push[:span])
        with pytest.raises(BadInputError, match="fitted with 1 input;"):
            model.forecast(series[:span], horizon)

    def test_inputs_given_to_a_model_without_are_an_error(self, model: Forecaster) -> None:
        with pytest.raises(BadInputError, match="fitted without inputs"):
            model.forecast(waves(model.window_length_), 3, inputs=np.zeros((model.window_length_ + 3, 1)))

    def test_backtest_measures_from_every_origin(self, model: Forecaster) -> None:
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

    def test_a_saved_model_forecasts_the_same(self, model: Forecaster, tmp_path: Path) -> None:
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
    def test_a_truncated_folder_is_refused(self, model: Forecaster, tmp_path: Path, cut: str) -> None:
        if not self.saves:
            pytest.skip("this model cannot be saved; set saves when it can")
        model.save(tmp_path / "model")
        file = tmp_path / "model" / cut
        file.write_bytes(file.read_bytes()[:40])
        with pytest.raises(BadInputError):
            Forecaster.load(tmp_path / "model")

    def test_a_newer_schema_is_refused(self, model: Forecaster, tmp_path: Path) -> None:
        if not self.saves:
            pytest.skip("this model cannot be saved; set saves when it can")
        model.save(tmp_path / "model")
        file = tmp_path / "model" / "model.json"
        file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 99'))
        with pytest.raises(BadInputError, match="update it"):
            Forecaster.load(tmp_path / "model")

    def test_gaps_are_named_by_row(self) -> None:
        series = waves(400)
        series[17, 1] = np.nan
        with pytest.raises(BadInputError, match="row 17; fill"):
            self.make().fit(series)

    def test_a_constant_column_is_carried_along(self) -> None:
        series = waves(400)
        series[:, 1] = 2.0
        forecast = self.make().fit(series).forecast(7)
        assert (forecast.values[:, 1] == 2.0).all()
        with pytest.raises(BadInputError, match="every column is constant"):
            self.make().fit(np.full((400, 2), 2.0))

    def test_complex_data_are_refused(self) -> None:
        with pytest.raises(BadInputError, match="complex"):
            self.make().fit(waves(400) * 1j)

    def test_too_few_snapshots_say_how_many_are_needed(self, model: Forecaster) -> None:
        with pytest.raises(BadInputError, match=str(model.window_length_ + 1)):
            self.make().fit(waves(model.window_length_))

    def test_series_of_other_columns_are_refused(self) -> None:
        with pytest.raises(BadInputError, match=r"columns?, expected 2"):
            self.make().fit([waves(400), waves(400)[:, :1]])

    def test_a_short_window_is_refused(self, model: Forecaster) -> None:
        if model.window_length_ > 1:
            with pytest.raises(BadInputError, match=f"expected at least {model.window_length_}"):
                model.forecast(waves(model.window_length_ - 1), 3)
        with pytest.raises(BadInputError, match="steps is 0"):
            model.forecast(waves(model.window_length_), 0)

    def test_a_forecast_goes_on_from_the_training_series(self, model: Forecaster) -> None:
        series = waves(400)
        whole, window = model.forecast(7), series[-model.window_length_ :]
        np.testing.assert_allclose(whole.values, model.forecast(window, 7).values, rtol=1e-9, atol=1e-10)
        np.testing.assert_array_equal(model.predict(7), whole.values)

    def test_a_table_with_dates_gives_a_table_whose_dates_go_on(self) -> None:
        import pandas as pd

        dates = pd.date_range("2024-01-31 21:00", periods=400, freq="h")
        model = self.make().fit(pd.DataFrame(waves(400), index=dates, columns=["lift", "drag"]))
        forecast = model.predict(5)
        assert list(forecast.columns) == ["lift", "drag"]
        assert forecast.index.equals(pd.date_range(dates[-1], periods=6, freq="h")[1:])
        assert model.dt_ == 3600.0
        turned = pd.DataFrame(waves(400), index=dates, columns=["lift", "drag"])[["drag", "lift"]]
        again = model.predict(5, window=turned)
        np.testing.assert_allclose(again.to_numpy(), forecast.to_numpy(), rtol=1e-9, atol=1e-10)
        with pytest.raises(BadInputError, match="no column 'drag'"):
            model.forecast(turned[["lift"]].assign(other=1.0), 5)
