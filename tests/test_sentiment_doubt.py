"""How sure a verdict may be: floors below the chance of an error, and where they come from."""

import json
from copy import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.sentiment import LeaderClassifier, load, onnx_inputs
from tokendyn.sentiment.doubt import doubted, fit_doubt, floors
from tokendyn.sentiment.values import Sample, Values
from tokendyn.show.explanation_page import sum_line

TEXTS = ["Brilliant, brilliant, a wonderful and moving film.", "A dull, lazy mess, the worst.", "A film.", ""]


@pytest.fixture(scope="module")
def model():
    return LeaderClassifier(phantom=30.0, doubt=0.04).fit(small_reviews())


def simplex(numbers):
    return np.array(numbers) / np.sum(numbers)


@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=6), st.floats(1e-4, 0.25))
def test_a_verdict_keeps_its_classes_in_order_and_leaves_the_floor_to_the_others(numbers, floor):
    before = simplex(numbers)
    (after,) = doubted(before[None], np.array([floor]))
    assert after.sum() == pytest.approx(1.0)
    assert (np.diff(after[np.argsort(before)]) >= -1e-15).all()
    assert 1.0 - after.max() >= min(floor, 1.0 - 1.0 / len(before)) * (1.0 - 1e-9) - 1e-12
    assert after.max() <= before.max() + 1e-12


def test_of_two_classes_the_chance_of_an_error_is_the_root_of_both_squares():
    error = np.array([0.0, 1e-6, 0.01, 0.2, 0.5])
    after = doubted(np.stack([error, 1.0 - error], axis=1), np.full(5, 0.03))
    np.testing.assert_allclose(after[:, 0], np.sqrt(0.03**2 + (1.0 - 4.0 * 0.03**2) * error**2), atol=1e-12)


def test_floors_fall_with_the_words_of_a_text_and_without_phantom_words_there_is_none():
    np.testing.assert_allclose(floors(np.array([0.0, 100.0, 300.0]), 100.0, 0.04), [0.04, 0.01, 0.0025])
    assert floors(np.array([0.0, 5.0]), 0.0, 0.04).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("several", [False, True])
def test_the_doubt_counts_errors_among_texts_that_seem_clear(several):
    # Of texts of one word beside one phantom word, 400 are clear and 30 of them wrong; the others are not clear.
    counts = np.concatenate([np.ones(400), np.full(100, 0.1)])
    wrong = np.arange(500) < 30
    targets, values = (~wrong)[:, None].astype(float), np.array([[20.0]])
    if several:
        targets = np.stack([wrong, np.zeros(500), ~wrong], axis=1).astype(float)
        values = np.array([[-20.0, -20.0, 40.0]])
    sample = Sample(sparse.csr_matrix(counts[:, None]), np.ones(500), targets, np.ones(500))
    found = fit_doubt([(sample, Values(values, np.zeros(values.shape[1]), 1.0))])
    assert found == pytest.approx((30 + 1) / (400 / 4 + 1 / 0.03))
    assert fit_doubt([]) == pytest.approx(0.03)


def test_no_short_text_is_surer_than_its_floor_and_the_logit_stays_the_sum(model):
    plain = copy(model)
    plain.doubt_ = 0.0
    logits = model.decision_function(TEXTS)
    np.testing.assert_allclose(plain.predict_proba(TEXTS)[:, 1], 1.0 / (1.0 + np.exp(-logits)), atol=1e-12)
    words = np.array([7.0, 6.0, 2.0, 0.0])
    assert (model.predict_proba(TEXTS).min(axis=1) >= 0.04 * (30 / (30 + words)) ** 2).all()
    assert (np.argsort(model.predict_proba(TEXTS)[:, 1]) == np.argsort(logits)).all()
    why = model.explain(TEXTS[0])
    assert why.doubt == why.to_dict()["doubt"] == pytest.approx(0.04 * (30 / 37) ** 2)
    assert why.probability == pytest.approx(model.predict_proba(TEXTS[:1])[0, 1])


def test_the_page_says_what_a_text_of_its_length_leaves_to_either_class(model):
    from tokendyn.sentiment.report import explained_text

    line = sum_line(explained_text(model.explain(TEXTS[0])))
    assert "its logistic function is the probability of pos, but a text of its length leaves either class" in line
    assert line.endswith("at least 2.63%.")


def test_saved_and_exported_models_keep_the_doubt_and_older_folders_have_none(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from tokendyn.sentiment.onnx import onnx_model

    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), model.predict_proba(TEXTS))
    session = onnxruntime.InferenceSession(onnx_model(model).SerializeToString())
    found = session.run(["probabilities"], onnx_inputs(model, TEXTS))[0]
    np.testing.assert_allclose(found, model.predict_proba(TEXTS), atol=1e-12)
    record = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    del record["parameters"]["doubt"], record["fitted"]["doubt"]
    (tmp_path / "model" / "model.json").write_text(json.dumps(record), encoding="utf-8")
    assert load(tmp_path / "model").doubt_ == 0.0


def test_a_doubt_of_a_coin_is_refused():
    with pytest.raises(BadInputError, match="doubt"):
        LeaderClassifier(doubt=0.5).fit(small_reviews())
