"""The explorer page in a real browser: its arithmetic against Python, its controls, its files, its safety."""

import base64
import hashlib
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from explorer_page import opened, place_of, settle, setup_of
from published_leaders import published

from tokendyn.attention import Head
from tokendyn.cli import run as tokendyn
from tokendyn.data.explored import Explored, explored_from, read_explored
from tokendyn.dynamics import Layer, run
from tokendyn.errors import BadInputError
from tokendyn.particles import simulate
from tokendyn.particles.explored import replay
from tokendyn.particles.meanfield import project
from tokendyn.particles.presets import presets
from tokendyn.particles.report import save_run
from tokendyn.show.explorer import explorer_html, explorer_script

EVIL = "</script><script>window.stolen = 1</script><img src=x onerror='window.stolen = 2'>"
QUICK = {name: presets()[name] for name in ("emerging-leader", "face-clusters")}
for name in ("experiment-a-30", "self-attention"):  # every fifth token, for a shorter time
    full = presets()[name]
    QUICK[name] = replace(full, tokens=full.tokens[::5], labels=(), steps=60)

RUN = """record => {
  const setup = tokendynExplorer.settings.read(record), { core, settings } = tokendynExplorer;
  const found = {};
  for (const kind of ["hardmax", "softmax"]) {
    const run = core.startRun(setup, kind);
    while (!run.done()) run.advance();
    found[kind] = run.states.map((state) => Array.from(state));
    found.failure = run.failure;
    if (setup.model === "meanfield") found.projector = Array.from(settings.projection(setup).projector);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def explorer(browser, tmp_path_factory):
    """Return the page; errors in its console fail the test that used it last."""
    offered = {name: one.to_dict() for name, one in QUICK.items()}
    evil = Explored(np.eye(2), labels=(EVIL, "b"), title=EVIL, note=EVIL)
    return opened(browser, tmp_path_factory.mktemp("explorer"), {**offered, "evil": evil.to_dict()})


@pytest.fixture
def page(explorer):
    """Return the page at its first preset; no test may leave an error in its console."""
    explorer.select_option("#x-preset", "emerging-leader")
    settle(explorer)
    yield explorer
    assert explorer.problems == []


def random_setup(rng, dim, **settings):
    tokens = rng.normal(size=(60, dim))
    if settings.get("model") == "meanfield":
        tokens /= np.linalg.norm(tokens, axis=1)[:, None]
    return Explored(tokens, weights=rng.uniform(1, 2, 60), value=rng.normal(size=(dim, dim)), **settings)


def states(run):
    return run.states.reshape(len(run.states), -1)


@pytest.mark.parametrize("tolerance", [0.0, 1e-9])
def test_fifty_layers_in_the_browser_are_those_of_python(page, rng, tolerance):
    given = Explored(
        rng.normal(size=(120, 2)), matrix=np.array([[2.0, 0.5], [0.5, 1.0]]), layers=50, tie_tolerance=tolerance
    )
    found, expected = page.evaluate(RUN, given.to_dict()), replay(given)
    assert len(found["softmax"]) == 51
    for kind in ("hardmax", "softmax"):
        np.testing.assert_allclose(found[kind], states(getattr(expected, kind)), rtol=0, atol=1e-12)


def test_hardmax_is_that_of_python_to_the_last_bit(page, rng):
    given = Explored(rng.normal(size=(200, 2)), matrix=np.array([[2.0, 0.5], [0.5, 1.0]]), layers=20)
    head = Head(score=given.matrix)
    expected = run(given.tokens, [Layer(given.alpha, (head,))] * 20, freeze=False)
    np.testing.assert_array_equal(page.evaluate(RUN, given.to_dict())["hardmax"], states(expected))


def test_general_values_and_weights_give_the_layers_of_python(page, rng):
    given = random_setup(rng, 2, layers=50)
    given = Explored(given.tokens, weights=given.weights, value=given.value / np.linalg.norm(given.value, 2), layers=50)
    found, expected = page.evaluate(RUN, given.to_dict()), replay(given)
    np.testing.assert_array_equal(found["hardmax"], states(expected.hardmax))
    np.testing.assert_allclose(found["softmax"], states(expected.softmax), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cold_limit", ["hardmax", "full support"])
@pytest.mark.parametrize("method", ["layers", "euler", "heun", "rk4"])
@pytest.mark.parametrize("dim", [2, 3])
def test_the_flow_on_the_sphere_is_that_of_python(page, rng, dim, method, cold_limit):
    given = random_setup(
        rng, dim, model="meanfield", inverse_temperature=7.0, matrix=rng.normal(size=(dim, dim)), method=method,
        cold_limit=cold_limit, steps=30,
    )  # fmt: skip
    found, expected = page.evaluate(RUN, given.to_dict()), replay(given)
    assert found["failure"] == ""
    for kind in ("hardmax", "softmax"):
        np.testing.assert_allclose(found[kind], states(getattr(expected, kind)), rtol=0, atol=1e-12)
    projection = project(given.value, given.matrix)
    np.testing.assert_allclose(found["projector"], projection.projector.ravel(), rtol=0, atol=1e-9)


def test_the_curve_on_the_sphere_is_the_coupling_bound_of_python(page):
    from tokendyn.dynamics import TokenFlow
    from tokendyn.particles.meanfield import simulate as simulate_flow

    page.select_option("#x-preset", "experiment-a-30")
    settle(page)
    page.wait_for_timeout(100)
    given = QUICK["experiment-a-30"]
    flow = TokenFlow(30.0, interaction=given.matrix, value=given.value)
    times = np.arange(given.steps + 1) * given.step
    expected = simulate_flow(flow, given.tokens, times, method=given.method, step=given.step)
    curve = page.evaluate("tokendynExplorer.state.shown.softmax.curve.values")
    np.testing.assert_allclose(curve, expected.distances, rtol=0, atol=1e-12)


def test_every_preset_is_shown_without_an_error(page):
    for name, given in QUICK.items():
        page.select_option("#x-preset", name)
        page.wait_for_timeout(150)
        assert page.evaluate("Object.values(tokendynExplorer.state.shown).map((run) => run.failure)") == ["", ""]
        assert given.title in page.inner_text("#x-note")


def test_the_table_names_the_leaders_that_python_finds(page):
    page.evaluate("(() => { const s = tokendynExplorer.state; s.position = 30; s.stale = true; })()")
    page.wait_for_timeout(150)
    given = presets()["emerging-leader"]
    expected = simulate(given.tokens, layers=30).prediction
    rows = page.locator("#x-table tr").all_inner_texts()
    found = {row.split("\t")[0].lstrip("★").strip(): row.split("\t")[2] for row in rows}
    leaders = zip(expected.leaders, expected.leader_layers, strict=True)
    assert found == {given.labels[leader]: f"layer {layer}" for leader, layer in leaders}


def test_a_dragged_token_starts_elsewhere_and_the_run_follows(page):
    before = setup_of(page, "tokens")
    x, y, scale = place_of(page, 0)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 30, y + 20, steps=4)
    page.mouse.up()
    settle(page)
    after = setup_of(page, "tokens")
    np.testing.assert_allclose(after[:2] - before[:2], [-30 / scale, -20 / scale], atol=2 / scale)
    np.testing.assert_array_equal(after[2:], before[2:])
    final = page.evaluate("Array.from(tokendynExplorer.state.shown.hardmax.states[30])")
    expected = simulate(after.reshape(-1, 2), layers=30).trajectory.states[-1].ravel()
    np.testing.assert_allclose(final, expected, rtol=0, atol=1e-12)


def test_keys_select_move_add_and_remove_tokens_and_play(page):
    page.focus("#x-hard")
    page.keyboard.press("n")
    before = setup_of(page, "tokens")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    moved = setup_of(page, "tokens") - before
    assert moved[0] > 0
    assert moved[1] == pytest.approx(10 * moved[0])
    assert not moved[2:].any()
    page.keyboard.press("+")
    assert setup_of(page, "n") == 9
    page.keyboard.press("Delete")
    assert setup_of(page, "n") == 8
    assert len(setup_of(page, "labels")) == 8
    page.keyboard.press(" ")
    page.wait_for_timeout(300)
    assert page.get_attribute("#x-play", "aria-pressed") == "true"
    page.keyboard.press(" ")
    assert page.evaluate("tokendynExplorer.state.position") > 0
    page.click("#x-next")
    assert page.evaluate("tokendynExplorer.state.position % 1") == 0


def test_sliders_and_fields_set_the_parameters(page):
    for name, value in (("alpha", 2.0), ("beta", 5.0), ("layers", 12)):
        page.fill(f"#x-{name}-field", str(value))
        page.press(f"#x-{name}-field", "Enter")
        assert setup_of(page, name) == value
    page.evaluate(
        """(() => {
          const slider = document.getElementById("x-alpha");
          slider.value = Math.log(0.25);
          slider.dispatchEvent(new Event("input"));
        })()"""
    )
    assert setup_of(page, "alpha") == pytest.approx(0.25, rel=1e-3)
    page.fill("#x-value input >> nth=1", "0.5")
    page.press("#x-value input >> nth=1", "Enter")
    np.testing.assert_array_equal(setup_of(page, "value"), [1, 0.5, 0, 1])
    settle(page)
    page.wait_for_timeout(50)
    assert "does not apply" in page.inner_text("#x-theorem")
    given = presets()["emerging-leader"]
    value = np.array([[1, 0.5], [0, 1]])
    expected = replay(
        Explored(given.tokens, alpha=setup_of(page, "alpha"), layers=12, value=value, inverse_temperature=5.0)
    )
    final = page.evaluate("Array.from(tokendynExplorer.state.shown.softmax.states[12])")
    np.testing.assert_allclose(final, expected.softmax.states[-1].ravel(), rtol=0, atol=1e-12)
    page.fill("#x-layers-field", "-3")
    page.press("#x-layers-field", "Enter")
    assert "layers must be from 1 to 2000" in page.inner_text("#x-error")
    assert setup_of(page, "layers") == 12


def test_the_dragged_ellipse_stays_symmetric_positive_definite(page):
    page.locator("#x-ellipse").scroll_into_view_if_needed()
    box = page.locator("#x-ellipse").bounding_box()
    x, y = box["x"] + 66, box["y"] + 66
    page.mouse.move(x + 55, y)
    page.mouse.down()
    page.mouse.move(x + 20, y - 20, steps=3)
    page.mouse.up()
    matrix = setup_of(page, "matrix").reshape(2, 2)
    assert matrix[0, 1] == matrix[1, 0] != 0
    axes = 1 / np.sqrt(np.linalg.eigvalsh(matrix))
    assert axes[0] == pytest.approx(1, abs=0.01)
    assert axes[1] == pytest.approx(math.hypot(20, 20) / 55, abs=0.04)


@pytest.mark.parametrize("name", ["face-clusters", "experiment-a-30"])
def test_saved_json_is_run_again_by_simulate_and_loaded_again_by_the_page(page, tmp_path, name, capsys):
    page.select_option("#x-preset", name)
    page.evaluate("tokendynExplorer.state.setup.beta = 12.5")
    page.fill("#x-beta-field", "13")
    page.press("#x-beta-field", "Enter")
    with page.expect_download() as download:
        page.click("#x-save")
    file = tmp_path / "explored.json"
    download.value.save_as(file)
    assert tokendyn(["simulate", str(file), "--out", str(tmp_path / "run"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["agrees"]
    assert set(said["differences"]) == {"hardmax", "softmax"}
    assert said["inverse_temperature"] == 13
    assert max(said["differences"].values()) <= 1e-12
    assert (tmp_path / "run" / ("report.html" if name == "face-clusters" else "softmax/flow.json")).is_file()

    page.select_option("#x-preset", "emerging-leader")
    page.set_input_files("#x-file", file)
    page.wait_for_timeout(200)
    np.testing.assert_array_equal(setup_of(page, "tokens"), read_explored(file).tokens.ravel())
    assert setup_of(page, "beta") == 13


def test_the_picture_shows_both_panels(page, tmp_path):
    from PIL import Image

    with page.expect_download() as download:
        page.click("#x-png")
    download.value.save_as(tmp_path / "explored.png")
    with Image.open(tmp_path / "explored.png") as image:
        assert image.width > 1.8 * image.height > 300
        assert len(image.convert("RGB").getcolors(2**20)) > 20


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("{", "Not loaded"),
        ('{"schema": "x"}', 'expected "tokendyn-explored"'),
        ({"tokens": [[1, 2], [3]]}, "the same number of finite coordinates"),
        ({"tokens": [[0, 0]] * 2001}, "1 to 2000 rows"),
        ({"layers": 1e9, "alpha": "a"}, "alpha must be from"),
        ({"model": "meanfield", "tokens": [[1, 1]]}, "norm 1"),
        ({"labels": ["a"]}, "labels must be one text a token"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason_and_changes_nothing(page, tmp_path, record, problem):
    if isinstance(record, dict):
        record = json.dumps(presets()["emerging-leader"].to_dict() | record)
    (tmp_path / "bad.json").write_text(record)
    page.set_input_files("#x-file", tmp_path / "bad.json")
    page.wait_for_timeout(100)
    assert problem in page.inner_text("#x-error")
    assert setup_of(page, "n") == 8


def test_scripts_in_names_do_nothing(page):
    page.select_option("#x-preset", "evil")
    settle(page)
    page.wait_for_timeout(100)
    assert EVIL in page.inner_text("#x-note")
    assert EVIL in page.inner_text("#x-table")
    assert page.evaluate("window.stolen === undefined && document.querySelector('#x-page img, #x-note img') === null")


def test_frames_go_on_while_five_hundred_tokens_are_computed_and_played(page):
    measured = {}
    for model in ("clustering", "meanfield"):
        page.select_option("#x-preset", "self-attention" if model == "meanfield" else "emerging-leader")
        page.fill("#x-count", "500")
        page.click("#x-scatter")
        page.evaluate("(() => { const s = tokendynExplorer.state; s.frames.length = 0; s.works.length = 0; })()")
        page.click("#x-play")
        # Until frames have come and the run has moved, however slow the machine is: there is no other claim on time.
        while not page.evaluate("(s => s.frames.length > 5 && s.position > 0)(tokendynExplorer.state)"):
            page.wait_for_timeout(50)
        frames, works = page.evaluate("(s => [s.frames, s.works])(tokendynExplorer.state)")
        page.click("#x-play")
        measured[model] = {"frame": np.percentile(frames, [50, 95]), "work": np.percentile(works, [50, 95])}
    for model, found in measured.items():
        shown = {name: "{:.1f} ms (95 %: {:.1f})".format(*values) for name, values in found.items()}
        print(f"500 tokens, {model}: {shown}")


def test_the_page_fits_a_narrow_screen(page):
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert page.evaluate("document.getElementById('x-hard').clientWidth") > 300
    page.set_viewport_size({"width": 1280, "height": 1000})


def test_the_page_holds_one_script_that_its_policy_admits_by_hash():
    html = explorer_html({"evil": Explored(np.eye(2), labels=(EVIL, "b")).to_dict()}, "evil")
    digest = base64.b64encode(hashlib.sha256(explorer_script().encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html
    assert re.findall(r"<script[^>]*>", html) == ['<script type="application/json" id="x-data">', "<script>"]
    assert not re.search(r"<[a-z][^>]*\b(?:src|href)=|@import|\burl\(", html)
    assert ".innerHTML" not in explorer_script()
    assert "eval(" not in explorer_script()


def test_settings_survive_json():
    for given in presets().values():
        again = explored_from(json.loads(json.dumps(given.to_dict())))
        np.testing.assert_array_equal(again.tokens, given.tokens)
        assert again.to_dict() == given.to_dict()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema": "x"}, "expected 'tokendyn-explored'"),
        ({"schema_version": 9}, "schema version 9"),
        ({"layers": 1.5}, "layers is float"),
        ({"alpha": -1}, "alpha must be positive"),
        ({"tokens": [[1, 2, 3]]}, "3 coordinates"),
        ({"tokens": [[1, 2], [3]]}, "rows of different lengths"),
        ({"weights": [1, -1]}, "weights must be one positive number"),
        ({"final": {"hardmax": [[1, 2]]}}, "final state 'hardmax'"),
    ],
)
def test_bad_settings_are_refused(unchecked, changes, problem):
    with pytest.raises(BadInputError, match=re.escape(problem)):
        explored_from(presets()["triangle"].to_dict() | changes)


def test_simulate_says_so_when_the_ends_differ(tmp_path, capsys):
    tokens = np.eye(2)
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(Explored(tokens, value=2 * tokens, final={"hardmax": tokens}).to_dict()))
    assert tokendyn(["simulate", str(file), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["agrees"] is False


def test_explore_starts_from_runs_tokens_exports_and_explanations(tmp_path, capsys, rng):
    tokens = rng.normal(size=(6, 2))
    save_run(simulate(tokens, alpha=0.7, layers=9), tmp_path / "run", title="mine", animation=None)
    np.savetxt(tmp_path / "tokens.csv", tokens, delimiter=",")
    (tmp_path / "explored.json").write_text(json.dumps(Explored(tokens).to_dict()))
    why = {"contributions": [], "explorer": Explored(tokens, title="why").to_dict()}
    (tmp_path / "why.json").write_text(json.dumps(why))
    for place, source in enumerate(("run", "tokens.csv", "explored.json", "why.json")):
        out = tmp_path / f"{place}.html"
        assert tokendyn(["explore", str(tmp_path / source), "--out", str(out), "--no-open"]) == 0
        data = json.loads(re.search(r'id="x-data">(.*?)</script>', out.read_text(), re.DOTALL)[1])
        assert data["chosen"] == "given"
        np.testing.assert_array_equal(data["settings"]["given"]["tokens"], tokens)
    assert tokendyn(["explore", "--out", str(tmp_path / "0.html"), "--no-open"]) == 2
    assert tokendyn(["explore", "--preset", "squar", "--no-open"]) == 2
    assert "no preset 'squar'" in capsys.readouterr().err
    (tmp_path / "why.json").write_text('{"contributions": []}')
    assert tokendyn(["explore", str(tmp_path / "why.json"), "--no-open"]) == 2


def test_an_explanation_in_the_plane_brings_its_words():

    texts = ["a wonderful film", "a dull film", "wonderful and warm", "dull and cold"] * 6
    model = published(active_words=20).fit(texts, ["good", "bad"] * 12)
    why = model.explain("a wonderful cold film")
    given = explored_from(why.to_dict()["explorer"])
    np.testing.assert_array_equal(given.tokens, why.states[0])
    np.testing.assert_allclose(replay(given).hardmax.states[-1], why.states[-1], rtol=0, atol=1e-12)
