"""The classifier that decides at hardmax and knows its leaders."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from tokendyn.data.labelled_texts import LabelledTexts
from tokendyn.errors import BadInputError
from tokendyn.late import function_at
from tokendyn.runs.checkpoint import AnyCheckpoint, Checkpoint
from tokendyn.sentiment.checks import check_labels, check_parameters, check_texts, labels_of, text_weights
from tokendyn.sentiment.explanation import Explanation, Span
from tokendyn.sentiment.heads import log_softmax, make_head
from tokendyn.sentiment.lookup import Lookup
from tokendyn.sentiment.reading import read_verdict
from tokendyn.sentiment.routing import route, route_all, sum_scores, sum_values
from tokendyn.sentiment.tokens import TokenRule
from tokendyn.sentiment.training import Progress, Recipe, place, train
from tokendyn.sentiment.verdicts import Verdict, leaders_over, verdicts, write_verdicts
from tokendyn.sentiment.vocabulary import Ragged, choose_active, count_words, with_active

if TYPE_CHECKING:
    import pandas as pd

_save = function_at("tokendyn.sentiment.store:save")

#: Strings, or texts that were read.
Texts = Iterable[Any] | LabelledTexts
Logits = Float[np.ndarray, "texts *classes"]
Decoder = Float[np.ndarray, "*classes dim"]
_CHUNK = 4096
_BATCH = 1024


@dataclass(frozen=True)
class TokenSet:
    """A text as tokens: its distinct words with a value, and one token for all other words.

    Attributes
    ----------
    positions
        Float64 places before the first layer.
    words
        The words in the order of the vocabulary; the last is "neutral" when there is such a token.
    weights
        Float64, how many words of the text each token stands for. A token of weight m acts as m equal tokens.
    spans
        For each token, the places of its words in the original text.
    has_neutral
        Whether the last token is the neutral pole.
    """

    positions: Float[np.ndarray, "tokens dim"]
    words: tuple[str, ...]
    weights: Float[np.ndarray, " tokens"]
    spans: tuple[tuple[Span, ...], ...]
    has_neutral: bool


class LeaderClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Text classifier whose verdict is the exact sum of what a few leader words contribute.

    Every word is a token in the plane; layers of hardmax attention (arXiv 2407.01602, A = I) move each token
    towards its leader; the verdict is ``gain * (mean first coordinate) + bias``, through a logistic function.
    Words that are not among the active ones stand at the neutral pole and contribute nothing. The published
    architecture: a matrix of embeddings, alpha, a decoder and a bias reproduce every verdict.

    With C > 2 classes (at most 15) tokens have C + 1 coordinates: a word has one value a class, its poles,
    which sum to 0, and the last coordinate is that of the neutral pole. The scores are
    ``gain * (mean of the first C) + biases``, through a softmax; each is as exact a sum over the words.

    Parameters
    ----------
    layers
        Number of hardmax layers; 0 is a bag of words.
    alpha
        Step size of a layer, positive.
    active_words
        Most words that carry a value: those of largest ``|log-odds| sqrt(df)`` in the training part.
        With ``ngrams``, words and n-grams together.
    ngrams
        Most adjacent words of one token: with 2, pairs such as "not bad" are tokens too, and 20,000 ``active_words``
        are enough.
    negation
        Whether a word after a negator is another token, "not_good", up to the next sentence mark.
    tokeniser
        None, a callable from a text to (token, start, end) triples, or a Tokenizer of Hugging Face. These
        three are explained in :class:`tokendyn.sentiment.TokenRule`.
    min_score
        A word of a smaller ``|log-odds| sqrt(df)`` carries no value, however few words remain. A word of one
        text has .7, one of two texts of the same class 1.55.
    leaders
        Mean number of leaders a text to aim at: fewer make shorter explanations, more a better accuracy.
    radius
        Where words stand: see :func:`tokendyn.sentiment.training.place`.
    gain
        First coordinate of the decoder.
    start_epochs, start_learning_rate
        First stage of the training, without layers.
    epochs, learning_rate
        Second stage, through the hardmax layers; the rate falls to 0.
    batch_size
        Texts a step; None is a seventieth of the training part, from 8 to 256.
    word_dropout
        Chance that a word is left out of a text for one epoch.
    validation_fraction
        Part of the texts that chooses the epoch, split off at random, stratified, and never learned from.
    patience
        A stage of the training ends after this many epochs without a better one; None for all epochs.
    class_weight
        None, "balanced", or a dictionary from label to weight: what an error on a text of the class costs.
    random_state
        Seed of the split, the order and the dropout; the same seed gives the same model.

    Attributes
    ----------
    classes_
        The labels, sorted; of two, ``classes_[1]`` is the positive side.
    words_
        The active words, sorted by their first occurrence in the training texts.
    embedding_
        Float64 (words + 1, 2), the last row the neutral pole; (words + 1, C + 1) for C > 2 classes.
    decoder_
        Float64 (2,): ``(gain, 0)``; (C, C + 1), the gain on the diagonal, for C > 2 classes.
    intercept_
        The bias, or an array of C.
    training_
        Record of the training: ``texts``, ``training_texts``, ``validation_texts``, ``distinct_words``,
        ``active_words``, ``batch_size``, ``epochs`` (what each epoch reached), ``best`` (the chosen one of
        them) and ``cpu_seconds``.

    Examples
    --------
    >>> from tokendyn.data.texts import small_reviews
    >>> from tokendyn.sentiment import LeaderClassifier
    >>> reviews = small_reviews()
    >>> model = LeaderClassifier(random_state=0).fit(reviews.texts, reviews.labels)
    >>> model.predict(["A dull, lazy mess.", "A warm and funny film."])
    array(['neg', 'pos'], dtype='<U3')
    >>> why = model.explain("A warm and funny film.")
    >>> print(why.label, [leader.word for leader in why.leaders])
    pos ['warm', 'funny']
    >>> abs(why.bias + why.residual + sum(leader.contribution for leader in why.leaders) - why.logit) < 1e-9
    True
    """

    def __init__(
        self,
        *,
        layers: int = 8,
        alpha: float = 1.0,
        active_words: int = 8000,
        ngrams: int = 1,
        negation: bool = False,
        tokeniser: Any = None,
        min_score: float = 1.5,
        leaders: float = 5.0,
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
        random_state: int = 0,
    ) -> None:
        self.layers = layers
        self.alpha = alpha
        self.active_words = active_words
        self.ngrams = ngrams
        self.negation = negation
        self.tokeniser = tokeniser
        self.min_score = min_score
        self.leaders = leaders
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
        texts: Texts,
        labels: Iterable[Any] | None = None,
        *,
        progress: Progress | None = None,
        budget: float = math.inf,
        checkpoint: AnyCheckpoint | None = None,
    ) -> "LeaderClassifier":
        """Learn from texts and their labels.

        Parameters
        ----------
        texts
            Strings: a list, tuple, array or pandas Series; or what :func:`tokendyn.data.texts.read_texts` returns, with
            its labels.
        labels
            One label a text, all strings or all numbers. May be left out for texts that were read with labels.
        progress
            Called after each epoch with the epoch, the number of epochs and the best validation accuracy in it.
        budget
            Seconds of wall time after which no further epoch begins; the best so far is the result, and
            ``training_["status"]`` is "budget" in place of "completed". It is "diverged" when a number left the finite
            ones in an epoch; the result is the best one before that.
        checkpoint
            Where the training is kept after epochs; one that was stopped goes on from there, to the same bits.

        Raises
        ------
        BadInputError
            If the texts or labels cannot be used, or a parameter is out of range. Nothing is changed then.
        """
        began = time.process_time()
        check_parameters(self.get_params())
        labels = labels_of(texts) if labels is None else labels
        texts = check_texts(texts)
        classes, which = check_labels(labels, len(texts))
        importance = text_weights(self.class_weight, classes, which)
        rng = np.random.default_rng(self.random_state)
        training, validation = split(which, self.validation_fraction, rng)
        rule = self._rule()
        counted = count_words(texts, rule)
        active = choose_active(counted, which, training, at_most=self.active_words, min_score=float(self.min_score))
        if not len(active):
            raise BadInputError(
                f"no word tells the classes apart: in {len(training)} training texts none has |log-odds| sqrt(df) "
                f">= {self.min_score}; give more texts, or lower min_score"
            )
        ragged = with_active(counted, active)
        recipe = self._recipe(len(training))
        head = make_head(which, len(classes), recipe.gain, importance)
        saved_at = Checkpoint.at(checkpoint)
        if saved_at is not None:
            saved_at.of(ragged, which, importance, training, validation, recipe, rng.bit_generator.state)
        result = train(
            ragged, head, training, validation, len(active), recipe, rng, progress,
            deadline=time.monotonic() + budget, checkpoint=saved_at,
        )  # fmt: skip
        points = place(head.values(result.unknowns), recipe.radius, result.jitter)
        words = tuple(counted.names[number] for number in active)
        self._settle(classes, words, points, *head.decoder(result.unknowns))
        self.training_: dict[str, Any] = {
            "texts": len(texts),
            "training_texts": len(training),
            "validation_texts": len(validation),
            "distinct_words": len(counted.names),
            "active_words": len(words),
            "batch_size": recipe.batch_size,
            "status": result.status,
            "epochs": result.record,
            "best": result.record[result.best],
            "cpu_seconds": round(time.process_time() - began, 3),
        }
        return self

    def score(self, texts: Any, labels: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy on texts and their labels, which may be left out for texts that were read with them."""
        labels = labels_of(texts) if labels is None else labels
        return float(super().score(texts, labels, sample_weight))

    def decision_function(self, texts: Texts) -> Logits:
        """Return the logit of ``classes_[1]`` for each text; a text without known words has the bias.

        With more than two classes, the score of each.
        """
        return self._judge(texts)[0]

    def predict_proba(self, texts: Texts) -> Float[np.ndarray, "texts classes"]:
        """Return the probabilities of the classes, in the order of ``classes_``."""
        return self._probabilities(self.decision_function(texts))

    def predict(self, texts: Texts) -> np.ndarray:
        """Return the label of each text."""
        return self._labels(self.decision_function(texts))

    def leader_counts(self, texts: Texts) -> Int[np.ndarray, " texts"]:
        """Return how many leaders each text has: the words in ``explain(text).leaders``."""
        return self._judge(texts)[1]

    def predict_all(
        self, texts: Texts
    ) -> tuple[np.ndarray, Float[np.ndarray, "texts classes"], Int[np.ndarray, " texts"]]:
        """Return label, probabilities and number of leaders of each text, in one pass."""
        logits, leads = self._judge(texts)
        return self._labels(logits), self._probabilities(logits), leads

    def tokens_of(self, text: str) -> TokenSet:
        """Return a text as the weighted tokens that the layers move."""
        check_is_fitted(self)
        (text,) = check_texts([text])
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
        """Return why a text is classified as it is: leaders, spans, contributions that add up, what would turn it."""
        tokens = self.tokens_of(text)
        passage = route(tokens.positions, tokens.weights, float(self.alpha), self.layers)
        return read_verdict(
            text, tokens.words, tokens.weights, tokens.spans, tokens.has_neutral, passage, alpha=float(self.alpha),
            gain=float(self.decoder_.flat[0]), bias=self.intercept_, classes=tuple(self.classes_),
        )  # fmt: skip

    def explain_many(self, texts: Texts) -> Iterator[Verdict]:
        """Yield for each text what ``explain`` says of verdict and leaders, thousands of texts a second."""
        for part in self._parts(texts, _BATCH):
            yield from verdicts(self, part)

    def explain_jsonl(self, texts: Texts, path: str | Path) -> int:
        """Write one JSON object a text, as ``explain_many`` yields them, and return how many.

        The file appears whole or not at all.
        """
        return write_verdicts(self.explain_many(texts), path)

    def global_leaders(self, texts: Texts, *, top: int | None = 20, examples: int = 3) -> "pd.DataFrame":
        """Return which words led the given texts, and what they contributed, largest effect first.

        Parameters
        ----------
        texts
            The texts to look at, such as those of the training or a new set.
        top
            How many words at most; None for all.
        examples
            How many texts to name a word, those with its largest contributions.

        Returns
        -------
        DataFrame
            Columns ``word``, ``times`` (in how many texts it led), ``total`` (of its contributions to the
            logit, signed), ``mean`` (a text that it led) and ``examples`` (rows of ``texts``). Sorted by
            ``|total|``.
        """
        return leaders_over(self.explain_many(texts), top=top, examples=examples)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the fitted classifier into a new folder; ``tokendyn.load`` reads it."""
        _save(self, folder, overwrite=overwrite)

    def to_onnx(self, path: str | Path) -> None:
        """Write the scoring path as an ONNX file: see :func:`tokendyn.sentiment.export_onnx`."""
        from tokendyn.sentiment.onnx import export_onnx

        export_onnx(self, path)

    def _rule(self) -> TokenRule:
        """Return how texts become tokens."""
        return TokenRule(ngrams=self.ngrams, negation=bool(self.negation), tokeniser=self.tokeniser)

    def _recipe(self, training_texts: int) -> Recipe:
        """Return the settings of the training for a number of texts."""
        batch = self.batch_size or int(np.clip(training_texts // 70, 8, 256))
        return Recipe(
            layers=self.layers,
            alpha=float(self.alpha),
            radius=float(self.radius),
            gain=float(self.gain),
            leaders=float(self.leaders),
            start_epochs=self.start_epochs,
            epochs=self.epochs,
            start_learning_rate=float(self.start_learning_rate),
            learning_rate=float(self.learning_rate),
            batch_size=batch,
            word_dropout=float(self.word_dropout),
            patience=self.patience,
        )

    def _settle(
        self,
        classes: np.ndarray,
        words: tuple[str, ...],
        embedding: Float[np.ndarray, "words_and_pole dim"],
        decoder: Decoder,
        intercept: float | Float[np.ndarray, " classes"],
    ) -> None:
        """Take over a fitted state."""
        self.classes_, self.words_, self.embedding_ = classes, words, embedding
        self.decoder_, self.intercept_ = decoder, intercept
        self._lookup = Lookup({word: number for number, word in enumerate(words)}, self._rule())

    def _parts(self, texts: Texts, size: int = _CHUNK) -> list[list[str]]:
        """Return the checked texts in parts of bounded size."""
        check_is_fitted(self)
        checked = check_texts(texts, empty_allowed=True)
        return [checked[first : first + size] for first in range(0, len(checked), size)]

    def _judge(self, texts: Texts) -> tuple[Logits, Int[np.ndarray, " texts"]]:
        """Return logits and numbers of leaders of any number of texts."""
        runs = [self._run(part) for part in self._parts(texts)]
        logits = np.concatenate([*(run[0] for run in runs), np.empty((0, *np.shape(self.intercept_)))])
        return logits, np.concatenate([*(run[1] for run in runs), np.empty(0, np.int64)])

    def _labels(self, logits: Logits) -> np.ndarray:
        number = logits.argmax(axis=1) if logits.ndim == 2 else (logits > 0).astype(np.int64)
        chosen: np.ndarray = self.classes_[number]
        return chosen

    def _probabilities(self, logits: Logits) -> Float[np.ndarray, "texts classes"]:
        if logits.ndim == 2:
            return np.exp(log_softmax(logits)) if len(logits) else logits
        return np.exp(-np.logaddexp(0.0, np.stack([logits, -logits], axis=1)))

    def _run(self, texts: list[str]) -> tuple[Logits, Int[np.ndarray, " texts"]]:
        """Return logits and numbers of leaders."""
        ragged: Ragged = self._lookup.encode(texts)
        shares, leads = route_all(ragged, self.embedding_, float(self.alpha), self.layers)
        return self._decode(ragged, shares), leads

    def _decode(self, ragged: Ragged, shares: Float[np.ndarray, " entries"]) -> Logits:
        """Return the logits, or the scores of several classes, for the shares of the words."""
        values, gain = np.ascontiguousarray(self.embedding_[:, :-1]), float(self.decoder_.flat[0])
        if isinstance(self.intercept_, np.ndarray):
            return sum_scores(ragged, shares, values, gain, self.intercept_)
        return sum_values(ragged, shares, values[:, 0], gain, self.intercept_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        return tags


def split(
    which: Int[np.ndarray, " texts"], fraction: float, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " training"], Int[np.ndarray, " validation"]]:
    """Return the texts to learn from and those to choose the epoch by, at random and stratified, ascending.

    At least one text of each class is in either part.
    """
    held = []
    for side in range(int(np.max(which)) + 1):
        members = rng.permutation(np.flatnonzero(which == side))
        held.append(members[: min(max(round(fraction * len(members)), 1), len(members) - 1)])
    validation = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(which)), validation), validation
