"""How steady reasons are over retrainings, and the coefficients of a linear model as the rival explanation."""

import json

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tokendyn.cli import run
from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.rivals.sentiment.linear_terms import linear_terms
from tokendyn.sentiment import LeaderClassifier
from tokendyn.sentiment.stability import drawn, shared
from tokendyn.studies.sentiment import evaluate_explanations

TEXT = "A warm and funny film, not dull at all, though the ending is lazy."


@pytest.fixture(scope="module")
def corpus():
    return small_reviews()


@pytest.fixture(scope="module")
def model(corpus):
    return LeaderClassifier().fit(corpus.texts, corpus.labels)


def test_a_leader_leads_in_so_many_retrainings_by_hand(model, corpus):
    found = model.stability([TEXT, ""], corpus, retrainings=3, seed=1)
    chosen = {name: model.training_[name] for name in ("phantom", "floor", "prior_strength")}
    counts = {leader.word: 0 for leader in model.explain(TEXT).leaders}
    overlaps = []
    for rows in drawn(len(corpus.texts), 3, 1):
        again = LeaderClassifier(**chosen).fit(
            [corpus.texts[row] for row in rows], [corpus.labels[row] for row in rows]
        )
        names = [leader.word for leader in again.explain(TEXT).leaders]
        overlaps.append(len(set(names) & set(counts)) / len(set(names) | set(counts)))
        for word in counts:
            counts[word] += word in names
    assert dict(zip(found.table()["word"], found.table()["led"], strict=True)) == counts
    assert found.overlap == pytest.approx(np.mean(overlaps))
    assert f"leads in {max(counts.values())} of 3 retrainings" in str(found)


def test_draws_hold_nine_tenths_and_differ_by_number_and_seed():
    draws = [*drawn(50, 2, 0), *drawn(50, 1, 1)]
    assert [len(set(rows)) for rows in draws] == [45, 45, 45]
    assert len({tuple(rows) for rows in draws}) == 3
    assert all(rows == sorted(rows) for rows in draws)


def test_the_shared_part_of_leaders_is_that_of_sets():
    assert shared(["a", "b"], ["b", "c"]) == (pytest.approx(1 / 3), 0.0)
    assert shared(["a"], ["a", "b"]) == (0.5, 1.0)
    assert np.isnan(shared([], [])).all()


@pytest.mark.parametrize(("options", "message"), [({"retrainings": 0}, "retrainings"), ({"y": ["pos"]}, "labels")])
def test_what_cannot_be_trained_again_is_one_error(options, message, model, corpus):
    with pytest.raises(BadInputError, match=message):
        model.stability([TEXT], corpus.texts, **{"y": corpus.labels, **options})


def test_the_terms_of_a_linear_model_add_up_to_its_logit(corpus):
    for vectoriser in (CountVectorizer(), TfidfVectorizer(ngram_range=(1, 2))):
        linear = make_pipeline(vectoriser, LogisticRegression()).fit(corpus.texts, corpus.labels)
        total = sum(amount for _, amount in linear_terms(linear).of(TEXT)) + linear[-1].intercept_[0]
        assert total == pytest.approx(linear.decision_function([TEXT])[0])
    with pytest.raises(BadInputError, match="not LeaderClassifier"):
        linear_terms(LeaderClassifier())


def test_coefficients_are_an_explainer_of_a_linear_model_and_of_a_rival(model, corpus):
    linear = make_pipeline(CountVectorizer(), LogisticRegression()).fit(corpus.texts, corpus.labels)
    alone = evaluate_explanations(linear, [TEXT], ("coefficients", "loo", "random"), seeds=1).table()
    alone = alone.set_index("explainer")
    assert alone.loc["coefficients", "rank_agreement"] > 0.95
    assert alone["retrained"].isna().all()
    both = evaluate_explanations(model, [TEXT, "A dull mess."], ("leaders", "coefficients", "random"), learned=corpus)
    table = both.table().set_index("explainer")
    assert table.loc[["leaders", "coefficients"], "retrained"].between(0, 1).all()
    assert table.loc[["leaders", "coefficients"], "retrained_first"].between(0, 1).all()
    assert np.isnan(table.loc["random", "retrained"])
    assert table.loc["coefficients", "rank_agreement"] > 0.5
    with pytest.raises(BadInputError, match="learned"):
        evaluate_explanations(model, [TEXT], ("coefficients",))


def test_the_commands_say_how_steady_reasons_are(model, corpus, tmp_path, capsys):
    model.save(tmp_path / "model")
    records = [json.dumps({"text": t, "label": y}) for t, y in zip(corpus.texts, corpus.labels, strict=True)]
    (tmp_path / "reviews.jsonl").write_text("\n".join(records), encoding="utf-8")
    learned = ["--model", str(tmp_path / "model"), "--learned", str(tmp_path / "reviews.jsonl")]
    assert run(["sentiment", "explain", TEXT, *learned, "--retrainings", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["stability"]
    assert {row["word"] for row in rows} == {leader.word for leader in model.explain(TEXT).leaders}
    assert run(["sentiment", "explain", TEXT, *learned, "--retrainings", "2"]) == 0
    assert "of 2 retrainings" in capsys.readouterr().err
    words = ["sentiment", "evaluate", str(tmp_path / "reviews.jsonl"), *learned, "--texts", "3"]
    out = ["--explainers", "leaders,coefficients", "--out", str(tmp_path / "evaluation")]
    assert run([*words, *out]) == 0
    assert "coefficients" in capsys.readouterr().err
    assert "retrained first" in (tmp_path / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert run([*words, "--explainers", "coefficients", "--dry-run", "--out", str(tmp_path / "other")]) == 0
    assert run([*words[:5], "--explainers", "coefficients", "--out", str(tmp_path / "other")]) == 2
    assert "--learned" in capsys.readouterr().err


def test_texts_without_leaders_have_no_share(model, corpus):
    assert model.stability(["zzz"], corpus, retrainings=1).describe() == ["no training finds a leader in these texts"]
