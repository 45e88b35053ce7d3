"""The README's examples run as written, the examples run, and the documentation builds without warnings."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import blocks as page_blocks
from pages import differs, run_block

from tokendyn.cli import run as run_command
from tokendyn.data.states import HiddenStates, write_states

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
HOWTO = (ROOT / "docs" / "howto-forecast.md").read_text(encoding="utf-8")


def blocks(language, document=README):
    return re.findall(rf"```{language}\n(.*?)```", document, flags=re.DOTALL)


def test_each_block_of_the_readme_runs_alone_and_prints_what_it_shows():
    names, differences = {}, []
    for block in page_blocks(ROOT / "README.md"):
        if block.language == "python":
            alone = {}
            differences.append(differs(block.shown, run_block(block, alone, "README.md")))
            names |= alone
    assert differences == [None] * 6
    assert names["why"].label == "pos"
    assert abs(names["forecast"].values - names["signal"].values[400:]).max() < 1e-9


def test_the_commands_of_the_readme_run_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (commands,) = (block for block in page_blocks(ROOT / "README.md") if block.language == "sh")
    assert differs(commands.shown, run_block(commands, {}, "README.md")) is None
    assert {"run", "concentrated", "model", "why.html", "exact", "forecast", "report.html"} <= set(os.listdir())


def test_the_howto_of_forecasts_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_csv, *in_python = blocks("python", HOWTO)
    names = {}
    exec(compile(write_csv, "howto-forecast.md", "exec"), names)
    for line in blocks("sh", HOWTO)[0].splitlines():
        assert run_command(shlex.split(line)[1:]) == 0
    for block in in_python:
        exec(compile(block, "howto-forecast.md", "exec"), names)
    assert {"model", "forecast.csv", "model-python"} <= set(os.listdir())
    assert names["held"].nrmse < 1e-6


def test_the_howto_from_a_file_to_a_forecast_runs_as_written(tmp_path, monkeypatch, capsys, unchecked):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "howto-forecast-run.md").read_text(encoding="utf-8")
    write_files, *in_python = blocks("python", page)
    names = {}
    exec(compile(write_files, "howto-forecast-run.md", "exec"), names)
    for line in blocks("sh", page)[0].splitlines():
        assert run_command(shlex.split(line)[1:]) == 0
    for block in in_python:
        exec(compile(block, "howto-forecast-run.md", "exec"), names)
    assert names["run"].predicted().dims == ("time", "lat", "lon")
    assert 1 / abs(names["model"].spectrum().frequencies[0]) == pytest.approx(12, rel=0.01)


def test_the_howto_of_the_mean_field_runs_as_written(tmp_path, monkeypatch, capsys, unchecked):
    monkeypatch.chdir(tmp_path)
    names = {}
    document = (ROOT / "docs" / "howto-meanfield.md").read_text(encoding="utf-8")
    for block in blocks("python", document):
        exec(compile(block, "howto-meanfield.md", "exec"), names)
    assert names["result"].warnings == []
    assert names["coarse"].resolution.status == "unresolved"
    assert names["way"].status == "event"
    assert Path("folder").is_dir()
    assert "distance to the projected law" in capsys.readouterr().out


def test_each_block_of_the_page_of_papers_runs_alone_and_prints_what_it_shows(tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    states = HiddenStates(np.random.default_rng(0).normal(size=(3, 6, 8)), tuple("abcdef"), "a model")
    (tmp_path / "seen").mkdir()
    write_states(states, "seen/states.safetensors")
    *laws, model = (block for block in page_blocks(ROOT / "docs" / "howto-papers.md") if block.language == "python")
    assert [differs(block.shown, run_block(block, {}, "howto-papers.md")) for block in laws] == [None] * 5
    assert [line.split()[0] for line in run_block(model, {}, "howto-papers.md").splitlines()] == ["0", "1", "2"]


def test_the_film_of_the_readme_is_the_one_that_the_build_makes(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    make_figures = importlib.import_module("make_figures")
    make_figures.film(tmp_path)
    with Image.open(tmp_path / "leaders.gif") as made, Image.open(ROOT / "docs" / "images" / "leaders.gif") as kept:
        assert (made.size, made.n_frames) == (kept.size, kept.n_frames)
        for frame in (0, made.n_frames - 1):
            made.seek(frame)
            kept.seek(frame)
            difference = np.asarray(made.convert("L"), dtype=float) - np.asarray(kept.convert("L"), dtype=float)
            assert np.abs(difference).mean() < 1


def test_the_readme_names_the_commands_of_dev_py():
    assert "python dev.py demo" in README
    assert "python dev.py test" in README


def test_each_example_runs_and_the_documentation_builds_without_warnings(tmp_path):
    pytest.importorskip("sphinx_gallery", reason="install the [docs] extra to build the documentation")
    # The gallery would leave out examples whose text has not changed; the library below them has.
    every_example = ("-D", "sphinx_gallery_conf.run_stale_examples=1")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", *every_example, "docs", tmp_path / "html"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    times = (tmp_path / "html" / "gallery" / "sg_execution_times.html").read_text(encoding="utf-8")
    ran = {script.name: f"{script.name}</span>" in times for script in (ROOT / "examples").glob("*.py")}
    assert all(ran.values()), ran


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("theory-*.md")), ids=lambda page: page.stem)
def test_each_theory_page_has_its_symbols_and_says_what_is_whose(page):
    document = page.read_text(encoding="utf-8")
    assert "| symbol | meaning | in the code |" in document
    assert "\n## What is whose" in document
    assert "ours" in document.lower()
