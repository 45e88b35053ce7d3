"""The classifier at transfer 0: a verdict that is a sum over words, grouped by leaders."""

import itertools
import pickle
import re

import numpy as np
import pytest
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.sentiment import LeaderClassifier, find_words, load
from tokendyn.sentiment.fitting import targets_of
from tokendyn.sentiment.modifiers import CONTRASTS, INTENSIFIERS
from tokendyn.sentiment.report import explained_text
from tokendyn.sentiment.tokens import is_negator
from tokendyn.show.explanation_page import sum_line

SPOKEN = "A warm and funny film, not bad at all. The ending is lazy; the plot is weak and dull, a waste of time."


@pytest.fixture(scope="module")
def corpus():
    return small_reviews()


@pytest.fixture(
    scope="module", params=[{}, {"ngrams": 1}, {"ngrams": 3, "groups": "sign"}, {"negation": True}], ids=str
)
def model(corpus, request):
    return LeaderClassifier(**request.param).fit(corpus.texts, corpus.labels)


def several(seed=0, classes=4, texts=200):
    """Return texts of several classes, each with words of its own among common ones."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size=texts)
    words = [
        [f"of{label}n{rng.integers(6)}" for _ in range(3)] + [f"common{rng.integers(20)}" for _ in range(9)]
        for label in labels
    ]
    return [" ".join(rng.permutation(row)) for row in words], labels.tolist()


def tokens_by_hand(text):
    """Return the distinct words and pairs of a text; pairs do not leave a sentence."""
    tokens = set()
    for sentence in re.split(r"[.!?;:]|<[^>]*>", text):
        words = [word for word, _, _ in find_words(sentence)]
        tokens |= {*words, *(" ".join(pair) for pair in itertools.pairwise(words))}
    return tokens


def by_hand(model, text):
    """Return the logit of a text by the formula alone, tokens counted and modifiers looked for in plain loops."""
    number = {word: place for place, word in enumerate(model.words_)}
    total, length = 0.0, 0
    for sentence in re.split(r"[.!?;:]|<[^>]*>", text):
        words = [word for word, _, _ in find_words(sentence)]
        length += len(words)
        for at, word in enumerate(words):
            weight, of = 1.0, model.modifiers_
            before, behind = words[:at], words[at + 1 :]

            def negators_of(place, words=words):
                """Return the places of negators up to four words back, with no contrast between."""
                back = range(max(place - 4, 0), place)
                return [k for k in back if is_negator(words[k]) and not CONTRASTS & set(words[k : place + 1])]

            negators = negators_of(at)
            cancelled = negators and negators_of(negators[-1])
            if negators and (is_negator(word) or not cancelled):
                weight += of.negator
            elif word not in CONTRASTS and CONTRASTS & set(behind):
                weight += of.before_contrast
            elif word not in CONTRASTS and CONTRASTS & set(before):
                weight += of.after_contrast
            elif word not in INTENSIFIERS and INTENSIFIERS & set(before[-1:]):
                weight += of.intensifier
            if word in number:
                total += weight * model.values_[number[word], 0]
    return total / (length + model.phantom_) + model.intercept_


def test_the_verdict_is_the_sum_of_the_values_of_all_words(corpus):
    model = LeaderClassifier(ngrams=1).fit(corpus.texts, corpus.labels)
    texts = [*corpus.texts[:20], SPOKEN, "", "zzz qqq"]
    np.testing.assert_allclose(model.decision_function(texts), [by_hand(model, text) for text in texts], atol=1e-12)


def test_leaders_other_words_and_the_bias_add_up_to_the_logit(model, corpus):
    for text in [*corpus.texts[:40], SPOKEN]:
        why = model.explain(text)
        total = why.bias + why.residual + sum(leader.contribution for leader in why.leaders)
        assert total == pytest.approx(why.logit, abs=1e-12)
        assert sum(why.others) == pytest.approx(why.residual, abs=1e-12)
        assert why.bias + sum(word.contribution for word in why.contributions) == pytest.approx(why.logit, abs=1e-12)
        assert why.logit == pytest.approx(model.decision_function([text])[0], abs=1e-12)


def test_a_group_is_the_leader_its_followers_and_their_ngrams(model):
    why = model.explain(SPOKEN)
    parts = {word.word: word.contribution for word in why.contributions}
    led = {word.word: word.leader for word in why.contributions}
    for leader in why.leaders:
        members = {leader.word, *(word for word, by in led.items() if by == leader.word)}
        assert set(leader.followers) <= members
        assert leader.contribution == pytest.approx(sum(parts[word] for word in members), abs=1e-12)
        named = {word for follower in (leader.word, *leader.followers) for word in follower.split(" ")}
        assert all(set(word.split(" ")) & named for word in members)


def test_the_own_number_of_a_leader_is_what_the_logit_loses_without_it(model, corpus):
    ratios = []
    for text in corpus.texts[:80]:
        for leader in model.explain(text).leaders:
            kept, end = "", 0
            for first, last in leader.spans:
                kept, end = kept + text[end:first], last
            without = model.decision_function([kept + text[end:]])[0]
            ratios.append(abs(model.decision_function([text])[0] - without - leader.own))
    assert max(ratios) < 1e-9


def test_many_texts_at_once_say_what_one_at_a_time_says(model, corpus):
    for text, verdict in zip(corpus.texts[:60], model.explain_many(corpus.texts[:60]), strict=True):
        why = model.explain(text)
        assert [(led.word, led.spans, led.followers) for led in verdict.leaders] == [
            (led.word, led.spans, led.followers) for led in why.leaders
        ]
        np.testing.assert_allclose([led.own for led in verdict.leaders], [led.own for led in why.leaders], atol=1e-12)
        assert (verdict.label, verdict.residual) == (why.label, pytest.approx(why.residual, abs=1e-12))
    assert model.leader_counts(corpus.texts[:60]).tolist() == [
        len(verdict.leaders) for verdict in model.explain_many(corpus.texts[:60])
    ]


def test_the_layers_that_are_shown_end_at_the_leaders_that_are_named(model):
    why = model.explain(SPOKEN)
    last = why.token_leaders[-1]
    leading = {why.token_labels[token] for token in np.flatnonzero(last == np.arange(len(last)))}
    assert leading - {"neutral"} == {leader.word for leader in why.leaders}
    tokens = model.tokens_of(SPOKEN)
    assert np.array_equal(tokens.positions, why.states[0])


def test_the_succession_names_exact_margins(corpus):
    model = LeaderClassifier(ngrams=1).fit(corpus.texts, corpus.labels)
    for text in corpus.texts[:30]:
        why = model.explain(text)
        side = 1.0 if why.label == model.classes_[1] else -1.0
        spans = []
        for gone in why.succession:
            spans += gone.spans
            kept, end = "", 0
            for first, last in sorted(spans):
                kept, end = kept + text[end:first], last
            assert side * model.decision_function([kept + text[end:]])[0] == pytest.approx(gone.margin, abs=1e-9)


def test_a_text_is_surer_the_longer_it_is(corpus):
    model = LeaderClassifier(ngrams=1, phantom=50.0).fit(corpus.texts, corpus.labels)
    texts = [" ".join(["excellent"] * count) for count in (1, 2, 5, 20, 100)]
    assert (np.diff(model.decision_function(texts)) > 0).all()


def test_nothing_is_random(corpus):
    first, again = (LeaderClassifier(random_state=seed).fit(corpus.texts, corpus.labels) for seed in (1, None))
    assert np.array_equal(first.values_, again.values_)
    order = np.random.default_rng(0).permutation(len(corpus.texts))
    moved = LeaderClassifier(random_state=np.random.default_rng(3))
    moved.fit([corpus.texts[row] for row in order], [corpus.labels[row] for row in order])
    for name in ("phantom", "floor", "marginal", "prior_strength"):
        assert moved.training_[name] == first.training_[name]
    np.testing.assert_allclose(moved.decision_function(corpus.texts), first.decision_function(corpus.texts), atol=0.01)


def test_a_text_of_weak_words_is_led_by_its_strongest(corpus):
    model = LeaderClassifier(ngrams=1).fit(corpus.texts, corpus.labels)
    view = model._views.of(1, 0)
    weak = np.flatnonzero(~view.strong & (view.strength > 0.0))
    order = weak[np.argsort(-view.strength[weak])]
    text = " ".join(model.words_[word] for word in (order[0], order[-1]))
    why = model.explain(text)
    assert [leader.word for leader in why.leaders] == [model.words_[order[0]]]
    total = why.bias + why.residual + sum(leader.contribution for leader in why.leaders)
    assert total == pytest.approx(why.logit, abs=1e-12)
    assert why.residual != 0.0
    assert not model.explain("zzz qqq").leaders


def test_an_n_gram_of_weak_words_stands_with_the_one_that_leads(corpus):
    model = LeaderClassifier(ngrams=2).fit(corpus.texts, corpus.labels)
    view = model._views.of(1, 0)
    pairs = np.flatnonzero((view.host >= 0) & ~view.strong & (view.strength > 0.0))
    pair = next(p for p in pairs.tolist() if not view.strong[view.host[p]] and len(set(model.words_[p].split())) == 2)
    why = model.explain(model.words_[pair])
    names = [leader.word for leader in why.leaders]
    assert model.words_[view.host[pair]] in names
    assert model.words_[pair] not in names


def test_the_strength_of_a_word_is_that_of_the_formula(corpus):
    model = LeaderClassifier(ngrams=2).fit(corpus.texts, corpus.labels)
    texts = [tokens_by_hand(text) for text in corpus.texts]
    number = {word: place for place, word in enumerate(model.words_)}
    counts = {word: sum(word in text for text in texts) for word in model.words_}
    total = sum(count for word, count in counts.items() if " " not in word)
    strength = model._views.of(1, 0).strength
    of_words = {word: [] for word in model.words_ if " " not in word}
    for pair in (word for word in model.words_ if " " in word):
        for part in pair.split():
            if part in of_words:
                of_words[part].append(pair)
    effects, apart = {}, {}
    labels = np.array(corpus.labels) == model.classes_[1]
    many = [len(texts) - sum(labels), sum(labels)]
    weights = dict(zip(model.words_, model.grouping_.weights.tolist(), strict=True))
    for word, pairs in of_words.items():
        count, value = counts[word], model.values_[number[word], 0]
        of_pairs = [counts[pair] / count * weights[pair] * model.values_[number[pair], 0] for pair in pairs]
        effect = weights[word] * value + sum(of_pairs)
        effects[word] = max(effect * np.sign(value), 1e-6 * abs(value))
        inside = sum(word in text for text, label in zip(texts, labels, strict=True) if label)
        # A label is learned as a probability (n + 1)/(n + 2) of its class.
        p = 1 + inside * (many[1] + 1) / (many[1] + 2) + (count - inside) / (many[0] + 2)
        q = 2 + count - p
        totals = [2 + n * (n + 1) / (n + 2) + other / (other + 2) for n, other in (many[::-1], many)]
        odds = np.log(p / totals[0]) - np.log(q / totals[1])
        apart[word] = max(np.sign(odds * value), 0) * max(odds**2 - 1 / p - 1 / q, 0) ** 0.5
    single = [word for word in of_words if apart[word] > 0]
    unit = sum(counts[word] * effects[word] for word in single) / sum(counts[word] * apart[word] for word in single)
    for word in list(of_words)[:200]:
        count = counts[word]
        size = effects[word] ** (1 / 3) * max(unit * apart[word], effects[word] / 4) ** (2 / 3)
        expected = size * (count / (count + total / 2500)) ** 0.5 * (1 - count / (len(texts) + 1)) ** 1.5
        assert strength[number[word]] == pytest.approx(expected)


def test_by_sign_the_side_of_the_verdict_comes_first(corpus):
    model = LeaderClassifier(groups="sign").fit(corpus.texts, corpus.labels)
    verdicts = [verdict for verdict in model.explain_many(corpus.texts) if len(verdict.leaders) == 2]
    assert verdicts
    for verdict in verdicts:
        first, second = verdict.leaders
        side = np.sign(verdict.logit)
        assert side * first.contribution >= side * second.contribution


def test_strong_words_are_ranked_by_strength_up_to_three_times_the_least_and_by_texts(corpus):
    model = LeaderClassifier(ngrams=1).fit(corpus.texts, corpus.labels)
    view = model._views.of(1, 0)
    strong = np.flatnonzero(view.strong).tolist()
    least = min(view.strength[word] for word in strong)
    evidence = {
        word: (min(view.strength[word], 3 * least) - least) * model.grouping_.frequencies[word] for word in strong
    }
    ranked = sorted(strong, key=lambda word: (evidence[word], view.strength[word]))
    assert [float(view.rank[word]) for word in ranked] == sorted(float(view.rank[word]) for word in strong)
    assert max(view.strength[word] for word in strong) > 3 * least


def test_by_sign_the_word_of_most_evidence_leads_each_side(corpus):
    model = LeaderClassifier(ngrams=1, groups="sign").fit(corpus.texts, corpus.labels)
    view = model._views.of(1, 0)
    number = {word: place for place, word in enumerate(model.words_)}
    for text in corpus.texts[:40]:
        there = {number[word] for word, _, _ in find_words(text) if word in number}
        strong = [word for word in there if view.strong[word]]
        first = {
            side: max((w for w in strong if np.sign(view.margin[w]) == side), key=lambda w: view.rank[w], default=None)
            for side in (-1.0, 1.0)
        }
        expected = {model.words_[word] for word in first.values() if word is not None}
        if strong:
            assert {leader.word for leader in model.explain(text).leaders} == expected


def test_a_saved_model_explains_to_the_same_bits(model, tmp_path):
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.explain(SPOKEN).to_dict() == model.explain(SPOKEN).to_dict()
    assert pickle.loads(pickle.dumps(model)).explain(SPOKEN).to_dict() == model.explain(SPOKEN).to_dict()


def test_many_classes_are_told_apart_and_the_margin_of_the_two_best_is_explained(tmp_path):
    texts, labels = several(classes=20, texts=600)
    model = LeaderClassifier().fit(texts, labels)
    assert model.score(*several(1, 20, 200)) > 0.9
    assert model.leader_counts(texts).mean() < 8
    scores = model.decision_function(texts[:30])
    np.testing.assert_allclose(scores.sum(axis=1), scores[0].sum(), atol=1e-9)
    for row, verdict in enumerate(model.explain_many(texts[:30])):
        second, best = np.sort(scores[row])[-2:]
        assert verdict.logit == pytest.approx(best - second, abs=1e-12)
        assert verdict.rival == model.classes_[np.argsort(scores[row])[-2]]
        total = verdict.bias + verdict.residual + sum(led.contribution for led in verdict.leaders)
        assert total == pytest.approx(verdict.logit, abs=1e-12)
        assert verdict.probability == pytest.approx(model.predict_proba([texts[row]]).max())
    why = model.explain(texts[0])
    assert why.sides == (why.rival, why.label)
    assert all(len(leader.by_class) == 20 for leader in why.leaders)
    why.report(tmp_path / "why.html")
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").explain(texts[0]).to_dict() == why.to_dict()


def test_four_texts_are_learned_from():
    model = LeaderClassifier().fit(["good film", "great film", "bad film", "awful film"], [1, 1, 0, 0])
    assert model.predict(["a good one", "an awful one"]).tolist() == [1, 0]
    assert 0.5 < model.predict_proba(["good"])[0, 1] < 0.95


def test_weights_of_texts_are_repetitions_of_them():
    texts, labels = several(classes=2, texts=60)
    rng = np.random.default_rng(0)
    times = rng.integers(1, 3, size=60)
    settings = {"phantom": 10.0, "floor": 0.4, "prior_strength": 4.0, "ngrams": 1}
    weighted = LeaderClassifier(**settings).fit(texts, labels, sample_weight=times)
    plain = LeaderClassifier(**settings).fit(texts, labels)
    assert not np.allclose(weighted.decision_function(texts), plain.decision_function(texts))
    heavy = LeaderClassifier(**settings).fit(texts, labels, sample_weight=np.where(np.array(labels) == 1, 9.0, 1.0))
    assert heavy.predict_proba(["common1"])[0, 1] > plain.predict_proba(["common1"])[0, 1]
    named = LeaderClassifier(**settings, class_weight={1: 9.0}).fit(texts, labels)
    np.testing.assert_array_equal(named.values_, heavy.values_)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0] * 3, "expected one number"),
        ([-1.0] + [1.0] * 59, "sample_weight[0]"),
        (["a"] * 60, "one number a text"),
        ([0.0] * 60, "0 for all texts"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weights, words):
    texts, labels = several(classes=2, texts=60)
    with pytest.raises(BadInputError) as caught:
        LeaderClassifier().fit(texts, labels, sample_weight=weights)
    assert words in str(caught.value)


def test_a_column_of_labels_is_taken_with_the_warning_of_scikit_learn():
    texts, labels = several(classes=2, texts=60)
    with pytest.warns(DataConversionWarning):
        model = LeaderClassifier().fit(texts, np.array(labels)[:, None])
    assert model.predict(texts).shape == (60,)


def test_texts_without_content_are_named_in_a_warning():
    texts, labels = several(classes=2, texts=60)
    with pytest.warns(UserWarning, match=r"2 texts without content.*texts\[3\] 'NA'.*texts\[7\] ''"):
        LeaderClassifier().fit([{3: "NA", 7: ""}.get(row, text) for row, text in enumerate(texts)], labels)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"transfer": 0.5}, "expected 0.0 (words keep their values) or 1.0"),
        ({"phantom": -1.0}, "phantom=-1.0"),
        ({"floor": 0.0}, "must be positive"),
        ({"marginal": -0.5}, "marginal=-0.5"),
        ({"groups": "tree"}, "'topics' or 'sign'"),
        ({"strong_share": 0.0}, "strong_share=0.0"),
        ({"dimensions": -1}, "dimensions=-1"),
        ({"random_state": "seed"}, "RandomState"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, words):
    with pytest.raises(BadInputError) as caught:
        LeaderClassifier(**parameters).fit(["a b", "c d", "a", "c"], [0, 1, 0, 1])
    assert words in str(caught.value)


def test_a_budget_ends_the_search_and_all_texts_are_learned_from(corpus):
    model = LeaderClassifier().fit(corpus.texts, corpus.labels, budget=0.0)
    assert (model.training_["status"], model.training_["tried"]) == ("budget", [])
    assert model.score(corpus.texts, corpus.labels) > 0.9


def test_progress_comes_to_its_end(corpus):
    steps = []
    LeaderClassifier().fit(corpus.texts[:100], corpus.labels[:100], progress=lambda *step: steps.append(step[:2]))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1] == 24


def test_it_is_an_estimator_of_scikit_learn():
    texts, labels = several(classes=3, texts=120)
    search = GridSearchCV(make_pipeline(LeaderClassifier()), {"leaderclassifier__ngrams": [1, 2]}, cv=2)
    assert search.fit(texts, labels).best_score_ > 0.7
    assert cross_val_score(LeaderClassifier(), texts, labels, cv=3).mean() > 0.7
    assert LeaderClassifier().get_metadata_routing().fit.requests == {"sample_weight": None}


def test_a_text_of_weight_0_is_as_if_it_were_not_there(corpus):
    weights = np.ones(len(corpus.texts))
    weights[::3] = 0.0
    kept = np.flatnonzero(weights)
    texts, labels = [corpus.texts[row] for row in kept], [corpus.labels[row] for row in kept]
    weighted = LeaderClassifier().fit(corpus.texts, corpus.labels, sample_weight=weights)
    absent = LeaderClassifier().fit(texts, labels)
    assert weighted.words_ == absent.words_
    np.testing.assert_array_equal(weighted.values_, absent.values_)


def test_the_line_of_the_sum_says_what_the_logit_is():
    texts, labels = several()
    many = explained_text(LeaderClassifier().fit(texts, labels).explain(texts[0]))
    two = explained_text(LeaderClassifier().fit(texts, [label > 1 for label in labels]).explain(texts[0]))
    assert "leads" in sum_line(many)
    assert "logistic" not in sum_line(many)
    assert "its logistic function is the probability of True" in sum_line(two)


def test_a_few_texts_are_no_proof():
    good = ["wonderful acting", "brilliant music", "a wonderful story", "brilliant and moving", "so wonderful"]
    bad = ["awful acting", "dull music", "an awful story", "dull and silly", "so awful"]
    model = LeaderClassifier().fit(2 * good + 2 * bad, ["pos"] * 10 + ["neg"] * 10)
    logits = model.decision_function(good + bad)
    # Ten of ten texts: odds of eleven to one at most, where texts are like those that were seen.
    assert np.abs(logits).max() < np.log(11) + 0.5
    assert ((logits > 0) == ([True] * 5 + [False] * 5)).all()


def test_the_certainty_that_labels_teach_is_that_of_their_number():
    which = np.array([0, 0, 0, 1, 1, 2])
    assert targets_of(which[:5], 2)[:, 0].tolist() == pytest.approx([1 / 5] * 3 + [3 / 4] * 2)
    three = targets_of(which, 3)
    np.testing.assert_allclose(three.sum(axis=1), 1.0)
    assert three[0].tolist() == pytest.approx([4 / 5, 1 / 10, 1 / 10])
    assert three[5].tolist() == pytest.approx([1 / 6, 1 / 6, 2 / 3])
