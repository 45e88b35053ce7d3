"""Rules of the sentiment model beside oracles written down again: ties, n-grams, spans, weights, records."""

import numpy as np
import pytest
from sklearn.utils import get_tags

from tokendyn.dynamics.ragged_leader_kernels import count_ties
from tokendyn.errors import BadInputError
from tokendyn.rivals.sentiment.explainers import EXPLAINERS, CutText
from tokendyn.rivals.sentiment.published import PublishedHardmax
from tokendyn.sentiment.checks import text_weights
from tokendyn.sentiment.explanation import Explanation, LeaderWord, NeutralPole, WordContribution
from tokendyn.sentiment.lookup import Lookup
from tokendyn.sentiment.tokens import TokenRule
from tokendyn.studies.sentiment.faithfulness import _warm_up


@pytest.mark.parametrize("dim", [2, 3, 4])
@pytest.mark.parametrize("slack", [0.0, 1.0])
def test_ties_are_counted_over_all_coordinates_and_are_alone_at_one_first_place(dim, slack, rng):
    """Whole numbers, so that scores are exact; ``each`` counts for half of the slack."""
    alone_and_not = set()
    for _ in range(40):
        z = rng.integers(-2, 3, size=(dim, 6)).astype(np.float64)
        origin = rng.integers(0, 2, size=(dim, 6)).astype(np.float64)
        for i in range(6):
            scores = z[:, i] @ z
            leader = int(scores.argmax())
            size = np.abs(z[:, i]).sum()
            near = scores >= scores.max() - slack * (size + 1) / 2
            alone = all((origin[:, j] == origin[:, leader]).all() for j in np.flatnonzero(near))
            found = count_ties(z, z, 6, origin, i, leader, slack / 2, slack / 2, np.empty(6, dtype=np.int64))
            assert found == ((scores == scores.max()).sum(), alone)
            alone_and_not.add(alone)
    assert alone_and_not == {True, False}


def test_pairs_that_end_with_the_first_word_of_the_vocabulary_are_counted():
    ragged = Lookup({"film": 0, "good": 1, "good film": 2}, TokenRule(ngrams=2)).encode(["good film film"])
    assert ragged.words.tolist() == [0, 1, 2]
    assert ragged.counts.tolist() == [2, 1, 1]
    assert ragged.neutral.tolist() == [1]  # "film film"


def test_a_span_that_touches_a_word_does_not_cover_it():
    cut = CutText.of("good,bad,fine")
    assert cut.share_out([(((4, 9),), 1.0)]).tolist() == [0, 1, 0]
    assert cut.share_out([(((3, 10),), 3.0)]).tolist() == [1, 1, 1]
    assert cut.share_out([(((4, 5),), 1.0)]).tolist() == [0, 0, 0]


def test_every_explainer_is_warmed_up_on_the_first_three_words(monkeypatch):
    """So that what is compiled or imported at first use is not timed."""
    explained = []

    class Even:
        def predict_proba(self, texts):
            return np.full((len(texts), 2), 0.5)

    for name in ("leaders", "random"):
        monkeypatch.setitem(EXPLAINERS, name, lambda judge, *_, name=name: explained.append((name, judge.cut.words)))
    _warm_up({"": Even()}, CutText.of("one two three, four five"), ("leaders", "random"))
    assert explained == [("leaders", ("one", "two", "three")), ("random", ("one", "two", "three"))]


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_a_weight_that_is_not_positive_is_refused(weight):
    with pytest.raises(BadInputError, match="expected a positive number"):
        text_weights({"a": weight}, np.array(["a", "b"]), np.array([0, 1]))


def test_the_published_model_tells_scikit_learn_that_it_knows_two_classes():
    assert not get_tags(PublishedHardmax()).classifier_tags.multi_class


class TestRecord:
    """An explanation as JSON values: every field stands there, parts by class only where there are some."""

    def record(self, by_class):
        leader = LeaderWord("good", ((0, 4),), 0.0, 0.0, 0.0, 0.0, (), by_class)
        word = WordContribution("good", ((0, 4),), 0.0, 0.0, 0.0, None, by_class)
        tokens = {"token_labels": ("good",), "token_weights": np.ones(1), "token_spans": (((0, 4),),)}
        return Explanation(
            text="good", label="a", probability=0.5, logit=0.0, bias=0.0, classes=("a", "b"), leaders=(leader,),
            neutral=NeutralPole(0.0, 0, (), None), residual=0.0, contributions=(word,), succession=(), known_words=1,
            unknown_words=0, note="", states=np.zeros((1, 1, 2)), token_leaders=np.zeros((0, 1), dtype=np.int64),
            alpha=1.0, **tokens,
        ).to_dict()  # fmt: skip

    def test_parts_by_class_are_left_out_where_there_are_none(self):
        record = self.record(())
        numbers = {"word": "good", "spans": [[0, 4]], "mass": 0.0, "value": 0.0, "contribution": 0.0}
        assert record["leaders"] == [numbers | {"own": 0.0, "followers": []}]
        assert record["contributions"] == [numbers | {"leader": None, "weight": 1.0}]
        assert record["neutral"] == {"mass": 0.0, "words": 0, "followers": [], "follows": None}

    def test_parts_by_class_stand_there_else(self):
        record = self.record((0.5, -0.5))
        assert record["leaders"][0]["by_class"] == record["contributions"][0]["by_class"] == [0.5, -0.5]
