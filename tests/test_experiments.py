"""Experiments: one class that Python, TOML, the command line and the store share."""

import dataclasses
import json
import shlex
from typing import Annotated, Literal

import numpy as np
import pytest
from stores import six_tokens

from tokendyn.cli import app, run
from tokendyn.cli.jobs import any_command, command
from tokendyn.errors import BadInputError
from tokendyn.exact.experiments import Compilation
from tokendyn.experiments import Experiment, Flags, Matrix, sweep
from tokendyn.experiments.fields import read_value
from tokendyn.experiments.jobs import kind_of
from tokendyn.experiments.options import documented, options_of
from tokendyn.forecast.continuation import Continuation
from tokendyn.forecast.experiments import Fitting, Forecasting
from tokendyn.models.inspecting import Inspecting
from tokendyn.particles.experiments import Clustering
from tokendyn.particles.meanfield.phase import Phase
from tokendyn.particles.meanfield.simulation import MeanField
from tokendyn.runs.scheduler import end_local, local_executor
from tokendyn.runs.store import Store
from tokendyn.sentiment.experiments import Distillation, Export, Training
from tokendyn.studies.forecast.experiments import Comparison, Validation
from tokendyn.studies.sentiment.experiments import ClassifierComparison, Curve, Evaluation

pytestmark = pytest.mark.usefixtures("unchecked", "warm_workers")

EXPERIMENTS = [
    Clustering, MeanField, Phase, Compilation, Training, Distillation, Export, ClassifierComparison, Curve, Evaluation,
    Continuation, Fitting, Forecasting, Comparison, Validation, Inspecting,
]  # fmt: skip


@pytest.fixture(scope="module")
def kept():
    """Return the workers that a test leaves for the next, by their number, threads and memory."""
    executors = {}
    yield executors
    for executor in executors.values():
        end_local(executor)


@pytest.fixture
def warm_workers(kept, monkeypatch):
    """Keep the workers of a sweep for the next that wants the same: here it counts what sweeps compute."""

    def start(*size):
        for other in kept.keys() - {size}:  # loky can change the number of its workers, but may wait for ever
            end_local(kept.pop(other))
        kept[size] = local_executor(*size)
        return kept[size]

    monkeypatch.setattr("tokendyn.experiments.crew.local_executor", start)
    monkeypatch.setattr("tokendyn.experiments.crew.end_local", lambda executor: None)


@pytest.fixture
def tokens(tmp_path):
    return six_tokens(tmp_path)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_field_is_documented_and_nothing_else_is(experiment):
    names = {option.keys[0] for option in options_of(experiment).values()}
    texts = documented(experiment)
    assert set(texts) == names
    assert all(text.endswith(".") for text in texts.values())


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_options_of_the_command_are_those_of_the_class(experiment):
    registered = any_command(experiment.command).options
    for name, option in options_of(experiment).items():
        same = registered[name]
        assert (same.flags, same.negative, same.default, same.positional, same.numeric) == (
            option.flags, option.negative, option.default, option.positional, option.numeric,
        )  # fmt: skip
    beside = {"out", "overwrite", "dry_run", "json", "checkpoint", *experiment.constants}
    assert set(registered) - set(options_of(experiment)) <= beside
    assert command(experiment.command) is kind_of(experiment)


def test_a_class_reads_its_values_as_a_file_or_a_command_line_gives_them(tokens):
    given = Clustering(str(tokens), alpha="0.25", layers=4.0, score=np.diag([2.0, 0.1]))
    assert given == Clustering(tokens, alpha=0.25, layers=4, score="2.0,0.0;0.0,0.1")
    with pytest.raises(BadInputError, match="3 problems") as error:
        Clustering(tokens, layers=2.5, strict="yes", record="some")
    assert "layers = 2.5: expected a whole number" in str(error.value)
    assert "expected 'all' or 'last'" in str(error.value)


@pytest.mark.parametrize(
    ("hint", "value", "read"),
    [
        (int, "7", 7), (int, np.int64(3), 3), (float, 2, 2.0), (float, "inf", np.inf), (int | None, None, None),
        (float | Literal["auto"], "auto", "auto"), (float | Literal["auto"], 0.5, 0.5),
        (list[float], (1, 2), [1.0, 2.0]),
        (tuple[str, ...], ["a"], ("a",)), (Annotated[Matrix | None, Flags("-A")], [[1, 2]], "1.0,2.0"),
        (bool, True, True),
    ],
)  # fmt: skip
def test_values_are_read(hint, value, read):
    assert read_value(hint, value) == read
    assert type(read_value(hint, value)) is type(read)


@pytest.mark.parametrize(
    ("hint", "value"),
    [(int, True), (int, 2.5), (int, "x"), (float, "much"), (float, True), (bool, 1), (bool, "true"), (str, 3),
     (Literal["a"], "b"), (list[int], "12"), (list[int], 3), (Matrix, np.zeros(3)), (float | None, "much")],
)  # fmt: skip
def test_values_of_other_kinds_are_refused(hint, value):
    with pytest.raises(ValueError, match=r"expected|takes"):
        read_value(hint, value)


def test_the_command_line_and_python_write_the_same_run(tokens, tmp_path):
    once = Clustering(tokens, alpha=0.3, layers=5, score="2,0;0,1", animation=False)
    once.write(once.run(), tmp_path / "python", command=once.command_line(out=tmp_path / "python"))
    words = shlex.split(once.command_line(out=tmp_path / "shell"))
    assert run(words[1:]) == 0
    for name in ("trajectory.safetensors", "tokens.csv"):
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "shell" / name).read_bytes()
    record = json.loads((tmp_path / "shell" / "run.json").read_text(encoding="utf-8"))
    assert shlex.split(record["command"]) == words


def test_a_dry_run_says_what_would_be_run_and_refuses_what_the_run_refuses(tokens):
    assert Clustering(tokens, layers=7).check()[-1] == "would run 6 tokens in 2 dimensions, 7 layers"
    for wrong in (Clustering(tokens, alpha=-1.0), Clustering(tokens, softmax=0.0), Clustering(tokens, score="1,2;x,3")):
        with pytest.raises(BadInputError) as checked:
            wrong.check()
        with pytest.raises(BadInputError) as ran:
            wrong.run()
        assert str(checked.value) == str(ran.value)


def test_messages_speak_python_in_python_and_flags_on_the_command_line(tokens, capsys):
    with pytest.raises(BadInputError, match="`softmax` takes"):
        Clustering(tokens, softmax=-1.0).run()
    assert run(["simulate", str(tokens), "--softmax", "-1"]) == 2
    assert "--softmax takes" in capsys.readouterr().err


SWEEP = """
command = "simulate"
samples = 2
seed = 3
[fixed]
tokens = "{tokens}"
layers = 3
[grid]
alpha = [0.2, 0.5]
"score" = ["1.0,0.0;0.0,2.0", "1.0,0.0;0.0,1.0"]
[random]
softmax = {{low = 1, high = 50, scale = "log"}}
"""


def test_a_sweep_from_python_is_the_sweep_of_the_command_line_to_the_byte(tokens, tmp_path):
    (tmp_path / "s.toml").write_text(SWEEP.format(tokens=tokens), encoding="utf-8")
    words = ["sweep", tmp_path / "s.toml", "--workers", 1, "--store", tmp_path / "shell", "--out", tmp_path / "table"]
    assert run(list(map(str, words))) == 0
    result = sweep(
        Clustering(tokens, layers=3),
        {"alpha": np.array([0.2, 0.5]), "score": [np.diag([1.0, 2.0]), np.eye(2)]},
        random={"softmax": {"low": 1, "high": 50, "scale": "log"}}, samples=2, seed=3,
        store=tmp_path / "python", workers=1,
    )  # fmt: skip
    result.save(tmp_path / "again")
    for name in ("table.csv", "table.parquet"):
        assert (tmp_path / "table" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    shell, python = Store(tmp_path / "shell"), Store(tmp_path / "python")
    assert shell.ids() == python.ids() == sorted(result.ids)
    for one in shell.ids():
        first, second = shell.read(one, verify=True), python.read(one, verify=True)
        assert (first.status, first.config, first.inputs, first.results) == (
            second.status, second.config, second.inputs, second.results,
        )  # fmt: skip
        assert set(first.files) == set(second.files)
        commands = {json.loads((store.path(one) / "output" / "run.json").read_bytes())["command"]
                    for store in (shell, python)}  # fmt: skip
        assert len(commands) == 1, "the command that repeats a run does not depend on where the store lies"
        same = {name for name in first.files if name.endswith((".safetensors", ".csv", ".toml"))}
        assert len(same) >= 3
        assert {name: first.files[name] for name in same} == {name: second.files[name] for name in same}
    assert len(result.table()) == 8
    assert result.counts == {"completed": 8, "diverged": 0, "stopped": 0, "failed": 0}
    assert (result.status, result.ran) == ("completed", 8)
    again = sweep(Clustering(tokens, layers=3), {"alpha": [0.2]}, fixed={"softmax": 2.0}, store=tmp_path / "python")
    assert again.ran == 1


def test_a_range_of_python_is_a_list_of_values(tokens, tmp_path):
    result = sweep(Clustering(tokens), {"layers": range(2, 5)}, store=tmp_path / "runs", workers=1)
    assert result.table()["layers"].tolist() == [2, 3, 4]
    again = sweep(Clustering(tokens), {"layers": [2, 3, 4]}, store=tmp_path / "runs", workers=1)
    assert (again.ids, again.ran) == (result.ids, 0)


@dataclasses.dataclass(frozen=True)
class Halves:
    end: float
    status: str = "completed"

    def summary(self):
        return {"status": self.status, "end": self.end}

    def describe(self):
        return [f"it ends at {self.end:g}"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Halving(Experiment[Halves]):
    """A number, halved again and again.

    Parameters
    ----------
    start
        The number.
    times
        How often.
    """

    command = "halve"
    start: float = dataclasses.field(kw_only=False)
    times: int = 3

    def run(self, *, progress=None, checkpoint=None, budget=None):
        return Halves(self.start / 2**self.times)

    def write(self, result, folder, *, command="", overwrite=False):
        from tokendyn.runs.folders import new_folder

        with new_folder(folder, overwrite=overwrite) as temporary:
            (temporary / "end.txt").write_text(f"{result.end}\n{command}", encoding="utf-8")


def test_a_class_of_ones_own_can_be_swept(tmp_path):
    result = sweep(Halving(8.0), {"times": [1, 2]}, store=tmp_path / "runs", workers=1)
    assert result.table()["end"].tolist() == [4.0, 2.0]
    assert "halve" not in app
    written = (tmp_path / "runs" / result.ids[0] / "output" / "end.txt").read_text(encoding="utf-8")
    assert written == f"4.0\ntokendyn halve 8 --times 1 --out {result.ids[0]}"


@pytest.mark.parametrize("part", ["over", "together", "fixed", "random"])
def test_what_a_sweep_asks_for_comes_before_the_options_of_its_experiment(tokens, tmp_path, part):
    values = {"fixed": 4, "random": {"choices": [4]}}.get(part, [4])
    options = {part: {"layers": values}} | ({"samples": 1} if part == "random" else {})
    result = sweep(Clustering(tokens, layers=3, alpha=0.5), **options, store=tmp_path / "runs", workers=1)
    record = Store(tmp_path / "runs").read(result.ids[0])
    assert (record.config["layers"], record.config["alpha"]) == (4, 0.5)


@pytest.mark.parametrize("part", ["over", "together", "fixed"])
def test_an_array_where_a_file_is_named_is_refused_with_the_remedy(tokens, part):
    array = np.zeros((3, 2))
    with pytest.raises(BadInputError, match=r"tokens holds an array, .*numpy\.save"):
        sweep(Clustering(tokens), **{part: {"tokens": array if part == "fixed" else [array]}})
    with pytest.raises(BadInputError, match=r"tokens = ndarray of shape \(3, 2\): expected a path; .*numpy\.save"):
        Clustering(array)


def test_a_wrong_option_of_a_sweep_is_refused_before_anything_runs(tokens, tmp_path):
    with pytest.raises(BadInputError, match="did you mean alpha"):
        sweep(Clustering(tokens), {"alpa": [0.1]}, store=tmp_path / "runs")
    with pytest.raises(BadInputError, match="`workers` must be at least 1"):
        sweep(Clustering(tokens), {"alpha": [0.1]}, workers=0)
    assert not (tmp_path / "runs").exists()
