"""Runs that are stopped and resumed end in the same bits as runs that were not."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from published_leaders import published

from tokendyn import dynamics
from tokendyn.attention import Head
from tokendyn.cli import run
from tokendyn.dynamics import Budget, Event, Layer, TokenFlow, integrate
from tokendyn.errors import BadInputError
from tokendyn.forecast import TDTF
from tokendyn.particles import simulate
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.files import read_tensors, write_tensors

TIMES = np.linspace(0.0, 4.0, 9)
TEXTS = ["fine moving film", "dull slow film", "fine and bright", "dull and false", "bright film", "false, slow"] * 6
LABELS = ["pos", "neg", "pos", "neg", "pos", "neg"] * 6


class Stop(KeyboardInterrupt):
    """Ctrl-C at a chosen moment."""


def stop_after(count):
    """Return a progress callback that interrupts when it was called so often."""
    calls = iter(range(1, 10_000))

    def progress(*_):
        if next(calls) == count:
            raise Stop

    return progress


def circle(rng, count=12):
    points = rng.normal(size=(count, 2))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [3, 5, 8])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"step": 0.1},
        {"method": "heun", "step": "auto"},
        {"method": "layers"},
        {"method": "adaptive", "tolerance": 1e-4},
        {"method": "euler", "noise": 0.05, "seed": 3},
    ],
    ids=["rk4", "fixed", "heun", "layers", "adaptive", "noisy"],
)
def test_a_resumed_flow_is_the_uninterrupted_one(settings, count, rng, tmp_path):
    flow, tokens = TokenFlow(inverse_temperature=6.0, value=np.diag([1.0, 2.0])), circle(rng)
    whole = integrate(flow, tokens, TIMES, **settings)
    path = tmp_path / "flow.safetensors"
    with pytest.raises(Stop):
        integrate(flow, tokens, TIMES, **settings, progress=stop_after(count), checkpoint=Checkpoint(path, 0.0))
    assert 2 <= len(read_tensors(path)["times"]) <= count
    resumed = integrate(flow, tokens, TIMES, **settings, checkpoint=Checkpoint(path))
    np.testing.assert_array_equal(resumed.states, whole.states)
    assert (resumed.steps, resumed.evaluations, resumed.rejected) == (whole.steps, whole.evaluations, whole.rejected)


def test_events_of_a_resumed_flow_are_those_of_the_uninterrupted_one(rng, tmp_path):
    flow, tokens = TokenFlow(inverse_temperature=6.0, value=np.diag([1.0, 2.0])), circle(rng)
    events = [Event("crossing", lambda _, x: float(x[0, 0] - x[1, 0]))]
    whole = integrate(flow, tokens, TIMES, method="adaptive", tolerance=1e-4, events=events)
    path = tmp_path / "flow.safetensors"
    given = {"method": "adaptive", "tolerance": 1e-4, "events": events}
    with pytest.raises(Stop):
        integrate(flow, tokens, TIMES, **given, progress=stop_after(6), checkpoint=Checkpoint(path, 0.0))
    assert integrate(flow, tokens, TIMES, **given, checkpoint=Checkpoint(path)).events == whole.events


def test_a_flow_that_ran_out_of_steps_goes_on_with_a_larger_budget(rng, tmp_path):
    flow, tokens = TokenFlow(inverse_temperature=6.0, value=np.diag([1.0, 2.0])), circle(rng)
    path = tmp_path / "flow.safetensors"
    short = integrate(flow, tokens, TIMES, budget=Budget(steps=17), checkpoint=Checkpoint(path))
    assert short.status == "out of steps"
    resumed = integrate(flow, tokens, TIMES, checkpoint=Checkpoint(path))
    np.testing.assert_array_equal(resumed.states, integrate(flow, tokens, TIMES).states)


def test_a_resumed_softmax_simulation_is_the_uninterrupted_one(rng, tmp_path):
    tokens = rng.normal(size=(10, 2))
    whole = simulate(tokens, inverse_temperature=4.0, layers=12)
    path = tmp_path / "run.safetensors"
    with pytest.raises(Stop):
        simulate(
            tokens, inverse_temperature=4.0, layers=12, progress=stop_after(7), checkpoint=Checkpoint(path, seconds=0.0)
        )
    resumed = simulate(tokens, inverse_temperature=4.0, layers=12, checkpoint=Checkpoint(path))
    for name in ("states", "leaders", "tie_counts", "tie_spreads"):
        np.testing.assert_array_equal(getattr(resumed.trajectory, name), getattr(whole.trajectory, name))


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_a_resumed_training_is_the_uninterrupted_one(count, tmp_path):
    def classifier():
        return published(epochs=5, random_state=4, patience=4)

    whole = classifier().fit(TEXTS, LABELS)
    path = tmp_path / "training.safetensors"
    with pytest.raises(Stop):
        classifier().fit(TEXTS, LABELS, progress=stop_after(count), checkpoint=Checkpoint(path, 0.0))
    resumed = classifier().fit(TEXTS, LABELS, checkpoint=Checkpoint(path))
    np.testing.assert_array_equal(resumed.embedding_, whole.embedding_)
    np.testing.assert_array_equal(resumed.decoder_, whole.decoder_)
    assert resumed.training_["epochs"] == whole.training_["epochs"]


def test_a_training_out_of_time_gives_the_best_so_far_and_goes_on_later(tmp_path):
    path = tmp_path / "training.safetensors"
    short = published(epochs=4, random_state=4).fit(TEXTS, LABELS, budget=0.0, checkpoint=Checkpoint(path))
    assert short.training_["status"] == "budget"
    assert short.predict(TEXTS[:2]).tolist() == LABELS[:2]
    whole = published(epochs=4, random_state=4).fit(TEXTS, LABELS)
    resumed = published(epochs=4, random_state=4).fit(TEXTS, LABELS, checkpoint=Checkpoint(path))
    np.testing.assert_array_equal(resumed.embedding_, whole.embedding_)


def test_a_resumed_forecaster_is_the_uninterrupted_one(rng, tmp_path):
    time_ = np.arange(300) * 0.1
    series = np.c_[np.sin(time_), np.tanh(2 * np.cos(1.7 * time_))]
    settings = {"delays": 3, "units": 5, "iterations": 12, "random_state": 1}
    whole = TDTF(**settings).fit(series, dt=0.1)
    path = tmp_path / "fit.safetensors"
    with pytest.raises(Stop):
        TDTF(**settings, checkpoint=str(path)).fit(series, dt=0.1, progress=stop_after(8))
    assert path.exists()
    resumed = TDTF(**settings, checkpoint=str(path)).fit(series, dt=0.1)
    window = series[-whole.window_length_ :]
    np.testing.assert_array_equal(resumed.forecast(window, 50).values, whole.forecast(window, 50).values)


def test_a_checkpoint_of_another_run_is_refused(rng, tmp_path):
    path = tmp_path / "run.safetensors"
    tokens = rng.normal(size=(10, 2))
    with pytest.raises(Stop):
        simulate(tokens, inverse_temperature=4.0, progress=stop_after(3), checkpoint=Checkpoint(path, 0.0))
    for changed in ({"inverse_temperature": 5.0}, {"inverse_temperature": 4.0, "layers": 31}):
        with pytest.raises(BadInputError, match="other input or settings"):
            simulate(tokens, **changed, checkpoint=Checkpoint(path))
    with pytest.raises(BadInputError, match="other input or settings"):
        simulate(tokens + 1e-16 + 1e-3, inverse_temperature=4.0, checkpoint=Checkpoint(path))


@pytest.mark.parametrize("ragged", [False, True])
def test_a_checkpoint_of_another_backend_is_refused(ragged, rng, tmp_path):
    path, tokens = tmp_path / "run.safetensors", rng.normal(size=(2, 6, 2))
    layers = [Layer(alpha=0.5, heads=(Head(inverse_temperature=4.0),))] * 4
    through, given = (dynamics.run_ragged, list(tokens)) if ragged else (dynamics.run, tokens[0])
    through(given, layers, backend="dense", checkpoint=Checkpoint(path, 0.0))
    with pytest.raises(BadInputError, match="other input or settings"):
        through(given, layers, checkpoint=Checkpoint(path, 0.0))


def test_a_damaged_checkpoint_is_named_with_its_remedy(tmp_path):
    path = tmp_path / "run.safetensors"
    Checkpoint(path, 0.0).of("x").offer(lambda: State({"a": np.ones(3)}, {"b": 1}))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BadInputError, match=str(path)):
        Checkpoint(path).of("x")


def test_a_checkpoint_in_which_one_bit_changed_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    Checkpoint(path, 0.0).of("x").offer(lambda: State({"a": np.ones(3)}, {"b": 1}))
    content = path.read_bytes()
    start = content.index(np.ones(3).tobytes())
    path.write_bytes(content[:start] + bytes([content[start] ^ 1]) + content[start + 1 :])
    with pytest.raises(BadInputError, match="changed after it was written; remove it"):
        Checkpoint(path).of("x")


KEEPING = {
    "hardmax": ["simulate", "{0}/tokens.csv", "--layers", "2", "--no-report"],
    "softmax": ["simulate", "{0}/tokens.csv", "--layers", "2", "--softmax", "3", "--no-report"],
    "flow": ["simulate", "{0}/tokens.csv", "--model", "meanfield", "--beta", "5", "--time", "0.2", "--no-report"],
    "training": ["sentiment", "train", "{0}/texts.csv"],
}


@pytest.fixture
def inputs(rng, tmp_path):
    """Write inputs, and files that are no checkpoints; return their folder."""
    np.savetxt(tmp_path / "tokens.csv", circle(rng), delimiter=",")
    rows = "".join(f'"{text}",{label}\n' for text, label in zip(TEXTS, LABELS, strict=True))
    (tmp_path / "texts.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    write_tensors(tmp_path / "weights.safetensors", {"weight": np.ones(3)})
    Checkpoint(tmp_path / "other.safetensors", 0.0).of("x").write(State({"a": np.ones(3)}, {"b": 1}))
    return tmp_path


@pytest.mark.parametrize("command", KEEPING)
@pytest.mark.parametrize("file", [
    "thesis.txt", "weights.safetensors", "other.safetensors", "tokens.csv", "folder", "thesis.txt/x.safetensors",
    "out/kept.safetensors", "out",
])  # fmt: skip
def test_a_file_that_cannot_keep_the_run_is_left_as_it_is(inputs, command, file, capsys):
    before = {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()}
    words = [word.format(inputs) for word in KEEPING[command]]
    words += ["--out", str(inputs / "out"), "--checkpoint", str(inputs / file)]
    # A hardmax run has no state to keep: the checkpoint of another run is nothing to it.
    expected = 0 if (command, file) == ("hardmax", "other.safetensors") else 2
    capsys.readouterr()
    assert run([*words, "--dry-run"]) == expected
    dry = capsys.readouterr().err.splitlines()[-1]
    assert run(words) == expected
    assert expected == 0 or capsys.readouterr().err.splitlines()[-1] == dry
    kept = {path: path.read_bytes() for path in before if path.exists()}
    assert kept == before


def test_a_dry_run_reads_a_checkpoint_and_writes_none(inputs):
    for command in ("softmax", "flow", "training"):
        words = [word.format(inputs) for word in KEEPING[command]]
        words += ["--out", str(inputs / "out"), "--checkpoint", str(inputs / "new.safetensors"), "--dry-run"]
        assert run(words) == 0
    assert not (inputs / "new.safetensors").exists()


def test_a_killed_command_goes_on_to_the_same_run(rng, tmp_path):
    np.savetxt(tmp_path / "tokens.csv", circle(rng, 60), delimiter=",")
    words = ["simulate", str(tmp_path / "tokens.csv"), "--model", "meanfield", "--beta", "50", "--time", "3"]
    words += ["--every", "0.2", "--no-animation"]
    path = tmp_path / "kept.safetensors"
    killed = [*words, "--checkpoint", str(path), "--out", str(tmp_path / "cut")]
    ended = subprocess.run([sys.executable, "-c", _KILLED_AFTER_FOUR, *killed], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.exists()
    assert not (tmp_path / "cut").exists()
    assert run(killed) == 0
    assert not path.exists()
    assert run([*words, "--out", str(tmp_path / "whole")]) == 0
    one, other = ((tmp_path / name / "flow.safetensors").read_bytes() for name in ("cut", "whole"))
    assert one == other


_KILLED_AFTER_FOUR = """
import os, signal, sys
from tokendyn.cli import run
from tokendyn.runs.checkpoint import Checkpoint

write, writes = Checkpoint.write, []

def write_and_die(self, found):
    write(self, found)
    writes.append(1)
    if len(writes) == 4:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.write = write_and_die
Checkpoint.offer = lambda self, state: self.write(state())
sys.exit(run(sys.argv[1:]))
"""
