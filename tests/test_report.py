"""One page for a run of any kind: what it shows, that nothing in it runs, and what is said of a damaged folder."""

import csv
import html
import json
import re
import shlex
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import EVIL, EVIL_NAME, seen
from jaxtyping import config as jaxtyping_config

from tokendyn.cli import run
from tokendyn.cli.report import FOLDERS, RECORDS
from tokendyn.data.texts import small_reviews


@pytest.fixture(scope="module", autouse=True)
def _no_shape_checks():
    """Switch the shape checks off for the runs too, which are made once for all tests."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a small run of every kind by its schema, with names and texts that try to become markup."""
    place = tmp_path_factory.mktemp("runs")
    tokens, reviews, flow, sequences = (place / f"{EVIL_NAME}{name}" for name in ("t.csv", "r.csv", "f.csv", "s.jsonl"))
    np.savetxt(tokens, np.random.default_rng(0).normal(size=(12, 2)), delimiter=",")
    data = small_reviews()
    with reviews.open("w", encoding="utf-8", newline="") as stream:
        rows = zip((f"{text} {EVIL}" for text in data.texts), (f"{EVIL}{label}" for label in data.labels), strict=True)
        csv.writer(stream).writerows([("text", "label"), *rows])
    turn = 0.2 * np.arange(300)
    np.savetxt(flow, np.stack([turn, np.sin(turn)], axis=1), delimiter=",", header=f"t,{EVIL}", comments="")
    with sequences.open("w", encoding="utf-8") as stream:
        for k in range(9):
            part = np.random.default_rng(k).normal(size=(3, 2)).tolist()
            stream.write(json.dumps({"id": f"{EVIL}{k}", "tokens": part, "label": f"{EVIL}{k % 2}"}) + "\n")
    field = ("--value", "diag(1,2)", "--score", "diag(4,1)", "--tokens", "30", "--time", "1")
    made = {
        "tokendyn-clustering": ("simulate", tokens, "--layers", "3", "--no-animation"),
        "tokendyn-meanfield": ("simulate", "--model", "meanfield", "--beta", "9", *field, "--no-animation"),
        "tokendyn-phase": ("phase", "--betas", "5,9", *field),
        "tokendyn-sentiment": ("sentiment", "train", reviews, "--epochs", "1", "--test-fraction", "0.5"),
        "tokendyn-comparison": ("sentiment", "compare", reviews),
        "tokendyn-curve": ("sentiment", "curve", reviews, "--leaders", "3"),
        "tokendyn-exact": ("classify", "build", sequences, "--strategy", "fused"),
        "tokendyn-forecast": ("forecast", "fit", flow, "--model", "tddmd", "--delays", "4", "--horizon", "20"),
        "tokendyn-forecast-run": ("forecast", "run", flow, "--time", "t", "--budget", "50ms", "--horizon", "20"),
        "tokendyn-forecast-study": (
            "forecast", "compare", flow, "--models", "persistence", "--budget", "50ms", "--horizon", "20",
        ),
        "tokendyn-claims": ("claims", "meanfield.laplace"),
    }  # fmt: skip
    found = {schema: place / f"{EVIL_NAME}{schema}" for schema in made}
    for schema, words in made.items():
        assert run([*map(str, words), "--out", str(found[schema])]) == 0
    model, out = found["tokendyn-sentiment"], place / f"{EVIL_NAME}tokendyn-faithfulness"
    assert run(["sentiment", "evaluate", str(reviews), "--model", str(model), "--texts", "3", "--out", str(out)]) == 0
    cases, tried = place / f"{EVIL_NAME}cases.csv", place / f"{EVIL_NAME}tokendyn-behaviour"
    rows = [("kind", "text", "expected"), *((f"{EVIL}k", f"A warm film. {EVIL}", f"{EVIL}{y}") for y in ("pos", "neg"))]
    with cases.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    assert run(["sentiment", "check", str(model), "--cases", str(cases), "--out", str(tried)]) == 0
    return found | {"tokendyn-faithfulness": out, "tokendyn-behaviour": tried, "flow": flow, "sequences": sequences}


@pytest.fixture
def records(runs, tmp_path, capsys):
    """Return what commands write with ``--json`` as files, by schema."""
    exact, model, forecaster = (runs[f"tokendyn-{name}"] for name in ("exact", "sentiment", "forecast"))
    commands = {
        "tokendyn-verification": ("classify", "verify", exact, "--exact", "--json"),
        "tokendyn-sequence-check": ("classify", "check", runs["sequences"], "--json"),
        "tokendyn-explanation": ("sentiment", "explain", f"A warm, dull film. {EVIL}", "--model", model, "--json"),
        "tokendyn-forecast-prediction": (
            "forecast", "predict", forecaster, runs["flow"], "--steps", "9", "--json", "--out", tmp_path / "f.csv",
        ),
    }  # fmt: skip
    found = {}
    for schema, words in commands.items():
        capsys.readouterr()
        assert run(list(map(str, words))) == 0
        found[schema] = tmp_path / f"{schema}.json"
        found[schema].write_text(capsys.readouterr().out, encoding="utf-8")
    return found


class Page(HTMLParser):
    """The elements and headings of a page."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.headings, self._tag = [], [], ""
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        self._tag = tag
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self._tag in ("h1", "h2") and data.strip():
            self.headings.append(data.strip())


def assert_inert(page):
    """Nothing of the page is loaded, run, or made of what a user gave."""
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        assert tag != "img" or attributes["src"].startswith("data:image/")
        assert tag != "a" or attributes["href"].startswith("#part-")
    assert not re.search(r"https?://", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page.text))


def refused(capsys, *arguments):
    capsys.readouterr()
    assert run(list(map(str, arguments))) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    return said.err


@pytest.fixture(scope="module")
def pages(runs):
    """Return the page of every run, made anew from its folder, by schema."""
    found = {schema: runs[schema] / "report.html" for schema in FOLDERS.keys() - {"tokendyn-head-theory"}}
    for path in found.values():
        path.unlink(missing_ok=True)
        assert run(["report", str(path.parent)]) == 0
    return found


def test_a_run_of_every_kind_has_a_page_that_ends_with_a_command_that_tokendyn_takes(pages):
    for schema, path in pages.items():
        page = Page(path)
        assert_inert(page)
        assert page.headings[-2:] == ["Repeat this run", "Provenance"], schema
        assert any(tag == "img" for tag, _ in page.elements), schema
        assert "<dt>machine</dt>" in page.text
        shown = re.search(r"<code>(tokendyn .*?)</code>", page.text, re.DOTALL)[1]
        command = shlex.split(html.unescape(re.sub("</?span>", "", shown)))
        assert run([*command[1:], "--overwrite", "--dry-run"]) == 0, command


def test_what_commands_write_with_json_has_a_page(records, tmp_path):
    assert records.keys() == RECORDS.keys()
    for number, path in enumerate(records.values()):
        out = tmp_path / f"{number}.html"
        assert run(["report", str(path), "--out", str(out)]) == 0
        page = Page(out)
        assert_inert(page)
        assert page.headings[-1] == "Provenance"
        assert "Repeat this run" in page.headings


def test_many_runs_make_one_page_with_a_chapter_each(runs, records, tmp_path, capsys):
    chosen = [*(runs[schema] for schema in ("tokendyn-clustering", "tokendyn-exact")), *records.values()]
    out = tmp_path / "all.html"
    capsys.readouterr()
    assert run(["report", *map(str, chosen), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    page = Page(out)
    assert_inert(page)
    assert len(said["runs"]) == len(chosen)
    targets = {attributes["href"][1:] for tag, attributes in page.elements if tag == "a"}
    places = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert targets == set(places)
    assert len(places) == len(set(places))
    # The table of the runs comes first.
    articles = [attributes["id"] for tag, attributes in page.elements if tag == "article"]
    assert articles == [f"part-{number}" for number in range(2, len(chosen) + 2)]
    assert "exists already" in refused(capsys, "report", *chosen, "--out", out)


def test_a_dry_run_names_the_runs_and_writes_nothing(runs, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert run(["report", str(runs["tokendyn-exact"]), "--out", str(out), "--dry-run"]) == 0
    assert "classify build" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("schema", "file", "remedy"),
    [
        ("tokendyn-clustering", "trajectory.safetensors", "trajectory.safetensors is missing"),
        ("tokendyn-comparison", "comparison.png", "--overwrite"),
        ("tokendyn-exact", "model.safetensors", "model.safetensors is missing"),
        ("tokendyn-claims", "claims.json", "holds no run"),
    ],
)
def test_a_folder_that_lacks_a_file_is_answered_with_the_remedy(runs, tmp_path, capsys, schema, file, remedy):
    copy = tmp_path / "copy"
    shutil.copytree(runs[schema], copy)
    (copy / file).unlink()
    assert remedy in refused(capsys, "report", copy, "--out", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": None}, "run forecast compare or study again"),
        ({"figures": [{"name": "../../secret", "caption": ""}]}, "no name of a picture"),
        ({"schema_version": 99}, "update it"),
    ],
)
def test_a_damaged_record_is_one_message(runs, tmp_path, capsys, change, message):
    copy = tmp_path / "copy"
    shutil.copytree(runs["tokendyn-forecast-study"], copy)
    record = json.loads((copy / "study.json").read_text(encoding="utf-8")) | change
    (copy / "study.json").write_text(json.dumps(record), encoding="utf-8")
    assert message in refused(capsys, "report", copy, "--out", tmp_path / "page.html")


def test_what_is_no_run_is_refused(tmp_path, capsys):
    (tmp_path / "other.json").write_text('{"schema": "tokendyn-trajectory"}')
    assert "name one run" in refused(capsys, "report")
    assert "does not exist" in refused(capsys, "report", tmp_path / "none")
    assert "holds no run" in refused(capsys, "report", tmp_path)
    assert "classify verify" in refused(capsys, "report", tmp_path / "other.json")


def assert_harmless(page, *texts):
    """Nothing of a page ran or was loaded, and what a user gave is there as text."""
    assert page.problems == []
    for text in texts:
        assert " ".join(text.split()) in " ".join(page.text.split())


#: Pages on which a column, a label or an id is read in full; names of files and folders are on every page, in the
#: command that repeats the run, quoted for a shell.
SHOWN = {"sentiment", "exact", "forecast-study", "explanation", "sequence-check"}


def test_in_a_browser_no_page_of_any_run_runs_or_loads_what_a_user_gave(pages, records, tmp_path, browser):
    written = {schema: tmp_path / f"{EVIL_NAME}{schema}.html" for schema in records}
    for schema, out in written.items():
        assert run(["report", str(records[schema]), "--out", str(out)]) == 0
    for schema, page in {**pages, **written}.items():
        shown = [EVIL] if schema.removeprefix("tokendyn-") in SHOWN else []
        assert_harmless(seen(browser, page), EVIL_NAME.partition('"')[0], *shown)


def test_in_a_browser_the_page_of_many_runs_shows_their_names_as_text(runs, records, tmp_path, browser):
    chosen = [*(runs[schema] for schema in ("tokendyn-forecast-study", "tokendyn-exact")), *records.values()]
    out = tmp_path / "all.html"
    assert run(["report", *map(str, chosen), "--out", str(out)]) == 0
    assert_harmless(seen(browser, out), EVIL, EVIL_NAME)


def test_in_a_browser_an_explanation_shows_its_text_as_text(runs, tmp_path, browser):
    out = tmp_path / "why.html"
    words = ["sentiment", "explain", f"A warm, wonderful film. {EVIL}", "--model", str(runs["tokendyn-sentiment"])]
    assert run([*words, "--html", str(out)]) == 0
    assert_harmless(seen(browser, out), EVIL)
