"""Misspelt words: what they stand for, and where they are left alone."""

import itertools
import json

import pytest

from tokendyn.sentiment import LeaderClassifier, load
from tokendyn.sentiment.spelling import FREQUENT, Spelling, is_one_slip

WORDS = {"wonderful": 900, "terrible": 500, "good": 2000, "so": 3000, "boring": 400, "borring": 3, "casting": 60,
         "lasting": 70, "costing": 50, "posting": 30}  # fmt: skip


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("wonderfull", "wonderful"), ("wonderfl", "wonderful"), ("wondreful", "wonderful"), ("wonderfol", "wonderful"),
        ("goooood", "good"), ("sooooo", "so"), ("terribleee", "terrible"), ("horring", None), ("wundarful", None),
        ("god", None), ("good1", None), ("castinq", "casting"), ("coasting", None), ("xx", None), ("wonderfu1", None),
    ],
)  # fmt: skip
def test_a_misspelt_word_stands_for_one_frequent_word_or_for_none(word, meant):
    assert Spelling({name: count for name, count in WORDS.items() if name != word}).meant(word) == meant


def distance(a, b):
    """Return the distance of Damerau and Levenshtein with adjacent swaps, by the textbook recursion."""
    if not a or not b:
        return len(a) + len(b)
    ways = [distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0])]
    if a[:2] == b[:2][::-1] and len(a) > 1 and a[:2] != b[:2]:
        ways.append(distance(a[2:], b[2:]) + 1)
    return min(ways)


def test_one_slip_is_a_distance_of_one():
    words = ["".join(letters) for length in range(1, 5) for letters in itertools.product("ab", repeat=length)]
    for one, other in itertools.product(words, repeat=2):
        assert is_one_slip(one, other) == (distance(one, other) == 1), (one, other)


@pytest.fixture(scope="module")
def corpus():
    texts = [
        f"a {word} film of kind number{number}" for number in range(2 * FREQUENT) for word in ("wonderful", "terrible")
    ]
    return texts, ["pos", "neg"] * (2 * FREQUENT)


def test_the_verdict_on_a_misspelt_word_is_that_on_the_word(corpus):
    model = LeaderClassifier().fit(*corpus)
    right, wrong = "A terrible, wonderful film", "A terribl, wonderfull film"
    assert model.decision_function([wrong])[0] == pytest.approx(model.decision_function([right])[0], abs=1e-12)
    spans = {word.word: word.spans for word in model.explain(wrong).contributions}
    assert wrong[slice(*spans["wonderful"][0])] == "wonderfull"
    assert model.explain(wrong).unknown_words == model.explain(right).unknown_words
    plain = LeaderClassifier(spelling=False).fit(*corpus)
    assert plain.explain("wonderfull").unknown_words == 1
    accents = model.decision_function(["wonderf\u00fcl"])
    assert accents[0] == pytest.approx(model.decision_function(["wonderful"])[0], abs=1e-12)


def test_a_saved_model_keeps_its_spelling_and_one_without_the_entry_has_none(corpus, tmp_path):
    model = LeaderClassifier().fit(*corpus)
    model.save(tmp_path / "model")
    texts = ["wonderfull", "terribel"]
    assert load(tmp_path / "model").decision_function(texts).tolist() == model.decision_function(texts).tolist()
    record = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    del record["parameters"]["spelling"]
    (tmp_path / "model" / "model.json").write_text(json.dumps(record), encoding="utf-8")
    assert load(tmp_path / "model").explain("wonderfull").unknown_words == 1
