"""The explorer page as a guide: its tour, links, undo, tables, view, film, and what it says of the theorem."""

import json
import math

import numpy as np
import pytest
from explorer_page import drawn, opened, place_of, settle, setup_of

from tokendyn.cli import run as tokendyn
from tokendyn.data.explored import Explored
from tokendyn.data.states import HiddenStates, write_states
from tokendyn.dynamics import TokenFlow
from tokendyn.errors import BadInputError
from tokendyn.particles import predict_limits
from tokendyn.particles.explored import replay
from tokendyn.particles.links import read_link
from tokendyn.particles.meanfield import simulate as simulate_flow
from tokendyn.particles.meanfield.experiments import asymmetric_density
from tokendyn.particles.meanfield.guard import needed_tokens
from tokendyn.particles.meanfield.starts import circle_quantiles, uniform_sphere
from tokendyn.particles.presets import presets
from tokendyn.particles.states_in_plane import explored_states

SHOWN = {
    "emerging-leader": presets()["emerging-leader"],
    "line": Explored(
        circle_quantiles(40, asymmetric_density), "meanfield", 30.0, matrix=np.diag([4.0, 1.0]), steps=60, step=0.1,
        value=np.array([[1.0, 0.2], [0.0, 1.5]]), cold_limit="full support", method="heun",
    ),
    "turning": Explored(
        circle_quantiles(9, asymmetric_density), "meanfield", value=np.array([[1.0, -0.5], [0.5, 1.0]]), steps=3
    ),
    "ball": Explored(uniform_sphere(12, 3, 2), "meanfield", 9.0, steps=5),
}  # fmt: skip
ENDS = (
    "Object.fromEntries(Object.entries(tokendynExplorer.state.shown).map(([k, r]) => [k, Array.from(r.states.at(-1))]))"
)


@pytest.fixture(scope="module")
def explorer(browser, tmp_path_factory):
    settings = {name: given.to_dict() for name, given in SHOWN.items()}
    return opened(
        browser, tmp_path_factory.mktemp("guide"), settings, permissions=["clipboard-read", "clipboard-write"]
    )


@pytest.fixture
def page(explorer):
    """Return the page at its first preset; no test may leave an error in its console."""
    explorer.select_option("#x-preset", "emerging-leader")
    settle(explorer)
    yield explorer
    assert explorer.problems == []


def field(page, name, value):
    page.fill(name, str(value))
    page.press(name, "Enter")


def lens(page):
    drawn(page)
    return page.inner_text("#x-lens")


# ---- the tour ----


HARD, SOFT, SAID = "#x-hard-said", "#x-soft-said", "#x-tour-said"
HEIGHT = """(() => {
  const top = (name) => document.querySelector(name).getBoundingClientRect().y;
  return top("#x-tour-next") - top("#x-tour");
})()"""


def to_step(page, step):
    """Begin the tour and go to a step."""
    page.click("#x-tour-start")
    for _ in range(step - 1):
        page.click("#x-tour-next")
    drawn(page)


def test_the_tour_has_six_steps_and_shows_what_a_leader_is(page):
    page.click("#x-tour-start")
    titles, heights = [], []
    for step in range(1, 7):
        drawn(page)
        titles.append(page.inner_text("#x-tour-title"))
        assert titles[-1].startswith(f"{step} of 6: ")
        assert page.evaluate("document.activeElement.id") == "x-tour-title"
        assert page.is_hidden("#x-note")
        assert (page.inner_text(HARD) == "") == (step < 4), "leaders are shown before they are explained"
        # Within the tour and at one moment: the page itself may still scroll.
        heights.append(page.evaluate(HEIGHT))
        if step == 3:
            page.click("#x-tour-action")
            assert page.evaluate("tokendynExplorer.state.position") == 1
        if step == 4:
            assert page.inner_text(SAID) == "Leaders now: 0, 2."
            page.evaluate("tokendynExplorer.app.seek(1)")
            drawn(page)
            assert page.inner_text(SAID) == "Leaders now: 0, 1, 2."
        if step < 6:
            page.click("#x-tour-next")
    assert len(set(titles)) == 6
    assert max(heights) - min(heights) < 4.0, "the buttons move"
    page.click("#x-tour-next")
    assert page.is_hidden("#x-tour")
    assert "Try another preset" in page.inner_text("#x-invite-text")


def test_the_keys_that_the_tour_names_make_token_7_a_leader_in_view(page):
    to_step(page, 6)
    assert "Leaders at the start: 0, 2." in page.inner_text(SAID)
    page.focus("#x-hard")
    page.keyboard.press("p")
    presses = 0
    while "Done" not in page.inner_text(SAID):
        page.keyboard.press("Shift+ArrowUp")
        drawn(page)
        presses += 1
        assert presses < 7
    assert page.inner_text(SAID) == "Done: at the start, the leaders are now 0, 2, 7. Now press Play."
    box, (_, y, _) = page.locator("#x-hard").bounding_box(), place_of(page, 7)
    assert y > box["y"] + 12
    page.click("#x-tour-close")


def test_the_pictures_of_the_tour_end_above_the_bar_that_plays(page):
    page.set_viewport_size({"width": 1280, "height": 720})
    to_step(page, 6)
    box = page.locator("#x-hard").bounding_box()
    assert box["y"] + box["height"] < page.locator("#x-play").bounding_box()["y"]
    page.click("#x-tour-close")
    page.set_viewport_size({"width": 1280, "height": 1000})


@pytest.mark.parametrize(
    ("beta", "said"),
    [(0.03, "all tokens in one point"), (1.0, "all tokens in one point"), (20.0, "2 would"), (1e3, "3 would")],
)
def test_softmax_is_not_said_to_have_leaders_that_it_lost(page, beta, said):
    field(page, "#x-beta-field", beta)
    page.evaluate("tokendynExplorer.app.seek(30)")
    drawn(page)
    assert page.inner_text(SOFT).startswith(said)
    assert page.inner_text(HARD) == "3 leaders"
    end = replay(Explored(presets()["emerging-leader"].tokens, inverse_temperature=beta)).softmax.states[-1]
    gaps = np.linalg.norm(end[:, None] - end, axis=2)
    apart = {tuple(row) for row in (gaps < 0.1).tolist()}
    assert len(apart) == (1 if said.startswith("all") else int(said[0]))


def test_crosses_are_drawn_above_the_stars(page):
    page.evaluate("tokendynExplorer.app.seek(30)")
    looks = []
    for on in (True, False):
        page.set_checked("#x-show-projected", on)
        drawn(page)
        looks.append(
            page.evaluate(
                """([x, y]) => {
                  const canvas = document.getElementById("x-hard"), box = canvas.getBoundingClientRect();
                  const pen = canvas.getContext("2d"), ratio = canvas.width / canvas.clientWidth;
                  const at = [x - box.left - canvas.clientLeft, y - box.top - canvas.clientTop];
                  return Array.from(pen.getImageData(...at.map((part) => Math.round(part * ratio)), 1, 1).data);
                }""",
                place_of(page, 0)[:2],
            )
        )
    page.set_checked("#x-show-projected", True)
    assert looks[0] != looks[1]


# ---- links ----


def test_a_link_shows_what_was_seen_and_simulate_runs_it_again(page, tmp_path, capsys):
    field(page, "#x-alpha-field", 1.75)
    page.evaluate("tokendynExplorer.app.moveToken(5, [0.1 + 0.2, -1e-7])")
    page.evaluate("tokendynExplorer.app.seek(7)")
    settle(page)
    page.click("#x-copy")
    link, ends = page.evaluate("navigator.clipboard.readText()"), page.evaluate(ENDS)
    assert "#preset=emerging-leader&alpha=1.75&tokens=" in link
    assert page.input_value("#x-link-command") == f"tokendyn simulate '{link}'"
    replayed = replay(read_link(link))
    for kind, end in ends.items():
        np.testing.assert_allclose(getattr(replayed, kind).states[-1].ravel(), end, rtol=0, atol=1e-12)
    assert tokendyn(["simulate", link, "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert "would run 8 tokens of the explorer (clustering), hardmax and softmax" in capsys.readouterr().err

    page.select_option("#x-preset", "ball")
    page.wait_for_function("() => location.hash === '#preset=ball'")
    page.evaluate("(link) => { location.hash = link.split('#')[1]; }", link)
    page.wait_for_function("() => tokendynExplorer.state.setup.alpha === 1.75 && tokendynExplorer.state.setup.d === 2")
    drawn(page)
    assert page.evaluate(ENDS) == ends
    assert page.inner_text("#x-said") == "layer 7 of 30"


@pytest.mark.parametrize("model", ["clustering", "meanfield"])
def test_links_hold_every_setting(page, rng, model):
    tokens = rng.normal(size=(5, 2))
    if model == "meanfield":
        tokens /= np.linalg.norm(tokens, axis=1)[:, None]
    mine = {"alpha": 1e-3, "layers": 7} if model == "clustering" else {"method": "euler", "step": 0.3, "steps": 9}
    given = Explored(
        tokens, model, 1e9, weights=rng.uniform(1, 2, 5), matrix=rng.normal(size=(2, 2)), value=rng.normal(size=(2, 2)),
        labels=("a,b", "'", "é & ;#", "", "4"), title="1 = 1", note="so", tie_tolerance=1e-9, **mine,
    )  # fmt: skip
    link = page.evaluate("record => tokendynLink.write(record, '', undefined, 2.5)", given.to_dict())
    assert not set(link) & set("'\"#<> ")
    assert read_link("page.html#" + link).to_dict() == given.to_dict()
    again = page.evaluate("text => tokendynSetup.write(tokendynSetup.read(tokendynLink.read(text, {}).record))", link)
    assert again == given.to_dict()


def test_the_address_follows_the_settings(page):
    field(page, "#x-beta-field", 3)
    page.wait_for_function("() => location.hash === '#preset=emerging-leader&inverse_temperature=3'")


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("page.html", "no link of the explorer"),
        ("#preset=triangel", "no preset 'triangel'; there are emerging-leader"),
        ("#preset=triangle&alfa=1", "has 'alfa', which is no field; there are preset"),
        ("#preset=triangle&alpha=nan", "alpha='nan', which is no number"),
        ("#preset=triangle&alpha=-1", "alpha must be positive"),
        ("#model=clustering&tokens=1,2;3", "rows of different lengths"),
    ],
)
def test_bad_links_are_refused_with_the_reason(link, problem):
    with pytest.raises(BadInputError, match=problem):
        read_link(link)


def test_the_page_says_why_it_cannot_follow_a_link(page):
    for link, problem in (
        ("preset=nix", 'no preset "nix"'),
        ("preset=emerging-leader&beta=1", "beta"),
        ("model=clustering", "tokens must be"),
    ):
        page.evaluate("text => tokendynExplorer.app.follow(text)", link)
        assert problem in page.inner_text("#x-error")
    assert setup_of(page, "n") == 8


# ---- undo ----


def test_undo_and_redo_go_through_every_kind_of_change(page):
    start = setup_of(page, "tokens")
    x, y, _ = place_of(page, 0)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 30, y + 20, steps=6)
    page.mouse.up()
    dragged = setup_of(page, "tokens")
    field(page, "#x-beta-field", 2)
    page.click("#x-add")
    page.select_option("#x-preset", "ball")
    steps = [("n", 12), ("n", 9), ("beta", 2), ("beta", 20)]
    for name, value in steps:
        assert setup_of(page, name) == value
        page.keyboard.press("Control+z") if name == "n" else page.click("#x-undo")
    np.testing.assert_array_equal(setup_of(page, "tokens"), start)
    page.click("#x-redo")
    np.testing.assert_array_equal(setup_of(page, "tokens"), dragged)
    for _ in range(3):
        page.click("#x-redo")
    assert setup_of(page, "n") == 12
    assert page.is_disabled("#x-redo")


# ---- tables and files ----


@pytest.mark.parametrize(
    ("text", "tokens", "labels"),
    [
        ("[[1, 2], [3, 4]]", [1, 2, 3, 4], ["0", "1"]),
        ("x,y\n1,2\n3,-4e-1\n", [1, 2, 3, -0.4], ["0", "1"]),
        ('word\tx\ty\n"good, yes"\t1,5\t2\nbad\t-1\t0,25', [1.5, 2, -1, 0.25], ["good, yes", "bad"]),
        ("1 2\r\n 3   4\r\n", [1, 2, 3, 4], ["0", "1"]),
        ('{"tokens": [[1, 2]], "labels": ["a"]}', [1, 2], ["a"]),
        ("3,0,4", [0.6, 0, 0.8], ["0"]),
        ("[[1. 2.]\n [3. -4.]]", [1, 2, 3, -4], ["0", "1"]),
        ("array([[1., 2.],\n       [3., 4.]], dtype=float32)", [1, 2, 3, 4], ["0", "1"]),
        ("(1, 2), (3, 4)", [1, 2, 3, 4], ["0", "1"]),
        ("\u22121,2,\n3,4,\n", [-1, 2, 3, 4], ["0", "1"]),
    ],
)
def test_pasted_tables_become_tokens(page, text, tokens, labels):
    page.evaluate(
        """text => {
          const clipboardData = new DataTransfer();
          clipboardData.setData("text/plain", text);
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }""",
        text,
    )
    np.testing.assert_allclose(setup_of(page, "tokens"), tokens, rtol=1e-15)
    assert list(setup_of(page, "labels")) == labels
    assert page.is_hidden("#x-error")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "nothing in it"),
        ("[[1, 2], [3", "begins like JSON and is not"),
        ("[[1, 2], [3, 4]", "begins like JSON and is not"),
        ("[1, 2]", "write tokens as [[1, 2], [3, 4]]"),
        ("nan,inf\n1,2", 'row 1, column 1 holds "nan"'),
        ("1,2\n" * 2001, "1 to 2000 rows, got 2001."),
        ("[[1, 2], 3]", "the same number of finite coordinates"),
        ("1,2,3,4\n5,6,7,8", "4 coordinates; the explorer shows 2"),
        ("a,b\nc,d", "holds no numbers"),
        ("1,2\n3,x", 'row 2, column 2 holds "x"'),
        ("1,2\n3,4,5", "3 columns and another 2"),
        ("null", "holds no numbers"),
    ],
)
def test_texts_that_hold_no_tokens_are_refused_with_the_reason(page, tmp_path, text, problem):
    (tmp_path / "tokens.csv").write_text(text)
    page.set_input_files("#x-file", tmp_path / "tokens.csv")
    page.wait_for_function("() => !document.getElementById('x-error').hidden")
    assert problem in page.inner_text("#x-error")
    assert setup_of(page, "n") == 8


def test_the_number_of_tokens_is_never_another_one_than_was_asked_for(page):
    page.fill("#x-count", "5000")
    page.click("#x-scatter")
    assert "from 1 to 2000, got 5000" in page.inner_text("#x-error")
    assert setup_of(page, "n") == int(page.input_value("#x-count")) == 8


# ---- view and time ----


def test_a_message_says_that_tokens_left_the_view_and_fit_brings_them_back(page):
    field(page, "#x-value input >> nth=0", 3)
    page.evaluate("tokendynExplorer.app.seek(20)")
    drawn(page)
    assert "Tokens outside the view: hardmax 8 of 8" in page.inner_text("#x-away-text")
    page.click("#x-away-fit")
    drawn(page)
    assert page.is_hidden("#x-away")


def test_wheel_buttons_and_keys_zoom_and_move_the_view(page):
    radius = "tokendynExplorer.state.view.radius"
    page.evaluate("document.activeElement.blur()")
    x, y, _ = place_of(page, 0)
    page.mouse.move(x, y)
    before = page.evaluate(radius)
    page.mouse.wheel(0, -10)
    page.wait_for_timeout(50)
    assert page.evaluate(radius) == before
    page.focus("#x-hard")
    x, y, _ = place_of(page, 0)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -50)
    page.wait_for_function(f"() => {radius} < {before}")
    np.testing.assert_allclose(place_of(page, 0)[:2], [x, y], atol=1)
    page.click("#x-out")
    page.focus("#x-hard")
    page.keyboard.press("i")
    page.keyboard.press("Escape")
    centre = page.evaluate("tokendynExplorer.state.view.centre[0]")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("tokendynExplorer.state.view.centre[0]") > centre
    page.keyboard.press("0")
    drawn(page)
    assert page.is_hidden("#x-away")


def test_the_time_slider_shows_the_layer_even_while_it_has_the_focus(page):
    page.evaluate("tokendynExplorer.app.seek(15)")
    page.focus("#x-time")
    page.select_option("#x-preset", "ball")
    page.focus("#x-time")
    page.evaluate("tokendynExplorer.app.choose('emerging-leader')")
    drawn(page)
    assert page.inner_text("#x-said") == "layer 0 of 30"
    assert page.input_value("#x-time") == "0"


def test_a_film_of_a_run_is_saved(page, tmp_path):
    field(page, "#x-layers-field", 2)
    with page.expect_download() as download:
        page.click("#x-film")
    download.value.save_as(tmp_path / "explored.webm")
    assert (tmp_path / "explored.webm").read_bytes()[:4] == b"\x1a\x45\xdf\xa3"
    assert page.inner_text("#x-film") == "● Record"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_files_are_read_in_the_encodings_that_spreadsheets_write(page, tmp_path, encoding):
    (tmp_path / "words.csv").write_text("wort;x;y\ngrün;1,5;2\n", encoding=encoding)
    page.set_input_files("#x-file", tmp_path / "words.csv")
    page.wait_for_function("() => tokendynExplorer.state.setup.n === 1")
    assert list(setup_of(page, "labels")) == ["grün"]
    np.testing.assert_array_equal(setup_of(page, "tokens"), [1.5, 2])


def test_what_is_said_of_a_preset_goes_once_it_is_changed(page):
    whole = page.inner_text("#x-note")
    assert "one of which emerges" in whole
    field(page, "#x-beta-field", 3)
    assert page.inner_text("#x-note") == "Figure 2: emerging leader, changed"
    page.focus("#x-beta")
    page.keyboard.press("Control+z")
    assert page.inner_text("#x-note") == whole
    page.evaluate("tokendynExplorer.app.follow('preset=emerging-leader&alpha=2')")
    assert page.inner_text("#x-note") == "Figure 2: emerging leader, changed"
    page.evaluate("tokendynExplorer.app.follow('preset=emerging-leader&at=3')")
    assert page.inner_text("#x-note") == whole


def test_keys_say_where_the_selected_token_starts(page):
    page.focus("#x-hard")
    page.keyboard.press("Shift+N")
    assert page.inner_text("#x-status") == "Token 0 starts at (1, 0.333)."


# ---- the theorem ----


def test_the_limits_are_those_of_the_library_and_known_before_play(page):
    drawn(page)
    assert page.evaluate("tokendynExplorer.state.position") == 0
    ghosts = page.evaluate("tokendynLens.ghosts(tokendynExplorer.state.ghost)")
    expected = predict_limits(presets()["emerging-leader"].tokens, alpha=0.5).limits
    np.testing.assert_allclose(ghosts, expected, atol=1e-12)


def test_every_hypothesis_is_checked_with_its_number(page):
    assert "All hypotheses hold" in lens(page)
    for entry, value in ((1, 0.5), (3, -2)):
        field(page, f"#x-matrix input >> nth={entry}", value)
    field(page, "#x-value input >> nth=0", 3)
    page.evaluate("tokendynExplorer.app.moveToken(1, [0, 0])")
    page.evaluate("tokendynExplorer.app.moveToken(2, [0, 0])")
    said = lens(page)
    least = np.linalg.eigvalsh([[1, 0.25], [0.25, -2]])[0]
    for part in (
        "largest difference 2",
        "= 0.5",
        f"smallest eigenvalue {least:.3g}".rstrip("0"),
        "smallest norm 0",
        "1 repeated",
    ):
        assert part in said, part
    assert "5 hypotheses do not hold" in said


def test_the_first_layer_at_which_a_prediction_fails_is_named(page):
    value = np.diag([1.0, 1.5])
    given = presets()["emerging-leader"]
    runs = replay(Explored(given.tokens, value=value))
    plain = replay(Explored(given.tokens))
    scale = np.abs(given.tokens).max()
    gaps = np.linalg.norm(runs.softmax.states - plain.hardmax.states, axis=2).max(axis=1)
    first = int(np.flatnonzero(gaps > 0.01 * scale)[0])
    field(page, "#x-value input >> nth=3", 1.5)
    said = lens(page).split("Tokens go where")[1]
    assert f"softmax: fails first at layer {first}," in said


def test_the_numbers_of_the_circle_are_those_of_the_library(page):
    page.select_option("#x-preset", "line")
    said, given = lens(page), SHOWN["line"]
    flow, times = TokenFlow(30.0, interaction=given.matrix, value=given.value), np.arange(61) * given.step
    run = simulate_flow(flow, given.tokens, times, method="heun", step=given.step, check=False)
    projection, best = run.projection, int(run.distances.argmin())
    images = np.linalg.norm(given.tokens @ projection.projector.T, axis=1)
    leak = np.linalg.norm((np.eye(2) - projection.projector) @ given.value @ projection.projector)
    assert f"smallest |P x| = {images.min():.3g}" in said
    assert f"|(1 − P) V P| = {leak:.3g}" in said or leak < 1e-12
    assert f"Rate c = {projection.rate:.3g}." in said
    assert f"least {run.distances[best]:.3g} at t = {times[best]:.3g}" in said
    assert f"40 tokens; about {math.ceil(needed_tokens(30.0 * 4, 2))} are needed" in said


def test_settings_without_a_projected_law_are_said_to_be_so(page):
    page.select_option("#x-preset", "ball")
    assert "Tokens climb the energy" in lens(page)
    page.select_option("#x-preset", "turning")
    assert "complex: clusters turn in E" in lens(page)


def test_the_equation_shows_the_attention_of_the_selected_token(page):
    page.focus("#x-hard")
    page.keyboard.press("n")
    page.keyboard.press("n")
    drawn(page)
    tokens = presets()["emerging-leader"].tokens
    powers = np.exp(20 * (tokens @ tokens[1] - (tokens @ tokens[1]).max()))
    share = powers / powers.sum()
    best = int(share.argmax())
    assert f"attends to {share[best]:.2f} · “{best}”" in page.inner_text("#x-equation").split("softmax:")[1]


# ---- hands on a phone ----


@pytest.fixture(scope="module")
def phone(browser, tmp_path_factory):
    settings = {"emerging-leader": presets()["emerging-leader"].to_dict()}
    page = opened(browser, tmp_path_factory.mktemp("phone"), settings, has_touch=True, is_mobile=True)
    page.set_viewport_size({"width": 390, "height": 844})
    drawn(page)
    page.evaluate("scrollTo(0, 150)")
    page.devtools = page.context.new_cdp_session(page)
    yield page
    assert page.problems == []


def swipe(page, start, move):
    """Move fingers from their places, each as far as ``move`` says, and lift them."""
    for step in range(6):
        points = [
            {"x": x + step * dx / 5, "y": y + step * dy / 5} for (x, y), (dx, dy) in zip(start, move, strict=True)
        ]
        kind = "touchMove" if step else "touchStart"
        page.devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(20)
    page.devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(100)


def test_a_finger_drags_a_token_and_scrolls_the_page_from_anywhere_else(phone):
    scrolled = "scrollY"
    x, y, scale = place_of(phone, 2)
    before, tokens = phone.evaluate(scrolled), setup_of(phone, "tokens")
    swipe(phone, [(x, y)], [(40, -40)])
    np.testing.assert_allclose(setup_of(phone, "tokens")[4:6] - tokens[4:6], 40 / scale, atol=3 / scale)
    assert phone.evaluate(scrolled) == before
    box = phone.locator("#x-hard").bounding_box()
    empty, view = (box["x"] + 170, box["y"] + 300), "tokendynExplorer.state.view"
    look = phone.evaluate(f"[{view}.centre, {view}.radius]")
    swipe(phone, [empty], [(0, -120)])
    assert phone.evaluate(scrolled) > before
    assert phone.evaluate(f"[{view}.centre, {view}.radius]") == look
    box = phone.locator("#x-hard").bounding_box()
    middle = box["y"] + 200
    swipe(phone, [(box["x"] + 140, middle), (box["x"] + 200, middle)], [(-50, 0), (50, 0)])
    assert phone.evaluate(f"{view}.radius") < look[1]


def test_on_a_phone_the_sliders_are_on_one_screen_with_the_picture(phone):
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    boxes = [phone.locator(name).bounding_box() for name in ("#x-hard", "#x-alpha", "#x-beta", "#x-play")]
    top, bottom = min(box["y"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    assert bottom - top < 844
    assert phone.locator("#x-soft").bounding_box() is None
    phone.check("input[name=x-which][value=softmax]")
    assert phone.locator("#x-soft").bounding_box() is not None


def test_the_tour_on_a_phone_speaks_of_one_picture_and_of_no_keys(phone):
    phone.check("input[name=x-which][value=hardmax]")
    phone.click("#x-tour-start")
    texts = []
    for _ in range(6):
        drawn(phone)
        texts.append(phone.inner_text("#x-tour-text"))
        shown = phone.locator("#x-hard, #x-soft").filter(visible=True).bounding_box()
        assert shown["y"] + shown["height"] <= phone.locator("#x-play").bounding_box()["y"]
        phone.click("#x-tour-next")
    assert "two pictures" not in texts[0]
    assert not any("keyboard" in text for text in texts)


SMALL = """[...document.querySelectorAll(".x-page :is(button, select, summary, input[type=number], input[type=range])")]
  .filter((node) => node.offsetWidth && node.getBoundingClientRect().height < 43.5).map((node) => node.id)"""


def test_everything_that_a_finger_presses_is_large_enough(phone):
    assert phone.evaluate(SMALL) == []


def test_a_panel_that_was_hidden_a_moment_ago_is_saved(phone):
    phone.check("input[name=x-which][value=hardmax]")
    with phone.expect_download():
        phone.evaluate("""() => {
          for (const name of ["[value=softmax]", "#x-png"]) document.querySelector(name).click();
        }""")
    phone.check("input[name=x-which][value=hardmax]")


def test_on_a_phone_on_its_side_the_tour_is_beside_the_pictures(phone):
    phone.set_viewport_size({"width": 844, "height": 390})
    to_step(phone, 5)
    boxes = [phone.locator(name).bounding_box() for name in ("#x-tour", "#x-hard", "#x-play", "#x-beta")]
    tour, picture, play, slider = boxes
    assert tour["x"] + tour["width"] < picture["x"]
    assert picture["height"] > 150
    assert picture["y"] + picture["height"] <= play["y"] < slider["y"] < 390
    phone.click("#x-tour-close")
    assert phone.locator("#x-beta").bounding_box()["x"] > phone.locator("#x-soft").bounding_box()["x"]
    assert phone.evaluate("document.documentElement.scrollWidth") == 844


def test_a_wide_screen_shows_the_theory_beside_the_pictures(page):
    page.set_viewport_size({"width": 1920, "height": 1080})
    picture, theory = (page.locator(name).bounding_box() for name in ("#x-soft", "#x-equation"))
    assert theory["x"] > picture["x"] + picture["width"]
    assert theory["y"] < picture["y"] + picture["height"]
    page.set_viewport_size({"width": 1280, "height": 1000})


# ---- words of a trained model ----


def hidden(rng):
    """Return states of five words in a plane of eight dimensions, and the attention of a known score matrix."""
    plane = np.linalg.qr(rng.normal(size=(8, 2)))[0].T
    flat = rng.normal(size=(3, 5, 2))
    score = np.array([[2.0, -1.0], [0.5, 3.0]])
    logits = np.einsum("lic,dc,ljd->lij", flat[:2], score, flat[:2])
    attention = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return HiddenStates(flat @ plane, tuple("abcde"), attention=attention[:, None]), attention


def test_a_head_in_the_plane_attends_as_the_head_of_the_model(rng):
    states, attention = hidden(rng)
    given = explored_states(states, layer=1, head=0)
    scores = given.inverse_temperature * given.tokens @ given.matrix.T @ given.tokens.T
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(weights / weights.sum(axis=1, keepdims=True), attention[1], rtol=1e-9)
    assert given.labels == tuple("abcde")
    assert "holds 100% of it" in given.note
    assert "R² = 1.00" in given.note


def test_explore_shows_the_words_of_a_states_file(rng, tmp_path, capsys):
    states, _ = hidden(rng)
    write_states(states, tmp_path / "states.npz")
    out = tmp_path / "words.html"
    words = ["explore", str(tmp_path / "states.npz"), "--layer", "2", "--out", str(out), "--no-open"]
    assert tokendyn(words) == 0
    data = json.loads(out.read_text().partition('id="x-data">')[2].partition("</script>")[0])
    assert data["settings"]["given"]["labels"] == list("abcde")
    assert data["own"] == ["given"]
    assert tokendyn([*words[:3], "7", *words[4:-3], "--out", str(tmp_path / "no.html"), "--no-open"]) == 2
    assert "has layers 0 to 2" in capsys.readouterr().err


@pytest.mark.parametrize(("layer", "head", "problem"), [(2, 0, "layers 0 to 1"), (0, 3, "heads 0 to 0")])
def test_layers_and_heads_that_are_not_there_are_refused(rng, layer, head, problem):
    with pytest.raises(BadInputError, match=problem):
        explored_states(hidden(rng)[0], layer, head)
