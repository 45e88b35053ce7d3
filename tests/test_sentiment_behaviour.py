"""The behavioural suite: which cases are right, by hand; files of cases; the command and its folder."""

import json

import numpy as np
import pandas as pd
import pytest

import tokendyn as td
from tokendyn.cli import run
from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.sentiment import Case, LeaderClassifier, check_behaviour, read_cases
from tokendyn.sentiment.behaviour import shipped_cases


class ByWord:
    """A model whose probabilities are what a table says of the first word of a text."""

    def __init__(self, classes, table):
        self.classes_, self.table = np.array(classes), table

    def predict_proba(self, texts):
        return np.array([self.table[text.split()[0]] for text in texts])


THREE = ByWord(["a", "b", "same"], {"x": [0.7, 0.2, 0.1], "y": [0.6, 0.3, 0.1], "z": [0.1, 0.1, 0.8]})
TWO = ByWord(["no", "yes"], {"x": [0.7, 0.3], "y": [0.6, 0.4], "z": [0.2, 0.8]})


@pytest.mark.parametrize(
    ("case", "right"),
    [
        (("k", "x", "no"), True), (("k", "x", "yes"), False), (("k", "z", "yes"), True),
        (("k", "x", "no", "y"), True), (("k", "y", "no", "x"), False), (("k", "y", "yes", "x"), True),
        (("k", "x", "no", "x again"), False),
        (("k", "x", "same", "y"), True), (("k", "x", "same", "z"), False),
    ],
)  # fmt: skip
def test_a_case_is_right_by_its_verdict_or_by_its_relation(case, right):
    report = check_behaviour(TWO, [Case(*case)])
    assert report.cases["right"].tolist() == [right]
    assert report.table().to_dict("records") == [{"kind": "k", "cases": 1, "right": int(right), "share": float(right)}]


def test_the_word_same_is_a_label_where_a_class_has_that_name():
    report = check_behaviour(THREE, [("k", "z", "same"), ("k", "x", "same"), ("k", "y", "b", "x")])
    assert report.cases["right"].tolist() == [True, False, True]
    assert report.cases["probability"].tolist() == [0.8, 0.1, 0.3]


def test_negation_is_counted_apart():
    cases = [("negation", "x", "no"), ("double negation", "x", "yes"), ("names", "x", "no"), ("names", "y", "no")]
    report = check_behaviour(TWO, cases)
    counts = report.summary()
    assert (counts["negation_right"], counts["negation_cases"]) == (1, 2)
    assert (counts["other_right"], counts["other_cases"], counts["right"]) == (2, 2, 3)
    assert "1 of 2 with it" in str(report)


def test_the_suite_that_ships_is_sound():
    cases = shipped_cases()
    assert 150 <= len(cases) <= 250
    assert len({case[1:] for case in cases}) == len(cases)
    kinds = {
        "negation",
        "double negation",
        "intensifier",
        "diminisher",
        "spelling",
        "length",
        "neutral filler",
        "names",
    }
    assert kinds < {case.kind for case in cases}
    assert {case.expected for case in cases} == {"pos", "neg", "same"}
    for case in cases:
        assert case.text != case.reference
        assert case.reference or case.expected != "same"
    labels = [case.expected for case in cases if case.kind == "negation"]
    assert 0.3 < labels.count("pos") / len(labels) < 0.7


@pytest.mark.parametrize("classes", [["neg", "pos"], ["negative", "positive"], [0, 1], [-1, 1]])
def test_the_suite_that_ships_suits_the_usual_names_of_the_two_classes(classes):
    reviews = small_reviews()
    labels = [classes[label == "pos"] for label in reviews.labels]
    report = LeaderClassifier(ngrams=1).fit(reviews.texts, labels).check()
    shares = report.table().set_index("kind")["share"]
    assert set(report.cases["verdict"]) == set(map(str, classes))
    assert shares["plain"] > 0.5


@pytest.mark.parametrize(
    ("model", "cases", "message"),
    [
        (THREE, None, "own: a CSV file"), (TWO, None, "'no', 'yes'"), (TWO, [], "there is none"),
        (TWO, [("k", "x", "yess")], "did you mean"), (TWO, [("k", "x", "same")], "needs a reference"),
    ],
)  # fmt: skip
def test_cases_that_do_not_suit_the_model_are_one_error(model, cases, message):
    with pytest.raises(BadInputError, match=message):
        check_behaviour(model, cases)


def test_cases_come_from_a_file_and_its_bad_lines_are_named(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("expected,text,kind\nyes, x ,a\nno,y,b\n", encoding="utf-8")
    assert read_cases(path) == (Case("a", "x", "yes"), Case("b", "y", "no"))
    path.write_text("kind,text,expected,reference\na,x,,\na,x\nb,y,no,\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="line 2") as error:
        read_cases(path)
    assert "line 3: 2 fields" in str(error.value)
    for name, message in (("mine.txt", "known kind"), ("none.csv", "does not exist")):
        with pytest.raises(BadInputError, match=message):
            read_cases(tmp_path / name)


def test_the_command_writes_a_folder_that_makes_its_page_again(tmp_path, capsys):
    reviews = small_reviews()
    LeaderClassifier().fit(reviews.texts, reviews.labels).save(tmp_path / "model")
    words = ["sentiment", "check", str(tmp_path / "model")]
    assert run([*words, "--out", str(tmp_path / "check"), "--json"]) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert "right:" in said.err
    cases = pd.read_csv(tmp_path / "check" / "cases.csv")
    assert record["right"] == int(cases["right"].sum())
    assert record["cases"] == len(cases) == len(shipped_cases())
    assert td.load(tmp_path / "check")["right"] == record["right"]
    page = (tmp_path / "check" / "report.html").read_text(encoding="utf-8")
    assert run(["report", str(tmp_path / "check")]) == 0
    assert (tmp_path / "check" / "report.html").read_text(encoding="utf-8") == page
    capsys.readouterr()
    assert run(["sentiment", "check", str(tmp_path / "model"), "--dry-run"]) == 0
    assert "would try" in capsys.readouterr().err
    (tmp_path / "mine.csv").write_text("kind,text,expected\nmine,a warm film,pos\n", encoding="utf-8")
    assert run([*words, "--cases", str(tmp_path / "mine.csv")]) == 0
    assert "1 cases of mine.csv" in capsys.readouterr().err
    assert run([*words, "--out", str(tmp_path / "check")]) == 2


def test_labels_of_cases_may_be_those_of_the_model_itself():
    corpus = small_reviews()
    numbered = LeaderClassifier().fit(corpus.texts, [int(label == "pos") for label in corpus.labels])
    case = ("tone", "A warm and funny film.", 1)
    assert check_behaviour(numbered, [case]).summary() == check_behaviour(numbered, [(*case, None)]).summary()


@pytest.mark.parametrize("case", [("tone", "A text."), "abc", ("tone", 3, "pos"), ("tone", "", "pos"), 7])
def test_cases_that_are_none_are_one_error(case):
    class Fitted:
        classes_ = np.array(["neg", "pos"])

    with pytest.raises(BadInputError, match=r"case 1: .*expected"):
        check_behaviour(Fitted(), [case])
