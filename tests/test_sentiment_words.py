import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokendyn.sentiment import find_words
from tokendyn.sentiment.lookup import Lookup
from tokendyn.sentiment.tokenise import Lexicon, normal_form
from tokendyn.sentiment.vocabulary import choose_active, count_words, with_active


def words(text):
    return [word for word, _, _ in find_words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It isn't GOOD, it's 10/10!", ["it", "isn't", "good", "it's", "10", "10"]),
        ("It isn\u2019t", ["it", "isn't"]),
        ("bad.<br /><br />Good", ["bad", "good"]),
        ("<p class='x'>so</p>so", ["so", "so"]),
        ("rock&amp;roll &#39;n&#x27;", ["rock", "roll", "n"]),
        ("snake_case __init__", ["snake", "case", "init"]),
        ("I <3 it, 5<6 and a<b", ["i", "3", "it", "5", "6", "and", "a", "b"]),
        ("naïve cafe\u0301 ΣΟΦΟΣ", ["naïve", "café", "ΣΟΦΟΣ".lower()]),
        ("हिन्दी फ़िल्म", ["हिन्दी", unicodedata.normalize("NFC", "फ़िल्म")]),
        ("'quoted' ''", ["quoted"]),
        ("😀 👍", []),
        ("", []),
    ],
)
def test_words_are_found(text, expected):
    assert words(text) == expected


def test_a_letter_whose_lower_case_is_longer_shifts_nothing():
    text = "İİİ good<br />İ bad"
    assert len(text.lower()) > len(text)
    found = {word: text[start:end] for word, start, end in find_words(text)}
    assert found["good"] == "good"
    assert found["bad"] == "bad"


@given(st.text(max_size=80) | st.text(alphabet="aB'’<>/&;br é\u0301İß_1 ", max_size=80))
def test_offsets_point_into_the_original_text_and_bulk_counting_agrees(text):
    found = find_words(text)
    for word, start, end in found:
        assert normal_form(text[start:end]) == word
    assert all(left[2] <= right[1] for left, right in pairwise(found))
    lexicon = Lexicon()
    names = list(map(str, lexicon.encode(text)))
    order = list(lexicon.numbers)
    assert [order[int(name)] for name in names] == words(text)


@pytest.mark.parametrize("piece", ["good film ", "<a", "<!--", "a'", "&amp", "x", "e\u0301", "<b "])
def test_a_long_text_of_anything_is_read(piece):
    count = len(find_words(piece * (2**18 // len(piece))))
    assert count <= 2**18


TEXTS = ["good good film", "good plot", "bad film", "bad bad plot", "odd"]
POSITIVE = np.array([True, True, False, False, True])


def test_only_the_training_part_chooses_the_words():
    counted = count_words(TEXTS)
    active = choose_active(counted, POSITIVE, np.arange(4), at_most=2, min_score=0.0)
    assert [counted.names[j] for j in active] == ["good", "bad"]
    assert "odd" not in [
        counted.names[j] for j in choose_active(counted, POSITIVE, np.arange(4), at_most=9, min_score=0.0)
    ]


def test_words_of_little_evidence_are_left_out():
    counted = count_words(TEXTS)
    active = choose_active(counted, POSITIVE, np.arange(4), at_most=9, min_score=1.5)
    assert [counted.names[j] for j in active] == ["good", "bad"]  # log 3 sqrt 2; "plot" and "film" have 0


def test_other_words_are_one_neutral_token_with_their_number():
    counted = count_words(TEXTS)
    active = choose_active(counted, POSITIVE, np.arange(4), at_most=2, min_score=0.0)
    ragged = with_active(counted, active)
    assert ragged.indptr.tolist() == [0, 1, 2, 3, 4, 4]
    assert ragged.words.tolist() == [0, 0, 1, 1]
    assert ragged.counts.tolist() == [2, 1, 1, 2]
    assert ragged.neutral.tolist() == [1, 1, 1, 1, 1]


def test_new_texts_are_encoded_over_the_known_words_in_ascending_order():
    ragged = Lookup({"good": 0, "bad": 1}).encode(["bad new good good", "", "new"])
    assert ragged.indptr.tolist() == [0, 2, 2, 2]
    assert ragged.words.tolist() == [0, 1]
    assert ragged.counts.tolist() == [2, 1]
    assert ragged.neutral.tolist() == [1, 0, 1]
