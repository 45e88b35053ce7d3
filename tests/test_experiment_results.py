"""What experiments, sweeps and records give is held to the contract of all results, and none is left out."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from stores import six_tokens

import tokendyn as td
from tokendyn.exact import Compilation
from tokendyn.experiments.swept import SweepResult
from tokendyn.forecast.experiments import Fitting
from tokendyn.loading import KINDS, Record
from tokendyn.sentiment import Export, Training
from tokendyn.testing import ResultContract

pytestmark = pytest.mark.usefixtures("unchecked")

FIELD = {"value": "diag(1,2)", "score": "diag(4,1)", "count": 20, "time": 0.4}


def built(folder):
    rows = [{"tokens": [[k, 1.0], [1.0, k * k]], "label": "ab"[k % 2]} for k in range(4)]
    (folder / "s.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return Compilation(folder / "s.jsonl", strategy="fused").run()


def trained(folder):
    data = td.small_reviews()
    with (folder / "r.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *zip(data.texts[:120], data.labels[:120], strict=True)])
    return Training(folder / "r.csv", epochs=1, test_fraction=0.3).run()


def scoring(folder):
    trained(folder).save(folder / "model")
    return Export(folder / "model").run()


def fitted(folder):
    turn = 0.2 * np.arange(200)
    np.savetxt(folder / "f.csv", np.c_[turn, np.sin(turn)], delimiter=",", header="t,x", comments="")
    return Fitting(folder / "f.csv", time="t", model="tddmd", delays=4, horizon=20).run()


def head_facts(folder):
    parts = np.random.default_rng(0).normal(size=(4, 24, 24))
    names = [f"model.layers.0.self_attn.{part}_proj.weight" for part in "qkvo"]
    save_file(dict(zip(names, parts, strict=True)), folder / "model.safetensors")
    return td.MeanField(weights=folder / "model.safetensors", heads=8, head=5, theory_only=True).run()


def phase(folder):
    return td.Phase(betas="5,9", **FIELD).into(folder / "phase")


def swept(folder):
    return td.sweep(
        td.Clustering(six_tokens(folder), layers=3), {"alpha": [0.2, 0.5]}, store=folder / "runs", workers=1
    )


def record(folder):
    """Return what a file of numbers loads as: the sweep of an earlier version, without its rows."""
    values = {"schema": "tokendyn-sweep", "schema_version": 1, "status": "completed", "jobs": 2}
    (folder / "sweep.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "table.csv").write_text("job,status,alpha\n0,completed,0.2\n1,completed,0.5\n", encoding="utf-8")
    return td.load(folder)


#: How each is made, and what its folder loads as.
RESULTS = {
    "BuiltModel": (built, td.ExactTransformer),
    "TrainedModel": (trained, td.LeaderClassifier),
    "OnnxScoring": (scoring, None),
    "FittedForecaster": (fitted, td.TDDMD),
    "MeanFieldResult": (lambda _: td.MeanField(beta=5.0, **FIELD).run(), td.MeanFieldRun),
    "HeadFacts": (head_facts, Record),
    "PhaseResult": (phase, td.Diagram),
    "SweepResult": (swept, SweepResult),
    "Record": (record, Record),
}


class TestEveryResultOfAnExperiment(ResultContract):
    @pytest.fixture(scope="class", params=RESULTS)
    @classmethod
    def made(cls, request, tmp_path_factory):
        make, loads = RESULTS[request.param]
        result = make(tmp_path_factory.mktemp("result"))
        assert type(result).__name__ == request.param
        return result, loads

    @pytest.fixture(scope="class")
    @classmethod
    def result(cls, made):
        return made[0]

    def test_it_comes_back_from_its_folder(self, made, tmp_path):
        result, loads = made
        place = tmp_path / ("saved.onnx" if loads is None else "saved")
        result.save(place)
        if loads is not None:
            assert type(td.load(place)) is loads
        result.save(place, overwrite=True)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "of-another-program.txt").write_text("x", encoding="utf-8")
        for overwrite in (False, True):
            with pytest.raises(td.OutputError):
                result.save(tmp_path / "other", overwrite=overwrite)
        assert [file.name for file in (tmp_path / "other").iterdir()] == ["of-another-program.txt"]


def test_every_class_of_results_is_held_to_the_contract():
    from test_face import RESULTS as OTHERS

    written = re.compile(r'^class (\w+)\((?:Result|Numbers)\b(?:, kind="([a-z-]+)")?', re.MULTILINE)
    files = (file.read_text(encoding="utf-8") for file in Path(td.__file__).parent.rglob("*.py"))
    classes = [found.groups() for text in files for found in written.finditer(text)]
    names = {name for name, _ in classes} - {"Numbers"}
    assert names - {type(make()).__name__ for make in OTHERS.values()} == set(RESULTS)
    # A search has a file of its own, search.json.
    assert {kind for _, kind in classes if kind} - set(KINDS) == {"forecast-search"}


def test_a_saved_sweep_comes_back_with_its_rows_and_its_plan(tmp_path):
    sweep = swept(tmp_path)
    sweep.save(tmp_path / "sweep")
    again = td.load(tmp_path / "sweep")
    assert (again.plan, again.swept, again.counts, again.ran) == (sweep.plan, sweep.swept, sweep.counts, sweep.ran)
    assert again.ids == sweep.ids
    assert again.table().equals(sweep.table())
    assert again.provenance == sweep.provenance
