"""td.inspect on many texts: streamed from a file, stopped and gone on with, in several processes; images and states."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import WORDS, library_model, tiny_folder

import tokendyn as td
from tokendyn.cli import run
from tokendyn.errors import BadInputError, OutputError
from tokendyn.models import corpus, measuring, open_model
from tokendyn.models.inputs import inputs_of
from tokendyn.models.measuring import Measurer
from tokendyn.runs.checkpoint import Checkpoint, State
from tokendyn.runs.rows import Rows, new_rows, open_rows

TEXTS = [f"a warm film {word} is never dull the plot is {other}" for word in WORDS[4:] for other in WORDS[4:6]]
FAST = {"ablate": "none", "ladder": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "reviews.csv"
    path.write_text("review\n" + "\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def inspected(folder):
    return td.inspect(folder, TEXTS, **FAST)


def bits(seen):
    """Return everything that was measured, as bytes."""
    arrays = [seen.states, seen.rank, seen.clusters, seen.motion_shares, seen.received, seen.sinks]
    for group in (seen.within, seen.across, seen.head_measures, seen.effects, seen.own, seen.ladder_gathering):
        arrays += [group[name] for name in sorted(group)]
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def test_a_file_of_texts_is_streamed_to_the_same_bits(folder, table, inspected, monkeypatch):
    monkeypatch.setattr("tokendyn.models.inputs._AT_ONCE", 4)
    monkeypatch.setattr("tokendyn.runs.rows._READ", 40_000)
    monkeypatch.setattr(corpus, "_MOST_HELD", 100)
    monkeypatch.setattr(measuring, "_MOST_HELD", 1000)
    seen = td.inspect(folder, table, column="review", **FAST)
    assert seen.lengths == inspected.lengths
    assert isinstance(seen.within["model"], np.memmap)
    # Sums over chunks of rows have another order, so that the last bit of a cosine across texts may differ.
    assert seen.gathered() == pytest.approx(inspected.gathered(), abs=1e-14)
    assert np.array_equal(seen.head_measures["cold"], inspected.head_measures["cold"])


def test_the_across_text_cosine_is_that_of_all_other_texts(folder, inspected):
    model = open_model(folder)
    directions = []
    for encoded in model.encode(TEXTS):
        tokens = model.run(encoded).states[-1][1:]
        directions.append((tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).mean(axis=0))
    by_hand = [np.mean([own @ other for k, other in enumerate(directions) if k != number])
               for number, own in enumerate(directions)]  # fmt: skip
    assert inspected.across["model"][:, -1] == pytest.approx(by_hand)


class Stop(Exception):
    pass


def stopping(after):
    def progress(done, _total):
        if done == after:
            raise Stop

    return progress


def test_a_stopped_run_goes_on_to_the_same_bits(folder, inspected, tmp_path):
    kept = tmp_path / "kept.safetensors"
    with pytest.raises(Stop):
        td.inspect(folder, TEXTS, checkpoint=kept, progress=stopping(7), **FAST)
    told = []
    seen = td.inspect(folder, TEXTS, checkpoint=kept, progress=lambda done, _: told.append(done), **FAST)
    assert told[0] == 7
    assert bits(seen) == bits(inspected)
    with pytest.raises(BadInputError, match="other input or settings"):
        td.inspect(folder, TEXTS[1:], checkpoint=kept, **FAST)
    with pytest.raises(BadInputError, match="other input or settings"):
        td.inspect(folder, TEXTS, checkpoint=kept, **FAST, null="none")


def test_a_folder_to_write_keeps_what_is_done_beside_it(folder, inspected, tmp_path):
    out, beside = tmp_path / "seen", tmp_path / "seen.rows.safetensors"
    with pytest.raises(Stop):
        td.inspect(folder, TEXTS, out=out, progress=stopping(3), **FAST)
    assert beside.exists()
    assert not out.exists()
    td.inspect(folder, TEXTS, out=out, **FAST)
    assert bits(td.load(out)) == bits(inspected)
    assert not beside.exists()
    with pytest.raises(OutputError, match="exists"):
        td.inspect(folder, TEXTS, out=out, **FAST)


def test_several_processes_give_the_same_bits(folder, inspected, tmp_path):
    kept = tmp_path / "kept.safetensors"
    with pytest.raises(Stop):
        td.inspect(folder, TEXTS, checkpoint=kept, progress=stopping(2), **FAST)
    seen = td.inspect(folder, TEXTS, checkpoint=kept, processes=2, **FAST)
    assert bits(seen) == bits(inspected)


def test_several_processes_need_the_folder_of_the_model():
    with pytest.raises(BadInputError, match=r"model.save_pretrained\(folder\)"):
        td.inspect(library_model("gpt2"), [np.arange(9)] * 8, processes=2)
    with pytest.raises(BadInputError, match="processes is 0"):
        td.inspect(library_model("gpt2"), [np.arange(9)] * 8, processes=0)


def test_copies_that_do_not_fit_into_memory_are_refused(folder, monkeypatch):
    model = open_model(folder)
    monkeypatch.setattr("tokendyn.runs.memory.machine_memory", lambda: 5.0 * model.bytes)
    td.inspect(model, TEXTS[:1], **FAST)
    with pytest.raises(BadInputError, match="6 copies of tiny-bert in 3 processes"):
        td.inspect(model, TEXTS[:1], processes=3, **FAST)
    monkeypatch.setattr("tokendyn.runs.memory.machine_memory", lambda: 3.0 * model.bytes)
    with pytest.raises(BadInputError, match='null="none"'):
        Measurer(model, measuring.Settings())


def test_a_killed_command_goes_on_where_it_was(folder, table, inspected, tmp_path):
    kept, out = tmp_path / "kept.safetensors", tmp_path / "seen"
    words = ["inspect", str(folder), "--texts", str(table), "--column", "review", "--ablate", "none", "--no-ladder"]
    words += ["--checkpoint", str(kept), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(td.__file__).parents[1])}
    child = subprocess.Popen([sys.executable, "-m", "tokendyn", *words], env=environment, stderr=subprocess.DEVNULL)
    while not kept.exists() and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert kept.exists()
    assert not out.exists()
    assert run(words) == 0
    assert bits(td.load(out)) == bits(inspected)
    assert not kept.exists()


def test_texts_that_cannot_be_measured_are_found_before_any_is(folder, tmp_path):
    def measured(done, _total):
        raise AssertionError("nothing is to be measured")

    path = tmp_path / "texts.csv"
    path.write_text("text\n" + "\n".join([*TEXTS, '" "', "a warm film never", '""']) + "\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"texts 18, 20 are empty; give texts with words"):
        td.inspect(folder, path, progress=measured)
    with pytest.raises(BadInputError, match=r"text 18 has 3 tokens \(2 of 20 texts have too few\)"):
        td.inspect(folder, [*TEXTS, "film", "dull"], progress=measured)
    with pytest.raises(BadInputError, match="give texts alone"):
        td.inspect(folder, ["a warm film", np.arange(9)])
    with pytest.raises(BadInputError, match=r"expected a text, whole numbers of tokens"):
        td.inspect(folder, [np.ones((2, 3))])
    with pytest.raises(BadInputError, match="there are no texts"):
        td.inspect(folder, [])


# Rows


def test_rows_that_a_disk_cut_are_missing(tmp_path):
    path = tmp_path / "rows.safetensors"
    checkpoint = Checkpoint(path)
    checkpoint.bind("run")
    rows = new_rows(checkpoint, State({"a": np.arange(3)}, {"layout": 1}), 4, 5)
    values = np.arange(20.0).reshape(4, 5)
    for number in (2, 0, 3):
        rows.write(number, values[number])
    content = bytearray(path.read_bytes())
    place = content.index(values[3].tobytes())
    content[place + 8] ^= 1
    path.write_bytes(bytes(content))
    again = open_rows(Checkpoint(path), "run")
    assert again.missing() == [1, 3]
    assert again.state.arrays["a"].tolist() == [0, 1, 2]
    assert again.state.record == {"layout": 1}
    from safetensors.numpy import load_file

    assert np.array_equal(load_file(path)["rows"][[0, 2]], values[[0, 2]])
    path.write_bytes(bytes(content[:-9]))
    with pytest.raises(BadInputError, match="was cut after it was written"):
        open_rows(Checkpoint(path), "run")
    path.write_bytes(b"no checkpoint at all")
    with pytest.raises(BadInputError, match="is no whole checkpoint"):
        open_rows(Checkpoint(path), "run")


def test_rows_in_memory_are_those_in_a_file(tmp_path):
    values = np.random.default_rng(0).normal(size=(7, 3))
    checkpoint = Checkpoint(tmp_path / "rows.safetensors")
    checkpoint.bind(1)
    for rows in (Rows(7, 3), new_rows(checkpoint, State({}), 7, 3)):
        for number, row in enumerate(values):
            rows.write(number, row)
        [(start, read)] = rows.chunks(2, 6)
        assert start == 2
        assert np.array_equal(read, values[2:6])
        assert rows.missing() == []


# Images


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    library_model("vit").float().save_pretrained(folder / "vit")
    library_model("clip").float().save_pretrained(folder / "clip")
    settings = {
        "image_processor_type": "ViTFeatureExtractor", "do_resize": True, "size": {"height": 16, "width": 16},
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3, "resample": 0,
    }  # fmt: skip
    for name in ("vit", "clip"):
        (folder / name / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for number in range(8):
        pixels = rng.integers(0, 256, size=(16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    return folder


def test_image_files_are_the_pixels_that_they_hold(image_folder):
    files = sorted((image_folder / "photos").iterdir())
    pixels = [(np.asarray(Image.open(file), dtype=np.float64) / 255 - 0.5).transpose(2, 0, 1) / 0.5 for file in files]
    by_hand = td.inspect(image_folder / "vit", pixels, **FAST)
    seen = td.inspect(image_folder / "vit", image_folder / "photos", **FAST)
    assert seen.lengths == (17,) * 8
    assert seen.gathered() == pytest.approx(by_hand.gathered(), abs=1e-6)


def test_the_command_takes_images_of_a_model_with_two_parts(image_folder, tmp_path, capsys):
    words = ["inspect", str(image_folder / "clip"), "--images", str(image_folder / "photos"), "--no-ladder"]
    assert run([*words, "--ablate", "none", "--out", str(tmp_path / "seen")]) == 0
    assert td.load(tmp_path / "seen").texts == 8
    capsys.readouterr()
    (tmp_path / "text.png").write_text("no image", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    for given, message in (
        ([tmp_path / "text.png"], "is no image that can be read"),
        ([tmp_path / "empty", tmp_path / "missing.png"], "2 problems"),
    ):
        assert run([*words[:3], *map(str, given), "--out", str(tmp_path / "none")]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "none").exists()


def test_a_model_without_preparation_of_images_says_what_to_write(image_folder, tmp_path):
    for file in (image_folder / "vit").iterdir():
        if file.name != "preprocessor_config.json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(BadInputError, match=r"AutoImageProcessor.from_pretrained\(folder\)"):
        td.inspect(tmp_path, image_folder / "photos")
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "Mine"}', encoding="utf-8")
    with pytest.raises(BadInputError, match=r"cannot be used by the transformers library \('Mine'"):
        td.inspect(tmp_path, image_folder / "photos")


# Several states, and heads without a text


def test_several_files_of_states_are_several_texts(folder, tmp_path):
    model = open_model(folder)
    states = [model.run(encoded).states for encoded in model.encode(TEXTS[:3])]
    files = [tmp_path / f"{number}.npz" for number in range(3)]
    for path, each in zip(files, states, strict=True):
        td.write_states(td.HiddenStates(states=each, labels=tuple(map(str, range(each.shape[1])))), path)
    words = ["inspect", *(word for path in files for word in ("--states", str(path)))]
    assert run([*words, "--out", str(tmp_path / "seen")]) == 0
    assert bits_of_geometry(td.load(tmp_path / "seen")) == bits_of_geometry(td.inspect(states))


def bits_of_geometry(seen):
    return seen.gathered().tobytes() + seen.rank.tobytes()


def test_heads_are_listed_from_the_file_alone(folder, tmp_path, capsys):
    assert run(["inspect", str(folder), "--all-heads", "--out", str(tmp_path / "heads"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["heads"] == 12
    assert told["attracting"] + told["repelling"] == 12
    assert told["command"].endswith(f"--all-heads --out {tmp_path / 'heads'} --json")
    seen = td.load(tmp_path / "heads")
    assert seen.table().equals(td.models.head_table(folder).table())
    assert len((tmp_path / "heads" / "weights.csv").read_text(encoding="utf-8").splitlines()) == 13
    assert (tmp_path / "heads" / "report.html").is_file()
    assert run(["report", str(tmp_path / "heads"), "--out", str(tmp_path / "again.html")]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text", "a film", "--images", "x.png"], "give one of --text, --texts and --images"),
        (["--text", "a film", "--processes", "0"], "--processes is 0; expected at least 1"),
        (["--text", "a film", "--processes", "2", "--scheduler", "tcp://x:1"], "a cluster has its own"),
        (["--text", "a film", "--tokens", "3"], "--tokens is 3; expected at least 4"),
    ],
)
def test_options_that_do_not_fit_end_the_command(folder, tmp_path, capsys, words, message):
    assert run(["inspect", str(folder), *words, "--out", str(tmp_path / "none")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_inputs_are_encoded_alike_each_time(folder):
    inputs = inputs_of(open_model(folder), TEXTS, 512)
    first = inputs.survey()
    assert [entry.names for entry in inputs.each()] == [entry.names for entry in inputs.each()]
    assert inputs.survey().digest == first.digest
    assert inputs_of(open_model(folder), TEXTS[:-1], 512).survey().digest != first.digest
