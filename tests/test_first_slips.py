"""What a new user gets wrong on the first try: each slip is one message that says what to write instead."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

import tokendyn as td
from tokendyn.attention.dispatch import SOFTMAX
from tokendyn.attention.problem import Offer

POINTS = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
DAYS = pd.date_range("2024-01-01", periods=60)
WAVES = np.column_stack([np.sin(0.3 * np.arange(60)), np.cos(0.7 * np.arange(60))])
TABLE = pd.DataFrame(WAVES, index=DAYS, columns=["lift", "drag"])
SEQUENCES = [[[0.1, 2.0], [0.3, 1.0]], [[0.5, 0.5]]]
TEXTS = pd.DataFrame({"text": ["warm", "dull"], "label": ["good", "bad"]})


def fitted(series=WAVES):
    return td.TDDMD(delays=4).fit(series)


class OfferOfANumber:
    def offer(self, problem):
        return 3

    def softmax(self, problem):
        return None

    def attend(self):
        td.register_attention("slip", self)
        try:
            return td.attend(POINTS, POINTS, POINTS, inverse_temperature=2.0, error_tolerance=1e-3, backend="slip")
        finally:
            del SOFTMAX["slip"]


class MeansOfNothing(OfferOfANumber):
    def offer(self, problem):
        return Offer(seconds=0.0, reason="a test")


SLIPS = {
    "a head in place of alpha": (lambda: td.Layer(td.Head()), r"Layer\(heads=\(head,\)\)"),
    "one head in place of a tuple": (lambda: td.Layer(heads=td.Head()), r"heads is Head, expected a tuple"),
    "one head of a residual layer": (lambda: td.dynamics.ResidualLayer(td.Head()), r"heads is Head, expected a tuple"),
    "heads in place of layers": (lambda: td.run(POINTS, [td.Head()]), r"layers is no list of layers"),
    "a number of layers": (lambda: td.run(POINTS, 10), r"layers is no list of layers"),
    "one layer": (lambda: td.run(POINTS, td.Layer()), r"layers is no list of layers"),
    "many sets to run": (lambda: td.run([POINTS, POINTS[:2]], [td.Layer()]), r"run_ragged\(sets, layers\)"),
    "a word for the step": (lambda: td.simulate(POINTS, alpha="a"), r"got 'a'"),
    "a part of a layer": (lambda: td.simulate(POINTS, layers=2.5), r"a whole number; got 2\.5"),
    "a word for the temperature": (lambda: td.simulate(POINTS, inverse_temperature="hot"), r"a number, got 'hot'"),
    "a path of tokens": (lambda: td.simulate("tokens.csv"), r"read_tokens\('tokens\.csv'\)"),
    "a path of a series": (lambda: fitted("flow.csv"), r"read_series\('flow\.csv'\)"),
    "a head in place of the temperature": (lambda: td.TokenFlow(td.Head()), r"inverse_temperature is Head"),
    "tokens before the flow": (
        lambda: td.simulate_meanfield(POINTS, td.TokenFlow(5.0), [0, 1]),
        r"flow is ndarray, expected a TokenFlow",
    ),
    "one sequence alone": (
        lambda: td.compile_transformer(SEQUENCES, ["x", "y"]).predict(SEQUENCES[0]),
        r"the list of sequences: 2 problems\n.*given as \[sequence\]",
    ),
    "tokens that differ in length": (
        lambda: td.compile_transformer([[[1.0, 2.0], [3.0]], [[1.0, 2.0]]], [0, 1]),
        r"sequence 0 is no \(tokens, dim\) array: its tokens differ in length; make them alike$",
    ),
    "a table of texts and labels": (
        lambda: td.LeaderClassifier().fit(TEXTS),
        r"fit\(table\['text'\], table\['label'\]\)",
    ),
    "a function in place of an experiment": (
        lambda: td.sweep(td.simulate, {"alpha": [0.1]}),
        r"experiment is simulate, expected an experiment",
    ),
    "names in place of values": (lambda: td.sweep(td.Clustering, ["alpha"]), r"over is list, expected lists by option"),
    "one value to sweep": (
        lambda: td.sweep(td.Clustering, {"alpha": 0.3}),
        r"over holds 'alpha': 0\.3, expected a list",
    ),
    "features by time": (lambda: fitted(WAVES.T), r"given as series\.T"),
    "a window of features by time": (lambda: fitted().forecast(WAVES[:9].T, 3), r"give window\.T"),
    "a part of a step": (lambda: fitted().forecast(2.5), r"steps is 2\.5, expected an integer"),
    "dates in a column": (
        lambda: fitted(TABLE.rename_axis("when").reset_index()),
        r"dates make the index: series\.set_index\('when'\)",
    ),
    "a number in place of sets": (lambda: td.run_ragged(5, [td.Layer()]), r"sets is int, expected a list of"),
    "one layer to record": (lambda: td.run(POINTS, [td.Layer()] * 4, record=3), r"whole numbers of layers.*, got 3$"),
    "half a layer to record": (lambda: td.run(POINTS, [td.Layer()] * 4, record=[1.5]), r"got \[1\.5\]$"),
    "a word for labels": (lambda: td.run(POINTS, [td.Layer()], labels="abc"), r"labels is str, expected a list"),
    "a number for a checkpoint": (
        lambda: td.run_ragged([POINTS], [td.Layer()], checkpoint=3),
        r"checkpoint is int, expected the path of a file or a Checkpoint",
    ),
    "pyplot in place of axes": (lambda: td.simulate(POINTS, layers=2).plot(pyplot), r"expected the axes of a figure"),
    "a figure in place of axes": (
        lambda: td.simulate(POINTS, layers=2).plot(Figure()),
        r"expected the axes of a figure",
    ),
    "a number in place of a folder": (lambda: td.simulate(POINTS, layers=2).save(3), r"'3' is int, expected the path"),
    "a number in place of a page": (lambda: td.simulate(POINTS, layers=2).report(3), r"'3' is int, expected the path"),
    "a number in place of a model's folder": (lambda: fitted().save(3), r"'3' is int, expected the path"),
    "a number in place of an option": (lambda: td.sweep(td.Clustering, {3: [1]}), r"over holds 3, expected names"),
    "a list of fixed options": (
        lambda: td.sweep(td.Clustering, {"alpha": [0.1]}, fixed=["layers"]),
        r"fixed is list, expected a dict by option",
    ),
    "a number in place of a store": (
        lambda: td.sweep(td.Clustering, {"alpha": [0.1]}, store=3),
        r"store is int, expected the path of a folder",
    ),
    "one forecast among starts": (
        lambda: td.valid_prediction_times(WAVES, WAVES, 0.1),
        r"expected \(starts, time, features\); one forecast is given as forecast\[None\]",
    ),
    "one feature as a list": (lambda: td.nrmse([1.0, 2.0], [1.0, 2.5]), r"given as series\[:, None\]"),
    "a number for the name of a backend": (
        lambda: td.register_attention(3, OfferOfANumber()),
        r"the name 3 is taken, or is not an identifier",
    ),
    "a backend that offers a number": (
        lambda: OfferOfANumber().attend(),
        r"offer\(problem\) returned int, expected an Offer",
    ),
    "a backend that returns nothing": (
        lambda: MeansOfNothing().attend(),
        r"softmax\(problem\) returned NoneType, expected a Softmax",
    ),
    "a word for a family": (lambda: td.register_family("llama"), r"family is str, expected a .*Family .*Scheme"),
    "a day that is missing": (lambda: fitted(TABLE.drop(DAYS[20])), r"1 time is missing .* in pandas by asfreq"),
}


@pytest.mark.parametrize("slip", SLIPS)
@pytest.mark.usefixtures("unchecked")
def test_a_slip_is_answered_by_what_to_write_instead(slip):
    call, message = SLIPS[slip]
    with pytest.raises(td.BadInputError, match=message):
        call()


@pytest.mark.usefixtures("unchecked")
def test_a_flow_takes_matrices_as_lists():
    flow = td.TokenFlow(5.0, value=[[1, 0], [0, 2]])
    np.testing.assert_array_equal(flow.value, np.diag([1.0, 2.0]))


def test_what_was_read_shows_its_shape_and_not_its_numbers():
    reviews = td.small_reviews()
    assert len(repr(reviews)) < 1000
    table = td.TokenTable(np.zeros((50, 2)), tuple(map(str, range(50))))
    assert "tokens=<float64 (50, 2)>" in repr(table)


def test_a_series_that_was_read_shows_its_shape_and_not_its_numbers():
    series = td.sinusoids(300, 0.1, (0.5, 0.7), channels=2, seed=0)
    assert "values=<float64 (300, 2)>" in repr(series)
    assert len(repr(series)) < 500


def test_the_record_of_a_sweep_has_the_table_and_the_status_of_the_sweep(tmp_path):
    record = {"schema": "tokendyn-sweep", "schema_version": 1, "status": "failed", "jobs": 2}
    (tmp_path / "sweep.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "table.csv").write_text("job,status,alpha\n0,completed,0.5\n1,failed,-1\n", encoding="utf-8")
    again = td.load(tmp_path)
    assert again.status == "failed"
    assert again.table()["alpha"].tolist() == [0.5, -1.0]


def test_the_kind_of_a_result_of_the_library_is_refused_also_before_its_module_is_imported():
    program = (
        "import tokendyn as td\n"
        "try:\n    class Mine(td.Result, kind='transport'): pass\n"
        "except TypeError as error: print(error)\n"
        "print(td.wasserstein([[0.0]], [[1.0]]).value)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "Mine: the kind 'transport' belongs to tokendyn.metrics.transport; choose another\n1.0\n"
