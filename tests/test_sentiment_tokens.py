import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_leaders import published

from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.sentiment import TokenRule, find_words, load, save
from tokendyn.sentiment.lookup import Lookup, _sorted_by
from tokendyn.sentiment.tokens import find_tokens
from tokendyn.sentiment.vocabulary import count_words

PAIRS, NEGATION = TokenRule(ngrams=2), TokenRule(negation=True)


def tokens(text, rule):
    return [token for token, _, _ in find_tokens(text, rule)]


def by_blanks(text):
    start = 0
    for part in text.split(" "):
        if part:
            yield part.lower(), start, start + len(part)
        start += len(part) + 1


@pytest.fixture(scope="module")
def corpus():
    return small_reviews()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Not bad", ["not", "not bad", "bad"]),
        ("Good. Bad film", ["good", "bad", "bad film", "film"]),
        ("good<br/>bad", ["good", "bad"]),
        ("so,  so", ["so", "so so", "so"]),
        ("Rock &amp; roll", ["rock", "roll"]),
        ("", []),
    ],
)
def test_pairs_of_words_stay_within_a_sentence(text, expected):
    assert tokens(text, PAIRS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It isn't good, or fun. Good!", ["it", "isn't", "not_good", "not_or", "not_fun", "good"]),
        ("It isn\u2019t GOOD", ["it", "isn't", "not_good"]),
        ("never not good", ["never", "not", "not_good"]),
        ("a knot is good", ["a", "knot", "is", "good"]),
    ],
)
def test_words_after_a_negator_have_another_form(text, expected):
    assert tokens(text, NEGATION) == expected


def test_a_pair_has_the_place_of_both_words_in_the_original_text():
    text = "İ was <b>Not</b>  Bad, not  BAD!"
    assert [text[a:b] for token, a, b in find_tokens(text, PAIRS) if token == "not bad"] == ["not  BAD"]


RULES = [
    TokenRule(),
    PAIRS,
    NEGATION,
    TokenRule(ngrams=3, negation=True),
    TokenRule(ngrams=2, negation=True, tokeniser=by_blanks),
]


@given(st.lists(st.text(alphabet="ab .!not'<br>&é", max_size=40), min_size=1, max_size=6), st.sampled_from(RULES))
def test_bulk_counting_and_looking_up_agree_with_one_text_at_a_time(texts, rule):
    counted = count_words(texts, rule)
    assert len(set(counted.names)) == len(counted.names)
    number_of = {name: number for number, name in enumerate(counted.names) if number % 2 == 0}
    known = {name: place for place, name in enumerate(number_of)}
    ragged, places = Lookup(known, rule).encode_with_places(texts)
    names = list(known)
    for row, text in enumerate(texts):
        found = find_tokens(text, rule)
        own = slice(counted.indptr[row], counted.indptr[row + 1])
        met = {counted.names[j]: n for j, n in zip(counted.words[own], counted.counts[own], strict=True)}
        assert counted.sizes[row] == len(found)
        assert met == {name: tokens(text, rule).count(name) for name in tokens(text, rule) if name in counted.names}
        entries = np.arange(ragged.indptr[row], ragged.indptr[row + 1])
        spans = {names[j]: list(found) for j, found in zip(ragged.words[entries], places.of(entries), strict=True)}
        assert spans == {
            name: [(a, b) for token, a, b in found if token == name] for name, _, _ in found if name in known
        }
        assert all(len(spans[names[ragged.words[e]]]) == ragged.counts[e] for e in entries)
        assert ragged.neutral[row] == len(found) - sum(map(len, spans.values()))
        assert list(places.of_unknown(row)) == [(a, b) for token, a, b in found if token not in known]


def test_pairs_of_one_text_only_are_counted_but_not_named():
    counted = count_words(["so good", "so good", "so bad"], PAIRS)
    assert counted.names == ("so", "good", "bad", "so good")
    assert counted.sizes.tolist() == [3, 3, 3]


@pytest.mark.parametrize("parameters", [{"ngrams": 2}, {"negation": True}, {"ngrams": 2, "tokeniser": by_blanks}])
def test_verdicts_over_such_tokens_add_up(corpus, parameters):
    model = published(epochs=2, **parameters).fit(corpus.texts, corpus.labels)
    texts = corpus.texts[:50]
    assert model.score(corpus.texts, np.array(corpus.labels)) > 0.9
    for text, logit, leads in zip(texts, model.decision_function(texts), model.leader_counts(texts), strict=True):
        why = model.explain(text)
        assert sum(part for _, part in why.as_list()) + why.residual + why.bias == pytest.approx(logit, abs=1e-9)
        assert len(why.leaders) == leads
    assert any((" " in word) or word.startswith("not_") for word in model.words_)


def test_the_built_in_words_given_as_a_tokeniser_give_the_same_model(corpus):
    plain, given = (published(epochs=1, tokeniser=t).fit(corpus.texts, corpus.labels) for t in (None, find_words))
    assert plain.words_ == given.words_
    assert np.array_equal(plain.embedding_, given.embedding_)


@pytest.mark.parametrize(
    ("tokeniser", "words"),
    [
        (lambda text: [("a", 0)], ["('a', 0)"]),
        (lambda text: [("a", 0, 10**6)], ["1000000", "length of the text"]),
        (lambda text: [("", 0, 1)], ["non-empty"]),
        (lambda text: [("a", 2, 1)], ["start < end"]),
        (lambda text: 3, ["TypeError"]),
        (lambda text: 1 / 0, ["ZeroDivisionError"]),
        (lambda text: [("a b", 0, 1)], ["blank", "ngrams=1"]),
    ],
)
def test_what_a_tokeniser_gives_is_checked(tokeniser, words):
    with pytest.raises(BadInputError) as caught:
        published(tokeniser=tokeniser, ngrams=2).fit(["ab cd"] * 4, [0, 0, 1, 1])
    for word in words:
        assert word in str(caught.value)


@pytest.mark.usefixtures("unchecked")
def test_token_parameters_are_checked():
    model = published(ngrams=0, negation="yes", tokeniser="words")
    with pytest.raises(BadInputError, match="3 problems"):
        model.fit(["a", "b"], [0, 1])


def test_a_folder_says_that_it_needs_its_tokeniser(corpus, tmp_path):
    model = published(epochs=1, tokeniser=by_blanks, ngrams=2).fit(corpus.texts, corpus.labels)
    save(model, tmp_path / "own")
    with pytest.raises(BadInputError, match="by_blanks"):
        load(tmp_path / "own")
    loaded = load(tmp_path / "own", tokeniser=by_blanks)
    assert np.array_equal(loaded.decision_function(corpus.texts), model.decision_function(corpus.texts))
    save(published(epochs=1).fit(corpus.texts, corpus.labels), tmp_path / "built-in")
    with pytest.raises(BadInputError, match="without a tokeniser"):
        load(tmp_path / "built-in", tokeniser=by_blanks)


class Encoding:
    tokens = ("[CLS]", "fine", "##ly")
    offsets = ((0, 0), (0, 4), (4, 6))


class Tokenizer:
    """What a Hugging Face tokeniser looks like from outside."""

    def encode(self, text):
        return Encoding()


def test_an_object_with_encode_is_a_tokeniser_and_special_tokens_are_left_out():
    assert find_tokens("finely", TokenRule(tokeniser=Tokenizer())) == [("fine", 0, 4), ("##ly", 4, 6)]


def test_a_tokeniser_of_hugging_face_works(corpus):
    tokenizers = pytest.importorskip("tokenizers", reason="install tokenizers to run this")
    known = {"[UNK]": 0, "excellent": 1, "awful": 2, "the": 3, "friendly": 4, "cold": 5}
    tokeniser = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="[UNK]"))
    tokeniser.normalizer = tokenizers.normalizers.Lowercase()
    tokeniser.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model = published(epochs=1, tokeniser=tokeniser, min_score=0.1).fit(corpus.texts, corpus.labels)
    why = model.explain("The EXCELLENT, excellent")
    (excellent,) = [word for word in why.contributions if word.word == "excellent"]
    assert excellent.spans == ((4, 13), (15, 24))


@pytest.mark.parametrize("size", [7, 2**60])
def test_occurrences_are_put_in_order_by_text_and_number_and_equal_ones_stay_as_they_are(size):
    rng = np.random.default_rng(0)
    for count in (0, 1, 500):
        rows, numbers = rng.integers(0, 20, size=count), rng.integers(0, 7, size=count)
        expected = sorted(range(count), key=lambda place: (rows[place], numbers[place]))  # stable
        assert _sorted_by(rows, numbers, size).tolist() == expected
