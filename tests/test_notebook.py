"""What a notebook shows: results, bars of progress, and the explorer in a frame."""

import re
import sys
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest

import tokendyn as td
from tokendyn.show import progress
from tokendyn.show.embedded import EmbeddedPage

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(scope="module")
def clustering():
    return td.simulate(td.configuration("square"), layers=5)


@pytest.fixture
def shown(monkeypatch):
    """Return what a notebook shows, the last state of each display: a kernel stands in for Jupyter's."""
    displays = []

    class Handle:
        def __init__(self, value):
            displays.append([value])
            self.states = displays[-1]

        def update(self, value):
            self.states.append(value)

    display = SimpleNamespace(HTML=str, display=lambda value, display_id: Handle(value))
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=True), display=display)
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    return displays


def test_a_result_shows_sentences_a_picture_and_its_numbers(clustering):
    shown = clustering._repr_html_()
    sentences = re.findall(r"<p>(.*?)</p>", shown)
    assert len(sentences) == len(clustering.describe())
    assert all(line.endswith(".") for line in sentences)
    assert shown.count("<img") == 1
    facts = dict(re.findall(r"<tr><th>(.*?)</th><td>(.*?)</td></tr>", shown))
    assert facts["layers"] == "5"
    assert facts["status"] == "completed"


def test_a_bar_in_a_notebook_ends_where_the_work_ended(shown):
    with td.progress_bar("steps") as bar:
        for step in range(1, 501):
            bar(step, 500)
    (states,) = shown
    assert "500/500" in states[-1]
    assert '<progress value="500" max="500">' in states[-1]
    # Not a message for each step.
    assert len(states) < 50


def test_a_bar_in_a_notebook_keeps_what_was_done_when_the_work_fails(shown):
    def stop(bar):
        bar(3, 10, "more", "arguments")
        raise ValueError("stop")

    with td.progress_bar("a < b") as bar, pytest.raises(ValueError, match="stop"):
        stop(bar)
    assert "3/10" in shown[0][-1]
    assert "a &lt; b" in shown[0][-1]


def test_a_bar_serves_the_functions_of_the_library(shown):
    with td.progress_bar() as bar:
        flow = td.TokenFlow(5.0)
        td.simulate_meanfield(flow, td.circle_quantiles(20), np.linspace(0, 1, 3), check=False, progress=bar)
    with td.progress_bar("epochs") as bar:
        texts = td.small_reviews()
        td.LeaderClassifier(epochs=1, start_epochs=1).fit(texts.texts[:40], texts.labels[:40], progress=bar)
    assert all(re.search(r"(\d+)/\1,", states[-1]) for states in shown)


def test_quick_work_writes_no_line_where_nobody_watches(capsys):
    with td.progress_bar("steps") as bar:
        bar(1, 2)
    assert capsys.readouterr() == ("", "")


def test_long_work_writes_lines_to_the_log_of_a_job(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_LINE_EVERY", 0.0)
    with td.progress_bar("steps") as bar:
        bar(1, 4, "more")
        bar(2, 4)
        bar(3, None)
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"steps 1/4, 0 s\nsteps 2/4, 0 s, 0 s left\nsteps 3, 0 s\n", said.err)


def test_the_explorer_is_the_content_of_a_frame_that_reaches_nothing(clustering):
    page = td.explore(clustering, height=500)
    shown = page._repr_html_()
    assert shown.count("<iframe") == 1
    assert "height: 500px" in shown
    assert re.search(r'sandbox="([^"]*)"', shown)[1] == "allow-scripts allow-downloads"
    assert unescape(re.search(r'srcdoc="([^"]*)"', shown)[1]) == page.document
    assert len(repr(page)) < 100


def test_the_explorer_begins_with_what_is_given(clustering, tmp_path):
    import pandas as pd

    table = pd.DataFrame({"x": [1.0, 0.0], "y": [0.0, 2.0]}, index=["rome", "bonn"])
    assert '"rome"' in td.explore(table).document
    assert '"chosen": "triangle"' in td.explore("triangle").document
    td.explore(np.eye(2)).save(tmp_path / "page.html")
    td.explore(np.eye(2)).save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("start", "message"),
    [("sqare", "did you mean 'square'"), (np.eye(3), "3 coordinates"), ([[np.nan, 1.0]], "finite")],
)
def test_what_the_explorer_cannot_begin_with_is_named(start, message):
    with pytest.raises(td.BadInputError, match=message):
        td.explore(start)


def test_a_frame_has_a_height_that_can_be_seen():
    with pytest.raises(td.BadInputError, match="100 to 10000"):
        EmbeddedPage("<p>", height=0)


def test_in_a_browser_the_explorer_runs_in_its_frame(clustering, tmp_path, browser):
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html><body>{td.explore(clustering)._repr_html_()}", encoding="utf-8")
    problems, page = [], browser.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda sent: problems.append(sent.url) if sent.url.startswith("http") else None)
    page.goto(path.as_uri())
    frame = page.frames[1]
    frame.wait_for_selector("canvas")
    assert "Your run" in frame.evaluate("document.body.textContent")
    page.close()
    assert problems == []
