"""The demonstration: a page that is there at once, grows, survives a stop, and says what was compiled."""

import json

import pytest

from tokendyn.cli import demo_chapters, run
from tokendyn.cli.boundary import Compiling
from tokendyn.cli.demo import FIRST
from tokendyn.cli.demo_chapters import PARTS, Part, telling_reviews
from tokendyn.data import recorded
from tokendyn.data.configurations import DESCRIPTIONS, configuration
from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.particles import simulate
from tokendyn.show import Text
from tokendyn.show.report import sentence

pytestmark = pytest.mark.usefixtures("unchecked")


def shipped(ending=".json"):
    return recorded.WAKE_FILE.with_name(FIRST + ending).read_text(encoding="utf-8")


def chapters(monkeypatch, *functions):
    parts = tuple(
        Part(title=f"Part {number}", source="a test", notice=(f"Notice {number}.",), sections=function)
        for number, function in enumerate(functions)
    )
    monkeypatch.setattr(demo_chapters, "PARTS", parts)


def test_the_first_chapter_is_on_the_page_before_anything_is_computed(tmp_path, monkeypatch):
    pages = []

    def look(folder, seed):
        pages.append((folder / "report.html").read_text(encoding="utf-8"))
        return [Text(f"Computed with seed {seed}.")]

    chapters(monkeypatch, look, look)
    assert run(["demo", "--out", str(tmp_path / "out"), "--seed", "7"]) == 0
    first, second = pages
    assert json.loads(shipped())["sentences"][0] in first
    assert first.count("data:image/svg+xml") == 2
    assert 'http-equiv="refresh"' in first
    assert "0 of 2 chapters" in first
    # Replaced as it is computed here.
    assert "data:image/svg+xml" not in second
    assert "Computed with seed 7." in second
    assert "1 of 2 chapters" in second
    whole = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "refresh" not in whole
    assert whole.count("Computed with seed 7.") == 2
    assert all(f"Notice {number}." in whole for number in (0, 1))


def test_a_stopped_demonstration_says_so_and_can_be_replaced(tmp_path, monkeypatch, capsys):
    def compute(folder, seed):
        (folder / "kept").mkdir()
        (folder / "kept" / "run.json").write_text("{}", encoding="utf-8")
        return [Text("There.")]

    def interrupt(folder, seed):
        raise KeyboardInterrupt

    chapters(monkeypatch, compute, interrupt)
    out = tmp_path / "out"
    assert run(["demo", "--out", str(out)]) == 130
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "1 of its 2 chapters" in page
    assert "refresh" not in page
    chapters(monkeypatch, compute)
    assert run(["demo", "--out", str(out)]) == 0
    (out / "mine.txt").write_text("keep", encoding="utf-8")
    assert run(["demo", "--out", str(out)]) == 2
    assert "mine.txt" in capsys.readouterr().err
    assert (out / "mine.txt").read_text(encoding="utf-8") == "keep"


def test_what_is_shipped_is_what_is_computed():
    name = next(iter(DESCRIPTIONS))
    words = json.loads(shipped())
    result = simulate(configuration(name, 0), alpha=0.5, layers=30)
    assert words["sentences"] == [sentence(line) for line in result.describe()]
    assert words["title"] == DESCRIPTIONS[name]
    for ending in (".svg", "-narrow.svg"):
        assert "prefers-color-scheme:dark" in shipped(ending)


def test_every_chapter_says_what_to_notice():
    assert len({part.title for part in PARTS}) == len(PARTS) == 5
    assert all(part.notice and all(line.endswith(".") for line in part.notice) for part in PARTS)


class Sure:
    """A model that takes the first letter for the class, and the length for its certainty."""

    def predict(self, texts):
        return [text[0] for text in texts]

    def leader_counts(self, texts):
        return [3] * len(texts)

    def predict_proba(self, texts):
        import numpy as np

        return np.array([[1 - len(text) / 1000, len(text) / 1000] for text in texts])


def test_a_review_that_convinces_and_one_that_is_hard_are_chosen():
    texts = ["a" * 600, "b" * 700, "a" * 900, "b" * 950, "a" * 1300]
    data = LabelledTexts(texts=tuple(texts), labels=("a", "b", "b", "a", "a"), source="test")
    clear, hard = telling_reviews(Sure(), data)
    assert (clear, hard) == (texts[1], texts[3])
    right = LabelledTexts(texts=tuple(texts[:2]), labels=("a", "b"), source="test")
    assert telling_reviews(Sure(), right)[1] == ""


def test_the_time_of_compiling_counts_a_kernel_within_a_kernel_once(monkeypatch):
    clock = iter([10.0, 13.0, 20.0, 24.0])
    monkeypatch.setattr("tokendyn.cli.boundary.time.perf_counter", lambda: next(clock))
    compiling = Compiling()
    assert compiling.begin()
    assert not compiling.begin()
    compiling.end()
    compiling.end()
    assert compiling.seconds == 3.0
    assert not compiling.begin()
    compiling.end()
    assert compiling.seconds == 7.0
