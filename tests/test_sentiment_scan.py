"""The compiled scan finds exactly the words of the pattern."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tokendyn.sentiment import scan
from tokendyn.sentiment.lookup import Lookup
from tokendyn.sentiment.tokens import TokenRule, read_units

WORDS = ["not", "good", "don't", "é", "naïve", "movie", "isn't", "10", "ʼa", "ab", "no"]
LETTERS = "aAbB'’ʼ<>!-/&;#xX09.:?…é\u0301 _n't\U0001f600\u0939\u093fİKſ\ud800goodm"
RULES = [TokenRule(), TokenRule(2), TokenRule(1, True), TokenRule(3, True)]
LOOKUPS = [Lookup({word: number for number, word in enumerate(WORDS)}, rule) for rule in RULES]


def same(lookup, texts):
    found = lookup._units(texts, spans=True)
    wanted = read_units(texts, lookup.rule, lookup._lexicon(), spans=True)
    return all(np.array_equal(getattr(found, name), getattr(wanted, name)) for name in ("numbers", "rows", "spans"))


@given(st.lists(st.text(alphabet=LETTERS, max_size=40), max_size=5), st.sampled_from(LOOKUPS))
@example(["n't N'T xn't"], LOOKUPS[2])
@example(["<!--->a<!---->a<!-- x -->a<!--a", "<!--", "<", "</a", "&am", "&#12", "&#x"], LOOKUPS[0])
def test_compiled_scan_and_pattern_find_the_same_words(texts, lookup):
    assert same(lookup, texts)


@given(st.text(max_size=60), st.sampled_from(LOOKUPS))
def test_any_text_at_all(text, lookup):
    assert same(lookup, [text])


def test_markup_is_bounded_as_in_the_pattern():
    texts = [f"{start}{'x' * length}{end}no" for start in ("<a", "</a", "<!--") for length in (498, 499, 500, 501, 502)
             for end in (">", "-->", "<", "")]  # fmt: skip
    texts += [f"&{'a' * length};no" for length in range(10)] + [f"&#{'1' * length};no" for length in range(10)]
    texts += [f"&#x{'f' * length};no" for length in range(9)]
    assert same(LOOKUPS[0], texts)


def test_texts_are_read_in_portions(monkeypatch):
    texts = ["good movie isn't", "", "é no", "ab " * 20]
    monkeypatch.setattr(scan, "_AT_ONCE", 10)
    assert same(LOOKUPS[0], texts)
    assert len(LOOKUPS[0]._units([], spans=True).numbers) == 0
