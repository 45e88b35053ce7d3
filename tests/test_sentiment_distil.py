"""Distilling: a classifier learns what another model says of texts, and says how close it comes."""

import json

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

import tokendyn as td
from tokendyn.cli import run
from tokendyn.data.probabilities import read_probabilities
from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.sentiment import LeaderClassifier, fidelity
from tokendyn.sentiment.distilling import compared

WORDS = ["film", "warm", "dull", "plot", "cast", "lazy", "bright", "slow", "music", "kind"]


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(3)
    return [" ".join(rng.choice(WORDS, size=rng.integers(6, 30))) for _ in range(400)]


@pytest.fixture(scope="module")
def theirs(texts):
    labels = ["pos" if text.count("warm") + text.count("kind") > text.count("dull") else "neg" for text in texts]
    return make_pipeline(TfidfVectorizer(), LogisticRegression(C=3.0)).fit(texts, labels)


def test_a_linear_model_is_learned_with_its_classes_and_the_fidelity_is_that_of_texts_held_out(theirs, texts):
    ours = LeaderClassifier.distil(theirs, texts)
    close = ours.training_["fidelity"]
    assert close["same_verdict"] >= 0.9
    assert close["texts"] + ours.training_["texts"] == len(texts)
    assert ours.training_["distilled_from"] == "Pipeline"
    assert ours.classes_.tolist() == ["neg", "pos"]
    new = [" ".join(np.random.default_rng(9).choice(WORDS, size=15)) for _ in range(1)]
    assert ours.predict(new).tolist() == theirs.predict(new).tolist()
    why = ours.explain(texts[0])
    total = why.bias + why.residual + sum(leader.contribution for leader in why.leaders)
    assert total == pytest.approx(why.logit, abs=1e-9)


def test_soft_probabilities_are_met_and_not_their_verdicts_alone(texts):
    counts = CountVectorizer(vocabulary=sorted(WORDS)).transform(texts).toarray()
    shares = counts / (counts.sum(axis=1, keepdims=True) + 20.0)
    values = np.linspace(-6.0, 6.0, len(WORDS))
    truth = 1 / (1 + np.exp(-shares @ values))
    ours = LeaderClassifier.distil(
        truth, texts, ngrams=1, phantom=20.0, floor=1.6, prior_strength=1e-3, test_fraction=0.0
    )
    assert "fidelity" not in ours.training_
    np.testing.assert_allclose(ours.predict_proba(texts)[:, 1], truth, atol=0.02)


def test_a_neural_model_of_three_classes_is_learned_from_a_callable(texts):
    labels = [int(np.argmax([text.count(word) for word in ("warm", "dull", "slow")])) for text in texts]
    network = MLPClassifier((20,), max_iter=800, random_state=0, alpha=1e-2)
    net = make_pipeline(CountVectorizer(), network).fit(texts, labels)
    asked = []

    def judge(batch):
        asked.append(len(batch))
        return net.predict_proba(batch).astype(np.float32)

    ours = LeaderClassifier.distil(judge, texts, classes=["warm", "dull", "slow"], ngrams=1)
    assert ours.classes_.tolist() == ["dull", "slow", "warm"]
    assert max(asked) <= 1024
    order = [1, 2, 0]
    same = net.predict_proba(texts)[:, order].argmax(axis=1) == ours.predict_proba(texts).argmax(axis=1)
    assert same.mean() > 0.9
    assert ours.training_["distilled_from"] == "function"


@pytest.mark.parametrize("shape", ["column", "pair", "flat"])
def test_probabilities_of_two_classes_may_be_one_column_or_two(shape, theirs, texts):
    both = theirs.predict_proba(texts)
    given = {"column": both[:, 1:], "pair": both, "flat": both[:, 1]}[shape]
    ours = LeaderClassifier.distil(given, texts)
    assert ours.classes_.tolist() == [0, 1]
    reference = LeaderClassifier.distil(theirs.predict_proba, texts)
    np.testing.assert_allclose(ours.decision_function(texts), reference.decision_function(texts), atol=1e-9)


def test_the_measures_of_closeness_are_their_formulas():
    own = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    target = np.array([[0.8, 0.2], [0.6, 0.4], [0.0, 1.0]])
    found = compared(own, target)
    divergence = np.mean([
        0.8 * np.log(0.8 / 0.9) + 0.2 * np.log(0.2 / 0.1), 0.6 * np.log(0.6 / 0.2) + 0.4 * np.log(0.4 / 0.8),
        np.log(1 / 0.6),
    ])  # fmt: skip
    assert found.same_verdict == pytest.approx(2 / 3)
    assert found.divergence == pytest.approx(divergence)
    assert found.calibration_error == pytest.approx((0.1 + 0.4 + 0.4) / 3)


def test_a_classifier_is_as_close_to_itself_as_can_be(texts, theirs):
    ours = LeaderClassifier.distil(theirs, texts)
    itself = fidelity(ours, ours, texts)
    assert (itself.same_verdict, itself.texts) == (1.0, len(texts))
    assert max(itself.divergence, itself.calibration_error) < 1e-12


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (lambda t: np.ones((len(t), 2)), {}, "sum 1"),
        (lambda t: np.full(len(t), 1.5), {}, "from 0 to 1"),
        (lambda t: np.full(len(t), np.nan), {}, "from 0 to 1"),
        (lambda t: np.ones(len(t) + 1), {}, "have shape"),
        (lambda t: ["much"] * len(t), {}, "no numbers"),
        (lambda t: np.full(len(t), 0.5), {"classes": ["a", "b", "c"]}, "2 classes"),
        (lambda t: np.full(len(t), 0.5), {"classes": ["a", "a"]}, "twice"),
        (lambda t: np.full(len(t), 0.5), {"transfer": 1.0}, r"transfer=0\.0"),
        (lambda t: np.full(len(t), 0.5), {"test_fraction": 1.0}, "test_fraction"),
        (lambda t: np.full(len(t), 0.5), {"ngrams": 0}, "ngrams"),
    ],
)
def test_what_cannot_be_learned_from_is_one_error(given, options, message):
    with pytest.raises(BadInputError, match=message):
        LeaderClassifier.distil(given, ["a warm film", "a dull film", "a film"], **options)


def test_texts_without_a_word_are_refused():
    with pytest.raises(BadInputError, match="no text has a word"):
        LeaderClassifier.distil(lambda t: np.full(len(t), 0.5), ["...", "!", "?"])


@pytest.fixture
def judged(tmp_path, theirs, texts):
    table = theirs.predict_proba(texts)
    lines = ["text,probability_pos", *(f"{text},{row[1]:.6f}" for text, row in zip(texts, table, strict=True))]
    (tmp_path / "judged.csv").write_text("\n".join(lines), encoding="utf-8")
    records = [{"p": row[0], "q": row[1]} for row in table.tolist()]
    (tmp_path / "theirs.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return tmp_path


def test_the_command_learns_from_a_table_and_from_a_file_of_probabilities_alike(judged, capsys):
    once = ["sentiment", "distil", str(judged / "judged.csv"), "--classes", "neg,pos", "--out", str(judged / "one")]
    assert run(once) == 0
    assert "have the verdict of the distilled model" in capsys.readouterr().err
    other = ["--probabilities", str(judged / "theirs.jsonl"), "--columns", "p,q", "--classes", "neg,pos"]
    assert run(["sentiment", "distil", str(judged / "judged.csv"), *other, "--json", "--out", str(judged / "two")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["fidelity"]["same_verdict"] >= 0.9
    one, two = td.load(judged / "one"), td.load(judged / "two")
    texts = ["a warm plot", "slow and dull music"]
    np.testing.assert_allclose(one.predict_proba(texts), two.predict_proba(texts), atol=1e-3)
    assert run(["report", str(judged / "two")]) == 0
    assert "same verdict as the distilled model" in (judged / "two" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--classes"),
        (["--columns", "nothing"], "no column 'nothing'"),
        (["--classes", "a,b,c"], "3 labels"),
        (["--probabilities", "{0}/short.csv", "--classes", "neg,pos"], "1 rows"),
        (["--probabilities", "{0}/wrong.csv", "--classes", "neg,pos"], "row 2"),
        (["--probabilities", "{0}/plain.csv", "--classes", "neg,pos"], "--columns"),
    ],
)
def test_the_command_names_what_is_wrong_with_the_columns(words, message, judged, capsys):
    (judged / "short.csv").write_text("probability_pos\n0.5\n", encoding="utf-8")
    (judged / "wrong.csv").write_text("probability_pos\n0.5\nhigh\n", encoding="utf-8")
    (judged / "plain.csv").write_text("p\n0.5\n", encoding="utf-8")
    given = [word.format(judged) for word in words]
    assert run(["sentiment", "distil", str(judged / "judged.csv"), *given, "--out", str(judged / "m")]) == 2
    assert message in capsys.readouterr().err
    assert not (judged / "m").exists()


def test_json_lines_without_a_probability_are_named_by_their_row(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"probability_a": 0.5}\n{"other": 1}\nno json\n{"probability_a": true}\n', encoding="utf-8")
    with pytest.raises(BadInputError, match="3 problems") as error:
        read_probabilities(path)
    assert all(f"row {row}" in str(error.value) for row in (2, 3, 4))
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(BadInputError, match="is empty"):
        read_probabilities(tmp_path / "empty.jsonl")
    with pytest.raises(BadInputError, match="no known kind"):
        read_probabilities(tmp_path / "p.txt")


def test_what_predict_writes_can_be_distilled(tmp_path, capsys):
    reviews = small_reviews()
    model = LeaderClassifier().fit(reviews.texts, reviews.labels)
    model.save(tmp_path / "model")
    records = [json.dumps({"text": text}) for text in reviews.texts[:200]]
    (tmp_path / "new.jsonl").write_text("\n".join(records), encoding="utf-8")
    labelled = str(tmp_path / "labelled.csv")
    assert (
        run(
            ["sentiment", "predict", str(tmp_path / "new.jsonl"), "--model", str(tmp_path / "model"), "--out", labelled]
        )
        == 0
    )
    assert run(["sentiment", "distil", labelled, "--classes", "neg,pos", "--out", str(tmp_path / "copy")]) == 0
    copy = td.load(tmp_path / "copy")
    assert (copy.predict(reviews.texts[:200]) == model.predict(reviews.texts[:200])).mean() > 0.9


class _Reversed:
    """A model that gives its probabilities in an order that is not that of the sorted labels."""

    classes_ = np.array(["pos", "neg"])

    def __init__(self, model):
        self.model = model

    def predict_proba(self, texts):
        return self.model.predict_proba(texts)[:, ::-1]


def test_the_order_of_the_classes_of_the_other_model_is_kept(theirs, texts):
    ours = LeaderClassifier.distil(_Reversed(theirs), texts)
    np.testing.assert_array_equal(ours.values_, LeaderClassifier.distil(theirs, texts).values_)
    assert fidelity(ours, _Reversed(theirs), texts[:50]) == fidelity(ours, theirs, texts[:50])
    other = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, [len(text) % 2 for text in texts])
    with pytest.raises(BadInputError, match="the other model"):
        fidelity(ours, other, texts[:50])


def test_a_text_that_is_given_twice_has_the_mean_of_its_probabilities(texts):
    sure = np.repeat([[1.0, 0.0], [0.0, 1.0]], len(texts), axis=0)
    ours = LeaderClassifier.distil(sure, [*texts, *texts], test_fraction=0.0)
    np.testing.assert_allclose(ours.predict_proba(texts), 0.5, atol=0.01)


def test_one_text_is_too_few():
    with pytest.raises(BadInputError, match="two different texts"):
        LeaderClassifier.distil([[0.1, 0.9]], ["a warm film"])
