"""Reports and explanations: self-contained, escaped, and honest about their sums."""

import base64
import hashlib
import io
import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from tokendyn.errors import BadInputError, OutputError
from tokendyn.particles.clustering import simulate
from tokendyn.show import (
    Command,
    ExplainedLeader,
    ExplainedText,
    ExplainedToken,
    KeyFigures,
    Picture,
    Provenance,
    Report,
    Table,
    Text,
    explanation_fragment,
    explanation_html,
    explanation_terminal,
    report_html,
    write_explanation,
    write_report,
)
from tokendyn.show.explained import pieces
from tokendyn.show.explanation_page import MOST_CHARACTERS, leader_colours
from tokendyn.show.palette import leader_styles

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&"
TEXT = 'The plot was thin,\nbut Anna is a wonderful surprise. Wonderful & "awful" <b>music</b>.'


class Elements(HTMLParser):
    """Collects elements and their attributes; refuses tags that are not closed."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open, self.words = [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "source"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


def spans(word, text=TEXT):
    return [(match.start(), match.end()) for match in re.finditer(word, text, re.IGNORECASE)]


def explained(text=TEXT, **changes):
    leaders = [
        ExplainedLeader("wonderful", spans("wonderful"), 0.4, 1.2, 0.9, ["surprise"]),
        ExplainedLeader("awful", spans("awful"), 0.1, -1.5, -0.35, ["thin"]),
    ]
    tokens = [
        ExplainedToken("wonderful", spans("wonderful"), 0, 0.7),
        ExplainedToken("surprise", spans("surprise"), 0, 0.2),
        ExplainedToken("awful", spans("awful"), 1, -0.25),
        ExplainedToken("thin", spans("thin"), 1, -0.1),
        ExplainedToken("plot", spans("plot")),
    ]
    values = {
        "text": text,
        "label": "good",
        "probability": 1 / (1 + math.exp(-0.51)),
        "classes": ("bad", "good"),
        "logit": 0.51,
        "bias": -0.05,
        "residual": 0.01,
        "leaders": leaders,
        "tokens": tokens,
        "neutral_mass": 0.5,
        "neutral_words": 9,
    }
    return ExplainedText(**(values | changes))


def full_report(word="word"):
    figure = Figure(figsize=(1, 1))
    figure.add_subplot().set_title("drawn")
    return Report(
        f"Title {word}",
        f"Subtitle {word}",
        [
            Text(f"One {word}.\n\nTwo.", word),
            KeyFigures({word: word, "tokens": 12345, "alpha": 0.5, "theorem": np.True_, "none": None}, word),
            Table(pd.DataFrame({word: [word, "b"], "number": [1.5, np.float64(2)]}), word, note=word),
            Table([{"a": 1, word: 2}, {"a": 3}]),
            Table([[1, word], [2, "x"]], columns=["p", "q"]),
            Picture(figure, alt=f"alt {word}", caption=word),
            Command(f"tokendyn run {word}"),
            Provenance({"config": {word: word, "list": list(range(50))}}),
        ],
    )


SCRIPT = (resources.files("tokendyn.show") / "templates" / "motion.js").read_text(encoding="utf-8")


def without_the_script(html):
    """Return a page without our own script and its data, each of which must be there once."""
    assert html.count(f"<script>{SCRIPT}</script>") == 1
    without, found = re.subn(
        r'<script type="application/json">[^<>&]*</script>', "", html.replace(f"<script>{SCRIPT}</script>", "")
    )
    assert found == 1
    return without


def assert_loads_nothing(html):
    for tag, attributes in Elements(html).found:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form", "video", "audio")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action", "data"):
                assert value.startswith("data:image/") or (tag == "a" and value.startswith("#part-"))
        if tag == "img":
            assert attributes["alt"]
    assert not re.search(r"url\(|@import|https?://", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))


@pytest.mark.parametrize("word", ["word", EVIL])
def test_a_report_loads_nothing_and_escapes_everything(word):
    html = report_html(full_report(word))
    assert_loads_nothing(html)
    assert "default-src 'none'" in html
    assert "<script" not in html
    assert "<img src=x" not in html
    shown = "".join(Elements(html).words)
    assert shown.count(word) >= 10


def test_a_report_shows_every_section():
    shown = "".join(Elements(report_html(full_report())).words)
    for part in ("One word.", "12,345", "yes", "–", "1.5", "tokendyn run word", "config.word", "(50 in all)"):
        assert part in shown


def test_a_long_table_is_cut_with_a_note():
    html = report_html(Report("r", sections=[Table(pd.DataFrame({"n": range(1000)}), most_rows=10)]))
    assert html.count("<td") == 10
    assert "The first 10 of 1,000 rows." in html


def test_a_picture_file_is_put_into_the_page(tmp_path):
    (tmp_path / "p.gif").write_bytes(b"GIF89a;")
    html = report_html(Report("r", sections=[Picture(tmp_path / "p.gif", alt="a film")]))
    assert "data:image/gif;base64,R0lGODlhOw==" in html


@pytest.mark.parametrize(("name", "reason"), [("missing.png", "cannot be read"), ("film.mp4", "no picture")])
def test_a_picture_that_cannot_be_shown_is_refused(tmp_path, name, reason):
    with pytest.raises(BadInputError, match=reason):
        report_html(Report("r", sections=[Picture(tmp_path / name, alt="a")]))


def test_a_report_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_report(full_report(), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
    before = (tmp_path / "report.html").read_bytes()
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OutputError, match="No space left"):
        write_report(Report("new"), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_characters_that_no_page_can_hold_are_replaced(tmp_path):
    write_report(Report("a\x00b\ud800c\x1b[31m"), tmp_path / "r.html")
    assert "a\ufffdb\ufffdc\ufffd[31m" in (tmp_path / "r.html").read_text(encoding="utf-8")


# --- explanations -----------------------------------------------------------------------------------


def numbers(html, kind):
    pattern = rf'class="{kind}">([+−]\d+\.\d+)<'
    return [float(found.replace("−", "-")) for found in re.findall(pattern, html)]


def test_the_contributions_shown_add_up_to_the_logit_shown():
    values = numbers(explanation_html(explained()), "td-value")
    assert len(values) == 5
    assert math.fsum(values[:-1]) == pytest.approx(values[-1], abs=2e-3)
    assert values[-1] == 0.51


def test_many_leaders_still_add_up():
    leaders = [ExplainedLeader(f"w{i}", [], 0.01, 1.0, (-1) ** i * 0.1 / (i + 1)) for i in range(40)]
    total = math.fsum(leader.contribution for leader in leaders) + 0.3
    one = explained(leaders=leaders, tokens=[], logit=total, bias=0.3, residual=0.0)
    values = numbers(explanation_html(one), "td-value")
    assert len(values) < 20
    assert math.fsum(values[:-1]) == pytest.approx(values[-1], abs=0.01)


def test_parts_that_do_not_add_up_are_said_not_to():
    assert "do not account for all of it" in explanation_html(explained(logit=0.6))
    assert "do not account" not in explanation_html(explained())


def test_an_explanation_loads_nothing_and_escapes_everything():
    evil = explained(
        text=EVIL + " wonderful",
        label=EVIL,
        classes=("bad", EVIL),
        leaders=[ExplainedLeader(EVIL, [(0, 8)], 1.0, 1.0, 0.5, [EVIL])],
        tokens=[ExplainedToken(EVIL, [(0, 8)], 0, 0.5)],
        note=EVIL,
    )
    for html in (explanation_html(evil, title=EVIL), explanation_fragment(evil)):
        assert_loads_nothing(html)
        assert "<script" not in html
        assert "<img" not in html
        assert EVIL in "".join(Elements(html).words)


def test_the_text_is_shown_whole_with_its_line_breaks():
    html = explanation_html(explained())
    body = html[html.index('<div class="td-text" dir="auto">') : html.index("</div>\n<ul")]
    shown = "".join(Elements(body + "</div>").words)
    for sign in ("+", "−"):
        shown = shown.replace(sign, "")
    assert shown == TEXT


def test_words_have_the_colour_of_their_leader_and_a_sign_that_needs_no_colour():
    elements = Elements(explanation_html(explained())).found
    words = [attributes for tag, attributes in elements if tag == "span" and "data-tip" in attributes]
    colours = leader_colours(explained())
    assert len(words) == 5
    for attributes in words:
        negative = "awful" in attributes["data-tip"] or "thin" in attributes["data-tip"]
        assert attributes["style"].startswith(f"--c:{colours[negative]};")
        assert ("td-neg" in attributes["class"]) == negative
        assert attributes["tabindex"] == "0"
        assert attributes["aria-label"]
    assert sum("td-lead" in attributes["class"] for attributes in words) == 3


def test_the_area_of_a_text_star_is_its_mass():
    html = explanation_html(explained())
    sizes = [float(size) for size in re.findall(r'td-lead" style="--c:#\w+;--s:([\d.]+)"', html)]
    assert (max(sizes) / min(sizes)) ** 2 == pytest.approx(4, rel=0.03)


def test_spans_that_overlap_or_lie_outside_break_nothing():
    tokens = [
        ExplainedToken("wonderful", spans("wonderful"), 0, 0.7),
        ExplainedToken("a wonderful", [(spans("wonderful")[0][0] - 2, spans("wonderful")[0][1])], 0, 0.1),
        ExplainedToken("out", [(-9, 3), (5, 5), (9, 2), (len(TEXT) - 1, len(TEXT) + 50), (10**6, 10**6 + 1)], 1, -0.1),
    ]
    found, dropped = pieces(explained(tokens=tokens), 10_000)
    assert "".join(piece.text for piece in found) == TEXT
    assert dropped == 1
    assert "1 word overlaps" in explanation_html(explained(tokens=tokens))


def test_a_text_of_a_megabyte_is_shown_around_its_leaders():
    filler = "word " * 200_000
    text = filler + "wonderful" + filler
    at = [(len(filler), len(filler) + 9)]
    every = [(start, start + 4) for start in range(0, len(filler), 5)]
    long = explained(
        text=text,
        leaders=[ExplainedLeader("wonderful", at, 1.0, 1.0, 0.55)],
        tokens=[ExplainedToken("wonderful", at, 0, 0.55), ExplainedToken("word", every)],
    )
    html = explanation_html(long)
    assert len(html) < 100_000
    found, _ = pieces(long, MOST_CHARACTERS)
    assert sum(len(piece.text) + piece.gap for piece in found) == len(text)
    assert any(piece.leads for piece in found)
    assert "are not shown" in html


@pytest.mark.parametrize("text", ["", " ", "unknown words only"])
def test_a_verdict_without_leaders_comes_from_the_bias(text):
    one = explained(text=text, leaders=[], tokens=[], logit=-0.04, residual=0.0, bias=-0.04, label="bad",
                    probability=0.49, neutral_words=0)  # fmt: skip
    html = explanation_html(one)
    assert "the verdict comes from the bias (−0.040)" in html
    assert "51.0 %" in html
    assert "What they add (+0.001)" in explanation_html(explained(leaders=[], tokens=[], residual=0.001))
    assert "comes from" not in explanation_html(explained())


WORDS = ("other", "awful", "wonderful", "thin")
PLACES = np.array([[1.0, 1.0], [-1.2, 0.8], [0.1, -1.0], [0.2, 0.1]])


def moving(labels=WORDS, places=PLACES, layers=3):
    return simulate(places, layers=layers, labels=list(labels)).scene()


def data_of(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html).group(1))


def test_a_scene_gives_its_colours_its_slider_and_its_pictures_to_the_page():
    scene = moving()
    colours = [style.colour for style in leader_styles(scene.leader_masses)]
    assert leader_colours(explained(), scene) == [colours[2], colours[1]]
    html = explanation_html(explained(), scene)
    # The panels and the strip, each for wide and for narrow screens.
    assert html.count("data:image/svg+xml;base64") == 4
    assert_loads_nothing(without_the_script(html))
    piece = explanation_fragment(explained(), scene)
    assert "data:image" not in piece
    assert_loads_nothing(without_the_script(piece))


def test_a_leader_that_the_scene_ties_away_keeps_a_colour_of_its_own():
    colours = leader_colours(explained(), moving(("other", "awful", "tied", "thin")))
    assert len(set(colours)) == 2


def test_the_slider_knows_every_layer_as_the_scene_does():
    scene = moving()
    data = data_of(explanation_fragment(explained(), scene))
    assert [stop["layer"] for stop in data["stops"]] == [0, 1, 2, 3]
    assert data["words"] == list(WORDS)
    for layer, stop in enumerate(data["stops"]):
        assert stop["to"] == scene.followed[min(layer, 2)].tolist()
        drawn = np.array(stop["xy"]).reshape(-1, 2) * [1, -1]
        real = scene.states[layer]
        scale = np.linalg.norm(drawn[0] - drawn[1]) / np.linalg.norm(real[0] - real[1])
        assert np.allclose(drawn - drawn[0], scale * (real - real[0]), atol=0.3)
    assert "the words where they stand" in data["stops"][0]["said"]


def test_only_our_own_script_runs_on_the_page():
    html = explanation_html(explained(), moving())
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'\"" in html
    assert "script-src" not in explanation_html(explained())


def test_pieces_on_one_page_cannot_clash():
    names = [
        name for _, attributes in Elements(explanation_fragment(explained(), moving())).found for name in attributes
    ]
    assert not {"id", "for", "name", "aria-labelledby"} & set(names)


def test_the_slider_can_be_named_and_reached_and_is_hidden_without_scripts():
    found = Elements(explanation_fragment(explained(), moving())).found
    slider = next(attributes for tag, attributes in found if tag == "input")
    assert slider["type"] == "range"
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "3", "3")
    assert slider["aria-valuetext"].startswith("Layer 3 of 3")
    assert any("hidden" in attributes for tag, attributes in found if attributes.get("class") == "td-control")
    words = [attributes for _, attributes in found if attributes.get("data-t") and "data-tip" in attributes]
    assert {WORDS[int(word["data-t"])] for word in words} == {"awful", "wonderful", "thin"}


@pytest.mark.parametrize("places", [PLACES[:, :1], np.hstack([PLACES, PLACES[:, ::-1] ** 2]), 0 * PLACES + 1])
def test_words_move_in_any_dimension_and_when_all_coincide(places):
    data = data_of(explanation_fragment(explained(), moving(places=places)))
    for stop in data["stops"]:
        assert np.isfinite(stop["xy"]).all()
        assert 0 <= min(stop["xy"]) <= max(stop["xy"]) <= 640


def test_very_many_tokens_and_layers_are_thinned():
    rng = np.random.default_rng(0)
    labels = [f"word{number}" for number in range(1500)]
    html = explanation_fragment(explained(), moving(labels, rng.normal(size=(1500, 2)), layers=60))
    data = data_of(html)
    assert len(data["words"]) == 800
    assert len(data["stops"]) == 41
    assert (data["stops"][0]["layer"], data["stops"][-1]["layer"]) == (0, 60)
    assert "700 rarer words are not drawn" in html


@pytest.mark.parametrize(
    "word",
    [EVIL, "</script><script>alert(1)</script>", "<!--<script>", "\"'`${1}\\", "פלא\u202e", "😀", "\u2028\ud800\x00"],
)
def test_no_word_escapes_from_the_slider(word):
    text = f"{word} wonderful"
    leaders = [ExplainedLeader(word, [(0, len(word))], 1.0, 1.0, 0.55)]
    one = explained(text=text, leaders=leaders, tokens=[ExplainedToken(word, [(0, len(word))], 0, 0.5)])
    for labels in (("a", "b", word, "c"), (word,) * 4):
        html = explanation_fragment(one, moving(labels))
        rest = without_the_script(html)
        assert_loads_nothing(rest)
        assert "<script" not in rest
        assert word in data_of(html)["words"]


@pytest.mark.skipif(not shutil.which("chromium"), reason="put chromium on the path to run the slider in a browser")
def test_the_slider_recolours_the_words_in_a_browser(tmp_path):
    scene = moving()
    page = explanation_html(explained(), scene)
    set_to = (
        "for (const s of document.querySelectorAll('.td-slider')) { s.value = 0; s.dispatchEvent(new Event('input')) }"
    )
    pieces_ = explanation_fragment(explained(), scene) * 2
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "moved.html").write_text(f"<meta charset=utf-8>{pieces_}<script>{set_to}</script>", encoding="utf-8")

    def seen(name):
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [shutil.which("chromium"), *options, profile, "--dump-dom", (tmp_path / name).as_uri()]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    assert 'data-ready="yes"' in seen("page.html")
    moved = seen("moved.html")
    assert moved.count('data-ready="yes"') == 2
    assert moved.count("Layer 0 of 3, the words where they stand") >= 4
    assert moved.count("at layer 0") >= 8


def test_wrong_values_are_refused_together():
    with pytest.raises(BadInputError) as caught:
        explained(probability=1.5, bias=math.nan, label="other", tokens=[ExplainedToken("x", [], 7)])
    for part in ("probability", "finite", "other", "leader that does not exist"):
        assert part in str(caught.value)


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        write_explanation(explained(), tmp_path / "file" / "page.html")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def in_terminal(one, **options):
    console = Console(file=io.StringIO(), width=100, **options)
    console.print(explanation_terminal(one))
    return console.file.getvalue()


def test_the_terminal_shows_verdict_words_and_sum():
    shown = in_terminal(explained())
    for part in ("good", "62.5 %", "★wonderful", "★awful", "+0.900", "−0.350", "+0.510", "█", "= logit"):
        assert part in shown


def test_the_terminal_says_what_modifiers_and_neighbours_do():
    text = explained(scaled=["“not” reverses “good”"], attended=["“good” counts 0.3 times"])
    shown = in_terminal(text)
    assert "Modifiers in the text: “not” reverses “good”." in shown
    assert "By the words beside them and their place in the text: “good” counts 0.3 times." in shown


def test_a_text_cannot_steer_the_terminal():
    shown = in_terminal(explained(text="\x1b[2J\x07\u202e wonderful [red]x[/red]", tokens=[]), color_system=None)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "[red]x[/red]" in shown


def test_importing_the_package_loads_no_drawing():
    code = "import sys, tokendyn.show; print([m for m in ('matplotlib', 'jinja2', 'rich', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_show_knows_no_system():
    code = (
        "import sys, tokendyn.show as s; [getattr(s, n) for n in s.__all__]; import tokendyn.show.panels; "
        "print([m for m in sys.modules if m.startswith(('tokendyn.particles', 'tokendyn.sentiment', 'torch'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_and_the_terminal_say_what_would_turn_the_verdict():
    from rich.console import Console

    from tokendyn.show import ExplainedText, explanation_html, explanation_terminal

    def shown(succession):
        parts = {"label": "pos", "probability": 0.9, "classes": ("neg", "pos"), "logit": 1.0, "bias": 1.0}
        text = ExplainedText(text="good <b>", leaders=[], tokens=[], succession=succession, **parts)
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(explanation_terminal(text))
        return explanation_html(text), console.export_text()

    for words, wanted in (
        ([("good", 0.5), ("<b>", -0.1), ("x", -2.0)], "the verdict turns, removed in this order: good, "),
        ([("good", 0.5)], "the verdict is weakest and still stands, removed in this order: good."),
        ([(f"w{i}", 1.0) for i in range(14)], "w11 and 2 more."),
    ):
        html, terminal = shown(words)
        assert wanted in html
        assert wanted in terminal
    assert "verdict turns" not in shown([])[0]
    assert "good, &lt;b&gt;." in shown([("good", 0.5), ("<b>", -0.1)])[0]
