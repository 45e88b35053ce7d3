"""Sweeps over every command: jobs of each kind, made twice, have the same results, and no times among them."""

import csv
import json
import re
import tomllib

import numpy as np
import pytest
from pages import DOCS
from tiny_models import tiny_folder

from tokendyn.cli.jobs import COMMANDS
from tokendyn.cli.sweep import asked_of
from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.experiments.perform import perform
from tokendyn.runs.plan import plan_of
from tokendyn.runs.store import OUTPUT, Store

pytestmark = pytest.mark.usefixtures("unchecked")

FIELD = {"value": "diag(1,2)", "score": "diag(4,1)", "tokens": 20, "time": 0.4}
#: The options of one small job of each command; names in braces are files or models.
JOBS = {
    "simulate": {"tokens": "{tokens}", "layers": 3},
    "simulate-meanfield": {"beta": 5, **FIELD},
    "inspect": {"model": "{bert}", "text": "a warm film is never dull", "tokens": 8},
    "phase": {"betas": "5,9", **FIELD},
    "classify build": {"sequences": "{sequences}", "strategy": "fused"},
    "sentiment train": {"reviews": "{reviews}", "epochs": 1, "test-fraction": 0.3},
    "sentiment distil": {"reviews": "{judged}", "classes": "neg,pos"},
    "sentiment evaluate": {"reviews": "{reviews}", "model": "{sentiment train}", "texts": 2, "explainers": "leaders"},
    "sentiment export": {"model": "{sentiment train}"},
    "sentiment compare": {"reviews": "{reviews}"},
    "sentiment curve": {"reviews": "{reviews}", "leaders": [3]},
    "forecast fit": {"data": "{flow}", "time": "t", "model": "tddmd", "delays": 4, "horizon": 20},
    "forecast predict": {"model": "{forecast fit}", "data": "{flow}", "steps": 9},
    "forecast run": {"data": "{flow}", "time": "t", "horizon": 20, "budget": "20ms"},
    "forecast compare": {"data": "{flow}", "models": "persistence", "budget": "20ms", "horizon": 20},
}
#: Results that show that a job did its work.
TELLING = {
    "simulate": "clusters", "simulate-meanfield": "least_distance", "phase": "points.0.least",
    "inspect": "gathering",
    "classify build": "nonzeros", "sentiment train": "test_accuracy",
    "sentiment distil": "fidelity.same_verdict", "sentiment evaluate": "leaders.size",
    "sentiment export": "bytes", "forecast fit": "held_out.nrmse", "forecast predict": "finite_steps",
    "forecast compare": "flow.persistence.peer.nrmse",
}  # fmt: skip


class Places(dict):
    """Input files by name, and what jobs write by the words of their command: made when it is first asked for."""

    def __missing__(self, words):
        record, _ = perform(self["store"], self.job(words))
        return str(Store(self["store"]).path(record.id) / OUTPUT)

    def job(self, words):
        """Return the job of a command; it may read what other jobs write."""
        options = JOBS[words].items()
        fixed = {name: value.format_map(self) if isinstance(value, str) else value for name, value in options}
        (job,) = asked_of(plan_of({"command": words, "fixed": fixed})).jobs()
        return job


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Return input files, and models as they are asked for: in parallel runs no test may need another one."""
    place = tmp_path_factory.mktemp("kinds")
    rng, data, turn = np.random.default_rng(0), small_reviews(), 0.2 * np.arange(200)
    np.savetxt(place / "tokens.csv", rng.normal(size=(6, 2)), delimiter=",")
    np.savetxt(place / "flow.csv", np.c_[turn, np.sin(turn)], delimiter=",", header="t,x", comments="")
    with (place / "reviews.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *zip(data.texts[:120], data.labels[:120], strict=True)])
    with (place / "judged.csv").open("w", encoding="utf-8", newline="") as stream:
        judged = zip(data.texts[:120], (0.9 * (label == "pos") + 0.05 for label in data.labels), strict=False)
        csv.writer(stream).writerows([("text", "probability_pos"), *judged])
    with (place / "sequences.jsonl").open("w", encoding="utf-8") as stream:
        for k in range(4):
            stream.write(json.dumps({"id": str(k), "tokens": rng.normal(size=(2, 2)).tolist(), "label": k % 2}) + "\n")
    tiny_folder(place / "bert")
    names = {
        "bert": "bert",
        "tokens": "tokens.csv",
        "flow": "flow.csv",
        "reviews": "reviews.csv",
        "judged": "judged.csv",
        "sequences": "sequences.jsonl",
    }
    return Places({"store": place / "runs", **{name: str(place / file) for name, file in names.items()}})


@pytest.mark.parametrize("words", JOBS)
def test_a_job_of_every_command_gives_the_same_results_each_time(words, places, tmp_path):
    job = places.job(words)
    record, _ = perform(places["store"], job)
    assert (record.status, record.error) == ("completed", "")
    again, _ = perform(tmp_path / "again", job)
    # How many settings a comparison tries depends on its budget of wall time.
    first, second = ({n: v for n, v in one.results.items() if not n.endswith(".tried")} for one in (record, again))
    assert first == second
    assert TELLING.get(words) in {None, *record.results}
    spoken = {part for name in record.results for part in name.split(".")}
    assert not spoken & {"provenance", "schema", "finished", "epochs"}
    assert not [name for name in record.results if "second" in name]


def test_the_sweeps_of_the_documentation_are_plans_with_options_that_their_commands_take():
    page = (DOCS / "howto-runs.md").read_text(encoding="utf-8")
    plans = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    assert len(plans) >= 7
    for plan in plans:
        asked = asked_of(plan_of(plan))
        assert {job.command for job in asked.jobs()} == {asked.kind.words}


def test_every_command_that_a_sweep_may_run_is_tried_here_or_takes_long():
    assert set(COMMANDS) - JOBS.keys() == {"forecast study"}


def test_an_input_that_is_no_file_or_whose_name_is_not_utf8_is_refused():
    for path, message in (("/dev/zero", "a device"), ("a\udcff.csv", "not UTF-8")):
        asked = asked_of(plan_of({"command": "simulate", "fixed": {"tokens": path}}))
        with pytest.raises(BadInputError, match=message):
            list(asked.jobs())
