"""Training and its studies as experiments: Python and the command line write the same, and what is cut is told."""

import csv
import json
import shlex

import numpy as np
import pytest

from tokendyn.cli import run
from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.experiments import sweep
from tokendyn.experiments.jobs import kind_of
from tokendyn.sentiment import Export, Training, load
from tokendyn.studies.sentiment import Curve, Evaluation, LeaderCurve

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    path, data = tmp_path_factory.mktemp("reviews") / "reviews.csv", small_reviews()
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *zip(data.texts[:120], data.labels[:120], strict=True)])
    return path


@pytest.fixture(scope="module")
def model(reviews, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    once = Training(reviews, epochs=1, test_fraction=0.3)
    once.write(once.run(), folder)
    return folder


def test_python_and_the_command_line_train_the_same_classifier(reviews, model, tmp_path):
    once = Training(reviews, epochs=1, test_fraction=0.3)
    words = shlex.split(once.command_line(out=tmp_path / "shell"))
    assert run(words[1:]) == 0
    assert (tmp_path / "shell" / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    shell, python = (json.loads((place / "model.json").read_text("utf-8")) for place in (tmp_path / "shell", model))
    assert shell["measured"] == python["measured"]
    assert shell["measured"]["source"] == "reviews.csv"
    assert shlex.split(shell["command"]) == words


def test_a_training_that_its_budget_ends_is_used_by_the_command_and_goes_on_in_a_store(reviews, tmp_path, capsys):
    trained = Training(reviews, transfer=1.0, epochs=3).run(budget=1e-9)
    assert trained.status == "budget"
    assert trained.describe()[0] == "the budget ended the training; the model is the best so far"
    assert Training(reviews).ended(trained) == "stopped"
    assert len(trained.table()) == len(trained.model.training_["epochs"])
    words = ["sentiment", "train", str(reviews), "--budget", "1ms", "--out", str(tmp_path / "model")]
    assert run(words) == 0
    assert "the budget ended the search for settings" in capsys.readouterr().err
    job = kind_of(Training).job({"reviews": reviews})
    assert kind_of(Training).job({"reviews": reviews, "budget": "1m"}).question == job.question


def test_a_curve_is_a_result_with_one_row_a_wish(reviews, tmp_path):
    curve = Curve(reviews, leaders=(4, 2)).run()
    assert isinstance(curve, LeaderCurve)
    assert curve.table()["leaders_wished"].tolist() == [2.0, 4.0]
    accuracy = curve.table()["validation_accuracy"]
    (low, high), count = curve.picture().bands["validation accuracy"], curve.points[0]["validation_texts"]
    np.testing.assert_allclose((high - low) / 2, np.sqrt(accuracy * (1 - accuracy) / count), atol=1e-15)
    curve.save(tmp_path / "curve")
    from tokendyn.loading import load as load_result

    assert load_result(tmp_path / "curve") == curve
    with pytest.raises(BadInputError, match="`leaders` must be one or more positive numbers, got none"):
        Curve(reviews, leaders=()).check()


def test_evaluations_are_swept_and_their_dry_runs_refuse_what_they_refuse(reviews, model, tmp_path):
    once = Evaluation(reviews, model=model, explainers="leaders", texts=2)
    assert once.check() == ("would explain 2 of 120 texts by leaders",)
    every = Evaluation(reviews, model=model, explainers="leaders")
    result = sweep(every, {"texts": [1, 2]}, store=tmp_path / "runs", workers=1)
    assert result.counts["completed"] == 2
    assert result.table()["leaders.texts"].tolist() == [1, 2]
    for wrong in ({"texts": 0}, {"seeds": 0}, {"explainers": "lede"}):
        with pytest.raises(BadInputError) as checked:
            Evaluation(reviews, model=model, **wrong).check()
        with pytest.raises(BadInputError) as ran:
            Evaluation(reviews, model=model, **wrong).run()
        assert str(checked.value) == str(ran.value)


def test_an_exported_file_is_the_one_of_the_library(model, tmp_path):
    exported = Export(model).run()
    load(model).to_onnx(tmp_path / "library.onnx")
    assert exported.content == (tmp_path / "library.onnx").read_bytes()
    assert run(["sentiment", "export", str(model), "--out", str(tmp_path / "shell.onnx")]) == 0
    assert (tmp_path / "shell.onnx").read_bytes() == exported.content
    assert exported.summary()["bytes"] == len(exported.content)
