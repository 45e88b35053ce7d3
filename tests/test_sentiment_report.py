"""An explanation as a page, as a piece of HTML, and as a figure."""

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from tokendyn.data.texts import small_reviews
from tokendyn.sentiment import LeaderClassifier
from tokendyn.sentiment.explanation import Modified
from tokendyn.sentiment.modifiers import roles_of
from tokendyn.sentiment.report import explained_text, scene
from tokendyn.show import explanation_html, explanation_terminal
from tokendyn.show.views import side_axes


def terminal(explained):
    """Return what the terminal shows, without colours."""
    console = Console(file=io.StringIO(), width=200)
    console.print(explanation_terminal(explained))
    return console.file.getvalue()


@pytest.fixture(scope="module")
def model():
    reviews = small_reviews()
    return LeaderClassifier(random_state=0).fit(reviews.texts, reviews.labels)


@pytest.fixture(scope="module")
def why(model):
    return model.explain("A dull & <b>lazy</b> start, but what a wonderful, warm and funny ending.")


def test_leaders_of_the_text_are_coloured_in_the_text(why):
    explained = explained_text(why)
    named = {token.word: token.leader for token in explained.tokens}
    for number, leader in enumerate(explained.leaders):
        assert named[leader.word] == number
    assert explained.adds_up


def test_the_scene_moves_the_words_of_the_text_to_their_leaders(why):
    moving = scene(why)
    assert {leader.word for leader in why.leaders} <= {moving.labels[i] for i in moving.leaders}
    assert (moving.leader_of >= 0).all()
    assert moving.leader_masses.sum() == moving.weights.sum()


def test_the_page_and_the_notebook_piece_escape_the_text(why):
    for html in (why.to_html(), why._repr_html_()):
        assert "wonderful" in html
        assert "<b>lazy" not in html


def test_the_figure_has_one_panel_for_each_shown_layer(why):
    assert len(why.figure().axes) >= 5


def test_a_word_is_drawn_on_its_own_side_of_the_line_of_neither_class(why):
    from tokendyn.show.motion import motion

    moving = scene(why)
    drawn = motion(moving, {}, {})
    sides = {name: moving.states[0][number, 0] for number, name in enumerate(moving.labels)}
    assert moving.states.shape[2] > 3
    assert min(sides.values()) < 0 < max(sides.values())
    stops = drawn.data["stops"]
    places = dict(zip(drawn.data["words"], stops[0]["xy"][::2], strict=True))
    assert places["neutral pole"] == pytest.approx(drawn.zero, abs=0.1)
    for name in sides.keys() - {"neutral"}:
        assert (places[name] - drawn.zero) * sides[name] > 0, name


def test_the_drawn_share_of_the_variance_is_that_of_the_two_axes():
    points = np.random.default_rng(4).normal(size=(9, 5)) * [1.0, 3.0, 0.5, 2.0, 1.0]
    centre, axes, share = side_axes(points)
    drawn = (points - centre) @ axes.T
    assert np.array_equal(drawn[:, 0], points[:, 0])
    others = np.linalg.svd(points[:, 1:] - points[:, 1:].mean(axis=0), compute_uv=False)
    assert (drawn[:, 1] ** 2).sum() == pytest.approx(others[0] ** 2)
    assert share == pytest.approx(drawn.var(axis=0).sum() / points.var(axis=0).sum())


def test_the_page_of_a_sum_does_not_say_that_the_mean_of_the_places_decides(why):
    html = why.to_html()
    assert 'class="td-mean"' not in html
    assert "read off the mean" not in html
    assert "speaks for all of them" not in html
    published = dataclasses.replace(explained_text(why), others=None)
    page = explanation_html(published, scene(why))
    assert 'class="td-mean"' in page
    assert "read off the mean" in page


def test_the_terminal_says_what_modifiers_and_neighbours_do(why):
    shown = dataclasses.replace(explained_text(why), attended=["“warm” counts 1.6 times"])
    assert shown.scaled
    said = terminal(shown)
    assert f"Modifiers in the text: {shown.scaled[0]}" in said
    assert "By the words beside them and their place in the text: “warm” counts 1.6 times." in said


def test_what_adds_nothing_has_no_bar_and_no_sentence(why):
    shown = dataclasses.replace(explained_text(why), residual=0.0, others=(0.0, 0.0), bias=0.0001)
    lines = terminal(shown).splitlines()
    for name in ("other words", "bias"):
        (line,) = [line for line in lines if line.startswith(name)]
        assert "+0.000" in line
        assert "█" not in line
    assert not any(line.startswith("All other words") for line in lines)


def test_a_leader_with_a_modifier_counts_by_its_neighbours_apart_from_it(why):
    (first, *others) = [word for word in why.contributions if word.word in {led.word for led in why.leaders}]
    span = first.spans[0]
    heavy = first._replace(weight=0.8, spans=(span,))
    by = Modified(word=first.word, span=span, by=("but",), weight=0.4, contribution=1.0)
    once = dataclasses.replace(why, contributions=(heavy, *others), modified=(by,))
    assert f"“{first.word}” counts 2 times" in once.attended()
    twice = dataclasses.replace(once, contributions=(heavy._replace(spans=(span, span)), *others))
    assert not any(first.word in sentence for sentence in twice.attended())


def test_modifiers_are_never_strong(model):
    strong = [word for word, is_strong in zip(model.words_, model._views.of(0, 1).strong, strict=True) if is_strong]
    assert len(strong) > 100
    assert not [word for word in strong if " " not in word and roles_of([word])[0]]


def test_a_text_without_words_is_described_without_empty_sums(model):
    said = str(model.explain(""))
    assert "all other words" not in said
    assert f"a text without words {model.explain('').bias:+.3g}" in said


def test_modifiers_that_change_next_to_nothing_are_counted_and_not_named(why):
    big = Modified(word="warm", span=(0, 4), by=("but",), weight=2.0, contribution=4.0)
    small = big._replace(word="the", contribution=0.02)
    assert dataclasses.replace(why, modified=(small, big)).scaled() == [str(big), "1 more word is scaled"]
