"""The face of the library: one door, one way to look at results and to keep them, models that take what is read."""

import ast
import inspect
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray
from published_leaders import published
from sklearn.exceptions import NotFittedError
from tiny_models import tiny

import tokendyn as td
from tokendyn.cli import run as run_command
from tokendyn.errors import BadInputError, ConvergenceError, OutputError
from tokendyn.exact.regularised import bank_training
from tokendyn.forecast.forecasts import Forecasts
from tokendyn.forecast.held_out import hold_out, measure
from tokendyn.forecast.search import auto_forecaster
from tokendyn.loading import FOLDERS, KINDS, RECORDS, Record
from tokendyn.models import head_table
from tokendyn.particles.meanfield.diagram import Point, PointResult
from tokendyn.results import STATUSES, Bars, Curves, Heat, Paths, Points, Result
from tokendyn.results.files import load as load_result
from tokendyn.studies.forecast import Study
from tokendyn.studies.sentiment.comparison import Comparison, Outcome
from tokendyn.studies.sentiment.curve import LeaderCurve, point_of
from tokendyn.testing import ResultContract, waves

SOURCE = Path(td.__file__).parent
TOKENS = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.5], [-1.0, -1.0], [0.3, 0.4]])
LABELS = ["a", "b", "<c>", "$d", "e"]


def leaning(angles):
    return 1 + 0.5 * np.cos(angles - 1)


@cache
def clustering():
    return td.simulate(TOKENS, layers=12, labels=LABELS)


@cache
def flow_run(check=False):
    flow = td.TokenFlow(20.0, interaction=np.diag([4.0, 1.0]), value=np.diag([1.0, 2.0]))
    return td.simulate_meanfield(flow, td.circle_quantiles(40), np.linspace(0, 2, 9), check=check)


@cache
def transformer():
    rng = np.random.default_rng(0)
    return td.compile_transformer([rng.normal(size=(n, 2)) for n in (3, 5, 4, 2)], ["a", "b", "a", "<c>"])


@cache
def published_classifier():
    return published(epochs=2, start_epochs=2, random_state=0).fit(td.small_reviews())


@cache
def classifier():
    reviews = td.small_reviews()
    return td.LeaderClassifier().fit(reviews)


@cache
def linear():
    return td.TDDMD(delays=6).fit(waves(200), dt=0.1)


@cache
def nonlinear():
    return td.TDTF(delays=3, units=5, iterations=2, random_state=0).fit(waves(200), dt=0.1)


def diagram(ratios=(None,)):
    run = flow_run()
    points = [Point(beta, ratio, 0) for beta in (10.0, 20.0) for ratio in ratios]
    settings = {"betas": [10.0, 20.0], "ratios": [] if ratios == (None,) else list(ratios)}
    return td.Diagram(settings, tuple(PointResult.of(point, run) for point in points), len(points) + 1)


def held_out():
    task = hold_out([td.Snapshots(waves(200), 0.1 * np.arange(200), 0.1, ("a", "b"))], horizon=10)
    return measure(task, td.TDDMD(delays=6).fit(task.train[0]))


def comparison():
    right = np.array([True, True, False])
    return Comparison(
        (Outcome("leaders", right, 2.0, 0.1, 10.0, 100), Outcome("<other>", ~right, None, 0.1, 9.0, 9)), 5, 3
    )


def forecasts():
    series = [td.Snapshots(waves(90, seed=k), 0.1 * np.arange(90), 0.1, ("<a>", "b"), label=f"$r{k}") for k in (0, 1)]
    ends = tuple(linear().forecast(one.values, 5) for one in series)
    return Forecasts(ends, tuple(series), 5, "<flow>.csv", series="run", provenance={"python": "3"})


def study():
    rows = ({"task": "<wave>", "model": "TD-DMD", "nrmse": 0.1}, {"task": "<wave>", "model": "ESN", "nrmse": np.inf})
    return Study(
        "compare", rows, {"<wave>/truth": waves(5)[None]}, {"seed": 0, "names": ["a", "b"]}, ("<wave>, x: none",)
    )


RESULTS = {
    "attention-step": lambda: td.attend(TOKENS, TOKENS, TOKENS),
    "trajectory": lambda: clustering().trajectory,
    "trajectory-of-one-coordinate": lambda: td.run(TOKENS[:, :1], [td.Layer()] * 3),
    "trajectory-of-four-coordinates": lambda: td.run(np.eye(4), [td.Layer()] * 3, record="last"),
    "ragged-trajectory": lambda: td.run_ragged([TOKENS, TOKENS[:2], TOKENS[:1]], [td.Layer()] * 3),
    "flow-trajectory": lambda: flow_run().trajectory,
    "clustering": clustering,
    "clustering-softmax": lambda: td.simulate(TOKENS, layers=6, inverse_temperature=3.0, record="last"),
    "limit-prediction": lambda: clustering().prediction,
    "limit-set": lambda: clustering().limit_set,
    "lemma-report": lambda: td.check_lemmas(clustering().trajectory, 0.5),
    "meanfield": flow_run,
    "meanfield-without-law": lambda: td.simulate_meanfield(
        td.TokenFlow(5.0), td.uniform_sphere(20, 3, seed=0), np.linspace(0, 1, 5), check=False
    ),
    "refinement": lambda: td.refine(
        flow_run().flow, lambda count: td.circle_quantiles(count, leaning), 10, np.linspace(0, 1, 5)
    ),
    "phase-over-time": diagram,
    "phase-over-spectra": lambda: diagram((1.5, 2.0)),
    "transport": lambda: td.wasserstein(TOKENS, TOKENS[::-1] + 0.1),
    "valid-times": lambda: td.valid_prediction_times(
        waves(60).reshape(3, 20, 2), 1.1 * waves(60).reshape(3, 20, 2), 0.1
    ),
    "exponent": lambda: td.largest_exponent(lambda state: np.array([2 * state[0] % 1.0]), np.array([0.3]), 1.0, 40),
    "calibration": lambda: td.ensemble_calibration(np.stack([waves(30, seed=k) for k in range(5)]), waves(30, seed=9)),
    "certificate": lambda: transformer().certificate,
    "exact-verification": lambda: transformer().certificate.verify(exact=True),
    "exact-verification-failed": lambda: transformer().certificate.verify([np.ones((1, 2))], ["a"]),
    "exact-input-report": lambda: td.check_sequences([np.eye(2), np.eye(2)[::-1]], ["<x>", ("y", 1)]),
    "exact-explanation": lambda: transformer().explain(transformer().sequences[0]).named(["<p>", "$q", "r"]),
    "exact-trace": lambda: transformer().trace(transformer().sequences[0]),
    "exact-loss-curves": lambda: bank_training(
        [np.eye(2)[:1], np.eye(2)[1:]], [0, 1], epochs=2, random_starts=1
    ),
    "sentiment-explanation": lambda: classifier().explain("A <b>warm</b> and funny film, not dull."),
    "sentiment-explanation-of-nothing": lambda: classifier().explain(""),
    "faithfulness": lambda: td.evaluate_explanations(
        classifier(), ["A warm and funny film.", "A dull, lazy mess."], ("leaders", "random")
    ),
    "leader-stability": lambda: classifier().stability(["A <b>warm</b> film."], td.small_reviews(), retrainings=2),
    "behaviour": lambda: classifier().check([("<k>", "A warm film.", "pos"), ("$k", "A film.", "same", "A dull one.")]),
    "leader-curve": lambda: LeaderCurve(points=(point_of(published_classifier()),)),
    "sentiment-comparison": comparison,
    "forecast": lambda: linear().forecast(7),
    "forecast-with-spread": lambda: td.EnsembleTDTF(
        members=2, member=td.TDTF(delays=3, units=4, iterations=1)
    )
    .fit(waves(120))
    .forecast(5),
    "forecast-with-dates": lambda: td.TDDMD(delays=4)
    .fit(pd.DataFrame(waves(90), index=pd.period_range("2020-01", periods=90, freq="M"), columns=["<a>", "b"]))
    .forecast(5),
    "forecasts": forecasts,
    "forecast-study": study,
    "backtest": lambda: linear().backtest(waves(100, seed=1), horizon=8, every=9),
    "held-out": held_out,
    "spectrum": lambda: linear().explain(),
    "eigenvalue-intervals": lambda: linear().eigenvalue_intervals(draws=10),
    "forecast-with-bands": lambda: linear().calibrate(waves(100, seed=1), horizon=8, refit=False).forecast(9),
    "orbit-reading": lambda: nonlinear().explain(),
    "forecast-run": lambda: td.forecast.run(
        pd.DataFrame(waves(90), index=pd.date_range("2020", periods=90, freq="D"), columns=["<a>", "b"]), 6, budget=0.3
    ),
    "forecast-search": lambda: auto_forecaster(waves(120), budget=0.5),
    "inspection-of-states": lambda: td.inspect(np.random.default_rng(0).normal(size=(3, 12, 6))),
    "head-table": lambda: head_table(tiny("bert")),
    "inspection-of-texts": lambda: td.inspect(
        tiny("bert"), np.random.default_rng(0).integers(1, 50, size=(2, 9)), null="none"
    ),
}  # fmt: skip


class TestEveryResult(ResultContract):
    @pytest.fixture(scope="class", params=RESULTS)
    @classmethod
    def result(cls, request):
        return RESULTS[request.param]()


def test_every_kind_of_result_is_held_to_the_contract():
    made = {type(make()) for make in RESULTS.values()}
    public = [getattr(td, name) for name in td.__all__]
    results = {one for one in public if inspect.isclass(one) and issubclass(one, Result) and one is not Result}
    assert results <= made
    assert {one.kind for one in made if one.kind} >= set(KINDS)


# The door


def stub():
    return ast.parse((SOURCE / "__init__.pyi").read_text(encoding="utf-8"))


def test_the_list_of_names_is_one_and_every_name_is_there():
    imported = [
        alias.asname or alias.name for node in stub().body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    (listed,) = [ast.literal_eval(node.value) for node in stub().body if isinstance(node, ast.Assign)]
    assert sorted(imported) == sorted(listed) == td.__all__
    assert len(set(listed)) == len(listed)
    for name in listed:
        assert getattr(td, name) is not None
    assert set(listed) <= set(dir(td))
    assert 60 <= sum(not inspect.ismodule(getattr(td, name)) for name in listed) <= 110


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'simulte'"):
        td.simulte  # noqa: B018
    assert not hasattr(td, "__wrapped__")


def test_every_name_is_in_the_api_page():
    page = (SOURCE.parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    face = page[: page.index("## Attention")]
    assert [name for name in td.__all__ if f"`{name}`" not in face] == []


def test_the_door_opens_without_numpy_and_each_name_loads_what_it_needs():
    code = (
        "import sys, tokendyn as td\n"
        "heavy = {'numpy', 'torch', 'numba', 'pandas', 'matplotlib', 'sklearn', 'scipy', 'xarray'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "dir(td); td.BadInputError; print(sorted(heavy & set(sys.modules)))\n"
        "td.load; td.read_texts; print(sorted((heavy - {'numpy'}) & set(sys.modules)))\n"
        "td.TDDMD; td.wasserstein; print(sorted({'matplotlib', 'xarray'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]", "[]", "[]"]


# Results


@dataclass(frozen=True)
class Mine(Result, kind="mine-of-a-test"):
    numbers: np.ndarray
    word: str = "<b>bold</b>"
    late: object = None

    @property
    def status(self):
        return "completed"

    def describe(self):
        return [f"{self.word} & {len(self.numbers)} numbers"]

    def table(self):
        return pd.DataFrame({"number": self.numbers})

    def picture(self):
        return Bars(["one"] * len(self.numbers), self.numbers)


class TestMine(ResultContract):
    @classmethod
    def make(cls):
        return Mine(np.arange(3.0))


class TestMineThatCannotBeSaved(ResultContract):
    saves = False

    @classmethod
    def make(cls):
        return Mine(np.arange(3.0), late=object())


VALUES = [
    None, True, 3, -0.0, float("inf"), float("-inf"), "text", (1, (2.5, "x")), [1, [2]], {"a": 1, "b": (2,)},
    {1: "one", (2, "b"): "two"}, {"$array": 1}, np.arange(6.0).reshape(2, 3), np.array([1, 2], dtype=np.int32),
    np.array([True, False]), np.array([1 + 2j, 3.5]), np.array(["a", "bc"]), np.array(["a", 1, None], dtype=object),
    np.empty((0, 2)), np.array([np.nan, np.inf]), {}, np.array(2.5), np.array(1j),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_field_comes_back_as_it_was(value, tmp_path):
    Mine(np.zeros(1), late=value).save(tmp_path / "kept")
    again = td.load(tmp_path / "kept").late
    assert type(again) is type(value)
    if isinstance(value, np.ndarray):
        assert again.dtype == value.dtype
        assert again.shape == value.shape
    np.testing.assert_equal(again, value)


def test_a_file_of_another_kind_or_damaged_is_refused(tmp_path):
    Mine(np.zeros(2), late=np.ones(2)).save(tmp_path / "kept")
    file = tmp_path / "kept" / "result.json"
    whole = file.read_text(encoding="utf-8")
    for old, new in (
        ("mine-of-a-test", "of-nobody"), ('"$array"', '"$pickle"'), ('"status": "completed"', '"status": "great"'),
        ('"word"', '"words"'), ('"array1"', '"array7"'),
    ):  # fmt: skip
        assert old in whole
        file.write_text(whole.replace(old, new), encoding="utf-8")
        with pytest.raises(BadInputError, match="kept"):
            td.load(tmp_path / "kept")
    file.write_text(whole[:50], encoding="utf-8")
    with pytest.raises(BadInputError):
        load_result(tmp_path / "kept")


def changed(record, path, value):
    """Return a JSON record with one value replaced."""
    record = json.loads(json.dumps(record))
    inside = record
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return json.dumps(record)


@pytest.mark.parametrize(
    ("result", "name", "path", "value"),
    [
        ("attention-step", "result.json", ("result", "fields", "choice", "$part"), "Unknown"),
        ("attention-step", "result.json", ("result", "fields", "choice", "$part"), ["Choice"]),
        ("clustering", "run.json", ("config", "inverse_temperature"), {"of": "nothing"}),
        ("certificate", "model.json", ("settings",), [[1]]),
        ("meanfield", "run.json", ("resolution",), {"other_tokens": 1}),
    ],
)
def test_a_record_with_a_value_of_another_kind_is_one_message(result, name, path, value, tmp_path):
    RESULTS[result]().save(tmp_path / "kept")
    (file,) = (tmp_path / "kept").rglob(name)
    file.write_text(changed(json.loads(file.read_text(encoding="utf-8")), path, value), encoding="utf-8")
    with pytest.raises(BadInputError, match=r"kept.* is damaged"):
        td.load(tmp_path / "kept")


@pytest.mark.parametrize(
    ("make", "name", "path", "value", "message"),
    [
        ("transport", "result.json", ("result", "fields", "value"), "text", "value is 'text', expected float"),
        ("transport", "result.json", ("result", "fields", "lower"), True, "lower is True, expected float"),
        ("limit-set", "result.json", ("result", "fields", "points"), [1], r"points is \[1\], expected an array"),
        ("exact-trace", "result.json", ("result", "fields", "names"), {"$tuple": [7]}, r"names is \(7,\), expected"),
        ("meanfield", "flow.json", ("step_error",), "text", "step_error is 'text', expected float or None"),
        ("phase-over-time", "beta-10_seed-0.json", ("point", "ratio"), "text", "ratio is 'text', expected float"),
        ("phase-over-time", "beta-10_seed-0.json", ("curve", 0), 7, "a curve is no list of numbers"),
        ("forecast-search", "search.json", ("naive_score",), "text", "naive_score is 'text', expected float"),
        ("forecast-search", "search.json", ("best",), 10**6, "no trial 1000000"),
        ("forecast-search", "search.json", ("trials", 0, "score"), None, "score is None, expected float"),
        ("TDDMD", "model.json", ("form", "kind"), 7, "kind is 7, expected 'array' or "),
        ("BasisMap", "model.json", ("parameters", "difference"), "text", "difference is 'text', expected bool"),
        ("POD", "pod.json", ("parameters", "chunk_bytes"), "text", "chunk_bytes is 'text', expected int"),
    ],
)
def test_a_field_of_another_kind_is_refused_when_it_is_read(make, name, path, value, message, tmp_path):
    (MODELS[make][0] if make in MODELS else RESULTS[make])().save(tmp_path / "kept")
    (file,) = (tmp_path / "kept").rglob(name)
    file.write_text(changed(json.loads(file.read_text(encoding="utf-8")), path, value), encoding="utf-8")
    with pytest.raises(BadInputError, match=f"{name.partition('.')[0]}.*{message}"):
        td.load(tmp_path / "kept")


@pytest.mark.usefixtures("unchecked")
def test_a_slip_at_the_face_is_one_message(tmp_path):
    with pytest.raises(BadInputError, match=r"ax is 'a\.png', expected the axes of a figure; .*savefig"):
        clustering().plot("a.png")
    with pytest.raises(BadInputError, match=r"path is int, expected the name of a folder"):
        td.load(3)
    with pytest.raises(OutputError, match=r"is a folder; name a file, such as .*report\.html"):
        clustering().report(tmp_path)
    (tmp_path / "page.html").write_text("of another program", encoding="utf-8")
    classifier().explain("A warm film.").report(tmp_path / "page.html", overwrite=True)
    classifier().explain("A dull film.").report(tmp_path / "page.html")
    assert "Made by tokendyn" in (tmp_path / "page.html").read_text(encoding="utf-8")
    table = tmp_path / "letters.csv"
    table.write_text("comment,verdict\nwarm,good\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="no column 'text'; found 'comment', 'verdict'; name the column by `text`"):
        td.read_texts(table, label=None)


def test_a_name_that_no_file_can_have_is_one_message(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for path in ("x" * 5000, tmp_path / "circle"):
        with pytest.raises(BadInputError, match=r"cannot be read|is not there"):
            td.load(path)


def test_a_kind_belongs_to_one_class():
    with pytest.raises(TypeError, match="belongs to"):

        class Other(Result, kind="mine-of-a-test"):
            pass


def test_pictures_say_what_they_leave_out():
    figure = Mine(np.arange(40.0)).plot()
    assert figure.axes[0].get_title() == "the first 30 of 40"
    many = Paths(np.random.default_rng(0).normal(size=(2, 1500, 2)), np.arange(2))
    axes = Mine(np.zeros(1)).plot().axes[0]
    many.draw(axes)
    assert axes.get_title() == "1000 of 1500 tokens"
    Curves(np.arange(3), {f"{k}": np.arange(3) for k in range(12)}).draw(axes)
    assert axes.get_title() == "10 of 12 curves"


def test_a_way_in_many_coordinates_is_drawn_on_its_principal_axes():
    states = np.zeros((3, 4, 5))
    states[:, :, 3] = 10 * np.arange(12.0).reshape(3, 4)
    states[:, :, 1] = np.cos(np.arange(12.0)).reshape(3, 4)
    axes = Mine(np.zeros(1)).plot().axes[0]
    axes.clear()
    Paths(1e200 * states, np.arange(3)).draw(axes)
    ends = np.concatenate([part.get_offsets() for part in axes.collections])
    np.testing.assert_allclose(np.abs(np.diff(ends[:, 0])), 1e201, rtol=1e-2)
    for picture in (Points(np.zeros(2), np.zeros(2), groups=["a", "b"]), Heat(np.eye(2), ["r", "s"], ["c", "d"])):
        picture.draw(axes)


# Loading


def test_load_knows_every_schema_that_the_library_writes():
    written = set()
    for file in SOURCE.rglob("*.py"):
        if file.name != "loading.py":
            written |= set(re.findall(r'"(tokendyn-[a-z0-9-]+)"', file.read_text(encoding="utf-8")))
    beside = {
        "tokendyn-folder", "tokendyn-stored-run", "tokendyn-phase-run", "tokendyn-forecast-data", "tokendyn-checkpoint",
        "tokendyn-forecast-search", "tokendyn-crash-", "tokendyn-demo",
    }  # fmt: skip
    schemas = {name for name in written if not name.endswith(("-onnx", "-state"))} - beside
    assert schemas - set(FOLDERS) - set(RECORDS) == set()


def test_what_cannot_be_loaded_says_what_can(tmp_path):
    with pytest.raises(BadInputError, match="is not there"):
        td.load(tmp_path / "nothing")
    with pytest.raises(BadInputError, match=r"no file that says what it is.*a clustering run"):
        td.load(tmp_path)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="read_series"):
        td.load(tmp_path / "x.csv")
    (tmp_path / "run.json").write_text('{"schema": "of-others", "schema_version": 1}', encoding="utf-8")
    with pytest.raises(BadInputError, match=r"run\.json says 'of-others'"):
        td.load(tmp_path)


def test_a_file_of_a_folder_loads_the_folder(tmp_path):
    clustering().save(tmp_path / "run")
    assert type(td.load(tmp_path / "run" / "run.json")) is td.ClusteringRun
    linear().save(tmp_path / "model")
    assert type(td.load(tmp_path / "model" / "model.safetensors")) is td.TDDMD


def test_the_report_command_makes_the_page_of_a_saved_result(tmp_path):
    linear().forecast(4).save(tmp_path / "kept")
    assert run_command(["report", str(tmp_path / "kept"), "--out", str(tmp_path / "page.html")]) == 0
    assert "orecast of 2 features over 4 steps" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_record_of_a_command_is_a_table(tmp_path):
    values = {"schema": "tokendyn-verification", "schema_version": 1, "passed": True, "rows": [{"a": 1, "b": "x"}]}
    (tmp_path / "said.json").write_text(json.dumps(values), encoding="utf-8")
    record = td.load(tmp_path / "said.json")
    assert isinstance(record, Record)
    assert record.table().to_dict(orient="records") == [{"a": 1, "b": "x"}]
    assert record["passed"]
    assert "a verification" in str(record)
    record.save(tmp_path / "kept")
    assert td.load(tmp_path / "kept" / "said.json").values == values


# Models


def exact_classifier():
    rng = np.random.default_rng(0)
    return td.ExactClassifier().fit([rng.normal(size=(n, 2)) for n in (3, 5, 4)], ["a", "b", "a"])


MODELS = {
    "ExactTransformer": (transformer, lambda model: model.predict(transformer().sequences)),
    "ExactClassifier": (
        exact_classifier, lambda model: model.predict([model.transformer_.sequences[0], np.ones((2, 2))]).tolist()
    ),
    "LeaderClassifier": (classifier, lambda model: model.decision_function(["A warm film.", "dull", ""]).tolist()),
    "TDDMD": (linear, lambda model: model.predict(5).tolist()),
    "TDTF": (nonlinear, lambda model: model.predict(5).tolist()),
    "PaperTDTF": (
        lambda: td.PaperTDTF(delays=3, epochs=2).fit(waves(150)), lambda model: model.predict(5).tolist()
    ),
    "BasisMap": (lambda: td.BasisMap(delays=3, order=2).fit(waves(150)), lambda model: model.predict(5).tolist()),
    "Blend": (
        lambda: td.Blend(members=[["TDDMD", {"delays": 3}], ["TDDMD", {"delays": 6}]]).fit(waves(150)),
        lambda model: model.predict(5).tolist(),
    ),
    "POD": (lambda: td.POD(modes=2).fit(waves(50)), lambda model: model.transform(waves(5)).tolist()),
}  # fmt: skip
EXPLAINED = {
    "ExactTransformer": lambda: transformer().sequences[0],
    "ExactClassifier": lambda: exact_classifier().transformer_.sequences[0],
    "LeaderClassifier": lambda: "A warm film.",
    "TDDMD": lambda: waves(30),
    "TDTF": lambda: waves(30),
}
EXPORTED = ("ExactTransformer", "ExactClassifier", "LeaderClassifier")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_from_its_folder_and_answers_the_same(name, tmp_path):
    make, answers = MODELS[name]
    model = make()
    model.save(tmp_path / "model")
    again = td.load(tmp_path / "model")
    assert type(again).__name__ == name
    assert answers(again) == answers(model)
    assert "\n" not in repr(transformer())


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_model_explains_itself_with_a_result(name):
    why = MODELS[name][0]().explain(EXPLAINED[name]())
    assert isinstance(why, Result)
    assert why.status in STATUSES


def test_a_model_without_an_explanation_says_so():
    with pytest.raises(BadInputError, match="a Blend is not explained"):
        MODELS["Blend"][0]().explain()


@pytest.mark.parametrize("name", EXPORTED)
def test_a_model_is_exported(name, tmp_path):
    MODELS[name][0]().to_onnx(tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size > 100


def test_a_classifier_that_is_not_fitted_cannot_be_saved(tmp_path):
    with pytest.raises(NotFittedError):
        td.ExactClassifier().save(tmp_path / "model")
    with pytest.raises(BadInputError, match="not fitted"):
        td.LeaderClassifier().save(tmp_path / "model")


@pytest.mark.parametrize("labels", [["a", "b", "a"], [3, 1, 3], [True, False, True], [1.0, 2.0, 1.0]])
def test_the_classes_of_an_exact_classifier_keep_their_type(labels, tmp_path):
    sequences = transformer().sequences
    model = td.ExactClassifier().fit([sequences[k] for k in range(3)], labels)
    model.save(tmp_path / "model")
    again = td.load(tmp_path / "model")
    assert again.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(
        again.predict([sequences[0], sequences[3]]), model.predict([sequences[0], sequences[3]])
    )
    assert again.get_params() == model.get_params()


# What readers return, and what comes back


def test_tokens_that_were_read_are_simulated_with_their_names(tmp_path):
    (tmp_path / "cities.csv").write_text("city,x,y\nrome,2,0\nbonn,0,1\noslo,1,.5\n", encoding="utf-8")
    run = td.simulate(td.read_tokens(tmp_path / "cities.csv"), layers=3)
    assert run.trajectory.labels == ("rome", "bonn", "oslo")
    frame = pd.read_csv(tmp_path / "cities.csv")
    assert td.simulate(frame, layers=3).trajectory.labels == ("rome", "bonn", "oslo")
    assert td.simulate(frame.set_index("city"), layers=3).trajectory.labels == ("rome", "bonn", "oslo")
    array = xarray.DataArray(frame[["x", "y"]], dims=("city", "axis"), coords={"city": frame["city"]})
    again = td.simulate(array, layers=3, labels=["r", "b", "o"])
    assert again.trajectory.labels == ("r", "b", "o")
    np.testing.assert_array_equal(again.trajectory.states, run.trajectory.states)
    with pytest.raises(BadInputError, match="columns of texts 'city', 'land'"):
        td.simulate(frame.assign(land="x"), layers=3)


def test_texts_that_were_read_are_learned_with_their_labels():
    reviews = td.small_reviews()
    given = td.LeaderClassifier(epochs=2, start_epochs=2, random_state=0).fit(list(reviews.texts), list(reviews.labels))
    assert given.score(reviews) == classifier().score(list(reviews.texts), list(reviews.labels))
    np.testing.assert_array_equal(given.predict(reviews), classifier().predict(list(reviews.texts)))
    with pytest.raises(BadInputError, match="labels is missing"):
        td.LeaderClassifier().fit(list(reviews.texts))


def test_sequences_that_were_read_are_built_with_their_labels(tmp_path):
    lines = [{"tokens": [[0.1, 2.0]], "label": "x"}, {"tokens": [[0.3, 1.0], [0.5, 0.0]], "label": "y"}]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    read = td.read_sequences(tmp_path / "s.jsonl")
    assert td.check_sequences(read).ok
    assert td.compile_transformer(read).predict(read) == ["x", "y"]
    assert td.ExactClassifier().fit(read).predict(read).tolist() == ["x", "y"]
    with pytest.raises(BadInputError, match="labels is missing"):
        td.compile_transformer(read.sequences)


def test_states_are_read_and_written(tmp_path):
    states = td.HiddenStates(np.random.default_rng(0).normal(size=(3, 2, 4)), ("a", "b"))
    for name, labels in (("s.npz", ("a", "b")), ("s.safetensors", ("0", "1"))):
        td.write_states(states, tmp_path / name)
        again = td.read_states(tmp_path / name)
        np.testing.assert_array_equal(again.states, states.states)
        assert (again.labels, again.layers) == (labels, 2)
    np.save(tmp_path / "s.npy", states.states[0])
    with pytest.raises(BadInputError, match="layers"):
        td.read_states(tmp_path / "s.npy")
    np.savez(tmp_path / "other.npz", hidden=states.states)
    with pytest.raises(BadInputError, match="no array 'states'"):
        td.read_states(tmp_path / "other.npz")


def linear_future(values, steps, **settings):
    """Continue by the model on plain numbers: what every form has to give."""
    return td.TDDMD(delays=4, **settings).fit(np.asarray(values)).forecast(steps).values


INDEXES = {
    "hours": pd.date_range("2024-03-30 20:00", periods=64, freq="h", tz="Europe/Berlin"),
    "month ends": pd.date_range("2020-01-31", periods=64, freq="ME"),
    "working days": pd.bdate_range("2024-01-05", periods=64),
    "quarters": pd.period_range("2004Q1", periods=64, freq="Q"),
    "90 seconds": pd.date_range("2024-01-01", periods=64, freq="90s"),
    "durations": pd.timedelta_range("1h", periods=64, freq="250ms"),
    "numbers": pd.Index(0.5 + 0.25 * np.arange(64), name="t"),
    "years": pd.Index(np.arange(1960, 2024)),
    "rows": pd.RangeIndex(64),
    "every second row": pd.RangeIndex(0, 128, 2),
}


@pytest.mark.parametrize("name", INDEXES)
def test_a_table_comes_back_with_its_index_continued(name):
    whole = INDEXES[name]
    table = pd.DataFrame(waves(64), index=whole, columns=["lift", 7])[:60]
    found = td.TDDMD(delays=4).fit(table).predict(4)
    assert found.index.equals(whole[60:])
    assert found.index.name == whole.name
    assert list(found.columns) == ["lift", 7]
    np.testing.assert_array_equal(found.to_numpy(), linear_future(table.to_numpy(), 4))


def test_a_column_comes_back_as_a_column_and_a_time_column_as_the_index():
    column = pd.Series(waves(60)[:, 0], index=pd.date_range("2024-01-01", periods=60), name="load")
    found = td.TDDMD(delays=4).fit(column).predict(3)
    assert isinstance(found, pd.Series)
    assert found.name == "load"
    assert found.index[0] == pd.Timestamp("2024-03-01")
    table = column.rename_axis("time").reset_index()
    assert td.TDDMD(delays=4).fit(table).predict(3)["load"].tolist() == found.tolist()
    written = table.assign(time=table["time"].astype(str))
    assert td.TDDMD(delays=4).fit(written).predict(3).index.equals(found.index.rename("time"))


def test_an_xarray_comes_back_with_its_coordinates():
    time = np.datetime64("2024-01-01", "ns") + np.arange(60) * np.timedelta64(6, "h")
    field = np.sin(0.3 * np.arange(60))[:, None, None] + 0.1 * waves(60)[:, :1, None] * np.arange(6).reshape(2, 3)
    array = xarray.DataArray(
        field.transpose(1, 0, 2), dims=("y", "time", "x"), name="u", attrs={"units": "m/s"},
        coords={"time": time, "y": [0.5, 1.5], "x": ["a", "b", "c"], "height": 10.0},
    )  # fmt: skip
    found = td.TDDMD(delays=4, rank=6).fit(array).predict(3)
    assert found.dims == ("time", "y", "x")
    assert (found.name, found.attrs) == ("u", {"units": "m/s"})
    assert found.time.values[0] == time[-1] + np.timedelta64(6, "h")
    assert found.x.values.tolist() == ["a", "b", "c"]
    assert float(found.height) == 10.0
    np.testing.assert_allclose(found.values.reshape(3, 6), linear_future(field.reshape(60, 6), 3, rank=6))
    dataset = xarray.Dataset({"u": array, "load": ("time", waves(60)[:, 1]), "still": ("y", [1.0, 2.0])})
    both = td.TDDMD(delays=4, rank=6).fit(dataset).predict(2)
    assert set(both.data_vars) == {"u", "load"}
    assert both["u"].dims == ("time", "y", "x")
    assert both["load"].dims == ("time",)


def test_series_that_were_read_come_back_with_times_names_and_dates(tmp_path):
    dates = pd.date_range("2024-01-01", periods=60).date
    pd.DataFrame({"date": dates, "a": waves(60)[:, 0], "b": waves(60)[:, 1]}).to_csv(tmp_path / "x.csv", index=False)
    series = td.read_series(tmp_path / "x.csv", time="date")
    model = td.TDDMD(delays=4).fit(series)
    assert model.dt_ == 86400.0
    found = model.predict(3)
    assert isinstance(found, td.Snapshots)
    assert (found.names, found.epoch, found.dt) == (series.names, series.epoch, series.dt)
    np.testing.assert_allclose(found.times, series.times[-1] + 86400.0 * np.arange(1, 4))
    assert model.forecast(3).index.tolist() == pd.date_range("2024-03-01", periods=3).tolist()
    half = td.TDDMD(delays=4).fit(series[:40])
    assert 1 - half.score(series) < 0.1
    assert len(half.backtest(series, horizon=5, every=5).table()) > 5
    np.testing.assert_array_equal(
        half.predict(2, window=series[:50]).values, half.forecast(series.values[:50], 2).values
    )


def test_known_inputs_come_with_the_series_that_were_read():
    from tokendyn.testing import driven

    series, push = driven(300)
    read = td.Snapshots(series, np.arange(300.0), 1.0, ("x",), push, ("u",))
    model = td.TDDMD(delays=4).fit(read[:280])
    assert model.n_inputs_ == 1
    found = model.forecast(20, inputs=push[280:])
    np.testing.assert_array_equal(found.values, model.forecast(series[:280], 20, inputs=push).values)
    assert 1 - model.score(read) < 1e-2
    with pytest.raises(BadInputError, match="fitted with 1 input;"):
        model.forecast(20)


def test_a_search_gives_back_what_it_was_given():
    table = pd.DataFrame(waves(120), index=pd.date_range("2024-01-01", periods=120), columns=["a", "b"])
    found = td.auto_forecaster(table, budget=0.5)
    assert found.predict(3).index[0] == pd.Timestamp("2024-04-30")
    assert found.model.dt_ == 86400.0


def test_what_does_not_fit_is_said():
    table = pd.DataFrame(waves(60), index=pd.date_range("2024-01-01", periods=60), columns=["a", "b"])
    with pytest.raises(BadInputError, match="columns 'c' do not hold numbers"):
        td.TDDMD().fit(table.assign(c="x"))
    with pytest.raises(BadInputError, match="not uniform"):
        td.TDDMD().fit(table.set_index(table.index.delete(59).append(pd.DatetimeIndex(["2024-02-29 05:00"]))))
    with pytest.raises(BadInputError, match="1 time is missing before row 8; fill them first, in pandas"):
        td.TDDMD().fit(table.drop(table.index[7]))
    model = td.TDDMD(delays=4).fit(table)
    with pytest.raises(BadInputError, match=r"time step of 3600, expected 86400"):
        model.forecast(table.set_index(pd.date_range("2024-01-01", periods=60, freq="h")), 3)
    with pytest.raises(BadInputError, match="steps is missing"):
        model.forecast(table)
    with pytest.raises(BadInputError, match="no one series to continue"):
        td.TDDMD(delays=4).fit([waves(60), waves(60, seed=1)]).forecast(3)
    with pytest.raises(BadInputError, match="time step of 3600, expected 86400"):
        td.TDDMD().fit([table, table.set_index(pd.date_range("2024-01-01", periods=60, freq="h"))])


def test_a_prediction_that_diverges_is_an_error_and_the_forecast_keeps_the_finite_part():
    model = td.TDDMD(delays=1, intercept=False).fit(np.array([[2.0**k] for k in range(12)]))
    assert model.forecast(60).status == "diverged"
    with pytest.raises(ConvergenceError, match="of 60 steps"):
        model.predict(60)


def test_a_model_of_the_first_version_is_still_read(tmp_path):
    linear().save(tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    del record["form"]
    file.write_text(json.dumps(record), encoding="utf-8")
    from safetensors.numpy import load_file, save_file

    tensors = load_file(tmp_path / "model" / "model.safetensors")
    kept = {name: array for name, array in tensors.items() if name not in ("last_window", "last_inputs")}
    save_file(kept, tmp_path / "model" / "model.safetensors")
    old = td.load(tmp_path / "model")
    np.testing.assert_array_equal(old.forecast(waves(50), 3).values, linear().forecast(waves(50), 3).values)
    with pytest.raises(BadInputError, match="saved by an earlier version"):
        old.forecast(3)
