"""scikit-learn's conventions, for an estimator whose X is one dimension of strings.

All checks of scikit-learn 1.9 hand numbers in two dimensions to ``fit``, so that ``check_estimator`` declines an
estimator of texts after one check. Those that need no data are run on the classifier itself; all of them are run on
the classifier behind a front that writes each row of numbers as a text.
"""

import pickle

import numpy as np
import pandas as pd
import pytest
from published_leaders import published
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks as checks
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tokendyn.data.texts import small_reviews
from tokendyn.errors import BadInputError
from tokendyn.sentiment import LeaderClassifier

QUICK = {"start_epochs": 1, "epochs": 1}


@pytest.fixture(scope="module")
def corpus():
    found = small_reviews()
    return np.array(found.texts, dtype=object), np.array(found.labels)


@pytest.fixture(scope="module")
def model(corpus):
    return published(**QUICK).fit(*corpus)


@pytest.mark.parametrize(
    "check",
    [
        checks.check_estimator_cloneable,
        checks.check_estimator_repr,
        checks.check_no_attributes_set_in_init,
        checks.check_parameters_default_constructible,
        checks.check_get_params_invariance,
        checks.check_set_params,
        checks.check_estimator_tags_renamed,
        checks.check_valid_tag_types,
        checks.check_do_not_raise_errors_in_init_or_set_params,
        checks.check_mixin_order,
        checks.check_fit1d,
    ],
    ids=lambda check: check.__name__,
)
@pytest.mark.usefixtures("unchecked")
def test_checks_of_scikit_learn_that_apply(check):
    check("LeaderClassifier", published(**QUICK))


class OnNumbers(LeaderClassifier):
    """The classifier behind a front for numbers: a row is a text with one word for each rounded feature."""

    def fit(self, X, y):
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        return super().fit(self.texts(X), y)

    def decision_function(self, X):
        check_is_fitted(self)
        return super().decision_function(self.texts(validate_data(self, X, reset=False)))

    def predict_proba(self, X):
        check_is_fitted(self)
        return super().predict_proba(self.texts(validate_data(self, X, reset=False)))

    def predict(self, X):
        return self._labels(self.decision_function(X))

    def score(self, X, y, sample_weight=None):
        return super().score(X, y, sample_weight)

    @staticmethod
    def texts(X):
        words = [[f"f{place}is{round(value)}".replace("-", "minus") for place, value in enumerate(row)] for row in X]
        return [" ".join(row) for row in words]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = True, False, False
        return tags


@pytest.mark.usefixtures("unchecked")
def test_all_checks_of_scikit_learn_pass_behind_a_front_for_numbers():
    quick = OnNumbers(start_epochs=2, epochs=1, min_score=0.0)
    results = checks.check_estimator(quick, on_fail=None, on_skip=None)
    status = {}
    for result in results:
        status.setdefault(result["status"], []).append(result["check_name"])
    assert set(status.pop("skipped", [])) <= {"check_array_api_input"}
    assert set(status) == {"passed"}
    assert len(status["passed"]) > 45


def test_scikit_learn_declines_to_check_an_estimator_of_texts():
    with pytest.warns(UserWarning, match="Can't test estimator"):
        results = checks.check_estimator(published(**QUICK))
    assert [result["check_name"] for result in results] == ["check_estimator_cloneable"]


def test_tags_say_that_it_reads_strings():
    tags = get_tags(published())
    assert is_classifier(published())
    assert tags.input_tags.string
    assert tags.input_tags.one_d_array
    assert not tags.input_tags.two_d_array
    assert not hasattr(published(), "n_features_in_")


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "leader_counts", "explain_many"])
def test_an_unfitted_classifier_says_so(method):
    with pytest.raises(NotFittedError):
        list(getattr(published(), method)(["a"]))


def test_fit_changes_no_parameter_and_no_input_and_returns_itself(corpus):
    texts, labels = corpus[0].copy(), corpus[1].copy()
    model = published(**QUICK, class_weight={"pos": 2.0})
    before = dict(model.get_params())
    assert model.fit(texts, labels) is model
    assert model.get_params() == before
    assert np.array_equal(texts, corpus[0])
    assert np.array_equal(labels, corpus[1])


def test_fitting_again_is_fitting_anew(corpus, model):
    again = clone(model).fit(corpus[0][:300], corpus[1][:300]).fit(*corpus)
    assert np.array_equal(again.embedding_, model.embedding_)
    assert again.words_ == model.words_


def test_a_subset_or_another_order_gives_the_same_verdicts(corpus, model):
    whole = model.decision_function(corpus[0])
    assert np.array_equal(model.decision_function(corpus[0][::-1])[::-1], whole)
    assert np.array_equal(np.concatenate([model.decision_function([text]) for text in corpus[0][:20]]), whole[:20])


def test_it_can_be_pickled(corpus, model):
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.decision_function(corpus[0]), model.decision_function(corpus[0]))


@pytest.mark.parametrize("kinds", [[0, 1], [False, True], ["no", "yes"], [-1.5, 2.5]])
def test_labels_may_be_of_any_kind(corpus, kinds):
    labels = [kinds[label == "pos"] for label in corpus[1]]
    model = published(**QUICK).fit(corpus[0], labels)
    assert model.classes_.tolist() == kinds
    assert np.mean(model.predict(corpus[0]) == np.array(labels)) > 0.8
    assert type(next(model.explain_many(corpus[0])).label) is type(kinds[0])


@pytest.mark.usefixtures("unchecked")
def test_mixed_labels_and_missing_texts_are_named_with_their_rows(corpus):
    with pytest.raises(BadInputError, match=r"mixes strings and numbers.*row 2"):
        published().fit(["a", "b", "c"], ["x", "x", 1])
    frame = pd.DataFrame({"text": ["a", None, float("nan"), "b"], "label": [0, 0, 1, 1]})
    with pytest.raises(BadInputError, match=r"texts\[1\](.|\n)*texts\[2\]"):
        published().fit(frame["text"], frame["label"])


def test_it_can_be_searched_chained_and_cross_validated(corpus):
    texts, labels = corpus[0][:200], corpus[1][:200]
    grid = {"leaderclassifier__ngrams": [1, 2], "leaderclassifier__class_weight": [None, "balanced"]}
    search = GridSearchCV(make_pipeline(published(**QUICK)), grid, cv=2, error_score="raise").fit(texts, labels)
    assert set(search.best_params_) == set(grid)
    assert np.mean(cross_val_score(published(**QUICK), texts, labels, cv=2, scoring="roc_auc")) > 0.5


def test_class_weights_move_verdicts_towards_a_class(corpus):
    shares = [
        np.mean(published(**QUICK, class_weight=weight).fit(*corpus).predict(corpus[0]) == "pos")
        for weight in ({"neg": 30.0}, None, {"pos": 30.0})
    ]
    assert shares[0] < shares[1] < shares[2]


def test_balanced_weights_are_those_of_scikit_learn(corpus):
    rows = np.r_[np.flatnonzero(corpus[1] == "pos"), np.flatnonzero(corpus[1] == "neg")[:75]]
    texts, labels = corpus[0][rows], corpus[1][rows]
    balanced, named = (
        published(**QUICK, class_weight=weight).fit(texts, labels)
        for weight in ("balanced", {"neg": 375 / 150, "pos": 375 / 600})
    )
    assert np.array_equal(balanced.embedding_, named.embedding_)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("weight", [{"good": 1.0}, {"pos": -1.0}, {"pos": None}, "even", 3])
def test_unusable_class_weights_are_an_error(corpus, weight):
    with pytest.raises(BadInputError, match="class_weight"):
        published(class_weight=weight).fit(*corpus)


def test_patience_ends_a_stage_early(corpus):
    long, short = (published(start_epochs=12, epochs=1, patience=p).fit(*corpus) for p in (None, 1))
    assert len(short.training_["epochs"]) < len(long.training_["epochs"])
    with pytest.raises(BadInputError, match="patience=0"):
        published(patience=0).fit(*corpus)
