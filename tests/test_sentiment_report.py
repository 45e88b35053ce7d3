"""An explanation as a page, as a piece of HTML, and as a figure."""

import pytest

from tokendyn.data.texts import small_reviews
from tokendyn.sentiment import LeaderClassifier
from tokendyn.sentiment.report import explained_text, scene


@pytest.fixture(scope="module")
def why():
    reviews = small_reviews()
    model = LeaderClassifier(random_state=0).fit(reviews.texts, reviews.labels)
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
