"""``tokendyn forecast``: from a CSV to a model and a forecast, and what bad input says."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import tokendyn.forecast
from tokendyn.cli import run
from tokendyn.data.systems import sinusoids
from tokendyn.errors import BadInputError
from tokendyn.experiments.fields import seconds_of
from tokendyn.forecast import TDTF, Forecaster

DT = 0.05
SIGNAL = sinusoids(700, DT, (0.5, 0.5 * np.sqrt(2)), 0.0, (1.0, 0.7), channels=2, seed=1)


@pytest.fixture(autouse=True)
def _no_shape_checks(unchecked):
    """Users have none."""


def table(rows=500):
    return pd.DataFrame({"t": SIGNAL.times[:rows], "a": SIGNAL.values[:rows, 0], "b": SIGNAL.values[:rows, 1]})


def written(frame, path):
    frame.to_csv(path, index=False)
    return str(path)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    data = written(table(), folder / "data.csv")
    options = ["--time", "t", "--model", "tddmd", "--delays", "6", "--horizon", "80"]
    assert run(["forecast", "fit", data, *options, "--out", str(folder / "model")]) == 0
    return folder


def test_a_sum_of_sinusoids_is_fitted_and_forecast_as_it_goes_on(fitted, tmp_path, capsys):
    out = tmp_path / "forecast.csv"
    arguments = ["forecast", "predict", str(fitted / "model"), str(fitted / "data.csv"), "--steps", "200"]
    assert run([*arguments, "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["status"] == "completed"
    assert "complete: 200 steps" in said.err
    found = pd.read_csv(out)
    assert list(found) == ["t", "a", "b", "a_lower", "a_upper", "b_lower", "b_upper"]
    np.testing.assert_allclose(found["t"], SIGNAL.times[500:], atol=1e-9)
    np.testing.assert_allclose(found[["a", "b"]], SIGNAL.values[500:], atol=1e-8)
    assert run(arguments) == 0
    assert capsys.readouterr().out.count("\n") == 201


def test_the_held_out_error_is_told_and_kept(fitted):
    record = json.loads((fitted / "model" / "data.json").read_text(encoding="utf-8"))
    assert record["columns"] == ["a", "b"]
    assert record["held_out"]["nrmse"] < 1e-9
    assert record["held_out"]["starts"] == 10
    assert record["held_out"]["valid_time"] == pytest.approx(80 * DT)
    assert Forecaster.load(fitted / "model").dt_ == pytest.approx(DT)


def test_a_transformer_is_fitted_with_figures_and_the_same_seed_gives_the_same_model(tmp_path, capsys):
    data = written(table(), tmp_path / "data.csv")
    options = ["--delays", "4", "--units", "4", "--iterations", "2", "--horizon", "40", "--seed", "3", "--json"]
    for name, more in (("one", ["--figures"]), ("two", [])):
        assert run(["forecast", "fit", data, *options, *more, "--out", str(tmp_path / name)]) == 0
    model = Forecaster.load(tmp_path / "one")
    assert isinstance(model, TDTF)
    assert model.random_state == 3
    tensors = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert tensors[0] == tensors[1]
    pictures = {path.stem for path in (tmp_path / "one").glob("*.png")}
    assert pictures == {"forecast", "attention", "shares", "eigenvalues"}
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert page.count("<figcaption>") == 4
    assert "data:image/svg" in page
    assert "tokendyn forecast fit" in page
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[0]["held_out"]["nrmse"] == records[1]["held_out"]["nrmse"]


def test_gaps_are_filled_when_asked(tmp_path, capsys):
    frame = table()
    frame.loc[[10, 50], "a"] = np.nan
    data = written(frame.drop(index=[120]), tmp_path / "data.csv")
    arguments = ["forecast", "fit", data, "--model", "tddmd", "--horizon", "40", "--out", str(tmp_path / "model")]
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert "'a' is NaN in rows 11, 51" in said
    assert "before row 121" in said
    assert "--fill" in said
    assert not (tmp_path / "model").exists()
    assert run([*arguments, "--fill", "linear"]) == 0
    assert Forecaster.load(tmp_path / "model").n_features_ == 2


BAD = {
    "missing time column": (lambda frame: frame, ["--time", "when"], "no column 'when'"),
    "unsorted": (lambda frame: frame.iloc[[1, 0, *range(2, 500)]], [], "run backwards in row 2"),
    "duplicate": (lambda frame: frame.iloc[[0, 1, 1, *range(2, 500)]], [], "occur twice in row 3"),
    "not uniform": (lambda frame: frame.assign(t=frame["t"] ** 1.1), [], "not uniform"),
    "unknown column": (lambda frame: frame, ["--columns", "aa"], "no column 'aa'"),
    "constant columns": (lambda frame: frame.assign(a=1.0, b=2.0), [], "'a', 'b' is constant"),
    "text": (lambda frame: frame.assign(c="x"), [], "'c' is text"),
    "too few rows": (lambda frame: frame[:30], [], "lower the horizon"),
    "delays": (lambda frame: frame, ["--delays", "0"], "delays"),
    "unused option": (lambda frame: frame, ["--units", "9"], "--model tddmd has no --units"),
    "search and settings": (lambda frame: frame, ["--model", "auto", "--delays", "3"], "chooses the settings itself"),
    "budget": (lambda frame: frame, ["--budget", "soon"], "--budget is 'soon'"),
    "test fraction": (lambda frame: frame, ["--test-fraction", "1"], "--test-fraction"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_leaves_nothing(case, tmp_path, capsys):
    change, options, message = BAD[case]
    data = written(change(table()), tmp_path / "data.csv")
    out = tmp_path / "made" / "model"
    arguments = [
        "forecast",
        "fit",
        data,
        *(["--model", "tddmd"] if "--model" not in options else []),
        "--horizon",
        "60",
        *options,
        "--out",
        str(out),
    ]
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert not out.exists()


def test_an_existing_folder_is_replaced_only_when_asked(fitted, tmp_path, capsys):
    data = str(fitted / "data.csv")
    arguments = ["forecast", "fit", data, "--model", "tddmd", "--horizon", "60", "--out", str(tmp_path / "model")]
    assert run([*arguments, "--dry-run"]) == 0
    assert not (tmp_path / "model").exists()
    assert run(arguments) == 0
    assert run(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert run([*arguments, "--delays", "3", "--overwrite"]) == 0
    assert Forecaster.load(tmp_path / "model").delays == 3
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("damage", ["truncated", "other columns", "no json", "another step"])
def test_a_damaged_model_or_other_data_are_refused(fitted, tmp_path, damage, capsys):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.json", "model.safetensors", "data.json"):
        content = (fitted / "model" / name).read_bytes()
        (folder / name).write_bytes(content[:40] if damage == "truncated" and name == "model.safetensors" else content)
    frame = table()
    if damage == "no json":
        (folder / "model.json").unlink()
    if damage == "other columns":
        frame = frame.rename(columns={"b": "c"})
    if damage == "another step":
        frame["t"] *= 2
    data = written(frame, tmp_path / "data.csv")
    out = tmp_path / "forecast.csv"
    assert run(["forecast", "predict", str(folder), data, "--steps", "5", "--out", str(out)]) == 2
    expected = {
        "truncated": "not a whole safetensors file",
        "other columns": "no column 'b'",
        "no json": "model.json is missing",
        "another step": "time step 0.1, the model was fitted at 0.05",
    }
    assert expected[damage] in capsys.readouterr().err
    assert not out.exists()


def driven_table(rows=400):
    """A first-order lag driven by a known input."""
    time = DT * np.arange(rows)
    push = np.sin(1.3 * time) + 0.5 * np.sin(3.1 * time)
    state = np.zeros(rows)
    for row in range(1, rows):
        state[row] = 0.9 * state[row - 1] + 0.2 * push[row - 1]
    return pd.DataFrame({"t": time, "x": state, "u": push})


def test_inputs_to_come_steer_the_forecast_and_must_reach_its_end(tmp_path, capsys):
    frame = driven_table()
    data = written(frame[:300], tmp_path / "data.csv")
    whole = written(frame[["t", "u"]], tmp_path / "future.csv")
    model, out = str(tmp_path / "model"), tmp_path / "forecast.csv"
    fit = ["forecast", "fit", data, "--inputs", "u", "--model", "tddmd", "--delays", "2", "--horizon", "40"]
    assert run([*fit, "--out", model]) == 0
    predict = ["forecast", "predict", model, data, "--out", str(out)]
    assert run([*predict, "--steps", "60"]) == 2
    assert "--future" in capsys.readouterr().err
    assert run([*predict, "--steps", "101", "--future", whole]) == 2
    assert "100 rows of inputs after the data, 101 steps need 101" in capsys.readouterr().err
    late = written(frame[["t", "u"]][310:], tmp_path / "late.csv")
    assert run([*predict, "--steps", "60", "--future", late]) == 2
    assert "expected 15" in capsys.readouterr().err
    assert not out.exists()
    assert run([*predict, "--steps", "100", "--future", whole]) == 0
    np.testing.assert_allclose(pd.read_csv(out)["x"], frame["x"][300:], atol=1e-8)


def test_a_forecast_that_diverges_exits_with_one_and_keeps_the_finite_part(tmp_path, capsys):
    frame = pd.DataFrame({"t": DT * np.arange(200), "x": np.exp(0.1 * np.arange(200))})
    data = written(frame, tmp_path / "data.csv")
    model, out = str(tmp_path / "model"), tmp_path / "forecast.csv"
    options = ["--model", "tddmd", "--delays", "1", "--horizon", "10", "--test-fraction", "0"]
    assert run(["forecast", "fit", data, *options, "--out", model]) == 0
    assert run(["forecast", "predict", model, data, "--steps", "1000", "--out", str(out)]) == 1
    assert "diverged after" in capsys.readouterr().err
    found = pd.read_csv(out)
    assert 0 < len(found) < 1000
    assert np.isfinite(found["x"]).all()


def test_several_series_are_learned_and_whole_ones_held_out(tmp_path, capsys):
    parts = [table(150).assign(run=name, a=lambda frame, k=k: frame["a"] * k) for k, name in enumerate("pqr", 1)]
    data = written(pd.concat(parts), tmp_path / "data.csv")
    options = ["--series", "run", "--model", "tddmd", "--delays", "5", "--horizon", "50"]
    assert run(["forecast", "fit", data, *options, "--out", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().err
    assert "450 snapshots in 3 series" in said
    assert json.loads((tmp_path / "model" / "data.json").read_text(encoding="utf-8"))["held_out"]["nrmse"] < 1e-6


def test_each_series_of_a_table_is_forecast(fitted, tmp_path, capsys):
    parts = [table().assign(run=name, a=k * table()["a"], b=k * table()["b"]) for k, name in enumerate("pq", 1)]
    data = written(pd.concat(parts), tmp_path / "data.csv")
    out = tmp_path / "forecast.csv"
    arguments = ["forecast", "predict", str(fitted / "model"), data, "--steps", "30", "--out", str(out)]
    assert run([*arguments, "--series", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["series"] == 2
    found = pd.read_csv(out)
    assert list(found) == ["run", "t", "a", "b", "a_lower", "a_upper", "b_lower", "b_upper"]
    assert found["run"].tolist() == ["p"] * 30 + ["q"] * 30
    for k, name in enumerate("pq", 1):
        np.testing.assert_allclose(found["a"][found["run"] == name], k * SIGNAL.values[500:530, 0], atol=1e-7)
    short = written(pd.concat([parts[0], parts[1][:3]]), tmp_path / "short.csv")
    assert run([*arguments[:3], short, *arguments[4:], "--series", "run", "--overwrite"]) == 2
    assert "series 'q': 3 snapshots, the model's window has 6" in capsys.readouterr().err


def test_bands_are_written_at_a_level_and_left_out_where_they_are_not_wanted(tmp_path, capsys):
    noisy = table().assign(a=lambda frame: frame["a"] + 0.1 * np.random.default_rng(0).standard_normal(len(frame)))
    data = written(noisy[["t", "a"]], tmp_path / "data.csv")
    fit = ["forecast", "fit", data, "--model", "tddmd", "--delays", "12", "--horizon", "30"]
    assert run([*fit, "--out", str(tmp_path / "with")]) == 0
    assert re.search(r"bands of 90 % hold \d+ % of the held-out part", capsys.readouterr().err)
    assert run([*fit, "--no-intervals", "--out", str(tmp_path / "without")]) == 0
    widths = {}
    for level in ("0.5", "0.9"):
        out = tmp_path / f"{level}.csv"
        predict = ["forecast", "predict", str(tmp_path / "with"), data, "--steps", "31", "--level", level]
        assert run([*predict, "--out", str(out)]) == 0
        found = pd.read_csv(out)
        assert list(found) == ["t", "a", "lower", "upper"]
        assert found["lower"].isna().sum() == 1
        widths[level] = (found["upper"] - found["lower"]).mean()
    assert widths["0.5"] < widths["0.9"]
    predict = ["forecast", "predict", str(tmp_path / "without"), data, "--steps", "3"]
    assert run(predict) == 0
    assert capsys.readouterr().out.splitlines()[0] == "t,a"
    assert run([*predict, "--level", "0.9"]) == 2
    assert "was fitted without bands; leave --level out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "step", "expected"),
    [
        ("2024-02-27", "1D", ["2024-07-16", "2024-07-17"]),
        ("2024-02-27 12:00", "1h", ["2024-03-04T08:00:00", "2024-03-04T09:00:00"]),
        ("2024-02-27T12:00+02:00", "1h", ["2024-03-04T08:00:00+02:00", "2024-03-04T09:00:00+02:00"]),
    ],
)
def test_dates_go_on_as_dates(first, step, expected, tmp_path, capsys):
    dates = pd.date_range(first, periods=140, freq=step).map(lambda date: date.isoformat())
    data = written(table(140).assign(t=dates), tmp_path / "data.csv")
    model, out = str(tmp_path / "model"), tmp_path / "forecast.csv"
    options = ["--time", "t", "--model", "tddmd", "--delays", "6", "--horizon", "20"]
    assert run(["forecast", "fit", data, *options, "--out", model]) == 0
    assert run(["forecast", "predict", model, data, "--steps", "2", "--out", str(out)]) == 0
    assert pd.read_csv(out)["t"].tolist() == expected
    assert f"after time {dates[-1].removesuffix('T00:00:00')}" in capsys.readouterr().err


def test_dated_data_are_held_out_in_days_and_hours(tmp_path, capsys):
    dates = pd.date_range("2024-01-01", periods=140, freq="6h").map(lambda date: date.isoformat())
    data = written(table(140).assign(t=dates), tmp_path / "data.csv")
    options = ["--time", "t", "--model", "tddmd", "--delays", "6", "--horizon", "20"]
    assert run(["forecast", "fit", data, *options, "--out", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().err
    assert "140 snapshots at dt = 6 hours of" in said
    assert re.search(r"valid for [0-9.]+ (days?|hours?)\n", said)
    assert "units of time" not in said


def test_dates_of_inputs_to_come_are_matched(tmp_path, capsys):
    frame = driven_table()
    frame["t"] = pd.date_range("2024-01-01", periods=len(frame), freq="1h").astype(str)
    data = written(frame[:300], tmp_path / "data.csv")
    model, out = str(tmp_path / "model"), tmp_path / "forecast.csv"
    options = ["--inputs", "u", "--model", "tddmd", "--delays", "2", "--horizon", "40", "--out", model]
    assert run(["forecast", "fit", data, *options]) == 0
    predict = ["forecast", "predict", model, data, "--steps", "60", "--out", str(out), "--future"]
    late = written(frame[["t", "u"]][310:], tmp_path / "late.csv")
    assert run([*predict, late]) == 2
    assert "is 2024-01-13T22:00:00, expected 2024-01-13T12:00:00" in capsys.readouterr().err
    assert run([*predict, written(frame[["t", "u"]], tmp_path / "future.csv")]) == 0
    np.testing.assert_allclose(pd.read_csv(out)["x"], frame["x"][300:360], atol=1e-8)


def test_an_interrupted_search_says_where_it_goes_on_and_goes_on(tmp_path, capsys, monkeypatch):
    data = written(table(300), tmp_path / "data.csv")
    arguments = ["forecast", "fit", data, "--budget", "1s", "--horizon", "30", "--out", str(tmp_path / "m")]
    search = tokendyn.forecast.auto_forecaster

    def interrupted(*given, **options):
        def stop(share, line):
            if not line.startswith("1 tried"):
                raise KeyboardInterrupt

        return search(*given, **(options | {"progress": stop}))

    monkeypatch.setattr(tokendyn.forecast, "auto_forecaster", interrupted)
    assert run(arguments) == 130
    assert "m.search.json; the same command goes on from there" in capsys.readouterr().err
    trials = json.loads((tmp_path / "m.search.json").read_text(encoding="utf-8"))["trials"]
    assert len(trials) == 1
    monkeypatch.setattr(tokendyn.forecast, "auto_forecaster", search)
    assert run(arguments) == 0
    said = capsys.readouterr().err
    assert "going on from" in said
    assert "\nChosen (*)" in said  # on a line of its own
    assert not (tmp_path / "m.search.json").exists()
    assert "Chosen (*)" in json.loads((tmp_path / "m" / "data.json").read_text(encoding="utf-8"))["account"]


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "nc"])
def test_what_was_fitted_to_arrays_forecasts_arrays(kind, tmp_path, capsys):
    steps = np.arange(300)
    values = np.column_stack([np.sin(0.1 * steps), np.cos(0.1 * steps), np.sin(0.07 * steps)])
    file = tmp_path / f"data.{kind}"
    if kind == "npy":
        np.save(file, values)
    elif kind == "npz":
        np.savez(file, u=values[:, :2], w=values[:, 2])
    elif kind == "h5":
        import h5py

        with h5py.File(file, "w") as made:
            made["u"] = values
    else:
        import xarray

        xarray.Dataset({"u": (("time", "x"), values)}).to_netcdf(file, engine="h5netcdf")
    options = ["--model", "tddmd", "--delays", "6", "--horizon", "40", "--out", str(tmp_path / "m")]
    assert run(["forecast", "fit", str(file), *options]) == 0
    out = tmp_path / "forecast.csv"
    capsys.readouterr()
    assert run(["forecast", "predict", str(tmp_path / "m"), str(file), "--steps", "5", "--out", str(out)]) == 0
    later = np.arange(300, 305)
    expected = np.column_stack([np.sin(0.1 * later), np.cos(0.1 * later), np.sin(0.07 * later)])
    np.testing.assert_allclose(pd.read_csv(out).iloc[:, 1:4].to_numpy(), expected, atol=1e-6)


def test_features_of_an_array_are_chosen_by_their_names(tmp_path):
    from tokendyn.data.snapshots import read_snapshots

    np.savez(tmp_path / "data.npz", u=np.arange(30.0).reshape(10, 3) ** 2, w=np.arange(10.0))
    part = read_snapshots(tmp_path / "data.npz", columns=["u2", "w"])
    assert part.names == ("u2", "w")
    np.testing.assert_array_equal(part.values[:, 0], np.arange(2.0, 30.0, 3.0) ** 2)
    assert read_snapshots(tmp_path / "data.npz", columns=["u", "w"]).names == ("u0", "u1", "u2", "w")
    assert read_snapshots(tmp_path / "data.npz", columns=["u", "u1"]).names == ("u0", "u1", "u2")


def test_a_model_that_is_no_better_than_the_last_season_says_so(tmp_path, capsys):
    noise = pd.DataFrame({"y": np.random.default_rng(0).standard_normal(400)})
    assert run(["forecast", "fit", written(noise, tmp_path / "n.csv"), "--model", "tddmd", "--delays", "60",
                "--horizon", "40", "--out", str(tmp_path / "m")]) == 0  # fmt: skip
    said = capsys.readouterr().err
    assert "the last snapshot" in said
    assert "no better than one that learns nothing" in said


def test_models_are_compared_on_a_file(fitted, tmp_path, capsys):
    out = tmp_path / "comparison"
    options = ["--models", "TD-DMD,persistence", "--budget", "100ms", "--horizon", "60", "--json"]
    assert run(["forecast", "compare", str(fitted / "data.csv"), *options, "--out", str(out)]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["model"] for row in rows] == ["TD-DMD", "persistence"]
    assert rows[0]["nrmse"] < 1e-6 < rows[1]["nrmse"]
    assert pd.read_csv(out / "table.csv")["model"].tolist() == ["TD-DMD", "persistence"]
    with np.load(out / "arrays.npz") as arrays:
        assert arrays["data/truth"].shape[1:] == (60, 2)
    assert {path.stem for path in out.glob("*.png")} == {"comparison", "forecast-1"}
    assert run(["forecast", "compare", str(fitted / "data.csv"), "--models", "XYZ", "--out", str(tmp_path / "x")]) == 2
    assert "there are search, TD-TF, paper, TD-DMD" in capsys.readouterr().err


def test_a_study_is_a_folder_with_table_figures_and_report(tmp_path, capsys):
    out = tmp_path / "study"
    arguments = ["forecast", "study", "synthetic", "--quick", "--models", "TD-DMD", "--budget", "100ms"]
    assert run([*arguments, "--dry-run", "--out", str(out)]) == 0
    assert not out.exists()
    assert run([*arguments, "--out", str(out)]) == 0
    rows = pd.read_csv(out / "table.csv")
    assert rows["task"].tolist() == ["quasi-periodic", "noisy"]
    assert rows["nrmse"][0] < 1e-8
    record = json.loads((out / "study.json").read_text(encoding="utf-8"))
    assert record["settings"]["quick"] is True
    assert record["provenance"]["seed"] == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert re.search(r"tokendyn forecast study synthetic .*--quick", re.sub("<[^>]*>", "", page))
    assert page.count("<figcaption>") == 3
    assert "data:image/svg" in page
    assert "quasi-periodic" in capsys.readouterr().err
    assert run(["forecast", "study", "synthetic", "--models", "XYZ", "--out", str(tmp_path / "x")]) == 2


@pytest.mark.parametrize(("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("2m", 120.0), ("1.5h", 5400.0)])
def test_durations_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-3s", "2 weeks", "1e3"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(BadInputError, match="`budget` is"):
        seconds_of(text)


def test_a_dry_run_of_a_search_refuses_what_the_search_refuses_and_writes_nothing(tmp_path, capsys):
    for rows, code, words in ((6, 2, "a search needs at least 8"), (40, 0, "would search for 1 s")):
        data = written(table(rows), tmp_path / f"{rows}.csv")
        arguments = ["forecast", "fit", data, "--test-fraction", "0", "--budget", "1s", "--out", str(tmp_path / "m")]
        assert run([*arguments, "--dry-run"]) == code
        assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["40.csv", "6.csv"]


FIELDS = np.sin(0.2 * np.arange(120))[:, None] * np.arange(1.0, 25) + np.cos(0.31 * np.arange(120))[:, None]


def array_files(folder):
    """Write series of one to four dimensions, time first, as files of every kind that holds arrays."""
    import h5py
    import xarray as xr

    for shape in ((), (3,), (3, 4), (2, 3, 4)):
        points = int(np.prod(shape))
        array = FIELDS[:, :points].reshape(120, *shape)
        stem = f"a{array.ndim}"
        np.save(folder / f"{stem}.npy", array)
        np.savez(folder / f"{stem}.npz", u=array, v=2 * array)
        with h5py.File(folder / f"{stem}.h5", "w") as file:
            file["run/u"] = array
        dims = ("time", "z", "y", "x")[: array.ndim]
        xr.Dataset({"u": (dims, array)}).to_netcdf(folder / f"{stem}.nc", engine="h5netcdf")
    frame = pd.DataFrame(FIELDS[:, :3], columns=list("abc"))
    for name in ("t.csv", "t.csv.gz", "t.tsv"):
        frame.to_csv(folder / name, index=False, sep="\t" if "tsv" in name else ",")
    frame.to_parquet(folder / "t.parquet")
    return sorted(path.name for path in folder.iterdir())


def test_every_kind_of_file_that_is_fitted_is_forecast_from_the_file_and_without_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = array_files(tmp_path)
    assert len(names) == 20
    for number, name in enumerate(names):
        fit = ["forecast", "fit", name, "--model", "tddmd", "--delays", "4", "--horizon", "10", "--out", f"m{number}"]
        assert run(fit) == 0, name
        capsys.readouterr()
        assert run(["forecast", "predict", f"m{number}", name, "--steps", "5"]) == 0, name
        from_file = capsys.readouterr().out
        assert run(["forecast", "predict", f"m{number}", "--steps", "5"]) == 0, name
        assert capsys.readouterr().out == from_file
        assert from_file.count("\n") == 6


def test_months_are_forecast_as_months_and_a_fit_remembers_its_filling(tmp_path, capsys):
    months = pd.date_range("2001-01-01", periods=120, freq="MS")
    frame = pd.DataFrame({"month": months, "y": 50 + np.arange(120) + 9 * np.sin(2 * np.pi * np.arange(120) / 12)})
    data = written(frame.drop(index=[7]), tmp_path / "data.csv")
    fit = ["forecast", "fit", data, "--model", "tddmd", "--delays", "13", "--horizon", "12", "--fill", "linear"]
    assert run([*fit, "--out", str(tmp_path / "m")]) == 0
    assert "dt = 1 month of y" in capsys.readouterr().err
    assert run(["forecast", "predict", str(tmp_path / "m"), data, "--steps", "3"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(",")[0] for row in rows] == ["month", "2011-01-01", "2011-02-01", "2011-03-01"]


def test_fields_are_forecast_as_fields_with_their_land(tmp_path, capsys):
    import xarray as xr

    sea = FIELDS.reshape(120, 4, 6).copy()
    sea[:, 1, 2:4] = np.nan
    coords = {"time": pd.date_range("2001-01-01", periods=120, freq="MS"), "lat": [10.0, 20, 30, 40]}
    field = xr.DataArray(sea, dims=("time", "lat", "lon"), coords=coords, attrs={"units": "K"}, name="sst")
    field.to_dataset().to_netcdf(tmp_path / "sea.nc", engine="h5netcdf")
    fit = ["forecast", "fit", str(tmp_path / "sea.nc"), "--model", "tddmd", "--delays", "4", "--horizon", "10"]
    assert run([*fit, "--out", str(tmp_path / "m")]) == 0
    assert "sst (4 x 6), 2 of 24 points masked" in capsys.readouterr().err
    for _ in range(2):
        predict = ["forecast", "predict", str(tmp_path / "m"), "--steps", "6", "--out", str(tmp_path / "f.nc")]
        assert run([*predict, "--overwrite"]) == 0
    with xr.open_dataset(tmp_path / "f.nc", engine="h5netcdf") as forecast:
        assert forecast["sst"].attrs["units"] == "K"
        assert forecast["lat"].values.tolist() == [10, 20, 30, 40]
        assert str(forecast["time"].values[0])[:10] == "2011-01-01"
        assert np.isnan(forecast["sst"].values).sum() == 12
        assert np.isnan(forecast["sst"].values[:, 1, 2:4]).all()
    assert run([*predict[:-1], str(tmp_path / "sea.nc"), "--overwrite"]) == 2
    assert "tokendyn did not write" in capsys.readouterr().err
