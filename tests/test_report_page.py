"""The page of a report as a reader meets it: summary, contents, headings, pictures in both schemes and shapes."""

import base64
import re
from html import unescape
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from tokendyn.show import Chapter, Command, KeyFigures, Picture, Provenance, Report, Table, Text, report_html
from tokendyn.show.images import drawn, save_figure
from tokendyn.show.palette import INK, LEADER_COLOURS, NEUTRAL, QUIET
from tokendyn.show.report import sentence
from tokendyn.show.vector import DARK_PAPER, NARROW, dark, dark_colour, narrowed, svg_of


def two_axes(width=9.0):
    figure = Figure(figsize=(width, 3.0), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("left", "right"), strict=True):
        axes.errorbar([0, 1], [0, 1], [0.1, 0.1], color=LEADER_COLOURS[0], label=name, marker="s")
        axes.set_title(f"{name}, with a long title that would not fit into a line of a narrow screen")
        axes.legend(ncols=1)
    return figure


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "f.gif"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


@pytest.fixture(scope="module")
def html(film):
    sections = [
        Text("3 clusters at the end."), KeyFigures({"step_size": 2}),
        Picture(two_axes(), "two lines", "Notice that both rise.", "Lines"), Picture(film, "a film"),
        Table([{"n": n} for n in range(40)], "Numbers"),
        Chapter("Inside", "of a page", [Text("One.", "First"), Text("Two."), Text("Three.", "Last")]),
    ]  # fmt: skip
    return report_html(Report("A page", "with parts", sections))


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def of(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


def test_the_summary_comes_first_and_the_contents_lead_to_every_part(html):
    tags = Tags(html)
    assert re.findall(r"<h2>(.*?)</h2>", html) == ["Summary", "Lines", "Numbers", "Inside"]
    assert re.findall(r"<h3>(.*?)</h3>", html) == ["First", "Last"]
    places = [attributes["id"] for _, attributes in tags.tags if "id" in attributes]
    links = [attributes["href"][1:] for attributes in tags.of("a")]
    assert len(places) == len(set(places))
    # Once at the side, and once folded for narrow screens.
    assert links == places * 2


def test_headings_go_down_one_level_at_a_time(html):
    levels = [int(tag[1]) for tag, _ in Tags(html).tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1


def test_regions_and_pictures_have_names_of_their_own(html):
    tags = Tags(html)
    names = [a["aria-label"] for _, a in tags.tags if "aria-label" in a] + [a["alt"] for a in tags.of("img")]
    assert len(names) == len(set(names))
    assert "Figure" not in names


def test_a_film_stands_still_until_it_is_played(html):
    folded = re.search(r'<details class="td-gif">(.*?)</details>', html, re.DOTALL)[1]
    assert folded.count("data:image/gif") == html.count("data:image/gif") == 1
    assert '<details class="td-gif" open' not in html
    still = re.search(r'<img class="td-still" src="data:image/png;base64,([^"]*)"', html)[1]
    assert base64.b64decode(still).startswith(b"\x89PNG")


def test_names_of_key_figures_are_words(html):
    assert "step size" in html
    assert "step_size" not in html


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("limits are known", "Limits are known."), ("alpha = 0.5", "alpha = 0.5."), ("x1 is 3", "x1 is 3."),
        ("3 clusters", "3 clusters."), ("Is it?", "Is it?"), ("tokens.csv is read", "tokens.csv is read."), ("", ""),
    ],
)  # fmt: skip
def test_a_line_becomes_a_sentence(line, shown):
    assert sentence(line) == shown


def channels(colour):
    return [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]


def contrast(one, other):
    """Return the contrast ratio of WCAG 2.1."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def schemes():
    text = (resources.files("tokendyn.show") / "templates" / "variables.css.j2").read_text(encoding="utf-8")
    blocks = re.findall(r"\{([^{}]*--td-ink[^{}]*)\}", text)
    found = [dict(re.findall(r"--td-(\w+): (#[0-9a-f]+)", block)) for block in blocks]
    whole = {name: value if len(value) == 7 else "#" + "".join(2 * letter for letter in value[1:])
             for scheme in found[2:] for name, value in scheme.items()}  # fmt: skip
    return {"light": found[0], "dark": found[1], "print": {**found[0], **whole}}


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize("text", ["ink", "quiet", "accent", "alarm"])
def test_text_on_pages_has_contrast(scheme, text):
    colours = schemes()[scheme]
    for ground in ("paper", "ground"):
        assert contrast(colours[text], colours[ground]) >= 4.5


def test_text_in_figures_has_contrast_on_both_papers():
    assert schemes()["dark"]["paper"] == DARK_PAPER == dark_colour("#ffffff")
    for colour in (INK, QUIET, "#000000"):
        assert contrast(colour, "#ffffff") >= 4.5
        assert contrast(dark_colour(colour), DARK_PAPER) >= 4.5


def test_leaders_are_seen_on_dark_paper_and_told_apart():
    shown = [dark_colour(colour) for colour in (*LEADER_COLOURS, NEUTRAL)]
    assert min(contrast(colour, DARK_PAPER) for colour in shown) >= 4.5
    pairs = [(one, other) for number, one in enumerate(shown) for other in shown[:number]]
    assert min(np.linalg.norm(np.subtract(channels(one), channels(other))) for one, other in pairs) > 0.14


def test_the_map_to_dark_paper_has_no_jump():
    ends = np.random.default_rng(0).uniform(size=(2, 200, 3))
    steps = np.linspace(0, 1, 501)[:, None, None]
    path = dark(ends[0] * (1 - steps) + ends[1] * steps)
    assert np.abs(np.diff(path, axis=0)).max() < 0.05


def test_a_figure_follows_the_colours_of_the_reader_and_has_the_same_bytes_twice():
    first, again = svg_of(two_axes()), svg_of(two_axes())
    assert first == again
    assert "@media screen and (prefers-color-scheme:dark)" in first
    assert f'[style*="stroke: {LEADER_COLOURS[0].lower()}"]' in first
    assert "Made by tokendyn" in first


def test_a_map_of_shades_keeps_its_colours_and_what_is_written_on_it():
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    axes.pcolormesh(np.random.default_rng(0).normal(size=(12, 12)))
    axes.text(1, 1, "on the map", color="white")
    svg = svg_of(figure)
    rules = svg[svg.index("<style>@media") : svg.index("</style>")]
    assert "#patch_1>path" in rules
    assert ': #ffffff"]' not in rules
    assert "#000000" in rules


def test_axes_stand_below_each_other_on_a_narrow_screen_and_come_back():
    figure = two_axes()
    before = svg_of(figure)
    with narrowed(figure):
        figure.draw_without_rendering()
        left, right = (axes.get_window_extent() for axes in figure.axes)
        assert figure.get_figwidth() == NARROW
        assert right.y1 < left.y0
        width = figure.bbox.width
        for axes in figure.axes:
            legend = axes.get_legend().get_window_extent()
            assert legend.x0 >= 0
            assert legend.x1 <= width
            assert "s" in [line.get_marker() for line in axes.get_legend().findobj(Line2D)]
            # It covers nothing: it stands below its axes.
            assert legend.y1 <= axes.get_window_extent().y0
            assert axes.title.get_window_extent().x1 <= width
    assert svg_of(figure) == before


def test_a_figure_of_very_many_marks_is_a_picture_of_dots_in_both_colours(monkeypatch):
    monkeypatch.setattr("tokendyn.show.images._MOST_BYTES", 1000)
    picture = drawn(two_axes())
    assert picture.uri.startswith("data:image/png")
    assert [query for query, _ in picture.sources] == ["screen and (prefers-color-scheme: dark)"]
    assert not picture.fits


def test_a_stored_figure_is_shown_as_its_drawing(tmp_path):
    save_figure(two_axes(), tmp_path, "f")
    assert {path.name for path in tmp_path.iterdir()} == {"f.png", "f.svg", "f-narrow.svg"}
    picture = drawn(tmp_path / "f.png")
    assert base64.b64decode(picture.uri.partition(",")[2]) == (tmp_path / "f.svg").read_bytes()
    assert [query for query, _ in picture.sources] == ["(max-width: 700px)"]
    (tmp_path / "f.svg").unlink()
    assert drawn(tmp_path / "f.png").uri.startswith("data:image/png")


def test_in_a_browser_a_page_is_dark_narrow_and_named(html, tmp_path, browser):
    path = tmp_path / "page.html"
    path.write_text(html, encoding="utf-8")
    for width, scheme in ((390, "dark"), (1280, "light")):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page = context.new_page()
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator(".td-side").is_visible() == (width == 1280)
        image = page.locator("picture img").first
        # The narrow drawing is shown in full: nothing is cut at the side.
        box = image.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert (box["height"] > box["width"]) == (width == 390)
        path_of_dots = tmp_path / "shot.png"
        image.screenshot(path=path_of_dots)
        with Image.open(path_of_dots) as shot:
            corner = shot.convert("RGB").getpixel((shot.width // 2, 2))
        assert (max(corner) < 60) == (scheme == "dark")
        context.close()


def test_on_a_narrow_screen_a_panel_has_the_names_that_its_neighbour_had():
    figure = Figure(figsize=(9.0, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_yticks([0, 1], ["search", "paper"])
    with narrowed(figure):
        assert right.yaxis.get_tick_params()["labelleft"]
    assert not right.yaxis.get_tick_params()["labelleft"]


def test_numbers_stand_at_the_right_only_where_their_whole_column_is_of_numbers():
    rows = [{"quantity": "width", "value": 73}, {"quantity": "data", "value": "4f" * 32}]
    mixed, whole = (report_html(Report("t", sections=[Table(part)])) for part in (rows, rows[:1]))
    assert '<td class="td-short">73</td>' in mixed
    assert f'<td class="td-prose">{"4f" * 32}</td>' in mixed
    assert '<td class="td-number">73</td>' in whole


def test_lines_of_columns_are_set_apart_from_those_of_words():
    text = Text("  model    lost\n* map      0.1\nChosen: the map.\n\nAs it is.")
    assert text.paragraphs == ["  model    lost\n* map      0.1", "Chosen: the map.", "As it is."]


def test_a_command_does_not_break_within_an_option():
    page = report_html(Report("t", sections=[Command('tokendyn run "a b" --out x')]))
    shown = re.search("<code>(.*?)</code>", page, re.DOTALL)[1]
    assert "<span>--out</span> x" in shown
    assert unescape(re.sub("</?span>", "", shown)) == 'tokendyn run "a b" --out x'


def test_matrices_are_shown_row_by_row():
    page = report_html(Report("t", sections=[Provenance({"score": [[4, 0], [0, 1]], "part": ""})]))
    assert "<dd>4, 0; 0, 1</dd>" in page
    assert "<dd>–</dd>" in page
