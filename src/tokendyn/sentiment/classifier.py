"""A text classifier that decides at hardmax and knows its leaders."""

import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.errors import BadInputError
from tokendyn.late import function_at
from tokendyn.runs.checkpoint import AnyCheckpoint
from tokendyn.sentiment.checks import (
    MOST_CLASSES,
    check_labels,
    check_parameters,
    check_texts,
    labels_of,
    text_weights,
    warn_of_empty,
)
from tokendyn.sentiment.distilling import compared, source_of, split_for
from tokendyn.sentiment.doubt import doubted, floors
from tokendyn.sentiment.explanation import Explanation
from tokendyn.sentiment.fitting import learn_values, targets_of, train_published
from tokendyn.sentiment.grouped import grouped_explanation, grouped_tokens, grouped_verdicts
from tokendyn.sentiment.groups import Grouping, Views, best_two, lead
from tokendyn.sentiment.heads import log_softmax
from tokendyn.sentiment.lookup import Lookup
from tokendyn.sentiment.modifiers import Modifiers
from tokendyn.sentiment.neighbours import Neighbours
from tokendyn.sentiment.reading import read_verdict
from tokendyn.sentiment.routing import route, route_all, sum_scores, sum_values
from tokendyn.sentiment.spelling import Spelling
from tokendyn.sentiment.tokens import TokenRule, find_tokens
from tokendyn.sentiment.tokensets import TokenSet
from tokendyn.sentiment.training import Progress
from tokendyn.sentiment.verdicts import Verdict, leaders_over, verdicts, write_verdicts
from tokendyn.sentiment.vocabulary import Ragged

if TYPE_CHECKING:
    import pandas as pd

    from tokendyn.sentiment.behaviour import BehaviourReport
    from tokendyn.sentiment.stability import Stability

_save = function_at("tokendyn.sentiment.store:save")

#: Strings, or texts as read from a file.
Texts = Iterable[Any] | LabelledTexts
Logits = Float[np.ndarray, "texts *classes"]
Lengths = Float[np.ndarray, " texts"]
Decoder = Float[np.ndarray, "*classes dim"]
_CHUNK = 4096
_BATCH = 1024


class LeaderClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Text classifier whose verdict is an exact sum, with its terms grouped by a few leader words.

    At transfer 0 a token is a value and a position, ``z_j = (v_j, e_j)``. The verdict is linear in the words: ``logit =
    b + sum_j m_j v_j / (n + phantom)``, where m_j is the count of word or n-gram j and n is the number of words in the
    text. The phantom words have value 0 and make a short text uncertain. Layers of hardmax attention with ``A = diag(0,
    I)`` find leaders among the positions; values do not move. So these layers **explain and do not decide**: a leader
    represents the group of strong words that end with it, and groups, other words and bias add up to the logit.
    Attention does decide how much a word counts: **negators, contrasts and intensifiers lead the words beside them**
    and scale their contributions, and so do, with more than 1,000 texts, **all frequent words and the end of the
    text**, by learned numbers. So m_j is a sum of weights instead of ones (``modifiers``). The values are those
    of a logistic regression with a prior that depends on how well each word separates the classes
    (:func:`tokendyn.sentiment.values.fit_values`): one minimum, no seed, no epochs. With more than two classes a
    softmax replaces the logistic function; the margin between the two best classes is explained.

    At transfer 1 the model is the published one (arXiv 2407.01602): every word is a token in the plane, its value and
    its position are the same, and **leaders decide**, because words move to their leaders completely. The verdict is
    ``gain * (mean first coordinate) + bias``; a matrix of embeddings, alpha, a decoder and a bias reproduce it. With C
    > 2 classes (at most 15) tokens have C + 1 coordinates: a word has one value for each class, its poles, which sum to
    0, and the last coordinate is that of the neutral pole. This model works best with single words: ``ngrams=1,
    active_words=8000``.

    Parameters
    ----------
    transfer
        0 or 1: the share of its value that a word passes to its leader.
    layers
        Number of hardmax layers; 0 is a bag of words, in which every strong word leads.
    alpha
        Step size of a layer, positive.
    active_words
        Largest number of words and n-grams with a value: those of largest ``|v| sqrt(df)`` of the fit, at transfer 1 of
        largest ``|log-odds| sqrt(df)`` in the training part.
    ngrams
        Largest number of adjacent words in a token, such as "not bad".
    negation
        Whether a word after a negator is a different token, "not_good", up to the next sentence mark.
    modifiers
        Transfer 0, without ``negation``. Whether negators, contrasts such as "but" and intensifiers lead the words
        beside them and scale their contributions, and with more than 1,000 texts other frequent words and the end of
        the text; the factors are learned: see :mod:`tokendyn.sentiment.modifiers` and
        :mod:`tokendyn.sentiment.neighbours`.
    spelling
        Transfer 0, without a custom tokeniser. Whether an unknown word counts as the frequent word from which it
        differs by one slip or by drawn-out letters: see :class:`tokendyn.sentiment.spelling.Spelling`.
    tokeniser
        None, a callable from a text to (token, start, end) triples, or a Tokenizer of Hugging Face.
        :class:`tokendyn.sentiment.TokenRule` explains ``ngrams``, ``negation`` and ``tokeniser``.
    min_score
        Transfer 1. A word of a smaller ``|log-odds| sqrt(df)`` has no value, however few words remain. A word in one
        text has 0.7, a word in two texts of the same class 1.55.
    leaders
        Target for the mean number of leaders of a text. Fewer leaders make shorter explanations; at transfer 1, more
        leaders make a better accuracy.
    phantom
        Number of words of value 0 added to every text. None chooses the number with the least log-loss on held-out
        texts and on pieces of them; at transfer 1, None is 0.
    floor, marginal, prior_strength
        Transfer 0. Least scale of a word's value, weight of its marginal effect in the scale, and weight of the prior,
        see :class:`tokendyn.sentiment.values.Prior`; None chooses them on held-out texts.
    doubt
        Transfer 0. Least chance of an error in a short text: no text of n words has a probability above ``1 - doubt
        (phantom / (n + phantom))^2``, see :mod:`tokendyn.sentiment.doubt`. None learns it on held-out texts; with 0,
        probabilities are the logistic function of the logit, or the softmax of the scores.
    groups
        Transfer 0. "topics": a leader leads strong words of its side that occur in similar texts; "sign": one leader
        for each side, which varies least from one training to another.
    strong_share
        Transfer 0. The words of largest ``|v|`` that make up this share of all words of the training texts may lead;
        all others are "other words". None chooses the share that gives a text of mean length twice as many strong words
        as ``leaders``, at least 0.05.
    dimensions
        Transfer 0. Number of singular vectors of the counts that define the positions.
    radius
        Transfer 1. Positions of words: see :func:`tokendyn.sentiment.training.place`.
    gain
        Transfer 1. First coordinate of the decoder.
    start_epochs, start_learning_rate
        Transfer 1. First stage of the training, without layers.
    epochs, learning_rate
        Transfer 1. Second stage, through the hardmax layers; the rate falls to 0.
    batch_size
        Transfer 1. Texts in a step; None is a seventieth of the training part, from 8 to 256.
    word_dropout
        Transfer 1. Probability that a word is left out of a text for one epoch.
    validation_fraction
        Transfer 1. Share of the texts that chooses the epoch: a random, stratified split that is not trained on.
    patience
        Transfer 1. A stage of the training ends after this number of epochs without an improvement; None for all
        epochs.
    class_weight
        None, "balanced", or a dictionary from label to weight: the cost of an error on a text of the class.
    random_state
        Transfer 1. Seed of the split, the order and the dropout, or None, a RandomState or a Generator; the same seed
        gives the same model. At transfer 0 nothing is random.

    Attributes
    ----------
    classes_
        The labels, sorted; of two, ``classes_[1]`` is the positive side.
    words_
        The active words, sorted by their first occurrence in the training texts.
    values_
        Float64 (words, 1), the evidence of each word for ``classes_[1]``; (words, C) for C > 2 classes.
    intercept_
        The bias, or an array of C.
    phantom_
        Number of phantom words added to every text.
    doubt_
        Least chance of an error in a short text; 0 at transfer 1.
    modifiers_
        Transfer 0. Factors by which negators, contrasts and intensifiers scale the words beside them,
        :class:`tokendyn.sentiment.modifiers.Modifiers`.
    neighbours_
        Transfer 0. Numbers by which frequent words and the end of a text scale, none with few texts or where they do
        not help: :class:`tokendyn.sentiment.neighbours.Neighbours`.
    grouping_
        Transfer 0. Positions of words, :class:`tokendyn.sentiment.groups.Grouping`.
    embedding_
        Transfer 1. Float64 (words + 1, 2), the last row the neutral pole; (words + 1, C + 1) for C > 2 classes.
    decoder_
        Transfer 1. Float64 (2,): ``(gain, 0)``; (C, C + 1), the gain on the diagonal, for C > 2 classes.
    training_
        Record of the training: ``texts``, ``distinct_words``, ``active_words``, ``status`` and ``cpu_seconds``. At
        transfer 0 also ``crops``, the chosen ``phantom``, ``floor``, ``marginal`` and ``prior_strength``, and
        ``tried``, all settings tried with their losses on held-out texts; at transfer 1 ``training_texts``,
        ``validation_texts``, ``batch_size``, ``epochs`` (the results of each epoch) and ``best`` (the chosen one).

    Examples
    --------
    >>> from tokendyn.data.texts import small_reviews
    >>> from tokendyn.sentiment import LeaderClassifier
    >>> reviews = small_reviews()
    >>> model = LeaderClassifier().fit(reviews.texts, reviews.labels)
    >>> model.predict(["A dull, lazy mess.", "A warm and funny film."])
    array(['neg', 'pos'], dtype='<U3')
    >>> why = model.explain("A warm and funny film.")
    >>> print(why.label, [leader.word for leader in why.leaders])
    pos ['funny', 'warm']
    >>> abs(why.bias + why.residual + sum(leader.contribution for leader in why.leaders) - why.logit) < 1e-9
    True
    """

    # These arguments steer the training; they are not metadata of the texts.
    __metadata_request__fit: ClassVar = {"progress": UNUSED, "budget": UNUSED, "checkpoint": UNUSED}

    def __init__(
        self,
        *,
        transfer: float = 0.0,
        layers: int = 8,
        alpha: float = 1.0,
        active_words: int = 100_000,
        ngrams: int = 2,
        negation: bool = False,
        modifiers: bool = True,
        spelling: bool = True,
        tokeniser: Any = None,
        min_score: float = 1.5,
        leaders: float = 5.0,
        phantom: float | None = None,
        floor: float | None = None,
        marginal: float | None = None,
        prior_strength: float | None = None,
        doubt: float | None = None,
        groups: str = "topics",
        strong_share: float | None = None,
        dimensions: int = 64,
        radius: float = 2.0,
        gain: float = 20.0,
        start_epochs: int = 5,
        start_learning_rate: float = 0.02,
        epochs: int = 8,
        learning_rate: float = 0.01,
        batch_size: int | None = None,
        word_dropout: float = 0.2,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        class_weight: dict[Any, float] | str | None = None,
        random_state: Any = 0,
    ) -> None:
        self.transfer = transfer
        self.layers = layers
        self.alpha = alpha
        self.active_words = active_words
        self.ngrams = ngrams
        self.negation = negation
        self.modifiers = modifiers
        self.spelling = spelling
        self.tokeniser = tokeniser
        self.min_score = min_score
        self.leaders = leaders
        self.phantom = phantom
        self.floor = floor
        self.marginal = marginal
        self.prior_strength = prior_strength
        self.doubt = doubt
        self.groups = groups
        self.strong_share = strong_share
        self.dimensions = dimensions
        self.radius = radius
        self.gain = gain
        self.start_epochs = start_epochs
        self.start_learning_rate = start_learning_rate
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.word_dropout = word_dropout
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(
        self,
        X: Texts,
        y: Iterable[Any] | None = None,
        sample_weight: Iterable[Any] | None = None,
        *,
        progress: Progress | None = None,
        budget: float = math.inf,
        checkpoint: AnyCheckpoint | None = None,
    ) -> "LeaderClassifier":
        """Learn from texts and their labels.

        Parameters
        ----------
        X
            Strings: a list, tuple, array or pandas Series; or what :func:`tokendyn.data.texts.read_texts` returns, with
            its labels.
        y
            One label for each text, all strings or all numbers. Optional for texts read with labels.
        sample_weight
            Cost of an error on each text; 1 by default. At transfer 0 a text of weight 0 is left out. A text of weight
            2 is not quite the same as the text twice: errors cost the same, but the prior of a value depends on the
            number of texts with the word, and a repeated text is no further evidence.
        progress
            Called after each epoch with the epoch, the number of epochs and the best validation accuracy in it; at
            transfer 0 with the number of steps done, the largest number of steps, and 0.
        budget
            Seconds of wall time after which no further epoch begins; the result is the best epoch so far, and
            ``training_["status"]`` is "budget" instead of "completed". The status is "diverged" when a number was not
            finite in an epoch; the result is then the best epoch before it. At transfer 0 no further setting is tried
            after the budget.
        checkpoint
            File for the state of the training after epochs; an interrupted training continues from there, with
            bit-identical results. At transfer 0 a training takes seconds, and no state is kept.

        Raises
        ------
        BadInputError
            If the texts or labels cannot be used, or a parameter is out of range. The classifier is then unchanged.
        """
        began = time.process_time()
        check_parameters(self.get_params())
        labels = labels_of(X) if y is None else y
        texts = check_texts(X)
        linear = self.transfer == 0
        classes, which = check_labels(labels, len(texts), at_most=None if linear else MOST_CLASSES)
        importance = text_weights(self.class_weight, classes, which, sample_weight)
        if linear:
            warn_of_empty(texts)
            one = np.ones(len(texts)) if importance is None else importance
            # A text of weight 0 is ignored: it does not count among the texts of a word either.
            kept = np.flatnonzero(one > 0.0)
            texts, targets = [texts[row] for row in kept.tolist()], targets_of(which[kept], len(classes))
            if not any(map(self._has_word, texts)):
                raise BadInputError("no text has a word to learn from")
            learn_values(self, texts, classes, targets, one[kept], began, progress, budget)
            return self
        train_published(self, texts, classes, which, importance, began, progress, budget, checkpoint)
        return self

    @classmethod
    def distil(
        cls,
        predict_proba: Any,
        texts: Texts,
        *,
        classes: Iterable[Any] | None = None,
        test_fraction: float = 0.2,
        seed: int = 0,
        progress: Progress | None = None,
        budget: float = math.inf,
        **parameters: Any,
    ) -> "LeaderClassifier":
        """Return a classifier that has learned another model's probabilities, to explain the model on a whole corpus.

        The values minimise the cross-entropy against the probabilities of the model instead of labels; everything else
        is as in the fit of ``transfer=0.0``. ``training_["fidelity"]`` measures the agreement on held-out texts
        (:class:`tokendyn.sentiment.Fidelity`). An explanation is then exact for the classifier, and holds for the model
        as far as the two agree.

        Parameters
        ----------
        predict_proba
            A model with ``predict_proba``, such as a pipeline of scikit-learn, or its method; any callable from a list
            of strings to probabilities, with shape (texts,) for the second of two classes or (texts, classes); or an
            array with the probabilities of these texts.
        texts
            Strings; labels are ignored. More texts make a closer copy, even texts on which the model was not trained.
        classes
            The labels, in the order of the probabilities. By default those of the model (``classes_``), else 0, 1, ...
        test_fraction
            Share of the texts held out to measure the fidelity; with 0 it is not measured.
        seed
            Seed of the random choice of these texts.
        progress, budget
            As in :meth:`fit`.
        **parameters
            Parameters of the classifier.

        Raises
        ------
        BadInputError
            If texts, probabilities, labels or parameters cannot be used.

        Examples
        --------
        >>> from sklearn.feature_extraction.text import TfidfVectorizer
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> from tokendyn.data.texts import small_reviews
        >>> from tokendyn.sentiment import LeaderClassifier
        >>> reviews = small_reviews()
        >>> theirs = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(reviews.texts, reviews.labels)
        >>> ours = LeaderClassifier.distil(theirs, reviews.texts)
        >>> ours.training_["fidelity"]["same_verdict"] > 0.9
        True
        """
        began = time.process_time()
        model = cls(**parameters)
        check_parameters(model.get_params())
        if model.transfer != 0 or model.class_weight is not None:
            raise BadInputError("distil learns from probabilities: give transfer=0.0 and class_weight=None")
        learned, held = split_for(texts, test_fraction, seed)
        if len(set(learned)) < 2:
            raise BadInputError("distil learns from two different texts at least; give more of them")
        source = source_of(predict_proba, check_texts(texts), classes)
        if not any(map(model._has_word, learned)):
            raise BadInputError("no text has a word to learn from")
        targets = source.judge(learned)
        two = len(source.classes) == 2
        learn_values(
            model,
            learned,
            source.classes,
            targets[:, 1:] if two else targets,
            np.ones(len(learned)),
            began,
            progress,
            budget,
            # The other model would judge a crop differently from the whole text, whose probability it has here.
            crops=0.01,
        )
        model.training_["distilled_from"] = source.name
        if held:
            model.training_["fidelity"] = compared(model.predict_proba(held), source.judge(held)).to_dict()
        return model

    def _has_word(self, text: str) -> bool:
        """Return whether a text has any token."""
        return bool(find_tokens(text, self._rule()))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy on texts and their labels, which are optional for texts read with labels."""
        labels = labels_of(X) if y is None else y
        return float(super().score(X, labels, sample_weight))

    def decision_function(self, X: Texts) -> Logits:
        """Return the logit of ``classes_[1]`` for each text; the logit of a text without known words is the bias.

        With more than two classes, the score of each class.
        """
        return self._judge(X, leaders=False)[0]

    def predict_proba(self, X: Texts) -> Float[np.ndarray, "texts classes"]:
        """Return the probabilities of the classes, in the order of ``classes_``."""
        logits, lengths, _ = self._judge(X, leaders=False)
        return self._probabilities(logits, lengths)

    def predict(self, X: Texts) -> np.ndarray:
        """Return the label of each text."""
        return self._labels(self.decision_function(X))

    def leader_counts(self, texts: Texts) -> Int[np.ndarray, " texts"]:
        """Return the number of leaders of each text: the words in ``explain(text).leaders``."""
        return self._judge(texts)[2]

    def predict_all(
        self, texts: Texts
    ) -> tuple[np.ndarray, Float[np.ndarray, "texts classes"], Int[np.ndarray, " texts"]]:
        """Return label, probabilities and number of leaders of each text, in one pass."""
        logits, lengths, leads = self._judge(texts)
        return self._labels(logits), self._probabilities(logits, lengths), leads

    def tokens_of(self, text: str) -> TokenSet:
        """Return a text as the weighted tokens that the layers move."""
        check_is_fitted(self)
        (text,) = check_texts([text])
        if self._linear:
            return grouped_tokens(self, text)
        ragged, places = self._lookup.encode_with_places([text])
        has_neutral = bool(ragged.neutral[0] > 0)
        pole = [len(self.words_)] * has_neutral
        return TokenSet(
            positions=self.embedding_[np.concatenate([ragged.words, np.array(pole, dtype=np.int32)])],
            words=tuple(self.words_[number] for number in ragged.words.tolist()) + ("neutral",) * has_neutral,
            weights=np.concatenate([ragged.counts, ragged.neutral[ragged.neutral > 0]]),
            spans=(*places.of(np.arange(len(ragged.words))), *([places.of_unknown(0)] * has_neutral)),
            has_neutral=has_neutral,
        )

    def explain(self, text: str) -> Explanation:
        """Explain a verdict: leaders, spans, contributions that add up, and the words whose removal would turn it."""
        check_is_fitted(self)
        if self._linear:
            (text,) = check_texts([text])
            return grouped_explanation(self, text)
        tokens = self.tokens_of(text)
        of_text = 1.0
        if self.phantom_ and tokens.words:
            of_text = float(self._of_text(self._lookup.encode([text]))[0])
        passage = route(tokens.positions, tokens.weights, float(self.alpha), self.layers)
        return read_verdict(
            text, tokens.words, tokens.weights, tokens.spans, tokens.has_neutral, passage, alpha=float(self.alpha),
            gain=self._gain, bias=self.intercept_, classes=tuple(self.classes_),
            of_text=of_text,
        )  # fmt: skip

    def explain_many(self, texts: Texts) -> Iterator[Verdict]:
        """Yield the verdict and the leaders of ``explain`` for each text, thousands of texts in a second."""
        for part in self._parts(texts, _BATCH):
            yield from grouped_verdicts(self, part) if self._linear else verdicts(self, part)

    def explain_jsonl(self, texts: Texts, path: str | Path) -> int:
        """Write one JSON object for each text, as ``explain_many`` yields them, and return their number.

        The file appears only when it is complete.
        """
        return write_verdicts(self.explain_many(texts), path)

    def global_leaders(self, texts: Texts, *, top: int | None = 20, examples: int = 3) -> "pd.DataFrame":
        """Return the words that led the given texts with their contributions, largest effect first.

        Parameters
        ----------
        texts
            Texts to analyse, such as the training texts or a new set.
        top
            Largest number of words; None for all.
        examples
            Number of example texts for each word, those with its largest contributions.

        Returns
        -------
        DataFrame
            Columns ``word``, ``times`` (number of texts that it led), ``total`` (sum of its contributions to the logit,
            signed), ``mean`` (over the texts that it led) and ``examples`` (rows of ``texts``). Sorted by ``|total|``.
        """
        return leaders_over(self.explain_many(texts), top=top, examples=examples)

    def stability(
        self, texts: Texts, X: Texts, y: Iterable[Any] | None = None, *, retrainings: int = 10, seed: int = 0
    ) -> "Stability":
        """Train again on parts of the training texts, and count the trainings in which each leader leads.

        Parameters
        ----------
        texts
            Texts whose leaders are compared.
        X, y
            Texts and labels on which the classifier was trained.
        retrainings, seed
            Number of trainings, each on 90 % of these texts, and seed of the random choices. See
            :func:`tokendyn.sentiment.stability.stability`.
        """
        from tokendyn.sentiment.stability import stability

        check_is_fitted(self)
        return stability(self, texts, X, y, retrainings=retrainings, seed=seed)

    def check(self, cases: Any = None) -> "BehaviourReport":
        """Test the classifier on a behavioural suite: negation, intensifiers, spelling, length, filler, names.

        Parameters
        ----------
        cases
            Cases, or a CSV file of cases; None for the built-in cases, on films that are pos or neg. See
            :func:`tokendyn.sentiment.check_behaviour`.

        Raises
        ------
        BadInputError
            If the cases do not suit the classes of the classifier.
        """
        from tokendyn.sentiment.behaviour import check_behaviour

        check_is_fitted(self)
        return check_behaviour(self, cases)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the fitted classifier into a new folder; ``tokendyn.load`` reads it."""
        _save(self, folder, overwrite=overwrite)

    def to_onnx(self, path: str | Path) -> None:
        """Write the scoring path as an ONNX file: see :func:`tokendyn.sentiment.export_onnx`."""
        from tokendyn.sentiment.onnx import export_onnx

        export_onnx(self, path)

    def _rule(self) -> TokenRule:
        """Return how texts become tokens."""
        modifiers = bool(self.modifiers) and self.transfer == 0 and not self.negation
        return TokenRule(
            ngrams=self.ngrams, negation=bool(self.negation), tokeniser=self.tokeniser, modifiers=modifiers
        )

    def _settle(
        self,
        classes: np.ndarray,
        words: tuple[str, ...],
        embedding: Float[np.ndarray, "words_and_pole dim"],
        decoder: Decoder,
        intercept: float | Float[np.ndarray, " classes"],
        phantom: float = 0.0,
    ) -> None:
        """Store the fitted state of the published model."""
        self.classes_, self.words_, self.embedding_ = classes, words, embedding
        self.decoder_, self.intercept_, self.phantom_ = decoder, intercept, phantom
        self.values_, self.doubt_ = np.ascontiguousarray(embedding[:-1, :-1]), 0.0
        self._gain, self._linear = float(decoder.flat[0]), False
        self._lookup = Lookup({word: number for number, word in enumerate(words)}, self._rule())

    def _settle_values(
        self,
        classes: np.ndarray,
        words: tuple[str, ...],
        values: Float[np.ndarray, "words columns"],
        intercept: float | Float[np.ndarray, " classes"],
        phantom: float,
        grouping: Grouping,
        modifiers: Modifiers,
        neighbours: Neighbours,
        doubt: float = 0.0,
    ) -> None:
        """Store the fitted state at transfer 0."""
        self.classes_, self.words_, self.values_ = classes, words, values
        self.intercept_, self.phantom_, self.grouping_, self.doubt_ = intercept, phantom, grouping, doubt
        self._gain, self._linear = float(self.ngrams), True
        self._views, self.modifiers_, self.neighbours_ = Views(values, grouping), modifiers, neighbours
        spelling = None
        if self.spelling and self.tokeniser is None:
            single = zip(words, grouping.frequencies.tolist(), strict=True)
            spelling = Spelling({word: count for word, count in single if " " not in word})
        number_of = {word: number for number, word in enumerate(words)}
        self._lookup = Lookup(number_of, self._rule(), modifiers, spelling, neighbours)

    def _parts(self, texts: Texts, size: int = _CHUNK) -> list[list[str]]:
        """Yield the checked texts in batches of bounded size."""
        check_is_fitted(self)
        checked = check_texts(texts, empty_allowed=True)
        return [checked[first : first + size] for first in range(0, len(checked), size)]

    def _judge(self, texts: Texts, *, leaders: bool = True) -> tuple[Logits, Lengths, Int[np.ndarray, " texts"]]:
        """Return logits, numbers of words, and numbers of leaders (0 if not needed) of any number of texts."""
        runs = [self._run(part, leaders) for part in self._parts(texts)]
        none = np.empty((0, *np.shape(self.intercept_))), np.empty(0), np.empty(0, np.int64)
        logits, lengths, leads = (np.concatenate(column) for column in zip(*runs, none, strict=True))
        return logits, lengths, leads

    def _labels(self, logits: Logits) -> np.ndarray:
        number = logits.argmax(axis=1) if logits.ndim == 2 else (logits > 0).astype(np.int64)
        chosen: np.ndarray = self.classes_[number]
        return chosen

    def _probabilities(self, logits: Logits, lengths: Lengths) -> Float[np.ndarray, "texts classes"]:
        """Return the probabilities of texts with the given numbers of words; short texts are never quite certain."""
        if logits.ndim == 2:
            plain = np.exp(log_softmax(logits)) if len(logits) else logits
        else:
            plain = np.exp(-np.logaddexp(0.0, np.stack([logits, -logits], axis=1)))
        return doubted(plain, floors(lengths, self.phantom_, self.doubt_))

    def _run(self, texts: list[str], leaders: bool) -> tuple[Logits, Lengths, Int[np.ndarray, " texts"]]:
        """Return logits, numbers of words and numbers of leaders."""
        ragged: Ragged = self._lookup.encode(texts)
        if not self._linear:
            shares, leads = route_all(ragged, self.embedding_, float(self.alpha), self.layers)
            return self._decode(ragged, shares * self._of_text(ragged)), ragged.lengths, leads
        scores = self._decode(ragged, self._shares(ragged))
        if not leaders:
            return scores, ragged.lengths, np.zeros(len(texts), dtype=np.int64)
        best, second = best_two(scores if scores.ndim == 2 else scores[:, None])
        counts = lead(ragged, self._views, best, second, self.layers, float(self.alpha)).counts
        return scores, ragged.lengths, counts

    def _shares(self, ragged: Ragged) -> Float[np.ndarray, " entries"]:
        """Return the share of each entry at transfer 0, ``m / (ngrams (words + phantom))``."""
        mass = self._gain * (ragged.lengths + self.phantom_)
        return ragged.counts / np.repeat(mass, np.diff(ragged.indptr))

    def _of_text(self, ragged: Ragged) -> Float[np.ndarray, " entries"]:
        """Return the share of each entry among the words of its text, phantom words included."""
        part = ragged.lengths / np.maximum(ragged.lengths + self.phantom_, 1.0)
        return np.repeat(part, np.diff(ragged.indptr))

    def _decode(self, ragged: Ragged, shares: Float[np.ndarray, " entries"]) -> Logits:
        """Return the logits, or the scores of several classes, for the shares of the words."""
        if isinstance(self.intercept_, np.ndarray):
            return sum_scores(ragged, shares, self.values_, self._gain, self.intercept_)
        return sum_values(ragged, shares, self.values_[:, 0], self._gain, self.intercept_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        return tags
