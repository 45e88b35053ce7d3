"""The validation studies: no test data in training, one table, models by name; short runs of cheap models."""

import os

import numpy as np
import pytest

from tokendyn.data.snapshots import Snapshots
from tokendyn.errors import BadInputError
from tokendyn.forecast.naive import Persistence, SeasonalNaive
from tokendyn.forecast.tasks import Task, rollouts
from tokendyn.rivals.forecast import NVAR
from tokendyn.studies.forecast import STUDIES, aerodynamics, gusts, public, reaction_diffusion, synthetic
from tokendyn.studies.forecast.aerodynamics_study import cycle_errors, wake_task
from tokendyn.studies.forecast.comparison import Contender, compare, contenders, finished, tuned_by
from tokendyn.studies.forecast.lorenz_study import lorenz_task
from tokendyn.studies.forecast.synthetic_study import SIGNALS, signal_task

PERIODIC = Contender("naive", tuned_by(SeasonalNaive, lambda rng: {"period": int(rng.integers(20, 30))}, {}), "peer")


def wave(points=300, period=25):
    turn = 2 * np.pi * np.arange(points) / period
    values = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    return Snapshots(values, 0.1 * np.arange(points), 0.1, ("a", "b"))


TASK = Task("wave", (wave()[:200],), (wave()[100:],), 100, 60, 4, 30)


def test_a_model_that_is_right_wins_and_forecasts_start_where_they_should():
    (outcome,), failures = compare(TASK, [PERIODIC], 1.0, 0)
    assert failures == []
    assert outcome.tuned.parameters["period"] == 25
    assert outcome.row["nrmse"] < 1e-12
    assert outcome.row["starts"] == 4
    _, truths = rollouts(TASK, outcome.tuned.model)
    np.testing.assert_array_equal(truths[0], wave().values[200:260])
    np.testing.assert_array_equal(truths[-1], wave().values[240:])


@pytest.mark.parametrize("name", SIGNALS)
def test_no_test_start_lies_in_the_training_rows(name):
    task = signal_task(name, 400, seed=0)
    assert task.tests[0].times[task.lead] > task.train[0].times[-1]
    assert len(task.tests[0]) >= task.lead + task.horizon


def test_what_fails_is_named_and_the_others_go_on():
    wrong = Contender("wrong", tuned_by(SeasonalNaive, lambda _: {"period": 0}, {"period": 0}), "peer")
    single = Contender("single", tuned_by(Persistence, lambda _: {}, {}), "peer", one_series=True)
    outcomes, failures = compare(TASK, [wrong, PERIODIC], 0.5, 0)
    assert [outcome.contender.name for outcome in outcomes] == ["naive"]
    assert "none of 21 settings" in failures[0]
    several = Task("two", (wave(), wave(200)), (wave(),), 50, 60, 2, 30)
    outcomes, failures = compare(several, [single, PERIODIC], 0.5, 0)
    assert "one series only" in failures[0]
    assert outcomes[0].row["nrmse"] < 1e-12


def test_windows_and_tests_that_do_not_fit_are_refused():
    model = SeasonalNaive(period=150).fit(wave().values, dt=0.1)
    with pytest.raises(BadInputError, match="150 snapshots, but 100"):
        rollouts(TASK, model)
    short = Task("short", (wave(),), (wave(120),), 100, 60, 1, 30)
    with pytest.raises(BadInputError, match="needs 160"):
        rollouts(short, Persistence().fit(wave().values, dt=0.1))


def test_a_divergence_is_counted_and_never_a_number():
    settings = {"delays": 1, "order": 5, "ridge": 0.0, "noise": 0.0}
    grow = Contender("grow", tuned_by(NVAR, lambda _: {}, settings), "peer")
    rng = np.random.default_rng(0)
    noise = Snapshots(np.cumsum(rng.normal(size=(300, 1)), axis=0), 0.1 * np.arange(300), 0.1, ("x",))
    (outcome,), _ = compare(Task("walk", (noise[:200],), (noise[100:],), 50, 100, 3, 20), [grow], 0.1, 0)
    broken = np.isnan(outcome.forecasts).any(axis=(1, 2))
    assert outcome.row["diverged"] == broken.sum()
    assert np.isfinite(outcome.row["nrmse"]) or broken.any()


def test_the_cycle_of_a_forecast_is_measured():
    (outcome,), _ = compare(TASK, [PERIODIC], 1.0, 0)
    task = Task("wave", TASK.train, (wave(160),), 100, 60, 1, 30)
    outcome.forecasts[0] = 1.1 * task.tests[0].values[100:]
    found = cycle_errors(task, outcome)
    assert found["amplitude_error"] == pytest.approx(0.1)
    assert found["frequency_error"] < 1e-9


def test_a_study_of_signals_is_one_table():
    study = synthetic(quick=True, budget=0.05, models=["TD-DMD", "NVAR"])
    assert [row["model"] for row in study.rows] == ["TD-DMD", "NVAR"] * 2
    clean = study.rows[0]
    assert clean["nrmse"] < 1e-6
    assert clean["frequency_error"] < 0.02
    assert len(study.describe()) == 5
    assert study.arrays["noisy/truth"].shape == study.arrays["noisy/NVAR"].shape
    assert study.settings["chosen"]["noisy/NVAR"]["lost"] > 0
    again = synthetic(quick=True, budget=1e-9, models=["TD-DMD"])
    assert again.rows[0]["nrmse"] == synthetic(quick=True, budget=1e-9, models=["TD-DMD"]).rows[0]["nrmse"]


def test_reaction_diffusion_is_measured_in_the_field():
    study = reaction_diffusion(quick=True, budget=1e-9, models=["TD-DMD", "PyDMD"])
    for row in study.rows:
        assert row["field_error"] >= row["floor"] * (1 - 1e-9)
    assert "one series only" in study.failures[0]
    assert study.arrays["energies/4"].sum() <= 1


def test_attached_gusts_are_linear_and_give_the_indicial_functions():
    study = gusts(quick=True, budget=1e-9, models=["TD-DMD"])
    attached, stalled = study.rows
    assert attached["nrmse"] < 1e-6
    assert max(attached["kuessner_error"], attached["wagner_error"]) < 0.01
    assert stalled["nrmse"] > 0.1


def test_the_linear_wave_is_forecast_and_the_sprott_systems_end_their_table():
    study = public(quick=True, budget=1e-9, models=["TD-DMD"])
    assert [row["task"] for row in study.rows] == ["Sprott A", "Sprott B", "Sprott C", "wave"]
    assert study.rows[-1]["nrmse"] < 1e-8


def test_models_are_chosen_by_name():
    assert [one.name for one in contenders(["ESN", "TD-DMD"])] == ["TD-DMD", "ESN"]
    assert "PySINDy" in [one.name for one in contenders(partial=False)]
    assert "PyDMD" not in [one.name for one in contenders(inputs=True)]
    with pytest.raises(BadInputError, match="no model 'LSTM'; there are search, TD-TF"):
        aerodynamics(models=["LSTM"])
    assert set(STUDIES) == {"synthetic", "aerodynamics", "gusts", "lorenz", "reaction-diffusion", "public"}


def test_the_default_search_and_tdtf_are_measured_as_a_user_gets_them():
    models = contenders(["search", "TD-TF"])
    outcomes, failures = compare(TASK, models, 0.3, 0)
    assert failures == []
    assert [outcome.row["model"] for outcome in outcomes] == ["search", "TD-TF"]
    assert [outcome.row["family"] for outcome in outcomes][1] == "TD-DMD"
    assert all(outcome.row["nrmse"] < 1e-6 for outcome in outcomes)
    assert all(outcome.tuned.model.window_length_ <= TASK.lead for outcome in outcomes)


def test_no_window_of_the_search_is_longer_than_the_task_allows():
    rows = wave(800)
    rows.values[:] += 0.01 * np.random.default_rng(0).standard_normal(rows.values.shape)
    task = Task("noisy wave", (rows[:600],), (rows[594:],), 6, 60, 4, 30)
    outcomes, _ = compare(task, contenders(["search", "TD-TF"]), 0.3, 0)
    assert len(outcomes) == 2
    assert max(outcome.tuned.model.window_length_ for outcome in outcomes) <= 6


def test_noise_is_on_what_lorenz_models_see_not_on_what_they_are_compared_with():
    task, clean = (lorenz_task("all", noise, points=500, starts=3) for noise in (0.05, 0.0))
    assert task.truths is not None
    np.testing.assert_array_equal(task.truths[0].values, clean.tests[0].values[: len(task.truths[0])])
    for noisy, true in ((task.train[0], clean.train[0]), (task.tests[0], task.truths[0])):
        levels = (noisy.values - true.values).std(axis=0) / true.values.std(axis=0)
        np.testing.assert_allclose(levels, 0.05, rtol=0.1)
    assert len(task.tests[0]) == task.lead + 2 * 400 + task.horizon
    assert lorenz_task("x", points=500, starts=3).train[0].names == ("x",)


def test_the_wake_is_left_out_when_its_data_are_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("TOKENDYN_DATA", raising=False)
    assert wake_task() is None
    assert wake_task(tmp_path) is None


def test_sixty_per_cent_of_the_wake_are_learned():
    if wake_task() is None:
        pytest.skip("set TOKENDYN_DATA to a folder with cylinder_wake/pod_coefficients.csv")
    task = wake_task(os.environ["TOKENDYN_DATA"])
    assert (len(task.train[0]), task.horizon, task.lead) == (1800, 1200, 1800)


def test_an_empty_study_says_what_failed():
    study = finished("none", [(TASK, [], ["wave, x: no library"])], {})
    assert (study.rows, study.arrays) == ((), {})
    assert study.describe()[-1] == "not fitted: wave, x: no library"
