"""A folder with a train and a test half, such as that of IMDb: a synthetic one, since the reviews do not ship."""

import json

import pytest

from tokendyn.cli import run
from tokendyn.data.collections import read_halves
from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.sentiment import Training
from tokendyn.studies.sentiment import ClassifierComparison


@pytest.fixture
def halves(tmp_path):
    """Return a folder with 80 texts in the training half, 40 in the test half, and a class that the latter lacks."""
    reviews = small_reviews()
    for number, (text, label) in enumerate(zip(reviews.texts[:120], reviews.labels[:120], strict=True)):
        folder = tmp_path / "imdb" / ("train" if number < 80 else "test") / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}_7.txt").write_text(text, encoding="utf-8")
    unlabelled = tmp_path / "imdb" / "train" / "unsup"
    unlabelled.mkdir()
    (unlabelled / "0_0.txt").write_text("A film.", encoding="utf-8")
    return tmp_path / "imdb"


def test_the_halves_are_read_as_they_are_and_a_class_of_one_half_is_passed_over(halves):
    split = read_halves(halves)
    reviews = small_reviews()
    assert sorted(split.training.texts) == sorted(reviews.texts[:80])
    assert sorted(split.test.texts) == sorted(reviews.texts[80:120])
    assert set(split.training.labels) == {"neg", "pos"}
    assert read_halves(halves / "train") is None


def test_texts_of_both_halves_are_counted_and_stay(halves):
    (halves / "test" / "pos" / "twice.txt").write_text(small_reviews().texts[0].upper(), encoding="utf-8")
    split = read_halves(halves)
    assert (split.repeated, split.moved, len(split.test)) == (1, 0, 41)
    assert "training half too" in split.describe()[0]


def test_the_training_learns_from_one_half_and_is_measured_on_the_other(halves, capsys):
    trained = Training(halves).run()
    assert (trained.measured["test_texts"], trained.model.training_["texts"]) == (40, 80)
    assert "published" not in trained.measured
    assert run(["sentiment", "train", str(halves), "--json", "--out", str(halves.parent / "model")]) == 0
    assert json.loads(capsys.readouterr().out)["test_texts"] == 40


def test_numbers_that_are_published_stand_beside_halves_of_that_size(halves, monkeypatch):
    monkeypatch.setattr("tokendyn.sentiment.experiments.IMDB_HALF", 40)
    for number in range(80):
        for folder in ("pos", "neg"):
            (halves / "train" / folder / f"{number}_7.txt").unlink(missing_ok=True)
    for number, text in enumerate(small_reviews().texts[120:160]):
        (halves / "train" / small_reviews().labels[120 + number] / f"{number}.txt").write_text(text, encoding="utf-8")
    trained = Training(halves).run()
    assert trained.measured["published"]["NB-SVM, words and pairs"] == 91.22
    assert "91.22 %" in str(trained)


def test_a_comparison_takes_the_halves(halves):
    assert "80 texts, test on 40" in ClassifierComparison(halves).check()[-1]


def test_a_share_beside_given_halves_and_halves_without_common_classes_are_refused(halves):
    with pytest.raises(BadInputError, match="test_fraction"):
        Training(halves, test_fraction=0.3).run()
    (halves / "test" / "pos").rename(halves / "test" / "good")
    with pytest.raises(BadInputError, match="in common"):
        read_halves(halves)
