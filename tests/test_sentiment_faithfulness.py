"""Explanations of a model whose word effects are known; what is refused; the command."""

import csv
import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from published_leaders import published

from tokendyn.cli import run
from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError, MissingLibraryError
from tokendyn.rivals.sentiment.explainers import CutText, Judge
from tokendyn.sentiment import find_words, save
from tokendyn.studies.sentiment import evaluate_explanations
from tokendyn.studies.sentiment.faithfulness import drops, rank_agreement, top_overlap
from tokendyn.studies.sentiment.faithfulness_page import _as_good

EFFECTS = {"good": 3.0, "fine": 1.5, "warm": 0.7, "dull": -2.0, "cold": -1.0, "grey": -0.4}
TEXTS = [
    "A good film: fine, warm, and not grey at all, said my friend of that night.",
    "Dull and cold, so very dull; the <b>warm</b> end came too late for me, it's grey.",
    "Fine or cold? Good in part; one dull hour out of two, one fine hour in all.",
]


class Linear:
    """Logistic in the sum of fixed word effects, each counted once a text; knows its own contributions."""

    def __init__(self, effects=EFFECTS):
        self.effects, self.asked = effects, 0

    def logits(self, texts):
        return np.array([sum(self.effects.get(word, 0.0) for word, *_ in set_of(text)) for text in texts])

    def predict_proba(self, texts):
        self.asked += len(texts)
        return np.exp(-np.logaddexp(0.0, np.outer(self.logits(texts), [1.0, -1.0])))

    def explain(self, text):
        cut = CutText.of(text)
        parts = [
            SimpleNamespace(spans=spans, contribution=self.effects[word], value=self.effects[word])
            for word, spans in zip(cut.words, cut.spans, strict=True)
            if word in self.effects
        ]
        return SimpleNamespace(contributions=tuple(parts), leaders=tuple(parts), succession=())


def set_of(text):
    return {(word,) for word, _, _ in find_words(text)}


@pytest.fixture(scope="module")
def report():
    return evaluate_explanations(Linear(), TEXTS, ("leaders", "loo", "random"), seeds=3)


def test_words_are_taken_out_at_each_place_and_all_else_stays():
    cut = CutText.of("It's <b>GOOD</b>, it\u2019s good-ish.")
    assert cut.words == ("it's", "good", "ish")
    assert cut.with_only(np.array([True, True, True])) == cut.text
    assert cut.with_only(np.array([True, False, True])) == "It's <b> </b>, it\u2019s  -ish."
    assert find_words(cut.with_only(np.zeros(3, dtype=bool))) == []


def test_contributions_of_words_and_of_n_grams_are_shared_out_whole():
    cut = CutText.of("not good, not bad")
    spans = dict(zip(cut.words, cut.spans, strict=True))
    given = cut.share_out([(spans["not"], 1.0), (((0, 8),), 4.0), (((8, 9),), 9.0), (spans["bad"], -2.0)])
    np.testing.assert_allclose(given, [3.0, 2.0, -2.0], atol=1e-15)


def test_drops_follow_from_the_known_effects():
    judge = Judge(Linear(), CutText.of("good film fine dull"))
    assert (judge.verdict, judge.classes) == (1, 2)
    removed, kept = drops(judge, np.array([3.0, 0.0, 1.5, -2.0]), (0.25, 0.5, 1.0))

    def likely(logit):
        return 1 / (1 + math.exp(-logit))

    np.testing.assert_allclose(removed, likely(2.5) - np.array([likely(-0.5), likely(-2.0), 0.5]), atol=1e-12)
    np.testing.assert_allclose(kept, likely(2.5) - np.array([likely(3.0), likely(4.5), likely(2.5)]), atol=1e-12)


def test_the_verdict_stays_the_class_of_the_whole_text():
    judge = Judge(Linear(), CutText.of("dull"))
    assert judge.verdict == 0
    removed, kept = drops(judge, np.array([2.0]), (0.5,))
    np.testing.assert_allclose(removed, judge.probability - 0.5)
    np.testing.assert_allclose(kept, 0.0)


def test_exact_attributions_and_leave_one_out_win_on_a_linear_model_and_chance_does_not(report):
    table = report.table().set_index("explainer")
    np.testing.assert_allclose(table.comprehensiveness["leaders"], table.comprehensiveness["loo"], atol=1e-12)
    assert table.comprehensiveness["leaders"] > 0.25
    assert table.sufficiency["leaders"] < 0.1 < table.sufficiency["random"]
    assert abs(table.comprehensiveness["random"]) < 0.15
    np.testing.assert_allclose(table.rank_agreement[["leaders", "loo"]], 1.0, atol=1e-12)
    assert abs(table.rank_agreement["random"]) < 0.4
    assert table["size"].tolist() == [4.0, 4.0, np.mean([len(CutText.of(one).words) for one in TEXTS])]


def test_no_order_of_the_words_beats_the_exact_one(rng):
    judge = Judge(Linear(), CutText.of(TEXTS[0]))
    exact = np.array([EFFECTS.get(word, 0.0) for word in judge.cut.words])
    best_removed, best_kept = drops(judge, exact, (0.05, 0.2, 0.5))
    for _ in range(50):
        removed, kept = drops(judge, rng.standard_normal(len(exact)), (0.05, 0.2, 0.5))
        assert np.all(removed <= best_removed + 1e-12)
        assert np.all(kept >= best_kept - 1e-12)


def test_what_is_deterministic_is_identical_whatever_the_seed(report):
    other = evaluate_explanations(Linear(), TEXTS, ("leaders", "loo", "random"), seed=9, seeds=2)
    for name, same in (("leaders", True), ("loo", True), ("random", False)):
        first, second = (one.table().set_index("explainer").loc[name] for one in (report, other))
        assert (first.comprehensiveness == second.comprehensiveness) is np.bool_(same)
        assert first.identical == float(same)
        assert (first.stability == 1.0) is np.bool_(same)


def test_the_same_seed_gives_the_same_report_and_a_text_does_not_depend_on_those_before_it():
    measures = ["comprehensiveness", "sufficiency", "rank_agreement", "stability"]
    first, again = (evaluate_explanations(Linear(), TEXTS, ("random",)).per_text for _ in range(2))
    assert first[measures].equals(again[measures])
    fewer = evaluate_explanations(Linear(), TEXTS[:2], ("random",)).per_text
    assert fewer[measures].equals(first[measures][:2])


def test_standard_errors_and_paired_differences_are_over_the_texts(report):
    part = report.per_text[report.per_text.explainer == "random"].comprehensiveness
    row = report.table().set_index("explainer").loc["random"]
    np.testing.assert_allclose(row.comprehensiveness, part.mean())
    np.testing.assert_allclose(row.comprehensiveness_se, part.sem())
    assert report.difference("leaders", "leaders") == (0.0, 0.0)
    with pytest.raises(BadInputError, match="no 'lime'"):
        report.difference("leaders", "lime")


def test_measures_that_are_not_defined_are_nan_and_null_in_json():
    assert math.isnan(rank_agreement(np.zeros(3), np.arange(3.0)))
    assert math.isnan(top_overlap([np.arange(3.0)]))
    assert top_overlap([np.arange(6.0), np.array([9.0, 1, 2, 3, 4, 0])]) == 0.8
    one = evaluate_explanations(Linear(), ["film"], ("leaders", "random"), seeds=1).to_dict()
    assert one["table"][0]["rank_agreement"] is None
    assert one["table"][0]["comprehensiveness_se"] is None
    json.dumps(one, allow_nan=False)


def test_progress_counts_texts_times_explainers_and_calls_are_counted():
    seen = []
    found = evaluate_explanations(Linear(), TEXTS, ("loo", "random"), progress=lambda *at: seen.append(at))
    assert seen == [(done, 6) for done in range(1, 7)]
    calls = found.per_text.set_index(["explainer", "text"]).model_calls
    assert calls["loo"].tolist() == [len(CutText.of(text).words) for text in TEXTS]
    assert calls["random"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("texts", "explainers", "settings", "said"),
    [
        ([], ("loo",), {}, "texts is empty"),
        (["good", "", "?!"], ("loo",), {}, r"2 problems\n.*texts\[1\] has no word"),
        ("good film", ("loo",), {}, "one string"),
        (["good", 3], ("loo",), {}, r"texts\[1\] is int"),
        (["good"], ("leader",), {}, "no explainer 'leader'; did you mean 'leaders'"),
        (
            ["good"],
            ("gradients",),
            {},
            "choose among leaders, contributions, value, coefficients, lime, shap, loo, random",
        ),
        (["good"], (), {}, "none is named"),
        (["good"], "loo", {}, "one string"),
        (["good"], ("loo",), {"fractions": (0.1, 1.5)}, "above 0 and at most 1"),
        (["good"], ("loo",), {"fractions": (0.1, 0.1)}, "different shares"),
        (["good"], ("loo",), {"seeds": 0, "samples": 1}, "2 problems"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(unchecked, texts, explainers, settings, said):
    with pytest.raises(BadInputError, match=said):
        evaluate_explanations(Linear(), texts, explainers, **settings)


def test_models_that_cannot_be_evaluated_are_refused(unchecked):
    plain = SimpleNamespace(predict_proba=Linear().predict_proba)
    assert len(evaluate_explanations(plain, TEXTS, ("loo",)).per_text) == 3
    with pytest.raises(BadInputError, match=r"'leaders' needs a model with explain\(text\)"):
        evaluate_explanations(plain, TEXTS, ("leaders", "loo"))
    flat = SimpleNamespace(predict_proba=lambda texts: np.ones(len(texts)))
    with pytest.raises(BadInputError, match=r"shape \(1,\) for 1 texts"):
        evaluate_explanations(flat, TEXTS, ("loo",))
    lost = SimpleNamespace(predict_proba=lambda texts: np.full((len(texts), 2), np.nan))
    with pytest.raises(BadInputError, match="NaN"):
        evaluate_explanations(lost, TEXTS, ("loo",))


def test_a_missing_package_is_named_with_the_command_that_installs_it(unchecked, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lime", None)
    with pytest.raises(MissingLibraryError, match=r'pip install "tokendyn\[bench\]"'):
        evaluate_explanations(Linear(), TEXTS, ("lime",))
    with pytest.raises(BadInputError, match=r"2 problems(.|\n)*no explainer 'limes'(.|\n)*tokendyn\[bench\]"):
        evaluate_explanations(Linear(), TEXTS, ("lime", "limes"))


@pytest.mark.parametrize("name", ["lime", "shap"])
def test_lime_and_shap_rank_the_words_of_a_linear_model_as_they_are(name):
    skip_without(name)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    found = evaluate_explanations(Linear(), TEXTS, ("leaders", name), samples=600)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    table = found.table().set_index("explainer")
    np.testing.assert_allclose(table.comprehensiveness[name], table.comprehensiveness["leaders"], rtol=0.1)
    # Words without an effect get small scores in any order, which leave-one-out has all at 0.
    assert table.rank_agreement[name] > 0.7
    assert 0 < table.model_calls[name] <= 600
    assert name in found.provenance["config"]["packages"]
    again = evaluate_explanations(Linear(), TEXTS, ("leaders", name), samples=600).per_text
    assert again.comprehensiveness.equals(found.per_text.comprehensiveness)


@pytest.mark.parametrize("name", ["lime", "shap"])
def test_lime_and_shap_explain_a_text_of_one_word(name):
    skip_without(name)
    found = evaluate_explanations(Linear(), ["Good!"], (name,), samples=20)
    np.testing.assert_allclose(found.per_text.comprehensiveness, 1 / (1 + math.exp(-3)) - 0.5)


def skip_without(name):
    from importlib.util import find_spec

    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed; pip install tokendyn[bench]")


@pytest.fixture(scope="module")
def trained():
    data = small_reviews()
    return published(epochs=2).fit(data.texts[:500], data.labels[:500])


def test_contributions_add_up_and_leaders_rank_by_succession(trained):
    from tokendyn.rivals.sentiment.explainers import contributions, leaders

    for text in small_reviews().texts[500:520]:
        judge = Judge(trained, CutText.of(text))
        why, found = trained.explain(text), contributions(judge, 0, 0)
        side = 1 if why.label == trained.classes_[1] else -1
        assert found.size == len(why.leaders)
        np.testing.assert_allclose(side * found.values.sum() + why.bias, why.logit, atol=1e-9)
        assert judge.probability >= 0.5
        ranked = np.argsort(-leaders(judge, 0, 0).values, kind="stable")
        first = [judge.cut.words[owner] for owner in ranked[: len(why.succession)]]
        assert first == [gone.word for gone in why.succession]


def test_the_command_writes_table_figure_and_page(trained, tmp_path, capsys):
    save(trained, tmp_path / "model")
    reviews, out = tmp_path / "reviews.csv", tmp_path / "evaluation"
    with reviews.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(
            [("text", "label"), ("...", "pos"), *((t, "") for t in small_reviews().texts[500:])]
        )
    command = ["sentiment", "evaluate", str(reviews), "--model", str(tmp_path / "model"), "--texts", "4"]
    assert run([*command, "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    assert "1 without a word were left out" in said.err
    assert [row["explainer"] for row in json.loads(said.out)["table"]] == ["leaders", "loo", "random"]
    names = {"table.csv", "texts.csv", "evaluation.json", "faithfulness.png", "report.html", ".tokendyn.json"}
    names |= {"faithfulness.svg", "faithfulness-narrow.svg"}
    assert {path.name for path in out.iterdir()} == names
    with (out / "texts.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 12
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "What they do not say" in page
    assert "data:image/svg" in page
    assert run([*command, "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run([*command, "--explainers", "leeders", "--out", str(tmp_path / "other")]) == 2
    assert "did you mean 'leaders'" in capsys.readouterr().err


def test_the_page_names_the_explainers_that_are_not_clearly_behind():
    table = pd.DataFrame(
        {
            "explainer": ["leaders", "loo", "random"], "texts": 30, "comprehensiveness": [0.319, 0.308, 0.05],
            "comprehensiveness_se": [0.02, 0.02, 0.01],
        }
    )  # fmt: skip
    near = "Within two standard errors of it: “loo”."
    assert near in _as_good(table, table.iloc[0].to_dict())
    assert not _as_good(table.assign(comprehensiveness_se=0.001), table.iloc[0].to_dict() | {"comprehensiveness_se": 0})
    alone = table.iloc[:1].assign(comprehensiveness_se=float("nan"))  # one text has no standard error
    assert not _as_good(alone, alone.iloc[0].to_dict())
