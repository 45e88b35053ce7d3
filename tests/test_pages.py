"""The pages with code run as written and print what they show."""

import pytest
from pages import DOCS, blocks, differs, run_block, run_page

PAGES = [
    "tutorial-clustering",
    "tutorial-sentiment",
    "tutorial-meanfield",
    "tutorial-exact",
    "tutorial-forecast",
    "tutorial-inspect",
    "lecture",
    "howto-own-data",
    "howto-long-runs",
    "howto-clusters",
    "howto-gpu",
    "howto-notebook",
]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs_as_written_and_prints_what_it_shows(name, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    differences, _ = run_page(DOCS / f"{name}.md")
    assert not differences, "\n\n".join(differences)


@pytest.mark.parametrize("name", ["howto-clustering", "howto-exact"])
def test_the_python_of_a_page_runs_as_written(name, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(DOCS / f"{name}.md"):
        if block.language == "python":
            run_block(block, names, name)
    assert names


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a 0.123 b", "a 0.1235 b"),
        ("a 0.123 b", "a  0.122  b"),
        ("error 3e-16", "error 9.21e-17"),
        ("wrote x in ... s", "wrote x in 12.3 s"),
        ("first\n...\nlast 2", "first\nmiddle\nmiddle\nlast 2"),
        ("[1, 2]  ->  1,000.5", "[1, 2] -> 1000.52"),
    ],
)
def test_outputs_that_agree(shown, printed):
    assert differs(shown, printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a 0.123 b", "a 0.126 b"),
        ("6 leaders", "7 leaders"),
        ("a", "b"),
        ("a\nb", "a"),
        ("a", "a\nb"),
        ("a\n...\nz", "a\nb"),
        ("error 3e-16", "error 0.1"),
        ("1.0e-03", "1.3e-03"),
    ],
)
def test_outputs_that_differ(shown, printed):
    assert differs(shown, printed) is not None
